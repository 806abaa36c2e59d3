/* Requests of TaskManagers, from the wire to the dispatcher; those of JobManagers go on to jm_rpc_jm.c. */
#include "common/base/arena.h"
#include "common/base/mem.h"
#include "jobmanager/jm_internal.h"
#include "proto/ckpt_codec.h"
#include "proto/control.pb-c.h"
#include "proto/methods.h"
#include "proto/pb.h"

/* A request, or a closed connection, on its way to the mailbox thread. */
struct inbound {
    struct weir_jm *jm;
    struct weir_rpc_request *request; /* NULL: closed */
    uint64_t peer;
};

void weir__jm_reply_error(struct weir_rpc_request *request, const struct weir_error *err)
{
    weir_rpc_reply(request, err->rc, weir_slice_str(err->text));
}

void weir__jm_reply_message(struct weir_rpc_request *request, const ProtobufCMessage *message)
{
    struct weir_buf body = {0};
    weir_pb_encode(message, &body);
    weir_rpc_reply(request, WEIR_OK, weir_buf_slice(&body));
    weir_buf_fini(&body);
}

/* --- reports ---------------------------------------------------------------------------------------------------------- */
static enum weir_task_state task_state(Weir__Control__TaskState state)
{
    switch (state) {
    case WEIR__CONTROL__TASK_STATE__TASK_CREATED: return WEIR_TASK_SCHEDULED;
    case WEIR__CONTROL__TASK_STATE__TASK_DEPLOYING: return WEIR_TASK_DEPLOYING;
    case WEIR__CONTROL__TASK_STATE__TASK_INITIALIZING: return WEIR_TASK_INITIALIZING;
    case WEIR__CONTROL__TASK_STATE__TASK_RUNNING: return WEIR_TASK_RUNNING;
    case WEIR__CONTROL__TASK_STATE__TASK_FINISHED: return WEIR_TASK_FINISHED;
    case WEIR__CONTROL__TASK_STATE__TASK_CANCELING: return WEIR_TASK_CANCELING;
    case WEIR__CONTROL__TASK_STATE__TASK_CANCELED: return WEIR_TASK_CANCELED;
    case WEIR__CONTROL__TASK_STATE__TASK_FAILED: return WEIR_TASK_FAILED;
    case _WEIR__CONTROL__TASK_STATE_IS_INT_SIZE: break;
    }
    return WEIR_TASK_STATE_COUNT_; /* the dispatcher refuses it */
}

/* Borrowed from the message. */
static struct weir_task_report report_of(const Weir__Control__TaskStatus *status)
{
    struct weir_task_report report = {
        .job_id = weir_slice_str(""), .state = task_state(status->state), .failure_rc = WEIR_EXTERNAL, .ended = status->ended != 0};
    if (status->task != NULL) {
        report.job_id = weir_slice_str(status->task->job_id);
        report.attempt = status->task->attempt;
        report.vertex = status->task->vertex;
        report.subtask = status->task->subtask;
    }
    if (status->failure != NULL) {
        report.failure_rc = status->failure->rc < WEIR_RC_COUNT_ ? (enum weir_rc)status->failure->rc : WEIR_EXTERNAL;
        report.failure_text = status->failure->text;
    }
    const Weir__Control__TaskMetrics *m = status->metrics;
    if (m != NULL) {
        report.has_counters = true;
        report.counters = (struct weir_task_counters){.records_in = m->records_in,
                                                      .records_out = m->records_out,
                                                      .bytes_in = m->bytes_in,
                                                      .bytes_out = m->bytes_out,
                                                      .busy_ms = m->busy_ms,
                                                      .idle_ms = m->idle_ms,
                                                      .backpressured_ms = m->backpressured_ms,
                                                      .watermark_ms = m->watermark_ms,
                                                      .late_dropped = m->late_dropped,
                                                      .errors_skipped = m->errors_skipped,
                                                      .state_bytes = m->state_bytes};
    }
    return report;
}

static struct weir_task_report *reports_of(Weir__Control__TaskStatus **statuses, size_t count)
{
    struct weir_task_report *reports = weir_calloc(count, sizeof(*reports));
    for (size_t i = 0; i < count; i++) {
        reports[i] = report_of(statuses[i]);
    }
    return reports;
}

/* --- methods ---------------------------------------------------------------------------------------------------------- */
static void handle_register(struct weir_jm *jm, struct weir_rpc_request *request)
{
    Weir__Control__RegisterRequest *message = NULL;
    struct weir_error err;
    enum weir_rc rc = weir_pb_decode(&weir__control__register_request__descriptor, weir_rpc_request_body(request), &message, &err);
    if (rc == WEIR_OK) {
        const struct weir_tm_info info = {.id = message->tm_id,
                                          .rpc_address = message->rpc_address,
                                          .data_address = message->data_address,
                                          .version = message->version,
                                          .slots = message->slots,
                                          .cpu_cores = message->cpu_cores,
                                          .pid = message->pid,
                                          .memory_bytes = message->memory_bytes,
                                          .physical_memory_bytes = message->physical_memory_bytes};
        struct weir_task_report *reports = reports_of(message->tasks, message->n_tasks);
        bool added = false;
        rc = weir_dispatcher_register(jm->dispatcher, &info, reports, (uint32_t)message->n_tasks, weir__jm_now(jm), &added, &err);
        weir_free(reports);
    }
    if (rc == WEIR_OK) {
        weir__jm_link_set(jm, message->tm_id, message->rpc_address, weir_rpc_request_peer(request));
        Weir__Control__RegisterReply reply;
        weir__control__register_reply__init(&reply);
        reply.leader_epoch = weir_dispatcher_epoch(jm->dispatcher);
        reply.heartbeat_interval_ms = (uint32_t)weir_config_int(jm->options.config, WEIR_CFG_HEARTBEAT_INTERVAL);
        reply.heartbeat_timeout_ms = (uint32_t)weir_config_int(jm->options.config, WEIR_CFG_HEARTBEAT_TIMEOUT);
        weir__jm_reply_message(request, &reply.base);
    } else {
        weir_log(jm->options.log, WEIR_LOG_WARN, "registration_refused", "peer", weir_rpc_request_peer_name(request), "why", err.text, NULL);
        weir__jm_reply_error(request, &err);
    }
    weir_pb_free(message);
}

static void handle_heartbeat(struct weir_jm *jm, struct weir_rpc_request *request)
{
    Weir__Control__HeartbeatRequest *message = NULL;
    struct weir_error err;
    enum weir_rc rc = weir_pb_decode(&weir__control__heartbeat_request__descriptor, weir_rpc_request_body(request), &message, &err);
    if (rc == WEIR_OK) {
        struct weir_task_report *reports = reports_of(message->tasks, message->n_tasks);
        rc = weir_dispatcher_heartbeat(jm->dispatcher, message->tm_id, message->leader_epoch, message->memory_used_bytes, reports,
                                       (uint32_t)message->n_tasks, weir__jm_now(jm), &err);
        weir_free(reports);
    }
    if (rc == WEIR_OK) {
        Weir__Control__HeartbeatReply reply;
        weir__control__heartbeat_reply__init(&reply);
        reply.leader_epoch = weir_dispatcher_epoch(jm->dispatcher);
        weir__jm_reply_message(request, &reply.base);
    } else {
        weir__jm_reply_error(request, &err);
    }
    weir_pb_free(message);
}

static void handle_task_state(struct weir_jm *jm, struct weir_rpc_request *request)
{
    Weir__Control__TaskStateRequest *message = NULL;
    struct weir_error err;
    enum weir_rc rc = weir_pb_decode(&weir__control__task_state_request__descriptor, weir_rpc_request_body(request), &message, &err);
    if (rc == WEIR_OK && message->status == NULL) {
        rc = weir_error_set(&err, WEIR_INVALID, "a task's state without its status");
    }
    if (rc == WEIR_OK) {
        struct weir_task_report report = report_of(message->status);
        rc = weir_dispatcher_task_state(jm->dispatcher, message->tm_id, message->leader_epoch, &report, weir__jm_now(jm), &err);
    }
    if (rc == WEIR_OK) {
        Weir__Control__Ack ack;
        weir__control__ack__init(&ack);
        weir__jm_reply_message(request, &ack.base);
    } else {
        weir__jm_reply_error(request, &err);
    }
    weir_pb_free(message);
}

static void reply_ack(struct weir_rpc_request *request, enum weir_rc rc, const struct weir_error *err)
{
    if (rc == WEIR_OK) {
        Weir__Control__Ack ack;
        weir__control__ack__init(&ack);
        weir__jm_reply_message(request, &ack.base);
    } else {
        weir__jm_reply_error(request, err);
    }
}

static struct weir_ckpt_report ckpt_report_of(const Weir__Control__TaskRef *task, uint64_t checkpoint_id)
{
    return (struct weir_ckpt_report){.job_id = weir_slice_str(task->job_id),
                                     .attempt = task->attempt,
                                     .checkpoint_id = checkpoint_id,
                                     .handle = {.vertex = task->vertex, .subtask = task->subtask}};
}

/* What a task wrote lies in the directory that it was told, and nowhere else. */
static enum weir_rc check_handle(const struct weir_jm *jm, const struct weir_ckpt_report *report, const Weir__Control__StateHandle *state,
                                 struct weir_error *err)
{
    char *job_id = weir_strndup(report->job_id.data, report->job_id.len);
    char *dir = weir_ckpt_dir_copy(weir_config_string(jm->options.config, WEIR_CFG_CHECKPOINTS_DIR), job_id, report->checkpoint_id);
    size_t dir_bytes = strlen(dir);
    bool inside = strncmp(state->path, dir, dir_bytes) == 0 && state->path[dir_bytes] == '/' && strstr(state->path, "/../") == NULL;
    bool same = state->vertex == report->handle.vertex && state->subtask == report->handle.subtask;
    enum weir_rc rc = WEIR_OK;
    if (!inside || !same) {
        rc = weir_error_set(err, WEIR_INVALID, "the state of task %u/%u is of task %u/%u or not in %s: %s", report->handle.vertex,
                            report->handle.subtask, state->vertex, state->subtask, dir, state->path);
    }
    weir_free(dir);
    weir_free(job_id);
    return rc;
}

static void handle_ckpt_ack(struct weir_jm *jm, struct weir_rpc_request *request)
{
    Weir__Control__CheckpointAckRequest *message = NULL;
    struct weir_error err;
    enum weir_rc rc = weir_pb_decode(&weir__control__checkpoint_ack_request__descriptor, weir_rpc_request_body(request), &message, &err);
    if (rc == WEIR_OK && message->task == NULL) {
        rc = weir_error_set(&err, WEIR_INVALID, "a checkpoint's acknowledgement without its task");
    } else if (rc == WEIR_OK && message->state == NULL) {
        rc = weir_error_set(&err, WEIR_INVALID, "task %u/%u acknowledges checkpoint %llu without its state: expected the path, size and hash of its file",
                            message->task->vertex, message->task->subtask, (unsigned long long)message->checkpoint_id);
    }
    if (rc == WEIR_OK) {
        struct weir_ckpt_report report = ckpt_report_of(message->task, message->checkpoint_id);
        report.ended = message->ended != 0;
        report.handle.path = message->state->path;
        report.handle.bytes = message->state->bytes;
        report.handle.hash = message->state->hash;
        report.handle.state_bytes = message->state_bytes;
        report.handle.new_bytes = message->new_bytes;
        rc = check_handle(jm, &report, message->state, &err);
        rc = rc == WEIR_OK ? weir_dispatcher_ckpt_report(jm->dispatcher, message->tm_id, message->leader_epoch, &report, weir__jm_now(jm), &err) : rc;
    }
    reply_ack(request, rc, &err);
    weir_pb_free(message);
}

static void handle_ckpt_decline(struct weir_jm *jm, struct weir_rpc_request *request)
{
    Weir__Control__CheckpointDeclineRequest *message = NULL;
    struct weir_error err;
    enum weir_rc rc = weir_pb_decode(&weir__control__checkpoint_decline_request__descriptor, weir_rpc_request_body(request), &message, &err);
    if (rc == WEIR_OK && message->task == NULL) {
        rc = weir_error_set(&err, WEIR_INVALID, "a declined checkpoint without its task");
    }
    if (rc == WEIR_OK) {
        struct weir_ckpt_report report = ckpt_report_of(message->task, message->checkpoint_id);
        bool told = message->failure != NULL && message->failure->text[0] != '\0';
        report.declined = told ? message->failure->text : "a task declined it";
        rc = weir_dispatcher_ckpt_report(jm->dispatcher, message->tm_id, message->leader_epoch, &report, weir__jm_now(jm), &err);
    }
    reply_ack(request, rc, &err);
    weir_pb_free(message);
}

/* A lease that waits for the proof that this JobManager still led when it was asked. */
struct lease {
    struct weir_jm *jm;
    struct weir_rpc_request *request;
    Weir__Control__LeaseRequest *message;
};

static enum weir_rc look_up_lease(const struct lease *lease, bool *out_present, struct weir_error *err)
{
    const Weir__Control__LeaseRequest *message = lease->message;
    return weir_dispatcher_attempt_is_present(lease->jm->dispatcher, message->tm_id, message->leader_epoch, weir_slice_str(message->job_id),
                                              message->region, message->attempt, out_present, err);
}

static void lease_on_proved(void *ctx, enum weir_rc rc, const struct weir_error *proof)
{
    struct lease *lease = ctx;
    struct weir_error err = *proof;
    bool present = false;
    if (rc == WEIR_OK) {
        err.text[0] = '\0';
        rc = look_up_lease(lease, &present, &err);
    }
    if (rc == WEIR_OK) {
        Weir__Control__LeaseReply reply;
        weir__control__lease_reply__init(&reply);
        reply.present = present;
        reply.why = err.text;
        weir__jm_reply_message(lease->request, &reply.base);
    } else {
        weir__jm_reply_error(lease->request, &err);
    }
    weir_pb_free(lease->message);
    weir_free(lease);
}

/* Not from what this JobManager believes: another may lead by now, and have given the job a new attempt. The applied state counts, once it is
 * proved that this one led behind the question. An error tells the asker nothing, and it asks again. */
static void handle_lease(struct weir_jm *jm, struct weir_rpc_request *request)
{
    struct lease *lease = weir_calloc(1, sizeof(*lease));
    *lease = (struct lease){.jm = jm, .request = request};
    struct weir_error err;
    bool present = false;
    enum weir_rc rc = weir_pb_decode(&weir__control__lease_request__descriptor, weir_rpc_request_body(request), &lease->message, &err);
    rc = rc == WEIR_OK ? look_up_lease(lease, &present, &err) : rc;
    if (rc == WEIR_OK) {
        weir_jm_prove(jm, lease_on_proved, lease);
    } else {
        weir__jm_reply_error(request, &err);
        weir_pb_free(lease->message);
        weir_free(lease);
    }
}

/* Answered by every JobManager, leading or not: its best knowledge. */
static void handle_who_leads(struct weir_jm *jm, struct weir_rpc_request *request)
{
    const struct weir_raft_member *members = NULL;
    struct weir_raft_core_view view = {.leader = 0};
    uint32_t count = weir__jm_members(jm, &members);
    char *const *named = NULL;
    char *addresses[2 * WEIR_RAFT_MEMBERS_MAX + WEIR_JM_FOUNDERS_MAX];
    Weir__Control__WhoLeadsReply reply;
    weir__control__who_leads_reply__init(&reply);
    if (jm->log != NULL) {
        weir_raft_log_view(jm->log, &view);
    }
    const struct weir_raft_member *leader = weir__jm_member(jm, view.leader);
    reply.leading = weir_dispatcher_leading(jm->dispatcher);
    reply.epoch = weir_meta_epoch(weir_dispatcher_meta(jm->dispatcher));
    reply.leader_address = (char *)(uintptr_t)(leader == NULL ? "" : leader->address);
    reply.jobmanagers = addresses;
    for (uint32_t i = 0; i < count; i++) {
        addresses[reply.n_jobmanagers++] = (char *)(uintptr_t)members[i].address;
    }
    for (uint32_t i = 0; count == 0 && i < jm->founders.count; i++) { /* not in the cluster yet */
        addresses[reply.n_jobmanagers++] = jm->founders.items[i].address;
    }
    uint32_t nnamed = weir__jm_named(jm, &named); /* newer than the own log */
    for (uint32_t i = 0; i < nnamed; i++) {
        addresses[reply.n_jobmanagers++] = named[i];
    }
    weir__jm_reply_message(request, &reply.base);
}

static void handle_request(struct weir_jm *jm, struct weir_rpc_request *request)
{
    if (strcmp(weir_rpc_request_peer_role(request), WEIR_ROLE_JOBMANAGER) == 0) {
        weir__jm_serve_jm(jm, request);
        return;
    }
    if (strcmp(weir_rpc_request_peer_role(request), WEIR_ROLE_TASKMANAGER) != 0) {
        weir_rpc_reply(request, WEIR_REFUSED, weir_slice_str("a JobManager serves TaskManagers and JobManagers only"));
        return;
    }
    switch (weir_rpc_request_method(request)) {
    case WEIR_METHOD_REGISTER:
        handle_register(jm, request);
        return;
    case WEIR_METHOD_HEARTBEAT:
        handle_heartbeat(jm, request);
        return;
    case WEIR_METHOD_TASK_STATE:
        handle_task_state(jm, request);
        return;
    case WEIR_METHOD_CHECKPOINT_ACK:
        handle_ckpt_ack(jm, request);
        return;
    case WEIR_METHOD_CHECKPOINT_DECLINE:
        handle_ckpt_decline(jm, request);
        return;
    case WEIR_METHOD_LEASE:
        handle_lease(jm, request);
        return;
    case WEIR_METHOD_WHO_LEADS:
        handle_who_leads(jm, request);
        return;
    case WEIR_METHOD_RAFT:
    case WEIR_METHOD_JM_HELLO:
        weir_log(jm->options.log, WEIR_LOG_WARN, "posing_as_jobmanager", "peer", weir_rpc_request_peer_name(request), NULL);
        weir_rpc_reply(request, WEIR_REFUSED, weir_slice_str("only a JobManager may say this to a JobManager"));
        return;
    default:
        weir_rpc_reply(request, WEIR_UNSUPPORTED, weir_slice_str("a JobManager does not serve this method"));
    }
}

/* --- from library threads --------------------------------------------------------------------------------------------- */
static void run_inbound(void *payload)
{
    struct inbound *inbound = payload;
    struct weir_jm *jm = inbound->jm;
    if (inbound->request != NULL) {
        handle_request(jm, inbound->request);
    } else {
        /* Of a connection that a newer registration has replaced, nothing follows. */
        struct weir_hmap_iter it = {0};
        while (weir_hmap_next(jm->links, &it)) {
            const struct weir_jm_link *link = it.value;
            if (link->peer == inbound->peer) {
                weir_dispatcher_tm_closed(jm->dispatcher, link->tm_id, weir__jm_now(jm));
            }
        }
    }
    weir_free(inbound);
}

static void drop_inbound(void *payload)
{
    struct inbound *inbound = payload;
    if (inbound->request != NULL) {
        weir_rpc_reply(inbound->request, WEIR_REFUSED, weir_slice_str("the JobManager is shutting down or overloaded"));
    }
    weir_free(inbound);
}

/* One priority for both, so that a connection's end stays behind its last request. */
static void post(struct weir_jm *jm, struct weir_rpc_request *request, uint64_t peer)
{
    struct inbound *inbound = weir_calloc(1, sizeof(*inbound));
    *inbound = (struct inbound){.jm = jm, .request = request, .peer = peer};
    struct weir_mail mail = {.run = run_inbound, .drop = drop_inbound, .payload = inbound};
    if (weir_mailbox_post(jm->mailbox, WEIR_MAIL_DATA, mail) != WEIR_OK) {
        weir_mail_drop(&mail); /* a closed connection that is missed here shows by the missing heartbeats */
    }
}

void weir__jm_on_request(void *ctx, struct weir_rpc_request *request)
{
    post(ctx, request, 0);
}

void weir__jm_on_peer_closed(void *ctx, uint64_t peer)
{
    post(ctx, NULL, peer);
}
