/*
 * The table that receives bad records (`on-error: {table: T}`): it may have these columns, in any order, and no others.
 */
#ifndef WEIR_COMMON_CATALOG_ERROR_TABLE_H
#define WEIR_COMMON_CATALOG_ERROR_TABLE_H

#include "common/data/schema.h"

#define WEIR_ERROR_COLUMN_RAW "raw"           /* BYTES: the record as it was read, cut to record.bytes.max */
#define WEIR_ERROR_COLUMN_POSITION "position" /* STRING: where it was: "orders.jsonl:17", "topic-3@1042" */
#define WEIR_ERROR_COLUMN_REASON "reason"     /* STRING: what is wrong with it */

/* INVALID: a column that is none of them or has another type, naming both. */
enum weir_rc weir_error_table_check(const struct weir_schema *schema, struct weir_error *err) WEIR_CHECKED;

#endif
