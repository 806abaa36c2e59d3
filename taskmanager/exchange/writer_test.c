#include "taskmanager/exchange/writer.h"

#include "common/base/rand.h"
#include "tests/lib/rows.h"

#include <check.h>

enum { CONSUMERS = 4, ROWS = 20000, STR_BYTES = 30 };

static void add_edge(struct weir_writer *writer, const struct weir_edge *edge, struct weir_channel *channels[CONSUMERS], uint64_t bytes_max)
{
    for (int i = 0; i < CONSUMERS; i++) {
        channels[i] = weir_channel_create(bytes_max);
    }
    weir_writer_add_edge_take(writer, edge, channels, CONSUMERS);
}

/* Takes everything out of a channel; counts each row's number. */
static void drain(struct weir_channel *channel, uint32_t *seen, uint32_t mark, int64_t *last_watermark)
{
    for (struct weir_element e = weir_channel_pop(channel); e.kind != WEIR_ELEMENT_NONE; e = weir_channel_pop(channel)) {
        if (e.kind == WEIR_ELEMENT_WATERMARK) {
            *last_watermark = e.value;
            continue;
        }
        ck_assert_int_eq(e.kind, WEIR_ELEMENT_BATCH);
        for (uint32_t i = 0; i < weir_batch_rows(e.batch); i++) {
            uint32_t row = e.batch->sel == NULL ? i : weir_batch_sel(e.batch)[i];
            int64_t n = WEIR_COLUMN_VALUES(&e.batch->cols[0], const int64_t)[row];
            weir_test_check_row(e.batch, i, n, STR_BYTES);
            seen[n] += mark;
        }
        weir_batch_unref(e.batch);
    }
}

/* Each row reaches exactly one consumer, always the same one for its key, however small the credit; W1 to W3. */
START_TEST(every_row_reaches_its_consumer_once)
{
    static const enum weir_exchange exchanges[] = {WEIR_EXCHANGE_HASH, WEIR_EXCHANGE_REBALANCE, WEIR_EXCHANGE_BROADCAST};
    struct weir_rand rand;
    weir_rand_init(&rand, (uint64_t)_i);
    struct weir_mem *mem = weir_mem_create("test", 0, NULL);
    struct weir_schema *schema = weir_test_schema();
    uint32_t key = 0;
    struct weir_edge edge = {.exchange = exchanges[_i % 3], .keys = &key, .nkeys = 1, .schema = schema};
    struct weir_writer *writer = weir_writer_create(128, 0);
    struct weir_channel *channels[CONSUMERS];
    add_edge(writer, &edge, channels, _i < 3 ? 1 : 200000);
    uint32_t *seen = weir_calloc(ROWS, sizeof(*seen));
    int64_t watermarks[CONSUMERS] = {0};
    for (int64_t next = 0; next < ROWS;) {
        uint32_t count = (uint32_t)weir_rand_below(&rand, 500) + 1;
        count = next + count > ROWS ? (uint32_t)(ROWS - next) : count;
        weir_writer_emit_take(writer, weir_test_rows(schema, next, count, STR_BYTES, mem));
        next += count;
        weir_writer_broadcast(writer, (struct weir_element){.kind = WEIR_ELEMENT_WATERMARK, .value = next});
        while (!weir_writer_ready(writer)) {
            uint32_t c = (uint32_t)weir_rand_below(&rand, CONSUMERS);
            drain(channels[c], seen, 1u << (8 * c), &watermarks[c]);
        }
    }
    while (!weir_writer_drained(writer)) {
        for (uint32_t c = 0; c < CONSUMERS; c++) {
            drain(channels[c], seen, 1u << (8 * c), &watermarks[c]);
        }
    }
    for (uint32_t c = 0; c < CONSUMERS; c++) {
        drain(channels[c], seen, 1u << (8 * c), &watermarks[c]);
        ck_assert_int_eq(watermarks[c], ROWS);
        weir_channel_release_consumer(channels[c]);
    }
    uint32_t used = 0;
    for (uint32_t n = 0; n < ROWS; n++) {
        if (edge.exchange == WEIR_EXCHANGE_BROADCAST) {
            ck_assert_uint_eq(seen[n], 0x01010101);
        } else {
            ck_assert_msg(seen[n] == 1 || seen[n] == 0x100 || seen[n] == 0x10000 || seen[n] == 0x1000000, "row %u: %#x", n, seen[n]);
        }
        used |= seen[n];
    }
    ck_assert_uint_eq(used, 0x01010101); /* every consumer got some */
    weir_free(seen);
    weir_writer_destroy(writer);
    weir_schema_unref(schema);
    weir_mem_destroy(mem);
}
END_TEST

START_TEST(a_gone_consumer_swallows_and_nothing_leaks)
{
    struct weir_mem *mem = weir_mem_create("test", 0, NULL);
    struct weir_schema *schema = weir_test_schema();
    struct weir_edge edge = {.exchange = WEIR_EXCHANGE_REBALANCE, .schema = schema};
    struct weir_writer *writer = weir_writer_create(128, 1);
    struct weir_channel *channels[CONSUMERS];
    add_edge(writer, &edge, channels, 100);
    for (int i = 0; i < 20; i++) {
        weir_writer_emit_take(writer, weir_test_rows(schema, i, 10, STR_BYTES, mem));
    }
    ck_assert(!weir_writer_ready(writer));
    for (int c = 0; c < CONSUMERS; c++) {
        weir_channel_release_consumer(channels[c]);
    }
    ck_assert(weir_writer_drained(writer));
    weir_writer_destroy(writer);
    weir_schema_unref(schema);
    ck_assert_uint_eq(weir_mem_used(mem), 0);
    weir_mem_destroy(mem);
}
END_TEST

Suite *writer_suite(void);
Suite *writer_suite(void)
{
    Suite *suite = suite_create("writer");
    TCase *tc = tcase_create("all");
    tcase_add_loop_test(tc, every_row_reaches_its_consumer_once, 0, 6);
    tcase_add_test(tc, a_gone_consumer_swallows_and_nothing_leaks);
    suite_add_tcase(suite, tc);
    return suite;
}
