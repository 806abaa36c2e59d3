#include "common/data/schema.h"

#include <check.h>
#include <stdio.h>

static struct weir_schema *two_columns(void)
{
    char name[8] = "a"; /* the schema copies names */
    const struct weir_field fields[] = {{name, weir_type_of(WEIR_TYPE_INT)}, {"b", weir_type_of(WEIR_TYPE_TIMESTAMP)}};
    struct weir_schema *schema = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_schema_create(fields, 2, 1, &schema, &err), WEIR_OK);
    name[0] = 'x';
    return schema;
}

START_TEST(columns_are_found_by_name)
{
    struct weir_schema *schema = two_columns();
    ck_assert_uint_eq(weir_schema_count(schema), 2);
    ck_assert_int_eq(weir_schema_time_column(schema), 1);
    ck_assert_int_eq(weir_schema_find(schema, weir_slice_str("a")), 0);
    ck_assert_int_eq(weir_schema_find(schema, weir_slice_str("b")), 1);
    ck_assert_int_eq(weir_schema_find(schema, weir_slice_str("B")), WEIR_NO_COLUMN);
    ck_assert_int_eq(weir_schema_find(schema, weir_slice_str("")), WEIR_NO_COLUMN);
    struct weir_buf text = {0};
    weir_schema_format(schema, &text);
    ck_assert(weir_slice_eq_str(weir_buf_slice(&text), "(a INT, b TIMESTAMP(6))"));
    weir_buf_fini(&text);
    weir_schema_unref(schema);
}
END_TEST

START_TEST(references_keep_it_alive)
{
    struct weir_schema *schema = two_columns();
    const struct weir_schema *other = weir_schema_ref(schema);
    weir_schema_unref(schema);
    ck_assert_str_eq(weir_schema_field(other, 0)->name, "a");
    weir_schema_unref(other);
    weir_schema_unref(NULL);
}
END_TEST

START_TEST(sameness_ignores_nullability_only)
{
    struct weir_schema *schema = two_columns();
    struct weir_field fields[] = {{"a", weir_type_of(WEIR_TYPE_INT)}, {"b", weir_type_of(WEIR_TYPE_TIMESTAMP)}};
    fields[0].type.not_null = true;
    struct weir_error err;
    struct weir_schema *other = NULL;
    ck_assert_int_eq(weir_schema_create(fields, 2, WEIR_NO_COLUMN, &other, &err), WEIR_OK);
    ck_assert(weir_schema_same(schema, other));
    weir_schema_unref(other);
    fields[1].type.precision = 3;
    ck_assert_int_eq(weir_schema_create(fields, 2, WEIR_NO_COLUMN, &other, &err), WEIR_OK);
    ck_assert(!weir_schema_same(schema, other));
    weir_schema_unref(other);
    ck_assert_int_eq(weir_schema_create(fields, 1, WEIR_NO_COLUMN, &other, &err), WEIR_OK);
    ck_assert(!weir_schema_same(schema, other));
    weir_schema_unref(other);
    weir_schema_unref(schema);
}
END_TEST

START_TEST(wrong_schemas_are_refused)
{
    struct weir_schema *schema = NULL;
    struct weir_error err = {0};
    struct weir_field fields[] = {{"a", weir_type_of(WEIR_TYPE_INT)}, {"a", weir_type_of(WEIR_TYPE_TIMESTAMP)}};
    ck_assert_int_eq(weir_schema_create(fields, 2, WEIR_NO_COLUMN, &schema, &err), WEIR_EXISTS);
    fields[1].name = "";
    ck_assert_int_eq(weir_schema_create(fields, 2, WEIR_NO_COLUMN, &schema, &err), WEIR_INVALID);
    fields[1].name = "b";
    ck_assert_int_eq(weir_schema_create(fields, 2, 0, &schema, &err), WEIR_INVALID); /* INT is no time */
    ck_assert_int_eq(weir_schema_create(fields, 2, 2, &schema, &err), WEIR_INVALID);
    ck_assert_int_eq(weir_schema_create(fields, 2, -2, &schema, &err), WEIR_INVALID);
    fields[0].type = weir_type_of(WEIR_TYPE_NULL);
    ck_assert_int_eq(weir_schema_create(fields, 2, WEIR_NO_COLUMN, &schema, &err), WEIR_INVALID);
    ck_assert_ptr_null(schema);

    static struct weir_field many[WEIR_COLUMNS_MAX + 1];
    static char names[WEIR_COLUMNS_MAX + 1][8];
    for (unsigned i = 0; i <= WEIR_COLUMNS_MAX; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "c%u", i);
        many[i] = (struct weir_field){.name = names[i], .type = weir_type_of(WEIR_TYPE_INT)};
    }
    ck_assert_int_eq(weir_schema_create(many, WEIR_COLUMNS_MAX + 1, WEIR_NO_COLUMN, &schema, &err), WEIR_LIMIT);
    ck_assert_int_eq(weir_schema_create(many, WEIR_COLUMNS_MAX, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    weir_schema_unref(schema);
}
END_TEST

Suite *schema_suite(void);
Suite *schema_suite(void)
{
    Suite *suite = suite_create("schema");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, columns_are_found_by_name);
    tcase_add_test(tc, references_keep_it_alive);
    tcase_add_test(tc, sameness_ignores_nullability_only);
    tcase_add_test(tc, wrong_schemas_are_refused);
    suite_add_tcase(suite, tc);
    return suite;
}
