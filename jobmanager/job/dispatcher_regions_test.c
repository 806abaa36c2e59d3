/* Failover of one pipelined region while the job's others go on: the brain against the simulated world of dispatcher_test_kit.h. */
#include "jobmanager/job/dispatcher_test_kit.h"

static bool find_task(struct sim *sim, uint32_t vertex, uint32_t subtask, struct fake_tm **out_tm, struct fake_task **out_task)
{
    bool found = false;
    for (uint32_t i = 0; i < TMS; i++) {
        for (uint32_t k = 0; sim->tms[i].alive && k < sim->tms[i].ntasks; k++) {
            struct fake_task *task = &sim->tms[i].tasks[k];
            if (task->vertex == vertex && task->subtask == subtask && (!found || task->attempt > (*out_task)->attempt)) {
                *out_tm = &sim->tms[i];
                *out_task = task;
                found = true;
            }
        }
    }
    return found;
}

static void fail_subtask(struct sim *sim, uint32_t vertex, uint32_t subtask)
{
    struct fake_tm *tm = NULL;
    struct fake_task *task = NULL;
    ck_assert(find_task(sim, vertex, subtask, &tm, &task));
    set_task(sim, tm, task, WEIR_TASK_FAILED);
}

/* The subtask runs in that attempt, in both vertices. */
static void expect_running(struct sim *sim, uint32_t subtask, uint32_t attempt)
{
    for (uint32_t vertex = 0; vertex < 2; vertex++) {
        struct fake_tm *tm = NULL;
        struct fake_task *task = NULL;
        ck_assert(find_task(sim, vertex, subtask, &tm, &task));
        ck_assert_uint_eq(task->attempt, attempt);
        ck_assert_int_eq(task->state, WEIR_TASK_RUNNING);
        struct weir_job_view view = view_of(sim);
        for (uint32_t i = 0; i < view.ntasks; i++) {
            if (view.tasks[i].vertex == vertex && view.tasks[i].subtask == subtask) {
                ck_assert_uint_eq(view.tasks[i].attempt, attempt);
                ck_assert_str_eq(view.tasks[i].tm_id, tm->id);
            }
        }
    }
}

static bool present(const struct sim *sim, uint32_t tm, uint32_t region, uint32_t attempt)
{
    struct weir_error err;
    bool is = false;
    ck_assert_int_eq(weir_dispatcher_attempt_is_present(sim->d, sim->tms[tm].id, sim->epoch, weir_slice_str(job_id(0)), region, attempt, &is, &err), WEIR_OK);
    return is;
}

START_TEST(the_failure_of_a_region_leaves_the_others_alone)
{
    struct sim *sim = running_sim(_i == 0 ? "pairs" : "pairs-bare", 2);
    run_quietly(sim, 10);
    uint32_t deploys = sim->deploys;
    uint32_t completions = sim->completions;
    fail_subtask(sim, 0, 1);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FAILING);
    for (uint32_t i = 0; i < sim->norders; i++) {
        ck_assert(sim->orders[i]->kind != WEIR_EFFECT_CANCEL || sim->orders[i]->region == 1);
    }
    ck_assert_uint_eq(weir_tm_registry_at(weir_dispatcher_tms(sim->d), 0)->slots_used, 1);
    run_quietly(sim, 10);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    expect_running(sim, 0, 1);
    expect_running(sim, 1, 2);
    ck_assert_uint_eq(sim->deploys, deploys + 1);
    ck_assert_uint_eq(meta_of(sim)->attempt, 2);
    ck_assert_uint_eq(meta_of(sim)->base_attempt, 1);
    struct weir_job_view view = view_of(sim);
    ck_assert_uint_eq(view.restarts, 1);
    ck_assert_uint_eq(view.nfailures, 1);
    ck_assert_str_eq(view.failures[0].task_name, "read (2/2)");
    uint32_t of_second = strcmp(view.tasks[1].tm_id, sim->tms[0].id) == 0 ? 0 : 1;
    ck_assert(present(sim, 0, 0, 1) && !present(sim, 0, 0, 2));
    ck_assert(present(sim, of_second, 1, 2) && !present(sim, of_second, 1, 1));
    if (_i == 0) { /* from the newest checkpoint, and they go on */
        ck_assert_uint_eq(sim->restores, 1);
        ck_assert_uint_gt(meta_of(sim)->restored_ckpt_id, 0);
        ck_assert_uint_gt(sim->completions, completions + 2);
        ck_assert_uint_eq(newest_of(sim).attempt, 2);
    }
    fail_subtask(sim, 1, 0); /* the other one's turn */
    run_quietly(sim, 10);
    expect_running(sim, 0, 3);
    expect_running(sim, 1, 2);
    set_tasks(sim, WEIR_TASK_FINISHED, 9);
    run_quietly(sim, 3);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FINISHED);
    ck_assert_uint_eq(sim->tms[0].ntasks + sim->tms[1].ntasks, 0);
    sim_destroy(sim);
}
END_TEST

START_TEST(the_pending_checkpoint_is_aborted_and_the_next_completes)
{
    struct sim *sim = running_sim("pairs", 2);
    uint64_t id = 0;
    for (int i = 0; i < 1000 && id == 0; i++) { /* until it is triggered, and one region has acknowledged */
        bool trigger = sim->nproposals == 0 && sim->norders > 0 && sim->orders[0]->kind == WEIR_EFFECT_TRIGGER;
        id = trigger ? sim->orders[0]->checkpoint_id : 0;
        step(sim);
    }
    ck_assert_uint_gt(id, 0);
    fail_subtask(sim, 0, 1);
    bool told = false;
    for (int i = 0; i < 200; i++) { /* what the others have of it is released, whatever comes first: its ABORT or the attempt */
        for (uint32_t k = 0; k < sim->norders; k++) {
            const struct weir_effect *order = sim->orders[k];
            if (order->kind == WEIR_EFFECT_NOTIFY && !order->completed && order->checkpoint_id == id) {
                told = true;
                ck_assert_uint_eq(order->attempt, 1); /* (K6) */
            }
        }
        if (_i == 1 && sim->nproposals > 0 && proposed_kind(sim, 0) == WEIR_HA_CKPT_ABORT) {
            decide(sim, 0, UNKNOWN_LOST);
        } else {
            step(sim);
        }
    }
    ck_assert(told);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    expect_running(sim, 0, 1);
    expect_running(sim, 1, 2);
    ck_assert_uint_gt(newest_of(sim).id, id);
    for (size_t i = 0; i < meta_of(sim)->nckpts; i++) {
        ck_assert_uint_ne(meta_of(sim)->ckpts[i].id, id);
    }
    const struct weir_ckpts_view *ckpts = view_of(sim).checkpoints;
    for (uint32_t i = 0; i < ckpts->nhistory; i++) {
        ck_assert(ckpts->history[i].id != id || ckpts->history[i].status == WEIR_CKPT_FAILED);
    }
    sim_destroy(sim);
}
END_TEST

/* A completion that waits in the log when a region fails: it counts, the region starts from it, and the others are told of it. */
START_TEST(a_completion_under_way_is_kept)
{
    struct sim *sim = running_sim("pairs", 2);
    run_until_proposed(sim, WEIR_HA_CKPT_COMPLETE);
    fail_subtask(sim, 1, 0);
    uint32_t completions = sim->completions;
    decide(sim, 0, COMMIT);
    ck_assert_uint_eq(sim->completions, completions + 2);
    uint64_t id = newest_of(sim).id;
    run_until_proposed(sim, WEIR_HA_ATTEMPT);
    decide(sim, 0, COMMIT);
    ck_assert_uint_eq(meta_of(sim)->restored_ckpt_id, id);
    bool again = false;
    for (uint32_t k = 0; k < sim->norders; k++) { /* repeated, with the number it began with: the new attempt is not meant */
        const struct weir_effect *order = sim->orders[k];
        again = again || (order->kind == WEIR_EFFECT_NOTIFY && order->completed && order->checkpoint_id == id && order->attempt == 1);
    }
    ck_assert(again);
    run_quietly(sim, 10);
    expect_running(sim, 0, 2);
    expect_running(sim, 1, 1);
    sim_destroy(sim);
}
END_TEST

/* The second fails while the first ends, waits, is proposed, is applied. */
START_TEST(two_regions_fail_at_different_times)
{
    struct sim *sim = running_sim("pairs", 2);
    run_quietly(sim, 5);
    fail_subtask(sim, 0, 1);
    for (int i = 0; i < _i; i++) {
        step(sim);
    }
    struct fake_tm *tm = NULL;
    struct fake_task *task = NULL;
    ck_assert(find_task(sim, 0, 0, &tm, &task));
    ck_assert_uint_eq(task->attempt, 1);
    set_task(sim, tm, task, WEIR_TASK_FAILED);
    run_quietly(sim, 15);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    uint32_t attempts[2] = {weir_meta_region_attempt(meta_of(sim), 0), weir_meta_region_attempt(meta_of(sim), 1)};
    expect_running(sim, 0, attempts[0]);
    expect_running(sim, 1, attempts[1]);
    ck_assert(attempts[1] == 2 && (attempts[0] == 2 || attempts[0] == 3));
    ck_assert_uint_eq(view_of(sim).nfailures, 2);
    uint32_t completions = sim->completions;
    run_quietly(sim, 5);
    ck_assert_uint_gt(sim->completions, completions);
    sim_destroy(sim);
}
END_TEST

START_TEST(a_new_leader_in_the_middle_restarts_only_what_is_missing)
{
    struct sim *sim = running_sim("pairs", 2);
    run_quietly(sim, 5);
    fail_subtask(sim, 0, 1);
    for (int i = 0; i < _i; i++) {
        step(sim);
    }
    new_leader(sim);
    run_quietly(sim, 30);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    expect_running(sim, 0, 1);
    expect_running(sim, 1, weir_meta_region_attempt(meta_of(sim), 1));
    ck_assert_uint_ge(meta_of(sim)->attempt, 2);
    uint32_t deploys = sim->deploys;
    uint32_t completions = sim->completions;
    new_leader(sim); /* whole, it is adopted with the attempts it has */
    run_quietly(sim, 10);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    ck_assert_uint_eq(sim->deploys, deploys);
    expect_running(sim, 0, 1);
    ck_assert_uint_gt(sim->completions, completions);
    sim_destroy(sim);
}
END_TEST

START_TEST(a_new_leader_misses_a_task_manager)
{
    struct sim *sim = running_sim("pairs", 2);
    run_quietly(sim, 5);
    stop_jm(sim);
    struct fake_tm *tm = NULL;
    struct fake_task *task = NULL;
    ck_assert(find_task(sim, 0, 1, &tm, &task));
    tm->alive = false;
    start_jm(sim);
    commit_all(sim);
    advance(sim, TIMEOUT_MS - 1);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RECONCILING);
    run_quietly(sim, 20); /* the one that is left has two slots */
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    expect_running(sim, 0, 1);
    expect_running(sim, 1, 2);
    sim_destroy(sim);
}
END_TEST

/* Regions 0 and 2 on one TaskManager, which goes: one failure, one attempt of two regions. There are slots for them only when another comes. */
START_TEST(a_lost_task_manager_takes_two_regions_along)
{
    struct sim *sim = running_sim("trio", 2);
    run_quietly(sim, 5);
    struct fake_tm *tm = NULL;
    struct fake_task *task = NULL;
    ck_assert(find_task(sim, 0, 2, &tm, &task));
    ck_assert_uint_eq(tm->ntasks, 4);
    kill_tm(sim, (uint32_t)(tm - sim->tms));
    run_quietly(sim, 20);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RESTARTING);
    expect_running(sim, 1, 1);
    struct weir_job_view view = view_of(sim);
    ck_assert_str_eq(view.waiting_for, "2 slots needed, 1 free of 2 on 1 TaskManager");
    ck_assert_uint_eq(view.nfailures, 1);
    tm_start(&sim->tms[2], 2);
    run_quietly(sim, 5);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    expect_running(sim, 0, 2);
    expect_running(sim, 1, 1);
    expect_running(sim, 2, 2);
    ck_assert_uint_eq(meta_of(sim)->nregions, 2);
    ck_assert_uint_eq(view_of(sim).restarts, 1);
    sim_destroy(sim);
}
END_TEST

START_TEST(a_job_is_cancelled_while_a_region_restarts)
{
    struct sim *sim = running_sim("pairs", 2);
    run_quietly(sim, 5);
    fail_subtask(sim, 0, 1);
    for (int i = 0; i < _i; i++) {
        step(sim);
    }
    cancel(sim, 0);
    run_quietly(sim, 30);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_CANCELED);
    ck_assert_ptr_null(view_of(sim).undrained); /* by an attempt of all its sinks */
    ck_assert_uint_eq(sim->tms[0].ntasks + sim->tms[1].ntasks, 0);
    ck_assert_uint_eq(weir_tm_registry_at(weir_dispatcher_tms(sim->d), 0)->slots_used, 0);
    sim_destroy(sim);
}
END_TEST

START_TEST(a_finished_region_stays_finished)
{
    struct sim *sim = running_sim("pairs-bare", 2);
    for (uint32_t vertex = 0; vertex < 2; vertex++) {
        struct fake_tm *tm = NULL;
        struct fake_task *task = NULL;
        ck_assert(find_task(sim, vertex, 0, &tm, &task));
        set_task(sim, tm, task, WEIR_TASK_FINISHED);
    }
    fail_subtask(sim, 1, 1);
    if (_i == 1) { /* also for the next leader */
        new_leader(sim);
    }
    run_quietly(sim, 20);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    expect_running(sim, 1, 2);
    ck_assert_uint_eq(weir_meta_region_attempt(meta_of(sim), 0), 1);
    set_tasks(sim, WEIR_TASK_FINISHED, 9);
    run_quietly(sim, 3);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FINISHED);
    sim_destroy(sim);
}
END_TEST

/* What the last checkpoint has finished can only end with a last checkpoint of all: (M9). */
START_TEST(after_the_last_checkpoint_all_regions_restart)
{
    struct sim *sim = running_sim("pairs", 2);
    sim->input_ended = true;
    if (_i == 1) { /* it completes while a region restarts */
        for (int i = 0; i < 1000; i++) {
            run_until_proposed(sim, WEIR_HA_CKPT_COMPLETE);
            uint64_t before = newest_of(sim).id;
            fail_subtask(sim, 0, 1);
            decide(sim, 0, COMMIT);
            if (newest_of(sim).id != before && newest_of(sim).last) {
                break;
            }
            run_quietly(sim, 10);
        }
    } else {
        run_quietly(sim, 10);
        fail_subtask(sim, 0, 1);
    }
    ck_assert(newest_of(sim).last);
    uint32_t before = meta_of(sim)->attempt;
    run_quietly(sim, 20);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    ck_assert_uint_eq(meta_of(sim)->attempt, before + 1);
    ck_assert_uint_eq(meta_of(sim)->base_attempt, before + 1);
    expect_running(sim, 0, before + 1);
    expect_running(sim, 1, before + 1);
    ck_assert(newest_of(sim).last);
    ck_assert_uint_eq(newest_of(sim).attempt, before + 1); /* taken again */
    sim_destroy(sim);
}
END_TEST

START_TEST(regions_that_share_slots_keep_them)
{
    struct sim *sim = running_sim("two", 1); /* both slots, both regions in each */
    submit(sim, 1, "plain");
    run_quietly(sim, 3);
    ck_assert_int_eq(state_of(sim, 1), WEIR_JOB_CREATED);
    fail_subtask(sim, 0, 1);
    run_quietly(sim, 10);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    ck_assert_int_eq(state_of(sim, 1), WEIR_JOB_CREATED); /* no slot was free for a moment */
    expect_running(sim, 0, 2);
    expect_running(sim, 1, 2);
    struct weir_job_view view = view_of(sim);
    for (uint32_t i = 4; i < view.ntasks; i++) {
        ck_assert_uint_eq(view.tasks[i].attempt, 1);
        ck_assert_int_eq(view.tasks[i].state, WEIR_TASK_RUNNING);
    }
    sim_destroy(sim);
}
END_TEST

START_TEST(what_the_strategy_does_not_allow_ends_the_whole_job)
{
    struct sim *sim = running_sim("pairs-bare", 2);
    for (uint32_t failures = 1; failures <= 4; failures++) { /* three restarts in all, of whatever region */
        ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
        fail_subtask(sim, 0, failures % 2);
        run_quietly(sim, 10);
    }
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FAILED);
    ck_assert_uint_eq(sim->tms[0].ntasks + sim->tms[1].ntasks, 0);
    sim_destroy(sim);
    sim = running_sim("pairs", 2);
    run_quietly(sim, 5);
    fail_subtask(sim, 0, 0);
    for (int i = 0; i < _i; i++) {
        step(sim);
    }
    sim->failure_rc = WEIR_CORRUPT; /* will not pass, while the other restarts, or is proposed, or deployed */
    fail_subtask(sim, 0, 1);
    run_quietly(sim, 30);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_FAILED);
    ck_assert_uint_eq(sim->tms[0].ntasks + sim->tms[1].ntasks, 0);
    sim_destroy(sim);
}
END_TEST

/* An order that was told to a TaskManager twice, and one that comes after the region was cancelled. */
START_TEST(an_order_for_an_older_region_does_not_start_it_again)
{
    struct sim *sim = running_sim("pairs", 2);
    run_quietly(sim, 5);
    fail_subtask(sim, 0, 1);
    run_until_proposed(sim, WEIR_HA_ATTEMPT);
    decide(sim, 0, COMMIT);
    while (sim->norders > 0 && sim->orders[0]->kind != WEIR_EFFECT_DEPLOY) {
        deliver(sim, 0, false);
    }
    ck_assert_uint_gt(sim->norders, 0);
    deliver(sim, 0, true); /* lost: it is sent again */
    uint32_t again = 0;
    for (uint32_t i = 0; i < sim->norders; i++) {
        again += sim->orders[i]->kind == WEIR_EFFECT_DEPLOY && sim->orders[i]->attempt == 2;
    }
    ck_assert_uint_eq(again, 1);
    run_quietly(sim, 10);
    expect_running(sim, 0, 1);
    expect_running(sim, 1, 2);
    sim_destroy(sim);
}
END_TEST

Suite *dispatcher_regions_suite(void);
Suite *dispatcher_regions_suite(void)
{
    enum { STEPS = 40 };
    Suite *suite = suite_create("dispatcher_regions");
    TCase *tcase = tcase_create("all");
    tcase_add_loop_test(tcase, the_failure_of_a_region_leaves_the_others_alone, 0, 2);
    tcase_add_loop_test(tcase, the_pending_checkpoint_is_aborted_and_the_next_completes, 0, 2);
    tcase_add_test(tcase, a_completion_under_way_is_kept);
    tcase_add_loop_test(tcase, two_regions_fail_at_different_times, 0, STEPS);
    tcase_add_loop_test(tcase, a_new_leader_in_the_middle_restarts_only_what_is_missing, 0, STEPS);
    tcase_add_test(tcase, a_new_leader_misses_a_task_manager);
    tcase_add_test(tcase, a_lost_task_manager_takes_two_regions_along);
    tcase_add_loop_test(tcase, a_job_is_cancelled_while_a_region_restarts, 0, STEPS);
    tcase_add_loop_test(tcase, a_finished_region_stays_finished, 0, 2);
    tcase_add_loop_test(tcase, after_the_last_checkpoint_all_regions_restart, 0, 2);
    tcase_add_test(tcase, regions_that_share_slots_keep_them);
    tcase_add_loop_test(tcase, what_the_strategy_does_not_allow_ends_the_whole_job, 0, STEPS);
    tcase_add_test(tcase, an_order_for_an_older_region_does_not_start_it_again);
    suite_add_tcase(suite, tcase);
    return suite;
}
