/*
 * Types of expressions: Flink's rules for common types and decimals, and which casts there are.
 */
#include "common/expr/fn.h"

enum weir_phys weir__phys_of(enum weir_type_id id)
{
    switch (id) {
    case WEIR_TYPE_BOOLEAN:
    case WEIR_TYPE_NULL:
        return WEIR_PHYS_BOOL;
    case WEIR_TYPE_TINYINT:
        return WEIR_PHYS_I8;
    case WEIR_TYPE_SMALLINT:
        return WEIR_PHYS_I16;
    case WEIR_TYPE_INT:
    case WEIR_TYPE_DATE:
    case WEIR_TYPE_INTERVAL_YEAR:
        return WEIR_PHYS_I32;
    case WEIR_TYPE_BIGINT:
    case WEIR_TYPE_TIME:
    case WEIR_TYPE_TIMESTAMP:
    case WEIR_TYPE_TIMESTAMP_LTZ:
    case WEIR_TYPE_INTERVAL_DAY:
        return WEIR_PHYS_I64;
    case WEIR_TYPE_FLOAT:
        return WEIR_PHYS_F32;
    case WEIR_TYPE_DOUBLE:
        return WEIR_PHYS_F64;
    case WEIR_TYPE_DECIMAL:
        return WEIR_PHYS_I128;
    case WEIR_TYPE_VARCHAR:
    case WEIR_TYPE_VARBINARY:
        return WEIR_PHYS_STR;
    }
    weir_assert(false);
    return WEIR_PHYS_BOOL;
}

uint32_t weir__phys_width(enum weir_phys phys)
{
    static const uint8_t widths[] = {1, 1, 2, 4, 8, 4, 8, 16, 16};
    return widths[phys];
}

struct weir_type weir__type_decimal_of(struct weir_type type)
{
    struct weir_type decimal = weir_type_of(WEIR_TYPE_DECIMAL);
    uint8_t digits = type.id == WEIR_TYPE_TINYINT ? 3 : type.id == WEIR_TYPE_SMALLINT ? 5 : type.id == WEIR_TYPE_INT ? 10 : 19;
    decimal.precision = type.id == WEIR_TYPE_DECIMAL ? type.precision : digits;
    decimal.scale = type.id == WEIR_TYPE_DECIMAL ? type.scale : 0;
    decimal.not_null = type.not_null;
    return decimal;
}

struct weir_type weir__type_decimal(int precision, int scale)
{
    if (precision > WEIR_DECIMAL_PRECISION_MAX) { /* keep the whole digits, and at least 6 of the fraction */
        int whole = precision - scale;
        int scale_min = scale < 6 ? scale : 6;
        scale = WEIR_DECIMAL_PRECISION_MAX - whole > scale_min ? WEIR_DECIMAL_PRECISION_MAX - whole : scale_min;
        precision = WEIR_DECIMAL_PRECISION_MAX;
    }
    struct weir_type type = weir_type_of(WEIR_TYPE_DECIMAL);
    type.precision = (uint8_t)(precision < 1 ? 1 : precision);
    type.scale = (uint8_t)scale;
    return type;
}

static bool is_approximate(enum weir_type_id id)
{
    return id == WEIR_TYPE_FLOAT || id == WEIR_TYPE_DOUBLE;
}

static struct weir_type common_number(struct weir_type a, struct weir_type b)
{
    if (is_approximate(a.id) || is_approximate(b.id)) {
        bool single = a.id != WEIR_TYPE_DOUBLE && b.id != WEIR_TYPE_DOUBLE && a.id != WEIR_TYPE_DECIMAL && b.id != WEIR_TYPE_DECIMAL;
        return weir_type_of(single ? WEIR_TYPE_FLOAT : WEIR_TYPE_DOUBLE);
    }
    if (a.id != WEIR_TYPE_DECIMAL && b.id != WEIR_TYPE_DECIMAL) {
        return weir_type_of(a.id > b.id ? a.id : b.id);
    }
    a = weir__type_decimal_of(a);
    b = weir__type_decimal_of(b);
    int scale = a.scale > b.scale ? a.scale : b.scale;
    int whole = a.precision - a.scale > b.precision - b.scale ? a.precision - a.scale : b.precision - b.scale;
    return weir__type_decimal(whole + scale, scale);
}

bool weir__type_common(struct weir_type a, struct weir_type b, struct weir_type *out_type)
{
    bool not_null = a.not_null && b.not_null;
    if (a.id == WEIR_TYPE_NULL || b.id == WEIR_TYPE_NULL) {
        *out_type = a.id == WEIR_TYPE_NULL ? b : a;
    } else if (weir_type_is_numeric(a.id) && weir_type_is_numeric(b.id)) {
        *out_type = weir_type_same(a, b) ? a : common_number(a, b);
    } else if (a.id == b.id) {
        *out_type = a;
        out_type->precision = a.precision > b.precision ? a.precision : b.precision;
        out_type->length = a.length > b.length ? a.length : b.length;
    } else if ((a.id == WEIR_TYPE_DATE && b.id == WEIR_TYPE_TIMESTAMP) || (a.id == WEIR_TYPE_TIMESTAMP && b.id == WEIR_TYPE_DATE)) {
        *out_type = a.id == WEIR_TYPE_DATE ? b : a;
    } else if ((a.id == WEIR_TYPE_TIMESTAMP && b.id == WEIR_TYPE_TIMESTAMP_LTZ) ||
               (a.id == WEIR_TYPE_TIMESTAMP_LTZ && b.id == WEIR_TYPE_TIMESTAMP)) {
        *out_type = weir_type_of(WEIR_TYPE_TIMESTAMP_LTZ);
        out_type->precision = a.precision > b.precision ? a.precision : b.precision;
    } else {
        return false;
    }
    out_type->not_null = not_null;
    return true;
}

bool weir__cast_allowed(struct weir_type from, struct weir_type to)
{
    enum weir_type_id f = from.id, t = to.id;
    if (t == WEIR_TYPE_NULL) {
        return false;
    }
    if (f == t || f == WEIR_TYPE_NULL) {
        return true;
    }
    if (t == WEIR_TYPE_VARCHAR) {
        return f != WEIR_TYPE_INTERVAL_YEAR && f != WEIR_TYPE_INTERVAL_DAY;
    }
    if (f == WEIR_TYPE_VARCHAR) {
        return t != WEIR_TYPE_INTERVAL_YEAR && t != WEIR_TYPE_INTERVAL_DAY;
    }
    bool f_number = weir_type_is_numeric(f), t_number = weir_type_is_numeric(t);
    if ((f_number && t_number) || (f == WEIR_TYPE_BOOLEAN && t_number) || (f_number && t == WEIR_TYPE_BOOLEAN)) {
        return true;
    }
    bool f_stamp = f == WEIR_TYPE_TIMESTAMP || f == WEIR_TYPE_TIMESTAMP_LTZ, t_stamp = t == WEIR_TYPE_TIMESTAMP || t == WEIR_TYPE_TIMESTAMP_LTZ;
    return (f_stamp && (t_stamp || t == WEIR_TYPE_DATE || t == WEIR_TYPE_TIME)) || (f == WEIR_TYPE_DATE && t_stamp);
}

/* Whole digits a number of the type can have. */
static int whole_digits(struct weir_type type)
{
    struct weir_type decimal = weir__type_decimal_of(type);
    return decimal.precision - decimal.scale;
}

bool weir__cast_fails(struct weir_type from, struct weir_type to)
{
    if (from.id == WEIR_TYPE_NULL || weir__cast_is_noop(from, to)) {
        return false;
    }
    if (from.id == WEIR_TYPE_VARCHAR) {
        return !weir_type_is_string(to.id);
    }
    if (!weir_type_is_numeric(from.id) || !weir_type_is_numeric(to.id) || is_approximate(to.id)) {
        return false;
    }
    if (is_approximate(from.id)) {
        return true;
    }
    if (to.id == WEIR_TYPE_DECIMAL) { /* rounding may carry into one more digit */
        return whole_digits(to) < whole_digits(from) + (from.id == WEIR_TYPE_DECIMAL && from.scale > to.scale);
    }
    return from.id == WEIR_TYPE_DECIMAL || from.id > to.id;
}

bool weir__cast_is_noop(struct weir_type from, struct weir_type to)
{
    if (from.id != to.id) {
        return (from.id == WEIR_TYPE_TIMESTAMP && to.id == WEIR_TYPE_TIMESTAMP_LTZ && from.precision <= to.precision) ||
               (from.id == WEIR_TYPE_TIMESTAMP_LTZ && to.id == WEIR_TYPE_TIMESTAMP && from.precision <= to.precision);
    }
    if (from.id == WEIR_TYPE_DECIMAL) {
        return from.scale == to.scale && from.precision <= to.precision;
    }
    return from.precision <= to.precision && from.length <= to.length;
}
