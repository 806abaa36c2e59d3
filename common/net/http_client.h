/*
 * HTTP client over libcurl, one blocking call at a time: for the CLI and for threads that may block.
 */
#ifndef WEIR_COMMON_NET_HTTP_CLIENT_H
#define WEIR_COMMON_NET_HTTP_CLIENT_H

#include "common/base/error.h"
#include "common/base/slice.h"

struct weir_buf;
struct weir_http_client;

enum { WEIR_HTTP_CLIENT_BODY_BYTES_MAX = 64 << 20 };

struct weir_http_call {
    const char *method;       /* "GET", "POST", "PATCH", "PUT", "DELETE" */
    const char *url;          /* http:// or https:// */
    const char *content_type; /* of the body; may be NULL */
    const char *header;       /* one more, "Name: value"; may be NULL */
    struct weir_slice body;
    uint32_t timeout_ms;      /* of the whole call, > 0 */
    uint64_t body_bytes_max;  /* of the answer; 0: WEIR_HTTP_CLIENT_BODY_BYTES_MAX */
    struct weir_buf *location; /* gets the absolute URL that an answer of 3xx points to, when it does; may be NULL */
};

/* Keeps connections alive between calls. One thread at a time. No proxy is used, whatever the environment says: it speaks to
 * its own cluster. */
struct weir_http_client *weir_http_client_create(void);
void weir_http_client_destroy(struct weir_http_client *client); /* accepts NULL */

/* Does the call and appends the answer's body to body. Any HTTP status is a success here. Redirects are not followed.
 * Blocks. REFUSED (nobody listens), NOT_FOUND (no such host), TIMEOUT, CLOSED, LIMIT (body), INVALID (URL), IO: body is as
 * it was. */
enum weir_rc weir_http_call(struct weir_http_client *client, const struct weir_http_call *call, unsigned *out_status,
                            struct weir_buf *body, struct weir_error *err) WEIR_CHECKED;

#endif
