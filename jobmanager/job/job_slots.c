/* Where a job's tasks go: the slots it wants, asks for and holds. */
#include "jobmanager/job/job_internal.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

bool weir__job_begins_all(const struct weir_job *job)
{
    return job->drain_due || job->exec->attempt == 0 || job->ending_tasks;
}

/* By slot, where a task of a region that goes on is: as in Flink, what restarts shares its slot. room for weir_jobgraph_slots. */
static void find_kept(const struct weir_job *job, const char **out_kept)
{
    for (uint32_t i = 0; i < job->exec->ntasks; i++) {
        const struct weir_task_view *task = &job->exec->tasks[i];
        if (!job->ending[job->exec->regions->of[i]] && !weir_task_state_terminal(task->state)) {
            out_kept[task->subtask] = task->tm_id;
        }
    }
}

/* By slot, whether one is to be found for the regions that restart. Returns how many. */
static uint32_t find_needed(const struct weir_job *job, const char *const *kept, bool *out_needed)
{
    const struct weir_regions *regions = job->exec->regions;
    uint32_t count = 0;
    for (uint32_t r = 0; r < regions->count; r++) {
        for (uint32_t k = regions->first_slot[r]; job->ending[r] && k < regions->first_slot[r + 1]; k++) {
            uint32_t slot = regions->slots[k];
            count += kept[slot] == NULL && !out_needed[slot];
            out_needed[slot] = kept[slot] == NULL;
        }
    }
    return count;
}

static uint32_t wanted_slots(const struct weir_job *job)
{
    if (weir__job_begins_all(job)) {
        return job->drain_due ? weir_job_drain_slots(job) : weir_jobgraph_slots_at(job->graph, NULL, 0);
    }
    uint32_t slots = weir_jobgraph_slots(job->graph);
    const char **kept = weir_calloc(slots, sizeof(*kept));
    bool *needed = weir_calloc(slots, sizeof(*needed));
    find_kept(job, kept);
    uint32_t count = find_needed(job, kept, needed);
    weir_free(needed);
    weir_free(kept);
    return count;
}

bool weir_job_wants_slots(const struct weir_job *job, struct weir_now now, uint32_t *out_slots)
{
    bool between = weir__job_draining(job) || job->drain_at_ms != INT64_MAX;
    bool restarting = job->state == WEIR_JOB_RESTARTING && job->restart_at_ms <= now.mono_ms && !between &&
                      weir_execgraph_gone(job->exec, job->ending, NULL);
    if (job->attempt_proposed || (!job->drain_due && job->state != WEIR_JOB_CREATED && !restarting)) {
        return false;
    }
    if (restarting && weir_execgraph_count(job->exec, WEIR_TASK_CREATED) > 0) {
        return false; /* where those are is not known before their TaskManagers have come back, or not */
    }
    for (uint32_t v = 0; !job->splits_committed && v < job->graph->nvertices; v++) {
        if (job->sources[v].is_source && !job->sources[v].done) {
            return false;
        }
    }
    *out_slots = wanted_slots(job);
    return true;
}

static void propose_all(struct weir_job *job, struct weir_ha_record *record, const char *const *slot_tm_ids, uint32_t nslots)
{
    if (job->drain_due) {
        record->u.attempt.parallelism_max = job->newest_parallelism_max;
        record->u.attempt.run = job->newest_run;
    } else {
        weir__job_choose_parallelism(job, nslots, &record->u.attempt.parallelism_max, &record->u.attempt.run);
    }
    struct weir_ha_source *sources = weir_calloc(job->graph->nvertices, sizeof(*sources));
    record->u.attempt.slot_tm_ids = slot_tm_ids;
    record->u.attempt.nslots = nslots;
    record->u.attempt.has_sources = !job->splits_committed;
    record->u.attempt.drain_of = !job->drain_due ? 0 : job->drain_of != 0 ? job->drain_of : job->attempt;
    record->u.attempt.sources = sources;
    for (uint32_t v = 0; !job->splits_committed && v < job->graph->nvertices; v++) {
        if (job->sources[v].is_source) {
            sources[record->u.attempt.nsources++] =
                (struct weir_ha_source){.vertex = v, .splits = job->sources[v].splits, .nsplits = job->sources[v].nsplits};
        }
    }
    for (uint32_t r = 0; r < job->exec->regions->count; r++) {
        job->proposed[r] = true;
    }
    job->env->propose(job->env->ctx, record);
    weir_free(sources);
}

static void propose_regions(struct weir_job *job, struct weir_ha_record *record, const char *const *slot_tm_ids, uint32_t nslots)
{
    const struct weir_regions *regions = job->exec->regions;
    uint32_t slots = weir_jobgraph_slots(job->graph);
    const char **at = weir_calloc(slots, sizeof(*at));
    bool *needed = weir_calloc(slots, sizeof(*needed));
    struct weir_ha_region *named = weir_calloc(regions->count, sizeof(*named));
    const char **tm_ids = weir_calloc(regions->first_slot[regions->count], sizeof(*tm_ids));
    find_kept(job, at);
    uint32_t count = find_needed(job, at, needed);
    weir_assert(count == nslots);
    for (uint32_t s = 0, next = 0; s < slots; s++) {
        at[s] = needed[s] ? slot_tm_ids[next++] : at[s];
    }
    record->u.attempt.regions = named;
    record->u.attempt.parallelism_max = job->parallelism_max;
    record->u.attempt.run = job->run;
    for (uint32_t r = 0; r < regions->count; r++) {
        for (uint32_t k = regions->first_slot[r]; job->ending[r] && k < regions->first_slot[r + 1]; k++) {
            tm_ids[k] = at[regions->slots[k]];
        }
        if (job->ending[r]) {
            named[record->u.attempt.nregions++] =
                (struct weir_ha_region){.region = r, .tm_ids = &tm_ids[regions->first_slot[r]], .ntms = weir_regions_slots(regions, r)};
        }
        job->proposed[r] = job->ending[r];
    }
    weir_assert(record->u.attempt.nregions > 0);
    job->env->propose(job->env->ctx, record);
    weir_free(tm_ids);
    weir_free(named);
    weir_free(needed);
    weir_free(at);
}

void weir_job_place(struct weir_job *job, const char *const *slot_tm_ids, uint32_t nslots)
{
    bool all = weir__job_begins_all(job);
    weir_assert(!job->attempt_proposed);
    weir_assert(weir_execgraph_gone(job->exec, all ? NULL : job->ending, NULL)); /* (J1) */
    job->placed = weir_calloc(nslots, sizeof(*job->placed));
    job->nplaced = nslots;
    for (uint32_t i = 0; i < nslots; i++) {
        job->placed[i] = weir_strdup(slot_tm_ids[i]);
    }
    job->attempt_proposed = true;
    weir_job_set_unplaced(job, NULL);
    struct weir_ha_record record = {.kind = WEIR_HA_ATTEMPT, .job_id = job->id};
    record.u.attempt.attempt = job->attempt + 1;
    record.u.attempt.restore_checkpoint_id = job->newest_ckpt_id;
    if (all) {
        propose_all(job, &record, slot_tm_ids, nslots);
    } else {
        propose_regions(job, &record, slot_tm_ids, nslots);
    }
}

void weir_job_set_unplaced(struct weir_job *job, const char *why)
{
    if (job->drain_due) {
        weir__job_tell_draining(job, why);
    } else if (why != NULL && weir_adaptive_deadline_ms(&job->adaptive) != INT64_MAX) {
        char *text = weir_strfmt("%s; it goes on with those after jobmanager.adaptive-scheduler.resource-stabilization-timeout", why);
        weir_job_set_waiting(job, text);
        weir_free(text);
    } else {
        weir_job_set_waiting(job, why);
    }
}

uint32_t weir_job_held_slots(struct weir_job *job, const char *const **out_tm_ids)
{
    if (job->exec == NULL) {
        return 0;
    }
    uint32_t slots = weir_jobgraph_slots(job->graph);
    uint32_t count = 0;
    memset(job->held, 0, slots * sizeof(*job->held));
    for (uint32_t i = 0; job->exec->attempt > 0 && i < job->exec->ntasks; i++) {
        const struct weir_task_view *task = &job->exec->tasks[i];
        if (task->tm_id[0] != '\0' && (job->state == WEIR_JOB_RUNNING || !weir_task_state_terminal(task->state))) {
            job->held[task->subtask] = task->tm_id;
        }
    }
    for (uint32_t s = 0; s < slots; s++) {
        if (job->held[s] != NULL) {
            job->held[count++] = job->held[s];
        }
    }
    for (uint32_t i = 0; i < job->nplaced; i++) {
        job->held[count++] = job->placed[i];
    }
    *out_tm_ids = job->held;
    return count;
}

void weir_job_wanted_homes(const struct weir_job *job, struct weir_placement_home *out_homes, uint32_t nslots)
{
    uint32_t slots = weir_jobgraph_slots_at(job->graph, NULL, 0);
    const char **kept = weir_calloc(slots, sizeof(*kept));
    bool *needed = weir_calloc(slots, sizeof(*needed));
    bool all = weir__job_begins_all(job);
    if (!all) {
        find_kept(job, kept);
        (void)find_needed(job, (const char *const *)kept, needed);
    }
    for (uint32_t s = 0, next = 0; s < slots && next < nslots; s++) {
        if (all || needed[s]) {
            out_homes[next++] = (struct weir_placement_home){.tm_id = job->homes[s].tm_id, .host = job->homes[s].host};
        }
    }
    weir_free(needed);
    weir_free(kept);
}
