/*
 * For the tests of raft_core: cores whose host keeps everything in memory and does nothing by itself: writes end, messages travel and time
 * moves when a test says so. Groups at random are in tests/sim/raft_sim_test.c.
 */
#ifndef WEIR_JOBMANAGER_HA_RAFT_CORE_TEST_KIT_H
#define WEIR_JOBMANAGER_HA_RAFT_CORE_TEST_KIT_H

#include "jobmanager/ha/raft_core.h"

#include <check.h>

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "jobmanager/ha/raft_codec.h"
#include "jobmanager/ha/raft_core_private.h"

enum { ELECTION_MS = 400, HEARTBEAT_MS = 40, MAIL_MAX = 256, LOG_MAX = 512, NODES_MAX = 5 };

/* --- a member and its host --------------------------------------------------------------------------------------------------- */

struct mail {
    uint64_t to;
    uint8_t *bytes;
    size_t len;
};

struct node {
    struct weir_raft_core *core;
    uint64_t id;
    int64_t now;
    struct mail mails[MAIL_MAX]; /* sent, not taken yet */
    uint32_t nmails;
    uint64_t generation, persisted; /* of writes: begun, ended */
    bool snapshot_begun, snapshot_install;
    uint64_t snapshot_drop;
    struct weir_buf snapshot_data;
    struct weir_buf snapshot_members;
    struct weir_raft_snapshot disk_snapshot;
    uint64_t term, vote;
    uint32_t votes_written;
    struct weir_raft_entry log[LOG_MAX]; /* the disk: index 1 at log[1]; a copy of each data */
    uint64_t log_first, log_last;
    struct weir_buf state; /* every applied command with its index and term */
    uint64_t last_applied;
    bool leading, failed, vote_fails, restore_fails;
    uint64_t lead_term, leader;
    uint32_t off;
    uint32_t inflight;
    bool pre_vote;
};

static inline enum weir_rc on_vote(void *ctx, uint64_t term, uint64_t voted_for, struct weir_error *err)
{
    struct node *n = ctx;
    if (n->vote_fails) {
        return weir_error_set(err, WEIR_IO, "the disk is full");
    }
    ck_assert_uint_ge(term, n->term);
    ck_assert(term > n->term || n->vote == 0 || n->vote == voted_for);
    n->term = term;
    n->vote = voted_for;
    n->votes_written++;
    return WEIR_OK;
}

static inline void cut_log(struct node *n, uint64_t from)
{
    while (n->log_last >= from && n->log_last >= n->log_first) {
        weir_free((void *)(uintptr_t)n->log[n->log_last--].data.data);
    }
}

static inline void on_append(void *ctx, uint64_t generation, uint64_t first, const struct weir_raft_entry *entries, uint32_t count)
{
    struct node *n = ctx;
    ck_assert_uint_eq(generation, n->generation + 1);
    ck_assert_uint_gt(count, 0);
    n->generation = generation;
    cut_log(n, first);
    ck_assert_uint_eq(n->log_last + 1, first);
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_uint_lt(n->log_last + 1, LOG_MAX);
        n->log[++n->log_last] = entries[i];
        n->log[n->log_last].data.data = (const uint8_t *)weir_strndup(entries[i].data.len == 0 ? (const uint8_t *)"" : entries[i].data.data,
                                                                      entries[i].data.len);
    }
}

static inline void on_snapshot(void *ctx, const struct weir_raft_snapshot *snapshot, bool install, uint64_t drop_through)
{
    struct node *n = ctx;
    weir_buf_clear(&n->snapshot_data);
    weir_buf_clear(&n->snapshot_members);
    weir_buf_put_slice(&n->snapshot_data, snapshot->data);
    weir_buf_put_slice(&n->snapshot_members, snapshot->members);
    n->disk_snapshot = *snapshot;
    n->disk_snapshot.data = weir_buf_slice(&n->snapshot_data);
    n->disk_snapshot.members = weir_buf_slice(&n->snapshot_members);
    n->snapshot_begun = true;
    n->snapshot_install = install;
    n->snapshot_drop = drop_through;
}

static inline void on_send(void *ctx, uint64_t to, struct weir_slice message)
{
    struct node *n = ctx;
    if (n->nmails < MAIL_MAX) {
        n->mails[n->nmails++] = (struct mail){.to = to, .bytes = (uint8_t *)weir_strndup(message.data, message.len), .len = message.len};
    }
}

static inline void on_apply(void *ctx, uint64_t index, uint64_t term, struct weir_slice command)
{
    struct node *n = ctx;
    ck_assert_uint_gt(index, n->last_applied); /* (R2) */
    n->last_applied = index;
    weir_buf_put_u64(&n->state, index);
    weir_buf_put_u64(&n->state, term);
    weir_buf_put_bytes(&n->state, command);
}

static inline void on_take(void *ctx, struct weir_buf *out)
{
    struct node *n = ctx;
    weir_buf_put_u64(out, n->last_applied);
    weir_buf_put_slice(out, weir_buf_slice(&n->state));
}

static inline enum weir_rc on_restore(void *ctx, struct weir_slice data, struct weir_error *err)
{
    struct node *n = ctx;
    struct weir_reader reader = weir_reader(data);
    if (n->restore_fails) {
        return weir_error_set(err, WEIR_CORRUPT, "cannot be read");
    }
    n->last_applied = weir_read_u64(&reader);
    weir_buf_clear(&n->state);
    weir_buf_put_slice(&n->state, reader.rest);
    return WEIR_OK;
}

static inline void on_role(void *ctx, bool leading, uint64_t term, uint64_t leader)
{
    struct node *n = ctx;
    ck_assert(!leading || term > n->lead_term || n->leading == leading || n->off != 0);
    n->lead_term = leading ? term : n->lead_term;
    n->leading = leading;
    n->leader = leader;
}

static inline void on_failed(void *ctx, const struct weir_error *err)
{
    struct node *n = ctx;
    ck_assert(!n->failed && !n->leading);
    ck_assert_str_ne(err->text, "");
    n->failed = true;
}

static inline enum weir_rc try_open(struct node *n, const struct weir_raft_boot *boot, struct weir_error *err)
{
    struct weir_raft_core_options options = {
        .id = n->id, .seed = n->id, .election_timeout_ms = ELECTION_MS, .heartbeat_ms = HEARTBEAT_MS, .inflight_max = n->inflight,
        .pre_vote = n->pre_vote,
        .host = {.ctx = n, .vote = on_vote, .append = on_append, .snapshot = on_snapshot, .send = on_send, .apply = on_apply, .take = on_take,
                 .restore = on_restore, .role = on_role, .failed = on_failed}};
    return weir_raft_core_create(&options, boot, n->now, &n->core, err);
}

static inline void open_node(struct node *n)
{
    struct weir_error err;
    struct weir_raft_boot boot = {.term = n->term, .voted_for = n->vote, .snapshot = n->disk_snapshot.index > 0 ? &n->disk_snapshot : NULL,
                                  .first = n->log_first, .entries = &n->log[n->log_first], .count = (uint32_t)(n->log_last + 1 - n->log_first)};
    n->generation = 0;
    n->persisted = 0;
    ck_assert_msg(try_open(n, &boot, &err) == WEIR_OK, "%s", err.text);
    n->core->off = n->off;
}

static inline void forget_mails(struct node *n)
{
    while (n->nmails > 0) {
        weir_free(n->mails[--n->nmails].bytes);
    }
}

static inline void close_core(struct node *n)
{
    weir_raft_core_destroy(n->core);
    n->core = NULL;
    n->leading = false;
    n->snapshot_begun = false;
    forget_mails(n);
    weir_buf_clear(&n->state);
    n->last_applied = 0;
}

static inline void close_node(struct node *n)
{
    close_core(n);
    cut_log(n, 0);
    weir_buf_fini(&n->snapshot_data);
    weir_buf_fini(&n->snapshot_members);
    weir_buf_fini(&n->state);
}

static inline uint32_t make_members(struct weir_raft_member *to, const char *roles)
{
    static const char *const addresses[] = {"a:1", "b:2", "c:3", "d:4", "e:5"};
    uint32_t count = 0;
    for (uint32_t i = 0; roles[i] != '\0'; i++) { /* 'v', 'l', or '-' for none */
        if (roles[i] != '-') {
            to[count++] = (struct weir_raft_member){.id = i + 1, .address = addresses[i], .role = roles[i] == 'v' ? WEIR_RAFT_VOTER : WEIR_RAFT_LEARNER};
        }
    }
    return count;
}

static inline void put_log(struct node *n, uint64_t term, enum weir_raft_entry_kind kind, struct weir_slice data)
{
    n->log[++n->log_last] = (struct weir_raft_entry){
        .term = term, .kind = kind, .data = weir_slice(weir_strndup(data.len == 0 ? (const uint8_t *)"" : data.data, data.len), data.len)};
    n->term = term > n->term ? term : n->term;
}

/* A founding member of a group, opened. */
static inline void init_node(struct node *n, uint64_t id, const char *roles)
{
    struct weir_raft_member members[NODES_MAX];
    struct weir_buf change = {0};
    *n = (struct node){.id = id, .now = 1000, .log_first = 1, .off = n->off, .inflight = n->inflight, .pre_vote = n->pre_vote};
    weir_raft_core_found(members, make_members(members, roles), &change);
    put_log(n, 1, WEIR_RAFT_CHANGE, weir_buf_slice(&change));
    weir_buf_fini(&change);
}

static inline void persist(struct node *n)
{
    while (n->persisted < n->generation || n->snapshot_begun) {
        if (n->persisted < n->generation) {
            n->persisted = n->generation;
            weir_raft_core_persisted(n->core, n->persisted, n->now);
        }
        if (n->snapshot_begun) {
            n->snapshot_begun = false;
            if (n->snapshot_install) {
                cut_log(n, 0);
                n->log_first = n->disk_snapshot.index + 1;
                n->log_last = n->disk_snapshot.index;
            } else {
                while (n->log_first <= n->snapshot_drop) {
                    weir_free((void *)(uintptr_t)n->log[n->log_first++].data.data);
                }
            }
            weir_raft_core_snapshot_written(n->core, n->now);
        }
    }
}

static inline void reopen(struct node *n)
{
    close_core(n);
    open_node(n);
}

static inline void tick(struct node *n, int64_t ms)
{
    n->now += ms;
    weir_raft_core_tick(n->core, n->now);
}

/* Time goes on until it has sent something, or leads. */
static inline void time_out(struct node *n)
{
    forget_mails(n);
    for (int i = 0; i < 4 * ELECTION_MS && n->nmails == 0 && !n->leading; i++) {
        tick(n, 1);
    }
}

static inline struct weir_raft_core_view view(const struct node *n)
{
    struct weir_raft_core_view v;
    weir_raft_core_view(n->core, &v);
    return v;
}

static inline uint64_t submit(struct node *n, const char *command)
{
    struct weir_slice data = weir_slice_str(command);
    struct weir_error err;
    uint64_t index = 0;
    ck_assert_msg(weir_raft_core_submit(n->core, &data, 1, n->now, &index, &err) == WEIR_OK, "%s", err.text);
    return index;
}

static inline enum weir_rc change(struct node *n, const char *roles)
{
    struct weir_raft_member members[NODES_MAX];
    uint32_t count = make_members(members, roles);
    struct weir_error err;
    uint64_t index = 0;
    return weir_raft_core_change(n->core, members, count, n->now, &index, &err);
}

/* --- messages by hand ----------------------------------------------------------------------------------------------------------- */

static inline enum weir_rc receive(struct node *n, uint64_t from, const struct raft_message *message, const struct weir_raft_entry *entries,
                            const struct weir_raft_snapshot *snapshot)
{
    struct weir_buf bytes = {0};
    struct weir_error err;
    weir_raft_message_encode(message, entries, snapshot, &bytes);
    enum weir_rc rc = weir_raft_core_receive(n->core, from, weir_buf_slice(&bytes), n->now, &err);
    weir_buf_fini(&bytes);
    return rc;
}

static inline void receive_entries(struct node *n, uint64_t from, uint64_t term, uint64_t prev, uint64_t prev_term, uint64_t commit,
                            const struct weir_raft_entry *entries, unsigned count)
{
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES,
                                   .append_entries = {.term = term, .prev_log_index = prev, .prev_log_term = prev_term, .leader_commit = commit,
                                                      .n_entries = count}};
    ck_assert_int_eq(receive(n, from, &message, entries, NULL), WEIR_OK);
}

static inline void receive_result(struct node *n, uint64_t from, uint64_t term, uint64_t rejected, uint64_t last)
{
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES_RESULT,
                                   .append_entries_result = {.term = term, .rejected = rejected, .last_log_index = last}};
    ck_assert_int_eq(receive(n, from, &message, NULL, NULL), WEIR_OK);
}

static inline void receive_vote(struct node *n, uint64_t from, uint64_t term, bool granted)
{
    struct raft_message message = {.type = RAFT_REQUEST_VOTE_RESULT, .request_vote_result = {.term = term, .vote_granted = granted}};
    ck_assert_int_eq(receive(n, from, &message, NULL, NULL), WEIR_OK);
}

/* The newest message to a member of that type; false: none. The caller drops it. */
static inline bool last_sent(const struct node *n, enum raft_message_type type, struct raft_message *out)
{
    struct weir_raft_confirm confirm;
    struct weir_error err;
    for (uint32_t i = n->nmails; i > 0; i--) {
        ck_assert_int_eq(weir_raft_message_decode(weir_slice(n->mails[i - 1].bytes, n->mails[i - 1].len), n->id, out, &confirm, &err), WEIR_OK);
        if (out->type == type) {
            return true;
        }
        weir_raft_message_drop(out);
    }
    return false;
}

/* Leads a group of voters by votes that come by hand. */
static inline void lead(struct node *n, uint64_t voter)
{
    time_out(n);
    receive_vote(n, voter, view(n).term, true);
    ck_assert(n->leading);
}

static inline struct weir_raft_entry command(uint64_t term)
{
    return (struct weir_raft_entry){.term = term, .kind = WEIR_RAFT_COMMAND, .data = weir_slice_str("x")};
}

static inline struct weir_raft_entry change_entry(uint64_t term, const char *roles, struct weir_buf *bytes)
{
    struct weir_raft_member members[NODES_MAX];
    weir_buf_clear(bytes);
    weir_raft_members_encode(members, make_members(members, roles), bytes);
    return (struct weir_raft_entry){.term = term, .kind = WEIR_RAFT_CHANGE, .data = weir_buf_slice(bytes)};
}

/* --- groups that deliver ---------------------------------------------------------------------------------------------------------- */

struct group {
    struct node nodes[NODES_MAX];
    uint32_t count;
    bool cut[NODES_MAX];
};

/* One millisecond: time, disks, mail. */
static inline void run_ms(struct group *g)
{
    for (uint32_t i = 0; i < g->count; i++) {
        struct node *n = &g->nodes[i];
        n->now++;
        if (n->core != NULL && weir_raft_core_deadline_ms(n->core) <= n->now) {
            weir_raft_core_tick(n->core, n->now);
        }
        if (n->core != NULL) {
            persist(n);
        }
    }
    for (uint32_t i = 0; i < g->count; i++) {
        struct node *n = &g->nodes[i];
        struct mail mails[MAIL_MAX];
        uint32_t nmails = n->nmails;
        memcpy(mails, n->mails, nmails * sizeof(mails[0]));
        n->nmails = 0;
        for (uint32_t m = 0; m < nmails; m++) {
            struct node *to = mails[m].to <= g->count ? &g->nodes[mails[m].to - 1] : NULL;
            struct weir_error err;
            if (to != NULL && to->core != NULL && !g->cut[i] && !g->cut[to->id - 1]) {
                enum weir_rc rc = weir_raft_core_receive(to->core, n->id, weir_slice(mails[m].bytes, mails[m].len), to->now, &err);
                ck_assert_msg(rc == WEIR_OK, "%s", err.text);
            }
            weir_free(mails[m].bytes);
        }
    }
}

static inline void run(struct group *g, int ms)
{
    for (int i = 0; i < ms; i++) {
        run_ms(g);
    }
}

static inline struct group *make_group(uint32_t count, const char *roles)
{
    struct group *g = weir_calloc(1, sizeof(*g));
    g->count = count;
    for (uint32_t i = 0; i < count; i++) {
        g->nodes[i].pre_vote = true;
        if (i < strlen(roles)) {
            init_node(&g->nodes[i], i + 1, roles);
        } else { /* joins later */
            g->nodes[i] = (struct node){.id = i + 1, .now = 1000, .log_first = 1, .pre_vote = true};
        }
        open_node(&g->nodes[i]);
    }
    return g;
}

static inline void drop_group(struct group *g)
{
    for (uint32_t i = 0; i < g->count; i++) {
        close_node(&g->nodes[i]);
    }
    weir_free(g);
}

static inline struct node *leader_of(struct group *g)
{
    struct node *leader = NULL;
    for (uint32_t i = 0; i < g->count; i++) {
        if (g->nodes[i].core != NULL && g->nodes[i].leading && (leader == NULL || g->nodes[i].lead_term > leader->lead_term)) {
            leader = &g->nodes[i];
        }
    }
    return leader;
}

static inline struct node *the_leader(struct group *g)
{
    struct node *leader = leader_of(g);
    weir_assert(leader != NULL);
    return leader;
}

static inline struct node *elect(struct group *g)
{
    for (int i = 0; i < 20 && leader_of(g) == NULL; i++) {
        run(g, ELECTION_MS);
    }
    run(g, 5);
    return the_leader(g);
}

static inline void ck_same_state(const struct node *a, const struct node *b)
{
    ck_assert(weir_slice_eq(weir_buf_slice(&a->state), weir_buf_slice(&b->state)));
}

#endif
