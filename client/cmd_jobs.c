/*
 * weir list, status, cancel.
 */
#include "client/command.h"
#include "client/render.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

#include <jansson.h>
#include <poll.h>
#include <stdio.h>

/* While a job ends. */
enum { POLL_INTERVAL_MS = 50, SILENT_MS = 1000, LOST_MAX_MS = 60000 };

enum weir_rc weir_cmd_list(const struct weir_options *options, struct weir_gateway *gateway, enum weir_exit *out_exit,
                           struct weir_error *err)
{
    static const char *const headings[] = {"JOB", "NAME", "STATE", "STARTED (UTC)", ">DURATION", ">TASKS", NULL};
    json_t *document;
    enum weir_rc rc = weir_gateway_get(gateway, "/jobs/overview", &document, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    *out_exit = WEIR_EXIT_OK;
    if (options->given & WEIR_OPTION_JSON) {
        weir_print_json_take(document);
        return WEIR_OK;
    }
    struct weir_table *table = weir_table_create(headings);
    size_t i;
    json_t *job;
    json_array_foreach (json_object_get(document, "jobs"), i, job) {
        char text[WEIR_RENDER_TEXT];
        weir_table_add(table, weir_json_text(job, "jid"));
        weir_table_add(table, weir_json_text(job, "name"));
        weir_table_add(table, weir_json_text(job, "state"));
        weir_table_add(table, weir_render_time(weir_json_int(job, "start-time"), text));
        weir_table_add(table, weir_render_duration(weir_json_int(job, "duration"), text));
        weir_table_add_int(table, weir_json_int(json_object_get(job, "tasks"), "total"));
    }
    struct weir_buf out = {0};
    weir_table_render(table, &out);
    weir_print(weir_buf_slice(&out));
    weir_buf_fini(&out);
    weir_table_destroy(table);
    json_decref(document);
    return WEIR_OK;
}

static void put_vertices(const json_t *job, struct weir_buf *out)
{
    static const char *const headings[] = {"TASK",       ">PARALLELISM", "STATE", ">RECORDS IN", ">RECORDS OUT",
                                           ">BYTES OUT", ">BUSY",        ">WAITING FOR OUTPUT", NULL};
    struct weir_table *table = weir_table_create(headings);
    size_t i;
    json_t *vertex;
    json_array_foreach (json_object_get(job, "vertices"), i, vertex) {
        char text[WEIR_RENDER_TEXT];
        const json_t *metrics = json_object_get(vertex, "metrics");
        weir_table_add(table, weir_json_text(vertex, "name"));
        weir_table_add_int(table, weir_json_int(vertex, "parallelism"));
        weir_table_add(table, weir_json_text(vertex, "status"));
        weir_table_add_int(table, weir_json_int(metrics, "read-records"));
        weir_table_add_int(table, weir_json_int(metrics, "write-records"));
        weir_table_add(table, weir_render_bytes(weir_json_int(metrics, "write-bytes"), text));
        int64_t busy_ms = (int64_t)json_number_value(json_object_get(metrics, "accumulated-busy-time"));
        weir_table_add(table, weir_render_duration(busy_ms, text));
        weir_table_add(table, weir_render_duration(weir_json_int(metrics, "accumulated-backpressured-time"), text));
    }
    weir_table_render(table, out);
    weir_table_destroy(table);
}

/* Checkpoints that fail are no failure of the job, but nothing is committed any more: says why, until one succeeds again. */
static void put_failing_checkpoint(const json_t *checkpoints, struct weir_buf *out)
{
    const json_t *latest = json_object_get(checkpoints, "latest");
    const json_t *failed = json_object_get(latest, "failed");
    if (weir_json_int(failed, "id") > weir_json_int(json_object_get(latest, "completed"), "id")) {
        weir_buf_put_fmt(out, "failing   checkpoint %lld: %s\n", (long long)weir_json_int(failed, "id"), weir_json_text(failed, "failure_message"));
    }
}

static void print_status(const json_t *job, const json_t *exceptions, const json_t *checkpoints)
{
    struct weir_buf out = {0};
    char text[WEIR_RENDER_TEXT];
    weir_buf_put_fmt(&out, "job       %s\nname      %s\nstate     %s\n", weir_json_text(job, "jid"), weir_json_text(job, "name"),
                     weir_json_text(job, "state"));
    if (weir_json_text(job, "waiting-for")[0] != '\0') {
        weir_buf_put_fmt(&out, "waiting   %s\n", weir_json_text(job, "waiting-for"));
    }
    if (weir_json_text(job, "undrained")[0] != '\0') {
        weir_buf_put_fmt(&out, "undrained %s\n", weir_json_text(job, "undrained"));
    }
    weir_buf_put_fmt(&out, "started   %s UTC\n", weir_render_time(weir_json_int(job, "start-time"), text));
    weir_buf_put_fmt(&out, "duration  %s\n", weir_render_duration(weir_json_int(job, "duration"), text));
    if (weir_json_int(job, "restarts") > 0) {
        weir_buf_put_fmt(&out, "restarts  %lld\n", (long long)weir_json_int(job, "restarts"));
    }
    if (weir_json_text(exceptions, "root-exception")[0] != '\0') {
        weir_buf_put_fmt(&out, "failure   %s\n", weir_json_text(exceptions, "root-exception"));
    }
    put_failing_checkpoint(checkpoints, &out);
    weir_buf_put_str(&out, "\n");
    put_vertices(job, &out);
    weir_print(weir_buf_slice(&out));
    weir_buf_fini(&out);
}

enum weir_rc weir_cmd_status(const struct weir_options *options, struct weir_gateway *gateway, enum weir_exit *out_exit,
                             struct weir_error *err)
{
    json_t *job = NULL;
    json_t *exceptions = NULL;
    json_t *checkpoints = NULL;
    char *job_path = weir_job_path(options->operands[1], "");
    char *exceptions_path = weir_job_path(options->operands[1], "/exceptions");
    char *checkpoints_path = weir_job_path(options->operands[1], "/checkpoints");
    enum weir_rc rc = weir_gateway_get(gateway, job_path, &job, err);
    if (rc == WEIR_OK && (options->given & WEIR_OPTION_JSON)) {
        *out_exit = WEIR_EXIT_OK;
        weir_print_json_take(job);
        job = NULL;
        goto out;
    }
    rc = rc != WEIR_OK ? rc : weir_gateway_get(gateway, exceptions_path, &exceptions, err);
    rc = rc != WEIR_OK ? rc : weir_gateway_get(gateway, checkpoints_path, &checkpoints, err);
    if (rc == WEIR_OK) {
        *out_exit = WEIR_EXIT_OK;
        print_status(job, exceptions, checkpoints);
    }
out:
    json_decref(job);
    json_decref(exceptions);
    json_decref(checkpoints);
    weir_free(job_path);
    weir_free(exceptions_path);
    weir_free(checkpoints_path);
    return rc;
}

/* Polls until the job has ended; *out_job is its document then. Says what it waits for when that takes long. */
static enum weir_rc await_end(struct weir_gateway *gateway, const char *path, bool quiet, json_t **out_job, struct weir_error *err)
{
    const struct weir_clock *clock = weir_clock_real();
    int64_t began_ms = weir_clock_mono_ms(clock);
    int64_t heard_ms = began_ms;
    json_t *shown = NULL;
    enum weir_rc rc = WEIR_OK;
    for (;;) {
        json_t *job = NULL;
        rc = weir_gateway_get(gateway, path, &job, err);
        int64_t now_ms = weir_clock_mono_ms(clock);
        if (rc != WEIR_OK && (!weir_rc_retryable(rc) || now_ms - heard_ms > LOST_MAX_MS)) {
            break;
        }
        heard_ms = rc == WEIR_OK ? now_ms : heard_ms;
        const char *state = rc == WEIR_OK ? weir_json_text(job, "state") : "";
        if (strcmp(state, "CANCELED") == 0 || strcmp(state, "FAILED") == 0 || strcmp(state, "FINISHED") == 0) {
            *out_job = job;
            break;
        }
        json_t *waiting = rc == WEIR_OK ? json_object_get(job, "waiting-for") : NULL;
        if (!quiet && now_ms - began_ms > SILENT_MS && json_is_string(waiting) && !json_equal(waiting, shown)) {
            (void)fprintf(stderr, "%s\n", json_string_value(waiting));
            json_decref(shown);
            shown = json_incref(waiting);
        }
        json_decref(job);
        (void)poll(NULL, 0, POLL_INTERVAL_MS);
    }
    json_decref(shown);
    return rc;
}

static enum weir_rc print_end(const json_t *job, bool as_json, struct weir_error *err)
{
    const char *state = weir_json_text(job, "state");
    const char *undrained = weir_json_text(job, "undrained");
    if (as_json) {
        json_t *owed = json_object_get(job, "undrained");
        weir_print_json_take(json_pack("{s:s, s:s, s:O?}", "jobid", weir_json_text(job, "jid"), "state", state, "undrained", owed));
        return WEIR_OK;
    }
    if (strcmp(state, "CANCELED") != 0) {
        return weir_error_set(err, WEIR_STATE, "job %s is %s; `weir status %s` tells more", weir_json_text(job, "jid"), state,
                              weir_json_text(job, "jid"));
    }
    (void)printf("cancelled%s%s\n", undrained[0] != '\0' ? "; undrained: " : "", undrained);
    return WEIR_OK;
}

/* By id: a name may pass to another job. */
static enum weir_rc order_cancel(struct weir_gateway *gateway, const char *id, bool now, struct weir_error *err)
{
    json_t *answer = NULL;
    char *path = weir_job_path(id, now ? "?mode=cancel&now=true" : "?mode=cancel");
    enum weir_rc rc = weir_gateway_call_json(gateway, &(struct weir_gateway_request){.method = "PATCH", .path = path}, &answer, err);
    json_decref(answer);
    weir_free(path);
    return rc;
}

enum weir_rc weir_cmd_cancel(const struct weir_options *options, struct weir_gateway *gateway, enum weir_exit *out_exit,
                             struct weir_error *err)
{
    bool as_json = (options->given & WEIR_OPTION_JSON) != 0;
    bool detached = (options->given & WEIR_OPTION_DETACHED) != 0;
    json_t *job = NULL;
    json_t *over = NULL;
    char *id_path = NULL;
    char *path = weir_job_path(options->operands[1], "");
    enum weir_rc rc = weir_gateway_get(gateway, path, &job, err);
    const char *id = rc == WEIR_OK ? weir_json_text(job, "jid") : "";
    if (rc == WEIR_OK) {
        rc = order_cancel(gateway, id, (options->given & WEIR_OPTION_NOW) != 0, err);
    }
    if (rc == WEIR_OK && !as_json) {
        (void)printf("cancelling %s %s\n", id, weir_json_text(job, "name"));
        (void)fflush(stdout);
    } else if (rc == WEIR_OK && detached) {
        weir_print_json_take(json_pack("{s:s}", "jobid", id));
    }
    if (rc == WEIR_OK && !detached) {
        id_path = weir_job_path(id, "");
        rc = await_end(gateway, id_path, as_json, &over, err);
        rc = rc == WEIR_OK ? print_end(over, as_json, err) : weir_error_prefix(err, "job %s is being cancelled, but its state is not known", id);
    }
    if (rc == WEIR_OK) {
        bool canceled = over == NULL || strcmp(weir_json_text(over, "state"), "CANCELED") == 0;
        *out_exit = canceled ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
    }
    json_decref(over);
    json_decref(job);
    weir_free(id_path);
    weir_free(path);
    return rc;
}
