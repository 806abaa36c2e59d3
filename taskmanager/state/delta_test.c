#include "taskmanager/state/delta.h"

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/rand.h"
#include "common/data/rowkey.h"
#include "tests/lib/hot_assert.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

enum { MODEL_KEYS = 600, MODEL_SPACES = 5, ROWS_MAX = 256 };

/* Key k as bytes: 0 to 60 long, some beyond the inline size, all different. */
static struct weir_slice make_key(uint32_t k, uint8_t *room)
{
    uint32_t len = k == 0 ? 0 : 4 + k % 57;
    for (uint32_t i = 0; i < len; i++) {
        room[i] = i < 4 ? (uint8_t)(k >> (8 * i)) : (uint8_t)(k + i);
    }
    return weir_slice(room, len);
}

struct model {
    uint64_t count[MODEL_SPACES][MODEL_KEYS]; /* 0: absent */
};

static uint64_t *payload_count(uint8_t *payload)
{
    return (uint64_t *)(void *)payload;
}

static void check_space(const struct weir_delta *delta, const struct model *model, uint32_t space, uint64_t (*hash)(struct weir_slice))
{
    struct weir_delta_cursor cursor;
    weir_delta_cursor_init(&cursor, delta, space);
    struct weir_delta_entry entry;
    struct weir_delta_entry last = {0};
    uint32_t seen = 0;
    while (weir_delta_cursor_next(&cursor, &entry)) {
        WEIR_HOT_ASSERT(seen == 0 || weir_delta_compare(delta, &last, &entry) < 0);
        last = entry;
        uint32_t k = 0;
        for (uint32_t i = 0; i < entry.key.len && i < 4; i++) {
            k |= (uint32_t)entry.key.data[i] << (8 * i);
        }
        uint8_t room[64];
        WEIR_HOT_ASSERT(weir_slice_eq(entry.key, make_key(k, room)));
        WEIR_HOT_ASSERT_EQ(entry.hash, hash(entry.key));
        WEIR_HOT_ASSERT_EQ(*payload_count(entry.payload), model->count[space][k]);
        seen++;
    }
    weir_delta_cursor_fini(&cursor);
    uint32_t expected = 0;
    for (uint32_t k = 0; k < MODEL_KEYS; k++) {
        expected += model->count[space][k] > 0;
    }
    ck_assert_uint_eq(seen, expected);
}

static uint64_t good_hash(struct weir_slice key)
{
    return weir_hash_slice(key, 0);
}

static uint64_t crowded_hash(struct weir_slice key)
{
    return 0x1234567800000000u + weir_hash_slice(key, 0) % 7; /* every key in one place: slack runs out, probes are long */
}

static uint64_t top_hash(struct weir_slice key)
{
    return weir_hash_slice(key, 0) | 0xfff0000000000000u; /* all near the end of the last segment */
}

static void add_rows(struct weir_delta *delta, struct model *model, struct weir_rand *rand, uint64_t (*hash)(struct weir_slice))
{
    static const uint32_t spreads[] = {3, 40, MODEL_KEYS};
    uint32_t spread = spreads[weir_rand_below(rand, 3)];
    uint32_t rows = 1 + (uint32_t)weir_rand_below(rand, ROWS_MAX);
    int64_t spaces[ROWS_MAX];
    uint64_t hashes[ROWS_MAX];
    struct weir_slice keys[ROWS_MAX];
    uint32_t ks[ROWS_MAX];
    uint8_t room[ROWS_MAX][64];
    uint8_t *payloads[ROWS_MAX];
    bool created[ROWS_MAX];
    for (uint32_t i = 0; i < rows; i++) {
        spaces[i] = (int64_t)weir_rand_below(rand, MODEL_SPACES);
        ks[i] = (uint32_t)weir_rand_below(rand, spread);
        keys[i] = make_key(ks[i], room[i]);
        hashes[i] = hash(keys[i]);
    }
    ck_assert_int_eq(weir_delta_get_many(delta, spaces, hashes, keys, rows, payloads, created), WEIR_OK);
    for (uint32_t i = 0; i < rows; i++) {
        uint64_t *count = &model->count[spaces[i]][ks[i]];
        WEIR_HOT_ASSERT_EQ(*payload_count(payloads[i]), *count);
        WEIR_HOT_ASSERT_EQ(created[i], (*count == 0));
        ++*count;
        ++*payload_count(payloads[i]);
    }
}

static void erase_one(struct weir_delta *delta, struct model *model, struct weir_rand *rand, uint64_t (*hash)(struct weir_slice))
{
    int64_t space = (int64_t)weir_rand_below(rand, MODEL_SPACES);
    uint32_t k = (uint32_t)weir_rand_below(rand, MODEL_KEYS);
    uint8_t room[64];
    struct weir_slice key = make_key(k, room);
    uint64_t h = hash(key);
    uint8_t *payload = NULL;
    if (model->count[space][k] == 0) {
        return;
    }
    ck_assert_int_eq(weir_delta_get_many(delta, &space, &h, &key, 1, &payload, NULL), WEIR_OK);
    weir_delta_erase(delta, space, payload);
    model->count[space][k] = 0;
}

static void run_model(uint64_t seed, uint64_t (*hash)(struct weir_slice), struct weir_delta_options options)
{
    struct weir_mem *mem = weir_mem_create("delta test", 0, NULL);
    options.mem = mem;
    struct weir_delta *delta = weir_delta_create(&options);
    struct model *model = calloc(1, sizeof(*model));
    struct weir_rand rand;
    weir_rand_init(&rand, seed);
    for (int step = 0; step < 700; step++) {
        uint64_t what = weir_rand_below(&rand, 20);
        if (what < 12) {
            add_rows(delta, model, &rand, hash);
        } else if (what < 19) {
            for (int i = 0; i < 40; i++) {
                erase_one(delta, model, &rand, hash);
            }
        } else {
            uint32_t last = (uint32_t)weir_rand_below(&rand, MODEL_SPACES);
            weir_delta_drop(delta, last);
            memset(model->count, 0, (last + 1) * sizeof(model->count[0]));
        }
        if (step % 20 == 0) {
            uint64_t live = 0;
            for (uint32_t space = 0; space < MODEL_SPACES; space++) {
                check_space(delta, model, space, hash);
                for (uint32_t k = 0; k < MODEL_KEYS; k++) {
                    live += model->count[space][k] > 0;
                }
            }
            ck_assert_uint_eq(weir_delta_entries(delta), live);
            ck_assert_uint_eq(weir_delta_bytes(delta), weir_mem_used(mem));
        }
    }
    weir_delta_destroy(delta);
    free(model);
    weir_mem_destroy(mem);
}

static const struct {
    uint64_t (*hash)(struct weir_slice key);
    struct weir_delta_options options;
} models[] = {
    {good_hash, {.payload_bytes = 12}},
    {good_hash, {.payload_bytes = 12, .inline_key_bytes = 40}},
    /* most keys are outside: slower, still right */
    {good_hash, {.payload_bytes = 12, .inline_key_bytes = 40, .hash_first = 0x8000000000000000u, .hash_span = 0x2000000000000000u}},
    /* segments of the least size are the greatest: everything splits */
    {good_hash, {.payload_bytes = 60000, .inline_key_bytes = 40, .hash_first = 0x8000000000000000u, .hash_span = 0x2000000000000000u}},
    {crowded_hash, {.payload_bytes = 8}},
    {top_hash, {.payload_bytes = 8}},
};

START_TEST(model)
{
    run_model((uint64_t)_i + 1, models[_i].hash, models[_i].options);
}
END_TEST

START_TEST(key_groups_fill_the_table)
{
    for (uint32_t parallelism = 1; parallelism <= 128; parallelism += 13) {
        for (uint32_t subtask = 0; subtask < parallelism; subtask++) {
            struct weir_delta_options options = {.payload_bytes = 8};
            weir_delta_own_groups(&options, subtask, parallelism, 128);
            uint64_t last = options.hash_first + options.hash_span - 1;
            uint32_t before = weir_key_group(options.hash_first - 1, 128);
            uint32_t after = weir_key_group(last + 1, 128);
            ck_assert_uint_eq(weir_key_group_owner(weir_key_group(options.hash_first, 128), 128, parallelism), subtask);
            ck_assert_uint_eq(weir_key_group_owner(weir_key_group(last, 128), 128, parallelism), subtask);
            ck_assert(parallelism == 1 || weir_key_group_owner(before, 128, parallelism) != subtask);
            ck_assert(parallelism == 1 || weir_key_group_owner(after, 128, parallelism) != subtask);
        }
    }
}
END_TEST

START_TEST(budget_is_kept)
{
    struct weir_mem *mem = weir_mem_create("small", 64 << 10, NULL);
    struct weir_delta_options options = {.payload_bytes = 16, .mem = mem};
    struct weir_delta *delta = weir_delta_create(&options);
    uint32_t made = 0;
    enum weir_rc rc = WEIR_OK;
    for (; rc == WEIR_OK && made < 100000; made++) {
        uint8_t room[64];
        struct weir_slice key = make_key(made, room);
        uint64_t hash = good_hash(key);
        uint8_t *payload = NULL;
        int64_t space = made % 3;
        rc = weir_delta_get_many(delta, &space, &hash, &key, 1, &payload, NULL);
        ck_assert_uint_le(weir_mem_used(mem), 64 << 10);
    }
    ck_assert_int_eq(rc, WEIR_AGAIN);
    ck_assert_uint_gt(made, 100);
    weir_delta_drop(delta, 1); /* room again */
    uint8_t room[64];
    struct weir_slice key = make_key(made + 1, room);
    uint64_t hash = good_hash(key);
    uint8_t *payload = NULL;
    int64_t space = 2;
    ck_assert_int_eq(weir_delta_get_many(delta, &space, &hash, &key, 1, &payload, NULL), WEIR_OK);
    weir_delta_destroy(delta);
    weir_mem_destroy(mem);
}
END_TEST

/* Counts per key over many batches; prints ns/row when WEIR_BENCH is set. */
static void count_keys(uint64_t nkeys, uint64_t rows, uint32_t step, bool print)
{
    struct weir_mem *mem = weir_mem_create("bench", 0, NULL);
    struct weir_delta_options options = {.payload_bytes = 16, .mem = mem};
    struct weir_delta *delta = weir_delta_create(&options);
    struct weir_rand rand;
    weir_rand_init(&rand, nkeys);
    static uint64_t ids[4096];
    static uint64_t hashes[4096];
    static struct weir_slice keys[4096];
    static uint8_t *payloads[4096];
    int64_t spent_ns = 0;
    const struct weir_clock *clock = weir_clock_real();
    uint64_t warm = nkeys * 4;
    for (uint64_t done = 0; done < rows + warm; done += step) {
        for (uint32_t i = 0; i < step; i++) {
            ids[i] = done < nkeys ? (done + i) % nkeys : weir_rand_below(&rand, nkeys);
            keys[i] = weir_slice(&ids[i], 8);
            hashes[i] = weir_hash_u64(ids[i], 0);
        }
        int64_t begin = weir_clock_mono_ns(clock);
        ck_assert_int_eq(weir_delta_get_many(delta, NULL, hashes, keys, step, payloads, NULL), WEIR_OK);
        for (uint32_t i = 0; i < step; i++) {
            uint64_t *acc = payload_count(payloads[i]);
            acc[0]++;
            acc[1] += ids[i];
        }
        if (done >= warm) {
            spent_ns += weir_clock_mono_ns(clock) - begin;
        }
    }
    ck_assert_uint_eq(weir_delta_entries(delta), nkeys);
    struct weir_delta_cursor cursor;
    weir_delta_cursor_init(&cursor, delta, 0);
    struct weir_delta_entry entry;
    uint64_t total = 0;
    uint64_t last = 0;
    while (weir_delta_cursor_next(&cursor, &entry)) {
        uint64_t id;
        memcpy(&id, entry.key.data, 8);
        WEIR_HOT_ASSERT_EQ(payload_count(entry.payload)[1], id * payload_count(entry.payload)[0]);
        WEIR_HOT_ASSERT(entry.hash >= last);
        last = entry.hash;
        total += payload_count(entry.payload)[0];
    }
    weir_delta_cursor_fini(&cursor);
    ck_assert_uint_ge(total, rows + warm);
    if (print) {
        (void)printf("delta: %8lu keys, batches of %u: %5.1f ns/row, %lu MB\n", (unsigned long)nkeys, step,
                     (double)spent_ns / (double)rows, (unsigned long)(weir_delta_bytes(delta) >> 20));
    }
    weir_delta_destroy(delta);
    weir_mem_destroy(mem);
}

START_TEST(grows_to_a_million)
{
    bool print = getenv("WEIR_BENCH") != NULL;
    if (print) {
        count_keys(1000, 10000000, 4096, true);
        count_keys(100000, 10000000, 4096, true);
        count_keys(1000000, 10000000, 1024, true);
    }
    count_keys(1000000, 1000000, 4096, print);
}
END_TEST

Suite *delta_suite(void);
Suite *delta_suite(void)
{
    Suite *suite = suite_create("delta");
    TCase *tcase = tcase_create("delta");
    tcase_add_loop_test(tcase, model, 0, sizeof(models) / sizeof(models[0]));
    tcase_add_test(tcase, key_groups_fill_the_table);
    tcase_add_test(tcase, budget_is_kept);
    tcase_add_test(tcase, grows_to_a_million);
    suite_add_tcase(suite, tcase);
    return suite;
}
