/*
 * One job's life on the leader. Pure: events and the time they came in, effects out.
 *
 *   start ---------------> CREATED        attempt 0: enumerate each source, wait for slots, propose ATTEMPT(1)
 *   start ---------------> RECONCILING    attempt A > 0 after a new leader: TaskManagers report what they run
 *   start ---------------> CANCELLING     cancelled before the new leader came
 *   start ---------------> FAILING        it was to drain when the new leader came
 *   CREATED -------------> RUNNING        weir_job_attempted: ATTEMPT is applied; only now tasks are deployed
 *   RECONCILING ---------> RUNNING        every task of attempt A was reported: adopted, nothing restarts
 *   RUNNING -------------> FINISHED       all tasks FINISHED; JOB_STATE applied
 *   CREATED|RUNNING|RECONCILING|RESTARTING -> FAILING   a task failed or was lost, no slots in time, no splits
 *   FAILING -------------> RESTARTING     the tasks of the regions that fail are gone, the cause may pass and the restart strategy allows it
 *   RESTARTING ----------> RUNNING        time is due, slots found, ATTEMPT(A + 1) applied, and no region is left that fails
 *   RUNNING -------------> RESTARTING     it runs with fewer slots than it asks for, there are more, and a checkpoint is complete (J9)
 *   start ---------------> RESTARTING     the newest attempt drains between two runs (J9)
 *   FAILING -------------> FAILED         all tasks are gone and nothing is owed; JOB_STATE applied
 *   any not terminal ----> CANCELLING     weir_job_cancelling: JOB_STATE(CANCELLING) applied
 *   CANCELLING ----------> CANCELED       all tasks are gone and nothing is owed; JOB_STATE applied
 *   CANCELLING ----------> FAILED         what is owed cannot be drained; JOB_STATE applied
 *
 * What is owed (J6), and how it is drained, inside FAILING and CANCELLING, once all tasks are gone:
 *
 *   (gone) --> PLACING               slots are looked for, ATTEMPT(A + 1, drain_of) proposed. In FAILING only when JOB_STATE(FAILING),
 *                                    proposed when the job failed for good, is applied: a new leader drains too and does not restart the job
 *   PLACING --> DRAINING             it is applied: the vertices with such sinks are deployed, or the new leader waits for their reports
 *   DRAINING -> (nothing owed)       all its tasks are FINISHED
 *   DRAINING -> ENDING -> PAUSING    a task failed or was lost: the others are cancelled, and gone
 *   PAUSING --> PLACING              1 s later, then 2 s, ... 30 s, without end
 *   ENDING ---> FAILED               it will not pass (damaged state): JOB_STATE(FAILED) names what stays undrained
 *   any of these --> ENDING          JOB_STATE(CANCELLING, skip_drain) applied: nothing is owed any more, but what stays undrained is named
 *
 * What restarts is a region (regions.h): FAILING and RESTARTING tell of those that fail, whose tasks end and begin again, from the newest
 * completed checkpoint; the others run on, and keep their attempts and slots. All regions do when a failure is of no task, when it is for good
 * (then the whole job ends), and once the job's last checkpoint is complete (M9). The attempts of a job are counted together: ATTEMPT(A) names the
 * regions that it begins, or none for all; a region's present attempt is the newest that names it, and its tasks' is their region's. A region that
 * fails while another restarts joins it, in the same ATTEMPT or, when that is proposed already, in the next.
 *
 * (J1) Nothing is deployed before its ATTEMPT is applied in the leader's own epoch, and one is proposed only when every task of the regions that
 *      it names is terminal, or its TaskManager lost: never two live attempts of a region.
 * (J2) A terminal state is final, and is only entered by an applied JOB_STATE.
 * (J3) Splits are enumerated once, committed with the first attempt, and kept by later ones.
 * (J4) A report of another attempt than the present one of the task's region is STALE. It ends that region's older attempt and no other; one
 *      from before all regions began anew ends all that are older: regions may have had other numbers.
 * (J5) A region that starts from a checkpoint is deployed only after its `_metadata` was read; if that is damaged or gone the job FAILs: it
 *      never starts empty.
 * (J6) A job owes a drain when it has a completed checkpoint and a sink that drains, and not all tasks of such sinks ended by FINISHED: that
 *      every TaskManager was told of the checkpoint proves nothing, sinks drain in the background. Nothing reads, and no checkpoint is taken,
 *      in an attempt that drains; it is of all regions, has the parallelism and the run of the checkpoint, in as few slots as there are, and is an
 *      attempt like any other to (J1), to leases and to TaskManagers.
 * (J7) A region restarts in the slots that it shares with regions that go on; for the others it takes any that are free. A region whose tasks are all
 *      FINISHED stays so while another restarts.
 * (J8) A new leader adopts region by region: those whose tasks all report go on, those that miss one restart, once every TaskManager has come or
 *      its time is over. Restarts are counted anew (R2).
 * (J9) Another parallelism begins with an attempt of all regions, and is a new run: the sinks' names outside carry the number of that attempt.
 *      It is begun only when an attempt that drains has drained what the newest completed checkpoint owes (with the parallelism and the run of that
 *      checkpoint, which the log has), unless that is of the run to begin. Only memory says that it has: a new leader drains once more. Meanwhile
 *      the job is RESTARTING. Growing is planned, so it is no failure.
 */
#ifndef WEIR_JOBMANAGER_JOB_JOB_H
#define WEIR_JOBMANAGER_JOB_JOB_H

#include "jobmanager/checkpoint/coordinator.h"
#include "jobmanager/ha/meta.h"
#include "jobmanager/job/adaptive.h"
#include "jobmanager/job/effect.h"
#include "jobmanager/job/execgraph.h"
#include "jobmanager/job/placement.h"

enum {
    WEIR_JOB_FAILURES_MAX = 20,              /* kept of a job's history */
    WEIR_JOB_CANCEL_REPEAT_MS = 1000,        /* CANCEL is sent again to TaskManagers that still have tasks */
    WEIR_JOB_CANCEL_TIMEOUT_MS = 30000,      /* then the TaskManager counts as lost */
    WEIR_JOB_ENUMERATE_RETRY_MS = 200,
    WEIR_JOB_ENUMERATE_TRIES_MAX = 3,        /* for errors of the source that may pass */
    WEIR_JOB_DEPLOY_TRIES_MAX = 20,          /* for a connection that closes under the order; the heartbeat decides before */
    WEIR_JOB_MISSED_MAX = 3,                 /* heartbeats in a row without a task before it counts as lost */
};

/* What the machine may use; outlives it. */
struct weir_job_env {
    struct weir_effects *effects;
    void (*propose)(void *ctx, const struct weir_ha_record *record); /* epoch and time are filled in by the callee */
    void (*expel)(void *ctx, const char *tm_id);                     /* the TaskManager does not end its tasks; takes effect after the event */
    bool (*tm_registered)(void *ctx, const char *tm_id);
    char *(*tm_host_copy)(void *ctx, const char *tm_id); /* of its data plane; NULL: it is not registered. The caller frees it */
    void *ctx;
    int64_t slot_timeout_ms;
    int64_t reconcile_timeout_ms; /* heartbeat.timeout */
    uint32_t retained_max;        /* state.checkpoints.num-retained */
    struct weir_adaptive_settings adaptive;
    struct weir_log_sink *log_sink; /* NULL: no log */
};

/* A task as a TaskManager reports it. */
struct weir_task_report {
    struct weir_slice job_id;
    uint32_t attempt, vertex, subtask;
    enum weir_task_state state;
    enum weir_rc failure_rc; /* FAILED only */
    const char *failure_text;
    bool ended; /* RUNNING only: all its input has ended */
    bool has_counters;
    struct weir_task_counters counters;
};

struct weir_job;
struct weir_tm_registry;

/* graph_take may be NULL (it cannot be decoded: the job FAILs with unreadable's text). meta is what the log says of the job. */
struct weir_job *weir_job_create(const struct weir_job_env *env, const struct weir_meta_job *meta, struct weir_jobgraph *graph_take,
                                 const struct weir_error *unreadable);
void weir_job_destroy(struct weir_job *job); /* accepts NULL */

/* Begins, or takes up what an earlier leader left. fresh: submitted under this leader. */
void weir_job_start(struct weir_job *job, const struct weir_meta_job *meta, bool fresh, struct weir_now now);

/* --- what the dispatcher does for it -------------------------------------------------------------------------------- */
/* A source vertex to enumerate now. */
bool weir_job_wants_enumeration(const struct weir_job *job, struct weir_now now, uint32_t *out_vertex);
void weir_job_enumerate(struct weir_job *job, uint32_t vertex, const char *tm_id);
/* rc OK: splits are copied. */
void weir_job_enumerated(struct weir_job *job, uint32_t vertex, enum weir_rc rc, const struct weir_ha_split *splits, uint32_t nsplits,
                         const char *text, struct weir_now now);

/* Whether it is to be placed now, on how many slots besides those that it keeps: there may be none. place proposes the attempt; why: a
 * sentence for people while there are too few. */
bool weir_job_wants_slots(const struct weir_job *job, struct weir_now now, uint32_t *out_slots);
void weir_job_place(struct weir_job *job, const char *const *slot_tm_ids, uint32_t nslots);
/* There are fewer than it wants: whether it is placed on what is available, now. It may have all its regions end instead, to begin with fewer. */
bool weir_job_settles_for(struct weir_job *job, uint32_t available, struct weir_now now);
/* Whether it is to drain before it begins on so many slots (J9): then it wants drain_slots, of which several may be one. */
bool weir_job_drains_first(struct weir_job *job, uint32_t slots);
uint32_t weir_job_drain_slots(const struct weir_job *job);
bool weir_job_drains_now(const struct weir_job *job); /* what it wants slots for is a drain */
/* Where the slots that it wants were: the strings are borrowed until the next event. */
void weir_job_wanted_homes(const struct weir_job *job, struct weir_placement_home *out_homes, uint32_t nslots);
/* There are so many free slots that nobody waits for. Returns how many of them the job, which runs with fewer than it asks for, could use. */
uint32_t weir_job_offer(struct weir_job *job, uint32_t spare, struct weir_now now);
void weir_job_set_waiting(struct weir_job *job, const char *why);
void weir_job_set_unplaced(struct weir_job *job, const char *why);
/* The slots it holds, or has asked for in a proposed attempt. Borrowed until the next event; written unless there are none. */
uint32_t weir_job_held_slots(struct weir_job *job, const char *const **out_tm_ids);
/* Whether the task is one that a DEPLOY of that attempt to that TaskManager is about, now. */
bool weir_job_deploys(const struct weir_job *job, uint32_t task, uint32_t attempt, const char *tm_id);

/* --- events ---------------------------------------------------------------------------------------------------------- */
void weir_job_attempted(struct weir_job *job, const struct weir_meta_job *meta, struct weir_now now);
/* The proposal of that attempt is committed: if it did not count, because a checkpoint was completed meanwhile, a new one is made. */
void weir_job_attempt_committed(struct weir_job *job, uint32_t attempt);
void weir_job_ckpt_applied(struct weir_job *job, enum weir_meta_change change, uint64_t id, const struct weir_meta_job *meta, struct weir_now now);
/* manifest: NULL unless OK; copied. */
void weir_job_ckpt_loaded(struct weir_job *job, uint32_t attempt, enum weir_rc rc, const struct weir_ckpt_manifest *manifest, const char *text,
                          struct weir_now now);
/* declined: why, or NULL. STALE, INVALID. */
enum weir_rc weir_job_ckpt_ack(struct weir_job *job, const char *tm_id, uint32_t attempt, uint64_t id, const struct weir_ckpt_handle *handle,
                               bool ended, const char *declined, struct weir_now now, struct weir_error *err) WEIR_CHECKED;
void weir_job_state_applied(struct weir_job *job, const struct weir_meta_job *meta, struct weir_now now);
void weir_job_deployed(struct weir_job *job, uint32_t attempt, const char *tm_id, enum weir_rc rc, const char *text, struct weir_now now);
/* STALE (J4), INVALID. */
enum weir_rc weir_job_report(struct weir_job *job, const char *tm_id, const struct weir_task_report *report, struct weir_now now,
                             struct weir_error *err) WEIR_CHECKED;
/* After all reports of a registration (registered) or of a heartbeat: reported tells which tasks were in it, by index. */
void weir_job_reported(struct weir_job *job, const char *tm_id, bool registered, const bool *reported, struct weir_now now);
void weir_job_tm_lost(struct weir_job *job, const char *tm_id, const char *why, struct weir_now now);
void weir_job_tick(struct weir_job *job, struct weir_now now);
/* This process was away for away_ms until now (weir_tm_registry's T4): who has not come yet to a new leader has time to. */
void weir_job_was_away(struct weir_job *job, const struct weir_tm_registry *tms, int64_t away_ms, struct weir_now now);
/* Monotonic; INT64_MAX: nothing is waited for. */
int64_t weir_job_deadline_ms(const struct weir_job *job);

/* --- views ----------------------------------------------------------------------------------------------------------- */
const char *weir_job_id(const struct weir_job *job);
enum weir_job_state weir_job_state(const struct weir_job *job);
const struct weir_execgraph *weir_job_exec(const struct weir_job *job); /* NULL when the graph is unreadable */
/* NULL: it takes no checkpoints. For declines and the answers of orders and of the disk. */
struct weir_ckpt_coordinator *weir_job_checkpoints(const struct weir_job *job);
/* What the tasks of that attempt start from; NULL: from the beginning. */
const struct weir_ckpt_manifest *weir_job_restore(const struct weir_job *job, uint32_t attempt);
/* As it is at that moment; borrowed until the next event or view. */
void weir_job_view(struct weir_job *job, struct weir_now now, struct weir_job_view *out_view);
/* Of a job that has ended, as far as its record says. */
void weir_job_view_ended(const struct weir_meta_job *meta, struct weir_job_view *out_view);

#endif
