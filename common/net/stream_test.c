#include "common/net/stream.h"

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/runtime/sync.h"
#include "tests/lib/test_tls.h"

#include <check.h>
#include <nng/nng.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum { TOTAL_BYTES = 8 << 20, END_DIALED = 0, END_ACCEPTED = 1 };

/* A connection between two ends, and what their callbacks said. */
struct rig {
    struct weir_mutex mutex; /* guards all below */
    struct weir_cond cond;
    struct weir_stream_listener *listener;
    struct weir_stream_dial *dial;
    struct weir_stream *ends[2];
    uint32_t streams;
    uint32_t dials;
    enum weir_rc dialed_rc;
    uint32_t sends;
    enum weir_rc sent_rc;
    uint32_t receives;
    enum weir_rc received_rc;
    size_t received_bytes;
    bool secure;
    struct weir_test_tls certs;
    struct weir_stream_guard guards[2]; /* of each end */
};

static void end_got(struct rig *rig, int end, struct weir_stream *stream_take)
{
    weir_mutex_lock(&rig->mutex);
    rig->ends[end] = stream_take;
    rig->streams++;
    weir_cond_broadcast(&rig->cond);
    weir_mutex_unlock(&rig->mutex);
}

static void on_accept(void *ctx, struct weir_stream *stream_take)
{
    end_got(ctx, END_ACCEPTED, stream_take);
}

static void on_dialed(void *ctx, enum weir_rc rc, struct weir_stream *stream_take)
{
    struct rig *rig = ctx;
    if (rc == WEIR_OK) {
        end_got(rig, END_DIALED, stream_take);
    }
    weir_mutex_lock(&rig->mutex);
    rig->dials++;
    rig->dialed_rc = rc;
    weir_cond_broadcast(&rig->cond);
    weir_mutex_unlock(&rig->mutex);
}

static void on_sent(void *ctx, enum weir_rc rc)
{
    struct rig *rig = ctx;
    weir_mutex_lock(&rig->mutex);
    rig->sends++;
    rig->sent_rc = rc;
    weir_cond_broadcast(&rig->cond);
    weir_mutex_unlock(&rig->mutex);
}

static void on_received(void *ctx, enum weir_rc rc, size_t bytes)
{
    struct rig *rig = ctx;
    weir_mutex_lock(&rig->mutex);
    rig->receives++;
    rig->received_rc = rc;
    rig->received_bytes = bytes;
    weir_cond_broadcast(&rig->cond);
    weir_mutex_unlock(&rig->mutex);
}

static void rig_wait(struct rig *rig, const uint32_t *counter, uint32_t value)
{
    int64_t limit_ns = weir_clock_mono_ns(weir_clock_real()) + 100 * 1000000000ll;
    weir_mutex_lock(&rig->mutex);
    while (*counter < value) {
        ck_assert_msg(weir_cond_wait_until(&rig->cond, &rig->mutex, limit_ns), "waited 100 s for %u, still %u", value, *counter);
    }
    weir_mutex_unlock(&rig->mutex);
}

static bool rig_sent(struct rig *rig, uint32_t sends)
{
    weir_mutex_lock(&rig->mutex);
    bool sent = rig->sends == sends;
    ck_assert_int_eq(rig->sent_rc, WEIR_OK);
    weir_mutex_unlock(&rig->mutex);
    return sent;
}

static void rig_dial(struct rig *rig)
{
    struct weir_error err;
    char address[64];
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", weir_stream_listener_port(rig->listener));
    ck_assert_msg(weir_stream_dial(address, &rig->guards[END_DIALED], 30000, on_dialed, rig, &rig->dial, &err) == WEIR_OK, "%s", err.text);
}

/* secure: the same by TLS. */
static void rig_init(struct rig *rig, bool secure)
{
    static const struct weir_stream_callbacks callbacks = {on_sent, on_received};
    struct weir_error err;
    memset(rig, 0, sizeof(*rig));
    weir_mutex_init(&rig->mutex);
    weir_cond_init(&rig->cond);
    rig->secure = secure;
    if (secure) {
        weir_test_tls_init(&rig->certs);
        rig->guards[END_DIALED] = (struct weir_stream_guard){.tls = weir_test_tls_node(&rig->certs, "taskmanager"), .peer_role = "jobmanager"};
        rig->guards[END_ACCEPTED] = (struct weir_stream_guard){.tls = weir_test_tls_node(&rig->certs, "jobmanager"), .peer_role = "taskmanager"};
    }
    ck_assert_msg(weir_stream_listen("127.0.0.1", 0, &rig->guards[END_ACCEPTED], on_accept, rig, &rig->listener, &err) == WEIR_OK, "%s", err.text);
    rig_dial(rig);
    rig_wait(rig, &rig->dials, 1);
    rig_wait(rig, &rig->streams, 2);
    ck_assert_int_eq(rig->dialed_rc, WEIR_OK);
    weir_stream_attach(rig->ends[0], &callbacks, rig);
    weir_stream_attach(rig->ends[1], &callbacks, rig);
}

static void rig_fini(struct rig *rig)
{
    weir_stream_dial_destroy(rig->dial);
    weir_stream_destroy(rig->ends[0]);
    weir_stream_destroy(rig->ends[1]);
    weir_stream_listener_destroy(rig->listener);
    if (rig->secure) {
        weir_tls_destroy(rig->guards[END_DIALED].tls);
        weir_tls_destroy(rig->guards[END_ACCEPTED].tls);
        weir_test_tls_fini(&rig->certs);
    }
    weir_cond_fini(&rig->cond);
    weir_mutex_fini(&rig->mutex);
    nng_fini();
}

/* Runs of any cut, into pieces of any other cut: the same bytes in the same order. */
START_TEST(bytes_arrive_whole_and_in_order)
{
    struct rig rig;
    rig_init(&rig, _i == 1);
    struct weir_rand rand;
    weir_rand_init(&rand, 11);
    uint8_t *from = weir_malloc(TOTAL_BYTES);
    uint8_t *to = weir_calloc(1, TOTAL_BYTES);
    for (size_t i = 0; i < TOTAL_BYTES; i += 8) {
        uint64_t word = weir_rand_u64(&rand);
        memcpy(from + i, &word, 8);
    }
    size_t sent = 0;
    size_t received = 0;
    uint32_t sends = 0;
    uint32_t receives = 0;
    bool receiving = false;
    while (received < TOTAL_BYTES) {
        if (sent < TOTAL_BYTES && rig_sent(&rig, sends)) {
            struct weir_slice runs[WEIR_STREAM_RUNS_MAX];
            uint32_t count = 1 + (uint32_t)weir_rand_below(&rand, WEIR_STREAM_RUNS_MAX);
            for (uint32_t i = 0; i < count; i++) {
                size_t most = TOTAL_BYTES - sent;
                size_t len = (size_t)weir_rand_below(&rand, weir_rand_below(&rand, 8) == 0 ? 1 << 20 : 300) + 1;
                len = len < most ? len : most;
                runs[i] = weir_slice(from + sent, len);
                sent += len;
            }
            sends++;
            weir_stream_send(rig.ends[END_DIALED], runs, count);
        }
        if (!receiving) {
            size_t most = 1 + (size_t)weir_rand_below(&rand, 100000);
            receiving = true;
            weir_stream_receive(rig.ends[END_ACCEPTED], to + received,
                                most < TOTAL_BYTES - received ? most : TOTAL_BYTES - received);
        }
        rig_wait(&rig, &rig.receives, receives + 1);
        ck_assert_int_eq(rig.received_rc, WEIR_OK);
        ck_assert_uint_gt(rig.received_bytes, 0);
        received += rig.received_bytes;
        receives++;
        receiving = false;
        if (received == sent) { /* nothing more comes before the next send */
            rig_wait(&rig, &rig.sends, sends);
        }
    }
    ck_assert_int_eq(memcmp(from, to, TOTAL_BYTES), 0);
    rig_wait(&rig, &rig.sends, sends);
    weir_free(from);
    weir_free(to);
    rig_fini(&rig);
}
END_TEST

START_TEST(the_peers_end_is_noticed_at_once)
{
    struct rig rig;
    rig_init(&rig, _i == 1);
    uint8_t byte;
    weir_stream_receive(rig.ends[END_ACCEPTED], &byte, 1);
    weir_stream_destroy(rig.ends[END_DIALED]);
    rig.ends[END_DIALED] = NULL;
    rig_wait(&rig, &rig.receives, 1);
    ck_assert_int_eq(rig.received_rc, WEIR_CLOSED);
    rig_fini(&rig);
}
END_TEST

START_TEST(closing_ends_what_is_in_flight)
{
    struct rig rig;
    rig_init(&rig, _i == 1);
    uint8_t byte;
    uint8_t *much = weir_calloc(1, TOTAL_BYTES);
    struct weir_slice run = weir_slice(much, TOTAL_BYTES); /* more than the kernel buffers: the peer does not read */
    weir_stream_receive(rig.ends[END_DIALED], &byte, 1);
    weir_stream_send(rig.ends[END_DIALED], &run, 1);
    weir_stream_close(rig.ends[END_DIALED]);
    weir_stream_close(rig.ends[END_DIALED]);
    rig_wait(&rig, &rig.receives, 1);
    rig_wait(&rig, &rig.sends, 1);
    ck_assert_int_eq(rig.received_rc, WEIR_CLOSED);
    ck_assert_int_eq(rig.sent_rc, WEIR_CLOSED);
    weir_stream_receive(rig.ends[END_DIALED], &byte, 1); /* and later ones complete too */
    rig_wait(&rig, &rig.receives, 2);
    ck_assert_int_eq(rig.received_rc, WEIR_CLOSED);
    ck_assert_uint_eq(rig.sends, 1);
    weir_free(much);
    rig_fini(&rig);
}
END_TEST

START_TEST(nobody_there_and_port_taken)
{
    struct rig rig;
    rig_init(&rig, _i == 1);
    struct weir_error err;
    struct weir_stream_listener *second = NULL;
    uint16_t port = weir_stream_listener_port(rig.listener);
    ck_assert_int_eq(weir_stream_listen("127.0.0.1", port, NULL, on_accept, &rig, &second, &err), WEIR_EXISTS);
    weir_stream_listener_destroy(rig.listener);
    rig.listener = NULL;
    weir_stream_dial_destroy(rig.dial);
    rig.dial = NULL;
    char address[64];
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", port);
    ck_assert_int_eq(weir_stream_dial(address, NULL, 30000, on_dialed, &rig, &rig.dial, &err), WEIR_OK);
    rig_wait(&rig, &rig.dials, 2);
    ck_assert_int_eq(rig.dialed_rc, WEIR_CLOSED);
    rig_fini(&rig);
}
END_TEST

START_TEST(a_listener_out_of_descriptors_rests_and_recovers)
{
    struct rig rig;
    rig_init(&rig, _i == 1);
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit tight = {.rlim_cur = 256, .rlim_max = limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
    int fds[256];
    int count = 0;
    while ((fds[count] = dup(0)) >= 0) {
        count++;
    }
    ck_assert_int_gt(count, 2);
    (void)close(fds[--count]); /* room for the dialing end only */
    struct weir_stream *first[2] = {rig.ends[0], rig.ends[1]};
    weir_stream_dial_destroy(rig.dial);
    struct rusage before;
    struct rusage after;
    rig_dial(&rig);
    rig_wait(&rig, &rig.dials, 2);
    (void)getrusage(RUSAGE_SELF, &before);
    weir_mutex_lock(&rig.mutex);
    int64_t until_ns = weir_clock_mono_ns(weir_clock_real()) + 300 * 1000000ll;
    while (weir_cond_wait_until(&rig.cond, &rig.mutex, until_ns)) {
    }
    uint32_t streams = rig.streams;
    weir_mutex_unlock(&rig.mutex);
    (void)getrusage(RUSAGE_SELF, &after);
    ck_assert_uint_eq(streams, 3); /* dialed, but not accepted */
    int64_t cpu_ms = (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000 +
                     (after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec) / 1000;
    ck_assert_int_lt(cpu_ms, 150);
    while (count > 0) {
        (void)close(fds[--count]);
    }
    rig_wait(&rig, &rig.streams, 4);
    weir_stream_destroy(first[0]);
    weir_stream_destroy(first[1]);
    rig_fini(&rig);
}
END_TEST

Suite *stream_suite(void);
Suite *stream_suite(void)
{
    Suite *suite = suite_create("stream");
    TCase *tc = tcase_create("all");
    tcase_add_loop_test(tc, bytes_arrive_whole_and_in_order, 0, 2); /* plain, TLS */
    tcase_add_loop_test(tc, the_peers_end_is_noticed_at_once, 0, 2);
    tcase_add_loop_test(tc, closing_ends_what_is_in_flight, 0, 2);
    tcase_add_loop_test(tc, nobody_there_and_port_taken, 0, 2);
    tcase_add_loop_test(tc, a_listener_out_of_descriptors_rests_and_recovers, 0, 2);
    suite_add_tcase(suite, tc);
    return suite;
}
