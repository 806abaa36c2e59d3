#include "jobmanager/ha/log_frame.h"

#include "common/base/crc32c.h"

enum { CRC_OFFSET = 32 };

static const char file_magic[8] = {'W', 'E', 'I', 'R', 'C', 'L', 'O', 'G'};
static const uint32_t frame_magic = 0xa51c6e01u;

void weir_log_frame_put_header(struct weir_buf *out)
{
    size_t start = out->len;
    weir_buf_put(out, file_magic, sizeof(file_magic));
    weir_buf_put_u32(out, WEIR_LOG_FILE_VERSION);
    weir_buf_put_u32(out, weir_crc32c(0, out->data + start, out->len - start));
}

enum weir_rc weir_log_frame_check_header(struct weir_slice file, struct weir_error *err)
{
    if (file.len < WEIR_LOG_FILE_HEADER_BYTES) {
        return weir_error_set(err, WEIR_END, "the file's header is not whole");
    }
    if (memcmp(file.data, file_magic, sizeof(file_magic)) != 0 || weir_le_get_u32(file.data + 12) != weir_crc32c(0, file.data, 12)) {
        return weir_error_set(err, WEIR_CORRUPT, "offset 0: this is no cluster log, or its header is damaged");
    }
    uint32_t version = weir_le_get_u32(file.data + 8);
    if (version != WEIR_LOG_FILE_VERSION) {
        return weir_error_set(err, WEIR_UNSUPPORTED, "cluster log of version %u; this JobManager reads version %d", version, WEIR_LOG_FILE_VERSION);
    }
    return WEIR_OK;
}

static uint32_t frame_crc(const uint8_t *header, struct weir_slice payload)
{
    return weir_crc32c(weir_crc32c(0, header, CRC_OFFSET), payload.data, payload.len);
}

void weir_log_frame_put(struct weir_buf *out, const struct weir_log_frame *frame)
{
    size_t start = out->len;
    weir_buf_put_u32(out, frame_magic);
    weir_buf_put_u32(out, (uint32_t)frame->payload.len);
    weir_buf_put_u64(out, frame->term);
    weir_buf_put_u64(out, frame->index);
    weir_buf_put_u32(out, frame->entries);
    weir_buf_put_u32(out, (uint32_t)frame->kind);
    weir_buf_put_u32(out, frame_crc(out->data + start, frame->payload));
    weir_buf_put_slice(out, frame->payload);
}

bool weir_log_frame_get(struct weir_slice bytes, struct weir_log_frame *out_frame, size_t *out_bytes)
{
    if (bytes.len < WEIR_LOG_FRAME_HEADER_BYTES || weir_le_get_u32(bytes.data) != frame_magic) {
        return false;
    }
    size_t payload_bytes = weir_le_get_u32(bytes.data + 4);
    uint32_t kind = weir_le_get_u32(bytes.data + 28);
    if (payload_bytes > bytes.len - WEIR_LOG_FRAME_HEADER_BYTES || (kind != WEIR_LOG_FRAME_ENTRIES && kind != WEIR_LOG_FRAME_SNAPSHOT)) {
        return false;
    }
    struct weir_slice payload = weir_slice(bytes.data + WEIR_LOG_FRAME_HEADER_BYTES, payload_bytes);
    if (weir_le_get_u32(bytes.data + CRC_OFFSET) != frame_crc(bytes.data, payload)) {
        return false;
    }
    *out_frame = (struct weir_log_frame){.kind = (enum weir_log_frame_kind)kind,
                                         .term = weir_le_get_u64(bytes.data + 8),
                                         .index = weir_le_get_u64(bytes.data + 16),
                                         .entries = weir_le_get_u32(bytes.data + 24),
                                         .payload = payload};
    *out_bytes = WEIR_LOG_FRAME_HEADER_BYTES + payload_bytes;
    return true;
}

bool weir_log_frame_find_later(struct weir_slice bytes, uint64_t index)
{
    for (size_t at = 1; at + WEIR_LOG_FRAME_HEADER_BYTES <= bytes.len; at++) {
        struct weir_log_frame frame;
        size_t frame_bytes = 0;
        if (weir_log_frame_get(weir_slice(bytes.data + at, bytes.len - at), &frame, &frame_bytes) && frame.index > index) {
            return true;
        }
    }
    return false;
}
