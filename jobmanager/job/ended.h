/*
 * Jobs that have ended, until they are forgotten: which is next. Pure; the dispatcher's (D4) and (D5), on the leader.
 *
 * A job is forgotten early when too many are listed, but not before this leader has known its end for hold_ms: by the monotonic clock, which nobody
 * sets, and counted anew by each leader.
 */
#ifndef WEIR_JOBMANAGER_JOB_ENDED_H
#define WEIR_JOBMANAGER_JOB_ENDED_H

#include "jobmanager/jm_api.h"

enum { WEIR_ENDED_FORGETTING_MAX = 64 }; /* at once: their records share the log with all others */

struct weir_ended_settings {
    int64_t expiration_ms;
    int64_t hold_ms;
    uint32_t jobs_max; /* of all jobs; beyond nine tenths of it, those that have ended are forgotten early */
};

struct weir_ended;

struct weir_ended *weir_ended_create(const struct weir_ended_settings *settings);
void weir_ended_destroy(struct weir_ended *ended); /* accepts NULL */

/* A leadership begins: nothing is known yet. */
void weir_ended_begin(struct weir_ended *ended, struct weir_now now);
/* ended_ms: wall, by the log. */
void weir_ended_add(struct weir_ended *ended, const char *job_id, int64_t ended_ms, struct weir_now now);
/* It is gone; nothing for one that never ended. */
void weir_ended_remove(struct weir_ended *ended, const char *job_id);

/* A job that is to be forgotten now, counted as one that is until it is removed; NULL: none. jobs: how many there are in all. Borrowed until then. */
const char *weir_ended_forget(struct weir_ended *ended, uint32_t jobs, struct weir_now now);
/* When to ask for it: monotonic; INT64_MAX: not before something changes. */
int64_t weir_ended_deadline_ms(const struct weir_ended *ended, uint32_t jobs, struct weir_now now);

uint32_t weir_ended_count(const struct weir_ended *ended);      /* those that are being forgotten, too */
uint32_t weir_ended_forgetting(const struct weir_ended *ended);
int64_t weir_ended_hold_ms(const struct weir_ended *ended);     /* what is forgotten early has ended so long ago */

#endif
