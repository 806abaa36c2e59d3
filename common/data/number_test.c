#include "common/data/number.h"

#include "common/base/rand.h"

#include <check.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *f64_text(double value, char text[WEIR_NUMBER_TEXT_MAX])
{
    text[weir_f64_write(value, text)] = '\0';
    return text;
}

static const char *f32_text(float value, char text[WEIR_NUMBER_TEXT_MAX])
{
    text[weir_f32_write(value, text)] = '\0';
    return text;
}

START_TEST(doubles_look_as_in_java)
{
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        {1, "1.0"}, {0, "0.0"}, {-0.0, "-0.0"}, {0.001, "0.001"}, {1e-4, "1.0E-4"}, {0.00099, "9.9E-4"}, {1e7, "1.0E7"},
        {9999999, "9999999.0"}, {12345.678, "12345.678"}, {1234567890.123, "1.234567890123E9"}, {0.125, "0.125"},
        {1e10, "1.0E10"}, {-2.5, "-2.5"}, {100, "100.0"}, {0.1, "0.1"}, {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"}, {DBL_MAX, "1.7976931348623157E308"}, {DBL_MIN, "2.2250738585072014E-308"},
        {4.9e-324, "4.9E-324"}, {1e22, "1.0E22"}, {1e23, "1.0E23"}, {1e100, "1.0E100"}, {9007199254740993.0, "9.007199254740992E15"},
        {123456789012345680.0, "1.2345678901234568E17"}, {NAN, "NaN"}, {INFINITY, "Infinity"}, {-INFINITY, "-Infinity"},
        {1.1, "1.1"}, {48.8566, "48.8566"}, {1732172345678.0, "1.732172345678E12"}, {1.0E-5, "1.0E-5"}, {123e-7, "1.23E-5"},
    };
    char text[WEIR_NUMBER_TEXT_MAX];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ck_assert_str_eq(f64_text(rows[i].value, text), rows[i].text);
    }
}
END_TEST

START_TEST(floats_look_as_in_java)
{
    static const struct {
        float value;
        const char *text;
    } rows[] = {
        {1, "1.0"}, {0.1f, "0.1"}, {-0.0f, "-0.0"}, {3.4028235e38f, "3.4028235E38"}, {1.4e-45f, "1.4E-45"}, {1e7f, "1.0E7"},
        {9999999, "9999999.0"}, {0.001f, "0.001"}, {9.9e-4f, "9.9E-4"}, {1.17549435e-38f, "1.1754944E-38"}, {16777216, "1.6777216E7"},
        {3.14159274f, "3.1415927"}, {0.3f, "0.3"}, {NAN, "NaN"}, {-INFINITY, "-Infinity"}, {123456789, "1.2345679E8"},
        {8192, "8192.0"}, {0.00390625f, "0.00390625"},
    };
    char text[WEIR_NUMBER_TEXT_MAX];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ck_assert_str_eq(f32_text(rows[i].value, text), rows[i].text);
    }
}
END_TEST

/* Significant digits of a text, zeros at either end not counted. */
static int significant(const char *text)
{
    int digits = 0;
    int pending = 0;
    for (; *text != '\0' && *text != 'E' && *text != 'e'; text++) {
        if (*text < '0' || *text > '9' || (digits == 0 && pending == 0 && *text == '0')) {
            continue;
        }
        pending++;
        if (*text != '0') {
            digits += pending;
            pending = 0;
        }
    }
    return digits;
}

static void assert_double_round_trips(double value)
{
    char text[WEIR_NUMBER_TEXT_MAX];
    uint32_t len = weir_f64_write(value, text);
    double back;
    ck_assert_int_eq(weir_f64_read(weir_slice(text, len), &back), WEIR_OK);
    text[len] = '\0';
    ck_assert_msg(memcmp(&back, &value, 8) == 0, "%a was written %s and read %a", value, text, back);
    ck_assert(strtod(text, NULL) == value);
    if (significant(text) > 2) { /* none shorter reads back; Java may spend two digits where one would do */
        char shorter[40];
        (void)snprintf(shorter, sizeof(shorter), "%.*e", significant(text) - 2, value);
        ck_assert_msg(strtod(shorter, NULL) != value, "%s is longer than %s", text, shorter);
    }
    (void)snprintf(text, sizeof(text), "%.17g", value);
    ck_assert(weir_f64_read(weir_slice_str(text), &back) == WEIR_OK && memcmp(&back, &value, 8) == 0);
}

START_TEST(doubles_round_trip)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 1);
    for (unsigned i = 0; i < 60000; i++) {
        uint64_t bits = weir_rand_u64(&rand);
        bits = i % 5 == 0 ? bits & ~(0x7ffull << 52) : bits; /* a subnormal */
        bits = i % 5 == 1 ? bits & 0xfff0000000000000 : bits; /* a power of two */
        double value;
        memcpy(&value, &bits, 8);
        if (i % 5 >= 3) { /* prices, coordinates */
            value = (double)(int64_t)(bits >> (16 + i % 40)) / pow(10, (double)(i % 10));
        }
        if (isfinite(value)) {
            assert_double_round_trips(value);
            assert_double_round_trips(nextafter(value, 0));
        }
    }
}
END_TEST

START_TEST(floats_round_trip)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 2);
    for (unsigned i = 0; i < 100000; i++) {
        uint32_t bits = (uint32_t)weir_rand_u64(&rand);
        float value;
        memcpy(&value, &bits, 4);
        if (i % 3 == 0) {
            value = (float)(bits >> 8) / (float)pow(10, (double)(i % 9));
        }
        if (!isfinite(value)) {
            continue;
        }
        char text[WEIR_NUMBER_TEXT_MAX];
        (void)f32_text(value, text);
        ck_assert_msg(strtof(text, NULL) == value, "%a was written %s", (double)value, text);
        if (significant(text) > 2) {
            char shorter[40];
            (void)snprintf(shorter, sizeof(shorter), "%.*e", significant(text) - 2, (double)value);
            ck_assert_msg(strtof(shorter, NULL) != value, "%s is longer than %s", text, shorter);
        }
    }
}
END_TEST

START_TEST(double_texts_read_as_strtod_reads_them)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 3);
    for (unsigned i = 0; i < 60000; i++) {
        char text[300];
        size_t len = 0;
        if (i % 3 == 0) {
            text[len++] = i % 2 == 0 ? '-' : '+';
        }
        size_t digits = 1 + weir_rand_below(&rand, i % 50 == 0 ? 250 : 22);
        size_t point = weir_rand_below(&rand, digits * 2);
        for (size_t d = 0; d < digits; d++) {
            if (d == point) {
                text[len++] = '.';
            }
            text[len++] = (char)('0' + weir_rand_below(&rand, 10));
        }
        if (i % 4 == 0) {
            len += (size_t)snprintf(text + len, 8, "e%d", (int)weir_rand_below(&rand, 120) - 60);
        }
        text[len] = '\0';
        double got;
        ck_assert_msg(weir_f64_read(weir_slice(text, len), &got) == WEIR_OK, "%s", text);
        double want = strtod(text, NULL);
        ck_assert_msg(memcmp(&got, &want, 8) == 0, "%s: %a, not %a", text, got, want);
    }
    double value;
    ck_assert(weir_f64_read(weir_slice_str(".5"), &value) == WEIR_OK && value == 0.5);
    ck_assert(weir_f64_read(weir_slice_str("5."), &value) == WEIR_OK && value == 5);
    ck_assert(weir_f64_read(weir_slice_str("0e999999999999"), &value) == WEIR_OK && value == 0);
    ck_assert(weir_f64_read(weir_slice_str("1e-999999999999"), &value) == WEIR_OK && value == 0);
    ck_assert(weir_f64_read(weir_slice_str("NaN"), &value) == WEIR_OK && isnan(value));
    ck_assert(weir_f64_read(weir_slice_str("-Infinity"), &value) == WEIR_OK && value == -INFINITY);
    ck_assert_int_eq(weir_f64_read(weir_slice_str("1e400"), &value), WEIR_LIMIT);
}
END_TEST

START_TEST(what_is_no_number_is_invalid)
{
    static const char *const bad[] = {"",    "-",   "+",    ".",   "-.",  "e5",   "1e",    "1e+", "1e5x", "1..2", "1.2.3",
                                      " 1",  "1 ",  "0x10", "inf", "nan", "--1",  "1,5",   "1_0", "1e5.5", "-e1",  "Infinity1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        double f64 = 42;
        __int128 decimal = 42;
        int64_t i64 = 42;
        ck_assert_msg(weir_f64_read(weir_slice_str(bad[i]), &f64) == WEIR_INVALID, "'%s' was taken", bad[i]);
        ck_assert_msg(weir_decimal_read(weir_slice_str(bad[i]), 38, 5, &decimal) == WEIR_INVALID, "'%s' was taken", bad[i]);
        ck_assert_msg(weir_i64_read(weir_slice_str(bad[i]), &i64) == WEIR_INVALID, "'%s' was taken", bad[i]);
        ck_assert(f64 == 42 && decimal == 42 && i64 == 42);
    }
}
END_TEST

START_TEST(integers_round_trip)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 4);
    for (unsigned i = 0; i < 20000; i++) {
        int64_t value = i == 0 ? INT64_MIN : i == 1 ? INT64_MAX : i == 2 ? 0 : (int64_t)weir_rand_u64(&rand) >> (i % 64);
        char text[WEIR_NUMBER_TEXT_MAX];
        char want[WEIR_NUMBER_TEXT_MAX];
        uint32_t len = weir_i64_write(value, text);
        (void)snprintf(want, sizeof(want), "%lld", (long long)value);
        ck_assert(weir_slice_eq_str(weir_slice(text, len), want));
        int64_t back;
        ck_assert(weir_i64_read(weir_slice(text, len), &back) == WEIR_OK && back == value);
    }
    int64_t value = 42;
    ck_assert_int_eq(weir_i64_read(weir_slice_str("9223372036854775808"), &value), WEIR_LIMIT);
    ck_assert_int_eq(weir_i64_read(weir_slice_str("-9223372036854775809"), &value), WEIR_LIMIT);
    ck_assert_int_eq(weir_i64_read(weir_slice_str("99999999999999999999999"), &value), WEIR_LIMIT);
    ck_assert_int_eq(weir_i64_read(weir_slice_str("99999999999999999999999x"), &value), WEIR_INVALID);
    ck_assert_int_eq(value, 42);
    ck_assert(weir_i64_read(weir_slice_str("+007"), &value) == WEIR_OK && value == 7);
}
END_TEST

static void assert_decimal(const char *text, uint8_t precision, uint8_t scale, const char *want)
{
    __int128 value = 0;
    ck_assert_msg(weir_decimal_read(weir_slice_str(text), precision, scale, &value) == WEIR_OK, "%s", text);
    char back[WEIR_NUMBER_TEXT_MAX];
    back[weir_decimal_write(value, scale, back)] = '\0';
    ck_assert_str_eq(back, want);
}

START_TEST(decimals_round_half_up)
{
    assert_decimal("12.345", 10, 2, "12.35");
    assert_decimal("12.344999", 10, 2, "12.34");
    assert_decimal("-12.345", 10, 2, "-12.35");
    assert_decimal("0.5", 5, 0, "1");
    assert_decimal("0.49", 5, 0, "0");
    assert_decimal("0.05", 5, 0, "0");
    assert_decimal("-0.004", 5, 2, "0.00");
    assert_decimal("1", 5, 3, "1.000");
    assert_decimal("0.001", 5, 3, "0.001");
    assert_decimal("-0.001", 38, 38, "-0.00100000000000000000000000000000000000");
    assert_decimal("1e3", 5, 1, "1000.0");
    assert_decimal("12345e-4", 5, 4, "1.2345");
    assert_decimal("1e-999999999", 5, 2, "0.00");
    assert_decimal("0e999999999", 5, 2, "0.00");
    assert_decimal("000000000000000000000000000000000000000000000000012.50", 4, 1, "12.5");
    assert_decimal("99999999999999999999999999999999999999", 38, 0, "99999999999999999999999999999999999999");
    assert_decimal("-99999999999999999999999999999999999999", 38, 0, "-99999999999999999999999999999999999999");
    static const char *const large[] = {"1000", "999.95", "1e3", "1e999999999", "99999999999999999999999999999999999999999999"};
    for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
        __int128 value = 42;
        ck_assert_int_eq(weir_decimal_read(weir_slice_str(large[i]), 4, 1, &value), WEIR_LIMIT);
        ck_assert(value == 42);
    }
}
END_TEST

START_TEST(decimals_round_trip)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 5);
    __int128 most = 1;
    for (int i = 0; i < 38; i++) {
        most *= 10;
    }
    for (unsigned i = 0; i < 20000; i++) {
        __int128 value = (__int128)(((unsigned __int128)weir_rand_u64(&rand) << 64) | weir_rand_u64(&rand)) % most;
        value >>= weir_rand_below(&rand, 120);
        uint8_t scale = (uint8_t)weir_rand_below(&rand, 39);
        char text[WEIR_NUMBER_TEXT_MAX];
        uint32_t len = weir_decimal_write(value, scale, text);
        __int128 back;
        ck_assert_int_eq(weir_decimal_read(weir_slice(text, len), 38, scale, &back), WEIR_OK);
        ck_assert_msg(back == value, "%.*s", (int)len, text);
    }
    char text[WEIR_NUMBER_TEXT_MAX];
    __int128 least = (__int128)((unsigned __int128)1 << 127); /* never a DECIMAL, but bytes may say so */
    ck_assert_uint_eq(weir_decimal_write(least, 38, text), 41);
}
END_TEST

Suite *number_suite(void);
Suite *number_suite(void)
{
    Suite *suite = suite_create("number");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, doubles_look_as_in_java);
    tcase_add_test(tc, floats_look_as_in_java);
    tcase_add_test(tc, doubles_round_trip);
    tcase_add_test(tc, floats_round_trip);
    tcase_add_test(tc, double_texts_read_as_strtod_reads_them);
    tcase_add_test(tc, what_is_no_number_is_invalid);
    tcase_add_test(tc, integers_round_trip);
    tcase_add_test(tc, decimals_round_half_up);
    tcase_add_test(tc, decimals_round_trip);
    suite_add_tcase(suite, tc);
    return suite;
}
