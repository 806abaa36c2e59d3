/*
 * Text for people: aligned tables, durations, counts. Pure: all output goes to a buffer.
 */
#ifndef WEIR_CLIENT_RENDER_H
#define WEIR_CLIENT_RENDER_H

#include "common/base/buf.h"

enum { WEIR_TABLE_COLUMNS_MAX = 12, WEIR_RENDER_TEXT = 32 };

/* Rows of texts under headings; columns are as wide as their widest text (counted in characters of UTF-8). */
struct weir_table;

/* headings: of the columns, ended by NULL, borrowed. One that begins with '>' is aligned right (the '>' is not shown). */
struct weir_table *weir_table_create(const char *const *headings);
void weir_table_destroy(struct weir_table *table);

/* The next cell, left to right; rows begin by themselves. text is copied; control characters are shown as '?', so that a job's name
 * cannot write to the terminal. */
void weir_table_add(struct weir_table *table, const char *text);
void weir_table_add_int(struct weir_table *table, int64_t value);

/* Appends headings and rows, two spaces between columns, no trailing spaces. */
void weir_table_render(const struct weir_table *table, struct weir_buf *out);

/* "1.4 s", "2 min 5 s", "3 h 2 min", "-" when negative. */
const char *weir_render_duration(int64_t ms, char out[WEIR_RENDER_TEXT]);

/* "12.3 MB": powers of 1024, as in the configuration. */
const char *weir_render_bytes(int64_t bytes, char out[WEIR_RENDER_TEXT]);

/* "2026-11-21 07:11:52" in UTC, "-" when negative. */
const char *weir_render_time(int64_t wall_ms, char out[WEIR_RENDER_TEXT]);

#endif
