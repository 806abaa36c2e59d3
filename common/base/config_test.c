#include "common/base/config.h"

#include "common/base/mem.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[] = "/tmp/weir-config-XXXXXX";

static void make_dir(void)
{
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void remove_dir(void)
{
    char *path = weir_strfmt("%s/weir.yaml", dir);
    (void)unlink(path);
    (void)rmdir(dir);
    weir_free(path);
}

/* Path of the file weir.yaml with this text; weir_free. */
static char *file_with(const char *text)
{
    char *path = weir_strfmt("%s/weir.yaml", dir);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fputs(text, file) < 0, 0);
    ck_assert_int_eq(fclose(file), 0);
    return path;
}

START_TEST(defaults_and_facts)
{
    struct weir_config *config = weir_config_create();
    ck_assert_str_eq(weir_config_string(config, WEIR_CFG_CLUSTER_ID), "weir");
    ck_assert(!weir_config_bool(config, WEIR_CFG_INSECURE));
    ck_assert_int_eq(weir_config_int(config, WEIR_CFG_REST_PORT), 8081);
    ck_assert_int_eq(weir_config_int(config, WEIR_CFG_SLOT_TIMEOUT), 300000);
    ck_assert_int_eq(weir_config_int(config, WEIR_CFG_TM_MEMORY), 1 << 30);
    ck_assert_str_eq(weir_config_origin(config, WEIR_CFG_REST_PORT), "default");
    ck_assert(!weir_config_is_set(config, WEIR_CFG_REST_PORT));
    ck_assert_str_eq(weir_config_name(WEIR_CFG_TM_SLOTS), "taskmanager.numberOfTaskSlots");
    ck_assert_int_eq(weir_config_key_type(WEIR_CFG_TM_MEMORY), WEIR_CONFIG_BYTES);
    ck_assert_int_eq(weir_config_key_scope(WEIR_CFG_PARALLELISM), WEIR_SCOPE_BOTH);
    weir_config_destroy(config);
}
END_TEST

START_TEST(stronger_sources_win_and_are_remembered)
{
    struct weir_config *config = weir_config_create();
    struct weir_error err = {0};
    char *path = file_with("rest.port: 9000\ntaskmanager:\n  numberOfTaskSlots: 3\n  memory.size: 64 mb\n");
    ck_assert_msg(weir_config_load(config, path, &err) == WEIR_OK, "%s", err.text);
    ck_assert_int_eq(weir_config_int(config, WEIR_CFG_REST_PORT), 9000);
    ck_assert_int_eq(weir_config_int(config, WEIR_CFG_TM_SLOTS), 3);
    ck_assert_int_eq(weir_config_int(config, WEIR_CFG_TM_MEMORY), 64 << 20);
    char *origin = weir_strfmt("%s:3:3", path);
    ck_assert_str_eq(weir_config_origin(config, WEIR_CFG_TM_SLOTS), origin);
    ck_assert_int_eq(weir_config_set_pair(config, "rest.port=0", &err), WEIR_OK);
    struct weir_config *copy = weir_config_copy(config);
    weir_config_destroy(config);
    ck_assert_int_eq(weir_config_int(copy, WEIR_CFG_REST_PORT), 0);
    ck_assert_str_eq(weir_config_origin(copy, WEIR_CFG_REST_PORT), "-D");
    ck_assert(weir_config_is_set(copy, WEIR_CFG_TM_SLOTS));
    char *text = weir_config_text_copy(copy, WEIR_CFG_TM_MEMORY);
    ck_assert_str_eq(text, "64 mb");
    weir_free(text);
    weir_free(origin);
    weir_free(path);
    weir_config_destroy(copy);
}
END_TEST

START_TEST(all_problems_of_a_file_are_listed_and_nothing_changes)
{
    struct weir_config *config = weir_config_create();
    struct weir_error err = {0};
    char *path = file_with("cluster.id: other\n"
                           "rest:\n"
                           "  prot: 1\n"
                           "  port: 70000\n"
                           "security.insecure: maybe\n"
                           "heartbeat.timeout: [1]\n"
                           "cluster: {id: again}\n"
                           "log.level:\n");
    ck_assert_int_eq(weir_config_load(config, path, &err), WEIR_INVALID);
    ck_assert_str_eq(weir_config_string(config, WEIR_CFG_CLUSTER_ID), "weir");
    char expected[1024];
    (void)snprintf(expected, sizeof(expected),
                   "%s:3:3: unknown setting \"rest.prot\"; did you mean rest.port?\n"
                   "%s:4:3: rest.port: 70000 is too much: at most 65535\n"
                   "%s:5:1: security.insecure: \"maybe\" is neither true nor false\n"
                   "%s:6:1: heartbeat.timeout: a list; settings are single values\n"
                   "%s:7:11: cluster.id is set at 1:1 already\n"
                   "and 1 more", path, path, path, path, path);
    ck_assert_str_eq(err.text, expected);
    weir_free(path);
    path = file_with("aaa1: 1\naaa2: 1\naaa3: 1\naaa4: 1\naaa5: 1\naaa6: 1\naaa7: 1\naaa8: 1\naaa9: 1\naab1: 1\naab2: 1\n");
    ck_assert_int_eq(weir_config_load(config, path, &err), WEIR_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "\"aaa1\"\n"));
    ck_assert_ptr_nonnull(strstr(err.text, " more"));
    ck_assert_ptr_null(strstr(err.text, "..."));
    weir_free(path);
    weir_config_destroy(config);
}
END_TEST

START_TEST(default_file)
{
    struct weir_config *config = weir_config_create();
    struct weir_error err = {0};
    ck_assert_int_eq(weir_config_load_default(config, NULL, dir, &err), WEIR_OK); /* not there, not named */
    ck_assert_int_eq(weir_config_load_default(config, "/nonexistent/x.yaml", dir, &err), WEIR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/x.yaml"));
    char *path = file_with("log.level: debug\n");
    ck_assert_int_eq(weir_config_load_default(config, NULL, dir, &err), WEIR_OK);
    ck_assert_str_eq(weir_config_string(config, WEIR_CFG_LOG_LEVEL), "debug");
    weir_free(path);
    path = file_with("[1]\n");
    ck_assert_int_eq(weir_config_load_default(config, NULL, dir, &err), WEIR_INVALID);
    weir_free(path);
    path = file_with("log.level:\n");
    ck_assert_int_eq(weir_config_load(config, path, &err), WEIR_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, ":1:1: log.level has no value; write \"\" for an empty text"));
    weir_free(path);
    path = file_with("");
    ck_assert_int_eq(weir_config_load(config, path, &err), WEIR_OK);
    ck_assert_int_eq(weir_config_load(config, dir, &err), WEIR_IO);
    weir_free(path);
    weir_config_destroy(config);
}
END_TEST

START_TEST(scopes_and_pairs)
{
    struct weir_config *config = weir_config_create();
    struct weir_error err = {0};
    ck_assert_int_eq(weir_config_set(config, weir_slice_str("rest.port"), weir_slice_str("1"), "job line 4:5", WEIR_SCOPE_JOB,
                                     &err), WEIR_INVALID);
    ck_assert_str_eq(err.text, "job line 4:5: rest.port is a setting of the daemons, not of a job");
    ck_assert_int_eq(weir_config_set(config, weir_slice_str("parallelism.default"), weir_slice_str("4"), "job",
                                     WEIR_SCOPE_JOB, &err), WEIR_OK);
    ck_assert_int_eq(weir_config_int(config, WEIR_CFG_PARALLELISM), 4);
    static const char *const wrong[] = {"", "=1", "rest.port", "rest.port=", "rest.port=1x", "rest.port=-1", "rest.port=1.5",
                                        "rest.port=99999999999999999999", "zzzzzz=1", "security.insecure=yes",
                                        "parallelism.default=0", "taskmanager.memory.size=1 kb"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_int_eq(weir_config_set_pair(config, wrong[i], &err), WEIR_INVALID);
    }
    ck_assert_int_eq(weir_config_int(config, WEIR_CFG_REST_PORT), 8081);
    ck_assert_int_eq(weir_config_set_pair(config, "cluster.id=a=b", &err), WEIR_OK);
    ck_assert_str_eq(weir_config_string(config, WEIR_CFG_CLUSTER_ID), "a=b");
    weir_config_destroy(config);
}
END_TEST

START_TEST(quantities)
{
    static const struct { const char *text; int64_t value; } durations[] = {
        {"0", 0}, {"250", 250}, {"1 s", 1000}, {" 2min ", 120000}, {"1 H", 3600000}, {"3 days", 259200000}, {"7ms", 7},
        {"", -1}, {"s", -1}, {"-1 s", -1}, {"1.5 s", -1}, {"1 fortnight", -1}, {"9223372036854775807 s", -1}, {"1 s 2", -1}};
    static const struct { const char *text; int64_t value; } sizes[] = {
        {"0", 0}, {"512 kb", 524288}, {"1G", 1 << 30}, {"2 TB", (int64_t)2 << 40}, {"10b", 10}, {"1 xb", -1}, {"mb", -1},
        {"99999999 tb", -1}};
    struct weir_error err;
    for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
        int64_t value = -1;
        enum weir_rc rc = weir_config_parse_duration(weir_slice_str(durations[i].text), &value, &err);
        ck_assert_int_eq(rc, durations[i].value < 0 ? WEIR_INVALID : WEIR_OK);
        ck_assert_int_eq(value, durations[i].value);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        int64_t value = -1;
        enum weir_rc rc = weir_config_parse_bytes(weir_slice_str(sizes[i].text), &value, &err);
        ck_assert_int_eq(rc, sizes[i].value < 0 ? WEIR_INVALID : WEIR_OK);
        ck_assert_int_eq(value, sizes[i].value);
    }
    bool flag = false;
    ck_assert_int_eq(weir_config_parse_bool(weir_slice_str("TRUE"), &flag, &err), WEIR_OK);
    ck_assert(flag);
}
END_TEST

START_TEST(secrets)
{
    struct weir_error err;
    char *out = NULL;
    ck_assert_int_eq(weir_config_resolve_secret(weir_slice_str("pa$$word{}"), &out, &err), WEIR_OK);
    ck_assert_str_eq(out, "pa$$word{}");
    weir_free(out);
    ck_assert_int_eq(setenv("WEIR_TEST_SECRET", "hush", 1), 0);
    char *path = file_with("line\n");
    char *text = weir_strfmt("u:${env:WEIR_TEST_SECRET}@${file:%s}!", path);
    ck_assert_int_eq(weir_config_resolve_secret(weir_slice_str(text), &out, &err), WEIR_OK);
    ck_assert_str_eq(out, "u:hush@line!");
    weir_free(out);
    weir_free(text);
    weir_free(path);
    ck_assert_int_eq(weir_config_resolve_secret(weir_slice_str(""), &out, &err), WEIR_OK);
    ck_assert_str_eq(out, "");
    weir_free(out);
    ck_assert_int_eq(weir_config_resolve_secret(weir_slice_str("${env:WEIR_TEST_NONE}"), &out, &err), WEIR_NOT_FOUND);
    ck_assert_int_eq(weir_config_resolve_secret(weir_slice_str("${file:/nonexistent/s}"), &out, &err), WEIR_NOT_FOUND);
    ck_assert_int_eq(weir_config_resolve_secret(weir_slice_str("x${vault:y}"), &out, &err), WEIR_INVALID);
    ck_assert_int_eq(weir_config_resolve_secret(weir_slice_str("canary${env:y"), &out, &err), WEIR_INVALID);
    ck_assert_ptr_null(strstr(err.text, "canary"));
}
END_TEST

START_TEST(nearest_names)
{
    static const char *const names[] = {"datagen", "filesystem", "kafka", "k"};
    ck_assert_str_eq(weir_nearest_name(weir_slice_str("datgaen"), names, 4), "datagen");
    ck_assert_str_eq(weir_nearest_name(weir_slice_str("FileSystem"), names, 4), "filesystem");
    ck_assert_str_eq(weir_nearest_name(weir_slice_str("file-system"), names, 4), "filesystem");
    ck_assert_str_eq(weir_nearest_name(weir_slice_str("kafak"), names, 4), "kafka");
    ck_assert_ptr_null(weir_nearest_name(weir_slice_str("mqtt"), names, 4));
    ck_assert_ptr_null(weir_nearest_name(weir_slice_str("x"), names, 4));
    ck_assert_ptr_null(weir_nearest_name(weir_slice_str(""), names, 4));
}
END_TEST

/* What weir_config_check says after "key=value", "key=value", ..., NULL. */
static enum weir_rc check_with(struct weir_error *err, const char *const *pairs)
{
    struct weir_config *config = weir_config_create();
    for (; *pairs != NULL; pairs++) {
        ck_assert_msg(weir_config_set_pair(config, *pairs, err) == WEIR_OK, "%s", err->text);
    }
    enum weir_rc rc = weir_config_check(config, err);
    weir_config_destroy(config);
    return rc;
}

#define CHECK_WITH(err, ...) check_with(err, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

START_TEST(settings_that_contradict_each_other)
{
    struct weir_error err = {0};
    ck_assert_int_eq(CHECK_WITH(&err), WEIR_OK);

    ck_assert_int_eq(CHECK_WITH(&err, "jobmanager.raft.heartbeat-interval=80 ms"), WEIR_OK);
    ck_assert_int_eq(CHECK_WITH(&err, "jobmanager.raft.heartbeat-interval=81 ms"), WEIR_INVALID);
    ck_assert_str_eq(err.text, "jobmanager.raft.heartbeat-interval is 81 ms (-D) and jobmanager.raft.election-timeout 400 ms (default): JobManagers would "
                               "take a leader that is alive for dead; set jobmanager.raft.heartbeat-interval to at most a fifth of "
                               "jobmanager.raft.election-timeout (a tenth is usual), or raise the latter");
    ck_assert_int_eq(CHECK_WITH(&err, "jobmanager.raft.heartbeat-interval=400 ms"), WEIR_INVALID);
    ck_assert_int_eq(CHECK_WITH(&err, "jobmanager.raft.election-timeout=199 ms"), WEIR_INVALID);
    ck_assert_int_eq(CHECK_WITH(&err, "jobmanager.raft.election-timeout=60 s", "jobmanager.raft.heartbeat-interval=10 s"), WEIR_OK);
    ck_assert_int_eq(CHECK_WITH(&err, "jobmanager.raft.election-timeout=50 ms", "jobmanager.raft.heartbeat-interval=5 ms"), WEIR_OK);

    ck_assert_int_eq(CHECK_WITH(&err, "heartbeat.interval=666 ms"), WEIR_OK);
    ck_assert_int_eq(CHECK_WITH(&err, "heartbeat.interval=667 ms"), WEIR_INVALID);
    ck_assert_str_eq(err.text, "heartbeat.interval is 667 ms (-D) and heartbeat.timeout 2000 ms (default): TaskManagers that are alive would count as lost; "
                               "set heartbeat.interval to at most a third of heartbeat.timeout (a tenth is usual), or raise the latter");
    ck_assert_int_eq(CHECK_WITH(&err, "heartbeat.timeout=200 ms"), WEIR_INVALID);
    ck_assert_int_eq(CHECK_WITH(&err, "heartbeat.timeout=50 ms", "heartbeat.interval=10 ms"), WEIR_OK);

    ck_assert_int_eq(CHECK_WITH(&err, "cluster.fencing.timeout=2001 ms"), WEIR_OK);
    ck_assert_int_eq(CHECK_WITH(&err, "cluster.fencing.timeout=2 s"), WEIR_INVALID);
    ck_assert_str_eq(err.text, "cluster.fencing.timeout is 2000 ms (-D) and heartbeat.timeout 2000 ms (default): tasks would pause before a silent leader counts "
                               "as lost and another is looked for; set cluster.fencing.timeout to more than heartbeat.timeout, or to 0 to let them never pause");
    ck_assert_int_eq(CHECK_WITH(&err, "cluster.fencing.timeout=1 ms"), WEIR_INVALID);
    ck_assert_int_eq(CHECK_WITH(&err, "cluster.fencing.timeout=0"), WEIR_OK);
    ck_assert_int_eq(CHECK_WITH(&err, "heartbeat.timeout=1 h"), WEIR_INVALID);
    ck_assert_int_eq(CHECK_WITH(&err, "heartbeat.timeout=1 h", "cluster.fencing.timeout=0"), WEIR_OK);
    ck_assert_int_eq(CHECK_WITH(&err, "cluster.fencing.timeout=100000000 d"), WEIR_OK);
}
END_TEST

Suite *config_suite(void);
Suite *config_suite(void)
{
    Suite *suite = suite_create("config");
    TCase *tc = tcase_create("all");
    tcase_add_checked_fixture(tc, make_dir, remove_dir);
    tcase_add_test(tc, defaults_and_facts);
    tcase_add_test(tc, stronger_sources_win_and_are_remembered);
    tcase_add_test(tc, all_problems_of_a_file_are_listed_and_nothing_changes);
    tcase_add_test(tc, default_file);
    tcase_add_test(tc, scopes_and_pairs);
    tcase_add_test(tc, quantities);
    tcase_add_test(tc, secrets);
    tcase_add_test(tc, nearest_names);
    tcase_add_test(tc, settings_that_contradict_each_other);
    suite_add_tcase(suite, tc);
    return suite;
}
