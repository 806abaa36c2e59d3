/*
 * The operator GROUP_AGG: aggregates without a window over raw or partial rows, as a changelog.
 */
#ifndef WEIR_TASKMANAGER_OPERATORS_GROUP_AGG_H
#define WEIR_TASKMANAGER_OPERATORS_GROUP_AGG_H

#include "taskmanager/operators/op.h"

extern const struct weir_op_vtable weir_group_agg_op;

#endif
