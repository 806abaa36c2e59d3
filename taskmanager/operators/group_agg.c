/*
 * GROUP_AGG. State: key -> rows and accumulators; a key has a result while its rows are more than 0.
 *
 * G1  An input batch is a mini-batch: a key in it gives at most one change: +I when it got its first result, -U +U when the result
 *     differs, -D when its last row was taken back.
 * G2  Changes come in the order in which the batch first names the keys; -U stands directly before its +U.
 * G3  A key without rows has no state. A negative count (a -D that overtook its +I between two local aggregates) waits for its +I.
 */
#include "taskmanager/operators/group_agg.h"

#include "common/base/assert.h"
#include "common/plan/agg_partial.h"
#include "taskmanager/operators/agg_keys.h"
#include "taskmanager/operators/agg_set.h"
#include "taskmanager/operators/agg_snap.h"

enum {
    KEYS_PER_OUTPUT = WEIR_BATCH_ROWS_MAX / 2, /* each has two rows: the result before and after; the selection leaves out what is none */
    OUTPUTS_MAX = 2,
    STATE_VERSION = 1,
};

/* In the payload behind the rows. */
struct key_header {
    int64_t rows;
    uint64_t batch; /* number of the input batch that touched it last */
};

/* A key that the batch at hand names. */
struct touched {
    uint8_t *payload;
    struct weir_slice key;
    bool had;
    bool has;
};

struct group_agg {
    struct weir_op op;
    struct weir_agg_partial_layout layout; /* of partial input */
    uint32_t *key_columns;                 /* of the output: 0, 1, ... */
    struct weir_agg_set *set;
    struct weir_delta *state;
    struct weir_agg_snap *snap;
    struct weir_arena *arena; /* one batch's */
    uint64_t batches;
    struct weir_batch_builder builders[OUTPUTS_MAX];
};

static bool space_fits(const struct weir_op *op, int64_t space)
{
    (void)op;
    return space == 0;
}

static enum weir_rc group_open(struct weir_op *op, const struct weir_opspec *spec, struct weir_error *err)
{
    struct group_agg *group = (struct group_agg *)op;
    enum weir_rc rc = weir_agg_set_create(spec->u.agg.calls, spec->u.agg.ncalls, spec->u.agg.raw_input,
                                          sizeof(struct key_header) - sizeof(int64_t), op->ctx->conn.mem, &group->set, err);
    if (rc != WEIR_OK) {
        return weir_error_prefix(err, "%s", spec->uid);
    }
    group->layout = weir_agg_partial_layout(spec->u.agg.nkeys, false);
    group->key_columns = weir_calloc(spec->u.agg.nkeys, sizeof(*group->key_columns));
    for (uint32_t i = 0; i < spec->u.agg.nkeys; i++) {
        group->key_columns[i] = i;
    }
    group->arena = weir_arena_create(0);
    struct weir_delta_options options = {
        .payload_bytes = weir_agg_set_payload_bytes(group->set),
        .inline_key_bytes = weir_agg_key_bytes(spec),
        .mem = op->ctx->conn.mem,
    };
    weir_delta_own_groups(&options, op->ctx->conn.subtask, op->ctx->conn.parallelism, op->ctx->max_parallelism);
    group->state = weir_delta_create(&options);
    group->snap = weir_agg_snap_create(op, group->set, group->state, space_fits);
    return WEIR_OK;
}

static void group_close(struct weir_op *op)
{
    struct group_agg *group = (struct group_agg *)op;
    for (uint32_t i = 0; i < OUTPUTS_MAX; i++) {
        weir_batch_builder_fini(&group->builders[i]);
    }
    weir_agg_snap_destroy(group->snap);
    weir_delta_destroy(group->state);
    weir_agg_set_destroy(group->set);
    weir_arena_destroy(group->arena);
    weir_free(group->key_columns);
}

static struct key_header *header_of(uint8_t *payload)
{
    return (struct key_header *)(void *)payload;
}

/* The distinct keys of the batch in order of appearance. */
static struct touched *collect(struct group_agg *group, const struct weir_agg_rows *rows, uint32_t *out_count)
{
    struct touched *touched = weir_arena_alloc(group->arena, rows->keys.count * sizeof(*touched));
    uint32_t count = 0;
    uint64_t batch = ++group->batches;
    for (uint32_t i = 0; i < rows->keys.count; i++) {
        struct key_header *header = header_of(rows->payloads[i]);
        if (header->batch != batch) {
            header->batch = batch;
            touched[count++] = (struct touched){.payload = rows->payloads[i], .key = rows->keys.key[i]};
        }
    }
    *out_count = count;
    return touched;
}

/* Key t's rows in the output: builder t / KEYS_PER_OUTPUT, row before at twice the rest, after behind it. */
static enum weir_rc write_result(struct group_agg *group, const struct touched *touched, uint32_t t, bool after, struct weir_error *err)
{
    struct weir_batch_builder *builder = &group->builders[t / KEYS_PER_OUTPUT];
    uint32_t row = t % KEYS_PER_OUTPUT * 2 + (after ? 1 : 0);
    uint32_t nkeys = group->op.spec->u.agg.nkeys;
    enum weir_rc rc = weir_rowkey_decode(touched->key, builder, group->key_columns, nkeys, row, err);
    return rc != WEIR_OK ? rc : weir_agg_set_results(group->set, touched->payload, builder, nkeys, row, err);
}

static enum weir_rc write_before(struct group_agg *group, struct touched *touched, uint32_t count, struct weir_error *err)
{
    for (uint32_t first = 0; first < count; first += KEYS_PER_OUTPUT) {
        uint32_t keys = count - first < KEYS_PER_OUTPUT ? count - first : KEYS_PER_OUTPUT;
        weir_batch_builder_init(&group->builders[first / KEYS_PER_OUTPUT], group->op.spec->output, keys * 2, group->op.ctx->conn.mem);
        group->builders[first / KEYS_PER_OUTPUT].nrows = keys * 2;
    }
    for (uint32_t t = 0; t < count; t++) {
        touched[t].had = weir_agg_payload_rows(touched[t].payload) > 0;
        if (touched[t].had) {
            enum weir_rc rc = write_result(group, &touched[t], t, false, err);
            if (rc != WEIR_OK) {
                return rc;
            }
        }
    }
    return WEIR_OK;
}

static enum weir_rc write_after(struct group_agg *group, struct touched *touched, uint32_t count, struct weir_error *err)
{
    for (uint32_t t = 0; t < count; t++) {
        touched[t].has = weir_agg_payload_rows(touched[t].payload) > 0;
        if (touched[t].has) {
            enum weir_rc rc = write_result(group, &touched[t], t, true, err);
            if (rc != WEIR_OK) {
                return rc;
            }
        }
    }
    return WEIR_OK;
}

/* Drops the state of keys without rows. */
static void forget_empty(struct group_agg *group, const struct touched *touched, uint32_t count)
{
    for (uint32_t t = 0; t < count; t++) {
        if (weir_agg_payload_rows(touched[t].payload) == 0) {
            weir_agg_set_release(group->set, touched[t].payload);
            weir_delta_erase(group->state, 0, touched[t].payload);
        }
    }
}

static bool same_value(const struct weir_column *col, uint32_t a, uint32_t b)
{
    bool null = weir_column_is_null(col, a);
    if (null || weir_column_is_null(col, b)) {
        return null && weir_column_is_null(col, b);
    }
    if (col->type.id == WEIR_TYPE_BOOLEAN) {
        return weir_column_bool(col, a) == weir_column_bool(col, b);
    }
    if (weir_type_is_string(col->type.id)) {
        return weir_slice_eq(weir_column_slice(col, a), weir_column_slice(col, b));
    }
    uint32_t width = weir_type_width(col->type.id);
    return memcmp(col->values->data + (size_t)a * width, col->values->data + (size_t)b * width, width) == 0;
}

static bool same_result(const struct group_agg *group, const struct weir_batch *batch, uint32_t before_row)
{
    for (uint32_t i = group->op.spec->u.agg.nkeys; i < batch->ncols; i++) {
        if (!same_value(&batch->cols[i], before_row, before_row + 1)) {
            return false;
        }
    }
    return true;
}

static void set_kinds(struct weir_batch_builder *builder, const struct touched *touched, uint32_t count)
{
    for (uint32_t t = 0; t < count; t++) {
        if (touched[t].had) {
            weir_batch_builder_set_kind(builder, t * 2, touched[t].has ? WEIR_UPDATE_BEFORE : WEIR_DELETE);
            weir_batch_builder_set_kind(builder, t * 2 + 1, WEIR_UPDATE_AFTER);
        }
    }
}

/* Finishes and emits one output: the rows that are changes, selected. */
static void emit_changes(struct group_agg *group, struct weir_batch_builder *builder, const struct touched *touched, uint32_t count)
{
    set_kinds(builder, touched, count);
    struct weir_batch *batch = weir_batch_builder_finish(builder);
    weir_batch_builder_fini(builder);
    struct weir_buffer *sel = weir_buffer_create(count * 2 * sizeof(uint16_t), group->op.ctx->conn.mem);
    uint16_t *rows = (uint16_t *)(void *)sel->data;
    uint32_t nrows = 0;
    for (uint32_t t = 0; t < count; t++) {
        if (touched[t].had && touched[t].has && same_result(group, batch, t * 2)) {
            continue;
        }
        if (touched[t].had) {
            rows[nrows++] = (uint16_t)(t * 2);
        }
        if (touched[t].has) {
            rows[nrows++] = (uint16_t)(t * 2 + 1);
        }
    }
    if (nrows == 0) {
        weir_buffer_unref(sel);
    } else {
        weir_op_emit(&group->op, weir_batch_select_take(batch, sel, nrows));
    }
    weir_batch_unref(batch);
}

static enum weir_rc apply(struct group_agg *group, struct weir_agg_rows *rows, struct weir_error *err)
{
    bool partial = group->op.spec->u.agg.partial;
    const int8_t *signs = NULL;
    enum weir_rc rc = partial ? WEIR_OK : weir_agg_set_signs(group->set, rows->batch, &signs, err);
    if (rc == WEIR_OK) {
        rc = weir_agg_rows_lookup(&group->op, group->state, rows, err);
    }
    if (rc != WEIR_OK) {
        return rc;
    }
    uint32_t count = 0;
    struct touched *touched = collect(group, rows, &count);
    rc = write_before(group, touched, count, err);
    if (rc == WEIR_OK && partial) {
        rc = weir_agg_set_merge_partials(group->set, rows->batch, group->layout.partials, group->layout.rows, rows->payloads, err);
    } else if (rc == WEIR_OK) {
        rc = weir_agg_set_update(group->set, rows->batch, group->op.ctx->now_ms, rows->payloads, signs, err);
    }
    if (rc == WEIR_OK) {
        rc = write_after(group, touched, count, err);
    }
    if (rc != WEIR_OK) {
        return rc;
    }
    forget_empty(group, touched, count);
    for (uint32_t first = 0; first < count; first += KEYS_PER_OUTPUT) {
        uint32_t keys = count - first < KEYS_PER_OUTPUT ? count - first : KEYS_PER_OUTPUT;
        emit_changes(group, &group->builders[first / KEYS_PER_OUTPUT], touched + first, keys);
    }
    return WEIR_OK;
}

static enum weir_rc group_process(struct weir_op *op, uint32_t input, struct weir_batch *batch, struct weir_error *err)
{
    weir_assert(input == 0);
    struct group_agg *group = (struct group_agg *)op;
    struct weir_agg_rows rows;
    enum weir_rc rc = weir_agg_rows_make(op->spec, NULL, INT64_MIN, op->ctx->late_dropped, batch, group->arena, &rows, err);
    if (rc != WEIR_OK || rows.batch == NULL) {
        return rc;
    }
    rc = apply(group, &rows, err);
    weir_batch_unref(rows.batch);
    return rc == WEIR_OK ? WEIR_OK : weir_error_prefix(err, "%s", op->spec->uid);
}

/* Version 1: u8 version | the keys (agg_snap.h). A key's last batch is no state: the numbers begin anew. */
static enum weir_rc group_snapshot(struct weir_op *op, uint64_t checkpoint, struct weir_buf *out, struct weir_error *err)
{
    (void)err;
    struct group_agg *group = (struct group_agg *)op;
    weir_buf_put_u8(out, STATE_VERSION);
    weir_agg_snap_begin(group->snap, checkpoint, out);
    return WEIR_OK;
}

static enum weir_rc group_background(struct weir_op *op, struct weir_buf *out, bool *out_any, struct weir_error *err)
{
    enum weir_rc rc = weir_agg_snap_background(((struct group_agg *)op)->snap, out, out_any, err);
    return rc == WEIR_OK || rc == WEIR_AGAIN ? rc : weir_error_prefix(err, "%s", op->spec->uid);
}

static enum weir_rc group_notify(struct weir_op *op, uint64_t checkpoint, struct weir_error *err)
{
    (void)err;
    weir_agg_snap_notify(((struct group_agg *)op)->snap, checkpoint);
    return WEIR_OK;
}

static enum weir_rc group_restore(struct weir_op *op, uint64_t checkpoint, struct weir_slice state, struct weir_error *err)
{
    struct group_agg *group = (struct group_agg *)op;
    struct weir_reader reader = weir_reader(state);
    uint8_t version = weir_read_u8(&reader);
    enum weir_rc rc = WEIR_OK;
    if (reader.failed || version != STATE_VERSION) {
        rc = weir_error_set(err, WEIR_CORRUPT, "aggregate state of version %u, expected %d", version, STATE_VERSION);
    } else {
        rc = weir_agg_snap_restore(group->snap, checkpoint, reader.rest, err);
    }
    return rc == WEIR_OK || rc == WEIR_AGAIN ? rc : weir_error_prefix(err, "%s", op->spec->uid);
}

static enum weir_rc group_restored(struct weir_op *op, struct weir_error *err)
{
    enum weir_rc rc = weir_agg_snap_restored(((struct group_agg *)op)->snap, err);
    return rc == WEIR_OK ? WEIR_OK : weir_error_prefix(err, "%s", op->spec->uid);
}

/* Only restoring ever says AGAIN. */
static enum weir_rc group_resume(struct weir_op *op, struct weir_error *err)
{
    enum weir_rc rc = weir_agg_snap_resume(((struct group_agg *)op)->snap, err);
    return rc == WEIR_OK || rc == WEIR_AGAIN ? rc : weir_error_prefix(err, "%s", op->spec->uid);
}

const struct weir_op_vtable weir_group_agg_op = {
    .name = "group_agg",
    .op_bytes = sizeof(struct group_agg),
    .open = group_open,
    .close = group_close,
    .process = group_process,
    .snapshot = group_snapshot,
    .background = group_background,
    .notify = group_notify,
    .restore = group_restore,
    .restored = group_restored,
    .resume = group_resume,
};
