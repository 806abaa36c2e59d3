#include "jobmanager/rest/rest_cluster.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/base/version.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static json_int_t mebibytes(uint64_t bytes)
{
    return (json_int_t)(bytes >> 20);
}

json_t *weir_rest_cluster_overview(const struct weir_rest_cluster *cluster)
{
    json_int_t slots = 0;
    json_int_t slots_free = 0;
    for (uint32_t i = 0; i < cluster->ntms; i++) {
        slots += cluster->tms[i].slots;
        slots_free += cluster->tms[i].slots_free;
    }
    json_int_t running = 0;
    json_int_t ended[WEIR_JOB_STATE_COUNT_] = {0};
    for (uint32_t i = 0; i < cluster->njobs; i++) {
        enum weir_job_state state = cluster->jobs[i].state;
        if (weir_job_state_terminal(state)) {
            ended[state]++;
        } else {
            running++;
        }
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s}", "taskmanagers", (json_int_t)cluster->ntms, "slots-total",
                     slots, "slots-available", slots_free, "jobs-running", running, "jobs-finished", ended[WEIR_JOB_FINISHED],
                     "jobs-cancelled", ended[WEIR_JOB_CANCELED], "jobs-failed", ended[WEIR_JOB_FAILED], "flink-version",
                     "weir-" WEIR_VERSION, "flink-commit", "");
}

json_t *weir_rest_cluster_features(void)
{
    return json_pack("{s:i, s:s, s:i, s:s, s:s, s:{s:b, s:b, s:b, s:b}}", "refresh-interval", 3000, "timezone-name",
                     "Coordinated Universal Time", "timezone-offset", 0, "flink-version", "weir-" WEIR_VERSION, "flink-revision",
                     WEIR_VERSION, "features", "web-submit", 0, "web-cancel", 1, "web-rescale", 0, "web-history", 0);
}

/* Flink's ResourceProfileInfo: memory in MiB. */
static json_t *resource(double cpu_cores, uint64_t memory_bytes)
{
    return json_pack("{s:f, s:i, s:i, s:I, s:i, s:{}}", "cpuCores", cpu_cores, "taskHeapMemory", 0, "taskOffHeapMemory", 0,
                     "managedMemory", mebibytes(memory_bytes), "networkMemory", 0, "extendedResources");
}

static json_t *memory_configuration(const struct weir_tm_view *tm)
{
    json_int_t bytes = (json_int_t)tm->memory_bytes;
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:I, s:i, s:i, s:I, s:I}", "frameworkHeap", 0, "taskHeap", 0, "frameworkOffHeap", 0,
                     "taskOffHeap", 0, "networkMemory", 0, "managedMemory", bytes, "jvmMetaspace", 0, "jvmOverhead", 0,
                     "totalFlinkMemory", bytes, "totalProcessMemory", bytes);
}

static json_int_t port_of(const char *address)
{
    const char *colon = address != NULL ? strrchr(address, ':') : NULL;
    return colon != NULL ? (json_int_t)strtol(colon + 1, NULL, 10) : -1;
}

static json_t *taskmanager(const struct weir_tm_view *tm)
{
    uint32_t slots = tm->slots > 0 ? tm->slots : 1;
    double free_share = (double)tm->slots_free / slots;
    uint64_t memory_free = tm->memory_bytes > tm->memory_used_bytes ? tm->memory_bytes - tm->memory_used_bytes : 0;
    return json_pack("{s:s, s:s, s:I, s:i, s:I, s:I, s:I, s:o, s:o, s:{s:I, s:I, s:I, s:I}, s:o}", "id", tm->id, "path",
                     tm->rpc_address, "dataPort", port_of(tm->data_address), "jmxPort", -1, "timeSinceLastHeartbeat",
                     (json_int_t)tm->last_heartbeat_wall_ms, "slotsNumber", (json_int_t)tm->slots, "freeSlots",
                     (json_int_t)tm->slots_free, "totalResource", resource(tm->cpu_cores, tm->memory_bytes), "freeResource",
                     resource(tm->cpu_cores * free_share, (uint64_t)((double)tm->memory_bytes * free_share)), "hardware",
                     "cpuCores", (json_int_t)tm->cpu_cores, "physicalMemory", (json_int_t)tm->physical_memory_bytes, "freeMemory",
                     (json_int_t)memory_free, "managedMemory", (json_int_t)tm->memory_bytes, "memoryConfiguration",
                     memory_configuration(tm));
}

json_t *weir_rest_cluster_taskmanagers(const struct weir_rest_cluster *cluster)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < cluster->ntms; i++) {
        json_array_append_new(list, taskmanager(&cluster->tms[i]));
    }
    return json_pack("{s:o}", "taskmanagers", list);
}

static const char *role_name(enum weir_jm_role role)
{
    switch (role) {
    case WEIR_JM_ROLE_LEADER:
        return "leader";
    case WEIR_JM_ROLE_STANDBY:
        return "standby";
    case WEIR_JM_ROLE_JOINING:
        return "joining";
    case WEIR_JM_ROLE_UNREACHABLE:
        return "unreachable";
    case WEIR_JM_ROLE_REMOVED:
        return "removed";
    }
    return "unknown";
}

static json_t *number_or_null(int64_t number)
{
    return number < 0 ? json_null() : json_integer(number);
}

json_t *weir_rest_cluster_jobmanagers(const struct weir_rest_cluster *cluster, const struct weir_jm_cluster_view *jobmanagers)
{
    json_t *leader = json_null();
    json_t *list = json_array();
    json_t *tms = json_array();
    for (uint32_t i = 0; i < jobmanagers->nmembers; i++) {
        const struct weir_jm_member_view *member = &jobmanagers->members[i];
        char id[17];
        (void)snprintf(id, sizeof(id), "%016llx", (unsigned long long)member->id);
        if (member->role == WEIR_JM_ROLE_LEADER) {
            json_decref(leader);
            leader = json_pack("{s:s, s:s}", "rpc", member->rpc_address, "rest", member->rest_address);
        }
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "id", id, "rpc", member->rpc_address, "rest", member->rest_address,
                                              "role", role_name(member->role), "lag", number_or_null(member->lag), "last_heard_ms",
                                              number_or_null(member->last_heard_ms)));
    }
    for (uint32_t i = 0; i < cluster->ntms; i++) {
        json_array_append_new(tms, taskmanager(&cluster->tms[i]));
    }
    return json_pack("{s:o, s:I, s:o, s:o}", "leader", leader, "term", (json_int_t)jobmanagers->term, "jobmanagers", list, "taskmanagers", tms);
}

/* Slots of a TaskManager that a job holds: with slot sharing, one slot runs the subtask of the same number of every vertex. */
static uint32_t slots_held(const struct weir_job_view *job, const char *tm_id)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < job->ntasks; i++) {
        bool here = job->tasks[i].tm_id != NULL && strcmp(job->tasks[i].tm_id, tm_id) == 0;
        bool counted = false;
        for (uint32_t k = 0; here && k < i && !counted; k++) {
            counted = job->tasks[k].subtask == job->tasks[i].subtask && job->tasks[k].tm_id != NULL &&
                      strcmp(job->tasks[k].tm_id, tm_id) == 0;
        }
        held += here && !counted;
    }
    return held;
}

static json_t *allocated_slots(const struct weir_rest_cluster *cluster, const struct weir_tm_view *tm)
{
    uint32_t slots = tm->slots > 0 ? tm->slots : 1;
    json_t *list = json_array();
    for (uint32_t j = 0; j < cluster->njobs; j++) {
        const struct weir_job_view *job = &cluster->jobs[j];
        uint32_t held = weir_job_state_terminal(job->state) ? 0 : slots_held(job, tm->id);
        for (uint32_t i = 0; i < held; i++) {
            json_array_append_new(list, json_pack("{s:s, s:o}", "jobId", job->id, "resource",
                                                  resource((double)tm->cpu_cores / slots, tm->memory_bytes / slots)));
        }
    }
    return list;
}

static json_t *process_metrics(const struct weir_tm_view *tm)
{
    static const char *const without_meaning[] = {
        "heapUsed",
        "heapCommitted",
        "heapMax",
        "nonHeapUsed",
        "nonHeapCommitted",
        "nonHeapMax",
        "directCount",
        "mappedCount",
        "mappedUsed",
        "mappedMax",
        "memorySegmentsAvailable",
        "memorySegmentsTotal",
        "nettyShuffleMemorySegmentsAvailable",
        "nettyShuffleMemorySegmentsUsed",
        "nettyShuffleMemorySegmentsTotal",
        "nettyShuffleMemoryAvailable",
        "nettyShuffleMemoryUsed",
        "nettyShuffleMemoryTotal",
    };
    json_t *metrics = json_object();
    for (size_t i = 0; i < sizeof(without_meaning) / sizeof(without_meaning[0]); i++) {
        json_object_set_new(metrics, without_meaning[i], json_integer(0));
    }
    json_object_set_new(metrics, "directUsed", json_integer((json_int_t)tm->memory_used_bytes));
    json_object_set_new(metrics, "directMax", json_integer((json_int_t)tm->memory_bytes));
    json_object_set_new(metrics, "garbageCollectors", json_array());
    return metrics;
}

json_t *weir_rest_cluster_taskmanager(const struct weir_rest_cluster *cluster, uint32_t tm)
{
    weir_assert(tm < cluster->ntms);
    json_t *object = taskmanager(&cluster->tms[tm]);
    json_object_set_new(object, "allocatedSlots", allocated_slots(cluster, &cluster->tms[tm]));
    json_object_set_new(object, "metrics", process_metrics(&cluster->tms[tm]));
    return object;
}

json_t *weir_rest_cluster_config(const struct weir_config *config)
{
    json_t *list = json_array();
    for (int k = 0; k < WEIR_CFG_COUNT_; k++) {
        enum weir_config_key key = (enum weir_config_key)k;
        char *value = weir_config_text_copy(config, key);
        json_array_append_new(list, json_pack("{s:s, s:s}", "key", weir_config_name(key), "value", value));
        weir_free(value);
    }
    return list;
}
