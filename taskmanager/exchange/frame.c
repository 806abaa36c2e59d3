#include "taskmanager/exchange/frame.h"

#include "common/base/assert.h"
#include "common/base/crc32c.h"

enum { MAGIC = 0x52494557 /* "WEIR" */, CHECKED_BYTES = 16, LENGTH_OFFSET = 12 };

/* u32 magic | u8 version | u8 type | u16 flags (0) | u32 channel | u32 body bytes | u32 CRC32C of the 16 bytes before */
void weir_frame_put_header(struct weir_buf *out, enum weir_frame_type type, uint32_t channel, uint32_t body_bytes)
{
    size_t start = out->len;
    weir_buf_put_u32(out, MAGIC);
    weir_buf_put_u8(out, WEIR_FRAME_VERSION);
    weir_buf_put_u8(out, (uint8_t)type);
    weir_buf_put_u16(out, 0);
    weir_buf_put_u32(out, channel);
    weir_buf_put_u32(out, body_bytes);
    weir_buf_put_u32(out, weir_crc32c(0, out->data + start, CHECKED_BYTES));
}

void weir_frame_finish(struct weir_buf *out, size_t offset)
{
    weir_assert(out->len - offset - WEIR_FRAME_HEADER_BYTES <= UINT32_MAX);
    weir_buf_set_u32(out, offset + LENGTH_OFFSET, (uint32_t)(out->len - offset - WEIR_FRAME_HEADER_BYTES));
    weir_buf_set_u32(out, offset + CHECKED_BYTES, weir_crc32c(0, out->data + offset, CHECKED_BYTES));
}

enum weir_rc weir_frame_take(struct weir_slice bytes, uint32_t bytes_max, struct weir_frame *out_frame, size_t *out_bytes,
                             struct weir_error *err)
{
    if (bytes.len < WEIR_FRAME_HEADER_BYTES) {
        *out_bytes = WEIR_FRAME_HEADER_BYTES;
        return WEIR_AGAIN;
    }
    const uint8_t *h = bytes.data;
    if (weir_le_get_u32(h) != MAGIC || weir_le_get_u32(h + CHECKED_BYTES) != weir_crc32c(0, h, CHECKED_BYTES)) {
        return weir_error_set(err, WEIR_CORRUPT, "not a frame of Weir's data plane (wrong magic or checksum)");
    }
    if (h[4] != WEIR_FRAME_VERSION) {
        return weir_error_set(err, WEIR_CORRUPT, "data plane version %u, this side speaks %d", h[4], WEIR_FRAME_VERSION);
    }
    uint32_t body_bytes = weir_le_get_u32(h + LENGTH_OFFSET);
    if (body_bytes > bytes_max) {
        return weir_error_set(err, WEIR_LIMIT, "a frame of %u bytes, at most %u are accepted", body_bytes, bytes_max);
    }
    if (h[5] < WEIR_FRAME_HELLO || h[5] > WEIR_FRAME_CLOSED) {
        return weir_error_set(err, WEIR_CORRUPT, "unknown frame type %u", h[5]);
    }
    *out_bytes = WEIR_FRAME_HEADER_BYTES + (size_t)body_bytes;
    if (bytes.len < *out_bytes) {
        return WEIR_AGAIN;
    }
    *out_frame = (struct weir_frame){
        .type = (enum weir_frame_type)h[5],
        .channel = weir_le_get_u32(h + 8),
        .body = weir_slice(h + WEIR_FRAME_HEADER_BYTES, body_bytes),
    };
    return WEIR_OK;
}
