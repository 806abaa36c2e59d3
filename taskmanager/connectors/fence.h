/*
 * Until when an attempt may act outside without a word from a leading JobManager (DESIGN 8, cluster.fencing.timeout): a moment on the boot clock,
 * moved by the TaskManager's thread, looked at by the attempt's threads before each call that acts outside. tm_fence.h says by what it is moved.
 *
 * No timer closes it: it is closed whenever the clock is there, also for a thread that has just been woken after the process, or the whole machine,
 * had stood still. Reference counted: a drain thread may outlive its task.
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_FENCE_H
#define WEIR_TASKMANAGER_CONNECTORS_FENCE_H

#include "common/base/clock.h"

#include <stdbool.h>

struct weir_fence;

#define WEIR_FENCE_NEVER INT64_MAX

/* One reference, the caller's. clock: for ever. */
struct weir_fence *weir_fence_create(const struct weir_clock *clock, int64_t until_boot_ns);
struct weir_fence *weir_fence_ref(struct weir_fence *fence); /* these two accept NULL, which is never closed */
void weir_fence_unref(struct weir_fence *fence);

/* One thread. Who sleeps because it was closed is to be woken afterwards. */
void weir_fence_set(struct weir_fence *fence, int64_t until_boot_ns);

/* Any thread; no lock, one look at the clock. NULL: never. */
bool weir_fence_closed(const struct weir_fence *fence);

#endif
