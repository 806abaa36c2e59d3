/*
 * The answering side: a peer per connection.
 *
 * I1. A request holds a reference to the server's memory and to its peer's; destroy needs no cooperation of those who still
 *     hold requests.
 * I2. A peer's connection is used under the mutex and only until on_closed; the keeper destroys it afterwards.
 * Lock order: this mutex, then a connection's.
 */
#include "common/net/rpc.h"

#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/net/keeper.h"
#include "common/net/rpc_conn.h"

enum { HELLO_BODY_BYTES_MAX = 4 << 10, HELLO_TIMEOUT_MS = 10000 };

struct peer {
    struct weir_list node; /* in `peers`, then in `dead` */
    struct weir_rpc_server *server;
    struct weir__rpc_conn *conn;
    uint64_t id;
    int64_t accepted_ms;
    char *role; /* role and name: set once, by the hello, before `hello` */
    char *name;
    uint32_t refs; /* the server's, one per request */
    bool hello;
    bool closed;
};

struct weir_rpc_server {
    struct weir_stream_listener *listener;
    char *cluster_id;
    char *role;
    char *name;
    uint16_t protocol_version;
    uint32_t connections_max;
    uint32_t requests_max;
    const struct weir_log *log;
    struct weir_tls *tls;
    char *client_role;
    struct weir_rpc_server_callbacks callbacks;
    void *ctx;

    struct weir_mutex mutex; /* guards what follows, and the peers */
    struct weir_cond alone;  /* `peers` has become empty */
    struct weir__keeper keeper;
    struct weir_list peers;
    struct weir_list dead; /* closed, to be destroyed */
    struct weir_rpc_server_stats stats;
    uint64_t peer_id_last;
    uint32_t requests_held;
    uint32_t refs; /* the owner's, one per request */
    bool stopping;
};

struct weir_rpc_request {
    struct peer *peer;
    uint32_t id;
    uint16_t method;
    size_t body_bytes;
    uint8_t body[];
};

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
        weir_cond_fini(&server->alone);
        weir_mutex_fini(&server->mutex);
        weir_free(server->cluster_id);
        weir_free(server->role);
        weir_free(server->name);
        weir_free(server->client_role);
        weir_free(server);
    }
}

/* --- frames ---------------------------------------------------------------------------------------------------------- */

static void refuse(struct peer *peer, const struct weir__rpc_frame *asked, uint8_t flags, const char *text)
{
    struct weir_rpc_server *server = peer->server;
    weir_mutex_lock(&server->mutex);
    server->stats.refused++;
    weir_mutex_unlock(&server->mutex);
    struct weir__rpc_frame answer = {.id = asked->id,
                                     .method = asked->method,
                                     .rc = WEIR_REFUSED,
                                     .flags = (uint8_t)(WEIR__RPC_FLAG_REPLY | flags),
                                     .body = weir_slice_str(text)};
    weir__rpc_conn_send(peer->conn, &answer);
}

/* Whether the hello is one of ours; err says why not, with both values. */
static enum weir_rc hello_check(const struct weir_rpc_server *server, const struct weir__rpc_hello *hello, const char *certified_role,
                                struct weir_error *err)
{
    if (server->tls != NULL && !weir_slice_eq_str(hello->role, certified_role)) {
        return weir_error_set(err, WEIR_REFUSED, "\"%.*s\" says it is a \"%.*s\", but its certificate is for \"%s\"", WEIR_SLICE_ARG(hello->name),
                              WEIR_SLICE_ARG(hello->role), certified_role);
    }
    if (server->client_role != NULL && !weir_slice_eq_str(hello->role, server->client_role)) {
        return weir_error_set(err, WEIR_REFUSED, "\"%.*s\" is a \"%.*s\", but %s \"%s\" serves only a \"%s\"", WEIR_SLICE_ARG(hello->name),
                              WEIR_SLICE_ARG(hello->role), server->role, server->name, server->client_role);
    }
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

static void handle_hello(struct peer *peer, const struct weir__rpc_frame *asked)
{
    struct weir_rpc_server *server = peer->server;
    struct weir__rpc_hello hello;
    struct weir_error err;
    if (!weir__rpc_hello_decode(asked->body, &hello)) {
        weir__rpc_conn_close(peer->conn, "a hello that cannot be read");
        return;
    }
    if (hello_check(server, &hello, weir__rpc_conn_peer_role(peer->conn), &err) != WEIR_OK) {
        weir_log(server->log, WEIR_LOG_WARN, "rpc_hello_refused", "reason", err.text, NULL);
        refuse(peer, asked, 0, err.text);
        return;
    }
    weir_mutex_lock(&server->mutex);
    if (!peer->hello) {
        peer->role = weir_strndup(hello.role.data, hello.role.len);
        peer->name = weir_strndup(hello.name.data, hello.name.len);
        peer->hello = true;
    }
    weir_mutex_unlock(&server->mutex);
    weir__rpc_conn_set_body_max(peer->conn, WEIR_RPC_FRAME_BYTES_MAX);
    struct weir_buf body = {0};
    struct weir__rpc_hello own = {.protocol_version = server->protocol_version,
                                  .cluster_id = weir_slice_str(server->cluster_id),
                                  .role = weir_slice_str(server->role),
                                  .name = weir_slice_str(server->name)};
    weir__rpc_hello_encode(&own, &body);
    struct weir__rpc_frame answer = {
        .id = asked->id, .method = WEIR_RPC_METHOD_HELLO, .flags = WEIR__RPC_FLAG_REPLY, .body = weir_buf_slice(&body)};
    weir__rpc_conn_send(peer->conn, &answer);
    weir_buf_fini(&body);
}

static void handle_request(struct peer *peer, const struct weir__rpc_frame *asked)
{
    struct weir_rpc_server *server = peer->server;
    weir_mutex_lock(&server->mutex);
    bool stopping = server->stopping;
    bool full = server->requests_held >= server->requests_max;
    if (!stopping && !full) {
        server->stats.requests++;
        server->requests_held++;
        server->refs++;
        peer->refs++;
    }
    weir_mutex_unlock(&server->mutex);
    if (stopping) {
        return;
    }
    if (full) {
        struct weir__rpc_frame answer = {.id = asked->id,
                                         .method = asked->method,
                                         .rc = WEIR_AGAIN,
                                         .flags = WEIR__RPC_FLAG_REPLY,
                                         .body = weir_slice_str("the server holds as many requests as it may")};
        weir__rpc_conn_send(peer->conn, &answer);
        return;
    }
    struct weir_rpc_request *request = weir_malloc(sizeof(*request) + asked->body.len);
    request->peer = peer;
    request->id = asked->id;
    request->method = asked->method;
    request->body_bytes = asked->body.len;
    if (asked->body.len > 0) {
        memcpy(request->body, asked->body.data, asked->body.len);
    }
    server->callbacks.on_request(server->ctx, request);
}

static void on_frame(void *owner, struct weir__rpc_conn *conn, const struct weir__rpc_frame *frame)
{
    struct peer *peer = owner;
    if ((frame->flags & WEIR__RPC_FLAG_REPLY) != 0) {
        weir__rpc_conn_close(conn, "an answer where a request was expected");
    } else if (frame->method == WEIR_RPC_METHOD_HELLO) {
        handle_hello(peer, frame);
    } else if (!peer->hello) { /* written by this very chain of callbacks */
        refuse(peer, frame, WEIR__RPC_FLAG_NO_HELLO, "this connection has not said hello");
    } else {
        handle_request(peer, frame);
    }
}

/* --- connections ----------------------------------------------------------------------------------------------------- */

static void on_closed(void *owner, struct weir__rpc_conn *conn, const char *malformed)
{
    (void)conn;
    struct peer *peer = owner;
    struct weir_rpc_server *server = peer->server;
    if (malformed != NULL) {
        weir_log(server->log, WEIR_LOG_WARN, "rpc_frame_malformed", "reason", malformed, "peer", WEIR_LOG_INT(peer->id), NULL);
    }
    weir_mutex_lock(&server->mutex);
    server->stats.malformed += malformed != NULL ? 1 : 0;
    server->stats.connections--;
    bool tell = peer->hello && !server->stopping;
    uint64_t id = peer->id;
    peer->closed = true;
    if (tell && server->callbacks.on_peer_closed != NULL) {
        weir_mutex_unlock(&server->mutex);
        server->callbacks.on_peer_closed(server->ctx, id);
        weir_mutex_lock(&server->mutex);
    }
    weir_list_remove(&peer->node);
    weir_list_push_back(&server->dead, &peer->node);
    weir__keeper_kick_locked(&server->keeper);
    if (weir_list_empty(&server->peers)) {
        weir_cond_broadcast(&server->alone);
    }
    weir_mutex_unlock(&server->mutex);
}

static void on_accept(void *ctx, struct weir_stream *stream_take)
{
    static const struct weir__rpc_conn_callbacks callbacks = {.on_frame = on_frame, .on_closed = on_closed};
    struct weir_rpc_server *server = ctx;
    weir_mutex_lock(&server->mutex);
    if (server->stopping || server->stats.connections >= server->connections_max) {
        server->stats.rejected++;
        weir_mutex_unlock(&server->mutex);
        weir_log(server->log, WEIR_LOG_WARN, "rpc_connection_rejected", "limit", WEIR_LOG_INT(server->connections_max), NULL);
        weir_stream_destroy(stream_take); /* nothing is in flight on it, and this is the listener's callback */
        return;
    }
    struct peer *peer = weir_calloc(1, sizeof(*peer));
    peer->server = server;
    peer->id = ++server->peer_id_last;
    peer->accepted_ms = weir_clock_mono_ms(weir_clock_real());
    peer->refs = 1;
    peer->conn = weir__rpc_conn_create(stream_take, &callbacks, peer, HELLO_BODY_BYTES_MAX);
    weir_list_push_back(&server->peers, &peer->node);
    server->stats.connections++;
    weir__rpc_conn_start(peer->conn);
    weir__keeper_kick_locked(&server->keeper); /* its hello is awaited */
    weir_mutex_unlock(&server->mutex);
}

static void dead_destroy_locked(struct weir_rpc_server *server)
{
    for (struct weir_list *node = weir_list_pop_front(&server->dead); node != NULL;
         node = weir_list_pop_front(&server->dead)) {
        struct peer *peer = WEIR_CONTAINER_OF(node, struct peer, node);
        weir_mutex_unlock(&server->mutex);
        weir__rpc_conn_destroy(peer->conn); /* may wait for its last callback's return */
        weir_mutex_lock(&server->mutex);
        peer->conn = NULL;
        peer_unref_locked(peer);
    }
}

/* Destroys what has closed, and closes those who keep us waiting for their hello. */
static int64_t keep_locked(void *owner)
{
    struct weir_rpc_server *server = owner;
    dead_destroy_locked(server);
    int64_t now_ms = weir_clock_mono_ms(weir_clock_real());
    int64_t rest_ms = WEIR__KEEPER_REST_MS;
    for (struct weir_list *node = weir_list_first(&server->peers); node != NULL; node = weir_list_next(&server->peers, node)) {
        const struct peer *peer = WEIR_CONTAINER_OF(node, struct peer, node);
        int64_t left_ms = peer->accepted_ms + HELLO_TIMEOUT_MS - now_ms;
        if (!peer->hello && left_ms <= 0) {
            weir__rpc_conn_close(peer->conn, NULL);
        } else if (!peer->hello && left_ms < rest_ms) {
            rest_ms = left_ms;
        }
    }
    return rest_ms;
}

/* --- the public face ------------------------------------------------------------------------------------------------- */

enum weir_rc weir_rpc_server_create(const struct weir_rpc_server_options *options,
                                    const struct weir_rpc_server_callbacks *callbacks, void *ctx,
                                    struct weir_rpc_server **out_server, struct weir_error *err)
{
    weir_assert(callbacks->on_request != NULL);
    char *host = NULL;
    uint16_t port = 0;
    enum weir_rc rc = weir__rpc_address_parse(options->address, &host, &port, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct weir_rpc_server *server = weir_calloc(1, sizeof(*server));
    server->cluster_id = weir_strdup(options->cluster_id);
    server->role = weir_strdup(options->role);
    server->name = weir_strdup(options->name);
    server->protocol_version = options->protocol_version;
    server->connections_max = options->connections_max == 0 ? WEIR_RPC_CONNECTIONS_DEFAULT : options->connections_max;
    server->requests_max = options->requests_max == 0 ? WEIR_RPC_REQUESTS_DEFAULT : options->requests_max;
    server->log = options->log;
    server->tls = options->tls;
    server->client_role = options->client_role == NULL ? NULL : weir_strdup(options->client_role);
    server->callbacks = *callbacks;
    server->ctx = ctx;
    server->refs = 1;
    weir_list_init(&server->peers);
    weir_list_init(&server->dead);
    weir_mutex_init(&server->mutex);
    weir_cond_init(&server->alone);
    weir__keeper_init(&server->keeper, &server->mutex, keep_locked, server);
    const struct weir_stream_guard guard = {.tls = options->tls, .peer_role = server->client_role};
    rc = weir_stream_listen(host, port, &guard, on_accept, server, &server->listener, err);
    weir_free(host);
    if (rc != WEIR_OK) {
        weir_rpc_server_destroy(server);
        return rc;
    }
    *out_server = server;
    return WEIR_OK;
}

uint16_t weir_rpc_server_port(const struct weir_rpc_server *server)
{
    return weir_stream_listener_port(server->listener);
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
    server->stopping = true;
    weir_mutex_unlock(&server->mutex);
}

void weir_rpc_server_destroy(struct weir_rpc_server *server)
{
    if (server == NULL) {
        return;
    }
    weir_rpc_server_stop(server);
    weir_stream_listener_destroy(server->listener); /* no peer is added any more */
    weir_mutex_lock(&server->mutex);
    for (struct weir_list *node = weir_list_first(&server->peers); node != NULL; node = weir_list_next(&server->peers, node)) {
        weir__rpc_conn_close(WEIR_CONTAINER_OF(node, struct peer, node)->conn, NULL);
    }
    while (!weir_list_empty(&server->peers)) {
        weir_cond_wait(&server->alone, &server->mutex);
    }
    weir_mutex_unlock(&server->mutex);
    weir__keeper_fini(&server->keeper);
    weir_mutex_lock(&server->mutex);
    dead_destroy_locked(server);
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
    return request->method;
}

struct weir_slice weir_rpc_request_body(const struct weir_rpc_request *request)
{
    return weir_slice(request->body, request->body_bytes);
}

void weir_rpc_reply(struct weir_rpc_request *request_take, enum weir_rc rc, struct weir_slice body)
{
    struct peer *peer = request_take->peer;
    struct weir_rpc_server *server = peer->server;
    struct weir__rpc_frame answer = {
        .id = request_take->id, .method = request_take->method, .rc = rc, .flags = WEIR__RPC_FLAG_REPLY, .body = body};
    if (body.len > WEIR_RPC_FRAME_BYTES_MAX) {
        answer.rc = WEIR_LIMIT;
        answer.body = weir_slice_str("the answer is larger than a control message may be");
    }
    weir_mutex_lock(&server->mutex);
    if (!server->stopping && !peer->closed) {
        weir__rpc_conn_send(peer->conn, &answer);
    }
    server->requests_held--;
    peer_unref_locked(peer);
    weir_free(request_take);
    server_unref_unlock(server);
}
