#include "taskmanager/tm_local.h"

#include "common/base/mem.h"
#include "common/fs/fs_sim.h"
#include "tests/lib/mails.h"
#include "tests/lib/split_fs.h"

#include <check.h>

#include <stddef.h>

#define ROOT "/tmp/weir-local/test@127.0.0.1"
#define PROBE "/tmp/.weir-probe-1-x.sst"

struct kit {
    struct weir_fs *disk;
    struct weir_split_fs split;
    struct weir_clock_virtual clock;
    struct weir_timers timers;
    struct weir_config *config;
    struct weir_waker *waker;
    struct weir_mailbox *mailbox;
    struct weir_pool *pool; /* of one thread: jobs run in order */
    struct weir_tm_attempts *attempts;
    struct weir_tm_local *local;
    uint32_t lists; /* at the last `settle` */
    uint32_t races;
};

static void write_file(struct kit *kit, const char *path, const char *text)
{
    struct weir_error err;
    ck_assert_msg(weir_fs_write_atomic(kit->disk, path, weir_slice_str(text), &err) == WEIR_OK, "%s", err.text);
}

static enum weir_rc try_open(struct kit *kit, struct weir_error *err)
{
    return weir_tm_local_create(&(struct weir_tm_local_options){.config = kit->config,
                                                                 .fs = &kit->split.fs,
                                                                 .clock = &kit->clock.clock,
                                                                 .pool = kit->pool,
                                                                 .mailbox = kit->mailbox,
                                                                 .timers = &kit->timers},
                                &kit->local, err);
}

static void open_local(struct kit *kit)
{
    struct weir_error err;
    ck_assert_msg(try_open(kit, &err) == WEIR_OK, "%s", err.text);
}

static void begin(struct kit *kit, const char *far)
{
    struct weir_error err;
    *kit = (struct kit){.disk = weir_fs_sim_create(), .config = weir_config_create()};
    weir_split_fs_init(&kit->split, kit->disk, far);
    weir_clock_virtual_init(&kit->clock, 0, 1000000);
    weir_timers_init(&kit->timers);
    ck_assert_int_eq(weir_config_set_pair(kit->config, "taskmanager.tmp.dir=/tmp", &err), WEIR_OK);
    ck_assert_int_eq(weir_config_set_pair(kit->config, "taskmanager.host=127.0.0.1", &err), WEIR_OK);
    ck_assert_int_eq(weir_config_set_pair(kit->config, "cluster.id=test", &err), WEIR_OK);
    ck_assert_int_eq(weir_fs_mkdirs(kit->disk, "/tmp/state", &err), WEIR_OK);
    ck_assert_int_eq(weir_fs_mkdirs(kit->disk, "/ckpt", &err), WEIR_OK);
    write_file(kit, "/ckpt/1.sst", "one");
    write_file(kit, "/tmp/state/1.sst", "one");
    ck_assert_int_eq(weir_waker_create(&kit->waker, &err), WEIR_OK);
    kit->mailbox = weir_mailbox_create(16, kit->waker);
    ck_assert_int_eq(weir_pool_create(&(struct weir_pool_options){.name = "io", .threads = 1, .jobs_max = 16}, &kit->pool, &err), WEIR_OK);
    kit->attempts = weir_tm_attempts_create(&(struct weir_tm_attempts_options){.tm_id = "tm"});
    open_local(kit);
}

static void end(struct kit *kit)
{
    weir_pool_destroy(kit->pool);
    weir_tm_local_destroy(kit->local);
    weir_tm_attempts_destroy(kit->attempts);
    weir_mailbox_destroy(kit->mailbox);
    weir_waker_destroy(kit->waker);
    weir_timers_fini(&kit->timers);
    weir_config_destroy(kit->config);
    weir_fs_sim_destroy(kit->disk);
}

static void no_run(void *ctx)
{
    (void)ctx;
}

static void set_flag(void *ctx)
{
    *(bool *)ctx = true;
}

/* Until the pool has done what was submitted. How often a directory was listed since the last time. */
static uint32_t settle(struct kit *kit)
{
    bool done = false;
    ck_assert_int_eq(weir_pool_submit(kit->pool, (struct weir_pool_job){.run = no_run, .done = set_flag, .ctx = &done}, kit->mailbox), WEIR_OK);
    while (!done) {
        weir_test_await_mail(kit->waker, kit->mailbox, -1);
        (void)weir_mailbox_run(kit->mailbox, 16);
    }
    uint32_t before = kit->lists;
    kit->lists = kit->split.lists;
    return kit->lists - before;
}

static void begin_over(struct kit *kit)
{
    weir_tm_local_destroy(kit->local);
    open_local(kit);
    weir_tm_local_start(kit->local, kit->attempts);
    (void)settle(kit);
}

static bool copy(struct kit *kit, uint64_t checkpoint)
{
    struct weir_local_store *store = weir_tm_local_store(kit->local);
    struct weir_local_file file = {.bytes = 3, .hash = checkpoint};
    return weir_local_store_begin(store, "job", checkpoint, "/ckpt/1.sst") &&
           weir_local_store_put(store, "job", checkpoint, file, "/tmp/state/1.sst");
}

static bool exists(struct kit *kit, const char *path)
{
    struct weir_error err;
    struct weir_fs_stat stat;
    return weir_fs_stat(kit->disk, path, &stat, &err) == WEIR_OK;
}

START_TEST(commits_of_jobs_without_copies_touch_no_disk)
{
    struct kit kit;
    begin(&kit, "/ckpt");
    weir_tm_local_start(kit.local, kit.attempts);
    (void)settle(&kit);
    for (uint64_t n = 1; n <= 3; n++) {
        weir_tm_local_committed(kit.local, "job", n);
    }
    ck_assert_uint_eq(settle(&kit), 0);
    weir_tm_local_job_over(kit.local, "job"); /* another process may have made some for it */
    ck_assert_uint_eq(settle(&kit), 1);
    end(&kit);
}
END_TEST

START_TEST(where_links_would_do_nothing_is_looked_for)
{
    struct kit kit;
    begin(&kit, NULL);
    ck_assert(!copy(&kit, 1));
    weir_tm_local_committed(kit.local, "job", 1);
    weir_tm_local_job_over(kit.local, "job");
    ck_assert_uint_eq(settle(&kit), 0);
    end(&kit);
}
END_TEST

START_TEST(copies_last_until_a_newer_commit_or_the_end)
{
    struct kit kit;
    begin(&kit, "/ckpt");
    weir_tm_local_start(kit.local, kit.attempts);
    (void)settle(&kit);
    ck_assert(copy(&kit, 1) && copy(&kit, 2) && copy(&kit, 3));
    weir_tm_local_committed(kit.local, "job", 2);
    (void)settle(&kit);
    ck_assert(!exists(&kit, ROOT "/job/chk-1") && exists(&kit, ROOT "/job/chk-2") && exists(&kit, ROOT "/job/chk-3"));
    weir_tm_local_job_over(kit.local, "job");
    (void)settle(&kit);
    ck_assert(!exists(&kit, ROOT "/job"));
    end(&kit);
}
END_TEST

/* A TaskManager that makes none itself, as when the state has become small: it still has to do with those of its predecessor. */
START_TEST(copies_of_a_process_before_are_removed)
{
    struct kit kit;
    begin(&kit, "/ckpt");
    ck_assert(copy(&kit, 1) && copy(&kit, 2));
    begin_over(&kit);
    weir_tm_local_committed(kit.local, "job", 2);
    (void)settle(&kit);
    ck_assert(!exists(&kit, ROOT "/job/chk-1") && exists(&kit, ROOT "/job/chk-2"));
    begin_over(&kit);
    weir_tm_local_job_over(kit.local, "job");
    (void)settle(&kit);
    ck_assert(!exists(&kit, ROOT "/job"));
    end(&kit);
}
END_TEST

START_TEST(leases_are_looked_after_and_probes_only_at_start)
{
    struct kit kit;
    begin(&kit, "/ckpt");
    ck_assert(copy(&kit, 1));
    write_file(&kit, PROBE, "");
    (void)settle(&kit);
    weir_tm_local_start(kit.local, kit.attempts);
    ck_assert_uint_eq(settle(&kit), 3); /* the directory of tasks' stores, that of jobs, the job's */
    ck_assert(!exists(&kit, PROBE));
    write_file(&kit, PROBE, "");
    for (int64_t ms = 0; ms <= WEIR_LOCAL_LEASE_MS; ms += WEIR_LOCAL_RENEW_MS) {
        ck_assert(exists(&kit, ROOT "/job"));
        weir_clock_virtual_advance(&kit.clock, (int64_t)WEIR_LOCAL_RENEW_MS * 1000000);
        ck_assert_uint_eq(weir_timers_run_due(&kit.timers, weir_clock_mono_ns(&kit.clock.clock)), 1);
        ck_assert_uint_ge(settle(&kit), 2);
    }
    ck_assert(!exists(&kit, ROOT "/job") && exists(&kit, PROBE));
    end(&kit);
}
END_TEST

static void close_with_dirs(struct kit *kit, const char *dirs)
{
    struct weir_error err;
    char *pair = weir_strfmt("execution.checkpointing.local-backup.dirs=%s", dirs);
    ck_assert_int_eq(weir_config_set_pair(kit->config, pair, &err), WEIR_OK);
    weir_free(pair);
    weir_tm_local_destroy(kit->local);
    kit->local = NULL;
}

START_TEST(a_directory_on_another_file_system_is_refused)
{
    struct kit kit;
    struct weir_error err;
    begin(&kit, "/ckpt");
    close_with_dirs(&kit, "/ckpt/copies");
    ck_assert_int_eq(try_open(&kit, &err), WEIR_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "must be one directory on the file system of taskmanager.tmp.dir"));
    ck_assert(!exists(&kit, "/tmp/.weir-probe-dirs-from") && !exists(&kit, "/ckpt/copies/.weir-probe-dirs-to"));
    close_with_dirs(&kit, "/tmp/copies");
    open_local(&kit);
    ck_assert(!exists(&kit, "/tmp/.weir-probe-dirs-from") && !exists(&kit, "/tmp/copies/.weir-probe-dirs-to"));
    end(&kit);
}
END_TEST

/* Another process that looks at the same directories removes what is to be linked. */
static enum weir_rc racing_link(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err)
{
    struct kit *kit = (struct kit *)((char *)fs - offsetof(struct kit, split));
    if (kit->races > 0) {
        kit->races--;
        ck_assert_int_eq(weir_fs_unlink(kit->disk, from, err), WEIR_OK);
    }
    return weir_split_link(fs, from, to, err);
}

START_TEST(processes_that_start_at_once_do_not_refuse_their_directory)
{
    struct kit kit;
    begin(&kit, "/ckpt");
    struct weir_fs_ops ops = *kit.split.fs.ops;
    ops.link = racing_link;
    kit.split.fs.ops = &ops;
    kit.races = 3;
    close_with_dirs(&kit, "/tmp/copies");
    open_local(&kit);
    ck_assert_uint_eq(kit.races, 0);
    write_file(&kit, "/tmp/.weir-probe-dirs-from", "");
    write_file(&kit, "/tmp/copies/.weir-probe-dirs-to", ""); /* of one that was killed */
    close_with_dirs(&kit, "/tmp/copies");
    open_local(&kit);
    ck_assert(!exists(&kit, "/tmp/.weir-probe-dirs-from") && !exists(&kit, "/tmp/copies/.weir-probe-dirs-to"));
    end(&kit);
}
END_TEST

Suite *tm_local_suite(void);
Suite *tm_local_suite(void)
{
    Suite *suite = suite_create("tm_local");
    TCase *tcase = tcase_create("tm_local");
    tcase_add_test(tcase, commits_of_jobs_without_copies_touch_no_disk);
    tcase_add_test(tcase, where_links_would_do_nothing_is_looked_for);
    tcase_add_test(tcase, copies_last_until_a_newer_commit_or_the_end);
    tcase_add_test(tcase, copies_of_a_process_before_are_removed);
    tcase_add_test(tcase, leases_are_looked_after_and_probes_only_at_start);
    tcase_add_test(tcase, a_directory_on_another_file_system_is_refused);
    tcase_add_test(tcase, processes_that_start_at_once_do_not_refuse_their_directory);
    suite_add_tcase(suite, tcase);
    return suite;
}
