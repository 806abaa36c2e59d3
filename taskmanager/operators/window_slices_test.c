#include "taskmanager/operators/window_slices.h"

#include "common/base/rand.h"

#include <check.h>

static int64_t floor_to(int64_t value, int64_t offset, int64_t step)
{
    int64_t at = offset;
    while (at > value) {
        at -= step;
    }
    while (at + step <= value) {
        at += step;
    }
    return at;
}

/* Everything against windows counted out one by one. */
START_TEST(agrees_with_counting)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 5);
    for (int round = 0; round < 3000; round++) {
        int64_t size = 1 + (int64_t)weir_rand_below(&rand, 24);
        int64_t slide = 1 + (int64_t)weir_rand_below(&rand, 24);
        bool tumble = weir_rand_below(&rand, 4) == 0;
        int64_t offset = (int64_t)weir_rand_below(&rand, 60) - 30;
        struct weir_window_spec spec = {
            .kind = tumble ? WEIR_WINDOW_TUMBLE : WEIR_WINDOW_HOP, .size_ms = size, .slide_ms = slide, .offset_ms = offset};
        slide = tumble ? size : slide;
        struct weir_slices slices;
        struct weir_error err;
        ck_assert_int_eq(weir_slices_init(&slices, &spec, &err), WEIR_OK);
        ck_assert(size % slices.slice_ms == 0 && slide % slices.slice_ms == 0);
        int64_t time = (int64_t)weir_rand_below(&rand, 200) - 100;
        int64_t micros[2] = {time * 1000 + 999, time * 1000};
        int64_t ends[2];
        weir_slices_assign(&slices, micros, NULL, 2, ends);
        ck_assert_int_eq(ends[0], ends[1]);
        ck_assert(ends[0] > time && ends[0] - slices.slice_ms <= time);
        ck_assert_int_eq(ends[0], floor_to(time, offset, slices.slice_ms) + slices.slice_ms);
        /* Windows that hold the row: start in (time - size, time]. */
        int64_t last_start = floor_to(time, offset, slide);
        int64_t first = INT64_MAX;
        int64_t last = INT64_MIN;
        for (int64_t start = last_start; start > time - size; start -= slide) {
            first = start + size;
            last = last == INT64_MIN ? start + size : last;
        }
        ck_assert_int_eq(weir_slices_in_gap(&slices, ends[0]), last == INT64_MIN);
        if (last == INT64_MIN) {
            continue;
        }
        ck_assert_int_eq(weir_slices_first_window(&slices, ends[0]), first);
        ck_assert_int_eq(weir_slices_last_window(&slices, ends[0]), last);
        for (int64_t wm = time - 40; wm < time + 60; wm++) {
            bool late = last - 1 <= wm;
            ck_assert_int_eq(ends[0] <= weir_slices_late_through(&slices, wm), late);
            ck_assert_int_eq(weir_slices_due(last, wm), late);
            if (!late) {
                int64_t next = first;
                while (next - 1 <= wm) {
                    next += slide;
                }
                ck_assert_int_eq(weir_slices_next_window(&slices, ends[0], wm + 1), next);
            }
        }
    }
}
END_TEST

START_TEST(extremes)
{
    struct weir_window_spec spec = {.kind = WEIR_WINDOW_HOP, .size_ms = 60000, .slide_ms = 7000, .offset_ms = -1};
    struct weir_slices slices;
    struct weir_error err;
    ck_assert_int_eq(weir_slices_init(&slices, &spec, &err), WEIR_OK);
    ck_assert_int_eq(weir_slices_late_through(&slices, INT64_MIN), INT64_MIN);
    ck_assert_int_eq(weir_slices_late_through(&slices, INT64_MAX), INT64_MAX);
    int64_t micros[] = {INT64_MIN, INT64_MAX, -1, 0, INT64_MIN};
    uint16_t sel[] = {4, 0, 1, 2, 3};
    int64_t ends[5];
    weir_slices_assign(&slices, micros, sel, 5, ends);
    ck_assert_int_eq(ends[0], ends[1]);
    ck_assert(ends[0] > INT64_MIN / 1000 - 1 && ends[0] <= INT64_MIN / 1000 + 1000);
    ck_assert(ends[2] > INT64_MAX / 1000 && ends[2] <= INT64_MAX / 1000 + 1000);
    ck_assert_int_eq(ends[3], 999); /* [-1, 999) with offset -1 */
    ck_assert_int_eq(ends[4], 999);
    ck_assert_int_gt(weir_slices_late_through(&slices, INT64_MAX / 1000), INT64_MAX / 1000 - 120000);
}
END_TEST

START_TEST(refuses)
{
    struct weir_slices slices;
    struct weir_error err;
    struct weir_window_spec spec = {.kind = WEIR_WINDOW_CUMULATE, .size_ms = 10, .slide_ms = 5};
    ck_assert_int_eq(weir_slices_init(&slices, &spec, &err), WEIR_UNSUPPORTED);
    spec.kind = WEIR_WINDOW_HOP;
    spec.slide_ms = 0;
    ck_assert_int_eq(weir_slices_init(&slices, &spec, &err), WEIR_INVALID);
    spec.slide_ms = INT64_MAX;
    ck_assert_int_eq(weir_slices_init(&slices, &spec, &err), WEIR_INVALID);
    spec.slide_ms = 5;
    spec.size_ms = -1;
    ck_assert_int_eq(weir_slices_init(&slices, &spec, &err), WEIR_INVALID);
}
END_TEST

Suite *window_slices_suite(void);
Suite *window_slices_suite(void)
{
    Suite *suite = suite_create("window_slices");
    TCase *tcase = tcase_create("window_slices");
    tcase_add_test(tcase, agrees_with_counting);
    tcase_add_test(tcase, extremes);
    tcase_add_test(tcase, refuses);
    suite_add_tcase(suite, tcase);
    return suite;
}
