#include "client/gateway.h"

#include "common/base/mem.h"
#include "common/base/version.h"
#include "common/net/address.h"
#include "common/net/http_client.h"

#include <jansson.h>
#include <poll.h>
#include <stdio.h>

enum { BACK_OFF_MS = 50, BACK_OFF_MAX_MS = 500, REDIRECTS_MAX = 3, ANSWER_MIN_MS = 100 };

struct weir_gateway {
    const struct weir_clock *clock;
    struct weir_http_client *http;
    char *addresses[WEIR_JOBMANAGERS_MAX]; /* "host:port" */
    char *said[WEIR_JOBMANAGERS_MAX];      /* why it was of no use in the present call; NULL: not asked */
    uint32_t naddresses;
    uint32_t current;     /* asked first: the one that answered last */
    uint32_t deadline_ms; /* 0: the default */
};

/* How an attempt with one JobManager ended. */
enum verdict {
    ANSWERED,   /* for good or bad: the call is over */
    ELSEWHERE,  /* it named the leader, which is `current` now */
    UNREACHABLE, /* nobody listens */
    USELESS,    /* it broke off, did not answer, or has no leader to name */
};

enum weir_rc weir_gateway_create(const char *jobmanagers, const struct weir_clock *clock, struct weir_gateway **out_gateway, struct weir_error *err)
{
    struct weir_gateway *gateway = weir_calloc(1, sizeof(*gateway));
    gateway->clock = clock;
    enum weir_rc rc = WEIR_OK;
    for (const char *at = jobmanagers; rc == WEIR_OK;) {
        size_t len = strcspn(at, ",");
        char *address = weir_strndup(at, len);
        if (gateway->naddresses == WEIR_JOBMANAGERS_MAX) {
            rc = weir_error_set(err, WEIR_INVALID, "more than %d JobManagers", WEIR_JOBMANAGERS_MAX);
        } else if (!weir_address_valid(weir_slice_str(address))) {
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
        weir_free(gateway->said[i]);
    }
    weir_http_client_destroy(gateway->http);
    weir_free(gateway);
}

void weir_gateway_set_deadline(struct weir_gateway *gateway, uint32_t deadline_ms)
{
    gateway->deadline_ms = deadline_ms;
}

void weir_gateway_turn(struct weir_gateway *gateway)
{
    gateway->current = (gateway->current + 1) % gateway->naddresses;
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

/* Makes the authority of a URL the one that is asked next; false when it has none. The newest replaces the last where there is no room. */
static bool follow(struct weir_gateway *gateway, struct weir_slice url)
{
    char *text = weir_strndup((const char *)url.data, url.len);
    char *begin = strstr(text, "://");
    begin = begin == NULL ? text : begin + 3;
    begin[strcspn(begin, "/?#")] = '\0';
    bool good = weir_address_valid(weir_slice_str(begin));
    uint32_t i = 0;
    while (good && i < gateway->naddresses && strcmp(gateway->addresses[i], begin) != 0) {
        i++;
    }
    if (good && i == gateway->naddresses) {
        i = i < WEIR_JOBMANAGERS_MAX ? gateway->naddresses++ : WEIR_JOBMANAGERS_MAX - 1;
        weir_free(gateway->addresses[i]);
        gateway->addresses[i] = weir_strdup(begin);
    }
    gateway->current = good ? i : gateway->current;
    weir_free(text);
    return good;
}

static void note(struct weir_gateway *gateway, uint32_t index, const char *text)
{
    weir_free(gateway->said[index]);
    gateway->said[index] = weir_strdup(text);
}

/* Asks one JobManager. *out_rc and err are of an ANSWERED call; out is as it was unless that is OK. */
static enum verdict ask(struct weir_gateway *gateway, uint32_t index, const struct weir_gateway_request *request, int64_t left_ms,
                        struct weir_buf *out, enum weir_rc *out_rc, struct weir_error *err)
{
    size_t len = out->len;
    unsigned status = 0;
    struct weir_buf location = {0};
    char *url = weir_strfmt("http://%s%s", gateway->addresses[index], request->path);
    bool brief = gateway->naddresses > 1 && !request->slow && left_ms > WEIR_GATEWAY_ANSWER_MS;
    int64_t timeout_ms = brief ? WEIR_GATEWAY_ANSWER_MS : left_ms > ANSWER_MIN_MS ? left_ms : ANSWER_MIN_MS;
    struct weir_http_call call = {.method = request->method, .url = url, .content_type = request->content_type,
                                  .header = WEIR_VERSION_HEADER ": " WEIR_VERSION, .body = request->body,
                                  .timeout_ms = (uint32_t)timeout_ms, .location = &location};
    struct weir_error why;
    enum weir_rc rc = weir_http_call(gateway->http, &call, &status, out, &why);
    enum verdict verdict = ANSWERED;
    if (rc != WEIR_OK) {
        note(gateway, index, why.text);
        verdict = rc == WEIR_REFUSED || rc == WEIR_NOT_FOUND ? UNREACHABLE : USELESS;
    } else if (status >= 300 && status < 400) {
        note(gateway, index, "names a leader that is not to be reached");
        verdict = follow(gateway, weir_buf_slice(&location)) ? ELSEWHERE : USELESS;
    } else if (status == 503) {
        (void)weir_gateway_error(status, weir_slice(out->data + len, out->len - len), &why);
        note(gateway, index, why.text);
        verdict = USELESS;
    } else {
        gateway->current = index;
        *out_rc = status < 400 ? WEIR_OK : weir_gateway_error(status, weir_slice(out->data + len, out->len - len), err);
    }
    out->len = verdict == ANSWERED && *out_rc == WEIR_OK ? out->len : len;
    weir_buf_fini(&location);
    weir_free(url);
    return verdict;
}

/* Asks one after the other, beginning with the one that answered last, and whomever they name. UNREACHABLE: all were. */
static enum verdict ask_all(struct weir_gateway *gateway, const struct weir_gateway_request *request, int64_t left_ms, struct weir_buf *out,
                            enum weir_rc *out_rc, struct weir_error *err)
{
    enum verdict verdict = UNREACHABLE;
    uint32_t first = gateway->current;
    uint32_t count = gateway->naddresses;
    for (uint32_t i = 0; i < count; i++) {
        enum verdict one = ask(gateway, (first + i) % count, request, left_ms, out, out_rc, err);
        for (int redirects = 0; one == ELSEWHERE && redirects < REDIRECTS_MAX; redirects++) {
            one = ask(gateway, gateway->current, request, left_ms, out, out_rc, err);
            verdict = USELESS;
        }
        if (one == ANSWERED) {
            return ANSWERED;
        }
        verdict = one == UNREACHABLE ? verdict : USELESS;
    }
    gateway->current = (first + 1) % count;
    return verdict;
}

static enum weir_rc nobody(const struct weir_gateway *gateway, bool unreachable, int64_t tried_ms, struct weir_error *err)
{
    struct weir_buf text = {0};
    for (uint32_t i = 0; i < gateway->naddresses; i++) {
        weir_buf_put_fmt(&text, "%s%s: %s", i > 0 ? "; " : "", gateway->addresses[i], gateway->said[i] != NULL ? gateway->said[i] : "not asked");
    }
    enum weir_rc rc;
    if (unreachable && gateway->naddresses == 1) {
        rc = weir_error_set(err, WEIR_CLOSED, "no JobManager answers at %.*s. Is the cluster started? Another address: -m HOST:PORT",
                            WEIR_SLICE_ARG(weir_buf_slice(&text)));
    } else {
        rc = weir_error_set(err, unreachable ? WEIR_CLOSED : WEIR_AGAIN, "%s, tried for %lld s: %.*s",
                            unreachable ? "no JobManager answers" : "no JobManager can serve this now", (long long)(tried_ms + 500) / 1000,
                            WEIR_SLICE_ARG(weir_buf_slice(&text)));
    }
    weir_buf_fini(&text);
    return rc;
}

enum weir_rc weir_gateway_call(struct weir_gateway *gateway, const struct weir_gateway_request *request, struct weir_buf *out,
                               struct weir_error *err)
{
    int64_t began_ms = weir_clock_mono_ms(gateway->clock);
    int64_t pause_ms = BACK_OFF_MS;
    for (uint32_t i = 0; i < WEIR_JOBMANAGERS_MAX; i++) {
        weir_free(gateway->said[i]);
        gateway->said[i] = NULL;
    }
    for (;;) {
        int64_t limit_ms = gateway->deadline_ms != 0 ? gateway->deadline_ms : WEIR_GATEWAY_DEADLINE_MS;
        int64_t tried_ms = weir_clock_mono_ms(gateway->clock) - began_ms;
        enum weir_rc rc = WEIR_OK;
        enum verdict verdict = ask_all(gateway, request, limit_ms - tried_ms, out, &rc, err);
        if (verdict == ANSWERED) {
            return rc;
        }
        if (verdict == UNREACHABLE && gateway->naddresses == 1 && limit_ms > WEIR_GATEWAY_ALONE_MS) {
            limit_ms = WEIR_GATEWAY_ALONE_MS;
        }
        tried_ms = weir_clock_mono_ms(gateway->clock) - began_ms;
        if (tried_ms + pause_ms >= limit_ms) {
            return nobody(gateway, verdict == UNREACHABLE, tried_ms, err);
        }
        (void)poll(NULL, 0, (int)pause_ms);
        pause_ms = pause_ms * 2 < BACK_OFF_MAX_MS ? pause_ms * 2 : BACK_OFF_MAX_MS;
    }
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
