/*
 * The epoch log's rules one by one: a death at each call, damage, cursors that cannot be, a full log, an aborted checkpoint; and the real thread.
 */
#include "taskmanager/connectors/epoch_log_test_kit.h"

/* --- one thing at a time ------------------------------------------------------------------------------------------------------ */

static void append_n(struct model *model, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) {
        ck_assert(append_some(model, model->live));
    }
}

/* An epoch and its checkpoint, completed; its state is in committed_state. */
static void complete(struct model *model, uint32_t times)
{
    append_n(model, times);
    ck_assert(prepare(model, model->live));
    decide(model, model->live, true);
}

static void replace(struct model *model, bool killed)
{
    attempt_end(&model->live, killed);
    model->live = attempt_create(model);
}

static enum weir_rc pump_restore(struct model *model, struct weir_slice state, struct weir_error *err)
{
    enum weir_rc rc;
    while ((rc = weir_epoch_log_restore(model->live->log, model->committed, state, err)) == WEIR_AGAIN) {
        ck_assert(attempt_work(model->live));
    }
    return rc;
}

static enum weir_rc pump_drain(struct model *model, struct weir_error *err)
{
    enum weir_rc rc;
    while ((rc = weir_epoch_log_drain(model->live->log, err)) == WEIR_AGAIN) {
        uint32_t wakes = model->live->wakes;
        while (model->live->wakes == wakes && weir__drain_step(weir__epoch_log_drain_of(model->live->log)) != WEIR__DRAIN_OVER) {
        }
    }
    return rc;
}

/* F2: after a death at each call of prepare(2), with and without a loss of power, checkpoint 1 comes out, or 2 when prepare had returned OK. The same
 * for each call of restore. */
START_TEST(a_death_at_each_call_of_prepare_and_restore)
{
    struct weir_error err;
    bool over = false;
    for (uint64_t nth = 1; !over; nth++) {
        for (uint64_t seed = 0; seed < 20; seed++) {
            struct model model;
            calm_init(&model, seed);
            complete(&model, 3);
            append_n(&model, 4);
            chk_make(&model, 2);
            weir_buf_clear(&model.live->state);
            weir_fs_sim_fail(model.fs, (struct weir_fs_sim_fault){.nth = nth, .rc = WEIR_IO, .lasting = true});
            enum weir_rc rc;
            while ((rc = weir_epoch_log_prepare(model.live->log, 2, &model.live->state, &err)) == WEIR_AGAIN) {
                ck_assert(attempt_work(model.live));
            }
            over = !weir_fs_sim_failed(model.fs);
            weir_fs_sim_fail(model.fs, (struct weir_fs_sim_fault){0});
            ck_assert(rc == WEIR_IO || over);
            model.live->pending = rc == WEIR_OK ? 2 : 0;
            model.live->pending_end = model.live->salts.len;
            decide(&model, model.live, true);
            if (seed % 2 == 0) {
                weir_fs_sim_crash(model.fs, seed);
            }
            uint64_t fault = seed; /* 0: none */
            for (rc = WEIR_IO; rc == WEIR_IO; fault = 0) {
                replace(&model, true);
                weir_fs_sim_fail(model.fs, (struct weir_fs_sim_fault){.nth = fault, .rc = WEIR_IO, .lasting = true});
                rc = pump_restore(&model, weir_buf_slice(&model.committed_state), &err);
                weir_fs_sim_fail(model.fs, (struct weir_fs_sim_fault){0});
                ck_assert(rc == WEIR_OK || fault > 0);
                if (rc != WEIR_OK) {
                    weir_fs_sim_crash(model.fs, seed);
                }
            }
            ck_assert_msg(rc == WEIR_OK, "call %u, seed %u: %s", (unsigned)nth, (unsigned)seed, rc == WEIR_OK ? "" : err.text);
            salts_copy(&model.live->salts, &model.canon, model.canon.len);
            ck_assert_int_eq(pump_drain(&model, &err), WEIR_OK);
            ck_assert_uint_eq(model.broker.visible.len, model.canon.len);
            check(&model);
            model_fini(&model);
        }
    }
}
END_TEST

static char *only_segment(struct model *model)
{
    struct weir_error err;
    char dir[128];
    chk_dir(dir, model->committed);
    struct sweep sweep = {.fs = model->fs, .dir = dir};
    ck_assert_int_eq(weir_fs_list(model->fs, dir, sweep_add, &sweep, &err), WEIR_OK);
    ck_assert_uint_eq(sweep.count, 1);
    return weir_strdup(sweep.paths[0]);
}

static void expect_corrupt(struct model *model, const char *path)
{
    struct weir_error err;
    replace(model, false);
    ck_assert_int_eq(pump_restore(model, weir_buf_slice(&model->committed_state), &err), WEIR_CORRUPT);
    if (strstr(err.text, path) == NULL) {
        ck_abort_msg("%s", err.text);
    }
}

START_TEST(damage_is_found_and_the_file_named)
{
    struct model model;
    struct weir_error err;
    struct weir_buf good = {0};
    calm_init(&model, 1);
    complete(&model, 2);
    char *path = only_segment(&model);
    ck_assert_int_eq(weir_fs_read_all(model.fs, path, 1 << 20, &good, &err), WEIR_OK);
    for (size_t i = 0; i < good.len; i++) {
        good.data[i] ^= (uint8_t)(1u << i % 8);
        ck_assert_int_eq(weir_fs_write_atomic(model.fs, path, weir_buf_slice(&good), &err), WEIR_OK);
        expect_corrupt(&model, path);
        good.data[i] ^= (uint8_t)(1u << i % 8);
        ck_assert_int_eq(weir_fs_write_atomic(model.fs, path, weir_slice(good.data, i), &err), WEIR_OK);
        expect_corrupt(&model, path);
    }
    weir_buf_put_u8(&good, 0);
    ck_assert_int_eq(weir_fs_write_atomic(model.fs, path, weir_buf_slice(&good), &err), WEIR_OK);
    expect_corrupt(&model, path);
    ck_assert_int_eq(weir_fs_unlink(model.fs, path, &err), WEIR_OK);
    expect_corrupt(&model, path);
    good.len--;
    ck_assert_int_eq(weir_fs_write_atomic(model.fs, path, weir_buf_slice(&good), &err), WEIR_OK);

    struct weir_buf *state = &model.committed_state;
    for (size_t i = 0; i < state->len; i++) {
        replace(&model, false);
        ck_assert_int_eq(pump_restore(&model, weir_slice(state->data, i), &err), WEIR_CORRUPT);
        state->data[i] ^= 0x10;
        ck_assert_int_eq(pump_restore(&model, weir_buf_slice(state), &err), WEIR_CORRUPT);
        ck_assert_ptr_nonnull(strstr(err.text, "table t: the state of the sink's log in checkpoint 1 (subtask 0)"));
        state->data[i] ^= 0x10;
    }

    replace(&model, false); /* sound when it was restored, but not any more when it is drained */
    ck_assert_int_eq(pump_restore(&model, weir_buf_slice(state), &err), WEIR_OK);
    char own[128];
    (void)snprintf(own, sizeof(own), "%s/%s/log/3-0-%u-0", root, job, model.live->number);
    good.data[good.len / 2] ^= 1;
    ck_assert_int_eq(weir_fs_write_atomic(model.fs, own, weir_buf_slice(&good), &err), WEIR_OK);
    ck_assert_int_eq(pump_drain(&model, &err), WEIR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.text, own));
    replace(&model, false);
    ck_assert_int_eq(pump_restore(&model, weir_buf_slice(state), &err), WEIR_OK);
    (void)snprintf(own, sizeof(own), "%s/%s/log/3-0-%u-0", root, job, model.live->number);
    ck_assert_int_eq(weir_fs_unlink(model.fs, own, &err), WEIR_OK);
    ck_assert_int_eq(pump_drain(&model, &err), WEIR_IO); /* a restart helps */
    ck_assert_ptr_nonnull(strstr(err.text, own));
    uint32_t ends = 8; /* and every other call says it from then on */
    ck_assert_int_eq(weir_epoch_log_append(model.live->log, weir_slice("12345678", 8), &ends, 1, &err), WEIR_IO);
    ck_assert_int_eq(weir_epoch_log_commit(model.live->log, 7, &err), WEIR_IO);
    weir_buf_clear(&good);
    ck_assert_int_eq(weir_epoch_log_prepare(model.live->log, 7, &good, &err), WEIR_IO);
    weir_free(path);
    weir_buf_fini(&good);
    model_fini(&model);
}
END_TEST

static void expect_refusal(struct model *model, bool found, uint64_t cursor, const char *text)
{
    struct weir_error err;
    model->broker.has_cursor = found;
    model->broker.cursor = cursor;
    replace(model, false);
    if (model->committed != 0) {
        ck_assert_int_eq(pump_restore(model, weir_buf_slice(&model->committed_state), &err), WEIR_OK);
    } else {
        append_n(model, 1);
    }
    while (weir__drain_step(weir__epoch_log_drain_of(model->live->log)) != WEIR__DRAIN_OVER) {
    }
    while (attempt_work(model->live)) {
    }
    ck_assert_int_eq(weir_epoch_log_drain(model->live->log, &err), WEIR_CORRUPT);
    if (strstr(err.text, text) == NULL || strlen(err.text) + 1 >= WEIR_ERROR_TEXT_MAX) {
        ck_abort_msg("%s", err.text);
    }
}

/* E5 */
START_TEST(a_cursor_that_cannot_be_is_refused)
{
    struct model model;
    struct weir_error err;
    calm_init(&model, 3);
    complete(&model, 2);
    ck_assert(notify(&model, model.live));
    ck_assert_int_eq(pump_drain(&model, &err), WEIR_OK);
    complete(&model, 2); /* knows the cursor */
    uint64_t known = model.broker.cursor;
    expect_refusal(&model, false, 0, "the cursor outside is gone");
    expect_refusal(&model, true, known - 1, "it was set back");
    expect_refusal(&model, true, model.canon.len + 1, "beyond");
    model.committed = 0;
    expect_refusal(&model, true, 1, "no checkpoint is being restored");
    model.broker.has_cursor = false;
    model.broker.cursor = 0;
    model.broker.visible.len = model.canon.len = 0;
    attempt_end(&model.live, false); /* (attempt > 1 without a checkpoint begins at 0) */
    model.live = attempt_create(&model);
    complete(&model, 1);
    ck_assert(notify(&model, model.live));
    ck_assert_int_eq(pump_drain(&model, &err), WEIR_OK);
    check(&model);
    model_fini(&model);
}
END_TEST

/* D4 */
START_TEST(what_takes_too_long_is_tried_in_less)
{
    struct model model;
    struct weir_error err;
    calm_init(&model, 5);
    complete(&model, 20);
    ck_assert(notify(&model, model.live));
    model.broker.count_max = 7;
    ck_assert_int_eq(pump_drain(&model, &err), WEIR_OK);
    ck_assert_uint_eq(model.broker.visible.len, model.canon.len);
    check(&model);
    ck_assert_uint_gt(model.broker.late, 0); /* it tries more, */
    ck_assert_uint_lt(model.broker.late, 20); /* now and then */
    model_fini(&model);
}
END_TEST

/* Some records are drained, and more are committed, but the next call of the target says that recover must come. Returns how many were drained. */
static uint64_t drained_before_trouble(struct model *model, uint32_t trouble, bool spent)
{
    struct weir_error err;
    calm_init(model, 4);
    complete(model, 3);
    ck_assert(notify(model, model->live));
    ck_assert_int_eq(pump_drain(model, &err), WEIR_OK);
    uint64_t first = model->broker.cursor;
    complete(model, 5);
    ck_assert(notify(model, model->live));
    model->broker.spent = spent;
    model->broker.trouble = trouble;
    while (weir__drain_step(weir__epoch_log_drain_of(model->live->log)) != WEIR__DRAIN_LATER) {
    }
    ck_assert(!model->broker.spent);
    model->broker.trouble = 0;
    return first;
}

/* D2; _i: where the cursor is when it is read again. */
START_TEST(a_cursor_behind_a_transaction_in_doubt)
{
    struct model model;
    struct weir_error err;
    uint64_t first = drained_before_trouble(&model, IN_DOUBT, false);
    broker_end(&model.broker, false);
    model.broker.visible.len = first;
    model.broker.has_cursor = true;
    model.broker.cursor = (const uint64_t[]){first - 1, model.canon.len + 1, first, first + 2, model.canon.len}[_i];
    if (_i < 2) {
        ck_assert_int_eq(pump_drain(&model, &err), WEIR_CORRUPT);
        ck_assert_ptr_nonnull(strstr(err.text, _i == 0 ? "nobody knows what became of the next transaction" : "something else has moved it"));
        ck_assert_uint_eq(model.broker.visible.len, first);
    } else {
        for (uint64_t i = first; i < model.broker.cursor; i++) { /* a predecessor that was frozen has written them */
            salts_put(&model.broker.visible, model.canon.items[i]);
        }
        ck_assert_int_eq(pump_drain(&model, &err), WEIR_OK);
        ck_assert_uint_eq(model.broker.visible.len, model.canon.len);
        check(&model);
    }
    model_fini(&model);
}
END_TEST

/* D2; _i: the cursor is lost, set back, or well, and the client must recover before the next transaction, or when that has failed. */
START_TEST(a_cursor_that_was_forgotten_outside)
{
    struct model model;
    struct weir_error err;
    uint64_t first = drained_before_trouble(&model, _i < 3 ? 0 : FAILS, _i < 3);
    model.broker.has_cursor = _i % 3 != 0;
    model.broker.cursor = (const uint64_t[]){0, first - 1, first}[_i % 3];
    ck_assert_int_eq(pump_drain(&model, &err), WEIR_OK);
    ck_assert_uint_eq(model.broker.visible.len, model.canon.len); /* none twice */
    ck_assert_uint_eq(model.broker.cursor, model.canon.len);
    check(&model);
    model_fini(&model);
}
END_TEST

static void as_run(struct model *model, uint32_t run, uint32_t subtask)
{
    attempt_end(&model->live, false);
    model->kit.ctx.run = run;
    model->kit.ctx.subtask = subtask;
    model->live = attempt_create(model);
}

/* E8 */
START_TEST(a_log_of_an_earlier_run_is_over)
{
    struct model model;
    struct weir_error err;
    calm_init(&model, 3);
    model.kit.ctx.parallelism = 4;
    as_run(&model, 5, 1);
    complete(&model, 3);
    struct weir_slice state = weir_buf_slice(&model.committed_state);
    as_run(&model, 5, 2); /* its own run, but another subtask */
    ck_assert_int_eq(pump_restore(&model, state, &err), WEIR_CORRUPT);
    as_run(&model, 4, 1); /* a run that was before */
    ck_assert_int_eq(pump_restore(&model, state, &err), WEIR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.text, "subtask 1 in the run that attempt 5 began"));
    /* A later one, which has another id outside: the state is checked, and nothing of it is drained. */
    model.broker.has_cursor = false;
    as_run(&model, 9, 1);
    ck_assert_int_eq(pump_restore(&model, weir_slice(state.data, state.len - 1), &err), WEIR_CORRUPT);
    ck_assert_int_eq(pump_restore(&model, state, &err), WEIR_OK);
    ck_assert_int_eq(pump_restore(&model, state, &err), WEIR_OK);
    model.canon.len = 0;
    complete(&model, 2);
    ck_assert(notify(&model, model.live));
    ck_assert_int_eq(pump_drain(&model, &err), WEIR_OK);
    ck_assert_uint_eq(model.broker.cursor, model.canon.len);
    check(&model);
    as_run(&model, 9, 1); /* and that state is its own */
    ck_assert(restore(&model, model.live));
    ck_assert_int_eq(pump_drain(&model, &err), WEIR_OK);
    check(&model);
    model_fini(&model);
}
END_TEST

static enum weir_rc append_one(struct model *model)
{
    struct weir_error err;
    struct weir_buf bytes = {0};
    uint64_t salt = weir_rand_u64(&model->rand);
    record_put(&bytes, salt);
    uint32_t ends = (uint32_t)bytes.len;
    enum weir_rc rc = weir_epoch_log_append(model->live->log, weir_buf_slice(&bytes), &ends, 1, &err);
    if (rc == WEIR_OK) {
        salts_put(&model->live->salts, salt);
    }
    weir_buf_fini(&bytes);
    return rc;
}

/* E6 */
START_TEST(only_what_is_committed_and_not_drained_stops_the_input)
{
    struct model model;
    struct weir_error err;
    calm_init(&model, 4);
    attempt_end(&model.live, false);
    model.options.bytes_max = 500;
    model.live = attempt_create(&model);
    append_n(&model, 20); /* open: never */
    ck_assert(prepare(&model, model.live));
    append_n(&model, 20); /* prepared: its checkpoint may be aborted */
    decide(&model, model.live, false);
    ck_assert(prepare(&model, model.live));
    append_n(&model, 1);
    decide(&model, model.live, true);
    ck_assert_int_eq(append_one(&model), WEIR_OK);
    ck_assert(notify(&model, model.live));
    while (attempt_work(model.live)) {
    }
    uint32_t wakes = model.live->wakes;
    ck_assert_int_eq(append_one(&model), WEIR_AGAIN);
    ck_assert_int_eq(append_one(&model), WEIR_AGAIN);
    struct weir__drain *drain = weir__epoch_log_drain_of(model.live->log);
    bool woken = false;
    while (weir__drain_step(drain) == WEIR__DRAIN_RAN) { /* each step of progress wakes it once, if it has asked again */
        woken = woken || model.live->wakes > wakes;
        enum weir_rc rc = append_one(&model);
        ck_assert(rc == WEIR_AGAIN || rc == WEIR_OK);
    }
    ck_assert(woken);
    ck_assert_int_eq(append_one(&model), WEIR_OK);
    wakes = model.live->wakes;
    ck_assert(prepare(&model, model.live));
    decide(&model, model.live, true);
    ck_assert(notify(&model, model.live));
    ck_assert_int_eq(weir_epoch_log_drain(model.live->log, &err), WEIR_AGAIN);
    wakes = model.live->wakes;
    while (weir__drain_step(drain) == WEIR__DRAIN_RAN) {
    }
    ck_assert_uint_gt(model.live->wakes, wakes);
    ck_assert_int_eq(pump_drain(&model, &err), WEIR_OK);
    ck_assert_uint_eq(model.broker.visible.len, model.canon.len);
    check(&model);
    ck_assert_uint_gt(weir_mem_used(model.kit.mem), 0);
    model_fini(&model); /* asserts that nothing is charged any more */
}
END_TEST

START_TEST(an_aborted_checkpoint_whose_directory_is_gone_harms_nobody)
{
    struct model model;
    struct weir_error err;
    calm_init(&model, 5);
    append_n(&model, 2);
    struct weir_buf state = {0};
    enum weir_rc rc;
    while ((rc = weir_epoch_log_prepare(model.live->log, 1, &state, &err)) == WEIR_AGAIN) { /* nobody has made chk-1, or it was removed */
        ck_assert(attempt_work(model.live));
    }
    ck_assert_int_eq(rc, WEIR_OK);
    model.checkpoints = 1;
    complete(&model, 0); /* no records of its own; those of the aborted one come along */
    ck_assert_uint_eq(model.canon.len, model.live->salts.len);
    replace(&model, true);
    ck_assert(restore(&model, model.live));
    ck_assert_int_eq(pump_drain(&model, &err), WEIR_OK);
    ck_assert_uint_eq(model.broker.visible.len, model.canon.len);
    complete(&model, 0); /* nothing at all to keep */
    struct sweep sweep = {.fs = model.fs};
    char dir[128];
    chk_dir(dir, model.committed);
    sweep.dir = dir;
    ck_assert_int_eq(weir_fs_list(model.fs, dir, sweep_add, &sweep, &err), WEIR_OK);
    ck_assert_uint_eq(sweep.count, 0);
    ck_assert_uint_eq(own_names(&model), 0);
    replace(&model, true);
    ck_assert(restore(&model, model.live));
    ck_assert_int_eq(pump_drain(&model, &err), WEIR_OK);
    check(&model);
    weir_buf_fini(&state);
    model_fini(&model);
}
END_TEST

/* --- with the thread ------------------------------------------------------------------------------------------------------------ */

/* A target that counts, and stays in drain for as long as it is told to. */
struct slow {
    struct weir_mutex mutex; /* guards the rest */
    struct weir_cond cond;
    bool block, inside, destroyed;
    uint64_t cursor;
    uint32_t calls, wakes;
};

struct slow_target {
    struct weir_drain_target base;
    struct slow *slow;
};

static struct slow *slow_of(struct weir_drain_target *base)
{
    return ((struct slow_target *)base)->slow;
}

static enum weir_rc slow_recover(struct weir_drain_target *base, bool *out_found, uint64_t *out_cursor, struct weir_error *err)
{
    struct slow *slow = slow_of(base);
    (void)err;
    weir_mutex_lock(&slow->mutex);
    *out_found = slow->cursor > 0;
    *out_cursor = slow->cursor;
    bool first = slow->calls++ == 0;
    weir_mutex_unlock(&slow->mutex);
    return first ? WEIR_AGAIN : WEIR_OK;
}

static enum weir_rc slow_drain(struct weir_drain_target *base, const struct weir_drain_chunk *chunk, bool *out_in_doubt, struct weir_error *err)
{
    struct slow *slow = slow_of(base);
    (void)err;
    weir_mutex_lock(&slow->mutex);
    slow->inside = true;
    weir_cond_broadcast(&slow->cond);
    while (slow->block) {
        weir_cond_wait(&slow->cond, &slow->mutex);
    }
    slow->inside = false;
    ck_assert_uint_eq(chunk->first, slow->cursor);
    for (uint32_t i = 0; i < chunk->count; i++) {
        uint32_t from = i == 0 ? 0 : chunk->ends[i - 1];
        WEIR_HOT_ASSERT_EQ(chunk->ends[i] - from, 8);
        WEIR_HOT_ASSERT_EQ(weir_le_get_u64(chunk->bytes + from), chunk->first + i);
    }
    slow->cursor += chunk->count;
    bool lost = slow->calls++ % 7 == 3;
    weir_mutex_unlock(&slow->mutex);
    *out_in_doubt = lost;
    return lost ? WEIR_AGAIN : WEIR_OK;
}

static void slow_destroy(struct weir_drain_target *base)
{
    struct slow *slow = slow_of(base);
    weir_free(base);
    weir_mutex_lock(&slow->mutex);
    slow->destroyed = true;
    weir_cond_broadcast(&slow->cond);
    weir_mutex_unlock(&slow->mutex);
}

static const struct weir_drain_vtable slow_vtable = {.recover = slow_recover, .drain = slow_drain, .destroy = slow_destroy};

static void slow_wake(void *ctx)
{
    struct slow *slow = ctx;
    weir_mutex_lock(&slow->mutex);
    slow->wakes++;
    weir_cond_broadcast(&slow->cond);
    weir_mutex_unlock(&slow->mutex);
}

static uint32_t slow_wakes(struct slow *slow)
{
    weir_mutex_lock(&slow->mutex);
    uint32_t wakes = slow->wakes;
    weir_mutex_unlock(&slow->mutex);
    return wakes;
}

static void slow_sleep(struct slow *slow, uint32_t wakes)
{
    weir_mutex_lock(&slow->mutex);
    while (slow->wakes == wakes) {
        weir_cond_wait(&slow->cond, &slow->mutex);
    }
    weir_mutex_unlock(&slow->mutex);
}

struct threaded {
    struct conn_kit kit;
    struct weir_fs *fs;
    struct weir_conn_ctx *ctx; /* freed with the task, long before the thread ends */
    struct slow *slow;
    struct weir_epoch_log *log;
    uint64_t next;
};

static void threaded_init(struct threaded *t, const struct weir_clock *clock, uint64_t bytes_max, int64_t call_ms_max)
{
    struct weir_error err;
    *t = (struct threaded){.slow = weir_calloc(1, sizeof(*t->slow)), .ctx = weir_malloc(sizeof(*t->ctx)), .fs = weir_fs_sim_create()};
    weir_mutex_init(&t->slow->mutex);
    weir_cond_init(&t->slow->cond);
    conn_kit_init(&t->kit, "kafka", columns, NULL);
    *t->ctx = t->kit.ctx;
    t->ctx->fs = t->fs;
    t->ctx->clock = clock;
    t->ctx->checkpoints_dir = root;
    t->ctx->wake = slow_wake;
    t->ctx->wake_ctx = t->slow;
    for (uint64_t k = 1; k <= 20; k++) {
        char dir[128];
        chk_dir(dir, k);
        ck_assert_int_eq(weir_fs_mkdirs(t->fs, dir, &err), WEIR_OK);
    }
    struct slow_target *target = weir_calloc(1, sizeof(*target));
    target->base = (struct weir_drain_target){.vtable = &slow_vtable, .call_ms_max = call_ms_max};
    target->slow = t->slow;
    ck_assert_int_eq(weir_epoch_log_create(t->ctx, bytes_max, &target->base, &t->log, &err), WEIR_OK);
}

/* The log is destroyed; waits for the thread to be out of the target. */
static void threaded_fini(struct threaded *t)
{
    weir_mutex_lock(&t->slow->mutex);
    t->slow->block = false;
    weir_cond_broadcast(&t->slow->cond);
    while (!t->slow->destroyed) {
        weir_cond_wait(&t->slow->cond, &t->slow->mutex);
    }
    weir_mutex_unlock(&t->slow->mutex);
    weir_fs_sim_destroy(t->fs); /* asserts nothing, but would free files under the thread */
    weir_cond_fini(&t->slow->cond);
    weir_mutex_fini(&t->slow->mutex);
    weir_free(t->slow);
}

static void threaded_append(struct threaded *t, uint32_t count)
{
    struct weir_error err;
    uint8_t *bytes = weir_malloc((size_t)count * 8);
    uint32_t *ends = weir_malloc((size_t)count * sizeof(*ends));
    for (uint32_t i = 0; i < count; i++) {
        weir_le_put_u64(bytes + (size_t)i * 8, t->next + i);
        ends[i] = 8 * (i + 1);
    }
    enum weir_rc rc;
    for (;;) {
        uint32_t wakes = slow_wakes(t->slow);
        rc = weir_epoch_log_append(t->log, weir_slice(bytes, (size_t)count * 8), ends, count, &err);
        if (rc != WEIR_AGAIN) {
            break;
        }
        slow_sleep(t->slow, wakes);
    }
    ck_assert_int_eq(rc, WEIR_OK);
    t->next += count;
    weir_free(ends);
    weir_free(bytes);
}

static void threaded_commit(struct threaded *t, uint64_t checkpoint)
{
    struct weir_error err;
    struct weir_buf state = {0};
    ck_assert_int_eq(weir_epoch_log_prepare(t->log, checkpoint, &state, &err), WEIR_OK); /* the executor works at once */
    ck_assert_int_eq(weir_epoch_log_commit(t->log, checkpoint, &err), WEIR_OK);
    weir_buf_fini(&state);
}

START_TEST(the_thread_drains_while_the_task_goes_on)
{
    struct threaded t;
    struct weir_error err;
    threaded_init(&t, weir_clock_real(), 1 << 20, INT64_MAX);
    for (uint64_t k = 1; k <= 20; k++) {
        for (int i = 0; i < 10; i++) {
            threaded_append(&t, 4096);
        }
        threaded_commit(&t, k);
    }
    for (;;) {
        uint32_t wakes = slow_wakes(t.slow);
        enum weir_rc rc = weir_epoch_log_drain(t.log, &err);
        if (rc == WEIR_OK) {
            break;
        }
        ck_assert_int_eq(rc, WEIR_AGAIN);
        slow_sleep(t.slow, wakes);
    }
    weir_mutex_lock(&t.slow->mutex);
    ck_assert_uint_eq(t.slow->cursor, 20 * 10 * 4096);
    weir_mutex_unlock(&t.slow->mutex);
    weir_epoch_log_destroy(t.log);
    weir_free(t.ctx);
    conn_kit_fini(&t.kit);
    threaded_fini(&t);
}
END_TEST

/* The machine's clock and what was added to it; any thread. */
struct pushed_clock {
    struct weir_clock clock;
    _Atomic int64_t ahead_ns;
};

static int64_t pushed_mono_ns(const struct weir_clock *clock)
{
    const struct pushed_clock *pushed = (const struct pushed_clock *)clock;
    return weir_clock_mono_ns(weir_clock_real()) + pushed->ahead_ns;
}

/* (E10) */
START_TEST(a_call_that_does_not_come_back)
{
    enum { CALL_MS_MAX = 3600 * 1000 };
    struct threaded t;
    struct weir_error err;
    struct pushed_clock pushed = {.clock = *weir_clock_real()};
    pushed.clock.mono_ns = pushed_mono_ns;
    threaded_init(&t, &pushed.clock, 1 << 20, CALL_MS_MAX);
    t.slow->block = true;
    threaded_append(&t, 4096);
    threaded_commit(&t, 1);
    weir_mutex_lock(&t.slow->mutex);
    while (!t.slow->inside) {
        weir_cond_wait(&t.slow->cond, &t.slow->mutex);
    }
    weir_mutex_unlock(&t.slow->mutex);
    ck_assert_int_eq(weir_epoch_log_drain(t.log, &err), WEIR_AGAIN);
    pushed.ahead_ns = 2 * INT64_C(1000000) * CALL_MS_MAX;
    ck_assert_int_eq(weir_epoch_log_drain(t.log, &err), WEIR_EXTERNAL);
    ck_assert_ptr_nonnull(strstr(err.text, "has not come back"));
    ck_assert_int_eq(weir_epoch_log_commit(t.log, 2, &err), WEIR_EXTERNAL);
    weir_epoch_log_destroy(t.log);
    weir_free(t.ctx);
    conn_kit_fini(&t.kit);
    threaded_fini(&t);
}
END_TEST

/* E7: destroy returns at once, and what the task had is gone before the target is let go. */
START_TEST(destroy_does_not_wait_for_the_target)
{
    struct threaded t;
    threaded_init(&t, weir_clock_real(), 1 << 20, INT64_MAX);
    t.slow->block = true; /* the thread cannot be in drain yet */
    threaded_append(&t, 4096);
    threaded_commit(&t, 1);
    weir_mutex_lock(&t.slow->mutex);
    while (!t.slow->inside) {
        weir_cond_wait(&t.slow->cond, &t.slow->mutex);
    }
    uint32_t wakes = t.slow->wakes;
    weir_mutex_unlock(&t.slow->mutex);
    weir_epoch_log_destroy(t.log);
    weir_free(t.ctx);
    conn_kit_fini(&t.kit); /* table, schema, memory account */
    weir_mutex_lock(&t.slow->mutex);
    ck_assert(t.slow->inside && !t.slow->destroyed);
    ck_assert_uint_eq(t.slow->cursor, 0);
    weir_mutex_unlock(&t.slow->mutex);
    struct sweep sweep = {.fs = t.fs, .dir = "/ckpt/0123456789abcdef0123456789abcdef/log"};
    weir_mutex_lock(&t.slow->mutex);
    t.slow->block = false;
    weir_cond_broadcast(&t.slow->cond);
    while (!t.slow->destroyed) {
        weir_cond_wait(&t.slow->cond, &t.slow->mutex);
    }
    ck_assert_uint_eq(t.slow->cursor, 4096); /* what it was told of */
    ck_assert_uint_eq(t.slow->wakes, wakes); /* but nobody hears of it */
    weir_mutex_unlock(&t.slow->mutex);
    struct weir_error err;
    ck_assert_int_eq(weir_fs_list(t.fs, sweep.dir, sweep_add, &sweep, &err), WEIR_OK);
    ck_assert_uint_eq(sweep.count, 0); /* own names went with the thread */
    threaded_fini(&t);
}
END_TEST

/* A closed fence lets it neither fence its predecessors nor begin a chunk; opened, it goes on by itself. */
START_TEST(a_closed_fence_lets_the_drain_begin_nothing)
{
    struct model model;
    struct weir_error err;
    calm_init(&model, 1);
    struct weir_fence *fence = weir_fence_create(&model.kit.clock.clock, 0);
    model.kit.ctx.fence = fence;
    replace(&model, false);
    struct weir__drain *drain = weir__epoch_log_drain_of(model.live->log);
    ck_assert_int_eq(weir__drain_step(drain), WEIR__DRAIN_LATER);
    weir_fence_set(fence, WEIR_FENCE_NEVER);
    ck_assert_int_eq(weir__drain_step(drain), WEIR__DRAIN_RAN);
    complete(&model, 3);
    ck_assert_int_eq(weir_epoch_log_commit(model.live->log, model.committed, &err), WEIR_OK);
    weir_fence_set(fence, weir_clock_boot_ns(&model.kit.clock.clock));
    ck_assert_int_eq(weir__drain_step(drain), WEIR__DRAIN_LATER);
    ck_assert_uint_eq(model.broker.visible.len, 0);
    weir_fence_set(fence, WEIR_FENCE_NEVER);
    weir_fence_unref(fence); /* the drain has its own reference */
    model.kit.ctx.fence = NULL;
    ck_assert_int_eq(pump_drain(&model, &err), WEIR_OK);
    ck_assert_uint_eq(model.broker.visible.len, model.canon.len);
    model_fini(&model);
}
END_TEST

static enum weir_rc nobody_answers(struct weir_lease *lease, int64_t timeout_ms, struct weir_error *err)
{
    (void)lease;
    return weir_error_set(err, WEIR_TIMEOUT, "nobody answered for %lld ms", (long long)timeout_ms);
}

static enum weir_rc was_replaced(struct weir_lease *lease, int64_t timeout_ms, struct weir_error *err)
{
    (void)lease;
    (void)timeout_ms;
    return weir_error_set(err, WEIR_STALE, "replaced");
}

START_TEST(nobody_is_fenced_without_a_lease)
{
    struct model model;
    struct weir_error err;
    calm_init(&model, 1);
    struct weir__drain *drain = weir__epoch_log_drain_of(model.live->log);
    uint64_t epoch = model.broker.epoch;
    model.live->lease.check = nobody_answers;
    ck_assert_int_eq(weir__drain_step(drain), WEIR__DRAIN_LATER);
    model.live->lease.check = was_replaced;
    ck_assert_int_eq(weir__drain_step(drain), WEIR__DRAIN_OVER);
    ck_assert_uint_eq(model.broker.epoch, epoch);
    ck_assert_int_eq(weir_epoch_log_drain(model.live->log, &err), WEIR_STALE);
    model_fini(&model);
}
END_TEST

/* The drain's thread may be faster than the restore. */
START_TEST(the_cursor_is_judged_by_what_was_restored)
{
    struct model model;
    struct weir_error err;
    calm_init(&model, 1);
    complete(&model, 3);
    ck_assert_int_eq(weir_epoch_log_commit(model.live->log, model.committed, &err), WEIR_OK);
    ck_assert_int_eq(pump_drain(&model, &err), WEIR_OK);
    replace(&model, false);
    struct weir__drain *drain = weir__epoch_log_drain_of(model.live->log);
    ck_assert_int_eq(weir__drain_step(drain), WEIR__DRAIN_RAN);
    ck_assert_int_eq(weir__drain_step(drain), WEIR__DRAIN_IDLE);
    ck_assert_int_eq(pump_restore(&model, weir_buf_slice(&model.committed_state), &err), WEIR_OK);
    ck_assert_int_eq(pump_drain(&model, &err), WEIR_OK);
    ck_assert_uint_eq(model.broker.visible.len, model.canon.len);
    model_fini(&model);
}
END_TEST

Suite *epoch_log_edge_suite(void);

Suite *epoch_log_edge_suite(void)
{
    Suite *suite = suite_create("epoch_log_edge");
    TCase *tcase = tcase_create("epoch_log_edge");
    tcase_add_test(tcase, a_death_at_each_call_of_prepare_and_restore);
    tcase_add_test(tcase, damage_is_found_and_the_file_named);
    tcase_add_test(tcase, a_cursor_that_cannot_be_is_refused);
    tcase_add_loop_test(tcase, a_cursor_behind_a_transaction_in_doubt, 0, 5);
    tcase_add_loop_test(tcase, a_cursor_that_was_forgotten_outside, 0, 6);
    tcase_add_test(tcase, what_takes_too_long_is_tried_in_less);
    tcase_add_test(tcase, a_log_of_an_earlier_run_is_over);
    tcase_add_test(tcase, only_what_is_committed_and_not_drained_stops_the_input);
    tcase_add_test(tcase, an_aborted_checkpoint_whose_directory_is_gone_harms_nobody);
    tcase_add_test(tcase, a_closed_fence_lets_the_drain_begin_nothing);
    tcase_add_test(tcase, nobody_is_fenced_without_a_lease);
    tcase_add_test(tcase, the_cursor_is_judged_by_what_was_restored);
    tcase_add_test(tcase, the_thread_drains_while_the_task_goes_on);
    tcase_add_test(tcase, a_call_that_does_not_come_back);
    tcase_add_test(tcase, destroy_does_not_wait_for_the_target);
    suite_add_tcase(suite, tcase);
    return suite;
}
