#include "taskmanager/operators/agg_keys.h"

#include "common/base/assert.h"
#include "common/plan/agg_partial.h"

enum { STRING_KEY_BYTES_GUESS = 16, SLOT_KEY_BYTES_MAX = 64 };

const uint32_t *weir_agg_key_columns(const struct weir_opspec *spec, struct weir_arena *arena)
{
    if (!spec->u.agg.partial) {
        return spec->u.agg.keys;
    }
    struct weir_agg_partial_layout layout = weir_agg_partial_layout(spec->u.agg.nkeys, spec->u.agg.window.kind != WEIR_WINDOW_NONE);
    uint32_t *cols = weir_arena_alloc(arena, spec->u.agg.nkeys * sizeof(*cols));
    for (uint32_t i = 0; i < spec->u.agg.nkeys; i++) {
        cols[i] = layout.first_key + i;
    }
    return cols;
}

uint32_t weir_agg_key_bytes(const struct weir_opspec *spec)
{
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < spec->u.agg.nkeys; i++) {
        enum weir_type_id id = weir_schema_field(spec->u.agg.raw_input, spec->u.agg.keys[i])->type.id;
        uint32_t width = weir_type_width(id);
        bytes += 1 + (weir_type_is_string(id) ? STRING_KEY_BYTES_GUESS : width == 0 ? 1 : width);
    }
    return bytes < SLOT_KEY_BYTES_MAX ? bytes : SLOT_KEY_BYTES_MAX;
}

static enum weir_rc check_times(const struct weir_column *time, const uint16_t *sel, uint32_t count, const char *uid,
                                struct weir_error *err)
{
    for (uint32_t i = 0; time->validity != NULL && i < count; i++) {
        if (weir_column_is_null(time, sel == NULL ? i : sel[i])) {
            return weir_error_set(err, WEIR_DATA,
                                  "%s: RowTime field should not be null: a row without event time cannot be put into a window; "
                                  "filter such rows out before the window",
                                  uid);
        }
    }
    return WEIR_OK;
}

/* The rows' slice ends, by logical row. */
static enum weir_rc slice_ends_of(const struct weir_opspec *spec, const struct weir_slices *slices, const struct weir_batch *batch,
                                  int64_t *slice_ends, struct weir_error *err)
{
    const uint16_t *sel = weir_batch_sel(batch);
    uint32_t count = weir_batch_rows(batch);
    if (!spec->u.agg.partial) {
        const struct weir_column *time = &batch->cols[spec->u.agg.window.time_column];
        enum weir_rc rc = check_times(time, sel, count, spec->uid, err);
        if (rc == WEIR_OK) {
            weir_slices_assign(slices, WEIR_COLUMN_VALUES(time, const int64_t), sel, count, slice_ends);
        }
        return rc;
    }
    struct weir_agg_partial_layout layout = weir_agg_partial_layout(spec->u.agg.nkeys, true);
    const int64_t *ends = WEIR_COLUMN_VALUES(&batch->cols[layout.slice_end], const int64_t);
    for (uint32_t i = 0; i < count; i++) {
        slice_ends[i] = ends[sel == NULL ? i : sel[i]];
    }
    return WEIR_OK;
}

/* Raw rows in a row of the input. */
static uint64_t weight_of(const struct weir_opspec *spec, const struct weir_batch *batch, uint32_t row)
{
    if (!spec->u.agg.partial) {
        return 1;
    }
    struct weir_agg_partial_layout layout = weir_agg_partial_layout(spec->u.agg.nkeys, true);
    int64_t rows = WEIR_COLUMN_VALUES(&batch->cols[layout.rows], const int64_t)[row];
    return rows > 0 ? (uint64_t)rows : 0;
}

/* Leaves out late rows and rows in no window: the narrower batch (NULL: nothing left), its slice ends moved up. */
static struct weir_batch *narrow(const struct weir_opspec *spec, const struct weir_slices *slices, int64_t late_through_ms,
                                 uint64_t *late_dropped, struct weir_batch *batch, int64_t *slice_ends)
{
    const uint16_t *sel = weir_batch_sel(batch);
    uint32_t count = weir_batch_rows(batch);
    uint32_t first = 0;
    bool gaps = slices->slide_ms > slices->size_ms;
    while (first < count && slice_ends[first] > late_through_ms && !(gaps && weir_slices_in_gap(slices, slice_ends[first]))) {
        first++;
    }
    if (first == count) {
        return weir_batch_ref(batch);
    }
    struct weir_buffer *kept = weir_buffer_create(count * sizeof(uint16_t), batch->mem);
    uint16_t *rows = (uint16_t *)(void *)kept->data;
    uint32_t nkept = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t row = sel == NULL ? i : sel[i];
        if (gaps && weir_slices_in_gap(slices, slice_ends[i])) {
            continue;
        }
        if (slice_ends[i] <= late_through_ms) {
            *late_dropped += weight_of(spec, batch, row);
            continue;
        }
        slice_ends[nkept] = slice_ends[i];
        rows[nkept++] = (uint16_t)row;
    }
    if (nkept == 0) {
        weir_buffer_unref(kept);
        return NULL;
    }
    return weir_batch_select_take(batch, kept, nkept);
}

enum weir_rc weir_agg_rows_make(const struct weir_opspec *spec, const struct weir_slices *slices, int64_t late_through_ms,
                                uint64_t *late_dropped, struct weir_batch *batch, struct weir_arena *arena,
                                struct weir_agg_rows *out_rows, struct weir_error *err)
{
    weir_arena_reset(arena);
    uint32_t count = weir_batch_rows(batch);
    struct weir_agg_rows rows = {.batch = batch};
    if (slices != NULL) {
        rows.slice_ends = weir_arena_alloc(arena, count * sizeof(*rows.slice_ends));
        enum weir_rc rc = slice_ends_of(spec, slices, batch, rows.slice_ends, err);
        if (rc != WEIR_OK) {
            return rc;
        }
        rows.batch = narrow(spec, slices, late_through_ms, late_dropped, batch, rows.slice_ends);
    } else {
        rows.batch = count == 0 ? NULL : weir_batch_ref(batch);
    }
    if (rows.batch != NULL && weir_batch_rows(rows.batch) == 0) {
        weir_batch_unref(rows.batch);
        rows.batch = NULL;
    }
    if (rows.batch != NULL) {
        weir_rowkeys_make(rows.batch, weir_agg_key_columns(spec, arena), spec->u.agg.nkeys, arena, &rows.keys);
        rows.payloads = weir_arena_alloc(arena, rows.keys.count * sizeof(*rows.payloads));
    }
    *out_rows = rows;
    return WEIR_OK;
}

void weir_agg_rows_drop_late(const struct weir_opspec *spec, bool (*late)(const void *ctx, uint64_t hash, int64_t slice_end_ms), const void *ctx,
                             uint64_t *late_dropped, struct weir_arena *arena, struct weir_agg_rows *rows)
{
    uint32_t count = rows->keys.count;
    uint32_t kept = 0;
    const uint16_t *sel = weir_batch_sel(rows->batch);
    struct weir_buffer *rest = weir_buffer_create(count * sizeof(uint16_t), rows->batch->mem);
    uint16_t *numbers = (uint16_t *)(void *)rest->data;
    uint64_t *hashes = weir_arena_alloc(arena, count * sizeof(*hashes));
    struct weir_slice *keys = weir_arena_alloc(arena, count * sizeof(*keys));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t row = sel == NULL ? i : sel[i];
        if (late(ctx, rows->keys.hash[i], rows->slice_ends[i])) {
            *late_dropped += weight_of(spec, rows->batch, row);
            continue;
        }
        numbers[kept] = (uint16_t)row;
        hashes[kept] = rows->keys.hash[i];
        keys[kept] = rows->keys.key[i];
        rows->slice_ends[kept++] = rows->slice_ends[i];
    }
    if (kept == count) {
        weir_buffer_unref(rest);
        return;
    }
    struct weir_batch *whole = rows->batch;
    rows->batch = NULL;
    if (kept == 0) {
        weir_buffer_unref(rest);
    } else {
        rows->batch = weir_batch_select_take(whole, rest, kept);
    }
    weir_batch_unref(whole);
    rows->keys = (struct weir_rowkeys){.count = kept, .hash = hashes, .key = keys};
}

enum weir_rc weir_agg_rows_lookup(struct weir_op *op, struct weir_delta *delta, const struct weir_agg_rows *rows, struct weir_error *err)
{
    uint64_t before = weir_delta_bytes(delta);
    enum weir_rc rc =
        weir_delta_get_many(delta, rows->slice_ends, rows->keys.hash, rows->keys.key, rows->keys.count, rows->payloads, NULL);
    *op->ctx->state_bytes += weir_delta_bytes(delta) - before;
    if (rc == WEIR_AGAIN) {
        /* Waiting would not help: nothing but this task's own progress could free its state. */
        const struct weir_mem *mem = op->ctx->conn.mem;
        return weir_error_set(err, WEIR_RESOURCE,
                              "%s: no memory for more state: %llu keys in %llu bytes here, %llu of %llu bytes of the budget in use; "
                              "raise taskmanager.memory.size",
                              op->spec->uid, (unsigned long long)weir_delta_entries(delta), (unsigned long long)weir_delta_bytes(delta),
                              (unsigned long long)weir_mem_used(mem), (unsigned long long)weir_mem_limit(mem));
    }
    return rc;
}
