/*
 * LOCAL_AGG. Groups are (slice, key). They are given out as partial rows when the flush hook asks or when there are too many; both can
 * stop in the middle when the output is full.
 */
#include "taskmanager/operators/local_agg.h"

#include "common/base/assert.h"
#include "common/plan/agg_partial.h"
#include "taskmanager/operators/agg_keys.h"
#include "taskmanager/operators/agg_set.h"

enum { GROUPS_MAX = 64 << 10, GROUPS_BYTES_MAX = 4 << 20 };

struct local_agg {
    struct weir_op op;
    struct weir_slices slices;
    bool windowed;
    struct weir_agg_partial_layout layout;
    uint32_t *key_columns; /* of the output */
    struct weir_agg_set *set;
    struct weir_delta *groups;
    struct weir_arena *arena; /* one batch's */
    struct weir_buf partials; /* scratch */
    /* The flush under way. */
    bool flushing;
    int64_t slice_end;
    struct weir_delta_cursor cursor;
    struct weir_batch_builder builder;
    bool building;
};

static enum weir_rc local_open(struct weir_op *op, const struct weir_opspec *spec, struct weir_error *err)
{
    struct local_agg *local = (struct local_agg *)op;
    local->windowed = spec->u.agg.window.kind != WEIR_WINDOW_NONE;
    if (local->windowed) {
        enum weir_rc rc = weir_slices_init(&local->slices, &spec->u.agg.window, err);
        if (rc != WEIR_OK) {
            return weir_error_prefix(err, "%s", spec->uid);
        }
    }
    local->layout = weir_agg_partial_layout(spec->u.agg.nkeys, local->windowed);
    local->key_columns = weir_calloc(spec->u.agg.nkeys, sizeof(*local->key_columns));
    for (uint32_t i = 0; i < spec->u.agg.nkeys; i++) {
        local->key_columns[i] = local->layout.first_key + i;
    }
    local->arena = weir_arena_create(0);
    enum weir_rc rc =
        weir_agg_set_create(spec->u.agg.calls, spec->u.agg.ncalls, spec->u.agg.raw_input, 0, op->ctx->conn.mem, &local->set, err);
    if (rc != WEIR_OK) {
        return weir_error_prefix(err, "%s", spec->uid);
    }
    struct weir_delta_options options = {
        .payload_bytes = weir_agg_set_payload_bytes(local->set),
        .inline_key_bytes = weir_agg_key_bytes(spec),
        .overdraw = true, /* bounded by the limits above */
        .mem = op->ctx->conn.mem,
    };
    local->groups = weir_delta_create(&options);
    return WEIR_OK;
}

static void local_close(struct weir_op *op)
{
    struct local_agg *local = (struct local_agg *)op;
    weir_delta_cursor_fini(&local->cursor);
    weir_batch_builder_fini(&local->builder);
    weir_delta_destroy(local->groups);
    weir_agg_set_destroy(local->set);
    weir_arena_destroy(local->arena);
    weir_buf_fini(&local->partials);
    weir_free(local->key_columns);
}

static enum weir_rc write_group(struct local_agg *local, const struct weir_delta_entry *entry, struct weir_error *err)
{
    if (!local->building) {
        uint64_t groups = weir_delta_entries(local->groups);
        weir_batch_builder_init(&local->builder, local->op.spec->output,
                                groups < WEIR_BATCH_ROWS_MAX ? (uint32_t)groups : WEIR_BATCH_ROWS_MAX, local->op.ctx->conn.mem);
        local->building = true;
    }
    struct weir_batch_builder *builder = &local->builder;
    uint32_t row = builder->nrows;
    if (local->windowed) {
        ((int64_t *)(void *)builder->cols[local->layout.slice_end].values)[row] = local->slice_end;
    }
    enum weir_rc rc = weir_rowkey_decode(entry->key, builder, local->key_columns, local->op.spec->u.agg.nkeys, row, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    weir_agg_set_encode(local->set, entry->payload, &local->partials);
    weir_column_builder_put_str(&builder->cols[local->layout.partials], row, weir_buf_slice(&local->partials));
    ((int64_t *)(void *)builder->cols[local->layout.rows].values)[row] = weir_agg_payload_rows(entry->payload);
    if (weir_agg_set_needs_release(local->set)) {
        weir_agg_set_release(local->set, entry->payload);
    }
    builder->nrows++;
    return WEIR_OK;
}

static void emit_built(struct local_agg *local)
{
    if (local->building) {
        struct weir_batch *batch = weir_batch_builder_finish(&local->builder);
        weir_batch_builder_fini(&local->builder);
        local->building = false;
        weir_op_emit(&local->op, batch);
    }
}

/* Gives out groups as long as the output has room. */
static enum weir_rc go_on(struct local_agg *local, struct weir_error *err)
{
    struct weir_op_ctx *ctx = local->op.ctx;
    while (weir_delta_spaces(local->groups) > 0) {
        if (!local->building && !ctx->output_ready(ctx->emit_ctx)) {
            return WEIR_AGAIN;
        }
        if (!local->flushing) {
            local->flushing = true;
            local->slice_end = weir_delta_space(local->groups, 0);
            weir_delta_cursor_init(&local->cursor, local->groups, local->slice_end);
        }
        struct weir_delta_entry entry;
        if (!weir_delta_cursor_next(&local->cursor, &entry)) {
            weir_delta_cursor_fini(&local->cursor);
            weir_delta_drop(local->groups, local->slice_end);
            local->flushing = false;
            continue;
        }
        enum weir_rc rc = write_group(local, &entry, err);
        if (rc != WEIR_OK) {
            return rc;
        }
        if (local->builder.nrows == local->builder.nrows_max || weir_batch_builder_bytes(&local->builder) >= WEIR_BATCH_BYTES_MAX) {
            emit_built(local);
        }
    }
    emit_built(local);
    return WEIR_OK;
}

static enum weir_rc local_process(struct weir_op *op, uint32_t input, struct weir_batch *batch, struct weir_error *err)
{
    weir_assert(input == 0);
    struct local_agg *local = (struct local_agg *)op;
    weir_assert(!local->flushing);
    struct weir_agg_rows rows;
    enum weir_rc rc = weir_agg_rows_make(op->spec, local->windowed ? &local->slices : NULL, INT64_MIN, op->ctx->late_dropped, batch,
                                         local->arena, &rows, err);
    if (rc != WEIR_OK || rows.batch == NULL) {
        return rc;
    }
    const int8_t *signs = NULL;
    rc = weir_agg_set_signs(local->set, rows.batch, &signs, err);
    if (rc == WEIR_OK) {
        rc = weir_delta_get_many(local->groups, rows.slice_ends, rows.keys.hash, rows.keys.key, rows.keys.count, rows.payloads, NULL);
        weir_assert(rc == WEIR_OK); /* may overdraw */
        rc = weir_agg_set_update(local->set, rows.batch, op->ctx->now_ms, rows.payloads, signs, err);
    }
    weir_batch_unref(rows.batch);
    if (rc != WEIR_OK) {
        return weir_error_prefix(err, "%s", op->spec->uid);
    }
    if (weir_delta_entries(local->groups) >= GROUPS_MAX || weir_delta_bytes(local->groups) >= GROUPS_BYTES_MAX) {
        return go_on(local, err);
    }
    return WEIR_OK;
}

/* Both flush and resume: whatever is held back goes out. */
static enum weir_rc local_flush(struct weir_op *op, struct weir_error *err)
{
    return go_on((struct local_agg *)op, err);
}

const struct weir_op_vtable weir_local_agg_op = {
    .name = "local_agg",
    .op_bytes = sizeof(struct local_agg),
    .open = local_open,
    .close = local_close,
    .process = local_process,
    .flush = local_flush,
    .resume = local_flush,
};
