/*
 * A JobManager: the shell around the brain (job/dispatcher). One mailbox thread owns everything; RPC callbacks, the pool and the HTTP server
 * post mails to it. What the HTTP API may ask is in jm_api.h.
 *
 * Losing the JobManager loses nothing: TaskManagers keep their tasks and register again with its successor, which has replayed the cluster
 * log in jobmanager.data.dir.
 */
#ifndef WEIR_JOBMANAGER_JM_H
#define WEIR_JOBMANAGER_JM_H

#include "common/fs/fs.h"
#include "jobmanager/jm_api.h"

struct weir_jm_options {
    const struct weir_config *config;
    struct weir_log_sink *sink;
    const struct weir_log *log;
    const struct weir_clock *clock;
    struct weir_fs *fs;
    /* Job graphs of the cluster log: weir_plan_decode, but in tests. */
    enum weir_rc (*decode)(struct weir_slice bytes, struct weir_jobgraph **out_graph, struct weir_error *err);
};

/* Checks the machine, locks the data directory, replays the cluster log, becomes leader and listens: the caller is the mailbox thread from
 * here to destroy. What options point to outlives it. Blocks on the disk. INVALID, EXISTS (port or directory in use), RESOURCE (disk full),
 * CORRUPT, IO: with the cure. */
enum weir_rc weir_jm_create(const struct weir_jm_options *options, struct weir_jm **out_jm, struct weir_error *err) WEIR_CHECKED;

/* The port of the control RPC. */
uint16_t weir_jm_rpc_port(const struct weir_jm *jm);

/* Runs until signal_fd becomes readable (OK; jobs go on without a JobManager), or the cluster log fails (its error). On return the mailbox is
 * closed and every command has been answered; weir_jm_post says false. */
enum weir_rc weir_jm_run(struct weir_jm *jm, int signal_fd, struct weir_error *err) WEIR_CHECKED;

/* Whoever posts to it is stopped before. Accepts NULL. */
void weir_jm_destroy(struct weir_jm *jm);

#endif
