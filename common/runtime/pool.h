/*
 * Threads for work that blocks (disk, DNS, fsync), so that mailbox threads never do: a job runs here, then its completion
 * arrives in the submitter's mailbox as a control mail.
 */
#ifndef WEIR_COMMON_RUNTIME_POOL_H
#define WEIR_COMMON_RUNTIME_POOL_H

#include "common/runtime/mailbox.h"

struct weir_pool;

struct weir_pool_job {
    void (*run)(void *ctx);  /* on a pool thread; may block */
    void (*done)(void *ctx); /* then on the mailbox's owner thread; consumes ctx */
    void (*drop)(void *ctx); /* instead of done when the pool stops before run or the mailbox is closed; on any thread. NULL:
                              * nothing to free */
    void *ctx;
};

struct weir_pool_options {
    const char *name;      /* of the threads */
    uint32_t threads;      /* at least 1 */
    uint32_t jobs_max;     /* waiting, not counting those that run */
};

/* RESOURCE. */
enum weir_rc weir_pool_create(const struct weir_pool_options *options, struct weir_pool **out_pool, struct weir_error *err)
    WEIR_CHECKED;

/* Any thread; never blocks. The completion's room in the mailbox is reserved here, so it cannot be lost; the mailbox must live
 * until done or drop. AGAIN: queue or mailbox full. CLOSED: pool stopped or mailbox not open. On error ctx stays the
 * caller's and neither done nor drop is called. */
enum weir_rc weir_pool_submit(struct weir_pool *pool, struct weir_pool_job job, struct weir_mailbox *mailbox) WEIR_CHECKED;

/* Refuses further jobs; those not yet begun are dropped by the pool's threads. Does not wait; idempotent; any thread. */
void weir_pool_stop(struct weir_pool *pool);

/* Stops, waits for the jobs that run, frees. Accepts NULL. */
void weir_pool_destroy(struct weir_pool *pool);

#endif
