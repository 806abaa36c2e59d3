#include "jobmanager/ha/raft_core_test_kit.h"

#include <stdlib.h>

#include "common/base/rand.h"

Suite *raft_core_suite(void);

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
    ck_assert_ptr_eq(the_leader(g), &g->nodes[to - 1]);
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
    ck_same_state(away, the_leader(g));
    ck_assert_uint_gt(away->disk_snapshot.index, 50);
    ck_assert_uint_eq(view(away).snapshot_index, away->disk_snapshot.index);
    reopen(away);
    ck_assert_uint_ge(away->last_applied, 50); /* from the snapshot, before the first event */
    run(g, 500);
    ck_same_state(away, the_leader(g));
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
    struct node *second = the_leader(g);
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
    suite_add_tcase(suite, tcase);
    return suite;
}
