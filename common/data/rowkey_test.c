#include "common/data/rowkey.h"

#include "common/base/hash.h"
#include "common/data/value.h"
#include "tests/lib/random_batch.h"

/* What the header says, a value at a time: the second opinion. */
static void encode_plainly(const struct weir_column *col, uint32_t row, struct weir_buf *out)
{
    struct weir_value value = weir_value_get(col, row);
    weir_buf_put_u8(out, value.is_null ? 0 : 1);
    if (value.is_null) {
        return;
    }
    if (weir_type_is_string(col->type.id)) {
        weir_buf_put_bytes(out, value.u.str);
    } else if (col->type.id == WEIR_TYPE_BOOLEAN) {
        weir_buf_put_u8(out, value.u.boolean);
    } else if (col->type.id == WEIR_TYPE_DECIMAL) {
        weir_buf_put_u64(out, (uint64_t)value.u.decimal);
        weir_buf_put_u64(out, (uint64_t)(value.u.decimal >> 64));
    } else if (col->type.id == WEIR_TYPE_DOUBLE) {
        double f64 = isnan(value.u.f64) ? NAN : value.u.f64 == 0 ? 0 : value.u.f64;
        uint64_t bits;
        memcpy(&bits, &f64, 8);
        weir_buf_put_u64(out, bits);
    } else if (col->type.id == WEIR_TYPE_FLOAT) {
        float f32 = isnan(value.u.f64) ? NAN : value.u.f64 == 0 ? 0 : (float)value.u.f64;
        uint32_t bits;
        memcpy(&bits, &f32, 4);
        weir_buf_put_u32(out, bits);
    } else {
        uint8_t bytes[8];
        weir_le_put_u64(bytes, (uint64_t)value.u.i64);
        weir_buf_put(out, bytes, weir_type_width(col->type.id));
    }
}

START_TEST(keys_are_as_the_header_says)
{
    struct weir_mem *mem = weir_mem_create("test", 0, NULL);
    struct weir_schema *schema = random_schema();
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_rand rand;
    weir_rand_init(&rand, 1);
    struct weir_buf want = {0};
    static uint64_t hashes[WEIR_BATCH_ROWS_MAX];
    for (unsigned round = 0; round < 300; round++) {
        unsigned flags = round % 2 * RANDOM_NULLS | (round / 2 % 2) * RANDOM_SEL;
        struct weir_batch *batch = random_batch(&rand, schema, 1 + (uint32_t)weir_rand_below(&rand, 150), flags, mem);
        uint32_t cols[5];
        uint32_t ncols = (uint32_t)weir_rand_below(&rand, 6);
        for (uint32_t i = 0; i < ncols; i++) {
            cols[i] = (uint32_t)weir_rand_below(&rand, batch->ncols);
        }
        struct weir_rowkeys keys;
        weir_rowkeys_make(batch, cols, ncols, arena, &keys);
        weir_rowkeys_hash(batch, cols, ncols, arena, hashes);
        ck_assert_uint_eq(keys.count, weir_batch_rows(batch));
        for (uint32_t i = 0; i < keys.count; i++) {
            weir_buf_clear(&want);
            for (uint32_t c = 0; c < ncols; c++) {
                encode_plainly(&batch->cols[cols[c]], physical(batch, i), &want);
            }
            ck_assert(weir_slice_eq(keys.key[i], weir_buf_slice(&want)));
            ck_assert_uint_eq(keys.hash[i], weir_hash_bytes(want.data, want.len, 0));
            ck_assert_uint_eq(keys.hash[i], hashes[i]);
        }
        weir_batch_unref(batch);
        weir_arena_reset(arena);
    }
    weir_buf_fini(&want);
    weir_arena_destroy(arena);
    weir_schema_unref(schema);
    weir_mem_destroy(mem);
}
END_TEST

START_TEST(every_single_column_hashes_the_same_both_ways)
{
    struct weir_schema *schema = random_schema();
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_rand rand;
    weir_rand_init(&rand, 2);
    static uint64_t hashes[WEIR_BATCH_ROWS_MAX];
    for (unsigned flags = 0; flags < 8; flags++) {
        struct weir_batch *batch = random_batch(&rand, schema, 200, flags, NULL);
        for (uint32_t col = 0; col < batch->ncols; col++) {
            struct weir_rowkeys keys;
            weir_rowkeys_make(batch, &col, 1, arena, &keys);
            weir_rowkeys_hash(batch, &col, 1, arena, hashes);
            ck_assert_mem_eq(keys.hash, hashes, keys.count * sizeof(hashes[0]));
        }
        weir_batch_unref(batch);
    }
    weir_arena_destroy(arena);
    weir_schema_unref(schema);
}
END_TEST

START_TEST(keys_decode_and_truncations_are_noticed)
{
    struct weir_schema *schema = random_schema();
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_rand rand;
    weir_rand_init(&rand, 3);
    struct weir_batch *batch = random_batch(&rand, schema, 60, RANDOM_NULLS, NULL);
    uint32_t cols[32];
    for (uint32_t i = 0; i < batch->ncols; i++) {
        cols[i] = batch->ncols - 1 - i;
    }
    struct weir_rowkeys keys;
    weir_rowkeys_make(batch, cols, batch->ncols, arena, &keys);
    struct weir_batch_builder builder;
    struct weir_error err;
    weir_batch_builder_init(&builder, schema, 60, NULL);
    for (uint32_t row = 0; row < 60; row++) {
        struct weir_slice key = keys.key[row];
        for (size_t len = 0; len < key.len; len += 1 + len / 50) {
            struct weir_slice cut = weir_slice(weir_arena_slice(arena, weir_slice(key.data, len)).data, len);
            ck_assert_int_eq(weir_rowkey_decode(cut, &builder, cols, batch->ncols, row, &err), WEIR_CORRUPT);
            weir_batch_builder_undo_row(&builder, row);
        }
        ck_assert_int_eq(weir_rowkey_decode(key, &builder, cols, batch->ncols - 1, row, &err), WEIR_CORRUPT); /* a rest */
        weir_batch_builder_undo_row(&builder, row);
        ck_assert_int_eq(weir_rowkey_decode(key, &builder, cols, batch->ncols, row, &err), WEIR_OK);
        builder.nrows++;
    }
    struct weir_batch *back = weir_batch_builder_finish(&builder);
    struct weir_rowkeys again; /* bits of NaN and -0.0 are not kept, keys are */
    weir_rowkeys_make(back, cols, batch->ncols, arena, &again);
    for (uint32_t row = 0; row < 60; row++) {
        ck_assert(weir_slice_eq(keys.key[row], again.key[row]));
        for (uint32_t col = 0; col < batch->ncols; col++) {
            struct weir_value a = weir_value_get(&batch->cols[col], row);
            struct weir_value b = weir_value_get(&back->cols[col], row);
            ck_assert(weir_value_same(&a, &b));
        }
    }
    weir_batch_unref(back);
    weir_batch_unref(batch);
    weir_batch_builder_fini(&builder);
    weir_arena_destroy(arena);
    weir_schema_unref(schema);
}
END_TEST

START_TEST(a_bad_tag_or_boolean_is_corrupt)
{
    const struct weir_field field = {.name = "a", .type = weir_type_of(WEIR_TYPE_BOOLEAN)};
    struct weir_schema *schema = NULL;
    struct weir_error err = {0};
    ck_assert_int_eq(weir_schema_create(&field, 1, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, schema, 1, NULL);
    const uint32_t col = 0;
    ck_assert_int_eq(weir_rowkey_decode(weir_slice("\2\1", 2), &builder, &col, 1, 0, &err), WEIR_CORRUPT);
    ck_assert_int_eq(weir_rowkey_decode(weir_slice("\1\2", 2), &builder, &col, 1, 0, &err), WEIR_CORRUPT);
    ck_assert_int_eq(weir_rowkey_decode(weir_slice("", 0), &builder, &col, 0, 0, &err), WEIR_OK);
    weir_batch_builder_fini(&builder);
    weir_schema_unref(schema);
}
END_TEST

/* Keys are equal exactly when the SQL values are not distinct. */
START_TEST(equality_is_not_distinct)
{
    const struct weir_field fields[] = {{"d", weir_type_of(WEIR_TYPE_DOUBLE)}, {"f", weir_type_of(WEIR_TYPE_FLOAT)}};
    struct weir_schema *schema = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_schema_create(fields, 2, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, schema, 8, NULL);
    static const uint64_t f64[] = {0, 1ull << 63, 0x7ff8000000000000, 0xfff8000000000001, 0x7ff0000000000000, 0x7ff4000000000000, 1};
    static const uint32_t f32[] = {0, 1u << 31, 0x7fc00000, 0xffc00001, 0x7f800000, 0x7fa00000, 1};
    static const int classes[] = {0, 0, 1, 1, 2, 1, 3, 4}; /* the last row is NULL */
    memcpy(builder.cols[0].values, f64, sizeof(f64));
    memcpy(builder.cols[1].values, f32, sizeof(f32));
    weir_column_builder_put_null(&builder.cols[0], 7);
    weir_column_builder_put_null(&builder.cols[1], 7);
    builder.nrows = 8;
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    struct weir_arena *arena = weir_arena_create(0);
    for (uint32_t col = 0; col < 2; col++) {
        struct weir_rowkeys keys;
        weir_rowkeys_make(batch, &col, 1, arena, &keys);
        for (unsigned i = 0; i < 8; i++) {
            for (unsigned j = 0; j < 8; j++) {
                bool same = classes[i] == classes[j];
                ck_assert(weir_slice_eq(keys.key[i], keys.key[j]) == same);
                ck_assert((keys.hash[i] == keys.hash[j]) == same);
            }
        }
    }
    weir_arena_destroy(arena);
    weir_batch_unref(batch);
    weir_batch_builder_fini(&builder);
    weir_schema_unref(schema);
}
END_TEST

/* ("ab", "c"), ("a", "bc"), ("abc", NULL), ("abc", ""), (NULL, "abc"): self-delimiting, so all differ. */
START_TEST(columns_do_not_run_together)
{
    const struct weir_field fields[] = {{"a", weir_type_of(WEIR_TYPE_VARCHAR)}, {"b", weir_type_of(WEIR_TYPE_VARCHAR)}};
    static const char *const rows[][2] = {{"ab", "c"}, {"a", "bc"}, {"abc", NULL}, {"abc", ""}, {NULL, "abc"}, {"", "abc"}, {NULL, NULL}};
    struct weir_schema *schema = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_schema_create(fields, 2, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, schema, 7, NULL);
    for (; builder.nrows < 7; builder.nrows++) {
        for (unsigned c = 0; c < 2; c++) {
            const char *text = rows[builder.nrows][c];
            if (text == NULL) {
                weir_column_builder_put_null(&builder.cols[c], builder.nrows);
            } else {
                weir_column_builder_put_str(&builder.cols[c], builder.nrows, weir_slice_str(text));
            }
        }
    }
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    struct weir_arena *arena = weir_arena_create(0);
    static const uint32_t cols[] = {0, 1};
    struct weir_rowkeys keys;
    weir_rowkeys_make(batch, cols, 2, arena, &keys);
    for (unsigned i = 0; i < 7; i++) {
        for (unsigned j = 0; j < i; j++) {
            ck_assert(!weir_slice_eq(keys.key[i], keys.key[j]));
        }
    }
    weir_arena_destroy(arena);
    weir_batch_unref(batch);
    weir_batch_builder_fini(&builder);
    weir_schema_unref(schema);
}
END_TEST

START_TEST(subtasks_partition_the_groups)
{
    for (uint32_t max = 1; max <= 130; max++) {
        for (uint32_t parallelism = 1; parallelism <= max; parallelism++) {
            uint32_t next = 0;
            uint32_t wrong = 0; /* counted, since a million assertions take Check seconds */
            for (uint32_t subtask = 0; subtask < parallelism; subtask++) {
                uint32_t first = weir_key_group_first(subtask, max, parallelism);
                uint32_t end = weir_key_group_first(subtask + 1, max, parallelism);
                /* KeyGroupRangeAssignment.computeKeyGroupRangeForOperatorIndex */
                wrong += first != (subtask == 0 ? 0 : (subtask * max - 1) / parallelism + 1);
                wrong += end - 1 != ((subtask + 1) * max - 1) / parallelism;
                wrong += first != next || end <= first;
                for (uint32_t group = first; group < end; group++) {
                    wrong += weir_key_group_owner(group, max, parallelism) != subtask;
                }
                next = end;
            }
            ck_assert_msg(wrong == 0 && next == max, "max parallelism %u, parallelism %u", max, parallelism);
        }
    }
    ck_assert_uint_eq(weir_key_group_first(WEIR_PARALLELISM_MAX, WEIR_PARALLELISM_MAX, WEIR_PARALLELISM_MAX), WEIR_PARALLELISM_MAX);
}
END_TEST

START_TEST(hash_order_is_group_order)
{
    static const uint32_t maxima[] = {1, 2, 3, 127, 128, 4096, 32768};
    for (unsigned m = 0; m < 7; m++) {
        uint32_t last = 0;
        for (uint64_t step = 0; step <= 100000; step++) {
            uint32_t group = weir_key_group(step == 100000 ? UINT64_MAX : step * (UINT64_MAX / 100000), maxima[m]);
            ck_assert(group >= last && group < maxima[m]);
            last = group;
        }
        ck_assert_uint_eq(last, maxima[m] - 1);
    }
}
END_TEST

/* State is written with this encoding and this hash: these numbers never change. */
START_TEST(version_1_is_frozen)
{
    const struct weir_field fields[] = {{"a", weir_type_of(WEIR_TYPE_BIGINT)}, {"b", weir_type_of(WEIR_TYPE_VARCHAR)}};
    struct weir_schema *schema = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_schema_create(fields, 2, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, schema, 1, NULL);
    const int64_t value = 258;
    memcpy(builder.cols[0].values, &value, 8);
    weir_column_builder_put_str(&builder.cols[1], 0, weir_slice_str("hi"));
    builder.nrows = 1;
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    struct weir_arena *arena = weir_arena_create(0);
    static const uint32_t cols[] = {0, 1};
    struct weir_rowkeys keys;
    weir_rowkeys_make(batch, cols, 2, arena, &keys);
    static const uint8_t want[] = {1, 2, 1, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 'h', 'i'};
    ck_assert(weir_slice_eq(keys.key[0], weir_slice(want, sizeof(want))));
    ck_assert_uint_eq(keys.hash[0], 18189672778052036643u);
    weir_arena_destroy(arena);
    weir_batch_unref(batch);
    weir_batch_builder_fini(&builder);
    weir_schema_unref(schema);
}
END_TEST

Suite *rowkey_suite(void);
Suite *rowkey_suite(void)
{
    Suite *suite = suite_create("rowkey");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, keys_are_as_the_header_says);
    tcase_add_test(tc, every_single_column_hashes_the_same_both_ways);
    tcase_add_test(tc, keys_decode_and_truncations_are_noticed);
    tcase_add_test(tc, a_bad_tag_or_boolean_is_corrupt);
    tcase_add_test(tc, equality_is_not_distinct);
    tcase_add_test(tc, columns_do_not_run_together);
    tcase_add_test(tc, subtasks_partition_the_groups);
    tcase_add_test(tc, hash_order_is_group_order);
    tcase_add_test(tc, version_1_is_frozen);
    suite_add_tcase(suite, tc);
    return suite;
}
