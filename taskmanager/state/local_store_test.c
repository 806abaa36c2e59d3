#include "taskmanager/state/local_store.h"

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/fs/fs_local.h"
#include "common/fs/fs_sim.h"
#include "common/runtime/thread.h"
#include "tests/lib/split_fs.h"
#include "tests/lib/temp_dir.h"

#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>

#define ROOT "/tmp/weir-local/a%2Fb@127.0.0.1"

struct setup {
    struct weir_fs *disk;
    struct weir_split_fs split;
    struct weir_clock_virtual clock;
    struct weir_local_store *store;
    const struct weir_log *log; /* NULL: none */
};

static struct weir_local_store *create(struct setup *setup, bool keeps, bool gives)
{
    return weir_local_store_create(&(struct weir_local_store_options){
        .fs = &setup->split.fs,
        .clock = &setup->clock.clock,
        .log = setup->log,
        .dir = "/tmp",
        .cluster_id = "a/b",
        .host = "127.0.0.1",
        .keeps = keeps,
        .gives = gives,
    });
}

static void write_file(struct weir_fs *fs, const char *path, const char *text)
{
    struct weir_error err;
    ck_assert_msg(weir_fs_write_atomic(fs, path, weir_slice_str(text), &err) == WEIR_OK, "%s", err.text);
}

static void begin(struct setup *setup, const char *far)
{
    struct weir_error err;
    setup->log = NULL;
    setup->disk = weir_fs_sim_create();
    weir_split_fs_init(&setup->split, setup->disk, far);
    weir_clock_virtual_init(&setup->clock, 0, 1000000);
    ck_assert_int_eq(weir_fs_mkdirs(setup->disk, "/tmp/state", &err), WEIR_OK);
    ck_assert_int_eq(weir_fs_mkdirs(setup->disk, "/ckpt", &err), WEIR_OK);
    write_file(setup->disk, "/ckpt/1.sst", "one");
    setup->store = create(setup, true, true);
}

static void end(struct setup *setup)
{
    weir_local_store_destroy(setup->store);
    weir_fs_sim_destroy(setup->disk);
}

static struct weir_local_file content(const char *text)
{
    return (struct weir_local_file){.bytes = strlen(text), .hash = weir_hash_slice(weir_slice_str(text), 0)};
}

/* A copy of a new file with this text. */
static bool put(struct setup *setup, const char *job, uint64_t checkpoint, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "/tmp/state/%s", text);
    write_file(setup->disk, path, text);
    return weir_local_store_begin(setup->store, job, checkpoint, "/ckpt/1.sst") &&
           weir_local_store_put(setup->store, job, checkpoint, content(text), path);
}

static bool takes_from(struct setup *setup, struct weir_local_store *store, const char *job, uint64_t checkpoint, const char *text)
{
    struct weir_error err;
    struct weir_buf bytes = {0};
    enum weir_rc rc = weir_local_store_take(store, job, checkpoint, content(text), "/tmp/state/taken", &err);
    if (rc == WEIR_OK) {
        ck_assert_int_eq(weir_fs_read_all(setup->disk, "/tmp/state/taken", 1000, &bytes, &err), WEIR_OK);
        ck_assert(weir_slice_eq(weir_buf_slice(&bytes), weir_slice_str(text)));
        ck_assert_int_eq(weir_fs_unlink(setup->disk, "/tmp/state/taken", &err), WEIR_OK);
        weir_buf_fini(&bytes);
    } else {
        ck_assert_int_eq(rc, WEIR_NOT_FOUND);
    }
    return rc == WEIR_OK;
}

static bool takes(struct setup *setup, const char *job, uint64_t checkpoint, const char *text)
{
    return takes_from(setup, setup->store, job, checkpoint, text);
}

static bool exists(struct setup *setup, const char *path)
{
    struct weir_error err;
    struct weir_fs_stat stat;
    return weir_fs_stat(setup->disk, path, &stat, &err) == WEIR_OK;
}

static void count_name(void *ctx, const char *name, bool is_dir)
{
    (void)is_dir;
    *(uint32_t *)ctx += name[0] != '\0';
}

static uint32_t names_in(struct setup *setup, const char *path)
{
    struct weir_error err;
    uint32_t count = 0;
    (void)(weir_fs_list(setup->disk, path, count_name, &count, &err) == WEIR_OK);
    return count;
}

START_TEST(nothing_is_kept_where_links_would_do)
{
    struct setup setup;
    begin(&setup, NULL);
    ck_assert(weir_local_store_needed(setup.store));
    ck_assert(!put(&setup, "job", 1, "x"));
    ck_assert(!weir_local_store_needed(setup.store));
    ck_assert(!put(&setup, "job", 2, "y"));
    ck_assert(!weir_local_store_holding(setup.store));
    ck_assert_uint_eq(names_in(&setup, "/tmp"), 1); /* "state": no directory, and no name left of the trial */
    end(&setup);
}
END_TEST

START_TEST(copies_are_found_by_content)
{
    struct setup setup;
    begin(&setup, "/ckpt");
    struct weir_error err;
    ck_assert(!weir_local_store_begin(setup.store, "job", 1, "/ckpt/gone.sst")); /* swept meanwhile: not known yet where checkpoints are */
    weir_local_store_sweep(setup.store, NULL, 0);
    ck_assert(!weir_local_store_holding(setup.store));
    ck_assert(put(&setup, "job", 1, "first"));
    ck_assert(put(&setup, "job", 1, "second"));
    ck_assert(put(&setup, "job", 1, "first")); /* again, by another file */
    ck_assert(weir_local_store_needed(setup.store) && weir_local_store_holding(setup.store));
    struct weir_local_store *next = create(&setup, false, true); /* the process that comes after */
    ck_assert(!weir_local_store_holding(next));
    weir_local_store_sweep(next, NULL, 0);
    ck_assert(weir_local_store_holding(next));
    for (int i = 0; i < 2; i++) {
        ck_assert(takes_from(&setup, next, "job", 1, "first"));
        ck_assert(takes_from(&setup, next, "job", 1, "second"));
    }
    ck_assert(!takes_from(&setup, next, "job", 1, "third"));
    ck_assert(!takes_from(&setup, next, "job", 2, "first"));
    ck_assert(!takes_from(&setup, next, "other", 1, "first"));
    ck_assert(!weir_local_store_begin(next, "job", 2, "/ckpt/1.sst"));
    struct weir_local_store *blind = create(&setup, true, false);
    ck_assert(!takes_from(&setup, blind, "job", 1, "first"));
    /* It is the same file, not another one with the same bytes. */
    struct weir_local_file file = content("first");
    ck_assert_int_eq(weir_local_store_take(next, "job", 1, file, "/tmp/state/first", &err), WEIR_EXISTS);
    weir_local_store_discard(next, "job", 1, file);
    weir_local_store_discard(next, "job", 1, file);
    ck_assert(!takes(&setup, "job", 1, "first"));
    ck_assert(takes(&setup, "job", 1, "second"));
    ck_assert(!put(&setup, "..", 1, "first"));
    ck_assert(!put(&setup, "", 1, "first"));
    ck_assert(!put(&setup, "a/b", 1, "first"));
    weir_local_store_end(setup.store, "..");
    weir_local_store_end(setup.store, "");
    ck_assert(takes(&setup, "job", 1, "second"));
    weir_local_store_destroy(next);
    weir_local_store_destroy(blind);
    end(&setup);
}
END_TEST

START_TEST(a_copy_that_was_cut_is_replaced)
{
    struct setup setup;
    begin(&setup, "/ckpt");
    ck_assert(put(&setup, "job", 1, "whole"));
    char *path = weir_strfmt("%s/job/chk-1/%llx-%016llx", ROOT, 5ull, (unsigned long long)content("whole").hash);
    ck_assert(exists(&setup, path));
    write_file(setup.disk, path, "who");
    ck_assert(put(&setup, "job", 1, "whole"));
    ck_assert(takes(&setup, "job", 1, "whole"));
    weir_free(path);
    end(&setup);
}
END_TEST

START_TEST(what_is_kept_is_bounded)
{
    struct setup setup;
    begin(&setup, "/ckpt");
    for (uint64_t n = 1; n <= 3; n++) {
        ck_assert(put(&setup, "job", n, "all"));
        ck_assert(put(&setup, "job", n, n == 2 ? "two" : "some"));
    }
    weir_local_store_commit(setup.store, "job", 2);
    ck_assert(!takes(&setup, "job", 1, "all"));
    ck_assert(takes(&setup, "job", 2, "two") && takes(&setup, "job", 3, "all"));
    weir_local_store_commit(setup.store, "job", 1); /* late */
    weir_local_store_commit(setup.store, "absent", 1);
    ck_assert(takes(&setup, "job", 2, "two"));
    /* One after the other is aborted: the one that is committed stays, and the newest. */
    for (uint64_t n = 4; n <= 30; n++) {
        ck_assert(put(&setup, "job", n, "all"));
        ck_assert_uint_le(names_in(&setup, ROOT "/job"), 1 + 1 + WEIR_LOCAL_PENDING_MAX);
    }
    ck_assert(takes(&setup, "job", 2, "two") && takes(&setup, "job", 30, "all") && takes(&setup, "job", 27, "all"));
    ck_assert(!takes(&setup, "job", 3, "some") && !takes(&setup, "job", 26, "all"));
    ck_assert(put(&setup, "beside", 7, "all"));
    weir_local_store_end(setup.store, "job");
    weir_local_store_end(setup.store, "job");
    ck_assert(!exists(&setup, ROOT "/job"));
    ck_assert(takes(&setup, "beside", 7, "all"));
    end(&setup);
}
END_TEST

static void advance(struct setup *setup, int64_t ms)
{
    weir_clock_virtual_advance(&setup->clock, ms * 1000000);
}

START_TEST(leases)
{
    struct setup setup;
    begin(&setup, "/ckpt");
    struct weir_error err;
    const char *const held[] = {"other", "job"};
    ck_assert(put(&setup, "job", 1, "x"));
    ck_assert(put(&setup, "left", 1, "y"));
    ck_assert(put(&setup, "busy", 1, "z"));
    write_file(setup.disk, "/tmp/.weir-probe-1-x.sst", "");
    write_file(setup.disk, "/tmp/else", "");
    struct weir_local_store *neighbour = create(&setup, true, true);
    weir_local_store_sweep_probes(neighbour);
    for (int64_t ms = 0; ms < WEIR_LOCAL_LEASE_MS; ms += WEIR_LOCAL_RENEW_MS) {
        weir_local_store_sweep(setup.store, held, 2);
        weir_local_store_sweep(neighbour, NULL, 0);
        weir_local_store_commit(neighbour, "busy", 1);
        ck_assert(takes(&setup, "left", 1, "y"));
        ck_assert_uint_eq(names_in(&setup, ROOT "/job"), 2); /* one lease */
        advance(&setup, WEIR_LOCAL_RENEW_MS + 1);
    }
    ck_assert(!exists(&setup, "/tmp/.weir-probe-1-x.sst") && exists(&setup, "/tmp/else"));
    weir_local_store_sweep(neighbour, NULL, 0);
    ck_assert(!exists(&setup, ROOT "/left"));
    ck_assert(takes(&setup, "job", 1, "x") && takes(&setup, "busy", 1, "z"));
    /* Somebody has made a directory and nothing in it yet: it gets its time. */
    ck_assert_int_eq(weir_fs_mkdirs(setup.disk, ROOT "/new", &err), WEIR_OK);
    weir_local_store_sweep(neighbour, NULL, 0);
    ck_assert(exists(&setup, ROOT "/new"));
    /* The clock was far ahead, and is set back: nothing stays for ever, nothing goes at once. */
    setup.clock.wall_ms_now += 10ll * WEIR_LOCAL_LEASE_MS;
    weir_local_store_sweep(neighbour, held, 2);
    ck_assert(takes(&setup, "job", 1, "x"));
    ck_assert(!exists(&setup, ROOT "/new") && !exists(&setup, ROOT "/busy"));
    setup.clock.wall_ms_now -= 10ll * WEIR_LOCAL_LEASE_MS;
    weir_local_store_sweep(neighbour, NULL, 0);
    ck_assert(takes(&setup, "job", 1, "x"));
    advance(&setup, WEIR_LOCAL_LEASE_MS + 1);
    weir_local_store_sweep(neighbour, NULL, 0);
    ck_assert_uint_eq(names_in(&setup, ROOT), 0);
    weir_local_store_destroy(neighbour);
    end(&setup);
}
END_TEST

START_TEST(what_cannot_be_kept_is_told)
{
    struct setup setup;
    begin(&setup, "/ckpt");
    struct weir_buf lines = {0};
    const char *const held[] = {"job"};
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    struct weir_log_sink *sink = weir_log_sink_create(fileno(file), &setup.clock.clock, WEIR_LOG_WARN);
    struct weir_log *log = weir_log_create(sink);
    setup.log = log;
    weir_local_store_destroy(setup.store);
    setup.store = create(&setup, true, true);
    ck_assert(put(&setup, "job", 1, "x"));
    advance(&setup, WEIR_LOCAL_RENEW_MS + 1);
    weir_fs_sim_room(setup.disk, 0);
    weir_local_store_sweep(setup.store, held, 1);
    ck_assert(!weir_local_store_begin(setup.store, "job", 2, "/ckpt/1.sst"));
    weir_fs_sim_room(setup.disk, UINT64_MAX);
    ck_assert(takes(&setup, "job", 1, "x"));
    weir_log_sink_recent(sink, weir_slice_str("local_copies_lease_not_renewed"), 10, &lines);
    ck_assert_uint_gt(lines.len, 0);
    weir_buf_clear(&lines);
    weir_log_sink_recent(sink, weir_slice_str("local_copies_not_kept"), 10, &lines);
    ck_assert_uint_gt(lines.len, 0);
    weir_buf_fini(&lines);
    end(&setup);
    weir_log_destroy(log);
    weir_log_sink_destroy(sink);
    (void)fclose(file);
}
END_TEST

/* A call that fails, or a crash of the machine, anywhere: nothing is taken that was not put, and everything goes away in the end. */
START_TEST(failures_anywhere)
{
    static const char *const texts[] = {"a", "bb", "ccc"};
    uint32_t met = 0, lost = 0;
    for (uint64_t nth = 1; nth <= 60; nth++) {
        for (int crash = 0; crash < 2; crash++) {
            struct setup setup;
            begin(&setup, "/ckpt");
            for (int i = 0; i < 3; i++) {
                char path[32];
                (void)snprintf(path, sizeof(path), "/tmp/state/%s", texts[i]);
                write_file(setup.disk, path, texts[i]);
            }
            weir_fs_sim_fail(setup.disk, (struct weir_fs_sim_fault){.nth = nth, .rc = WEIR_IO, .lasting = crash == 1});
            for (uint64_t n = 1; n <= 3; n++) {
                bool goes_on = weir_local_store_begin(setup.store, "job", n, "/ckpt/1.sst");
                for (uint64_t i = n - 1; goes_on && i < 3; i++) {
                    char path[32];
                    (void)snprintf(path, sizeof(path), "/tmp/state/%s", texts[i]);
                    goes_on = weir_local_store_put(setup.store, "job", n, content(texts[i]), path);
                }
                weir_local_store_commit(setup.store, "job", n);
                advance(&setup, WEIR_LOCAL_RENEW_MS + 1);
                weir_local_store_sweep(setup.store, NULL, 0);
            }
            met += weir_fs_sim_failed(setup.disk);
            weir_fs_sim_fail(setup.disk, (struct weir_fs_sim_fault){0});
            if (crash == 1) {
                weir_fs_sim_crash(setup.disk, nth);
                struct weir_error err;
                ck_assert_int_eq(weir_fs_mkdirs(setup.disk, "/tmp/state", &err), WEIR_OK);
                weir_local_store_destroy(setup.store);
                setup.store = create(&setup, true, true);
            }
            lost += !takes(&setup, "job", 3, "ccc");
            ck_assert(!takes(&setup, "job", 3, "a"));
            weir_local_store_sweep(setup.store, NULL, 0);
            advance(&setup, WEIR_LOCAL_LEASE_MS + 1);
            weir_local_store_sweep(setup.store, NULL, 0);
            ck_assert_uint_eq(names_in(&setup, ROOT), 0);
            end(&setup);
        }
    }
    ck_assert_uint_gt(met, 60);
    ck_assert_uint_gt(lost, 10);
}
END_TEST

/* --- several processes ------------------------------------------------------------------------------------------------- */

enum { OWNERS = 4, ROUNDS = 150, FILES = 8 };

struct owner {
    const char *dir;
    uint64_t seed;
    _Atomic uint32_t *taken;
    struct weir_thread *thread;
};

static void check_taken(struct weir_fs *fs, const char *path, const char *text)
{
    struct weir_error err;
    struct weir_buf bytes = {0};
    ck_assert_int_eq(weir_fs_read_all(fs, path, 1000, &bytes, &err), WEIR_OK);
    ck_assert(weir_slice_eq(weir_buf_slice(&bytes), weir_slice_str(text)));
    ck_assert_int_eq(weir_fs_unlink(fs, path, &err), WEIR_OK);
    weir_buf_fini(&bytes);
}

/* A process that writes the same files as all the others, and takes and commits and sweeps. */
static void own(void *ctx)
{
    struct owner *owner = ctx;
    struct weir_error err;
    struct weir_fs *disk = weir_fs_local_create();
    struct weir_split_fs split;
    struct weir_rand rand;
    char *far = weir_strfmt("%s/ckpt", owner->dir);
    char *probe = weir_strfmt("%s/1.sst", far);
    char *tmp = weir_strfmt("%s/tmp", owner->dir);
    char *mine = weir_strfmt("%s/mine-%llu", owner->dir, (unsigned long long)owner->seed);
    char *taken = weir_strfmt("%s.taken", mine);
    weir_rand_init(&rand, owner->seed);
    weir_split_fs_init(&split, disk, far);
    struct weir_local_store *store = weir_local_store_create(&(struct weir_local_store_options){
        .fs = &split.fs, .clock = weir_clock_real(), .dir = tmp, .cluster_id = "c", .host = "h", .keeps = true, .gives = true});
    for (uint64_t n = 1; n <= ROUNDS; n++) {
        bool goes_on = weir_local_store_begin(store, "job", n, probe);
        for (uint64_t i = 0; i < FILES; i++) {
            char text[32];
            (void)snprintf(text, sizeof(text), "file %llu", (unsigned long long)(i + n / 4));
            write_file(disk, mine, text);
            goes_on = goes_on && weir_local_store_put(store, "job", n, content(text), mine);
            uint64_t of = n - weir_rand_below(&rand, n < 3 ? n : 3);
            if (weir_local_store_take(store, "job", of, content(text), taken, &err) == WEIR_OK) {
                check_taken(disk, taken, text);
                atomic_fetch_add(owner->taken, 1);
            }
        }
        if (weir_rand_below(&rand, 2) == 0) {
            weir_local_store_commit(store, "job", n - weir_rand_below(&rand, 2));
        }
        if (weir_rand_below(&rand, 20) == 0) {
            weir_local_store_sweep(store, NULL, 0);
            weir_local_store_end(store, "job");
        }
    }
    weir_local_store_destroy(store);
    weir_fs_local_destroy(disk);
    weir_free(far);
    weir_free(probe);
    weir_free(tmp);
    weir_free(mine);
    weir_free(taken);
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *ftw)
{
    (void)stat;
    (void)kind;
    (void)ftw;
    return remove(path);
}

START_TEST(owners_at_once)
{
    char dir[WEIR_TEMP_DIR_MAX];
    struct weir_error err;
    _Atomic uint32_t taken = 0;
    struct owner owners[OWNERS];
    weir_temp_dir(dir, "local-store");
    struct weir_fs *disk = weir_fs_local_create();
    char *path = weir_strfmt("%s/ckpt", dir);
    char *probe = weir_strfmt("%s/1.sst", path);
    char *tmp = weir_strfmt("%s/tmp", dir);
    ck_assert_int_eq(weir_fs_mkdirs(disk, path, &err), WEIR_OK);
    ck_assert_int_eq(weir_fs_mkdirs(disk, tmp, &err), WEIR_OK);
    write_file(disk, probe, "one");
    for (uint64_t i = 0; i < OWNERS; i++) {
        owners[i] = (struct owner){.dir = dir, .seed = i + 1, .taken = &taken};
        ck_assert_int_eq(weir_thread_start("owner", own, &owners[i], &owners[i].thread, &err), WEIR_OK);
    }
    for (uint64_t i = 0; i < OWNERS; i++) {
        weir_thread_join(owners[i].thread);
    }
    ck_assert_uint_gt(taken, OWNERS * ROUNDS);
    struct weir_local_store *store = weir_local_store_create(&(struct weir_local_store_options){
        .fs = disk, .clock = weir_clock_real(), .dir = tmp, .cluster_id = "c", .host = "h", .keeps = true, .gives = true});
    weir_local_store_end(store, "job");
    uint32_t left = 0;
    char *root = weir_strfmt("%s/weir-local/c@h", tmp);
    ck_assert_int_eq(weir_fs_list(disk, root, count_name, &left, &err), WEIR_OK);
    ck_assert_uint_eq(left, 0);
    weir_local_store_destroy(store);
    weir_fs_local_destroy(disk);
    weir_free(root);
    weir_free(path);
    weir_free(probe);
    weir_free(tmp);
    ck_assert_int_eq(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}
END_TEST

Suite *local_store_suite(void);
Suite *local_store_suite(void)
{
    Suite *suite = suite_create("local_store");
    TCase *tcase = tcase_create("local_store");
    tcase_add_test(tcase, nothing_is_kept_where_links_would_do);
    tcase_add_test(tcase, copies_are_found_by_content);
    tcase_add_test(tcase, a_copy_that_was_cut_is_replaced);
    tcase_add_test(tcase, what_is_kept_is_bounded);
    tcase_add_test(tcase, leases);
    tcase_add_test(tcase, what_cannot_be_kept_is_told);
    tcase_add_test(tcase, failures_anywhere);
    tcase_add_test(tcase, owners_at_once);
    suite_add_tcase(suite, tcase);
    return suite;
}
