#include "jobmanager/rest/rest_server.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/base/version.h"
#include "common/net/http_server.h"
#include "jobmanager/rest/rest_request.h"

#include <jansson.h>
#include <stdlib.h>

struct weir_rest {
    struct weir_jm *jm;
    const struct weir_log *log;
    struct weir_http_server *server;
};

/* --- answers -------------------------------------------------------------------------------------------------------- */

static const char json_content[] = "application/json; charset=UTF-8";

static void reply(struct weir_rest_request *request, unsigned status, const char *content_type, struct weir_slice body)
{
    weir_http_respond(request->http, status, content_type, body);
    weir_free(request);
}

static json_t *json_text(const char *text, size_t len)
{
    json_t *string = json_stringn(text, len);
    if (string != NULL) {
        return string;
    }
    char *ascii = weir_strndup(text, len); /* not UTF-8 */
    for (size_t i = 0; i < len; i++) {
        ascii[i] = (unsigned char)ascii[i] < 0x80 ? ascii[i] : '?';
    }
    string = json_stringn(ascii, len);
    weir_free(ascii);
    return string;
}

json_t *weir_rest_errors(const char *text)
{
    json_t *lines = json_array();
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, "\n");
        if (len > 0) {
            json_array_append_new(lines, json_text(at, len));
        }
        at += at[len] == '\n' ? len + 1 : len;
    }
    return json_pack("{s:o}", "errors", lines);
}

void weir_rest_reply_json_take(struct weir_rest_request *request, unsigned status, json_t *document)
{
    char *text = document != NULL ? json_dumps(document, JSON_COMPACT) : NULL;
    json_decref(document);
    if (text == NULL) {
        weir_rest_reply_errors(request, 500, "a name in the answer is not UTF-8");
        return;
    }
    reply(request, status, json_content, weir_slice_str(text));
    json_free_t release;
    json_get_alloc_funcs(NULL, &release);
    release(text);
}

void weir_rest_reply_text(struct weir_rest_request *request, const char *content_type, struct weir_slice text)
{
    reply(request, 200, content_type, text);
}

void weir_rest_reply_errors(struct weir_rest_request *request, unsigned status, const char *text)
{
    weir_rest_reply_json_take(request, status, weir_rest_errors(text));
}

unsigned weir_rest_status(enum weir_rc rc)
{
    switch (rc) {
    case WEIR_OK:
        return 200;
    case WEIR_INVALID:
    case WEIR_DATA:
        return 400;
    case WEIR_NOT_FOUND:
        return 404;
    case WEIR_EXISTS:
    case WEIR_STATE:
    case WEIR_STALE:
    case WEIR_CANCELED:
        return 409;
    case WEIR_LIMIT:
        return 413;
    case WEIR_UNSUPPORTED:
        return 501;
    case WEIR_AGAIN:
    case WEIR_CLOSED:
    case WEIR_REFUSED:
    case WEIR_UNKNOWN:
    case WEIR_RESOURCE:
        return 503;
    case WEIR_TIMEOUT:
        return 504;
    case WEIR_END:
    case WEIR_CORRUPT:
    case WEIR_IO:
    case WEIR_EXTERNAL:
    case WEIR_RC_COUNT_:
        return 500;
    }
    return 500;
}

void weir_rest_reply_failure(struct weir_rest_request *request, const struct weir_error *err)
{
    weir_rest_reply_errors(request, weir_rest_status(err->rc), err->text);
}

void weir_rest_reply_not_leading(struct weir_rest_request *request)
{
    const char *leader = weir_jm_leader_rest_address(request->jm);
    if (leader == NULL) {
        weir_rest_reply_errors(request, 503,
                               "no leader is elected: a majority of the JobManagers has to run and reach each other; running jobs go on, try again");
        return;
    }
    char *origin = weir_strfmt("http://%s", leader);
    char *text = weir_strfmt("the JobManager at %s leads", leader);
    weir_http_respond_elsewhere(request->http, 307, origin, text);
    weir_free(text);
    weir_free(origin);
    weir_free(request);
}

/* --- requests ------------------------------------------------------------------------------------------------------- */

static void on_proved(void *ctx, enum weir_rc rc, const struct weir_error *err)
{
    struct weir_rest_request *request = ctx;
    bool anybody = request->route->who == WEIR_REST_LEADER_IF_ANY && weir_jm_leader_rest_address(request->jm) == NULL;
    if (rc == WEIR_OK || (rc == WEIR_REFUSED && anybody)) {
        request->route->handle(request);
    } else if (rc == WEIR_REFUSED) {
        weir_rest_reply_not_leading(request);
    } else {
        weir_rest_reply_failure(request, err);
    }
}

static void handle_on_mailbox(void *ctx, void *arg)
{
    (void)ctx;
    struct weir_rest_request *request = arg;
    if (request->route->who == WEIR_REST_ANYBODY) {
        request->route->handle(request);
    } else {
        weir_jm_prove(request->jm, on_proved, request);
    }
}

static void drop(void *arg)
{
    weir_rest_reply_errors(arg, 503, "this JobManager is stopping or overloaded");
}

/* The row of this path and method. NULL: *out_path_known says whether another method would have fitted. */
static const struct weir_rest_route *find_route(const char *method, const char *path, struct weir_route_params *out_params,
                                                bool *out_path_known)
{
    *out_path_known = false;
    for (const struct weir_rest_route *route = weir_rest_routes; route->method != NULL; route++) {
        bool head = strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0;
        if (!weir_route_match(route->pattern, path, out_params)) {
            continue;
        }
        *out_path_known = true;
        if (head || strcmp(route->method, method) == 0) {
            return route;
        }
    }
    return NULL;
}

static void refuse(struct weir_http_request *http, bool path_known)
{
    char *text = path_known ? weir_strfmt("%s is not possible here", weir_http_request_method(http))
                            : weir_strfmt("Unable to load requested file %.500s.", weir_http_request_path(http));
    weir_http_respond_error(http, path_known ? 405 : 404, text);
    weir_free(text);
}

/* On the server's thread: finds the row and posts. A client of another release is refused before, whoever leads. */
static void http_on_request(void *ctx, struct weir_http_request *http)
{
    struct weir_rest *rest = ctx;
    struct weir_error err;
    if (weir_route_check_version(weir_http_request_header(http, WEIR_VERSION_HEADER), &err) != WEIR_OK) {
        weir_http_respond_error(http, weir_rest_status(err.rc), err.text);
        return;
    }
    struct weir_rest_request *request = weir_calloc(1, sizeof(*request));
    bool path_known;
    request->route = find_route(weir_http_request_method(http), weir_http_request_path(http), &request->params, &path_known);
    if (request->route == NULL) {
        weir_free(request);
        refuse(http, path_known);
        return;
    }
    request->jm = rest->jm;
    request->log = rest->log;
    request->http = http;
    if (!weir_jm_post(rest->jm, handle_on_mailbox, drop, NULL, request)) {
        drop(request);
    }
}

enum weir_rc weir_rest_start(struct weir_jm *jm, const struct weir_config *config, const struct weir_log *log, struct weir_rest **out_rest,
                             struct weir_error *err)
{
    struct weir_rest *rest = weir_calloc(1, sizeof(*rest));
    *rest = (struct weir_rest){.jm = jm, .log = log};
    struct weir_http_server_options options = {
        .address = weir_config_string(config, WEIR_CFG_REST_ADDRESS),
        .port = (uint16_t)weir_config_int(config, WEIR_CFG_REST_PORT),
        .log = log,
    };
    enum weir_rc rc = weir_http_server_create(&options, http_on_request, rest, &rest->server, err);
    if (rc != WEIR_OK) {
        weir_free(rest);
        return weir_error_prefix(err, "the HTTP API (rest.bind-address, rest.port)");
    }
    *out_rest = rest;
    return WEIR_OK;
}

uint16_t weir_rest_port(const struct weir_rest *rest)
{
    return weir_http_server_port(rest->server);
}

void weir_rest_stop(struct weir_rest *rest)
{
    if (rest == NULL) {
        return;
    }
    weir_http_server_destroy(rest->server);
    weir_free(rest);
}
