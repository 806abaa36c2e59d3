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

/* What protobuf-c keeps for one field while it reads, or for one that it does not know; an allocation's rounding. */
enum { MEMBER_BYTES = 64 };

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* Adds up what unpacking will take; no message contains itself, so the nesting is bounded by the .proto files. False: too much. What is
 * malformed is left to protobuf-c. */
static bool within_limits(const ProtobufCMessageDescriptor *descriptor, struct weir_slice bytes, uint64_t *memory)
{
    struct weir_reader reader = weir_reader(bytes);
    *memory += descriptor->sizeof_message + MEMBER_BYTES;
    while (reader.rest.len > 0 && *memory <= WEIR_PB_MEMORY_MAX) {
        uint64_t tag = weir_read_varint(&reader);
        uint64_t len = 0;
        *memory += MEMBER_BYTES;
        switch (tag & 7) {
        case WIRE_VARINT:
            (void)weir_read_varint(&reader);
            break;
        case WIRE_FIXED64:
            (void)weir_read_u64(&reader);
            break;
        case WIRE_FIXED32:
            (void)weir_read_u32(&reader);
            break;
        case WIRE_BYTES:
            len = weir_read_varint(&reader);
            break;
        default:
            return true;
        }
        struct weir_slice body = weir_read_raw(&reader, len);
        if (reader.failed) {
            return true;
        }
        const ProtobufCFieldDescriptor *field =
            tag >> 3 > UINT32_MAX ? NULL : protobuf_c_message_descriptor_get_field(descriptor, (unsigned)(tag >> 3));
        if (field == NULL || field->type != PROTOBUF_C_TYPE_MESSAGE) {
            *memory += len * (field != NULL && field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_BYTES ? 8 : 1); /* packed */
        } else if (!within_limits(field->descriptor, body, memory)) {
            return false;
        }
    }
    return *memory <= WEIR_PB_MEMORY_MAX;
}

enum weir_rc weir_pb_decode(const ProtobufCMessageDescriptor *descriptor, struct weir_slice bytes, void *out_message, struct weir_error *err)
{
    uint64_t memory = 0;
    if (!within_limits(descriptor, bytes, &memory)) {
        return weir_error_set(err, WEIR_LIMIT, "a message %s of %zu bytes would take more than %d MiB of memory", descriptor->name,
                              bytes.len, WEIR_PB_MEMORY_MAX >> 20);
    }
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
