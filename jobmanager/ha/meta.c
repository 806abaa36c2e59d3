#include "jobmanager/ha/meta.h"

#include "common/base/assert.h"
#include "common/base/hmap.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

struct weir_meta {
    uint64_t epoch;
    struct weir_hmap *by_id;
    struct weir_meta_job **jobs;
    size_t njobs;
    size_t jobs_cap;
    struct weir_meta_member *members;
    size_t nmembers;
    size_t members_cap;
};

struct weir_meta *weir_meta_create(void)
{
    struct weir_meta *meta = weir_calloc(1, sizeof(*meta));
    meta->by_id = weir_hmap_create(0);
    return meta;
}

static char **texts_copy(const char *const *texts, uint32_t count)
{
    char **copy = weir_calloc(count, sizeof(*copy));
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = weir_strdup(texts[i]);
    }
    return copy;
}

static void texts_free(char **texts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        weir_free(texts[i]);
    }
    weir_free(texts);
}

static void clear_slots(struct weir_meta_job *job)
{
    texts_free(job->slot_tm_ids, job->nslots);
    job->slot_tm_ids = NULL;
    job->nslots = 0;
    for (size_t i = 0; i < job->nregions; i++) {
        texts_free(job->regions[i].tm_ids, job->regions[i].ntms);
    }
    job->nregions = 0;
}

static void job_destroy(struct weir_meta_job *job)
{
    clear_slots(job);
    weir_free(job->regions);
    for (size_t i = 0; i < job->nckpts; i++) {
        weir_free(job->ckpts[i].path);
    }
    weir_free(job->ckpts);
    weir_arena_destroy(job->sources_arena);
    weir_free((void *)(uintptr_t)job->graph.data);
    weir_free(job->text);
    weir_free(job->name);
    weir_free(job->id);
    weir_free(job);
}

static void clear(struct weir_meta *meta)
{
    for (size_t i = 0; i < meta->njobs; i++) {
        struct weir_meta_job *job = meta->jobs[i];
        void *removed = weir_hmap_remove(meta->by_id, weir_slice_str(job->id));
        weir_assert(removed == job);
        job_destroy(job);
    }
    meta->njobs = 0;
    for (size_t i = 0; i < meta->nmembers; i++) {
        weir_free(meta->members[i].rpc_address);
        weir_free(meta->members[i].rest_address);
    }
    meta->nmembers = 0;
    meta->epoch = 0;
}

void weir_meta_destroy(struct weir_meta *meta)
{
    if (meta == NULL) {
        return;
    }
    clear(meta);
    weir_hmap_destroy(meta->by_id);
    weir_free(meta->members);
    weir_free(meta->jobs);
    weir_free(meta);
}

static struct weir_meta_job *find(const struct weir_meta *meta, const char *id)
{
    return weir_hmap_get(meta->by_id, weir_slice_str(id));
}

/* --- the records --------------------------------------------------------------------------------------------------- */
static enum weir_meta_change apply_submit(struct weir_meta *meta, const struct weir_ha_record *record)
{
    bool named = weir_meta_job_named(meta, weir_slice_str(record->u.submit.name)) != NULL;
    if (record->job_id[0] == '\0' || find(meta, record->job_id) != NULL || named) {
        return WEIR_META_IGNORED;
    }
    struct weir_meta_job *job = weir_calloc(1, sizeof(*job));
    job->id = weir_strdup(record->job_id);
    job->name = weir_strdup(record->u.submit.name);
    job->text_hash[0] = record->u.submit.text_hash[0];
    job->text_hash[1] = record->u.submit.text_hash[1];
    job->graph = weir_slice(weir_strndup(record->u.submit.graph.data, record->u.submit.graph.len), record->u.submit.graph.len);
    job->submitted_ms = record->at_ms;
    job->state_ms = record->at_ms;
    job->text = weir_strdup("");
    meta->jobs = weir_vec_grow(meta->jobs, &meta->jobs_cap, sizeof(*meta->jobs), meta->njobs + 1);
    meta->jobs[meta->njobs++] = job;
    void *replaced = weir_hmap_put(meta->by_id, weir_slice_str(job->id), job);
    weir_assert(replaced == NULL);
    return WEIR_META_SUBMITTED;
}

static void keep_sources(struct weir_meta_job *job, const struct weir_ha_source *sources, uint32_t nsources)
{
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_ha_source *kept = weir_arena_alloc(arena, nsources * sizeof(*kept));
    for (uint32_t i = 0; i < nsources; i++) {
        struct weir_ha_split *splits = weir_arena_alloc(arena, sources[i].nsplits * sizeof(*splits));
        for (uint32_t k = 0; k < sources[i].nsplits; k++) {
            splits[k].id = weir_arena_slice(arena, sources[i].splits[k].id);
            splits[k].data = weir_arena_slice(arena, sources[i].splits[k].data);
        }
        kept[i] = (struct weir_ha_source){.vertex = sources[i].vertex, .splits = splits, .nsplits = sources[i].nsplits};
    }
    weir_arena_destroy(job->sources_arena);
    job->sources_arena = arena;
    job->sources = kept;
    job->nsources = nsources;
}

/* (M7) */
static bool attempt_fits(const struct weir_meta_job *job, bool drains)
{
    bool to_drain = job->state == WEIR_META_LIVE || job->state == WEIR_META_FAILING || (job->state == WEIR_META_CANCELLING && !job->skip_drain);
    return drains ? to_drain && job->nckpts > 0 : job->state == WEIR_META_LIVE;
}

/* (M10) */
static bool parallelism_fits(const struct weir_meta_job *job, const struct weir_ha_record *record)
{
    const struct weir_meta_ckpt *newest = weir_meta_ckpt_newest(job);
    uint32_t parallelism_max = record->u.attempt.parallelism_max;
    uint32_t run = record->u.attempt.run;
    bool fits = record->u.attempt.nregions == 0 || (parallelism_max == job->parallelism_max && run == job->run);
    return fits && (record->u.attempt.drain_of == 0 || newest == NULL || (parallelism_max == newest->parallelism_max && run == newest->run));
}

/* (M8) */
static bool regions_fit(const struct weir_meta_job *job, const struct weir_ha_record *record)
{
    const struct weir_meta_ckpt *newest = weir_meta_ckpt_newest(job);
    return record->u.attempt.nregions == 0 ||
           (job->base_attempt > 0 && record->u.attempt.drain_of == 0 && job->drain_of == 0 && (newest == NULL || !newest->last));
}

/* Where the region stands, or would stand, among those begun anew by themselves. */
static size_t region_at(const struct weir_meta_job *job, uint32_t region)
{
    size_t low = 0;
    size_t high = job->nregions;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (job->regions[middle].region < region) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void begin_region(struct weir_meta_job *job, uint32_t attempt, const struct weir_ha_region *from)
{
    size_t at = region_at(job, from->region);
    if (at < job->nregions && job->regions[at].region == from->region) {
        texts_free(job->regions[at].tm_ids, job->regions[at].ntms);
    } else {
        job->regions = weir_vec_grow(job->regions, &job->regions_cap, sizeof(*job->regions), job->nregions + 1);
        memmove(&job->regions[at + 1], &job->regions[at], (job->nregions - at) * sizeof(*job->regions));
        job->nregions++;
    }
    job->regions[at] =
        (struct weir_meta_region){.region = from->region, .attempt = attempt, .tm_ids = texts_copy(from->tm_ids, from->ntms), .ntms = from->ntms};
}

/* restoring: a snapshot holds only attempts that are some region's present one, so the number may jump, and the job's state comes last. */
static enum weir_meta_change apply_attempt(struct weir_meta *meta, const struct weir_ha_record *record, bool restoring)
{
    struct weir_meta_job *job = find(meta, record->job_id);
    uint32_t attempt = record->u.attempt.attempt;
    if (job == NULL || attempt <= job->attempt) {
        return WEIR_META_IGNORED;
    }
    if (!restoring && (attempt != job->attempt + 1 || !attempt_fits(job, record->u.attempt.drain_of != 0))) {
        return WEIR_META_IGNORED;
    }
    if (!regions_fit(job, record) || !parallelism_fits(job, record)) {
        return WEIR_META_IGNORED;
    }
    const struct weir_meta_ckpt *newest = weir_meta_ckpt_newest(job);
    uint64_t restore = record->u.attempt.restore_checkpoint_id;
    if (!restoring && restore != (newest == NULL ? 0 : newest->id)) { /* (M6) */
        return WEIR_META_IGNORED;
    }
    job->restored_ckpt_id = restore;
    job->pending_ckpt_id = 0; /* (M5) */
    job->attempt = attempt;
    job->drain_of = record->u.attempt.drain_of;
    job->parallelism_max = record->u.attempt.parallelism_max;
    job->run = record->u.attempt.run;
    job->attempt_ms = record->at_ms;
    for (uint32_t i = 0; i < record->u.attempt.nregions; i++) {
        begin_region(job, attempt, &record->u.attempt.regions[i]);
    }
    if (record->u.attempt.nregions == 0) {
        clear_slots(job);
        job->base_attempt = attempt;
        job->nslots = record->u.attempt.nslots;
        job->slot_tm_ids = texts_copy(record->u.attempt.slot_tm_ids, job->nslots);
    }
    if (record->u.attempt.has_sources) {
        keep_sources(job, record->u.attempt.sources, record->u.attempt.nsources);
    }
    return WEIR_META_ATTEMPTED;
}

static enum weir_meta_change apply_state(struct weir_meta *meta, const struct weir_ha_record *record)
{
    struct weir_meta_job *job = find(meta, record->job_id);
    if (job == NULL || weir_meta_terminal(job->state)) {
        return WEIR_META_IGNORED;
    }
    bool current = record->u.job_state.attempt == job->attempt;
    bool fits = false;
    bool skip_drain = false;
    switch ((enum weir_meta_state)record->u.job_state.state) {
    case WEIR_META_LIVE:
        break;
    case WEIR_META_CANCELLING:
        skip_drain = record->u.job_state.skip_drain;
        fits = job->state != WEIR_META_CANCELLING || (skip_drain && !job->skip_drain);
        break;
    case WEIR_META_CANCELED:
        skip_drain = job->skip_drain;
        fits = job->state == WEIR_META_CANCELLING && current;
        break;
    case WEIR_META_FAILED: /* of CANCELLING: what it is to drain is lost */
        fits = current;
        break;
    case WEIR_META_FAILING:
    case WEIR_META_FINISHED:
        fits = job->state == WEIR_META_LIVE && current;
        break;
    }
    if (!fits) {
        return WEIR_META_IGNORED;
    }
    job->state = (enum weir_meta_state)record->u.job_state.state;
    job->state_ms = record->at_ms;
    job->skip_drain = skip_drain;
    job->pending_ckpt_id = weir_meta_terminal(job->state) ? 0 : job->pending_ckpt_id; /* (M5) */
    weir_free(job->text);
    job->text = weir_strdup(record->u.job_state.text);
    return WEIR_META_STATE_CHANGED;
}

/* --- checkpoints (M5) ---------------------------------------------------------------------------------------------- */
static enum weir_meta_change apply_ckpt_begin(struct weir_meta *meta, const struct weir_ha_record *record, bool restoring)
{
    struct weir_meta_job *job = find(meta, record->job_id);
    uint64_t id = record->u.ckpt_begin.id;
    if (job == NULL || job->state != WEIR_META_LIVE || record->u.ckpt_begin.attempt != job->attempt || job->attempt == 0 ||
        job->pending_ckpt_id != 0 || id <= job->last_ckpt_id || (!restoring && (id != job->last_ckpt_id + 1 || job->drain_of != 0))) {
        return WEIR_META_IGNORED;
    }
    job->last_ckpt_id = id;
    job->pending_ckpt_id = id;
    return WEIR_META_CKPT_BEGUN;
}

static void forget_oldest_ckpts(struct weir_meta_job *job, uint32_t retained_max)
{
    size_t excess = job->nckpts > retained_max ? job->nckpts - retained_max : 0;
    for (size_t i = 0; i < excess; i++) {
        weir_free(job->ckpts[i].path);
    }
    memmove(&job->ckpts[0], &job->ckpts[excess], (job->nckpts - excess) * sizeof(job->ckpts[0]));
    job->nckpts -= excess;
}

/* restoring: of earlier attempts too. */
static enum weir_meta_change apply_ckpt_complete(struct weir_meta *meta, const struct weir_ha_record *record, bool restoring)
{
    struct weir_meta_job *job = find(meta, record->job_id);
    uint64_t id = record->u.ckpt_complete.id;
    bool fits = job != NULL && job->state == WEIR_META_LIVE && id != 0;
    if (fits && restoring) {
        const struct weir_meta_ckpt *newest = weir_meta_ckpt_newest(job);
        fits = newest == NULL || id > newest->id;
    } else if (fits) {
        fits = record->u.ckpt_complete.attempt == job->attempt && id == job->pending_ckpt_id;
    }
    if (!fits) {
        return WEIR_META_IGNORED;
    }
    job->pending_ckpt_id = 0;
    job->last_ckpt_id = id > job->last_ckpt_id ? id : job->last_ckpt_id;
    job->ckpts = weir_vec_grow(job->ckpts, &job->ckpts_cap, sizeof(*job->ckpts), job->nckpts + 1);
    job->ckpts[job->nckpts++] = (struct weir_meta_ckpt){.id = id,
                                                        .attempt = record->u.ckpt_complete.attempt,
                                                        .path = weir_strdup(record->u.ckpt_complete.path),
                                                        .bytes = record->u.ckpt_complete.bytes,
                                                        .hash = record->u.ckpt_complete.hash,
                                                        .last = record->u.ckpt_complete.last,
                                                        .parallelism_max = record->u.ckpt_complete.parallelism_max,
                                                        .run = record->u.ckpt_complete.run,
                                                        .state_bytes = record->u.ckpt_complete.state_bytes,
                                                        .began_ms = record->u.ckpt_complete.began_ms,
                                                        .completed_ms = record->at_ms};
    uint32_t retained_max = record->u.ckpt_complete.retained_max;
    forget_oldest_ckpts(job, retained_max > 0 ? retained_max : 1);
    return WEIR_META_CKPT_COMPLETED;
}

static enum weir_meta_change apply_ckpt_abort(struct weir_meta *meta, const struct weir_ha_record *record)
{
    struct weir_meta_job *job = find(meta, record->job_id);
    uint64_t id = record->u.ckpt_abort.id;
    if (job == NULL || record->u.ckpt_abort.attempt != job->attempt || id == 0 || id != job->pending_ckpt_id) {
        return WEIR_META_IGNORED;
    }
    job->pending_ckpt_id = 0;
    return WEIR_META_CKPT_ABORTED;
}

static enum weir_meta_change apply_drop(struct weir_meta *meta, const struct weir_ha_record *record)
{
    struct weir_meta_job *job = find(meta, record->job_id);
    if (job == NULL || !weir_meta_terminal(job->state)) {
        return WEIR_META_IGNORED;
    }
    void *removed = weir_hmap_remove(meta->by_id, weir_slice_str(job->id));
    weir_assert(removed == job);
    size_t at = 0;
    while (meta->jobs[at] != job) {
        at++;
    }
    memmove(&meta->jobs[at], &meta->jobs[at + 1], (meta->njobs - at - 1) * sizeof(meta->jobs[0]));
    meta->njobs--;
    job_destroy(job);
    return WEIR_META_DROPPED;
}

/* --- JobManagers (M8) ---------------------------------------------------------------------------------------------- */
static void forget_oldest_removed(struct weir_meta *meta)
{
    size_t removed = 0;
    size_t oldest = meta->nmembers;
    for (size_t i = meta->nmembers; i > 0; i--) {
        removed += meta->members[i - 1].removed;
        oldest = meta->members[i - 1].removed ? i - 1 : oldest;
    }
    if (removed > WEIR_META_REMOVED_MAX) {
        weir_free(meta->members[oldest].rpc_address);
        weir_free(meta->members[oldest].rest_address);
        memmove(&meta->members[oldest], &meta->members[oldest + 1], (meta->nmembers - oldest - 1) * sizeof(meta->members[0]));
        meta->nmembers--;
    }
}

static enum weir_meta_change apply_jobmanager(struct weir_meta *meta, const struct weir_ha_record *record)
{
    const char *rpc_address = record->u.jobmanager.rpc_address;
    const char *rest_address = record->u.jobmanager.rest_address;
    size_t at = 0;
    while (at < meta->nmembers && meta->members[at].id != record->u.jobmanager.id) {
        at++;
    }
    if (record->u.jobmanager.id == 0 || record->u.jobmanager.incarnation == 0) {
        return WEIR_META_IGNORED;
    }
    if (at == meta->nmembers) {
        meta->members = weir_vec_grow(meta->members, &meta->members_cap, sizeof(*meta->members), meta->nmembers + 1);
        meta->members[meta->nmembers++] =
            (struct weir_meta_member){.id = record->u.jobmanager.id, .rpc_address = weir_strdup(""), .rest_address = weir_strdup("")};
        meta->members[at].incarnation = record->u.jobmanager.incarnation;
    } else {
        const struct weir_meta_member *known = &meta->members[at];
        bool same = strcmp(known->rpc_address, rpc_address) == 0 && strcmp(known->rest_address, rest_address) == 0;
        if (known->incarnation != record->u.jobmanager.incarnation || known->removed || (same && !record->u.jobmanager.removed)) {
            return WEIR_META_IGNORED;
        }
    }
    struct weir_meta_member *member = &meta->members[at];
    weir_free(member->rpc_address);
    weir_free(member->rest_address);
    member->rpc_address = weir_strdup(rpc_address);
    member->rest_address = weir_strdup(rest_address);
    member->removed = record->u.jobmanager.removed;
    forget_oldest_removed(meta);
    return WEIR_META_MEMBER_CHANGED;
}

static enum weir_meta_change apply(struct weir_meta *meta, const struct weir_ha_record *record, bool restoring)
{
    if (record->kind == WEIR_HA_LEADER) {
        if (record->epoch <= meta->epoch) {
            return WEIR_META_IGNORED;
        }
        meta->epoch = record->epoch;
        return WEIR_META_LED;
    }
    if (record->epoch != meta->epoch) {
        return WEIR_META_IGNORED;
    }
    switch (record->kind) {
    case WEIR_HA_LEADER:
        break;
    case WEIR_HA_SUBMIT:
        return apply_submit(meta, record);
    case WEIR_HA_ATTEMPT:
        return apply_attempt(meta, record, restoring);
    case WEIR_HA_JOB_STATE:
        return apply_state(meta, record);
    case WEIR_HA_JOB_DROP:
        return apply_drop(meta, record);
    case WEIR_HA_CKPT_BEGIN:
        return apply_ckpt_begin(meta, record, restoring);
    case WEIR_HA_CKPT_COMPLETE:
        return apply_ckpt_complete(meta, record, restoring);
    case WEIR_HA_CKPT_ABORT:
        return apply_ckpt_abort(meta, record);
    case WEIR_HA_JOBMANAGER:
        return apply_jobmanager(meta, record);
    }
    return WEIR_META_IGNORED;
}

enum weir_meta_change weir_meta_apply(struct weir_meta *meta, const struct weir_ha_record *record)
{
    return apply(meta, record, false);
}

/* --- snapshots ------------------------------------------------------------------------------------------------------ */
static void snapshot_ckpts(const struct weir_meta *meta, const struct weir_meta_job *job, struct weir_ha_record *records, uint32_t *count)
{
    for (size_t i = 0; i < job->nckpts; i++) {
        const struct weir_meta_ckpt *ckpt = &job->ckpts[i];
        struct weir_ha_record *to = &records[(*count)++];
        *to = (struct weir_ha_record){.kind = WEIR_HA_CKPT_COMPLETE, .epoch = meta->epoch, .at_ms = ckpt->completed_ms, .job_id = job->id};
        to->u.ckpt_complete.attempt = ckpt->attempt;
        to->u.ckpt_complete.id = ckpt->id;
        to->u.ckpt_complete.path = ckpt->path;
        to->u.ckpt_complete.bytes = ckpt->bytes;
        to->u.ckpt_complete.hash = ckpt->hash;
        to->u.ckpt_complete.last = ckpt->last;
        to->u.ckpt_complete.state_bytes = ckpt->state_bytes;
        to->u.ckpt_complete.began_ms = ckpt->began_ms;
        to->u.ckpt_complete.retained_max = UINT32_MAX;
        to->u.ckpt_complete.parallelism_max = ckpt->parallelism_max;
        to->u.ckpt_complete.run = ckpt->run;
    }
    const struct weir_meta_ckpt *newest = weir_meta_ckpt_newest(job);
    if (job->last_ckpt_id > (newest == NULL ? 0 : newest->id)) {
        struct weir_ha_record *begin = &records[(*count)++];
        *begin = (struct weir_ha_record){.kind = WEIR_HA_CKPT_BEGIN, .epoch = meta->epoch, .at_ms = job->attempt_ms, .job_id = job->id};
        begin->u.ckpt_begin.attempt = job->attempt;
        begin->u.ckpt_begin.id = job->last_ckpt_id;
        if (job->pending_ckpt_id == 0) {
            struct weir_ha_record *abort = &records[(*count)++];
            *abort = (struct weir_ha_record){.kind = WEIR_HA_CKPT_ABORT, .epoch = meta->epoch, .at_ms = job->attempt_ms, .job_id = job->id};
            abort->u.ckpt_abort.attempt = job->attempt;
            abort->u.ckpt_abort.id = job->last_ckpt_id;
            abort->u.ckpt_abort.text = "";
        }
    }
}

/* One record an attempt, the oldest first, of those of its regions that have it still. */
static void snapshot_regions(const struct weir_meta *meta, const struct weir_meta_job *job, struct weir_arena *arena, struct weir_ha_record *records,
                             uint32_t *count)
{
    for (uint32_t last = job->base_attempt; last < job->attempt;) {
        uint32_t next = UINT32_MAX;
        for (size_t i = 0; i < job->nregions; i++) {
            next = job->regions[i].attempt > last && job->regions[i].attempt < next ? job->regions[i].attempt : next;
        }
        weir_assert(next <= job->attempt);
        struct weir_ha_region *regions = weir_arena_alloc(arena, job->nregions * sizeof(*regions));
        struct weir_ha_record *to = &records[(*count)++];
        *to = (struct weir_ha_record){.kind = WEIR_HA_ATTEMPT, .epoch = meta->epoch, .at_ms = job->attempt_ms, .job_id = job->id};
        to->u.attempt.attempt = next;
        to->u.attempt.restore_checkpoint_id = job->restored_ckpt_id;
        to->u.attempt.parallelism_max = job->parallelism_max;
        to->u.attempt.run = job->run;
        to->u.attempt.regions = regions;
        for (size_t i = 0; i < job->nregions; i++) {
            const struct weir_meta_region *region = &job->regions[i];
            if (region->attempt == next) {
                regions[to->u.attempt.nregions++] = (struct weir_ha_region){
                    .region = region->region, .tm_ids = (const char *const *)region->tm_ids, .ntms = region->ntms};
            }
        }
        last = next;
    }
}

static void snapshot_job(const struct weir_meta *meta, const struct weir_meta_job *job, struct weir_arena *arena, struct weir_ha_record *records,
                         uint32_t *count)
{
    struct weir_ha_record *submit = &records[(*count)++];
    *submit = (struct weir_ha_record){.kind = WEIR_HA_SUBMIT, .epoch = meta->epoch, .at_ms = job->submitted_ms, .job_id = job->id};
    submit->u.submit.name = job->name;
    submit->u.submit.text_hash[0] = job->text_hash[0];
    submit->u.submit.text_hash[1] = job->text_hash[1];
    submit->u.submit.graph = job->graph;
    if (job->attempt > 0) {
        struct weir_ha_record *attempt = &records[(*count)++];
        *attempt = (struct weir_ha_record){.kind = WEIR_HA_ATTEMPT, .epoch = meta->epoch, .at_ms = job->attempt_ms, .job_id = job->id};
        attempt->u.attempt.attempt = job->base_attempt;
        attempt->u.attempt.slot_tm_ids = (const char *const *)job->slot_tm_ids;
        attempt->u.attempt.nslots = job->nslots;
        attempt->u.attempt.has_sources = true;
        attempt->u.attempt.sources = job->sources;
        attempt->u.attempt.nsources = job->nsources;
        attempt->u.attempt.restore_checkpoint_id = job->restored_ckpt_id;
        attempt->u.attempt.drain_of = job->drain_of;
        attempt->u.attempt.parallelism_max = job->parallelism_max;
        attempt->u.attempt.run = job->run;
        snapshot_regions(meta, job, arena, records, count);
    }
    snapshot_ckpts(meta, job, records, count);
    struct weir_ha_record state = {.kind = WEIR_HA_JOB_STATE, .epoch = meta->epoch, .at_ms = job->state_ms, .job_id = job->id};
    state.u.job_state.attempt = job->attempt;
    state.u.job_state.text = "";
    state.u.job_state.skip_drain = job->skip_drain;
    if (job->state == WEIR_META_CANCELED) {
        state.u.job_state.state = WEIR_META_CANCELLING; /* the only way in */
        records[(*count)++] = state;
    }
    if (job->state != WEIR_META_LIVE) {
        state.u.job_state.state = job->state;
        state.u.job_state.text = job->text;
        records[(*count)++] = state;
    }
}

void weir_meta_snapshot(const struct weir_meta *meta, struct weir_buf *out)
{
    enum { PER_JOB_MAX = 6 }; /* and its checkpoints and regions */
    struct weir_arena *arena = weir_arena_create(0);
    size_t records_max = 1 + meta->nmembers + PER_JOB_MAX * meta->njobs;
    for (size_t i = 0; i < meta->njobs; i++) {
        records_max += meta->jobs[i]->nckpts + meta->jobs[i]->nregions;
    }
    struct weir_ha_record *records = weir_calloc(records_max, sizeof(*records));
    uint32_t count = 0;
    records[count] = (struct weir_ha_record){.kind = WEIR_HA_LEADER, .epoch = meta->epoch, .job_id = ""};
    records[count++].u.leader.node = "";
    for (size_t i = 0; i < meta->nmembers; i++) {
        struct weir_ha_record *to = &records[count++];
        *to = (struct weir_ha_record){.kind = WEIR_HA_JOBMANAGER, .epoch = meta->epoch, .job_id = ""};
        to->u.jobmanager.id = meta->members[i].id;
        to->u.jobmanager.incarnation = meta->members[i].incarnation;
        to->u.jobmanager.rpc_address = meta->members[i].rpc_address;
        to->u.jobmanager.rest_address = meta->members[i].rest_address;
        to->u.jobmanager.removed = meta->members[i].removed;
    }
    for (size_t i = 0; i < meta->njobs; i++) {
        snapshot_job(meta, meta->jobs[i], arena, records, &count);
    }
    weir_ha_encode_snapshot(records, count, out);
    weir_arena_destroy(arena);
    weir_free(records);
}

enum weir_rc weir_meta_restore(struct weir_meta *meta, struct weir_slice snapshot, struct weir_error *err)
{
    clear(meta);
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_ha_record *records = NULL;
    uint32_t count = 0;
    enum weir_rc rc = weir_ha_decode_snapshot(snapshot, arena, &records, &count, err);
    for (uint32_t i = 0; rc == WEIR_OK && i < count; i++) {
        bool first = i == 0 && records[i].kind == WEIR_HA_LEADER;
        if (apply(meta, &records[i], true) == WEIR_META_IGNORED && !(first && records[i].epoch == 0)) {
            rc = weir_error_set(err, WEIR_CORRUPT, "cluster log snapshot: record %u (kind %d, job %s) does not fit", i, (int)records[i].kind,
                                records[i].job_id);
            clear(meta);
        }
    }
    weir_arena_destroy(arena);
    return rc;
}

/* --- views ---------------------------------------------------------------------------------------------------------- */
uint64_t weir_meta_epoch(const struct weir_meta *meta)
{
    return meta->epoch;
}

static const struct weir_meta_region *find_region(const struct weir_meta_job *job, uint32_t region)
{
    size_t at = region_at(job, region);
    return at < job->nregions && job->regions[at].region == region ? &job->regions[at] : NULL;
}

uint32_t weir_meta_region_attempt(const struct weir_meta_job *job, uint32_t region)
{
    const struct weir_meta_region *own = find_region(job, region);
    return own == NULL ? job->base_attempt : own->attempt;
}

bool weir_meta_region_uses(const struct weir_meta_job *job, uint32_t region, const char *tm_id)
{
    const struct weir_meta_region *own = find_region(job, region);
    char *const *tm_ids = own == NULL ? job->slot_tm_ids : own->tm_ids;
    uint32_t ntms = own == NULL ? job->nslots : own->ntms;
    for (uint32_t i = 0; i < ntms; i++) {
        if (strcmp(tm_ids[i], tm_id) == 0) {
            return true;
        }
    }
    return false;
}

uint32_t weir_meta_job_count(const struct weir_meta *meta)
{
    return (uint32_t)meta->njobs;
}

const struct weir_meta_job *weir_meta_job_at(const struct weir_meta *meta, uint32_t i)
{
    weir_assert(i < meta->njobs);
    return meta->jobs[i];
}

const struct weir_meta_job *weir_meta_job(const struct weir_meta *meta, struct weir_slice id)
{
    return weir_hmap_get(meta->by_id, id);
}

const struct weir_meta_job *weir_meta_job_named(const struct weir_meta *meta, struct weir_slice name)
{
    for (size_t i = 0; i < meta->njobs; i++) {
        if (!weir_meta_terminal(meta->jobs[i]->state) && weir_slice_eq_str(name, meta->jobs[i]->name)) {
            return meta->jobs[i];
        }
    }
    return NULL;
}

uint32_t weir_meta_member_count(const struct weir_meta *meta)
{
    return (uint32_t)meta->nmembers;
}

const struct weir_meta_member *weir_meta_member_at(const struct weir_meta *meta, uint32_t i)
{
    weir_assert(i < meta->nmembers);
    return &meta->members[i];
}

const struct weir_meta_member *weir_meta_member(const struct weir_meta *meta, uint64_t id)
{
    for (size_t i = 0; i < meta->nmembers; i++) {
        if (meta->members[i].id == id) {
            return &meta->members[i];
        }
    }
    return NULL;
}
