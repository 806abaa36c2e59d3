/*
 * The cluster log of a single JobManager: one append-only file, `cluster.log`, in a directory that the caller has locked
 * (ha/dir_lock.h).
 *
 * File, little endian: 8 bytes magic, u32 version, u32 CRC32C of those; then frames:
 *   u32 magic | u32 payload bytes | u64 term | u64 index | u32 entries | u32 kind | u32 CRC32C of all this and the payload | payload
 * ENTRIES: `entries` times u32 length and bytes, the first has `index`. SNAPSHOT (only the first frame): the state after `index`.
 *
 * (F1) A frame is written only when the one before is fsynced, and entries are COMMITTED only when theirs is. So only the last frame may be
 *      torn: recovery cuts it off. A bad frame with a good one behind it is damage, and opening fails with CORRUPT.
 * (F2) Each opening is a new term: greater than that of every frame, so a leader's epoch is never used twice for anything committed.
 * (F3) The log is replaced by a snapshot by writing a new file, fsync, rename, fsync of the directory.
 * (F4) After a failed fsync nobody knows what is on disk: outcomes are UNKNOWN, leadership is lost, the log is FAILED. A failed write is
 *      cut off again and its entries are REJECTED; if even that fails, as for fsync.
 *
 * fsync happens on the executor; everything else on the owner thread.
 */
#ifndef WEIR_JOBMANAGER_HA_FILE_LOG_H
#define WEIR_JOBMANAGER_HA_FILE_LOG_H

#include "common/base/log.h"
#include "common/fs/fs.h"
#include "common/runtime/executor.h"
#include "jobmanager/ha/cluster_log.h"

enum {
    WEIR_FILE_LOG_ENTRY_BYTES_MAX = 64 << 20,
    WEIR_FILE_LOG_FRAME_ENTRIES_MAX = 1024,
    WEIR_FILE_LOG_COMPACT_BYTES = 4 << 20, /* and at least four times the snapshot */
};

struct weir_file_log_options {
    struct weir_fs *fs;
    const char *dir; /* exists */
    struct weir_executor *executor;
    uint64_t compact_bytes; /* 0: WEIR_FILE_LOG_COMPACT_BYTES */
    const struct weir_log *log; /* may be NULL */
    struct weir_cluster_log_listener listener;
};

/* Recovers (snapshot_restore, then apply for each entry), blocking. What options point to outlives the log. CORRUPT: names file and offset. IO. */
enum weir_rc weir_file_log_open(const struct weir_file_log_options *options, struct weir_cluster_log **out_log, struct weir_error *err) WEIR_CHECKED;

/* Gains leadership, that is, calls leadership(true, term). Once. */
void weir_file_log_start(struct weir_cluster_log *log);

/* Work is in flight on the executor: the log may not be destroyed yet. */
bool weir_file_log_busy(const struct weir_cluster_log *log);

#endif
