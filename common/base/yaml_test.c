#include "common/base/yaml.h"

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/limits.h"
#include "common/base/rand.h"

#include <check.h>

static const struct weir_yaml *parsed(struct weir_arena *arena, const char *text)
{
    const struct weir_yaml *root = NULL;
    struct weir_error err = {0};
    enum weir_rc rc = weir_yaml_parse(weir_slice_str(text), "job.yaml", arena, &root, &err);
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
    return root;
}

START_TEST(tree_has_order_quoting_and_positions)
{
    struct weir_arena *arena = weir_arena_create(0);
    const struct weir_yaml *root = parsed(arena, "name: r\xc3\xa4nd\n"
                                                 "list:\n"
                                                 "  - \"1\"\n"
                                                 "  - 1\n"
                                                 "map: {b: 'x, y', a: [p, {q: ~}]}\n"
                                                 "text: |\n"
                                                 "  two\n"
                                                 "  lines\n"
                                                 "none:\n");
    ck_assert_int_eq(root->kind, WEIR_YAML_MAP);
    ck_assert_uint_eq(root->count, 5);
    ck_assert(weir_slice_eq_str(root->keys[2]->text, "map"));
    const struct weir_yaml *list = weir_yaml_get(root, "list");
    ck_assert_int_eq(list->kind, WEIR_YAML_SEQUENCE);
    ck_assert(list->items[0]->quoted && !list->items[1]->quoted);
    ck_assert(weir_slice_eq(list->items[0]->text, list->items[1]->text));
    ck_assert_uint_eq(list->items[1]->line, 4);
    ck_assert_uint_eq(list->items[1]->column, 5);
    const struct weir_yaml *map = weir_yaml_get(root, "map");
    ck_assert(weir_slice_eq_str(map->items[0]->text, "x, y"));
    ck_assert_uint_eq(map->keys[1]->column, 18);
    ck_assert(weir_yaml_is_null(weir_yaml_get(weir_yaml_get(map, "a")->items[1], "q")));
    ck_assert(weir_slice_eq_str(weir_yaml_get(root, "text")->text, "two\nlines\n"));
    ck_assert(weir_yaml_get(root, "text")->quoted);
    ck_assert(weir_yaml_is_null(weir_yaml_get(root, "none")));
    ck_assert_ptr_null(weir_yaml_get(root, "nothing"));
    ck_assert_ptr_null(weir_yaml_get(list, "nothing"));
    struct weir_error err;
    ck_assert_int_eq(weir_yaml_error(&err, "f", list->items[1], "no %s", "good"), WEIR_INVALID);
    ck_assert_str_eq(err.text, "f:4:5: no good");
    ck_assert(weir_yaml_is_null(parsed(arena, "")));
    ck_assert(weir_yaml_is_null(parsed(arena, "# only a comment\n")));
    weir_arena_destroy(arena);
}
END_TEST

START_TEST(refusals_name_the_place)
{
    static const char *const cases[][2] = {
        {"a: 1\nb: 2\na: 3\n", "j:3:1: duplicate key `a`: it stands at 1:1 already"},
        {"x: {p: 1, \"p\": 2}", "j:1:11: duplicate key `p`: it stands at 1:5 already"},
        {"a: &x 1\nb: *x\n", "j:1:4: anchors (&name) are not allowed"},
        {"b: *x\n", "j:1:4: aliases (*name) are not allowed"},
        {"a: !!str 1\n", "j:1:4: tags (!name) are not allowed"},
        {"a: 1\n---\nb: 1\n", "j:2:1: a second document"},
        {"? [a]\n: 1\n", "j:1:3: a key must be"},
        {"a: b: c\n", "j:1:5: mapping values are not allowed in this context (a value that contains \": \""},
        {"a:\n\tb: 1\n", "(tabs cannot indent"},
        {"a: [1, 2\n", "did not find expected ',' or ']'"},
        {"a: \"x\n", "unexpected end of stream"},
        {"c:\n  - {name: p, type: DECIMAL(10, 2)}\n",
         "j:2:21: `DECIMAL(10` is cut at the comma: inside { } and [ ] a type or expression with commas must be quoted, as in "
         "\"DECIMAL(10, 2)\""},
        {"[DECIMAL(10, 2)]", "j:1:2: `DECIMAL(10` is cut"},
        {"{t: map<INT, STRING>}", "\"map<INT, STRING>\""},
        {"{e: f(a, b, c)}", "\"f(a, b ...\""},
        {"a: \xff\n", "must be UTF-8"},
    };
    struct weir_arena *arena = weir_arena_create(0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct weir_yaml *root = NULL;
        struct weir_error err = {0};
        ck_assert_int_eq(weir_yaml_parse(weir_slice_str(cases[i][0]), "j", arena, &root, &err), WEIR_INVALID);
        ck_assert_msg(strstr(err.text, cases[i][1]) != NULL, "case %zu: %s", i, err.text);
        ck_assert_ptr_null(root);
    }
    weir_arena_destroy(arena);
}
END_TEST

START_TEST(commas_that_cut_nothing_pass)
{
    struct weir_arena *arena = weir_arena_create(0);
    const struct weir_yaml *root = parsed(arena, "{filter: a < 5, b: \"f(x, y)\", c: f(x), d: 'open (', e: 1}");
    ck_assert_uint_eq(root->count, 5);
    root = parsed(arena, "type: DECIMAL(10, 2)\nnext: 1\n");
    ck_assert(weir_slice_eq_str(root->items[0]->text, "DECIMAL(10, 2)"));
    weir_arena_destroy(arena);
}
END_TEST

START_TEST(limits_hold)
{
    struct weir_arena *arena = weir_arena_create(0);
    const struct weir_yaml *root = NULL;
    struct weir_error err = {0};
    struct weir_buf buf = {0};
    for (int depth = WEIR_YAML_DEPTH_MAX; depth <= WEIR_YAML_DEPTH_MAX + 1; depth++) {
        weir_buf_clear(&buf);
        for (int i = 0; i < depth; i++) {
            weir_buf_put_str(&buf, "[");
        }
        for (int i = 0; i < depth; i++) {
            weir_buf_put_str(&buf, "]");
        }
        ck_assert_int_eq(weir_yaml_parse(weir_buf_slice(&buf), "j", arena, &root, &err),
                         depth <= WEIR_YAML_DEPTH_MAX ? WEIR_OK : WEIR_LIMIT);
    }
    for (int nodes = WEIR_YAML_NODES_MAX; nodes <= WEIR_YAML_NODES_MAX + 1; nodes++) {
        weir_buf_clear(&buf);
        for (int i = 1; i < nodes; i++) {
            weir_buf_put_str(&buf, "- 1\n");
        }
        ck_assert_int_eq(weir_yaml_parse(weir_buf_slice(&buf), "j", arena, &root, &err),
                         nodes <= WEIR_YAML_NODES_MAX ? WEIR_OK : WEIR_LIMIT);
    }
    weir_buf_clear(&buf);
    memset(weir_buf_reserve(&buf, WEIR_JOB_FILE_BYTES_MAX + 1), '#', WEIR_JOB_FILE_BYTES_MAX + 1);
    buf.len = WEIR_JOB_FILE_BYTES_MAX + 1;
    ck_assert_int_eq(weir_yaml_parse(weir_buf_slice(&buf), "j", arena, &root, &err), WEIR_LIMIT);
    weir_buf_fini(&buf);
    weir_arena_destroy(arena);
}
END_TEST

START_TEST(mangled_texts_never_crash)
{
    static const char text[] = "name: x\ntables:\n  - {name: p, type: \"DECIMAL(10, 2)\", k: [1, 2, {a: b}]}\nq: |\n  t\nz: 'a''b'\n";
    struct weir_rand rand;
    weir_rand_init(&rand, 7);
    int accepted = 0;
    int refused = 0;
    for (int round = 0; round < 3000; round++) {
        char copy[sizeof(text)];
        memcpy(copy, text, sizeof(text));
        size_t len = 1 + weir_rand_below(&rand, sizeof(text) - 1);
        for (uint64_t edits = weir_rand_below(&rand, 4); edits > 0; edits--) {
            copy[weir_rand_below(&rand, len)] = "{}[],:'\"|-\n\t &*!#x\xc3"[weir_rand_below(&rand, 19)];
        }
        struct weir_arena *arena = weir_arena_create(0);
        const struct weir_yaml *root = NULL;
        struct weir_error err = {0};
        if (weir_yaml_parse(weir_slice(copy, len), "j", arena, &root, &err) == WEIR_OK) {
            ck_assert_ptr_nonnull(root);
            accepted++;
        } else {
            ck_assert_int_eq(strncmp(err.text, "j:", 2), 0);
            refused++;
        }
        weir_arena_destroy(arena);
    }
    ck_assert_int_gt(accepted, 100);
    ck_assert_int_gt(refused, 100);
}
END_TEST

Suite *yaml_suite(void);
Suite *yaml_suite(void)
{
    Suite *suite = suite_create("yaml");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, tree_has_order_quoting_and_positions);
    tcase_add_test(tc, refusals_name_the_place);
    tcase_add_test(tc, commas_that_cut_nothing_pass);
    tcase_add_test(tc, limits_hold);
    tcase_add_test(tc, mangled_texts_never_crash);
    suite_add_tcase(suite, tc);
    return suite;
}
