/*
 * Whole clusters from a seed (world.h): JobManagers, TaskManagers, clients with jobs, an outside log that stands for Kafka, and everything that can
 * go wrong; then a time without faults in which every job must reach its right state.
 *
 * Safety, after every event that can break it: at most one JobManager leads in an epoch; entries of the cluster log are the same wherever they
 * are applied, in order, none left out, and snapshots are what they make; all files of a checkpoint are durable and whole when it is committed, and
 * none of the newest completed one of a job that may still need it is removed or changed; a task of an attempt begins once; what a read_committed
 * reader of the outside log sees is at every moment a beginning of what the job must write: each row once, each key in order, nothing and no open
 * transaction once the job is over; no job ends otherwise than it was told; no answer to a client is older than what was committed when it asked, from
 * whichever JobManager it is; and no TaskManager is expelled for tasks that do not end.
 * In every eighth seed only JobManagers have faults, and disks are slow: then no task of a job that ran may begin anew. In every fourth (none of those) the scheduler is
 * adaptive, and jobs ask for more slots than there always are. In every fourth that is neither (2, 6, 10, ...), in every other one of the spared ones and in all
 * slow ones ended jobs expire soon, while clients go on to repeat their submissions: each is answered as the first was, and a job is started once. It is
 * not forgotten before its time (where clocks differ: before the shorter of that and the hold), but some time after it; then nobody knows it,
 * and nothing of it is left in the checkpoint store.
 * Liveness: each job whose submission was answered ends as it must within LIVENESS_S of virtual time after the last fault (where slots are few: after
 * that and the time it reads); one that has fewer slots than it asks for takes free ones.
 */
#ifndef WEIR_TESTS_SIM_CLUSTER_CLUSTER_H
#define WEIR_TESTS_SIM_CLUSTER_CLUSTER_H

#include "tests/sim/cluster/nemesis.h"

#include <stdbool.h>
#include <stdint.h>

struct weir_sim_case {
    uint64_t seed;
    uint32_t jobmanagers; /* 0: the seed says */
    enum weir_sim_sabotage sabotage;
    bool files_unchecked; /* what the files of a committed checkpoint lack is to show when they are read */
    int trace_fd; /* -1: nowhere */
};

struct weir_sim_result {
    bool ok;
    char why[1200];
    uint64_t steps;
    int64_t virtual_ns;
    struct weir_sim_toll toll;
    uint32_t checkpoints, restarts, leaders, rows;
    uint32_t shrunk, grown; /* how often a job went on with less parallelism, or more */
    uint32_t forgotten;     /* jobs */
};

/* Runs a seed. Once in a process: the dead processes of a run are never freed, and a failed assertion of the daemons ends it. */
void weir_sim_cluster_run(const struct weir_sim_case *what, struct weir_sim_result *out_result);

#endif
