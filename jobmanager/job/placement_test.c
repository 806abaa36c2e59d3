#include "jobmanager/job/placement.h"

#include <check.h>

#include "common/base/rand.h"

START_TEST(spreads_evenly)
{
    struct weir_placement_tm tms[] = {{4, 0, "a", ""}, {2, 0, "b", ""}, {2, 1, "c", ""}};
    uint32_t chosen[6];
    ck_assert(weir_placement_choose(tms, 3, 4, NULL, chosen));
    ck_assert_uint_eq(chosen[0], 0);
    ck_assert_uint_eq(chosen[1], 1);
    ck_assert_uint_eq(chosen[2], 0);
    ck_assert_uint_eq(chosen[3], 0); /* at 2/4 as the others are at 1/2: the first of equals */
    ck_assert(!weir_placement_choose(tms, 3, 4, NULL, chosen));
    ck_assert_uint_eq(tms[0].used, 3);
    ck_assert(weir_placement_choose(tms, 3, 3, NULL, chosen));
    ck_assert(!weir_placement_choose(tms, 3, 1, NULL, chosen));
    ck_assert(!weir_placement_choose(tms, 0, 1, NULL, chosen));
}
END_TEST

START_TEST(slots_go_home)
{
    struct weir_placement_tm tms[] = {{2, 0, "a", "h1"}, {2, 0, "b", "h2"}, {4, 0, "c", "h2"}, {2, 2, "d", "h3"}};
    static const struct weir_placement_home homes[] = {{"gone", "h2"}, {"b", NULL}, {"b", "h2"}, {"c", "h2"}, {"d", "h3"}, {"gone", "h9"}, {NULL, NULL}};
    uint32_t chosen[7];
    ck_assert(weir_placement_choose(tms, 4, 7, homes, chosen));
    ck_assert_uint_eq(chosen[1], 1);
    ck_assert_uint_eq(chosen[2], 1);
    ck_assert_uint_eq(chosen[3], 2);
    ck_assert_uint_eq(chosen[0], 2); /* its machine: b is full by then */
    ck_assert_uint_eq(chosen[4], 0); /* d has no free one, nor has its machine */
    ck_assert(tms[0].used == 2 && tms[1].used == 2 && tms[2].used == 3 && tms[3].used == 2);
    uint32_t rest[2];
    ck_assert(!weir_placement_choose(tms, 4, 2, homes, rest));
    ck_assert(weir_placement_choose(tms, 4, 1, homes, rest));
    ck_assert_uint_eq(rest[0], 2);
}
END_TEST

START_TEST(never_more_than_there_are)
{
    struct weir_rand rand;
    weir_rand_init(&rand, (uint64_t)_i);
    for (int round = 0; round < 200; round++) {
        struct weir_placement_tm tms[8];
        uint32_t ntms = (uint32_t)weir_rand_below(&rand, 9);
        uint32_t available = 0;
        for (uint32_t i = 0; i < ntms; i++) {
            tms[i].slots = 1 + (uint32_t)weir_rand_below(&rand, 6);
            tms[i].used = (uint32_t)weir_rand_below(&rand, tms[i].slots + 2); /* may be overbooked after a re-registration */
            available += tms[i].used < tms[i].slots ? tms[i].slots - tms[i].used : 0;
        }
        uint32_t slots = 1 + (uint32_t)weir_rand_below(&rand, 20);
        uint32_t before[8], chosen[20];
        static const char *const names[] = {"0", "1", "2", "3", "4", "5", "6", "7"};
        struct weir_placement_home homes[20];
        for (uint32_t s = 0; s < slots; s++) { /* nobody's, gone, or there */
            homes[s] = (struct weir_placement_home){.tm_id = weir_rand_below(&rand, 4) == 0 ? NULL : names[weir_rand_below(&rand, 8)],
                                                    .host = weir_rand_below(&rand, 4) == 0 ? NULL : names[weir_rand_below(&rand, 4)]};
        }
        for (uint32_t i = 0; i < ntms; i++) {
            tms[i].id = names[i];
            tms[i].host = names[i / 2];
            before[i] = tms[i].used;
        }
        bool placed = weir_placement_choose(tms, ntms, slots, _i % 2 == 0 ? NULL : homes, chosen);
        ck_assert_int_eq(placed, slots <= available);
        for (uint32_t s = 0; placed && s < slots; s++) {
            ck_assert_uint_lt(chosen[s], ntms);
            before[chosen[s]]++;
        }
        for (uint32_t i = 0; i < ntms; i++) {
            ck_assert_uint_eq(before[i], tms[i].used);
        }
    }
}
END_TEST

Suite *placement_suite(void);

Suite *placement_suite(void)
{
    Suite *suite = suite_create("placement");
    TCase *tcase = tcase_create("placement");
    tcase_add_test(tcase, spreads_evenly);
    tcase_add_test(tcase, slots_go_home);
    tcase_add_loop_test(tcase, never_more_than_there_are, 1, 11);
    suite_add_tcase(suite, tcase);
    return suite;
}
