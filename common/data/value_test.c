#include "common/data/value.h"

#include "tests/lib/random_batch.h"

START_TEST(values_go_out_and_back)
{
    struct weir_mem *mem = weir_mem_create("test", 0, NULL);
    struct weir_schema *schema = random_schema();
    struct weir_rand rand;
    weir_rand_init(&rand, 1);
    struct weir_batch *batch = random_batch(&rand, schema, 500, RANDOM_NULLS, mem);
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, schema, 500, mem);
    for (uint32_t row = 0; row < 500; row++) {
        for (uint32_t col = 0; col < batch->ncols; col++) {
            struct weir_value value = weir_value_get(&batch->cols[col], row);
            ck_assert(weir_value_same(&value, &value));
            weir_value_put(&value, &builder.cols[col], row);
        }
        builder.nrows++;
    }
    struct weir_batch *copy = weir_batch_builder_finish(&builder);
    assert_same_rows(batch, copy);
    weir_batch_unref(copy);
    weir_batch_unref(batch);
    weir_batch_builder_fini(&builder);
    weir_schema_unref(schema);
    weir_mem_destroy(mem);
}
END_TEST

static void assert_prints(struct weir_value value, const char *want)
{
    struct weir_buf out = {0};
    weir_value_format(&value, &out);
    ck_assert_msg(weir_slice_eq_str(weir_buf_slice(&out), want), "%.*s is not %s", (int)out.len, (char *)out.data, want);
    weir_buf_fini(&out);
}

static struct weir_value of(enum weir_type_id id, int64_t i64)
{
    return (struct weir_value){.type = weir_type_of(id), .u.i64 = i64};
}

START_TEST(values_print_as_sql_does)
{
    assert_prints((struct weir_value){.type = weir_type_of(WEIR_TYPE_INT), .is_null = true}, "NULL");
    assert_prints((struct weir_value){.type = weir_type_of(WEIR_TYPE_BOOLEAN), .u.boolean = true}, "TRUE");
    assert_prints(of(WEIR_TYPE_BIGINT, INT64_MIN), "-9223372036854775808");
    assert_prints((struct weir_value){.type = weir_type_of(WEIR_TYPE_DOUBLE), .u.f64 = 1e10}, "1.0E10");
    assert_prints((struct weir_value){.type = weir_type_of(WEIR_TYPE_FLOAT), .u.f64 = (double)0.1f}, "0.1");
    struct weir_value decimal = {.type = weir_type_of(WEIR_TYPE_DECIMAL), .u.decimal = -1234};
    decimal.type.scale = 3;
    assert_prints(decimal, "-1.234");
    assert_prints((struct weir_value){.type = weir_type_of(WEIR_TYPE_VARCHAR), .u.str = weir_slice_str("a 'b'")}, "a 'b'");
    assert_prints(of(WEIR_TYPE_DATE, 20778), "2026-11-21");
    assert_prints(of(WEIR_TYPE_TIME, 25912123000), "07:11:52");
    struct weir_value timestamp = of(WEIR_TYPE_TIMESTAMP, 20778 * 86400000000 + 25912123000);
    assert_prints(timestamp, "2026-11-21 07:11:52.123000");
    timestamp.type.precision = 3;
    assert_prints(timestamp, "2026-11-21 07:11:52.123");
    assert_prints(of(WEIR_TYPE_INTERVAL_YEAR, 14), "+1-02");
    assert_prints(of(WEIR_TYPE_INTERVAL_YEAR, -1), "-0-01");
    assert_prints(of(WEIR_TYPE_INTERVAL_DAY, 86400000000 + 7384005000), "+1 02:03:04.005");
    assert_prints(of(WEIR_TYPE_INTERVAL_DAY, -1), "-0 00:00:00.000001");
    assert_prints(of(WEIR_TYPE_INTERVAL_DAY, INT64_MIN), "-106751991 04:00:54.775808");
}
END_TEST

START_TEST(sameness)
{
    struct weir_value one = of(WEIR_TYPE_INT, 1);
    struct weir_value two = of(WEIR_TYPE_INT, 2);
    struct weir_value big = of(WEIR_TYPE_BIGINT, 1);
    struct weir_value null = {.type = one.type, .is_null = true};
    struct weir_value nan = {.type = weir_type_of(WEIR_TYPE_DOUBLE), .u.f64 = NAN};
    ck_assert(weir_value_same(&one, &one) && weir_value_same(&null, &null) && weir_value_same(&nan, &nan));
    ck_assert(!weir_value_same(&one, &two) && !weir_value_same(&one, &big) && !weir_value_same(&one, &null));
}
END_TEST

Suite *value_suite(void);
Suite *value_suite(void)
{
    Suite *suite = suite_create("value");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, values_go_out_and_back);
    tcase_add_test(tc, values_print_as_sql_does);
    tcase_add_test(tc, sameness);
    suite_add_tcase(suite, tc);
    return suite;
}
