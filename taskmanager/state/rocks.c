#include "taskmanager/state/rocks.h"

#include "common/base/assert.h"
#include "common/base/vec.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CACHE_BYTES = 2 << 20,
    BLOCK_BYTES = 16 << 10,
    WRITE_BUFFER_BYTES = 1 << 20,
    STORE_BYTES = 4 << 20, /* write buffers, the SST writer's blocks, open tables */
    SST_BYTES = 32 << 20,
    MANIFEST_BYTES_MAX = 1 << 20,
    READ_AHEAD_BYTES = 1 << 20,
    LEVEL0_FILES = 24,
    LEVEL0_FILES_STOP = 1000, /* nobody waits for reads */
    OPEN_FILES_MAX = 64,
    TREE_FDS_MAX = 8,
    LOG_HEADERS_ONLY = 5,
};

static const char dir_prefix[] = "weir-state-";

struct backend {
    struct weir_state_backend backend; /* first member */
    char *dir;
    int lock_fd;
    struct weir_mem *mem;
    rocksdb_cache_t *cache;
    rocksdb_block_based_table_options_t *table_options;
    rocksdb_options_t *options;
    rocksdb_envoptions_t *env_options;
    rocksdb_ingestexternalfileoptions_t *ingest_options;
    rocksdb_writeoptions_t *write_options;
    rocksdb_readoptions_t *read_options;
};

struct rocks {
    struct weir_state_store store; /* first member */
    struct backend *backend;
    struct weir_mem *mem;
    char *dir;
    char *files; /* a commit's, beside dir */
    rocksdb_t *db;
    rocksdb_iterator_t *iterator;
    bool at_entry; /* the iterator stands at one that next has given out */
    /* Since the last commit. */
    rocksdb_sstfilewriter_t *writer; /* of ssts[nssts - 1]; NULL: no file is open */
    char **ssts;
    size_t nssts, ssts_cap;
    uint64_t next_sst;
};

/* --- errors, directories ---------------------------------------------------------------------------------------------- */

/* Takes RocksDB's text; NULL: no error. */
static enum weir_rc settle_take(char *text, const char *what, struct weir_error *err)
{
    if (text == NULL) {
        return WEIR_OK;
    }
    enum weir_rc rc = strncmp(text, "Corruption", 10) == 0 ? WEIR_CORRUPT : strstr(text, "No space left") != NULL ? WEIR_RESOURCE : WEIR_IO;
    rc = weir_error_set(err, rc, "state store: %s: %s", what, text);
    rocksdb_free(text);
    return rc;
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *ftw)
{
    (void)stat;
    (void)kind;
    (void)ftw;
    return remove(path);
}

/* As far as it goes: what stays is removed when a later process starts. */
static void remove_tree(const char *path)
{
    (void)nftw(path, remove_one, TREE_FDS_MAX, FTW_DEPTH | FTW_PHYS);
}

/* Locks a directory and makes sure that it is still the one of that name. -1: somebody else has it, or it is gone. */
static int lock_dir(const char *path)
{
    struct stat held;
    struct stat named;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && (flock(fd, LOCK_EX | LOCK_NB) != 0 || fstat(fd, &held) != 0 || stat(path, &named) != 0 || held.st_ino != named.st_ino)) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

/* (R1) Removes what processes left that live no more. */
static void remove_leftovers(const char *tmp_dir)
{
    DIR *dir = opendir(tmp_dir);
    for (const struct dirent *entry = dir == NULL ? NULL : readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (strncmp(entry->d_name, dir_prefix, sizeof(dir_prefix) - 1) == 0) {
            char *path = weir_strfmt("%s/%s", tmp_dir, entry->d_name);
            int fd = lock_dir(path);
            if (fd >= 0) {
                remove_tree(path);
                (void)close(fd);
            }
            weir_free(path);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
}

static enum weir_rc make_own_dir(struct backend *backend, const char *tmp_dir, struct weir_error *err)
{
    for (backend->lock_fd = -1; backend->lock_fd < 0;) { /* again when another process took the new one for a leftover */
        weir_free(backend->dir);
        backend->dir = weir_strfmt("%s/%sXXXXXX", tmp_dir, dir_prefix);
        if (mkdtemp(backend->dir) == NULL) {
            enum weir_rc rc = weir_error_errno(err, WEIR_IO, errno, "%s", backend->dir);
            weir_free(backend->dir);
            backend->dir = NULL;
            return rc;
        }
        backend->lock_fd = lock_dir(backend->dir);
    }
    return WEIR_OK;
}

/* --- the backend ------------------------------------------------------------------------------------------------------ */

static rocksdb_options_t *make_options(rocksdb_block_based_table_options_t *table_options)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_block_based_table_factory(options, table_options);
    rocksdb_options_set_compression(options, rocksdb_lz4_compression);
    rocksdb_options_set_write_buffer_size(options, WRITE_BUFFER_BYTES);
    rocksdb_options_set_max_background_jobs(options, 2);
    rocksdb_options_set_max_open_files(options, OPEN_FILES_MAX);
    rocksdb_options_set_max_file_opening_threads(options, 1);
    rocksdb_options_set_target_file_size_base(options, SST_BYTES);
    rocksdb_options_set_level0_file_num_compaction_trigger(options, LEVEL0_FILES);
    rocksdb_options_set_level0_slowdown_writes_trigger(options, LEVEL0_FILES_STOP);
    rocksdb_options_set_level0_stop_writes_trigger(options, LEVEL0_FILES_STOP);
    rocksdb_options_set_max_manifest_file_size(options, MANIFEST_BYTES_MAX);
    rocksdb_options_set_keep_log_file_num(options, 1);
    rocksdb_options_set_info_log_level(options, LOG_HEADERS_ONLY);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_stats_persist_period_sec(options, 0);
    rocksdb_options_set_skip_stats_update_on_db_open(options, 1);
    return options;
}

static enum weir_rc rocks_create(struct weir_state_backend *base, const char *name, struct weir_mem *mem, struct weir_state_store **out_store,
                                 struct weir_error *err);

enum weir_rc weir_rocks_backend_open(const char *tmp_dir, struct weir_mem *mem, uint64_t inline_bytes_max,
                                     struct weir_state_backend **out_backend, struct weir_error *err)
{
    struct backend *backend = weir_calloc(1, sizeof(*backend));
    remove_leftovers(tmp_dir);
    enum weir_rc rc = make_own_dir(backend, tmp_dir, err);
    if (rc != WEIR_OK) {
        weir_free(backend);
        return rc;
    }
    backend->backend = (struct weir_state_backend){.create = rocks_create, .inline_bytes_max = inline_bytes_max};
    backend->mem = mem;
    weir_mem_charge(mem, CACHE_BYTES);
    backend->cache = rocksdb_cache_create_lru(CACHE_BYTES);
    backend->table_options = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(backend->table_options, backend->cache);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(backend->table_options, 1);
    rocksdb_block_based_options_set_block_size(backend->table_options, BLOCK_BYTES);
    backend->options = make_options(backend->table_options);
    backend->env_options = rocksdb_envoptions_create();
    backend->ingest_options = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(backend->ingest_options, 1);
    backend->write_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(backend->write_options, 1);
    backend->read_options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(backend->read_options, 0);
    rocksdb_readoptions_set_readahead_size(backend->read_options, READ_AHEAD_BYTES);
    *out_backend = &backend->backend;
    return WEIR_OK;
}

void weir_rocks_backend_close(struct weir_state_backend *base)
{
    if (base == NULL) {
        return;
    }
    struct backend *backend = (struct backend *)base;
    rocksdb_readoptions_destroy(backend->read_options);
    rocksdb_writeoptions_destroy(backend->write_options);
    rocksdb_ingestexternalfileoptions_destroy(backend->ingest_options);
    rocksdb_envoptions_destroy(backend->env_options);
    rocksdb_options_destroy(backend->options);
    rocksdb_block_based_options_destroy(backend->table_options);
    rocksdb_cache_destroy(backend->cache);
    weir_mem_uncharge(backend->mem, CACHE_BYTES);
    remove_tree(backend->dir);
    (void)close(backend->lock_fd);
    weir_free(backend->dir);
    weir_free(backend);
}

/* --- a store ---------------------------------------------------------------------------------------------------------- */

static struct rocks *rocks_of(struct weir_state_store *store)
{
    return (struct rocks *)store;
}

static enum weir_rc rocks_open(struct weir_state_store *store, struct weir_error *err)
{
    struct rocks *rocks = rocks_of(store);
    char *text = NULL;
    weir_mem_charge(rocks->mem, STORE_BYTES);
    rocks->db = rocksdb_open(rocks->backend->options, rocks->dir, &text);
    if (text != NULL) {
        weir_mem_uncharge(rocks->mem, STORE_BYTES);
        rocks->db = NULL;
    }
    return settle_take(text, "opening it", err);
}

/* SST files that are not ingested, and the names of those that are. */
static void forget_ssts(struct rocks *rocks)
{
    if (rocks->writer != NULL) {
        rocksdb_sstfilewriter_destroy(rocks->writer);
        rocks->writer = NULL;
    }
    for (size_t i = 0; i < rocks->nssts; i++) {
        weir_free(rocks->ssts[i]);
    }
    rocks->nssts = 0;
}

static void end_reading(struct rocks *rocks)
{
    if (rocks->iterator != NULL) {
        rocksdb_iter_destroy(rocks->iterator);
        rocks->iterator = NULL;
    }
}

static void rocks_close(struct weir_state_store *store)
{
    struct rocks *rocks = rocks_of(store);
    end_reading(rocks);
    forget_ssts(rocks);
    if (rocks->db != NULL) {
        rocksdb_cancel_all_background_work(rocks->db, 1);
        rocksdb_close(rocks->db);
        weir_mem_uncharge(rocks->mem, STORE_BYTES);
    }
    remove_tree(rocks->files);
    remove_tree(rocks->dir);
    weir_free(rocks->ssts);
    weir_free(rocks->files);
    weir_free(rocks->dir);
    weir_free(rocks);
}

/* --- writing ---------------------------------------------------------------------------------------------------------- */

static enum weir_rc rocks_drop(struct weir_state_store *store, const int64_t *spaces, size_t count, struct weir_error *err)
{
    struct rocks *rocks = rocks_of(store);
    struct weir_buf first = {0};
    struct weir_buf end = {0};
    char *text = NULL;
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    for (size_t i = 0; i < count; i++) {
        weir_assert(spaces[i] < INT64_MAX); /* no namespace is: it would have no end */
        weir_state_key_make(&first, spaces[i], 0, (struct weir_slice){0});
        weir_state_key_make(&end, spaces[i] + 1, 0, (struct weir_slice){0});
        rocksdb_writebatch_delete_range(batch, (const char *)first.data, first.len, (const char *)end.data, end.len);
    }
    rocksdb_write(rocks->db, rocks->backend->write_options, batch, &text);
    rocksdb_writebatch_destroy(batch);
    weir_buf_fini(&first);
    weir_buf_fini(&end);
    return settle_take(text, "dropping namespaces", err);
}

static enum weir_rc finish_sst(struct rocks *rocks, struct weir_error *err)
{
    char *text = NULL;
    if (rocks->writer != NULL) {
        rocksdb_sstfilewriter_finish(rocks->writer, &text);
        rocksdb_sstfilewriter_destroy(rocks->writer);
        rocks->writer = NULL;
    }
    return settle_take(text, "finishing a file", err);
}

/* A writer with room in its file. */
static enum weir_rc ready_writer(struct rocks *rocks, struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    if (rocks->writer != NULL) {
        uint64_t bytes = 0;
        rocksdb_sstfilewriter_file_size(rocks->writer, &bytes);
        if (bytes < SST_BYTES) {
            return WEIR_OK;
        }
        rc = finish_sst(rocks, err);
    }
    if (rc == WEIR_OK) {
        char *text = NULL;
        char *path = weir_strfmt("%s/new-%llu.sst", rocks->dir, (unsigned long long)rocks->next_sst++);
        rocks->ssts = weir_vec_grow(rocks->ssts, &rocks->ssts_cap, sizeof(*rocks->ssts), rocks->nssts + 1);
        rocks->ssts[rocks->nssts++] = path;
        rocks->writer = rocksdb_sstfilewriter_create(rocks->backend->env_options, rocks->backend->options);
        rocksdb_sstfilewriter_open(rocks->writer, path, &text);
        rc = settle_take(text, "beginning a file", err);
    }
    return rc;
}

static enum weir_rc rocks_put(struct weir_state_store *store, struct weir_slice key, struct weir_slice value, struct weir_error *err)
{
    struct rocks *rocks = rocks_of(store);
    enum weir_rc rc = ready_writer(rocks, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    char *text = NULL;
    rocksdb_sstfilewriter_put(rocks->writer, (const char *)key.data, key.len, (const char *)value.data, value.len, &text);
    return settle_take(text, "putting a key", err);
}

static enum weir_rc rocks_erase(struct weir_state_store *store, struct weir_slice key, struct weir_error *err)
{
    struct rocks *rocks = rocks_of(store);
    enum weir_rc rc = ready_writer(rocks, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    char *text = NULL;
    rocksdb_sstfilewriter_delete(rocks->writer, (const char *)key.data, key.len, &text);
    return settle_take(text, "erasing a key", err);
}

/* A checkpoint of RocksDB has files that nobody needs: options are ours, and there is no log. */
static void remove_needless(const char *dir)
{
    DIR *handle = opendir(dir);
    for (const struct dirent *entry = handle == NULL ? NULL : readdir(handle); entry != NULL; entry = readdir(handle)) {
        size_t len = strlen(entry->d_name);
        if (strncmp(entry->d_name, "OPTIONS-", 8) == 0 || (len > 4 && strcmp(entry->d_name + len - 4, ".log") == 0)) {
            char *path = weir_strfmt("%s/%s", dir, entry->d_name);
            (void)unlink(path); /* else it is uploaded */
            weir_free(path);
        }
    }
    if (handle != NULL) {
        (void)closedir(handle);
    }
}

static enum weir_rc rocks_commit(struct weir_state_store *store, const char **out_files, struct weir_error *err)
{
    struct rocks *rocks = rocks_of(store);
    char *text = NULL;
    end_reading(rocks);
    enum weir_rc rc = finish_sst(rocks, err);
    if (rc == WEIR_OK && rocks->nssts > 0) {
        rocksdb_ingest_external_file(rocks->db, (const char *const *)rocks->ssts, rocks->nssts, rocks->backend->ingest_options, &text);
        rc = settle_take(text, "ingesting files", err);
    }
    forget_ssts(rocks);
    if (rc != WEIR_OK) {
        return rc;
    }
    remove_tree(rocks->files);
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(rocks->db, &text);
    rc = settle_take(text, "a checkpoint", err);
    if (rc == WEIR_OK) {
        text = NULL;
        rocksdb_checkpoint_create(checkpoint, rocks->files, 0, &text);
        rocksdb_checkpoint_object_destroy(checkpoint);
        rc = settle_take(text, "a checkpoint", err);
    }
    if (rc == WEIR_OK) {
        remove_needless(rocks->files);
        *out_files = rocks->files;
    }
    return rc;
}

static void rocks_release(struct weir_state_store *store)
{
    remove_tree(rocks_of(store)->files);
}

/* --- reading ---------------------------------------------------------------------------------------------------------- */

static enum weir_rc check_iterator(const struct rocks *rocks, struct weir_error *err)
{
    char *text = NULL;
    rocksdb_iter_get_error(rocks->iterator, &text);
    return settle_take(text, "reading it", err);
}

static enum weir_rc rocks_seek(struct weir_state_store *store, struct weir_slice key, struct weir_error *err)
{
    struct rocks *rocks = rocks_of(store);
    if (rocks->iterator == NULL) {
        rocks->iterator = rocksdb_create_iterator(rocks->db, rocks->backend->read_options);
    }
    rocksdb_iter_seek(rocks->iterator, (const char *)key.data, key.len);
    rocks->at_entry = false;
    return check_iterator(rocks, err);
}

static enum weir_rc rocks_next(struct weir_state_store *store, struct weir_slice *out_key, struct weir_slice *out_value, struct weir_error *err)
{
    struct rocks *rocks = rocks_of(store);
    if (rocks->at_entry) {
        rocksdb_iter_next(rocks->iterator);
    }
    rocks->at_entry = rocksdb_iter_valid(rocks->iterator) != 0;
    if (!rocks->at_entry) {
        enum weir_rc rc = check_iterator(rocks, err);
        return rc == WEIR_OK ? WEIR_END : rc;
    }
    size_t len = 0;
    const char *data = rocksdb_iter_key(rocks->iterator, &len);
    *out_key = weir_slice(data, len);
    data = rocksdb_iter_value(rocks->iterator, &len);
    *out_value = weir_slice(data, len);
    return WEIR_OK;
}

static const struct weir_state_store_vtable rocks_vtable = {
    .open = rocks_open,
    .drop = rocks_drop,
    .put = rocks_put,
    .erase = rocks_erase,
    .commit = rocks_commit,
    .release = rocks_release,
    .seek = rocks_seek,
    .next = rocks_next,
    .close = rocks_close,
};

static enum weir_rc rocks_create(struct weir_state_backend *base, const char *name, struct weir_mem *mem, struct weir_state_store **out_store,
                                 struct weir_error *err)
{
    struct backend *backend = (struct backend *)base;
    char *dir = weir_strfmt("%s/%s", backend->dir, name);
    if (mkdir(dir, 0700) != 0) {
        enum weir_rc rc = weir_error_errno(err, WEIR_IO, errno, "%s", dir);
        weir_free(dir);
        return rc;
    }
    struct rocks *rocks = weir_calloc(1, sizeof(*rocks));
    rocks->store = (struct weir_state_store){.vtable = &rocks_vtable, .dir = dir};
    rocks->backend = backend;
    rocks->mem = mem;
    rocks->dir = dir;
    rocks->files = weir_strfmt("%s.files", dir);
    *out_store = &rocks->store;
    return WEIR_OK;
}
