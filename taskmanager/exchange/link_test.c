#include "taskmanager/exchange/link.h"

#include "common/runtime/thread.h"
#include "common/runtime/waker.h"
#include "taskmanager/exchange/frame.h"
#include "tests/lib/rows.h"
#include "tests/lib/test_tls.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROWS_MAX = 400, STR_BYTES = 40, PATIENCE_MS = 90000 };

static const char job[] = "0123456789abcdef0123456789abcdef";

/* Two ends' owner in one: woken by whatever happens. */
struct world {
    struct weir_mem *mem;
    struct weir_schema *schema;
    struct weir_links *sender;
    struct weir_links *receiver;
    char address[64];
    struct weir_waker *waker;
    bool secure;
    struct weir_test_tls certs;
    struct weir_tls *tls; /* NULL: plain */
};

static void wake(void *ctx)
{
    weir_waker_wake(ctx);
}

static struct weir_links *links_create(struct world *world, const char *cluster, uint64_t credit_bytes, int64_t open_timeout_ms)
{
    struct weir_links_options options = {
        .host = "127.0.0.1",
        .cluster_id = cluster,
        .name = "tm",
        .credit_bytes = credit_bytes,
        .open_timeout_ms = open_timeout_ms,
        .mem = world->mem,
        .clock = weir_clock_real(),
        .tls = world->tls,
    };
    struct weir_links *links = NULL;
    struct weir_error err;
    ck_assert_msg(weir_links_create(&options, &links, &err) == WEIR_OK, "%s", err.text);
    return links;
}

/* secure: the same by TLS. */
static void world_init(struct world *world, bool secure, const char *receiver_cluster, uint64_t credit_bytes, int64_t open_timeout_ms)
{
    struct weir_error err;
    *world = (struct world){.mem = weir_mem_create("test", 0, NULL), .schema = weir_test_schema()};
    ck_assert_int_eq(weir_waker_create(&world->waker, &err), WEIR_OK);
    world->secure = secure;
    if (secure) {
        weir_test_tls_init(&world->certs);
        world->tls = weir_test_tls_node(&world->certs, "taskmanager");
    }
    world->sender = links_create(world, "c", credit_bytes, open_timeout_ms);
    world->receiver = links_create(world, receiver_cluster, credit_bytes, open_timeout_ms);
    (void)snprintf(world->address, sizeof(world->address), "127.0.0.1:%u", weir_links_port(world->receiver));
}

static void world_fini(struct world *world)
{
    weir_links_destroy(world->sender);
    weir_links_destroy(world->receiver);
    weir_tls_destroy(world->tls);
    if (world->secure) {
        weir_test_tls_fini(&world->certs);
    }
    weir_waker_destroy(world->waker);
    weir_schema_unref(world->schema);
    ck_assert_uint_eq(weir_mem_used(world->mem), 0);
    weir_mem_destroy(world->mem);
}

/* The producer end and the consumer end of channel `to` between the two. */
static struct weir_channel *open_producer_in(struct world *world, uint32_t region, uint32_t attempt, uint32_t to, uint64_t bytes_max)
{
    struct weir_channel *channel = weir_channel_create(bytes_max);
    weir_channel_set_producer_take(channel, (struct weir_channel_wake){.wake = wake, .ctx = world->waker});
    struct weir_channel_id id = {.job_id = job, .region = region, .attempt = attempt, .edge = 1, .from = 2, .to = to};
    weir_links_send_take(world->sender, world->address, &id, channel);
    return channel;
}

static struct weir_channel *open_consumer_in(struct world *world, uint32_t region, uint32_t attempt, uint32_t to, uint64_t bytes_max)
{
    struct weir_channel *channel = weir_channel_create(bytes_max);
    weir_channel_set_consumer_take(channel, (struct weir_channel_wake){.wake = wake, .ctx = world->waker});
    struct weir_channel_id id = {.job_id = job, .region = region, .attempt = attempt, .edge = 1, .from = 2, .to = to};
    weir_links_receive_take(world->receiver, &id, world->schema, channel);
    return channel;
}

static struct weir_channel *open_producer(struct world *world, uint32_t attempt, uint32_t to, uint64_t bytes_max)
{
    return open_producer_in(world, 1, attempt, to, bytes_max);
}

static struct weir_channel *open_consumer(struct world *world, uint32_t attempt, uint32_t to, uint64_t bytes_max)
{
    return open_consumer_in(world, 1, attempt, to, bytes_max);
}

struct stream_state {
    struct weir_channel *producer, *consumer;
    int64_t sent, received;
    bool end_sent, end_received, broken;
};

/* Pushes and pops what goes now; checks the order. Whether anything happened. */
static bool turn(struct world *world, struct stream_state *state, int64_t rows)
{
    bool any = false;
    for (int pushed = 0; pushed < 64 && !state->end_sent && weir_channel_has_room(state->producer); pushed++) {
        any = true;
        if (state->sent >= rows) {
            state->end_sent = weir_channel_push(state->producer, (struct weir_element){.kind = WEIR_ELEMENT_END});
            continue;
        }
        uint32_t count = (uint32_t)(state->sent * 31 % ROWS_MAX) + 1;
        struct weir_batch *batch = weir_test_rows(world->schema, state->sent, count, STR_BYTES, world->mem);
        ck_assert(weir_channel_push(state->producer, (struct weir_element){.kind = WEIR_ELEMENT_BATCH, .batch = batch}));
        state->sent += count;
        (void)weir_channel_push(state->producer, (struct weir_element){.kind = WEIR_ELEMENT_WATERMARK, .value = state->sent});
    }
    for (struct weir_element e = weir_channel_pop(state->consumer); e.kind != WEIR_ELEMENT_NONE; e = weir_channel_pop(state->consumer)) {
        any = true;
        if (e.kind == WEIR_ELEMENT_BATCH) {
            for (uint32_t i = 0; i < weir_batch_rows(e.batch); i++) {
                weir_test_check_row(e.batch, i, state->received++, STR_BYTES);
            }
            weir_batch_unref(e.batch);
        } else if (e.kind == WEIR_ELEMENT_WATERMARK) {
            ck_assert_int_eq(e.value, state->received); /* in order with the batches */
        } else {
            ck_assert_int_eq(e.kind, WEIR_ELEMENT_END);
            state->end_received = true;
        }
    }
    if (!state->end_received && weir_channel_closed(state->consumer)) {
        state->broken = true;
    }
    return any;
}

static void run_until(struct world *world, struct stream_state *states, uint32_t count, int64_t rows, bool (*done)(const struct stream_state *))
{
    int64_t deadline_ms = weir_clock_mono_ms(weir_clock_real()) + PATIENCE_MS;
    for (;;) {
        bool any = false;
        bool all = true;
        weir_waker_prepare(world->waker);
        for (uint32_t i = 0; i < count; i++) {
            any |= turn(world, &states[i], rows);
            all &= done(&states[i]);
        }
        if (all) {
            weir_waker_cancel(world->waker);
            return;
        }
        ck_assert_msg(weir_clock_mono_ms(weir_clock_real()) < deadline_ms, "stuck: sent %lld, received %lld", (long long)states[0].sent,
                      (long long)states[0].received);
        if (any) {
            weir_waker_cancel(world->waker);
        } else {
            weir_waker_wait(world->waker, 1000, NULL, 0);
        }
    }
}

static bool ended(const struct stream_state *state)
{
    return state->end_received;
}

static bool is_broken(const struct stream_state *state)
{
    return state->broken;
}

static void release(struct stream_state *states, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        weir_channel_release_producer(states[i].producer);
        weir_channel_release_consumer(states[i].consumer);
    }
}

/* Many channels on one connection, credit from tiny to wide: every row arrives once, in order, with its watermarks. */
START_TEST(rows_arrive_once_and_in_order)
{
    static const uint64_t credits[] = {1, 50000, 1 << 20};
    enum { STREAMS = 5, ROWS = 100000 };
    struct world world;
    world_init(&world, _i >= 3, "c", credits[_i % 3], 5000);
    struct stream_state states[STREAMS] = {{0}};
    for (uint32_t i = 0; i < STREAMS; i++) {
        if (i % 2 == 0) { /* whichever side comes first */
            states[i].producer = open_producer(&world, 1, i, 100000);
            states[i].consumer = open_consumer(&world, 1, i, 100000);
        } else {
            states[i].consumer = open_consumer(&world, 1, i, 100000);
            states[i].producer = open_producer(&world, 1, i, 100000);
        }
    }
    run_until(&world, states, STREAMS, ROWS, ended);
    for (uint32_t i = 0; i < STREAMS; i++) {
        ck_assert_int_eq(states[i].received, states[i].sent);
    }
    release(states, STREAMS);
    world_fini(&world);
}
END_TEST

START_TEST(an_end_sent_before_the_receiver_was_deployed_arrives)
{
    struct world world;
    world_init(&world, _i == 1, "c", 1 << 20, 5000);
    struct stream_state first = {.producer = open_producer(&world, 1, 0, 100000), .consumer = open_consumer(&world, 1, 0, 100000)};
    run_until(&world, &first, 1, 1000, ended); /* the connection stands: what is sent now goes out at once */
    struct weir_links_stats before;
    struct weir_links_stats after;
    weir_links_stats(world.receiver, &before);
    struct stream_state late = {.producer = open_producer(&world, 1, 1, 100000), .end_sent = true};
    (void)weir_channel_push(late.producer, (struct weir_element){.kind = WEIR_ELEMENT_END});
    do { /* until the opening has come, to a receiver that does not expect it */
        weir_links_stats(world.receiver, &after);
    } while (after.frames_received == before.frames_received);
    late.consumer = open_consumer(&world, 1, 1, 100000);
    run_until(&world, &late, 1, 0, ended);
    release(&first, 1);
    release(&late, 1);
    world_fini(&world);
}
END_TEST

START_TEST(a_lost_sender_is_closed_and_never_ended)
{
    struct world world;
    world_init(&world, _i == 1, "c", 1 << 20, 5000);
    struct stream_state state = {.producer = open_producer(&world, 1, 0, 100000), .consumer = open_consumer(&world, 1, 0, 100000)};
    while (state.received < 1000) {
        (void)turn(&world, &state, 1 << 30);
    }
    weir_links_destroy(world.sender);
    world.sender = NULL;
    run_until(&world, &state, 1, 0, is_broken);
    ck_assert(!state.end_received);
    release(&state, 1);
    world_fini(&world);
}
END_TEST

START_TEST(a_producer_that_leaves_without_end_breaks_the_channel)
{
    struct world world;
    world_init(&world, _i == 1, "c", 1 << 20, 5000);
    struct stream_state state = {.producer = open_producer(&world, 1, 0, 100000), .consumer = open_consumer(&world, 1, 0, 100000)};
    while (state.received < 1000) {
        (void)turn(&world, &state, 1 << 30);
    }
    weir_channel_release_producer(state.producer);
    state.producer = NULL;
    state.end_sent = true;
    run_until(&world, &state, 1, 0, is_broken);
    release(&state, 1);
    world_fini(&world);
}
END_TEST

START_TEST(a_dropped_attempt_breaks_now_and_later)
{
    struct world world;
    world_init(&world, _i == 1, "c", 1 << 20, 5000);
    struct stream_state state = {.producer = open_producer(&world, 3, 0, 100000), .consumer = open_consumer(&world, 3, 0, 100000)};
    struct stream_state others[] = {/* of regions 11 and 0, with an earlier attempt */
                                    {.producer = open_producer_in(&world, 11, 1, 0, 100000), .consumer = open_consumer_in(&world, 11, 1, 0, 100000)},
                                    {.producer = open_producer_in(&world, 0, 2, 0, 100000), .consumer = open_consumer_in(&world, 0, 2, 0, 100000)}};
    while (state.received < 1000 || others[0].received < 1000 || others[1].received < 1000) {
        (void)turn(&world, &state, 1 << 30);
        (void)turn(&world, &others[0], 1 << 30);
        (void)turn(&world, &others[1], 1 << 30);
    }
    weir_links_drop(world.receiver, job, 1, 3);
    run_until(&world, &state, 1, 1 << 30, is_broken);
    struct stream_state late = {.end_sent = true, .consumer = open_consumer(&world, 2, 0, 100000)};
    run_until(&world, &late, 1, 0, is_broken);
    int64_t before[] = {others[0].received, others[1].received};
    while (others[0].received < before[0] + 100000 || others[1].received < before[1] + 100000) {
        (void)turn(&world, &others[0], 1 << 30);
        (void)turn(&world, &others[1], 1 << 30);
        ck_assert(!others[0].broken && !others[1].broken);
    }
    release(&state, 1);
    release(&late, 1);
    release(others, 2);
    world_fini(&world);
}
END_TEST

START_TEST(a_peer_of_another_cluster_and_one_that_never_comes)
{
    struct world world;
    world_init(&world, _i == 1, "other", 1 << 20, 300);
    struct weir_links_stats stats = {0};
    for (uint32_t i = 0; stats.malformed == 0; i++) { /* once more where both had run out of time before a word was said */
        struct stream_state state = {.producer = open_producer(&world, 1, i, 100000), .consumer = open_consumer(&world, 1, i, 100000)};
        run_until(&world, &state, 1, 1 << 20, is_broken); /* refused; and the expected channel runs out of time */
        ck_assert_int_eq(state.received, 0);
        release(&state, 1);
        weir_links_stats(world.receiver, &stats);
    }
    world_fini(&world);
}
END_TEST

static int dial(const struct weir_links *links)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(weir_links_port(links)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = PATIENCE_MS / 1000};
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

static void check_closed(int fd)
{
    char byte;
    ssize_t got;
    do {
        got = recv(fd, &byte, 1, 0);
    } while (got < 0 && errno == EINTR); /* with a time-out it is not begun anew when a stopped process goes on */
    ck_assert_msg(got == 0 || (got < 0 && errno == ECONNRESET), "still open: %zd, %s", got, strerror(errno));
    (void)close(fd);
}

START_TEST(strangers_are_closed)
{
    struct world world;
    world_init(&world, false, "c", 1 << 20, 300);
    int silent = dial(world.receiver);
    int large = dial(world.receiver);
    struct weir_buf header = {0};
    weir_frame_put_header(&header, WEIR_FRAME_HELLO, 0, 1 << 20); /* within the limit of those who have said hello */
    ck_assert_int_eq(send(large, header.data, header.len, MSG_NOSIGNAL), (ssize_t)header.len);
    check_closed(large);
    check_closed(silent); /* it had open_timeout_ms */
    struct weir_links_stats stats = {0};
    while (stats.malformed == 0) { /* published behind the closing */
        (void)sched_yield();
        weir_links_stats(world.receiver, &stats);
    }
    weir_buf_fini(&header);
    world_fini(&world);
}
END_TEST

/* Over TLS: plaintext, and a certificate of this very authority that is not a TaskManager's; the right peer is served all the same. */
START_TEST(a_plaintext_peer_and_one_of_another_role_are_refused)
{
    struct world world;
    world_init(&world, true, "c", 1 << 20, 3000);
    struct weir_buf hello = {0};
    weir_frame_put_header(&hello, WEIR_FRAME_HELLO, 0, 0);
    weir_buf_put_bytes(&hello, weir_slice_str("c"));
    weir_buf_put_bytes(&hello, weir_slice_str("tm"));
    weir_frame_finish(&hello, 0);
    int plain = dial(world.receiver);
    ck_assert_int_eq(send(plain, hello.data, hello.len, MSG_NOSIGNAL), (ssize_t)hello.len);
    char alert[64];
    ssize_t got;
    do {
        got = recv(plain, alert, sizeof(alert), 0);
    } while (got > 0 || (got < 0 && errno == EINTR));
    check_closed(plain);
    struct weir_links *right = world.sender;
    struct weir_tls *own = world.tls;
    world.tls = weir_test_tls_node(&world.certs, "jobmanager");
    world.sender = links_create(&world, "c", 1 << 20, 3000);
    struct stream_state state = {.producer = open_producer(&world, 1, 0, 100000), .consumer = open_consumer(&world, 1, 0, 100000)};
    run_until(&world, &state, 1, 1 << 20, is_broken);
    ck_assert_int_eq(state.received, 0);
    release(&state, 1);
    struct weir_tls_stats stats = {0};
    while (stats.refused < 2) { /* without them the test's time is over */
        weir_tls_stats(own, &stats);
        (void)sched_yield();
    }
    ck_assert_uint_eq(stats.handshakes, 0);
    weir_links_destroy(world.sender);
    weir_tls_destroy(world.tls);
    world.tls = own;
    world.sender = right;
    state = (struct stream_state){.producer = open_producer(&world, 1, 1, 100000), .consumer = open_consumer(&world, 1, 1, 100000)};
    run_until(&world, &state, 1, 1000, ended);
    ck_assert_int_eq(state.received, state.sent);
    release(&state, 1);
    weir_buf_fini(&hello);
    world_fini(&world);
}
END_TEST

Suite *link_suite(void);
Suite *link_suite(void)
{
    Suite *suite = suite_create("link");
    TCase *tc = tcase_create("all");
    tcase_add_loop_test(tc, rows_arrive_once_and_in_order, 0, 6); /* plain, TLS */
    tcase_add_loop_test(tc, an_end_sent_before_the_receiver_was_deployed_arrives, 0, 2);
    tcase_add_loop_test(tc, a_lost_sender_is_closed_and_never_ended, 0, 2);
    tcase_add_loop_test(tc, a_producer_that_leaves_without_end_breaks_the_channel, 0, 2);
    tcase_add_loop_test(tc, a_dropped_attempt_breaks_now_and_later, 0, 2);
    tcase_add_loop_test(tc, a_peer_of_another_cluster_and_one_that_never_comes, 0, 2);
    tcase_add_test(tc, strangers_are_closed);
    tcase_add_test(tc, a_plaintext_peer_and_one_of_another_role_are_refused);
    suite_add_tcase(suite, tc);
    return suite;
}
