#include "taskmanager/connectors/bad_records.h"

#include <check.h>
#include <stdio.h>

static struct weir_schema *schema_of(enum weir_type_id record)
{
    const struct weir_field fields[] = {
        {"reason", {.id = WEIR_TYPE_VARCHAR}},
        {"record", {.id = record}},
        {"source", {.id = WEIR_TYPE_VARCHAR}},
        {"position", {.id = WEIR_TYPE_VARCHAR}},
    };
    struct weir_schema *schema = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_schema_create(fields, 4, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    return schema;
}

static void check_cell(const struct weir_batch *batch, uint32_t column, uint32_t row, struct weir_slice expected)
{
    struct weir_slice actual = weir_column_slice(&batch->cols[column], row);
    ck_assert_msg(weir_slice_eq(actual, expected), "column %u: %.*s", column, WEIR_SLICE_ARG(actual));
}

/* Columns are found by name; what is no UTF-8 is replaced in a STRING and kept in BYTES; every row comes out once and in order. */
START_TEST(rows_hold_what_was_read_and_why)
{
    static const uint8_t bytes[] = {'a', 0xff, 0xc3, 0xa4, 0xed, 0xa0, 0x80, 'z', 0xe2, 0x82};
    static const char text[] = "a\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd\xef\xbf\xbd";
    bool raw = _i == 1;
    struct weir_mem *mem = weir_mem_create("test", 0, NULL);
    struct weir_table_spec error_table = {.name = "rejected", .schema = schema_of(raw ? WEIR_TYPE_VARBINARY : WEIR_TYPE_VARCHAR)};
    struct weir_table_spec table = {.name = "orders", .on_error = WEIR_ON_ERROR_TABLE, .error_table = &error_table};
    struct weir_bad_records *bad = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_bad_records_create(&table, mem, &bad, &err), WEIR_OK);
    ck_assert_ptr_null(weir_bad_records_take(bad));
    enum { ROWS = 10000 };
    for (uint32_t i = 0; i < ROWS; i++) {
        char position[32];
        (void)snprintf(position, sizeof(position), "line %u", i);
        weir_bad_records_add(bad, weir_slice(bytes, sizeof(bytes)), position, "it is torn");
    }
    uint32_t seen = 0;
    for (struct weir_batch *batch; (batch = weir_bad_records_take(bad)) != NULL;) {
        for (uint32_t row = 0; row < weir_batch_rows(batch); row++, seen++) {
            char position[32];
            (void)snprintf(position, sizeof(position), "line %u", seen);
            check_cell(batch, 0, row, weir_slice_str("it is torn"));
            check_cell(batch, 1, row, raw ? weir_slice(bytes, sizeof(bytes)) : weir_slice_str(text));
            check_cell(batch, 2, row, weir_slice_str("orders"));
            check_cell(batch, 3, row, weir_slice_str(position));
        }
        weir_batch_unref(batch);
    }
    ck_assert_uint_eq(seen, ROWS);
    weir_bad_records_add(bad, weir_slice_str("left behind"), "", "");
    weir_bad_records_destroy(bad);
    weir_bad_records_destroy(NULL);
    ck_assert_uint_eq(weir_mem_used(mem), 0);
    weir_schema_unref(error_table.schema);
    weir_mem_destroy(mem);
}
END_TEST

START_TEST(other_columns_are_refused)
{
    const struct weir_field fields[] = {{"record", {.id = WEIR_TYPE_VARCHAR}}, {"offset", {.id = WEIR_TYPE_BIGINT}}};
    struct weir_schema *schema = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_schema_create(fields, 2, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    struct weir_table_spec error_table = {.name = "rejected", .schema = schema};
    struct weir_table_spec table = {.name = "orders", .on_error = WEIR_ON_ERROR_TABLE, .error_table = &error_table};
    struct weir_bad_records *bad = NULL;
    ck_assert_int_eq(weir_bad_records_create(&table, NULL, &bad, &err), WEIR_INVALID);
    ck_assert_msg(strstr(err.text, "\"offset\"") != NULL, "%s", err.text);
    weir_schema_unref(schema);
}
END_TEST

Suite *bad_records_suite(void);
Suite *bad_records_suite(void)
{
    Suite *suite = suite_create("bad_records");
    TCase *tcase = tcase_create("bad_records");
    tcase_add_loop_test(tcase, rows_hold_what_was_read_and_why, 0, 2);
    tcase_add_test(tcase, other_columns_are_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
