#include "common/plan/agg_partial.h"

#include <check.h>

static struct weir_schema *make_raw(void)
{
    struct weir_field fields[] = {{"a", weir_type_of(WEIR_TYPE_INT)},
                                  {"b", weir_type_of(WEIR_TYPE_VARCHAR)},
                                  {"c", weir_type_of(WEIR_TYPE_DOUBLE)}};
    struct weir_schema *schema = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_schema_create(fields, 3, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    return schema;
}

static void expect(struct weir_schema *schema, const char *expected)
{
    struct weir_buf text = {0};
    weir_schema_format(schema, &text);
    ck_assert_msg(weir_slice_eq_str(weir_buf_slice(&text), expected), "%.*s", WEIR_SLICE_ARG(weir_buf_slice(&text)));
    weir_buf_fini(&text);
    weir_schema_unref(schema);
}

static const uint32_t keys[] = {2, 0};

START_TEST(partial_rows_have_their_columns_where_the_layout_says)
{
    struct weir_schema *raw = make_raw();
    struct weir_error err;
    for (uint32_t nkeys = 0; nkeys <= 2; nkeys++) {
        for (int windowed = 0; windowed <= 1; windowed++) {
            struct weir_agg_partial_layout layout = weir_agg_partial_layout(nkeys, windowed);
            struct weir_schema *partial = NULL;
            ck_assert_int_eq(weir_agg_partial_schema(raw, keys, nkeys, windowed, &partial, &err), WEIR_OK);
            ck_assert_uint_eq(weir_schema_count(partial), layout.count);
            ck_assert_int_eq(layout.slice_end, windowed ? 0 : WEIR_NO_COLUMN);
            ck_assert_str_eq(weir_schema_field(partial, layout.partials)->name, "$partials");
            ck_assert_str_eq(weir_schema_field(partial, layout.rows)->name, "$rows");
            for (uint32_t i = 0; i < nkeys; i++) {
                ck_assert_str_eq(weir_schema_field(partial, layout.first_key + i)->name, weir_schema_field(raw, keys[i])->name);
            }
            weir_schema_unref(partial);
        }
    }
    struct weir_schema *partial = NULL;
    ck_assert_int_eq(weir_agg_partial_schema(raw, keys, 2, true, &partial, &err), WEIR_OK);
    expect(partial, "($slice_end BIGINT NOT NULL, c DOUBLE, a INT, $partials BYTES NOT NULL, $rows BIGINT NOT NULL)");
    weir_schema_unref(raw);
}
END_TEST

START_TEST(results_are_window_keys_calls)
{
    struct weir_schema *raw = make_raw();
    struct weir_schema *output = NULL;
    struct weir_error err = {0};
    struct weir_expr count = {.kind = WEIR_EXPR_AGG, .type = weir_type_of(WEIR_TYPE_BIGINT)};
    struct weir_agg_call calls[] = {{"n", &count}, {"a", &count}};
    ck_assert_int_eq(weir_agg_output_schema(raw, keys, 1, calls, 1, true, &output, &err), WEIR_OK);
    expect(output, "(window_start TIMESTAMP(3) NOT NULL, window_end TIMESTAMP(3) NOT NULL, c DOUBLE, n BIGINT)");
    ck_assert_int_eq(weir_agg_output_schema(raw, keys, 1, calls, 2, false, &output, &err), WEIR_OK);
    expect(output, "(c DOUBLE, n BIGINT, a BIGINT)");
    ck_assert_int_eq(weir_agg_output_schema(raw, keys, 2, calls, 2, false, &output, &err), WEIR_EXISTS); /* a, twice */
    weir_schema_unref(raw);
}
END_TEST

START_TEST(too_many_columns_are_refused)
{
    static const uint32_t many[WEIR_COLUMNS_MAX + 1];
    static const struct weir_agg_call calls[WEIR_COLUMNS_MAX];
    struct weir_schema *raw = make_raw();
    struct weir_schema *schema = NULL;
    struct weir_error err = {0};
    static const uint32_t counts[] = {WEIR_COLUMNS_MAX - 2, WEIR_COLUMNS_MAX, WEIR_COLUMNS_MAX + 1, UINT32_MAX - 1};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        ck_assert_int_eq(weir_agg_partial_schema(raw, many, counts[i], true, &schema, &err), WEIR_LIMIT);
        ck_assert_int_eq(weir_agg_output_schema(raw, many, counts[i], calls, 3, true, &schema, &err), WEIR_LIMIT);
    }
    ck_assert_ptr_null(schema);
    weir_schema_unref(raw);
}
END_TEST

Suite *agg_partial_suite(void);
Suite *agg_partial_suite(void)
{
    Suite *suite = suite_create("agg_partial");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, partial_rows_have_their_columns_where_the_layout_says);
    tcase_add_test(tc, results_are_window_keys_calls);
    tcase_add_test(tc, too_many_columns_are_refused);
    suite_add_tcase(suite, tc);
    return suite;
}
