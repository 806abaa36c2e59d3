#include "jobmanager/rest/rest_route.h"

#include "common/base/version.h"

#include <check.h>

static bool match(const char *pattern, const char *path, struct weir_route_params *params)
{
    return weir_route_match(pattern, path, params);
}

START_TEST(fixed_paths_bare_and_under_v1)
{
    struct weir_route_params p;
    ck_assert(match("/jobs/overview", "/jobs/overview", &p));
    ck_assert(match("/jobs/overview", "/v1/jobs/overview", &p));
    ck_assert(!match("/jobs/overview", "/v2/jobs/overview", &p));
    ck_assert(!match("/jobs/overview", "/jobs", &p));
    ck_assert(!match("/jobs", "/jobs/overview", &p));
    ck_assert(!match("/jobs", "/jobs/", &p));
    ck_assert(!match("/jobs", "/jobsx", &p));
    ck_assert(!match("/jobs", "jobs", &p));
    ck_assert(!match("/jobs", "", &p));
    ck_assert(!match("/jobs", "/v1", &p));
}
END_TEST

START_TEST(parameters_take_one_segment)
{
    struct weir_route_params p;
    ck_assert(match("/jobs/:jobid/vertices/:vertexid", "/jobs/my job/vertices/a:b", &p));
    ck_assert_uint_eq(p.count, 2);
    ck_assert_str_eq(p.text[0], "my job");
    ck_assert_str_eq(p.text[1], "a:b");
    ck_assert(match("/taskmanagers/:id", "/v1/taskmanagers/127.0.0.1:41241-66639b", &p));
    ck_assert_str_eq(p.text[0], "127.0.0.1:41241-66639b");
    ck_assert(!match("/jobs/:jobid", "/jobs/", &p));
    ck_assert(!match("/jobs/:jobid", "/jobs/a/b", &p));
    ck_assert(!match("/jobs/:jobid/plan", "/jobs//plan", &p));
}
END_TEST

START_TEST(parameters_have_a_limit)
{
    struct weir_route_params p;
    char path[8 + WEIR_ROUTE_PARAM_BYTES_MAX] = "/jobs/";
    memset(path + 6, 'a', WEIR_ROUTE_PARAM_BYTES_MAX);
    path[6 + WEIR_ROUTE_PARAM_BYTES_MAX] = '\0';
    ck_assert(!match("/jobs/:jobid", path, &p));
    path[5 + WEIR_ROUTE_PARAM_BYTES_MAX] = '\0';
    ck_assert(match("/jobs/:jobid", path, &p));
}
END_TEST

START_TEST(clients_of_this_release_are_served)
{
    static const char *const others[] = {"", "0", "0.1", "0.0.9", WEIR_VERSION ".1", " " WEIR_VERSION, "v" WEIR_VERSION};
    struct weir_error err = {0};
    ck_assert_int_eq(weir_route_check_version(NULL, &err), WEIR_OK);
    ck_assert_int_eq(weir_route_check_version(WEIR_VERSION, &err), WEIR_OK);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        ck_assert_int_eq(weir_route_check_version(others[i], &err), WEIR_INVALID);
        ck_assert_ptr_nonnull(strstr(err.text, "Weir " WEIR_VERSION ": run the same release of Weir on both"));
    }
    ck_assert_int_eq(weir_route_check_version("9.9.9", &err), WEIR_INVALID);
    ck_assert_ptr_eq(strstr(err.text, "this client is of Weir 9.9.9, but the JobManager is of Weir " WEIR_VERSION ": "), err.text);
    char strange[5001]; /* it is shown in part, and harmless */
    memset(strange, '\xff', sizeof(strange) - 1);
    strange[0] = '\n';
    strange[sizeof(strange) - 1] = '\0';
    ck_assert_int_eq(weir_route_check_version(strange, &err), WEIR_INVALID);
    ck_assert_ptr_eq(strstr(err.text, "this client is of Weir ???????????????????????????????????????, but "), err.text);
}
END_TEST

Suite *rest_route_suite(void);
Suite *rest_route_suite(void)
{
    Suite *suite = suite_create("rest_route");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, fixed_paths_bare_and_under_v1);
    tcase_add_test(tc, parameters_take_one_segment);
    tcase_add_test(tc, clients_of_this_release_are_served);
    tcase_add_test(tc, parameters_have_a_limit);
    suite_add_tcase(suite, tc);
    return suite;
}
