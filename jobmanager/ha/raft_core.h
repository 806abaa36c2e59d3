/*
 * Raft itself, as a pure step: events and the time they came in, calls on the host out. The only user of libraft (with raft_codec, which
 * turns its messages into bytes and back); pinned to 0.22.1 and driven by raft_step(), never by its raft_io table, its transport or its disk
 * code. No I/O, thread, clock or randomness of its own: the seed comes in, time only moves with events. One instance, one thread.
 *
 * (R1) The host's `vote` is durable when it returns, and nothing is sent before. An answer to AppendEntries is sent only after `persisted`.
 * (R2) Committed commands are applied in index order, each once per life of the instance, or are contained in a snapshot that is restored.
 *      A committed entry may not be durable here; it is on a majority.
 * (R3) Eight defects of 0.22.1 are worked around here (raft_core_fixes.c): 1. the answer to a request of an older term says last_log_index 0;
 *      2. a refused pre-vote carries our term; 3. a rejection at or below the match index is neutralised; 4. AppendEntries from below what was
 *      compacted is moved to the snapshot's index (RELIABILITY 3.7); 5. a CHANGE behind other entries of a message is stepped by itself; 6. a sole
 *      voter leads in a new, durable term; 7. a learner votes, so that it can be promoted by a leader that then dies; 8. a CHANGE waits for the
 *      leader's own disk. Each has a directed test, and so has the schedule of figure 8.
 * (R4) A CHANGE of members travels alone, one server at a time, and the next waits until the one before is committed.
 * (R5) After a failed `vote`, a failed write or an error of the library the instance is FAILED: it answers nothing any more, and the process
 *      must start anew from what is on its disk. (Debian builds the library without its assertions: everything that comes from outside is
 *      checked before it is stepped.)
 * (R6) weir_raft_core_confirm says whether this one still leads, without a clock: a majority of the voters, it among them, had no newer term at some
 *      moment behind the call. So nobody else had been elected by then, and whatever anybody could call committed at the time of the call is in this
 *      one's log; once an entry of its own term is committed, it is applied, too. This is ReadIndex (dissertation 6.4). However long this process stands
 *      still, and wherever, what it answers is as new as the call. A lease (6.4.1) would need no messages, but holds only between clocks that agree,
 *      for a process that does not stop between its look at the clock and its answer, and where no vote is granted within the election timeout: a
 *      handover does that. Questions are batched: one at a time is on its way to each voter, for everybody who asks meanwhile.
 */
#ifndef WEIR_JOBMANAGER_HA_RAFT_CORE_H
#define WEIR_JOBMANAGER_HA_RAFT_CORE_H

#include "common/base/buf.h"
#include "common/base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum { WEIR_RAFT_MEMBERS_MAX = 7, WEIR_RAFT_ENTRY_BYTES_MAX = 64 << 20, WEIR_RAFT_ENTRIES_PER_MESSAGE_MAX = 1024 };

/* Numbers on disk and on the wire: append. */
enum weir_raft_entry_kind { WEIR_RAFT_COMMAND = 1, WEIR_RAFT_BARRIER = 2, WEIR_RAFT_CHANGE = 3 };

struct weir_raft_entry {
    uint64_t term;
    enum weir_raft_entry_kind kind;
    struct weir_slice data; /* CHANGE: weir_raft_members_encode */
};

enum weir_raft_member_role { WEIR_RAFT_VOTER, WEIR_RAFT_LEARNER /* gets entries, has no vote */ };

struct weir_raft_member {
    uint64_t id; /* never 0, never used again */
    const char *address; /* "host:port" of its RPC */
    enum weir_raft_member_role role;
};

/* The members as bytes (the same on every machine), and back; strings live in *out_text. CORRUPT, LIMIT. */
void weir_raft_members_encode(const struct weir_raft_member *members, uint32_t count, struct weir_buf *out);
enum weir_rc weir_raft_members_decode(struct weir_slice bytes, struct weir_raft_member members[WEIR_RAFT_MEMBERS_MAX], uint32_t *out_count,
                                      struct weir_buf *out_text, struct weir_error *err) WEIR_CHECKED;

/* The state after `index`. */
struct weir_raft_snapshot {
    uint64_t index, term;
    uint64_t members_index;     /* of the CHANGE entry they came from */
    struct weir_slice members;  /* encoded */
    struct weir_slice data;
};

/* What the core calls; all synchronously, inside an event. None may call back into the core. */
struct weir_raft_host {
    void *ctx;
    /* Makes term and vote durable before it returns (R1). */
    enum weir_rc (*vote)(void *ctx, uint64_t term, uint64_t voted_for, struct weir_error *err);
    /* Begins to write entries first, first + 1, ...; every entry at or behind `first` that the log has is cut off before. Borrowed during the
     * call. Its end: weir_raft_core_persisted(generation), or weir_raft_core_fail. In order of generation. */
    void (*append)(void *ctx, uint64_t generation, uint64_t first, const struct weir_raft_entry *entries, uint32_t count);
    /* Begins to write a snapshot (borrowed during the call); its end: weir_raft_core_snapshot_written. install: it came from the leader and
     * replaces the whole log, atomically with it. Otherwise entries up to drop_through need not be kept once it is durable. One at a time; an
     * install abandons one that is being written, of which nothing is to be told any more. */
    void (*snapshot)(void *ctx, const struct weir_raft_snapshot *snapshot, bool install, uint64_t drop_through);
    /* A message for a member; may be lost. Borrowed during the call. */
    void (*send)(void *ctx, uint64_t to, struct weir_slice message);
    /* A committed COMMAND. */
    void (*apply)(void *ctx, uint64_t index, uint64_t term, struct weir_slice command);
    /* The state machine's state after the newest applied entry is appended to out. */
    void (*take)(void *ctx, struct weir_buf *out);
    /* Replaces the state machine's state. On error the core FAILs. */
    enum weir_rc (*restore)(void *ctx, struct weir_slice data, struct weir_error *err);
    /* Leadership was gained (term is then the epoch) or lost; also called when the leader that is known has changed. leader: its id, 0 unknown. */
    void (*role)(void *ctx, bool leading, uint64_t term, uint64_t leader);
    /* (R5), once. */
    void (*failed)(void *ctx, const struct weir_error *err);
};

/* What was found on the disk. term 0: nothing, ever. */
struct weir_raft_boot {
    uint64_t term, voted_for;
    const struct weir_raft_snapshot *snapshot; /* NULL: none */
    uint64_t first;                            /* index of entries[0]; without a snapshot 1, with one at most snapshot->index + 1 */
    const struct weir_raft_entry *entries;
    uint32_t count;
};

struct weir_raft_core_options {
    uint64_t id;
    uint64_t seed;
    uint32_t election_timeout_ms;  /* 400 */
    uint32_t heartbeat_ms;         /* 40 */
    uint32_t install_timeout_ms;   /* 0: 2,000 */
    uint32_t inflight_max;         /* entries under way to one member; 0: the library's default */
    bool pre_vote;
    struct weir_raft_host host;
};

struct weir_raft_core;

/* What an empty disk gets before the first start, the same on every founding member: term 1, no vote, one CHANGE entry at index 1. A member that
 * joins a cluster later begins with nothing instead (boot->term 0). */
void weir_raft_core_found(const struct weir_raft_member *members, uint32_t count, struct weir_buf *out_change);

/* Everything in boot is copied; the snapshot is given to host.restore. A single voter leads when this returns from its first event: call tick.
 * CORRUPT (the log contradicts itself), UNSUPPORTED (another version of the library). */
enum weir_rc weir_raft_core_create(const struct weir_raft_core_options *options, const struct weir_raft_boot *boot, int64_t now_ms,
                                   struct weir_raft_core **out_core, struct weir_error *err) WEIR_CHECKED;
void weir_raft_core_destroy(struct weir_raft_core *core); /* accepts NULL */

/* --- events ---------------------------------------------------------------------------------------------------------- */
/* A message of a member (from: as the connection proved it). INVALID: it is malformed or cannot be; nothing has happened. */
enum weir_rc weir_raft_core_receive(struct weir_raft_core *core, uint64_t from, struct weir_slice message, int64_t now_ms,
                                    struct weir_error *err) WEIR_CHECKED;
/* Commands as consecutive entries. REFUSED: not leading; nothing was taken. */
enum weir_rc weir_raft_core_submit(struct weir_raft_core *core, const struct weir_slice *commands, uint32_t count, int64_t now_ms,
                                   uint64_t *out_first_index, struct weir_error *err) WEIR_CHECKED;
/* (R4) The members from now on: one added (as LEARNER), removed, or given another role. REFUSED (not leading, or it would remove or demote
 * itself: it hands its leadership over before), AGAIN (one is under way, or nothing of this term is committed yet), INVALID. */
enum weir_rc weir_raft_core_change(struct weir_raft_core *core, const struct weir_raft_member *members, uint32_t count, int64_t now_ms,
                                   uint64_t *out_index, struct weir_error *err) WEIR_CHECKED;
/* Hands leadership to a voter that is up to date (0: any). REFUSED: not leading, or there is none. */
enum weir_rc weir_raft_core_transfer(struct weir_raft_core *core, uint64_t to, int64_t now_ms, struct weir_error *err) WEIR_CHECKED;
/* (R6): asks the voters; the question's number. It is confirmed when the view's `confirmed` is not less, which is so at once for a sole voter. While it is
 * not answered it is repeated with each heartbeat, also in a later leadership. */
uint64_t weir_raft_core_confirm(struct weir_raft_core *core, int64_t now_ms);
/* The write of that generation is durable, and so is every earlier one. */
void weir_raft_core_persisted(struct weir_raft_core *core, uint64_t generation, int64_t now_ms);
void weir_raft_core_snapshot_written(struct weir_raft_core *core, int64_t now_ms);
/* Takes a snapshot at the newest applied entry, keeping `trailing` entries for slow members. AGAIN: not now. */
enum weir_rc weir_raft_core_compact(struct weir_raft_core *core, uint64_t trailing, int64_t now_ms, struct weir_error *err) WEIR_CHECKED;
void weir_raft_core_tick(struct weir_raft_core *core, int64_t now_ms);
/* A write has failed: (R5). */
void weir_raft_core_fail(struct weir_raft_core *core, const struct weir_error *err);

/* When tick is due; always later than the newest event. INT64_MAX: FAILED. */
int64_t weir_raft_core_deadline_ms(const struct weir_raft_core *core);

/* --- views ----------------------------------------------------------------------------------------------------------- */
struct weir_raft_core_view {
    bool leading, failed;
    uint64_t term, leader; /* leader 0: unknown */
    uint64_t last_index, last_term, commit_index, applied_index, snapshot_index;
    uint64_t confirmed; /* (R6) */
    uint64_t first_index; /* of the entries that are kept, since the last compaction; also of the next, when there is none */
};
void weir_raft_core_view(const struct weir_raft_core *core, struct weir_raft_core_view *out_view);
/* An entry that is kept (first_index to last_index); data is borrowed until the next event. */
struct weir_raft_entry weir_raft_core_entry(const struct weir_raft_core *core, uint64_t index);
/* As of the newest CHANGE in the log; borrowed until the next event. */
uint32_t weir_raft_core_members(const struct weir_raft_core *core, const struct weir_raft_member **out_members);
/* While leading: the last entry that the member is known to have on its disk, and when it was last heard of. NOT_FOUND. */
enum weir_rc weir_raft_core_progress(const struct weir_raft_core *core, uint64_t id, uint64_t *out_match_index, int64_t *out_heard_ms) WEIR_CHECKED;

#endif
