#include "tests/sim/cluster/cluster.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/fs/fs_local.h"
#include "common/fs/fs_sim.h"
#include "jobmanager/jm.h"
#include "jobmanager/rest/rest_server.h"
#include "proto/plan_codec.h"
#include "taskmanager/tm.h"
#include "tests/sim/cluster/hooks.h"
#include "tests/sim/cluster/http.h"
#include "tests/sim/cluster/nemesis.h"
#include "tests/sim/cluster/outside.h"
#include "tests/sim/cluster/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MS INT64_C(1000000)

enum {
    LIVENESS_S = 45,
    JM_PORT = 6123,
    REST_PORT = 8081,
    ANSWER_MS = 3000,
    LOOK_MS = 50,
    SPARED_ONE_IN = 8,
    SLOW_ONE_IN = 32,
    SLOW_PACE_MIN = 60,
    SLOW_PACE_MAX = 140,
    SLOW_LIVENESS = 20,
    ADAPTIVE_ONE_IN = 4, /* odd seeds, which are not spared */
    EXPIRED_ONE_IN = 4,  /* seeds that are not adaptive; and others */
    EXPIRATION_MS_MIN = 1000,
    EXPIRATION_MS_MAX = 5000,
    HOLD_MS = 60000,     /* or the expiration: for so long an ended job is known, whatever clocks say */
    GROWN_S = 15,        /* and timeouts; a job that can have more slots is to have them by then */
    SLOTS = 3,           /* of a TaskManager: enough */
};

static struct cluster {
    const struct weir_sim_case *what;
    struct weir_sim_result *result;
    struct weir_sim_cast cast;
    struct weir_sim_node *client;
    int64_t calm_ns; /* the faults end */
    uint32_t pace;   /* everything takes so many times as long: hours in which little happens cost little */
    char founders[256];
    uint32_t heartbeat_ms; /* the time-out */
    uint32_t fencing_ms;   /* 0: never */
    struct { /* slots are few, and jobs go on with those that there are */
        bool on;
        uint32_t slots, stabilization_ms, interval_ms;
    } adaptive;
    int64_t expiration_ms; /* of ended jobs; 0: after all is over */
    int64_t clock_least_ms, clock_most_ms; /* by so much was a JobManager's clock wrong */
    bool spare_tasks; /* nothing happens that may make a task begin anew */
    struct weir_sim_waiters idle; /* clients that have not submitted yet */
    struct weir_sim_waiters content; /* and those that will cancel their job */
    bool replacing; /* a JobManager was lost for ever, and nobody has taken its place */
    bool moved; /* one has been replaced by one at another address */
    struct client_job {
        struct weir_sim_job *job;
        bool submitted, canceled; /* answered */
        bool cancels;             /* it was told to end, or is about to be */
        bool ran;                 /* all its tasks: one of its checkpoints is completed */
        uint32_t slots;           /* that its newest attempt has, drains aside */
        int64_t takes_ns;         /* to read its rows; 0: it is cancelled */
        int64_t waited_ns;        /* until when it had no slot while other jobs had some; 0: never */
        int64_t free_ns;          /* since when there are slots that it could grow by; 0: there are none */
        bool ended;               /* its terminal state is committed; it may expire */
        int64_t ended_ns;         /* since when, as its leader wrote */
        int64_t dropped_ns;       /* when its leader wrote that it is forgotten */
        bool accepted;            /* its submission is committed */
        bool forgotten, unknown;  /* it is dropped; and a leader has said that there is no such job */
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

static void list_add(char *list, size_t list_bytes, const struct weir_sim_node *jm)
{
    size_t len = strlen(list);
    (void)snprintf(list + len, list_bytes - len, "%s%s:%d", len == 0 ? "" : ",", jm->host, JM_PORT);
}

/* An election is to be over before TaskManagers are taken for lost. */
static uint32_t raft_pace(void)
{
    return cluster.pace > 20 ? 20 : cluster.pace;
}

static struct weir_config *config_of(const struct weir_sim_node *node)
{
    struct weir_config *config = weir_config_create();
    const struct weir_sim_cast *cast = &cluster.cast;
    char list[256] = "";
    for (uint32_t i = 0; i < cast->njms; i++) {
        list_add(list, sizeof(list), cast->jms[i]);
    }
    set(config, "cluster.jobmanagers", "%s", cast->njms == 1 ? "" : node->joins ? list : cluster.founders);
    set(config, "jobmanager.join", "%s", node->joins ? "true" : "false");
    set(config, "jobmanager.rpc.address", "%s", node->jm != NULL || node->name[0] == 'j' ? node->host : cast->jms[0]->host);
    set(config, "jobmanager.rpc.port", "%d", JM_PORT);
    set(config, "jobmanager.data.dir", "/data");
    set(config, "jobmanager.raft.election-timeout", "%u ms", 400 * raft_pace());
    set(config, "jobmanager.raft.heartbeat-interval", "%u ms", 40 * raft_pace());
    set(config, "rest.bind-address", "%s", node->host);
    set(config, "rest.port", "%d", REST_PORT);
    set(config, "heartbeat.interval", "%u ms", cluster.heartbeat_ms / 8);
    set(config, "heartbeat.timeout", "%u ms", cluster.heartbeat_ms);
    set(config, "cluster.fencing.timeout", "%u ms", cluster.fencing_ms);
    set(config, "taskmanager.host", "%s", node->host);
    set(config, "taskmanager.numberOfTaskSlots", "%u", cluster.adaptive.on ? cluster.adaptive.slots : SLOTS);
    if (cluster.adaptive.on) {
        set(config, "jobmanager.scheduler", "adaptive");
        set(config, "jobmanager.adaptive-scheduler.resource-wait-timeout", "%u s", 10 * LIVENESS_S * cluster.pace); /* jobs may stand in a queue */
        set(config, "jobmanager.adaptive-scheduler.resource-stabilization-timeout", "%u ms", cluster.adaptive.stabilization_ms);
        set(config, "jobmanager.adaptive-scheduler.scaling-interval.min", "%u ms", cluster.adaptive.interval_ms);
    }
    if (cluster.expiration_ms != 0) {
        set(config, "jobstore.expiration-time", "%" PRId64 " ms", cluster.expiration_ms);
    }
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
    struct weir_rest *rest = NULL;
    enum weir_rc rc = weir_jm_create(&options, &jm, &err);
    rc = rc == WEIR_OK ? weir_rest_start(jm, config, log, &rest, &err) : rc;
    if (rc == WEIR_OK) {
        char address[64];
        (void)snprintf(address, sizeof(address), "%s:%d", node->host, REST_PORT);
        weir_jm_set_rest_address(jm, address);
        node->jm = jm;
        rc = weir_jm_run(jm, 0, &err);
        node->jm = NULL;
    }
    weir_rest_stop(rest);
    weir_jm_destroy(jm);
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

/* Whether an answer ends the asking; the others come from those who do not lead, or do not know yet. */
typedef bool is_final_fn(unsigned status);

static bool final_word(unsigned status)
{
    return status < 500;
}

/* One question, at this address, or at any JobManager where it is empty. False: there was no answer. */
static bool ask(char address[64], const struct weir_sim_http_question *question, const char *what, struct weir_sim_http_answer *out_answer)
{
    if (address[0] == '\0') {
        const struct weir_sim_node *jm = cluster.cast.jms[weir_sim_below(cluster.cast.njms)];
        (void)snprintf(address, 64, "%s:%d", jm->host, REST_PORT);
    }
    bool answered = weir_sim_http_ask(cluster.client, address, question, ANSWER_MS * MS, out_answer);
    weir_sim_trace("client: %s, at %s: %u %s", what, address, answered ? out_answer->status : 0, answered ? out_answer->text : "");
    return answered;
}

/* Until a JobManager has given a final answer, any of them first and then where it sends to. */
static void ask_until(const struct weir_sim_http_question *question, is_final_fn *is_final, const char *what, struct weir_sim_http_answer *out_answer)
{
    char address[64] = "";
    for (;;) {
        bool answered = ask(address, question, what, out_answer);
        address[0] = '\0';
        if (answered && out_answer->status == 307) {
            (void)snprintf(address, sizeof(address), "%s", out_answer->elsewhere);
            weir_sim_sleep(weir_sim_between(0, 20) * MS);
        } else if (answered && is_final(out_answer->status)) {
            return;
        } else if (answered) {
            weir_sim_sleep(weir_sim_between(5, 300) * MS);
        }
    }
}

static void submit(const struct client_job *of)
{
    struct weir_sim_http_answer answer;
    const struct weir_sim_http_question question = {.method = "POST", .path = "/jobs", .queries = {{"jobid", of->job->id}, {"name", "job.yaml"}},
                                                    .content_type = "application/yaml", .body = weir_sim_job_text(of->job)};
    ask_until(&question, final_word, "submit", &answer);
    if (answer.status != 202 && !of->forgotten) {
        weir_sim_fail("job%u: %u %s", of->job->number, answer.status, answer.text);
    }
}

static void cancel(const struct client_job *of)
{
    struct weir_sim_http_answer answer;
    char *path = weir_strfmt("/jobs/%s", of->job->id); /* owned by the request for ever */
    const struct weir_sim_http_question question = {.method = "PATCH", .path = path, .queries = {{"mode", "cancel"}}};
    ask_until(&question, final_word, "cancel", &answer);
    if (answer.status != 202 && answer.status != 409 && !(answer.status == 404 && of->forgotten)) {
        weir_sim_fail("job%u: %u %s", of->job->number, answer.status, answer.text);
    }
}

/* --- a JobManager that is lost for ever ------------------------------------------------------------------------------------- */

struct replacement {
    struct weir_sim_node *fresh;
    uint64_t old_id; /* 0: no leader had heard of it */
    char old_address[48], new_address[48];
};

static uint64_t id_at(const char *address)
{
    for (uint32_t i = 0; i < weir_meta_member_count(weir_sim_truth()); i++) {
        const struct weir_meta_member *member = weir_meta_member_at(weir_sim_truth(), i);
        if (!member->removed && strcmp(member->rpc_address, address) == 0) {
            return member->id;
        }
    }
    return 0;
}

static bool any_word(unsigned status)
{
    return status != 0;
}

/* Whoever runs the cluster: starts the new one, and says the command until it is done. */
static void operator_main(void *ctx)
{
    struct replacement *r = ctx;
    struct weir_sim_http_answer answer;
    weir_sim_sleep(weir_sim_between(0, 1000) * MS);
    weir_sim_node_start(r->fresh);
    const struct weir_sim_http_question question = {
        .method = "POST",
        .path = "/cluster/jobmanagers/replace",
        .content_type = "application/json",
        .body = weir_strfmt("{\"old\": \"%s\", \"new\": \"%s\"}", r->old_address, r->new_address),
    };
    for (bool done = false; !done;) {
        ask_until(&question, any_word, "replace", &answer);
        uint64_t id = id_at(r->new_address);
        bool listed = id != 0 && id != r->old_id && (r->old_id == 0 || id_at(r->old_address) != r->old_id);
        done = answer.status == 200;
        if (answer.status == 400) {
            weir_sim_fail("replacing %s by %s: %s", r->old_address, r->new_address, answer.text);
        }
        if (answer.status == 200 && !listed) {
            weir_sim_fail("%s was replaced by %s, says the answer, and the table does not have it", r->old_address, r->new_address);
        }
        weir_sim_sleep(weir_sim_between(50, 500) * MS);
    }
    weir_sim_trace("%s has taken the place of %s", r->new_address, r->old_address);
    bool listed = strstr(cluster.founders, r->new_address) != NULL;
    r->fresh->joins = !listed || weir_sim_one_in(2); /* its configuration may stay as it is */
    cluster.replacing = false;
    weir_free(r);
}

static bool may_lose_jm(void)
{
    return cluster.cast.njms >= 3 && !cluster.replacing;
}

static void lose_jm(struct weir_sim_node *jm)
{
    struct replacement *r = weir_calloc(1, sizeof(*r));
    struct weir_error err;
    weir_sim_node_kill(jm, weir_sim_one_in(2));
    cluster.replacing = true;
    r->fresh = jm;
    (void)snprintf(r->old_address, sizeof(r->old_address), "%s:%d", jm->host, JM_PORT);
    r->old_id = id_at(r->old_address);
    if (!cluster.moved && weir_sim_one_in(2)) { /* another machine; where the founders were is all that the others are told */
        cluster.moved = jm->scrapped = true;
        r->fresh = add_daemon("jm", cluster.cast.njms, jm_main);
        for (uint32_t i = 0; i < cluster.cast.njms; i++) {
            cluster.cast.jms[i] = cluster.cast.jms[i] == jm ? r->fresh : cluster.cast.jms[i];
        }
    } else {
        jm->disk = weir_fs_sim_create();
        enum weir_rc rc = weir_fs_mkdirs(jm->disk, "/tmp", &err);
        weir_assert(rc == WEIR_OK);
    }
    r->fresh->joins = true;
    (void)snprintf(r->new_address, sizeof(r->new_address), "%s:%d", r->fresh->host, JM_PORT);
    (void)weir_sim_spawn(NULL, "operator", operator_main, r);
}

/* --- a client --------------------------------------------------------------------------------------------------------------- */

static void submit_now(void)
{
    (void)weir_sim_wake_first(&cluster.idle);
}

static void cancel_now(void)
{
    (void)weir_sim_wake_first(&cluster.content);
}

/* Again and again; and then nobody knows the job. */
static void repeat(void *ctx)
{
    struct client_job *of = ctx;
    struct weir_sim_http_answer answer;
    char *path = weir_strfmt("/jobs/%s", of->job->id); /* owned by the request for ever */
    const struct weir_sim_http_question question = {.method = "GET", .path = path};
    while (!of->forgotten) {
        int64_t ms = weir_sim_between(50, 1500);
        weir_sim_sleep((ms < cluster.expiration_ms / 3 ? ms : cluster.expiration_ms / 3) * cluster.pace * MS);
        submit(of);
    }
    ask_until(&question, final_word, "look", &answer);
    if (answer.status != 404) {
        weir_sim_fail("job%u is forgotten, and the answer is %u %s", of->job->number, answer.status, answer.text);
    }
    of->unknown = true;
}

/* What the answer says of a job is at least as new as what was committed when the question was asked. */
static void check_newness(const struct client_job *of, const struct client_job *then, const struct weir_sim_http_answer *answer)
{
    bool over = strstr(answer->text, "\"FINISHED\"") != NULL || strstr(answer->text, "\"CANCELED\"") != NULL || strstr(answer->text, "\"FAILED\"") != NULL;
    bool past = (answer->status == 404 && then->accepted && !of->forgotten) || (answer->status == 200 && (then->forgotten || (then->ended && !over)));
    if (past) {
        weir_sim_fail("an answer from the past: job%u is %s, and the answer is %u %s", of->job->number,
                      then->forgotten ? "forgotten" : then->ended ? "over" : "accepted", answer->status, answer->text);
    }
}

/* Whoever answers, also one that led before and does not know it yet. */
static void look_on(void *ctx)
{
    const struct client_job *of = ctx;
    struct weir_sim_http_answer answer;
    char *path = weir_strfmt("/jobs/%s/status", of->job->id); /* owned by the request for ever */
    const struct weir_sim_http_question question = {.method = "GET", .path = path};
    for (;;) {
        char address[64] = "";
        const struct client_job then = *of;
        if (ask(address, &question, "status", &answer)) {
            check_newness(of, &then, &answer);
        }
        weir_sim_sleep(weir_sim_between(10, 400) * cluster.pace * MS);
    }
}

static void client(void *ctx)
{
    struct client_job *of = ctx;
    (void)weir_sim_wait_in(&cluster.idle, weir_sim_now_ns() + weir_sim_between(0, weir_sim_one_in(2) ? 6000 : 1500) * MS);
    (void)weir_sim_spawn(NULL, "look", look_on, of);
    submit(of);
    of->submitted = true;
    const struct weir_meta_job *job = weir_meta_job(weir_sim_truth(), weir_slice_str(of->job->id));
    if (job == NULL && !of->forgotten) {
        weir_sim_fail("job%u was accepted, and is in no log", of->job->number);
    }
    if (cluster.expiration_ms != 0) {
        (void)weir_sim_spawn(NULL, "repeat", repeat, of);
    } else if (weir_sim_one_in(3)) { /* a client that does not know that it was heard */
        weir_sim_sleep(weir_sim_between(0, 1500) * MS);
        submit(of);
    }
    if (of->job->rows == 0) {
        (void)weir_sim_wait_in(&cluster.content, cluster.calm_ns + weir_sim_between(-2000, 3000) * MS);
        of->cancels = true;
        cancel(of);
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
        if (of == NULL) {
            weir_sim_fail("job %s is there, and nobody has submitted it", job->id);
            return;
        }
        if (weir_meta_terminal(job->state)) {
            of->ended = true;
            weir_sim_job_over(of->job);
        }
        if (job->state == WEIR_META_FAILED || job->state == WEIR_META_FAILING) {
            weir_sim_fail("%s is failing: %s", job->name, job->text);
        } else if (job->state == WEIR_META_FINISHED) {
            weir_sim_job_check_end(of->job);
        } else if ((job->state == WEIR_META_CANCELED || job->state == WEIR_META_CANCELLING) && !of->cancels) {
            weir_sim_fail("%s was cancelled, and nobody has said so", job->name);
        } else if (job->state == WEIR_META_CANCELED && job->text[0] != '\0') {
            weir_sim_fail("%s was cancelled and left %s undrained", job->name, job->text);
        }
    }
}

/* A job that ran runs on, whoever leads. */
static void check_attempt(const char *job_id)
{
    const struct client_job *of = job_of(job_id);
    const struct weir_meta_job *job = weir_meta_job(weir_sim_truth(), weir_slice_str(job_id));
    if (cluster.spare_tasks && of != NULL && of->ran && job != NULL && job->state == WEIR_META_LIVE) {
        weir_sim_fail("attempt %u of job%u begins, and nothing has happened that ends a task", job->attempt, of->job->number);
    }
}

static void note_slots(const struct weir_meta_job *job)
{
    struct client_job *of = job == NULL ? NULL : job_of(job->id);
    if (of == NULL) {
        return;
    }
    if (job->drain_of != 0) {
        if (cluster.adaptive.on && job->state == WEIR_META_LIVE) {
            weir_sim_hook_phase(WEIR_SIM_PHASE_DRAIN);
        }
        return;
    }
    uint32_t asked = of->job->parallelism;
    uint32_t slots = job->parallelism_max != 0 && job->parallelism_max < asked ? job->parallelism_max : asked;
    if (slots < asked && !cluster.adaptive.on) {
        weir_sim_fail("job%u is to have a parallelism of %u, and asks for %u", of->job->number, slots, asked);
    }
    uint32_t had = of->slots;
    of->slots = slots;
    if (had != 0 && had != slots) {
        cluster.result->shrunk += slots < had;
        cluster.result->grown += slots > had;
        weir_sim_trace("job%u: parallelism %u, it had %u", of->job->number, slots, had);
        weir_sim_hook_phase(WEIR_SIM_PHASE_RESCALE);
    }
}

/* Of JobManagers, now and before. */
static void note_clocks(void)
{
    for (uint32_t i = 0; i < cluster.cast.njms; i++) {
        int64_t wrong_ms = cluster.cast.jms[i]->clock.wall_offset_ms;
        cluster.clock_least_ms = wrong_ms < cluster.clock_least_ms ? wrong_ms : cluster.clock_least_ms;
        cluster.clock_most_ms = wrong_ms > cluster.clock_most_ms ? wrong_ms : cluster.clock_most_ms;
    }
}

static void check_forgotten(struct client_job *of, int64_t dropped_ns)
{
    note_clocks();
    int64_t sure_ms = cluster.expiration_ms < HOLD_MS ? cluster.expiration_ms : HOLD_MS;
    int64_t rightly_ms = cluster.expiration_ms - (cluster.clock_most_ms - cluster.clock_least_ms);
    int64_t least_ms = sure_ms > rightly_ms ? sure_ms : rightly_ms;
    if (!of->ended || cluster.expiration_ms == 0) {
        weir_sim_fail("job%u is forgotten, and is not over or not to be forgotten", of->job->number);
    } else if (dropped_ns - of->ended_ns < (least_ms - 2) * MS) { /* clocks have milliseconds, and there are two */
        weir_sim_fail("job%u is forgotten %" PRId64 " ms after its end, and should be known for %" PRId64 " ms", of->job->number,
                      (dropped_ns - of->ended_ns) / MS, least_ms);
    }
    of->forgotten = true;
    of->dropped_ns = dropped_ns;
    cluster.result->forgotten++;
}

static void on_change(enum weir_meta_change change, const struct weir_ha_record *record, const struct weir_sim_written *written)
{
    struct client_job *of = NULL;
    switch (change) {
    case WEIR_META_CKPT_COMPLETED:
        of = job_of(record->job_id);
        if (of != NULL) {
            of->ran = true;
        }
        cluster.result->checkpoints++;
        weir_sim_hook_phase(WEIR_SIM_PHASE_COMPLETE);
        break;
    case WEIR_META_ATTEMPTED:
        cluster.result->restarts++;
        check_attempt(record->job_id);
        note_slots(weir_meta_job(weir_sim_truth(), weir_slice_str(record->job_id)));
        break;
    case WEIR_META_SUBMITTED:
        of = job_of(record->job_id);
        if (of != NULL && of->accepted) {
            weir_sim_fail("job%u is started a second time", of->job->number);
        }
        if (of != NULL) {
            of->accepted = true;
        }
        check_states();
        break;
    case WEIR_META_STATE_CHANGED:
        of = job_of(record->job_id);
        if (of != NULL && !of->ended) {
            of->ended_ns = written == NULL ? weir_sim_now_ns() : written->least_ns;
        }
        check_states();
        break;
    case WEIR_META_DROPPED:
        of = job_of(record->job_id);
        if (of != NULL) {
            check_forgotten(of, written == NULL ? weir_sim_now_ns() : written->ns);
        }
        break;
    case WEIR_META_IGNORED:
    case WEIR_META_LED:
    case WEIR_META_MEMBER_CHANGED:
    case WEIR_META_CKPT_BEGUN:
    case WEIR_META_CKPT_ABORTED:
        break;
    }
}

static bool over(const struct client_job *of)
{
    return of->submitted && (of->job->rows != 0 || of->canceled) && of->ended && (cluster.expiration_ms == 0 || of->unknown);
}

static int64_t liveness_ns(void)
{
    return LIVENESS_S * (cluster.pace == 1 ? 1 : SLOW_LIVENESS) * 1000 * MS;
}

/* Jobs may stand in a queue for few slots, or be kept by slow recoveries from the rows until then, and read them all; not for longer than all of them
 * take one behind the other. */
static int64_t due_ns(const struct client_job *of)
{
    int64_t last_ns = cluster.calm_ns;
    int64_t known_ns = cluster.expiration_ms == 0 ? 0 : (cluster.expiration_ms + cluster.clock_most_ms - cluster.clock_least_ms) * MS;
    if (of->ended && known_ns != 0) {
        return (of->ended_ns > cluster.calm_ns ? of->ended_ns : cluster.calm_ns) + known_ns + liveness_ns();
    }
    for (uint32_t i = 0; i < weir_sim_job_count(); i++) {
        last_ns += cluster.jobs[i].takes_ns + liveness_ns();
    }
    int64_t from_ns = of->waited_ns > cluster.calm_ns ? of->waited_ns : cluster.calm_ns;
    int64_t due_ns = from_ns + (cluster.adaptive.on || cluster.pace > 1 ? of->takes_ns : 0) + liveness_ns();
    return due_ns < last_ns ? due_ns : last_ns;
}

/* Without faults, a job that runs with fewer slots than it asks for takes those that are free. */
static void watch_slots(void)
{
    uint32_t free_slots = cluster.adaptive.slots * cluster.cast.ntms;
    uint32_t capacity = free_slots;
    uint32_t total = 0; /* more than there are: the newest attempt of one of them is over, and it waits */
    bool others = false;
    for (uint32_t i = 0; i < weir_sim_job_count(); i++) {
        const struct client_job *of = &cluster.jobs[i];
        uint32_t used = of->ended ? 0 : of->slots;
        free_slots -= used < free_slots ? used : free_slots;
        others |= used > 0;
        total += used;
    }
    int64_t wait_ns = (GROWN_S * 1000 * (int64_t)cluster.pace + cluster.adaptive.stabilization_ms + cluster.adaptive.interval_ms + cluster.heartbeat_ms +
                       WEIR_SIM_CALL_MS_MAX /* a drain may be in a call that was begun among faults */) * MS;
    for (uint32_t i = 0; i < weir_sim_job_count(); i++) {
        struct client_job *of = &cluster.jobs[i];
        bool below = of->slots > 0 && of->slots < of->job->parallelism && free_slots > 0 && !of->ended && weir_sim_now_ns() > cluster.calm_ns;
        of->waited_ns = (of->slots == 0 && others) || total > capacity ? weir_sim_now_ns() : of->waited_ns;
        of->free_ns = !below ? 0 : of->free_ns == 0 ? weir_sim_now_ns() : of->free_ns;
        if (of->free_ns != 0 && weir_sim_now_ns() - of->free_ns > wait_ns + 3 * MS * of->job->interval_ms) {
            weir_sim_fail("job%u has a parallelism of %u, asks for %u, and does not grow into %u free slots", of->job->number, of->slots, of->job->parallelism,
                          free_slots);
        }
    }
}

struct unswept {
    const struct client_job *of;
    const char *dir;
    struct weir_buf *out_left;
};

static void count_name(void *ctx, const char *name, bool is_dir)
{
    (void)name;
    (void)is_dir;
    (*(uint32_t *)ctx)++;
}

/* What is made for a job that has ended meanwhile, by a task that outlived it or a JobManager that was away and leads no more, is empty, and goes when the job
 * expires. */
static bool goes_later(const struct unswept *unswept, const char *name)
{
    struct weir_error err;
    uint32_t inside = 0;
    bool is_log = strcmp(name, "log") == 0;
    bool late = !unswept->of->forgotten && weir_sim_hook_made_ns(unswept->of->job->id) > unswept->of->ended_ns;
    if (is_log || !late || strncmp(name, "chk-", 4) != 0) {
        return is_log;
    }
    char *path = weir_strfmt("%s/%s", unswept->dir, name);
    enum weir_rc rc = weir_fs_list(weir_sim_store()->disk, path, count_name, &inside, &err);
    weir_free(path);
    return rc == WEIR_OK && inside == 0;
}

static void add_name(void *ctx, const char *name, bool is_dir)
{
    const struct unswept *unswept = ctx;
    if (!is_dir || !goes_later(unswept, name)) {
        weir_buf_put_fmt(unswept->out_left, " %s", name);
    }
}

/* Nothing of a job is left once it is forgotten, but what a task makes that outlives even that, and names whose removal the store loses with the site's power:
 * nobody knows then that they were a job's. */
static bool may_leave(const struct client_job *of)
{
    return of->forgotten && (weir_sim_hook_made_ns(of->job->id) > of->dropped_ns || cluster.result->toll.site_ns > of->ended_ns);
}

/* What a job kept in the checkpoint store goes with it. */
static void find_unswept(struct weir_buf *out_left)
{
    for (uint32_t i = 0; i < weir_sim_job_count(); i++) {
        char dir[64];
        struct weir_error err;
        if (may_leave(&cluster.jobs[i])) {
            continue;
        }
        struct unswept unswept = {.of = &cluster.jobs[i], .dir = dir, .out_left = out_left};
        (void)snprintf(dir, sizeof(dir), "/ckpt/%s", cluster.jobs[i].job->id);
        enum weir_rc rc = weir_fs_list(weir_sim_store()->disk, dir, add_name, &unswept, &err);
        if (rc == WEIR_OK && cluster.jobs[i].forgotten) {
            weir_buf_put_fmt(out_left, " %s", dir);
        }
        (void)snprintf(dir, sizeof(dir), "/ckpt/%s/log", cluster.jobs[i].job->id);
        rc = rc == WEIR_OK ? weir_fs_list(weir_sim_store()->disk, dir, add_name, &unswept, &err) : rc;
        weir_assert(rc == WEIR_OK || rc == WEIR_NOT_FOUND);
    }
}

static void watch(void *ctx)
{
    (void)ctx;
    for (int64_t over_ns = 0;;) {
        note_clocks();
        bool all = weir_sim_now_ns() > cluster.calm_ns && !cluster.replacing;
        for (uint32_t i = 0; i < weir_sim_job_count(); i++) {
            all &= over(&cluster.jobs[i]);
        }
        over_ns = all && over_ns == 0 ? weir_sim_now_ns() : over_ns;
        struct weir_buf left = {0};
        if (all) {
            find_unswept(&left);
        }
        if (all && left.len == 0) {
            weir_sim_stop();
        } else if (all && weir_sim_now_ns() > over_ns + liveness_ns()) {
            weir_sim_fail("all jobs are over, and there are still files of theirs in the checkpoint store:%.*s", (int)left.len, (const char *)left.data);
        }
        weir_buf_fini(&left);
        if (cluster.adaptive.on) {
            watch_slots();
        }
        if (cluster.replacing && weir_sim_now_ns() > cluster.calm_ns + liveness_ns()) {
            weir_sim_fail("the JobManager that was lost has no successor long after the last fault");
        }
        for (uint32_t i = 0; !all && i < weir_sim_job_count(); i++) {
            const struct client_job *of = &cluster.jobs[i];
            if (weir_sim_now_ns() > due_ns(of) && !over(of)) {
                const struct weir_meta_job *job = weir_meta_job(weir_sim_truth(), weir_slice_str(of->job->id));
                weir_sim_fail("job%u is not where it should be long after the last fault: submitted %d, %sstate %d, attempt %u", of->job->number, of->submitted,
                              of->forgotten ? "forgotten, " : of->ended && cluster.expiration_ms != 0 ? "over and not forgotten, " : "", job == NULL ? -1 : (int)job->state, job == NULL ? 0 : job->attempt);
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
        job->parallelism = cluster.adaptive.on ? (uint32_t)weir_sim_between(2, 4) : 1 + (uint32_t)weir_sim_below(3);
        job->rows_per_s = 1 + (50 + (uint32_t)weir_sim_below(200)) / cluster.pace;
        job->interval_ms = (100 + (uint32_t)weir_sim_below(500)) * cluster.pace;
        bool endless = job->kind == WEIR_SIM_JOB_PASS && weir_sim_one_in(2);
        bool soon = cluster.expiration_ms != 0 && i == 0; /* to be forgotten among faults */
        int64_t runs_s = endless ? 0 : soon ? weir_sim_between(2, 4) * cluster.pace
                                            : weir_sim_between(2, calm_s + (cluster.adaptive.on ? 2 * GROWN_S * cluster.pace : 2));
        job->rows = job->rows_per_s * (uint64_t)runs_s;
        cluster.jobs[i].takes_ns = runs_s * 1000 * MS;
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
        list_add(cluster.founders, sizeof(cluster.founders), cast->jms[i]);
    }
    for (uint32_t i = 0; i < cast->ntms; i++) {
        cast->tms[i] = add_daemon("tm", i, tm_main);
    }
    cast->broker = weir_sim_node_add("kafka", NULL);
    cluster.client = weir_sim_node_add("client", NULL);
    cluster.client->power = WEIR_SIM_UP;
    weir_sim_outside_init(cast->broker);
    weir_sim_outside_hang(!cluster.spare_tasks);
    for (uint32_t i = 0; i < cast->njms + cast->ntms; i++) {
        weir_sim_after(weir_sim_between(0, 300) * MS, NULL, start, weir_sim_node_at(i));
    }
}

static void make_adaptive(void)
{
    cluster.adaptive.on = cluster.what->seed % ADAPTIVE_ONE_IN == 1;
    if (cluster.adaptive.on) {
        cluster.adaptive.slots = 1 + (uint32_t)weir_sim_below(2);
        cluster.adaptive.stabilization_ms = (uint32_t)weir_sim_between(0, weir_sim_one_in(2) ? 200 : 1500) * cluster.pace;
        cluster.adaptive.interval_ms = (uint32_t)weir_sim_between(0, 2000) * cluster.pace;
    }
}

static void make_expire(void)
{
    uint64_t seed = cluster.what->seed;
    if (seed % EXPIRED_ONE_IN == 2 || seed % (2 * SPARED_ONE_IN) == SPARED_ONE_IN || cluster.pace > 1) {
        cluster.expiration_ms = weir_sim_between(EXPIRATION_MS_MIN, EXPIRATION_MS_MAX) * cluster.pace;
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
    weir_sim_hooks_init(what->sabotage, what->files_unchecked, &listener);
    cluster.spare_tasks = what->seed % SPARED_ONE_IN == 0;
    /* A leader that is cut off from everybody gives its leadership up before it takes TaskManagers for lost. */
    cluster.pace = what->seed % SLOW_ONE_IN == SLOW_ONE_IN - 1 ? (uint32_t)weir_sim_between(SLOW_PACE_MIN, SLOW_PACE_MAX) : 1;
    if (cluster.pace > 1) {
        weir_sim_hook_may_expel();
    }
    cluster.heartbeat_ms = ((cluster.spare_tasks ? 1200 : 400) + (uint32_t)weir_sim_below(1600)) * cluster.pace;
    /* Mostly so short that a pause, a cut or an election too many meets it. */
    cluster.fencing_ms = weir_rand_below(&rand, 4) == 0 ? 0 : cluster.heartbeat_ms + 1 + (uint32_t)weir_rand_below(&rand, 3000) * cluster.pace;
    make_adaptive();
    make_expire();
    add_machines();
    int64_t calm_s = weir_sim_between(5, 14) * cluster.pace;
    cluster.calm_ns = weir_sim_now_ns() + calm_s * 1000 * MS;
    add_jobs(calm_s);
    uint64_t adaptive = (what->seed + ADAPTIVE_ONE_IN - 1) / ADAPTIVE_ONE_IN; /* seeds up to this one */
    weir_sim_nemesis_start(&(struct weir_sim_nemesis_options){.cast = &cluster.cast,
                                                              .pace = cluster.pace,
                                                              .until_ns = cluster.calm_ns,
                                                              .adaptive = cluster.adaptive.on,
                                                              .nth = cluster.adaptive.on ? adaptive : what->seed - adaptive,
                                                              .nth_of_all = what->seed / EXPIRED_ONE_IN,
                                                              .expires = cluster.expiration_ms != 0,
                                                              /* Where jobs expire soon, later and not for hours. */
                                                              .jump_ms_max = cluster.expiration_ms == 0 || cluster.pace > 1 ? 3600000 : 2 * EXPIRATION_MS_MAX,
                                                              .spare_tasks = cluster.spare_tasks,
                                                              .submit_now = submit_now,
                                                              .cancel_now = cancel_now,
                                                              .may_lose_jm = may_lose_jm,
                                                              .lose_jm = lose_jm,
                                                              .toll = &out_result->toll});
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
