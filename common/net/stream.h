/*
 * Raw ordered byte pipes over TCP (nng_stream), plain or by mutual TLS (tls.h): control and data. nng's socket protocols top out at 60,000
 * messages a second; a stream carries what raw TCP does.
 *
 * I1  Callbacks run on library threads and may only copy out, post and return; from inside one everything here may be called but destroy.
 * I2  One send and one receive may be in flight at a time. Each completes exactly once, with CLOSED when the stream is closed.
 */
#ifndef WEIR_COMMON_NET_STREAM_H
#define WEIR_COMMON_NET_STREAM_H

#include "common/base/error.h"
#include "common/base/slice.h"
#include "common/net/tls.h"

enum { WEIR_STREAM_RUNS_MAX = 8 };

struct weir_stream;

/* How a connection is protected; NULL where one is asked for: not at all. */
struct weir_stream_guard {
    struct weir_tls *tls;  /* outlives the stream */
    const char *peer_role; /* what the peer's certificate must say; NULL: any role; a literal */
};

/* --- streams --- */

struct weir_stream_callbacks {
    void (*on_sent)(void *ctx, enum weir_rc rc);                       /* all bytes, or not */
    void (*on_received)(void *ctx, enum weir_rc rc, size_t bytes);     /* at least one byte, or not; the peer's end is CLOSED */
};

/* Before the first send or receive. */
void weir_stream_attach(struct weir_stream *stream, const struct weir_stream_callbacks *callbacks, void *ctx);

/* Sends count (at most WEIR_STREAM_RUNS_MAX) runs of bytes, which stay the stream's until on_sent. */
void weir_stream_send(struct weir_stream *stream, const struct weir_slice *runs, uint32_t count);

/* Receives 1 to bytes_max bytes into `into`, which stays the stream's until on_received. */
void weir_stream_receive(struct weir_stream *stream, uint8_t *into, size_t bytes_max);

/* What the certificate of the peer says: "" without TLS, or before a byte of the peer's has been received. Any thread until destroy. */
const char *weir_stream_peer_role(struct weir_stream *stream);

/* Ends what is in flight with CLOSED, soon. Idempotent; any thread. */
void weir_stream_close(struct weir_stream *stream);

/* Closes, waits for running callbacks, frees. Never from a callback. Accepts NULL. */
void weir_stream_destroy(struct weir_stream *stream);

/* --- listening --- */

struct weir_stream_listener;

/* Listens on host:port (0: the kernel chooses); on_accept gets each new stream, before any handshake: that begins with the first send or
 * receive, which fails with REFUSED or TIMEOUT when it does. EXISTS (the port is taken), INVALID, IO. */
enum weir_rc weir_stream_listen(const char *host, uint16_t port, const struct weir_stream_guard *guard,
                                void (*on_accept)(void *ctx, struct weir_stream *stream_take), void *ctx,
                                struct weir_stream_listener **out_listener, struct weir_error *err) WEIR_CHECKED;
uint16_t weir_stream_listener_port(const struct weir_stream_listener *listener);
/* No on_accept runs any more when it returns. Never from a callback. Accepts NULL. */
void weir_stream_listener_destroy(struct weir_stream_listener *listener);

/* --- dialing --- */

struct weir_stream_dial;

/* Connects to "host:port", the handshake coming later as above; on_dialed is called once, with a stream when rc is WEIR_OK: CLOSED (refused, or
 * destroyed meanwhile), TIMEOUT. INVALID (the address): nothing was started. */
enum weir_rc weir_stream_dial(const char *address, const struct weir_stream_guard *guard, uint32_t timeout_ms,
                              void (*on_dialed)(void *ctx, enum weir_rc rc, struct weir_stream *stream_take), void *ctx,
                              struct weir_stream_dial **out_dial, struct weir_error *err) WEIR_CHECKED;
/* Gives up if it is not over, waits for the callback, frees. Never from a callback. Accepts NULL. */
void weir_stream_dial_destroy(struct weir_stream_dial *dial);

#endif
