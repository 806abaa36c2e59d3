/* A job's parallelism: what it begins with, the drain between two, and growing again. */
#include "jobmanager/job/job_internal.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "jobmanager/job/job_drain.h"

static uint32_t slots_asked_for(const struct weir_job *job)
{
    return weir_jobgraph_slots_at(job->graph, NULL, 0);
}

/* --- what was derived from it ------------------------------------------------------------------------------------------ */
void weir__job_make_exec(struct weir_job *job)
{
    job->exec = weir_execgraph_create(job->graph);
    uint32_t nregions = job->exec->regions->count;
    job->ending = weir_calloc(nregions, sizeof(*job->ending));
    job->proposed = weir_calloc(nregions, sizeof(*job->proposed));
    job->redo = weir_calloc(nregions, sizeof(*job->redo));
    job->unloaded = weir_calloc(nregions, sizeof(*job->unloaded));
    job->restored_ids = weir_calloc(nregions, sizeof(*job->restored_ids));
}

void weir__job_free_exec(struct weir_job *job)
{
    weir_free(job->restored_ids);
    weir_free(job->unloaded);
    weir_free(job->redo);
    weir_free(job->proposed);
    weir_free(job->ending);
    weir_execgraph_destroy(job->exec);
    job->exec = NULL;
}

static void tell_limit(struct weir_job *job)
{
    uint32_t asked = slots_asked_for(job);
    uint32_t has = weir_jobgraph_slots(job->graph);
    weir_free(job->limited);
    job->limited = has == asked ? NULL
                                : weir_strfmt("runs with parallelism %u of %u: %u slot%s missing", has, asked, asked - has, asked - has == 1 ? " is" : "s are");
}

/* Nothing of the job lives, and another parallelism begins: regions have other numbers, tasks others still. */
static void remake(struct weir_job *job, struct weir_now now)
{
    weir_assert(weir_execgraph_gone(job->exec, NULL, NULL));
    weir_assert(!weir__job_any(job, job->redo)); /* all regions ended before it was proposed, so that none has failed since */
    weir__job_free_exec(job);
    weir_jobgraph_limit_parallelism(job->graph, job->parallelism_max);
    weir__job_make_exec(job);
    job->loading = false;
    if (job->ckpt != NULL) {
        weir_job_ckpt_resize(job->ckpt, job->exec, now);
    }
}

void weir__job_take_parallelism(struct weir_job *job, const struct weir_meta_job *meta, struct weir_now now)
{
    bool changed = job->parallelism_max != meta->parallelism_max;
    job->parallelism_max = meta->parallelism_max;
    job->run = meta->run;
    if (changed) {
        uint32_t had = weir_jobgraph_slots(job->graph);
        remake(job, now);
        weir_log(job->log, WEIR_LOG_INFO, "job_rescaled", "from", WEIR_LOG_INT(had), "to", WEIR_LOG_INT(weir_jobgraph_slots(job->graph)), "attempt",
                 WEIR_LOG_INT(meta->attempt), NULL);
    }
    tell_limit(job);
    if (meta->drain_of == 0) {
        job->ran_slots = weir_jobgraph_slots(job->graph);
        job->adaptive.began_ms = changed || job->adaptive.began_ms == 0 ? now.mono_ms : job->adaptive.began_ms;
        weir_adaptive_reset(&job->adaptive);
    }
}

/* --- too few slots ----------------------------------------------------------------------------------------------------- */
bool weir_job_settles_for(struct weir_job *job, uint32_t available, struct weir_now now)
{
    const struct weir_adaptive_settings *settings = &job->env->adaptive;
    if (job->drain_due) {
        return available > 0;
    }
    if (weir__job_begins_all(job)) {
        return weir_adaptive_takes(&job->adaptive, settings, available, job->ran_slots, now.mono_ms);
    }
    if (job->ckpt != NULL) { /* without checkpoints regions that do well would begin from the start */
        const char *const *held = NULL;
        uint32_t reach = available + weir_job_held_slots(job, &held);
        if (weir_adaptive_takes(&job->adaptive, settings, reach, 0, now.mono_ms)) {
            weir__job_take_all_along(job, now);
        }
    }
    return false;
}

void weir__job_choose_parallelism(const struct weir_job *job, uint32_t slots, uint32_t *out_max, uint32_t *out_run)
{
    uint32_t next = job->attempt + 1;
    *out_max = slots >= slots_asked_for(job) ? 0 : slots;
    if (job->attempt == 0) {
        *out_run = 0;
    } else if (job->newest_ckpt_id != 0) { /* what it restores; of the same parallelism, it goes on with its names */
        *out_run = *out_max == job->newest_parallelism_max ? job->newest_run : next;
    } else {
        *out_run = *out_max == job->parallelism_max ? job->run : next;
    }
}

/* --- the drain between two runs (J9) ------------------------------------------------------------------------------------ */
bool weir_job_drains_first(struct weir_job *job, uint32_t slots)
{
    if (job->drain_due || !weir__job_begins_all(job)) {
        return false;
    }
    uint32_t parallelism_max = 0;
    uint32_t run = 0;
    weir__job_choose_parallelism(job, slots, &parallelism_max, &run);
    bool drains = job->drains != NULL && job->newest_ckpt_id != 0 && run != job->newest_run && job->drained_ckpt_id != job->newest_ckpt_id;
    if (drains) {
        weir_free(job->drain_error);
        job->drain_error = NULL;
        job->drain_pause_ms = 0;
        job->drain_due = true;
    }
    return drains;
}

uint32_t weir_job_drain_slots(const struct weir_job *job)
{
    return weir_jobgraph_slots_at(job->graph, job->drains, job->newest_parallelism_max);
}

bool weir_job_drains_now(const struct weir_job *job)
{
    return job->drain_due;
}

bool weir__job_drains_between(const struct weir_job *job)
{
    return job->state == WEIR_JOB_RESTARTING && job->drain_of != 0;
}

/* --- growing ------------------------------------------------------------------------------------------------------------ */
uint32_t weir_job_offer(struct weir_job *job, uint32_t spare, struct weir_now now)
{
    uint32_t usable = 0;
    if (job->state == WEIR_JOB_RUNNING && job->env->adaptive.enabled) {
        uint32_t missing = slots_asked_for(job) - weir_jobgraph_slots(job->graph);
        usable = spare < missing ? spare : missing;
    }
    weir_adaptive_offer(&job->adaptive, &job->env->adaptive, usable, now.mono_ms);
    return usable;
}

void weir__job_grow(struct weir_job *job, struct weir_now now)
{
    bool grows = job->state == WEIR_JOB_RUNNING && !job->end_proposed;
    if (!grows || !weir_adaptive_grows(&job->adaptive, &job->env->adaptive, now.mono_ms)) {
        return;
    }
    uint32_t has = weir_jobgraph_slots(job->graph);
    weir_free(job->cause);
    job->cause = weir_strfmt("the job is rescaled from parallelism %u to %u", has, has + job->adaptive.spare);
    job->cause_restarts = true;
    job->growing = true;
    job->restart_at_ms = now.mono_ms;
    weir_log(job->log, WEIR_LOG_INFO, "job_rescales", "from", WEIR_LOG_INT(has), "to", WEIR_LOG_INT(has + job->adaptive.spare), "checkpoint",
             WEIR_LOG_INT(job->newest_ckpt_id), NULL);
    weir_adaptive_offer(&job->adaptive, &job->env->adaptive, 0, now.mono_ms);
    weir__job_move(job, WEIR_JOB_RESTARTING, now);
    weir__job_end_tasks(job, NULL, now);
}

/* --- where slots were --------------------------------------------------------------------------------------------------- */
void weir__job_note_homes(struct weir_job *job)
{
    for (uint32_t i = 0; job->drain_of == 0 && job->exec->attempt > 0 && i < job->exec->ntasks; i++) {
        const char *tm_id = job->exec->tasks[i].tm_id;
        struct home *home = &job->homes[job->exec->tasks[i].subtask];
        if (home->tm_id == NULL || strcmp(home->tm_id, tm_id) != 0) {
            weir_free(home->tm_id);
            weir_free(home->host);
            *home = (struct home){.tm_id = weir_strdup(tm_id)};
        }
        if (home->host == NULL) {
            home->host = job->env->tm_host_copy(job->env->ctx, tm_id);
        }
    }
}

void weir__job_free_homes(struct weir_job *job)
{
    for (uint32_t s = 0; job->homes != NULL && s < slots_asked_for(job); s++) {
        weir_free(job->homes[s].tm_id);
        weir_free(job->homes[s].host);
    }
    weir_free(job->homes);
}
