/*
 * Three whole JobManagers in one process (real ports, real files, real threads), and a TaskManager that is played by the test over RPC: one is
 * elected and leads, dies or leaves, and the next takes over what runs.
 */
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
#include "jobmanager/rest/rest_server.h"
#include "proto/control.pb-c.h"
#include "proto/methods.h"
#include "proto/pb.h"
#include "proto/raft.pb-c.h"
#include "tests/lib/test_tls.h"

enum { WAIT_MS = 30000, NODES = 4 /* the last joins */, FOUNDERS = 3, NOBODY = NODES, LOOK_MS = 20 };

static const struct weir_opspec source_op = {.tag = WEIR_OP_SOURCE, .uid = "read", .name = "read"};
static const struct weir_opspec *const source_ops[] = {&source_op};
static const struct weir_vertex vertices[] = {
    {.id = "v0", .name = "read", .parallelism = 2, .submitted_parallelism = 2, .max_parallelism = 128, .ops = source_ops, .nops = 1}};
static char job_id[] = "0123456789abcdef0123456789abcdef";

static enum weir_rc decode(struct weir_slice bytes, struct weir_jobgraph **out_graph, struct weir_error *err)
{
    (void)bytes;
    (void)err;
    struct weir_jobgraph *graph = weir_jobgraph_create();
    graph->name = "test";
    graph->vertices = vertices;
    graph->nvertices = 1;
    *out_graph = graph;
    return WEIR_OK;
}

struct cluster;

struct node {
    struct cluster *c;
    uint16_t port;
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

static int64_t now_ms(void)
{
    return weir_clock_mono_ms(weir_clock_real());
}

/* The mutex is held. */
static void wait_for(struct cluster *c, const bool *condition)
{
    int64_t deadline_ns = weir_clock_mono_ns(weir_clock_real()) + WAIT_MS * INT64_C(1000000);
    while (!*condition) {
        ck_assert(weir_cond_wait_until(&c->cond, &c->mutex, deadline_ns));
    }
}

/* Looks again after a while: for what nobody tells. */
static void rest(struct cluster *c)
{
    weir_mutex_lock(&c->mutex);
    (void)weir_cond_wait_until(&c->cond, &c->mutex, weir_clock_mono_ns(weir_clock_real()) + LOOK_MS * INT64_C(1000000));
    weir_mutex_unlock(&c->mutex);
}

/* --- the JobManagers ---------------------------------------------------------------------------------------------------- */
static void node_tell(struct node *node, struct weir_jm *jm, bool ended, enum weir_rc rc, const struct weir_error *err)
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
static enum weir_rc node_run(struct node *node, struct weir_jm *jm, struct weir_error *err)
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

static void node_thread(void *ctx)
{
    struct node *node = ctx;
    struct weir_jm *jm = NULL;
    struct weir_rest *rest_server = NULL;
    struct weir_error err = {.rc = WEIR_OK};
    const struct weir_jm_options options = {.config = node->config, .clock = weir_clock_real(), .fs = node->c->fs, .decode = decode};
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

static void node_start(struct node *node)
{
    struct weir_error err;
    node->started = node->ended = node->kill = false;
    node->stop_fd = eventfd(0, EFD_CLOEXEC);
    ck_assert_int_eq(weir_thread_start("jm", node_thread, node, &node->thread, &err), WEIR_OK);
}

static void node_started(struct node *node)
{
    weir_mutex_lock(&node->c->mutex);
    wait_for(node->c, &node->started);
    ck_assert_msg(node->rc == WEIR_OK, "%s", node->err.text);
    weir_mutex_unlock(&node->c->mutex);
}

/* Waits for its end; returns its result. */
static enum weir_rc node_end(struct node *node)
{
    weir_thread_join(node->thread);
    node->thread = NULL;
    (void)close(node->stop_fd);
    return node->rc;
}

static void node_stop(struct node *node, bool kill)
{
    uint64_t one = 1;
    weir_mutex_lock(&node->c->mutex);
    node->kill = kill;
    weir_mutex_unlock(&node->c->mutex);
    ck_assert_int_eq(write(node->stop_fd, &one, sizeof(one)), sizeof(one));
    ck_assert_int_eq(node_end(node), WEIR_OK);
}

static uint16_t free_port(int *out_fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(address);
    *out_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(*out_fd, (struct sockaddr *)&address, bytes), 0);
    ck_assert_int_eq(getsockname(*out_fd, (struct sockaddr *)&address, &bytes), 0);
    return ntohs(address.sin_port);
}

static void set(struct node *node, const char *pair)
{
    struct weir_error err;
    ck_assert_msg(weir_config_set_pair(node->config, pair, &err) == WEIR_OK, "%s", err.text);
}

/* --- the TaskManager ---------------------------------------------------------------------------------------------------- */
static void on_request(void *ctx, struct weir_rpc_request *request)
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

static void on_called(void *ctx, enum weir_rc rc, struct weir_slice body, const char *text)
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

static enum weir_rc call_by(struct cluster *c, struct weir_rpc_client *client, uint16_t method, const ProtobufCMessage *message, uint32_t deadline_ms)
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

static enum weir_rc call(struct node *node, uint16_t method, const ProtobufCMessage *message)
{
    return call_by(node->c, node->client, method, message, 1000);
}

/* A client of that JobManager: what it says that it is, and by which certificate. */
static struct weir_rpc_client *client_of(struct node *node, const char *role, struct weir_tls *tls)
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
static uint32_t who_leads(struct cluster *c, uint64_t *out_epoch)
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
            ck_assert_uint_ge(reply->n_jobmanagers, FOUNDERS);
        }
        weir_pb_free(reply);
    }
    return leader;
}

/* The one that leads in an epoch greater than that. */
static uint32_t wait_for_leader(struct cluster *c, uint64_t *epoch)
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

/* With the job's two tasks running, or none. */
static enum weir_rc tm_register(struct node *node, bool running)
{
    char id[] = "tm-1";
    char data[] = "127.0.0.1:9";
    Weir__Control__RegisterRequest request;
    Weir__Control__TaskStatus statuses[2];
    Weir__Control__TaskRef refs[2];
    Weir__Control__TaskStatus *pointers[2];
    weir__control__register_request__init(&request);
    request.tm_id = id;
    request.rpc_address = node->c->tm_address;
    request.data_address = data;
    request.slots = 2;
    for (uint32_t i = 0; i < 2; i++) {
        weir__control__task_status__init(&statuses[i]);
        weir__control__task_ref__init(&refs[i]);
        refs[i].job_id = job_id;
        refs[i].attempt = 1;
        refs[i].subtask = i;
        statuses[i].task = &refs[i];
        statuses[i].state = WEIR__CONTROL__TASK_STATE__TASK_RUNNING;
        pointers[i] = &statuses[i];
    }
    request.tasks = pointers;
    request.n_tasks = running ? 2 : 0;
    return call(node, WEIR_METHOD_REGISTER, &request.base);
}

/* Whether attempt 1 is the present one; UNKNOWN when nothing is said of it. */
static enum weir_rc tm_ask_lease(struct node *node, uint64_t epoch)
{
    char id[] = "tm-1";
    Weir__Control__LeaseRequest request;
    weir__control__lease_request__init(&request);
    request.tm_id = id;
    request.leader_epoch = epoch;
    request.job_id = job_id;
    request.attempt = 1;
    if (call(node, WEIR_METHOD_LEASE, &request.base) != WEIR_OK) {
        return WEIR_UNKNOWN;
    }
    Weir__Control__LeaseReply *reply = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_pb_decode(&weir__control__lease_reply__descriptor, weir_buf_slice(&node->c->call_body), &reply, &err), WEIR_OK);
    enum weir_rc rc = reply->present ? WEIR_OK : WEIR_STALE;
    weir_pb_free(reply);
    return rc;
}

/* --- questions, on the mailbox thread ----------------------------------------------------------------------------------- */
struct question {
    struct node *node;
    struct weir_jm *jm;
    const char *old_address, *new_address;
};

static void answer(struct cluster *c, enum weir_rc rc, const struct weir_error *err)
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

static void on_done(void *ctx, enum weir_rc rc, const struct weir_error *err)
{
    answer(ctx, rc, err);
}

static void look(void *payload)
{
    struct question *q = payload;
    struct weir_job *job = weir_dispatcher_job(q->jm->dispatcher, weir_slice_str(job_id));
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

static void submit(void *payload)
{
    struct question *q = payload;
    const uint64_t hash[2] = {1, 2};
    weir_dispatcher_submit(q->jm->dispatcher, weir_slice_str(job_id), "test", hash, weir_slice_str("graph"), weir__jm_now(q->jm), on_done, q->node->c);
}

static void replace(void *payload)
{
    struct question *q = payload;
    weir_jm_replace(q->jm, weir_slice_str(q->old_address), weir_slice_str(q->new_address), on_done, q->node->c);
}

/* What on_done, or the question, says. */
static enum weir_rc ask(struct node *node, void (*run)(void *), const char *old_address, const char *new_address)
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

static void wait_until_state(struct node *node, enum weir_job_state state)
{
    int64_t deadline_ms = now_ms() + WAIT_MS;
    while (ask(node, look, NULL, NULL) == WEIR_OK && node->c->state != state) {
        ck_assert_msg(now_ms() < deadline_ms, "state %s", weir_job_state_name(node->c->state));
        rest(node->c);
    }
}

static const struct weir_jm_member_view *member_view(struct cluster *c, const char *address, enum weir_jm_role role)
{
    for (uint32_t i = 0; i < c->view.nmembers; i++) {
        if (c->view.members[i].role == role && strcmp(c->view.members[i].rpc_address, address) == 0) {
            return &c->view.members[i];
        }
    }
    return NULL;
}

/* Which one of the view it is. */
static uint32_t member_at(const struct cluster *c, const char *address)
{
    uint32_t at = 0;
    while (at < c->view.nmembers && strcmp(c->view.members[at].rpc_address, address) != 0) {
        at++;
    }
    return at;
}

static void wait_until_role(struct node *node, const char *address, enum weir_jm_role role)
{
    int64_t deadline_ms = now_ms() + WAIT_MS;
    while (ask(node, look, NULL, NULL) == WEIR_OK && member_view(node->c, address, role) == NULL) {
        ck_assert_msg(now_ms() < deadline_ms, "%s is not seen in role %d", address, (int)role);
        rest(node->c);
    }
}

static void wait_until_recorded(struct node *node, uint32_t count)
{
    int64_t deadline_ms = now_ms() + WAIT_MS;
    while (ask(node, look, NULL, NULL) == WEIR_OK && node->c->recorded < count) {
        ck_assert_msg(now_ms() < deadline_ms, "%u JobManagers are recorded", node->c->recorded);
        rest(node->c);
    }
}

static unsigned get(const struct node *node, const char *path, struct weir_buf *body)
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
static void node_configure(struct node *node, uint32_t i, const char *list)
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
    set(node, "jobmanager.raft.election-timeout=300 ms");
    set(node, "jobmanager.raft.heartbeat-interval=30 ms");
    if (node->c->jm_tls != NULL) {
        set(node, "security.ssl.internal.enabled=true");
        set(node, "jobmanager.raft.election-timeout=1 s"); /* handshakes take their time, with a sanitizer above all */
        (void)snprintf(pair, sizeof(pair), "security.ssl.internal.dir=%s/%s", node->c->certs.dir, WEIR_ROLE_JOBMANAGER);
        set(node, pair);
    }
}

static void cluster_init_secured(struct cluster *c, bool secured)
{
    struct weir_error err;
    int fds[NODES];
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
        c->nodes[i].port = free_port(&fds[i]);
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
        (void)close(fds[i]);
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

static void cluster_init(struct cluster *c)
{
    cluster_init_secured(c, false);
}

static void cluster_fini(struct cluster *c)
{
    char command[128];
    for (uint32_t i = 0; i < NODES; i++) {
        if (c->nodes[i].thread != NULL) {
            node_stop(&c->nodes[i], false);
        }
        weir_rpc_client_destroy(c->nodes[i].client);
        weir_config_destroy(c->nodes[i].config);
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

static void wait_for_deployment(struct cluster *c)
{
    int64_t deadline_ns = weir_clock_mono_ns(weir_clock_real()) + WAIT_MS * INT64_C(1000000);
    weir_mutex_lock(&c->mutex);
    while (c->deployments == 0) {
        ck_assert(weir_cond_wait_until(&c->cond, &c->mutex, deadline_ns));
    }
    weir_mutex_unlock(&c->mutex);
}

/* The job runs on the leader's word; returns the leader. */
static uint32_t start_job(struct cluster *c, uint64_t *epoch)
{
    uint32_t leader = wait_for_leader(c, epoch);
    ck_assert_int_eq(tm_register(&c->nodes[leader], false), WEIR_OK);
    ck_assert_msg(ask(&c->nodes[leader], submit, NULL, NULL) == WEIR_OK, "%s", c->answer_err.text);
    wait_for_deployment(c);
    wait_until_state(&c->nodes[leader], WEIR_JOB_RUNNING);
    ck_assert_int_eq(tm_ask_lease(&c->nodes[leader], *epoch), WEIR_OK);
    return leader;
}

/* --- tests -------------------------------------------------------------------------------------------------------------- */
START_TEST(a_job_survives_its_leaders)
{
    struct cluster c;
    uint64_t epoch = 0;
    cluster_init(&c);
    uint32_t leader = start_job(&c, &epoch);
    for (int round = 0; round < 3; round++) { /* killed, or asked to go */
        struct node *standby = &c.nodes[(leader + 1) % FOUNDERS];
        ck_assert_int_eq(tm_register(standby, true), WEIR_REFUSED);
        ck_assert_int_eq(tm_ask_lease(standby, epoch), WEIR_UNKNOWN);
        uint64_t old_epoch = epoch;
        uint32_t old = leader;
        node_stop(&c.nodes[old], round != 1);
        leader = wait_for_leader(&c, &epoch);
        ck_assert_uint_ne(leader, old);
        ck_assert_int_eq(tm_register(&c.nodes[leader], true), WEIR_OK);
        wait_until_state(&c.nodes[leader], WEIR_JOB_RUNNING);
        ck_assert_int_eq(tm_ask_lease(&c.nodes[leader], old_epoch), WEIR_UNKNOWN);
        ck_assert_int_eq(tm_ask_lease(&c.nodes[leader], epoch), WEIR_OK);
        ck_assert_int_eq(ask(&c.nodes[leader], submit, NULL, NULL), WEIR_OK); /* again: it is there */
        node_start(&c.nodes[old]);
        node_started(&c.nodes[old]);
        wait_until_role(&c.nodes[leader], c.nodes[old].address, WEIR_JM_ROLE_STANDBY);
    }
    ck_assert_uint_eq(c.deployments, 1); /* nothing was started anew, and nothing told to end */
    ck_assert_uint_eq(c.cancels, 0);
    cluster_fini(&c);
}
END_TEST

START_TEST(a_standby_sends_clients_to_the_leader)
{
    struct cluster c;
    uint64_t epoch = 0;
    struct weir_buf body = {0};
    char expected[64];
    cluster_init(&c);
    uint32_t leader = wait_for_leader(&c, &epoch);
    const struct node *standby = &c.nodes[(leader + 1) % FOUNDERS];
    (void)snprintf(expected, sizeof(expected), "127.0.0.1:%u leads", c.nodes[leader].rest_port);
    int64_t deadline_ms = now_ms() + WAIT_MS;
    while (get(standby, "/jobs/overview?x=1", &body) != 307) { /* until it has heard who leads, and where */
        ck_assert_ptr_nonnull(strstr((const char *)body.data, "no leader"));
        ck_assert_msg(now_ms() < deadline_ms, "%s", (const char *)body.data);
        rest(&c);
    }
    ck_assert_msg(strstr((const char *)body.data, expected) != NULL, "%s", (const char *)body.data);
    ck_assert_uint_eq(get(standby, "/cluster", &body), 307);
    ck_assert_uint_eq(get(standby, "/jobmanager/config", &body), 200);
    ck_assert_uint_eq(get(&c.nodes[leader], "/jobs/overview", &body), 200);
    ck_assert_uint_eq(get(&c.nodes[leader], "/cluster", &body), 200);
    ck_assert_ptr_nonnull(strstr((const char *)body.data, c.nodes[leader].address));
    /* without a majority nobody leads, and one still says what it knows */
    node_stop(&c.nodes[leader], true);
    node_stop(&c.nodes[(leader + 2) % FOUNDERS], true);
    while (get(standby, "/jobs/overview", &body) != 503) {
        ck_assert_msg(now_ms() < deadline_ms + WAIT_MS, "%s", (const char *)body.data);
        rest(&c);
    }
    ck_assert_ptr_nonnull(strstr((const char *)body.data, "no leader is elected"));
    ck_assert_uint_eq(get(standby, "/cluster", &body), 200);
    ck_assert_ptr_nonnull(strstr((const char *)body.data, "\"leader\":null"));
    weir_buf_fini(&body);
    cluster_fini(&c);
}
END_TEST

/* A leader that has lost its majority does not know it at once: it may not say that an attempt is the present one. */
START_TEST(no_lease_without_a_majority)
{
    struct cluster c;
    uint64_t epoch = 0;
    cluster_init(&c);
    uint32_t leader = start_job(&c, &epoch);
    node_stop(&c.nodes[(leader + 1) % FOUNDERS], true);
    node_stop(&c.nodes[(leader + 2) % FOUNDERS], true);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(tm_ask_lease(&c.nodes[leader], epoch), WEIR_UNKNOWN);
    }
    node_start(&c.nodes[(leader + 1) % FOUNDERS]);
    node_started(&c.nodes[(leader + 1) % FOUNDERS]);
    epoch--; /* the old one may go on */
    leader = wait_for_leader(&c, &epoch);
    ck_assert_int_eq(tm_register(&c.nodes[leader], true), WEIR_OK);
    int64_t deadline_ms = now_ms() + WAIT_MS;
    while (tm_ask_lease(&c.nodes[leader], epoch) != WEIR_OK) {
        ck_assert_msg(now_ms() < deadline_ms, "no lease");
        rest(&c);
        leader = (epoch--, wait_for_leader(&c, &epoch)); /* it may have changed once more */
        (void)tm_register(&c.nodes[leader], true);
    }
    ck_assert_uint_eq(c.deployments, 1);
    cluster_fini(&c);
}
END_TEST

/* Nor may it say what it knows of jobs. */
START_TEST(no_answer_without_a_majority)
{
    struct cluster c;
    uint64_t epoch = 0;
    struct weir_buf body = {0};
    cluster_init(&c);
    uint32_t leader = start_job(&c, &epoch);
    ck_assert_uint_eq(get(&c.nodes[leader], "/jobs", &body), 200);
    node_stop(&c.nodes[(leader + 1) % FOUNDERS], true);
    node_stop(&c.nodes[(leader + 2) % FOUNDERS], true);
    for (int i = 0; i < 5; i++) {
        ck_assert_uint_eq(get(&c.nodes[leader], "/jobs", &body), 503);
    }
    unsigned status = get(&c.nodes[leader], "/cluster", &body);
    ck_assert_msg(status == 503 || strstr((const char *)body.data, "\"leader\":null") != NULL, "%s", (const char *)body.data);
    weir_buf_fini(&body);
    cluster_fini(&c);
}
END_TEST

/* _i: the new one stands where the old one stood, or elsewhere; the old one is a standby, or leads and is alive. */
START_TEST(one_is_replaced)
{
    bool elsewhere = _i > 0;
    bool leads = _i == 2;
    struct cluster c;
    uint64_t epoch = 0;
    char command[128];
    cluster_init(&c);
    uint32_t leader = start_job(&c, &epoch);
    for (uint32_t i = 0; i < FOUNDERS; i++) {
        wait_until_role(&c.nodes[leader], c.nodes[i].address, i == leader ? WEIR_JM_ROLE_LEADER : WEIR_JM_ROLE_STANDBY);
    }
    wait_until_recorded(&c.nodes[leader], FOUNDERS);
    uint32_t old = leads ? leader : (leader + 1) % FOUNDERS;
    struct node *fresh = &c.nodes[elsewhere ? FOUNDERS : old];
    ck_assert_int_eq(ask(&c.nodes[leader], replace, c.nodes[old].address, "127.0.0.1:1"), WEIR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(c.answer_err.text, "jobmanager.join=true"));
    ck_assert_int_eq(ask(&c.nodes[leader], replace, "nonsense", "127.0.0.1:1"), WEIR_INVALID);
    ck_assert_int_eq(ask(&c.nodes[leader], replace, c.nodes[old].address, c.nodes[old].address), WEIR_NOT_FOUND); /* nobody who joins there */
    if (!leads) {
        node_stop(&c.nodes[old], true);
    }
    if (!elsewhere) { /* its directory is lost: it may not begin anew by itself */
        (void)snprintf(command, sizeof(command), "rm -rf %s/data-%u", c.dir, old);
        ck_assert_int_eq(system(command), 0);
        node_start(fresh);
        ck_assert_int_eq(node_end(fresh), WEIR_STATE);
        ck_assert_ptr_nonnull(strstr(fresh->err.text, "replace-jobmanager"));
        (void)snprintf(command, sizeof(command), "rm -rf %s/data-%u", c.dir, old);
        ck_assert_int_eq(system(command), 0);
    }
    set(fresh, "jobmanager.join=true");
    node_start(fresh);
    node_started(fresh);
    wait_until_role(&c.nodes[leader], fresh->address, WEIR_JM_ROLE_JOINING);
    ck_assert_int_eq(ask(&c.nodes[leader], replace, "127.0.0.1:1", fresh->address), WEIR_NOT_FOUND); /* there is no such member */
    int64_t deadline_ms = now_ms() + WAIT_MS;
    while (ask(&c.nodes[leader], replace, c.nodes[old].address, fresh->address) != WEIR_OK) { /* what the command of a person, or the CLI, does */
        ck_assert_msg(now_ms() < deadline_ms, "%s", c.answer_err.text);
        ck_assert(c.answer_rc == WEIR_AGAIN || c.answer_rc == WEIR_UNKNOWN || c.answer_rc == WEIR_REFUSED);
        rest(&c);
        leader = (epoch--, wait_for_leader(&c, &epoch));
    }
    ck_assert(!leads || leader != old);
    ck_assert_int_eq(ask(&c.nodes[leader], replace, c.nodes[old].address, fresh->address), WEIR_OK); /* once more: nothing */
    wait_until_role(&c.nodes[leader], c.nodes[old].address, WEIR_JM_ROLE_REMOVED);
    if (leads) { /* it learns that it is none any more */
        ck_assert_int_eq(node_end(&c.nodes[old]), WEIR_STATE);
        ck_assert_ptr_nonnull(strstr(c.nodes[old].err.text, "removed"));
    }
    /* the new one carries its part: with it and one more there is a majority */
    uint32_t third = 0;
    while (third == leader || third == old || &c.nodes[third] == fresh) {
        third++;
    }
    wait_until_role(&c.nodes[leader], fresh->address, leader == FOUNDERS ? WEIR_JM_ROLE_LEADER : WEIR_JM_ROLE_STANDBY);
    node_stop(&c.nodes[third], true);
    leader = (epoch--, wait_for_leader(&c, &epoch));
    ck_assert_int_eq(tm_register(&c.nodes[leader], true), WEIR_OK);
    wait_until_state(&c.nodes[leader], WEIR_JOB_RUNNING);
    ck_assert_uint_eq(c.deployments, 1);
    /* it is a member like the others, whatever its configuration says of joining */
    node_stop(fresh, true);
    node_start(fresh);
    node_started(fresh);
    cluster_fini(&c);
}
END_TEST

/* The others have restarted, and no log is committed yet: they know all the same whose directory was lost. */
START_TEST(a_lost_directory_is_known_without_a_leader)
{
    struct cluster c;
    uint64_t epoch = 0;
    char command[128];
    cluster_init(&c);
    uint32_t leader = wait_for_leader(&c, &epoch);
    wait_until_recorded(&c.nodes[leader], FOUNDERS);
    uint32_t other = (leader + 1) % FOUNDERS;
    uint32_t lost = (leader + 2) % FOUNDERS;
    wait_until_recorded(&c.nodes[other], FOUNDERS);
    node_stop(&c.nodes[lost], true);
    node_stop(&c.nodes[leader], true);
    node_stop(&c.nodes[other], true);
    (void)snprintf(command, sizeof(command), "rm -rf %s/data-%u", c.dir, lost);
    ck_assert_int_eq(system(command), 0);
    node_start(&c.nodes[other]);
    node_started(&c.nodes[other]);
    node_start(&c.nodes[lost]);
    ck_assert_int_eq(node_end(&c.nodes[lost]), WEIR_STATE);
    ck_assert_ptr_nonnull(strstr(c.nodes[lost].err.text, "replace-jobmanager"));
    cluster_fini(&c);
}
END_TEST

/* What a candidate asks, with a term that makes whoever believes it a follower. */
static enum weir_rc ask_for_vote(struct node *to, struct weir_rpc_client *client, uint64_t to_id, uint64_t from, uint64_t incarnation, uint64_t term)
{
    struct weir_buf bytes = {0};
    struct weir_buf part = {0};
    Weir__Raft__RequestVote vote = WEIR__RAFT__REQUEST_VOTE__INIT;
    Weir__Raft__Message message = WEIR__RAFT__MESSAGE__INIT;
    Weir__Raft__Chunk chunk = WEIR__RAFT__CHUNK__INIT;
    Weir__Raft__RaftRequest request = WEIR__RAFT__RAFT_REQUEST__INIT;
    vote.term = term;
    vote.candidate_id = from;
    vote.last_log_index = 1000000;
    vote.last_log_term = term - 1;
    vote.disrupt_leader = true;
    message.body_case = WEIR__RAFT__MESSAGE__BODY_REQUEST_VOTE;
    message.request_vote = &vote;
    weir_pb_encode(&message.base, &bytes);
    chunk.number = term;
    chunk.message_bytes = bytes.len;
    chunk.bytes = weir_pb_bytes(weir_buf_slice(&bytes));
    weir_pb_encode(&chunk.base, &part);
    request.from = from;
    request.incarnation = incarnation;
    request.to = to_id;
    request.chunk = weir_pb_bytes(weir_buf_slice(&part));
    enum weir_rc rc = call_by(to->c, client, WEIR_METHOD_RAFT, &request.base, WAIT_MS);
    weir_buf_fini(&part);
    weir_buf_fini(&bytes);
    return rc;
}

/* As an empty JobManager there that waits to be let in. */
static enum weir_rc say_hello(struct node *to, struct weir_rpc_client *client, const char *address)
{
    char *text = (char *)(uintptr_t)address;
    Weir__Raft__HelloRequest hello = WEIR__RAFT__HELLO_REQUEST__INIT;
    hello.id = 4711;
    hello.incarnation = 4711;
    hello.rpc_address = text;
    hello.rest_address = text;
    hello.empty = true;
    return call_by(to->c, client, WEIR_METHOD_JM_HELLO, &hello.base, WAIT_MS);
}

/* Raft, and who is who, is a matter of JobManagers: of others nothing is believed. The same words of a JobManager are. _i: with certificates. */
START_TEST(who_is_no_jobmanager_has_no_say_among_them)
{
    enum { FAR = 1000000 }; /* no election comes there by itself */
    static const char here[] = "127.0.0.1:2";
    static const char wrong_here[] = "127.0.0.1:1";
    static const char *const roles[] = {WEIR_ROLE_TASKMANAGER, "client", WEIR_ROLE_JOBMANAGER /* but its certificate is a TaskManager's */};
    bool secured = _i == 1;
    struct cluster c;
    uint64_t epoch = 0;
    cluster_init_secured(&c, secured);
    struct node *node = &c.nodes[wait_for_leader(&c, &epoch)];
    const struct node *other = node == &c.nodes[0] ? &c.nodes[1] : &c.nodes[0];
    wait_until_role(node, node->address, WEIR_JM_ROLE_LEADER);
    wait_until_recorded(node, FOUNDERS);
    wait_until_role(node, other->address, WEIR_JM_ROLE_STANDBY);
    uint32_t candidate = member_at(&c, other->address);
    uint64_t from = c.view.members[candidate].id;
    uint64_t incarnation = c.incarnations[candidate];
    uint64_t to = c.view.members[member_at(&c, node->address)].id;
    for (uint32_t i = 0; i < (secured ? 3 : 2); i++) {
        const char *expected = i == 0    ? "only a JobManager"
                               : secured ? "certificate is for \"taskmanager\""
                                         : "serves TaskManagers and JobManagers only";
        struct weir_rpc_client *client = client_of(node, roles[i], c.tm_tls);
        ck_assert_int_eq(ask_for_vote(node, client, to, from, incarnation, epoch + UINT64_C(2) * FAR), WEIR_REFUSED);
        ck_assert_msg(strstr(c.call_text, expected) != NULL, "%s", c.call_text);
        ck_assert_int_eq(say_hello(node, client, wrong_here), WEIR_REFUSED);
        ck_assert_msg(strstr(c.call_text, expected) != NULL, "%s", c.call_text);
        weir_rpc_client_destroy(client);
    }
    struct weir_rpc_client *client = client_of(node, WEIR_ROLE_JOBMANAGER, c.jm_tls);
    Weir__Control__RegisterRequest request = WEIR__CONTROL__REGISTER_REQUEST__INIT;
    ck_assert_int_eq(call_by(&c, client, WEIR_METHOD_REGISTER, &request.base, WAIT_MS), WEIR_UNSUPPORTED);
    ck_assert_int_eq(say_hello(node, client, here), WEIR_OK);
    wait_until_role(node, here, WEIR_JM_ROLE_JOINING);
    ck_assert_uint_eq(member_at(&c, wrong_here), c.view.nmembers);
    ck_assert_int_eq(ask_for_vote(node, client, to, from, incarnation, epoch + FAR), WEIR_OK);
    weir_rpc_client_destroy(client);
    uint64_t before = epoch;
    epoch += FAR - 1;
    (void)wait_for_leader(&c, &epoch);
    ck_assert_uint_lt(epoch, before + UINT64_C(2) * FAR);
    cluster_fini(&c);
}
END_TEST

Suite *jm_cluster_suite(void);

Suite *jm_cluster_suite(void)
{
    Suite *suite = suite_create("jm_cluster");
    TCase *tcase = tcase_create("jm_cluster");
    tcase_add_test(tcase, a_job_survives_its_leaders);
    tcase_add_test(tcase, a_standby_sends_clients_to_the_leader);
    tcase_add_test(tcase, no_lease_without_a_majority);
    tcase_add_test(tcase, no_answer_without_a_majority);
    tcase_add_loop_test(tcase, one_is_replaced, 0, 3);
    tcase_add_test(tcase, a_lost_directory_is_known_without_a_leader);
    tcase_add_loop_test(tcase, who_is_no_jobmanager_has_no_say_among_them, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
