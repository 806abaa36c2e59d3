#include "common/data/type.h"

#include <check.h>

static struct weir_type parsed(const char *text)
{
    struct weir_type type = {0};
    struct weir_error err = {0};
    ck_assert_msg(weir_type_parse(weir_slice_str(text), &type, &err) == WEIR_OK, "%s: %s", text, err.text);
    return type;
}

START_TEST(texts_parse_and_print_as_flink_does)
{
    static const char *const pairs[][2] = {
        {"boolean", "BOOLEAN"},
        {"TinyInt", "TINYINT"},
        {" smallint ", "SMALLINT"},
        {"INTEGER", "INT"},
        {"int not  null", "INT NOT NULL"},
        {"BIGINT NULL", "BIGINT"},
        {"FLOAT", "FLOAT"},
        {"double precision", "DOUBLE"},
        {"DECIMAL", "DECIMAL(10, 0)"},
        {"NUMERIC(7)", "DECIMAL(7, 0)"},
        {"dec( 38 , 38 ) NOT NULL", "DECIMAL(38, 38) NOT NULL"},
        {"STRING", "STRING"},
        {"VARCHAR(2147483647)", "STRING"},
        {"VARCHAR", "VARCHAR(1)"},
        {"VARCHAR(20)", "VARCHAR(20)"},
        {"BYTES", "BYTES"},
        {"VARBINARY(3)", "VARBINARY(3)"},
        {"DATE", "DATE"},
        {"TIME", "TIME(0)"},
        {"TIME(3) WITHOUT TIME ZONE", "TIME(3)"},
        {"TIMESTAMP", "TIMESTAMP(6)"},
        {"TIMESTAMP(3)", "TIMESTAMP(3)"},
        {"TIMESTAMP(0) WITHOUT TIME ZONE NOT NULL", "TIMESTAMP(0) NOT NULL"},
        {"TIMESTAMP(3) WITH LOCAL TIME ZONE", "TIMESTAMP_LTZ(3)"},
        {"TIMESTAMP_LTZ", "TIMESTAMP_LTZ(6)"},
        {"INTERVAL YEAR TO MONTH", "INTERVAL YEAR TO MONTH"},
        {"interval day to second not null", "INTERVAL DAY TO SECOND NOT NULL"},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct weir_type type = parsed(pairs[i][0]);
        ck_assert_str_eq(weir_type_text(type).text, pairs[i][1]);
        struct weir_type again = parsed(pairs[i][1]);
        ck_assert(weir_type_same(type, again));
        ck_assert(type.not_null == again.not_null);
    }
}
END_TEST

START_TEST(what_is_no_type_is_refused)
{
    static const char *const bad[] = {
        "", "(", "INTT", "INT(3)", "INT NOT", "INT NULL NULL", "DECIMAL(", "DECIMAL()", "DECIMAL(39, 0)", "DECIMAL(0)",
        "DECIMAL(5, 6)", "DECIMAL(1,2,3)", "DECIMAL(5,", "VARCHAR(0)", "VARCHAR(2147483648)", "VARCHAR(99999999999999999999)",
        "VARCHAR(x)", "VARCHAR(1, 2)", "TIMESTAMP(7)", "TIMESTAMP(3) WITH TIME ZONE", "TIMESTAMP(3) WITH LOCAL TIME",
        "INTERVAL", "INTERVAL HOUR", "STRING x", "CHAR(3)", "NULL", "VARCHAR(-1)",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct weir_type type = weir_type_of(WEIR_TYPE_DATE);
        struct weir_error err = {0};
        ck_assert_msg(weir_type_parse(weir_slice_str(bad[i]), &type, &err) == WEIR_INVALID, "'%s' was taken", bad[i]);
        ck_assert_int_eq(type.id, WEIR_TYPE_DATE);
        ck_assert_str_ne(err.text, "");
    }
}
END_TEST

START_TEST(widths_and_families)
{
    ck_assert_uint_eq(weir_type_width(WEIR_TYPE_BOOLEAN), 0);
    ck_assert_uint_eq(weir_type_width(WEIR_TYPE_DECIMAL), sizeof(__int128));
    ck_assert_uint_eq(weir_type_width(WEIR_TYPE_VARCHAR), sizeof(struct weir_strview));
    ck_assert_uint_eq(weir_type_width(WEIR_TYPE_INTERVAL_DAY), 8);
    ck_assert(weir_type_is_integer(WEIR_TYPE_TINYINT) && weir_type_is_integer(WEIR_TYPE_BIGINT));
    ck_assert(!weir_type_is_integer(WEIR_TYPE_FLOAT) && weir_type_is_numeric(WEIR_TYPE_DECIMAL));
    ck_assert(!weir_type_is_numeric(WEIR_TYPE_VARCHAR) && !weir_type_is_numeric(WEIR_TYPE_BOOLEAN));
    ck_assert(weir_type_is_time(WEIR_TYPE_DATE) && weir_type_is_time(WEIR_TYPE_TIMESTAMP_LTZ));
    ck_assert(!weir_type_is_time(WEIR_TYPE_INTERVAL_DAY));
}
END_TEST

Suite *type_suite(void);
Suite *type_suite(void)
{
    Suite *suite = suite_create("type");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, texts_parse_and_print_as_flink_does);
    tcase_add_test(tc, what_is_no_type_is_refused);
    tcase_add_test(tc, widths_and_families);
    suite_add_tcase(suite, tc);
    return suite;
}
