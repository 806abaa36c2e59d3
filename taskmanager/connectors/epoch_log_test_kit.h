/*
 * What the tests of the epoch log share: a broker in memory, attempts whose executor and drain the test steps, a JobManager's directories on a file
 * system that forgets, and an oracle: what a read_committed consumer sees is the committed log up to the cursor, each record once, in order.
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_EPOCH_LOG_TEST_KIT_H
#define WEIR_TASKMANAGER_CONNECTORS_EPOCH_LOG_TEST_KIT_H

#include "taskmanager/connectors/epoch_log_private.h"

#include "common/base/list.h"
#include "common/base/rand.h"
#include "common/base/vec.h"
#include "common/fs/fs_local.h"
#include "common/fs/fs_sim.h"
#include "common/runtime/sync.h"
#include "taskmanager/connectors/conn_test_kit.h"
#include "tests/lib/hot_assert.h"

enum { PUMP_MAX = 100000 };

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
static inline uint32_t record_bytes(uint64_t salt)
{
    return salt % 50 == 0 ? 400 : 8 + (uint32_t)(salt % 40);
}

static inline void record_put(struct weir_buf *to, uint64_t salt)
{
    weir_buf_put_u64(to, salt);
    memset(weir_buf_reserve(to, record_bytes(salt) - 8), (int)(salt & 0x7f), record_bytes(salt) - 8);
    to->len += record_bytes(salt) - 8;
}

static inline uint64_t record_get(const uint8_t *bytes, uint32_t len)
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

static inline void salts_put(struct salts *salts, uint64_t salt)
{
    salts->items = weir_vec_grow(salts->items, &salts->cap, sizeof(*salts->items), salts->len + 1);
    salts->items[salts->len++] = salt;
}

static inline void salts_copy(struct salts *to, const struct salts *from, size_t count)
{
    to->len = 0;
    for (size_t i = 0; i < count; i++) {
        salts_put(to, from->items[i]);
    }
}

/* --- the broker: one topic, one transactional id, one cursor ---------------------------------------------------------------- */

enum txn { TXN_NONE, TXN_OPEN, TXN_COMMITTING };

enum { FAILS = 101, IN_DOUBT = 102 }; /* each transaction */

struct broker {
    uint64_t epoch;
    bool has_cursor;
    uint64_t cursor;
    struct salts visible;
    enum txn txn;
    struct salts staged;
    uint64_t staged_cursor;
    uint32_t trouble; /* percent of calls with some; FAILS, IN_DOUBT */
    bool control;     /* reads the cursor before it fences: wrong */
    struct weir_rand rand;
    bool refuses;     /* to let anybody recover */
    bool spent;       /* the next drain must recover first */
    bool dying;       /* the process is gone behind this call */
    uint32_t count_max; /* what is more takes too long; 0: nothing */
    uint32_t late;      /* so many have */
    uint64_t checkpoint_max;
    uint32_t attempt_max; /* of those that have recovered */
    bool raced;           /* an older one recovered after it: its lease was from before */
    void (*meanwhile)(void *ctx, uint32_t attempt); /* others act while somebody recovers */
    void *ctx;
};

static inline bool broker_chance(struct broker *broker, uint32_t percent)
{
    return weir_rand_below(&broker->rand, 100) < percent;
}

static inline void broker_end(struct broker *broker, bool commit)
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
    bool again; /* its last drain said that recover must come */
};

static inline enum weir_rc target_recover(struct weir_drain_target *base, bool *out_found, uint64_t *out_cursor, struct weir_error *err)
{
    struct target *target = (struct target *)base;
    struct broker *broker = target->broker;
    if (broker_chance(broker, broker->trouble / 2)) {
        return WEIR_AGAIN;
    }
    if (broker->refuses) {
        return weir_error_set(err, WEIR_REFUSED, "not allowed");
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

static inline enum weir_rc target_drain(struct weir_drain_target *base, const struct weir_drain_chunk *chunk, bool *out_in_doubt,
                                        struct weir_error *err)
{
    struct target *target = (struct target *)base;
    struct broker *broker = target->broker;
    if (target->epoch != broker->epoch) {
        return weir_error_set(err, WEIR_STALE, "fenced");
    }
    WEIR_HOT_ASSERT(broker->txn == TXN_NONE);
    if (broker->spent) {
        broker->spent = false;
        target->again = true;
        return WEIR_AGAIN;
    }
    WEIR_HOT_ASSERT(chunk->checkpoint <= broker->checkpoint_max);
    WEIR_HOT_ASSERT(chunk->count > 0 && chunk->count <= small.chunk.records_max);
    WEIR_HOT_ASSERT(chunk->count == 1 || chunk->ends[chunk->count - 1] <= small.chunk.bytes_max);
    uint64_t dice = broker_chance(broker, broker->trouble) ? weir_rand_below(&broker->rand, 4) : 4;
    dice = broker->trouble == FAILS ? 1 : broker->trouble == IN_DOUBT ? 2 : dice;
    broker->dying = dice < 4 && broker_chance(broker, 50);
    target->again = dice < 4;
    if (dice == 0) { /* before anything was sent */
        return WEIR_TIMEOUT;
    }
    if (broker->count_max > 0 && chunk->count > broker->count_max) {
        broker->late++;
        target->again = true;
        return WEIR_TIMEOUT;
    }
    for (uint32_t i = 0; i < chunk->count; i++) {
        uint32_t from = i == 0 ? 0 : chunk->ends[i - 1];
        salts_put(&broker->staged, record_get(chunk->bytes + from, chunk->ends[i] - from));
    }
    broker->staged_cursor = chunk->first + chunk->count;
    broker->txn = dice == 2 ? TXN_COMMITTING : TXN_OPEN;
    *out_in_doubt = dice == 2 || dice == 3;
    if (dice == 1 || dice == 2) { /* in the middle; or the coordinator has logged the commit but not done it */
        return WEIR_AGAIN;
    }
    broker_end(broker, true);
    broker->spent = broker_chance(broker, broker->trouble / 4); /* its connection broke */
    return dice == 3 ? WEIR_AGAIN : WEIR_OK; /* 3: the answer was lost */
}

static inline void target_destroy(struct weir_drain_target *base)
{
    weir_free(base);
}

static const struct weir_drain_vtable target_vtable = {.recover = target_recover, .drain = target_drain, .destroy = target_destroy};

static inline struct target *target_create(struct broker *broker, uint32_t attempt)
{
    struct target *target = weir_calloc(1, sizeof(*target));
    target->base = (struct weir_drain_target){.vtable = &target_vtable, .call_ms_max = INT64_MAX};
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
    uint64_t room;           /* on the disk; about */
};

static inline void give_room(struct model *model, uint64_t bytes)
{
    model->room = bytes;
    weir_fs_sim_room(model->fs, bytes);
}

static inline bool chance(struct model *model, uint32_t percent)
{
    return weir_rand_below(&model->rand, 100) < percent;
}

static inline struct attempt *of_lease(struct weir_lease *lease)
{
    return WEIR_CONTAINER_OF(lease, struct attempt, lease);
}

/* An attempt that was replaced may have asked just before. */
static inline enum weir_rc lease_check(struct weir_lease *lease, int64_t timeout_ms, struct weir_error *err)
{
    struct attempt *attempt = of_lease(lease);
    struct model *model = attempt->model;
    WEIR_HOT_ASSERT(timeout_ms > 0);
    if (!model->calm && chance(model, 10)) {
        return weir_error_set(err, WEIR_TIMEOUT, "nobody answers");
    }
    return attempt->number == model->attempts || chance(model, 30) ? WEIR_OK : weir_error_set(err, WEIR_STALE, "replaced");
}

static inline struct weir_lease *lease_ref(struct weir_lease *lease)
{
    return lease;
}

static inline void lease_unref(struct weir_lease *lease)
{
    (void)lease;
}

static inline void attempt_submit(struct weir_executor *executor, struct weir_work *work)
{
    struct attempt *attempt = (struct attempt *)executor;
    WEIR_HOT_ASSERT(attempt->work == NULL);
    attempt->work = work;
}

static inline bool attempt_work(struct attempt *attempt)
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

static inline void attempt_wake(void *ctx)
{
    ((struct attempt *)ctx)->wakes++;
}

static inline struct attempt *attempt_create(struct model *model)
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
static inline void attempt_end(struct attempt **attempt, bool killed)
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

static inline void chk_dir(char *out, uint64_t checkpoint)
{
    (void)snprintf(out, 128, "%s/%s/chk-%llu", root, job, (unsigned long long)checkpoint);
}

struct sweep {
    struct weir_fs *fs;
    const char *dir;
    char paths[64][256];
    uint32_t count;
};

static inline void sweep_add(void *ctx, const char *name, bool is_dir)
{
    struct sweep *sweep = ctx;
    ck_assert(!is_dir);
    ck_assert_uint_lt(sweep->count, 64);
    (void)snprintf(sweep->paths[sweep->count++], sizeof(sweep->paths[0]), "%s/%s", sweep->dir, name);
}

static inline void chk_make(struct model *model, uint64_t checkpoint)
{
    struct weir_error err;
    char dir[128];
    chk_dir(dir, checkpoint);
    weir_fs_sim_room(model->fs, UINT64_MAX); /* the JobManager found some */
    ck_assert_int_eq(weir_fs_mkdirs(model->fs, dir, &err), WEIR_OK);
    weir_fs_sim_room(model->fs, model->room);
}

static inline void chk_remove(struct model *model, uint64_t checkpoint)
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

static inline uint32_t own_names(struct model *model)
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

static inline void model_init(struct model *model, uint64_t seed)
{
    *model = (struct model){.options = small};
    conn_kit_init(&model->kit, "kafka", columns, NULL);
    model->fs = weir_fs_sim_create();
    model->room = UINT64_MAX;
    weir_rand_init(&model->rand, seed);
    weir_rand_init(&model->broker.rand, seed ^ 0x5bd1e995);
    model->broker.trouble = 20;
    model->options.bytes_max = 300 + weir_rand_below(&model->rand, 6000);
}

static inline void model_fini(struct model *model)
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
static inline void check(struct model *model)
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
static inline void decide(struct model *model, struct attempt *attempt, bool commit)
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

/* True for OK. What the live attempt may say otherwise: that the disk failed; that it was fenced, which a zombie with an old lease can do. */
static inline bool allowed(const struct model *model, const struct attempt *attempt, enum weir_rc rc, const struct weir_error *err)
{
    bool fenced = model->broker.raced && rc == WEIR_EXTERNAL;
    if (rc == WEIR_OK || rc == WEIR_IO || fenced || attempt != model->live || model->broker.control) {
        return rc == WEIR_OK;
    }
    ck_abort_msg("%s", err->text);
    return false;
}

/* Whether the drain goes on; the process may die within. */
static inline bool drain_some(struct model *model, struct attempt *attempt, uint32_t steps)
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
static inline bool go_on(struct model *model, struct attempt *attempt)
{
    uint32_t wakes = attempt->wakes;
    int64_t wait_ms = -1;
    struct weir_error why;
    if (attempt_work(attempt)) {
        ck_assert_uint_gt(attempt->wakes, wakes);
        return true;
    }
    if (weir_epoch_log_stalled(attempt->log, &wait_ms, &why)) { /* E9: only time and somebody else can help */
        ck_assert(wait_ms >= 0 && wait_ms <= WEIR__EPOCH_LOG_RETRY_MS);
        weir_clock_virtual_advance(&model->kit.clock, wait_ms * 1000000);
        give_room(model, chance(model, 50) ? UINT64_MAX : weir_rand_below(&model->rand, 500));
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

static inline bool append_some(struct model *model, struct attempt *attempt)
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

static inline bool prepare(struct model *model, struct attempt *attempt)
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
    if (rc == WEIR_RESOURCE) { /* E9: declined */
        ck_assert_uint_ne(model->room, UINT64_MAX);
        ck_assert_ptr_nonnull(strstr(err.text, "no space left"));
        attempt->inside = false;
        chk_remove(model, checkpoint);
        return true;
    }
    if (!allowed(model, attempt, rc, &err)) {
        return false;
    }
    attempt->pending = checkpoint;
    attempt->pending_end = attempt->salts.len;
    return true;
}

static inline bool notify(struct model *model, struct attempt *attempt)
{
    struct weir_error err;
    if (attempt->owed == 0) {
        return true;
    }
    uint64_t checkpoint = attempt->owed;
    attempt->owed = 0;
    return allowed(model, attempt, weir_epoch_log_commit(attempt->log, checkpoint, &err), &err);
}

static inline bool restore(struct model *model, struct attempt *attempt)
{
    enum weir_rc rc;
    struct weir_error err;
    attempt->inside = true;
    while ((rc = weir_epoch_log_restore(attempt->log, model->committed, weir_buf_slice(&model->committed_state), &err)) == WEIR_AGAIN) {
        if (!model->calm && (chance(model, 3) || (chance(model, 30) && !drain_some(model, attempt, 2)))) {
            return false;
        }
        ck_assert(go_on(model, attempt));
    }
    attempt->inside = rc != WEIR_OK;
    salts_copy(&attempt->salts, &model->canon, model->canon.len);
    return allowed(model, attempt, rc, &err);
}

/* Nothing goes wrong by itself, and the first attempt lives. */
static inline void calm_init(struct model *model, uint64_t seed)
{
    model_init(model, seed);
    model->calm = true;
    model->broker.trouble = 0;
    model->options.bytes_max = UINT64_MAX;
    model->live = attempt_create(model);
}

#endif
