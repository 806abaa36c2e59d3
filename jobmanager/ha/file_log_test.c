/*
 * The file log on the real file system behind a shim that fails the n-th call, and on files cut and damaged at every byte.
 */
#include "jobmanager/ha/file_log.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/fs/fs_local.h"
#include "jobmanager/ha/dir_lock.h"
#include "jobmanager/ha/log_frame.h"
#include "tests/lib/temp_dir.h"

/* --- a file system whose n-th changing call fails ------------------------------------------------------------------------ */
struct shim {
    struct weir_fs fs;
    struct weir_fs *real;
    uint32_t calls, fail_at; /* 0: never */
    bool for_ever;
    enum weir_rc rc;
    struct weir_fs_ops ops;
};

struct shim_file {
    struct weir_fs_file file;
    struct weir_fs_file *real;
    struct shim *shim;
};

static bool fails(struct shim *shim)
{
    shim->calls++;
    return shim->fail_at != 0 && (shim->calls == shim->fail_at || (shim->for_ever && shim->calls > shim->fail_at));
}

static enum weir_rc shim_open(struct weir_fs *fs, const char *path, enum weir_fs_mode mode, struct weir_fs_file **out_file, struct weir_error *err)
{
    struct shim *shim = (struct shim *)fs;
    struct weir_fs_file *real = NULL;
    enum weir_rc rc = weir_fs_open(shim->real, path, mode, &real, err);
    if (rc == WEIR_OK) {
        struct shim_file *file = weir_calloc(1, sizeof(*file));
        *file = (struct shim_file){.file = {.ops = &shim->ops}, .real = real, .shim = shim};
        *out_file = &file->file;
    }
    return rc;
}

static enum weir_rc shim_append(struct weir_fs_file *file, struct weir_slice bytes, struct weir_error *err)
{
    struct shim_file *f = (struct shim_file *)file;
    if (fails(f->shim)) { /* half of it is written */
        enum weir_rc rc = weir_fs_append(f->real, weir_slice(bytes.data, bytes.len / 2), err);
        return rc == WEIR_OK ? weir_error_set(err, f->shim->rc, "append failed") : rc;
    }
    return weir_fs_append(f->real, bytes, err);
}

static enum weir_rc shim_pread(struct weir_fs_file *file, uint64_t offset, void *to, size_t bytes_max, size_t *out_bytes, struct weir_error *err)
{
    return weir_fs_pread(((struct shim_file *)file)->real, offset, to, bytes_max, out_bytes, err);
}

static enum weir_rc shim_fsync(struct weir_fs_file *file, struct weir_error *err)
{
    struct shim_file *f = (struct shim_file *)file;
    return fails(f->shim) ? weir_error_set(err, WEIR_IO, "fsync failed") : weir_fs_fsync(f->real, err);
}

static enum weir_rc shim_truncate(struct weir_fs_file *file, uint64_t bytes, struct weir_error *err)
{
    struct shim_file *f = (struct shim_file *)file;
    return fails(f->shim) ? weir_error_set(err, WEIR_IO, "truncate failed") : weir_fs_truncate(f->real, bytes, err);
}

static enum weir_rc shim_size(struct weir_fs_file *file, uint64_t *out_bytes, struct weir_error *err)
{
    return weir_fs_size(((struct shim_file *)file)->real, out_bytes, err);
}

static void shim_close(struct weir_fs_file *file)
{
    weir_fs_close(((struct shim_file *)file)->real);
    weir_free(file);
}

static enum weir_rc shim_rename(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err)
{
    struct shim *shim = (struct shim *)fs;
    return fails(shim) ? weir_error_set(err, WEIR_IO, "rename failed") : weir_fs_rename(shim->real, from, to, err);
}

static enum weir_rc shim_unlink(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    return weir_fs_unlink(((struct shim *)fs)->real, path, err);
}

static enum weir_rc shim_fsync_dir(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    struct shim *shim = (struct shim *)fs;
    return fails(shim) ? weir_error_set(err, WEIR_IO, "fsync of the directory failed") : weir_fs_fsync_dir(shim->real, path, err);
}

/* --- a listener that remembers ---------------------------------------------------------------------------------------- */
enum { ENTRIES = 64 };

struct world {
    char dir[WEIR_TEMP_DIR_MAX];
    struct shim shim;
    struct weir_executor executor;
    struct weir_work *work;
    struct weir_cluster_log *log;
    uint64_t state[ENTRIES]; /* applied entries in order: the replicated state */
    uint32_t nstate;
    uint64_t last_index;
    bool leader, lost;
    uint64_t epoch;
    uint32_t outcomes[3];
    uint64_t committed[ENTRIES];
    uint32_t ncommitted;
};

static void submit(struct weir_executor *executor, struct weir_work *work)
{
    struct world *w = (struct world *)((uintptr_t)executor - offsetof(struct world, executor));
    ck_assert_ptr_null(w->work);
    w->work = work;
}

static void run_work(struct world *w)
{
    while (w->work != NULL) {
        struct weir_work *work = w->work;
        w->work = NULL;
        work->run(work);
        work->in_flight = false;
        work->done(work);
    }
}

static enum weir_rc on_apply(void *ctx, uint64_t index, struct weir_slice entry, struct weir_error *err)
{
    struct world *w = ctx;
    (void)err;
    ck_assert_uint_eq(index, w->last_index + 1); /* (C2) */
    ck_assert_uint_ge(entry.len, 8);
    w->last_index = index;
    w->state[w->nstate++] = weir_le_get_u64(entry.data);
    return WEIR_OK;
}

static void on_outcome(void *ctx, uint64_t proposal, enum weir_proposal_outcome outcome, const struct weir_error *err)
{
    struct world *w = ctx;
    (void)err;
    w->outcomes[outcome]++;
    if (outcome == WEIR_PROPOSAL_COMMITTED) {
        ck_assert_uint_eq(w->state[w->nstate - 1], proposal); /* (C2): applied before */
        w->committed[w->ncommitted++] = proposal;
    }
}

static void on_failed(void *ctx, const struct weir_error *err)
{
    (void)ctx;
    ck_assert_int_ne(err->rc, WEIR_OK);
}

static void on_leadership(void *ctx, bool leader, uint64_t epoch, const struct weir_error *err)
{
    struct world *w = ctx;
    ck_assert(leader == (err == NULL));
    ck_assert(!leader || epoch > w->epoch); /* (C3) */
    w->leader = leader;
    w->lost = w->lost || !leader;
    w->epoch = epoch;
}

static void on_snapshot_take(void *ctx, struct weir_buf *out)
{
    struct world *w = ctx;
    weir_buf_put_u64(out, w->last_index);
    for (uint32_t i = 0; i < w->nstate; i++) {
        weir_buf_put_u64(out, w->state[i]);
    }
}

static enum weir_rc on_snapshot_restore(void *ctx, struct weir_slice snapshot, struct weir_error *err)
{
    struct world *w = ctx;
    (void)err;
    struct weir_reader reader = weir_reader(snapshot);
    w->last_index = weir_read_u64(&reader);
    w->nstate = 0;
    while (reader.rest.len > 0) {
        w->state[w->nstate++] = weir_read_u64(&reader);
    }
    ck_assert(!reader.failed);
    return WEIR_OK;
}

static void world_init(struct world *w)
{
    *w = (struct world){0};
    weir_temp_dir(w->dir, "file-log");
    w->executor.submit = submit;
    w->shim.real = weir_fs_local_create();
    w->shim.ops = (struct weir_fs_ops){.open = shim_open, .append = shim_append, .pread = shim_pread, .fsync = shim_fsync,
                                       .truncate = shim_truncate, .size = shim_size, .close = shim_close, .rename = shim_rename,
                                       .unlink = shim_unlink, .fsync_dir = shim_fsync_dir};
    w->shim.fs.ops = &w->shim.ops;
    w->shim.rc = WEIR_RESOURCE;
}

static enum weir_rc world_open(struct world *w, uint64_t compact_bytes, struct weir_error *err)
{
    w->nstate = 0;
    w->last_index = 0;
    w->leader = false;
    w->ncommitted = 0;
    const struct weir_file_log_options options = {.fs = &w->shim.fs,
                                                  .dir = w->dir,
                                                  .executor = &w->executor,
                                                  .compact_bytes = compact_bytes,
                                                  .listener = {.ctx = w,
                                                               .apply = on_apply,
                                                               .outcome = on_outcome,
                                                               .leadership = on_leadership,
                                                               .failed = on_failed,
                                                               .snapshot_take = on_snapshot_take,
                                                               .snapshot_restore = on_snapshot_restore}};
    enum weir_rc rc = weir_file_log_open(&options, &w->log, err);
    if (rc == WEIR_OK) {
        weir_file_log_start(w->log);
        ck_assert(w->leader);
    }
    return rc;
}

static void world_close(struct world *w)
{
    weir_cluster_log_destroy(w->log);
    w->log = NULL;
}

static void world_fini(struct world *w)
{
    char command[128];
    weir_fs_local_destroy(w->shim.real);
    (void)snprintf(command, sizeof(command), "rm -rf %s", w->dir);
    ck_assert_int_eq(system(command), 0);
}

static void propose(struct world *w, uint64_t value)
{
    uint8_t entry[40] = {0};
    weir_le_put_u64(entry, value);
    weir_cluster_log_propose(w->log, value, weir_slice(entry, 8 + value % 32));
}

static struct weir_buf read_log(const struct world *w)
{
    char path[96];
    struct weir_buf buf = {0};
    struct weir_error err;
    (void)snprintf(path, sizeof(path), "%s/cluster.log", w->dir);
    ck_assert_int_eq(weir_fs_read_all(w->shim.real, path, 1 << 20, &buf, &err), WEIR_OK);
    return buf;
}

static void write_log(const struct world *w, struct weir_slice bytes)
{
    char path[96];
    struct weir_error err;
    (void)snprintf(path, sizeof(path), "%s/cluster.log", w->dir);
    ck_assert_int_eq(weir_fs_write_atomic(w->shim.real, path, bytes, &err), WEIR_OK);
}

START_TEST(entries_survive_and_terms_grow)
{
    struct world w;
    struct weir_error err;
    world_init(&w);
    for (uint64_t life = 1; life <= 4; life++) {
        ck_assert_int_eq(world_open(&w, life >= 3 ? 200 : 0, &err), WEIR_OK);
        ck_assert_uint_eq(w.nstate, (life - 1) * 10);
        for (uint64_t i = 0; i < 10; i++) {
            propose(&w, life * 100 + i);
            ck_assert_uint_eq(w.outcomes[WEIR_PROPOSAL_COMMITTED], (life - 1) * 10 + (i > 4 ? 5 : 0)); /* (C4) */
            if (i == 4) {
                run_work(&w);
            }
        }
        run_work(&w);
        for (uint32_t i = 0; i < w.nstate; i++) {
            ck_assert_uint_eq(w.state[i], (uint64_t)(i / 10 + 1) * 100 + i % 10);
        }
        ck_assert(!weir_file_log_busy(w.log));
        world_close(&w);
    }
    ck_assert_uint_eq(w.epoch, 4);
    world_fini(&w);
}
END_TEST

START_TEST(a_cut_file_loses_only_its_last_frame)
{
    struct world w;
    struct weir_error err;
    world_init(&w);
    ck_assert_int_eq(world_open(&w, 0, &err), WEIR_OK);
    size_t ends[5] = {WEIR_LOG_FILE_HEADER_BYTES};
    for (uint64_t i = 0; i < 4; i++) {
        propose(&w, i);
        run_work(&w);
        struct weir_buf buf = read_log(&w);
        ends[i + 1] = buf.len;
        weir_buf_fini(&buf);
    }
    world_close(&w);
    struct weir_buf whole = read_log(&w);
    for (size_t len = 0; len <= whole.len; len++) {
        write_log(&w, weir_slice(whole.data, len));
        w.epoch = 0;
        ck_assert_int_eq(world_open(&w, 0, &err), WEIR_OK);
        uint32_t frames = 0;
        while (frames < 4 && ends[frames + 1] <= len) {
            frames++;
        }
        ck_assert_uint_eq(w.nstate, frames);
        propose(&w, 77); /* what is cut never comes back */
        run_work(&w);
        world_close(&w);
        w.epoch = 0;
        ck_assert_int_eq(world_open(&w, 0, &err), WEIR_OK);
        ck_assert_uint_eq(w.nstate, frames + 1);
        ck_assert_uint_eq(w.state[frames], 77);
        world_close(&w);
    }
    weir_buf_fini(&whole);
    world_fini(&w);
}
END_TEST

START_TEST(damage_before_the_last_frame_is_an_error)
{
    struct world w;
    struct weir_error err;
    world_init(&w);
    ck_assert_int_eq(world_open(&w, 0, &err), WEIR_OK);
    for (uint64_t i = 0; i < 3; i++) {
        propose(&w, i);
        run_work(&w);
    }
    world_close(&w);
    struct weir_buf whole = read_log(&w);
    size_t last = whole.len - (WEIR_LOG_FRAME_HEADER_BYTES + 4 + 8 + 2);
    for (size_t i = 0; i < whole.len; i++) {
        whole.data[i] ^= 0x10;
        write_log(&w, weir_buf_slice(&whole));
        w.epoch = 0;
        enum weir_rc rc = world_open(&w, 0, &err);
        ck_assert_int_eq(rc, i < last ? WEIR_CORRUPT : WEIR_OK);
        if (rc == WEIR_OK) {
            ck_assert_uint_eq(w.nstate, 2);
            world_close(&w);
        } else {
            ck_assert_ptr_nonnull(strstr(err.text, "cluster.log"));
        }
        whole.data[i] ^= 0x10;
    }
    weir_buf_fini(&whole);
    world_fini(&w);
}
END_TEST

/* The n-th disk call fails, once or for ever: whatever was told COMMITTED is there afterwards, whatever was REJECTED is not. */
START_TEST(failing_disk_calls)
{
    for (uint32_t fail_at = 1; fail_at < 60; fail_at++) {
        struct world w;
        struct weir_error err;
        world_init(&w);
        w.shim.fail_at = fail_at;
        w.shim.for_ever = _i == 1;
        bool rejected[ENTRIES] = {false};
        if (world_open(&w, 150, &err) == WEIR_OK) {
            for (uint64_t i = 1; i <= 10; i++) {
                uint32_t before = w.outcomes[WEIR_PROPOSAL_REJECTED];
                propose(&w, i);
                run_work(&w);
                rejected[i] = w.outcomes[WEIR_PROPOSAL_REJECTED] > before;
                ck_assert(!w.lost || w.outcomes[WEIR_PROPOSAL_COMMITTED] + rejected[i] <= i); /* (C5) */
            }
            ck_assert_uint_eq(w.outcomes[0] + w.outcomes[1] + w.outcomes[2], 10);
            ck_assert(w.outcomes[WEIR_PROPOSAL_UNKNOWN] == 0 || w.lost);
            world_close(&w);
        }
        w.shim.fail_at = 0;
        w.epoch = 0;
        uint32_t ncommitted = w.ncommitted;
        ck_assert_int_eq(world_open(&w, 0, &err), WEIR_OK);
        uint32_t found = 0;
        for (uint32_t i = 0; i < w.nstate; i++) {
            ck_assert(w.state[i] <= 10 && !rejected[w.state[i]]);
            found += found < ncommitted && w.state[i] == w.committed[found];
        }
        ck_assert_uint_eq(found, ncommitted);
        world_close(&w);
        world_fini(&w);
    }
}
END_TEST

START_TEST(a_directory_has_one_owner)
{
    struct world w;
    struct weir_error err;
    world_init(&w);
    struct weir_dir_lock *one = NULL;
    struct weir_dir_lock *two = NULL;
    ck_assert_int_eq(weir_dir_lock_open(w.dir, &one, &err), WEIR_OK);
    ck_assert_int_eq(weir_dir_lock_open(w.dir, &two, &err), WEIR_EXISTS);
    weir_dir_lock_close(one);
    ck_assert_int_eq(weir_dir_lock_open(w.dir, &two, &err), WEIR_OK);
    weir_dir_lock_close(two);
    world_fini(&w);
}
END_TEST

Suite *file_log_suite(void);

Suite *file_log_suite(void)
{
    Suite *suite = suite_create("file_log");
    TCase *tcase = tcase_create("file_log");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, entries_survive_and_terms_grow);
    tcase_add_test(tcase, a_cut_file_loses_only_its_last_frame);
    tcase_add_test(tcase, damage_before_the_last_frame_is_an_error);
    tcase_add_loop_test(tcase, failing_disk_calls, 0, 2);
    tcase_add_test(tcase, a_directory_has_one_owner);
    suite_add_tcase(suite, tcase);
    return suite;
}
