/*
 * The disk of a Raft member on a file system that forgets: cut and damaged at every byte, failed at every call, crashed after each.
 */
#include "jobmanager/ha/raft_store.h"

#include <check.h>
#include <stdio.h>

#include "common/base/crc32c.h"
#include "common/base/rand.h"
#include "common/fs/fs_sim.h"
#include "jobmanager/ha/dir_lock.h"
#include "tests/lib/temp_dir.h"

enum { ENTRIES_MAX = 256, DATA_BYTES = 12 };

static const char dir[] = "/raft";
static const uint64_t incarnation = 77;

/* What the disk should hold. */
struct model {
    uint64_t term, vote;
    uint64_t snapshot_index, snapshot_term;
    uint64_t first;
    struct {
        uint64_t term;
        uint8_t data[DATA_BYTES];
    } entries[ENTRIES_MAX];
    uint32_t count;
};

struct world {
    struct weir_fs *fs;
    struct weir_raft_store *store;
    struct weir_raft_boot boot;
    struct model model;
    struct weir_rand rand;
};

static void world_init(struct world *w, uint64_t seed)
{
    struct weir_error err;
    *w = (struct world){.fs = weir_fs_sim_create(), .model = {.first = 1}};
    weir_rand_init(&w->rand, seed);
    ck_assert_int_eq(weir_fs_mkdirs(w->fs, dir, &err), WEIR_OK);
}

static enum weir_rc world_open(struct world *w, struct weir_error *err)
{
    return weir_raft_store_open(w->fs, dir, incarnation, NULL, &w->store, &w->boot, err);
}

static void world_close(struct world *w)
{
    weir_raft_store_close(w->store);
    w->store = NULL;
}

static void world_fini(struct world *w)
{
    world_close(w);
    weir_fs_sim_destroy(w->fs);
}

static void snapshot_of(const struct model *model, struct weir_raft_snapshot *out)
{
    static const uint8_t members[] = {1, 2, 3};
    static const uint8_t data[40] = {9, 8, 7};
    *out = (struct weir_raft_snapshot){.index = model->snapshot_index,
                                       .term = model->snapshot_term,
                                       .members_index = 1,
                                       .members = weir_slice(members, sizeof(members)),
                                       .data = weir_slice(data, model->snapshot_index % sizeof(data))};
}

static bool boot_is(const struct weir_raft_boot *boot, const struct model *model)
{
    struct weir_raft_snapshot snapshot;
    snapshot_of(model, &snapshot);
    bool same = boot->term == model->term && boot->voted_for == model->vote && boot->first == model->first && boot->count == model->count &&
                (boot->snapshot != NULL) == (model->snapshot_index > 0);
    if (same && boot->snapshot != NULL) {
        same = boot->snapshot->index == snapshot.index && boot->snapshot->term == snapshot.term && boot->snapshot->members_index == 1 &&
               weir_slice_eq(boot->snapshot->members, snapshot.members) && weir_slice_eq(boot->snapshot->data, snapshot.data);
    }
    for (uint32_t i = 0; same && i < boot->count; i++) {
        same = boot->entries[i].term == model->entries[i].term && boot->entries[i].kind == WEIR_RAFT_COMMAND &&
               weir_slice_eq(boot->entries[i].data, weir_slice(model->entries[i].data, DATA_BYTES));
    }
    return same;
}

static void put_model_entries(const struct model *model, uint64_t from, uint32_t group_max, struct weir_buf *out)
{
    struct weir_raft_entry entries[ENTRIES_MAX];
    for (uint32_t i = (uint32_t)(from - model->first); i < model->count;) {
        uint32_t count = 0;
        uint64_t first = model->first + i;
        while (count < group_max && i < model->count) {
            entries[count++] = (struct weir_raft_entry){.term = model->entries[i].term, .kind = WEIR_RAFT_COMMAND,
                                                        .data = weir_slice(model->entries[i].data, DATA_BYTES)};
            i++;
        }
        weir_raft_store_put_entries(out, first, entries, count);
    }
}

/* --- what can be asked of the disk; each changes the model, whatever comes of it ------------------------------------------ */
static enum weir_rc do_vote(struct world *w, struct weir_error *err)
{
    w->model.term += 1;
    w->model.vote = weir_rand_below(&w->rand, 3);
    return weir_raft_store_vote(w->store, w->model.term, w->model.vote, err);
}

/* Sometimes cuts what is behind the snapshot, sometimes in several groups. */
static enum weir_rc do_append(struct world *w, struct weir_error *err)
{
    struct model *model = &w->model;
    struct weir_buf encoded = {0};
    uint32_t keep = model->snapshot_index >= model->first ? (uint32_t)(model->snapshot_index - model->first + 1) : 0;
    uint32_t cut = weir_rand_below(&w->rand, 3) == 0 ? (uint32_t)weir_rand_below(&w->rand, model->count - keep + 1) : 0;
    uint32_t add = 1 + (uint32_t)weir_rand_below(&w->rand, 4);
    model->count -= cut;
    uint64_t from = model->first + model->count;
    for (uint32_t i = 0; i < add; i++) {
        model->entries[model->count].term = model->term;
        for (int byte = 0; byte < DATA_BYTES; byte++) {
            model->entries[model->count].data[byte] = (uint8_t)weir_rand_u64(&w->rand);
        }
        model->count++;
    }
    put_model_entries(model, from, 1 + (uint32_t)weir_rand_below(&w->rand, 3), &encoded);
    enum weir_rc rc = weir_raft_store_append(w->store, weir_buf_slice(&encoded), err);
    weir_buf_fini(&encoded);
    return rc;
}

static enum weir_rc do_snapshot(struct world *w, bool install, struct weir_error *err)
{
    struct model *model = &w->model;
    struct weir_buf kept = {0};
    struct weir_raft_snapshot snapshot;
    if (install) {
        model->snapshot_index = model->first + model->count + weir_rand_below(&w->rand, 5);
        model->snapshot_term = model->term;
        model->count = 0;
        model->first = model->snapshot_index + 1;
    } else {
        if (model->count == 0 || model->first + model->count - 1 <= model->snapshot_index) {
            return WEIR_OK;
        }
        uint64_t last = model->first + model->count - 1;
        model->snapshot_index += 1 + weir_rand_below(&w->rand, last - model->snapshot_index);
        model->snapshot_term = model->entries[model->snapshot_index - model->first].term;
        uint64_t trailing = weir_rand_below(&w->rand, 4);
        uint64_t drop = model->snapshot_index > trailing ? model->snapshot_index - trailing : 0;
        uint32_t count = drop >= model->first ? (uint32_t)(drop - model->first + 1) : 0;
        model->count -= count;
        memmove(&model->entries[0], &model->entries[count], model->count * sizeof(model->entries[0]));
        model->first += count;
        put_model_entries(model, model->first, 2, &kept);
    }
    snapshot_of(model, &snapshot);
    enum weir_rc rc = weir_raft_store_snapshot(w->store, &snapshot, weir_buf_slice(&kept), err);
    weir_buf_fini(&kept);
    return rc;
}

static enum weir_rc do_something(struct world *w, struct weir_error *err)
{
    uint64_t what = weir_rand_below(&w->rand, 10);
    if (w->model.term == 0 || what < 2) {
        return do_vote(w, err);
    }
    if (w->model.count > 40 || what == 2) {
        return do_snapshot(w, false, err);
    }
    return what == 3 ? do_snapshot(w, true, err) : do_append(w, err);
}

struct counter {
    const char *prefix;
    uint32_t count;
};

static void on_name(void *ctx, const char *name, bool is_dir)
{
    struct counter *counter = ctx;
    ck_assert(!is_dir);
    counter->count += strncmp(name, counter->prefix, strlen(counter->prefix)) == 0;
}

static uint32_t count_files(struct world *w, const char *prefix)
{
    struct counter counter = {.prefix = prefix};
    struct weir_error err;
    ck_assert_int_eq(weir_fs_list(w->fs, dir, on_name, &counter, &err), WEIR_OK);
    return counter.count;
}

static struct weir_buf read_file(struct world *w, const char *name)
{
    struct weir_buf buf = {0};
    struct weir_error err;
    char path[64];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    ck_assert_int_eq(weir_fs_read_all(w->fs, path, 1 << 20, &buf, &err), WEIR_OK);
    return buf;
}

static void write_file(struct world *w, const char *name, struct weir_slice bytes)
{
    struct weir_error err;
    char path[64];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    ck_assert_int_eq(weir_fs_write_atomic(w->fs, path, bytes, &err), WEIR_OK);
}

/* --- tests ------------------------------------------------------------------------------------------------------------ */
START_TEST(everything_is_there_again)
{
    struct world w;
    struct weir_error err;
    world_init(&w, 1);
    for (int life = 0; life < 40; life++) {
        ck_assert_int_eq(world_open(&w, &err), WEIR_OK);
        ck_assert(boot_is(&w.boot, &w.model));
        ck_assert_uint_eq(weir_raft_store_incarnation(w.store), incarnation);
        weir_raft_store_forget(w.store);
        for (int i = 0; i < 10; i++) {
            ck_assert_int_eq(do_something(&w, &err), WEIR_OK);
        }
        ck_assert_uint_eq(count_files(&w, "log-"), 1); /* (S5) */
        ck_assert_uint_le(count_files(&w, "snapshot"), 1);
        world_close(&w);
        if (life % 2 == 0) {
            weir_fs_sim_crash(w.fs, (uint64_t)life);
        }
    }
    world_fini(&w);
}
END_TEST

START_TEST(an_empty_directory_has_never_been_anything)
{
    struct world w;
    struct weir_error err;
    world_init(&w, 1);
    ck_assert_int_eq(world_open(&w, &err), WEIR_OK);
    ck_assert_uint_eq(w.boot.term, 0);
    ck_assert_uint_eq(w.boot.first, 1);
    ck_assert_uint_eq(w.boot.count, 0);
    ck_assert_ptr_null(w.boot.snapshot);
    world_fini(&w);
}
END_TEST

/* The n-th call of a life fails, then the machine goes down or only the process: every operation has happened or not, wholly. */
static void fail_call(uint64_t seed, uint64_t nth, enum weir_rc fault, bool crash, bool *out_met)
{
    struct world w;
    struct weir_error err;
    world_init(&w, seed);
    weir_fs_sim_fail(w.fs, (struct weir_fs_sim_fault){.nth = nth, .rc = fault, .lasting = seed % 2 == 0});
    struct model before = w.model;
    enum weir_rc rc = world_open(&w, &err);
    for (int i = 0; rc == WEIR_OK && i < 30; i++) {
        before = w.model;
        rc = do_something(&w, &err);
        if (rc == WEIR_RESOURCE && fault == WEIR_RESOURCE && seed % 2 != 0 && w.model.snapshot_index != before.snapshot_index) {
            w.model = before; /* (S4): a full disk leaves everything as it was when the log was to be replaced */
            rc = WEIR_OK;
        }
    }
    *out_met = weir_fs_sim_failed(w.fs);
    ck_assert(rc == WEIR_OK || *out_met);
    bool replaced = w.model.snapshot_index != before.snapshot_index;
    if (rc != WEIR_OK && w.store != NULL && w.model.term == before.term && !(replaced && rc == WEIR_RESOURCE)) {
        weir_fs_sim_fail(w.fs, (struct weir_fs_sim_fault){0});
        ck_assert_int_ne(weir_raft_store_append(w.store, weir_slice("x", 1), &err), WEIR_OK); /* (S4) */
    }
    world_close(&w);
    weir_fs_sim_fail(w.fs, (struct weir_fs_sim_fault){0});
    if (crash) {
        weir_fs_sim_crash(w.fs, seed * 1000 + nth);
    }
    ck_assert_int_eq(world_open(&w, &err), WEIR_OK);
    bool is_new = boot_is(&w.boot, &w.model);
    ck_assert(is_new || (rc != WEIR_OK && boot_is(&w.boot, &before)));
    w.model = is_new ? w.model : before;
    ck_assert_uint_eq(count_files(&w, "log-"), 1);
    ck_assert_uint_eq(count_files(&w, "snapshot.tmp") + count_files(&w, "vote.tmp") + count_files(&w, "identity.tmp"), 0);
    world_close(&w);
    weir_fs_sim_crash(w.fs, seed * 1000 + nth + 1); /* what was read is as durable as what was written */
    ck_assert_int_eq(world_open(&w, &err), WEIR_OK);
    ck_assert(boot_is(&w.boot, &w.model));
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(do_something(&w, &err), WEIR_OK);
    }
    world_close(&w);
    ck_assert_int_eq(world_open(&w, &err), WEIR_OK);
    ck_assert(boot_is(&w.boot, &w.model));
    world_fini(&w);
}

START_TEST(every_call_fails)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        bool met = true;
        uint64_t nth = 1;
        for (; met; nth++) {
            fail_call(seed, nth, _i % 2 == 0 ? WEIR_IO : WEIR_RESOURCE, _i / 2 == 0, &met);
        }
        ck_assert_uint_gt(nth, 40);
    }
}
END_TEST

START_TEST(a_full_disk_leaves_the_old_log_when_a_new_one_was_to_be_written)
{
    struct world w;
    struct weir_error err;
    world_init(&w, 3);
    ck_assert_int_eq(world_open(&w, &err), WEIR_OK);
    ck_assert_int_eq(do_vote(&w, &err), WEIR_OK);
    ck_assert_int_eq(do_append(&w, &err), WEIR_OK);
    uint32_t refused = 0;
    for (uint64_t nth = 1;; nth++) {
        struct model before = w.model;
        weir_fs_sim_fail(w.fs, (struct weir_fs_sim_fault){.nth = nth, .rc = WEIR_RESOURCE});
        enum weir_rc rc = do_snapshot(&w, false, &err);
        if (rc != WEIR_RESOURCE) { /* the rename has happened: nobody knows */
            ck_assert_int_eq(rc, WEIR_IO);
            break;
        }
        w.model = before;
        refused++;
        ck_assert_uint_eq(count_files(&w, "log-"), 1);
        ck_assert_int_eq(do_append(&w, &err), WEIR_OK);
    }
    ck_assert_uint_eq(refused, 7); /* open, append, fsync, twice; rename */
    world_fini(&w);
}
END_TEST

/* The n frames of a log, and where each ends. */
static void write_frames(struct world *w, size_t ends[], struct model models[], uint32_t frames)
{
    struct weir_error err;
    ck_assert_int_eq(world_open(w, &err), WEIR_OK);
    ck_assert_int_eq(do_vote(w, &err), WEIR_OK);
    ends[0] = (size_t)weir_raft_store_log_bytes(w->store);
    models[0] = w->model;
    for (uint32_t i = 1; i <= frames; i++) {
        ck_assert_int_eq(do_append(w, &err), WEIR_OK);
        ends[i] = (size_t)weir_raft_store_log_bytes(w->store);
        models[i] = w->model;
    }
    world_close(w);
}

START_TEST(a_cut_log_loses_only_its_last_frame)
{
    struct world w;
    struct weir_error err;
    size_t ends[5];
    struct model models[5];
    world_init(&w, 4);
    write_frames(&w, ends, models, 4);
    struct weir_buf whole = read_file(&w, "log-1");
    for (size_t len = 0; len <= whole.len; len++) {
        write_file(&w, "log-1", weir_slice(whole.data, len));
        enum weir_rc rc = world_open(&w, &err);
        if (len < ends[0]) { /* a header is written before anything relies on it */
            ck_assert_int_eq(rc, WEIR_CORRUPT);
            continue;
        }
        ck_assert_int_eq(rc, WEIR_OK);
        uint32_t frames = 0;
        while (frames < 4 && ends[frames + 1] <= len) {
            frames++;
        }
        ck_assert(boot_is(&w.boot, &models[frames]));
        w.model = models[frames];
        ck_assert_int_eq(do_append(&w, &err), WEIR_OK); /* what is cut never comes back */
        world_close(&w);
        ck_assert_int_eq(world_open(&w, &err), WEIR_OK);
        ck_assert(boot_is(&w.boot, &w.model));
        world_close(&w);
    }
    weir_buf_fini(&whole);
    world_fini(&w);
}
END_TEST

START_TEST(a_flipped_bit_in_the_log)
{
    struct world w;
    struct weir_error err;
    size_t ends[5];
    struct model models[5];
    char offset[32];
    world_init(&w, 5);
    write_frames(&w, ends, models, 4);
    struct weir_buf whole = read_file(&w, "log-1");
    for (size_t i = 0; i < whole.len; i++) {
        whole.data[i] ^= 0x10;
        write_file(&w, "log-1", weir_buf_slice(&whole));
        whole.data[i] ^= 0x10;
        enum weir_rc rc = world_open(&w, &err);
        if (i >= ends[3]) { /* the last frame: it could have been torn */
            ck_assert_int_eq(rc, WEIR_OK);
            ck_assert(boot_is(&w.boot, &models[3]));
            world_close(&w);
            continue;
        }
        size_t at = 0;
        for (uint32_t frame = 0; frame < 3; frame++) {
            at = i >= ends[frame] ? ends[frame] : at;
        }
        (void)snprintf(offset, sizeof(offset), "offset %zu:", at);
        ck_assert_int_eq(rc, WEIR_CORRUPT);
        ck_assert_ptr_nonnull(strstr(err.text, "/raft/log-1"));
        ck_assert_ptr_nonnull(strstr(err.text, offset));
        ck_assert_ptr_nonnull(strstr(err.text, "backup"));
    }
    weir_buf_fini(&whole);
    world_fini(&w);
}
END_TEST

/* Files that were renamed whole, and the log that a snapshot names as far as it was then: nothing of them is ever torn. */
START_TEST(damage_to_what_no_crash_can_tear)
{
    static const char *const names[] = {"identity", "vote", "snapshot", "log-2"};
    struct world w;
    struct weir_error err;
    char offset[] = "offset ";
    world_init(&w, 6);
    ck_assert_int_eq(world_open(&w, &err), WEIR_OK);
    ck_assert_int_eq(do_vote(&w, &err), WEIR_OK);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(do_append(&w, &err), WEIR_OK);
    }
    struct weir_buf kept = {0};
    struct weir_raft_snapshot snapshot;
    w.model.snapshot_index = 3;
    w.model.snapshot_term = w.model.entries[2].term;
    put_model_entries(&w.model, 1, 2, &kept);
    snapshot_of(&w.model, &snapshot);
    ck_assert_int_eq(weir_raft_store_snapshot(w.store, &snapshot, weir_buf_slice(&kept), &err), WEIR_OK);
    weir_buf_fini(&kept);
    world_close(&w);
    for (size_t name = 0; name < sizeof(names) / sizeof(names[0]); name++) {
        struct weir_buf whole = read_file(&w, names[name]);
        for (size_t i = 0; i < whole.len; i++) {
            whole.data[i] ^= 0x01;
            write_file(&w, names[name], weir_buf_slice(&whole));
            whole.data[i] ^= 0x01;
            ck_assert_int_eq(world_open(&w, &err), WEIR_CORRUPT);
            ck_assert_ptr_nonnull(strstr(err.text, names[name]));
            ck_assert_ptr_nonnull(strstr(err.text, offset));
            write_file(&w, names[name], weir_slice(whole.data, i));
            ck_assert_int_eq(world_open(&w, &err), WEIR_CORRUPT);
        }
        write_file(&w, names[name], weir_buf_slice(&whole));
        weir_buf_fini(&whole);
    }
    ck_assert_int_eq(world_open(&w, &err), WEIR_OK);
    ck_assert(boot_is(&w.boot, &w.model));
    world_fini(&w);
}
END_TEST

START_TEST(a_missing_file)
{
    static const char *const names[] = {"identity", "vote", "log-2"};
    struct world w;
    struct weir_error err;
    char path[64];
    world_init(&w, 7);
    ck_assert_int_eq(world_open(&w, &err), WEIR_OK);
    ck_assert_int_eq(do_vote(&w, &err), WEIR_OK);
    ck_assert_int_eq(do_append(&w, &err), WEIR_OK);
    ck_assert_int_eq(do_append(&w, &err), WEIR_OK);
    struct weir_buf vote = read_file(&w, "vote");
    ck_assert_int_eq(weir_fs_unlink(w.fs, "/raft/vote", &err), WEIR_OK);
    world_close(&w);
    ck_assert_int_eq(world_open(&w, &err), WEIR_CORRUPT);
    write_file(&w, "vote", weir_buf_slice(&vote));
    weir_buf_fini(&vote);
    ck_assert_int_eq(world_open(&w, &err), WEIR_OK);
    ck_assert_int_eq(do_snapshot(&w, false, &err), WEIR_OK);
    world_close(&w);
    for (size_t name = 0; name < sizeof(names) / sizeof(names[0]); name++) {
        struct weir_buf whole = read_file(&w, names[name]);
        (void)snprintf(path, sizeof(path), "%s/%s", dir, names[name]);
        ck_assert_int_eq(weir_fs_unlink(w.fs, path, &err), WEIR_OK);
        ck_assert_int_eq(world_open(&w, &err), WEIR_CORRUPT);
        ck_assert_ptr_nonnull(strstr(err.text, path));
        write_file(&w, names[name], weir_buf_slice(&whole));
        weir_buf_fini(&whole);
    }
    ck_assert_int_eq(world_open(&w, &err), WEIR_OK);
    world_fini(&w);
}
END_TEST

/* Frames whose checksums hold, and which no member writes. */
START_TEST(entries_that_contradict_each_other)
{
    const struct weir_raft_entry two = {.term = 2, .kind = WEIR_RAFT_COMMAND};
    const struct weir_raft_entry one = {.term = 1, .kind = WEIR_RAFT_COMMAND};
    const struct weir_raft_entry none = {.term = 0, .kind = WEIR_RAFT_COMMAND};
    const struct weir_raft_entry strange = {.term = 2, .kind = (enum weir_raft_entry_kind)9};
    const struct {
        uint64_t first;
        const struct weir_raft_entry *entry;
        bool good;
    } seconds[] = {{1, &one, true}, {2, &two, true}, {2, &one, false}, {2, &none, false}, {2, &strange, false}, {3, &two, false}};
    for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
        struct world w;
        struct weir_error err;
        struct weir_buf encoded = {0};
        world_init(&w, 8);
        ck_assert_int_eq(world_open(&w, &err), WEIR_OK);
        ck_assert_int_eq(do_vote(&w, &err), WEIR_OK);
        weir_raft_store_put_entries(&encoded, 1, &two, 1);
        weir_raft_store_put_entries(&encoded, seconds[i].first, seconds[i].entry, 1);
        ck_assert_int_eq(weir_raft_store_append(w.store, weir_buf_slice(&encoded), &err), WEIR_OK);
        world_close(&w);
        ck_assert_int_eq(world_open(&w, &err), seconds[i].good ? WEIR_OK : WEIR_CORRUPT);
        weir_buf_fini(&encoded);
        world_fini(&w);
    }
}
END_TEST

START_TEST(a_log_that_does_not_reach_its_snapshot)
{
    struct world w;
    struct weir_error err;
    struct weir_buf kept = {0};
    struct weir_raft_snapshot snapshot;
    const struct weir_raft_entry entry = {.term = 1, .kind = WEIR_RAFT_COMMAND};
    for (uint64_t index = 1; index <= 2; index++) {
        world_init(&w, 8);
        ck_assert_int_eq(world_open(&w, &err), WEIR_OK);
        ck_assert_int_eq(do_vote(&w, &err), WEIR_OK);
        weir_buf_clear(&kept);
        weir_raft_store_put_entries(&kept, 1, &entry, 1);
        w.model.snapshot_index = index;
        w.model.snapshot_term = 3 - index; /* 1: of another term; 2: not there */
        snapshot_of(&w.model, &snapshot);
        ck_assert_int_eq(weir_raft_store_snapshot(w.store, &snapshot, weir_buf_slice(&kept), &err), WEIR_OK);
        world_close(&w);
        ck_assert_int_eq(world_open(&w, &err), WEIR_CORRUPT);
        world_fini(&w);
    }
    weir_buf_fini(&kept);
}
END_TEST

START_TEST(the_log_of_before_raft_is_refused)
{
    struct world w;
    struct weir_error err;
    world_init(&w, 9);
    write_file(&w, "cluster.log", weir_slice_str("WEIRCLOG"));
    ck_assert_int_eq(world_open(&w, &err), WEIR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.text, "/raft/cluster.log"));
    ck_assert_ptr_nonnull(strstr(err.text, "move it away"));
    world_fini(&w);
}
END_TEST

START_TEST(another_version_is_refused)
{
    struct world w;
    struct weir_error err;
    world_init(&w, 10);
    ck_assert_int_eq(world_open(&w, &err), WEIR_OK);
    world_close(&w);
    struct weir_buf identity = read_file(&w, "identity");
    weir_buf_set_u32(&identity, 8, 2);
    weir_buf_set_u32(&identity, 24, weir_crc32c(weir_crc32c(0, identity.data, 24), identity.data + 28, identity.len - 28));
    write_file(&w, "identity", weir_buf_slice(&identity));
    ck_assert_int_eq(world_open(&w, &err), WEIR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.text, "version 2"));
    weir_buf_fini(&identity);
    world_fini(&w);
}
END_TEST

START_TEST(a_directory_has_one_owner)
{
    char path[WEIR_TEMP_DIR_MAX];
    char command[128];
    struct weir_error err;
    struct weir_dir_lock *one = NULL;
    struct weir_dir_lock *two = NULL;
    weir_temp_dir(path, "raft-store");
    ck_assert_int_eq(weir_dir_lock_open(path, &one, &err), WEIR_OK);
    ck_assert_int_eq(weir_dir_lock_open(path, &two, &err), WEIR_EXISTS);
    weir_dir_lock_close(one);
    ck_assert_int_eq(weir_dir_lock_open(path, &two, &err), WEIR_OK);
    weir_dir_lock_close(two);
    (void)snprintf(command, sizeof(command), "rm -rf %s", path);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

Suite *raft_store_suite(void);

Suite *raft_store_suite(void)
{
    Suite *suite = suite_create("raft_store");
    TCase *tcase = tcase_create("raft_store");
    tcase_add_test(tcase, everything_is_there_again);
    tcase_add_test(tcase, an_empty_directory_has_never_been_anything);
    tcase_add_loop_test(tcase, every_call_fails, 0, 4);
    tcase_add_test(tcase, a_full_disk_leaves_the_old_log_when_a_new_one_was_to_be_written);
    tcase_add_test(tcase, a_cut_log_loses_only_its_last_frame);
    tcase_add_test(tcase, a_flipped_bit_in_the_log);
    tcase_add_test(tcase, damage_to_what_no_crash_can_tear);
    tcase_add_test(tcase, a_missing_file);
    tcase_add_test(tcase, entries_that_contradict_each_other);
    tcase_add_test(tcase, a_log_that_does_not_reach_its_snapshot);
    tcase_add_test(tcase, the_log_of_before_raft_is_refused);
    tcase_add_test(tcase, another_version_is_refused);
    tcase_add_test(tcase, a_directory_has_one_owner);
    suite_add_tcase(suite, tcase);
    return suite;
}
