/*
 * The JobManager's brain: TaskManagers, jobs and the replicated state put together. Pure: events and the time they came in, effects out
 * (weir_dispatcher_effects). The shell posts what the network, the log and the clock say, and carries the effects out.
 *
 * (D1) Before its own LEADER record is applied a leader does nothing: TaskManagers and clients are refused.
 * (D2) A proposal that was REJECTED, or whose outcome is UNKNOWN, is made again while the leadership lasts; records are conditional, so
 *      twice is once. A client's REJECTED proposal is told to the client.
 * (D3) An order goes out only because of an applied record of the own epoch, or to end what no such record allows (a stale task).
 * (D4) What has ended is forgotten after expiration_ms, as the leader's wall clock tells, but that clock does not run faster than the monotonic
 *      one (it was set), and nothing before this leader has known its end for WEIR_DISPATCHER_HOLD_MS (it may have been set before): a
 *      client that repeats a submission, 30 s at most, finds the job and not a free id.
 * (D5) At most jobs_max jobs have not ended, and so many are listed in all: from nine tenths of that on, the one that ended first is forgotten, but
 *      not before this leader has known its end for WEIR_DISPATCHER_HOLD_MS, or expiration_ms if that is less. What exceeds is refused.
 */
#ifndef WEIR_JOBMANAGER_JOB_DISPATCHER_H
#define WEIR_JOBMANAGER_JOB_DISPATCHER_H

#include "jobmanager/cluster/tm_registry.h"
#include "jobmanager/ha/cluster_log.h"
#include "jobmanager/job/job.h"

enum { WEIR_DISPATCHER_RETRY_MS = 100, WEIR_DISPATCHER_HOLD_MS = 60000, WEIR_DISPATCHER_JOBS_MAX = 10000 };

struct weir_dispatcher_options {
    const char *node; /* for people, in the LEADER record */
    int64_t heartbeat_timeout_ms;
    int64_t slot_timeout_ms;
    int64_t expiration_ms; /* of terminal jobs */
    uint32_t jobs_max;     /* (D5): WEIR_DISPATCHER_JOBS_MAX, but in tests */
    uint32_t retained_max; /* completed checkpoints of a job */
    struct weir_adaptive_settings adaptive;
    struct weir_log_sink *log_sink; /* NULL: no log */
    /* weir_plan_decode, but in tests. */
    enum weir_rc (*decode)(struct weir_slice bytes, struct weir_jobgraph **out_graph, struct weir_error *err);
};

struct weir_dispatcher;

struct weir_dispatcher *weir_dispatcher_create(const struct weir_dispatcher_options *options);
void weir_dispatcher_destroy(struct weir_dispatcher *dispatcher); /* accepts NULL; answers that are owed are not given */

struct weir_effects *weir_dispatcher_effects(struct weir_dispatcher *dispatcher);

/* --- the cluster log ------------------------------------------------------------------------------------------------- */
enum weir_rc weir_dispatcher_apply(struct weir_dispatcher *dispatcher, struct weir_slice entry, struct weir_now now,
                                   struct weir_error *err) WEIR_CHECKED;
void weir_dispatcher_outcome(struct weir_dispatcher *dispatcher, uint64_t proposal, enum weir_proposal_outcome outcome,
                             const struct weir_error *err, struct weir_now now);
void weir_dispatcher_leadership(struct weir_dispatcher *dispatcher, bool leader, uint64_t epoch, struct weir_now now);
void weir_dispatcher_snapshot(const struct weir_dispatcher *dispatcher, struct weir_buf *out);
enum weir_rc weir_dispatcher_restore(struct weir_dispatcher *dispatcher, struct weir_slice snapshot, struct weir_error *err) WEIR_CHECKED;

/* --- TaskManagers ---------------------------------------------------------------------------------------------------- */
/* REFUSED (D1) and weir_tm_registry_register's. out_new: a new incarnation. */
enum weir_rc weir_dispatcher_register(struct weir_dispatcher *dispatcher, const struct weir_tm_info *info, const struct weir_task_report *reports,
                                      uint32_t nreports, struct weir_now now, bool *out_new, struct weir_error *err) WEIR_CHECKED;
/* NOT_FOUND: it must register; STALE: of another epoch, it must register. */
enum weir_rc weir_dispatcher_heartbeat(struct weir_dispatcher *dispatcher, const char *tm_id, uint64_t epoch, uint64_t memory_used_bytes,
                                       const struct weir_task_report *reports, uint32_t nreports, struct weir_now now,
                                       struct weir_error *err) WEIR_CHECKED;
/* STALE: the task is not of the present attempt, and is told to end. */
enum weir_rc weir_dispatcher_task_state(struct weir_dispatcher *dispatcher, const char *tm_id, uint64_t epoch,
                                        const struct weir_task_report *report, struct weir_now now, struct weir_error *err) WEIR_CHECKED;
/* Whether an attempt of a region, of which that TaskManager runs a part, is the region's newest and the job is not over. A drain-only attempt of a job that
 * is being cancelled counts as any other. *out_present false: err says why. Changes nothing. REFUSED (D1), NOT_FOUND, STALE: as heartbeat; they
 * say nothing of the attempt. */
enum weir_rc weir_dispatcher_attempt_is_present(const struct weir_dispatcher *dispatcher, const char *tm_id, uint64_t epoch, struct weir_slice job_id,
                                                uint32_t region, uint32_t attempt, bool *out_present, struct weir_error *err) WEIR_CHECKED;
void weir_dispatcher_tm_closed(struct weir_dispatcher *dispatcher, const char *tm_id, struct weir_now now);

/* Answers to effects. */
void weir_dispatcher_enumerated(struct weir_dispatcher *dispatcher, struct weir_slice job_id, uint32_t vertex, enum weir_rc rc,
                                const struct weir_ha_split *splits, uint32_t nsplits, const char *text, struct weir_now now);
void weir_dispatcher_deployed(struct weir_dispatcher *dispatcher, struct weir_slice job_id, uint32_t attempt, const char *tm_id,
                              enum weir_rc rc, const char *text, struct weir_now now);

/* --- checkpoints ------------------------------------------------------------------------------------------------------ */
/* What a task acknowledges or declines. */
struct weir_ckpt_report {
    struct weir_slice job_id;
    uint32_t attempt;
    uint64_t checkpoint_id;
    struct weir_ckpt_handle handle; /* with vertex and subtask */
    bool ended;
    const char *declined; /* why; NULL: acknowledged */
};

/* STALE: not of the checkpoint that is being taken; INVALID. */
enum weir_rc weir_dispatcher_ckpt_report(struct weir_dispatcher *dispatcher, const char *tm_id, uint64_t epoch,
                                         const struct weir_ckpt_report *report, struct weir_now now, struct weir_error *err) WEIR_CHECKED;

/* Answers to effects. triggered: TRIGGER, else NOTIFY. */
void weir_dispatcher_ckpt_told(struct weir_dispatcher *dispatcher, struct weir_slice job_id, uint32_t attempt, uint64_t checkpoint_id,
                               bool triggered, enum weir_rc rc, const char *text, struct weir_now now);
void weir_dispatcher_ckpt_prepared(struct weir_dispatcher *dispatcher, struct weir_slice job_id, uint64_t checkpoint_id, enum weir_rc rc,
                                   const char *text, struct weir_now now);
void weir_dispatcher_ckpt_stored(struct weir_dispatcher *dispatcher, struct weir_slice job_id, uint64_t checkpoint_id, enum weir_rc rc,
                                 const char *path, uint64_t bytes, uint64_t hash, const char *text, struct weir_now now);
/* manifest: NULL unless OK. */
void weir_dispatcher_ckpt_loaded(struct weir_dispatcher *dispatcher, struct weir_slice job_id, uint32_t attempt, enum weir_rc rc,
                                 const struct weir_ckpt_manifest *manifest, const char *text, struct weir_now now);
/* Of a job that has ended (`below` is UINT64_MAX): done, or not to be done now. */
void weir_dispatcher_swept(struct weir_dispatcher *dispatcher, struct weir_slice job_id, struct weir_now now);

/* --- clients; done is called as an ANSWER effect --------------------------------------------------------------------- */
void weir_dispatcher_submit(struct weir_dispatcher *dispatcher, struct weir_slice job_id, const char *name, const uint64_t text_hash[2],
                            struct weir_slice graph, struct weir_now now, weir_jm_done_fn *done, void *ctx);
void weir_dispatcher_cancel(struct weir_dispatcher *dispatcher, struct weir_slice job_id, bool skip_drain, struct weir_now now,
                            weir_jm_done_fn *done, void *ctx);

/* A JobManager that says who it is, or (removed) is no member any more: proposed if it is news, and nothing contradicts (M8). */
void weir_dispatcher_jobmanager(struct weir_dispatcher *dispatcher, const struct weir_meta_member *member, struct weir_now now);

/* --- time ------------------------------------------------------------------------------------------------------------ */
/* This process has not run for away_ms until now (weir_tm_registry's T4): before a tick. */
void weir_dispatcher_was_away(struct weir_dispatcher *dispatcher, int64_t away_ms, struct weir_now now);
void weir_dispatcher_tick(struct weir_dispatcher *dispatcher, struct weir_now now);
/* Monotonic; INT64_MAX: nothing is waited for. */
int64_t weir_dispatcher_deadline_ms(const struct weir_dispatcher *dispatcher, struct weir_now now);

/* --- views ----------------------------------------------------------------------------------------------------------- */
bool weir_dispatcher_leading(const struct weir_dispatcher *dispatcher);
uint64_t weir_dispatcher_epoch(const struct weir_dispatcher *dispatcher);
const struct weir_meta *weir_dispatcher_meta(const struct weir_dispatcher *dispatcher);
struct weir_tm_registry *weir_dispatcher_tms(struct weir_dispatcher *dispatcher);
/* In order of submission; none unless it leads. A job that had ended before this leadership is made of the log's records when it is asked for, which
 * takes a tenth of a millisecond; view does not do that, and says no more than the log then: neither graph nor tasks. */
uint32_t weir_dispatcher_job_count(const struct weir_dispatcher *dispatcher);
struct weir_job *weir_dispatcher_job_at(struct weir_dispatcher *dispatcher, uint32_t i);
struct weir_job *weir_dispatcher_job(struct weir_dispatcher *dispatcher, struct weir_slice id); /* NULL: there is none */
void weir_dispatcher_job_view(const struct weir_dispatcher *dispatcher, uint32_t i, struct weir_now now, struct weir_job_view *out_view);

#endif
