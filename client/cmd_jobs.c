/*
 * weir list, status, cancel.
 */
#include "client/command.h"
#include "client/render.h"
#include "common/base/mem.h"

#include <jansson.h>
#include <stdio.h>

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

static void print_status(const json_t *job, const json_t *exceptions)
{
    struct weir_buf out = {0};
    char text[WEIR_RENDER_TEXT];
    weir_buf_put_fmt(&out, "job       %s\nname      %s\nstate     %s\n", weir_json_text(job, "jid"), weir_json_text(job, "name"),
                     weir_json_text(job, "state"));
    if (weir_json_text(job, "waiting-for")[0] != '\0') {
        weir_buf_put_fmt(&out, "waiting   %s\n", weir_json_text(job, "waiting-for"));
    }
    weir_buf_put_fmt(&out, "started   %s UTC\n", weir_render_time(weir_json_int(job, "start-time"), text));
    weir_buf_put_fmt(&out, "duration  %s\n", weir_render_duration(weir_json_int(job, "duration"), text));
    if (weir_json_int(job, "restarts") > 0) {
        weir_buf_put_fmt(&out, "restarts  %lld\n", (long long)weir_json_int(job, "restarts"));
    }
    if (weir_json_text(exceptions, "root-exception")[0] != '\0') {
        weir_buf_put_fmt(&out, "failure   %s\n", weir_json_text(exceptions, "root-exception"));
    }
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
    char *job_path = weir_job_path(options->operands[1], "");
    char *exceptions_path = weir_job_path(options->operands[1], "/exceptions");
    enum weir_rc rc = weir_gateway_get(gateway, job_path, &job, err);
    if (rc == WEIR_OK && !(options->given & WEIR_OPTION_JSON)) {
        rc = weir_gateway_get(gateway, exceptions_path, &exceptions, err);
    }
    weir_free(job_path);
    weir_free(exceptions_path);
    if (rc != WEIR_OK) {
        json_decref(job);
        return rc;
    }
    *out_exit = WEIR_EXIT_OK;
    if (options->given & WEIR_OPTION_JSON) {
        weir_print_json_take(job);
        return WEIR_OK;
    }
    print_status(job, exceptions);
    json_decref(job);
    json_decref(exceptions);
    return WEIR_OK;
}

enum weir_rc weir_cmd_cancel(const struct weir_options *options, struct weir_gateway *gateway, enum weir_exit *out_exit,
                             struct weir_error *err)
{
    json_t *job = NULL;
    json_t *answer = NULL;
    char *job_path = weir_job_path(options->operands[1], "");
    char *cancel_path = NULL;
    enum weir_rc rc = weir_gateway_get(gateway, job_path, &job, err); /* a name may pass to another job: cancel by id */
    if (rc == WEIR_OK) {
        cancel_path = weir_job_path(weir_json_text(job, "jid"), "?mode=cancel");
        rc = weir_gateway_call_json(gateway, &(struct weir_gateway_request){.method = "PATCH", .path = cancel_path}, &answer, err);
    }
    if (rc == WEIR_OK) {
        *out_exit = WEIR_EXIT_OK;
        if (options->given & WEIR_OPTION_JSON) {
            weir_print_json_take(json_pack("{s:s}", "jobid", weir_json_text(job, "jid")));
        } else {
            (void)printf("cancelling %s %s\n", weir_json_text(job, "jid"), weir_json_text(job, "name"));
        }
    }
    json_decref(answer);
    json_decref(job);
    weir_free(job_path);
    weir_free(cancel_path);
    return rc;
}
