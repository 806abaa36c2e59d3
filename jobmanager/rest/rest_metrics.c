#include "jobmanager/rest/rest_metrics.h"

#include "common/base/buf.h"

#include <inttypes.h>

/* Label values escape backslash, quote and newline. */
static void put_label(struct weir_buf *out, const char *name, const char *value, const char *separator)
{
    weir_buf_put_fmt(out, "%s%s=\"", separator, name);
    for (const char *c = value != NULL ? value : ""; *c != '\0'; c++) {
        if (*c == '\n') {
            weir_buf_put_str(out, "\\n");
        } else {
            if (*c == '\\' || *c == '"') {
                weir_buf_put_u8(out, '\\');
            }
            weir_buf_put(out, c, 1);
        }
    }
    weir_buf_put_u8(out, '"');
}

static void put_type(struct weir_buf *out, const char *name, const char *help)
{
    weir_buf_put_fmt(out, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

static void put_single(struct weir_buf *out, const char *name, const char *help, uint64_t value)
{
    put_type(out, name, help);
    weir_buf_put_fmt(out, "%s %" PRIu64 "\n", name, value);
}

struct task_metric {
    const char *name;
    const char *help;
    size_t offset; /* of a uint64_t in weir_task_counters */
};

/* Gauges, as Flink's reporter types them: a restart sets them back. */
static const struct task_metric task_metrics[] = {
    {"flink_taskmanager_job_task_numRecordsIn", "records received", offsetof(struct weir_task_counters, records_in)},
    {"flink_taskmanager_job_task_numRecordsOut", "records emitted", offsetof(struct weir_task_counters, records_out)},
    {"flink_taskmanager_job_task_numBytesIn", "bytes received", offsetof(struct weir_task_counters, bytes_in)},
    {"flink_taskmanager_job_task_numBytesOut", "bytes emitted", offsetof(struct weir_task_counters, bytes_out)},
    {"flink_taskmanager_job_task_accumulateBusyTimeMs", "time spent working", offsetof(struct weir_task_counters, busy_ms)},
    {"flink_taskmanager_job_task_accumulateIdleTimeMs", "time without input", offsetof(struct weir_task_counters, idle_ms)},
    {"flink_taskmanager_job_task_accumulateBackPressuredTimeMs", "time without room for output",
     offsetof(struct weir_task_counters, backpressured_ms)},
    {"flink_taskmanager_job_task_numLateRecordsDropped", "records behind the watermark, dropped",
     offsetof(struct weir_task_counters, late_dropped)},
    {"weir_taskmanager_job_task_numErrorsSkipped", "bad records skipped", offsetof(struct weir_task_counters, errors_skipped)},
    {"weir_taskmanager_job_task_stateBytes", "size of the state", offsetof(struct weir_task_counters, state_bytes)},
};

static void put_task_labels(struct weir_buf *out, const struct weir_job_view *job, const struct weir_task_view *task)
{
    bool known = job->graph != NULL && task->vertex < job->graph->nvertices;
    put_label(out, "job_id", job->id, "{");
    put_label(out, "job_name", job->name, ",");
    put_label(out, "task_id", known ? job->graph->vertices[task->vertex].id : "", ",");
    put_label(out, "task_name", known ? job->graph->vertices[task->vertex].name : "", ",");
    weir_buf_put_fmt(out, ",subtask_index=\"%" PRIu32 "\",task_attempt_num=\"%" PRIu32 "\"", task->subtask, task->attempt);
    put_label(out, "tm_id", task->tm_id, ",");
    weir_buf_put_str(out, "} ");
}

static void put_task_metric(struct weir_buf *out, const struct weir_rest_cluster *cluster, const struct task_metric *metric)
{
    put_type(out, metric->name, metric->help);
    for (uint32_t j = 0; j < cluster->njobs; j++) {
        const struct weir_job_view *job = &cluster->jobs[j];
        for (uint32_t i = 0; i < job->ntasks; i++) {
            uint64_t value;
            memcpy(&value, (const char *)&job->tasks[i].counters + metric->offset, sizeof(value));
            weir_buf_put_str(out, metric->name);
            put_task_labels(out, job, &job->tasks[i]);
            weir_buf_put_fmt(out, "%" PRIu64 "\n", value);
        }
    }
}

static void put_watermarks(struct weir_buf *out, const struct weir_rest_cluster *cluster)
{
    static const char name[] = "flink_taskmanager_job_task_currentInputWatermark";
    put_type(out, name, "event time reached, in epoch milliseconds");
    for (uint32_t j = 0; j < cluster->njobs; j++) {
        const struct weir_job_view *job = &cluster->jobs[j];
        for (uint32_t i = 0; i < job->ntasks; i++) {
            weir_buf_put_str(out, name);
            put_task_labels(out, job, &job->tasks[i]);
            weir_buf_put_fmt(out, "%" PRId64 "\n", job->tasks[i].counters.watermark_ms);
        }
    }
}

static void put_jobs(struct weir_buf *out, const struct weir_rest_cluster *cluster, int64_t now_ms)
{
    put_type(out, "flink_jobmanager_job_uptime", "milliseconds since the job is running");
    for (uint32_t j = 0; j < cluster->njobs; j++) {
        const struct weir_job_view *job = &cluster->jobs[j];
        int64_t since_ms = job->state == WEIR_JOB_RUNNING ? job->state_since_ms[WEIR_JOB_RUNNING] : now_ms;
        weir_buf_put_str(out, "flink_jobmanager_job_uptime");
        put_label(out, "job_id", job->id, "{");
        put_label(out, "job_name", job->name, ",");
        weir_buf_put_fmt(out, "} %" PRId64 "\n", now_ms > since_ms ? now_ms - since_ms : 0);
    }
    put_type(out, "flink_jobmanager_job_numRestarts", "restarts since the job was submitted");
    for (uint32_t j = 0; j < cluster->njobs; j++) {
        weir_buf_put_str(out, "flink_jobmanager_job_numRestarts");
        put_label(out, "job_id", cluster->jobs[j].id, "{");
        put_label(out, "job_name", cluster->jobs[j].name, ",");
        weir_buf_put_fmt(out, "} %" PRIu32 "\n", cluster->jobs[j].restarts);
    }
}

static void put_tm_memory(struct weir_buf *out, const struct weir_rest_cluster *cluster, const char *name, const char *help,
                          size_t offset)
{
    put_type(out, name, help);
    for (uint32_t i = 0; i < cluster->ntms; i++) {
        uint64_t value;
        memcpy(&value, (const char *)&cluster->tms[i] + offset, sizeof(value));
        weir_buf_put_str(out, name);
        put_label(out, "tm_id", cluster->tms[i].id, "{");
        weir_buf_put_fmt(out, "} %" PRIu64 "\n", value);
    }
}

void weir_rest_metrics_put(const struct weir_rest_cluster *cluster, int64_t now_ms, struct weir_buf *out)
{
    uint64_t slots = 0;
    uint64_t slots_free = 0;
    for (uint32_t i = 0; i < cluster->ntms; i++) {
        slots += cluster->tms[i].slots;
        slots_free += cluster->tms[i].slots_free;
    }
    uint64_t running = 0;
    for (uint32_t j = 0; j < cluster->njobs; j++) {
        running += !weir_job_state_terminal(cluster->jobs[j].state);
    }
    put_single(out, "flink_jobmanager_numRegisteredTaskManagers", "TaskManagers in the cluster", cluster->ntms);
    put_single(out, "flink_jobmanager_numRunningJobs", "jobs that have not ended", running);
    put_single(out, "flink_jobmanager_taskSlotsTotal", "task slots", slots);
    put_single(out, "flink_jobmanager_taskSlotsAvailable", "free task slots", slots_free);
    put_jobs(out, cluster, now_ms);
    put_tm_memory(out, cluster, "flink_taskmanager_Status_Flink_Memory_Managed_Total", "the memory budget in bytes",
                  offsetof(struct weir_tm_view, memory_bytes));
    put_tm_memory(out, cluster, "flink_taskmanager_Status_Flink_Memory_Managed_Used", "bytes charged to the memory budget",
                  offsetof(struct weir_tm_view, memory_used_bytes));
    for (size_t i = 0; i < sizeof(task_metrics) / sizeof(task_metrics[0]); i++) {
        put_task_metric(out, cluster, &task_metrics[i]);
    }
    put_watermarks(out, cluster);
}
