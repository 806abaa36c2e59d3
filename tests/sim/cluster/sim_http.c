#include "tests/sim/cluster/http.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/net/http_server.h"

#include <stdio.h>
#include <string.h>

struct weir_http_server {
    struct weir_sim_node *node;
    uint32_t incarnation;
    uint16_t port;
    weir_http_handler_fn *handler;
    void *ctx;
    bool stopped;
    uint32_t running; /* handlers */
    struct weir_sim_waiters quiet;
};

/* A question and its answer, both on their way. It lives as long as the run. */
struct exchange {
    struct weir_sim_http_question question;
    struct weir_sim_node *from, *to;
    uint16_t port;
    bool answered;
    struct weir_sim_http_answer answer;
    struct weir_sim_waiters asker;
};

struct weir_http_request {
    struct exchange *exchange;
};

static struct weir_http_server *servers[WEIR_SIM_NODES_MAX]; /* one a process */

/* --- the asking side --------------------------------------------------------------------------------------------------- */

static void answer_arrives(void *ctx)
{
    struct exchange *exchange = ctx;
    if (!weir_sim_link_is_cut(exchange->to, exchange->from)) {
        exchange->answered = true;
        (void)weir_sim_wake_first(&exchange->asker);
    }
}

/* On a thread of the library, at the server. */
static void serve(void *ctx)
{
    struct exchange *exchange = ctx;
    struct weir_http_server *server = servers[exchange->to->index];
    if (server == NULL || server->incarnation != exchange->to->incarnation || server->stopped || server->port != exchange->port) {
        return;
    }
    struct weir_http_request *request = weir_calloc(1, sizeof(*request));
    request->exchange = exchange;
    server->running++;
    server->handler(server->ctx, request);
    server->running--;
    (void)weir_sim_wake_first(&server->quiet);
}

static void question_arrives(void *ctx)
{
    struct exchange *exchange = ctx;
    if (exchange->to->power == WEIR_SIM_UP && !weir_sim_link_is_cut(exchange->from, exchange->to)) {
        weir_sim_library(exchange->to, serve, exchange);
    }
}

bool weir_sim_http_ask(struct weir_sim_node *from, const char *address, const struct weir_sim_http_question *question, int64_t patience_ns,
                       struct weir_sim_http_answer *out_answer)
{
    struct exchange *exchange = weir_calloc(1, sizeof(*exchange));
    *exchange = (struct exchange){.question = *question, .from = from};
    char host[32];
    unsigned port = 0;
    int read = sscanf(address, "%31[^:]:%u", host, &port);
    weir_assert(read == 2);
    exchange->port = (uint16_t)port;
    for (uint32_t i = 0; i < weir_sim_node_count(); i++) {
        if (strcmp(weir_sim_node_at(i)->host, host) == 0) {
            exchange->to = weir_sim_node_at(i);
        }
    }
    weir_assert(exchange->to != NULL);
    weir_sim_after(weir_sim_latency_ns(from, exchange->to), NULL, question_arrives, exchange);
    if (!weir_sim_wait_in(&exchange->asker, weir_sim_now_ns() + patience_ns) && !exchange->answered) {
        return false;
    }
    *out_answer = exchange->answer;
    return true;
}

/* --- common/net/http_server.h --------------------------------------------------------------------------------------------- */

enum weir_rc weir_http_server_create(const struct weir_http_server_options *options, weir_http_handler_fn *handler, void *ctx,
                                     struct weir_http_server **out_server, struct weir_error *err)
{
    struct weir_sim_node *node = weir_sim_node_here();
    (void)err;
    weir_assert(strcmp(options->address, node->host) == 0 && options->port != 0);
    struct weir_http_server *server = weir_calloc(1, sizeof(*server));
    *server = (struct weir_http_server){.node = node, .incarnation = node->incarnation, .port = options->port, .handler = handler, .ctx = ctx};
    servers[node->index] = server;
    *out_server = server;
    return WEIR_OK;
}

uint16_t weir_http_server_port(const struct weir_http_server *server)
{
    return server->port;
}

void weir_http_server_stop(struct weir_http_server *server)
{
    server->stopped = true;
}

void weir_http_server_destroy(struct weir_http_server *server)
{
    if (server == NULL) {
        return;
    }
    weir_http_server_stop(server);
    while (server->running > 0) {
        (void)weir_sim_wait_in(&server->quiet, INT64_MAX);
    }
    servers[server->node->index] = NULL;
    weir_free(server);
}

const char *weir_http_request_method(const struct weir_http_request *request)
{
    return request->exchange->question.method;
}

const char *weir_http_request_path(const struct weir_http_request *request)
{
    return request->exchange->question.path;
}

const char *weir_http_request_query(const struct weir_http_request *request, const char *name)
{
    const struct weir_sim_http_question *question = &request->exchange->question;
    for (int i = 0; i < WEIR_SIM_HTTP_QUERIES_MAX; i++) {
        if (question->queries[i].name != NULL && strcmp(question->queries[i].name, name) == 0) {
            return question->queries[i].value;
        }
    }
    return NULL;
}

const char *weir_http_request_header(const struct weir_http_request *request, const char *name)
{
    return strcmp(name, "Content-Type") == 0 ? request->exchange->question.content_type : NULL;
}

struct weir_slice weir_http_request_body(const struct weir_http_request *request)
{
    const char *body = request->exchange->question.body;
    return weir_slice_str(body == NULL ? "" : body);
}

static void respond_take(struct weir_http_request *request, unsigned status, const char *elsewhere, struct weir_slice body)
{
    struct exchange *exchange = request->exchange;
    exchange->answer.status = status;
    (void)snprintf(exchange->answer.elsewhere, sizeof(exchange->answer.elsewhere), "%s", elsewhere);
    (void)snprintf(exchange->answer.text, sizeof(exchange->answer.text), "%.*s", WEIR_SLICE_ARG(body));
    weir_sim_after(weir_sim_latency_ns(exchange->to, exchange->from), NULL, answer_arrives, exchange);
    weir_free(request);
}

void weir_http_respond(struct weir_http_request *request_take, unsigned status, const char *content_type, struct weir_slice body)
{
    (void)content_type;
    respond_take(request_take, status, "", body);
}

void weir_http_respond_error(struct weir_http_request *request_take, unsigned status, const char *text)
{
    respond_take(request_take, status, "", weir_slice_str(text));
}

void weir_http_respond_elsewhere(struct weir_http_request *request_take, unsigned status, const char *origin, const char *text)
{
    weir_assert(strncmp(origin, "http://", 7) == 0);
    respond_take(request_take, status, origin + 7, weir_slice_str(text));
}
