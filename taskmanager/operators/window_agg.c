/*
 * WINDOW_AGG. State: one namespace per slice, (key) -> rows and accumulators.
 *
 * W1  A row goes into the slice of its time, unless that slice is late: then it is dropped and counted.
 * W2  The watermark fires the windows due in order of their end. A window's result is the merge of its slices, which are walked side by
 *     side (every cursor gives the same key order, so a k-way merge needs no table of its own and can stop after any key).
 * W3  When a window has fired, the slices that no later window needs are dropped.
 * W4  A snapshot holds the watermark along with the slices: nothing fires twice, nothing is late sooner. Between two events no window is being
 *     fired and none is due, so how far windows have fired follows from it.
 * W5  Watermarks are per key group. At a checkpoint's cut the subtasks may stand at different ones: all got the same watermarks from the same
 *     producers before their barriers, but of a producer that was idle for a while each made its minimum in the order in which the channels
 *     happened to be read. Who takes groups over from several subtasks therefore keeps the watermark of each as the `floor` of its groups: the
 *     watermark of a group is the greater of floor and watermark, which is what it would be had the old subtask read on, since a watermark
 *     never moves back. W1 to W3 hold for each group alone: below the floor its rows are late, and its windows have fired and are passed over
 *     (of hopping windows the slices are still there: for later windows, which is why they would give rows again, and wrong ones). No slice
 *     is lost: the watermark is the least of the floors, and slices go by the watermark only. A floor is forgotten when the watermark has
 *     reached it, mostly at once.
 */
#include "taskmanager/operators/window_agg.h"

#include "common/base/assert.h"
#include "common/base/heap.h"
#include "common/base/list.h"
#include "common/base/vec.h"
#include "common/plan/agg_partial.h"
#include "taskmanager/operators/agg_keys.h"
#include "taskmanager/operators/agg_set.h"
#include "taskmanager/operators/agg_snap.h"
#include "taskmanager/state/delta_freeze.h"

enum { WINDOW_START = 0, WINDOW_END = 1, FIRST_KEY = 2, STATE_VERSION = 2 };

/* One slice of the window being fired, standing at its next entry. */
struct arm {
    struct weir_heap_node node;
    const struct weir_delta *slices;
    struct weir_delta_cursor cursor;
    struct weir_delta_entry entry;
};

/* Of a range of key groups: W5. */
struct floor {
    uint32_t first, end;
    int64_t watermark_ms;
    int64_t late_through_ms; /* follows from watermark_ms */
};

struct window_agg {
    struct weir_op op;
    struct weir_slices slices;
    struct weir_agg_partial_layout layout; /* of partial input */
    uint32_t *key_columns;                 /* of the output */
    struct weir_agg_set *set;
    struct weir_delta *state;
    struct weir_agg_snap *snap;
    struct weir_arena *arena; /* one batch's */
    int64_t watermark_ms;
    int64_t late_through_ms; /* follows from watermark_ms */
    bool restoring;
    struct floor *floors; /* ascending; while restoring all own groups', then those above the watermark */
    uint32_t nfloors;
    size_t floors_cap;
    /* The firing under way: up to watermark_ms. */
    int64_t fired_ms; /* every window that ends up to here has fired */
    bool firing;
    int64_t window_end_ms;
    struct arm *arms;
    uint32_t narms;
    struct weir_heap heap; /* of arms */
    uint8_t *merged;       /* payload of a key that is in several slices */
    struct weir_batch_builder builder;
    bool building;
};

static bool arm_before(const struct weir_heap_node *a, const struct weir_heap_node *b)
{
    const struct arm *x = WEIR_CONTAINER_OF(a, struct arm, node);
    const struct arm *y = WEIR_CONTAINER_OF(b, struct arm, node);
    int order = weir_delta_compare(x->slices, &x->entry, &y->entry);
    return order != 0 ? order < 0 : x < y; /* the older slice first */
}

/* A late slice would have been dropped. */
static bool slice_fits(const struct weir_op *op, int64_t space)
{
    const struct window_agg *window = (const struct window_agg *)op;
    return weir_slices_is_slice(&window->slices, space) && space > window->late_through_ms;
}

static enum weir_rc window_open(struct weir_op *op, const struct weir_opspec *spec, struct weir_error *err)
{
    struct window_agg *window = (struct window_agg *)op;
    window->watermark_ms = WEIR_WATERMARK_MIN;
    window->late_through_ms = INT64_MIN;
    window->fired_ms = INT64_MIN;
    enum weir_rc rc = weir_slices_init(&window->slices, &spec->u.agg.window, err);
    if (rc == WEIR_OK) {
        rc = weir_agg_set_create(spec->u.agg.calls, spec->u.agg.ncalls, spec->u.agg.raw_input, 0, op->ctx->conn.mem, &window->set, err);
    }
    if (rc != WEIR_OK) {
        return weir_error_prefix(err, "%s", spec->uid);
    }
    window->layout = weir_agg_partial_layout(spec->u.agg.nkeys, true);
    window->key_columns = weir_calloc(spec->u.agg.nkeys, sizeof(*window->key_columns));
    for (uint32_t i = 0; i < spec->u.agg.nkeys; i++) {
        window->key_columns[i] = FIRST_KEY + i;
    }
    window->arena = weir_arena_create(0);
    window->merged = weir_calloc(1, weir_agg_set_payload_bytes(window->set));
    weir_heap_init(&window->heap, arm_before);
    struct weir_delta_options options = {
        .payload_bytes = weir_agg_set_payload_bytes(window->set),
        .inline_key_bytes = weir_agg_key_bytes(spec),
        .mem = op->ctx->conn.mem,
    };
    weir_delta_own_groups(&options, op->ctx->conn.subtask, op->ctx->conn.parallelism, op->ctx->max_parallelism);
    window->state = weir_delta_create(&options);
    window->snap = weir_agg_snap_create(op, window->set, window->state, slice_fits);
    return WEIR_OK;
}

static void close_arms(struct window_agg *window)
{
    for (uint32_t i = 0; i < window->narms; i++) {
        weir_delta_cursor_fini(&window->arms[i].cursor);
    }
    weir_free(window->arms);
    window->arms = NULL;
    window->narms = 0;
}

static void window_close(struct weir_op *op)
{
    struct window_agg *window = (struct window_agg *)op;
    close_arms(window);
    weir_heap_fini(&window->heap);
    weir_batch_builder_fini(&window->builder);
    weir_agg_snap_destroy(window->snap);
    weir_delta_destroy(window->state);
    weir_agg_set_destroy(window->set);
    weir_arena_destroy(window->arena);
    weir_free(window->merged);
    weir_free(window->floors);
    weir_free(window->key_columns);
}

static enum weir_rc add_rows(struct window_agg *window, struct weir_agg_rows *rows, struct weir_error *err)
{
    if (window->op.spec->u.agg.partial) {
        enum weir_rc rc = weir_agg_rows_lookup(&window->op, window->state, rows, err);
        return rc != WEIR_OK ? rc
                             : weir_agg_set_merge_partials(window->set, rows->batch, window->layout.partials, window->layout.rows,
                                                           rows->payloads, err);
    }
    const int8_t *signs = NULL;
    enum weir_rc rc = weir_agg_set_signs(window->set, rows->batch, &signs, err);
    if (rc == WEIR_OK) {
        rc = weir_agg_rows_lookup(&window->op, window->state, rows, err);
    }
    return rc != WEIR_OK ? rc : weir_agg_set_update(window->set, rows->batch, window->op.ctx->now_ms, rows->payloads, signs, err);
}

static const struct floor *floor_of(const struct window_agg *window, uint64_t hash)
{
    uint32_t group = weir_key_group(hash, window->op.ctx->max_parallelism);
    for (uint32_t i = 0; i < window->nfloors; i++) {
        if (group >= window->floors[i].first && group < window->floors[i].end) {
            return &window->floors[i];
        }
    }
    return NULL;
}

static bool is_late(const void *ctx, uint64_t hash, int64_t slice_end_ms)
{
    const struct floor *floor = floor_of(ctx, hash);
    return floor != NULL && slice_end_ms <= floor->late_through_ms;
}

/* Whether the window being fired has fired for this key before. */
static bool has_fired(const struct window_agg *window, uint64_t hash)
{
    const struct floor *floor = window->nfloors == 0 ? NULL : floor_of(window, hash);
    return floor != NULL && weir_slices_due(window->window_end_ms, floor->watermark_ms);
}

static void forget_floors(struct window_agg *window)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < window->nfloors; i++) {
        if (window->floors[i].watermark_ms > window->watermark_ms) {
            window->floors[kept++] = window->floors[i];
        }
    }
    window->nfloors = kept;
}

static enum weir_rc window_process(struct weir_op *op, uint32_t input, struct weir_batch *batch, struct weir_error *err)
{
    weir_assert(input == 0);
    struct window_agg *window = (struct window_agg *)op;
    weir_assert(!window->firing);
    struct weir_agg_rows rows;
    enum weir_rc rc = weir_agg_rows_make(op->spec, &window->slices, window->late_through_ms, op->ctx->late_dropped, batch,
                                         window->arena, &rows, err);
    if (rc == WEIR_OK && rows.batch != NULL && window->nfloors > 0) {
        weir_agg_rows_drop_late(op->spec, is_late, window, op->ctx->late_dropped, window->arena, &rows);
    }
    if (rc != WEIR_OK || rows.batch == NULL) {
        return rc;
    }
    rc = add_rows(window, &rows, err);
    weir_batch_unref(rows.batch);
    return rc == WEIR_OK ? WEIR_OK : weir_error_prefix(err, "%s", op->spec->uid);
}

/* Begins the next window that is due. False: none is. */
static bool begin_window(struct window_agg *window)
{
    if (weir_delta_spaces(window->state) == 0) {
        return false;
    }
    int64_t oldest_ms = weir_delta_space(window->state, 0);
    int64_t end_ms = weir_slices_next_window(&window->slices, oldest_ms, window->fired_ms);
    if (!weir_slices_due(end_ms, window->watermark_ms)) {
        return false;
    }
    uint32_t count = 0;
    while (count < weir_delta_spaces(window->state) && weir_delta_space(window->state, count) <= end_ms) {
        count++;
    }
    window->arms = weir_calloc(count, sizeof(*window->arms));
    window->narms = count;
    for (uint32_t i = 0; i < count; i++) {
        struct arm *arm = &window->arms[i];
        arm->slices = window->state;
        weir_delta_cursor_init(&arm->cursor, window->state, weir_delta_space(window->state, i));
        if (weir_delta_cursor_next(&arm->cursor, &arm->entry)) {
            weir_heap_push(&window->heap, &arm->node);
        }
    }
    window->window_end_ms = end_ms;
    window->firing = true;
    return true;
}

static void release_slices(struct window_agg *window, int64_t last_ms)
{
    for (uint32_t i = 0; i < weir_delta_spaces(window->state) && weir_delta_space(window->state, i) <= last_ms; i++) {
        struct weir_delta_cursor cursor;
        struct weir_delta_entry entry;
        weir_delta_cursor_init(&cursor, window->state, weir_delta_space(window->state, i));
        while (weir_delta_cursor_next(&cursor, &entry)) {
            weir_agg_set_release(window->set, entry.payload);
        }
        weir_delta_cursor_fini(&cursor);
    }
}

static void end_window(struct window_agg *window)
{
    close_arms(window);
    int64_t last_ms = weir_slices_late_through(&window->slices, window->window_end_ms - 1);
    if (weir_agg_set_needs_release(window->set)) {
        weir_delta_capture_spaces(window->state, last_ms); /* a snapshot under way needs what is released now */
        release_slices(window, last_ms);
    }
    uint64_t before = weir_delta_bytes(window->state);
    weir_delta_drop(window->state, last_ms);
    *window->op.ctx->state_bytes += weir_delta_bytes(window->state) - before;
    window->fired_ms = window->window_end_ms;
    window->firing = false;
}

static void advance(struct window_agg *window, struct arm *arm)
{
    if (weir_delta_cursor_next(&arm->cursor, &arm->entry)) {
        weir_heap_update(&window->heap, &arm->node);
    } else {
        weir_heap_remove(&window->heap, &arm->node);
    }
}

/* The next key of the window with its payload merged; the payload is valid until the next call. */
static enum weir_rc next_key(struct window_agg *window, struct weir_delta_entry *out_entry, struct weir_error *err)
{
    struct arm *arm = WEIR_CONTAINER_OF(weir_heap_peek(&window->heap), struct arm, node);
    struct weir_delta_entry entry = arm->entry;
    advance(window, arm);
    bool merged = false;
    for (;;) {
        struct weir_heap_node *node = weir_heap_peek(&window->heap);
        arm = node == NULL ? NULL : WEIR_CONTAINER_OF(node, struct arm, node);
        if (arm == NULL || weir_delta_compare(window->state, &arm->entry, &entry) != 0) {
            break;
        }
        if (!merged) {
            enum weir_rc rc = weir_agg_set_merge(window->set, window->merged, entry.payload, err);
            if (rc != WEIR_OK) {
                return rc;
            }
            entry.payload = window->merged;
            merged = true;
        }
        enum weir_rc rc = weir_agg_set_merge(window->set, window->merged, arm->entry.payload, err);
        if (rc != WEIR_OK) {
            return rc;
        }
        advance(window, arm);
    }
    *out_entry = entry;
    return WEIR_OK;
}

static int64_t micros_of(int64_t ms)
{
    int64_t micros;
    return __builtin_mul_overflow(ms, 1000, &micros) ? (ms < 0 ? INT64_MIN : INT64_MAX) : micros;
}

static enum weir_rc write_result(struct window_agg *window, const struct weir_delta_entry *entry, struct weir_error *err)
{
    const struct weir_opspec *spec = window->op.spec;
    if (!window->building) {
        uint64_t most = weir_delta_entries(window->state);
        weir_batch_builder_init(&window->builder, spec->output, most < WEIR_BATCH_ROWS_MAX ? (uint32_t)most : WEIR_BATCH_ROWS_MAX,
                                window->op.ctx->conn.mem);
        window->building = true;
    }
    struct weir_batch_builder *builder = &window->builder;
    uint32_t row = builder->nrows;
    ((int64_t *)(void *)builder->cols[WINDOW_START].values)[row] = micros_of(window->window_end_ms - window->slices.size_ms);
    ((int64_t *)(void *)builder->cols[WINDOW_END].values)[row] = micros_of(window->window_end_ms);
    enum weir_rc rc = weir_rowkey_decode(entry->key, builder, window->key_columns, spec->u.agg.nkeys, row, err);
    if (rc == WEIR_OK) {
        rc = weir_agg_set_results(window->set, entry->payload, builder, FIRST_KEY + spec->u.agg.nkeys, row, err);
    }
    if (rc == WEIR_OK) {
        builder->nrows++;
    }
    return rc;
}

static void emit_built(struct window_agg *window)
{
    if (!window->building) {
        return;
    }
    struct weir_batch *batch = weir_batch_builder_finish(&window->builder);
    weir_batch_builder_fini(&window->builder);
    window->building = false;
    if (batch != NULL) {
        weir_op_emit(&window->op, batch);
    }
}

/* Every window that ends up to here has fired when all that was due has. */
static int64_t fired_through(int64_t watermark_ms)
{
    return watermark_ms == WEIR_WATERMARK_MIN || watermark_ms == WEIR_WATERMARK_MAX ? watermark_ms : watermark_ms + 1;
}

/* Fires the window under way as far as the output lets it. */
static enum weir_rc go_on_window(struct window_agg *window, struct weir_error *err)
{
    struct weir_op_ctx *ctx = window->op.ctx;
    while (weir_heap_peek(&window->heap) != NULL) {
        if (!window->building && !ctx->output_ready(ctx->emit_ctx)) {
            return WEIR_AGAIN;
        }
        struct weir_delta_entry entry;
        enum weir_rc rc = next_key(window, &entry, err);
        /* Without rows: all were taken back again. */
        if (rc == WEIR_OK && weir_agg_payload_rows(entry.payload) > 0 && !has_fired(window, entry.hash)) {
            rc = write_result(window, &entry, err);
        }
        if (rc == WEIR_OK && entry.payload == window->merged) {
            weir_agg_set_release(window->set, window->merged);
        }
        if (rc != WEIR_OK) {
            return weir_error_prefix(err, "%s", window->op.spec->uid);
        }
        if (window->building && (window->builder.nrows == window->builder.nrows_max ||
                                 weir_batch_builder_bytes(&window->builder) >= WEIR_BATCH_BYTES_MAX)) {
            emit_built(window);
        }
    }
    return WEIR_OK;
}

static enum weir_rc go_on(struct weir_op *op, struct weir_error *err)
{
    struct window_agg *window = (struct window_agg *)op;
    while (window->firing || begin_window(window)) {
        enum weir_rc rc = go_on_window(window, err);
        if (rc != WEIR_OK) {
            return rc;
        }
        end_window(window);
    }
    emit_built(window);
    window->fired_ms = fired_through(window->watermark_ms);
    forget_floors(window);
    return WEIR_OK;
}

static enum weir_rc window_watermark(struct weir_op *op, int64_t watermark_ms, struct weir_error *err)
{
    struct window_agg *window = (struct window_agg *)op;
    weir_assert(!window->firing);
    if (watermark_ms <= window->watermark_ms) {
        return WEIR_OK;
    }
    window->watermark_ms = watermark_ms;
    window->late_through_ms = weir_slices_late_through(&window->slices, watermark_ms);
    return go_on(op, err);
}

static void put_range(struct weir_buf *out, uint32_t *ranges, uint32_t first, uint32_t end, int64_t watermark_ms)
{
    if (first < end) {
        weir_buf_put_u32(out, first);
        weir_buf_put_u32(out, end);
        weir_buf_put_i64(out, watermark_ms);
        ++*ranges;
    }
}

static uint32_t own_group(const struct window_agg *window, uint32_t subtask_more)
{
    const struct weir_op_ctx *ctx = window->op.ctx;
    return weir_key_group_first(ctx->conn.subtask + subtask_more, ctx->max_parallelism, ctx->conn.parallelism);
}

/* Version 2: u8 version | u32 ranges | each: u32 first, u32 end key group, i64 watermark | the slices (agg_snap.h). The ranges are all groups of
 * the subtask, one after the other. */
static enum weir_rc window_snapshot(struct weir_op *op, uint64_t checkpoint, struct weir_buf *out, struct weir_error *err)
{
    (void)err;
    struct window_agg *window = (struct window_agg *)op;
    weir_assert(!window->firing);
    weir_assert(!window->building);
    weir_buf_put_u8(out, STATE_VERSION);
    size_t ranges_at = out->len;
    uint32_t ranges = 0;
    weir_buf_put_u32(out, 0);
    uint32_t at = own_group(window, 0);
    for (uint32_t i = 0; i < window->nfloors; i++) {
        const struct floor *floor = &window->floors[i];
        put_range(out, &ranges, at, floor->first, window->watermark_ms);
        put_range(out, &ranges, floor->first, floor->end, floor->watermark_ms);
        at = floor->end;
    }
    put_range(out, &ranges, at, own_group(window, 1), window->watermark_ms);
    weir_buf_set_u32(out, ranges_at, ranges);
    weir_agg_snap_begin(window->snap, checkpoint, out);
    return WEIR_OK;
}

static enum weir_rc window_background(struct weir_op *op, struct weir_buf *out, bool *out_any, struct weir_error *err)
{
    enum weir_rc rc = weir_agg_snap_background(((struct window_agg *)op)->snap, out, out_any, err);
    return rc == WEIR_OK || rc == WEIR_AGAIN ? rc : weir_error_prefix(err, "%s", op->spec->uid);
}

static enum weir_rc window_notify(struct weir_op *op, uint64_t checkpoint, struct weir_error *err)
{
    (void)err;
    weir_agg_snap_notify(((struct window_agg *)op)->snap, checkpoint);
    return WEIR_OK;
}

static void add_floor(struct window_agg *window, uint32_t first, uint32_t end, int64_t watermark_ms)
{
    uint32_t own_first = own_group(window, 0);
    uint32_t own_end = own_group(window, 1);
    first = first > own_first ? first : own_first;
    end = end < own_end ? end : own_end;
    if (first < end) {
        window->floors = weir_vec_grow(window->floors, &window->floors_cap, sizeof(*window->floors), window->nfloors + 1);
        window->floors[window->nfloors++] = (struct floor){
            .first = first,
            .end = end,
            .watermark_ms = watermark_ms,
            .late_through_ms = weir_slices_late_through(&window->slices, watermark_ms),
        };
    }
}

/* The watermarks of a part; out_least: of all of them, below which none of its slices is late. */
static bool read_ranges(struct window_agg *window, struct weir_reader *reader, int64_t *out_least)
{
    uint8_t version = weir_read_u8(reader);
    uint32_t ranges = weir_read_u32(reader);
    uint32_t before = 0;
    int64_t least = WEIR_WATERMARK_MAX;
    bool sound = version == STATE_VERSION && ranges > 0;
    for (uint32_t i = 0; i < ranges && sound; i++) {
        uint32_t first = weir_read_u32(reader);
        uint32_t end = weir_read_u32(reader);
        int64_t watermark_ms = weir_read_i64(reader);
        sound = !reader->failed && first < end && (i == 0 || first == before);
        before = end;
        least = watermark_ms < least ? watermark_ms : least;
        if (sound) {
            add_floor(window, first, end, watermark_ms);
        }
    }
    *out_least = least;
    return sound;
}

static enum weir_rc window_restore(struct weir_op *op, uint64_t checkpoint, struct weir_slice state, struct weir_error *err)
{
    struct window_agg *window = (struct window_agg *)op;
    struct weir_reader reader = weir_reader(state);
    int64_t least_ms = 0;
    enum weir_rc rc = WEIR_OK;
    if (!read_ranges(window, &reader, &least_ms)) {
        rc = weir_error_set(err, WEIR_CORRUPT, "window state of %zu bytes (expected version %d) is cut or impossible", state.len, STATE_VERSION);
    } else {
        window->late_through_ms = weir_slices_late_through(&window->slices, least_ms); /* of this part: slice_fits */
        rc = weir_agg_snap_restore(window->snap, checkpoint, reader.rest, err);
        window->restoring = rc == WEIR_AGAIN;
    }
    return rc == WEIR_OK || rc == WEIR_AGAIN ? rc : weir_error_prefix(err, "%s", op->spec->uid);
}

/* Room may have been made for slices that only groups of others have yet, whose watermark was less. */
static enum weir_rc drop_late_slices(struct window_agg *window, struct weir_error *err)
{
    for (uint32_t i = 0; i < weir_delta_spaces(window->state) && weir_delta_space(window->state, i) <= window->late_through_ms; i++) {
        if (weir_delta_space_entries(window->state, i) > 0) {
            return weir_error_set(err, WEIR_CORRUPT, "window state: keys of a slice whose windows had all fired");
        }
    }
    uint64_t before = weir_delta_bytes(window->state);
    weir_delta_drop(window->state, window->late_through_ms);
    *window->op.ctx->state_bytes += weir_delta_bytes(window->state) - before;
    return WEIR_OK;
}

/* W5 */
static enum weir_rc window_restored(struct weir_op *op, struct weir_error *err)
{
    struct window_agg *window = (struct window_agg *)op;
    enum weir_rc rc = weir_agg_snap_restored(window->snap, err);
    uint32_t at = own_group(window, 0);
    int64_t least_ms = WEIR_WATERMARK_MAX;
    for (uint32_t i = 0; i < window->nfloors && window->floors[i].first == at; i++) {
        at = window->floors[i].end;
        least_ms = window->floors[i].watermark_ms < least_ms ? window->floors[i].watermark_ms : least_ms;
    }
    if (rc == WEIR_OK && at != own_group(window, 1)) {
        rc = weir_error_set(err, WEIR_CORRUPT, "window state: the watermark of key group %u is missing", at);
    }
    window->watermark_ms = least_ms;
    window->fired_ms = fired_through(least_ms);
    window->late_through_ms = weir_slices_late_through(&window->slices, least_ms);
    forget_floors(window);
    rc = rc != WEIR_OK ? rc : drop_late_slices(window, err);
    return rc == WEIR_OK ? WEIR_OK : weir_error_prefix(err, "%s", op->spec->uid);
}

static enum weir_rc window_resume(struct weir_op *op, struct weir_error *err)
{
    struct window_agg *window = (struct window_agg *)op;
    if (!window->restoring) {
        return go_on(op, err);
    }
    enum weir_rc rc = weir_agg_snap_resume(window->snap, err);
    window->restoring = rc == WEIR_AGAIN;
    return rc == WEIR_OK || rc == WEIR_AGAIN ? rc : weir_error_prefix(err, "%s", op->spec->uid);
}

const struct weir_op_vtable weir_window_agg_op = {
    .name = "window_agg",
    .op_bytes = sizeof(struct window_agg),
    .open = window_open,
    .close = window_close,
    .process = window_process,
    .watermark = window_watermark,
    .snapshot = window_snapshot,
    .background = window_background,
    .notify = window_notify,
    .restore = window_restore,
    .restored = window_restored,
    .resume = window_resume,
};
