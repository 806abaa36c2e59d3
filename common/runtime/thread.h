/*
 * Named threads, and the stamp by which an object knows its owner thread.
 */
#ifndef WEIR_COMMON_RUNTIME_THREAD_H
#define WEIR_COMMON_RUNTIME_THREAD_H

#include "common/base/assert.h"
#include "common/base/error.h"

#include <stdint.h>

enum { WEIR_THREAD_NAME_MAX = 15 };

struct weir_thread;

/* Starts run(ctx) on a new thread, seen by top and gdb under the first WEIR_THREAD_NAME_MAX bytes of name. All signals are
 * blocked in it: they are the main thread's. Any thread. RESOURCE when the machine has no more threads. */
enum weir_rc weir_thread_start(const char *name, void (*run)(void *ctx), void *ctx, struct weir_thread **out_thread,
                               struct weir_error *err) WEIR_CHECKED;

/* Waits for the thread's end and frees it. Blocks. Accepts NULL. */
void weir_thread_join(struct weir_thread *thread);

/* Instead of join: the thread runs on by itself and is freed when it ends. What it uses must be its own. Accepts NULL. */
void weir_thread_detach(struct weir_thread *thread);

/* Detached threads that still run: while there are any, a process that ends must not free what they may use. */
uint32_t weir_thread_detached(void);

/* A number for the calling thread, unlike that of any other thread alive. Never 0. */
uint64_t weir_thread_self(void);

/* The owner of an object: {0} until a thread takes it. Mutators call weir_owner_assert. */
struct weir_owner {
    uint64_t thread;
};

static inline void weir_owner_take(struct weir_owner *owner)
{
    owner->thread = weir_thread_self();
}

static inline void weir_owner_assert(const struct weir_owner *owner)
{
    weir_assert(owner->thread == weir_thread_self());
}

#endif
