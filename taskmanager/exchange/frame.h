/*
 * Frames of the data plane (link.h, L4): header and small bodies. Pure.
 */
#ifndef WEIR_TASKMANAGER_EXCHANGE_FRAME_H
#define WEIR_TASKMANAGER_EXCHANGE_FRAME_H

#include "common/base/buf.h"
#include "common/base/error.h"

enum { WEIR_FRAME_HEADER_BYTES = 20, WEIR_FRAME_VERSION = 1 };

/* Numbers on the wire: append only. */
enum weir_frame_type {
    WEIR_FRAME_HELLO = 1,  /* producer's side: bytes cluster id, bytes name */
    WEIR_FRAME_OPEN = 2,   /* producer's: bytes name (link_peer.h); `channel` numbers it on this stream */
    WEIR_FRAME_BATCH = 3,  /* producer's: an encoded batch */
    WEIR_FRAME_CONTROL = 4, /* producer's: u8 element kind, i64 value */
    WEIR_FRAME_CREDIT = 5, /* consumer's: u32 batches, u64 bytes that may be sent further */
    WEIR_FRAME_CLOSED = 6, /* consumer's: nobody wants this channel any more (bytes: why) */
};

struct weir_frame {
    enum weir_frame_type type;
    uint32_t channel;
    struct weir_slice body; /* borrowed */
};

/* Appends a header for a body of body_bytes that the caller appends next. */
void weir_frame_put_header(struct weir_buf *out, enum weir_frame_type type, uint32_t channel, uint32_t body_bytes);

/* Fills in the body length of a header that was put at `offset`, when the body has been appended behind it. */
void weir_frame_finish(struct weir_buf *out, size_t offset);

/* Looks for a whole frame at the start of bytes. OK: *out_frame and how many bytes it takes. AGAIN: more bytes are needed (*out_bytes: at
 * least so many in all). CORRUPT, LIMIT (a body over bytes_max): the connection is to be closed. */
enum weir_rc weir_frame_take(struct weir_slice bytes, uint32_t bytes_max, struct weir_frame *out_frame, size_t *out_bytes,
                             struct weir_error *err) WEIR_CHECKED;

#endif
