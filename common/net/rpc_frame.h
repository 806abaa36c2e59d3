/*
 * What both ends of net/rpc share: the frame and HELLO codecs and nng's errors in our words. Private to common/net.
 */
#ifndef WEIR_COMMON_NET_RPC_FRAME_H
#define WEIR_COMMON_NET_RPC_FRAME_H

#include "common/base/buf.h"
#include "common/base/error.h"

#include <nng/nng.h>

enum {
    WEIR__RPC_MAGIC = 0x43505257, /* "WRPC" */
    WEIR__RPC_LAYOUT_VERSION = 1,
    WEIR__RPC_HEADER_BYTES = 24,
    WEIR__RPC_NNG_BYTES = 64, /* room for nng's own header in its size limit */
    WEIR__RPC_FLAG_REPLY = 1,
    WEIR__RPC_FLAG_NO_HELLO = 2, /* a reply: not executed, because this connection has not said hello */
};

struct weir__rpc_frame {
    uint16_t method;
    uint16_t flags;
    enum weir_rc rc;
    struct weir_slice body; /* decoded: borrowed from the message */
};

struct weir__rpc_hello {
    uint16_t protocol_version;
    struct weir_slice cluster_id;
    struct weir_slice role;
    struct weir_slice name;
};

/* A new message that holds the frame; the caller's (nng_msg_free). */
nng_msg *weir__rpc_frame_encode(const struct weir__rpc_frame *frame);

/* False, with the reason in out_why (a literal), when the message is not one whole intact frame. */
bool weir__rpc_frame_decode(struct weir_slice message, struct weir__rpc_frame *out_frame, const char **out_why);

void weir__rpc_hello_encode(const struct weir__rpc_hello *hello, struct weir_buf *buf);
bool weir__rpc_hello_decode(struct weir_slice body, struct weir__rpc_hello *out_hello); /* borrows from body */

/* The return code for an nng error. */
enum weir_rc weir__rpc_rc_of_nng(int nng_error);

#endif
