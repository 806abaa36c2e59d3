/*
 * SQL types and how their values lie in memory.
 *
 * | type                    | column values                                                        |
 * |-------------------------|----------------------------------------------------------------------|
 * | BOOLEAN                 | bitmap, LSB first                                                     |
 * | TINYINT .. BIGINT       | int8_t, int16_t, int32_t, int64_t                                     |
 * | FLOAT, DOUBLE           | float, double                                                        |
 * | DECIMAL(p, s)           | __int128, the unscaled value                                          |
 * | VARCHAR(n), VARBINARY(n)| struct weir_strview (16 bytes, Arrow's view layout)                   |
 * | DATE                    | int32_t, days since 1970-01-01                                        |
 * | TIME(p)                 | int64_t, microseconds since midnight                                  |
 * | TIMESTAMP(p)            | int64_t, microseconds since 1970-01-01 00:00:00 without a zone        |
 * | TIMESTAMP_LTZ(p)        | int64_t, microseconds since the epoch, UTC                            |
 * | INTERVAL YEAR TO MONTH  | int32_t, months                                                      |
 * | INTERVAL DAY TO SECOND  | int64_t, microseconds                                                |
 *
 * Timestamps are microseconds whatever p is (0..6); p says how many digits are kept and written. Watermarks and windows are in
 * milliseconds, as in Flink. STRING is VARCHAR(WEIR_LENGTH_MAX). ARRAY, MAP and ROW come with the SQL issue.
 */
#ifndef WEIR_COMMON_DATA_TYPE_H
#define WEIR_COMMON_DATA_TYPE_H

#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/base/slice.h"

/* The numbers are on the wire and on disk: append only. */
enum weir_type_id {
    WEIR_TYPE_NULL = 0, /* the type of a bare NULL literal; never of a column */
    WEIR_TYPE_BOOLEAN = 1,
    WEIR_TYPE_TINYINT = 2,
    WEIR_TYPE_SMALLINT = 3,
    WEIR_TYPE_INT = 4,
    WEIR_TYPE_BIGINT = 5,
    WEIR_TYPE_FLOAT = 6,
    WEIR_TYPE_DOUBLE = 7,
    WEIR_TYPE_DECIMAL = 8,
    WEIR_TYPE_VARCHAR = 9,
    WEIR_TYPE_VARBINARY = 10,
    WEIR_TYPE_DATE = 11,
    WEIR_TYPE_TIME = 12,
    WEIR_TYPE_TIMESTAMP = 13,
    WEIR_TYPE_TIMESTAMP_LTZ = 14,
    WEIR_TYPE_INTERVAL_YEAR = 15,
    WEIR_TYPE_INTERVAL_DAY = 16,
};

enum {
    WEIR_DECIMAL_PRECISION_MAX = 38,
    WEIR_TIMESTAMP_PRECISION_MAX = 6,
    WEIR_LENGTH_MAX = 2147483647, /* STRING, BYTES */
};

struct weir_type {
    enum weir_type_id id;
    bool not_null;
    uint8_t precision; /* DECIMAL 1..38; TIME, TIMESTAMP, TIMESTAMP_LTZ 0..6 */
    uint8_t scale;     /* DECIMAL 0..precision */
    uint32_t length;   /* VARCHAR, VARBINARY: most characters/bytes */
};

/* 16 bytes as Arrow's string view: up to 12 bytes inline, else a 4-byte prefix and a place in data buffer `buffer`. */
struct weir_strview {
    uint32_t len;
    union {
        uint8_t inlined[12];
        struct {
            uint8_t prefix[4];
            uint32_t buffer;
            uint32_t offset;
        } ref;
    } u;
};

_Static_assert(sizeof(struct weir_strview) == 16, "Arrow's view layout");

/* A type with the usual defaults: DECIMAL(10, 0), TIMESTAMP(6) (Flink's), STRING. Nullable. */
struct weir_type weir_type_of(enum weir_type_id id);

/* Parses "BIGINT", "DECIMAL(10, 2)", "STRING", "TIMESTAMP_LTZ(3)", "TIMESTAMP(3) WITH LOCAL TIME ZONE", "INT NOT NULL", "BYTES", ...
 * case-insensitively. INVALID says what was found and lists what is right. */
enum weir_rc weir_type_parse(struct weir_slice text, struct weir_type *out_type, struct weir_error *err) WEIR_CHECKED;

/* The type as SQL text, as Flink prints it ("TIMESTAMP_LTZ(3)", "STRING", "INT NOT NULL"): `weir_type_text(type).text`. */
struct weir_type_name {
    char text[48];
};
struct weir_type_name weir_type_text(struct weir_type type);

/* Bytes of one value in a column; 0 for BOOLEAN (bits) and NULL. */
static inline uint32_t weir_type_width(enum weir_type_id id)
{
    static const uint8_t widths[] = {0, 0, 1, 2, 4, 8, 4, 8, 16, 16, 16, 4, 8, 8, 8, 4, 8};
    return widths[id];
}

static inline bool weir_type_is_string(enum weir_type_id id)
{
    return id == WEIR_TYPE_VARCHAR || id == WEIR_TYPE_VARBINARY;
}

bool weir_type_is_integer(enum weir_type_id id);
bool weir_type_is_numeric(enum weir_type_id id);
bool weir_type_is_time(enum weir_type_id id); /* DATE, TIME, TIMESTAMP, TIMESTAMP_LTZ */

/* Same id, precision, scale and length; nullability aside. */
bool weir_type_same(struct weir_type a, struct weir_type b);

#endif
