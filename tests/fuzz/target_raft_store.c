/*
 * raft_store: the directory of a Raft member with one of its files replaced. With the first bit of the first byte checksums are put right, so
 * that mutations reach what is behind. Whatever is read is read the same again.
 */
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/fs/fs_sim.h"
#include "jobmanager/ha/raft_store.h"
#include "tests/fuzz/fuzz.h"

enum { FIX_CHECKSUMS = 1, FILE_HEADER_BYTES = 28, FILE_CRC_OFFSET = 24, FRAME_HEADER_BYTES = 20, FRAME_CRC_OFFSET = 16, FILE_BYTES_MAX = 1 << 20 };

/* The log of a member that has no snapshot, and the files of one that has. */
enum { FIRST_LOG, IDENTITY, VOTE, SNAPSHOT, LOG, FILES };

static const char *const names[FILES] = {"/raft/log-1", "/raft/identity", "/raft/vote", "/raft/snapshot", "/raft/log-2"};

struct state {
    struct weir_buf files[FILES];
};

static void read_file(struct weir_fs *fs, const char *path, struct weir_buf *out)
{
    struct weir_error err;
    enum weir_rc rc = weir_fs_read_all(fs, path, FILE_BYTES_MAX, out, &err);
    weir_assert(rc == WEIR_OK);
}

static void write_file(struct weir_fs *fs, const char *path, struct weir_slice bytes)
{
    struct weir_error err;
    enum weir_rc rc = weir_fs_write_atomic(fs, path, bytes, &err);
    weir_assert(rc == WEIR_OK);
}

static struct weir_fs *make_fs(void)
{
    struct weir_error err;
    struct weir_fs *fs = weir_fs_sim_create();
    enum weir_rc rc = weir_fs_mkdirs(fs, "/raft", &err);
    weir_assert(rc == WEIR_OK);
    return fs;
}

static void append(struct weir_raft_store *store, uint64_t first, const struct weir_raft_entry *entries, uint32_t count)
{
    struct weir_error err;
    struct weir_buf encoded = {0};
    weir_raft_store_put_entries(&encoded, first, entries, count);
    enum weir_rc rc = weir_raft_store_append(store, weir_buf_slice(&encoded), &err);
    weir_assert(rc == WEIR_OK);
    weir_buf_fini(&encoded);
}

static void *create(void)
{
    const struct weir_raft_entry entries[] = {{1, WEIR_RAFT_CHANGE, weir_slice_str("members")},
                                              {2, WEIR_RAFT_BARRIER, weir_slice_str("")},
                                              {2, WEIR_RAFT_COMMAND, weir_slice_str("command")}};
    const struct weir_raft_snapshot snapshot = {3, 2, 1, weir_slice_str("members"), weir_slice_str("state")};
    struct state *state = weir_calloc(1, sizeof(*state));
    struct weir_fs *fs = make_fs();
    struct weir_raft_store *store = NULL;
    struct weir_raft_boot boot;
    struct weir_error err;
    struct weir_buf kept = {0};
    enum weir_rc rc = weir_raft_store_open(fs, "/raft", 7, NULL, &store, &boot, &err);
    weir_assert(rc == WEIR_OK);
    rc = weir_raft_store_vote(store, 2, 1, &err);
    weir_assert(rc == WEIR_OK);
    append(store, 1, entries, 3);
    append(store, 3, &entries[2], 1);
    append(store, 4, &entries[1], 1);
    read_file(fs, names[FIRST_LOG], &state->files[FIRST_LOG]);
    weir_raft_store_put_entries(&kept, 2, &entries[1], 2);
    rc = weir_raft_store_snapshot(store, &snapshot, weir_buf_slice(&kept), &err);
    weir_assert(rc == WEIR_OK);
    append(store, 4, &entries[1], 2);
    append(store, 5, &entries[2], 1);
    for (int i = IDENTITY; i < FILES; i++) {
        read_file(fs, names[i], &state->files[i]);
    }
    weir_buf_fini(&kept);
    weir_raft_store_close(store);
    weir_fs_sim_destroy(fs);
    return state;
}

static void destroy(void *opaque)
{
    struct state *state = opaque;
    for (int i = 0; i < FILES; i++) {
        weir_buf_fini(&state->files[i]);
    }
    weir_free(state);
}

static void fix_frames(uint8_t *bytes, size_t len)
{
    for (size_t at = FILE_HEADER_BYTES; len - at >= FRAME_HEADER_BYTES;) {
        size_t payload = weir_le_get_u32(bytes + at + 4);
        if (payload > len - at - FRAME_HEADER_BYTES) {
            return;
        }
        weir_le_put_u64(bytes + at + 8, at);
        uint32_t crc = weir_crc32c(0, bytes + at, FRAME_CRC_OFFSET);
        weir_le_put_u32(bytes + at + FRAME_CRC_OFFSET, weir_crc32c(crc, bytes + at + FRAME_HEADER_BYTES, payload));
        at += FRAME_HEADER_BYTES + payload;
    }
}

static void fix_checksums(uint8_t *bytes, size_t len, bool is_log)
{
    if (len < FILE_HEADER_BYTES) {
        return;
    }
    uint32_t crc = weir_crc32c(0, bytes, FILE_CRC_OFFSET);
    weir_le_put_u32(bytes + FILE_CRC_OFFSET, is_log ? crc : weir_crc32c(crc, bytes + FILE_HEADER_BYTES, len - FILE_HEADER_BYTES));
    if (is_log) {
        fix_frames(bytes, len);
    }
}

/* A log, as Raft takes for granted. */
static void check_boot(const struct weir_raft_boot *boot)
{
    uint64_t through = boot->snapshot == NULL ? 0 : boot->snapshot->index;
    uint64_t term = 0;
    weir_assert(boot->first > 0 && boot->first <= through + 1);
    weir_assert(boot->count == 0 || boot->first + boot->count - 1 >= through);
    for (uint32_t i = 0; i < boot->count; i++) {
        weir_assert(boot->entries[i].term > 0 && boot->entries[i].term >= term);
        weir_assert(boot->first + i != through || boot->entries[i].term == boot->snapshot->term);
        term = boot->entries[i].term;
    }
}

static void run(void *opaque, struct weir_slice input)
{
    const struct state *state = opaque;
    if (input.len == 0) {
        return;
    }
    int target = (input.data[0] >> 1) % FILES;
    size_t len = input.len - 1;
    uint8_t *bytes = weir_malloc(len + 1);
    memcpy(bytes, input.data + 1, len);
    if ((input.data[0] & FIX_CHECKSUMS) != 0) {
        fix_checksums(bytes, len, target == FIRST_LOG || target == LOG);
    }
    struct weir_fs *fs = make_fs();
    for (int i = target == FIRST_LOG ? FIRST_LOG : IDENTITY; i < FILES; i++) {
        if (target != FIRST_LOG || (i != SNAPSHOT && i != LOG)) {
            write_file(fs, names[i], i == target ? weir_slice(bytes, len) : weir_buf_slice(&state->files[i]));
        }
    }
    struct weir_raft_store *store = NULL;
    struct weir_raft_boot boot;
    struct weir_error err = {0};
    if (weir_raft_store_open(fs, "/raft", 9, NULL, &store, &boot, &err) == WEIR_OK) {
        uint32_t count = boot.count;
        check_boot(&boot);
        weir_raft_store_close(store);
        enum weir_rc rc = weir_raft_store_open(fs, "/raft", 9, NULL, &store, &boot, &err);
        weir_assert(rc == WEIR_OK && boot.count == count);
        weir_raft_store_close(store);
    } else {
        weir_assert(err.rc == WEIR_CORRUPT || err.rc == WEIR_UNSUPPORTED || err.rc == WEIR_LIMIT);
        weir_assert(strstr(err.text, "/raft/") != NULL);
    }
    weir_fs_sim_destroy(fs);
    weir_free(bytes);
}

static void seed(void *opaque, weir_fuzz_seed_fn *add, void *ctx)
{
    const struct state *state = opaque;
    for (int i = 0; i < FILES; i++) {
        struct weir_buf input = {0};
        weir_buf_put_u8(&input, (uint8_t)(FIX_CHECKSUMS | i << 1));
        weir_buf_put_slice(&input, weir_buf_slice(&state->files[i]));
        add(ctx, weir_buf_slice(&input));
        weir_buf_fini(&input);
    }
}

const struct weir_fuzz_target weir_fuzz_raft_store = {.name = "raft_store", .create = create, .run = run, .destroy = destroy, .seed = seed};
