/*
 * What the files of raft_core share: the entries in memory, the members, and the workarounds for the library's defects (R3).
 */
#ifndef WEIR_JOBMANAGER_HA_RAFT_CORE_PRIVATE_H
#define WEIR_JOBMANAGER_HA_RAFT_CORE_PRIVATE_H

#include "jobmanager/ha/raft_core.h"

#include <raft.h>

/* --- members (raft_core_members.c) ----------------------------------------------------------------------------------- */

/* A decoded list. */
struct weir__raft_members {
    struct weir_raft_member items[WEIR_RAFT_MEMBERS_MAX];
    uint32_t count;
    struct weir_buf text;
};

void weir__raft_members_fini(struct weir__raft_members *members);
enum weir_rc weir__raft_members_check(struct weir_slice encoded, struct weir_error *err) WEIR_CHECKED; /* can be read */
/* Bytes that were checked before. */
void weir__raft_members_load(struct weir__raft_members *members, struct weir_slice encoded);
/* As the library wants them; raft_configuration_close frees. */
void weir__raft_members_to_library(struct weir_slice encoded, struct raft_configuration *out_configuration);
/* In order of id, as they are encoded. */
void weir__raft_members_sort(struct weir_raft_member *members, uint32_t count);
/* (R4): exactly one is added as LEARNER, removed or given another role. INVALID. */
enum weir_rc weir__raft_members_check_step(const struct weir__raft_members *from, const struct weir_raft_member *to, uint32_t count,
                                           struct weir_error *err) WEIR_CHECKED;

/* --- the entries since the last compaction (raft_core_entries.c) ------------------------------------------------------ */

struct weir__raft_entries {
    struct weir_raft_entry *items; /* data is owned */
    uint64_t *generations;         /* of the write that each belongs to; grow with the index; 0: was on the disk at the start */
    size_t count, items_cap, generations_cap;
    uint64_t first; /* index of items[0], also of the next when there is none */
};

void weir__raft_entries_fini(struct weir__raft_entries *entries);
const struct weir_raft_entry *weir__raft_entries_at(const struct weir__raft_entries *entries, uint64_t index); /* NULL: not here */
void weir__raft_entries_add(struct weir__raft_entries *entries, const struct weir_raft_entry *entry, uint64_t generation); /* copies */
void weir__raft_entries_cut(struct weir__raft_entries *entries, uint64_t from); /* everything at or behind it */
void weir__raft_entries_drop(struct weir__raft_entries *entries, uint64_t through);
/* The last one that was written by that generation or an earlier one; 0: none. */
uint64_t weir__raft_entries_written(const struct weir__raft_entries *entries, uint64_t generation);
/* All in one batch, as the library wants them (raft_malloc); NULL when there are none. */
struct raft_entry *weir__raft_entries_to_library(const struct weir__raft_entries *entries);
static inline uint64_t weir__raft_entries_last(const struct weir__raft_entries *entries)
{
    return entries->first + entries->count - 1;
}

/* What was found on the disk (raft_core_boot.c). CORRUPT. */
enum weir_rc weir__raft_boot_check(const struct weir_raft_boot *boot, struct weir_error *err) WEIR_CHECKED;

/* --- the core ---------------------------------------------------------------------------------------------------------- */

struct weir__raft_snapshot {
    uint64_t index, term, members_index; /* index 0: none */
    struct weir_buf members, data;
};

struct weir_raft_snapshot weir__raft_snapshot_view(const struct weir__raft_snapshot *snapshot);

/* Which workarounds are off, for the tests that show what each is good for. */
enum {
    WEIR__RAFT_NO_STALE_ANSWER = 1 << 1,
    WEIR__RAFT_NO_PRE_VOTE_TERM = 1 << 2,
    WEIR__RAFT_NO_LATE_REJECTION = 1 << 3,
    WEIR__RAFT_NO_BELOW_SNAPSHOT = 1 << 4,
    WEIR__RAFT_NO_CHANGE_FIRST = 1 << 5,
    WEIR__RAFT_NO_SOLE_TERM = 1 << 6,
    WEIR__RAFT_NO_LEARNERS_VOTE = 1 << 7,
    WEIR__RAFT_NO_DURABLE_CHANGE = 1 << 8,
    WEIR__RAFT_NO_TERM_COMMITTED = 1 << 9,
};

struct weir__raft_heard {
    uint64_t id;
    int64_t at_ms;
};

/* What a voter was asked, and has answered: weir_raft_confirm. */
struct weir__raft_asked {
    uint64_t id, sent, answered;
    int64_t sent_ms;
};

/* (R6), in raft_core_confirm.c. */
struct weir__raft_confirms {
    uint64_t term;              /* of the leadership that the voters were asked in */
    uint64_t wanted, confirmed; /* the newest question, and that a majority has confirmed; they only grow */
    struct weir__raft_asked voters[WEIR_RAFT_MEMBERS_MAX];
};

enum { WEIR__RAFT_HEARD_MAX = 2 * WEIR_RAFT_MEMBERS_MAX };

struct weir_raft_core {
    struct raft raft;
    struct weir_raft_core_options options;
    uint32_t off;
    uint64_t boot_term, boot_vote; /* until it has started */
    bool started, failed;
    bool stale_request; /* the message that is stepped is of an older term */
    int64_t now_ms;
    struct weir__raft_entries entries;
    uint64_t generation; /* of the newest write */
    struct weir__raft_snapshot durable, pending;
    bool taking, installing;
    uint64_t pending_drop, trailing;                /* of the one that is taken */
    struct raft_configuration installing_members;   /* the library's, which gets them back */
    uint64_t applied, applied_members_index;
    struct weir_buf applied_members; /* encoded; of the newest CHANGE that is applied */
    uint64_t members_index;
    struct weir__raft_members members; /* of the newest CHANGE in the log */
    bool told_leading;
    uint64_t told_term, told_leader;
    struct weir__raft_heard heard[WEIR__RAFT_HEARD_MAX];
    uint32_t nheard;
    struct weir__raft_confirms confirms;
    struct weir_buf message;
};

static inline bool weir__raft_is_leading(const struct weir_raft_core *core)
{
    return core->started && !core->failed && core->raft.state == RAFT_LEADER;
}

uint64_t weir__raft_term_at(const struct weir_raft_core *core, uint64_t index); /* 0: not known here */
bool weir__raft_heard_lately(const struct weir_raft_core *core, uint64_t id); /* within an election timeout */
/* This one is the only voter. */
bool weir__raft_is_sole_voter(const struct weir_raft_core *core);

/* --- whether it still leads (raft_core_confirm.c) ------------------------------------------------------------------------ */

struct weir_raft_confirm;
void weir__raft_confirm_begin(struct weir_raft_core *core); /* a question */
void weir__raft_confirm_receive(struct weir_raft_core *core, uint64_t from, const struct weir_raft_confirm *confirm);
void weir__raft_confirm_tick(struct weir_raft_core *core);

/* --- workarounds (raft_core_fixes.c) ------------------------------------------------------------------------------------ */

/* To a message that the library wants to send: 1, 2 and 8. */
void weir__raft_fix_outgoing(const struct weir_raft_core *core, struct raft_message *message);
/* To one that came, before it is stepped: 3 and 4. */
void weir__raft_fix_incoming(struct weir_raft_core *core, struct raft_message *message);
/* 5: the next part of an AppendEntries that is stepped alone; the entries move to out_part. False: nothing is left. */
bool weir__raft_next_part(const struct weir_raft_core *core, struct raft_message *message, struct raft_message *out_part);
/* 5: the CHANGE that this part proves to be committed; 0: none. */
uint64_t weir__raft_proved_change(const struct weir_raft_core *core, const struct raft_message *part);
/* 6: the library would lead alone without a term of its own. */
bool weir__raft_wants_sole_term(const struct weir_raft_core *core);
/* 7: the library would refuse this request for a vote because this member has none, by its own log. */
bool weir__raft_votes_as_learner(const struct weir_raft_core *core, const struct raft_message *message);
/* 7: whether the vote is granted; the library's term and vote are then set. out_durable: they must be made durable before it is sent. */
bool weir__raft_vote_as_learner(struct weir_raft_core *core, const struct raft_request_vote *request, bool *out_durable);

#endif
