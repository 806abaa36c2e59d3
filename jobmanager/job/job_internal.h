/*
 * What the files of a job share: job.c (its life, tasks and time), job_states.c (how its state changes).
 */
#ifndef WEIR_JOBMANAGER_JOB_JOB_INTERNAL_H
#define WEIR_JOBMANAGER_JOB_JOB_INTERNAL_H

#include "jobmanager/job/job.h"
#include "jobmanager/job/job_ckpt.h"
#include "jobmanager/job/restart_strategy.h"

struct failure {
    int64_t at_ms;
    char *text;
    char *task_name;
    char *tm_id;
};

/* A source vertex before the first attempt. */
struct source {
    bool is_source;
    bool done;
    bool in_flight;
    uint32_t tries;
    int64_t retry_at_ms;
    struct weir_ha_split *splits; /* in the job's splits arena */
    uint32_t nsplits;
};

struct weir_job {
    const struct weir_job_env *env;
    struct weir_log *log;
    char *id;
    char *name;
    struct weir_jobgraph *graph;
    struct weir_execgraph *exec;
    enum weir_job_state state;
    uint32_t attempt; /* the newest applied */
    char *waiting;
    int64_t start_ms, end_ms, modified_ms;
    int64_t since_ms[WEIR_JOB_STATE_COUNT_];
    struct failure failures[WEIR_JOB_FAILURES_MAX];
    uint32_t nfailures;
    struct weir_failure_view failure_views[WEIR_JOB_FAILURES_MAX];
    struct weir_restart_strategy *restart; /* NULL: the graph is unreadable */
    char *cause;                           /* of the failure under way */
    bool cause_restarts;                   /* it may pass, and the restart strategy allows it */
    struct source *sources; /* by vertex */
    struct weir_arena *splits_arena;
    bool splits_committed; /* (J3) */
    bool attempt_proposed;
    char **placed; /* of the proposed attempt */
    uint32_t nplaced;
    bool end_proposed;
    bool ending_tasks; /* those of the present attempt are told to end */
    bool *drains;      /* by vertex: holds a sink that drains; NULL: there is none */
    uint32_t drain_of; /* the present attempt only drains, after that one; 0: an ordinary attempt */
    bool drain_skipped;
    bool failing_recorded; /* JOB_STATE(FAILING) is applied */
    bool drain_due;        /* PLACING */
    bool drain_hopeless;
    char *undrained;         /* CANCELED: what the sinks have not drained, or NULL */
    char *drain_error;       /* of the last drain attempt */
    int64_t drain_at_ms;     /* PAUSING until then; INT64_MAX */
    int64_t drain_pause_ms;
    struct weir_job_ckpt *ckpt; /* NULL: it takes no checkpoints */
    uint64_t newest_ckpt_id;    /* completed */
    bool loading;               /* the attempt is applied, but its checkpoint not read: nothing is deployed */
    struct weir_arena *restore_arena;
    struct weir_ckpt_manifest restore; /* of the present attempt; checkpoint_id 0: from the beginning */
    uint32_t deploy_tries;
    int64_t slots_deadline_ms;   /* of waiting for slots; INT64_MAX: not waiting */
    int64_t restart_at_ms; /* of the failure under way; INT64_MAX: none */
    int64_t reconcile_deadline_ms; /* until when TaskManagers of an earlier leader may come */
    int64_t cancel_repeat_ms;
    int64_t cancel_deadline_ms;
};

/* --- job_states.c ----------------------------------------------------------------------------------------------------- */
void weir__job_move(struct weir_job *job, enum weir_job_state to, struct weir_now now);
/* Forgets the slots of a proposed attempt; of a wait for slots, the deadlines and what people are told. */
void weir__job_clear_placed(struct weir_job *job);
void weir__job_stop_waiting(struct weir_job *job);
void weir__job_propose_state(struct weir_job *job, enum weir_meta_state state, const char *text);

/* task: index or UINT32_MAX; also of the next. */
void weir__job_record_failure(struct weir_job *job, const char *text, uint32_t task, const char *tm_id, struct weir_now now);
/* Fails the job, or the present attempt that drains. The first cause counts. */
void weir__job_fail(struct weir_job *job, const char *text, bool retryable, uint32_t task, const char *tm_id, struct weir_now now);

/* Tells every TaskManager that still has tasks to end them. all: also those whose tasks are over, so that they forget the attempt. */
void weir__job_send_cancels(struct weir_job *job, bool all);
/* The tasks of the present attempt are to end. */
void weir__job_end_tasks(struct weir_job *job, struct weir_now now);
/* What follows once the last task of the attempt is gone; nothing before. */
void weir__job_check_gone(struct weir_job *job, struct weir_now now);

/* Whether the present attempt only drains, and is to go on. */
bool weir__job_draining(const struct weir_job *job);
/* Why it takes so long, for people; error: NULL, or what a try has met. */
void weir__job_tell_draining(struct weir_job *job, const char *error);
/* What a CANCELED job has not drained. */
void weir__job_keep_undrained(struct weir_job *job, const struct weir_meta_job *meta);

#endif
