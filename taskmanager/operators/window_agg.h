/*
 * The operator WINDOW_AGG: event-time window aggregates (TUMBLE, HOP) over raw or partial rows, in slices (window_slices.h).
 */
#ifndef WEIR_TASKMANAGER_OPERATORS_WINDOW_AGG_H
#define WEIR_TASKMANAGER_OPERATORS_WINDOW_AGG_H

#include "taskmanager/operators/op.h"

extern const struct weir_op_vtable weir_window_agg_op;

#endif
