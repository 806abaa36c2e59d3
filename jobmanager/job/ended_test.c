/*
 * Jobs that have ended: how long they are listed, that they stand in nobody's way, and that forgetting thousands is no burst of records.
 */
#include "jobmanager/job/dispatcher_test_kit.h"
#include "jobmanager/job/ended.h"

enum { FEW = 20, BEHIND_MS = 5000 };

/* --- many jobs -------------------------------------------------------------------------------------------------------- */
struct answered {
    uint32_t count;
    struct weir_error err;
};

static void on_told(void *ctx, enum weir_rc rc, const struct weir_error *err)
{
    struct answered *answered = ctx;
    answered->count++;
    answered->err = *err;
    answered->err.rc = rc;
}

static void name_job(uint32_t i, char out_id[WEIR_JOB_ID_TEXT + 1])
{
    (void)snprintf(out_id, WEIR_JOB_ID_TEXT + 1, "%032x", 0x1000000 + i);
}

static bool listed(const struct sim *sim, uint32_t i)
{
    char id[WEIR_JOB_ID_TEXT + 1];
    name_job(i, id);
    return weir_dispatcher_job(sim->d, weir_slice_str(id)) != NULL;
}

/* OK: it is in the log. */
static struct weir_error submit_one(struct sim *sim, uint32_t i)
{
    char id[WEIR_JOB_ID_TEXT + 1];
    name_job(i, id);
    const uint64_t hash[2] = {i, 1};
    struct answered answered = {0};
    weir_dispatcher_submit(sim->d, weir_slice_str(id), id, hash, weir_slice_str("plain"), sim->now, on_told, &answered);
    drain_effects(sim);
    while (answered.count == 0 && sim->nproposals > 0) {
        decide(sim, 0, COMMIT);
    }
    ck_assert_uint_eq(answered.count, 1);
    ck_assert(listed(sim, i) == (answered.err.rc == WEIR_OK));
    return answered.err;
}

static void deliver_all(struct sim *sim)
{
    while (sim->norders > 0) {
        deliver(sim, 0, false);
    }
}

static void end_one(struct sim *sim, uint32_t i)
{
    char id[WEIR_JOB_ID_TEXT + 1];
    name_job(i, id);
    struct answered answered = {0};
    weir_dispatcher_cancel(sim->d, weir_slice_str(id), false, sim->now, on_told, &answered);
    drain_effects(sim);
    while (!weir_job_state_terminal(weir_job_state(weir_dispatcher_job(sim->d, weir_slice_str(id))))) {
        commit_all(sim);
        deliver_all(sim);
        if (sim->tms[0].alive) {
            tm_talk(sim, &sim->tms[0]);
        }
    }
    ck_assert_uint_eq(answered.count, 1);
    ck_assert_int_eq(answered.err.rc, WEIR_OK);
}

/* slots: of a TaskManager, where jobs run. */
static struct sim *sim_of(uint32_t jobs_max, uint32_t slots)
{
    struct sim *sim = sim_create(1);
    sim->jobs_max = jobs_max;
    sim->tm_slots = slots;
    new_leader(sim);
    commit_all(sim);
    if (slots > 0) {
        tm_start(&sim->tms[0], 0);
        tm_talk(sim, &sim->tms[0]);
    }
    return sim;
}

static void pass(struct sim *sim, int64_t ms)
{
    for (int64_t left_ms = ms; left_ms > 0; left_ms -= HEARTBEAT_MS) {
        deliver_all(sim);
        commit_all(sim);
        advance(sim, left_ms < HEARTBEAT_MS ? left_ms : HEARTBEAT_MS);
    }
    deliver_all(sim);
}

/* --- (D5) ------------------------------------------------------------------------------------------------------------- */
/* One job runs, others come and go, for as long as expiration says they are listed: with nothing forgotten early they were five times too many. */
START_TEST(jobs_that_have_ended_stand_in_nobodys_way)
{
    struct sim *sim = sim_of(FEW, 2);
    ck_assert_int_eq(submit_one(sim, 0).rc, WEIR_OK);
    pass(sim, BEHIND_MS);
    for (uint32_t i = 1; i < 5 * FEW; i++) {
        ck_assert_int_eq(submit_one(sim, i).rc, WEIR_OK);
        end_one(sim, i);
        pass(sim, BEHIND_MS);
        commit_all(sim);
        ck_assert_uint_lt(weir_dispatcher_job_count(sim->d), FEW);
        for (uint32_t k = i; i - k < WEIR_DISPATCHER_HOLD_MS / BEHIND_MS && k > 0; k--) { /* its client may ask again */
            ck_assert(listed(sim, k));
        }
    }
    ck_assert_int_eq(weir_job_state(weir_dispatcher_job_at(sim->d, 0)), WEIR_JOB_RUNNING);
    ck_assert_uint_ge(weir_dispatcher_job_count(sim->d), FEW - FEW / 10 - 1); /* no more is forgotten than has to be, the oldest first */
    for (uint32_t i = 1; i < 5 * FEW; i++) {
        ck_assert(listed(sim, i) == (i > 5 * FEW - weir_dispatcher_job_count(sim->d)));
    }
    ck_assert_int_lt((int64_t)5 * FEW * BEHIND_MS, EXPIRE_MS);
    sim_destroy(sim);
}
END_TEST

/* _i: under one leader; a new one, who cannot know that its clock is right; one whose clock is hours behind. */
START_TEST(too_many_that_have_just_ended_are_refused_with_what_to_do)
{
    struct sim *sim = sim_of(FEW, 0);
    for (uint32_t i = 0; i < FEW; i++) {
        ck_assert_int_eq(submit_one(sim, i).rc, WEIR_OK);
        end_one(sim, i);
        advance(sim, 1);
    }
    deliver_all(sim);
    if (_i > 0) {
        advance(sim, WEIR_DISPATCHER_HOLD_MS / 2);
        sim->now.wall_ms -= _i == 2 ? 5 * (int64_t)EXPIRE_MS : 0;
        new_leader(sim);
        commit_all(sim);
        deliver_all(sim);
    }
    int64_t begin_ms = sim->now.mono_ms - (_i == 0 ? FEW : 0);
    for (int64_t ms = 0; sim->now.mono_ms < begin_ms + WEIR_DISPATCHER_HOLD_MS - 1000; ms += 1000) {
        struct weir_error err = submit_one(sim, FEW);
        ck_assert_int_eq(err.rc, WEIR_LIMIT);
        ck_assert_ptr_nonnull(strstr(err.text, "20 jobs already, 20 of which have ended"));
        ck_assert_ptr_nonnull(strstr(err.text, "jobstore.expiration-time"));
        ck_assert_ptr_nonnull(strstr(err.text, "60000 ms"));
        advance(sim, 1000);
        ck_assert_uint_eq(sim->nproposals, 0);
    }
    ck_assert_int_le(weir_dispatcher_deadline_ms(sim->d, sim->now), begin_ms + WEIR_DISPATCHER_HOLD_MS);
    advance(sim, begin_ms + WEIR_DISPATCHER_HOLD_MS - sim->now.mono_ms);
    deliver_all(sim);
    ck_assert_int_eq(submit_one(sim, FEW).rc, WEIR_OK);
    commit_all(sim);
    ck_assert(!listed(sim, 0));
    ck_assert(listed(sim, FEW - 1));
    sim_destroy(sim);
}
END_TEST

START_TEST(too_many_that_have_not_ended_are_refused)
{
    struct sim *sim = sim_of(FEW, 2 * FEW);
    for (uint32_t i = 0; i < FEW; i++) {
        ck_assert_int_eq(submit_one(sim, i).rc, WEIR_OK);
    }
    struct weir_error err = submit_one(sim, FEW);
    ck_assert_int_eq(err.rc, WEIR_LIMIT);
    ck_assert_ptr_nonnull(strstr(err.text, "20 jobs that have not ended"));
    ck_assert_int_eq(submit_one(sim, 1).rc, WEIR_OK); /* there already */
    pass(sim, 2 * HEARTBEAT_MS);
    end_one(sim, 3);
    ck_assert_int_eq(submit_one(sim, FEW).rc, WEIR_LIMIT); /* its end is not a minute old */
    pass(sim, WEIR_DISPATCHER_HOLD_MS);
    ck_assert_int_eq(submit_one(sim, FEW).rc, WEIR_OK);
    ck_assert(!listed(sim, 3));
    ck_assert_int_eq(submit_one(sim, FEW + 1).rc, WEIR_LIMIT);
    sim_destroy(sim);
}
END_TEST

/* --- (D4) ------------------------------------------------------------------------------------------------------------- */
/* They expire in one moment. _i: the log takes all; it loses some; another leader comes meanwhile. */
START_TEST(many_are_forgotten_a_few_at_a_time)
{
    enum { MANY = 200 };
    struct sim *sim = sim_of(WEIR_DISPATCHER_JOBS_MAX, 0);
    for (uint32_t i = 0; i < MANY; i++) {
        ck_assert_int_eq(submit_one(sim, i).rc, WEIR_OK);
        end_one(sim, i);
        deliver_all(sim);
    }
    advance(sim, EXPIRE_MS - 1);
    ck_assert_uint_eq(sim->nproposals, 0);
    ck_assert_int_eq(weir_dispatcher_deadline_ms(sim->d, sim->now), sim->now.mono_ms + 1);
    uint32_t records = sim->nlog;
    advance(sim, 1);
    deliver_all(sim);
    ck_assert_uint_eq(sim->nproposals, WEIR_ENDED_FORGETTING_MAX);
    ck_assert_int_eq(weir_dispatcher_deadline_ms(sim->d, sim->now), INT64_MAX); /* what is under way is waited for */
    if (_i == 2) {
        decide(sim, 0, COMMIT);
        new_leader(sim);
        commit_all(sim);
        deliver_all(sim);
        ck_assert_uint_eq(weir_dispatcher_job_count(sim->d), MANY - 1);
        advance(sim, WEIR_DISPATCHER_HOLD_MS);
    }
    uint32_t decided = 0;
    for (uint32_t round = 0; round < 10 * MANY && weir_dispatcher_job_count(sim->d) > 0; round++) {
        deliver_all(sim);
        ck_assert_uint_le(sim->nproposals, WEIR_ENDED_FORGETTING_MAX);
        for (; sim->nproposals > 0; decided++) {
            decide(sim, 0, _i != 1 || decided % 3 != 0 ? COMMIT : decided % 2 == 0 ? UNKNOWN_LOST : REJECT);
        }
        advance(sim, _i == 1 ? WEIR_DISPATCHER_RETRY_MS : 0);
    }
    ck_assert_uint_eq(weir_dispatcher_job_count(sim->d), 0);
    ck_assert_uint_eq(weir_meta_job_count(sim->meta), 0);
    ck_assert_uint_eq(sim->nlog - records, MANY + (_i == 2)); /* one for each, and LEADER */
    ck_assert_int_eq(weir_dispatcher_deadline_ms(sim->d, sim->now), INT64_MAX);
    sim_destroy(sim);
}
END_TEST

/* --- a new leader ------------------------------------------------------------------------------------------------------ */
/* What has ended is listed by its record alone, and made of it when it is asked for, or once it was swept. */
START_TEST(a_new_leader_does_not_stop_for_what_has_ended)
{
    struct sim *sim = sim_of(FEW, 2);
    struct weir_job_view view;
    char id[WEIR_JOB_ID_TEXT + 1];
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_int_eq(submit_one(sim, i).rc, WEIR_OK);
        pass(sim, 2 * HEARTBEAT_MS);
        if (i > 0) {
            end_one(sim, i);
        }
    }
    new_leader(sim);
    commit_all(sim);
    ck_assert_uint_eq(weir_dispatcher_job_count(sim->d), 3);
    for (uint32_t round = 0; round < 3; round++) { /* neither; the last by its being asked for; the other by its sweep */
        for (uint32_t i = 0; i < 3; i++) {
            name_job(i, id);
            weir_dispatcher_job_view(sim->d, i, sim->now, &view);
            ck_assert_str_eq(view.id, id);
            ck_assert_str_eq(view.name, id);
            ck_assert(weir_job_state_terminal(view.state) == (i > 0));
            ck_assert((view.end_ms > view.start_ms) == (i > 0));
            ck_assert((view.graph != NULL) == (i + round >= 3 || i == 0 || round == 2));
        }
        if (round == 0) {
            ck_assert_ptr_nonnull(weir_job_exec(weir_dispatcher_job_at(sim->d, 2)));
            ck_assert_uint_eq(sim->norders, 1); /* the sweep of the first that has ended, still */
        } else {
            deliver_all(sim);
        }
    }
    sim_destroy(sim);
}
END_TEST

/* --- sweeps ----------------------------------------------------------------------------------------------------------- */
/* Delivers the sweeps that are asked for, one by one, until there are none or so many were. Returns how many. */
static uint32_t sweep_one_by_one(struct sim *sim, uint32_t max)
{
    uint32_t swept = 0;
    for (; sim->norders > 0 && swept < max; swept++) {
        ck_assert_uint_eq(sim->norders, WEIR_ENDED_SWEEPS_MAX);
        ck_assert_int_eq(sim->orders[0]->kind, WEIR_EFFECT_CKPT_SWEEP);
        ck_assert_uint_eq(sim->orders[0]->below, UINT64_MAX);
        deliver(sim, 0, swept % 7 == 0); /* one that fails keeps no other waiting */
    }
    return swept;
}

/* By each leader, however often it changes in the middle. */
START_TEST(what_many_jobs_left_is_swept_one_by_one)
{
    enum { MANY = 60 };
    struct sim *sim = sim_of(WEIR_DISPATCHER_JOBS_MAX, 0);
    for (uint32_t i = 0; i < MANY; i++) {
        ck_assert_int_eq(submit_one(sim, i).rc, WEIR_OK);
        end_one(sim, i);
    }
    for (uint32_t leader = 0; leader < 3; leader++) {
        new_leader(sim);
        ck_assert_uint_eq(sim->norders, 0);
        commit_all(sim);
        if (leader < 2) {
            ck_assert_uint_eq(sweep_one_by_one(sim, MANY / 2), MANY / 2);
        }
    }
    char id[WEIR_JOB_ID_TEXT + 1];
    for (uint32_t i = 0; i < MANY; i++) {
        name_job(i, id);
        ck_assert_str_eq(sim->orders[0]->job_id, id);
        ck_assert_uint_eq(sweep_one_by_one(sim, 1), 1);
    }
    ck_assert_uint_eq(sim->norders, 0);
    ck_assert_int_gt(weir_dispatcher_deadline_ms(sim->d, sim->now), sim->now.mono_ms + EXPIRE_MS / 2);
    sim_destroy(sim);
}
END_TEST

/* A task of the job, which it outlived, is heard of. */
static void report_late(struct sim *sim, const char *id)
{
    const struct weir_task_report report = {.job_id = weir_slice_str(id), .attempt = 1, .state = WEIR_TASK_RUNNING, .failure_text = ""};
    struct weir_error err;
    ck_assert_int_eq(weir_dispatcher_task_state(sim->d, sim->tms[0].id, sim->epoch, &report, sim->now, &err), WEIR_STALE);
    drain_effects(sim);
    for (uint32_t i = 0; i < sim->norders; i++) {
        if (sim->orders[i]->kind == WEIR_EFFECT_CANCEL) {
            deliver(sim, i--, false);
        }
    }
}

/* _i: the last sweep succeeds, or fails. */
START_TEST(none_is_forgotten_before_it_was_swept)
{
    struct sim *sim = sim_of(WEIR_DISPATCHER_JOBS_MAX, 2);
    ck_assert_int_eq(submit_one(sim, 0).rc, WEIR_OK);
    end_one(sim, 0);
    char id[WEIR_JOB_ID_TEXT + 1];
    name_job(0, id);
    pass(sim, 2 * HEARTBEAT_MS);
    ck_assert_uint_eq(sim->norders, 0);
    report_late(sim, id);
    ck_assert_uint_eq(sim->norders, 1);
    report_late(sim, id); /* it is being swept: what the task made just now needs another */
    report_late(sim, id);
    ck_assert_uint_eq(sweep_one_by_one(sim, 9), 2);
    sim->tms[0].alive = false;
    advance(sim, EXPIRE_MS);
    ck_assert_uint_eq(sim->norders, 1);
    ck_assert_uint_eq(sim->nproposals, 0);
    deliver(sim, 0, _i == 1);
    ck_assert_uint_eq(sim->nproposals, 1);
    ck_assert_int_eq(proposed_kind(sim, 0), WEIR_HA_JOB_DROP);
    tm_start(&sim->tms[0], 0);
    tm_talk(sim, &sim->tms[0]);
    report_late(sim, id);
    ck_assert_uint_eq(sweep_one_by_one(sim, 9), 1);
    ck_assert_uint_eq(sim->nproposals, 1); /* not once more */
    report_late(sim, id);
    commit_all(sim);
    ck_assert(!listed(sim, 0));
    ck_assert_uint_eq(sweep_one_by_one(sim, 9), 1); /* the answer comes late, to nobody */
    sim_destroy(sim);
}
END_TEST

Suite *ended_suite(void);

Suite *ended_suite(void)
{
    Suite *suite = suite_create("ended");
    TCase *tcase = tcase_create("ended");
    tcase_add_test(tcase, jobs_that_have_ended_stand_in_nobodys_way);
    tcase_add_loop_test(tcase, too_many_that_have_just_ended_are_refused_with_what_to_do, 0, 3);
    tcase_add_test(tcase, too_many_that_have_not_ended_are_refused);
    tcase_add_loop_test(tcase, many_are_forgotten_a_few_at_a_time, 0, 3);
    tcase_add_test(tcase, a_new_leader_does_not_stop_for_what_has_ended);
    tcase_add_test(tcase, what_many_jobs_left_is_swept_one_by_one);
    tcase_add_loop_test(tcase, none_is_forgotten_before_it_was_swept, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
