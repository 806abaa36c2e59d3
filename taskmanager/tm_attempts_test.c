/*
 * The test's thread is the TaskManager's mailbox thread; the tasks are real, each a region of its own that generates rows without end.
 */
#include "taskmanager/tm_attempts.h"

#include "common/fs/fs_local.h"
#include "taskmanager/tm_deploy_test_kit.h"
#include "tests/lib/mails.h"

#include <stdio.h>
#include <unistd.h>

enum { TASKS = 2, ATTEMPTS_MAX = 8, SPLIT_BYTES = 8 };

struct kit {
    struct weir_log_sink *sink;
    struct weir_log *log;
    struct weir_waker *waker;
    struct weir_mailbox *mailbox;
    struct weir_timers timers;
    struct weir_pool *pool;
    struct weir_fs *fs;
    struct weir_mem *mem;
    struct weir_links *links;
    struct weir_tm_leases *leases;
    struct weir_tm_fences *fences;
    struct weir_tm_attempts *attempts;
    uint32_t count[ATTEMPTS_MAX][WEIR__CONTROL__TASK_STATE__TASK_FAILED + 1]; /* how many tasks have told that state */
    uint32_t snapshots[ATTEMPTS_MAX];
    uint64_t checkpoint; /* the newest */
};

static char job_id[] = "0123456789abcdef0123456789abcdef";

static void on_change(void *ctx, const struct weir_tm_status *status)
{
    struct kit *kit = ctx;
    ck_assert_str_eq(status->job_id, job_id);
    ck_assert_int_ne(status->state, WEIR__CONTROL__TASK_STATE__TASK_FAILED);
    kit->count[status->attempt][status->state]++;
}

static void on_snapshot(void *ctx, const struct weir_tm_status *status, const struct weir_task_snapshot *snapshot)
{
    struct kit *kit = ctx;
    kit->snapshots[status->attempt]++;
    ck_assert_uint_le(snapshot->checkpoint, kit->checkpoint);
}

static void never_ask_lease(void *ctx, struct weir_tm_lease_question *question_take)
{
    (void)ctx;
    weir_tm_leases_answer(question_take, WEIR_CANCELED, "");
    ck_abort();
}

static void never_ask_fence(void *ctx, const struct weir_tm_fence_of *of, struct weir_tm_fence_question *question_take)
{
    (void)ctx;
    (void)of;
    weir_tm_fences_answer(question_take, WEIR_CANCELED, "");
    ck_abort();
}

static void never_told(void *ctx, const struct weir_tm_fence_of *of)
{
    (void)ctx;
    (void)of;
    ck_abort();
}

static void kit_init(struct kit *kit)
{
    const struct weir_clock *clock = weir_clock_real();
    struct weir_error err;
    *kit = (struct kit){.fs = weir_fs_local_create(), .mem = weir_mem_create("test", 0, NULL)};
    kit->sink = weir_log_sink_create(STDERR_FILENO, clock, WEIR_LOG_ERROR);
    kit->log = weir_log_create(kit->sink);
    ck_assert_int_eq(weir_waker_create(&kit->waker, &err), WEIR_OK);
    kit->mailbox = weir_mailbox_create(256, kit->waker);
    weir_timers_init(&kit->timers);
    ck_assert_int_eq(weir_pool_create(&(struct weir_pool_options){.name = "io", .threads = 1, .jobs_max = 64}, &kit->pool, &err), WEIR_OK);
    const struct weir_links_options links = {
        .host = "127.0.0.1", .cluster_id = "c", .name = "tm", .credit_bytes = 1 << 20, .open_timeout_ms = 3600000, .mem = kit->mem, .clock = clock, .log = kit->log};
    ck_assert_msg(weir_links_create(&links, &kit->links, &err) == WEIR_OK, "%s", err.text);
    kit->leases = weir_tm_leases_create(&(struct weir_tm_leases_options){.mailbox = kit->mailbox, .clock = clock, .ask = never_ask_lease});
    kit->fences = weir_tm_fences_create(&(struct weir_tm_fences_options){
        .clock = clock, .timers = &kit->timers, .log = kit->log, .ask = never_ask_fence, .on_resumed = never_told, .on_replaced = never_told});
    kit->attempts = weir_tm_attempts_create(&(struct weir_tm_attempts_options){.tm_id = "tm",
                                                                               .mailbox = kit->mailbox,
                                                                               .pool = kit->pool,
                                                                               .fs = kit->fs,
                                                                               .clock = clock,
                                                                               .mem = kit->mem,
                                                                               .log = kit->log,
                                                                               .links = kit->links,
                                                                               .leases = kit->leases,
                                                                               .fences = kit->fences,
                                                                               .channel_bytes = 1 << 20,
                                                                               .checkpoints_dir = "/nowhere",
                                                                               .on_change = on_change,
                                                                               .on_snapshot = on_snapshot,
                                                                               .ctx = kit});
}

/* Runs the TaskManager's thread until so many have been counted. */
static void run_until(struct kit *kit, const uint32_t *count, uint32_t least)
{
    while (*count < least) {
        weir_test_await_mail(kit->waker, kit->mailbox, -1);
        (void)weir_mailbox_run(kit->mailbox, 16);
    }
}

static void kit_fini(struct kit *kit)
{
    weir_tm_attempts_cancel_all(kit->attempts);
    for (uint32_t a = 0; a < ATTEMPTS_MAX; a++) {
        run_until(kit, &kit->count[a][WEIR__CONTROL__TASK_STATE__TASK_CANCELED], kit->count[a][WEIR__CONTROL__TASK_STATE__TASK_RUNNING]);
    }
    ck_assert_uint_eq(weir_tm_attempts_live(kit->attempts), 0);
    weir_tm_leases_close(kit->leases);
    weir_tm_attempts_destroy(kit->attempts);
    weir_tm_fences_destroy(kit->fences);
    weir_pool_destroy(kit->pool);
    weir_links_destroy(kit->links);
    weir_timers_fini(&kit->timers);
    weir_mailbox_destroy(kit->mailbox);
    weir_waker_destroy(kit->waker);
    weir_mem_destroy(kit->mem);
    weir_fs_local_destroy(kit->fs);
    weir_log_destroy(kit->log);
    weir_log_sink_destroy(kit->sink);
}

/* Deploys subtasks 0 to ntasks - 1, each in the region of its number. */
static enum weir_rc deploy(struct kit *kit, uint32_t attempt, uint32_t ntasks)
{
    struct order order;
    Weir__Control__TaskDeployment tasks[TASKS];
    Weir__Control__TaskDeployment *list[TASKS];
    Weir__Control__Split splits[TASKS];
    Weir__Control__Split *of_task[TASKS];
    uint8_t data[TASKS][SPLIT_BYTES];
    char id[] = "rows";
    struct weir_error err;
    order_init(&order, 0, 0);
    order.request.job_id = job_id;
    order.request.restored_checkpoint_id = 0;
    order.request.attempt = attempt;
    for (uint32_t i = 0; i < ntasks; i++) {
        weir_le_put_u32(data[i], i);
        weir_le_put_u32(data[i] + 4, SUBMITTED);
        weir__control__split__init(&splits[i]);
        splits[i].id = id;
        splits[i].data = (ProtobufCBinaryData){.len = SPLIT_BYTES, .data = data[i]};
        of_task[i] = &splits[i];
        weir__control__task_deployment__init(&tasks[i]);
        tasks[i].subtask = i;
        tasks[i].region = i;
        tasks[i].splits = &of_task[i];
        tasks[i].n_splits = 1;
        list[i] = &tasks[i];
    }
    order.request.tasks = list;
    order.request.n_tasks = ntasks;
    enum weir_rc rc = weir_tm_attempts_deploy(kit->attempts, &order.request, &err);
    weir_buf_fini(&order.graph);
    return rc;
}

static void deploy_and_run(struct kit *kit, uint32_t attempt, uint32_t ntasks)
{
    ck_assert_int_eq(deploy(kit, attempt, ntasks), WEIR_OK);
    run_until(kit, &kit->count[attempt][WEIR__CONTROL__TASK_STATE__TASK_RUNNING], ntasks);
}

static enum weir_rc trigger_in(struct kit *kit, uint32_t attempt, const char *root, struct weir_error *err)
{
    char directory[128];
    kit->checkpoint++;
    (void)snprintf(directory, sizeof(directory), "%s/%s/chk-%u", root, job_id, (unsigned)kit->checkpoint);
    return weir_tm_attempts_trigger(kit->attempts, job_id, attempt, kit->checkpoint, directory, err);
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
    deploy_and_run(&kit, 1, TASKS);
    ck_assert_int_eq(trigger_in(&kit, 1, "/elsewhere", &err), WEIR_INVALID);
    ck_assert_msg(strstr(err.text, "/elsewhere/") != NULL && strstr(err.text, "/nowhere/") != NULL && strstr(err.text, "state.checkpoints.dir") != NULL,
                  "%s", err.text);
    ck_assert_int_eq(trigger(&kit, 1), WEIR_OK);
    run_until(&kit, &kit.snapshots[1], TASKS);
    ck_assert_uint_eq(kit.snapshots[1], TASKS); /* of the second alone */
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
    deploy_and_run(&kit, 2, TASKS);
    weir_tm_attempts_cancel(kit.attempts, job_id, regions, nregions, 1); /* of an attempt that never came here */
    ck_assert_int_eq(trigger(&kit, 1), WEIR_NOT_FOUND);
    ck_assert_int_eq(trigger(&kit, 2), WEIR_OK);
    run_until(&kit, &kit.snapshots[2], TASKS); /* both live */
    ck_assert_int_eq(deploy(&kit, 1, TASKS), WEIR_STALE);
    ck_assert_int_eq(deploy(&kit, 2, TASKS), WEIR_OK); /* A1 */
    ck_assert_uint_eq(weir_tm_attempts_tasks(kit.attempts), TASKS);

    weir_tm_attempts_cancel(kit.attempts, "another job", regions, nregions, 2);
    ck_assert_int_eq(trigger(&kit, 2), WEIR_OK);
    weir_tm_attempts_cancel(kit.attempts, job_id, regions, nregions, 2);
    ck_assert_int_eq(trigger(&kit, 2), WEIR_NOT_FOUND);
    run_until(&kit, &kit.count[2][WEIR__CONTROL__TASK_STATE__TASK_CANCELED], TASKS);
    ck_assert_int_eq(deploy(&kit, 2, TASKS), WEIR_STALE);

    deploy_and_run(&kit, 3, TASKS);
    weir_tm_attempts_cancel(kit.attempts, job_id, regions, nregions, 4);
    ck_assert_int_eq(trigger(&kit, 3), WEIR_NOT_FOUND);
    ck_assert_int_eq(deploy(&kit, 4, TASKS), WEIR_STALE);
    kit_fini(&kit);
}
END_TEST

START_TEST(a_cancel_is_for_its_regions)
{
    static const uint32_t first = 0;
    static const uint32_t second = 1;
    struct kit kit;
    kit_init(&kit);
    deploy_and_run(&kit, 2, TASKS);
    weir_tm_attempts_cancel(kit.attempts, job_id, &first, 1, 2);
    run_until(&kit, &kit.count[2][WEIR__CONTROL__TASK_STATE__TASK_CANCELED], 1);
    ck_assert_int_eq(trigger(&kit, 2), WEIR_OK);
    run_until(&kit, &kit.snapshots[2], 1);
    ck_assert_uint_eq(weir_tm_attempts_live(kit.attempts), 1);
    deploy_and_run(&kit, 3, 1); /* the region that was canceled */
    ck_assert_uint_eq(weir_tm_attempts_live(kit.attempts), 2);
    ck_assert_uint_eq(kit.count[2][WEIR__CONTROL__TASK_STATE__TASK_CANCELED], 1);
    weir_tm_attempts_cancel(kit.attempts, job_id, &second, 1, 3);
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
    const struct weir_channel_id id = {.job_id = job_id, .region = region, .attempt = attempt, .edge = 1, .from = 1, .to = 1};
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
    deploy_and_run(&kit, 2, TASKS);
    struct weir_channel *open[] = {expect_channel(&kit, schema, 1, 2), expect_channel(&kit, schema, 0, 3), expect_channel(&kit, schema, 0, 2)};
    weir_tm_attempts_cancel(kit.attempts, job_id, &first, 1, 2);
    struct weir_channel *late = expect_channel(&kit, schema, 0, 2);
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
    deploy_and_run(&kit, 2, TASKS);
    deploy_and_run(&kit, 3, TASKS);
    ck_assert_int_eq(trigger(&kit, 2), WEIR_NOT_FOUND);
    run_until(&kit, &kit.count[2][WEIR__CONTROL__TASK_STATE__TASK_CANCELED], TASKS);
    ck_assert_uint_eq(weir_tm_attempts_live(kit.attempts), TASKS);
    ck_assert_uint_eq(weir_tm_attempts_tasks(kit.attempts), 2 * TASKS);
    for (uint32_t i = 0; i < TASKS; i++) {
        weir_tm_attempts_acked(kit.attempts, job_id, 2, 0, i, WEIR__CONTROL__TASK_STATE__TASK_RUNNING); /* of before */
        ck_assert_uint_eq(weir_tm_attempts_tasks(kit.attempts), 2 * TASKS - i);
        weir_tm_attempts_acked(kit.attempts, job_id, 2, 0, i, WEIR__CONTROL__TASK_STATE__TASK_CANCELED);
        ck_assert_uint_eq(weir_tm_attempts_tasks(kit.attempts), 2 * TASKS - 1 - i);
    }
    ck_assert_int_eq(deploy(&kit, 2, TASKS), WEIR_STALE);
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
