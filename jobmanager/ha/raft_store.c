#include "jobmanager/ha/raft_store.h"

#include "common/base/assert.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * File:  8 bytes magic | u32 version | u32 kind | u64 number | u32 CRC32C | body. The number of a log is its own, of other files the length
 *        of the body; the checksum covers what is before it and, but for logs, the body.
 * Frame: u32 magic | u32 payload bytes | u64 offset in the file | u32 CRC32C of the rest of it | payload. One for each append: what a crash
 *        tears is then one frame. The offset tells a frame from bytes that an entry happens to carry.
 * Payload: groups of u64 first | u32 count | count times (u64 term | u8 kind | u32 length | data).
 */
enum { FILE_VERSION = 1, FILE_HEADER_BYTES = 28, FILE_CRC_OFFSET = 24, FRAME_HEADER_BYTES = 20, FRAME_CRC_OFFSET = 16, SMALL_BYTES_MAX = 1024 };

enum file_kind { FILE_IDENTITY = 1, FILE_VOTE = 2, FILE_SNAPSHOT = 3, FILE_LOG = 4 };

static const char file_magic[8] = {'W', 'E', 'I', 'R', 'R', 'A', 'F', 'T'};
static const uint32_t frame_magic = 0xa51c6e02u;
static const uint64_t file_bytes_max = UINT64_C(8) << 30;

static const char what_to_do[] = "one of several JobManagers is replaced: start it with an empty directory and jobmanager.join=true, then `weir cluster "
                                 "replace-jobmanager` (an old copy of the directory would take back what it has promised the others); for one that "
                                 "is alone put a backup back, or move the directory away to start an empty cluster";

struct weir_raft_store {
    struct weir_fs *fs;
    const struct weir_log *log;
    char *dir;
    uint64_t incarnation;
    bool vote_failed; /* owner's; everything below belongs to whoever appends */
    bool failed;      /* (S4) */
    uint64_t log_number;
    uint64_t log_bytes;
    struct weir_fs_file *file;
    /* What was read, until weir_raft_store_forget. */
    struct weir_buf snapshot_file, log_file;
    struct weir_raft_snapshot snapshot; /* index 0: none */
    uint64_t log_bytes_sure;            /* of the log, when the snapshot was made: no crash can tear those */
    uint64_t first;                     /* index of entries[0] */
    struct weir_raft_entry *entries;
    size_t nentries, entries_cap;
};

static char *path_of(const struct weir_raft_store *store, const char *name)
{
    return weir_strfmt("%s/%s", store->dir, name);
}

static char *log_path(const struct weir_raft_store *store, uint64_t number)
{
    return weir_strfmt("%s/log-%" PRIu64, store->dir, number);
}

/* --- bytes ------------------------------------------------------------------------------------------------------------ */
static void put_header(struct weir_buf *out, enum file_kind kind, uint64_t number)
{
    weir_buf_put(out, file_magic, sizeof(file_magic));
    weir_buf_put_u32(out, FILE_VERSION);
    weir_buf_put_u32(out, (uint32_t)kind);
    weir_buf_put_u64(out, number);
}

static void put_file(struct weir_buf *out, enum file_kind kind, struct weir_slice body)
{
    weir_assert(out->len == 0);
    put_header(out, kind, body.len);
    weir_buf_put_u32(out, weir_crc32c(weir_crc32c(0, out->data, FILE_CRC_OFFSET), body.data, body.len));
    weir_buf_put_slice(out, body);
}

static void put_log_header(struct weir_buf *out, uint64_t number)
{
    weir_assert(out->len == 0);
    put_header(out, FILE_LOG, number);
    weir_buf_put_u32(out, weir_crc32c(0, out->data, FILE_CRC_OFFSET));
}

/* The header and, but for logs, the body. */
static enum weir_rc check_file(const char *path, struct weir_slice file, enum file_kind kind, struct weir_slice *out_body, struct weir_error *err)
{
    bool whole = file.len >= FILE_HEADER_BYTES && memcmp(file.data, file_magic, sizeof(file_magic)) == 0;
    if (whole) {
        size_t covered = kind == FILE_LOG ? 0 : file.len - FILE_HEADER_BYTES;
        uint32_t crc = weir_crc32c(weir_crc32c(0, file.data, FILE_CRC_OFFSET), file.data + FILE_HEADER_BYTES, covered);
        whole = weir_le_get_u32(file.data + FILE_CRC_OFFSET) == crc && weir_le_get_u32(file.data + 12) == (uint32_t)kind;
    }
    if (!whole) {
        return weir_error_set(err, WEIR_CORRUPT, "%s: offset 0: damaged, or no file of Weir's; %s", path, what_to_do);
    }
    uint32_t version = weir_le_get_u32(file.data + 8);
    if (version != FILE_VERSION) {
        return weir_error_set(err, WEIR_UNSUPPORTED, "%s has version %u; this JobManager reads version %d: start the one that wrote it", path,
                              version, FILE_VERSION);
    }
    *out_body = weir_slice(file.data + FILE_HEADER_BYTES, file.len - FILE_HEADER_BYTES);
    return WEIR_OK;
}

static void put_frame(struct weir_buf *out, uint64_t offset, struct weir_slice payload)
{
    weir_assert(payload.len > 0 && payload.len <= UINT32_MAX);
    size_t start = out->len;
    weir_buf_put_u32(out, frame_magic);
    weir_buf_put_u32(out, (uint32_t)payload.len);
    weir_buf_put_u64(out, offset);
    weir_buf_put_u32(out, weir_crc32c(weir_crc32c(0, out->data + start, FRAME_CRC_OFFSET), payload.data, payload.len));
    weir_buf_put_slice(out, payload);
}

/* The frame at an offset of the file; false when there is no whole valid one. */
static bool get_frame(struct weir_slice file, size_t at, struct weir_slice *out_payload)
{
    if (file.len - at < FRAME_HEADER_BYTES || weir_le_get_u32(file.data + at) != frame_magic || weir_le_get_u64(file.data + at + 8) != at) {
        return false;
    }
    size_t payload_bytes = weir_le_get_u32(file.data + at + 4);
    if (payload_bytes > file.len - at - FRAME_HEADER_BYTES) {
        return false;
    }
    *out_payload = weir_slice(file.data + at + FRAME_HEADER_BYTES, payload_bytes);
    uint32_t crc = weir_crc32c(weir_crc32c(0, file.data + at, FRAME_CRC_OFFSET), out_payload->data, payload_bytes);
    return weir_le_get_u32(file.data + at + FRAME_CRC_OFFSET) == crc;
}

static bool find_frame_behind(struct weir_slice file, size_t at)
{
    struct weir_slice ignored;
    for (size_t i = at + 1; i + FRAME_HEADER_BYTES <= file.len; i++) {
        if (get_frame(file, i, &ignored)) {
            return true;
        }
    }
    return false;
}

void weir_raft_store_put_entries(struct weir_buf *out, uint64_t first, const struct weir_raft_entry *entries, uint32_t count)
{
    weir_assert(first > 0 && count > 0);
    weir_buf_put_u64(out, first);
    weir_buf_put_u32(out, count);
    for (uint32_t i = 0; i < count; i++) {
        weir_assert(entries[i].data.len <= WEIR_RAFT_ENTRY_BYTES_MAX);
        weir_buf_put_u64(out, entries[i].term);
        weir_buf_put_u8(out, (uint8_t)entries[i].kind);
        weir_buf_put_bytes(out, entries[i].data);
    }
}

/* --- reading the log -------------------------------------------------------------------------------------------------- */
static enum weir_rc read_entry(struct weir_raft_store *store, struct weir_reader *reader, struct weir_error *err)
{
    uint64_t index = store->first + store->nentries;
    uint64_t term = weir_read_u64(reader);
    uint8_t kind = weir_read_u8(reader);
    struct weir_slice data = weir_read_bytes(reader);
    uint64_t term_before = store->nentries > 0 ? store->entries[store->nentries - 1].term : index == store->snapshot.index + 1 ? store->snapshot.term : 0;
    if (reader->failed || kind < WEIR_RAFT_COMMAND || kind > WEIR_RAFT_CHANGE || data.len > WEIR_RAFT_ENTRY_BYTES_MAX) {
        return weir_error_set(err, WEIR_CORRUPT, "entry %" PRIu64 " is malformed", index);
    }
    if (term == 0 || term < term_before) {
        return weir_error_set(err, WEIR_CORRUPT, "entry %" PRIu64 " has term %" PRIu64 ", behind one of term %" PRIu64, index, term, term_before);
    }
    store->entries = weir_vec_grow(store->entries, &store->entries_cap, sizeof(*store->entries), store->nentries + 1);
    store->entries[store->nentries++] = (struct weir_raft_entry){.term = term, .kind = (enum weir_raft_entry_kind)kind, .data = data};
    return WEIR_OK;
}

/* Cuts the log at the group's first entry, then appends. */
static enum weir_rc read_group(struct weir_raft_store *store, struct weir_reader *reader, struct weir_error *err)
{
    uint64_t first = weir_read_u64(reader);
    uint32_t count = weir_read_u32(reader);
    uint64_t lowest = store->nentries > 0 ? store->first : 1;
    uint64_t highest = store->nentries > 0 ? store->first + store->nentries : store->snapshot.index + 1;
    if (reader->failed || count == 0 || first < lowest || first > highest) {
        return weir_error_set(err, WEIR_CORRUPT, "entry %" PRIu64 " cannot stand behind entry %" PRIu64, first, highest - 1);
    }
    if (store->nentries == 0) {
        store->first = first;
    }
    store->nentries = (size_t)(first - store->first);
    for (uint32_t i = 0; i < count; i++) {
        enum weir_rc rc = read_entry(store, reader, err);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    return WEIR_OK;
}

static enum weir_rc check_against_snapshot(const struct weir_raft_store *store, struct weir_error *err)
{
    uint64_t index = store->snapshot.index;
    if (store->nentries == 0 || store->first > index) {
        return WEIR_OK;
    }
    bool has = store->first + store->nentries > index;
    return has && store->entries[index - store->first].term == store->snapshot.term
               ? WEIR_OK
               : weir_error_set(err, WEIR_CORRUPT, "the log does not contain entry %" PRIu64 " of term %" PRIu64 ", which the snapshot ends with",
                                index, store->snapshot.term);
}

/* Every whole frame; log_bytes becomes their end (S1). */
static enum weir_rc read_frames(struct weir_raft_store *store, const char *path, struct weir_error *err)
{
    struct weir_slice file = weir_buf_slice(&store->log_file);
    size_t at = FILE_HEADER_BYTES;
    while (at < file.len) {
        struct weir_slice payload;
        if (!get_frame(file, at, &payload)) {
            if (at < store->log_bytes_sure || find_frame_behind(file, at)) {
                return weir_error_set(err, WEIR_CORRUPT, "%s: offset %zu: damaged, and not by a crash, since good bytes follow; %s", path, at,
                                      what_to_do);
            }
            weir_log(store->log, WEIR_LOG_WARN, "raft_log_torn_tail_cut", "file", path, "offset", WEIR_LOG_INT(at), "bytes",
                     WEIR_LOG_INT(file.len - at), NULL);
            break;
        }
        struct weir_reader reader = weir_reader(payload);
        do {
            if (read_group(store, &reader, err) != WEIR_OK) {
                return weir_error_prefix(err, "%s: offset %zu", path, at);
            }
        } while (reader.rest.len > 0);
        at += FRAME_HEADER_BYTES + payload.len;
    }
    if (at < store->log_bytes_sure) {
        return weir_error_set(err, WEIR_CORRUPT, "%s: offset %zu: the file ends before offset %" PRIu64 ", which it had when its snapshot was made; %s",
                              path, at, store->log_bytes_sure, what_to_do);
    }
    store->log_bytes = at;
    return check_against_snapshot(store, err) == WEIR_OK ? WEIR_OK : weir_error_prefix(err, "%s", path);
}

/* Reads and opens it for appending. What an earlier process wrote without having synced it becomes durable before anybody relies on it; so
 * does the cut of a torn tail. */
static enum weir_rc open_log(struct weir_raft_store *store, struct weir_error *err)
{
    char *path = log_path(store, store->log_number);
    struct weir_slice body;
    enum weir_rc rc = weir_fs_read_all(store->fs, path, file_bytes_max, &store->log_file, err);
    if (rc == WEIR_NOT_FOUND) {
        rc = weir_error_set(err, WEIR_CORRUPT, "%s is missing; %s", path, what_to_do);
    }
    rc = rc == WEIR_OK ? check_file(path, weir_buf_slice(&store->log_file), FILE_LOG, &body, err) : rc;
    if (rc == WEIR_OK && weir_le_get_u64(store->log_file.data + 16) != store->log_number) {
        rc = weir_error_set(err, WEIR_CORRUPT, "%s: offset 16: the file was renamed; %s", path, what_to_do);
    }
    rc = rc == WEIR_OK ? read_frames(store, path, err) : rc;
    rc = rc == WEIR_OK ? weir_fs_open(store->fs, path, WEIR_FS_APPEND, &store->file, err) : rc;
    if (rc == WEIR_OK && store->log_bytes < store->log_file.len) {
        rc = weir_fs_truncate(store->file, store->log_bytes, err);
    }
    rc = rc == WEIR_OK ? weir_fs_fsync(store->file, err) : rc;
    weir_free(path);
    return rc;
}

/* --- reading the rest ------------------------------------------------------------------------------------------------- */
/* NOT_FOUND when there is none. */
static enum weir_rc read_file(struct weir_raft_store *store, const char *name, enum file_kind kind, uint64_t bytes_max, struct weir_buf *file,
                              struct weir_slice *out_body, struct weir_error *err)
{
    char *path = path_of(store, name);
    enum weir_rc rc = weir_fs_read_all(store->fs, path, bytes_max, file, err);
    rc = rc == WEIR_OK ? check_file(path, weir_buf_slice(file), kind, out_body, err) : rc;
    weir_free(path);
    return rc;
}

/* `count` numbers and nothing else. */
static enum weir_rc read_numbers(struct weir_raft_store *store, const char *name, enum file_kind kind, uint64_t *out_numbers, size_t count,
                                 struct weir_error *err)
{
    struct weir_buf file = {0};
    struct weir_slice body = {0};
    enum weir_rc rc = read_file(store, name, kind, SMALL_BYTES_MAX, &file, &body, err);
    if (rc == WEIR_OK && body.len != 8 * count) {
        rc = weir_error_set(err, WEIR_CORRUPT, "%s/%s: offset %d: %zu bytes instead of %zu; %s", store->dir, name, FILE_HEADER_BYTES, body.len,
                            8 * count, what_to_do);
    }
    for (size_t i = 0; rc == WEIR_OK && i < count; i++) {
        out_numbers[i] = weir_le_get_u64(body.data + 8 * i);
    }
    weir_buf_fini(&file);
    return rc;
}

static enum weir_rc write_numbers(struct weir_raft_store *store, const char *name, enum file_kind kind, const uint64_t *numbers, size_t count,
                                  struct weir_error *err)
{
    struct weir_buf body = {0};
    struct weir_buf file = {0};
    for (size_t i = 0; i < count; i++) {
        weir_buf_put_u64(&body, numbers[i]);
    }
    put_file(&file, kind, weir_buf_slice(&body));
    char *path = path_of(store, name);
    enum weir_rc rc = weir_fs_write_atomic(store->fs, path, weir_buf_slice(&file), err);
    weir_free(path);
    weir_buf_fini(&file);
    weir_buf_fini(&body);
    return rc;
}

/* The log's number is 1 while there is no snapshot. */
static enum weir_rc read_snapshot(struct weir_raft_store *store, struct weir_error *err)
{
    struct weir_slice body = {0};
    store->log_number = 1;
    enum weir_rc rc = read_file(store, "snapshot", FILE_SNAPSHOT, file_bytes_max, &store->snapshot_file, &body, err);
    if (rc != WEIR_OK) {
        return rc == WEIR_NOT_FOUND ? WEIR_OK : rc;
    }
    struct weir_reader reader = weir_reader(body);
    store->log_number = weir_read_u64(&reader);
    store->log_bytes_sure = weir_read_u64(&reader);
    struct weir_raft_snapshot *snapshot = &store->snapshot;
    snapshot->index = weir_read_u64(&reader);
    snapshot->term = weir_read_u64(&reader);
    snapshot->members_index = weir_read_u64(&reader);
    snapshot->members = weir_read_bytes(&reader);
    snapshot->data = weir_read_bytes(&reader);
    bool sane = !reader.failed && reader.rest.len == 0 && store->log_number > 1 && snapshot->index > 0 && snapshot->index < UINT64_MAX &&
                snapshot->term > 0 && snapshot->members_index > 0 && snapshot->members_index <= snapshot->index;
    return sane ? WEIR_OK
                : weir_error_set(err, WEIR_CORRUPT, "%s/snapshot: offset %d: contradicts itself; %s", store->dir, FILE_HEADER_BYTES, what_to_do);
}

static enum weir_rc read_all(struct weir_raft_store *store, struct weir_raft_boot *out_boot, struct weir_error *err)
{
    uint64_t vote[2] = {0, 0};
    enum weir_rc rc = read_numbers(store, "identity", FILE_IDENTITY, &store->incarnation, 1, err);
    rc = rc == WEIR_OK ? read_snapshot(store, err) : rc;
    if (rc != WEIR_OK) {
        return rc;
    }
    rc = open_log(store, err);
    rc = rc == WEIR_OK ? read_numbers(store, "vote", FILE_VOTE, vote, 2, err) : rc;
    if (rc == WEIR_NOT_FOUND) { /* no election yet: of a log there is at most what founds a cluster */
        bool ever = store->snapshot.index > 0 || store->nentries > 1 || (store->nentries == 1 && store->entries[0].term > 1);
        rc = ever ? weir_error_set(err, WEIR_CORRUPT, "%s/vote is missing; %s", store->dir, what_to_do) : WEIR_OK;
    }
    if (rc == WEIR_OK) {
        *out_boot = (struct weir_raft_boot){.term = vote[0],
                                            .voted_for = vote[1],
                                            .snapshot = store->snapshot.index > 0 ? &store->snapshot : NULL,
                                            .first = store->nentries > 0 ? store->first : store->snapshot.index + 1,
                                            .entries = store->entries,
                                            .count = (uint32_t)store->nentries};
    }
    return rc;
}

/* --- the directory ---------------------------------------------------------------------------------------------------- */
static bool has(const struct weir_fs_names *names, const char *name)
{
    bool found = false;
    for (size_t i = 0; i < names->len && !found; i++) {
        found = !names->items[i].is_dir && strcmp(names->items[i].name, name) == 0;
    }
    return found;
}

/* A log, or a file that was not renamed. */
static bool is_other(const struct weir_fs_name *entry)
{
    const char *name = entry->name;
    size_t len = strlen(name);
    bool unnamed = len > 4 && strcmp(name + len - 4, ".tmp") == 0;
    return !entry->is_dir &&
           (strncmp(name, "log-", 4) == 0 ||
            (unnamed && (strncmp(name, "identity.", 9) == 0 || strncmp(name, "vote.", 5) == 0 || strncmp(name, "snapshot.", 9) == 0)));
}

static void unlink_loudly(const struct weir_raft_store *store, const char *path)
{
    struct weir_error err;
    if (weir_fs_unlink(store->fs, path, &err) != WEIR_OK && err.rc != WEIR_NOT_FOUND) {
        weir_log(store->log, WEIR_LOG_WARN, "raft_log_file_not_removed", "error", err.text, NULL);
    }
}

/* (S5) */
static void remove_others(const struct weir_raft_store *store, const struct weir_fs_names *names)
{
    char *current = log_path(store, store->log_number);
    for (size_t i = 0; i < names->len; i++) {
        char *path = path_of(store, names->items[i].name);
        if (is_other(&names->items[i]) && strcmp(path, current) != 0) {
            unlink_loudly(store, path);
        }
        weir_free(path);
    }
    weir_free(current);
}

/* Without an identity there may only be what a crash left of the making. */
static enum weir_rc check_empty(const struct weir_raft_store *store, const struct weir_fs_names *names, struct weir_error *err)
{
    bool empty = !has(names, "vote") && !has(names, "snapshot");
    for (size_t i = 0; i < names->len && empty; i++) {
        struct weir_fs_stat stat;
        if (!is_other(&names->items[i])) {
            continue;
        }
        char *path = path_of(store, names->items[i].name);
        enum weir_rc rc = weir_fs_stat(store->fs, path, &stat, err);
        weir_free(path);
        if (rc != WEIR_OK) {
            return rc;
        }
        empty = strncmp(names->items[i].name, "log-", 4) != 0 || stat.bytes <= FILE_HEADER_BYTES;
    }
    return empty ? WEIR_OK : weir_error_set(err, WEIR_CORRUPT, "%s/identity is missing, although there is a log; %s", store->dir, what_to_do);
}

/* The identity comes last: with it the directory is whole. */
static enum weir_rc make_dir(struct weir_raft_store *store, uint64_t incarnation, struct weir_error *err)
{
    struct weir_buf header = {0};
    struct weir_fs_file *file = NULL;
    char *path = log_path(store, 1);
    put_log_header(&header, 1);
    enum weir_rc rc = weir_fs_open(store->fs, path, WEIR_FS_CREATE, &file, err);
    rc = rc == WEIR_OK ? weir_fs_append(file, weir_buf_slice(&header), err) : rc;
    rc = rc == WEIR_OK ? weir_fs_fsync(file, err) : rc;
    weir_fs_close(file);
    rc = rc == WEIR_OK ? write_numbers(store, "identity", FILE_IDENTITY, &incarnation, 1, err) : rc;
    weir_free(path);
    weir_buf_fini(&header);
    return rc;
}

static enum weir_rc open_dir(struct weir_raft_store *store, uint64_t incarnation_if_new, struct weir_raft_boot *out_boot, struct weir_error *err)
{
    struct weir_fs_names names = {0};
    enum weir_rc rc = weir_fs_names_read(store->fs, store->dir, &names, err);
    if (rc != WEIR_OK) {
        goto out;
    }
    if (has(&names, "cluster.log")) {
        rc = weir_error_set(err, WEIR_UNSUPPORTED,
                            "%s/cluster.log is the log of a Weir before JobManagers agreed by Raft, which this one cannot read: move it away to "
                            "start with an empty cluster, then submit the jobs again",
                            store->dir);
        goto out;
    }
    if (has(&names, "identity")) {
        rc = weir_fs_fsync_dir(store->fs, store->dir, err); /* a rename that an earlier process did not live to sync */
    } else {
        rc = check_empty(store, &names, err);
        rc = rc == WEIR_OK ? make_dir(store, incarnation_if_new, err) : rc;
    }
    rc = rc == WEIR_OK ? read_all(store, out_boot, err) : rc;
    if (rc == WEIR_OK) {
        remove_others(store, &names);
    }
out:
    weir_fs_names_fini(&names);
    return rc;
}

/* --- life ------------------------------------------------------------------------------------------------------------- */
enum weir_rc weir_raft_store_open(struct weir_fs *fs, const char *dir, uint64_t incarnation_if_new, const struct weir_log *log,
                                  struct weir_raft_store **out_store, struct weir_raft_boot *out_boot, struct weir_error *err)
{
    struct weir_raft_store *store = weir_calloc(1, sizeof(*store));
    store->fs = fs;
    store->log = log;
    store->dir = weir_strdup(dir);
    enum weir_rc rc = open_dir(store, incarnation_if_new, out_boot, err);
    if (rc != WEIR_OK) {
        weir_raft_store_close(store);
        return rc;
    }
    *out_store = store;
    return WEIR_OK;
}

void weir_raft_store_forget(struct weir_raft_store *store)
{
    weir_buf_fini(&store->snapshot_file);
    weir_buf_fini(&store->log_file);
    weir_free(store->entries);
    store->entries = NULL;
    store->nentries = store->entries_cap = 0;
    store->snapshot = (struct weir_raft_snapshot){0};
}

void weir_raft_store_close(struct weir_raft_store *store)
{
    if (store == NULL) {
        return;
    }
    weir_raft_store_forget(store);
    weir_fs_close(store->file);
    weir_free(store->dir);
    weir_free(store);
}

uint64_t weir_raft_store_incarnation(const struct weir_raft_store *store)
{
    return store->incarnation;
}

uint64_t weir_raft_store_log_bytes(const struct weir_raft_store *store)
{
    return store->log_bytes;
}

/* --- writing ---------------------------------------------------------------------------------------------------------- */
static enum weir_rc failed_before(const struct weir_raft_store *store, struct weir_error *err)
{
    return weir_error_set(err, WEIR_IO, "%s: an earlier write failed, so that nobody knows what is on the disk: restart the JobManager", store->dir);
}

enum weir_rc weir_raft_store_vote(struct weir_raft_store *store, uint64_t term, uint64_t voted_for, struct weir_error *err)
{
    if (store->vote_failed) {
        return failed_before(store, err);
    }
    const uint64_t vote[2] = {term, voted_for};
    enum weir_rc rc = write_numbers(store, "vote", FILE_VOTE, vote, 2, err);
    store->vote_failed = rc != WEIR_OK;
    return rc;
}

enum weir_rc weir_raft_store_append(struct weir_raft_store *store, struct weir_slice encoded, struct weir_error *err)
{
    if (store->failed) {
        return failed_before(store, err);
    }
    struct weir_buf frame = {0};
    put_frame(&frame, store->log_bytes, encoded);
    enum weir_rc rc = weir_fs_append(store->file, weir_buf_slice(&frame), err);
    rc = rc == WEIR_OK ? weir_fs_fsync(store->file, err) : rc;
    if (rc == WEIR_OK) {
        store->log_bytes += frame.len;
    } else {
        store->failed = true;
    }
    weir_buf_fini(&frame);
    return rc;
}

/* A new file with these bytes, synced, and open. */
static enum weir_rc write_new(struct weir_fs *fs, const char *path, struct weir_slice bytes, struct weir_fs_file **out_file, struct weir_error *err)
{
    struct weir_fs_file *file = NULL;
    enum weir_rc rc = weir_fs_open(fs, path, WEIR_FS_CREATE, &file, err);
    rc = rc == WEIR_OK ? weir_fs_append(file, bytes, err) : rc;
    rc = rc == WEIR_OK ? weir_fs_fsync(file, err) : rc;
    if (rc != WEIR_OK) {
        weir_fs_close(file);
        return rc;
    }
    *out_file = file;
    return WEIR_OK;
}

static void encode_snapshot(const struct weir_raft_snapshot *snapshot, uint64_t log_number, uint64_t log_bytes, struct weir_buf *out)
{
    struct weir_buf body = {0};
    weir_buf_put_u64(&body, log_number);
    weir_buf_put_u64(&body, log_bytes);
    weir_buf_put_u64(&body, snapshot->index);
    weir_buf_put_u64(&body, snapshot->term);
    weir_buf_put_u64(&body, snapshot->members_index);
    weir_buf_put_bytes(&body, snapshot->members);
    weir_buf_put_bytes(&body, snapshot->data);
    put_file(out, FILE_SNAPSHOT, weir_buf_slice(&body));
    weir_buf_fini(&body);
}

/* The one rename of (S2) and (S3). out_switched: on error, whether nobody knows which snapshot the disk has. */
static enum weir_rc switch_to(struct weir_raft_store *store, const char *new_path, struct weir_slice log_bytes, struct weir_slice snapshot_bytes,
                              struct weir_fs_file **out_file, bool *out_switched, struct weir_error *err)
{
    struct weir_fs_file *snapshot_file = NULL;
    struct weir_fs_file *file = NULL;
    char *path = path_of(store, "snapshot");
    char *temporary = path_of(store, "snapshot.tmp");
    enum weir_rc rc = write_new(store->fs, new_path, log_bytes, &file, err);
    rc = rc == WEIR_OK ? write_new(store->fs, temporary, snapshot_bytes, &snapshot_file, err) : rc;
    weir_fs_close(snapshot_file);
    if (rc == WEIR_OK) {
        rc = weir_fs_rename(store->fs, temporary, path, err);
        *out_switched = rc != WEIR_OK && rc != WEIR_RESOURCE;
    }
    if (rc == WEIR_OK) {
        rc = weir_fs_fsync_dir(store->fs, store->dir, err);
        *out_switched = rc != WEIR_OK;
    }
    if (rc == WEIR_OK) {
        *out_file = file;
    } else {
        weir_fs_close(file);
        if (!*out_switched) {
            unlink_loudly(store, temporary);
            unlink_loudly(store, new_path);
        }
    }
    weir_free(temporary);
    weir_free(path);
    return rc;
}

enum weir_rc weir_raft_store_snapshot(struct weir_raft_store *store, const struct weir_raft_snapshot *snapshot, struct weir_slice kept,
                                      struct weir_error *err)
{
    if (store->failed) {
        return failed_before(store, err);
    }
    struct weir_buf log = {0};
    struct weir_buf file = {0};
    struct weir_fs_file *new_file = NULL;
    bool switched = false;
    char *old_path = log_path(store, store->log_number);
    char *new_path = log_path(store, store->log_number + 1);
    put_log_header(&log, store->log_number + 1);
    if (kept.len > 0) {
        put_frame(&log, log.len, kept);
    }
    encode_snapshot(snapshot, store->log_number + 1, log.len, &file);
    enum weir_rc rc = switch_to(store, new_path, weir_buf_slice(&log), weir_buf_slice(&file), &new_file, &switched, err);
    if (rc == WEIR_OK) {
        weir_fs_close(store->file);
        store->file = new_file;
        store->log_number++;
        store->log_bytes = log.len;
        unlink_loudly(store, old_path);
    } else if (switched || rc != WEIR_RESOURCE) {
        store->failed = true;
        err->rc = rc = rc == WEIR_RESOURCE ? WEIR_IO : rc; /* RESOURCE says that everything is as before */
    }
    weir_free(new_path);
    weir_free(old_path);
    weir_buf_fini(&file);
    weir_buf_fini(&log);
    return rc;
}
