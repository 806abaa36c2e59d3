/*
 * Begins and ends the checkpoints of one job. Pure: events and the time they came in, effects out (by the emit callback, during the call).
 *
 *   IDLE -------> BEGINNING   due, and every task of the attempt runs: CKPT_BEGIN proposed
 *   BEGINNING --> PREPARING   CKPT_BEGIN applied: the directory is made
 *   PREPARING --> COLLECTING  the directory is there: triggers go out
 *   COLLECTING -> STORING     every task of the attempt has acknowledged: _metadata is written
 *   STORING ----> COMPLETING  _metadata is durable: CKPT_COMPLETE proposed
 *   COMPLETING -> IDLE        CKPT_COMPLETE applied: the tasks are told
 *   PREPARING|COLLECTING|STORING -> ABORTING   declined, timed out, an order or a write failed, a task ended or failed: CKPT_ABORT proposed
 *   BEGINNING --> ABORTING    the same, once CKPT_BEGIN is applied
 *   ABORTING ---> IDLE        CKPT_ABORT applied: the tasks are told
 *
 * (K1) An id is one more than the last one that the log has begun. One checkpoint is pending at most.
 * (K2) Triggers go out only after CKPT_BEGIN is applied; CKPT_COMPLETE is proposed only when every task has acknowledged in the attempt that
 *      its region was in when it began, and _metadata is durable; the tasks are told only after CKPT_COMPLETE or CKPT_ABORT is applied.
 * (K3) Once CKPT_COMPLETE is proposed only the log decides: no timeout and no failure takes it back.
 * (K4) Every notification can be repeated, and is: when an order fails, and under a new leader.
 * (K5) When every source has come to its end, a checkpoint begins at once, until one is completed that every task took after its end.
 * (K6) The number of the job's newest attempt stands for the attempts of all its regions: an attempt of any of them ends what is pending. A
 *      notification carries the number that its checkpoint began with: regions that have a later one restored a checkpoint, and are not told.
 *      While some regions restart nothing begins, but the others are told, and told again.
 */
#ifndef WEIR_JOBMANAGER_CHECKPOINT_COORDINATOR_H
#define WEIR_JOBMANAGER_CHECKPOINT_COORDINATOR_H

#include "jobmanager/jm_api.h"
#include "proto/ckpt_codec.h"

enum {
    WEIR_CKPT_NOTIFY_REPEAT_MS = 1000,
    WEIR_CKPT_LAST_RETRY_MS = 1000, /* between attempts at the last checkpoint, if the interval is not shorter */
};

struct weir_ckpt_settings {
    int64_t interval_ms; /* > 0 */
    int64_t timeout_ms;  /* 0: none */
    int64_t min_pause_ms;
    int64_t failures_max; /* in a row; one more: FAIL */
    uint32_t retained_max;
};

enum weir_ckpt_effect_kind {
    WEIR_CKPT_PROPOSE_BEGIN,    /* id */
    WEIR_CKPT_PREPARE,          /* id: make its directory; answer: prepared */
    WEIR_CKPT_TRIGGER,          /* id, to every TaskManager of the attempt; a failure: trigger_failed */
    WEIR_CKPT_STORE,            /* id, handles: write _metadata; answer: stored */
    WEIR_CKPT_PROPOSE_COMPLETE, /* id, path, bytes, hash, last, state_bytes, began_ms */
    WEIR_CKPT_PROPOSE_ABORT,    /* id, text */
    WEIR_CKPT_NOTIFY,           /* id, completed, last, to every TaskManager of the attempt; a failure: notify_failed */
    WEIR_CKPT_FAIL,             /* text: too many failed in a row */
};

/* Borrowed during the call. */
struct weir_ckpt_effect {
    enum weir_ckpt_effect_kind kind;
    uint32_t attempt;
    uint64_t id;
    struct weir_now now;
    const struct weir_ckpt_handle *handles;
    uint32_t nhandles;
    const char *path;
    uint64_t bytes, hash, state_bytes;
    int64_t began_ms;
    bool last, completed;
    const char *text;
};

typedef void weir_ckpt_emit_fn(void *ctx, const struct weir_ckpt_effect *effect);

/* What the log says of the job's checkpoints. */
struct weir_ckpt_log {
    uint64_t last_id;            /* the last begun */
    uint64_t pending_id;         /* 0: none */
    uint64_t completed_id;       /* the newest completed; 0: none */
    uint32_t completed_attempt;  /* the job's newest when it began */
    uint32_t oldest_attempt;     /* the least of the regions' present ones */
    bool completed_last;
    const char *completed_path;
    uint64_t completed_state_bytes;
    int64_t completed_began_ms, completed_ms;
};

struct weir_ckpt_coordinator;

/* is_source: by task, copied. */
struct weir_ckpt_coordinator *weir_ckpt_coordinator_create(const struct weir_ckpt_settings *settings, uint32_t ntasks, const bool *is_source,
                                                           weir_ckpt_emit_fn *emit, void *ctx);
void weir_ckpt_coordinator_destroy(struct weir_ckpt_coordinator *coord); /* accepts NULL */

/* --- the attempt ------------------------------------------------------------------------------------------------------ */
/* A new attempt is applied, or a new leader took over the present ones: a pending checkpoint is aborted. Nothing begins before start.
 * begun: by task, those of the regions that begin anew; NULL: all. */
void weir_ckpt_coordinator_attempt(struct weir_ckpt_coordinator *coord, uint32_t attempt, const bool *begun, const struct weir_ckpt_log *log,
                                   struct weir_now now);
/* The attempt that comes next has other tasks: all of them begin anew. Before weir_ckpt_coordinator_attempt. */
void weir_ckpt_coordinator_resize(struct weir_ckpt_coordinator *coord, uint32_t ntasks, const bool *is_source, struct weir_now now);
/* The attempt was begun from the newest completed checkpoint. */
void weir_ckpt_coordinator_restored(struct weir_ckpt_coordinator *coord, struct weir_now now);
/* The job is RUNNING. */
void weir_ckpt_coordinator_start(struct weir_ckpt_coordinator *coord, struct weir_now now);
/* Some of its regions restart; text says why. Nothing begins until start. */
void weir_ckpt_coordinator_pause(struct weir_ckpt_coordinator *coord, const char *text, struct weir_now now);
/* It no longer is; text says why. Nothing begins any more in this attempt. */
void weir_ckpt_coordinator_stop(struct weir_ckpt_coordinator *coord, const char *text, struct weir_now now);

/* --- tasks ------------------------------------------------------------------------------------------------------------ */
/* running: the task's state is RUNNING; ended: its input has come to an end. */
void weir_ckpt_coordinator_task(struct weir_ckpt_coordinator *coord, uint32_t task, bool running, bool ended, struct weir_now now);
/* STALE: not of the checkpoint that is being collected. */
enum weir_rc weir_ckpt_coordinator_ack(struct weir_ckpt_coordinator *coord, uint32_t attempt, uint64_t id, uint32_t task,
                                       const struct weir_ckpt_handle *handle, bool ended, struct weir_now now, struct weir_error *err) WEIR_CHECKED;
void weir_ckpt_coordinator_decline(struct weir_ckpt_coordinator *coord, uint32_t attempt, uint64_t id, const char *text, struct weir_now now);

/* --- answers ---------------------------------------------------------------------------------------------------------- */
void weir_ckpt_coordinator_prepared(struct weir_ckpt_coordinator *coord, uint64_t id, enum weir_rc rc, const char *text, struct weir_now now);
void weir_ckpt_coordinator_trigger_failed(struct weir_ckpt_coordinator *coord, uint32_t attempt, uint64_t id, const char *text, struct weir_now now);
void weir_ckpt_coordinator_stored(struct weir_ckpt_coordinator *coord, uint64_t id, enum weir_rc rc, const char *path, uint64_t bytes, uint64_t hash,
                                  const char *text, struct weir_now now);
void weir_ckpt_coordinator_notify_failed(struct weir_ckpt_coordinator *coord, uint32_t attempt, uint64_t id, struct weir_now now);

/* --- the log: records of the present attempt that counted --------------------------------------------------------------- */
void weir_ckpt_coordinator_begun(struct weir_ckpt_coordinator *coord, uint64_t id, struct weir_now now);
void weir_ckpt_coordinator_completed(struct weir_ckpt_coordinator *coord, uint64_t id, struct weir_now now);
void weir_ckpt_coordinator_aborted(struct weir_ckpt_coordinator *coord, uint64_t id, struct weir_now now);

/* --- time ------------------------------------------------------------------------------------------------------------- */
void weir_ckpt_coordinator_tick(struct weir_ckpt_coordinator *coord, struct weir_now now);
int64_t weir_ckpt_coordinator_deadline_ms(const struct weir_ckpt_coordinator *coord); /* monotonic; INT64_MAX: none */

/* Borrowed until the next event. */
const struct weir_ckpts_view *weir_ckpt_coordinator_view(struct weir_ckpt_coordinator *coord);

#endif
