/*
 * The bytes of the file log: header and frames (file_log.h has the layout). Pure.
 */
#ifndef WEIR_JOBMANAGER_HA_LOG_FRAME_H
#define WEIR_JOBMANAGER_HA_LOG_FRAME_H

#include "common/base/buf.h"
#include "common/base/error.h"

enum { WEIR_LOG_FILE_VERSION = 1, WEIR_LOG_FILE_HEADER_BYTES = 16, WEIR_LOG_FRAME_HEADER_BYTES = 36 };

enum weir_log_frame_kind { WEIR_LOG_FRAME_ENTRIES = 1, WEIR_LOG_FRAME_SNAPSHOT = 2 };

struct weir_log_frame {
    enum weir_log_frame_kind kind;
    uint64_t term;
    uint64_t index;
    uint32_t entries;
    struct weir_slice payload;
};

void weir_log_frame_put_header(struct weir_buf *out);
void weir_log_frame_put(struct weir_buf *out, const struct weir_log_frame *frame);

/* The file's header. CORRUPT, UNSUPPORTED; WEIR_END: an empty or torn header of a file that never held a frame. */
enum weir_rc weir_log_frame_check_header(struct weir_slice file, struct weir_error *err) WEIR_CHECKED;

/* The frame at the start of bytes; false when there is no whole valid one. out_bytes: its length. */
bool weir_log_frame_get(struct weir_slice bytes, struct weir_log_frame *out_frame, size_t *out_bytes);

/* Whether a valid frame of a later index starts anywhere behind the first byte: then the bad one before it is damage, not a torn tail. */
bool weir_log_frame_find_later(struct weir_slice bytes, uint64_t index);

#endif
