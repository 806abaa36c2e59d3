/*
 * The TaskManager's side of its bond with the JobManagers: a connection to each, a registration with the one that leads (tm_leaders.h says
 * which), heartbeats and reports to that one.
 *
 * A change of the leader is nobody's business but this file's: tasks go on, and what the old leader has not answered is told to the new one,
 * in its epoch.
 *
 * Owner: the TaskManager's mailbox thread.
 */
#ifndef WEIR_TASKMANAGER_TM_LINK_H
#define WEIR_TASKMANAGER_TM_LINK_H

#include "common/base/config.h"
#include "common/net/rpc.h"
#include "common/runtime/mailbox.h"
#include "common/runtime/timer.h"
#include "taskmanager/tm_attempts.h"

struct weir_tm_link;

struct weir_tm_link_options {
    const struct weir_config *config;
    const struct weir_log *log;
    struct weir_tls *tls; /* NULL: plaintext */
    const struct weir_clock *clock;
    const char *tm_id;
    const char *rpc_address;
    const char *data_address;
    struct weir_mailbox *mailbox;
    struct weir_timers *timers;
    struct weir_tm_attempts *attempts;
    const struct weir_mem *mem;
    /* The leader has given this incarnation up and its tasks with it: cancel them and take a new id (what tm_id points to changes). It
     * registers again when no task is left. */
    void (*on_expelled)(void *ctx);
    /* The leader has answered a registration or a heartbeat that was sent at this moment of the boot clock; it can be asked for leases. May be NULL. */
    void (*on_heard)(void *ctx, int64_t sent_boot_ns);
    void *ctx;
};

/* Starts connecting. Options are copied; what they point to outlives it. INVALID (an address). */
enum weir_rc weir_tm_link_create(const struct weir_tm_link_options *options, struct weir_tm_link **out_link, struct weir_error *err)
    WEIR_CHECKED;
void weir_tm_link_stop(struct weir_tm_link *link);    /* no further messages; idempotent */
void weir_tm_link_destroy(struct weir_tm_link *link); /* blocks; accepts NULL */

/* Reports a task's state now; heartbeats repeat it. */
void weir_tm_link_report(struct weir_tm_link *link, const struct weir_tm_status *status);

/* Reports a task's part of a checkpoint, again until the JobManager has answered. */
void weir_tm_link_snapshot(struct weir_tm_link *link, const struct weir_tm_status *status, const struct weir_task_snapshot *snapshot);

/* Asks the JobManager whether an attempt is its job's present one. done is called once, on the owner's thread, or on any when the mailbox
 * closes first: OK it is; STALE it is not, text says why; anything else: nobody could tell. */
void weir_tm_link_ask_lease(struct weir_tm_link *link, const char *job_id, uint32_t region, uint32_t attempt,
                            void (*done)(void *ctx, enum weir_rc rc, const char *text), void *ctx);

/* Whether an order with that (epoch, sequence) may be obeyed: only one that is newer than all before, in this order. So an old one that comes
 * again, or late, does nothing; who gave it has long heard that its answer is unknown. */
bool weir_tm_link_accept_order(struct weir_tm_link *link, uint64_t epoch, uint64_t sequence);

#endif
