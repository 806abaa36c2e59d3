#include "jobmanager/job/dispatcher.h"

#include <stdio.h>

#include "common/base/assert.h"
#include "common/base/hmap.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "jobmanager/job/ended.h"
#include "jobmanager/job/job_ckpt.h"
#include "jobmanager/job/slot_pool.h"

/* A proposal whose outcome is not known yet, or that is to be made again. */
struct proposal {
    uint64_t id;
    enum weir_ha_kind kind;
    enum weir_meta_state to; /* JOB_STATE */
    char job_id[WEIR_JOB_ID_TEXT + 1];
    uint32_t attempt;      /* ATTEMPT */
    uint64_t text_hash[2]; /* SUBMIT */
    uint64_t member_id;    /* JOBMANAGER */
    struct weir_buf bytes;
    int64_t retry_at_ms; /* INT64_MAX: under way */
    weir_jm_done_fn *done;
    void *ctx;
};

struct weir_dispatcher {
    char *node;
    uint32_t jobs_max;
    enum weir_rc (*decode)(struct weir_slice bytes, struct weir_jobgraph **out_graph, struct weir_error *err);
    struct weir_log *log;
    struct weir_job_env env;
    struct weir_effects effects;
    struct weir_meta *meta;
    struct weir_tm_registry *tms;
    int64_t heartbeat_timeout_ms;
    uint64_t epoch; /* of the own leadership */
    bool leader;    /* by the log's word */
    bool leading;   /* the own LEADER record is applied */
    struct weir_job **jobs; /* that have not ended, in order of submission; only while leading */
    size_t njobs, jobs_cap;
    struct weir_hmap *jobs_by_id; /* and those that have, unless only the log knows them (weir_dispatcher_job) */
    struct weir_ended *ended;
    struct proposal **proposals;
    size_t nproposals, proposals_cap;
    uint64_t next_proposal;
    char **expelled; /* by jobs in the event under way */
    size_t nexpelled, expelled_cap;
    bool dirty; /* something changed that may let a job go on */
    struct weir_now now; /* of the event under way */
};

static struct weir_job *find_job(const struct weir_dispatcher *d, struct weir_slice id)
{
    return weir_hmap_get(d->jobs_by_id, id);
}

/* --- proposals ------------------------------------------------------------------------------------------------------- */
static void emit_proposal(struct weir_dispatcher *d, struct proposal *p)
{
    p->id = ++d->next_proposal;
    p->retry_at_ms = INT64_MAX;
    struct weir_effect *effect = weir_effects_add(&d->effects, WEIR_EFFECT_PROPOSE);
    effect->proposal = p->id;
    weir_buf_put_slice(&effect->bytes, weir_buf_slice(&p->bytes));
}

static struct proposal *propose(struct weir_dispatcher *d, const struct weir_ha_record *record)
{
    struct weir_ha_record stamped = *record;
    stamped.epoch = d->epoch;
    stamped.at_ms = d->now.wall_ms;
    struct proposal *p = weir_calloc(1, sizeof(*p));
    p->kind = stamped.kind;
    p->to = stamped.kind == WEIR_HA_JOB_STATE ? (enum weir_meta_state)stamped.u.job_state.state : WEIR_META_LIVE;
    p->attempt = stamped.kind == WEIR_HA_ATTEMPT ? stamped.u.attempt.attempt : 0;
    p->member_id = stamped.kind == WEIR_HA_JOBMANAGER ? stamped.u.jobmanager.id : 0;
    (void)snprintf(p->job_id, sizeof(p->job_id), "%s", stamped.job_id);
    weir_ha_encode(&stamped, &p->bytes);
    d->proposals = weir_vec_grow(d->proposals, &d->proposals_cap, sizeof(*d->proposals), d->nproposals + 1);
    d->proposals[d->nproposals++] = p;
    emit_proposal(d, p);
    return p;
}

static void env_propose(void *ctx, const struct weir_ha_record *record)
{
    (void)propose(ctx, record);
}

static void proposal_destroy(struct proposal *p)
{
    weir_buf_fini(&p->bytes);
    weir_free(p);
}

static void answer(struct weir_dispatcher *d, weir_jm_done_fn *done, void *ctx, const struct weir_error *err)
{
    if (done != NULL) {
        struct weir_effect *effect = weir_effects_add(&d->effects, WEIR_EFFECT_ANSWER);
        effect->done = done;
        effect->ctx = ctx;
        effect->err = *err;
    }
}

static const struct weir_error no_error = {.rc = WEIR_OK};

/* What a client is told once its proposal is committed: by the state then, since the record may have been ignored. */
static struct weir_error verdict(const struct weir_dispatcher *d, const struct proposal *p)
{
    struct weir_error err = no_error;
    const struct weir_meta_job *job = weir_meta_job(d->meta, weir_slice_str(p->job_id));
    if (p->kind == WEIR_HA_SUBMIT && job == NULL) {
        (void)weir_error_set(&err, WEIR_EXISTS, "a job of that name is running: cancel it, or give this one another name");
    } else if (p->kind == WEIR_HA_SUBMIT && (job->text_hash[0] != p->text_hash[0] || job->text_hash[1] != p->text_hash[1])) {
        (void)weir_error_set(&err, WEIR_EXISTS, "another job was submitted under the id %s", p->job_id);
    } else if (p->kind == WEIR_HA_JOB_STATE && job == NULL) {
        (void)weir_error_set(&err, WEIR_NOT_FOUND, "there is no job %s", p->job_id);
    } else if (p->kind == WEIR_HA_JOB_STATE && (job->state == WEIR_META_FINISHED || job->state == WEIR_META_FAILED)) {
        (void)weir_error_set(&err, WEIR_STATE, "job %s is %s", p->job_id, job->state == WEIR_META_FINISHED ? "FINISHED" : "FAILED");
    }
    return err;
}

static void settle(struct weir_dispatcher *d);

void weir_dispatcher_outcome(struct weir_dispatcher *d, uint64_t proposal, enum weir_proposal_outcome outcome, const struct weir_error *err,
                             struct weir_now now)
{
    d->now = now;
    size_t at = 0;
    while (at < d->nproposals && d->proposals[at]->id != proposal) {
        at++;
    }
    if (at == d->nproposals) {
        return;
    }
    struct proposal *p = d->proposals[at];
    bool client_told = outcome == WEIR_PROPOSAL_REJECTED && p->done != NULL;
    if (outcome != WEIR_PROPOSAL_COMMITTED && !client_told) { /* (D2) */
        p->retry_at_ms = now.mono_ms + WEIR_DISPATCHER_RETRY_MS;
        weir_log(d->log, WEIR_LOG_WARN, "proposal_repeated", "job", p->job_id, "outcome", outcome == WEIR_PROPOSAL_REJECTED ? "rejected" : "unknown",
                 "error", err->text, NULL);
        return;
    }
    struct weir_error result = client_told ? *err : verdict(d, p);
    if (client_told) {
        (void)weir_error_prefix(&result, "the cluster log did not take it");
    }
    answer(d, p->done, p->ctx, &result);
    struct weir_job *job = p->kind == WEIR_HA_ATTEMPT ? find_job(d, weir_slice_str(p->job_id)) : NULL;
    if (job != NULL) {
        weir_job_attempt_committed(job, p->attempt);
        d->dirty = true;
    }
    d->proposals[at] = d->proposals[--d->nproposals];
    proposal_destroy(p);
    settle(d);
}

/* --- the environment of jobs ------------------------------------------------------------------------------------------ */
static void env_expel(void *ctx, const char *tm_id)
{
    struct weir_dispatcher *d = ctx;
    d->expelled = weir_vec_grow(d->expelled, &d->expelled_cap, sizeof(*d->expelled), d->nexpelled + 1);
    d->expelled[d->nexpelled++] = weir_strdup(tm_id);
}

static bool env_tm_registered(void *ctx, const char *tm_id)
{
    const struct weir_dispatcher *d = ctx;
    return weir_tm_registry_find(d->tms, tm_id) != NULL;
}

static char *env_tm_host_copy(void *ctx, const char *tm_id)
{
    const struct weir_dispatcher *d = ctx;
    const struct weir_tm_entry *tm = weir_tm_registry_find(d->tms, tm_id);
    return tm == NULL ? NULL : weir_slot_pool_host_copy(tm->info.data_address);
}

struct weir_dispatcher *weir_dispatcher_create(const struct weir_dispatcher_options *options)
{
    struct weir_dispatcher *d = weir_calloc(1, sizeof(*d));
    d->node = weir_strdup(options->node);
    d->jobs_max = options->jobs_max;
    d->decode = options->decode;
    d->log = options->log_sink == NULL ? NULL : weir_log_create(options->log_sink);
    d->heartbeat_timeout_ms = options->heartbeat_timeout_ms;
    d->env = (struct weir_job_env){.effects = &d->effects,
                                   .propose = env_propose,
                                   .expel = env_expel,
                                   .tm_registered = env_tm_registered,
                                   .tm_host_copy = env_tm_host_copy,
                                   .ctx = d,
                                   .slot_timeout_ms = options->slot_timeout_ms,
                                   .reconcile_timeout_ms = options->heartbeat_timeout_ms,
                                   .retained_max = options->retained_max,
                                   .adaptive = options->adaptive,
                                   .log_sink = options->log_sink};
    d->meta = weir_meta_create();
    d->tms = weir_tm_registry_create(options->heartbeat_timeout_ms);
    d->jobs_by_id = weir_hmap_create(0);
    d->ended = weir_ended_create(&(struct weir_ended_settings){
        .expiration_ms = options->expiration_ms, .hold_ms = WEIR_DISPATCHER_HOLD_MS, .jobs_max = options->jobs_max});
    return d;
}

static void drop_jobs(struct weir_dispatcher *d)
{
    struct weir_hmap_iter it = {0};
    while (weir_hmap_next(d->jobs_by_id, &it)) {
        struct weir_job *job = it.value;
        void *removed = weir_hmap_remove(d->jobs_by_id, it.key);
        weir_assert(removed == job);
        weir_job_destroy(job);
    }
    d->njobs = 0;
    weir_ended_begin(d->ended, d->now);
}

void weir_dispatcher_destroy(struct weir_dispatcher *d)
{
    if (d == NULL) {
        return;
    }
    drop_jobs(d);
    for (size_t i = 0; i < d->nproposals; i++) {
        proposal_destroy(d->proposals[i]);
    }
    for (size_t i = 0; i < d->nexpelled; i++) {
        weir_free(d->expelled[i]);
    }
    weir_free(d->expelled);
    weir_free(d->proposals);
    weir_free(d->jobs);
    weir_hmap_destroy(d->jobs_by_id);
    weir_ended_destroy(d->ended);
    weir_tm_registry_destroy(d->tms);
    weir_meta_destroy(d->meta);
    weir_effects_fini(&d->effects);
    weir_log_destroy(d->log);
    weir_free(d->node);
    weir_free(d);
}

struct weir_effects *weir_dispatcher_effects(struct weir_dispatcher *d)
{
    return &d->effects;
}

/* --- scheduling ------------------------------------------------------------------------------------------------------- */
static void lose_tm(struct weir_dispatcher *d, struct weir_tm_entry *tm_take, const char *why)
{
    weir_log(d->log, WEIR_LOG_WARN, "tm_lost", "tm", tm_take->info.id, "why", why, NULL);
    weir_effects_add(&d->effects, WEIR_EFFECT_TM_LOST)->tm_id = weir_strdup(tm_take->info.id);
    for (size_t i = 0; i < d->njobs; i++) {
        weir_job_tm_lost(d->jobs[i], tm_take->info.id, why, d->now);
    }
    weir_tm_entry_destroy(tm_take);
    d->dirty = true;
}

static void enumerate_sources(struct weir_dispatcher *d, struct weir_job *job)
{
    uint32_t vertex = 0;
    while (weir_tm_registry_count(d->tms) > 0 && weir_job_wants_enumeration(job, d->now, &vertex)) {
        const struct weir_tm_entry *tm = weir_tm_registry_at(d->tms, vertex % weir_tm_registry_count(d->tms));
        weir_job_enumerate(job, vertex, tm->info.id);
    }
}

static void sweep_ended(struct weir_dispatcher *d)
{
    for (const char *id = weir_ended_sweep(d->ended); id != NULL; id = weir_ended_sweep(d->ended)) {
        weir_job_ckpt_sweep(&d->effects, weir_meta_job(d->meta, weir_slice_str(id)));
    }
}

/* After each event: what jobs asked for meanwhile, and whether one can go on. */
static void settle(struct weir_dispatcher *d)
{
    while (d->nexpelled > 0) {
        char *tm_id = d->expelled[--d->nexpelled];
        struct weir_tm_entry *tm = weir_tm_registry_remove(d->tms, tm_id, true);
        if (tm != NULL) {
            lose_tm(d, tm, "it did not end its tasks when told to");
        }
        weir_free(tm_id);
    }
    sweep_ended(d);
    if (!d->leading || !d->dirty) {
        return;
    }
    d->dirty = false;
    for (size_t i = 0; i < d->njobs; i++) {
        struct weir_job *job = d->jobs[i];
        if (weir_tm_registry_count(d->tms) == 0 && weir_job_state(job) == WEIR_JOB_CREATED) {
            weir_job_set_waiting(job, "no TaskManager is registered");
        }
        enumerate_sources(d, job);
    }
    weir_slot_pool_place(d->tms, d->jobs, d->njobs, d->now);
    weir_slot_pool_offer(d->tms, d->jobs, d->njobs, d->now);
}

/* --- the cluster log -------------------------------------------------------------------------------------------------- */
static struct weir_job *make_job(struct weir_dispatcher *d, const struct weir_meta_job *meta, bool fresh)
{
    struct weir_error err;
    struct weir_jobgraph *graph = NULL;
    if (d->decode(meta->graph, &graph, &err) != WEIR_OK) {
        (void)weir_error_prefix(&err, "the job's graph in the cluster log cannot be read");
    }
    struct weir_job *job = weir_job_create(&d->env, meta, graph, &err);
    void *replaced = weir_hmap_put(d->jobs_by_id, weir_slice_str(meta->id), job);
    weir_assert(replaced == NULL);
    weir_job_start(job, meta, fresh, d->now);
    return job;
}

static void add_job(struct weir_dispatcher *d, const struct weir_meta_job *meta, bool fresh)
{
    if (weir_meta_terminal(meta->state)) {
        weir_ended_add(d->ended, meta->id, meta->state_ms, d->now);
        return;
    }
    d->jobs = weir_vec_grow(d->jobs, &d->jobs_cap, sizeof(*d->jobs), d->njobs + 1);
    d->jobs[d->njobs++] = make_job(d, meta, fresh);
}

/* It stays as it is, to be looked at. */
static void end_job(struct weir_dispatcher *d, const struct weir_job *job, const struct weir_meta_job *meta)
{
    size_t at = 0;
    while (d->jobs[at] != job) {
        at++;
    }
    memmove(&d->jobs[at], &d->jobs[at + 1], (d->njobs - at - 1) * sizeof(d->jobs[0]));
    d->njobs--;
    weir_ended_add(d->ended, meta->id, meta->state_ms, d->now);
}

static void remove_ended(struct weir_dispatcher *d, const char *id)
{
    weir_ended_remove(d->ended, id);
    weir_job_destroy(weir_hmap_remove(d->jobs_by_id, weir_slice_str(id)));
}

/* A record that counted, applied by the leader that wrote it. */
static void act_on(struct weir_dispatcher *d, enum weir_meta_change change, const struct weir_ha_record *record)
{
    const char *job_id = record->job_id;
    const struct weir_meta_job *meta = weir_meta_job(d->meta, weir_slice_str(job_id));
    struct weir_job *job = find_job(d, weir_slice_str(job_id));
    switch (change) {
    case WEIR_META_IGNORED:
    case WEIR_META_LED:
    case WEIR_META_MEMBER_CHANGED:
        break;
    case WEIR_META_SUBMITTED:
        add_job(d, meta, true);
        break;
    case WEIR_META_ATTEMPTED:
        weir_job_attempted(job, meta, d->now);
        break;
    case WEIR_META_STATE_CHANGED:
        weir_job_state_applied(job, meta, d->now);
        if (weir_meta_terminal(meta->state)) {
            end_job(d, job, meta);
        }
        break;
    case WEIR_META_DROPPED:
        remove_ended(d, job_id);
        break;
    case WEIR_META_CKPT_BEGUN:
        weir_job_ckpt_applied(job, change, record->u.ckpt_begin.id, meta, d->now);
        break;
    case WEIR_META_CKPT_COMPLETED:
        weir_job_ckpt_applied(job, change, record->u.ckpt_complete.id, meta, d->now);
        break;
    case WEIR_META_CKPT_ABORTED:
        weir_job_ckpt_applied(job, change, record->u.ckpt_abort.id, meta, d->now);
        break;
    }
    d->dirty = true;
}

static void start_leading(struct weir_dispatcher *d)
{
    d->leading = true;
    weir_ended_begin(d->ended, d->now);
    weir_log(d->log, WEIR_LOG_INFO, "leading", "epoch", WEIR_LOG_INT(d->epoch), "jobs", WEIR_LOG_INT(weir_meta_job_count(d->meta)), NULL);
    for (uint32_t i = 0; i < weir_meta_job_count(d->meta); i++) {
        add_job(d, weir_meta_job_at(d->meta, i), false);
    }
    d->dirty = true;
}

enum weir_rc weir_dispatcher_apply(struct weir_dispatcher *d, struct weir_slice entry, struct weir_now now, struct weir_error *err)
{
    d->now = now;
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_ha_record record;
    enum weir_rc rc = weir_ha_decode(entry, arena, &record, err);
    if (rc == WEIR_OK) {
        enum weir_meta_change change = weir_meta_apply(d->meta, &record);
        if (change == WEIR_META_LED && d->leader && record.epoch == d->epoch) {
            start_leading(d);
        } else if (d->leading && record.epoch == d->epoch) {
            act_on(d, change, &record);
        }
        settle(d);
    }
    weir_arena_destroy(arena);
    return rc;
}

void weir_dispatcher_leadership(struct weir_dispatcher *d, bool leader, uint64_t epoch, struct weir_now now)
{
    d->now = now;
    d->leader = leader;
    d->leading = false;
    drop_jobs(d);
    struct weir_error err;
    (void)weir_error_set(&err, WEIR_UNKNOWN, "this JobManager lost its leadership meanwhile: ask the cluster whether it was done");
    for (size_t i = 0; i < d->nproposals; i++) {
        answer(d, d->proposals[i]->done, d->proposals[i]->ctx, &err);
        proposal_destroy(d->proposals[i]);
    }
    d->nproposals = 0;
    while (weir_tm_registry_count(d->tms) > 0) {
        struct weir_tm_entry *tm = weir_tm_registry_remove(d->tms, weir_tm_registry_at(d->tms, 0)->info.id, false);
        weir_effects_add(&d->effects, WEIR_EFFECT_TM_LOST)->tm_id = weir_strdup(tm->info.id);
        weir_tm_entry_destroy(tm);
    }
    if (leader) {
        weir_assert(epoch > weir_meta_epoch(d->meta));
        d->epoch = epoch;
        d->effects.epoch = epoch;
        struct weir_ha_record record = {.kind = WEIR_HA_LEADER, .job_id = ""};
        record.u.leader.node = d->node;
        (void)propose(d, &record);
    }
}

void weir_dispatcher_snapshot(const struct weir_dispatcher *d, struct weir_buf *out)
{
    weir_meta_snapshot(d->meta, out);
}

enum weir_rc weir_dispatcher_restore(struct weir_dispatcher *d, struct weir_slice snapshot, struct weir_error *err)
{
    weir_assert(!d->leading);
    return weir_meta_restore(d->meta, snapshot, err);
}

/* --- TaskManagers ----------------------------------------------------------------------------------------------------- */
static enum weir_rc check_leading(const struct weir_dispatcher *d, struct weir_error *err)
{
    return d->leading ? WEIR_OK : weir_error_set(err, WEIR_REFUSED, "this JobManager does not lead the cluster (yet)");
}

static enum weir_rc check_sender(const struct weir_dispatcher *d, const char *tm_id, uint64_t epoch, struct weir_error *err)
{
    enum weir_rc rc = check_leading(d, err);
    if (rc == WEIR_OK && weir_tm_registry_find(d->tms, tm_id) == NULL) {
        rc = weir_error_set(err, WEIR_NOT_FOUND, "TaskManager %s is not registered", tm_id);
    }
    if (rc == WEIR_OK && epoch != d->epoch) {
        rc = weir_error_set(err, WEIR_STALE, "epoch %llu is not the leader's, %llu: register again", (unsigned long long)epoch,
                            (unsigned long long)d->epoch);
    }
    return rc;
}

/* Of a job that is not, or is over, all are; so they are of an attempt before all regions began anew: their numbers were others. */
static uint32_t region_of(const struct weir_job *job, uint32_t base_attempt, const struct weir_task_report *report)
{
    const struct weir_execgraph *exec = job == NULL ? NULL : weir_job_exec(job);
    if (exec == NULL || report->attempt < base_attempt || weir_job_state_terminal(weir_job_state(job)) || report->vertex >= exec->graph->nvertices ||
        report->subtask >= exec->graph->vertices[report->vertex].parallelism) {
        return WEIR_REGION_ALL;
    }
    return exec->regions->of[weir_jobgraph_task_index(exec->graph, report->vertex, report->subtask)];
}

/* A task of no present attempt is told to end, unless it has ended. */
static enum weir_rc take_report(struct weir_dispatcher *d, const char *tm_id, const struct weir_task_report *report, struct weir_error *err)
{
    struct weir_job *job = find_job(d, report->job_id);
    const struct weir_meta_job *meta = weir_meta_job(d->meta, report->job_id);
    enum weir_rc rc = WEIR_OK;
    if (report->job_id.len > WEIR_JOB_ID_TEXT) {
        return weir_error_set(err, WEIR_INVALID, "a job's id has %d bytes", WEIR_JOB_ID_TEXT);
    }
    if (job == NULL) {
        rc = weir_error_set(err, WEIR_STALE, meta == NULL ? "there is no job %.*s" : "job %.*s is over", WEIR_SLICE_ARG(report->job_id));
    } else {
        rc = weir_job_report(job, tm_id, report, d->now, err);
    }
    if (rc == WEIR_STALE) {
        char id[WEIR_JOB_ID_TEXT + 1];
        (void)snprintf(id, sizeof(id), "%.*s", WEIR_SLICE_ARG(report->job_id));
        weir_effects_add_order(&d->effects, WEIR_EFFECT_CANCEL, tm_id, id, report->attempt)->region =
            region_of(job, meta == NULL ? 0 : meta->base_attempt, report);
    }
    d->dirty = true;
    return rc;
}

/* reports of one TaskManager: job by job, so that each learns what is missing. */
static void take_reports(struct weir_dispatcher *d, const char *tm_id, bool registered, const struct weir_task_report *reports, uint32_t nreports)
{
    for (uint32_t i = 0; i < nreports; i++) {
        struct weir_error err;
        enum weir_rc rc = take_report(d, tm_id, &reports[i], &err);
        if (rc != WEIR_OK) {
            weir_log(d->log, WEIR_LOG_INFO, "task_report_refused", "tm", tm_id, "why", err.text, NULL);
        }
        if (rc == WEIR_STALE && (i == 0 || !weir_slice_eq(reports[i - 1].job_id, reports[i].job_id))) {
            weir_ended_leave(d->ended, reports[i].job_id); /* when it outlived its job, it may have made files after the job's sweep */
        }
    }
    for (size_t k = 0; k < d->njobs; k++) {
        struct weir_job *job = d->jobs[k];
        const struct weir_execgraph *exec = weir_job_exec(job);
        if (exec == NULL || weir_job_state_terminal(weir_job_state(job)) || !weir_execgraph_uses(exec, tm_id)) {
            continue;
        }
        bool *reported = weir_calloc(exec->ntasks, sizeof(*reported));
        for (uint32_t i = 0; i < nreports; i++) {
            const struct weir_task_report *report = &reports[i];
            if (weir_slice_eq_str(report->job_id, weir_job_id(job)) && report->vertex < exec->graph->nvertices &&
                report->subtask < exec->graph->vertices[report->vertex].parallelism) {
                uint32_t index = weir_jobgraph_task_index(exec->graph, report->vertex, report->subtask);
                reported[index] = reported[index] || report->attempt == exec->tasks[index].attempt;
            }
        }
        weir_job_reported(job, tm_id, registered, reported, d->now);
        weir_free(reported);
    }
}

enum weir_rc weir_dispatcher_register(struct weir_dispatcher *d, const struct weir_tm_info *info, const struct weir_task_report *reports,
                                      uint32_t nreports, struct weir_now now, bool *out_new, struct weir_error *err)
{
    d->now = now;
    struct weir_tm_entry *tm = NULL;
    bool added = false;
    enum weir_rc rc = check_leading(d, err);
    if (rc == WEIR_OK) {
        rc = weir_tm_registry_register(d->tms, info, now.mono_ms, now.wall_ms, &tm, &added, err);
    }
    if (rc != WEIR_OK) {
        return rc;
    }
    weir_log(d->log, WEIR_LOG_INFO, added ? "tm_registered" : "tm_registered_again", "tm", info->id, "slots", WEIR_LOG_INT(info->slots), "tasks",
             WEIR_LOG_INT(nreports), NULL);
    take_reports(d, info->id, true, reports, nreports);
    d->dirty = true;
    settle(d);
    *out_new = added;
    return WEIR_OK;
}

enum weir_rc weir_dispatcher_heartbeat(struct weir_dispatcher *d, const char *tm_id, uint64_t epoch, uint64_t memory_used_bytes,
                                       const struct weir_task_report *reports, uint32_t nreports, struct weir_now now, struct weir_error *err)
{
    d->now = now;
    enum weir_rc rc = check_sender(d, tm_id, epoch, err);
    if (rc == WEIR_OK) {
        rc = weir_tm_registry_heartbeat(d->tms, tm_id, memory_used_bytes, now.mono_ms, now.wall_ms, err);
    }
    if (rc == WEIR_OK) {
        take_reports(d, tm_id, false, reports, nreports);
        settle(d);
    }
    return rc;
}

enum weir_rc weir_dispatcher_task_state(struct weir_dispatcher *d, const char *tm_id, uint64_t epoch, const struct weir_task_report *report,
                                        struct weir_now now, struct weir_error *err)
{
    d->now = now;
    enum weir_rc rc = check_sender(d, tm_id, epoch, err);
    if (rc == WEIR_OK) {
        rc = take_report(d, tm_id, report, err);
        if (rc == WEIR_STALE) {
            weir_ended_leave(d->ended, report->job_id);
        }
        settle(d);
    }
    return rc;
}

enum weir_rc weir_dispatcher_attempt_is_present(const struct weir_dispatcher *d, const char *tm_id, uint64_t epoch, struct weir_slice job_id,
                                                uint32_t region, uint32_t attempt, bool *out_present, struct weir_error *err)
{
    enum weir_rc rc = check_sender(d, tm_id, epoch, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    const struct weir_meta_job *job = weir_meta_job(d->meta, job_id);
    bool present = false;
    if (job == NULL) {
        (void)weir_error_set(err, WEIR_STALE, "there is no job %.*s", WEIR_SLICE_ARG(job_id));
    } else if (weir_meta_terminal(job->state)) {
        (void)weir_error_set(err, WEIR_STALE, "job %s is over", job->id);
    } else if (attempt == 0 || weir_meta_region_attempt(job, region) != attempt) {
        (void)weir_error_set(err, WEIR_STALE, "the present attempt of region %u of job %s is %u, not %u", region, job->id,
                             weir_meta_region_attempt(job, region), attempt);
    } else if (!weir_meta_region_uses(job, region, tm_id)) {
        (void)weir_error_set(err, WEIR_STALE, "TaskManager %s has no part in attempt %u of job %s", tm_id, attempt, job->id);
    } else {
        present = true;
    }
    *out_present = present;
    return WEIR_OK;
}

void weir_dispatcher_tm_closed(struct weir_dispatcher *d, const char *tm_id, struct weir_now now)
{
    weir_tm_registry_closed(d->tms, tm_id, now.mono_ms);
}

void weir_dispatcher_enumerated(struct weir_dispatcher *d, struct weir_slice job_id, uint32_t vertex, enum weir_rc rc,
                                const struct weir_ha_split *splits, uint32_t nsplits, const char *text, struct weir_now now)
{
    d->now = now;
    struct weir_job *job = find_job(d, job_id);
    if (job != NULL) {
        weir_job_enumerated(job, vertex, rc, splits, nsplits, text, now);
        d->dirty = true;
        settle(d);
    }
}

void weir_dispatcher_deployed(struct weir_dispatcher *d, struct weir_slice job_id, uint32_t attempt, const char *tm_id, enum weir_rc rc,
                              const char *text, struct weir_now now)
{
    d->now = now;
    struct weir_job *job = find_job(d, job_id);
    if (job != NULL) {
        weir_job_deployed(job, attempt, tm_id, rc, text, now);
        d->dirty = true;
        settle(d);
    }
}

/* --- checkpoints ------------------------------------------------------------------------------------------------------ */
static struct weir_ckpt_coordinator *coordinator(struct weir_dispatcher *d, struct weir_slice job_id, struct weir_now now)
{
    d->now = now;
    const struct weir_job *job = find_job(d, job_id);
    return job == NULL ? NULL : weir_job_checkpoints(job);
}

enum weir_rc weir_dispatcher_ckpt_report(struct weir_dispatcher *d, const char *tm_id, uint64_t epoch, const struct weir_ckpt_report *report,
                                         struct weir_now now, struct weir_error *err)
{
    d->now = now;
    enum weir_rc rc = check_sender(d, tm_id, epoch, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct weir_job *job = find_job(d, report->job_id);
    if (job == NULL || weir_job_checkpoints(job) == NULL) {
        return weir_error_set(err, WEIR_STALE, "there is no job %.*s that takes checkpoints", WEIR_SLICE_ARG(report->job_id));
    }
    rc = weir_job_ckpt_ack(job, tm_id, report->attempt, report->checkpoint_id, &report->handle, report->ended, report->declined, now, err);
    settle(d);
    return rc;
}

void weir_dispatcher_ckpt_told(struct weir_dispatcher *d, struct weir_slice job_id, uint32_t attempt, uint64_t checkpoint_id, bool triggered,
                               enum weir_rc rc, const char *text, struct weir_now now)
{
    struct weir_ckpt_coordinator *coord = coordinator(d, job_id, now);
    if (coord != NULL && rc != WEIR_OK && triggered) {
        weir_ckpt_coordinator_trigger_failed(coord, attempt, checkpoint_id, text, now);
    } else if (coord != NULL && rc != WEIR_OK) {
        weir_ckpt_coordinator_notify_failed(coord, attempt, checkpoint_id, now);
    }
    settle(d);
}

void weir_dispatcher_ckpt_prepared(struct weir_dispatcher *d, struct weir_slice job_id, uint64_t checkpoint_id, enum weir_rc rc, const char *text,
                                   struct weir_now now)
{
    struct weir_ckpt_coordinator *coord = coordinator(d, job_id, now);
    if (coord != NULL) {
        weir_ckpt_coordinator_prepared(coord, checkpoint_id, rc, text, now);
    }
    settle(d);
}

void weir_dispatcher_ckpt_stored(struct weir_dispatcher *d, struct weir_slice job_id, uint64_t checkpoint_id, enum weir_rc rc, const char *path,
                                 uint64_t bytes, uint64_t hash, const char *text, struct weir_now now)
{
    struct weir_ckpt_coordinator *coord = coordinator(d, job_id, now);
    if (coord != NULL) {
        weir_ckpt_coordinator_stored(coord, checkpoint_id, rc, path, bytes, hash, text, now);
    }
    settle(d);
}

void weir_dispatcher_ckpt_loaded(struct weir_dispatcher *d, struct weir_slice job_id, uint32_t attempt, enum weir_rc rc,
                                 const struct weir_ckpt_manifest *manifest, const char *text, struct weir_now now)
{
    d->now = now;
    struct weir_job *job = find_job(d, job_id);
    if (job != NULL) {
        weir_job_ckpt_loaded(job, attempt, rc, manifest, text, now);
        d->dirty = true;
    }
    settle(d);
}

/* --- jobs that have ended --------------------------------------------------------------------------------------------- */
/* Those that are on their way, too. */
static uint32_t count_jobs(const struct weir_dispatcher *d)
{
    uint32_t count = (uint32_t)d->njobs + weir_ended_count(d->ended);
    for (size_t i = 0; i < d->nproposals; i++) {
        count += d->proposals[i]->kind == WEIR_HA_SUBMIT;
    }
    return count;
}

/* (D4), (D5) */
static void forget_ended(struct weir_dispatcher *d)
{
    uint32_t jobs = count_jobs(d);
    while (weir_ended_forget(d->ended, jobs, d->now)) {
        sweep_ended(d);
    }
}

void weir_dispatcher_swept(struct weir_dispatcher *d, struct weir_slice job_id, struct weir_now now)
{
    d->now = now;
    const struct weir_meta_job *job = weir_meta_job(d->meta, job_id);
    if (weir_ended_swept(d->ended, job_id)) {
        (void)propose(d, &(struct weir_ha_record){.kind = WEIR_HA_JOB_DROP, .job_id = job->id});
    }
    (void)weir_dispatcher_job(d, job_id); /* one by one, in no hurry: for the lists */
    sweep_ended(d);
}

/* (D5) */
static enum weir_rc check_room(struct weir_dispatcher *d, struct weir_error *err)
{
    forget_ended(d);
    uint32_t jobs = count_jobs(d) - weir_ended_forgetting(d->ended);
    uint32_t ended = weir_ended_count(d->ended) - weir_ended_forgetting(d->ended);
    if (jobs - ended >= d->jobs_max) {
        return weir_error_set(err, WEIR_LIMIT, "there are %u jobs that have not ended, as many as a cluster may have: cancel some, or wait for their end",
                              jobs - ended);
    }
    if (jobs >= d->jobs_max) {
        return weir_error_set(err, WEIR_LIMIT,
                              "there are %u jobs already, %u of which have ended and are listed for %lld ms at least: submit it again in a minute, or "
                              "set a jobstore.expiration-time below that",
                              jobs, ended, (long long)weir_ended_hold_ms(d->ended));
    }
    return WEIR_OK;
}

/* --- clients ---------------------------------------------------------------------------------------------------------- */
void weir_dispatcher_submit(struct weir_dispatcher *d, struct weir_slice job_id, const char *name, const uint64_t text_hash[2],
                            struct weir_slice graph, struct weir_now now, weir_jm_done_fn *done, void *ctx)
{
    d->now = now;
    struct weir_error err = no_error;
    const struct weir_meta_job *same_id = weir_meta_job(d->meta, job_id);
    bool decided = true;
    if (check_leading(d, &err) != WEIR_OK) {
        decided = true;
    } else if (job_id.len != WEIR_JOB_ID_TEXT) {
        (void)weir_error_set(&err, WEIR_INVALID, "a job's id has %d hexadecimal digits, not %zu bytes", WEIR_JOB_ID_TEXT, job_id.len);
    } else if (same_id != NULL && (same_id->text_hash[0] != text_hash[0] || same_id->text_hash[1] != text_hash[1])) {
        (void)weir_error_set(&err, WEIR_EXISTS, "another job was submitted under the id %s", same_id->id);
    } else if (same_id == NULL && weir_meta_job_named(d->meta, weir_slice_str(name)) != NULL) {
        (void)weir_error_set(&err, WEIR_EXISTS, "a job named \"%s\" is running (%s): cancel it, or give this one another name", name,
                             weir_meta_job_named(d->meta, weir_slice_str(name))->id);
    } else {
        decided = same_id != NULL || check_room(d, &err) != WEIR_OK;
    }
    if (decided) {
        answer(d, done, ctx, &err);
        return;
    }
    char id[WEIR_JOB_ID_TEXT + 1];
    (void)snprintf(id, sizeof(id), "%.*s", WEIR_SLICE_ARG(job_id));
    struct weir_ha_record record = {.kind = WEIR_HA_SUBMIT, .job_id = id};
    record.u.submit.name = name;
    record.u.submit.text_hash[0] = text_hash[0];
    record.u.submit.text_hash[1] = text_hash[1];
    record.u.submit.graph = graph;
    struct proposal *p = propose(d, &record);
    p->text_hash[0] = text_hash[0];
    p->text_hash[1] = text_hash[1];
    p->done = done;
    p->ctx = ctx;
}

void weir_dispatcher_cancel(struct weir_dispatcher *d, struct weir_slice job_id, bool skip_drain, struct weir_now now, weir_jm_done_fn *done, void *ctx)
{
    d->now = now;
    struct weir_error err = no_error;
    const struct weir_meta_job *job = weir_meta_job(d->meta, job_id);
    bool decided = true;
    if (check_leading(d, &err) != WEIR_OK) {
        decided = true;
    } else if (job == NULL) {
        (void)weir_error_set(&err, WEIR_NOT_FOUND, "there is no job %.*s", WEIR_SLICE_ARG(job_id));
    } else if (weir_meta_terminal(job->state)) {
        (void)weir_error_set(&err, WEIR_STATE, "job %s is %s already", job->id,
                             job->state == WEIR_META_FINISHED ? "FINISHED" : job->state == WEIR_META_FAILED ? "FAILED" : "CANCELED");
    } else {
        decided = job->state == WEIR_META_CANCELLING && (job->skip_drain || !skip_drain);
    }
    if (decided) {
        answer(d, done, ctx, &err);
        return;
    }
    struct weir_ha_record record = {.kind = WEIR_HA_JOB_STATE, .job_id = job->id};
    record.u.job_state.state = WEIR_META_CANCELLING;
    record.u.job_state.attempt = job->attempt;
    record.u.job_state.text = "";
    record.u.job_state.skip_drain = skip_drain;
    struct proposal *p = propose(d, &record);
    p->done = done;
    p->ctx = ctx;
}

void weir_dispatcher_jobmanager(struct weir_dispatcher *d, const struct weir_meta_member *member, struct weir_now now)
{
    d->now = now;
    const struct weir_meta_member *known = weir_meta_member(d->meta, member->id);
    bool news = d->leading && (known == NULL || (known->incarnation == member->incarnation && !known->removed));
    if (news && known != NULL && !member->removed) {
        news = strcmp(known->rpc_address, member->rpc_address) != 0 || strcmp(known->rest_address, member->rest_address) != 0;
    }
    for (size_t i = 0; news && i < d->nproposals; i++) {
        news = d->proposals[i]->kind != WEIR_HA_JOBMANAGER || d->proposals[i]->member_id != member->id;
    }
    if (news) {
        struct weir_ha_record record = {.kind = WEIR_HA_JOBMANAGER, .job_id = ""};
        record.u.jobmanager.id = member->id;
        record.u.jobmanager.incarnation = member->incarnation;
        record.u.jobmanager.rpc_address = member->rpc_address;
        record.u.jobmanager.rest_address = member->rest_address;
        record.u.jobmanager.removed = member->removed;
        (void)propose(d, &record);
    }
}

/* --- time ------------------------------------------------------------------------------------------------------------- */
void weir_dispatcher_was_away(struct weir_dispatcher *d, int64_t away_ms, struct weir_now now)
{
    weir_tm_registry_was_away(d->tms, away_ms, now.mono_ms);
    for (size_t i = 0; i < d->njobs; i++) {
        weir_job_was_away(d->jobs[i], d->tms, away_ms, now);
    }
}

void weir_dispatcher_tick(struct weir_dispatcher *d, struct weir_now now)
{
    d->now = now;
    for (size_t i = 0; i < d->nproposals; i++) {
        if (d->proposals[i]->retry_at_ms <= now.mono_ms) {
            emit_proposal(d, d->proposals[i]);
        }
    }
    if (!d->leading) {
        return;
    }
    const char *why = NULL;
    for (struct weir_tm_entry *tm = weir_tm_registry_take_lost(d->tms, now.mono_ms, &why); tm != NULL;
         tm = weir_tm_registry_take_lost(d->tms, now.mono_ms, &why)) {
        lose_tm(d, tm, why);
    }
    for (size_t i = 0; i < d->njobs; i++) {
        if (weir_job_deadline_ms(d->jobs[i]) <= now.mono_ms) {
            weir_job_tick(d->jobs[i], now);
        }
    }
    forget_ended(d);
    d->dirty = true;
    settle(d);
}

int64_t weir_dispatcher_deadline_ms(const struct weir_dispatcher *d, struct weir_now now)
{
    int64_t deadline = INT64_MAX;
    for (size_t i = 0; i < d->nproposals; i++) {
        deadline = d->proposals[i]->retry_at_ms < deadline ? d->proposals[i]->retry_at_ms : deadline;
    }
    if (!d->leading) {
        return deadline;
    }
    int64_t tms = weir_tm_registry_deadline_ms(d->tms);
    deadline = tms < deadline ? tms : deadline;
    for (size_t i = 0; i < d->njobs; i++) {
        int64_t at = weir_job_deadline_ms(d->jobs[i]);
        deadline = at < deadline ? at : deadline;
    }
    int64_t ended = weir_ended_deadline_ms(d->ended, count_jobs(d), now);
    return ended < deadline ? ended : deadline;
}

/* --- views ------------------------------------------------------------------------------------------------------------ */
bool weir_dispatcher_leading(const struct weir_dispatcher *d)
{
    return d->leading;
}

uint64_t weir_dispatcher_epoch(const struct weir_dispatcher *d)
{
    return d->epoch;
}

const struct weir_meta *weir_dispatcher_meta(const struct weir_dispatcher *d)
{
    return d->meta;
}

struct weir_tm_registry *weir_dispatcher_tms(struct weir_dispatcher *d)
{
    return d->tms;
}

uint32_t weir_dispatcher_job_count(const struct weir_dispatcher *d)
{
    return d->leading ? weir_meta_job_count(d->meta) : 0;
}

struct weir_job *weir_dispatcher_job_at(struct weir_dispatcher *d, uint32_t i)
{
    return weir_dispatcher_job(d, weir_slice_str(weir_meta_job_at(d->meta, i)->id));
}

struct weir_job *weir_dispatcher_job(struct weir_dispatcher *d, struct weir_slice id)
{
    struct weir_job *job = find_job(d, id);
    const struct weir_meta_job *meta = job == NULL && d->leading ? weir_meta_job(d->meta, id) : NULL;
    return meta == NULL ? job : make_job(d, meta, false);
}

void weir_dispatcher_job_view(const struct weir_dispatcher *d, uint32_t i, struct weir_now now, struct weir_job_view *out_view)
{
    const struct weir_meta_job *meta = weir_meta_job_at(d->meta, i);
    struct weir_job *job = find_job(d, weir_slice_str(meta->id));
    job != NULL ? weir_job_view(job, now, out_view) : weir_job_view_ended(meta, out_view);
}
