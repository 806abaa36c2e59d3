#include "common/base/bitmap.h"

#include "common/base/rand.h"

#include <check.h>

START_TEST(bit_order_is_arrows)
{
    uint8_t map[2] = {0};
    weir_bitmap_set(map, 0);
    weir_bitmap_set(map, 9);
    ck_assert_uint_eq(map[0], 1);
    ck_assert_uint_eq(map[1], 2);
    ck_assert_uint_eq(weir_bitmap_bytes(0), 0);
    ck_assert_uint_eq(weir_bitmap_bytes(8), 1);
    ck_assert_uint_eq(weir_bitmap_bytes(9), 2);
}
END_TEST

enum { BITS = 203 };

START_TEST(random_model)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 4);
    bool model[BITS] = {0};
    uint8_t map[(BITS + 7) / 8] = {0};
    for (int round = 0; round < 3000; round++) {
        size_t from = weir_rand_below(&rand, BITS + 1);
        size_t count = weir_rand_below(&rand, BITS - from + 1);
        bool value = weir_rand_below(&rand, 2) == 1;
        weir_bitmap_fill(map, from, count, value);
        for (size_t i = from; i < from + count; i++) {
            model[i] = value;
        }
        size_t one = weir_rand_below(&rand, BITS);
        weir_bitmap_put(map, one, !model[one]);
        model[one] = !model[one];
        size_t other = weir_rand_below(&rand, BITS);
        weir_bitmap_clear(map, other);
        model[other] = false;
        size_t bits = weir_rand_below(&rand, BITS + 1);
        size_t set = 0;
        for (size_t i = 0; i < BITS; i++) {
            ck_assert_int_eq(weir_bitmap_get(map, i), model[i]);
            set += i < bits && model[i];
        }
        ck_assert_uint_eq(weir_bitmap_count(map, bits), set);
    }
    uint8_t other[sizeof(map)];
    uint8_t both[sizeof(map)];
    for (size_t i = 0; i < sizeof(other); i++) {
        other[i] = (uint8_t)weir_rand_u64(&rand);
    }
    weir_bitmap_and(both, map, other, BITS);
    weir_bitmap_or(other, map, other, BITS);
    for (size_t i = 0; i < BITS; i++) {
        ck_assert(!model[i] || weir_bitmap_get(other, i));
        ck_assert(!weir_bitmap_get(both, i) || (model[i] && weir_bitmap_get(other, i)));
    }
}
END_TEST

Suite *bitmap_suite(void);
Suite *bitmap_suite(void)
{
    Suite *suite = suite_create("bitmap");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, bit_order_is_arrows);
    tcase_add_test(tc, random_model);
    suite_add_tcase(suite, tc);
    return suite;
}
