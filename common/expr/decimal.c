#include "common/expr/decimal.h"

#include "common/base/assert.h"
#include "common/data/type.h"

typedef unsigned __int128 u128;

struct u256 {
    u128 hi, lo;
};

u128 weir__decimal_pow10(uint32_t exponent)
{
    static const uint64_t small[] = {1ULL,           10ULL,           100ULL,           1000ULL,           10000ULL,
                                     100000ULL,      1000000ULL,      10000000ULL,      100000000ULL,      1000000000ULL,
                                     10000000000ULL, 100000000000ULL, 1000000000000ULL, 10000000000000ULL, 100000000000000ULL,
                                     1000000000000000ULL, 10000000000000000ULL, 100000000000000000ULL, 1000000000000000000ULL,
                                     10000000000000000000ULL};
    weir_assert(exponent <= WEIR_DECIMAL_PRECISION_MAX);
    return exponent < 20 ? small[exponent] : (u128)small[19] * small[exponent - 19];
}

static u128 size_of(__int128 value)
{
    return value < 0 ? -(u128)value : (u128)value;
}

static bool with_sign(u128 size, bool negative, __int128 *out_value)
{
    if (size >= weir__decimal_pow10(WEIR_DECIMAL_PRECISION_MAX)) {
        return false;
    }
    *out_value = negative ? -(__int128)size : (__int128)size;
    return true;
}

static struct u256 multiply(u128 a, u128 b)
{
    uint64_t a0 = (uint64_t)a, a1 = (uint64_t)(a >> 64), b0 = (uint64_t)b, b1 = (uint64_t)(b >> 64);
    u128 low = (u128)a0 * b0, middle = (u128)a0 * b1, other = (u128)a1 * b0;
    u128 carry = (low >> 64) + (uint64_t)middle + (uint64_t)other;
    return (struct u256){.hi = (u128)a1 * b1 + (middle >> 64) + (other >> 64) + (carry >> 64), .lo = carry << 64 | (uint64_t)low};
}

/* n / d rounded half up; false when it needs more than 128 bits. d < 2^127. */
static bool divide_round(struct u256 n, u128 d, u128 *out_quotient)
{
    if (n.hi >= d) {
        return false;
    }
    u128 quotient = 0, rest = n.hi;
    if (n.hi == 0) {
        quotient = n.lo / d;
        rest = n.lo % d;
    } else {
        for (int bit = 127; bit >= 0; bit--) {
            rest = rest << 1 | (n.lo >> bit & 1);
            quotient <<= 1;
            if (rest >= d) {
                rest -= d;
                quotient |= 1;
            }
        }
    }
    quotient += rest >= d - rest;
    *out_quotient = quotient;
    return quotient != 0 || rest < d - rest;
}

bool weir__decimal_rescale(__int128 value, uint32_t from_scale, uint32_t to_scale, __int128 *out_value)
{
    if (from_scale == to_scale) {
        *out_value = value;
        return true;
    }
    u128 size = size_of(value);
    if (to_scale > from_scale) {
        struct u256 wide = multiply(size, weir__decimal_pow10(to_scale - from_scale));
        return wide.hi == 0 && with_sign(wide.lo, value < 0, out_value);
    }
    u128 quotient = 0;
    return divide_round((struct u256){.lo = size}, weir__decimal_pow10(from_scale - to_scale), &quotient) &&
           with_sign(quotient, value < 0, out_value);
}

bool weir__decimal_multiply(__int128 a, __int128 b, uint32_t scale_sum, uint32_t to_scale, __int128 *out_value)
{
    weir_assert(to_scale <= scale_sum);
    struct u256 wide = multiply(size_of(a), size_of(b));
    uint32_t drop = scale_sum - to_scale;
    bool negative = (a < 0) != (b < 0);
    if (drop == 0) {
        return wide.hi == 0 && with_sign(wide.lo, negative, out_value);
    }
    u128 quotient = 0;
    if (drop > WEIR_DECIMAL_PRECISION_MAX) { /* beyond 10^38 in two steps: the first one's lost digits cannot reach the result's half */
        if (!divide_round(wide, weir__decimal_pow10(WEIR_DECIMAL_PRECISION_MAX), &quotient)) {
            return false;
        }
        wide = (struct u256){.lo = quotient};
        drop -= WEIR_DECIMAL_PRECISION_MAX;
    }
    return divide_round(wide, weir__decimal_pow10(drop), &quotient) && with_sign(quotient, negative, out_value);
}

bool weir__decimal_divide(__int128 a, uint32_t a_scale, __int128 b, uint32_t b_scale, uint32_t to_scale, __int128 *out_value)
{
    weir_assert(b != 0);
    bool negative = (a < 0) != (b < 0);
    int shift = (int)to_scale + (int)b_scale - (int)a_scale;
    u128 n = size_of(a), d = size_of(b), quotient = 0;
    struct u256 wide = {.lo = n};
    if (shift > WEIR_DECIMAL_PRECISION_MAX) {
        wide = multiply(n, weir__decimal_pow10((uint32_t)shift - WEIR_DECIMAL_PRECISION_MAX));
        if (wide.hi != 0) {
            return false;
        }
        wide = multiply(wide.lo, weir__decimal_pow10(WEIR_DECIMAL_PRECISION_MAX));
    } else if (shift >= 0) {
        wide = multiply(n, weir__decimal_pow10((uint32_t)shift));
    } else {
        struct u256 divisor = multiply(d, weir__decimal_pow10((uint32_t)-shift));
        if (divisor.hi != 0 || divisor.lo >> 127 != 0) { /* larger than twice anything it could divide */
            *out_value = 0;
            return true;
        }
        d = divisor.lo;
    }
    return divide_round(wide, d, &quotient) && with_sign(quotient, negative, out_value);
}

bool weir__decimal_modulo(__int128 a, uint32_t a_scale, __int128 b, uint32_t b_scale, uint32_t to_scale, __int128 *out_value)
{
    weir_assert(b != 0);
    uint32_t scale = a_scale > b_scale ? a_scale : b_scale;
    __int128 x, y;
    if (!weir__decimal_rescale(b, b_scale, scale, &y)) { /* b is larger than any a */
        return weir__decimal_rescale(a, a_scale, to_scale, out_value);
    }
    if (!weir__decimal_rescale(a, a_scale, scale, &x)) { /* (a * 10^k) mod y = ((a mod y) * 10^k) mod y, digit by digit */
        u128 size = size_of(a) % size_of(y), d = size_of(y);
        for (uint32_t i = a_scale; i < scale; i++) {
            struct u256 wide = multiply(size, 10);
            while (wide.hi != 0 || wide.lo >= d) { /* at most ten times */
                wide.hi -= wide.lo < d;
                wide.lo -= d;
            }
            size = wide.lo;
        }
        return weir__decimal_rescale(a < 0 ? -(__int128)size : (__int128)size, scale, to_scale, out_value);
    }
    return weir__decimal_rescale(x % y, scale, to_scale, out_value);
}

int weir__decimal_compare(__int128 a, uint32_t a_scale, __int128 b, uint32_t b_scale)
{
    if ((a < 0) != (b < 0)) {
        return a < 0 ? -1 : 1;
    }
    uint32_t scale = a_scale > b_scale ? a_scale : b_scale;
    struct u256 x = multiply(size_of(a), weir__decimal_pow10(scale - a_scale));
    struct u256 y = multiply(size_of(b), weir__decimal_pow10(scale - b_scale));
    int order = x.hi != y.hi ? (x.hi < y.hi ? -1 : 1) : x.lo != y.lo ? (x.lo < y.lo ? -1 : 1) : 0;
    return a < 0 ? -order : order;
}

__int128 weir__decimal_floor(__int128 value, uint32_t scale)
{
    __int128 unit = (__int128)weir__decimal_pow10(scale);
    __int128 whole = value / unit;
    return whole - (value % unit < 0);
}

__int128 weir__decimal_ceil(__int128 value, uint32_t scale)
{
    __int128 unit = (__int128)weir__decimal_pow10(scale);
    __int128 whole = value / unit;
    return whole + (value % unit > 0);
}
