/*
 * Connectors: sources read splits, sinks write tables. A new connector is one file and one row in conn_registry.c; its options stand in
 * common/catalog (a test checks that the two tables agree).
 *
 * A source or sink belongs to one task and is called on its thread only. It never blocks: blocking calls go through ctx->executor and
 * finish as `done` on this thread. When it has nothing to do it says so (WEIR_AGAIN) and wakes the task later through ctx->wake.
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_CONNECTOR_H
#define WEIR_TASKMANAGER_CONNECTORS_CONNECTOR_H

#include "common/base/log.h"
#include "common/data/batch.h"
#include "common/fs/fs.h"
#include "common/plan/jobgraph.h"
#include "common/runtime/executor.h"
#include "taskmanager/connectors/bad_records.h"
#include "taskmanager/connectors/fence.h"

/*
 * Asks the JobManager whether an attempt is still the job's present one, before something outside is taken over in its name (RELIABILITY 4.6:
 * a fresh lease immediately before init_transactions). Reference counted: a thread that outlives its task may hold it.
 */
struct weir_lease {
    /* Any thread but the TaskManager's own; blocks up to timeout_ms. OK: the attempt was the present one at some moment of the call. STALE:
     * it was replaced or the job is over. TIMEOUT: nobody answered: unknown, ask again. */
    enum weir_rc (*check)(struct weir_lease *lease, int64_t timeout_ms, struct weir_error *err);
    struct weir_lease *(*ref)(struct weir_lease *lease);
    void (*unref)(struct weir_lease *lease);
};

/* What a connector may touch. Outlives it. */
struct weir_conn_ctx {
    const struct weir_table_spec *table;
    const struct weir_job_settings *settings;
    const char *job_id;
    const char *checkpoints_dir;     /* state.checkpoints.dir; the job's files are below <dir>/<job-id>/ */
    const char *uid;                 /* of the operator: stable across attempts, unique in the job */
    uint32_t attempt;
    uint32_t run; /* which attempt gave the job its present parallelism; 0: it always had it */
    uint32_t vertex;
    uint32_t subtask;
    uint32_t parallelism;
    struct weir_mem *mem;            /* batches are charged here */
    struct weir_executor *executor;
    struct weir_fs *fs;
    const struct weir_clock *clock;  /* for pacing and time-outs only: results must not depend on it */
    const struct weir_log *log;      /* bound to job and task */
    uint64_t *errors_skipped;        /* counter of bad records left out, or given to bad_records */
    struct weir_bad_records *bad_records; /* of a source whose on_error is TABLE */
    /* Makes the task step again soon. Any thread. */
    void (*wake)(void *wake_ctx);
    void *wake_ctx;
    /* While it is closed nothing may be begun outside; the operator SINK sees to it for all that the task's thread calls. NULL: never closed. */
    struct weir_fence *fence;
    struct weir_lease *lease; /* NULL in tests without a JobManager: the attempt is always the present one */
};

/* A split: the unit a source is divided into. Strings and bytes are borrowed for the call. */
struct weir_split {
    struct weir_slice id;
    struct weir_slice data; /* the connector's own */
};

/* Rows of one split that follow each other in a batch. */
struct weir_split_run {
    uint32_t split; /* the number add_split returned */
    uint32_t rows;
};

enum { WEIR_SPLIT_RUNS_MAX = 256 };

/* What poll gives: a batch, and which rows are which split's (in order, together all rows). */
struct weir_source_poll {
    struct weir_batch *batch; /* the caller's; NULL: no rows this time */
    struct weir_split_run runs[WEIR_SPLIT_RUNS_MAX];
    uint32_t nruns;
    int64_t wait_ms; /* with WEIR_AGAIN: step again after so long even without a wake; -1 = only when woken */
};

struct weir_source {
    const struct weir_source_vtable *vtable;
};

struct weir_source_vtable {
    const char *connector;

    /* Whether the table's options make it bounded. Pure. */
    bool (*bounded)(const struct weir_table_spec *table);

    /* Lists the splits by calling add(add_ctx, split); deterministic order. May block (runs off-thread). INVALID: options; IO; NOT_FOUND. */
    enum weir_rc (*enumerate)(const struct weir_table_spec *table, uint32_t parallelism, struct weir_fs *fs,
                              void (*add)(void *add_ctx, struct weir_split split), void *add_ctx, struct weir_error *err);

    enum weir_rc (*create)(const struct weir_conn_ctx *ctx, struct weir_source **out_source, struct weir_error *err);
    /* Only when none of its work is in flight. */
    void (*destroy)(struct weir_source *source);

    /* Starts reading a split; `position` is what split_position wrote in a checkpoint, or empty for the beginning. *out_split numbers it
     * (0, 1, ... in the order added). */
    enum weir_rc (*add_split)(struct weir_source *source, struct weir_split split, struct weir_slice position, uint32_t *out_split,
                              struct weir_error *err);

    /* OK: poll is filled. AGAIN: nothing now. END: every split added so far is read to its end. Anything else: the task fails. At most one
     * batch of at most WEIR_BATCH_ROWS_MAX rows. */
    enum weir_rc (*poll)(struct weir_source *source, struct weir_source_poll *out_poll, struct weir_error *err);

    /* Appends the split's position behind the last row handed out: state of a checkpoint. */
    void (*split_position)(const struct weir_source *source, uint32_t split, struct weir_buf *out);

    /* Whether the split has been handed out to its end. */
    bool (*split_finished)(const struct weir_source *source, uint32_t split);

    /* A checkpoint in which the split stood at `position` was committed: for those who follow along outside (a consumer group's offsets).
     * Called for one split after the other, in the order of their numbers. Best effort, no effect on the job. NULL: nothing. */
    void (*committed)(struct weir_source *source, uint32_t split, struct weir_slice position);
};

struct weir_sink {
    const struct weir_sink_vtable *vtable;
};

struct weir_sink_vtable {
    const char *connector;

    enum weir_rc (*create)(const struct weir_conn_ctx *ctx, struct weir_sink **out_sink, struct weir_error *err);
    /* Only when none of its work is in flight. What is not committed stays uncommitted. */
    void (*destroy)(struct weir_sink *sink);

    /* Takes the rows of the batch (borrowed). AGAIN: nothing was taken, offer the batch again after a wake. */
    enum weir_rc (*write)(struct weir_sink *sink, const struct weir_batch *batch, struct weir_error *err);

    /* After the last row of a job that takes no checkpoints: writes out and commits everything. AGAIN: still at it, call again after a
     * wake; OK: committed, for good. */
    enum weir_rc (*finish)(struct weir_sink *sink, struct weir_error *err);

    /*
     * Jobs that take checkpoints (settings->checkpoint_interval_ms > 0). Each may be NULL: without prepare a sink holds no rows back (finish
     * is called at the end of input as well), without commit and restore it has no state and is at most as exact as its writes.
     * prepare: what was written so far belongs to `checkpoint`: makes it durable, appends what commit will need to out. AGAIN: still at it,
     *   call again with the same arguments after a wake.
     * commit: makes everything up to `checkpoint` visible, exactly once however often it is repeated, also by a later attempt. AGAIN; or OK
     *   at once where that goes on in the background, and an error of it comes out of any later call.
     * restore: before the first write: the state that prepare wrote at a committed checkpoint; the sink commits it (again). With another
     *   parallelism than then, that of each subtask whose number modulo the present parallelism is this one's: several, or none. When it was
     *   the `last`, what later, lost epochs left behind is dropped too. AGAIN: call again with the same arguments.
     */
    enum weir_rc (*prepare)(struct weir_sink *sink, uint64_t checkpoint, struct weir_buf *out, struct weir_error *err);
    enum weir_rc (*commit)(struct weir_sink *sink, uint64_t checkpoint, struct weir_error *err);
    enum weir_rc (*restore)(struct weir_sink *sink, uint64_t checkpoint, struct weir_slice state, bool last, struct weir_error *err);
    /* Before the task ends well, after the last commit or (in an attempt that only drains) after restore: waits until everything committed is
     * visible. NULL: commit and restore return OK only then. AGAIN. */
    enum weir_rc (*drain)(struct weir_sink *sink, struct weir_error *err);
    /* After AGAIN of write or restore: whether it waits for something that may take long, such as room on a disk: it is to be called again after
     * *out_wait_ms even without a wake, and out_why tells why a checkpoint that has to wait for it cannot be. commit may be called meanwhile, also while
     * the fence is closed: what it sets going looks at that itself; it does not say AGAIN. NULL: never; else prepare, too, may say that its checkpoint
     * cannot be, by RESOURCE: what was written so far stays, and belongs to a later one. */
    bool (*stalled)(const struct weir_sink *sink, int64_t *out_wait_ms, struct weir_error *out_why);
};

/* The connector's side of that name, or NULL. Static; any thread. */
const struct weir_source_vtable *weir_conn_source(const char *connector);
const struct weir_sink_vtable *weir_conn_sink(const char *connector);

#endif
