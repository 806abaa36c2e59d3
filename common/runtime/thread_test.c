#include "common/runtime/thread.h"

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
    tcase_add_test_raise_signal(tc, a_stranger_is_caught, SIGABRT);
    suite_add_tcase(suite, tc);
    return suite;
}
