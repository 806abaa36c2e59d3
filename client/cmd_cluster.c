/*
 * weir cluster, logs.
 */
#include "client/command.h"
#include "client/render.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/net/address.h"

#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum { TM_LOG_DEADLINE_MS = 6000, LEADER_WAIT_MS = 2000, LEADER_LOOK_MS = 100, REPLACE_DEADLINE_MS = 150000 };

static void put_jobmanagers(const json_t *cluster, struct weir_buf *out)
{
    static const char *const headings[] = {"JOBMANAGER", "RPC", "REST", "ROLE", ">LAG", ">HEARD", NULL};
    struct weir_table *table = weir_table_create(headings);
    size_t i;
    json_t *jm;
    json_array_foreach (json_object_get(cluster, "jobmanagers"), i, jm) {
        char text[WEIR_RENDER_TEXT];
        int64_t heard_ms = weir_json_int(jm, "last_heard_ms");
        weir_table_add(table, weir_json_text(jm, "id"));
        weir_table_add(table, weir_json_text(jm, "rpc"));
        weir_table_add(table, weir_json_text(jm, "rest"));
        weir_table_add(table, weir_json_text(jm, "role"));
        if (weir_json_int(jm, "lag") < 0) {
            weir_table_add(table, "?"); /* only the leader knows */
        } else {
            weir_table_add_int(table, weir_json_int(jm, "lag"));
        }
        weir_table_add(table, heard_ms < 0 ? "never" : weir_render_duration(heard_ms, text));
    }
    weir_table_render(table, out);
    weir_table_destroy(table);
}

/* The leader's name, the term and how many stand by. */
static void put_leader(const json_t *cluster, struct weir_buf *out)
{
    const json_t *leader = json_object_get(cluster, "leader");
    const char *rest = json_is_object(leader) ? weir_json_text(leader, "rest") : "none";
    size_t count = 0;
    size_t standbys = 0;
    size_t i;
    json_t *jm;
    json_array_foreach (json_object_get(cluster, "jobmanagers"), i, jm) {
        count += strcmp(weir_json_text(jm, "role"), "removed") != 0;
        standbys += strcmp(weir_json_text(jm, "role"), "standby") == 0;
    }
    weir_buf_put_fmt(out, "leader %s, term %lld; %zu JobManager%s, %zu of them standby\n", rest, (long long)weir_json_int(cluster, "term"), count,
                     count == 1 ? "" : "s", standbys);
}

static void put_taskmanagers(const json_t *taskmanagers, struct weir_buf *out)
{
    static const char *const headings[] = {"TASKMANAGER", ">SLOTS", ">FREE", ">CORES", ">MEMORY", ">FREE", NULL};
    struct weir_table *table = weir_table_create(headings);
    size_t i;
    json_t *tm;
    json_array_foreach (json_object_get(taskmanagers, "taskmanagers"), i, tm) {
        char text[WEIR_RENDER_TEXT];
        const json_t *hardware = json_object_get(tm, "hardware");
        weir_table_add(table, weir_json_text(tm, "id"));
        weir_table_add_int(table, weir_json_int(tm, "slotsNumber"));
        weir_table_add_int(table, weir_json_int(tm, "freeSlots"));
        weir_table_add_int(table, weir_json_int(hardware, "cpuCores"));
        weir_table_add(table, weir_render_bytes(weir_json_int(hardware, "managedMemory"), text));
        weir_table_add(table, weir_render_bytes(weir_json_int(hardware, "freeMemory"), text));
    }
    weir_table_render(table, out);
    weir_table_destroy(table);
}

static void print_cluster(const json_t *cluster, const json_t *overview, const json_t *taskmanagers)
{
    struct weir_buf out = {0};
    put_leader(cluster, &out);
    weir_buf_put_fmt(&out, "%lld TaskManagers, %lld of %lld slots free; jobs: %lld running, %lld finished, %lld canceled, %lld failed\n\n",
                     (long long)weir_json_int(overview, "taskmanagers"), (long long)weir_json_int(overview, "slots-available"),
                     (long long)weir_json_int(overview, "slots-total"), (long long)weir_json_int(overview, "jobs-running"),
                     (long long)weir_json_int(overview, "jobs-finished"), (long long)weir_json_int(overview, "jobs-cancelled"),
                     (long long)weir_json_int(overview, "jobs-failed"));
    put_jobmanagers(cluster, &out);
    weir_buf_put_str(&out, "\n");
    put_taskmanagers(taskmanagers, &out);
    weir_print(weir_buf_slice(&out));
    weir_buf_fini(&out);
}

/* Nobody leads: what one JobManager knows all the same. */
static enum weir_rc print_leaderless(const json_t *cluster, struct weir_error *err)
{
    struct weir_buf out = {0};
    put_leader(cluster, &out);
    weir_buf_put_str(&out, "\n");
    put_jobmanagers(cluster, &out);
    weir_print(weir_buf_slice(&out));
    weir_buf_fini(&out);
    return weir_error_set(err, WEIR_AGAIN, "no JobManager leads: jobs go on, but nothing can be changed until a majority of the JobManagers runs");
}

/* The cluster as its leader sees it. When nobody leads for a while (an election takes less), as one of the others does. */
static enum weir_rc get_cluster(struct weir_gateway *gateway, json_t **out, bool *out_led, struct weir_error *err)
{
    const struct weir_clock *clock = weir_clock_real();
    int64_t end_ms = weir_clock_mono_ms(clock) + LEADER_WAIT_MS;
    for (;;) {
        json_t *cluster = NULL;
        enum weir_rc rc = weir_gateway_get(gateway, "/cluster", &cluster, err);
        bool led = rc == WEIR_OK && json_is_object(json_object_get(cluster, "leader"));
        if (rc != WEIR_OK || led || weir_clock_mono_ms(clock) >= end_ms) {
            *out = cluster;
            *out_led = led;
            return rc;
        }
        json_decref(cluster);
        weir_gateway_turn(gateway); /* this one may just have been started */
        (void)poll(NULL, 0, LEADER_LOOK_MS);
    }
}

static enum weir_rc show_cluster(struct weir_gateway *gateway, bool as_json, enum weir_exit *out_exit, struct weir_error *err)
{
    json_t *cluster = NULL;
    json_t *overview = NULL;
    json_t *taskmanagers = NULL;
    bool led = false;
    enum weir_rc rc = get_cluster(gateway, &cluster, &led, err);
    *out_exit = led ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
    rc = led ? weir_gateway_get(gateway, "/overview", &overview, err) : rc;
    rc = led && rc == WEIR_OK ? weir_gateway_get(gateway, "/taskmanagers", &taskmanagers, err) : rc;
    if (rc == WEIR_OK && !led && as_json) {
        weir_print_json_take(json_incref(cluster));
    } else if (rc == WEIR_OK && !led) {
        rc = print_leaderless(cluster, err);
    } else if (rc == WEIR_OK && as_json) {
        (void)json_object_update(overview, cluster);
        (void)json_object_update(overview, taskmanagers); /* "taskmanagers" becomes the list; its length is the count */
        weir_print_json_take(json_incref(overview));
    } else if (rc == WEIR_OK) {
        print_cluster(cluster, overview, taskmanagers);
    }
    json_decref(cluster);
    json_decref(overview);
    json_decref(taskmanagers);
    return rc;
}

/* One that has started with an empty directory takes the place of one that is lost. */
static enum weir_rc replace_jobmanager(struct weir_gateway *gateway, const struct weir_options *options, struct weir_error *err)
{
    const char *from = options->operands[2];
    const char *to = options->operands[3];
    json_t *question = json_pack("{s:s, s:s}", "old", from, "new", to);
    if (question == NULL) {
        return weir_error_set(err, WEIR_INVALID, "the names of the JobManagers are not UTF-8");
    }
    struct weir_buf body = {0};
    size_t len = json_dumpb(question, NULL, 0, JSON_COMPACT);
    body.len = json_dumpb(question, (char *)weir_buf_reserve(&body, len), len, JSON_COMPACT);
    json_t *answer = NULL;
    struct weir_gateway_request request = {.method = "POST", .path = "/cluster/jobmanagers/replace", .content_type = "application/json",
                                           .body = weir_buf_slice(&body), .slow = true};
    weir_gateway_set_deadline(gateway, REPLACE_DEADLINE_MS); /* the new one has to catch up */
    enum weir_rc rc = weir_gateway_call_json(gateway, &request, &answer, err);
    if (rc == WEIR_OK && (options->given & WEIR_OPTION_JSON)) {
        weir_print_json_take(json_incref(answer));
    } else if (rc == WEIR_OK) {
        (void)printf("JobManager %s is replaced by %s\n", from, to);
    }
    json_decref(answer);
    json_decref(question);
    weir_buf_fini(&body);
    return rc;
}

enum weir_rc weir_cmd_cluster(const struct weir_options *options, struct weir_gateway *gateway, enum weir_exit *out_exit,
                              struct weir_error *err)
{
    enum weir_rc rc;
    if (options->noperands == 1) {
        rc = show_cluster(gateway, (options->given & WEIR_OPTION_JSON) != 0, out_exit, err);
    } else if (options->noperands == 4 && strcmp(options->operands[1], "replace-jobmanager") == 0) {
        rc = replace_jobmanager(gateway, options, err);
        *out_exit = WEIR_EXIT_OK;
    } else {
        *out_exit = WEIR_EXIT_USAGE;
        return weir_error_set(err, WEIR_INVALID, "usage: weir cluster, or weir cluster replace-jobmanager OLD NEW");
    }
    return rc;
}

/* --- logs ---------------------------------------------------------------------------------------------------------- */

static enum weir_rc get_log(struct weir_gateway *gateway, const char *tm_id, const char *contains, struct weir_buf *out,
                            struct weir_error *err)
{
    struct weir_buf path = {0};
    if (tm_id != NULL) {
        weir_buf_put_str(&path, "/taskmanagers/");
        weir_url_put_encoded(&path, tm_id, "");
        weir_buf_put_str(&path, "/log?contains=");
    } else {
        weir_buf_put_str(&path, "/jobmanager/log?contains=");
    }
    weir_url_put_encoded(&path, contains, "");
    weir_buf_put_u8(&path, 0);
    weir_gateway_set_deadline(gateway, tm_id != NULL ? TM_LOG_DEADLINE_MS : 0); /* a TaskManager that is away is no reason to wait */
    enum weir_rc rc =
        weir_gateway_call(gateway, &(struct weir_gateway_request){.method = "GET", .path = (const char *)path.data}, out, err);
    weir_gateway_set_deadline(gateway, 0);
    weir_buf_fini(&path);
    return rc;
}

/* The JobManager's lines and those of every TaskManager that answers. */
static enum weir_rc get_job_logs(struct weir_gateway *gateway, const char *job_id, const json_t *taskmanagers, struct weir_buf *out,
                                 struct weir_error *err)
{
    enum weir_rc rc = get_log(gateway, NULL, job_id, out, err);
    size_t i;
    json_t *tm;
    json_array_foreach (json_object_get(taskmanagers, "taskmanagers"), i, tm) {
        struct weir_error tm_err;
        if (rc == WEIR_OK && get_log(gateway, weir_json_text(tm, "id"), job_id, out, &tm_err) != WEIR_OK) {
            (void)fprintf(stderr, "weir: the log of %s is missing: %s\n", weir_json_text(tm, "id"), tm_err.text);
        }
    }
    return rc;
}

static bool names_taskmanager(const json_t *taskmanagers, const char *name)
{
    size_t i;
    json_t *tm;
    json_array_foreach (json_object_get(taskmanagers, "taskmanagers"), i, tm) {
        if (strcmp(weir_json_text(tm, "id"), name) == 0) {
            return true;
        }
    }
    return false;
}

static enum weir_rc get_logs_of(struct weir_gateway *gateway, const char *name, struct weir_buf *out, struct weir_error *err)
{
    json_t *taskmanagers = NULL;
    json_t *job = NULL;
    enum weir_rc rc = weir_gateway_get(gateway, "/taskmanagers", &taskmanagers, err);
    if (rc == WEIR_OK && names_taskmanager(taskmanagers, name)) {
        rc = get_log(gateway, name, "", out, err);
    } else if (rc == WEIR_OK) {
        char *path = weir_job_path(name, "");
        rc = weir_gateway_get(gateway, path, &job, err);
        weir_free(path);
        if (rc == WEIR_NOT_FOUND) {
            rc = weir_error_set(err, WEIR_NOT_FOUND, "no job and no TaskManager is called `%s`; `weir list` and `weir cluster` "
                                "say what there is", name);
        }
        rc = rc == WEIR_OK ? get_job_logs(gateway, weir_json_text(job, "jid"), taskmanagers, out, err) : rc;
    }
    json_decref(job);
    json_decref(taskmanagers);
    return rc;
}

/* Both of one buffer: lines of the same millisecond stay as their log has them. */
static int by_time(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    int order = strncmp(x, y, sizeof("ts=2026-11-22T04:32:25.123Z") - 1);
    return order != 0 ? order : (x > y) - (x < y);
}

struct lines {
    char **items;
    size_t len, cap;
};

/* Lines begin with their time, so sorting merges several logs. Cuts `text` into lines in place. */
static struct lines sorted_lines(struct weir_buf *text)
{
    struct lines lines = {0};
    weir_buf_put_u8(text, 0);
    for (char *at = (char *)text->data; *at != '\0';) {
        size_t len = strcspn(at, "\n");
        bool last = at[len] == '\0';
        at[len] = '\0';
        lines.items = weir_vec_grow(lines.items, &lines.cap, sizeof(*lines.items), lines.len + 1);
        lines.items[lines.len++] = at;
        at += last ? len : len + 1;
    }
    if (lines.len > 1) {
        qsort(lines.items, lines.len, sizeof(*lines.items), by_time);
    }
    return lines;
}

enum weir_rc weir_cmd_logs(const struct weir_options *options, struct weir_gateway *gateway, enum weir_exit *out_exit,
                           struct weir_error *err)
{
    struct weir_buf text = {0};
    enum weir_rc rc = options->noperands > 1 ? get_logs_of(gateway, options->operands[1], &text, err)
                                             : get_log(gateway, NULL, "", &text, err);
    if (rc == WEIR_OK) {
        struct lines lines = sorted_lines(&text);
        json_t *array = json_array();
        bool as_json = (options->given & WEIR_OPTION_JSON) != 0;
        for (size_t i = 0; i < lines.len; i++) {
            if (as_json) {
                json_array_append_new(array, json_string(lines.items[i]));
            } else {
                (void)puts(lines.items[i]);
            }
        }
        json_t *document = json_pack("{s:o}", "lines", array);
        if (as_json) {
            weir_print_json_take(json_incref(document));
        }
        json_decref(document);
        weir_free(lines.items);
        *out_exit = WEIR_EXIT_OK;
    }
    weir_buf_fini(&text);
    return rc;
}
