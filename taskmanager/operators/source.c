#include "taskmanager/operators/source.h"

#include "common/base/assert.h"
#include "common/base/hmap.h"
#include "common/base/vec.h"

enum { STATE_VERSION = 1, BUSY_MAX_MS = 100 };

struct split_state {
    struct weir_slice id, data; /* in the operator's arena: a checkpoint names its splits */
    int64_t max_time_ms; /* INT64_MIN: no row yet */
    int64_t last_row_ms; /* of the idle clock: when it last gave a row, or was added */
    struct weir_buf snapshot; /* its position in the newest snapshot */
    bool finished;
    bool idle;
};

struct weir_source_op {
    struct weir_conn_ctx conn_copy; /* *conn: with bad_records */
    const struct weir_conn_ctx *conn;
    struct weir_source *source;
    struct weir_arena *arena;
    struct split_state *splits;
    size_t nsplits;
    size_t splits_cap;
    bool bounded;
    uint64_t snapshot_checkpoint; /* the newest; 0: none */
    int64_t watermark_ms;     /* handed out */
    int64_t watermark_due_ms;
    int64_t watermark_at_ms;  /* monotonic: when one was last handed out */
    int64_t now_ms;
    int64_t idle_clock_ms;    /* runs while splits are asked for rows, and stands still while the task is busy with others or held up: what
                               * was not asked is not idle */
    int64_t idle_in_ms;       /* of the idle clock: until the next split may be idle */
    bool waiting;             /* the task waits for the connector */
    bool held_up;             /* the connector was asked, but may not read on: memory is full */
    bool idle;                /* handed out */
    bool read_all;
    bool ended;               /* handed out */
    /* While restoring. */
    struct weir_hmap *missing; /* ids of splits that no part had yet -> op; NULL: nothing is being restored */
    bool restored_own;
    int64_t restored_watermark_ms;
    struct weir_source_poll poll;
};

enum weir_rc weir_source_op_open(const struct weir_conn_ctx *conn, struct weir_source_op **out_op, struct weir_error *err)
{
    const struct weir_source_vtable *vtable = weir_conn_source(conn->table->connector);
    if (vtable == NULL) {
        return weir_error_set(err, WEIR_UNSUPPORTED, "table %s: this TaskManager has no source connector \"%s\"", conn->table->name,
                              conn->table->connector);
    }
    struct weir_source_op *op = weir_calloc(1, sizeof(*op));
    op->conn_copy = *conn;
    op->conn = &op->conn_copy;
    enum weir_rc rc = WEIR_OK;
    if (conn->table->on_error == WEIR_ON_ERROR_TABLE) {
        rc = weir_bad_records_create(conn->table, conn->mem, &op->conn_copy.bad_records, err);
    }
    rc = rc != WEIR_OK ? rc : vtable->create(op->conn, &op->source, err);
    if (rc != WEIR_OK) {
        weir_bad_records_destroy(op->conn_copy.bad_records);
        weir_free(op);
        return rc;
    }
    op->arena = weir_arena_create(0);
    op->bounded = vtable->bounded(conn->table);
    op->watermark_ms = INT64_MIN;
    op->watermark_due_ms = INT64_MIN;
    op->watermark_at_ms = INT64_MIN;
    op->now_ms = weir_clock_mono_ms(conn->clock);
    *out_op = op;
    return WEIR_OK;
}

void weir_source_op_close(struct weir_source_op *op)
{
    if (op == NULL) {
        return;
    }
    op->source->vtable->destroy(op->source);
    weir_bad_records_destroy(op->conn_copy.bad_records);
    for (size_t i = 0; i < op->nsplits; i++) {
        weir_buf_fini(&op->splits[i].snapshot);
    }
    weir_free(op->splits);
    weir_hmap_destroy(op->missing);
    weir_arena_destroy(op->arena);
    weir_free(op);
}

static enum weir_rc add_split_at(struct weir_source_op *op, struct weir_split split, struct weir_slice position, struct weir_error *err)
{
    uint32_t number = 0;
    enum weir_rc rc = op->source->vtable->add_split(op->source, split, position, &number, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    weir_assert(number == op->nsplits);
    op->splits = weir_vec_grow(op->splits, &op->splits_cap, sizeof(*op->splits), op->nsplits + 1);
    op->splits[op->nsplits++] = (struct split_state){
        .id = weir_arena_slice(op->arena, split.id),
        .data = weir_arena_slice(op->arena, split.data),
        .max_time_ms = INT64_MIN,
        .last_row_ms = op->idle_clock_ms,
    };
    op->idle = false;
    return WEIR_OK;
}

enum weir_rc weir_source_op_add_split(struct weir_source_op *op, struct weir_split split, struct weir_error *err)
{
    return add_split_at(op, split, weir_slice(NULL, 0), err);
}

/* Version 1: u8 version | i64 watermark | u32 splits | each: id, data, position (u32 length + bytes) | i64 greatest time */
void weir_source_op_snapshot(struct weir_source_op *op, uint64_t checkpoint, struct weir_buf *out)
{
    op->snapshot_checkpoint = checkpoint;
    weir_buf_put_u8(out, STATE_VERSION);
    weir_buf_put_i64(out, op->watermark_due_ms);
    weir_buf_put_u32(out, (uint32_t)op->nsplits);
    for (size_t i = 0; i < op->nsplits; i++) {
        struct weir_buf *position = &op->splits[i].snapshot;
        weir_buf_clear(position);
        op->source->vtable->split_position(op->source, (uint32_t)i, position);
        weir_buf_put_bytes(out, op->splits[i].id);
        weir_buf_put_bytes(out, op->splits[i].data);
        weir_buf_put_bytes(out, weir_buf_slice(position));
        weir_buf_put_i64(out, op->splits[i].max_time_ms);
    }
}

struct weir_batch *weir_source_op_take_bad_records(struct weir_source_op *op)
{
    return op->conn->bad_records == NULL ? NULL : weir_bad_records_take(op->conn->bad_records);
}

void weir_source_op_committed(struct weir_source_op *op, uint64_t checkpoint)
{
    if (op->source->vtable->committed == NULL || checkpoint != op->snapshot_checkpoint) {
        return;
    }
    for (size_t i = 0; i < op->nsplits; i++) {
        op->source->vtable->committed(op->source, (uint32_t)i, weir_buf_slice(&op->splits[i].snapshot));
    }
}

static void begin_restore(struct weir_source_op *op, const struct weir_split *splits, uint32_t nsplits)
{
    if (op->missing == NULL) {
        op->missing = weir_hmap_create(0);
        op->restored_watermark_ms = INT64_MAX;
        for (uint32_t i = 0; i < nsplits; i++) {
            (void)weir_hmap_put(op->missing, splits[i].id, op);
        }
    }
}

/* A split in a part of a checkpoint: taken up if it is one of ours. */
static enum weir_rc restore_split(struct weir_source_op *op, struct weir_split split, struct weir_slice position, int64_t max_time_ms, bool own,
                                  bool *out_ours, struct weir_error *err)
{
    *out_ours = weir_hmap_remove(op->missing, split.id) != NULL;
    if (!*out_ours) {
        return !own ? WEIR_OK
                    : weir_error_set(err, WEIR_CORRUPT, "table %s: the checkpoint has split %.*s here, which is not this subtask's or stands in it twice",
                                     op->conn->table->name, WEIR_SLICE_ARG(split.id));
    }
    enum weir_rc rc = add_split_at(op, split, position, err);
    if (rc == WEIR_OK) {
        op->splits[op->nsplits - 1].max_time_ms = max_time_ms;
    }
    return rc;
}

enum weir_rc weir_source_op_restore(struct weir_source_op *op, const struct weir_split *splits, uint32_t nsplits, bool own, struct weir_slice state,
                                    struct weir_error *err)
{
    struct weir_reader reader = weir_reader(state);
    uint8_t version = weir_read_u8(&reader);
    int64_t watermark_ms = weir_read_i64(&reader);
    uint32_t count = weir_read_u32(&reader);
    bool any = own;
    if (reader.failed || version != STATE_VERSION) {
        return weir_error_set(err, WEIR_CORRUPT, "table %s: the source's state is of version %u, expected %d", op->conn->table->name, version,
                              STATE_VERSION);
    }
    begin_restore(op, splits, nsplits);
    op->restored_own = op->restored_own || own;
    for (uint32_t i = 0; i < count; i++) {
        struct weir_split split = {.id = weir_read_bytes(&reader)};
        split.data = weir_read_bytes(&reader); /* after id: initialisers have no order */
        struct weir_slice position = weir_read_bytes(&reader);
        int64_t max_time_ms = weir_read_i64(&reader);
        bool ours = false;
        if (reader.failed) {
            return weir_error_set(err, WEIR_CORRUPT, "table %s: the source's state ends within split %u", op->conn->table->name, i);
        }
        enum weir_rc rc = restore_split(op, split, position, max_time_ms, own, &ours, err);
        if (rc != WEIR_OK) {
            return rc;
        }
        any = any || ours;
    }
    if (any && watermark_ms < op->restored_watermark_ms) {
        op->restored_watermark_ms = watermark_ms;
    }
    return WEIR_OK;
}

enum weir_rc weir_source_op_restored(struct weir_source_op *op, const struct weir_split *splits, uint32_t nsplits, struct weir_error *err)
{
    bool began = op->nsplits > 0 || op->restored_own;
    for (uint32_t i = 0; i < nsplits && weir_hmap_count(op->missing) > 0; i++) {
        if (weir_hmap_remove(op->missing, splits[i].id) == NULL) {
            continue;
        }
        if (op->restored_own) {
            return weir_error_set(err, WEIR_CORRUPT, "table %s: the checkpoint does not say how far split %.*s was read", op->conn->table->name,
                                  WEIR_SLICE_ARG(splits[i].id));
        }
        enum weir_rc rc = weir_source_op_add_split(op, splits[i], err);
        if (rc != WEIR_OK) {
            return rc;
        }
        began = false; /* from its beginning: no watermark yet */
    }
    weir_hmap_destroy(op->missing);
    op->missing = NULL;
    if (began) { /* S5 */
        op->watermark_due_ms = op->restored_watermark_ms;
    }
    return WEIR_OK;
}

/* Greatest event time in rows [first, first + count) of a batch without selection, milliseconds rounded down; NULL times do not count. */
static int64_t max_time_ms(const struct weir_batch *batch, uint32_t time_column, uint32_t first, uint32_t count)
{
    const struct weir_column *col = &batch->cols[time_column];
    const int64_t *micros = WEIR_COLUMN_VALUES(col, const int64_t);
    int64_t max = INT64_MIN;
    for (uint32_t row = first; row < first + count; row++) {
        if (micros[row] > max && !weir_column_is_null(col, row)) {
            max = micros[row];
        }
    }
    if (max == INT64_MIN) {
        return INT64_MIN;
    }
    return max >= 0 ? max / 1000 : -((-max + 999) / 1000);
}

/* Sets which splits are finished or idle, and what watermark follows (S1, S2). Returns whether every unfinished split is idle. */
static bool recompute(struct weir_source_op *op)
{
    int64_t idle_timeout_ms = op->conn->settings->idle_timeout_ms;
    int64_t least = INT64_MAX;
    bool any_active = false;
    op->idle_in_ms = idle_timeout_ms;
    for (size_t i = 0; i < op->nsplits; i++) {
        struct split_state *split = &op->splits[i];
        split->finished = split->finished || op->source->vtable->split_finished(op->source, (uint32_t)i);
        if (split->finished) {
            continue;
        }
        int64_t idle_in_ms = split->last_row_ms + idle_timeout_ms - op->idle_clock_ms;
        split->idle = idle_timeout_ms > 0 && idle_in_ms <= 0;
        if (!split->idle) {
            op->idle_in_ms = idle_in_ms < op->idle_in_ms ? idle_in_ms : op->idle_in_ms;
            any_active = true;
            least = split->max_time_ms < least ? split->max_time_ms : least;
        }
    }
    if (any_active && op->conn->table->has_watermark && least != INT64_MIN) {
        int64_t watermark = least - op->conn->table->watermark_delay_ms - 1;
        op->watermark_due_ms = watermark > op->watermark_due_ms ? watermark : op->watermark_due_ms;
    }
    return !any_active;
}

static void take_rows(struct weir_source_op *op)
{
    const struct weir_source_poll *poll = &op->poll;
    int32_t time_column = weir_schema_time_column(op->conn->table->schema);
    uint32_t first = 0;
    for (uint32_t i = 0; i < poll->nruns; i++) {
        struct split_state *split = &op->splits[poll->runs[i].split];
        split->last_row_ms = op->idle_clock_ms;
        if (time_column != WEIR_NO_COLUMN) {
            int64_t max = max_time_ms(poll->batch, (uint32_t)time_column, first, poll->runs[i].rows);
            split->max_time_ms = max > split->max_time_ms ? max : split->max_time_ms;
        }
        first += poll->runs[i].rows;
    }
    weir_assert(first == weir_batch_rows(poll->batch));
}

/* Hands out a watermark that has moved, if its time has come. */
static bool take_watermark(struct weir_source_op *op, bool now, struct weir_source_event *out_event)
{
    bool due = now || op->watermark_at_ms == INT64_MIN ||
               op->now_ms - op->watermark_at_ms >= op->conn->settings->watermark_interval_ms;
    if (op->watermark_due_ms <= op->watermark_ms || !due) {
        return false;
    }
    op->watermark_ms = op->watermark_due_ms;
    op->watermark_at_ms = op->now_ms;
    *out_event = (struct weir_source_event){.kind = WEIR_SOURCE_WATERMARK, .watermark_ms = op->watermark_ms};
    return true;
}

/* What to do when the connector has nothing more: the end, or waiting. */
static void no_rows(struct weir_source_op *op, struct weir_source_event *out_event)
{
    bool all_idle = recompute(op);
    if (op->read_all && op->bounded) {
        op->watermark_due_ms = INT64_MAX;
    }
    if (take_watermark(op, true, out_event)) {
        return;
    }
    if (op->read_all && op->bounded) {
        op->ended = true;
        out_event->kind = WEIR_SOURCE_END;
        return;
    }
    if (all_idle && !op->idle) {
        op->idle = true;
        out_event->kind = WEIR_SOURCE_IDLE;
        return;
    }
    out_event->kind = WEIR_SOURCE_NOTHING;
    int64_t idle_timeout_ms = op->conn->settings->idle_timeout_ms;
    out_event->wait_ms = op->read_all ? -1 : op->poll.wait_ms;
    if (idle_timeout_ms > 0 && !all_idle && (out_event->wait_ms < 0 || out_event->wait_ms > op->idle_in_ms)) {
        out_event->wait_ms = op->idle_in_ms;
    }
}

enum weir_rc weir_source_op_poll(struct weir_source_op *op, int64_t now_ms, struct weir_source_event *out_event, struct weir_error *err)
{
    int64_t passed_ms = now_ms - op->now_ms;
    op->idle_clock_ms += op->held_up ? 0 : op->waiting || passed_ms < BUSY_MAX_MS ? passed_ms : BUSY_MAX_MS;
    op->now_ms = now_ms;
    op->waiting = false;
    op->held_up = false;
    *out_event = (struct weir_source_event){.kind = WEIR_SOURCE_NOTHING, .wait_ms = -1};
    if (op->ended || take_watermark(op, false, out_event)) {
        return WEIR_OK;
    }
    enum weir_rc rc = WEIR_END;
    op->poll.batch = NULL;
    op->poll.nruns = 0;
    op->poll.wait_ms = -1;
    if (!op->read_all) {
        rc = op->source->vtable->poll(op->source, &op->poll, err);
    }
    if (rc == WEIR_OK && op->poll.batch != NULL) {
        op->idle = false;
        take_rows(op);
        (void)recompute(op);
        out_event->kind = WEIR_SOURCE_BATCH;
        out_event->batch = op->poll.batch;
        return WEIR_OK;
    }
    if (rc == WEIR_OK) { /* worked, but gave no row: bad records skipped, say */
        out_event->wait_ms = 0;
        return WEIR_OK;
    }
    if (rc != WEIR_AGAIN && rc != WEIR_END) {
        return rc;
    }
    op->read_all = rc == WEIR_END;
    op->held_up = rc == WEIR_AGAIN && weir_mem_full(op->conn->mem);
    no_rows(op, out_event);
    op->waiting = out_event->kind == WEIR_SOURCE_NOTHING;
    return WEIR_OK;
}
