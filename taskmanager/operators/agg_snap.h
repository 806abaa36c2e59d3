/*
 * The state of an aggregating operator in checkpoints: its bytes say what it is the state of, then come the entries, or where they are
 * (state/keyed.h).
 */
#ifndef WEIR_TASKMANAGER_OPERATORS_AGG_SNAP_H
#define WEIR_TASKMANAGER_OPERATORS_AGG_SNAP_H

#include "taskmanager/operators/agg_set.h"
#include "taskmanager/operators/op.h"
#include "taskmanager/state/delta.h"

struct weir_agg_snap;

/* For the operator's set and state, which outlive it. fits: whether there can be such a namespace. */
struct weir_agg_snap *weir_agg_snap_create(const struct weir_op *op, struct weir_agg_set *set, struct weir_delta *state,
                                           bool (*fits)(const struct weir_op *op, int64_t space));
void weir_agg_snap_destroy(struct weir_agg_snap *snap); /* before the state; accepts NULL */

/* The hooks of an operator: appends at the barrier, and in the background. */
void weir_agg_snap_begin(struct weir_agg_snap *snap, uint64_t checkpoint, struct weir_buf *out);
enum weir_rc weir_agg_snap_background(struct weir_agg_snap *snap, struct weir_buf *out, bool *out_any, struct weir_error *err) WEIR_CHECKED;
void weir_agg_snap_notify(struct weir_agg_snap *snap, uint64_t checkpoint);

/* Adds the entries of the task's own key groups to the state; as often as there are parts, in the order of their subtasks. What an error leaves behind goes when the operator is closed. AGAIN: resume goes
 * on (OK when nothing is being restored). CORRUPT; INVALID: the state of other keys, aggregates or windows; RESOURCE. */
enum weir_rc weir_agg_snap_restore(struct weir_agg_snap *snap, uint64_t checkpoint, struct weir_slice bytes, struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_agg_snap_resume(struct weir_agg_snap *snap, struct weir_error *err) WEIR_CHECKED;
/* After the last part. CORRUPT: own key groups are in none of them. */
enum weir_rc weir_agg_snap_restored(const struct weir_agg_snap *snap, struct weir_error *err) WEIR_CHECKED;

#endif
