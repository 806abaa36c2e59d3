/*
 * The operator CALC: filter + project/map, fused.
 */
#ifndef WEIR_TASKMANAGER_OPERATORS_CALC_H
#define WEIR_TASKMANAGER_OPERATORS_CALC_H

#include "taskmanager/operators/op.h"

extern const struct weir_op_vtable weir_calc_op;

#endif
