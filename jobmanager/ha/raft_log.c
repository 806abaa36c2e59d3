#include "jobmanager/ha/raft_log.h"

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "jobmanager/ha/raft_store.h"

#include <inttypes.h>

enum { SNAPSHOT_RETRY_MS = 5000, INFLIGHT_MAX = 256 };

/* A proposal that was not given to Raft yet. */
struct waiting {
    uint64_t proposal;
    bool change;
    struct weir_buf bytes; /* the entry, or the members */
};

/* One that Raft has, under the present leadership. */
struct open {
    uint64_t proposal;
    uint64_t index;
    bool change;
};

/* A snapshot that is to be written. */
struct shot {
    bool there, install;
    uint64_t drop_through;
    struct weir_raft_snapshot snapshot; /* its bytes are the two below */
    struct weir_buf members, data;
};

struct raft_log {
    struct weir_cluster_log base;
    struct weir_work work;
    struct weir_raft_log_options options;
    struct weir_raft_store *store;
    struct weir_raft_core *core;
    uint64_t id;
    bool started, failed, leading;
    bool in_event; /* the core or the listener is at work: proposals wait, and nothing may be asked of the core */
    bool quiet;    /* (C4): what the core reports is told later */
    uint64_t epoch;
    uint64_t confirmed; /* the newest question that the listener knows to be */
    struct {
        bool there, leading;
        uint64_t term, leader;
    } role; /* held back while quiet */
    struct {
        bool there;
        bool told; /* the core knows */
        struct weir_error err;
    } failure; /* held back until it can be told */
    struct waiting *queue;
    size_t nqueue, queue_cap;
    struct open *opened;
    size_t nopened, opened_cap;
    struct weir_buf pending; /* what comes next to the disk; behind shot, if that is an install */
    uint64_t pending_generation;
    struct shot shot;
    int64_t retry_ms; /* when a snapshot that found the disk full is tried again; 0: at once */
    uint64_t snapshot_bytes, compacted_bytes, compact_bytes;
    struct weir_raft_chunks *chunks;
    struct { /* lent to the executor while work.in_flight */
        struct weir_buf entries, kept;
        uint64_t generation; /* 0: no entries */
        struct shot shot;
        bool abandoned; /* an install has come meanwhile */
        enum weir_rc append_rc, shot_rc;
        struct weir_error err;
    } flight;
};

static struct raft_log *of(struct weir_cluster_log *log)
{
    return (struct raft_log *)log;
}

static int64_t now_ms(const struct raft_log *log)
{
    return weir_clock_mono_ms(log->options.clock);
}

static void shot_fini(struct shot *shot)
{
    weir_buf_fini(&shot->members);
    weir_buf_fini(&shot->data);
    *shot = (struct shot){0};
}

/* --- outcomes --------------------------------------------------------------------------------------------------------- */
static void tell(struct raft_log *log, uint64_t proposal, enum weir_proposal_outcome outcome, const struct weir_error *err)
{
    log->options.listener.outcome(log->options.listener.ctx, proposal, outcome, err);
}

/* What the listener proposes meanwhile waits behind. */
static void reject_waiting(struct raft_log *log, const struct weir_error *err)
{
    struct waiting *queue = log->queue;
    size_t nqueue = log->nqueue;
    log->queue = NULL;
    log->nqueue = log->queue_cap = 0;
    for (size_t i = 0; i < nqueue; i++) {
        weir_buf_fini(&queue[i].bytes);
        tell(log, queue[i].proposal, WEIR_PROPOSAL_REJECTED, err);
    }
    weir_free(queue);
}

/* (C5), or the end of a leadership. */
static void stop_leading(struct raft_log *log, const struct weir_error *err)
{
    struct open *opened = log->opened;
    size_t nopened = log->nopened;
    log->opened = NULL;
    log->nopened = log->opened_cap = 0;
    if (log->leading) {
        log->leading = false;
        log->options.listener.leadership(log->options.listener.ctx, false, log->epoch, err);
    }
    for (size_t i = 0; i < nopened; i++) {
        tell(log, opened[i].proposal, WEIR_PROPOSAL_UNKNOWN, err);
    }
    weir_free(opened);
    reject_waiting(log, err);
}

static void take_role(struct raft_log *log, bool leading, uint64_t term, uint64_t leader)
{
    if (log->failed) {
        return;
    }
    if (log->leading && (!leading || term != log->epoch)) {
        struct weir_error err;
        (void)weir_error_set(&err, WEIR_STALE, "leadership of term %" PRIu64 " was lost: the term is now %" PRIu64, log->epoch, term);
        weir_log(log->options.log, WEIR_LOG_INFO, "raft_leadership_lost", "epoch", WEIR_LOG_INT(log->epoch), "term", WEIR_LOG_INT(term), NULL);
        stop_leading(log, &err);
    }
    if (leading && !log->leading) {
        weir_log(log->options.log, WEIR_LOG_INFO, "raft_leadership_gained", "epoch", WEIR_LOG_INT(term), NULL);
        log->leading = true;
        log->epoch = term;
        log->options.listener.leadership(log->options.listener.ctx, true, term, NULL);
    } else if (!leading && leader != 0) {
        struct weir_log_number id;
        weir_log(log->options.log, WEIR_LOG_INFO, "raft_leader_known", "leader", weir_log_number_format(&id, (int64_t)leader), "term",
                 WEIR_LOG_INT(term), NULL);
    }
}

static void take_failure(struct raft_log *log)
{
    log->failed = true;
    weir_log(log->options.log, WEIR_LOG_ERROR, "cluster_log_failed", "error", log->failure.err.text, NULL);
    weir_buf_fini(&log->pending);
    shot_fini(&log->shot);
    log->flight.abandoned = true;
    stop_leading(log, &log->failure.err);
    log->options.listener.failed(log->options.listener.ctx, &log->failure.err);
}

static void note_failure(struct raft_log *log, const struct weir_error *err)
{
    if (!log->failure.there) {
        log->failure.there = true;
        log->failure.err = *err;
    }
}

/* Changes are not applied; they are committed when something behind them is, or they are the last. */
static void commit_changes(struct raft_log *log, uint64_t applied)
{
    while (log->nopened > 0 && log->opened[0].change && log->opened[0].index <= applied) {
        uint64_t proposal = log->opened[0].proposal;
        memmove(&log->opened[0], &log->opened[1], --log->nopened * sizeof(log->opened[0]));
        tell(log, proposal, WEIR_PROPOSAL_COMMITTED, NULL);
    }
}

/* --- what Raft calls -------------------------------------------------------------------------------------------------- */
static enum weir_rc on_vote(void *ctx, uint64_t term, uint64_t voted_for, struct weir_error *err)
{
    struct raft_log *log = ctx;
    return weir_raft_store_vote(log->store, term, voted_for, err);
}

static void on_append(void *ctx, uint64_t generation, uint64_t first, const struct weir_raft_entry *entries, uint32_t count)
{
    struct raft_log *log = ctx;
    weir_raft_store_put_entries(&log->pending, first, entries, count);
    log->pending_generation = generation;
}

static void on_snapshot(void *ctx, const struct weir_raft_snapshot *snapshot, bool install, uint64_t drop_through)
{
    struct raft_log *log = ctx;
    weir_assert(install || (!log->shot.there && !log->flight.shot.there));
    shot_fini(&log->shot);
    log->shot = (struct shot){.there = true, .install = install, .drop_through = drop_through, .snapshot = *snapshot};
    weir_buf_put_slice(&log->shot.members, snapshot->members);
    weir_buf_put_slice(&log->shot.data, snapshot->data);
    log->shot.snapshot.members = weir_buf_slice(&log->shot.members);
    log->shot.snapshot.data = weir_buf_slice(&log->shot.data);
    log->retry_ms = 0;
    if (install) { /* what is not written yet of the log that it replaces need not be */
        weir_buf_clear(&log->pending);
        log->flight.abandoned = true;
    }
}

/* (L2) */
static void on_send(void *ctx, uint64_t to, struct weir_slice message)
{
    struct raft_log *log = ctx;
    const struct weir_raft_member *members = NULL;
    const char *address = NULL;
    if (log->core == NULL) {
        return;
    }
    if (message.len > WEIR_RAFT_MESSAGE_BYTES_MAX) {
        weir_log(log->options.log, WEIR_LOG_ERROR, "raft_message_too_large", "bytes", WEIR_LOG_INT(message.len), NULL);
        return;
    }
    for (uint32_t i = 0, count = weir_raft_core_members(log->core, &members); i < count; i++) {
        address = members[i].id == to ? members[i].address : address;
    }
    weir_raft_chunks_put(log->chunks, to, address, message, log->options.send, log->options.send_ctx);
}

static void on_apply(void *ctx, uint64_t index, uint64_t term, struct weir_slice command)
{
    struct raft_log *log = ctx;
    struct weir_error err;
    if (log->failure.there) {
        return;
    }
    commit_changes(log, index);
    if (log->options.listener.apply(log->options.listener.ctx, index, command, &err) != WEIR_OK) {
        (void)weir_error_prefix(&err, "entry %" PRIu64, index);
        note_failure(log, &err);
        return;
    }
    if (log->nopened > 0 && log->opened[0].index == index && term == log->epoch) { /* (L3) */
        uint64_t proposal = log->opened[0].proposal;
        memmove(&log->opened[0], &log->opened[1], --log->nopened * sizeof(log->opened[0]));
        tell(log, proposal, WEIR_PROPOSAL_COMMITTED, NULL);
    }
}

static void on_take(void *ctx, struct weir_buf *out)
{
    struct raft_log *log = ctx;
    log->options.listener.snapshot_take(log->options.listener.ctx, out);
}

static enum weir_rc on_restore(void *ctx, struct weir_slice data, struct weir_error *err)
{
    struct raft_log *log = ctx;
    return log->options.listener.snapshot_restore(log->options.listener.ctx, data, err);
}

static void on_role(void *ctx, bool leading, uint64_t term, uint64_t leader)
{
    struct raft_log *log = ctx;
    if (log->quiet || log->role.there) {
        log->role.there = true;
        log->role.leading = leading;
        log->role.term = term;
        log->role.leader = leader;
    } else if (!log->failure.there) {
        take_role(log, leading, term, leader);
    }
}

static void on_failed(void *ctx, const struct weir_error *err)
{
    struct raft_log *log = ctx;
    note_failure(log, err);
    log->failure.told = true;
}

/* --- the disk --------------------------------------------------------------------------------------------------------- */
/* Off-thread. */
static void work_run(struct weir_work *work)
{
    struct raft_log *log = WEIR_CONTAINER_OF(work, struct raft_log, work);
    log->flight.append_rc = log->flight.shot_rc = WEIR_OK;
    if (log->flight.entries.len > 0) {
        log->flight.append_rc = weir_raft_store_append(log->store, weir_buf_slice(&log->flight.entries), &log->flight.err);
    }
    if (log->flight.append_rc == WEIR_OK && log->flight.shot.there) {
        log->flight.shot_rc =
            weir_raft_store_snapshot(log->store, &log->flight.shot.snapshot, weir_buf_slice(&log->flight.kept), &log->flight.err);
    }
}

/* What the new log file begins with. */
static void put_kept(const struct raft_log *log, uint64_t drop_through, struct weir_buf *out)
{
    struct weir_raft_core_view view;
    weir_raft_core_view(log->core, &view);
    uint64_t at = drop_through < view.first_index ? view.first_index : drop_through + 1;
    while (at <= view.last_index) {
        struct weir_raft_entry entries[WEIR_RAFT_ENTRIES_PER_MESSAGE_MAX];
        uint32_t count = 0;
        while (count < WEIR_RAFT_ENTRIES_PER_MESSAGE_MAX && at + count <= view.last_index) {
            entries[count] = weir_raft_core_entry(log->core, at + count);
            count++;
        }
        weir_raft_store_put_entries(out, at, entries, count);
        at += count;
    }
}

/* (L1): everything that waits, then the snapshot, whose log begins with what is then in the old one. An install comes before what waits. */
static void start_work(struct raft_log *log)
{
    bool shoot = log->shot.there && log->retry_ms == 0;
    if (log->work.in_flight || (log->pending.len == 0 && !shoot)) {
        return;
    }
    weir_buf_clear(&log->flight.entries);
    weir_buf_clear(&log->flight.kept);
    log->flight.generation = 0;
    log->flight.abandoned = false;
    if (!(shoot && log->shot.install)) {
        struct weir_buf emptied = log->flight.entries;
        log->flight.entries = log->pending;
        log->flight.generation = log->pending_generation;
        log->pending = emptied;
    }
    if (shoot) {
        log->flight.shot = log->shot;
        log->shot = (struct shot){0};
        if (!log->flight.shot.install) {
            put_kept(log, log->flight.shot.drop_through, &log->flight.kept);
        }
    }
    weir_executor_submit(log->options.executor, &log->work);
}

/* Comes back on the owner's thread, outside propose (C4). */
static void kick(struct raft_log *log)
{
    if (!log->work.in_flight) {
        weir_buf_clear(&log->flight.entries);
        log->flight.generation = 0;
        weir_executor_submit(log->options.executor, &log->work);
    }
}

static void fail(struct raft_log *log, const struct weir_error *err)
{
    note_failure(log, err);
    if (!log->failure.told) {
        log->failure.told = true;
        weir_raft_core_fail(log->core, err);
    }
}

static void shot_done(struct raft_log *log)
{
    struct shot *shot = &log->flight.shot;
    if (log->flight.shot_rc == WEIR_OK) {
        log->compacted_bytes = weir_raft_store_log_bytes(log->store);
        if (!log->flight.abandoned) {
            weir_log(log->options.log, WEIR_LOG_INFO, shot->install ? "raft_log_installed" : "raft_log_compacted", "index",
                     WEIR_LOG_INT(shot->snapshot.index), "snapshot_bytes", WEIR_LOG_INT(shot->data.len), "log_bytes",
                     WEIR_LOG_INT(log->compacted_bytes), NULL);
            log->snapshot_bytes = shot->data.len;
            shot_fini(shot);
            weir_raft_core_snapshot_written(log->core, now_ms(log));
        }
    } else if (log->flight.shot_rc != WEIR_RESOURCE || (shot->install && !log->flight.abandoned)) {
        fail(log, &log->flight.err);
    } else if (!log->flight.abandoned) { /* the old files are as they were */
        weir_log(log->options.log, WEIR_LOG_WARN, "raft_log_not_compacted", "error", log->flight.err.text, NULL);
        log->shot = *shot;
        *shot = (struct shot){0};
        log->retry_ms = now_ms(log) + SNAPSHOT_RETRY_MS;
    }
    shot_fini(shot);
}

/* --- the loop --------------------------------------------------------------------------------------------------------- */
static void forget_front(struct raft_log *log, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        weir_buf_fini(&log->queue[i].bytes);
    }
    log->nqueue -= count;
    memmove(&log->queue[0], &log->queue[count], log->nqueue * sizeof(log->queue[0]));
}

static void reject_front(struct raft_log *log, size_t count, const struct weir_error *err)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t proposal = log->queue[0].proposal;
        forget_front(log, 1);
        tell(log, proposal, WEIR_PROPOSAL_REJECTED, err);
    }
}

static void open_front(struct raft_log *log, size_t count, uint64_t first_index)
{
    log->opened = weir_vec_grow(log->opened, &log->opened_cap, sizeof(*log->opened), log->nopened + count);
    for (size_t i = 0; i < count; i++) {
        log->opened[log->nopened++] = (struct open){.proposal = log->queue[i].proposal, .index = first_index + i, .change = log->queue[i].change};
    }
    forget_front(log, count);
}

/* Gives commands at the front of the queue to Raft as one. False: Raft does not take them. */
static bool submit_commands(struct raft_log *log, size_t *out_count, struct weir_error *err)
{
    struct weir_slice commands[WEIR_RAFT_ENTRIES_PER_MESSAGE_MAX];
    uint32_t count = 0;
    size_t bytes = 0;
    while (count < log->nqueue && count < WEIR_RAFT_ENTRIES_PER_MESSAGE_MAX && !log->queue[count].change &&
           (count == 0 || bytes + log->queue[count].bytes.len <= WEIR_RAFT_ENTRY_BYTES_MAX)) {
        commands[count] = weir_buf_slice(&log->queue[count].bytes);
        bytes += commands[count++].len;
    }
    uint64_t first = 0;
    enum weir_rc rc = weir_raft_core_submit(log->core, commands, count, now_ms(log), &first, err);
    *out_count = count;
    if (rc == WEIR_OK) {
        open_front(log, count, first);
    }
    return rc == WEIR_OK;
}

static bool submit_change(struct raft_log *log, struct weir_error *err)
{
    struct weir_raft_member members[WEIR_RAFT_MEMBERS_MAX];
    struct weir_buf text = {0};
    uint32_t count = 0;
    uint64_t index = 0;
    enum weir_rc rc = weir_raft_members_decode(weir_buf_slice(&log->queue[0].bytes), members, &count, &text, err);
    rc = rc == WEIR_OK ? weir_raft_core_change(log->core, members, count, now_ms(log), &index, err) : rc;
    weir_buf_fini(&text);
    if (rc == WEIR_OK) {
        open_front(log, 1, index);
    }
    return rc == WEIR_OK;
}

/* One batch while the disk is idle: what comes during the write is the next (L1). */
static void submit_waiting(struct raft_log *log)
{
    struct weir_error err;
    size_t count = 1;
    if (log->nqueue == 0 || log->work.in_flight || !log->leading || log->failure.there) {
        return;
    }
    bool taken = log->queue[0].change ? submit_change(log, &err) : submit_commands(log, &count, &err);
    if (!taken && log->leading) {
        reject_front(log, count, &err);
    }
}

/* Entries behind the newest applied one that slow members may want, without filling half of the new log with them. */
static uint64_t trailing(const struct raft_log *log, const struct weir_raft_core_view *view)
{
    uint64_t count = 0;
    uint64_t bytes = 0;
    while (count < WEIR_RAFT_TRAILING && view->applied_index >= view->first_index + count) {
        bytes += weir_raft_core_entry(log->core, view->applied_index - count).data.len;
        if (bytes > log->compact_bytes / 4) {
            break;
        }
        count++;
    }
    return count;
}

/* (L4), unless the last time has just been, and left as much. */
static void compact(struct raft_log *log)
{
    if (log->work.in_flight || log->shot.there || log->failure.there) {
        return;
    }
    struct weir_raft_core_view view;
    struct weir_error err;
    uint64_t bytes = weir_raft_store_log_bytes(log->store);
    weir_raft_core_view(log->core, &view);
    if (bytes > log->compact_bytes && bytes > 4 * log->snapshot_bytes && bytes >= 2 * log->compacted_bytes && view.applied_index > view.snapshot_index) {
        enum weir_rc rc = weir_raft_core_compact(log->core, trailing(log, &view), now_ms(log), &err);
        weir_assert(rc == WEIR_OK || rc == WEIR_AGAIN);
    }
}

static void reject_when_not_leading(struct raft_log *log)
{
    struct weir_error err;
    if (log->nqueue > 0 && !log->leading) {
        (void)weir_error_set(&err, log->failed ? WEIR_IO : WEIR_REFUSED, "%s",
                             log->failed ? "the cluster log failed earlier: restart the JobManager" : "this JobManager does not lead");
        reject_waiting(log, &err);
    }
}

/* At the end of everything that comes from outside but for propose: tells what was held back, goes on with what waits. */
static void settle(struct raft_log *log)
{
    struct weir_raft_core_view view;
    log->in_event = true;
    if (log->role.there && !log->failure.there) {
        log->role.there = false;
        take_role(log, log->role.leading, log->role.term, log->role.leader);
    }
    weir_raft_core_view(log->core, &view);
    if (log->leading && !log->failure.there) {
        commit_changes(log, view.applied_index);
    }
    if (log->leading && !log->failure.there && view.leading && view.confirmed > log->confirmed) {
        log->confirmed = view.confirmed;
        log->options.listener.confirmed(log->options.listener.ctx, view.confirmed);
    }
    compact(log);
    submit_waiting(log);
    if (log->failure.there && !log->failed) {
        fail(log, &log->failure.err);
        take_failure(log);
    }
    reject_when_not_leading(log);
    log->in_event = false;
    start_work(log);
    if (log->nqueue > 0) {
        kick(log); /* proposed by the listener just now */
    }
}

static void work_done(struct weir_work *work)
{
    struct raft_log *log = WEIR_CONTAINER_OF(work, struct raft_log, work);
    log->in_event = true;
    if (log->failure.there) {
        shot_fini(&log->flight.shot);
    } else if (log->flight.append_rc != WEIR_OK) {
        shot_fini(&log->flight.shot);
        fail(log, &log->flight.err);
    } else {
        if (log->flight.generation > 0) {
            weir_raft_core_persisted(log->core, log->flight.generation, now_ms(log));
        }
        if (log->flight.shot.there) {
            shot_done(log);
        }
    }
    log->in_event = false;
    settle(log);
}

/* --- proposing -------------------------------------------------------------------------------------------------------- */
static struct weir_buf *enqueue(struct raft_log *log, uint64_t proposal, bool change)
{
    log->queue = weir_vec_grow(log->queue, &log->queue_cap, sizeof(*log->queue), log->nqueue + 1);
    struct waiting *waiting = &log->queue[log->nqueue++];
    *waiting = (struct waiting){.proposal = proposal, .change = change};
    return &waiting->bytes;
}

static void propose(struct weir_cluster_log *base, uint64_t proposal, struct weir_slice entry)
{
    struct raft_log *log = of(base);
    struct weir_error err;
    size_t count = 0;
    weir_assert(log->started);
    weir_assert(entry.len <= WEIR_RAFT_ENTRY_BYTES_MAX);
    weir_buf_put_slice(enqueue(log, proposal, false), entry);
    if (log->in_event || log->work.in_flight) {
        return; /* what is under way ends with settle */
    }
    bool at_once = log->nqueue == 1 && log->leading && !log->failure.there;
    if (at_once) {
        log->quiet = log->in_event = true;
        at_once = submit_commands(log, &count, &err);
        log->quiet = log->in_event = false;
    }
    if (at_once && !log->failure.there && !log->role.there) {
        start_work(log);
    } else {
        kick(log);
    }
}

void weir_raft_log_change(struct weir_cluster_log *base, uint64_t proposal, const struct weir_raft_member *members, uint32_t count)
{
    struct raft_log *log = of(base);
    weir_assert(log->started);
    weir_raft_members_encode(members, count, enqueue(log, proposal, true));
    if (!log->in_event) {
        kick(log);
    }
}

/* (L6) */
static bool confirm(struct weir_cluster_log *base, uint64_t *out_question)
{
    struct raft_log *log = of(base);
    struct weir_raft_core_view view;
    weir_assert(log->started && !log->in_event);
    log->in_event = true;
    *out_question = weir_raft_core_confirm(log->core, now_ms(log));
    log->in_event = false;
    weir_raft_core_view(log->core, &view);
    return view.leading && view.confirmed >= *out_question;
}

/* --- what comes from outside ------------------------------------------------------------------------------------------ */
void weir_raft_log_tick(struct weir_cluster_log *base)
{
    struct raft_log *log = of(base);
    if (!log->started || log->failed) {
        return;
    }
    weir_assert(!log->in_event);
    if (now_ms(log) >= weir_raft_core_deadline_ms(log->core)) {
        log->in_event = true;
        weir_raft_core_tick(log->core, now_ms(log));
        log->in_event = false;
    }
    if (log->shot.there && now_ms(log) >= log->retry_ms) {
        log->retry_ms = 0;
    }
    settle(log);
}

int64_t weir_raft_log_deadline_ms(const struct weir_cluster_log *base)
{
    const struct raft_log *log = (const struct raft_log *)base;
    if (!log->started || log->failed) {
        return INT64_MAX;
    }
    int64_t deadline_ms = weir_raft_core_deadline_ms(log->core);
    bool retry = log->shot.there && log->retry_ms > 0 && log->retry_ms < deadline_ms;
    return retry ? log->retry_ms : deadline_ms;
}

enum weir_rc weir_raft_log_receive(struct weir_cluster_log *base, uint64_t from, struct weir_slice chunk, struct weir_error *err)
{
    struct raft_log *log = of(base);
    struct weir_slice message = {0};
    weir_assert(!log->in_event);
    enum weir_rc rc = weir_raft_chunks_take(log->chunks, from, chunk, &message, err);
    if (message.len > 0 && log->started && !log->failed) {
        log->in_event = true;
        rc = weir_raft_core_receive(log->core, from, message, now_ms(log), err);
        log->in_event = false;
        settle(log);
    }
    return rc;
}

bool weir_raft_log_transfer(struct weir_cluster_log *base)
{
    struct raft_log *log = of(base);
    struct weir_error err;
    if (!log->started || log->failed || log->in_event) {
        return false;
    }
    log->in_event = true;
    enum weir_rc rc = weir_raft_core_transfer(log->core, 0, now_ms(log), &err);
    log->in_event = false;
    settle(log);
    return rc == WEIR_OK;
}

/* --- life ------------------------------------------------------------------------------------------------------------- */
static void destroy(struct weir_cluster_log *base)
{
    struct raft_log *log = of(base);
    weir_assert(!log->work.in_flight);
    weir_raft_core_destroy(log->core);
    weir_raft_store_close(log->store);
    weir_raft_chunks_destroy(log->chunks);
    for (size_t i = 0; i < log->nqueue; i++) {
        weir_buf_fini(&log->queue[i].bytes);
    }
    weir_free(log->queue);
    weir_free(log->opened);
    weir_buf_fini(&log->pending);
    weir_buf_fini(&log->flight.entries);
    weir_buf_fini(&log->flight.kept);
    shot_fini(&log->shot);
    shot_fini(&log->flight.shot);
    weir_free(log);
}

static const struct weir_cluster_log_ops raft_log_ops = {.propose = propose, .confirm = confirm, .destroy = destroy};

/* (L5). The vote comes last: without it the directory is still empty. */
static enum weir_rc found(struct raft_log *log, struct weir_buf *change, struct weir_raft_entry *entry, struct weir_raft_boot *boot,
                          struct weir_error *err)
{
    struct weir_buf encoded = {0};
    boot->first = 1;
    boot->count = 0;
    if (log->options.nfounders == 0) {
        return WEIR_OK;
    }
    weir_raft_core_found(log->options.founders, log->options.nfounders, change);
    *entry = (struct weir_raft_entry){.term = 1, .kind = WEIR_RAFT_CHANGE, .data = weir_buf_slice(change)};
    weir_raft_store_put_entries(&encoded, 1, entry, 1);
    enum weir_rc rc = weir_raft_store_append(log->store, weir_buf_slice(&encoded), err);
    rc = rc == WEIR_OK ? weir_raft_store_vote(log->store, 1, 0, err) : rc;
    *boot = (struct weir_raft_boot){.term = 1, .first = 1, .entries = entry, .count = 1};
    weir_buf_fini(&encoded);
    return rc;
}

static enum weir_rc create_core(struct raft_log *log, const struct weir_raft_boot *boot, struct weir_error *err)
{
    const struct weir_raft_core_options options = {.id = log->id,
                                                   .seed = log->options.seed,
                                                   .election_timeout_ms = log->options.election_timeout_ms,
                                                   .heartbeat_ms = log->options.heartbeat_ms,
                                                   .inflight_max = INFLIGHT_MAX,
                                                   .pre_vote = true,
                                                   .host = {.ctx = log,
                                                            .vote = on_vote,
                                                            .append = on_append,
                                                            .snapshot = on_snapshot,
                                                            .send = on_send,
                                                            .apply = on_apply,
                                                            .take = on_take,
                                                            .restore = on_restore,
                                                            .role = on_role,
                                                            .failed = on_failed}};
    log->snapshot_bytes = boot->snapshot == NULL ? 0 : boot->snapshot->data.len;
    log->quiet = log->in_event = true; /* until weir_raft_log_start */
    enum weir_rc rc = weir_raft_core_create(&options, boot, now_ms(log), &log->core, err);
    log->in_event = false;
    return rc;
}

enum weir_rc weir_raft_log_open(const struct weir_raft_log_options *options, struct weir_cluster_log **out_log, struct weir_error *err)
{
    struct raft_log *log = weir_calloc(1, sizeof(*log));
    struct weir_raft_boot boot = {0};
    struct weir_raft_entry entry;
    struct weir_buf change = {0};
    log->base.ops = &raft_log_ops;
    log->chunks = weir_raft_chunks_create();
    log->work = (struct weir_work){.run = work_run, .done = work_done};
    log->options = *options;
    log->compact_bytes = options->compact_bytes == 0 ? WEIR_RAFT_COMPACT_BYTES : options->compact_bytes;
    uint64_t incarnation = weir_hash_u64(options->seed, 0) | 1;
    enum weir_rc rc = weir_raft_store_open(options->fs, options->dir, incarnation, options->log, &log->store, &boot, err);
    if (rc == WEIR_OK) {
        log->id = options->id != 0 ? options->id : weir_raft_store_incarnation(log->store);
        rc = boot.term == 0 ? found(log, &change, &entry, &boot, err) : WEIR_OK;
    }
    rc = rc == WEIR_OK ? create_core(log, &boot, err) : rc;
    weir_buf_fini(&change);
    if (rc != WEIR_OK) {
        destroy(&log->base);
        return rc;
    }
    weir_raft_store_forget(log->store);
    log->options.founders = NULL;
    log->options.dir = NULL;
    *out_log = &log->base;
    return WEIR_OK;
}

void weir_raft_log_start(struct weir_cluster_log *base)
{
    struct raft_log *log = of(base);
    weir_assert(!log->started);
    log->started = true;
    log->quiet = false;
    log->in_event = true;
    weir_raft_core_tick(log->core, now_ms(log));
    log->in_event = false;
    settle(log);
}

bool weir_raft_log_busy(const struct weir_cluster_log *base)
{
    return ((const struct raft_log *)base)->work.in_flight;
}

/* --- views ------------------------------------------------------------------------------------------------------------ */
uint64_t weir_raft_log_id(const struct weir_cluster_log *base)
{
    return ((const struct raft_log *)base)->id;
}

uint64_t weir_raft_log_incarnation(const struct weir_cluster_log *base)
{
    return weir_raft_store_incarnation(((const struct raft_log *)base)->store);
}

void weir_raft_log_view(const struct weir_cluster_log *base, struct weir_raft_core_view *out_view)
{
    weir_raft_core_view(((const struct raft_log *)base)->core, out_view);
}

uint32_t weir_raft_log_members(const struct weir_cluster_log *base, const struct weir_raft_member **out_members)
{
    return weir_raft_core_members(((const struct raft_log *)base)->core, out_members);
}

enum weir_rc weir_raft_log_progress(const struct weir_cluster_log *base, uint64_t id, uint64_t *out_match_index, int64_t *out_heard_ms)
{
    return weir_raft_core_progress(((const struct raft_log *)base)->core, id, out_match_index, out_heard_ms);
}
