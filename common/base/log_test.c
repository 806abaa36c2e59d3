#include "common/base/log.h"

#include "common/base/buf.h"
#include "common/base/mem.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
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
    tcase_add_test(tc, threads_write_whole_lines);
    suite_add_tcase(suite, tc);
    return suite;
}
