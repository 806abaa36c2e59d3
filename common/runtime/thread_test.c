#include "common/runtime/sync.h"
#include "common/runtime/thread.h"

#include "common/base/mem.h"

#include <check.h>
#include <pthread.h>
#include <signal.h>

struct seen {
    char name[32];
    bool signals_blocked;
    struct weir_owner owner;
};

static void look(void *ctx)
{
    struct seen *seen = ctx;
    sigset_t mask;
    ck_assert_int_eq(pthread_getname_np(pthread_self(), seen->name, sizeof(seen->name)), 0);
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    seen->signals_blocked = sigismember(&mask, SIGTERM) == 1;
    weir_owner_take(&seen->owner);
    weir_owner_assert(&seen->owner);
}

START_TEST(threads_have_names_and_no_signals)
{
    struct seen seen = {0};
    struct weir_thread *thread;
    struct weir_error err;
    ck_assert_int_eq(weir_thread_start("a-name-longer-than-15", look, &seen, &thread, &err), WEIR_OK);
    weir_thread_join(thread);
    ck_assert_str_eq(seen.name, "a-name-longer-t");
    ck_assert(seen.signals_blocked);
    ck_assert_uint_ne(seen.owner.thread, 0);
    ck_assert_uint_ne(seen.owner.thread, weir_thread_self());
    sigset_t mine;
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, NULL, &mine), 0);
    ck_assert_int_eq(sigismember(&mine, SIGTERM), 0);
}
END_TEST

struct meeting {
    struct weir_mutex mutex;
    struct weir_cond cond;
    int there;
};

static void meet(void *ctx)
{
    struct meeting *meeting = ctx;
    weir_mutex_lock(&meeting->mutex);
    meeting->there++;
    weir_cond_signal(&meeting->cond);
    weir_mutex_unlock(&meeting->mutex);
}

START_TEST(a_detached_thread_runs_to_its_end)
{
    struct meeting *meeting = weir_calloc(1, sizeof(*meeting));
    struct weir_error err;
    weir_mutex_init(&meeting->mutex);
    weir_cond_init(&meeting->cond);
    for (int i = 0; i < 100; i++) {
        struct weir_thread *thread;
        ck_assert_int_eq(weir_thread_start("detached", meet, meeting, &thread, &err), WEIR_OK);
        weir_thread_detach(thread);
    }
    weir_mutex_lock(&meeting->mutex);
    while (meeting->there < 100) {
        weir_cond_wait(&meeting->cond, &meeting->mutex);
    }
    weir_mutex_unlock(&meeting->mutex);
    weir_mutex_lock(&meeting->mutex); /* the last thread has let go of it, and touches it no more */
    weir_mutex_unlock(&meeting->mutex);
    weir_cond_fini(&meeting->cond);
    weir_mutex_fini(&meeting->mutex);
    weir_free(meeting);
}
END_TEST

START_TEST(a_stranger_is_caught)
{
    struct weir_owner owner = {.thread = weir_thread_self() + 1};
    weir_owner_assert(&owner);
}
END_TEST

Suite *thread_suite(void);
Suite *thread_suite(void)
{
    Suite *suite = suite_create("thread");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, threads_have_names_and_no_signals);
    tcase_add_test(tc, a_detached_thread_runs_to_its_end);
    tcase_add_test_raise_signal(tc, a_stranger_is_caught, SIGABRT);
    suite_add_tcase(suite, tc);
    return suite;
}
