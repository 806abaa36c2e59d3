/*
 * The cluster log of one, three or five JobManagers: Raft (raft_core) with its disk (raft_store) and its mail behind cluster_log's contract.
 * The epoch of a leadership is its Raft term.
 *
 * (L1) Appends and snapshots go through the executor, one at a time and in order; proposals that come meanwhile become one write and one
 *      message. Term and vote are written on the owner thread: an election is rare, and nothing may be said before.
 * (L2) A message longer than WEIR_RAFT_CHUNK_BYTES travels in chunks of one connection, in order; a gap or a newer message drops what was
 *      gathered, which Raft sends again.
 * (L3) A proposal is COMMITTED when the entry applied at its index has the term it was made in; UNKNOWN when the leadership is lost before.
 * (L4) The log is compacted when it is longer than compact_bytes and four times the snapshot.
 * (L5) An empty directory founds a cluster only if `founding` says so: the shell asks the other JobManagers before.
 * (L6) Whether it leads (C6) is asked of the others at once, by Raft's (R6), without a write anywhere.
 *
 * Owner thread for everything but the executor's work.
 */
#ifndef WEIR_JOBMANAGER_HA_RAFT_LOG_H
#define WEIR_JOBMANAGER_HA_RAFT_LOG_H

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/fs/fs.h"
#include "common/runtime/executor.h"
#include "jobmanager/ha/cluster_log.h"
#include "jobmanager/ha/raft_chunks.h"
#include "jobmanager/ha/raft_core.h"

enum { WEIR_RAFT_COMPACT_BYTES = 4 << 20, WEIR_RAFT_TRAILING = 1024 };

struct weir_raft_log_options {
    struct weir_fs *fs;
    const char *dir; /* exists, locked */
    struct weir_executor *executor;
    const struct weir_clock *clock; /* monotonic only */
    uint64_t seed;
    const struct weir_log *log; /* may be NULL */
    uint64_t id;                             /* of this member; 0: the incarnation of the directory (a member that joins) */
    const struct weir_raft_member *founders; /* used only when the directory is empty; count 0: wait to be added */
    uint32_t nfounders;
    uint32_t election_timeout_ms, heartbeat_ms;
    uint64_t compact_bytes; /* 0: WEIR_RAFT_COMPACT_BYTES */
    struct weir_cluster_log_listener listener;
    /* A chunk for the member at address (borrowed during the call). May lose it; never blocks. address NULL: the log does not name it yet, as
     * when one that joins answers its first leader. Also called inside propose. */
    void (*send)(void *ctx, uint64_t to, const char *address, struct weir_slice chunk);
    void *send_ctx;
};

/* Recovers, blocking (snapshot_restore; committed entries behind the snapshot are applied when Raft says that they are). CORRUPT, IO. */
enum weir_rc weir_raft_log_open(const struct weir_raft_log_options *options, struct weir_cluster_log **out_log, struct weir_error *err) WEIR_CHECKED;
/* Takes part from now on. Once. */
void weir_raft_log_start(struct weir_cluster_log *log);
/* Work is in flight on the executor: the log may not be destroyed yet. */
bool weir_raft_log_busy(const struct weir_cluster_log *log);

/* A chunk from a member, as its connection proved it. INVALID: malformed; it has had no effect. */
enum weir_rc weir_raft_log_receive(struct weir_cluster_log *log, uint64_t from, struct weir_slice chunk, struct weir_error *err) WEIR_CHECKED;
void weir_raft_log_tick(struct weir_cluster_log *log);
int64_t weir_raft_log_deadline_ms(const struct weir_cluster_log *log); /* monotonic */

/* Hands leadership over; whether it was begun. */
bool weir_raft_log_transfer(struct weir_cluster_log *log);
/* Changes one member (R4); the outcome comes like a proposal's, also of one that is refused. */
void weir_raft_log_change(struct weir_cluster_log *log, uint64_t proposal, const struct weir_raft_member *members, uint32_t count);

uint64_t weir_raft_log_id(const struct weir_cluster_log *log);
uint64_t weir_raft_log_incarnation(const struct weir_cluster_log *log);
void weir_raft_log_view(const struct weir_cluster_log *log, struct weir_raft_core_view *out_view);
uint32_t weir_raft_log_members(const struct weir_cluster_log *log, const struct weir_raft_member **out_members);
enum weir_rc weir_raft_log_progress(const struct weir_cluster_log *log, uint64_t id, uint64_t *out_match_index, int64_t *out_heard_ms) WEIR_CHECKED;

#endif
