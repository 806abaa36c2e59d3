/*
 * Leadership that comes and goes, in one process and between several: what was begun under one ends with it, what it had proposed may still
 * be committed, a client that asks again starts nothing twice, and what needs proof of leadership waits for it.
 */
#include "jobmanager/job/dispatcher_test_kit.h"

/* What is under way is told UNKNOWN and may yet be committed; orders on their way are not answered to the next leadership. */
static void lose_leadership(struct sim *sim)
{
    for (uint32_t i = 0; i < TMS; i++) {
        sim->tms[i].registered = false; /* it asks who leads */
    }
    while (sim->nproposals > 0) {
        struct weir_effect *p = sim->proposals[--sim->nproposals];
        if (sim->nlate < ORDERS) {
            weir_buf_put_slice(&sim->late[sim->nlate++], weir_buf_slice(&p->bytes));
        }
        weir_effect_destroy(p);
    }
    while (sim->norders > 0) {
        weir_effect_destroy(sim->orders[--sim->norders]);
    }
    weir_dispatcher_leadership(sim->d, false, sim->epoch, sim->now);
    drain_effects(sim);
    ck_assert_uint_eq(sim->norders, 0);
    ck_assert_uint_eq(sim->nproposals, 0);
}

static void gain_leadership(struct sim *sim)
{
    weir_dispatcher_leadership(sim->d, true, ++sim->epoch, sim->now);
    drain_effects(sim);
}

static void commit_late(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->nlate; i++) {
        commit(sim, weir_buf_slice(&sim->late[i]));
        weir_buf_fini(&sim->late[i]);
        drain_effects(sim);
    }
    sim->nlate = 0;
}

/* _i: the first leader's record is committed before the second one's LEADER, behind it, or never. */
START_TEST(a_retry_to_a_new_leader_starts_nothing_twice)
{
    struct sim *sim = sim_create(1);
    commit_all(sim);
    submit(sim, 0, "plain");
    ck_assert_uint_eq(sim->answers, 0);
    struct weir_buf submitted = {0};
    weir_buf_put_slice(&submitted, weir_buf_slice(&sim->proposals[0]->bytes));
    lose_leadership(sim);
    ck_assert_int_eq(sim->last_answer, WEIR_UNKNOWN); /* the client asks again, under the same id */
    stop_jm(sim);
    for (int i = 0; _i == 0 && i < 1; i++) { /* the successor has it in its log */
        weir_buf_put_slice(&sim->log[sim->nlog++], weir_buf_slice(&submitted));
        struct weir_arena *arena = weir_arena_create(0);
        struct weir_ha_record record;
        struct weir_error err;
        ck_assert_int_eq(weir_ha_decode(weir_buf_slice(&submitted), arena, &record, &err), WEIR_OK);
        ck_assert_int_eq(weir_meta_apply(sim->meta, &record), WEIR_META_SUBMITTED);
        weir_arena_destroy(arena);
    }
    start_jm(sim);
    tm_start(&sim->tms[0], 0);
    submit(sim, 0, "plain");
    ck_assert_int_eq(sim->last_answer, WEIR_REFUSED); /* (D1) */
    commit_all(sim);
    submit(sim, 0, "plain");
    if (_i == 1) {
        commit(sim, weir_buf_slice(&submitted)); /* of a deposed leader: nothing (M1) */
        drain_effects(sim);
        ck_assert_uint_eq(weir_dispatcher_job_count(sim->d), 0);
    }
    uint32_t proposed = sim->nproposals;
    ck_assert_uint_eq(proposed, _i == 0 ? 0 : 1);
    submit(sim, 0, "plain"); /* an impatient one */
    commit_all(sim);
    ck_assert_uint_eq(sim->answers_ok, 2);
    const uint64_t other[2] = {9, 9};
    weir_dispatcher_submit(sim->d, weir_slice_str(job_id(0)), "job-0", other, weir_slice_str("plain"), sim->now, on_answer, sim);
    drain_effects(sim);
    ck_assert_int_eq(sim->last_answer, WEIR_EXISTS); /* the id is taken by what was submitted, not by whoever asks */
    ck_assert_uint_eq(weir_dispatcher_job_count(sim->d), 1);
    run_quietly(sim, 10);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    ck_assert_uint_eq(meta_of(sim)->attempt, 1);
    ck_assert_uint_eq(sim->deploys, 1);
    /* a tombstone holds the id as well */
    set_tasks(sim, WEIR_TASK_FINISHED, 9);
    run_quietly(sim, 3);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FINISHED);
    lose_leadership(sim);
    gain_leadership(sim);
    commit_all(sim);
    submit(sim, 0, "plain");
    ck_assert_int_eq(sim->last_answer, WEIR_OK);
    run_quietly(sim, 3);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FINISHED);
    ck_assert_uint_eq(sim->deploys, 1);
    weir_buf_fini(&submitted);
    sim_destroy(sim);
}
END_TEST

START_TEST(tasks_run_through_many_leaderships)
{
    struct sim *sim = running_sim("checkpoints", 2);
    uint32_t deploys = sim->deploys;
    for (int i = 0; i < 30; i++) {
        for (int k = 0; k < i % 4; k++) { /* in the middle of whatever is under way then */
            advance(sim, 20);
            if (sim->nproposals > 0 && i % 3 != 0) {
                decide(sim, 0, COMMIT);
            }
            if (sim->norders > 0) {
                deliver(sim, 0, false);
            }
        }
        lose_leadership(sim);
        ck_assert_uint_eq(weir_dispatcher_job_count(sim->d), 0);
        ck_assert_int_eq(weir_dispatcher_deadline_ms(sim->d, sim->now), INT64_MAX); /* nothing acts by itself */
        if (i % 2 == 0) {
            commit_late(sim);
        }
        gain_leadership(sim);
        commit_all(sim);
        commit_late(sim);
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RECONCILING);
        tm_talk(sim, &sim->tms[0]);
        tm_talk(sim, &sim->tms[1]);
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    }
    ck_assert_uint_eq(sim->deploys, deploys);
    uint32_t completions = sim->completions;
    run_quietly(sim, 10);
    ck_assert_uint_gt(sim->completions, completions); /* the next checkpoints go on */
    sim_destroy(sim);
}
END_TEST

static void random_step(struct sim *sim)
{
    uint32_t n = (uint32_t)weir_rand_below(&sim->rand, 100);
    uint32_t i = (uint32_t)weir_rand_below(&sim->rand, TMS);
    if (n < 35 && sim->nproposals > 0) {
        decide(sim, (uint32_t)weir_rand_below(&sim->rand, sim->nproposals), weir_rand_below(&sim->rand, 5) == 0 ? UNKNOWN_LATE : COMMIT);
    } else if (n < 65 && sim->norders > 0) {
        deliver(sim, (uint32_t)weir_rand_below(&sim->rand, sim->norders), weir_rand_below(&sim->rand, 8) == 0);
    } else if (n < 82) {
        advance(sim, (int64_t)weir_rand_below(&sim->rand, 60));
    } else if (n < 87) {
        submit(sim, (uint32_t)weir_rand_below(&sim->rand, JOBS), weir_rand_below(&sim->rand, 2) == 0 ? "restart" : "checkpoints");
    } else if (n < 89) {
        cancel(sim, (uint32_t)weir_rand_below(&sim->rand, JOBS));
    } else if (n < 93) {
        set_tasks(sim, weir_rand_below(&sim->rand, 4) == 0 ? WEIR_TASK_FAILED : WEIR_TASK_FINISHED, 1);
    } else if (n < 98 && !sim->tms[i].alive) {
        tm_start(&sim->tms[i], i);
    }
}

START_TEST(random_leaderships)
{
    struct sim *sim = sim_create((uint64_t)_i + 1000);
    for (int step = 0; step < 1500; step++) {
        if (weir_rand_below(&sim->rand, 40) == 0) {
            lose_leadership(sim);
            if (weir_rand_below(&sim->rand, 2) == 0) {
                commit_late(sim); /* under the old LEADER */
            }
            gain_leadership(sim);
        }
        random_step(sim);
    }
    ck_assert_uint_gt(sim->deploys, 3);
    ck_assert_uint_gt(sim->epoch, 20);
    sim_destroy(sim);
}
END_TEST

START_TEST(effects_carry_the_epoch_that_wants_them)
{
    struct sim *sim = running_sim("plain", 1);
    uint64_t epoch = sim->epoch;
    submit(sim, 1, "plain");
    ck_assert_uint_eq(sim->proposals[0]->epoch, epoch);
    cancel(sim, 0);
    while (sim->nproposals > 0) {
        decide(sim, 0, COMMIT);
    }
    ck_assert_uint_gt(sim->norders, 0);
    ck_assert_uint_eq(sim->orders[0]->epoch, epoch);
    lose_leadership(sim);
    gain_leadership(sim);
    ck_assert_uint_eq(sim->proposals[0]->epoch, epoch + 1);
    sim_destroy(sim);
}
END_TEST

START_TEST(news_of_job_managers_are_proposed_once)
{
    struct sim *sim = sim_create(1);
    struct weir_meta_member member = {.id = 7, .incarnation = 70, .rpc_address = (char[]){"h:1"}, .rest_address = (char[]){"h:2"}};
    weir_dispatcher_jobmanager(sim->d, &member, sim->now);
    drain_effects(sim);
    ck_assert_uint_eq(sim->nproposals, 1); /* LEADER; (D1) */
    commit_all(sim);
    for (int i = 0; i < 3; i++) {
        weir_dispatcher_jobmanager(sim->d, &member, sim->now);
    }
    drain_effects(sim);
    ck_assert_uint_eq(sim->nproposals, 1);
    commit_all(sim);
    ck_assert_str_eq(weir_meta_member(sim->meta, 7)->rest_address, "h:2");
    weir_dispatcher_jobmanager(sim->d, &member, sim->now); /* nothing new */
    member.incarnation = 71;
    weir_dispatcher_jobmanager(sim->d, &member, sim->now); /* (M8) */
    drain_effects(sim);
    ck_assert_uint_eq(sim->nproposals, 0);
    member.incarnation = 70;
    member.removed = true;
    weir_dispatcher_jobmanager(sim->d, &member, sim->now);
    drain_effects(sim);
    commit_all(sim);
    ck_assert(weir_meta_member(sim->meta, 7)->removed);
    weir_dispatcher_jobmanager(sim->d, &member, sim->now);
    member.removed = false;
    weir_dispatcher_jobmanager(sim->d, &member, sim->now);
    drain_effects(sim);
    ck_assert_uint_eq(sim->nproposals, 0);
    sim_destroy(sim);
}
END_TEST

Suite *dispatcher_leader_suite(void);

Suite *dispatcher_leader_suite(void)
{
    Suite *suite = suite_create("dispatcher_leader");
    TCase *tcase = tcase_create("dispatcher_leader");
    tcase_add_loop_test(tcase, a_retry_to_a_new_leader_starts_nothing_twice, 0, 3);
    tcase_add_test(tcase, tasks_run_through_many_leaderships);
    tcase_add_loop_test(tcase, random_leaderships, 0, 30);
    tcase_add_test(tcase, effects_carry_the_epoch_that_wants_them);
    tcase_add_test(tcase, news_of_job_managers_are_proposed_once);
    suite_add_tcase(suite, tcase);
    return suite;
}
