#include "common/base/metrics.h"

#include <check.h>
#include <pthread.h>

START_TEST(prometheus_text)
{
    struct weir_metrics *metrics = weir_metrics_create();
    struct weir_buf text = {0};
    weir_metrics_prometheus(metrics, &text);
    ck_assert_uint_eq(text.len, 0);
    struct weir_metrics_scope *a = weir_metrics_scope_create(metrics, "job", "j\"1\\\n", "task", "t", NULL);
    struct weir_metrics_scope *b = weir_metrics_scope_create(metrics, "job", "j2", NULL);
    struct weir_metrics_scope *again = weir_metrics_scope_create(metrics, "job", "j2", NULL);
    struct weir_metrics_scope *bare = weir_metrics_scope_create(metrics, NULL);
    weir_metric_add(weir_metrics_cell(b, WEIR_METRIC_RECORDS_IN), 5);
    weir_metric_add(weir_metrics_cell(again, WEIR_METRIC_RECORDS_IN), 6);
    weir_metric_set(weir_metrics_cell(a, WEIR_METRIC_WATERMARK), INT64_MIN);
    weir_metric_add(weir_metrics_cell(a, WEIR_METRIC_RECORDS_IN), 0);
    weir_metric_set(weir_metrics_cell(bare, WEIR_METRIC_MAILS), 3);
    weir_metrics_prometheus(metrics, &text);
    weir_buf_put_u8(&text, 0);
    ck_assert_str_eq((char *)text.data,
                     "# HELP weir_numRecordsIn rows received (rows)\n"
                     "# TYPE weir_numRecordsIn counter\n"
                     "weir_numRecordsIn{job=\"j\\\"1\\\\\\n\",task=\"t\"} 0\n"
                     "weir_numRecordsIn{job=\"j2\"} 11\n"
                     "# HELP weir_currentOutputWatermark event time up to which the output is complete (ms)\n"
                     "# TYPE weir_currentOutputWatermark gauge\n"
                     "weir_currentOutputWatermark{job=\"j\\\"1\\\\\\n\",task=\"t\"} -9223372036854775808\n"
                     "# HELP weir_mailboxQueueSize mails that wait (mails)\n"
                     "# TYPE weir_mailboxQueueSize gauge\n"
                     "weir_mailboxQueueSize 3\n");
    weir_metrics_scope_destroy(a);
    weir_metrics_scope_destroy(bare);
    weir_buf_clear(&text);
    weir_metrics_prometheus(metrics, &text);
    weir_buf_put_u8(&text, 0);
    ck_assert_ptr_null(strstr((char *)text.data, "task="));
    ck_assert_ptr_nonnull(strstr((char *)text.data, "{job=\"j2\"} 11\n"));
    ck_assert_str_eq(weir_metrics_label(b, "job"), "j2");
    ck_assert_ptr_null(weir_metrics_label(b, "task"));
    weir_buf_fini(&text);
    weir_metrics_destroy(metrics);
}
END_TEST

enum { ADDS = 20000 };

static void *count_up(void *arg)
{
    struct weir_metrics_scope *scope = weir_metrics_scope_create(arg, "job", "j", NULL);
    struct weir_metric *cell = weir_metrics_cell(scope, WEIR_METRIC_BYTES_OUT);
    for (int i = 0; i < ADDS; i++) {
        weir_metric_add(cell, 2);
    }
    return NULL;
}

static void sum_up(void *ctx, const struct weir_metrics_scope *scope, enum weir_metric_id id, int64_t value)
{
    ck_assert_str_eq(weir_metrics_label(scope, "job"), "j");
    ck_assert_int_eq(id, WEIR_METRIC_BYTES_OUT);
    *(int64_t *)ctx += value;
}

START_TEST(threads_count_while_another_reads)
{
    struct weir_metrics *metrics = weir_metrics_create();
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_up, metrics), 0);
    }
    int64_t last = 0;
    for (int round = 0; round < 200; round++) {
        int64_t sum = 0;
        weir_metrics_walk(metrics, sum_up, &sum);
        ck_assert_int_ge(sum, last);
        last = sum;
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    int64_t sum = 0;
    weir_metrics_walk(metrics, sum_up, &sum);
    ck_assert_int_eq(sum, 2 * 2 * ADDS);
    weir_metrics_destroy(metrics);
}
END_TEST

Suite *metrics_suite(void);
Suite *metrics_suite(void)
{
    Suite *suite = suite_create("metrics");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, prometheus_text);
    tcase_add_test(tc, threads_count_while_another_reads);
    suite_add_tcase(suite, tc);
    return suite;
}
