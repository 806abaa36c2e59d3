#include "common/base/vec.h"

#include "common/base/mem.h"

#include <check.h>

START_TEST(growth_keeps_items)
{
    int *items = NULL;
    size_t cap = 0;
    int moves = 0;
    for (int i = 0; i < 10000; i++) {
        size_t cap_before = cap;
        items = weir_vec_grow(items, &cap, sizeof(*items), (size_t)i + 1);
        moves += cap != cap_before;
        items[i] = i;
    }
    ck_assert_int_lt(moves, 15);
    for (int i = 0; i < 10000; i++) {
        ck_assert_int_eq(items[i], i);
    }
    items = weir_vec_grow(items, &cap, sizeof(*items), 100000);
    ck_assert_uint_eq(cap, 100000);
    weir_free(items);
}
END_TEST

Suite *vec_suite(void);
Suite *vec_suite(void)
{
    Suite *suite = suite_create("vec");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, growth_keeps_items);
    suite_add_tcase(suite, tc);
    return suite;
}
