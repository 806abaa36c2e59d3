/*
 * The operator UNION_ALL: merges inputs of one schema, row by row as they come.
 */
#ifndef WEIR_TASKMANAGER_OPERATORS_UNION_ALL_H
#define WEIR_TASKMANAGER_OPERATORS_UNION_ALL_H

#include "taskmanager/operators/op.h"

extern const struct weir_op_vtable weir_union_all_op;

#endif
