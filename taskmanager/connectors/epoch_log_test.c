/*
 * The epoch log through random crashes, losses of power, failing and full disks, zombies, aborted and unnotified checkpoints; and the proof that the oracle can
 * tell: a target that reads its cursor before it fences (RELIABILITY D4) is caught.
 */
#include "taskmanager/connectors/epoch_log_test_kit.h"

enum { SEEDS = 400, CONTROL_SEEDS = 60, STEPS = 70 };

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
    if (dice < 24) {
        give_room(model, dice < 21 ? weir_rand_below(&model->rand, 1000) : UINT64_MAX);
        return true;
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
    give_room(model, UINT64_MAX);
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
    model->broker.meanwhile = model_meanwhile;
    model->broker.ctx = model;
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
    ck_assert_uint_gt(caught, CONTROL_SEEDS / 4);
}
END_TEST


Suite *epoch_log_suite(void);

Suite *epoch_log_suite(void)
{
    Suite *suite = suite_create("epoch_log");
    TCase *tcase = tcase_create("epoch_log");
    tcase_add_loop_test(tcase, what_is_committed_comes_out_once_and_in_order, 0, 2);
    tcase_add_test(tcase, a_cursor_read_before_fencing_is_caught);
    suite_add_tcase(suite, tcase);
    return suite;
}
