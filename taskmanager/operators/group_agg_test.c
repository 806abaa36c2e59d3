#include "taskmanager/operators/group_agg.h"

#include "common/base/clock.h"
#include "taskmanager/operators/agg_snap_test_kit.h"
#include "taskmanager/operators/agg_test_kit.h"
#include "taskmanager/operators/local_agg.h"

enum { LIVE_MAX = 4096 };

static const uint32_t retractable[] = {0, 1, 2, 3, 6, 7, 9, 10, 12};
enum { RETRACTABLE = sizeof(retractable) / sizeof(retractable[0]) };
static const struct weir_window_spec no_window = {.kind = WEIR_WINDOW_NONE};

/* Row at a time, and what the changelog so far amounts to. */
struct oracle {
    struct kit_acc accs[KIT_KEYS];
    char view[KIT_KEYS][KIT_LINE_MAX]; /* empty: no row */
    struct kit_row live[LIVE_MAX];     /* rows that can be taken back */
    uint32_t nlive;
};

static void expected_line(const struct kit *kit, const struct kit_acc *acc, int key, char *to)
{
    struct weir_buf line = {0};
    if (acc->rows > 0) {
        kit_put_key(&line, key, kit->nkeys);
        for (uint32_t i = 0; i < kit->ncalls; i++) {
            kit_put_call(&line, acc, kit->call_numbers[i]);
        }
    }
    kit_line_end(&line, to);
}

static int key_of_line(const struct kit *kit, const char *line)
{
    char key[KIT_LINE_MAX];
    for (int k = 0; k < KIT_KEYS; k++) {
        struct weir_buf buf = {0};
        kit_put_key(&buf, k, kit->nkeys);
        size_t len = buf.len;
        kit_line_end(&buf, key);
        if (strncmp(line, key, len) == 0 && (line[len] == '|' || kit->nkeys == 0)) {
            return k;
        }
    }
    ck_abort_msg("no such key: %s", line);
}

/* Applies one output batch to the view; every change must fit what is there, and a key may change once. */
static void apply_changes(const struct kit *kit, struct oracle *oracle, const struct weir_batch *batch)
{
    bool changed[KIT_KEYS] = {false};
    char line[KIT_LINE_MAX] = "";
    const uint16_t *sel = weir_batch_sel(batch);
    const uint8_t *kinds = weir_batch_kinds(batch);
    int before = -1; /* the key whose -U came last */
    for (uint32_t i = 0; i < weir_batch_rows(batch); i++) {
        uint32_t row = sel == NULL ? i : sel[i];
        struct weir_buf buf = {0};
        kit_put_row_of(&buf, batch, row, 0);
        kit_line_end(&buf, line);
        int key = key_of_line(kit, line);
        enum weir_row_kind kind = kinds == NULL ? WEIR_INSERT : (enum weir_row_kind)kinds[row];
        if (kind == WEIR_UPDATE_AFTER) {
            ck_assert_int_eq(before, key);
            ck_assert_str_ne(oracle->view[key], line);
            memcpy(oracle->view[key], line, sizeof(line));
            before = -1;
            continue;
        }
        ck_assert_int_eq(before, -1);
        ck_assert(!changed[key]);
        changed[key] = true;
        if (kind == WEIR_INSERT) {
            ck_assert_str_eq(oracle->view[key], "");
            memcpy(oracle->view[key], line, sizeof(line));
        } else {
            ck_assert_str_eq(oracle->view[key], line);
            before = kind == WEIR_UPDATE_BEFORE ? key : -1;
            if (kind == WEIR_DELETE) {
                oracle->view[key][0] = '\0';
            }
        }
    }
    ck_assert_int_eq(before, -1);
}

static void check_view(const struct kit *kit, struct oracle *oracle, struct kit_op *op)
{
    for (uint32_t b = 0; b < op->nout; b++) {
        apply_changes(kit, oracle, op->out[b]);
        weir_batch_unref(op->out[b]);
    }
    op->nout = 0;
    for (int key = 0; key < KIT_KEYS; key++) {
        char line[KIT_LINE_MAX];
        expected_line(kit, &oracle->accs[key], key, line);
        ck_assert_str_eq(oracle->view[key], line);
    }
}

static struct kit_row next_row(struct kit *kit, struct oracle *oracle, bool changelog)
{
    struct kit_row row;
    if (changelog && oracle->nlive > 0 && (weir_rand_below(&kit->rand, 2) == 0 || oracle->nlive == LIVE_MAX)) {
        uint32_t at = (uint32_t)weir_rand_below(&kit->rand, oracle->nlive);
        row = oracle->live[at];
        row.sign = -1;
        oracle->live[at] = oracle->live[--oracle->nlive];
    } else {
        row = kit_random_row(&kit->rand, 0);
        if (changelog) {
            oracle->live[oracle->nlive++] = row;
        }
    }
    kit_acc_add(&oracle->accs[kit->nkeys == 0 ? 0 : row.key], &row);
    return row;
}

/* restarts: of 100 batches, after how many the operator is replaced by one restored from its snapshot. */
static void run_restarted(uint64_t seed, bool changelog, uint32_t nkeys, uint32_t batch_rows_max, bool local, uint32_t batches,
                          uint32_t restarts)
{
    static struct kit_op op;
    static struct kit_op pre;
    struct kit kit;
    kit_init(&kit, seed, changelog ? retractable : kit_all, changelog ? RETRACTABLE : KIT_CALLS, nkeys, no_window);
    if (seed % 2 == 0) {
        kit_use_store(&kit);
    }
    struct oracle *oracle = calloc(1, sizeof(*oracle));
    kit_open(&kit, &op, &weir_group_agg_op, WEIR_OP_GROUP_AGG, local);
    if (local) {
        kit_open(&kit, &pre, &weir_local_agg_op, WEIR_OP_LOCAL_AGG, false);
    }
    for (uint32_t b = 0; b < batches; b++) {
        static struct kit_row rows[WEIR_BATCH_ROWS_MAX];
        uint32_t count = 1 + (uint32_t)weir_rand_below(&kit.rand, batch_rows_max);
        for (uint32_t i = 0; i < count; i++) {
            rows[i] = next_row(&kit, oracle, changelog);
        }
        kit_process_take(local ? &pre : &op, kit_batch(&kit, rows, count));
        bool barrier = weir_rand_below(&kit.rand, 100) < restarts;
        if (local && (barrier || weir_rand_below(&kit.rand, 3) == 0)) {
            kit_flush(&pre);
            kit_pass_on(&pre, &op);
        }
        if (barrier) {
            kit_restart(&op);
        }
        if (!local || pre.nout == 0) {
            bool held_back = local && weir_rand_below(&kit.rand, 2) == 0;
            if (local && !held_back) {
                kit_flush(&pre);
                kit_pass_on(&pre, &op);
            }
            if (!held_back) {
                check_view(&kit, oracle, &op);
            }
        }
    }
    if (changelog) { /* take everything back: nothing is left, not even state */
        while (oracle->nlive > 0) {
            static struct kit_row rows[WEIR_BATCH_ROWS_MAX];
            uint32_t count = 0;
            while (oracle->nlive > 0 && count < batch_rows_max) {
                rows[count] = oracle->live[--oracle->nlive];
                rows[count].sign = -1;
                kit_acc_add(&oracle->accs[nkeys == 0 ? 0 : rows[count].key], &rows[count]);
                count++;
            }
            kit_process_take(local ? &pre : &op, kit_batch(&kit, rows, count));
        }
    }
    if (local) {
        kit_flush(&pre);
        kit_pass_on(&pre, &op);
        kit_close(&pre);
    }
    check_view(&kit, oracle, &op);
    for (int key = 0; key < KIT_KEYS && changelog; key++) {
        ck_assert_str_eq(oracle->view[key], "");
    }
    kit_close(&op);
    free(oracle);
    kit_fini(&kit);
}

static void run(uint64_t seed, bool changelog, uint32_t nkeys, uint32_t batch_rows_max, bool local, uint32_t batches)
{
    run_restarted(seed, changelog, nkeys, batch_rows_max, local, batches, 0);
}

START_TEST(inserts)
{
    for (uint32_t nkeys = 0; nkeys <= 2; nkeys++) {
        run(10 + nkeys, false, nkeys, 40, _i != 0, 150);
        run(20 + nkeys, false, nkeys, 1, _i != 0, 300);
        run(30 + nkeys, false, nkeys, WEIR_BATCH_ROWS_MAX, _i != 0, 5);
    }
}
END_TEST

START_TEST(changelogs)
{
    for (uint32_t nkeys = 0; nkeys <= 2; nkeys++) {
        run(40 + nkeys, true, nkeys, 40, _i != 0, 150);
        run(50 + nkeys, true, nkeys, 1, _i != 0, 400);
        run(60 + nkeys, true, nkeys, WEIR_BATCH_ROWS_MAX, _i != 0, 5);
    }
}
END_TEST

/* More keys in a batch than one output holds. */
START_TEST(full_batch_of_keys)
{
    static struct kit_op op;
    struct kit kit;
    kit_init(&kit, 1, kit_all, 2, 2, no_window);
    kit_open(&kit, &op, &weir_group_agg_op, WEIR_OP_GROUP_AGG, false);
    for (int round = 0; round < 2; round++) {
        static struct kit_row rows[WEIR_BATCH_ROWS_MAX];
        for (int i = 0; i < WEIR_BATCH_ROWS_MAX; i++) {
            rows[i] = kit_random_row(&kit.rand, 0);
            rows[i].key = i + 1;
        }
        kit_process_take(&op, kit_batch(&kit, rows, WEIR_BATCH_ROWS_MAX));
        ck_assert_uint_eq(op.nout, 2);
        int32_t key = 0;
        for (uint32_t b = 0; b < op.nout; b++) {
            ck_assert_uint_eq(weir_batch_rows(op.out[b]), WEIR_BATCH_ROWS_MAX / 2 * (round + 1));
            struct weir_batch *batch = weir_batch_compact(op.out[b]);
            for (uint32_t row = 0; row < batch->nrows; row++) {
                key += round == 0 || row % 2 == 0;
                ck_assert_int_eq(WEIR_COLUMN_VALUES(&batch->cols[1], const int32_t)[row], key);
                uint8_t kind = round == 0 ? WEIR_INSERT : row % 2 == 0 ? WEIR_UPDATE_BEFORE : WEIR_UPDATE_AFTER;
                ck_assert_uint_eq(round == 0 ? WEIR_INSERT : weir_batch_kinds(batch)[row], kind);
            }
            weir_batch_unref(batch);
            weir_batch_unref(op.out[b]);
        }
        ck_assert_int_eq(key, WEIR_BATCH_ROWS_MAX);
        op.nout = 0;
    }
    kit_close(&op);
    kit_fini(&kit);
}
END_TEST

/* A -D that overtook its +I between two local aggregates waits, silently. */
START_TEST(negative_counts_wait)
{
    static struct kit_op op;
    struct kit kit;
    kit_init(&kit, 1, retractable, 3, 1, no_window);
    kit_open(&kit, &op, &weir_group_agg_op, WEIR_OP_GROUP_AGG, false);
    struct kit_row row = kit_random_row(&kit.rand, 0);
    row.sign = -1;
    kit_process_take(&op, kit_batch(&kit, &row, 1));
    ck_assert_uint_eq(op.nout, 0);
    row.sign = 1;
    kit_process_take(&op, kit_batch(&kit, &row, 1));
    ck_assert_uint_eq(op.nout, 0);
    kit_process_take(&op, kit_batch(&kit, &row, 1));
    ck_assert_uint_eq(op.nout, 1);
    struct weir_batch *batch = weir_batch_compact(op.out[0]);
    ck_assert_uint_eq(batch->nrows, 1);
    ck_assert_int_eq(WEIR_COLUMN_VALUES(&batch->cols[1], const int64_t)[0], 1);
    weir_batch_unref(batch);
    kit_close(&op);
    kit_fini(&kit);
}
END_TEST

START_TEST(min_of_a_changelog_is_refused)
{
    static struct kit_op op;
    struct kit kit;
    kit_init(&kit, 1, kit_all, KIT_CALLS, 1, no_window);
    kit_open(&kit, &op, _i == 0 ? &weir_group_agg_op : &weir_local_agg_op, _i == 0 ? WEIR_OP_GROUP_AGG : WEIR_OP_LOCAL_AGG, false);
    struct kit_row rows[2] = {kit_random_row(&kit.rand, 0), kit_random_row(&kit.rand, 0)};
    rows[1].sign = -1;
    struct weir_batch *batch = kit_batch(&kit, rows, 2);
    struct weir_error err = {0};
    ck_assert_int_eq(op.op->vtable->process(op.op, 0, batch, &err), WEIR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.text, "cannot take rows back"));
    weir_batch_unref(batch);
    kit_close(&op);
    kit_fini(&kit);
}
END_TEST

/* Partial aggregates come over the wire: cut or lengthened ones are an error, never read beyond. */
START_TEST(corrupt_partials)
{
    static struct kit_op op;
    static struct kit_op pre;
    struct kit kit;
    kit_init(&kit, 1, kit_all, KIT_CALLS, 1, no_window);
    kit_open(&kit, &pre, &weir_local_agg_op, WEIR_OP_LOCAL_AGG, false);
    struct kit_row row = kit_random_row(&kit.rand, 0);
    row.s = 3;
    kit_process_take(&pre, kit_batch(&kit, &row, 1));
    kit_flush(&pre);
    ck_assert_uint_eq(pre.nout, 1);
    struct weir_slice good = weir_column_slice(&pre.out[0]->cols[1], 0);
    for (size_t len = 0; len <= good.len + 1; len++) {
        kit_open(&kit, &op, &weir_group_agg_op, WEIR_OP_GROUP_AGG, true);
        struct weir_batch_builder builder;
        weir_batch_builder_init(&builder, kit.partial, 1, kit.mem);
        uint8_t *bytes = malloc(len == 0 ? 1 : len);
        memcpy(bytes, good.data, len < good.len ? len : good.len);
        if (len > good.len) {
            bytes[good.len] = 0;
        }
        weir_column_builder_copy(&builder.cols[0], 0, &pre.out[0]->cols[0], 0);
        weir_column_builder_put_str(&builder.cols[1], 0, weir_slice(bytes, len));
        weir_column_builder_copy(&builder.cols[2], 0, &pre.out[0]->cols[2], 0);
        builder.nrows = 1;
        struct weir_batch *batch = weir_batch_builder_finish(&builder);
        struct weir_error err = {0};
        ck_assert_int_eq(op.op->vtable->process(op.op, 0, batch, &err), len == good.len ? WEIR_OK : WEIR_CORRUPT);
        weir_batch_unref(batch);
        weir_batch_builder_fini(&builder);
        free(bytes);
        kit_close(&op);
    }
    kit_close(&pre);
    kit_fini(&kit);
}
END_TEST

START_TEST(goes_on_from_snapshots)
{
    bool local = _i % 2 != 0;
    bool changelog = _i / 2 != 0;
    for (uint32_t nkeys = 0; nkeys <= 2; nkeys++) {
        run_restarted(70 + nkeys, changelog, nkeys, 40, local, 150, 5);
        run_restarted(80 + nkeys, changelog, nkeys, 40, local, 60, 100);
        run_restarted(90 + nkeys, changelog, nkeys, 1, local, 300, 3);
        run_restarted(95 + nkeys, changelog, nkeys, WEIR_BATCH_ROWS_MAX, local, 5, 40);
    }
}
END_TEST

/* Values are replaced and keys removed while a snapshot still needs them. */
START_TEST(snapshot_behind_the_barrier)
{
    static struct kit_op op;
    static struct kit_row rows[1000];
    struct kit kit;
    bool changelog = _i == 1;
    kit_init(&kit, 1, changelog ? retractable : kit_all, changelog ? RETRACTABLE : KIT_CALLS, 2, no_window);
    kit_use_store(&kit);
    kit_open(&kit, &op, &weir_group_agg_op, WEIR_OP_GROUP_AGG, false);
    for (int i = 0; i < 1000; i++) {
        rows[i] = kit_random_row(&kit.rand, 0);
    }
    kit_process_take(&op, kit_batch(&kit, rows, 1000));
    for (int i = 0; changelog && i < 1000; i++) {
        rows[i].sign = -1; /* takes every row back */
    }
    kit_snapshot_while_it_runs(&op, rows, changelog ? 1000 : 300, WEIR_WATERMARK_MIN);
    kit_close(&op);
    kit_fini(&kit);
}
END_TEST

START_TEST(damaged_state)
{
    static struct kit_op op;
    struct kit kit;
    struct weir_buf state = {0};
    kit_init(&kit, 1, kit_all, KIT_CALLS, 2, no_window);
    kit_open(&kit, &op, &weir_group_agg_op, WEIR_OP_GROUP_AGG, false);
    struct kit_row rows[20];
    for (int i = 0; i < 20; i++) {
        rows[i] = kit_random_row(&kit.rand, 0);
    }
    kit_process_take(&op, kit_batch(&kit, rows, 20));
    kit_snapshot(&op, &state);
    kit_reopen(&op, 0, 1);
    kit_damage(&op, weir_buf_slice(&state));
    kit.calls[0].expr = kit.calls[2].expr; /* another aggregate than the state is of */
    kit_reopen(&op, 0, 1);
    ck_assert_int_eq(kit_try_restore(&op, state.data, state.len), WEIR_INVALID);
    kit_close(&op);
    weir_buf_fini(&state);
    kit_fini(&kit);
}
END_TEST

static void put_keys(struct kit *kit, struct kit_op *op, int first, int count)
{
    static struct kit_row rows[WEIR_BATCH_ROWS_MAX];
    while (count > 0) {
        int n = count < WEIR_BATCH_ROWS_MAX ? count : WEIR_BATCH_ROWS_MAX;
        for (int i = 0; i < n; i++) {
            rows[i] = kit_random_row(&kit->rand, 0);
            rows[i].key = first + i;
        }
        kit_process_take(op, kit_batch(kit, rows, (uint32_t)n));
        for (uint32_t b = 0; b < op->nout; b++) {
            weir_batch_unref(op->out[b]);
        }
        op->nout = 0;
        first += n;
        count -= n;
    }
}

/* Each of several subtasks takes its own key groups out of one state; together they have all of it. And a budget that is too small says so.
 * Prints ns/entry when WEIR_BENCH is set. */
START_TEST(many_keys_restored_in_parts)
{
    static struct kit_op op;
    struct kit kit;
    struct weir_buf state = {0};
    struct weir_buf part = {0};
    struct weir_error err = {0};
    const struct weir_clock *clock = weir_clock_real();
    int keys = getenv("WEIR_BENCH") != NULL ? 1000000 : 60000;
    kit_init(&kit, 1, kit_all, _i == 0 ? 4 : 6, 2, no_window); /* without and with MIN and MAX of strings */
    kit_open(&kit, &op, &weir_group_agg_op, WEIR_OP_GROUP_AGG, false);
    put_keys(&kit, &op, 1, keys);
    uint64_t grown_bytes = kit.state_bytes;
    int64_t begin = weir_clock_mono_ns(clock);
    kit_snapshot(&op, &state);
    int64_t written = weir_clock_mono_ns(clock);
    kit_reopen(&op, 0, 1);
    int64_t opened = weir_clock_mono_ns(clock);
    ck_assert_int_eq(op.op->vtable->restore(op.op, 7, weir_buf_slice(&state), &err), WEIR_OK);
    int64_t restored = weir_clock_mono_ns(clock);
    if (getenv("WEIR_BENCH") != NULL) {
        (void)printf("group_agg state of %d keys, %zu bytes each: snapshot %.1f, restore %.1f ns/entry\n", keys, state.len / (size_t)keys,
                     (double)(written - begin) / keys, (double)(restored - opened) / keys);
    }
    ck_assert_uint_le(kit.state_bytes, grown_bytes * 2);
    size_t total = 0;
    for (uint32_t subtask = 0; subtask < 3; subtask++) {
        kit_reopen(&op, subtask, 3);
        ck_assert_int_eq(op.op->vtable->restore(op.op, 7, weir_buf_slice(&state), &err), WEIR_OK);
        weir_buf_clear(&part);
        kit_snapshot(&op, &part);
        ck_assert_uint_gt(part.len, state.len / 4);
        total += part.len;
        kit_reopen(&op, (subtask + 1) % 3, 3); /* a part has nothing for another subtask */
        ck_assert_int_eq(op.op->vtable->restore(op.op, 7, weir_buf_slice(&part), &err), WEIR_OK);
        weir_buf_clear(&part);
        kit_snapshot(&op, &part);
        ck_assert_uint_lt(part.len, 300);
    }
    ck_assert_uint_gt(total, state.len); /* three heads, and every entry once */
    ck_assert_uint_lt(total, state.len + 3 * 300);
    struct weir_mem *small = weir_mem_create("small", 1 << 20, NULL);
    op.ctx.conn.mem = small;
    kit_reopen(&op, 0, 1);
    ck_assert_int_eq(op.op->vtable->restore(op.op, 7, weir_buf_slice(&state), &err), WEIR_RESOURCE);
    ck_assert_ptr_nonnull(strstr(err.text, "taskmanager.memory.size"));
    kit_close(&op);
    weir_mem_destroy(small);
    weir_buf_fini(&state);
    weir_buf_fini(&part);
    kit_fini(&kit);
}
END_TEST

Suite *group_agg_suite(void);
Suite *group_agg_suite(void)
{
    Suite *suite = suite_create("group_agg");
    TCase *tcase = tcase_create("group_agg");
    tcase_add_loop_test(tcase, inserts, 0, 2);
    tcase_add_loop_test(tcase, changelogs, 0, 2);
    tcase_add_loop_test(tcase, goes_on_from_snapshots, 0, 4);
    tcase_add_loop_test(tcase, snapshot_behind_the_barrier, 0, 2);
    tcase_add_test(tcase, damaged_state);
    tcase_add_loop_test(tcase, many_keys_restored_in_parts, 0, 2);
    tcase_add_test(tcase, full_batch_of_keys);
    tcase_add_test(tcase, negative_counts_wait);
    tcase_add_loop_test(tcase, min_of_a_changelog_is_refused, 0, 2);
    tcase_add_test(tcase, corrupt_partials);
    suite_add_tcase(suite, tcase);
    return suite;
}
