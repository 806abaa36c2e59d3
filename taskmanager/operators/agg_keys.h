/*
 * What the aggregating operators do with every batch before they look state up: slices from times, late rows out, keys.
 */
#ifndef WEIR_TASKMANAGER_OPERATORS_AGG_KEYS_H
#define WEIR_TASKMANAGER_OPERATORS_AGG_KEYS_H

#include "common/data/rowkey.h"
#include "taskmanager/operators/op.h"
#include "taskmanager/operators/window_slices.h"
#include "taskmanager/state/delta.h"

/* A batch's rows ready for lookup. Arrays lie in the arena the batch was prepared with. */
struct weir_agg_rows {
    struct weir_batch *batch; /* the rows that count: the given batch, or a narrower one; a reference. NULL: none */
    struct weir_rowkeys keys;
    int64_t *slice_ends;      /* NULL without windows */
    uint8_t **payloads;       /* room for the lookup */
};

/* slices may be NULL (no windows). Rows of slices that end at or before late_through_ms are left out and their number (of raw rows) is
 * added to *late_dropped; rows in no window are left out. arena is reset first. DATA: a row without time. */
enum weir_rc weir_agg_rows_make(const struct weir_opspec *spec, const struct weir_slices *slices, int64_t late_through_ms,
                                uint64_t *late_dropped, struct weir_batch *batch, struct weir_arena *arena,
                                struct weir_agg_rows *out_rows, struct weir_error *err) WEIR_CHECKED;

/* Leaves out further rows of windows: those that `late` says are, by their key's hash and their slice; they are counted as above. out_rows->batch
 * becomes NULL when none is left. The arena is the one they were made with. */
void weir_agg_rows_drop_late(const struct weir_opspec *spec, bool (*late)(const void *ctx, uint64_t hash, int64_t slice_end_ms), const void *ctx,
                             uint64_t *late_dropped, struct weir_arena *arena, struct weir_agg_rows *rows);

/* The spec's keys in a batch of the operator's input: keys[i] of raw rows, side by side in partial ones. In the arena. */
const uint32_t *weir_agg_key_columns(const struct weir_opspec *spec, struct weir_arena *arena);

/* Bytes of the greatest encoded key if the key columns are all of fixed width, else a guess that holds most: for the slot. */
uint32_t weir_agg_key_bytes(const struct weir_opspec *spec);

/* Looks the rows up; RESOURCE when the budget has no room for more state. */
enum weir_rc weir_agg_rows_lookup(struct weir_op *op, struct weir_delta *delta, const struct weir_agg_rows *rows, struct weir_error *err)
    WEIR_CHECKED;

#endif
