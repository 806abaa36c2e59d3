#include "common/base/log.h"

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/rand.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct fixture {
    FILE *file;
    struct weir_clock_virtual clock;
    struct weir_log_sink *sink;
    struct weir_log *log;
};

static void start(struct fixture *f)
{
    f->file = tmpfile();
    ck_assert_ptr_nonnull(f->file);
    weir_clock_virtual_init(&f->clock, 0, 1795245112123);
    f->sink = weir_log_sink_create(fileno(f->file), &f->clock.clock, WEIR_LOG_INFO);
    f->log = weir_log_create(f->sink);
}

/* All that was written so far, NUL-terminated. */
static char *written(struct fixture *f)
{
    off_t len = lseek(fileno(f->file), 0, SEEK_END);
    char *text = weir_calloc(1, (size_t)len + 1);
    ck_assert_int_eq(pread(fileno(f->file), text, (size_t)len, 0), len);
    return text;
}

static void stop(struct fixture *f)
{
    weir_log_destroy(f->log);
    weir_log_sink_destroy(f->sink);
    (void)fclose(f->file);
}

START_TEST(lines_are_logfmt)
{
    struct fixture f;
    start(&f);
    struct weir_log *job = weir_log_bind(f.log, "job", "a b");
    struct weir_log *task = weir_log_bind(job, "task", "t-1");
    weir_log(task, WEIR_LOG_WARN, "odd_values", "q", "say \"hi\\\"", "nl", "x\ny\x01", "n", WEIR_LOG_INT(INT64_MIN),
             "empty", "", "u", "gr\xc3\xbc\xc3\x9f", NULL);
    weir_log(NULL, WEIR_LOG_ERROR, "nothing", NULL);
    char *text = written(&f);
    ck_assert_str_eq(text, "ts=2026-11-21T07:11:52.123Z level=warn event=odd_values job=\"a b\" task=t-1 "
                           "q=\"say \\\"hi\\\\\\\"\" nl=\"x\\ny\\u0001\" n=-9223372036854775808 empty=\"\" u=gr\xc3\xbc\xc3\x9f\n");
    weir_free(text);
    weir_log_destroy(task);
    weir_log_destroy(job);
    stop(&f);
}
END_TEST

START_TEST(levels_are_live)
{
    struct fixture f;
    start(&f);
    weir_log(f.log, WEIR_LOG_DEBUG, "hidden", NULL);
    enum weir_log_level level = WEIR_LOG_INFO;
    ck_assert(weir_log_level_parse("debug", &level));
    ck_assert(!weir_log_level_parse("Debug", &level));
    weir_log_sink_set_level(f.sink, level);
    ck_assert_int_eq(weir_log_sink_level(f.sink), WEIR_LOG_DEBUG);
    weir_log(f.log, WEIR_LOG_DEBUG, "shown", NULL);
    char *text = written(&f);
    ck_assert_ptr_null(strstr(text, "hidden"));
    ck_assert_ptr_nonnull(strstr(text, "level=debug event=shown\n"));
    weir_free(text);
    stop(&f);
}
END_TEST

static int count_of(const char *text, const char *needle)
{
    int count = 0;
    for (const char *at = strstr(text, needle); at != NULL; at = strstr(at + 1, needle)) {
        count++;
    }
    return count;
}

START_TEST(repeats_are_counted)
{
    struct fixture f;
    start(&f);
    for (int i = 0; i < WEIR_LOG_BURST + 7; i++) {
        weir_log(f.log, WEIR_LOG_INFO, "noise", NULL);
    }
    weir_log(f.log, WEIR_LOG_INFO, "other", NULL);
    weir_clock_virtual_advance(&f.clock, (int64_t)WEIR_LOG_WINDOW_MS * 1000000);
    weir_log(f.log, WEIR_LOG_INFO, "noise", NULL);
    weir_log(f.log, WEIR_LOG_INFO, "noise", NULL);
    char *text = written(&f);
    ck_assert_int_eq(count_of(text, "event=noise"), WEIR_LOG_BURST + 2);
    ck_assert_int_eq(count_of(text, "event=other"), 1);
    ck_assert_int_eq(count_of(text, "suppressed="), 1);
    ck_assert_int_eq(count_of(text, "event=noise suppressed=7\n"), 1);
    weir_free(text);
    stop(&f);
}
END_TEST

START_TEST(long_values_are_cut)
{
    struct fixture f;
    start(&f);
    char *value = weir_calloc(1, 20001);
    for (size_t i = 0; i < 10000; i++) {
        memcpy(value + 2 * i, "\xc3\xbc", 2);
    }
    struct weir_log *bound = weir_log_bind(f.log, "big", value);
    weir_log(bound, WEIR_LOG_INFO, "e", "plain", value, "left", "out", NULL);
    value[1] = ' ';
    value[0] = ' ';
    weir_log(f.log, WEIR_LOG_INFO, "e", "quoted", value, NULL);
    char *text = written(&f);
    char *second = strchr(text, '\n') + 1;
    ck_assert_int_le(second - text, WEIR_LOG_LINE_MAX);
    ck_assert_uint_gt(second - text, WEIR_LOG_LINE_MAX - 40);
    ck_assert_uint_le(strlen(second), WEIR_LOG_LINE_MAX);
    ck_assert_int_eq(memcmp(second - 6, "\xc3\xbc...\n", 6), 0);
    ck_assert_str_eq(second + strlen(second) - 7, "\xc3\xbc...\"\n");
    weir_free(text);
    weir_free(value);
    weir_log_destroy(bound);
    stop(&f);
}
END_TEST

START_TEST(recent_lines_by_needle)
{
    struct fixture f;
    start(&f);
    for (int i = 0; i < WEIR_LOG_RECENT_LINES + 10; i++) {
        char event[32];
        (void)snprintf(event, sizeof(event), "e%d", i);
        weir_log(f.log, WEIR_LOG_INFO, event, "job", i % 2 == 0 ? "even" : "odd", NULL);
    }
    struct weir_buf out = {0};
    weir_log_sink_recent(f.sink, weir_slice_str("job=odd"), 2, &out);
    weir_buf_put_u8(&out, 0);
    ck_assert_str_eq((char *)out.data, "ts=2026-11-21T07:11:52.123Z level=info event=e2007 job=odd\n"
                                       "ts=2026-11-21T07:11:52.123Z level=info event=e2009 job=odd\n");
    weir_buf_clear(&out);
    weir_log_sink_recent(f.sink, weir_slice(NULL, 0), UINT32_MAX, &out);
    weir_buf_put_u8(&out, 0);
    ck_assert_int_eq(count_of((char *)out.data, "\n"), WEIR_LOG_RECENT_LINES);
    ck_assert_ptr_null(strstr((char *)out.data, "event=e9 "));
    ck_assert_ptr_nonnull(strstr((char *)out.data, "event=e10 "));
    weir_buf_fini(&out);
    stop(&f);
}
END_TEST

/* The sum of the numbers behind " key=". */
static uint64_t sum_of(const char *text, const char *key)
{
    uint64_t sum = 0;
    for (const char *at = strstr(text, key); at != NULL; at = strstr(at + 1, key)) {
        sum += strtoull(at + strlen(key), NULL, 10);
    }
    return sum;
}

static void say(struct fixture *f, const char *event, const char *job, int times)
{
    for (int i = 0; i < times; i++) {
        weir_log(f->log, WEIR_LOG_INFO, event, "n", WEIR_LOG_INT(i), "job", job, NULL);
    }
}

START_TEST(loud_job_hides_no_quiet_one)
{
    struct fixture f;
    start(&f);
    struct weir_log *loud = weir_log_bind(f.log, "job", "loud");
    struct weir_log *attempt = weir_log_bind(loud, "attempt", "1");
    struct weir_log *quiet = weir_log_bind(f.log, "job", "quiet");
    for (int i = 0; i < 100; i++) {
        weir_log(i % 2 == 0 ? loud : attempt, WEIR_LOG_INFO, "job_state", "job", "pair", NULL);
    }
    weir_log(quiet, WEIR_LOG_INFO, "job_state", NULL);
    weir_log(f.log, WEIR_LOG_INFO, "job_state", NULL);
    say(&f, "job_state", "quiet", 3);
    say(&f, "job_state", "third", 1);
    weir_clock_virtual_advance(&f.clock, (int64_t)WEIR_LOG_WINDOW_MS * 1000000);
    weir_log(quiet, WEIR_LOG_INFO, "job_state", NULL);
    weir_log(attempt, WEIR_LOG_INFO, "job_state", NULL);
    char *text = written(&f);
    ck_assert_int_eq(count_of(text, "job=loud"), WEIR_LOG_BURST + 1);
    ck_assert_int_eq(count_of(text, "job=quiet"), 5);
    ck_assert_int_eq(count_of(text, "job=third"), 1);
    ck_assert_int_eq(count_of(text, "event=job_state\n"), 1);
    ck_assert_int_eq(count_of(text, "suppressed"), 1);
    ck_assert_int_eq(count_of(text, "event=job_state suppressed=80 job=loud attempt=1\n"), 1);
    weir_free(text);
    weir_log_destroy(quiet);
    weir_log_destroy(attempt);
    weir_log_destroy(loud);
    stop(&f);
}
END_TEST

START_TEST(many_loud_jobs_hide_no_quiet_one)
{
    struct fixture f;
    start(&f);
    char job[32];
    for (int i = 0; i < 3000; i++) {
        (void)snprintf(job, sizeof(job), "loud-%d", i % 30);
        say(&f, "job_state", job, 1);
    }
    say(&f, "job_state", "quiet", WEIR_LOG_FIRST_LINES + 2);
    char *text = written(&f);
    ck_assert_int_eq(count_of(text, "job=loud"), 30 * WEIR_LOG_FIRST_LINES);
    ck_assert_int_eq(count_of(text, "job=quiet"), WEIR_LOG_FIRST_LINES);
    weir_free(text);
    for (int i = 0; i < 300; i++) {
        (void)snprintf(job, sizeof(job), "further-%d", i);
        say(&f, "job_state", job, 1);
    }
    text = written(&f);
    ck_assert_int_eq(count_of(text, "\n"), WEIR_LOG_EVENT_BURST);
    weir_free(text);
    stop(&f);
}
END_TEST

START_TEST(jobs_counted_are_bounded)
{
    struct fixture f;
    start(&f);
    say(&f, "event", "first", WEIR_LOG_BURST + 3);
    char job[32];
    for (int i = 0; i < WEIR_LOG_RATES_MAX - 1; i++) {
        (void)snprintf(job, sizeof(job), "job-%d", i);
        say(&f, "other", job, 1);
    }
    say(&f, "event", "first", 2); /* still known, and now the last used */
    for (int i = 0; i < WEIR_LOG_RATES_MAX - 1; i++) {
        say(&f, "other", WEIR_LOG_INT(i), 1);
    }
    char *text = written(&f);
    ck_assert_int_eq(count_of(text, "job=first"), WEIR_LOG_BURST);
    weir_free(text);
    say(&f, "other", "one more", 1); /* the first one is forgotten */
    say(&f, "event", "second", 1);
    say(&f, "event", "first", 1);
    text = written(&f);
    ck_assert_int_eq(count_of(text, "job=first"), WEIR_LOG_BURST + 1);
    ck_assert_int_eq(count_of(text, "event=event suppressed"), 1);
    ck_assert_int_eq(count_of(text, "event=event suppressed_earlier=5 n=0 job=second\n"), 1);
    weir_free(text);
    stop(&f);
}
END_TEST

START_TEST(every_line_held_back_is_told_once)
{
    struct fixture f;
    start(&f);
    struct weir_rand random;
    weir_rand_init(&random, 7);
    char job[32];
    int sent = 0;
    for (int step = 0; step < 2000; step++) {
        (void)snprintf(job, sizeof(job), "%llu", (unsigned long long)weir_rand_below(&random, 1 + weir_rand_below(&random, 6000)));
        int times = 1 + (int)weir_rand_below(&random, 60);
        say(&f, "event", job, times);
        sent += times;
        if (weir_rand_below(&random, 10) == 0) {
            weir_clock_virtual_advance(&f.clock, (int64_t)weir_rand_below(&random, 20000) * 1000000);
        }
    }
    weir_clock_virtual_advance(&f.clock, (int64_t)WEIR_LOG_IDLE_MS * 1000000);
    say(&f, "event", "last", 1);
    char *text = written(&f);
    uint64_t lines = (uint64_t)count_of(text, "\n") - 1;
    ck_assert_uint_lt(lines, (uint64_t)sent / 2);
    ck_assert_uint_gt(sum_of(text, " suppressed="), 0);
    ck_assert_uint_eq(lines + sum_of(text, " suppressed=") + sum_of(text, " suppressed_earlier="), (uint64_t)sent);
    weir_free(text);
    stop(&f);
}
END_TEST

/* What is kept now, NUL-terminated. */
static char *recent(struct fixture *f)
{
    struct weir_buf out = {0};
    weir_log_sink_recent(f->sink, weir_slice(NULL, 0), UINT32_MAX, &out);
    weir_buf_put_u8(&out, 0);
    size_t len;
    return (char *)weir_buf_take(&out, &len);
}

/* Lines of one job, each of an event of its own: none is held back. */
static void say_various(struct fixture *f, const char *job, int from, int to)
{
    for (int i = from; i < to; i++) {
        say(f, WEIR_LOG_INT(i), job, 1);
    }
}

START_TEST(loud_job_pushes_out_its_own_lines)
{
    struct fixture f;
    start(&f);
    say_various(&f, "quiet", 0, WEIR_LOG_RECENT_SHARE);
    say_various(&f, "loud", 0, 2 * WEIR_LOG_RECENT_LINES);
    say_various(&f, "late", 0, 10);
    say_various(&f, "loud", 2 * WEIR_LOG_RECENT_LINES, 3 * WEIR_LOG_RECENT_LINES);
    char *text = recent(&f);
    ck_assert_int_eq(count_of(text, "\n"), WEIR_LOG_RECENT_LINES);
    ck_assert_int_eq(count_of(text, "job=quiet\n"), WEIR_LOG_RECENT_SHARE);
    ck_assert_int_eq(count_of(text, "job=late\n"), 10);
    ck_assert_ptr_nonnull(strstr(text, "event=5999 n=0 job=loud\n"));
    ck_assert_ptr_nonnull(strstr(text, "event=4110 n=0 job=loud\n"));
    ck_assert_ptr_null(strstr(text, "event=4109 n=0 job=loud\n"));
    weir_free(text);
    stop(&f);
}
END_TEST

START_TEST(where_nobody_is_loud_the_oldest_goes)
{
    struct fixture f;
    start(&f);
    enum { EACH = WEIR_LOG_RECENT_SHARE / 2, JOBS = WEIR_LOG_RECENT_LINES / EACH };
    for (int i = 0; i < 3 * JOBS; i++) {
        say_various(&f, WEIR_LOG_INT(1000 + i), 0, EACH);
    }
    say_various(&f, "new", 0, EACH + 1);
    char *text = recent(&f);
    ck_assert_int_eq(count_of(text, "\n"), WEIR_LOG_RECENT_LINES);
    ck_assert_int_eq(count_of(text, "job=new\n"), EACH + 1);
    char first[64];
    (void)snprintf(first, sizeof(first), "event=1 n=0 job=%d\n", 1000 + 2 * JOBS + 1);
    ck_assert_ptr_nonnull(strstr(text, first));
    ck_assert_ptr_eq(strstr(text, "event="), strstr(text, first));
    weir_free(text);
    stop(&f);
}
END_TEST

static void *log_many(void *arg)
{
    struct fixture *f = arg;
    char event[32];
    for (int i = 0; i < 200; i++) {
        (void)snprintf(event, sizeof(event), "event_%d", i);
        weir_log(f->log, WEIR_LOG_INFO, event, "k", "v w", NULL);
    }
    return NULL;
}

START_TEST(threads_write_whole_lines)
{
    struct fixture f;
    start(&f);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, log_many, &f), 0);
    }
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    char *text = written(&f);
    int lines = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        ck_assert_int_eq(strncmp(line, "ts=2026", 7), 0);
        ck_assert_str_eq(line + strlen(line) - 8, " k=\"v w\"");
        lines++;
    }
    ck_assert_int_eq(lines, 600);
    weir_free(text);
    stop(&f);
}
END_TEST

Suite *log_suite(void);
Suite *log_suite(void)
{
    Suite *suite = suite_create("log");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, lines_are_logfmt);
    tcase_add_test(tc, levels_are_live);
    tcase_add_test(tc, repeats_are_counted);
    tcase_add_test(tc, long_values_are_cut);
    tcase_add_test(tc, recent_lines_by_needle);
    tcase_add_test(tc, loud_job_hides_no_quiet_one);
    tcase_add_test(tc, many_loud_jobs_hide_no_quiet_one);
    tcase_add_test(tc, jobs_counted_are_bounded);
    tcase_add_test(tc, every_line_held_back_is_told_once);
    tcase_add_test(tc, loud_job_pushes_out_its_own_lines);
    tcase_add_test(tc, where_nobody_is_loud_the_oldest_goes);
    tcase_add_test(tc, threads_write_whole_lines);
    suite_add_tcase(suite, tc);
    return suite;
}
