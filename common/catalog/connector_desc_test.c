#include "common/catalog/connector_desc.h"

#include <check.h>

static struct weir_schema *make_schema(void)
{
    struct weir_field fields[] = {
        {"a.b", weir_type_of(WEIR_TYPE_SMALLINT)},
        {"s", weir_type_of(WEIR_TYPE_VARCHAR)},
        {"d", weir_type_of(WEIR_TYPE_DOUBLE)},
        {"t", weir_type_of(WEIR_TYPE_TIMESTAMP)},
        {"o", weir_type_of(WEIR_TYPE_BOOLEAN)},
    };
    fields[4].type.not_null = true;
    struct weir_schema *schema = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_schema_create(fields, 5, 3, &schema, &err), WEIR_OK);
    return schema;
}

/* Every row of the table: its owner exists, its default and each word of an enumeration pass its own check. */
START_TEST(defaults_are_valid_values)
{
    struct weir_schema *schema = make_schema();
    const struct weir_option_desc *desc;
    for (uint32_t i = 0; (desc = weir_option_desc_at(i)) != NULL; i++) {
        struct weir_slice owner = weir_slice_str(desc->owner);
        const struct weir_connector_desc *connector = weir_connector_desc_find(owner);
        const struct weir_format_desc *format = weir_format_desc_find(owner);
        ck_assert(connector != NULL || format != NULL);
        ck_assert_uint_gt(strlen(desc->help), 0);
        ck_assert(connector == NULL || (desc->roles & ~connector->roles) == 0);
        if (connector == NULL) {
            connector = weir_connector_desc_find(weir_slice_str("filesystem"));
        }
        if (desc->def == NULL || strchr(desc->name, '#') != NULL) {
            continue;
        }
        struct weir_error err = {0};
        struct weir_option option = {.key = desc->name, .value = desc->def};
        ck_assert_msg(weir_connector_check_option(connector, format, schema, &option, &err) == WEIR_OK, "%s", err.text);
    }
    weir_schema_unref(schema);
}
END_TEST

static const struct {
    const char *key, *value, *problem; /* NULL: valid */
} options[] = {
    {"number-of-rows", "0", NULL},
    {"number-of-rows", "9223372036854775807", NULL},
    {"number-of-rows", "9223372036854775808", "is not a whole number"},
    {"number-of-rows", "-1", "too small; expected at least 0"},
    {"number-of-rows", "", "is not a whole number"},
    {"number-of-rows", "0x10", "is not a whole number"},
    {"number-of-row", "1", "did you mean \"number-of-rows\"?"},
    {"", "1", "has no option \"\"; it has: rows-per-second, number-of-rows"},
    {"json.ignore-parse-errors", "true", "has no option"},
    {"start-time", "2026-01-01 00:00:00", NULL},
    {"start-time", "1767225600000", NULL},
    {"start-time", "yesterday", "is not a time; expected"},
    {"fields.a.b.min", "-32768", NULL},
    {"fields.a.b.min", "-32769", "is not SMALLINT"},
    {"fields.a.b.mni", "1", "did you mean \"fields.a.b.min\"?"},
    {"fields.x.min", "1", "there is no column \"x\"; the table has (a.b SMALLINT"},
    {"fields..min", "1", "has no option \"fields..min\""},
    {"fields.s.min", "1", "is for numeric columns; \"s\" is STRING"},
    {"fields.s.start", "a", "is not a whole number"},
    {"fields.s.values", "a, b,c", NULL},
    {"fields.s.values", "a,,c", "an empty value"},
    {"fields.a.b.values", "1, 2, three", "\"three\" is not SMALLINT"},
    {"fields.d.max", "1e3", NULL},
    {"fields.d.max", "nan", "is not DOUBLE"},
    {"fields.d.max", "1e400", "is not DOUBLE"},
    {"fields.d.null-rate", "0.5", NULL},
    {"fields.d.null-rate", "1.01", "is not a number from 0 to 1"},
    {"fields.t.step", "2 d", "out of range; expected 0 to 86400000 ms"},
    {"fields.t.kind", "times", "is not one of random|sequence|time"},
};

START_TEST(options_are_checked_one_by_one)
{
    struct weir_schema *schema = make_schema();
    const struct weir_connector_desc *datagen = weir_connector_desc_find(weir_slice_str("datagen"));
    struct weir_error err = {0};
    struct weir_option option = {.key = options[_i].key, .value = options[_i].value};
    enum weir_rc rc = weir_connector_check_option(datagen, NULL, schema, &option, &err);
    if (options[_i].problem == NULL) {
        ck_assert_msg(rc == WEIR_OK, "%s", err.text);
    } else {
        ck_assert_int_eq(rc, WEIR_INVALID);
        ck_assert_msg(strstr(err.text, options[_i].problem) != NULL, "%s", err.text);
    }
    weir_schema_unref(schema);
}
END_TEST

static const struct {
    struct weir_option options[4];
    const char *problem;
    bool bounded;
} tables[] = {
    {{{"fields.t.kind", "time", {0, 0}}, {"fields.t.step", "1 s", {0, 0}}}, NULL, false},
    {{{"fields.t.kind", "time", {0, 0}}}, "\"fields.t.step\" is missing; kind time needs it", false},
    {{{"fields.t.step", "1 s", {0, 0}}}, "is for kind time, and \"fields.t.kind\" is random", false},
    {{{"fields.t.kind", "sequence", {0, 0}}}, "sequence is for numeric and STRING columns; \"t\" is TIMESTAMP", false},
    {{{"fields.d.kind", "time", {0, 0}}}, "time is for TIMESTAMP columns; \"d\" is DOUBLE", false},
    {{{"fields.s.kind", "sequence", {0, 0}}, {"fields.s.start", "1", {0, 0}}, {"fields.s.end", "9", {0, 0}}}, NULL, true},
    {{{"fields.s.kind", "sequence", {0, 0}}, {"fields.s.start", "1", {0, 0}}, {"fields.s.end", "0", {0, 0}}}, "1 is greater than 0", true},
    {{{"fields.d.min", "2", {0, 0}}, {"fields.d.max", "1.5", {0, 0}}}, "2 is greater than 1.5", false},
    {{{"fields.o.null-rate", "0.1", {0, 0}}}, "the column is NOT NULL", false},
    {{{"number-of-rows", "5", {0, 0}}}, NULL, true},
};

START_TEST(tables_are_checked_as_a_whole)
{
    struct weir_schema *schema = make_schema();
    struct weir_table_spec table = {.name = "t", .schema = schema, .connector = "datagen", .options = tables[_i].options};
    while (table.noptions < 4 && tables[_i].options[table.noptions].key != NULL) {
        table.noptions++;
    }
    struct weir_error err = {0};
    enum weir_rc rc = weir_connector_check_table(&table, WEIR_ROLE_SOURCE, &err);
    ck_assert_msg((rc == WEIR_OK) == (tables[_i].problem == NULL), "%s", err.text);
    ck_assert_msg(rc == WEIR_OK || strstr(err.text, tables[_i].problem) != NULL, "%s", err.text);
    ck_assert_int_eq(weir_connector_bounded(&table), tables[_i].bounded);
    weir_schema_unref(schema);
}
END_TEST

START_TEST(field_options_fall_back_to_the_default)
{
    static const struct weir_option set[] = {{"fields.a.b.length", "7", {0, 0}}};
    struct weir_table_spec table = {.connector = "datagen", .options = set, .noptions = 1};
    ck_assert_str_eq(weir_connector_field_option(&table, "fields", "a.b", "length"), "7");
    ck_assert_str_eq(weir_connector_field_option(&table, "fields", "a", "length"), "100");
    ck_assert_str_eq(weir_connector_field_option(&table, "fields", "s", "kind"), "random");
    ck_assert_ptr_null(weir_connector_field_option(&table, "fields", "s", "min"));
    ck_assert_str_eq(weir_connector_default(&table, "rows-per-second"), "10000");
}
END_TEST

Suite *connector_desc_suite(void);
Suite *connector_desc_suite(void)
{
    Suite *suite = suite_create("connector_desc");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, defaults_are_valid_values);
    tcase_add_loop_test(tc, options_are_checked_one_by_one, 0, sizeof(options) / sizeof(options[0]));
    tcase_add_loop_test(tc, tables_are_checked_as_a_whole, 0, sizeof(tables) / sizeof(tables[0]));
    tcase_add_test(tc, field_options_fall_back_to_the_default);
    suite_add_tcase(suite, tc);
    return suite;
}
