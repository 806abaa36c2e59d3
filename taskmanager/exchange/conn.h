/*
 * One stream of the data plane with its buffers: frames in, frames out. Internal to exchange/link.
 *
 * nng's callbacks post mails to the links' mailbox; everything else happens on the links' thread.
 */
#ifndef WEIR_TASKMANAGER_EXCHANGE_CONN_H
#define WEIR_TASKMANAGER_EXCHANGE_CONN_H

#include "common/net/stream.h"
#include "common/runtime/mailbox.h"
#include "taskmanager/exchange/frame.h"

struct weir_conn;

struct weir_conn_callbacks {
    /* A whole frame has come (its body is borrowed). An error closes the connection. */
    enum weir_rc (*on_frame)(void *ctx, const struct weir_frame *frame, struct weir_error *err);
    /* The connection is over, once; err says why. After it nothing is called any more; destroy it, then or later. */
    void (*on_over)(void *ctx, const struct weir_error *err);
    /* What was put has been handed to the network: more may be gathered. */
    void (*on_sent)(void *ctx);
};

/* Counted by every connection of one owner; `live` reaches 0 when the network library has let go of the last one. */
struct weir_conn_totals {
    uint32_t live;
    uint64_t bytes_sent, bytes_received;
};

/* Starts reading at once. mailbox outlives the connection. body_bytes_max caps frames from the peer. */
struct weir_conn *weir_conn_create_take(struct weir_stream *stream, struct weir_mailbox *mailbox, uint32_t body_bytes_max,
                                        const struct weir_conn_callbacks *callbacks, void *ctx, struct weir_conn_totals *totals);
/* From on_frame: for the frames behind it. */
void weir_conn_set_body_max(struct weir_conn *conn, uint32_t body_bytes_max);

/* Closes, drops what is unsent, frees (when nng has let go of it). Accepts NULL. */
void weir_conn_destroy(struct weir_conn *conn);

/* Where to append frames; flush sends what is there unless a send is in flight (then it goes next). */
struct weir_buf *weir_conn_out(struct weir_conn *conn);
void weir_conn_flush(struct weir_conn *conn);

/* Bytes appended and not yet handed to the network: the caller gathers no more beyond a bound. */
size_t weir_conn_unsent(const struct weir_conn *conn);

#endif
