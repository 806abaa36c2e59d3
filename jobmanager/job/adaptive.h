/*
 * When a job runs with fewer slots than it asks for, and when with more again: `jobmanager.scheduler: adaptive`, as in Flink. Pure.
 *
 *   too few slots, but one ---> the stabilization timeout runs; others that come do not begin it anew, but it ends when there is none any more
 *   it is over ---------------> the job takes what there is; so it does at once when that is no less than what it had before it restarted
 *   it runs below what it asks for, and free slots have been there for the stabilization timeout
 *                           --> it is to grow, unless it began less than the scaling interval ago
 */
#ifndef WEIR_JOBMANAGER_JOB_ADAPTIVE_H
#define WEIR_JOBMANAGER_JOB_ADAPTIVE_H

#include <stdbool.h>
#include <stdint.h>

struct weir_adaptive_settings {
    bool enabled; /* false: a job runs with what it asks for, or waits */
    int64_t wait_ms, stabilization_ms, interval_ms;
    uint32_t increase_min; /* > 0 */
};

struct weir_adaptive {
    int64_t stable_at_ms; /* of slots for a job that waits; INT64_MAX: there is none */
    bool agreed;          /* it takes what there is, since its time is over */
    int64_t spare_since_ms; /* of slots that a job could grow by; INT64_MAX: too few */
    uint32_t spare;
    int64_t began_ms; /* running with the present parallelism */
};

void weir_adaptive_init(struct weir_adaptive *adaptive);

/* Too few slots for a job that waits, which had `had` before (0: it has not run): whether it goes on with what is available, at least one. */
bool weir_adaptive_takes(struct weir_adaptive *adaptive, const struct weir_adaptive_settings *settings, uint32_t available, uint32_t had,
                         int64_t now_ms);
/* Time passes. */
void weir_adaptive_tick(struct weir_adaptive *adaptive, int64_t now_ms);
/* It may not wait any longer: whether there is a slot, so that it takes what there is before the stabilization timeout. */
bool weir_adaptive_hurries(struct weir_adaptive *adaptive);
/* The job has begun, or waits no longer: the next time it waits anew. */
void weir_adaptive_reset(struct weir_adaptive *adaptive);
/* When takes is to be asked again; INT64_MAX: when slots come or go. */
int64_t weir_adaptive_deadline_ms(const struct weir_adaptive *adaptive);

/* spare: the slots that a running job could have besides its own and could use. */
void weir_adaptive_offer(struct weir_adaptive *adaptive, const struct weir_adaptive_settings *settings, uint32_t spare, int64_t now_ms);
/* Whether it is to grow into the spare ones now. */
bool weir_adaptive_grows(const struct weir_adaptive *adaptive, const struct weir_adaptive_settings *settings, int64_t now_ms);

#endif
