#include "common/data/number.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * snprintf and strtod obey the locale; Weir never calls setlocale, so it is "C" and the point is a point.
 */

enum {
    POW10_EXACT_MAX = 22,   /* 10^22 is the largest power of ten that a double holds exactly */
    FLOAT_DIGITS_MAX = 9,   /* always enough for a float to read back */
    DOUBLE_DIGITS_MAX = 17, /* and for a double */
    EXPONENT_MAX = 100000,  /* written exponents saturate here: far beyond any type */
    COPY_BYTES_MAX = 128,
};

static const double pow10_exact[POW10_EXACT_MAX + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                        1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                        1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* --- writing -------------------------------------------------------------------------------------------------------- */

static const char digit_pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                                  "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                                  "8081828384858687888990919293949596979899";

/* Writes the digits so that they end before `end`; returns where they begin. */
static char *put_digits_back(char *end, uint64_t value)
{
    while (value >= 100) {
        end -= 2;
        memcpy(end, digit_pairs + value % 100 * 2, 2);
        value /= 100;
    }
    if (value >= 10) {
        end -= 2;
        memcpy(end, digit_pairs + value * 2, 2);
    } else {
        *--end = (char)('0' + value);
    }
    return end;
}

uint32_t weir_i64_write(int64_t value, char out[WEIR_NUMBER_TEXT_MAX])
{
    char text[24];
    char *end = text + sizeof(text);
    char *begin = put_digits_back(end, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    if (value < 0) {
        *--begin = '-';
    }
    uint32_t len = (uint32_t)(end - begin);
    memcpy(out, begin, len);
    return len;
}

uint32_t weir_decimal_write(__int128 unscaled, uint8_t scale, char out[WEIR_NUMBER_TEXT_MAX])
{
    weir_assert(scale <= 38);
    char digits[40]; /* 2^128 has 39 */
    uint32_t count = 0;
    unsigned __int128 rest = unscaled < 0 ? 0 - (unsigned __int128)unscaled : (unsigned __int128)unscaled;
    do {
        digits[count++] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    } while (rest > 0);
    char *to = out;
    if (unscaled < 0) {
        *to++ = '-';
    }
    uint32_t places = count > scale ? count : scale + 1u; /* at least one digit before the point */
    for (uint32_t i = places; i > 0; i--) {
        if (i == scale) {
            *to++ = '.';
        }
        *to++ = i > count ? '0' : digits[i - 1];
    }
    return (uint32_t)(to - out);
}

/* A positive number as 0.d1d2d3... * 10^point. */
struct decimal_digits {
    char digit[24];
    int32_t count; /* no trailing zeros; at least 1 */
    int32_t point;
};

static void digits_from_integer(struct decimal_digits *digits, uint64_t integer, int32_t decimals)
{
    char text[24];
    char *end = text + sizeof(text);
    char *begin = put_digits_back(end, integer);
    int32_t count = (int32_t)(end - begin);
    digits->point = count - decimals;
    while (count > 1 && begin[count - 1] == '0') {
        count--;
    }
    memcpy(digits->digit, begin, (size_t)count);
    digits->count = count;
}

/* Java's Double.toString: plain from 10^-3 up to below 10^7, else d.dddE±n; always a digit after the point. */
static uint32_t put_java(const struct decimal_digits *digits, bool negative, char *out)
{
    char *to = out;
    if (negative) {
        *to++ = '-';
    }
    int32_t count = digits->count;
    int32_t point = digits->point;
    if (point > -3 && point <= 7) {
        if (point <= 0) {
            *to++ = '0';
        }
        for (int32_t i = 0; i < point; i++) {
            *to++ = i < count ? digits->digit[i] : '0';
        }
        *to++ = '.';
        for (int32_t i = point; i < 0; i++) {
            *to++ = '0';
        }
        int32_t from = point > 0 ? point : 0;
        if (from >= count) {
            *to++ = '0';
        } else {
            memcpy(to, digits->digit + from, (size_t)(count - from));
            to += count - from;
        }
        return (uint32_t)(to - out);
    }
    *to++ = digits->digit[0];
    *to++ = '.';
    if (count == 1) {
        *to++ = '0';
    } else {
        memcpy(to, digits->digit + 1, (size_t)(count - 1));
        to += count - 1;
    }
    *to++ = 'E';
    char exponent[WEIR_NUMBER_TEXT_MAX];
    uint32_t exponent_len = weir_i64_write(point - 1, exponent);
    memcpy(to, exponent, exponent_len);
    return (uint32_t)(to - out) + exponent_len;
}

static uint32_t put_special(double value, char *out)
{
    const char *text = isnan(value) ? "NaN" : isinf(value) ? (value > 0 ? "Infinity" : "-Infinity")
                       : signbit(value) ? "-0.0" : "0.0";
    size_t len = strlen(text);
    memcpy(out, text, len);
    return (uint32_t)len;
}

/* The digits that "%.*e" printed: "d.ddde±x". */
static void digits_from_printf(struct decimal_digits *digits, const char *text)
{
    int32_t count = 0;
    const char *at = text;
    for (; *at != 'e'; at++) {
        if (*at != '.') {
            digits->digit[count++] = *at;
        }
    }
    while (count > 1 && digits->digit[count - 1] == '0') {
        count--;
    }
    digits->count = count;
    digits->point = (int32_t)strtol(at + 1, NULL, 10) + 1;
}

/* The fewest digits from `from` to `most` that read back. Java prints at least two (4.9E-324), so nobody starts at one. */
static void digits_by_trial(struct decimal_digits *digits, double value, int from, int most, bool is_float)
{
    char text[40];
    for (int n = from; n <= most; n++) {
        int len = snprintf(text, sizeof(text), "%.*e", n - 1, value);
        weir_assert(len > 0 && (size_t)len < sizeof(text));
        if (is_float ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value) {
            break;
        }
    }
    digits_from_printf(digits, text);
}

/*
 * Most doubles of this world are short decimals: m / 10^k with m < 10^15. The smallest k for which m = round(value * 10^k)
 * divided by 10^k gives value is the answer: the division of two exact doubles is correctly rounded, so it is what reading the
 * text gives, and decimals of at most 15 digits are told apart by doubles, so there is no other as short. The product is off by
 * at most 2^-52 of itself, which sorts out most k before the division.
 */
static bool short_double_digits(struct decimal_digits *digits, double value)
{
    for (int32_t k = 0; k <= POW10_EXACT_MAX; k++) {
        double product = value * pow10_exact[k];
        if (product >= 1e15) {
            return false;
        }
        double m = nearbyint(product);
        if (fabs(product - m) <= product * 0x1p-51 && m / pow10_exact[k] == value) {
            digits_from_integer(digits, (uint64_t)m, k);
            return true;
        }
    }
    return false;
}

uint32_t weir_f64_write(double value, char out[WEIR_NUMBER_TEXT_MAX])
{
    if (!isfinite(value) || value == 0) {
        return put_special(value, out);
    }
    struct decimal_digits digits;
    double magnitude = fabs(value);
    if (!short_double_digits(&digits, magnitude)) {
        /* 15 digits of a normal double are unique: if they read back, what is left without their zeros is the shortest. */
        digits_by_trial(&digits, magnitude, magnitude < 0x1p-1022 ? 2 : 15, DOUBLE_DIGITS_MAX, false);
    }
    return put_java(&digits, value < 0, out);
}

/* The same for floats of plain notation, where value * 10^k is exact in double precision (24 + 28 bits), so m is the nearest.
 * A decimal clearly within half a unit in the last place reads back, one clearly beyond does not; in between trial decides, not a
 * second rounding. The gap below a power of two is half as wide. */
static bool short_float_digits(struct decimal_digits *digits, float value)
{
    double exact = value;
    int exponent;
    double fraction = frexp(exact, &exponent);
    double sure = ldexp(fraction == 0.5 ? 0.249 : 0.499, exponent - 24);
    double doubtful = ldexp(0.501, exponent - 24);
    for (int32_t k = 0; k <= 12; k++) {
        double m = nearbyint(exact * pow10_exact[k]);
        double off = fabs(m / pow10_exact[k] - exact);
        if (m >= 1 && off < sure) {
            digits_from_integer(digits, (uint64_t)m, k);
            return true;
        }
        if (m >= 1 && off < doubtful) {
            return false;
        }
    }
    return false;
}

uint32_t weir_f32_write(float value, char out[WEIR_NUMBER_TEXT_MAX])
{
    if (!isfinite(value) || value == 0) {
        return put_special((double)value, out);
    }
    struct decimal_digits digits;
    float magnitude = fabsf(value);
    if (magnitude < 1e-3f || magnitude >= 1e7f || !short_float_digits(&digits, magnitude)) {
        digits_by_trial(&digits, (double)magnitude, magnitude < 0x1p-126f ? 2 : 6, FLOAT_DIGITS_MAX, true);
    }
    return put_java(&digits, value < 0, out);
}

/* --- reading -------------------------------------------------------------------------------------------------------- */

/* The parts of "[+-]ddd[.ddd][e[+-]ddd]": value = digits * 10^exponent. */
struct number_text {
    struct weir_slice digits; /* with at most one '.' among them, leading zeros (and the point between them) cut off */
    size_t count;             /* digits in it, trailing zeros included */
    int64_t exponent;
    bool negative;
};

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool take_exponent(struct weir_slice rest, int64_t *exponent)
{
    size_t at = 1; /* past the 'e' */
    bool negative = at < rest.len && rest.data[at] == '-';
    if (at < rest.len && (rest.data[at] == '-' || rest.data[at] == '+')) {
        at++;
    }
    if (at == rest.len) {
        return false;
    }
    int64_t value = 0;
    for (; at < rest.len; at++) {
        if (!is_digit(rest.data[at])) {
            return false;
        }
        value = value < EXPONENT_MAX ? value * 10 + (rest.data[at] - '0') : value;
    }
    *exponent += negative ? -value : value;
    return true;
}

static bool split_number(struct weir_slice text, struct number_text *number)
{
    *number = (struct number_text){.negative = text.len > 0 && text.data[0] == '-'};
    size_t at = text.len > 0 && (text.data[0] == '-' || text.data[0] == '+') ? 1 : 0;
    bool point = false;
    bool any = false;
    size_t begin = text.len;
    for (; at < text.len; at++) {
        uint8_t c = text.data[at];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (!is_digit(c)) {
            break;
        }
        any = true;
        number->exponent -= point ? 1 : 0;
        if (number->count > 0 || c != '0') {
            begin = number->count == 0 ? at : begin;
            number->count++;
        }
    }
    begin = begin < at ? begin : at;
    number->digits = weir_slice(text.data + begin, at - begin);
    if (!any) {
        return false;
    }
    if (at < text.len) {
        return (text.data[at] == 'e' || text.data[at] == 'E') &&
               take_exponent(weir_slice(text.data + at, text.len - at), &number->exponent);
    }
    return true;
}

enum weir_rc weir_i64_read(struct weir_slice text, int64_t *out_value)
{
    bool negative = text.len > 0 && text.data[0] == '-';
    size_t at = text.len > 0 && (text.data[0] == '-' || text.data[0] == '+') ? 1 : 0;
    if (at == text.len) {
        return WEIR_INVALID;
    }
    uint64_t magnitude = 0;
    bool fits = true;
    for (; at < text.len; at++) {
        if (!is_digit(text.data[at])) {
            return WEIR_INVALID;
        }
        fits = fits && !__builtin_mul_overflow(magnitude, 10u, &magnitude) &&
               !__builtin_add_overflow(magnitude, (uint64_t)(text.data[at] - '0'), &magnitude);
    }
    uint64_t most = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    if (!fits || magnitude > most) {
        return WEIR_LIMIT;
    }
    *out_value = (int64_t)(negative ? 0 - magnitude : magnitude);
    return WEIR_OK;
}

/* strtod wants a NUL. The text was checked to be a number, so strtod takes all of it. */
static double read_slowly(struct weir_slice text)
{
    char small[COPY_BYTES_MAX];
    if (text.len < sizeof(small)) {
        memcpy(small, text.data, text.len);
        small[text.len] = '\0';
        return strtod(small, NULL);
    }
    char *copy = weir_strndup(text.data, text.len);
    double value = strtod(copy, NULL);
    weir_free(copy);
    return value;
}

static bool read_special(struct weir_slice text, double *out_value)
{
    if (weir_slice_eq_str(text, "NaN")) {
        *out_value = NAN;
    } else if (weir_slice_eq_str(text, "Infinity") || weir_slice_eq_str(text, "+Infinity")) {
        *out_value = INFINITY;
    } else if (weir_slice_eq_str(text, "-Infinity")) {
        *out_value = -INFINITY;
    } else {
        return false;
    }
    return true;
}

enum weir_rc weir_f64_read(struct weir_slice text, double *out_value)
{
    struct number_text number;
    if (!split_number(text, &number)) {
        return read_special(text, out_value) ? WEIR_OK : WEIR_INVALID;
    }
    if (number.count <= 19) {
        uint64_t mantissa = 0;
        for (size_t i = 0; i < number.digits.len; i++) {
            if (number.digits.data[i] != '.') {
                mantissa = mantissa * 10 + (uint64_t)(number.digits.data[i] - '0');
            }
        }
        /* Both operands are exact, so the one operation rounds correctly (Clinger). */
        if (mantissa <= 1ull << 53 && number.exponent >= -POW10_EXACT_MAX && number.exponent <= POW10_EXACT_MAX) {
            double value = (double)mantissa;
            value = number.exponent < 0 ? value / pow10_exact[-number.exponent] : value * pow10_exact[number.exponent];
            *out_value = number.negative ? -value : value;
            return WEIR_OK;
        }
    }
    double value = read_slowly(text);
    if (isinf(value)) {
        return WEIR_LIMIT;
    }
    *out_value = value;
    return WEIR_OK;
}

static unsigned __int128 pow10_of(uint32_t exponent)
{
    unsigned __int128 power = 1;
    for (uint32_t i = 0; i < exponent; i++) {
        power *= 10;
    }
    return power;
}

enum weir_rc weir_decimal_read(struct weir_slice text, uint8_t precision, uint8_t scale, __int128 *out_unscaled)
{
    weir_assert(precision >= 1 && precision <= 38);
    weir_assert(scale <= precision);
    struct number_text number;
    if (!split_number(text, &number)) {
        return WEIR_INVALID;
    }
    if (number.count == 0) {
        *out_unscaled = 0;
        return WEIR_OK;
    }
    /* digits * 10^shift is the unscaled value: -shift digits are dropped, or shift zeros follow. */
    int64_t shift = number.exponent + scale;
    int64_t keep = (int64_t)number.count + (shift < 0 ? shift : 0);
    if (keep > precision || keep + (shift > 0 ? shift : 0) > precision) {
        return WEIR_LIMIT;
    }
    unsigned __int128 value = 0;
    int64_t seen = 0;
    for (size_t i = 0; i < number.digits.len && seen <= keep; i++) {
        uint8_t c = number.digits.data[i];
        if (c == '.') {
            continue;
        }
        if (seen < keep) {
            value = value * 10 + (uint32_t)(c - '0');
        } else if (keep >= 0) {
            value += c >= '5' ? 1 : 0; /* the first digit dropped: half up */
        }
        seen++;
    }
    value *= pow10_of(shift > 0 ? (uint32_t)shift : 0);
    if (value >= pow10_of(precision)) {
        return WEIR_LIMIT; /* 9.99 rounded to one digit before the point */
    }
    *out_unscaled = number.negative ? -(__int128)value : (__int128)value;
    return WEIR_OK;
}
