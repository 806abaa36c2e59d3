#include "jobmanager/job/job_ckpt.h"

#include "common/base/mem.h"

struct weir_job_ckpt {
    struct weir_job_ckpt_env env;
    char *job_id;
    const struct weir_execgraph *exec;
    struct weir_ckpt_coordinator *coord;
};

/* --- effects ---------------------------------------------------------------------------------------------------------- */
static void propose(struct weir_job_ckpt *ckpt, const struct weir_ckpt_effect *effect)
{
    struct weir_ha_record record = {.job_id = ckpt->job_id};
    if (effect->kind == WEIR_CKPT_PROPOSE_BEGIN) {
        record.kind = WEIR_HA_CKPT_BEGIN;
        record.u.ckpt_begin.attempt = effect->attempt;
        record.u.ckpt_begin.id = effect->id;
    } else if (effect->kind == WEIR_CKPT_PROPOSE_ABORT) {
        record.kind = WEIR_HA_CKPT_ABORT;
        record.u.ckpt_abort.attempt = effect->attempt;
        record.u.ckpt_abort.id = effect->id;
        record.u.ckpt_abort.text = effect->text;
    } else {
        record.kind = WEIR_HA_CKPT_COMPLETE;
        record.u.ckpt_complete.attempt = effect->attempt;
        record.u.ckpt_complete.id = effect->id;
        record.u.ckpt_complete.path = effect->path;
        record.u.ckpt_complete.bytes = effect->bytes;
        record.u.ckpt_complete.hash = effect->hash;
        record.u.ckpt_complete.last = effect->last;
        record.u.ckpt_complete.state_bytes = effect->state_bytes;
        record.u.ckpt_complete.began_ms = effect->began_ms;
        record.u.ckpt_complete.retained_max = ckpt->env.retained_max;
        record.u.ckpt_complete.parallelism_max = *ckpt->env.parallelism_max;
        record.u.ckpt_complete.run = *ckpt->env.run;
    }
    ckpt->env.propose(ckpt->env.ctx, &record);
}

static void order_tms(struct weir_job_ckpt *ckpt, enum weir_effect_kind kind, const struct weir_ckpt_effect *effect)
{
    for (uint32_t t = 0; t < ckpt->exec->ntms; t++) {
        const char *tm_id = ckpt->exec->tm_ids[t];
        if (ckpt->env.tm_registered(ckpt->env.ctx, tm_id)) {
            struct weir_effect *order = weir_effects_add_order(ckpt->env.effects, kind, tm_id, ckpt->job_id, effect->attempt);
            order->checkpoint_id = effect->id;
            order->completed = effect->completed;
            order->last = effect->last;
        }
    }
}

static struct weir_effect *disk(struct weir_effects *effects, enum weir_effect_kind kind, const char *job_id, uint32_t attempt, uint64_t id)
{
    struct weir_effect *effect = weir_effects_add_order(effects, kind, "", job_id, attempt);
    effect->checkpoint_id = id;
    return effect;
}

static void store(struct weir_job_ckpt *ckpt, const struct weir_ckpt_effect *effect)
{
    const struct weir_jobgraph *graph = ckpt->exec->graph;
    const char **vertex_ids = weir_calloc(graph->nvertices, sizeof(*vertex_ids));
    for (uint32_t v = 0; v < graph->nvertices; v++) {
        vertex_ids[v] = graph->vertices[v].id;
    }
    const struct weir_ckpt_manifest manifest = {.job_id = ckpt->job_id,
                                                .checkpoint_id = effect->id,
                                                .attempt = effect->attempt,
                                                .at_ms = effect->began_ms,
                                                .handles = effect->handles,
                                                .nhandles = effect->nhandles,
                                                .vertex_ids = vertex_ids,
                                                .nvertices = graph->nvertices};
    weir_ckpt_encode(&manifest, &disk(ckpt->env.effects, WEIR_EFFECT_CKPT_STORE, ckpt->job_id, effect->attempt, effect->id)->bytes);
    weir_free(vertex_ids);
}

static void on_effect(void *ctx, const struct weir_ckpt_effect *effect)
{
    struct weir_job_ckpt *ckpt = ctx;
    switch (effect->kind) {
    case WEIR_CKPT_PROPOSE_BEGIN:
    case WEIR_CKPT_PROPOSE_COMPLETE:
    case WEIR_CKPT_PROPOSE_ABORT:
        propose(ckpt, effect);
        break;
    case WEIR_CKPT_PREPARE:
        (void)disk(ckpt->env.effects, WEIR_EFFECT_CKPT_PREPARE, ckpt->job_id, effect->attempt, effect->id);
        break;
    case WEIR_CKPT_TRIGGER:
        order_tms(ckpt, WEIR_EFFECT_TRIGGER, effect);
        break;
    case WEIR_CKPT_STORE:
        store(ckpt, effect);
        break;
    case WEIR_CKPT_NOTIFY:
        order_tms(ckpt, WEIR_EFFECT_NOTIFY, effect);
        break;
    case WEIR_CKPT_FAIL:
        ckpt->env.fail(ckpt->env.job, effect->text, effect->now);
        break;
    }
}

/* --- life ------------------------------------------------------------------------------------------------------------- */
/* By task; the caller frees it. */
static bool *sources_copy(const struct weir_execgraph *exec)
{
    bool *is_source = weir_calloc(exec->ntasks, sizeof(*is_source));
    for (uint32_t i = 0; i < exec->ntasks; i++) {
        const struct weir_vertex *vertex = &exec->graph->vertices[exec->tasks[i].vertex];
        is_source[i] = vertex->nops > 0 && vertex->ops[0]->tag == WEIR_OP_SOURCE;
    }
    return is_source;
}

struct weir_job_ckpt *weir_job_ckpt_create(const struct weir_job_ckpt_env *env, const char *job_id, const struct weir_execgraph *exec)
{
    const struct weir_job_settings *from = &exec->graph->settings;
    if (from->checkpoint_interval_ms == 0) {
        return NULL;
    }
    struct weir_job_ckpt *ckpt = weir_calloc(1, sizeof(*ckpt));
    ckpt->env = *env;
    ckpt->job_id = weir_strdup(job_id);
    ckpt->exec = exec;
    bool *is_source = sources_copy(exec);
    const struct weir_ckpt_settings settings = {.interval_ms = from->checkpoint_interval_ms,
                                                .timeout_ms = from->checkpoint_timeout_ms,
                                                .min_pause_ms = from->checkpoint_min_pause_ms,
                                                .failures_max = from->checkpoint_failures_max,
                                                .retained_max = env->retained_max};
    ckpt->coord = weir_ckpt_coordinator_create(&settings, exec->ntasks, is_source, on_effect, ckpt);
    weir_free(is_source);
    return ckpt;
}

void weir_job_ckpt_destroy(struct weir_job_ckpt *ckpt)
{
    if (ckpt != NULL) {
        weir_ckpt_coordinator_destroy(ckpt->coord);
        weir_free(ckpt->job_id);
        weir_free(ckpt);
    }
}

void weir_job_ckpt_resize(struct weir_job_ckpt *ckpt, const struct weir_execgraph *exec, struct weir_now now)
{
    bool *is_source = sources_copy(exec);
    ckpt->exec = exec;
    weir_ckpt_coordinator_resize(ckpt->coord, exec->ntasks, is_source, now);
    weir_free(is_source);
}

struct weir_ckpt_coordinator *weir_job_ckpt_coordinator(const struct weir_job_ckpt *ckpt)
{
    return ckpt->coord;
}

static uint32_t oldest_attempt(const struct weir_execgraph *exec)
{
    uint32_t oldest = UINT32_MAX;
    for (uint32_t i = 0; i < exec->ntasks; i++) {
        oldest = exec->tasks[i].attempt < oldest ? exec->tasks[i].attempt : oldest;
    }
    return oldest;
}

void weir_job_ckpt_attempt(struct weir_job_ckpt *ckpt, const struct weir_meta_job *meta, const bool *begun, bool fresh, struct weir_now now)
{
    struct weir_ckpt_log log = {.last_id = meta->last_ckpt_id, .pending_id = meta->pending_ckpt_id, .oldest_attempt = oldest_attempt(ckpt->exec)};
    bool *tasks = begun == NULL ? NULL : weir_calloc(ckpt->exec->ntasks, sizeof(*tasks));
    for (uint32_t i = 0; begun != NULL && i < ckpt->exec->ntasks; i++) {
        tasks[i] = begun[ckpt->exec->regions->of[i]];
    }
    const struct weir_meta_ckpt *newest = weir_meta_ckpt_newest(meta);
    if (newest != NULL) {
        log.completed_id = newest->id;
        log.completed_attempt = newest->attempt;
        log.completed_last = newest->last;
        log.completed_path = newest->path;
        log.completed_state_bytes = newest->state_bytes;
        log.completed_began_ms = newest->began_ms;
        log.completed_ms = newest->completed_ms;
    }
    weir_ckpt_coordinator_attempt(ckpt->coord, meta->attempt, tasks, &log, now);
    weir_free(tasks);
    if (fresh && meta->restored_ckpt_id != 0) {
        weir_ckpt_coordinator_restored(ckpt->coord, now);
    }
}

void weir_job_ckpt_sweep(struct weir_effects *effects, const struct weir_meta_job *meta)
{
    if (meta->last_ckpt_id == 0 && !weir_meta_terminal(meta->state)) {
        return; /* at its end a job without checkpoints may have left files of its sinks, too */
    }
    struct weir_effect *effect = disk(effects, WEIR_EFFECT_CKPT_SWEEP, meta->id, meta->attempt, 0);
    bool kept = meta->state != WEIR_META_FINISHED && (meta->state != WEIR_META_CANCELED || meta->text[0] != '\0');
    for (size_t i = 0; kept && i < meta->nckpts; i++) {
        weir_buf_put_u64(&effect->bytes, meta->ckpts[i].id);
    }
    effect->below = weir_meta_terminal(meta->state) ? UINT64_MAX : meta->pending_ckpt_id != 0 ? meta->pending_ckpt_id : meta->last_ckpt_id + 1;
}

enum weir_rc weir_job_ckpt_check(const struct weir_jobgraph *graph, const char *job_id, uint64_t checkpoint_id, uint32_t parallelism_max,
                                 const struct weir_ckpt_manifest *manifest, struct weir_error *err)
{
    bool fits = strcmp(manifest->job_id, job_id) == 0 && manifest->checkpoint_id == checkpoint_id && manifest->nvertices == graph->nvertices;
    uint32_t at = 0;
    for (uint32_t v = 0; v < graph->nvertices; v++) {
        uint32_t subtasks = weir_jobgraph_parallelism_at(graph, v, parallelism_max);
        for (uint32_t s = 0; fits && s < subtasks; s++) {
            fits = at + s < manifest->nhandles && manifest->handles[at + s].vertex == v && manifest->handles[at + s].subtask == s;
        }
        at += subtasks;
        fits = fits && strcmp(manifest->vertex_ids[v], graph->vertices[v].id) == 0;
    }
    return fits && at == manifest->nhandles
               ? WEIR_OK
               : weir_error_set(err, WEIR_CORRUPT, "the manifest is of checkpoint %llu of job %s with %u tasks, not of checkpoint %llu of job %s with %u",
                                (unsigned long long)manifest->checkpoint_id, manifest->job_id, manifest->nhandles, (unsigned long long)checkpoint_id,
                                job_id, at);
}
