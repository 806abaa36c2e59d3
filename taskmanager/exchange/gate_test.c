#include "taskmanager/exchange/gate.h"

#include "common/base/rand.h"
#include "tests/lib/rows.h"

#include <check.h>

enum { CHANNELS = 3 };

static void push(struct weir_channel *channel, enum weir_element_kind kind, int64_t value)
{
    ck_assert(weir_channel_push(channel, (struct weir_element){.kind = kind, .value = value}));
}

static struct weir_gate_event poll(struct weir_gate *gate)
{
    struct weir_gate_event event;
    struct weir_error err;
    ck_assert_int_eq(weir_gate_poll(gate, &event, &err), WEIR_OK);
    return event;
}

static struct weir_gate *gate_of(struct weir_channel *channels[CHANNELS], uint32_t inputs)
{
    struct weir_gate *gate = weir_gate_create(inputs);
    for (uint32_t i = 0; i < CHANNELS; i++) {
        channels[i] = weir_channel_create(1 << 20);
        weir_gate_add_channel_take(gate, i % inputs, channels[i]);
    }
    return gate;
}

static void release(struct weir_gate *gate, struct weir_channel *channels[CHANNELS])
{
    for (uint32_t i = 0; i < CHANNELS; i++) {
        weir_channel_release_producer(channels[i]);
    }
    weir_gate_destroy(gate);
}

START_TEST(watermark_is_the_minimum_of_active_channels)
{
    struct weir_channel *channels[CHANNELS];
    struct weir_gate *gate = gate_of(channels, 1);
    push(channels[0], WEIR_ELEMENT_WATERMARK, 10);
    push(channels[1], WEIR_ELEMENT_WATERMARK, 5);
    ck_assert_int_eq(poll(gate).kind, WEIR_GATE_NOTHING); /* channel 2 has said nothing */
    push(channels[2], WEIR_ELEMENT_IDLE, 0);
    struct weir_gate_event event = poll(gate);
    ck_assert_int_eq(event.kind, WEIR_GATE_WATERMARK);
    ck_assert_int_eq(event.watermark_ms, 5);
    push(channels[1], WEIR_ELEMENT_WATERMARK, 20);
    ck_assert_int_eq(poll(gate).watermark_ms, 10);
    push(channels[2], WEIR_ELEMENT_WATERMARK, 3); /* wakes with an older one: never back */
    ck_assert_int_eq(poll(gate).kind, WEIR_GATE_NOTHING);
    push(channels[0], WEIR_ELEMENT_WATERMARK, 30);
    ck_assert_int_eq(poll(gate).kind, WEIR_GATE_NOTHING);
    push(channels[2], WEIR_ELEMENT_WATERMARK, 25);
    ck_assert_int_eq(poll(gate).watermark_ms, 20);
    release(gate, channels);
}
END_TEST

START_TEST(all_idle_is_told_once_and_ends_come_last)
{
    struct weir_channel *channels[CHANNELS];
    struct weir_gate *gate = gate_of(channels, 1);
    for (uint32_t i = 0; i < CHANNELS; i++) {
        push(channels[i], WEIR_ELEMENT_IDLE, 0);
    }
    ck_assert_int_eq(poll(gate).kind, WEIR_GATE_IDLE);
    ck_assert_int_eq(poll(gate).kind, WEIR_GATE_NOTHING);
    for (uint32_t i = 0; i < CHANNELS; i++) {
        push(channels[i], WEIR_ELEMENT_END, 0);
    }
    struct weir_gate_event event = poll(gate);
    ck_assert_int_eq(event.kind, WEIR_GATE_WATERMARK);
    ck_assert(event.watermark_ms == INT64_MAX);
    ck_assert_int_eq(poll(gate).kind, WEIR_GATE_END);
    ck_assert_int_eq(poll(gate).kind, WEIR_GATE_NOTHING);
    release(gate, channels);
}
END_TEST

START_TEST(a_channel_closed_without_end_is_an_error)
{
    struct weir_channel *channels[CHANNELS];
    struct weir_gate *gate = gate_of(channels, 1);
    push(channels[1], WEIR_ELEMENT_WATERMARK, 5);
    weir_channel_release_producer(channels[1]);
    struct weir_gate_event event;
    struct weir_error err;
    enum weir_rc rc = WEIR_OK;
    for (int i = 0; i < 4 && rc == WEIR_OK; i++) {
        rc = weir_gate_poll(gate, &event, &err);
    }
    ck_assert_int_eq(rc, WEIR_CLOSED);
    ck_assert_ptr_nonnull(strstr(err.text, "before it ended"));
    channels[1] = NULL;
    release(gate, channels);
}
END_TEST

START_TEST(batches_keep_their_input_and_the_order_of_their_channel)
{
    struct weir_channel *channels[CHANNELS];
    struct weir_gate *gate = gate_of(channels, CHANNELS);
    struct weir_mem *mem = weir_mem_create("test", 0, NULL);
    struct weir_schema *schema = weir_test_schema();
    for (int64_t n = 0; n < 30; n++) {
        struct weir_batch *batch = weir_test_rows(schema, n, 1, 20, mem);
        ck_assert(weir_channel_has_room(channels[n % CHANNELS]));
        ck_assert(weir_channel_push(channels[n % CHANNELS], (struct weir_element){.kind = WEIR_ELEMENT_BATCH, .batch = batch}));
    }
    int64_t next[CHANNELS] = {0, 1, 2};
    for (int i = 0; i < 30; i++) {
        struct weir_gate_event event = poll(gate);
        ck_assert_int_eq(event.kind, WEIR_GATE_BATCH);
        weir_test_check_row(event.batch, 0, next[event.input], 20);
        next[event.input] += CHANNELS;
        weir_batch_unref(event.batch);
    }
    ck_assert_int_eq(poll(gate).kind, WEIR_GATE_NOTHING);
    release(gate, channels);
    weir_schema_unref(schema);
    weir_mem_destroy(mem);
}
END_TEST

/* The gate against a naive model: random watermarks, idleness and ends. */
START_TEST(random_control_agrees_with_a_model)
{
    struct weir_rand rand;
    weir_rand_init(&rand, (uint64_t)_i);
    struct weir_channel *channels[CHANNELS];
    struct weir_gate *gate = gate_of(channels, 1);
    int64_t watermarks[CHANNELS] = {INT64_MIN, INT64_MIN, INT64_MIN};
    bool idle[CHANNELS] = {false};
    bool ended[CHANNELS] = {false};
    int64_t told = INT64_MIN;
    for (int step = 0; step < 300; step++) {
        uint32_t c = (uint32_t)weir_rand_below(&rand, CHANNELS);
        if (ended[c]) {
            continue;
        }
        uint64_t what = weir_rand_below(&rand, 40);
        if (what == 0) {
            push(channels[c], WEIR_ELEMENT_END, 0);
            ended[c] = true;
        } else if (what < 8) {
            push(channels[c], WEIR_ELEMENT_IDLE, 0);
            idle[c] = true;
        } else {
            int64_t value = (int64_t)weir_rand_below(&rand, 1000);
            push(channels[c], WEIR_ELEMENT_WATERMARK, value);
            idle[c] = false;
            watermarks[c] = value > watermarks[c] ? value : watermarks[c];
        }
        for (struct weir_gate_event event = poll(gate); event.kind != WEIR_GATE_NOTHING; event = poll(gate)) {
            if (event.kind == WEIR_GATE_WATERMARK) {
                ck_assert(event.watermark_ms > told);
                told = event.watermark_ms;
            }
        }
        int64_t least = INT64_MAX;
        bool any = false;
        for (int i = 0; i < CHANNELS; i++) {
            if (!ended[i] && !idle[i]) {
                any = true;
                least = watermarks[i] < least ? watermarks[i] : least;
            }
        }
        if (any) {
            ck_assert(told >= least); /* never behind what all active channels have reached */
        }
        ck_assert_int_eq(told == INT64_MAX, ended[0] && ended[1] && ended[2]);
    }
    release(gate, channels);
}
END_TEST

START_TEST(a_barrier_comes_when_all_channels_have_it_and_holds_the_early_ones)
{
    struct weir_channel *channels[CHANNELS];
    struct weir_gate *gate = gate_of(channels, 1);
    push(channels[0], WEIR_ELEMENT_BARRIER, 7);
    push(channels[0], WEIR_ELEMENT_WATERMARK, 99); /* behind the barrier: must wait */
    push(channels[1], WEIR_ELEMENT_WATERMARK, 99);
    push(channels[2], WEIR_ELEMENT_WATERMARK, 99);
    ck_assert_int_eq(poll(gate).kind, WEIR_GATE_NOTHING);
    ck_assert_uint_eq(weir_gate_aligning(gate), 7);
    push(channels[1], WEIR_ELEMENT_BARRIER, 7);
    ck_assert_int_eq(poll(gate).kind, WEIR_GATE_NOTHING);
    push(channels[2], WEIR_ELEMENT_BARRIER, 7);
    struct weir_gate_event event = poll(gate);
    ck_assert_int_eq(event.kind, WEIR_GATE_BARRIER);
    ck_assert_uint_eq(event.checkpoint, 7);
    ck_assert_int_eq(poll(gate).watermark_ms, 99);
    release(gate, channels);
}
END_TEST

START_TEST(an_aborted_or_overtaken_barrier_lets_the_channels_go)
{
    struct weir_channel *channels[CHANNELS];
    struct weir_gate *gate = gate_of(channels, 1);
    push(channels[0], WEIR_ELEMENT_BARRIER, 7);
    push(channels[0], WEIR_ELEMENT_WATERMARK, 5);
    push(channels[1], WEIR_ELEMENT_WATERMARK, 5);
    push(channels[2], WEIR_ELEMENT_WATERMARK, 5);
    ck_assert_int_eq(poll(gate).kind, WEIR_GATE_NOTHING);
    weir_gate_abort(gate, 7);
    ck_assert_int_eq(poll(gate).watermark_ms, 5);
    push(channels[1], WEIR_ELEMENT_BARRIER, 7); /* late: of the aborted one */
    push(channels[1], WEIR_ELEMENT_BARRIER, 8);
    push(channels[0], WEIR_ELEMENT_BARRIER, 9);
    push(channels[1], WEIR_ELEMENT_BARRIER, 9);
    push(channels[2], WEIR_ELEMENT_BARRIER, 9);
    struct weir_gate_event event = poll(gate);
    ck_assert_int_eq(event.kind, WEIR_GATE_BARRIER);
    ck_assert_uint_eq(event.checkpoint, 9);
    ck_assert_int_eq(poll(gate).kind, WEIR_GATE_NOTHING);
    release(gate, channels);
}
END_TEST

START_TEST(barriers_follow_the_end_and_a_finished_channel_counts_as_arrived)
{
    struct weir_channel *channels[CHANNELS];
    struct weir_gate *gate = gate_of(channels, 1);
    for (uint32_t i = 0; i < CHANNELS; i++) {
        push(channels[i], WEIR_ELEMENT_END, 0);
    }
    ck_assert_int_eq(poll(gate).kind, WEIR_GATE_WATERMARK);
    ck_assert_int_eq(poll(gate).kind, WEIR_GATE_END);
    push(channels[0], WEIR_ELEMENT_BARRIER, 3);
    push(channels[1], WEIR_ELEMENT_BARRIER, 3);
    ck_assert_int_eq(poll(gate).kind, WEIR_GATE_NOTHING);
    weir_channel_release_producer(channels[2]);
    channels[2] = NULL;
    struct weir_gate_event event = poll(gate);
    ck_assert_int_eq(event.kind, WEIR_GATE_BARRIER);
    ck_assert_uint_eq(event.checkpoint, 3);
    release(gate, channels);
}
END_TEST

Suite *gate_suite(void);
Suite *gate_suite(void)
{
    Suite *suite = suite_create("gate");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, watermark_is_the_minimum_of_active_channels);
    tcase_add_test(tc, all_idle_is_told_once_and_ends_come_last);
    tcase_add_test(tc, a_channel_closed_without_end_is_an_error);
    tcase_add_test(tc, batches_keep_their_input_and_the_order_of_their_channel);
    tcase_add_test(tc, a_barrier_comes_when_all_channels_have_it_and_holds_the_early_ones);
    tcase_add_test(tc, an_aborted_or_overtaken_barrier_lets_the_channels_go);
    tcase_add_test(tc, barriers_follow_the_end_and_a_finished_channel_counts_as_arrived);
    tcase_add_loop_test(tc, random_control_agrees_with_a_model, 1, 20);
    suite_add_tcase(suite, tc);
    return suite;
}
