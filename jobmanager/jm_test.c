/*
 * A whole JobManager (real ports, real files, real threads) against a TaskManager that is played by the test over RPC.
 */
#include "jobmanager/jm.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/fs/fs_local.h"
#include "common/runtime/sync.h"
#include "jobmanager/jm_internal.h"
#include "jobmanager/jm_test_kit.h"
#include "proto/control.pb-c.h"
#include "proto/methods.h"
#include "proto/pb.h"

enum { WAIT_MS = 90000 };

/* --- the JobManager in a thread ----------------------------------------------------------------------------------------- */
struct fixture {
    struct weir_mutex mutex; /* guards all below but dir, config, fs */
    struct weir_cond cond;
    struct weir_jm *jm;
    enum weir_rc created;
    struct weir_error err;
    bool started, asked, answer;
    enum weir_job_state state;
    uint32_t tms;
    bool called;
    enum weir_rc call_rc;
    struct weir_buf call_body;
    uint32_t enumerations, deployments, cancels;
    uint32_t splits_seen;
    struct weir_thread *thread;
    int stop_fd;
    char dir[64];
    struct weir_config *config;
    struct weir_fs *fs;
};

static void jm_thread(void *ctx)
{
    struct fixture *f = ctx;
    struct weir_jm *jm = NULL;
    struct weir_error err = {.rc = WEIR_OK};
    const struct weir_jm_options options = {.config = f->config, .clock = weir_clock_real(), .fs = f->fs, .decode = jm_test_decode};
    enum weir_rc rc = weir_jm_create(&options, &jm, &err);
    weir_mutex_lock(&f->mutex);
    f->jm = jm;
    f->created = rc;
    f->err = err;
    f->started = true;
    weir_cond_broadcast(&f->cond);
    weir_mutex_unlock(&f->mutex);
    if (rc == WEIR_OK) {
        ck_assert_int_eq(weir_jm_run(jm, f->stop_fd, &err), WEIR_OK);
        weir_jm_destroy(jm);
    }
}

static void wait_for(struct fixture *f, const bool *condition)
{
    int64_t deadline_ns = weir_clock_mono_ns(weir_clock_real()) + WAIT_MS * INT64_C(1000000);
    while (!*condition) {
        ck_assert(weir_cond_wait_until(&f->cond, &f->mutex, deadline_ns));
    }
}

static void jm_start(struct fixture *f)
{
    struct weir_error err;
    f->started = false;
    f->stop_fd = eventfd(0, EFD_CLOEXEC);
    ck_assert_int_eq(weir_thread_start("jm", jm_thread, f, &f->thread, &err), WEIR_OK);
    weir_mutex_lock(&f->mutex);
    wait_for(f, &f->started);
    weir_mutex_unlock(&f->mutex);
}

static void jm_stop(struct fixture *f)
{
    uint64_t one = 1;
    ck_assert_int_eq(write(f->stop_fd, &one, sizeof(one)), sizeof(one));
    weir_thread_join(f->thread);
    (void)close(f->stop_fd);
}

static void fixture_init(struct fixture *f)
{
    *f = (struct fixture){.dir = "/tmp/weir-jm-XXXXXX"};
    weir_mutex_init(&f->mutex);
    weir_cond_init(&f->cond);
    ck_assert_ptr_nonnull(mkdtemp(f->dir));
    f->fs = weir_fs_local_create();
    f->config = weir_config_create();
    char dir[128];
    struct weir_error err;
    (void)snprintf(dir, sizeof(dir), "jobmanager.data.dir=%s/data", f->dir);
    ck_assert_int_eq(weir_config_set_pair(f->config, dir, &err), WEIR_OK);
    ck_assert_int_eq(weir_config_set_pair(f->config, "jobmanager.rpc.port=0", &err), WEIR_OK);
}

static void fixture_fini(struct fixture *f)
{
    char command[128];
    weir_buf_fini(&f->call_body);
    weir_config_destroy(f->config);
    weir_fs_local_destroy(f->fs);
    weir_cond_fini(&f->cond);
    weir_mutex_fini(&f->mutex);
    (void)snprintf(command, sizeof(command), "rm -rf %s", f->dir);
    ck_assert_int_eq(system(command), 0);
}

/* --- questions, on the mailbox thread ----------------------------------------------------------------------------------- */
static void look(void *payload)
{
    struct fixture *f = payload;
    struct weir_job *job = weir_dispatcher_job(f->jm->dispatcher, weir_slice_str(jm_test_job_id));
    weir_mutex_lock(&f->mutex);
    f->state = job == NULL ? WEIR_JOB_STATE_COUNT_ : weir_job_state(job);
    f->tms = weir_tm_registry_count(weir_dispatcher_tms(f->jm->dispatcher));
    f->answer = true;
    weir_cond_broadcast(&f->cond);
    weir_mutex_unlock(&f->mutex);
}

static void ask(struct fixture *f, void (*run)(void *))
{
    weir_mutex_lock(&f->mutex);
    f->answer = false;
    ck_assert_int_eq(weir_mailbox_post(f->jm->mailbox, WEIR_MAIL_CONTROL, (struct weir_mail){.run = run, .payload = f}), WEIR_OK);
    wait_for(f, &f->answer);
    weir_mutex_unlock(&f->mutex);
}

static void wait_until_state(struct fixture *f, enum weir_job_state state)
{
    int64_t deadline_ms = weir_clock_mono_ms(weir_clock_real()) + WAIT_MS;
    for (ask(f, look); f->state != state; ask(f, look)) {
        ck_assert_msg(weir_clock_mono_ms(weir_clock_real()) < deadline_ms, "state %s", weir_job_state_name(f->state));
    }
}

static void on_submitted(void *ctx, enum weir_rc rc, const struct weir_error *err)
{
    struct fixture *f = ctx;
    ck_assert_msg(rc == WEIR_OK, "%s", err->text);
    weir_mutex_lock(&f->mutex);
    f->answer = true;
    weir_cond_broadcast(&f->cond);
    weir_mutex_unlock(&f->mutex);
}

static void submit(void *payload)
{
    struct fixture *f = payload;
    const uint64_t hash[2] = {1, 2};
    weir_dispatcher_submit(f->jm->dispatcher, weir_slice_str(jm_test_job_id), "test", hash, weir_slice_str("graph"), weir__jm_now(f->jm), on_submitted, f);
}

static void cancel(void *payload)
{
    struct fixture *f = payload;
    weir_dispatcher_cancel(f->jm->dispatcher, weir_slice_str(jm_test_job_id), false, weir__jm_now(f->jm), on_submitted, f);
}

/* --- the TaskManager ---------------------------------------------------------------------------------------------------- */
struct fake {
    struct fixture *f;
    struct weir_rpc_server *server;
    struct weir_rpc_client *client;
    char address[64];
};

static void on_request(void *ctx, struct weir_rpc_request *request)
{
    struct fake *tm = ctx;
    struct weir_buf body = {0};
    struct weir_error err;
    weir_mutex_lock(&tm->f->mutex);
    if (weir_rpc_request_method(request) == WEIR_METHOD_ENUMERATE) {
        Weir__Control__EnumerateReply reply;
        Weir__Control__Split splits[3];
        Weir__Control__Split *pointers[3];
        char ids[3][2] = {"a", "b", "c"};
        weir__control__enumerate_reply__init(&reply);
        for (int i = 0; i < 3; i++) {
            weir__control__split__init(&splits[i]);
            splits[i].id = ids[i];
            pointers[i] = &splits[i];
        }
        reply.n_splits = 3;
        reply.splits = pointers;
        weir_pb_encode(&reply.base, &body);
        tm->f->enumerations++;
    } else if (weir_rpc_request_method(request) == WEIR_METHOD_DEPLOY) {
        Weir__Control__DeployRequest *order = NULL;
        ck_assert_int_eq(weir_pb_decode(&weir__control__deploy_request__descriptor, weir_rpc_request_body(request), &order, &err), WEIR_OK);
        ck_assert_uint_eq(order->n_tasks, 2);
        ck_assert_uint_eq(order->n_locations, 2);
        ck_assert_str_eq(order->locations[1]->data_address, "127.0.0.1:9");
        for (size_t i = 0; i < order->n_tasks; i++) {
            tm->f->splits_seen += (uint32_t)order->tasks[i]->n_splits << (8 * order->tasks[i]->subtask);
        }
        weir_pb_free(order);
        tm->f->deployments++;
    } else {
        ck_assert_uint_eq(weir_rpc_request_method(request), WEIR_METHOD_CANCEL);
        tm->f->cancels++;
    }
    weir_cond_broadcast(&tm->f->cond);
    weir_mutex_unlock(&tm->f->mutex);
    weir_rpc_reply(request, WEIR_OK, weir_buf_slice(&body));
    weir_buf_fini(&body);
}

static void tm_start(struct fake *tm, struct fixture *f)
{
    struct weir_error err;
    *tm = (struct fake){.f = f};
    const struct weir_rpc_server_options server = {
        .address = "tcp://127.0.0.1:0", .cluster_id = "weir", .role = WEIR_ROLE_TASKMANAGER, .name = "tm", .protocol_version = WEIR_PROTOCOL_VERSION};
    const struct weir_rpc_server_callbacks callbacks = {.on_request = on_request};
    ck_assert_int_eq(weir_rpc_server_create(&server, &callbacks, tm, &tm->server, &err), WEIR_OK);
    (void)snprintf(tm->address, sizeof(tm->address), "tcp://127.0.0.1:%u", weir_rpc_server_port(tm->server));
}

static void tm_connect(struct fake *tm)
{
    char address[64];
    struct weir_error err;
    (void)snprintf(address, sizeof(address), "tcp://127.0.0.1:%u", weir_jm_rpc_port(tm->f->jm));
    const struct weir_rpc_client_options client = {.address = address,
                                                   .cluster_id = "weir",
                                                   .role = WEIR_ROLE_TASKMANAGER,
                                                   .name = "tm",
                                                   .server_role = WEIR_ROLE_JOBMANAGER,
                                                   .protocol_version = WEIR_PROTOCOL_VERSION};
    const struct weir_rpc_client_callbacks none = {0};
    ck_assert_int_eq(weir_rpc_client_create(&client, &none, NULL, &tm->client, &err), WEIR_OK);
}

static void on_called(void *ctx, enum weir_rc rc, struct weir_slice body, const char *text)
{
    struct fixture *f = ctx;
    (void)text;
    weir_mutex_lock(&f->mutex);
    f->call_rc = rc;
    weir_buf_clear(&f->call_body);
    weir_buf_put_slice(&f->call_body, body);
    f->called = true;
    weir_cond_broadcast(&f->cond);
    weir_mutex_unlock(&f->mutex);
}

static enum weir_rc tm_call(struct fake *tm, uint16_t method, struct weir_slice body)
{
    struct fixture *f = tm->f;
    struct weir_error err;
    weir_mutex_lock(&f->mutex);
    f->called = false;
    weir_mutex_unlock(&f->mutex);
    ck_assert_int_eq(weir_rpc_call(tm->client, method, body, WAIT_MS, on_called, f, &err), WEIR_OK);
    weir_mutex_lock(&f->mutex);
    wait_for(f, &f->called);
    weir_mutex_unlock(&f->mutex);
    return f->call_rc;
}

/* Registers with two tasks in `state`, or none when it is CREATED; returns the leader's epoch. */
static uint64_t tm_register(struct fake *tm, Weir__Control__TaskState state)
{
    struct jm_test_register message;
    jm_test_register_init(&message, tm->address, state == WEIR__CONTROL__TASK_STATE__TASK_CREATED, state);
    struct weir_buf body = {0};
    struct weir_error err;
    weir_pb_encode(&message.request.base, &body);
    ck_assert_int_eq(tm_call(tm, WEIR_METHOD_REGISTER, weir_buf_slice(&body)), WEIR_OK);
    weir_buf_fini(&body);
    Weir__Control__RegisterReply *reply = NULL;
    ck_assert_int_eq(weir_pb_decode(&weir__control__register_reply__descriptor, weir_buf_slice(&tm->f->call_body), &reply, &err), WEIR_OK);
    uint64_t epoch = reply->leader_epoch;
    weir_pb_free(reply);
    return epoch;
}

/* Of subtask 0 of attempt 1; path NULL: without a state. */
static enum weir_rc tm_ack(struct fake *tm, uint64_t epoch, char *path)
{
    Weir__Control__CheckpointAckRequest request;
    Weir__Control__TaskRef task;
    Weir__Control__StateHandle state;
    weir__control__checkpoint_ack_request__init(&request);
    weir__control__task_ref__init(&task);
    weir__control__state_handle__init(&state);
    task.job_id = jm_test_job_id;
    task.attempt = 1;
    state.path = path;
    request.tm_id = jm_test_tm_id;
    request.leader_epoch = epoch;
    request.task = &task;
    request.checkpoint_id = 1;
    request.state = path == NULL ? NULL : &state;
    struct weir_buf body = {0};
    weir_pb_encode(&request.base, &body);
    enum weir_rc rc = tm_call(tm, WEIR_METHOD_CHECKPOINT_ACK, weir_buf_slice(&body));
    weir_buf_fini(&body);
    return rc;
}

/* Whether the JobManager says that the attempt is the present one; UNKNOWN when it says nothing of it. */
static enum weir_rc tm_ask_lease(struct fake *tm, uint64_t epoch, uint32_t attempt)
{
    Weir__Control__LeaseRequest request;
    jm_test_lease_init(&request, epoch, attempt);
    struct weir_buf body = {0};
    weir_pb_encode(&request.base, &body);
    enum weir_rc called = tm_call(tm, WEIR_METHOD_LEASE, weir_buf_slice(&body));
    weir_buf_fini(&body);
    return jm_test_lease_answer(called, weir_buf_slice(&tm->f->call_body));
}

static void wait_for_count(struct fixture *f, const uint32_t *count, uint32_t value)
{
    int64_t deadline_ns = weir_clock_mono_ns(weir_clock_real()) + WAIT_MS * INT64_C(1000000);
    weir_mutex_lock(&f->mutex);
    while (*count < value) {
        ck_assert(weir_cond_wait_until(&f->cond, &f->mutex, deadline_ns));
    }
    weir_mutex_unlock(&f->mutex);
}

START_TEST(a_job_survives_the_job_manager)
{
    struct fixture f;
    struct fake tm;
    fixture_init(&f);
    jm_start(&f);
    ck_assert_msg(f.created == WEIR_OK, "%s", f.err.text);
    tm_start(&tm, &f);
    tm_connect(&tm);
    ck_assert_int_ne(tm_call(&tm, WEIR_METHOD_HEARTBEAT, weir_slice("\x0a\x02tm", 4)), WEIR_OK); /* not registered */
    ck_assert_int_ne(tm_call(&tm, WEIR_METHOD_TASK_STATE, weir_slice("\xff\xff\xff", 3)), WEIR_OK);
    ck_assert_int_ne(tm_call(&tm, WEIR_METHOD_DEPLOY, weir_slice("", 0)), WEIR_OK);
    uint64_t epoch = tm_register(&tm, WEIR__CONTROL__TASK_STATE__TASK_CREATED);
    ask(&f, submit);
    wait_for_count(&f, &f.deployments, 1);
    ck_assert_uint_eq(f.enumerations, 1);
    ck_assert_uint_eq(f.splits_seen, 0x0102); /* split i to subtask i % 2 */
    wait_until_state(&f, WEIR_JOB_RUNNING);
    ck_assert_int_eq(tm_ask_lease(&tm, epoch, 1), WEIR_OK);
    ck_assert_int_eq(tm_ask_lease(&tm, epoch, 2), WEIR_STALE);
    ck_assert_int_eq(tm_call(&tm, WEIR_METHOD_LEASE, weir_slice("\xff\xff\xff", 3)), WEIR_CORRUPT);
    char inside[128], outside[] = "/etc/passwd";
    (void)snprintf(inside, sizeof(inside), "%s/%s/chk-1/0-0-1", weir_config_string(f.config, WEIR_CFG_CHECKPOINTS_DIR), jm_test_job_id);
    ck_assert_int_eq(tm_ack(&tm, epoch, inside), WEIR_STALE); /* the job takes no checkpoints */
    ck_assert_int_eq(tm_ack(&tm, epoch, outside), WEIR_INVALID);
    ck_assert_int_eq(tm_ack(&tm, epoch, NULL), WEIR_INVALID);
    /* another JobManager may not have the directory */
    struct weir_jm *other = NULL;
    struct weir_error err;
    const struct weir_jm_options options = {.config = f.config, .clock = weir_clock_real(), .fs = f.fs, .decode = jm_test_decode};
    ck_assert_int_eq(weir_jm_create(&options, &other, &err), WEIR_EXISTS);
    /* the JobManager goes; the next one adopts the tasks */
    weir_rpc_client_destroy(tm.client);
    jm_stop(&f);
    jm_start(&f);
    ck_assert_msg(f.created == WEIR_OK, "%s", f.err.text);
    tm_connect(&tm);
    uint64_t next_epoch = tm_register(&tm, WEIR__CONTROL__TASK_STATE__TASK_RUNNING);
    ck_assert_uint_gt(next_epoch, epoch);
    wait_until_state(&f, WEIR_JOB_RUNNING);
    ck_assert_int_eq(tm_ask_lease(&tm, epoch, 1), WEIR_UNKNOWN); /* an old epoch */
    ck_assert_int_eq(tm_ask_lease(&tm, next_epoch, 1), WEIR_OK);
    ck_assert_uint_eq(f.deployments, 1);
    (void)tm_register(&tm, WEIR__CONTROL__TASK_STATE__TASK_FINISHED);
    wait_until_state(&f, WEIR_JOB_FINISHED);
    ck_assert_int_eq(tm_ask_lease(&tm, next_epoch, 1), WEIR_STALE);
    wait_for_count(&f, &f.cancels, 1); /* told to forget */
    weir_rpc_client_destroy(tm.client);
    weir_rpc_server_destroy(tm.server);
    jm_stop(&f);
    fixture_fini(&f);
}
END_TEST

START_TEST(a_closed_connection_is_noticed_at_once)
{
    struct fixture f;
    struct fake tm;
    struct weir_error err;
    fixture_init(&f);
    ck_assert_int_eq(weir_config_set_pair(f.config, "heartbeat.timeout=1 h", &err), WEIR_OK); /* not by silence */
    ck_assert_int_eq(weir_config_set_pair(f.config, "cluster.fencing.timeout=0", &err), WEIR_OK);
    jm_start(&f);
    tm_start(&tm, &f);
    tm_connect(&tm);
    (void)tm_register(&tm, WEIR__CONTROL__TASK_STATE__TASK_CREATED);
    ask(&f, submit);
    wait_for_count(&f, &f.deployments, 1);
    ask(&f, look);
    ck_assert_uint_eq(f.tms, 1);
    weir_rpc_client_destroy(tm.client);
    weir_rpc_server_destroy(tm.server);
    wait_until_state(&f, WEIR_JOB_FAILED);
    ck_assert_uint_eq(f.tms, 0);
    jm_stop(&f);
    fixture_fini(&f);
}
END_TEST

/* The test's own thread is the JobManager's main thread, and goes round once, after so long. */
static void go_round(struct weir_jm *jm, struct weir_clock_virtual *clock, int64_t after_ms)
{
    weir_clock_virtual_advance(clock, after_ms * 1000000);
    weir__jm_work(jm);
    weir__jm_sleep(jm, NULL, weir_clock_mono_ms(&clock->clock));
}

/* It was stopped, or starved: who could not make itself heard meanwhile is not given up, and has time to. */
START_TEST(the_time_this_process_was_away_is_not_held_against_others)
{
    enum { TIMEOUT_MS = 50000, STEP_MS = 10 };
    struct fixture f;
    struct weir_error err;
    struct weir_jm *jm = NULL;
    struct weir_clock_virtual clock;
    bool added = false;
    fixture_init(&f);
    weir_clock_virtual_init(&clock, 1000000000, 0);
    ck_assert_int_eq(weir_config_set_pair(f.config, "heartbeat.timeout=50 s", &err), WEIR_OK);
    const struct weir_jm_options options = {.config = f.config, .clock = &clock.clock, .fs = f.fs, .decode = jm_test_decode};
    ck_assert_msg(weir_jm_create(&options, &jm, &err) == WEIR_OK, "%s", err.text);
    int64_t deadline_ms = weir_clock_mono_ms(weir_clock_real()) + WAIT_MS;
    while (!weir_dispatcher_leading(jm->dispatcher)) {
        go_round(jm, &clock, STEP_MS);
        ck_assert_int_lt(weir_clock_mono_ms(weir_clock_real()), deadline_ms);
    }
    const struct weir_tm_registry *tms = weir_dispatcher_tms(jm->dispatcher);
    const struct weir_tm_info info = {.id = "tm-1", .rpc_address = "tcp://127.0.0.1:9", .data_address = "127.0.0.1:9", .version = "0", .slots = 1};
    ck_assert_int_eq(weir_dispatcher_register(jm->dispatcher, &info, NULL, 0, weir__jm_now(jm), &added, &err), WEIR_OK);
    go_round(jm, &clock, STEP_MS);
    for (int i = 0; i < 3; i++) {
        go_round(jm, &clock, TIMEOUT_MS + 1);
        ck_assert_uint_eq(weir_tm_registry_count(tms), 1);
        for (int64_t left_ms = TIMEOUT_MS / 2 - STEP_MS; left_ms > 0; left_ms -= STEP_MS) { /* it has half of it again */
            go_round(jm, &clock, STEP_MS);
        }
        ck_assert_int_eq(weir_dispatcher_heartbeat(jm->dispatcher, info.id, weir_dispatcher_epoch(jm->dispatcher), 0, NULL, 0, weir__jm_now(jm), &err), WEIR_OK);
    }
    for (int64_t ms = 0; ms <= TIMEOUT_MS && weir_tm_registry_count(tms) > 0; ms += STEP_MS) { /* this process is there, and it is silent */
        go_round(jm, &clock, STEP_MS);
    }
    ck_assert_uint_eq(weir_tm_registry_count(tms), 0);
    weir_jm_destroy(jm);
    fixture_fini(&f);
}
END_TEST

START_TEST(cancel_ends_a_waiting_job)
{
    struct fixture f;
    fixture_init(&f);
    jm_start(&f);
    ask(&f, submit);
    ask(&f, cancel);
    wait_until_state(&f, WEIR_JOB_CANCELED);
    jm_stop(&f);
    fixture_fini(&f);
}
END_TEST

START_TEST(start_up_refuses_what_cannot_work)
{
    struct fixture f;
    struct weir_error err;
    fixture_init(&f);
    ck_assert_int_eq(weir_config_set_pair(f.config, "jobmanager.rpc.address=0.0.0.0", &err), WEIR_OK);
    struct weir_jm *jm = NULL;
    const struct weir_jm_options options = {.config = f.config, .clock = weir_clock_real(), .fs = f.fs, .decode = jm_test_decode};
    ck_assert_int_eq(weir_jm_create(&options, &jm, &err), WEIR_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "--insecure"));
    ck_assert_int_eq(weir_config_set_pair(f.config, "jobmanager.rpc.address=127.0.0.1", &err), WEIR_OK);
    ck_assert_int_eq(weir_config_set_pair(f.config, "jobmanager.scheduler=reactive", &err), WEIR_OK);
    ck_assert_int_eq(weir_jm_create(&options, &jm, &err), WEIR_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "\"reactive\" is none"));
    ck_assert_int_eq(weir_config_set_pair(f.config, "jobmanager.scheduler=default", &err), WEIR_OK);
    ck_assert_int_eq(weir_config_set_pair(f.config, "jobmanager.raft.heartbeat-interval=400 ms", &err), WEIR_OK);
    ck_assert_int_eq(weir_jm_create(&options, &jm, &err), WEIR_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "jobmanager.raft.election-timeout"));
    ck_assert_int_eq(weir_config_set_pair(f.config, "jobmanager.raft.heartbeat-interval=40 ms", &err), WEIR_OK);
    ck_assert_int_eq(weir_config_set_pair(f.config, "jobmanager.data.dir=/proc/weir", &err), WEIR_OK);
    ck_assert_int_ne(weir_jm_create(&options, &jm, &err), WEIR_OK);
    ck_assert_ptr_nonnull(strstr(err.text, "jobmanager.data.dir"));
    fixture_fini(&f);
}
END_TEST

/* Adds 1 to the last byte of text of a file beside the log, ahead of its line end and its checksum. */
static void spoil(const struct fixture *f, const char *path)
{
    struct weir_error err;
    struct weir_buf bytes = {0};
    ck_assert_int_eq(weir_fs_read_all(f->fs, path, 1 << 16, &bytes, &err), WEIR_OK);
    bytes.data[bytes.len - 18]++;
    ck_assert_int_eq(weir_fs_write_atomic(f->fs, path, weir_buf_slice(&bytes), &err), WEIR_OK);
    weir_buf_fini(&bytes);
}

START_TEST(a_damaged_note_beside_the_log_is_refused)
{
    struct fixture f;
    struct weir_error err;
    char path[128];
    fixture_init(&f);
    jm_start(&f);
    jm_stop(&f);
    struct weir_jm *jm = NULL;
    const struct weir_jm_options options = {.config = f.config, .clock = weir_clock_real(), .fs = f.fs, .decode = jm_test_decode};
    (void)snprintf(path, sizeof(path), "%s/data/member", f.dir);
    spoil(&f, path);
    ck_assert_int_eq(weir_jm_create(&options, &jm, &err), WEIR_CORRUPT);
    ck_assert_msg(strstr(err.text, path) != NULL, "%s", err.text);
    (void)snprintf(path, sizeof(path), "%s/data/jobmanagers", f.dir); /* which is read first */
    ck_assert_int_eq(weir_fs_write_sealed(f.fs, path, weir_slice_str("0000000000000001 0000000000000002\n"), &err), WEIR_OK);
    spoil(&f, path);
    ck_assert_int_eq(weir_jm_create(&options, &jm, &err), WEIR_CORRUPT);
    ck_assert_msg(strstr(err.text, path) != NULL && strstr(err.text, "replace-jobmanager") != NULL, "%s", err.text);
    fixture_fini(&f);
}
END_TEST

Suite *jm_suite(void);

Suite *jm_suite(void)
{
    Suite *suite = suite_create("jm");
    TCase *tcase = tcase_create("jm");
    tcase_add_test(tcase, a_job_survives_the_job_manager);
    tcase_add_test(tcase, a_closed_connection_is_noticed_at_once);
    tcase_add_test(tcase, the_time_this_process_was_away_is_not_held_against_others);
    tcase_add_test(tcase, cancel_ends_a_waiting_job);
    tcase_add_test(tcase, start_up_refuses_what_cannot_work);
    tcase_add_test(tcase, a_damaged_note_beside_the_log_is_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
