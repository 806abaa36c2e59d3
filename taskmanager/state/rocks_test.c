#include "taskmanager/state/rocks.h"

#include "common/base/clock.h"
#include "common/fs/fs_local.h"
#include "taskmanager/state/keyed_test_kit.h"
#include "tests/lib/plain_store.h"
#include "tests/lib/temp_dir.h"

#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A kit over RocksDB in a directory of its own. */
struct setup {
    char root[WEIR_TEMP_DIR_MAX];
    char *ckpt;
    struct weir_fs *fs;
    struct weir_state_backend *backend;
    struct kit_world *world;
};

static struct setup begin(uint64_t seed)
{
    struct setup setup = {0};
    struct weir_error err = {0};
    weir_temp_dir(setup.root, "rocks");
    setup.ckpt = weir_strfmt("%s/ckpt", setup.root);
    setup.fs = weir_fs_local_create();
    ck_assert_msg(weir_rocks_backend_open(setup.root, NULL, 0, &setup.backend, &err) == WEIR_OK, "%s", err.text);
    setup.world = kit_world_create(seed, setup.fs, setup.backend, setup.ckpt);
    return setup;
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *ftw)
{
    (void)stat;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static void end(struct setup *setup)
{
    kit_world_destroy(setup->world);
    weir_rocks_backend_close(setup->backend);
    weir_fs_local_destroy(setup->fs);
    ck_assert_int_eq(nftw(setup->root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    weir_free(setup->ckpt);
}

START_TEST(random_lives)
{
    uint32_t incremental = 0, restores = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct setup setup = begin(seed);
        for (int i = 0; i < 300; i++) {
            kit_step(setup.world);
        }
        incremental += setup.world->incremental;
        restores += setup.world->restores;
        end(&setup);
    }
    ck_assert_uint_gt(incremental, 20);
    ck_assert_uint_gt(restores, 5);
}
END_TEST

START_TEST(unchanged_state_uploads_nothing)
{
    struct setup setup = begin(1);
    struct kit_world *world = setup.world;
    struct weir_error err = {0};
    for (int i = 0; i < 20; i++) {
        kit_add_rows(world);
    }
    ck_assert_msg(kit_snapshot_whole(world, &err) == WEIR_OK, "%s", err.text);
    ck_assert_uint_gt(world->new_bytes, 1000);
    kit_commit(world, true);
    for (int round = 0; round < 2; round++) { /* then after a restart */
        ck_assert_int_eq(kit_snapshot_whole(world, &err), WEIR_OK);
        ck_assert_uint_eq(world->new_bytes, 0);
        ck_assert_uint_gt(world->files_bytes, 1000);
        kit_commit(world, true);
        kit_restart(world);
    }
    end(&setup);
}
END_TEST

/* A file that was cut, altered or removed is found out, and named. */
START_TEST(damaged_sst)
{
    struct setup setup = begin(1);
    struct kit_world *world = setup.world;
    struct weir_error err = {0};
    for (int i = 0; i < 20; i++) {
        kit_add_rows(world);
    }
    ck_assert_int_eq(kit_snapshot_whole(world, &err), WEIR_OK);
    kit_commit(world, true);
    char *dir = kit_dir_copy(world, world->committed);
    struct kit_names names = {0};
    ck_assert_int_eq(weir_fs_list(setup.fs, dir, kit_add_name, &names, &err), WEIR_OK);
    ck_assert_uint_eq(names.count, 1);
    char *path = weir_strfmt("%s/%s", dir, names.names[0]);
    struct weir_buf file = {0};
    ck_assert_int_eq(weir_fs_read_all(setup.fs, path, 1 << 20, &file, &err), WEIR_OK);
    for (int what = 0; what < 3; what++) {
        file.data[file.len / 3] ^= 4;
        if (what == 2) {
            ck_assert_int_eq(weir_fs_unlink(setup.fs, path, &err), WEIR_OK);
        } else {
            ck_assert_int_eq(weir_fs_write_atomic(setup.fs, path, weir_slice(file.data, file.len - (size_t)what), &err), WEIR_OK);
        }
        kit_end(world);
        kit_begin(world, 0, 1);
        ck_assert_int_eq(kit_restore(world, weir_buf_slice(&world->committed_state), world->committed, &err), WEIR_CORRUPT);
        ck_assert_msg(strstr(err.text, path) != NULL, "%s", err.text);
    }
    weir_buf_fini(&file);
    weir_free(path);
    weir_free(names.names[0]);
    weir_free(dir);
    end(&setup);
}
END_TEST

static uint32_t count_dirs(const char *root)
{
    struct stat stat_of;
    ck_assert_int_eq(stat(root, &stat_of), 0);
    return (uint32_t)stat_of.st_nlink - 2;
}

/* What a killed process left is removed by the next, what a living one uses is not. */
START_TEST(leftovers)
{
    char root[WEIR_TEMP_DIR_MAX];
    struct weir_error err = {0};
    struct weir_state_backend *own = NULL;
    struct weir_state_backend *other = NULL;
    weir_temp_dir(root, "rocks");
    ck_assert_int_eq(weir_rocks_backend_open(root, NULL, 0, &own, &err), WEIR_OK);
    pid_t child = fork();
    if (child == 0) {
        struct weir_state_backend *dying = NULL;
        struct weir_state_store *store = NULL;
        bool ok = weir_rocks_backend_open(root, NULL, 0, &dying, &err) == WEIR_OK &&
                  dying->create(dying, "store", NULL, &store, &err) == WEIR_OK && store->vtable->open(store, &err) == WEIR_OK;
        _exit(ok ? 0 : 1);
    }
    int status = 1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(count_dirs(root), 2);
    ck_assert_int_eq(weir_rocks_backend_open(root, NULL, 0, &other, &err), WEIR_OK);
    ck_assert_uint_eq(count_dirs(root), 2); /* its own and the first */
    weir_rocks_backend_close(other);
    weir_rocks_backend_close(own);
    ck_assert_uint_eq(count_dirs(root), 0);
    ck_assert_int_eq(rmdir(root), 0);
}
END_TEST

Suite *rocks_suite(void);
Suite *rocks_suite(void)
{
    Suite *suite = suite_create("rocks");
    TCase *tcase = tcase_create("rocks");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, random_lives);
    tcase_add_test(tcase, unchanged_state_uploads_nothing);
    tcase_add_test(tcase, damaged_sst);
    tcase_add_test(tcase, leftovers);
    suite_add_tcase(suite, tcase);
    return suite;
}
