/*
 * Who the JobManagers of the cluster are, by the configuration: cluster.jobmanagers, "host:port" of each one's RPC; and by what other JobManagers
 * say. Pure.
 */
#ifndef WEIR_JOBMANAGER_JM_MEMBERS_H
#define WEIR_JOBMANAGER_JM_MEMBERS_H

#include "common/base/error.h"
#include "common/base/slice.h"
#include "jobmanager/ha/raft_core.h"

enum { WEIR_JM_FOUNDERS_MAX = 5, WEIR_JM_NOBODY = WEIR_JM_FOUNDERS_MAX };

struct weir_jm_founder {
    char *address; /* "host:port" */
    uint64_t id;   /* in Raft, of one that founds the cluster */
};

struct weir_jm_founders {
    struct weir_jm_founder items[WEIR_JM_FOUNDERS_MAX];
    uint32_t count; /* 1, 3 or 5 */
    uint32_t own;   /* index; WEIR_JM_NOBODY: not in the list (joins only) */
};

/* list: as configured; "" is one JobManager, at own_address, with id 1. joins: own_address need not be in it. INVALID: a sentence. */
enum weir_rc weir_jm_founders_parse(const char *list, const char *own_address, bool joins, struct weir_jm_founders *out_founders,
                                    struct weir_error *err) WEIR_CHECKED;
void weir_jm_founders_fini(struct weir_jm_founders *founders); /* accepts zeroed */

/* Who the members are by the log of one of them, and what the last entry of that log is; borrowed. */
struct weir_jm_word {
    char *const *addresses;
    size_t count;
    uint64_t log_term, log_index;
};

/* The newest word. A log whose last entry is of a later term, or of the same one and further on, has every change of members that the other has
 * and that is settled: the order is Raft's own. */
struct weir_jm_named {
    char *addresses[WEIR_RAFT_MEMBERS_MAX];
    uint32_t count;
    uint64_t log_term, log_index; /* 0: nobody has said anything */
};

/* Takes the word, from outside, instead of an older one; *out_changed: the addresses are others now. INVALID, without effect: more than
 * WEIR_RAFT_MEMBERS_MAX, one that is no address, or a log without entries that has members. */
enum weir_rc weir_jm_named_take(struct weir_jm_named *named, const struct weir_jm_word *word, bool *out_changed, struct weir_error *err) WEIR_CHECKED;
/* Whether it is newer than what a log with that last entry says. */
bool weir_jm_named_newer(const struct weir_jm_named *named, uint64_t log_term, uint64_t log_index);
void weir_jm_named_fini(struct weir_jm_named *named); /* accepts zeroed */

/* INVALID unless address is "host:port" with a port from 1 to 65535. */
enum weir_rc weir_jm_address_check(struct weir_slice address, struct weir_error *err) WEIR_CHECKED;

#endif
