/*
 * What goes wrong in a run: faults at random times, and at chosen steps of the protocols. Each mends itself after a while.
 */
#ifndef WEIR_TESTS_SIM_CLUSTER_NEMESIS_H
#define WEIR_TESTS_SIM_CLUSTER_NEMESIS_H

#include "tests/sim/cluster/faults.h"
#include "tests/sim/cluster/world.h"

struct weir_sim_cast {
    struct weir_sim_node *jms[5], *tms[4], *broker;
    uint32_t njms, ntms;
};

/* What has been done. */
struct weir_sim_toll {
    uint32_t faults; /* that changed something when they came */
    int64_t site_ns; /* when the whole site lost its power last; 0: never */
    uint32_t hits[WEIR_SIM_FAULT_COUNT][WEIR_SIM_PHASE_COUNT]; /* a fault where the protocols stood so */
};

struct weir_sim_nemesis_options {
    const struct weir_sim_cast *cast; /* may change */
    uint32_t pace;            /* everything takes so many times as long; 1: as usual */
    int64_t until_ns;
    bool adaptive;            /* jobs are rescaled */
    uint64_t nth;             /* of the seeds in which they are, or of those in which they are not, this is */
    uint64_t nth_of_all;      /* of all seeds, about */
    bool expires;             /* ended jobs are forgotten soon */
    int64_t jump_ms_max;      /* of a clock */
    bool spare_tasks;         /* only what may not make a task begin anew: JobManagers, what is between them, slow ways and disks, clocks */
    void (*submit_now)(void); /* makes a client that waits submit its job */
    void (*cancel_now)(void); /* one that will cancel a job do it */
    bool (*may_lose_jm)(void);
    void (*lose_jm)(struct weir_sim_node *jm);
    struct weir_sim_toll *toll;
};

/* From now on. */
void weir_sim_nemesis_start(const struct weir_sim_nemesis_options *options);
void weir_sim_nemesis_phase(enum weir_sim_phase phase);
/* Ends all faults and mends everything. */
void weir_sim_nemesis_stop(void);

#endif
