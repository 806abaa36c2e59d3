#include "jobmanager/rest/rest_metrics.h"

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "tests/lib/rest_views.h"

#include <check.h>
#include <ctype.h>

static char *render(const struct rest_views *views)
{
    struct weir_buf out = {0};
    weir_rest_metrics_put(&views->cluster, REST_VIEWS_NOW_MS, &out);
    weir_buf_put_u8(&out, 0);
    size_t len;
    return (char *)weir_buf_take(&out, &len);
}

START_TEST(task_metrics_carry_flinks_names_and_labels)
{
    struct rest_views v;
    rest_views_init(&v);
    char *text = render(&v);
    ck_assert_ptr_nonnull(strstr(text, "\nflink_taskmanager_job_task_numRecordsIn{job_id=\"00112233445566778899aabbccddeeff\","
                                       "job_name=\"vehicles\",task_id=\"fedcba9876543210fedcba9876543210\",task_name=\"write\","
                                       "subtask_index=\"1\",task_attempt_num=\"1\",tm_id=\"tm-b\"} 30\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nflink_jobmanager_taskSlotsTotal 4\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nflink_jobmanager_numRunningJobs 1\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nflink_taskmanager_Status_Flink_Memory_Managed_Used{tm_id=\"tm-b\"} 1048576\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nflink_jobmanager_job_uptime{job_id=\"00112233445566778899aabbccddeeff\","
                                       "job_name=\"vehicles\"} 600\n"));
    weir_free(text);
}
END_TEST

START_TEST(label_values_are_escaped)
{
    struct rest_views v;
    rest_views_init(&v);
    v.job.name = "a\"b\\c\nd";
    char *text = render(&v);
    ck_assert_ptr_nonnull(strstr(text, "job_name=\"a\\\"b\\\\c\\nd\""));
    weir_free(text);
}
END_TEST

START_TEST(every_line_is_a_comment_or_a_sample)
{
    struct rest_views v;
    rest_views_init(&v);
    char *text = render(&v);
    for (char *line = text; *line != '\0';) {
        char *end = strchr(line, '\n');
        ck_assert_ptr_nonnull(end);
        *end = '\0';
        if (line[0] != '#') {
            const char *value = strrchr(line, ' ');
            ck_assert_msg(value != NULL && (isdigit((unsigned char)value[1]) || value[1] == '-'), "%s", line);
        }
        line = end + 1;
    }
    weir_free(text);
}
END_TEST

Suite *rest_metrics_suite(void);
Suite *rest_metrics_suite(void)
{
    Suite *suite = suite_create("rest_metrics");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, task_metrics_carry_flinks_names_and_labels);
    tcase_add_test(tc, label_values_are_escaped);
    tcase_add_test(tc, every_line_is_a_comment_or_a_sample);
    suite_add_tcase(suite, tc);
    return suite;
}
