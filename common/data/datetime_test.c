#include "common/data/datetime.h"

#include "common/base/rand.h"

#include <check.h>
#include <time.h>

static int64_t timestamp(const char *text)
{
    int64_t micros = 0;
    ck_assert_msg(weir_timestamp_read(weir_slice_str(text), &micros) == WEIR_OK, "%s", text);
    return micros;
}

START_TEST(known_dates)
{
    ck_assert_int_eq(weir_days_from_civil(1970, 1, 1), 0);
    ck_assert_int_eq(weir_days_from_civil(2000, 3, 1), 11017);
    ck_assert_int_eq(weir_days_from_civil(1969, 12, 31), -1);
    ck_assert_int_eq(weir_days_from_civil(0, 1, 1), -719528);
    ck_assert_int_eq(weir_days_from_civil(2026, 11, 21), 20778);
    ck_assert_int_eq(timestamp("2001-09-09 01:46:40"), 1000000000000000);
    ck_assert_int_eq(timestamp("2026-11-21T07:11:52.123Z"), 20778 * 86400000000 + 25912123000);
    ck_assert_int_eq(timestamp("1969-12-31 23:59:59.999999"), -1);
    ck_assert_int_eq(timestamp("1969-12-31 23:59:59.999999999"), -1); /* cut to micros */
    ck_assert_int_eq(timestamp("1970-01-01 00:00:00.5"), 500000);
}
END_TEST

START_TEST(every_day_follows_the_one_before)
{
    int32_t year = -401;
    int32_t month = 1;
    int32_t day = 1;
    int64_t days = weir_days_from_civil(year, month, day);
    unsigned wrong = 0; /* counted, since millions of assertions take Check seconds */
    for (; year < 2801; days++) {
        struct weir_civil civil = weir_civil_from_micros(days * 86400000000);
        wrong += civil.year != year || civil.month != month || civil.day != day;
        wrong += weir_days_from_civil(year, month, day) != days;
        static const int32_t lens[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        if (++day > lens[month - 1] + (month == 2 && leap)) {
            day = 1;
            month = month % 12 + 1;
            year += month == 1;
        }
    }
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

START_TEST(agrees_with_libc)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 1);
    for (unsigned i = 0; i < 20000; i++) {
        int64_t micros = (int64_t)weir_rand_u64(&rand) / (i % 2 == 0 ? 1 : 100);
        struct weir_civil civil = weir_civil_from_micros(micros);
        time_t seconds = (micros - civil.micros) / 1000000;
        struct tm tm;
        ck_assert_ptr_nonnull(gmtime_r(&seconds, &tm));
        ck_assert_int_eq(civil.year, tm.tm_year + 1900);
        ck_assert(civil.month == tm.tm_mon + 1 && civil.day == tm.tm_mday && civil.hour == tm.tm_hour);
        ck_assert(civil.minute == tm.tm_min && civil.second == tm.tm_sec && civil.micros >= 0);
        ck_assert_int_eq(weir_civil_to_micros(&civil), micros);
    }
}
END_TEST

START_TEST(texts_round_trip)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 2);
    for (unsigned i = 0; i < 20000; i++) {
        char text[40];
        int64_t micros = i == 0 ? INT64_MIN : i == 1 ? INT64_MAX : (int64_t)weir_rand_u64(&rand) >> (i % 40);
        uint32_t len = weir_timestamp_write(micros, 6, i % 2 == 0 ? ' ' : 'T', text);
        int64_t back;
        ck_assert(weir_timestamp_read(weir_slice(text, len), &back) == WEIR_OK && back == micros);

        int64_t time = (int64_t)weir_rand_below(&rand, 86400000000);
        len = weir_time_write(time, 6, text);
        ck_assert_uint_eq(len, 15);
        ck_assert(weir_time_read(weir_slice(text, len), &back) == WEIR_OK && back == time);

        int32_t days = (int32_t)weir_rand_below(&rand, 700000000) - 350000000;
        int32_t days_back;
        len = weir_date_write(days, text);
        ck_assert(weir_date_read(weir_slice(text, len), &days_back) == WEIR_OK && days_back == days);
    }
}
END_TEST

static void assert_written(int64_t micros, int32_t digits, char separator, const char *want)
{
    char text[40];
    uint32_t len = weir_timestamp_write(micros, digits, separator, text);
    ck_assert_msg(weir_slice_eq_str(weir_slice(text, len), want), "%.*s is not %s", (int)len, text, want);
}

START_TEST(digits_are_cut_not_rounded)
{
    int64_t micros = timestamp("2026-11-21 07:11:52.123987");
    assert_written(micros, 0, ' ', "2026-11-21 07:11:52");
    assert_written(micros, 3, ' ', "2026-11-21 07:11:52.123");
    assert_written(micros, 6, 'T', "2026-11-21T07:11:52.123987");
    assert_written(-1, 3, ' ', "1969-12-31 23:59:59.999");
    assert_written(timestamp("+12345-01-02 00:00:00"), 0, ' ', "+12345-01-02 00:00:00");
    assert_written(timestamp("-0001-01-02 00:00:00"), 1, ' ', "-0001-01-02 00:00:00.0");
    char text[40];
    ck_assert_uint_le(weir_date_write(INT32_MIN, text), 40);
    ck_assert_uint_le(weir_date_write(INT32_MAX, text), 40);
    ck_assert_uint_eq(weir_time_write(INT64_MIN, 6, text), 15);
}
END_TEST

START_TEST(anything_else_is_invalid)
{
    static const char *const bad[] = {
        "", "2026", "2026-11-21", "2026-11-21 07:11", "2026-11-21x07:11:52", "2026-1-21 07:11:52", "2026-13-01 00:00:00",
        "2026-00-01 00:00:00", "2026-02-29 00:00:00", "1900-02-29 00:00:00", "2026-11-31 00:00:00", "2026-11-00 00:00:00",
        "2026-11-21 24:00:00", "2026-11-21 00:60:00", "2026-11-21 00:00:60", "2026-11-21 00:00:00.",
        "2026-11-21 00:00:00.1234567890", "2026-11-21 00:00:00ZZ", "2026-11-21 00:00:00+01:00", "12026-11-21 00:00:00",
        "+2026-11-21 00:00:00", "+999999-01-01 00:00:00", "+1000000-01-01 00:00:00", "202-11-21 00:00:00",
        " 2026-11-21 00:00:00", "2026-11-21 00:00:00 ", "2026-11-21 0a:00:00", "2026/11/21 00:00:00", "2026-11-21 00:00:00.-1",
    };
    int64_t micros = 42;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(weir_timestamp_read(weir_slice_str(bad[i]), &micros) == WEIR_INVALID, "'%s' was taken", bad[i]);
    }
    ck_assert_int_eq(micros, 42);
    int32_t days;
    ck_assert_int_eq(weir_date_read(weir_slice_str("2026-11-21 "), &days), WEIR_INVALID);
    ck_assert_int_eq(weir_date_read(weir_slice_str("2000-02-29"), &days), WEIR_OK);
    ck_assert_int_eq(weir_time_read(weir_slice_str("07:11:52Z"), &micros), WEIR_INVALID);
    struct weir_slice whole = weir_slice_str("2026-11-21 07:11:52");
    for (size_t len = 0; len < whole.len; len++) {
        ck_assert_int_eq(weir_timestamp_read(weir_slice(whole.data, len), &micros), WEIR_INVALID);
    }
}
END_TEST

Suite *datetime_suite(void);
Suite *datetime_suite(void)
{
    Suite *suite = suite_create("datetime");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, known_dates);
    tcase_add_test(tc, every_day_follows_the_one_before);
    tcase_add_test(tc, agrees_with_libc);
    tcase_add_test(tc, texts_round_trip);
    tcase_add_test(tc, digits_are_cut_not_rounded);
    tcase_add_test(tc, anything_else_is_invalid);
    suite_add_tcase(suite, tc);
    return suite;
}
