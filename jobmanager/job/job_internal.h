/*
 * What the files of a job share: job.c (its life, tasks and time), job_states.c (how its state changes), job_slots.c (where its tasks go),
 * job_rescale.c (how many there are).
 */
#ifndef WEIR_JOBMANAGER_JOB_JOB_INTERNAL_H
#define WEIR_JOBMANAGER_JOB_JOB_INTERNAL_H

#include "jobmanager/job/adaptive.h"
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
    char *lister; /* the TaskManager that was asked last; NULL: none yet */
    char *error;  /* of the newest try that failed, or NULL */
    struct weir_ha_split *splits; /* in the job's splits arena */
    uint32_t nsplits;
};

/* Where a slot of the job was last. */
struct home {
    char *tm_id, *host; /* NULL: not known */
};

struct weir_job {
    const struct weir_job_env *env;
    struct weir_log *log;
    char *id;
    char *name;
    struct weir_jobgraph *graph;
    struct weir_execgraph *exec;
    enum weir_job_state state;
    uint32_t attempt; /* the newest applied, of all regions or some */
    char *waiting;
    char delay_text[80]; /* of the newest view: when it restarts */
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
    bool *proposed; /* by region: begun anew by the proposed attempt */
    bool *redo;     /* by region: that is to end again, once it is applied */
    char **placed;  /* the slots that the proposed attempt takes */
    uint32_t nplaced;
    const char **held; /* scratch of weir_job_held_slots */
    bool end_proposed;
    bool *ending;      /* by region: its tasks are told to end, or have ended, until it begins anew */
    bool ending_tasks; /* all regions are; also without any, when the graph is unreadable */
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
    bool newest_ckpt_last;
    uint32_t newest_parallelism_max, newest_run;
    bool loading;               /* what some regions start from is being read: nothing of them is deployed */
    uint32_t load_attempt;      /* that asked for it */
    bool *unloaded;             /* by region */
    uint64_t *restored_ids;     /* by region: the checkpoint that its attempt starts from, if this leader began it; 0: from the beginning */
    struct weir_arena *restore_arena;
    struct weir_ckpt_manifest restore; /* the newest that was read; checkpoint_id 0: none */
    uint32_t parallelism_max, run; /* of the newest attempt */
    uint32_t ran_slots;            /* that it had when it last ran; 0: it has not, as far as is known */
    uint64_t drained_ckpt_id;      /* a drain between two runs has drained what that owes, as far as this leader knows */
    struct weir_adaptive adaptive;
    bool growing;        /* its tasks end so that it begins with more of them */
    char *limited;       /* for people, while it runs with fewer than it asks for, or NULL */
    struct home *homes;  /* by slot, as many as it asks for */
    uint32_t deploy_tries;
    int64_t slots_deadline_ms;   /* of waiting for slots; INT64_MAX: not waiting */
    int64_t restart_at_ms; /* of the failure under way; INT64_MAX: none */
    int64_t reconcile_deadline_ms; /* until when TaskManagers of an earlier leader may come */
    int64_t cancel_repeat_ms;
    int64_t cancel_deadline_ms;
};

/* --- job_states.c ----------------------------------------------------------------------------------------------------- */
enum weir_job_state weir__job_state_of_end(enum weir_meta_state state); /* of a terminal one */
void weir__job_move(struct weir_job *job, enum weir_job_state to, struct weir_now now);
/* Forgets the slots of a proposed attempt; of a wait for slots, the deadlines and what people are told. */
void weir__job_clear_placed(struct weir_job *job);
void weir__job_stop_waiting(struct weir_job *job);
void weir__job_propose_state(struct weir_job *job, enum weir_meta_state state, const char *text);

/* task: index or UINT32_MAX; also of the next. */
void weir__job_record_failure(struct weir_job *job, const char *text, uint32_t task, const char *tm_id, struct weir_now now);
/* Fails these regions (NULL: all), or the present attempt that drains. The first cause of each counts. */
void weir__job_fail(struct weir_job *job, const bool *regions, const char *text, bool retryable, uint32_t task, const char *tm_id,
                    struct weir_now now);
/* That the job has failed for good is to be in the log before it drains. */
void weir__job_record_failing(struct weir_job *job);
/* What was to restart cannot: the same regions fail again. */
void weir__job_fail_again(struct weir_job *job, const char *text, struct weir_now now);
/* The job's last checkpoint is complete, which only an attempt of all regions can start from: what restarts takes the others along. */
void weir__job_take_all_along(struct weir_job *job, struct weir_now now);

/* Tells TaskManagers (only: that one; NULL: each) that have tasks of ending regions to end them. all: also where they are over, so that they
 * are forgotten. */
void weir__job_send_cancels(struct weir_job *job, const char *only, bool all);
/* The same of all tasks, whatever region: the job is over, or ends. */
void weir__job_cancel_all(struct weir_job *job, const char *only, bool all);
/* The tasks of these regions (NULL: all) are to end. */
void weir__job_end_tasks(struct weir_job *job, const bool *regions, struct weir_now now);
/* What follows once the last task of what ends is gone; nothing before. */
void weir__job_check_gone(struct weir_job *job, struct weir_now now);

/* Whether one of them is true. */
bool weir__job_any(const struct weir_job *job, const bool *regions);

/* Whether the present attempt only drains, and is to go on. */
bool weir__job_draining(const struct weir_job *job);
/* Why it takes so long, for people; error: NULL, or what a try has met. */
void weir__job_tell_draining(struct weir_job *job, const char *error);
/* What a CANCELED job has not drained. */
void weir__job_keep_undrained(struct weir_job *job, const struct weir_meta_job *meta);

/* --- job_slots.c ------------------------------------------------------------------------------------------------------ */
/* Whether an attempt begins every region now, or those that are to restart. */
bool weir__job_begins_all(const struct weir_job *job);

/* --- job_rescale.c ---------------------------------------------------------------------------------------------------- */
/* What is derived from the graph's present parallelism. */
void weir__job_make_exec(struct weir_job *job);
void weir__job_free_exec(struct weir_job *job);
/* meta's attempt of all regions is applied: everything is made anew if its parallelism is another. */
void weir__job_take_parallelism(struct weir_job *job, const struct weir_meta_job *meta, struct weir_now now);
/* Of an attempt of all regions on so many slots that does not drain. */
void weir__job_choose_parallelism(const struct weir_job *job, uint32_t slots, uint32_t *out_max, uint32_t *out_run);
/* Whether the newest attempt drains between two runs (J9). */
bool weir__job_drains_between(const struct weir_job *job);
/* A checkpoint is complete, and not the last: the job begins anew with more tasks if it can and may. */
void weir__job_grow(struct weir_job *job, struct weir_now now);
void weir__job_note_homes(struct weir_job *job);
void weir__job_free_homes(struct weir_job *job);

#endif
