/*
 * The frame and HELLO codecs that both ends of net/rpc share. Private to common/net.
 */
#ifndef WEIR_COMMON_NET_RPC_FRAME_H
#define WEIR_COMMON_NET_RPC_FRAME_H

#include "common/base/buf.h"
#include "common/base/error.h"

enum {
    WEIR__RPC_MAGIC = 0x43505257, /* "WRPC" */
    WEIR__RPC_LAYOUT_VERSION = 1,
    WEIR__RPC_HEADER_BYTES = 24,
    WEIR__RPC_FLAG_REPLY = 1,
    WEIR__RPC_FLAG_NO_HELLO = 2, /* a reply: not executed, because this connection has not said hello */
};

struct weir__rpc_frame {
    uint32_t id; /* of the call, in both directions */
    uint16_t method;
    uint8_t flags;
    enum weir_rc rc;
    struct weir_slice body; /* decoded: borrowed from the input */
};

struct weir__rpc_hello {
    uint16_t protocol_version;
    struct weir_slice cluster_id;
    struct weir_slice role;
    struct weir_slice name;
};

/* Appends the frame. */
void weir__rpc_frame_encode(const struct weir__rpc_frame *frame, struct weir_buf *buf);

/*
 * The frame at the beginning of bytes. WEIR_OK: out_bytes is its length. AGAIN: it is cut short; out_bytes is its length, or
 * the header's when that is incomplete. CORRUPT or LIMIT (body of more than body_bytes_max): out_why says why, a literal; the
 * stream cannot be trusted any more.
 */
enum weir_rc weir__rpc_frame_decode(struct weir_slice bytes, size_t body_bytes_max, struct weir__rpc_frame *out_frame,
                                    size_t *out_bytes, const char **out_why) WEIR_CHECKED;

void weir__rpc_hello_encode(const struct weir__rpc_hello *hello, struct weir_buf *buf);
bool weir__rpc_hello_decode(struct weir_slice body, struct weir__rpc_hello *out_hello); /* borrows from body */

/* "tcp://host:port" (an IPv6 host in brackets) in parts; the caller frees *out_host, which keeps the brackets. */
enum weir_rc weir__rpc_address_parse(const char *address, char **out_host, uint16_t *out_port,
                                     struct weir_error *err) WEIR_CHECKED;

#endif
