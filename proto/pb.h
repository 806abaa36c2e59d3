/*
 * Protobuf messages to and from byte buffers, with the checks that protobuf-c leaves to us.
 */
#ifndef WEIR_PROTO_PB_H
#define WEIR_PROTO_PB_H

#include "common/base/buf.h"
#include "common/base/error.h"

#include <protobuf-c/protobuf-c.h>

/* Appends the packed message. */
void weir_pb_encode(const ProtobufCMessage *message, struct weir_buf *out);

enum {
    WEIR_PB_MEMORY_MAX = 256 << 20, /* that a message may take unpacked: empty ones in 2 bytes each take 50 times as much */
};

/* Unpacks a message; the caller frees it with weir_pb_free. CORRUPT; LIMIT: it would take too much memory. Both name the message. */
enum weir_rc weir_pb_decode(const ProtobufCMessageDescriptor *descriptor, struct weir_slice bytes, void *out_message, struct weir_error *err)
    WEIR_CHECKED;

void weir_pb_free(void *message); /* accepts NULL */

/* A field of bytes that borrows them. */
static inline ProtobufCBinaryData weir_pb_bytes(struct weir_slice s)
{
    return (ProtobufCBinaryData){.len = s.len, .data = (uint8_t *)(uintptr_t)s.data};
}

#endif
