/*
 * Cores whose host keeps everything in memory and does nothing by itself: writes end, messages travel and time moves when a test says so. Groups
 * at random are in tests/sim/raft_sim_test.c.
 */
#include "jobmanager/ha/raft_core.h"

#include <check.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "jobmanager/ha/raft_codec.h"
#include "jobmanager/ha/raft_core_private.h"

Suite *raft_core_suite(void);

enum { ELECTION_MS = 400, HEARTBEAT_MS = 40, MAIL_MAX = 256, LOG_MAX = 512, NODES_MAX = 4, STACK_BYTES = 16384 };

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

static enum weir_rc on_vote(void *ctx, uint64_t term, uint64_t voted_for, struct weir_error *err)
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

static void cut_log(struct node *n, uint64_t from)
{
    while (n->log_last >= from && n->log_last >= n->log_first) {
        weir_free((void *)(uintptr_t)n->log[n->log_last--].data.data);
    }
}

static void on_append(void *ctx, uint64_t generation, uint64_t first, const struct weir_raft_entry *entries, uint32_t count)
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

static void on_snapshot(void *ctx, const struct weir_raft_snapshot *snapshot, bool install, uint64_t drop_through)
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

static void on_send(void *ctx, uint64_t to, struct weir_slice message)
{
    struct node *n = ctx;
    if (n->nmails < MAIL_MAX) {
        n->mails[n->nmails++] = (struct mail){.to = to, .bytes = (uint8_t *)weir_strndup(message.data, message.len), .len = message.len};
    }
}

static void on_apply(void *ctx, uint64_t index, uint64_t term, struct weir_slice command)
{
    struct node *n = ctx;
    ck_assert_uint_gt(index, n->last_applied); /* (R2) */
    n->last_applied = index;
    weir_buf_put_u64(&n->state, index);
    weir_buf_put_u64(&n->state, term);
    weir_buf_put_bytes(&n->state, command);
}

static void on_take(void *ctx, struct weir_buf *out)
{
    struct node *n = ctx;
    weir_buf_put_u64(out, n->last_applied);
    weir_buf_put_slice(out, weir_buf_slice(&n->state));
}

static enum weir_rc on_restore(void *ctx, struct weir_slice data, struct weir_error *err)
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

static void on_role(void *ctx, bool leading, uint64_t term, uint64_t leader)
{
    struct node *n = ctx;
    ck_assert(!leading || term > n->lead_term || n->leading == leading || n->off != 0);
    n->lead_term = leading ? term : n->lead_term;
    n->leading = leading;
    n->leader = leader;
}

static void on_failed(void *ctx, const struct weir_error *err)
{
    struct node *n = ctx;
    ck_assert(!n->failed && !n->leading);
    ck_assert_str_ne(err->text, "");
    n->failed = true;
}

static enum weir_rc try_open(struct node *n, const struct weir_raft_boot *boot, struct weir_error *err)
{
    struct weir_raft_core_options options = {
        .id = n->id, .seed = n->id, .election_timeout_ms = ELECTION_MS, .heartbeat_ms = HEARTBEAT_MS, .inflight_max = n->inflight,
        .pre_vote = n->pre_vote,
        .host = {.ctx = n, .vote = on_vote, .append = on_append, .snapshot = on_snapshot, .send = on_send, .apply = on_apply, .take = on_take,
                 .restore = on_restore, .role = on_role, .failed = on_failed}};
    return weir_raft_core_create(&options, boot, n->now, &n->core, err);
}

static void open_node(struct node *n)
{
    struct weir_error err;
    struct weir_raft_boot boot = {.term = n->term, .voted_for = n->vote, .snapshot = n->disk_snapshot.index > 0 ? &n->disk_snapshot : NULL,
                                  .first = n->log_first, .entries = &n->log[n->log_first], .count = (uint32_t)(n->log_last + 1 - n->log_first)};
    n->generation = 0;
    n->persisted = 0;
    ck_assert_msg(try_open(n, &boot, &err) == WEIR_OK, "%s", err.text);
    n->core->off = n->off;
}

static void forget_mails(struct node *n)
{
    while (n->nmails > 0) {
        weir_free(n->mails[--n->nmails].bytes);
    }
}

static void close_core(struct node *n)
{
    weir_raft_core_destroy(n->core);
    n->core = NULL;
    n->leading = false;
    n->snapshot_begun = false;
    forget_mails(n);
    weir_buf_clear(&n->state);
    n->last_applied = 0;
}

static void close_node(struct node *n)
{
    close_core(n);
    cut_log(n, 0);
    weir_buf_fini(&n->snapshot_data);
    weir_buf_fini(&n->snapshot_members);
    weir_buf_fini(&n->state);
}

static uint32_t make_members(struct weir_raft_member *to, const char *roles)
{
    static const char *const addresses[] = {"a:1", "b:2", "c:3", "d:4"};
    uint32_t count = 0;
    for (uint32_t i = 0; roles[i] != '\0'; i++) { /* 'v', 'l', or '-' for none */
        if (roles[i] != '-') {
            to[count++] = (struct weir_raft_member){.id = i + 1, .address = addresses[i], .role = roles[i] == 'v' ? WEIR_RAFT_VOTER : WEIR_RAFT_LEARNER};
        }
    }
    return count;
}

static void put_log(struct node *n, uint64_t term, enum weir_raft_entry_kind kind, struct weir_slice data)
{
    n->log[++n->log_last] = (struct weir_raft_entry){
        .term = term, .kind = kind, .data = weir_slice(weir_strndup(data.len == 0 ? (const uint8_t *)"" : data.data, data.len), data.len)};
    n->term = term > n->term ? term : n->term;
}

/* A founding member of a group, opened. */
static void init_node(struct node *n, uint64_t id, const char *roles)
{
    struct weir_raft_member members[NODES_MAX];
    struct weir_buf change = {0};
    *n = (struct node){.id = id, .now = 1000, .log_first = 1, .off = n->off, .inflight = n->inflight, .pre_vote = n->pre_vote};
    weir_raft_core_found(members, make_members(members, roles), &change);
    put_log(n, 1, WEIR_RAFT_CHANGE, weir_buf_slice(&change));
    weir_buf_fini(&change);
}

static void persist(struct node *n)
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

static void reopen(struct node *n)
{
    close_core(n);
    open_node(n);
}

static void tick(struct node *n, int64_t ms)
{
    n->now += ms;
    weir_raft_core_tick(n->core, n->now);
}

/* Time goes on until it has sent something, or leads. */
static void time_out(struct node *n)
{
    forget_mails(n);
    for (int i = 0; i < 4 * ELECTION_MS && n->nmails == 0 && !n->leading; i++) {
        tick(n, 1);
    }
}

static struct weir_raft_core_view view(const struct node *n)
{
    struct weir_raft_core_view v;
    weir_raft_core_view(n->core, &v);
    return v;
}

static uint64_t submit(struct node *n, const char *command)
{
    struct weir_slice data = weir_slice_str(command);
    struct weir_error err;
    uint64_t index = 0;
    ck_assert_msg(weir_raft_core_submit(n->core, &data, 1, n->now, &index, &err) == WEIR_OK, "%s", err.text);
    return index;
}

static enum weir_rc change(struct node *n, const char *roles)
{
    struct weir_raft_member members[NODES_MAX];
    uint32_t count = make_members(members, roles);
    struct weir_error err;
    uint64_t index = 0;
    return weir_raft_core_change(n->core, members, count, n->now, &index, &err);
}

/* --- messages by hand ----------------------------------------------------------------------------------------------------------- */

static enum weir_rc receive(struct node *n, uint64_t from, const struct raft_message *message, const struct weir_raft_entry *entries,
                            const struct weir_raft_snapshot *snapshot)
{
    struct weir_buf bytes = {0};
    struct weir_error err;
    weir_raft_message_encode(message, entries, snapshot, &bytes);
    enum weir_rc rc = weir_raft_core_receive(n->core, from, weir_buf_slice(&bytes), n->now, &err);
    weir_buf_fini(&bytes);
    return rc;
}

static void receive_entries(struct node *n, uint64_t from, uint64_t term, uint64_t prev, uint64_t prev_term, uint64_t commit,
                            const struct weir_raft_entry *entries, unsigned count)
{
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES,
                                   .append_entries = {.term = term, .prev_log_index = prev, .prev_log_term = prev_term, .leader_commit = commit,
                                                      .n_entries = count}};
    ck_assert_int_eq(receive(n, from, &message, entries, NULL), WEIR_OK);
}

static void receive_result(struct node *n, uint64_t from, uint64_t term, uint64_t rejected, uint64_t last)
{
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES_RESULT,
                                   .append_entries_result = {.term = term, .rejected = rejected, .last_log_index = last}};
    ck_assert_int_eq(receive(n, from, &message, NULL, NULL), WEIR_OK);
}

static void receive_vote(struct node *n, uint64_t from, uint64_t term, bool granted)
{
    struct raft_message message = {.type = RAFT_REQUEST_VOTE_RESULT, .request_vote_result = {.term = term, .vote_granted = granted}};
    ck_assert_int_eq(receive(n, from, &message, NULL, NULL), WEIR_OK);
}

/* The newest message to a member of that type; false: none. The caller drops it. */
static bool last_sent(const struct node *n, enum raft_message_type type, struct raft_message *out)
{
    struct weir_error err;
    for (uint32_t i = n->nmails; i > 0; i--) {
        ck_assert_int_eq(weir_raft_message_decode(weir_slice(n->mails[i - 1].bytes, n->mails[i - 1].len), n->id, out, &err), WEIR_OK);
        if (out->type == type) {
            return true;
        }
        weir_raft_message_drop(out);
    }
    return false;
}

/* Leads a group of voters by votes that come by hand. */
static void lead(struct node *n, uint64_t voter)
{
    time_out(n);
    receive_vote(n, voter, view(n).term, true);
    ck_assert(n->leading);
}

static struct weir_raft_entry command(uint64_t term)
{
    return (struct weir_raft_entry){.term = term, .kind = WEIR_RAFT_COMMAND, .data = weir_slice_str("x")};
}

static struct weir_raft_entry change_entry(uint64_t term, const char *roles, struct weir_buf *bytes)
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
static void run_ms(struct group *g)
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

static void run(struct group *g, int ms)
{
    for (int i = 0; i < ms; i++) {
        run_ms(g);
    }
}

static struct group *make_group(uint32_t count, const char *roles)
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

static void drop_group(struct group *g)
{
    for (uint32_t i = 0; i < g->count; i++) {
        close_node(&g->nodes[i]);
    }
    weir_free(g);
}

static struct node *leader_of(struct group *g)
{
    struct node *leader = NULL;
    for (uint32_t i = 0; i < g->count; i++) {
        if (g->nodes[i].core != NULL && g->nodes[i].leading && (leader == NULL || g->nodes[i].lead_term > leader->lead_term)) {
            leader = &g->nodes[i];
        }
    }
    return leader;
}

static struct node *elect(struct group *g)
{
    for (int i = 0; i < 20 && leader_of(g) == NULL; i++) {
        run(g, ELECTION_MS);
    }
    ck_assert_ptr_nonnull(leader_of(g));
    run(g, 5);
    return leader_of(g);
}

static void ck_same_state(const struct node *a, const struct node *b)
{
    ck_assert(weir_slice_eq(weir_buf_slice(&a->state), weir_buf_slice(&b->state)));
}

/* --- whole lives ---------------------------------------------------------------------------------------------------------------- */

START_TEST(one_voter_leads_alone)
{
    struct node n = {0};
    init_node(&n, 1, "v");
    open_node(&n);
    ck_assert(!n.leading);
    tick(&n, 0);
    ck_assert(n.leading);
    ck_assert_uint_eq(n.lead_term, 2);
    ck_assert_uint_eq(n.vote, 1);
    ck_assert_uint_eq(submit(&n, "one"), 2);
    ck_assert_uint_eq(submit(&n, "two"), 3);
    ck_assert_uint_eq(n.last_applied, 0); /* not durable */
    weir_raft_core_persisted(n.core, 1, n.now);
    ck_assert_uint_eq(n.last_applied, 2);
    persist(&n);
    ck_assert_uint_eq(n.last_applied, 3);
    struct weir_buf before = {0};
    weir_buf_put_slice(&before, weir_buf_slice(&n.state));
    reopen(&n);
    tick(&n, 0);
    ck_assert(n.leading);
    ck_assert_uint_eq(n.lead_term, 3); /* an epoch is never used twice */
    ck_assert(weir_slice_eq(weir_buf_slice(&before), weir_buf_slice(&n.state)));
    weir_buf_fini(&before);
    close_node(&n);
}
END_TEST

START_TEST(three_agree_and_outlive_their_leader)
{
    struct group *g = make_group(3, "vvv");
    struct node *first = elect(g);
    struct weir_slice commands[] = {weir_slice_str("a"), weir_slice_str(""), weir_slice_str("ccc")};
    struct weir_error err;
    uint64_t index = 0;
    ck_assert_int_eq(weir_raft_core_submit(first->core, commands, 3, first->now, &index, &err), WEIR_OK);
    ck_assert_uint_eq(view(first).last_index, index + 2);
    run(g, 100);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(g->nodes[i].last_applied, index + 2);
        ck_same_state(&g->nodes[i], first);
        ck_assert_uint_eq(view(&g->nodes[i]).leader, first->id);
    }
    close_core(first);
    struct node *second = elect(g);
    ck_assert_uint_ne(second->id, first->id);
    ck_assert_uint_gt(second->lead_term, first->lead_term);
    (void)submit(second, "d");
    run(g, 100);
    open_node(first);
    run(g, 500);
    ck_same_state(first, second);
    ck_assert_uint_eq(view(first).leader, second->id);
    ck_assert_int_eq(weir_raft_core_submit(first->core, commands, 1, first->now, &index, &err), WEIR_REFUSED);
    drop_group(g);
}
END_TEST

START_TEST(a_handover_takes_no_election_timeout)
{
    struct group *g = make_group(3, "vvv");
    struct node *first = elect(g);
    struct weir_error err;
    uint64_t to = first->id % 3 + 1;
    run(g, 100);
    ck_assert_int_eq(weir_raft_core_transfer(first->core, 99, first->now, &err), WEIR_REFUSED);
    ck_assert_int_eq(weir_raft_core_transfer(first->core, first->id, first->now, &err), WEIR_REFUSED);
    ck_assert_int_eq(weir_raft_core_transfer(g->nodes[to - 1].core, 0, first->now, &err), WEIR_REFUSED);
    ck_assert_int_eq(weir_raft_core_transfer(first->core, to, first->now, &err), WEIR_OK);
    ck_assert_int_eq(weir_raft_core_transfer(first->core, to, first->now, &err), WEIR_REFUSED);
    run(g, 10);
    ck_assert_ptr_eq(leader_of(g), &g->nodes[to - 1]);
    ck_assert(!first->leading);
    run(g, 100);
    ck_assert_int_eq(weir_raft_core_transfer(g->nodes[to - 1].core, 0, first->now, &err), WEIR_OK);
    run(g, 10);
    ck_assert(!g->nodes[to - 1].leading);
    ck_assert_ptr_nonnull(leader_of(g));
    drop_group(g);
}
END_TEST

START_TEST(a_snapshot_brings_back_who_was_long_away)
{
    struct group *g = make_group(3, "vvv");
    struct node *first = elect(g);
    struct node *away = &g->nodes[first->id % 3];
    struct weir_error err;
    ck_assert_int_eq(weir_raft_core_compact(away->core, 0, away->now, &err) == WEIR_OK || err.rc == WEIR_AGAIN, 1);
    persist(away);
    close_core(away);
    for (int i = 0; i < 50; i++) {
        (void)submit(first, "command");
        run(g, 3);
    }
    run(g, 50);
    ck_assert_int_eq(weir_raft_core_compact(first->core, 4, first->now, &err), WEIR_OK);
    ck_assert_int_eq(weir_raft_core_compact(first->core, 4, first->now, &err), WEIR_AGAIN);
    persist(first);
    ck_assert_uint_eq(view(first).snapshot_index, first->last_applied);
    ck_assert_uint_eq(first->log_first, first->last_applied - 3);
    (void)submit(first, "after");
    open_node(away);
    run(g, 1000);
    ck_same_state(away, leader_of(g));
    ck_assert_uint_gt(away->disk_snapshot.index, 50);
    ck_assert_uint_eq(view(away).snapshot_index, away->disk_snapshot.index);
    reopen(away);
    ck_assert_uint_ge(away->last_applied, 50); /* from the snapshot, before the first event */
    run(g, 500);
    ck_same_state(away, leader_of(g));
    drop_group(g);
}
END_TEST

START_TEST(members_change_one_at_a_time)
{
    struct group *g = make_group(4, "vvv");
    struct node *first = elect(g);
    struct weir_error err;
    uint64_t match = 0;
    int64_t heard = 0;
    run(g, 50);
    ck_assert_int_eq(change(first, "vvv"), WEIR_INVALID);  /* nothing */
    ck_assert_int_eq(change(first, "vvvv"), WEIR_INVALID); /* not as a voter */
    ck_assert_int_eq(change(first, "vlvl"), WEIR_INVALID); /* two */
    ck_assert_int_eq(change(first, ""), WEIR_INVALID);
    struct weir_raft_member moved[NODES_MAX];
    uint64_t index = 0;
    (void)make_members(moved, "vvv");
    moved[1].address = "elsewhere:9";
    ck_assert_int_eq(weir_raft_core_change(first->core, moved, 3, first->now, &index, &err), WEIR_INVALID);
    moved[1].address = moved[0].address;
    ck_assert_int_eq(weir_raft_core_change(first->core, moved, 3, first->now, &index, &err), WEIR_INVALID);
    if (change(first, "vvvl") == WEIR_AGAIN) { /* it had nothing of its term yet, but has begun it */
        run(g, 50);
        ck_assert_int_eq(change(first, "vvvl"), WEIR_OK);
    }
    ck_assert_int_eq(change(first, "vvvv"), WEIR_AGAIN);
    const struct weir_raft_member *members = NULL;
    ck_assert_uint_eq(weir_raft_core_members(first->core, &members), 4);
    ck_assert_int_eq(members[3].role, WEIR_RAFT_LEARNER);
    run(g, 200);
    (void)submit(first, "for four");
    run(g, 200);
    ck_same_state(&g->nodes[3], first);
    ck_assert_int_eq(weir_raft_core_progress(first->core, 4, &match, &heard), WEIR_OK);
    ck_assert_uint_eq(match, view(first).last_index);
    ck_assert_int_gt(heard, first->now - 2 * HEARTBEAT_MS);
    ck_assert_int_eq(weir_raft_core_progress(first->core, 7, &match, &heard), WEIR_NOT_FOUND);
    ck_assert_int_eq(change(first, "vvvv"), WEIR_OK);
    run(g, 100);
    char roles[] = "vvvv";
    roles[first->id - 1] = 'l';
    ck_assert_int_eq(change(first, roles), WEIR_REFUSED); /* itself */
    roles[first->id - 1] = '-';
    ck_assert_int_eq(change(first, roles), WEIR_REFUSED);
    ck_assert_int_eq(weir_raft_core_transfer(first->core, 4, first->now, &err), WEIR_OK);
    run(g, 100);
    struct node *second = leader_of(g);
    ck_assert_uint_eq(second->id, 4);
    if (change(second, roles) == WEIR_AGAIN) {
        run(g, 50);
        ck_assert_int_eq(change(second, roles), WEIR_OK);
    }
    run(g, 100);
    (void)submit(second, "for three");
    run(g, 3000);
    ck_assert(!first->leading);
    ck_assert(second->leading); /* who is out does not disturb */
    ck_assert_uint_eq(weir_raft_core_members(second->core, &members), 3);
    ck_assert_int_eq(change(first, "vvvv"), WEIR_REFUSED);
    drop_group(g);
}
END_TEST

/* --- (R1), (R5) -------------------------------------------------------------------------------------------------------------------- */

START_TEST(nothing_is_sent_when_the_vote_is_not_durable)
{
    struct node n = {0};
    init_node(&n, 1, "vvv");
    open_node(&n);
    n.vote_fails = true;
    struct raft_message message = {.type = RAFT_REQUEST_VOTE,
                                   .request_vote = {.term = 9, .candidate_id = 2, .last_log_index = 1, .last_log_term = 1}};
    ck_assert_int_eq(receive(&n, 2, &message, NULL, NULL), WEIR_OK);
    ck_assert(n.failed);
    ck_assert_uint_eq(n.nmails, 0);
    ck_assert_int_eq(weir_raft_core_deadline_ms(n.core), INT64_MAX);
    ck_assert(view(&n).failed);
    struct weir_error err;
    struct weir_slice data = weir_slice_str("x");
    uint64_t index = 0;
    ck_assert_int_eq(weir_raft_core_submit(n.core, &data, 1, n.now, &index, &err), WEIR_REFUSED);
    tick(&n, 10000);
    ck_assert_int_eq(receive(&n, 2, &message, NULL, NULL), WEIR_OK);
    ck_assert_uint_eq(n.nmails, 0);
    close_node(&n);
}
END_TEST

START_TEST(a_failed_write_ends_leadership)
{
    struct node n = {0};
    struct weir_error err;
    init_node(&n, 1, "v");
    open_node(&n);
    tick(&n, 0);
    (void)submit(&n, "x");
    (void)weir_error_set(&err, WEIR_IO, "fsync failed");
    weir_raft_core_fail(n.core, &err);
    weir_raft_core_fail(n.core, &err);
    ck_assert(n.failed && !n.leading && !view(&n).leading);
    weir_raft_core_persisted(n.core, 1, n.now);
    ck_assert_uint_eq(n.last_applied, 0);
    close_node(&n);
}
END_TEST

START_TEST(an_answer_waits_for_the_disk)
{
    struct node n = {0};
    struct raft_message result;
    struct weir_raft_entry entry = command(2);
    init_node(&n, 1, "vvv");
    open_node(&n);
    receive_entries(&n, 2, 2, 1, 1, 1, &entry, 1);
    ck_assert(!last_sent(&n, RAFT_APPEND_ENTRIES_RESULT, &result));
    ck_assert_uint_eq(n.leader, 2);
    persist(&n);
    ck_assert(last_sent(&n, RAFT_APPEND_ENTRIES_RESULT, &result));
    ck_assert_uint_eq(result.append_entries_result.last_log_index, 2);
    ck_assert_uint_eq(n.last_applied, 0);
    receive_entries(&n, 2, 2, 2, 2, 2, NULL, 0);
    ck_assert_uint_eq(n.last_applied, 2);
    close_node(&n);
}
END_TEST

/* Terms go from A to B and to A again: the end of a write says nothing of an entry that came later. */
START_TEST(the_end_of_an_old_write_is_not_that_of_a_new_one)
{
    struct node n = {0};
    struct raft_message result;
    struct weir_raft_entry old[] = {command(2), command(2)};
    struct weir_raft_entry new = command(3);
    init_node(&n, 1, "vvv");
    open_node(&n);
    receive_entries(&n, 2, 2, 1, 1, 1, old, 2);
    receive_entries(&n, 3, 3, 1, 1, 1, &new, 1); /* cuts both off */
    forget_mails(&n);
    weir_raft_core_persisted(n.core, 1, n.now);
    ck_assert(!last_sent(&n, RAFT_APPEND_ENTRIES_RESULT, &result));
    weir_raft_core_persisted(n.core, 2, n.now);
    ck_assert(last_sent(&n, RAFT_APPEND_ENTRIES_RESULT, &result));
    ck_assert_uint_eq(result.append_entries_result.last_log_index, 2);
    close_node(&n);
}
END_TEST

START_TEST(an_install_abandons_a_snapshot_that_is_being_taken)
{
    struct node n = {0};
    struct weir_error err;
    struct weir_raft_entry entries[] = {command(2), command(2)};
    struct weir_raft_member members[NODES_MAX];
    struct weir_buf encoded = {0};
    struct weir_buf data = {0};
    init_node(&n, 1, "vvv");
    open_node(&n);
    receive_entries(&n, 2, 2, 1, 1, 3, entries, 2);
    persist(&n);
    ck_assert_int_eq(weir_raft_core_compact(n.core, 0, n.now, &err), WEIR_OK);
    ck_assert(n.snapshot_begun && !n.snapshot_install);
    weir_raft_members_encode(members, make_members(members, "vvv"), &encoded);
    weir_buf_put_u64(&data, 20);
    struct weir_raft_snapshot snapshot = {
        .index = 20, .term = 2, .members_index = 1, .members = weir_buf_slice(&encoded), .data = weir_buf_slice(&data)};
    struct raft_message message = {.type = RAFT_INSTALL_SNAPSHOT, .install_snapshot = {.term = 2}};
    ck_assert_int_eq(receive(&n, 2, &message, NULL, &snapshot), WEIR_OK);
    ck_assert(n.snapshot_install);
    ck_assert_int_eq(receive(&n, 2, &message, NULL, &snapshot), WEIR_OK); /* again, while it is written */
    ck_assert_int_eq(weir_raft_core_compact(n.core, 0, n.now, &err), WEIR_AGAIN);
    persist(&n);
    ck_assert_uint_eq(n.last_applied, 20);
    ck_assert_uint_eq(view(&n).last_index, 20);
    struct weir_raft_entry next = command(2);
    receive_entries(&n, 2, 2, 20, 2, 21, &next, 1);
    persist(&n);
    ck_assert_uint_eq(n.last_applied, 21);
    n.restore_fails = true;
    snapshot.index = 30;
    ck_assert_int_eq(receive(&n, 2, &message, NULL, &snapshot), WEIR_OK);
    persist(&n);
    ck_assert(n.failed);
    weir_buf_fini(&encoded);
    weir_buf_fini(&data);
    close_node(&n);
}
END_TEST

START_TEST(what_contradicts_itself_is_not_opened)
{
    struct node n = {0};
    struct weir_error err;
    struct weir_buf change_bytes = {0};
    struct weir_raft_entry good[] = {change_entry(1, "vvv", &change_bytes), command(2), command(3)};
    struct weir_raft_entry entries[3];
    init_node(&n, 1, "vvv");
    struct weir_raft_snapshot snapshot = {.index = 2, .term = 2, .members_index = 1, .members = good[0].data, .data = weir_slice("\0\0\0\0\0\0\0", 8)};
    struct weir_raft_boot boot = {.term = 3, .first = 1, .entries = entries, .count = 3};
#define CK_CORRUPT(change)                                                \
    do {                                                                  \
        memcpy(entries, good, sizeof(entries));                           \
        struct weir_raft_snapshot s = snapshot;                           \
        struct weir_raft_boot b = boot;                                   \
        b.snapshot = &s;                                                  \
        change;                                                           \
        ck_assert_int_eq(try_open(&n, &b, &err), WEIR_CORRUPT);           \
    } while (0)
    CK_CORRUPT(b.term = 0);
    CK_CORRUPT(b.term = 2);
    CK_CORRUPT(entries[1].term = 1);
    CK_CORRUPT(entries[2].term = 1);
    CK_CORRUPT(entries[0].data.len--);
    CK_CORRUPT(entries[1].kind = (enum weir_raft_entry_kind)9);
    CK_CORRUPT(b.snapshot = NULL; b.entries = &entries[1]; b.count = 2);
    CK_CORRUPT(b.first = 4);
    CK_CORRUPT(b.first = 0);
    CK_CORRUPT(b.count = 1);
    CK_CORRUPT(s.members_index = 3);
    CK_CORRUPT(s.members.len = 0);
    CK_CORRUPT(s.index = 0);
#undef CK_CORRUPT
    n.restore_fails = true;
    boot.snapshot = &snapshot;
    memcpy(entries, good, sizeof(entries));
    ck_assert_int_eq(try_open(&n, &boot, &err), WEIR_CORRUPT);
    weir_buf_fini(&change_bytes);
    close_node(&n);
}
END_TEST

START_TEST(messages_that_cannot_be_are_refused)
{
    struct node n = {0};
    struct weir_error err;
    init_node(&n, 1, "vvv");
    open_node(&n);
    lead(&n, 2);
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES, .append_entries = {.term = view(&n).term, .prev_log_index = 1, .prev_log_term = 1}};
    ck_assert_int_eq(receive(&n, 2, &message, NULL, NULL), WEIR_INVALID); /* another leader of our term */
    message.append_entries.term--;
    ck_assert_int_eq(receive(&n, 1, &message, NULL, NULL), WEIR_INVALID); /* from ourselves */
    ck_assert_int_eq(receive(&n, 2, &message, NULL, NULL), WEIR_OK);
    ck_assert_int_eq(weir_raft_core_receive(n.core, 2, weir_slice_str("noise"), n.now, &err), WEIR_INVALID);
    ck_assert(n.leading);
    close_node(&n);
}
END_TEST

START_TEST(members_as_bytes)
{
    struct weir_raft_member members[WEIR_RAFT_MEMBERS_MAX] = {
        {9, "z:1", WEIR_RAFT_VOTER}, {3, "longer.example.com:65535", WEIR_RAFT_LEARNER}, {UINT64_MAX, "[::1]:2", WEIR_RAFT_VOTER}};
    struct weir_raft_member back[WEIR_RAFT_MEMBERS_MAX];
    struct weir_buf bytes = {0};
    struct weir_buf text = {0};
    struct weir_error err;
    uint32_t count = 0;
    weir_raft_members_encode(members, 3, &bytes);
    ck_assert_int_eq(weir_raft_members_decode(weir_buf_slice(&bytes), back, &count, &text, &err), WEIR_OK);
    ck_assert_uint_eq(count, 3);
    ck_assert_uint_eq(back[0].id, 3); /* in order, whatever it was */
    ck_assert_str_eq(back[0].address, "longer.example.com:65535");
    ck_assert_int_eq(back[0].role, WEIR_RAFT_LEARNER);
    ck_assert_uint_eq(back[2].id, UINT64_MAX);
    /* The library writes the same. */
    struct raft_configuration configuration;
    struct raft_buffer library;
    weir__raft_members_to_library(weir_buf_slice(&bytes), &configuration);
    ck_assert_int_eq(raft_configuration_encode(&configuration, &library), 0);
    ck_assert(weir_slice_eq(weir_buf_slice(&bytes), weir_slice(library.base, library.len)));
    raft_configuration_close(&configuration);
    raft_free(library.base);
    for (size_t len = 0; len < bytes.len; len++) {
        uint8_t *cut = weir_malloc(len + 1);
        memcpy(cut, bytes.data, len);
        ck_assert_int_ne(weir_raft_members_decode(weir_slice(cut, len), back, &count, &text, &err), WEIR_OK);
        weir_free(cut);
    }
    /* What is read is written again as it was. */
    struct weir_rand rand;
    weir_rand_init(&rand, 5);
    for (int i = 0; i < 20000; i++) {
        struct weir_buf other = {0};
        struct weir_buf again = {0};
        weir_buf_put_slice(&other, weir_buf_slice(&bytes));
        for (uint64_t k = weir_rand_below(&rand, 3) + 1; k > 0; k--) {
            other.data[weir_rand_below(&rand, other.len)] ^= (uint8_t)(1u << weir_rand_below(&rand, 8));
        }
        if (weir_raft_members_decode(weir_buf_slice(&other), back, &count, &text, &err) == WEIR_OK) {
            weir_raft_members_encode(back, count, &again);
            ck_assert(weir_slice_eq(weir_buf_slice(&other), weir_buf_slice(&again)));
        }
        weir_buf_fini(&other);
        weir_buf_fini(&again);
    }
    bytes.data[1] = WEIR_RAFT_MEMBERS_MAX + 1;
    ck_assert_int_eq(weir_raft_members_decode(weir_buf_slice(&bytes), back, &count, &text, &err), WEIR_LIMIT);
    weir_buf_fini(&bytes);
    weir_buf_fini(&text);
}
END_TEST

/* --- (R3): each test is one of its workaround, and fails without it ----------------------------------------------------------------- */

/* What the library finds where it does not look what it should write. */
static void __attribute__((noinline)) scribble_stack(void)
{
    volatile uint8_t rubbish[STACK_BYTES];
    for (size_t i = 0; i < sizeof(rubbish); i++) {
        rubbish[i] = 7;
    }
}

/* Whether the answer to an old leader's snapshot tells of entries. */
static bool stale_answer_lies(uint32_t off)
{
    struct node n = {.off = off};
    struct weir_buf change_bytes = {0};
    struct weir_raft_entry founding = change_entry(1, "vvv", &change_bytes);
    struct raft_message result;
    init_node(&n, 1, "vvv");
    n.term = 5;
    open_node(&n);
    tick(&n, 0);
    struct weir_raft_snapshot snapshot = {.index = 1, .term = 1, .members_index = 1, .members = founding.data};
    struct raft_message message = {.type = RAFT_INSTALL_SNAPSHOT, .install_snapshot = {.term = 3}};
    scribble_stack();
    ck_assert_int_eq(receive(&n, 2, &message, NULL, &snapshot), WEIR_OK);
    ck_assert(last_sent(&n, RAFT_APPEND_ENTRIES_RESULT, &result));
    ck_assert_uint_eq(result.append_entries_result.term, 5);
    ck_assert_uint_eq(result.append_entries_result.rejected, 0);
    weir_buf_fini(&change_bytes);
    close_node(&n);
    return result.append_entries_result.last_log_index != 0;
}

START_TEST(workaround_1_a_stale_request_is_answered_with_nothing)
{
    ck_assert(!stale_answer_lies(0));
    ck_assert(stale_answer_lies(WEIR__RAFT_NO_STALE_ANSWER));
}
END_TEST

static uint64_t refused_pre_vote_term(uint32_t off)
{
    struct node n = {.off = off, .pre_vote = true};
    struct raft_message result;
    init_node(&n, 1, "vvv");
    n.term = 9;
    open_node(&n);
    tick(&n, 0);
    struct raft_message message = {
        .type = RAFT_REQUEST_VOTE,
        .request_vote = {.term = 3, .candidate_id = 2, .last_log_index = 100, .last_log_term = 2, .pre_vote = true}};
    ck_assert_int_eq(receive(&n, 2, &message, NULL, NULL), WEIR_OK);
    ck_assert(last_sent(&n, RAFT_REQUEST_VOTE_RESULT, &result));
    ck_assert(!result.request_vote_result.vote_granted);
    close_node(&n);
    return result.request_vote_result.term;
}

START_TEST(workaround_2_a_refused_pre_vote_tells_the_term)
{
    ck_assert_uint_eq(refused_pre_vote_term(0), 9);
    ck_assert_uint_eq(refused_pre_vote_term(WEIR__RAFT_NO_PRE_VOTE_TERM), 3);
}
END_TEST

/* Entries that a member gets after a rejection that came late. */
static unsigned entries_after_late_rejection(uint32_t off)
{
    struct node n = {.off = off};
    struct raft_message append;
    init_node(&n, 1, "vvv");
    open_node(&n);
    lead(&n, 2);
    uint64_t term = view(&n).term;
    for (int i = 0; i < 5; i++) {
        (void)submit(&n, "x");
    }
    persist(&n);
    uint64_t last = view(&n).last_index;
    receive_result(&n, 3, term, 0, last); /* it has everything */
    for (int i = 0; i < 3 * ELECTION_MS / HEARTBEAT_MS; i++) { /* and is silent until it is probed */
        receive_result(&n, 2, term, 0, last);
        tick(&n, HEARTBEAT_MS);
    }
    receive_result(&n, 3, term, last, last - 3); /* what it said long before */
    forget_mails(&n);
    (void)submit(&n, "new");
    persist(&n);
    unsigned most = 0;
    for (int i = 0; i < 5; i++) {
        receive_result(&n, 2, term, 0, last);
        forget_mails(&n);
        tick(&n, HEARTBEAT_MS);
        for (uint32_t m = 0; m < n.nmails; m++) {
            struct weir_error err;
            if (n.mails[m].to == 3) {
                ck_assert_int_eq(weir_raft_message_decode(weir_slice(n.mails[m].bytes, n.mails[m].len), 1, &append, &err), WEIR_OK);
                most = append.append_entries.n_entries > most ? append.append_entries.n_entries : most;
                weir_raft_message_drop(&append);
            }
        }
    }
    close_node(&n);
    return most;
}

START_TEST(workaround_3_a_late_rejection_starves_nobody)
{
    ck_assert_uint_gt(entries_after_late_rejection(0), 0);
    ck_assert_uint_eq(entries_after_late_rejection(WEIR__RAFT_NO_LATE_REJECTION), 0);
}
END_TEST

/* The last index after the leader's first message has come once more, when its entries are compacted. */
static uint64_t last_after_late_first_message(uint32_t off)
{
    struct node n = {.off = off};
    struct weir_error err;
    struct weir_buf change_bytes = {0};
    struct weir_raft_entry entries[] = {change_entry(1, "vvv", &change_bytes), command(2), command(2), command(2)};
    init_node(&n, 1, "vvv");
    open_node(&n);
    receive_entries(&n, 2, 2, 1, 1, 4, &entries[1], 3);
    persist(&n);
    ck_assert_int_eq(weir_raft_core_compact(n.core, 1, n.now, &err), WEIR_OK);
    persist(&n);
    ck_assert_uint_eq(n.log_first, 4);
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES, .append_entries = {.term = 2, .leader_commit = 4, .n_entries = 2}};
    /* Without the workaround the library says that it has appended entry 1 behind the last. */
    struct weir_buf bytes = {0};
    weir_raft_message_encode(&message, entries, NULL, &bytes);
    if (off != 0) {
        struct raft_message decoded;
        ck_assert_int_eq(weir_raft_message_decode(weir_buf_slice(&bytes), 2, &decoded, &err), WEIR_OK);
        weir__raft_fix_incoming(n.core, &decoded);
        bool moved = decoded.append_entries.prev_log_index != 0;
        weir_raft_message_drop(&decoded);
        weir_buf_fini(&bytes);
        weir_buf_fini(&change_bytes);
        struct raft_event event = {.time = (raft_time)n.now, .type = RAFT_RECEIVE, .receive = {.message = &decoded}};
        struct raft_update update = {0};
        ck_assert(!moved);
        /* One new entry "appended": as small as it gets, so that nothing is read behind the message. */
        struct raft_entry *one = raft_malloc(4 * sizeof(*one));
        uint8_t *batch = raft_malloc(4);
        for (int i = 0; i < 4; i++) {
            one[i] = (struct raft_entry){.term = i == 0 ? 1 : 2, .type = RAFT_COMMAND, .buf = {.base = batch, .len = 1}, .batch = batch};
        }
        decoded = (struct raft_message){.type = RAFT_APPEND_ENTRIES, .server_id = 2, .server_address = "peer",
                                        .append_entries = {.term = 2, .leader_commit = 4, .entries = one, .n_entries = 1}};
        ck_assert_int_eq(raft_step(&n.core->raft, &event, &update), 0);
        uint64_t last = raft_last_index(&n.core->raft);
        raft_free(batch);
        raft_free(one);
        close_node(&n);
        return last;
    }
    ck_assert_int_eq(weir_raft_core_receive(n.core, 2, weir_buf_slice(&bytes), n.now, &err), WEIR_OK);
    uint64_t last = view(&n).last_index;
    ck_assert_uint_eq(last, raft_last_index(&n.core->raft));
    weir_buf_fini(&bytes);
    weir_buf_fini(&change_bytes);
    close_node(&n);
    return last;
}

START_TEST(workaround_4_what_is_compacted_is_not_appended_again)
{
    ck_assert_uint_eq(last_after_late_first_message(0), 4);
    ck_assert_uint_ne(last_after_late_first_message(WEIR__RAFT_NO_BELOW_SNAPSHOT), 4);
}
END_TEST

/* A member that had fallen behind gets a change among other entries: does the library know that it is committed, and cut it off well? */
static bool change_among_others_is_noted(uint32_t off)
{
    struct node n = {.off = off};
    struct weir_buf bytes = {0};
    struct weir_raft_entry entries[] = {command(2), change_entry(2, "vvvl", &bytes), command(2)};
    init_node(&n, 1, "vvv");
    open_node(&n);
    receive_entries(&n, 2, 2, 1, 1, 1, entries, 3);
    persist(&n);
    receive_entries(&n, 2, 2, 4, 2, 4, NULL, 0);
    bool noted = n.core->raft.configuration_uncommitted_index == 0 && n.core->raft.configuration_committed_index == 3;
    weir_buf_fini(&bytes);
    close_node(&n);
    return noted;
}

/* Two changes come before it is heard that the first is committed, and the second is cut off again: how many have a vote? */
static unsigned voters_after_second_change_is_cut(uint32_t off)
{
    struct node n = {.off = off};
    struct weir_buf one = {0};
    struct weir_buf two = {0};
    struct weir_raft_entry entries[] = {change_entry(2, "vvvl", &one), command(2), change_entry(2, "vvvv", &two)};
    struct weir_raft_entry other = command(3);
    init_node(&n, 1, "vvv");
    open_node(&n);
    receive_entries(&n, 2, 2, 1, 1, 1, entries, 3);
    persist(&n);
    receive_entries(&n, 3, 3, 3, 2, 3, &other, 1);
    persist(&n);
    unsigned count = 0;
    for (unsigned i = 0; i < n.core->raft.configuration.n; i++) {
        count += n.core->raft.configuration.servers[i].role == RAFT_VOTER;
    }
    const struct weir_raft_member *members = NULL;
    ck_assert_uint_eq(weir_raft_core_members(n.core, &members), 4);
    ck_assert_int_eq(members[3].role, WEIR_RAFT_LEARNER);
    weir_buf_fini(&one);
    weir_buf_fini(&two);
    close_node(&n);
    return count;
}

START_TEST(workaround_5_a_change_among_other_entries_is_noted)
{
    ck_assert(change_among_others_is_noted(0));
    ck_assert(!change_among_others_is_noted(WEIR__RAFT_NO_CHANGE_FIRST));
    ck_assert_uint_eq(voters_after_second_change_is_cut(0), 3);
    ck_assert_uint_eq(voters_after_second_change_is_cut(WEIR__RAFT_NO_CHANGE_FIRST), 4);
}
END_TEST

/* The leader of term 2 made this one the only voter; once it has gone, this one leads: in which term? */
static uint64_t term_of_last_voter(uint32_t off, bool by_handover)
{
    struct node n = {.off = off};
    struct weir_buf bytes = {0};
    struct weir_raft_entry entry = change_entry(2, "vl", &bytes);
    init_node(&n, 1, "vv");
    open_node(&n);
    receive_entries(&n, 2, 2, 1, 1, 1, &entry, 1);
    persist(&n);
    receive_entries(&n, 2, 2, 2, 2, 2, NULL, 0);
    if (by_handover) {
        struct raft_message message = {.type = RAFT_TIMEOUT_NOW, .timeout_now = {.term = 2, .last_log_index = 2, .last_log_term = 2}};
        ck_assert_int_eq(receive(&n, 2, &message, NULL, NULL), WEIR_OK);
    }
    time_out(&n);
    ck_assert(n.leading);
    ck_assert_uint_eq(n.term, n.lead_term > 2 ? n.lead_term : 2);
    weir_buf_fini(&bytes);
    close_node(&n);
    return n.lead_term;
}

START_TEST(workaround_6_the_only_voter_takes_a_term_of_its_own)
{
    ck_assert_uint_eq(term_of_last_voter(0, false), 3);
    ck_assert_uint_eq(term_of_last_voter(0, true), 3);
    ck_assert_uint_eq(term_of_last_voter(WEIR__RAFT_NO_SOLE_TERM, false), 2);
    ck_assert_uint_eq(term_of_last_voter(WEIR__RAFT_NO_SOLE_TERM, true), 2);
}
END_TEST

/* The only voter promotes a learner and starts anew before that has heard of it: can it be elected? */
static bool is_elected_by_learner(uint32_t off)
{
    struct group *g = make_group(2, "vl");
    struct node *voter = &g->nodes[0];
    voter->core->off = g->nodes[1].core->off = off;
    voter->off = g->nodes[1].off = off;
    run(g, 10);
    (void)submit(voter, "x");
    run(g, 200);
    g->cut[1] = true;
    ck_assert_int_eq(change(voter, "vv"), WEIR_OK);
    persist(voter);
    reopen(voter);
    g->cut[1] = false;
    run(g, 10 * ELECTION_MS);
    bool elected = voter->leading;
    if (elected) {
        const struct weir_raft_member *members = NULL;
        ck_assert_uint_eq(weir_raft_core_members(g->nodes[1].core, &members), 2);
        ck_assert_int_eq(members[1].role, WEIR_RAFT_VOTER);
        (void)submit(voter, "y");
        run(g, 100);
        ck_same_state(voter, &g->nodes[1]);
    }
    drop_group(g);
    return elected;
}

/* One vote a term, and for nobody whose log is shorter. */
static bool learner_votes(struct node *n, uint64_t candidate, uint64_t term, uint64_t last_term, bool pre_vote)
{
    struct raft_message result;
    struct raft_message request = {
        .type = RAFT_REQUEST_VOTE,
        .request_vote = {.term = term, .candidate_id = candidate, .last_log_index = last_term, .last_log_term = last_term, .pre_vote = pre_vote}};
    forget_mails(n);
    ck_assert_int_eq(receive(n, candidate, &request, NULL, NULL), WEIR_OK);
    ck_assert(last_sent(n, RAFT_REQUEST_VOTE_RESULT, &result));
    ck_assert(!result.request_vote_result.vote_granted || pre_vote || (n->vote == candidate && n->term == term));
    return result.request_vote_result.vote_granted;
}

START_TEST(workaround_7_who_is_about_to_be_a_voter_votes)
{
    ck_assert(is_elected_by_learner(0));
    ck_assert(!is_elected_by_learner(WEIR__RAFT_NO_LEARNERS_VOTE));
    struct node n = {0};
    struct weir_raft_entry entry = command(2);
    init_node(&n, 1, "lvv");
    open_node(&n);
    receive_entries(&n, 2, 2, 1, 1, 1, &entry, 1);
    persist(&n);
    ck_assert(!learner_votes(&n, 3, 3, 2, false)); /* it hears of its leader */
    tick(&n, ELECTION_MS);
    ck_assert(learner_votes(&n, 3, 3, 2, true));
    ck_assert_uint_eq(n.term, 2);
    ck_assert(!learner_votes(&n, 3, 3, 1, true));
    ck_assert(!learner_votes(&n, 3, 3, 1, false));
    ck_assert_uint_eq(n.term, 3);
    ck_assert(learner_votes(&n, 2, 3, 2, false));
    ck_assert(!learner_votes(&n, 3, 3, 2, false));
    ck_assert(learner_votes(&n, 2, 3, 2, false));
    ck_assert(!learner_votes(&n, 2, 2, 2, false)); /* an old term */
    n.vote_fails = true;
    tick(&n, ELECTION_MS);
    forget_mails(&n);
    struct raft_message request = {.type = RAFT_REQUEST_VOTE,
                                   .request_vote = {.term = 9, .candidate_id = 2, .last_log_index = 9, .last_log_term = 8}};
    ck_assert_int_eq(receive(&n, 2, &request, NULL, NULL), WEIR_OK);
    ck_assert(n.failed);
    ck_assert_uint_eq(n.nmails, 0);
    close_node(&n);
}
END_TEST

/* What a learner-to-be has heard of its demotion when the leader loses it with the write that was under way: is anybody elected? */
static bool is_led_after_lost_demotion(uint32_t off)
{
    struct group *g = make_group(2, "vv");
    struct node *leader = elect(g);
    struct node *other = &g->nodes[2 - leader->id];
    (void)submit(leader, "x");
    run(g, 100);
    leader->core->off = leader->off = other->core->off = other->off = off;
    uint64_t durable = leader->log_last;
    char roles[] = "vv";
    roles[other->id - 1] = 'l';
    ck_assert_int_eq(change(leader, roles), WEIR_OK);
    for (uint32_t i = 0; i < leader->nmails; i++) {
        struct weir_error err;
        ck_assert_int_eq(
            weir_raft_core_receive(other->core, leader->id, weir_slice(leader->mails[i].bytes, leader->mails[i].len), other->now, &err), WEIR_OK);
    }
    persist(other);
    close_core(leader);
    cut_log(leader, durable + 1);
    open_node(leader);
    run(g, 10 * ELECTION_MS);
    bool led = leader_of(g) != NULL;
    drop_group(g);
    return led;
}

START_TEST(workaround_8_a_change_waits_for_the_leaders_disk)
{
    ck_assert(is_led_after_lost_demotion(0));
    ck_assert(!is_led_after_lost_demotion(WEIR__RAFT_NO_DURABLE_CHANGE));
}
END_TEST

/* Two leaders with a change each, of which neither knows the other's: an entry of one's own term comes before. */
START_TEST(a_change_waits_for_an_entry_of_its_term)
{
    struct node n = {0};
    init_node(&n, 1, "vvv");
    open_node(&n);
    lead(&n, 2);
    ck_assert_int_eq(change(&n, "vvvl"), WEIR_AGAIN); /* and begins one */
    ck_assert_uint_eq(view(&n).last_index, 2);
    ck_assert_int_eq(change(&n, "vvvl"), WEIR_AGAIN);
    ck_assert_uint_eq(view(&n).last_index, 2);
    persist(&n);
    receive_result(&n, 2, view(&n).term, 0, 2);
    ck_assert_int_eq(change(&n, "vvvl"), WEIR_OK);
    ck_assert_uint_eq(view(&n).last_index, 3);
    close_node(&n);
}
END_TEST

Suite *raft_core_suite(void)
{
    Suite *suite = suite_create("raft_core");
    TCase *tcase = tcase_create("raft_core");
    tcase_add_test(tcase, one_voter_leads_alone);
    tcase_add_test(tcase, three_agree_and_outlive_their_leader);
    tcase_add_test(tcase, a_handover_takes_no_election_timeout);
    tcase_add_test(tcase, a_snapshot_brings_back_who_was_long_away);
    tcase_add_test(tcase, members_change_one_at_a_time);
    tcase_add_test(tcase, nothing_is_sent_when_the_vote_is_not_durable);
    tcase_add_test(tcase, a_failed_write_ends_leadership);
    tcase_add_test(tcase, an_answer_waits_for_the_disk);
    tcase_add_test(tcase, the_end_of_an_old_write_is_not_that_of_a_new_one);
    tcase_add_test(tcase, an_install_abandons_a_snapshot_that_is_being_taken);
    tcase_add_test(tcase, what_contradicts_itself_is_not_opened);
    tcase_add_test(tcase, messages_that_cannot_be_are_refused);
    tcase_add_test(tcase, members_as_bytes);
    tcase_add_test(tcase, workaround_1_a_stale_request_is_answered_with_nothing);
    tcase_add_test(tcase, workaround_2_a_refused_pre_vote_tells_the_term);
    tcase_add_test(tcase, workaround_3_a_late_rejection_starves_nobody);
    tcase_add_test(tcase, workaround_4_what_is_compacted_is_not_appended_again);
    tcase_add_test(tcase, workaround_5_a_change_among_other_entries_is_noted);
    tcase_add_test(tcase, workaround_6_the_only_voter_takes_a_term_of_its_own);
    tcase_add_test(tcase, workaround_7_who_is_about_to_be_a_voter_votes);
    tcase_add_test(tcase, workaround_8_a_change_waits_for_the_leaders_disk);
    tcase_add_test(tcase, a_change_waits_for_an_entry_of_its_term);
    suite_add_tcase(suite, tcase);
    return suite;
}
