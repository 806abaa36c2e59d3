/*
 * The epoch log against a broker in memory and a file system that forgets: after any crash, with zombies about, what a read_committed consumer sees
 * is the committed log up to the cursor, each record once, in order.
 */
#include "taskmanager/connectors/epoch_log_private.h"

#include "common/base/list.h"
#include "common/base/rand.h"
#include "common/base/vec.h"
#include "common/fs/fs_local.h"
#include "common/fs/fs_sim.h"
#include "common/runtime/sync.h"
#include "taskmanager/connectors/conn_test_kit.h"
#include "tests/lib/hot_assert.h"

enum { SEEDS = 400, CONTROL_SEEDS = 60, STEPS = 70, RECORD_BYTES_MAX = 512, PUMP_MAX = 100000 };

static const char job[] = "0123456789abcdef0123456789abcdef";
static const char root[] = "/ckpt";
static const char *const columns[] = {"n", "BIGINT", NULL};

static const struct weir__epoch_log_options small = {
    .bytes_max = 2000,
    .fill_bytes = 200,
    .block = {.records_max = 5, .bytes_max = 128},
    .chunk = {.records_max = 12, .bytes_max = 300},
    .stepped = true,
};

/* A record is its salt, then bytes that follow from it. */
static uint32_t record_bytes(uint64_t salt)
{
    return salt % 50 == 0 ? 400 : 8 + (uint32_t)(salt % 40);
}

static void record_put(struct weir_buf *to, uint64_t salt)
{
    weir_buf_put_u64(to, salt);
    memset(weir_buf_reserve(to, record_bytes(salt) - 8), (int)(salt & 0x7f), record_bytes(salt) - 8);
    to->len += record_bytes(salt) - 8;
}

static uint64_t record_get(const uint8_t *bytes, uint32_t len)
{
    WEIR_HOT_ASSERT(len >= 8);
    uint64_t salt = weir_le_get_u64(bytes);
    WEIR_HOT_ASSERT_EQ(len, record_bytes(salt));
    WEIR_HOT_ASSERT_EQ(bytes[len - 1] & 0x7f, len == 8 ? bytes[len - 1] & 0x7f : (int)(salt & 0x7f));
    return salt;
}

struct salts {
    uint64_t *items;
    size_t len, cap;
};

static void salts_put(struct salts *salts, uint64_t salt)
{
    salts->items = weir_vec_grow(salts->items, &salts->cap, sizeof(*salts->items), salts->len + 1);
    salts->items[salts->len++] = salt;
}

static void salts_copy(struct salts *to, const struct salts *from, size_t count)
{
    to->len = 0;
    for (size_t i = 0; i < count; i++) {
        salts_put(to, from->items[i]);
    }
}

/* --- the broker: one topic, one transactional id, one cursor ---------------------------------------------------------------- */

enum txn { TXN_NONE, TXN_OPEN, TXN_COMMITTING };

struct broker {
    uint64_t epoch;
    bool has_cursor;
    uint64_t cursor;
    struct salts visible;
    enum txn txn;
    struct salts staged;
    uint64_t staged_cursor;
    uint32_t trouble; /* percent of calls with some */
    bool control;     /* reads the cursor before it fences: wrong */
    struct weir_rand rand;
    bool dying;       /* the process is gone behind this call */
    uint64_t checkpoint_max;
    uint32_t attempt_max; /* of those that have recovered */
    bool raced;           /* an older one recovered after it: its lease was from before */
    void (*meanwhile)(void *ctx, uint32_t attempt); /* others act while somebody recovers */
    void *ctx;
};

static bool broker_chance(struct broker *broker, uint32_t percent)
{
    return weir_rand_below(&broker->rand, 100) < percent;
}

static void broker_end(struct broker *broker, bool commit)
{
    for (size_t i = 0; commit && i < broker->staged.len; i++) {
        salts_put(&broker->visible, broker->staged.items[i]);
    }
    if (commit) {
        broker->has_cursor = true;
        broker->cursor = broker->staged_cursor;
    }
    broker->staged.len = 0;
    broker->txn = TXN_NONE;
}

struct target {
    struct weir_drain_target base;
    struct broker *broker;
    uint32_t attempt;
    uint64_t epoch;
    uint32_t recovers;
    bool again; /* its last drain said AGAIN */
};

static enum weir_rc target_recover(struct weir_drain_target *base, bool *out_found, uint64_t *out_cursor, struct weir_error *err)
{
    struct target *target = (struct target *)base;
    struct broker *broker = target->broker;
    if (broker_chance(broker, broker->trouble / 2)) {
        return WEIR_AGAIN;
    }
    bool found = broker->has_cursor;
    uint64_t cursor = broker->cursor;
    (void)err;
    WEIR_HOT_ASSERT(target->recovers == 0 || target->again); /* R7 */
    target->recovers++;
    target->again = false;
    if (broker->meanwhile != NULL) {
        broker->meanwhile(broker->ctx, target->attempt);
    }
    if (broker->txn != TXN_NONE) {
        broker_end(broker, broker->txn == TXN_COMMITTING);
    }
    broker->raced = broker->raced || target->attempt < broker->attempt_max;
    broker->attempt_max = target->attempt > broker->attempt_max ? target->attempt : broker->attempt_max;
    target->epoch = ++broker->epoch;
    *out_found = broker->control ? found : broker->has_cursor;
    *out_cursor = broker->control ? cursor : broker->cursor;
    return WEIR_OK;
}

static enum weir_rc target_drain(struct weir_drain_target *base, const struct weir_drain_chunk *chunk, struct weir_error *err)
{
    struct target *target = (struct target *)base;
    struct broker *broker = target->broker;
    if (target->epoch != broker->epoch) {
        return weir_error_set(err, WEIR_STALE, "fenced");
    }
    WEIR_HOT_ASSERT(broker->txn == TXN_NONE);
    WEIR_HOT_ASSERT(chunk->checkpoint <= broker->checkpoint_max);
    WEIR_HOT_ASSERT(chunk->count > 0 && chunk->count <= small.chunk.records_max);
    WEIR_HOT_ASSERT(chunk->count == 1 || chunk->ends[chunk->count - 1] <= small.chunk.bytes_max);
    uint64_t dice = broker_chance(broker, broker->trouble) ? weir_rand_below(&broker->rand, 4) : 4;
    broker->dying = dice < 4 && broker_chance(broker, 50);
    target->again = dice < 4;
    if (dice == 0) { /* before anything was sent */
        return WEIR_AGAIN;
    }
    for (uint32_t i = 0; i < chunk->count; i++) {
        uint32_t from = i == 0 ? 0 : chunk->ends[i - 1];
        salts_put(&broker->staged, record_get(chunk->bytes + from, chunk->ends[i] - from));
    }
    broker->staged_cursor = chunk->first + chunk->count;
    broker->txn = dice == 2 ? TXN_COMMITTING : TXN_OPEN;
    if (dice == 1 || dice == 2) { /* in the middle; or the coordinator has logged the commit but not done it */
        return WEIR_AGAIN;
    }
    broker_end(broker, true);
    return dice == 3 ? WEIR_AGAIN : WEIR_OK; /* 3: the answer was lost */
}

static void target_destroy(struct weir_drain_target *base)
{
    weir_free(base);
}

static const struct weir_drain_vtable target_vtable = {.recover = target_recover, .drain = target_drain, .destroy = target_destroy};

static struct target *target_create(struct broker *broker, uint32_t attempt)
{
    struct target *target = weir_calloc(1, sizeof(*target));
    target->base.vtable = &target_vtable;
    target->broker = broker;
    target->attempt = attempt;
    return target;
}

/* --- attempts --------------------------------------------------------------------------------------------------------------- */

struct model;

struct attempt {
    struct weir_executor executor; /* first member */
    struct weir_work *work;        /* not yet run */
    struct weir_lease lease;
    struct model *model;
    uint32_t number;
    uint32_t wakes;
    struct weir_conn_ctx ctx;
    struct weir_epoch_log *log;
    struct salts salts; /* of all its positions, restored ones too */
    uint64_t pending, pending_end; /* prepared, undecided; 0: none */
    struct weir_buf state;
    bool inside;        /* it was taken for dead within prepare or restore, and hangs there */
    uint64_t owed;      /* its own checkpoint, completed and not told; 0: none */
};

struct model {
    struct conn_kit kit;
    struct weir_fs *fs;
    struct weir_rand rand;
    struct broker broker;
    struct weir__epoch_log_options options;
    uint32_t attempts;
    uint64_t checkpoints;    /* ids are not used twice */
    struct attempt *live, *zombie;
    uint64_t committed;      /* checkpoint; 0: none */
    struct salts canon;      /* the log below its end */
    struct weir_buf committed_state;
    bool violated;           /* the oracle's word */
    bool calm;               /* nothing goes wrong any more */
};

static bool chance(struct model *model, uint32_t percent)
{
    return weir_rand_below(&model->rand, 100) < percent;
}

static struct attempt *of_lease(struct weir_lease *lease)
{
    return WEIR_CONTAINER_OF(lease, struct attempt, lease);
}

/* An attempt that was replaced may have asked just before. */
static enum weir_rc lease_check(struct weir_lease *lease, int64_t timeout_ms, struct weir_error *err)
{
    struct attempt *attempt = of_lease(lease);
    struct model *model = attempt->model;
    WEIR_HOT_ASSERT(timeout_ms > 0);
    if (!model->calm && chance(model, 10)) {
        return weir_error_set(err, WEIR_TIMEOUT, "nobody answers");
    }
    return attempt->number == model->attempts || chance(model, 30) ? WEIR_OK : weir_error_set(err, WEIR_STALE, "replaced");
}

static struct weir_lease *lease_ref(struct weir_lease *lease)
{
    return lease;
}

static void lease_unref(struct weir_lease *lease)
{
    (void)lease;
}

static void attempt_submit(struct weir_executor *executor, struct weir_work *work)
{
    struct attempt *attempt = (struct attempt *)executor;
    WEIR_HOT_ASSERT(attempt->work == NULL);
    attempt->work = work;
}

static bool attempt_work(struct attempt *attempt)
{
    struct weir_work *work = attempt->work;
    if (work == NULL) {
        return false;
    }
    attempt->work = NULL;
    work->run(work);
    work->in_flight = false;
    work->done(work);
    return true;
}

static void attempt_wake(void *ctx)
{
    ((struct attempt *)ctx)->wakes++;
}

static struct attempt *attempt_create(struct model *model)
{
    struct weir_error err;
    struct attempt *attempt = weir_calloc(1, sizeof(*attempt));
    attempt->executor.submit = attempt_submit;
    attempt->model = model;
    attempt->number = ++model->attempts;
    attempt->lease = (struct weir_lease){.check = lease_check, .ref = lease_ref, .unref = lease_unref};
    attempt->ctx = model->kit.ctx;
    attempt->ctx.job_id = job;
    attempt->ctx.checkpoints_dir = root;
    attempt->ctx.fs = model->fs;
    attempt->ctx.vertex = 3;
    attempt->ctx.attempt = attempt->number;
    attempt->ctx.executor = &attempt->executor;
    attempt->ctx.lease = model->attempts % 4 == 0 ? NULL : &attempt->lease;
    attempt->ctx.wake = attempt_wake;
    attempt->ctx.wake_ctx = attempt;
    ck_assert_int_eq(weir__epoch_log_create(&attempt->ctx, &model->options, &target_create(&model->broker, attempt->number)->base, &attempt->log, &err), WEIR_OK);
    return attempt;
}

/* kill -9 (nothing is cleaned up), or in order. */
static void attempt_end(struct attempt **attempt, bool killed)
{
    struct attempt *a = *attempt;
    if (a == NULL) {
        return;
    }
    if (a->work != NULL) {
        a->work->in_flight = false;
    }
    if (killed) {
        weir_fs_sim_fail(a->model->fs, (struct weir_fs_sim_fault){.nth = 1, .rc = WEIR_IO, .lasting = true});
    }
    weir_epoch_log_destroy(a->log);
    weir_fs_sim_fail(a->model->fs, (struct weir_fs_sim_fault){0});
    weir_free(a->salts.items);
    weir_buf_fini(&a->state);
    weir_free(a);
    *attempt = NULL;
}

/* --- the JobManager's directories --------------------------------------------------------------------------------------------- */

static void chk_dir(char *out, uint64_t checkpoint)
{
    (void)snprintf(out, 128, "%s/%s/chk-%llu", root, job, (unsigned long long)checkpoint);
}

struct sweep {
    struct weir_fs *fs;
    const char *dir;
    char paths[64][256];
    uint32_t count;
};

static void sweep_add(void *ctx, const char *name, bool is_dir)
{
    struct sweep *sweep = ctx;
    ck_assert(!is_dir);
    ck_assert_uint_lt(sweep->count, 64);
    (void)snprintf(sweep->paths[sweep->count++], sizeof(sweep->paths[0]), "%s/%s", sweep->dir, name);
}

static void chk_make(struct model *model, uint64_t checkpoint)
{
    struct weir_error err;
    char dir[128];
    chk_dir(dir, checkpoint);
    ck_assert_int_eq(weir_fs_mkdirs(model->fs, dir, &err), WEIR_OK);
}

static void chk_remove(struct model *model, uint64_t checkpoint)
{
    struct weir_error err;
    char dir[128];
    chk_dir(dir, checkpoint);
    struct sweep sweep = {.fs = model->fs, .dir = dir};
    if (weir_fs_list(model->fs, dir, sweep_add, &sweep, &err) == WEIR_OK) {
        for (uint32_t i = 0; i < sweep.count; i++) {
            ck_assert_int_eq(weir_fs_unlink(model->fs, sweep.paths[i], &err), WEIR_OK);
        }
        ck_assert_int_eq(weir_fs_rmdir(model->fs, dir, &err), WEIR_OK);
    }
}

static uint32_t own_names(struct model *model)
{
    struct weir_error err;
    char dir[128];
    (void)snprintf(dir, sizeof(dir), "%s/%s/log", root, job);
    struct sweep sweep = {.fs = model->fs, .dir = dir};
    enum weir_rc rc = weir_fs_list(model->fs, dir, sweep_add, &sweep, &err);
    ck_assert(rc == WEIR_OK || rc == WEIR_NOT_FOUND);
    return sweep.count;
}

/* --- the model ---------------------------------------------------------------------------------------------------------------- */

static void model_meanwhile(void *ctx, uint32_t recovering);

static void model_init(struct model *model, uint64_t seed)
{
    *model = (struct model){.options = small};
    conn_kit_init(&model->kit, "kafka", columns, NULL);
    model->fs = weir_fs_sim_create();
    weir_rand_init(&model->rand, seed);
    weir_rand_init(&model->broker.rand, seed ^ 0x5bd1e995);
    model->broker.trouble = 20;
    model->broker.meanwhile = model_meanwhile;
    model->broker.ctx = model;
    model->options.bytes_max = 300 + weir_rand_below(&model->rand, 6000);
}

static void model_fini(struct model *model)
{
    attempt_end(&model->zombie, false);
    attempt_end(&model->live, false);
    weir_free(model->canon.items);
    weir_free(model->broker.visible.items);
    weir_free(model->broker.staged.items);
    weir_buf_fini(&model->committed_state);
    weir_fs_sim_destroy(model->fs);
    conn_kit_fini(&model->kit);
}

/* The oracle: the committed log up to the cursor, each record once. */
static void check(struct model *model)
{
    const struct broker *broker = &model->broker;
    bool good = broker->visible.len == (broker->has_cursor ? broker->cursor : 0) && broker->visible.len <= model->canon.len;
    for (size_t i = 0; good && i < broker->visible.len; i++) {
        good = broker->visible.items[i] == model->canon.items[i];
    }
    model->violated = model->violated || !good;
    if (!good && !broker->control) {
        ck_abort_msg("%zu records visible, cursor %llu, %zu committed", broker->visible.len, (unsigned long long)broker->cursor, model->canon.len);
    }
}

/* The coordinator decides on what `attempt` has prepared. */
static void decide(struct model *model, struct attempt *attempt, bool commit)
{
    if (attempt == NULL || attempt->pending == 0) {
        return;
    }
    if (commit) {
        chk_remove(model, model->committed);
        WEIR_HOT_ASSERT(attempt->pending_end >= model->canon.len);
        for (size_t i = 0; i < model->canon.len; i++) {
            WEIR_HOT_ASSERT_EQ(model->canon.items[i], attempt->salts.items[i]); /* I1 */
        }
        salts_copy(&model->canon, &attempt->salts, attempt->pending_end);
        model->committed = model->broker.checkpoint_max = attempt->owed = attempt->pending;
        weir_buf_clear(&model->committed_state);
        weir_buf_put_slice(&model->committed_state, weir_buf_slice(&attempt->state));
    } else {
        chk_remove(model, attempt->pending);
    }
    attempt->pending = 0;
}

/* True for OK. What the live attempt may say otherwise: that the disk failed; that it was fenced, which a zombie with an old lease can do, and then
 * write what is committed. */
static bool allowed(const struct model *model, const struct attempt *attempt, enum weir_rc rc, const struct weir_error *err)
{
    bool fenced = model->broker.raced && (rc == WEIR_EXTERNAL || (rc == WEIR_DATA && strstr(err->text, "something else has moved it") != NULL));
    if (rc == WEIR_OK || rc == WEIR_IO || fenced || attempt != model->live || model->broker.control) {
        return rc == WEIR_OK;
    }
    ck_abort_msg("%s", err->text);
    return false;
}

/* Whether the drain goes on; the process may die within. */
static bool drain_some(struct model *model, struct attempt *attempt, uint32_t steps)
{
    struct weir__drain *drain = weir__epoch_log_drain_of(attempt->log);
    for (uint32_t i = 0; i < steps; i++) {
        enum weir__drain_next next = weir__drain_step(drain);
        check(model);
        if (model->broker.dying && !model->calm) {
            model->broker.dying = false;
            return false;
        }
        if (next == WEIR__DRAIN_OVER) {
            return false;
        }
        if (next == WEIR__DRAIN_IDLE) {
            break;
        }
    }
    return true;
}

/* Says AGAIN: something must happen, and wake. False: the attempt is dead. */
static bool go_on(struct model *model, struct attempt *attempt)
{
    uint32_t wakes = attempt->wakes;
    if (attempt_work(attempt)) {
        ck_assert_uint_gt(attempt->wakes, wakes);
        return true;
    }
    for (uint32_t i = 0; i < PUMP_MAX; i++) { /* nothing of its own to do: only the drain can help */
        if (!drain_some(model, attempt, 1)) {
            return false;
        }
        if (attempt->wakes > wakes) {
            return true;
        }
    }
    ck_abort_msg("nobody wakes the task");
    return false;
}

static bool append_some(struct model *model, struct attempt *attempt)
{
    struct weir_buf bytes = {0};
    uint32_t ends[40];
    uint64_t salts[40];
    uint32_t count = 1 + (uint32_t)weir_rand_below(&model->rand, 40);
    for (uint32_t i = 0; i < count; i++) {
        salts[i] = weir_rand_u64(&model->rand);
        record_put(&bytes, salts[i]);
        ends[i] = (uint32_t)bytes.len;
    }
    enum weir_rc rc;
    struct weir_error err;
    bool alive = true;
    while ((rc = weir_epoch_log_append(attempt->log, weir_buf_slice(&bytes), ends, count, &err)) == WEIR_AGAIN && alive) {
        alive = go_on(model, attempt);
    }
    weir_buf_fini(&bytes);
    if (!alive || !allowed(model, attempt, rc, &err)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        salts_put(&attempt->salts, salts[i]);
    }
    return true;
}

static bool prepare(struct model *model, struct attempt *attempt)
{
    enum weir_rc rc;
    struct weir_error err;
    uint64_t checkpoint = ++model->checkpoints;
    decide(model, attempt, false); /* it has timed out */
    if (attempt == model->live) {
        chk_make(model, checkpoint);
    }
    weir_buf_clear(&attempt->state);
    attempt->inside = true;
    while ((rc = weir_epoch_log_prepare(attempt->log, checkpoint, &attempt->state, &err)) == WEIR_AGAIN) {
        if (chance(model, 20)) {
            (void)drain_some(model, attempt, 3);
            model->broker.dying = false;
        }
        if (!attempt_work(attempt)) {
            return false;
        }
    }
    attempt->inside = rc != WEIR_OK;
    if (attempt != model->live) { /* nobody has asked it: its directory is not there */
        return rc == WEIR_OK;
    }
    if (!allowed(model, attempt, rc, &err)) {
        return false;
    }
    attempt->pending = checkpoint;
    attempt->pending_end = attempt->salts.len;
    return true;
}

static bool notify(struct model *model, struct attempt *attempt)
{
    struct weir_error err;
    if (attempt->owed == 0) {
        return true;
    }
    uint64_t checkpoint = attempt->owed;
    attempt->owed = 0;
    return allowed(model, attempt, weir_epoch_log_commit(attempt->log, checkpoint, &err), &err);
}

static bool restore(struct model *model, struct attempt *attempt)
{
    enum weir_rc rc;
    struct weir_error err;
    attempt->inside = true;
    while ((rc = weir_epoch_log_restore(attempt->log, model->committed, weir_buf_slice(&model->committed_state), &err)) == WEIR_AGAIN) {
        if (!model->calm && (chance(model, 3) || (chance(model, 30) && !drain_some(model, attempt, 2)))) {
            return false;
        }
        ck_assert(attempt_work(attempt));
    }
    attempt->inside = rc != WEIR_OK;
    salts_copy(&attempt->salts, &model->canon, model->canon.len);
    return allowed(model, attempt, rc, &err);
}

/* The zombie goes on as if nothing had happened. */
static void zombie_some(struct model *model)
{
    struct attempt *zombie = model->zombie;
    struct weir_error err;
    if (zombie == NULL) {
        return;
    }
    uint64_t dice = weir_rand_below(&model->rand, 10);
    bool alive = true;
    if (dice < 6) {
        (void)drain_some(model, zombie, 4);
        model->broker.dying = false;
    } else if (zombie->inside) {
        (void)attempt_work(zombie);
    } else if (dice < 7) {
        alive = notify(model, zombie); /* its own, late */
    } else if (dice < 8 && model->committed != 0) { /* its successor's */
        alive = weir_epoch_log_commit(zombie->log, model->committed, &err) == WEIR_OK;
    } else if (dice < 9 && zombie->work == NULL) {
        alive = prepare(model, zombie);
    } else {
        (void)attempt_work(zombie);
    }
    if (!alive) {
        attempt_end(&model->zombie, chance(model, 50));
    }
}

static void model_meanwhile(void *ctx, uint32_t recovering)
{
    struct model *model = ctx;
    struct attempt *other = model->live != NULL && model->live->number != recovering ? model->live : model->zombie;
    if (other == NULL || other->number == recovering || !chance(model, 50)) {
        return;
    }
    model->broker.meanwhile = NULL; /* it may recover itself */
    (void)drain_some(model, other, 3);
    model->broker.dying = false;
    model->broker.meanwhile = model_meanwhile;
}

/* The attempt dies, or is taken for dead; the next one restores what is committed, if it lives long enough. */
static void fail_over(struct model *model)
{
    bool alive = false;
    while (!alive) {
        weir_fs_sim_fail(model->fs, (struct weir_fs_sim_fault){0});
        decide(model, model->live, chance(model, 50)); /* the last acknowledgement may have come just before */
        if (chance(model, 40)) {
            attempt_end(&model->zombie, chance(model, 50));
            model->zombie = model->live;
            model->live = NULL;
        } else {
            attempt_end(&model->live, chance(model, 80));
        }
        if (chance(model, 40)) {
            weir_fs_sim_crash(model->fs, weir_rand_u64(&model->rand));
        }
        model->live = attempt_create(model);
        if (chance(model, 20)) {
            weir_fs_sim_fail(model->fs, (struct weir_fs_sim_fault){.nth = 1 + weir_rand_below(&model->rand, 20), .rc = WEIR_IO, .lasting = true});
        }
        alive = model->committed == 0 || restore(model, model->live);
        weir_fs_sim_fail(model->fs, (struct weir_fs_sim_fault){0});
        check(model);
    }
}

static bool live_some(struct model *model)
{
    struct attempt *live = model->live;
    uint64_t dice = weir_rand_below(&model->rand, 100);
    if (dice < 6) {
        return false;
    }
    if (dice < 16) { /* the disk fails within */
        weir_fs_sim_fail(model->fs, (struct weir_fs_sim_fault){.nth = 1 + weir_rand_below(&model->rand, 12), .rc = WEIR_IO, .lasting = true});
        bool prepared = chance(model, 50) ? append_some(model, live) : false;
        weir_fs_sim_fail(model->fs, (struct weir_fs_sim_fault){0});
        return prepared;
    }
    if (dice < 45) {
        return append_some(model, live);
    }
    if (dice < 60) {
        return prepare(model, live);
    }
    if (dice < 75) {
        decide(model, live, chance(model, 75));
        return chance(model, 85) ? notify(model, live) : true;
    }
    return drain_some(model, live, 1 + (uint32_t)weir_rand_below(&model->rand, 8));
}

/* Everything comes out in the end, and nothing is left lying about. */
static void finish(struct model *model)
{
    struct weir_error err;
    attempt_end(&model->zombie, false);
    attempt_end(&model->live, false);
    model->calm = true;
    model->broker.trouble = 0;
    weir_fs_sim_fail(model->fs, (struct weir_fs_sim_fault){0});
    model->live = attempt_create(model);
    ck_assert(model->committed == 0 || restore(model, model->live));
    for (int i = 0; i < 3; i++) {
        ck_assert(append_some(model, model->live));
        ck_assert(prepare(model, model->live));
        decide(model, model->live, true);
        ck_assert(notify(model, model->live));
    }
    enum weir_rc rc;
    while ((rc = weir_epoch_log_drain(model->live->log, &err)) == WEIR_AGAIN) {
        ck_assert(go_on(model, model->live));
    }
    ck_assert_int_eq(rc, WEIR_OK);
    ck_assert_uint_eq(model->broker.visible.len, model->canon.len);
    check(model);
    attempt_end(&model->live, false);
    ck_assert_uint_eq(own_names(model), 0);
}

static void run_model(struct model *model)
{
    model->live = attempt_create(model);
    for (int step = 0; step < STEPS && !model->violated; step++) {
        bool alive = live_some(model);
        zombie_some(model);
        check(model);
        if (!alive) {
            fail_over(model);
        }
    }
}

START_TEST(what_is_committed_comes_out_once_and_in_order)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct model model;
        model_init(&model, seed + (uint64_t)_i * SEEDS);
        run_model(&model);
        finish(&model);
        ck_assert_uint_gt(model.canon.len, 0);
        model_fini(&model);
    }
}
END_TEST

START_TEST(a_cursor_read_before_fencing_is_caught)
{
    uint32_t caught = 0;
    for (uint64_t seed = 0; seed < CONTROL_SEEDS; seed++) {
        struct model model;
        model_init(&model, seed);
        model.broker.control = true;
        run_model(&model);
        caught += model.violated;
        model_fini(&model);
    }
    ck_assert_uint_gt(caught, 0);
}
END_TEST


/* --- one thing at a time ------------------------------------------------------------------------------------------------------ */

static void calm_init(struct model *model, uint64_t seed)
{
    model_init(model, seed);
    model->calm = true;
    model->broker.trouble = 0;
    model->options.bytes_max = UINT64_MAX;
    model->live = attempt_create(model);
}

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

static void expect_data(struct model *model, bool found, uint64_t cursor, const char *text)
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
    ck_assert_int_eq(weir_epoch_log_drain(model->live->log, &err), WEIR_DATA);
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
    expect_data(&model, false, 0, "the cursor outside is gone");
    expect_data(&model, true, known - 1, "it was set back");
    expect_data(&model, true, model.canon.len + 1, "beyond");
    model.committed = 0;
    expect_data(&model, true, 1, "no checkpoint is being restored");
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

static enum weir_rc slow_drain(struct weir_drain_target *base, const struct weir_drain_chunk *chunk, struct weir_error *err)
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

static void threaded_init(struct threaded *t, uint64_t bytes_max)
{
    struct weir_error err;
    *t = (struct threaded){.slow = weir_calloc(1, sizeof(*t->slow)), .ctx = weir_malloc(sizeof(*t->ctx)), .fs = weir_fs_sim_create()};
    weir_mutex_init(&t->slow->mutex);
    weir_cond_init(&t->slow->cond);
    conn_kit_init(&t->kit, "kafka", columns, NULL);
    *t->ctx = t->kit.ctx;
    t->ctx->fs = t->fs;
    t->ctx->clock = weir_clock_real();
    t->ctx->checkpoints_dir = root;
    t->ctx->wake = slow_wake;
    t->ctx->wake_ctx = t->slow;
    for (uint64_t k = 1; k <= 20; k++) {
        char dir[128];
        chk_dir(dir, k);
        ck_assert_int_eq(weir_fs_mkdirs(t->fs, dir, &err), WEIR_OK);
    }
    struct slow_target *target = weir_calloc(1, sizeof(*target));
    target->base.vtable = &slow_vtable;
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
    threaded_init(&t, 1 << 20);
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

/* E7: destroy returns at once, and what the task had is gone before the target is let go. */
START_TEST(destroy_does_not_wait_for_the_target)
{
    struct threaded t;
    threaded_init(&t, 1 << 20);
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

Suite *epoch_log_suite(void);

Suite *epoch_log_suite(void)
{
    Suite *suite = suite_create("epoch_log");
    TCase *tcase = tcase_create("epoch_log");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, what_is_committed_comes_out_once_and_in_order, 0, 2);
    tcase_add_test(tcase, a_cursor_read_before_fencing_is_caught);
    tcase_add_test(tcase, a_death_at_each_call_of_prepare_and_restore);
    tcase_add_test(tcase, damage_is_found_and_the_file_named);
    tcase_add_test(tcase, a_cursor_that_cannot_be_is_refused);
    tcase_add_test(tcase, only_what_is_committed_and_not_drained_stops_the_input);
    tcase_add_test(tcase, an_aborted_checkpoint_whose_directory_is_gone_harms_nobody);
    tcase_add_test(tcase, the_thread_drains_while_the_task_goes_on);
    tcase_add_test(tcase, destroy_does_not_wait_for_the_target);
    suite_add_tcase(suite, tcase);
    return suite;
}
