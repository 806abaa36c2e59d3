/*
 * Drain attempts (J6) in the dispatcher's simulated world: scripts for each way that one goes, and one disturbance after each single event
 * of such a life.
 */
#include "jobmanager/job/dispatcher_test_kit.h"

static uint64_t newest_id(const struct sim *sim)
{
    uint64_t id = newest_of(sim).id;
    ck_assert_uint_gt(id, 0);
    return id;
}

static void lose_tms(struct sim *sim)
{
    kill_tm(sim, 0);
    kill_tm(sim, 1);
}

/* A job with completed checkpoints whose sinks have not said that they drained. */
static struct sim *sim_with_checkpoints(const char *graph)
{
    struct sim *sim = running_sim(graph, 2);
    run_quietly(sim, 20);
    ck_assert_uint_ge(meta_of(sim)->nckpts, 1);
    return sim;
}

static void fail_for_good(struct sim *sim)
{
    sim->failure_rc = WEIR_CORRUPT;
    set_tasks(sim, WEIR_TASK_FAILED, 1);
    sim->failure_rc = WEIR_EXTERNAL;
}

/* "<prefix>sink write (results), checkpoint <newest><suffix>" */
static void check_text(const struct sim *sim, const char *text, const char *prefix, const char *suffix)
{
    char expected[256];
    (void)snprintf(expected, sizeof(expected), "%ssink write (results), checkpoint %llu%s", prefix,
                   (unsigned long long)newest_id(sim), suffix);
    ck_assert_ptr_nonnull(text);
    ck_assert_str_eq(text, expected);
}

START_TEST(a_cancelled_job_drains_first)
{
    struct sim *sim = sim_with_checkpoints("checkpoints");
    sim->drain_fate = WEIR_TASK_RUNNING;
    cancel(sim, 0);
    run_quietly(sim, 30);
    struct weir_job_view view = view_of(sim);
    ck_assert_int_eq(view.state, WEIR_JOB_CANCELLING);
    check_text(sim, view.waiting_for, "draining: ", "");
    ck_assert_uint_eq(sim->drain_deploys, 1); /* one slot: the sink's parallelism */
    ck_assert_uint_eq(view.attempt, 2);
    ck_assert_uint_eq(view.restarts, 0);
    ck_assert_int_eq(view.tasks[0].state, WEIR_TASK_CANCELED);
    ck_assert_int_ne(view.tasks[2].state, WEIR_TASK_CANCELED);
    cancel(sim, 0); /* again: nothing new */
    ck_assert_int_eq(sim->last_answer, WEIR_OK);
    sim->drain_fate = WEIR_TASK_FINISHED;
    run_quietly(sim, 10);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CANCELED);
    ck_assert_str_eq(meta_of(sim)->text, "");
    ck_assert_uint_eq(sim->nstored, 0);
    ck_assert_uint_eq(weir_tm_registry_at(weir_dispatcher_tms(sim->d), 0)->slots_used, 0);
    sim_destroy(sim);
}
END_TEST

START_TEST(a_failed_job_drains_first_and_keeps_its_cause)
{
    struct sim *sim = sim_with_checkpoints("checkpoints");
    sim->drain_fate = WEIR_TASK_RUNNING;
    fail_for_good(sim);
    run_quietly(sim, 30);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FAILING);
    ck_assert_int_eq(meta_of(sim)->state, WEIR_META_FAILING);
    check_text(sim, view_of(sim).waiting_for, "draining: ", "");
    uint64_t newest = newest_id(sim);
    sim->drain_fate = WEIR_TASK_FINISHED;
    run_quietly(sim, 10);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FAILED);
    ck_assert_str_eq(meta_of(sim)->text, "boom");
    ck_assert_uint_eq(newest_id(sim), newest); /* nothing was taken meanwhile */
    ck_assert_uint_eq(sim->nstored, meta_of(sim)->nckpts);
    sim_destroy(sim);
}
END_TEST

START_TEST(a_cancel_takes_over_the_drain_of_a_failure)
{
    struct sim *sim = sim_with_checkpoints("wide");
    sim->drain_fate = WEIR_TASK_RUNNING;
    fail_for_good(sim);
    run_quietly(sim, 30);
    uint32_t deploys = sim->drain_deploys;
    cancel(sim, 0);
    run_quietly(sim, 5);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CANCELLING);
    check_text(sim, view_of(sim).waiting_for, "draining: ", "");
    sim->drain_fate = WEIR_TASK_FINISHED;
    run_quietly(sim, 10);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CANCELED);
    ck_assert_uint_eq(sim->drain_deploys, deploys); /* the tasks went on */
    sim_destroy(sim);
}
END_TEST

START_TEST(a_job_without_checkpoints_owes_nothing)
{
    struct sim *sim = running_sim("plain", 2);
    sim->drain_fate = WEIR_TASK_RUNNING;
    cancel(sim, 0);
    run_quietly(sim, 5);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CANCELED);
    ck_assert_uint_eq(sim->drain_deploys, 0);
    sim_destroy(sim);
}
END_TEST

START_TEST(a_drain_that_fails_is_tried_again_without_end)
{
    struct sim *sim = sim_with_checkpoints("checkpoints");
    sim->drain_fate = WEIR_TASK_FAILED;
    if (_i == 0) {
        cancel(sim, 0);
    } else {
        fail_for_good(sim);
    }
    run_quietly(sim, 20);
    check_text(sim, view_of(sim).waiting_for, "draining: ", ": boom");
    run_quietly(sim, 1200); /* 120 s: 1 + 2 + 4 + 8 + 16 + 30 + 30 + ... */
    ck_assert_int_eq(state_of(sim, 0), _i == 0 ? WEIR_JOB_CANCELLING : WEIR_JOB_FAILING);
    ck_assert_uint_ge(sim->drain_deploys, 7);
    ck_assert_uint_le(sim->drain_deploys, 9);
    ck_assert_uint_eq(view_of(sim).restarts, 0);
    if (_i == 2) { /* the user takes over */
        cancel(sim, 0);
        run_quietly(sim, 2);
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CANCELLING);
        check_text(sim, view_of(sim).waiting_for, "draining: ", ": boom");
    }
    sim->drain_fate = WEIR_TASK_FINISHED;
    run_quietly(sim, 320);
    ck_assert_int_eq(state_of(sim, 0), _i == 1 ? WEIR_JOB_FAILED : WEIR_JOB_CANCELED);
    ck_assert_uint_eq(view_of(sim).nfailures, _i == 0 ? 0 : 1); /* the drain's own are no failures of the job */
    sim_destroy(sim);
}
END_TEST

START_TEST(what_cannot_be_drained_fails_the_job_and_is_named)
{
    bool by_load = _i >= 2;
    struct sim *sim = sim_with_checkpoints("checkpoints");
    sim->load_rc = by_load ? WEIR_CORRUPT : WEIR_OK;
    sim->drain_fate = WEIR_TASK_FAILED;
    if (_i % 2 == 0) {
        cancel(sim, 0);
    } else {
        fail_for_good(sim);
    }
    sim->failure_rc = _i == 0 ? WEIR_CORRUPT : WEIR_DATA;
    run_quietly(sim, 30);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FAILED);
    const char *prefix = _i % 2 == 0 ? "undrained: " : "boom; undrained: ";
    if (by_load) {
        ck_assert_ptr_nonnull(strstr(meta_of(sim)->text, "/c/_metadata"));
    } else {
        check_text(sim, meta_of(sim)->text, prefix, ": boom");
    }
    struct weir_job_view view = view_of(sim);
    ck_assert_str_eq(view.failures[view.nfailures - 1].text, meta_of(sim)->text);
    ck_assert_uint_eq(sim->nstored, meta_of(sim)->nckpts); /* kept for people */
    sim_destroy(sim);
}
END_TEST

START_TEST(a_drain_waits_for_slots)
{
    struct sim *sim = sim_with_checkpoints("checkpoints");
    lose_tms(sim);
    cancel(sim, 0);
    run_quietly(sim, 30);
    advance(sim, 2 * SLOT_TIMEOUT_MS);
    run_quietly(sim, 5);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CANCELLING);
    check_text(sim, view_of(sim).waiting_for, "draining: ", ": 1 slot needed, 0 free of 0 on 0 TaskManagers");
    tm_start(&sim->tms[2], 2);
    run_quietly(sim, 10);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CANCELED);
    ck_assert_uint_eq(sim->drain_deploys, 1);
    sim_destroy(sim);
}
END_TEST

START_TEST(a_drain_is_placed_before_jobs_that_wait)
{
    struct sim *sim = running_sim("restart", 1); /* both slots */
    submit(sim, 1, "wide");
    run_quietly(sim, 5);
    ck_assert_int_eq(state_of(sim, 1), WEIR_JOB_CREATED);
    set_tasks(sim, WEIR_TASK_FAILED, 1); /* job 0 restarts, and while it waits job 1 takes the slots */
    run_quietly(sim, 20);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RESTARTING);
    ck_assert_int_eq(state_of(sim, 1), WEIR_JOB_RUNNING);
    sim->drain_fate = WEIR_TASK_RUNNING;
    cancel(sim, 1);
    run_quietly(sim, 10);
    ck_assert_uint_eq(sim->drain_deploys, 1);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RESTARTING); /* though it is the older one */
    sim->drain_fate = WEIR_TASK_FINISHED;
    run_quietly(sim, 10);
    ck_assert_int_eq(state_of(sim, 1), WEIR_JOB_CANCELED);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    sim_destroy(sim);
}
END_TEST

/* --- a disturbance after each single event ----------------------------------------------------------------------------- */
enum { STEPS = 70, STEP_MS = 20 };

enum disturbance { NEW_LEADER, TMS_LOST, TMS_REPLACED, SKIP, CANCEL, CONNECTIONS_DROPPED, DISTURBANCES };

static void disturb(struct sim *sim, enum disturbance disturbance)
{
    switch (disturbance) {
    case NEW_LEADER:
        new_leader(sim);
        break;
    case TMS_LOST:
    case TMS_REPLACED:
        lose_tms(sim);
        for (uint32_t i = 0; disturbance == TMS_REPLACED && i < 2; i++) {
            tm_start(&sim->tms[2 + i], 2 + i);
        }
        break;
    case SKIP:
        cancel_as(sim, 0, true);
        break;
    case CANCEL:
        cancel(sim, 0);
        break;
    case CONNECTIONS_DROPPED:
        for (uint32_t i = 0; i < 2; i++) {
            weir_dispatcher_tm_closed(sim->d, sim->tms[i].id, sim->now);
            sim->tms[i].registered = false;
        }
        break;
    case DISTURBANCES:
        ck_abort();
    }
}

/* _i: the steps before it. Each of: cancelled or failed; a drain that goes well, hangs a while or fails at first; a log in doubt or not; one task
 * to drain or two. That nothing was left undrained is checked by the kit. */
START_TEST(one_disturbance)
{
    uint32_t drains = 0;
    for (uint32_t variant = 0; variant < DISTURBANCES * 2 * 3 * 2 * 2; variant++) {
        enum disturbance disturbance = (enum disturbance)(variant % DISTURBANCES);
        bool cancelled = variant / DISTURBANCES % 2 == 0;
        bool doubtful = variant / (DISTURBANCES * 6) % 2 == 1;
        bool wide = variant / (DISTURBANCES * 12) == 1;
        struct sim *sim = sim_with_checkpoints(wide ? "wide" : "checkpoints");
        sim->drain_fate = (const enum weir_task_state[]){WEIR_TASK_FINISHED, WEIR_TASK_RUNNING, WEIR_TASK_FAILED}[variant / (DISTURBANCES * 2) % 3];
        if (cancelled) {
            cancel(sim, 0);
            commit_all(sim);
        } else {
            fail_for_good(sim);
        }
        for (int i = 0; i < _i; i++) {
            step_doubtful(sim, doubtful ? 2 : 0, STEP_MS);
        }
        bool recorded = meta_of(sim)->state != WEIR_META_LIVE; /* a failure that is not may be forgotten with its leader */
        disturb(sim, disturbance);
        for (int i = 0; i < STEPS; i++) {
            step_doubtful(sim, doubtful ? 2 : 0, STEP_MS);
        }
        if (disturbance == TMS_LOST) {
            run_quietly(sim, 15);
            tm_start(&sim->tms[2], 2);
        }
        if (disturbance == SKIP) { /* over soon, whatever the drain does */
            run_quietly(sim, 15);
            ck_assert(weir_job_state_terminal(state_of(sim, 0)));
        }
        sim->drain_fate = WEIR_TASK_FINISHED;
        run_quietly(sim, 60);
        enum weir_job_state state = state_of(sim, 0);
        if (disturbance == NEW_LEADER && !recorded && state == WEIR_JOB_RUNNING) {
            sim_destroy(sim);
            continue;
        }
        bool by_user = disturbance == SKIP || disturbance == CANCEL;
        ck_assert_msg(state == WEIR_JOB_CANCELED || (state == WEIR_JOB_FAILED && !cancelled), "variant %u: %s", variant, weir_job_state_name(state));
        ck_assert(cancelled || by_user || state == WEIR_JOB_FAILED);
        ck_assert(disturbance == SKIP || sim->drain_deploys > 0);
        drains += sim->drain_deploys;
        sim_destroy(sim);
    }
    ck_assert_uint_gt(drains, 40);
}
END_TEST

Suite *dispatcher_drain_suite(void);

Suite *dispatcher_drain_suite(void)
{
    Suite *suite = suite_create("dispatcher_drain");
    TCase *tcase = tcase_create("dispatcher_drain");
    tcase_add_test(tcase, a_cancelled_job_drains_first);
    tcase_add_test(tcase, a_failed_job_drains_first_and_keeps_its_cause);
    tcase_add_test(tcase, a_cancel_takes_over_the_drain_of_a_failure);
    tcase_add_test(tcase, a_job_without_checkpoints_owes_nothing);
    tcase_add_loop_test(tcase, a_drain_that_fails_is_tried_again_without_end, 0, 3);
    tcase_add_loop_test(tcase, what_cannot_be_drained_fails_the_job_and_is_named, 0, 4);
    tcase_add_test(tcase, a_drain_waits_for_slots);
    tcase_add_test(tcase, a_drain_is_placed_before_jobs_that_wait);
    tcase_add_loop_test(tcase, one_disturbance, 0, STEPS);
    suite_add_tcase(suite, tcase);
    return suite;
}
