#include "jobmanager/job/restart_strategy.h"

#include <check.h>

static const struct weir_restart_settings exponential = {.type = WEIR_RESTART_EXPONENTIAL_DELAY, .attempts_max = INT32_MAX, .delay_ms = 1000,
                                                         .delay_max_ms = 60000, .reset_ms = 3600000, .multiplier = 1.5, .jitter = 0.1};

START_TEST(none_never_restarts)
{
    const struct weir_restart_settings settings = {.type = WEIR_RESTART_NONE};
    struct weir_restart_strategy *strategy = weir_restart_strategy_create(&settings, 1);
    int64_t at_ms = 77;
    ck_assert(!weir_restart_strategy_failed(strategy, 1000, &at_ms));
    ck_assert_int_eq(at_ms, 77);
    weir_restart_strategy_destroy(strategy);
    weir_restart_strategy_destroy(NULL);
}
END_TEST

START_TEST(fixed_delay_counts_its_attempts)
{
    const struct weir_restart_settings settings = {.type = WEIR_RESTART_FIXED_DELAY, .attempts_max = 3, .delay_ms = _i};
    struct weir_restart_strategy *strategy = weir_restart_strategy_create(&settings, 1);
    int64_t now_ms = 5;
    int64_t at_ms = 0;
    for (int i = 0; i < 3; i++) {
        ck_assert(weir_restart_strategy_failed(strategy, now_ms, &at_ms));
        ck_assert_int_eq(at_ms, now_ms + (_i < WEIR_RESTART_DELAY_MIN_MS ? WEIR_RESTART_DELAY_MIN_MS : _i)); /* (R1) */
        ck_assert_uint_eq(weir_restart_strategy_failures(strategy), (uint64_t)i + 1);
        now_ms += 100000000;
    }
    ck_assert(!weir_restart_strategy_failed(strategy, now_ms, &at_ms));
    ck_assert(!weir_restart_strategy_failed(strategy, now_ms, &at_ms));
    weir_restart_strategy_destroy(strategy);
}
END_TEST

START_TEST(failure_rate_looks_at_the_interval)
{
    const struct weir_restart_settings settings = {.type = WEIR_RESTART_FAILURE_RATE, .failures_max = 3, .interval_ms = 10000, .delay_ms = 20};
    struct weir_restart_strategy *strategy = weir_restart_strategy_create(&settings, 1);
    int64_t at_ms = 0;
    for (int64_t now_ms = 1; now_ms < 1000000; now_ms += 3340) { /* 3 in each 10 s: for ever */
        ck_assert(weir_restart_strategy_failed(strategy, now_ms, &at_ms));
        ck_assert_int_eq(at_ms, now_ms + 20);
    }
    ck_assert(weir_restart_strategy_failed(strategy, 2000000, &at_ms));
    ck_assert(weir_restart_strategy_failed(strategy, 2000000, &at_ms));
    ck_assert(weir_restart_strategy_failed(strategy, 2010000, &at_ms));
    ck_assert(!weir_restart_strategy_failed(strategy, 2010000, &at_ms)); /* exactly an interval ago is within it */
    weir_restart_strategy_destroy(strategy);
}
END_TEST

START_TEST(exponential_delay_grows_and_is_reset)
{
    struct weir_restart_settings settings = exponential;
    settings.jitter = 0;
    struct weir_restart_strategy *strategy = weir_restart_strategy_create(&settings, 1);
    static const int64_t delays[] = {1000, 1500, 2250, 3375, 5062, 7593, 11390, 17085, 25628, 38443, 57665, 60000, 60000, 60000};
    int64_t now_ms = 3;
    int64_t at_ms = 0;
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
            ck_assert(weir_restart_strategy_failed(strategy, now_ms, &at_ms));
            ck_assert_int_eq(at_ms - now_ms, delays[i]);
            int64_t again_ms = 0;
            ck_assert(weir_restart_strategy_failed(strategy, now_ms + 1, &again_ms)); /* part of the one before */
            ck_assert(weir_restart_strategy_failed(strategy, at_ms, &again_ms));
            ck_assert_int_eq(again_ms, at_ms);
            ck_assert_uint_eq(weir_restart_strategy_failures(strategy), round * (sizeof(delays) / sizeof(delays[0])) + i + 1);
            now_ms = at_ms + settings.reset_ms - 1;
        }
        now_ms++;
    }
    weir_restart_strategy_destroy(strategy);
}
END_TEST

START_TEST(exponential_delay_limits_attempts_until_its_reset)
{
    struct weir_restart_settings settings = exponential;
    settings.attempts_max = 2;
    struct weir_restart_strategy *strategy = weir_restart_strategy_create(&settings, 1);
    int64_t at_ms = 0;
    int64_t now_ms = 0;
    for (int round = 0; round < 3; round++) {
        ck_assert(weir_restart_strategy_failed(strategy, now_ms, &at_ms));
        ck_assert(weir_restart_strategy_failed(strategy, at_ms, &at_ms)); /* counts once */
        ck_assert(weir_restart_strategy_failed(strategy, at_ms + 1, &at_ms));
        now_ms = at_ms + settings.reset_ms;
    }
    ck_assert(weir_restart_strategy_failed(strategy, now_ms, &at_ms));
    ck_assert(weir_restart_strategy_failed(strategy, at_ms + 1, &at_ms));
    ck_assert(!weir_restart_strategy_failed(strategy, at_ms + 1, &at_ms));
    ck_assert(!weir_restart_strategy_failed(strategy, at_ms, &at_ms));
    weir_restart_strategy_destroy(strategy);
}
END_TEST

START_TEST(jitter_is_bounded_and_comes_from_the_seed)
{
    struct weir_restart_strategy *a = weir_restart_strategy_create(&exponential, 7);
    struct weir_restart_strategy *b = weir_restart_strategy_create(&exponential, 7);
    struct weir_restart_strategy *c = weir_restart_strategy_create(&exponential, 8);
    int64_t now_ms = 0;
    bool differs = false;
    double exact_ms = 1000;
    for (int i = 0; i < 200; i++) {
        int64_t at_ms[3] = {0};
        ck_assert(weir_restart_strategy_failed(a, now_ms, &at_ms[0]));
        ck_assert(weir_restart_strategy_failed(b, now_ms, &at_ms[1]));
        ck_assert(weir_restart_strategy_failed(c, now_ms, &at_ms[2]));
        ck_assert_int_eq(at_ms[0], at_ms[1]);
        differs = differs || at_ms[0] != at_ms[2];
        int64_t delay_ms = at_ms[0] - now_ms;
        ck_assert_int_ge(delay_ms, 1000);
        ck_assert_int_le(delay_ms, 60000);
        ck_assert(delay_ms >= (int64_t)(exact_ms * 0.9) - 1 && delay_ms <= (int64_t)(exact_ms * 1.1) + 1);
        exact_ms = exact_ms * 1.5 < 60000 ? exact_ms * 1.5 : 60000;
        now_ms += 120000;
    }
    ck_assert(differs);
    weir_restart_strategy_destroy(a);
    weir_restart_strategy_destroy(b);
    weir_restart_strategy_destroy(c);
}
END_TEST

START_TEST(a_burst_of_failures_slows_down)
{
    const struct weir_restart_settings settings = {.type = WEIR_RESTART_FIXED_DELAY, .attempts_max = INT32_MAX};
    struct weir_restart_strategy *strategy = weir_restart_strategy_create(&settings, 1);
    int64_t now_ms = 5000;
    for (int i = 0; i < 100; i++) {
        int64_t at_ms = 0;
        ck_assert(weir_restart_strategy_failed(strategy, now_ms, &at_ms));
        ck_assert_int_eq(at_ms - now_ms, i < WEIR_RESTART_BURST_MAX ? WEIR_RESTART_DELAY_MIN_MS : WEIR_RESTART_BURST_DELAY_MS);
        ck_assert(weir_restart_strategy_failed(strategy, now_ms + 1, &at_ms)); /* of the same cause */
        now_ms = at_ms + 5;
    }
    now_ms += WEIR_RESTART_BURST_INTERVAL_MS;
    int64_t at_ms = 0;
    ck_assert(weir_restart_strategy_failed(strategy, now_ms, &at_ms));
    ck_assert_int_eq(at_ms - now_ms, WEIR_RESTART_DELAY_MIN_MS);
    weir_restart_strategy_destroy(strategy);
}
END_TEST

Suite *restart_strategy_suite(void);
Suite *restart_strategy_suite(void)
{
    Suite *suite = suite_create("restart_strategy");
    TCase *tcase = tcase_create("all");
    tcase_add_test(tcase, none_never_restarts);
    tcase_add_loop_test(tcase, fixed_delay_counts_its_attempts, 8, 13);
    tcase_add_test(tcase, failure_rate_looks_at_the_interval);
    tcase_add_test(tcase, exponential_delay_grows_and_is_reset);
    tcase_add_test(tcase, exponential_delay_limits_attempts_until_its_reset);
    tcase_add_test(tcase, a_burst_of_failures_slows_down);
    tcase_add_test(tcase, jitter_is_bounded_and_comes_from_the_seed);
    suite_add_tcase(suite, tcase);
    return suite;
}
