#include "jobmanager/rest/rest_job.h"

#include "common/base/assert.h"
#include "common/base/buf.h"
#include "common/base/mem.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* Flink has this task state; Weir's tasks never enter it, but clients expect the key. */
static const char state_without_tasks[] = "RECONCILING";

static json_int_t duration_ms(int64_t start_ms, int64_t end_ms, int64_t now_ms)
{
    if (start_ms < 0) {
        return -1;
    }
    int64_t until_ms = end_ms >= 0 ? end_ms : now_ms;
    return until_ms > start_ms ? until_ms - start_ms : 0;
}

void weir_rest_task_state_counts(const struct weir_task_view *tasks, uint32_t ntasks, uint32_t counts[WEIR_TASK_STATE_COUNT_])
{
    memset(counts, 0, WEIR_TASK_STATE_COUNT_ * sizeof(counts[0]));
    for (uint32_t i = 0; i < ntasks; i++) {
        weir_assert(tasks[i].state < WEIR_TASK_STATE_COUNT_);
        counts[tasks[i].state]++;
    }
}

enum weir_task_state weir_rest_task_state_together(const uint32_t counts[WEIR_TASK_STATE_COUNT_])
{
    static const enum weir_task_state by_weight[] = {
        WEIR_TASK_FAILED,  WEIR_TASK_CANCELING, WEIR_TASK_CANCELED,  WEIR_TASK_INITIALIZING,
        WEIR_TASK_RUNNING, WEIR_TASK_DEPLOYING, WEIR_TASK_SCHEDULED,
    };
    for (size_t i = 0; i < sizeof(by_weight) / sizeof(by_weight[0]); i++) {
        if (counts[by_weight[i]] > 0) {
            return by_weight[i];
        }
    }
    if (counts[WEIR_TASK_FINISHED] > 0) {
        return counts[WEIR_TASK_CREATED] == 0 ? WEIR_TASK_FINISHED : WEIR_TASK_RUNNING;
    }
    return WEIR_TASK_CREATED;
}

/* "RUNNING": 2 for every state. */
static json_t *counts_upper(const uint32_t counts[WEIR_TASK_STATE_COUNT_])
{
    json_t *object = json_object();
    for (int s = 0; s < WEIR_TASK_STATE_COUNT_; s++) {
        json_object_set_new(object, weir_task_state_name((enum weir_task_state)s), json_integer(counts[s]));
    }
    json_object_set_new(object, state_without_tasks, json_integer(0));
    return object;
}

static void lower(const char *text, char *out, size_t out_bytes)
{
    size_t i = 0;
    for (; text[i] != '\0' && i + 1 < out_bytes; i++) {
        out[i] = (char)tolower((unsigned char)text[i]);
    }
    out[i] = '\0';
}

/* "running": 2 for every state, and "total". */
static json_t *counts_lower(const uint32_t counts[WEIR_TASK_STATE_COUNT_])
{
    json_t *object = json_object();
    uint32_t total = 0;
    char name[32];
    for (int s = 0; s < WEIR_TASK_STATE_COUNT_; s++) {
        lower(weir_task_state_name((enum weir_task_state)s), name, sizeof(name));
        json_object_set_new(object, name, json_integer(counts[s]));
        total += counts[s];
    }
    lower(state_without_tasks, name, sizeof(name));
    json_object_set_new(object, name, json_integer(0));
    json_object_set_new(object, "total", json_integer(total));
    return object;
}

json_t *weir_rest_job_id_status(const struct weir_job_view *job)
{
    return json_pack("{s:s, s:s}", "id", job->id, "status", weir_job_state_name(job->state));
}

json_t *weir_rest_job_summary(const struct weir_job_view *job, int64_t now_ms)
{
    uint32_t counts[WEIR_TASK_STATE_COUNT_];
    weir_rest_task_state_counts(job->tasks, job->ntasks, counts);
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:I, s:o}", "jid", job->id, "name", job->name, "start-time",
                     (json_int_t)job->start_ms, "end-time", (json_int_t)job->end_ms, "duration",
                     duration_ms(job->start_ms, job->end_ms, now_ms), "state", weir_job_state_name(job->state),
                     "last-modification", (json_int_t)job->modified_ms, "tasks", counts_lower(counts));
}

static void counters_add(struct weir_task_counters *sum, const struct weir_task_counters *c)
{
    sum->records_in += c->records_in;
    sum->records_out += c->records_out;
    sum->bytes_in += c->bytes_in;
    sum->bytes_out += c->bytes_out;
    sum->busy_ms += c->busy_ms;
    sum->idle_ms += c->idle_ms;
    sum->backpressured_ms += c->backpressured_ms;
}

/* Flink's "metrics" object of a vertex or subtask. */
static json_t *io_metrics(const struct weir_task_counters *c)
{
    return json_pack("{s:I, s:b, s:I, s:b, s:I, s:b, s:I, s:b, s:I, s:I, s:f}", "read-bytes", (json_int_t)c->bytes_in,
                     "read-bytes-complete", 1, "write-bytes", (json_int_t)c->bytes_out, "write-bytes-complete", 1, "read-records",
                     (json_int_t)c->records_in, "read-records-complete", 1, "write-records", (json_int_t)c->records_out,
                     "write-records-complete", 1, "accumulated-backpressured-time", (json_int_t)c->backpressured_ms,
                     "accumulated-idle-time", (json_int_t)c->idle_ms, "accumulated-busy-time", (double)c->busy_ms);
}

/* The run of `tasks` that belongs to a vertex (tasks are in vertex order). */
static const struct weir_task_view *vertex_tasks(const struct weir_job_view *job, uint32_t vertex, uint32_t *out_count)
{
    uint32_t first = 0;
    while (first < job->ntasks && job->tasks[first].vertex != vertex) {
        first++;
    }
    uint32_t end = first;
    while (end < job->ntasks && job->tasks[end].vertex == vertex) {
        end++;
    }
    *out_count = end - first;
    return end > first ? job->tasks + first : NULL;
}

/* First start and, when all have ended, last end of a vertex's tasks; -1 otherwise. */
static void tasks_span(const struct weir_task_view *tasks, uint32_t ntasks, int64_t *out_start_ms, int64_t *out_end_ms)
{
    int64_t start_ms = -1;
    int64_t end_ms = -1;
    bool ended = ntasks > 0;
    for (uint32_t i = 0; i < ntasks; i++) {
        if (tasks[i].start_ms >= 0 && (start_ms < 0 || tasks[i].start_ms < start_ms)) {
            start_ms = tasks[i].start_ms;
        }
        ended = ended && tasks[i].end_ms >= 0;
        end_ms = tasks[i].end_ms > end_ms ? tasks[i].end_ms : end_ms;
    }
    *out_start_ms = start_ms;
    *out_end_ms = ended ? end_ms : -1;
}

static json_t *detail_vertex(const struct weir_job_view *job, uint32_t v, int64_t now_ms, enum weir_task_state *out_state)
{
    const struct weir_vertex *vertex = &job->graph->vertices[v];
    uint32_t ntasks;
    const struct weir_task_view *tasks = vertex_tasks(job, v, &ntasks);
    uint32_t counts[WEIR_TASK_STATE_COUNT_];
    weir_rest_task_state_counts(tasks, ntasks, counts);
    struct weir_task_counters sum = {0};
    for (uint32_t i = 0; i < ntasks; i++) {
        counters_add(&sum, &tasks[i].counters);
    }
    int64_t start_ms;
    int64_t end_ms;
    tasks_span(tasks, ntasks, &start_ms, &end_ms);
    *out_state = weir_rest_task_state_together(counts);
    /* All vertices share slots, so the job's id names their one sharing group. */
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:I, s:I, s:o, s:o}", "id", vertex->id, "slotSharingGroupId", job->id,
                     "name", vertex->name, "maxParallelism", (json_int_t)vertex->max_parallelism, "parallelism",
                     (json_int_t)vertex->parallelism, "status", weir_task_state_name(*out_state), "start-time",
                     (json_int_t)start_ms, "end-time", (json_int_t)end_ms, "duration", duration_ms(start_ms, end_ms, now_ms),
                     "tasks", counts_upper(counts), "metrics", io_metrics(&sum));
}

static const char *job_type(const struct weir_job_view *job)
{
    return job->graph != NULL && job->graph->bounded ? "BATCH" : "STREAMING";
}

static const char *ship_strategy(enum weir_exchange exchange)
{
    switch (exchange) {
    case WEIR_EXCHANGE_FORWARD:
        return "FORWARD";
    case WEIR_EXCHANGE_HASH:
        return "HASH";
    case WEIR_EXCHANGE_REBALANCE:
        return "REBALANCE";
    case WEIR_EXCHANGE_BROADCAST:
        return "BROADCAST";
    }
    return "FORWARD";
}

static void put_html(struct weir_buf *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        switch (*c) {
        case '&':
            weir_buf_put_str(out, "&amp;");
            break;
        case '<':
            weir_buf_put_str(out, "&lt;");
            break;
        case '>':
            weir_buf_put_str(out, "&gt;");
            break;
        default:
            weir_buf_put(out, c, 1);
        }
    }
}

/* The chain's operators, one a line, as the HTML that Flink's dashboard prints unescaped. */
static json_t *plan_description(const struct weir_vertex *vertex)
{
    struct weir_buf html = {0};
    for (uint32_t i = 0; i < vertex->nops; i++) {
        weir_buf_put_str(&html, i == 0 ? "" : "+- ");
        put_html(&html, vertex->ops[i]->name);
        weir_buf_put_str(&html, "<br/>");
    }
    json_t *text = json_stringn((const char *)html.data, html.len);
    weir_buf_fini(&html);
    return text != NULL ? text : json_string("");
}

static json_t *plan_node(const struct weir_jobgraph *graph, const struct weir_vertex *vertex)
{
    json_t *inputs = json_array();
    for (uint32_t i = 0; i < vertex->ninputs; i++) {
        const struct weir_edge *edge = &graph->edges[vertex->inputs[i]];
        json_array_append_new(inputs, json_pack("{s:I, s:s, s:s, s:s}", "num", (json_int_t)i, "id", graph->vertices[edge->from].id,
                                                "ship_strategy", ship_strategy(edge->exchange), "exchange", "pipelined_bounded"));
    }
    json_t *node = json_pack("{s:s, s:I, s:s, s:s, s:o, s:{}}", "id", vertex->id, "parallelism", (json_int_t)vertex->parallelism,
                             "operator", "", "operator_strategy", "", "description", plan_description(vertex),
                             "optimizer_properties");
    if (vertex->ninputs > 0) {
        json_object_set(node, "inputs", inputs);
    }
    json_decref(inputs);
    return node;
}

static json_t *plan(const struct weir_job_view *job)
{
    json_t *nodes = json_array();
    for (uint32_t v = job->graph != NULL ? job->graph->nvertices : 0; v > 0; v--) { /* sinks first, as Flink */
        json_array_append_new(nodes, plan_node(job->graph, &job->graph->vertices[v - 1]));
    }
    return json_pack("{s:s, s:s, s:s, s:o}", "jid", job->id, "name", job->name, "type", job_type(job), "nodes", nodes);
}

json_t *weir_rest_job_plan(const struct weir_job_view *job)
{
    return json_pack("{s:o}", "plan", plan(job));
}

json_t *weir_rest_job_detail(const struct weir_job_view *job, int64_t now_ms)
{
    json_t *timestamps = json_object();
    for (int s = 0; s < WEIR_JOB_STATE_COUNT_; s++) {
        json_object_set_new(timestamps, weir_job_state_name((enum weir_job_state)s), json_integer(job->state_since_ms[s]));
    }
    uint32_t together[WEIR_TASK_STATE_COUNT_] = {0};
    json_t *vertices = json_array();
    for (uint32_t v = 0; job->graph != NULL && v < job->graph->nvertices; v++) {
        enum weir_task_state state;
        json_array_append_new(vertices, detail_vertex(job, v, now_ms, &state));
        together[state]++;
    }
    json_t *waiting_for = job->waiting_for != NULL ? json_string(job->waiting_for) : json_null();
    json_t *undrained = job->undrained != NULL ? json_string(job->undrained) : json_null();
    json_int_t max_parallelism = job->graph != NULL ? (json_int_t)job->graph->settings.max_parallelism : -1;
    return json_pack("{s:s, s:s, s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:o}", "jid", job->id, "name",
                     job->name, "isStoppable", 0, "state", weir_job_state_name(job->state), "job-type", job_type(job), "start-time",
                     (json_int_t)job->start_ms, "end-time", (json_int_t)job->end_ms, "duration",
                     duration_ms(job->start_ms, job->end_ms, now_ms), "maxParallelism", max_parallelism, "now", (json_int_t)now_ms,
                     "timestamps", timestamps, "vertices", vertices, "status-counts", counts_upper(together), "plan", plan(job),
                     "waiting-for", waiting_for, "restarts", (json_int_t)job->restarts, "undrained", undrained);
}

static const struct weir_tm_view *find_tm(const struct weir_rest_world *world, const char *id)
{
    for (uint32_t i = 0; id != NULL && i < world->ntms; i++) {
        if (strcmp(world->tms[i].id, id) == 0) {
            return &world->tms[i];
        }
    }
    return NULL;
}

static json_t *string_or_null(const char *text)
{
    json_t *string = text != NULL ? json_string(text) : NULL;
    return string != NULL ? string : json_null();
}

/* Failure texts may quote bytes of bad records; what is not UTF-8 is shown as '?'. */
static json_t *failure_text(const char *text, size_t len)
{
    json_t *string = json_stringn(text, len);
    if (string != NULL) {
        return string;
    }
    char *ascii = weir_strndup(text, len);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)ascii[i] >= 0x80) {
            ascii[i] = '?';
        }
    }
    string = json_stringn(ascii, len);
    weir_free(ascii);
    return string;
}

static json_t *history_entry(const struct weir_failure_view *failure, const struct weir_rest_world *world)
{
    const struct weir_tm_view *tm = find_tm(world, failure->tm_id);
    return json_pack("{s:o, s:o, s:I, s:{}, s:o, s:o, s:o, s:[]}", "exceptionName",
                     failure_text(failure->text, strcspn(failure->text, "\n")), "stacktrace",
                     failure_text(failure->text, strlen(failure->text)), "timestamp", (json_int_t)failure->at_ms, "failureLabels",
                     "taskName", string_or_null(failure->task_name), "endpoint",
                     string_or_null(tm != NULL ? tm->data_address : NULL), "taskManagerId", string_or_null(failure->tm_id),
                     "concurrentExceptions");
}

/* The form of Flink before 1.13, still in 1.20. */
static json_t *all_exceptions_entry(const struct weir_failure_view *failure, const struct weir_rest_world *world)
{
    const struct weir_tm_view *tm = find_tm(world, failure->tm_id);
    const char *endpoint = tm != NULL ? tm->data_address : NULL;
    return json_pack("{s:o, s:o, s:o, s:o, s:I, s:o}", "exception", failure_text(failure->text, strlen(failure->text)), "task",
                     string_or_null(failure->task_name), "location", string_or_null(endpoint), "endpoint", string_or_null(endpoint),
                     "timestamp", (json_int_t)failure->at_ms, "taskManagerId", string_or_null(failure->tm_id));
}

json_t *weir_rest_job_exceptions(const struct weir_job_view *job, const struct weir_rest_world *world, uint32_t entries_max)
{
    uint32_t count = job->nfailures < entries_max ? job->nfailures : entries_max;
    json_t *entries = json_array();
    json_t *all = json_array();
    for (uint32_t i = 0; i < count; i++) {
        const struct weir_failure_view *failure = &job->failures[job->nfailures - 1 - i];
        json_array_append_new(entries, history_entry(failure, world));
        json_array_append_new(all, all_exceptions_entry(failure, world));
    }
    json_t *root = json_null();
    json_t *timestamp = json_null();
    if (job->nfailures > 0) {
        const struct weir_failure_view *newest = &job->failures[job->nfailures - 1];
        root = failure_text(newest->text, strlen(newest->text));
        timestamp = json_integer(newest->at_ms);
    }
    int truncated = count < job->nfailures;
    return json_pack("{s:o, s:o, s:o, s:b, s:{s:o, s:b}}", "root-exception", root, "timestamp", timestamp, "all-exceptions", all,
                     "truncated", truncated, "exceptionHistory", "entries", entries, "truncated", truncated);
}

/* --- checkpoints ------------------------------------------------------------------------------------------------------ */
static int compare_u64(const void *a, const void *b);

/* Of completed checkpoints; no values: Flink's quantiles are then the string "NaN". sorts values. */
static json_t *summary(uint64_t *values, uint32_t count)
{
    static const struct {
        const char *name;
        uint32_t per_mille;
    } quantiles[] = {{"p50", 500}, {"p90", 900}, {"p95", 950}, {"p99", 990}, {"p999", 999}};
    uint64_t sum = 0;
    qsort(values, count, sizeof(*values), compare_u64);
    for (uint32_t i = 0; i < count; i++) {
        sum += values[i];
    }
    json_t *object = json_pack("{s:I, s:I, s:I}", "min", (json_int_t)(count > 0 ? values[0] : 0), "max",
                               (json_int_t)(count > 0 ? values[count - 1] : 0), "avg", (json_int_t)(count > 0 ? sum / count : 0));
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
        uint32_t rank = (count * quantiles[i].per_mille + 999) / 1000; /* nearest rank, from 1 */
        json_object_set_new(object, quantiles[i].name, count == 0 ? json_string("NaN") : json_real((double)values[rank - 1]));
    }
    return object;
}

static int64_t ckpt_duration_ms(const struct weir_ckpt_view *ckpt)
{
    int64_t until = ckpt->ended_ms >= 0 ? ckpt->ended_ms : ckpt->latest_ack_ms;
    return until >= ckpt->began_ms ? until - ckpt->began_ms : 0;
}

/* Where the checkpoint lies, as Flink writes it: "file:/dir/job/chk-1". NULL: not completed. */
static json_t *external_path(const struct weir_ckpt_view *ckpt)
{
    const char *slash = ckpt->path == NULL ? NULL : strrchr(ckpt->path, '/');
    return slash == NULL ? json_null() : json_sprintf("file:%.*s", (int)(slash - ckpt->path), ckpt->path);
}

static json_t *checkpoint(const struct weir_ckpt_view *ckpt, bool discarded)
{
    static const char *const classes[] = {"in_progress", "completed", "failed"};
    static const char *const statuses[] = {"IN_PROGRESS", "COMPLETED", "FAILED"};
    json_t *object = json_pack("{s:s, s:I, s:s, s:b, s:n, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:I, s:I, s:s, s:{}}", "className",
                               classes[ckpt->status], "id", (json_int_t)ckpt->id, "status", statuses[ckpt->status], "is_savepoint", 0,
                               "savepointFormat", "trigger_timestamp", (json_int_t)ckpt->began_ms, "latest_ack_timestamp",
                               (json_int_t)ckpt->latest_ack_ms, "checkpointed_size", (json_int_t)ckpt->new_bytes, "state_size",
                               (json_int_t)ckpt->state_bytes, "end_to_end_duration", (json_int_t)ckpt_duration_ms(ckpt),
                               "alignment_buffered", 0, "processed_data", 0, "persisted_data", 0, "num_subtasks", (json_int_t)ckpt->tasks,
                               "num_acknowledged_subtasks", (json_int_t)ckpt->acked, "checkpoint_type", "CHECKPOINT", "tasks");
    if (ckpt->status == WEIR_CKPT_COMPLETED) {
        json_object_set_new(object, "external_path", external_path(ckpt));
        json_object_set_new(object, "discarded", json_boolean(discarded));
    } else if (ckpt->status == WEIR_CKPT_FAILED) {
        const char *text = ckpt->failure == NULL ? "" : ckpt->failure;
        json_object_set_new(object, "failure_timestamp", json_integer(ckpt->ended_ms));
        json_object_set_new(object, "failure_message", failure_text(text, strlen(text)));
    }
    return object;
}

static json_t *restored(const struct weir_ckpts_view *ckpts)
{
    const struct weir_ckpt_view *ckpt = ckpts->latest_restored;
    return ckpt == NULL ? json_null()
                        : json_pack("{s:I, s:I, s:b, s:o}", "id", (json_int_t)ckpt->id, "restore_timestamp", (json_int_t)ckpts->restored_ms,
                                    "is_savepoint", 0, "external_path", external_path(ckpt));
}

/* The newest first; of the completed ones all but the newest retained_max are discarded. */
static json_t *history(const struct weir_ckpts_view *ckpts)
{
    json_t *array = json_array();
    uint32_t completed = 0;
    for (uint32_t i = ckpts->nhistory; i-- > 0;) {
        completed += ckpts->history[i].status == WEIR_CKPT_COMPLETED;
        json_array_append_new(array, checkpoint(&ckpts->history[i], completed > ckpts->retained_max));
    }
    return array;
}

static json_t *summaries(const struct weir_ckpts_view *ckpts)
{
    static const char *const unmeasured[] = {"alignment_buffered", "processed_data", "persisted_data"};
    uint64_t sizes[WEIR_CKPT_HISTORY_MAX];
    uint64_t news[WEIR_CKPT_HISTORY_MAX];
    uint64_t durations[WEIR_CKPT_HISTORY_MAX];
    uint64_t zeros[WEIR_CKPT_HISTORY_MAX] = {0};
    uint32_t count = 0;
    for (uint32_t i = 0; i < ckpts->nhistory; i++) {
        if (ckpts->history[i].status == WEIR_CKPT_COMPLETED) {
            sizes[count] = ckpts->history[i].state_bytes;
            news[count] = ckpts->history[i].new_bytes;
            durations[count++] = (uint64_t)ckpt_duration_ms(&ckpts->history[i]);
        }
    }
    json_t *object = json_pack("{s:o, s:o, s:o}", "checkpointed_size", summary(news, count), "state_size", summary(sizes, count),
                               "end_to_end_duration", summary(durations, count));
    for (size_t i = 0; i < sizeof(unmeasured) / sizeof(unmeasured[0]); i++) {
        json_object_set_new(object, unmeasured[i], summary(zeros, count));
    }
    return object;
}

json_t *weir_rest_job_checkpoints(const struct weir_job_view *job)
{
    static const struct weir_ckpts_view none = {0};
    const struct weir_ckpts_view *ckpts = job->checkpoints == NULL ? &none : job->checkpoints;
    json_t *completed = ckpts->latest_completed == NULL ? json_null() : checkpoint(ckpts->latest_completed, false);
    json_t *failed = ckpts->latest_failed == NULL ? json_null() : checkpoint(ckpts->latest_failed, false);
    uint64_t ended = ckpts->completed + ckpts->failed;
    return json_pack("{s:{s:I, s:I, s:I, s:I, s:I}, s:o, s:{s:o, s:n, s:o, s:o}, s:o}", "counts", "restored", (json_int_t)ckpts->restored,
                     "total", (json_int_t)ckpts->total, "in_progress", (json_int_t)(ckpts->total - ended), "completed",
                     (json_int_t)ckpts->completed, "failed", (json_int_t)ckpts->failed, "summary", summaries(ckpts), "latest", "completed",
                     completed, "savepoint", "failed", failed, "restored", restored(ckpts), "history", history(ckpts));
}

json_t *weir_rest_job_checkpoints_config(const struct weir_job_view *job)
{
    weir_assert(job->graph != NULL);
    const struct weir_job_settings *settings = &job->graph->settings;
    return json_pack("{s:s, s:I, s:I, s:I, s:i, s:{s:b, s:b}, s:s, s:s, s:b, s:I, s:i, s:b, s:b, s:i, s:s}", "mode", "exactly_once", "interval",
                     (json_int_t)settings->checkpoint_interval_ms, "timeout", (json_int_t)settings->checkpoint_timeout_ms, "min_pause",
                     (json_int_t)settings->checkpoint_min_pause_ms, "max_concurrent", 1, "externalization", "enabled", 1,
                     "delete_on_cancellation", 1, "state_backend", "HashMapStateBackend", "checkpoint_storage", "FileSystemCheckpointStorage",
                     "unaligned_checkpoints", 0, "tolerable_failed_checkpoints", (json_int_t)settings->checkpoint_failures_max,
                     "aligned_checkpoint_timeout", 0, "checkpoints_after_tasks_finish", 0, "state_changelog_enabled", 0,
                     "changelog_periodic_materialization_interval", 0, "changelog_storage", "");
}

bool weir_rest_job_vertex_find(const struct weir_job_view *job, struct weir_slice vertex_id, uint32_t *out_vertex)
{
    for (uint32_t v = 0; job->graph != NULL && v < job->graph->nvertices; v++) {
        if (weir_slice_eq_str(vertex_id, job->graph->vertices[v].id)) {
            *out_vertex = v;
            return true;
        }
    }
    return false;
}

static json_t *subtask(const struct weir_task_view *task, const struct weir_rest_world *world)
{
    const struct weir_tm_view *tm = find_tm(world, task->tm_id);
    const char *endpoint = tm != NULL && tm->data_address != NULL ? tm->data_address : "(unassigned)";
    const char *colon = strrchr(endpoint, ':');
    size_t host_bytes = colon != NULL ? (size_t)(colon - endpoint) : strlen(endpoint);
    return json_pack("{s:I, s:s, s:I, s:s%, s:s, s:I, s:I, s:I, s:o, s:s, s:{}, s:I}", "subtask", (json_int_t)task->subtask, "status",
                     weir_task_state_name(task->state), "attempt", (json_int_t)task->attempt, "host", endpoint, host_bytes,
                     "endpoint", endpoint, "start-time", (json_int_t)task->start_ms, "end-time", (json_int_t)task->end_ms,
                     "duration", duration_ms(task->start_ms, task->end_ms, world->now_ms), "metrics", io_metrics(&task->counters),
                     "taskmanager-id", task->tm_id != NULL ? task->tm_id : "(unassigned)", "status-duration", "start_time",
                     (json_int_t)task->start_ms);
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static json_int_t quantile(const uint64_t *sorted, uint32_t count, uint32_t percent)
{
    uint64_t rank = ((uint64_t)count * percent + 99) / 100; /* nearest rank, from 1 */
    return (json_int_t)sorted[rank > 0 ? rank - 1 : 0];
}

/* {min, max, avg, sum, median, p25, p75, p95} of a field over the tasks. */
static json_t *aggregate(const struct weir_task_view *tasks, uint32_t ntasks, size_t field_offset)
{
    if (ntasks == 0) {
        return json_object();
    }
    uint64_t *values = weir_calloc(ntasks, sizeof(*values));
    uint64_t sum = 0;
    for (uint32_t i = 0; i < ntasks; i++) {
        memcpy(&values[i], (const char *)&tasks[i].counters + field_offset, sizeof(values[i]));
        sum += values[i];
    }
    qsort(values, ntasks, sizeof(*values), compare_u64);
    json_t *object =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "min", (json_int_t)values[0], "max", (json_int_t)values[ntasks - 1],
                  "avg", (json_int_t)(sum / ntasks), "sum", (json_int_t)sum, "median", quantile(values, ntasks, 50), "p25",
                  quantile(values, ntasks, 25), "p75", quantile(values, ntasks, 75), "p95", quantile(values, ntasks, 95));
    weir_free(values);
    return object;
}

json_t *weir_rest_job_vertex(const struct weir_job_view *job, uint32_t vertex_index, const struct weir_rest_world *world)
{
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {
        {"read-bytes", offsetof(struct weir_task_counters, bytes_in)},
        {"write-bytes", offsetof(struct weir_task_counters, bytes_out)},
        {"read-records", offsetof(struct weir_task_counters, records_in)},
        {"write-records", offsetof(struct weir_task_counters, records_out)},
        {"accumulated-backpressured-time", offsetof(struct weir_task_counters, backpressured_ms)},
        {"accumulated-idle-time", offsetof(struct weir_task_counters, idle_ms)},
        {"accumulated-busy-time", offsetof(struct weir_task_counters, busy_ms)},
    };
    weir_assert(job->graph != NULL && vertex_index < job->graph->nvertices);
    const struct weir_vertex *vertex = &job->graph->vertices[vertex_index];
    uint32_t ntasks;
    const struct weir_task_view *tasks = vertex_tasks(job, vertex_index, &ntasks);
    json_t *subtasks = json_array();
    for (uint32_t i = 0; i < ntasks; i++) {
        json_array_append_new(subtasks, subtask(&tasks[i], world));
    }
    json_t *metrics = json_object();
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        json_object_set_new(metrics, fields[i].name, aggregate(tasks, ntasks, fields[i].offset));
    }
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:o, s:{s:o, s:{}}}", "id", vertex->id, "name", vertex->name, "parallelism",
                     (json_int_t)vertex->parallelism, "maxParallelism", (json_int_t)vertex->max_parallelism, "now",
                     (json_int_t)world->now_ms, "subtasks", subtasks, "aggregated", "metrics", metrics, "status-duration");
}
