/*
 * Which JobManager leads, as a TaskManager finds out: a pure step. What happened goes in, what is to be done comes out; it has no connection,
 * thread or clock.
 *
 *   looking ──a connected one says it leads──> registering ──accepted──> registered
 *      ^  ^                                        │ refused, closed        │ closed, refused, silent, or another leads with a higher epoch
 *      │  └────────────────────────────────────────┘                        │
 *      └────────────────────────────────────────────────────────────────────┘
 *
 * L1  While it looks, every connected JobManager is asked who leads, each again WEIR_TM_ASK_EVERY_MS after its last question; a registered one
 *     asks too when its leader has been silent for longer than two heartbeats, so that a leader that hangs is left when there is another.
 * L2  It registers with the one of the highest epoch of those that say they lead, and never with one whose epoch is lower than the newest that
 *     was accepted, of a registration or an order.
 * L3  JobManagers that an answer names are known from then on. Of more than WEIR_TM_LEADERS_MAX, those stay that the configuration names, that are
 *     connected, or that the newest answer names.
 *
 * Times are monotonic milliseconds. Owner: the TaskManager's mailbox thread.
 */
#ifndef WEIR_TASKMANAGER_TM_LEADERS_H
#define WEIR_TASKMANAGER_TM_LEADERS_H

#include "common/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WEIR_TM_LEADERS_MAX = 16,
    WEIR_TM_ASK_EVERY_MS = 50,
    WEIR_TM_REGISTER_AGAIN_MS = 200,  /* after a refusal, with the same one */
    WEIR_TM_MEMBERS_EVERY_MS = 1000,  /* the leader is asked who belongs to the cluster */
};

/* Why there is no leader any more. */
enum weir_tm_leaders_lost {
    WEIR_TM_LEADER_KEPT,
    WEIR_TM_LEADER_CLOSED,
    WEIR_TM_LEADER_REFUSED,
    WEIR_TM_LEADER_SILENT,
    WEIR_TM_LEADER_SUPERSEDED,
};

/* What a JobManager answers to the question who leads; borrowed. */
struct weir_tm_leaders_word {
    bool leading;   /* itself */
    uint64_t epoch; /* the newest it has seen */
    const char *leader_address; /* "" when it does not know */
    char *const *jobmanagers;
    size_t njobmanagers;
};

/* What is to be done now. Masks have bit i for JobManager i. */
struct weir_tm_leaders_todo {
    uint32_t connect;    /* its address is new, or another than before: what was connected under that number is to be dropped */
    uint32_t ask;        /* send it the question; its end goes to weir_tm_leaders_told */
    int32_t registration; /* send it a registration, whose end goes to _registered or _refused; -1: none */
    enum weir_tm_leaders_lost lost; /* the leader, or the one that a registration is under way to, counts no more: forget what was sent to it */
    int64_t next_ms;     /* step again then at the latest */
};

struct weir_tm_leaders;

/* jobmanagers: "host:port[,host:port...]", the configuration's. INVALID. */
enum weir_rc weir_tm_leaders_create(const char *jobmanagers, struct weir_tm_leaders **out_leaders, struct weir_error *err) WEIR_CHECKED;
void weir_tm_leaders_destroy(struct weir_tm_leaders *leaders); /* accepts NULL */

/* What happened. After each, step. */
void weir_tm_leaders_connected(struct weir_tm_leaders *leaders, uint32_t jm);
void weir_tm_leaders_disconnected(struct weir_tm_leaders *leaders, uint32_t jm);
void weir_tm_leaders_told(struct weir_tm_leaders *leaders, uint32_t jm, const struct weir_tm_leaders_word *word); /* NULL: no answer */
/* The registration under way was accepted, or not. Not of one that was lost meanwhile. */
void weir_tm_leaders_registered(struct weir_tm_leaders *leaders, uint64_t epoch, int64_t heartbeat_ms, int64_t timeout_ms, int64_t now_ms);
void weir_tm_leaders_refused(struct weir_tm_leaders *leaders, int64_t now_ms);
void weir_tm_leaders_heard(struct weir_tm_leaders *leaders, int64_t now_ms); /* an answer of the leader */
void weir_tm_leaders_disowned(struct weir_tm_leaders *leaders); /* the leader says that it does not lead, or does not know this TaskManager */

/* may_register: false while tasks of an earlier incarnation are not over. */
void weir_tm_leaders_step(struct weir_tm_leaders *leaders, int64_t now_ms, bool may_register, struct weir_tm_leaders_todo *out_todo);

/* Whether an order of that leader epoch may be obeyed; remembers the highest. */
bool weir_tm_leaders_accept_epoch(struct weir_tm_leaders *leaders, uint64_t epoch);

/* The one it is registered with, -1: none; and the epoch of that. */
int32_t weir_tm_leaders_leader(const struct weir_tm_leaders *leaders);
uint64_t weir_tm_leaders_epoch(const struct weir_tm_leaders *leaders);
uint32_t weir_tm_leaders_count(const struct weir_tm_leaders *leaders);
const char *weir_tm_leaders_address(const struct weir_tm_leaders *leaders, uint32_t jm);

#endif
