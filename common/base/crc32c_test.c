#include "common/base/crc32c.h"

#include "common/base/rand.h"

#include <check.h>

/* RFC 3720, appendix B.4. */
START_TEST(known_values)
{
    ck_assert_uint_eq(weir_crc32c(0, "123456789", 9), 0xe3069283);
    ck_assert_uint_eq(weir_crc32c_portable(0, "123456789", 9), 0xe3069283);
    uint8_t bytes[32] = {0};
    ck_assert_uint_eq(weir_crc32c(0, bytes, 32), 0x8a9136aa);
    for (uint8_t i = 0; i < 32; i++) {
        bytes[i] = i;
    }
    ck_assert_uint_eq(weir_crc32c(0, bytes, 32), 0x46dd794e);
    ck_assert_uint_eq(weir_crc32c(7, bytes, 0), 7);
}
END_TEST

START_TEST(pieces_and_alignments_agree)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 1);
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)weir_rand_u64(&rand);
    }
    for (int round = 0; round < 2000; round++) {
        size_t from = weir_rand_below(&rand, 20);
        size_t len = weir_rand_below(&rand, 280);
        size_t cut = weir_rand_below(&rand, len + 1);
        uint32_t whole = weir_crc32c(0, bytes + from, len);
        ck_assert_uint_eq(whole, weir_crc32c_portable(0, bytes + from, len));
        ck_assert_uint_eq(whole, weir_crc32c(weir_crc32c(0, bytes + from, cut), bytes + from + cut, len - cut));
    }
}
END_TEST

Suite *crc32c_suite(void);
Suite *crc32c_suite(void)
{
    Suite *suite = suite_create("crc32c");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, known_values);
    tcase_add_test(tc, pieces_and_alignments_agree);
    suite_add_tcase(suite, tc);
    return suite;
}
