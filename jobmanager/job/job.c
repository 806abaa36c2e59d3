#include "jobmanager/job/job_internal.h"

#include <stdio.h>

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "jobmanager/job/job_drain.h"

static void on_ckpts_failed(void *ctx, const char *text, struct weir_now now)
{
    weir__job_fail(ctx, text, true, UINT32_MAX, NULL, now);
}

struct weir_job *weir_job_create(const struct weir_job_env *env, const struct weir_meta_job *meta, struct weir_jobgraph *graph_take,
                                 const struct weir_error *unreadable)
{
    weir_assert(graph_take != NULL || unreadable != NULL);
    struct weir_job *job = weir_calloc(1, sizeof(*job));
    job->env = env;
    job->id = weir_strdup(meta->id);
    job->name = weir_strdup(meta->name);
    if (env->log_sink != NULL) {
        struct weir_log *root = weir_log_create(env->log_sink);
        job->log = weir_log_bind(root, "job", job->id);
        weir_log_destroy(root);
    }
    job->graph = graph_take;
    job->state = WEIR_JOB_INITIALIZING;
    job->start_ms = meta->submitted_ms;
    job->end_ms = -1;
    job->since_ms[WEIR_JOB_INITIALIZING] = meta->submitted_ms;
    job->modified_ms = meta->submitted_ms;
    job->slots_deadline_ms = INT64_MAX;
    job->restart_at_ms = INT64_MAX;
    job->reconcile_deadline_ms = INT64_MAX;
    job->cancel_repeat_ms = INT64_MAX;
    job->cancel_deadline_ms = INT64_MAX;
    job->drain_at_ms = INT64_MAX;
    job->splits_arena = weir_arena_create(0);
    if (job->graph == NULL) {
        job->cause = weir_strdup(unreadable->text);
        return job;
    }
    job->restart = weir_restart_strategy_create(&job->graph->settings.restart, weir_hash_bytes(meta->id, strlen(meta->id), 0));
    job->exec = weir_execgraph_create(job->graph);
    job->drains = weir_calloc(job->graph->nvertices, sizeof(*job->drains));
    if (!weir_job_drain_vertices(job->graph, job->drains)) {
        weir_free(job->drains);
        job->drains = NULL;
    }
    const struct weir_job_ckpt_env ckpt_env = {.effects = env->effects,
                                               .propose = env->propose,
                                               .tm_registered = env->tm_registered,
                                               .ctx = env->ctx,
                                               .retained_max = env->retained_max,
                                               .fail = on_ckpts_failed,
                                               .job = job};
    job->ckpt = weir_job_ckpt_create(&ckpt_env, job->id, job->exec);
    job->sources = weir_calloc(job->graph->nvertices, sizeof(*job->sources));
    for (uint32_t v = 0; v < job->graph->nvertices; v++) {
        job->sources[v].is_source = job->graph->vertices[v].nops > 0 && job->graph->vertices[v].ops[0]->tag == WEIR_OP_SOURCE;
    }
    return job;
}

void weir_job_destroy(struct weir_job *job)
{
    if (job == NULL) {
        return;
    }
    weir__job_clear_placed(job);
    for (uint32_t i = 0; i < job->nfailures; i++) {
        weir_free(job->failures[i].text);
        weir_free(job->failures[i].task_name);
        weir_free(job->failures[i].tm_id);
    }
    weir_arena_destroy(job->splits_arena);
    weir_arena_destroy(job->restore_arena);
    weir_job_ckpt_destroy(job->ckpt);
    weir_restart_strategy_destroy(job->restart);
    weir_free(job->undrained);
    weir_free(job->drain_error);
    weir_free(job->drains);
    weir_free(job->sources);
    weir_execgraph_destroy(job->exec);
    weir_jobgraph_destroy(job->graph);
    weir_free(job->cause);
    weir_free(job->waiting);
    weir_log_destroy(job->log);
    weir_free(job->name);
    weir_free(job->id);
    weir_free(job);
}

static void wait_for_slots(struct weir_job *job, struct weir_now now)
{
    job->slots_deadline_ms = now.mono_ms + job->env->slot_timeout_ms;
}

/* --- start ----------------------------------------------------------------------------------------------------------- */
/* The tasks of meta's attempt, all CREATED; none if the record has too few slots: of another version. */
static void begin_tasks(struct weir_job *job, const struct weir_meta_job *meta)
{
    const bool *vertices = meta->drain_of == 0 ? NULL : job->drains;
    bool usable = meta->drain_of == 0 || job->drains != NULL;
    if (usable && meta->nslots >= weir_execgraph_slots(job->graph, vertices)) {
        weir_execgraph_begin(job->exec, meta->attempt, vertices, (const char *const *)meta->slot_tm_ids, meta->nslots);
        job->ending_tasks = false;
    }
}

static void take_up(struct weir_job *job, const struct weir_meta_job *meta, struct weir_now now)
{
    job->attempt = meta->attempt;
    job->drain_of = meta->drain_of;
    job->newest_ckpt_id = weir_meta_ckpt_newest(meta) == NULL ? 0 : weir_meta_ckpt_newest(meta)->id;
    job->splits_committed = meta->attempt > 0;
    if (job->exec == NULL || meta->attempt == 0) {
        return;
    }
    job->reconcile_deadline_ms = now.mono_ms + job->env->reconcile_timeout_ms;
    begin_tasks(job, meta);
}

/* The job was to end when the new leader came; an attempt that drains is adopted. */
static void take_up_end(struct weir_job *job, const struct weir_meta_job *meta, enum weir_job_state state, struct weir_now now)
{
    take_up(job, meta, now);
    job->drain_skipped = meta->skip_drain;
    job->failing_recorded = state == WEIR_JOB_FAILING;
    if (state == WEIR_JOB_FAILING) {
        weir__job_record_failure(job, meta->text, UINT32_MAX, NULL, (struct weir_now){.wall_ms = meta->state_ms});
        weir_free(job->cause);
        job->cause = weir_strdup(meta->text);
    }
    weir__job_move(job, state, now);
    if (!weir__job_draining(job) || job->drain_skipped || weir_execgraph_gone(job->exec, NULL)) {
        weir__job_end_tasks(job, now);
    } else {
        weir__job_tell_draining(job, "the JobManager has restarted and waits for the TaskManagers to report their tasks");
    }
}

static void start_ended(struct weir_job *job, const struct weir_meta_job *meta, enum weir_job_state state)
{
    struct weir_now then = {.wall_ms = meta->state_ms};
    if (state == WEIR_JOB_FAILED) {
        weir__job_record_failure(job, meta->text, UINT32_MAX, NULL, then);
    }
    weir__job_keep_undrained(job, meta);
    job->attempt = meta->attempt;
    job->drain_of = meta->drain_of;
    if (job->exec != NULL && meta->attempt > 0) {
        begin_tasks(job, meta);
        for (uint32_t i = 0; i < job->exec->ntasks; i++) {
            (void)weir_execgraph_move(job->exec, i, state == WEIR_JOB_FINISHED ? WEIR_TASK_FINISHED : WEIR_TASK_CANCELED, meta->state_ms);
        }
    }
    weir__job_move(job, state, then);
    weir_job_ckpt_sweep(job->env->effects, meta); /* owed, if the leader before did not get to it */
}

void weir_job_start(struct weir_job *job, const struct weir_meta_job *meta, bool fresh, struct weir_now now)
{
    weir_assert(job->state == WEIR_JOB_INITIALIZING);
    switch (meta->state) {
    case WEIR_META_FAILED:
        start_ended(job, meta, WEIR_JOB_FAILED);
        return;
    case WEIR_META_CANCELED:
        start_ended(job, meta, WEIR_JOB_CANCELED);
        return;
    case WEIR_META_FINISHED:
        start_ended(job, meta, WEIR_JOB_FINISHED);
        return;
    case WEIR_META_CANCELLING:
        take_up_end(job, meta, WEIR_JOB_CANCELLING, now);
        return;
    case WEIR_META_FAILING:
        take_up_end(job, meta, WEIR_JOB_FAILING, now);
        return;
    case WEIR_META_LIVE:
        break;
    }
    if (meta->attempt > 0) {
        weir_assert(!fresh);
        take_up(job, meta, now);
        if (job->ckpt != NULL) {
            weir_job_ckpt_attempt(job->ckpt, meta, false, now);
            weir_job_ckpt_sweep(job->env->effects, meta);
        }
        weir__job_move(job, WEIR_JOB_RECONCILING, now);
        weir_job_set_waiting(job, "the JobManager has restarted and waits for the TaskManagers to report their tasks");
    } else {
        weir__job_move(job, WEIR_JOB_CREATED, now);
        wait_for_slots(job, now);
    }
    if (job->graph == NULL) {
        char *text = job->cause;
        job->cause = NULL;
        weir__job_fail(job, text, false, UINT32_MAX, NULL, now);
        weir_free(text);
    }
}

/* --- splits ---------------------------------------------------------------------------------------------------------- */
bool weir_job_wants_enumeration(const struct weir_job *job, struct weir_now now, uint32_t *out_vertex)
{
    if (job->state != WEIR_JOB_CREATED || job->splits_committed) {
        return false;
    }
    for (uint32_t v = 0; v < job->graph->nvertices; v++) {
        const struct source *source = &job->sources[v];
        if (source->is_source && !source->done && !source->in_flight && source->retry_at_ms <= now.mono_ms) {
            *out_vertex = v;
            return true;
        }
    }
    return false;
}

void weir_job_enumerate(struct weir_job *job, uint32_t vertex, const char *tm_id)
{
    weir_assert(vertex < job->graph->nvertices);
    weir_assert(!job->sources[vertex].in_flight);
    job->sources[vertex].in_flight = true;
    weir_effects_add_order(job->env->effects, WEIR_EFFECT_ENUMERATE, tm_id, job->id, 0)->vertex = vertex;
}

static bool transport_error(enum weir_rc rc)
{
    return rc == WEIR_CLOSED || rc == WEIR_TIMEOUT || rc == WEIR_CANCELED || rc == WEIR_AGAIN || rc == WEIR_UNKNOWN || rc == WEIR_REFUSED;
}

void weir_job_enumerated(struct weir_job *job, uint32_t vertex, enum weir_rc rc, const struct weir_ha_split *splits, uint32_t nsplits,
                         const char *text, struct weir_now now)
{
    if (job->graph == NULL || vertex >= job->graph->nvertices || !job->sources[vertex].in_flight) {
        return;
    }
    struct source *source = &job->sources[vertex];
    source->in_flight = false;
    if (rc == WEIR_OK) {
        source->done = true;
        source->nsplits = nsplits;
        source->splits = weir_arena_alloc(job->splits_arena, nsplits * sizeof(*source->splits));
        for (uint32_t i = 0; i < nsplits; i++) {
            source->splits[i].id = weir_arena_slice(job->splits_arena, splits[i].id);
            source->splits[i].data = weir_arena_slice(job->splits_arena, splits[i].data);
        }
        return;
    }
    struct weir_error err;
    (void)weir_error_set(&err, rc, "listing the splits of \"%s\" failed: %s", job->graph->vertices[vertex].name, text);
    source->tries += transport_error(rc) && rc != WEIR_REFUSED ? 0 : 1; /* REFUSED may be the source's own: a login */
    if (!weir_rc_retryable(rc) && !transport_error(rc)) {
        weir__job_fail(job, err.text, false, UINT32_MAX, NULL, now);
    } else if (source->tries >= WEIR_JOB_ENUMERATE_TRIES_MAX) {
        weir__job_fail(job, err.text, true, UINT32_MAX, NULL, now);
    } else {
        source->retry_at_ms = now.mono_ms + WEIR_JOB_ENUMERATE_RETRY_MS;
        weir_job_set_waiting(job, err.text);
    }
}

/* --- slots and attempts ---------------------------------------------------------------------------------------------- */
uint32_t weir_job_wants_slots(const struct weir_job *job, struct weir_now now)
{
    bool restarting = job->state == WEIR_JOB_RESTARTING && job->restart_at_ms <= now.mono_ms;
    if (job->drain_due) {
        return job->attempt_proposed ? 0 : weir_execgraph_slots(job->graph, job->drains);
    }
    if (job->attempt_proposed || (job->state != WEIR_JOB_CREATED && !restarting)) {
        return 0;
    }
    for (uint32_t v = 0; !job->splits_committed && v < job->graph->nvertices; v++) {
        if (job->sources[v].is_source && !job->sources[v].done) {
            return 0;
        }
    }
    return weir_execgraph_slots(job->graph, NULL);
}

void weir_job_place(struct weir_job *job, const char *const *slot_tm_ids, uint32_t nslots)
{
    weir_assert(!job->attempt_proposed);
    weir_assert(job->exec->attempt == 0 || weir_execgraph_gone(job->exec, NULL)); /* (J1) */
    job->placed = weir_calloc(nslots, sizeof(*job->placed));
    job->nplaced = nslots;
    for (uint32_t i = 0; i < nslots; i++) {
        job->placed[i] = weir_strdup(slot_tm_ids[i]);
    }
    job->attempt_proposed = true;
    weir_job_set_unplaced(job, NULL);
    struct weir_ha_source *sources = weir_calloc(job->graph->nvertices, sizeof(*sources));
    struct weir_ha_record record = {.kind = WEIR_HA_ATTEMPT, .job_id = job->id};
    record.u.attempt.attempt = job->attempt + 1;
    record.u.attempt.slot_tm_ids = slot_tm_ids;
    record.u.attempt.nslots = nslots;
    record.u.attempt.has_sources = !job->splits_committed;
    record.u.attempt.restore_checkpoint_id = job->newest_ckpt_id;
    record.u.attempt.drain_of = !job->drain_due ? 0 : job->drain_of != 0 ? job->drain_of : job->attempt;
    record.u.attempt.sources = sources;
    for (uint32_t v = 0; !job->splits_committed && v < job->graph->nvertices; v++) {
        if (job->sources[v].is_source) {
            sources[record.u.attempt.nsources++] =
                (struct weir_ha_source){.vertex = v, .splits = job->sources[v].splits, .nsplits = job->sources[v].nsplits};
        }
    }
    job->env->propose(job->env->ctx, &record);
    weir_free(sources);
}

void weir_job_set_waiting(struct weir_job *job, const char *why)
{
    if (why != NULL && job->waiting != NULL && strcmp(why, job->waiting) == 0) {
        return;
    }
    weir_free(job->waiting);
    job->waiting = why == NULL ? NULL : weir_strdup(why);
    if (why != NULL) {
        weir_log(job->log, WEIR_LOG_INFO, "job_waits", "for", why, NULL);
    }
}

void weir_job_set_unplaced(struct weir_job *job, const char *why)
{
    if (job->drain_due) {
        weir__job_tell_draining(job, why);
    } else {
        weir_job_set_waiting(job, why);
    }
}

uint32_t weir_job_held_slots(const struct weir_job *job, char *const **out_tm_ids)
{
    if (job->attempt_proposed) {
        *out_tm_ids = job->placed;
        return job->nplaced;
    }
    if (job->exec != NULL && job->exec->attempt > 0 && (!weir_execgraph_gone(job->exec, NULL) || job->state == WEIR_JOB_RUNNING)) {
        *out_tm_ids = job->exec->slot_tm_ids;
        return job->exec->nslots;
    }
    *out_tm_ids = NULL;
    return 0;
}

static void deploy(struct weir_job *job)
{
    for (uint32_t s = 0; s < job->exec->nslots; s++) {
        const char *tm_id = weir_execgraph_tm_first(job->exec, s);
        if (tm_id != NULL && job->env->tm_registered(job->env->ctx, tm_id)) {
            (void)weir_effects_add_order(job->env->effects, WEIR_EFFECT_DEPLOY, tm_id, job->id, job->attempt);
        }
    }
}

/* (J5) */
static void load(struct weir_job *job, const struct weir_meta_job *meta)
{
    const struct weir_meta_ckpt *newest = weir_meta_ckpt_newest(meta);
    weir_assert(newest != NULL && newest->id == meta->restored_ckpt_id);
    job->loading = true;
    struct weir_effect *effect = weir_effects_add_order(job->env->effects, WEIR_EFFECT_CKPT_LOAD, "", job->id, job->attempt);
    effect->checkpoint_id = newest->id;
    effect->path = weir_strdup(newest->path);
    effect->length = newest->bytes;
    effect->hash = newest->hash;
}

static void keep_restore(struct weir_job *job, const struct weir_ckpt_manifest *manifest)
{
    weir_arena_destroy(job->restore_arena);
    job->restore_arena = weir_arena_create(0);
    struct weir_ckpt_handle *handles = weir_arena_alloc(job->restore_arena, manifest->nhandles * sizeof(*handles));
    for (uint32_t i = 0; i < manifest->nhandles; i++) {
        handles[i] = manifest->handles[i];
        handles[i].path = weir_arena_strdup(job->restore_arena, manifest->handles[i].path);
    }
    job->restore = (struct weir_ckpt_manifest){
        .job_id = job->id, .checkpoint_id = manifest->checkpoint_id, .attempt = manifest->attempt, .handles = handles, .nhandles = manifest->nhandles};
}

void weir_job_ckpt_loaded(struct weir_job *job, uint32_t attempt, enum weir_rc rc, const struct weir_ckpt_manifest *manifest, const char *text,
                          struct weir_now now)
{
    if (!job->loading || attempt != job->attempt) {
        return;
    }
    struct weir_error err;
    if (rc != WEIR_OK) {
        (void)weir_error_set(&err, rc, "%s", text);
    } else {
        rc = weir_job_ckpt_check(job->exec, job->id, job->newest_ckpt_id, manifest, &err);
    }
    if (rc == WEIR_OK) {
        job->loading = false;
        keep_restore(job, manifest);
        deploy(job);
        return;
    }
    (void)weir_error_prefix(&err, "checkpoint %llu, which attempt %u starts from, cannot be read", (unsigned long long)job->newest_ckpt_id, attempt);
    weir__job_fail(job, err.text, weir_rc_retryable(rc), UINT32_MAX, NULL, now);
}

void weir_job_attempt_committed(struct weir_job *job, uint32_t attempt)
{
    if (job->attempt_proposed && attempt == job->attempt + 1) {
        weir__job_clear_placed(job);
    }
}

static bool deploying(const struct weir_job *job)
{
    return job->state == WEIR_JOB_RUNNING || weir__job_draining(job);
}

void weir_job_attempted(struct weir_job *job, const struct weir_meta_job *meta, struct weir_now now)
{
    weir_assert(meta->attempt > job->attempt);
    weir_assert(job->exec->attempt == 0 || weir_execgraph_gone(job->exec, NULL)); /* (J1) */
    job->attempt = meta->attempt;
    job->newest_ckpt_id = meta->restored_ckpt_id; /* (M6) */
    job->splits_committed = true;
    job->deploy_tries = 0;
    weir_execgraph_begin(job->exec, meta->attempt, meta->drain_of == 0 ? NULL : job->drains, (const char *const *)meta->slot_tm_ids, meta->nslots);
    job->drain_of = meta->drain_of;
    job->drain_due = false;
    job->ending_tasks = false;
    job->cancel_repeat_ms = INT64_MAX;
    job->cancel_deadline_ms = INT64_MAX;
    job->restart_at_ms = INT64_MAX;
    weir__job_clear_placed(job);
    weir__job_stop_waiting(job);
    if (job->ckpt != NULL) {
        weir_job_ckpt_attempt(job->ckpt, meta, meta->drain_of == 0, now);
        weir_job_ckpt_sweep(job->env->effects, meta);
    }
    if (weir__job_draining(job)) {
        weir__job_tell_draining(job, NULL);
    } else {
        weir__job_move(job, WEIR_JOB_RUNNING, now);
    }
    for (uint32_t i = 0; i < job->exec->ntasks; i++) {
        (void)weir_execgraph_move(job->exec, i, WEIR_TASK_DEPLOYING, now.wall_ms);
    }
    job->restore = (struct weir_ckpt_manifest){0};
    if (meta->restored_ckpt_id != 0) {
        load(job, meta);
    } else {
        deploy(job);
    }
    for (uint32_t s = 0; s < job->exec->nslots && deploying(job); s++) {
        if (!job->env->tm_registered(job->env->ctx, job->exec->slot_tm_ids[s])) {
            weir_job_tm_lost(job, job->exec->slot_tm_ids[s], "it went before the job was deployed", now);
        }
    }
}

void weir_job_deployed(struct weir_job *job, uint32_t attempt, const char *tm_id, enum weir_rc rc, const char *text, struct weir_now now)
{
    if (rc == WEIR_OK || !deploying(job) || attempt != job->attempt || !job->env->tm_registered(job->env->ctx, tm_id)) {
        return;
    }
    struct weir_error err;
    (void)weir_error_set(&err, rc, "TaskManager %s could not take the tasks of attempt %u: %s", tm_id, attempt, text);
    if (transport_error(rc) && ++job->deploy_tries < WEIR_JOB_DEPLOY_TRIES_MAX) {
        /* It may have them or not; the order is idempotent. */
        (void)weir_effects_add_order(job->env->effects, WEIR_EFFECT_DEPLOY, tm_id, job->id, attempt);
        return;
    }
    weir__job_fail(job, err.text, weir_rc_retryable(rc), UINT32_MAX, tm_id, now);
}

void weir_job_ckpt_applied(struct weir_job *job, enum weir_meta_change change, uint64_t id, const struct weir_meta_job *meta, struct weir_now now)
{
    weir_assert(job->ckpt != NULL);
    struct weir_ckpt_coordinator *coord = weir_job_ckpt_coordinator(job->ckpt);
    if (change == WEIR_META_CKPT_BEGUN) {
        weir_ckpt_coordinator_begun(coord, id, now);
        return;
    }
    if (change == WEIR_META_CKPT_COMPLETED) {
        job->newest_ckpt_id = id;
        weir_ckpt_coordinator_completed(coord, id, now);
    } else {
        weir_ckpt_coordinator_aborted(coord, id, now);
    }
    weir_log(job->log, WEIR_LOG_INFO, change == WEIR_META_CKPT_COMPLETED ? "checkpoint_completed" : "checkpoint_aborted", "checkpoint",
             WEIR_LOG_INT(id), "attempt", WEIR_LOG_INT(job->attempt), NULL);
    weir_job_ckpt_sweep(job->env->effects, meta);
}

enum weir_rc weir_job_ckpt_ack(struct weir_job *job, const char *tm_id, uint32_t attempt, uint64_t id, const struct weir_ckpt_handle *handle,
                               bool ended, struct weir_now now, struct weir_error *err)
{
    if (job->ckpt == NULL || job->exec->attempt != attempt) {
        return weir_error_set(err, WEIR_STALE, "attempt %u of job %s takes no checkpoint", attempt, job->id);
    }
    if (handle->vertex >= job->graph->nvertices || handle->subtask >= job->graph->vertices[handle->vertex].parallelism) {
        return weir_error_set(err, WEIR_INVALID, "job %s has no task %u/%u", job->id, handle->vertex, handle->subtask);
    }
    uint32_t index = weir_jobgraph_task_index(job->graph, handle->vertex, handle->subtask);
    if (strcmp(job->exec->tasks[index].tm_id, tm_id) != 0) {
        return weir_error_set(err, WEIR_STALE, "task %u/%u of job %s is not placed on TaskManager %s", handle->vertex, handle->subtask, job->id, tm_id);
    }
    return weir_ckpt_coordinator_ack(weir_job_ckpt_coordinator(job->ckpt), attempt, id, index, handle, ended, now, err);
}

/* The coordinator hears of failures by the job's state. */
static void tell_coordinator(struct weir_job *job, uint32_t index, bool ended, struct weir_now now)
{
    enum weir_task_state state = job->exec->tasks[index].state;
    if (job->ckpt != NULL && (state == WEIR_TASK_RUNNING || state == WEIR_TASK_FINISHED)) {
        weir_ckpt_coordinator_task(weir_job_ckpt_coordinator(job->ckpt), index, state == WEIR_TASK_RUNNING, ended, now);
    }
}

/* All tasks reported and none failed: a reconciling job runs, a running job of finished tasks ends. */
static void check_progress(struct weir_job *job, struct weir_now now)
{
    if (job->state == WEIR_JOB_RECONCILING && weir_execgraph_count(job->exec, WEIR_TASK_CREATED) == 0) {
        job->reconcile_deadline_ms = INT64_MAX;
        weir__job_move(job, WEIR_JOB_RUNNING, now);
    }
    if (job->state == WEIR_JOB_RUNNING && !job->end_proposed && weir_execgraph_count(job->exec, WEIR_TASK_FINISHED) == job->exec->ntasks) {
        weir__job_propose_state(job, WEIR_META_FINISHED, "");
    }
    weir__job_check_gone(job, now);
}

/* What draining meets in the data it has, it meets again. */
static bool may_pass(const struct weir_job *job, enum weir_rc rc)
{
    return weir_rc_retryable(rc) && !(weir__job_draining(job) && rc == WEIR_DATA);
}

enum weir_rc weir_job_report(struct weir_job *job, const char *tm_id, const struct weir_task_report *report, struct weir_now now,
                             struct weir_error *err)
{
    if (job->exec == NULL || report->attempt != job->exec->attempt || weir_job_state_terminal(job->state)) {
        return weir_error_set(err, WEIR_STALE, "attempt %u of job %s is not the present one", report->attempt, job->id);
    }
    if (report->vertex >= job->graph->nvertices || report->subtask >= job->graph->vertices[report->vertex].parallelism ||
        report->state >= WEIR_TASK_STATE_COUNT_) {
        return weir_error_set(err, WEIR_INVALID, "job %s has no task %u/%u in such a state", job->id, report->vertex, report->subtask);
    }
    uint32_t index = weir_jobgraph_task_index(job->graph, report->vertex, report->subtask);
    struct weir_task_view *task = &job->exec->tasks[index];
    if (strcmp(task->tm_id, tm_id) != 0) {
        return weir_error_set(err, WEIR_STALE, "task %u/%u of job %s is not placed on TaskManager %s", report->vertex, report->subtask,
                              job->id, tm_id);
    }
    job->exec->missed[index] = 0;
    if (report->has_counters && !weir_task_state_terminal(task->state)) {
        task->counters = report->counters;
    }
    bool moved = weir_execgraph_move(job->exec, index, report->state, now.wall_ms);
    tell_coordinator(job, index, report->ended, now);
    if (!moved) {
        return WEIR_OK; /* late, or twice */
    }
    job->modified_ms = now.wall_ms;
    if (report->state == WEIR_TASK_FAILED) {
        weir__job_fail(job, report->failure_text == NULL || report->failure_text[0] == '\0' ? weir_rc_text(report->failure_rc) : report->failure_text,
             may_pass(job, report->failure_rc), index, tm_id, now);
    } else if (report->state == WEIR_TASK_CANCELED) {
        weir__job_fail(job, "the task was canceled by its TaskManager", true, index, tm_id, now);
    }
    check_progress(job, now);
    return WEIR_OK;
}

/* The task is nowhere any more, and nobody will report on it. */
static void task_lost(struct weir_job *job, uint32_t index, const char *text, struct weir_now now)
{
    if (weir_execgraph_move(job->exec, index, job->ending_tasks ? WEIR_TASK_CANCELED : WEIR_TASK_FAILED, now.wall_ms)) {
        weir__job_fail(job, text, true, index, job->exec->tasks[index].tm_id, now);
        weir__job_check_gone(job, now);
    }
}

void weir_job_reported(struct weir_job *job, const char *tm_id, bool registered, const bool *reported, struct weir_now now)
{
    if (job->exec == NULL || job->exec->attempt == 0 || weir_job_state_terminal(job->state)) {
        return;
    }
    struct weir_error err;
    (void)weir_error_set(&err, WEIR_CLOSED, "TaskManager %s no longer has the task", tm_id);
    for (uint32_t i = 0; i < job->exec->ntasks; i++) {
        const struct weir_task_view *task = &job->exec->tasks[i];
        if (job->loading || reported[i] || weir_task_state_terminal(task->state) || strcmp(task->tm_id, tm_id) != 0) {
            continue;
        }
        /* A registration is the TaskManager's whole truth, but for a deployment that is still on its way to it. */
        bool on_its_way = task->state == WEIR_TASK_DEPLOYING;
        if (job->exec->missed[i] < WEIR_JOB_MISSED_MAX) {
            job->exec->missed[i]++;
        }
        if ((registered && !on_its_way) || job->exec->missed[i] >= WEIR_JOB_MISSED_MAX) {
            task_lost(job, i, err.text, now);
        }
    }
    if (registered && job->ending_tasks && !weir_execgraph_gone(job->exec, tm_id)) { /* it came back with tasks that are to end */
        (void)weir_effects_add_order(job->env->effects, WEIR_EFFECT_CANCEL, tm_id, job->id, job->exec->attempt);
    }
}

void weir_job_tm_lost(struct weir_job *job, const char *tm_id, const char *why, struct weir_now now)
{
    if (job->exec == NULL || job->exec->attempt == 0 || weir_job_state_terminal(job->state)) {
        return;
    }
    struct weir_error err;
    (void)weir_error_set(&err, WEIR_CLOSED, "TaskManager %s was lost: %s", tm_id, why);
    for (uint32_t i = 0; i < job->exec->ntasks; i++) {
        if (strcmp(job->exec->tasks[i].tm_id, tm_id) == 0) {
            task_lost(job, i, err.text, now);
        }
    }
}

/* --- time ------------------------------------------------------------------------------------------------------------ */
/* Tasks that an earlier leader placed on TaskManagers which have not come (back) by now. */
static void reconcile_over(struct weir_job *job, struct weir_now now)
{
    job->reconcile_deadline_ms = INT64_MAX;
    uint32_t attempt = job->exec->attempt;
    for (uint32_t i = 0; attempt > 0 && i < job->exec->ntasks; i++) {
        const char *tm_id = job->exec->tasks[i].tm_id;
        if (!weir_task_state_terminal(job->exec->tasks[i].state) && !job->env->tm_registered(job->env->ctx, tm_id)) {
            struct weir_error err;
            (void)weir_error_set(&err, WEIR_CLOSED, "TaskManager %s was lost: it did not report to the restarted JobManager within heartbeat.timeout",
                                 tm_id);
            task_lost(job, i, err.text, now);
        }
    }
    if (job->state == WEIR_JOB_RECONCILING) { /* placed on too few slots: a record of another version */
        weir__job_fail(job, "the tasks of the attempt before the JobManager's restart cannot be found", true, UINT32_MAX, NULL, now);
    }
}

static void cancel_again(struct weir_job *job, struct weir_now now)
{
    if (job->cancel_deadline_ms > now.mono_ms) {
        job->cancel_repeat_ms = now.mono_ms + WEIR_JOB_CANCEL_REPEAT_MS;
        weir__job_send_cancels(job, false);
        return;
    }
    job->cancel_repeat_ms = now.mono_ms + WEIR_JOB_CANCEL_TIMEOUT_MS;
    job->cancel_deadline_ms = job->cancel_repeat_ms;
    for (uint32_t s = 0; job->exec != NULL && s < job->exec->nslots; s++) {
        const char *tm_id = weir_execgraph_tm_first(job->exec, s);
        if (tm_id != NULL && !weir_execgraph_gone(job->exec, tm_id)) {
            job->env->expel(job->env->ctx, tm_id);
        }
    }
}

void weir_job_tick(struct weir_job *job, struct weir_now now)
{
    if (job->state == WEIR_JOB_RESTARTING && job->restart_at_ms <= now.mono_ms && job->slots_deadline_ms == INT64_MAX && !job->attempt_proposed) {
        wait_for_slots(job, now);
    }
    if (job->drain_at_ms <= now.mono_ms) {
        job->drain_at_ms = INT64_MAX;
        job->drain_due = true;
    }
    if (job->slots_deadline_ms <= now.mono_ms && !job->attempt_proposed) {
        struct weir_error err;
        (void)weir_error_set(&err, WEIR_RESOURCE, "the job could not start within slot.request.timeout: %s",
                             job->waiting == NULL ? "no TaskManager answered" : job->waiting);
        weir__job_fail(job, err.text, true, UINT32_MAX, NULL, now); /* of a first attempt it is final */
    }
    if (job->reconcile_deadline_ms <= now.mono_ms && job->exec != NULL) {
        reconcile_over(job, now);
    }
    if (job->cancel_repeat_ms <= now.mono_ms) {
        cancel_again(job, now);
    }
    if (job->ckpt != NULL) {
        weir_ckpt_coordinator_tick(weir_job_ckpt_coordinator(job->ckpt), now);
    }
}

int64_t weir_job_deadline_ms(const struct weir_job *job)
{
    int64_t deadline = job->attempt_proposed ? INT64_MAX : job->slots_deadline_ms;
    bool delayed = job->state == WEIR_JOB_RESTARTING && job->slots_deadline_ms == INT64_MAX && !job->attempt_proposed;
    const int64_t others[] = {delayed ? job->restart_at_ms : INT64_MAX, job->reconcile_deadline_ms, job->cancel_repeat_ms, job->drain_at_ms};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        deadline = others[i] < deadline ? others[i] : deadline;
    }
    for (uint32_t v = 0; job->state == WEIR_JOB_CREATED && !job->splits_committed && v < job->graph->nvertices; v++) {
        const struct source *source = &job->sources[v];
        if (source->is_source && !source->done && !source->in_flight && source->retry_at_ms > 0 && source->retry_at_ms < deadline) {
            deadline = source->retry_at_ms;
        }
    }
    int64_t ckpt = job->ckpt == NULL ? INT64_MAX : weir_ckpt_coordinator_deadline_ms(weir_job_ckpt_coordinator(job->ckpt));
    return ckpt < deadline ? ckpt : deadline;
}

/* --- views ----------------------------------------------------------------------------------------------------------- */
const char *weir_job_id(const struct weir_job *job)
{
    return job->id;
}

enum weir_job_state weir_job_state(const struct weir_job *job)
{
    return job->state;
}

const struct weir_execgraph *weir_job_exec(const struct weir_job *job)
{
    return job->exec;
}

struct weir_ckpt_coordinator *weir_job_checkpoints(const struct weir_job *job)
{
    return job->ckpt == NULL ? NULL : weir_job_ckpt_coordinator(job->ckpt);
}

const struct weir_ckpt_manifest *weir_job_restore(const struct weir_job *job)
{
    return job->restore.checkpoint_id == 0 ? NULL : &job->restore;
}

void weir_job_view(struct weir_job *job, struct weir_job_view *out_view)
{
    for (uint32_t i = 0; i < job->nfailures; i++) {
        job->failure_views[i] = (struct weir_failure_view){.at_ms = job->failures[i].at_ms,
                                                           .text = job->failures[i].text,
                                                           .task_name = job->failures[i].task_name,
                                                           .tm_id = job->failures[i].tm_id};
    }
    *out_view = (struct weir_job_view){.id = job->id,
                                       .name = job->name,
                                       .state = job->state,
                                       .waiting_for = job->waiting,
                                       .start_ms = job->start_ms,
                                       .end_ms = job->end_ms,
                                       .modified_ms = job->modified_ms,
                                       .attempt = job->attempt,
                                       .restarts = job->attempt > 0 ? (job->drain_of != 0 ? job->drain_of : job->attempt) - 1 : 0,
                                       .undrained = job->undrained,
                                       .graph = job->graph,
                                       .tasks = job->exec == NULL ? NULL : job->exec->tasks,
                                       .ntasks = job->exec == NULL ? 0 : job->exec->ntasks,
                                       .failures = job->failure_views,
                                       .nfailures = job->nfailures,
                                       .checkpoints = job->ckpt == NULL ? NULL : weir_ckpt_coordinator_view(weir_job_ckpt_coordinator(job->ckpt))};
    memcpy(out_view->state_since_ms, job->since_ms, sizeof(job->since_ms));
}
