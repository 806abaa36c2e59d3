#include "tests/lib/plain_store.h"

#include "common/base/assert.h"
#include "common/base/vec.h"

#include <stdio.h>
#include <string.h>

enum { RUNS_MAX = 6, FILE_BYTES_MAX = 1 << 30, RUN_DROP = 0, RUN_ERASE = 1, RUN_PUT = 2 };

struct backend {
    struct weir_state_backend backend; /* first member */
    struct weir_fs *fs;
    const char *root;
    uint32_t stores;
};

/* One entry of the merged whole; key and value lie in the store's bytes. */
struct entry {
    struct weir_slice key;
    struct weir_slice value;
};

struct plain {
    struct weir_state_store store; /* first member */
    struct backend *backend;
    char *dir, *files;
    uint64_t *runs; /* numbers, oldest first */
    size_t nruns, runs_cap;
    uint64_t next_number;
    struct weir_buf pending; /* the run being made: u8 what | u32 length, key | PUT: u32 length, value */
    bool loaded;
    struct weir_buf *bytes; /* of the runs, while reading */
    size_t nbytes;
    struct entry *entries;
    size_t nentries, entries_cap;
    size_t at;
};

static struct plain *plain_of(struct weir_state_store *store)
{
    return (struct plain *)store;
}

/* --- files ------------------------------------------------------------------------------------------------------------ */

static char *run_path(const char *dir, uint64_t number)
{
    return weir_strfmt("%s/%06llu.sst", dir, (unsigned long long)number);
}

static enum weir_rc write_file(struct plain *plain, const char *path, struct weir_slice bytes, struct weir_error *err)
{
    struct weir_fs_file *file = NULL;
    enum weir_rc rc = weir_fs_open(plain->backend->fs, path, WEIR_FS_CREATE, &file, err);
    if (rc == WEIR_OK) {
        rc = weir_fs_append(file, bytes, err);
    }
    weir_fs_close(file);
    return rc;
}

static enum weir_rc write_current(struct plain *plain, const char *dir, struct weir_error *err)
{
    struct weir_buf text = {0};
    char *path = weir_strfmt("%s/CURRENT", dir);
    for (size_t i = 0; i < plain->nruns; i++) {
        weir_buf_put_u64(&text, plain->runs[i]);
    }
    enum weir_rc rc = write_file(plain, path, weir_buf_slice(&text), err);
    weir_buf_fini(&text);
    weir_free(path);
    return rc;
}

struct removal {
    struct plain *plain;
    const char *dir;
};

static void collect_name(void *ctx, const char *name, bool is_dir)
{
    (void)is_dir;
    struct weir_buf *names = ctx;
    weir_buf_put(names, name, strlen(name) + 1);
}

static void remove_files(struct weir_fs *fs, const char *dir)
{
    struct weir_error err;
    struct weir_buf names = {0};
    if (weir_fs_list(fs, dir, collect_name, &names, &err) == WEIR_OK) {
        for (size_t at = 0; at < names.len; at += strlen((const char *)names.data + at) + 1) {
            char *path = weir_strfmt("%s/%s", dir, (const char *)names.data + at);
            if (weir_fs_unlink(fs, path, &err) != WEIR_OK) {
                remove_files(fs, path);
            }
            weir_free(path);
        }
        if (weir_fs_rmdir(fs, dir, &err) != WEIR_OK) {
            names.len = 0; /* the disk of a simulation may be failing */
        }
    }
    weir_buf_fini(&names);
}

/* --- opening ---------------------------------------------------------------------------------------------------------- */

static enum weir_rc plain_open(struct weir_state_store *store, struct weir_error *err)
{
    struct plain *plain = plain_of(store);
    struct weir_buf current = {0};
    char *path = weir_strfmt("%s/CURRENT", plain->dir);
    enum weir_rc rc = weir_fs_read_all(plain->backend->fs, path, FILE_BYTES_MAX, &current, err);
    if (rc == WEIR_NOT_FOUND) {
        rc = WEIR_OK;
    }
    struct weir_reader reader = weir_reader(weir_buf_slice(&current));
    while (rc == WEIR_OK && reader.rest.len > 0 && !reader.failed) {
        plain->runs = weir_vec_grow(plain->runs, &plain->runs_cap, sizeof(*plain->runs), plain->nruns + 1);
        plain->runs[plain->nruns++] = weir_read_u64(&reader);
    }
    if (rc == WEIR_OK && reader.failed) {
        rc = weir_error_set(err, WEIR_CORRUPT, "%s is cut", path);
    }
    plain->next_number = plain->nruns == 0 ? 1 : plain->runs[plain->nruns - 1] + 1;
    weir_buf_fini(&current);
    weir_free(path);
    return rc;
}

static void unload(struct plain *plain)
{
    for (size_t i = 0; i < plain->nbytes; i++) {
        weir_buf_fini(&plain->bytes[i]);
    }
    weir_free(plain->bytes);
    weir_free(plain->entries);
    plain->bytes = NULL;
    plain->entries = NULL;
    plain->nbytes = plain->nentries = plain->entries_cap = 0;
    plain->loaded = false;
}

static void plain_close(struct weir_state_store *store)
{
    struct plain *plain = plain_of(store);
    unload(plain);
    remove_files(plain->backend->fs, plain->dir);
    weir_buf_fini(&plain->pending);
    weir_free(plain->runs);
    weir_free(plain->dir);
    weir_free(plain->files);
    weir_free(plain);
}

/* --- reading ---------------------------------------------------------------------------------------------------------- */

static size_t lower_bound(const struct plain *plain, struct weir_slice key)
{
    size_t low = 0;
    size_t high = plain->nentries;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (weir_slice_cmp(plain->entries[mid].key, key) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

/* Lays one more run over what is there. */
static void apply_run(struct plain *plain, struct weir_slice run)
{
    struct weir_reader reader = weir_reader(run);
    struct entry *old = plain->entries;
    size_t nold = plain->nentries;
    size_t o = 0;
    plain->entries = NULL;
    plain->nentries = plain->entries_cap = 0;
    for (;;) {
        bool more = reader.rest.len > 0;
        uint8_t what = more ? weir_read_u8(&reader) : RUN_PUT;
        struct weir_slice key = more ? weir_read_bytes(&reader) : (struct weir_slice){0};
        if (what == RUN_DROP) { /* they come first, and ascend not: over the old ones directly */
            size_t kept = 0;
            for (size_t i = 0; i < nold; i++) {
                if (memcmp(old[i].key.data, key.data, 8) != 0) {
                    old[kept++] = old[i];
                }
            }
            nold = kept;
            continue;
        }
        while (o < nold && (!more || weir_slice_cmp(old[o].key, key) < 0)) {
            plain->entries = weir_vec_grow(plain->entries, &plain->entries_cap, sizeof(*plain->entries), plain->nentries + 1);
            plain->entries[plain->nentries++] = old[o++];
        }
        if (!more) {
            break;
        }
        o += o < nold && weir_slice_eq(old[o].key, key);
        if (what == RUN_PUT) {
            plain->entries = weir_vec_grow(plain->entries, &plain->entries_cap, sizeof(*plain->entries), plain->nentries + 1);
            plain->entries[plain->nentries++] = (struct entry){.key = key, .value = weir_read_bytes(&reader)};
        }
    }
    weir_assert(!reader.failed);
    weir_free(old);
}

static enum weir_rc load(struct plain *plain, struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    unload(plain);
    plain->bytes = weir_calloc(plain->nruns, sizeof(*plain->bytes));
    plain->nbytes = plain->nruns;
    for (size_t i = 0; rc == WEIR_OK && i < plain->nruns; i++) {
        char *path = run_path(plain->dir, plain->runs[i]);
        rc = weir_fs_read_all(plain->backend->fs, path, FILE_BYTES_MAX, &plain->bytes[i], err);
        weir_free(path);
        if (rc == WEIR_OK) {
            apply_run(plain, weir_buf_slice(&plain->bytes[i]));
        }
    }
    plain->loaded = rc == WEIR_OK;
    return rc;
}

static enum weir_rc plain_seek(struct weir_state_store *store, struct weir_slice key, struct weir_error *err)
{
    struct plain *plain = plain_of(store);
    enum weir_rc rc = plain->loaded ? WEIR_OK : load(plain, err);
    plain->at = rc == WEIR_OK ? lower_bound(plain, key) : 0;
    return rc;
}

static enum weir_rc plain_next(struct weir_state_store *store, struct weir_slice *out_key, struct weir_slice *out_value, struct weir_error *err)
{
    (void)err;
    struct plain *plain = plain_of(store);
    if (plain->at == plain->nentries) {
        return WEIR_END;
    }
    *out_key = plain->entries[plain->at].key;
    *out_value = plain->entries[plain->at++].value;
    return WEIR_OK;
}

/* --- writing ---------------------------------------------------------------------------------------------------------- */

static enum weir_rc plain_drop(struct weir_state_store *store, const int64_t *spaces, size_t count, struct weir_error *err)
{
    (void)err;
    struct plain *plain = plain_of(store);
    struct weir_buf key = {0};
    for (size_t i = 0; i < count; i++) {
        weir_state_key_make(&key, spaces[i], 0, (struct weir_slice){0});
        weir_buf_put_u8(&plain->pending, RUN_DROP);
        weir_buf_put_bytes(&plain->pending, weir_slice(key.data, 8));
    }
    weir_buf_fini(&key);
    return WEIR_OK;
}

static enum weir_rc plain_put(struct weir_state_store *store, struct weir_slice key, struct weir_slice value, struct weir_error *err)
{
    (void)err;
    struct plain *plain = plain_of(store);
    weir_buf_put_u8(&plain->pending, RUN_PUT);
    weir_buf_put_bytes(&plain->pending, key);
    weir_buf_put_bytes(&plain->pending, value);
    return WEIR_OK;
}

static enum weir_rc plain_erase(struct weir_state_store *store, struct weir_slice key, struct weir_error *err)
{
    (void)err;
    struct plain *plain = plain_of(store);
    weir_buf_put_u8(&plain->pending, RUN_ERASE);
    weir_buf_put_bytes(&plain->pending, key);
    return WEIR_OK;
}

/* The pending run becomes a file; when there are many, all become one. */
static enum weir_rc write_run(struct plain *plain, struct weir_error *err)
{
    uint64_t number = plain->next_number++;
    char *path = run_path(plain->dir, number);
    enum weir_rc rc = write_file(plain, path, weir_buf_slice(&plain->pending), err);
    weir_free(path);
    weir_buf_clear(&plain->pending);
    unload(plain);
    plain->runs = weir_vec_grow(plain->runs, &plain->runs_cap, sizeof(*plain->runs), plain->nruns + 1);
    plain->runs[plain->nruns++] = number;
    if (rc != WEIR_OK || plain->nruns < RUNS_MAX) {
        return rc;
    }
    rc = load(plain, err);
    for (size_t i = 0; i < plain->nentries; i++) {
        weir_buf_put_u8(&plain->pending, RUN_PUT);
        weir_buf_put_bytes(&plain->pending, plain->entries[i].key);
        weir_buf_put_bytes(&plain->pending, plain->entries[i].value);
    }
    for (size_t i = 0; rc == WEIR_OK && i < plain->nruns; i++) {
        char *old = run_path(plain->dir, plain->runs[i]);
        rc = weir_fs_unlink(plain->backend->fs, old, err);
        weir_free(old);
    }
    plain->nruns = 0;
    return rc == WEIR_OK ? write_run(plain, err) : rc;
}

static enum weir_rc plain_commit(struct weir_state_store *store, const char **out_files, struct weir_error *err)
{
    struct plain *plain = plain_of(store);
    enum weir_rc rc = plain->pending.len > 0 ? write_run(plain, err) : WEIR_OK;
    remove_files(plain->backend->fs, plain->files); /* a failing disk may have kept release from doing so */
    if (rc == WEIR_OK) {
        rc = weir_fs_mkdirs(plain->backend->fs, plain->files, err);
    }
    for (size_t i = 0; rc == WEIR_OK && i < plain->nruns; i++) {
        char *from = run_path(plain->dir, plain->runs[i]);
        char *to = run_path(plain->files, plain->runs[i]);
        rc = weir_fs_link(plain->backend->fs, from, to, err);
        weir_free(from);
        weir_free(to);
    }
    if (rc == WEIR_OK) {
        rc = write_current(plain, plain->files, err);
    }
    if (rc == WEIR_OK) {
        *out_files = plain->files;
    }
    return rc;
}

static void plain_release(struct weir_state_store *store)
{
    remove_files(plain_of(store)->backend->fs, plain_of(store)->files);
}

static const struct weir_state_store_vtable plain_vtable = {
    .open = plain_open,
    .drop = plain_drop,
    .put = plain_put,
    .erase = plain_erase,
    .commit = plain_commit,
    .release = plain_release,
    .seek = plain_seek,
    .next = plain_next,
    .close = plain_close,
};

static enum weir_rc plain_create(struct weir_state_backend *base, const char *name, struct weir_mem *mem, struct weir_state_store **out_store,
                                 struct weir_error *err)
{
    (void)mem;
    struct backend *backend = (struct backend *)base;
    struct plain *plain = weir_calloc(1, sizeof(*plain));
    plain->backend = backend;
    plain->dir = weir_strfmt("%s/%s-%u", backend->root, name, backend->stores++);
    plain->files = weir_strfmt("%s/files", plain->dir);
    plain->store = (struct weir_state_store){.vtable = &plain_vtable, .dir = plain->dir};
    enum weir_rc rc = weir_fs_mkdirs(backend->fs, plain->dir, err);
    if (rc == WEIR_OK) {
        *out_store = &plain->store;
    } else {
        plain_close(&plain->store);
    }
    return rc;
}

struct weir_state_backend *weir_plain_backend_create(struct weir_fs *fs, const char *root, uint64_t inline_bytes_max)
{
    struct backend *backend = weir_calloc(1, sizeof(*backend));
    backend->backend = (struct weir_state_backend){.create = plain_create, .inline_bytes_max = inline_bytes_max};
    backend->fs = fs;
    backend->root = root;
    return &backend->backend;
}

void weir_plain_backend_destroy(struct weir_state_backend *backend)
{
    weir_free(backend);
}
