#include "common/net/http_client.h"

#include "common/base/assert.h"
#include "common/base/buf.h"
#include "common/base/mem.h"

#include <curl/curl.h>

struct weir_http_client {
    CURL *curl;
};

/* Where the answer's body goes. */
struct sink {
    struct weir_buf *body;
    size_t start;
    uint64_t bytes_max;
    bool full;
};

struct weir_http_client *weir_http_client_create(void)
{
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT); /* counts; thread-safe since curl 7.84 */
    weir_assert(code == CURLE_OK);
    struct weir_http_client *client = weir_malloc(sizeof(*client));
    client->curl = curl_easy_init();
    weir_assert(client->curl != NULL);
    return client;
}

void weir_http_client_destroy(struct weir_http_client *client)
{
    if (client != NULL) {
        curl_easy_cleanup(client->curl);
        curl_global_cleanup();
        weir_free(client);
    }
}

static size_t on_data(char *data, size_t size, size_t count, void *ctx)
{
    struct sink *sink = ctx;
    size_t bytes = size * count;
    if (sink->body->len - sink->start + bytes > sink->bytes_max) {
        sink->full = true;
        return 0;
    }
    weir_buf_put(sink->body, data, bytes);
    return bytes;
}

static enum weir_rc rc_of_curl(CURLcode code)
{
    if (code == CURLE_OPERATION_TIMEDOUT) {
        return WEIR_TIMEOUT;
    }
    if (code == CURLE_COULDNT_CONNECT) {
        return WEIR_REFUSED;
    }
    if (code == CURLE_COULDNT_RESOLVE_HOST) {
        return WEIR_NOT_FOUND;
    }
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL) {
        return WEIR_INVALID;
    }
    if (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR || code == CURLE_PARTIAL_FILE) {
        return WEIR_CLOSED;
    }
    return WEIR_IO;
}

static void set_up(CURL *curl, const struct weir_http_call *call, struct sink *sink, struct curl_slist *headers, char *why)
{
    CURLcode code = curl_easy_setopt(curl, CURLOPT_URL, call->url);
    weir_assert(code == CURLE_OK); /* only memory can be missing, here and below */
    code = curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    weir_assert(code == CURLE_OK);
    code = curl_easy_setopt(curl, CURLOPT_PROXY, "");
    weir_assert(code == CURLE_OK);
    code = curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
    weir_assert(code == CURLE_OK);
    code = curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    weir_assert(code == CURLE_OK);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, sink);
    if (strcmp(call->method, "HEAD") == 0) {
        (void)curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    } else if (call->body.len > 0 || strcmp(call->method, "GET") != 0) {
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body.len == 0 ? "" : (const char *)call->body.data);
    }
}

enum weir_rc weir_http_call(struct weir_http_client *client, const struct weir_http_call *call, unsigned *out_status,
                            struct weir_buf *body, struct weir_error *err)
{
    weir_assert(call->timeout_ms > 0);
    char why[CURL_ERROR_SIZE] = "";
    struct sink sink = {.body = body,
                        .start = body->len,
                        .bytes_max = call->body_bytes_max == 0 ? WEIR_HTTP_CLIENT_BODY_BYTES_MAX : call->body_bytes_max};
    char *type = call->content_type == NULL ? weir_strdup("Content-Type:") : weir_strfmt("Content-Type: %s", call->content_type);
    struct curl_slist *headers = curl_slist_append(NULL, type);
    weir_assert(headers != NULL);
    struct curl_slist *more = curl_slist_append(headers, "Expect:"); /* no round trip before the body */
    weir_assert(more != NULL);
    if (call->header != NULL) {
        more = curl_slist_append(headers, call->header);
        weir_assert(more != NULL);
    }
    set_up(client->curl, call, &sink, headers, why);
    CURLcode code = curl_easy_perform(client->curl);
    enum weir_rc rc = WEIR_OK;
    if (sink.full) {
        rc = weir_error_set(err, WEIR_LIMIT, "%s %s: the answer has more than %llu bytes", call->method, call->url,
                            (unsigned long long)sink.bytes_max);
    } else if (code != CURLE_OK) {
        rc = weir_error_set(err, rc_of_curl(code), "%s %s: %s", call->method, call->url,
                            why[0] != '\0' ? why : curl_easy_strerror(code));
    } else {
        long status = 0;
        code = curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
        weir_assert(code == CURLE_OK);
        *out_status = (unsigned)status;
        char *location = NULL;
        code = curl_easy_getinfo(client->curl, CURLINFO_REDIRECT_URL, &location);
        if (code == CURLE_OK && location != NULL && call->location != NULL) {
            weir_buf_put_str(call->location, location);
        }
    }
    if (rc != WEIR_OK) {
        body->len = sink.start;
    }
    curl_easy_reset(client->curl); /* it must not keep pointers to this call */
    curl_slist_free_all(headers);
    weir_free(type);
    return rc;
}
