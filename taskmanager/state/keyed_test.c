#include "taskmanager/state/keyed_test_kit.h"

#include "common/fs/fs_sim.h"
#include "taskmanager/state/local_store.h"
#include "tests/lib/plain_store.h"
#include "tests/lib/split_fs.h"

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

/* --- copies on the machine ---------------------------------------------------------------------------------------------- */

#define COPIES "/tmp/weir-local/c@h/job"

struct local_setup {
    struct weir_fs *disk;
    struct weir_split_fs split;
    struct weir_clock_virtual clock;
    struct weir_state_backend *backend;
    struct weir_local_store *store;
    struct kit_world *world;
};

/* Checkpoints are on another file system. */
static void begin_local(struct local_setup *setup, uint64_t seed)
{
    *setup = (struct local_setup){.disk = weir_fs_sim_create()};
    weir_split_fs_init(&setup->split, setup->disk, "/ckpt");
    setup->split.watched = COPIES;
    weir_clock_virtual_init(&setup->clock, 0, 1000000);
    setup->backend = weir_plain_backend_create(&setup->split.fs, "/tmp", 0);
    setup->store = weir_local_store_create(&(struct weir_local_store_options){.fs = &setup->split.fs,
                                                                              .clock = &setup->clock.clock,
                                                                              .dir = "/tmp",
                                                                              .cluster_id = "c",
                                                                              .host = "h",
                                                                              .keeps = true,
                                                                              .gives = true});
    setup->backend->local = setup->store;
    setup->world = kit_world_create(seed, &setup->split.fs, setup->backend, "/ckpt");
}

static void end_local(struct local_setup *setup)
{
    kit_world_destroy(setup->world);
    weir_local_store_destroy(setup->store);
    weir_plain_backend_destroy(setup->backend);
    weir_fs_sim_destroy(setup->disk);
}

static void add_name_any(void *ctx, const char *name, bool is_dir)
{
    struct kit_names *names = ctx;
    names->names[names->count++] = weir_strdup(name);
    (void)is_dir;
}

/* Each file of the directory: cut, altered or removed, by the choice. Where it has other names, they are not touched. */
static uint32_t damage_files(struct local_setup *setup, const char *dir, uint64_t one_in)
{
    struct weir_error err;
    struct kit_names names = {0};
    uint32_t damaged = 0;
    (void)(weir_fs_list(setup->disk, dir, add_name_any, &names, &err) == WEIR_OK);
    for (uint32_t i = 0; i < names.count; i++) {
        struct weir_buf bytes = {0};
        char *path = weir_strfmt("%s/%s", dir, names.names[i]);
        if (weir_rand_below(&setup->world->rand, one_in) == 0 && weir_fs_read_all(setup->disk, path, 1 << 20, &bytes, &err) == WEIR_OK && bytes.len > 0) {
            uint64_t how = weir_rand_below(&setup->world->rand, 3);
            bytes.data[weir_rand_below(&setup->world->rand, bytes.len)] ^= 1;
            enum weir_rc rc = how == 0 ? weir_fs_unlink(setup->disk, path, &err)
                                       : weir_fs_write_atomic(setup->disk, path, weir_slice(bytes.data, bytes.len - how + 1), &err);
            ck_assert_int_eq(rc, WEIR_OK);
            damaged++;
        }
        weir_buf_fini(&bytes);
        weir_free(path);
        weir_free(names.names[i]);
    }
    return damaged;
}

static char *copies_path(const struct local_setup *setup)
{
    return weir_strfmt("%s/chk-%llu", COPIES, (unsigned long long)setup->world->committed);
}

/* Random lives in which copies are damaged, removed, swept and committed at any time: every restore is exact. */
START_TEST(random_lives_with_copies)
{
    uint32_t restores = 0, taken = 0, damaged = 0;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct local_setup setup;
        begin_local(&setup, seed);
        struct kit_world *world = setup.world;
        for (int i = 0; i < 500; i++) {
            uint64_t told = world->committed;
            kit_step(world);
            if (world->committed != told && weir_rand_below(&world->rand, 4) != 0) {
                weir_local_store_commit(setup.store, "job", world->committed);
            }
            if (weir_rand_below(&world->rand, 40) == 0) {
                char *dir = copies_path(&setup);
                damaged += damage_files(&setup, dir, 3);
                weir_free(dir);
            }
            if (weir_rand_below(&world->rand, 100) == 0) {
                weir_clock_virtual_advance(&setup.clock, (int64_t)WEIR_LOCAL_LEASE_MS * 1000000);
                weir_local_store_sweep(setup.store, NULL, 0);
            }
        }
        kit_restart(world);
        restores += world->restores;
        taken += setup.split.links;
        end_local(&setup);
    }
    ck_assert_uint_gt(restores, 200);
    ck_assert_uint_gt(taken, 200);
    ck_assert_uint_gt(damaged, 100);
}
END_TEST

/* The copy is what is used when it is whole, the checkpoint's file when it is not; and when that is damaged as well, the error names it. */
START_TEST(copies_before_the_checkpoint)
{
    struct local_setup setup;
    begin_local(&setup, 1);
    struct kit_world *world = setup.world;
    struct weir_error err = {0};
    kit_add_rows(world);
    ck_assert_int_eq(kit_snapshot_whole(world, &err), WEIR_OK);
    kit_commit(world, true);
    kit_restart(world);
    ck_assert_uint_eq(setup.split.links, 1);
    char *copies = copies_path(&setup);
    char *dir = kit_dir_copy(world, world->committed);
    ck_assert_uint_eq(damage_files(&setup, copies, 1), 1);
    kit_restart(world); /* from the checkpoint, and the copy is made anew */
    uint32_t links = setup.split.links;
    ck_assert_uint_eq(damage_files(&setup, dir, 1), 1);
    kit_restart(world);
    ck_assert_uint_eq(setup.split.links, links + 1);
    ck_assert_uint_eq(damage_files(&setup, copies, 1), 1);
    kit_end(world);
    kit_begin(world, 0, 1);
    ck_assert_int_eq(kit_restore(world, weir_buf_slice(&world->committed_state), world->committed, &err), WEIR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.text, dir));
    weir_free(copies);
    weir_free(dir);
    end_local(&setup);
}
END_TEST

/* Whatever call of the disk fails: a restore is exact, or it fails and the next one is exact. */
START_TEST(disk_fails_in_a_restore_from_copies)
{
    uint32_t failed = 0;
    bool met = true;
    for (uint64_t nth = 1; met; nth++) {
        struct local_setup setup;
        begin_local(&setup, 5);
        struct kit_world *world = setup.world;
        struct weir_error err = {0};
        for (int round = 0; round < 3; round++) {
            kit_add_rows(world);
            ck_assert_int_eq(kit_snapshot_whole(world, &err), WEIR_OK);
            kit_commit(world, true);
        }
        char *copies = copies_path(&setup);
        damage_files(&setup, copies, 2);
        kit_end(world);
        kit_begin(world, 0, 1);
        weir_fs_sim_fail(setup.disk, (struct weir_fs_sim_fault){.nth = nth, .rc = WEIR_IO});
        enum weir_rc rc = kit_restore(world, weir_buf_slice(&world->committed_state), world->committed, &err);
        met = weir_fs_sim_failed(setup.disk);
        weir_fs_sim_fail(setup.disk, (struct weir_fs_sim_fault){0});
        ck_assert(rc == WEIR_OK || met);
        failed += rc != WEIR_OK;
        if (rc == WEIR_OK) {
            kit_check(world, &world->committed_image);
        }
        kit_restart(world);
        weir_free(copies);
        end_local(&setup);
    }
    ck_assert_uint_gt(failed, 5);
}
END_TEST

Suite *keyed_suite(void);
Suite *keyed_suite(void)
{
    Suite *suite = suite_create("keyed");
    TCase *tcase = tcase_create("keyed");
    tcase_add_test(tcase, random_lives);
    tcase_add_test(tcase, failing_disk);
    tcase_add_test(tcase, aborted_checkpoint);
    tcase_add_test(tcase, swept_during_the_upload);
    tcase_add_test(tcase, unchanged_state_uploads_nothing);
    tcase_add_test(tcase, key_groups_move);
    tcase_add_test(tcase, damage);
    tcase_add_test(tcase, random_lives_with_copies);
    tcase_add_test(tcase, copies_before_the_checkpoint);
    tcase_add_test(tcase, disk_fails_in_a_restore_from_copies);
    suite_add_tcase(suite, tcase);
    return suite;
}
