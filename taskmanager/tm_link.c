#include "taskmanager/tm_link.h"

#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/vec.h"
#include "common/base/version.h"
#include "common/net/address.h"
#include "proto/methods.h"
#include "proto/pb.h"
#include "taskmanager/tm_leaders.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum { CALL_DEADLINE_MS = 5000, ASK_DEADLINE_MS = 1000 };

/* The connection to one JobManager. */
struct peer {
    struct weir_tm_link *link;
    struct weir_rpc_client *client;
    uint32_t jm; /* in tm_leaders */
    bool retired; /* its number is another's now: what it still says does not count, and it is freed when that is over */
    uint32_t calls; /* not ended yet, as the owner's thread knows */
    _Atomic uint32_t notices; /* of connections, posted and not dealt with */
};

struct weir_tm_link {
    struct weir_tm_link_options options;
    struct weir_tm_leaders *leaders;
    struct peer *peers[WEIR_TM_LEADERS_MAX]; /* by number; NULL: not known, or cannot be connected to */
    struct peer **retired;
    size_t nretired;
    size_t retired_cap;
    struct weir_timer timer; /* next heartbeat */
    struct weir_timer look;  /* next step of tm_leaders */
    uint64_t bond;           /* grows with each registration sent and each leader lost: what belongs to an older one does not count */
    int64_t interval_ms;
    uint64_t order_epoch, order_sequence; /* of the newest order */
    bool calling; /* a HEARTBEAT of this bond is outstanding */
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

/* A checkpoint report that no leader has answered yet. */
struct unanswered {
    uint64_t number;
    uint16_t method;
    struct weir_buf body; /* without sender and epoch: those are of the moment it is sent */
    uint64_t sent_in;     /* the bond of the call that is outstanding with it; 0: none */
};

enum { UNANSWERED_MAX = 4096 };

/* A call on its way, and its answer on the way back. */
struct call {
    struct weir_tm_link *link;
    struct peer *peer;
    uint64_t bond;
    int64_t sent_boot_ns;
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
        call->lease_done(call->lease_ctx, WEIR_CANCELED, "the TaskManager could not ask the leader");
    }
    weir_free(call->told);
    weir_buf_fini(&call->body);
    weir_free(call);
}

static void arm(struct weir_tm_link *link, int64_t after_ms)
{
    if (!link->stopped) {
        weir_timers_add(link->options.timers, &link->timer, weir_clock_mono_ns(link->options.clock) + after_ms * 1000000);
    }
}

static int64_t now_ms(const struct weir_tm_link *link)
{
    return weir_clock_mono_ms(link->options.clock);
}

/* The leader's connection; NULL: not registered. */
static struct peer *leader(const struct weir_tm_link *link)
{
    int32_t jm = weir_tm_leaders_leader(link->leaders);
    return jm < 0 ? NULL : link->peers[jm];
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
static bool send_bytes_take(struct peer *peer, struct call *call, uint16_t method, struct weir_slice body, uint32_t deadline_ms)
{
    struct weir_tm_link *link = peer->link;
    struct weir_error err;
    call->link = link;
    call->peer = peer;
    call->bond = link->bond;
    call->method = method;
    call->sent_boot_ns = weir_clock_boot_ns(link->options.clock);
    bool sent = false;
    if (weir_mailbox_reserve(link->options.mailbox) == WEIR_OK) {
        sent = weir_rpc_call(peer->client, method, body, deadline_ms, on_done, call, &err) == WEIR_OK;
        if (!sent) {
            weir_mailbox_unreserve(link->options.mailbox);
        }
    }
    if (sent) {
        peer->calls++;
    } else {
        free_call(call);
    }
    return sent;
}

static bool send_take(struct peer *peer, struct call *call, uint16_t method, const ProtobufCMessage *message, uint32_t deadline_ms)
{
    struct weir_buf body = {0};
    weir_pb_encode(message, &body);
    bool sent = send_bytes_take(peer, call, method, weir_buf_slice(&body), deadline_ms);
    weir_buf_fini(&body);
    return sent;
}

/* Appends who sends, and in which epoch: two encoded messages in a row are one message with the fields of both. */
static void put_sender(struct weir_tm_link *link, uint16_t method, struct weir_buf *body)
{
    char *tm_id = weir_strdup(link->options.tm_id);
    if (method == WEIR_METHOD_CHECKPOINT_ACK) {
        Weir__Control__CheckpointAckRequest ack = WEIR__CONTROL__CHECKPOINT_ACK_REQUEST__INIT;
        ack.tm_id = tm_id;
        ack.leader_epoch = weir_tm_leaders_epoch(link->leaders);
        weir_pb_encode(&ack.base, body);
    } else {
        Weir__Control__CheckpointDeclineRequest decline = WEIR__CONTROL__CHECKPOINT_DECLINE_REQUEST__INIT;
        decline.tm_id = tm_id;
        decline.leader_epoch = weir_tm_leaders_epoch(link->leaders);
        weir_pb_encode(&decline.base, body);
    }
    weir_free(tm_id);
}

/* Sends the reports that have no answer and no call to this leader outstanding. */
static void send_unanswered(struct weir_tm_link *link)
{
    struct peer *to = leader(link);
    for (size_t i = 0; i < link->nunanswered && to != NULL && !link->stopped; i++) {
        struct unanswered *report = &link->unanswered[i];
        if (report->sent_in != link->bond) {
            struct call *call = weir_calloc(1, sizeof(*call));
            struct weir_buf body = {0};
            weir_buf_put_slice(&body, weir_buf_slice(&report->body));
            put_sender(link, report->method, &body);
            call->unanswered = report->number;
            report->sent_in = send_bytes_take(to, call, report->method, weir_buf_slice(&body), CALL_DEADLINE_MS) ? link->bond : 0;
            weir_buf_fini(&body);
        }
    }
}

/* Whether an answer says that the report has not been judged: silence, or somebody who does not lead or does not know us (any more). */
static bool undecided(enum weir_rc rc)
{
    return rc == WEIR_TIMEOUT || rc == WEIR_CLOSED || rc == WEIR_CANCELED || rc == WEIR_AGAIN || rc == WEIR_REFUSED || rc == WEIR_NOT_FOUND;
}

/* Whatever a leader says to a report is final, unless that was an earlier leader and its word only that the epoch is over. */
static void report_answered(struct weir_tm_link *link, const struct call *call)
{
    bool final = call->rc == WEIR_OK || (call->bond == link->bond && !undecided(call->rc));
    for (size_t i = 0; i < link->nunanswered; i++) {
        struct unanswered *report = &link->unanswered[i];
        if (report->number != call->unanswered) {
            continue;
        }
        report->sent_in = report->sent_in == call->bond ? 0 : report->sent_in;
        if (final) {
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
        decline.task = &ref;
        decline.checkpoint_id = snapshot->checkpoint;
        decline.failure = &failure;
        report_take(link, WEIR_METHOD_CHECKPOINT_DECLINE, &decline.base);
    }
    weir_arena_destroy(arena);
}

static void send_register(struct weir_tm_link *link, struct peer *to)
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
    link->bond++;
    if (!send_take(to, call, WEIR_METHOD_REGISTER, &request.base, CALL_DEADLINE_MS)) {
        weir_tm_leaders_refused(link->leaders, now_ms(link));
    }
    weir_arena_destroy(arena);
}

static void send_heartbeat(struct weir_tm_link *link, struct peer *to)
{
    struct weir_arena *arena = weir_arena_create(0);
    struct call *call = weir_calloc(1, sizeof(*call));
    Weir__Control__HeartbeatRequest request = WEIR__CONTROL__HEARTBEAT_REQUEST__INIT;
    request.tm_id = weir_arena_strdup(arena, link->options.tm_id);
    request.leader_epoch = weir_tm_leaders_epoch(link->leaders);
    request.memory_used_bytes = weir_mem_used(link->options.mem);
    request.tasks = all_statuses(link, call, &request.n_tasks, arena);
    link->calling = send_take(to, call, WEIR_METHOD_HEARTBEAT, &request.base, CALL_DEADLINE_MS);
    weir_arena_destroy(arena);
}

void weir_tm_link_report(struct weir_tm_link *link, const struct weir_tm_status *status)
{
    struct peer *to = leader(link);
    if (to == NULL || link->stopped) {
        return; /* the registration tells it */
    }
    struct weir_arena *arena = weir_arena_create(0);
    struct call *call = weir_calloc(1, sizeof(*call));
    call->told = weir_calloc(1, sizeof(*call->told));
    tell(call, status);
    Weir__Control__TaskStateRequest request = WEIR__CONTROL__TASK_STATE_REQUEST__INIT;
    request.tm_id = weir_arena_strdup(arena, link->options.tm_id);
    request.leader_epoch = weir_tm_leaders_epoch(link->leaders);
    request.status = status_message(status, arena);
    (void)send_take(to, call, WEIR_METHOD_TASK_STATE, &request.base, CALL_DEADLINE_MS); /* not sent: the next heartbeat tells it */
    weir_arena_destroy(arena);
}

void weir_tm_link_ask_lease(struct weir_tm_link *link, const char *job_id, uint32_t region, uint32_t attempt,
                            void (*done)(void *ctx, enum weir_rc rc, const char *text), void *ctx)
{
    struct peer *to = leader(link);
    if (to == NULL || link->stopped) {
        done(ctx, WEIR_CLOSED, "the TaskManager is not registered with a leading JobManager now");
        return;
    }
    struct weir_arena *arena = weir_arena_create(0);
    struct call *call = weir_calloc(1, sizeof(*call));
    call->lease_done = done;
    call->lease_ctx = ctx;
    Weir__Control__LeaseRequest request = WEIR__CONTROL__LEASE_REQUEST__INIT;
    request.tm_id = weir_arena_strdup(arena, link->options.tm_id);
    request.leader_epoch = weir_tm_leaders_epoch(link->leaders);
    request.job_id = weir_arena_strdup(arena, job_id);
    request.region = region;
    request.attempt = attempt;
    (void)send_take(to, call, WEIR_METHOD_LEASE, &request.base, CALL_DEADLINE_MS); /* not sent: done is called all the same */
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

static void heard(struct weir_tm_link *link, const struct call *call)
{
    if (link->options.on_heard != NULL) {
        link->options.on_heard(link->options.ctx, call->sent_boot_ns);
    }
}

static void registered(struct weir_tm_link *link, const struct call *call)
{
    Weir__Control__RegisterReply *reply = NULL;
    struct weir_error err;
    if (weir_pb_decode(&weir__control__register_reply__descriptor, weir_buf_slice(&call->body), &reply, &err) != WEIR_OK) {
        weir_log(link->options.log, WEIR_LOG_WARN, "register_answer_bad", "text", err.text, NULL);
        weir_tm_leaders_refused(link->leaders, now_ms(link));
        return;
    }
    weir_tm_leaders_registered(link->leaders, reply->leader_epoch, reply->heartbeat_interval_ms, reply->heartbeat_timeout_ms, now_ms(link));
    if (leader(link) != NULL) {
        link->interval_ms = reply->heartbeat_interval_ms == 0 ? 1 : reply->heartbeat_interval_ms;
        weir_log(link->options.log, WEIR_LOG_INFO, "registered", "leader_epoch", WEIR_LOG_INT(reply->leader_epoch), "jobmanager",
                 weir_tm_leaders_address(link->leaders, call->peer->jm), NULL);
        acknowledge(link, call);
        heard(link, call);
        send_unanswered(link);
        arm(link, link->interval_ms);
    }
    weir_pb_free(reply);
}

static void register_ended(struct weir_tm_link *link, const struct call *call)
{
    if (call->rc == WEIR_OK) {
        registered(link, call);
        return;
    }
    weir_log(link->options.log, WEIR_LOG_WARN, "register_refused", "why", call->text, NULL);
    weir_tm_leaders_refused(link->leaders, now_ms(link));
    if (call->rc == WEIR_STALE && !link->expelled) {
        link->expelled = true;
        link->options.on_expelled(link->options.ctx);
    }
}

static void heartbeat_ended(struct weir_tm_link *link, const struct call *call)
{
    link->calling = false;
    if (call->rc == WEIR_OK) {
        weir_tm_leaders_heard(link->leaders, now_ms(link));
        heard(link, call);
    } else if (call->rc != WEIR_TIMEOUT && call->rc != WEIR_CANCELED) {
        weir_log(link->options.log, WEIR_LOG_INFO, "heartbeat_refused", "why", call->text, NULL);
        weir_tm_leaders_disowned(link->leaders);
    }
    if (leader(link) != NULL) {
        arm(link, link->interval_ms);
    }
}

static void who_leads_answered(struct weir_tm_link *link, const struct call *call)
{
    Weir__Control__WhoLeadsReply *reply = NULL;
    struct weir_error err;
    if (call->rc != WEIR_OK) {
        weir_tm_leaders_told(link->leaders, call->peer->jm, NULL);
    } else if (weir_pb_decode(&weir__control__who_leads_reply__descriptor, weir_buf_slice(&call->body), &reply, &err) != WEIR_OK) {
        weir_log(link->options.log, WEIR_LOG_WARN, "who_leads_answer_bad", "text", err.text, NULL);
        weir_tm_leaders_told(link->leaders, call->peer->jm, NULL);
    } else {
        const struct weir_tm_leaders_word word = {.leading = reply->leading != 0,
                                                  .epoch = reply->epoch,
                                                  .leader_address = reply->leader_address,
                                                  .jobmanagers = reply->jobmanagers,
                                                  .njobmanagers = reply->n_jobmanagers};
        weir_tm_leaders_told(link->leaders, call->peer->jm, &word);
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

static void step(struct weir_tm_link *link);
static void free_if_over(struct peer *peer);

static void call_ended(void *payload)
{
    struct call *call = payload;
    struct weir_tm_link *link = call->link;
    bool present = call->bond == link->bond;
    if (call->method == WEIR_METHOD_LEASE) {
        lease_answered(call);
    } else if (call->method == WEIR_METHOD_WHO_LEADS) {
        if (!call->peer->retired) {
            who_leads_answered(link, call);
        }
    } else if (call->method == WEIR_METHOD_REGISTER) {
        if (present) {
            register_ended(link, call);
        }
    } else if (call->unanswered != 0) {
        WEIR_FAILPOINT("ckpt.after_ack");
        report_answered(link, call);
    } else {
        if (call->rc == WEIR_OK) {
            acknowledge(link, call);
        }
        if (call->method == WEIR_METHOD_HEARTBEAT && present) {
            heartbeat_ended(link, call);
        }
    }
    step(link);
    call->peer->calls--;
    free_if_over(call->peer);
    free_call(call);
}

/* --- who leads ------------------------------------------------------------------------------------------------------- */

static void beat(void *ctx)
{
    struct weir_tm_link *link = ctx;
    struct peer *to = leader(link);
    if (to == NULL || link->calling || link->stopped) {
        return; /* the answer, or the next registration, arms the timer again */
    }
    send_unanswered(link);
    send_heartbeat(link, to);
    if (!link->calling) {
        arm(link, link->interval_ms);
    }
}

static void on_connected(void *ctx);
static void on_disconnected(void *ctx);

/* A retired one whose last call is over: then nothing can block for long here. Notices of its connection may still be on their way. */
static void free_if_over(struct peer *peer)
{
    struct weir_tm_link *link = peer->link;
    if (!peer->retired || peer->calls > 0) {
        return;
    }
    weir_rpc_client_destroy(peer->client);
    peer->client = NULL;
    if (atomic_load(&peer->notices) > 0) {
        return;
    }
    for (size_t i = 0; i < link->nretired; i++) {
        if (link->retired[i] == peer) {
            link->retired[i] = link->retired[--link->nretired];
            break;
        }
    }
    weir_free(peer);
}

static void retire(struct weir_tm_link *link, struct peer *peer)
{
    peer->retired = true;
    weir_rpc_client_stop(peer->client);
    link->retired = weir_vec_grow(link->retired, &link->retired_cap, sizeof(struct peer *), link->nretired + 1);
    link->retired[link->nretired++] = peer;
    free_if_over(peer);
}

/* A connection to a JobManager under this number, instead of what was there. */
static enum weir_rc open_peer(struct weir_tm_link *link, uint32_t jm, struct weir_error *err)
{
    char address[WEIR_ADDRESS_BYTES_MAX + 8];
    (void)snprintf(address, sizeof(address), "tcp://%s", weir_tm_leaders_address(link->leaders, jm));
    struct weir_rpc_client_options client = {
        .address = address,
        .cluster_id = weir_config_string(link->options.config, WEIR_CFG_CLUSTER_ID),
        .role = WEIR_ROLE_TASKMANAGER,
        .name = link->options.tm_id,
        .server_role = WEIR_ROLE_JOBMANAGER,
        .protocol_version = WEIR_PROTOCOL_VERSION,
        .log = link->options.log,
        .tls = link->options.tls,
    };
    struct weir_rpc_client_callbacks callbacks = {.on_connected = on_connected, .on_disconnected = on_disconnected};
    struct peer *peer = weir_calloc(1, sizeof(*peer));
    *peer = (struct peer){.link = link, .jm = jm};
    if (link->peers[jm] != NULL) {
        retire(link, link->peers[jm]);
    }
    link->peers[jm] = peer; /* before it can connect */
    enum weir_rc rc = weir_rpc_client_create(&client, &callbacks, peer, &peer->client, err);
    if (rc != WEIR_OK) {
        link->peers[jm] = NULL;
        weir_free(peer);
    }
    return rc;
}

static void log_lost(struct weir_tm_link *link, enum weir_tm_leaders_lost lost)
{
    static const char *const texts[] = {
        [WEIR_TM_LEADER_KEPT] = "",
        [WEIR_TM_LEADER_CLOSED] = "connection closed",
        [WEIR_TM_LEADER_REFUSED] = "does not lead, or does not know this TaskManager",
        [WEIR_TM_LEADER_SILENT] = "silent for heartbeat.timeout",
        [WEIR_TM_LEADER_SUPERSEDED] = "another leads with a higher epoch",
    };
    weir_log(link->options.log, WEIR_LOG_WARN, "jobmanager_lost", "why", texts[lost], NULL);
}

/* Does what tm_leaders says, and comes back when it wants. */
static void step(struct weir_tm_link *link)
{
    if (link->stopped) {
        return;
    }
    struct weir_tm_leaders_todo todo;
    bool may_register = !link->expelled || weir_tm_attempts_live(link->options.attempts) == 0;
    weir_tm_leaders_step(link->leaders, now_ms(link), may_register, &todo);
    if (todo.lost != WEIR_TM_LEADER_KEPT) {
        link->bond++;
        link->calling = false;
        log_lost(link, todo.lost);
    }
    for (uint32_t i = 0; i < weir_tm_leaders_count(link->leaders); i++) {
        struct weir_error err;
        if ((todo.connect & 1U << i) != 0 && open_peer(link, i, &err) != WEIR_OK) {
            weir_log(link->options.log, WEIR_LOG_WARN, "jobmanager_address_bad", "text", err.text, NULL);
        } else if ((todo.connect & 1U << i) != 0) {
            weir_log(link->options.log, WEIR_LOG_INFO, "jobmanager_learned", "address", weir_tm_leaders_address(link->leaders, i), NULL);
        }
        if ((todo.ask & 1U << i) != 0) {
            Weir__Control__WhoLeadsRequest question = WEIR__CONTROL__WHO_LEADS_REQUEST__INIT;
            struct call *call = weir_calloc(1, sizeof(*call));
            if (!send_take(link->peers[i], call, WEIR_METHOD_WHO_LEADS, &question.base, ASK_DEADLINE_MS)) {
                weir_tm_leaders_told(link->leaders, i, NULL);
            }
        }
    }
    if (todo.registration >= 0) {
        link->expelled = false;
        send_register(link, link->peers[todo.registration]);
    }
    if (todo.next_ms != INT64_MAX) {
        weir_timers_add(link->options.timers, &link->look, todo.next_ms * 1000000);
    }
}

static void look(void *ctx)
{
    step(ctx);
}

static void noticed(struct peer *peer)
{
    atomic_fetch_sub(&peer->notices, 1);
    free_if_over(peer);
}

static void connected(void *payload)
{
    struct peer *peer = payload;
    if (!peer->retired) {
        weir_tm_leaders_connected(peer->link->leaders, peer->jm);
        step(peer->link);
    }
    noticed(peer);
}

static void disconnected(void *payload)
{
    struct peer *peer = payload;
    if (!peer->retired) {
        weir_tm_leaders_disconnected(peer->link->leaders, peer->jm);
        step(peer->link);
    }
    noticed(peer);
}

/* On RPC threads. */
static void post_notice(struct peer *peer, void (*run)(void *payload))
{
    struct weir_mail mail = {.run = run, .payload = peer};
    atomic_fetch_add(&peer->notices, 1);
    enum weir_rc rc = weir_mailbox_post(peer->link->options.mailbox, WEIR_MAIL_CONTROL, mail);
    weir_assert(rc == WEIR_OK || rc == WEIR_CLOSED);
}

static void on_connected(void *ctx)
{
    post_notice(ctx, connected);
}

static void on_disconnected(void *ctx)
{
    post_notice(ctx, disconnected);
}

/* Connects to all that the configuration names. */
static enum weir_rc open_peers(struct weir_tm_link *link, struct weir_error *err)
{
    struct weir_tm_leaders_todo todo;
    weir_tm_leaders_step(link->leaders, now_ms(link), false, &todo);
    enum weir_rc rc = WEIR_OK;
    for (uint32_t i = 0; rc == WEIR_OK && i < weir_tm_leaders_count(link->leaders); i++) {
        weir_assert((todo.connect & 1U << i) != 0);
        rc = open_peer(link, i, err);
    }
    return rc;
}

enum weir_rc weir_tm_link_create(const struct weir_tm_link_options *options, struct weir_tm_link **out_link, struct weir_error *err)
{
    struct weir_tm_link *link = weir_calloc(1, sizeof(*link));
    link->options = *options;
    link->timer = (struct weir_timer){.fire = beat, .ctx = link};
    link->look = (struct weir_timer){.fire = look, .ctx = link};
    char address[WEIR_ADDRESS_BYTES_MAX];
    const char *jobmanagers = weir_config_string(options->config, WEIR_CFG_JOBMANAGERS);
    if (jobmanagers[0] == '\0') {
        (void)snprintf(address, sizeof(address), "%s:%lld", weir_config_string(options->config, WEIR_CFG_JM_RPC_ADDRESS),
                       (long long)weir_config_int(options->config, WEIR_CFG_JM_RPC_PORT));
        jobmanagers = address;
    }
    enum weir_rc rc = weir_tm_leaders_create(jobmanagers, &link->leaders, err);
    rc = rc == WEIR_OK ? open_peers(link, err) : weir_error_prefix(err, "the addresses of JobManagers");
    if (rc != WEIR_OK) {
        weir_tm_link_destroy(link);
        return rc;
    }
    *out_link = link;
    return WEIR_OK;
}

void weir_tm_link_stop(struct weir_tm_link *link)
{
    link->stopped = true;
    weir_timers_cancel(link->options.timers, &link->timer);
    weir_timers_cancel(link->options.timers, &link->look);
    for (uint32_t i = 0; i < WEIR_TM_LEADERS_MAX; i++) {
        if (link->peers[i] != NULL) {
            weir_rpc_client_stop(link->peers[i]->client);
        }
    }
}

void weir_tm_link_destroy(struct weir_tm_link *link)
{
    if (link == NULL) {
        return;
    }
    weir_tm_link_stop(link);
    for (uint32_t i = 0; i < WEIR_TM_LEADERS_MAX; i++) {
        if (link->peers[i] != NULL) {
            weir_rpc_client_destroy(link->peers[i]->client);
        }
    }
    for (size_t i = 0; i < link->nretired; i++) {
        weir_rpc_client_destroy(link->retired[i]->client);
    }
    weir_mailbox_close(link->options.mailbox); /* answers still in it point here */
    for (uint32_t i = 0; i < WEIR_TM_LEADERS_MAX; i++) {
        weir_free(link->peers[i]);
    }
    for (size_t i = 0; i < link->nretired; i++) {
        weir_free(link->retired[i]);
    }
    for (size_t i = 0; i < link->nunanswered; i++) {
        weir_buf_fini(&link->unanswered[i].body);
    }
    weir_free(link->retired);
    weir_free(link->unanswered);
    weir_tm_leaders_destroy(link->leaders);
    weir_free(link);
}

bool weir_tm_link_accept_order(struct weir_tm_link *link, uint64_t epoch, uint64_t sequence)
{
    if (!weir_tm_leaders_accept_epoch(link->leaders, epoch) || (epoch == link->order_epoch && sequence <= link->order_sequence)) {
        return false;
    }
    link->order_epoch = epoch;
    link->order_sequence = sequence;
    return true;
}
