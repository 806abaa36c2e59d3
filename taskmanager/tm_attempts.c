#include "taskmanager/tm_attempts.h"

#include "common/base/assert.h"
#include "common/base/hmap.h"
#include "common/base/vec.h"
#include "proto/ckpt_codec.h"
#include "taskmanager/tm_deploy.h"

#include <stdio.h>

/* One task with what the owner's thread knows of it. */
struct held_task {
    struct attempt *attempt;
    uint32_t vertex;
    uint32_t subtask;
    struct weir_task_thread *thread;
    struct weir_log *log;
    Weir__Control__TaskState state;
    struct weir_error failure;
    bool over;
    bool acked; /* the JobManager knows the final state */
};

/* One for all regions of a deployment. */
struct shared_graph {
    struct weir_jobgraph *graph;
    uint32_t refs;
};

/* Of a region. */
struct attempt {
    struct weir_tm_attempts *owner;
    char *job_id;
    uint32_t region;
    uint32_t number;
    uint32_t run; /* of the deployment */
    struct shared_graph *shared;
    const struct weir_jobgraph *graph; /* shared's */
    struct weir_task_host host;
    struct weir_log *log;
    struct held_task *tasks;
    uint32_t ntasks;
    bool canceled;
};

struct weir_tm_attempts {
    struct weir_tm_attempts_options options;
    struct attempt **items;
    size_t count;
    size_t cap;
    struct weir_hmap *tombstones; /* job id, or "<job id>/<region>" -> (void *)(uintptr_t) highest canceled attempt */
};

/* A phase change on its way from a task's thread. */
struct phase_mail {
    struct held_task *task;
    enum weir_task_phase phase;
    struct weir_error failure;
};

/* A task's part of a checkpoint on its way from its thread. */
struct snapshot_mail {
    struct held_task *task;
    struct weir_task_snapshot snapshot; /* handle.path is a copy */
};

struct weir_tm_attempts *weir_tm_attempts_create(const struct weir_tm_attempts_options *options)
{
    struct weir_tm_attempts *attempts = weir_calloc(1, sizeof(*attempts));
    attempts->options = *options;
    attempts->tombstones = weir_hmap_create(0);
    return attempts;
}

static void unref_graph(struct shared_graph *shared)
{
    if (--shared->refs == 0) {
        weir_jobgraph_destroy(shared->graph);
        weir_free(shared);
    }
}

static void destroy_attempt(struct attempt *attempt)
{
    for (uint32_t i = 0; i < attempt->ntasks; i++) {
        weir_task_thread_destroy(attempt->tasks[i].thread);
        weir_log_destroy(attempt->tasks[i].log);
    }
    weir_free(attempt->tasks);
    attempt->host.lease->unref(attempt->host.lease);
    weir_tm_fences_remove(attempt->owner->options.fences, attempt->host.fence);
    weir_fence_unref(attempt->host.fence);
    weir_log_destroy(attempt->log);
    unref_graph(attempt->shared);
    weir_free(attempt->job_id);
    weir_free(attempt);
}

void weir_tm_attempts_destroy(struct weir_tm_attempts *attempts)
{
    if (attempts == NULL) {
        return;
    }
    for (size_t i = 0; i < attempts->count; i++) {
        destroy_attempt(attempts->items[i]);
    }
    weir_free(attempts->items);
    weir_hmap_destroy(attempts->tombstones);
    weir_free(attempts);
}

static Weir__Control__TaskState state_of(enum weir_task_phase phase)
{
    switch (phase) {
    case WEIR_TASK_PHASE_INITIALIZING:
        return WEIR__CONTROL__TASK_STATE__TASK_INITIALIZING;
    case WEIR_TASK_PHASE_RUNNING:
        return WEIR__CONTROL__TASK_STATE__TASK_RUNNING;
    case WEIR_TASK_PHASE_CANCELING:
        return WEIR__CONTROL__TASK_STATE__TASK_CANCELING;
    case WEIR_TASK_PHASE_FINISHED:
        return WEIR__CONTROL__TASK_STATE__TASK_FINISHED;
    case WEIR_TASK_PHASE_CANCELED:
        return WEIR__CONTROL__TASK_STATE__TASK_CANCELED;
    case WEIR_TASK_PHASE_FAILED:
        return WEIR__CONTROL__TASK_STATE__TASK_FAILED;
    }
    weir_assert(false);
}

static bool phase_over(enum weir_task_phase phase)
{
    return phase == WEIR_TASK_PHASE_FINISHED || phase == WEIR_TASK_PHASE_CANCELED || phase == WEIR_TASK_PHASE_FAILED;
}

static struct weir_tm_status status_of(const struct held_task *task)
{
    return (struct weir_tm_status){
        .job_id = task->attempt->job_id,
        .attempt = task->attempt->number,
        .vertex = task->vertex,
        .subtask = task->subtask,
        .state = task->state,
        .failure = task->state == WEIR__CONTROL__TASK_STATE__TASK_FAILED ? &task->failure : NULL,
        .counts = weir_task_counts(weir_task_thread_task(task->thread)),
    };
}

/* With the last task goes the fence: there is nothing left that it could pause. */
static void unfence_over(struct attempt *attempt)
{
    for (uint32_t i = 0; i < attempt->ntasks; i++) {
        if (!attempt->tasks[i].over) {
            return;
        }
    }
    weir_tm_fences_remove(attempt->owner->options.fences, attempt->host.fence);
}

static void phase_changed(void *payload)
{
    struct phase_mail *mail = payload;
    struct held_task *task = mail->task;
    struct weir_tm_attempts *attempts = task->attempt->owner;
    task->state = state_of(mail->phase);
    task->over = phase_over(mail->phase);
    if (mail->phase == WEIR_TASK_PHASE_FAILED) {
        task->failure = mail->failure;
        weir_log(task->log, WEIR_LOG_WARN, "task_failed", "error", weir_rc_name(mail->failure.rc), "text", mail->failure.text, NULL);
    } else if (task->over) {
        weir_log(task->log, WEIR_LOG_INFO, mail->phase == WEIR_TASK_PHASE_FINISHED ? "task_finished" : "task_canceled", NULL);
    }
    weir_free(mail);
    if (task->over) {
        weir_task_thread_join(task->thread);
        unfence_over(task->attempt);
    }
    struct weir_tm_status status = status_of(task);
    attempts->options.on_change(attempts->options.ctx, &status);
}

static struct held_task *task_of(struct attempt *attempt, const struct weir_task_thread *thread)
{
    for (uint32_t i = 0; i < attempt->ntasks; i++) {
        if (attempt->tasks[i].thread == thread) {
            return &attempt->tasks[i];
        }
    }
    weir_assert(false);
}

static void free_snapshot_mail(void *payload)
{
    struct snapshot_mail *mail = payload;
    weir_free(mail->snapshot.handle.path);
    weir_free(mail);
}

static void snapshot_ready(void *payload)
{
    struct snapshot_mail *mail = payload;
    struct weir_tm_attempts *attempts = mail->task->attempt->owner;
    struct weir_tm_status status = status_of(mail->task);
    if (!mail->snapshot.taken) {
        weir_log(mail->task->log, WEIR_LOG_WARN, "checkpoint_declined", "checkpoint", WEIR_LOG_INT(mail->snapshot.checkpoint), "why",
                 mail->snapshot.err.text, NULL);
    }
    attempts->options.on_snapshot(attempts->options.ctx, &status, &mail->snapshot);
    free_snapshot_mail(mail);
}

/* On the task's thread. */
static void on_snapshot(void *ctx, struct weir_task_thread *thread, const struct weir_task_snapshot *snapshot)
{
    struct attempt *attempt = ctx;
    struct snapshot_mail *mail = weir_calloc(1, sizeof(*mail));
    mail->task = task_of(attempt, thread);
    mail->snapshot = *snapshot;
    mail->snapshot.handle.path = snapshot->handle.path == NULL ? NULL : weir_strdup(snapshot->handle.path);
    struct weir_mail posted = {.run = snapshot_ready, .drop = free_snapshot_mail, .payload = mail};
    if (weir_mailbox_post(attempt->owner->options.mailbox, WEIR_MAIL_CONTROL, posted) != WEIR_OK) {
        weir_mail_drop(&posted); /* not acknowledged: the checkpoint runs out of time */
    }
}

/* On the task's thread. */
static void on_phase(void *ctx, struct weir_task_thread *thread, enum weir_task_phase phase, const struct weir_error *failure)
{
    struct attempt *attempt = ctx;
    struct phase_mail *mail = weir_calloc(1, sizeof(*mail));
    mail->task = task_of(attempt, thread);
    mail->phase = phase;
    if (failure != NULL) {
        mail->failure = *failure;
    }
    struct weir_mail posted = {.run = phase_changed, .drop = weir_free, .payload = mail};
    enum weir_rc rc = weir_mailbox_post(attempt->owner->options.mailbox, WEIR_MAIL_CONTROL, posted);
    weir_assert(rc == WEIR_OK); /* the mailbox is sized for every task's phases and closed after the last task */
}

static struct attempt *find_attempt(const struct weir_tm_attempts *attempts, const char *job_id, uint32_t region, uint32_t number)
{
    for (size_t i = 0; i < attempts->count; i++) {
        const struct attempt *attempt = attempts->items[i];
        if (attempt->number == number && attempt->region == region && strcmp(attempt->job_id, job_id) == 0) {
            return attempts->items[i];
        }
    }
    return NULL;
}

enum { TOMBSTONE_KEY_MAX = 320 };

/* Of the region alone; job_id may be any text. */
static struct weir_slice tombstone_key(const char *job_id, uint32_t region, char buf[TOMBSTONE_KEY_MAX])
{
    int len = snprintf(buf, TOMBSTONE_KEY_MAX, "%.300s/%u", job_id, region);
    return weir_slice(buf, (size_t)len);
}

static uint32_t tombstone(const struct weir_tm_attempts *attempts, const char *job_id, uint32_t region)
{
    char buf[TOMBSTONE_KEY_MAX];
    uint32_t whole = (uint32_t)(uintptr_t)weir_hmap_get(attempts->tombstones, weir_slice_str(job_id));
    uint32_t own = (uint32_t)(uintptr_t)weir_hmap_get(attempts->tombstones, tombstone_key(job_id, region, buf));
    return own > whole ? own : whole;
}

static struct held_task *find_task(const struct attempt *attempt, uint32_t vertex, uint32_t subtask)
{
    for (uint32_t i = 0; i < attempt->ntasks; i++) {
        if (attempt->tasks[i].vertex == vertex && attempt->tasks[i].subtask == subtask) {
            return &attempt->tasks[i];
        }
    }
    return NULL;
}

static enum weir_rc make_task(struct attempt *attempt, const Weir__Control__DeployRequest *of, const Weir__Control__TaskDeployment *order,
                              struct held_task *task, struct weir_error *err)
{
    const struct weir_vertex *vertex = &attempt->graph->vertices[order->vertex];
    task->attempt = attempt;
    task->vertex = order->vertex;
    task->subtask = order->subtask;
    task->state = WEIR__CONTROL__TASK_STATE__TASK_DEPLOYING;
    char name[64];
    (void)snprintf(name, sizeof(name), "%u/%u", order->subtask + 1, vertex->parallelism);
    struct weir_log *named = weir_log_bind(attempt->log, "task", vertex->name);
    task->log = weir_log_bind(named, "subtask", name);
    weir_log_destroy(named);
    struct weir_split *splits = weir_calloc(order->n_splits, sizeof(*splits));
    for (size_t i = 0; i < order->n_splits; i++) {
        splits[i].id = weir_slice_str(order->splits[i]->id);
        splits[i].data = weir_slice(order->splits[i]->data.data, order->splits[i]->data.len);
    }
    struct weir_task_part *parts = weir_calloc(order->n_restore, sizeof(*parts));
    weir_tm_deploy_parts(order, parts);
    struct weir_task_spec spec = {
        .graph = attempt->graph,
        .vertex = order->vertex,
        .subtask = order->subtask,
        .attempt = attempt->number,
        .job_id = attempt->job_id,
        .splits = splits,
        .nsplits = (uint32_t)order->n_splits,
        .checkpoints_dir = attempt->owner->options.checkpoints_dir,
        .restore = parts,
        .nrestore = (uint32_t)order->n_restore,
        .restore_checkpoint = of->restored_checkpoint_id,
        .run = of->run,
        .drain_only = of->drain_only,
    };
    enum weir_rc rc = weir_task_thread_create(&spec, task->log, &attempt->host, &task->thread, err);
    weir_free(splits);
    weir_free(parts);
    return rc;
}

/* The producer end of the channel from task `from` of an edge to subtask `to`; the consumer end goes to the local task or to the links. */
static struct weir_channel *wire_output(struct attempt *attempt, const Weir__Control__DeployRequest *order, uint32_t edge_index,
                                        struct held_task *from, uint32_t to)
{
    struct weir_tm_attempts *attempts = attempt->owner;
    const struct weir_edge *edge = &attempt->graph->edges[edge_index];
    struct weir_channel *channel = weir_channel_create(attempts->options.channel_bytes);
    weir_channel_set_producer_take(channel, weir_task_thread_wake_ref(from->thread));
    struct held_task *consumer = find_task(attempt, edge->to, to);
    if (consumer != NULL) {
        weir_channel_set_consumer_take(channel, weir_task_thread_wake_ref(consumer->thread));
        weir_task_add_input_take(weir_task_thread_task(consumer->thread), edge_index, channel);
        return channel;
    }
    struct weir_channel_id id = {attempt->job_id, attempt->region, attempt->number, edge_index, from->subtask, to};
    weir_links_send_take(attempts->options.links, weir_tm_deploy_location(order, edge->to, to), &id, channel);
    return channel;
}

static void wire_outputs(struct attempt *attempt, const Weir__Control__DeployRequest *order, struct held_task *task)
{
    const struct weir_vertex *vertex = &attempt->graph->vertices[task->vertex];
    for (uint32_t i = 0; i < vertex->noutputs; i++) {
        const struct weir_edge *edge = &attempt->graph->edges[vertex->outputs[i]];
        bool forward = edge->exchange == WEIR_EXCHANGE_FORWARD;
        uint32_t count = forward ? 1 : attempt->graph->vertices[edge->to].parallelism;
        struct weir_channel **channels = weir_calloc(count, sizeof(struct weir_channel *));
        for (uint32_t k = 0; k < count; k++) {
            channels[k] = wire_output(attempt, order, vertex->outputs[i], task, forward ? task->subtask : k);
        }
        weir_task_add_output_take(weir_task_thread_task(task->thread), vertex->outputs[i], channels, count);
        weir_free(channels);
    }
}

/* Channels from producers that other TaskManagers run. */
static void wire_remote_inputs(struct attempt *attempt, struct held_task *task)
{
    struct weir_tm_attempts *attempts = attempt->owner;
    const struct weir_vertex *vertex = &attempt->graph->vertices[task->vertex];
    for (uint32_t i = 0; i < vertex->ninputs; i++) {
        const struct weir_edge *edge = &attempt->graph->edges[vertex->inputs[i]];
        bool forward = edge->exchange == WEIR_EXCHANGE_FORWARD;
        uint32_t producers = attempt->graph->vertices[edge->from].parallelism;
        for (uint32_t from = 0; from < producers; from++) {
            if ((forward && from != task->subtask) || find_task(attempt, edge->from, from) != NULL) {
                continue;
            }
            struct weir_channel *channel = weir_channel_create(attempts->options.channel_bytes);
            weir_channel_set_consumer_take(channel, weir_task_thread_wake_ref(task->thread));
            weir_task_add_input_take(weir_task_thread_task(task->thread), vertex->inputs[i], channel);
            struct weir_channel_id id = {attempt->job_id, attempt->region, attempt->number, vertex->inputs[i], from, task->subtask};
            weir_links_receive_take(attempts->options.links, &id, edge->schema, channel);
        }
    }
}

static struct attempt *make_attempt(struct weir_tm_attempts *attempts, const Weir__Control__DeployRequest *order, uint32_t region,
                                    struct shared_graph *shared)
{
    struct attempt *attempt = weir_calloc(1, sizeof(*attempt));
    attempt->owner = attempts;
    attempt->job_id = weir_strdup(order->job_id);
    attempt->region = region;
    attempt->number = order->attempt;
    attempt->run = order->run;
    attempt->shared = shared;
    attempt->graph = shared->graph;
    shared->refs++;
    attempt->host = (struct weir_task_host){
        .pool = attempts->options.pool,
        .fs = attempts->options.fs,
        .clock = attempts->options.clock,
        .mem = attempts->options.mem,
        .lease = weir_tm_lease_create(attempts->options.leases, order->job_id, region, order->attempt),
        .fence = weir_tm_fences_add(attempts->options.fences, &(struct weir_tm_fence_of){order->job_id, region, order->attempt}),
        .backend = attempts->options.backend,
        .on_phase = on_phase,
        .on_snapshot = on_snapshot,
        .ctx = attempt,
    };
    struct weir_log *of_job = weir_log_bind(attempts->options.log, "job", order->job_id);
    char number[16];
    (void)snprintf(number, sizeof(number), "%u", order->attempt);
    attempt->log = weir_log_bind(of_job, "attempt", number);
    weir_log_destroy(of_job);
    return attempt;
}

/* All tasks of one region of the order, not started. */
static enum weir_rc make_region(struct weir_tm_attempts *attempts, const Weir__Control__DeployRequest *order, uint32_t region,
                                struct shared_graph *shared, struct attempt **out_attempt, struct weir_error *err)
{
    struct attempt *attempt = make_attempt(attempts, order, region, shared);
    enum weir_rc rc = WEIR_OK;
    uint32_t ntasks = 0;
    for (size_t i = 0; i < order->n_tasks; i++) {
        ntasks += order->tasks[i]->region == region;
    }
    attempt->tasks = weir_calloc(ntasks, sizeof(*attempt->tasks));
    for (size_t i = 0; rc == WEIR_OK && i < order->n_tasks; i++) {
        if (order->tasks[i]->region == region) {
            rc = make_task(attempt, order, order->tasks[i], &attempt->tasks[attempt->ntasks], err);
            attempt->ntasks += rc == WEIR_OK;
        }
    }
    if (rc != WEIR_OK) {
        destroy_attempt(attempt);
        return rc;
    }
    *out_attempt = attempt;
    return WEIR_OK;
}

/* Wires the tasks and starts them. The attempt is held from now on. */
static void start_region(struct attempt *attempt, const Weir__Control__DeployRequest *order)
{
    struct weir_tm_attempts *attempts = attempt->owner;
    for (uint32_t i = 0; !order->drain_only && i < attempt->ntasks; i++) {
        wire_outputs(attempt, order, &attempt->tasks[i]);
        wire_remote_inputs(attempt, &attempt->tasks[i]);
    }
    attempts->items = weir_vec_grow(attempts->items, &attempts->cap, sizeof(struct attempt *), attempts->count + 1);
    attempts->items[attempts->count++] = attempt;
    for (uint32_t i = 0; i < attempt->ntasks; i++) {
        struct held_task *task = &attempt->tasks[i];
        struct weir_error failure;
        if (weir_task_thread_start(task->thread, &failure) != WEIR_OK) { /* no thread to be had: the task failed before it ran */
            on_phase(attempt, task->thread, WEIR_TASK_PHASE_FAILED, &failure);
        }
    }
}

/* The regions of the order that are to start here, each once, in *out_regions (the caller frees). *out_held: others have started before. */
static uint32_t regions_to_start(const struct weir_tm_attempts *attempts, const Weir__Control__DeployRequest *order, uint32_t **out_regions,
                                 bool *out_held)
{
    uint32_t *regions = weir_calloc(order->n_tasks, sizeof(*regions));
    uint32_t count = 0;
    *out_held = false;
    for (size_t i = 0; i < order->n_tasks; i++) {
        uint32_t region = order->tasks[i]->region;
        bool known = false;
        for (uint32_t k = 0; !known && k < count; k++) {
            known = regions[k] == region;
        }
        if (known || order->attempt <= tombstone(attempts, order->job_id, region)) {
            continue;
        }
        if (find_attempt(attempts, order->job_id, region, order->attempt) != NULL) { /* A1 */
            *out_held = true;
        } else {
            regions[count++] = region;
        }
    }
    *out_regions = regions;
    return count;
}

/* Makes all tasks, wires them, starts them. On error nothing of the order runs and all of it is gone. */
static enum weir_rc start_order(struct weir_tm_attempts *attempts, const Weir__Control__DeployRequest *order, const uint32_t *regions,
                                uint32_t nregions, struct shared_graph *shared, struct weir_error *err)
{
    struct attempt **made = weir_calloc(nregions, sizeof(struct attempt *));
    enum weir_rc rc = WEIR_OK;
    uint32_t count = 0;
    uint32_t ntasks = 0;
    for (uint32_t r = 0; rc == WEIR_OK && r < nregions; r++) {
        rc = make_region(attempts, order, regions[r], shared, &made[r], err);
        count += rc == WEIR_OK;
    }
    for (uint32_t r = 0; r < count; r++) {
        ntasks += made[r]->ntasks;
        if (rc == WEIR_OK) {
            start_region(made[r], order);
        } else {
            destroy_attempt(made[r]);
        }
    }
    if (rc == WEIR_OK) {
        weir_log(made[0]->log, WEIR_LOG_INFO, "attempt_deployed", "name", order->job_name, "tasks", WEIR_LOG_INT(ntasks), "regions",
                 WEIR_LOG_INT(nregions), NULL);
    }
    weir_free(made);
    return rc;
}

/* With another parallelism the job's regions are others, so that A3 would not find each one's predecessor by its number. */
static void cancel_other_runs(struct weir_tm_attempts *attempts, const Weir__Control__DeployRequest *order)
{
    for (size_t i = 0; i < attempts->count; i++) {
        const struct attempt *of = attempts->items[i];
        if (of->run != order->run && of->number < order->attempt && strcmp(of->job_id, order->job_id) == 0) {
            weir_tm_attempts_cancel(attempts, order->job_id, NULL, 0, order->attempt - 1);
            return;
        }
    }
}

enum weir_rc weir_tm_attempts_deploy(struct weir_tm_attempts *attempts, const Weir__Control__DeployRequest *order, struct weir_error *err)
{
    bool held = false;
    uint32_t *regions = NULL;
    uint32_t nregions = regions_to_start(attempts, order, &regions, &held);
    struct shared_graph *shared = weir_calloc(1, sizeof(*shared));
    shared->refs = 1;
    enum weir_rc rc = WEIR_OK;
    if (nregions == 0 && !held) {
        rc = weir_error_set(err, WEIR_STALE, "deploy: attempt %u of job %s was canceled here", order->attempt, order->job_id);
    }
    if (rc == WEIR_OK && nregions > 0) {
        rc = weir_tm_deploy_graph(order, &shared->graph, err);
        if (rc == WEIR_OK) {
            cancel_other_runs(attempts, order);
            weir_tm_attempts_cancel(attempts, order->job_id, regions, nregions, order->attempt - 1); /* A3 */
            rc = start_order(attempts, order, regions, nregions, shared, err);
        }
    }
    unref_graph(shared);
    weir_free(regions);
    return rc;
}

static void cancel_attempt(struct attempt *attempt)
{
    if (attempt->canceled) {
        return;
    }
    attempt->canceled = true;
    for (uint32_t i = 0; i < attempt->ntasks; i++) {
        if (!attempt->tasks[i].over) {
            weir_task_thread_cancel(attempt->tasks[i].thread);
        }
    }
    weir_links_drop(attempt->owner->options.links, attempt->job_id, attempt->region, attempt->number);
}

/* A2 */
static void forget_settled(struct weir_tm_attempts *attempts, struct attempt *attempt)
{
    for (uint32_t i = 0; i < attempt->ntasks; i++) {
        if (!attempt->tasks[i].over || !attempt->tasks[i].acked) {
            return;
        }
    }
    for (size_t i = 0; attempt->canceled && i < attempts->count; i++) {
        if (attempts->items[i] == attempt) {
            attempts->items[i] = attempts->items[--attempts->count];
            destroy_attempt(attempt);
            return;
        }
    }
}

static void put_tombstone(struct weir_tm_attempts *attempts, struct weir_slice key, uint32_t attempt)
{
    if (attempt > (uint32_t)(uintptr_t)weir_hmap_get(attempts->tombstones, key)) {
        (void)weir_hmap_put(attempts->tombstones, key, (void *)(uintptr_t)attempt);
    }
}

/* One of the whole job stands for those of its regions that it covers. */
static void bury_job(struct weir_tm_attempts *attempts, const char *job_id, uint32_t attempt)
{
    size_t len = strlen(job_id);
    struct weir_hmap_iter it = {0};
    while (weir_hmap_next(attempts->tombstones, &it)) {
        bool own = it.key.len > len && it.key.data[len] == '/' && memcmp(it.key.data, job_id, len) == 0;
        if (own && (uint32_t)(uintptr_t)it.value <= attempt) {
            (void)weir_hmap_remove(attempts->tombstones, it.key);
        }
    }
    put_tombstone(attempts, weir_slice_str(job_id), attempt);
}

static bool in_regions(uint32_t region, const uint32_t *regions, size_t nregions)
{
    for (size_t i = 0; i < nregions; i++) {
        if (regions[i] == region) {
            return true;
        }
    }
    return nregions == 0;
}

void weir_tm_attempts_cancel(struct weir_tm_attempts *attempts, const char *job_id, const uint32_t *regions, size_t nregions, uint32_t attempt)
{
    char buf[TOMBSTONE_KEY_MAX];
    if (nregions == 0) {
        bury_job(attempts, job_id, attempt);
    }
    for (size_t i = 0; i < nregions; i++) {
        put_tombstone(attempts, tombstone_key(job_id, regions[i], buf), attempt);
    }
    for (size_t i = attempts->count; i-- > 0;) {
        struct attempt *of = attempts->items[i];
        if (of->number <= attempt && in_regions(of->region, regions, nregions) && strcmp(of->job_id, job_id) == 0) {
            cancel_attempt(of);
            forget_settled(attempts, of);
        }
    }
}

void weir_tm_attempts_cancel_all(struct weir_tm_attempts *attempts)
{
    for (size_t i = attempts->count; i-- > 0;) {
        cancel_attempt(attempts->items[i]);
        forget_settled(attempts, attempts->items[i]);
    }
}

/* Parts that the JobManager does not find where it looks for them are no checkpoint. */
static enum weir_rc check_directory(const struct weir_tm_attempts *attempts, const char *job_id, uint64_t checkpoint, const char *directory,
                                    struct weir_error *err)
{
    char *own = weir_ckpt_dir_copy(attempts->options.checkpoints_dir, job_id, checkpoint);
    enum weir_rc rc = WEIR_OK;
    if (strcmp(own, directory) != 0) {
        rc = weir_error_set(err, WEIR_INVALID,
                            "checkpoint %llu lies in %s for the JobManager and in %s for TaskManager %s: set state.checkpoints.dir to the same "
                            "directory, one that they share, for every daemon",
                            (unsigned long long)checkpoint, directory, own, attempts->options.tm_id);
    }
    weir_free(own);
    return rc;
}

enum weir_rc weir_tm_attempts_trigger(struct weir_tm_attempts *attempts, const char *job_id, uint32_t attempt, uint64_t checkpoint,
                                      const char *directory, struct weir_error *err)
{
    bool found = false;
    enum weir_rc rc = check_directory(attempts, job_id, checkpoint, directory, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    for (size_t k = 0; k < attempts->count; k++) {
        struct attempt *of = attempts->items[k];
        if (of->number > attempt || of->canceled || strcmp(of->job_id, job_id) != 0) {
            continue;
        }
        found = true;
        for (uint32_t i = 0; i < of->ntasks; i++) {
            if (!of->tasks[i].over) {
                weir_task_thread_trigger(of->tasks[i].thread, checkpoint);
            }
        }
    }
    return found ? WEIR_OK : weir_error_set(err, WEIR_NOT_FOUND, "attempt %u of job %s does not run here", attempt, job_id);
}

void weir_tm_attempts_notify(struct weir_tm_attempts *attempts, const char *job_id, uint32_t attempt, uint64_t checkpoint, enum weir_ckpt_outcome outcome)
{
    for (size_t k = 0; k < attempts->count; k++) {
        struct attempt *of = attempts->items[k];
        for (uint32_t i = 0; of->number <= attempt && strcmp(of->job_id, job_id) == 0 && i < of->ntasks; i++) {
            if (!of->tasks[i].over) {
                weir_task_thread_notify(of->tasks[i].thread, checkpoint, outcome);
            }
        }
    }
}

void weir_tm_attempts_resume(struct weir_tm_attempts *attempts, const char *job_id, uint32_t region, uint32_t attempt)
{
    const struct attempt *of = find_attempt(attempts, job_id, region, attempt);
    for (uint32_t i = 0; of != NULL && i < of->ntasks; i++) {
        weir_task_thread_wake(of->tasks[i].thread);
    }
}

uint32_t weir_tm_attempts_live(const struct weir_tm_attempts *attempts)
{
    uint32_t live = 0;
    for (size_t i = 0; i < attempts->count; i++) {
        for (uint32_t k = 0; k < attempts->items[i]->ntasks; k++) {
            live += !attempts->items[i]->tasks[k].over;
        }
    }
    return live;
}

uint32_t weir_tm_attempts_tasks(const struct weir_tm_attempts *attempts)
{
    uint32_t tasks = 0;
    for (size_t i = 0; i < attempts->count; i++) {
        tasks += attempts->items[i]->ntasks;
    }
    return tasks;
}

void weir_tm_attempts_status(struct weir_tm_attempts *attempts, struct weir_tm_status *out_statuses)
{
    uint32_t n = 0;
    for (size_t i = 0; i < attempts->count; i++) {
        for (uint32_t k = 0; k < attempts->items[i]->ntasks; k++) {
            out_statuses[n++] = status_of(&attempts->items[i]->tasks[k]);
        }
    }
}

void weir_tm_attempts_acked(struct weir_tm_attempts *attempts, const char *job_id, uint32_t attempt, uint32_t vertex, uint32_t subtask,
                            Weir__Control__TaskState state)
{
    for (size_t i = 0; i < attempts->count; i++) {
        struct attempt *of = attempts->items[i];
        struct held_task *task = of->number == attempt && strcmp(of->job_id, job_id) == 0 ? find_task(of, vertex, subtask) : NULL;
        if (task != NULL && task->over && task->state == state) {
            task->acked = true;
            forget_settled(attempts, of);
            return;
        }
    }
}
