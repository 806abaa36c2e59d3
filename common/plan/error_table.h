/*
 * The table that receives a source's bad records (`on-error: {table: T}`): which columns it may have.
 */
#ifndef WEIR_COMMON_PLAN_ERROR_TABLE_H
#define WEIR_COMMON_PLAN_ERROR_TABLE_H

#include "common/data/schema.h"

enum weir_error_column {
    WEIR_ERROR_COLUMN_RECORD,   /* what was read: STRING (bytes that are no UTF-8 become U+FFFD) or VARBINARY (as read) */
    WEIR_ERROR_COLUMN_POSITION, /* where it stands: STRING */
    WEIR_ERROR_COLUMN_REASON,   /* why it is bad: STRING */
    WEIR_ERROR_COLUMN_SOURCE,   /* the table that was read: STRING */
};

/* What column i, by its name, receives. INVALID: there is no such column, or not of this type. */
enum weir_rc weir_error_column(const struct weir_schema *schema, uint32_t i, enum weir_error_column *out_column, struct weir_error *err) WEIR_CHECKED;

/* Whether every column is one of these. INVALID. */
enum weir_rc weir_error_table_check(const struct weir_schema *schema, struct weir_error *err) WEIR_CHECKED;

#endif
