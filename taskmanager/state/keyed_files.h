/*
 * The files of a keyed state in a checkpoint. A checkpoint's directory is whole by itself: files that an earlier one has are linked into it.
 *
 * Version 2 of a keyed state's bytes (version 1, the entries themselves, is delta_snap.h):
 *
 *   u8 2 | u32 max parallelism | u32 first, u32 end key group of the writer | u32 namespaces | each: i64 namespace, u64 entries
 *   u32 small files | each: name, bytes | u32 files | each: name in the store, name beside the task's file, u64 bytes, u64 hash
 *
 * (names and bytes with a u32 length). A file's hash: weir_hash_bytes of its first MiB with seed 0, of each next one with the hash so far as
 * seed.
 *
 * On this machine copies of them may be kept (state/local_store.h): a restore takes those first.
 *
 * All calls but encode and decode block.
 */
#ifndef WEIR_TASKMANAGER_STATE_KEYED_FILES_H
#define WEIR_TASKMANAGER_STATE_KEYED_FILES_H

#include "common/base/arena.h"
#include "common/fs/fs.h"
#include "taskmanager/state/local_store.h"
#include "taskmanager/state/store.h"

enum { WEIR_KEYED_FILES_VERSION = 2 };

struct weir_keyed_space {
    int64_t space;
    uint64_t entries;
};

struct weir_keyed_small {
    struct weir_slice name, bytes;
};

struct weir_keyed_file {
    const char *local;  /* in the store's directory */
    const char *stored; /* in the checkpoint's */
    uint64_t bytes, hash;
};

/* One state's part of one checkpoint. Everything lies in its arena. */
struct weir_keyed_manifest {
    struct weir_arena *arena;
    uint64_t checkpoint;
    char *dir;           /* of the checkpoint */
    uint32_t generation; /* of the store that the local names are of; not encoded */
    uint32_t max_parallelism, first_group, end_group;
    struct weir_keyed_space *spaces;
    uint32_t nspaces;
    struct weir_keyed_small *small;
    uint32_t nsmall;
    struct weir_keyed_file *files;
    uint32_t nfiles;
    uint64_t bytes;     /* of all files; not encoded */
    uint64_t new_bytes; /* of those that were copied; not encoded */
};

/* Where this machine's copies are. */
struct weir_keyed_local {
    struct weir_local_store *store; /* NULL: none are kept or taken */
    const char *job_id;
    const struct weir_log *log; /* the task's */
};

struct weir_keyed_manifest *weir_keyed_manifest_create(uint64_t checkpoint, const char *dir);
void weir_keyed_manifest_destroy(struct weir_keyed_manifest *manifest); /* accepts NULL */
void weir_keyed_manifest_encode(const struct weir_keyed_manifest *manifest, struct weir_buf *out);
/* bytes begin with the version. CORRUPT. */
enum weir_rc weir_keyed_manifest_decode(struct weir_slice bytes, uint64_t checkpoint, const char *dir, struct weir_keyed_manifest **out_manifest,
                                        struct weir_error *err) WEIR_CHECKED;

/* Puts the files of a store's commit into the manifest's directory and lists them in the manifest: those that `before` (NULL: none) has are
 * linked, if it is of the same store and its directory still there; the others are copied and synced, as <prefix><name>. The directory is
 * still to be synced. Then copies of them are kept on this machine, if that is of use. */
enum weir_rc weir_keyed_upload(struct weir_fs *fs, const struct weir_keyed_local *local, const char *files, const char *prefix,
                               const struct weir_keyed_manifest *before,
                               struct weir_keyed_manifest *manifest, struct weir_error *err) WEIR_CHECKED;

/* Fills a store's directory with the files, each held against its length and hash: by links of this machine's copies, or else from the
 * checkpoint's directory, by links or by copying; the log says how many of each. What had to be copied is kept here as well. CORRUPT, with the
 * path of the checkpoint's file: damaged or gone. */
enum weir_rc weir_keyed_fetch(struct weir_fs *fs, const struct weir_keyed_local *local, const struct weir_keyed_manifest *manifest,
                              const char *store_dir, struct weir_error *err) WEIR_CHECKED;

#endif
