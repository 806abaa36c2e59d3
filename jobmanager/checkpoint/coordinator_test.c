/*
 * The coordinator against a small copy of the log's rules: scripts for each way that a checkpoint ends, and random events after which
 * (K1)-(K3) and (K5) are checked.
 */
#include "jobmanager/checkpoint/coordinator.h"

#include <check.h>
#include <stdio.h>

#include "common/base/mem.h"
#include "common/base/rand.h"

enum { TASKS = 3, INTERVAL_MS = 1000, TIMEOUT_MS = 5000, PAUSE_MS = 200, QUEUE = 64 };

struct proposal {
    enum weir_ckpt_effect_kind kind;
    uint32_t attempt;
    uint64_t id;
    bool last;
};

struct world {
    struct weir_ckpt_coordinator *coord;
    struct weir_now now;
    uint32_t attempt;
    uint32_t regions[2];      /* their attempts: task 0 is one, tasks 1 and 2 the other */
    uint32_t began_with[256]; /* by checkpoint, modulo */
    struct weir_ckpt_log log; /* what is committed */
    uint32_t log_attempt;
    struct proposal proposals[QUEUE];
    uint32_t nproposals;
    uint64_t prepare, trigger, store; /* the newest of each; 0: answered, or none */
    uint64_t acks[TASKS];             /* the newest checkpoint that each acknowledged in this attempt */
    uint64_t durable;                 /* the newest whose _metadata was written */
    uint64_t told_completed, told_aborted;
    bool told_last;
    uint32_t tells, fails;
};

static void on_effect(void *ctx, const struct weir_ckpt_effect *effect)
{
    struct world *w = ctx;
    ck_assert_uint_eq(effect->attempt, effect->kind == WEIR_CKPT_NOTIFY ? w->began_with[effect->id % 256] : w->attempt); /* (K6) */
    switch (effect->kind) {
    case WEIR_CKPT_PROPOSE_COMPLETE: /* (K2) */
        ck_assert_uint_eq(w->durable, effect->id);
        ck_assert_str_eq(effect->path, "/c/_metadata");
        for (uint32_t i = 0; i < TASKS; i++) {
            ck_assert_uint_eq(w->acks[i], effect->id);
        }
        ck_assert_uint_eq(effect->state_bytes, 10 * TASKS);
        goto proposed;
    case WEIR_CKPT_PROPOSE_BEGIN: /* (K1) */
        ck_assert_uint_eq(effect->id, w->log.last_id + 1);
        ck_assert_uint_eq(w->log.pending_id, 0);
        goto proposed;
    case WEIR_CKPT_PROPOSE_ABORT:
        ck_assert_ptr_nonnull(effect->text);
        ck_assert_uint_gt(strlen(effect->text), 0);
    proposed:
        ck_assert_uint_lt(w->nproposals, QUEUE);
        w->proposals[w->nproposals++] = (struct proposal){.kind = effect->kind, .attempt = effect->attempt, .id = effect->id, .last = effect->last};
        break;
    case WEIR_CKPT_PREPARE:
        ck_assert_uint_eq(w->log.pending_id, effect->id); /* (K2) */
        w->prepare = effect->id;
        break;
    case WEIR_CKPT_TRIGGER:
        ck_assert_uint_eq(w->log.pending_id, effect->id); /* (K2) */
        w->trigger = effect->id;
        break;
    case WEIR_CKPT_STORE:
        ck_assert_uint_eq(effect->nhandles, TASKS);
        for (uint32_t i = 0; i < TASKS; i++) {
            ck_assert_uint_eq(w->acks[i], effect->id);
            ck_assert_uint_eq(effect->handles[i].subtask, i);
            ck_assert_str_eq(effect->handles[i].path, "/c/s");
        }
        w->store = effect->id;
        break;
    case WEIR_CKPT_NOTIFY: /* (K2) */
        w->tells++;
        if (effect->completed) {
            ck_assert_uint_eq(w->log.completed_id, effect->id);
            ck_assert_int_eq(w->log.completed_last, effect->last);
            w->told_completed = effect->id;
            w->told_last = effect->last;
        } else {
            ck_assert(w->log.completed_id != effect->id && w->log.pending_id != effect->id);
            w->told_aborted = effect->id;
        }
        break;
    case WEIR_CKPT_FAIL:
        w->fails++;
        break;
    }
}

static void new_coordinator(struct world *w)
{
    const struct weir_ckpt_settings settings = {
        .interval_ms = INTERVAL_MS, .timeout_ms = TIMEOUT_MS, .min_pause_ms = PAUSE_MS, .failures_max = 2, .retained_max = 1};
    const bool is_source[TASKS] = {true, true, false};
    weir_ckpt_coordinator_destroy(w->coord);
    w->coord = weir_ckpt_coordinator_create(&settings, TASKS, is_source, on_effect, w);
}

/* An attempt of one region, or (region 2) of both; or what there is, to a new coordinator. */
static void tell_attempt(struct world *w, uint32_t region, bool taken_up)
{
    const bool begun[TASKS] = {region == 0, region == 1, region == 1};
    for (uint32_t r = 0; r < 2 && !taken_up; r++) {
        w->regions[r] = region == r || region == 2 ? w->attempt : w->regions[r];
    }
    w->log.oldest_attempt = w->regions[0] < w->regions[1] ? w->regions[0] : w->regions[1];
    weir_ckpt_coordinator_attempt(w->coord, w->attempt, region == 2 || taken_up ? NULL : begun, &w->log, w->now);
}

static void init(struct world *w)
{
    *w = (struct world){.now = {.mono_ms = 5000, .wall_ms = 1700000000000}, .attempt = 1, .log_attempt = 1};
    new_coordinator(w);
    tell_attempt(w, 2, false);
}

static void fini(struct world *w)
{
    weir_ckpt_coordinator_destroy(w->coord);
}

static void run_tasks(struct world *w)
{
    weir_ckpt_coordinator_start(w->coord, w->now);
    for (uint32_t i = 0; i < TASKS; i++) {
        weir_ckpt_coordinator_task(w->coord, i, true, false, w->now);
    }
}

static void advance(struct world *w, int64_t ms)
{
    w->now.mono_ms += ms;
    w->now.wall_ms += ms;
    weir_ckpt_coordinator_tick(w->coord, w->now);
    ck_assert_int_gt(weir_ckpt_coordinator_deadline_ms(w->coord), w->now.mono_ms); /* no busy waiting */
}

/* (M5) in short; whether the record counted. */
static bool commit(struct world *w)
{
    ck_assert_uint_gt(w->nproposals, 0);
    struct proposal p = w->proposals[0];
    memmove(&w->proposals[0], &w->proposals[1], --w->nproposals * sizeof(p));
    bool current = p.attempt == w->log_attempt;
    if (p.kind == WEIR_CKPT_PROPOSE_BEGIN && current && w->log.pending_id == 0 && p.id == w->log.last_id + 1) {
        w->log.last_id = p.id;
        w->log.pending_id = p.id;
        w->began_with[p.id % 256] = p.attempt;
        weir_ckpt_coordinator_begun(w->coord, p.id, w->now);
    } else if (p.kind == WEIR_CKPT_PROPOSE_COMPLETE && current && w->log.pending_id == p.id) {
        w->log.pending_id = 0;
        w->log.completed_id = p.id;
        w->log.completed_attempt = p.attempt;
        w->log.completed_last = p.last;
        w->log.completed_path = "/c/_metadata";
        weir_ckpt_coordinator_completed(w->coord, p.id, w->now);
    } else if (p.kind == WEIR_CKPT_PROPOSE_ABORT && current && w->log.pending_id == p.id) {
        w->log.pending_id = 0;
        weir_ckpt_coordinator_aborted(w->coord, p.id, w->now);
    } else {
        return false;
    }
    return true;
}

static void answer_prepare(struct world *w, enum weir_rc rc)
{
    uint64_t id = w->prepare;
    w->prepare = 0;
    weir_ckpt_coordinator_prepared(w->coord, id, rc, "no directory", w->now);
}

static enum weir_rc ack_of(struct world *w, uint32_t task, uint32_t attempt, uint64_t id, bool ended)
{
    struct weir_ckpt_handle handle = {.subtask = task, .path = "/c/s", .bytes = 10};
    struct weir_error err;
    uint64_t before = w->acks[task];
    w->acks[task] = id;
    enum weir_rc rc = weir_ckpt_coordinator_ack(w->coord, attempt, id, task, &handle, ended, w->now, &err);
    w->acks[task] = rc == WEIR_OK ? id : before;
    return rc;
}

static void answer_store(struct world *w, enum weir_rc rc)
{
    uint64_t id = w->store;
    w->store = 0;
    w->durable = rc == WEIR_OK ? id : w->durable;
    weir_ckpt_coordinator_stored(w->coord, id, rc, rc == WEIR_OK ? "/c/_metadata" : NULL, 100, 7, "disk full", w->now);
}

/* Step by step, up to and with step `upto`. */
enum step { BEGUN, PREPARED, ACKED_SOME, ACKED, STORED, COMPLETED };

static void take_to(struct world *w, enum step upto, bool ended)
{
    ck_assert_uint_eq(w->nproposals, 1);
    ck_assert(commit(w));
    uint64_t id = w->log.pending_id;
    if (upto >= PREPARED) {
        answer_prepare(w, WEIR_OK);
    }
    for (uint32_t i = 0; i < TASKS; i++) {
        if (upto >= ACKED || (upto == ACKED_SOME && i == 0)) {
            ck_assert_int_eq(ack_of(w, i, w->attempt, id, ended), WEIR_OK);
        }
    }
    if (upto >= STORED) {
        answer_store(w, WEIR_OK);
    }
    if (upto >= COMPLETED) {
        ck_assert(commit(w));
    }
}

START_TEST(a_checkpoint_completes)
{
    struct world w;
    init(&w);
    advance(&w, 10 * INTERVAL_MS);
    ck_assert_uint_eq(w.nproposals, 0); /* not RUNNING */
    run_tasks(&w);
    advance(&w, INTERVAL_MS - 1);
    ck_assert_uint_eq(w.nproposals, 0);
    advance(&w, 1);
    take_to(&w, ACKED_SOME, false);
    ck_assert_int_eq(ack_of(&w, 0, 1, 1, false), WEIR_OK); /* twice is once */
    ck_assert_uint_eq(w.store, 0);
    ck_assert_int_eq(ack_of(&w, 1, 2, 1, false), WEIR_STALE);
    ck_assert_int_eq(ack_of(&w, 1, 1, 2, false), WEIR_STALE);
    const struct weir_ckpts_view *view = weir_ckpt_coordinator_view(w.coord);
    ck_assert_uint_eq(view->nhistory, 1);
    ck_assert_int_eq(view->history[0].status, WEIR_CKPT_IN_PROGRESS);
    ck_assert_uint_eq(view->history[0].acked, 1);
    ck_assert_int_eq(ack_of(&w, 1, 1, 1, false), WEIR_OK);
    ck_assert_int_eq(ack_of(&w, 2, 1, 1, false), WEIR_OK);
    ck_assert_uint_eq(w.store, 1);
    ck_assert_uint_eq(w.nproposals, 0);
    answer_store(&w, WEIR_OK);
    ck_assert_uint_eq(w.told_completed, 0);
    ck_assert(commit(&w));
    ck_assert_uint_eq(w.told_completed, 1);
    ck_assert(!w.told_last);
    ck_assert_int_eq(ack_of(&w, 2, 1, 1, false), WEIR_STALE);
    view = weir_ckpt_coordinator_view(w.coord);
    ck_assert_uint_eq(view->completed, 1);
    ck_assert_uint_eq(view->latest_completed->id, 1);
    ck_assert_uint_eq(view->latest_completed->state_bytes, 10 * TASKS);
    advance(&w, INTERVAL_MS);
    take_to(&w, COMPLETED, false);
    ck_assert_uint_eq(w.told_completed, 2);
    weir_ckpt_coordinator_notify_failed(w.coord, 1, 2, w.now); /* (K4) */
    uint32_t tells = w.tells;
    advance(&w, WEIR_CKPT_NOTIFY_REPEAT_MS - 1);
    ck_assert_uint_eq(w.tells, tells);
    w.now.mono_ms++;
    weir_ckpt_coordinator_tick(w.coord, w.now);
    ck_assert_uint_eq(w.tells, tells + 1);
    fini(&w);
}
END_TEST

/* Each way to fail, at each step where it can: aborted once, told once, and the next one comes with the next id after the pause. */
START_TEST(a_checkpoint_fails)
{
    enum { DECLINE, TIME_OUT, TASK_ENDS, ORDER_FAILS, PREPARE_FAILS, STORE_FAILS, JOB_FAILS, WAYS };
    for (int way = 0; way < WAYS; way++) {
        for (enum step at = BEGUN; at <= ACKED; at++) {
            struct world w;
            init(&w);
            run_tasks(&w);
            advance(&w, INTERVAL_MS);
            take_to(&w, at, false);
            if (way == DECLINE) {
                weir_ckpt_coordinator_decline(w.coord, 2, 1, "other", w.now);
                weir_ckpt_coordinator_decline(w.coord, 1, 2, "other", w.now);
                ck_assert_uint_eq(w.nproposals, 0);
                weir_ckpt_coordinator_decline(w.coord, 1, 1, "no", w.now);
            } else if (way == TIME_OUT) {
                w.now.mono_ms += TIMEOUT_MS;
                weir_ckpt_coordinator_tick(w.coord, w.now);
            } else if (way == TASK_ENDS) {
                weir_ckpt_coordinator_task(w.coord, 1, false, false, w.now);
            } else if (way == ORDER_FAILS) {
                weir_ckpt_coordinator_trigger_failed(w.coord, 1, 1, "closed", w.now);
            } else if (way == PREPARE_FAILS && w.prepare != 0) {
                answer_prepare(&w, WEIR_IO);
            } else if (way == STORE_FAILS && w.store != 0) {
                answer_store(&w, WEIR_IO);
            } else if (way == JOB_FAILS) {
                weir_ckpt_coordinator_stop(w.coord, "boom", w.now);
            }
            bool collecting = at == PREPARED || at == ACKED_SOME;
            bool aborts = way == TIME_OUT || way == JOB_FAILS || (way == DECLINE && collecting) || (way == ORDER_FAILS && collecting) ||
                          (way == TASK_ENDS && at != ACKED) || (way == PREPARE_FAILS && at == BEGUN) || (way == STORE_FAILS && at == ACKED);
            ck_assert_msg(w.nproposals == (aborts ? 1 : 0), "way %d at step %d", way, (int)at);
            if (aborts) {
                ck_assert_int_eq(w.proposals[0].kind, WEIR_CKPT_PROPOSE_ABORT);
                ck_assert_uint_eq(w.told_aborted, 0);
                ck_assert(commit(&w));
                ck_assert_uint_eq(w.told_aborted, 1);
                ck_assert_uint_eq(w.told_completed, 0);
                ck_assert_int_eq(ack_of(&w, 1, 1, 1, false), WEIR_STALE);
                const struct weir_ckpts_view *view = weir_ckpt_coordinator_view(w.coord);
                ck_assert_uint_eq(view->failed, 1);
                ck_assert_ptr_nonnull(view->latest_failed->failure);
                weir_ckpt_coordinator_task(w.coord, 1, true, false, w.now);
                w.now.mono_ms += PAUSE_MS - 1;
                weir_ckpt_coordinator_tick(w.coord, w.now);
                ck_assert_uint_eq(w.nproposals, 0);
                w.now.mono_ms += INTERVAL_MS;
                weir_ckpt_coordinator_tick(w.coord, w.now);
                ck_assert_uint_eq(w.nproposals, way == JOB_FAILS ? 0 : 1);
                ck_assert(way == JOB_FAILS || w.proposals[0].id == 2); /* (K1) */
            }
            fini(&w);
        }
    }
}
END_TEST

START_TEST(too_many_failures_in_a_row_fail_the_job)
{
    struct world w;
    init(&w);
    run_tasks(&w);
    for (int i = 0; i < 5; i++) { /* two fail, one completes, two fail */
        advance(&w, 2 * INTERVAL_MS);
        take_to(&w, i == 2 ? COMPLETED : PREPARED, false);
        if (i != 2) {
            weir_ckpt_coordinator_decline(w.coord, 1, w.log.pending_id, "no", w.now);
            ck_assert(commit(&w));
        }
    }
    ck_assert_uint_eq(w.fails, 0);
    advance(&w, 2 * INTERVAL_MS);
    take_to(&w, PREPARED, false);
    weir_ckpt_coordinator_decline(w.coord, 1, w.log.pending_id, "no", w.now);
    ck_assert(commit(&w));
    ck_assert_uint_eq(w.fails, 1);
    fini(&w);
}
END_TEST

/* A failure between the proposals and their commits: what is not begun is aborted when it is, what is to complete is the log's. */
START_TEST(the_log_decides)
{
    struct world w;
    init(&w);
    run_tasks(&w);
    advance(&w, INTERVAL_MS);
    weir_ckpt_coordinator_stop(w.coord, "boom", w.now);
    ck_assert_uint_eq(w.nproposals, 1);
    ck_assert(commit(&w)); /* BEGIN */
    ck_assert_uint_eq(w.prepare, 0);
    ck_assert(commit(&w)); /* ABORT */
    ck_assert_uint_eq(w.told_aborted, 1);
    fini(&w);

    init(&w);
    run_tasks(&w);
    advance(&w, INTERVAL_MS);
    take_to(&w, STORED, false);
    advance(&w, 10 * TIMEOUT_MS); /* (K3) */
    weir_ckpt_coordinator_task(w.coord, 0, false, false, w.now);
    weir_ckpt_coordinator_stop(w.coord, "boom", w.now);
    ck_assert_uint_eq(w.nproposals, 1);
    if (_i == 0) {
        ck_assert(commit(&w));
        ck_assert_uint_eq(w.told_completed, 1);
    }
    w.attempt = 2; /* the next attempt, whether it was committed or not */
    w.log_attempt = 2;
    w.log.pending_id = 0;
    tell_attempt(&w, 2, false);
    run_tasks(&w);
    ck_assert(w.told_completed == (_i == 0 ? 1u : 0u)); /* it was told to the old attempt; the new one restores it */
    if (_i == 1) {
        ck_assert(!commit(&w)); /* late, and of an attempt that is over */
    }
    advance(&w, INTERVAL_MS);
    take_to(&w, COMPLETED, false);
    ck_assert_uint_eq(w.told_completed, 2);
    fini(&w);
}
END_TEST

/* The leader goes after each step; the next one takes the attempt over. */
START_TEST(a_new_leader_between_any_two_steps)
{
    for (int step = -1; step <= (int)COMPLETED; step++) {
        struct world w;
        init(&w);
        run_tasks(&w);
        advance(&w, INTERVAL_MS);
        if (step >= 0) {
            take_to(&w, (enum step)step, false);
        }
        bool late = step == (int)STORED && _i == 1; /* its outcome was unknown: the old leader's COMPLETE is committed before the new one leads */
        if (late) {
            ck_assert(commit(&w));
        }
        w.nproposals = 0;
        w.told_completed = 0;
        w.told_aborted = 0;
        new_coordinator(&w);
        tell_attempt(&w, 2, true);
        ck_assert_uint_eq(w.nproposals, w.log.pending_id != 0 ? 1 : 0);
        if (_i == 0 && w.nproposals > 0) {
            ck_assert(commit(&w)); /* ABORT before the tasks have reported */
            ck_assert_uint_eq(w.told_aborted, 0);
        }
        run_tasks(&w);
        if (w.nproposals > 0) {
            ck_assert(commit(&w));
        }
        bool completed = step == (int)COMPLETED || late;
        ck_assert_uint_eq(w.told_completed, completed ? 1 : 0); /* (K4) */
        ck_assert_uint_eq(w.told_aborted, step >= 0 && !completed ? 1 : 0);
        ck_assert_int_eq(ack_of(&w, 0, 1, 1, false), WEIR_STALE);
        advance(&w, INTERVAL_MS);
        take_to(&w, COMPLETED, false);
        ck_assert_uint_eq(w.told_completed, step == -1 ? 1 : 2);
        fini(&w);
    }
}
END_TEST

/* (K6), after each step of a checkpoint: what the other region has of it is released or committed, and the next one completes. */
START_TEST(a_region_restarts_between_any_two_steps)
{
    for (int step = -1; step <= (int)COMPLETED; step++) {
        struct world w;
        init(&w);
        run_tasks(&w);
        weir_ckpt_coordinator_task(w.coord, 0, true, true, w.now);
        advance(&w, INTERVAL_MS);
        if (step >= 0) {
            take_to(&w, (enum step)step, false);
        }
        weir_ckpt_coordinator_task(w.coord, 1, false, false, w.now);
        weir_ckpt_coordinator_pause(w.coord, "boom", w.now);
        if (_i == 0 && w.nproposals > 0) { /* BEGIN, ABORT or COMPLETE is committed before the attempt, else behind it */
            ck_assert(commit(&w));
        }
        bool begun = w.log.last_id == 1;
        w.attempt = 2;
        w.log_attempt = 2;
        w.log.pending_id = 0;
        memset(w.acks, 0, sizeof(w.acks));
        tell_attempt(&w, 1, false);
        bool completed = step == (int)COMPLETED || (step == (int)STORED && _i == 0);
        ck_assert(!begun || completed || w.told_aborted == 1); /* though its ABORT will not count */
        ck_assert_uint_eq(w.told_completed, completed ? 1 : 0);
        uint32_t tells = w.tells;
        weir_ckpt_coordinator_notify_failed(w.coord, 1, 1, w.now);
        w.now.mono_ms += WEIR_CKPT_NOTIFY_REPEAT_MS;
        weir_ckpt_coordinator_tick(w.coord, w.now);
        ck_assert_uint_eq(w.tells, tells + (w.told_aborted + w.told_completed > 0 ? 1 : 0)); /* (K4), also before all run again */
        while (w.nproposals > 0) {
            ck_assert(!commit(&w)); /* of an attempt that is over */
        }
        advance(&w, 10 * INTERVAL_MS);
        ck_assert_uint_eq(w.nproposals, 0); /* nothing begins without the region */
        weir_ckpt_coordinator_start(w.coord, w.now);
        weir_ckpt_coordinator_task(w.coord, 1, true, false, w.now);
        weir_ckpt_coordinator_task(w.coord, 2, true, true, w.now); /* not a source */
        advance(&w, INTERVAL_MS);
        ck_assert_uint_eq(w.nproposals, 1); /* task 0 was not touched: it runs, and is still at its end */
        take_to(&w, COMPLETED, false);
        weir_ckpt_coordinator_task(w.coord, 1, true, true, w.now);
        take_to(&w, COMPLETED, true); /* (K5) at once */
        ck_assert(w.told_last);
        fini(&w);
    }
}
END_TEST

/* (K5) */
START_TEST(the_last_checkpoint_comes_at_once)
{
    struct world w;
    init(&w);
    run_tasks(&w);
    if (_i == 1) { /* one is pending that began before the end */
        advance(&w, INTERVAL_MS);
        take_to(&w, ACKED_SOME, false);
    }
    weir_ckpt_coordinator_task(w.coord, 0, true, true, w.now);
    ck_assert_uint_eq(w.nproposals, 0);
    weir_ckpt_coordinator_task(w.coord, 1, true, true, w.now);
    if (_i == 1) {
        ck_assert_uint_eq(w.nproposals, 0);
        ck_assert_int_eq(ack_of(&w, 1, 1, 1, true), WEIR_OK);
        ck_assert_int_eq(ack_of(&w, 2, 1, 1, false), WEIR_OK);
        answer_store(&w, WEIR_OK);
        ck_assert(commit(&w));
        ck_assert(!w.told_last);
    }
    ck_assert_uint_eq(w.nproposals, 1); /* at once: no interval, no pause */
    take_to(&w, PREPARED, true);
    weir_ckpt_coordinator_decline(w.coord, 1, w.log.pending_id, "no", w.now);
    ck_assert(commit(&w));
    ck_assert_uint_eq(w.nproposals, 0); /* but not in a busy loop */
    w.now.mono_ms += WEIR_CKPT_LAST_RETRY_MS;
    weir_ckpt_coordinator_tick(w.coord, w.now);
    take_to(&w, COMPLETED, true);
    ck_assert(w.told_last);
    advance(&w, 10 * INTERVAL_MS);
    for (uint32_t i = 0; i < TASKS; i++) {
        weir_ckpt_coordinator_task(w.coord, i, false, true, w.now);
    }
    ck_assert_uint_eq(w.nproposals, 0);
    fini(&w);
}
END_TEST

static void random_step(struct world *w, struct weir_rand *rand)
{
    uint32_t n = (uint32_t)weir_rand_below(rand, 100);
    uint32_t task = (uint32_t)weir_rand_below(rand, TASKS);
    bool ok = weir_rand_below(rand, 12) > 0;
    if (n < 25 && w->nproposals > 0) {
        if (weir_rand_below(rand, 6) == 0 && w->nproposals < QUEUE) { /* proposed again, both are committed */
            w->proposals[w->nproposals++] = w->proposals[0];
        }
        (void)commit(w);
    } else if (n < 35) {
        w->now.mono_ms += (int64_t)weir_rand_below(rand, 600);
        weir_ckpt_coordinator_tick(w->coord, w->now);
    } else if (n < 45 && w->prepare != 0) {
        answer_prepare(w, ok ? WEIR_OK : WEIR_IO);
    } else if (n < 75 && w->trigger != 0) {
        (void)ack_of(w, task, weir_rand_below(rand, 10) > 0 ? w->attempt : w->attempt - 1, w->trigger, weir_rand_below(rand, 4) == 0);
    } else if (n < 85 && w->store != 0) {
        answer_store(w, ok ? WEIR_OK : WEIR_IO);
    } else if (n < 86 && w->trigger != 0) {
        weir_ckpt_coordinator_decline(w->coord, w->attempt, w->trigger, "no", w->now);
    } else if (n < 90) {
        weir_ckpt_coordinator_task(w->coord, task, weir_rand_below(rand, 10) > 0, weir_rand_below(rand, 3) == 0, w->now);
    } else if (n < 91) {
        weir_ckpt_coordinator_notify_failed(w->coord, w->attempt, w->told_completed, w->now);
    } else if (n < 93) { /* a failure, and the next attempt */
        uint32_t region = w->log.completed_last ? 2 : (uint32_t)weir_rand_below(rand, 3);
        if (region == 2) {
            weir_ckpt_coordinator_stop(w->coord, "boom", w->now);
        } else {
            weir_ckpt_coordinator_pause(w->coord, "boom", w->now);
        }
        for (uint32_t i = (uint32_t)weir_rand_below(rand, 4); i > 0 && w->nproposals > 0; i--) {
            (void)commit(w);
        }
        w->attempt++;
        w->log_attempt++;
        w->log.pending_id = 0;
        region = w->log.completed_last ? 2 : region; /* (M9): it was completed meanwhile */
        memset(w->acks, 0, sizeof(w->acks));
        w->prepare = w->trigger = w->store = 0;
        tell_attempt(w, region, false);
        run_tasks(w);
    } else if (n < 94) { /* a new leader */
        w->nproposals = 0;
        w->prepare = w->trigger = w->store = 0;
        new_coordinator(w);
        tell_attempt(w, 2, true);
        run_tasks(w);
    }
}

START_TEST(random_events)
{
    struct weir_rand rand;
    weir_rand_init(&rand, (uint64_t)_i + 1);
    struct world w;
    init(&w);
    run_tasks(&w);
    uint64_t begun = 0;
    for (int step = 0; step < 3000; step++) {
        random_step(&w, &rand);
        ck_assert_uint_ge(w.log.last_id, begun);
        ck_assert_uint_le(w.told_completed, w.log.completed_id);
        begun = w.log.last_id;
    }
    ck_assert_uint_gt(begun, 5);
    /* the world heals: one more completes */
    uint64_t before = w.log.completed_id;
    w.attempt++;
    w.log_attempt++;
    w.log.pending_id = 0;
    w.nproposals = 0;
    tell_attempt(&w, 2, false);
    run_tasks(&w);
    advance(&w, INTERVAL_MS);
    take_to(&w, COMPLETED, false);
    ck_assert_uint_gt(w.told_completed, before);
    fini(&w);
}
END_TEST

Suite *coordinator_suite(void);

Suite *coordinator_suite(void)
{
    Suite *suite = suite_create("coordinator");
    TCase *tcase = tcase_create("coordinator");
    tcase_add_test(tcase, a_checkpoint_completes);
    tcase_add_test(tcase, a_checkpoint_fails);
    tcase_add_test(tcase, too_many_failures_in_a_row_fail_the_job);
    tcase_add_loop_test(tcase, the_log_decides, 0, 2);
    tcase_add_loop_test(tcase, a_new_leader_between_any_two_steps, 0, 2);
    tcase_add_loop_test(tcase, a_region_restarts_between_any_two_steps, 0, 2);
    tcase_add_loop_test(tcase, the_last_checkpoint_comes_at_once, 0, 2);
    tcase_add_loop_test(tcase, random_events, 0, 50);
    suite_add_tcase(suite, tcase);
    return suite;
}
