/*
 * Operators: structs of functions run by a chain (task/chain.h) on the task's thread.
 *
 * O1  Deterministic: the same state and the same inputs in the same order give the same outputs. No clock, no socket: time and mails are
 *     handed in.
 * O2  Output goes through weir_op_emit only; it takes the reference.
 * O3  Every hook may return AGAIN where its comment says so: the chain calls `resume` when output has room or after a wake, until it
 *     returns OK, before the hook's event is passed on downstream. Only one event of an operator is unfinished at a time.
 *
 * A new operator is one file with a `const struct weir_op_vtable`, one tag in opspec.h, one row in op_registry.c.
 */
#ifndef WEIR_TASKMANAGER_OPERATORS_OP_H
#define WEIR_TASKMANAGER_OPERATORS_OP_H

#include "taskmanager/connectors/connector.h"

/* No watermark yet, and the one that says "no more rows". Milliseconds. */
#define WEIR_WATERMARK_MIN INT64_MIN
#define WEIR_WATERMARK_MAX INT64_MAX

struct weir_op;
struct weir_state_backend;

/* Of a snapshot: files beside the task's, and those of them that are new. */
struct weir_op_files {
    uint64_t bytes, new_bytes;
};

/* A part of a checkpoint that is being restored: what one subtask of the vertex had then. */
struct weir_op_part {
    const char *dir;      /* files beside the task's */
    uint32_t subtask;     /* whose it was, */
    uint32_t parallelism; /* of so many. With as many now, it is this subtask's own; else all of them are handed over, in this order */
};

/* What an operator may touch; filled by the task. */
struct weir_op_ctx {
    struct weir_conn_ctx conn; /* table set for SOURCE and SINK only */
    uint32_t max_parallelism;
    uint64_t *late_dropped;    /* counter */
    uint64_t *state_bytes;     /* gauge */
    struct weir_state_backend *backend; /* for keyed state; NULL: it goes whole into the task's file */
    struct weir_op_files *files;        /* a snapshot's background part adds to it; may be NULL */
    struct weir_op_part part;           /* while restore runs */
    /* Takes the batch's reference; goes to the next operator or the output. Set by the chain. */
    void (*emit)(void *emit_ctx, struct weir_batch *batch);
    void *emit_ctx;
    /* Whether output has room: an operator in a long firing returns AGAIN when it has not. */
    bool (*output_ready)(void *emit_ctx);
    /* A wall-clock reading for CURRENT_TIMESTAMP, taken once per batch by the task. */
    int64_t now_ms;
};

struct weir_op_vtable {
    const char *name;
    size_t op_bytes; /* of the operator's struct, whose first member is struct weir_op; zeroed by the chain */

    /* spec outlives the operator. */
    enum weir_rc (*open)(struct weir_op *op, const struct weir_opspec *spec, struct weir_error *err);
    void (*close)(struct weir_op *op); /* also after a failed open; nothing is in flight */

    /* A batch arrives at an input (borrowed). AGAIN: not finished (a sink without room); resume goes on with the same batch, which the
     * chain keeps until then. */
    enum weir_rc (*process)(struct weir_op *op, uint32_t input, struct weir_batch *batch, struct weir_error *err);
    /* The combined watermark of all inputs has moved to watermark_ms. AGAIN: still firing. NULL: nothing to do. */
    enum weir_rc (*watermark)(struct weir_op *op, int64_t watermark_ms, struct weir_error *err);
    /* Before a barrier, watermark or end is passed on: give out what is held back (pre-aggregation). NULL: nothing. AGAIN allowed. */
    enum weir_rc (*flush)(struct weir_op *op, struct weir_error *err);
    /* All inputs have ended (after the maximal watermark). AGAIN allowed: sinks commit here when the job takes no checkpoints. */
    enum weir_rc (*end_input)(struct weir_op *op, struct weir_error *err);
    /* At a barrier, after flush and before it is passed on: appends the operator's state to out, which stays valid until this (or resume) has
     * returned OK. AGAIN allowed: a sink makes what it has durable first. NULL: no state. */
    enum weir_rc (*snapshot)(struct weir_op *op, uint64_t checkpoint, struct weir_buf *out, struct weir_error *err);
    /* Behind the barrier, between other events: a bounded step of what snapshot has begun, the state of that moment; appends to the same out.
     * Called after each snapshot until it returns something else than AGAIN. OK: the bytes in out are complete. An error costs the
     * checkpoint, not the task. *out_any is set when something was done; if it is not, a mail will come. NULL: snapshot has done it all. */
    enum weir_rc (*background)(struct weir_op *op, struct weir_buf *out, bool *out_any, struct weir_error *err);
    /* After open and before the first event: takes over what snapshot wrote at `checkpoint`, which is committed; as often as there are parts
     * (ctx->part). AGAIN allowed: a sink commits what the checkpoint owes. CORRUPT. */
    enum weir_rc (*restore)(struct weir_op *op, uint64_t checkpoint, struct weir_slice state, struct weir_error *err);
    /* After the last part. CORRUPT: they are not all there. NULL: nothing. */
    enum weir_rc (*restored)(struct weir_op *op, struct weir_error *err);
    /* The checkpoint was committed: external effects follow. AGAIN allowed. NULL: nothing. */
    enum weir_rc (*notify)(struct weir_op *op, uint64_t checkpoint, struct weir_error *err);
    /* Before the task ends well: waits until everything committed has had its effect outside. AGAIN allowed. NULL: nothing. */
    enum weir_rc (*drain)(struct weir_op *op, struct weir_error *err);
    /* Goes on with the hook that returned AGAIN. NULL where no hook does. */
    enum weir_rc (*resume)(struct weir_op *op, struct weir_error *err);
};

struct weir_op {
    const struct weir_op_vtable *vtable;
    const struct weir_opspec *spec;
    struct weir_op_ctx *ctx;
};

static inline void weir_op_emit(struct weir_op *op, struct weir_batch *batch_take)
{
    op->ctx->emit(op->ctx->emit_ctx, batch_take);
}

/* The operator of a tag; never NULL for a checked graph but for SOURCE, which the task drives itself (operators/source.h). */
const struct weir_op_vtable *weir_op_find(enum weir_op_tag tag);

#endif
