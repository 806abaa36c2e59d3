#include "taskmanager/state/keyed_files.h"

#include "common/base/failpoint.h"
#include "common/base/hash.h"
#include "common/base/vec.h"

#include <string.h>

enum { COPY_BYTES = 1 << 20, SMALL_BYTES_MAX = 64 << 20, NAME_BYTES_MAX = 255, FILES_MAX = 1 << 20 };

/* --- manifests -------------------------------------------------------------------------------------------------------- */

struct weir_keyed_manifest *weir_keyed_manifest_create(uint64_t checkpoint, const char *dir)
{
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_keyed_manifest *manifest = weir_arena_zalloc(arena, sizeof(*manifest));
    manifest->arena = arena;
    manifest->checkpoint = checkpoint;
    manifest->dir = weir_arena_strdup(arena, dir);
    return manifest;
}

void weir_keyed_manifest_destroy(struct weir_keyed_manifest *manifest)
{
    if (manifest != NULL) {
        weir_arena_destroy(manifest->arena);
    }
}

void weir_keyed_manifest_encode(const struct weir_keyed_manifest *manifest, struct weir_buf *out)
{
    weir_buf_put_u8(out, WEIR_KEYED_FILES_VERSION);
    weir_buf_put_u32(out, manifest->max_parallelism);
    weir_buf_put_u32(out, manifest->first_group);
    weir_buf_put_u32(out, manifest->end_group);
    weir_buf_put_u32(out, manifest->nspaces);
    for (uint32_t i = 0; i < manifest->nspaces; i++) {
        weir_buf_put_i64(out, manifest->spaces[i].space);
        weir_buf_put_u64(out, manifest->spaces[i].entries);
    }
    weir_buf_put_u32(out, manifest->nsmall);
    for (uint32_t i = 0; i < manifest->nsmall; i++) {
        weir_buf_put_bytes(out, manifest->small[i].name);
        weir_buf_put_bytes(out, manifest->small[i].bytes);
    }
    weir_buf_put_u32(out, manifest->nfiles);
    for (uint32_t i = 0; i < manifest->nfiles; i++) {
        weir_buf_put_bytes(out, weir_slice_str(manifest->files[i].local));
        weir_buf_put_bytes(out, weir_slice_str(manifest->files[i].stored));
        weir_buf_put_u64(out, manifest->files[i].bytes);
        weir_buf_put_u64(out, manifest->files[i].hash);
    }
}

/* A name that is one of a file in a directory, and of none outside. */
static bool fits_name(struct weir_slice name)
{
    return name.len > 0 && name.len <= NAME_BYTES_MAX && name.data[0] != '.' && memchr(name.data, '/', name.len) == NULL &&
           memchr(name.data, 0, name.len) == NULL;
}

static bool read_spaces(struct weir_reader *reader, struct weir_keyed_manifest *manifest)
{
    manifest->nspaces = weir_read_u32(reader);
    if (reader->failed || manifest->nspaces > reader->rest.len / 16) {
        return false;
    }
    manifest->spaces = weir_arena_zalloc(manifest->arena, manifest->nspaces * sizeof(*manifest->spaces));
    for (uint32_t i = 0; i < manifest->nspaces; i++) {
        manifest->spaces[i].space = weir_read_i64(reader);
        manifest->spaces[i].entries = weir_read_u64(reader);
        if (i > 0 && manifest->spaces[i].space <= manifest->spaces[i - 1].space) {
            return false;
        }
    }
    return true;
}

static bool read_files(struct weir_reader *reader, struct weir_keyed_manifest *manifest)
{
    manifest->nsmall = weir_read_u32(reader);
    if (reader->failed || manifest->nsmall > reader->rest.len / 8) {
        return false;
    }
    manifest->small = weir_arena_zalloc(manifest->arena, manifest->nsmall * sizeof(*manifest->small));
    for (uint32_t i = 0; i < manifest->nsmall; i++) {
        manifest->small[i].name = weir_arena_slice(manifest->arena, weir_read_bytes(reader));
        manifest->small[i].bytes = weir_arena_slice(manifest->arena, weir_read_bytes(reader));
        if (reader->failed || !fits_name(manifest->small[i].name)) {
            return false;
        }
    }
    manifest->nfiles = weir_read_u32(reader);
    if (reader->failed || manifest->nfiles > reader->rest.len / 24) {
        return false;
    }
    manifest->files = weir_arena_zalloc(manifest->arena, manifest->nfiles * sizeof(*manifest->files));
    for (uint32_t i = 0; i < manifest->nfiles; i++) {
        struct weir_slice local = weir_read_bytes(reader);
        struct weir_slice stored = weir_read_bytes(reader);
        if (reader->failed || !fits_name(local) || !fits_name(stored)) {
            return false;
        }
        manifest->files[i] = (struct weir_keyed_file){
            .local = weir_arena_strndup(manifest->arena, local.data, local.len),
            .stored = weir_arena_strndup(manifest->arena, stored.data, stored.len),
            .bytes = weir_read_u64(reader),
            .hash = weir_read_u64(reader),
        };
        manifest->bytes += manifest->files[i].bytes;
    }
    return !reader->failed && reader->rest.len == 0;
}

enum weir_rc weir_keyed_manifest_decode(struct weir_slice bytes, uint64_t checkpoint, const char *dir, struct weir_keyed_manifest **out_manifest,
                                        struct weir_error *err)
{
    struct weir_keyed_manifest *manifest = weir_keyed_manifest_create(checkpoint, dir);
    struct weir_reader reader = weir_reader(bytes);
    uint8_t version = weir_read_u8(&reader);
    manifest->max_parallelism = weir_read_u32(&reader);
    manifest->first_group = weir_read_u32(&reader);
    manifest->end_group = weir_read_u32(&reader);
    if (reader.failed || version != WEIR_KEYED_FILES_VERSION || manifest->first_group >= manifest->end_group ||
        manifest->end_group > manifest->max_parallelism || !read_spaces(&reader, manifest) || !read_files(&reader, manifest)) {
        weir_keyed_manifest_destroy(manifest);
        return weir_error_set(err, WEIR_CORRUPT, "keyed state: its list of files is cut or impossible");
    }
    *out_manifest = manifest;
    return WEIR_OK;
}

/* --- copying ---------------------------------------------------------------------------------------------------------- */

/* Reads a file to its end, hashing it; writes it to `to` unless that is NULL. */
static enum weir_rc pass_file(struct weir_fs *fs, const char *path, struct weir_fs_file *to, uint64_t *out_bytes, uint64_t *out_hash,
                              struct weir_error *err)
{
    struct weir_fs_file *file = NULL;
    uint8_t *block = weir_malloc(COPY_BYTES);
    uint64_t bytes = 0;
    uint64_t hash = 0;
    size_t got = 0;
    enum weir_rc rc = weir_fs_open(fs, path, WEIR_FS_READ, &file, err);
    do {
        if (rc == WEIR_OK) {
            rc = weir_fs_pread(file, bytes, block, COPY_BYTES, &got, err);
        }
        if (rc == WEIR_OK && (got > 0 || bytes == 0)) {
            hash = weir_hash_bytes(block, got, hash);
            bytes += got;
        }
        if (rc == WEIR_OK && got > 0 && to != NULL) {
            rc = weir_fs_append(to, weir_slice(block, got), err);
            WEIR_FAILPOINT("ckpt.upload");
        }
    } while (rc == WEIR_OK && got == COPY_BYTES);
    weir_fs_close(file);
    weir_free(block);
    if (rc == WEIR_OK) {
        *out_bytes = bytes;
        *out_hash = hash;
    }
    return rc;
}

static enum weir_rc copy_file(struct weir_fs *fs, const char *from, const char *to, bool sync, uint64_t *out_bytes, uint64_t *out_hash,
                              struct weir_error *err)
{
    struct weir_fs_file *file = NULL;
    enum weir_rc rc = weir_fs_open(fs, to, WEIR_FS_CREATE_NEW, &file, err);
    if (rc == WEIR_OK) {
        rc = pass_file(fs, from, file, out_bytes, out_hash, err);
    }
    if (rc == WEIR_OK && sync) {
        rc = weir_fs_fsync(file, err);
    }
    weir_fs_close(file);
    return rc;
}

/* --- this machine's copies -------------------------------------------------------------------------------------------- */

static struct weir_local_file content_of(const struct weir_keyed_file *file)
{
    return (struct weir_local_file){.bytes = file->bytes, .hash = file->hash};
}

/* Copies of all files; dir: of a store, where they have their local names. */
static void keep_copies(const struct weir_keyed_local *local, const struct weir_keyed_manifest *manifest, const char *dir)
{
    if (local->store == NULL || manifest->nfiles == 0) {
        return;
    }
    char *in_checkpoint = weir_strfmt("%s/%s", manifest->dir, manifest->files[0].stored);
    bool goes_on = weir_local_store_begin(local->store, local->job_id, manifest->checkpoint, in_checkpoint);
    for (uint32_t i = 0; goes_on && i < manifest->nfiles; i++) {
        char *path = weir_strfmt("%s/%s", dir, manifest->files[i].local);
        goes_on = weir_local_store_put(local->store, local->job_id, manifest->checkpoint, content_of(&manifest->files[i]), path);
        WEIR_FAILPOINT("ckpt.local_copy");
        weir_free(path);
    }
    weir_free(in_checkpoint);
}

/* --- upload ----------------------------------------------------------------------------------------------------------- */

static bool is_immutable(const char *name)
{
    size_t len = strlen(name);
    return len > 4 && strcmp(name + len - 4, ".sst") == 0;
}

static enum weir_rc take_small(struct weir_fs *fs, const char *path, const char *name, struct weir_keyed_manifest *manifest,
                               struct weir_error *err)
{
    struct weir_buf bytes = {0};
    enum weir_rc rc = weir_fs_read_all(fs, path, SMALL_BYTES_MAX, &bytes, err);
    if (rc == WEIR_OK) {
        manifest->small[manifest->nsmall++] = (struct weir_keyed_small){
            .name = weir_arena_slice(manifest->arena, weir_slice_str(name)),
            .bytes = weir_arena_slice(manifest->arena, weir_buf_slice(&bytes)),
        };
    }
    weir_buf_fini(&bytes);
    return rc;
}

static const struct weir_keyed_file *find_file(const struct weir_keyed_manifest *before, const char *local)
{
    for (uint32_t i = 0; before != NULL && i < before->nfiles; i++) {
        if (strcmp(before->files[i].local, local) == 0) {
            return &before->files[i];
        }
    }
    return NULL;
}

static enum weir_rc put_file(struct weir_fs *fs, const char *path, const char *name, const char *prefix,
                             const struct weir_keyed_manifest *before, struct weir_keyed_manifest *manifest, struct weir_error *err)
{
    struct weir_keyed_file *file = &manifest->files[manifest->nfiles];
    const struct weir_keyed_file *old = find_file(before, name);
    if (old != NULL) {
        char *from = weir_strfmt("%s/%s", before->dir, old->stored);
        char *to = weir_strfmt("%s/%s", manifest->dir, old->stored);
        struct weir_error ignored; /* it may have been swept: then there is a newer checkpoint that this task has not heard of yet */
        enum weir_rc rc = weir_fs_link(fs, from, to, &ignored);
        weir_free(from);
        weir_free(to);
        if (rc == WEIR_OK) {
            *file = *old;
            file->local = weir_arena_strdup(manifest->arena, old->local);
            file->stored = weir_arena_strdup(manifest->arena, old->stored);
            manifest->bytes += file->bytes;
            manifest->nfiles++;
            return WEIR_OK;
        }
    }
    file->local = weir_arena_strdup(manifest->arena, name);
    file->stored = weir_arena_fmt(manifest->arena, "%s%s", prefix, name);
    char *to = weir_strfmt("%s/%s", manifest->dir, file->stored);
    enum weir_rc rc = copy_file(fs, path, to, true, &file->bytes, &file->hash, err);
    weir_free(to);
    if (rc == WEIR_OK) {
        manifest->bytes += file->bytes;
        manifest->new_bytes += file->bytes;
        manifest->nfiles++;
    }
    return rc;
}

enum weir_rc weir_keyed_upload(struct weir_fs *fs, const struct weir_keyed_local *local, const char *files, const char *prefix,
                               const struct weir_keyed_manifest *before,
                               struct weir_keyed_manifest *manifest, struct weir_error *err)
{
    struct weir_fs_names names = {0};
    enum weir_rc rc = weir_fs_names_read(fs, files, &names, err);
    manifest->small = weir_arena_zalloc(manifest->arena, names.len * sizeof(*manifest->small));
    manifest->files = weir_arena_zalloc(manifest->arena, names.len * sizeof(*manifest->files));
    if (before != NULL && before->generation != manifest->generation) {
        before = NULL;
    }
    for (size_t i = 0; i < names.len; i++) {
        const char *name = names.items[i].name;
        char *path = weir_strfmt("%s/%s", files, name);
        if (rc == WEIR_OK && !names.items[i].is_dir) {
            rc = is_immutable(name) ? put_file(fs, path, name, prefix, before, manifest, err) : take_small(fs, path, name, manifest, err);
        }
        weir_free(path);
    }
    if (rc == WEIR_OK) {
        keep_copies(local, manifest, files);
    }
    weir_fs_names_fini(&names);
    return rc;
}

/* --- fetch ------------------------------------------------------------------------------------------------------------ */

/* Where the files came from. */
struct fetched {
    uint32_t local, linked, copied, missing;
    uint64_t local_bytes, linked_bytes, copied_bytes;
};

static bool is_whole(const struct weir_keyed_file *file, uint64_t bytes, uint64_t hash)
{
    return bytes == file->bytes && hash == file->hash;
}

/* Takes this machine's copy, if there is a good one; else there is nothing at `to`. */
static bool take_copy(struct weir_fs *fs, const struct weir_keyed_local *local, const struct weir_keyed_manifest *manifest,
                      const struct weir_keyed_file *file, const char *to, struct fetched *fetched)
{
    struct weir_error err;
    uint64_t bytes = 0;
    uint64_t hash = 0;
    if (local->store == NULL) {
        return false;
    }
    if (weir_local_store_take(local->store, local->job_id, manifest->checkpoint, content_of(file), to, &err) != WEIR_OK) {
        fetched->missing++;
        return false;
    }
    enum weir_rc rc = pass_file(fs, to, NULL, &bytes, &hash, &err);
    if (rc == WEIR_OK && is_whole(file, bytes, hash)) {
        fetched->local++;
        fetched->local_bytes += file->bytes;
        return true;
    }
    weir_log(local->log, WEIR_LOG_WARN, "local_copy_damaged", "checkpoint", WEIR_LOG_INT(manifest->checkpoint), "file", file->stored, "error",
             rc == WEIR_OK ? "its length or hash is not what the checkpoint recorded" : err.text, "instead", manifest->dir, NULL);
    weir_local_store_discard(local->store, local->job_id, manifest->checkpoint, content_of(file));
    if (weir_fs_unlink(fs, to, &err) != WEIR_OK) { /* then it cannot be made anew either, which is an error that is told */
        weir_log(local->log, WEIR_LOG_WARN, "local_copy_not_removed", "error", err.text, NULL);
    }
    return false;
}

static enum weir_rc fetch_file(struct weir_fs *fs, const struct weir_keyed_local *local, const struct weir_keyed_manifest *manifest,
                               const struct weir_keyed_file *file, const char *store_dir, struct fetched *fetched, struct weir_error *err)
{
    char *from = weir_strfmt("%s/%s", manifest->dir, file->stored);
    char *to = weir_strfmt("%s/%s", store_dir, file->local);
    uint64_t bytes = 0;
    uint64_t hash = 0;
    enum weir_rc rc = WEIR_OK;
    if (take_copy(fs, local, manifest, file, to, fetched)) {
        goto out;
    }
    rc = weir_fs_link(fs, from, to, err);
    bool linked = rc == WEIR_OK;
    if (linked) {
        rc = pass_file(fs, to, NULL, &bytes, &hash, err);
    } else if (rc != WEIR_NOT_FOUND) { /* another file system */
        rc = copy_file(fs, from, to, false, &bytes, &hash, err);
    }
    if (rc == WEIR_NOT_FOUND) {
        rc = weir_error_set(err, WEIR_CORRUPT, "checkpoint file %s is gone", from);
    } else if (rc == WEIR_OK && !is_whole(file, bytes, hash)) {
        rc = weir_error_set(err, WEIR_CORRUPT, "checkpoint file %s is damaged: its length or hash is not what the checkpoint recorded", from);
    }
    if (rc == WEIR_OK) {
        *(linked ? &fetched->linked : &fetched->copied) += 1;
        *(linked ? &fetched->linked_bytes : &fetched->copied_bytes) += file->bytes;
    }
out:
    weir_free(from);
    weir_free(to);
    return rc;
}

static void tell_fetched(const struct weir_keyed_local *local, const struct weir_keyed_manifest *manifest, const struct fetched *fetched)
{
    if (fetched->local > 0 && fetched->missing > 0) { /* none at all is no wonder: the task ran elsewhere */
        weir_log(local->log, WEIR_LOG_WARN, "local_copies_missing", "checkpoint", WEIR_LOG_INT(manifest->checkpoint), "files",
                 WEIR_LOG_INT(fetched->missing), "instead", manifest->dir, NULL);
    }
    weir_log(local->log, WEIR_LOG_INFO, "state_files_restored", "checkpoint", WEIR_LOG_INT(manifest->checkpoint), "local_files",
             WEIR_LOG_INT(fetched->local), "local_bytes", WEIR_LOG_INT(fetched->local_bytes), "linked_files", WEIR_LOG_INT(fetched->linked),
             "linked_bytes", WEIR_LOG_INT(fetched->linked_bytes), "downloaded_files", WEIR_LOG_INT(fetched->copied), "downloaded_bytes",
             WEIR_LOG_INT(fetched->copied_bytes), NULL);
}

enum weir_rc weir_keyed_fetch(struct weir_fs *fs, const struct weir_keyed_local *local, const struct weir_keyed_manifest *manifest,
                              const char *store_dir, struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    struct fetched fetched = {0};
    for (uint32_t i = 0; rc == WEIR_OK && i < manifest->nfiles; i++) {
        rc = fetch_file(fs, local, manifest, &manifest->files[i], store_dir, &fetched, err);
        WEIR_FAILPOINT("restore.mid_download");
    }
    if (rc == WEIR_OK) {
        tell_fetched(local, manifest, &fetched);
    }
    if (rc == WEIR_OK && fetched.copied > 0) {
        keep_copies(local, manifest, store_dir);
    }
    for (uint32_t i = 0; rc == WEIR_OK && i < manifest->nsmall; i++) {
        const struct weir_keyed_small *small = &manifest->small[i];
        struct weir_fs_file *file = NULL;
        char *path = weir_strfmt("%s/%.*s", store_dir, WEIR_SLICE_ARG(small->name));
        rc = weir_fs_open(fs, path, WEIR_FS_CREATE_NEW, &file, err);
        if (rc == WEIR_OK) {
            rc = weir_fs_append(file, small->bytes, err);
        }
        weir_fs_close(file);
        weir_free(path);
    }
    return rc;
}
