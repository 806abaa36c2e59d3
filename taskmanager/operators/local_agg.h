/*
 * The operator LOCAL_AGG: pre-aggregation before a hash exchange. It holds rows back only until the next flush, so it has no state.
 */
#ifndef WEIR_TASKMANAGER_OPERATORS_LOCAL_AGG_H
#define WEIR_TASKMANAGER_OPERATORS_LOCAL_AGG_H

#include "taskmanager/operators/op.h"

extern const struct weir_op_vtable weir_local_agg_op;

#endif
