#include "common/fs/fs.h"

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/fs/fs_local.h"
#include "common/fs/fs_sim.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static void ok(enum weir_rc rc, const struct weir_error *err)
{
    ck_assert_msg(rc == WEIR_OK, "%s: %s", weir_rc_name(rc), err->text);
}

static void collect(void *ctx, const char *name, bool is_dir)
{
    weir_buf_put_fmt(ctx, "%s%s ", name, is_dir ? "/" : "");
}

static void expect_list(struct weir_fs *fs, const char *dir, const char *expected)
{
    struct weir_error err;
    struct weir_buf names = {0};
    ok(weir_fs_list(fs, dir, collect, &names, &err), &err);
    ck_assert_msg(weir_slice_eq_str(weir_buf_slice(&names), expected), "%.*s", (int)names.len, (char *)names.data);
    weir_buf_fini(&names);
}

static void expect_file(struct weir_fs *fs, const char *path, const char *expected)
{
    struct weir_error err;
    struct weir_buf bytes = {0};
    ok(weir_fs_read_all(fs, path, 1 << 20, &bytes, &err), &err);
    ck_assert_msg(weir_slice_eq_str(weir_buf_slice(&bytes), expected), "%.*s", (int)bytes.len, (char *)bytes.data);
    weir_buf_fini(&bytes);
}

/* Opening, reading and writing, with a file that does not exist yet and ends as "hello!?". */
static void check_file(struct weir_fs *fs, const char *path)
{
    struct weir_error err;
    struct weir_fs_file *file = NULL;
    ok(weir_fs_open(fs, path, WEIR_FS_CREATE_NEW, &file, &err), &err);
    ok(weir_fs_append(file, weir_slice_str("hello "), &err), &err);
    ok(weir_fs_append(file, weir_slice_str("world"), &err), &err);
    ok(weir_fs_fsync(file, &err), &err);
    uint64_t size = 0;
    ok(weir_fs_size(file, &size, &err), &err);
    ck_assert_uint_eq(size, 11);
    char part[16];
    size_t got = 0;
    ok(weir_fs_pread(file, 6, part, sizeof(part), &got, &err), &err);
    ck_assert_uint_eq(got, 5);
    ck_assert_int_eq(memcmp(part, "world", 5), 0);
    ok(weir_fs_pread(file, 11, part, sizeof(part), &got, &err), &err);
    ck_assert_uint_eq(got, 0);
    ok(weir_fs_truncate(file, 5, &err), &err);
    ok(weir_fs_append(file, weir_slice_str("!"), &err), &err);
    weir_fs_close(file);
    expect_file(fs, path, "hello!");
    ck_assert_int_eq(weir_fs_open(fs, path, WEIR_FS_CREATE_NEW, &file, &err), WEIR_EXISTS);
    ok(weir_fs_open(fs, path, WEIR_FS_APPEND, &file, &err), &err);
    ok(weir_fs_append(file, weir_slice_str("?"), &err), &err);
    weir_fs_close(file);
    expect_file(fs, path, "hello!?");
    struct weir_buf bytes = {0};
    ck_assert_int_eq(weir_fs_read_all(fs, path, 6, &bytes, &err), WEIR_LIMIT);
    ck_assert_uint_eq(bytes.len, 0);
    ok(weir_fs_read_all(fs, path, 7, &bytes, &err), &err);
    weir_buf_fini(&bytes);
}

/* The contract of fs.h, for any implementation; root is an empty directory. */
static void check_contract(struct weir_fs *fs, const char *root)
{
    struct weir_error err;
    struct weir_fs_file *file = NULL;
    char *dir = weir_strfmt("%s/x/y", root);
    char *a = weir_strfmt("%s/a", dir);
    char *b = weir_strfmt("%s/b", dir);
    char *sub = weir_strfmt("%s/Z", dir);
    ck_assert_int_eq(weir_fs_open(fs, a, WEIR_FS_CREATE, &file, &err), WEIR_NOT_FOUND); /* no directory yet */
    ok(weir_fs_mkdirs(fs, dir, &err), &err);
    ok(weir_fs_mkdirs(fs, dir, &err), &err);
    ok(weir_fs_mkdirs(fs, sub, &err), &err);
    ck_assert_int_eq(weir_fs_open(fs, a, WEIR_FS_READ, &file, &err), WEIR_NOT_FOUND);
    ck_assert_msg(strstr(err.text, a) != NULL, "%s", err.text);
    ck_assert_int_eq(weir_fs_open(fs, sub, WEIR_FS_READ, &file, &err), WEIR_INVALID);

    check_file(fs, a);
    ok(weir_fs_link(fs, a, b, &err), &err);
    ck_assert_int_eq(weir_fs_link(fs, a, b, &err), WEIR_EXISTS);
    expect_list(fs, dir, "Z/ a b ");
    ok(weir_fs_unlink(fs, a, &err), &err);
    ck_assert_int_eq(weir_fs_unlink(fs, a, &err), WEIR_NOT_FOUND);
    expect_file(fs, b, "hello!?");
    ok(weir_fs_write_atomic(fs, a, weir_slice_str("new"), &err), &err);
    ok(weir_fs_rename(fs, a, b, &err), &err);
    expect_file(fs, b, "new");
    expect_list(fs, dir, "Z/ b ");
    ck_assert_int_eq(weir_fs_rename(fs, a, b, &err), WEIR_NOT_FOUND);

    struct weir_buf bytes = {0};
    struct weir_fs_stat stat;
    ok(weir_fs_stat(fs, b, &stat, &err), &err);
    ck_assert(!stat.is_dir && stat.bytes == 3);
    ok(weir_fs_stat(fs, sub, &stat, &err), &err);
    ck_assert(stat.is_dir);
    ck_assert_int_eq(weir_fs_rmdir(fs, dir, &err), WEIR_EXISTS);
    ok(weir_fs_rmdir(fs, sub, &err), &err);
    ok(weir_fs_fsync_dir(fs, dir, &err), &err);
    ok(weir_fs_unlink(fs, b, &err), &err);
    expect_list(fs, dir, "");
    ck_assert_int_eq(weir_fs_fsync_dir(fs, sub, &err), WEIR_NOT_FOUND);
    ck_assert_int_eq(weir_fs_list(fs, sub, collect, &bytes, &err), WEIR_NOT_FOUND);
    ok(weir_fs_rmdir(fs, dir, &err), &err);
    weir_free(dir);
    weir_free(a);
    weir_free(b);
    weir_free(sub);
}

START_TEST(both_implementations_keep_the_contract)
{
    char root[] = "/tmp/weir-fs-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(root));
    struct weir_error err;
    struct weir_fs *local = weir_fs_local_create();
    check_contract(local, root);
    char *x = weir_strfmt("%s/x", root);
    ok(weir_fs_rmdir(local, x, &err), &err);
    ok(weir_fs_rmdir(local, root, &err), &err);
    weir_free(x);
    weir_fs_local_destroy(local);

    struct weir_fs *sim = weir_fs_sim_create();
    ok(weir_fs_mkdirs(sim, root, &err), &err);
    check_contract(sim, root);
    weir_fs_sim_destroy(sim);
}
END_TEST

/* Old or new and nothing between, for every call that can fail and every crash after it. */
START_TEST(an_atomic_write_is_all_or_nothing)
{
    uint32_t old_seen = 0;
    uint32_t new_seen = 0;
    for (uint64_t nth = 1; nth < 12; nth++) {
        for (uint64_t seed = 0; seed < 50; seed++) {
            struct weir_error err;
            struct weir_fs *fs = weir_fs_sim_create();
            ok(weir_fs_mkdirs(fs, "/d", &err), &err);
            ok(weir_fs_write_atomic(fs, "/d/f", weir_slice_str("the old bytes"), &err), &err);
            weir_fs_sim_fail(fs, (struct weir_fs_sim_fault){.nth = nth, .rc = WEIR_IO, .lasting = seed % 2 == 0});
            enum weir_rc rc = weir_fs_write_atomic(fs, "/d/f", weir_slice_str("new"), &err);
            bool met = weir_fs_sim_failed(fs);
            ck_assert_msg((rc == WEIR_OK) == !met, "call %d", (int)nth);
            weir_fs_sim_fail(fs, (struct weir_fs_sim_fault){0});
            weir_fs_sim_crash(fs, seed);
            struct weir_buf bytes = {0};
            ok(weir_fs_read_all(fs, "/d/f", 100, &bytes, &err), &err);
            bool is_new = weir_slice_eq_str(weir_buf_slice(&bytes), "new");
            ck_assert(is_new || weir_slice_eq_str(weir_buf_slice(&bytes), "the old bytes"));
            ck_assert(is_new || rc != WEIR_OK); /* acknowledged is durable */
            old_seen += is_new ? 0 : 1;
            new_seen += is_new ? 1 : 0;
            weir_buf_fini(&bytes);
            weir_fs_sim_destroy(fs);
        }
    }
    ck_assert_uint_gt(old_seen, 0);
    ck_assert_uint_gt(new_seen, 0);
}
END_TEST

/* The simulator must be able to hurt: a writer that forgets a sync is caught by some seed. */
START_TEST(a_crash_loses_what_was_not_synced)
{
    uint32_t lost_name = 0;
    uint32_t torn = 0;
    uint32_t kept = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct weir_error err;
        struct weir_fs *fs = weir_fs_sim_create();
        struct weir_fs_file *file = NULL;
        ok(weir_fs_open(fs, "log", WEIR_FS_CREATE_NEW, &file, &err), &err);
        ok(weir_fs_append(file, weir_slice_str("synced|"), &err), &err);
        ok(weir_fs_fsync(file, &err), &err);
        ok(weir_fs_append(file, weir_slice_str("not synced"), &err), &err);
        weir_fs_sim_crash(fs, seed);
        ck_assert_int_eq(weir_fs_append(file, weir_slice_str("x"), &err), WEIR_IO);
        ck_assert_int_eq(weir_fs_fsync(file, &err), WEIR_IO);
        weir_fs_close(file);
        struct weir_buf bytes = {0};
        if (weir_fs_read_all(fs, "log", 100, &bytes, &err) != WEIR_OK) {
            lost_name++;
        } else {
            ck_assert_uint_ge(bytes.len, 7);
            ck_assert_int_eq(memcmp(bytes.data, "synced|", 7), 0);
            bool whole = weir_slice_eq_str(weir_buf_slice(&bytes), "synced|not synced");
            kept += whole ? 1 : 0;
            torn += whole ? 0 : 1;
        }
        weir_buf_fini(&bytes);
        weir_fs_sim_destroy(fs);
    }
    ck_assert_uint_gt(lost_name, 0);
    ck_assert_uint_gt(torn, 0);
    ck_assert_uint_gt(kept, 0);
}
END_TEST

/* Of that file only, and what is left is there for good. */
START_TEST(a_machine_loses_what_it_had_not_synced)
{
    uint32_t torn = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct weir_error err;
        struct weir_fs *fs = weir_fs_sim_create();
        struct weir_fs_file *file = NULL;
        struct weir_fs_file *other = NULL;
        ok(weir_fs_open(fs, "a", WEIR_FS_CREATE_NEW, &file, &err), &err);
        ok(weir_fs_append(file, weir_slice_str("synced|"), &err), &err);
        ok(weir_fs_fsync(file, &err), &err);
        ok(weir_fs_append(file, weir_slice_str("not synced"), &err), &err);
        ok(weir_fs_open(fs, "b", WEIR_FS_CREATE_NEW, &other, &err), &err);
        ok(weir_fs_append(other, weir_slice_str("another's"), &err), &err);
        weir_fs_sim_lose(file, seed);
        struct weir_buf bytes = {0};
        ok(weir_fs_read_all(fs, "a", 100, &bytes, &err), &err);
        ck_assert(bytes.len >= 7 && bytes.len <= 17 && memcmp(bytes.data, "synced|", 7) == 0);
        torn += weir_slice_eq_str(weir_buf_slice(&bytes), "synced|not synced") ? 0 : 1;
        ok(weir_fs_fsync_dir(fs, ".", &err), &err);
        ck_assert(weir_fs_sim_is_durable(fs, "a") && !weir_fs_sim_is_durable(fs, "b"));
        expect_file(fs, "b", "another's");
        ok(weir_fs_append(other, weir_slice_str(" file"), &err), &err); /* its machine goes on */
        weir_fs_close(file);
        weir_fs_close(other);
        weir_buf_fini(&bytes);
        weir_fs_sim_destroy(fs);
    }
    ck_assert(torn > 0 && torn < 100);
}
END_TEST

START_TEST(an_unsynced_rename_happens_wholly_or_not_at_all)
{
    uint32_t moved = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct weir_error err;
        struct weir_fs *fs = weir_fs_sim_create();
        ok(weir_fs_mkdirs(fs, "/p/q", &err), &err);
        ok(weir_fs_write_atomic(fs, "/p/f", weir_slice_str("f"), &err), &err);
        ok(weir_fs_rename(fs, "/p/f", "/p/q/g", &err), &err);
        weir_fs_sim_crash(fs, seed);
        struct weir_fs_stat stat;
        bool there = weir_fs_stat(fs, "/p/q/g", &stat, &err) == WEIR_OK;
        ck_assert_int_eq(weir_fs_stat(fs, "/p/f", &stat, &err), there ? WEIR_NOT_FOUND : WEIR_OK);
        expect_file(fs, there ? "/p/q/g" : "/p/f", "f");
        moved += there ? 1 : 0;
        weir_fs_sim_destroy(fs);
    }
    ck_assert_uint_gt(moved, 0);
    ck_assert_uint_lt(moved, 100);
}
END_TEST

/* Random changes of a few names: the simulator and the machine agree on every answer and on the result. */
START_TEST(the_simulator_agrees_with_the_machine)
{
    char root[] = "/tmp/weir-fs-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(root));
    struct weir_error err;
    struct weir_fs *both[2] = {weir_fs_local_create(), weir_fs_sim_create()};
    ok(weir_fs_mkdirs(both[1], root, &err), &err);
    struct weir_rand rand;
    weir_rand_init(&rand, 7);
    for (uint32_t step = 0; step < 3000; step++) {
        uint64_t what = weir_rand_below(&rand, 5);
        char *from = weir_strfmt("%s/%c", root, (char)('a' + weir_rand_below(&rand, 4)));
        char *to = weir_strfmt("%s/%c", root, (char)('a' + weir_rand_below(&rand, 4)));
        enum weir_rc rcs[2];
        for (int i = 0; i < 2; i++) {
            struct weir_fs_file *file = NULL;
            if (what == 0) {
                rcs[i] = weir_fs_open(both[i], from, step % 3 == 0 ? WEIR_FS_CREATE : WEIR_FS_APPEND, &file, &err);
                if (rcs[i] == WEIR_OK) {
                    ok(weir_fs_append(file, weir_slice(&step, sizeof(step)), &err), &err);
                    weir_fs_close(file);
                }
            } else if (what == 1) {
                rcs[i] = weir_fs_rename(both[i], from, to, &err);
            } else if (what == 2) {
                rcs[i] = weir_fs_link(both[i], from, to, &err);
            } else if (what == 3) {
                rcs[i] = weir_fs_unlink(both[i], from, &err);
            } else {
                rcs[i] = weir_fs_open(both[i], from, WEIR_FS_CREATE_NEW, &file, &err);
                weir_fs_close(rcs[i] == WEIR_OK ? file : NULL);
            }
        }
        ck_assert_msg(rcs[0] == rcs[1], "step %u, %d %s %s: %s, simulated %s", step, (int)what, from, to, weir_rc_name(rcs[0]),
                      weir_rc_name(rcs[1]));
        struct weir_buf bytes[2] = {{0}, {0}};
        for (int i = 0; i < 2; i++) {
            ok(weir_fs_list(both[i], root, collect, &bytes[i], &err), &err);
            rcs[i] = weir_fs_read_all(both[i], to, 1 << 20, &bytes[i], &err);
        }
        ck_assert_int_eq(rcs[0], rcs[1]);
        ck_assert(weir_slice_eq(weir_buf_slice(&bytes[0]), weir_buf_slice(&bytes[1])));
        weir_buf_fini(&bytes[0]);
        weir_buf_fini(&bytes[1]);
        weir_free(from);
        weir_free(to);
    }
    for (char c = 'a'; c < 'e'; c++) {
        char *path = weir_strfmt("%s/%c", root, c);
        enum weir_rc rc = weir_fs_unlink(both[0], path, &err);
        ck_assert(rc == WEIR_OK || rc == WEIR_NOT_FOUND);
        weir_free(path);
    }
    ok(weir_fs_rmdir(both[0], root, &err), &err);
    weir_fs_local_destroy(both[0]);
    weir_fs_sim_destroy(both[1]);
}
END_TEST

START_TEST(what_is_durable_survives_as_it_is)
{
    struct weir_error err;
    struct weir_fs *fs = weir_fs_sim_create();
    struct weir_fs_file *file = NULL;
    ck_assert(!weir_fs_sim_is_durable(fs, "/f"));
    ok(weir_fs_open(fs, "/f", WEIR_FS_CREATE, &file, &err), &err);
    ok(weir_fs_append(file, weir_slice_str("hello"), &err), &err);
    ok(weir_fs_fsync(file, &err), &err);
    ck_assert(!weir_fs_sim_is_durable(fs, "/f")); /* its name is not */
    ok(weir_fs_fsync_dir(fs, "/", &err), &err);
    ck_assert(weir_fs_sim_is_durable(fs, "/f"));
    ok(weir_fs_append(file, weir_slice_str("!"), &err), &err);
    ck_assert(!weir_fs_sim_is_durable(fs, "/f"));
    ok(weir_fs_fsync(file, &err), &err);
    ck_assert(weir_fs_sim_is_durable(fs, "/f"));
    ok(weir_fs_truncate(file, 2, &err), &err);
    ck_assert(!weir_fs_sim_is_durable(fs, "/f"));
    ok(weir_fs_fsync(file, &err), &err);
    weir_fs_close(file);
    ok(weir_fs_rename(fs, "/f", "/g", &err), &err);
    ck_assert(!weir_fs_sim_is_durable(fs, "/f") && !weir_fs_sim_is_durable(fs, "/g"));
    ok(weir_fs_fsync_dir(fs, "/", &err), &err);
    ck_assert(weir_fs_sim_is_durable(fs, "/g"));
    weir_fs_sim_crash(fs, 1);
    expect_file(fs, "/g", "he");
    ck_assert(weir_fs_sim_is_durable(fs, "/g"));
    weir_fs_sim_destroy(fs);
}
END_TEST

START_TEST(a_sealed_file_is_whole_or_refused)
{
    struct weir_error err;
    struct weir_fs *fs = weir_fs_sim_create();
    struct weir_buf bytes = {0};
    static const char *const texts[] = {"", "one\ntwo\n", "no end of line"};
    for (size_t i = 0; i < 3; i++) {
        ok(weir_fs_write_sealed(fs, "/f", weir_slice_str(texts[i]), &err), &err);
        weir_buf_clear(&bytes);
        weir_buf_put_str(&bytes, "before ");
        ok(weir_fs_read_sealed(fs, "/f", 100, &bytes, &err), &err);
        ck_assert(weir_slice_eq_str(weir_slice(bytes.data + 7, bytes.len - 7), texts[i]));
        struct weir_buf raw = {0};
        ok(weir_fs_read_all(fs, "/f", 200, &raw, &err), &err);
        for (size_t at = 0; at <= 2 * raw.len; at++) { /* a flipped bit of each byte, and the file cut before it */
            struct weir_slice spoilt = weir_slice(raw.data, at < raw.len ? raw.len : at - raw.len);
            if (at < raw.len) {
                raw.data[at] ^= 1;
            }
            if (spoilt.len < raw.len || at < raw.len) {
                ok(weir_fs_write_atomic(fs, "/f", spoilt, &err), &err);
                ck_assert_int_eq(weir_fs_read_sealed(fs, "/f", 100, &bytes, &err), WEIR_CORRUPT);
                ck_assert_ptr_nonnull(strstr(err.text, "/f"));
            }
            if (at < raw.len) {
                raw.data[at] ^= 1;
            }
        }
        weir_buf_fini(&raw);
    }
    ck_assert_int_eq(weir_fs_read_sealed(fs, "/absent", 100, &bytes, &err), WEIR_NOT_FOUND);
    weir_buf_fini(&bytes);
    weir_fs_sim_destroy(fs);
}
END_TEST

START_TEST(directories_of_paths)
{
    static const char *const cases[][2] = {{"a", "."}, {"a/b", "a"}, {"/a", "/"}, {"/a/b/c", "/a/b"}, {"/", "/"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *dir = weir_fs_dirname_copy(cases[i][0]);
        ck_assert_str_eq(dir, cases[i][1]);
        weir_free(dir);
    }
}
END_TEST

Suite *fs_suite(void);
Suite *fs_suite(void)
{
    Suite *suite = suite_create("fs");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, both_implementations_keep_the_contract);
    tcase_add_test(tc, an_atomic_write_is_all_or_nothing);
    tcase_add_test(tc, a_crash_loses_what_was_not_synced);
    tcase_add_test(tc, a_machine_loses_what_it_had_not_synced);
    tcase_add_test(tc, an_unsynced_rename_happens_wholly_or_not_at_all);
    tcase_add_test(tc, the_simulator_agrees_with_the_machine);
    tcase_add_test(tc, what_is_durable_survives_as_it_is);
    tcase_add_test(tc, a_sealed_file_is_whole_or_refused);
    tcase_add_test(tc, directories_of_paths);
    suite_add_tcase(suite, tc);
    return suite;
}
