/*
 * Comparisons and IN.
 *
 * Doubles compare as in Java: NaN is neither less, equal nor greater. Strings compare by their bytes.
 */
#include "common/expr/decimal.h"
#include "common/expr/fn_loop.h"

#include <stdlib.h>

enum comparison { CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE };

#define COMPARE_AS(c_type)                                   \
    switch (cmp) {                                           \
    case CMP_EQ:                                             \
        WEIR_LOOP_BINARY(call, c_type, uint8_t, x == y);     \
        break;                                               \
    case CMP_NE:                                             \
        WEIR_LOOP_BINARY(call, c_type, uint8_t, x != y);     \
        break;                                               \
    case CMP_LT:                                             \
        WEIR_LOOP_BINARY(call, c_type, uint8_t, x < y);      \
        break;                                               \
    case CMP_LE:                                             \
        WEIR_LOOP_BINARY(call, c_type, uint8_t, x <= y);     \
        break;                                               \
    case CMP_GT:                                             \
        WEIR_LOOP_BINARY(call, c_type, uint8_t, x > y);      \
        break;                                               \
    case CMP_GE:                                             \
        WEIR_LOOP_BINARY(call, c_type, uint8_t, x >= y);     \
        break;                                               \
    }

static void compare_i8(struct weir_fn_call *call, enum comparison cmp)
{
    COMPARE_AS(int8_t)
}

static void compare_i16(struct weir_fn_call *call, enum comparison cmp)
{
    COMPARE_AS(int16_t)
}

static void compare_i32(struct weir_fn_call *call, enum comparison cmp)
{
    COMPARE_AS(int32_t)
}

static void compare_i64(struct weir_fn_call *call, enum comparison cmp)
{
    COMPARE_AS(int64_t)
}

static void compare_f32(struct weir_fn_call *call, enum comparison cmp)
{
    COMPARE_AS(float)
}

static void compare_f64(struct weir_fn_call *call, enum comparison cmp)
{
    COMPARE_AS(double)
}

static void compare_i128(struct weir_fn_call *call, enum comparison cmp)
{
    COMPARE_AS(__int128)
}

static uint8_t holds(enum comparison cmp, int order)
{
    switch (cmp) {
    case CMP_EQ:
        return order == 0;
    case CMP_NE:
        return order != 0;
    case CMP_LT:
        return order < 0;
    case CMP_LE:
        return order <= 0;
    case CMP_GT:
        return order > 0;
    case CMP_GE:
        return order >= 0;
    }
    weir_assert(false);
    return 0;
}

static void compare_scaled(struct weir_fn_call *call, enum comparison cmp)
{
    const struct weir_vec *a = &call->args[0], *b = &call->args[1];
    uint8_t *out = call->out.values;
    struct weir_type ta = a->type, tb = b->type;
    int whole = ta.precision - ta.scale > tb.precision - tb.scale ? ta.precision - ta.scale : tb.precision - tb.scale;
    int scale = ta.scale > tb.scale ? ta.scale : tb.scale;
    if (whole + scale <= WEIR_DECIMAL_PRECISION_MAX) { /* both fit at the larger scale */
        __int128 up_a = (__int128)weir__decimal_pow10((uint32_t)(scale - ta.scale)), up_b = (__int128)weir__decimal_pow10((uint32_t)(scale - tb.scale));
        WEIR_EACH_ROW(call, i) {
            __int128 x = (__int128)((unsigned __int128)WEIR_VEC(a, __int128, i) * (unsigned __int128)up_a);
            __int128 y = (__int128)((unsigned __int128)WEIR_VEC(b, __int128, i) * (unsigned __int128)up_b);
            out[i] = holds(cmp, (x > y) - (x < y));
        }
        return;
    }
    WEIR_EACH_ROW(call, i) {
        out[i] = holds(cmp, weir__decimal_compare(WEIR_VEC(a, __int128, i), a->type.scale, WEIR_VEC(b, __int128, i), b->type.scale));
    }
}

static void compare_str(struct weir_fn_call *call, enum comparison cmp)
{
    const struct weir_vec *a = &call->args[0], *b = &call->args[1];
    uint8_t *out = call->out.values;
    if (cmp == CMP_EQ || cmp == CMP_NE) {
        WEIR_EACH_ROW(call, i) {
            bool valid = call->out.valid == NULL || call->out.valid[i] != 0; /* a NULL's string need not point anywhere */
            out[i] = valid && weir__str_eq(WEIR_VEC(a, struct weir_str, i), WEIR_VEC(b, struct weir_str, i)) == (cmp == CMP_EQ);
        }
        return;
    }
    WEIR_EACH_ROW(call, i) {
        bool valid = call->out.valid == NULL || call->out.valid[i] != 0;
        out[i] = valid && holds(cmp, weir__str_cmp(WEIR_VEC(a, struct weir_str, i), WEIR_VEC(b, struct weir_str, i)));
    }
}

static enum weir_rc compare(struct weir_fn_call *call, enum comparison cmp)
{
    switch (call->args[0].phys) {
    case WEIR_PHYS_BOOL:
    case WEIR_PHYS_I8:
        compare_i8(call, cmp);
        break;
    case WEIR_PHYS_I16:
        compare_i16(call, cmp);
        break;
    case WEIR_PHYS_I32:
        compare_i32(call, cmp);
        break;
    case WEIR_PHYS_I64:
        compare_i64(call, cmp);
        break;
    case WEIR_PHYS_F32:
        compare_f32(call, cmp);
        break;
    case WEIR_PHYS_F64:
        compare_f64(call, cmp);
        break;
    case WEIR_PHYS_I128:
        if (call->args[0].type.scale == call->args[1].type.scale) {
            compare_i128(call, cmp);
        } else {
            compare_scaled(call, cmp);
        }
        break;
    case WEIR_PHYS_STR:
        compare_str(call, cmp);
        break;
    }
    return WEIR_OK;
}

enum weir_rc weir__fn_eq(struct weir_fn_call *call)
{
    return compare(call, CMP_EQ);
}

enum weir_rc weir__fn_ne(struct weir_fn_call *call)
{
    return compare(call, CMP_NE);
}

enum weir_rc weir__fn_lt(struct weir_fn_call *call)
{
    return compare(call, CMP_LT);
}

enum weir_rc weir__fn_le(struct weir_fn_call *call)
{
    return compare(call, CMP_LE);
}

enum weir_rc weir__fn_gt(struct weir_fn_call *call)
{
    return compare(call, CMP_GT);
}

enum weir_rc weir__fn_ge(struct weir_fn_call *call)
{
    return compare(call, CMP_GE);
}

static bool same_value(const struct weir_vec *a, const struct weir_vec *b, uint32_t i)
{
    switch (a->phys) {
    case WEIR_PHYS_BOOL:
    case WEIR_PHYS_I8:
        return WEIR_VEC(a, int8_t, i) == WEIR_VEC(b, int8_t, i);
    case WEIR_PHYS_I16:
        return WEIR_VEC(a, int16_t, i) == WEIR_VEC(b, int16_t, i);
    case WEIR_PHYS_I32:
        return WEIR_VEC(a, int32_t, i) == WEIR_VEC(b, int32_t, i);
    case WEIR_PHYS_I64:
        return WEIR_VEC(a, int64_t, i) == WEIR_VEC(b, int64_t, i);
    case WEIR_PHYS_F32:
        return WEIR_VEC(a, float, i) == WEIR_VEC(b, float, i);
    case WEIR_PHYS_F64:
        return WEIR_VEC(a, double, i) == WEIR_VEC(b, double, i);
    case WEIR_PHYS_I128:
        return weir__decimal_compare(WEIR_VEC(a, __int128, i), a->type.scale, WEIR_VEC(b, __int128, i), b->type.scale) == 0;
    case WEIR_PHYS_STR:
        return weir__str_eq(WEIR_VEC(a, struct weir_str, i), WEIR_VEC(b, struct weir_str, i));
    }
    weir_assert(false);
    return false;
}

static enum weir_rc distinct(struct weir_fn_call *call, bool wanted)
{
    const struct weir_vec *a = &call->args[0], *b = &call->args[1];
    uint8_t *out = call->out.values;
    WEIR_EACH_ROW(call, i) {
        bool va = weir__vec_valid(a, i), vb = weir__vec_valid(b, i);
        bool same = va && vb ? same_value(a, b, i) : va == vb;
        out[i] = same != wanted;
    }
    return WEIR_OK;
}

enum weir_rc weir__fn_distinct(struct weir_fn_call *call)
{
    return distinct(call, true);
}

enum weir_rc weir__fn_not_distinct(struct weir_fn_call *call)
{
    return distinct(call, false);
}

/* --- IN --------------------------------------------------------------------------------------------------------------- */

/* The list of an IN, NULLs apart: integers and moments sorted, strings sorted, others as written. */
struct in_list {
    uint32_t count;
    bool has_null;
    int64_t *i64;
    struct weir_str *str;
    struct weir_value *values; /* doubles, decimals */
};

static int order_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int order_str(const void *a, const void *b)
{
    return weir__str_cmp(*(const struct weir_str *)a, *(const struct weir_str *)b);
}

const void *weir__in_prepare(const struct weir_expr *call, struct weir_arena *arena)
{
    struct in_list *list = weir_arena_zalloc(arena, sizeof(*list));
    uint32_t max = call->nargs;
    enum weir_phys phys = weir__phys_of(call->args[0]->type.id);
    list->i64 = weir_arena_zalloc(arena, max * sizeof(int64_t));
    list->str = weir_arena_zalloc(arena, max * sizeof(struct weir_str));
    list->values = weir_arena_zalloc(arena, max * sizeof(struct weir_value));
    for (uint32_t i = 1; i < call->nargs; i++) {
        struct weir_value value = call->args[i]->value;
        value.type = call->args[i]->type;
        if (value.is_null) {
            list->has_null = true;
            continue;
        }
        if (phys == WEIR_PHYS_STR) {
            struct weir_slice text = weir_arena_slice(arena, value.u.str);
            list->str[list->count] = weir__str(text.data, (uint32_t)text.len);
        } else {
            list->i64[list->count] = phys == WEIR_PHYS_BOOL ? value.u.boolean : value.u.i64;
            list->values[list->count] = value;
        }
        list->count++;
    }
    if (phys == WEIR_PHYS_STR) {
        qsort(list->str, list->count, sizeof(struct weir_str), order_str);
    } else if (phys != WEIR_PHYS_F32 && phys != WEIR_PHYS_F64 && phys != WEIR_PHYS_I128) {
        qsort(list->i64, list->count, sizeof(int64_t), order_i64);
    }
    return list;
}

static bool in_i64(const struct in_list *list, int64_t x)
{
    uint32_t low = 0, high = list->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (list->i64[middle] == x) {
            return true;
        }
        low = list->i64[middle] < x ? middle + 1 : low;
        high = list->i64[middle] > x ? middle : high;
    }
    return false;
}

static bool in_str(const struct in_list *list, struct weir_str x)
{
    if (list->count <= 8) {
        bool found = false;
        for (uint32_t i = 0; i < list->count && !found; i++) {
            found = weir__str_eq(list->str[i], x);
        }
        return found;
    }
    return bsearch(&x, list->str, list->count, sizeof(x), order_str) != NULL;
}

static bool in_others(const struct in_list *list, const struct weir_vec *vec, uint32_t row)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct weir_value *value = &list->values[i];
        bool same = vec->phys == WEIR_PHYS_F64   ? value->u.f64 == WEIR_VEC(vec, double, row)
                    : vec->phys == WEIR_PHYS_F32 ? (float)value->u.f64 == WEIR_VEC(vec, float, row)
                                                 : weir__decimal_compare(value->u.decimal, value->type.scale, WEIR_VEC(vec, __int128, row),
                                                                         vec->type.scale) == 0;
        if (same) {
            return true;
        }
    }
    return false;
}

static bool is_in(const struct in_list *list, const struct weir_vec *vec, uint32_t row)
{
    switch (vec->phys) {
    case WEIR_PHYS_BOOL:
    case WEIR_PHYS_I8:
        return in_i64(list, WEIR_VEC(vec, int8_t, row));
    case WEIR_PHYS_I16:
        return in_i64(list, WEIR_VEC(vec, int16_t, row));
    case WEIR_PHYS_I32:
        return in_i64(list, WEIR_VEC(vec, int32_t, row));
    case WEIR_PHYS_I64:
        return in_i64(list, WEIR_VEC(vec, int64_t, row));
    case WEIR_PHYS_STR:
        return in_str(list, WEIR_VEC(vec, struct weir_str, row));
    case WEIR_PHYS_F32:
    case WEIR_PHYS_F64:
    case WEIR_PHYS_I128:
        return in_others(list, vec, row);
    }
    weir_assert(false);
    return false;
}

enum weir_rc weir__fn_in(struct weir_fn_call *call)
{
    const struct in_list *list = call->state;
    const struct weir_vec *vec = &call->args[0];
    uint8_t *out = call->out.values;
    WEIR_EACH_ROW(call, i) {
        bool valid = weir__vec_valid(vec, i);
        bool found = valid && is_in(list, vec, i);
        out[i] = found;
        call->out.valid[i] = valid && (found || !list->has_null);
    }
    return WEIR_OK;
}
