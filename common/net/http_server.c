/*
 * The life of a request, guarded by the server's mutex. It is shared by its connection (until MHD's completion) and by
 * whoever was handed it (until the answer).
 *
 *   READING -last byte: suspend, hand out-> ASKED -weir_http_respond, or stop: resume-> ANSWERED -queued by MHD's thread
 */
#include "common/net/http_server.h"

#include "common/base/arena.h"
#include "common/base/assert.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/net/address.h"
#include "common/net/keeper.h"
#include "common/runtime/sync.h"

#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum request_state { REQUEST_READING, REQUEST_ASKED, REQUEST_ANSWERED };

/* A connection's deadline: MHD's own time-outs only know silence, and a byte a second is none. */
struct connection {
    struct weir_list node;
    int fd;
    bool idle;           /* no request has begun that we know of */
    int64_t deadline_ms; /* monotonic; when the headers or the body must be here; INT64_MAX: we are to move */
};

struct pair {
    struct pair *next;
    const char *name;
    const char *value;
};

struct weir_http_request {
    struct weir_list node; /* in `asked` while ASKED */
    struct weir_http_server *server;
    struct MHD_Connection *connection; /* NULL once it is completed */
    struct weir_arena *arena;
    const char *method;
    const char *path;
    struct pair *query;
    struct pair *headers;
    struct weir_buf body;
    bool body_too_large;
    uint64_t discarded_bytes; /* of a body too large */
    uint32_t refs;
    enum request_state state;
    unsigned status;
    struct MHD_Response *response; /* ANSWERED: until it is queued */
};

struct weir_http_server {
    struct MHD_Daemon *daemon;
    uint16_t port;
    uint64_t body_bytes_max;
    int64_t header_timeout_ms;
    const struct weir_log *log;
    weir_http_handler_fn *handler;
    void *ctx;

    struct weir_mutex mutex; /* guards what follows and the requests' states */
    struct weir__keeper keeper;
    struct weir_list connections; /* oldest first */
    uint32_t nconnections, connections_max;
    struct weir_list asked;
    uint32_t refs; /* the owner's, one per request */
    bool stopping;
};

static void server_unref_unlock(struct weir_http_server *server)
{
    weir_assert(server->refs > 0);
    server->refs--;
    bool last = server->refs == 0;
    weir_mutex_unlock(&server->mutex);
    if (last) {
        weir_mutex_fini(&server->mutex);
        weir_free(server);
    }
}

static void request_unref_unlock(struct weir_http_request *request)
{
    struct weir_http_server *server = request->server;
    weir_assert(request->refs > 0);
    request->refs--;
    if (request->refs > 0) {
        weir_mutex_unlock(&server->mutex);
        return;
    }
    if (request->response != NULL) {
        MHD_destroy_response(request->response);
    }
    weir_buf_fini(&request->body);
    weir_arena_destroy(request->arena);
    weir_free(request);
    server_unref_unlock(server);
}

static struct MHD_Response *response_create(const char *content_type, struct weir_slice body)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback(body.len, weir_strndup(body.data, body.len), weir_free);
    weir_assert(response != NULL); /* only memory can be missing */
    if (content_type != NULL) {
        enum MHD_Result added = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
        weir_assert(added == MHD_YES); /* our own literals */
    }
    return response;
}

static struct MHD_Response *error_response_create(const char *text)
{
    struct weir_buf body = {0};
    weir_buf_put_str(&body, "{\"errors\":[\"");
    for (const char *c = text; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte == '"' || byte == '\\') {
            weir_buf_put_u8(&body, '\\');
            weir_buf_put_u8(&body, byte);
        } else if (byte == '\n') {
            weir_buf_put_str(&body, "\\n");
        } else if (byte < 0x20) {
            weir_buf_put_fmt(&body, "\\u%04x", byte);
        } else {
            weir_buf_put_u8(&body, byte);
        }
    }
    weir_buf_put_str(&body, "\"]}");
    struct MHD_Response *response = response_create("application/json", weir_buf_slice(&body));
    weir_buf_fini(&body);
    return response;
}

static enum MHD_Result queue_error(struct MHD_Connection *connection, unsigned status, const char *text)
{
    struct MHD_Response *response = error_response_create(text);
    enum MHD_Result queued = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result queue_too_large(struct MHD_Connection *connection, uint64_t bytes_max)
{
    char text[80];
    (void)snprintf(text, sizeof(text), "request body too large: at most %" PRIu64 " bytes are accepted", bytes_max);
    return queue_error(connection, MHD_HTTP_CONTENT_TOO_LARGE, text);
}

/* --- deadlines ------------------------------------------------------------------------------------------------------- */

static void set_deadline_locked(struct MHD_Connection *handle, bool idle, int64_t timeout_ms)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct connection *connection = info->socket_context;
    connection->idle = idle;
    connection->deadline_ms = timeout_ms == INT64_MAX ? INT64_MAX : weir_clock_mono_ms(weir_clock_real()) + timeout_ms;
}

static void cut_locked(struct connection *connection)
{
    connection->idle = false;
    connection->deadline_ms = INT64_MAX;
    (void)shutdown(connection->fd, SHUT_RDWR);
}

/* Before the last slots are taken the oldest that asks nothing has to go, so that there is room for those who do. */
static void make_room_locked(struct weir_http_server *server)
{
    struct weir_list *node = server->nconnections * 4 > server->connections_max * 3 ? weir_list_first(&server->connections) : NULL;
    while (node != NULL && !WEIR_CONTAINER_OF(node, struct connection, node)->idle) {
        node = weir_list_next(&server->connections, node);
    }
    if (node != NULL) {
        cut_locked(WEIR_CONTAINER_OF(node, struct connection, node));
    }
}

/* On MHD's thread. The socket is open from the first to the second call. */
static void on_connection(void *ctx, struct MHD_Connection *handle, void **context, enum MHD_ConnectionNotificationCode code)
{
    struct weir_http_server *server = ctx;
    struct connection *connection = *context;
    weir_mutex_lock(&server->mutex);
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        connection = weir_calloc(1, sizeof(*connection));
        connection->fd = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        *context = connection;
        server->nconnections++;
        make_room_locked(server);
        weir_list_push_back(&server->connections, &connection->node);
        set_deadline_locked(handle, true, server->header_timeout_ms);
        weir__keeper_kick_locked(&server->keeper);
    } else {
        server->nconnections--;
        weir_list_remove(&connection->node);
        weir_free(connection);
    }
    weir_mutex_unlock(&server->mutex);
}

/* Ends the connections whose time is over; MHD sees the end and does the rest. */
static int64_t keep_locked(void *owner)
{
    struct weir_http_server *server = owner;
    int64_t now_ms = weir_clock_mono_ms(weir_clock_real());
    int64_t rest_ms = WEIR__KEEPER_REST_MS;
    for (struct weir_list *node = weir_list_first(&server->connections); node != NULL; node = weir_list_next(&server->connections, node)) {
        struct connection *connection = WEIR_CONTAINER_OF(node, struct connection, node);
        int64_t left_ms = connection->deadline_ms == INT64_MAX ? INT64_MAX : connection->deadline_ms - now_ms;
        if (left_ms <= 0) {
            cut_locked(connection);
            weir_log(server->log, WEIR_LOG_WARN, "http_request_too_slow", NULL);
        } else if (left_ms < rest_ms) {
            rest_ms = left_ms;
        }
    }
    return rest_ms;
}

/* --- on MHD's thread ------------------------------------------------------------------------------------------------- */

static enum MHD_Result measure_pair(void *ctx, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    size_t *bytes = ctx;
    *bytes += strlen(name) + (value == NULL ? 0 : strlen(value)) + 4; /* ": " and the line's end */
    return MHD_YES;
}

static enum MHD_Result copy_pair(void *ctx, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct weir_http_request *request = ctx;
    struct pair **list = kind == MHD_HEADER_KIND ? &request->headers : &request->query;
    while (*list != NULL) {
        list = &(*list)->next;
    }
    struct pair *pair = weir_arena_zalloc(request->arena, sizeof(*pair));
    pair->name = weir_arena_strdup(request->arena, name);
    pair->value = weir_arena_strdup(request->arena, value == NULL ? "" : value);
    *list = pair;
    return MHD_YES;
}

/* A NUL would end the text early for us, and a path mean what it does not say: it becomes a DEL, which no name has. */
static size_t unescape(void *ctx, struct MHD_Connection *connection, char *text)
{
    (void)ctx;
    (void)connection;
    for (char *nul = strstr(text, "%00"); nul != NULL; nul = strstr(nul, "%00")) {
        memcpy(nul, "%7f", 3);
    }
    return MHD_http_unescape(text);
}

/* The headers are here. Answers at once what can be refused by them. */
static enum MHD_Result on_headers(struct weir_http_server *server, struct MHD_Connection *connection, const char *path,
                                  const char *method, void **request_slot)
{
    (void)MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)WEIR_HTTP_IDLE_TIMEOUT_S);
    weir_mutex_lock(&server->mutex);
    set_deadline_locked(connection, false, WEIR_HTTP_IDLE_TIMEOUT_S * 1000);
    weir_mutex_unlock(&server->mutex);
    size_t header_bytes = strlen(path) + strlen(method);
    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, measure_pair, &header_bytes);
    (void)MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, measure_pair, &header_bytes);
    if (header_bytes > WEIR_HTTP_HEADER_BYTES_MAX) {
        return queue_error(connection, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE, "request line and headers exceed 8 KiB");
    }
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (length != NULL && strtoull(length, NULL, 10) > server->body_bytes_max) {
        return queue_too_large(connection, server->body_bytes_max);
    }
    struct weir_http_request *request = weir_calloc(1, sizeof(*request));
    request->server = server;
    request->connection = connection;
    request->arena = weir_arena_create(2048);
    request->method = weir_arena_strdup(request->arena, method);
    request->path = weir_arena_strdup(request->arena, path);
    request->refs = 1;
    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, copy_pair, request);
    (void)MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, copy_pair, request);
    weir_mutex_lock(&server->mutex);
    server->refs++;
    weir_mutex_unlock(&server->mutex);
    *request_slot = request;
    return MHD_YES;
}

static enum MHD_Result on_body(struct weir_http_request *request, const char *data, size_t *bytes)
{
    uint64_t max = request->server->body_bytes_max;
    if (request->body.len + *bytes <= max && !request->body_too_large) {
        weir_buf_put(&request->body, data, *bytes);
    } else if (!request->body_too_large) {
        request->body_too_large = true; /* of unannounced length: read on, so that the client sees the answer */
        weir_buf_fini(&request->body);
    } else {
        request->discarded_bytes += *bytes;
        if (request->discarded_bytes > max) {
            return MHD_NO; /* enough patience */
        }
    }
    *bytes = 0;
    return MHD_YES;
}

/* The request is whole: suspends its connection and hands it out, unless it can be answered here. */
static enum MHD_Result on_whole(struct weir_http_request *request)
{
    struct weir_http_server *server = request->server;
    struct MHD_Connection *connection = request->connection;
    if (request->body_too_large) {
        return queue_too_large(connection, server->body_bytes_max);
    }
    weir_mutex_lock(&server->mutex);
    if (server->stopping) {
        weir_mutex_unlock(&server->mutex);
        return queue_error(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "shutting down");
    }
    set_deadline_locked(connection, false, INT64_MAX);
    request->state = REQUEST_ASKED;
    request->refs++;
    weir_list_push_back(&server->asked, &request->node);
    MHD_suspend_connection(connection);
    weir_mutex_unlock(&server->mutex);
    server->handler(server->ctx, request);
    return MHD_YES;
}

static enum MHD_Result on_access(void *ctx, struct MHD_Connection *connection, const char *path, const char *method,
                                 const char *version, const char *upload, size_t *upload_bytes, void **request_slot)
{
    (void)version;
    struct weir_http_request *request = *request_slot;
    if (request == NULL) {
        return on_headers(ctx, connection, path, method, request_slot);
    }
    if (*upload_bytes > 0) {
        return on_body(request, upload, upload_bytes);
    }
    weir_mutex_lock(&request->server->mutex);
    enum request_state state = request->state;
    struct MHD_Response *response = request->response;
    request->response = NULL;
    weir_mutex_unlock(&request->server->mutex);
    switch (state) {
    case REQUEST_READING:
        return on_whole(request);
    case REQUEST_ASKED:
        break; /* MHD calls no handler of a suspended connection */
    case REQUEST_ANSWERED:
        if (response == NULL) { /* MHD took it and did nothing with it: it is being stopped, which MHD_queue_response calls success */
            return MHD_NO;
        }
        enum MHD_Result queued = MHD_queue_response(connection, request->status, response);
        MHD_destroy_response(response);
        return queued;
    }
    weir_assert(!"a suspended connection was called");
    return MHD_NO;
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **request_slot,
                         enum MHD_RequestTerminationCode how)
{
    (void)how;
    struct weir_http_server *server = ctx;
    struct weir_http_request *request = *request_slot;
    weir_mutex_lock(&server->mutex);
    set_deadline_locked(connection, true, WEIR_HTTP_IDLE_TIMEOUT_S * 1000); /* for the next one */
    if (request == NULL) {
        weir_mutex_unlock(&server->mutex);
        return;
    }
    *request_slot = NULL;
    request->connection = NULL;
    request_unref_unlock(request);
}

/* --- any thread ------------------------------------------------------------------------------------------------------ */

/* response is taken. */
static void answer_locked(struct weir_http_request *request, unsigned status, struct MHD_Response *response)
{
    weir_assert(request->state == REQUEST_ASKED);
    request->state = REQUEST_ANSWERED;
    request->status = status;
    request->response = response;
    weir_list_remove(&request->node);
    MHD_resume_connection(request->connection);
}

static void respond(struct weir_http_request *request, unsigned status, struct MHD_Response *response)
{
    weir_mutex_lock(&request->server->mutex);
    if (request->state == REQUEST_ASKED) {
        answer_locked(request, status, response);
    } else {
        MHD_destroy_response(response); /* stop has answered */
    }
    request_unref_unlock(request);
}

void weir_http_respond(struct weir_http_request *request_take, unsigned status, const char *content_type,
                       struct weir_slice body)
{
    respond(request_take, status, response_create(content_type, body));
}

void weir_http_respond_error(struct weir_http_request *request_take, unsigned status, const char *text)
{
    respond(request_take, status, error_response_create(text));
}

void weir_http_respond_elsewhere(struct weir_http_request *request_take, unsigned status, const char *origin, const char *text)
{
    struct weir_buf location = {0};
    weir_buf_put_str(&location, origin);
    weir_url_put_encoded(&location, request_take->path, "/");
    for (const struct pair *pair = request_take->query; pair != NULL; pair = pair->next) {
        weir_buf_put_u8(&location, pair == request_take->query ? '?' : '&');
        weir_url_put_encoded(&location, pair->name, "");
        weir_buf_put_u8(&location, '=');
        weir_url_put_encoded(&location, pair->value, "");
    }
    weir_buf_put_u8(&location, '\0');
    struct MHD_Response *response = error_response_create(text);
    enum MHD_Result added = MHD_add_response_header(response, MHD_HTTP_HEADER_LOCATION, (const char *)location.data);
    weir_assert(added == MHD_YES);
    weir_buf_fini(&location);
    respond(request_take, status, response);
}

const char *weir_http_request_method(const struct weir_http_request *request)
{
    return request->method;
}

const char *weir_http_request_path(const struct weir_http_request *request)
{
    return request->path;
}

const char *weir_http_request_query(const struct weir_http_request *request, const char *name)
{
    for (const struct pair *pair = request->query; pair != NULL; pair = pair->next) {
        if (strcmp(pair->name, name) == 0) {
            return pair->value;
        }
    }
    return NULL;
}

const char *weir_http_request_header(const struct weir_http_request *request, const char *name)
{
    for (const struct pair *pair = request->headers; pair != NULL; pair = pair->next) {
        if (strcasecmp(pair->name, name) == 0) {
            return pair->value;
        }
    }
    return NULL;
}

struct weir_slice weir_http_request_body(const struct weir_http_request *request)
{
    return weir_buf_slice(&request->body);
}

/* --- start and stop -------------------------------------------------------------------------------------------------- */

static enum weir_rc listen_failed(const struct weir_http_server_options *options, struct weir_error *err)
{
    int errnum = errno;
    enum weir_rc rc = errnum == EADDRINUSE                        ? WEIR_EXISTS
                      : errnum == EACCES                          ? WEIR_REFUSED
                      : errnum == EADDRNOTAVAIL                   ? WEIR_INVALID
                      : errnum == EMFILE || errnum == ENFILE      ? WEIR_RESOURCE
                                                                  : WEIR_IO;
    return weir_error_errno(err, rc, errnum, "cannot listen for HTTP on %s port %u", options->address, options->port);
}

static enum weir_rc listen_open(const struct weir_http_server_options *options, int *out_fd, uint16_t *out_port,
                                struct weir_error *err)
{
    char port_text[8];
    (void)snprintf(port_text, sizeof(port_text), "%u", options->port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int gai = getaddrinfo(options->address, port_text, &hints, &found);
    if (gai != 0) {
        return weir_error_set(err, WEIR_INVALID, "cannot listen for HTTP on \"%s\": %s", options->address, gai_strerror(gai));
    }
    enum weir_rc rc = WEIR_OK;
    int yes = 1;
    union {
        struct sockaddr any;
        struct sockaddr_storage storage;
    } bound;
    socklen_t bound_len = sizeof(bound);
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) != 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, &bound.any, &bound_len) != 0 ||
        getnameinfo(&bound.any, bound_len, NULL, 0, port_text, sizeof(port_text), NI_NUMERICSERV) != 0) {
        rc = listen_failed(options, err);
        if (fd >= 0) {
            (void)close(fd);
        }
    } else {
        *out_fd = fd;
        *out_port = (uint16_t)strtoul(port_text, NULL, 10);
    }
    freeaddrinfo(found);
    return rc;
}

enum weir_rc weir_http_server_create(const struct weir_http_server_options *options, weir_http_handler_fn *handler, void *ctx,
                                     struct weir_http_server **out_server, struct weir_error *err)
{
    int fd = -1;
    uint16_t port = 0;
    enum weir_rc rc = listen_open(options, &fd, &port, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct weir_http_server *server = weir_calloc(1, sizeof(*server));
    server->port = port;
    server->body_bytes_max = options->body_bytes_max == 0 ? WEIR_HTTP_BODY_BYTES_MAX : options->body_bytes_max;
    server->connections_max = options->connections_max == 0 ? WEIR_HTTP_CONNECTIONS_MAX : options->connections_max;
    server->header_timeout_ms = options->header_timeout_ms == 0 ? WEIR_HTTP_HEADER_TIMEOUT_S * 1000 : options->header_timeout_ms;
    server->log = options->log;
    server->handler = handler;
    server->ctx = ctx;
    server->refs = 1;
    weir_list_init(&server->asked);
    weir_list_init(&server->connections);
    weir_mutex_init(&server->mutex);
    weir__keeper_init(&server->keeper, &server->mutex, keep_locked, server);
    /* Twice the headers: MHD's pool per connection also holds the answer's headers and the body's window. */
    server->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_access, server,
                                      MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, server->connections_max,
                                      MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)(2 * WEIR_HTTP_HEADER_BYTES_MAX),
                                      MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)WEIR_HTTP_HEADER_TIMEOUT_S,
                                      MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL,
                                      MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
                                      MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_END);
    if (server->daemon == NULL) {
        rc = weir_error_errno(err, WEIR_RESOURCE, errno, "cannot start the HTTP server on %s port %u", options->address, port);
        (void)close(fd);
        weir__keeper_fini(&server->keeper);
        weir_mutex_lock(&server->mutex);
        server_unref_unlock(server);
        return rc;
    }
    weir_log(server->log, WEIR_LOG_INFO, "http_listening", "address", options->address, "port", WEIR_LOG_INT(port), NULL);
    *out_server = server;
    return WEIR_OK;
}

uint16_t weir_http_server_port(const struct weir_http_server *server)
{
    return server->port;
}

void weir_http_server_stop(struct weir_http_server *server)
{
    weir_mutex_lock(&server->mutex);
    server->stopping = true;
    for (struct weir_list *node = weir_list_first(&server->asked); node != NULL; node = weir_list_first(&server->asked)) {
        answer_locked(WEIR_CONTAINER_OF(node, struct weir_http_request, node), MHD_HTTP_SERVICE_UNAVAILABLE,
                      error_response_create("shutting down"));
    }
    weir_mutex_unlock(&server->mutex);
}

void weir_http_server_destroy(struct weir_http_server *server)
{
    if (server == NULL) {
        return;
    }
    weir_http_server_stop(server); /* MHD panics on connections still suspended */
    MHD_stop_daemon(server->daemon);
    weir__keeper_fini(&server->keeper);
    weir_mutex_lock(&server->mutex);
    server_unref_unlock(server);
}
