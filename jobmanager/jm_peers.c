#include "jobmanager/jm_peers.h"

#include <stdio.h>

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/base/version.h"
#include "jobmanager/jm_retire.h"
#include "proto/methods.h"
#include "proto/pb.h"
#include "proto/raft.pb-c.h"

enum {
    HELLO_DEADLINE_MS = 1000,
    RAFT_DEADLINE_MS = 2000,
    CALLS_MAX = 320, /* the chunks of the longest message of Raft, and some heartbeats */
};

/* What a client's callbacks get: it lives as long as the client. */
struct link {
    struct weir_jm_peers *peers;
    uint64_t number;
};

struct peer {
    uint64_t number; /* of all that ever were: callbacks may come after its end */
    char *address;
    struct weir_rpc_client *client;
    struct link *link;
    int64_t hello_due_ms; /* INT64_MAX: one is under way */
    bool hello_again;     /* ... that says what is no longer so */
    struct weir_jm_peer known;
    char *rest_address;
};

struct weir_jm_peers {
    struct weir_jm_peers_options options;
    struct peer items[WEIR_JM_PEERS_MAX];
    uint32_t count;
    uint64_t numbers;
    bool stopped;
};

static int64_t now_ms(const struct weir_jm_peers *peers)
{
    return weir_clock_mono_ms(peers->options.clock);
}

static struct peer *by_number(struct weir_jm_peers *peers, uint64_t number)
{
    for (uint32_t i = 0; i < peers->count; i++) {
        if (peers->items[i].number == number) {
            return &peers->items[i];
        }
    }
    return NULL;
}

static struct peer *by_address(struct weir_jm_peers *peers, const char *address)
{
    for (uint32_t i = 0; i < peers->count; i++) {
        if (strcmp(peers->items[i].address, address) == 0) {
            return &peers->items[i];
        }
    }
    return NULL;
}

/* --- hello ------------------------------------------------------------------------------------------------------------ */
struct answer {
    struct weir_jm_peers *peers;
    uint64_t number;
    enum weir_rc rc;
    struct weir_buf body;
    char text[WEIR_ERROR_TEXT_MAX];
};

static void answer_free(void *payload)
{
    struct answer *answer = payload;
    weir_buf_fini(&answer->body);
    weir_free(answer);
}

static void take_reply(struct weir_jm_peers *peers, struct peer *peer, const Weir__Raft__HelloReply *reply)
{
    weir_free(peer->rest_address);
    peer->rest_address = weir_strdup(reply->rest_address);
    peer->known = (struct weir_jm_peer){.address = peer->address,
                                        .id = reply->id,
                                        .incarnation = reply->incarnation,
                                        .empty = reply->empty != 0,
                                        .term = reply->term,
                                        .rest_address = peer->rest_address,
                                        .known_incarnation = reply->known_incarnation,
                                        .heard_ms = now_ms(peers)};
    struct weir_jm_peer told = peer->known;
    struct weir_jm_word word = {.count = 0};
    if (reply->members != NULL) {
        word = (struct weir_jm_word){.addresses = reply->members->jobmanagers,
                                     .count = reply->members->n_jobmanagers,
                                     .log_term = reply->members->last_log_term,
                                     .log_index = reply->members->last_log_index};
    }
    peers->options.heard(peers->options.ctx, &told, reply->members == NULL ? NULL : &word);
}

static void run_answer(void *payload)
{
    struct answer *answer = payload;
    struct weir_jm_peers *peers = answer->peers;
    struct peer *peer = by_number(peers, answer->number);
    Weir__Raft__HelloReply *reply = NULL;
    struct weir_error err;
    if (peer != NULL) {
        peer->hello_due_ms = now_ms(peers) + (peer->hello_again ? 0 : WEIR_JM_HELLO_MS);
        peer->hello_again = false;
    }
    if (peer != NULL && answer->rc == WEIR_STALE) {
        peers->options.removed(peers->options.ctx, peer->address, answer->text);
    } else if (peer != NULL && answer->rc == WEIR_OK) {
        if (weir_pb_decode(&weir__raft__hello_reply__descriptor, weir_buf_slice(&answer->body), &reply, &err) == WEIR_OK) {
            take_reply(peers, peer, reply);
        } else {
            weir_log(peers->options.log, WEIR_LOG_WARN, "hello_unreadable", "peer", peer->address, "why", err.text, NULL);
        }
    }
    weir_pb_free(reply);
    answer_free(answer);
}

/* On a library thread. */
static void hello_on_done(void *ctx, enum weir_rc rc, struct weir_slice body, const char *text)
{
    struct answer *answer = ctx;
    answer->rc = rc;
    weir_buf_put_slice(&answer->body, body);
    (void)snprintf(answer->text, sizeof(answer->text), "%s", text);
    struct weir_mail mail = {.run = run_answer, .drop = answer_free, .payload = answer};
    if (weir_mailbox_post_reserved(answer->peers->options.mailbox, mail) != WEIR_OK) {
        answer_free(answer);
    }
}

static void say_hello(struct weir_jm_peers *peers, struct peer *peer)
{
    peer->hello_due_ms = now_ms(peers) + WEIR_JM_HELLO_MS;
    if (weir_mailbox_reserve(peers->options.mailbox) != WEIR_OK) {
        return;
    }
    struct answer *answer = weir_calloc(1, sizeof(*answer));
    *answer = (struct answer){.peers = peers, .number = peer->number};
    struct weir_buf body = {0};
    struct weir_error err;
    peers->options.hello(peers->options.ctx, &body);
    peer->hello_due_ms = INT64_MAX;
    if (weir_rpc_call(peer->client, WEIR_METHOD_JM_HELLO, weir_buf_slice(&body), HELLO_DEADLINE_MS, hello_on_done, answer, &err) != WEIR_OK) {
        peer->hello_due_ms = now_ms(peers) + WEIR_JM_HELLO_MS;
        weir_mailbox_unreserve(peers->options.mailbox);
        answer_free(answer);
    }
    weir_buf_fini(&body);
}

static void run_connected(void *payload)
{
    struct link *link = payload;
    struct peer *peer = by_number(link->peers, link->number);
    if (peer != NULL && peer->hello_due_ms != INT64_MAX && !link->peers->stopped) {
        say_hello(link->peers, peer);
    }
    weir_free(link);
}

/* On a library thread. A mail that finds no room is made good by the next hello. */
static void on_connected(void *ctx)
{
    const struct link *link = ctx;
    struct link *copy = weir_malloc(sizeof(*copy));
    *copy = *link;
    struct weir_mail mail = {.run = run_connected, .drop = weir_free, .payload = copy};
    if (weir_mailbox_post(link->peers->options.mailbox, WEIR_MAIL_CONTROL, mail) != WEIR_OK) {
        weir_free(copy);
    }
}

/* --- who there is ----------------------------------------------------------------------------------------------------- */
static void add(struct weir_jm_peers *peers, const char *address)
{
    struct link *link = weir_malloc(sizeof(*link));
    *link = (struct link){.peers = peers, .number = ++peers->numbers};
    char *url = weir_strfmt("tcp://%s", address);
    const struct weir_rpc_client_options options = {.address = url,
                                                    .cluster_id = peers->options.cluster_id,
                                                    .role = WEIR_ROLE_JOBMANAGER,
                                                    .name = "jobmanager",
                                                    .server_role = WEIR_ROLE_JOBMANAGER,
                                                    .protocol_version = WEIR_PROTOCOL_VERSION,
                                                    .calls_max = CALLS_MAX,
                                                    .log = peers->options.log,
                                                    .tls = peers->options.tls};
    const struct weir_rpc_client_callbacks callbacks = {.on_connected = on_connected};
    struct weir_rpc_client *client = NULL;
    struct weir_error err;
    struct peer *peer = &peers->items[peers->count];
    *peer = (struct peer){.number = link->number,
                          .address = weir_strdup(address),
                          .link = link,
                          .hello_due_ms = now_ms(peers),
                          .rest_address = weir_strdup("")};
    peer->known = (struct weir_jm_peer){.address = peer->address, .rest_address = peer->rest_address, .heard_ms = INT64_MIN};
    if (weir_rpc_client_create(&options, &callbacks, link, &client, &err) == WEIR_OK) {
        peer->client = client;
        peers->count++;
    } else {
        weir_log(peers->options.log, WEIR_LOG_ERROR, "jobmanager_unreachable", "peer", address, "why", err.text, NULL);
        weir_free(peer->address);
        weir_free(peer->rest_address);
        weir_free(link);
    }
    weir_free(url);
}

static void drop(struct weir_jm_peers *peers, uint32_t at)
{
    struct peer peer = peers->items[at];
    peers->items[at] = peers->items[--peers->count];
    weir_jm_client_retire(peer.client, peer.link, peers->stopped ? NULL : peers->options.pool, peers->options.mailbox);
    weir_free(peer.rest_address);
    weir_free(peer.address);
}

void weir_jm_peers_set(struct weir_jm_peers *peers, const char *const *addresses, uint32_t count)
{
    count = count < WEIR_JM_PEERS_MAX ? count : WEIR_JM_PEERS_MAX; /* so that one left out makes room, too */
    for (uint32_t i = peers->count; i > 0; i--) {
        uint32_t k = 0;
        while (k < count && strcmp(addresses[k], peers->items[i - 1].address) != 0) {
            k++;
        }
        if (k == count) {
            drop(peers, i - 1);
        }
    }
    for (uint32_t k = 0; k < count && peers->count < WEIR_JM_PEERS_MAX && !peers->stopped; k++) {
        if (by_address(peers, addresses[k]) == NULL) {
            add(peers, addresses[k]);
        }
    }
}

struct weir_jm_peers *weir_jm_peers_create(const struct weir_jm_peers_options *options)
{
    struct weir_jm_peers *peers = weir_calloc(1, sizeof(*peers));
    peers->options = *options;
    return peers;
}

void weir_jm_peers_stop(struct weir_jm_peers *peers)
{
    peers->stopped = true;
    for (uint32_t i = 0; i < peers->count; i++) {
        weir_rpc_client_stop(peers->items[i].client);
    }
}

void weir_jm_peers_destroy(struct weir_jm_peers *peers)
{
    if (peers == NULL) {
        return;
    }
    peers->stopped = true;
    while (peers->count > 0) {
        drop(peers, peers->count - 1);
    }
    weir_free(peers);
}

/* --- Raft ------------------------------------------------------------------------------------------------------------- */
static void raft_on_done(void *ctx, enum weir_rc rc, struct weir_slice body, const char *text)
{
    (void)ctx; /* Raft hears by messages, and sends again; why one is refused the hello says */
    (void)rc;
    (void)body;
    (void)text;
}

void weir_jm_peers_send(struct weir_jm_peers *peers, uint64_t id, const char *address, struct weir_slice body)
{
    struct peer *peer = by_address(peers, address);
    for (uint32_t i = 0; peer == NULL && i < peers->count; i++) {
        peer = peers->items[i].known.id == id ? &peers->items[i] : NULL;
    }
    if (peer == NULL && address[0] != '\0' && peers->count < WEIR_JM_PEERS_MAX && !peers->stopped) {
        add(peers, address); /* a new member; this message is lost */
        return;
    }
    struct weir_error err;
    if (peer != NULL && weir_rpc_client_is_connected(peer->client) &&
        weir_rpc_call(peer->client, WEIR_METHOD_RAFT, body, RAFT_DEADLINE_MS, raft_on_done, NULL, &err) != WEIR_OK) {
        weir_log(peers->options.log, WEIR_LOG_DEBUG, "raft_message_dropped", "peer", peer->address, "why", err.text, NULL);
    }
}

/* --- time and views --------------------------------------------------------------------------------------------------- */
void weir_jm_peers_hello_soon(struct weir_jm_peers *peers)
{
    for (uint32_t i = 0; i < peers->count; i++) {
        peers->items[i].hello_again = peers->items[i].hello_due_ms == INT64_MAX;
        peers->items[i].hello_due_ms = peers->items[i].hello_again ? INT64_MAX : now_ms(peers);
    }
}

void weir_jm_peers_tick(struct weir_jm_peers *peers)
{
    for (uint32_t i = 0; i < peers->count && !peers->stopped; i++) {
        struct peer *peer = &peers->items[i];
        if (peer->hello_due_ms <= now_ms(peers)) {
            say_hello(peers, peer);
        }
    }
}

int64_t weir_jm_peers_deadline_ms(const struct weir_jm_peers *peers)
{
    int64_t deadline_ms = INT64_MAX;
    for (uint32_t i = 0; i < peers->count && !peers->stopped; i++) {
        deadline_ms = peers->items[i].hello_due_ms < deadline_ms ? peers->items[i].hello_due_ms : deadline_ms;
    }
    return deadline_ms;
}

uint32_t weir_jm_peers_count(const struct weir_jm_peers *peers)
{
    return peers->count;
}

void weir_jm_peers_at(const struct weir_jm_peers *peers, uint32_t i, struct weir_jm_peer *out_peer)
{
    weir_assert(i < peers->count);
    *out_peer = peers->items[i].known;
}

bool weir_jm_peers_find(const struct weir_jm_peers *peers, const char *address, struct weir_jm_peer *out_peer)
{
    for (uint32_t i = 0; i < peers->count; i++) {
        if (strcmp(peers->items[i].address, address) == 0) {
            *out_peer = peers->items[i].known;
            return true;
        }
    }
    return false;
}

bool weir_jm_peers_find_id(const struct weir_jm_peers *peers, uint64_t id, struct weir_jm_peer *out_peer)
{
    for (uint32_t i = 0; i < peers->count; i++) {
        if (peers->items[i].known.id == id && id != 0) {
            *out_peer = peers->items[i].known;
            return true;
        }
    }
    return false;
}
