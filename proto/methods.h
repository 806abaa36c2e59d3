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

/* Of the control messages as a whole: peers of another version are refused at the handshake. */
enum { WEIR_PROTOCOL_VERSION = 1 };

#define WEIR_ROLE_JOBMANAGER "jobmanager"
#define WEIR_ROLE_TASKMANAGER "taskmanager"

#endif
