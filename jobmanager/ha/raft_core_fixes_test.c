/* (R3): each test is one of its workaround for a defect of the library, and fails when that is switched off. */
#include "jobmanager/ha/raft_core_test_kit.h"

#include <stdlib.h>

#include "common/base/hash.h"

Suite *raft_core_fixes_suite(void);

enum { STACK_BYTES = 16384 };

/* What the library finds where it does not look what it should write. */
static uint64_t __attribute__((noinline)) scribble_stack(void)
{
    uint8_t rubbish[STACK_BYTES];
    memset(rubbish, 7, sizeof(rubbish));
    return weir_hash_bytes(rubbish, sizeof(rubbish), 0); /* or the compiler would leave it out */
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
    ck_assert_uint_ne(scribble_stack(), 0);
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
            struct weir_raft_confirm confirm;
            struct weir_error err;
            if (n.mails[m].to == 3) {
                ck_assert_int_eq(weir_raft_message_decode(weir_slice(n.mails[m].bytes, n.mails[m].len), 1, &append, &confirm, &err), WEIR_OK);
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
        struct weir_raft_confirm confirm;
        ck_assert_int_eq(weir_raft_message_decode(weir_buf_slice(&bytes), 2, &decoded, &confirm, &err), WEIR_OK);
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

Suite *raft_core_fixes_suite(void)
{
    Suite *suite = suite_create("raft_core_fixes");
    TCase *tcase = tcase_create("raft_core_fixes");
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
