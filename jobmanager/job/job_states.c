/* How a job's state changes: failing, cancelling, draining, and the states that the log has applied. */
#include "jobmanager/job/job_internal.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "jobmanager/job/job_drain.h"

/* --- the lifecycle --------------------------------------------------------------------------------------------------- */
static bool arrow_is_legal(enum weir_job_state from, enum weir_job_state to)
{
#define BIT(s) (1u << WEIR_JOB_##s)
    static const unsigned legal[WEIR_JOB_STATE_COUNT_] = {
        [WEIR_JOB_INITIALIZING] = BIT(CREATED) | BIT(RECONCILING) | BIT(RESTARTING) | BIT(CANCELLING) | BIT(FAILING) | BIT(FAILED) | BIT(CANCELED) |
                                 BIT(FINISHED),
        [WEIR_JOB_CREATED] = BIT(RUNNING) | BIT(FAILING) | BIT(CANCELLING),
        [WEIR_JOB_RUNNING] = BIT(FINISHED) | BIT(FAILING) | BIT(RESTARTING) | BIT(CANCELLING),
        [WEIR_JOB_FAILING] = BIT(RESTARTING) | BIT(FAILED) | BIT(CANCELLING),
        [WEIR_JOB_CANCELLING] = BIT(CANCELED) | BIT(FAILED),
        [WEIR_JOB_RESTARTING] = BIT(RUNNING) | BIT(FAILING) | BIT(CANCELLING),
        [WEIR_JOB_RECONCILING] = BIT(RUNNING) | BIT(FAILING) | BIT(CANCELLING),
    };
#undef BIT
    return ((legal[from] >> to) & 1u) != 0;
}

void weir__job_move(struct weir_job *job, enum weir_job_state to, struct weir_now now)
{
    weir_assert(arrow_is_legal(job->state, to));
    weir_log(job->log, WEIR_LOG_INFO, "job_state", "from", weir_job_state_name(job->state), "to", weir_job_state_name(to), "attempt",
             WEIR_LOG_INT(job->attempt), NULL);
    job->state = to;
    job->since_ms[to] = now.wall_ms;
    job->modified_ms = now.wall_ms;
    weir_job_set_waiting(job, NULL);
    if (weir_job_state_terminal(to)) {
        job->end_ms = now.wall_ms;
    }
    if (job->ckpt != NULL && to == WEIR_JOB_RUNNING) {
        weir_ckpt_coordinator_start(weir_job_ckpt_coordinator(job->ckpt), now);
    } else if (job->ckpt != NULL && (to == WEIR_JOB_FAILING || to == WEIR_JOB_RESTARTING) && job->cause_restarts) {
        weir_ckpt_coordinator_pause(weir_job_ckpt_coordinator(job->ckpt), job->cause, now);
    } else if (job->ckpt != NULL && to != WEIR_JOB_RECONCILING) {
        weir_ckpt_coordinator_stop(weir_job_ckpt_coordinator(job->ckpt), to == WEIR_JOB_FAILING ? job->cause : "the job is not running any more", now);
    }
}

void weir__job_clear_placed(struct weir_job *job)
{
    for (uint32_t i = 0; i < job->nplaced; i++) {
        weir_free(job->placed[i]);
    }
    weir_free(job->placed);
    job->placed = NULL;
    job->nplaced = 0;
    job->attempt_proposed = false;
    for (uint32_t r = 0; job->exec != NULL && r < job->exec->regions->count; r++) {
        job->proposed[r] = false;
        job->redo[r] = false;
    }
}

void weir__job_propose_state(struct weir_job *job, enum weir_meta_state state, const char *text)
{
    struct weir_ha_record record = {.kind = WEIR_HA_JOB_STATE, .job_id = job->id};
    record.u.job_state.state = state;
    record.u.job_state.attempt = job->attempt;
    record.u.job_state.text = text;
    job->end_proposed = true;
    job->env->propose(job->env->ctx, &record);
}

void weir__job_stop_waiting(struct weir_job *job)
{
    job->slots_deadline_ms = INT64_MAX;
    weir_job_set_waiting(job, NULL);
}

/* --- failing and cancelling ------------------------------------------------------------------------------------------ */
void weir__job_record_failure(struct weir_job *job, const char *text, uint32_t task, const char *tm_id, struct weir_now now)
{
    if (job->nfailures == WEIR_JOB_FAILURES_MAX) {
        weir_free(job->failures[0].text);
        weir_free(job->failures[0].task_name);
        weir_free(job->failures[0].tm_id);
        memmove(&job->failures[0], &job->failures[1], sizeof(job->failures) - sizeof(job->failures[0]));
        job->nfailures--;
    }
    struct failure *failure = &job->failures[job->nfailures++];
    char name[WEIR_ERROR_TEXT_MAX];
    failure->at_ms = now.wall_ms;
    failure->text = weir_strdup(text);
    failure->task_name = task == UINT32_MAX ? NULL : weir_strdup(weir_execgraph_task_name(job->exec, task, name, sizeof(name)));
    failure->tm_id = tm_id == NULL ? NULL : weir_strdup(tm_id);
    job->modified_ms = now.wall_ms;
    weir_log(job->log, WEIR_LOG_ERROR, "job_failure", "task", failure->task_name == NULL ? "" : failure->task_name, "tm", tm_id == NULL ? "" : tm_id,
             "attempt", WEIR_LOG_INT(job->attempt), "error", text, NULL);
}

void weir__job_cancel_all(struct weir_job *job, const char *only, bool all)
{
    for (uint32_t t = 0; job->exec != NULL && job->exec->attempt > 0 && t < job->exec->ntms; t++) {
        const char *tm_id = job->exec->tm_ids[t];
        bool asked = only == NULL || strcmp(only, tm_id) == 0;
        if (asked && (all || !weir_execgraph_gone(job->exec, NULL, tm_id)) && job->env->tm_registered(job->env->ctx, tm_id)) {
            weir_effects_add_order(job->env->effects, WEIR_EFFECT_CANCEL, tm_id, job->id, job->exec->attempt)->region = WEIR_REGION_ALL;
        }
    }
}

static void cancel_region(struct weir_job *job, uint32_t region, const char *only, bool all)
{
    const struct weir_regions *regions = job->exec->regions;
    const uint32_t *first = &regions->tasks[regions->first_task[region]];
    uint32_t count = regions->first_task[region + 1] - regions->first_task[region];
    for (uint32_t k = 0; k < count; k++) {
        const struct weir_task_view *task = &job->exec->tasks[first[k]];
        bool told = (!all && weir_task_state_terminal(task->state)) || (only != NULL && strcmp(only, task->tm_id) != 0);
        for (uint32_t i = 0; !told && i < k; i++) {
            const struct weir_task_view *earlier = &job->exec->tasks[first[i]];
            told = earlier->tm_id == task->tm_id && (all || !weir_task_state_terminal(earlier->state));
        }
        if (!told && job->env->tm_registered(job->env->ctx, task->tm_id)) {
            weir_effects_add_order(job->env->effects, WEIR_EFFECT_CANCEL, task->tm_id, job->id, task->attempt)->region = region;
        }
    }
}

void weir__job_send_cancels(struct weir_job *job, const char *only, bool all)
{
    if (job->ending_tasks) {
        weir__job_cancel_all(job, only, all);
        return;
    }
    for (uint32_t r = 0; job->exec != NULL && job->exec->attempt > 0 && r < job->exec->regions->count; r++) {
        if (job->ending[r]) {
            cancel_region(job, r, only, all);
        }
    }
}

bool weir__job_any(const struct weir_job *job, const bool *regions)
{
    for (uint32_t r = 0; r < job->exec->regions->count; r++) {
        if (regions[r]) {
            return true;
        }
    }
    return false;
}

/* A failure that ends tasks. Asks the restart strategy once. */
static bool may_restart(struct weir_job *job, bool retryable, struct weir_now now)
{
    int64_t at_ms = INT64_MAX;
    bool restarts = retryable && job->restart != NULL && job->attempt > 0 && weir_restart_strategy_failed(job->restart, now.mono_ms, &at_ms);
    job->restart_at_ms = restarts ? at_ms : INT64_MAX;
    return restarts;
}

/* Which regions are to end. What of them is in an attempt that may yet be applied ends once it is. */
static void mark_ending(struct weir_job *job, const bool *regions)
{
    bool whole = true;
    bool kept = job->attempt_proposed && job->exec != NULL && job->state != WEIR_JOB_CANCELLING && !job->failing_recorded;
    for (uint32_t r = 0; job->exec != NULL && r < job->exec->regions->count; r++) {
        bool ends = regions == NULL || regions[r];
        job->ending[r] = job->ending[r] || ends;
        job->redo[r] = kept && (job->redo[r] || (ends && job->proposed[r]));
        job->unloaded[r] = job->unloaded[r] && !job->ending[r];
        whole = whole && job->ending[r];
    }
    job->ending_tasks = whole;
    if (!kept) {
        weir__job_clear_placed(job);
    }
}

/* --- draining (J6) --------------------------------------------------------------------------------------------------- */
bool weir__job_draining(const struct weir_job *job)
{
    return job->drain_of != 0 && !job->ending_tasks && !weir_job_state_terminal(job->state);
}

static bool undrained(const struct weir_job *job)
{
    return job->drains != NULL && job->newest_ckpt_id != 0 && !weir_job_drain_over(job->exec, job->drains);
}

void weir__job_tell_draining(struct weir_job *job, const char *error)
{
    char *owed = weir_job_drain_text(job->graph, job->newest_ckpt_id);
    char *text = error == NULL ? weir_strfmt("draining: %s", owed) : weir_strfmt("draining: %s: %s", owed, error);
    weir_job_set_waiting(job, text);
    weir_free(text);
    weir_free(owed);
}

/* The job's last state. what: the cause or ""; the sinks that have not drained are named after it. */
static void propose_end(struct weir_job *job, enum weir_meta_state state, const char *what)
{
    if (!undrained(job)) {
        weir__job_propose_state(job, state, what);
        return;
    }
    char *owed = weir_job_drain_text(job->graph, job->newest_ckpt_id);
    const char *error = job->drain_error == NULL ? "" : job->drain_error;
    char *text = state == WEIR_META_CANCELED
                     ? weir_strdup(owed)
                     : weir_strfmt("%s%sundrained: %s%s%s", what, what[0] == '\0' ? "" : "; ", owed, error[0] == '\0' ? "" : ": ", error);
    weir__job_propose_state(job, state, text);
    weir_free(text);
    weir_free(owed);
}

/* All tasks are gone, the job is to end. False: nothing is owed, or it is given up. */
static bool drain(struct weir_job *job, struct weir_now now)
{
    if (!undrained(job) || job->drain_skipped || job->drain_hopeless) {
        job->drain_due = false;
        job->drain_at_ms = INT64_MAX;
        return false;
    }
    if (job->drain_error != NULL && !job->drain_due && job->drain_at_ms == INT64_MAX) {
        job->drain_pause_ms = weir_job_drain_retry_ms(job->drain_pause_ms);
        job->drain_at_ms = now.mono_ms + job->drain_pause_ms;
    } else if (job->drain_at_ms == INT64_MAX) {
        job->drain_due = true;
    }
    weir__job_tell_draining(job, job->drain_due ? NULL : job->drain_error);
    return true;
}

static void begin_failing(struct weir_job *job, const bool *regions, const char *text, bool retryable, uint32_t task, const char *tm_id,
                          struct weir_now now);

/* All tasks of the drain between two runs are gone. */
static void end_drain_between(struct weir_job *job, struct weir_now now)
{
    if (job->drained_ckpt_id == job->newest_ckpt_id) {
        return;
    }
    if (!undrained(job)) {
        job->drained_ckpt_id = job->newest_ckpt_id;
        mark_ending(job, NULL);
        weir__job_send_cancels(job, NULL, true);
        weir_job_set_waiting(job, NULL);
    } else if (job->drain_hopeless) {
        char *text = weir_strfmt("before it is rescaled the job cannot drain: %s", job->drain_error);
        begin_failing(job, NULL, text, false, UINT32_MAX, NULL, now);
        weir_free(text);
    } else {
        (void)drain(job, now);
    }
}

/* Whether the job has failed, and will not restart. */
static bool fails_for_good(const struct weir_job *job)
{
    return job->state == WEIR_JOB_FAILING && (job->failing_recorded || !job->cause_restarts);
}

void weir__job_check_gone(struct weir_job *job, struct weir_now now)
{
    bool ends = job->state == WEIR_JOB_CANCELLING || fails_for_good(job);
    bool all = ends || weir__job_drains_between(job);
    if (job->end_proposed || (job->exec != NULL && !weir_execgraph_gone(job->exec, all ? NULL : job->ending, NULL))) {
        return;
    }
    if (job->state == WEIR_JOB_CANCELLING) {
        if (!drain(job, now)) {
            propose_end(job, job->drain_hopeless && !job->drain_skipped ? WEIR_META_FAILED : WEIR_META_CANCELED, "");
        }
    } else if (ends) {
        if (!drain(job, now)) {
            propose_end(job, WEIR_META_FAILED, job->cause);
        }
    } else if (job->state == WEIR_JOB_FAILING) {
        weir__job_send_cancels(job, NULL, true);
        weir__job_move(job, WEIR_JOB_RESTARTING, now);
    } else if (weir__job_drains_between(job)) {
        end_drain_between(job, now);
    } else if (job->growing) {
        job->growing = false;
        weir__job_send_cancels(job, NULL, true);
    }
    if (job->state != WEIR_JOB_FAILING && job->state != WEIR_JOB_CANCELLING) {
        job->cancel_repeat_ms = INT64_MAX;
        job->cancel_deadline_ms = INT64_MAX;
    }
}

void weir__job_end_tasks(struct weir_job *job, const bool *regions, struct weir_now now)
{
    weir__job_stop_waiting(job);
    for (uint32_t i = 0; job->exec != NULL && job->exec->attempt > 0 && i < job->exec->ntasks; i++) { /* nobody was told of these yet */
        uint32_t r = job->exec->regions->of[i];
        if ((regions == NULL || regions[r]) && job->unloaded[r]) {
            (void)weir_execgraph_move(job->exec, i, WEIR_TASK_CANCELED, now.wall_ms);
        }
    }
    mark_ending(job, regions);
    job->cancel_repeat_ms = now.mono_ms + WEIR_JOB_CANCEL_REPEAT_MS;
    job->cancel_deadline_ms = now.mono_ms + WEIR_JOB_CANCEL_TIMEOUT_MS;
    weir__job_send_cancels(job, NULL, false);
    for (uint32_t i = 0; job->exec != NULL && job->exec->attempt > 0 && i < job->exec->ntasks; i++) {
        if (job->ending[job->exec->regions->of[i]]) {
            (void)weir_execgraph_move(job->exec, i, WEIR_TASK_CANCELING, now.wall_ms);
        }
    }
    job->loading = job->loading && weir__job_any(job, job->unloaded);
    weir__job_check_gone(job, now);
}

/* They end, and restart or not. */
static void begin_failing(struct weir_job *job, const bool *regions, const char *text, bool retryable, uint32_t task, const char *tm_id,
                          struct weir_now now)
{
    weir__job_record_failure(job, text, task, tm_id, now);
    char *cause = weir_strdup(text); /* which may be the old one's */
    weir_free(job->cause);
    job->cause = cause;
    job->growing = false;
    job->drain_due = false;
    job->drain_at_ms = INT64_MAX;
    weir_adaptive_reset(&job->adaptive);
    job->cause_restarts = may_restart(job, retryable, now);
    if (job->state != WEIR_JOB_FAILING) {
        weir__job_move(job, WEIR_JOB_FAILING, now);
    } else if (!job->cause_restarts && job->ckpt != NULL) {
        weir_ckpt_coordinator_stop(weir_job_ckpt_coordinator(job->ckpt), job->cause, now);
    }
    weir__job_record_failing(job);
    weir__job_end_tasks(job, job->cause_restarts && !job->newest_ckpt_last ? regions : NULL, now);
}

void weir__job_record_failing(struct weir_job *job)
{
    if (fails_for_good(job) && !job->failing_recorded && job->drains != NULL && job->ckpt != NULL) {
        weir__job_propose_state(job, WEIR_META_FAILING, job->cause); /* whether anything is owed is known then: a checkpoint may be about to complete */
    }
}

void weir__job_fail(struct weir_job *job, const bool *regions, const char *text, bool retryable, uint32_t task, const char *tm_id,
                    struct weir_now now)
{
    if (weir__job_draining(job)) {
        weir_log(job->log, WEIR_LOG_WARN, "drain_failed", "attempt", WEIR_LOG_INT(job->attempt), "tm", tm_id == NULL ? "" : tm_id, "error", text, NULL);
        weir_free(job->drain_error);
        job->drain_error = weir_strdup(text);
        job->drain_hopeless = !retryable;
        weir__job_end_tasks(job, NULL, now);
        return;
    }
    if (fails_for_good(job) || (job->state != WEIR_JOB_FAILING && !arrow_is_legal(job->state, WEIR_JOB_FAILING))) {
        return; /* it ends, or is over */
    }
    bool news = job->exec == NULL || job->exec->attempt == 0;
    for (uint32_t r = 0; job->exec != NULL && r < job->exec->regions->count; r++) {
        news = news || ((regions == NULL || regions[r]) && !job->ending[r]);
    }
    if (news) {
        begin_failing(job, regions, text, retryable, task, tm_id, now);
    }
}

void weir__job_fail_again(struct weir_job *job, const char *text, struct weir_now now)
{
    begin_failing(job, job->ending, text, true, UINT32_MAX, NULL, now);
}

void weir__job_take_all_along(struct weir_job *job, struct weir_now now)
{
    bool restarts = job->state == WEIR_JOB_RESTARTING || (job->state == WEIR_JOB_FAILING && !fails_for_good(job));
    if (restarts && !job->ending_tasks) {
        if (job->state == WEIR_JOB_RESTARTING) {
            weir__job_move(job, WEIR_JOB_FAILING, now);
        }
        weir__job_end_tasks(job, NULL, now);
    }
}

/* --- states ---------------------------------------------------------------------------------------------------------- */
static void cancel(struct weir_job *job, const struct weir_meta_job *meta, struct weir_now now)
{
    job->drain_skipped = meta->skip_drain;
    bool goes_on = weir__job_draining(job) && !weir_execgraph_gone(job->exec, NULL, NULL) && !job->drain_skipped;
    bool ends_tasks = !goes_on && !(job->ending_tasks && job->state == WEIR_JOB_CANCELLING);
    if (arrow_is_legal(job->state, WEIR_JOB_CANCELLING)) {
        weir__job_move(job, WEIR_JOB_CANCELLING, now);
    }
    if (goes_on) {
        weir__job_tell_draining(job, NULL);
    } else if (ends_tasks) {
        weir__job_end_tasks(job, NULL, now);
    } else {
        weir__job_clear_placed(job);
        weir__job_check_gone(job, now);
    }
}

void weir__job_keep_undrained(struct weir_job *job, const struct weir_meta_job *meta)
{
    weir_free(job->undrained);
    job->undrained = meta->state == WEIR_META_CANCELED && meta->text[0] != '\0' ? weir_strdup(meta->text) : NULL;
}

void weir_job_state_applied(struct weir_job *job, const struct weir_meta_job *meta, struct weir_now now)
{
    job->end_proposed = false;
    if (meta->state == WEIR_META_CANCELLING) {
        cancel(job, meta, now);
        return;
    }
    if (meta->state == WEIR_META_FAILING) {
        job->failing_recorded = true;
        weir__job_check_gone(job, now);
        return;
    }
    weir_assert(weir_meta_terminal(meta->state));
    weir_assert(job->exec == NULL || weir_execgraph_gone(job->exec, NULL, NULL));
    weir__job_cancel_all(job, NULL, true); /* the TaskManagers may forget the job */
    weir__job_keep_undrained(job, meta);
    if (meta->state == WEIR_META_FAILED && job->drain_hopeless) {
        weir__job_record_failure(job, meta->text, UINT32_MAX, NULL, now);
    }
    job->drain_due = false;
    job->drain_at_ms = INT64_MAX;
    job->restart_at_ms = INT64_MAX;
    weir__job_clear_placed(job);
    weir__job_stop_waiting(job);
    job->reconcile_deadline_ms = INT64_MAX;
    job->cancel_repeat_ms = INT64_MAX;
    job->cancel_deadline_ms = INT64_MAX;
    weir__job_move(job, weir__job_state_of_end(meta->state), now);
}

