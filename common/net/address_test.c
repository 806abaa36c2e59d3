#include "common/net/address.h"

#include "common/base/mem.h"

#include <check.h>

START_TEST(an_address_is_a_host_and_a_port)
{
    static const char *good[] = {"localhost:6123", "10.0.0.1:1", "[::1]:65535", "a-b.c_d:00080"};
    static const char *bad[] = {"", ":", "localhost", ":6123", "localhost:", "localhost:0", "localhost:65536", "localhost:123456", "localhost:6a",
                                "localhost:-1", "localhost: 1", "a b:1", "a/b:1", "http://a:1", "u@a:1", "a,b:1", "a?:1", "a#:1", "\xc3\xb6:1"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(weir_address_valid(weir_slice_str(good[i])), "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(!weir_address_valid(weir_slice_str(bad[i])), "%s", bad[i]);
    }
    char longest[WEIR_ADDRESS_BYTES_MAX + 1];
    memset(longest, 'h', sizeof(longest));
    memcpy(longest + sizeof(longest) - 4, ":80", 4);
    ck_assert(!weir_address_valid(weir_slice_str(longest)));
    ck_assert(weir_address_valid(weir_slice_str(longest + 1)));
}
END_TEST

START_TEST(an_address_is_made_of_a_host_and_a_port)
{
    static const char *made[][2] = {{"localhost", "localhost:6123"}, {"::1", "[::1]:6123"}, {"[::1]", "[::1]:6123"}};
    for (size_t i = 0; i < 3; i++) {
        char *address = weir_address_copy(made[i][0], 6123);
        ck_assert_str_eq(address, made[i][1]);
        ck_assert(weir_address_valid(weir_slice_str(address)));
        weir_free(address);
    }
}
END_TEST

START_TEST(text_is_encoded_for_a_url)
{
    struct weir_buf out = {0};
    weir_url_put_encoded(&out, "a b/c?d&e=\xc3\xb6.-_~%+", "");
    ck_assert(weir_slice_eq_str(weir_buf_slice(&out), "a%20b%2Fc%3Fd%26e%3D%C3%B6.-_~%25%2B"));
    weir_buf_clear(&out);
    weir_url_put_encoded(&out, "/jobs/a b", "/");
    ck_assert(weir_slice_eq_str(weir_buf_slice(&out), "/jobs/a%20b"));
    weir_buf_fini(&out);
}
END_TEST

Suite *address_suite(void);
Suite *address_suite(void)
{
    Suite *suite = suite_create("address");
    TCase *tcase = tcase_create("all");
    tcase_add_test(tcase, an_address_is_a_host_and_a_port);
    tcase_add_test(tcase, an_address_is_made_of_a_host_and_a_port);
    tcase_add_test(tcase, text_is_encoded_for_a_url);
    suite_add_tcase(suite, tcase);
    return suite;
}
