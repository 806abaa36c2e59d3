/*
 * The format "json": one object per record, keys are column names. Reads and writes what Flink's json format does (1.20), but for what is
 * said here.
 *
 * Reading
 * - Unknown keys are skipped; a missing key is NULL (an error with json.fail-on-missing-field); of a repeated key the last value counts.
 * - Numbers may be given as text ("12"), as in Flink; for integer columns a number with a fraction is refused unless it is 0 (12.0, 1.2e1),
 *   where Flink cuts it. Out of range is refused, where Flink makes NULL of a DECIMAL. BOOLEAN text must be true or false in any case; Flink
 *   reads any other text as false. Text columns take numbers and booleans as they are written, and objects and arrays as their JSON.
 * - TIMESTAMP: text as json.timestamp-format.standard says: SQL "2026-11-21 07:11:52.123" (default) or ISO-8601 with 'T'; TIMESTAMP_LTZ the
 *   same with a trailing 'Z'. Ours beyond Flink: an integer in a TIMESTAMP_LTZ of up to 3 digits is epoch milliseconds, of more digits epoch
 *   microseconds. Digits beyond the type's are cut. VARBINARY is base64, INTERVAL DAY an integer of milliseconds, INTERVAL YEAR of months.
 * - json.ignore-parse-errors: a value that does not fit its nullable column becomes NULL; a record that is no JSON object, or that has no
 *   value for a NOT NULL column, is left out.
 *
 * Writing
 * - Columns in schema order, NULL as null, no blanks. NaN and the infinities are the strings "NaN", "Infinity", "-Infinity" (Jackson's
 *   QUOTE_NON_NUMERIC_NUMBERS). DECIMAL is plain with its scale, where Flink by default writes 1E+2 for 100.
 * - Times carry as many fraction digits as they need, none for whole seconds: Flink's SQL_TIME_FORMAT is HH:mm:ss plus
 *   appendFraction(NANO_OF_SECOND, 0, 9, true), and ISO_LOCAL_TIME does the same. Flink cuts a TIME to whole seconds; we do not.
 * - Rows other than +I are refused: the format has no place for the row kind.
 */
#ifndef WEIR_TASKMANAGER_FORMATS_FMT_JSON_H
#define WEIR_TASKMANAGER_FORMATS_FMT_JSON_H

#include "taskmanager/formats/format.h"

extern const struct weir_format weir__fmt_json;

/* The writing half (fmt_json_write.c). */
enum weir_rc weir__fmt_json_encoder_create(const struct weir_table_spec *table, struct weir_encoder **out_encoder, struct weir_error *err);
void weir__fmt_json_encoder_destroy(struct weir_encoder *encoder);
enum weir_rc weir__fmt_json_encode(struct weir_encoder *encoder, const struct weir_batch *batch, const char *terminator, struct weir_buf *out,
                                   size_t *ends, struct weir_error *err);

/* json.timestamp-format.standard. INVALID names what is right. */
enum weir_rc weir__fmt_json_timestamp_iso(const struct weir_table_spec *table, bool *out_iso, struct weir_error *err) WEIR_CHECKED;

#endif
