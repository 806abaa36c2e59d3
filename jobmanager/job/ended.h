/*
 * Jobs that have ended, until they are forgotten: which is next, and whose files are to be swept. Pure; the dispatcher's (D4) and (D5), on the leader.
 *
 * A job is forgotten early when too many are listed, but not before this leader has known its end for hold_ms: by the monotonic clock, which nobody
 * sets, and counted anew by each leader.
 *
 * What a job left on the disk is swept when its end is known to a leader, when a task outlived it, and before it is forgotten: none is forgotten
 * before that last sweep was tried. They wait for each other here, so that no thread pool has more than WEIR_ENDED_SWEEPS_MAX of them.
 */
#ifndef WEIR_JOBMANAGER_JOB_ENDED_H
#define WEIR_JOBMANAGER_JOB_ENDED_H

#include "jobmanager/jm_api.h"

enum {
    WEIR_ENDED_FORGETTING_MAX = 64, /* at once: their records share the log with all others */
    WEIR_ENDED_SWEEPS_MAX = 1,      /* at once: what writes the cluster log has another thread, however slow the checkpoints' disk is */
};

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
/* It is to be swept. ended_ms: wall, by the log. */
void weir_ended_add(struct weir_ended *ended, const char *job_id, int64_t ended_ms, struct weir_now now);
/* It is gone; nothing for one that never ended. */
void weir_ended_remove(struct weir_ended *ended, const char *job_id);

/* Whether a job is to be forgotten now: it is swept, and counted as one that is being forgotten until it is removed. jobs: how many there are in all. */
bool weir_ended_forget(struct weir_ended *ended, uint32_t jobs, struct weir_now now);
/* When to ask for it: monotonic; INT64_MAX: not before something changes. */
int64_t weir_ended_deadline_ms(const struct weir_ended *ended, uint32_t jobs, struct weir_now now);

/* It left something behind its last sweep; nothing for one that has not ended. */
void weir_ended_leave(struct weir_ended *ended, struct weir_slice job_id);
/* A job that is to be swept now; NULL: none, or as many as may be are. Borrowed until it is removed. */
const char *weir_ended_sweep(struct weir_ended *ended);
/* That sweep is over, well or not. Whether the job's record is to be dropped now. */
bool weir_ended_swept(struct weir_ended *ended, struct weir_slice job_id);

uint32_t weir_ended_count(const struct weir_ended *ended);      /* those that are being forgotten, too */
uint32_t weir_ended_forgetting(const struct weir_ended *ended);
int64_t weir_ended_hold_ms(const struct weir_ended *ended);     /* what is forgotten early has ended so long ago */

#endif
