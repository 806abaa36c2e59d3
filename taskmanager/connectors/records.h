/*
 * What every source with a format does with its records: decode them, and treat bad ones as the table's on-error says.
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_RECORDS_H
#define WEIR_TASKMANAGER_CONNECTORS_RECORDS_H

#include "taskmanager/connectors/connector.h"

struct weir_records;

enum { WEIR_RECORD_POSITION_MAX = 256 };

/* Writes where record `idx` of the call stands ("/in/x.jsonl: line 17") into out, NUL-terminated. */
struct weir_record_position {
    void (*format)(void *ctx, uint32_t idx, char out[WEIR_RECORD_POSITION_MAX]);
    void *ctx;
};

/* A decoder for ctx->table; ctx outlives it. INVALID: an option. */
enum weir_rc weir__records_create(const struct weir_conn_ctx *ctx, struct weir_records **out_records, struct weir_error *err) WEIR_CHECKED;
void weir__records_destroy(struct weir_records *records); /* accepts NULL */

/* Decodes records[0..count) in order until done or the builder is full. *out_used is how many were dealt with, bad ones that are skipped
 * or given to ctx->bad_records included (counted in ctx->errors_skipped). DATA: with on-error fail, err names the position, the record's
 * first bytes and the reason. */
enum weir_rc weir__records_decode(struct weir_records *records, const struct weir_slice *slices, uint32_t count,
                                  struct weir_record_position position, struct weir_batch_builder *builder, uint32_t *out_used,
                                  struct weir_error *err) WEIR_CHECKED;

/* A record that cannot even be decoded (too long, ...), for err->text's reason: OK when it was skipped or given to the table of bad records
 * (counted), else DATA. `head` is as much of it as there is. */
enum weir_rc weir__records_bad(struct weir_records *records, struct weir_slice head, const char *position, struct weir_error *err) WEIR_CHECKED;

#endif
