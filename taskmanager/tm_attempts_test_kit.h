/*
 * For tests with real attempts: their tasks are real, each a region of its own that generates rows without end. The test's thread is the
 * TaskManager's mailbox thread.
 */
#ifndef WEIR_TASKMANAGER_TM_ATTEMPTS_TEST_KIT_H
#define WEIR_TASKMANAGER_TM_ATTEMPTS_TEST_KIT_H

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
    uint64_t oldest_snapshot; /* of which a task has told; 0: of none */
};

static char kit_job_id[] = "0123456789abcdef0123456789abcdef";

static inline void kit_on_change(void *ctx, const struct weir_tm_status *status)
{
    struct kit *kit = ctx;
    ck_assert_str_eq(status->job_id, kit_job_id);
    ck_assert_int_ne(status->state, WEIR__CONTROL__TASK_STATE__TASK_FAILED);
    kit->count[status->attempt][status->state]++;
}

static inline void kit_on_snapshot(void *ctx, const struct weir_tm_status *status, const struct weir_task_snapshot *snapshot)
{
    struct kit *kit = ctx;
    kit->snapshots[status->attempt]++;
    ck_assert_uint_le(snapshot->checkpoint, kit->checkpoint);
    if (kit->oldest_snapshot == 0 || snapshot->checkpoint < kit->oldest_snapshot) {
        kit->oldest_snapshot = snapshot->checkpoint;
    }
}

static inline void kit_never_ask_lease(void *ctx, struct weir_tm_lease_question *question_take)
{
    (void)ctx;
    weir_tm_leases_answer(question_take, WEIR_CANCELED, "");
    ck_abort();
}

static inline void kit_never_ask_fence(void *ctx, const struct weir_tm_fence_of *of, struct weir_tm_fence_question *question_take)
{
    (void)ctx;
    (void)of;
    weir_tm_fences_answer(question_take, WEIR_CANCELED, "");
    ck_abort();
}

static inline void kit_never_told(void *ctx, const struct weir_tm_fence_of *of)
{
    (void)ctx;
    (void)of;
    ck_abort();
}

static inline void kit_init(struct kit *kit)
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
    kit->leases = weir_tm_leases_create(&(struct weir_tm_leases_options){.mailbox = kit->mailbox, .clock = clock, .ask = kit_never_ask_lease});
    kit->fences = weir_tm_fences_create(&(struct weir_tm_fences_options){
        .clock = clock, .timers = &kit->timers, .log = kit->log, .ask = kit_never_ask_fence, .on_resumed = kit_never_told, .on_replaced = kit_never_told});
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
                                                                               .on_change = kit_on_change,
                                                                               .on_snapshot = kit_on_snapshot,
                                                                               .ctx = kit});
}

/* Runs the TaskManager's thread until so many have been counted. */
static inline void kit_run_until(struct kit *kit, const uint32_t *count, uint32_t least)
{
    while (*count < least) {
        weir_test_await_mail(kit->waker, kit->mailbox, -1);
        (void)weir_mailbox_run(kit->mailbox, 16);
    }
}

static inline void kit_fini(struct kit *kit)
{
    weir_tm_attempts_cancel_all(kit->attempts);
    for (uint32_t a = 0; a < ATTEMPTS_MAX; a++) {
        kit_run_until(kit, &kit->count[a][WEIR__CONTROL__TASK_STATE__TASK_CANCELED], kit->count[a][WEIR__CONTROL__TASK_STATE__TASK_RUNNING]);
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
static inline enum weir_rc kit_deploy(struct kit *kit, uint32_t attempt, uint32_t ntasks)
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
    order.request.job_id = kit_job_id;
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

static inline void kit_deploy_and_run(struct kit *kit, uint32_t attempt, uint32_t ntasks)
{
    ck_assert_int_eq(kit_deploy(kit, attempt, ntasks), WEIR_OK);
    kit_run_until(kit, &kit->count[attempt][WEIR__CONTROL__TASK_STATE__TASK_RUNNING], ntasks);
}

#endif
