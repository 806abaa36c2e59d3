/*
 * A chain: the operators of one task, called directly one after the other on the task's thread, the last one's output going to the task's
 * writer (or nowhere, behind a sink).
 *
 * H1  Events reach every operator in order. A batch or control event is passed to operator i + 1 only after operator i has finished with
 *     what came before; an operator that said AGAIN is resumed first, and what arrives for it meanwhile waits in its inbox.
 * H2  Before a watermark, barrier or end reaches an operator's hook, its `flush` hook has run.
 * H3  A new event is pushed only when the chain is clear.
 */
#ifndef WEIR_TASKMANAGER_TASK_CHAIN_H
#define WEIR_TASKMANAGER_TASK_CHAIN_H

#include "taskmanager/exchange/writer.h"
#include "taskmanager/operators/op.h"
#include "taskmanager/task/snap_file.h"

enum weir_chain_control {
    WEIR_CHAIN_NONE,
    WEIR_CHAIN_WATERMARK,
    WEIR_CHAIN_IDLE,  /* the input has become idle: passed on */
    WEIR_CHAIN_FLUSH, /* no more input now: give out what is held back; ends at the writer */
    WEIR_CHAIN_END,
    WEIR_CHAIN_BARRIER, /* every operator's state is taken, then the barrier is passed on */
    WEIR_CHAIN_NOTIFY,  /* a checkpoint was committed; ends at the writer */
    WEIR_CHAIN_RESTORE, /* before all else: the operators take over a part of a checkpoint; ends at the writer */
    WEIR_CHAIN_RESTORED, /* all parts were handed over; ends at the writer */
    WEIR_CHAIN_DRAIN,   /* after all else: everything committed takes effect outside; ends at the writer */
};

struct weir_chain;

/* Opens the operators ops[0..nops) (no SOURCE). ctx is a template that is copied for each operator, table, emit and output_ready set by the
 * chain. writer may be NULL when the last operator is a sink; it and the specs outlive the chain. nops may be 0: all goes to the writer. */
enum weir_rc weir_chain_open(const struct weir_opspec *const *ops, uint32_t nops, const struct weir_op_ctx *ctx, struct weir_writer *writer,
                             struct weir_chain **out_chain, struct weir_error *err) WEIR_CHECKED;
void weir_chain_close(struct weir_chain *chain); /* accepts NULL; none of its work is in flight */

/* Pushes an event; only when clear. The batch's reference is taken. Any error fails the task. value: a WATERMARK's milliseconds, a BARRIER's,
 * NOTIFY's or RESTORE's checkpoint. */
enum weir_rc weir_chain_batch_take(struct weir_chain *chain, uint32_t input, struct weir_batch *batch, int64_t now_wall_ms,
                                   struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_chain_control(struct weir_chain *chain, enum weir_chain_control control, int64_t value, struct weir_error *err) WEIR_CHECKED;

/* A step of what is left of the last BARRIER's states behind it; any time, also while the chain is not clear. AGAIN: not all are complete;
 * *out_any is set when something was done. Else, and when BARRIER has gone through, the states are complete (OK) or one of them failed. */
enum weir_rc weir_chain_background(struct weir_chain *chain, bool *out_any, struct weir_error *err) WEIR_CHECKED;

/* The states that the last BARRIER took, once it has gone through and they are complete: one per operator that has any, borrowed until the next
 * BARRIER. Returns how many of out_ops (room for every operator) were filled. */
uint32_t weir_chain_states(const struct weir_chain *chain, struct weir_snap_op *out_ops);

/* What RESTORE will hand out, by operator uid, and whose it was; borrowed until RESTORE has gone through. INVALID: a state of an operator that
 * the chain has not, or the other way round (named). */
enum weir_rc weir_chain_set_restore(struct weir_chain *chain, const struct weir_op_part *part, const struct weir_snap_op *ops, uint32_t nops,
                                    struct weir_error *err) WEIR_CHECKED;

/* Resumes what is unfinished as far as it goes. */
enum weir_rc weir_chain_pump(struct weir_chain *chain, struct weir_error *err) WEIR_CHECKED;

/* Whether everything pushed has been dealt with. */
bool weir_chain_clear(const struct weir_chain *chain);

#endif
