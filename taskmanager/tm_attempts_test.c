/*
 * The test's thread is the TaskManager's mailbox thread; the tasks are real, each a region of its own that generates rows without end.
 */
#include "taskmanager/tm_attempts_test_kit.h"

static enum weir_rc trigger_in(struct kit *kit, uint32_t attempt, const char *root, struct weir_error *err)
{
    char directory[128];
    kit->checkpoint++;
    (void)snprintf(directory, sizeof(directory), "%s/%s/chk-%u", root, kit_job_id, (unsigned)kit->checkpoint);
    return weir_tm_attempts_trigger(kit->attempts, kit_job_id, attempt, kit->checkpoint, directory, err);
}

/* What of the job, up to that attempt, was not told to end, takes part in checkpoints. */
static enum weir_rc trigger(struct kit *kit, uint32_t attempt)
{
    struct weir_error err;
    return trigger_in(kit, attempt, "/nowhere", &err);
}

START_TEST(a_checkpoint_elsewhere_is_refused)
{
    struct kit kit;
    struct weir_error err = {0};
    kit_init(&kit);
    kit_deploy_and_run(&kit, 1, TASKS);
    ck_assert_int_eq(trigger_in(&kit, 1, "/elsewhere", &err), WEIR_INVALID);
    ck_assert_msg(strstr(err.text, "/elsewhere/") != NULL && strstr(err.text, "/nowhere/") != NULL && strstr(err.text, "state.checkpoints.dir") != NULL,
                  "%s", err.text);
    ck_assert_int_eq(trigger(&kit, 1), WEIR_OK);
    kit_run_until(&kit, &kit.snapshots[1], TASKS);
    ck_assert_uint_eq(kit.snapshots[1], TASKS);
    ck_assert_uint_eq(kit.oldest_snapshot, kit.checkpoint); /* none of the one that was refused */
    kit_fini(&kit);
}
END_TEST

/* Up to and including the attempt that it names. */
START_TEST(a_cancel_is_for_its_attempt_and_those_before)
{
    static const uint32_t regions[] = {0, 1};
    const uint32_t nregions = _i == 0 ? 0 : TASKS; /* the whole job, or all regions by name */
    struct kit kit;
    kit_init(&kit);
    kit_deploy_and_run(&kit, 2, TASKS);
    weir_tm_attempts_cancel(kit.attempts, kit_job_id, regions, nregions, 1); /* of an attempt that never came here */
    ck_assert_int_eq(trigger(&kit, 1), WEIR_NOT_FOUND);
    ck_assert_int_eq(trigger(&kit, 2), WEIR_OK);
    kit_run_until(&kit, &kit.snapshots[2], TASKS); /* both live */
    ck_assert_int_eq(kit_deploy(&kit, 1, TASKS), WEIR_STALE);
    ck_assert_int_eq(kit_deploy(&kit, 2, TASKS), WEIR_OK); /* A1 */
    ck_assert_uint_eq(weir_tm_attempts_tasks(kit.attempts), TASKS);

    weir_tm_attempts_cancel(kit.attempts, "another job", regions, nregions, 2);
    ck_assert_int_eq(trigger(&kit, 2), WEIR_OK);
    weir_tm_attempts_cancel(kit.attempts, kit_job_id, regions, nregions, 2);
    ck_assert_int_eq(trigger(&kit, 2), WEIR_NOT_FOUND);
    kit_run_until(&kit, &kit.count[2][WEIR__CONTROL__TASK_STATE__TASK_CANCELED], TASKS);
    ck_assert_int_eq(kit_deploy(&kit, 2, TASKS), WEIR_STALE);

    kit_deploy_and_run(&kit, 3, TASKS);
    weir_tm_attempts_cancel(kit.attempts, kit_job_id, regions, nregions, 4);
    ck_assert_int_eq(trigger(&kit, 3), WEIR_NOT_FOUND);
    ck_assert_int_eq(kit_deploy(&kit, 4, TASKS), WEIR_STALE);
    kit_fini(&kit);
}
END_TEST

START_TEST(a_cancel_is_for_its_regions)
{
    static const uint32_t first = 0;
    static const uint32_t second = 1;
    struct kit kit;
    kit_init(&kit);
    kit_deploy_and_run(&kit, 2, TASKS);
    weir_tm_attempts_cancel(kit.attempts, kit_job_id, &first, 1, 2);
    kit_run_until(&kit, &kit.count[2][WEIR__CONTROL__TASK_STATE__TASK_CANCELED], 1);
    ck_assert_int_eq(trigger(&kit, 2), WEIR_OK);
    kit_run_until(&kit, &kit.snapshots[2], 1);
    ck_assert_uint_eq(weir_tm_attempts_live(kit.attempts), 1);
    kit_deploy_and_run(&kit, 3, 1); /* the region that was canceled */
    ck_assert_uint_eq(weir_tm_attempts_live(kit.attempts), 2);
    ck_assert_uint_eq(kit.count[2][WEIR__CONTROL__TASK_STATE__TASK_CANCELED], 1);
    weir_tm_attempts_cancel(kit.attempts, kit_job_id, &second, 1, 3);
    ck_assert_int_eq(trigger(&kit, 2), WEIR_NOT_FOUND);
    ck_assert_int_eq(trigger(&kit, 3), WEIR_OK);
    kit_fini(&kit);
}
END_TEST

static void wake(void *ctx)
{
    weir_waker_wake(ctx);
}

/* The consumer end of a channel of that attempt, which a peer has not opened yet. */
static struct weir_channel *expect_channel(struct kit *kit, const struct weir_schema *schema, uint32_t region, uint32_t attempt)
{
    struct weir_channel *channel = weir_channel_create(1 << 20);
    const struct weir_channel_id id = {.job_id = kit_job_id, .region = region, .attempt = attempt, .edge = 1, .from = 1, .to = 1};
    weir_channel_set_consumer_take(channel, (struct weir_channel_wake){.wake = wake, .ctx = kit->waker});
    weir_links_receive_take(kit->links, &id, schema, channel);
    return channel;
}

/* Peers that have not heard of the cancel yet: their channels are broken, those they open later too, and nobody waits for them. */
START_TEST(a_cancel_breaks_the_channels_of_its_regions)
{
    static const uint32_t first = 0;
    struct kit kit;
    struct weir_error err;
    struct weir_field field = {"n", weir_type_of(WEIR_TYPE_BIGINT)};
    struct weir_schema *schema = NULL;
    kit_init(&kit);
    ck_assert_int_eq(weir_schema_create(&field, 1, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    kit_deploy_and_run(&kit, 2, TASKS);
    struct weir_channel *open[] = {expect_channel(&kit, schema, 1, 2), expect_channel(&kit, schema, 0, 3), expect_channel(&kit, schema, 0, 2)};
    weir_tm_attempts_cancel(kit.attempts, kit_job_id, &first, 1, 2);
    struct weir_channel *late = expect_channel(&kit, schema, 0, 1);
    while (!weir_channel_closed(open[2]) || !weir_channel_closed(late)) { /* only that ends this wait */
        weir_test_await_mail(kit.waker, kit.mailbox, -1);
        (void)weir_mailbox_run(kit.mailbox, 16);
    }
    ck_assert(!weir_channel_closed(open[0])); /* the other region's */
    ck_assert(!weir_channel_closed(open[1])); /* the next attempt's */
    weir_channel_release_consumer(late);
    for (int i = 0; i < 3; i++) {
        weir_channel_release_consumer(open[i]);
    }
    weir_schema_unref(schema);
    kit_fini(&kit);
}
END_TEST

/* A3, A2. */
START_TEST(a_newer_attempt_takes_the_place)
{
    struct kit kit;
    kit_init(&kit);
    kit_deploy_and_run(&kit, 2, TASKS);
    kit_deploy_and_run(&kit, 3, TASKS);
    ck_assert_int_eq(trigger(&kit, 2), WEIR_NOT_FOUND);
    kit_run_until(&kit, &kit.count[2][WEIR__CONTROL__TASK_STATE__TASK_CANCELED], TASKS);
    ck_assert_uint_eq(weir_tm_attempts_live(kit.attempts), TASKS);
    ck_assert_uint_eq(weir_tm_attempts_tasks(kit.attempts), 2 * TASKS);
    for (uint32_t i = 0; i < TASKS; i++) {
        weir_tm_attempts_acked(kit.attempts, kit_job_id, 2, 0, i, WEIR__CONTROL__TASK_STATE__TASK_RUNNING); /* of before */
        ck_assert_uint_eq(weir_tm_attempts_tasks(kit.attempts), 2 * TASKS - i);
        weir_tm_attempts_acked(kit.attempts, kit_job_id, 2, 0, i, WEIR__CONTROL__TASK_STATE__TASK_CANCELED);
        ck_assert_uint_eq(weir_tm_attempts_tasks(kit.attempts), 2 * TASKS - 1 - i);
    }
    ck_assert_int_eq(kit_deploy(&kit, 2, TASKS), WEIR_STALE);
    kit_fini(&kit);
}
END_TEST

Suite *tm_attempts_suite(void);
Suite *tm_attempts_suite(void)
{
    Suite *suite = suite_create("tm_attempts");
    TCase *tc = tcase_create("all");
    tcase_add_loop_test(tc, a_cancel_is_for_its_attempt_and_those_before, 0, 2);
    tcase_add_test(tc, a_cancel_is_for_its_regions);
    tcase_add_test(tc, a_cancel_breaks_the_channels_of_its_regions);
    tcase_add_test(tc, a_checkpoint_elsewhere_is_refused);
    tcase_add_test(tc, a_newer_attempt_takes_the_place);
    suite_add_tcase(suite, tc);
    return suite;
}
