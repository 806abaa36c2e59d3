/*
 * The aggregates of one operator, together: a payload (what a state slot holds) is
 *
 *     int64_t rows | header_bytes of the operator's own | the accumulators one behind the other
 *
 * and these functions update, merge, encode and read whole payloads. Arguments and FILTER clauses are evaluated a batch at a time; an
 * argument under a FILTER only for the rows that pass it (so SUM(1 / x) FILTER (WHERE x <> 0) never divides by zero).
 *
 * A payload of zeros is empty: it merges as nothing.
 */
#ifndef WEIR_TASKMANAGER_OPERATORS_AGG_SET_H
#define WEIR_TASKMANAGER_OPERATORS_AGG_SET_H

#include "common/data/batch.h"
#include "common/plan/opspec.h"

struct weir_agg_set;

/* For the calls over rows of raw_input. header_bytes: multiple of 8. The calls outlive the set. One thread. UNSUPPORTED, INVALID. */
enum weir_rc weir_agg_set_create(const struct weir_agg_call *calls, uint32_t ncalls, const struct weir_schema *raw_input,
                                 uint32_t header_bytes, struct weir_mem *mem, struct weir_agg_set **out_set, struct weir_error *err)
    WEIR_CHECKED;
void weir_agg_set_destroy(struct weir_agg_set *set); /* accepts NULL */

uint32_t weir_agg_set_payload_bytes(const struct weir_agg_set *set);

/* Net rows of a payload. */
static inline int64_t weir_agg_payload_rows(const uint8_t *payload)
{
    return *(const int64_t *)(const void *)payload;
}

/* The signs of the batch's logical rows (+1; -1 for -U and -D) in the set's scratch, valid until the next call; NULL when all are +1.
 * UNSUPPORTED: a retraction, and an aggregate that cannot take rows back. */
enum weir_rc weir_agg_set_signs(struct weir_agg_set *set, const struct weir_batch *batch, const int8_t **out_signs,
                                struct weir_error *err) WEIR_CHECKED;

/* Adds logical row i of a raw batch to payloads[i], with signs[i] when signs is not NULL. DATA: an argument or a sum failed. */
enum weir_rc weir_agg_set_update(struct weir_agg_set *set, struct weir_batch *batch, int64_t now_ms, uint8_t *const *payloads,
                                 const int8_t *signs, struct weir_error *err) WEIR_CHECKED;

/* into += from, rows included. */
enum weir_rc weir_agg_set_merge(struct weir_agg_set *set, uint8_t *into, const uint8_t *from, struct weir_error *err) WEIR_CHECKED;

/* Replaces out by the accumulators' bytes ($partials of common/plan/agg_partial.h): per call the raw accumulator, or u32 length and its
 * own encoding. merge_encoded adds them (not the rows). CORRUPT. */
void weir_agg_set_encode(const struct weir_agg_set *set, const uint8_t *payload, struct weir_buf *out);
enum weir_rc weir_agg_set_merge_encoded(struct weir_agg_set *set, uint8_t *payload, struct weir_slice bytes, struct weir_error *err)
    WEIR_CHECKED;

/* A whole payload but for the operator's header, for snapshots: i64 rows | the accumulators as above. encode appends; decode fills a zeroed
 * payload. CORRUPT: what was taken over is still to be released. */
void weir_agg_set_encode_payload(const struct weir_agg_set *set, const uint8_t *payload, struct weir_buf *out);
enum weir_rc weir_agg_set_decode_payload(struct weir_agg_set *set, struct weir_slice bytes, uint8_t *payload, struct weir_error *err)
    WEIR_CHECKED;

/* Adds logical row i of a batch of partial rows to payloads[i], $rows included. CORRUPT, DATA. */
enum weir_rc weir_agg_set_merge_partials(struct weir_agg_set *set, const struct weir_batch *batch, uint32_t partials_column,
                                         uint32_t rows_column, uint8_t *const *payloads, struct weir_error *err) WEIR_CHECKED;

/* Writes the results at `row` of the builder's columns from first_column on. */
enum weir_rc weir_agg_set_results(const struct weir_agg_set *set, const uint8_t *payload, struct weir_batch_builder *builder,
                                  uint32_t first_column, uint32_t row, struct weir_error *err) WEIR_CHECKED;

/* Frees what the payload holds outside of it and zeroes it. */
void weir_agg_set_release(struct weir_agg_set *set, uint8_t *payload);

/* Whether payloads hold anything outside: if not, they may just be forgotten. */
bool weir_agg_set_needs_release(const struct weir_agg_set *set);

#endif
