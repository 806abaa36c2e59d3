/*
 * What the JobManager's pure parts want done: a queue of effects that the shell (jm.c), or a test, carries out after each event.
 */
#ifndef WEIR_JOBMANAGER_JOB_EFFECT_H
#define WEIR_JOBMANAGER_JOB_EFFECT_H

#include "common/base/buf.h"
#include "jobmanager/jm_api.h"

#define WEIR_REGION_ALL UINT32_MAX

enum weir_effect_kind {
    WEIR_EFFECT_PROPOSE,   /* bytes, under `proposal`, to the cluster log */
    WEIR_EFFECT_ENUMERATE, /* source `vertex` of the job on the TaskManager; answer: weir_dispatcher_enumerated */
    WEIR_EFFECT_DEPLOY,    /* the job's tasks of `attempt` that lie on the TaskManager (weir_job_deploys); answer: weir_dispatcher_deployed */
    WEIR_EFFECT_CANCEL,    /* this attempt of the job's region and earlier ones on the TaskManager; no answer is looked at */
    WEIR_EFFECT_TRIGGER,   /* checkpoint_id to the TaskManager; answer: weir_dispatcher_ckpt_told */
    WEIR_EFFECT_NOTIFY,    /* checkpoint_id's end (completed, last) to the TaskManager; answer: weir_dispatcher_ckpt_told */
    WEIR_EFFECT_CKPT_PREPARE, /* make the checkpoint's directory; answer: weir_dispatcher_ckpt_prepared */
    WEIR_EFFECT_CKPT_STORE,   /* write `_metadata` from bytes, an encoded manifest; answer: weir_dispatcher_ckpt_stored */
    WEIR_EFFECT_CKPT_LOAD,    /* read `_metadata` at path, of length and hash; answer: weir_dispatcher_ckpt_loaded */
    WEIR_EFFECT_CKPT_SWEEP,   /* remove the job's checkpoints below `below` that are not in bytes, u64 each; answer, of UINT64_MAX: weir_dispatcher_swept */
    WEIR_EFFECT_TM_LOST,   /* the TaskManager is no longer registered: drop its connection */
    WEIR_EFFECT_ANSWER,    /* done(ctx, err.rc or OK, &err) */
};

struct weir_effect {
    enum weir_effect_kind kind;
    uint64_t epoch; /* of the leadership that wants it: orders, work on checkpoints and proposals are not carried out in another */
    uint64_t proposal;
    struct weir_buf bytes;
    char *tm_id;
    char job_id[WEIR_JOB_ID_TEXT + 1];
    uint32_t attempt;
    uint32_t vertex;
    uint32_t region; /* CANCEL: a number, or WEIR_REGION_ALL */
    uint64_t checkpoint_id;
    bool completed, last;
    char *path; /* owned */
    uint64_t length, hash, below;
    weir_jm_done_fn *done;
    void *ctx;
    struct weir_error err; /* rc WEIR_OK: success */
};

struct weir_effects {
    struct weir_effect **items;
    size_t first, len, cap; /* items[first .. first + len) */
    uint64_t epoch;         /* that effects are added with */
};

/* A zeroed effect (but for its kind and the queue's epoch) at the end of the queue, to be filled. {0} is an empty queue. */
struct weir_effect *weir_effects_add(struct weir_effects *effects, enum weir_effect_kind kind);

/* One about a job on a TaskManager (tm_id is copied). */
struct weir_effect *weir_effects_add_order(struct weir_effects *effects, enum weir_effect_kind kind, const char *tm_id, const char *job_id,
                                           uint32_t attempt);

/* The oldest, now the caller's (weir_effect_destroy); NULL when there is none. */
struct weir_effect *weir_effects_take(struct weir_effects *effects);
void weir_effect_destroy(struct weir_effect *effect); /* accepts NULL */
void weir_effects_fini(struct weir_effects *effects);

#endif
