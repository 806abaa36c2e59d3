#include "proto/pb.h"

#include "common/base/assert.h"

void weir_pb_encode(const ProtobufCMessage *message, struct weir_buf *out)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *to = weir_buf_reserve(out, bytes);
    size_t packed = protobuf_c_message_pack(message, to);
    weir_assert(packed == bytes);
    out->len += bytes;
}

enum weir_rc weir_pb_decode(const ProtobufCMessageDescriptor *descriptor, struct weir_slice bytes, void *out_message, struct weir_error *err)
{
    static const uint8_t nothing[1] = {0}; /* protobuf-c wants a pointer for an empty message too */
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, NULL, bytes.len, bytes.len == 0 ? nothing : bytes.data);
    if (message == NULL) {
        return weir_error_set(err, WEIR_CORRUPT, "%zu bytes are not a message %s", bytes.len, descriptor->name);
    }
    *(ProtobufCMessage **)out_message = message;
    return WEIR_OK;
}

void weir_pb_free(void *message)
{
    if (message != NULL) {
        protobuf_c_message_free_unpacked(message, NULL);
    }
}
