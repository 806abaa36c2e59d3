/*
 * Time, injected: nobody else reads a clock, so that a simulator can run a whole cluster on virtual time.
 */
#ifndef WEIR_COMMON_BASE_CLOCK_H
#define WEIR_COMMON_BASE_CLOCK_H

#include <stdint.h>

struct weir_clock {
    /* Nanoseconds since an arbitrary start; never jumps (CLOCK_MONOTONIC). The only time that may drive a timeout. */
    int64_t (*mono_ns)(const struct weir_clock *clock);
    /* The same, but it counts the time for which the machine was suspended (CLOCK_BOOTTIME): for promises to others, whose clocks went on. */
    int64_t (*boot_ns)(const struct weir_clock *clock);
    /* Milliseconds since 1970-01-01 UTC; may jump. For people and for processing time. */
    int64_t (*wall_ms)(const struct weir_clock *clock);
};

/* The machine's clocks. A static object; any thread. */
const struct weir_clock *weir_clock_real(void);

/* A clock that moves only when told. Embed or allocate; init sets both readings. The `clock` member is what to pass on.
 * One thread. */
struct weir_clock_virtual {
    struct weir_clock clock; /* first member */
    int64_t mono_ns_now;
    int64_t wall_ms_now;
    int64_t suspended_ns; /* so far; the boot clock is the monotonic one and this */
};

void weir_clock_virtual_init(struct weir_clock_virtual *clock, int64_t mono_ns, int64_t wall_ms);
void weir_clock_virtual_advance(struct weir_clock_virtual *clock, int64_t ns);
void weir_clock_virtual_suspend(struct weir_clock_virtual *clock, int64_t ns); /* the machine sleeps for so long */

static inline int64_t weir_clock_mono_ns(const struct weir_clock *clock)
{
    return clock->mono_ns(clock);
}

static inline int64_t weir_clock_mono_ms(const struct weir_clock *clock)
{
    return clock->mono_ns(clock) / 1000000;
}

static inline int64_t weir_clock_boot_ns(const struct weir_clock *clock)
{
    return clock->boot_ns(clock);
}

static inline int64_t weir_clock_wall_ms(const struct weir_clock *clock)
{
    return clock->wall_ms(clock);
}

#endif
