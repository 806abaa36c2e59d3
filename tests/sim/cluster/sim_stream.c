/*
 * common/net/stream.h over a simulated network. Within a connection bytes come in order, or not at all; between connections in any order. What is
 * lost shows as time (TCP sends it again); a way that is cut stalls, and a connection that has stalled for long is reset.
 */
#include "common/net/stream.h"

#include "common/base/assert.h"
#include "common/base/buf.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "tests/sim/cluster/world.h"

#include <stdio.h>
#include <stdlib.h>

enum { WINDOW_BYTES = 256 << 10, FIRST_PORT = 20000 };

#define STALL_NS INT64_C(120000000000)    /* then it is reset */
#define SYN_NS INT64_C(1000000000)        /* a dial that is not answered is repeated after that, then after twice that, and so on */
#define SILENCE_NS INT64_C(1000000000)    /* between tries of a sender, at the least */
#define DIAL_PATIENCE_NS INT64_C(1000000) /* at least, for a dial's way there and back */

struct end;

/* Both ends live as long as the run. */
struct conn {
    struct weir_list node;
    struct end {
        struct conn *conn;
        struct weir_sim_node *node;
        uint32_t incarnation;
        struct weir_stream *stream; /* NULL: nobody holds it any more */
        struct weir_buf inbox;      /* came, and was not read */
        size_t read;
        bool eof, reset;            /* nothing more comes */
        uint64_t unread;            /* sent by the other end, and not read here */
        uint64_t sent, arrived;     /* packets to here */
        int64_t last_ns;            /* when what was sent to here last arrives */
        struct weir_list held;      /* packets to here that a cut has stopped */
        struct weir_list early;     /* and those that came before one of them */
        int64_t held_since_ns;
    } ends[2];
};

enum packet_kind { PACKET_DATA, PACKET_FIN, PACKET_RST };

struct packet {
    struct weir_list node;
    struct end *to;
    enum packet_kind kind;
    uint64_t number;
    uint8_t *bytes;
    size_t len;
};

struct weir_stream {
    struct end *end;
    struct weir_stream_callbacks callbacks;
    void *ctx;
    bool sending, receiving; /* submitted, and not completed */
    uint8_t *into;
    size_t into_max;
    bool closed;
    uint32_t running; /* completions on their way or inside a callback */
    struct weir_sim_waiters quiet;
};

struct completion {
    struct weir_stream *stream;
    bool send;
    enum weir_rc rc;
    size_t bytes;
};

struct weir_stream_listener {
    struct weir_list node;
    struct weir_sim_node *owner;
    uint32_t incarnation;
    uint16_t port;
    void (*on_accept)(void *ctx, struct weir_stream *stream);
    void *ctx;
    uint32_t running;
    struct weir_sim_waiters quiet;
};

struct weir_stream_dial {
    struct weir_sim_node *owner;
    uint32_t incarnation;
    char host[32];
    uint16_t port;
    void (*on_dialed)(void *ctx, enum weir_rc rc, struct weir_stream *stream);
    void *ctx;
    bool answered, over; /* it is known how it goes; the callback has run */
    enum weir_rc rc;
    struct weir_stream *stream;
    struct weir_sim_waiters quiet;
    uint32_t refs;
};

struct link {
    bool cut;
    int64_t extra_ns;
};

static struct network {
    struct weir_list conns, listeners; /* zeroed: empty, see lists() */
    struct link links[WEIR_SIM_NODES_MAX][WEIR_SIM_NODES_MAX];
    uint16_t ports;
} network;

static struct network *net(void)
{
    if (network.conns.next == NULL) {
        weir_list_init(&network.conns);
        weir_list_init(&network.listeners);
        network.ports = FIRST_PORT;
    }
    return &network;
}

static struct end *other(const struct end *end)
{
    return end == &end->conn->ends[0] ? &end->conn->ends[1] : &end->conn->ends[0];
}

/* --- links -------------------------------------------------------------------------------------------------------------- */

static struct link *link_of(const struct weir_sim_node *from, const struct weir_sim_node *to)
{
    return &net()->links[from->index][to->index];
}

bool weir_sim_link_is_cut(const struct weir_sim_node *from, const struct weir_sim_node *to)
{
    return link_of(from, to)->cut;
}

int64_t weir_sim_latency_ns(const struct weir_sim_node *from, const struct weir_sim_node *to)
{
    int64_t least_ns = weir_sim_options()->latency_ns;
    int64_t ns = weir_sim_between(least_ns, 4 * least_ns) + link_of(from, to)->extra_ns;
    return weir_sim_one_in(500) ? ns * 50 : ns;
}

void weir_sim_link_cut(const struct weir_sim_node *from, const struct weir_sim_node *to)
{
    link_of(from, to)->cut = true;
}

void weir_sim_link_slow(const struct weir_sim_node *from, const struct weir_sim_node *to, int64_t extra_ns)
{
    link_of(from, to)->extra_ns = extra_ns;
}

static void deliver(void *ctx);

static void forward(struct packet *packet, const struct weir_sim_node *from)
{
    struct end *to = packet->to;
    int64_t now_ns = weir_sim_now_ns();
    int64_t at_ns = now_ns + weir_sim_latency_ns(from, to->node);
    to->last_ns = at_ns > to->last_ns ? at_ns : to->last_ns + 1;
    weir_sim_after(to->last_ns - now_ns, NULL, deliver, packet);
}

/* What was held goes on. The sender tries again from time to time, ever more rarely: the outage's length again until it does. */
static void release(struct end *end)
{
    if (weir_list_empty(&end->held)) {
        return;
    }
    int64_t now_ns = weir_sim_now_ns();
    int64_t held_ns = now_ns - end->held_since_ns;
    end->last_ns = now_ns + weir_sim_between(0, held_ns < SILENCE_NS ? SILENCE_NS : held_ns);
    for (struct weir_list *held = weir_list_pop_front(&end->held); held != NULL; held = weir_list_pop_front(&end->held)) {
        forward(WEIR_CONTAINER_OF(held, struct packet, node), other(end)->node);
    }
}

void weir_sim_link_heal(const struct weir_sim_node *from, const struct weir_sim_node *to)
{
    link_of(from, to)->cut = false;
    for (struct weir_list *at = weir_list_first(&net()->conns); at != NULL; at = weir_list_next(&net()->conns, at)) {
        struct conn *conn = WEIR_CONTAINER_OF(at, struct conn, node);
        for (int i = 0; i < 2; i++) {
            if (conn->ends[i].node == to && other(&conn->ends[i])->node == from) {
                release(&conn->ends[i]);
            }
        }
    }
}

void weir_sim_streams_powered(const struct weir_sim_node *node)
{
    for (uint32_t i = 0; i < weir_sim_node_count(); i++) {
        if (!weir_sim_link_is_cut(weir_sim_node_at(i), node)) {
            weir_sim_link_heal(weir_sim_node_at(i), node);
        }
    }
}

/* --- streams ------------------------------------------------------------------------------------------------------------ */

static void run_completion(void *ctx)
{
    struct completion *completion = ctx;
    struct weir_stream *stream = completion->stream;
    if (completion->send) {
        stream->callbacks.on_sent(stream->ctx, completion->rc);
    } else {
        stream->callbacks.on_received(stream->ctx, completion->rc, completion->bytes);
    }
    stream->running--;
    (void)weir_sim_wake_first(&stream->quiet);
    weir_free(completion);
}

static void complete(struct weir_stream *stream, bool send, enum weir_rc rc, size_t bytes)
{
    struct completion *completion = weir_calloc(1, sizeof(*completion));
    *completion = (struct completion){stream, send, rc, bytes};
    if (send) {
        stream->sending = false;
    } else {
        stream->receiving = false;
    }
    stream->running++;
    weir_sim_library(stream->end->node, run_completion, completion);
}

static void transmit(struct end *to, enum packet_kind kind, const uint8_t *bytes, size_t len)
{
    struct packet *packet = weir_calloc(1, sizeof(*packet));
    *packet = (struct packet){.to = to, .kind = kind, .number = to->sent++, .len = len};
    if (len > 0) {
        packet->bytes = weir_malloc(len);
        memcpy(packet->bytes, bytes, len);
    }
    forward(packet, other(to)->node);
}

static void reset(struct end *end)
{
    struct weir_stream *stream = end->stream;
    end->eof = end->reset = true;
    if (stream == NULL || end->node->incarnation != end->incarnation) {
        return;
    }
    if (stream->receiving) {
        complete(stream, false, WEIR_CLOSED, 0);
    }
    if (stream->sending) {
        complete(stream, true, WEIR_CLOSED, 0);
    }
}

static void give(struct end *end)
{
    struct weir_stream *stream = end->stream;
    size_t there = end->inbox.len - end->read;
    if (stream == NULL || !stream->receiving) {
        return;
    }
    if (there == 0 || end->reset) {
        if (end->eof) {
            complete(stream, false, WEIR_CLOSED, 0);
        }
        return;
    }
    size_t bytes = there < stream->into_max ? there : stream->into_max;
    if (bytes > 1 && weir_sim_one_in(8)) {
        bytes = 1 + weir_sim_below(bytes); /* in pieces */
    }
    memcpy(stream->into, end->inbox.data + end->read, bytes);
    end->read += bytes;
    if (end->read == end->inbox.len) {
        weir_buf_clear(&end->inbox);
        end->read = 0;
    }
    end->unread -= bytes;
    struct weir_stream *sender = other(end)->stream;
    if (sender != NULL && sender->sending && end->unread <= WINDOW_BYTES && other(end)->node->incarnation == other(end)->incarnation) {
        complete(sender, true, WEIR_OK, 0);
    }
    complete(stream, false, WEIR_OK, bytes);
}

static void stalled(void *ctx)
{
    struct end *end = ctx;
    if (!weir_list_empty(&end->held) && weir_sim_now_ns() - end->held_since_ns >= STALL_NS) {
        reset(end);
        reset(other(end));
    }
}

static void free_packet(struct packet *packet)
{
    weir_free(packet->bytes);
    weir_free(packet);
}

/* At the other machine, if the way is open. */
static void deliver(void *ctx)
{
    struct packet *packet = ctx;
    struct end *to = packet->to;
    const struct weir_sim_node *from = other(to)->node;
    if (weir_sim_link_is_cut(from, to->node) || to->node->power == WEIR_SIM_OFF) {
        if (weir_list_empty(&to->held)) {
            to->held_since_ns = weir_sim_now_ns();
            weir_sim_after(STALL_NS, NULL, stalled, to);
        }
        weir_list_push_back(&to->held, &packet->node);
        return;
    }
    if (packet->number != to->arrived && !to->reset) { /* it was under way while an earlier one waited */
        weir_list_push_back(&to->early, &packet->node);
        return;
    }
    to->arrived++;
    bool here = to->node->incarnation == to->incarnation && to->stream != NULL;
    if (packet->kind == PACKET_RST) {
        reset(to);
    } else if (!here) {
        if (packet->kind == PACKET_DATA) { /* nobody knows that connection */
            transmit(other(to), PACKET_RST, NULL, 0);
        }
    } else if (!to->eof) {
        to->eof = packet->kind == PACKET_FIN;
        weir_buf_put(&to->inbox, packet->bytes, packet->len);
        give(to);
    }
    free_packet(packet);
    for (struct weir_list *at = weir_list_first(&to->early); at != NULL; at = weir_list_next(&to->early, at)) {
        struct packet *early = WEIR_CONTAINER_OF(at, struct packet, node);
        if (early->number == to->arrived) {
            weir_list_remove(at);
            weir_sim_after(0, NULL, deliver, early);
            return;
        }
    }
}

static struct weir_stream *stream_create(struct end *end)
{
    struct weir_stream *stream = weir_calloc(1, sizeof(*stream));
    stream->end = end;
    end->stream = stream;
    return stream;
}

void weir_stream_attach(struct weir_stream *stream, const struct weir_stream_callbacks *callbacks, void *ctx)
{
    stream->callbacks = *callbacks;
    stream->ctx = ctx;
}

void weir_stream_send(struct weir_stream *stream, const struct weir_slice *runs, uint32_t count)
{
    struct end *to = other(stream->end);
    weir_assert(count > 0 && count <= WEIR_STREAM_RUNS_MAX);
    weir_assert(!stream->sending);
    weir_sim_yield_maybe();
    stream->sending = true;
    if (stream->closed || stream->end->reset) {
        complete(stream, true, WEIR_CLOSED, 0);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        to->unread += runs[i].len;
        size_t cut = runs[i].len > 1 && weir_sim_one_in(8) ? 1 + weir_sim_below(runs[i].len - 1) : runs[i].len;
        transmit(to, PACKET_DATA, runs[i].data, cut);
        if (cut < runs[i].len) {
            transmit(to, PACKET_DATA, runs[i].data + cut, runs[i].len - cut);
        }
    }
    if (to->unread <= WINDOW_BYTES) {
        complete(stream, true, WEIR_OK, 0);
    }
}

void weir_stream_receive(struct weir_stream *stream, uint8_t *into, size_t bytes_max)
{
    weir_assert(!stream->receiving);
    weir_sim_yield_maybe();
    stream->receiving = true;
    stream->into = into;
    stream->into_max = bytes_max;
    if (stream->closed) {
        complete(stream, false, WEIR_CLOSED, 0);
    } else {
        give(stream->end);
    }
}

const char *weir_stream_peer_role(struct weir_stream *stream)
{
    (void)stream;
    return "";
}

void weir_stream_close(struct weir_stream *stream)
{
    weir_sim_yield_maybe();
    if (stream->closed) {
        return;
    }
    stream->closed = true;
    if (stream->sending) {
        complete(stream, true, WEIR_CLOSED, 0);
    }
    if (stream->receiving) {
        complete(stream, false, WEIR_CLOSED, 0);
    }
    transmit(other(stream->end), PACKET_FIN, NULL, 0);
}

void weir_stream_destroy(struct weir_stream *stream)
{
    if (stream == NULL) {
        return;
    }
    weir_stream_close(stream);
    while (stream->running > 0) {
        (void)weir_sim_wait_in(&stream->quiet, INT64_MAX);
    }
    stream->end->stream = NULL;
    weir_buf_fini(&stream->end->inbox);
    weir_free(stream);
}

/* --- listening ---------------------------------------------------------------------------------------------------------- */

static struct weir_stream_listener *listener_at(const char *host, uint16_t port)
{
    for (struct weir_list *at = weir_list_first(&net()->listeners); at != NULL; at = weir_list_next(&net()->listeners, at)) {
        struct weir_stream_listener *listener = WEIR_CONTAINER_OF(at, struct weir_stream_listener, node);
        if (listener->port == port && strcmp(listener->owner->host, host) == 0 && listener->owner->incarnation == listener->incarnation) {
            return listener;
        }
    }
    return NULL;
}

enum weir_rc weir_stream_listen(const char *host, uint16_t port, const struct weir_stream_guard *guard,
                                void (*on_accept)(void *ctx, struct weir_stream *stream_take), void *ctx,
                                struct weir_stream_listener **out_listener, struct weir_error *err)
{
    weir_assert(guard == NULL || guard->tls == NULL); /* TLS is not what is simulated */
    struct weir_sim_node *node = weir_sim_node_here();
    weir_assert(strcmp(host, node->host) == 0);
    if (port != 0 && listener_at(host, port) != NULL) {
        return weir_error_set(err, WEIR_EXISTS, "cannot listen on %s:%u: the port is taken", host, port);
    }
    struct weir_stream_listener *listener = weir_calloc(1, sizeof(*listener));
    *listener = (struct weir_stream_listener){.owner = node, .incarnation = node->incarnation, .port = port, .on_accept = on_accept, .ctx = ctx};
    if (port == 0) {
        listener->port = ++net()->ports;
    }
    weir_list_push_back(&net()->listeners, &listener->node);
    *out_listener = listener;
    return WEIR_OK;
}

uint16_t weir_stream_listener_port(const struct weir_stream_listener *listener)
{
    return listener->port;
}

void weir_stream_listener_destroy(struct weir_stream_listener *listener)
{
    if (listener == NULL) {
        return;
    }
    weir_list_remove(&listener->node);
    while (listener->running > 0) {
        (void)weir_sim_wait_in(&listener->quiet, INT64_MAX);
    }
    weir_free(listener);
}

/* --- dialing ------------------------------------------------------------------------------------------------------------ */

static struct weir_sim_node *node_of_host(const char *host)
{
    for (uint32_t i = 0; i < weir_sim_node_count(); i++) {
        if (strcmp(weir_sim_node_at(i)->host, host) == 0) {
            return weir_sim_node_at(i);
        }
    }
    return NULL;
}

static void dial_unref(struct weir_stream_dial *dial)
{
    if (--dial->refs == 0) {
        weir_free(dial);
    }
}

static void run_dialed(void *ctx)
{
    struct weir_stream_dial *dial = ctx;
    dial->on_dialed(dial->ctx, dial->rc, dial->stream);
    dial->over = true;
    (void)weir_sim_wake_first(&dial->quiet);
    dial_unref(dial);
}

static void dial_answer(struct weir_stream_dial *dial, enum weir_rc rc, struct weir_stream *stream)
{
    if (!dial->answered) {
        dial->answered = true;
        dial->rc = rc;
        dial->stream = stream;
        dial->refs++;
        weir_sim_library(dial->owner, run_dialed, dial);
    }
}

static void dial_timeout(void *ctx)
{
    struct weir_stream_dial *dial = ctx;
    dial_answer(dial, WEIR_TIMEOUT, NULL);
    dial_unref(dial);
}

struct handshake {
    struct weir_stream_dial *dial;
    uint32_t tries;
    struct conn *conn; /* NULL: refused */
    struct weir_stream_listener *listener;
    struct weir_stream *stream;
};

static void run_accept(void *ctx)
{
    struct handshake *accepted = ctx;
    struct weir_stream_listener *listener = accepted->listener;
    listener->on_accept(listener->ctx, accepted->stream);
    listener->running--;
    (void)weir_sim_wake_first(&listener->quiet);
    weir_free(accepted);
}

/* Back at the dialing machine. */
static void dial_returns(void *ctx)
{
    struct handshake *handshake = ctx;
    struct weir_stream_dial *dial = handshake->dial;
    struct conn *conn = handshake->conn;
    bool here = dial->owner->incarnation == dial->incarnation;
    weir_free(handshake);
    if (conn != NULL && (!here || dial->answered)) {
        transmit(&conn->ends[1], PACKET_RST, NULL, 0);
    } else if (here) {
        dial_answer(dial, conn == NULL ? WEIR_CLOSED : WEIR_OK, conn == NULL ? NULL : stream_create(&conn->ends[0]));
    }
    if (here) {
        dial_unref(dial);
    }
}

static struct conn *conn_create(struct weir_sim_node *a, struct weir_sim_node *b)
{
    struct conn *conn = weir_calloc(1, sizeof(*conn));
    for (int i = 0; i < 2; i++) {
        struct weir_sim_node *node = i == 0 ? a : b;
        conn->ends[i] = (struct end){.conn = conn, .node = node, .incarnation = node->incarnation};
        weir_list_init(&conn->ends[i].held);
        weir_list_init(&conn->ends[i].early);
    }
    weir_list_push_back(&net()->conns, &conn->node);
    return conn;
}

/* At the machine that is dialed. */
static void dial_arrives(void *ctx)
{
    struct handshake *handshake = ctx;
    struct weir_stream_dial *dial = handshake->dial;
    struct weir_sim_node *to = node_of_host(dial->host);
    bool lost = dial->owner->incarnation != dial->incarnation || to == NULL || to->power == WEIR_SIM_OFF || weir_sim_link_is_cut(dial->owner, to);
    struct weir_stream_listener *listener = lost ? NULL : listener_at(dial->host, dial->port);
    if (listener != NULL) {
        handshake->conn = conn_create(dial->owner, to);
        struct handshake *accepted = weir_calloc(1, sizeof(*accepted));
        *accepted = (struct handshake){.listener = listener, .stream = stream_create(&handshake->conn->ends[1])};
        listener->running++;
        weir_sim_library(to, run_accept, accepted);
    }
    if (to == NULL || dial->owner->incarnation != dial->incarnation || dial->answered) { /* nobody waits any more */
        if (dial->owner->incarnation == dial->incarnation) {
            dial_unref(dial);
        }
        weir_free(handshake);
        return;
    }
    if (lost || weir_sim_link_is_cut(to, dial->owner)) {
        handshake->conn = NULL;
        weir_sim_after(SYN_NS << handshake->tries++, dial->owner, dial_arrives, handshake);
        return;
    }
    weir_sim_after(weir_sim_latency_ns(to, dial->owner), dial->owner, dial_returns, handshake);
}

enum weir_rc weir_stream_dial(const char *address, const struct weir_stream_guard *guard, uint32_t timeout_ms,
                              void (*on_dialed)(void *ctx, enum weir_rc rc, struct weir_stream *stream_take), void *ctx,
                              struct weir_stream_dial **out_dial, struct weir_error *err)
{
    weir_assert(guard == NULL || guard->tls == NULL);
    const char *colon = strrchr(address, ':');
    struct weir_sim_node *node = weir_sim_node_here();
    if (colon == NULL || (size_t)(colon - address) >= sizeof(((struct weir_stream_dial *)NULL)->host)) {
        return weir_error_set(err, WEIR_INVALID, "cannot dial %s", address);
    }
    struct weir_stream_dial *dial = weir_calloc(1, sizeof(*dial));
    *dial = (struct weir_stream_dial){.owner = node, .incarnation = node->incarnation, .port = (uint16_t)strtoul(colon + 1, NULL, 10),
                                      .on_dialed = on_dialed, .ctx = ctx, .refs = 3};
    memcpy(dial->host, address, (size_t)(colon - address));
    struct handshake *handshake = weir_calloc(1, sizeof(*handshake));
    handshake->dial = dial;
    struct weir_sim_node *to = node_of_host(dial->host);
    *out_dial = dial;
    weir_sim_after(to == NULL ? 0 : weir_sim_latency_ns(node, to), node, dial_arrives, handshake);
    weir_sim_after((int64_t)timeout_ms * 1000000 + DIAL_PATIENCE_NS, node, dial_timeout, dial);
    return WEIR_OK;
}

void weir_stream_dial_destroy(struct weir_stream_dial *dial)
{
    if (dial == NULL) {
        return;
    }
    dial_answer(dial, WEIR_CLOSED, NULL);
    while (!dial->over) {
        (void)weir_sim_wait_in(&dial->quiet, INT64_MAX);
    }
    dial_unref(dial);
}

/* --- faults ------------------------------------------------------------------------------------------------------------- */

uint32_t weir_sim_links_reset(const struct weir_sim_node *node, uint64_t n)
{
    uint32_t count = 0;
    for (struct weir_list *at = weir_list_first(&net()->conns); at != NULL; at = weir_list_next(&net()->conns, at)) {
        struct conn *conn = WEIR_CONTAINER_OF(at, struct conn, node);
        bool of_node = conn->ends[0].node == node || conn->ends[1].node == node;
        bool live = conn->ends[0].stream != NULL && conn->ends[1].stream != NULL && !conn->ends[0].eof && !conn->ends[1].eof;
        if (of_node && live && weir_sim_one_in(n)) {
            reset(&conn->ends[0]);
            reset(&conn->ends[1]);
            count++;
        }
    }
    return count;
}

void weir_sim_streams_died(const struct weir_sim_node *node, bool silently)
{
    struct weir_list *next = NULL;
    for (struct weir_list *at = weir_list_first(&net()->conns); at != NULL; at = weir_list_next(&net()->conns, at)) {
        struct conn *conn = WEIR_CONTAINER_OF(at, struct conn, node);
        for (int i = 0; i < 2; i++) {
            struct end *end = &conn->ends[i];
            if (end->node == node && end->stream != NULL) {
                end->stream = NULL;
                if (!silently) {
                    transmit(other(end), weir_sim_one_in(2) ? PACKET_FIN : PACKET_RST, NULL, 0);
                }
            }
        }
    }
    for (struct weir_list *at = weir_list_first(&net()->listeners); at != NULL; at = next) {
        next = weir_list_next(&net()->listeners, at);
        struct weir_stream_listener *listener = WEIR_CONTAINER_OF(at, struct weir_stream_listener, node);
        if (listener->owner == node) {
            weir_list_remove(&listener->node);
        }
    }
}
