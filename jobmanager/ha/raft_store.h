/*
 * What one member of the cluster keeps on its disk, in a directory that the caller has locked: its identity, its term and vote, its newest
 * snapshot and its log.
 *
 *   identity        u64 incarnation, random, made with the directory: a directory that was lost and made anew is another member
 *   vote            term and vote; replaced atomically (write, fsync, rename, fsync of the directory)
 *   snapshot        the newest; names the log file that continues it, so that one rename switches both
 *   log-<n>         append-only frames, one for each append: groups of entries (cut the log at `first`, then append)
 *
 * Little endian, each file with magic, version and CRC32C, each frame with length, its own offset and CRC32C of all of it; each group with
 * index, each entry with term. A frame is one write, so that a crash tears no more than one.
 *
 * (S1) Only the last frame of the log may be torn: recovery cuts it off. A bad frame with a good one behind it is damage: CORRUPT, with file
 *      and offset, and what to do.
 * (S2) A snapshot is written while appends go on. Once durable it is switched to, and entries up to drop_through are gone from the new file.
 * (S3) An install drops the whole log in the same rename that makes the snapshot the newest.
 * (S4) After a failed fsync nobody knows what is on disk: the file is not written any more. A full disk (RESOURCE) on a compaction leaves
 *      everything as it was; on an append it is (S4) like any other error.
 * (S5) At most two snapshots and two logs are on the disk; what a crash leaves of others is removed at the next opening.
 *
 * All functions may block on the disk. One thread at a time, but `vote` may run beside an `append` or `snapshot` on another thread.
 */
#ifndef WEIR_JOBMANAGER_HA_RAFT_STORE_H
#define WEIR_JOBMANAGER_HA_RAFT_STORE_H

#include "common/base/log.h"
#include "common/fs/fs.h"
#include "jobmanager/ha/raft_core.h"

struct weir_raft_store;

/* Reads everything; boot points into the store until weir_raft_store_forget. incarnation_if_new is taken when the directory has none.
 * CORRUPT, UNSUPPORTED (also: the log of Weir before Raft), IO. */
enum weir_rc weir_raft_store_open(struct weir_fs *fs, const char *dir, uint64_t incarnation_if_new, const struct weir_log *log,
                                  struct weir_raft_store **out_store, struct weir_raft_boot *out_boot, struct weir_error *err) WEIR_CHECKED;
void weir_raft_store_forget(struct weir_raft_store *store);
void weir_raft_store_close(struct weir_raft_store *store); /* accepts NULL */

uint64_t weir_raft_store_incarnation(const struct weir_raft_store *store);

enum weir_rc weir_raft_store_vote(struct weir_raft_store *store, uint64_t term, uint64_t voted_for, struct weir_error *err) WEIR_CHECKED;
/* Durable when it returns. encoded: what one or more weir_raft_store_put_entries have put, in order. */
void weir_raft_store_put_entries(struct weir_buf *out, uint64_t first, const struct weir_raft_entry *entries, uint32_t count);
enum weir_rc weir_raft_store_append(struct weir_raft_store *store, struct weir_slice encoded, struct weir_error *err) WEIR_CHECKED;
/* Durable when it returns. kept: put_entries of all entries that the new log begins with, those in it before drop_through left out (none for
 * an install). RESOURCE: as before. */
enum weir_rc weir_raft_store_snapshot(struct weir_raft_store *store, const struct weir_raft_snapshot *snapshot, struct weir_slice kept,
                                      struct weir_error *err) WEIR_CHECKED;
/* Of the present log file. */
uint64_t weir_raft_store_log_bytes(const struct weir_raft_store *store);

#endif
