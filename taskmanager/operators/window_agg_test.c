#include "taskmanager/operators/window_agg.h"

#include "common/base/clock.h"
#include "common/data/rowkey.h"
#include "taskmanager/operators/agg_snap_test_kit.h"
#include "taskmanager/operators/agg_test_kit.h"
#include "taskmanager/operators/local_agg.h"

enum { ENDS_MAX = 4096, BASE_MS = 2000 };

/* Row at a time: an accumulator per window end (milliseconds from -BASE_MS) and key. */
struct oracle {
    struct kit_acc accs[ENDS_MAX][KIT_KEYS];
    int64_t watermarks_ms[KIT_KEYS];
    uint64_t late;
};

enum { ALL_KEYS = (1 << KIT_KEYS) - 1 };

static struct oracle *oracle_create(void)
{
    struct oracle *oracle = calloc(1, sizeof(*oracle));
    for (int key = 0; key < KIT_KEYS; key++) {
        oracle->watermarks_ms[key] = WEIR_WATERMARK_MIN;
    }
    return oracle;
}

static struct kit_acc *oracle_acc(struct oracle *oracle, int64_t end_ms, int key)
{
    ck_assert_int_ge(end_ms + BASE_MS, 0);
    ck_assert_int_lt(end_ms + BASE_MS, ENDS_MAX);
    return &oracle->accs[end_ms + BASE_MS][key];
}

static void oracle_add(struct oracle *oracle, const struct kit *kit, const struct kit_row *row)
{
    const struct weir_window_spec *window = &kit->window;
    int64_t slide = window->kind == WEIR_WINDOW_TUMBLE ? window->size_ms : window->slide_ms;
    bool in_any = false;
    bool taken = false;
    for (int64_t start = row->time_ms - window->size_ms + 1; start <= row->time_ms; start++) {
        if ((start - window->offset_ms) % slide != 0) {
            continue;
        }
        in_any = true;
        if (start + window->size_ms - 1 > oracle->watermarks_ms[kit->nkeys == 0 ? 0 : row->key]) {
            taken = true;
            kit_acc_add(oracle_acc(oracle, start + window->size_ms, kit->nkeys == 0 ? 0 : row->key), row);
        }
    }
    oracle->late += in_any && !taken;
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* What must have been fired of the keys (a bit each) between two watermarks, as sorted lines; forgets it. */
static uint32_t oracle_fire(struct oracle *oracle, const struct kit *kit, uint32_t keys, int64_t watermark_ms, char (*lines)[KIT_LINE_MAX])
{
    uint32_t count = 0;
    for (int64_t at = 0; at < ENDS_MAX && at - BASE_MS - 1 <= watermark_ms; at++) {
        for (int key = 0; key < KIT_KEYS; key++) {
            struct kit_acc *acc = &oracle->accs[at][key];
            if (acc->rows == 0 || (keys >> key & 1) == 0) {
                continue;
            }
            struct weir_buf line = {0};
            weir_buf_put_fmt(&line, "%08ld", (long)at);
            kit_put_key(&line, key, kit->nkeys);
            for (uint32_t i = 0; i < kit->ncalls; i++) {
                kit_put_call(&line, acc, kit->call_numbers[i]);
            }
            kit_line_end(&line, lines[count++]);
            *acc = (struct kit_acc){0};
        }
    }
    for (int key = 0; key < KIT_KEYS; key++) {
        if ((keys >> key & 1) != 0 && watermark_ms > oracle->watermarks_ms[key]) {
            oracle->watermarks_ms[key] = watermark_ms;
        }
    }
    qsort(lines, count, KIT_LINE_MAX, compare_lines);
    return count;
}

/* The same of what the operator emitted; windows must have come in order. */
static uint32_t emitted(struct kit_op *op, int64_t size_ms, char (*lines)[KIT_LINE_MAX], uint32_t lines_max)
{
    uint32_t count = 0;
    int64_t last_end = INT64_MIN;
    for (uint32_t b = 0; b < op->nout; b++) {
        const struct weir_batch *batch = op->out[b];
        ck_assert_ptr_null(batch->sel);
        for (uint32_t row = 0; row < batch->nrows; row++) {
            int64_t start = WEIR_COLUMN_VALUES(&batch->cols[0], const int64_t)[row];
            int64_t end = WEIR_COLUMN_VALUES(&batch->cols[1], const int64_t)[row];
            ck_assert_int_eq(end - start, size_ms * 1000);
            ck_assert_int_ge(end, last_end);
            last_end = end;
            ck_assert_uint_lt(count, lines_max);
            struct weir_buf line = {0};
            weir_buf_put_fmt(&line, "%08ld", (long)(end / 1000 + BASE_MS));
            kit_put_row_of(&line, batch, row, 2);
            kit_line_end(&line, lines[count++]);
        }
        weir_batch_unref(op->out[b]);
    }
    op->nout = 0;
    qsort(lines, count, KIT_LINE_MAX, compare_lines);
    return count;
}

enum { LINES_MAX = 20000 };
static char expected_lines[LINES_MAX][KIT_LINE_MAX];
static char emitted_lines[LINES_MAX][KIT_LINE_MAX];

static void check_fired_of(struct kit *kit, struct kit_op *op, struct oracle *oracle, uint32_t keys, int64_t watermark_ms)
{
    uint32_t expected = oracle_fire(oracle, kit, keys, watermark_ms, expected_lines);
    uint32_t got = emitted(op, kit->window.size_ms, emitted_lines, LINES_MAX);
    for (uint32_t i = 0; i < expected && i < got; i++) {
        ck_assert_str_eq(emitted_lines[i], expected_lines[i]);
    }
    ck_assert_uint_eq(got, expected);
    ck_assert_uint_eq(kit->late, oracle->late);
}

static void check_fired(struct kit *kit, struct kit_op *op, struct oracle *oracle, int64_t watermark_ms)
{
    check_fired_of(kit, op, oracle, ALL_KEYS, watermark_ms);
}

/* Random rows around a moving time, with watermarks in between, directly or behind a local aggregation. restarts: of 100 batches, after how
 * many there is a barrier, and the operator is replaced by one restored from its snapshot. Returns how many rows came late. */
static uint64_t run_restarted(uint64_t seed, struct weir_window_spec window, uint32_t nkeys, uint32_t batch_rows_max, bool local,
                              uint32_t batches, uint32_t restarts)
{
    static struct kit_op op;
    static struct kit_op pre;
    struct kit kit;
    kit_init(&kit, seed, kit_all, KIT_CALLS, nkeys, window);
    if (seed % 2 == 0) {
        kit_use_store(&kit);
    }
    struct oracle *oracle = oracle_create();
    kit_open(&kit, &op, &weir_window_agg_op, WEIR_OP_WINDOW_AGG, local);
    if (local) {
        kit_open(&kit, &pre, &weir_local_agg_op, WEIR_OP_LOCAL_AGG, false);
    }
    int64_t now = -1000;
    int64_t step_max = 2000 / batches + 1;
    for (uint32_t b = 0; b < batches; b++) {
        static struct kit_row rows[WEIR_BATCH_ROWS_MAX];
        uint32_t count = 1 + (uint32_t)weir_rand_below(&kit.rand, batch_rows_max);
        for (uint32_t i = 0; i < count; i++) {
            rows[i] = kit_random_row(&kit.rand, now + (int64_t)weir_rand_below(&kit.rand, 120) - 60);
            oracle_add(oracle, &kit, &rows[i]);
        }
        kit_process_take(local ? &pre : &op, kit_batch(&kit, rows, count));
        now += (int64_t)weir_rand_below(&kit.rand, (uint64_t)step_max);
        if (local && weir_rand_below(&kit.rand, 3) == 0) {
            kit_flush(&pre);
            kit_pass_on(&pre, &op);
        }
        if (weir_rand_below(&kit.rand, 3) == 0) {
            int64_t watermark = now - (int64_t)weir_rand_below(&kit.rand, 50) - 10;
            watermark = watermark > oracle->watermarks_ms[0] ? watermark : oracle->watermarks_ms[0];
            if (local) {
                kit_flush(&pre);
                kit_pass_on(&pre, &op);
            }
            kit_watermark(&op, watermark);
            check_fired(&kit, &op, oracle, watermark);
        }
        if (weir_rand_below(&kit.rand, 100) < restarts) {
            if (local) {
                kit_flush(&pre);
                kit_pass_on(&pre, &op);
            }
            kit_restart(&op);
        }
    }
    if (local) {
        kit_flush(&pre);
        kit_pass_on(&pre, &op);
        kit_close(&pre);
    }
    kit_watermark(&op, WEIR_WATERMARK_MAX);
    check_fired(&kit, &op, oracle, WEIR_WATERMARK_MAX);
    uint64_t late = oracle->late;
    if (restarts > 0) { /* the end is state as well: every row is late */
        kit_restart(&op);
        struct kit_row row = kit_random_row(&kit.rand, now);
        oracle_add(oracle, &kit, &row);
        if (!local) {
            kit_process_take(&op, kit_batch(&kit, &row, 1));
            check_fired(&kit, &op, oracle, WEIR_WATERMARK_MAX);
        }
    }
    kit_close(&op);
    free(oracle);
    kit_fini(&kit);
    return late;
}

static void run(uint64_t seed, struct weir_window_spec window, uint32_t nkeys, uint32_t batch_rows_max, bool local, uint32_t batches)
{
    ck_assert_uint_gt(run_restarted(seed, window, nkeys, batch_rows_max, local, batches, 0), 0);
}

static const struct weir_window_spec windows[] = {
    {.kind = WEIR_WINDOW_TUMBLE, .size_ms = 20, .slide_ms = 20},
    {.kind = WEIR_WINDOW_TUMBLE, .size_ms = 7, .slide_ms = 7, .offset_ms = -3},
    {.kind = WEIR_WINDOW_HOP, .size_ms = 30, .slide_ms = 10},
    {.kind = WEIR_WINDOW_HOP, .size_ms = 25, .slide_ms = 10, .offset_ms = 4},
    {.kind = WEIR_WINDOW_HOP, .size_ms = 4, .slide_ms = 10}, /* gaps */
    {.kind = WEIR_WINDOW_HOP, .size_ms = 12, .slide_ms = 12},
};
enum { WINDOWS = sizeof(windows) / sizeof(windows[0]) };

START_TEST(equals_row_at_a_time)
{
    for (uint32_t nkeys = 0; nkeys <= 2; nkeys++) {
        run(100 + nkeys, windows[_i], nkeys, 300, false, 60);
        run(200 + nkeys, windows[_i], nkeys, 300, true, 60);
    }
}
END_TEST

START_TEST(any_batch_size)
{
    run(1, windows[_i], 1, 1, false, 400);
    run(2, windows[_i], 1, 1, true, 400);
    run(3, windows[_i], 2, WEIR_BATCH_ROWS_MAX, false, 12);
    run(4, windows[_i], 2, WEIR_BATCH_ROWS_MAX, true, 12);
}
END_TEST

/* Restored windows neither fire twice nor drop rows that were not late. */
START_TEST(goes_on_from_snapshots)
{
    uint64_t late = 0;
    for (uint32_t nkeys = 0; nkeys <= 2; nkeys++) {
        for (uint32_t local = 0; local < 2; local++) {
            late += run_restarted(300 + nkeys, windows[_i], nkeys, 300, local != 0, 60, 5);
            late += run_restarted(310 + nkeys, windows[_i], nkeys, 30, local != 0, 60, 100);
            late += run_restarted(320 + nkeys, windows[_i], nkeys, 1, local != 0, 400, 3);
            late += run_restarted(330 + nkeys, windows[_i], nkeys, WEIR_BATCH_ROWS_MAX, local != 0, 12, 30);
        }
    }
    ck_assert_uint_gt(late, 0);
}
END_TEST

/* --- another parallelism ---------------------------------------------------------------------------------------------- */

enum { SUBTASKS_MAX = 4 };

/* Subtasks, each of which stands at a watermark of its own (W5); the keys of each as bits. */
struct crowd {
    struct kit kit;
    struct oracle *oracle;
    uint32_t groups[KIT_KEYS];
    uint32_t parallelism;
    uint32_t keys[SUBTASKS_MAX];
    struct kit_op *ops; /* SUBTASKS_MAX */
};

static void share_keys(struct crowd *crowd, uint32_t parallelism)
{
    crowd->parallelism = parallelism;
    memset(crowd->keys, 0, sizeof(crowd->keys));
    for (int key = 0; key < KIT_KEYS; key++) {
        crowd->keys[weir_key_group_owner(crowd->groups[key], 128, parallelism)] |= 1u << key;
    }
}

static void crowd_init(struct crowd *crowd, uint64_t seed, struct weir_window_spec window, bool stored)
{
    *crowd = (struct crowd){.oracle = oracle_create(), .ops = calloc(SUBTASKS_MAX, sizeof(struct kit_op))};
    kit_init(&crowd->kit, seed, kit_all, KIT_CALLS, 2, window);
    if (stored) {
        kit_use_store(&crowd->kit);
    }
    struct weir_arena *arena = weir_arena_create(0);
    for (int key = 0; key < KIT_KEYS; key++) {
        struct kit_row row = kit_random_row(&crowd->kit.rand, 0);
        uint64_t hash;
        row.key = key;
        struct weir_batch *batch = kit_batch(&crowd->kit, &row, 1);
        weir_rowkeys_hash(batch, kit_key_columns, 2, arena, &hash);
        crowd->groups[key] = weir_key_group(hash, 128);
        weir_batch_unref(batch);
    }
    weir_arena_destroy(arena);
    share_keys(crowd, 1 + (uint32_t)weir_rand_below(&crowd->kit.rand, SUBTASKS_MAX));
    for (uint32_t s = 0; s < SUBTASKS_MAX; s++) {
        kit_open(&crowd->kit, &crowd->ops[s], &weir_window_agg_op, WEIR_OP_WINDOW_AGG, false);
        if (s < crowd->parallelism) {
            kit_reopen(&crowd->ops[s], s, crowd->parallelism);
        }
    }
}

static void crowd_fini(struct crowd *crowd)
{
    for (uint32_t s = 0; s < SUBTASKS_MAX; s++) {
        kit_close(&crowd->ops[s]);
    }
    free(crowd->ops);
    free(crowd->oracle);
    kit_fini(&crowd->kit);
}

static void crowd_process(struct crowd *crowd, int64_t now)
{
    static struct kit_row rows[SUBTASKS_MAX][300];
    uint32_t counts[SUBTASKS_MAX] = {0};
    uint32_t count = 1 + (uint32_t)weir_rand_below(&crowd->kit.rand, 300);
    for (uint32_t i = 0; i < count; i++) {
        struct kit_row row = kit_random_row(&crowd->kit.rand, now + (int64_t)weir_rand_below(&crowd->kit.rand, 160) - 80);
        uint32_t s = weir_key_group_owner(crowd->groups[row.key], 128, crowd->parallelism);
        oracle_add(crowd->oracle, &crowd->kit, &row);
        rows[s][counts[s]++] = row;
    }
    for (uint32_t s = 0; s < crowd->parallelism; s++) {
        if (counts[s] > 0) {
            kit_process_take(&crowd->ops[s], kit_batch(&crowd->kit, rows[s], counts[s]));
        }
    }
}

/* Every old subtask's state to every new one. */
static void crowd_rescale(struct crowd *crowd)
{
    struct weir_buf states[SUBTASKS_MAX] = {0};
    struct weir_error err = {0};
    uint32_t before = crowd->parallelism;
    for (uint32_t s = 0; s < before; s++) {
        kit_snapshot(&crowd->ops[s], &states[s]);
    }
    share_keys(crowd, 1 + (uint32_t)weir_rand_below(&crowd->kit.rand, SUBTASKS_MAX));
    for (uint32_t s = 0; s < crowd->parallelism; s++) {
        struct kit_op *op = &crowd->ops[s];
        kit_reopen(op, s, crowd->parallelism);
        for (uint32_t old = 0; old < before; old++) {
            kit_finish(op, op->op->vtable->restore(op->op, 7, weir_buf_slice(&states[old]), &err), &err);
        }
        ck_assert_msg(op->op->vtable->restored(op->op, &err) == WEIR_OK, "%s", err.text);
        ck_assert_uint_eq(op->nout, 0);
    }
    if (crowd->kit.backend != NULL) {
        kit_clear_store(&crowd->kit);
    }
    for (uint32_t s = 0; s < before; s++) {
        weir_buf_fini(&states[s]);
    }
}

/* Subtasks whose watermarks differ hand their key groups over, again and again: nothing fires twice, is late sooner, or gets lost. */
START_TEST(key_groups_move_between_subtasks)
{
    uint64_t late = 0;
    for (uint64_t seed = 0; seed < 12; seed++) {
        struct crowd crowd;
        int64_t now = -1000;
        crowd_init(&crowd, 400 + seed, windows[_i], seed % 2 == 0);
        for (int step = 0; step < 150; step++, now += (int64_t)weir_rand_below(&crowd.kit.rand, 14)) {
            crowd_process(&crowd, now);
            uint32_t s = (uint32_t)weir_rand_below(&crowd.kit.rand, crowd.parallelism);
            int64_t watermark = now - (int64_t)weir_rand_below(&crowd.kit.rand, 90) + 20;
            if (weir_rand_below(&crowd.kit.rand, 2) == 0) {
                kit_watermark(&crowd.ops[s], watermark);
                check_fired_of(&crowd.kit, &crowd.ops[s], crowd.oracle, crowd.keys[s], watermark);
            }
            if (weir_rand_below(&crowd.kit.rand, 8) == 0) {
                crowd_rescale(&crowd);
            }
        }
        for (uint32_t s = 0; s < crowd.parallelism; s++) {
            kit_watermark(&crowd.ops[s], WEIR_WATERMARK_MAX);
            check_fired_of(&crowd.kit, &crowd.ops[s], crowd.oracle, crowd.keys[s], WEIR_WATERMARK_MAX);
        }
        late += crowd.oracle->late;
        crowd_fini(&crowd);
    }
    ck_assert_uint_gt(late, 0);
}
END_TEST

/* A part that is missing, twice or out of order is noticed. */
START_TEST(all_parts_are_wanted)
{
    static const uint32_t orders[][3] = {{0, 1, 9}, {1, 2, 9}, {0, 2, 9}, {0, 0, 1}, {2, 1, 0}, {0, 1, 2}};
    struct crowd crowd;
    struct weir_buf states[3] = {0};
    crowd_init(&crowd, 5, windows[0], false);
    for (uint32_t s = 0; s < 3; s++) {
        kit_reopen(&crowd.ops[s], s, 3);
        kit_snapshot(&crowd.ops[s], &states[s]);
    }
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        struct weir_error err = {0};
        struct weir_op *op = crowd.ops[0].op;
        enum weir_rc rc = WEIR_OK;
        kit_reopen(&crowd.ops[0], 0, 1);
        for (uint32_t k = 0; k < 3 && orders[i][k] < 3 && rc == WEIR_OK; k++) {
            rc = op->vtable->restore(op, 7, weir_buf_slice(&states[orders[i][k]]), &err);
        }
        rc = rc == WEIR_OK ? op->vtable->restored(op, &err) : rc;
        ck_assert_int_eq(rc, i == 5 ? WEIR_OK : WEIR_CORRUPT);
    }
    for (uint32_t s = 0; s < 3; s++) {
        weir_buf_fini(&states[s]);
    }
    crowd_fini(&crowd);
}
END_TEST

/* Some rows of several slices, after a watermark; the operator as restored to it. */
static void fill(struct kit *kit, struct kit_op *op, struct weir_window_spec window, struct weir_buf *state)
{
    kit_init(kit, 1, kit_all, KIT_CALLS, 2, window);
    kit_open(kit, op, &weir_window_agg_op, WEIR_OP_WINDOW_AGG, false);
    kit_watermark(op, 5);
    struct kit_row rows[20];
    for (int i = 0; i < 20; i++) {
        rows[i] = kit_random_row(&kit->rand, 30 + i);
    }
    kit_process_take(op, kit_batch(kit, rows, 20));
    kit_snapshot(op, state);
    kit_reopen(op, 0, 1);
}

/* Slices are fired, released and dropped while a snapshot still needs them. */
START_TEST(snapshot_behind_the_barrier)
{
    static struct kit_op op;
    static struct kit_row rows[1000];
    struct kit kit;
    kit_init(&kit, 1, kit_all, KIT_CALLS, 2, windows[_i]);
    kit_use_store(&kit);
    kit_open(&kit, &op, &weir_window_agg_op, WEIR_OP_WINDOW_AGG, false);
    kit_watermark(&op, 5);
    for (int i = 0; i < 1000; i++) {
        rows[i] = kit_random_row(&kit.rand, 30 + i);
    }
    kit_process_take(&op, kit_batch(&kit, rows, 1000));
    kit_snapshot_while_it_runs(&op, rows + 100, 500, 700);
    kit_close(&op);
    kit_fini(&kit);
}
END_TEST

START_TEST(damaged_state)
{
    static struct kit_op op;
    struct kit kit;
    struct weir_buf state = {0};
    fill(&kit, &op, windows[_i], &state);
    kit_damage(&op, weir_buf_slice(&state));
    kit_close(&op);
    weir_buf_fini(&state);
    kit_fini(&kit);
}
END_TEST

/* Slices that cannot be are refused: they would not fit the windows. The one watermark stands at byte 13, in milliseconds. */
START_TEST(impossible_slices)
{
    static struct kit_op op;
    struct kit kit;
    struct weir_buf state = {0};
    fill(&kit, &op, windows[2], &state);
    static const int64_t watermarks[] = {5, 20, 28, 39, 200, WEIR_WATERMARK_MAX - 1, WEIR_WATERMARK_MAX, WEIR_WATERMARK_MIN};
    for (size_t i = 0; i < sizeof(watermarks) / sizeof(watermarks[0]); i++) {
        int64_t watermark = watermarks[i];
        weir_le_put_u64(state.data + 13, (uint64_t)watermark);
        bool late = watermark >= 59; /* the last window of the slice that ends at 40 ends at 60 */
        ck_assert_int_eq(kit_try_restore(&op, state.data, state.len), late ? WEIR_CORRUPT : WEIR_OK);
    }
    op.spec.u.agg.window.slide_ms = 15;
    kit_reopen(&op, 0, 1);
    ck_assert_int_eq(kit_try_restore(&op, state.data, state.len), WEIR_INVALID);
    op.spec.u.agg.window.slide_ms = 10;
    op.ctx.max_parallelism = 64;
    kit_reopen(&op, 0, 1);
    ck_assert_int_eq(kit_try_restore(&op, state.data, state.len), WEIR_INVALID);
    kit_close(&op);
    weir_buf_fini(&state);
    kit_fini(&kit);
}
END_TEST

START_TEST(null_time_is_an_error)
{
    static struct kit_op op;
    struct kit kit;
    kit_init(&kit, 1, kit_all, 1, 1, windows[0]);
    kit_open(&kit, &op, _i == 0 ? &weir_window_agg_op : &weir_local_agg_op, _i == 0 ? WEIR_OP_WINDOW_AGG : WEIR_OP_LOCAL_AGG, false);
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, kit.raw, 2, kit.mem);
    struct kit_row row = kit_random_row(&kit.rand, 5);
    kit_put_row(&builder, 0, &row);
    kit_put_row(&builder, 1, &row);
    weir_column_builder_put_null(&builder.cols[COL_TS], 1);
    builder.nrows = 2;
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    weir_batch_builder_fini(&builder);
    struct weir_error err = {0};
    ck_assert_int_eq(op.op->vtable->process(op.op, 0, batch, &err), WEIR_DATA);
    ck_assert_ptr_nonnull(strstr(err.text, "RowTime field should not be null"));
    weir_batch_unref(batch);
    kit_close(&op);
    kit_fini(&kit);
}
END_TEST

/* Many keys in one firing: several output batches, in key order, stopped and resumed between them; state is dropped. */
START_TEST(many_keys)
{
    enum { KEYS = 30000 };
    static struct kit_op op;
    struct kit kit;
    static const uint32_t calls[] = {0, 4};
    kit_init(&kit, 1, calls, 2, 2, windows[2]);
    kit_open(&kit, &op, &weir_window_agg_op, WEIR_OP_WINDOW_AGG, false);
    for (int key = 0; key < KEYS * 2; key += 3000) {
        struct weir_batch_builder builder;
        weir_batch_builder_init(&builder, kit.raw, 3000, kit.mem);
        for (uint32_t i = 0; i < 3000; i++) {
            struct kit_row row = kit_random_row(&kit.rand, (key / KEYS) * 10);
            row.key = (key + (int)i) % KEYS;
            row.s = row.key;
            kit_put_row(&builder, i, &row);
            builder.nrows++;
        }
        kit_process_take(&op, weir_batch_builder_finish(&builder));
        weir_batch_builder_fini(&builder);
    }
    ck_assert_uint_gt(kit.state_bytes, KEYS * 32);
    kit_watermark(&op, 10 + 9);
    uint64_t counts[3] = {0};
    for (uint32_t b = 0; b < op.nout; b++) {
        for (uint32_t row = 0; row < op.out[b]->nrows; row++) {
            counts[WEIR_COLUMN_VALUES(&op.out[b]->cols[4], const int64_t)[row]]++;
        }
        weir_batch_unref(op.out[b]);
    }
    op.nout = 0;
    ck_assert_uint_eq(counts[1], KEYS); /* [-20, 10) has one slice with rows, [-10, 20) two */
    ck_assert_uint_eq(counts[2], KEYS);
    kit_watermark(&op, WEIR_WATERMARK_MAX);
    for (uint32_t b = 0; b < op.nout; b++) {
        counts[0] += weir_batch_rows(op.out[b]);
    }
    ck_assert_uint_eq(counts[0], KEYS * 2); /* [0, 30) has both slices, [10, 40) the second */
    kit_close(&op);
    kit_fini(&kit);
}
END_TEST

START_TEST(full_budget_is_an_error)
{
    static struct kit_op op;
    struct kit kit;
    kit_init(&kit, 1, kit_all, 1, 2, windows[0]);
    struct weir_mem *small = weir_mem_create("small", 1 << 20, NULL);
    kit_open(&kit, &op, &weir_window_agg_op, WEIR_OP_WINDOW_AGG, false);
    op.op->vtable->close(op.op);
    memset(op.op + 1, 0, weir_window_agg_op.op_bytes - sizeof(*op.op));
    op.ctx.conn.mem = small;
    struct weir_error err = {0};
    ck_assert_int_eq(op.op->vtable->open(op.op, &op.spec, &err), WEIR_OK);
    enum weir_rc rc = WEIR_OK;
    for (int round = 0; round < 100 && rc == WEIR_OK; round++) {
        struct weir_batch_builder builder;
        weir_batch_builder_init(&builder, kit.raw, 1000, kit.mem);
        for (uint32_t i = 0; i < 1000; i++) {
            struct kit_row row = kit_random_row(&kit.rand, 0);
            row.key = round * 1000 + (int)i + 1;
            kit_put_row(&builder, i, &row);
            builder.nrows++;
        }
        struct weir_batch *batch = weir_batch_builder_finish(&builder);
        weir_batch_builder_fini(&builder);
        rc = op.op->vtable->process(op.op, 0, batch, &err);
        weir_batch_unref(batch);
        ck_assert_uint_le(weir_mem_used(small), 1 << 20);
    }
    ck_assert_int_eq(rc, WEIR_RESOURCE);
    ck_assert_ptr_nonnull(strstr(err.text, "taskmanager.memory.size"));
    kit_close(&op);
    weir_mem_destroy(small);
    kit_fini(&kit);
}
END_TEST

enum { VEHICLE_BATCHES = 64 };

struct spent {
    int64_t direct_ns, local_ns, global_ns;
};

/* All batches through the window, directly or behind a local aggregation; the sum of all counts. */
static uint64_t drive_vehicles(struct kit *kit, struct weir_batch *const *batches, bool local, struct spent *spent)
{
    static struct kit_op op;
    static struct kit_op pre;
    const struct weir_clock *clock = weir_clock_real();
    kit_open(kit, &op, &weir_window_agg_op, WEIR_OP_WINDOW_AGG, local);
    kit_open(kit, &pre, &weir_local_agg_op, WEIR_OP_LOCAL_AGG, false);
    op.ready_at_random = pre.ready_at_random = false;
    for (uint32_t b = 0; b < VEHICLE_BATCHES; b++) {
        int64_t begin = weir_clock_mono_ns(clock);
        kit_process_take(local ? &pre : &op, weir_batch_ref(batches[b]));
        if (local && b % 16 == 15) {
            kit_flush(&pre);
        }
        int64_t middle = weir_clock_mono_ns(clock);
        kit_pass_on(&pre, &op);
        if (b % 16 == 15) {
            kit_watermark(&op, (int64_t)b * 1000);
        }
        int64_t end = weir_clock_mono_ns(clock);
        spent->direct_ns += local ? 0 : end - begin;
        spent->local_ns += local ? middle - begin : 0;
        spent->global_ns += local ? end - middle : 0;
    }
    kit_watermark(&op, WEIR_WATERMARK_MAX);
    uint64_t total = 0;
    for (uint32_t b = 0; b < op.nout; b++) {
        for (uint32_t row = 0; row < op.out[b]->nrows; row++) {
            total += (uint64_t)WEIR_COLUMN_VALUES(&op.out[b]->cols[3], const int64_t)[row];
        }
    }
    kit_close(&op);
    kit_close(&pre);
    return total;
}

/* The vehicles query: 5 types, tumbling 20 s, COUNT and AVG. Prints ns/row when WEIR_BENCH is set. */
START_TEST(vehicles)
{
    static struct weir_batch *batches[VEHICLE_BATCHES];
    static const uint32_t calls[] = {0, 3};
    struct kit kit;
    struct weir_window_spec window = {.kind = WEIR_WINDOW_TUMBLE, .size_ms = 20000, .slide_ms = 20000};
    kit_init(&kit, 1, calls, 2, 1, window);
    for (uint32_t b = 0; b < VEHICLE_BATCHES; b++) {
        static struct kit_row rows[WEIR_BATCH_ROWS_MAX];
        for (uint32_t i = 0; i < WEIR_BATCH_ROWS_MAX; i++) {
            rows[i] = kit_random_row(&kit.rand, (int64_t)b * 1000 + (int64_t)i / 5);
            rows[i].key = 2 + (int)weir_rand_below(&kit.rand, 5) * 2;
            rows[i].has_v = true;
        }
        batches[b] = kit_batch(&kit, rows, WEIR_BATCH_ROWS_MAX);
    }
    uint64_t rounds = getenv("WEIR_BENCH") != NULL ? 100 : 1;
    uint64_t rows = (uint64_t)VEHICLE_BATCHES * WEIR_BATCH_ROWS_MAX;
    struct spent spent = {0};
    for (uint64_t round = 0; round < rounds; round++) {
        ck_assert_uint_eq(drive_vehicles(&kit, batches, false, &spent), rows);
        ck_assert_uint_eq(drive_vehicles(&kit, batches, true, &spent), rows);
    }
    ck_assert_uint_eq(kit.late, 0);
    if (rounds > 1) {
        double n = (double)(rounds * rows);
        (void)printf("vehicles: window_agg on raw rows %.1f ns/row; local_agg %.1f, window_agg on its partial rows %.2f ns per raw row\n",
                     (double)spent.direct_ns / n, (double)spent.local_ns / n, (double)spent.global_ns / n);
    }
    for (uint32_t b = 0; b < VEHICLE_BATCHES; b++) {
        weir_batch_unref(batches[b]);
    }
    kit_fini(&kit);
}
END_TEST

Suite *window_agg_suite(void);
Suite *window_agg_suite(void)
{
    Suite *suite = suite_create("window_agg");
    TCase *tcase = tcase_create("window_agg");
    tcase_add_loop_test(tcase, equals_row_at_a_time, 0, WINDOWS);
    tcase_add_loop_test(tcase, any_batch_size, 0, WINDOWS);
    tcase_add_loop_test(tcase, goes_on_from_snapshots, 0, WINDOWS);
    tcase_add_loop_test(tcase, snapshot_behind_the_barrier, 0, WINDOWS);
    tcase_add_loop_test(tcase, damaged_state, 0, WINDOWS);
    tcase_add_test(tcase, impossible_slices);
    tcase_add_loop_test(tcase, key_groups_move_between_subtasks, 0, WINDOWS);
    tcase_add_test(tcase, all_parts_are_wanted);
    tcase_add_loop_test(tcase, null_time_is_an_error, 0, 2);
    tcase_add_test(tcase, many_keys);
    tcase_add_test(tcase, full_budget_is_an_error);
    tcase_add_test(tcase, vehicles);
    suite_add_tcase(suite, tcase);
    return suite;
}
