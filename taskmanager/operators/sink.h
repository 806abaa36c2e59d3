/*
 * The operator SINK: writes a table through a connector.
 *
 * Without checkpoints it commits what was written at END. With checkpoints the rows before a barrier are made durable by snapshot and become
 * visible by notify; those before END by the last checkpoint, the one taken after END.
 */
#ifndef WEIR_TASKMANAGER_OPERATORS_SINK_H
#define WEIR_TASKMANAGER_OPERATORS_SINK_H

#include "taskmanager/operators/op.h"

extern const struct weir_op_vtable weir_sink_op;

#endif
