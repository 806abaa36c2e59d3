/*
 * The fences of attempts under a clock that the test moves, beside fakes of the leader. The oracle of the random model: an attempt may act outside only
 * while some proof of a leader is younger than the time-out, and after a pause only behind its own lease.
 */
#include "taskmanager/tm_fence.h"

#include <check.h>

#include "common/base/mem.h"
#include "common/base/rand.h"

#include <stdio.h>
#include <unistd.h>

enum { TIMEOUT_MS = 1000, ATTEMPTS = 4, QUESTIONS_MAX = 64 };

#define MS INT64_C(1000000)

struct kit {
    struct weir_clock_virtual clock;
    struct weir_timers timers;
    struct weir_log_sink *sink;
    struct weir_log *log;
    struct weir_tm_fences *fences;
    struct weir_fence *held[ATTEMPTS]; /* of attempt i + 1; NULL: removed */
    struct weir_tm_fence_question *questions[QUESTIONS_MAX];
    uint32_t about[QUESTIONS_MAX]; /* the attempt */
    int64_t asked_ns[QUESTIONS_MAX];
    uint32_t asked_life[QUESTIONS_MAX];
    uint32_t nquestions;
    uint32_t life[ATTEMPTS]; /* grows when one of that number is added */
    bool unreachable; /* nobody can be asked */
    uint32_t asked, resumed, replaced;
};

static void fake_ask(void *ctx, const struct weir_tm_fence_of *of, struct weir_tm_fence_question *question)
{
    struct kit *kit = ctx;
    ck_assert_str_eq(of->job_id, "job");
    kit->asked++;
    if (kit->unreachable) {
        weir_tm_fences_answer(question, WEIR_CLOSED, "not registered");
        return;
    }
    ck_assert_uint_lt(kit->nquestions, QUESTIONS_MAX);
    kit->about[kit->nquestions] = of->attempt;
    kit->asked_ns[kit->nquestions] = weir_clock_boot_ns(&kit->clock.clock);
    kit->asked_life[kit->nquestions] = kit->life[of->attempt - 1];
    kit->questions[kit->nquestions++] = question;
}

static void on_resumed(void *ctx, const struct weir_tm_fence_of *of)
{
    struct kit *kit = ctx;
    ck_assert(!weir_fence_closed(kit->held[of->attempt - 1])); /* whoever is woken must see it open */
    kit->resumed++;
}

static void drop(struct kit *kit, uint32_t attempt)
{
    weir_tm_fences_remove(kit->fences, kit->held[attempt - 1]);
    weir_fence_unref(kit->held[attempt - 1]);
    kit->held[attempt - 1] = NULL;
}

static void on_replaced(void *ctx, const struct weir_tm_fence_of *of)
{
    struct kit *kit = ctx;
    ck_assert(weir_fence_closed(kit->held[of->attempt - 1]));
    kit->replaced++;
    drop(kit, of->attempt);
}

static void kit_init(struct kit *kit, int64_t timeout_ms)
{
    *kit = (struct kit){0};
    weir_clock_virtual_init(&kit->clock, 7000 * MS, 0);
    weir_timers_init(&kit->timers);
    kit->sink = weir_log_sink_create(STDERR_FILENO, &kit->clock.clock, WEIR_LOG_ERROR);
    kit->log = weir_log_create(kit->sink);
    kit->fences = weir_tm_fences_create(&(struct weir_tm_fences_options){
        .clock = &kit->clock.clock,
        .timers = &kit->timers,
        .log = kit->log,
        .timeout_ms = timeout_ms,
        .ask = fake_ask,
        .on_resumed = on_resumed,
        .on_replaced = on_replaced,
        .ctx = kit,
    });
}

static void kit_fini(struct kit *kit)
{
    weir_tm_fences_destroy(kit->fences);
    for (uint32_t i = 0; i < kit->nquestions; i++) { /* as when the TaskManager leaves: later than the fences */
        weir_tm_fences_answer(kit->questions[i], WEIR_CANCELED, "");
    }
    for (uint32_t i = 0; i < ATTEMPTS; i++) {
        weir_fence_unref(kit->held[i]);
    }
    weir_timers_fini(&kit->timers);
    weir_log_destroy(kit->log);
    weir_log_sink_destroy(kit->sink);
}

static void add(struct kit *kit, uint32_t attempt)
{
    kit->life[attempt - 1]++;
    kit->held[attempt - 1] = weir_tm_fences_add(kit->fences, &(struct weir_tm_fence_of){.job_id = "job", .region = 2, .attempt = attempt});
}

static int64_t now_ns(const struct kit *kit)
{
    return weir_clock_boot_ns(&kit->clock.clock);
}

static void heard_now(struct kit *kit)
{
    weir_tm_fences_heard(kit->fences, now_ns(kit));
}

/* Time passes, and the thread sees to its timers. */
static void pass(struct kit *kit, int64_t ms)
{
    weir_clock_virtual_advance(&kit->clock, ms * MS);
    (void)weir_timers_run_due(&kit->timers, weir_clock_mono_ns(&kit->clock.clock));
}

/* Attempt 1 begins after a leader has been heard of. */
static void kit_init_heard(struct kit *kit)
{
    kit_init(kit, TIMEOUT_MS);
    heard_now(kit);
    add(kit, 1);
}

static void expect_open(struct kit *kit, uint32_t attempt)
{
    ck_assert(!weir_fence_closed(kit->held[attempt - 1]));
}

static void expect_closed(struct kit *kit, uint32_t attempt)
{
    ck_assert(weir_fence_closed(kit->held[attempt - 1]));
}

static void answer(struct kit *kit, uint32_t i, enum weir_rc rc)
{
    struct weir_tm_fence_question *question = kit->questions[i];
    kit->nquestions--;
    kit->questions[i] = kit->questions[kit->nquestions];
    kit->about[i] = kit->about[kit->nquestions];
    kit->asked_ns[i] = kit->asked_ns[kit->nquestions];
    kit->asked_life[i] = kit->asked_life[kit->nquestions];
    weir_tm_fences_answer(question, rc, "because");
}

START_TEST(a_leader_that_answers_keeps_it_open)
{
    struct kit kit;
    kit_init_heard(&kit);
    for (uint32_t i = 0; i < 10; i++) {
        pass(&kit, TIMEOUT_MS - 1);
        expect_open(&kit, 1);
        heard_now(&kit);
    }
    weir_tm_fences_heard(kit.fences, now_ns(&kit) - 500 * MS); /* an older one takes nothing back */
    pass(&kit, TIMEOUT_MS - 1);
    expect_open(&kit, 1);
    ck_assert_uint_eq(kit.asked, 0);
    kit_fini(&kit);
}
END_TEST

/* F1: what was answered long ago and waited in a socket proves nothing of now. */
START_TEST(the_time_runs_from_the_sending)
{
    struct kit kit;
    kit_init_heard(&kit);
    pass(&kit, 900);
    weir_tm_fences_heard(kit.fences, now_ns(&kit) - 400 * MS);
    pass(&kit, 599);
    expect_open(&kit, 1);
    int64_t sent_ns = now_ns(&kit);
    weir_clock_virtual_advance(&kit.clock, (TIMEOUT_MS + 1) * MS); /* SIGSTOP */
    expect_closed(&kit, 1); /* though no timer has run */
    weir_tm_fences_heard(kit.fences, sent_ns);
    expect_closed(&kit, 1);
    heard_now(&kit); /* nor does a new answer open it: the attempt may have been replaced */
    expect_closed(&kit, 1);
    ck_assert_uint_eq(kit.asked, 1);
    kit_fini(&kit);
}
END_TEST

START_TEST(a_machine_that_slept_has_slept_for_its_leases_too)
{
    struct kit kit;
    kit_init_heard(&kit);
    weir_clock_virtual_suspend(&kit.clock, (TIMEOUT_MS - 1) * MS);
    expect_open(&kit, 1);
    weir_clock_virtual_suspend(&kit.clock, MS);
    expect_closed(&kit, 1);
    kit_fini(&kit);
}
END_TEST

START_TEST(the_lease_decides_who_goes_on)
{
    struct kit kit;
    kit_init(&kit, TIMEOUT_MS);
    heard_now(&kit);
    for (uint32_t i = 1; i <= 3; i++) {
        add(&kit, i);
    }
    kit.unreachable = true;
    pass(&kit, TIMEOUT_MS);
    ck_assert_uint_eq(kit.asked, 3);
    pass(&kit, WEIR_TM_FENCE_ASK_MS);
    ck_assert_uint_eq(kit.asked, 6);
    kit.unreachable = false;
    heard_now(&kit); /* registered: asked when the last answer is old enough, at the latest by the timer */
    pass(&kit, WEIR_TM_FENCE_ASK_MS);
    ck_assert_uint_eq(kit.nquestions, 3);
    add(&kit, 4);
    expect_open(&kit, 4); /* it has come after the leader did */
    for (uint32_t left = 3; left > 0; left--) {
        uint32_t attempt = kit.about[0];
        answer(&kit, 0, attempt == 1 ? WEIR_OK : attempt == 2 ? WEIR_STALE : WEIR_TIMEOUT);
    }
    expect_open(&kit, 1);
    ck_assert_ptr_null(kit.held[1]);
    expect_closed(&kit, 3);
    ck_assert_uint_eq(kit.resumed, 1);
    ck_assert_uint_eq(kit.replaced, 1);
    ck_assert_uint_eq(kit.nquestions, 0);
    pass(&kit, WEIR_TM_FENCE_ASK_MS);
    ck_assert_uint_eq(kit.nquestions, 1);
    for (int64_t left_ms = WEIR_TM_FENCE_PATIENCE_MS - 1; left_ms > 0; left_ms -= 333) { /* the leader says nothing to it */
        pass(&kit, left_ms < 333 ? left_ms : 333);
        heard_now(&kit);
    }
    ck_assert_uint_eq(kit.nquestions, 1);
    pass(&kit, 1);
    ck_assert_uint_eq(kit.nquestions, 2);
    answer(&kit, 1, WEIR_OK);
    answer(&kit, 0, WEIR_STALE); /* of no weight: it was asked before the other */
    expect_open(&kit, 3);
    ck_assert_uint_eq(kit.resumed, 2);
    kit_fini(&kit);
}
END_TEST

/* A lease that was asked for too long ago opens nothing. */
START_TEST(an_old_lease_is_none)
{
    struct kit kit;
    kit_init(&kit, TIMEOUT_MS);
    add(&kit, 1); /* F3: nobody has been heard of */
    expect_closed(&kit, 1);
    ck_assert_uint_eq(kit.nquestions, 1);
    weir_clock_virtual_advance(&kit.clock, TIMEOUT_MS * MS);
    answer(&kit, 0, WEIR_OK);
    expect_closed(&kit, 1);
    ck_assert_uint_eq(kit.resumed, 0);
    pass(&kit, WEIR_TM_FENCE_ASK_MS);
    ck_assert_uint_eq(kit.nquestions, 1);
    answer(&kit, 0, WEIR_OK);
    expect_open(&kit, 1);
    pass(&kit, TIMEOUT_MS - 1);
    expect_open(&kit, 1);
    pass(&kit, 1);
    expect_closed(&kit, 1);
    kit_fini(&kit);
}
END_TEST

START_TEST(zero_is_never)
{
    struct kit kit;
    kit_init(&kit, 0);
    add(&kit, 1);
    for (uint32_t i = 0; i < 3; i++) {
        pass(&kit, 1000000000);
        weir_clock_virtual_suspend(&kit.clock, 1000000000 * MS);
        expect_open(&kit, 1);
        heard_now(&kit);
    }
    ck_assert_uint_eq(kit.asked, 0);
    ck_assert(!weir_fence_closed(NULL));
    kit_fini(&kit);
}
END_TEST

/* What the model knows: the newest proofs, by their sending. */
struct proofs {
    int64_t heard_ns, lease_ns[ATTEMPTS];
    bool shut[ATTEMPTS]; /* was closed since the last lease; then only a lease opens it */
};

static void check_all(struct kit *kit, struct proofs *proofs, bool thread_ran)
{
    for (uint32_t i = 0; i < ATTEMPTS; i++) {
        if (kit->held[i] == NULL) {
            continue;
        }
        bool closed = weir_fence_closed(kit->held[i]);
        int64_t newest_ns = proofs->lease_ns[i] > proofs->heard_ns ? proofs->lease_ns[i] : proofs->heard_ns;
        bool proved = now_ns(kit) - newest_ns < TIMEOUT_MS * MS;
        ck_assert(closed || (proved && !proofs->shut[i]));
        ck_assert(!thread_ran || !closed || !proved || proofs->shut[i]); /* nor is it closed for nothing */
        proofs->shut[i] = proofs->shut[i] || closed;
    }
}

static void answer_some(struct kit *kit, struct proofs *proofs, struct weir_rand *rand)
{
    uint32_t i = (uint32_t)weir_rand_below(rand, kit->nquestions);
    uint32_t of = kit->about[i] - 1;
    int64_t asked_ns = kit->asked_ns[i];
    enum weir_rc rc = weir_rand_below(rand, 3) > 0 ? WEIR_OK : weir_rand_below(rand, 8) > 0 ? WEIR_CLOSED : WEIR_STALE;
    bool counts = rc == WEIR_OK && kit->held[of] != NULL && kit->asked_life[i] == kit->life[of] && proofs->shut[of];
    int64_t newest_ns = asked_ns > proofs->heard_ns ? asked_ns : proofs->heard_ns;
    if (counts && now_ns(kit) - newest_ns < TIMEOUT_MS * MS) {
        proofs->lease_ns[of] = asked_ns;
        proofs->shut[of] = false;
    }
    answer(kit, i, rc);
}

START_TEST(random_histories)
{
    struct kit kit;
    struct weir_rand rand;
    struct proofs proofs = {.heard_ns = INT64_MIN / 2};
    kit_init(&kit, TIMEOUT_MS);
    weir_rand_init(&rand, (uint64_t)_i);
    for (uint32_t step = 0; step < 3000; step++) {
        uint32_t i = (uint32_t)weir_rand_below(&rand, ATTEMPTS);
        uint64_t what = weir_rand_below(&rand, 100);
        bool ran = true;
        if (what < 10 && kit.held[i] == NULL) {
            add(&kit, i + 1);
            proofs.shut[i] = false;
            proofs.lease_ns[i] = INT64_MIN / 2;
        } else if (what < 12 && kit.held[i] != NULL) {
            drop(&kit, i + 1);
        } else if (what < 40) {
            int64_t sent_ns = now_ns(&kit) - (int64_t)weir_rand_below(&rand, 1500) * MS;
            check_all(&kit, &proofs, false); /* what is closed now stays so */
            proofs.heard_ns = sent_ns > proofs.heard_ns ? sent_ns : proofs.heard_ns;
            weir_tm_fences_heard(kit.fences, sent_ns);
        } else if (what < 60 && kit.nquestions > 0) {
            check_all(&kit, &proofs, false);
            answer_some(&kit, &proofs, &rand);
        } else if (what < 64) {
            weir_clock_virtual_suspend(&kit.clock, (int64_t)weir_rand_below(&rand, 700) * MS);
            ran = false;
        } else if (what < 70) {
            weir_clock_virtual_advance(&kit.clock, (int64_t)weir_rand_below(&rand, 1500) * MS);
            ran = false;
        } else if (what < 73) {
            kit.unreachable = !kit.unreachable;
        } else if (kit.nquestions < QUESTIONS_MAX / 2) {
            pass(&kit, (int64_t)weir_rand_below(&rand, 200));
        }
        check_all(&kit, &proofs, ran);
    }
    ck_assert_uint_gt(kit.resumed, 50);
    ck_assert_uint_gt(kit.replaced, 0);
    kit_fini(&kit);
}
END_TEST

Suite *tm_fence_suite(void);

Suite *tm_fence_suite(void)
{
    Suite *suite = suite_create("tm_fence");
    TCase *tcase = tcase_create("tm_fence");
    tcase_add_test(tcase, a_leader_that_answers_keeps_it_open);
    tcase_add_test(tcase, the_time_runs_from_the_sending);
    tcase_add_test(tcase, a_machine_that_slept_has_slept_for_its_leases_too);
    tcase_add_test(tcase, the_lease_decides_who_goes_on);
    tcase_add_test(tcase, an_old_lease_is_none);
    tcase_add_test(tcase, zero_is_never);
    tcase_add_loop_test(tcase, random_histories, 0, 20);
    suite_add_tcase(suite, tcase);
    return suite;
}
