/*
 * The asking side.
 *
 *   DOWN -keeper: dial-> DIALING -connected: say hello-> HELLO -accepted-> READY
 *     ^                     | failed                      |  `-refused-> REFUSED -keeper, a second later: say it again-> HELLO
 *     `---------------------+---------------- connection closed -------------------------------------------------'
 *
 * A call is WAITING until READY, then SENT until its answer. Whoever ends it (answer, deadline, loss, refusal, stop) takes
 * it out of its list under the mutex, so that it ends once.
 *
 * I1. User callbacks run without the mutex.
 * I2. The keeper dials, destroys closed connections, and ends calls whose time is over.
 * I3. on_connected and on_disconnected alternate: events are numbered, and one thread at a time tells them in order.
 * I4. A connection on which nothing has come since a call was sent that is overdue now is closed: to a machine that lost its power it looks
 *     alive for as long as TCP repeats what was sent, which is minutes after that machine is back.
 * Lock order: this mutex, then a connection's.
 */
#include "common/net/rpc.h"

#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/net/keeper.h"
#include "common/net/rpc_conn.h"

#include <stdio.h>

enum {
    REDIAL_MS_MIN = 10,
    REDIAL_MS_MAX = 200,
    DIAL_TIMEOUT_MS = 2000, /* TCP asks a machine that is away again after 1, 3, 7 s: a new dial asks sooner */
    HELLO_TIMEOUT_MS = 1500, /* a library thread answers, so who does not is not there any more */
    HELLO_AGAIN_MS = 1000,
    INDEX_BITS = 16, /* of a call's id; the rest tells the uses of a slot apart */
};

_Static_assert(WEIR_RPC_CALLS_MAX <= 1 << INDEX_BITS, "a call's index must fit its id");

enum client_state { CLIENT_DOWN, CLIENT_DIALING, CLIENT_HELLO, CLIENT_READY, CLIENT_REFUSED };

struct call {
    struct weir_list node; /* in `free`, `waiting` or `sent`, or in the list of whoever ends it */
    uint32_t id;
    bool sent;
    uint16_t method;
    struct weir_buf body; /* until sent */
    int64_t deadline_ms, sent_ms;
    weir_rpc_done_fn *done;
    void *ctx;
    enum weir_rc rc; /* what it ends with */
};

struct weir_rpc_client {
    char *address;
    char *host_port;
    char *cluster_id;
    char *role;
    char *name;
    char *server_role;
    uint16_t protocol_version;
    uint32_t calls_max;
    const struct weir_log *log;
    struct weir_tls *tls;
    struct weir_rpc_client_callbacks callbacks;
    void *ctx;

    struct weir_mutex mutex; /* guards what follows, and the calls */
    struct weir_cond quiet;  /* no call is used, no connection is there, or telling is over */
    struct weir__keeper keeper;
    enum client_state state;
    struct weir__rpc_conn *conn;   /* HELLO, READY, REFUSED */
    struct weir__rpc_conn *closed; /* to be destroyed by the keeper before it dials again */
    struct weir_stream_dial *dial; /* to be destroyed when it is over */
    int64_t due_ms;                /* DOWN: dial; HELLO: give up; REFUSED: say hello again */
    uint32_t redial_ms;
    char refused[WEIR_ERROR_TEXT_MAX];
    struct call **calls; /* by index */
    uint32_t calls_count;
    uint32_t used_count;
    struct weir_list free;
    struct weir_list waiting; /* oldest first */
    struct weir_list sent;
    int64_t heard_ms; /* READY: when the server last said something */
    int64_t wake_ms; /* when the keeper looks at deadlines next */
    bool stopping;
    bool telling;
    uint64_t events_posted; /* even numbers: connected; odd: disconnected */
    uint64_t events_told;
};

static int64_t now_ms(void)
{
    return weir_clock_mono_ms(weir_clock_real()); /* the keeper's sleeps are real time too */
}

/* Tells connection events in order; the mutex is held, and is released around each callback. */
static void tell_events_locked(struct weir_rpc_client *client)
{
    if (client->telling) {
        return;
    }
    client->telling = true;
    while (client->events_told < client->events_posted) {
        bool connected = client->events_told % 2 == 0;
        client->events_told++;
        weir_mutex_unlock(&client->mutex);
        void (*callback)(void *) = connected ? client->callbacks.on_connected : client->callbacks.on_disconnected;
        if (callback != NULL) {
            callback(client->ctx);
        }
        weir_mutex_lock(&client->mutex);
    }
    client->telling = false;
    weir_cond_broadcast(&client->quiet);
}

/* --- calls ----------------------------------------------------------------------------------------------------------- */

static void call_send_locked(struct weir_rpc_client *client, struct call *call)
{
    struct weir__rpc_frame frame = {.id = call->id, .method = call->method, .body = weir_buf_slice(&call->body)};
    weir__rpc_conn_send(client->conn, &frame);
    weir_buf_fini(&call->body);
    call->sent = true;
    call->sent_ms = now_ms();
    weir_list_remove(&call->node);
    weir_list_push_back(&client->sent, &call->node);
}

/* Out of its list and into that of calls to be ended. */
static void call_end_locked(struct call *call, enum weir_rc rc, struct weir_list *ended)
{
    call->rc = rc;
    weir_list_remove(&call->node);
    weir_list_push_back(ended, &call->node);
}

static void calls_end_locked(struct weir_list *calls, enum weir_rc rc, struct weir_list *ended)
{
    while (!weir_list_empty(calls)) {
        call_end_locked(WEIR_CONTAINER_OF(weir_list_first(calls), struct call, node), rc, ended);
    }
}

static void call_free_locked(struct weir_rpc_client *client, struct call *call)
{
    weir_buf_fini(&call->body);
    weir_list_remove(&call->node);
    weir_list_push_back(&client->free, &call->node); /* at the back: an id comes again as late as possible */
    client->used_count--;
    if (client->used_count == 0) {
        weir_cond_broadcast(&client->quiet);
    }
}

static const char *reason(const struct call *call)
{
    if (call->rc == WEIR_TIMEOUT) {
        return call->sent ? "no answer before the deadline" : "no connection before the deadline";
    }
    if (call->rc == WEIR_CLOSED) {
        return "the connection was closed before the answer came";
    }
    return call->rc == WEIR_CANCELED ? "canceled: the client is stopping" : weir_rc_text(call->rc);
}

/* Calls the callbacks of the ended; the mutex is held, and is released meanwhile. */
static void tell_ended_locked(struct weir_rpc_client *client, struct weir_list *ended)
{
    for (struct weir_list *node = weir_list_first(ended); node != NULL; node = weir_list_first(ended)) {
        struct call *call = WEIR_CONTAINER_OF(node, struct call, node);
        char text[WEIR_ERROR_TEXT_MAX];
        if (call->rc == WEIR_REFUSED) {
            (void)snprintf(text, sizeof(text), "%s", client->refused);
        } else {
            (void)snprintf(text, sizeof(text), "%s: %s", client->address, reason(call));
        }
        weir_list_remove(&call->node);
        call->sent = false; /* no answer finds it any more */
        weir_mutex_unlock(&client->mutex);
        call->done(call->ctx, call->rc, weir_slice(NULL, 0), text);
        weir_mutex_lock(&client->mutex);
        call_free_locked(client, call);
    }
}

/* A slot with a fresh id, or NULL when calls_max are in use. */
static struct call *call_take_locked(struct weir_rpc_client *client)
{
    struct weir_list *node = weir_list_pop_front(&client->free);
    struct call *call = node == NULL ? NULL : WEIR_CONTAINER_OF(node, struct call, node);
    if (call == NULL) {
        if (client->calls_count >= client->calls_max) {
            return NULL;
        }
        call = weir_calloc(1, sizeof(*call));
        call->id = client->calls_count;
        client->calls[client->calls_count++] = call;
    }
    call->id += 1u << INDEX_BITS;
    client->used_count++;
    return call;
}

static struct call *call_find_locked(const struct weir_rpc_client *client, uint32_t id)
{
    uint32_t index = id & ((1u << INDEX_BITS) - 1);
    struct call *call = index < client->calls_count ? client->calls[index] : NULL;
    return call != NULL && call->id == id && call->sent ? call : NULL;
}

/* The answer to a call; one that comes after its deadline finds no call any more. */
static void handle_answer(struct weir_rpc_client *client, const struct weir__rpc_frame *frame)
{
    weir_mutex_lock(&client->mutex);
    client->heard_ms = now_ms();
    struct call *call = call_find_locked(client, frame->id);
    if (call != NULL) {
        weir_list_remove(&call->node);
        call->sent = false; /* nobody finds it again */
    }
    weir_mutex_unlock(&client->mutex);
    if (call == NULL) {
        return;
    }
    if ((frame->flags & WEIR__RPC_FLAG_NO_HELLO) != 0) {
        call->done(call->ctx, WEIR_CLOSED, weir_slice(NULL, 0), "the server has forgotten this connection's hello");
    } else if (frame->rc == WEIR_OK) {
        call->done(call->ctx, WEIR_OK, frame->body, "");
    } else {
        char text[WEIR_ERROR_TEXT_MAX];
        (void)snprintf(text, sizeof(text), "%.*s", (int)(frame->body.len < sizeof(text) ? frame->body.len : sizeof(text) - 1),
                       (const char *)frame->body.data);
        call->done(call->ctx, frame->rc, weir_slice(NULL, 0), text);
    }
    weir_mutex_lock(&client->mutex);
    call_free_locked(client, call);
    weir_mutex_unlock(&client->mutex);
}

/* --- connection and hello -------------------------------------------------------------------------------------------- */

static void hello_send_locked(struct weir_rpc_client *client)
{
    struct weir_buf body = {0};
    struct weir__rpc_hello hello = {.protocol_version = client->protocol_version,
                                    .cluster_id = weir_slice_str(client->cluster_id),
                                    .role = weir_slice_str(client->role),
                                    .name = weir_slice_str(client->name)};
    weir__rpc_hello_encode(&hello, &body);
    struct weir__rpc_frame frame = {.method = WEIR_RPC_METHOD_HELLO, .body = weir_buf_slice(&body)};
    weir__rpc_conn_send(client->conn, &frame);
    weir_buf_fini(&body);
    client->state = CLIENT_HELLO;
    client->due_ms = now_ms() + HELLO_TIMEOUT_MS;
    weir__keeper_kick_locked(&client->keeper);
}

static void refused_locked(struct weir_rpc_client *client)
{
    weir_log(client->log, WEIR_LOG_WARN, "rpc_hello_refused", "server", client->address, "reason", client->refused, NULL);
    client->state = CLIENT_REFUSED;
    client->due_ms = now_ms() + HELLO_AGAIN_MS;
    weir__keeper_kick_locked(&client->keeper); /* which refuses the waiting */
}

static void ready_locked(struct weir_rpc_client *client)
{
    client->state = CLIENT_READY;
    client->heard_ms = now_ms();
    client->redial_ms = REDIAL_MS_MIN;
    client->events_posted++;
    weir_log(client->log, WEIR_LOG_INFO, "rpc_connected", "server", client->address, NULL);
    while (!weir_list_empty(&client->waiting)) {
        call_send_locked(client, WEIR_CONTAINER_OF(weir_list_first(&client->waiting), struct call, node));
    }
    tell_events_locked(client);
}

static void handle_hello_answer(struct weir_rpc_client *client, struct weir__rpc_conn *conn,
                                const struct weir__rpc_frame *frame)
{
    struct weir__rpc_hello hello;
    if (frame->rc == WEIR_OK && !weir__rpc_hello_decode(frame->body, &hello)) {
        weir__rpc_conn_close(conn, "a hello that cannot be read");
        return;
    }
    weir_mutex_lock(&client->mutex);
    if (client->state == CLIENT_HELLO && !client->stopping) {
        if (frame->rc != WEIR_OK) {
            (void)snprintf(client->refused, sizeof(client->refused), "%s: %.*s", client->address,
                           (int)(frame->body.len < WEIR_ERROR_TEXT_MAX ? frame->body.len : WEIR_ERROR_TEXT_MAX),
                           (const char *)frame->body.data);
            refused_locked(client);
        } else if (client->server_role != NULL && !weir_slice_eq_str(hello.role, client->server_role)) {
            (void)snprintf(client->refused, sizeof(client->refused), "%s: expected a \"%s\" there, but \"%.*s\" is a \"%.*s\"",
                           client->address, client->server_role, WEIR_SLICE_ARG(hello.name), WEIR_SLICE_ARG(hello.role));
            refused_locked(client);
        } else if (client->tls != NULL && !weir_slice_eq_str(hello.role, weir__rpc_conn_peer_role(conn))) {
            (void)snprintf(client->refused, sizeof(client->refused), "%s: \"%.*s\" says it is a \"%.*s\", but its certificate is for \"%s\"",
                           client->address, WEIR_SLICE_ARG(hello.name), WEIR_SLICE_ARG(hello.role), weir__rpc_conn_peer_role(conn));
            refused_locked(client);
        } else {
            ready_locked(client);
        }
    }
    weir_mutex_unlock(&client->mutex);
}

static void on_frame(void *owner, struct weir__rpc_conn *conn, const struct weir__rpc_frame *frame)
{
    struct weir_rpc_client *client = owner;
    if ((frame->flags & WEIR__RPC_FLAG_REPLY) == 0) {
        weir__rpc_conn_close(conn, "a request where an answer was expected");
    } else if (frame->method == WEIR_RPC_METHOD_HELLO) {
        handle_hello_answer(client, conn, frame);
    } else {
        handle_answer(client, frame);
    }
}

static void down_locked(struct weir_rpc_client *client)
{
    client->state = CLIENT_DOWN;
    client->due_ms = now_ms() + client->redial_ms;
    client->redial_ms = client->redial_ms * 2 < REDIAL_MS_MAX ? client->redial_ms * 2 : REDIAL_MS_MAX;
    weir__keeper_kick_locked(&client->keeper);
}

static void on_closed(void *owner, struct weir__rpc_conn *conn, const char *malformed)
{
    struct weir_rpc_client *client = owner;
    struct weir_list ended;
    weir_list_init(&ended);
    if (malformed != NULL) {
        weir_log(client->log, WEIR_LOG_WARN, "rpc_frame_malformed", "reason", malformed, "server", client->address, NULL);
    }
    weir_mutex_lock(&client->mutex);
    weir_assert(client->conn == conn);
    if (client->state == CLIENT_READY) {
        client->events_posted++;
        weir_log(client->log, WEIR_LOG_INFO, "rpc_disconnected", "server", client->address, NULL);
    }
    client->state = CLIENT_DOWN;
    client->due_ms = INT64_MAX; /* not before everybody was told */
    calls_end_locked(&client->sent, malformed != NULL ? WEIR_CORRUPT : WEIR_CLOSED, &ended);
    tell_events_locked(client);
    tell_ended_locked(client, &ended);
    client->conn = NULL;
    client->closed = conn;
    down_locked(client);
    weir_cond_broadcast(&client->quiet);
    weir_mutex_unlock(&client->mutex);
}

static void on_dialed(void *ctx, enum weir_rc rc, struct weir_stream *stream_take)
{
    static const struct weir__rpc_conn_callbacks callbacks = {.on_frame = on_frame, .on_closed = on_closed};
    struct weir_rpc_client *client = ctx;
    weir_mutex_lock(&client->mutex);
    if (rc != WEIR_OK || client->stopping) {
        down_locked(client);
    } else {
        client->conn = weir__rpc_conn_create(stream_take, &callbacks, client, WEIR_RPC_FRAME_BYTES_MAX);
        stream_take = NULL;
        weir__rpc_conn_start(client->conn);
        hello_send_locked(client);
    }
    weir_mutex_unlock(&client->mutex);
    weir_stream_destroy(stream_take); /* nothing is in flight on it, and this is the dial's callback */
}

/* --- the keeper ------------------------------------------------------------------------------------------------------ */

/* Ends the overdue of the list; returns when the next is due. */
static int64_t deadlines_locked(struct weir_list *calls, int64_t now, struct weir_list *ended, int64_t next_ms)
{
    for (struct weir_list *node = weir_list_first(calls), *next; node != NULL; node = next) {
        next = weir_list_next(calls, node);
        struct call *call = WEIR_CONTAINER_OF(node, struct call, node);
        if (call->deadline_ms <= now) {
            call_end_locked(call, WEIR_TIMEOUT, ended);
        } else if (call->deadline_ms < next_ms) {
            next_ms = call->deadline_ms;
        }
    }
    return next_ms;
}

/* I4 */
static bool silent_locked(const struct weir_rpc_client *client, int64_t now)
{
    for (struct weir_list *node = weir_list_first(&client->sent); node != NULL; node = weir_list_next(&client->sent, node)) {
        const struct call *call = WEIR_CONTAINER_OF(node, struct call, node);
        if (call->deadline_ms <= now && call->sent_ms > client->heard_ms) {
            return true;
        }
    }
    return false;
}

static void dial_locked(struct weir_rpc_client *client)
{
    struct weir__rpc_conn *closed = client->closed;
    struct weir_stream_dial *dial = client->dial;
    struct weir_error err;
    client->closed = NULL;
    client->dial = NULL;
    client->state = CLIENT_DIALING;
    weir_mutex_unlock(&client->mutex);
    if (closed != NULL) {
        weir__rpc_conn_destroy(closed);
    }
    weir_stream_dial_destroy(dial);
    const struct weir_stream_guard guard = {.tls = client->tls, .peer_role = client->server_role};
    enum weir_rc rc = weir_stream_dial(client->host_port, &guard, DIAL_TIMEOUT_MS, on_dialed, client, &client->dial, &err);
    weir_mutex_lock(&client->mutex);
    if (rc != WEIR_OK) {
        weir_log(client->log, WEIR_LOG_WARN, "rpc_dial_failed", "reason", err.text, NULL);
        down_locked(client);
    }
}

static int64_t keep_locked(void *owner)
{
    struct weir_rpc_client *client = owner;
    struct weir_list ended;
    weir_list_init(&ended);
    int64_t now = now_ms();
    client->wake_ms = INT64_MAX; /* a call made while the mutex is released meanwhile asks for another round */
    if (client->stopping) {
        calls_end_locked(&client->waiting, WEIR_CANCELED, &ended);
        calls_end_locked(&client->sent, WEIR_CANCELED, &ended);
    } else if (client->state == CLIENT_REFUSED) {
        calls_end_locked(&client->waiting, WEIR_REFUSED, &ended);
    }
    int64_t next_ms = now + WEIR__KEEPER_REST_MS;
    bool silent = client->state == CLIENT_READY && silent_locked(client, now);
    next_ms = deadlines_locked(&client->waiting, now, &ended, next_ms);
    next_ms = deadlines_locked(&client->sent, now, &ended, next_ms);
    if (!client->stopping && client->due_ms <= now) {
        if (client->state == CLIENT_DOWN) {
            dial_locked(client);
        } else if (client->state == CLIENT_REFUSED) {
            hello_send_locked(client);
        } else if (client->state == CLIENT_HELLO) {
            weir_log(client->log, WEIR_LOG_WARN, "rpc_hello_unanswered", "server", client->address, NULL);
            weir__rpc_conn_close(client->conn, NULL);
            client->due_ms = INT64_MAX;
        }
    }
    if (silent) {
        weir_log(client->log, WEIR_LOG_INFO, "rpc_silent", "server", client->address, NULL);
        weir__rpc_conn_close(client->conn, NULL);
    }
    tell_ended_locked(client, &ended);
    bool timed = client->state == CLIENT_DOWN || client->state == CLIENT_HELLO || client->state == CLIENT_REFUSED;
    if (!client->stopping && timed && client->due_ms < next_ms) {
        next_ms = client->due_ms;
    }
    client->wake_ms = next_ms;
    return next_ms - now_ms();
}

/* --- the public face ------------------------------------------------------------------------------------------------- */

enum weir_rc weir_rpc_client_create(const struct weir_rpc_client_options *options,
                                    const struct weir_rpc_client_callbacks *callbacks, void *ctx,
                                    struct weir_rpc_client **out_client, struct weir_error *err)
{
    weir_assert(options->calls_max <= WEIR_RPC_CALLS_MAX);
    char *host = NULL;
    uint16_t port = 0;
    enum weir_rc rc = weir__rpc_address_parse(options->address, &host, &port, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct weir_rpc_client *client = weir_calloc(1, sizeof(*client));
    client->address = weir_strdup(options->address);
    client->host_port = weir_strfmt("%s:%u", host, port);
    weir_free(host);
    client->cluster_id = weir_strdup(options->cluster_id);
    client->role = weir_strdup(options->role);
    client->name = weir_strdup(options->name);
    client->server_role = options->server_role == NULL ? NULL : weir_strdup(options->server_role);
    client->protocol_version = options->protocol_version;
    client->calls_max = options->calls_max == 0 ? WEIR_RPC_CALLS_DEFAULT : options->calls_max;
    client->calls = weir_calloc(client->calls_max, sizeof(struct call *));
    client->log = options->log;
    client->tls = options->tls;
    client->callbacks = *callbacks;
    client->ctx = ctx;
    client->redial_ms = REDIAL_MS_MIN;
    weir_list_init(&client->free);
    weir_list_init(&client->waiting);
    weir_list_init(&client->sent);
    weir_mutex_init(&client->mutex);
    weir_cond_init(&client->quiet);
    weir__keeper_init(&client->keeper, &client->mutex, keep_locked, client); /* dials: due_ms is long past */
    *out_client = client;
    return WEIR_OK;
}

enum weir_rc weir_rpc_call(struct weir_rpc_client *client, uint16_t method, struct weir_slice body, uint32_t deadline_ms,
                           weir_rpc_done_fn *done, void *ctx, struct weir_error *err)
{
    weir_assert(method != WEIR_RPC_METHOD_HELLO);
    weir_assert(deadline_ms > 0);
    weir_assert(deadline_ms <= WEIR_RPC_DEADLINE_MS_MAX);
    if (body.len > WEIR_RPC_FRAME_BYTES_MAX) {
        return weir_error_set(err, WEIR_LIMIT, "a control message of %zu bytes to %s; at most %d are possible", body.len,
                              client->address, WEIR_RPC_FRAME_BYTES_MAX);
    }
    weir_mutex_lock(&client->mutex);
    struct call *call = client->stopping ? NULL : call_take_locked(client);
    if (call == NULL) {
        bool stopping = client->stopping;
        weir_mutex_unlock(&client->mutex);
        return stopping ? weir_error_set(err, WEIR_CANCELED, "the connection to %s is being closed", client->address)
                        : weir_error_set(err, WEIR_AGAIN, "%u calls to %s are outstanding already", client->calls_max,
                                         client->address);
    }
    weir_list_push_back(&client->waiting, &call->node);
    call->sent = false;
    call->method = method;
    call->deadline_ms = now_ms() + deadline_ms;
    call->done = done;
    call->ctx = ctx;
    weir_buf_put_slice(&call->body, body);
    if (client->state == CLIENT_READY) {
        call_send_locked(client, call);
    }
    if (client->state == CLIENT_REFUSED || call->deadline_ms < client->wake_ms) {
        weir__keeper_kick_locked(&client->keeper);
    }
    weir_mutex_unlock(&client->mutex);
    return WEIR_OK;
}

bool weir_rpc_client_is_connected(struct weir_rpc_client *client)
{
    weir_mutex_lock(&client->mutex);
    bool ready = client->state == CLIENT_READY;
    weir_mutex_unlock(&client->mutex);
    return ready;
}

void weir_rpc_client_stop(struct weir_rpc_client *client)
{
    weir_mutex_lock(&client->mutex);
    client->stopping = true;
    weir__keeper_kick_locked(&client->keeper);
    weir_mutex_unlock(&client->mutex);
}

void weir_rpc_client_destroy(struct weir_rpc_client *client)
{
    if (client == NULL) {
        return;
    }
    weir_rpc_client_stop(client);
    weir_mutex_lock(&client->mutex);
    while (client->used_count > 0) {
        weir_cond_wait(&client->quiet, &client->mutex);
    }
    weir_mutex_unlock(&client->mutex);
    weir__keeper_fini(&client->keeper); /* nobody dials any more */
    weir_stream_dial_destroy(client->dial);
    weir_mutex_lock(&client->mutex);
    if (client->conn != NULL) {
        weir__rpc_conn_close(client->conn, NULL);
    }
    while (client->conn != NULL || client->telling) {
        weir_cond_wait(&client->quiet, &client->mutex);
    }
    weir_mutex_unlock(&client->mutex);
    if (client->closed != NULL) {
        weir__rpc_conn_destroy(client->closed); /* waits for its callbacks' return */
    }
    for (uint32_t i = 0; i < client->calls_count; i++) {
        weir_free(client->calls[i]);
    }
    weir_free(client->calls);
    weir_cond_fini(&client->quiet);
    weir_mutex_fini(&client->mutex);
    weir_free(client->address);
    weir_free(client->host_port);
    weir_free(client->cluster_id);
    weir_free(client->role);
    weir_free(client->name);
    weir_free(client->server_role);
    weir_free(client);
}
