/*
 * The test's thread is the TaskManager's main thread, with a fake way to the JobManager: it keeps the questions and answers them when told.
 */
#include "taskmanager/tm_lease.h"

#include <check.h>

#include "common/base/mem.h"
#include "common/runtime/thread.h"
#include "tests/lib/mails.h"

enum { QUESTIONS_MAX = 8, LONG_MS = 60000 };

struct kit {
    struct weir_waker *waker;
    struct weir_mailbox *mailbox;
    struct weir_tm_leases *leases;
    struct weir_tm_lease_question *asked[QUESTIONS_MAX];
    uint32_t nasked;
};

/* One thread that asks once. */
struct asker {
    struct weir_lease *lease;
    int64_t timeout_ms;
    enum weir_rc rc;
    struct weir_error err;
    struct weir_thread *thread;
};

static void fake_ask(void *ctx, struct weir_tm_lease_question *question_take)
{
    struct kit *kit = ctx;
    ck_assert_uint_lt(kit->nasked, QUESTIONS_MAX);
    kit->asked[kit->nasked++] = question_take;
}

static void kit_init(struct kit *kit)
{
    struct weir_error err;
    *kit = (struct kit){0};
    ck_assert_int_eq(weir_waker_create(&kit->waker, &err), WEIR_OK);
    kit->mailbox = weir_mailbox_create(4, kit->waker);
    kit->leases = weir_tm_leases_create(
        &(struct weir_tm_leases_options){.mailbox = kit->mailbox, .clock = weir_clock_real(), .ask = fake_ask, .ctx = kit});
}

static void kit_fini(struct kit *kit)
{
    weir_tm_leases_close(kit->leases);
    weir_mailbox_destroy(kit->mailbox);
    weir_waker_destroy(kit->waker);
}

static void run_asker(void *ctx)
{
    struct asker *asker = ctx;
    asker->rc = asker->lease->check(asker->lease, asker->timeout_ms, &asker->err);
    asker->lease->unref(asker->lease);
}

static void asker_start(struct asker *asker, struct weir_lease *lease, int64_t timeout_ms)
{
    struct weir_error err;
    *asker = (struct asker){.lease = lease->ref(lease), .timeout_ms = timeout_ms};
    ck_assert_int_eq(weir_thread_start("asker", run_asker, asker, &asker->thread, &err), WEIR_OK);
}

static void run_mails_until(struct kit *kit, uint32_t nasked)
{
    while (kit->nasked < nasked) {
        weir_test_await_mail(kit->waker, kit->mailbox, -1);
        (void)weir_mailbox_run(kit->mailbox, 16);
    }
}

START_TEST(the_answer_comes_back)
{
    static const struct {
        enum weir_rc answer, want;
        const char *text;
    } rows[] = {
        {WEIR_OK, WEIR_OK, ""},
        {WEIR_STALE, WEIR_STALE, "attempt 3 runs"},
        {WEIR_REFUSED, WEIR_TIMEOUT, "does not lead"},
        {WEIR_CLOSED, WEIR_TIMEOUT, "epoch 7"},
        {WEIR_CANCELED, WEIR_TIMEOUT, "gone"},
    };
    struct kit kit;
    kit_init(&kit);
    struct weir_lease *lease = weir_tm_lease_create(kit.leases, "0123456789abcdef0123456789abcdef", 7, 2);
    for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct asker asker;
        asker_start(&asker, lease, LONG_MS);
        run_mails_until(&kit, 1);
        ck_assert_str_eq(weir_tm_lease_question_job(kit.asked[0]), "0123456789abcdef0123456789abcdef");
        ck_assert_uint_eq(weir_tm_lease_question_attempt(kit.asked[0]), 2);
        ck_assert_uint_eq(weir_tm_lease_question_region(kit.asked[0]), 7);
        weir_tm_leases_answer(kit.asked[0], rows[i].answer, rows[i].text);
        weir_thread_join(asker.thread);
        ck_assert_int_eq(asker.rc, rows[i].want);
        ck_assert(asker.rc == WEIR_OK || strstr(asker.err.text, rows[i].text) != NULL);
        kit.nasked = 0;
    }
    lease->unref(lease);
    kit_fini(&kit);
}
END_TEST

/* (T3) */
START_TEST(late_answers_are_dropped)
{
    struct kit kit;
    kit_init(&kit);
    struct weir_lease *lease = weir_tm_lease_create(kit.leases, "j", 0, 1);
    struct weir_error err;
    for (int i = 0; i < 4; i++) { /* nobody runs the mails */
        ck_assert_int_eq(lease->check(lease, i, &err), WEIR_TIMEOUT);
    }
    ck_assert_int_eq(lease->check(lease, LONG_MS, &err), WEIR_TIMEOUT); /* the mailbox is full: at once */
    run_mails_until(&kit, 4);
    lease->unref(lease);
    for (uint32_t i = 0; i < kit.nasked; i++) {
        weir_tm_leases_answer(kit.asked[i], i % 2 == 0 ? WEIR_OK : WEIR_STALE, "late");
    }
    kit_fini(&kit);
}
END_TEST

/* (T1): 0 the question is with the JobManager, 1 in the mailbox, which is closed; the lease and the answer come after everything. */
START_TEST(those_who_wait_are_sent_home)
{
    struct kit kit;
    kit_init(&kit);
    struct weir_lease *lease = weir_tm_lease_create(kit.leases, "j", 0, 1);
    struct asker askers[3];
    for (int i = 0; i < 3; i++) {
        asker_start(&askers[i], lease, LONG_MS);
    }
    if (_i == 0) {
        run_mails_until(&kit, 3);
    } else {
        while (weir_mailbox_count(kit.mailbox) < 3) {
            weir_waker_prepare(kit.waker);
            if (weir_mailbox_count(kit.mailbox) < 3) {
                weir_waker_wait(kit.waker, 1, NULL, 0);
            } else {
                weir_waker_cancel(kit.waker);
            }
        }
        weir_mailbox_close(kit.mailbox);
    }
    kit_fini(&kit);
    for (int i = 0; i < 3; i++) {
        weir_thread_join(askers[i].thread);
        ck_assert_int_eq(askers[i].rc, WEIR_TIMEOUT);
        ck_assert_ptr_nonnull(strstr(askers[i].err.text, "shutting down"));
    }
    struct weir_error err;
    ck_assert_int_eq(lease->check(lease, LONG_MS, &err), WEIR_TIMEOUT);
    for (uint32_t i = 0; i < kit.nasked; i++) {
        weir_tm_leases_answer(kit.asked[i], WEIR_OK, "");
    }
    lease->unref(lease);
}
END_TEST

Suite *tm_lease_suite(void);

Suite *tm_lease_suite(void)
{
    Suite *suite = suite_create("tm_lease");
    TCase *tcase = tcase_create("tm_lease");
    tcase_add_test(tcase, the_answer_comes_back);
    tcase_add_test(tcase, late_answers_are_dropped);
    tcase_add_loop_test(tcase, those_who_wait_are_sent_home, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
