/*
 * Control RPC: request and answer by (method id, bytes) with deadlines, many outstanding on one net/stream connection. It
 * knows nothing of what the bytes mean. (Not nng's REQ/REP: in 1.5.2 closing a connection under traffic can hang nng's reaper
 * for ever, and with it every later close and redial of the process.)
 *
 * I1. A callback runs on a library thread, and may only copy out, post to a mailbox and return. From inside a callback
 *     everything here may be called except destroy.
 * I2. The first request of every connection is HELLO (method 0: cluster id, protocol version, role, node name). The server
 *     answers nothing else before a matching one; the client says it by itself on each new connection.
 *     With TLS (tls.h) the role that a HELLO claims, or its answer, must be that of the certificate shown on this connection: a claim
 *     is refused, a recorded HELLO too, and no request is served, no call is sent before. Without TLS claims are believed.
 * I3. Each accepted call completes exactly once, and nothing is sent twice: a request that may have reached a server
 *     which then vanished completes with CLOSED, and only the caller knows whether to repeat it.
 *
 * A frame, little endian:
 *   u32 magic | u8 layout version | u8 flags | u16 method | u16 rc | u16 0 | u32 id | u32 body bytes | u32 CRC32C of the 20
 *   bytes before and of the body | body
 */
#ifndef WEIR_COMMON_NET_RPC_H
#define WEIR_COMMON_NET_RPC_H

#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/slice.h"
#include "common/net/tls.h"

enum {
    WEIR_RPC_METHOD_HELLO = 0,       /* the transport's own; callers' methods start at 1 */
    WEIR_RPC_METHOD_MAX = 65535,
    WEIR_RPC_REQUESTS_DEFAULT = 1024,
    WEIR_RPC_CONNECTIONS_DEFAULT = 1024,
    WEIR_RPC_CALLS_DEFAULT = 256,
    WEIR_RPC_CALLS_MAX = 65536,
    WEIR_RPC_DEADLINE_MS_MAX = 24 * 3600 * 1000,
};

/* --- server ---------------------------------------------------------------------------------------------------------- */

struct weir_rpc_server;

/* A request that waits for its answer. Whoever holds it must give it to weir_rpc_reply once. */
struct weir_rpc_request;

struct weir_rpc_server_options {
    const char *address;        /* "tcp://127.0.0.1:0"; port 0: the kernel chooses */
    const char *cluster_id;     /* a client with another one is refused */
    const char *role;           /* told to clients, who may insist on it */
    const char *name;           /* this node's, told to clients */
    uint16_t protocol_version;  /* of the messages; a client with another one is refused */
    uint32_t requests_max;      /* requests held unanswered at once; a further one is answered with AGAIN; 0: default */
    uint32_t connections_max;   /* further connections are closed on arrival; 0: default */
    const struct weir_log *log; /* borrowed until destroy; may be NULL */
    struct weir_tls *tls;       /* outlives the server; NULL: plaintext */
    const char *client_role;    /* what clients must be; NULL: anything */
};

struct weir_rpc_server_callbacks {
    /* A request of a peer that said hello; those of one peer come one at a time, in the order they were made. */
    void (*on_request)(void *ctx, struct weir_rpc_request *request_take);
    /* The connection of a peer that said hello is gone: after the last on_request of that peer, once. May be NULL. */
    void (*on_peer_closed)(void *ctx, uint64_t peer);
};

struct weir_rpc_server_stats {
    uint64_t requests;
    uint64_t malformed;   /* frames that cost their sender the connection */
    uint64_t refused;     /* hellos that did not match, and requests without one */
    uint64_t rejected;    /* connections beyond connections_max */
    uint32_t connections; /* now */
};

/* Listens and serves at once. Strings are copied. May block for the bind. INVALID (address), EXISTS (address in use), IO. */
enum weir_rc weir_rpc_server_create(const struct weir_rpc_server_options *options,
                                    const struct weir_rpc_server_callbacks *callbacks, void *ctx,
                                    struct weir_rpc_server **out_server, struct weir_error *err) WEIR_CHECKED;

/* The port bound. Any thread. */
uint16_t weir_rpc_server_port(const struct weir_rpc_server *server);
void weir_rpc_server_stats(struct weir_rpc_server *server, struct weir_rpc_server_stats *out_stats);

/* No new callback starts after it returns from here (one that runs may still end); answers given later are dropped.
 * Idempotent, does not block. Any thread. */
void weir_rpc_server_stop(struct weir_rpc_server *server);

/* Stops, waits for running callbacks, closes every connection. Requests still held stay valid until they are replied to.
 * Blocks; never from a callback. Accepts NULL. */
void weir_rpc_server_destroy(struct weir_rpc_server *server);

/* What a request says; borrowed until it is replied to. Any thread. */
uint64_t weir_rpc_request_peer(const struct weir_rpc_request *request); /* never 0; one number per connection, never reused */
const char *weir_rpc_request_peer_role(const struct weir_rpc_request *request);
const char *weir_rpc_request_peer_name(const struct weir_rpc_request *request);
uint16_t weir_rpc_request_method(const struct weir_rpc_request *request);
struct weir_slice weir_rpc_request_body(const struct weir_rpc_request *request);

/* Answers and frees the request: rc and body, or the error's text as body when rc is not WEIR_OK. body is copied; one of
 * more than WEIR_RPC_FRAME_BYTES_MAX becomes a LIMIT error to the caller. Any thread; does not block. */
void weir_rpc_reply(struct weir_rpc_request *request_take, enum weir_rc rc, struct weir_slice body);

/* --- client ---------------------------------------------------------------------------------------------------------- */

struct weir_rpc_client;

struct weir_rpc_client_options {
    const char *address;        /* "tcp://host:port" */
    const char *cluster_id;
    const char *role;           /* this node's */
    const char *name;           /* this node's */
    const char *server_role;    /* what the server must be; NULL: anything */
    uint16_t protocol_version;
    uint32_t calls_max;         /* outstanding at once; 0: default */
    const struct weir_log *log; /* borrowed until destroy; may be NULL */
    struct weir_tls *tls;       /* outlives the client; NULL: plaintext */
};

struct weir_rpc_client_callbacks {
    void (*on_connected)(void *ctx);    /* the server accepted our hello; may be NULL */
    void (*on_disconnected)(void *ctx); /* once after each on_connected; may be NULL */
};

/*
 * The end of a call. WEIR_OK: body is the answer, text "". Otherwise body is empty and text says why: the server's own code
 * and text, or TIMEOUT (the deadline passed, connected or not), CLOSED (the connection went while the call was outstanding),
 * REFUSED (the server does not accept our hello), CORRUPT (its answer), CANCELED (stop). Both are borrowed for the call.
 */
typedef void weir_rpc_done_fn(void *ctx, enum weir_rc rc, struct weir_slice body, const char *text);

/* Connects in the background, and again after each loss (back-off 10 to 200 ms). Strings are copied. INVALID (address). */
enum weir_rc weir_rpc_client_create(const struct weir_rpc_client_options *options,
                                    const struct weir_rpc_client_callbacks *callbacks, void *ctx,
                                    struct weir_rpc_client **out_client, struct weir_error *err) WEIR_CHECKED;

/*
 * Sends a request; a call made while there is no connection waits for one until its deadline. body is copied. WEIR_OK: done
 * will be called once, on a library thread, perhaps before this returns. Otherwise it never will: AGAIN (calls_max are
 * outstanding), LIMIT (body), CANCELED (stopped). Any thread; does not block.
 */
enum weir_rc weir_rpc_call(struct weir_rpc_client *client, uint16_t method, struct weir_slice body, uint32_t deadline_ms,
                           weir_rpc_done_fn *done, void *ctx, struct weir_error *err) WEIR_CHECKED;

/* Whether the server has accepted our hello on the present connection. Any thread. */
bool weir_rpc_client_is_connected(struct weir_rpc_client *client);

/* Completes outstanding calls with CANCELED (soon, on library threads) and takes no more. Idempotent. Any thread. */
void weir_rpc_client_stop(struct weir_rpc_client *client);

/* Stops, waits until every call has completed, disconnects. Blocks; never from a callback. Accepts NULL. */
void weir_rpc_client_destroy(struct weir_rpc_client *client);

#endif
