#include "common/net/rpc_frame.h"

#include "common/base/assert.h"
#include "common/base/crc32c.h"
#include "common/base/limits.h"
#include "common/base/mem.h"

#include <stdlib.h>

void weir__rpc_frame_encode(const struct weir__rpc_frame *frame, struct weir_buf *buf)
{
    weir_assert(frame->body.len <= WEIR_RPC_FRAME_BYTES_MAX);
    size_t start = buf->len;
    weir_buf_put_u32(buf, WEIR__RPC_MAGIC);
    weir_buf_put_u8(buf, WEIR__RPC_LAYOUT_VERSION);
    weir_buf_put_u8(buf, frame->flags);
    weir_buf_put_u16(buf, frame->method);
    weir_buf_put_u16(buf, (uint16_t)frame->rc);
    weir_buf_put_u16(buf, 0);
    weir_buf_put_u32(buf, frame->id);
    weir_buf_put_u32(buf, (uint32_t)frame->body.len);
    uint32_t crc = weir_crc32c(0, buf->data + start, buf->len - start);
    weir_buf_put_u32(buf, weir_crc32c(crc, frame->body.data, frame->body.len));
    weir_buf_put_slice(buf, frame->body);
}

enum weir_rc weir__rpc_frame_decode(struct weir_slice bytes, size_t body_bytes_max, struct weir__rpc_frame *out_frame,
                                    size_t *out_bytes, const char **out_why)
{
    const uint8_t *header = bytes.data;
    if (bytes.len < WEIR__RPC_HEADER_BYTES) {
        *out_bytes = WEIR__RPC_HEADER_BYTES;
        return WEIR_AGAIN;
    }
    if (weir_le_get_u32(header) != WEIR__RPC_MAGIC) {
        *out_why = "not a frame of Weir's RPC";
        return WEIR_CORRUPT;
    }
    if (header[4] != WEIR__RPC_LAYOUT_VERSION) {
        *out_why = "unknown frame layout version";
        return WEIR_CORRUPT;
    }
    size_t body_bytes = weir_le_get_u32(header + 16);
    if (body_bytes > body_bytes_max) {
        *out_why = "body over the limit";
        return WEIR_LIMIT;
    }
    *out_bytes = WEIR__RPC_HEADER_BYTES + body_bytes;
    if (bytes.len < WEIR__RPC_HEADER_BYTES + body_bytes) {
        return WEIR_AGAIN;
    }
    struct weir_slice body = weir_slice(header + WEIR__RPC_HEADER_BYTES, body_bytes);
    if (weir_le_get_u32(header + 20) != weir_crc32c(weir_crc32c(0, header, 20), body.data, body.len)) {
        *out_why = "checksum mismatch";
        return WEIR_CORRUPT;
    }
    if (weir_le_get_u16(header + 8) >= WEIR_RC_COUNT_) {
        *out_why = "unknown return code";
        return WEIR_CORRUPT;
    }
    *out_frame = (struct weir__rpc_frame){
        .id = weir_le_get_u32(header + 12),
        .method = weir_le_get_u16(header + 6),
        .flags = header[5],
        .rc = (enum weir_rc)weir_le_get_u16(header + 8),
        .body = body,
    };
    return WEIR_OK;
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

enum weir_rc weir__rpc_address_parse(const char *address, char **out_host, uint16_t *out_port, struct weir_error *err)
{
    static const char scheme[] = "tcp://";
    const size_t scheme_bytes = sizeof(scheme) - 1;
    const char *colon = strrchr(address, ':');
    char *end = NULL;
    if (strncmp(address, scheme, scheme_bytes) == 0 && colon >= address + scheme_bytes + 1) {
        unsigned long port = strtoul(colon + 1, &end, 10);
        if (colon[1] >= '0' && colon[1] <= '9' && *end == '\0' && port <= UINT16_MAX) {
            *out_host = weir_strndup(address + scheme_bytes, (size_t)(colon - address) - scheme_bytes);
            *out_port = (uint16_t)port;
            return WEIR_OK;
        }
    }
    return weir_error_set(err, WEIR_INVALID, "\"%s\" is no address for control messages: expected tcp://host:port", address);
}
