#include "common/base/rand.h"

#include <check.h>

START_TEST(a_seed_is_a_sequence)
{
    struct weir_rand a;
    struct weir_rand b;
    struct weir_rand other;
    weir_rand_init(&a, 0);
    weir_rand_init(&b, 0);
    weir_rand_init(&other, 1);
    ck_assert_uint_eq(a.s[0], 0xe220a8397b1dcdafu); /* splitmix64 from 0 */
    ck_assert_uint_eq(a.s[1], 0x6e789e6aa1b965f4u);
    ck_assert_uint_eq(weir_rand_u64(&a), 0x99ec5f36cb75f2b4u); /* xoshiro256** from splitmix64(0), published */
    (void)weir_rand_u64(&b);
    int same = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t value = weir_rand_u64(&a);
        ck_assert_uint_eq(value, weir_rand_u64(&b));
        same += value == weir_rand_u64(&other);
    }
    ck_assert_int_eq(same, 0);
}
END_TEST

START_TEST(below_is_uniform)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 2);
    int counts[7] = {0};
    for (int i = 0; i < 70000; i++) {
        counts[weir_rand_below(&rand, 7)]++;
    }
    for (int i = 0; i < 7; i++) {
        ck_assert_int_gt(counts[i], 9500);
        ck_assert_int_lt(counts[i], 10500);
    }
    ck_assert_uint_eq(weir_rand_below(&rand, 1), 0);
    uint64_t huge = ((uint64_t)1 << 63) + 1;
    for (int i = 0; i < 1000; i++) {
        ck_assert_uint_lt(weir_rand_below(&rand, huge), huge);
    }
}
END_TEST

START_TEST(doubles_fill_the_unit_interval)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 3);
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        double value = weir_rand_double(&rand);
        ck_assert(value >= 0 && value < 1);
        sum += value;
    }
    ck_assert(sum > 49500 && sum < 50500);
}
END_TEST

Suite *rand_suite(void);
Suite *rand_suite(void)
{
    Suite *suite = suite_create("rand");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, a_seed_is_a_sequence);
    tcase_add_test(tc, below_is_uniform);
    tcase_add_test(tc, doubles_fill_the_unit_interval);
    suite_add_tcase(suite, tc);
    return suite;
}
