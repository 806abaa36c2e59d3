/*
 * The asking side: one dialer, so at most one connection (pipe) at a time. A call is a slot (an nng context and its aio)
 * that steps in its aio's callback only; everybody else may abort the aio to make it step early.
 *
 *   FREE -call-> WAITING (a sleep, until the hello is answered or the deadline) -> SENDING -> RECEIVING -> DONE -> FREE
 *          `---------------- (connected) ----------------------------------------^
 *
 * I1. Submits and aborts happen under the mutex, submits only while not stopping; user callbacks run without it.
 * I2. A request is submitted only after the present connection's hello was answered. Should the connection be replaced
 *     between, the server refuses it unexecuted (NO_HELLO), which is CLOSED to the caller.
 * I3. on_connected and on_disconnected alternate: events are numbered, and one thread at a time tells them in order.
 */
#include "common/net/rpc.h"

#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/net/rpc_frame.h"
#include "common/runtime/sync.h"

#include <nng/protocol/reqrep0/req.h>
#include <stdio.h>

enum { RECONNECT_MS_MIN = 10, RECONNECT_MS_MAX = 200, HELLO_DEADLINE_MS = 5000, HELLO_AGAIN_MS = 1000 };

enum slot_state { SLOT_FREE, SLOT_WAITING, SLOT_SENDING, SLOT_RECEIVING, SLOT_DONE };

struct slot {
    struct weir_list node; /* in `free` or `used` */
    struct weir_rpc_client *client;
    nng_ctx nng_ctx;
    nng_aio *aio;
    nng_aio *sleep_aio; /* of its own: in nng 1.5.2 an aio whose sleep was aborted reports later timeouts as success */
    enum slot_state state;
    nng_msg *msg; /* WAITING: the request */
    int64_t deadline_ms;
    weir_rpc_done_fn *done;
    void *ctx;
};

/* What a call ends with. */
struct outcome {
    enum weir_rc rc;
    nng_msg *msg; /* keeps body alive; may be NULL */
    struct weir_slice body;
    char text[WEIR_ERROR_TEXT_MAX];
};

enum hello_state { HELLO_IDLE, HELLO_SENDING, HELLO_RECEIVING, HELLO_PAUSING };

struct weir_rpc_client {
    nng_socket socket;
    char *address;
    char *cluster_id;
    char *role;
    char *name;
    char *server_role;
    uint16_t protocol_version;
    uint32_t calls_max;
    const struct weir_log *log;
    struct weir_rpc_client_callbacks callbacks;
    void *ctx;
    nng_ctx hello_ctx;
    nng_aio *hello_aio;
    nng_aio *hello_sleep_aio;

    struct weir_mutex mutex; /* guards what follows, and the slots */
    struct weir_cond quiet; /* `used` is empty, the hello idle, or telling done */
    struct weir_list free;
    struct weir_list used;
    uint32_t used_count;
    enum hello_state hello_state;
    nng_pipe pipe; /* the present connection; id 0: none */
    bool ready;    /* its hello was accepted */
    bool stopping;
    bool telling;
    uint64_t events_posted; /* even numbers: connected; odd: disconnected */
    uint64_t events_told;
    char refused[WEIR_ERROR_TEXT_MAX]; /* why the present connection's hello was refused; "" when it was not */
};

static int64_t now_ms(void)
{
    return weir_clock_mono_ms(weir_clock_real()); /* the deadlines are nng's timers, which are real time too */
}

static nng_duration remaining_ms(const struct slot *slot)
{
    int64_t left_ms = slot->deadline_ms - now_ms();
    return left_ms < 1 ? 1 : (nng_duration)left_ms;
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

static void slot_send_locked(struct slot *slot)
{
    weir_assert(slot->msg != NULL);
    slot->state = SLOT_SENDING;
    nng_aio_set_msg(slot->aio, slot->msg);
    slot->msg = NULL;
    nng_aio_set_timeout(slot->aio, remaining_ms(slot));
    nng_ctx_send(slot->nng_ctx, slot->aio);
}

static void slot_wait_locked(struct slot *slot, nng_duration wait_ms)
{
    slot->state = SLOT_WAITING;
    nng_sleep_aio(wait_ms, slot->sleep_aio);
}

static void outcome_set(struct outcome *outcome, enum weir_rc rc, const char *text)
{
    outcome->rc = rc;
    (void)snprintf(outcome->text, sizeof(outcome->text), "%s", text);
}

static void outcome_fail(const struct weir_rpc_client *client, struct outcome *outcome, enum weir_rc rc)
{
    const char *what = rc == WEIR_TIMEOUT   ? "no answer before the deadline"
                       : rc == WEIR_CLOSED  ? "the connection was closed before the answer came"
                       : rc == WEIR_CANCELED ? "canceled: the client is stopping"
                                             : weir_rc_text(rc);
    outcome->rc = rc;
    (void)snprintf(outcome->text, sizeof(outcome->text), "%s: %s", client->address, what);
}

/* The three steps return true when the call is over, with `outcome` filled. */
static bool step_waiting_locked(struct slot *slot, struct outcome *outcome)
{
    struct weir_rpc_client *client = slot->client;
    if (client->stopping) {
        outcome_fail(client, outcome, WEIR_CANCELED);
    } else if (client->ready) {
        slot_send_locked(slot);
        return false;
    } else if (client->refused[0] != '\0') {
        outcome_set(outcome, WEIR_REFUSED, client->refused);
    } else if (now_ms() < slot->deadline_ms) {
        slot_wait_locked(slot, remaining_ms(slot));
        return false;
    } else {
        outcome->rc = WEIR_TIMEOUT;
        (void)snprintf(outcome->text, sizeof(outcome->text), "%s: no connection before the deadline", client->address);
    }
    nng_msg_free(slot->msg);
    slot->msg = NULL;
    return true;
}

static bool step_sending_locked(struct slot *slot, int nng_error, nng_msg *msg, struct outcome *outcome)
{
    if (nng_error != 0) {
        if (msg != NULL) {
            nng_msg_free(msg);
        }
        outcome_fail(slot->client, outcome, weir__rpc_rc_of_nng(nng_error));
        return true;
    }
    if (slot->client->stopping) {
        outcome_fail(slot->client, outcome, WEIR_CANCELED);
        return true;
    }
    slot->state = SLOT_RECEIVING;
    nng_aio_set_timeout(slot->aio, remaining_ms(slot));
    nng_ctx_recv(slot->nng_ctx, slot->aio);
    return false;
}

static void step_received(const struct slot *slot, int nng_error, nng_msg *msg, struct outcome *outcome)
{
    const struct weir_rpc_client *client = slot->client;
    if (nng_error != 0) {
        outcome_fail(client, outcome, weir__rpc_rc_of_nng(nng_error));
        return;
    }
    struct weir__rpc_frame frame;
    const char *why = NULL;
    outcome->msg = msg;
    if (!weir__rpc_frame_decode(weir_slice(nng_msg_body(msg), nng_msg_len(msg)), &frame, &why)) {
        weir_log(client->log, WEIR_LOG_WARN, "rpc_frame_malformed", "reason", why, "server", client->address, NULL);
        (void)nng_pipe_close(nng_msg_get_pipe(msg));
        outcome->rc = WEIR_CORRUPT;
        (void)snprintf(outcome->text, sizeof(outcome->text), "%s: the answer is damaged: %s", client->address, why);
    } else if ((frame.flags & WEIR__RPC_FLAG_NO_HELLO) != 0) {
        outcome_fail(client, outcome, WEIR_CLOSED);
    } else if (frame.rc != WEIR_OK) {
        outcome->rc = frame.rc;
        (void)snprintf(outcome->text, sizeof(outcome->text), "%.*s",
                       (int)(frame.body.len < WEIR_ERROR_TEXT_MAX ? frame.body.len : WEIR_ERROR_TEXT_MAX - 1),
                       (const char *)frame.body.data);
    } else {
        outcome->body = frame.body;
    }
}

static void slot_on_done(void *arg)
{
    struct slot *slot = arg;
    struct weir_rpc_client *client = slot->client;
    struct outcome outcome = {.rc = WEIR_OK};
    int nng_error = nng_aio_result(slot->aio);
    nng_msg *msg = nng_aio_get_msg(slot->aio);
    nng_aio_set_msg(slot->aio, NULL);
    weir_mutex_lock(&client->mutex);
    bool over = true;
    switch (slot->state) {
    case SLOT_WAITING:
        over = step_waiting_locked(slot, &outcome);
        break;
    case SLOT_SENDING:
        over = step_sending_locked(slot, nng_error, msg, &outcome);
        break;
    case SLOT_RECEIVING:
        step_received(slot, nng_error, nng_error == 0 ? msg : NULL, &outcome);
        break;
    case SLOT_DONE:
    case SLOT_FREE:
        weir_assert(!"an operation ended that nobody started");
        break;
    }
    if (over) {
        slot->state = SLOT_DONE;
    }
    weir_mutex_unlock(&client->mutex);
    if (!over) {
        return;
    }
    slot->done(slot->ctx, outcome.rc, outcome.body, outcome.text);
    if (outcome.msg != NULL) {
        nng_msg_free(outcome.msg);
    }
    weir_mutex_lock(&client->mutex);
    slot->state = SLOT_FREE;
    weir_list_remove(&slot->node);
    weir_list_push_front(&client->free, &slot->node);
    client->used_count--;
    if (client->used_count == 0) {
        weir_cond_broadcast(&client->quiet);
    }
    weir_mutex_unlock(&client->mutex);
}

static void slots_abort_locked(struct weir_rpc_client *client, enum slot_state state, int nng_error)
{
    for (struct weir_list *node = weir_list_first(&client->used); node != NULL; node = weir_list_next(&client->used, node)) {
        struct slot *slot = WEIR_CONTAINER_OF(node, struct slot, node);
        if (slot->state == state) {
            nng_aio_abort(state == SLOT_WAITING ? slot->sleep_aio : slot->aio, nng_error);
        }
    }
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
    client->hello_state = HELLO_SENDING;
    nng_aio_set_msg(client->hello_aio, weir__rpc_frame_encode(&frame));
    nng_aio_set_timeout(client->hello_aio, HELLO_DEADLINE_MS);
    nng_ctx_send(client->hello_ctx, client->hello_aio);
    weir_buf_fini(&body);
}

/* Says hello on the present connection when that is due and the aio is free. */
static void hello_kick_locked(struct weir_rpc_client *client)
{
    if (client->stopping || client->pipe.id == 0 || client->ready) {
        return;
    }
    if (client->hello_state == HELLO_IDLE) {
        hello_send_locked(client);
    } else if (client->hello_state == HELLO_PAUSING && client->refused[0] == '\0') {
        nng_aio_abort(client->hello_sleep_aio, NNG_ECANCELED);
    }
}

static void connection_lost_locked(struct weir_rpc_client *client)
{
    client->pipe.id = 0;
    client->refused[0] = '\0';
    if (client->ready) {
        client->ready = false;
        client->events_posted++;
        weir_log(client->log, WEIR_LOG_INFO, "rpc_disconnected", "server", client->address, NULL);
    }
    slots_abort_locked(client, SLOT_SENDING, NNG_ECONNRESET); /* those receiving are told so by nng */
}

static void on_pipe_add(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    (void)event;
    struct weir_rpc_client *client = arg;
    weir_mutex_lock(&client->mutex);
    if (client->pipe.id != 0) { /* its REM_POST is late */
        connection_lost_locked(client);
    }
    client->pipe = pipe;
    hello_kick_locked(client);
    tell_events_locked(client);
    weir_mutex_unlock(&client->mutex);
}

static void on_pipe_remove(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    (void)event;
    struct weir_rpc_client *client = arg;
    weir_mutex_lock(&client->mutex);
    if (client->pipe.id == pipe.id) {
        connection_lost_locked(client);
        tell_events_locked(client);
    }
    weir_mutex_unlock(&client->mutex);
}

static void hello_refused_locked(struct weir_rpc_client *client, const char *text)
{
    (void)snprintf(client->refused, sizeof(client->refused), "%s", text);
    weir_log(client->log, WEIR_LOG_WARN, "rpc_hello_refused", "server", client->address, "reason", text, NULL);
    client->hello_state = HELLO_PAUSING;
    nng_sleep_aio(HELLO_AGAIN_MS, client->hello_sleep_aio);
    slots_abort_locked(client, SLOT_WAITING, NNG_ECANCELED);
}

/* An answer to the hello has come on the present connection. Returns whether the connection is to be closed. */
static bool hello_answered_locked(struct weir_rpc_client *client, struct weir_slice message)
{
    struct weir__rpc_frame frame;
    struct weir__rpc_hello hello;
    const char *why = NULL;
    char text[WEIR_ERROR_TEXT_MAX];
    if (!weir__rpc_frame_decode(message, &frame, &why) ||
        (frame.rc == WEIR_OK && !weir__rpc_hello_decode(frame.body, &hello))) {
        weir_log(client->log, WEIR_LOG_WARN, "rpc_hello_malformed", "server", client->address, NULL);
        return true;
    }
    if (frame.rc != WEIR_OK) {
        (void)snprintf(text, sizeof(text), "%s: %.*s", client->address,
                       (int)(frame.body.len < sizeof(text) ? frame.body.len : sizeof(text) - 1), (const char *)frame.body.data);
        hello_refused_locked(client, text);
    } else if (client->server_role != NULL && !weir_slice_eq_str(hello.role, client->server_role)) {
        (void)snprintf(text, sizeof(text), "%s: expected a \"%s\" there, but \"%.*s\" is a \"%.*s\"", client->address,
                       client->server_role, WEIR_SLICE_ARG(hello.name), WEIR_SLICE_ARG(hello.role));
        hello_refused_locked(client, text);
    } else {
        client->ready = true;
        client->refused[0] = '\0';
        client->events_posted++;
        weir_log(client->log, WEIR_LOG_INFO, "rpc_connected", "server", client->address, NULL);
        slots_abort_locked(client, SLOT_WAITING, NNG_EAGAIN);
    }
    return false;
}

static void hello_step_locked(struct weir_rpc_client *client, int nng_error, nng_msg *msg, nng_pipe *out_close)
{
    enum hello_state state = client->hello_state;
    if (state == HELLO_SENDING && nng_error == 0 && !client->stopping) {
        client->hello_state = HELLO_RECEIVING;
        nng_aio_set_timeout(client->hello_aio, HELLO_DEADLINE_MS);
        nng_ctx_recv(client->hello_ctx, client->hello_aio);
        return;
    }
    client->hello_state = HELLO_IDLE;
    if (client->stopping) {
        weir_cond_broadcast(&client->quiet);
        return;
    }
    if (state == HELLO_RECEIVING && nng_error == 0 && nng_msg_get_pipe(msg).id == client->pipe.id) {
        if (hello_answered_locked(client, weir_slice(nng_msg_body(msg), nng_msg_len(msg)))) {
            *out_close = client->pipe;
        }
    } else if (state == HELLO_RECEIVING && nng_error == NNG_ETIMEDOUT) {
        weir_log(client->log, WEIR_LOG_WARN, "rpc_hello_unanswered", "server", client->address, NULL);
        *out_close = client->pipe;
    }
    if (out_close->id == 0) {
        hello_kick_locked(client);
    }
}

static void hello_on_done(void *arg)
{
    struct weir_rpc_client *client = arg;
    int nng_error = nng_aio_result(client->hello_aio);
    nng_msg *msg = nng_aio_get_msg(client->hello_aio);
    nng_aio_set_msg(client->hello_aio, NULL);
    nng_pipe to_close = NNG_PIPE_INITIALIZER;
    weir_mutex_lock(&client->mutex);
    bool ours = (client->hello_state == HELLO_SENDING && nng_error != 0) ||
                (client->hello_state == HELLO_RECEIVING && nng_error == 0);
    hello_step_locked(client, nng_error, msg, &to_close);
    tell_events_locked(client);
    weir_mutex_unlock(&client->mutex);
    if (ours && msg != NULL) {
        nng_msg_free(msg);
    }
    if (to_close.id != 0) {
        (void)nng_pipe_close(to_close); /* nng dials again */
    }
}

/* --- the public face ------------------------------------------------------------------------------------------------- */

static int socket_open(struct weir_rpc_client *client)
{
    int rv = nng_req0_open(&client->socket);
    if (rv == 0) {
        rv = nng_socket_set_ms(client->socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    }
    if (rv == 0) {
        rv = nng_socket_set_size(client->socket, NNG_OPT_RECVMAXSZ,
                                 WEIR_RPC_FRAME_BYTES_MAX + WEIR__RPC_HEADER_BYTES + WEIR__RPC_NNG_BYTES);
    }
    if (rv == 0) {
        rv = nng_socket_set_ms(client->socket, NNG_OPT_RECONNMINT, RECONNECT_MS_MIN);
    }
    if (rv == 0) {
        rv = nng_socket_set_ms(client->socket, NNG_OPT_RECONNMAXT, RECONNECT_MS_MAX);
    }
    if (rv == 0) {
        rv = nng_pipe_notify(client->socket, NNG_PIPE_EV_ADD_POST, on_pipe_add, client);
    }
    if (rv == 0) {
        rv = nng_pipe_notify(client->socket, NNG_PIPE_EV_REM_POST, on_pipe_remove, client);
    }
    if (rv == 0) {
        rv = nng_ctx_open(&client->hello_ctx, client->socket);
    }
    if (rv == 0) {
        rv = nng_aio_alloc(&client->hello_aio, hello_on_done, client);
    }
    if (rv == 0) {
        rv = nng_aio_alloc(&client->hello_sleep_aio, hello_on_done, client);
    }
    nng_dialer dialer;
    if (rv == 0) {
        rv = nng_dialer_create(&dialer, client->socket, client->address);
    }
    if (rv == 0) {
        (void)nng_dialer_set_bool(dialer, NNG_OPT_TCP_KEEPALIVE, true);
        rv = nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
    }
    return rv;
}

enum weir_rc weir_rpc_client_create(const struct weir_rpc_client_options *options,
                                    const struct weir_rpc_client_callbacks *callbacks, void *ctx,
                                    struct weir_rpc_client **out_client, struct weir_error *err)
{
    weir_assert(options->calls_max <= WEIR_RPC_CALLS_MAX);
    struct weir_rpc_client *client = weir_calloc(1, sizeof(*client));
    client->address = weir_strdup(options->address);
    client->cluster_id = weir_strdup(options->cluster_id);
    client->role = weir_strdup(options->role);
    client->name = weir_strdup(options->name);
    client->server_role = options->server_role == NULL ? NULL : weir_strdup(options->server_role);
    client->protocol_version = options->protocol_version;
    client->calls_max = options->calls_max == 0 ? WEIR_RPC_CALLS_DEFAULT : options->calls_max;
    client->log = options->log;
    client->callbacks = *callbacks;
    client->ctx = ctx;
    weir_list_init(&client->free);
    weir_list_init(&client->used);
    weir_mutex_init(&client->mutex);
    weir_cond_init(&client->quiet);
    int rv = socket_open(client);
    if (rv != 0) {
        enum weir_rc rc = weir_error_set(err, weir__rpc_rc_of_nng(rv), "cannot connect to %s: %s", options->address,
                                         nng_strerror(rv));
        weir_rpc_client_destroy(client);
        return rc;
    }
    *out_client = client;
    return WEIR_OK;
}

/* A slot with its nng objects, from the free list or new; NULL when the bound is reached or nng has no memory. */
static struct slot *slot_take_locked(struct weir_rpc_client *client)
{
    struct weir_list *node = weir_list_pop_front(&client->free);
    struct slot *slot = node == NULL ? NULL : WEIR_CONTAINER_OF(node, struct slot, node);
    if (slot == NULL) {
        if (client->used_count >= client->calls_max) {
            return NULL;
        }
        slot = weir_calloc(1, sizeof(*slot));
        slot->client = client;
        if (nng_ctx_open(&slot->nng_ctx, client->socket) != 0) {
            weir_free(slot);
            return NULL;
        }
        int nng_error = nng_aio_alloc(&slot->aio, slot_on_done, slot);
        weir_assert(nng_error == 0); /* only NOMEM is possible */
        nng_error = nng_aio_alloc(&slot->sleep_aio, slot_on_done, slot);
        weir_assert(nng_error == 0);
    }
    weir_list_push_back(&client->used, &slot->node);
    client->used_count++;
    return slot;
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
    struct weir__rpc_frame frame = {.method = method, .body = body};
    nng_msg *msg = weir__rpc_frame_encode(&frame);
    weir_mutex_lock(&client->mutex);
    struct slot *slot = client->stopping ? NULL : slot_take_locked(client);
    if (slot == NULL) {
        bool stopping = client->stopping;
        weir_mutex_unlock(&client->mutex);
        nng_msg_free(msg);
        return stopping ? weir_error_set(err, WEIR_CANCELED, "the connection to %s is being closed", client->address)
                        : weir_error_set(err, WEIR_AGAIN, "%u calls to %s are outstanding already", client->calls_max,
                                         client->address);
    }
    slot->msg = msg;
    slot->deadline_ms = now_ms() + deadline_ms;
    slot->done = done;
    slot->ctx = ctx;
    if (client->ready) {
        slot_send_locked(slot);
    } else {
        slot_wait_locked(slot, client->refused[0] != '\0' ? 0 : remaining_ms(slot));
    }
    weir_mutex_unlock(&client->mutex);
    return WEIR_OK;
}

bool weir_rpc_client_is_connected(struct weir_rpc_client *client)
{
    weir_mutex_lock(&client->mutex);
    bool ready = client->ready;
    weir_mutex_unlock(&client->mutex);
    return ready;
}

void weir_rpc_client_stop(struct weir_rpc_client *client)
{
    weir_mutex_lock(&client->mutex);
    if (!client->stopping) {
        client->stopping = true;
        slots_abort_locked(client, SLOT_WAITING, NNG_ECANCELED);
        slots_abort_locked(client, SLOT_SENDING, NNG_ECANCELED);
        slots_abort_locked(client, SLOT_RECEIVING, NNG_ECANCELED);
        if (client->hello_state != HELLO_IDLE) {
            nng_aio_abort(client->hello_state == HELLO_PAUSING ? client->hello_sleep_aio : client->hello_aio, NNG_ECANCELED);
        }
    }
    weir_mutex_unlock(&client->mutex);
}

void weir_rpc_client_destroy(struct weir_rpc_client *client)
{
    if (client == NULL) {
        return;
    }
    weir_rpc_client_stop(client);
    weir_mutex_lock(&client->mutex);
    while (client->used_count > 0 || client->hello_state != HELLO_IDLE) {
        weir_cond_wait(&client->quiet, &client->mutex);
    }
    weir_mutex_unlock(&client->mutex);
    if (client->socket.id != 0) {
        (void)nng_close(client->socket); /* closes the contexts; waits for REM_POST */
    }
    if (client->hello_aio != NULL) {
        nng_aio_free(client->hello_aio);
    }
    if (client->hello_sleep_aio != NULL) {
        nng_aio_free(client->hello_sleep_aio);
    }
    for (struct weir_list *node = weir_list_pop_front(&client->free); node != NULL;
         node = weir_list_pop_front(&client->free)) {
        struct slot *slot = WEIR_CONTAINER_OF(node, struct slot, node);
        nng_aio_free(slot->sleep_aio);
        nng_aio_free(slot->aio); /* waits for its callback's end */
        weir_free(slot);
    }
    weir_mutex_lock(&client->mutex);
    while (client->telling) {
        weir_cond_wait(&client->quiet, &client->mutex);
    }
    weir_mutex_unlock(&client->mutex);
    weir_cond_fini(&client->quiet);
    weir_mutex_fini(&client->mutex);
    weir_free(client->address);
    weir_free(client->cluster_id);
    weir_free(client->role);
    weir_free(client->name);
    weir_free(client->server_role);
    weir_free(client);
}
