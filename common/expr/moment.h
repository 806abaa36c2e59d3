/*
 * Arithmetic of microseconds that stays defined at the ends of the range: what lies beyond becomes the first or last moment there is.
 * Internal to common/expr.
 */
#ifndef WEIR_COMMON_EXPR_MOMENT_H
#define WEIR_COMMON_EXPR_MOMENT_H

#include <stdint.h>

static const int64_t WEIR_DAY_MICROS = 86400000000;

/* Towards minus infinity; b > 0. */
static inline int64_t weir__floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* What floor_div leaves: 0 .. b-1. */
static inline int64_t weir__floor_mod(int64_t a, int64_t b)
{
    int64_t rest = a % b;
    return rest < 0 ? rest + b : rest;
}

/* The multiple of `unit` at or below. */
static inline int64_t weir__floor_to(int64_t value, int64_t unit)
{
    int64_t out;
    return __builtin_sub_overflow(value, weir__floor_mod(value, unit), &out) ? INT64_MIN : out;
}

static inline int64_t weir__days_to_micros(int64_t days)
{
    int64_t out;
    return __builtin_mul_overflow(days, WEIR_DAY_MICROS, &out) ? (days < 0 ? INT64_MIN : INT64_MAX) : out;
}

#endif
