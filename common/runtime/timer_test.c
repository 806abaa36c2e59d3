#include "common/runtime/timer.h"

#include "common/base/rand.h"

#include <check.h>

struct probe {
    struct weir_timer timer;
    struct weir_timers *timers;
    struct weir_timer *victim; /* cancelled when this fires */
    int64_t rearm_ns;          /* armed again at this time when it fires; 0: not */
    int fired;
};

static void fire(void *ctx)
{
    struct probe *probe = ctx;
    probe->fired++;
    if (probe->victim != NULL) {
        weir_timers_cancel(probe->timers, probe->victim);
    }
    if (probe->rearm_ns != 0) {
        weir_timers_add(probe->timers, &probe->timer, probe->rearm_ns);
    }
}

static void probe_init(struct probe *probe, struct weir_timers *timers)
{
    *probe = (struct probe){.timer = {.fire = fire, .ctx = probe}, .timers = timers};
}

START_TEST(due_timers_come_in_order)
{
    enum { TIMERS = 200 };
    struct weir_timers timers;
    weir_timers_init(&timers);
    ck_assert_int_eq(weir_timers_next_deadline(&timers), INT64_MAX);
    static struct probe probes[TIMERS];
    struct weir_rand rand;
    weir_rand_init(&rand, 9);
    for (int i = 0; i < TIMERS; i++) {
        probe_init(&probes[i], &timers);
        weir_timers_add(&timers, &probes[i].timer, (int64_t)weir_rand_below(&rand, 50));
        if (i % 3 == 0) {
            weir_timers_add(&timers, &probes[i].timer, (int64_t)weir_rand_below(&rand, 50));
        }
    }
    weir_timers_cancel(&timers, &probes[5].timer);
    weir_timers_cancel(&timers, &probes[5].timer);
    ck_assert(!weir_timer_armed(&probes[5].timer));
    const struct weir_timer *last = NULL;
    int popped = 0;
    for (int64_t now = 0; now < 50; now++) {
        for (struct weir_timer *t = weir_timers_pop_due(&timers, now); t != NULL; t = weir_timers_pop_due(&timers, now)) {
            ck_assert_int_eq(t->priv.deadline_ns, now);
            ck_assert(last == NULL || last->priv.deadline_ns < now || last->priv.order < t->priv.order);
            last = t;
            popped++;
        }
        ck_assert_int_gt(weir_timers_next_deadline(&timers), now);
    }
    ck_assert_int_eq(popped, TIMERS - 1);
    weir_timers_fini(&timers);
}
END_TEST

START_TEST(a_fire_may_rearm_and_cancel)
{
    struct weir_timers timers;
    weir_timers_init(&timers);
    struct probe a;
    struct probe b;
    struct probe c;
    probe_init(&a, &timers);
    probe_init(&b, &timers);
    probe_init(&c, &timers);
    a.rearm_ns = 1;
    a.victim = &b.timer;
    weir_timers_add(&timers, &a.timer, 5);
    weir_timers_add(&timers, &b.timer, 6);
    weir_timers_add(&timers, &c.timer, 7);
    ck_assert_uint_eq(weir_timers_run_due(&timers, 4), 0);
    ck_assert_uint_eq(weir_timers_run_due(&timers, 10), 2); /* a once, though it is due again */
    ck_assert_int_eq(a.fired * 100 + b.fired * 10 + c.fired, 101);
    ck_assert(weir_timer_armed(&a.timer));
    ck_assert_int_eq(weir_timers_next_deadline(&timers), 1);
    a.rearm_ns = 0;
    ck_assert_uint_eq(weir_timers_run_due(&timers, 10), 1);
    weir_timers_fini(&timers);
}
END_TEST

Suite *timer_suite(void);
Suite *timer_suite(void)
{
    Suite *suite = suite_create("timer");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, due_timers_come_in_order);
    tcase_add_test(tc, a_fire_may_rearm_and_cancel);
    suite_add_tcase(suite, tc);
    return suite;
}
