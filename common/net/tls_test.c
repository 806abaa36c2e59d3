#include "common/net/tls.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/net/stream.h"
#include "common/net/tls_session.h"
#include "common/runtime/sync.h"
#include "tests/lib/test_tls.h"

#include <arpa/inet.h>
#include <check.h>
#include <nng/nng.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

enum { DAY_MS = 86400000 };

/* --- two sessions and the wire between them ------------------------------------------------------------------------------ */

struct pair {
    struct weir_test_tls certs;
    struct weir__tls_session *ends[2]; /* 0 has dialed */
    enum weir_rc rcs[2];
    struct weir_buf said[2]; /* all that each has sent */
};

static struct weir__tls_identity *identity_make(const struct weir_test_tls *certs, const struct weir_x509_node *node)
{
    struct weir__tls_identity *identity = weir_calloc(1, sizeof(*identity));
    struct weir_error err;
    struct weir_x509_node full = *node;
    full.now_ms = full.now_ms == 0 ? weir_clock_wall_ms(weir_clock_real()) : full.now_ms;
    full.days = full.days == 0 ? 5 : full.days;
    identity->refs = 1;
    weir_buf_put_slice(&identity->authorities, weir_buf_slice(&certs->ca));
    ck_assert_msg(weir_x509_make_node(&full, weir_buf_slice(&certs->ca), weir_buf_slice(&certs->ca_key), &identity->node, &err) == WEIR_OK, "%s", err.text);
    return identity;
}

static void pair_init(struct pair *pair, const struct weir_x509_node *dialing, const char *dialing_wants, const struct weir_x509_node *dialed,
                      const char *dialed_wants)
{
    memset(pair, 0, sizeof(*pair));
    weir_test_tls_init(&pair->certs);
    struct weir__tls_identity *a = identity_make(&pair->certs, dialing);
    struct weir__tls_identity *b = identity_make(&pair->certs, dialed);
    pair->ends[0] = weir__tls_session_create(a, "10.0.0.1", dialing_wants);
    pair->ends[1] = weir__tls_session_create(b, NULL, dialed_wants);
    weir__tls_identity_unref(a);
    weir__tls_identity_unref(b);
}

static void pair_fini(struct pair *pair)
{
    for (int end = 0; end < 2; end++) {
        weir__tls_session_destroy(pair->ends[end]);
        weir_buf_fini(&pair->said[end]);
    }
    weir_test_tls_fini(&pair->certs);
}

/* What one end has to send goes to the other. Whether there was something. */
static bool carry(struct pair *pair, int from)
{
    struct weir_buf *out = weir__tls_session_out(pair->ends[from]);
    bool any = out->len > 0;
    weir_buf_put_slice(weir__tls_session_in(pair->ends[1 - from]), weir_buf_slice(out));
    weir_buf_put_slice(&pair->said[from], weir_buf_slice(out));
    weir_buf_clear(out);
    return any;
}

static void shake_hands(struct pair *pair)
{
    bool any = true;
    while (any) {
        any = false;
        for (int end = 0; end < 2; end++) {
            pair->rcs[end] = weir__tls_session_handshake(pair->ends[end]);
            any |= carry(pair, end);
        }
    }
}

static const struct weir_x509_node jobmanager = {.role = "jobmanager", .name = "jm-1"};
static const struct weir_x509_node taskmanager = {.role = "taskmanager", .name = "tm-1"};

START_TEST(bytes_pass_and_each_knows_the_other)
{
    struct pair pair;
    pair_init(&pair, &taskmanager, "jobmanager", &jobmanager, NULL);
    ck_assert_str_eq(weir__tls_session_peer_role(pair.ends[0]), "");
    shake_hands(&pair);
    ck_assert_int_eq(pair.rcs[0], WEIR_OK);
    ck_assert_int_eq(pair.rcs[1], WEIR_OK);
    ck_assert_str_eq(weir__tls_session_peer_role(pair.ends[0]), "jobmanager");
    ck_assert_str_eq(weir__tls_session_peer_name(pair.ends[0]), "jm-1");
    ck_assert_str_eq(weir__tls_session_peer_role(pair.ends[1]), "taskmanager");
    ck_assert_str_eq(weir__tls_session_peer_name(pair.ends[1]), "tm-1");
    struct weir_rand rand;
    weir_rand_init(&rand, 3);
    enum { BYTES = 200000 };
    uint8_t *from = weir_malloc(BYTES);
    uint8_t *to = weir_calloc(1, BYTES);
    for (size_t i = 0; i < BYTES; i++) {
        from[i] = (uint8_t)weir_rand_below(&rand, 256);
    }
    size_t sent = 0;
    size_t received = 0;
    while (received < BYTES) {
        size_t bytes = 0;
        if (sent < BYTES) {
            size_t len = 1 + weir_rand_below(&rand, BYTES - sent);
            ck_assert_int_eq(weir__tls_session_write(pair.ends[0], weir_slice(from + sent, len), &bytes), WEIR_OK);
            ck_assert_uint_ge(bytes, 1);
            sent += bytes;
            (void)carry(&pair, 0);
        }
        enum weir_rc rc = weir__tls_session_read(pair.ends[1], to + received, 1 + weir_rand_below(&rand, 30000), &bytes);
        ck_assert(rc == WEIR_OK || (rc == WEIR_AGAIN && received == sent));
        received += rc == WEIR_OK ? bytes : 0;
    }
    ck_assert_int_eq(memcmp(from, to, BYTES), 0);
    weir_free(from);
    weir_free(to);
    pair_fini(&pair);
}
END_TEST

START_TEST(a_record_that_was_touched_ends_the_session)
{
    struct pair pair;
    pair_init(&pair, &taskmanager, NULL, &jobmanager, NULL);
    shake_hands(&pair);
    size_t bytes = 0;
    uint8_t into[16];
    ck_assert_int_eq(weir__tls_session_write(pair.ends[0], weir_slice_str("good"), &bytes), WEIR_OK);
    ck_assert_int_eq(weir__tls_session_write(pair.ends[0], weir_slice_str("evil"), &bytes), WEIR_OK);
    struct weir_buf *out = weir__tls_session_out(pair.ends[0]);
    out->data[out->len - 1] ^= 1;
    (void)carry(&pair, 0);
    ck_assert_int_eq(weir__tls_session_read(pair.ends[1], into, sizeof(into), &bytes), WEIR_OK); /* what came before it counts */
    ck_assert_uint_eq(bytes, 4);
    ck_assert_int_eq(weir__tls_session_read(pair.ends[1], into, sizeof(into), &bytes), WEIR_CORRUPT);
    ck_assert_int_eq(weir__tls_session_read(pair.ends[1], into, sizeof(into), &bytes), WEIR_CORRUPT);
    pair_fini(&pair);
}
END_TEST

/* One side refuses, says why, and tells the other. */
START_TEST(who_is_not_expected_is_refused)
{
    static const char *const there[] = {"10.0.0.1"};
    static const char *const elsewhere[] = {"10.0.0.2"};
    static const struct weir_x509_node expired = {.role = "taskmanager", .name = "old", .now_ms = 1600000000000, .days = 5};
    static const struct weir_x509_node here = {.role = "jobmanager", .name = "jm-1", .hosts = there, .nhosts = 1};
    static const struct weir_x509_node stolen = {.role = "jobmanager", .name = "jm-1", .hosts = elsewhere, .nhosts = 1};
    static const struct {
        const struct weir_x509_node *dialing, *dialed;
        const char *dialing_wants, *dialed_wants;
        int refuses; /* -1: nobody */
        const char *why;
    } cases[] = {
        {&taskmanager, &jobmanager, "jobmanager", "jobmanager", 1, "\"tm-1\" is for the role \"taskmanager\", expected \"jobmanager\""},
        {&taskmanager, &taskmanager, "jobmanager", NULL, 0, "for the role \"taskmanager\", expected \"jobmanager\""},
        {&expired, &jobmanager, "jobmanager", NULL, 1, "expired"},
        {&taskmanager, &expired, NULL, NULL, 0, "expired"},
        {&taskmanager, &stolen, "jobmanager", NULL, 0, "not for host 10.0.0.1"},
        {&taskmanager, &here, "jobmanager", NULL, -1, ""},
        {&stolen, &jobmanager, NULL, "jobmanager", -1, ""}, /* from where it dials says nothing */
    };
    struct pair pair;
    pair_init(&pair, cases[_i].dialing, cases[_i].dialing_wants, cases[_i].dialed, cases[_i].dialed_wants);
    shake_hands(&pair);
    for (int end = 0; end < 2; end++) {
        ck_assert_int_eq(pair.rcs[end], cases[_i].refuses < 0 ? WEIR_OK : WEIR_REFUSED);
    }
    if (cases[_i].refuses >= 0) {
        const char *why = weir__tls_session_why(pair.ends[cases[_i].refuses]);
        ck_assert_msg(strstr(why, cases[_i].why) != NULL, "%s", why);
        why = weir__tls_session_why(pair.ends[1 - cases[_i].refuses]);
        ck_assert_msg(strstr(why, "the peer refuses") != NULL, "%s", why);
        ck_assert_str_eq(weir__tls_session_peer_role(pair.ends[cases[_i].refuses]), "");
    }
    pair_fini(&pair);
}
END_TEST

START_TEST(another_authority_is_refused_though_it_has_the_same_name)
{
    struct pair pair;
    struct weir_test_tls others;
    pair_init(&pair, &taskmanager, NULL, &jobmanager, NULL);
    weir_test_tls_init(&others);
    struct weir__tls_identity *stranger = identity_make(&others, &taskmanager);
    weir_buf_clear(&stranger->authorities); /* it would trust this server */
    weir_buf_put_slice(&stranger->authorities, weir_buf_slice(&pair.certs.ca));
    weir__tls_session_destroy(pair.ends[0]);
    pair.ends[0] = weir__tls_session_create(stranger, "10.0.0.1", NULL);
    weir__tls_identity_unref(stranger);
    shake_hands(&pair);
    ck_assert_int_eq(pair.rcs[1], WEIR_REFUSED);
    ck_assert_msg(strstr(weir__tls_session_why(pair.ends[1]), "not correctly signed") != NULL, "%s", weir__tls_session_why(pair.ends[1]));
    weir_test_tls_fini(&others);
    pair_fini(&pair);
}
END_TEST

/* Every byte that a good peer once said, said again to the same node: refused, before a byte of it is taken for data. */
START_TEST(a_recorded_conversation_cannot_be_played_again)
{
    struct pair pair;
    size_t bytes = 0;
    pair_init(&pair, &taskmanager, NULL, &jobmanager, NULL);
    shake_hands(&pair);
    ck_assert_int_eq(weir__tls_session_write(pair.ends[0], weir_slice_str("HELLO, I am tm-1"), &bytes), WEIR_OK);
    (void)carry(&pair, 0);
    struct weir__tls_identity *again = identity_make(&pair.certs, &jobmanager);
    struct weir__tls_session *victim = weir__tls_session_create(again, NULL, NULL);
    weir_buf_put_slice(weir__tls_session_in(victim), weir_buf_slice(&pair.said[0]));
    ck_assert_int_eq(weir__tls_session_handshake(victim), WEIR_REFUSED);
    ck_assert_str_eq(weir__tls_session_peer_role(victim), "");
    weir__tls_session_destroy(victim);
    weir__tls_identity_unref(again);
    pair_fini(&pair);
}
END_TEST

START_TEST(noise_and_plaintext_are_refused)
{
    static const char plain[] = "WRPC\1\0\0\0\0\0\0\0\1\0\0\0\20\0\0\0abcdefghijklmnopqrstuvwxyz";
    struct weir_test_tls certs;
    struct weir_rand rand;
    weir_rand_init(&rand, 9);
    weir_test_tls_init(&certs);
    struct weir__tls_identity *identity = identity_make(&certs, &jobmanager);
    for (int i = 0; i < 200; i++) {
        struct weir__tls_session *session = weir__tls_session_create(identity, i % 2 == 0 ? NULL : "h", NULL);
        struct weir_buf *in = weir__tls_session_in(session);
        ck_assert_int_eq(weir__tls_session_handshake(session), WEIR_AGAIN);
        if (i < 2) {
            weir_buf_put(in, plain, sizeof(plain));
        } else { /* the head of a handshake record, then anything */
            static const uint8_t head[] = {22, 3, 3, 1, 0};
            weir_buf_put(in, head, i % 3 == 0 ? 0 : sizeof(head));
            for (size_t n = 300 + weir_rand_below(&rand, 2000); n > 0; n--) {
                weir_buf_put_u8(in, (uint8_t)weir_rand_below(&rand, 256));
            }
        }
        enum weir_rc rc = weir__tls_session_handshake(session);
        ck_assert_msg(rc == WEIR_REFUSED || (rc == WEIR_AGAIN && i >= 2), "%d: %s", i, weir_rc_name(rc));
        if (i < 2) {
            ck_assert_msg(strstr(weir__tls_session_why(session), "does not speak TLS") != NULL, "%s", weir__tls_session_why(session));
        }
        weir__tls_session_destroy(session);
    }
    weir__tls_identity_unref(identity);
    weir_test_tls_fini(&certs);
}
END_TEST

/* --- files --------------------------------------------------------------------------------------------------------------- */

START_TEST(a_directory_that_is_not_in_order_is_refused)
{
    struct weir_test_tls certs;
    struct weir_error err;
    struct weir_tls *tls = NULL;
    weir_test_tls_init(&certs);
    char *dir = weir_test_tls_write(&certs, &taskmanager);
    char *node_path = weir_strfmt("%s/node.pem", dir);
    struct weir_tls_options options = {.dir = "/nowhere", .role = "taskmanager"};
    ck_assert_int_eq(weir_tls_create(&options, &tls, &err), WEIR_NOT_FOUND);
    options.dir = dir;
    options.role = "jobmanager";
    ck_assert_int_eq(weir_tls_create(&options, &tls, &err), WEIR_INVALID);
    ck_assert_msg(strstr(err.text, "role") != NULL, "%s", err.text);
    options.role = "taskmanager";
    ck_assert_int_eq(chmod(node_path, 0644), 0);
    ck_assert_int_eq(weir_tls_create(&options, &tls, &err), WEIR_INVALID);
    ck_assert_msg(strstr(err.text, "chmod 600") != NULL, "%s", err.text);
    ck_assert_int_eq(chmod(node_path, 0600), 0);
    ck_assert_int_eq(weir_tls_create(&options, &tls, &err), WEIR_OK);
    weir_tls_destroy(tls);
    weir_test_tls_write_file(dir, "ca.pem", weir_slice_str("-----BEGIN CERTIFICATE-----\nAA\n"));
    ck_assert_int_eq(weir_tls_create(&options, &tls, &err), WEIR_INVALID);
    struct weir_config *config = weir_config_create();
    ck_assert_int_eq(weir_tls_create_configured(config, "taskmanager", NULL, &tls, &err), WEIR_OK);
    ck_assert_ptr_null(tls);
    ck_assert_int_eq(weir_config_set_pair(config, "security.ssl.internal.enabled=true", &err), WEIR_OK);
    ck_assert_int_eq(weir_config_set_pair(config, "security.ssl.internal.dir=/nowhere", &err), WEIR_OK);
    ck_assert_int_eq(weir_tls_create_configured(config, "taskmanager", NULL, &tls, &err), WEIR_NOT_FOUND);
    ck_assert_msg(strstr(err.text, "weir certs init") != NULL, "%s", err.text);
    weir_config_destroy(config);
    weir_free(node_path);
    weir_free(dir);
    weir_test_tls_fini(&certs);
    nng_fini();
}
END_TEST

static void wait_renewals(struct weir_tls *tls, uint64_t right, uint64_t wrong)
{
    struct weir_mutex mutex;
    struct weir_cond cond;
    weir_mutex_init(&mutex);
    weir_cond_init(&cond);
    int64_t limit_ns = weir_clock_mono_ns(weir_clock_real()) + 100 * 1000000000ll;
    struct weir_tls_stats stats = {0};
    while (stats.renewals != right || stats.renewals_wrong != wrong) {
        weir_tls_stats(tls, &stats);
        ck_assert_msg(weir_clock_mono_ns(weir_clock_real()) < limit_ns, "%llu right, %llu wrong", (unsigned long long)stats.renewals,
                      (unsigned long long)stats.renewals_wrong);
        weir_mutex_lock(&mutex);
        (void)weir_cond_wait_until(&cond, &mutex, weir_clock_mono_ns(weir_clock_real()) + 1000000);
        weir_mutex_unlock(&mutex);
    }
    weir_cond_fini(&cond);
    weir_mutex_fini(&mutex);
}

START_TEST(renewed_files_are_taken_and_wrong_ones_left)
{
    struct weir_test_tls certs;
    struct weir_test_tls others;
    struct weir_error err;
    struct weir_tls *tls = NULL;
    weir_test_tls_init(&certs);
    weir_test_tls_init(&others);
    char *dir = weir_test_tls_write(&certs, &taskmanager);
    ck_assert_int_eq(weir_tls_create(&(struct weir_tls_options){.dir = dir, .role = "taskmanager", .watch_ms = 5}, &tls, &err), WEIR_OK);
    struct weir__tls_identity *first = weir__tls_identity(tls);
    struct weir_buf renewed = {0}; /* its file alone: another ca.pem would be a renewal of its own */
    struct weir_x509_node later = {.role = "taskmanager", .name = "tm-1", .now_ms = weir_clock_wall_ms(weir_clock_real()), .days = 9};
    ck_assert_int_eq(weir_x509_make_node(&later, weir_buf_slice(&certs.ca), weir_buf_slice(&certs.ca_key), &renewed, &err), WEIR_OK);
    weir_test_tls_write_file(dir, "node.pem", weir_buf_slice(&renewed));
    weir_x509_wipe(&renewed);
    wait_renewals(tls, 1, 0);
    struct weir__tls_identity *second = weir__tls_identity(tls);
    ck_assert_int_gt(second->info.not_after_ms, first->info.not_after_ms + 3ll * DAY_MS);
    weir_test_tls_write_file(dir, "node.pem", weir_slice_str("half a fi"));
    wait_renewals(tls, 1, 1);
    struct weir_buf foreign = {0};
    struct weir_x509_node node = {.role = "taskmanager", .name = "tm-1", .now_ms = weir_clock_wall_ms(weir_clock_real()), .days = 3};
    ck_assert_int_eq(weir_x509_make_node(&node, weir_buf_slice(&others.ca), weir_buf_slice(&others.ca_key), &foreign, &err), WEIR_OK);
    weir_test_tls_write_file(dir, "node.pem", weir_buf_slice(&foreign));
    wait_renewals(tls, 1, 2);
    struct weir__tls_identity *third = weir__tls_identity(tls);
    ck_assert_ptr_eq(second, third);
    struct weir_buf both = {0}; /* the new authority beside the old one */
    weir_buf_put_slice(&both, weir_buf_slice(&certs.ca));
    weir_buf_put_slice(&both, weir_buf_slice(&others.ca));
    weir_test_tls_write_file(dir, "ca.pem", weir_buf_slice(&both));
    wait_renewals(tls, 2, 2);
    weir__tls_identity_unref(first);
    weir__tls_identity_unref(second);
    weir__tls_identity_unref(third);
    weir_tls_destroy(tls);
    weir_buf_fini(&both);
    weir_x509_wipe(&foreign);
    weir_free(dir);
    weir_test_tls_fini(&certs);
    weir_test_tls_fini(&others);
    nng_fini();
}
END_TEST

/* --- a peer that says nothing -------------------------------------------------------------------------------------------- */

struct heard {
    struct weir_mutex mutex; /* guards all below */
    struct weir_cond cond;
    struct weir_stream *stream;
    uint32_t receives;
    enum weir_rc rc;
};

static void on_received(void *ctx, enum weir_rc rc, size_t bytes)
{
    struct heard *heard = ctx;
    (void)bytes;
    weir_mutex_lock(&heard->mutex);
    heard->receives++;
    heard->rc = rc;
    weir_cond_broadcast(&heard->cond);
    weir_mutex_unlock(&heard->mutex);
}

static void on_sent(void *ctx, enum weir_rc rc)
{
    (void)ctx;
    (void)rc;
}

static void on_accept(void *ctx, struct weir_stream *stream_take)
{
    static const struct weir_stream_callbacks callbacks = {.on_sent = on_sent, .on_received = on_received};
    struct heard *heard = ctx;
    weir_stream_attach(stream_take, &callbacks, heard);
    weir_mutex_lock(&heard->mutex);
    heard->stream = stream_take;
    weir_cond_broadcast(&heard->cond);
    weir_mutex_unlock(&heard->mutex);
}

START_TEST(the_handshake_has_a_deadline)
{
    struct weir_test_tls certs;
    struct weir_error err;
    struct weir_tls *tls = NULL;
    struct weir_stream_listener *listener = NULL;
    struct heard heard = {.receives = 0};
    uint8_t byte;
    weir_mutex_init(&heard.mutex);
    weir_cond_init(&heard.cond);
    weir_test_tls_init(&certs);
    char *dir = weir_test_tls_write(&certs, &taskmanager);
    ck_assert_int_eq(weir_tls_create(&(struct weir_tls_options){.dir = dir, .role = "taskmanager", .handshake_ms = 100}, &tls, &err), WEIR_OK);
    const struct weir_stream_guard guard = {.tls = tls};
    ck_assert_int_eq(weir_stream_listen("127.0.0.1", 0, &guard, on_accept, &heard, &listener, &err), WEIR_OK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(weir_stream_listener_port(listener)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    static const uint8_t begun[] = {22, 3, 1}; /* and no more */
    ck_assert_int_eq(send(fd, begun, sizeof(begun), MSG_NOSIGNAL), (ssize_t)sizeof(begun));
    int64_t limit_ns = weir_clock_mono_ns(weir_clock_real()) + 100 * 1000000000ll;
    weir_mutex_lock(&heard.mutex);
    while (heard.stream == NULL) {
        ck_assert(weir_cond_wait_until(&heard.cond, &heard.mutex, limit_ns));
    }
    weir_mutex_unlock(&heard.mutex);
    weir_stream_receive(heard.stream, &byte, 1);
    weir_mutex_lock(&heard.mutex);
    while (heard.receives == 0) {
        ck_assert(weir_cond_wait_until(&heard.cond, &heard.mutex, limit_ns));
    }
    weir_mutex_unlock(&heard.mutex);
    ck_assert_int_eq(heard.rc, WEIR_TIMEOUT);
    struct weir_tls_stats stats;
    weir_tls_stats(tls, &stats);
    ck_assert_uint_eq(stats.refused, 1);
    ck_assert_int_eq(close(fd), 0);
    weir_stream_listener_destroy(listener);
    weir_stream_destroy(heard.stream);
    weir_tls_destroy(tls);
    weir_free(dir);
    weir_test_tls_fini(&certs);
    weir_cond_fini(&heard.cond);
    weir_mutex_fini(&heard.mutex);
    nng_fini();
}
END_TEST

Suite *tls_suite(void);
Suite *tls_suite(void)
{
    Suite *suite = suite_create("tls");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, bytes_pass_and_each_knows_the_other);
    tcase_add_test(tc, a_record_that_was_touched_ends_the_session);
    tcase_add_loop_test(tc, who_is_not_expected_is_refused, 0, 7);
    tcase_add_test(tc, another_authority_is_refused_though_it_has_the_same_name);
    tcase_add_test(tc, a_recorded_conversation_cannot_be_played_again);
    tcase_add_test(tc, noise_and_plaintext_are_refused);
    tcase_add_test(tc, a_directory_that_is_not_in_order_is_refused);
    tcase_add_test(tc, renewed_files_are_taken_and_wrong_ones_left);
    tcase_add_test(tc, the_handshake_has_a_deadline);
    suite_add_tcase(suite, tc);
    return suite;
}
