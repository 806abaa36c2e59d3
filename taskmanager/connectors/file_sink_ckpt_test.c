/* The file sink with checkpoints: S1 to S3 and S5 of file_sink.c under crashes, power failures, failing disks and zombies. */
#include "common/base/rand.h"
#include "common/fs/fs_sim.h"
#include "taskmanager/connectors/conn_test_kit.h"

enum { ROWS_MAX = 1 << 16, STEPS = 60, CHECKPOINTS_MAX = 512, DIR_NAMES_MAX = 2048 };

static const char *const columns[] = {"n", "BIGINT", "s", "STRING", NULL};
static const char *const options[] = {"sink.rolling-policy.file-size", "20 kb", NULL};

struct row {
    uint64_t checkpoint; /* it was prepared for; 0: the open epoch */
    bool committed;
    bool lost;
};

/* What a coordinator and a reader of the directory know. */
struct model {
    struct conn_kit kit;
    struct weir_rand rand;
    bool simulated;
    struct weir_sink *sink;
    struct weir_sink *zombie;      /* the attempt before, which does not know that it was replaced */
    struct weir_conn_ctx ctxs[2];  /* of attempts, by attempt % 2 */
    uint32_t attempt;
    uint64_t last_checkpoint;      /* ids are not used twice */
    uint64_t pending;              /* prepared, undecided; 0: none */
    struct weir_buf pending_state;
    uint64_t committed;            /* 0: none */
    struct weir_buf committed_state;
    struct row *rows;
    uint32_t nrows;
};

static void model_init(struct model *model, bool simulated, uint64_t seed)
{
    *model = (struct model){.simulated = simulated};
    conn_kit_init(&model->kit, "filesystem", columns, options);
    model->kit.deferred = true;
    model->kit.settings.checkpoint_interval_ms = 1000;
    if (simulated) {
        model->kit.ctx.fs = weir_fs_sim_create();
        model->kit.options[0].value = "/data/out";
    }
    model->rows = weir_calloc(ROWS_MAX, sizeof(*model->rows));
    weir_rand_init(&model->rand, seed);
}

/* Power off or kill -9: work that has not begun never does. */
static void drop(struct model *model, struct weir_sink **sink)
{
    if (*sink != NULL) {
        for (; model->kit.nworks > 0; model->kit.nworks--) {
            model->kit.works[model->kit.nworks - 1]->in_flight = false;
        }
        (*sink)->vtable->destroy(*sink);
        *sink = NULL;
    }
}

static void model_fini(struct model *model)
{
    drop(model, &model->zombie);
    drop(model, &model->sink);
    weir_buf_fini(&model->pending_state);
    weir_buf_fini(&model->committed_state);
    weir_free(model->rows);
    if (model->simulated) {
        weir_fs_sim_destroy(model->kit.ctx.fs);
    }
    conn_kit_fini(&model->kit);
}

static bool chance(struct model *model, uint32_t percent)
{
    return weir_rand_below(&model->rand, 100) < percent;
}

struct listing {
    char (*names)[64];
    uint32_t count;
    uint32_t hidden;
};

static void listing_add(void *ctx, const char *name, bool is_dir)
{
    struct listing *listing = ctx;
    ck_assert(!is_dir);
    if (name[0] == '.') {
        listing->hidden++;
        return;
    }
    ck_assert_uint_lt(listing->count, DIR_NAMES_MAX);
    (void)snprintf(listing->names[listing->count++], 64, "%s", name);
}

/* A reader never sees a row twice, or one that is not committed; with `all` it sees every committed row. Returns the hidden files. */
static uint32_t check_published(struct model *model, bool all)
{
    struct listing listing = {.names = weir_malloc(DIR_NAMES_MAX * sizeof(*listing.names))};
    struct weir_error err;
    uint8_t *seen = weir_calloc(ROWS_MAX, 1);
    const char *dir = model->kit.options[0].value;
    enum weir_rc rc = weir_fs_list(model->kit.ctx.fs, dir, listing_add, &listing, &err);
    ck_assert(rc == WEIR_OK || rc == WEIR_NOT_FOUND);
    struct weir_buf bytes = {0};
    for (uint32_t i = 0; i < listing.count; i++) {
        char path[256];
        (void)snprintf(path, sizeof(path), "%s/%s", dir, listing.names[i]);
        weir_buf_clear(&bytes);
        ck_assert_int_eq(weir_fs_read_all(model->kit.ctx.fs, path, 1 << 30, &bytes, &err), WEIR_OK);
        ck_assert_uint_gt(bytes.len, 0);
        ck_assert_uint_eq(bytes.data[bytes.len - 1], '\n');
        weir_buf_put_u8(&bytes, 0);
        for (char *line = (char *)bytes.data; *line != '\0'; line = strchr(line, '\n') + 1) {
            unsigned long n = strtoul(line + strlen("{\"n\":"), NULL, 10);
            if (n >= model->nrows) { /* not ck_assert: see tests/lib/hot_assert.h */
                ck_abort_msg("%s: row %lu of %u", listing.names[i], n, model->nrows);
            }
            if (!model->rows[n].committed) {
                ck_abort_msg("%s: row %lu of checkpoint %lu is not committed", listing.names[i], n, (unsigned long)model->rows[n].checkpoint);
            }
            if (seen[n]++ != 0) {
                ck_abort_msg("%s: row %lu twice", listing.names[i], n);
            }
        }
    }
    for (uint32_t n = 0; all && n < model->nrows; n++) {
        if (seen[n] != 1 && model->rows[n].committed) {
            ck_abort_msg("row %u of checkpoint %lu is missing", n, (unsigned long)model->rows[n].checkpoint);
        }
    }
    weir_buf_fini(&bytes);
    weir_free(seen);
    weir_free(listing.names);
    return listing.hidden;
}

static struct weir_batch *make_batch(struct model *model, uint32_t rows, uint32_t pad)
{
    struct weir_batch_builder builder;
    char text[1024];
    memset(text, 'x', sizeof(text));
    ck_assert_uint_le(model->nrows + rows, ROWS_MAX);
    weir_batch_builder_init(&builder, model->kit.schema, rows, model->kit.mem);
    for (uint32_t i = 0; i < rows; i++, builder.nrows++) {
        ((int64_t *)(void *)builder.cols[0].values)[i] = model->nrows++;
        weir_column_builder_put_str(&builder.cols[1], i, weir_slice(text, pad));
    }
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    weir_batch_builder_fini(&builder);
    return batch;
}

enum hook { WRITE, PREPARE, COMMIT, RESTORE };

struct call {
    enum hook hook;
    const struct weir_batch *batch;
    uint64_t checkpoint;
    struct weir_buf *out;
    struct weir_slice state;
    bool more; /* RESTORE: further states come */
};

/* Calls the hook until it is done; AGAIN when the process "died" meanwhile, after steps_max pieces of work. */
static enum weir_rc drive(struct model *model, struct weir_sink *sink, const struct call *call, uint32_t steps_max, struct weir_error *err)
{
    for (uint32_t steps = 0;; steps++) {
        enum weir_rc rc = WEIR_OK;
        switch (call->hook) {
        case WRITE: rc = sink->vtable->write(sink, call->batch, err); break;
        case PREPARE: rc = sink->vtable->prepare(sink, call->checkpoint, call->out, err); break;
        case COMMIT: rc = sink->vtable->commit(sink, call->checkpoint, err); break;
        case RESTORE: rc = sink->vtable->restore(sink, call->checkpoint, call->state, !call->more, err); break;
        }
        if (rc != WEIR_AGAIN || steps == steps_max) {
            return rc;
        }
        uint32_t wakes = model->kit.wakes;
        ck_assert(conn_kit_step(&model->kit));
        ck_assert_uint_gt(model->kit.wakes, wakes);
    }
}

static enum weir_rc drive_all(struct model *model, struct weir_sink *sink, const struct call *call)
{
    struct weir_error err;
    enum weir_rc rc = drive(model, sink, call, UINT32_MAX, &err);
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
    return rc;
}

/* Does it, or dies within: false. */
static bool try_call(struct model *model, const struct call *call)
{
    struct weir_error err;
    if (!chance(model, 10)) {
        return drive_all(model, model->sink, call) == WEIR_OK;
    }
    if (model->simulated && chance(model, 70)) {
        weir_fs_sim_fail(model->kit.ctx.fs, (struct weir_fs_sim_fault){.nth = 1 + weir_rand_below(&model->rand, 8), .rc = WEIR_IO, .lasting = true});
        enum weir_rc rc = drive(model, model->sink, call, UINT32_MAX, &err);
        weir_fs_sim_fail(model->kit.ctx.fs, (struct weir_fs_sim_fault){.nth = 0});
        ck_assert(rc == WEIR_OK || rc == WEIR_IO);
        return rc == WEIR_OK;
    }
    return drive(model, model->sink, call, (uint32_t)weir_rand_below(&model->rand, 3), &err) == WEIR_OK;
}

/* The coordinator decides on the pending checkpoint. */
static void decide(struct model *model, bool commit)
{
    if (model->pending != 0 && commit) {
        model->committed = model->pending;
        weir_buf_clear(&model->committed_state);
        weir_buf_put_slice(&model->committed_state, weir_buf_slice(&model->pending_state));
        for (uint32_t i = 0; i < model->nrows; i++) {
            struct row *row = &model->rows[i];
            row->committed = row->committed || (!row->lost && row->checkpoint != 0 && row->checkpoint <= model->committed);
        }
    }
    model->pending = 0;
}

static void create(struct model *model)
{
    struct weir_error err;
    struct weir_conn_ctx *ctx = &model->ctxs[++model->attempt % 2];
    *ctx = model->kit.ctx;
    ctx->attempt = model->attempt;
    ck_assert_int_eq(weir_conn_sink("filesystem")->create(ctx, &model->sink, &err), WEIR_OK);
}

/* The attempt dies, or is taken for dead; the next restores what is committed, if it lives long enough. */
static void fail_over(struct model *model)
{
    do {
        decide(model, chance(model, 50)); /* the last acknowledgement may have come just before */
        for (uint32_t i = 0; i < model->nrows; i++) {
            model->rows[i].lost = !model->rows[i].committed;
        }
        bool calm = model->kit.nworks == 0;
        drop(model, &model->zombie);
        if (calm && chance(model, 30)) {
            model->zombie = model->sink;
            model->sink = NULL;
        } else {
            drop(model, &model->sink);
            if (model->simulated && chance(model, 50)) {
                weir_fs_sim_crash(model->kit.ctx.fs, weir_rand_u64(&model->rand));
            }
        }
        (void)check_published(model, false);
        create(model);
    } while (model->committed != 0 && !try_call(model, &(struct call){.hook = RESTORE, .checkpoint = model->committed,
                                                                      .state = weir_buf_slice(&model->committed_state)}));
    (void)check_published(model, true);
}

static bool write_some(struct model *model)
{
    uint32_t before = model->nrows;
    bool big = chance(model, 5);
    struct weir_batch *batch = make_batch(model, big ? 900 : 1 + (uint32_t)weir_rand_below(&model->rand, 40), big ? 600 : 100);
    bool alive = try_call(model, &(struct call){.hook = WRITE, .batch = batch});
    weir_batch_unref(batch);
    ck_assert_uint_gt(model->nrows, before);
    return alive;
}

static bool prepare(struct model *model)
{
    uint64_t checkpoint = ++model->last_checkpoint;
    decide(model, false); /* a pending one has timed out */
    weir_buf_clear(&model->pending_state);
    if (!try_call(model, &(struct call){.hook = PREPARE, .checkpoint = checkpoint, .out = &model->pending_state})) {
        return false;
    }
    for (uint32_t i = 0; i < model->nrows; i++) {
        struct row *row = &model->rows[i];
        row->checkpoint = row->checkpoint == 0 && !row->lost ? checkpoint : row->checkpoint;
    }
    model->pending = checkpoint;
    return true;
}

static bool notify(struct model *model)
{
    decide(model, chance(model, 70));
    if (model->committed == 0) {
        return true;
    }
    if (!try_call(model, &(struct call){.hook = COMMIT, .checkpoint = model->committed})) {
        return false;
    }
    (void)check_published(model, true);
    return true;
}

/* It hears of commits, its own and its successor's; nothing it does is of any effect. */
static void zombie_step(struct model *model)
{
    if (model->zombie == NULL || model->kit.nworks > 0) {
        return;
    }
    struct weir_error err;
    enum weir_rc rc = WEIR_OK;
    if (chance(model, 70)) {
        rc = model->committed == 0 ? WEIR_OK
                                   : drive(model, model->zombie, &(struct call){.hook = COMMIT, .checkpoint = model->committed}, UINT32_MAX, &err);
    } else {
        uint32_t first = model->nrows;
        struct weir_batch *batch = make_batch(model, 10, 10);
        for (uint32_t i = first; i < model->nrows; i++) {
            model->rows[i].lost = true;
        }
        rc = drive(model, model->zombie, &(struct call){.hook = WRITE, .batch = batch}, UINT32_MAX, &err);
        weir_batch_unref(batch);
    }
    if (rc != WEIR_OK) { /* it had failed before it was replaced */
        drop(model, &model->zombie);
    }
}

START_TEST(committed_rows_are_published_once_and_lost_ones_never)
{
    bool simulated = _i % 2 == 1;
    for (uint64_t seed = 0; seed < (simulated ? 60 : 20); seed++) {
        struct model model;
        model_init(&model, simulated, seed + 1000 * (uint64_t)_i);
        create(&model);
        for (int step = 0; step < STEPS; step++) {
            uint64_t dice = weir_rand_below(&model.rand, 100);
            bool alive = dice < 45 ? write_some(&model) : dice < 70 ? prepare(&model) : dice < 95 ? notify(&model) : false;
            zombie_step(&model);
            if (alive) {
                (void)check_published(&model, false);
            } else {
                fail_over(&model);
            }
        }
        drop(&model, &model.zombie);
        fail_over(&model);
        drop(&model, &model.zombie); /* what it has written is removed by this attempt or stays */
        drop(&model, &model.sink);
        create(&model);
        struct weir_buf state = {0};
        if (model.committed != 0) {
            (void)drive_all(&model, model.sink, &(struct call){.hook = RESTORE, .checkpoint = model.committed, .state = weir_buf_slice(&model.committed_state)});
            ck_assert_uint_eq(check_published(&model, true), 0);
        }
        struct weir_batch *batch = make_batch(&model, 3, 3);
        (void)drive_all(&model, model.sink, &(struct call){.hook = WRITE, .batch = batch});
        weir_batch_unref(batch);
        uint64_t last = ++model.last_checkpoint;
        (void)drive_all(&model, model.sink, &(struct call){.hook = PREPARE, .checkpoint = last, .out = &state});
        for (uint32_t i = model.nrows - 3; i < model.nrows; i++) {
            model.rows[i].committed = true;
        }
        (void)drive_all(&model, model.sink, &(struct call){.hook = COMMIT, .checkpoint = last});
        ck_assert_uint_eq(check_published(&model, true), 0);
        weir_buf_fini(&state);
        model_fini(&model);
    }
}
END_TEST

/* One attempt that wrote rows and prepared checkpoint 1; its state is in committed_state. */
static void prepare_first(struct model *model)
{
    create(model);
    struct weir_batch *batch = make_batch(model, 10, 10);
    (void)drive_all(model, model->sink, &(struct call){.hook = WRITE, .batch = batch});
    weir_batch_unref(batch);
    (void)drive_all(model, model->sink, &(struct call){.hook = PREPARE, .checkpoint = 1, .out = &model->committed_state});
}

static enum weir_rc restore_first(struct model *model, struct weir_slice state, struct weir_error *err)
{
    drop(model, &model->sink);
    create(model);
    return drive(model, model->sink, &(struct call){.hook = RESTORE, .checkpoint = 1, .state = state}, UINT32_MAX, err);
}

START_TEST(a_part_that_is_nowhere_or_has_other_bytes_is_an_error_that_names_it)
{
    static const char hidden[] = ".part-01234567-308c53da-1-0-0.inprogress";
    static const char final[] = "part-01234567-308c53da-0-0";
    struct model model;
    struct weir_error err;
    char path[512];
    model_init(&model, false, 1);
    prepare_first(&model);
    struct weir_slice state = weir_buf_slice(&model.committed_state);
    conn_kit_write(&model.kit, final, weir_slice_str("others\n"));
    ck_assert_int_eq(restore_first(&model, state, &err), WEIR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.text, final));
    (void)snprintf(path, sizeof(path), "%s/%s", model.kit.dir, hidden);
    ck_assert_int_eq(weir_fs_unlink(model.kit.fs, path, &err), WEIR_OK);
    ck_assert_int_eq(restore_first(&model, state, &err), WEIR_CORRUPT); /* of another size */
    ck_assert_ptr_nonnull(strstr(err.text, final));
    (void)snprintf(path, sizeof(path), "%s/%s", model.kit.dir, final);
    ck_assert_int_eq(weir_fs_unlink(model.kit.fs, path, &err), WEIR_OK);
    ck_assert_int_eq(restore_first(&model, state, &err), WEIR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.text, final));
    conn_kit_write(&model.kit, hidden, weir_slice_str("cut"));
    ck_assert_int_eq(restore_first(&model, state, &err), WEIR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.text, hidden));
    model_fini(&model);
}
END_TEST

START_TEST(damaged_state_is_refused)
{
    struct model model;
    struct weir_error err;
    model_init(&model, false, 1);
    prepare_first(&model);
    struct weir_buf *state = &model.committed_state;
    for (size_t len = 0; len < state->len; len++) {
        ck_assert_int_eq(restore_first(&model, weir_slice(state->data, len), &err), WEIR_CORRUPT);
    }
    for (size_t i = 0; i < state->len; i++) {
        state->data[i] ^= 0x20;
        ck_assert_int_eq(restore_first(&model, weir_buf_slice(state), &err), WEIR_CORRUPT);
        state->data[i] ^= 0x20;
    }
    ck_assert_int_eq(restore_first(&model, weir_buf_slice(state), &err), WEIR_OK);
    model_fini(&model);
}
END_TEST

START_TEST(an_empty_epoch_makes_no_part)
{
    struct model model;
    struct weir_buf state = {0};
    model_init(&model, false, 1);
    create(&model);
    (void)drive_all(&model, model.sink, &(struct call){.hook = PREPARE, .checkpoint = 1, .out = &state});
    (void)drive_all(&model, model.sink, &(struct call){.hook = COMMIT, .checkpoint = 1});
    struct listing listing = {.names = weir_malloc(DIR_NAMES_MAX * sizeof(*listing.names))};
    struct weir_error err;
    ck_assert_int_eq(weir_fs_list(model.kit.fs, model.kit.dir, listing_add, &listing, &err), WEIR_OK);
    ck_assert_uint_eq(listing.count + listing.hidden, 0);
    weir_free(listing.names);
    weir_buf_fini(&state);
    model_fini(&model);
}
END_TEST

/* An old attempt that hears of its successor's checkpoint, before and after the successor uses its part numbers again. */
START_TEST(a_zombie_publishes_committed_parts_only)
{
    struct model model;
    struct weir_buf state = {0};
    model_init(&model, _i == 1, 1);
    prepare_first(&model);
    model.pending = 1;
    weir_buf_put_slice(&model.pending_state, weir_buf_slice(&model.committed_state));
    for (uint32_t i = 0; i < model.nrows; i++) {
        model.rows[i].checkpoint = 1;
    }
    decide(&model, true);
    struct weir_batch *batch = make_batch(&model, 10, 10);
    (void)drive_all(&model, model.sink, &(struct call){.hook = WRITE, .batch = batch});
    weir_batch_unref(batch);
    (void)drive_all(&model, model.sink, &(struct call){.hook = PREPARE, .checkpoint = 2, .out = &state}); /* fails elsewhere */
    model.zombie = model.sink;
    create(&model);
    (void)drive_all(&model, model.sink, &(struct call){.hook = RESTORE, .checkpoint = 1, .state = weir_buf_slice(&model.committed_state)});
    (void)drive_all(&model, model.zombie, &(struct call){.hook = COMMIT, .checkpoint = 1});
    ck_assert_uint_eq(check_published(&model, true), 0);
    batch = make_batch(&model, 10, 10);
    (void)drive_all(&model, model.sink, &(struct call){.hook = WRITE, .batch = batch});
    weir_batch_unref(batch);
    (void)drive_all(&model, model.sink, &(struct call){.hook = PREPARE, .checkpoint = 3, .out = &state});
    for (uint32_t i = 20; i < 30; i++) {
        model.rows[i].committed = true;
    }
    (void)drive_all(&model, model.zombie, &(struct call){.hook = COMMIT, .checkpoint = 3});
    (void)check_published(&model, false);
    (void)drive_all(&model, model.sink, &(struct call){.hook = COMMIT, .checkpoint = 3});
    ck_assert_uint_eq(check_published(&model, true), 0);
    weir_buf_fini(&state);
    model_fini(&model);
}
END_TEST

enum { SUBTASKS_MAX = 4 };

/* The subtasks of one attempt, and what the last completed checkpoint has of its. */
struct crowd {
    struct model model;
    uint32_t parallelism, run;
    struct weir_conn_ctx ctxs[SUBTASKS_MAX];
    struct weir_sink *sinks[SUBTASKS_MAX];
    uint32_t nstates;
    struct weir_buf states[SUBTASKS_MAX];
};

static void crowd_create(struct crowd *crowd)
{
    struct model *model = &crowd->model;
    struct weir_error err;
    uint32_t before = crowd->parallelism;
    model->attempt++;
    crowd->parallelism = 1 + (uint32_t)weir_rand_below(&model->rand, SUBTASKS_MAX);
    crowd->run = before == 0 || before == crowd->parallelism ? crowd->run : model->attempt;
    for (uint32_t s = 0; s < crowd->parallelism; s++) {
        crowd->ctxs[s] = model->kit.ctx;
        crowd->ctxs[s].attempt = model->attempt;
        crowd->ctxs[s].run = crowd->run;
        crowd->ctxs[s].subtask = s;
        crowd->ctxs[s].parallelism = crowd->parallelism;
        ck_assert_int_eq(weir_conn_sink("filesystem")->create(&crowd->ctxs[s], &crowd->sinks[s], &err), WEIR_OK);
    }
    for (uint32_t i = 0; i < crowd->nstates; i++) {
        (void)drive_all(model, crowd->sinks[i % crowd->parallelism],
                        &(struct call){.hook = RESTORE, .checkpoint = model->committed, .state = weir_buf_slice(&crowd->states[i]),
                                       .more = i + crowd->parallelism < crowd->nstates});
    }
    (void)check_published(model, true);
}

static void crowd_write(struct crowd *crowd)
{
    struct model *model = &crowd->model;
    for (uint32_t i = 0; i < 6; i++) {
        struct weir_batch *batch = make_batch(model, 1 + (uint32_t)weir_rand_below(&model->rand, 300), 100);
        (void)drive_all(model, crowd->sinks[weir_rand_below(&model->rand, crowd->parallelism)], &(struct call){.hook = WRITE, .batch = batch});
        weir_batch_unref(batch);
    }
}

/* All prepare; when the checkpoint is completed, some hear of it. */
static void crowd_checkpoint(struct crowd *crowd, bool completed)
{
    struct model *model = &crowd->model;
    struct weir_buf states[SUBTASKS_MAX] = {0};
    uint64_t checkpoint = ++model->last_checkpoint;
    for (uint32_t s = 0; s < crowd->parallelism; s++) {
        (void)drive_all(model, crowd->sinks[s], &(struct call){.hook = PREPARE, .checkpoint = checkpoint, .out = &states[s]});
    }
    for (uint32_t i = 0; i < model->nrows; i++) {
        model->rows[i].checkpoint = model->rows[i].checkpoint == 0 ? checkpoint : model->rows[i].checkpoint;
    }
    model->pending = checkpoint;
    decide(model, completed);
    for (uint32_t s = 0; s < SUBTASKS_MAX; s++) {
        if (completed) {
            struct weir_buf old = crowd->states[s];
            crowd->states[s] = states[s];
            states[s] = old;
        }
        weir_buf_fini(&states[s]);
        if (completed && s < crowd->parallelism && chance(model, 50)) {
            (void)drive_all(model, crowd->sinks[s], &(struct call){.hook = COMMIT, .checkpoint = checkpoint});
        }
    }
    crowd->nstates = completed ? crowd->parallelism : crowd->nstates;
}

static void crowd_drop(struct crowd *crowd)
{
    struct model *model = &crowd->model;
    for (uint32_t s = 0; s < crowd->parallelism; s++) {
        drop(model, &crowd->sinks[s]);
    }
    for (uint32_t i = 0; i < model->nrows; i++) {
        model->rows[i].lost = !model->rows[i].committed;
    }
}

/* Attempts with one parallelism after the other: rows are published once, names are not used twice, and nothing stays behind of subtasks that are no
 * more. */
START_TEST(parts_move_between_subtasks)
{
    struct crowd crowd = {0};
    model_init(&crowd.model, true, (uint64_t)_i);
    for (uint32_t attempt = 0; attempt < 25; attempt++) {
        crowd_create(&crowd);
        crowd_write(&crowd);
        if (chance(&crowd.model, 80)) {
            crowd_checkpoint(&crowd, chance(&crowd.model, 80));
            crowd_write(&crowd);
        }
        crowd_drop(&crowd);
    }
    crowd_create(&crowd);
    crowd_checkpoint(&crowd, true);
    ck_assert_uint_eq(check_published(&crowd.model, true), 0);
    crowd_drop(&crowd);
    for (uint32_t s = 0; s < SUBTASKS_MAX; s++) {
        weir_buf_fini(&crowd.states[s]);
    }
    model_fini(&crowd.model);
}
END_TEST

Suite *file_sink_ckpt_suite(void);
Suite *file_sink_ckpt_suite(void)
{
    Suite *suite = suite_create("file_sink_ckpt");
    TCase *tc = tcase_create("all");
    tcase_add_loop_test(tc, committed_rows_are_published_once_and_lost_ones_never, 0, 4);
    tcase_add_test(tc, a_part_that_is_nowhere_or_has_other_bytes_is_an_error_that_names_it);
    tcase_add_test(tc, damaged_state_is_refused);
    tcase_add_test(tc, an_empty_epoch_makes_no_part);
    tcase_add_loop_test(tc, a_zombie_publishes_committed_parts_only, 0, 2);
    tcase_add_loop_test(tc, parts_move_between_subtasks, 0, 6);
    suite_add_tcase(suite, tc);
    return suite;
}
