/* Orders to TaskManagers: effects to control messages, and their answers back to the dispatcher. */
#include <stdio.h>

#include "common/base/arena.h"
#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/mem.h"
#include "common/base/version.h"
#include "jobmanager/jm_internal.h"
#include "jobmanager/jm_retire.h"
#include "proto/ckpt_codec.h"
#include "proto/control.pb-c.h"
#include "proto/methods.h"
#include "proto/pb.h"

enum { DEPLOY_DEADLINE_MS = 10000, ENUMERATE_DEADLINE_MS = 30000, CANCEL_DEADLINE_MS = 5000, LOGS_DEADLINE_MS = 5000, CHECKPOINT_DEADLINE_MS = 5000 };

/* A call on its way, and its answer on the way back. */
struct call {
    struct weir_jm *jm;
    uint16_t method;
    uint64_t epoch; /* it was made in */
    char *tm_id;
    char job_id[WEIR_JOB_ID_TEXT + 1];
    uint32_t attempt, vertex;
    uint64_t checkpoint_id;
    weir_jm_logs_fn *logs_done;
    void *logs_ctx;
    enum weir_rc rc;
    struct weir_buf body;
    struct weir_error err; /* text only */
};

static void call_free(void *payload)
{
    struct call *call = payload;
    weir_buf_fini(&call->body);
    weir_free(call->tm_id);
    weir_free(call);
}

/* --- answers ---------------------------------------------------------------------------------------------------------- */
static void enumerated(struct call *call)
{
    struct weir_jm *jm = call->jm;
    Weir__Control__EnumerateReply *reply = NULL;
    struct weir_ha_split *splits = NULL;
    uint32_t nsplits = 0;
    if (call->rc == WEIR_OK) {
        call->rc = weir_pb_decode(&weir__control__enumerate_reply__descriptor, weir_buf_slice(&call->body), &reply, &call->err);
    }
    if (call->rc == WEIR_OK) {
        nsplits = (uint32_t)reply->n_splits;
        splits = weir_calloc(nsplits, sizeof(*splits));
        for (uint32_t i = 0; i < nsplits; i++) {
            splits[i] = (struct weir_ha_split){.id = weir_slice_str(reply->splits[i]->id),
                                               .data = weir_slice(reply->splits[i]->data.data, reply->splits[i]->data.len)};
        }
    }
    weir_dispatcher_enumerated(jm->dispatcher, weir_slice_str(call->job_id), call->vertex, call->rc, splits, nsplits, call->err.text,
                               weir__jm_now(jm));
    weir_free(splits);
    weir_pb_free(reply);
}

static void logs_came(struct call *call)
{
    Weir__Control__LogsReply *reply = NULL;
    if (call->rc == WEIR_OK) {
        call->rc = weir_pb_decode(&weir__control__logs_reply__descriptor, weir_buf_slice(&call->body), &reply, &call->err);
    }
    call->err.rc = call->rc;
    call->logs_done(call->logs_ctx, call->rc, call->rc == WEIR_OK ? weir_slice(reply->text.data, reply->text.len) : weir_slice(NULL, 0), &call->err);
    weir_pb_free(reply);
}

static void call_ended(void *payload)
{
    struct call *call = payload;
    struct weir_jm *jm = call->jm;
    weir_assert(jm->calls > 0);
    jm->calls--;
    /* Of an earlier leadership nobody waits for it any more; what a JobManager that leaves has broken off says nothing of the TaskManager. */
    bool broken_off = jm->stopping && call->rc == WEIR_CANCELED;
    if (call->method != WEIR_METHOD_LOGS && (broken_off || !weir__jm_leads_in(jm, call->epoch))) {
        call_free(call);
        return;
    }
    switch (call->method) {
    case WEIR_METHOD_ENUMERATE:
        enumerated(call);
        break;
    case WEIR_METHOD_DEPLOY:
        weir_dispatcher_deployed(jm->dispatcher, weir_slice_str(call->job_id), call->attempt, call->tm_id, call->rc, call->err.text,
                                 weir__jm_now(jm));
        break;
    case WEIR_METHOD_TRIGGER:
    case WEIR_METHOD_NOTIFY:
        weir_dispatcher_ckpt_told(jm->dispatcher, weir_slice_str(call->job_id), call->attempt, call->checkpoint_id,
                                  call->method == WEIR_METHOD_TRIGGER, call->rc, call->err.text, weir__jm_now(jm));
        break;
    case WEIR_METHOD_LOGS:
        logs_came(call);
        break;
    default: /* CANCEL is repeated by the job, LOG_LEVEL is not worth it */
        if (call->rc != WEIR_OK) {
            weir_log(jm->options.log, WEIR_LOG_INFO, "order_failed", "tm", call->tm_id, "method", WEIR_LOG_INT(call->method), "why", call->err.text,
                     NULL);
        }
    }
    call_free(call);
}

/* On a library thread. */
static void on_done(void *ctx, enum weir_rc rc, struct weir_slice body, const char *text)
{
    struct call *call = ctx;
    call->rc = rc;
    weir_buf_put_slice(&call->body, body);
    (void)snprintf(call->err.text, sizeof(call->err.text), "%s", text);
    struct weir_mail mail = {.run = call_ended, .drop = call_free, .payload = call};
    if (weir_mailbox_post_reserved(call->jm->mailbox, mail) != WEIR_OK) {
        call_free(call);
    }
}

static struct call *call_create(struct weir_jm *jm, uint16_t method, const char *tm_id)
{
    struct call *call = weir_calloc(1, sizeof(*call));
    call->jm = jm;
    call->epoch = weir_dispatcher_epoch(jm->dispatcher);
    call->method = method;
    call->tm_id = weir_strdup(tm_id);
    return call;
}

/* Sends; a call that cannot be sent has ended. call is taken. */
static void call_send(struct call *call, const ProtobufCMessage *message, uint32_t deadline_ms)
{
    struct weir_jm *jm = call->jm;
    const struct weir_jm_link *link = weir_hmap_get(jm->links, weir_slice_str(call->tm_id));
    struct weir_buf body = {0};
    weir_pb_encode(message, &body);
    jm->calls++;
    if (link == NULL) {
        call->rc = weir_error_set(&call->err, WEIR_CLOSED, "TaskManager %s is not registered", call->tm_id);
    } else {
        call->rc = weir_mailbox_reserve(jm->mailbox);
        (void)snprintf(call->err.text, sizeof(call->err.text), "the JobManager is shutting down or overloaded");
        if (call->rc == WEIR_OK) {
            struct weir_error err;
            enum weir_rc rc = weir_rpc_call(link->client, call->method, weir_buf_slice(&body), deadline_ms, on_done, call, &err);
            if (rc == WEIR_OK) {
                weir_buf_fini(&body);
                return;
            }
            weir_mailbox_unreserve(jm->mailbox);
            call->rc = rc;
            call->err = err;
        }
    }
    weir_buf_fini(&body);
    call_ended(call);
}

/* --- orders ----------------------------------------------------------------------------------------------------------- */
static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void send_enumerate(struct call *call, const struct weir_meta_job *job)
{
    Weir__Control__EnumerateRequest order;
    weir__control__enumerate_request__init(&order);
    order.job_id = job->id;
    order.graph = weir_pb_bytes(job->graph);
    order.vertex = call->vertex;
    call_send(call, &order.base, ENUMERATE_DEADLINE_MS);
}

/* The splits of the source at the head of the task's chain: split i belongs to subtask i % parallelism. */
static void add_splits(Weir__Control__TaskDeployment *to, const struct weir_meta_job *job, uint32_t parallelism, struct weir_arena *arena)
{
    for (uint32_t s = 0; s < job->nsources; s++) {
        const struct weir_ha_source *source = &job->sources[s];
        if (source->vertex != to->vertex) {
            continue;
        }
        to->splits = weir_arena_alloc(arena, (source->nsplits / parallelism + 1) * sizeof(*to->splits));
        for (uint32_t i = to->subtask; i < source->nsplits; i += parallelism) {
            Weir__Control__Split *split = weir_arena_alloc(arena, sizeof(*split));
            weir__control__split__init(split);
            split->id = weir_arena_strndup(arena, source->splits[i].id.data, source->splits[i].id.len);
            split->data = weir_pb_bytes(source->splits[i].data);
            to->splits[to->n_splits++] = split;
        }
    }
}

static void add_handle(Weir__Control__TaskDeployment *to, const struct weir_ckpt_handle *handle, struct weir_arena *arena)
{
    Weir__Control__StateHandle *restore = weir_arena_alloc(arena, sizeof(*restore));
    weir__control__state_handle__init(restore);
    restore->vertex = handle->vertex;
    restore->subtask = handle->subtask;
    restore->path = text(handle->path);
    restore->bytes = handle->bytes;
    restore->hash = handle->hash;
    to->restore[to->n_restore++] = restore;
}

/* The task's part of the checkpoint that the attempt starts from: of the same subtask, or, if the vertex had another parallelism then, of all. */
static void add_restore(Weir__Control__TaskDeployment *to, const struct weir_ckpt_manifest *from, uint32_t parallelism, struct weir_arena *arena)
{
    uint32_t first = 0;
    while (first < from->nhandles && from->handles[first].vertex != to->vertex) {
        first++;
    }
    uint32_t end = first;
    while (end < from->nhandles && from->handles[end].vertex == to->vertex) {
        end++;
    }
    to->restore = weir_arena_alloc(arena, (end - first) * sizeof(Weir__Control__StateHandle *));
    for (uint32_t i = first; i < end; i++) {
        if (end - first != parallelism || from->handles[i].subtask == to->subtask) {
            add_handle(to, &from->handles[i], arena);
        }
    }
}

static bool deploys_any(const struct weir_job *job, uint32_t attempt, const char *tm_id)
{
    const struct weir_execgraph *exec = weir_job_exec(job);
    for (uint32_t i = 0; exec != NULL && i < exec->ntasks; i++) {
        if (weir_job_deploys(job, i, attempt, tm_id)) {
            return true;
        }
    }
    return false;
}

static void send_deploy(struct weir_jm *jm, struct call *call, const struct weir_meta_job *job, const struct weir_job *of)
{
    const struct weir_execgraph *exec = weir_job_exec(of);
    const struct weir_ckpt_manifest *restore = weir_job_restore(of, call->attempt);
    struct weir_arena *arena = weir_arena_create(0);
    Weir__Control__DeployRequest order;
    weir__control__deploy_request__init(&order);
    order.leader_epoch = weir_dispatcher_epoch(jm->dispatcher);
    order.sequence = ++jm->orders;
    order.job_id = job->id;
    order.job_name = job->name;
    order.attempt = call->attempt;
    order.graph = weir_pb_bytes(job->graph);
    order.restored_checkpoint_id = restore == NULL ? 0 : restore->checkpoint_id;
    order.drain_only = job->drain_of != 0;
    order.parallelism_max = job->parallelism_max;
    order.run = job->run;
    order.tasks = weir_arena_alloc(arena, exec->ntasks * sizeof(*order.tasks));
    order.locations = weir_arena_alloc(arena, exec->ntasks * sizeof(*order.locations));
    for (uint32_t i = 0; i < exec->ntasks; i++) {
        const struct weir_task_view *task = &exec->tasks[i];
        const struct weir_tm_entry *tm = weir_tm_registry_find(weir_dispatcher_tms(jm->dispatcher), task->tm_id);
        Weir__Control__TaskLocation *location = weir_arena_alloc(arena, sizeof(*location));
        weir__control__task_location__init(location);
        location->vertex = task->vertex;
        location->subtask = task->subtask;
        location->tm_id = text(task->tm_id);
        location->data_address = text(tm == NULL ? "" : tm->info.data_address);
        order.locations[order.n_locations++] = location;
        if (weir_job_deploys(of, i, call->attempt, call->tm_id)) {
            Weir__Control__TaskDeployment *deployment = weir_arena_alloc(arena, sizeof(*deployment));
            weir__control__task_deployment__init(deployment);
            deployment->vertex = task->vertex;
            deployment->subtask = task->subtask;
            deployment->region = exec->regions->of[i];
            if (!order.drain_only) {
                add_splits(deployment, job, exec->graph->vertices[task->vertex].parallelism, arena);
            }
            if (restore != NULL) {
                add_restore(deployment, restore, exec->graph->vertices[task->vertex].parallelism, arena);
            }
            order.tasks[order.n_tasks++] = deployment;
        }
    }
    WEIR_FAILPOINT("jm.deploy");
    call_send(call, &order.base, DEPLOY_DEADLINE_MS);
    weir_arena_destroy(arena);
}

static void send_cancel(struct weir_jm *jm, struct call *call, uint32_t region, const struct weir_meta_job *meta)
{
    Weir__Control__CancelRequest order;
    weir__control__cancel_request__init(&order);
    order.leader_epoch = weir_dispatcher_epoch(jm->dispatcher);
    order.sequence = ++jm->orders;
    order.job_id = call->job_id;
    order.attempt = call->attempt;
    order.regions = &region;
    order.n_regions = region == WEIR_REGION_ALL ? 0 : 1;
    order.job_over = meta == NULL || weir_meta_terminal(meta->state);
    call_send(call, &order.base, CANCEL_DEADLINE_MS);
}

static void send_trigger(struct weir_jm *jm, struct call *call)
{
    Weir__Control__TriggerRequest order;
    weir__control__trigger_request__init(&order);
    order.leader_epoch = weir_dispatcher_epoch(jm->dispatcher);
    order.sequence = ++jm->orders;
    order.job_id = call->job_id;
    order.attempt = call->attempt;
    order.checkpoint_id = call->checkpoint_id;
    order.directory = weir_ckpt_dir_copy(weir_config_string(jm->options.config, WEIR_CFG_CHECKPOINTS_DIR), call->job_id, call->checkpoint_id);
    char *directory = order.directory;
    call_send(call, &order.base, CHECKPOINT_DEADLINE_MS);
    weir_free(directory);
}

static void send_notify(struct weir_jm *jm, struct call *call, const struct weir_effect *effect)
{
    Weir__Control__NotifyRequest order;
    WEIR_FAILPOINT("jm.after_commit");
    weir__control__notify_request__init(&order);
    order.leader_epoch = weir_dispatcher_epoch(jm->dispatcher);
    order.sequence = ++jm->orders;
    order.job_id = call->job_id;
    order.attempt = call->attempt;
    order.checkpoint_id = call->checkpoint_id;
    order.completed = effect->completed;
    order.last = effect->last;
    call_send(call, &order.base, CHECKPOINT_DEADLINE_MS);
}

void weir__jm_order(struct weir_jm *jm, const struct weir_effect *effect)
{
    static const uint16_t methods[] = {
        [WEIR_EFFECT_ENUMERATE] = WEIR_METHOD_ENUMERATE, [WEIR_EFFECT_DEPLOY] = WEIR_METHOD_DEPLOY, [WEIR_EFFECT_CANCEL] = WEIR_METHOD_CANCEL,
        [WEIR_EFFECT_TRIGGER] = WEIR_METHOD_TRIGGER, [WEIR_EFFECT_NOTIFY] = WEIR_METHOD_NOTIFY};
    weir_assert(effect->kind < sizeof(methods) / sizeof(methods[0]));
    weir_assert(methods[effect->kind] != 0);
    struct call *call = call_create(jm, methods[effect->kind], effect->tm_id);
    memcpy(call->job_id, effect->job_id, sizeof(call->job_id));
    call->attempt = effect->attempt;
    call->vertex = effect->vertex;
    call->checkpoint_id = effect->checkpoint_id;
    struct weir_slice id = weir_slice_str(effect->job_id);
    const struct weir_meta_job *meta = weir_meta_job(weir_dispatcher_meta(jm->dispatcher), id);
    const struct weir_job *job = weir_dispatcher_job(jm->dispatcher, id);
    const struct weir_jm_link *link = weir_hmap_get(jm->links, weir_slice_str(effect->tm_id));
    if (link != NULL && effect->kind == WEIR_EFFECT_CANCEL) {
        send_cancel(jm, call, effect->region, meta);
    } else if (link != NULL && effect->kind == WEIR_EFFECT_TRIGGER) {
        send_trigger(jm, call);
    } else if (link != NULL && effect->kind == WEIR_EFFECT_NOTIFY) {
        send_notify(jm, call, effect);
    } else if (link != NULL && meta != NULL && effect->kind == WEIR_EFFECT_ENUMERATE) {
        send_enumerate(call, meta);
    } else if (link != NULL && meta != NULL && job != NULL && effect->kind == WEIR_EFFECT_DEPLOY &&
               deploys_any(job, effect->attempt, effect->tm_id)) {
        send_deploy(jm, call, meta, job);
    } else { /* the TaskManager or the attempt is gone meanwhile */
        jm->calls++;
        call->rc = weir_error_set(&call->err, WEIR_CLOSED, "TaskManager %s is gone", effect->tm_id);
        call_ended(call);
    }
}

void weir__jm_ask_logs(struct weir_jm *jm, struct weir_slice tm_id, struct weir_slice contains, uint32_t lines_max, weir_jm_logs_fn *done, void *ctx)
{
    char *id = weir_strndup(tm_id.data, tm_id.len);
    char *needle = weir_strndup(contains.data, contains.len);
    struct call *call = call_create(jm, WEIR_METHOD_LOGS, id);
    call->logs_done = done;
    call->logs_ctx = ctx;
    Weir__Control__LogsRequest question;
    weir__control__logs_request__init(&question);
    question.contains = needle;
    question.lines_max = lines_max;
    call_send(call, &question.base, LOGS_DEADLINE_MS);
    weir_free(needle);
    weir_free(id);
}

void weir__jm_tell_log_level(struct weir_jm *jm, const char *level)
{
    Weir__Control__LogLevelRequest order;
    weir__control__log_level_request__init(&order);
    order.level = text(level);
    struct weir_hmap_iter it = {0};
    while (weir_hmap_next(jm->links, &it)) {
        const struct weir_jm_link *link = it.value;
        call_send(call_create(jm, WEIR_METHOD_LOG_LEVEL, link->tm_id), &order.base, LOGS_DEADLINE_MS);
    }
}

/* --- links ------------------------------------------------------------------------------------------------------------ */
static void link_destroy(struct weir_jm *jm, struct weir_jm_link *link)
{
    weir_jm_client_retire(link->client, NULL, jm->stopping ? NULL : jm->pool, jm->mailbox);
    weir_free(link->address);
    weir_free(link->tm_id);
    weir_free(link);
}

void weir__jm_link_set(struct weir_jm *jm, const char *tm_id, const char *address, uint64_t peer)
{
    struct weir_jm_link *link = weir_hmap_get(jm->links, weir_slice_str(tm_id));
    if (link != NULL && strcmp(link->address, address) == 0) {
        link->peer = peer;
        return;
    }
    weir__jm_link_drop(jm, tm_id);
    const struct weir_rpc_client_options options = {.address = address,
                                                    .cluster_id = weir_config_string(jm->options.config, WEIR_CFG_CLUSTER_ID),
                                                    .role = WEIR_ROLE_JOBMANAGER,
                                                    .name = "jobmanager",
                                                    .server_role = WEIR_ROLE_TASKMANAGER,
                                                    .protocol_version = WEIR_PROTOCOL_VERSION,
                                                    .tls = jm->tls,
                                                    .log = jm->options.log};
    const struct weir_rpc_client_callbacks callbacks = {0};
    struct weir_rpc_client *client = NULL;
    struct weir_error err;
    if (weir_rpc_client_create(&options, &callbacks, NULL, &client, &err) != WEIR_OK) {
        weir_log(jm->options.log, WEIR_LOG_ERROR, "tm_unreachable", "tm", tm_id, "why", err.text, NULL);
        return; /* orders to it fail with that */
    }
    link = weir_calloc(1, sizeof(*link));
    *link = (struct weir_jm_link){.tm_id = weir_strdup(tm_id), .address = weir_strdup(address), .client = client, .peer = peer};
    void *replaced = weir_hmap_put(jm->links, weir_slice_str(tm_id), link);
    weir_assert(replaced == NULL);
}

void weir__jm_link_drop(struct weir_jm *jm, const char *tm_id)
{
    struct weir_jm_link *link = weir_hmap_remove(jm->links, weir_slice_str(tm_id));
    if (link != NULL) {
        link_destroy(jm, link);
    }
}

void weir__jm_links_stop(struct weir_jm *jm)
{
    struct weir_hmap_iter it = {0};
    while (weir_hmap_next(jm->links, &it)) {
        weir_rpc_client_stop(((struct weir_jm_link *)it.value)->client);
    }
}

void weir__jm_links_destroy(struct weir_jm *jm)
{
    struct weir_hmap_iter it = {0};
    while (weir_hmap_next(jm->links, &it)) {
        struct weir_jm_link *link = it.value;
        void *removed = weir_hmap_remove(jm->links, it.key);
        weir_assert(removed == link);
        link_destroy(jm, link);
    }
}
