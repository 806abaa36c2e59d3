/*
 * One connection that carries frames both ways over net/stream. Private to common/net.
 *
 * I1. on_frame is called for one frame at a time, in order; on_closed once, after the last on_frame, when nothing is in flight
 *     any more. Both on library threads, without locks of this module.
 */
#ifndef WEIR_COMMON_NET_RPC_CONN_H
#define WEIR_COMMON_NET_RPC_CONN_H

#include "common/base/list.h"
#include "common/net/rpc_frame.h"
#include "common/net/stream.h"

struct weir__rpc_conn;

struct weir__rpc_conn_callbacks {
    void (*on_frame)(void *owner, struct weir__rpc_conn *conn, const struct weir__rpc_frame *frame);
    /* malformed: what made us close it; NULL when the peer or close() did. */
    void (*on_closed)(void *owner, struct weir__rpc_conn *conn, const char *malformed);
};

/* Takes the stream; receives nothing before start. body_bytes_max: of a received frame. */
struct weir__rpc_conn *weir__rpc_conn_create(struct weir_stream *stream_take, const struct weir__rpc_conn_callbacks *callbacks,
                                             void *owner, size_t body_bytes_max);

/* Callbacks may come from now on. */
void weir__rpc_conn_start(struct weir__rpc_conn *conn);

/* From on_frame only. */
void weir__rpc_conn_set_body_max(struct weir__rpc_conn *conn, size_t body_bytes_max);

/* Queues the frame (dropped when closed). Any thread until destroy; does not block. */
void weir__rpc_conn_send(struct weir__rpc_conn *conn, const struct weir__rpc_frame *frame);

/* Closes soon; a `malformed` text (a literal, may be NULL) is handed to on_closed. Any thread until destroy. Idempotent. */
void weir__rpc_conn_close(struct weir__rpc_conn *conn, const char *malformed);

/* The peer's by its certificate: "" without TLS. From on_frame. */
const char *weir__rpc_conn_peer_role(struct weir__rpc_conn *conn);

/* After on_closed, or before start; never from a callback of this connection. Waits for its callbacks' return. */
void weir__rpc_conn_destroy(struct weir__rpc_conn *conn);

#endif
