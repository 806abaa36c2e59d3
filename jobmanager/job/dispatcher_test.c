/*
 * The whole brain against a simulated log, simulated TaskManagers and virtual time: scripts of events, and random sequences with crashes
 * of either side, unknown outcomes and lost messages, after which (J1), (J2), (D1) and progress are checked.
 */
#include "jobmanager/job/dispatcher_test_kit.h"

/* --- scripts ---------------------------------------------------------------------------------------------------------- */
START_TEST(a_job_runs_to_its_end)
{
    struct sim *sim = running_sim("plain", 2);
    ck_assert_uint_eq(sim->deploys, 2); /* 2 slots, spread */
    ck_assert_uint_eq(sim->answers_ok, 1);
    struct weir_job_view view;
    weir_job_view(weir_dispatcher_job_at(sim->d, 0), sim->now, &view);
    ck_assert_uint_eq(view.ntasks, 3);
    ck_assert_int_eq(view.tasks[2].state, WEIR_TASK_RUNNING);
    ck_assert_uint_eq(weir_tm_registry_at(weir_dispatcher_tms(sim->d), 0)->slots_used, 1);
    submit(sim, 0, "plain"); /* a retry */
    ck_assert_uint_eq(sim->answers_ok, 2);
    set_tasks(sim, WEIR_TASK_FINISHED, 2);
    run_quietly(sim, 1);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    set_tasks(sim, WEIR_TASK_FINISHED, 1);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING); /* (J2): not before it is committed */
    run_quietly(sim, 2);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FINISHED);
    ck_assert_uint_eq(sim->tms[0].ntasks + sim->tms[1].ntasks, 0); /* told to forget */
    ck_assert_uint_eq(weir_tm_registry_at(weir_dispatcher_tms(sim->d), 0)->slots_used, 0);
    cancel(sim, 0);
    ck_assert_int_eq(sim->last_answer, WEIR_STATE);
    cancel(sim, 1);
    ck_assert_int_eq(sim->last_answer, WEIR_NOT_FOUND);
    ck_assert_int_le(weir_dispatcher_deadline_ms(sim->d, sim->now), sim->now.mono_ms + EXPIRE_MS);
    advance(sim, EXPIRE_MS);
    run_quietly(sim, 1);
    ck_assert_uint_eq(weir_dispatcher_job_count(sim->d), 0);
    sim_destroy(sim);
}
END_TEST

/* (D4): a client may still repeat the submission of a job that has ended. */
START_TEST(a_clock_that_is_set_forgets_no_job)
{
    struct sim *sim = running_sim("plain", 1);
    set_tasks(sim, WEIR_TASK_FINISHED, TMS);
    run_quietly(sim, 3);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FINISHED);
    sim->now.wall_ms += 2 * EXPIRE_MS;
    for (int64_t left_ms = EXPIRE_MS - 1000; left_ms > 0; left_ms -= left_ms / 2 + 1) {
        ck_assert_int_gt(weir_dispatcher_deadline_ms(sim->d, sim->now), sim->now.mono_ms);
        advance(sim, left_ms / 2 + 1);
    }
    ck_assert_uint_eq(weir_dispatcher_job_count(sim->d), 1);
    stop_jm(sim); /* the next leader cannot know that its clock is wrong */
    start_jm(sim);
    commit_all(sim);
    while (sim->norders > 0) {
        deliver(sim, 0, false);
    }
    advance(sim, WEIR_DISPATCHER_HOLD_MS - 1);
    ck_assert_uint_eq(sim->norders, 0);
    ck_assert_uint_eq(weir_dispatcher_job_count(sim->d), 1);
    advance(sim, 1);
    run_quietly(sim, 1);
    ck_assert_uint_eq(weir_dispatcher_job_count(sim->d), 0);
    sim_destroy(sim);
}
END_TEST

/* (D4): the end is stamped by a clock that stands back, and is set right afterwards. */
START_TEST(an_end_that_seems_long_ago_is_not_forgotten_at_once)
{
    struct sim *sim = running_sim("plain", 1);
    for (int64_t led_ms = 0; led_ms < WEIR_DISPATCHER_HOLD_MS; led_ms += HEARTBEAT_MS) {
        advance(sim, HEARTBEAT_MS);
    }
    sim->now.wall_ms -= 3 * EXPIRE_MS;
    set_tasks(sim, WEIR_TASK_FINISHED, TMS);
    run_quietly(sim, 3);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FINISHED);
    sim->now.wall_ms += 3 * EXPIRE_MS;
    advance(sim, WEIR_DISPATCHER_HOLD_MS / 2);
    run_quietly(sim, 1);
    ck_assert_uint_eq(weir_dispatcher_job_count(sim->d), 1);
    advance(sim, EXPIRE_MS);
    run_quietly(sim, 1);
    ck_assert_uint_eq(weir_dispatcher_job_count(sim->d), 0);
    sim_destroy(sim);
}
END_TEST

START_TEST(nothing_is_deployed_before_the_attempt_is_applied)
{
    struct sim *sim = sim_create(1);
    struct weir_error err;
    bool added = false;
    struct weir_tm_info info = {.id = "x", .rpc_address = "tcp://h:1", .data_address = "h:2", .version = "0", .slots = 2};
    ck_assert_int_eq(weir_dispatcher_register(sim->d, &info, NULL, 0, sim->now, &added, &err), WEIR_REFUSED); /* (D1) */
    submit(sim, 0, "plain");
    ck_assert_int_eq(sim->last_answer, WEIR_REFUSED);
    commit_all(sim);
    tm_start(&sim->tms[0], 0);
    tm_talk(sim, &sim->tms[0]);
    submit(sim, 0, "plain");
    commit_all(sim);
    while (sim->norders > 0) {
        deliver(sim, 0, false);
    }
    ck_assert_uint_eq(sim->nproposals, 1);
    ck_assert_uint_eq(sim->deploys, 0);
    /* unknown, then made again, then both are committed: one deployment */
    decide(sim, 0, UNKNOWN_LATE);
    advance(sim, WEIR_DISPATCHER_RETRY_MS);
    ck_assert_uint_eq(sim->nproposals, 1);
    commit(sim, weir_buf_slice(&sim->late[0]));
    drain_effects(sim);
    ck_assert_uint_eq(sim->deploys, 1);
    commit_all(sim);
    ck_assert_uint_eq(sim->deploys, 1);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    sim_destroy(sim);
}
END_TEST

START_TEST(clients_hear_of_rejection_and_conflict)
{
    struct sim *sim = running_sim("plain", 1);
    const uint64_t other[2] = {9, 9};
    weir_dispatcher_submit(sim->d, weir_slice_str(job_id(0)), "job-0", other, weir_slice_str("plain"), sim->now, on_answer, sim);
    drain_effects(sim);
    ck_assert_int_eq(sim->last_answer, WEIR_EXISTS);
    weir_dispatcher_submit(sim->d, weir_slice_str(job_id(1)), "job-0", other, weir_slice_str("plain"), sim->now, on_answer, sim);
    drain_effects(sim);
    ck_assert_int_eq(sim->last_answer, WEIR_EXISTS);
    uint32_t before = sim->answers;
    submit(sim, 2, "plain");
    ck_assert_uint_eq(sim->answers, before);
    decide(sim, 0, REJECT);
    ck_assert_uint_eq(sim->answers, before + 1);
    ck_assert_int_ne(sim->last_answer, WEIR_OK);
    submit(sim, 2, "plain");
    weir_dispatcher_leadership(sim->d, false, sim->epoch, sim->now);
    drain_effects(sim);
    ck_assert_int_eq(sim->last_answer, WEIR_UNKNOWN);
    ck_assert_uint_eq(sim->answers, before + 2);
    sim_destroy(sim);
}
END_TEST

/* The second finds nothing in the way when it comes; the log decides. */
START_TEST(two_submissions_on_their_way_together)
{
    struct sim *sim = running_sim("plain", 1);
    for (uint64_t i = 0; i < 2; i++) {
        const uint64_t hash[2] = {7, i};
        weir_dispatcher_submit(sim->d, weir_slice_str(job_id(_i == 0 ? 3 : 3 + (uint32_t)i)), _i == 0 && i == 1 ? "other" : "twin", hash,
                               weir_slice_str("plain"), sim->now, on_answer, sim);
    }
    drain_effects(sim);
    uint32_t before = sim->answers;
    decide(sim, 0, COMMIT);
    ck_assert_uint_eq(sim->answers, before + 1);
    ck_assert_int_eq(sim->last_answer, WEIR_OK);
    decide(sim, 0, COMMIT);
    ck_assert_uint_eq(sim->answers, before + 2);
    ck_assert_int_eq(sim->last_answer, WEIR_EXISTS);
    sim_destroy(sim);
}
END_TEST

START_TEST(a_failed_task_fails_the_job_or_restarts_it)
{
    bool restarts = _i == 1;
    struct sim *sim = running_sim(restarts ? "restart" : "plain", 2);
    for (uint32_t failures = 1; failures <= (restarts ? 4 : 1); failures++) {
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
        set_tasks(sim, WEIR_TASK_FAILED, 1);
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FAILING);
        run_quietly(sim, 10);
        struct weir_job_view view;
        weir_job_view(weir_dispatcher_job_at(sim->d, 0), sim->now, &view);
        ck_assert_uint_eq(view.nfailures, failures);
        ck_assert_str_eq(view.failures[0].text, "boom");
        ck_assert_ptr_nonnull(view.failures[0].task_name);
    }
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FAILED);
    ck_assert_uint_eq(meta_of(sim)->attempt, restarts ? 4 : 1);
    ck_assert_str_eq(meta_of(sim)->text, "boom");
    sim_destroy(sim);
}
END_TEST

static const char *waits_at(const struct sim *sim, int64_t mono_ms)
{
    struct weir_job_view view;
    weir_job_view(weir_dispatcher_job_at(sim->d, 0), (struct weir_now){.mono_ms = mono_ms, .wall_ms = sim->now.wall_ms}, &view);
    return view.waiting_for;
}

START_TEST(a_restart_that_is_delayed_says_when_it_comes)
{
    struct sim *sim = running_sim("restart", 1);
    for (int failures = 1; failures <= 2; failures++) {
        int64_t due_ms = sim->now.mono_ms + 250;
        char text[64];
        ck_assert_ptr_null(view_of(sim).waiting_for);
        set_tasks(sim, WEIR_TASK_FAILED, 1);
        run_quietly(sim, 1);
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RESTARTING);
        (void)snprintf(text, sizeof(text), "restarts in 1 s, after failure %d", failures);
        ck_assert_str_eq(view_of(sim).waiting_for, text);
        ck_assert_str_eq(waits_at(sim, due_ms - 1), text);
        ck_assert_str_eq(waits_at(sim, due_ms - 1000), text);
        (void)snprintf(text, sizeof(text), "restarts in 38 s, after failure %d", failures);
        ck_assert_str_eq(waits_at(sim, due_ms - 37001), text);
        ck_assert_str_eq(waits_at(sim, due_ms - 38000), text);
        ck_assert_ptr_null(waits_at(sim, due_ms));
        run_quietly(sim, 5);
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
        ck_assert_ptr_null(waits_at(sim, due_ms - 1000));
    }
    sim_destroy(sim);
}
END_TEST

START_TEST(a_killed_task_manager_is_noticed_at_once)
{
    struct sim *sim = running_sim("restart", 2);
    kill_tm(sim, 1);
    ck_assert_int_le(weir_dispatcher_deadline_ms(sim->d, sim->now), sim->now.mono_ms + WEIR_TM_GRACE_MS);
    advance(sim, WEIR_TM_GRACE_MS);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FAILING);
    run_quietly(sim, 10); /* the other one has two slots */
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    ck_assert_uint_eq(meta_of(sim)->attempt, 2);
    kill_tm(sim, 0); /* none left: it waits, says why, and gives up when the strategy does */
    run_quietly(sim, 10);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RESTARTING);
    struct weir_job_view view;
    weir_job_view(weir_dispatcher_job_at(sim->d, 0), sim->now, &view);
    ck_assert_str_eq(view.waiting_for, "2 slots needed, 0 free of 0 on 0 TaskManagers");
    advance(sim, SLOT_TIMEOUT_MS);
    run_quietly(sim, 5);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RESTARTING);
    weir_job_view(weir_dispatcher_job_at(sim->d, 0), sim->now, &view);
    ck_assert_str_eq(view.waiting_for, "2 slots needed, 0 free of 0 on 0 TaskManagers");
    ck_assert_ptr_nonnull(strstr(view.failures[view.nfailures - 1].text, "slot.request.timeout"));
    if (_i == 1) { /* one arrives */
        tm_start(&sim->tms[2], 2);
        run_quietly(sim, 3);
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    } else {
        advance(sim, SLOT_TIMEOUT_MS);
        run_quietly(sim, 2);
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FAILED);
    }
    sim_destroy(sim);
}
END_TEST

/* Heartbeats that do not list a task are counted in a row: one that does begins anew. */
START_TEST(a_task_that_heartbeats_do_not_list_is_lost)
{
    struct sim *sim = running_sim("restart", 1);
    struct fake_tm *tm = &sim->tms[0];
    struct weir_error err;
    for (int round = 0; round < 3; round++) {
        for (int i = 1; i < WEIR_JOB_MISSED_MAX; i++) {
            ck_assert_int_eq(weir_dispatcher_heartbeat(sim->d, tm->id, sim->epoch, 0, NULL, 0, sim->now, &err), WEIR_OK);
        }
        tm_talk(sim, tm);
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    }
    for (int i = 1; i <= WEIR_JOB_MISSED_MAX; i++) {
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
        ck_assert_int_eq(weir_dispatcher_heartbeat(sim->d, tm->id, sim->epoch, 0, NULL, 0, sim->now, &err), WEIR_OK);
        drain_effects(sim);
    }
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RESTARTING);
    sim_destroy(sim);
}
END_TEST

START_TEST(cancelling_waits_for_the_tasks)
{
    struct sim *sim = running_sim("plain", 2);
    cancel(sim, 0);
    commit_all(sim);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CANCELLING);
    ck_assert_int_eq(sim->last_answer, WEIR_OK);
    ck_assert_uint_eq(sim->nproposals, 0);
    uint32_t first = sim->norders;
    ck_assert_uint_eq(first, 2);
    while (sim->norders > 0) {
        deliver(sim, 0, true); /* lost: they are repeated */
    }
    advance(sim, WEIR_JOB_CANCEL_REPEAT_MS / 2);
    advance(sim, WEIR_JOB_CANCEL_REPEAT_MS / 2);
    ck_assert_uint_eq(sim->norders, 2);
    run_quietly(sim, 5);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CANCELED);
    sim_destroy(sim);
}
END_TEST

START_TEST(one_that_does_not_end_its_tasks_is_expelled)
{
    struct sim *sim = running_sim("plain", 1);
    cancel(sim, 0);
    commit_all(sim);
    for (int64_t ms = 0; ms <= WEIR_JOB_CANCEL_TIMEOUT_MS + 2000; ms += 200) {
        while (sim->norders > 0) {
            deliver(sim, 0, true);
        }
        advance(sim, 200);
    }
    commit_all(sim);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CANCELED);
    ck_assert(!sim->tms[0].alive);
    sim_destroy(sim);
}
END_TEST

START_TEST(splits_that_cannot_be_listed)
{
    struct sim *sim = sim_create(1);
    commit_all(sim);
    tm_start(&sim->tms[0], 0);
    tm_talk(sim, &sim->tms[0]);
    sim->enumerate_failures = 100;
    sim->enumerate_rc = WEIR_NOT_FOUND; /* will not pass */
    submit(sim, 0, "plain");
    run_quietly(sim, 3);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FAILED);
    ck_assert_uint_eq(sim->enumerate_failures, 99);
    sim->enumerate_rc = WEIR_EXTERNAL; /* may pass: tried again */
    sim->enumerate_failures = WEIR_JOB_ENUMERATE_TRIES_MAX - 1;
    submit(sim, 1, "plain");
    run_quietly(sim, 20);
    ck_assert_int_eq(state_of(sim, 1), WEIR_JOB_RUNNING);
    ck_assert_uint_eq(weir_meta_job(sim->meta, weir_slice_str(job_id(1)))->nsources, 1);
    submit(sim, 2, "broken");
    run_quietly(sim, 3);
    ck_assert_int_eq(state_of(sim, 2), WEIR_JOB_FAILED);
    sim_destroy(sim);
}
END_TEST

static const char *waits(const struct sim *sim)
{
    const char *text = view_of(sim).waiting_for;
    return text == NULL ? "" : text;
}

static uint32_t enumeration_on(const struct sim *sim, const char *tm_id)
{
    uint32_t i = 0;
    while (i < sim->norders && !(sim->orders[i]->kind == WEIR_EFFECT_ENUMERATE && strcmp(sim->orders[i]->tm_id, tm_id) == 0)) {
        i++;
    }
    ck_assert_uint_lt(i, sim->norders);
    return i;
}

START_TEST(a_job_that_lists_splits_says_where)
{
    struct sim *sim = sim_create(1);
    commit_all(sim);
    submit(sim, 0, "plain");
    commit_all(sim);
    ck_assert_str_eq(waits(sim), "no TaskManager is registered");
    tm_start(&sim->tms[0], 0);
    tm_talk(sim, &sim->tms[0]);
    ck_assert_str_eq(waits(sim), "listing the splits of \"read\" on tm-0-1");
    sim->enumerate_failures = 1;
    sim->enumerate_rc = WEIR_EXTERNAL;
    deliver(sim, enumeration_on(sim, "tm-0-1"), false);
    ck_assert_str_eq(waits(sim), "listing the splits of \"read\" on tm-0-1, again after: no such directory");
    advance(sim, WEIR_JOB_ENUMERATE_RETRY_MS);
    kill_tm(sim, 0);
    advance(sim, WEIR_TM_GRACE_MS);
    ck_assert_str_eq(waits(sim), "no TaskManager is registered");
    deliver(sim, enumeration_on(sim, "tm-0-1"), true);
    ck_assert_str_eq(waits(sim), "no TaskManager is registered");
    tm_start(&sim->tms[1], 1);
    advance(sim, WEIR_JOB_ENUMERATE_RETRY_MS);
    ck_assert_str_eq(waits(sim), "listing the splits of \"read\" on tm-1-1, again after: closed");
    deliver(sim, enumeration_on(sim, "tm-1-1"), false);
    ck_assert_str_eq(waits(sim), "");
    run_quietly(sim, 3);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    sim_destroy(sim);
}
END_TEST

START_TEST(a_job_tells_of_the_source_that_is_not_listed_yet)
{
    struct sim *sim = sim_create(1);
    commit_all(sim);
    for (uint32_t i = 0; i < 3; i++) {
        tm_start(&sim->tms[i], i);
        tm_talk(sim, &sim->tms[i]);
    }
    submit(sim, 0, "two"); /* v0 is listed by the first, v2 by the third */
    commit_all(sim);
    ck_assert_str_eq(waits(sim), "listing the splits of \"read\" on tm-0-1");
    if (_i == 0) {
        deliver(sim, enumeration_on(sim, "tm-0-1"), false);
        ck_assert_str_eq(waits(sim), "listing the splits of \"read\" on tm-2-1");
    } else {
        sim->enumerate_failures = 1;
        sim->enumerate_rc = WEIR_EXTERNAL;
        deliver(sim, enumeration_on(sim, "tm-2-1"), false);
        ck_assert_str_eq(waits(sim), "listing the splits of \"read\" on tm-2-1, again after: no such directory");
        deliver(sim, enumeration_on(sim, "tm-0-1"), false);
        ck_assert_str_eq(waits(sim), "listing the splits of \"read\" on tm-2-1, again after: no such directory");
        advance(sim, WEIR_JOB_ENUMERATE_RETRY_MS);
    }
    deliver(sim, enumeration_on(sim, "tm-2-1"), false);
    ck_assert_str_eq(waits(sim), "");
    run_quietly(sim, 3);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    sim_destroy(sim);
}
END_TEST

/* The answer does not come in time, or to a job that is over. */
START_TEST(a_listing_that_nobody_waits_for_any_more)
{
    struct sim *sim = sim_create(1);
    commit_all(sim);
    tm_start(&sim->tms[0], 0);
    tm_talk(sim, &sim->tms[0]);
    submit(sim, 0, "plain");
    commit_all(sim);
    uint32_t order = enumeration_on(sim, "tm-0-1");
    if (_i == 0) {
        for (int64_t ms = 0; ms < SLOT_TIMEOUT_MS; ms += HEARTBEAT_MS) {
            advance(sim, HEARTBEAT_MS);
        }
        commit_all(sim);
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FAILED);
        ck_assert_str_eq(meta_of(sim)->text, "the job could not start within slot.request.timeout: listing the splits of \"read\" on tm-0-1");
    } else {
        cancel(sim, 0);
        commit_all(sim);
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CANCELED);
    }
    deliver(sim, order, true);
    ck_assert_str_eq(waits(sim), "");
    sim_destroy(sim);
}
END_TEST

START_TEST(a_restarted_job_manager_adopts_the_tasks)
{
    struct sim *sim = running_sim("plain", 2);
    uint32_t deploys = sim->deploys;
    set_tasks(sim, WEIR_TASK_FINISHED, 1);
    new_leader(sim);
    commit_all(sim);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RECONCILING);
    tm_talk(sim, &sim->tms[0]);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RECONCILING);
    tm_talk(sim, &sim->tms[1]);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    ck_assert_uint_eq(sim->deploys, deploys);
    ck_assert_uint_eq(weir_tm_registry_at(weir_dispatcher_tms(sim->d), 0)->slots_used, 1);
    set_tasks(sim, WEIR_TASK_FINISHED, 9);
    run_quietly(sim, 2);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FINISHED);
    sim_destroy(sim);
}
END_TEST

/* The JobManager started again, and waits for the second of two TaskManagers for one millisecond more. */
static struct sim *missing_sim(const char *graph)
{
    struct sim *sim = running_sim(graph, 2);
    stop_jm(sim);
    sim->tms[1].alive = false;
    start_jm(sim);
    commit_all(sim);
    tm_talk(sim, &sim->tms[0]);
    advance(sim, TIMEOUT_MS - 1);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RECONCILING);
    return sim;
}

START_TEST(what_does_not_come_back_to_a_restarted_job_manager_is_lost)
{
    bool restarts = _i == 1;
    struct sim *sim = missing_sim(restarts ? "restart" : "plain");
    advance(sim, 1);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FAILING);
    run_quietly(sim, 10);
    ck_assert_int_eq(state_of(sim, 0), restarts ? WEIR_JOB_RUNNING : WEIR_JOB_FAILED);
    /* a stranger comes back with tasks of an attempt that is over */
    tm_start(&sim->tms[2], 2);
    sim->tms[2].tasks[0] = (struct fake_task){.attempt = 1, .state = WEIR_TASK_RUNNING};
    (void)snprintf(sim->tms[2].tasks[0].job, sizeof(sim->tms[2].tasks[0].job), "%s", job_id(0));
    sim->tms[2].ntasks = 1;
    tm_talk(sim, &sim->tms[2]);
    run_quietly(sim, 3);
    ck_assert_uint_eq(sim->tms[2].ntasks, 0);
    sim_destroy(sim);
}
END_TEST

/* A JobManager that was frozen while it waited for an earlier leader's TaskManagers. */
START_TEST(who_is_missed_has_time_after_this_process_was_away)
{
    struct sim *sim = missing_sim("plain");
    sim->now.mono_ms += 300;
    weir_dispatcher_was_away(sim->d, 300, sim->now);
    advance(sim, 0);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RECONCILING);
    sim->tms[1].alive = true;
    tm_talk(sim, &sim->tms[1]);
    advance(sim, TIMEOUT_MS - 1);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    sim_destroy(sim);
}
END_TEST

/* Takes the first order to deploy off the wire, and answers it. */
static void answer_deploy(struct sim *sim, enum weir_rc rc)
{
    uint32_t i = 0;
    while (i < sim->norders && sim->orders[i]->kind != WEIR_EFFECT_DEPLOY) {
        i++;
    }
    ck_assert_uint_lt(i, sim->norders);
    struct weir_effect *order = sim->orders[i];
    memmove(&sim->orders[i], &sim->orders[i + 1], (sim->norders - i - 1) * sizeof(sim->orders[0]));
    sim->norders--;
    weir_dispatcher_deployed(sim->d, weir_slice_str(order->job_id), order->attempt, order->tm_id, rc, "no such connector", sim->now);
    weir_effect_destroy(order);
    drain_effects(sim);
}

/* _i: for a reason that stays, or that may pass; or its connection closes, again and again. */
START_TEST(a_deployment_that_is_refused)
{
    struct sim *sim = sim_create(1);
    commit_all(sim);
    tm_start(&sim->tms[0], 0);
    tm_talk(sim, &sim->tms[0]);
    submit(sim, 0, "restart");
    run_until_proposed(sim, WEIR_HA_ATTEMPT);
    decide(sim, 0, COMMIT);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    for (uint32_t tries = 1; _i == 2 && tries < WEIR_JOB_DEPLOY_TRIES_MAX; tries++) {
        answer_deploy(sim, WEIR_CLOSED);
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    }
    answer_deploy(sim, (const enum weir_rc[]){WEIR_INVALID, WEIR_RESOURCE, WEIR_CLOSED}[_i]);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FAILING); /* at once, not when the tasks are missed */
    struct weir_job_view view = view_of(sim);
    ck_assert_uint_eq(view.nfailures, 1);
    char text[128];
    (void)snprintf(text, sizeof(text), "TaskManager %s could not take the tasks of attempt 1: no such connector", sim->tms[0].id);
    ck_assert_str_eq(view.failures[0].text, text);
    ck_assert_str_eq(view.failures[0].tm_id, sim->tms[0].id);
    run_quietly(sim, 10);
    ck_assert_int_eq(state_of(sim, 0), _i == 0 ? WEIR_JOB_FAILED : WEIR_JOB_RUNNING);
    ck_assert_uint_eq(meta_of(sim)->attempt, _i == 0 ? 1 : 2);
    sim_destroy(sim);
}
END_TEST

/* What tasks of the attempt before say about the present one's checkpoint does not count, although it names the right one. */
START_TEST(another_attempt_does_not_acknowledge_the_checkpoint)
{
    struct sim *sim = running_sim("checkpoints", 1);
    set_tasks(sim, WEIR_TASK_FAILED, 1);
    run_quietly(sim, 5);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    ck_assert_uint_eq(meta_of(sim)->attempt, 2);
    for (int i = 0; i < 1000 && (sim->norders == 0 || sim->orders[0]->kind != WEIR_EFFECT_TRIGGER); i++) {
        step(sim);
    }
    ck_assert_int_eq(sim->orders[0]->kind, WEIR_EFFECT_TRIGGER);
    uint32_t norders = sim->norders;
    struct weir_job_view view = view_of(sim);
    struct weir_error err;
    static const uint32_t attempts[] = {1, 3, 2}; /* the present one at last */
    for (uint32_t k = 0; k < 3; k++) {
        bool present = attempts[k] == meta_of(sim)->attempt;
        for (uint32_t i = 0; i < view.ntasks; i++) {
            const struct weir_ckpt_report report = {
                .job_id = weir_slice_str(job_id(0)),
                .attempt = attempts[k],
                .checkpoint_id = sim->orders[0]->checkpoint_id,
                .handle = {.vertex = view.tasks[i].vertex, .subtask = view.tasks[i].subtask, .path = "/c/state", .bytes = 10, .hash = 1}};
            ck_assert_int_eq(weir_dispatcher_ckpt_report(sim->d, view.tasks[i].tm_id, sim->epoch, &report, sim->now, &err),
                             present ? WEIR_OK : WEIR_STALE);
            drain_effects(sim);
        }
        ck_assert_uint_eq(sim->norders, norders + present);
    }
    ck_assert_int_eq(sim->orders[norders]->kind, WEIR_EFFECT_CKPT_STORE);
    sim_destroy(sim);
}
END_TEST

/* --- random sequences ------------------------------------------------------------------------------------------------- */
static void random_step(struct sim *sim)
{
    static const char *const graphs[] = {"plain", "restart", "checkpoints", "wide", "pairs", "pairs-bare", "trio", "two", "quad"};
    uint32_t n = (uint32_t)weir_rand_below(&sim->rand, 100);
    uint32_t i = (uint32_t)weir_rand_below(&sim->rand, TMS);
    if (n < 30 && sim->nproposals > 0) {
        uint64_t luck = weir_rand_below(&sim->rand, 10);
        decide(sim, (uint32_t)weir_rand_below(&sim->rand, sim->nproposals), luck < 7 ? COMMIT : luck < 8 ? REJECT : luck < 9 ? UNKNOWN_LATE : UNKNOWN_LOST);
    } else if (n < 55 && sim->norders > 0) {
        deliver(sim, (uint32_t)weir_rand_below(&sim->rand, sim->norders), weir_rand_below(&sim->rand, 8) == 0);
    } else if (n < 58 && sim->nlate > 0) {
        struct weir_buf *late = &sim->late[--sim->nlate];
        commit(sim, weir_buf_slice(late));
        weir_buf_fini(late);
    } else if (n < 75) {
        advance(sim, (int64_t)weir_rand_below(&sim->rand, 60));
    } else if (n < 80) {
        submit(sim, (uint32_t)weir_rand_below(&sim->rand, JOBS), graphs[weir_rand_below(&sim->rand, sizeof(graphs) / sizeof(graphs[0]) - (sim->adaptive.enabled ? 0 : 1))]);
    } else if (n < 83) {
        cancel_as(sim, (uint32_t)weir_rand_below(&sim->rand, JOBS), weir_rand_below(&sim->rand, 4) == 0);
    } else if (n < 88) {
        set_tasks(sim, WEIR_TASK_FINISHED, 1 + (uint32_t)weir_rand_below(&sim->rand, 4));
    } else if (n < 90) {
        set_tasks(sim, WEIR_TASK_FAILED, 1);
    } else if (n < 94 && !sim->tms[i].alive) {
        tm_start(&sim->tms[i], i);
    } else if (n < 96 && sim->tms[i].alive) {
        kill_tm(sim, i);
    } else if (n < 97 && sim->tms[i].alive) {
        weir_dispatcher_tm_closed(sim->d, sim->tms[i].id, sim->now); /* a dropped connection: it comes again in time */
        tm_talk(sim, &sim->tms[i]);
    } else if (n < 98) {
        sim->drain_fate = (const enum weir_task_state[]){WEIR_TASK_RUNNING, WEIR_TASK_FINISHED, WEIR_TASK_FAILED}[weir_rand_below(&sim->rand, 3)];
        sim->failure_rc = weir_rand_below(&sim->rand, 8) == 0 ? WEIR_CORRUPT : WEIR_EXTERNAL;
    } else if (n < 99) {
        new_leader(sim);
    }
}

START_TEST(a_restart_begins_from_the_newest_checkpoint)
{
    struct sim *sim = running_sim("checkpoints", 2);
    run_quietly(sim, 20);
    const struct weir_meta_job *meta = meta_of(sim);
    ck_assert_ptr_nonnull(weir_meta_ckpt_newest(meta));
    ck_assert_uint_le(meta->nckpts, 2);
    set_tasks(sim, WEIR_TASK_FAILED, 1);
    sim->load_rc = _i == 0 ? WEIR_OK : WEIR_CORRUPT;
    run_quietly(sim, 20);
    struct weir_job_view view;
    weir_job_view(weir_dispatcher_job(sim->d, weir_slice_str(job_id(0))), sim->now, &view);
    if (_i == 0) {
        ck_assert_int_eq(view.state, WEIR_JOB_RUNNING);
        ck_assert_uint_eq(sim->restores, 1);
        const struct weir_ckpt_manifest *restore = weir_job_restore(weir_dispatcher_job(sim->d, weir_slice_str(job_id(0))), 2);
        ck_assert_uint_eq(restore->checkpoint_id, meta->restored_ckpt_id);
        ck_assert_uint_eq(restore->nhandles, 3);
        ck_assert_str_eq(restore->handles[2].path, "/c/state");
        ck_assert_uint_eq(view.checkpoints->restored, 1);
        ck_assert_uint_eq(view.checkpoints->latest_restored->id, meta->restored_ckpt_id);
        ck_assert_uint_gt(view.checkpoints->latest_completed->id, meta->restored_ckpt_id); /* and goes on */
    } else { /* (J5) */
        ck_assert_int_eq(view.state, WEIR_JOB_FAILED);
        ck_assert_ptr_nonnull(strstr(view.failures[view.nfailures - 1].text, "/c/_metadata"));
        ck_assert_uint_eq(sim->nstored, meta->nckpts); /* kept for people */
    }
    if (_i == 0) {
        cancel(sim, 0);
        run_quietly(sim, 10);
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CANCELED);
        ck_assert_uint_eq(sim->nstored, 0);
    }
    sim_destroy(sim);
}
END_TEST

/* A checkpoint's COMPLETE that is committed between the proposal of an attempt and its own commit. */
START_TEST(a_completion_overtakes_the_attempt)
{
    struct sim *sim = running_sim("checkpoints", 2);
    for (int i = 0; i < 1000; i++) { /* until COMPLETE(n) is proposed */
        struct weir_arena *arena = weir_arena_create(0);
        struct weir_ha_record record = {.kind = WEIR_HA_LEADER};
        struct weir_error err;
        if (sim->nproposals > 0) {
            ck_assert_int_eq(weir_ha_decode(weir_buf_slice(&sim->proposals[0]->bytes), arena, &record, &err), WEIR_OK);
        }
        weir_arena_destroy(arena);
        if (record.kind == WEIR_HA_CKPT_COMPLETE) {
            break;
        }
        if (sim->nproposals > 0) {
            decide(sim, 0, COMMIT);
        } else if (sim->norders > 0) {
            deliver(sim, 0, false);
        } else {
            advance(sim, 10);
        }
    }
    ck_assert_uint_eq(sim->nproposals, 1);
    set_tasks(sim, WEIR_TASK_FAILED, 1);
    for (int i = 0; i < 40 && sim->nproposals < 2; i++) {
        while (sim->norders > 0) {
            deliver(sim, 0, false);
        }
        advance(sim, 20);
    }
    ck_assert_uint_eq(sim->nproposals, 2);
    run_quietly(sim, 20); /* COMPLETE first: the attempt names an older checkpoint and is ignored, then made anew */
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    const struct weir_meta_job *meta = meta_of(sim);
    ck_assert_uint_eq(meta->attempt, 2);
    ck_assert_uint_ge(meta->restored_ckpt_id, 1);
    ck_assert_uint_eq(sim->restores, 1);
    sim_destroy(sim);
}
END_TEST

static enum weir_rc ask_present(const struct sim *sim, uint64_t epoch, uint32_t tm, uint32_t job, uint32_t attempt, bool *out_present)
{
    struct weir_error err;
    return weir_dispatcher_attempt_is_present(sim->d, sim->tms[tm].id, epoch, weir_slice_str(job_id(job)), 0, attempt, out_present, &err);
}

static bool is_present(const struct sim *sim, uint32_t job, uint32_t attempt)
{
    bool present = false;
    ck_assert_int_eq(ask_present(sim, sim->epoch, 0, job, attempt, &present), WEIR_OK);
    return present;
}

START_TEST(a_lease_is_for_the_newest_attempt_only)
{
    struct sim *sim = running_sim("restart", 1);
    bool present = false;
    ck_assert(is_present(sim, 0, 1));
    ck_assert(!is_present(sim, 0, 0));
    ck_assert(!is_present(sim, 0, 2));
    ck_assert(!is_present(sim, 1, 1)); /* no such job */
    tm_start(&sim->tms[1], 1);
    ck_assert_int_eq(ask_present(sim, sim->epoch, 1, 0, 1, &present), WEIR_NOT_FOUND);
    tm_talk(sim, &sim->tms[1]);
    present = true;
    ck_assert_int_eq(ask_present(sim, sim->epoch, 1, 0, 1, &present), WEIR_OK);
    ck_assert(!present); /* it has no part in it */
    set_tasks(sim, WEIR_TASK_FAILED, 1);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FAILING);
    ck_assert(is_present(sim, 0, 1)); /* until the next is applied */
    run_quietly(sim, 10);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    ck_assert(!is_present(sim, 0, 1));
    ck_assert(is_present(sim, 0, 2));
    /* another leader: an old epoch says nothing, and nobody answers before leading */
    new_leader(sim);
    ck_assert_int_eq(ask_present(sim, sim->epoch, 0, 0, 2, &present), WEIR_REFUSED);
    commit_all(sim);
    ck_assert_int_eq(ask_present(sim, sim->epoch, 0, 0, 2, &present), WEIR_NOT_FOUND);
    tm_talk(sim, &sim->tms[0]);
    ck_assert_int_eq(ask_present(sim, sim->epoch - 1, 0, 0, 2, &present), WEIR_STALE);
    ck_assert(is_present(sim, 0, 2));
    cancel(sim, 0);
    commit_all(sim);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CANCELLING);
    ck_assert(is_present(sim, 0, 2)); /* what is committed may be drained */
    run_quietly(sim, 10);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CANCELED);
    ck_assert(!is_present(sim, 0, 2));
    weir_dispatcher_leadership(sim->d, false, sim->epoch, sim->now);
    drain_effects(sim);
    ck_assert_int_eq(ask_present(sim, sim->epoch, 0, 0, 2, &present), WEIR_REFUSED);
    sim_destroy(sim);
}
END_TEST

START_TEST(random_events)
{
    const struct weir_adaptive_settings adaptive = {
        .enabled = _i >= 60, .wait_ms = 4000, .stabilization_ms = 50 * (_i % 4), .interval_ms = 100, .increase_min = 1 + (uint32_t)_i % 2};
    struct sim *sim = sim_create_as((uint64_t)_i + 1, &adaptive);
    for (int step = 0; step < 1500; step++) {
        random_step(sim);
    }
    ck_assert_uint_gt(sim->deploys, 3);
    ck_assert_uint_gt(sim->epoch, 5);
    /* The world heals: every job comes to an end by itself. */
    sim->drain_fate = WEIR_TASK_FINISHED;
    sim->failure_rc = WEIR_EXTERNAL;
    for (uint32_t i = 0; i < TMS; i++) {
        if (!sim->tms[i].alive) {
            tm_start(&sim->tms[i], i);
        }
    }
    for (int round = 0; round < 100; round++) {
        run_quietly(sim, 8);
        set_tasks(sim, WEIR_TASK_FINISHED, 1000);
    }
    run_quietly(sim, 5);
    for (uint32_t i = 0; i < weir_dispatcher_job_count(sim->d); i++) {
        struct weir_job_view view;
        weir_job_view(weir_dispatcher_job_at(sim->d, i), sim->now, &view);
        ck_assert_msg(weir_job_state_terminal(view.state), "job %s hangs in %s", view.id, weir_job_state_name(view.state));
    }
    for (uint32_t i = 0; i < weir_tm_registry_count(weir_dispatcher_tms(sim->d)); i++) {
        ck_assert_uint_eq(weir_tm_registry_at(weir_dispatcher_tms(sim->d), i)->slots_used, 0);
    }
    sim_destroy(sim);
}
END_TEST

Suite *dispatcher_suite(void);

Suite *dispatcher_suite(void)
{
    Suite *suite = suite_create("dispatcher");
    TCase *tcase = tcase_create("dispatcher");
    tcase_add_test(tcase, a_job_runs_to_its_end);
    tcase_add_test(tcase, a_clock_that_is_set_forgets_no_job);
    tcase_add_test(tcase, an_end_that_seems_long_ago_is_not_forgotten_at_once);
    tcase_add_test(tcase, nothing_is_deployed_before_the_attempt_is_applied);
    tcase_add_test(tcase, clients_hear_of_rejection_and_conflict);
    tcase_add_loop_test(tcase, two_submissions_on_their_way_together, 0, 2); /* of one id, of one name */
    tcase_add_loop_test(tcase, a_failed_task_fails_the_job_or_restarts_it, 0, 2);
    tcase_add_test(tcase, a_restart_that_is_delayed_says_when_it_comes);
    tcase_add_loop_test(tcase, a_killed_task_manager_is_noticed_at_once, 0, 2);
    tcase_add_test(tcase, cancelling_waits_for_the_tasks);
    tcase_add_test(tcase, a_task_that_heartbeats_do_not_list_is_lost);
    tcase_add_test(tcase, one_that_does_not_end_its_tasks_is_expelled);
    tcase_add_test(tcase, splits_that_cannot_be_listed);
    tcase_add_test(tcase, a_job_that_lists_splits_says_where);
    tcase_add_loop_test(tcase, a_job_tells_of_the_source_that_is_not_listed_yet, 0, 2);
    tcase_add_loop_test(tcase, a_listing_that_nobody_waits_for_any_more, 0, 2);
    tcase_add_test(tcase, a_restarted_job_manager_adopts_the_tasks);
    tcase_add_loop_test(tcase, what_does_not_come_back_to_a_restarted_job_manager_is_lost, 0, 2);
    tcase_add_test(tcase, who_is_missed_has_time_after_this_process_was_away);
    tcase_add_loop_test(tcase, a_deployment_that_is_refused, 0, 3);
    tcase_add_test(tcase, another_attempt_does_not_acknowledge_the_checkpoint);
    tcase_add_loop_test(tcase, a_restart_begins_from_the_newest_checkpoint, 0, 2);
    tcase_add_test(tcase, a_completion_overtakes_the_attempt);
    tcase_add_test(tcase, a_lease_is_for_the_newest_attempt_only);
    tcase_add_loop_test(tcase, random_events, 0, 160);
    suite_add_tcase(suite, tcase);
    return suite;
}
