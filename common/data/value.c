#include "common/data/value.h"

#include "common/base/assert.h"
#include "common/data/datetime.h"
#include "common/data/number.h"

#include <math.h>

struct weir_value weir_value_get(const struct weir_column *col, uint32_t row)
{
    struct weir_value value = {.type = col->type, .is_null = weir_column_is_null(col, row)};
    if (value.is_null) {
        return value;
    }
    switch (col->type.id) {
    case WEIR_TYPE_NULL:
        weir_assert(col->type.id != WEIR_TYPE_NULL); /* never of a column */
        break;
    case WEIR_TYPE_BOOLEAN:
        value.u.boolean = weir_column_bool(col, row);
        break;
    case WEIR_TYPE_TINYINT:
        value.u.i64 = WEIR_COLUMN_VALUES(col, const int8_t)[row];
        break;
    case WEIR_TYPE_SMALLINT:
        value.u.i64 = WEIR_COLUMN_VALUES(col, const int16_t)[row];
        break;
    case WEIR_TYPE_INT:
    case WEIR_TYPE_DATE:
    case WEIR_TYPE_INTERVAL_YEAR:
        value.u.i64 = WEIR_COLUMN_VALUES(col, const int32_t)[row];
        break;
    case WEIR_TYPE_BIGINT:
    case WEIR_TYPE_TIME:
    case WEIR_TYPE_TIMESTAMP:
    case WEIR_TYPE_TIMESTAMP_LTZ:
    case WEIR_TYPE_INTERVAL_DAY:
        value.u.i64 = WEIR_COLUMN_VALUES(col, const int64_t)[row];
        break;
    case WEIR_TYPE_FLOAT:
        value.u.f64 = (double)WEIR_COLUMN_VALUES(col, const float)[row];
        break;
    case WEIR_TYPE_DOUBLE:
        value.u.f64 = WEIR_COLUMN_VALUES(col, const double)[row];
        break;
    case WEIR_TYPE_DECIMAL:
        value.u.decimal = WEIR_COLUMN_VALUES(col, const __int128)[row];
        break;
    case WEIR_TYPE_VARCHAR:
    case WEIR_TYPE_VARBINARY:
        value.u.str = weir_column_slice(col, row);
        break;
    }
    return value;
}

void weir_value_put(const struct weir_value *value, struct weir_column_builder *col, uint32_t row)
{
    weir_assert(value->is_null || value->type.id == col->type.id);
    if (value->is_null) {
        weir_column_builder_put_null(col, row);
        return;
    }
    void *values = col->values;
    switch (col->type.id) {
    case WEIR_TYPE_NULL:
        weir_assert(col->type.id != WEIR_TYPE_NULL);
        break;
    case WEIR_TYPE_BOOLEAN:
        weir_column_builder_put_bool(col, row, value->u.boolean);
        break;
    case WEIR_TYPE_TINYINT:
        ((int8_t *)values)[row] = (int8_t)value->u.i64;
        break;
    case WEIR_TYPE_SMALLINT:
        ((int16_t *)values)[row] = (int16_t)value->u.i64;
        break;
    case WEIR_TYPE_INT:
    case WEIR_TYPE_DATE:
    case WEIR_TYPE_INTERVAL_YEAR:
        ((int32_t *)values)[row] = (int32_t)value->u.i64;
        break;
    case WEIR_TYPE_BIGINT:
    case WEIR_TYPE_TIME:
    case WEIR_TYPE_TIMESTAMP:
    case WEIR_TYPE_TIMESTAMP_LTZ:
    case WEIR_TYPE_INTERVAL_DAY:
        ((int64_t *)values)[row] = value->u.i64;
        break;
    case WEIR_TYPE_FLOAT:
        ((float *)values)[row] = (float)value->u.f64;
        break;
    case WEIR_TYPE_DOUBLE:
        ((double *)values)[row] = value->u.f64;
        break;
    case WEIR_TYPE_DECIMAL:
        ((__int128 *)values)[row] = value->u.decimal;
        break;
    case WEIR_TYPE_VARCHAR:
    case WEIR_TYPE_VARBINARY:
        weir_column_builder_put_str(col, row, value->u.str);
        break;
    }
}

/* "+1-02": years and months, as Flink prints it. */
static void format_months(int64_t months, struct weir_buf *out)
{
    uint64_t magnitude = months < 0 ? 0 - (uint64_t)months : (uint64_t)months;
    weir_buf_put_fmt(out, "%c%llu-%02llu", months < 0 ? '-' : '+', (unsigned long long)(magnitude / 12),
                     (unsigned long long)(magnitude % 12));
}

/* "+1 02:03:04.005": milliseconds as Flink prints them, microseconds when there are any. */
static void format_micros(int64_t micros, struct weir_buf *out)
{
    uint64_t magnitude = micros < 0 ? 0 - (uint64_t)micros : (uint64_t)micros;
    int digits = magnitude % 1000 == 0 ? 3 : 6;
    uint64_t fraction = magnitude % 1000000 / (digits == 3 ? 1000 : 1);
    uint64_t seconds = magnitude / 1000000;
    weir_buf_put_fmt(out, "%c%llu %02u:%02u:%02u.%0*u", micros < 0 ? '-' : '+', (unsigned long long)(seconds / 86400),
                     (unsigned)(seconds / 3600 % 24), (unsigned)(seconds / 60 % 60), (unsigned)(seconds % 60), digits,
                     (unsigned)fraction);
}

void weir_value_format(const struct weir_value *value, struct weir_buf *out)
{
    char text[WEIR_NUMBER_TEXT_MAX];
    uint32_t len = 0;
    if (value->is_null) {
        weir_buf_put_str(out, "NULL");
        return;
    }
    switch (value->type.id) {
    case WEIR_TYPE_NULL:
        weir_buf_put_str(out, "NULL");
        break;
    case WEIR_TYPE_BOOLEAN:
        weir_buf_put_str(out, value->u.boolean ? "TRUE" : "FALSE");
        break;
    case WEIR_TYPE_TINYINT:
    case WEIR_TYPE_SMALLINT:
    case WEIR_TYPE_INT:
    case WEIR_TYPE_BIGINT:
        len = weir_i64_write(value->u.i64, text);
        break;
    case WEIR_TYPE_FLOAT:
        len = weir_f32_write((float)value->u.f64, text);
        break;
    case WEIR_TYPE_DOUBLE:
        len = weir_f64_write(value->u.f64, text);
        break;
    case WEIR_TYPE_DECIMAL:
        len = weir_decimal_write(value->u.decimal, value->type.scale, text);
        break;
    case WEIR_TYPE_VARCHAR:
    case WEIR_TYPE_VARBINARY:
        weir_buf_put_slice(out, value->u.str);
        break;
    case WEIR_TYPE_DATE:
        len = weir_date_write((int32_t)value->u.i64, text);
        break;
    case WEIR_TYPE_TIME:
        len = weir_time_write(value->u.i64, value->type.precision, text);
        break;
    case WEIR_TYPE_TIMESTAMP:
    case WEIR_TYPE_TIMESTAMP_LTZ:
        len = weir_timestamp_write(value->u.i64, value->type.precision, ' ', text);
        break;
    case WEIR_TYPE_INTERVAL_YEAR:
        format_months(value->u.i64, out);
        break;
    case WEIR_TYPE_INTERVAL_DAY:
        format_micros(value->u.i64, out);
        break;
    }
    weir_buf_put(out, text, len);
}

bool weir_value_same(const struct weir_value *a, const struct weir_value *b)
{
    if (!weir_type_same(a->type, b->type) || a->is_null != b->is_null) {
        return false;
    }
    if (a->is_null) {
        return true;
    }
    switch (a->type.id) {
    case WEIR_TYPE_NULL:
        return true;
    case WEIR_TYPE_BOOLEAN:
        return a->u.boolean == b->u.boolean;
    case WEIR_TYPE_FLOAT:
    case WEIR_TYPE_DOUBLE:
        return a->u.f64 == b->u.f64 || (isnan(a->u.f64) && isnan(b->u.f64));
    case WEIR_TYPE_DECIMAL:
        return a->u.decimal == b->u.decimal;
    case WEIR_TYPE_VARCHAR:
    case WEIR_TYPE_VARBINARY:
        return weir_slice_eq(a->u.str, b->u.str);
    case WEIR_TYPE_TINYINT:
    case WEIR_TYPE_SMALLINT:
    case WEIR_TYPE_INT:
    case WEIR_TYPE_BIGINT:
    case WEIR_TYPE_DATE:
    case WEIR_TYPE_TIME:
    case WEIR_TYPE_TIMESTAMP:
    case WEIR_TYPE_TIMESTAMP_LTZ:
    case WEIR_TYPE_INTERVAL_YEAR:
    case WEIR_TYPE_INTERVAL_DAY:
        return a->u.i64 == b->u.i64;
    }
    return false;
}
