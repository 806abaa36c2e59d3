/*
 * The cluster log over Raft: one member, several, bad disks, members that come and go, and anything at random.
 */
#include "jobmanager/ha/raft_log_test_kit.h"

/* --- one member ------------------------------------------------------------------------------------------------------------ */
START_TEST(a_single_member_leads_at_once)
{
    struct world w;
    world_init(&w, 1, 1);
    struct node *node = &w.nodes[0];
    node->propose_on_leading = LEADER_ENTRY;
    for (uint32_t life = 1; life <= 4; life++) {
        w.compact_bytes = life >= 3 ? 300 : 0;
        nodes_open(&w);
        ck_assert(node->leader); /* no time has passed */
        ck_assert_uint_ge(node->epoch, life);
        node->works = 0;
        do_now(&w);
        ck_assert_uint_le(node->works, 2); /* barrier and first proposal in one */
        ck_assert_uint_eq(w.fates[w.proposals], FATE_COMMITTED);
        ck_assert_uint_eq(node->last_index, w.known); /* everything that ever was */
        for (int i = 0; i < 10; i++) {
            (void)propose(node, 8 + (size_t)i);
            ck_assert_uint_eq(w.fates[w.proposals], FATE_OPEN); /* (C4) */
            if (i == 4) {
                do_now(&w);
            }
        }
        node->works = 0;
        do_now(&w);
        ck_assert_uint_le(node->works, 4); /* what waits is one write */
        for (uint64_t i = w.proposals - 9; i <= w.proposals; i++) {
            ck_assert_uint_eq(w.fates[i], FATE_COMMITTED);
        }
        ck_assert(!weir_raft_log_busy(node->log));
        node_crash(node);
    }
    ck_assert_uint_eq(w.proposals, 44);
    check_fates(&w);
    world_fini(&w);
}
END_TEST

/* The n-th disk call fails, once or for ever: whatever was COMMITTED is there afterwards, whatever was REJECTED is not. */
START_TEST(failing_disk_calls)
{
    uint32_t failures = 0;
    uint32_t survived = 0;
    for (uint64_t nth = 1;; nth++) {
        struct world w;
        struct weir_error err;
        world_init(&w, 1, nth);
        w.compact_bytes = 200;
        struct node *node = &w.nodes[0];
        weir_fs_sim_fail(node->fs, (struct weir_fs_sim_fault){.nth = nth, .rc = _i / 2 == 0 ? WEIR_IO : WEIR_RESOURCE, .lasting = _i % 2 == 1});
        if (node_open(node, &err) == WEIR_OK) {
            for (int i = 0; i < 20; i++) {
                bool failed = node->failed;
                uint64_t proposal = propose(node, 8);
                do_now(&w);
                ck_assert_int_ne(w.fates[proposal], FATE_OPEN);
                ck_assert(!failed || w.fates[proposal] == FATE_REJECTED); /* (C5) */
            }
            ck_assert(node->failed == !node->leader);
            ck_assert(!node->failed || weir_raft_log_deadline_ms(node->log) == INT64_MAX);
        }
        bool met = weir_fs_sim_failed(node->fs);
        failures += node->failed;
        survived += met && node->log != NULL && !node->failed;
        weir_fs_sim_fail(node->fs, (struct weir_fs_sim_fault){0});
        node_crash(node);
        ck_assert_int_eq(node_open(node, &err), WEIR_OK);
        do_now(&w);
        ck_assert(node->leader);
        (void)propose(node, 8);
        do_now(&w);
        ck_assert_uint_eq(node->last_index, w.known);
        check_fates(&w);
        world_fini(&w);
        if (!met) {
            break;
        }
    }
    ck_assert_uint_gt(failures, 20);
    ck_assert(_i / 2 == 0 || _i % 2 == 1 || survived > 5); /* a disk that is full for a moment when the log is compacted */
}
END_TEST

/* The log cannot be compacted for a while, and goes on; then it can. */
START_TEST(a_compaction_that_finds_the_disk_full_is_tried_again)
{
    struct world w;
    world_init(&w, 1, 3);
    w.compact_bytes = 1000;
    w.snapshot_padding = 64;
    nodes_open(&w);
    struct node *node = &w.nodes[0];
    struct weir_raft_core_view view;
    weir_raft_log_view(node->log, &view);
    for (int i = 0; node->work == NULL || view.snapshot_index == 0; i++) {
        (void)propose(node, 8);
        run_work(node);
        if (weir_fs_sim_failed(node->fs)) {
            break;
        }
        weir_fs_sim_fail(node->fs, (struct weir_fs_sim_fault){0});
        end_work(node);
        weir_fs_sim_fail(node->fs, (struct weir_fs_sim_fault){.nth = 3, .rc = WEIR_RESOURCE}); /* the third call comes only in a compaction */
        ck_assert_int_lt(i, 100);
    }
    weir_fs_sim_fail(node->fs, (struct weir_fs_sim_fault){0});
    do_now(&w);
    weir_raft_log_view(node->log, &view);
    ck_assert(node->leader && !node->failed);
    ck_assert_uint_eq(view.snapshot_index, 0);
    (void)propose(node, 8);
    do_now(&w);
    ck_assert_uint_eq(w.fates[w.proposals], FATE_COMMITTED);
    run_ms(&w, 6000);
    weir_raft_log_view(node->log, &view);
    ck_assert_uint_gt(view.snapshot_index, 0);
    node_crash(node);
    nodes_open(&w);
    do_now(&w);
    ck_assert_uint_eq(node->last_index, w.known);
    ck_assert_uint_eq(node->restored, 1);
    world_fini(&w);
}
END_TEST

static enum weir_rc refuse_entry(void *ctx, uint64_t index, struct weir_slice entry, struct weir_error *err)
{
    (void)ctx;
    (void)index;
    (void)entry;
    return weir_error_set(err, WEIR_CORRUPT, "no such record");
}

START_TEST(an_entry_that_cannot_be_read_fails_the_log)
{
    struct world w;
    struct weir_error err;
    world_init(&w, 1, 3);
    struct node *node = &w.nodes[0];
    const struct weir_raft_member member = {.id = 5, .address = "host-0:1", .role = WEIR_RAFT_VOTER};
    const struct weir_raft_log_options options = {.fs = node->fs,
                                                  .dir = "/raft",
                                                  .executor = &node->executor,
                                                  .clock = &w.clock.clock,
                                                  .id = 5,
                                                  .founders = &member,
                                                  .nfounders = 1,
                                                  .election_timeout_ms = ELECTION_MS,
                                                  .heartbeat_ms = HEARTBEAT_MS,
                                                  .listener = {.ctx = node, .apply = refuse_entry, .outcome = on_outcome, .leadership = on_leadership,
                                                               .failed = on_failed},
                                                  .send = on_send,
                                                  .send_ctx = node};
    ck_assert_int_eq(weir_raft_log_open(&options, &node->log, &err), WEIR_OK);
    weir_raft_log_start(node->log);
    uint64_t first = propose(node, 8);
    uint64_t second = propose(node, 8);
    do_now(&w);
    ck_assert(node->failed && !node->leader);
    ck_assert_int_eq(w.fates[first], FATE_UNKNOWN);
    ck_assert_int_ne(w.fates[second], FATE_COMMITTED);
    uint64_t third = propose(node, 8);
    ck_assert_int_eq(w.fates[third], FATE_OPEN);
    do_now(&w);
    ck_assert_int_eq(w.fates[third], FATE_REJECTED);
    world_fini(&w);
}
END_TEST

/* --- several --------------------------------------------------------------------------------------------------------------- */
START_TEST(leaders_come_and_go)
{
    struct world w;
    world_init(&w, _i, (uint64_t)_i);
    for (uint32_t i = 0; i < w.n; i++) {
        w.nodes[i].propose_on_leading = LEADER_ENTRY;
    }
    nodes_open(&w);
    for (int round = 0; round < 12; round++) {
        struct node *leader = wait_leader(&w);
        propose_and_wait(&w, leader, 20, 40);
        if (round % 3 == 2) { /* all at once */
            for (uint32_t i = 0; i < w.n; i++) {
                node_crash(&w.nodes[i]);
            }
        } else {
            node_crash(leader);
            struct node *next = wait_leader(&w);
            ck_assert_ptr_ne(next, leader);
            propose_and_wait(&w, next, 5, 40);
        }
        nodes_open(&w);
        leader = wait_leader(&w);
        propose_and_wait(&w, leader, 1, 40);
    }
    check_fates(&w);
    for (uint64_t i = 1; i <= w.proposals; i++) {
        ck_assert_int_ne(w.fates[i], FATE_REJECTED);
    }
    world_fini(&w);
}
END_TEST

START_TEST(who_does_not_lead_rejects_later)
{
    struct world w;
    world_init(&w, 3, 5);
    nodes_open(&w);
    uint64_t early = propose(&w.nodes[0], 8);
    do_now(&w);
    ck_assert_int_eq(w.fates[early], FATE_REJECTED);
    struct node *leader = wait_leader(&w);
    struct node *follower = &w.nodes[(leader->number + 1) % 3];
    uint64_t refused = propose(follower, 8);
    ck_assert_int_eq(w.fates[refused], FATE_OPEN);
    do_now(&w);
    ck_assert_int_eq(w.fates[refused], FATE_REJECTED);
    struct weir_error err;
    ck_assert_int_eq(weir_raft_log_receive(follower->log, leader->id, weir_slice_str("junk"), &err), WEIR_INVALID);
    propose_and_wait(&w, leader, 3, 8);
    world_fini(&w);
}
END_TEST

START_TEST(leadership_is_handed_over)
{
    struct world w;
    world_init(&w, 3, 6);
    nodes_open(&w);
    struct node *leader = wait_leader(&w);
    propose_and_wait(&w, leader, 3, 8);
    run_ms(&w, 100);
    ck_assert(!weir_raft_log_transfer(w.nodes[(leader->number + 1) % 3].log));
    ck_assert(weir_raft_log_transfer(leader->log));
    uint64_t late = propose(leader, 8);
    run_ms(&w, 5);
    ck_assert(!leader->leader);
    ck_assert_int_ne(w.fates[late], FATE_OPEN);
    struct node *next = wait_leader(&w);
    ck_assert_ptr_ne(next, leader);
    propose_and_wait(&w, next, 3, 8);
    check_fates(&w);
    world_fini(&w);
}
END_TEST

/* While cut off, a leader's proposals are in the dark: they are UNKNOWN, whatever becomes of them. */
START_TEST(unknown_is_unknown)
{
    struct world w;
    world_init(&w, 3, 7);
    nodes_open(&w);
    struct node *leader = wait_leader(&w);
    propose_and_wait(&w, leader, 3, 8);
    uint32_t other = (leader->number + 1) % 3;
    uint32_t third = (leader->number + 2) % 3;
    for (int arrives = 0; arrives < 2; arrives++) {
        w.cut[other][leader->number] = w.cut[third][leader->number] = true; /* its words arrive, the answers do not */
        w.cut[leader->number][other] = w.cut[leader->number][third] = arrives == 0;
        uint64_t dark = propose(leader, 8);
        do_now(&w);
        ck_assert_int_eq(w.fates[dark], FATE_OPEN);
        w.cut[leader->number][other] = w.cut[leader->number][third] = true;
        run_ms(&w, 3 * ELECTION_MS);
        ck_assert_int_eq(w.fates[dark], FATE_UNKNOWN);
        ck_assert(!leader->leader);
        memset(w.cut, 0, sizeof(w.cut));
        struct node *next = wait_leader(&w);
        propose_and_wait(&w, next, 3, 8);
        ck_assert_int_eq(w.applied[dark], arrives);
        ck_assert_int_eq(w.fates[dark], FATE_UNKNOWN);
        leader = next;
        other = (leader->number + 1) % 3;
        third = (leader->number + 2) % 3;
    }
    world_fini(&w);
}
END_TEST

/* It comes back to a log that was compacted, and gets a snapshot of several chunks. */
/* (C6) */
START_TEST(who_is_cut_off_is_not_confirmed)
{
    struct world w;
    uint64_t question = 0;
    world_init(&w, 3, 9);
    nodes_open(&w);
    struct node *leader = wait_leader(&w);
    propose_and_wait(&w, leader, 1, 8);
    uint32_t works = leader->works;
    ck_assert(!weir_cluster_log_confirm(leader->log, &question)); /* the others are to be asked */
    do_now(&w);
    ck_assert_uint_ge(leader->confirmed, question);
    ck_assert_uint_eq(leader->works, works); /* without a write */
    for (uint32_t i = 0; i < 3; i++) {
        w.cut[leader->number][i] = w.cut[i][leader->number] = true;
    }
    ck_assert(!weir_cluster_log_confirm(leader->log, &question));
    run_ms(&w, 30 * ELECTION_MS);
    ck_assert(!leader->leader);
    memset(w.cut, 0, sizeof(w.cut));
    (void)wait_leader(&w);
    run_ms(&w, 10 * HEARTBEAT_MS);
    ck_assert(leader->leader || leader->confirmed < question);
    world_fini(&w);
}
END_TEST

START_TEST(a_member_that_was_away_gets_a_snapshot)
{
    struct world w;
    world_init(&w, 3, 8);
    w.compact_bytes = 2000;
    w.snapshot_padding = 5 * WEIR_RAFT_CHUNK_BYTES / 2;
    nodes_open(&w);
    struct node *leader = wait_leader(&w);
    propose_and_wait(&w, leader, 10, 8);
    struct node *away = &w.nodes[(leader->number + 1) % 3];
    node_crash(away);
    propose_and_wait(&w, leader, 10, 8);
    for (int i = 0; i < 12; i++) {
        propose_and_wait(&w, leader, 1, 1 << 20); /* four times the snapshot */
    }
    for (int life = 0; life < 3; life++) {
        struct weir_error err;
        ck_assert_int_eq(node_open(away, &err), WEIR_OK);
        struct node *now = wait_leader(&w);
        propose_and_wait(&w, now, 5, 8);
        ck_assert_uint_eq(away->last_index, w.known);
        ck_assert_uint_ge(away->restored, 1);
        node_crash(away);
    }
    check_fates(&w);
    world_fini(&w);
}
END_TEST

/* A snapshot of the leader comes while the disk hangs, in a write or in a compaction, and more waits for it. */
START_TEST(an_install_overtakes_what_waits_for_the_disk)
{
    for (uint64_t ahead = 0; ahead < 24; ahead++) {
        struct world w;
        world_init(&w, 3, 100 + ahead);
        w.compact_bytes = 500;
        nodes_open(&w);
        struct node *leader = wait_leader(&w);
        struct node *slow = &w.nodes[(leader->number + 1) % 3];
        propose_and_wait(&w, leader, 4, 40);
        slow->disk_stalls = true;
        for (uint64_t i = 0; i < ahead + 3; i++) {
            (void)propose(leader, 40);
            do_now(&w);
            if (i < ahead) { /* one write at a time: the next may be a compaction */
                run_work(slow);
                end_work(slow);
            }
        }
        ck_assert_ptr_nonnull(slow->work);
        for (uint32_t i = 0; i < 3; i++) {
            w.cut[slow->number][i] = w.cut[i][slow->number] = true;
        }
        for (int i = 0; i < 40; i++) {
            (void)propose(leader, 40);
            do_now(&w);
        }
        memset(w.cut, 0, sizeof(w.cut));
        run_ms(&w, 3 * ELECTION_MS);
        uint32_t restored = slow->restored;
        slow->disk_stalls = false;
        propose_and_wait(&w, wait_leader(&w), 3, 40);
        ck_assert_uint_gt(slow->restored, restored);
        ck_assert_uint_eq(slow->last_index, w.known);
        node_crash(slow);
        nodes_open(&w);
        propose_and_wait(&w, wait_leader(&w), 3, 40);
        ck_assert_uint_eq(slow->last_index, w.known);
        check_fates(&w);
        world_fini(&w);
    }
}
END_TEST

static void change(struct world *w, struct node *leader, const struct weir_raft_member *members, uint32_t count, enum fate expected)
{
    uint64_t proposal = PROPOSALS_MAX - 64;
    w->fates[proposal] = FATE_OPEN;
    weir_raft_log_change(leader->log, proposal, members, count);
    ck_assert_int_eq(w->fates[proposal], FATE_OPEN);
    run_ms(w, 200);
    ck_assert_int_eq(w->fates[proposal], expected);
}

/* A machine is lost with its disk: an empty one takes its place. */
START_TEST(a_member_is_replaced_by_an_empty_one)
{
    struct world w;
    world_init(&w, 4, 9);
    w.compact_bytes = 2000;
    struct weir_raft_member members[NODES_MAX];
    char addresses[NODES_MAX][32];
    w.nodes[3].founder = false;
    w.nodes[3].id = 0;
    nodes_open(&w);
    struct node *fresh = &w.nodes[3];
    ck_assert_uint_eq(fresh->id, weir_raft_log_incarnation(fresh->log));
    for (int ms = 0; ms < 5000; ms++) {
        run_ms(&w, 1);
        ck_assert(!fresh->leader); /* it waits */
    }
    node_kill(fresh);
    struct node *leader = wait_leader(&w);
    struct node *lost = &w.nodes[(leader->number + 1) % 3];
    propose_and_wait(&w, leader, 50, 60);
    node_kill(lost);
    uint64_t id = fresh->id;
    struct weir_error err;
    ck_assert_int_eq(node_open(fresh, &err), WEIR_OK);
    ck_assert_uint_eq(fresh->id, id); /* the directory's */
    uint32_t count = founders(&w, members, addresses);
    members[count] = (struct weir_raft_member){.id = fresh->id, .address = address_of(3, addresses[3]), .role = WEIR_RAFT_VOTER};
    change(&w, leader, members, count + 1, FATE_REJECTED); /* it begins as a learner */
    members[count].role = WEIR_RAFT_LEARNER;
    change(&w, fresh, members, count + 1, FATE_REJECTED); /* it does not lead */
    change(&w, leader, members, count + 1, FATE_COMMITTED);
    propose_and_wait(&w, leader, 5, 60);
    uint64_t match = 0;
    int64_t heard_ms = 0;
    run_ms(&w, 100);
    ck_assert_int_eq(weir_raft_log_progress(leader->log, fresh->id, &match, &heard_ms), WEIR_OK);
    ck_assert_uint_ge(match, w.known);
    members[count].role = WEIR_RAFT_VOTER;
    change(&w, leader, members, count + 1, FATE_COMMITTED);
    for (uint32_t i = 0; i < count; i++) {
        if (members[i].id == lost->id) {
            members[i] = members[count];
        }
    }
    change(&w, leader, members, count, FATE_COMMITTED);
    const struct weir_raft_member *now = NULL;
    ck_assert_uint_eq(weir_raft_log_members(fresh->log, &now), 3);
    node_crash(leader); /* two of three: the new one counts */
    struct node *next = wait_leader(&w);
    propose_and_wait(&w, next, 5, 60);
    ck_assert_uint_eq(fresh->last_index, w.known);
    node_crash(fresh);
    ck_assert_int_eq(node_open(fresh, &err), WEIR_OK);
    propose_and_wait(&w, wait_leader(&w), 5, 60);
    ck_assert_uint_eq(fresh->last_index, w.known);
    check_fates(&w);
    world_fini(&w);
}
END_TEST

/* One member's disk is full, or does not sync: it says so and is silent; the others go on. */
START_TEST(a_bad_disk_among_three)
{
    struct world w;
    world_init(&w, 3, 10 + (uint64_t)_i);
    nodes_open(&w);
    struct node *leader = wait_leader(&w);
    propose_and_wait(&w, leader, 5, 8);
    struct node *bad = _i / 2 == 0 ? leader : &w.nodes[(leader->number + 1) % 3];
    weir_fs_sim_fail(bad->fs, (struct weir_fs_sim_fault){.nth = 2, .rc = _i % 2 == 0 ? WEIR_IO : WEIR_RESOURCE, .lasting = true}); /* 2: the fsync */
    for (int i = 0; i < 5; i++) {
        (void)propose(leader, 8);
    }
    run_ms(&w, 10);
    ck_assert(bad->failed && !bad->leader);
    ck_assert(!weir_raft_log_busy(bad->log));
    struct node *next = wait_leader(&w);
    ck_assert_ptr_ne(next, bad);
    propose_and_wait(&w, next, 5, 8);
    weir_fs_sim_fail(bad->fs, (struct weir_fs_sim_fault){0});
    node_crash(bad);
    nodes_open(&w);
    propose_and_wait(&w, wait_leader(&w), 5, 8);
    ck_assert_uint_eq(bad->last_index, w.known);
    check_fates(&w);
    world_fini(&w);
}
END_TEST

/* A disk that hangs holds up its member's word, not the others. */
START_TEST(a_disk_that_hangs)
{
    struct world w;
    world_init(&w, 3, 20);
    nodes_open(&w);
    struct node *leader = wait_leader(&w);
    leader->disk_stalls = true;
    uint64_t first = propose(leader, 8);
    uint64_t second = propose(leader, 8);
    do_now(&w);
    ck_assert_int_eq(w.fates[first], FATE_COMMITTED); /* by the other two */
    ck_assert_int_eq(w.fates[second], FATE_OPEN);
    leader->disk_stalls = false;
    do_now(&w);
    ck_assert_int_eq(w.fates[second], FATE_COMMITTED);
    leader->disk_stalls = true;
    for (uint32_t i = 0; i < 3; i++) {
        w.cut[i][leader->number] = true;
    }
    uint64_t dark = propose(leader, 8);
    uint64_t waits = propose(leader, 8);
    run_ms(&w, 3 * ELECTION_MS);
    ck_assert(!leader->leader);
    ck_assert_int_eq(w.fates[dark], FATE_UNKNOWN);
    ck_assert_int_eq(w.fates[waits], FATE_REJECTED);
    ck_assert_int_eq(w.reason, WEIR_STALE); /* it was lost, not never held */
    leader->disk_stalls = false;
    world_fini(&w);
}
END_TEST

/* --- anything, at random ------------------------------------------------------------------------------------------------------ */
static void disturb(struct world *w)
{
    struct node *node = &w->nodes[weir_rand_below(&w->rand, w->n)];
    uint32_t other = (uint32_t)weir_rand_below(&w->rand, w->n);
    switch (weir_rand_below(&w->rand, 40)) {
    case 0:
        node_crash(node);
        break;
    case 1:
        node_kill(node);
        break;
    case 2:
    case 3:
    case 4:
        nodes_open(w);
        break;
    case 5:
        w->cut[node->number][other] = true;
        break;
    case 6:
    case 7:
        memset(w->cut, 0, sizeof(w->cut));
        break;
    case 8:
        for (uint32_t i = 0; i < w->n; i++) {
            w->cut[node->number][i] = w->cut[i][node->number] = true;
        }
        break;
    case 9:
        node->disk_stalls = !node->disk_stalls;
        break;
    case 10:
        w->lose_percent = (uint32_t)weir_rand_below(&w->rand, 3) * 10;
        break;
    case 11:
        w->hold_percent = (uint32_t)weir_rand_below(&w->rand, 4) * 20;
        break;
    case 12:
        if (node->log != NULL) {
            (void)weir_raft_log_transfer(node->log);
        }
        break;
    case 13:
        weir_fs_sim_fail(node->fs, (struct weir_fs_sim_fault){.nth = 1 + weir_rand_below(&w->rand, 40),
                                                              .rc = weir_rand_below(&w->rand, 2) == 0 ? WEIR_IO : WEIR_RESOURCE});
        break;
    default:
        break;
    }
}

static void restart_failed(struct world *w)
{
    struct weir_error err;
    for (uint32_t i = 0; i < w->n; i++) {
        struct node *node = &w->nodes[i];
        if (node->failed || node->log == NULL) {
            bool was_up = node->log != NULL;
            node_crash(node);
            weir_fs_sim_fail(node->fs, (struct weir_fs_sim_fault){0});
            ck_assert(!was_up || node_open(node, &err) == WEIR_OK);
        }
    }
}

START_TEST(chaos)
{
    uint32_t lost_unknown = 0;
    uint32_t applied_unknown = 0;
    uint32_t committed = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct world w;
        world_init(&w, _i == 0 ? 3 : 5, seed + 100 * (uint64_t)_i);
        w.compact_bytes = 1500;
        for (uint32_t i = 0; i < w.n; i++) {
            w.nodes[i].propose_on_leading = LEADER_ENTRY;
        }
        nodes_open(&w);
        for (int step = 0; step < 600; step++) {
            run_ms(&w, 1 + (int64_t)weir_rand_below(&w.rand, 100));
            disturb(&w);
            restart_failed(&w);
            for (uint32_t i = 0; i < w.n; i++) {
                struct node *node = &w.nodes[i];
                for (uint64_t left = weir_rand_below(&w.rand, 4); node->log != NULL && (node->leader || left == 3) && left > 0; left--) {
                    (void)propose(node, 8 + weir_rand_below(&w.rand, 60));
                }
            }
        }
        memset(w.cut, 0, sizeof(w.cut)); /* calm */
        w.lose_percent = w.hold_percent = 0;
        for (uint32_t i = 0; i < w.n; i++) {
            w.nodes[i].disk_stalls = false;
            weir_fs_sim_fail(w.nodes[i].fs, (struct weir_fs_sim_fault){0});
        }
        nodes_open(&w);
        run_ms(&w, 5000);
        propose_and_wait(&w, wait_leader(&w), 5, 8);
        for (uint32_t i = 0; i < w.n; i++) {
            ck_assert_uint_eq(w.nodes[i].last_index, w.known);
        }
        check_fates(&w);
        for (uint64_t i = 1; i <= w.proposals; i++) {
            committed += w.fates[i] == FATE_COMMITTED;
            lost_unknown += w.fates[i] == FATE_UNKNOWN && !w.applied[i];
            applied_unknown += w.fates[i] == FATE_UNKNOWN && w.applied[i];
        }
        world_fini(&w);
    }
    ck_assert_uint_gt(committed, 1000);
    ck_assert_uint_gt(lost_unknown, 0);
    ck_assert_uint_gt(applied_unknown, 0);
}
END_TEST

Suite *raft_log_suite(void);

Suite *raft_log_suite(void)
{
    Suite *suite = suite_create("raft_log");
    TCase *tcase = tcase_create("raft_log");
    tcase_add_test(tcase, a_single_member_leads_at_once);
    tcase_add_loop_test(tcase, failing_disk_calls, 0, 4);
    tcase_add_test(tcase, a_compaction_that_finds_the_disk_full_is_tried_again);
    tcase_add_test(tcase, an_entry_that_cannot_be_read_fails_the_log);
    tcase_add_loop_test(tcase, leaders_come_and_go, 3, 6);
    tcase_add_test(tcase, who_does_not_lead_rejects_later);
    tcase_add_test(tcase, leadership_is_handed_over);
    tcase_add_test(tcase, unknown_is_unknown);
    tcase_add_test(tcase, who_is_cut_off_is_not_confirmed);
    tcase_add_test(tcase, a_member_that_was_away_gets_a_snapshot);
    tcase_add_test(tcase, an_install_overtakes_what_waits_for_the_disk);
    tcase_add_test(tcase, a_member_is_replaced_by_an_empty_one);
    tcase_add_loop_test(tcase, a_bad_disk_among_three, 0, 4);
    tcase_add_test(tcase, a_disk_that_hangs);
    tcase_add_loop_test(tcase, chaos, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
