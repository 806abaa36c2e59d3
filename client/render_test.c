#include "client/render.h"

#include <check.h>

START_TEST(tables_are_aligned)
{
    static const char *const headings[] = {"NAME", ">ROWS", "STATE", NULL};
    struct weir_table *table = weir_table_create(headings);
    weir_table_add(table, "größe");
    weir_table_add_int(table, 7);
    weir_table_add(table, "RUNNING");
    weir_table_add(table, "a\x1b[31m\n");
    weir_table_add_int(table, 1234567);
    weir_table_add(table, "");
    struct weir_buf out = {0};
    weir_table_render(table, &out);
    weir_buf_put_u8(&out, 0);
    ck_assert_str_eq((char *)out.data, "NAME        ROWS  STATE\n"
                                       "größe          7  RUNNING\n"
                                       "a?[31m?  1234567\n");
    weir_buf_fini(&out);
    weir_table_destroy(table);
}
END_TEST

START_TEST(figures_for_people)
{
    char out[WEIR_RENDER_TEXT];
    ck_assert_str_eq(weir_render_duration(-1, out), "-");
    ck_assert_str_eq(weir_render_duration(0, out), "0.0 s");
    ck_assert_str_eq(weir_render_duration(1499, out), "1.4 s");
    ck_assert_str_eq(weir_render_duration(125000, out), "2 min 5 s");
    ck_assert_str_eq(weir_render_duration(3720000, out), "1 h 2 min");
    ck_assert_str_eq(weir_render_bytes(1023, out), "1023 B");
    ck_assert_str_eq(weir_render_bytes(1 << 30, out), "1.0 GB");
    ck_assert_str_eq(weir_render_time(-1, out), "-");
    ck_assert_str_eq(weir_render_time(1795239062554, out), "2026-11-21 05:31:02");
    weir_table_destroy(NULL);
}
END_TEST

Suite *render_suite(void);
Suite *render_suite(void)
{
    Suite *suite = suite_create("render");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, tables_are_aligned);
    tcase_add_test(tc, figures_for_people);
    suite_add_tcase(suite, tc);
    return suite;
}
