#include "common/base/assert.h"
#include "common/base/buf.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/net/http_server.h"
#include "jobmanager/rest/rest_cluster.h"
#include "jobmanager/rest/rest_job.h"
#include "jobmanager/rest/rest_metrics.h"
#include "jobmanager/rest/rest_request.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { EXCEPTIONS_MAX = 16, LOG_LINES_DEFAULT = 1000 };

/* --- views ---------------------------------------------------------------------------------------------------------- */

struct views {
    struct weir_job_view *jobs;
    struct weir_tm_view *tms;
    struct weir_rest_cluster cluster;
    struct weir_rest_world world;
};

static void views_init(struct views *views, struct weir_jm *jm)
{
    uint32_t njobs = weir_jm_job_count(jm);
    uint32_t ntms = weir_jm_tm_count(jm);
    views->jobs = weir_calloc(njobs + 1, sizeof(*views->jobs));
    views->tms = weir_calloc(ntms + 1, sizeof(*views->tms));
    for (uint32_t i = 0; i < njobs; i++) {
        weir_jm_job_view(jm, i, &views->jobs[i]);
    }
    for (uint32_t i = 0; i < ntms; i++) {
        weir_jm_tm_view(jm, i, &views->tms[i]);
    }
    views->cluster = (struct weir_rest_cluster){.jobs = views->jobs, .njobs = njobs, .tms = views->tms, .ntms = ntms};
    views->world = (struct weir_rest_world){.now_ms = weir_clock_wall_ms(weir_jm_clock(jm)), .tms = views->tms, .ntms = ntms};
}

static void views_fini(struct views *views)
{
    weir_free(views->jobs);
    weir_free(views->tms);
}

/* The job that the path names; false: answered with 404. */
static bool find_job(struct weir_rest_request *request, struct weir_job_view *out_job)
{
    const char *name = request->params.text[0];
    if (weir_jm_job_find(request->jm, weir_slice_str(name), out_job)) {
        return true;
    }
    char text[WEIR_ROUTE_PARAM_BYTES_MAX + 32];
    (void)snprintf(text, sizeof(text), "Job %s not found", name);
    weir_rest_reply_errors(request, 404, text);
    return false;
}

/* A query parameter that must be a number from 0 to max; fallback when it is not given. False: answered with 400. */
static bool query_number(struct weir_rest_request *request, const char *name, uint32_t fallback, uint32_t max, uint32_t *out_number)
{
    const char *text = weir_http_request_query(request->http, name);
    *out_number = fallback;
    if (text == NULL) {
        return true;
    }
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number > max) {
        char message[128];
        (void)snprintf(message, sizeof(message), "%s=%.32s: expected a number from 0 to %u", name, text, (unsigned)max);
        weir_rest_reply_errors(request, 400, message);
        return false;
    }
    *out_number = (uint32_t)number;
    return true;
}

/* --- reading -------------------------------------------------------------------------------------------------------- */

static void get_overview(struct weir_rest_request *request)
{
    struct views views;
    views_init(&views, request->jm);
    weir_rest_reply_json_take(request, 200, weir_rest_cluster_overview(&views.cluster));
    views_fini(&views);
}

static void get_config(struct weir_rest_request *request)
{
    weir_rest_reply_json_take(request, 200, weir_rest_cluster_features());
}

static void get_jobs(struct weir_rest_request *request)
{
    struct views views;
    views_init(&views, request->jm);
    json_t *list = json_array();
    for (uint32_t i = 0; i < views.cluster.njobs; i++) {
        json_array_append_new(list, weir_rest_job_id_status(&views.jobs[i]));
    }
    weir_rest_reply_json_take(request, 200, json_pack("{s:o}", "jobs", list));
    views_fini(&views);
}

static void get_jobs_overview(struct weir_rest_request *request)
{
    struct views views;
    views_init(&views, request->jm);
    json_t *list = json_array();
    for (uint32_t i = 0; i < views.cluster.njobs; i++) {
        json_array_append_new(list, weir_rest_job_summary(&views.jobs[i], views.world.now_ms));
    }
    weir_rest_reply_json_take(request, 200, json_pack("{s:o}", "jobs", list));
    views_fini(&views);
}

static void get_job(struct weir_rest_request *request)
{
    struct weir_job_view job;
    if (find_job(request, &job)) {
        weir_rest_reply_json_take(request, 200, weir_rest_job_detail(&job, weir_clock_wall_ms(weir_jm_clock(request->jm))));
    }
}

static void get_job_status(struct weir_rest_request *request)
{
    struct weir_job_view job;
    if (find_job(request, &job)) {
        weir_rest_reply_json_take(request, 200, json_pack("{s:s}", "status", weir_job_state_name(job.state)));
    }
}

static void get_job_plan(struct weir_rest_request *request)
{
    struct weir_job_view job;
    if (find_job(request, &job)) {
        weir_rest_reply_json_take(request, 200, weir_rest_job_plan(&job));
    }
}

static void get_job_exceptions(struct weir_rest_request *request)
{
    struct weir_job_view job;
    uint32_t entries_max;
    if (!query_number(request, "maxExceptions", EXCEPTIONS_MAX, UINT32_MAX, &entries_max) || !find_job(request, &job)) {
        return;
    }
    struct views views;
    views_init(&views, request->jm);
    weir_rest_reply_json_take(request, 200, weir_rest_job_exceptions(&job, &views.world, entries_max));
    views_fini(&views);
}

static void get_job_checkpoints(struct weir_rest_request *request)
{
    struct weir_job_view job;
    if (find_job(request, &job)) {
        weir_rest_reply_json_take(request, 200, weir_rest_job_checkpoints(&job));
    }
}

static void get_job_checkpoints_config(struct weir_rest_request *request)
{
    struct weir_job_view job;
    if (!find_job(request, &job)) {
        return;
    }
    if (job.graph == NULL || job.checkpoints == NULL) {
        weir_rest_reply_errors(request, 404, "Checkpointing is not enabled for this job");
    } else {
        weir_rest_reply_json_take(request, 200, weir_rest_job_checkpoints_config(&job));
    }
}

static void get_job_vertex(struct weir_rest_request *request)
{
    struct weir_job_view job;
    uint32_t vertex;
    if (!find_job(request, &job)) {
        return;
    }
    if (!weir_rest_job_vertex_find(&job, weir_slice_str(request->params.text[1]), &vertex)) {
        weir_rest_reply_errors(request, 404, "this job has no vertex of that id");
        return;
    }
    struct views views;
    views_init(&views, request->jm);
    weir_rest_reply_json_take(request, 200, weir_rest_job_vertex(&job, vertex, &views.world));
    views_fini(&views);
}

static void get_taskmanagers(struct weir_rest_request *request)
{
    struct views views;
    views_init(&views, request->jm);
    weir_rest_reply_json_take(request, 200, weir_rest_cluster_taskmanagers(&views.cluster));
    views_fini(&views);
}

static void get_taskmanager(struct weir_rest_request *request)
{
    struct views views;
    views_init(&views, request->jm);
    uint32_t tm = 0;
    while (tm < views.cluster.ntms && strcmp(views.tms[tm].id, request->params.text[0]) != 0) {
        tm++;
    }
    if (tm < views.cluster.ntms) {
        weir_rest_reply_json_take(request, 200, weir_rest_cluster_taskmanager(&views.cluster, tm));
    } else {
        weir_rest_reply_errors(request, 404, "no TaskManager of that id is registered");
    }
    views_fini(&views);
}

/* Without a leader: what this JobManager knows of the others. */
static void get_cluster(struct weir_rest_request *request)
{
    struct views views;
    struct weir_jm_cluster_view jobmanagers;
    views_init(&views, request->jm);
    weir_jm_cluster_view(request->jm, &jobmanagers);
    weir_rest_reply_json_take(request, 200, weir_rest_cluster_jobmanagers(&views.cluster, &jobmanagers));
    views_fini(&views);
}

static void get_jobmanager_config(struct weir_rest_request *request)
{
    weir_rest_reply_json_take(request, 200, weir_rest_cluster_config(weir_jm_config(request->jm)));
}

static void get_metrics(struct weir_rest_request *request)
{
    struct views views;
    struct weir_buf text = {0};
    views_init(&views, request->jm);
    weir_rest_metrics_put(&views.cluster, views.world.now_ms, &text);
    weir_rest_reply_text(request, "text/plain; version=0.0.4; charset=utf-8", weir_buf_slice(&text));
    weir_buf_fini(&text);
    views_fini(&views);
}

/* --- logs ----------------------------------------------------------------------------------------------------------- */

static const char log_type[] = "text/plain; charset=UTF-8";

/* ?contains=TEXT&lines=N. False: answered. */
static bool log_query(struct weir_rest_request *request, struct weir_slice *out_needle, uint32_t *out_lines)
{
    const char *needle = weir_http_request_query(request->http, "contains");
    *out_needle = weir_slice_str(needle != NULL ? needle : "");
    return query_number(request, "lines", LOG_LINES_DEFAULT, WEIR_LOG_RECENT_LINES, out_lines);
}

static void get_jobmanager_log(struct weir_rest_request *request)
{
    struct weir_slice needle;
    uint32_t lines;
    if (log_query(request, &needle, &lines)) {
        struct weir_buf text = {0};
        weir_log_sink_recent(weir_jm_log_sink(request->jm), needle, lines, &text);
        weir_rest_reply_text(request, log_type, weir_buf_slice(&text));
        weir_buf_fini(&text);
    }
}

static void taskmanager_log_on_done(void *ctx, enum weir_rc rc, struct weir_slice text, const struct weir_error *err)
{
    struct weir_rest_request *request = ctx;
    if (rc != WEIR_OK) {
        weir_rest_reply_failure(request, err);
    } else {
        weir_rest_reply_text(request, log_type, text);
    }
}

static void get_taskmanager_log(struct weir_rest_request *request)
{
    struct weir_slice needle;
    uint32_t lines;
    if (log_query(request, &needle, &lines)) {
        weir_jm_tm_logs(request->jm, weir_slice_str(request->params.text[0]), needle, lines, taskmanager_log_on_done,
                        request);
    }
}

static void put_log_level(struct weir_rest_request *request)
{
    const char *text = weir_http_request_query(request->http, "level");
    enum weir_log_level level;
    if (text == NULL || !weir_log_level_parse(text, &level)) {
        weir_rest_reply_errors(request, 400, "expected ?level=debug, info, warn or error");
        return;
    }
    weir_jm_set_log_level(request->jm, level);
    weir_rest_reply_json_take(request, 200, json_object());
}

/* --- commands ------------------------------------------------------------------------------------------------------- */

static bool is_job_id(const char *text)
{
    return strlen(text) == WEIR_JOB_ID_TEXT && strspn(text, "0123456789abcdef") == WEIR_JOB_ID_TEXT;
}

struct submission {
    struct weir_rest_request *request;
    char job_id[WEIR_JOB_ID_TEXT + 1];
};

static void submission_on_done(void *ctx, enum weir_rc rc, const struct weir_error *err)
{
    struct submission *submission = ctx;
    if (rc != WEIR_OK) {
        weir_rest_reply_failure(submission->request, err);
    } else {
        weir_rest_reply_json_take(submission->request, 202, json_pack("{s:s}", "jobid", submission->job_id));
    }
    weir_free(submission);
}

/* YAML is what we take; Flink's own submissions (multipart with Java objects) are told so. */
static bool is_yaml(const char *content_type)
{
    static const char *const types[] = {"application/yaml", "application/x-yaml", "text/yaml"};
    size_t len = content_type != NULL ? strcspn(content_type, "; ") : 0;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strlen(types[i]) == len && strncasecmp(content_type, types[i], len) == 0) {
            return true;
        }
    }
    return false;
}

static void post_jobs(struct weir_rest_request *request)
{
    const char *job_id = weir_http_request_query(request->http, "jobid");
    const char *name = weir_http_request_query(request->http, "name");
    uint32_t parallelism;
    if (!is_yaml(weir_http_request_header(request->http, "Content-Type"))) {
        weir_rest_reply_errors(request, 415, "a job is submitted as YAML: Content-Type application/yaml");
        return;
    }
    if (job_id == NULL || !is_job_id(job_id)) {
        weir_rest_reply_errors(request, 400, "expected ?jobid= with an id of 32 lower-case hex digits, chosen by the client");
        return;
    }
    if (!query_number(request, "parallelism", 0, WEIR_PARALLELISM_MAX, &parallelism)) {
        return;
    }
    struct submission *submission = weir_calloc(1, sizeof(*submission));
    submission->request = request;
    memcpy(submission->job_id, job_id, sizeof(submission->job_id));
    weir_jm_submit(request->jm, weir_slice_str(submission->job_id), weir_http_request_body(request->http),
                   weir_slice_str(name != NULL ? name : "job.yaml"), parallelism, submission_on_done, submission);
}

static void cancel_on_done(void *ctx, enum weir_rc rc, const struct weir_error *err)
{
    struct weir_rest_request *request = ctx;
    if (rc != WEIR_OK) {
        weir_rest_reply_failure(request, err);
    } else {
        weir_rest_reply_json_take(request, 202, json_object());
    }
}

static void patch_job(struct weir_rest_request *request)
{
    const char *mode = weir_http_request_query(request->http, "mode");
    const char *now = weir_http_request_query(request->http, "now"); /* not Flink's */
    const char *without_drain = now == NULL ? "false" : now;
    struct weir_job_view job;
    if (mode != NULL && strcmp(mode, "cancel") != 0) {
        weir_rest_reply_errors(request, 400, "expected ?mode=cancel");
    } else if (strcmp(without_drain, "true") != 0 && strcmp(without_drain, "false") != 0) {
        weir_rest_reply_errors(request, 400, "expected &now=true or false");
    } else if (find_job(request, &job)) {
        weir_jm_cancel(request->jm, weir_slice_str(job.id), strcmp(without_drain, "true") == 0, cancel_on_done, request);
    }
}

static void replace_on_done(void *ctx, enum weir_rc rc, const struct weir_error *err)
{
    struct weir_rest_request *request = ctx;
    if (rc != WEIR_OK) {
        weir_rest_reply_failure(request, err);
    } else {
        weir_rest_reply_json_take(request, 200, json_object());
    }
}

static void post_replace_jobmanager(struct weir_rest_request *request)
{
    struct weir_slice body = weir_http_request_body(request->http);
    json_t *question = json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, NULL);
    const char *old_address = json_string_value(json_object_get(question, "old"));
    const char *new_address = json_string_value(json_object_get(question, "new"));
    if (old_address == NULL || new_address == NULL) {
        weir_rest_reply_errors(request, 400, "expected {\"old\": \"host:port\", \"new\": \"host:port\"}: the RPC addresses of two JobManagers");
    } else {
        weir_jm_replace(request->jm, weir_slice_str(old_address), weir_slice_str(new_address), replace_on_done, request);
    }
    json_decref(question);
}

const struct weir_rest_route weir_rest_routes[] = {
    {"GET", "/overview", get_overview, WEIR_REST_LEADER},
    {"GET", "/config", get_config, WEIR_REST_LEADER},
    {"GET", "/jobs", get_jobs, WEIR_REST_LEADER},
    {"POST", "/jobs", post_jobs, WEIR_REST_LEADER},
    {"GET", "/jobs/overview", get_jobs_overview, WEIR_REST_LEADER},
    {"GET", "/jobs/:jobid", get_job, WEIR_REST_LEADER},
    {"PATCH", "/jobs/:jobid", patch_job, WEIR_REST_LEADER},
    {"GET", "/jobs/:jobid/status", get_job_status, WEIR_REST_LEADER},
    {"GET", "/jobs/:jobid/plan", get_job_plan, WEIR_REST_LEADER},
    {"GET", "/jobs/:jobid/exceptions", get_job_exceptions, WEIR_REST_LEADER},
    {"GET", "/jobs/:jobid/checkpoints", get_job_checkpoints, WEIR_REST_LEADER},
    {"GET", "/jobs/:jobid/checkpoints/config", get_job_checkpoints_config, WEIR_REST_LEADER},
    {"GET", "/jobs/:jobid/vertices/:vertexid", get_job_vertex, WEIR_REST_LEADER},
    {"GET", "/cluster", get_cluster, WEIR_REST_LEADER_IF_ANY},
    {"POST", "/cluster/jobmanagers/replace", post_replace_jobmanager, WEIR_REST_LEADER},
    {"GET", "/taskmanagers", get_taskmanagers, WEIR_REST_LEADER},
    {"GET", "/taskmanagers/:id", get_taskmanager, WEIR_REST_LEADER},
    {"GET", "/taskmanagers/:id/log", get_taskmanager_log, WEIR_REST_LEADER},
    {"GET", "/jobmanager/config", get_jobmanager_config, WEIR_REST_ANYBODY},
    {"GET", "/jobmanager/log", get_jobmanager_log, WEIR_REST_ANYBODY},
    {"GET", "/metrics", get_metrics, WEIR_REST_LEADER},
    {"PUT", "/log-level", put_log_level, WEIR_REST_LEADER},
    {NULL, NULL, NULL, WEIR_REST_LEADER},
};
