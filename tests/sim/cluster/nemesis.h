/*
 * What goes wrong in a run: faults at random times, and at chosen steps of the protocols. Each mends itself after a while.
 */
#ifndef WEIR_TESTS_SIM_CLUSTER_NEMESIS_H
#define WEIR_TESTS_SIM_CLUSTER_NEMESIS_H

#include "tests/sim/cluster/cluster.h"
#include "tests/sim/cluster/world.h"

struct weir_sim_cast {
    struct weir_sim_node *jms[5], *tms[4], *broker;
    uint32_t njms, ntms;
};

/* From now until until_ns, from a coroutine of the harness. submit_now makes a client that waits submit its job. */
void weir_sim_nemesis_start(const struct weir_sim_cast *cast, int64_t until_ns, void (*submit_now)(void), struct weir_sim_result *result);
void weir_sim_nemesis_phase(enum weir_sim_phase phase);
/* Ends all faults and mends everything. */
void weir_sim_nemesis_stop(void);

#endif
