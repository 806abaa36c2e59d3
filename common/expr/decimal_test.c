#include "common/expr/decimal.h"

#include "common/base/rand.h"

#include <check.h>

/* |x| of about `digits` digits. */
static __int128 random_decimal(struct weir_rand *rand, uint32_t digits)
{
    unsigned __int128 size = ((unsigned __int128)weir_rand_u64(rand) << 64 | weir_rand_u64(rand)) % weir__decimal_pow10(digits);
    return weir_rand_below(rand, 2) == 0 ? (__int128)size : -(__int128)size;
}

static __int128 div_half_up(__int128 n, __int128 d)
{
    __int128 q = n / d, r = n % d;
    __int128 size_r = r < 0 ? -r : r, size_d = d < 0 ? -d : d;
    return size_r >= size_d - size_r ? q + ((n < 0) != (d < 0) ? -1 : 1) : q;
}

START_TEST(small_numbers_agree_with_plain_arithmetic)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 5);
    for (uint32_t i = 0; i < 20000; i++) {
        __int128 a = random_decimal(&rand, 1 + (uint32_t)weir_rand_below(&rand, 12)), b = random_decimal(&rand, 1 + (uint32_t)weir_rand_below(&rand, 8));
        uint32_t sa = (uint32_t)weir_rand_below(&rand, 6), sb = (uint32_t)weir_rand_below(&rand, 6), to = (uint32_t)weir_rand_below(&rand, sa + sb + 1);
        __int128 got, p = (__int128)weir__decimal_pow10(sa + sb - to);
        ck_assert(weir__decimal_multiply(a, b, sa + sb, to, &got));
        ck_assert(got == div_half_up(a * b, p));
        if (b != 0) {
            int shift = (int)to + (int)sb - (int)sa;
            __int128 n = shift >= 0 ? a * (__int128)weir__decimal_pow10((uint32_t)shift) : a, d = shift >= 0 ? b : b * (__int128)weir__decimal_pow10((uint32_t)-shift);
            ck_assert(weir__decimal_divide(a, sa, b, sb, to, &got));
            ck_assert(got == div_half_up(n, d));
            uint32_t s = sa > sb ? sa : sb;
            __int128 x = a * (__int128)weir__decimal_pow10(s - sa), y = b * (__int128)weir__decimal_pow10(s - sb);
            ck_assert(weir__decimal_modulo(a, sa, b, sb, s, &got));
            ck_assert(got == x % y);
            ck_assert_int_eq(weir__decimal_compare(a, sa, b, sb), (x > y) - (x < y));
        }
    }
}
END_TEST

/* a * b / b is a, and a / b * b is near a, where the middle has up to 76 digits. */
START_TEST(wide_numbers_come_back)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 6);
    for (uint32_t i = 0; i < 5000; i++) {
        __int128 a = random_decimal(&rand, 19), b = random_decimal(&rand, 19), product, back;
        if (b == 0) {
            continue;
        }
        ck_assert(weir__decimal_multiply(a, b, 0, 0, &product));
        ck_assert(weir__decimal_divide(product, 0, b, 0, 0, &back));
        ck_assert(back == a);
        __int128 wide = random_decimal(&rand, 38), unit = (__int128)weir__decimal_pow10(37);
        ck_assert(weir__decimal_multiply(wide, unit, 37, 0, &back)); /* 75 digits, divided again */
        ck_assert(back == wide);
        ck_assert(weir__decimal_divide(wide, 20, unit, 37, 20, &back));
        ck_assert(back == wide);
        ck_assert_int_eq(weir__decimal_compare(wide, 0, wide, 38), wide == 0 ? 0 : wide < 0 ? -1 : 1);
        ck_assert(weir__decimal_modulo(wide, 0, b, 38, 38, &back)); /* needs 76 digits in between */
        ck_assert((back < 0 ? -back : back) < (b < 0 ? -b : b));
    }
}
END_TEST

START_TEST(overflow_is_noticed)
{
    __int128 max = (__int128)weir__decimal_pow10(38) - 1, got;
    ck_assert(!weir__decimal_multiply(max, 10, 0, 0, &got));
    ck_assert(!weir__decimal_multiply(max, max, 0, 0, &got));
    ck_assert(!weir__decimal_rescale(max, 0, 1, &got));
    ck_assert(!weir__decimal_rescale(max, 0, 38, &got));
    ck_assert(weir__decimal_rescale(max, 38, 0, &got));
    ck_assert(got == 1);
    ck_assert(!weir__decimal_divide(max, 0, 1, 38, 0, &got));
    ck_assert(!weir__decimal_divide(max, 0, 1, 38, 38, &got));
    ck_assert(weir__decimal_divide(1, 38, max, 0, 0, &got));
    ck_assert(got == 0);
    ck_assert(weir__decimal_multiply(-max, max, 76, 0, &got));
    ck_assert(got == -1);
    ck_assert(weir__decimal_fits(max, 38));
    ck_assert(!weir__decimal_fits(-1000, 3));
    ck_assert(weir__decimal_floor(-1, 2) == -1);
    ck_assert(weir__decimal_ceil(-1, 2) == 0);
    ck_assert(weir__decimal_ceil(1, 2) == 1);
}
END_TEST

Suite *decimal_suite(void);
Suite *decimal_suite(void)
{
    Suite *suite = suite_create("decimal");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, small_numbers_agree_with_plain_arithmetic);
    tcase_add_test(tc, wide_numbers_come_back);
    tcase_add_test(tc, overflow_is_noticed);
    suite_add_tcase(suite, tc);
    return suite;
}
