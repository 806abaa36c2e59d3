/*
 * For jm_cluster_test: whole JobManagers in one process (real ports, real files, real threads), and a TaskManager that is played by the test
 * over RPC.
 */
#ifndef WEIR_JOBMANAGER_JM_CLUSTER_TEST_KIT_H
#define WEIR_JOBMANAGER_JM_CLUSTER_TEST_KIT_H

#include "jobmanager/jm.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/fs/fs_local.h"
#include "common/net/http_client.h"
#include "common/runtime/sync.h"
#include "jobmanager/jm_internal.h"
#include "jobmanager/jm_test_kit.h"
#include "jobmanager/rest/rest_server.h"
#include "proto/control.pb-c.h"
#include "proto/methods.h"
#include "proto/pb.h"
#include "proto/raft.pb-c.h"
#include "tests/lib/test_tls.h"

enum { WAIT_MS = 90000, CALL_MS = 15000, NODES = 5 /* the last two join */, FOUNDERS = 3, NOBODY = NODES, LOOK_MS = 20 };

struct cluster;

struct node {
    struct cluster *c;
    uint16_t port;
    int port_fd; /* holds it */
    char address[32];
    struct weir_config *config;
    struct weir_thread *thread;
    int stop_fd;
    /* guarded by the cluster's mutex */
    struct weir_jm *jm;
    uint16_t rest_port;
    bool started, ended, kill;
    enum weir_rc rc; /* of create, then of run */
    struct weir_error err;
    struct weir_rpc_client *client; /* the TaskManager's */
};

struct cluster {
    struct weir_mutex mutex;
    struct weir_cond cond;
    char dir[64];
    struct weir_fs *fs;
    struct node nodes[NODES];
    struct weir_test_tls certs;
    struct weir_tls *jm_tls, *tm_tls; /* NULL: plaintext */
    struct weir_rpc_server *tm;
    char tm_address[64];
    uint32_t deployments, cancels;
    bool called;
    enum weir_rc call_rc;
    struct weir_buf call_body;
    char call_text[WEIR_ERROR_TEXT_MAX];
    bool answered;
    enum weir_rc answer_rc;
    struct weir_error answer_err;
    enum weir_job_state state;
    struct weir_jm_cluster_view view;
    uint64_t incarnations[WEIR_JM_MEMBERS_VIEW_MAX]; /* of the view's members */
    uint32_t recorded; /* JobManagers in the replicated state, those removed too */
};

static inline int64_t now_ms(void)
{
    return weir_clock_mono_ms(weir_clock_real());
}

/* The mutex is held. */
static inline void wait_for(struct cluster *c, const bool *condition)
{
    int64_t deadline_ns = weir_clock_mono_ns(weir_clock_real()) + WAIT_MS * INT64_C(1000000);
    while (!*condition) {
        ck_assert(weir_cond_wait_until(&c->cond, &c->mutex, deadline_ns));
    }
}

/* Looks again after a while: for what nobody tells. */
static inline void rest(struct cluster *c)
{
    weir_mutex_lock(&c->mutex);
    (void)weir_cond_wait_until(&c->cond, &c->mutex, weir_clock_mono_ns(weir_clock_real()) + LOOK_MS * INT64_C(1000000));
    weir_mutex_unlock(&c->mutex);
}

/* --- the JobManagers ---------------------------------------------------------------------------------------------------- */
static inline void node_tell(struct node *node, struct weir_jm *jm, bool ended, enum weir_rc rc, const struct weir_error *err)
{
    weir_mutex_lock(&node->c->mutex);
    node->jm = jm;
    node->started = true;
    node->ended = ended;
    node->rc = rc;
    node->err = *err;
    weir_cond_broadcast(&node->c->cond);
    weir_mutex_unlock(&node->c->mutex);
}

/* Until it is to stop: killed, it goes without a word. */
static inline enum weir_rc node_run(struct node *node, struct weir_jm *jm, struct weir_error *err)
{
    struct pollfd fd = {.fd = node->stop_fd, .events = POLLIN};
    while (!jm->failed && fd.revents == 0) {
        weir__jm_work(jm);
        weir__jm_sleep(jm, &fd, INT64_MAX);
    }
    weir_mutex_lock(&node->c->mutex);
    bool killed = node->kill;
    weir_mutex_unlock(&node->c->mutex);
    return killed && !jm->failed ? WEIR_OK : weir_jm_run(jm, node->stop_fd, err);
}

static inline void node_thread(void *ctx)
{
    struct node *node = ctx;
    struct weir_jm *jm = NULL;
    struct weir_rest *rest_server = NULL;
    struct weir_error err = {.rc = WEIR_OK};
    const struct weir_jm_options options = {.config = node->config, .clock = weir_clock_real(), .fs = node->c->fs, .decode = jm_test_decode};
    enum weir_rc rc = weir_jm_create(&options, &jm, &err);
    rc = rc == WEIR_OK ? weir_rest_start(jm, node->config, NULL, &rest_server, &err) : rc;
    if (rc == WEIR_OK) {
        char address[32];
        (void)snprintf(address, sizeof(address), "127.0.0.1:%u", weir_rest_port(rest_server));
        weir_jm_set_rest_address(jm, address);
        weir_mutex_lock(&node->c->mutex);
        node->rest_port = weir_rest_port(rest_server);
        weir_mutex_unlock(&node->c->mutex);
        node_tell(node, jm, false, rc, &err);
        rc = node_run(node, jm, &err);
    }
    weir_mutex_lock(&node->c->mutex);
    node->jm = NULL;
    weir_mutex_unlock(&node->c->mutex);
    if (jm != NULL) {
        weir_mailbox_close(jm->mailbox);
    }
    weir_rest_stop(rest_server);
    weir_jm_destroy(jm);
    node_tell(node, NULL, true, rc, &err);
}

static inline void node_start(struct node *node)
{
    struct weir_error err;
    node->started = node->ended = node->kill = false;
    node->stop_fd = eventfd(0, EFD_CLOEXEC);
    ck_assert_int_eq(weir_thread_start("jm", node_thread, node, &node->thread, &err), WEIR_OK);
}

static inline void node_started(struct node *node)
{
    weir_mutex_lock(&node->c->mutex);
    wait_for(node->c, &node->started);
    ck_assert_msg(node->rc == WEIR_OK, "%s", node->err.text);
    weir_mutex_unlock(&node->c->mutex);
}

/* Waits for its end; returns its result. */
static inline enum weir_rc node_end(struct node *node)
{
    weir_thread_join(node->thread);
    node->thread = NULL;
    (void)close(node->stop_fd);
    return node->rc;
}

static inline void node_stop(struct node *node, bool kill)
{
    uint64_t one = 1;
    weir_mutex_lock(&node->c->mutex);
    node->kill = kill;
    weir_mutex_unlock(&node->c->mutex);
    ck_assert_int_eq(write(node->stop_fd, &one, sizeof(one)), sizeof(one));
    ck_assert_int_eq(node_end(node), WEIR_OK);
}

/* A port that stays ours while the socket is open, also while nobody listens: who sets SO_REUSEADDR and asks for this very port gets it. */
static inline uint16_t hold_port(int *out_fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(address);
    int yes = 1;
    *out_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(setsockopt(*out_fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)), 0);
    ck_assert_int_eq(bind(*out_fd, (struct sockaddr *)&address, bytes), 0);
    ck_assert_int_eq(getsockname(*out_fd, (struct sockaddr *)&address, &bytes), 0);
    return ntohs(address.sin_port);
}

static inline void set(struct node *node, const char *pair)
{
    struct weir_error err;
    ck_assert_msg(weir_config_set_pair(node->config, pair, &err) == WEIR_OK, "%s", err.text);
}

/* --- the TaskManager ---------------------------------------------------------------------------------------------------- */
static inline void on_request(void *ctx, struct weir_rpc_request *request)
{
    struct cluster *c = ctx;
    struct weir_buf body = {0};
    weir_mutex_lock(&c->mutex);
    if (weir_rpc_request_method(request) == WEIR_METHOD_ENUMERATE) {
        Weir__Control__EnumerateReply reply;
        weir__control__enumerate_reply__init(&reply);
        weir_pb_encode(&reply.base, &body);
    }
    c->deployments += weir_rpc_request_method(request) == WEIR_METHOD_DEPLOY;
    c->cancels += weir_rpc_request_method(request) == WEIR_METHOD_CANCEL;
    weir_cond_broadcast(&c->cond);
    weir_mutex_unlock(&c->mutex);
    weir_rpc_reply(request, WEIR_OK, weir_buf_slice(&body));
    weir_buf_fini(&body);
}

static inline void on_called(void *ctx, enum weir_rc rc, struct weir_slice body, const char *text)
{
    struct cluster *c = ctx;
    weir_mutex_lock(&c->mutex);
    c->call_rc = rc;
    (void)snprintf(c->call_text, sizeof(c->call_text), "%s", text);
    weir_buf_clear(&c->call_body);
    weir_buf_put_slice(&c->call_body, body);
    c->called = true;
    weir_cond_broadcast(&c->cond);
    weir_mutex_unlock(&c->mutex);
}

static inline enum weir_rc call_by(struct cluster *c, struct weir_rpc_client *client, uint16_t method, const ProtobufCMessage *message, uint32_t deadline_ms)
{
    struct weir_error err;
    struct weir_buf body = {0};
    weir_pb_encode(message, &body);
    weir_mutex_lock(&c->mutex);
    c->called = false;
    weir_mutex_unlock(&c->mutex);
    ck_assert_int_eq(weir_rpc_call(client, method, weir_buf_slice(&body), deadline_ms, on_called, c, &err), WEIR_OK);
    weir_mutex_lock(&c->mutex);
    wait_for(c, &c->called);
    weir_mutex_unlock(&c->mutex);
    weir_buf_fini(&body);
    return c->call_rc;
}

static inline enum weir_rc call(struct node *node, uint16_t method, const ProtobufCMessage *message)
{
    return call_by(node->c, node->client, method, message, 1000);
}

/* A client of that JobManager: what it says that it is, and by which certificate. */
static inline struct weir_rpc_client *client_of(struct node *node, const char *role, struct weir_tls *tls)
{
    char address[64];
    struct weir_error err;
    struct weir_rpc_client *client = NULL;
    (void)snprintf(address, sizeof(address), "tcp://%s", node->address);
    const struct weir_rpc_client_options options = {.address = address,
                                                    .cluster_id = "weir",
                                                    .role = role,
                                                    .name = "tm",
                                                    .server_role = WEIR_ROLE_JOBMANAGER,
                                                    .protocol_version = WEIR_PROTOCOL_VERSION,
                                                    .tls = tls};
    const struct weir_rpc_client_callbacks none = {0};
    ck_assert_int_eq(weir_rpc_client_create(&options, &none, NULL, &client, &err), WEIR_OK);
    return client;
}

/* Who says that it leads; the others must say who that is, once they know. */
static inline uint32_t who_leads(struct cluster *c, uint64_t *out_epoch)
{
    uint32_t leader = NOBODY;
    for (uint32_t i = 0; i < NODES; i++) {
        Weir__Control__WhoLeadsRequest question;
        Weir__Control__WhoLeadsReply *reply = NULL;
        struct weir_error err;
        weir__control__who_leads_request__init(&question);
        if (c->nodes[i].thread == NULL || call(&c->nodes[i], WEIR_METHOD_WHO_LEADS, &question.base) != WEIR_OK) {
            continue;
        }
        ck_assert_int_eq(weir_pb_decode(&weir__control__who_leads_reply__descriptor, weir_buf_slice(&c->call_body), &reply, &err), WEIR_OK);
        if (reply->leading && (leader == NOBODY || reply->epoch > *out_epoch)) {
            leader = i;
            *out_epoch = reply->epoch;
            ck_assert_str_eq(reply->leader_address, c->nodes[i].address);
            ck_assert_uint_ge(reply->n_jobmanagers, FOUNDERS - 1); /* one goes before the other comes */
        }
        weir_pb_free(reply);
    }
    return leader;
}

/* The one that leads in an epoch greater than that. */
static inline uint32_t wait_for_leader(struct cluster *c, uint64_t *epoch)
{
    int64_t deadline_ms = now_ms() + WAIT_MS;
    uint64_t found = 0;
    uint32_t leader = who_leads(c, &found);
    while (leader == NOBODY || found <= *epoch) {
        ck_assert_msg(now_ms() < deadline_ms, "nobody leads");
        rest(c);
        leader = who_leads(c, &found);
    }
    *epoch = found;
    return leader;
}

/* To a TaskManager, as one that is there. */
static inline void wait_until_named(struct node *node, const char *address)
{
    int64_t deadline_ms = now_ms() + WAIT_MS;
    for (bool named = false; !named; rest(node->c)) {
        Weir__Control__WhoLeadsRequest question = WEIR__CONTROL__WHO_LEADS_REQUEST__INIT;
        Weir__Control__WhoLeadsReply *reply = NULL;
        struct weir_error err;
        ck_assert_msg(now_ms() < deadline_ms, "%s does not name %s", node->address, address);
        if (call(node, WEIR_METHOD_WHO_LEADS, &question.base) == WEIR_OK) {
            ck_assert_int_eq(weir_pb_decode(&weir__control__who_leads_reply__descriptor, weir_buf_slice(&node->c->call_body), &reply, &err), WEIR_OK);
            for (size_t i = 0; i < reply->n_jobmanagers; i++) {
                named = named || strcmp(reply->jobmanagers[i], address) == 0;
            }
            weir_pb_free(reply);
        }
    }
}

/* With the job's two tasks running, or none. */
static inline enum weir_rc tm_register(struct node *node, bool running)
{
    struct jm_test_register message;
    jm_test_register_init(&message, node->c->tm_address, !running, WEIR__CONTROL__TASK_STATE__TASK_RUNNING);
    return call_by(node->c, node->client, WEIR_METHOD_REGISTER, &message.request.base, CALL_MS);
}

/* Whether attempt 1 is the present one; UNKNOWN when nothing is said of it in that time. */
static inline enum weir_rc tm_ask_lease_within(struct node *node, uint64_t epoch, uint32_t deadline_ms)
{
    Weir__Control__LeaseRequest request;
    jm_test_lease_init(&request, epoch, 1);
    enum weir_rc called = call_by(node->c, node->client, WEIR_METHOD_LEASE, &request.base, deadline_ms);
    return jm_test_lease_answer(called, weir_buf_slice(&node->c->call_body));
}

static inline enum weir_rc tm_ask_lease(struct node *node, uint64_t epoch)
{
    return tm_ask_lease_within(node, epoch, CALL_MS);
}

/* --- questions, on the mailbox thread ----------------------------------------------------------------------------------- */
struct question {
    struct node *node;
    struct weir_jm *jm;
    const char *old_address, *new_address;
};

static inline void answer(struct cluster *c, enum weir_rc rc, const struct weir_error *err)
{
    weir_mutex_lock(&c->mutex);
    c->answered = true;
    c->answer_rc = rc;
    if (err != NULL) {
        c->answer_err = *err;
    }
    weir_cond_broadcast(&c->cond);
    weir_mutex_unlock(&c->mutex);
}

static inline void on_done(void *ctx, enum weir_rc rc, const struct weir_error *err)
{
    answer(ctx, rc, err);
}

static inline void look(void *payload)
{
    struct question *q = payload;
    struct weir_job *job = weir_dispatcher_job(q->jm->dispatcher, weir_slice_str(jm_test_job_id));
    weir_mutex_lock(&q->node->c->mutex);
    q->node->c->state = job == NULL ? WEIR_JOB_STATE_COUNT_ : weir_job_state(job);
    weir_jm_cluster_view(q->jm, &q->node->c->view);
    for (uint32_t i = 0; i < q->node->c->view.nmembers; i++) {
        q->node->c->incarnations[i] = weir__jm_known_incarnation(q->jm, q->node->c->view.members[i].id);
    }
    q->node->c->recorded = weir_meta_member_count(weir_dispatcher_meta(q->jm->dispatcher));
    weir_mutex_unlock(&q->node->c->mutex);
    answer(q->node->c, WEIR_OK, NULL);
}

static inline void submit(void *payload)
{
    struct question *q = payload;
    const uint64_t hash[2] = {1, 2};
    weir_dispatcher_submit(q->jm->dispatcher, weir_slice_str(jm_test_job_id), "test", hash, weir_slice_str("graph"), weir__jm_now(q->jm), on_done, q->node->c);
}

static inline void replace(void *payload)
{
    struct question *q = payload;
    weir_jm_replace(q->jm, weir_slice_str(q->old_address), weir_slice_str(q->new_address), on_done, q->node->c);
}

/* What on_done, or the question, says. */
static inline enum weir_rc ask(struct node *node, void (*run)(void *), const char *old_address, const char *new_address)
{
    struct cluster *c = node->c;
    weir_mutex_lock(&c->mutex);
    c->answered = false;
    struct question q = {.node = node, .jm = node->jm, .old_address = old_address, .new_address = new_address};
    ck_assert_ptr_nonnull(q.jm);
    ck_assert_int_eq(weir_mailbox_post(q.jm->mailbox, WEIR_MAIL_CONTROL, (struct weir_mail){.run = run, .payload = &q}), WEIR_OK);
    wait_for(c, &c->answered);
    weir_mutex_unlock(&c->mutex);
    return c->answer_rc;
}

static inline void wait_until_state(struct node *node, enum weir_job_state state)
{
    int64_t deadline_ms = now_ms() + WAIT_MS;
    while (ask(node, look, NULL, NULL) == WEIR_OK && node->c->state != state) {
        ck_assert_msg(now_ms() < deadline_ms, "state %s", weir_job_state_name(node->c->state));
        rest(node->c);
    }
}

static inline const struct weir_jm_member_view *member_view(struct cluster *c, const char *address, enum weir_jm_role role)
{
    for (uint32_t i = 0; i < c->view.nmembers; i++) {
        if (c->view.members[i].role == role && strcmp(c->view.members[i].rpc_address, address) == 0) {
            return &c->view.members[i];
        }
    }
    return NULL;
}

/* Which one of the view it is. */
static inline uint32_t member_at(const struct cluster *c, const char *address)
{
    uint32_t at = 0;
    while (at < c->view.nmembers && strcmp(c->view.members[at].rpc_address, address) != 0) {
        at++;
    }
    return at;
}

static inline void wait_until_role(struct node *node, const char *address, enum weir_jm_role role)
{
    int64_t deadline_ms = now_ms() + WAIT_MS;
    while (ask(node, look, NULL, NULL) == WEIR_OK && member_view(node->c, address, role) == NULL) {
        ck_assert_msg(now_ms() < deadline_ms, "%s is not seen in role %d", address, (int)role);
        rest(node->c);
    }
}

static inline void wait_until_recorded(struct node *node, uint32_t count)
{
    int64_t deadline_ms = now_ms() + WAIT_MS;
    while (ask(node, look, NULL, NULL) == WEIR_OK && node->c->recorded < count) {
        ck_assert_msg(now_ms() < deadline_ms, "%u JobManagers are recorded", node->c->recorded);
        rest(node->c);
    }
}

static inline unsigned get(const struct node *node, const char *path, struct weir_buf *body)
{
    struct weir_http_client *client = weir_http_client_create();
    char url[128];
    unsigned status = 0;
    struct weir_error err;
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", node->rest_port, path);
    weir_buf_clear(body);
    const struct weir_http_call request = {.method = "GET", .url = url, .timeout_ms = WAIT_MS};
    ck_assert_int_eq(weir_http_call(client, &request, &status, body, &err), WEIR_OK);
    weir_buf_put_u8(body, '\0');
    weir_http_client_destroy(client);
    return status;
}

/* --- the cluster -------------------------------------------------------------------------------------------------------- */
static inline void node_configure(struct node *node, uint32_t i, const char *list)
{
    char pair[256];
    node->config = weir_config_create();
    (void)snprintf(pair, sizeof(pair), "jobmanager.data.dir=%s/data-%u", node->c->dir, i);
    set(node, pair);
    (void)snprintf(pair, sizeof(pair), "jobmanager.rpc.port=%u", node->port);
    set(node, pair);
    (void)snprintf(pair, sizeof(pair), "cluster.jobmanagers=%s", list);
    set(node, pair);
    set(node, "rest.port=0");
    set(node, "heartbeat.timeout=1 h"); /* the TaskManager of the test sends none */
    set(node, "cluster.fencing.timeout=0");
    set(node, "jobmanager.raft.election-timeout=1 s"); /* who leads goes on leading on a machine that is ten times slower */
    set(node, "jobmanager.raft.heartbeat-interval=50 ms");
    if (node->c->jm_tls != NULL) {
        set(node, "security.ssl.internal.enabled=true");
        set(node, "jobmanager.raft.election-timeout=3 s"); /* handshakes take their time, with a sanitizer above all */
        (void)snprintf(pair, sizeof(pair), "security.ssl.internal.dir=%s/%s", node->c->certs.dir, WEIR_ROLE_JOBMANAGER);
        set(node, pair);
    }
}

static inline void cluster_init_secured(struct cluster *c, bool secured)
{
    struct weir_error err;
    char list[128];
    *c = (struct cluster){.dir = "/tmp/weir-jms-XXXXXX"};
    weir_mutex_init(&c->mutex);
    weir_cond_init(&c->cond);
    ck_assert_ptr_nonnull(mkdtemp(c->dir));
    c->fs = weir_fs_local_create();
    if (secured) {
        weir_test_tls_init(&c->certs);
        c->jm_tls = weir_test_tls_node(&c->certs, WEIR_ROLE_JOBMANAGER);
        c->tm_tls = weir_test_tls_node(&c->certs, WEIR_ROLE_TASKMANAGER);
    }
    for (uint32_t i = 0; i < NODES; i++) {
        c->nodes[i].c = c;
        c->nodes[i].port = hold_port(&c->nodes[i].port_fd);
        (void)snprintf(c->nodes[i].address, sizeof(c->nodes[i].address), "127.0.0.1:%u", c->nodes[i].port);
    }
    (void)snprintf(list, sizeof(list), "%s,%s,%s", c->nodes[0].address, c->nodes[1].address, c->nodes[2].address);
    const struct weir_rpc_server_options server = {.address = "tcp://127.0.0.1:0",
                                                   .cluster_id = "weir",
                                                   .role = WEIR_ROLE_TASKMANAGER,
                                                   .name = "tm",
                                                   .protocol_version = WEIR_PROTOCOL_VERSION,
                                                   .tls = c->tm_tls};
    const struct weir_rpc_server_callbacks callbacks = {.on_request = on_request};
    ck_assert_int_eq(weir_rpc_server_create(&server, &callbacks, c, &c->tm, &err), WEIR_OK);
    (void)snprintf(c->tm_address, sizeof(c->tm_address), "tcp://127.0.0.1:%u", weir_rpc_server_port(c->tm));
    for (uint32_t i = 0; i < NODES; i++) {
        node_configure(&c->nodes[i], i, list);
        c->nodes[i].client = client_of(&c->nodes[i], WEIR_ROLE_TASKMANAGER, c->tm_tls);
    }
    for (uint32_t i = 0; i < FOUNDERS; i++) {
        node_start(&c->nodes[i]);
    }
    for (uint32_t i = 0; i < FOUNDERS; i++) {
        node_started(&c->nodes[i]);
    }
}

static inline void cluster_init(struct cluster *c)
{
    cluster_init_secured(c, false);
}

static inline void cluster_fini(struct cluster *c)
{
    char command[128];
    for (uint32_t i = 0; i < NODES; i++) {
        if (c->nodes[i].thread != NULL) {
            node_stop(&c->nodes[i], false);
        }
        weir_rpc_client_destroy(c->nodes[i].client);
        weir_config_destroy(c->nodes[i].config);
        (void)close(c->nodes[i].port_fd);
    }
    weir_rpc_server_destroy(c->tm);
    weir_tls_destroy(c->jm_tls);
    weir_tls_destroy(c->tm_tls);
    if (c->jm_tls != NULL) {
        weir_test_tls_fini(&c->certs);
    }
    weir_buf_fini(&c->call_body);
    weir_fs_local_destroy(c->fs);
    weir_cond_fini(&c->cond);
    weir_mutex_fini(&c->mutex);
    (void)snprintf(command, sizeof(command), "rm -rf %s", c->dir);
    ck_assert_int_eq(system(command), 0);
}

static inline void wait_for_deployment(struct cluster *c)
{
    int64_t deadline_ns = weir_clock_mono_ns(weir_clock_real()) + WAIT_MS * INT64_C(1000000);
    weir_mutex_lock(&c->mutex);
    while (c->deployments == 0) {
        ck_assert(weir_cond_wait_until(&c->cond, &c->mutex, deadline_ns));
    }
    weir_mutex_unlock(&c->mutex);
}

/* The job runs on the leader's word; returns the leader. */
static inline uint32_t start_job(struct cluster *c, uint64_t *epoch)
{
    uint32_t leader = wait_for_leader(c, epoch);
    ck_assert_int_eq(tm_register(&c->nodes[leader], false), WEIR_OK);
    ck_assert_msg(ask(&c->nodes[leader], submit, NULL, NULL) == WEIR_OK, "%s", c->answer_err.text);
    wait_for_deployment(c);
    wait_until_state(&c->nodes[leader], WEIR_JOB_RUNNING);
    ck_assert_int_eq(tm_ask_lease(&c->nodes[leader], *epoch), WEIR_OK);
    return leader;
}

#endif
