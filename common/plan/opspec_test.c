#include "common/plan/opspec.h"

#include <check.h>

static int64_t slice_ms(int64_t size_ms, int64_t slide_ms)
{
    struct weir_window_spec window = {.kind = WEIR_WINDOW_HOP, .size_ms = size_ms, .slide_ms = slide_ms};
    return weir_window_slice_ms(&window);
}

START_TEST(slices_divide_size_and_slide)
{
    ck_assert_int_eq(slice_ms(20000, 20000), 20000);
    ck_assert_int_eq(slice_ms(20000, 5000), 5000);
    ck_assert_int_eq(slice_ms(20000, 15000), 5000);
    ck_assert_int_eq(slice_ms(7, 5), 1);
    ck_assert_int_eq(slice_ms(INT64_MAX, INT64_MAX), INT64_MAX);
    for (int64_t size = 1; size <= 60; size++) {
        for (int64_t slide = 1; slide <= size; slide++) {
            int64_t slice = slice_ms(size, slide);
            ck_assert(size % slice == 0 && slide % slice == 0);
            for (int64_t larger = slice + 1; larger <= slide; larger++) {
                ck_assert(size % larger != 0 || slide % larger != 0);
            }
        }
    }
}
END_TEST

START_TEST(options_are_found_by_their_whole_key)
{
    static const struct weir_option options[] = {{"path", "/a", {0, 0}}, {"path.x", "", {0, 0}}};
    struct weir_table_spec table = {.options = options, .noptions = 2};
    ck_assert_str_eq(weir_table_option(&table, "path"), "/a");
    ck_assert_str_eq(weir_table_option(&table, "path.x"), "");
    ck_assert_ptr_null(weir_table_option(&table, "pat"));
    ck_assert_ptr_null(weir_table_option(&table, "path."));
    table.noptions = 0;
    ck_assert_ptr_null(weir_table_option(&table, "path"));
}
END_TEST

Suite *opspec_suite(void);
Suite *opspec_suite(void)
{
    Suite *suite = suite_create("opspec");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, slices_divide_size_and_slide);
    tcase_add_test(tc, options_are_found_by_their_whole_key);
    suite_add_tcase(suite, tc);
    return suite;
}
