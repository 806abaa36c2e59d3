/* The adaptive scheduler (adaptive.h, J9): the brain against the simulated world of dispatcher_test_kit.h. */
#include "jobmanager/job/dispatcher_test_kit.h"

enum { STABLE_MS = 500, INTERVAL_MS = 2000, WAIT_MS = 5000 };

static const struct weir_adaptive_settings adaptive = {
    .enabled = true, .wait_ms = WAIT_MS, .stabilization_ms = STABLE_MS, .interval_ms = INTERVAL_MS, .increase_min = 1};

static struct sim *adaptive_sim(const char *graph, uint32_t tms, uint32_t tm_slots)
{
    struct sim *sim = sim_create_as(1, &adaptive);
    sim->tm_slots = tm_slots;
    begin_job(sim, graph, tms);
    return sim;
}

/* It runs with that parallelism, and checkpoints of it complete. */
static void expect_parallelism(struct sim *sim, uint32_t parallelism, uint32_t asked)
{
    struct weir_job_view view = view_of(sim);
    ck_assert_int_eq(view.state, WEIR_JOB_RUNNING);
    ck_assert_uint_eq(weir_jobgraph_slots(view.graph), parallelism);
    ck_assert_uint_eq(view.ntasks, weir_jobgraph_tasks(view.graph));
    ck_assert_uint_eq(meta_of(sim)->parallelism_max, parallelism == asked ? 0 : parallelism);
    char text[64];
    (void)snprintf(text, sizeof(text), "runs with parallelism %u of %u: %u slot%s missing", parallelism, asked, asked - parallelism,
                   asked - parallelism == 1 ? " is" : "s are");
    if (parallelism == asked) {
        ck_assert_ptr_null(view.waiting_for);
    } else {
        ck_assert_str_eq(view.waiting_for, text);
    }
    uint32_t slots = 0;
    uint32_t running = 0;
    for (uint32_t i = 0; i < weir_tm_registry_count(weir_dispatcher_tms(sim->d)); i++) {
        slots += weir_tm_registry_at(weir_dispatcher_tms(sim->d), i)->slots_used;
    }
    for (uint32_t i = 0; i < TMS; i++) {
        for (uint32_t k = 0; sim->tms[i].alive && k < sim->tms[i].ntasks; k++) {
            running += sim->tms[i].tasks[k].state == WEIR_TASK_RUNNING;
        }
    }
    ck_assert_uint_eq(slots, parallelism);
    ck_assert_uint_eq(running, view.ntasks);
    uint32_t completions = sim->completions;
    run_quietly(sim, 3);
    ck_assert(view.checkpoints == NULL || (sim->completions > completions && newest_of(sim).run == meta_of(sim)->run));
}

/* A TaskManager comes, and the job grows onto it. */
static void expect_growth(struct sim *sim, uint32_t tm, uint32_t asked)
{
    tm_start(&sim->tms[tm], tm);
    run_quietly(sim, 30);
    expect_parallelism(sim, asked, asked);
}

/* TaskManager 1 comes, and the first attempt goes on as it is. */
static void expect_no_growth(struct sim *sim, uint32_t parallelism, uint32_t asked)
{
    tm_start(&sim->tms[1], 1);
    run_quietly(sim, 60);
    expect_parallelism(sim, parallelism, asked);
    ck_assert_uint_eq(meta_of(sim)->attempt, 1);
}

/* TaskManager 1 of a job that runs whole is lost, and the job waits. */
static void lose_one(struct sim *sim, uint32_t asked, int steps)
{
    expect_parallelism(sim, asked, asked);
    kill_tm(sim, 1);
    run_quietly(sim, steps);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RESTARTING);
}

/* A task fails, and the job or its region runs again. */
static void expect_restart(struct sim *sim, uint32_t parallelism, uint32_t asked)
{
    set_tasks(sim, WEIR_TASK_FAILED, 1);
    run_quietly(sim, 6);
    expect_parallelism(sim, parallelism, asked);
}

static void await(struct sim *sim, enum weir_job_state state, int steps)
{
    for (int i = 0; i < steps && state_of(sim, 0) != state; i++) {
        run_quietly(sim, 1);
    }
    ck_assert_int_eq(state_of(sim, 0), state);
}

START_TEST(a_job_begins_with_what_there_is_and_grows)
{
    struct sim *sim = adaptive_sim("quad", 1, 2);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CREATED);
    ck_assert_str_eq(view_of(sim).waiting_for, "4 slots needed, 2 free of 2 on 1 TaskManager; it goes on with those after "
                                               "jobmanager.adaptive-scheduler.resource-stabilization-timeout");
    run_quietly(sim, 4);
    expect_parallelism(sim, 2, 4);
    ck_assert_uint_eq(meta_of(sim)->run, 0);
    tm_start(&sim->tms[1], 1);
    run_quietly(sim, 10); /* stable, but too soon */
    ck_assert_uint_eq(meta_of(sim)->attempt, 1);
    run_quietly(sim, 15);
    expect_parallelism(sim, 4, 4);
    ck_assert_uint_eq(meta_of(sim)->attempt, 3); /* the second has drained */
    ck_assert_uint_eq(meta_of(sim)->run, 3);
    ck_assert_uint_eq(sim->drain_deploys, 1); /* where those sinks were */
    ck_assert_uint_eq(view_of(sim).nfailures, 0);
    ck_assert_uint_gt(sim->restores, 0);
    set_tasks(sim, WEIR_TASK_FINISHED, 99);
    run_quietly(sim, 3);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FINISHED);
    sim_destroy(sim);
}
END_TEST

/* _i: nothing comes, a TaskManager comes in time, later, or comes and goes. */
START_TEST(a_job_goes_on_with_less_when_a_task_manager_is_lost)
{
    struct sim *sim = adaptive_sim("quad", 2, 2);
    lose_one(sim, 4, 5);
    if (_i == 1 || _i == 3) {
        tm_start(&sim->tms[2], 2);
    }
    run_quietly(sim, 2);
    if (_i == 1) { /* nothing has shrunk, no drain was needed */
        expect_parallelism(sim, 4, 4);
        ck_assert_uint_eq(meta_of(sim)->run, 0);
        ck_assert_uint_eq(meta_of(sim)->attempt, 2);
        ck_assert_uint_eq(sim->drain_deploys, 0);
        sim_destroy(sim);
        return;
    }
    if (_i == 3) {
        kill_tm(sim, 2);
    }
    run_quietly(sim, 15);
    expect_parallelism(sim, 2, 4);
    ck_assert_uint_eq(view_of(sim).nfailures, 1 + (_i == 3));
    ck_assert_uint_gt(sim->drain_deploys, 0);
    ck_assert_uint_eq(meta_of(sim)->run, meta_of(sim)->attempt);
    if (_i == 2) {
        expect_growth(sim, 3, 4);
        ck_assert_uint_eq(view_of(sim).nfailures, 1);
    }
    expect_restart(sim, _i == 2 ? 4 : 2, 4); /* it has as many as before: nothing to wait for */
    cancel(sim, 0);
    run_quietly(sim, 20);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CANCELED);
    sim_destroy(sim);
}
END_TEST

START_TEST(without_any_slot_it_waits)
{
    struct sim *sim = adaptive_sim("quad", 0, 2);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CREATED);
    run_quietly(sim, 45);
    if (_i == 0) {
        run_quietly(sim, 5);
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FAILED);
        struct weir_job_view view = view_of(sim);
        ck_assert_ptr_nonnull(strstr(view.failures[0].text, "jobmanager.adaptive-scheduler.resource-wait-timeout: no TaskManager is registered"));
    } else { /* at the end of its patience it takes one that is not stable yet */
        tm_start(&sim->tms[0], 0);
        run_quietly(sim, 4);
        expect_parallelism(sim, 2, 4);
    }
    sim_destroy(sim);
}
END_TEST

START_TEST(a_region_that_finds_no_slot_takes_all_along)
{
    struct sim *sim = adaptive_sim("trio", 3, 1);
    lose_one(sim, 3, 6);
    ck_assert_int_eq(view_of(sim).tasks[0].state, WEIR_TASK_RUNNING); /* the others run on */
    ck_assert_uint_eq(view_of(sim).tasks[2].attempt, 1);
    if (_i == 1) { /* in time: its region alone */
        tm_start(&sim->tms[1], 1);
        run_quietly(sim, 4);
        expect_parallelism(sim, 3, 3);
        ck_assert_uint_eq(view_of(sim).tasks[0].attempt, 1);
        ck_assert_uint_eq(view_of(sim).tasks[1].attempt, 2);
    } else {
        run_quietly(sim, 12);
        expect_parallelism(sim, 2, 3);
        ck_assert_uint_eq(view_of(sim).nfailures, 1);
        expect_restart(sim, 2, 3); /* a region by itself, with the new numbers */
        ck_assert_uint_gt(meta_of(sim)->attempt, meta_of(sim)->base_attempt);
        expect_growth(sim, 1, 3);
    }
    sim_destroy(sim);
}
END_TEST

START_TEST(without_checkpoints_only_a_restart_changes_it)
{
    struct sim *sim = adaptive_sim("restart", 1, 1);
    run_quietly(sim, 5);
    expect_parallelism(sim, 1, 2);
    expect_no_growth(sim, 1, 2);
    expect_restart(sim, 2, 2);
    ck_assert_uint_eq(meta_of(sim)->attempt, 2); /* nothing to drain */
    sim_destroy(sim);
}
END_TEST

START_TEST(the_default_scheduler_waits_and_gives_back_what_it_asks_for)
{
    struct sim *sim = adaptive_sim("quad", 1, 2);
    run_quietly(sim, 6);
    expect_parallelism(sim, 2, 4);
    sim->adaptive.enabled = false; /* the next leader's configuration */
    new_leader(sim);
    sim->adaptive.enabled = true; /* drains between runs are all right */
    run_quietly(sim, 10);
    expect_parallelism(sim, 2, 4); /* adopted as it is */
    ck_assert_uint_eq(meta_of(sim)->attempt, 1);
    expect_no_growth(sim, 2, 4);
    set_tasks(sim, WEIR_TASK_FAILED, 1);
    run_quietly(sim, 10);
    expect_parallelism(sim, 4, 4);
    kill_tm(sim, 0);
    run_quietly(sim, 60);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RESTARTING);
    ck_assert_str_eq(view_of(sim).waiting_for, "4 slots needed, 2 free of 2 on 1 TaskManager");
    sim_destroy(sim);
}
END_TEST

/* Slots have come, and with a checkpoint the job would grow. _i: it does; but all its tasks have finished; or the checkpoint is its last one. */
START_TEST(a_job_that_ends_does_not_grow)
{
    struct sim *sim = adaptive_sim("quad", 1, 2);
    run_quietly(sim, 4);
    expect_parallelism(sim, 2, 4);
    tm_start(&sim->tms[1], 1);
    run_quietly(sim, 10);
    sim->input_ended = _i == 2;
    step(sim);
    run_until_proposed(sim, WEIR_HA_CKPT_COMPLETE);
    for (int i = 0; i < 10; i++) { /* the log takes its time */
        advance(sim, HEARTBEAT_MS / 2);
    }
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    if (_i == 1) {
        set_tasks(sim, WEIR_TASK_FINISHED, 99);
        ck_assert_uint_eq(sim->nproposals, 2);
        ck_assert_int_eq(proposed_kind(sim, 1), WEIR_HA_JOB_STATE);
    }
    uint64_t newest = newest_of(sim).id;
    decide(sim, 0, COMMIT);
    ck_assert_uint_gt(newest_of(sim).id, newest);
    ck_assert_int_eq(newest_of(sim).last, _i == 2);
    ck_assert_int_eq(state_of(sim, 0), _i == 0 ? WEIR_JOB_RESTARTING : WEIR_JOB_RUNNING);
    run_quietly(sim, 5);
    if (_i == 0) {
        expect_parallelism(sim, 4, 4);
    } else {
        set_tasks(sim, WEIR_TASK_FINISHED, 99);
        run_quietly(sim, 3);
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FINISHED);
        ck_assert_uint_eq(meta_of(sim)->attempt, 1);
    }
    sim_destroy(sim);
}
END_TEST

START_TEST(slots_go_back_where_they_were)
{
    struct sim *sim = adaptive_sim("quad", 2, 2);
    struct weir_job_view view = view_of(sim);
    char before[4][32];
    for (uint32_t s = 0; s < 4; s++) {
        (void)snprintf(before[s], sizeof(before[s]), "%s", view.tasks[s].tm_id);
    }
    tm_start(&sim->tms[2], 2); /* emptier than those */
    run_quietly(sim, 3);
    set_tasks(sim, WEIR_TASK_FAILED, 1);
    run_quietly(sim, 6);
    view = view_of(sim);
    for (uint32_t s = 0; s < 4; s++) {
        ck_assert_str_eq(view.tasks[s].tm_id, before[s]);
    }
    kill_tm(sim, 0);
    run_quietly(sim, 6);
    view = view_of(sim);
    for (uint32_t s = 0; s < 4; s++) {
        ck_assert_str_eq(view.tasks[s].tm_id, strcmp(before[s], sim->tms[0].id) == 0 ? sim->tms[2].id : before[s]);
    }
    sim_destroy(sim);
}
END_TEST

START_TEST(a_drain_that_fails_between_two_runs)
{
    struct sim *sim = adaptive_sim("quad", 2, 2);
    expect_parallelism(sim, 4, 4);
    sim->drain_fate = WEIR_TASK_FAILED;
    sim->failure_rc = _i == 0 ? WEIR_EXTERNAL : WEIR_CORRUPT;
    kill_tm(sim, 1);
    run_quietly(sim, 40);
    if (_i == 1) { /* damaged: the job is over, and says what it owes */
        await(sim, WEIR_JOB_FAILED, 20);
        ck_assert_ptr_nonnull(strstr(meta_of(sim)->text, "before it is rescaled the job cannot drain: boom"));
        ck_assert_ptr_nonnull(strstr(meta_of(sim)->text, "undrained: sink write (results), checkpoint "));
    } else {
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RESTARTING);
        ck_assert_ptr_nonnull(strstr(view_of(sim).waiting_for, "draining: sink write (results), checkpoint "));
        ck_assert_uint_eq(view_of(sim).nfailures, 1);
        sim->drain_fate = WEIR_TASK_FINISHED;
        run_quietly(sim, 90);
        expect_parallelism(sim, 2, 4);
    }
    sim_destroy(sim);
}
END_TEST

/* A zombie of a greater parallelism: its number is not taken for that of another task. */
START_TEST(a_subtask_that_is_no_more_has_no_part_in_checkpoints)
{
    struct sim *sim = adaptive_sim("quad", 1, 2);
    run_quietly(sim, 4);
    expect_parallelism(sim, 2, 4);
    for (int i = 0; i < 1000 && (sim->norders == 0 || sim->orders[0]->kind != WEIR_EFFECT_TRIGGER); i++) {
        step(sim);
    }
    ck_assert_int_eq(sim->orders[0]->kind, WEIR_EFFECT_TRIGGER);
    for (uint32_t subtask = 1; subtask < 5; subtask++) {
        const struct weir_ckpt_report report = {.job_id = weir_slice_str(job_id(0)),
                                                .attempt = meta_of(sim)->attempt,
                                                .checkpoint_id = sim->orders[0]->checkpoint_id,
                                                .handle = {.vertex = 0, .subtask = subtask, .path = "/c/state", .bytes = 10, .hash = 1}};
        struct weir_error err;
        ck_assert_int_eq(weir_dispatcher_ckpt_report(sim->d, sim->tms[0].id, sim->epoch, &report, sim->now, &err),
                         subtask < 2 ? WEIR_OK : subtask < 4 ? WEIR_STALE : WEIR_INVALID);
    }
    sim_destroy(sim);
}
END_TEST

/* --- a disturbance after each single event ----------------------------------------------------------------------------- */
enum { STEPS = 90, STEP_MS = 20 };

enum disturbance { NEW_LEADER, ANOTHER_TM_LOST, TM_COMES, CANCELLED, TASK_FAILS, DISTURBANCES };

static void disturb(struct sim *sim, enum disturbance disturbance)
{
    switch (disturbance) {
    case NEW_LEADER:
        new_leader(sim);
        break;
    case ANOTHER_TM_LOST:
        kill_tm(sim, 0);
        break;
    case TM_COMES:
        tm_start(&sim->tms[3], 3);
        break;
    case CANCELLED:
        cancel(sim, 0);
        break;
    case TASK_FAILS:
        set_tasks(sim, WEIR_TASK_FAILED, 1);
        break;
    case DISTURBANCES:
        ck_abort();
    }
}

/* _i: the steps before it, of a job that shrinks, or that grows. In the end it runs with all that there is. */
START_TEST(one_disturbance)
{
    for (uint32_t variant = 0; variant < DISTURBANCES * 8; variant++) {
        enum disturbance disturbance = (enum disturbance)(variant % DISTURBANCES);
        bool grows = variant / DISTURBANCES % 2 == 1;
        bool doubtful = variant / (DISTURBANCES * 2) % 2 == 1;
        bool regions = variant / (DISTURBANCES * 4) == 1;
        uint32_t asked = regions ? 3 : 4;
        struct sim *sim = adaptive_sim(regions ? "trio" : "quad", grows ? 1 : 2, 2);
        run_quietly(sim, grows ? 30 : 5);
        if (grows) {
            tm_start(&sim->tms[1], 1);
            run_quietly(sim, 5); /* it grows with the next checkpoint */
        } else {
            kill_tm(sim, 1);
            run_quietly(sim, 6);
        }
        for (int i = 0; i < _i; i++) {
            step_doubtful(sim, doubtful ? 3 : 0, STEP_MS);
        }
        disturb(sim, disturbance);
        for (int i = 0; i < STEPS; i++) {
            step_doubtful(sim, doubtful ? 3 : 0, STEP_MS);
        }
        if (disturbance == CANCELLED) {
            run_quietly(sim, 80);
            ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CANCELED);
            sim_destroy(sim);
            continue;
        }
        if (disturbance == ANOTHER_TM_LOST && !grows) {
            tm_start(&sim->tms[2], 2);
        }
        run_quietly(sim, 80);
        uint32_t slots = 0;
        for (uint32_t i = 0; i < TMS; i++) {
            slots += sim->tms[i].alive ? 2 : 0;
        }
        expect_parallelism(sim, slots < asked ? slots : asked, asked);
        sim_destroy(sim);
    }
}
END_TEST

Suite *dispatcher_adaptive_suite(void);

Suite *dispatcher_adaptive_suite(void)
{
    Suite *suite = suite_create("dispatcher_adaptive");
    TCase *tcase = tcase_create("dispatcher_adaptive");
    tcase_add_test(tcase, a_job_begins_with_what_there_is_and_grows);
    tcase_add_loop_test(tcase, a_job_goes_on_with_less_when_a_task_manager_is_lost, 0, 4);
    tcase_add_loop_test(tcase, without_any_slot_it_waits, 0, 2);
    tcase_add_loop_test(tcase, a_region_that_finds_no_slot_takes_all_along, 0, 2);
    tcase_add_test(tcase, without_checkpoints_only_a_restart_changes_it);
    tcase_add_test(tcase, the_default_scheduler_waits_and_gives_back_what_it_asks_for);
    tcase_add_loop_test(tcase, a_job_that_ends_does_not_grow, 0, 3);
    tcase_add_test(tcase, slots_go_back_where_they_were);
    tcase_add_loop_test(tcase, a_drain_that_fails_between_two_runs, 0, 2);
    tcase_add_test(tcase, a_subtask_that_is_no_more_has_no_part_in_checkpoints);
    tcase_add_loop_test(tcase, one_disturbance, 0, STEPS);
    suite_add_tcase(suite, tcase);
    return suite;
}
