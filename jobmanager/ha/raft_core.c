#include "jobmanager/ha/raft_core.h"

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "jobmanager/ha/raft_codec.h"
#include "jobmanager/ha/raft_core_private.h"

enum { INSTALL_TIMEOUT_MS = 2000, MESSAGE_ENTRIES_BYTES_MAX = 64 << 20 };

/* Later versions give memory back otherwise. */
_Static_assert(RAFT_VERSION_NUMBER == 2201, "Weir is made for libraft 0.22.1 alone");

/* --- small views --------------------------------------------------------------------------------------------------------- */

static struct weir_slice buf_or_nothing(const struct weir_buf *buf)
{
    return weir_slice(buf->data, buf->len);
}

struct weir_raft_snapshot weir__raft_snapshot_view(const struct weir__raft_snapshot *snapshot)
{
    return (struct weir_raft_snapshot){.index = snapshot->index,
                                       .term = snapshot->term,
                                       .members_index = snapshot->members_index,
                                       .members = buf_or_nothing(&snapshot->members),
                                       .data = buf_or_nothing(&snapshot->data)};
}

static void snapshot_fini(struct weir__raft_snapshot *snapshot)
{
    weir_buf_fini(&snapshot->members);
    weir_buf_fini(&snapshot->data);
    *snapshot = (struct weir__raft_snapshot){0};
}

static void snapshot_fill(struct weir__raft_snapshot *to, const struct weir_raft_snapshot *from)
{
    snapshot_fini(to);
    to->index = from->index;
    to->term = from->term;
    to->members_index = from->members_index;
    weir_buf_put_slice(&to->members, from->members);
    weir_buf_put_slice(&to->data, from->data);
}

uint64_t weir__raft_term_at(const struct weir_raft_core *core, uint64_t index)
{
    const struct weir_raft_entry *entry = weir__raft_entries_at(&core->entries, index);
    if (entry != NULL) {
        return entry->term;
    }
    return index > 0 && index == core->durable.index ? core->durable.term : 0;
}

bool weir__raft_heard_lately(const struct weir_raft_core *core, uint64_t id)
{
    for (uint32_t i = 0; i < core->nheard; i++) {
        if (core->heard[i].id == id) {
            return core->now_ms - core->heard[i].at_ms < core->options.election_timeout_ms;
        }
    }
    return false;
}

bool weir__raft_is_sole_voter(const struct weir_raft_core *core)
{
    bool sole = false;
    for (uint32_t i = 0; i < core->members.count; i++) {
        if (core->members.items[i].role == WEIR_RAFT_VOTER) {
            if (core->members.items[i].id != core->options.id) {
                return false;
            }
            sole = true;
        }
    }
    return sole;
}

/* The members of the newest CHANGE in the log, or else of the snapshot. */
static void find_members(struct weir_raft_core *core)
{
    for (size_t i = core->entries.count; i > 0; i--) {
        if (core->entries.items[i - 1].kind == WEIR_RAFT_CHANGE) {
            core->members_index = core->entries.first + i - 1;
            weir__raft_members_load(&core->members, core->entries.items[i - 1].data);
            return;
        }
    }
    core->members_index = core->durable.members_index;
    weir__raft_members_load(&core->members, buf_or_nothing(&core->durable.members));
}

static void note_applied_members(struct weir_raft_core *core, uint64_t index, struct weir_slice encoded)
{
    core->applied_members_index = index;
    weir_buf_clear(&core->applied_members);
    weir_buf_put_slice(&core->applied_members, encoded);
}

/* --- what is told to the host ---------------------------------------------------------------------------------------------- */

static void tell_role(struct weir_raft_core *core)
{
    bool leading = weir__raft_is_leading(core);
    raft_id leader = 0;
    const char *address = NULL;
    if (leading) {
        leader = core->options.id;
    } else if (!core->failed) {
        raft_leader(&core->raft, &leader, &address);
    }
    uint64_t term = raft_current_term(&core->raft);
    if (leading == core->told_leading && leader == core->told_leader && (!leading || term == core->told_term)) {
        return;
    }
    if (leading && !core->told_leading) {
        core->nheard = 0;
    }
    core->told_leading = leading;
    core->told_leader = leader;
    core->told_term = term;
    core->options.host.role(core->options.host.ctx, leading, term, leader);
}

/* (R5) */
static void fail(struct weir_raft_core *core, const struct weir_error *err)
{
    if (core->failed) {
        return;
    }
    core->failed = true;
    tell_role(core);
    core->options.host.failed(core->options.host.ctx, err);
}

static void fail_by_library(struct weir_raft_core *core, const char *doing, int rv)
{
    struct weir_error err;
    (void)weir_error_set(&err, WEIR_STATE, "Raft failed while %s: %s: %s", doing, raft_strerror(rv), raft_errmsg(&core->raft));
    fail(core, &err);
}

/* --- handling of an update, in the order that the library's contract asks for ------------------------------------------------- */

/* (R1) */
static bool make_vote_durable(struct weir_raft_core *core, uint64_t term, uint64_t voted_for)
{
    struct weir_error err;
    enum weir_rc rc = core->options.host.vote(core->options.host.ctx, term, voted_for, &err);
    if (rc != WEIR_OK) {
        fail(core, &err);
    }
    return rc == WEIR_OK;
}

static void drop_update(struct raft_update *update)
{
    if ((update->flags & RAFT_UPDATE_ENTRIES) != 0) {
        raft_free(update->entries.batch[0].batch);
    }
    if ((update->flags & RAFT_UPDATE_SNAPSHOT) != 0) {
        raft_configuration_close(&update->snapshot.metadata.configuration);
        raft_free(update->snapshot.chunk.base);
    }
}

static void take_entries(struct weir_raft_core *core, const struct raft_update *update)
{
    bool members_change = core->members_index >= update->entries.index;
    core->generation++;
    weir__raft_entries_cut(&core->entries, update->entries.index);
    weir_assert(weir__raft_entries_last(&core->entries) + 1 == update->entries.index);
    for (unsigned i = 0; i < update->entries.n; i++) {
        const struct raft_entry *from = &update->entries.batch[i];
        struct weir_raft_entry entry = {.term = from->term,
                                        .kind = (enum weir_raft_entry_kind)from->type,
                                        .data = weir_slice(from->buf.base, from->buf.len)};
        weir__raft_entries_add(&core->entries, &entry, core->generation);
        members_change = members_change || entry.kind == WEIR_RAFT_CHANGE;
    }
    raft_free(update->entries.batch[0].batch);
    if (members_change) {
        find_members(core);
    }
}

/* A leader's snapshot replaces the log; one that is being taken is forgotten, since the library no longer has its last entry. */
static void begin_install(struct weir_raft_core *core, struct raft_update *update)
{
    struct raft_snapshot_metadata *metadata = &update->snapshot.metadata;
    struct weir_buf members = {0};
    struct weir_raft_member items[WEIR_RAFT_MEMBERS_MAX];
    weir_assert(metadata->configuration.n <= WEIR_RAFT_MEMBERS_MAX);
    for (unsigned i = 0; i < metadata->configuration.n; i++) {
        const struct raft_server *server = &metadata->configuration.servers[i];
        items[i] = (struct weir_raft_member){.id = server->id,
                                             .address = server->address,
                                             .role = server->role == RAFT_VOTER ? WEIR_RAFT_VOTER : WEIR_RAFT_LEARNER};
    }
    weir_raft_members_encode(items, metadata->configuration.n, &members);
    struct weir_raft_snapshot snapshot = {.index = metadata->index,
                                          .term = metadata->term,
                                          .members_index = metadata->configuration_index,
                                          .members = weir_buf_slice(&members),
                                          .data = weir_slice(update->snapshot.chunk.base, update->snapshot.chunk.len)};
    snapshot_fill(&core->pending, &snapshot);
    weir_buf_fini(&members);
    raft_free(update->snapshot.chunk.base);
    core->installing_members = metadata->configuration;
    core->taking = false;
    core->installing = true;
    weir__raft_entries_cut(&core->entries, 0);
    core->entries.first = metadata->index + 1;
}

/* As many entries as a message can carry; what is left is sent again when it is missed. */
static unsigned fitting(const struct weir_raft_entry *entries, unsigned count)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < count; i++) {
        bytes += entries[i].data.len;
        if (i > 0 && bytes > MESSAGE_ENTRIES_BYTES_MAX) {
            return i;
        }
    }
    return count;
}

static void send_message(struct weir_raft_core *core, struct raft_message *message)
{
    const struct weir_raft_entry *entries = NULL;
    struct weir_raft_snapshot snapshot = weir__raft_snapshot_view(&core->durable);
    weir__raft_fix_outgoing(core, message);
    if (message->type == RAFT_APPEND_ENTRIES && message->append_entries.n_entries > 0) {
        struct raft_append_entries *append = &message->append_entries;
        entries = weir__raft_entries_at(&core->entries, append->prev_log_index + 1);
        weir_assert(entries != NULL);
        weir_assert(append->prev_log_index + append->n_entries <= weir__raft_entries_last(&core->entries));
        append->n_entries = fitting(entries, append->n_entries);
    }
    weir_assert(message->type != RAFT_INSTALL_SNAPSHOT || snapshot.index > 0);
    weir_buf_clear(&core->message);
    weir_raft_message_encode(message, entries, &snapshot, &core->message);
    core->options.host.send(core->options.host.ctx, message->server_id, weir_buf_slice(&core->message));
}

static void handle_update(struct weir_raft_core *core, struct raft_update *update)
{
    const struct weir_raft_host *host = &core->options.host;
    if ((update->flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR)) != 0 &&
        !make_vote_durable(core, raft_current_term(&core->raft), raft_voted_for(&core->raft))) {
        drop_update(update);
        return;
    }
    uint64_t first = update->entries.index;
    if ((update->flags & RAFT_UPDATE_ENTRIES) != 0) {
        take_entries(core, update);
    }
    if ((update->flags & RAFT_UPDATE_SNAPSHOT) != 0) {
        begin_install(core, update);
    }
    for (unsigned i = 0; (update->flags & RAFT_UPDATE_MESSAGES) != 0 && i < update->messages.n; i++) {
        send_message(core, &update->messages.batch[i]);
    }
    /* Behind the messages: a leader may write while it replicates, and a follower answers only when the write is durable. */
    if ((update->flags & RAFT_UPDATE_ENTRIES) != 0) {
        host->append(host->ctx, core->generation, first, weir__raft_entries_at(&core->entries, first), update->entries.n);
    }
    if ((update->flags & RAFT_UPDATE_SNAPSHOT) != 0) {
        struct weir_raft_snapshot snapshot = weir__raft_snapshot_view(&core->pending);
        host->snapshot(host->ctx, &snapshot, true, 0);
    }
    weir_assert(raft_last_index(&core->raft) == weir__raft_entries_last(&core->entries));
    tell_role(core);
}

/* Returns the library's code; its update is handled when that is 0. */
static int step(struct weir_raft_core *core, struct raft_event *event)
{
    struct raft_update update = {0};
    event->time = (raft_time)core->now_ms;
    event->capacity = 0;
    int rv = raft_step(&core->raft, event, &update);
    if (rv == 0) {
        handle_update(core, &update);
    }
    return rv;
}

static void step_or_fail(struct weir_raft_core *core, struct raft_event *event, const char *doing)
{
    int rv = core->failed ? 0 : step(core, event);
    if (rv != 0) {
        fail_by_library(core, doing, rv);
    }
}

/* The library wants to be told of each CHANGE that is committed. */
static void step_configuration(struct weir_raft_core *core, uint64_t index)
{
    const struct weir_raft_entry *entry = weir__raft_entries_at(&core->entries, index);
    struct raft_event event = {.type = RAFT_CONFIGURATION};
    weir_assert(entry != NULL && entry->kind == WEIR_RAFT_CHANGE);
    event.configuration.index = index;
    weir__raft_members_to_library(entry->data, &event.configuration.conf);
    step_or_fail(core, &event, "noting a change of members");
}

/* (R2). The commit index may be ahead of what is here. */
static void apply_committed(struct weir_raft_core *core)
{
    while (!core->failed && !core->installing && core->applied < raft_commit_index(&core->raft)) {
        const struct weir_raft_entry *entry = weir__raft_entries_at(&core->entries, core->applied + 1);
        if (entry == NULL) {
            return;
        }
        core->applied++;
        switch (entry->kind) {
        case WEIR_RAFT_COMMAND:
            core->options.host.apply(core->options.host.ctx, core->applied, entry->term, entry->data);
            break;
        case WEIR_RAFT_BARRIER:
            break;
        case WEIR_RAFT_CHANGE:
            note_applied_members(core, core->applied, entry->data);
            step_configuration(core, core->applied);
            break;
        }
    }
}

/* --- founding, creation ------------------------------------------------------------------------------------------------------ */

void weir_raft_core_found(const struct weir_raft_member *members, uint32_t count, struct weir_buf *out_change)
{
    weir_raft_members_encode(members, count, out_change);
}

/* The library that is loaded has put its defaults where the header of 0.22.1 has them: it does not export raft_version_number(). */
static bool is_expected_library(const struct raft *raft)
{
    return raft->election_timeout == 1000 && raft->heartbeat_timeout == 100 && raft->install_snapshot_timeout == 30000 &&
           raft->max_catch_up_rounds == 10 && raft->max_inflight_entries == 32 && raft->state == RAFT_FOLLOWER && raft->io == NULL;
}

static enum weir_rc init_library(struct weir_raft_core *core, struct weir_error *err)
{
    const struct weir_raft_core_options *options = &core->options;
    int rv = raft_init(&core->raft, NULL, NULL, options->id, "self"); /* no raft_io, no raft_fsm: only raft_step() */
    if (rv != 0) {
        return weir_error_set(err, WEIR_RESOURCE, "raft_init: %s", raft_strerror(rv));
    }
    if (!is_expected_library(&core->raft)) {
        return weir_error_set(err, WEIR_UNSUPPORTED, "the library libraft.so.0 is not 0.22.1, for which alone Weir is made");
    }
    core->raft.tracer = NULL; /* the default formats a text at each step, in memory that all threads share */
    raft_seed(&core->raft, (unsigned)weir_hash_u64(options->seed, options->id));
    raft_set_heartbeat_timeout(&core->raft, options->heartbeat_ms);
    raft_set_election_timeout(&core->raft, options->election_timeout_ms);
    raft_set_install_snapshot_timeout(&core->raft, options->install_timeout_ms == 0 ? INSTALL_TIMEOUT_MS : options->install_timeout_ms);
    raft_set_pre_vote(&core->raft, options->pre_vote);
    raft_set_capacity_threshold(&core->raft, 0);
    if (options->inflight_max > 0) {
        raft_set_max_inflight_entries(&core->raft, options->inflight_max < WEIR_RAFT_ENTRIES_PER_MESSAGE_MAX
                                                       ? options->inflight_max
                                                       : WEIR_RAFT_ENTRIES_PER_MESSAGE_MAX);
    }
    return WEIR_OK;
}

static void copy_boot(struct weir_raft_core *core, const struct weir_raft_boot *boot)
{
    core->boot_term = boot->term;
    core->boot_vote = boot->voted_for;
    if (boot->snapshot != NULL) {
        snapshot_fill(&core->durable, boot->snapshot);
        core->applied = boot->snapshot->index;
        note_applied_members(core, boot->snapshot->members_index, boot->snapshot->members);
    }
    core->entries.first = boot->count > 0 ? boot->first : core->durable.index + 1;
    for (uint32_t i = 0; i < boot->count; i++) {
        weir__raft_entries_add(&core->entries, &boot->entries[i], 0);
    }
    find_members(core);
}

enum weir_rc weir_raft_core_create(const struct weir_raft_core_options *options, const struct weir_raft_boot *boot, int64_t now_ms,
                                   struct weir_raft_core **out_core, struct weir_error *err)
{
    weir_assert(options->id != 0);
    weir_assert(options->heartbeat_ms > 0 && options->heartbeat_ms < options->election_timeout_ms);
    enum weir_rc rc = weir__raft_boot_check(boot, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct weir_raft_core *core = weir_calloc(1, sizeof(*core));
    core->options = *options;
    core->now_ms = now_ms;
    rc = init_library(core, err);
    if (rc != WEIR_OK) {
        weir_free(core);
        return rc;
    }
    copy_boot(core, boot);
    if (core->durable.index > 0) {
        rc = options->host.restore(options->host.ctx, buf_or_nothing(&core->durable.data), err);
    }
    if (rc != WEIR_OK) {
        weir_raft_core_destroy(core);
        return rc;
    }
    *out_core = core;
    return WEIR_OK;
}

void weir_raft_core_destroy(struct weir_raft_core *core)
{
    if (core == NULL) {
        return;
    }
    raft_close(&core->raft, NULL); /* without raft_io this is complete at once */
    if (core->installing) {
        raft_configuration_close(&core->installing_members);
    }
    weir__raft_entries_fini(&core->entries);
    weir__raft_members_fini(&core->members);
    snapshot_fini(&core->durable);
    snapshot_fini(&core->pending);
    weir_buf_fini(&core->applied_members);
    weir_buf_fini(&core->message);
    weir_free(core);
}

/* --- start ---------------------------------------------------------------------------------------------------------------------- */

/* A new term, ours: what an election would do (see workaround 6). */
static bool take_sole_term(struct weir_raft_core *core, uint64_t term)
{
    return make_vote_durable(core, term, core->options.id);
}

/* At the first event, since the host may only be called inside one. */
static void start(struct weir_raft_core *core)
{
    struct raft_snapshot_metadata metadata;
    struct raft_event event = {.type = RAFT_START};
    if (weir__raft_wants_sole_term(core)) {
        if (!take_sole_term(core, core->boot_term + 1)) {
            return;
        }
        core->boot_term++;
        core->boot_vote = core->options.id;
    }
    core->started = true;
    event.start.term = core->boot_term;
    event.start.voted_for = core->boot_vote;
    event.start.start_index = core->entries.first;
    if (core->durable.index > 0) {
        metadata.index = core->durable.index;
        metadata.term = core->durable.term;
        metadata.configuration_index = core->durable.members_index;
        weir__raft_members_to_library(buf_or_nothing(&core->durable.members), &metadata.configuration);
        event.start.metadata = &metadata; /* the library keeps its configuration */
    }
    struct raft_entry *entries = weir__raft_entries_to_library(&core->entries);
    event.start.entries = entries;
    event.start.n_entries = (unsigned)core->entries.count;
    int rv = step(core, &event);
    if (rv != 0) { /* the library has freed the entries */
        fail_by_library(core, "starting", rv);
    } else if (entries != NULL) {
        raft_free(entries[0].batch);
        raft_free(entries);
    }
    apply_committed(core);
}

/* Every event begins with this; false when there is nothing more to be done here. */
static bool begin_event(struct weir_raft_core *core, int64_t now_ms)
{
    if (now_ms > core->now_ms) {
        core->now_ms = now_ms;
    }
    if (!core->failed && !core->started) {
        start(core);
    }
    return !core->failed;
}

static enum weir_rc refuse_failed(struct weir_error *err)
{
    return weir_error_set(err, WEIR_REFUSED, "this member has failed; its process must start anew");
}

static enum weir_rc refuse_not_leading(const struct weir_raft_core *core, struct weir_error *err)
{
    return weir_error_set(err, WEIR_REFUSED, "member %lu does not lead", (unsigned long)core->options.id);
}

/* --- messages ------------------------------------------------------------------------------------------------------------------- */

static void note_heard(struct weir_raft_core *core, uint64_t from)
{
    uint32_t oldest = 0;
    for (uint32_t i = 0; i < core->nheard; i++) {
        if (core->heard[i].id == from) {
            core->heard[i].at_ms = core->now_ms;
            return;
        }
        oldest = core->heard[i].at_ms < core->heard[oldest].at_ms ? i : oldest;
    }
    uint32_t at = core->nheard < WEIR__RAFT_HEARD_MAX ? core->nheard++ : oldest;
    core->heard[at] = (struct weir__raft_heard){.id = from, .at_ms = core->now_ms};
}

/* What cannot be, however it is formed. */
static enum weir_rc check_message(const struct weir_raft_core *core, const struct raft_message *message, struct weir_error *err)
{
    raft_term leads = weir__raft_is_leading(core) ? raft_current_term(&core->raft) : 0;
    if (message->server_id == core->options.id) {
        return weir_error_set(err, WEIR_INVALID, "a message of member %lu to itself", (unsigned long)core->options.id);
    }
    if (leads > 0 && ((message->type == RAFT_APPEND_ENTRIES && message->append_entries.term == leads) ||
                      (message->type == RAFT_INSTALL_SNAPSHOT && message->install_snapshot.term == leads))) {
        return weir_error_set(err, WEIR_INVALID, "member %lu says that it leads term %lu, as this one does", (unsigned long)message->server_id,
                              (unsigned long)leads);
    }
    return WEIR_OK;
}

/* The entries' batch becomes the library's in any case, what else the message has when it takes it; the array stays ours. */
static void step_message(struct weir_raft_core *core, struct raft_message *message)
{
    raft_term term = raft_current_term(&core->raft);
    struct raft_event event = {.type = RAFT_RECEIVE};
    core->stale_request = (message->type == RAFT_APPEND_ENTRIES && message->append_entries.term < term) ||
                          (message->type == RAFT_INSTALL_SNAPSHOT && message->install_snapshot.term < term);
    event.receive.message = message;
    step_or_fail(core, &event, "taking in a message");
    core->stale_request = false;
    if (message->type == RAFT_APPEND_ENTRIES && message->append_entries.n_entries > 0) {
        raft_free(message->append_entries.entries);
    }
}

static void step_parts(struct weir_raft_core *core, struct raft_message *message)
{
    struct raft_message part;
    while (weir__raft_next_part(core, message, &part)) {
        uint64_t proved = core->failed ? 0 : weir__raft_proved_change(core, &part);
        if (proved != 0) {
            step_configuration(core, proved);
        }
        if (core->failed) {
            weir_raft_message_drop(&part);
        } else {
            step_message(core, &part);
        }
    }
}

/* See workaround 7. */
static void vote_as_learner(struct weir_raft_core *core, const struct raft_message *message)
{
    const struct raft_request_vote *request = &message->request_vote;
    bool durable = false;
    bool granted = weir__raft_vote_as_learner(core, request, &durable);
    if (durable && !make_vote_durable(core, raft_current_term(&core->raft), raft_voted_for(&core->raft))) {
        return;
    }
    struct raft_message answer = {.type = RAFT_REQUEST_VOTE_RESULT,
                                  .server_id = message->server_id,
                                  .request_vote_result = {.term = request->term, .vote_granted = granted, .pre_vote = request->pre_vote}};
    send_message(core, &answer);
    tell_role(core);
}

enum weir_rc weir_raft_core_receive(struct weir_raft_core *core, uint64_t from, struct weir_slice message, int64_t now_ms,
                                    struct weir_error *err)
{
    struct raft_message decoded;
    struct weir_raft_confirm confirm;
    enum weir_rc rc = weir_raft_message_decode(message, from, &decoded, &confirm, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    if (!begin_event(core, now_ms)) {
        weir_raft_message_drop(&decoded);
        return WEIR_OK;
    }
    if (decoded.type == (enum raft_message_type)0) {
        weir__raft_confirm_receive(core, from, &confirm);
        return WEIR_OK;
    }
    rc = check_message(core, &decoded, err);
    bool unwanted = (decoded.type == RAFT_INSTALL_SNAPSHOT && core->installing) /* the library would lose its memory */ ||
                    (decoded.type == RAFT_TIMEOUT_NOW && weir__raft_wants_sole_term(core)) /* see workaround 6 */;
    if (rc != WEIR_OK || unwanted) {
        weir_raft_message_drop(&decoded);
        return rc;
    }
    if (weir__raft_votes_as_learner(core, &decoded)) {
        vote_as_learner(core, &decoded);
        return WEIR_OK;
    }
    note_heard(core, from);
    weir__raft_fix_incoming(core, &decoded);
    step_parts(core, &decoded);
    apply_committed(core);
    return WEIR_OK;
}

/* --- proposals -------------------------------------------------------------------------------------------------------------------- */

static enum weir_rc submit(struct weir_raft_core *core, enum weir_raft_entry_kind kind, const struct weir_slice *data, uint32_t count,
                           uint64_t *out_first_index, struct weir_error *err)
{
    struct weir__raft_entries entries = {.first = 1};
    for (uint32_t i = 0; i < count; i++) {
        struct weir_raft_entry entry = {.term = raft_current_term(&core->raft), .kind = kind, .data = data[i]};
        weir__raft_entries_add(&entries, &entry, 0);
    }
    struct raft_event event = {.type = RAFT_SUBMIT};
    uint64_t first = raft_last_index(&core->raft) + 1;
    event.submit.entries = weir__raft_entries_to_library(&entries);
    event.submit.n = count;
    struct raft_entry *array = event.submit.entries;
    void *batch = array[0].batch;
    weir__raft_entries_fini(&entries);
    int rv = step(core, &event);
    raft_free(array);
    if (rv == 0) {
        *out_first_index = first;
        apply_committed(core);
        return WEIR_OK;
    }
    raft_free(batch);
    if (rv == RAFT_NOTLEADER) {
        return weir_error_set(err, WEIR_REFUSED, "member %lu is handing its leadership over", (unsigned long)core->options.id);
    }
    if (rv == RAFT_CANTCHANGE) {
        return weir_error_set(err, WEIR_AGAIN, "a change of members is under way");
    }
    fail_by_library(core, "taking in entries", rv);
    return refuse_failed(err);
}

enum weir_rc weir_raft_core_submit(struct weir_raft_core *core, const struct weir_slice *commands, uint32_t count, int64_t now_ms,
                                   uint64_t *out_first_index, struct weir_error *err)
{
    weir_assert(count > 0);
    for (uint32_t i = 0; i < count; i++) {
        weir_assert(commands[i].len <= WEIR_RAFT_ENTRY_BYTES_MAX);
    }
    if (!begin_event(core, now_ms)) {
        return refuse_failed(err);
    }
    return weir__raft_is_leading(core) ? submit(core, WEIR_RAFT_COMMAND, commands, count, out_first_index, err) : refuse_not_leading(core, err);
}

/* A leader that has committed nothing in its term may not know of a change that is committed, and two such may each count half of the
 * members (the known gap in single-server changes): so an entry of its own term comes first. False: it is not committed yet. */
static bool has_committed_in_term(struct weir_raft_core *core)
{
    uint64_t term = raft_current_term(&core->raft);
    if ((core->off & WEIR__RAFT_NO_TERM_COMMITTED) != 0 || weir__raft_term_at(core, raft_commit_index(&core->raft)) == term) {
        return true;
    }
    if (weir__raft_term_at(core, raft_last_index(&core->raft)) != term) {
        struct weir_error err;
        uint64_t index = 0;
        struct weir_slice nothing = weir_slice("\0\0\0\0\0\0\0", 8); /* as the library's own barrier */
        (void)!submit(core, WEIR_RAFT_BARRIER, &nothing, 1, &index, &err);
    }
    return false;
}

static enum weir_rc encode_change(const struct weir_raft_core *core, const struct weir_raft_member *members, uint32_t count,
                                  struct weir_buf *out, struct weir_error *err)
{
    if (count == 0 || count > WEIR_RAFT_MEMBERS_MAX) {
        return weir_error_set(err, WEIR_INVALID, "%u members; 1 to %d", count, WEIR_RAFT_MEMBERS_MAX);
    }
    weir_raft_members_encode(members, count, out);
    if (weir__raft_members_check(weir_buf_slice(out), err) != WEIR_OK) {
        err->rc = WEIR_INVALID;
        return WEIR_INVALID;
    }
    return weir__raft_members_check_step(&core->members, members, count, err);
}

/* Until such a change is committed only this one could lead, and the library lets nobody be elected who is no voter by his own log. */
static bool keeps_vote(const struct weir_raft_core *core, const struct weir_raft_member *members, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (members[i].id == core->options.id) {
            return members[i].role == WEIR_RAFT_VOTER;
        }
    }
    return false;
}

enum weir_rc weir_raft_core_change(struct weir_raft_core *core, const struct weir_raft_member *members, uint32_t count, int64_t now_ms,
                                   uint64_t *out_index, struct weir_error *err)
{
    struct weir_buf encoded = {0};
    if (!begin_event(core, now_ms)) {
        return refuse_failed(err);
    }
    if (!weir__raft_is_leading(core)) {
        return refuse_not_leading(core, err);
    }
    enum weir_rc rc = encode_change(core, members, count, &encoded, err);
    if (rc == WEIR_OK && !keeps_vote(core, members, count)) {
        rc = weir_error_set(err, WEIR_REFUSED, "a leader cannot remove or demote itself: it must hand its leadership over before");
    }
    if (rc == WEIR_OK && core->raft.configuration_uncommitted_index != 0) {
        rc = weir_error_set(err, WEIR_AGAIN, "a change of members is under way");
    }
    if (rc == WEIR_OK && !has_committed_in_term(core)) {
        rc = weir_error_set(err, WEIR_AGAIN, "the leader has not committed anything yet");
    }
    if (rc == WEIR_OK) {
        struct weir_slice data = weir_buf_slice(&encoded);
        rc = submit(core, WEIR_RAFT_CHANGE, &data, 1, out_index, err);
    }
    weir_buf_fini(&encoded);
    return rc;
}

/* --- transfer ------------------------------------------------------------------------------------------------------------------------ */

/* The voter with the longest log of those that are there; 0: none. */
static uint64_t choose_heir(const struct weir_raft_core *core)
{
    uint64_t heir = 0;
    raft_index best = 0;
    for (uint32_t i = 0; i < core->members.count; i++) {
        const struct weir_raft_member *member = &core->members.items[i];
        raft_index match = 0;
        if (member->id != core->options.id && member->role == WEIR_RAFT_VOTER && weir__raft_heard_lately(core, member->id) &&
            raft_match_index(&core->raft, member->id, &match) == 0 && (heir == 0 || match > best)) {
            heir = member->id;
            best = match;
        }
    }
    return heir;
}

enum weir_rc weir_raft_core_transfer(struct weir_raft_core *core, uint64_t to, int64_t now_ms, struct weir_error *err)
{
    if (!begin_event(core, now_ms)) {
        return refuse_failed(err);
    }
    if (!weir__raft_is_leading(core)) {
        return refuse_not_leading(core, err);
    }
    uint64_t heir = to == 0 ? choose_heir(core) : to;
    if (heir == 0) {
        return weir_error_set(err, WEIR_REFUSED, "there is no other voter to hand leadership to");
    }
    struct raft_event event = {.type = RAFT_TRANSFER};
    event.transfer.server_id = heir;
    int rv = step(core, &event);
    if (rv == RAFT_NOMEM) {
        fail_by_library(core, "handing leadership over", rv);
    }
    return rv == 0 ? WEIR_OK
                   : weir_error_set(err, WEIR_REFUSED, "leadership cannot be handed to member %lu: %s", (unsigned long)heir,
                                    rv == RAFT_NOTLEADER ? "it is being handed over already" : "it is no other voter");
}

/* --- whether it still leads ------------------------------------------------------------------------------------------------------------ */

uint64_t weir_raft_core_confirm(struct weir_raft_core *core, int64_t now_ms)
{
    (void)begin_event(core, now_ms);
    weir__raft_confirm_begin(core);
    return core->confirms.wanted;
}

/* --- the disk ------------------------------------------------------------------------------------------------------------------------ */

void weir_raft_core_persisted(struct weir_raft_core *core, uint64_t generation, int64_t now_ms)
{
    weir_assert(generation <= core->generation);
    if (!begin_event(core, now_ms) || core->installing) {
        return;
    }
    /* By generation, not by term: a term can go from A to B and to A again at one index. */
    uint64_t last = weir__raft_entries_written(&core->entries, generation);
    if (last > core->raft.last_stored) {
        struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES};
        event.persisted_entries.index = last;
        step_or_fail(core, &event, "noting a write");
        apply_committed(core);
    }
}

static void finish_install(struct weir_raft_core *core)
{
    struct weir_error err;
    struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT};
    event.persisted_snapshot.metadata = (struct raft_snapshot_metadata){.index = core->pending.index,
                                                                        .term = core->pending.term,
                                                                        .configuration = core->installing_members,
                                                                        .configuration_index = core->pending.members_index};
    event.persisted_snapshot.last = true;
    if (core->options.host.restore(core->options.host.ctx, buf_or_nothing(&core->pending.data), &err) != WEIR_OK) {
        fail(core, &err);
        return;
    }
    snapshot_fini(&core->durable);
    core->durable = core->pending;
    core->pending = (struct weir__raft_snapshot){0};
    core->installing = false;
    core->installing_members = (struct raft_configuration){0};
    core->applied = core->durable.index;
    note_applied_members(core, core->durable.members_index, buf_or_nothing(&core->durable.members));
    find_members(core);
    step_or_fail(core, &event, "noting an installed snapshot");
}

static void finish_take(struct weir_raft_core *core)
{
    struct raft_event event = {.type = RAFT_SNAPSHOT};
    event.snapshot.metadata = (struct raft_snapshot_metadata){
        .index = core->pending.index, .term = core->pending.term, .configuration_index = core->pending.members_index};
    event.snapshot.trailing = (unsigned)core->trailing;
    weir__raft_members_to_library(buf_or_nothing(&core->pending.members), &event.snapshot.metadata.configuration);
    snapshot_fini(&core->durable);
    core->durable = core->pending;
    core->pending = (struct weir__raft_snapshot){0};
    core->taking = false;
    weir__raft_entries_drop(&core->entries, core->pending_drop);
    step_or_fail(core, &event, "noting a snapshot");
}

void weir_raft_core_snapshot_written(struct weir_raft_core *core, int64_t now_ms)
{
    if (!begin_event(core, now_ms)) {
        return;
    }
    weir_assert(core->taking || core->installing);
    if (core->installing) {
        finish_install(core);
    } else {
        finish_take(core);
    }
    apply_committed(core);
}

enum weir_rc weir_raft_core_compact(struct weir_raft_core *core, uint64_t trailing, int64_t now_ms, struct weir_error *err)
{
    if (!begin_event(core, now_ms)) {
        return refuse_failed(err);
    }
    const struct weir_raft_entry *entry = weir__raft_entries_at(&core->entries, core->applied);
    if (core->taking || core->installing) {
        return weir_error_set(err, WEIR_AGAIN, "a snapshot is being written");
    }
    if (entry == NULL || core->applied <= core->durable.index || core->applied > core->raft.last_stored || core->applied_members_index == 0) {
        return weir_error_set(err, WEIR_AGAIN, "nothing that is both applied and on the disk is newer than the snapshot");
    }
    snapshot_fini(&core->pending);
    core->pending.index = core->applied;
    core->pending.term = entry->term;
    core->pending.members_index = core->applied_members_index;
    weir_buf_put_slice(&core->pending.members, weir_buf_slice(&core->applied_members));
    core->options.host.take(core->options.host.ctx, &core->pending.data);
    core->trailing = trailing < UINT32_MAX ? trailing : UINT32_MAX;
    /* Exactly what the library forgets then. */
    uint64_t drop = core->applied > core->trailing ? core->applied - core->trailing : 0;
    core->pending_drop = weir__raft_entries_at(&core->entries, drop) == NULL ? 0 : drop;
    core->taking = true;
    struct weir_raft_snapshot snapshot = weir__raft_snapshot_view(&core->pending);
    core->options.host.snapshot(core->options.host.ctx, &snapshot, false, core->pending_drop);
    return WEIR_OK;
}

void weir_raft_core_fail(struct weir_raft_core *core, const struct weir_error *err)
{
    fail(core, err);
}

/* --- time ------------------------------------------------------------------------------------------------------------------------------ */

void weir_raft_core_tick(struct weir_raft_core *core, int64_t now_ms)
{
    bool was_started = core->started;
    if (!begin_event(core, now_ms) || (!was_started && core->now_ms < (int64_t)raft_timeout(&core->raft))) {
        return;
    }
    bool due = (raft_time)core->now_ms >= raft_timeout(&core->raft);
    bool settled = !core->installing && core->raft.last_stored >= raft_last_index(&core->raft);
    if (due && settled && weir__raft_wants_sole_term(core)) { /* what an election would do */
        uint64_t term = raft_current_term(&core->raft) + 1;
        if (!take_sole_term(core, term)) {
            return;
        }
        core->raft.current_term = term;
        core->raft.voted_for = core->options.id;
        core->raft.follower_state.match = 0;
    }
    struct raft_event event = {.type = RAFT_TIMEOUT};
    step_or_fail(core, &event, "looking at the time");
    apply_committed(core);
    weir__raft_confirm_tick(core);
}

int64_t weir_raft_core_deadline_ms(const struct weir_raft_core *core)
{
    if (core->failed) {
        return INT64_MAX;
    }
    raft_time due = core->started ? raft_timeout(&core->raft) : 0;
    /* While a member is out of reach it stays in the past. */
    if (due <= (raft_time)core->now_ms) {
        return core->now_ms + 1;
    }
    return due >= (raft_time)INT64_MAX ? INT64_MAX - 1 : (int64_t)due;
}

/* --- views ------------------------------------------------------------------------------------------------------------------------------- */

void weir_raft_core_view(const struct weir_raft_core *core, struct weir_raft_core_view *out_view)
{
    *out_view = (struct weir_raft_core_view){.leading = weir__raft_is_leading(core),
                                             .failed = core->failed,
                                             .term = core->started ? raft_current_term(&core->raft) : core->boot_term,
                                             .leader = core->told_leader,
                                             .last_index = weir__raft_entries_last(&core->entries),
                                             .last_term = weir__raft_term_at(core, weir__raft_entries_last(&core->entries)),
                                             .commit_index = core->started ? raft_commit_index(&core->raft) : core->applied,
                                             .applied_index = core->applied,
                                             .snapshot_index = core->durable.index,
                                             .confirmed = core->confirms.confirmed,
                                             .first_index = core->entries.first};
}

struct weir_raft_entry weir_raft_core_entry(const struct weir_raft_core *core, uint64_t index)
{
    const struct weir_raft_entry *entry = weir__raft_entries_at(&core->entries, index);
    weir_assert(entry != NULL);
    return *entry;
}

uint32_t weir_raft_core_members(const struct weir_raft_core *core, const struct weir_raft_member **out_members)
{
    *out_members = core->members.items;
    return core->members.count;
}

enum weir_rc weir_raft_core_progress(const struct weir_raft_core *core, uint64_t id, uint64_t *out_match_index, int64_t *out_heard_ms)
{
    raft_index match = 0;
    if (!weir__raft_is_leading(core) || raft_match_index(&core->raft, id, &match) != 0) {
        return WEIR_NOT_FOUND;
    }
    int64_t heard_ms = id == core->options.id ? core->now_ms : INT64_MIN;
    for (uint32_t i = 0; i < core->nheard; i++) {
        heard_ms = core->heard[i].id == id ? core->heard[i].at_ms : heard_ms;
    }
    *out_match_index = match;
    *out_heard_ms = heard_ms;
    return WEIR_OK;
}
