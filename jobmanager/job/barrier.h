/*
 * Questions whose answer needs proof that this JobManager led after they were asked: a record that changes nothing (BARRIER) is committed
 * before. One record serves all that waited when it was proposed; those that come while it is under way wait for the next. Pure.
 */
#ifndef WEIR_JOBMANAGER_JOB_BARRIER_H
#define WEIR_JOBMANAGER_JOB_BARRIER_H

#include "jobmanager/job/effect.h"

struct weir_barrier_waiter {
    weir_jm_done_fn *done;
    void *ctx;
};

/* {0}: nobody waits. */
struct weir_barriers {
    struct weir_barrier_waiter *waiting; /* for the next record */
    size_t nwaiting, waiting_cap;
    struct weir_barrier_waiter *asked; /* for the one that is under way */
    size_t nasked, asked_cap;
};

void weir_barriers_add(struct weir_barriers *barriers, weir_jm_done_fn *done, void *ctx);

/* Whether a record is to be proposed now: then it stands for all that wait. */
bool weir_barriers_begin(struct weir_barriers *barriers);

/* The record's end: those it stood for get an ANSWER effect. */
void weir_barriers_end(struct weir_barriers *barriers, struct weir_effects *effects, const struct weir_error *err);

/* Everybody gets the error. */
void weir_barriers_fail(struct weir_barriers *barriers, struct weir_effects *effects, const struct weir_error *err);

void weir_barriers_fini(struct weir_barriers *barriers);

#endif
