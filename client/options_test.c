#include "client/options.h"

#include <check.h>
#include <string.h>

static enum weir_rc parse(const char *const *args, struct weir_options *out_options, struct weir_error *err)
{
    char *argv[16] = {0};
    int argc = 0;
    argv[argc++] = (char *)(uintptr_t)"weir";
    for (; args[argc - 1] != NULL; argc++) {
        argv[argc] = (char *)(uintptr_t)args[argc - 1];
    }
    return weir_options_parse(argc, argv, out_options, err);
}

START_TEST(options_stand_anywhere)
{
    struct weir_options o;
    struct weir_error err;
    const char *const args[] = {"--json", "run", "-p", "4", "job.yaml", "-d", "-mhost:1,other:2", "-Da=b", "-D", "c=d", "--config=x", "--now", NULL};
    ck_assert_int_eq(parse(args, &o, &err), WEIR_OK);
    ck_assert_uint_eq(o.noperands, 2);
    ck_assert_str_eq(o.operands[0], "run");
    ck_assert_str_eq(o.operands[1], "job.yaml");
    ck_assert_uint_eq(o.parallelism, 4);
    ck_assert_str_eq(o.jobmanagers, "host:1,other:2");
    ck_assert_uint_eq(o.ndefines, 2);
    ck_assert_str_eq(o.defines[0], "a=b");
    ck_assert_str_eq(o.defines[1], "c=d");
    ck_assert_str_eq(o.config_file, "x");
    ck_assert_uint_eq(o.given, WEIR_OPTION_JSON | WEIR_OPTION_PARALLELISM | WEIR_OPTION_DETACHED | WEIR_OPTION_JOBMANAGERS |
                                   WEIR_OPTION_DEFINE | WEIR_OPTION_CONFIG | WEIR_OPTION_NOW);
}
END_TEST

START_TEST(options_of_certs)
{
    struct weir_options o;
    struct weir_error err;
    const char *const args[] = {"certs", "init", "dir", "--nodes", "jobmanager:3", "--node=taskmanager", "--node", "taskmanager:x", "--hosts=a,b", "--days", "30",
                                NULL};
    ck_assert_int_eq(parse(args, &o, &err), WEIR_OK);
    ck_assert_uint_eq(o.noperands, 3);
    ck_assert_str_eq(o.nodes, "jobmanager:3");
    ck_assert_uint_eq(o.nnode, 2);
    ck_assert_str_eq(o.node[0], "taskmanager");
    ck_assert_str_eq(o.node[1], "taskmanager:x");
    ck_assert_str_eq(o.hosts, "a,b");
    ck_assert_uint_eq(o.days, 30);
    ck_assert_uint_eq(o.given, WEIR_OPTION_NODES | WEIR_OPTION_NODE | WEIR_OPTION_HOSTS | WEIR_OPTION_DAYS);
}
END_TEST

START_TEST(double_dash_ends_options)
{
    struct weir_options o;
    struct weir_error err;
    const char *const args[] = {"status", "--", "-p", NULL};
    ck_assert_int_eq(parse(args, &o, &err), WEIR_OK);
    ck_assert_str_eq(o.operands[1], "-p");
    ck_assert_uint_eq(o.given, 0);
}
END_TEST

START_TEST(wrong_lines_are_refused)
{
    static const struct {
        const char *args[7];
        const char *text;
    } cases[] = {
        {{"run", "-x", NULL}, "unknown option `-x`"},
        {{"run", "--jsonx", NULL}, "unknown option `--jsonx`"},
        {{"run", "-dx", NULL}, "unknown option `-dx`"},
        {{"run", "-p", NULL}, "-p needs a value"},
        {{"certs", "--days", "0", NULL}, "--days 0: expected a number from 1 to 36500"},
        {{"run", "-p", "0", NULL}, "-p 0: expected a number from 1 to 32768"},
        {{"run", "-p", "4x", NULL}, "-p 4x: expected a number from 1 to 32768"},
        {{"run", "-p", "99999999999999999999", NULL}, "-p 99999999999999999999: expected a number from 1 to 32768"},
        {{"a", "b", "c", "d", "e", NULL}, "too many arguments, from `e` on"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_options o;
        struct weir_error err;
        ck_assert_int_eq(parse(cases[i].args, &o, &err), WEIR_INVALID);
        ck_assert_str_eq(err.text, cases[i].text);
    }
}
END_TEST

Suite *options_suite(void);
Suite *options_suite(void)
{
    Suite *suite = suite_create("options");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, options_stand_anywhere);
    tcase_add_test(tc, options_of_certs);
    tcase_add_test(tc, double_dash_ends_options);
    tcase_add_test(tc, wrong_lines_are_refused);
    suite_add_tcase(suite, tc);
    return suite;
}
