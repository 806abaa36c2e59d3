/*
 * One boxed value, for literals, options, tests and error messages; never per row on a hot path.
 */
#ifndef WEIR_COMMON_DATA_VALUE_H
#define WEIR_COMMON_DATA_VALUE_H

#include "common/data/batch.h"

struct weir_value {
    struct weir_type type;
    bool is_null;
    union {
        bool boolean;
        int64_t i64; /* every integer and time type */
        double f64;  /* FLOAT and DOUBLE */
        __int128 decimal;
        struct weir_slice str; /* borrowed */
    } u;
};

/* The value at a physical row; strings are borrowed from the column. */
struct weir_value weir_value_get(const struct weir_column *col, uint32_t row);

/* Writes the value into a builder column of the same type. */
void weir_value_put(const struct weir_value *value, struct weir_column_builder *col, uint32_t row);

/* Appends the value as SQL prints it: numbers shortest, timestamps "2026-11-21 07:11:52.123" with the type's digits, strings raw,
 * NULL as "NULL". Used by CAST to STRING, the print connector and messages. */
void weir_value_format(const struct weir_value *value, struct weir_buf *out);

/* Equal types and values; NULL equals NULL here. */
bool weir_value_same(const struct weir_value *a, const struct weir_value *b);

#endif
