/*
 * ck_assert tells Check its place each time it holds, by a write to a file: in suites of millions of assertions that took more time than the tests
 * (window_agg: 6.5 million writes). The linker puts this in its place: a place a millisecond. What a crash or time-out then shows as "after this point"
 * may be a millisecond older; a failed assertion tells its own place as ever.
 */
#include "common/base/clock.h"

#include <check.h>
#include <stdatomic.h>

void __real__mark_point(const char *file, int line);
void __wrap__mark_point(const char *file, int line);

void __wrap__mark_point(const char *file, int line)
{
    static _Atomic int64_t marked_ms;
    int64_t now_ms = weir_clock_mono_ms(weir_clock_real());
    if (atomic_load_explicit(&marked_ms, memory_order_relaxed) != now_ms) {
        atomic_store_explicit(&marked_ms, now_ms, memory_order_relaxed);
        __real__mark_point(file, line);
    }
}
