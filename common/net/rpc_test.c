#include "common/net/rpc.h"

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/net/rpc_frame.h"
#include "common/runtime/sync.h"
#include "common/runtime/thread.h"
#include "tests/lib/test_tls.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <nng/nng.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { ECHO = 1, HOLD = 2, FAIL = 3, LATER = 4, HELD_MAX = 64, REQUESTS_MAX = 60 };

static struct weir_mutex *mutex_create(void)
{
    struct weir_mutex *mutex = weir_malloc(sizeof(*mutex));
    weir_mutex_init(mutex);
    return mutex;
}

/* Both ends of a test: the server's behaviour by method, and what happened. */
struct rig {
    struct weir_mutex *mutex; /* guards all below */
    struct weir_cond cond;
    struct weir_rpc_server *server;
    struct weir_rpc_client *client;
    char address[64];
    struct weir_rpc_request *held[HELD_MAX];
    uint32_t held_count;
    uint32_t peers_closed;
    uint32_t connects;
    uint32_t disconnects;
    uint32_t done;
    uint32_t by_rc[WEIR_RC_COUNT_];
    uint32_t wrong;
    char text[WEIR_ERROR_TEXT_MAX];
    uint64_t peer_last;
    bool secure;
    struct weir_test_tls certs;
    struct weir_tls *server_tls, *client_tls; /* NULL: plain */
};

static void rig_changed(struct rig *rig)
{
    weir_cond_broadcast(&rig->cond);
    weir_mutex_unlock(rig->mutex);
}

static void rig_on_request(void *ctx, struct weir_rpc_request *request_take)
{
    struct rig *rig = ctx;
    ck_assert_str_eq(weir_rpc_request_peer_role(request_take), "taskmanager");
    ck_assert_str_eq(weir_rpc_request_peer_name(request_take), "tm1");
    uint16_t method = weir_rpc_request_method(request_take);
    if (method == HOLD || method == LATER) {
        weir_mutex_lock(rig->mutex);
        ck_assert_uint_lt(rig->held_count, HELD_MAX);
        rig->peer_last = weir_rpc_request_peer(request_take);
        rig->held[rig->held_count++] = request_take;
        rig_changed(rig);
    } else if (method == FAIL) {
        weir_rpc_reply(request_take, WEIR_STALE, weir_slice_str("epoch 3 is over"));
    } else {
        weir_rpc_reply(request_take, WEIR_OK, weir_rpc_request_body(request_take));
    }
}

static void rig_on_peer_closed(void *ctx, uint64_t peer)
{
    struct rig *rig = ctx;
    ck_assert_uint_ne(peer, 0);
    weir_mutex_lock(rig->mutex);
    rig->peers_closed++;
    rig_changed(rig);
}

static void rig_on_connected(void *ctx)
{
    struct rig *rig = ctx;
    weir_mutex_lock(rig->mutex);
    rig->connects++;
    rig_changed(rig);
}

static void rig_on_disconnected(void *ctx)
{
    struct rig *rig = ctx;
    weir_mutex_lock(rig->mutex);
    rig->disconnects++;
    rig_changed(rig);
}

static void rig_on_done(void *ctx, enum weir_rc rc, struct weir_slice body, const char *text)
{
    (void)body;
    struct rig *rig = ctx;
    weir_mutex_lock(rig->mutex);
    rig->done++;
    rig->by_rc[rc]++;
    (void)snprintf(rig->text, sizeof(rig->text), "%s", text);
    rig_changed(rig);
}

/* Waits until the counter reaches the value; 100 s is "never". */
static void rig_wait(struct rig *rig, const uint32_t *counter, uint32_t value)
{
    int64_t limit_ns = weir_clock_mono_ns(weir_clock_real()) + 100 * 1000000000ll;
    weir_mutex_lock(rig->mutex);
    while (*counter < value) {
        ck_assert_msg(weir_cond_wait_until(&rig->cond, rig->mutex, limit_ns), "waited 100 s for %u, still %u", value, *counter);
    }
    weir_mutex_unlock(rig->mutex);
}

static uint32_t rig_count(const struct rig *rig, const uint32_t *counter)
{
    weir_mutex_lock(rig->mutex);
    uint32_t value = *counter;
    weir_mutex_unlock(rig->mutex);
    return value;
}

static void rig_serve(struct rig *rig, const char *address)
{
    struct weir_error err;
    struct weir_rpc_server_callbacks callbacks = {rig_on_request, rig_on_peer_closed};
    struct weir_rpc_server_options options = {.address = address,
                                              .cluster_id = "alpha",
                                              .role = "jobmanager",
                                              .name = "jm1",
                                              .protocol_version = 7,
                                              .tls = rig->server_tls,
                                              .requests_max = REQUESTS_MAX,
                                              .connections_max = 4};
    ck_assert_msg(weir_rpc_server_create(&options, &callbacks, rig, &rig->server, &err) == WEIR_OK, "%s", err.text);
    (void)snprintf(rig->address, sizeof(rig->address), "tcp://127.0.0.1:%u", weir_rpc_server_port(rig->server));
}

static struct weir_rpc_client_options client_options(const struct rig *rig)
{
    return (struct weir_rpc_client_options){.address = rig->address,
                                            .cluster_id = "alpha",
                                            .role = "taskmanager",
                                            .name = "tm1",
                                            .server_role = "jobmanager",
                                            .tls = rig->client_tls,
                                            .protocol_version = 7};
}

static void rig_connect(struct rig *rig, const struct weir_rpc_client_options *options)
{
    struct weir_error err;
    struct weir_rpc_client_callbacks callbacks = {rig_on_connected, rig_on_disconnected};
    ck_assert_msg(weir_rpc_client_create(options, &callbacks, rig, &rig->client, &err) == WEIR_OK, "%s", err.text);
}

/* secure: the same by TLS. */
static void rig_init(struct rig *rig, bool secure)
{
    memset(rig, 0, sizeof(*rig));
    rig->secure = secure;
    if (secure) {
        weir_test_tls_init(&rig->certs);
        rig->server_tls = weir_test_tls_node(&rig->certs, "jobmanager");
        rig->client_tls = weir_test_tls_node(&rig->certs, "taskmanager");
    }
    rig->mutex = mutex_create();
    weir_cond_init(&rig->cond);
    rig_serve(rig, "tcp://127.0.0.1:0");
}

static void rig_fini(struct rig *rig)
{
    weir_rpc_client_destroy(rig->client);
    weir_rpc_server_destroy(rig->server);
    for (uint32_t i = 0; i < rig->held_count; i++) {
        weir_rpc_reply(rig->held[i], WEIR_CANCELED, weir_slice(NULL, 0)); /* legal after destroy */
    }
    if (rig->secure) {
        weir_tls_destroy(rig->server_tls);
        weir_tls_destroy(rig->client_tls);
        weir_test_tls_fini(&rig->certs);
    }
    weir_cond_fini(&rig->cond);
    weir_mutex_fini(rig->mutex);
    weir_free(rig->mutex);
    nng_fini();
}

static enum weir_rc rig_call(struct rig *rig, uint16_t method, const char *body, uint32_t deadline_ms)
{
    struct weir_error err;
    return weir_rpc_call(rig->client, method, weir_slice_str(body), deadline_ms, rig_on_done, rig, &err);
}

START_TEST(frames_survive_the_wire_and_damage_is_noticed)
{
    uint8_t body[300];
    for (size_t i = 0; i < sizeof(body); i++) {
        body[i] = (uint8_t)(i * 7);
    }
    struct weir__rpc_frame frame = {.id = 70000, .method = 513, .flags = 3, .rc = WEIR_STALE, .body = weir_slice(body, sizeof(body))};
    struct weir_buf wire = {0};
    weir__rpc_frame_encode(&frame, &wire);
    struct weir__rpc_frame back;
    const char *why = NULL;
    size_t bytes = 0;
    ck_assert_int_eq(weir__rpc_frame_decode(weir_buf_slice(&wire), 300, &back, &bytes, &why), WEIR_OK);
    ck_assert_uint_eq(bytes, wire.len);
    ck_assert_uint_eq(back.id, 70000);
    ck_assert_uint_eq(back.method, 513);
    ck_assert_uint_eq(back.flags, 3);
    ck_assert_int_eq(back.rc, WEIR_STALE);
    ck_assert(weir_slice_eq(back.body, frame.body));
    ck_assert_int_eq(weir__rpc_frame_decode(weir_buf_slice(&wire), 299, &back, &bytes, &why), WEIR_LIMIT);
    for (size_t cut = 0; cut < wire.len; cut++) {
        ck_assert_int_eq(weir__rpc_frame_decode(weir_slice(wire.data, cut), 300, &back, &bytes, &why), WEIR_AGAIN);
        ck_assert_uint_eq(bytes, cut < WEIR__RPC_HEADER_BYTES ? WEIR__RPC_HEADER_BYTES : wire.len);
    }
    for (size_t bit = 0; bit < wire.len * 8; bit++) {
        wire.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        ck_assert_msg(weir__rpc_frame_decode(weir_buf_slice(&wire), 300, &back, &bytes, &why) != WEIR_OK, "bit %zu", bit);
        wire.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    weir_buf_fini(&wire);
}
END_TEST

START_TEST(addresses_are_parsed)
{
    static const char *const bad[] = {"", "tcp://", "tcp://:1", "tcp://a", "tcp://a:", "tcp://a:x", "tcp://a:65536", "tcp://a:-1",
                                      "ipc://a:1", "a:1"};
    struct weir_error err;
    char *host = NULL;
    uint16_t port = 0;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(weir__rpc_address_parse(bad[i], &host, &port, &err) == WEIR_INVALID, "%s", bad[i]);
    }
    ck_assert_int_eq(weir__rpc_address_parse("tcp://[::1]:65535", &host, &port, &err), WEIR_OK);
    ck_assert_str_eq(host, "[::1]");
    ck_assert_uint_eq(port, 65535);
    weir_free(host);
}
END_TEST

/* One of many callers: keeps calls outstanding from the completion of the one before. */
struct caller {
    struct rig *rig;
    struct weir_rand rand;
    uint32_t left;
    struct weir_buf sent;
};

static void caller_on_done(void *ctx, enum weir_rc rc, struct weir_slice body, const char *text);

static void caller_next(struct caller *caller)
{
    struct weir_error err;
    weir_buf_clear(&caller->sent);
    size_t len = weir_rand_below(&caller->rand, 10) == 0 ? weir_rand_below(&caller->rand, 200000)
                                                         : weir_rand_below(&caller->rand, 200);
    memset(weir_buf_reserve(&caller->sent, len), (int)weir_rand_below(&caller->rand, 256), len);
    caller->sent.len = len;
    enum weir_rc rc = weir_rpc_call(caller->rig->client, ECHO, weir_buf_slice(&caller->sent), 30000, caller_on_done, caller, &err);
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
}

static void caller_on_done(void *ctx, enum weir_rc rc, struct weir_slice body, const char *text)
{
    struct caller *caller = ctx;
    bool good = rc == WEIR_OK && weir_slice_eq(body, weir_buf_slice(&caller->sent));
    weir_mutex_lock(caller->rig->mutex);
    caller->rig->wrong += good ? 0 : 1;
    caller->rig->done++;
    if (!good) {
        (void)snprintf(caller->rig->text, sizeof(caller->rig->text), "%s %s", weir_rc_name(rc), text);
    }
    rig_changed(caller->rig);
    if (--caller->left > 0) {
        caller_next(caller);
    }
}

START_TEST(thousands_of_calls_each_get_their_own_answer)
{
    enum { CALLERS = 50, EACH = 100 };
    struct rig rig;
    rig_init(&rig, _i == 1);
    struct weir_rpc_client_options options = client_options(&rig);
    options.calls_max = 2 * CALLERS;
    rig_connect(&rig, &options);
    struct caller callers[CALLERS];
    for (uint32_t i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.rig = &rig, .left = EACH};
        weir_rand_init(&callers[i].rand, i);
        caller_next(&callers[i]);
    }
    rig_wait(&rig, &rig.done, CALLERS * EACH);
    ck_assert_msg(rig.wrong == 0, "%u wrong, last %s", rig.wrong, rig.text);
    struct weir_rpc_server_stats stats;
    weir_rpc_server_stats(rig.server, &stats);
    ck_assert_uint_eq(stats.requests, CALLERS * EACH);
    ck_assert_uint_eq(rig.connects, 1);
    rig_fini(&rig);
    for (uint32_t i = 0; i < CALLERS; i++) {
        weir_buf_fini(&callers[i].sent);
    }
}
END_TEST

START_TEST(the_servers_code_and_text_come_back)
{
    struct rig rig;
    rig_init(&rig, _i == 1);
    struct weir_rpc_client_options options = client_options(&rig);
    rig_connect(&rig, &options);
    ck_assert_int_eq(rig_call(&rig, FAIL, "", 30000), WEIR_OK);
    rig_wait(&rig, &rig.done, 1);
    ck_assert_uint_eq(rig.by_rc[WEIR_STALE], 1);
    ck_assert_str_eq(rig.text, "epoch 3 is over");
    rig_fini(&rig);
}
END_TEST

/* Calls until the counter is there. A client that was starved for half a second behind a call that is not answered closes its connection (I4), and
 * what is called then ends with CLOSED. */
static void rig_call_until(struct rig *rig, uint16_t method, uint32_t deadline_ms, const uint32_t *counter, uint32_t value)
{
    for (uint32_t tries = 0; rig_count(rig, counter) < value; tries++) {
        ck_assert_uint_lt(tries, 100);
        uint32_t done = rig_count(rig, &rig->done);
        ck_assert_int_eq(rig_call(rig, method, "x", deadline_ms), WEIR_OK);
        rig_wait(rig, &rig->done, done + 1);
    }
}

START_TEST(deadlines_hold_with_and_without_a_connection)
{
    struct rig rig;
    rig_init(&rig, _i == 1);
    struct weir_rpc_client_options options = client_options(&rig);
    rig_connect(&rig, &options);
    rig_call_until(&rig, HOLD, 30, &rig.by_rc[WEIR_TIMEOUT], 1); /* starts by waiting for the hello */
    rig_wait(&rig, &rig.connects, 1);
    rig_call_until(&rig, HOLD, 30, &rig.by_rc[WEIR_TIMEOUT], 2);
    rig_call_until(&rig, ECHO, 30000, &rig.by_rc[WEIR_OK], 1); /* the connection is as good as before */
    weir_rpc_server_destroy(rig.server);
    rig.server = NULL;
    rig_wait(&rig, &rig.disconnects, 1);
    rig_call_until(&rig, ECHO, 30, &rig.by_rc[WEIR_TIMEOUT], 3);
    rig_fini(&rig);
}
END_TEST

START_TEST(a_closed_connection_ends_calls_at_once_and_is_redialed)
{
    struct rig rig;
    rig_init(&rig, _i == 1);
    struct weir_rpc_client_options options = client_options(&rig);
    rig_connect(&rig, &options);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(rig_call(&rig, HOLD, "x", 3600 * 1000), WEIR_OK);
    }
    rig_wait(&rig, &rig.held_count, 5);
    weir_rpc_server_destroy(rig.server);
    rig_wait(&rig, &rig.by_rc[WEIR_CLOSED], 5);
    rig_wait(&rig, &rig.disconnects, 1);
    ck_assert_int_eq(rig_call(&rig, ECHO, "waits for the next server", 30000), WEIR_OK);
    rig_serve(&rig, rig.address);
    rig_wait(&rig, &rig.by_rc[WEIR_OK], 1);
    rig_wait(&rig, &rig.connects, 2);
    ck_assert_uint_eq(rig.disconnects, 1);
    rig_fini(&rig);
}
END_TEST

START_TEST(the_server_notices_a_vanished_peer_and_an_answer_to_it_is_harmless)
{
    struct rig rig;
    rig_init(&rig, _i == 1);
    struct weir_rpc_client_options options = client_options(&rig);
    rig_connect(&rig, &options);
    ck_assert_int_eq(rig_call(&rig, LATER, "x", 3600 * 1000), WEIR_OK);
    rig_wait(&rig, &rig.held_count, 1);
    weir_rpc_client_destroy(rig.client);
    ck_assert_uint_eq(rig.by_rc[WEIR_CANCELED], 1);
    ck_assert_uint_eq(rig.disconnects, 1);
    rig_wait(&rig, &rig.peers_closed, 1);
    uint64_t first = rig.peer_last;
    rig.held_count = 0;
    weir_rpc_reply(rig.held[0], WEIR_OK, weir_slice_str("too late"));
    rig_connect(&rig, &options);
    ck_assert_int_eq(rig_call(&rig, LATER, "x", 30000), WEIR_OK);
    rig_wait(&rig, &rig.held_count, 1);
    ck_assert_uint_ne(rig.peer_last, first);
    rig.held_count = 0;
    weir_rpc_reply(rig.held[0], WEIR_OK, weir_slice_str("in time"));
    rig_wait(&rig, &rig.by_rc[WEIR_OK], 1);
    rig_fini(&rig);
}
END_TEST

START_TEST(wrong_cluster_version_and_role_are_refused_with_both_values)
{
    static const struct {
        const char *cluster;
        uint16_t version;
        const char *server_role;
        const char *text[2];
    } cases[] = {{"beta", 7, NULL, {"\"beta\"", "\"alpha\""}},
                 {"alpha", 8, NULL, {"version 8", "speaks 7"}},
                 {"alpha", 7, "taskmanager", {"\"taskmanager\"", "\"jobmanager\""}}};
    struct rig rig;
    rig_init(&rig, _i == 1);
    for (uint32_t i = 0; i < (_i == 1 ? 2 : sizeof(cases) / sizeof(cases[0])); i++) { /* by TLS no other role comes as far as a hello */
        struct weir_rpc_client_options options = client_options(&rig);
        options.cluster_id = cases[i].cluster;
        options.protocol_version = cases[i].version;
        options.server_role = cases[i].server_role;
        rig_connect(&rig, &options);
        ck_assert_int_eq(rig_call(&rig, ECHO, "x", 30000), WEIR_OK);
        rig_wait(&rig, &rig.by_rc[WEIR_REFUSED], 2 * i + 1);
        ck_assert_msg(strstr(rig.text, cases[i].text[0]) != NULL, "%s", rig.text);
        ck_assert_msg(strstr(rig.text, cases[i].text[1]) != NULL, "%s", rig.text);
        ck_assert_int_eq(rig_call(&rig, ECHO, "x", 30000), WEIR_OK); /* at once, while refused */
        rig_wait(&rig, &rig.by_rc[WEIR_REFUSED], 2 * i + 2);
        ck_assert(!weir_rpc_client_is_connected(rig.client));
        weir_rpc_client_destroy(rig.client);
    }
    rig.client = NULL;
    ck_assert_uint_eq(rig.connects, 0);
    rig_fini(&rig);
}
END_TEST

/* A call that ran out of time says nothing of how far the handshake has come. */
static void wait_refused(struct weir_tls *tls)
{
    int64_t limit_ms = weir_clock_mono_ms(weir_clock_real()) + 30000;
    struct weir_tls_stats stats = {0};
    while (stats.refused == 0) {
        ck_assert_int_lt(weir_clock_mono_ms(weir_clock_real()), limit_ms);
        (void)sched_yield();
        weir_tls_stats(tls, &stats);
    }
}

/* By TLS: what a hello says is held against the certificate, on both sides. */
START_TEST(a_role_is_the_certificates_not_the_hellos)
{
    struct rig rig;
    rig_init(&rig, true);
    struct weir_tls *right = rig.client_tls;
    rig.client_tls = weir_test_tls_node(&rig.certs, "jobmanager");
    struct weir_rpc_client_options options = client_options(&rig); /* says it is a taskmanager */
    rig_connect(&rig, &options);
    ck_assert_int_eq(rig_call(&rig, ECHO, "x", 30000), WEIR_OK);
    rig_wait(&rig, &rig.by_rc[WEIR_REFUSED], 1);
    ck_assert_msg(strstr(rig.text, "certificate is for \"jobmanager\"") != NULL, "%s", rig.text);
    weir_rpc_client_destroy(rig.client);
    weir_tls_destroy(rig.client_tls);
    rig.client_tls = right;
    weir_rpc_server_destroy(rig.server);
    struct weir_tls *server_right = rig.server_tls;
    rig.server_tls = right; /* a taskmanager's, behind a hello that says jobmanager */
    rig_serve(&rig, "tcp://127.0.0.1:0");
    options = client_options(&rig);
    options.server_role = NULL;
    rig_connect(&rig, &options);
    ck_assert_int_eq(rig_call(&rig, ECHO, "x", 30000), WEIR_OK);
    rig_wait(&rig, &rig.by_rc[WEIR_REFUSED], 2);
    ck_assert_msg(strstr(rig.text, "certificate is for \"taskmanager\"") != NULL, "%s", rig.text);
    weir_rpc_client_destroy(rig.client);
    options.server_role = "jobmanager"; /* and asked for: the handshake fails, no hello is said */
    rig_connect(&rig, &options);
    ck_assert_int_eq(rig_call(&rig, ECHO, "x", 300), WEIR_OK);
    rig_wait(&rig, &rig.by_rc[WEIR_TIMEOUT], 1);
    wait_refused(right);
    ck_assert_uint_eq(rig.connects, 0);
    rig.server_tls = server_right;
    rig_fini(&rig);
}
END_TEST

/* Claims, where there are no certificates: a server that is for one role only. */
START_TEST(a_server_for_one_role_refuses_others)
{
    struct rig rig;
    rig_init(&rig, _i == 1);
    weir_rpc_server_destroy(rig.server);
    struct weir_error err;
    struct weir_rpc_server_callbacks callbacks = {rig_on_request, rig_on_peer_closed};
    struct weir_rpc_server_options options = {.address = "tcp://127.0.0.1:0", .cluster_id = "alpha", .role = "jobmanager", .name = "jm1",
                                              .protocol_version = 7, .client_role = "jobmanager", .tls = rig.server_tls};
    ck_assert_int_eq(weir_rpc_server_create(&options, &callbacks, &rig, &rig.server, &err), WEIR_OK);
    (void)snprintf(rig.address, sizeof(rig.address), "tcp://127.0.0.1:%u", weir_rpc_server_port(rig.server));
    struct weir_rpc_client_options client = client_options(&rig);
    rig_connect(&rig, &client);
    ck_assert_int_eq(rig_call(&rig, ECHO, "x", _i == 1 ? 300 : 30000), WEIR_OK);
    rig_wait(&rig, &rig.by_rc[_i == 1 ? WEIR_TIMEOUT : WEIR_REFUSED], 1);
    ck_assert_uint_eq(rig.connects, 0);
    rig_fini(&rig);
}
END_TEST

/* Both sides of a cluster speak TLS, or none: neither half connects, and the other clients are served. */
START_TEST(plaintext_and_tls_do_not_meet)
{
    struct rig rig;
    rig_init(&rig, true);
    struct weir_rpc_client_options options = client_options(&rig);
    options.tls = NULL;
    rig_connect(&rig, &options);
    ck_assert_int_eq(rig_call(&rig, ECHO, "x", 300), WEIR_OK);
    rig_wait(&rig, &rig.by_rc[WEIR_TIMEOUT], 1);
    wait_refused(rig.server_tls);
    weir_rpc_client_destroy(rig.client);
    struct weir_tls_stats stats;
    weir_tls_stats(rig.server_tls, &stats);
    ck_assert_uint_eq(stats.handshakes, 0);
    options = client_options(&rig);
    rig_connect(&rig, &options);
    ck_assert_int_eq(rig_call(&rig, ECHO, "x", 30000), WEIR_OK);
    rig_wait(&rig, &rig.by_rc[WEIR_OK], 1);
    weir_rpc_client_destroy(rig.client);
    weir_rpc_server_destroy(rig.server);
    struct weir_tls *server_tls = rig.server_tls;
    rig.server_tls = NULL;
    rig_serve(&rig, "tcp://127.0.0.1:0");
    options = client_options(&rig);
    rig_connect(&rig, &options);
    ck_assert_int_eq(rig_call(&rig, ECHO, "x", 300), WEIR_OK);
    rig_wait(&rig, &rig.by_rc[WEIR_TIMEOUT], 2);
    ck_assert_uint_eq(rig.connects, 1);
    rig.server_tls = server_tls;
    rig_fini(&rig);
}
END_TEST

START_TEST(bounds_are_refused_before_anything_is_sent)
{
    struct rig rig;
    rig_init(&rig, _i == 1);
    struct weir_rpc_client_options options = client_options(&rig);
    options.calls_max = 2;
    rig_connect(&rig, &options);
    struct weir_error err;
    uint8_t *large = weir_calloc(1, WEIR_RPC_FRAME_BYTES_MAX + 1);
    ck_assert_int_eq(weir_rpc_call(rig.client, ECHO, weir_slice(large, WEIR_RPC_FRAME_BYTES_MAX + 1), 30000, rig_on_done, &rig,
                                   &err), WEIR_LIMIT);
    ck_assert_int_eq(weir_rpc_call(rig.client, ECHO, weir_slice(large, WEIR_RPC_FRAME_BYTES_MAX), 30000, rig_on_done, &rig,
                                   &err), WEIR_OK);
    rig_wait(&rig, &rig.by_rc[WEIR_OK], 1); /* the largest passes */
    ck_assert_int_eq(rig_call(&rig, LATER, "x", 30000), WEIR_OK);
    rig_wait(&rig, &rig.held_count, 1);
    rig.held_count = 0;
    weir_rpc_reply(rig.held[0], WEIR_OK, weir_slice(large, WEIR_RPC_FRAME_BYTES_MAX + 1));
    rig_wait(&rig, &rig.by_rc[WEIR_LIMIT], 1);
    weir_rpc_client_stop(rig.client);
    ck_assert_int_eq(rig_call(&rig, ECHO, "x", 30000), WEIR_CANCELED);
    weir_rpc_client_destroy(rig.client);
    rig_connect(&rig, &options);
    ck_assert_int_eq(rig_call(&rig, HOLD, "x", 30000), WEIR_OK);
    ck_assert_int_eq(rig_call(&rig, HOLD, "x", 30000), WEIR_OK);
    ck_assert_int_eq(rig_call(&rig, HOLD, "x", 30000), WEIR_AGAIN);
    weir_free(large);
    rig_fini(&rig);
    ck_assert_uint_eq(rig.by_rc[WEIR_CANCELED], 2);
}
END_TEST

static int raw_connect(const struct rig *rig)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(weir_rpc_server_port(rig->server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    struct timeval limit = {.tv_sec = 30};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

/* Reads until the peer closes; fails when it does not. */
static void raw_expect_close(int fd)
{
    uint8_t byte;
    ssize_t got;
    do {
        got = recv(fd, &byte, 1, 0);
    } while (got > 0 || (got < 0 && errno == EINTR)); /* with a time-out it is not begun anew when a stopped process goes on */
    ck_assert_msg(got == 0 || errno == ECONNRESET, "not closed: %s", strerror(errno));
    (void)close(fd);
}

START_TEST(garbage_costs_its_sender_the_connection_only)
{
    struct rig rig;
    rig_init(&rig, false);
    struct weir_rpc_client_options options = client_options(&rig);
    rig_connect(&rig, &options);
    rig_wait(&rig, &rig.connects, 1);
    struct weir_rand rand;
    weir_rand_init(&rand, 42);
    for (int i = 0; i < 20; i++) {
        uint8_t bytes[200];
        for (size_t k = 0; k < sizeof(bytes); k++) {
            bytes[k] = (uint8_t)weir_rand_u64(&rand);
        }
        int fd = raw_connect(&rig);
        (void)send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
        raw_expect_close(fd);
    }
    /* A good frame of no hello, but damaged, too long for a stranger, or an answer. */
    for (int i = 0; i < 3; i++) {
        struct weir_buf wire = {0};
        uint8_t body[8000] = {0};
        struct weir__rpc_frame frame = {.method = WEIR_RPC_METHOD_HELLO,
                                        .flags = i == 2 ? WEIR__RPC_FLAG_REPLY : 0,
                                        .body = weir_slice(body, i == 1 ? sizeof(body) : 50)};
        weir__rpc_frame_encode(&frame, &wire);
        wire.data[wire.len - 1] ^= i == 0 ? 1 : 0;
        int fd = raw_connect(&rig);
        ck_assert_int_eq(send(fd, wire.data, wire.len, MSG_NOSIGNAL), (ssize_t)wire.len);
        raw_expect_close(fd);
        weir_buf_fini(&wire);
    }
    struct weir_rpc_server_stats stats = {0};
    int64_t limit_ms = weir_clock_mono_ms(weir_clock_real()) + 30000;
    while (stats.malformed + stats.rejected < 23 && weir_clock_mono_ms(weir_clock_real()) < limit_ms) {
        weir_rpc_server_stats(rig.server, &stats);
    }
    ck_assert_uint_eq(stats.malformed + stats.rejected, 23); /* the closed before still count for a moment */
    ck_assert_uint_ge(stats.malformed, 10);
    ck_assert_int_eq(rig_call(&rig, ECHO, "still here", 30000), WEIR_OK);
    rig_wait(&rig, &rig.by_rc[WEIR_OK], 1);
    ck_assert_uint_eq(rig.disconnects, 0);
    rig_fini(&rig);
}
END_TEST

START_TEST(a_request_without_hello_is_refused_unexecuted)
{
    struct rig rig;
    rig_init(&rig, false);
    struct weir_buf wire = {0};
    struct weir__rpc_frame frame = {.id = 5, .method = HOLD, .body = weir_slice_str("x")};
    weir__rpc_frame_encode(&frame, &wire);
    int fd = raw_connect(&rig);
    for (size_t i = 0; i < wire.len; i++) { /* byte by byte, to be put together */
        ck_assert_int_eq(send(fd, wire.data + i, 1, MSG_NOSIGNAL), 1);
    }
    uint8_t answer[1000];
    size_t got = 0;
    size_t bytes = 0;
    const char *why = NULL;
    while (weir__rpc_frame_decode(weir_slice(answer, got), sizeof(answer), &frame, &bytes, &why) == WEIR_AGAIN) {
        ssize_t n = recv(fd, answer + got, sizeof(answer) - got, 0);
        ck_assert(n > 0 || (n < 0 && errno == EINTR));
        got += n > 0 ? (size_t)n : 0;
    }
    ck_assert_ptr_null(why);
    ck_assert_uint_eq(frame.id, 5);
    ck_assert_int_eq(frame.rc, WEIR_REFUSED);
    ck_assert((frame.flags & WEIR__RPC_FLAG_NO_HELLO) != 0);
    ck_assert_uint_eq(rig.held_count, 0);
    (void)close(fd);
    weir_buf_fini(&wire);
    rig_fini(&rig);
}
END_TEST

START_TEST(connections_beyond_the_limit_are_closed)
{
    struct rig rig;
    rig_init(&rig, false);
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = raw_connect(&rig);
    }
    struct weir_rpc_server_stats stats = {0};
    int64_t limit_ms = weir_clock_mono_ms(weir_clock_real()) + 30000;
    while (stats.connections < 4 && weir_clock_mono_ms(weir_clock_real()) < limit_ms) {
        weir_rpc_server_stats(rig.server, &stats);
    }
    ck_assert_uint_eq(stats.connections, 4);
    struct weir_rpc_client_options options = client_options(&rig);
    rig_connect(&rig, &options);
    ck_assert_int_eq(rig_call(&rig, ECHO, "x", 30000), WEIR_OK);
    while (stats.rejected == 0 && weir_clock_mono_ms(weir_clock_real()) < limit_ms) {
        weir_rpc_server_stats(rig.server, &stats);
    }
    ck_assert_uint_gt(stats.rejected, 0);
    ck_assert_uint_eq(rig.done, 0);
    (void)close(fds[0]);
    rig_wait(&rig, &rig.by_rc[WEIR_OK], 1); /* there is room now */
    for (int i = 1; i < 4; i++) {
        (void)close(fds[i]);
    }
    rig_fini(&rig);
}
END_TEST

START_TEST(a_full_server_says_so)
{
    struct rig rig;
    rig_init(&rig, _i == 1);
    struct weir_rpc_client_options options = client_options(&rig);
    rig_connect(&rig, &options);
    for (int i = 0; i < REQUESTS_MAX; i++) {
        ck_assert_int_eq(rig_call(&rig, LATER, "x", 30000), WEIR_OK);
    }
    rig_wait(&rig, &rig.held_count, REQUESTS_MAX);
    ck_assert_int_eq(rig_call(&rig, ECHO, "x", 30000), WEIR_OK);
    rig_wait(&rig, &rig.by_rc[WEIR_AGAIN], 1);
    weir_rpc_reply(rig.held[--rig.held_count], WEIR_OK, weir_slice(NULL, 0));
    rig_wait(&rig, &rig.by_rc[WEIR_OK], 1);
    ck_assert_int_eq(rig_call(&rig, ECHO, "x", 30000), WEIR_OK);
    rig_wait(&rig, &rig.by_rc[WEIR_OK], 2);
    rig_fini(&rig);
}
END_TEST

/* The server dies and comes back while calls flow: every accepted call completes once, connects and losses alternate. */
START_TEST(calls_complete_once_through_restarts)
{
    struct rig rig;
    rig_init(&rig, _i == 1);
    struct weir_rpc_client_options options = client_options(&rig);
    options.calls_max = 64;
    rig_connect(&rig, &options);
    uint32_t accepted = 0;
    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < 50; i++) {
            accepted += rig_call(&rig, ECHO, "x", 30000) == WEIR_OK ? 1 : 0;
        }
        rig_wait(&rig, &rig.done, accepted - 40);
        weir_rpc_server_destroy(rig.server);
        rig_serve(&rig, rig.address);
    }
    rig_wait(&rig, &rig.done, accepted);
    weir_rpc_client_destroy(rig.client);
    rig.client = NULL;
    ck_assert_uint_eq(rig.done, accepted);
    ck_assert_uint_eq(rig.by_rc[WEIR_OK] + rig.by_rc[WEIR_CLOSED], accepted);
    ck_assert_uint_eq(rig.connects, rig.disconnects);
    rig_fini(&rig);
}
END_TEST

START_TEST(bad_addresses_are_errors)
{
    struct weir_error err;
    struct weir_rpc_client *client = NULL;
    struct weir_rpc_client_callbacks callbacks = {NULL, NULL};
    struct weir_rpc_client_options options = {.address = "nonsense", .cluster_id = "a", .role = "r", .name = "n"};
    ck_assert_int_eq(weir_rpc_client_create(&options, &callbacks, NULL, &client, &err), WEIR_INVALID);
    struct rig rig;
    rig_init(&rig, false);
    struct weir_rpc_server *server = NULL;
    struct weir_rpc_server_callbacks server_callbacks = {rig_on_request, NULL};
    struct weir_rpc_server_options server_options = {.address = rig.address, .cluster_id = "a", .role = "r", .name = "n"};
    ck_assert_int_eq(weir_rpc_server_create(&server_options, &server_callbacks, NULL, &server, &err), WEIR_EXISTS);
    ck_assert_msg(strstr(err.text, rig.address) != NULL, "%s", err.text);
    rig_fini(&rig);
}
END_TEST

Suite *rpc_suite(void);
Suite *rpc_suite(void)
{
    Suite *suite = suite_create("rpc");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, frames_survive_the_wire_and_damage_is_noticed);
    tcase_add_test(tc, addresses_are_parsed);
    tcase_add_loop_test(tc, thousands_of_calls_each_get_their_own_answer, 0, 2);
    tcase_add_loop_test(tc, the_servers_code_and_text_come_back, 0, 2);
    tcase_add_loop_test(tc, deadlines_hold_with_and_without_a_connection, 0, 2);
    tcase_add_loop_test(tc, a_closed_connection_ends_calls_at_once_and_is_redialed, 0, 2);
    tcase_add_loop_test(tc, the_server_notices_a_vanished_peer_and_an_answer_to_it_is_harmless, 0, 2);
    tcase_add_loop_test(tc, wrong_cluster_version_and_role_are_refused_with_both_values, 0, 2);
    tcase_add_test(tc, a_role_is_the_certificates_not_the_hellos);
    tcase_add_loop_test(tc, a_server_for_one_role_refuses_others, 0, 2);
    tcase_add_test(tc, plaintext_and_tls_do_not_meet);
    tcase_add_loop_test(tc, bounds_are_refused_before_anything_is_sent, 0, 2);
    tcase_add_test(tc, garbage_costs_its_sender_the_connection_only);
    tcase_add_test(tc, a_request_without_hello_is_refused_unexecuted);
    tcase_add_test(tc, connections_beyond_the_limit_are_closed);
    tcase_add_loop_test(tc, a_full_server_says_so, 0, 2);
    tcase_add_loop_test(tc, calls_complete_once_through_restarts, 0, 2);
    tcase_add_test(tc, bad_addresses_are_errors);
    suite_add_tcase(suite, tc);
    return suite;
}
