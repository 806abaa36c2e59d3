/*
 * Bad records on their way to the table that on-error names: rows with what was read, where, and why it is bad
 * (common/plan/error_table.h has the columns).
 *
 * One thread, the task's. It may hold more than a batch: what one poll of a source meets is bounded by what the source reads at once.
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_BAD_RECORDS_H
#define WEIR_TASKMANAGER_CONNECTORS_BAD_RECORDS_H

#include "common/data/batch.h"
#include "common/plan/opspec.h"

struct weir_bad_records;

/* For a table whose on_error is TABLE; it outlives the object. Batches are charged to mem. INVALID: the error table's columns. */
enum weir_rc weir_bad_records_create(const struct weir_table_spec *table, struct weir_mem *mem, struct weir_bad_records **out_bad,
                                     struct weir_error *err) WEIR_CHECKED;
void weir_bad_records_destroy(struct weir_bad_records *bad); /* accepts NULL */

/* Adds a row; everything is copied. */
void weir_bad_records_add(struct weir_bad_records *bad, struct weir_slice record, const char *position, const char *reason);

/* The oldest rows as a batch of the error table's schema, the caller's; NULL when there are none (any more). */
struct weir_batch *weir_bad_records_take(struct weir_bad_records *bad);

#endif
