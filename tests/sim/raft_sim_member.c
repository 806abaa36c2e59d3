#include "tests/sim/raft_sim_internal.h"

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

enum { ELECTION_MS = 400, HEARTBEAT_MS = 40, STALL_MS = 300, SNAPSHOT_BYTES = 16 };

/* --- logs ------------------------------------------------------------------------------------------------------------------ */

const struct weir_raft_item *weir__sim_log_at(const struct weir__sim_log *log, uint64_t index)
{
    return index < log->first || index - log->first >= log->count ? NULL : log->items[index - log->first];
}

static uint64_t log_last(const struct weir__sim_log *log)
{
    return log->first + log->count - 1;
}

static uint64_t log_last_chain(const struct weir__sim_log *log)
{
    return log->count == 0 ? log->chain_before : log->items[log->count - 1]->chain;
}

static void log_cut(struct weir__sim_log *log, uint64_t from)
{
    if (from <= log_last(log)) {
        log->count = from > log->first ? from - log->first : 0;
    }
}

static void log_add(struct weir__sim_log *log, const struct weir_raft_item *item)
{
    log->items = weir_vec_grow(log->items, &log->cap, sizeof(*log->items), log->count + 1);
    log->items[log->count++] = item;
}

static void log_drop(struct weir__sim_log *log, uint64_t through)
{
    const struct weir_raft_item *last = weir__sim_log_at(log, through);
    if (last != NULL) {
        size_t n = through - log->first + 1;
        log->chain_before = last->chain;
        log->count -= n;
        log->first += n;
        memmove(log->items, log->items + n, log->count * sizeof(*log->items));
    }
}

static void log_begin(struct weir__sim_log *log, uint64_t first, uint64_t chain_before)
{
    log->count = 0;
    log->first = first;
    log->chain_before = chain_before;
}

static void snapshot_fini(struct weir__sim_snapshot *snapshot)
{
    weir_buf_fini(&snapshot->members);
    weir_buf_fini(&snapshot->data);
    *snapshot = (struct weir__sim_snapshot){0};
}

static uint64_t snapshot_chain(const struct weir__sim_snapshot *snapshot)
{
    return snapshot->data.len == SNAPSHOT_BYTES ? weir_le_get_u64(snapshot->data.data + 8) : 0;
}

/* --- the disk --------------------------------------------------------------------------------------------------------------- */

static bool sabotages(const struct weir__sim_member *member, enum weir_raft_sim_sabotage sabotage)
{
    return member->sim->what->sabotage == sabotage;
}

/* The first `keep` entries of it. */
static void write_entries(struct weir__sim_member *member, const struct weir__sim_write *write, uint32_t keep)
{
    struct weir__sim_log *log = &member->disk.log;
    if (!sabotages(member, WEIR_RAFT_SIM_KEEPS_TAIL)) {
        log_cut(log, write->first);
    }
    if (write->first > log_last(log) + 1) {
        weir_raft_oracle_fail(member->sim->oracle, "member %lu writes entry %lu behind %lu", (unsigned long)member->id,
                              (unsigned long)write->first, (unsigned long)log_last(log));
        return;
    }
    for (uint32_t i = 0; i < keep; i++) {
        if (write->first + i > log_last(log)) {
            log_add(log, write->items[i]);
        }
    }
}

static void write_snapshot(struct weir__sim_member *member, struct weir__sim_write *write)
{
    struct weir__sim_disk *disk = &member->disk;
    snapshot_fini(&disk->snapshot);
    disk->snapshot = write->snapshot;
    write->snapshot = (struct weir__sim_snapshot){0};
    if (write->install) {
        log_begin(&disk->log, disk->snapshot.index + 1, snapshot_chain(&disk->snapshot));
    } else {
        log_drop(&disk->log, write->drop_through);
    }
}

static struct weir__sim_write *take_write(struct weir__sim_member *member)
{
    struct weir__sim_write *write = member->writes;
    member->writes = write->next;
    if (member->writes == NULL) {
        member->writes_end = &member->writes;
    }
    return write;
}

static void drop_write(struct weir__sim_write *write)
{
    weir_free(write->items);
    snapshot_fini(&write->snapshot);
    weir_free(write);
}

static void begin_write(struct weir__sim_member *member, struct weir__sim_write *write)
{
    struct weir__sim *sim = member->sim;
    int64_t takes_ms = sim->directed ? 1 : weir__sim_between(sim, sim->weather.disk_min, sim->weather.disk_max);
    *member->writes_end = write;
    member->writes_end = &write->next;
    member->disk_busy_ms = member->disk_busy_ms < sim->now_ms ? sim->now_ms : member->disk_busy_ms;
    if (sim->now_ms < member->stalled_ms && member->disk_busy_ms < sim->now_ms + STALL_MS) {
        takes_ms += STALL_MS; /* the queue does not grow without end */
    }
    member->disk_busy_ms += takes_ms;
    (void)weir__sim_schedule(sim, member->disk_busy_ms, WEIR__SIM_WRITTEN, member);
    if (!write->is_snapshot && sabotages(member, WEIR_RAFT_SIM_ACKS_EARLY)) {
        weir__sim_schedule(sim, sim->now_ms, WEIR__SIM_EARLY, member)->generation = write->generation;
    }
}

void weir__sim_written(struct weir__sim_member *member)
{
    struct weir__sim_write *write = take_write(member);
    int64_t now_ms = member->sim->now_ms;
    if (!write->is_snapshot) {
        write_entries(member, write, write->count);
        if (!sabotages(member, WEIR_RAFT_SIM_ACKS_EARLY)) {
            weir_raft_core_persisted(member->core, write->generation, now_ms);
        }
    } else if (!write->abandoned) {
        write_snapshot(member, write);
        if (write->install) {
            member->installing = false;
            member->seen = member->disk.snapshot.index;
        } else {
            log_drop(&member->log, write->drop_through);
        }
        weir_raft_core_snapshot_written(member->core, now_ms);
    }
    drop_write(write);
}

/* --- what a core calls -------------------------------------------------------------------------------------------------------- */

static enum weir_rc on_vote(void *ctx, uint64_t term, uint64_t voted_for, struct weir_error *err)
{
    struct weir__sim_member *member = ctx;
    (void)err;
    weir_raft_oracle_vote(member->sim->oracle, member->id, term, voted_for);
    if (!sabotages(member, WEIR_RAFT_SIM_FORGETS_TERM)) {
        member->disk.term = term;
        member->disk.voted_for = sabotages(member, WEIR_RAFT_SIM_FORGETS_VOTE) ? 0 : voted_for;
    }
    weir__sim_trace(member->sim, "%lu term %lu vote %lu", (unsigned long)member->id, (unsigned long)term, (unsigned long)voted_for);
    return WEIR_OK;
}

static void on_append(void *ctx, uint64_t generation, uint64_t first, const struct weir_raft_entry *entries, uint32_t count)
{
    struct weir__sim_member *member = ctx;
    struct weir_raft_oracle *oracle = member->sim->oracle;
    struct weir__sim_write *write = weir_calloc(1, sizeof(*write));
    *write = (struct weir__sim_write){.generation = generation, .first = first, .count = count};
    write->items = weir_calloc(count, sizeof(*write->items));
    log_cut(&member->log, first);
    if (first != log_last(&member->log) + 1) {
        weir_raft_oracle_fail(oracle, "member %lu appends entry %lu behind %lu", (unsigned long)member->id, (unsigned long)first,
                              (unsigned long)log_last(&member->log));
    }
    for (uint32_t i = 0; i < count; i++) {
        write->items[i] = weir_raft_oracle_item(oracle, first + i, &entries[i], log_last_chain(&member->log));
        log_add(&member->log, write->items[i]);
        if (first + i <= member->seen && weir_raft_oracle_at(oracle, first + i) != write->items[i]) {
            weir_raft_oracle_fail(oracle, "member %lu overwrites entry %lu, which it took for committed", (unsigned long)member->id,
                                  (unsigned long)(first + i));
        }
    }
    weir__sim_trace(member->sim, "%lu appends %lu+%u", (unsigned long)member->id, (unsigned long)first, count);
    begin_write(member, write);
}

static void on_snapshot(void *ctx, const struct weir_raft_snapshot *snapshot, bool install, uint64_t drop_through)
{
    struct weir__sim_member *member = ctx;
    struct weir__sim_write *write = weir_calloc(1, sizeof(*write));
    *write = (struct weir__sim_write){.is_snapshot = true, .install = install, .drop_through = drop_through};
    write->snapshot.index = snapshot->index;
    write->snapshot.term = snapshot->term;
    write->snapshot.members_index = snapshot->members_index;
    weir_buf_put_slice(&write->snapshot.members, snapshot->members);
    weir_buf_put_slice(&write->snapshot.data, snapshot->data);
    weir__sim_hit(member->sim, install ? WEIR_RAFT_SIM_INSTALL : WEIR_RAFT_SIM_COMPACT);
    weir__sim_trace(member->sim, "%lu %s snapshot %lu", (unsigned long)member->id, install ? "installs" : "takes", (unsigned long)snapshot->index);
    if (install) {
        for (struct weir__sim_write *w = member->writes; w != NULL; w = w->next) {
            w->abandoned = w->is_snapshot;
        }
        member->installing = true;
        log_begin(&member->log, snapshot->index + 1, snapshot_chain(&write->snapshot));
    }
    begin_write(member, write);
}

static void on_send(void *ctx, uint64_t to, struct weir_slice message)
{
    struct weir__sim_member *member = ctx;
    weir__sim_send(member->sim, member, to, message);
}

/* Commands come in order, and none is left out. */
static void on_apply(void *ctx, uint64_t index, uint64_t term, struct weir_slice command)
{
    struct weir__sim_member *member = ctx;
    struct weir_raft_oracle *oracle = member->sim->oracle;
    const struct weir_raft_item *item = weir_raft_oracle_at(oracle, index);
    const struct weir_raft_item *local = weir__sim_log_at(&member->log, index);
    for (uint64_t i = member->applied + 1; i < index; i++) {
        const struct weir_raft_item *between = weir_raft_oracle_at(oracle, i);
        if (between != NULL && between->kind == WEIR_RAFT_COMMAND) {
            weir_raft_oracle_fail(oracle, "member %lu does not apply entry %lu", (unsigned long)member->id, (unsigned long)i);
        }
    }
    /* Not yet looked at when the commit index moved in this very event: then it is its own entry, which weir__sim_look checks. */
    item = item == NULL ? local : item;
    if (index <= member->applied || item == NULL || item != local || item->term != term || !weir_slice_eq(item->data, command)) {
        weir_raft_oracle_fail(oracle, "member %lu applies entry %lu, which is not what was committed", (unsigned long)member->id,
                              (unsigned long)index);
    }
    member->applied = index;
}

/* Of the state it is enough to know what it is the state after. */
static void on_take(void *ctx, struct weir_buf *out)
{
    struct weir__sim_member *member = ctx;
    uint64_t index = member->core->applied;
    const struct weir_raft_item *item = weir_raft_oracle_at(member->sim->oracle, index);
    weir_buf_put_u64(out, index);
    weir_buf_put_u64(out, item == NULL ? 0 : item->chain);
}

static enum weir_rc on_restore(void *ctx, struct weir_slice data, struct weir_error *err)
{
    struct weir__sim_member *member = ctx;
    struct weir_reader reader = weir_reader(data);
    uint64_t index = weir_read_u64(&reader);
    uint64_t chain = weir_read_u64(&reader);
    const struct weir_raft_item *item = weir_raft_oracle_at(member->sim->oracle, index);
    if (reader.failed || item == NULL || item->chain != chain) {
        weir_raft_oracle_fail(member->sim->oracle, "member %lu restores a state after entry %lu that was never committed",
                              (unsigned long)member->id, (unsigned long)index);
        return weir_error_set(err, WEIR_CORRUPT, "not a state");
    }
    member->applied = index;
    return WEIR_OK;
}

static void on_role(void *ctx, bool leading, uint64_t term, uint64_t leader)
{
    struct weir__sim_member *member = ctx;
    struct weir_raft_oracle *oracle = member->sim->oracle;
    if (leading && (!member->leading || term != member->lead_term)) {
        const struct weir_raft_item *item = weir_raft_oracle_lead(oracle, member->id, term);
        if (item != NULL && item->index >= member->log.first && weir__sim_log_at(&member->log, item->index) != item) {
            weir_raft_oracle_fail(oracle, "leader completeness: member %lu leads term %lu without entry %lu", (unsigned long)member->id,
                                  (unsigned long)term, (unsigned long)item->index);
        }
        member->sim->result->elections++;
        member->lead_term = term;
    }
    member->leading = leading;
    weir__sim_trace(member->sim, "%lu %s, term %lu, leader %lu", (unsigned long)member->id, leading ? "leads" : "follows", (unsigned long)term,
                    (unsigned long)leader);
}

static void on_failed(void *ctx, const struct weir_error *err)
{
    struct weir__sim_member *member = ctx;
    weir_raft_oracle_fail(member->sim->oracle, "member %lu failed: %s", (unsigned long)member->id, err->text);
}

/* --- lives -------------------------------------------------------------------------------------------------------------------------- */

static uint32_t workarounds_off(enum weir_raft_sim_sabotage sabotage)
{
    switch (sabotage) {
    case WEIR_RAFT_SIM_NO_WORKAROUND_1:
        return WEIR__RAFT_NO_STALE_ANSWER;
    case WEIR_RAFT_SIM_NO_WORKAROUND_2:
        return WEIR__RAFT_NO_PRE_VOTE_TERM;
    case WEIR_RAFT_SIM_NO_WORKAROUND_3:
        return WEIR__RAFT_NO_LATE_REJECTION;
    case WEIR_RAFT_SIM_NO_WORKAROUND_4:
        return WEIR__RAFT_NO_BELOW_SNAPSHOT;
    case WEIR_RAFT_SIM_NO_WORKAROUND_5:
        return WEIR__RAFT_NO_CHANGE_FIRST;
    case WEIR_RAFT_SIM_NO_WORKAROUND_6:
        return WEIR__RAFT_NO_SOLE_TERM;
    case WEIR_RAFT_SIM_NO_WORKAROUND_7:
        return WEIR__RAFT_NO_LEARNERS_VOTE;
    case WEIR_RAFT_SIM_NO_WORKAROUND_8:
        return WEIR__RAFT_NO_DURABLE_CHANGE;
    case WEIR_RAFT_SIM_EARLY_CHANGE:
        return WEIR__RAFT_NO_TERM_COMMITTED;
    case WEIR_RAFT_SIM_HONEST:
    case WEIR_RAFT_SIM_ACKS_EARLY:
    case WEIR_RAFT_SIM_FORGETS_VOTE:
    case WEIR_RAFT_SIM_FORGETS_TERM:
    case WEIR_RAFT_SIM_KEEPS_TAIL:
    case WEIR_RAFT_SIM_LEADS_UNCONFIRMED:
    case WEIR_RAFT_SIM_SABOTAGES:
        break;
    }
    return 0;
}

static void boot(struct weir__sim_member *member, const struct weir_raft_core_options *options)
{
    struct weir__sim *sim = member->sim;
    struct weir__sim_disk *disk = &member->disk;
    struct weir_error err;
    struct weir_raft_entry *entries = weir_calloc(disk->log.count + 1, sizeof(*entries));
    for (size_t i = 0; i < disk->log.count; i++) {
        const struct weir_raft_item *item = disk->log.items[i];
        entries[i] = (struct weir_raft_entry){.term = item->term, .kind = item->kind, .data = item->data};
        log_add(&member->log, item);
    }
    struct weir_raft_snapshot snapshot = {.index = disk->snapshot.index,
                                          .term = disk->snapshot.term,
                                          .members_index = disk->snapshot.members_index,
                                          .members = weir_buf_slice(&disk->snapshot.members),
                                          .data = weir_buf_slice(&disk->snapshot.data)};
    struct weir_raft_boot found = {.term = disk->term,
                                   .voted_for = disk->voted_for,
                                   .snapshot = snapshot.index > 0 ? &snapshot : NULL,
                                   .first = disk->log.first,
                                   .entries = entries,
                                   .count = (uint32_t)disk->log.count};
    if (weir_raft_core_create(options, &found, sim->now_ms, &member->core, &err) != WEIR_OK) {
        weir_raft_oracle_fail(sim->oracle, "member %lu cannot start: %s", (unsigned long)member->id, err.text);
    } else {
        member->core->off = workarounds_off(sim->what->sabotage);
    }
    weir_free(entries);
}

void weir__sim_start(struct weir__sim_member *member)
{
    struct weir__sim *sim = member->sim;
    struct weir_raft_core_options options = {.id = member->id,
                                             .seed = weir_rand_u64(&sim->rand),
                                             .election_timeout_ms = ELECTION_MS,
                                             .heartbeat_ms = HEARTBEAT_MS,
                                             .install_timeout_ms = sim->install_timeout_ms,
                                             .inflight_max = sim->inflight,
                                             .pre_vote = sim->pre_vote,
                                             .host = {.ctx = member,
                                                      .vote = on_vote,
                                                      .append = on_append,
                                                      .snapshot = on_snapshot,
                                                      .send = on_send,
                                                      .apply = on_apply,
                                                      .take = on_take,
                                                      .restore = on_restore,
                                                      .role = on_role,
                                                      .failed = on_failed}};
    weir_assert(member->core == NULL && member->id != 0);
    member->life++;
    member->applied = 0;
    member->seen = member->disk.snapshot.index;
    member->leading = false;
    member->nreads = 0;
    member->installing = false;
    member->disk_busy_ms = 0;
    log_begin(&member->log, member->disk.log.first, member->disk.log.chain_before);
    sim->result->restarts++;
    weir__sim_trace(sim, "%lu starts: term %lu, snapshot %lu, log %lu+%zu", (unsigned long)member->id, (unsigned long)member->disk.term,
                    (unsigned long)member->disk.snapshot.index, (unsigned long)member->disk.log.first, member->disk.log.count);
    boot(member, &options);
    if (member->core != NULL) {
        weir__sim_look(member);
    }
}

void weir__sim_crash(struct weir__sim_member *member)
{
    struct weir__sim *sim = member->sim;
    bool lost = sim->directed; /* directed schedules lose all that is under way */
    bool torn = false;
    weir__sim_trace(sim, "%lu crashes", (unsigned long)member->id);
    while (member->writes != NULL) {
        struct weir__sim_write *write = take_write(member);
        if (!lost && !write->is_snapshot) {
            uint32_t keep = weir__sim_chance(sim, 400) ? write->count : weir__sim_between(sim, 0, write->count);
            write_entries(member, write, keep);
            lost = keep < write->count;
            torn = torn || lost;
        } else if (!lost && !write->abandoned) {
            lost = !weir__sim_chance(sim, 500);
            if (!lost) {
                write_snapshot(member, write);
            }
        }
        drop_write(write);
    }
    if (torn) {
        weir__sim_hit(sim, WEIR_RAFT_SIM_TORN);
    }
    weir_raft_core_destroy(member->core);
    member->core = NULL;
    member->leading = false;
    member->life++;
    member->paused_ms = 0;
}

void weir__sim_wipe(struct weir__sim_member *member)
{
    weir_assert(member->core == NULL && member->writes == NULL);
    snapshot_fini(&member->disk.snapshot);
    weir_free(member->disk.log.items);
    weir_free(member->log.items);
    member->disk = (struct weir__sim_disk){.log.first = 1};
    member->log = (struct weir__sim_log){.first = 1};
}

void weir__sim_found(struct weir__sim_member *member, struct weir_slice change)
{
    struct weir_raft_entry entry = {.term = 1, .kind = WEIR_RAFT_CHANGE, .data = change};
    member->disk.term = 1;
    log_add(&member->disk.log, weir_raft_oracle_item(member->sim->oracle, 1, &entry, 0));
}

/* --- checks after a step ------------------------------------------------------------------------------------------------------------- */

/* Quorum durability: on the disks of a majority of those who have a vote, as the one who says so knows them. */
static void check_quorum(struct weir__sim_member *member, const struct weir_raft_item *item)
{
    struct weir__sim *sim = member->sim;
    const struct weir_raft_member *members = NULL;
    uint32_t count = weir_raft_core_members(member->core, &members);
    uint32_t voters = 0;
    uint32_t durable = 0;
    for (uint32_t i = 0; i < count; i++) {
        voters += members[i].role == WEIR_RAFT_VOTER;
        for (uint32_t s = 0; s < WEIR__SIM_SLOTS && members[i].role == WEIR_RAFT_VOTER; s++) {
            const struct weir__sim_disk *disk = &sim->members[s].disk;
            durable += sim->members[s].id == members[i].id &&
                       (weir__sim_log_at(&disk->log, item->index) == item || disk->snapshot.index >= item->index);
        }
    }
    if (durable <= voters / 2) {
        weir_raft_oracle_fail(sim->oracle, "quorum durability: member %lu says that entry %lu of term %lu is committed: it is on %u disks of %u",
                              (unsigned long)member->id, (unsigned long)item->index, (unsigned long)item->term, durable, voters);
    }
}

/* Who is confirmed to lead has applied whatever was committed when it was asked. */
static void check_reads(struct weir__sim_member *member, const struct weir_raft_core_view *view)
{
    struct weir__sim *sim = member->sim;
    bool believes = sim->what->sabotage == WEIR_RAFT_SIM_LEADS_UNCONFIRMED;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < member->nreads; i++) {
        const struct weir__sim_read read = member->reads[i];
        if (!view->leading || view->term != read.term) {
            continue;
        }
        if (view->confirmed < read.question && !believes) {
            member->reads[kept++] = read;
            continue;
        }
        sim->result->confirmed++;
        if (view->applied_index < read.committed) {
            weir_raft_oracle_fail(sim->oracle, "an answer from the past: member %lu is confirmed to lead term %lu with %lu of %lu entries", (unsigned long)member->id,
                                  (unsigned long)read.term, (unsigned long)view->applied_index, (unsigned long)read.committed);
        }
    }
    member->nreads = kept;
}

void weir__sim_read(struct weir__sim_member *member)
{
    struct weir_raft_core_view view;
    weir_raft_core_view(member->core, &view);
    if (!view.leading || weir__raft_term_at(member->core, view.commit_index) != view.term || member->nreads == WEIR__SIM_READS_MAX) {
        return; /* its own entry is to be committed before */
    }
    uint64_t committed = weir_raft_oracle_committed(member->sim->oracle);
    uint64_t question = weir_raft_core_confirm(member->core, member->sim->now_ms);
    member->reads[member->nreads++] = (struct weir__sim_read){.question = question, .term = view.term, .committed = committed};
    weir__sim_look(member);
}

void weir__sim_look(struct weir__sim_member *member)
{
    struct weir__sim *sim = member->sim;
    struct weir_raft_core_view view;
    weir_raft_core_view(member->core, &view);
    sim->result->steps++;
    while (!member->installing && member->seen < view.commit_index) {
        const struct weir_raft_item *item = weir__sim_log_at(&member->log, member->seen + 1);
        if (item == NULL && member->seen + 1 >= member->log.first) {
            weir_raft_oracle_fail(sim->oracle, "member %lu says that entry %lu is committed, and does not have it", (unsigned long)member->id,
                                  (unsigned long)(member->seen + 1));
            break;
        }
        member->seen++;
        if (item != NULL && weir_raft_oracle_commit(sim->oracle, member->id, view.term, item)) {
            sim->result->committed++;
            check_quorum(member, item);
        }
    }
    check_reads(member, &view);
    int64_t due_ms = weir_raft_core_deadline_ms(member->core);
    due_ms = due_ms > sim->now_ms ? due_ms : sim->now_ms + 1; /* no event has told the core of now */
    member->tick_ms = due_ms + (sim->directed ? 0 : weir__sim_below(sim, sim->weather.jitter + 1));
}
