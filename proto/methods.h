/*
 * Method numbers of the control RPC, from methods.def.
 */
#ifndef WEIR_PROTO_METHODS_H
#define WEIR_PROTO_METHODS_H

enum weir_method {
#define X(name, id, served_by, request, reply) WEIR_METHOD_##name = id,
#include "proto/methods.def"
#undef X
};

#define WEIR_ROLE_JOBMANAGER "jobmanager"
#define WEIR_ROLE_TASKMANAGER "taskmanager"

#endif
