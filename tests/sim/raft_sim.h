/*
 * Whole groups of Raft cores (jobmanager/ha/raft_core) in one thread on a virtual clock, from a seed: founding groups of 1, 3 or 5 members and
 * spares that are added, promoted and removed. Messages are dropped, delayed, reordered, duplicated and cut one way; members crash with a
 * random durable prefix of what they were writing, pause, and start again from their disk. 20 virtual seconds of chaos, then 11 of calm.
 *
 * Checked after each step: election safety, one vote a term, log matching, leader completeness, state-machine safety, and quorum durability:
 * what somebody calls committed is then on the disks of a majority of the voters; and who is confirmed to lead has applied what was committed when
 * it was asked (R6). Checked in the calm: a leader, progress, convergence.
 */
#ifndef WEIR_TESTS_SIM_RAFT_SIM_H
#define WEIR_TESTS_SIM_RAFT_SIM_H

#include "common/base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum weir_raft_sim_fault {
    WEIR_RAFT_SIM_DROP,
    WEIR_RAFT_SIM_DUPLICATE,
    WEIR_RAFT_SIM_REORDER, /* a message arrives before one that was sent earlier over the same link */
    WEIR_RAFT_SIM_SPLIT,   /* into two sides, both ways */
    WEIR_RAFT_SIM_CUT,     /* one link, one way */
    WEIR_RAFT_SIM_DEAF,    /* the leader hears nobody, but is heard */
    WEIR_RAFT_SIM_CRASH,
    WEIR_RAFT_SIM_CRASH_LEADER,
    WEIR_RAFT_SIM_CRASH_ALL,
    WEIR_RAFT_SIM_TORN, /* a crash cut a write in two */
    WEIR_RAFT_SIM_STALL, /* a disk gets slow */
    WEIR_RAFT_SIM_PAUSE, /* a member stops for a time, and then goes on with what it had */
    WEIR_RAFT_SIM_TRANSFER,
    WEIR_RAFT_SIM_COMPACT,
    WEIR_RAFT_SIM_INSTALL,
    WEIR_RAFT_SIM_ADD,
    WEIR_RAFT_SIM_PROMOTE,
    WEIR_RAFT_SIM_DEMOTE,
    WEIR_RAFT_SIM_REMOVE,
    WEIR_RAFT_SIM_REPLACE, /* a member lost its disk: it is removed, and another joins in its place */
    WEIR_RAFT_SIM_FAULTS,
};

/* What the group was doing then; the first that holds. */
enum weir_raft_sim_phase {
    WEIR_RAFT_SIM_INSTALLING,  /* somebody is writing a leader's snapshot */
    WEIR_RAFT_SIM_CHANGING,    /* the newest leader has a change of members that is not committed */
    WEIR_RAFT_SIM_TWO_LEADERS, /* one of them does not know yet that it is none */
    WEIR_RAFT_SIM_ELECTING,    /* nobody leads */
    WEIR_RAFT_SIM_COMMITTING,  /* the leader has entries that are not committed */
    WEIR_RAFT_SIM_QUIET,
    WEIR_RAFT_SIM_PHASES,
};

/* What is wrong on purpose: the checks must see it. */
enum weir_raft_sim_sabotage {
    WEIR_RAFT_SIM_HONEST,
    WEIR_RAFT_SIM_ACKS_EARLY,       /* a write is called durable when it begins */
    WEIR_RAFT_SIM_FORGETS_VOTE,     /* the term is kept, the vote is not */
    WEIR_RAFT_SIM_FORGETS_TERM,     /* neither is */
    WEIR_RAFT_SIM_KEEPS_TAIL,       /* on the disk, entries of another term are not cut off */
    WEIR_RAFT_SIM_NO_WORKAROUND_1,  /* jobmanager/ha/raft_core_fixes.c has them, one by one */
    WEIR_RAFT_SIM_NO_WORKAROUND_2,
    WEIR_RAFT_SIM_NO_WORKAROUND_3,
    WEIR_RAFT_SIM_NO_WORKAROUND_4,
    WEIR_RAFT_SIM_NO_WORKAROUND_5,
    WEIR_RAFT_SIM_NO_WORKAROUND_6,
    WEIR_RAFT_SIM_NO_WORKAROUND_7,
    WEIR_RAFT_SIM_NO_WORKAROUND_8,
    WEIR_RAFT_SIM_LEADS_UNCONFIRMED, /* who says that it leads is believed */
    WEIR_RAFT_SIM_EARLY_CHANGE, /* members change before the leader has committed anything in its term */
    WEIR_RAFT_SIM_SABOTAGES,
};

struct weir_raft_sim_case {
    uint64_t seed;
    enum weir_raft_sim_sabotage sabotage;
    int trace_fd; /* what happens, as it happens; -1: nowhere */
};

struct weir_raft_sim_result {
    bool ok;
    struct weir_error err; /* what was wrong, and when */
    uint64_t digest;       /* of all that happened: the same for the same seed */
    uint64_t steps, virtual_ms;
    uint64_t elections, committed, messages, restarts, confirmed;
    uint32_t hits[WEIR_RAFT_SIM_FAULTS][WEIR_RAFT_SIM_PHASES];
};

/* "crash of the leader", "committing", "acks early". */
const char *weir_raft_sim_fault_name(enum weir_raft_sim_fault fault);
const char *weir_raft_sim_phase_name(enum weir_raft_sim_phase phase);
const char *weir_raft_sim_sabotage_name(enum weir_raft_sim_sabotage sabotage);

/* False for what cannot happen: a transfer without a leader. A runner of many seeds fails when one that can has no hits. */
bool weir_raft_sim_reachable(enum weir_raft_sim_fault fault, enum weir_raft_sim_phase phase);

/* Runs one seed. Assertions and the library's faults end the process: run many seeds in children. */
void weir_raft_sim_run(const struct weir_raft_sim_case *what, struct weir_raft_sim_result *out_result);

/* The schedule of figure 8 of the Raft paper, 5 members, one entry under way at most; the seed is unused. */
void weir_raft_sim_figure8(const struct weir_raft_sim_case *what, struct weir_raft_sim_result *out_result);

#endif
