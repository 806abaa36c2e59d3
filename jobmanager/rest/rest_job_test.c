#include "jobmanager/rest/rest_job.h"

#include "tests/lib/rest_views.h"

#include <check.h>
#include <jansson.h>

static json_int_t int_at(const json_t *object, const char *key)
{
    ck_assert_msg(json_is_integer(json_object_get(object, key)), "%s", key);
    return json_integer_value(json_object_get(object, key));
}

static const char *text_at(const json_t *object, const char *key)
{
    ck_assert_msg(json_is_string(json_object_get(object, key)), "%s", key);
    return json_string_value(json_object_get(object, key));
}

START_TEST(every_field_of_flink_is_there)
{
    struct rest_views v;
    rest_views_init(&v);
    struct weir_rest_world world = {.now_ms = REST_VIEWS_NOW_MS, .tms = v.tms, .ntms = 2};
    rest_views_check_sample("jobs_jobid", weir_rest_job_detail(&v.job, REST_VIEWS_NOW_MS));
    rest_views_check_sample("jobs_jobid_plan", weir_rest_job_plan(&v.job));
    rest_views_check_sample("jobs_jobid_vertices_vertexid", weir_rest_job_vertex(&v.job, 1, &world));
    rest_views_check_sample("jobs_jobid_checkpoints", weir_rest_job_checkpoints(&v.job));
    rest_views_check_sample("jobs_jobid_exceptions", weir_rest_job_exceptions(&v.job, &world, 10));
    rest_views_check_sample("jobs", json_pack("{s:[o]}", "jobs", weir_rest_job_id_status(&v.job)));
    rest_views_check_sample("jobs_overview", json_pack("{s:[o]}", "jobs", weir_rest_job_summary(&v.job, REST_VIEWS_NOW_MS)));
}
END_TEST

START_TEST(checkpoints_are_counted_and_listed)
{
    struct rest_views v;
    rest_views_init(&v);
    const struct weir_ckpt_view list[] = {
        {.id = 1, .status = WEIR_CKPT_COMPLETED, .began_ms = 100, .latest_ack_ms = 110, .ended_ms = 120, .state_bytes = 50, .new_bytes = 20, .tasks = 4, .acked = 4,
         .path = "/c/j/chk-1/_metadata"},
        {.id = 2, .status = WEIR_CKPT_FAILED, .began_ms = 200, .latest_ack_ms = -1, .ended_ms = 230, .tasks = 4, .failure = "no \xff room"},
        {.id = 3, .status = WEIR_CKPT_COMPLETED, .began_ms = 300, .latest_ack_ms = 330, .ended_ms = 340, .state_bytes = 70, .tasks = 4, .acked = 4,
         .path = "/c/j/chk-3/_metadata"},
        {.id = 4, .status = WEIR_CKPT_IN_PROGRESS, .began_ms = 400, .latest_ack_ms = -1, .ended_ms = -1, .tasks = 4}};
    const struct weir_ckpts_view ckpts = {.restored = 1, .total = 4, .completed = 2, .failed = 1, .history = list, .nhistory = 4,
                                          .latest_completed = &list[2], .latest_failed = &list[1], .latest_restored = &list[0],
                                          .restored_ms = 150, .retained_max = 1};
    v.job.checkpoints = &ckpts;
    json_t *doc = weir_rest_job_checkpoints(&v.job);
    const json_t *history = json_object_get(doc, "history");
    ck_assert_uint_eq(json_array_size(history), 4);
    ck_assert_str_eq(text_at(json_array_get(history, 0), "status"), "IN_PROGRESS");
    ck_assert_int_eq(int_at(json_object_get(doc, "counts"), "in_progress"), 1);
    const json_t *latest = json_object_get(doc, "latest");
    ck_assert_str_eq(text_at(json_object_get(latest, "completed"), "external_path"), "file:/c/j/chk-3");
    ck_assert_int_eq(int_at(json_object_get(latest, "completed"), "end_to_end_duration"), 40);
    ck_assert_int_eq(int_at(json_object_get(latest, "restored"), "id"), 1);
    ck_assert_ptr_nonnull(strstr(text_at(json_object_get(latest, "failed"), "failure_message"), "room"));
    ck_assert(json_is_false(json_object_get(json_array_get(history, 1), "discarded")));
    ck_assert(json_is_true(json_object_get(json_array_get(history, 3), "discarded")));
    const json_t *sizes = json_object_get(json_object_get(doc, "summary"), "state_size");
    ck_assert_int_eq(int_at(sizes, "avg"), 60);
    ck_assert_int_eq((int)json_real_value(json_object_get(sizes, "p50")), 50);
    ck_assert_int_eq((int)json_real_value(json_object_get(sizes, "p99")), 70);
    ck_assert_int_eq(int_at(json_array_get(history, 3), "checkpointed_size"), 20);
    ck_assert_int_eq(int_at(json_array_get(history, 3), "state_size"), 50);
    json_decref(doc);
    v.job.checkpoints = &(struct weir_ckpts_view){.completed = 1, .total = 1, .history = list, .nhistory = 1, .latest_completed = &list[0]};
    rest_views_check_sample("jobs_jobid_checkpoints", weir_rest_job_checkpoints(&v.job));
    rest_views_check_sample("jobs_jobid_checkpoints_config", weir_rest_job_checkpoints_config(&v.job));
}
END_TEST

START_TEST(detail_adds_up_the_tasks)
{
    struct rest_views v;
    rest_views_init(&v);
    v.job.waiting_for = "2 slots needed, 1 free";
    v.job.undrained = "sink write (results), checkpoint 17";
    json_t *detail = weir_rest_job_detail(&v.job, REST_VIEWS_NOW_MS);
    ck_assert_str_eq(text_at(detail, "state"), "RUNNING");
    ck_assert_str_eq(text_at(detail, "waiting-for"), "2 slots needed, 1 free");
    ck_assert_str_eq(text_at(detail, "undrained"), "sink write (results), checkpoint 17");
    ck_assert_int_eq(int_at(detail, "duration"), 1000);
    const json_t *write = json_array_get(json_object_get(detail, "vertices"), 1);
    ck_assert_int_eq(int_at(write, "start-time"), REST_VIEWS_NOW_MS - 498);
    ck_assert_int_eq(int_at(write, "end-time"), -1);
    ck_assert_int_eq(int_at(json_object_get(write, "tasks"), "RUNNING"), 2);
    ck_assert_int_eq(int_at(json_object_get(write, "metrics"), "read-records"), 50);
    ck_assert_int_eq(int_at(json_object_get(detail, "status-counts"), "RUNNING"), 2);
    json_decref(detail);
}
END_TEST

START_TEST(plan_lists_sinks_first_and_escapes_html)
{
    struct rest_views v;
    rest_views_init(&v);
    json_t *plan = weir_rest_job_plan(&v.job);
    const json_t *nodes = json_object_get(json_object_get(plan, "plan"), "nodes");
    ck_assert_str_eq(text_at(json_array_get(nodes, 0), "description"), "write: statistics<br/>");
    ck_assert_str_eq(text_at(json_array_get(nodes, 1), "description"),
                     "read: vehicles<br/>+- filter: speed &gt;= 0 &amp; \"x\" &lt; 'y'<br/>");
    const json_t *input = json_array_get(json_object_get(json_array_get(nodes, 0), "inputs"), 0);
    ck_assert_str_eq(text_at(input, "id"), v.vertices[0].id);
    ck_assert_str_eq(text_at(input, "ship_strategy"), "HASH");
    ck_assert_ptr_null(json_object_get(json_array_get(nodes, 1), "inputs"));
    json_decref(plan);
}
END_TEST

START_TEST(exceptions_are_newest_first_and_cut)
{
    struct rest_views v;
    rest_views_init(&v);
    v.job.failures = v.failures;
    v.job.nfailures = 2;
    struct weir_rest_world world = {.now_ms = REST_VIEWS_NOW_MS, .tms = v.tms, .ntms = 2};
    json_t *doc = weir_rest_job_exceptions(&v.job, &world, 1);
    const json_t *history = json_object_get(doc, "exceptionHistory");
    ck_assert(json_is_true(json_object_get(history, "truncated")));
    ck_assert_uint_eq(json_array_size(json_object_get(history, "entries")), 1);
    const json_t *entry = json_array_get(json_object_get(history, "entries"), 0);
    ck_assert_str_eq(text_at(entry, "exceptionName"), "newer");
    ck_assert_str_eq(text_at(entry, "stacktrace"), "newer\nsecond line");
    ck_assert_str_eq(text_at(entry, "endpoint"), "127.0.0.1:2001");
    ck_assert_int_eq(int_at(doc, "timestamp"), 200);
    json_decref(doc);
}
END_TEST

START_TEST(failure_that_quotes_broken_utf8_is_still_shown)
{
    struct rest_views v;
    rest_views_init(&v);
    v.failures[0].text = "bad record: \xff\xfe!";
    v.job.failures = v.failures;
    v.job.nfailures = 1;
    struct weir_rest_world world = {.now_ms = REST_VIEWS_NOW_MS};
    json_t *doc = weir_rest_job_exceptions(&v.job, &world, 10);
    ck_assert_str_eq(text_at(doc, "root-exception"), "bad record: ?" "?!");
    json_decref(doc);
}
END_TEST

START_TEST(job_without_graph_or_tasks)
{
    struct rest_views v;
    rest_views_init(&v);
    v.job.graph = NULL;
    v.job.tasks = NULL;
    v.job.ntasks = 0;
    v.job.state = WEIR_JOB_FAILED;
    json_t *detail = weir_rest_job_detail(&v.job, REST_VIEWS_NOW_MS);
    ck_assert_uint_eq(json_array_size(json_object_get(detail, "vertices")), 0);
    json_decref(detail);
    uint32_t vertex;
    ck_assert(!weir_rest_job_vertex_find(&v.job, weir_slice_str(v.vertices[0].id), &vertex));
    rest_views_init(&v);
    ck_assert(weir_rest_job_vertex_find(&v.job, weir_slice_str(v.vertices[1].id), &vertex));
    ck_assert_uint_eq(vertex, 1);
    ck_assert(!weir_rest_job_vertex_find(&v.job, weir_slice_str("0123"), &vertex));
    /* tasks not created yet: vertices without a single task are CREATED */
    v.job.ntasks = 0;
    detail = weir_rest_job_detail(&v.job, REST_VIEWS_NOW_MS);
    ck_assert_str_eq(text_at(json_array_get(json_object_get(detail, "vertices"), 0), "status"), "CREATED");
    ck_assert_int_eq(int_at(json_array_get(json_object_get(detail, "vertices"), 0), "duration"), -1);
    json_decref(detail);
}
END_TEST

START_TEST(state_of_tasks_together)
{
    static const struct {
        enum weir_task_state a, b, together;
    } cases[] = {
        {WEIR_TASK_RUNNING, WEIR_TASK_FINISHED, WEIR_TASK_RUNNING},     {WEIR_TASK_FINISHED, WEIR_TASK_FINISHED, WEIR_TASK_FINISHED},
        {WEIR_TASK_RUNNING, WEIR_TASK_FAILED, WEIR_TASK_FAILED},        {WEIR_TASK_CANCELED, WEIR_TASK_CANCELING, WEIR_TASK_CANCELING},
        {WEIR_TASK_CREATED, WEIR_TASK_DEPLOYING, WEIR_TASK_DEPLOYING},  {WEIR_TASK_CREATED, WEIR_TASK_CREATED, WEIR_TASK_CREATED},
        {WEIR_TASK_INITIALIZING, WEIR_TASK_RUNNING, WEIR_TASK_INITIALIZING},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t counts[WEIR_TASK_STATE_COUNT_] = {0};
        counts[cases[i].a]++;
        counts[cases[i].b]++;
        ck_assert_int_eq(weir_rest_task_state_together(counts), cases[i].together);
    }
}
END_TEST

Suite *rest_job_suite(void);
Suite *rest_job_suite(void)
{
    Suite *suite = suite_create("rest_job");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, every_field_of_flink_is_there);
    tcase_add_test(tc, checkpoints_are_counted_and_listed);
    tcase_add_test(tc, detail_adds_up_the_tasks);
    tcase_add_test(tc, plan_lists_sinks_first_and_escapes_html);
    tcase_add_test(tc, exceptions_are_newest_first_and_cut);
    tcase_add_test(tc, failure_that_quotes_broken_utf8_is_still_shown);
    tcase_add_test(tc, job_without_graph_or_tasks);
    tcase_add_test(tc, state_of_tasks_together);
    suite_add_tcase(suite, tc);
    return suite;
}
