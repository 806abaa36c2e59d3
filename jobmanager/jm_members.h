/*
 * Who the JobManagers of the cluster are, by the configuration: cluster.jobmanagers, "host:port" of each one's RPC. Pure.
 */
#ifndef WEIR_JOBMANAGER_JM_MEMBERS_H
#define WEIR_JOBMANAGER_JM_MEMBERS_H

#include "common/base/error.h"
#include "common/base/slice.h"

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

/* INVALID unless address is "host:port" with a port from 1 to 65535. */
enum weir_rc weir_jm_address_check(struct weir_slice address, struct weir_error *err) WEIR_CHECKED;

#endif
