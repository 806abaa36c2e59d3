/*
 * Checkpoints on a real directory behind a shim that stops after the n-th changing call: what a crash at each operation leaves.
 */
#include "jobmanager/checkpoint/storage.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/fs/fs_local.h"
#include "tests/lib/temp_dir.h"

/* --- a file system that is dead after a number of changes --------------------------------------------------------------- */
struct shim {
    struct weir_fs fs;
    struct weir_fs *real;
    struct weir_fs_ops ops;
    uint32_t left; /* changes until the crash */
};

struct shim_file {
    struct weir_fs_file file;
    struct weir_fs_file *real;
    struct shim *shim;
};

static bool dead(struct shim *shim)
{
    if (shim->left == 0) {
        return true;
    }
    shim->left--;
    return false;
}

static enum weir_rc crash(struct weir_error *err)
{
    return weir_error_set(err, WEIR_IO, "crashed");
}

static enum weir_rc shim_open(struct weir_fs *fs, const char *path, enum weir_fs_mode mode, struct weir_fs_file **out_file, struct weir_error *err)
{
    struct shim *shim = (struct shim *)fs;
    struct weir_fs_file *real = NULL;
    if (mode != WEIR_FS_READ && dead(shim)) {
        return crash(err);
    }
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
    if (dead(f->shim)) { /* torn */
        enum weir_rc rc = weir_fs_append(f->real, weir_slice(bytes.data, bytes.len / 2), err);
        return rc == WEIR_OK ? crash(err) : rc;
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
    return dead(f->shim) ? crash(err) : weir_fs_fsync(f->real, err);
}

static void shim_close(struct weir_fs_file *file)
{
    weir_fs_close(((struct shim_file *)file)->real);
    weir_free(file);
}

static enum weir_rc shim_rename(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err)
{
    struct shim *shim = (struct shim *)fs;
    return dead(shim) ? crash(err) : weir_fs_rename(shim->real, from, to, err);
}

static enum weir_rc shim_unlink(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    struct shim *shim = (struct shim *)fs;
    return dead(shim) ? crash(err) : weir_fs_unlink(shim->real, path, err);
}

static enum weir_rc shim_mkdirs(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    struct shim *shim = (struct shim *)fs;
    return dead(shim) ? crash(err) : weir_fs_mkdirs(shim->real, path, err);
}

static enum weir_rc shim_rmdir(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    struct shim *shim = (struct shim *)fs;
    return dead(shim) ? crash(err) : weir_fs_rmdir(shim->real, path, err);
}

static enum weir_rc shim_list(struct weir_fs *fs, const char *path, weir_fs_list_fn *each, void *ctx, struct weir_error *err)
{
    return weir_fs_list(((struct shim *)fs)->real, path, each, ctx, err);
}

static enum weir_rc shim_fsync_dir(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    struct shim *shim = (struct shim *)fs;
    return dead(shim) ? crash(err) : weir_fs_fsync_dir(shim->real, path, err);
}

/* --- a store ------------------------------------------------------------------------------------------------------------ */
static const char job[] = "0123456789abcdef0123456789abcdef";

struct store {
    struct shim shim;
    struct weir_fs *real;
    char root[WEIR_TEMP_DIR_MAX];
    struct weir_buf manifest;
    uint64_t bytes, hash;
};

static void init(struct store *s)
{
    *s = (struct store){0};
    weir_temp_dir(s->root, "ckpt");
    s->real = weir_fs_local_create();
    s->shim = (struct shim){.real = s->real, .left = UINT32_MAX};
    s->shim.ops = (struct weir_fs_ops){.open = shim_open,
                                       .append = shim_append,
                                       .pread = shim_pread,
                                       .fsync = shim_fsync,
                                       .close = shim_close,
                                       .rename = shim_rename,
                                       .unlink = shim_unlink,
                                       .mkdirs = shim_mkdirs,
                                       .rmdir = shim_rmdir,
                                       .list = shim_list,
                                       .fsync_dir = shim_fsync_dir};
    s->shim.fs.ops = &s->shim.ops;
    static const struct weir_ckpt_handle handles[] = {{.vertex = 0, .subtask = 0, .path = "/c/0-0", .bytes = 5, .hash = UINT64_MAX},
                                                      {.vertex = 1, .subtask = 2, .path = "/c/1-2"}};
    static const char *const vertex_ids[] = {"v0", "v1"};
    const struct weir_ckpt_manifest manifest = {
        .job_id = job, .checkpoint_id = 7, .attempt = 3, .at_ms = -5, .handles = handles, .nhandles = 2, .vertex_ids = vertex_ids, .nvertices = 2};
    weir_ckpt_encode(&manifest, &s->manifest);
}

static void fini(struct store *s)
{
    struct weir_error err;
    (void)weir_error_set(&err, WEIR_IO, "unset");
    ck_assert_int_eq(weir_ckpt_sweep(s->real, s->root, job, NULL, 0, UINT64_MAX, &err), WEIR_OK);
    (void)rmdir(s->root);
    weir_fs_local_destroy(s->real);
    weir_buf_fini(&s->manifest);
}

/* A checkpoint with a task's file, as far as the crash allows. */
static enum weir_rc take(struct store *s, uint64_t id)
{
    struct weir_error err;
    char *dir = weir_ckpt_dir_copy(s->root, job, id);
    char *file = weir_strfmt("%s/0-0", dir);
    enum weir_rc rc = weir_fs_mkdirs(&s->shim.fs, dir, &err);
    rc = rc == WEIR_OK ? weir_fs_write_atomic(&s->shim.fs, file, weir_slice("state", 5), &err) : rc;
    rc = rc == WEIR_OK ? weir_ckpt_write(&s->shim.fs, dir, weir_buf_slice(&s->manifest), &s->bytes, &s->hash, &err) : rc;
    weir_free(file);
    weir_free(dir);
    return rc;
}

static enum weir_rc load(struct store *s, uint64_t id, uint64_t bytes, uint64_t hash, struct weir_error *err)
{
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_ckpt_manifest manifest;
    char *dir = weir_ckpt_dir_copy(s->root, job, id);
    char *path = weir_ckpt_metadata_path_copy(dir);
    enum weir_rc rc = weir_ckpt_read(s->real, path, bytes, hash, arena, &manifest, err);
    if (rc == WEIR_OK) {
        ck_assert_str_eq(manifest.job_id, job);
        ck_assert_uint_eq(manifest.checkpoint_id, 7);
        ck_assert_uint_eq(manifest.attempt, 3);
        ck_assert_int_eq(manifest.at_ms, -5);
        ck_assert_uint_eq(manifest.nhandles, 2);
        ck_assert_uint_eq(manifest.handles[0].hash, UINT64_MAX);
        ck_assert_uint_eq(manifest.handles[1].subtask, 2);
        ck_assert_str_eq(manifest.handles[1].path, "/c/1-2");
        ck_assert_str_eq(manifest.vertex_ids[1], "v1");
    } else {
        ck_assert_ptr_nonnull(strstr(err->text, path));
    }
    weir_free(path);
    weir_free(dir);
    weir_arena_destroy(arena);
    return rc;
}

static bool there(struct store *s, uint64_t id)
{
    char *dir = weir_ckpt_dir_copy(s->root, job, id);
    bool is = access(dir, F_OK) == 0;
    weir_free(dir);
    return is;
}

START_TEST(a_crash_at_each_operation)
{
    uint32_t completed = 0;
    for (uint32_t crash_at = 0; completed < 2; crash_at++) {
        struct store s;
        struct weir_error err;
        init(&s);
        ck_assert_int_eq(take(&s, 6), WEIR_OK);
        s.shim.left = crash_at;
        bool ok = take(&s, 7) == WEIR_OK;
        completed += ok;
        ck_assert_int_eq(load(&s, 6, s.bytes, s.hash, &err), WEIR_OK);
        if (ok) { /* (S1) */
            ck_assert_int_eq(load(&s, 7, s.bytes, s.hash, &err), WEIR_OK);
        }
        s.shim.left = UINT32_MAX; /* a new life: 7 was aborted, or completed and 6 is dropped */
        const uint64_t keep = ok ? 7 : 6;
        ck_assert_int_eq(weir_ckpt_sweep(&s.shim.fs, s.root, job, &keep, 1, 8, &err), WEIR_OK);
        ck_assert_int_eq(there(&s, 6), !ok);
        ck_assert_int_eq(there(&s, 7), ok);
        ck_assert_int_eq(load(&s, keep, s.bytes, s.hash, &err), WEIR_OK);
        fini(&s);
    }
}
END_TEST

/* (S2) */
START_TEST(a_sweep_removes_nothing_else_and_can_be_repeated)
{
    bool completed = false;
    for (uint32_t crash_at = 0; !completed; crash_at++) {
        struct store s;
        struct weir_error err;
        init(&s);
        for (uint64_t id = 1; id <= 12; id++) {
            ck_assert_int_eq(take(&s, id), WEIR_OK);
        }
        char *other = weir_strfmt("%s/%s/savepoint-1", s.root, job);
        char *odd = weir_strfmt("%s/%s/chk-03", s.root, job);
        ck_assert_int_eq(weir_fs_mkdirs(s.real, other, &err), WEIR_OK);
        ck_assert_int_eq(weir_fs_mkdirs(s.real, odd, &err), WEIR_OK);
        const uint64_t keep[] = {3, 10};
        s.shim.left = crash_at;
        completed = weir_ckpt_sweep(&s.shim.fs, s.root, job, keep, 2, 11, &err) == WEIR_OK;
        for (int again = 0; again < 2; again++) {
            ck_assert(load(&s, 3, s.bytes, s.hash, &err) == WEIR_OK && load(&s, 10, s.bytes, s.hash, &err) == WEIR_OK);
            ck_assert(there(&s, 11) && there(&s, 12));
            ck_assert(access(other, F_OK) == 0 && access(odd, F_OK) == 0);
            ck_assert_int_eq(weir_ckpt_sweep(s.real, s.root, job, keep, 2, 11, &err), WEIR_OK);
        }
        for (uint64_t id = 1; id <= 10; id++) {
            ck_assert_int_eq(there(&s, id), id == 3 || id == 10);
        }
        ck_assert_int_eq(rmdir(other), 0);
        ck_assert_int_eq(rmdir(odd), 0);
        ck_assert_int_eq(weir_ckpt_sweep(s.real, s.root, "no-such-job", NULL, 0, UINT64_MAX, &err), WEIR_OK);
        fini(&s);
        weir_free(odd);
        weir_free(other);
        ck_assert_int_ne(access(s.root, F_OK), 0); /* the job's own directory goes with the last of it */
    }
}
END_TEST

/* (S3) */
START_TEST(the_tasks_logs_go_when_the_job_is_over)
{
    bool completed = false;
    for (uint32_t crash_at = 0; !completed; crash_at++) {
        struct store s;
        struct weir_error err;
        init(&s);
        ck_assert_int_eq(take(&s, 7), WEIR_OK);
        ck_assert_int_eq(take(&s, 8), WEIR_OK);
        char *logs = weir_strfmt("%s/%s/log", s.root, job);
        char *segment = weir_strfmt("%s/3-0-1-0", logs);
        ck_assert_int_eq(weir_fs_mkdirs(s.real, logs, &err), WEIR_OK);
        ck_assert_int_eq(weir_fs_write_atomic(s.real, segment, weir_slice("records", 7), &err), WEIR_OK);
        const uint64_t keep = 8;
        ck_assert_int_eq(weir_ckpt_sweep(s.real, s.root, job, &keep, 1, 9, &err), WEIR_OK); /* it runs */
        ck_assert(!there(&s, 7) && there(&s, 8));
        ck_assert_int_eq(access(segment, F_OK), 0);
        s.shim.left = crash_at;
        completed = weir_ckpt_sweep(&s.shim.fs, s.root, job, &keep, 1, UINT64_MAX, &err) == WEIR_OK; /* it has failed: 8 is kept */
        ck_assert_int_eq(weir_ckpt_sweep(s.real, s.root, job, &keep, 1, UINT64_MAX, &err), WEIR_OK);
        ck_assert_int_ne(access(logs, F_OK), 0);
        ck_assert_int_eq(load(&s, 8, s.bytes, s.hash, &err), WEIR_OK);
        weir_free(segment);
        weir_free(logs);
        fini(&s);
        ck_assert_int_ne(access(s.root, F_OK), 0);
    }
}
END_TEST

START_TEST(damage_is_found)
{
    struct store s;
    struct weir_error err;
    init(&s);
    ck_assert_int_eq(take(&s, 7), WEIR_OK);
    ck_assert_int_eq(load(&s, 8, s.bytes, s.hash, &err), WEIR_NOT_FOUND);
    ck_assert_int_eq(load(&s, 7, s.bytes + 1, s.hash, &err), WEIR_CORRUPT);
    ck_assert_int_eq(load(&s, 7, s.bytes, s.hash + 1, &err), WEIR_CORRUPT);
    struct weir_buf good = {0};
    char *dir = weir_ckpt_dir_copy(s.root, job, 7);
    char *path = weir_ckpt_metadata_path_copy(dir);
    ck_assert_int_eq(weir_fs_read_all(s.real, path, 1 << 20, &good, &err), WEIR_OK);
    for (size_t i = 0; i < good.len; i++) { /* each byte altered, and each cut; also with the log's word for it, so that the checksum counts */
        good.data[i] ^= 0x10;
        ck_assert_int_eq(weir_fs_write_atomic(s.real, path, weir_buf_slice(&good), &err), WEIR_OK);
        ck_assert_int_eq(load(&s, 7, s.bytes, s.hash, &err), WEIR_CORRUPT);
        enum weir_rc rc = load(&s, 7, good.len, weir_hash_bytes(good.data, good.len, 0), &err);
        ck_assert(rc == WEIR_CORRUPT || (rc == WEIR_UNSUPPORTED && i >= 8 && i < 12));
        good.data[i] ^= 0x10;
        ck_assert_int_eq(weir_fs_write_atomic(s.real, path, weir_slice(good.data, i), &err), WEIR_OK);
        ck_assert_int_eq(load(&s, 7, i, weir_hash_bytes(good.data, i, 0), &err), WEIR_CORRUPT);
    }
    weir_free(path);
    weir_free(dir);
    weir_buf_fini(&good);
    fini(&s);
}
END_TEST

Suite *storage_suite(void);

Suite *storage_suite(void)
{
    Suite *suite = suite_create("storage");
    TCase *tcase = tcase_create("storage");
    tcase_add_test(tcase, a_crash_at_each_operation);
    tcase_add_test(tcase, a_sweep_removes_nothing_else_and_can_be_repeated);
    tcase_add_test(tcase, the_tasks_logs_go_when_the_job_is_over);
    tcase_add_test(tcase, damage_is_found);
    suite_add_tcase(suite, tcase);
    return suite;
}
