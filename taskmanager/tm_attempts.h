/*
 * The attempts of jobs' regions that this TaskManager runs parts of: tasks, their wiring, their fate. A deployment holds the tasks of one or
 * more regions of a job; from then on each region has an attempt of its own here.
 *
 * A1  A region's attempt is deployed once; the same order again changes nothing of it. One at or below a tombstone, of the region or of the whole
 *     job, is refused as STALE; the other regions of the order start all the same.
 * A2  A region's attempt is forgotten when the JobManager has canceled it (which it does at a job's end too), all its tasks are over, and each
 *     one's last state is acknowledged: until then every heartbeat and registration tells of it, also to a JobManager that was restarted.
 * A3  Whether it was told or not, a region's attempt is canceled here when a newer one of it arrives; all of the job are when the newer one has
 *     another parallelism (another `run`). Nothing else that happens to a region touches the tasks and channels of another.
 *
 * Owner: the TaskManager's mailbox thread.
 */
#ifndef WEIR_TASKMANAGER_TM_ATTEMPTS_H
#define WEIR_TASKMANAGER_TM_ATTEMPTS_H

#include "proto/control.pb-c.h"
#include "taskmanager/exchange/link.h"
#include "taskmanager/task/task_thread.h"
#include "taskmanager/tm_fence.h"
#include "taskmanager/tm_lease.h"

struct weir_tm_attempts;

/* One task's state as it is now; what it points to is borrowed until the next call that changes anything. */
struct weir_tm_status {
    const char *job_id;
    uint32_t attempt, vertex, subtask;
    Weir__Control__TaskState state;
    const struct weir_error *failure; /* FAILED only */
    const struct weir_task_counts *counts;
};

struct weir_tm_attempts_options {
    const char *tm_id;
    struct weir_mailbox *mailbox; /* the owner's */
    struct weir_pool *pool;
    struct weir_fs *fs;
    const struct weir_clock *clock;
    struct weir_mem *mem;
    struct weir_state_backend *backend; /* of the tasks' keyed state */
    const struct weir_log *log;
    struct weir_links *links;
    struct weir_tm_leases *leases;
    struct weir_tm_fences *fences;
    uint64_t channel_bytes; /* credit of one channel */
    const char *checkpoints_dir;
    /* A task has changed its state: report it. On the owner's thread. */
    void (*on_change)(void *ctx, const struct weir_tm_status *status);
    /* A task's part of a checkpoint is durable, or was declined. On the owner's thread. */
    void (*on_snapshot)(void *ctx, const struct weir_tm_status *status, const struct weir_task_snapshot *snapshot);
    void *ctx;
};

/* Options are copied; what they point to outlives it. */
struct weir_tm_attempts *weir_tm_attempts_create(const struct weir_tm_attempts_options *options);
void weir_tm_attempts_destroy(struct weir_tm_attempts *attempts); /* all tasks over; accepts NULL */

/* Starts the tasks of an order. STALE (every region of it was canceled), INVALID (the graph), RESOURCE. On error nothing of it runs. */
enum weir_rc weir_tm_attempts_deploy(struct weir_tm_attempts *attempts, const Weir__Control__DeployRequest *order, struct weir_error *err)
    WEIR_CHECKED;

/* Cancels the attempts of these regions of the job (nregions 0: of all) up to and including `attempt`, and leaves tombstones. */
void weir_tm_attempts_cancel(struct weir_tm_attempts *attempts, const char *job_id, const uint32_t *regions, size_t nregions, uint32_t attempt);
void weir_tm_attempts_cancel_all(struct weir_tm_attempts *attempts);

/* Begins checkpoint `checkpoint` at the sources here of the job's regions, as far as their attempt is `attempt` or an earlier one. NOT_FOUND: none
 * of them is here. INVALID: the tasks here would not write into `directory`. */
enum weir_rc weir_tm_attempts_trigger(struct weir_tm_attempts *attempts, const char *job_id, uint32_t attempt, uint64_t checkpoint,
                                      const char *directory, struct weir_error *err) WEIR_CHECKED;
/* Tells the tasks of the same how the checkpoint ended; nothing when none is here. */
void weir_tm_attempts_notify(struct weir_tm_attempts *attempts, const char *job_id, uint32_t attempt, uint64_t checkpoint, enum weir_ckpt_outcome outcome);

/* The fence of this attempt was opened: its tasks go on. */
void weir_tm_attempts_resume(struct weir_tm_attempts *attempts, const char *job_id, uint32_t region, uint32_t attempt);

/* Tasks not over yet, and all tasks held. */
uint32_t weir_tm_attempts_live(const struct weir_tm_attempts *attempts);
uint32_t weir_tm_attempts_tasks(const struct weir_tm_attempts *attempts);

/* Fills out_statuses, which has room for weir_tm_attempts_tasks. */
void weir_tm_attempts_status(struct weir_tm_attempts *attempts, struct weir_tm_status *out_statuses);

/* The JobManager has heard of a task's state: A2. */
void weir_tm_attempts_acked(struct weir_tm_attempts *attempts, const char *job_id, uint32_t attempt, uint32_t vertex, uint32_t subtask,
                            Weir__Control__TaskState state);

#endif
