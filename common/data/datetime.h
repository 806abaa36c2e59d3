/*
 * Dates and times as numbers and text (proleptic Gregorian calendar, UTC, no time zones, no libc).
 */
#ifndef WEIR_COMMON_DATA_DATETIME_H
#define WEIR_COMMON_DATA_DATETIME_H

#include "common/base/buf.h"
#include "common/base/rc.h"

struct weir_civil {
    int32_t year; /* -999999 .. 999999 */
    int32_t month, day; /* 1.. */
    int32_t hour, minute, second;
    int32_t micros;
};

int64_t weir_days_from_civil(int32_t year, int32_t month, int32_t day); /* days since 1970-01-01 */
struct weir_civil weir_civil_from_micros(int64_t micros);
int64_t weir_civil_to_micros(const struct weir_civil *civil);

/* "2026-11-21" / "07:11:52.123" / "2026-11-21 07:11:52.123" with exactly `digits` (0..6) fraction digits. Separator is ' ' (SQL) or 'T'
 * (ISO-8601). At most 40 bytes; returns the length. */
uint32_t weir_date_write(int32_t days, char out[40]);
uint32_t weir_time_write(int64_t micros, int32_t digits, char out[40]);
uint32_t weir_timestamp_write(int64_t micros, int32_t digits, char separator, char out[40]);

/* The same read strictly: fraction optional with up to 9 digits (cut to micros), either separator, and for timestamps an optional
 * trailing 'Z'. INVALID on anything else. */
enum weir_rc weir_date_read(struct weir_slice text, int32_t *out_days) WEIR_CHECKED;
enum weir_rc weir_time_read(struct weir_slice text, int64_t *out_micros) WEIR_CHECKED;
enum weir_rc weir_timestamp_read(struct weir_slice text, int64_t *out_micros) WEIR_CHECKED;

#endif
