#include "jobmanager/job/adaptive.h"

#include <check.h>

static const struct weir_adaptive_settings on = {.enabled = true, .wait_ms = 1000, .stabilization_ms = 10, .interval_ms = 30, .increase_min = 2};

START_TEST(fewer_slots_are_taken_once_they_are_stable)
{
    struct weir_adaptive a;
    weir_adaptive_init(&a);
    ck_assert(!weir_adaptive_takes(&a, &on, 0, 0, 100));
    ck_assert_int_eq(weir_adaptive_deadline_ms(&a), INT64_MAX);
    ck_assert(!weir_adaptive_takes(&a, &on, 1, 0, 101));
    ck_assert_int_eq(weir_adaptive_deadline_ms(&a), 111);
    ck_assert(!weir_adaptive_takes(&a, &on, 3, 0, 110)); /* one more does not begin it anew */
    ck_assert(!weir_adaptive_takes(&a, &on, 0, 0, 110)); /* none does */
    ck_assert(!weir_adaptive_takes(&a, &on, 2, 0, 111));
    ck_assert(weir_adaptive_takes(&a, &on, 2, 0, 121));
    ck_assert(weir_adaptive_takes(&a, &on, 1, 0, 121)); /* for good */
    ck_assert_int_eq(weir_adaptive_deadline_ms(&a), INT64_MAX);
    weir_adaptive_reset(&a);
    ck_assert(!weir_adaptive_takes(&a, &on, 2, 3, 200));
    ck_assert(weir_adaptive_takes(&a, &on, 3, 3, 201)); /* as many as it had */
    weir_adaptive_reset(&a);
    ck_assert(!weir_adaptive_hurries(&a));
    ck_assert(!weir_adaptive_takes(&a, &on, 1, 0, 210));
    weir_adaptive_tick(&a, 219);
    ck_assert_int_eq(weir_adaptive_deadline_ms(&a), 220);
    ck_assert(weir_adaptive_hurries(&a));
    ck_assert(!weir_adaptive_hurries(&a));
    ck_assert(weir_adaptive_takes(&a, &on, 1, 0, 219));
    const struct weir_adaptive_settings off = {.increase_min = 1};
    weir_adaptive_init(&a);
    ck_assert(!weir_adaptive_takes(&a, &off, 5, 5, 300));
    ck_assert_int_eq(weir_adaptive_deadline_ms(&a), INT64_MAX);
}
END_TEST

START_TEST(it_grows_into_slots_that_stay)
{
    struct weir_adaptive a;
    weir_adaptive_init(&a);
    a.began_ms = 100;
    weir_adaptive_offer(&a, &on, 1, 100);
    ck_assert(!weir_adaptive_grows(&a, &on, 1000)); /* too few */
    weir_adaptive_offer(&a, &on, 2, 105);
    weir_adaptive_offer(&a, &on, 3, 106);
    ck_assert(!weir_adaptive_grows(&a, &on, 129)); /* too soon after the last */
    ck_assert(weir_adaptive_grows(&a, &on, 130));
    weir_adaptive_offer(&a, &on, 0, 130);
    weir_adaptive_offer(&a, &on, 2, 131);
    ck_assert(!weir_adaptive_grows(&a, &on, 140));
    ck_assert(weir_adaptive_grows(&a, &on, 141));
    const struct weir_adaptive_settings off = {.increase_min = 1};
    ck_assert(!weir_adaptive_grows(&a, &off, 141));
    weir_adaptive_offer(&a, &off, 4, 141);
    ck_assert(!weir_adaptive_grows(&a, &on, 1000));
}
END_TEST

Suite *adaptive_suite(void);

Suite *adaptive_suite(void)
{
    Suite *suite = suite_create("adaptive");
    TCase *tcase = tcase_create("adaptive");
    tcase_add_test(tcase, fewer_slots_are_taken_once_they_are_stable);
    tcase_add_test(tcase, it_grows_into_slots_that_stay);
    suite_add_tcase(suite, tcase);
    return suite;
}
