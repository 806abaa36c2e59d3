/*
 * For the tests of keyed state over a store: a random owner that writes, takes snapshots, hears of commits, loses files and starts again.
 */
#ifndef WEIR_TASKMANAGER_STATE_KEYED_TEST_KIT_H
#define WEIR_TASKMANAGER_STATE_KEYED_TEST_KIT_H

#include "common/base/hash.h"
#include "common/base/rand.h"
#include "common/data/rowkey.h"
#include "taskmanager/state/delta_freeze.h"
#include "taskmanager/state/keyed.h"
#include "tests/lib/hot_assert.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

enum { KIT_KEYS = 500, KIT_SPACES = 4, KIT_ROWS_MAX = 64, KIT_MAX_PARALLELISM = 16, KIT_CHECKPOINTS = 4096 };

struct kit_image {
    uint64_t count[KIT_SPACES][KIT_KEYS]; /* 0: absent */
};

struct kit_world {
    struct weir_executor executor; /* first member */
    struct weir_rand rand;
    struct weir_mem *mem;
    struct weir_fs *fs;
    struct weir_state_backend *backend;
    const char *checkpoints_dir;
    struct weir_work *work; /* submitted */
    bool ran;
    struct weir_delta *delta;
    struct weir_keyed *keyed;
    struct weir_delta_codec codec;
    uint32_t attempt;
    struct kit_image live;
    /* The snapshot under way. */
    bool snapping;
    uint64_t checkpoint;
    struct kit_image frozen;
    struct weir_buf state;
    /* The newest that is committed, and the newest that may be. */
    uint64_t taken, committed;
    struct weir_buf taken_state, committed_state;
    struct kit_image taken_image, committed_image;
    uint64_t last_checkpoint;
    uint32_t snapshots, failed, incremental, restores;
    uint64_t files_bytes, new_bytes;
};

static inline void kit_submit(struct weir_executor *executor, struct weir_work *work)
{
    struct kit_world *world = (struct kit_world *)executor;
    ck_assert_ptr_null(world->work);
    world->work = work;
    world->ran = false;
}

static inline void kit_run_work(struct kit_world *world)
{
    if (world->work != NULL && !world->ran) {
        world->work->run(world->work);
        world->ran = true;
    }
}

static inline void kit_finish_work(struct kit_world *world)
{
    kit_run_work(world);
    if (world->work != NULL) {
        struct weir_work *work = world->work;
        world->work = NULL;
        work->in_flight = false;
        work->done(work);
    }
}

static inline struct weir_slice kit_key(uint32_t k, uint8_t *room)
{
    uint32_t len = 4 + k % 37;
    for (uint32_t i = 0; i < len; i++) {
        room[i] = i < 4 ? (uint8_t)(k >> (8 * i)) : (uint8_t)(k + i);
    }
    return weir_slice(room, len);
}

static inline uint64_t *kit_count(const uint8_t *payload)
{
    return (uint64_t *)(uintptr_t)payload;
}

static inline void kit_encode(void *ctx, const uint8_t *payload, struct weir_buf *out)
{
    (void)ctx;
    weir_buf_put_u64(out, *kit_count(payload));
}

static inline enum weir_rc kit_decode(void *ctx, struct weir_slice bytes, uint8_t *payload, struct weir_error *err)
{
    (void)ctx;
    if (bytes.len != 8) {
        return weir_error_set(err, WEIR_CORRUPT, "not a count");
    }
    *kit_count(payload) = weir_le_get_u64(bytes.data);
    return WEIR_OK;
}

static inline bool kit_space_fits(void *ctx, int64_t space)
{
    (void)ctx;
    return space >= 0 && space < KIT_SPACES;
}

static inline void kit_begin(struct kit_world *world, uint32_t subtask, uint32_t parallelism)
{
    struct weir_delta_options options = {.payload_bytes = 8, .mem = world->mem};
    weir_delta_own_groups(&options, subtask, parallelism, KIT_MAX_PARALLELISM);
    world->delta = weir_delta_create(&options);
    world->codec = (struct weir_delta_codec){.subtask = subtask,
                                             .parallelism = parallelism,
                                             .max_parallelism = KIT_MAX_PARALLELISM,
                                             .mem = world->mem,
                                             .encode = kit_encode,
                                             .decode = kit_decode,
                                             .space_fits = kit_space_fits};
    struct weir_keyed_env env = {.backend = world->backend,
                                 .executor = &world->executor,
                                 .fs = world->fs,
                                 .mem = world->mem,
                                 .checkpoints_dir = world->checkpoints_dir,
                                 .job_id = "job",
                                 .uid = "count",
                                 .attempt = ++world->attempt,
                                 .vertex = 3};
    world->keyed = weir_keyed_create(world->delta, &world->codec, &env);
    world->snapping = false;
}

static inline void kit_end(struct kit_world *world)
{
    if (world->work != NULL) { /* a task is over only when nothing is in flight */
        kit_finish_work(world);
    }
    weir_keyed_destroy(world->keyed);
    weir_delta_destroy(world->delta);
}

static inline struct kit_world *kit_world_create(uint64_t seed, struct weir_fs *fs, struct weir_state_backend *backend, const char *checkpoints_dir)
{
    struct kit_world *world = weir_calloc(1, sizeof(*world));
    world->executor.submit = kit_submit;
    weir_rand_init(&world->rand, seed);
    world->mem = weir_mem_create("keyed test", 0, NULL);
    world->fs = fs;
    world->backend = backend;
    world->checkpoints_dir = checkpoints_dir;
    kit_begin(world, 0, 1);
    return world;
}

static inline void kit_world_destroy(struct kit_world *world)
{
    kit_end(world);
    weir_buf_fini(&world->state);
    weir_buf_fini(&world->taken_state);
    weir_buf_fini(&world->committed_state);
    weir_mem_destroy(world->mem);
    weir_free(world);
}

static inline bool kit_owns(const struct kit_world *world, uint64_t hash)
{
    return weir_key_group_owner(weir_key_group(hash, KIT_MAX_PARALLELISM), KIT_MAX_PARALLELISM, world->codec.parallelism) ==
           world->codec.subtask;
}

static inline void kit_check(const struct kit_world *world, const struct kit_image *image)
{
    uint64_t expected = 0;
    for (int64_t space = 0; space < KIT_SPACES; space++) {
        struct weir_delta_cursor cursor;
        struct weir_delta_entry entry;
        weir_delta_cursor_init(&cursor, world->delta, space);
        while (weir_delta_cursor_next(&cursor, &entry)) {
            WEIR_HOT_ASSERT_EQ(*kit_count(entry.payload), image->count[space][weir_le_get_u32(entry.key.data)]);
        }
        weir_delta_cursor_fini(&cursor);
        for (uint32_t k = 0; k < KIT_KEYS; k++) {
            uint8_t room[64];
            expected += image->count[space][k] > 0 && kit_owns(world, weir_hash_slice(kit_key(k, room), 0));
        }
    }
    ck_assert_uint_eq(weir_delta_entries(world->delta), expected);
}

static inline void kit_add_rows(struct kit_world *world)
{
    uint32_t rows = 1 + (uint32_t)weir_rand_below(&world->rand, KIT_ROWS_MAX);
    uint32_t spread = weir_rand_below(&world->rand, 2) == 0 ? 20 : KIT_KEYS;
    int64_t spaces[KIT_ROWS_MAX];
    uint64_t hashes[KIT_ROWS_MAX];
    struct weir_slice keys[KIT_ROWS_MAX];
    uint32_t ks[KIT_ROWS_MAX];
    uint8_t room[KIT_ROWS_MAX][64];
    uint8_t *payloads[KIT_ROWS_MAX];
    for (uint32_t i = 0; i < rows; i++) {
        spaces[i] = (int64_t)weir_rand_below(&world->rand, KIT_SPACES);
        ks[i] = (uint32_t)weir_rand_below(&world->rand, spread);
        keys[i] = kit_key(ks[i], room[i]);
        hashes[i] = weir_hash_slice(keys[i], 0);
    }
    ck_assert_int_eq(weir_delta_get_many(world->delta, spaces, hashes, keys, rows, payloads, NULL), WEIR_OK);
    for (uint32_t i = 0; i < rows; i++) {
        WEIR_HOT_ASSERT_EQ(*kit_count(payloads[i]), world->live.count[spaces[i]][ks[i]]);
        world->live.count[spaces[i]][ks[i]] = ++*kit_count(payloads[i]);
    }
}

static inline void kit_erase_some(struct kit_world *world)
{
    for (int n = 0; n < 20; n++) {
        int64_t space = (int64_t)weir_rand_below(&world->rand, KIT_SPACES);
        uint32_t k = (uint32_t)weir_rand_below(&world->rand, KIT_KEYS);
        uint8_t room[64];
        struct weir_slice key = kit_key(k, room);
        uint64_t hash = weir_hash_slice(key, 0);
        uint8_t *payload = NULL;
        if (world->live.count[space][k] > 0) {
            ck_assert_int_eq(weir_delta_get_many(world->delta, &space, &hash, &key, 1, &payload, NULL), WEIR_OK);
            weir_delta_erase(world->delta, space, payload);
            world->live.count[space][k] = 0;
        }
    }
}

static inline void kit_drop_some(struct kit_world *world)
{
    int64_t last = (int64_t)weir_rand_below(&world->rand, KIT_SPACES);
    weir_delta_drop(world->delta, last);
    memset(world->live.count, 0, ((size_t)last + 1) * sizeof(world->live.count[0]));
}

static inline char *kit_dir_copy(const struct kit_world *world, uint64_t checkpoint)
{
    return weir_strfmt("%s/job/chk-%llu", world->checkpoints_dir, (unsigned long long)checkpoint);
}

static inline void kit_snapshot(struct kit_world *world)
{
    struct weir_error err;
    world->checkpoint = ++world->last_checkpoint;
    char *dir = kit_dir_copy(world, world->checkpoint);
    ck_assert_int_eq(weir_fs_mkdirs(world->fs, dir, &err), WEIR_OK);
    weir_free(dir);
    weir_buf_clear(&world->state);
    world->frozen = world->live;
    world->snapping = true;
    weir_keyed_snapshot(world->keyed, world->checkpoint, &world->state);
}

/* One step of the background part; takes note of its end. */
static inline enum weir_rc kit_background(struct kit_world *world, struct weir_error *err)
{
    bool any = false;
    enum weir_rc rc = weir_keyed_background(world->keyed, &world->state, &any, err);
    ck_assert(any || rc != WEIR_AGAIN || world->work != NULL);
    if (rc == WEIR_AGAIN) {
        return rc;
    }
    world->snapping = false;
    world->snapshots++;
    if (rc != WEIR_OK) {
        world->failed++;
        return rc;
    }
    world->files_bytes = weir_keyed_files_bytes(world->keyed);
    world->new_bytes = weir_keyed_new_bytes(world->keyed);
    world->incremental += world->new_bytes < world->files_bytes;
    world->taken = world->checkpoint;
    weir_buf_clear(&world->taken_state);
    weir_buf_put_slice(&world->taken_state, weir_buf_slice(&world->state));
    world->taken_image = world->frozen;
    return rc;
}

/* The whole of a snapshot. */
static inline enum weir_rc kit_snapshot_whole(struct kit_world *world, struct weir_error *err)
{
    kit_snapshot(world);
    enum weir_rc rc = kit_background(world, err);
    while (rc == WEIR_AGAIN) {
        kit_finish_work(world);
        rc = kit_background(world, err);
    }
    return rc;
}

static inline void kit_commit(struct kit_world *world, bool tell)
{
    world->committed = world->taken;
    world->committed_image = world->taken_image;
    weir_buf_clear(&world->committed_state);
    weir_buf_put_slice(&world->committed_state, weir_buf_slice(&world->taken_state));
    if (tell) {
        weir_keyed_notify(world->keyed, world->committed);
    }
}

struct kit_names {
    char *names[256];
    uint32_t count;
};

static inline void kit_add_name(void *ctx, const char *name, bool is_dir)
{
    struct kit_names *names = ctx;
    ck_assert(!is_dir);
    names->names[names->count++] = weir_strdup(name);
}

/* Removes the directory of a checkpoint. */
static inline void kit_sweep(struct kit_world *world, uint64_t checkpoint)
{
    struct weir_error err;
    struct kit_names names = {0};
    char *dir = kit_dir_copy(world, checkpoint);
    if (weir_fs_list(world->fs, dir, kit_add_name, &names, &err) == WEIR_OK) {
        for (uint32_t i = 0; i < names.count; i++) {
            char *path = weir_strfmt("%s/%s", dir, names.names[i]);
            ck_assert_int_eq(weir_fs_unlink(world->fs, path, &err), WEIR_OK);
            weir_free(path);
            weir_free(names.names[i]);
        }
        ck_assert_int_eq(weir_fs_rmdir(world->fs, dir, &err), WEIR_OK);
    }
    weir_free(dir);
}

/* Adds what a checkpoint's state has for the present subtask. */
static inline enum weir_rc kit_restore(struct kit_world *world, struct weir_slice state, uint64_t checkpoint, struct weir_error *err)
{
    char *dir = kit_dir_copy(world, checkpoint);
    enum weir_rc rc = weir_keyed_restore(world->keyed, checkpoint, dir, state, err);
    while (rc == WEIR_AGAIN) {
        kit_finish_work(world);
        rc = weir_keyed_resume(world->keyed, err);
    }
    weir_free(dir);
    return rc;
}

/* Fails over to the newest committed checkpoint, or to nothing. */
static inline void kit_restart(struct kit_world *world)
{
    struct weir_error err = {0};
    kit_end(world);
    kit_begin(world, 0, 1);
    memset(&world->live, 0, sizeof(world->live));
    world->taken = 0;
    if (world->committed != 0) {
        enum weir_rc rc = kit_restore(world, weir_buf_slice(&world->committed_state), world->committed, &err);
        ck_assert_msg(rc == WEIR_OK, "%s", err.text);
        world->live = world->committed_image;
        world->restores++;
    }
    kit_check(world, &world->live);
}

/* A random step of the life of a state. */
static inline void kit_step(struct kit_world *world)
{
    struct weir_error err = {0};
    uint64_t what = weir_rand_below(&world->rand, 100);
    if (what < 25) {
        kit_add_rows(world);
    } else if (what < 30) {
        kit_erase_some(world);
    } else if (what < 32) {
        kit_drop_some(world);
    } else if (what < 40 && !world->snapping) {
        kit_snapshot(world);
    } else if (what < 60 && world->snapping) {
        (void)(kit_background(world, &err) == WEIR_OK);
    } else if (what < 75) {
        kit_run_work(world);
    } else if (what < 92) {
        kit_finish_work(world);
    } else if (what < 97) {
        if (world->taken > world->committed && !world->snapping) {
            uint64_t before = world->committed;
            kit_commit(world, weir_rand_below(&world->rand, 4) != 0);
            if (before != 0 && weir_rand_below(&world->rand, 2) == 0) {
                kit_sweep(world, before);
            }
        }
    } else if (what < 98) {
        kit_restart(world);
    }
}

#endif
