#include "taskmanager/operators/source.h"

#include "taskmanager/connectors/conn_test_kit.h"

enum { IDLE_MS = 1000, ROWS = 60000 };

static const char *const columns[] = {"id", "BIGINT", "at", "TIMESTAMP_LTZ(3)", NULL};

/* Two splits that are read one after the other: the second has rows, but is not asked for them before the first is at its end. */
static struct weir_source_op *open_two(struct conn_kit *kit, struct weir_schema **out_schema)
{
    struct weir_error err = {0};
    const struct weir_field fields[] = {{"id", {.id = WEIR_TYPE_BIGINT}}, {"at", {.id = WEIR_TYPE_TIMESTAMP_LTZ, .precision = 3}}};
    conn_kit_init(kit, "filesystem", columns, NULL);
    ck_assert_int_eq(weir_schema_create(fields, 2, 1, out_schema, &err), WEIR_OK);
    kit->table.schema = *out_schema;
    kit->table.has_watermark = true;
    kit->settings.idle_timeout_ms = IDLE_MS;
    kit->settings.watermark_interval_ms = 1;
    struct weir_buf text = {0};
    for (uint32_t i = 0; i < ROWS; i++) {
        weir_buf_put_fmt(&text, "{\"id\":%u,\"at\":%u}\n", i, 1000 + i);
    }
    conn_kit_write(kit, "a", weir_buf_slice(&text));
    conn_kit_write(kit, "b", weir_buf_slice(&text));
    weir_buf_fini(&text);
    struct weir_source_op *op = NULL;
    ck_assert_msg(weir_source_op_open(&kit->ctx, &op, &err) == WEIR_OK, "%s", err.text);
    for (const char *name = "ab"; *name != '\0'; name++) {
        struct weir_buf data = {0};
        weir_buf_put_u64(&data, 0);
        weir_buf_put_u64(&data, UINT64_MAX);
        weir_buf_put_fmt(&data, "%s/%c", kit->dir, *name);
        struct weir_split split = {.id = weir_slice(name, 1), .data = weir_buf_slice(&data)};
        ck_assert_msg(weir_source_op_add_split(op, split, &err) == WEIR_OK, "%s", err.text);
        weir_buf_fini(&data);
    }
    return op;
}

static enum weir_source_kind poll_at(struct weir_source_op *op, int64_t now_ms, struct weir_source_event *out_event)
{
    struct weir_error err = {0};
    ck_assert_msg(weir_source_op_poll(op, now_ms, out_event, &err) == WEIR_OK, "%s", err.text);
    weir_batch_unref(out_event->batch);
    return out_event->kind;
}

START_TEST(a_split_that_was_not_asked_is_not_idle)
{
    struct conn_kit kit;
    struct weir_schema *schema;
    struct weir_source_event event;
    struct weir_source_op *op = open_two(&kit, &schema);
    int64_t now_ms = weir_clock_mono_ms(kit.ctx.clock);
    /* Held up for ten seconds after each of a few batches: nothing was asked, so nothing is idle, and no watermark passes the split. */
    for (uint32_t i = 0; i < 4; i++, now_ms += 10000) {
        ck_assert_int_eq(poll_at(op, now_ms, &event), WEIR_SOURCE_BATCH);
    }
    /* As long, but without a pause: now it is. */
    now_ms -= 10000;
    uint32_t polls = 0;
    while (poll_at(op, now_ms += 50, &event) == WEIR_SOURCE_BATCH) {
        polls++;
    }
    ck_assert_int_eq(event.kind, WEIR_SOURCE_WATERMARK);
    ck_assert_uint_ge(polls, 5);
    ck_assert_uint_le(polls, IDLE_MS / 50);
    weir_source_op_close(op);
    conn_kit_fini(&kit);
    weir_schema_unref(schema);
}
END_TEST

START_TEST(waiting_for_memory_is_not_idleness_and_waiting_for_rows_is)
{
    struct conn_kit kit;
    struct weir_schema *schema;
    struct weir_source_event event;
    struct weir_mem *small = weir_mem_create("small", 4 << 20, NULL);
    struct weir_source_op *op = open_two(&kit, &schema);
    weir_source_op_close(op);
    kit.ctx.mem = small;
    kit.deferred = true; /* nothing is read: the source waits for its executor */
    struct weir_error err = {0};
    ck_assert_int_eq(weir_source_op_open(&kit.ctx, &op, &err), WEIR_OK);
    struct weir_buf data = {0};
    weir_buf_put_u64(&data, 0);
    weir_buf_put_u64(&data, UINT64_MAX);
    weir_buf_put_fmt(&data, "%s/a", kit.dir);
    ck_assert_int_eq(weir_source_op_add_split(op, (struct weir_split){.id = weir_slice("a", 1), .data = weir_buf_slice(&data)}, &err), WEIR_OK);
    weir_buf_fini(&data);
    int64_t now_ms = weir_clock_mono_ms(kit.ctx.clock);
    uint64_t rest = weir_mem_limit(small) - weir_mem_used(small);
    weir_mem_charge(small, rest);
    for (uint32_t i = 0; i < 1000; i++, now_ms += 10) {
        ck_assert_int_eq(poll_at(op, now_ms, &event), WEIR_SOURCE_NOTHING);
    }
    weir_mem_uncharge(small, rest);
    ck_assert_int_eq(poll_at(op, now_ms, &event), WEIR_SOURCE_NOTHING);
    ck_assert_int_eq(event.wait_ms, IDLE_MS);
    now_ms += IDLE_MS - 300; /* woken for something else: what is left to wait is less */
    ck_assert_int_eq(poll_at(op, now_ms, &event), WEIR_SOURCE_NOTHING);
    ck_assert_int_eq(event.wait_ms, 300);
    ck_assert_int_eq(poll_at(op, now_ms + 300, &event), WEIR_SOURCE_IDLE);
    while (conn_kit_step(&kit)) {
    }
    weir_source_op_close(op);
    weir_mem_destroy(small);
    conn_kit_fini(&kit);
    weir_schema_unref(schema);
}
END_TEST

Suite *source_suite(void);
Suite *source_suite(void)
{
    Suite *suite = suite_create("source");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, a_split_that_was_not_asked_is_not_idle);
    tcase_add_test(tc, waiting_for_memory_is_not_idleness_and_waiting_for_rows_is);
    suite_add_tcase(suite, tc);
    return suite;
}
