#include "common/base/clock.h"

#include "common/base/assert.h"

#include <time.h>

static int64_t read_ns(clockid_t id)
{
    struct timespec now;
    int failed = clock_gettime(id, &now);
    weir_assert(failed == 0);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t real_mono_ns(const struct weir_clock *clock)
{
    (void)clock;
    return read_ns(CLOCK_MONOTONIC);
}

static int64_t real_boot_ns(const struct weir_clock *clock)
{
    (void)clock;
    return read_ns(CLOCK_BOOTTIME);
}

static int64_t real_wall_ms(const struct weir_clock *clock)
{
    (void)clock;
    struct timespec now;
    int failed = clock_gettime(CLOCK_REALTIME, &now);
    weir_assert(failed == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const struct weir_clock *weir_clock_real(void)
{
    static const struct weir_clock real = {.mono_ns = real_mono_ns, .boot_ns = real_boot_ns, .wall_ms = real_wall_ms};
    return &real;
}

static int64_t virtual_mono_ns(const struct weir_clock *clock)
{
    return ((const struct weir_clock_virtual *)clock)->mono_ns_now;
}

static int64_t virtual_boot_ns(const struct weir_clock *clock)
{
    const struct weir_clock_virtual *of = (const struct weir_clock_virtual *)clock;
    return of->mono_ns_now + of->suspended_ns;
}

static int64_t virtual_wall_ms(const struct weir_clock *clock)
{
    return ((const struct weir_clock_virtual *)clock)->wall_ms_now;
}

void weir_clock_virtual_init(struct weir_clock_virtual *clock, int64_t mono_ns, int64_t wall_ms)
{
    *clock = (struct weir_clock_virtual){
        .clock = {.mono_ns = virtual_mono_ns, .boot_ns = virtual_boot_ns, .wall_ms = virtual_wall_ms},
        .mono_ns_now = mono_ns,
        .wall_ms_now = wall_ms,
    };
}

void weir_clock_virtual_advance(struct weir_clock_virtual *clock, int64_t ns)
{
    weir_assert(ns >= 0);
    int64_t before_ms = clock->mono_ns_now / 1000000;
    clock->mono_ns_now += ns;
    clock->wall_ms_now += clock->mono_ns_now / 1000000 - before_ms;
}

void weir_clock_virtual_suspend(struct weir_clock_virtual *clock, int64_t ns)
{
    weir_assert(ns >= 0);
    clock->suspended_ns += ns;
    clock->wall_ms_now += ns / 1000000;
}
