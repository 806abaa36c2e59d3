/*
 * Arithmetic of DECIMALs as unscaled 128-bit integers. Every function answers false when the result has more than 38 digits.
 * Rounding is half up (away from zero), as in Flink. Internal to common/expr.
 */
#ifndef WEIR_COMMON_EXPR_DECIMAL_H
#define WEIR_COMMON_EXPR_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

/* 10 to the power of 0..38. */
unsigned __int128 weir__decimal_pow10(uint32_t exponent);

/* |value| < 10^precision */
static inline bool weir__decimal_fits(__int128 value, uint32_t precision)
{
    unsigned __int128 size = value < 0 ? -(unsigned __int128)value : (unsigned __int128)value;
    return size < weir__decimal_pow10(precision);
}

bool weir__decimal_rescale(__int128 value, uint32_t from_scale, uint32_t to_scale, __int128 *out_value);
bool weir__decimal_multiply(__int128 a, __int128 b, uint32_t scale_sum, uint32_t to_scale, __int128 *out_value);
/* b is not 0. */
bool weir__decimal_divide(__int128 a, uint32_t a_scale, __int128 b, uint32_t b_scale, uint32_t to_scale, __int128 *out_value);
bool weir__decimal_modulo(__int128 a, uint32_t a_scale, __int128 b, uint32_t b_scale, uint32_t to_scale, __int128 *out_value);
/* Negative, 0 or positive; any scales. */
int weir__decimal_compare(__int128 a, uint32_t a_scale, __int128 b, uint32_t b_scale);
/* Integer part, towards minus infinity / plus infinity. */
__int128 weir__decimal_floor(__int128 value, uint32_t scale);
__int128 weir__decimal_ceil(__int128 value, uint32_t scale);

#endif
