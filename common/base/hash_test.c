#include "common/base/hash.h"

#include <check.h>

/* These numbers are a promise to savepoints: a change of any of them is a bug, not a new expectation. The words' are
 * splitmix64's published sequence from 0. */
START_TEST(values_are_frozen)
{
    ck_assert_uint_eq(weir_hash_u64(0, 0), 0xe220a8397b1dcdafu);
    ck_assert_uint_eq(weir_hash_u64(0x9e3779b97f4a7c15u, 0), 0x6e789e6aa1b965f4u);
    ck_assert_uint_eq(weir_hash_u64(0, 0x9e3779b97f4a7c15u), 0x6e789e6aa1b965f4u);
    ck_assert_uint_eq(weir_hash_bytes(NULL, 0, 0), 0x2d06800538d394c2u); /* XXH3's published value of nothing */
    ck_assert_uint_eq(weir_hash_bytes("a", 1, 0), 0xe6c632b61e964e1fu);
    ck_assert_uint_eq(weir_hash_bytes("a", 1, 1), 0xd2f6d0996f37a720u);
    ck_assert_uint_eq(weir_hash_slice(weir_slice_str("the quick brown fox jumps over the lazy dog"), 42), 0xe58c099689d7e811u);
    char block[1000];
    for (size_t i = 0; i < sizeof(block); i++) {
        block[i] = (char)(i * 7);
    }
    ck_assert_uint_eq(weir_hash_bytes(block, sizeof(block), 0), 0x10ad30264426c830u);
}
END_TEST

START_TEST(combining_depends_on_order)
{
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t a = weir_hash_u64(i, 0);
        uint64_t b = weir_hash_u64(i, 1);
        ck_assert_uint_ne(weir_hash_combine(a, b), weir_hash_combine(b, a));
        ck_assert_uint_ne(weir_hash_combine(a, a), weir_hash_combine(b, b));
    }
}
END_TEST

Suite *hash_suite(void);
Suite *hash_suite(void)
{
    Suite *suite = suite_create("hash");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, values_are_frozen);
    tcase_add_test(tc, combining_depends_on_order);
    suite_add_tcase(suite, tc);
    return suite;
}
