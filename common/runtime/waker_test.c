#include "common/runtime/waker.h"

#include "common/runtime/thread.h"

#include <check.h>
#include <stdatomic.h>
#include <unistd.h>

static bool readable(const struct weir_waker *waker)
{
    struct pollfd fd = {.fd = weir_waker_fd(waker), .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

START_TEST(waking_costs_a_write_only_of_a_sleeper)
{
    struct weir_waker *waker;
    struct weir_error err;
    ck_assert_int_eq(weir_waker_create(&waker, &err), WEIR_OK);
    weir_waker_wake(waker);
    ck_assert(!readable(waker)); /* awake: nothing written */
    weir_waker_prepare(waker);
    weir_waker_wake(waker);
    ck_assert(readable(waker));
    weir_waker_wait(waker, -1, NULL, 0); /* returns: it was woken between prepare and wait */
    ck_assert(!readable(waker));
    weir_waker_prepare(waker);
    weir_waker_cancel(waker);
    weir_waker_wake(waker);
    ck_assert(!readable(waker));
    weir_waker_prepare(waker);
    weir_waker_wake(waker);
    weir_waker_finish(waker);
    ck_assert(!readable(waker));
    weir_waker_prepare(waker);
    weir_waker_wait(waker, 1, NULL, 0); /* the time passes */
    weir_waker_wake(waker);
    ck_assert(!readable(waker));
    weir_waker_destroy(waker);
}
END_TEST

START_TEST(other_descriptors_end_the_wait)
{
    struct weir_waker *waker;
    struct weir_error err;
    int ends[2];
    ck_assert_int_eq(weir_waker_create(&waker, &err), WEIR_OK);
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    struct pollfd fds[2] = {{.fd = ends[1], .events = 0}, {.fd = ends[0], .events = POLLIN}};
    weir_waker_prepare(waker);
    weir_waker_wait(waker, -1, fds, 2);
    ck_assert_int_eq(fds[0].revents, 0);
    ck_assert_int_eq(fds[1].revents, POLLIN);
    (void)close(ends[0]);
    (void)close(ends[1]);
    weir_waker_destroy(waker);
}
END_TEST

enum { ROUNDS = 20000 };

struct pair {
    struct weir_waker *wakers[2];
    _Atomic int ball; /* whose turn: even 0, odd 1 */
};

static void play(struct pair *pair, int me)
{
    for (;;) {
        int ball = atomic_load_explicit(&pair->ball, memory_order_acquire);
        if (ball >= ROUNDS) {
            weir_waker_wake(pair->wakers[1 - me]);
            return;
        }
        if (ball % 2 == me) {
            atomic_store_explicit(&pair->ball, ball + 1, memory_order_release);
            weir_waker_wake(pair->wakers[1 - me]);
            continue;
        }
        weir_waker_prepare(pair->wakers[me]);
        ball = atomic_load_explicit(&pair->ball, memory_order_relaxed);
        if (ball % 2 == me || ball >= ROUNDS) {
            weir_waker_cancel(pair->wakers[me]);
        } else {
            weir_waker_wait(pair->wakers[me], -1, NULL, 0);
        }
    }
}

static void play_second(void *ctx)
{
    play(ctx, 1);
}

START_TEST(no_wake_up_is_lost)
{
    struct pair pair = {0};
    struct weir_error err;
    struct weir_thread *thread;
    ck_assert_int_eq(weir_waker_create(&pair.wakers[0], &err), WEIR_OK);
    ck_assert_int_eq(weir_waker_create(&pair.wakers[1], &err), WEIR_OK);
    ck_assert_int_eq(weir_thread_start("second", play_second, &pair, &thread, &err), WEIR_OK);
    play(&pair, 0);
    weir_thread_join(thread);
    ck_assert_int_ge(pair.ball, ROUNDS);
    weir_waker_destroy(pair.wakers[0]);
    weir_waker_destroy(pair.wakers[1]);
}
END_TEST

Suite *waker_suite(void);
Suite *waker_suite(void)
{
    Suite *suite = suite_create("waker");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, waking_costs_a_write_only_of_a_sleeper);
    tcase_add_test(tc, other_descriptors_end_the_wait);
    tcase_add_test(tc, no_wake_up_is_lost);
    suite_add_tcase(suite, tc);
    return suite;
}
