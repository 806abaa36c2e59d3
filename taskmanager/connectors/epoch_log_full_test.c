/*
 * The epoch log at a disk without room (E9, F4): nothing fails, nothing is lost or doubled, memory and tries are bounded, and a failed fsync is no lack of
 * room. The random model of epoch_log_test.c has full disks too.
 */
#include "taskmanager/connectors/epoch_log_test_kit.h"

/* One record; its salt is noted when it was taken. */
static enum weir_rc append_one(struct model *model, struct weir_error *err)
{
    struct weir_buf bytes = {0};
    uint64_t salt = 3 + 200 * model->live->salts.len; /* of 11 bytes */
    record_put(&bytes, salt);
    uint32_t end = (uint32_t)bytes.len;
    enum weir_rc rc = weir_epoch_log_append(model->live->log, weir_buf_slice(&bytes), &end, 1, err);
    if (rc == WEIR_OK) {
        salts_put(&model->live->salts, salt);
    }
    weir_buf_fini(&bytes);
    return rc;
}

static enum weir_rc pump_prepare(struct model *model, uint64_t checkpoint, struct weir_error *err)
{
    enum weir_rc rc;
    weir_buf_clear(&model->live->state);
    while ((rc = weir_epoch_log_prepare(model->live->log, checkpoint, &model->live->state, err)) == WEIR_AGAIN) {
        ck_assert(attempt_work(model->live));
    }
    return rc;
}

/* A checkpoint that must succeed; then everything comes out. */
static void complete_and_drain(struct model *model)
{
    struct weir_error err;
    enum weir_rc rc;
    give_room(model, UINT64_MAX);
    ck_assert(prepare(model, model->live));
    ck_assert_uint_gt(model->live->pending, 0);
    decide(model, model->live, true);
    ck_assert(notify(model, model->live));
    while ((rc = weir_epoch_log_drain(model->live->log, &err)) == WEIR_AGAIN) {
        ck_assert(go_on(model, model->live));
    }
    ck_assert_int_eq(rc, WEIR_OK);
    ck_assert_uint_eq(model->broker.visible.len, model->live->salts.len);
    check(model);
}

START_TEST(input_waits_and_checkpoints_are_declined_until_there_is_room)
{
    struct model model;
    struct weir_error err;
    int64_t wait_ms;
    calm_init(&model, 1);
    ck_assert(append_some(&model, model.live));
    ck_assert(prepare(&model, model.live)); /* checkpoint 1; committed below */
    size_t first = model.live->salts.len;
    give_room(&model, 0);
    enum weir_rc rc;
    while ((rc = append_one(&model, &err)) == WEIR_OK || attempt_work(model.live)) {
    }
    ck_assert_int_eq(rc, WEIR_AGAIN);
    size_t held = model.live->salts.len;
    ck_assert_uint_le(held - first, 2 * (small.fill_bytes + 11) / 11); /* two buffers of records of 11 bytes */
    ck_assert(weir_epoch_log_stalled(model.live->log, &wait_ms, &err));
    ck_assert_int_eq(wait_ms, WEIR__EPOCH_LOG_RETRY_MS);
    ck_assert_int_eq(err.rc, WEIR_RESOURCE);
    ck_assert_ptr_nonnull(strstr(err.text, "/log/3-0-1-1: no space left"));
    for (int tries = 0; tries < 3; tries++) { /* one try each time-out, no more */
        weir_clock_virtual_advance(&model.kit.clock, (WEIR__EPOCH_LOG_RETRY_MS - 1) * 1000000LL);
        ck_assert_int_eq(append_one(&model, &err), WEIR_AGAIN);
        ck_assert_ptr_null(model.live->work);
        weir_clock_virtual_advance(&model.kit.clock, 1000000);
        ck_assert(weir_epoch_log_stalled(model.live->log, &wait_ms, &err));
        ck_assert_int_eq(wait_ms, 0);
        ck_assert_int_eq(append_one(&model, &err), WEIR_AGAIN);
        ck_assert(!weir_epoch_log_stalled(model.live->log, &wait_ms, &err)); /* a wake comes */
        ck_assert_int_eq(append_one(&model, &err), WEIR_AGAIN);              /* what waits does not grow */
        ck_assert(attempt_work(model.live));
        ck_assert_int_eq(append_one(&model, &err), WEIR_AGAIN);
    }
    chk_make(&model, 2);
    ck_assert_int_eq(pump_prepare(&model, 2, &err), WEIR_RESOURCE);
    ck_assert_ptr_nonnull(strstr(err.text, "no space left"));
    ck_assert_uint_eq(model.live->state.len, 0);
    chk_remove(&model, 2);
    model.checkpoints = 2;
    decide(&model, model.live, true); /* what is committed comes out meanwhile */
    model.live->salts.len = held;
    ck_assert(notify(&model, model.live));
    ck_assert(drain_some(&model, model.live, PUMP_MAX));
    ck_assert_uint_eq(model.broker.visible.len, first);
    give_room(&model, UINT64_MAX);
    weir_clock_virtual_advance(&model.kit.clock, WEIR__EPOCH_LOG_RETRY_MS * 1000000LL);
    ck_assert_int_eq(append_one(&model, &err), WEIR_AGAIN);
    ck_assert(attempt_work(model.live));
    ck_assert_int_eq(append_one(&model, &err), WEIR_OK);
    ck_assert(!weir_epoch_log_stalled(model.live->log, &wait_ms, &err));
    complete_and_drain(&model);
    ck_assert_uint_eq(model.broker.visible.len, held + 1);
    model_fini(&model);
}
END_TEST

/* Room for so many bytes, then for none: wherever it ends, in a header, a block, before a link, the next checkpoint has everything. */
START_TEST(it_goes_on_wherever_the_room_ended)
{
    bool declined = true;
    for (uint64_t room = 0; declined; room++) {
        struct model model;
        struct weir_error err;
        calm_init(&model, 1);
        chk_make(&model, 1);
        give_room(&model, room);
        for (int i = 0; i < 9; i++) {
            ck_assert_int_eq(append_one(&model, &err), WEIR_OK);
        }
        model.checkpoints = 1;
        enum weir_rc rc = pump_prepare(&model, 1, &err);
        ck_assert(rc == WEIR_RESOURCE || (rc == WEIR_OK && room > 9 * 11));
        declined = rc == WEIR_RESOURCE;
        give_room(&model, UINT64_MAX);
        chk_remove(&model, 1);
        if (room % 2 == 0) {
            ck_assert_int_eq(append_one(&model, &err), WEIR_OK);
        }
        if (room % 3 == 0) { /* declined again, without a single byte more */
            chk_make(&model, 2);
            give_room(&model, 0);
            ck_assert_int_eq(pump_prepare(&model, 2, &err), WEIR_RESOURCE);
            give_room(&model, UINT64_MAX);
            chk_remove(&model, 2);
        }
        model.checkpoints = 2;
        complete_and_drain(&model);
        model_fini(&model);
    }
}
END_TEST

/* RESOURCE of each call in turn: a lack of room costs the checkpoint at most, but behind a failed fsync nobody knows what is on the disk. */
START_TEST(an_fsync_that_fails_is_no_lack_of_room)
{
    uint32_t failures = 0, declines = 0;
    bool over = false;
    for (uint64_t nth = 1; !over; nth++) {
        struct model model;
        struct weir_error err;
        calm_init(&model, 1);
        chk_make(&model, 1);
        for (int i = 0; i < 9; i++) {
            ck_assert_int_eq(append_one(&model, &err), WEIR_OK);
        }
        model.checkpoints = 1;
        weir_fs_sim_fail(model.fs, (struct weir_fs_sim_fault){.nth = nth, .rc = WEIR_RESOURCE});
        enum weir_rc rc = pump_prepare(&model, 1, &err);
        over = !weir_fs_sim_failed(model.fs);
        weir_fs_sim_fail(model.fs, (struct weir_fs_sim_fault){0});
        ck_assert(rc == WEIR_IO || rc == WEIR_RESOURCE || over);
        failures += rc == WEIR_IO;
        declines += rc == WEIR_RESOURCE;
        chk_remove(&model, 1);
        if (rc == WEIR_IO) { /* for good */
            ck_assert_int_eq(weir_epoch_log_drain(model.live->log, &err), WEIR_IO);
        } else {
            complete_and_drain(&model);
        }
        model_fini(&model);
    }
    ck_assert_uint_eq(failures, 1);
    ck_assert_uint_gt(declines, 5); /* mkdirs, list, create, two appends, link, fsync of the directory */
}
END_TEST

START_TEST(restoring_waits_for_room)
{
    struct model model;
    struct weir_error err;
    int64_t wait_ms;
    calm_init(&model, 1);
    for (int i = 0; i < 3; i++) { /* three segments; the last is the checkpoint's whole of undrained ones */
        ck_assert(append_some(&model, model.live));
        ck_assert(prepare(&model, model.live));
        decide(&model, model.live, true);
    }
    attempt_end(&model.live, true);
    model.live = attempt_create(&model);
    struct weir_slice state = weir_buf_slice(&model.committed_state);
    give_room(&model, 0);
    enum weir_rc rc = weir_epoch_log_restore(model.live->log, model.committed, state, &err);
    for (int tries = 0; tries < 3; tries++) {
        ck_assert_int_eq(rc, WEIR_AGAIN);
        ck_assert(attempt_work(model.live));
        ck_assert(weir_epoch_log_stalled(model.live->log, &wait_ms, &err));
        ck_assert_int_eq(wait_ms, WEIR__EPOCH_LOG_RETRY_MS);
        ck_assert_int_eq(weir_epoch_log_restore(model.live->log, model.committed, state, &err), WEIR_AGAIN);
        ck_assert_ptr_null(model.live->work);
        weir_clock_virtual_advance(&model.kit.clock, wait_ms * 1000000);
        rc = weir_epoch_log_restore(model.live->log, model.committed, state, &err);
    }
    weir_fs_sim_room(model.fs, UINT64_MAX);
    weir_fs_sim_fail(model.fs, (struct weir_fs_sim_fault){.nth = 5, .rc = WEIR_RESOURCE}); /* in the middle: some are linked already */
    ck_assert(restore(&model, model.live));
    ck_assert(weir_fs_sim_failed(model.fs));
    complete_and_drain(&model);
    model_fini(&model);
}
END_TEST

/* _i: while it restores, and while input waits. What has ended the drain is heard all the same. */
START_TEST(without_room_the_drains_end_is_heard)
{
    struct model model;
    struct weir_error err;
    int64_t wait_ms;
    bool restores = _i == 0;
    enum weir_rc rc;
    calm_init(&model, 1);
    ck_assert(append_some(&model, model.live));
    ck_assert(prepare(&model, model.live));
    decide(&model, model.live, true);
    if (restores) {
        attempt_end(&model.live, true);
        model.live = attempt_create(&model);
        give_room(&model, 0);
        while ((rc = weir_epoch_log_restore(model.live->log, model.committed, weir_buf_slice(&model.committed_state), &err)) == WEIR_AGAIN &&
               attempt_work(model.live)) {
        }
    } else {
        ck_assert_int_eq(weir__drain_step(weir__epoch_log_drain_of(model.live->log)), WEIR__DRAIN_RAN);
        give_room(&model, 0);
        while ((rc = append_one(&model, &err)) == WEIR_OK || attempt_work(model.live)) {
        }
        ck_assert(notify(&model, model.live));
        model.broker.epoch++; /* somebody else has fenced it */
    }
    ck_assert_int_eq(rc, WEIR_AGAIN);
    ck_assert(weir_epoch_log_stalled(model.live->log, &wait_ms, &err));
    model.broker.refuses = restores;
    while (weir__drain_step(weir__epoch_log_drain_of(model.live->log)) != WEIR__DRAIN_OVER) {
    }
    if (restores) {
        rc = weir_epoch_log_restore(model.live->log, model.committed, weir_buf_slice(&model.committed_state), &err);
        ck_assert_int_eq(rc, WEIR_REFUSED);
    } else {
        ck_assert_int_eq(append_one(&model, &err), WEIR_EXTERNAL);
        ck_assert_ptr_nonnull(strstr(err.text, "another attempt has taken the output over"));
    }
    model_fini(&model);
}
END_TEST

Suite *epoch_log_full_suite(void);

Suite *epoch_log_full_suite(void)
{
    Suite *suite = suite_create("epoch_log_full");
    TCase *tcase = tcase_create("epoch_log_full");
    tcase_add_test(tcase, input_waits_and_checkpoints_are_declined_until_there_is_room);
    tcase_add_test(tcase, it_goes_on_wherever_the_room_ended);
    tcase_add_test(tcase, an_fsync_that_fails_is_no_lack_of_room);
    tcase_add_test(tcase, restoring_waits_for_room);
    tcase_add_loop_test(tcase, without_room_the_drains_end_is_heard, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
