/*
 * The answering side. Each slot (an nng context and its aio) goes round: receive, hand the request out, send the answer.
 *
 * I1. A slot's aio has one operation in flight; submits happen under the mutex and only while not stopping.
 * I2. A request holds a reference to the server's memory and to its peer, never to an nng object: destroy needs no
 *     cooperation of those who still hold requests.
 * I3. on_peer_closed comes after the peer's last on_request: a peer counts the callbacks that run for it (busy).
 */
#include "common/net/rpc.h"

#include "common/base/assert.h"
#include "common/base/hmap.h"
#include "common/base/mem.h"
#include "common/net/rpc_frame.h"
#include "common/runtime/sync.h"

#include <nng/protocol/reqrep0/rep.h>

struct peer {
    nng_pipe pipe;
    uint64_t id;
    char *role; /* role and name: set once, by the hello, before `hello` */
    char *name;
    uint32_t refs; /* the table's, one per callback in flight, one per request */
    uint32_t busy; /* callbacks in flight */
    bool hello;
    bool closed;
};

enum slot_state { SLOT_IDLE, SLOT_RECEIVING, SLOT_HANDLING, SLOT_HELD, SLOT_REPLYING };

struct slot {
    struct weir_rpc_server *server;
    nng_ctx nng_ctx;
    nng_aio *aio;
    enum slot_state state;
};

struct weir_rpc_server {
    nng_socket socket;
    uint16_t port;
    char *cluster_id;
    char *role;
    char *name;
    uint16_t protocol_version;
    uint32_t connections_max;
    const struct weir_log *log;
    struct weir_rpc_server_callbacks callbacks;
    void *ctx;
    struct slot *slots;
    uint32_t slots_count;

    struct weir_mutex mutex; /* guards what follows, slot states and peers */
    struct weir_cond idle; /* `active` has become 0 */
    struct weir_hmap *peers; /* by pipe id */
    struct weir_rpc_server_stats stats;
    uint64_t peer_id_last;
    uint32_t active; /* slots receiving, handling or replying */
    uint32_t refs;   /* the owner's, one per request */
    bool stopping;
};

struct weir_rpc_request {
    struct weir_rpc_server *server;
    struct slot *slot; /* dangling once the server stops */
    struct peer *peer;
    nng_msg *msg;
    struct weir__rpc_frame frame;
};

static struct weir_slice pipe_key(const nng_pipe *pipe)
{
    return weir_slice(&pipe->id, sizeof(pipe->id));
}

static void peer_unref_locked(struct peer *peer)
{
    weir_assert(peer->refs > 0);
    peer->refs--;
    if (peer->refs == 0) {
        weir_free(peer->role);
        weir_free(peer->name);
        weir_free(peer);
    }
}

static void server_unref_unlock(struct weir_rpc_server *server)
{
    weir_assert(server->refs > 0);
    server->refs--;
    bool last = server->refs == 0;
    weir_mutex_unlock(&server->mutex);
    if (last) {
        weir_hmap_destroy(server->peers);
        weir_cond_fini(&server->idle);
        weir_mutex_fini(&server->mutex);
        weir_free(server->slots);
        weir_free(server->cluster_id);
        weir_free(server->role);
        weir_free(server->name);
        weir_free(server);
    }
}

/* The peer's callbacks have all returned and its connection is gone: tell, unless stopping. Takes the lock and gives it up. */
static void peer_leave_unlock(struct weir_rpc_server *server, struct peer *peer)
{
    bool tell = peer->closed && peer->hello && peer->busy == 0 && !server->stopping;
    uint64_t id = peer->id;
    peer_unref_locked(peer);
    weir_mutex_unlock(&server->mutex);
    if (tell && server->callbacks.on_peer_closed != NULL) {
        server->callbacks.on_peer_closed(server->ctx, id);
    }
}

static void on_pipe_add(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    (void)event;
    struct weir_rpc_server *server = arg;
    weir_mutex_lock(&server->mutex);
    bool reject = server->stopping || server->stats.connections >= server->connections_max;
    if (reject) {
        server->stats.rejected++;
    } else {
        struct peer *peer = weir_calloc(1, sizeof(*peer));
        peer->pipe = pipe;
        peer->id = ++server->peer_id_last;
        peer->refs = 1;
        struct peer *old = weir_hmap_put(server->peers, pipe_key(&pipe), peer);
        weir_assert(old == NULL); /* nng reuses an id only after REM_POST */
        server->stats.connections++;
    }
    weir_mutex_unlock(&server->mutex);
    if (reject) {
        weir_log(server->log, WEIR_LOG_WARN, "rpc_connection_rejected", "limit", WEIR_LOG_INT(server->connections_max), NULL);
        (void)nng_pipe_close(pipe);
    }
}

static void on_pipe_remove(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    (void)event;
    struct weir_rpc_server *server = arg;
    weir_mutex_lock(&server->mutex);
    struct peer *peer = weir_hmap_remove(server->peers, pipe_key(&pipe));
    if (peer == NULL) { /* was rejected */
        weir_mutex_unlock(&server->mutex);
        return;
    }
    server->stats.connections--;
    peer->closed = true;
    peer_leave_unlock(server, peer);
}

static void slot_idle_locked(struct slot *slot, enum slot_state state)
{
    struct weir_rpc_server *server = slot->server;
    slot->state = state;
    weir_assert(server->active > 0);
    server->active--;
    if (server->active == 0) {
        weir_cond_broadcast(&server->idle);
    }
}

static void slot_receive(struct slot *slot)
{
    struct weir_rpc_server *server = slot->server;
    weir_mutex_lock(&server->mutex);
    if (server->stopping) {
        slot_idle_locked(slot, SLOT_IDLE);
    } else {
        slot->state = SLOT_RECEIVING;
        nng_ctx_recv(slot->nng_ctx, slot->aio);
    }
    weir_mutex_unlock(&server->mutex);
}

static void slot_send_locked(struct slot *slot, const struct weir__rpc_frame *frame)
{
    slot->state = SLOT_REPLYING;
    nng_aio_set_msg(slot->aio, weir__rpc_frame_encode(frame));
    nng_ctx_send(slot->nng_ctx, slot->aio);
}

static void slot_send(struct slot *slot, const struct weir__rpc_frame *frame)
{
    struct weir_rpc_server *server = slot->server;
    weir_mutex_lock(&server->mutex);
    if (server->stopping) {
        slot_idle_locked(slot, SLOT_IDLE);
    } else {
        slot_send_locked(slot, frame);
    }
    weir_mutex_unlock(&server->mutex);
}

static void slot_refuse(struct slot *slot, const struct weir__rpc_frame *asked, uint16_t flags, const char *text)
{
    struct weir_rpc_server *server = slot->server;
    weir_mutex_lock(&server->mutex);
    server->stats.refused++;
    weir_mutex_unlock(&server->mutex);
    struct weir__rpc_frame answer = {.method = asked->method,
                                     .rc = WEIR_REFUSED,
                                     .flags = (uint16_t)(WEIR__RPC_FLAG_REPLY | flags),
                                     .body = weir_slice_str(text)};
    slot_send(slot, &answer);
}

/* Whether the hello is one of ours; err says why not, with both values. */
static enum weir_rc hello_check(const struct weir_rpc_server *server, const struct weir__rpc_hello *hello,
                                struct weir_error *err)
{
    if (!weir_slice_eq_str(hello->cluster_id, server->cluster_id)) {
        return weir_error_set(err, WEIR_REFUSED, "%.*s \"%.*s\" is of cluster \"%.*s\", but %s \"%s\" is of cluster \"%s\": "
                              "check cluster.id and the address on both sides", WEIR_SLICE_ARG(hello->role),
                              WEIR_SLICE_ARG(hello->name), WEIR_SLICE_ARG(hello->cluster_id), server->role, server->name,
                              server->cluster_id);
    }
    if (hello->protocol_version != server->protocol_version) {
        return weir_error_set(err, WEIR_REFUSED, "%.*s \"%.*s\" speaks protocol version %u, but %s \"%s\" speaks %u: run the "
                              "same release of Weir on both", WEIR_SLICE_ARG(hello->role), WEIR_SLICE_ARG(hello->name),
                              hello->protocol_version, server->role, server->name, server->protocol_version);
    }
    return WEIR_OK;
}

static void slot_hello(struct slot *slot, struct peer *peer, const struct weir__rpc_frame *asked,
                       const struct weir__rpc_hello *hello)
{
    struct weir_rpc_server *server = slot->server;
    struct weir_error err;
    if (hello_check(server, hello, &err) != WEIR_OK) {
        weir_log(server->log, WEIR_LOG_WARN, "rpc_hello_refused", "reason", err.text, NULL);
        slot_refuse(slot, asked, 0, err.text);
        return;
    }
    weir_mutex_lock(&server->mutex);
    if (!peer->hello) {
        peer->role = weir_strndup(hello->role.data, hello->role.len);
        peer->name = weir_strndup(hello->name.data, hello->name.len);
        peer->hello = true;
    }
    weir_mutex_unlock(&server->mutex);
    struct weir_buf body = {0};
    struct weir__rpc_hello own = {.protocol_version = server->protocol_version,
                                  .cluster_id = weir_slice_str(server->cluster_id),
                                  .role = weir_slice_str(server->role),
                                  .name = weir_slice_str(server->name)};
    weir__rpc_hello_encode(&own, &body);
    struct weir__rpc_frame answer = {.method = WEIR_RPC_METHOD_HELLO,
                                     .flags = WEIR__RPC_FLAG_REPLY,
                                     .body = weir_buf_slice(&body)};
    slot_send(slot, &answer);
    weir_buf_fini(&body);
}

/* Out of the slot and into the hands of the owner; msg moves too. */
static void slot_hand_out(struct slot *slot, struct peer *peer, nng_msg *msg, const struct weir__rpc_frame *frame)
{
    struct weir_rpc_server *server = slot->server;
    struct weir_rpc_request *request = weir_malloc(sizeof(*request));
    *request = (struct weir_rpc_request){.server = server, .slot = slot, .peer = peer, .msg = msg, .frame = *frame};
    weir_mutex_lock(&server->mutex);
    bool drop = server->stopping;
    if (!drop) {
        server->stats.requests++;
        server->refs++;
        peer->refs++;
    }
    slot_idle_locked(slot, drop ? SLOT_IDLE : SLOT_HELD);
    weir_mutex_unlock(&server->mutex);
    if (drop) {
        nng_msg_free(msg);
        weir_free(request);
        return;
    }
    server->callbacks.on_request(server->ctx, request);
}

static void malformed(struct weir_rpc_server *server, const struct peer *peer, const char *why)
{
    weir_mutex_lock(&server->mutex);
    server->stats.malformed++;
    weir_mutex_unlock(&server->mutex);
    weir_log(server->log, WEIR_LOG_WARN, "rpc_frame_malformed", "reason", why, "peer", WEIR_LOG_INT(peer->id), NULL);
    (void)nng_pipe_close(peer->pipe);
}

static void slot_handle(struct slot *slot, struct peer *peer, bool said_hello, nng_msg *msg)
{
    struct weir__rpc_frame frame;
    struct weir__rpc_hello hello;
    const char *why = NULL;
    bool intact = weir__rpc_frame_decode(weir_slice(nng_msg_body(msg), nng_msg_len(msg)), &frame, &why);
    if (intact && (frame.flags & WEIR__RPC_FLAG_REPLY) != 0) {
        intact = false;
        why = "an answer where a request was expected";
    }
    if (intact && frame.method == WEIR_RPC_METHOD_HELLO && !weir__rpc_hello_decode(frame.body, &hello)) {
        intact = false;
        why = "a hello that cannot be read";
    }
    if (!intact) {
        malformed(slot->server, peer, why);
        slot_receive(slot);
    } else if (frame.method == WEIR_RPC_METHOD_HELLO) {
        slot_hello(slot, peer, &frame, &hello);
    } else if (!said_hello) {
        slot_refuse(slot, &frame, WEIR__RPC_FLAG_NO_HELLO, "this connection has not said hello");
    } else {
        slot_hand_out(slot, peer, msg, &frame);
        return;
    }
    nng_msg_free(msg);
}

static void slot_on_done(void *arg)
{
    struct slot *slot = arg;
    struct weir_rpc_server *server = slot->server;
    int nng_error = nng_aio_result(slot->aio);
    nng_msg *msg = nng_aio_get_msg(slot->aio);
    nng_aio_set_msg(slot->aio, NULL);
    weir_mutex_lock(&server->mutex);
    if (slot->state == SLOT_REPLYING || nng_error != 0) {
        bool ours = slot->state == SLOT_REPLYING && nng_error != 0; /* a message not sent comes back */
        weir_mutex_unlock(&server->mutex);
        if (ours && msg != NULL) {
            nng_msg_free(msg);
        }
        slot_receive(slot);
        return;
    }
    weir_assert(slot->state == SLOT_RECEIVING);
    slot->state = SLOT_HANDLING;
    nng_pipe pipe = nng_msg_get_pipe(msg);
    struct peer *peer = weir_hmap_get(server->peers, pipe_key(&pipe));
    if (peer != NULL) {
        peer->refs++;
        peer->busy++;
    }
    bool said_hello = peer != NULL && peer->hello;
    weir_mutex_unlock(&server->mutex);
    if (peer == NULL) { /* its connection has gone meanwhile */
        nng_msg_free(msg);
        slot_receive(slot);
        return;
    }
    slot_handle(slot, peer, said_hello, msg);
    weir_mutex_lock(&server->mutex);
    peer->busy--;
    peer_leave_unlock(server, peer);
}

static int socket_open(struct weir_rpc_server *server, const char *address)
{
    nng_listener listener;
    int port = 0;
    int rv = nng_rep0_open(&server->socket);
    if (rv == 0) {
        rv = nng_socket_set_size(server->socket, NNG_OPT_RECVMAXSZ,
                                 WEIR_RPC_FRAME_BYTES_MAX + WEIR__RPC_HEADER_BYTES + WEIR__RPC_NNG_BYTES);
    }
    if (rv == 0) {
        rv = nng_pipe_notify(server->socket, NNG_PIPE_EV_ADD_PRE, on_pipe_add, server);
    }
    if (rv == 0) {
        rv = nng_pipe_notify(server->socket, NNG_PIPE_EV_REM_POST, on_pipe_remove, server);
    }
    for (uint32_t i = 0; rv == 0 && i < server->slots_count; i++) {
        struct slot *slot = &server->slots[i];
        slot->server = server;
        rv = nng_ctx_open(&slot->nng_ctx, server->socket);
        if (rv == 0) {
            rv = nng_aio_alloc(&slot->aio, slot_on_done, slot);
        }
    }
    if (rv == 0) {
        rv = nng_listener_create(&listener, server->socket, address);
    }
    if (rv == 0) {
        (void)nng_listener_set_bool(listener, NNG_OPT_TCP_KEEPALIVE, true);
        rv = nng_listener_start(listener, 0);
    }
    if (rv == 0) {
        rv = nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port);
        server->port = (uint16_t)port;
    }
    return rv;
}

enum weir_rc weir_rpc_server_create(const struct weir_rpc_server_options *options,
                                    const struct weir_rpc_server_callbacks *callbacks, void *ctx,
                                    struct weir_rpc_server **out_server, struct weir_error *err)
{
    weir_assert(callbacks->on_request != NULL);
    weir_assert(options->contexts <= WEIR_RPC_CONTEXTS_MAX);
    struct weir_rpc_server *server = weir_calloc(1, sizeof(*server));
    server->cluster_id = weir_strdup(options->cluster_id);
    server->role = weir_strdup(options->role);
    server->name = weir_strdup(options->name);
    server->protocol_version = options->protocol_version;
    server->connections_max = options->connections_max == 0 ? WEIR_RPC_CONNECTIONS_DEFAULT : options->connections_max;
    server->log = options->log;
    server->callbacks = *callbacks;
    server->ctx = ctx;
    server->slots_count = options->contexts == 0 ? WEIR_RPC_CONTEXTS_DEFAULT : options->contexts;
    server->slots = weir_calloc(server->slots_count, sizeof(*server->slots));
    server->peers = weir_hmap_create(0);
    server->refs = 1;
    weir_mutex_init(&server->mutex);
    weir_cond_init(&server->idle);
    int rv = socket_open(server, options->address);
    if (rv != 0) {
        enum weir_rc rc = weir_error_set(err, weir__rpc_rc_of_nng(rv), "cannot listen for control messages on %s: %s",
                                         options->address, nng_strerror(rv));
        weir_rpc_server_destroy(server);
        return rc;
    }
    server->active = server->slots_count;
    for (uint32_t i = 0; i < server->slots_count; i++) {
        slot_receive(&server->slots[i]);
    }
    *out_server = server;
    return WEIR_OK;
}

uint16_t weir_rpc_server_port(const struct weir_rpc_server *server)
{
    return server->port;
}

void weir_rpc_server_stats(struct weir_rpc_server *server, struct weir_rpc_server_stats *out_stats)
{
    weir_mutex_lock(&server->mutex);
    *out_stats = server->stats;
    weir_mutex_unlock(&server->mutex);
}

void weir_rpc_server_stop(struct weir_rpc_server *server)
{
    weir_mutex_lock(&server->mutex);
    if (!server->stopping) {
        server->stopping = true;
        for (uint32_t i = 0; i < server->slots_count; i++) {
            struct slot *slot = &server->slots[i];
            if (slot->state == SLOT_RECEIVING || slot->state == SLOT_REPLYING) {
                nng_aio_abort(slot->aio, NNG_ECANCELED);
            }
        }
    }
    weir_mutex_unlock(&server->mutex);
}

void weir_rpc_server_destroy(struct weir_rpc_server *server)
{
    if (server == NULL) {
        return;
    }
    weir_rpc_server_stop(server);
    weir_mutex_lock(&server->mutex);
    while (server->active > 0) {
        weir_cond_wait(&server->idle, &server->mutex);
    }
    weir_mutex_unlock(&server->mutex);
    for (uint32_t i = 0; i < server->slots_count && server->slots[i].aio != NULL; i++) {
        nng_aio_stop(server->slots[i].aio); /* waits for the callback's end */
        (void)nng_ctx_close(server->slots[i].nng_ctx);
    }
    if (server->socket.id != 0) {
        (void)nng_close(server->socket); /* waits for every REM_POST */
    }
    for (uint32_t i = 0; i < server->slots_count && server->slots[i].aio != NULL; i++) {
        nng_aio_free(server->slots[i].aio);
    }
    weir_mutex_lock(&server->mutex);
    weir_assert(weir_hmap_count(server->peers) == 0);
    server_unref_unlock(server);
}

uint64_t weir_rpc_request_peer(const struct weir_rpc_request *request)
{
    return request->peer->id;
}

const char *weir_rpc_request_peer_role(const struct weir_rpc_request *request)
{
    return request->peer->role;
}

const char *weir_rpc_request_peer_name(const struct weir_rpc_request *request)
{
    return request->peer->name;
}

uint16_t weir_rpc_request_method(const struct weir_rpc_request *request)
{
    return request->frame.method;
}

struct weir_slice weir_rpc_request_body(const struct weir_rpc_request *request)
{
    return request->frame.body;
}

void weir_rpc_reply(struct weir_rpc_request *request_take, enum weir_rc rc, struct weir_slice body)
{
    struct weir_rpc_server *server = request_take->server;
    struct weir__rpc_frame answer = {
        .method = request_take->frame.method, .rc = rc, .flags = WEIR__RPC_FLAG_REPLY, .body = body};
    if (body.len > WEIR_RPC_FRAME_BYTES_MAX) {
        answer.rc = WEIR_LIMIT;
        answer.body = weir_slice_str("the answer is larger than a control message may be");
    }
    weir_mutex_lock(&server->mutex);
    if (!server->stopping) {
        weir_assert(request_take->slot->state == SLOT_HELD);
        server->active++;
        slot_send_locked(request_take->slot, &answer);
    }
    peer_unref_locked(request_take->peer);
    nng_msg_free(request_take->msg);
    weir_free(request_take);
    server_unref_unlock(server);
}
