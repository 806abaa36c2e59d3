/*
 * For raft_log_test: members of a cluster in one process, each with a file system that forgets and work that runs when the test says so, a
 * network in memory, and virtual time. Everything that any of them applies goes into one history, which all must share.
 */
#ifndef WEIR_JOBMANAGER_HA_RAFT_LOG_TEST_KIT_H
#define WEIR_JOBMANAGER_HA_RAFT_LOG_TEST_KIT_H

#include "jobmanager/ha/raft_log.h"

#include <check.h>
#include <stdio.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/base/vec.h"
#include "common/fs/fs_sim.h"
#include "jobmanager/ha/raft_store.h"

enum { NODES_MAX = 6, HISTORY_MAX = 1 << 14, PROPOSALS_MAX = 1 << 14, ELECTION_MS = 400, HEARTBEAT_MS = 40, LEADER_ENTRY = 1 };

static const uint64_t nothing = UINT64_MAX; /* an index that no command has */

struct world;

struct node {
    struct weir_executor executor; /* first member */
    struct world *world;
    uint32_t number;
    struct weir_fs *fs;
    struct weir_work *work;
    bool ran; /* the work has, its end was not told yet */
    bool disk_stalls;
    struct weir_cluster_log *log; /* NULL: it is down */
    uint64_t id;
    bool founder, proposing, leader, failed;
    uint64_t epoch;
    uint64_t last_index;
    uint32_t applied, restored, works;
    uint64_t confirmed; /* question */
    uint64_t propose_on_leading; /* 0: no */
};

struct message {
    struct node *from, *to;
    struct weir_buf bytes;
};

enum fate { FATE_OPEN, FATE_COMMITTED, FATE_REJECTED, FATE_UNKNOWN };

struct world {
    struct weir_clock_virtual clock;
    struct weir_rand rand;
    struct node nodes[NODES_MAX];
    uint32_t n;
    bool cut[NODES_MAX][NODES_MAX];
    uint32_t lose_percent, hold_percent;
    struct message *mail;
    size_t nmail, mail_cap;
    uint64_t *history; /* by index: the value; nothing; or 0, not known yet */
    uint64_t known;    /* indices known */
    uint64_t epoch_leader[512];
    enum fate *fates; /* by proposal */
    enum weir_rc reason; /* of the last proposal that was told to have failed */
    uint8_t *applied; /* by value */
    uint64_t proposals;
    uint64_t compact_bytes;
    size_t snapshot_padding;
    uint64_t messages, bytes_sent;
};

/* --- the listener -------------------------------------------------------------------------------------------------------- */
static void learn(struct world *w, uint64_t index, uint64_t value)
{
    ck_assert_uint_lt(index, HISTORY_MAX);
    if (w->history[index] == 0) {
        w->history[index] = value;
        if (value != nothing) {
            ck_assert(!w->applied[value]); /* once */
            ck_assert_int_ne(w->fates[value], FATE_REJECTED); /* (C1) */
            w->applied[value] = 1;
        }
    }
    ck_assert_uint_eq(w->history[index], value); /* all apply the same */
    w->known = index > w->known ? index : w->known;
}

static enum weir_rc on_apply(void *ctx, uint64_t index, struct weir_slice entry, struct weir_error *err)
{
    struct node *node = ctx;
    (void)err;
    ck_assert(!node->proposing); /* (C4) */
    ck_assert_uint_gt(index, node->last_index); /* (C2) */
    ck_assert_uint_ge(entry.len, 8);
    for (uint64_t i = node->last_index + 1; i < index; i++) {
        learn(node->world, i, nothing);
    }
    learn(node->world, index, weir_le_get_u64(entry.data));
    node->last_index = index;
    node->applied++;
    return WEIR_OK;
}

static void on_outcome(void *ctx, uint64_t proposal, enum weir_proposal_outcome outcome, const struct weir_error *err)
{
    struct node *node = ctx;
    struct world *w = node->world;
    ck_assert(!node->proposing);
    ck_assert_int_eq(w->fates[proposal], FATE_OPEN); /* one outcome */
    ck_assert((outcome == WEIR_PROPOSAL_COMMITTED) == (err == NULL));
    w->reason = err == NULL ? w->reason : err->rc;
    switch (outcome) {
    case WEIR_PROPOSAL_COMMITTED:
        w->fates[proposal] = FATE_COMMITTED;
        ck_assert(w->applied[proposal] || proposal >= PROPOSALS_MAX - 64); /* (C2); the last ones are changes */
        break;
    case WEIR_PROPOSAL_REJECTED:
        w->fates[proposal] = FATE_REJECTED;
        ck_assert(!w->applied[proposal]);
        break;
    case WEIR_PROPOSAL_UNKNOWN:
        w->fates[proposal] = FATE_UNKNOWN;
        ck_assert(!node->leader); /* (C5) */
        break;
    }
}

static uint64_t propose(struct node *node, size_t bytes);

static void on_leadership(void *ctx, bool leader, uint64_t epoch, const struct weir_error *err)
{
    struct node *node = ctx;
    struct world *w = node->world;
    ck_assert(!node->proposing);
    ck_assert(leader == (err == NULL));
    ck_assert(leader != node->leader);
    if (leader) {
        ck_assert_uint_gt(epoch, node->epoch); /* (C3) */
        ck_assert_uint_lt(epoch, 512);
        ck_assert(w->epoch_leader[epoch] == 0);
        w->epoch_leader[epoch] = node->number + 1;
    } else {
        ck_assert_uint_eq(epoch, node->epoch);
    }
    node->leader = leader;
    node->epoch = epoch;
    if (leader && node->propose_on_leading != 0) {
        (void)propose(node, 8);
    }
}

static void on_confirmed(void *ctx, uint64_t question)
{
    struct node *node = ctx;
    ck_assert(node->leader && !node->proposing); /* (C6) */
    ck_assert_uint_gt(question, node->confirmed);
    node->confirmed = question;
}

static void on_failed(void *ctx, const struct weir_error *err)
{
    struct node *node = ctx;
    ck_assert(!node->proposing && !node->leader && !node->failed);
    ck_assert_int_ne(err->rc, WEIR_OK);
    node->failed = true;
}

static void on_snapshot_take(void *ctx, struct weir_buf *out)
{
    const struct node *node = ctx;
    weir_buf_put_u64(out, node->last_index);
    for (size_t i = 0; i < node->world->snapshot_padding / 8; i++) {
        weir_buf_put_u64(out, i * node->last_index);
    }
}

static enum weir_rc on_snapshot_restore(void *ctx, struct weir_slice snapshot, struct weir_error *err)
{
    struct node *node = ctx;
    (void)err;
    struct weir_reader reader = weir_reader(snapshot);
    node->last_index = weir_read_u64(&reader);
    for (uint64_t i = 0; reader.rest.len > 0; i++) {
        ck_assert_uint_eq(weir_read_u64(&reader), i * node->last_index);
    }
    ck_assert(!reader.failed);
    ck_assert_uint_le(node->last_index, node->world->known);
    node->restored++;
    return WEIR_OK;
}

/* --- the machine ---------------------------------------------------------------------------------------------------------- */
static void submit(struct weir_executor *executor, struct weir_work *work)
{
    struct node *node = (struct node *)executor;
    ck_assert_ptr_null(node->work); /* (L1) */
    node->work = work;
    node->ran = false;
}

static void run_work(struct node *node)
{
    if (node->work != NULL && !node->ran) {
        node->work->run(node->work);
        node->ran = true;
        node->works++;
    }
}

static void end_work(struct node *node)
{
    struct weir_work *work = node->work;
    if (work != NULL && node->ran) {
        node->work = NULL;
        work->in_flight = false;
        work->done(work);
    }
}

static struct node *node_of(struct world *w, uint64_t id)
{
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->nodes[i].id == id) {
            return &w->nodes[i];
        }
    }
    return NULL;
}

static void on_send(void *ctx, uint64_t to, const char *address, struct weir_slice chunk)
{
    struct node *node = ctx;
    struct world *w = node->world;
    struct node *peer = node_of(w, to);
    ck_assert_ptr_nonnull(peer);
    if (address != NULL) {
        char expected[32];
        (void)snprintf(expected, sizeof(expected), "host-%u:1", peer->number);
        ck_assert_str_eq(address, expected);
    }
    w->messages++;
    w->bytes_sent += chunk.len;
    w->mail = weir_vec_grow(w->mail, &w->mail_cap, sizeof(*w->mail), w->nmail + 1);
    w->mail[w->nmail] = (struct message){.from = node, .to = peer};
    weir_buf_put_slice(&w->mail[w->nmail++].bytes, chunk);
}

/* In order on each connection; what is held today holds what is behind it. */
static void deliver(struct world *w)
{
    bool held[NODES_MAX][NODES_MAX] = {{false}};
    struct message *mail = w->mail;
    size_t nmail = w->nmail;
    w->mail = NULL;
    w->nmail = w->mail_cap = 0;
    struct message *left = weir_calloc(nmail + 1, sizeof(*left));
    size_t nleft = 0;
    for (size_t i = 0; i < nmail; i++) {
        struct message *message = &mail[i];
        struct weir_error err;
        uint32_t from = message->from->number;
        uint32_t to = message->to->number;
        bool lost = w->cut[from][to] || message->to->log == NULL || weir_rand_below(&w->rand, 100) < w->lose_percent;
        held[from][to] = held[from][to] || weir_rand_below(&w->rand, 100) < w->hold_percent;
        if (!lost && held[from][to]) {
            left[nleft++] = *message;
            continue;
        }
        if (!lost) {
            ck_assert_int_eq(weir_raft_log_receive(message->to->log, message->from->id, weir_buf_slice(&message->bytes), &err), WEIR_OK);
        }
        weir_buf_fini(&message->bytes);
    }
    for (size_t i = 0; i < w->nmail; i++) {
        left = weir_realloc(left, (nleft + 2) * sizeof(*left));
        left[nleft++] = w->mail[i];
    }
    weir_free(w->mail);
    weir_free(mail);
    w->mail = left;
    w->nmail = w->mail_cap = nleft;
}

static void world_init(struct world *w, uint32_t n, uint64_t seed)
{
    struct weir_error err;
    *w = (struct world){.n = n};
    weir_clock_virtual_init(&w->clock, 0, 0);
    weir_rand_init(&w->rand, seed);
    w->history = weir_calloc(HISTORY_MAX, sizeof(*w->history));
    w->fates = weir_calloc(PROPOSALS_MAX, sizeof(*w->fates));
    w->applied = weir_calloc(PROPOSALS_MAX, 1);
    for (uint32_t i = 0; i < n; i++) {
        struct node *node = &w->nodes[i];
        *node = (struct node){.executor.submit = submit, .world = w, .number = i, .fs = weir_fs_sim_create(), .id = 100 + i, .founder = true};
        ck_assert_int_eq(weir_fs_mkdirs(node->fs, "/raft", &err), WEIR_OK);
    }
}

static const char *address_of(uint32_t number, char buf[32])
{
    (void)snprintf(buf, 32, "host-%u:1", number);
    return buf;
}

/* The founders, all voters. */
static uint32_t founders(const struct world *w, struct weir_raft_member members[], char addresses[][32])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->nodes[i].founder) {
            members[count] = (struct weir_raft_member){.id = w->nodes[i].id, .address = address_of(i, addresses[i]), .role = WEIR_RAFT_VOTER};
            count++;
        }
    }
    return count;
}

static enum weir_rc node_open(struct node *node, struct weir_error *err)
{
    struct world *w = node->world;
    struct weir_raft_member members[NODES_MAX];
    char addresses[NODES_MAX][32];
    uint32_t count = founders(w, members, addresses);
    node->last_index = 0;
    node->applied = node->restored = 0;
    node->epoch = 0;
    node->leader = node->failed = false;
    const struct weir_raft_log_options options = {.fs = node->fs,
                                                  .dir = "/raft",
                                                  .executor = &node->executor,
                                                  .clock = &w->clock.clock,
                                                  .seed = weir_rand_u64(&w->rand),
                                                  .id = node->founder ? node->id : 0,
                                                  .founders = members,
                                                  .nfounders = node->founder ? count : 0,
                                                  .election_timeout_ms = ELECTION_MS,
                                                  .heartbeat_ms = HEARTBEAT_MS,
                                                  .compact_bytes = w->compact_bytes,
                                                  .listener = {.ctx = node,
                                                               .apply = on_apply,
                                                               .outcome = on_outcome,
                                                               .leadership = on_leadership,
                                                               .confirmed = on_confirmed,
                                                               .failed = on_failed,
                                                               .snapshot_take = on_snapshot_take,
                                                               .snapshot_restore = on_snapshot_restore},
                                                  .send = on_send,
                                                  .send_ctx = node};
    enum weir_rc rc = weir_raft_log_open(&options, &node->log, err);
    if (rc == WEIR_OK) {
        node->id = weir_raft_log_id(node->log);
        weir_raft_log_start(node->log);
    }
    return rc;
}

/* The process is gone; the work that it had may have been done or not. */
static void node_kill(struct node *node)
{
    if (node->log == NULL) {
        return;
    }
    struct world *w = node->world;
    if (node->work != NULL) {
        if (weir_rand_below(&w->rand, 2) == 0) {
            run_work(node);
        }
        node->work->in_flight = false;
        node->work = NULL;
    }
    weir_cluster_log_destroy(node->log);
    node->log = NULL;
    node->leader = false;
    for (size_t i = 0; i < w->nmail; i++) { /* connections break */
        if (w->mail[i].from == node || w->mail[i].to == node) {
            weir_buf_fini(&w->mail[i].bytes);
            w->mail[i] = w->mail[--w->nmail];
            i--;
        }
    }
}

static void node_crash(struct node *node)
{
    node_kill(node);
    weir_fs_sim_crash(node->fs, weir_rand_u64(&node->world->rand));
}

static void nodes_open(struct world *w)
{
    struct weir_error err;
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->nodes[i].log == NULL) {
            ck_assert_int_eq(node_open(&w->nodes[i], &err), WEIR_OK);
        }
    }
}

static void world_fini(struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        node_kill(&w->nodes[i]);
        weir_fs_sim_destroy(w->nodes[i].fs);
    }
    for (size_t i = 0; i < w->nmail; i++) {
        weir_buf_fini(&w->mail[i].bytes);
    }
    weir_free(w->mail);
    weir_free(w->history);
    weir_free(w->fates);
    weir_free(w->applied);
}

static bool works_left(const struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->nodes[i].work != NULL && !w->nodes[i].disk_stalls) {
            return true;
        }
    }
    return false;
}

/* Everything that can happen at this moment; with hold_percent some of it stays for later. */
static void do_now(struct world *w)
{
    for (int round = 0; round < (w->hold_percent > 0 ? 2 : 100); round++) {
        for (uint32_t i = 0; i < w->n; i++) {
            struct node *node = &w->nodes[i];
            if (node->log != NULL && !node->disk_stalls && weir_rand_below(&w->rand, 100) >= w->hold_percent) {
                run_work(node);
                if (weir_rand_below(&w->rand, 100) >= w->hold_percent) {
                    end_work(node);
                }
            }
        }
        deliver(w);
        if (w->nmail == 0 && !works_left(w)) {
            break;
        }
    }
}

static void run_ms(struct world *w, int64_t ms)
{
    for (; ms > 0; ms--) {
        weir_clock_virtual_advance(&w->clock, 1000000);
        int64_t now_ms = weir_clock_mono_ms(&w->clock.clock);
        for (uint32_t i = 0; i < w->n; i++) {
            if (w->nodes[i].log != NULL && weir_raft_log_deadline_ms(w->nodes[i].log) <= now_ms) {
                weir_raft_log_tick(w->nodes[i].log);
            }
        }
        do_now(w);
    }
}

static uint64_t propose(struct node *node, size_t bytes)
{
    struct world *w = node->world;
    uint8_t *entry = weir_calloc(1, bytes);
    uint64_t value = ++w->proposals;
    ck_assert_uint_lt(value, PROPOSALS_MAX - 64);
    weir_le_put_u64(entry, value);
    bool outer = node->proposing;
    node->proposing = true;
    weir_cluster_log_propose(node->log, value, weir_slice(entry, bytes));
    node->proposing = outer;
    weir_free(entry);
    return value;
}

/* Runs until one leads that all who are up agree on. */
static struct node *wait_leader(struct world *w)
{
    for (int ms = 0; ms < 30000; ms++) {
        struct node *leader = NULL;
        uint64_t term = 0;
        for (uint32_t i = 0; i < w->n; i++) {
            if (w->nodes[i].log != NULL && w->nodes[i].leader && w->nodes[i].epoch > term) {
                leader = &w->nodes[i];
                term = leader->epoch;
            }
        }
        bool agreed = leader != NULL;
        for (uint32_t i = 0; agreed && i < w->n; i++) {
            struct weir_raft_core_view view;
            if (w->nodes[i].log != NULL && !w->nodes[i].failed) {
                weir_raft_log_view(w->nodes[i].log, &view);
                agreed = view.term == term && view.leader == leader->id;
            }
        }
        if (agreed) {
            return leader;
        }
        run_ms(w, 1);
    }
    ck_abort_msg("nobody leads");
    return NULL;
}

/* Proposes count values and waits until all who are up have applied them. */
static void propose_and_wait(struct world *w, struct node *leader, uint32_t count, size_t bytes)
{
    uint64_t first = w->proposals + 1;
    for (uint32_t i = 0; i < count; i++) {
        (void)propose(leader, bytes);
    }
    for (int ms = 0; ms < 20000; ms++) {
        run_ms(w, 1);
        bool all = true;
        for (uint32_t i = 0; i < count; i++) {
            all = all && w->fates[first + i] == FATE_COMMITTED;
        }
        for (uint32_t i = 0; i < w->n; i++) {
            const struct node *node = &w->nodes[i];
            all = all && (node->log == NULL || node->failed || node->last_index >= leader->last_index);
        }
        if (all) {
            return;
        }
    }
    ck_abort_msg("not applied by all");
}

/* No proposal that anybody was told to be rejected is in the history; every committed one is. */
static void check_fates(const struct world *w)
{
    for (uint64_t i = 1; i <= w->proposals; i++) {
        ck_assert(w->fates[i] != FATE_REJECTED || !w->applied[i]);
        ck_assert(w->fates[i] != FATE_COMMITTED || w->applied[i]);
    }
}

#endif
