#include "tests/lib/rest_views.h"

#include <check.h>
#include <jansson.h>
#include <stdio.h>

void rest_views_init(struct rest_views *v)
{
    *v = (struct rest_views){0};
    v->ops[0] = (struct weir_opspec){.tag = WEIR_OP_SOURCE, .uid = "read", .name = "read: vehicles"};
    v->ops[1] = (struct weir_opspec){.tag = WEIR_OP_CALC, .uid = "valid", .name = "filter: speed >= 0 & \"x\" < 'y'"};
    v->ops[2] = (struct weir_opspec){.tag = WEIR_OP_SINK, .uid = "write", .name = "write: statistics"};
    v->chain0[0] = &v->ops[0];
    v->chain0[1] = &v->ops[1];
    v->chain1[0] = &v->ops[2];
    v->edges[0] = (struct weir_edge){.from = 0, .to = 1, .exchange = WEIR_EXCHANGE_HASH};
    v->vertices[0] = (struct weir_vertex){.id = "0123456789abcdef0123456789abcdef", .name = "read -> valid", .parallelism = 2,
                                          .max_parallelism = 128, .ops = v->chain0, .nops = 2, .outputs = v->edge_list, .noutputs = 1};
    v->vertices[1] = (struct weir_vertex){.id = "fedcba9876543210fedcba9876543210", .name = "write", .parallelism = 2,
                                          .max_parallelism = 128, .ops = v->chain1, .nops = 1, .inputs = v->edge_list, .ninputs = 1};
    v->graph = (struct weir_jobgraph){.name = "vehicles", .bounded = false, .vertices = v->vertices, .nvertices = 2,
                                      .edges = v->edges, .nedges = 1, .settings = {.parallelism = 2, .max_parallelism = 128}};
    for (uint32_t i = 0; i < 4; i++) {
        v->tasks[i] = (struct weir_task_view){
            .vertex = i / 2, .subtask = i % 2, .attempt = 1, .state = WEIR_TASK_RUNNING, .tm_id = i % 2 == 0 ? "tm-a" : "tm-b",
            .start_ms = REST_VIEWS_NOW_MS - 500 + i, .end_ms = -1,
            .counters = {.records_in = 10 * i, .records_out = 100 + i, .bytes_in = 1000, .bytes_out = 5, .busy_ms = 7, .idle_ms = 8,
                         .backpressured_ms = 9, .watermark_ms = INT64_MIN}};
    }
    v->failures[0] = (struct weir_failure_view){.at_ms = 100, .text = "older"};
    v->failures[1] = (struct weir_failure_view){.at_ms = 200, .text = "newer\nsecond line", .task_name = "write (2/2)", .tm_id = "tm-b"};
    v->job = (struct weir_job_view){.id = "00112233445566778899aabbccddeeff", .name = "vehicles", .state = WEIR_JOB_RUNNING,
                                    .start_ms = REST_VIEWS_NOW_MS - 1000, .end_ms = -1, .modified_ms = REST_VIEWS_NOW_MS - 600,
                                    .graph = &v->graph, .tasks = v->tasks, .ntasks = 4, .restarts = 1, .attempt = 1};
    v->job.state_since_ms[WEIR_JOB_RUNNING] = REST_VIEWS_NOW_MS - 600;
    v->tms[0] = (struct weir_tm_view){.id = "tm-a", .rpc_address = "127.0.0.1:1000", .data_address = "127.0.0.1:2000", .slots = 2,
                                      .slots_free = 1, .last_heartbeat_wall_ms = REST_VIEWS_NOW_MS - 10, .memory_bytes = 64 << 20,
                                      .memory_used_bytes = 1 << 20, .physical_memory_bytes = 1 << 30, .cpu_cores = 2, .pid = 42,
                                      .version = "0.1.0"};
    v->tms[1] = v->tms[0];
    v->tms[1].id = "tm-b";
    v->tms[1].data_address = "127.0.0.1:2001";
    v->cluster = (struct weir_rest_cluster){.jobs = &v->job, .njobs = 1, .tms = v->tms, .ntms = 2};
}

/* Objects whose keys are data. */
static bool keys_are_data(const char *path)
{
    size_t len = strlen(path);
    static const char status_duration[] = "status-duration";
    size_t n = sizeof(status_duration) - 1;
    return len >= n && strcmp(path + len - n, status_duration) == 0;
}

/* May be null instead, or (quantiles of nothing) the string "NaN". */
static bool type_allowed(const json_t *sample, const json_t *ours)
{
    if (json_typeof(sample) == json_typeof(ours) || json_is_null(sample) || json_is_null(ours)) {
        return true;
    }
    if (json_is_boolean(sample)) {
        return json_is_boolean(ours);
    }
    return json_is_real(sample) && json_is_string(ours) && strcmp(json_string_value(ours), "NaN") == 0;
}

static void check_fields(const char *path, const json_t *sample, json_t *ours)
{
    ck_assert_msg(type_allowed(sample, ours), "%s: type %d, Flink's is %d", path, (int)json_typeof(ours), (int)json_typeof(sample));
    if (json_typeof(sample) != json_typeof(ours) || keys_are_data(path)) {
        return;
    }
    char inner[512];
    if (json_is_array(sample) && json_array_size(sample) > 0) {
        if (json_array_size(ours) > 0) { /* only the first: a plan's source nodes have no "inputs" in Flink either */
            (void)snprintf(inner, sizeof(inner), "%s[0]", path);
            check_fields(inner, json_array_get(sample, 0), json_array_get(ours, 0));
        }
    }
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)sample, key, value) {
        (void)snprintf(inner, sizeof(inner), "%s.%s", path, key);
        json_t *mine = json_object_get(ours, key);
        ck_assert_msg(mine != NULL, "%s is missing", inner);
        check_fields(inner, value, mine);
    }
}

void rest_views_check_sample(const char *sample_file, json_t *ours)
{
    ck_assert_ptr_nonnull(ours);
    char path[256];
    (void)snprintf(path, sizeof(path), "tests/data/flink-rest/%s.json", sample_file);
    json_error_t error;
    json_t *sample = json_load_file(path, 0, &error);
    ck_assert_msg(sample != NULL, "%s: %s", path, error.text);
    check_fields(sample_file, json_object_get(sample, "body"), ours);
    json_decref(sample);
    json_decref(ours);
}
