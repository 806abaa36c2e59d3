#include "taskmanager/tm_leaders.h"

#include "common/base/rand.h"

#include <check.h>
#include <stdio.h>

static struct weir_tm_leaders *make(const char *jobmanagers)
{
    struct weir_tm_leaders *leaders = NULL;
    struct weir_error err;
    ck_assert_msg(weir_tm_leaders_create(jobmanagers, &leaders, &err) == WEIR_OK, "%s", err.text);
    return leaders;
}

static struct weir_tm_leaders_todo step(struct weir_tm_leaders *leaders, int64_t now_ms)
{
    struct weir_tm_leaders_todo todo;
    weir_tm_leaders_step(leaders, now_ms, true, &todo);
    return todo;
}

static void tell(struct weir_tm_leaders *leaders, uint32_t jm, bool leading, uint64_t epoch)
{
    weir_tm_leaders_told(leaders, jm, &(struct weir_tm_leaders_word){.leading = leading, .epoch = epoch, .leader_address = ""});
}

/* Three of them, all connected, registered with number 0 in epoch 5 at time 0. */
static struct weir_tm_leaders *registered(void)
{
    struct weir_tm_leaders *leaders = make("a:1,b:2,c:3");
    for (uint32_t i = 0; i < 3; i++) {
        weir_tm_leaders_connected(leaders, i);
    }
    struct weir_tm_leaders_todo todo = step(leaders, 0);
    ck_assert_uint_eq(todo.ask, 7);
    tell(leaders, 1, false, 5);
    tell(leaders, 2, false, 5);
    tell(leaders, 0, true, 5);
    ck_assert_int_eq(step(leaders, 0).registration, 0);
    weir_tm_leaders_registered(leaders, 5, 200, 2000, 0);
    ck_assert_int_eq(weir_tm_leaders_leader(leaders), 0);
    ck_assert_uint_eq(weir_tm_leaders_epoch(leaders), 5);
    return leaders;
}

START_TEST(lists_of_addresses)
{
    static const char *const good[] = {"127.0.0.1:6123", "a:1, b:65535", "[::1]:80", "a:1,a:1", " a:1 "};
    static const char *const bad[] = {"",    "localhost", "a:0", "a:65536", "a:x", "a:1,", ":80", "tcp://a:1", "a:1,,b:2",
                                      "a:1,a:2,a:3,a:4,a:5,a:6,a:7,a:8,a:9,a:10,a:11,a:12,a:13,a:14,a:15,a:16,a:17"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        weir_tm_leaders_destroy(make(good[i]));
    }
    struct weir_error err;
    struct weir_tm_leaders *leaders;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(weir_tm_leaders_create(bad[i], &leaders, &err) == WEIR_INVALID, "%s", bad[i]);
    }
    leaders = make("a:1, b:2");
    ck_assert_uint_eq(weir_tm_leaders_count(leaders), 2);
    ck_assert_str_eq(weir_tm_leaders_address(leaders, 1), "b:2");
    ck_assert_uint_eq(step(leaders, 0).connect, 3);
    ck_assert_uint_eq(step(leaders, 0).connect, 0);
    weir_tm_leaders_destroy(leaders);
}
END_TEST

START_TEST(asks_all_until_one_leads)
{
    struct weir_tm_leaders *leaders = make("a:1,b:2,c:3");
    ck_assert_uint_eq(step(leaders, 1000).ask, 0);
    weir_tm_leaders_connected(leaders, 0);
    weir_tm_leaders_connected(leaders, 2);
    struct weir_tm_leaders_todo todo = step(leaders, 1000);
    ck_assert_uint_eq(todo.ask, 5);
    ck_assert_int_eq(todo.next_ms, INT64_MAX); /* an answer comes, or its time-out */
    tell(leaders, 0, false, 3);
    todo = step(leaders, 1001);
    ck_assert_uint_eq(todo.ask, 0);
    ck_assert_int_eq(todo.next_ms, 1050);
    ck_assert_uint_eq(step(leaders, 1050).ask, 1);
    weir_tm_leaders_told(leaders, 2, NULL);
    ck_assert_uint_eq(step(leaders, 1060).ask, 4);
    tell(leaders, 2, true, 4);
    todo = step(leaders, 1061);
    ck_assert_int_eq(todo.registration, 2);
    ck_assert_int_eq(step(leaders, 1062).registration, -1); /* one is under way */

    /* refused: asked anew, and not at once again the same one */
    weir_tm_leaders_refused(leaders, 1063);
    ck_assert_int_eq(step(leaders, 1063).registration, -1);
    ck_assert_uint_eq(step(leaders, 1110).ask, 4);
    tell(leaders, 2, true, 4);
    ck_assert_int_eq(step(leaders, 1111).registration, -1);
    tell(leaders, 0, true, 5);
    ck_assert_int_eq(step(leaders, 1112).registration, 0);
    weir_tm_leaders_registered(leaders, 5, 200, 2000, 1113);
    ck_assert_int_eq(weir_tm_leaders_leader(leaders), 0);
    weir_tm_leaders_destroy(leaders);
}
END_TEST

START_TEST(a_registration_is_left_for_a_newer_leader_only)
{
    struct weir_tm_leaders *leaders = make("a:1,b:2,c:3");
    for (uint32_t i = 0; i < 3; i++) {
        weir_tm_leaders_connected(leaders, i);
    }
    (void)step(leaders, 0);
    tell(leaders, 0, true, 5);
    ck_assert_int_eq(step(leaders, 1).registration, 0);
    tell(leaders, 1, true, 4);
    struct weir_tm_leaders_todo todo = step(leaders, 2);
    ck_assert_int_eq(todo.registration, -1);
    ck_assert_int_eq(todo.lost, WEIR_TM_LEADER_KEPT);
    tell(leaders, 2, true, 6);
    todo = step(leaders, 3);
    ck_assert_int_eq(todo.registration, 2);
    ck_assert_int_eq(todo.lost, WEIR_TM_LEADER_SUPERSEDED);
    weir_tm_leaders_destroy(leaders);
}
END_TEST

START_TEST(waits_for_the_end_of_its_tasks)
{
    struct weir_tm_leaders *leaders = make("a:1");
    weir_tm_leaders_connected(leaders, 0);
    (void)step(leaders, 0);
    tell(leaders, 0, true, 1);
    struct weir_tm_leaders_todo todo;
    weir_tm_leaders_step(leaders, 1, false, &todo);
    ck_assert_int_eq(todo.registration, -1);
    weir_tm_leaders_step(leaders, 60, true, &todo);
    ck_assert_int_eq(todo.registration, 0);
    weir_tm_leaders_destroy(leaders);
}
END_TEST

START_TEST(a_closed_connection_is_noticed_at_once)
{
    struct weir_tm_leaders *leaders = registered();
    weir_tm_leaders_disconnected(leaders, 0);
    struct weir_tm_leaders_todo todo = step(leaders, 500);
    ck_assert_int_eq(todo.lost, WEIR_TM_LEADER_CLOSED);
    ck_assert_uint_eq(todo.ask, 6);
    ck_assert_int_eq(weir_tm_leaders_leader(leaders), -1);
    ck_assert_int_eq(step(leaders, 501).lost, WEIR_TM_LEADER_KEPT);
    tell(leaders, 1, true, 6);
    ck_assert_int_eq(step(leaders, 502).registration, 1);
    weir_tm_leaders_disconnected(leaders, 1); /* before it answered */
    ck_assert_int_eq(step(leaders, 503).lost, WEIR_TM_LEADER_CLOSED);
    tell(leaders, 2, true, 7);
    ck_assert_int_eq(step(leaders, 504).registration, 2);
    weir_tm_leaders_destroy(leaders);
}
END_TEST

START_TEST(a_leader_that_refuses_is_left_at_once)
{
    struct weir_tm_leaders *leaders = registered();
    weir_tm_leaders_disowned(leaders);
    struct weir_tm_leaders_todo todo = step(leaders, 20);
    ck_assert_int_eq(todo.lost, WEIR_TM_LEADER_REFUSED);
    ck_assert_uint_eq(todo.ask, 1); /* the others were asked less than 50 ms ago */
    ck_assert_uint_eq(step(leaders, 50).ask, 6);
    tell(leaders, 0, true, 6);      /* leads again, in a new epoch */
    ck_assert_int_eq(step(leaders, 51).registration, 0);
    weir_tm_leaders_destroy(leaders);
}
END_TEST

START_TEST(a_silent_leader_is_left_for_a_newer_one)
{
    struct weir_tm_leaders *leaders = registered();
    ck_assert_int_eq(step(leaders, 100).next_ms, 500);
    weir_tm_leaders_heard(leaders, 200);
    ck_assert_uint_eq(step(leaders, 500).ask, 0);
    ck_assert_uint_eq(step(leaders, 700).ask, 7);
    tell(leaders, 1, false, 5);
    ck_assert_int_eq(step(leaders, 701).lost, WEIR_TM_LEADER_KEPT);
    ck_assert_uint_eq(step(leaders, 750).ask, 2);
    tell(leaders, 1, true, 6);
    struct weir_tm_leaders_todo todo = step(leaders, 751);
    ck_assert_int_eq(todo.lost, WEIR_TM_LEADER_SUPERSEDED);
    ck_assert_int_eq(todo.registration, 1);
    weir_tm_leaders_registered(leaders, 6, 200, 2000, 752);

    /* the old one wakes up and still believes that it leads */
    tell(leaders, 0, true, 5);
    weir_tm_leaders_disconnected(leaders, 1);
    ck_assert_int_eq(step(leaders, 800).registration, -1);
    ck_assert(!weir_tm_leaders_accept_epoch(leaders, 5));
    ck_assert(weir_tm_leaders_accept_epoch(leaders, 6));
    weir_tm_leaders_destroy(leaders);
}
END_TEST

START_TEST(silence_ends_a_registration)
{
    struct weir_tm_leaders *leaders = registered();
    tell(leaders, 0, true, 5); /* the question about the members */
    ck_assert_int_eq(step(leaders, 1999).lost, WEIR_TM_LEADER_KEPT);
    struct weir_tm_leaders_todo todo = step(leaders, 2000);
    ck_assert_int_eq(todo.lost, WEIR_TM_LEADER_SILENT);
    ck_assert_int_eq(todo.registration, -1); /* not on the strength of what it said before */
    weir_tm_leaders_told(leaders, 0, NULL);
    ck_assert_uint_eq(step(leaders, 2060).ask & 1U, 1);
    tell(leaders, 0, true, 5);
    ck_assert_int_eq(step(leaders, 2061).registration, 0); /* the same again: nobody has led since */
    weir_tm_leaders_destroy(leaders);
}
END_TEST

START_TEST(an_order_of_a_newer_leader_rules_older_ones_out)
{
    struct weir_tm_leaders *leaders = make("a:1,b:2");
    weir_tm_leaders_connected(leaders, 0);
    weir_tm_leaders_connected(leaders, 1);
    (void)step(leaders, 0);
    tell(leaders, 0, true, 3);
    ck_assert_int_eq(step(leaders, 1).registration, 0);
    ck_assert(weir_tm_leaders_accept_epoch(leaders, 4));
    weir_tm_leaders_registered(leaders, 3, 200, 2000, 2);
    ck_assert_int_eq(weir_tm_leaders_leader(leaders), -1);
    tell(leaders, 1, true, 4);
    ck_assert_int_eq(step(leaders, 3).registration, 1);
    weir_tm_leaders_destroy(leaders);
}
END_TEST

START_TEST(those_who_are_named_become_known)
{
    struct weir_tm_leaders *leaders = make("a:1");
    weir_tm_leaders_connected(leaders, 0);
    (void)step(leaders, 0);
    char first[] = "a:1", second[] = "b:2", bad[] = "nonsense";
    char *names[] = {first, second, bad};
    struct weir_tm_leaders_word word = {.epoch = 3, .leader_address = "c:3", .jobmanagers = names, .njobmanagers = 3};
    weir_tm_leaders_told(leaders, 0, &word);
    ck_assert_uint_eq(step(leaders, 1).connect, 6);
    ck_assert_uint_eq(weir_tm_leaders_count(leaders), 3);
    ck_assert_str_eq(weir_tm_leaders_address(leaders, 2), "c:3");

    /* Members come and go under new names for ever: those that are gone make room, the configuration's never. */
    weir_tm_leaders_connected(leaders, 2);
    for (int i = 0; i < 100; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "d:%d", 100 + i);
        word = (struct weir_tm_leaders_word){.epoch = 3, .leader_address = text};
        weir_tm_leaders_told(leaders, 0, &word);
        ck_assert(step(leaders, 2 + i).connect != 0);
    }
    ck_assert_uint_eq(weir_tm_leaders_count(leaders), WEIR_TM_LEADERS_MAX);
    ck_assert_str_eq(weir_tm_leaders_address(leaders, 0), "a:1");
    ck_assert_str_eq(weir_tm_leaders_address(leaders, 2), "c:3");

    /* There is room for all of one answer, not only for the last one of it. */
    char eve[] = "e:1", fay[] = "f:1", gil[] = "g:1";
    char *next[] = {eve, fay, gil};
    word = (struct weir_tm_leaders_word){.epoch = 3, .leader_address = "h:1", .jobmanagers = next, .njobmanagers = 3};
    weir_tm_leaders_told(leaders, 0, &word);
    (void)step(leaders, 200);
    static const char *const known[] = {"a:1", "c:3", "e:1", "f:1", "g:1", "h:1"};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        uint32_t at = 0;
        while (at < weir_tm_leaders_count(leaders) && strcmp(weir_tm_leaders_address(leaders, at), known[i]) != 0) {
            at++;
        }
        ck_assert_msg(at < weir_tm_leaders_count(leaders), "%s is not known", known[i]);
    }
    weir_tm_leaders_destroy(leaders);
}
END_TEST

START_TEST(the_leader_is_asked_for_members_now_and_then)
{
    struct weir_tm_leaders *leaders = registered();
    int asked = 0;
    for (int64_t now = 0; now < 11000; now += 100) {
        weir_tm_leaders_heard(leaders, now);
        struct weir_tm_leaders_todo todo = step(leaders, now);
        ck_assert(todo.ask == 0 || todo.ask == 1);
        if (todo.ask != 0) {
            tell(leaders, 0, true, 5);
            asked++;
        }
    }
    ck_assert_int_eq(asked, 10);
    weir_tm_leaders_destroy(leaders);
}
END_TEST

/* --- random -------------------------------------------------------------------------------------------------------------- */

enum { JMS = 5 };

/* A cluster whose leaders come and go; answers arrive late or never. */
struct world {
    struct weir_tm_leaders *leaders;
    struct weir_rand rand;
    bool up[JMS];
    uint64_t knows[JMS];   /* the newest epoch it has seen */
    bool believes[JMS];    /* that it leads, in that epoch: a zombie may */
    uint32_t asked;        /* mask */
    int32_t registering;
    uint64_t epoch, accepted;
    int leader;
    int64_t now_ms;
};

static void world_step(struct world *w)
{
    struct weir_tm_leaders_todo todo = step(w->leaders, w->now_ms);
    if (todo.lost != WEIR_TM_LEADER_KEPT) {
        w->registering = -1;
    }
    ck_assert_uint_eq(w->asked & todo.ask, 0); /* one question at a time */
    w->asked |= todo.ask;
    if (todo.registration >= 0) {
        ck_assert_int_eq(w->registering, -1);
        ck_assert_int_eq(weir_tm_leaders_leader(w->leaders), -1);
        w->registering = todo.registration;
    }
    ck_assert(todo.next_ms > w->now_ms);
}

static void world_answer(struct world *w, uint32_t jm, bool lost)
{
    if ((w->asked & 1U << jm) != 0) {
        w->asked &= ~(1U << jm);
        if (lost || !w->up[jm]) {
            weir_tm_leaders_told(w->leaders, jm, NULL);
        } else {
            tell(w->leaders, jm, w->believes[jm], w->knows[jm]);
        }
    }
    world_step(w);
    if (w->registering == (int32_t)jm && w->up[jm]) {
        w->registering = -1;
        if (w->believes[jm]) {
            weir_tm_leaders_registered(w->leaders, w->knows[jm], 20, 200, w->now_ms);
            if (weir_tm_leaders_leader(w->leaders) >= 0) {
                ck_assert_uint_ge(w->knows[jm], w->accepted); /* L2 */
                w->accepted = w->knows[jm];
            }
        } else {
            weir_tm_leaders_refused(w->leaders, w->now_ms);
        }
        world_step(w);
    }
}

static void world_heartbeat(struct world *w)
{
    int32_t leader = weir_tm_leaders_leader(w->leaders);
    if (leader >= 0 && w->up[leader]) {
        if (w->believes[leader] && w->knows[leader] == weir_tm_leaders_epoch(w->leaders)) {
            weir_tm_leaders_heard(w->leaders, w->now_ms);
        } else {
            weir_tm_leaders_disowned(w->leaders);
        }
        world_step(w);
    }
}

static void world_fault(struct world *w)
{
    uint32_t jm = weir_rand_below(&w->rand, JMS);
    switch (weir_rand_below(&w->rand, 4)) {
    case 0: /* dies, or comes back */
        w->up[jm] = !w->up[jm];
        if (w->up[jm]) {
            w->believes[jm] = false;
            weir_tm_leaders_connected(w->leaders, jm);
        } else {
            weir_tm_leaders_disconnected(w->leaders, jm);
        }
        break;
    case 1: /* is elected; the old one does not know it yet */
        w->knows[jm] = ++w->epoch;
        w->believes[jm] = true;
        w->leader = (int)jm;
        break;
    case 2: /* hears of the newest epoch */
        if (w->knows[jm] < w->epoch) {
            w->knows[jm] = w->epoch;
            w->believes[jm] = false;
        }
        break;
    default: /* an order of the newest leader is here before anything else */
        w->accepted = w->epoch;
        ck_assert(weir_tm_leaders_accept_epoch(w->leaders, w->epoch));
    }
    world_step(w);
}

START_TEST(finds_the_leader_through_any_history)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct world w = {.leaders = make("a:1,b:2,c:3,d:4,e:5"), .registering = -1, .epoch = 1};
        weir_rand_init(&w.rand, seed);
        for (int i = 0; i < 2000; i++) {
            w.now_ms += weir_rand_below(&w.rand, 20);
            switch (weir_rand_below(&w.rand, 4)) {
            case 0:
                world_fault(&w);
                break;
            case 1:
                world_heartbeat(&w);
                break;
            default:
                world_answer(&w, weir_rand_below(&w.rand, JMS), weir_rand_below(&w.rand, 8) == 0);
            }
        }
        /* Quiet: everyone is up and knows who leads. Registered within a second. */
        w.leader = (int)weir_rand_below(&w.rand, JMS);
        w.epoch++;
        for (uint32_t jm = 0; jm < JMS; jm++) {
            if (!w.up[jm]) {
                w.up[jm] = true;
                weir_tm_leaders_connected(w.leaders, jm);
            }
            w.knows[jm] = w.epoch;
            w.believes[jm] = (int)jm == w.leader;
        }
        for (int64_t end = w.now_ms + 1000; w.now_ms < end; w.now_ms += 5) {
            world_heartbeat(&w);
            for (uint32_t jm = 0; jm < JMS; jm++) {
                world_answer(&w, jm, false);
            }
        }
        ck_assert_int_eq(weir_tm_leaders_leader(w.leaders), w.leader);
        ck_assert_uint_eq(weir_tm_leaders_epoch(w.leaders), w.epoch);
        weir_tm_leaders_destroy(w.leaders);
    }
}
END_TEST

Suite *tm_leaders_suite(void);
Suite *tm_leaders_suite(void)
{
    Suite *suite = suite_create("tm_leaders");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, lists_of_addresses);
    tcase_add_test(tc, asks_all_until_one_leads);
    tcase_add_test(tc, a_registration_is_left_for_a_newer_leader_only);
    tcase_add_test(tc, waits_for_the_end_of_its_tasks);
    tcase_add_test(tc, a_closed_connection_is_noticed_at_once);
    tcase_add_test(tc, a_leader_that_refuses_is_left_at_once);
    tcase_add_test(tc, a_silent_leader_is_left_for_a_newer_one);
    tcase_add_test(tc, silence_ends_a_registration);
    tcase_add_test(tc, an_order_of_a_newer_leader_rules_older_ones_out);
    tcase_add_test(tc, those_who_are_named_become_known);
    tcase_add_test(tc, the_leader_is_asked_for_members_now_and_then);
    tcase_add_test(tc, finds_the_leader_through_any_history);
    suite_add_tcase(suite, tc);
    return suite;
}
