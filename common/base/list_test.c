#include "common/base/list.h"

#include <check.h>

struct element {
    int value;
    struct weir_list node;
};

static int digits_of(const struct weir_list *list)
{
    int digits = 0;
    for (struct weir_list *node = weir_list_first(list); node != NULL; node = weir_list_next(list, node)) {
        digits = digits * 10 + WEIR_CONTAINER_OF(node, struct element, node)->value;
    }
    return digits;
}

START_TEST(order_and_removal)
{
    struct weir_list list;
    weir_list_init(&list);
    ck_assert(weir_list_empty(&list));
    ck_assert_ptr_null(weir_list_pop_front(&list));
    struct element e[4] = {{.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}};
    ck_assert(!weir_list_linked(&e[0].node));
    weir_list_push_back(&list, &e[1].node);
    weir_list_push_back(&list, &e[2].node);
    weir_list_push_front(&list, &e[0].node);
    weir_list_insert_before(&e[2].node, &e[3].node);
    ck_assert_int_eq(digits_of(&list), 1243);
    weir_list_remove(&e[3].node);
    weir_list_remove(&e[3].node);
    ck_assert(!weir_list_linked(&e[3].node));
    ck_assert_int_eq(digits_of(&list), 123);
    ck_assert_ptr_eq(weir_list_pop_front(&list), &e[0].node);
    weir_list_remove(&e[2].node);
    ck_assert_int_eq(digits_of(&list), 2);
    ck_assert_ptr_eq(weir_list_pop_front(&list), &e[1].node);
    ck_assert(weir_list_empty(&list));
}
END_TEST

Suite *list_suite(void);
Suite *list_suite(void)
{
    Suite *suite = suite_create("list");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, order_and_removal);
    suite_add_tcase(suite, tc);
    return suite;
}
