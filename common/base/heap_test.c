#include "common/base/heap.h"

#include "common/base/list.h"
#include "common/base/rand.h"

#include <check.h>
#include <stdint.h>

enum { ITEMS = 60 };

struct item {
    uint64_t order;
    struct weir_heap_node node;
};

static bool before(const struct weir_heap_node *a, const struct weir_heap_node *b)
{
    return WEIR_CONTAINER_OF(a, const struct item, node)->order < WEIR_CONTAINER_OF(b, const struct item, node)->order;
}

START_TEST(random_model)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 6);
    struct weir_heap heap;
    weir_heap_init(&heap, before);
    struct item items[ITEMS] = {0};
    for (int round = 0; round < 50000; round++) {
        struct item *item = &items[weir_rand_below(&rand, ITEMS)];
        if (!weir_heap_linked(&item->node)) {
            item->order = weir_rand_below(&rand, 40);
            weir_heap_push(&heap, &item->node);
        } else if (weir_rand_below(&rand, 2) == 0) {
            item->order = weir_rand_below(&rand, 40);
            weir_heap_update(&heap, &item->node);
        } else {
            weir_heap_remove(&heap, &item->node);
        }
        size_t linked = 0;
        uint64_t least = UINT64_MAX;
        for (size_t i = 0; i < ITEMS; i++) {
            if (weir_heap_linked(&items[i].node)) {
                linked++;
                least = items[i].order < least ? items[i].order : least;
            }
        }
        ck_assert_uint_eq(heap.len, linked);
        struct weir_heap_node *first = weir_heap_peek(&heap);
        ck_assert_int_eq(first == NULL, linked == 0);
        ck_assert(first == NULL || WEIR_CONTAINER_OF(first, struct item, node)->order == least);
    }
    uint64_t last = 0;
    for (struct weir_heap_node *node = weir_heap_pop(&heap); node != NULL; node = weir_heap_pop(&heap)) {
        ck_assert_uint_ge(WEIR_CONTAINER_OF(node, struct item, node)->order, last);
        last = WEIR_CONTAINER_OF(node, struct item, node)->order;
        ck_assert(!weir_heap_linked(node));
    }
    weir_heap_fini(&heap);
}
END_TEST

Suite *heap_suite(void);
Suite *heap_suite(void)
{
    Suite *suite = suite_create("heap");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, random_model);
    suite_add_tcase(suite, tc);
    return suite;
}
