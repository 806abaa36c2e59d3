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

enum { SPLITS = 7 };

static struct weir_split split_of(const struct conn_kit *kit, uint32_t i, struct weir_buf *data)
{
    static const char names[] = "abcdefg";
    weir_buf_clear(data);
    weir_buf_put_u64(data, 0);
    weir_buf_put_u64(data, UINT64_MAX);
    weir_buf_put_fmt(data, "%s/%c", kit->dir, names[i]);
    return (struct weir_split){.id = weir_slice(names + i, 1), .data = weir_buf_slice(data)};
}

/* What subtask `subtask` of so many has after `polls` batches, with the watermark that it has given out. */
static void read_on(struct conn_kit *kit, uint32_t subtask, uint32_t parallelism, uint32_t polls, struct weir_buf *out_state)
{
    struct weir_source_op *op = NULL;
    struct weir_error err = {0};
    struct weir_source_event event;
    struct weir_buf data = {0};
    ck_assert_int_eq(weir_source_op_open(&kit->ctx, &op, &err), WEIR_OK);
    for (uint32_t i = subtask; i < SPLITS - 1; i += parallelism) { /* the last was never read */
        ck_assert_int_eq(weir_source_op_add_split(op, split_of(kit, i, &data), &err), WEIR_OK);
    }
    int64_t now_ms = weir_clock_mono_ms(kit->ctx.clock);
    for (uint32_t i = 0; i < polls; i++) {
        (void)poll_at(op, now_ms += 10, &event);
    }
    weir_source_op_snapshot(op, 1, out_state);
    weir_source_op_close(op);
    weir_buf_fini(&data);
}

/* Restores subtask `subtask` of `parallelism`; the sum of the rows that it still reads, and its first watermark. */
static enum weir_rc read_rest(struct conn_kit *kit, uint32_t subtask, uint32_t parallelism, const struct weir_buf *states, uint32_t nstates, bool own,
                              uint64_t *out_rows, int64_t *out_watermark_ms)
{
    struct weir_source_op *op = NULL;
    struct weir_error err = {0};
    struct weir_source_event event = {0};
    struct weir_buf data[SPLITS] = {0};
    struct weir_split splits[SPLITS];
    uint32_t nsplits = 0;
    for (uint32_t i = subtask; i < SPLITS; i += parallelism, nsplits++) {
        splits[nsplits] = split_of(kit, i, &data[i]);
    }
    ck_assert_int_eq(weir_source_op_open(&kit->ctx, &op, &err), WEIR_OK);
    enum weir_rc rc = WEIR_OK;
    for (uint32_t s = 0; s < nstates && rc == WEIR_OK; s++) {
        rc = weir_source_op_restore(op, splits, nsplits, own, weir_buf_slice(&states[s]), &err);
    }
    rc = rc == WEIR_OK ? weir_source_op_restored(op, splits, nsplits, &err) : rc;
    int64_t now_ms = weir_clock_mono_ms(kit->ctx.clock);
    *out_watermark_ms = INT64_MIN;
    for (bool first = true; rc == WEIR_OK && event.kind != WEIR_SOURCE_END; first = false, now_ms += 10) {
        ck_assert_int_eq(weir_source_op_poll(op, now_ms, &event, &err), WEIR_OK);
        if (first && event.kind == WEIR_SOURCE_WATERMARK) {
            *out_watermark_ms = event.watermark_ms;
        }
        if (event.kind == WEIR_SOURCE_BATCH) {
            *out_rows += weir_batch_rows(event.batch);
            weir_batch_unref(event.batch);
        }
    }
    weir_source_op_close(op);
    for (uint32_t i = 0; i < SPLITS; i++) {
        weir_buf_fini(&data[i]);
    }
    return rc;
}

static int64_t watermark_in(const struct weir_buf *state)
{
    return (int64_t)weir_le_get_u64(state->data + 1);
}

/* Three subtasks' splits go to any number of others: each row is read once, the new split from its beginning, and no watermark is ahead of one that
 * a split of it stood at. */
START_TEST(splits_move_between_subtasks)
{
    enum { BEFORE = 3, SPLIT_ROWS = 20000 };
    struct conn_kit kit;
    struct weir_schema *schema;
    struct weir_buf text = {0};
    struct weir_buf states[BEFORE] = {0};
    weir_source_op_close(open_two(&kit, &schema));
    for (uint32_t i = 0; i < SPLIT_ROWS; i++) {
        weir_buf_put_fmt(&text, "{\"id\":%u,\"at\":%u}\n", i, 1000 + i);
    }
    for (uint32_t i = 0; i < SPLITS; i++) {
        conn_kit_write(&kit, (const char[]){(char)('a' + i), '\0'}, weir_buf_slice(&text));
    }
    uint64_t left = 0;
    int64_t ignored;
    for (uint32_t s = 0; s < BEFORE; s++) {
        read_on(&kit, s, BEFORE, 2 + s * 9, &states[s]);
        uint64_t rows = 0;
        bool has_new = (SPLITS - 1) % BEFORE == s;
        ck_assert_int_eq(read_rest(&kit, s, BEFORE, &states[s], 1, true, &rows, &ignored), has_new ? WEIR_CORRUPT : WEIR_OK);
        ck_assert_int_eq(read_rest(&kit, (s + 1) % BEFORE, BEFORE, &states[s], 1, true, &rows, &ignored), WEIR_CORRUPT);
    }
    ck_assert_int_lt(watermark_in(&states[0]), watermark_in(&states[2]));
    for (uint32_t after = 1; after <= 5; after++) {
        uint64_t rows = 0;
        for (uint32_t s = 0; s < after; s++) {
            int64_t watermark_ms, bound_ms = INT64_MAX;
            ck_assert_int_eq(read_rest(&kit, s, after, states, BEFORE, false, &rows, &watermark_ms), WEIR_OK);
            for (uint32_t i = s; i < SPLITS; i += after) {
                int64_t of_split_ms = i == SPLITS - 1 ? INT64_MIN : watermark_in(&states[i % BEFORE]);
                bound_ms = of_split_ms < bound_ms ? of_split_ms : bound_ms;
            }
            ck_assert_int_eq(watermark_ms, bound_ms);
        }
        left = after == 1 ? rows : left;
        ck_assert_uint_eq(rows, left);
        ck_assert_uint_lt(rows, SPLITS * SPLIT_ROWS);
        ck_assert_uint_gt(rows, SPLIT_ROWS);
    }
    for (uint32_t s = 0; s < BEFORE; s++) {
        weir_buf_fini(&states[s]);
    }
    weir_buf_fini(&text);
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
    tcase_add_test(tc, splits_move_between_subtasks);
    suite_add_tcase(suite, tc);
    return suite;
}
