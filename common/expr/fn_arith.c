/*
 * Arithmetic. Integers wrap as in Java and Flink; integer and DECIMAL division by zero fails; DECIMAL results beyond 38 digits fail.
 */
#include "common/data/datetime.h"
#include "common/data/value.h"
#include "common/expr/decimal.h"
#include "common/expr/fn_loop.h"
#include "common/expr/moment.h"

#include <math.h>

static enum weir_rc overflow(struct weir_fn_call *call, uint32_t row)
{
    struct weir_buf text = {0};
    for (uint32_t i = 0; i < call->nargs; i++) {
        struct weir_value value = weir__vec_get(&call->args[i], row);
        weir_buf_put_str(&text, i == 0 ? "" : i + 1 == call->nargs ? " and " : ", ");
        weir_value_format(&value, &text);
    }
    enum weir_rc rc = weir__fn_fail(call, "the result of %.*s does not fit %s", (int)(text.len > 200 ? 200 : text.len), (const char *)text.data,
                                    weir_type_text(call->out.type).text);
    weir_buf_fini(&text);
    return rc;
}

static bool is_valid(const struct weir_fn_call *call, uint32_t row)
{
    return call->out.valid == NULL || call->out.valid[row] != 0;
}

/* --- + - * ------------------------------------------------------------------------------------------------------------ */

static enum weir_rc decimal_sum(struct weir_fn_call *call, bool negate)
{
    const struct weir_vec *a = &call->args[0], *b = &call->args[1];
    uint32_t scale = a->type.scale > b->type.scale ? a->type.scale : b->type.scale, to_scale = call->out.type.scale;
    __int128 *out = call->out.values;
    bool plain = a->type.scale == b->type.scale && to_scale == scale;
    WEIR_EACH_ROW(call, i) {
        if (!is_valid(call, i)) {
            out[i] = 0;
            continue;
        }
        __int128 x = WEIR_VEC(a, __int128, i), y = negate ? -WEIR_VEC(b, __int128, i) : WEIR_VEC(b, __int128, i), sum;
        if (!plain && (!weir__decimal_rescale(x, a->type.scale, scale, &x) || !weir__decimal_rescale(y, b->type.scale, scale, &y))) {
            return overflow(call, i);
        }
        if (__builtin_add_overflow(x, y, &sum) || !weir__decimal_rescale(sum, scale, to_scale, &sum) ||
            !weir__decimal_fits(sum, call->out.type.precision)) {
            return overflow(call, i);
        }
        out[i] = sum;
    }
    return WEIR_OK;
}

/* A moment moved by months keeps its day, or takes the month's last. */
static int64_t add_months(int64_t micros, int64_t months)
{
    static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    struct weir_civil civil = weir_civil_from_micros(micros);
    int64_t total = (int64_t)civil.year * 12 + civil.month - 1 + months;
    int64_t year = total >= 0 ? total / 12 : -((11 - total) / 12);
    civil.year = (int32_t)year;
    civil.month = (int32_t)(total - year * 12) + 1;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    int32_t last = lengths[civil.month - 1] + (leap && civil.month == 2);
    civil.day = civil.day > last ? last : civil.day;
    return weir_civil_to_micros(&civil);
}

/* moment +- interval; the moment is argument `m`. */
static enum weir_rc move_moment(struct weir_fn_call *call, uint32_t m, int64_t sign)
{
    const struct weir_vec *moment = &call->args[m], *interval = &call->args[1 - m];
    bool months = interval->type.id == WEIR_TYPE_INTERVAL_YEAR, date = moment->type.id == WEIR_TYPE_DATE;
    WEIR_EACH_ROW(call, i) {
        if (!is_valid(call, i)) {
            continue;
        }
        int64_t micros = date ? weir__days_to_micros(WEIR_VEC(moment, int32_t, i)) : WEIR_VEC(moment, int64_t, i);
        int64_t by = (int64_t)((uint64_t)sign * (uint64_t)(months ? WEIR_VEC(interval, int32_t, i) : WEIR_VEC(interval, int64_t, i)));
        enum { YEAR_MICROS_LOG2 = 45, YEARS_MAX = 200000 };
        if (months && (by > 12 * YEARS_MAX || by < -12 * YEARS_MAX || micros >> YEAR_MICROS_LOG2 > YEARS_MAX ||
                       micros >> YEAR_MICROS_LOG2 < -YEARS_MAX)) {
            return overflow(call, i);
        }
        micros = months ? add_months(micros, by) : (int64_t)((uint64_t)micros + (uint64_t)by);
        if (date) {
            WEIR_OUT(call, int32_t)[i] = (int32_t)weir__floor_div(micros, WEIR_DAY_MICROS);
        } else if (moment->type.id == WEIR_TYPE_TIME) {
            WEIR_OUT(call, int64_t)[i] = weir__floor_mod(micros, WEIR_DAY_MICROS);
        } else {
            WEIR_OUT(call, int64_t)[i] = micros;
        }
    }
    return WEIR_OK;
}

/* The unsigned type makes overflow wrap; the bits are the signed result's. */
#define ARITH_SWITCH(call, OP, DECIMAL)                                   \
    switch ((call)->out.phys) {                                           \
    case WEIR_PHYS_I8:                                                    \
        WEIR_LOOP_BINARY(call, uint8_t, uint8_t, x OP y);                 \
        return WEIR_OK;                                                   \
    case WEIR_PHYS_I16:                                                   \
        WEIR_LOOP_BINARY(call, uint16_t, uint16_t, (uint32_t)x OP (uint32_t)y); \
        return WEIR_OK;                                                   \
    case WEIR_PHYS_I32:                                                   \
        WEIR_LOOP_BINARY(call, uint32_t, uint32_t, x OP y);               \
        return WEIR_OK;                                                   \
    case WEIR_PHYS_I64:                                                   \
        WEIR_LOOP_BINARY(call, uint64_t, uint64_t, x OP y);               \
        return WEIR_OK;                                                   \
    case WEIR_PHYS_F32:                                                   \
        WEIR_LOOP_BINARY(call, float, float, x OP y);                     \
        return WEIR_OK;                                                   \
    case WEIR_PHYS_F64:                                                   \
        WEIR_LOOP_BINARY(call, double, double, x OP y);                   \
        return WEIR_OK;                                                   \
    case WEIR_PHYS_I128:                                                  \
        return DECIMAL;                                                   \
    case WEIR_PHYS_BOOL:                                                  \
    case WEIR_PHYS_STR:                                                   \
        break;                                                            \
    }                                                                     \
    weir_assert(false);                                                   \
    return WEIR_INVALID

enum weir_rc weir__fn_add(struct weir_fn_call *call)
{
    if (weir_type_is_time(call->out.type.id)) {
        return move_moment(call, weir_type_is_time(call->args[0].type.id) ? 0 : 1, 1);
    }
    ARITH_SWITCH(call, +, decimal_sum(call, false));
}

enum weir_rc weir__fn_subtract(struct weir_fn_call *call)
{
    if (weir_type_is_time(call->out.type.id)) {
        return move_moment(call, 0, -1);
    }
    ARITH_SWITCH(call, -, decimal_sum(call, true));
}

/* All products fit 128 bits and keep all digits: no checks a row. */
static void decimal_product_plain(struct weir_fn_call *call)
{
    WEIR_LOOP_BINARY(call, __int128, __int128, (__int128)((unsigned __int128)x * (unsigned __int128)y));
}

static enum weir_rc decimal_product(struct weir_fn_call *call)
{
    const struct weir_vec *a = &call->args[0], *b = &call->args[1];
    uint32_t scale_sum = (uint32_t)a->type.scale + b->type.scale, to_scale = call->out.type.scale;
    if (a->type.precision + b->type.precision <= WEIR_DECIMAL_PRECISION_MAX && to_scale == scale_sum) {
        decimal_product_plain(call);
        return WEIR_OK;
    }
    __int128 *out = call->out.values;
    WEIR_EACH_ROW(call, i) {
        __int128 product = 0;
        if (is_valid(call, i) &&
            (!weir__decimal_multiply(WEIR_VEC(a, __int128, i), WEIR_VEC(b, __int128, i), scale_sum, to_scale, &product) ||
             !weir__decimal_fits(product, call->out.type.precision))) {
            return overflow(call, i);
        }
        out[i] = product;
    }
    return WEIR_OK;
}

enum weir_rc weir__fn_multiply(struct weir_fn_call *call)
{
    ARITH_SWITCH(call, *, decimal_product(call));
}

/* --- / % -------------------------------------------------------------------------------------------------------------- */

static enum weir_rc zero(struct weir_fn_call *call, uint32_t row)
{
    struct weir_value value = weir__vec_get(&call->args[0], row);
    struct weir_buf text = {0};
    weir_value_format(&value, &text);
    enum weir_rc rc = weir__fn_fail(call, "%.*s divided by zero", (int)text.len, (const char *)text.data);
    weir_buf_fini(&text);
    return rc;
}

/* x / -1 and x % -1 apart: the smallest integer divided by -1 traps in hardware, and wraps in Java. */
#define DIVIDE_AS(call, c_type, u_type, OP, BY_MINUS_ONE)                          \
    do {                                                                           \
        const struct weir_vec *va = &(call)->args[0], *vb = &(call)->args[1];      \
        c_type *out = (call)->out.values;                                          \
        WEIR_EACH_ROW(call, i) {                                                   \
            c_type x = WEIR_VEC(va, c_type, i), y = WEIR_VEC(vb, c_type, i);       \
            if (y == 0 && is_valid(call, i)) {                                     \
                return zero(call, i);                                              \
            }                                                                      \
            out[i] = (c_type)(y == -1 ? (c_type)(BY_MINUS_ONE(u_type)x) : y == 0 ? 0 : x OP y); \
        }                                                                          \
        return WEIR_OK;                                                            \
    } while (0)

#define NEGATED(u_type) (u_type)0 - (u_type)
#define NOTHING(u_type) 0 * (u_type)

static enum weir_rc decimal_quotient(struct weir_fn_call *call, bool modulo)
{
    const struct weir_vec *a = &call->args[0], *b = &call->args[1];
    __int128 *out = call->out.values;
    WEIR_EACH_ROW(call, i) {
        out[i] = 0;
        if (!is_valid(call, i)) {
            continue;
        }
        __int128 x = WEIR_VEC(a, __int128, i), y = WEIR_VEC(b, __int128, i);
        if (y == 0) {
            return zero(call, i);
        }
        bool fits = modulo ? weir__decimal_modulo(x, a->type.scale, y, b->type.scale, call->out.type.scale, &out[i])
                           : weir__decimal_divide(x, a->type.scale, y, b->type.scale, call->out.type.scale, &out[i]);
        if (!fits || !weir__decimal_fits(out[i], call->out.type.precision)) {
            return overflow(call, i);
        }
    }
    return WEIR_OK;
}

enum weir_rc weir__fn_divide(struct weir_fn_call *call)
{
    switch (call->out.phys) {
    case WEIR_PHYS_I8:
        DIVIDE_AS(call, int8_t, uint8_t, /, NEGATED);
    case WEIR_PHYS_I16:
        DIVIDE_AS(call, int16_t, uint16_t, /, NEGATED);
    case WEIR_PHYS_I32:
        DIVIDE_AS(call, int32_t, uint32_t, /, NEGATED);
    case WEIR_PHYS_I64:
        DIVIDE_AS(call, int64_t, uint64_t, /, NEGATED);
    case WEIR_PHYS_F32:
        WEIR_LOOP_BINARY(call, float, float, x / y);
        return WEIR_OK;
    case WEIR_PHYS_F64:
        WEIR_LOOP_BINARY(call, double, double, x / y);
        return WEIR_OK;
    case WEIR_PHYS_I128:
        return decimal_quotient(call, false);
    case WEIR_PHYS_BOOL:
    case WEIR_PHYS_STR:
        break;
    }
    weir_assert(false);
    return WEIR_INVALID;
}

/* Modulo by a positive constant of rows that are all in [0, 2^32): exact by multiplication (Lemire, "Faster remainder by direct
 * computation", section 3). False when a row is out of that range. */
static bool fast_modulo(struct weir_fn_call *call)
{
    const struct weir_vec *a = &call->args[0], *b = &call->args[1];
    if (call->rows != NULL || a->mask == 0 || b->mask != 0) {
        return false;
    }
    const int64_t *restrict in = a->values;
    int64_t *restrict out = call->out.values;
    int64_t m = *(const int64_t *)b->values;
    uint64_t all = 0;
    for (uint32_t i = 0; i < call->count; i++) {
        all |= (uint64_t)in[i];
    }
    if (m <= 0 || m > UINT32_MAX || all >> 32 != 0) {
        return false;
    }
    uint64_t factor = UINT64_MAX / (uint64_t)m + 1;
    for (uint32_t i = 0; i < call->count; i++) {
        out[i] = (int64_t)((unsigned __int128)(factor * (uint64_t)in[i]) * (uint64_t)m >> 64);
    }
    return true;
}

enum weir_rc weir__fn_modulo(struct weir_fn_call *call)
{
    switch (call->out.phys) {
    case WEIR_PHYS_I8:
        DIVIDE_AS(call, int8_t, uint8_t, %, NOTHING);
    case WEIR_PHYS_I16:
        DIVIDE_AS(call, int16_t, uint16_t, %, NOTHING);
    case WEIR_PHYS_I32:
        DIVIDE_AS(call, int32_t, uint32_t, %, NOTHING);
    case WEIR_PHYS_I64:
        if (fast_modulo(call)) {
            return WEIR_OK;
        }
        DIVIDE_AS(call, int64_t, uint64_t, %, NOTHING);
    case WEIR_PHYS_F32:
        WEIR_LOOP_BINARY(call, float, float, fmodf(x, y));
        return WEIR_OK;
    case WEIR_PHYS_F64:
        WEIR_LOOP_BINARY(call, double, double, fmod(x, y));
        return WEIR_OK;
    case WEIR_PHYS_I128:
        return decimal_quotient(call, true);
    case WEIR_PHYS_BOOL:
    case WEIR_PHYS_STR:
        break;
    }
    weir_assert(false);
    return WEIR_INVALID;
}

/* --- one number --------------------------------------------------------------------------------------------------------- */

/* WRAP uses x as an unsigned integer of the width, SIGNED as the signed one, FLOATING as a double. */
#define UNARY_SWITCH(call, WRAP8, WRAP16, WRAP32, WRAP64, WRAP128, FLOATING32, FLOATING64) \
    switch ((call)->out.phys) {                                                   \
    case WEIR_PHYS_I8:                                                            \
        WEIR_LOOP_UNARY(call, int8_t, int8_t, WRAP8);                             \
        break;                                                                    \
    case WEIR_PHYS_I16:                                                           \
        WEIR_LOOP_UNARY(call, int16_t, int16_t, WRAP16);                          \
        break;                                                                    \
    case WEIR_PHYS_I32:                                                           \
        WEIR_LOOP_UNARY(call, int32_t, int32_t, WRAP32);                          \
        break;                                                                    \
    case WEIR_PHYS_I64:                                                           \
        WEIR_LOOP_UNARY(call, int64_t, int64_t, WRAP64);                          \
        break;                                                                    \
    case WEIR_PHYS_I128:                                                          \
        WEIR_LOOP_UNARY(call, __int128, __int128, WRAP128);                       \
        break;                                                                    \
    case WEIR_PHYS_F32:                                                           \
        WEIR_LOOP_UNARY(call, float, float, FLOATING32);                          \
        break;                                                                    \
    case WEIR_PHYS_F64:                                                           \
        WEIR_LOOP_UNARY(call, double, double, FLOATING64);                        \
        break;                                                                    \
    case WEIR_PHYS_BOOL:                                                          \
    case WEIR_PHYS_STR:                                                           \
        weir_assert(false);                                                       \
    }                                                                             \
    return WEIR_OK

#define MINUS(u_type) (u_type)((u_type)0 - (u_type)x)

enum weir_rc weir__fn_negate(struct weir_fn_call *call)
{
    UNARY_SWITCH(call, MINUS(uint8_t), MINUS(uint16_t), MINUS(uint32_t), MINUS(uint64_t), MINUS(unsigned __int128), -x, -x);
}

#define SIZE(u_type) x < 0 ? MINUS(u_type) : (u_type)x

enum weir_rc weir__fn_abs(struct weir_fn_call *call)
{
    UNARY_SWITCH(call, SIZE(uint8_t), SIZE(uint16_t), SIZE(uint32_t), SIZE(uint64_t), SIZE(unsigned __int128), fabsf(x), fabs(x));
}

#define SIGN_OF (x > 0) - (x < 0)

enum weir_rc weir__fn_sign(struct weir_fn_call *call)
{
    if (call->out.phys == WEIR_PHYS_I128) { /* 1 with the type's scale; DECIMAL(p, p) has no 1 */
        const struct weir_type type = call->out.type;
        __int128 one = type.precision > type.scale ? (__int128)weir__decimal_pow10(type.scale) : 0;
        if (one == 0) {
            return weir__fn_fail(call, "%s cannot hold 1; CAST the argument to more digits", weir_type_text(type).text);
        }
        WEIR_LOOP_UNARY(call, __int128, __int128, (SIGN_OF) * one);
        return WEIR_OK;
    }
    UNARY_SWITCH(call, SIGN_OF, SIGN_OF, SIGN_OF, SIGN_OF, SIGN_OF, isnan(x) ? x : (float)(SIGN_OF), isnan(x) ? x : (double)(SIGN_OF));
}

enum weir_rc weir__fn_ceil(struct weir_fn_call *call)
{
    if (call->out.phys == WEIR_PHYS_I128) {
        uint32_t scale = call->args[0].type.scale;
        WEIR_LOOP_UNARY(call, __int128, __int128, weir__decimal_ceil(x, scale));
        return WEIR_OK;
    }
    UNARY_SWITCH(call, x, x, x, x, x, ceilf(x), ceil(x));
}

enum weir_rc weir__fn_floor(struct weir_fn_call *call)
{
    if (call->out.phys == WEIR_PHYS_I128) {
        uint32_t scale = call->args[0].type.scale;
        WEIR_LOOP_UNARY(call, __int128, __int128, weir__decimal_floor(x, scale));
        return WEIR_OK;
    }
    UNARY_SWITCH(call, x, x, x, x, x, floorf(x), floor(x));
}

/* A DECIMAL's value with all but `digits` fraction digits made zero, at the scale to_scale. */
static bool round_decimal(__int128 value, uint32_t scale, int64_t digits, uint32_t to_scale, __int128 *out_value)
{
    if (digits >= (int64_t)scale) {
        return weir__decimal_rescale(value, scale, to_scale, out_value);
    }
    int64_t drop = (int64_t)scale - digits;
    if (drop > WEIR_DECIMAL_PRECISION_MAX) {
        *out_value = 0;
        return true;
    }
    __int128 kept;
    if (!weir__decimal_rescale(value, (uint32_t)drop, 0, &kept)) {
        return false;
    }
    if (digits >= 0) {
        return weir__decimal_rescale(kept, (uint32_t)digits, to_scale, out_value);
    }
    return kept == 0 ? (*out_value = 0, true)
                     : -digits <= WEIR_DECIMAL_PRECISION_MAX && weir__decimal_rescale(kept, 0, (uint32_t)(to_scale - digits), out_value);
}

/* Doubles as Flink does it: through their shortest decimal text, half up. Too large or too fine for that: as they are. */
static double round_double(double value, int64_t digits)
{
    if (!isfinite(value) || digits > 17 || fabs(value) >= 1e20 || digits < -20) {
        return digits < -20 && isfinite(value) ? 0.0 : value;
    }
    double factor = pow(10.0, (double)(digits < 0 ? -digits : digits));
    double scaled = digits < 0 ? value / factor : value * factor;
    if (fabs(scaled) >= 4503599627370496.0) {
        return value;
    }
    double up = value < 0 ? ceil(scaled - 0.5) : floor(scaled + 0.5);
    /* 1.005 * 100 is 100.49999999999999: a half that only the binary product lost counts as one */
    double near = value < 0 ? ceil(scaled - 0.5 - fabs(scaled) * 1e-15) : floor(scaled + 0.5 + fabs(scaled) * 1e-15);
    up = near != up ? near : up;
    return digits < 0 ? up * factor : up / factor;
}

static void store_integer(struct weir_fn_call *call, uint32_t row, __int128 value)
{
    struct weir_value boxed = {.type = call->out.type, .u.i64 = (int64_t)value};
    weir__vec_store(call->out.phys, call->out.values, row, &boxed);
}

enum weir_rc weir__fn_round(struct weir_fn_call *call)
{
    const struct weir_vec *a = &call->args[0];
    WEIR_EACH_ROW(call, i) {
        if (!is_valid(call, i)) {
            continue;
        }
        int64_t digits = call->nargs == 1 ? 0 : WEIR_VEC(&call->args[1], int32_t, i);
        struct weir_value value = weir__vec_get(a, i);
        if (a->phys == WEIR_PHYS_F64) {
            WEIR_OUT(call, double)[i] = round_double(value.u.f64, digits);
        } else if (a->phys == WEIR_PHYS_F32) {
            WEIR_OUT(call, float)[i] = (float)round_double(value.u.f64, digits);
        } else if (a->phys == WEIR_PHYS_I128) {
            __int128 rounded;
            if (!round_decimal(value.u.decimal, a->type.scale, digits, call->out.type.scale, &rounded) ||
                !weir__decimal_fits(rounded, call->out.type.precision)) {
                return overflow(call, i);
            }
            WEIR_OUT(call, __int128)[i] = rounded;
        } else {
            __int128 rounded;
            if (!round_decimal(value.u.i64, 0, digits, 0, &rounded)) {
                return overflow(call, i);
            }
            store_integer(call, i, rounded);
        }
    }
    return WEIR_OK;
}

enum weir_rc weir__fn_power(struct weir_fn_call *call)
{
    WEIR_LOOP_BINARY(call, double, double, pow(x, y));
    return WEIR_OK;
}

enum weir_rc weir__fn_sqrt(struct weir_fn_call *call)
{
    WEIR_LOOP_UNARY(call, double, double, sqrt(x));
    return WEIR_OK;
}

enum weir_rc weir__fn_ln(struct weir_fn_call *call)
{
    WEIR_LOOP_UNARY(call, double, double, log(x));
    return WEIR_OK;
}

enum weir_rc weir__fn_exp(struct weir_fn_call *call)
{
    WEIR_LOOP_UNARY(call, double, double, exp(x));
    return WEIR_OK;
}

/* --- GREATEST, LEAST -------------------------------------------------------------------------------------------------- */

static bool is_less(const struct weir_vec *a, const struct weir_vec *b, uint32_t i)
{
    if (a->phys == WEIR_PHYS_STR) {
        return weir__str_cmp(WEIR_VEC(a, struct weir_str, i), WEIR_VEC(b, struct weir_str, i)) < 0;
    }
    struct weir_value x = weir__vec_get(a, i), y = weir__vec_get(b, i);
    if (a->phys == WEIR_PHYS_F32 || a->phys == WEIR_PHYS_F64) {
        return x.u.f64 < y.u.f64;
    }
    if (a->phys == WEIR_PHYS_I128) {
        return x.u.decimal < y.u.decimal;
    }
    return a->phys == WEIR_PHYS_BOOL ? x.u.boolean < y.u.boolean : x.u.i64 < y.u.i64;
}

static enum weir_rc extreme(struct weir_fn_call *call, bool greatest)
{
    uint32_t width = weir__phys_width(call->out.phys);
    uint8_t *out = call->out.values;
    WEIR_EACH_ROW(call, i) {
        if (!is_valid(call, i)) {
            continue;
        }
        const struct weir_vec *best = &call->args[0];
        for (uint32_t a = 1; a < call->nargs; a++) {
            const struct weir_vec *next = &call->args[a];
            best = (greatest ? is_less(best, next, i) : is_less(next, best, i)) ? next : best;
        }
        memcpy(out + (size_t)i * width, (const uint8_t *)best->values + (size_t)(i & best->mask) * width, width);
    }
    return WEIR_OK;
}

enum weir_rc weir__fn_greatest(struct weir_fn_call *call)
{
    return extreme(call, true);
}

enum weir_rc weir__fn_least(struct weir_fn_call *call)
{
    return extreme(call, false);
}
