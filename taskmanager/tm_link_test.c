#include "taskmanager/tm_link.h"

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/runtime/sync.h"
#include "proto/methods.h"
#include "proto/pb.h"
#include "taskmanager/tm_attempts_test_kit.h"

#include <check.h>
#include <stdio.h>
#include <unistd.h>

/* JobManagers that say what the test wants, and a link that looks for the leader among them, run by the test's own thread. */

enum { JMS = 3, HELD_MAX = 256, DEADLINE_MS = 90000, HEARTBEAT_MS = 20, HEARTBEAT_TIMEOUT_MS = 5000 };

struct jm {
    struct weir_mutex mutex; /* guards all below */
    struct weir_rpc_server *server;
    char address[64]; /* "127.0.0.1:port" */
    bool leading;
    bool frozen; /* answers nothing: what comes is held */
    bool mute_reports; /* takes checkpoint reports and never answers them */
    enum weir_rc report_rc;
    uint64_t epoch;
    char names[64]; /* another JobManager that it names; "" none */
    uint32_t asked, registrations, heartbeats, reports;
    uint64_t report_epoch, report_checkpoint; /* of the newest report */
    char report_tm[64];
    char tm_id[64];  /* of the newest registration */
    bool expel;      /* registrations are answered with STALE */
    struct weir_rpc_request *held[HELD_MAX];
    uint32_t nheld;
};

struct rig {
    struct jm jms[JMS];
    struct weir_config *config;
    struct weir_log_sink *sink;
    struct weir_log *log;
    struct weir_waker *waker;
    struct weir_mailbox *mailbox;
    struct weir_timers timers;
    struct weir_mem *mem;
    struct weir_tm_attempts *attempts;
    struct weir_tm_link *link;
    char tm_id[64];
    uint32_t expelled, heard;
    const struct weir_clock *clock; /* the link's */
    struct weir_clock_virtual own_clock;
};

static void reply(struct weir_rpc_request *request, const ProtobufCMessage *message)
{
    struct weir_buf body = {0};
    weir_pb_encode(message, &body);
    weir_rpc_reply(request, WEIR_OK, weir_buf_slice(&body));
    weir_buf_fini(&body);
}

static void refuse(struct weir_rpc_request *request, enum weir_rc rc)
{
    weir_rpc_reply(request, rc, weir_slice_str("refused by the test"));
}

static void answer_who_leads(struct jm *jm, struct weir_rpc_request *request)
{
    Weir__Control__WhoLeadsReply word = WEIR__CONTROL__WHO_LEADS_REPLY__INIT;
    char *names[] = {jm->address};
    jm->asked++;
    word.leading = jm->leading;
    word.epoch = jm->epoch;
    word.leader_address = jm->names;
    word.jobmanagers = names;
    word.n_jobmanagers = 1;
    reply(request, &word.base);
}

static void answer_register(struct jm *jm, struct weir_rpc_request *request)
{
    Weir__Control__RegisterRequest *message = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_pb_decode(&weir__control__register_request__descriptor, weir_rpc_request_body(request), &message, &err), WEIR_OK);
    (void)snprintf(jm->tm_id, sizeof(jm->tm_id), "%s", message->tm_id);
    weir_pb_free(message);
    if (!jm->leading || jm->expel) {
        refuse(request, jm->expel ? WEIR_STALE : WEIR_REFUSED);
        jm->expel = false;
        return;
    }
    jm->registrations++;
    Weir__Control__RegisterReply accepted = WEIR__CONTROL__REGISTER_REPLY__INIT;
    accepted.leader_epoch = jm->epoch;
    accepted.heartbeat_interval_ms = HEARTBEAT_MS;
    accepted.heartbeat_timeout_ms = HEARTBEAT_TIMEOUT_MS;
    reply(request, &accepted.base);
}

static void answer_report(struct jm *jm, struct weir_rpc_request *request)
{
    Weir__Control__CheckpointAckRequest *message = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_pb_decode(&weir__control__checkpoint_ack_request__descriptor, weir_rpc_request_body(request), &message, &err), WEIR_OK);
    jm->reports++;
    jm->report_epoch = message->leader_epoch;
    jm->report_checkpoint = message->checkpoint_id;
    (void)snprintf(jm->report_tm, sizeof(jm->report_tm), "%s", message->tm_id);
    weir_pb_free(message);
    if (jm->mute_reports) {
        jm->held[jm->nheld++] = request;
    } else if (jm->report_rc != WEIR_OK) {
        refuse(request, jm->report_rc);
    } else {
        Weir__Control__Ack ack = WEIR__CONTROL__ACK__INIT;
        reply(request, &ack.base);
    }
}

/* On a library thread. */
static void on_request(void *ctx, struct weir_rpc_request *request)
{
    struct jm *jm = ctx;
    weir_mutex_lock(&jm->mutex);
    ck_assert_uint_lt(jm->nheld, HELD_MAX);
    if (jm->frozen) {
        jm->held[jm->nheld++] = request;
    } else if (weir_rpc_request_method(request) == WEIR_METHOD_WHO_LEADS) {
        answer_who_leads(jm, request);
    } else if (weir_rpc_request_method(request) == WEIR_METHOD_REGISTER) {
        answer_register(jm, request);
    } else if (weir_rpc_request_method(request) == WEIR_METHOD_CHECKPOINT_ACK) {
        answer_report(jm, request);
    } else if (jm->leading) {
        jm->heartbeats++;
        Weir__Control__HeartbeatReply beat = WEIR__CONTROL__HEARTBEAT_REPLY__INIT;
        reply(request, &beat.base);
    } else {
        refuse(request, WEIR_REFUSED);
    }
    weir_mutex_unlock(&jm->mutex);
}

static void jm_start(struct jm *jm)
{
    struct weir_rpc_server_options options = {.address = "tcp://127.0.0.1:0",
                                              .cluster_id = "weir",
                                              .role = WEIR_ROLE_JOBMANAGER,
                                              .name = "jm",
                                              .protocol_version = WEIR_PROTOCOL_VERSION};
    struct weir_rpc_server_callbacks callbacks = {.on_request = on_request};
    struct weir_error err;
    weir_mutex_init(&jm->mutex);
    ck_assert_msg(weir_rpc_server_create(&options, &callbacks, jm, &jm->server, &err) == WEIR_OK, "%s", err.text);
    (void)snprintf(jm->address, sizeof(jm->address), "127.0.0.1:%u", weir_rpc_server_port(jm->server));
}

/* Dies: its connections close. */
static void jm_kill(struct jm *jm)
{
    weir_rpc_server_destroy(jm->server);
    jm->server = NULL;
    for (uint32_t i = 0; i < jm->nheld; i++) {
        refuse(jm->held[i], WEIR_REFUSED);
    }
    jm->nheld = 0;
}

static void jm_set(struct jm *jm, bool leading, uint64_t epoch, bool frozen)
{
    weir_mutex_lock(&jm->mutex);
    jm->leading = leading;
    jm->epoch = epoch;
    jm->frozen = frozen;
    weir_mutex_unlock(&jm->mutex);
}

static void on_expelled(void *ctx)
{
    struct rig *rig = ctx;
    rig->expelled++;
    (void)snprintf(rig->tm_id, sizeof(rig->tm_id), "tm.%u", rig->expelled);
}

static void on_heard(void *ctx, int64_t sent_boot_ns)
{
    struct rig *rig = ctx;
    rig->heard++;
    ck_assert_int_le(sent_boot_ns, weir_clock_boot_ns(rig->clock));
}

/* jobmanagers: how many of them the configuration names. own_clock: time goes on when the test says so. */
static struct rig *rig_create_under(uint32_t jobmanagers, bool own_clock)
{
    struct rig *rig = weir_calloc(1, sizeof(*rig));
    weir_clock_virtual_init(&rig->own_clock, weir_clock_mono_ns(weir_clock_real()), 0);
    rig->clock = own_clock ? &rig->own_clock.clock : weir_clock_real();
    struct weir_error err;
    struct weir_buf list = {0};
    weir_buf_put_str(&list, "cluster.jobmanagers=");
    for (uint32_t i = 0; i < JMS; i++) {
        jm_start(&rig->jms[i]);
        if (i < jobmanagers) {
            weir_buf_put_fmt(&list, "%s%s", i > 0 ? "," : "", rig->jms[i].address);
        }
    }
    weir_buf_put_u8(&list, 0);
    rig->config = weir_config_create();
    ck_assert_int_eq(weir_config_set_pair(rig->config, (const char *)list.data, &err), WEIR_OK);
    weir_buf_fini(&list);
    rig->sink = weir_log_sink_create(STDERR_FILENO, weir_clock_real(), WEIR_LOG_ERROR);
    rig->log = weir_log_create(rig->sink);
    ck_assert_int_eq(weir_waker_create(&rig->waker, &err), WEIR_OK);
    rig->mailbox = weir_mailbox_create(1024, rig->waker);
    rig->mem = weir_mem_create("test", 1 << 20, NULL);
    weir_timers_init(&rig->timers);
    rig->attempts = weir_tm_attempts_create(&(struct weir_tm_attempts_options){.tm_id = rig->tm_id});
    (void)snprintf(rig->tm_id, sizeof(rig->tm_id), "tm");
    struct weir_tm_link_options options = {.config = rig->config,
                                           .log = rig->log,
                                           .clock = rig->clock,
                                           .tm_id = rig->tm_id,
                                           .rpc_address = "tcp://127.0.0.1:1",
                                           .data_address = "127.0.0.1:2",
                                           .mailbox = rig->mailbox,
                                           .timers = &rig->timers,
                                           .attempts = rig->attempts,
                                           .mem = rig->mem,
                                           .on_expelled = on_expelled,
                                           .on_heard = on_heard,
                                           .ctx = rig};
    ck_assert_msg(weir_tm_link_create(&options, &rig->link, &err) == WEIR_OK, "%s", err.text);
    return rig;
}

static struct rig *rig_create(uint32_t jobmanagers)
{
    return rig_create_under(jobmanagers, false);
}

static void rig_destroy(struct rig *rig)
{
    weir_tm_link_destroy(rig->link);
    for (uint32_t i = 0; i < JMS; i++) {
        if (rig->jms[i].server != NULL) {
            jm_kill(&rig->jms[i]);
        }
        weir_mutex_fini(&rig->jms[i].mutex);
    }
    weir_tm_attempts_destroy(rig->attempts);
    weir_timers_fini(&rig->timers);
    weir_mem_destroy(rig->mem);
    weir_mailbox_destroy(rig->mailbox);
    weir_waker_destroy(rig->waker);
    weir_log_destroy(rig->log);
    weir_log_sink_destroy(rig->sink);
    weir_config_destroy(rig->config);
    weir_free(rig);
}

/* Runs the TaskManager's thread until *count of that JobManager is at least `least`. */
static void run_until(struct rig *rig, struct jm *jm, const uint32_t *count, uint32_t least, const char *what)
{
    const struct weir_clock *clock = weir_clock_real();
    int64_t end_ms = weir_clock_mono_ms(clock) + DEADLINE_MS;
    for (;;) {
        (void)weir_mailbox_run(rig->mailbox, 64);
        (void)weir_timers_run_due(&rig->timers, weir_clock_mono_ns(rig->clock));
        weir_mutex_lock(&jm->mutex);
        bool done = *count >= least;
        weir_mutex_unlock(&jm->mutex);
        if (done) {
            return;
        }
        ck_assert_msg(weir_clock_mono_ms(clock) < end_ms, "not within %d ms: %s", DEADLINE_MS, what);
        weir_test_await_mail(rig->waker, rig->mailbox, 5);
    }
}

static void run_until_registered(struct rig *rig, uint32_t jm, uint32_t times)
{
    run_until(rig, &rig->jms[jm], &rig->jms[jm].registrations, times, "it registers");
}

static uint32_t read_count(struct jm *jm, const uint32_t *count)
{
    weir_mutex_lock(&jm->mutex);
    uint32_t value = *count;
    weir_mutex_unlock(&jm->mutex);
    return value;
}

START_TEST(follows_the_leader)
{
    struct rig *rig = rig_create(JMS);
    jm_set(&rig->jms[1], true, 4, false);
    run_until_registered(rig, 1, 1);
    run_until(rig, &rig->jms[1], &rig->jms[1].heartbeats, 3, "heartbeats");
    ck_assert_uint_eq(read_count(&rig->jms[0], &rig->jms[0].registrations), 0);

    jm_set(&rig->jms[2], true, 5, false); /* killed: the connection closes */
    jm_kill(&rig->jms[1]);
    run_until_registered(rig, 2, 1);

    jm_set(&rig->jms[2], false, 6, false); /* deposed: it refuses the next heartbeat */
    jm_set(&rig->jms[0], true, 6, false);
    run_until_registered(rig, 0, 1);
    run_until(rig, &rig->jms[0], &rig->jms[0].heartbeats, 3, "heartbeats");
    rig_destroy(rig);
}
END_TEST

/* For longer than heartbeat.timeout. */
START_TEST(a_leader_that_answers_is_kept)
{
    struct rig *rig = rig_create_under(1, true);
    jm_set(&rig->jms[0], true, 4, false);
    for (uint32_t answer = 1; answer <= 2 * HEARTBEAT_TIMEOUT_MS / HEARTBEAT_MS; answer++) {
        run_until(rig, &rig->jms[0], &rig->heard, answer, "an answer");
        weir_clock_virtual_advance(&rig->own_clock, (int64_t)HEARTBEAT_MS * 1000000);
    }
    ck_assert_uint_eq(read_count(&rig->jms[0], &rig->jms[0].registrations), 1);
    rig_destroy(rig);
}
END_TEST

START_TEST(a_zombie_is_left_and_refused)
{
    struct rig *rig = rig_create(2);
    jm_set(&rig->jms[0], true, 5, false);
    run_until_registered(rig, 0, 1);
    ck_assert(weir_tm_link_accept_order(rig->link, 5, 7));

    jm_set(&rig->jms[0], true, 5, true); /* stopped, with its connection open */
    jm_set(&rig->jms[1], true, 6, false);
    run_until_registered(rig, 1, 1);
    run_until(rig, &rig->jms[1], &rig->jms[1].heartbeats, 1, "a heartbeat");
    ck_assert(!weir_tm_link_accept_order(rig->link, 5, 8)); /* an order of the zombie */
    ck_assert(weir_tm_link_accept_order(rig->link, 6, 1));
    ck_assert(!weir_tm_link_accept_order(rig->link, 6, 1)); /* it came twice */
    ck_assert(weir_tm_link_accept_order(rig->link, 6, 3));
    ck_assert(!weir_tm_link_accept_order(rig->link, 6, 2)); /* it was late */

    jm_set(&rig->jms[0], true, 5, false); /* goes on, and believes that it leads */
    uint32_t asked = read_count(&rig->jms[0], &rig->jms[0].asked);
    jm_set(&rig->jms[1], false, 6, false);
    run_until(rig, &rig->jms[0], &rig->jms[0].asked, asked + 3, "the zombie is asked");
    jm_set(&rig->jms[1], true, 7, false);
    run_until_registered(rig, 1, 2);
    ck_assert_uint_eq(read_count(&rig->jms[0], &rig->jms[0].registrations), 1);
    rig_destroy(rig);
}
END_TEST

START_TEST(one_that_is_named_is_found)
{
    struct rig *rig = rig_create(1);
    (void)snprintf(rig->jms[0].names, sizeof(rig->jms[0].names), "%s", rig->jms[2].address);
    jm_set(&rig->jms[2], true, 2, false);
    run_until_registered(rig, 2, 1);
    rig_destroy(rig);
}
END_TEST

static void report_snapshot(struct rig *rig, uint64_t checkpoint)
{
    struct weir_task_counts counts = {0};
    struct weir_tm_status status = {.job_id = "0123456789abcdef0123456789abcdef", .attempt = 1, .counts = &counts};
    struct weir_task_snapshot snapshot = {.checkpoint = checkpoint, .taken = true, .handle = {.path = "/tmp/x", .bytes = 3}};
    weir_tm_link_snapshot(rig->link, &status, &snapshot);
}

/* Of checkpoint 7, to the first JobManager, which leads in epoch 5 and does not answer it. */
static void report_unanswered(struct rig *rig)
{
    struct jm *first = &rig->jms[0];
    first->mute_reports = true;
    jm_set(first, true, 5, false);
    run_until_registered(rig, 0, 1);
    run_until(rig, first, &first->heartbeats, 1, "it knows that it is registered");
    report_snapshot(rig, 7);
    run_until(rig, first, &first->reports, 1, "the report");
}

START_TEST(reports_are_repeated_to_the_new_leader)
{
    struct rig *rig = rig_create(2);
    struct jm *first = &rig->jms[0], *second = &rig->jms[1];
    report_unanswered(rig);
    ck_assert_uint_eq(first->report_epoch, 5);
    ck_assert_uint_eq(first->report_checkpoint, 7);
    ck_assert_str_eq(first->report_tm, "tm");

    second->report_rc = WEIR_STALE; /* the new leader has aborted what was under way */
    jm_set(second, true, 6, false);
    jm_kill(first);
    run_until(rig, second, &second->reports, 1, "the report again");
    ck_assert_uint_eq(second->report_epoch, 6);
    ck_assert_uint_eq(second->report_checkpoint, 7);
    uint32_t beats = read_count(second, &second->heartbeats);
    run_until(rig, second, &second->heartbeats, beats + 5, "heartbeats");
    ck_assert_uint_eq(read_count(second, &second->reports), 1); /* its word is final */

    /* a leader that was deposed has no word */
    weir_mutex_lock(&second->mutex);
    second->report_rc = WEIR_REFUSED;
    weir_mutex_unlock(&second->mutex);
    report_snapshot(rig, 8);
    run_until(rig, second, &second->reports, 3, "the report again and again");
    rig_destroy(rig);
}
END_TEST

/* It was lost before it answered: its word is only that its epoch is over, whoever comes next judges. */
START_TEST(a_leader_of_before_does_not_judge_reports)
{
    struct rig *rig = rig_create(2);
    struct jm *first = &rig->jms[0], *second = &rig->jms[1];
    report_unanswered(rig);
    uint32_t asked = read_count(first, &first->asked);
    jm_set(first, false, 5, false);
    run_until(rig, first, &first->asked, asked + 2, "it looks for a leader");
    weir_mutex_lock(&first->mutex);
    refuse(first->held[--first->nheld], WEIR_STALE);
    weir_mutex_unlock(&first->mutex);
    asked = read_count(first, &first->asked);
    run_until(rig, first, &first->asked, asked + 3, "it goes on looking, and has the answer");
    jm_set(second, true, 6, false);
    run_until(rig, second, &second->reports, 1, "the report again");
    ck_assert_uint_eq(second->report_checkpoint, 7);
    rig_destroy(rig);
}
END_TEST

static void on_heard_once(void *ctx, int64_t sent_boot_ns)
{
    uint32_t *heard = ctx;
    (void)sent_boot_ns;
    (*heard)++;
}

/* What a leader was told with the registration it knows: the tasks of an attempt that is over are forgotten without a heartbeat. */
START_TEST(a_registration_is_heard_like_a_heartbeat)
{
    struct kit kit;
    struct jm jm = {.leading = true, .epoch = 3};
    struct weir_error err;
    char jobmanagers[128];
    uint32_t heard = 0;
    kit_init(&kit);
    kit_deploy_and_run(&kit, 1, TASKS);
    weir_tm_attempts_cancel(kit.attempts, kit_job_id, NULL, 0, 1);
    kit_run_until(&kit, &kit.count[1][WEIR__CONTROL__TASK_STATE__TASK_CANCELED], TASKS);
    kit_deploy_and_run(&kit, 2, TASKS);
    ck_assert_uint_eq(weir_tm_attempts_tasks(kit.attempts), 2 * TASKS);

    jm_start(&jm);
    struct weir_config *config = weir_config_create();
    (void)snprintf(jobmanagers, sizeof(jobmanagers), "cluster.jobmanagers=%s", jm.address);
    ck_assert_int_eq(weir_config_set_pair(config, jobmanagers, &err), WEIR_OK);
    const struct weir_tm_link_options options = {.config = config,
                                                 .log = kit.log,
                                                 .clock = weir_clock_real(),
                                                 .tm_id = "tm",
                                                 .rpc_address = "tcp://127.0.0.1:1",
                                                 .data_address = "127.0.0.1:2",
                                                 .mailbox = kit.mailbox,
                                                 .timers = &kit.timers,
                                                 .attempts = kit.attempts,
                                                 .mem = kit.mem,
                                                 .on_expelled = on_expelled,
                                                 .on_heard = on_heard_once,
                                                 .ctx = &heard};
    struct weir_tm_link *link = NULL;
    ck_assert_msg(weir_tm_link_create(&options, &link, &err) == WEIR_OK, "%s", err.text);
    int64_t end_ms = weir_clock_mono_ms(weir_clock_real()) + DEADLINE_MS;
    while (heard == 0) {
        ck_assert_int_lt(weir_clock_mono_ms(weir_clock_real()), end_ms);
        weir_test_await_mail(kit.waker, kit.mailbox, 5);
        (void)weir_mailbox_run(kit.mailbox, 1);
        (void)weir_timers_run_due(&kit.timers, weir_clock_mono_ns(weir_clock_real()));
    }
    ck_assert_uint_eq(heard, 1);
    ck_assert_uint_eq(read_count(&jm, &jm.heartbeats), 0);
    ck_assert_uint_eq(weir_tm_attempts_tasks(kit.attempts), TASKS); /* those that live */
    weir_tm_attempts_cancel_all(kit.attempts);
    kit_run_until(&kit, &kit.count[2][WEIR__CONTROL__TASK_STATE__TASK_CANCELED], TASKS);
    weir_tm_link_destroy(link); /* closes the mailbox */
    jm_kill(&jm);
    weir_mutex_fini(&jm.mutex);
    weir_config_destroy(config);
    kit_fini(&kit);
}
END_TEST

START_TEST(expelled_it_comes_back_under_a_new_name)
{
    struct rig *rig = rig_create(1);
    rig->jms[0].expel = true;
    jm_set(&rig->jms[0], true, 1, false);
    run_until_registered(rig, 0, 1);
    ck_assert_uint_eq(rig->expelled, 1);
    weir_mutex_lock(&rig->jms[0].mutex);
    ck_assert_str_eq(rig->jms[0].tm_id, "tm.1");
    weir_mutex_unlock(&rig->jms[0].mutex);
    rig_destroy(rig);
}
END_TEST

/* More JobManagers are named than are kept: those that were tried make room, with connections and calls that were under way. */
START_TEST(jobmanagers_come_and_go)
{
    struct rig *rig = rig_create(1);
    for (uint32_t i = 0; i < 3 * 16; i++) {
        weir_mutex_lock(&rig->jms[0].mutex);
        uint32_t asked = rig->jms[0].asked;
        /* Some that are there, and are asked themselves, among many that are not. */
        (void)snprintf(rig->jms[0].names, sizeof(rig->jms[0].names), "127.0.0.%u:%u", i % 8 < 2 ? 1 : 2, i % 8 < 2 ? weir_rpc_server_port(rig->jms[1 + i % 8].server) : i + 1);
        weir_mutex_unlock(&rig->jms[0].mutex);
        run_until(rig, &rig->jms[0], &rig->jms[0].asked, asked + 2, "it asks");
    }
    jm_set(&rig->jms[0], true, 1, false);
    run_until(rig, &rig->jms[0], &rig->jms[0].heartbeats, 3, "heartbeats");
    rig_destroy(rig);
}
END_TEST

START_TEST(bad_addresses_are_refused)
{
    struct weir_config *config = weir_config_create();
    struct weir_error err;
    struct weir_tm_link *link;
    ck_assert_int_eq(weir_config_set_pair(config, "cluster.jobmanagers=a:1,b", &err), WEIR_OK);
    struct weir_timers timers;
    weir_timers_init(&timers);
    struct weir_waker *waker;
    ck_assert_int_eq(weir_waker_create(&waker, &err), WEIR_OK);
    struct weir_tm_link_options options = {.config = config, .clock = weir_clock_real(), .tm_id = "tm", .timers = &timers};
    options.mailbox = weir_mailbox_create(16, waker);
    ck_assert_int_eq(weir_tm_link_create(&options, &link, &err), WEIR_INVALID);
    ck_assert_msg(strstr(err.text, "`b`") != NULL, "%s", err.text);
    weir_mailbox_destroy(options.mailbox);
    weir_waker_destroy(waker);
    weir_timers_fini(&timers);
    weir_config_destroy(config);
}
END_TEST

Suite *tm_link_suite(void);
Suite *tm_link_suite(void)
{
    Suite *suite = suite_create("tm_link");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, follows_the_leader);
    tcase_add_test(tc, a_leader_that_answers_is_kept);
    tcase_add_test(tc, a_zombie_is_left_and_refused);
    tcase_add_test(tc, one_that_is_named_is_found);
    tcase_add_test(tc, reports_are_repeated_to_the_new_leader);
    tcase_add_test(tc, a_leader_of_before_does_not_judge_reports);
    tcase_add_test(tc, a_registration_is_heard_like_a_heartbeat);
    tcase_add_test(tc, expelled_it_comes_back_under_a_new_name);
    tcase_add_test(tc, jobmanagers_come_and_go);
    tcase_add_test(tc, bad_addresses_are_refused);
    suite_add_tcase(suite, tc);
    return suite;
}
