/*
 * Blocking work, injected: `run` happens off the owner's thread (a pool; in simulations: later, in the same thread), then `done`
 * happens on the owner's thread as a mail. Who submits embeds a struct weir_work in its own object; one submission of it is in
 * flight at a time, and the object lives until `done` was called (a task closes its operators only when nothing is in flight).
 */
#ifndef WEIR_COMMON_RUNTIME_EXECUTOR_H
#define WEIR_COMMON_RUNTIME_EXECUTOR_H

#include "common/base/assert.h"

#include <stdbool.h>

struct weir_work {
    void (*run)(struct weir_work *work);  /* off-thread: may block; touches only what the object lent to it */
    void (*done)(struct weir_work *work); /* on the owner's thread; always called, also when the owner is being canceled */
    bool in_flight;                       /* owner's thread; kept by submit and the executor */
    void *executor_private;
};

struct weir_executor {
    void (*submit)(struct weir_executor *executor, struct weir_work *work);
};

/* Owner's thread. work is not in flight. */
static inline void weir_executor_submit(struct weir_executor *executor, struct weir_work *work)
{
    weir_assert(!work->in_flight);
    work->in_flight = true;
    executor->submit(executor, work);
}

#endif
