/* (R6): who says that it leads asks a majority whether it is so. */
#include "jobmanager/ha/raft_core_test_kit.h"

#include <stdlib.h>

Suite *raft_core_confirm_suite(void);

/* The newest question, or answer, to that member since forget_mails; false: none. */
static bool sent_to(const struct node *n, uint64_t to, bool answer, struct weir_raft_confirm *out)
{
    bool found = false;
    for (uint32_t i = 0; i < n->nmails; i++) {
        struct raft_message message;
        struct weir_raft_confirm confirm;
        struct weir_error err;
        ck_assert_int_eq(weir_raft_message_decode(weir_slice(n->mails[i].bytes, n->mails[i].len), n->id, &message, &confirm, &err), WEIR_OK);
        if (n->mails[i].to == to && message.type == (enum raft_message_type)0 && confirm.answer == answer) {
            *out = confirm;
            found = true;
        }
        weir_raft_message_drop(&message);
    }
    return found;
}

static bool asks(const struct node *n, uint64_t to, uint64_t number)
{
    struct weir_raft_confirm question;
    bool asked = sent_to(n, to, false, &question);
    ck_assert(!asked || (question.term == n->lead_term && question.number == number));
    return asked;
}

static void hear(struct node *n, uint64_t from, bool answer, uint64_t term, uint64_t number)
{
    const struct weir_raft_confirm confirm = {.answer = answer, .term = term, .number = number};
    struct weir_buf bytes = {0};
    struct weir_error err;
    weir_raft_confirm_encode(&confirm, &bytes);
    ck_assert_int_eq(weir_raft_core_receive(n->core, from, weir_buf_slice(&bytes), n->now, &err), WEIR_OK);
    weir_buf_fini(&bytes);
}

static uint64_t ask(struct node *n)
{
    forget_mails(n);
    return weir_raft_core_confirm(n->core, n->now);
}

static void open_leader(struct node *n, const char *roles)
{
    *n = (struct node){0};
    init_node(n, 1, roles);
    open_node(n);
    lead(n, 2);
}

START_TEST(one_voter_need_not_ask)
{
    struct node n = {0};
    init_node(&n, 1, "v");
    open_node(&n);
    tick(&n, 0);
    ck_assert(n.leading);
    uint64_t question = ask(&n);
    ck_assert_uint_ge(view(&n).confirmed, question);
    ck_assert_uint_eq(n.nmails, 0);
    close_node(&n);
}
END_TEST

START_TEST(only_answers_that_fit_count)
{
    struct node n;
    open_leader(&n, "vvl");
    uint64_t first = ask(&n);
    hear(&n, 2, true, n.lead_term, first);
    ck_assert_uint_eq(view(&n).confirmed, first);
    uint64_t question = ask(&n);
    ck_assert(asks(&n, 2, question) && !asks(&n, 3, question)); /* who has no vote is not asked */
    hear(&n, 2, true, n.lead_term, first);        /* to an older question */
    hear(&n, 2, true, n.lead_term, question + 1); /* to one that was not asked */
    hear(&n, 2, true, n.lead_term - 1, question);
    hear(&n, 2, true, n.lead_term + 1, question);
    hear(&n, 2, false, n.lead_term, question);
    hear(&n, 3, true, n.lead_term, question); /* no voter */
    hear(&n, 9, true, n.lead_term, question); /* nobody */
    ck_assert_uint_eq(view(&n).confirmed, first);
    hear(&n, 2, true, n.lead_term, question);
    ck_assert_uint_eq(view(&n).confirmed, question);
    close_node(&n);
}
END_TEST

START_TEST(three_of_five_are_a_majority)
{
    struct node n = {0};
    init_node(&n, 1, "vvvvv");
    open_node(&n);
    time_out(&n);
    receive_vote(&n, 2, view(&n).term, true);
    receive_vote(&n, 3, view(&n).term, true);
    ck_assert(n.leading);
    uint64_t question = ask(&n);
    hear(&n, 5, true, n.lead_term, question);
    hear(&n, 5, true, n.lead_term, question); /* once more says no more */
    ck_assert_uint_lt(view(&n).confirmed, question);
    hear(&n, 2, true, n.lead_term, question);
    ck_assert_uint_eq(view(&n).confirmed, question);
    close_node(&n);
}
END_TEST

/* Whoever asks meanwhile is in the next one; nobody is asked again before the time of a heartbeat. */
START_TEST(one_question_at_a_time_is_on_its_way)
{
    struct node n;
    open_leader(&n, "vvv");
    uint64_t first = ask(&n);
    ck_assert(asks(&n, 2, first) && asks(&n, 3, first));
    (void)ask(&n);
    uint64_t last = ask(&n);
    ck_assert(!asks(&n, 2, last) && !asks(&n, 3, last));
    hear(&n, 2, true, n.lead_term, first);
    ck_assert_uint_eq(view(&n).confirmed, first);
    ck_assert(asks(&n, 2, last) && !asks(&n, 3, last));
    forget_mails(&n);
    tick(&n, HEARTBEAT_MS - 1);
    ck_assert(!asks(&n, 2, last) && !asks(&n, 3, last));
    tick(&n, 1);
    ck_assert(asks(&n, 2, last) && asks(&n, 3, last)); /* lost, perhaps */
    hear(&n, 3, true, n.lead_term, last);
    ck_assert_uint_eq(view(&n).confirmed, last);
    forget_mails(&n);
    tick(&n, HEARTBEAT_MS);
    ck_assert(!asks(&n, 2, last)); /* it is answered */
    close_node(&n);
}
END_TEST

/* A vote is given in a higher term: so who is still in the asker's has given none. */
START_TEST(who_is_in_another_term_says_nothing)
{
    struct node n = {0};
    struct weir_raft_confirm reply;
    init_node(&n, 1, "vvv");
    open_node(&n);
    receive_entries(&n, 2, 5, 1, 1, 1, NULL, 0);
    ck_assert_uint_eq(view(&n).term, 5);
    forget_mails(&n);
    hear(&n, 2, false, 4, 1);
    hear(&n, 2, false, 6, 1);
    ck_assert(!sent_to(&n, 2, true, &reply));
    hear(&n, 2, false, 5, 7);
    ck_assert(sent_to(&n, 2, true, &reply));
    ck_assert(reply.term == 5 && reply.number == 7);
    lead(&n, 3);
    forget_mails(&n);
    hear(&n, 2, false, n.lead_term, 1); /* nobody else leads this term */
    ck_assert(!sent_to(&n, 2, true, &reply));
    close_node(&n);
}
END_TEST

START_TEST(answers_to_an_earlier_leadership_count_no_more)
{
    struct node n;
    open_leader(&n, "vvv");
    uint64_t term = n.lead_term;
    uint64_t question = ask(&n);
    receive_entries(&n, 3, term + 1, 1, 1, 1, NULL, 0);
    ck_assert(!n.leading);
    hear(&n, 2, true, term, question);
    ck_assert_uint_lt(view(&n).confirmed, question);
    uint64_t follower = ask(&n);
    ck_assert(!asks(&n, 2, follower) && !asks(&n, 3, follower));
    lead(&n, 2);
    hear(&n, 3, true, term, question);
    ck_assert_uint_lt(view(&n).confirmed, question);
    uint64_t newest = ask(&n);
    ck_assert(asks(&n, 2, newest) && asks(&n, 3, newest));
    hear(&n, 2, true, n.lead_term, newest);
    ck_assert_uint_eq(view(&n).confirmed, newest);
    close_node(&n);
}
END_TEST

/* Cut off, it leads on for a while as far as it knows; and again when it hears the others, until it hears of the term. */
START_TEST(who_was_replaced_is_confirmed_no_more)
{
    struct group *g = make_group(3, "vvv");
    struct node *old = elect(g);
    uint64_t question = ask(old);
    run(g, 4);
    ck_assert_uint_ge(view(old).confirmed, question);
    g->cut[old->id - 1] = true;
    uint64_t unheard = ask(old);
    int64_t then = old->now;
    for (int i = 0; i < 10 * ELECTION_MS && (leader_of(g) == NULL || leader_of(g) == old); i++) {
        old->now = then; /* it stands still */
        run(g, 1);
    }
    ck_assert_ptr_ne(the_leader(g), old);
    ck_assert(old->leading);
    g->cut[old->id - 1] = false;
    old->now = the_leader(g)->now;
    uint64_t late = weir_raft_core_confirm(old->core, old->now);
    run(g, 20);
    ck_assert(!old->leading);
    ck_assert_uint_lt(view(old).confirmed, unheard);
    ck_assert_uint_lt(view(old).confirmed, late);
    drop_group(g);
}
END_TEST

Suite *raft_core_confirm_suite(void)
{
    Suite *suite = suite_create("raft_core_confirm");
    TCase *tcase = tcase_create("raft_core_confirm");
    tcase_add_test(tcase, one_voter_need_not_ask);
    tcase_add_test(tcase, only_answers_that_fit_count);
    tcase_add_test(tcase, three_of_five_are_a_majority);
    tcase_add_test(tcase, one_question_at_a_time_is_on_its_way);
    tcase_add_test(tcase, who_is_in_another_term_says_nothing);
    tcase_add_test(tcase, answers_to_an_earlier_leadership_count_no_more);
    tcase_add_test(tcase, who_was_replaced_is_confirmed_no_more);
    suite_add_tcase(suite, tcase);
    return suite;
}
