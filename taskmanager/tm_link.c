#include "taskmanager/tm_link.h"

#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/vec.h"
#include "common/base/version.h"
#include "proto/methods.h"
#include "proto/pb.h"

#include <stdio.h>
#include <unistd.h>

enum { CALL_DEADLINE_MS = 5000, REGISTER_AGAIN_MS = 200 };

struct weir_tm_link {
    struct weir_tm_link_options options;
    struct weir_rpc_client *client;
    struct weir_timer timer; /* next heartbeat or registration */
    uint64_t leader_epoch;   /* the highest known */
    int64_t interval_ms;
    bool connected;
    bool registered;
    bool calling; /* a REGISTER or HEARTBEAT is outstanding */
    bool expelled; /* waits for its tasks to be over before it registers under a new id */
    bool stopped;
    struct unanswered *unanswered;
    size_t nunanswered;
    size_t unanswered_cap;
    uint64_t next_number;
};

/* A final state that a message carries: acknowledged when the call succeeds. */
struct told {
    char job_id[40];
    uint32_t attempt, vertex, subtask;
    Weir__Control__TaskState state;
};

/* A checkpoint report that the JobManager has not answered yet. */
struct unanswered {
    uint64_t number;
    uint16_t method;
    struct weir_buf body;
    bool sent; /* a call with it is outstanding */
};

enum { UNANSWERED_MAX = 4096 };

/* A call on its way, and its answer on the way back. */
struct call {
    struct weir_tm_link *link;
    uint16_t method;
    uint64_t unanswered; /* which report it carries; 0: none */
    struct told *told;
    uint32_t ntold;
    void (*lease_done)(void *ctx, enum weir_rc rc, const char *text); /* LEASE: owed; else NULL */
    void *lease_ctx;
    enum weir_rc rc;
    struct weir_buf body;
    char text[256];
};

static void free_call(void *payload)
{
    struct call *call = payload;
    if (call->lease_done != NULL) {
        call->lease_done(call->lease_ctx, WEIR_CANCELED, "the TaskManager could not ask the JobManager");
    }
    weir_free(call->told);
    weir_buf_fini(&call->body);
    weir_free(call);
}

static void arm(struct weir_tm_link *link, int64_t after_ms)
{
    weir_timers_add(link->options.timers, &link->timer, weir_clock_mono_ns(link->options.clock) + after_ms * 1000000);
}

/* --- messages -------------------------------------------------------------------------------------------------------- */

static void ref_of(const struct weir_tm_status *status, struct weir_arena *arena, Weir__Control__TaskRef *ref)
{
    weir__control__task_ref__init(ref);
    ref->job_id = weir_arena_strdup(arena, status->job_id);
    ref->attempt = status->attempt;
    ref->vertex = status->vertex;
    ref->subtask = status->subtask;
}

/* One status as a message, with everything it points to, in the arena. */
static Weir__Control__TaskStatus *status_message(const struct weir_tm_status *status, struct weir_arena *arena)
{
    struct {
        Weir__Control__TaskStatus status;
        Weir__Control__TaskRef ref;
        Weir__Control__TaskMetrics metrics;
        Weir__Control__Failure failure;
    } *m = weir_arena_alloc(arena, sizeof(*m));
    weir__control__task_status__init(&m->status);
    weir__control__task_metrics__init(&m->metrics);
    weir__control__failure__init(&m->failure);
    ref_of(status, arena, &m->ref);
    m->status.ended = atomic_load_explicit(&status->counts->ended, memory_order_relaxed);
    const struct weir_task_counts *counts = status->counts;
    m->metrics.records_in = atomic_load_explicit(&counts->records_in, memory_order_relaxed);
    m->metrics.records_out = atomic_load_explicit(&counts->records_out, memory_order_relaxed);
    m->metrics.bytes_in = atomic_load_explicit(&counts->bytes_in, memory_order_relaxed);
    m->metrics.bytes_out = atomic_load_explicit(&counts->bytes_out, memory_order_relaxed);
    m->metrics.busy_ms = atomic_load_explicit(&counts->busy_us, memory_order_relaxed) / 1000;
    m->metrics.idle_ms = atomic_load_explicit(&counts->idle_us, memory_order_relaxed) / 1000;
    m->metrics.backpressured_ms = atomic_load_explicit(&counts->backpressured_us, memory_order_relaxed) / 1000;
    m->metrics.watermark_ms = atomic_load_explicit(&counts->watermark_ms, memory_order_relaxed);
    m->metrics.late_dropped = atomic_load_explicit(&counts->late_dropped, memory_order_relaxed);
    m->metrics.errors_skipped = atomic_load_explicit(&counts->errors_skipped, memory_order_relaxed);
    m->metrics.state_bytes = atomic_load_explicit(&counts->state_bytes, memory_order_relaxed);
    m->status.task = &m->ref;
    m->status.metrics = &m->metrics;
    m->status.state = status->state;
    if (status->failure != NULL) {
        m->failure.rc = (uint32_t)status->failure->rc;
        m->failure.text = weir_arena_strdup(arena, status->failure->text);
        m->status.failure = &m->failure;
    }
    return &m->status;
}

static void tell(struct call *call, const struct weir_tm_status *status)
{
    struct told *told = &call->told[call->ntold++];
    (void)snprintf(told->job_id, sizeof(told->job_id), "%s", status->job_id);
    told->attempt = status->attempt;
    told->vertex = status->vertex;
    told->subtask = status->subtask;
    told->state = status->state;
}

/* All tasks as messages; what is told is noted in the call. */
static Weir__Control__TaskStatus **all_statuses(struct weir_tm_link *link, struct call *call, size_t *out_count, struct weir_arena *arena)
{
    uint32_t count = weir_tm_attempts_tasks(link->options.attempts);
    struct weir_tm_status *statuses = weir_arena_alloc(arena, count * sizeof(*statuses));
    weir_tm_attempts_status(link->options.attempts, statuses);
    Weir__Control__TaskStatus **messages = weir_arena_alloc(arena, count * sizeof(*messages));
    call->told = weir_calloc(count, sizeof(*call->told));
    for (uint32_t i = 0; i < count; i++) {
        messages[i] = status_message(&statuses[i], arena);
        tell(call, &statuses[i]);
    }
    *out_count = count;
    return messages;
}

/* --- calls ----------------------------------------------------------------------------------------------------------- */

static void call_ended(void *payload);

/* On an RPC thread. */
static void on_done(void *ctx, enum weir_rc rc, struct weir_slice body, const char *text)
{
    struct call *call = ctx;
    call->rc = rc;
    weir_buf_put_slice(&call->body, body);
    (void)snprintf(call->text, sizeof(call->text), "%s", text);
    struct weir_mail mail = {.run = call_ended, .drop = free_call, .payload = call};
    if (weir_mailbox_post_reserved(call->link->options.mailbox, mail) != WEIR_OK) {
        free_call(call);
    }
}

/* Sends a message; the call is taken. False when it could not be sent now. */
static bool send_bytes_take(struct weir_tm_link *link, struct call *call, uint16_t method, struct weir_slice body)
{
    struct weir_error err;
    call->link = link;
    call->method = method;
    bool sent = false;
    if (weir_mailbox_reserve(link->options.mailbox) == WEIR_OK) {
        sent = weir_rpc_call(link->client, method, body, CALL_DEADLINE_MS, on_done, call, &err) == WEIR_OK;
        if (!sent) {
            weir_mailbox_unreserve(link->options.mailbox);
        }
    }
    if (!sent) {
        free_call(call);
    }
    return sent;
}

static bool send_take(struct weir_tm_link *link, struct call *call, uint16_t method, const ProtobufCMessage *message)
{
    struct weir_buf body = {0};
    weir_pb_encode(message, &body);
    bool sent = send_bytes_take(link, call, method, weir_buf_slice(&body));
    weir_buf_fini(&body);
    return sent;
}

/* Sends the reports that have no answer and no call outstanding. */
static void send_unanswered(struct weir_tm_link *link)
{
    for (size_t i = 0; i < link->nunanswered && link->registered && !link->stopped; i++) {
        struct unanswered *report = &link->unanswered[i];
        if (!report->sent) {
            struct call *call = weir_calloc(1, sizeof(*call));
            call->unanswered = report->number;
            report->sent = send_bytes_take(link, call, report->method, weir_buf_slice(&report->body));
        }
    }
}

/* Whatever the JobManager says to a report is final; only silence is not. */
static void report_answered(struct weir_tm_link *link, uint64_t number, enum weir_rc rc)
{
    for (size_t i = 0; i < link->nunanswered; i++) {
        struct unanswered *report = &link->unanswered[i];
        if (report->number != number) {
            continue;
        }
        report->sent = false;
        if (rc != WEIR_TIMEOUT && rc != WEIR_CLOSED && rc != WEIR_CANCELED && rc != WEIR_AGAIN) {
            weir_buf_fini(&report->body);
            *report = link->unanswered[--link->nunanswered];
        }
        return;
    }
}

static void report_take(struct weir_tm_link *link, uint16_t method, const ProtobufCMessage *message)
{
    if (link->nunanswered == UNANSWERED_MAX) { /* the oldest checkpoints have long run out of time */
        weir_buf_fini(&link->unanswered[0].body);
        link->unanswered[0] = link->unanswered[--link->nunanswered];
    }
    link->unanswered = weir_vec_grow(link->unanswered, &link->unanswered_cap, sizeof(*link->unanswered), link->nunanswered + 1);
    struct unanswered *report = &link->unanswered[link->nunanswered++];
    *report = (struct unanswered){.number = ++link->next_number, .method = method};
    weir_pb_encode(message, &report->body);
    send_unanswered(link);
}

void weir_tm_link_snapshot(struct weir_tm_link *link, const struct weir_tm_status *status, const struct weir_task_snapshot *snapshot)
{
    struct weir_arena *arena = weir_arena_create(0);
    Weir__Control__TaskRef ref;
    ref_of(status, arena, &ref);
    if (snapshot->taken) {
        Weir__Control__StateHandle handle = WEIR__CONTROL__STATE_HANDLE__INIT;
        Weir__Control__CheckpointAckRequest ack = WEIR__CONTROL__CHECKPOINT_ACK_REQUEST__INIT;
        handle.vertex = status->vertex;
        handle.subtask = status->subtask;
        handle.path = weir_arena_strdup(arena, snapshot->handle.path);
        handle.bytes = snapshot->handle.bytes;
        handle.hash = snapshot->handle.hash;
        ack.tm_id = weir_arena_strdup(arena, link->options.tm_id);
        ack.leader_epoch = link->leader_epoch;
        ack.task = &ref;
        ack.checkpoint_id = snapshot->checkpoint;
        ack.state = &handle;
        ack.sync_ms = snapshot->sync_ms;
        ack.async_ms = snapshot->async_ms;
        ack.alignment_ms = snapshot->alignment_ms;
        ack.ended = snapshot->ended;
        ack.state_bytes = snapshot->state_bytes;
        ack.new_bytes = snapshot->new_bytes;
        report_take(link, WEIR_METHOD_CHECKPOINT_ACK, &ack.base);
    } else {
        Weir__Control__Failure failure = WEIR__CONTROL__FAILURE__INIT;
        Weir__Control__CheckpointDeclineRequest decline = WEIR__CONTROL__CHECKPOINT_DECLINE_REQUEST__INIT;
        failure.rc = (uint32_t)snapshot->err.rc;
        failure.text = weir_arena_strdup(arena, snapshot->err.text);
        decline.tm_id = weir_arena_strdup(arena, link->options.tm_id);
        decline.leader_epoch = link->leader_epoch;
        decline.task = &ref;
        decline.checkpoint_id = snapshot->checkpoint;
        decline.failure = &failure;
        report_take(link, WEIR_METHOD_CHECKPOINT_DECLINE, &decline.base);
    }
    weir_arena_destroy(arena);
}

static void send_register(struct weir_tm_link *link)
{
    struct weir_arena *arena = weir_arena_create(0);
    struct call *call = weir_calloc(1, sizeof(*call));
    const struct weir_config *config = link->options.config;
    char version[] = WEIR_VERSION;
    Weir__Control__RegisterRequest request = WEIR__CONTROL__REGISTER_REQUEST__INIT;
    request.tm_id = weir_arena_strdup(arena, link->options.tm_id);
    request.rpc_address = weir_arena_strdup(arena, link->options.rpc_address);
    request.data_address = weir_arena_strdup(arena, link->options.data_address);
    request.slots = (uint32_t)weir_config_int(config, WEIR_CFG_TM_SLOTS);
    request.memory_bytes = (uint64_t)weir_config_int(config, WEIR_CFG_TM_MEMORY);
    request.pid = (uint32_t)getpid();
    request.version = version;
    request.cpu_cores = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    request.physical_memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    request.tasks = all_statuses(link, call, &request.n_tasks, arena);
    link->calling = send_take(link, call, WEIR_METHOD_REGISTER, &request.base);
    weir_arena_destroy(arena);
}

static void send_heartbeat(struct weir_tm_link *link)
{
    struct weir_arena *arena = weir_arena_create(0);
    struct call *call = weir_calloc(1, sizeof(*call));
    Weir__Control__HeartbeatRequest request = WEIR__CONTROL__HEARTBEAT_REQUEST__INIT;
    request.tm_id = weir_arena_strdup(arena, link->options.tm_id);
    request.leader_epoch = link->leader_epoch;
    request.memory_used_bytes = weir_mem_used(link->options.mem);
    request.tasks = all_statuses(link, call, &request.n_tasks, arena);
    link->calling = send_take(link, call, WEIR_METHOD_HEARTBEAT, &request.base);
    weir_arena_destroy(arena);
}

void weir_tm_link_report(struct weir_tm_link *link, const struct weir_tm_status *status)
{
    if (!link->registered || link->stopped) {
        return; /* the registration tells it */
    }
    struct weir_arena *arena = weir_arena_create(0);
    struct call *call = weir_calloc(1, sizeof(*call));
    call->told = weir_calloc(1, sizeof(*call->told));
    tell(call, status);
    Weir__Control__TaskStateRequest request = WEIR__CONTROL__TASK_STATE_REQUEST__INIT;
    request.tm_id = weir_arena_strdup(arena, link->options.tm_id);
    request.leader_epoch = link->leader_epoch;
    request.status = status_message(status, arena);
    (void)send_take(link, call, WEIR_METHOD_TASK_STATE, &request.base); /* not sent: the next heartbeat tells it */
    weir_arena_destroy(arena);
}

void weir_tm_link_ask_lease(struct weir_tm_link *link, const char *job_id, uint32_t region, uint32_t attempt,
                            void (*done)(void *ctx, enum weir_rc rc, const char *text), void *ctx)
{
    if (!link->registered || link->stopped) {
        done(ctx, WEIR_CLOSED, "the TaskManager is not registered with the JobManager now");
        return;
    }
    struct weir_arena *arena = weir_arena_create(0);
    struct call *call = weir_calloc(1, sizeof(*call));
    call->lease_done = done;
    call->lease_ctx = ctx;
    Weir__Control__LeaseRequest request = WEIR__CONTROL__LEASE_REQUEST__INIT;
    request.tm_id = weir_arena_strdup(arena, link->options.tm_id);
    request.leader_epoch = link->leader_epoch;
    request.job_id = weir_arena_strdup(arena, job_id);
    request.region = region;
    request.attempt = attempt;
    (void)send_take(link, call, WEIR_METHOD_LEASE, &request.base); /* not sent: done is called all the same */
    weir_arena_destroy(arena);
}

/* --- answers --------------------------------------------------------------------------------------------------------- */

static void acknowledge(struct weir_tm_link *link, const struct call *call)
{
    for (uint32_t i = 0; i < call->ntold; i++) {
        const struct told *told = &call->told[i];
        weir_tm_attempts_acked(link->options.attempts, told->job_id, told->attempt, told->vertex, told->subtask, told->state);
    }
}

static void registered(struct weir_tm_link *link, const struct call *call)
{
    Weir__Control__RegisterReply *reply = NULL;
    struct weir_error err;
    if (weir_pb_decode(&weir__control__register_reply__descriptor, weir_buf_slice(&call->body), &reply, &err) != WEIR_OK) {
        weir_log(link->options.log, WEIR_LOG_WARN, "register_answer_bad", "text", err.text, NULL);
        return;
    }
    if (weir_tm_link_accept_epoch(link, reply->leader_epoch)) {
        link->registered = true;
        link->interval_ms = reply->heartbeat_interval_ms == 0 ? 1 : reply->heartbeat_interval_ms;
        weir_log(link->options.log, WEIR_LOG_INFO, "registered", "leader_epoch", WEIR_LOG_INT(link->leader_epoch), NULL);
        acknowledge(link, call);
    }
    weir_pb_free(reply);
}

static void lease_answered(struct call *call)
{
    Weir__Control__LeaseReply *reply = NULL;
    struct weir_error err;
    void (*done)(void *ctx, enum weir_rc rc, const char *text) = call->lease_done;
    call->lease_done = NULL;
    if (call->rc != WEIR_OK) { /* also STALE: the epoch's, which is no word about the attempt */
        done(call->lease_ctx, call->rc == WEIR_STALE ? WEIR_CLOSED : call->rc, call->text);
    } else if (weir_pb_decode(&weir__control__lease_reply__descriptor, weir_buf_slice(&call->body), &reply, &err) != WEIR_OK) {
        done(call->lease_ctx, err.rc, err.text);
    } else {
        done(call->lease_ctx, reply->present ? WEIR_OK : WEIR_STALE, reply->why);
    }
    weir_pb_free(reply);
}

static void call_ended(void *payload)
{
    struct call *call = payload;
    struct weir_tm_link *link = call->link;
    if (call->method == WEIR_METHOD_LEASE) {
        lease_answered(call);
        free_call(call);
        return;
    }
    bool periodic = call->method == WEIR_METHOD_REGISTER || call->method == WEIR_METHOD_HEARTBEAT;
    if (call->unanswered != 0) {
        WEIR_FAILPOINT("ckpt.after_ack");
        report_answered(link, call->unanswered, call->rc);
    }
    link->calling = link->calling && !periodic;
    if (call->rc != WEIR_OK && periodic && link->registered && call->rc != WEIR_TIMEOUT && call->rc != WEIR_CANCELED) {
        weir_log(link->options.log, WEIR_LOG_INFO, "jobmanager_lost", "why", call->text, NULL);
        link->registered = false;
    }
    if (call->rc == WEIR_OK && call->method == WEIR_METHOD_REGISTER) {
        registered(link, call);
    } else if (call->rc == WEIR_OK) {
        acknowledge(link, call);
    } else if (call->method == WEIR_METHOD_REGISTER) {
        weir_log(link->options.log, WEIR_LOG_WARN, "register_refused", "why", call->text, NULL);
        if (call->rc == WEIR_STALE && !link->expelled) {
            link->expelled = true;
            link->options.on_expelled(link->options.ctx);
        }
    }
    if (periodic && !link->stopped) {
        arm(link, link->registered ? link->interval_ms : REGISTER_AGAIN_MS);
    }
    free_call(call);
}

static void tick(void *ctx)
{
    struct weir_tm_link *link = ctx;
    if (link->calling || !link->connected || link->stopped) {
        return; /* the answer, or the next connection, arms the timer again */
    }
    if (link->registered) {
        send_unanswered(link);
        send_heartbeat(link);
    } else if (!link->expelled || weir_tm_attempts_live(link->options.attempts) == 0) {
        link->expelled = false;
        send_register(link);
    }
    if (!link->calling) {
        arm(link, REGISTER_AGAIN_MS);
    }
}

static void connected(void *payload)
{
    struct weir_tm_link *link = payload;
    link->connected = true;
    link->registered = false;
    arm(link, 0);
}

static void disconnected(void *payload)
{
    struct weir_tm_link *link = payload;
    if (link->registered) {
        weir_log(link->options.log, WEIR_LOG_WARN, "jobmanager_disconnected", NULL);
    }
    link->connected = false;
    link->registered = false;
}

/* On RPC threads. */
static void on_connected(void *ctx)
{
    struct weir_tm_link *link = ctx;
    struct weir_mail mail = {.run = connected, .payload = link};
    enum weir_rc rc = weir_mailbox_post(link->options.mailbox, WEIR_MAIL_CONTROL, mail);
    weir_assert(rc == WEIR_OK || rc == WEIR_CLOSED);
}

static void on_disconnected(void *ctx)
{
    struct weir_tm_link *link = ctx;
    struct weir_mail mail = {.run = disconnected, .payload = link};
    enum weir_rc rc = weir_mailbox_post(link->options.mailbox, WEIR_MAIL_CONTROL, mail);
    weir_assert(rc == WEIR_OK || rc == WEIR_CLOSED);
}

enum weir_rc weir_tm_link_create(const struct weir_tm_link_options *options, struct weir_tm_link **out_link, struct weir_error *err)
{
    struct weir_tm_link *link = weir_calloc(1, sizeof(*link));
    link->options = *options;
    link->timer = (struct weir_timer){.fire = tick, .ctx = link};
    link->interval_ms = REGISTER_AGAIN_MS;
    char address[128];
    (void)snprintf(address, sizeof(address), "tcp://%s:%lld", weir_config_string(options->config, WEIR_CFG_JM_RPC_ADDRESS),
                   (long long)weir_config_int(options->config, WEIR_CFG_JM_RPC_PORT));
    struct weir_rpc_client_options client = {
        .address = address,
        .cluster_id = weir_config_string(options->config, WEIR_CFG_CLUSTER_ID),
        .role = WEIR_ROLE_TASKMANAGER,
        .name = options->tm_id,
        .server_role = WEIR_ROLE_JOBMANAGER,
        .protocol_version = WEIR_PROTOCOL_VERSION,
        .log = options->log,
    };
    struct weir_rpc_client_callbacks callbacks = {.on_connected = on_connected, .on_disconnected = on_disconnected};
    enum weir_rc rc = weir_rpc_client_create(&client, &callbacks, link, &link->client, err);
    if (rc != WEIR_OK) {
        weir_free(link);
        return rc;
    }
    *out_link = link;
    return WEIR_OK;
}

void weir_tm_link_stop(struct weir_tm_link *link)
{
    link->stopped = true;
    weir_timers_cancel(link->options.timers, &link->timer);
    weir_rpc_client_stop(link->client);
}

void weir_tm_link_destroy(struct weir_tm_link *link)
{
    if (link == NULL) {
        return;
    }
    weir_tm_link_stop(link);
    weir_rpc_client_destroy(link->client);
    weir_mailbox_close(link->options.mailbox); /* answers still in it point here */
    for (size_t i = 0; i < link->nunanswered; i++) {
        weir_buf_fini(&link->unanswered[i].body);
    }
    weir_free(link->unanswered);
    weir_free(link);
}

bool weir_tm_link_accept_epoch(struct weir_tm_link *link, uint64_t epoch)
{
    if (epoch < link->leader_epoch) {
        return false;
    }
    link->leader_epoch = epoch;
    return true;
}
