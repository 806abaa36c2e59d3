/*
 * HTTP/1.1 server over libmicrohttpd: whole requests in, whole answers out, answered later from any thread. It knows no
 * routes.
 *
 * I1. The handler runs on the server's polling thread, and may only copy out, post and return. It may also answer.
 * I2. Each request handed out is answered once; its connection is held until then (a client that has left is noticed after).
 * I3. Whatever a client sends costs at most a connection slot, WEIR_HTTP_HEADER_BYTES_MAX and WEIR_HTTP_BODY_BYTES_MAX, and
 *     those only until a timeout: of silence, and of the whole however slowly it comes.
 */
#ifndef WEIR_COMMON_NET_HTTP_SERVER_H
#define WEIR_COMMON_NET_HTTP_SERVER_H

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/slice.h"

enum {
    WEIR_HTTP_CONNECTIONS_MAX = 64,
    WEIR_HTTP_HEADER_BYTES_MAX = 8 << 10, /* request line and headers; beyond: 431 */
    WEIR_HTTP_BODY_BYTES_MAX = 4 << 20,   /* beyond: 413 */
    WEIR_HTTP_HEADER_TIMEOUT_S = 5,       /* until a connection's first headers are complete */
    WEIR_HTTP_IDLE_TIMEOUT_S = 30,        /* silence afterwards (body, answer, kept-alive); also for the body, and for the next headers */
};

struct weir_http_server;
struct weir_http_request;

struct weir_http_server_options {
    const char *address;        /* "127.0.0.1", "::1", a host name */
    uint16_t port;              /* 0: the kernel chooses */
    uint32_t connections_max;   /* 0: WEIR_HTTP_CONNECTIONS_MAX */
    uint64_t body_bytes_max;    /* 0: WEIR_HTTP_BODY_BYTES_MAX */
    uint32_t header_timeout_ms; /* 0: WEIR_HTTP_HEADER_TIMEOUT_S; silence is measured in seconds all the same */
    const struct weir_log *log; /* borrowed until destroy; may be NULL */
};

typedef void weir_http_handler_fn(void *ctx, struct weir_http_request *request_take);

/* Listens and serves at once. Blocks for the name's resolution. INVALID (address), EXISTS (in use), REFUSED (no right to the
 * port), IO, RESOURCE. */
enum weir_rc weir_http_server_create(const struct weir_http_server_options *options, weir_http_handler_fn *handler, void *ctx,
                                     struct weir_http_server **out_server, struct weir_error *err) WEIR_CHECKED;

uint16_t weir_http_server_port(const struct weir_http_server *server);

/* Requests held are answered with 503 now, as are those that still come; the handler is not called any more (one call may
 * still be running). Idempotent. Any thread. */
void weir_http_server_stop(struct weir_http_server *server);

/* Stops, waits for the handler, closes every connection. Requests still held stay valid until they are answered. Blocks;
 * never from the handler. Accepts NULL. */
void weir_http_server_destroy(struct weir_http_server *server);

/* What was asked; borrowed until the answer. Any thread. */
const char *weir_http_request_method(const struct weir_http_request *request); /* "GET" */
const char *weir_http_request_path(const struct weir_http_request *request);   /* decoded, without the query */
/* A parameter's decoded value ("" for `?name`), or NULL. The first of several. */
const char *weir_http_request_query(const struct weir_http_request *request, const char *name);
/* A header's value, or NULL. The name's case does not matter. */
const char *weir_http_request_header(const struct weir_http_request *request, const char *name);
struct weir_slice weir_http_request_body(const struct weir_http_request *request);

/* Answers and frees the request. body is copied; content_type may be NULL when body is empty. Any thread; does not block. */
void weir_http_respond(struct weir_http_request *request_take, unsigned status, const char *content_type,
                       struct weir_slice body);

/* The same with {"errors":["<text>"]}, as Flink does. */
void weir_http_respond_error(struct weir_http_request *request_take, unsigned status, const char *text);

/* A redirection: the same path and query at `origin` ("http://host:port"), with the error text as body. */
void weir_http_respond_elsewhere(struct weir_http_request *request_take, unsigned status, const char *origin, const char *text);

#endif
