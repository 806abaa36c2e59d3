/*
 * A task: one subtask of a vertex. Its gate or source feeds its chain, its chain feeds its writer.
 *
 *        create ──> INITIALIZING ──step──> RUNNING ──step──> FINISHED
 *                        │                    │
 *                        └──── error ─────────┴──> FAILED
 *        cancel, from INITIALIZING or RUNNING ───> CANCELING ──step──> CANCELED
 *
 * With checkpoints (settings.checkpoint_interval_ms > 0) a task that has seen the end of its input goes on taking part in them, and is
 * FINISHED when the last checkpoint, which every task of the job took after its end, was committed. At most one snapshot is under way: a
 * barrier that comes meanwhile is declined.
 *
 * weir_task_step needs no thread: clock, executor, file system and channels are injected, so that a test or simulator can drive whole
 * clusters step by step. task_thread.h is the shell that gives a task its thread. FINISHED, FAILED and CANCELED are reached only when
 * nothing submitted to the executor is in flight.
 */
#ifndef WEIR_TASKMANAGER_TASK_TASK_H
#define WEIR_TASKMANAGER_TASK_TASK_H

#include "common/plan/jobgraph.h"
#include "taskmanager/exchange/channel.h"
#include "taskmanager/operators/op.h"
#include "taskmanager/task/snap_file.h"

enum weir_task_phase {
    WEIR_TASK_PHASE_INITIALIZING,
    WEIR_TASK_PHASE_RUNNING,
    WEIR_TASK_PHASE_CANCELING,
    WEIR_TASK_PHASE_FINISHED,
    WEIR_TASK_PHASE_CANCELED,
    WEIR_TASK_PHASE_FAILED,
};

enum weir_ckpt_outcome { WEIR_CKPT_ABORTED, WEIR_CKPT_COMMITTED, WEIR_CKPT_LAST };

/* How a task's part of a checkpoint went. */
struct weir_task_snapshot {
    uint64_t checkpoint;
    bool taken;                    /* else declined: err */
    bool ended;                    /* taken after all its input had ended */
    struct weir_snap_handle handle; /* path borrowed for the call */
    uint64_t state_bytes, new_bytes; /* of all its files, and of those that no earlier checkpoint has */
    uint64_t sync_ms, async_ms, alignment_ms;
    struct weir_error err;
};

/* What one subtask of the vertex had in the checkpoint that is restored. */
struct weir_task_part {
    uint32_t subtask;
    struct weir_snap_handle handle;
};

/* What a task is made from. Everything pointed to outlives the task, but for splits, whose bytes are copied. */
struct weir_task_spec {
    const struct weir_jobgraph *graph;
    uint32_t vertex;
    uint32_t subtask;
    uint32_t attempt;
    const char *job_id;
    const char *checkpoints_dir; /* state.checkpoints.dir: parts go to <dir>/<job-id>/chk-<n>/, which exists when a barrier comes */
    const struct weir_split *splits; /* of the source at the head */
    uint32_t nsplits;
    /* From a checkpoint: its own part or, when the vertex had another parallelism, those of all its subtasks, in their order; copied. */
    const struct weir_task_part *restore;
    uint32_t nrestore; /* 0: from the beginning */
    uint64_t restore_checkpoint;
    uint32_t run; /* which attempt gave the job its present parallelism */
    struct weir_state_backend *backend; /* for keyed state; NULL: it goes whole into the task's file */
    /* Nothing is read: the operators take over the checkpoint, commit and drain what it owes, and the task is FINISHED. No inputs are added. */
    bool drain_only;
    /* Its part of a checkpoint is durable, or was declined. On the task's thread. */
    void (*on_snapshot)(void *ctx, const struct weir_task_snapshot *snapshot);
    void *on_snapshot_ctx;
    /* Where it runs: executor, fs, clock, log, mem, wake. The rest of conn is filled in by the task. The executor is the task's own:
     * weir_task_work_done is called by it for each piece of work. */
    struct weir_conn_ctx env;
};

/* Counters; written by the task's thread, read by any (relaxed). Milliseconds are of the thread's time. */
struct weir_task_counts {
    _Atomic uint64_t records_in, records_out, bytes_in, bytes_out;
    _Atomic uint64_t busy_us, idle_us, backpressured_us;
    _Atomic int64_t watermark_ms;
    _Atomic uint64_t late_dropped, errors_skipped, state_bytes;
    _Atomic bool ended; /* all input has ended; only the last checkpoint is waited for */
};

enum weir_task_wait {
    WEIR_TASK_RAN,   /* did something: step again soon */
    WEIR_TASK_IDLE,  /* nothing to do: wait for a wake or wait_ms */
    WEIR_TASK_BLOCKED, /* output is full or a sink is not ready: wait for a wake or wait_ms */
    WEIR_TASK_OVER,  /* FINISHED, CANCELED or FAILED */
};

struct weir_task;

/* Opens nothing yet. Channels are added next, then the task is stepped. */
struct weir_task *weir_task_create(const struct weir_task_spec *spec);

/* Only when over, or never stepped. Releases the channels. Accepts NULL. */
void weir_task_destroy(struct weir_task *task);

/* One channel of an input edge (index into graph->edges); consumer end taken. */
void weir_task_add_input_take(struct weir_task *task, uint32_t edge, struct weir_channel *channel);
/* All channels of an output edge, in order of the consumer's subtasks; producer ends taken. */
void weir_task_add_output_take(struct weir_task *task, uint32_t edge, struct weir_channel *const *channels, uint32_t count);

/* Runs a bounded piece of work: opens what is to be opened, or takes in one event and carries it through. *out_wait_ms: with IDLE and
 * BLOCKED, the longest sleep (-1: until woken). */
enum weir_task_wait weir_task_step(struct weir_task *task, int64_t *out_wait_ms);

/* Asks the task to stop without finishing; it is over after further steps. Idempotent. The task's thread. */
void weir_task_cancel(struct weir_task *task);

/* The task's thread. trigger: begins a checkpoint at a source task; the others wait for its barrier. notify: the checkpoint was committed, or
 * aborted; LAST: committed, and every task took it after the end of its input, so that tasks may finish. */
void weir_task_trigger(struct weir_task *task, uint64_t checkpoint);
void weir_task_notify(struct weir_task *task, uint64_t checkpoint, enum weir_ckpt_outcome outcome);

enum weir_task_phase weir_task_phase(const struct weir_task *task);
/* Why it is FAILED; borrowed. */
const struct weir_error *weir_task_failure(const struct weir_task *task);
const struct weir_task_counts *weir_task_counts(const struct weir_task *task);

/* The executor tells the task's thread that a piece of work was submitted or its `done` has been called. */
void weir_task_work_submitted(struct weir_task *task);
void weir_task_work_done(struct weir_task *task);

/* "count -> write (2/4)", for logs and messages; borrowed. */
const char *weir_task_name(const struct weir_task *task);

#endif
