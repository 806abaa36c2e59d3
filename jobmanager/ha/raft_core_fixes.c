/*
 * Workarounds for defects of the library 0.22.1, each in a function of its own. 1 to 4 are those of RELIABILITY 3.7; 5 to 8 are
 * about changes of members, which were not looked at there. None needs a change to the library. Each has a directed test in raft_core_test.c.
 */
#include "jobmanager/ha/raft_core_private.h"

#include "common/base/assert.h"

/* 1: a request of an older term is answered with our term, rejected = 0 for some, and whatever lay on the stack as last_log_index. Should the
 * asker lead again in this term, that is taken for entries on our disk: a commit without a quorum. */
static void fix_stale_answer(const struct weir_raft_core *core, struct raft_message *message)
{
    if (core->stale_request && message->type == RAFT_APPEND_ENTRIES_RESULT && (core->off & WEIR__RAFT_NO_STALE_ANSWER) == 0) {
        message->append_entries_result.last_log_index = 0;
    }
}

/* 2: a refused pre-vote echoes the candidate's term, so a candidate with the best log but an old term never learns of ours, and nobody can be
 * elected. The library does the right thing when it reads our term there. */
static void fix_pre_vote_term(const struct weir_raft_core *core, struct raft_message *message)
{
    if (message->type == RAFT_REQUEST_VOTE_RESULT && (core->off & WEIR__RAFT_NO_PRE_VOTE_TERM) == 0) {
        struct raft_request_vote_result *result = &message->request_vote_result;
        raft_term term = raft_current_term(&core->raft);
        if (result->pre_vote && !result->vote_granted && term > result->term) {
            result->term = term;
        }
    }
}

/* 8: a leader sends entries before they are on its own disk. A CHANGE that takes a voter's vote away and is left only with that one makes it the
 * one with the longest log, which refuses its vote to the others and, by the library, cannot stand itself: with two voters nobody is elected
 * any more. So a CHANGE waits for the leader's disk; what was held back is missed and sent again. */
static void fix_early_change(const struct weir_raft_core *core, struct raft_message *message)
{
    if (message->type != RAFT_APPEND_ENTRIES || core->members_index <= core->raft.last_stored || (core->off & WEIR__RAFT_NO_DURABLE_CHANGE) != 0) {
        return;
    }
    struct raft_append_entries *append = &message->append_entries;
    uint64_t before = core->members_index - 1;
    uint64_t room = before > append->prev_log_index ? before - append->prev_log_index : 0;
    append->n_entries = append->n_entries < room ? append->n_entries : (unsigned)room;
}

void weir__raft_fix_outgoing(const struct weir_raft_core *core, struct raft_message *message)
{
    fix_early_change(core, message);
    fix_stale_answer(core, message);
    fix_pre_vote_term(core, message);
}

/* 3: a rejection that comes late, at or below what the member has acknowledged since, sets its next index back below its match index while it
 * is probed; the count of entries under way then wraps around, and it gets none until the leader changes. */
static void fix_late_rejection(const struct weir_raft_core *core, struct raft_message *message)
{
    raft_index match = 0;
    if (message->type != RAFT_APPEND_ENTRIES_RESULT || (core->off & WEIR__RAFT_NO_LATE_REJECTION) != 0) {
        return;
    }
    struct raft_append_entries_result *result = &message->append_entries_result;
    if (core->raft.state == RAFT_LEADER && result->rejected > 0 && result->term == raft_current_term(&core->raft) &&
        raft_match_index(&core->raft, message->server_id, &match) == 0 && result->rejected <= match) {
        result->rejected = 0;
        result->last_log_index = 0;
    }
}

/* 4: AppendEntries from below what was compacted here: for the library an entry whose term it no longer knows is one that it does not have, so
 * it appends old entries at the end, and then reads behind the message. Up to our snapshot everything is committed, so the leader of any term
 * of now has it too: answer as if it had asked from there. */
static void fix_below_snapshot(const struct weir_raft_core *core, struct raft_message *message)
{
    if (message->type != RAFT_APPEND_ENTRIES || (core->off & WEIR__RAFT_NO_BELOW_SNAPSHOT) != 0) {
        return;
    }
    struct raft_append_entries *append = &message->append_entries;
    if (core->durable.index == 0 || core->installing || append->prev_log_index + 1 >= core->entries.first) {
        return;
    }
    if (append->n_entries > 0) {
        raft_free(append->entries[0].batch);
        raft_free(append->entries);
        append->entries = NULL;
        append->n_entries = 0;
    }
    append->prev_log_index = core->durable.index;
    append->prev_log_term = core->durable.term;
}

void weir__raft_fix_incoming(struct weir_raft_core *core, struct raft_message *message)
{
    fix_late_rejection(core, message);
    fix_below_snapshot(core, message);
}

/* The first `count` entries of from, copied: they need a batch of their own. */
static struct raft_entry *copy_entries(const struct raft_entry *from, unsigned count)
{
    size_t bytes = 1; /* never NULL */
    for (unsigned i = 0; i < count; i++) {
        bytes += from[i].buf.len;
    }
    struct raft_entry *to = raft_malloc(count * sizeof(*to));
    uint8_t *batch = raft_malloc(bytes);
    weir_assert(to != NULL && batch != NULL);
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        to[i] = from[i];
        to[i].batch = batch;
        to[i].buf.base = batch + at;
        if (from[i].buf.len > 0) {
            memcpy(batch + at, from[i].buf.base, from[i].buf.len);
        }
        at += from[i].buf.len;
    }
    return to;
}

/* 5: a CHANGE that is not the first new entry of a message is noted under the index of the first one; it is then never taken for committed, or
 * not rolled back when it is cut off. A leader submits it alone, but one who has fallen behind gets it among others: so such a message is
 * stepped in parts that begin with a CHANGE. */
bool weir__raft_next_part(const struct weir_raft_core *core, struct raft_message *message, struct raft_message *out_part)
{
    if (message->type == (enum raft_message_type)0) {
        return false;
    }
    *out_part = *message;
    struct raft_append_entries *rest = &message->append_entries;
    unsigned count = message->type == RAFT_APPEND_ENTRIES ? rest->n_entries : 0;
    unsigned n = 1;
    while (n < count && (rest->entries[n].type != RAFT_CHANGE || (core->off & WEIR__RAFT_NO_CHANGE_FIRST) != 0)) {
        n++;
    }
    if (n >= count) {
        message->type = (enum raft_message_type)0;
        return true;
    }
    struct raft_entry *entries = rest->entries;
    out_part->append_entries.entries = copy_entries(entries, n);
    out_part->append_entries.n_entries = n;
    rest->prev_log_index += n;
    rest->prev_log_term = entries[n - 1].term;
    rest->entries = copy_entries(entries + n, count - n);
    rest->n_entries = count - n;
    raft_free(entries[0].batch);
    raft_free(entries);
    return true;
}

/* 5: the library keeps one uncommitted CHANGE. A second one may come before we hear that the first is committed, which it then never notes,
 * and it would roll back to the one before both. But a leader begins a second only when the first is committed (R4). */
uint64_t weir__raft_proved_change(const struct weir_raft_core *core, const struct raft_message *part)
{
    if (part->type != RAFT_APPEND_ENTRIES || part->append_entries.n_entries == 0 || part->append_entries.entries[0].type != RAFT_CHANGE ||
        core->installing || part->append_entries.term < raft_current_term(&core->raft) || (core->off & WEIR__RAFT_NO_CHANGE_FIRST) != 0) {
        return 0;
    }
    uint64_t prev = part->append_entries.prev_log_index;
    uint64_t uncommitted = core->raft.configuration_uncommitted_index;
    bool matches = prev > 0 && weir__raft_term_at(core, prev) == part->append_entries.prev_log_term;
    return matches && uncommitted <= prev ? uncommitted : 0;
}

/* 6: as the only voter the library leads without an election, in the term it finds. That may be the term in which another has led (and then
 * was demoted), or in which this one led before it was started again: two leaderships of one term. */
bool weir__raft_wants_sole_term(const struct weir_raft_core *core)
{
    return core->raft.state == RAFT_FOLLOWER && weir__raft_is_sole_voter(core) && (core->off & WEIR__RAFT_NO_SOLE_TERM) == 0;
}

static bool has_vote(const struct weir_raft_core *core)
{
    for (uint32_t i = 0; i < core->members.count; i++) {
        if (core->members.items[i].id == core->options.id) {
            return core->members.items[i].role == WEIR_RAFT_VOTER;
        }
    }
    return false;
}

/* 7: a member that is no voter by its own log refuses to vote, and believes in its last leader for ever. But a candidate may have the CHANGE
 * that makes it one, and need it: the only voter that promotes a learner, is restarted before that CHANGE has travelled, and then cannot be
 * elected any more. (Dissertation 4.1: who votes is decided by the candidate's list; the voter's does not matter.) */
bool weir__raft_votes_as_learner(const struct weir_raft_core *core, const struct raft_message *message)
{
    if (message->type != RAFT_REQUEST_VOTE || core->raft.state != RAFT_FOLLOWER || core->installing || has_vote(core) ||
        (core->off & WEIR__RAFT_NO_LEARNERS_VOTE) != 0) {
        return false;
    }
    uint64_t leader = core->raft.follower_state.current_leader.id;
    bool follows = leader != 0 && weir__raft_heard_lately(core, leader);
    return message->request_vote.term >= raft_current_term(&core->raft) && (!follows || message->request_vote.disrupt_leader);
}

bool weir__raft_vote_as_learner(struct weir_raft_core *core, const struct raft_request_vote *request, bool *out_durable)
{
    struct raft *raft = &core->raft;
    uint64_t last = weir__raft_entries_last(&core->entries);
    uint64_t last_term = weir__raft_term_at(core, last);
    bool up_to_date = request->last_log_term > last_term || (request->last_log_term == last_term && request->last_log_index >= last);
    *out_durable = false;
    if (request->pre_vote) {
        return up_to_date;
    }
    if (request->term > raft->current_term) {
        raft->current_term = request->term;
        raft->voted_for = 0;
        raft->follower_state.match = 0;
        *out_durable = true;
    }
    if (up_to_date && raft->voted_for == 0) {
        raft->voted_for = request->candidate_id;
        *out_durable = true;
    }
    return up_to_date && raft->voted_for == request->candidate_id;
}
