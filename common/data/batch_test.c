#include "common/data/batch.h"

#include "tests/lib/random_batch.h"

#include <pthread.h>

static struct weir_mem *mem;
static struct weir_schema *schema;

static void setup(void)
{
    mem = weir_mem_create("test", 0, NULL);
    schema = random_schema();
}

/* Asserts, through weir_mem_destroy, that every byte was given back. */
static void teardown(void)
{
    weir_schema_unref(schema);
    weir_mem_destroy(mem);
}

static struct weir_schema *one_column(enum weir_type_id id)
{
    const struct weir_field field = {.name = "a", .type = weir_type_of(id)};
    struct weir_schema *made = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_schema_create(&field, 1, WEIR_NO_COLUMN, &made, &err), WEIR_OK);
    return made;
}

static void assert_buffer_layout(const struct weir_buffer *buffer)
{
    ck_assert_uint_eq((uintptr_t)buffer->data % 64, 0);
    ck_assert_uint_eq(buffer->bytes % 64, 0);
    ck_assert_uint_gt(buffer->bytes, 0);
}

START_TEST(layout_is_arrows)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 1);
    struct weir_batch *batch = random_batch(&rand, schema, 100, RANDOM_NULLS | RANDOM_KINDS, mem);
    for (uint32_t i = 0; i < batch->ncols; i++) {
        const struct weir_column *col = &batch->cols[i];
        assert_buffer_layout(col->values);
        if (col->type.not_null) {
            ck_assert_ptr_null(col->validity); /* I3 */
        } else {
            assert_buffer_layout(col->validity);
            for (uint32_t row = 0; row < 100; row++) {
                static const uint8_t zero[16];
                uint32_t width = weir_type_width(col->type.id);
                if (weir_column_is_null(col, row)) { /* I3: zero under NULL */
                    ck_assert_mem_eq(col->values->data + row * width, zero, width);
                }
            }
        }
        for (uint32_t j = 0; j < col->ndata; j++) {
            assert_buffer_layout(col->data[j]);
        }
    }
    ck_assert_uint_ge(weir_batch_bytes(batch), 100);
    weir_batch_unref(batch);
}
END_TEST

START_TEST(views_are_arrows)
{
    struct weir_schema *strings = one_column(WEIR_TYPE_VARCHAR);
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, strings, 64, mem);
    const char *text = "0123456789abcdefghij";
    for (uint32_t len = 0; len <= 20; len++) {
        weir_column_builder_put_str(&builder.cols[0], builder.nrows++, weir_slice(text, len));
    }
    for (uint32_t len = 0; len <= 20; len++) { /* the same in two steps */
        memcpy(weir_column_builder_reserve_str(&builder.cols[0], builder.nrows, len), text, len);
        weir_column_builder_commit_str(&builder.cols[0], builder.nrows++);
    }
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    for (uint32_t row = 0; row < 42; row++) {
        uint32_t len = row % 21;
        const struct weir_strview *view = WEIR_COLUMN_VALUES(&batch->cols[0], const struct weir_strview) + row;
        ck_assert(weir_slice_eq(weir_column_slice(&batch->cols[0], row), weir_slice(text, len)));
        if (len <= 12) {
            uint8_t padded[12] = {0};
            memcpy(padded, text, len);
            ck_assert_mem_eq(view->u.inlined, padded, 12);
        } else {
            ck_assert_mem_eq(view->u.ref.prefix, text, 4);
        }
    }
    ck_assert_uint_eq(batch->cols[0].ndata, 1);
    weir_batch_unref(batch);
    weir_batch_builder_fini(&builder);
    weir_schema_unref(strings);
}
END_TEST

START_TEST(long_strings_never_span_buffers)
{
    struct weir_schema *strings = one_column(WEIR_TYPE_VARCHAR);
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, strings, WEIR_BATCH_ROWS_MAX, mem);
    static uint8_t big[3 << 20];
    for (size_t i = 0; i < sizeof(big); i++) {
        big[i] = (uint8_t)(i * 31 >> 3);
    }
    static const uint32_t lens[] = {3000, 3000, 1 << 20, 13, 3 << 20, 500000, 4096, 0, 12};
    size_t total = 0;
    for (uint32_t row = 0; row < 90; row++) {
        uint32_t len = lens[row % 9];
        weir_column_builder_put_str(&builder.cols[0], row, weir_slice(big, len));
        total += len > 12 ? len : 0;
        builder.nrows++;
    }
    ck_assert_uint_ge(weir_batch_builder_bytes(&builder), total);
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    for (uint32_t row = 0; row < 90; row++) {
        ck_assert(weir_slice_eq(weir_column_slice(&batch->cols[0], row), weir_slice(big, lens[row % 9])));
    }
    weir_batch_unref(batch);
    weir_batch_builder_fini(&builder);
    weir_schema_unref(strings);
}
END_TEST

START_TEST(a_builder_is_reused_and_clean)
{
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, schema, 256, mem);
    struct weir_rand rand;
    weir_rand_init(&rand, 2);
    static const uint32_t rows[] = {1, 256, 3, 200, 0, 64, 256, 1}; /* early flushes copy, full ones hand over */
    for (unsigned round = 0; round < 8; round++) {
        weir_rand_init(&rand, round);
        struct weir_batch *want = rows[round] == 0 ? NULL : random_batch(&rand, schema, rows[round], RANDOM_NULLS, mem);
        for (uint32_t row = 0; row < rows[round]; row++) {
            for (uint32_t col = 0; col < builder.ncols; col++) {
                weir_column_builder_copy(&builder.cols[col], row, &want->cols[col], row);
            }
            builder.nrows++;
        }
        struct weir_batch *got = weir_batch_builder_finish(&builder);
        ck_assert_uint_eq(builder.nrows, 0);
        ck_assert_uint_eq(weir_batch_builder_bytes(&builder), 0);
        if (want == NULL) {
            ck_assert_ptr_null(got);
        } else {
            assert_same_rows(want, got);
        }
        for (uint32_t col = 0; col < builder.ncols; col++) {
            const struct weir_buffer *values = builder.cols[col].col.values;
            for (size_t i = 0; i < values->bytes; i++) {
                ck_assert_uint_eq(values->data[i], 0);
            }
            ck_assert_uint_eq(builder.cols[col].validity[0], 0xff);
        }
        weir_batch_unref(want);
        weir_batch_unref(got);
    }
    weir_batch_builder_fini(&builder);
    weir_batch_builder_fini(&builder); /* zeroed is accepted */
}
END_TEST

START_TEST(a_short_batch_holds_little_memory)
{
    struct weir_schema *ints = one_column(WEIR_TYPE_BIGINT);
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, ints, WEIR_BATCH_ROWS_MAX, mem);
    ((int64_t *)(void *)builder.cols[0].values)[0] = 7;
    builder.nrows = 1;
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    ck_assert_uint_eq(weir_batch_bytes(batch), 64);
    weir_batch_builder_fini(&builder);
    ck_assert_uint_eq(weir_mem_used(mem), 64);
    ck_assert_int_eq(WEIR_COLUMN_VALUES(&batch->cols[0], int64_t)[0], 7);
    weir_batch_unref(batch);
    weir_schema_unref(ints);
}
END_TEST

START_TEST(an_undone_row_leaves_nothing)
{
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, schema, 16, mem);
    static const uint8_t text[3000];
    for (uint32_t attempt = 0; attempt < 2000; attempt++) {
        for (uint32_t col = 0; col < builder.ncols; col++) {
            if (weir_type_is_string(builder.cols[col].type.id)) {
                weir_column_builder_put_str(&builder.cols[col], 0, weir_slice(text, sizeof(text)));
            } else {
                weir_column_builder_put_null(&builder.cols[col], 0);
                weir_column_builder_put_null(&builder.cols[col], 0);
            }
        }
        weir_batch_builder_set_kind(&builder, 0, WEIR_DELETE);
        weir_batch_builder_undo_row(&builder, 0);
    }
    ck_assert_uint_eq(weir_batch_builder_bytes(&builder), 0);
    ck_assert_uint_lt(weir_mem_used(mem), 64 << 10); /* undone strings give their room back */
    builder.nrows = 1;
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    for (uint32_t col = 0; col < batch->ncols; col++) {
        static const uint8_t zero[16];
        ck_assert_ptr_null(batch->cols[col].validity);
        ck_assert_mem_eq(batch->cols[col].values->data, zero, 16);
    }
    ck_assert_uint_eq(kind_at(batch, 0), WEIR_INSERT);
    weir_batch_unref(batch);
    weir_batch_builder_fini(&builder);
}
END_TEST

START_TEST(selection_shares_columns)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 3);
    struct weir_batch *batch = random_batch(&rand, schema, 50, RANDOM_NULLS | RANDOM_KINDS, mem);
    size_t before = weir_mem_used(mem);
    struct weir_buffer *sel = weir_buffer_create(3 * sizeof(uint16_t), mem);
    static const uint16_t rows[] = {4, 7, 49};
    memcpy(sel->data, rows, sizeof(rows));
    struct weir_batch *selected = weir_batch_select_take(batch, sel, 3);
    ck_assert_uint_eq(weir_mem_used(mem), before + 64);
    ck_assert_uint_eq(weir_batch_rows(selected), 3);
    ck_assert_ptr_eq(selected->cols[0].values, batch->cols[0].values);
    ck_assert_uint_eq(batch->cols[0].values->refs, 2);
    weir_batch_unref(batch);
    ck_assert_uint_eq(weir_mem_used(mem), before + 64); /* still held by the selection */
    struct weir_batch *gathered = weir_batch_gather(selected, rows, 3);
    assert_same_rows(selected, gathered);
    weir_batch_unref(selected);
    ck_assert_uint_lt(weir_mem_used(mem), before); /* copied strings pin nothing */
    weir_batch_unref(gathered);
}
END_TEST

START_TEST(compact_copies_logical_rows)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 4);
    for (unsigned round = 0; round < 200; round++) {
        struct weir_batch *batch =
            random_batch(&rand, schema, 1 + (uint32_t)weir_rand_below(&rand, 130), round % 8, mem);
        struct weir_batch *compact = weir_batch_compact(batch);
        ck_assert_ptr_null(compact->sel);
        ck_assert((batch->sel == NULL) == (compact == batch));
        assert_same_rows(batch, compact);
        weir_batch_unref(compact);
        weir_batch_unref(batch);
    }
}
END_TEST

START_TEST(gather_repeats_and_reorders)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 5);
    struct weir_batch *batch = random_batch(&rand, schema, 300, RANDOM_NULLS | RANDOM_KINDS, mem);
    uint16_t rows[1000];
    for (unsigned i = 0; i < 1000; i++) {
        rows[i] = (uint16_t)weir_rand_below(&rand, 300);
    }
    struct weir_batch *out = weir_batch_gather(batch, rows, 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        for (uint32_t col = 0; col < out->ncols; col++) {
            ck_assert(values_same(&batch->cols[col], rows[i], &out->cols[col], i));
        }
        ck_assert_uint_eq(kind_at(batch, rows[i]), kind_at(out, i));
    }
    weir_batch_unref(out);
    out = weir_batch_gather(batch, rows, 0);
    ck_assert_uint_eq(weir_batch_rows(out), 0);
    weir_batch_unref(out);
    weir_batch_unref(batch);
}
END_TEST

START_TEST(columns_move_into_new_batches)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 6);
    struct weir_batch *batch = random_batch(&rand, schema, 20, RANDOM_NULLS, mem);
    struct weir_schema *strings = one_column(WEIR_TYPE_VARCHAR);
    struct weir_column col = weir_column_ref(&batch->cols[WEIR_TYPE_VARCHAR - 1]);
    struct weir_batch *made = weir_batch_make_take(strings, &col, 20, NULL, 0, NULL, mem);
    for (uint32_t row = 0; row < 20; row++) {
        ck_assert(values_same(&made->cols[0], row, &batch->cols[WEIR_TYPE_VARCHAR - 1], row));
    }
    struct weir_batch *again = weir_batch_ref(made);
    weir_batch_unref(made);
    weir_batch_unref(batch);
    ck_assert_uint_eq(weir_batch_rows(again), 20);
    weir_batch_unref(again);
    weir_batch_unref(NULL);
    weir_schema_unref(strings);
}
END_TEST

static void *share(void *arg)
{
    struct weir_batch *batch = arg; /* one reference is this thread's */
    for (unsigned i = 0; i < 300; i++) {
        struct weir_buffer *sel = weir_buffer_create(2 * sizeof(uint16_t), mem);
        ((uint16_t *)(void *)sel->data)[1] = 1;
        struct weir_batch *selected = weir_batch_select_take(batch, sel, 2);
        struct weir_batch *compact = weir_batch_compact(selected);
        ck_assert_uint_eq(weir_batch_rows(compact), 2);
        weir_batch_unref(selected);
        weir_batch_unref(compact);
        struct weir_batch *again = weir_batch_ref(batch);
        weir_batch_unref(again);
    }
    weir_batch_unref(batch);
    return NULL;
}

START_TEST(threads_share_a_batch)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 7);
    struct weir_batch *batch = random_batch(&rand, schema, 50, RANDOM_NULLS, mem);
    pthread_t threads[3];
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, share, weir_batch_ref(batch)), 0);
    }
    weir_batch_unref(batch); /* the last of them frees it */
    for (unsigned i = 0; i < 3; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    ck_assert_uint_eq(weir_mem_used(mem), 0);
}
END_TEST

Suite *batch_suite(void);
Suite *batch_suite(void)
{
    Suite *suite = suite_create("batch");
    TCase *tc = tcase_create("all");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, layout_is_arrows);
    tcase_add_test(tc, views_are_arrows);
    tcase_add_test(tc, long_strings_never_span_buffers);
    tcase_add_test(tc, a_builder_is_reused_and_clean);
    tcase_add_test(tc, a_short_batch_holds_little_memory);
    tcase_add_test(tc, an_undone_row_leaves_nothing);
    tcase_add_test(tc, selection_shares_columns);
    tcase_add_test(tc, compact_copies_logical_rows);
    tcase_add_test(tc, gather_repeats_and_reorders);
    tcase_add_test(tc, columns_move_into_new_batches);
    tcase_add_test(tc, threads_share_a_batch);
    suite_add_tcase(suite, tc);
    return suite;
}
