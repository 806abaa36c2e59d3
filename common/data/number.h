/*
 * Numbers as text, fast and exact; shared by JSON, CAST, CSV.
 */
#ifndef WEIR_COMMON_DATA_NUMBER_H
#define WEIR_COMMON_DATA_NUMBER_H

#include "common/base/buf.h"
#include "common/base/rc.h"

enum { WEIR_NUMBER_TEXT_MAX = 64 };

/* Writers return the length written into out (not NUL-terminated). Doubles are written shortest-round-trip in Java's Double.toString
 * manner as Flink's JSON prints them: "1.0", "0.125", "1.0E10". */
uint32_t weir_i64_write(int64_t value, char out[WEIR_NUMBER_TEXT_MAX]);
uint32_t weir_f64_write(double value, char out[WEIR_NUMBER_TEXT_MAX]);
uint32_t weir_f32_write(float value, char out[WEIR_NUMBER_TEXT_MAX]);
uint32_t weir_decimal_write(__int128 unscaled, uint8_t scale, char out[WEIR_NUMBER_TEXT_MAX]);

/* Readers take the whole text (no blanks): INVALID when it is not a number, LIMIT when it does not fit. Doubles are correctly rounded
 * (fast path for up to 19 digits and small exponents, strtod otherwise). Decimals round half up to scale, LIMIT beyond precision. */
enum weir_rc weir_i64_read(struct weir_slice text, int64_t *out_value) WEIR_CHECKED;
enum weir_rc weir_f64_read(struct weir_slice text, double *out_value) WEIR_CHECKED;
enum weir_rc weir_decimal_read(struct weir_slice text, uint8_t precision, uint8_t scale, __int128 *out_unscaled) WEIR_CHECKED;

#endif
