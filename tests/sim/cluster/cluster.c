#include "tests/sim/cluster/cluster.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/fs/fs_local.h"
#include "common/fs/fs_sim.h"
#include "jobmanager/jm.h"
#include "proto/plan_codec.h"
#include "taskmanager/tm.h"
#include "tests/sim/cluster/hooks.h"
#include "tests/sim/cluster/nemesis.h"
#include "tests/sim/cluster/outside.h"
#include "tests/sim/cluster/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MS INT64_C(1000000)

enum { LIVENESS_S = 30, JM_PORT = 6123, ANSWER_MS = 3000, LOOK_MS = 50, CALM_S_MAX = 1 };

static struct cluster {
    const struct weir_sim_case *what;
    struct weir_sim_result *result;
    struct weir_sim_cast cast;
    struct weir_sim_node *client;
    int64_t calm_ns; /* the faults end */
    uint32_t heartbeat_ms; /* the time-out */
    uint32_t fencing_ms;   /* 0: never */
    struct weir_sim_waiters idle; /* clients that have not submitted yet */
    struct client_job {
        struct weir_sim_job *job;
        bool submitted, canceled; /* answered */
        bool ended;               /* its terminal state is committed; it may expire */
    } jobs[WEIR_SIM_JOBS_MAX];
} cluster;

/* --- daemons ---------------------------------------------------------------------------------------------------------------- */

static void set(struct weir_config *config, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void set(struct weir_config *config, const char *key, const char *format, ...)
{
    char value[256];
    struct weir_error err;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(value, sizeof(value), format, args);
    va_end(args);
    enum weir_rc rc = weir_config_set(config, weir_slice_str(key), weir_slice_str(value), "sim", WEIR_SCOPE_DAEMON, &err);
    if (rc != WEIR_OK) {
        weir_sim_fail("%s", err.text);
    }
}

static struct weir_config *config_of(const struct weir_sim_node *node)
{
    struct weir_config *config = weir_config_create();
    const struct weir_sim_cast *cast = &cluster.cast;
    char list[256] = "";
    for (uint32_t i = 0; i < cast->njms; i++) {
        size_t len = strlen(list);
        (void)snprintf(list + len, sizeof(list) - len, "%s%s:%d", i == 0 ? "" : ",", cast->jms[i]->host, JM_PORT);
    }
    set(config, "cluster.jobmanagers", "%s", cast->njms == 1 ? "" : list);
    set(config, "jobmanager.rpc.address", "%s", node->jm != NULL || node->name[0] == 'j' ? node->host : cast->jms[0]->host);
    set(config, "jobmanager.rpc.port", "%d", JM_PORT);
    set(config, "jobmanager.data.dir", "/data");
    set(config, "heartbeat.interval", "%u ms", cluster.heartbeat_ms / 8);
    set(config, "heartbeat.timeout", "%u ms", cluster.heartbeat_ms);
    set(config, "cluster.fencing.timeout", "%u ms", cluster.fencing_ms);
    set(config, "taskmanager.host", "%s", node->host);
    set(config, "taskmanager.numberOfTaskSlots", "3");
    set(config, "taskmanager.tmp.dir", "/tmp");
    set(config, "state.checkpoints.dir", "/ckpt");
    return config;
}

/* A log of the process; nobody closes it when the process dies. */
static struct weir_log *log_of(const struct weir_sim_node *node, struct weir_log_sink **out_sink)
{
    int fd = cluster.what->trace_fd;
    *out_sink = weir_log_sink_create(fd, &node->log_clock, fd < 0 ? WEIR_LOG_ERROR : WEIR_LOG_INFO);
    struct weir_log *log = weir_log_create(*out_sink);
    struct weir_log *named = weir_log_bind(log, "node", node->name);
    weir_log_destroy(log);
    return named;
}

static void jm_main(struct weir_sim_node *node)
{
    struct weir_log_sink *sink = NULL;
    struct weir_error err = {.text = ""};
    struct weir_config *config = config_of(node);
    struct weir_log *log = log_of(node, &sink);
    const struct weir_jm_options options = {
        .config = config, .sink = sink, .log = log, .clock = weir_clock_real(), .fs = weir_fs_local_create(), .decode = weir_plan_decode};
    struct weir_jm *jm = NULL;
    node->disk_failed = false;
    enum weir_rc rc = weir_jm_create(&options, &jm, &err);
    if (rc == WEIR_OK) {
        node->jm = jm;
        rc = weir_jm_run(jm, 0, &err);
        node->jm = NULL;
        weir_jm_destroy(jm);
    }
    weir_sim_trace("%s: %s", node->name, rc == WEIR_OK ? "ends as it was told" : err.text);
    if (rc == WEIR_CORRUPT || ((rc == WEIR_IO || rc == WEIR_NOT_FOUND) && !node->disk_failed)) { /* it ends by itself, and its disk is well */
        weir_sim_fail("%s: %s", node->name, err.text);
    }
    weir_log_destroy(log);
    weir_log_sink_destroy(sink);
    weir_config_destroy(config);
}

static void tm_main(struct weir_sim_node *node)
{
    struct weir_log_sink *sink = NULL;
    struct weir_error err = {.text = ""};
    struct weir_tm *tm = NULL;
    enum weir_rc rc = weir_tm_create(config_of(node), sink, log_of(node, &sink), &tm, &err);
    if (rc == WEIR_OK) {
        weir_tm_run(tm, 0);
    }
    weir_sim_trace("%s: ends: %s", node->name, err.text);
}

static struct weir_sim_node *add_daemon(const char *kind, uint32_t i, void (*main)(struct weir_sim_node *node))
{
    char name[16];
    struct weir_error err;
    (void)snprintf(name, sizeof(name), "%s%u", kind, i + 1);
    struct weir_sim_node *node = weir_sim_node_add(name, main);
    enum weir_rc rc = weir_fs_mkdirs(node->disk, "/tmp", &err);
    weir_assert(rc == WEIR_OK);
    return node;
}

/* --- clients ------------------------------------------------------------------------------------------------------------------ */

/* A request to a JobManager's HTTP API, and its answer. Whoever gives up leaves it. */
struct request {
    struct client_job *of;
    struct weir_sim_node *jm;
    uint32_t incarnation;
    bool cancels;
    char *text;
    bool answered;
    enum weir_rc rc;
    char why[WEIR_ERROR_TEXT_MAX];
    struct weir_sim_waiters client;
};

static void answer_arrives(void *ctx)
{
    struct request *request = ctx;
    if (!weir_sim_link_is_cut(request->jm, cluster.client)) {
        request->answered = true;
        (void)weir_sim_wake_first(&request->client);
    }
}

static void on_done(void *ctx, enum weir_rc rc, const struct weir_error *err)
{
    struct request *request = ctx;
    request->rc = rc;
    (void)snprintf(request->why, sizeof(request->why), "%s", rc == WEIR_OK ? "" : err->text);
    weir_sim_after(weir_sim_latency_ns(request->jm, cluster.client), NULL, answer_arrives, request);
}

static void handle(void *ctx, void *arg)
{
    struct request *request = arg;
    (void)ctx;
    struct weir_jm *jm = request->jm->jm;
    struct weir_slice id = weir_slice_str(request->of->job->id);
    if (request->cancels) {
        weir_jm_cancel(jm, id, false, on_done, request);
    } else {
        weir_jm_submit(jm, id, weir_slice_str(request->text), weir_slice_str("job.yaml"), 0, on_done, request);
    }
}

static void drop(void *arg)
{
    (void)arg;
}

/* On a thread of the HTTP library. */
static void on_http(void *ctx)
{
    struct request *request = ctx;
    if (request->jm->jm != NULL) {
        (void)weir_jm_post(request->jm->jm, handle, drop, NULL, request);
    }
}

static void request_arrives(void *ctx)
{
    struct request *request = ctx;
    if (request->jm->power == WEIR_SIM_UP && !weir_sim_link_is_cut(cluster.client, request->jm)) {
        weir_sim_library(request->jm, on_http, request);
    }
}

/* Until a JobManager has answered that it is done. */
static void ask_until_done(struct client_job *of, bool cancels)
{
    for (;;) {
        struct request *request = weir_calloc(1, sizeof(*request));
        *request = (struct request){.of = of, .cancels = cancels, .jm = cluster.cast.jms[weir_sim_below(cluster.cast.njms)]};
        request->text = cancels ? NULL : weir_sim_job_text(of->job);
        weir_sim_after(weir_sim_latency_ns(cluster.client, request->jm), NULL, request_arrives, request);
        if (!weir_sim_wait_in(&request->client, weir_sim_now_ns() + ANSWER_MS * MS)) {
            continue;
        }
        weir_sim_trace("client: %s of job%u: %s %s", cancels ? "cancel" : "submit", of->job->number, weir_rc_name(request->rc), request->why);
        if (request->rc == WEIR_OK || (cancels && request->rc == WEIR_STATE)) {
            return;
        }
        if (request->rc == WEIR_INVALID || request->rc == WEIR_EXISTS || request->rc == WEIR_NOT_FOUND) {
            weir_sim_fail("job%u: %s", of->job->number, request->why);
            return;
        }
        weir_sim_sleep(weir_sim_between(5, 300) * MS);
    }
}

static void submit_now(void)
{
    (void)weir_sim_wake_first(&cluster.idle);
}

static void client(void *ctx)
{
    struct client_job *of = ctx;
    (void)weir_sim_wait_in(&cluster.idle, weir_sim_now_ns() + weir_sim_between(0, weir_sim_one_in(2) ? 6000 : 1500) * MS);
    ask_until_done(of, false);
    of->submitted = true;
    const struct weir_meta_job *job = weir_meta_job(weir_sim_truth(), weir_slice_str(of->job->id));
    if (job == NULL && !of->ended) {
        weir_sim_fail("job%u was accepted, and is in no log", of->job->number);
    }
    if (of->job->rows == 0) {
        weir_sim_sleep(cluster.calm_ns - weir_sim_now_ns() + weir_sim_between(-2000, 3000) * MS);
        ask_until_done(of, true);
        of->canceled = true;
    }
}

/* --- what is watched ------------------------------------------------------------------------------------------------------------ */

static struct client_job *job_of(const char *id)
{
    for (uint32_t i = 0; i < weir_sim_job_count(); i++) {
        if (strcmp(cluster.jobs[i].job->id, id) == 0) {
            return &cluster.jobs[i];
        }
    }
    return NULL;
}

static void check_states(void)
{
    for (uint32_t i = 0; i < weir_meta_job_count(weir_sim_truth()); i++) {
        const struct weir_meta_job *job = weir_meta_job_at(weir_sim_truth(), i);
        struct client_job *of = job_of(job->id);
        if (of != NULL && weir_meta_terminal(job->state)) {
            of->ended = true;
        }
        if (job->state == WEIR_META_FAILED || job->state == WEIR_META_FAILING) {
            weir_sim_fail("%s is failing: %s", job->name, job->text);
        } else if (job->state == WEIR_META_FINISHED && of != NULL) {
            weir_sim_job_check_end(of->job);
        } else if (job->state == WEIR_META_CANCELED && job->text[0] != '\0') {
            weir_sim_fail("%s was cancelled and left %s undrained", job->name, job->text);
        }
    }
}

static void on_change(enum weir_meta_change change, const struct weir_ha_record *record)
{
    (void)record;
    switch (change) {
    case WEIR_META_CKPT_COMPLETED:
        cluster.result->checkpoints++;
        weir_sim_hook_phase(WEIR_SIM_PHASE_COMPLETE);
        break;
    case WEIR_META_ATTEMPTED:
        cluster.result->restarts++;
        break;
    case WEIR_META_STATE_CHANGED:
        check_states();
        break;
    case WEIR_META_IGNORED:
    case WEIR_META_LED:
    case WEIR_META_SUBMITTED:
    case WEIR_META_DROPPED:
    case WEIR_META_MEMBER_CHANGED:
    case WEIR_META_BARRIER:
    case WEIR_META_CKPT_BEGUN:
    case WEIR_META_CKPT_ABORTED:
        break;
    }
}

static bool over(const struct client_job *of)
{
    return of->submitted && (of->job->rows != 0 || of->canceled) && of->ended;
}

static void watch(void *ctx)
{
    (void)ctx;
    for (;;) {
        bool all = weir_sim_now_ns() > cluster.calm_ns;
        for (uint32_t i = 0; i < weir_sim_job_count(); i++) {
            all &= over(&cluster.jobs[i]);
        }
        if (all) {
            weir_sim_stop();
        }
        for (uint32_t i = 0; !all && i < weir_sim_job_count(); i++) {
            const struct client_job *of = &cluster.jobs[i];
            if (weir_sim_now_ns() > cluster.calm_ns + LIVENESS_S * 1000 * MS && !over(of)) {
                const struct weir_meta_job *job = weir_meta_job(weir_sim_truth(), weir_slice_str(of->job->id));
                weir_sim_fail("job%u is not where it should be %d s after the last fault: submitted %d, state %d, attempt %u", of->job->number, LIVENESS_S, of->submitted,
                              job == NULL ? -1 : (int)job->state, job == NULL ? 0 : job->attempt);
            }
        }
        weir_sim_sleep(LOOK_MS * MS);
    }
}

/* --- a run ---------------------------------------------------------------------------------------------------------------------- */

static void add_jobs(int64_t calm_s)
{
    uint32_t count = 1 + (uint32_t)weir_sim_below(2);
    for (uint32_t i = 0; i < count; i++) {
        struct weir_sim_job *job = weir_sim_job_add();
        uint64_t kind = weir_sim_below(5);
        job->kind = kind < 2 ? WEIR_SIM_JOB_PASS : kind < 4 ? WEIR_SIM_JOB_WINDOW : WEIR_SIM_JOB_LOOSE;
        (void)snprintf(job->id, sizeof(job->id), "%08x%024" PRIx64, 0xabc00000 + i, weir_sim_options()->seed);
        job->parallelism = 1 + (uint32_t)weir_sim_below(3);
        job->rows_per_s = 50 + (uint32_t)weir_sim_below(200);
        job->interval_ms = 100 + (uint32_t)weir_sim_below(500);
        bool endless = job->kind == WEIR_SIM_JOB_PASS && weir_sim_one_in(2);
        job->rows = endless ? 0 : job->rows_per_s * (uint64_t)weir_sim_between(2, calm_s + 2);
        cluster.jobs[i].job = job;
        (void)weir_sim_spawn(NULL, "client", client, &cluster.jobs[i]);
        weir_sim_trace("job%u: kind %d, parallelism %u, %" PRIu64 " rows, %u a second, a checkpoint each %u ms", i, (int)job->kind, job->parallelism, job->rows,
                       job->rows_per_s, job->interval_ms);
    }
}

static void start(void *ctx)
{
    weir_sim_node_start(ctx);
}

static void add_machines(void)
{
    static const uint32_t jms[] = {1, 3, 3, 3, 5};
    struct weir_sim_cast *cast = &cluster.cast;
    cast->njms = cluster.what->jobmanagers != 0 ? cluster.what->jobmanagers : jms[weir_sim_below(sizeof(jms) / sizeof(jms[0]))];
    cast->ntms = 2 + (uint32_t)weir_sim_below(3);
    for (uint32_t i = 0; i < cast->njms; i++) {
        cast->jms[i] = add_daemon("jm", i, jm_main);
    }
    for (uint32_t i = 0; i < cast->ntms; i++) {
        cast->tms[i] = add_daemon("tm", i, tm_main);
    }
    cast->broker = weir_sim_node_add("kafka", NULL);
    cluster.client = weir_sim_node_add("client", NULL);
    cluster.client->power = WEIR_SIM_UP;
    weir_sim_outside_init(cast->broker);
    for (uint32_t i = 0; i < cast->njms + cast->ntms; i++) {
        weir_sim_after(weir_sim_between(0, 300) * MS, NULL, start, weir_sim_node_at(i));
    }
}

void weir_sim_cluster_run(const struct weir_sim_case *what, struct weir_sim_result *out_result)
{
    static const struct weir_sim_listener listener = {.on_phase = weir_sim_nemesis_phase, .on_change = on_change};
    struct weir_rand rand;
    weir_rand_init(&rand, what->seed ^ 0x9e3779b97f4a7c15);
    cluster = (struct cluster){.what = what, .result = out_result};
    *out_result = (struct weir_sim_result){0};
    weir_sim_world_init(&(struct weir_sim_options){
        .seed = what->seed,
        .trace_fd = what->trace_fd,
        .yield_one_in = weir_rand_below(&rand, 3) == 0 ? 0 : 10 + (uint32_t)weir_rand_below(&rand, 200),
        .latency_ns = 20000 + (int64_t)weir_rand_below(&rand, 500000),
        .disk_ns = 2000 + (int64_t)weir_rand_below(&rand, 60000),
    });
    weir_sim_fs_init();
    weir_sim_hooks_init(what->sabotage, &listener);
    cluster.heartbeat_ms = 400 + (uint32_t)weir_sim_below(1600);
    /* Mostly so short that a pause, a cut or an election too many meets it. */
    cluster.fencing_ms = weir_rand_below(&rand, 4) == 0 ? 0 : cluster.heartbeat_ms + 1 + (uint32_t)weir_rand_below(&rand, 3000);
    add_machines();
    int64_t calm_s = weir_sim_between(5, 14);
    cluster.calm_ns = weir_sim_now_ns() + calm_s * 1000 * MS;
    add_jobs(calm_s);
    weir_sim_nemesis_start(&cluster.cast, cluster.calm_ns, submit_now, &out_result->toll);
    (void)weir_sim_spawn(NULL, "watch", watch, NULL);
    weir_sim_run(INT64_MAX - 1);
    for (uint32_t i = 0; i < weir_sim_job_count(); i++) {
        out_result->rows += (uint32_t)cluster.jobs[i].job->visible;
    }
    out_result->ok = weir_sim_failure() == NULL;
    (void)snprintf(out_result->why, sizeof(out_result->why), "%s", out_result->ok ? "" : weir_sim_failure());
    out_result->steps = weir_sim_steps();
    out_result->virtual_ns = weir_sim_now_ns();
    out_result->leaders = weir_sim_leaders();
}
