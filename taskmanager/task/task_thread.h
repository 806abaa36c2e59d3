/*
 * The shell around a task: its thread, mailbox, waker and executor.
 *
 * Owner: the TaskManager's thread creates, starts, cancels, joins and destroys; everything of the task itself happens on the task's thread.
 */
#ifndef WEIR_TASKMANAGER_TASK_TASK_THREAD_H
#define WEIR_TASKMANAGER_TASK_TASK_THREAD_H

#include "common/runtime/pool.h"
#include "taskmanager/task/task.h"

struct weir_task_thread;

/* The process's services, and who to tell. Outlives the thread. */
struct weir_task_host {
    struct weir_pool *pool; /* must take whatever tasks submit until they are over */
    struct weir_fs *fs;
    const struct weir_clock *clock;
    struct weir_mem *mem;
    struct weir_lease *lease; /* of the attempt; NULL: none to ask */
    struct weir_fence *fence; /* of the attempt; NULL: never closed */
    struct weir_state_backend *backend; /* may be NULL */
    /* The task's phase has changed; on the task's thread: copy and post. failure is set for FAILED, else NULL. After a phase that is over
     * the thread touches nothing of the host any more. */
    void (*on_phase)(void *ctx, struct weir_task_thread *thread, enum weir_task_phase phase, const struct weir_error *failure);
    /* A task's part of a checkpoint is durable, or was declined; on the task's thread: copy and post. */
    void (*on_snapshot)(void *ctx, struct weir_task_thread *thread, const struct weir_task_snapshot *snapshot);
    void *ctx;
};

/* The task of spec (its env is filled in here; log is bound to job and task). RESOURCE: no file descriptors. */
enum weir_rc weir_task_thread_create(const struct weir_task_spec *spec, const struct weir_log *log, const struct weir_task_host *host,
                                     struct weir_task_thread **out_thread, struct weir_error *err) WEIR_CHECKED;

/* For adding channels, before start; and for its counters and name, any time. */
struct weir_task *weir_task_thread_task(struct weir_task_thread *thread);

/* A wake-up of this task for one channel end: a new reference. */
struct weir_channel_wake weir_task_thread_wake_ref(struct weir_task_thread *thread);

enum weir_rc weir_task_thread_start(struct weir_task_thread *thread, struct weir_error *err) WEIR_CHECKED;

/* Asks the task to stop; returns at once. Idempotent. */
void weir_task_thread_cancel(struct weir_task_thread *thread);

/* Checkpoints: see weir_task_trigger and weir_task_notify. Return at once. */
void weir_task_thread_trigger(struct weir_task_thread *thread, uint64_t checkpoint);
void weir_task_thread_notify(struct weir_task_thread *thread, uint64_t checkpoint, enum weir_ckpt_outcome outcome);

/* Its fence has been opened: look again. */
void weir_task_thread_wake(struct weir_task_thread *thread);

/* Waits for the thread, which has told a phase that is over: it and its stack are gone then, the task can still be asked. Idempotent. */
void weir_task_thread_join(struct weir_task_thread *thread);

/* Waits for the thread, which is over or never started, then frees all. Accepts NULL. */
void weir_task_thread_destroy(struct weir_task_thread *thread);

#endif
