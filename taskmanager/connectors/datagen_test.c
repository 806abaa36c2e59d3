#include "taskmanager/connectors/conn_test_kit.h"

#include "common/data/datetime.h"
#include "common/data/value.h"

static const char *const columns[] = {"i", "INT", "s", "STRING", "f", "DOUBLE", "d", "DECIMAL(20, 4)", "seq", "BIGINT", "car", "STRING",
                                      "ts", "TIMESTAMP(3)", "b", "BOOLEAN", "raw", "BYTES", "day", "DATE", "key", "STRING", NULL};
static const char *const options[] = {"number-of-rows", "5000", "rows-per-second", "0", "seed", "9", "start-time", "2026-11-21 00:00:00",
                                      "fields.i.min", "-5", "fields.i.max", "5", "fields.s.length", "20", "fields.f.null-rate", "0.25",
                                      "fields.seq.kind", "sequence", "fields.seq.start", "100", "fields.seq.end", "1000000",
                                      "fields.car.values", "car, bus,train", "fields.ts.kind", "time", "fields.ts.step", "10 ms",
                                      "fields.ts.jitter", "50 ms", "fields.key.kind", "sequence", "fields.key.start", "7",
                                      "fields.key.end", "999999", NULL};

struct rows {
    struct weir_buf text[5000]; /* by row number */
    uint32_t count;
};

static void add_to_splits(void *ctx, struct weir_split split)
{
    uint32_t number;
    struct weir_error err;
    struct weir_source *source = ctx;
    ck_assert_int_eq(source->vtable->add_split(source, split, weir_slice(NULL, 0), &number, &err), WEIR_OK);
}

/* Appends the batch's rows to what their row numbers (column seq - 100) say so far. */
static void collect(struct rows *rows, const struct weir_batch *batch)
{
    for (uint32_t i = 0; i < batch->nrows; i++) {
        int64_t row = weir_value_get(&batch->cols[4], i).u.i64 - 100;
        ck_assert_int_ge(row, 0);
        ck_assert_int_lt(row, 5000);
        for (uint32_t c = 0; c < batch->ncols; c++) {
            struct weir_value value = weir_value_get(&batch->cols[c], i);
            weir_value_format(&value, &rows->text[row]);
            weir_buf_put_u8(&rows->text[row], '|');
        }
        rows->count++;
    }
}

static void read_all(struct conn_kit *kit, uint32_t parallelism, struct rows *rows)
{
    const struct weir_source_vtable *vtable = weir_conn_source("datagen");
    struct weir_source *source;
    struct weir_source_poll poll;
    struct weir_error err;
    ck_assert_msg(vtable->create(&kit->ctx, &source, &err) == WEIR_OK, "%s", err.text);
    ck_assert_int_eq(vtable->enumerate(&kit->table, parallelism, NULL, add_to_splits, source, &err), WEIR_OK);
    enum weir_rc rc;
    while ((rc = vtable->poll(source, &poll, &err)) == WEIR_OK) {
        ck_assert_uint_eq(poll.nruns, 1);
        ck_assert_uint_eq(poll.runs[0].rows, poll.batch->nrows);
        ck_assert_uint_lt(poll.runs[0].split, parallelism);
        collect(rows, poll.batch);
        weir_batch_unref(poll.batch);
    }
    ck_assert_int_eq(rc, WEIR_END);
    for (uint32_t i = 0; i < parallelism; i++) {
        ck_assert(vtable->split_finished(source, i));
    }
    vtable->destroy(source);
}

static void rows_fini(struct rows *rows)
{
    for (uint32_t i = 0; i < 5000; i++) {
        weir_buf_fini(&rows->text[i]);
    }
    weir_free(rows);
}

START_TEST(rows_do_not_depend_on_parallelism)
{
    struct conn_kit kit;
    conn_kit_init(&kit, "datagen", columns, options);
    struct rows *one = weir_calloc(1, sizeof(*one));
    read_all(&kit, 1, one);
    ck_assert_uint_eq(one->count, 5000);
    for (uint32_t parallelism = 2; parallelism < 8; parallelism += 3) {
        struct rows *many = weir_calloc(1, sizeof(*many));
        read_all(&kit, parallelism, many);
        ck_assert_uint_eq(many->count, 5000);
        for (uint32_t i = 0; i < 5000; i++) {
            ck_assert(weir_slice_eq(weir_buf_slice(&one->text[i]), weir_buf_slice(&many->text[i])));
        }
        rows_fini(many);
    }
    rows_fini(one);
    conn_kit_fini(&kit);
}
END_TEST

START_TEST(a_restored_position_goes_on_with_the_next_row)
{
    struct conn_kit kit;
    conn_kit_init(&kit, "datagen", columns, options);
    const struct weir_source_vtable *vtable = weir_conn_source("datagen");
    struct rows *whole = weir_calloc(1, sizeof(*whole));
    struct rows *parts = weir_calloc(1, sizeof(*parts));
    read_all(&kit, 3, whole);
    struct weir_buf position = {0};
    uint8_t data[8];
    weir_le_put_u32(data, 1);
    weir_le_put_u32(data + 4, 3);
    struct weir_split split = {.id = weir_slice_str("1/3"), .data = weir_slice(data, 8)};
    enum weir_rc rc = WEIR_OK;
    uint32_t lives = 0;
    for (; rc != WEIR_END; lives++) { /* every life reads one batch of a random size */
        struct weir_source *source;
        struct weir_source_poll poll;
        struct weir_error err;
        uint32_t number;
        kit.options[2].value = lives == 0 ? "300" : "0"; /* rows-per-second */
        ck_assert_int_eq(vtable->create(&kit.ctx, &source, &err), WEIR_OK);
        ck_assert_int_eq(vtable->add_split(source, split, weir_buf_slice(&position), &number, &err), WEIR_OK);
        rc = vtable->poll(source, &poll, &err);
        if (lives == 0 && rc == WEIR_AGAIN) {
            weir_clock_virtual_advance(&kit.clock, 1000000000);
            rc = vtable->poll(source, &poll, &err);
        }
        if (rc == WEIR_OK) {
            collect(parts, poll.batch);
            weir_batch_unref(poll.batch);
            weir_buf_clear(&position);
            vtable->split_position(source, number, &position);
        }
        vtable->destroy(source);
    }
    ck_assert_uint_ge(lives, 3);
    ck_assert_uint_eq(parts->count, 1667);
    for (uint32_t i = 1; i < 5000; i += 3) {
        ck_assert(weir_slice_eq(weir_buf_slice(&whole->text[i]), weir_buf_slice(&parts->text[i])));
    }
    rows_fini(whole);
    rows_fini(parts);
    weir_buf_fini(&position);
    conn_kit_fini(&kit);
}
END_TEST

START_TEST(values_are_what_the_options_say)
{
    struct conn_kit kit;
    conn_kit_init(&kit, "datagen", columns, options);
    const struct weir_source_vtable *vtable = weir_conn_source("datagen");
    struct weir_source *source;
    struct weir_source_poll poll;
    struct weir_error err;
    int64_t start;
    uint32_t seen[11] = {0};
    uint32_t nulls = 0;
    uint32_t cars[3] = {0};
    ck_assert_int_eq(weir_timestamp_read(weir_slice_str("2026-11-21 00:00:00"), &start), WEIR_OK);
    ck_assert_int_eq(vtable->create(&kit.ctx, &source, &err), WEIR_OK);
    ck_assert_int_eq(vtable->enumerate(&kit.table, 1, NULL, add_to_splits, source, &err), WEIR_OK);
    int64_t row = 0;
    while (vtable->poll(source, &poll, &err) == WEIR_OK) {
        struct weir_batch *batch = poll.batch;
        for (uint32_t i = 0; i < batch->nrows; i++, row++) {
            int64_t value = weir_value_get(&batch->cols[0], i).u.i64;
            ck_assert(value >= -5 && value <= 5);
            seen[value + 5]++;
            ck_assert_uint_eq(weir_column_slice(&batch->cols[1], i).len, 20);
            nulls += weir_column_is_null(&batch->cols[2], i);
            ck_assert_int_eq(weir_value_get(&batch->cols[4], i).u.i64, 100 + row);
            struct weir_slice car = weir_column_slice(&batch->cols[5], i);
            ck_assert(weir_slice_eq_str(car, "car") || weir_slice_eq_str(car, "bus") || weir_slice_eq_str(car, "train"));
            cars[car.data[0] == 'c' ? 0 : car.data[0] == 'b' ? 1 : 2]++;
            int64_t micros = weir_value_get(&batch->cols[6], i).u.i64;
            ck_assert_int_le(micros, start + row * 10000);
            ck_assert_int_ge(micros, start + row * 10000 - 50000);
            ck_assert_int_eq(micros % 1000, 0);
            char key[16];
            (void)snprintf(key, sizeof(key), "%d", (int)row + 7);
            ck_assert(weir_slice_eq_str(weir_column_slice(&batch->cols[10], i), key));
        }
        weir_batch_unref(batch);
    }
    for (int i = 0; i < 11; i++) {
        ck_assert_uint_gt(seen[i], 350);
    }
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_gt(cars[i], 1500);
    }
    ck_assert_uint_gt(nulls, 1100);
    ck_assert_uint_lt(nulls, 1400);
    vtable->destroy(source);
    conn_kit_fini(&kit);
}
END_TEST

START_TEST(the_clock_paces_all_splits_together)
{
    static const char *const paced_columns[] = {"i", "INT", NULL};
    static const char *const paced[] = {"rows-per-second", "1000", NULL};
    struct conn_kit kit;
    conn_kit_init(&kit, "datagen", paced_columns, paced);
    const struct weir_source_vtable *vtable = weir_conn_source("datagen");
    struct weir_source *source;
    struct weir_source_poll poll;
    struct weir_error err;
    uint32_t rows = 0;
    ck_assert(!vtable->bounded(&kit.table));
    ck_assert_int_eq(vtable->create(&kit.ctx, &source, &err), WEIR_OK);
    ck_assert_int_eq(vtable->enumerate(&kit.table, 4, NULL, add_to_splits, source, &err), WEIR_OK);
    for (int ms = 0; ms <= 5000; ms += 7) {
        enum weir_rc rc;
        while ((rc = vtable->poll(source, &poll, &err)) == WEIR_OK) {
            rows += poll.batch->nrows;
            weir_batch_unref(poll.batch);
        }
        ck_assert_int_eq(rc, WEIR_AGAIN);
        ck_assert_int_ge(poll.wait_ms, 1);
        ck_assert_int_le(poll.wait_ms, 5);
        ck_assert_int_eq(rows, ms + 1);
        weir_clock_virtual_advance(&kit.clock, 7000000);
    }
    /* After a stall it catches up, a batch at a time. */
    weir_clock_virtual_advance(&kit.clock, 60000000000);
    uint32_t batches = 0;
    while (vtable->poll(source, &poll, &err) == WEIR_OK) {
        ck_assert_uint_le(poll.batch->nrows, WEIR_BATCH_ROWS_MAX);
        rows += poll.batch->nrows;
        batches++;
        weir_batch_unref(poll.batch);
    }
    ck_assert_uint_gt(rows, 64900);
    ck_assert_uint_ge(batches, 28);
    vtable->destroy(source);
    conn_kit_fini(&kit);
}
END_TEST

START_TEST(damaged_splits_are_refused)
{
    struct conn_kit kit;
    conn_kit_init(&kit, "datagen", columns, options);
    const struct weir_source_vtable *vtable = weir_conn_source("datagen");
    struct weir_source *source;
    struct weir_error err;
    uint32_t number;
    ck_assert_int_eq(vtable->create(&kit.ctx, &source, &err), WEIR_OK);
    static const uint8_t bad[9] = {3, 0, 0, 0, 3};
    for (size_t len = 0; len < 10; len++) {
        struct weir_split split = {.id = weir_slice_str("x"), .data = weir_slice(bad, len)};
        ck_assert_int_eq(vtable->add_split(source, split, weir_slice(NULL, 0), &number, &err), WEIR_CORRUPT);
    }
    vtable->destroy(source);
    kit.options[kit.table.noptions++] = (struct weir_option){.key = "fields.b.null-rate", .value = "2"};
    ck_assert_int_eq(vtable->create(&kit.ctx, &source, &err), WEIR_INVALID);
    conn_kit_fini(&kit);
}
END_TEST

Suite *datagen_suite(void);
Suite *datagen_suite(void)
{
    Suite *suite = suite_create("datagen");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, rows_do_not_depend_on_parallelism);
    tcase_add_test(tc, a_restored_position_goes_on_with_the_next_row);
    tcase_add_test(tc, values_are_what_the_options_say);
    tcase_add_test(tc, the_clock_paces_all_splits_together);
    tcase_add_test(tc, damaged_splits_are_refused);
    suite_add_tcase(suite, tc);
    return suite;
}
