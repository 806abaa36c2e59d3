#include "taskmanager/tm.h"

#include "common/base/assert.h"
#include "common/base/rand.h"
#include "common/fs/fs_local.h"
#include "common/runtime/pool.h"
#include "common/runtime/timer.h"
#include "proto/methods.h"
#include "proto/pb.h"
#include "proto/plan_codec.h"
#include "taskmanager/state/rocks.h"
#include "taskmanager/tm_attempts.h"
#include "taskmanager/tm_link.h"
#include "taskmanager/tm_local.h"

#include <stdio.h>
#include <unistd.h>

enum {
    MAILS_MAX = 65536,
    MAILS_PER_ROUND = 256,
    POOL_THREADS = 4,
    STATE_INLINE_BYTES_MAX = 256 << 10, /* a smaller keyed state opens no database */
    POOL_JOBS_MAX = 16384,
    CHANNEL_BYTES = 1 << 20,
    LINK_OPEN_TIMEOUT_MS = 10000,
};

struct weir_tm {
    const struct weir_config *config;
    struct weir_log_sink *sink;
    const struct weir_log *log;
    const struct weir_clock *clock;
    struct weir_waker *waker;
    struct weir_mailbox *mailbox;
    struct weir_timers timers;
    struct weir_timer stop_timer;
    struct weir_pool *pool;
    struct weir_fs *fs;
    struct weir_state_backend *backend;
    struct weir_tm_local *local;
    struct weir_mem *mem;
    struct weir_links *links;
    struct weir_tm_leases *leases;
    struct weir_tm_fences *fences;
    struct weir_tm_attempts *attempts;
    struct weir_rpc_server *server;
    struct weir_tls *tls; /* NULL: plaintext */
    struct weir_tm_link *jm;
    char id[128];
    char rpc_address[128];
    char data_address[128];
    uint32_t incarnation;
    bool stopping;
    bool stop_now;
};

/* A request on its way to the mailbox thread. */
struct request_mail {
    struct weir_tm *tm;
    struct weir_rpc_request *request;
};

/* An ENUMERATE in the pool. */
struct enumerate_job {
    struct weir_tm *tm;
    struct weir_rpc_request *request;
    struct weir_buf reply;
    enum weir_rc rc;
    struct weir_error err;
};

static void reply_error(struct weir_rpc_request *request, const struct weir_error *err)
{
    weir_rpc_reply(request, err->rc, weir_slice_str(err->text));
}

static void reply_message(struct weir_rpc_request *request, const ProtobufCMessage *message)
{
    struct weir_buf body = {0};
    weir_pb_encode(message, &body);
    weir_rpc_reply(request, WEIR_OK, weir_buf_slice(&body));
    weir_buf_fini(&body);
}

static void reply_ack(struct weir_rpc_request *request)
{
    Weir__Control__Ack ack = WEIR__CONTROL__ACK__INIT;
    reply_message(request, &ack.base);
}

/* --- ENUMERATE, off-thread ------------------------------------------------------------------------------------------- */

struct split_list {
    Weir__Control__Split **items;
    size_t count;
    size_t cap;
    struct weir_arena *arena;
};

static void add_split(void *ctx, struct weir_split split)
{
    struct split_list *list = ctx;
    if (list->count == list->cap) {
        size_t cap = list->cap == 0 ? 16 : list->cap * 2;
        Weir__Control__Split **items = weir_arena_alloc(list->arena, cap * sizeof(*items));
        if (list->count != 0) {
            memcpy(items, list->items, list->count * sizeof(*items));
        }
        list->items = items;
        list->cap = cap;
    }
    Weir__Control__Split *message = weir_arena_alloc(list->arena, sizeof(*message));
    weir__control__split__init(message);
    message->id = weir_arena_strndup(list->arena, split.id.data, split.id.len);
    message->data.len = split.data.len;
    message->data.data = (uint8_t *)weir_arena_strndup(list->arena, split.data.data, split.data.len);
    list->items[list->count++] = message;
}

static enum weir_rc enumerate(struct enumerate_job *job, const Weir__Control__EnumerateRequest *order)
{
    struct weir_jobgraph *graph = NULL;
    struct weir_error *err = &job->err;
    enum weir_rc rc = weir_plan_decode(weir_slice(order->graph.data, order->graph.len), &graph, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct split_list list = {.arena = weir_arena_create(0)};
    if (order->vertex >= graph->nvertices || graph->vertices[order->vertex].ops[0]->tag != WEIR_OP_SOURCE) {
        rc = weir_error_set(err, WEIR_INVALID, "enumerate: vertex %u of job %s is no source", order->vertex, order->job_id);
        goto out;
    }
    const struct weir_vertex *vertex = &graph->vertices[order->vertex];
    const struct weir_table_spec *table = vertex->ops[0]->u.io.table;
    const struct weir_source_vtable *source = weir_conn_source(table->connector);
    if (source == NULL) {
        rc = weir_error_set(err, WEIR_UNSUPPORTED, "table %s: this TaskManager has no source connector \"%s\"", table->name, table->connector);
        goto out;
    }
    rc = source->enumerate(table, vertex->parallelism, job->tm->fs, add_split, &list, err);
    if (rc == WEIR_OK) {
        Weir__Control__EnumerateReply reply = WEIR__CONTROL__ENUMERATE_REPLY__INIT;
        reply.n_splits = list.count;
        reply.splits = list.items;
        weir_pb_encode(&reply.base, &job->reply);
    }
out:
    weir_arena_destroy(list.arena);
    weir_jobgraph_destroy(graph);
    return rc;
}

static void enumerate_run(void *ctx)
{
    struct enumerate_job *job = ctx;
    Weir__Control__EnumerateRequest *order = NULL;
    job->rc = weir_pb_decode(&weir__control__enumerate_request__descriptor, weir_rpc_request_body(job->request), &order, &job->err);
    if (job->rc == WEIR_OK) {
        job->rc = enumerate(job, order);
    }
    weir_pb_free(order);
}

static void enumerate_done(void *ctx)
{
    struct enumerate_job *job = ctx;
    if (job->rc == WEIR_OK) {
        weir_rpc_reply(job->request, WEIR_OK, weir_buf_slice(&job->reply));
    } else {
        reply_error(job->request, &job->err);
    }
    weir_buf_fini(&job->reply);
    weir_free(job);
}

/* Never run, or nobody is left to hear of it. On a pool thread or the mailbox thread. */
static void enumerate_drop(void *ctx)
{
    struct enumerate_job *job = ctx;
    weir_rpc_reply(job->request, WEIR_REFUSED, weir_slice_str("the TaskManager is shutting down"));
    weir_buf_fini(&job->reply);
    weir_free(job);
}

static void handle_enumerate(struct weir_tm *tm, struct weir_rpc_request *request)
{
    struct enumerate_job *job = weir_calloc(1, sizeof(*job));
    job->tm = tm;
    job->request = request;
    struct weir_pool_job work = {.run = enumerate_run, .done = enumerate_done, .drop = enumerate_drop, .ctx = job};
    enum weir_rc rc = weir_pool_submit(tm->pool, work, tm->mailbox);
    if (rc != WEIR_OK) {
        weir_rpc_reply(request, rc, weir_slice_str("the TaskManager's work queue is full"));
        weir_free(job);
    }
}

/* --- the other orders ------------------------------------------------------------------------------------------------ */

/* order: decoded. What it returns is the answer. */
typedef enum weir_rc obey_fn(struct weir_tm *tm, const void *order, struct weir_error *err);

static void handle_order(struct weir_tm *tm, struct weir_rpc_request *request, const ProtobufCMessageDescriptor *kind, obey_fn *obey)
{
    void *order = NULL;
    struct weir_error err;
    enum weir_rc rc = weir_pb_decode(kind, weir_rpc_request_body(request), &order, &err);
    rc = rc == WEIR_OK ? obey(tm, order, &err) : rc;
    if (rc == WEIR_OK) {
        reply_ack(request);
    } else {
        reply_error(request, &err);
    }
    weir_pb_free(order);
}

static enum weir_rc check_newest(struct weir_tm *tm, uint64_t epoch, uint64_t sequence, struct weir_error *err)
{
    if (weir_tm_link_accept_order(tm->jm, epoch, sequence)) {
        return WEIR_OK;
    }
    return weir_error_set(err, WEIR_STALE, "order %llu of leader epoch %llu refused: a newer order or leader is known", (unsigned long long)sequence,
                          (unsigned long long)epoch);
}

static enum weir_rc deploy(struct weir_tm *tm, const void *message, struct weir_error *err)
{
    const Weir__Control__DeployRequest *order = message;
    enum weir_rc rc = check_newest(tm, order->leader_epoch, order->sequence, err);
    if (rc == WEIR_OK && tm->stopping) {
        return weir_error_set(err, WEIR_REFUSED, "the TaskManager is shutting down");
    }
    return rc == WEIR_OK ? weir_tm_attempts_deploy(tm->attempts, order, err) : rc;
}

static enum weir_rc cancel(struct weir_tm *tm, const void *message, struct weir_error *err)
{
    const Weir__Control__CancelRequest *order = message;
    enum weir_rc rc = check_newest(tm, order->leader_epoch, order->sequence, err);
    if (rc == WEIR_OK) {
        weir_tm_attempts_cancel(tm->attempts, order->job_id, order->regions, order->n_regions, order->attempt);
    }
    if (rc == WEIR_OK && order->job_over) {
        weir_tm_local_job_over(tm->local, order->job_id);
    }
    return rc;
}

static enum weir_rc trigger(struct weir_tm *tm, const void *message, struct weir_error *err)
{
    const Weir__Control__TriggerRequest *order = message;
    enum weir_rc rc = check_newest(tm, order->leader_epoch, order->sequence, err);
    return rc == WEIR_OK ? weir_tm_attempts_trigger(tm->attempts, order->job_id, order->attempt, order->checkpoint_id, order->directory, err) : rc;
}

static enum weir_rc notify(struct weir_tm *tm, const void *message, struct weir_error *err)
{
    const Weir__Control__NotifyRequest *order = message;
    enum weir_ckpt_outcome outcome = !order->completed ? WEIR_CKPT_ABORTED : order->last ? WEIR_CKPT_LAST : WEIR_CKPT_COMMITTED;
    enum weir_rc rc = check_newest(tm, order->leader_epoch, order->sequence, err);
    if (rc == WEIR_OK) {
        weir_tm_attempts_notify(tm->attempts, order->job_id, order->attempt, order->checkpoint_id, outcome);
    }
    if (rc == WEIR_OK && order->completed) {
        weir_tm_local_committed(tm->local, order->job_id, order->checkpoint_id);
    }
    return rc;
}

static enum weir_rc set_log_level(struct weir_tm *tm, const void *message, struct weir_error *err)
{
    const Weir__Control__LogLevelRequest *order = message;
    enum weir_log_level level = WEIR_LOG_INFO;
    if (!weir_log_level_parse(order->level, &level)) {
        return weir_error_set(err, WEIR_INVALID, "log level \"%s\": expected debug, info, warn or error", order->level);
    }
    weir_log_sink_set_level(tm->sink, level);
    return WEIR_OK;
}

static void handle_logs(struct weir_tm *tm, struct weir_rpc_request *request)
{
    Weir__Control__LogsRequest *question = NULL;
    struct weir_error err;
    if (weir_pb_decode(&weir__control__logs_request__descriptor, weir_rpc_request_body(request), &question, &err) != WEIR_OK) {
        reply_error(request, &err);
        return;
    }
    struct weir_buf text = {0};
    weir_log_sink_recent(tm->sink, weir_slice_str(question->contains), question->lines_max, &text);
    Weir__Control__LogsReply reply = WEIR__CONTROL__LOGS_REPLY__INIT;
    reply.text.data = text.data;
    reply.text.len = text.len;
    reply_message(request, &reply.base);
    weir_buf_fini(&text);
    weir_pb_free(question);
}

static void handle_request(void *payload)
{
    struct request_mail *mail = payload;
    struct weir_tm *tm = mail->tm;
    struct weir_rpc_request *request = mail->request;
    weir_free(mail);
    switch (weir_rpc_request_method(request)) {
    case WEIR_METHOD_ENUMERATE:
        handle_enumerate(tm, request);
        return;
    case WEIR_METHOD_DEPLOY:
        handle_order(tm, request, &weir__control__deploy_request__descriptor, deploy);
        return;
    case WEIR_METHOD_CANCEL:
        handle_order(tm, request, &weir__control__cancel_request__descriptor, cancel);
        return;
    case WEIR_METHOD_TRIGGER:
        handle_order(tm, request, &weir__control__trigger_request__descriptor, trigger);
        return;
    case WEIR_METHOD_NOTIFY:
        handle_order(tm, request, &weir__control__notify_request__descriptor, notify);
        return;
    case WEIR_METHOD_LOGS:
        handle_logs(tm, request);
        return;
    case WEIR_METHOD_LOG_LEVEL:
        handle_order(tm, request, &weir__control__log_level_request__descriptor, set_log_level);
        return;
    default:
        weir_rpc_reply(request, WEIR_UNSUPPORTED, weir_slice_str("a TaskManager does not serve this method"));
    }
}

static void drop_request(void *payload)
{
    struct request_mail *mail = payload;
    weir_rpc_reply(mail->request, WEIR_REFUSED, weir_slice_str("the TaskManager is shutting down"));
    weir_free(mail);
}

/* On an RPC thread. */
static void on_request(void *ctx, struct weir_rpc_request *request)
{
    struct weir_tm *tm = ctx;
    struct request_mail *mail = weir_calloc(1, sizeof(*mail));
    mail->tm = tm;
    mail->request = request;
    struct weir_mail posted = {.run = handle_request, .drop = drop_request, .payload = mail};
    if (weir_mailbox_post(tm->mailbox, WEIR_MAIL_DATA, posted) != WEIR_OK) {
        weir_mail_drop(&posted);
    }
}

/* --- life ------------------------------------------------------------------------------------------------------------ */

static void on_change(void *ctx, const struct weir_tm_status *status)
{
    struct weir_tm *tm = ctx;
    if (!tm->stopping) { /* a TaskManager that leaves cancels its tasks: that is its loss, not the job's cancellation */
        weir_tm_link_report(tm->jm, status);
    }
}

static void on_snapshot(void *ctx, const struct weir_tm_status *status, const struct weir_task_snapshot *snapshot)
{
    struct weir_tm *tm = ctx;
    weir_tm_link_snapshot(tm->jm, status, snapshot);
}

static void fence_answered(void *ctx, enum weir_rc rc, const char *text)
{
    weir_tm_fences_answer(ctx, rc, text);
}

static void lease_answered(void *ctx, enum weir_rc rc, const char *text)
{
    weir_tm_leases_answer(ctx, rc, text);
}

static void ask_lease(void *ctx, struct weir_tm_lease_question *question_take)
{
    struct weir_tm *tm = ctx;
    weir_tm_link_ask_lease(tm->jm, weir_tm_lease_question_job(question_take), weir_tm_lease_question_region(question_take),
                           weir_tm_lease_question_attempt(question_take), lease_answered,
                           question_take);
}

static void ask_fence(void *ctx, const struct weir_tm_fence_of *of, struct weir_tm_fence_question *question_take)
{
    struct weir_tm *tm = ctx;
    weir_tm_link_ask_lease(tm->jm, of->job_id, of->region, of->attempt, fence_answered, question_take);
}

static void on_resumed(void *ctx, const struct weir_tm_fence_of *of)
{
    struct weir_tm *tm = ctx;
    weir_tm_attempts_resume(tm->attempts, of->job_id, of->region, of->attempt);
}

static void on_replaced(void *ctx, const struct weir_tm_fence_of *of)
{
    struct weir_tm *tm = ctx;
    weir_tm_attempts_cancel(tm->attempts, of->job_id, &of->region, 1, of->attempt);
}

static void on_heard(void *ctx, int64_t sent_boot_ns)
{
    struct weir_tm *tm = ctx;
    weir_tm_fences_heard(tm->fences, sent_boot_ns);
}

static enum weir_rc check_address(const struct weir_config *config, struct weir_error *err)
{
    const char *host = weir_config_string(config, WEIR_CFG_TM_HOST);
    bool loopback = strncmp(host, "127.", 4) == 0 || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0;
    if (!loopback && !weir_config_bool(config, WEIR_CFG_TLS_ENABLED) && !weir_config_bool(config, WEIR_CFG_INSECURE)) {
        return weir_error_set(err, WEIR_INVALID,
                              "taskmanager.host is %s: a daemon listens beyond loopback only with TLS; use a loopback address, "
                              "security.ssl.internal.enabled (`weir certs init` makes the certificates), or --insecure if the network is trusted",
                              host);
    }
    const char *tmp = weir_config_string(config, WEIR_CFG_TM_TMP_DIR);
    if (access(tmp, W_OK | X_OK) != 0) {
        return weir_error_set(err, WEIR_IO, "taskmanager.tmp.dir %s is not a directory this user may write: create it or set another", tmp);
    }
    return WEIR_OK;
}

/* "127.0.0.1:41241-01e240" as Flink's, with a counter behind it once this process had to begin anew. */
static void make_id(struct weir_tm *tm)
{
    const char *host = weir_config_string(tm->config, WEIR_CFG_TM_HOST);
    int len = snprintf(tm->id, sizeof(tm->id), "%s:%u-%06x", host, weir_rpc_server_port(tm->server), (unsigned)getpid() & 0xffffff);
    if (tm->incarnation > 0 && len > 0 && (size_t)len < sizeof(tm->id)) {
        (void)snprintf(tm->id + len, sizeof(tm->id) - (size_t)len, ".%u", tm->incarnation);
    }
}

static void on_expelled(void *ctx)
{
    struct weir_tm *tm = ctx;
    tm->incarnation++;
    make_id(tm);
    weir_log(tm->log, WEIR_LOG_WARN, "expelled", "new_id", tm->id, "tasks_canceled", WEIR_LOG_INT(weir_tm_attempts_live(tm->attempts)), NULL);
    weir_tm_attempts_cancel_all(tm->attempts);
}

/* The server first: its port is part of the id that the links go by. What it is asked meanwhile waits in the mailbox. */
static enum weir_rc open_network(struct weir_tm *tm, struct weir_error *err)
{
    const struct weir_config *config = tm->config;
    const char *host = weir_config_string(config, WEIR_CFG_TM_HOST);
    const char *cluster_id = weir_config_string(config, WEIR_CFG_CLUSTER_ID);
    char listen[128];
    (void)snprintf(listen, sizeof(listen), "tcp://%s:%lld", host, (long long)weir_config_int(config, WEIR_CFG_TM_RPC_PORT));
    struct weir_rpc_server_options server = {
        .address = listen,
        .cluster_id = cluster_id,
        .role = WEIR_ROLE_TASKMANAGER,
        .name = tm->id,
        .protocol_version = WEIR_PROTOCOL_VERSION,
        .log = tm->log,
        .tls = tm->tls,
        .client_role = WEIR_ROLE_JOBMANAGER,
    };
    struct weir_rpc_server_callbacks callbacks = {.on_request = on_request};
    enum weir_rc rc = weir_rpc_server_create(&server, &callbacks, tm, &tm->server, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    (void)snprintf(tm->rpc_address, sizeof(tm->rpc_address), "tcp://%s:%u", host, weir_rpc_server_port(tm->server));
    make_id(tm);
    struct weir_links_options links = {
        .host = host,
        .port = (uint16_t)weir_config_int(config, WEIR_CFG_TM_DATA_PORT),
        .cluster_id = cluster_id,
        .name = tm->id,
        .credit_bytes = CHANNEL_BYTES,
        .open_timeout_ms = LINK_OPEN_TIMEOUT_MS,
        .mem = tm->mem,
        .clock = tm->clock,
        .log = tm->log,
        .tls = tm->tls,
    };
    rc = weir_links_create(&links, &tm->links, err);
    if (rc == WEIR_OK) {
        (void)snprintf(tm->data_address, sizeof(tm->data_address), "%s:%u", host, weir_links_port(tm->links));
    }
    return rc;
}

/* What can fail, and needs nothing but the process. */
static enum weir_rc open_process(struct weir_tm *tm, struct weir_error *err)
{
    struct weir_pool_options pool = {.name = "weir-io", .threads = POOL_THREADS, .jobs_max = POOL_JOBS_MAX};
    enum weir_rc rc = weir_waker_create(&tm->waker, err);
    if (rc == WEIR_OK) {
        tm->mailbox = weir_mailbox_create(MAILS_MAX, tm->waker);
        rc = weir_pool_create(&pool, &tm->pool, err);
    }
    if (rc == WEIR_OK) {
        rc = weir_rocks_backend_open(weir_config_string(tm->config, WEIR_CFG_TM_TMP_DIR), tm->mem, STATE_INLINE_BYTES_MAX, &tm->backend, err);
    }
    if (rc == WEIR_OK) {
        rc = weir_tm_local_create(&(struct weir_tm_local_options){.config = tm->config,
                                                                  .fs = tm->fs,
                                                                  .clock = tm->clock,
                                                                  .log = tm->log,
                                                                  .pool = tm->pool,
                                                                  .mailbox = tm->mailbox,
                                                                  .timers = &tm->timers},
                                  &tm->local, err);
    }
    if (rc == WEIR_OK) {
        rc = weir_tls_create_configured(tm->config, WEIR_ROLE_TASKMANAGER, tm->log, &tm->tls, err);
    }
    return rc == WEIR_OK ? open_network(tm, err) : rc;
}

static enum weir_rc open_services(struct weir_tm *tm, struct weir_error *err)
{
    enum weir_rc rc = open_process(tm, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    tm->backend->local = weir_tm_local_store(tm->local);
    tm->leases = weir_tm_leases_create(&(struct weir_tm_leases_options){
        .mailbox = tm->mailbox,
        .clock = tm->clock,
        .ask = ask_lease,
        .ctx = tm,
    });
    tm->fences = weir_tm_fences_create(&(struct weir_tm_fences_options){
        .clock = tm->clock,
        .timers = &tm->timers,
        .log = tm->log,
        .timeout_ms = weir_config_int(tm->config, WEIR_CFG_FENCING_TIMEOUT),
        .ask = ask_fence,
        .on_resumed = on_resumed,
        .on_replaced = on_replaced,
        .ctx = tm,
    });
    tm->attempts = weir_tm_attempts_create(&(struct weir_tm_attempts_options){
        .tm_id = tm->id,
        .mailbox = tm->mailbox,
        .pool = tm->pool,
        .fs = tm->fs,
        .clock = tm->clock,
        .mem = tm->mem,
        .backend = tm->backend,
        .log = tm->log,
        .links = tm->links,
        .leases = tm->leases,
        .fences = tm->fences,
        .channel_bytes = CHANNEL_BYTES,
        .checkpoints_dir = weir_config_string(tm->config, WEIR_CFG_CHECKPOINTS_DIR),
        .on_change = on_change,
        .on_snapshot = on_snapshot,
        .ctx = tm,
    });
    weir_tm_local_start(tm->local, tm->attempts);
    return weir_tm_link_create(&(struct weir_tm_link_options){
                                   .config = tm->config,
                                   .log = tm->log,
                                   .tls = tm->tls,
                                   .clock = tm->clock,
                                   .tm_id = tm->id,
                                   .rpc_address = tm->rpc_address,
                                   .data_address = tm->data_address,
                                   .mailbox = tm->mailbox,
                                   .timers = &tm->timers,
                                   .attempts = tm->attempts,
                                   .mem = tm->mem,
                                   .on_expelled = on_expelled,
                                   .on_heard = on_heard,
                                   .ctx = tm,
                               },
                               &tm->jm, err);
}

static void stop_deadline(void *ctx)
{
    struct weir_tm *tm = ctx;
    tm->stop_now = true;
}

enum weir_rc weir_tm_create(const struct weir_config *config, struct weir_log_sink *sink, const struct weir_log *log,
                            struct weir_tm **out_tm, struct weir_error *err)
{
    enum weir_rc rc = weir_config_check(config, err);
    rc = rc != WEIR_OK ? rc : check_address(config, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct weir_tm *tm = weir_calloc(1, sizeof(*tm));
    tm->config = config;
    tm->sink = sink;
    tm->log = log;
    tm->clock = weir_clock_real();
    tm->fs = weir_fs_local_create();
    tm->mem = weir_mem_create("taskmanager", (uint64_t)weir_config_int(config, WEIR_CFG_TM_MEMORY), NULL);
    weir_timers_init(&tm->timers);
    tm->stop_timer = (struct weir_timer){.fire = stop_deadline, .ctx = tm};
    (void)snprintf(tm->id, sizeof(tm->id), "%s", weir_config_string(config, WEIR_CFG_TM_HOST));
    rc = open_services(tm, err);
    if (rc != WEIR_OK) {
        weir_tm_destroy(tm);
        return rc;
    }
    *out_tm = tm;
    return WEIR_OK;
}

const char *weir_tm_rpc_address(const struct weir_tm *tm)
{
    return tm->rpc_address;
}

const char *weir_tm_data_address(const struct weir_tm *tm)
{
    return tm->data_address;
}

static void begin_stop(struct weir_tm *tm)
{
    tm->stopping = true;
    weir_log(tm->log, WEIR_LOG_INFO, "stopping", "tasks", WEIR_LOG_INT(weir_tm_attempts_live(tm->attempts)), NULL);
    int64_t timeout_ns = weir_config_int(tm->config, WEIR_CFG_SHUTDOWN_TIMEOUT) * 1000000;
    weir_timers_add(&tm->timers, &tm->stop_timer, weir_clock_mono_ns(tm->clock) + timeout_ns);
    weir_tm_link_stop(tm->jm);
    weir_tm_attempts_cancel_all(tm->attempts);
}

static int64_t sleep_ms(struct weir_tm *tm)
{
    int64_t deadline_ns = weir_timers_next_deadline(&tm->timers);
    if (deadline_ns == INT64_MAX) {
        return -1;
    }
    int64_t left_ns = deadline_ns - weir_clock_mono_ns(tm->clock);
    return left_ns <= 0 ? 0 : (left_ns + 999999) / 1000000;
}

void weir_tm_run(struct weir_tm *tm, int signal_fd)
{
    struct pollfd fd = {.fd = signal_fd, .events = POLLIN};
    for (;;) {
        (void)weir_mailbox_run(tm->mailbox, MAILS_PER_ROUND);
        (void)weir_timers_run_due(&tm->timers, weir_clock_mono_ns(tm->clock));
        if (tm->stop_now || (tm->stopping && weir_tm_attempts_live(tm->attempts) == 0)) {
            return; /* before the wait: the last task's mail may be the one that has just been run */
        }
        weir_waker_prepare(tm->waker);
        if (!weir_mailbox_empty(tm->mailbox)) {
            weir_waker_cancel(tm->waker);
            continue;
        }
        fd.revents = 0;
        weir_waker_wait(tm->waker, sleep_ms(tm), &fd, tm->stopping ? 0 : 1);
        if (fd.revents != 0 && !tm->stopping) {
            begin_stop(tm);
        }
    }
}

bool weir_tm_stopped_clean(const struct weir_tm *tm)
{
    return weir_tm_attempts_live(tm->attempts) == 0;
}

void weir_tm_destroy(struct weir_tm *tm)
{
    if (tm == NULL) {
        return;
    }
    weir_rpc_server_destroy(tm->server);
    weir_tm_leases_close(tm->leases); /* drain threads that outlive their tasks ask no more */
    weir_tm_link_destroy(tm->jm);
    weir_tm_attempts_destroy(tm->attempts);
    weir_tm_fences_destroy(tm->fences);
    weir_pool_destroy(tm->pool);
    weir_rocks_backend_close(tm->backend);
    weir_tm_local_destroy(tm->local);
    weir_links_destroy(tm->links);
    weir_tls_destroy(tm->tls);
    weir_timers_cancel(&tm->timers, &tm->stop_timer);
    weir_timers_fini(&tm->timers);
    weir_mailbox_destroy(tm->mailbox);
    weir_waker_destroy(tm->waker);
    weir_mem_destroy(tm->mem);
    weir_fs_local_destroy(tm->fs);
    weir_free(tm);
}
