#include "common/net/rpc_frame.h"

#include "common/base/assert.h"
#include "common/base/crc32c.h"
#include "common/base/limits.h"

nng_msg *weir__rpc_frame_encode(const struct weir__rpc_frame *frame)
{
    weir_assert(frame->body.len <= WEIR_RPC_FRAME_BYTES_MAX);
    nng_msg *msg = NULL;
    int nng_error = nng_msg_alloc(&msg, WEIR__RPC_HEADER_BYTES + frame->body.len);
    weir_assert(nng_error == 0); /* only NOMEM is possible, and small allocations abort */
    uint8_t *header = nng_msg_body(msg);
    weir_le_put_u32(header, WEIR__RPC_MAGIC);
    weir_le_put_u16(header + 4, WEIR__RPC_LAYOUT_VERSION);
    weir_le_put_u16(header + 6, frame->method);
    weir_le_put_u16(header + 8, (uint16_t)frame->rc);
    weir_le_put_u16(header + 10, frame->flags);
    weir_le_put_u32(header + 12, (uint32_t)frame->body.len);
    weir_le_put_u32(header + 16, weir_crc32c(0, frame->body.data, frame->body.len));
    weir_le_put_u32(header + 20, weir_crc32c(0, header, 20));
    if (frame->body.len > 0) {
        memcpy(header + WEIR__RPC_HEADER_BYTES, frame->body.data, frame->body.len);
    }
    return msg;
}

bool weir__rpc_frame_decode(struct weir_slice message, struct weir__rpc_frame *out_frame, const char **out_why)
{
    const uint8_t *header = message.data;
    const char *why = NULL;
    if (message.len < WEIR__RPC_HEADER_BYTES) {
        why = "shorter than a frame header";
    } else if (weir_le_get_u32(header) != WEIR__RPC_MAGIC) {
        why = "not a frame of Weir's RPC";
    } else if (weir_le_get_u32(header + 20) != weir_crc32c(0, header, 20)) {
        why = "header checksum mismatch";
    } else if (weir_le_get_u16(header + 4) != WEIR__RPC_LAYOUT_VERSION) {
        why = "unknown frame layout version";
    } else if (weir_le_get_u32(header + 12) != message.len - WEIR__RPC_HEADER_BYTES) {
        why = "body length does not match the message";
    } else if (message.len - WEIR__RPC_HEADER_BYTES > WEIR_RPC_FRAME_BYTES_MAX) {
        why = "body over the limit";
    } else if (weir_le_get_u32(header + 16) !=
               weir_crc32c(0, header + WEIR__RPC_HEADER_BYTES, message.len - WEIR__RPC_HEADER_BYTES)) {
        why = "body checksum mismatch";
    } else if (weir_le_get_u16(header + 8) >= WEIR_RC_COUNT_) {
        why = "unknown return code";
    }
    if (why != NULL) {
        *out_why = why;
        return false;
    }
    *out_frame = (struct weir__rpc_frame){
        .method = weir_le_get_u16(header + 6),
        .rc = (enum weir_rc)weir_le_get_u16(header + 8),
        .flags = weir_le_get_u16(header + 10),
        .body = weir_slice(header + WEIR__RPC_HEADER_BYTES, message.len - WEIR__RPC_HEADER_BYTES),
    };
    return true;
}

void weir__rpc_hello_encode(const struct weir__rpc_hello *hello, struct weir_buf *buf)
{
    weir_buf_put_u16(buf, hello->protocol_version);
    weir_buf_put_bytes(buf, hello->cluster_id);
    weir_buf_put_bytes(buf, hello->role);
    weir_buf_put_bytes(buf, hello->name);
}

bool weir__rpc_hello_decode(struct weir_slice body, struct weir__rpc_hello *out_hello)
{
    struct weir_reader reader = weir_reader(body);
    struct weir__rpc_hello hello = {.protocol_version = weir_read_u16(&reader)};
    hello.cluster_id = weir_read_bytes(&reader);
    hello.role = weir_read_bytes(&reader);
    hello.name = weir_read_bytes(&reader);
    if (reader.failed || hello.cluster_id.len > WEIR_NAME_MAX || hello.role.len > WEIR_NAME_MAX ||
        hello.name.len > WEIR_NAME_MAX) {
        return false;
    }
    *out_hello = hello; /* bytes after the last field are a newer version's, and compared by its number */
    return true;
}

enum weir_rc weir__rpc_rc_of_nng(int nng_error)
{
    switch (nng_error) {
    case 0:
        return WEIR_OK;
    case NNG_ETIMEDOUT:
        return WEIR_TIMEOUT;
    case NNG_ECANCELED:
        return WEIR_CANCELED;
    case NNG_ECLOSED:
    case NNG_ECONNRESET:
    case NNG_ECONNABORTED:
    case NNG_ECONNSHUT:
        return WEIR_CLOSED;
    case NNG_ECONNREFUSED:
    case NNG_EUNREACHABLE:
        return WEIR_REFUSED;
    case NNG_EADDRINUSE:
        return WEIR_EXISTS;
    case NNG_EINVAL:
    case NNG_EADDRINVAL:
    case NNG_ENOTSUP:
        return WEIR_INVALID;
    case NNG_EPROTO:
    case NNG_EMSGSIZE:
        return WEIR_CORRUPT;
    case NNG_ENOMEM:
    case NNG_ENOFILES:
        return WEIR_RESOURCE;
    default:
        return WEIR_IO;
    }
}
