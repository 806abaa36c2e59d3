#include "client/gateway.h"

#include "common/base/mem.h"
#include "common/net/http_client.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

struct weir_gateway {
    struct weir_http_client *http;
    char *addresses[WEIR_JOBMANAGERS_MAX]; /* "host:port" */
    uint32_t naddresses;
    uint32_t current; /* the one that answered last */
};

/* Whether text is "host:port" ("[::1]:8081" too). */
static bool is_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || strpbrk(text, "/?#@ ") != NULL) {
        return false;
    }
    char *end;
    unsigned long port = strtoul(colon + 1, &end, 10);
    return isdigit((unsigned char)colon[1]) && *end == '\0' && port > 0 && port < 65536;
}

enum weir_rc weir_gateway_create(const char *jobmanagers, struct weir_gateway **out_gateway, struct weir_error *err)
{
    struct weir_gateway *gateway = weir_calloc(1, sizeof(*gateway));
    enum weir_rc rc = WEIR_OK;
    for (const char *at = jobmanagers; rc == WEIR_OK;) {
        size_t len = strcspn(at, ",");
        char *address = weir_strndup(at, len);
        if (gateway->naddresses == WEIR_JOBMANAGERS_MAX) {
            rc = weir_error_set(err, WEIR_INVALID, "more than %d JobManagers", WEIR_JOBMANAGERS_MAX);
        } else if (!is_address(address)) {
            rc = weir_error_set(err, WEIR_INVALID, "`%s` is no JobManager's address: expected HOST:PORT, several separated by commas",
                                address);
        } else {
            gateway->addresses[gateway->naddresses++] = address;
            address = NULL;
        }
        weir_free(address);
        if (at[len] == '\0') {
            break;
        }
        at += len + 1;
    }
    if (rc != WEIR_OK) {
        weir_gateway_destroy(gateway);
        return rc;
    }
    gateway->http = weir_http_client_create();
    *out_gateway = gateway;
    return WEIR_OK;
}

void weir_gateway_destroy(struct weir_gateway *gateway)
{
    if (gateway == NULL) {
        return;
    }
    for (uint32_t i = 0; i < gateway->naddresses; i++) {
        weir_free(gateway->addresses[i]);
    }
    weir_http_client_destroy(gateway->http);
    weir_free(gateway);
}

static enum weir_rc rc_of_status(unsigned status)
{
    switch (status) {
    case 400:
    case 413:
    case 415:
        return WEIR_INVALID;
    case 404:
        return WEIR_NOT_FOUND;
    case 409:
        return WEIR_STATE;
    case 503:
    case 504:
        return WEIR_AGAIN;
    default:
        return WEIR_EXTERNAL;
    }
}

enum weir_rc weir_gateway_error(unsigned status, struct weir_slice body, struct weir_error *err)
{
    struct weir_buf text = {0};
    json_t *document = json_loadb((const char *)body.data, body.len, 0, NULL);
    size_t i;
    json_t *line;
    json_array_foreach (json_object_get(document, "errors"), i, line) {
        weir_buf_put_fmt(&text, "%s%s", i > 0 ? "\n" : "", json_is_string(line) ? json_string_value(line) : "?");
    }
    json_decref(document);
    if (text.len == 0) {
        weir_buf_put_fmt(&text, "the JobManager answered HTTP %u", status);
    }
    enum weir_rc rc = weir_error_set(err, rc_of_status(status), "%.*s", WEIR_SLICE_ARG(weir_buf_slice(&text)));
    weir_buf_fini(&text);
    return rc;
}

/* Asks one JobManager. */
static enum weir_rc call_one(struct weir_gateway *gateway, uint32_t index, const struct weir_gateway_request *request,
                             unsigned *out_status, struct weir_buf *out, struct weir_error *err)
{
    char *url = weir_strfmt("http://%s%s", gateway->addresses[index], request->path);
    struct weir_http_call call = {.method = request->method, .url = url, .content_type = request->content_type,
                                  .body = request->body, .timeout_ms = WEIR_GATEWAY_TIMEOUT_MS};
    enum weir_rc rc = weir_http_call(gateway->http, &call, out_status, out, err);
    weir_free(url);
    return rc;
}

enum weir_rc weir_gateway_call(struct weir_gateway *gateway, const struct weir_gateway_request *request, struct weir_buf *out,
                               struct weir_error *err)
{
    size_t len = out->len;
    struct weir_error last = {.rc = WEIR_CLOSED};
    for (uint32_t i = 0; i < gateway->naddresses; i++) {
        uint32_t index = (gateway->current + i) % gateway->naddresses;
        unsigned status = 0;
        if (call_one(gateway, index, request, &status, out, &last) == WEIR_OK) {
            gateway->current = index;
            if (status < 400) {
                return WEIR_OK;
            }
            enum weir_rc rc = weir_gateway_error(status, weir_slice(out->data + len, out->len - len), err);
            out->len = len;
            return rc;
        }
    }
    if (gateway->naddresses == 1) {
        return weir_error_set(err, WEIR_CLOSED, "no JobManager answers at %s: %s. Is the cluster started? Another address: -m HOST:PORT",
                              gateway->addresses[0], last.text);
    }
    return weir_error_set(err, WEIR_CLOSED, "none of %u JobManagers answers; the last, %s: %s", (unsigned)gateway->naddresses,
                          gateway->addresses[(gateway->current + gateway->naddresses - 1) % gateway->naddresses], last.text);
}

enum weir_rc weir_gateway_call_json(struct weir_gateway *gateway, const struct weir_gateway_request *request, json_t **out,
                                    struct weir_error *err)
{
    struct weir_buf text = {0};
    enum weir_rc rc = weir_gateway_call(gateway, request, &text, err);
    if (rc == WEIR_OK) {
        json_error_t where;
        json_t *document = json_loadb((const char *)text.data, text.len, 0, &where);
        if (document == NULL) {
            rc = weir_error_set(err, WEIR_CORRUPT, "%s answers no JSON to %s %s: is that a JobManager?",
                                gateway->addresses[gateway->current], request->method, request->path);
        } else {
            *out = document;
        }
    }
    weir_buf_fini(&text);
    return rc;
}

enum weir_rc weir_gateway_get(struct weir_gateway *gateway, const char *path, json_t **out, struct weir_error *err)
{
    return weir_gateway_call_json(gateway, &(struct weir_gateway_request){.method = "GET", .path = path}, out, err);
}

void weir_gateway_put_encoded(struct weir_buf *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (isalnum((unsigned char)*c) || strchr("-._~", *c) != NULL) {
            weir_buf_put(out, c, 1);
        } else {
            weir_buf_put_fmt(out, "%%%02X", (unsigned)(unsigned char)*c);
        }
    }
}
