/*
 * The rows that LOCAL_AGG sends to WINDOW_AGG and GROUP_AGG:
 *
 *     $slice_end BIGINT NOT NULL   windowed only: end of the slice, milliseconds
 *     the key columns              names and types as in the raw input
 *     $partials VARBINARY NOT NULL every call's partial accumulator, in the order of the calls
 *     $rows BIGINT NOT NULL        raw rows in it
 *
 * Names that begin with `$` are refused in job files, so no key can have one of these.
 */
#ifndef WEIR_COMMON_PLAN_AGG_PARTIAL_H
#define WEIR_COMMON_PLAN_AGG_PARTIAL_H

#include "common/plan/opspec.h"

/* Places of the columns above. */
struct weir_agg_partial_layout {
    int32_t slice_end; /* WEIR_NO_COLUMN without a window */
    uint32_t first_key; /* the keys stand side by side from here */
    uint32_t partials;
    uint32_t rows;
    uint32_t count; /* of all columns */
};

struct weir_agg_partial_layout weir_agg_partial_layout(uint32_t nkeys, bool windowed);

/* The schema (one reference, the caller's). keys are columns of raw. INVALID, EXISTS, LIMIT as weir_schema_create. */
enum weir_rc weir_agg_partial_schema(const struct weir_schema *raw, const uint32_t *keys, uint32_t nkeys, bool windowed,
                                     struct weir_schema **out_schema, struct weir_error *err) WEIR_CHECKED;

/* The schema of what the final aggregate gives: window_start, window_end (windowed only), keys, calls. */
enum weir_rc weir_agg_output_schema(const struct weir_schema *raw, const uint32_t *keys, uint32_t nkeys,
                                    const struct weir_agg_call *calls, uint32_t ncalls, bool windowed,
                                    struct weir_schema **out_schema, struct weir_error *err) WEIR_CHECKED;

#endif
