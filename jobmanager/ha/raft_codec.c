#include "jobmanager/ha/raft_codec.h"

#include "common/base/arena.h"
#include "common/base/assert.h"
#include "jobmanager/ha/raft_core_private.h"
#include "proto/pb.h"
#include "proto/raft.pb-c.h"

/* The library's versions of the messages whose fields we carry. A number at or above NUMBER_MAX can only be nonsense: the library adds to it. */
enum { VOTE_VERSION = 2, APPEND_RESULT_VERSION = 1 };

static const uint64_t number_max = UINT64_C(1) << 62;

/* --- encoding ----------------------------------------------------------------------------------------------------------- */

static void put_append_entries(const struct raft_append_entries *from, const struct weir_raft_entry *entries, Weir__Raft__Message *message,
                               struct weir_arena *arena)
{
    Weir__Raft__AppendEntries *to = weir_arena_alloc(arena, sizeof(*to));
    weir__raft__append_entries__init(to);
    to->term = from->term;
    to->prev_log_index = from->prev_log_index;
    to->prev_log_term = from->prev_log_term;
    to->leader_commit = from->leader_commit;
    to->n_entries = from->n_entries;
    to->entries = weir_arena_alloc(arena, from->n_entries * sizeof(*to->entries));
    Weir__Raft__Entry *items = weir_arena_alloc(arena, from->n_entries * sizeof(*items));
    for (unsigned i = 0; i < from->n_entries; i++) {
        weir__raft__entry__init(&items[i]);
        items[i].term = entries[i].term;
        items[i].kind = (uint32_t)entries[i].kind;
        items[i].data = weir_pb_bytes(entries[i].data);
        to->entries[i] = &items[i];
    }
    message->body_case = WEIR__RAFT__MESSAGE__BODY_APPEND_ENTRIES;
    message->append_entries = to;
}

static void put_append_entries_result(const struct raft_append_entries_result *from, Weir__Raft__Message *message, struct weir_arena *arena)
{
    Weir__Raft__AppendEntriesResult *to = weir_arena_alloc(arena, sizeof(*to));
    weir__raft__append_entries_result__init(to);
    to->term = from->term;
    to->rejected = from->rejected;
    to->last_log_index = from->last_log_index;
    to->features = from->features;
    to->capacity = from->capacity;
    message->body_case = WEIR__RAFT__MESSAGE__BODY_APPEND_ENTRIES_RESULT;
    message->append_entries_result = to;
}

static void put_request_vote(const struct raft_request_vote *from, Weir__Raft__Message *message, struct weir_arena *arena)
{
    Weir__Raft__RequestVote *to = weir_arena_alloc(arena, sizeof(*to));
    weir__raft__request_vote__init(to);
    to->term = from->term;
    to->candidate_id = from->candidate_id;
    to->last_log_index = from->last_log_index;
    to->last_log_term = from->last_log_term;
    to->disrupt_leader = from->disrupt_leader;
    to->pre_vote = from->pre_vote;
    message->body_case = WEIR__RAFT__MESSAGE__BODY_REQUEST_VOTE;
    message->request_vote = to;
}

static void put_request_vote_result(const struct raft_request_vote_result *from, Weir__Raft__Message *message, struct weir_arena *arena)
{
    Weir__Raft__RequestVoteResult *to = weir_arena_alloc(arena, sizeof(*to));
    weir__raft__request_vote_result__init(to);
    to->term = from->term;
    to->vote_granted = from->vote_granted;
    to->pre_vote = from->pre_vote;
    to->features = from->features;
    to->capacity = from->capacity;
    message->body_case = WEIR__RAFT__MESSAGE__BODY_REQUEST_VOTE_RESULT;
    message->request_vote_result = to;
}

/* All but the term is from our own snapshot: the library fills in no more. */
static void put_install_snapshot(const struct raft_install_snapshot *from, const struct weir_raft_snapshot *snapshot,
                                 Weir__Raft__Message *message, struct weir_arena *arena)
{
    Weir__Raft__InstallSnapshot *to = weir_arena_alloc(arena, sizeof(*to));
    weir__raft__install_snapshot__init(to);
    to->term = from->term;
    to->last_index = snapshot->index;
    to->last_term = snapshot->term;
    to->members_index = snapshot->members_index;
    to->members = weir_pb_bytes(snapshot->members);
    to->data = weir_pb_bytes(snapshot->data);
    message->body_case = WEIR__RAFT__MESSAGE__BODY_INSTALL_SNAPSHOT;
    message->install_snapshot = to;
}

static void put_timeout_now(const struct raft_timeout_now *from, Weir__Raft__Message *message, struct weir_arena *arena)
{
    Weir__Raft__TimeoutNow *to = weir_arena_alloc(arena, sizeof(*to));
    weir__raft__timeout_now__init(to);
    to->term = from->term;
    to->last_log_index = from->last_log_index;
    to->last_log_term = from->last_log_term;
    message->body_case = WEIR__RAFT__MESSAGE__BODY_TIMEOUT_NOW;
    message->timeout_now = to;
}

void weir_raft_message_encode(const struct raft_message *message, const struct weir_raft_entry *entries, const struct weir_raft_snapshot *snapshot,
                              struct weir_buf *out)
{
    struct weir_arena *arena = weir_arena_create(0);
    Weir__Raft__Message to = WEIR__RAFT__MESSAGE__INIT;
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        put_append_entries(&message->append_entries, entries, &to, arena);
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        put_append_entries_result(&message->append_entries_result, &to, arena);
        break;
    case RAFT_REQUEST_VOTE:
        put_request_vote(&message->request_vote, &to, arena);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        put_request_vote_result(&message->request_vote_result, &to, arena);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        put_install_snapshot(&message->install_snapshot, snapshot, &to, arena);
        break;
    case RAFT_TIMEOUT_NOW:
        put_timeout_now(&message->timeout_now, &to, arena);
        break;
    }
    weir_pb_encode(&to.base, out);
    weir_arena_destroy(arena);
}

void weir_raft_confirm_encode(const struct weir_raft_confirm *confirm, struct weir_buf *out)
{
    Weir__Raft__Confirm body = WEIR__RAFT__CONFIRM__INIT;
    Weir__Raft__Message to = WEIR__RAFT__MESSAGE__INIT;
    body.term = confirm->term;
    body.number = confirm->number;
    to.body_case = confirm->answer ? WEIR__RAFT__MESSAGE__BODY_CONFIRMED : WEIR__RAFT__MESSAGE__BODY_CONFIRM;
    if (confirm->answer) {
        to.confirmed = &body;
    } else {
        to.confirm = &body;
    }
    weir_pb_encode(&to.base, out);
}

/* --- decoding: what the library asserts, where its assertions are not compiled in --------------------------------------------- */

static enum weir_rc wrong(struct weir_error *err, const char *what)
{
    return weir_error_set(err, WEIR_INVALID, "a message of Raft: %s", what);
}

/* A place in a log: both or neither, and from no later term. */
static bool is_place(uint64_t index, uint64_t term, uint64_t term_max)
{
    return (index == 0) == (term == 0) && index < number_max && term <= term_max;
}

static bool is_term(uint64_t term)
{
    return term > 0 && term < number_max;
}

static enum weir_rc check_members(struct weir_slice encoded, struct weir_error *err)
{
    struct weir_error why;
    return weir__raft_members_check(encoded, &why) == WEIR_OK ? WEIR_OK : wrong(err, why.text);
}

static enum weir_rc get_request_vote(const Weir__Raft__RequestVote *from, uint64_t sender, struct raft_request_vote *to,
                                     struct weir_error *err)
{
    if (!is_term(from->term) || !is_place(from->last_log_index, from->last_log_term, from->term)) {
        return wrong(err, "a request for a vote of no possible term or log");
    }
    if (from->candidate_id != sender) {
        return wrong(err, "a request for a vote for another than its sender");
    }
    *to = (struct raft_request_vote){.version = VOTE_VERSION,
                                     .term = from->term,
                                     .candidate_id = from->candidate_id,
                                     .last_log_index = from->last_log_index,
                                     .last_log_term = from->last_log_term,
                                     .disrupt_leader = from->disrupt_leader,
                                     .pre_vote = from->pre_vote};
    return WEIR_OK;
}

static enum weir_rc get_request_vote_result(const Weir__Raft__RequestVoteResult *from, struct raft_request_vote_result *to,
                                            struct weir_error *err)
{
    if (!is_term(from->term) || from->features > UINT16_MAX || from->capacity > UINT16_MAX) {
        return wrong(err, "a vote of no possible term, features or capacity");
    }
    *to = (struct raft_request_vote_result){.version = VOTE_VERSION,
                                            .term = from->term,
                                            .vote_granted = from->vote_granted,
                                            .pre_vote = from->pre_vote,
                                            .features = (unsigned short)from->features,
                                            .capacity = (unsigned short)from->capacity};
    return WEIR_OK;
}

static enum weir_rc check_entries(const Weir__Raft__AppendEntries *from, struct weir_error *err)
{
    uint64_t term = from->prev_log_term;
    if (from->n_entries > WEIR_RAFT_ENTRIES_PER_MESSAGE_MAX) {
        return wrong(err, "too many entries");
    }
    for (size_t i = 0; i < from->n_entries; i++) {
        const Weir__Raft__Entry *entry = from->entries[i];
        if (entry->term == 0 || entry->term < term || entry->term > from->term) {
            return wrong(err, "an entry of a term that is lower than the one before, or higher than the leader's");
        }
        if (entry->kind < WEIR_RAFT_COMMAND || entry->kind > WEIR_RAFT_CHANGE || entry->data.len > WEIR_RAFT_ENTRY_BYTES_MAX) {
            return wrong(err, "an entry of no known kind, or too long");
        }
        if (entry->kind == WEIR_RAFT_CHANGE && check_members(weir_slice(entry->data.data, entry->data.len), err) != WEIR_OK) {
            return WEIR_INVALID;
        }
        term = entry->term;
    }
    if (from->prev_log_index == 0 && from->n_entries > 0 && from->entries[0]->kind != WEIR_RAFT_CHANGE) {
        return wrong(err, "a log that does not begin with its founding members");
    }
    return WEIR_OK;
}

/* All in one batch, which is never NULL. */
static struct raft_entry *copy_entries(const Weir__Raft__AppendEntries *from)
{
    size_t bytes = 1;
    for (size_t i = 0; i < from->n_entries; i++) {
        bytes += from->entries[i]->data.len;
    }
    struct raft_entry *to = raft_malloc(from->n_entries * sizeof(*to));
    uint8_t *batch = raft_malloc(bytes);
    weir_assert(to != NULL && batch != NULL);
    size_t at = 0;
    for (size_t i = 0; i < from->n_entries; i++) {
        const Weir__Raft__Entry *entry = from->entries[i];
        to[i] = (struct raft_entry){.term = entry->term,
                                    .type = (enum raft_entry_type)entry->kind,
                                    .buf = {.base = batch + at, .len = entry->data.len},
                                    .batch = batch};
        if (entry->data.len > 0) {
            memcpy(batch + at, entry->data.data, entry->data.len);
        }
        at += entry->data.len;
    }
    return to;
}

static enum weir_rc get_append_entries(const Weir__Raft__AppendEntries *from, struct raft_append_entries *to, struct weir_error *err)
{
    if (!is_term(from->term) || !is_place(from->prev_log_index, from->prev_log_term, from->term) || from->leader_commit >= number_max) {
        return wrong(err, "entries of no possible term or place");
    }
    enum weir_rc rc = check_entries(from, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    *to = (struct raft_append_entries){.term = from->term,
                                       .prev_log_index = from->prev_log_index,
                                       .prev_log_term = from->prev_log_term,
                                       .leader_commit = from->leader_commit,
                                       .entries = from->n_entries == 0 ? NULL : copy_entries(from),
                                       .n_entries = (unsigned)from->n_entries};
    return WEIR_OK;
}

static enum weir_rc get_append_entries_result(const Weir__Raft__AppendEntriesResult *from, struct raft_append_entries_result *to,
                                              struct weir_error *err)
{
    if (!is_term(from->term) || from->features > UINT16_MAX || from->capacity > UINT16_MAX) {
        return wrong(err, "an answer to entries of no possible term, features or capacity");
    }
    if (from->rejected >= number_max || (from->rejected > 0 && from->last_log_index >= from->rejected)) {
        return wrong(err, "a rejection of an entry that its sender has");
    }
    *to = (struct raft_append_entries_result){.version = APPEND_RESULT_VERSION,
                                              .term = from->term,
                                              .rejected = from->rejected,
                                              .last_log_index = from->last_log_index,
                                              .features = (unsigned short)from->features,
                                              .capacity = (unsigned short)from->capacity};
    return WEIR_OK;
}

static enum weir_rc get_install_snapshot(const Weir__Raft__InstallSnapshot *from, struct raft_install_snapshot *to, struct weir_error *err)
{
    if (!is_term(from->term) || from->last_index == 0 || !is_place(from->last_index, from->last_term, from->term) ||
        from->members_index == 0 || from->members_index > from->last_index) {
        return wrong(err, "a snapshot of no possible term or place");
    }
    struct weir_slice members = weir_slice(from->members.data, from->members.len);
    enum weir_rc rc = check_members(members, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    *to = (struct raft_install_snapshot){.term = from->term,
                                         .last_index = from->last_index,
                                         .last_term = from->last_term,
                                         .conf_index = from->members_index,
                                         .data = {.base = raft_malloc(from->data.len + 1), .len = from->data.len}};
    weir_assert(to->data.base != NULL);
    if (from->data.len > 0) {
        memcpy(to->data.base, from->data.data, from->data.len);
    }
    weir__raft_members_to_library(members, &to->conf);
    return WEIR_OK;
}

static enum weir_rc get_timeout_now(const Weir__Raft__TimeoutNow *from, struct raft_timeout_now *to, struct weir_error *err)
{
    if (!is_term(from->term) || !is_place(from->last_log_index, from->last_log_term, from->term)) {
        return wrong(err, "a handover of no possible term or log");
    }
    *to = (struct raft_timeout_now){.term = from->term, .last_log_index = from->last_log_index, .last_log_term = from->last_log_term};
    return WEIR_OK;
}

static enum weir_rc get_confirm(const Weir__Raft__Confirm *from, bool answer, struct weir_raft_confirm *to, struct weir_error *err)
{
    if (!is_term(from->term) || from->number == 0 || from->number >= number_max) {
        return wrong(err, "a question who leads of no possible term or number");
    }
    *to = (struct weir_raft_confirm){.answer = answer, .term = from->term, .number = from->number};
    return WEIR_OK;
}

static enum weir_rc get_body(const Weir__Raft__Message *from, uint64_t sender, struct raft_message *to, struct weir_raft_confirm *out_confirm,
                             struct weir_error *err)
{
    switch (from->body_case) {
    case WEIR__RAFT__MESSAGE__BODY_REQUEST_VOTE:
        to->type = RAFT_REQUEST_VOTE;
        return get_request_vote(from->request_vote, sender, &to->request_vote, err);
    case WEIR__RAFT__MESSAGE__BODY_REQUEST_VOTE_RESULT:
        to->type = RAFT_REQUEST_VOTE_RESULT;
        return get_request_vote_result(from->request_vote_result, &to->request_vote_result, err);
    case WEIR__RAFT__MESSAGE__BODY_APPEND_ENTRIES:
        to->type = RAFT_APPEND_ENTRIES;
        return get_append_entries(from->append_entries, &to->append_entries, err);
    case WEIR__RAFT__MESSAGE__BODY_APPEND_ENTRIES_RESULT:
        to->type = RAFT_APPEND_ENTRIES_RESULT;
        return get_append_entries_result(from->append_entries_result, &to->append_entries_result, err);
    case WEIR__RAFT__MESSAGE__BODY_INSTALL_SNAPSHOT:
        to->type = RAFT_INSTALL_SNAPSHOT;
        return get_install_snapshot(from->install_snapshot, &to->install_snapshot, err);
    case WEIR__RAFT__MESSAGE__BODY_TIMEOUT_NOW:
        to->type = RAFT_TIMEOUT_NOW;
        return get_timeout_now(from->timeout_now, &to->timeout_now, err);
    case WEIR__RAFT__MESSAGE__BODY_CONFIRM:
        return get_confirm(from->confirm, false, out_confirm, err);
    case WEIR__RAFT__MESSAGE__BODY_CONFIRMED:
        return get_confirm(from->confirmed, true, out_confirm, err);
    case WEIR__RAFT__MESSAGE__BODY__NOT_SET:
    case _WEIR__RAFT__MESSAGE__BODY__CASE_IS_INT_SIZE:
        break;
    }
    return wrong(err, "it is of no known type");
}

enum weir_rc weir_raft_message_decode(struct weir_slice bytes, uint64_t from, struct raft_message *out_message,
                                      struct weir_raft_confirm *out_confirm, struct weir_error *err)
{
    Weir__Raft__Message *message = NULL;
    struct weir_error why;
    if (from == 0) {
        return wrong(err, "its sender has no id");
    }
    if (weir_pb_decode(&weir__raft__message__descriptor, bytes, &message, &why) != WEIR_OK) {
        return wrong(err, why.text);
    }
    struct raft_message decoded = {.server_id = from, .server_address = "peer"}; /* compared as a string: never NULL */
    enum weir_rc rc = get_body(message, from, &decoded, out_confirm, err);
    weir_pb_free(message);
    if (rc == WEIR_OK) {
        *out_message = decoded;
    }
    return rc;
}

void weir_raft_message_drop(struct raft_message *message)
{
    if (message->type == RAFT_APPEND_ENTRIES && message->append_entries.n_entries > 0) {
        raft_free(message->append_entries.entries[0].batch);
        raft_free(message->append_entries.entries);
        message->append_entries.n_entries = 0;
    }
    if (message->type == RAFT_INSTALL_SNAPSHOT) {
        raft_configuration_close(&message->install_snapshot.conf);
        raft_free(message->install_snapshot.data.base);
        message->install_snapshot.data.base = NULL;
    }
}
