/*
 * The state of an aggregating operator as bytes: what it is the state of, then the entries (state/delta_snap.h).
 */
#ifndef WEIR_TASKMANAGER_OPERATORS_AGG_SNAP_H
#define WEIR_TASKMANAGER_OPERATORS_AGG_SNAP_H

#include "taskmanager/operators/agg_set.h"
#include "taskmanager/operators/op.h"
#include "taskmanager/state/delta.h"

/* Appends. */
void weir_agg_snap_encode(const struct weir_op *op, struct weir_agg_set *set, const struct weir_delta *state, struct weir_buf *out);

/* Fills the empty state with the entries of the task's own key groups. space_fits: whether there can be such a namespace. What an error
 * leaves behind goes when the operator is closed. CORRUPT; INVALID: the state of other keys, aggregates or windows; RESOURCE. */
enum weir_rc weir_agg_snap_decode(const struct weir_op *op, struct weir_agg_set *set, struct weir_delta *state, struct weir_slice bytes,
                                  bool (*space_fits)(const struct weir_op *op, int64_t space), struct weir_error *err) WEIR_CHECKED;

#endif
