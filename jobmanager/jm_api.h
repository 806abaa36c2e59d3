/*
 * What the HTTP API may ask of the JobManager and tell it to do. jm.c implements it, rest/ uses it; rest never includes jm.h.
 *
 * Everything here runs on the JobManager's mailbox thread (the HTTP server posts each request there as a mail), so views may point
 * straight into live state: a view is borrowed until the mail returns. Commands that need a commit answer through a callback,
 * later, on the same thread.
 */
#ifndef WEIR_JOBMANAGER_JM_API_H
#define WEIR_JOBMANAGER_JM_API_H

#include "common/base/config.h"
#include "common/base/log.h"
#include "common/plan/jobgraph.h"

struct weir_jm;

enum { WEIR_JOB_ID_TEXT = 32 };

struct weir_now {
    int64_t mono_ms;
    int64_t wall_ms;
};

/* Flink's JobStatus, in Flink's order. */
enum weir_job_state {
    WEIR_JOB_INITIALIZING,
    WEIR_JOB_CREATED,
    WEIR_JOB_RUNNING,
    WEIR_JOB_FAILING,
    WEIR_JOB_FAILED,
    WEIR_JOB_CANCELLING,
    WEIR_JOB_CANCELED,
    WEIR_JOB_FINISHED,
    WEIR_JOB_RESTARTING,
    WEIR_JOB_SUSPENDED,
    WEIR_JOB_RECONCILING,
    WEIR_JOB_STATE_COUNT_,
};

/* Flink's ExecutionState. */
enum weir_task_state {
    WEIR_TASK_CREATED,
    WEIR_TASK_SCHEDULED,
    WEIR_TASK_DEPLOYING,
    WEIR_TASK_INITIALIZING,
    WEIR_TASK_RUNNING,
    WEIR_TASK_FINISHED,
    WEIR_TASK_CANCELING,
    WEIR_TASK_CANCELED,
    WEIR_TASK_FAILED,
    WEIR_TASK_STATE_COUNT_,
};

const char *weir_job_state_name(enum weir_job_state state);   /* "RUNNING" */
const char *weir_task_state_name(enum weir_task_state state); /* "RUNNING" */
bool weir_job_state_terminal(enum weir_job_state state);      /* FAILED, CANCELED, FINISHED */

struct weir_task_counters {
    uint64_t records_in, records_out, bytes_in, bytes_out;
    uint64_t busy_ms, idle_ms, backpressured_ms;
    int64_t watermark_ms; /* INT64_MIN: none */
    uint64_t late_dropped, errors_skipped, state_bytes;
};

struct weir_task_view {
    uint32_t vertex, subtask, attempt;
    enum weir_task_state state;
    const char *tm_id; /* NULL while unplaced */
    int64_t start_ms, end_ms; /* wall; -1 = not yet */
    struct weir_task_counters counters;
};

enum weir_ckpt_status { WEIR_CKPT_IN_PROGRESS, WEIR_CKPT_COMPLETED, WEIR_CKPT_FAILED };

struct weir_ckpt_view {
    uint64_t id;
    enum weir_ckpt_status status;
    int64_t began_ms;      /* wall */
    int64_t latest_ack_ms; /* wall; -1: none yet */
    int64_t ended_ms;      /* wall; -1: in progress */
    uint64_t state_bytes;  /* of the tasks that have acknowledged */
    uint64_t new_bytes;    /* of it, what no earlier checkpoint has; 0: an earlier leader's, not known */
    uint32_t tasks, acked;
    const char *path;      /* of _metadata; NULL: not completed */
    const char *failure;   /* FAILED only, else NULL */
    bool last;             /* COMPLETED: taken after the end of all input */
};

enum { WEIR_CKPT_HISTORY_MAX = 10 };

/* A job's checkpoints, as far as this JobManager saw them: counts begin anew with a new leader, the latest completed one does not. */
struct weir_ckpts_view {
    uint64_t restored, total, completed, failed;
    const struct weir_ckpt_view *history; /* oldest first; the last may be in progress */
    uint32_t nhistory;
    const struct weir_ckpt_view *latest_completed, *latest_failed, *latest_restored; /* NULL: none */
    int64_t restored_ms; /* wall; of latest_restored */
    uint32_t retained_max;
};

/* One failure in a job's history. */
struct weir_failure_view {
    int64_t at_ms;
    const char *text;
    const char *task_name; /* NULL: of the job as a whole */
    const char *tm_id;     /* may be NULL */
};

struct weir_job_view {
    const char *id; /* 32 hex digits */
    const char *name;
    enum weir_job_state state;
    const char *waiting_for; /* one sentence why nothing runs yet ("2 slots needed, 1 free"), when it restarts or what still drains, or NULL */
    const char *undrained; /* CANCELED: what its sinks have not drained ("sink write (statistics), checkpoint 17"), or NULL */
    int64_t start_ms, end_ms, modified_ms; /* wall; end -1 while not terminal */
    int64_t state_since_ms[WEIR_JOB_STATE_COUNT_]; /* 0 = never entered */
    uint32_t attempt;
    uint32_t restarts;
    const struct weir_jobgraph *graph; /* NULL when only a tombstone is left */
    const struct weir_task_view *tasks; /* vertex order: weir_jobgraph_task_index */
    uint32_t ntasks;
    const struct weir_failure_view *failures; /* oldest first */
    uint32_t nfailures;
    const struct weir_ckpts_view *checkpoints; /* NULL: the job takes none */
};

struct weir_tm_view {
    const char *id;
    const char *rpc_address, *data_address;
    uint32_t slots, slots_free;
    int64_t last_heartbeat_wall_ms;
    uint64_t memory_bytes, memory_used_bytes, physical_memory_bytes;
    uint32_t cpu_cores, pid;
    const char *version;
};

enum weir_jm_role {
    WEIR_JM_ROLE_LEADER,
    WEIR_JM_ROLE_STANDBY,
    WEIR_JM_ROLE_JOINING,     /* it waits to be added, or catches up */
    WEIR_JM_ROLE_UNREACHABLE, /* a member that was not heard lately */
    WEIR_JM_ROLE_REMOVED,
};

/* A JobManager of the cluster. */
struct weir_jm_member_view {
    uint64_t id;
    const char *rpc_address, *rest_address; /* "host:port"; "" while it is not known */
    enum weir_jm_role role;
    int64_t lag;           /* entries of the leader's log that it does not have; -1: not known here */
    int64_t last_heard_ms; /* so long ago; -1: never */
};

enum { WEIR_JM_MEMBERS_VIEW_MAX = 48 };

struct weir_jm_cluster_view {
    uint64_t leader; /* id; 0: none is known */
    uint64_t term;
    struct weir_jm_member_view members[WEIR_JM_MEMBERS_VIEW_MAX];
    uint32_t nmembers;
};

/* The result of a command. err is valid during the call when rc is not WEIR_OK. */
typedef void weir_jm_done_fn(void *ctx, enum weir_rc rc, const struct weir_error *err);

/* Whether this JobManager leads and may act, as far as it knows: only then the views of jobs and TaskManagers say anything. */
bool weir_jm_leads(const struct weir_jm *jm);
/* Proves that this JobManager leads: what its views say, and its commands find, in done is at least as new as anything that anybody had been told
 * when this was called. Another may have been elected while this one stood still or was cut off, and may have gone on; so whoever answers from the
 * views asks this first. The others are asked, by a message each (alone: done is called at once, inside). OK; REFUSED: it does not lead;
 * AGAIN: no majority has answered in time; UNKNOWN: this JobManager is stopping. */
void weir_jm_prove(struct weir_jm *jm, weir_jm_done_fn *done, void *ctx);
/* Where another one that leads serves this API, "host:port", as far as it is known, else NULL. Borrowed until the mail returns. */
const char *weir_jm_leader_rest_address(const struct weir_jm *jm);
/* The JobManagers, as far as this one knows. */
void weir_jm_cluster_view(struct weir_jm *jm, struct weir_jm_cluster_view *out_view);

/* Views. count first, then index; job_find by id or by name (a live job is preferred to an ended one of that name). */
uint32_t weir_jm_job_count(const struct weir_jm *jm);
void weir_jm_job_view(struct weir_jm *jm, uint32_t i, struct weir_job_view *out_view);
bool weir_jm_job_find(struct weir_jm *jm, struct weir_slice id_or_name, struct weir_job_view *out_view);
uint32_t weir_jm_tm_count(const struct weir_jm *jm);
void weir_jm_tm_view(struct weir_jm *jm, uint32_t i, struct weir_tm_view *out_view);

const struct weir_config *weir_jm_config(const struct weir_jm *jm);
const struct weir_clock *weir_jm_clock(const struct weir_jm *jm);
struct weir_log_sink *weir_jm_log_sink(const struct weir_jm *jm);

/* Submits a job under an id chosen by the client (so that a retry cannot start it twice: the same id with the same text is success, with
 * another text EXISTS). text: the job file, file_name for messages, parallelism 0 = not given by -p. done is called once the
 * submission is committed to the cluster log; INVALID: the job file's problems, all of them. */
void weir_jm_submit(struct weir_jm *jm, struct weir_slice job_id, struct weir_slice text, struct weir_slice file_name, uint32_t parallelism,
                    weir_jm_done_fn *done, void *ctx);

/* Cancels; done when the cancellation is committed (not when the tasks are gone). skip_drain: the job does not wait until its sinks have
 * drained what is committed; also of a job that is CANCELLING already. STATE: already terminal. NOT_FOUND. */
void weir_jm_cancel(struct weir_jm *jm, struct weir_slice job_id, bool skip_drain, weir_jm_done_fn *done, void *ctx);

/* Puts the JobManager at new_address, which has started with an empty directory and jobmanager.join, into the place of the one at old_address
 * ("host:port" of their RPC; they may be the same). Repeated after any error it goes on where it was. done when it is committed, which takes as
 * long as the new one needs to catch up. INVALID, NOT_FOUND, STATE (another one is under way), AGAIN (this leader was the old one, and has
 * handed over), TIMEOUT, UNKNOWN, REFUSED: each says what to do. */
void weir_jm_replace(struct weir_jm *jm, struct weir_slice old_address, struct weir_slice new_address, weir_jm_done_fn *done, void *ctx);

/* Asks a TaskManager for its newest log lines that contain `contains`. done gets the text (borrowed). */
typedef void weir_jm_logs_fn(void *ctx, enum weir_rc rc, struct weir_slice text, const struct weir_error *err);
void weir_jm_tm_logs(struct weir_jm *jm, struct weir_slice tm_id, struct weir_slice contains, uint32_t lines_max, weir_jm_logs_fn *done,
                     void *ctx);

/* Sets the log level here and on every TaskManager. */
void weir_jm_set_log_level(struct weir_jm *jm, enum weir_log_level level);

/* Runs fn(ctx, arg) on the mailbox thread; drop(arg) instead when the JobManager is closing. Any thread: the one function here that is. */
bool weir_jm_post(struct weir_jm *jm, void (*fn)(void *ctx, void *arg), void (*drop)(void *arg), void *ctx, void *arg);

#endif
