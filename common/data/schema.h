/*
 * A schema: the names and types of a batch's columns, which of them is the event time, and the changelog's key. Immutable and
 * reference counted after it is built; shared between threads.
 */
#ifndef WEIR_COMMON_DATA_SCHEMA_H
#define WEIR_COMMON_DATA_SCHEMA_H

#include "common/base/limits.h"
#include "common/data/type.h"

struct weir_field {
    const char *name; /* owned by the schema */
    struct weir_type type;
};

enum { WEIR_NO_COLUMN = -1 };

struct weir_schema;

/* A schema with one reference. Copies the fields. time_column: index of the event-time column (TIMESTAMP or TIMESTAMP_LTZ) or
 * WEIR_NO_COLUMN. EXISTS: a name stands twice; LIMIT: more than WEIR_COLUMNS_MAX; INVALID. */
enum weir_rc weir_schema_create(const struct weir_field *fields, uint32_t count, int32_t time_column,
                                struct weir_schema **out_schema, struct weir_error *err) WEIR_CHECKED;
struct weir_schema *weir_schema_ref(const struct weir_schema *schema);
void weir_schema_unref(const struct weir_schema *schema); /* accepts NULL */

uint32_t weir_schema_count(const struct weir_schema *schema);
const struct weir_field *weir_schema_field(const struct weir_schema *schema, uint32_t i);
int32_t weir_schema_time_column(const struct weir_schema *schema);

/* Index of the column of that name (case-sensitive, as in Flink), or WEIR_NO_COLUMN. */
int32_t weir_schema_find(const struct weir_schema *schema, struct weir_slice name);

/* Same names, types (nullability aside) and order. */
bool weir_schema_same(const struct weir_schema *a, const struct weir_schema *b);

/* "(a INT, b STRING)" for messages. */
void weir_schema_format(const struct weir_schema *schema, struct weir_buf *out);

#endif
