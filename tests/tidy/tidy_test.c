#include "tests/tidy/tidy.h"

#include "common/base/mem.h"

#include <check.h>

static const char layers[] = "layer low:\n"
                             "layer mid: low\n"
                             "layer high: mid # and, through it, low\n"
                             "layer other: low\n"
                             "libc stdio.h sys/*.h\n"
                             "third zlib.h gen/*.tab.h: mid/zip*\n"
                             "function low/long.c slow 80\n"
                             "covered low/bare.c: for the test\n"
                             "allow low/allowed.c free: for the test\n"
                             "module low/whole: low/half1 low/half2\n";

struct source {
    const char *path, *text;
};

/* The report on these files; the exceptions that the test does not use are dropped. */
static char *report_of(const struct source *sources, size_t count)
{
    struct weir_error err;
    struct tidy *tidy = NULL;
    ck_assert_int_eq(tidy_create(weir_slice_str(layers), &tidy, &err), WEIR_OK);
    for (size_t i = 0; i < count; i++) {
        tidy_add(tidy, sources[i].path, weir_slice_str(sources[i].text));
    }
    tidy_finish(tidy);
    struct weir_buf kept = {0};
    struct weir_slice rest = tidy_report(tidy);
    size_t lines = 0;
    while (rest.len > 0) {
        size_t len = (size_t)((const uint8_t *)memchr(rest.data, '\n', rest.len) - rest.data) + 1;
        if (memmem(rest.data, len, ": stale: ", 9) == NULL) {
            weir_buf_put(&kept, rest.data, len);
        }
        lines++;
        rest = weir_slice(rest.data + len, rest.len - len);
    }
    ck_assert_uint_eq(lines, tidy_count(tidy));
    weir_buf_put_u8(&kept, 0);
    tidy_destroy(tidy);
    return (char *)weir_buf_take(&kept, &(size_t){0});
}

#define check_report(expected, ...) \
    do { \
        const struct source sources[] = {__VA_ARGS__}; \
        char *report = report_of(sources, sizeof(sources) / sizeof(sources[0])); \
        ck_assert_str_eq(report, expected); \
        weir_free(report); \
    } while (0)

#define HEADER(guard, body) "#ifndef " guard "\n#define " guard "\n" body "#endif\n"

static const struct source low_h = {"low/a.h", HEADER("WEIR_LOW_A_H", "")};

START_TEST(includes_go_downwards_only)
{
    check_report("", low_h, {"high/x_test.c", "#include \"low/a.h\"\n"});
    check_report("low/y_test.c:2: layer: low may not include mid (\"mid/b.h\")\n",
                 {"mid/b.h", HEADER("WEIR_MID_B_H", "")}, {"low/y_test.c", "\n#include \"mid/b.h\"\n"});
    check_report("other/y_test.c:1: layer: other may not include mid (\"mid/b.h\")\n",
                 {"mid/b.h", HEADER("WEIR_MID_B_H", "")}, {"other/y_test.c", "#include \"mid/b.h\"\n"});
    check_report("low/y_test.c:1: layer: \"nowhere/b.h\" lies in no folder that layers.txt names\n"
                 "low/y_test.c:1: include: \"nowhere/b.h\" does not exist\n",
                 {"low/y_test.c", "#include \"nowhere/b.h\"\n"});
}
END_TEST

START_TEST(includes_are_from_the_root_and_exist)
{
    check_report("low/y_test.c:1: include: \"a.h\": includes are written from the root\n"
                 "low/y_test.c:2: include: \"../low/a.h\": includes are written from the root\n"
                 "low/y_test.c:3: include: \"low/gone.h\" does not exist\n",
                 low_h, {"low/y_test.c", "#include \"a.h\"\n#include \"../low/a.h\"\n# include \"low/gone.h\"\n"});
}
END_TEST

START_TEST(cycles_between_modules)
{
    check_report("low/c.h:3: cycle: low/a -> low/b -> low/c -> low/a\n",
                 {"low/a.h", HEADER("WEIR_LOW_A_H", "#include \"low/b.h\"\n")},
                 {"low/b_test.c", ""}, {"low/b.h", HEADER("WEIR_LOW_B_H", "")}, {"low/b.c", "#include \"low/c.h\"\n"},
                 {"low/c.h", HEADER("WEIR_LOW_C_H", "#include \"low/a.h\"\n")});
}
END_TEST

START_TEST(files_may_be_one_module)
{
    check_report("", {"low/half1.h", HEADER("WEIR_LOW_HALF1_H", "#include \"low/half2.h\"\n")},
                 {"low/half2.h", HEADER("WEIR_LOW_HALF2_H", "#include \"low/half1.h\"\n")});
}
END_TEST

START_TEST(libraries_only_where_named)
{
    check_report("", {"mid/zip_test.c", "#include <zlib.h>\n#include <stdio.h>\n#include <sys/stat.h>\n#include \"gen/z.tab.h\"\n"});
    check_report("low/y_test.c:1: third-party: zlib.h may not be included here: see its line in layers.txt\n"
                 "low/y_test.c:2: third-party: <boost.h> is in no line of layers.txt\n",
                 {"low/y_test.c", "#include <zlib.h>\n#include <boost.h>\n"});
}
END_TEST

START_TEST(banned_calls_but_not_their_look_alikes)
{
    check_report("low/bare.c:1: call: `strcpy`: no bound: copy with weir_strdup or memcpy\n"
                 "low/bare.c:3: call: `free`: weir_free\n"
                 "low/bare.c:4: call: `time`: the clock is injected: common/base/clock.h\n",
                 {"low/bare.c", "    strcpy(a, b);\n"
                                "    weir_free(a); x.free(a); y->free(a); free_all(a); time_t t; /* free(a) */ f(\"free(a)\");\n"
                                "    weir_free(a), free (a);\n"
                                "    t = time(NULL); // sleep(1)\n"});
    check_report("low/allowed_test.c:2: call: `sleep`: wait for a condition with a deadline\n",
                 {"low/allowed.c", "    free(a);\n"}, {"low/allowed_test.c", "    free(a);\n    sleep(1);\n"});
}
END_TEST

START_TEST(words_also_in_comments_and_scripts)
{
    check_report("low/s.sh:2: word: TO" "DO: do it, or open an issue\n"
                 "low/y_test.c:1: word: FIX" "ME: do it, or open an issue\n",
                 {"low/s.sh", "#!/bin/bash\n# TO" "DO later\n"}, {"low/y_test.c", "/* FIX" "ME */ char t[] = \"/tmp/XXXXXX\";\n"});
}
END_TEST

START_TEST(mutable_static_data)
{
    check_report("low/bare.c:1: static: mutable static data: it belongs into a struct that someone owns\n"
                 "low/bare.c:2: static: mutable static data: it belongs into a struct that someone owns\n",
                 {"low/bare.c", "static int counter;\n    static struct x *last = NULL;\nstatic const int a = 1;\n"
                                  "static int f(void)\nstatic const char *const t[] = {\"a\"};\n"});
}
END_TEST

START_TEST(guards_follow_the_path)
{
    check_report("low/q.h:1: guard: expected `#ifndef WEIR_LOW_Q_H`\n", {"low/q.h", "#ifndef LOW_Q_H\n#endif\n"});
    check_report("low/q.h:1: guard: expected `#ifndef WEIR_LOW_Q_H`\n", {"low/q.h", "int x;\n"});
}
END_TEST

/* A function of so many lines. */
static char *function_of(const char *name, unsigned lines)
{
    struct weir_buf text = {0};
    weir_buf_put_fmt(&text, "static int %s(int a,\n    int b)\n{\n", name);
    for (unsigned i = 0; i < lines; i++) {
        weir_buf_put_str(&text, "    x();\n");
    }
    weir_buf_put_str(&text, "}\n");
    weir_buf_put_u8(&text, 0);
    return (char *)weir_buf_take(&text, &(size_t){0});
}

START_TEST(long_functions_and_the_ratchet)
{
    char *fits = function_of("fits", 70);
    char *fast = function_of("fast", 71);
    char *slow = function_of("slow", 80);
    char *slower = function_of("slow", 81);
    check_report("", {"low/long.c", fits}, {"low/long_test.c", ""});
    check_report("low/long.c:3: function: fast has 71 lines: more than 70\n", {"low/long.c", fast}, {"low/long_test.c", ""});
    check_report("", {"low/long.c", slow}, {"low/long_test.c", ""});
    check_report("low/long.c:3: function: slow has 81 lines: more than 70\n", {"low/long.c", slower}, {"low/long_test.c", ""});
    weir_free(fits);
    weir_free(fast);
    weir_free(slow);
    weir_free(slower);
}
END_TEST

START_TEST(sources_need_a_test_or_a_reason)
{
    check_report("low/b.c:1: untested: low/b_test.c does not exist, and layers.txt has no `covered` line that says why\n",
                 {"low/b.c", ""}, {"low/bare.c", ""}, {"low/main.c", ""}, {"tests/x.c", ""});
}
END_TEST

START_TEST(names_are_unique)
{
    check_report("mid/a.h:1: unique: low/a.h has the same name: it is also the suite's\n", low_h,
                 {"mid/a.h", HEADER("WEIR_MID_A_H", "")});
}
END_TEST

START_TEST(exceptions_that_nothing_needs_are_reported)
{
    struct weir_error err;
    struct tidy *tidy = NULL;
    ck_assert_int_eq(tidy_create(weir_slice_str(layers), &tidy, &err), WEIR_OK);
    tidy_finish(tidy);
    ck_assert_uint_eq(tidy_count(tidy), 3);
    tidy_destroy(tidy);
}
END_TEST

START_TEST(broken_layers_name_the_line)
{
    static const char *const broken[] = {"\nlayr a: b\n", "\nlayer a\n", "\nthird x.h:\n", "\nfunction a b\n", "\ncovered a.c:\n",
                                         "\nallow a.c free\n", "\nmodule a:\n"};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct weir_error err = {0};
        struct tidy *tidy = NULL;
        ck_assert_int_eq(tidy_create(weir_slice_str(broken[i]), &tidy, &err), WEIR_INVALID);
        ck_assert_msg(strncmp(err.text, "layers.txt:2: ", 14) == 0, "%s", err.text);
    }
}
END_TEST

Suite *tidy_suite(void);
Suite *tidy_suite(void)
{
    Suite *suite = suite_create("tidy");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, includes_go_downwards_only);
    tcase_add_test(tc, includes_are_from_the_root_and_exist);
    tcase_add_test(tc, cycles_between_modules);
    tcase_add_test(tc, files_may_be_one_module);
    tcase_add_test(tc, libraries_only_where_named);
    tcase_add_test(tc, banned_calls_but_not_their_look_alikes);
    tcase_add_test(tc, words_also_in_comments_and_scripts);
    tcase_add_test(tc, mutable_static_data);
    tcase_add_test(tc, guards_follow_the_path);
    tcase_add_test(tc, long_functions_and_the_ratchet);
    tcase_add_test(tc, sources_need_a_test_or_a_reason);
    tcase_add_test(tc, names_are_unique);
    tcase_add_test(tc, exceptions_that_nothing_needs_are_reported);
    tcase_add_test(tc, broken_layers_name_the_line);
    suite_add_tcase(suite, tc);
    return suite;
}
