/*
 * Timers in order of their deadline, on time that the caller passes in; no thread, no clock. One thread.
 */
#ifndef WEIR_COMMON_RUNTIME_TIMER_H
#define WEIR_COMMON_RUNTIME_TIMER_H

#include "common/base/heap.h"
#include "common/base/list.h"

#include <stdint.h>

/* Embedded in whatever waits; {.fire = ..., .ctx = ...} is an idle timer. */
struct weir_timer {
    void (*fire)(void *ctx);
    void *ctx;
    struct {
        struct weir_heap_node node;
        struct weir_list due;
        int64_t deadline_ns;
        uint64_t order;
    } priv;
};

struct weir_timers {
    struct {
        struct weir_heap heap;
        uint64_t next_order;
    } priv;
};

/* fini: no timer may be armed. */
void weir_timers_init(struct weir_timers *timers);
void weir_timers_fini(struct weir_timers *timers);

/* Arms, or moves an armed timer. Equal deadlines fire in order of arming. The timer is borrowed until it is popped, run or
 * cancelled. */
void weir_timers_add(struct weir_timers *timers, struct weir_timer *timer, int64_t deadline_ns);

/* Nothing for an idle timer; also from within a fire. */
void weir_timers_cancel(struct weir_timers *timers, struct weir_timer *timer);

bool weir_timer_armed(const struct weir_timer *timer);

/* INT64_MAX when no timer is armed. */
int64_t weir_timers_next_deadline(const struct weir_timers *timers);

/* The first timer with deadline <= now_ns, now idle; NULL when there is none. */
struct weir_timer *weir_timers_pop_due(struct weir_timers *timers, int64_t now_ns);

/* Fires every timer that is due on entry; one armed meanwhile waits for the next call, so nothing starves the caller's loop.
 * Returns how many fired. */
size_t weir_timers_run_due(struct weir_timers *timers, int64_t now_ns);

#endif
