#include "taskmanager/state/rocks.h"

#include "common/base/clock.h"
#include "common/fs/fs_local.h"
#include "common/runtime/pool.h"
#include "taskmanager/state/keyed_files.h"
#include "taskmanager/state/keyed_test_kit.h"
#include "tests/lib/mails.h"
#include "tests/lib/split_fs.h"
#include "tests/lib/temp_dir.h"

#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
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

/* --- with a thread that writes ---------------------------------------------------------------------------------------- */

/* An executor on a pool, as a task has one. */
struct threaded {
    struct weir_executor executor; /* first member */
    struct weir_pool *pool;
    struct weir_mailbox *mailbox;
    struct weir_waker *waker;
};

static void run_work(void *ctx)
{
    struct weir_work *work = ctx;
    work->run(work);
}

static void work_done(void *ctx)
{
    struct weir_work *work = ctx;
    work->in_flight = false;
    work->done(work);
}

static void submit(struct weir_executor *executor, struct weir_work *work)
{
    struct threaded *threaded = (struct threaded *)executor;
    struct weir_pool_job job = {.run = run_work, .done = work_done, .ctx = work};
    ck_assert_int_eq(weir_pool_submit(threaded->pool, job, threaded->mailbox), WEIR_OK);
}

enum { BATCH = 2048, SAMPLES_MAX = 1 << 16, VALUE_WORDS = 9 };

struct bench {
    struct setup setup;
    struct threaded threaded;
    struct weir_delta *delta;
    struct weir_keyed *keyed;
    uint64_t nkeys, checkpoint;
    struct weir_rand rand;
    int64_t *samples;
    uint32_t nsamples;
    uint64_t total; /* rows added */
};

/* Of this thread: the machine is shared. */
static int64_t cpu_ns(void)
{
    struct timespec now;
    ck_assert_int_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

/* Updates of random keys (or the next ones): what a task does with a batch. */
static void add_batch(struct bench *bench, bool random, uint64_t below)
{
    static uint64_t ids[BATCH];
    static uint64_t hashes[BATCH];
    static struct weir_slice keys[BATCH];
    static uint8_t *payloads[BATCH];
    for (uint32_t i = 0; i < BATCH; i++) {
        ids[i] = random ? weir_rand_below(&bench->rand, below) : (bench->total + i) % below;
        keys[i] = weir_slice(&ids[i], 8);
        hashes[i] = weir_hash_slice(keys[i], 0);
    }
    int64_t begin_ns = cpu_ns();
    ck_assert_int_eq(weir_delta_get_many(bench->delta, NULL, hashes, keys, BATCH, payloads, NULL), WEIR_OK);
    for (uint32_t i = 0; i < BATCH; i++) {
        ++kit_count(payloads[i])[0];
        kit_count(payloads[i])[1 + i % (VALUE_WORDS - 1)] = hashes[i] + i;
    }
    bench->total += BATCH;
    if (bench->nsamples < SAMPLES_MAX) {
        bench->samples[bench->nsamples++] = cpu_ns() - begin_ns;
    }
}

static int compare_samples(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void print_samples(struct bench *bench, const char *what)
{
    qsort(bench->samples, bench->nsamples, sizeof(*bench->samples), compare_samples);
    if (getenv("WEIR_BENCH") != NULL && bench->nsamples > 0) {
        (void)printf("rocks: %-34s %5u batches, CPU us: p50 %6.0f  p99 %6.0f  max %6.0f\n", what, bench->nsamples,
                     (double)bench->samples[bench->nsamples / 2] / 1e3, (double)bench->samples[bench->nsamples * 99 / 100] / 1e3,
                     (double)bench->samples[bench->nsamples - 1] / 1e3);
        (void)fflush(stdout);
    }
    bench->nsamples = 0;
}

/* A snapshot while batches go on; each sample is a batch with the capture step behind it. */
static void take(struct bench *bench, const char *what, uint64_t below, struct weir_buf *state)
{
    struct weir_error err = {0};
    const struct weir_clock *clock = weir_clock_real();
    char *dir = weir_strfmt("%s/job/chk-%llu", bench->setup.ckpt, (unsigned long long)++bench->checkpoint);
    ck_assert_int_eq(weir_fs_mkdirs(bench->setup.fs, dir, &err), WEIR_OK);
    weir_free(dir);
    weir_buf_clear(state);
    int64_t begin_ns = weir_clock_mono_ns(clock);
    weir_keyed_snapshot(bench->keyed, bench->checkpoint, state);
    int64_t sync_ns = weir_clock_mono_ns(clock) - begin_ns;
    enum weir_rc rc = WEIR_AGAIN;
    while (rc == WEIR_AGAIN) {
        bool any = false;
        if (below > 0) {
            add_batch(bench, true, below);
        }
        int64_t step_ns = cpu_ns();
        (void)weir_mailbox_run(bench->threaded.mailbox, 8);
        rc = weir_keyed_background(bench->keyed, state, &any, &err);
        if (bench->nsamples > 0 && below > 0) {
            bench->samples[bench->nsamples - 1] += cpu_ns() - step_ns;
        }
        if (rc == WEIR_AGAIN && !any && below == 0) {
            weir_test_await_mail(bench->threaded.waker, bench->threaded.mailbox, -1);
        }
    }
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
    if (getenv("WEIR_BENCH") != NULL) {
        (void)printf("rocks: %-34s %5.0f ms, sync part %.0f us, files %.1f MB, new %.1f MB\n", what,
                     (double)(weir_clock_mono_ns(clock) - begin_ns) / 1e6, (double)sync_ns / 1e3,
                     (double)weir_keyed_files_bytes(bench->keyed) / 1e6, (double)weir_keyed_new_bytes(bench->keyed) / 1e6);
    }
    print_samples(bench, what);
    weir_keyed_notify(bench->keyed, bench->checkpoint);
}

static void encode_value(void *ctx, const uint8_t *payload, struct weir_buf *out)
{
    (void)ctx;
    weir_buf_put(out, payload, VALUE_WORDS * sizeof(uint64_t));
}

static enum weir_rc decode_value(void *ctx, struct weir_slice bytes, uint8_t *payload, struct weir_error *err)
{
    (void)ctx;
    (void)err;
    ck_assert_uint_eq(bytes.len, VALUE_WORDS * sizeof(uint64_t));
    memcpy(payload, bytes.data, bytes.len);
    return WEIR_OK;
}

static void open_state(struct bench *bench)
{
    struct weir_delta_options options = {.payload_bytes = VALUE_WORDS * sizeof(uint64_t)};
    struct weir_delta_codec codec = {
        .parallelism = 1, .max_parallelism = KIT_MAX_PARALLELISM, .encode = encode_value, .decode = decode_value, .space_fits = kit_space_fits};
    struct weir_keyed_env env = {.backend = bench->setup.backend, .executor = &bench->threaded.executor, .fs = bench->setup.fs,
                                 .checkpoints_dir = bench->setup.ckpt, .job_id = "job", .uid = "bench", .attempt = (uint32_t)bench->checkpoint};
    weir_delta_own_groups(&options, 0, 1, KIT_MAX_PARALLELISM);
    bench->delta = weir_delta_create(&options);
    bench->keyed = weir_keyed_create(bench->delta, &codec, &env);
}

static void restore_state(struct bench *bench, const struct weir_buf *state)
{
    struct weir_error err = {0};
    const struct weir_clock *clock = weir_clock_real();
    char *dir = weir_strfmt("%s/job/chk-%llu", bench->setup.ckpt, (unsigned long long)bench->checkpoint);
    int64_t begin_ns = weir_clock_mono_ns(clock);
    weir_keyed_destroy(bench->keyed);
    if (getenv("WEIR_BENCH") != NULL) {
        (void)printf("rocks: closed and removed: %.1f ms\n", (double)(weir_clock_mono_ns(clock) - begin_ns) / 1e6);
    }
    weir_delta_destroy(bench->delta);
    open_state(bench);
    begin_ns = weir_clock_mono_ns(clock);
    enum weir_rc rc = weir_keyed_restore(bench->keyed, bench->checkpoint, dir, weir_buf_slice(state), &err);
    while (rc == WEIR_AGAIN) {
        (void)weir_mailbox_run(bench->threaded.mailbox, 8);
        rc = weir_keyed_resume(bench->keyed, &err);
        if (rc == WEIR_AGAIN) {
            weir_test_await_mail(bench->threaded.waker, bench->threaded.mailbox, -1);
        }
    }
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
    if (getenv("WEIR_BENCH") != NULL) {
        (void)printf("rocks: restore of %lu keys: %.0f ms\n", (unsigned long)weir_delta_entries(bench->delta),
                     (double)(weir_clock_mono_ns(clock) - begin_ns) / 1e6);
    }
    weir_free(dir);
}

/* The counts add up whatever was written while snapshots were taken. */
static uint64_t sum_counts(const struct bench *bench)
{
    struct weir_delta_cursor cursor;
    struct weir_delta_entry entry;
    uint64_t sum = 0;
    weir_delta_cursor_init(&cursor, bench->delta, 0);
    while (weir_delta_cursor_next(&cursor, &entry)) {
        sum += *kit_count(entry.payload);
    }
    weir_delta_cursor_fini(&cursor);
    return sum;
}

static struct bench *begin_bench(uint32_t nkeys)
{
    struct weir_error err;
    struct weir_pool_options pool = {.name = "rocks", .threads = 1, .jobs_max = 8};
    struct bench *bench = weir_calloc(1, sizeof(*bench));
    bench->setup = begin(1);
    bench->samples = weir_calloc(SAMPLES_MAX, sizeof(*bench->samples));
    bench->nkeys = nkeys;
    weir_rand_init(&bench->rand, 1);
    bench->threaded.executor.submit = submit;
    ck_assert_int_eq(weir_waker_create(&bench->threaded.waker, &err), WEIR_OK);
    bench->threaded.mailbox = weir_mailbox_create(64, bench->threaded.waker);
    ck_assert_int_eq(weir_pool_create(&pool, &bench->threaded.pool, &err), WEIR_OK);
    return bench;
}

static void end_bench(struct bench *bench)
{
    weir_keyed_destroy(bench->keyed);
    weir_delta_destroy(bench->delta);
    weir_pool_destroy(bench->threaded.pool);
    weir_mailbox_destroy(bench->threaded.mailbox);
    weir_waker_destroy(bench->threaded.waker);
    weir_free(bench->samples);
    end(&bench->setup);
    weir_free(bench);
}

/* Every key once; then their values grow too. */
static void fill(struct bench *bench, bool values)
{
    while (bench->total < bench->nkeys) {
        add_batch(bench, false, bench->nkeys);
    }
    for (uint64_t i = 0; values && i < 8 * bench->nkeys; i += BATCH) {
        add_batch(bench, true, bench->nkeys);
    }
    bench->nsamples = 0;
}

/* Snapshots of many keys with a real writer's thread, batches going on; WEIR_BENCH prints what it costs. */
START_TEST(many_keys)
{
    bool print = getenv("WEIR_BENCH") != NULL;
    struct bench *bench = begin_bench(print ? 1200000 : 100000);
    struct weir_buf state = {0};
    open_state(bench);
    fill(bench, print);
    for (int i = 0; i < 300; i++) {
        add_batch(bench, true, bench->nkeys);
    }
    print_samples(bench, "no snapshot");
    take(bench, "all keys, all written meanwhile", bench->nkeys, &state);
    while (bench->total % (4 * bench->nkeys) >= BATCH) {
        add_batch(bench, false, bench->nkeys);
    }
    bench->nsamples = 0;
    take(bench, "nearly all changed, at rest", 0, &state);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < bench->nkeys / 100 / BATCH + 1; i++) {
            add_batch(bench, true, bench->nkeys);
        }
        bench->nsamples = 0;
        take(bench, "1% changed, at rest", 0, &state);
    }
    uint64_t sum = sum_counts(bench);
    ck_assert_uint_eq(sum, bench->total);
    restore_state(bench, &state);
    ck_assert_uint_eq(sum_counts(bench), sum);
    take(bench, "1% meanwhile, after a restore", bench->nkeys / 100, &state);
    weir_buf_fini(&state);
    end_bench(bench);
}
END_TEST

/* Milliseconds until a store's directory has all files. */
static double fetch_ms(const struct bench *bench, const struct weir_keyed_manifest *manifest, struct weir_local_store *copies)
{
    struct weir_error err = {0};
    struct weir_state_store *store = NULL;
    struct weir_keyed_local local = {.store = copies, .job_id = "job"};
    ck_assert_int_eq(bench->setup.backend->create(bench->setup.backend, "fetched", NULL, &store, &err), WEIR_OK);
    int64_t begin_ns = weir_clock_mono_ns(weir_clock_real());
    ck_assert_msg(weir_keyed_fetch(bench->setup.fs, &local, manifest, store->dir, &err) == WEIR_OK, "%s", err.text);
    int64_t ns = weir_clock_mono_ns(weir_clock_real()) - begin_ns;
    store->vtable->close(store);
    return (double)ns / 1e6;
}

/* A database is restored from links of files that another one has dropped; WEIR_BENCH prints what that costs, and what a download, of which source and
 * target are in memory here. */
START_TEST(local_copies)
{
    bool print = getenv("WEIR_BENCH") != NULL;
    struct bench *bench = begin_bench(print ? 1900000 : 30000);
    struct weir_error err = {0};
    struct weir_buf state = {0};
    struct weir_fs *disk = bench->setup.fs;
    struct weir_split_fs split;
    weir_split_fs_init(&split, disk, bench->setup.ckpt);
    split.watched = "/weir-local/";
    struct weir_local_store *copies = weir_local_store_create(&(struct weir_local_store_options){
        .fs = &split.fs, .clock = weir_clock_real(), .dir = bench->setup.root, .cluster_id = "c", .host = "h", .keeps = true, .gives = true});
    bench->setup.fs = &split.fs;
    bench->setup.backend->local = copies;
    open_state(bench);
    fill(bench, print);
    take(bench, "all keys, at rest", 0, &state);
    uint64_t sum = sum_counts(bench);
    for (int round = 0; round < 2; round++) {
        uint32_t links = split.links;
        restore_state(bench, &state);
        ck_assert_uint_eq(sum_counts(bench), sum);
        ck_assert_uint_gt(split.links, links);
        ck_assert_uint_eq(weir_delta_entries(bench->delta), bench->nkeys);
    }
    char *dir = weir_strfmt("%s/job/chk-%llu", bench->setup.ckpt, (unsigned long long)bench->checkpoint);
    struct weir_keyed_manifest *manifest = NULL;
    ck_assert_int_eq(weir_keyed_manifest_decode(weir_buf_slice(&state), bench->checkpoint, dir, &manifest, &err), WEIR_OK);
    for (int round = 0; round < 3; round++) {
        double local_ms = fetch_ms(bench, manifest, copies);
        double download_ms = fetch_ms(bench, manifest, NULL);
        if (print) {
            (void)printf("rocks: files of %.1f MB: local %.0f ms, downloaded %.0f ms, ratio %.1f\n", (double)manifest->bytes / 1e6, local_ms,
                         download_ms, download_ms / local_ms);
        }
    }
    weir_keyed_manifest_destroy(manifest);
    weir_free(dir);
    weir_local_store_end(copies, "job");
    bench->setup.fs = disk;
    weir_buf_fini(&state);
    end_bench(bench);
    weir_local_store_destroy(copies);
}
END_TEST

Suite *rocks_suite(void);
Suite *rocks_suite(void)
{
    Suite *suite = suite_create("rocks");
    TCase *tcase = tcase_create("rocks");
    tcase_add_test(tcase, random_lives);
    tcase_add_test(tcase, unchanged_state_uploads_nothing);
    tcase_add_test(tcase, damaged_sst);
    tcase_add_test(tcase, leftovers);
    tcase_add_test(tcase, many_keys);
    tcase_add_test(tcase, local_copies);
    suite_add_tcase(suite, tcase);
    return suite;
}
