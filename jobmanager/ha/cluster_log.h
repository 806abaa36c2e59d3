/*
 * The log that all JobManagers of a cluster agree on: Raft's contract, whatever stands behind it (raft_log.h).
 *
 * (C1) propose is asynchronous. Its outcome is COMMITTED (every later leader has it), REJECTED (nobody ever will) or UNKNOWN: it may yet be
 *      applied, here or under a later leader, or be lost. Leadership lost while a proposal is under way makes it UNKNOWN, never REJECTED.
 * (C2) Committed entries are applied in index order, each once per life of the process; a proposal's apply comes before its outcome.
 * (C3) leadership(true, epoch) is called once per term, with an epoch greater than every earlier one. The new leader's first proposal is
 *      LEADER(epoch); it has no side effects before that is applied.
 * (C4) No callback runs inside propose; all run on the log's owner thread.
 * (C5) A log that can no longer vouch for what is on disk calls leadership(false), makes what is under way UNKNOWN, rejects the rest, and
 *      calls failed.
 * (C6) confirm asks whether this one still leads; the answer, `confirmed`, holds for a moment behind the question, whatever has stood still meanwhile:
 *      all that was committed by anybody when it was asked is applied here then. A leadership that is lost takes the questions with it.
 */
#ifndef WEIR_JOBMANAGER_HA_CLUSTER_LOG_H
#define WEIR_JOBMANAGER_HA_CLUSTER_LOG_H

#include "common/base/buf.h"
#include "common/base/error.h"

enum weir_proposal_outcome { WEIR_PROPOSAL_COMMITTED, WEIR_PROPOSAL_REJECTED, WEIR_PROPOSAL_UNKNOWN };

/* What the log calls back. All on its owner thread. */
struct weir_cluster_log_listener {
    void *ctx;
    /* A committed entry; borrowed during the call. An error (an entry that cannot be read) fails the log: (C5). */
    enum weir_rc (*apply)(void *ctx, uint64_t index, struct weir_slice entry, struct weir_error *err);
    void (*outcome)(void *ctx, uint64_t proposal, enum weir_proposal_outcome outcome, const struct weir_error *err);
    /* err says why leadership was lost; NULL when it was gained. */
    void (*leadership)(void *ctx, bool leader, uint64_t epoch, const struct weir_error *err);
    /* (C6): this question and all before. */
    void (*confirmed)(void *ctx, uint64_t question);
    /* (C5), once, after leadership(false) if it led: this process can do nothing more with the log and should end. */
    void (*failed)(void *ctx, const struct weir_error *err);
    /* Appends the state after the newest applied entry. */
    void (*snapshot_take)(void *ctx, struct weir_buf *out);
    /* Replaces the whole state. An error fails the opening. */
    enum weir_rc (*snapshot_restore)(void *ctx, struct weir_slice snapshot, struct weir_error *err);
};

struct weir_cluster_log;

struct weir_cluster_log_ops {
    void (*propose)(struct weir_cluster_log *log, uint64_t proposal, struct weir_slice entry);
    bool (*confirm)(struct weir_cluster_log *log, uint64_t *out_question);
    void (*destroy)(struct weir_cluster_log *log);
};

/* First member of every implementation. */
struct weir_cluster_log {
    const struct weir_cluster_log_ops *ops;
};

/* Proposes an entry (copied) under the caller's number. Owner thread; does not block. */
static inline void weir_cluster_log_propose(struct weir_cluster_log *log, uint64_t proposal, struct weir_slice entry)
{
    log->ops->propose(log, proposal, entry);
}

/* (C6). While it leads and has applied its LEADER. Owner thread, not from a callback. True: it is confirmed already, as by one that is alone. */
static inline bool weir_cluster_log_confirm(struct weir_cluster_log *log, uint64_t *out_question)
{
    return log->ops->confirm(log, out_question);
}

/* No work may be in flight on another thread (see the implementation). Accepts NULL. */
static inline void weir_cluster_log_destroy(struct weir_cluster_log *log)
{
    if (log != NULL) {
        log->ops->destroy(log);
    }
}

#endif
