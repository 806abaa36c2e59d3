#include "common/runtime/spsc.h"

#include "common/base/rand.h"
#include "common/runtime/thread.h"

#include <check.h>
#include <sched.h>

START_TEST(full_empty_and_wrap)
{
    static int items[1000];
    struct weir_spsc *ring = weir_spsc_create(8);
    struct weir_rand rand;
    weir_rand_init(&rand, 8);
    size_t in = 0;
    size_t out = 0;
    ck_assert_uint_eq(weir_spsc_capacity(ring), 8);
    for (int round = 0; round < 100000; round++) {
        if (weir_rand_below(&rand, 2) == 0) {
            ck_assert_int_eq(weir_spsc_push(ring, &items[in % 1000]), in - out < 8);
            in += in - out < 8;
        } else {
            int *expected = in == out ? NULL : &items[out % 1000];
            ck_assert_ptr_eq(weir_spsc_peek(ring), expected);
            ck_assert_ptr_eq(weir_spsc_pop(ring), expected);
            out += expected != NULL;
        }
        ck_assert_uint_eq(weir_spsc_size(ring), in - out);
    }
    weir_spsc_destroy(ring);
}
END_TEST

enum { ITEMS = 100000 };

static int numbers[ITEMS];

static void produce(void *ctx)
{
    for (int i = 0; i < ITEMS; i++) {
        numbers[i] = i; /* a plain write: push must order it */
        while (!weir_spsc_push(ctx, &numbers[i])) {
            sched_yield();
        }
    }
}

START_TEST(two_threads_keep_order_and_contents)
{
    struct weir_spsc *ring = weir_spsc_create(64);
    struct weir_thread *thread;
    struct weir_error err;
    ck_assert_int_eq(weir_thread_start("producer", produce, ring, &thread, &err), WEIR_OK);
    for (int i = 0; i < ITEMS;) {
        const int *number = weir_spsc_pop(ring);
        if (number == NULL) {
            sched_yield();
            continue;
        }
        ck_assert_int_eq(*number, i);
        ck_assert_uint_le(weir_spsc_size(ring), 64);
        i++;
    }
    weir_thread_join(thread);
    ck_assert_ptr_null(weir_spsc_pop(ring));
    weir_spsc_destroy(ring);
}
END_TEST

Suite *spsc_suite(void);
Suite *spsc_suite(void)
{
    Suite *suite = suite_create("spsc");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, full_empty_and_wrap);
    tcase_add_test(tc, two_threads_keep_order_and_contents);
    suite_add_tcase(suite, tc);
    return suite;
}
