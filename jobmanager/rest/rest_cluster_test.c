#include "jobmanager/rest/rest_cluster.h"

#include "tests/lib/rest_views.h"

#include <check.h>
#include <jansson.h>

START_TEST(every_field_of_flink_is_there)
{
    struct rest_views v;
    rest_views_init(&v);
    rest_views_check_sample("overview", weir_rest_cluster_overview(&v.cluster));
    rest_views_check_sample("config", weir_rest_cluster_features());
    rest_views_check_sample("taskmanagers", weir_rest_cluster_taskmanagers(&v.cluster));
    rest_views_check_sample("taskmanagers_id", weir_rest_cluster_taskmanager(&v.cluster, 1));
    struct weir_config *config = weir_config_create();
    rest_views_check_sample("jobmanager_config", weir_rest_cluster_config(config));
    weir_config_destroy(config);
}
END_TEST

START_TEST(overview_counts_slots_and_jobs)
{
    struct rest_views v;
    rest_views_init(&v);
    struct weir_job_view jobs[WEIR_JOB_STATE_COUNT_];
    for (int s = 0; s < WEIR_JOB_STATE_COUNT_; s++) {
        jobs[s] = v.job;
        jobs[s].state = (enum weir_job_state)s;
    }
    v.cluster.jobs = jobs;
    v.cluster.njobs = WEIR_JOB_STATE_COUNT_;
    json_t *overview = weir_rest_cluster_overview(&v.cluster);
    ck_assert_int_eq(json_integer_value(json_object_get(overview, "slots-total")), 4);
    ck_assert_int_eq(json_integer_value(json_object_get(overview, "slots-available")), 2);
    ck_assert_int_eq(json_integer_value(json_object_get(overview, "jobs-running")), WEIR_JOB_STATE_COUNT_ - 3);
    ck_assert_int_eq(json_integer_value(json_object_get(overview, "jobs-finished")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(overview, "jobs-cancelled")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(overview, "jobs-failed")), 1);
    json_decref(overview);
}
END_TEST

START_TEST(slot_shared_by_a_jobs_vertices_counts_once)
{
    struct rest_views v;
    rest_views_init(&v);
    json_t *tm = weir_rest_cluster_taskmanager(&v.cluster, 0);
    ck_assert_uint_eq(json_array_size(json_object_get(tm, "allocatedSlots")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(tm, "dataPort")), 2000);
    json_decref(tm);
    v.job.state = WEIR_JOB_FINISHED;
    tm = weir_rest_cluster_taskmanager(&v.cluster, 0);
    ck_assert_uint_eq(json_array_size(json_object_get(tm, "allocatedSlots")), 0);
    json_decref(tm);
}
END_TEST

START_TEST(job_managers_with_and_without_a_leader)
{
    struct rest_views v;
    rest_views_init(&v);
    struct weir_jm_cluster_view view = {.leader = 7, .term = 3, .nmembers = 2};
    view.members[0] = (struct weir_jm_member_view){.id = UINT64_MAX, .rpc_address = "h:1", .rest_address = "", .role = WEIR_JM_ROLE_UNREACHABLE, .lag = -1, .last_heard_ms = -1};
    view.members[1] = (struct weir_jm_member_view){.id = 7, .rpc_address = "h:2", .rest_address = "h:3", .role = WEIR_JM_ROLE_LEADER, .lag = 0, .last_heard_ms = 0};
    for (int led = 1; led >= 0; led--) {
        view.members[1].role = led ? WEIR_JM_ROLE_LEADER : WEIR_JM_ROLE_STANDBY;
        json_t *cluster = weir_rest_cluster_jobmanagers(&v.cluster, &view);
        const json_t *first = json_array_get(json_object_get(cluster, "jobmanagers"), 0);
        ck_assert(json_is_null(json_object_get(cluster, "leader")) == !led);
        ck_assert(!led || strcmp(json_string_value(json_object_get(json_object_get(cluster, "leader"), "rest")), "h:3") == 0);
        ck_assert_int_eq(json_integer_value(json_object_get(cluster, "term")), 3);
        ck_assert_str_eq(json_string_value(json_object_get(first, "id")), "ffffffffffffffff");
        ck_assert_str_eq(json_string_value(json_object_get(first, "role")), "unreachable");
        ck_assert(json_is_null(json_object_get(first, "lag")) && json_is_null(json_object_get(first, "last_heard_ms")));
        ck_assert_uint_eq(json_array_size(json_object_get(cluster, "taskmanagers")), 2);
        json_decref(cluster);
    }
}
END_TEST

Suite *rest_cluster_suite(void);
Suite *rest_cluster_suite(void)
{
    Suite *suite = suite_create("rest_cluster");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, every_field_of_flink_is_there);
    tcase_add_test(tc, overview_counts_slots_and_jobs);
    tcase_add_test(tc, slot_shared_by_a_jobs_vertices_counts_once);
    tcase_add_test(tc, job_managers_with_and_without_a_leader);
    suite_add_tcase(suite, tc);
    return suite;
}
