#include "jobmanager/job/job_internal.h"

#include <stdio.h>

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "jobmanager/cluster/tm_registry.h"
#include "jobmanager/job/job_drain.h"

static void on_ckpts_failed(void *ctx, const char *text, struct weir_now now)
{
    weir__job_fail(ctx, NULL, text, true, UINT32_MAX, NULL, now);
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
    weir_adaptive_init(&job->adaptive);
    job->splits_arena = weir_arena_create(0);
    if (job->graph == NULL) {
        job->cause = weir_strdup(unreadable->text);
        return job;
    }
    job->parallelism_max = meta->parallelism_max;
    job->run = meta->run;
    if (meta->parallelism_max != 0) {
        weir_jobgraph_limit_parallelism(job->graph, meta->parallelism_max);
    }
    job->restart = weir_restart_strategy_create(&job->graph->settings.restart, weir_hash_bytes(meta->id, strlen(meta->id), 0));
    weir__job_make_exec(job);
    uint32_t slots_max = weir_jobgraph_slots_at(job->graph, NULL, 0);
    job->held = weir_calloc(2 * (size_t)slots_max, sizeof(*job->held));
    job->homes = weir_calloc(slots_max, sizeof(*job->homes));
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
                                               .parallelism_max = &job->parallelism_max,
                                               .run = &job->run,
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
    for (uint32_t v = 0; job->sources != NULL && v < job->graph->nvertices; v++) {
        weir_free(job->sources[v].lister);
        weir_free(job->sources[v].error);
    }
    weir_free(job->sources);
    weir_free(job->held);
    weir__job_free_homes(job);
    weir__job_free_exec(job);
    weir_free(job->limited);
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
    job->slots_deadline_ms = now.mono_ms + (job->env->adaptive.enabled ? job->env->adaptive.wait_ms : job->env->slot_timeout_ms);
}

/* --- start ----------------------------------------------------------------------------------------------------------- */
/* The tasks of meta's attempts, all CREATED; none if a record has other slots: of another version. */
static void begin_tasks(struct weir_job *job, const struct weir_meta_job *meta)
{
    const bool *vertices = meta->drain_of == 0 ? NULL : job->drains;
    bool usable = (meta->drain_of == 0 || job->drains != NULL) && meta->nslots >= weir_execgraph_slots(job->graph, vertices);
    for (size_t i = 0; usable && i < meta->nregions; i++) {
        const struct weir_meta_region *region = &meta->regions[i];
        usable = region->region < job->exec->regions->count && region->ntms == weir_regions_slots(job->exec->regions, region->region);
    }
    if (!usable) {
        return;
    }
    weir_execgraph_begin(job->exec, meta->base_attempt, vertices, (const char *const *)meta->slot_tm_ids, meta->nslots);
    for (size_t i = 0; i < meta->nregions; i++) {
        const struct weir_meta_region *region = &meta->regions[i];
        weir_execgraph_begin_region(job->exec, region->attempt, region->region, (const char *const *)region->tm_ids);
    }
}

static void note_newest_ckpt(struct weir_job *job, const struct weir_meta_job *meta)
{
    const struct weir_meta_ckpt *newest = weir_meta_ckpt_newest(meta);
    job->newest_ckpt_id = newest == NULL ? 0 : newest->id;
    job->newest_ckpt_last = newest != NULL && newest->last;
    job->newest_parallelism_max = newest == NULL ? 0 : newest->parallelism_max;
    job->newest_run = newest == NULL ? 0 : newest->run;
}

static void take_up(struct weir_job *job, const struct weir_meta_job *meta, struct weir_now now)
{
    job->attempt = meta->attempt;
    job->drain_of = meta->drain_of;
    note_newest_ckpt(job, meta);
    job->splits_committed = meta->attempt > 0;
    if (job->exec == NULL || meta->attempt == 0) {
        return;
    }
    job->reconcile_deadline_ms = now.mono_ms + job->env->reconcile_timeout_ms;
    begin_tasks(job, meta);
    weir__job_take_parallelism(job, meta, now);
    weir__job_note_homes(job);
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
    if (!weir__job_draining(job) || job->drain_skipped || job->exec == NULL || weir_execgraph_gone(job->exec, NULL, NULL)) {
        weir__job_end_tasks(job, NULL, now);
    } else {
        weir__job_tell_draining(job, "the JobManager has restarted and waits for the TaskManagers to report their tasks");
    }
}

enum weir_job_state weir__job_state_of_end(enum weir_meta_state state)
{
    weir_assert(weir_meta_terminal(state));
    return state == WEIR_META_FINISHED ? WEIR_JOB_FINISHED : state == WEIR_META_FAILED ? WEIR_JOB_FAILED : WEIR_JOB_CANCELED;
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
}

void weir_job_start(struct weir_job *job, const struct weir_meta_job *meta, bool fresh, struct weir_now now)
{
    weir_assert(job->state == WEIR_JOB_INITIALIZING);
    switch (meta->state) {
    case WEIR_META_FAILED:
    case WEIR_META_CANCELED:
    case WEIR_META_FINISHED:
        start_ended(job, meta, weir__job_state_of_end(meta->state));
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
            weir_job_ckpt_attempt(job->ckpt, meta, NULL, false, now);
            weir_job_ckpt_sweep(job->env->effects, meta);
        }
        job->drain_of = job->exec == NULL ? 0 : meta->drain_of;
        weir__job_move(job, job->drain_of == 0 ? WEIR_JOB_RECONCILING : WEIR_JOB_RESTARTING, now);
        job->restart_at_ms = job->drain_of == 0 ? INT64_MAX : now.mono_ms;
        weir_job_set_waiting(job, "the JobManager has restarted and waits for the TaskManagers to report their tasks");
    } else {
        weir__job_move(job, WEIR_JOB_CREATED, now);
        wait_for_slots(job, now);
    }
    if (job->graph == NULL) {
        char *text = job->cause;
        job->cause = NULL;
        weir__job_fail(job, NULL, text, false, UINT32_MAX, NULL, now);
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

/* Which source is still being listed, and where: the first that has met an error, else the first. */
static void tell_listing(struct weir_job *job)
{
    const struct source *told = NULL;
    const char *name = NULL;
    for (uint32_t v = 0; job->state == WEIR_JOB_CREATED && v < job->graph->nvertices; v++) {
        const struct source *source = &job->sources[v];
        if (source->lister != NULL && !source->done && (told == NULL || (told->error == NULL && source->error != NULL))) {
            told = source;
            name = job->graph->vertices[v].name;
        }
    }
    if (told != NULL) {
        char *text = weir_strfmt("listing the splits of \"%s\" on %s%s%s", name, told->lister, told->error == NULL ? "" : ", again after: ",
                                 told->error == NULL ? "" : told->error);
        weir_job_set_waiting(job, text);
        weir_free(text);
    }
}

void weir_job_enumerate(struct weir_job *job, uint32_t vertex, const char *tm_id)
{
    weir_assert(vertex < job->graph->nvertices);
    struct source *source = &job->sources[vertex];
    weir_assert(!source->in_flight);
    source->in_flight = true;
    weir_free(source->lister);
    source->lister = weir_strdup(tm_id);
    weir_effects_add_order(job->env->effects, WEIR_EFFECT_ENUMERATE, tm_id, job->id, 0)->vertex = vertex;
    tell_listing(job);
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
        tell_listing(job);
        return;
    }
    struct weir_error err;
    (void)weir_error_set(&err, rc, "listing the splits of \"%s\" failed: %s", job->graph->vertices[vertex].name, text);
    source->tries += transport_error(rc) && rc != WEIR_REFUSED ? 0 : 1; /* REFUSED may be the source's own: a login */
    if (!weir_rc_retryable(rc) && !transport_error(rc)) {
        weir__job_fail(job, NULL, err.text, false, UINT32_MAX, NULL, now);
    } else if (source->tries >= WEIR_JOB_ENUMERATE_TRIES_MAX) {
        weir__job_fail(job, NULL, err.text, true, UINT32_MAX, NULL, now);
    } else {
        source->retry_at_ms = now.mono_ms + WEIR_JOB_ENUMERATE_RETRY_MS;
        weir_free(source->error);
        source->error = weir_strdup(text);
        tell_listing(job);
    }
}

/* --- slots and attempts ---------------------------------------------------------------------------------------------- */
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

bool weir_job_deploys(const struct weir_job *job, uint32_t task, uint32_t attempt, const char *tm_id)
{
    const struct weir_task_view *view = &job->exec->tasks[task];
    uint32_t region = job->exec->regions->of[task];
    uint64_t restored_id = job->restored_ids[region];
    return view->attempt == attempt && job->exec->runs[view->vertex] && strcmp(view->tm_id, tm_id) == 0 && !job->ending[region] &&
           !weir_task_state_terminal(view->state) && !job->unloaded[region] && (restored_id == 0 || restored_id == job->restore.checkpoint_id);
}

/* Once for each attempt of these regions and each TaskManager that has a part in it. */
static void deploy(struct weir_job *job, const bool *regions)
{
    uint32_t *told = weir_calloc(job->exec->ntasks, sizeof(*told)); /* the tasks that an order has gone out for */
    uint32_t ntold = 0;
    for (uint32_t i = 0; i < job->exec->ntasks; i++) {
        const struct weir_task_view *task = &job->exec->tasks[i];
        bool due = regions[job->exec->regions->of[i]] && task->state == WEIR_TASK_DEPLOYING && job->env->tm_registered(job->env->ctx, task->tm_id);
        for (uint32_t k = 0; due && k < ntold; k++) {
            const struct weir_task_view *other = &job->exec->tasks[told[k]];
            due = other->tm_id != task->tm_id || other->attempt != task->attempt;
        }
        if (due) {
            told[ntold++] = i;
            (void)weir_effects_add_order(job->env->effects, WEIR_EFFECT_DEPLOY, task->tm_id, job->id, task->attempt);
        }
    }
    weir_free(told);
}

/* (J5) */
static void load(struct weir_job *job, const struct weir_meta_job *meta)
{
    const struct weir_meta_ckpt *newest = weir_meta_ckpt_newest(meta);
    weir_assert(newest != NULL && newest->id == meta->restored_ckpt_id);
    if (job->loading) {
        return; /* the same: none completes while regions wait for it */
    }
    job->loading = true;
    job->load_attempt = job->attempt;
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
    if (!job->loading || attempt != job->load_attempt) {
        return;
    }
    struct weir_error err;
    if (rc != WEIR_OK) {
        (void)weir_error_set(&err, rc, "%s", text);
    } else {
        rc = weir_job_ckpt_check(job->graph, job->id, job->newest_ckpt_id, job->newest_parallelism_max, manifest, &err);
    }
    if (rc == WEIR_OK) {
        bool *loaded = job->unloaded;
        job->unloaded = weir_calloc(job->exec->regions->count, sizeof(*job->unloaded));
        job->loading = false;
        keep_restore(job, manifest);
        deploy(job, loaded);
        weir_free(loaded);
        return;
    }
    (void)weir_error_prefix(&err, "checkpoint %llu, which attempt %u starts from, cannot be read", (unsigned long long)job->newest_ckpt_id, attempt);
    weir__job_fail(job, job->unloaded, err.text, weir_rc_retryable(rc), UINT32_MAX, NULL, now);
}

void weir_job_attempt_committed(struct weir_job *job, uint32_t attempt)
{
    if (job->attempt_proposed && attempt == job->attempt + 1) {
        weir__job_clear_placed(job);
    }
}

/* The regions that meta's newest attempt begins anew begin. Returns them. */
static bool *begin_attempt(struct weir_job *job, const struct weir_meta_job *meta, struct weir_now now)
{
    bool all = meta->base_attempt == meta->attempt;
    if (all) {
        weir__job_take_parallelism(job, meta, now);
    }
    uint32_t nregions = job->exec->regions->count;
    bool *begun = weir_calloc(nregions, sizeof(*begun));
    for (uint32_t r = 0; all && r < nregions; r++) {
        begun[r] = true;
    }
    for (size_t i = 0; i < meta->nregions; i++) {
        weir_assert(meta->regions[i].region < nregions);
        begun[meta->regions[i].region] = meta->regions[i].attempt == meta->attempt;
    }
    weir_assert(weir_execgraph_gone(job->exec, begun, NULL)); /* (J1) */
    if (all) {
        weir_execgraph_begin(job->exec, meta->attempt, meta->drain_of == 0 ? NULL : job->drains, (const char *const *)meta->slot_tm_ids, meta->nslots);
    }
    for (size_t i = 0; i < meta->nregions; i++) {
        if (begun[meta->regions[i].region]) {
            weir_execgraph_begin_region(job->exec, meta->attempt, meta->regions[i].region, (const char *const *)meta->regions[i].tm_ids);
        }
    }
    return begun;
}

/* Their tasks are to be deployed, but for those that are to end again: nobody has heard of them. */
static void begin_deploying(struct weir_job *job, bool *begun, uint64_t restored_id, struct weir_now now)
{
    job->ending_tasks = true;
    for (uint32_t i = 0; i < job->exec->ntasks; i++) {
        uint32_t r = job->exec->regions->of[i];
        if (begun[r]) {
            (void)weir_execgraph_move(job->exec, i, job->redo[r] ? WEIR_TASK_CANCELED : WEIR_TASK_DEPLOYING, now.wall_ms);
        }
    }
    for (uint32_t r = 0; r < job->exec->regions->count; r++) {
        job->restored_ids[r] = begun[r] ? restored_id : job->restored_ids[r];
        begun[r] = begun[r] && !job->redo[r];
        job->ending[r] = job->ending[r] && !begun[r];
        job->unloaded[r] = begun[r] ? restored_id != 0 : job->unloaded[r];
        job->ending_tasks = job->ending_tasks && job->ending[r];
    }
}

/* Where they were to go was lost meanwhile. */
static void lose_unregistered(struct weir_job *job, struct weir_now now)
{
    char **tm_ids = weir_calloc(job->exec->ntms, sizeof(*tm_ids));
    uint32_t count = 0;
    for (uint32_t t = 0; t < job->exec->ntms; t++) {
        if (!job->env->tm_registered(job->env->ctx, job->exec->tm_ids[t])) {
            tm_ids[count++] = weir_strdup(job->exec->tm_ids[t]);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        weir_job_tm_lost(job, tm_ids[i], "it went before the job was deployed", now);
        weir_free(tm_ids[i]);
    }
    weir_free(tm_ids);
}

void weir_job_attempted(struct weir_job *job, const struct weir_meta_job *meta, struct weir_now now)
{
    weir_assert(meta->attempt > job->attempt);
    job->attempt = meta->attempt;
    job->splits_committed = true;
    job->deploy_tries = 0;
    bool *begun = begin_attempt(job, meta, now);
    job->drain_of = meta->drain_of;
    job->drain_due = false;
    weir__job_note_homes(job);
    if (job->ckpt != NULL) {
        weir_job_ckpt_attempt(job->ckpt, meta, meta->base_attempt == meta->attempt ? NULL : begun, meta->drain_of == 0, now);
        weir_job_ckpt_sweep(job->env->effects, meta);
    }
    begin_deploying(job, begun, meta->restored_ckpt_id, now);
    weir__job_clear_placed(job);
    weir__job_stop_waiting(job);
    if (weir__job_draining(job)) {
        weir__job_tell_draining(job, NULL);
    } else if (!weir__job_any(job, job->ending)) {
        job->restart_at_ms = INT64_MAX;
        weir__job_move(job, WEIR_JOB_RUNNING, now);
    }
    if (weir_execgraph_gone(job->exec, job->ending, NULL)) {
        job->cancel_repeat_ms = INT64_MAX;
        job->cancel_deadline_ms = INT64_MAX;
    }
    if (meta->restored_ckpt_id == 0) {
        deploy(job, begun);
    } else if (weir__job_any(job, job->unloaded)) {
        load(job, meta);
    }
    weir_free(begun);
    if (job->end_proposed) { /* in the attempt before: it does not count */
        job->end_proposed = false;
        weir__job_record_failing(job);
    }
    lose_unregistered(job, now);
    weir__job_check_gone(job, now);
}

void weir_job_deployed(struct weir_job *job, uint32_t attempt, const char *tm_id, enum weir_rc rc, const char *text, struct weir_now now)
{
    if (rc == WEIR_OK || job->exec == NULL || weir_job_state_terminal(job->state) || !job->env->tm_registered(job->env->ctx, tm_id)) {
        return;
    }
    bool *regions = weir_calloc(job->exec->regions->count, sizeof(*regions));
    for (uint32_t i = 0; i < job->exec->ntasks; i++) {
        if (weir_job_deploys(job, i, attempt, tm_id)) {
            regions[job->exec->regions->of[i]] = true;
        }
    }
    if (weir__job_any(job, regions)) {
        struct weir_error err;
        (void)weir_error_set(&err, rc, "TaskManager %s could not take the tasks of attempt %u: %s", tm_id, attempt, text);
        if (transport_error(rc) && ++job->deploy_tries < WEIR_JOB_DEPLOY_TRIES_MAX) {
            /* It may have them or not; the order is idempotent. */
            (void)weir_effects_add_order(job->env->effects, WEIR_EFFECT_DEPLOY, tm_id, job->id, attempt);
        } else {
            weir__job_fail(job, regions, err.text, weir_rc_retryable(rc), UINT32_MAX, tm_id, now);
        }
    }
    weir_free(regions);
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
        note_newest_ckpt(job, meta);
        weir_ckpt_coordinator_completed(coord, id, now);
    } else {
        weir_ckpt_coordinator_aborted(coord, id, now);
    }
    weir_log(job->log, WEIR_LOG_INFO, change == WEIR_META_CKPT_COMPLETED ? "checkpoint_completed" : "checkpoint_aborted", "checkpoint",
             WEIR_LOG_INT(id), "attempt", WEIR_LOG_INT(job->attempt), NULL);
    weir_job_ckpt_sweep(job->env->effects, meta);
    if (job->newest_ckpt_last) {
        weir__job_take_all_along(job, now);
    } else if (change == WEIR_META_CKPT_COMPLETED) {
        weir__job_grow(job, now);
    }
}

enum weir_rc weir_job_ckpt_ack(struct weir_job *job, const char *tm_id, uint32_t attempt, uint64_t id, const struct weir_ckpt_handle *handle,
                               bool ended, const char *declined, struct weir_now now, struct weir_error *err)
{
    if (job->ckpt == NULL) {
        return weir_error_set(err, WEIR_STALE, "job %s takes no checkpoints", job->id);
    }
    if (handle->vertex >= job->graph->nvertices || handle->subtask >= job->graph->vertices[handle->vertex].submitted_parallelism) {
        return weir_error_set(err, WEIR_INVALID, "job %s has no task %u/%u", job->id, handle->vertex, handle->subtask);
    }
    bool there = handle->subtask < job->graph->vertices[handle->vertex].parallelism;
    uint32_t index = there ? weir_jobgraph_task_index(job->graph, handle->vertex, handle->subtask) : 0;
    const struct weir_task_view *task = &job->exec->tasks[index];
    if (!there || task->attempt != attempt || job->exec->attempt == 0) {
        return weir_error_set(err, WEIR_STALE, "attempt %u of task %u/%u of job %s takes no checkpoint", attempt, handle->vertex, handle->subtask, job->id);
    }
    if (strcmp(task->tm_id, tm_id) != 0) {
        return weir_error_set(err, WEIR_STALE, "task %u/%u of job %s is not placed on TaskManager %s", handle->vertex, handle->subtask, job->id, tm_id);
    }
    struct weir_ckpt_coordinator *coord = weir_job_ckpt_coordinator(job->ckpt);
    if (declined != NULL) {
        weir_ckpt_coordinator_decline(coord, job->attempt, id, declined, now);
        return WEIR_OK;
    }
    return weir_ckpt_coordinator_ack(coord, job->attempt, id, index, handle, ended, now, err); /* (K6) */
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

/* Its region fails. */
static void fail_task(struct weir_job *job, uint32_t index, const char *text, bool retryable, struct weir_now now)
{
    bool *regions = weir_calloc(job->exec->regions->count, sizeof(*regions));
    regions[job->exec->regions->of[index]] = true;
    weir__job_fail(job, regions, text, retryable, index, job->exec->tasks[index].tm_id, now);
    weir_free(regions);
}

enum weir_rc weir_job_report(struct weir_job *job, const char *tm_id, const struct weir_task_report *report, struct weir_now now,
                             struct weir_error *err)
{
    if (job->exec == NULL || job->exec->attempt == 0 || weir_job_state_terminal(job->state)) {
        return weir_error_set(err, WEIR_STALE, "attempt %u of job %s is not the present one", report->attempt, job->id);
    }
    if (report->vertex >= job->graph->nvertices || report->subtask >= job->graph->vertices[report->vertex].submitted_parallelism ||
        report->state >= WEIR_TASK_STATE_COUNT_) {
        return weir_error_set(err, WEIR_INVALID, "job %s has no task %u/%u in such a state", job->id, report->vertex, report->subtask);
    }
    bool there = report->subtask < job->graph->vertices[report->vertex].parallelism; /* else of a greater parallelism, before */
    uint32_t index = there ? weir_jobgraph_task_index(job->graph, report->vertex, report->subtask) : 0;
    struct weir_task_view *task = &job->exec->tasks[index];
    if (!there || task->attempt != report->attempt) { /* (J4) */
        return weir_error_set(err, WEIR_STALE, "attempt %u of task %u/%u of job %s is not the present one", report->attempt, report->vertex,
                              report->subtask, job->id);
    }
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
        const char *text = report->failure_text == NULL || report->failure_text[0] == '\0' ? weir_rc_text(report->failure_rc) : report->failure_text;
        fail_task(job, index, text, may_pass(job, report->failure_rc), now);
    } else if (report->state == WEIR_TASK_CANCELED) {
        fail_task(job, index, "the task was canceled by its TaskManager", true, now);
    }
    check_progress(job, now);
    return WEIR_OK;
}

/* Tasks that are nowhere any more, and that nobody will report on: lose one after the other, then fail their regions at once, so that one cause
 * is one failure to the restart strategy. */
struct lost {
    bool *regions;
    uint32_t first; /* UINT32_MAX: none */
};

static void lose_task(struct weir_job *job, uint32_t index, struct lost *lost, struct weir_now now)
{
    uint32_t region = job->exec->regions->of[index];
    if (lost->regions == NULL) {
        lost->regions = weir_calloc(job->exec->regions->count, sizeof(*lost->regions));
    }
    if (weir_execgraph_move(job->exec, index, job->ending[region] ? WEIR_TASK_CANCELED : WEIR_TASK_FAILED, now.wall_ms)) {
        lost->first = lost->first == UINT32_MAX || job->ending[job->exec->regions->of[lost->first]] ? index : lost->first;
        lost->regions[region] = true;
    }
}

static void fail_lost(struct weir_job *job, struct lost *lost, const char *text, struct weir_now now)
{
    if (lost->first != UINT32_MAX) {
        weir__job_fail(job, lost->regions, text, true, lost->first, job->exec->tasks[lost->first].tm_id, now);
        weir__job_check_gone(job, now);
    }
    weir_free(lost->regions);
}

void weir_job_reported(struct weir_job *job, const char *tm_id, bool registered, const bool *reported, struct weir_now now)
{
    if (job->exec == NULL || job->exec->attempt == 0 || weir_job_state_terminal(job->state)) {
        return;
    }
    struct weir_error err;
    (void)weir_error_set(&err, WEIR_CLOSED, "TaskManager %s no longer has the task", tm_id);
    struct lost lost = {.first = UINT32_MAX};
    for (uint32_t i = 0; i < job->exec->ntasks; i++) {
        const struct weir_task_view *task = &job->exec->tasks[i];
        if (job->unloaded[job->exec->regions->of[i]] || reported[i] || weir_task_state_terminal(task->state) || strcmp(task->tm_id, tm_id) != 0) {
            continue;
        }
        /* A registration is the TaskManager's whole truth, but for a deployment that is still on its way to it. */
        bool on_its_way = task->state == WEIR_TASK_DEPLOYING;
        if (job->exec->missed[i] < WEIR_JOB_MISSED_MAX) {
            job->exec->missed[i]++;
        }
        if ((registered && !on_its_way) || job->exec->missed[i] >= WEIR_JOB_MISSED_MAX) {
            lose_task(job, i, &lost, now);
        }
    }
    fail_lost(job, &lost, err.text, now);
    if (registered && !weir_execgraph_gone(job->exec, job->ending, tm_id)) { /* it came back with tasks that are to end */
        weir__job_send_cancels(job, tm_id, false);
    }
    if (registered) {
        weir__job_note_homes(job);
    }
}

void weir_job_tm_lost(struct weir_job *job, const char *tm_id, const char *why, struct weir_now now)
{
    if (job->exec == NULL || job->exec->attempt == 0 || weir_job_state_terminal(job->state)) {
        return;
    }
    struct weir_error err;
    (void)weir_error_set(&err, WEIR_CLOSED, "TaskManager %s was lost: %s", tm_id, why);
    struct lost lost = {.first = UINT32_MAX};
    for (uint32_t i = 0; i < job->exec->ntasks; i++) {
        if (!weir_task_state_terminal(job->exec->tasks[i].state) && strcmp(job->exec->tasks[i].tm_id, tm_id) == 0) {
            lose_task(job, i, &lost, now);
        }
    }
    fail_lost(job, &lost, err.text, now);
}

/* --- time ------------------------------------------------------------------------------------------------------------ */
void weir_job_was_away(struct weir_job *job, const struct weir_tm_registry *tms, int64_t away_ms, struct weir_now now)
{
    job->reconcile_deadline_ms = weir_tm_registry_put_off(tms, job->reconcile_deadline_ms, away_ms, now.mono_ms);
}

/* Tasks that an earlier leader placed on TaskManagers which have not come (back) by now. */
static void reconcile_over(struct weir_job *job, struct weir_now now)
{
    job->reconcile_deadline_ms = INT64_MAX;
    struct weir_error err = {.text = ""};
    struct lost lost = {.first = UINT32_MAX};
    for (uint32_t i = 0; job->exec->attempt > 0 && i < job->exec->ntasks; i++) {
        const char *tm_id = job->exec->tasks[i].tm_id;
        if (!weir_task_state_terminal(job->exec->tasks[i].state) && !job->env->tm_registered(job->env->ctx, tm_id)) {
            lose_task(job, i, &lost, now);
        }
    }
    if (lost.first != UINT32_MAX) {
        (void)weir_error_set(&err, WEIR_CLOSED, "TaskManager %s was lost: it did not report to the restarted JobManager within heartbeat.timeout",
                             job->exec->tasks[lost.first].tm_id);
    }
    fail_lost(job, &lost, err.text, now);
    if (job->state == WEIR_JOB_RECONCILING) { /* placed on too few slots: a record of another version */
        weir__job_fail(job, NULL, "the tasks of the attempt before the JobManager's restart cannot be found", true, UINT32_MAX, NULL, now);
    }
    weir__job_check_gone(job, now);
}

static void cancel_again(struct weir_job *job, struct weir_now now)
{
    if (job->cancel_deadline_ms > now.mono_ms) {
        job->cancel_repeat_ms = now.mono_ms + WEIR_JOB_CANCEL_REPEAT_MS;
        weir__job_send_cancels(job, NULL, false);
        return;
    }
    job->cancel_repeat_ms = now.mono_ms + WEIR_JOB_CANCEL_TIMEOUT_MS;
    job->cancel_deadline_ms = job->cancel_repeat_ms;
    for (uint32_t t = 0; job->exec != NULL && t < job->exec->ntms; t++) {
        if (!weir_execgraph_gone(job->exec, job->ending, job->exec->tm_ids[t])) {
            job->env->expel(job->env->ctx, job->exec->tm_ids[t]);
        }
    }
}

/* It is to look for slots, from restart_at_ms on. */
static bool delayed(const struct weir_job *job)
{
    return job->state == WEIR_JOB_RESTARTING && job->slots_deadline_ms == INT64_MAX && !job->attempt_proposed && !weir__job_draining(job) &&
           job->drain_at_ms == INT64_MAX && weir_execgraph_gone(job->exec, job->ending, NULL);
}

void weir_job_tick(struct weir_job *job, struct weir_now now)
{
    if (delayed(job) && job->restart_at_ms <= now.mono_ms) {
        wait_for_slots(job, now);
    }
    if (job->drain_at_ms <= now.mono_ms) {
        job->drain_at_ms = INT64_MAX;
        job->drain_due = true;
    }
    weir_adaptive_tick(&job->adaptive, now.mono_ms);
    bool over = job->slots_deadline_ms <= now.mono_ms && !job->attempt_proposed;
    if (over && weir_adaptive_hurries(&job->adaptive)) {
        wait_for_slots(job, now);
    } else if (over) {
        struct weir_error err;
        (void)weir_error_set(&err, WEIR_RESOURCE, "the job could not start within %s: %s",
                             job->env->adaptive.enabled ? "jobmanager.adaptive-scheduler.resource-wait-timeout" : "slot.request.timeout",
                             job->waiting == NULL ? "no TaskManager answered" : job->waiting);
        if (job->state == WEIR_JOB_RESTARTING) {
            weir__job_fail_again(job, err.text, now);
        } else {
            weir__job_fail(job, NULL, err.text, false, UINT32_MAX, NULL, now);
        }
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
    const int64_t others[] = {delayed(job) ? job->restart_at_ms : INT64_MAX, job->reconcile_deadline_ms, job->cancel_repeat_ms, job->drain_at_ms,
                              weir_adaptive_deadline_ms(&job->adaptive)};
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

const struct weir_ckpt_manifest *weir_job_restore(const struct weir_job *job, uint32_t attempt)
{
    for (uint32_t i = 0; i < job->exec->ntasks; i++) {
        if (job->exec->tasks[i].attempt == attempt) {
            uint64_t restored_id = job->restored_ids[job->exec->regions->of[i]];
            weir_assert(restored_id == 0 || restored_id == job->restore.checkpoint_id); /* weir_job_deploys */
            return restored_id == 0 ? NULL : &job->restore;
        }
    }
    return NULL;
}

/* Why nothing, or less, runs; NULL: no reason is known, or needed. */
static const char *waiting_for(struct weir_job *job, struct weir_now now)
{
    if (job->waiting == NULL && delayed(job) && job->restart_at_ms > now.mono_ms) {
        (void)snprintf(job->delay_text, sizeof(job->delay_text), "restarts in %lld s, after failure %llu",
                       (long long)(job->restart_at_ms - now.mono_ms + 999) / 1000, (unsigned long long)weir_restart_strategy_failures(job->restart));
        return job->delay_text;
    }
    return job->waiting == NULL && job->state == WEIR_JOB_RUNNING ? job->limited : job->waiting;
}

static uint32_t restarts(uint32_t attempt, uint32_t drain_of)
{
    return attempt > 0 ? (drain_of != 0 ? drain_of : attempt) - 1 : 0;
}

void weir_job_view(struct weir_job *job, struct weir_now now, struct weir_job_view *out_view)
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
                                       .waiting_for = waiting_for(job, now),
                                       .start_ms = job->start_ms,
                                       .end_ms = job->end_ms,
                                       .modified_ms = job->modified_ms,
                                       .attempt = job->attempt,
                                       .restarts = restarts(job->attempt, job->drain_of),
                                       .undrained = job->undrained,
                                       .graph = job->graph,
                                       .tasks = job->exec == NULL ? NULL : job->exec->tasks,
                                       .ntasks = job->exec == NULL ? 0 : job->exec->ntasks,
                                       .failures = job->failure_views,
                                       .nfailures = job->nfailures,
                                       .checkpoints = job->ckpt == NULL ? NULL : weir_ckpt_coordinator_view(weir_job_ckpt_coordinator(job->ckpt))};
    memcpy(out_view->state_since_ms, job->since_ms, sizeof(job->since_ms));
}

void weir_job_view_ended(const struct weir_meta_job *meta, struct weir_job_view *out_view)
{
    enum weir_job_state state = weir__job_state_of_end(meta->state);
    *out_view = (struct weir_job_view){.id = meta->id,
                                       .name = meta->name,
                                       .state = state,
                                       .start_ms = meta->submitted_ms,
                                       .end_ms = meta->state_ms,
                                       .modified_ms = meta->state_ms,
                                       .undrained = state == WEIR_JOB_CANCELED && meta->text[0] != '\0' ? meta->text : NULL,
                                       .attempt = meta->attempt,
                                       .restarts = restarts(meta->attempt, meta->drain_of)};
    out_view->state_since_ms[WEIR_JOB_INITIALIZING] = meta->submitted_ms;
    out_view->state_since_ms[state] = meta->state_ms;
}
