/*
 * A task's part of a checkpoint as one file: written whole, hashed whole, read back only if every byte agrees.
 *
 *   u32 magic "WSN1" | u16 version | u8 ended | u8 0 | u64 checkpoint | u32 vertex | u32 subtask | u32 subtasks of the vertex | u64 late rows
 *   dropped | u64 bad records skipped | u32 source bytes + source state | u32 operators | each: u32 + uid, u64 + state | u32 CRC32C of all before
 */
#ifndef WEIR_TASKMANAGER_TASK_SNAP_FILE_H
#define WEIR_TASKMANAGER_TASK_SNAP_FILE_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/fs/fs.h"
#include "common/runtime/executor.h"

struct weir_snap_op {
    struct weir_slice uid;
    struct weir_slice state;
};

struct weir_snap {
    bool ended; /* taken after all input had ended */
    uint64_t checkpoint;
    uint32_t vertex, subtask;
    uint32_t parallelism; /* of the vertex */
    uint64_t late_dropped, errors_skipped;
    struct weir_slice source; /* empty: the task has no source */
    const struct weir_snap_op *ops;
    uint32_t nops;
};

/* Appends the file's bytes. */
void weir_snap_encode(const struct weir_snap *snap, struct weir_buf *out);

/* Decodes; slices are borrowed from bytes, ops lie in the arena. CORRUPT, UNSUPPORTED. */
enum weir_rc weir_snap_decode(struct weir_slice bytes, struct weir_arena *arena, struct weir_snap *out_snap, struct weir_error *err) WEIR_CHECKED;

/* Where a file is and what it must be. */
struct weir_snap_handle {
    char *path; /* weir_malloc */
    uint64_t bytes;
    uint64_t hash; /* weir_hash_bytes of all bytes, seed 0 */
};

/*
 * Writing or reading one file off-thread. Embedded in its owner; `done` runs on the owner's thread, then rc (and err) say how it went.
 */
struct weir_snap_io {
    struct weir_work work; /* first member */
    struct weir_fs *fs;
    struct weir_snap_handle handle; /* writing: bytes and hash are filled in; reading: what the file must be */
    struct weir_buf buf;            /* writing: the bytes; reading: filled */
    bool writing;
    enum weir_rc rc;
    struct weir_error err;
};

/* Prepares and submits. The file must not exist when writing (its name is new in each attempt). CORRUPT (reading): length or hash differ, with
 * the path. */
void weir_snap_io_submit(struct weir_snap_io *io, struct weir_executor *executor);

#endif
