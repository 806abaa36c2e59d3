#include "taskmanager/state/keyed_test_kit.h"

#include "common/fs/fs_sim.h"
#include "tests/lib/plain_store.h"

/* A kit over plain files in a simulated disk. */
struct setup {
    struct weir_fs *fs;
    struct weir_state_backend *backend;
    struct kit_world *world;
};

static struct setup begin(uint64_t seed, uint64_t inline_bytes_max)
{
    struct setup setup = {.fs = weir_fs_sim_create()};
    setup.backend = weir_plain_backend_create(setup.fs, "/tmp", inline_bytes_max);
    setup.world = kit_world_create(seed, setup.fs, setup.backend, "/ckpt");
    return setup;
}

static void end(struct setup *setup)
{
    kit_world_destroy(setup->world);
    weir_plain_backend_destroy(setup->backend);
    weir_fs_sim_destroy(setup->fs);
}

START_TEST(random_lives)
{
    uint32_t snapshots = 0, incremental = 0, restores = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct setup setup = begin(seed, seed % 3 == 0 ? 4000 : 0); /* some begin small, without a store */
        for (int i = 0; i < 500; i++) {
            kit_step(setup.world);
        }
        snapshots += setup.world->snapshots;
        incremental += setup.world->incremental;
        restores += setup.world->restores;
        end(&setup);
    }
    ck_assert_uint_gt(snapshots, 300);
    ck_assert_uint_gt(incremental, 100);
    ck_assert_uint_gt(restores, 100);
}
END_TEST

/* A disk that fails costs the snapshot; the next one is whole again. */
START_TEST(failing_disk)
{
    uint32_t failed = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct setup setup = begin(seed, 0);
        struct kit_world *world = setup.world;
        struct weir_error err = {0};
        for (int round = 0; round < 6; round++) {
            for (int i = 0; i < 10; i++) {
                kit_add_rows(world);
            }
            kit_erase_some(world);
            kit_snapshot(world);
            weir_fs_sim_fail(setup.fs, (struct weir_fs_sim_fault){.nth = 1 + weir_rand_below(&world->rand, 60), .rc = WEIR_IO});
            enum weir_rc rc = kit_background(world, &err);
            while (rc == WEIR_AGAIN) {
                kit_add_rows(world);
                kit_finish_work(world);
                rc = kit_background(world, &err);
            }
            ck_assert_msg(rc == WEIR_OK || (rc == WEIR_IO && weir_fs_sim_failed(setup.fs)) || rc == WEIR_EXISTS, "%d %s", rc, err.text);
            weir_fs_sim_fail(setup.fs, (struct weir_fs_sim_fault){0});
            if (rc == WEIR_OK) {
                kit_commit(world, true);
            }
        }
        failed += world->failed;
        kit_restart(world);
        end(&setup);
    }
    ck_assert_uint_gt(failed, 100);
}
END_TEST

/* What an aborted checkpoint wrote is neither missing from the next nor thought to be stored. */
START_TEST(aborted_checkpoint)
{
    struct setup setup = begin(1, 0);
    struct kit_world *world = setup.world;
    struct weir_error err = {0};
    for (int round = 0; round < 8; round++) {
        kit_add_rows(world);
        ck_assert_int_eq(kit_snapshot_whole(world, &err), WEIR_OK);
        if (round % 2 == 0) {
            kit_sweep(world, world->checkpoint);
        } else {
            uint64_t before = world->committed;
            kit_commit(world, true);
            kit_sweep(world, before);
            kit_restart(world);
        }
    }
    end(&setup);
}
END_TEST

/* A checkpoint that is aborted and swept while its files are written costs that checkpoint, not the store. */
START_TEST(swept_during_the_upload)
{
    struct setup setup = begin(1, 0);
    struct kit_world *world = setup.world;
    struct weir_error err = {0};
    for (int i = 0; i < 20; i++) {
        kit_add_rows(world);
    }
    ck_assert_int_eq(kit_snapshot_whole(world, &err), WEIR_OK);
    kit_commit(world, true);
    kit_add_rows(world);
    kit_snapshot(world);
    kit_sweep(world, world->checkpoint);
    enum weir_rc rc = kit_background(world, &err);
    for (; rc == WEIR_AGAIN; rc = kit_background(world, &err)) {
        kit_finish_work(world);
    }
    ck_assert_int_eq(rc, WEIR_NOT_FOUND);
    kit_add_rows(world);
    ck_assert_int_eq(kit_snapshot_whole(world, &err), WEIR_OK);
    ck_assert_uint_gt(world->new_bytes, 0);
    ck_assert_uint_lt(world->new_bytes, world->files_bytes); /* the first one's files are linked */
    kit_commit(world, true);
    kit_restart(world);
    end(&setup);
}
END_TEST

START_TEST(unchanged_state_uploads_nothing)
{
    struct setup setup = begin(1, 0);
    struct kit_world *world = setup.world;
    struct weir_error err = {0};
    for (int i = 0; i < 20; i++) {
        kit_add_rows(world);
    }
    ck_assert_int_eq(kit_snapshot_whole(world, &err), WEIR_OK);
    ck_assert_uint_gt(world->new_bytes, 1000);
    kit_commit(world, true);
    ck_assert_int_eq(kit_snapshot_whole(world, &err), WEIR_OK);
    ck_assert_uint_eq(world->new_bytes, 0);
    ck_assert_uint_gt(world->files_bytes, 1000);
    kit_commit(world, true);
    kit_restart(world);
    ck_assert_int_eq(kit_snapshot_whole(world, &err), WEIR_OK); /* also after a restart: the store goes on from the files */
    ck_assert_uint_eq(world->new_bytes, 0);
    end(&setup);
}
END_TEST

/* One writer's state feeds two subtasks, and theirs feed one. */
START_TEST(key_groups_move)
{
    for (uint64_t inline_max = 0; inline_max <= 1 << 20; inline_max += 1 << 20) {
        struct setup setup = begin(5, inline_max);
        struct kit_world *world = setup.world;
        struct weir_error err = {0};
        for (int i = 0; i < 40; i++) {
            kit_add_rows(world);
        }
        ck_assert_int_eq(kit_snapshot_whole(world, &err), WEIR_OK);
        kit_commit(world, true);
        uint64_t from = world->committed;
        uint64_t parts[3];
        struct weir_buf states[3] = {{0}};
        for (uint32_t s = 0; s < 3; s++) {
            kit_end(world);
            kit_begin(world, s, 3);
            ck_assert_msg(kit_restore(world, weir_buf_slice(&world->committed_state), from, &err) == WEIR_OK, "%s", err.text);
            kit_check(world, &world->committed_image);
            ck_assert_int_eq(kit_snapshot_whole(world, &err), WEIR_OK);
            parts[s] = world->checkpoint;
            weir_buf_put_slice(&states[s], weir_buf_slice(&world->state));
        }
        kit_end(world);
        kit_begin(world, 0, 1);
        for (uint32_t s = 0; s < 3; s++) {
            ck_assert_msg(kit_restore(world, weir_buf_slice(&states[s]), parts[s], &err) == WEIR_OK, "%s", err.text);
            weir_buf_fini(&states[s]);
        }
        kit_check(world, &world->committed_image);
        end(&setup);
    }
}
END_TEST

/* Bytes that are cut or altered anywhere are refused or harmless; a file of the checkpoint that is not what was recorded is named. */
START_TEST(damage)
{
    struct setup setup = begin(1, 0);
    struct kit_world *world = setup.world;
    struct weir_error err = {0};
    kit_add_rows(world);
    ck_assert_int_eq(kit_snapshot_whole(world, &err), WEIR_OK);
    kit_commit(world, true);
    struct weir_buf bytes = {0};
    weir_buf_put_slice(&bytes, weir_buf_slice(&world->committed_state));
    size_t whole = bytes.len;
    weir_buf_put_u8(&bytes, 0);
    for (size_t len = 0; len <= whole + 1; len++) {
        kit_end(world);
        kit_begin(world, 0, 1);
        ck_assert_int_eq(kit_restore(world, weir_slice(bytes.data, len), world->committed, &err), len == whole ? WEIR_OK : WEIR_CORRUPT);
    }
    for (size_t at = 0; at < whole * 3; at++) {
        uint8_t flip = (uint8_t)(1u << weir_rand_below(&world->rand, 8));
        kit_end(world);
        kit_begin(world, 0, 1);
        bytes.data[at % whole] ^= flip;
        enum weir_rc rc = kit_restore(world, weir_slice(bytes.data, whole), world->committed, &err);
        ck_assert(rc == WEIR_OK || rc == WEIR_CORRUPT || rc == WEIR_INVALID || rc == WEIR_NOT_FOUND);
        bytes.data[at % whole] ^= flip;
    }
    char *dir = kit_dir_copy(world, world->committed);
    struct kit_names names = {0};
    ck_assert_int_eq(weir_fs_list(setup.fs, dir, kit_add_name, &names, &err), WEIR_OK);
    ck_assert_uint_eq(names.count, 1);
    char *path = weir_strfmt("%s/%s", dir, names.names[0]);
    struct weir_buf file = {0};
    ck_assert_int_eq(weir_fs_read_all(setup.fs, path, 1 << 20, &file, &err), WEIR_OK);
    for (int what = 0; what < 3; what++) {
        file.data[file.len / 2] ^= 1;
        if (what == 2) {
            ck_assert_int_eq(weir_fs_unlink(setup.fs, path, &err), WEIR_OK);
        } else {
            ck_assert_int_eq(weir_fs_write_atomic(setup.fs, path, weir_slice(file.data, file.len - (size_t)what), &err), WEIR_OK);
        }
        kit_end(world);
        kit_begin(world, 0, 1);
        ck_assert_int_eq(kit_restore(world, weir_buf_slice(&world->committed_state), world->committed, &err), WEIR_CORRUPT);
        ck_assert_ptr_nonnull(strstr(err.text, path));
    }
    weir_buf_fini(&file);
    weir_buf_fini(&bytes);
    weir_free(path);
    weir_free(names.names[0]);
    weir_free(dir);
    end(&setup);
}
END_TEST

Suite *keyed_suite(void);
Suite *keyed_suite(void)
{
    Suite *suite = suite_create("keyed");
    TCase *tcase = tcase_create("keyed");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, random_lives);
    tcase_add_test(tcase, failing_disk);
    tcase_add_test(tcase, aborted_checkpoint);
    tcase_add_test(tcase, swept_during_the_upload);
    tcase_add_test(tcase, unchanged_state_uploads_nothing);
    tcase_add_test(tcase, key_groups_move);
    tcase_add_test(tcase, damage);
    suite_add_tcase(suite, tcase);
    return suite;
}
