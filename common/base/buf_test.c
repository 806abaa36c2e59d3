#include "common/base/buf.h"

#include <check.h>

START_TEST(integers_round_trip)
{
    struct weir_buf buf = {0};
    weir_buf_put_u8(&buf, 0xfe);
    weir_buf_put_u16(&buf, 0xfedc);
    weir_buf_put_u32(&buf, 0xfedcba98);
    weir_buf_put_u64(&buf, 0xfedcba9876543210);
    weir_buf_put_i64(&buf, INT64_MIN);
    weir_buf_put_varint(&buf, UINT64_MAX);
    weir_buf_put_bytes(&buf, weir_slice_str("abc"));
    ck_assert_uint_eq(buf.data[1], 0xdc); /* little endian */

    struct weir_reader reader = weir_reader(weir_buf_slice(&buf));
    ck_assert_uint_eq(weir_read_u8(&reader), 0xfe);
    ck_assert_uint_eq(weir_read_u16(&reader), 0xfedc);
    ck_assert_uint_eq(weir_read_u32(&reader), 0xfedcba98);
    ck_assert_uint_eq(weir_read_u64(&reader), 0xfedcba9876543210);
    ck_assert_int_eq(weir_read_i64(&reader), INT64_MIN);
    ck_assert_uint_eq(weir_read_varint(&reader), UINT64_MAX);
    ck_assert(weir_slice_eq_str(weir_read_bytes(&reader), "abc"));
    ck_assert(!reader.failed);
    ck_assert_uint_eq(reader.rest.len, 0);
    weir_buf_fini(&buf);
}
END_TEST

START_TEST(every_truncation_is_noticed)
{
    struct weir_buf buf = {0};
    weir_buf_put_u32(&buf, 7);
    weir_buf_put_varint(&buf, 1 << 20);
    weir_buf_put_bytes(&buf, weir_slice_str("hello"));
    for (size_t len = 0; len < buf.len; len++) {
        struct weir_reader reader = weir_reader(weir_slice(buf.data, len));
        (void)weir_read_u32(&reader);
        (void)weir_read_varint(&reader);
        (void)weir_read_bytes(&reader);
        ck_assert_msg(reader.failed, "a cut at %zu went unnoticed", len);
    }
    weir_buf_fini(&buf);
}
END_TEST

START_TEST(overlong_varint_fails)
{
    uint8_t bytes[11];
    memset(bytes, 0xff, sizeof(bytes));
    struct weir_reader reader = weir_reader(weir_slice(bytes, sizeof(bytes)));
    (void)weir_read_varint(&reader);
    ck_assert(reader.failed);
}
END_TEST

Suite *buf_suite(void);
Suite *buf_suite(void)
{
    Suite *suite = suite_create("buf");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, integers_round_trip);
    tcase_add_test(tc, every_truncation_is_noticed);
    tcase_add_test(tc, overlong_varint_fails);
    suite_add_tcase(suite, tc);
    return suite;
}
