#include "taskmanager/state/delta_freeze.h"

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/rand.h"
#include "tests/lib/hot_assert.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 400, SPACES = 4, ROWS_MAX = 64 };

#ifdef __SANITIZE_THREAD__
enum { SMALL_SEEDS = 60, SPLIT_SEEDS = 8 }; /* one thread: ThreadSanitizer finds nothing here, and takes thirty times as long */
#else
enum { SMALL_SEEDS = 300, SPLIT_SEEDS = 40 };
#endif

/* What ought to be there: 0 = absent. */
struct image {
    uint64_t count[SPACES][KEYS];
};

struct world {
    struct weir_rand rand;
    struct weir_mem *mem;
    struct weir_delta *delta;
    struct image live, frozen, store;
    bool freezing, store_holds;
    struct weir_delta_removals removals;
    int64_t last_space; /* of the chunk taken last in this freeze */
    uint64_t last_hash;
    uint32_t last_key;
};

/* Key k as bytes: 4 to 40 long, so that some are beyond the inline size. */
static struct weir_slice make_key(uint32_t k, uint8_t *room)
{
    uint32_t len = 4 + k % 37;
    for (uint32_t i = 0; i < len; i++) {
        room[i] = i < 4 ? (uint8_t)(k >> (8 * i)) : (uint8_t)(k + i);
    }
    return weir_slice(room, len);
}

static uint64_t *count_of(const uint8_t *payload)
{
    return (uint64_t *)(uintptr_t)payload;
}

static void encode(void *ctx, const uint8_t *payload, struct weir_buf *out)
{
    (void)ctx;
    weir_buf_put_u64(out, *count_of(payload));
}

static void add_rows(struct world *world)
{
    uint32_t rows = 1 + (uint32_t)weir_rand_below(&world->rand, ROWS_MAX);
    uint32_t spread = weir_rand_below(&world->rand, 2) == 0 ? 20 : KEYS;
    int64_t spaces[ROWS_MAX];
    uint64_t hashes[ROWS_MAX];
    struct weir_slice keys[ROWS_MAX];
    uint32_t ks[ROWS_MAX];
    uint8_t room[ROWS_MAX][64];
    uint8_t *payloads[ROWS_MAX];
    for (uint32_t i = 0; i < rows; i++) {
        spaces[i] = (int64_t)weir_rand_below(&world->rand, SPACES);
        ks[i] = (uint32_t)weir_rand_below(&world->rand, spread);
        keys[i] = make_key(ks[i], room[i]);
        hashes[i] = weir_hash_slice(keys[i], 0);
    }
    ck_assert_int_eq(weir_delta_get_many(world->delta, spaces, hashes, keys, rows, payloads, NULL), WEIR_OK);
    for (uint32_t i = 0; i < rows; i++) {
        WEIR_HOT_ASSERT_EQ(*count_of(payloads[i]), world->live.count[spaces[i]][ks[i]]);
        world->live.count[spaces[i]][ks[i]] = ++*count_of(payloads[i]);
    }
}

/* Erases an entry straight from a cursor: the delta has not handed it out in this epoch. */
static void erase_some(struct world *world)
{
    int64_t space = (int64_t)weir_rand_below(&world->rand, SPACES);
    uint64_t skip = weir_rand_below(&world->rand, KEYS);
    for (int n = 0; n < 20; n++) {
        struct weir_delta_cursor cursor;
        struct weir_delta_entry entry;
        weir_delta_cursor_init(&cursor, world->delta, space);
        bool any = weir_delta_cursor_next(&cursor, &entry);
        for (uint64_t i = 0; any && i < skip % 50; i++) {
            any = weir_delta_cursor_next(&cursor, &entry);
        }
        if (any) {
            world->live.count[space][weir_le_get_u32(entry.key.data)] = 0;
            weir_delta_erase(world->delta, space, entry.payload);
        }
        weir_delta_cursor_fini(&cursor);
    }
}

static void drop_some(struct world *world)
{
    int64_t last = (int64_t)weir_rand_below(&world->rand, SPACES);
    if (weir_rand_below(&world->rand, 3) == 0) { /* an owner that releases payloads */
        weir_delta_capture_spaces(world->delta, last);
        for (uint32_t i = 0; i < weir_delta_spaces(world->delta) && weir_delta_space(world->delta, i) <= last; i++) {
            struct weir_delta_cursor cursor;
            struct weir_delta_entry entry;
            weir_delta_cursor_init(&cursor, world->delta, weir_delta_space(world->delta, i));
            while (weir_delta_cursor_next(&cursor, &entry)) {
                *count_of(entry.payload) = 0xdead;
            }
            weir_delta_cursor_fini(&cursor);
        }
    }
    weir_delta_drop(world->delta, last);
    memset(world->live.count, 0, ((size_t)last + 1) * sizeof(world->live.count[0]));
}

static void freeze(struct world *world)
{
    bool whole = !world->store_holds || weir_rand_below(&world->rand, 6) == 0;
    struct weir_delta_freeze how = {.whole = whole, .encode = encode};
    weir_delta_freeze(world->delta, &how, &world->removals);
    world->freezing = true;
    world->frozen = world->live;
    world->last_space = -1;
    if (whole) {
        memset(&world->store, 0, sizeof(world->store));
    }
    for (size_t i = 0; i < world->removals.ndropped; i++) {
        memset(world->store.count[world->removals.dropped[i]], 0, sizeof(world->store.count[0]));
    }
    const uint8_t **erased = NULL;
    uint64_t nerased = weir_delta_removals_sort(&world->removals, &erased);
    for (uint64_t i = 0; i < nerased; i++) {
        world->store.count[weir_le_get_u64(erased[i])][weir_le_get_u32(erased[i] + 20)] = 0;
    }
    weir_free(erased);
}

/* Takes chunks over into the store, and checks that they ascend. */
static void write_chunks(struct world *world)
{
    for (struct weir_delta_chunk *chunk = weir_delta_take_chunk(world->delta); chunk != NULL; chunk = weir_delta_take_chunk(world->delta)) {
        const uint8_t **records = NULL;
        uint32_t count = weir_delta_chunk_sort(chunk, &records);
        for (uint32_t i = 0; i < count; i++) {
            uint64_t hash = weir_le_get_u64(records[i]);
            uint32_t len = weir_le_get_u32(records[i] + 8);
            uint32_t k = weir_le_get_u32(records[i] + 12);
            WEIR_HOT_ASSERT(chunk->space > world->last_space || (chunk->space == world->last_space && hash > world->last_hash));
            world->last_space = chunk->space;
            world->last_hash = hash;
            WEIR_HOT_ASSERT_EQ(weir_le_get_u32(records[i] + 12 + len), 8);
            world->store.count[chunk->space][k] = weir_le_get_u64(records[i] + 16 + len);
        }
        weir_free(records);
        weir_delta_chunk_destroy(world->delta, chunk);
    }
}

static void thaw(struct world *world)
{
    bool fails = weir_rand_below(&world->rand, 8) == 0;
    while (!fails && weir_delta_capture(world->delta, 100)) {
    }
    if (!fails) {
        write_chunks(world);
        for (uint32_t space = 0; space < SPACES; space++) {
            for (uint32_t k = 0; k < KEYS; k++) {
                WEIR_HOT_ASSERT_EQ(world->store.count[space][k], world->frozen.count[space][k]);
            }
        }
    }
    weir_delta_thaw(world->delta, !fails);
    weir_delta_removals_fini(world->delta, &world->removals);
    world->store_holds = !fails;
    world->freezing = false;
}

static void step(struct world *world)
{
    uint64_t what = weir_rand_below(&world->rand, 40);
    if (what < 20) {
        add_rows(world);
    } else if (what < 26) {
        erase_some(world);
    } else if (what < 27) {
        drop_some(world);
    } else if (!world->freezing) {
        if (what < 31) {
            freeze(world);
        }
    } else if (what < 36) {
        (void)weir_delta_capture(world->delta, 1 + (uint32_t)weir_rand_below(&world->rand, 60));
    } else if (what < 38) {
        write_chunks(world);
    } else {
        thaw(world);
    }
}

static void run_model(uint64_t seed, uint32_t payload_bytes)
{
    struct world *world = weir_calloc(1, sizeof(*world));
    weir_rand_init(&world->rand, seed);
    world->mem = weir_mem_create("freeze test", 0, NULL);
    struct weir_delta_options options = {.payload_bytes = payload_bytes, .mem = world->mem};
    world->delta = weir_delta_create(&options);
    for (int i = 0; i < 400; i++) {
        step(world);
    }
    if (weir_rand_below(&world->rand, 2) == 0 && world->freezing) {
        thaw(world);
        ck_assert_uint_eq(weir_delta_chunk_bytes(world->delta), 0);
    }
    weir_delta_removals_fini(world->delta, &world->removals);
    weir_delta_destroy(world->delta);
    weir_mem_destroy(world->mem);
    weir_free(world);
}

START_TEST(model_small_segments_that_grow)
{
    for (uint64_t seed = 1; seed <= SMALL_SEEDS; seed++) {
        run_model(seed, 8);
    }
}
END_TEST

START_TEST(model_segments_that_split)
{
    run_model(1001 + (uint64_t)_i, 33000); /* the least segment, of 64 slots, is the greatest: more than 2 MiB, all of which the kernel must clear */
}
END_TEST

/* With nothing written since a durable freeze the next one gives nothing. */
START_TEST(clean_entries_are_left_out)
{
    struct world *world = weir_calloc(1, sizeof(*world));
    weir_rand_init(&world->rand, 1);
    struct weir_delta_options options = {.payload_bytes = 8};
    world->delta = weir_delta_create(&options);
    for (int i = 0; i < 50; i++) {
        add_rows(world);
    }
    weir_delta_set_durable(world->delta);
    for (int round = 0; round < 2; round++) {
        struct weir_delta_freeze how = {.encode = encode};
        weir_delta_freeze(world->delta, &how, &world->removals);
        uint32_t given = 0;
        while (weir_delta_capture(world->delta, 1000)) {
        }
        for (struct weir_delta_chunk *c = weir_delta_take_chunk(world->delta); c != NULL; c = weir_delta_take_chunk(world->delta)) {
            const uint8_t **records = NULL;
            given += weir_delta_chunk_sort(c, &records);
            weir_free(records);
            weir_delta_chunk_destroy(world->delta, c);
        }
        weir_delta_thaw(world->delta, true);
        weir_delta_removals_fini(world->delta, &world->removals);
        ck_assert_uint_eq(given, round);
        uint8_t room[64];
        struct weir_slice key = make_key(7, room);
        uint64_t hash = weir_hash_slice(key, 0);
        uint8_t *payload = NULL;
        ck_assert_int_eq(weir_delta_get_many(world->delta, NULL, &hash, &key, 1, &payload, NULL), WEIR_OK);
    }
    weir_delta_destroy(world->delta);
    weir_free(world);
}
END_TEST

/* Keys that come and go for ever without a snapshot: what is noted stays bounded, and the next snapshot is whole. */
START_TEST(removals_are_bounded)
{
    struct weir_mem *mem = weir_mem_create("freeze test", 0, NULL);
    struct weir_delta_options options = {.payload_bytes = 8, .mem = mem};
    struct weir_delta *delta = weir_delta_create(&options);
    weir_delta_set_durable(delta);
    uint8_t room[64];
    for (uint32_t i = 0; i < 400000; i++) {
        struct weir_slice key = make_key(i % 50, room);
        uint64_t hash = weir_hash_slice(key, 0);
        uint8_t *payload = NULL;
        ck_assert_int_eq(weir_delta_get_many(delta, NULL, &hash, &key, 1, &payload, NULL), WEIR_OK);
        if (i == 0) {
            weir_delta_set_durable(delta); /* the table is seen */
            ck_assert_int_eq(weir_delta_get_many(delta, NULL, &hash, &key, 1, &payload, NULL), WEIR_OK);
        }
        weir_delta_erase(delta, 0, payload);
        WEIR_HOT_ASSERT(weir_mem_used(mem) < 16 << 20);
    }
    ck_assert(weir_delta_must_be_whole(delta));
    weir_delta_destroy(delta);
    weir_mem_destroy(mem);
}
END_TEST

Suite *delta_freeze_suite(void);
Suite *delta_freeze_suite(void)
{
    Suite *suite = suite_create("delta_freeze");
    TCase *tcase = tcase_create("delta_freeze");
    tcase_add_test(tcase, model_small_segments_that_grow);
    tcase_add_loop_test(tcase, model_segments_that_split, 0, SPLIT_SEEDS);
    tcase_add_test(tcase, clean_entries_are_left_out);
    tcase_add_test(tcase, removals_are_bounded);
    suite_add_tcase(suite, tcase);
    return suite;
}
