/*
 * The operator SINK: writes a table through a connector; at END it commits what was written.
 */
#ifndef WEIR_TASKMANAGER_OPERATORS_SINK_H
#define WEIR_TASKMANAGER_OPERATORS_SINK_H

#include "taskmanager/operators/op.h"

extern const struct weir_op_vtable weir_sink_op;

#endif
