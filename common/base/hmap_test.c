#include "common/base/hmap.h"

#include "common/base/rand.h"

#include <check.h>
#include <stdio.h>

enum { KEYS = 500 };

static struct weir_slice key_of(char text[16], size_t number)
{
    int len = snprintf(text, 16, "key-%zu", number);
    return weir_slice(text, (size_t)len);
}

START_TEST(random_model)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 5);
    struct weir_hmap *map = weir_hmap_create(99);
    static const int values[8] = {0};
    const int *model[KEYS] = {0};
    size_t live = 0;
    char text[16];
    for (int round = 0; round < 100000; round++) {
        size_t number = weir_rand_below(&rand, KEYS);
        struct weir_slice key = key_of(text, number);
        const int *value = &values[weir_rand_below(&rand, 8)];
        if (weir_rand_below(&rand, 2) == 0) {
            ck_assert_ptr_eq(weir_hmap_put(map, key, (void *)(uintptr_t)value), model[number]);
            live += model[number] == NULL;
            model[number] = value;
        } else {
            ck_assert_ptr_eq(weir_hmap_remove(map, key), model[number]);
            live -= model[number] != NULL;
            model[number] = NULL;
        }
        ck_assert_uint_eq(weir_hmap_count(map), live);
        size_t look = weir_rand_below(&rand, KEYS);
        ck_assert_ptr_eq(weir_hmap_get(map, key_of(text, look)), model[look]);
    }
    size_t seen = 0;
    struct weir_hmap_iter iter = {0};
    while (weir_hmap_next(map, &iter)) {
        seen++;
        ck_assert_ptr_eq(weir_hmap_get(map, iter.key), iter.value);
    }
    ck_assert_uint_eq(seen, live);
    weir_hmap_destroy(map);
}
END_TEST

START_TEST(iteration_in_insertion_order_survives_removal)
{
    for (uint64_t seed = 0; seed < 5; seed++) {
        struct weir_hmap *map = weir_hmap_create(seed);
        char text[16];
        int value = 1;
        for (size_t i = 0; i < KEYS; i++) {
            ck_assert_ptr_null(weir_hmap_put(map, key_of(text, i), &value));
        }
        struct weir_hmap_iter iter = {0};
        for (size_t i = 0; weir_hmap_next(map, &iter); i++) {
            ck_assert(weir_slice_eq(iter.key, key_of(text, i)));
            ck_assert_ptr_eq(weir_hmap_remove(map, key_of(text, i)), &value);
        }
        ck_assert_uint_eq(weir_hmap_count(map), 0);
        weir_hmap_destroy(map);
    }
}
END_TEST

START_TEST(keys_are_bytes_and_copied)
{
    struct weir_hmap *map = weir_hmap_create(0);
    int a = 1;
    int b = 2;
    char key[] = {'x', 0, 'y'};
    ck_assert_ptr_null(weir_hmap_put(map, weir_slice(key, 3), &a));
    key[2] = 'z';
    ck_assert_ptr_null(weir_hmap_get(map, weir_slice(key, 3)));
    ck_assert_ptr_null(weir_hmap_get(map, weir_slice(key, 1)));
    ck_assert_ptr_null(weir_hmap_put(map, weir_slice(NULL, 0), &b));
    ck_assert_ptr_eq(weir_hmap_get(map, weir_slice(key, 0)), &b);
    ck_assert_ptr_eq(weir_hmap_put(map, weir_slice(NULL, 0), &a), &b);
    weir_hmap_destroy(map);
}
END_TEST

Suite *hmap_suite(void);
Suite *hmap_suite(void)
{
    Suite *suite = suite_create("hmap");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, random_model);
    tcase_add_test(tc, iteration_in_insertion_order_survives_removal);
    tcase_add_test(tc, keys_are_bytes_and_copied);
    suite_add_tcase(suite, tc);
    return suite;
}
