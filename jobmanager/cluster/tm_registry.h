/*
 * Which TaskManagers there are. Pure: events and the time they came in, who is lost out.
 *
 * (T1) A TaskManager is one incarnation (its id is new at each start): lost once, it never comes back under the same id unless it
 *      registers anew with its tasks.
 * (T2) It is lost when it is silent for heartbeat.timeout, or when its connection closed and it has neither registered again nor sent a
 *      heartbeat within WEIR_TM_GRACE_MS: a killed process is noticed at once, a dropped connection costs nothing.
 * (T3) An expelled one (it did not end its tasks when told) is refused for good: it must start anew.
 * (T4) Who looks may not have been there itself (frozen, starved, its disk stalled), and has yet to read what came meanwhile: the time
 *      that this process was away (was_away) does not count. A TaskManager that heard nothing meanwhile closes the connection itself, and has to
 *      find a leader, dial and register: after more than WEIR_TM_GRACE_MS, it has as long to come back, half of heartbeat.timeout at most.
 */
#ifndef WEIR_JOBMANAGER_CLUSTER_TM_REGISTRY_H
#define WEIR_JOBMANAGER_CLUSTER_TM_REGISTRY_H

#include "common/base/error.h"
#include "common/base/slice.h"

enum { WEIR_TM_GRACE_MS = 100, WEIR_TM_EXPELLED_MAX = 1024, WEIR_TM_SLOTS_MAX = 1024, WEIR_TM_MAX = 10000 };

/* What a TaskManager says of itself; strings are borrowed. */
struct weir_tm_info {
    const char *id, *rpc_address, *data_address, *version;
    uint32_t slots, cpu_cores, pid;
    uint64_t memory_bytes, physical_memory_bytes;
};

struct weir_tm_entry {
    struct weir_tm_info info; /* strings are owned */
    uint64_t memory_used_bytes;
    int64_t last_heartbeat_wall_ms;
    int64_t heartbeat_deadline_ms; /* monotonic */
    int64_t grace_deadline_ms;     /* monotonic; INT64_MAX: the connection is up */
    uint32_t slots_used;           /* kept by the dispatcher */
};

struct weir_tm_registry;

struct weir_tm_registry *weir_tm_registry_create(int64_t heartbeat_timeout_ms);
void weir_tm_registry_destroy(struct weir_tm_registry *registry); /* accepts NULL */

/* A registration, or the same incarnation again. out_tm is borrowed until it is removed; out_new: it was not registered. INVALID (nonsense
 * in info), STALE (expelled), LIMIT. */
enum weir_rc weir_tm_registry_register(struct weir_tm_registry *registry, const struct weir_tm_info *info, int64_t now_ms, int64_t wall_ms,
                                       struct weir_tm_entry **out_tm, bool *out_new, struct weir_error *err) WEIR_CHECKED;

/* NOT_FOUND: it must register (again). */
enum weir_rc weir_tm_registry_heartbeat(struct weir_tm_registry *registry, const char *id, uint64_t memory_used_bytes, int64_t now_ms,
                                        int64_t wall_ms, struct weir_error *err) WEIR_CHECKED;

/* (T4): this process has not run for away_ms until now. */
void weir_tm_registry_was_away(struct weir_tm_registry *registry, int64_t away_ms, int64_t now_ms);

/* (T4): what a deadline becomes for this process having been away until now. INT64_MAX, none, stays. */
int64_t weir_tm_registry_put_off(const struct weir_tm_registry *registry, int64_t deadline_ms, int64_t away_ms, int64_t now_ms);

/* Its connection closed: the grace of (T2) begins. Unknown ids are ignored. */
void weir_tm_registry_closed(struct weir_tm_registry *registry, const char *id, int64_t now_ms);

/* Takes out one that is lost by now; NULL when there is none (any more). The caller frees it with weir_tm_entry_destroy. out_why: a sentence's
 * end ("its connection closed and it did not come back"). */
struct weir_tm_entry *weir_tm_registry_take_lost(struct weir_tm_registry *registry, int64_t now_ms, const char **out_why);

/* Takes one out; NULL when unknown. expel: (T3). */
struct weir_tm_entry *weir_tm_registry_remove(struct weir_tm_registry *registry, const char *id, bool expel);
void weir_tm_entry_destroy(struct weir_tm_entry *tm); /* accepts NULL */

/* When take_lost must be asked next; INT64_MAX: never. */
int64_t weir_tm_registry_deadline_ms(const struct weir_tm_registry *registry);

/* In order of registration. */
uint32_t weir_tm_registry_count(const struct weir_tm_registry *registry);
struct weir_tm_entry *weir_tm_registry_at(const struct weir_tm_registry *registry, uint32_t i);
struct weir_tm_entry *weir_tm_registry_find(const struct weir_tm_registry *registry, const char *id);

#endif
