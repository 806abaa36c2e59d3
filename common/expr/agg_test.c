#include "common/expr/agg.h"

#include "common/base/rand.h"

#include <check.h>
#include <stdio.h>

enum { ROWS = 64 };

struct fixture {
    struct weir_arena *arena;
    struct weir_mem *mem;
    struct weir_agg_heap *heap, *other_heap;
    struct weir_expr *bound;
    const struct weir_agg *agg;
    struct weir_schema *result_schema;
    struct weir_batch *batch; /* one column "x" */
};

static struct weir_schema *one_column(struct weir_type type)
{
    struct weir_field field = {.name = "x", .type = type};
    struct weir_schema *schema = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_schema_create(&field, 1, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    return schema;
}

/* A batch of texts cast to the type by the builder's value; NULL for a NULL pointer. */
static struct fixture setup(const char *agg, const char *type_text, const struct weir_value *values, uint32_t count)
{
    struct fixture fix = {.arena = weir_arena_create(0), .mem = weir_mem_create("test", 0, NULL)};
    fix.heap = weir_agg_heap_create(fix.mem);
    fix.other_heap = weir_agg_heap_create(fix.mem);
    struct weir_error err = {0};
    struct weir_type type;
    ck_assert_int_eq(weir_type_parse(weir_slice_str(type_text), &type, &err), WEIR_OK);
    struct weir_schema *schema = one_column(type);
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, schema, ROWS, fix.mem);
    for (uint32_t i = 0; i < count; i++, builder.nrows++) {
        struct weir_value value = values[i];
        value.type = type;
        if (value.is_null) {
            weir_column_builder_put_null(&builder.cols[0], i);
        } else {
            weir_value_put(&value, &builder.cols[0], i);
        }
    }
    fix.batch = weir_batch_builder_finish(&builder);
    weir_batch_builder_fini(&builder);
    struct weir_expr *tree = NULL;
    ck_assert_int_eq(weir_expr_parse(weir_slice_str(agg), fix.arena, &tree, &err), WEIR_OK);
    ck_assert_msg(weir_expr_bind_agg(tree, schema, fix.arena, &fix.bound, &err) == WEIR_OK, "%s", err.text);
    ck_assert_msg(weir_agg_find(fix.bound, &fix.agg, &err) == WEIR_OK, "%s", err.text);
    ck_assert_uint_le(fix.agg->acc_bytes, WEIR_AGG_BYTES_MAX);
    ck_assert_uint_eq(fix.agg->acc_bytes % 8, 0);
    fix.result_schema = one_column(fix.bound->type);
    weir_schema_unref(schema);
    return fix;
}

static void teardown(struct fixture *fix)
{
    weir_batch_unref(fix->batch);
    weir_schema_unref(fix->result_schema);
    weir_agg_heap_destroy(fix->heap);
    weir_agg_heap_destroy(fix->other_heap);
    weir_arena_destroy(fix->arena);
    weir_mem_destroy(fix->mem);
}

static enum weir_rc update(struct fixture *fix, uint8_t *acc, const uint16_t *rows, uint32_t count, int8_t sign, struct weir_error *err)
{
    uint8_t *accs[ROWS];
    int8_t signs[ROWS];
    for (uint32_t i = 0; i < count; i++) {
        accs[i] = acc - 8; /* with an offset */
        signs[i] = sign;
    }
    return fix->agg->update(accs, 8, fix->bound->nargs == 0 ? NULL : &fix->batch->cols[0], rows, count, sign == 1 ? NULL : signs, fix->heap, err);
}

/* The result as text, or "! " and the error. */
static void result(struct fixture *fix, const uint8_t *acc, const struct weir_agg_heap *heap, struct weir_buf *out)
{
    struct weir_batch_builder builder;
    struct weir_error err = {0};
    weir_buf_clear(out);
    weir_batch_builder_init(&builder, fix->result_schema, 1, fix->mem);
    if (fix->agg->result(acc, heap, fix->bound->type, &builder.cols[0], 0, &err) != WEIR_OK) {
        weir_buf_put_fmt(out, "! %s", err.text);
    } else {
        builder.nrows = 1;
        struct weir_batch *batch = weir_batch_builder_finish(&builder);
        struct weir_value value = weir_value_get(&batch->cols[0], 0);
        weir_value_format(&value, out);
        weir_batch_unref(batch);
    }
    weir_batch_builder_fini(&builder);
    weir_buf_put_u8(out, 0);
}

#define I(number) {.u.i64 = (number)}
#define F(number) {.u.f64 = (number)}
#define D(number) {.u.decimal = (number)}
#define S(text) {.u.str = {(const uint8_t *)(text), sizeof(text) - 1}}
#define NIL {.is_null = true}

static const struct {
    const char *agg, *type;
    struct weir_value values[5];
    const char *expected;
} cases[] = {
    {"COUNT(*)", "INT", {I(1), NIL, I(3), NIL, I(5)}, "5"},
    {"COUNT(x)", "STRING", {S("a"), NIL, S(""), NIL, S("b")}, "3"},
    {"SUM(x)", "TINYINT", {I(100), I(100), I(-100), NIL, I(-50)}, "50"},
    {"SUM(x)", "SMALLINT", {I(30000), I(1), NIL, NIL, I(-2)}, "29999"},
    {"SUM(x)", "INT", {I(2147483647), I(1), NIL, NIL, I(0)}, "! SUM: the result does not fit INT; CAST the argument to a wider type"},
    {"SUM(x)", "BIGINT", {I(INT64_MAX), I(INT64_MAX), I(-INT64_MAX), NIL, I(7)}, "! SUM: the result does not fit BIGINT"},
    {"SUM(x)", "BIGINT", {I(INT64_MAX), I(INT64_MAX), I(-INT64_MAX), NIL, I(-7)}, "9223372036854775800"},
    {"SUM(x)", "DOUBLE", {F(1.5), F(2.5), NIL, NIL, F(-1)}, "3.0"},
    {"SUM(x)", "FLOAT", {F(0.5), F(2.5), NIL, NIL, F(-1)}, "2.0"},
    {"SUM(x)", "DECIMAL(10, 2)", {D(150), D(250), NIL, NIL, D(-1)}, "3.99"},
    {"SUM(x)", "INT", {NIL, NIL, NIL, NIL, NIL}, "NULL"},
    {"AVG(x)", "INT", {I(-7), I(0), NIL, NIL, I(0)}, "-2"},
    {"AVG(x)", "BIGINT", {I(INT64_MAX), I(INT64_MAX), NIL, NIL, I(INT64_MAX)}, "9223372036854775807"},
    {"AVG(x)", "DOUBLE", {F(1), F(2), NIL, NIL, F(4.5)}, "2.5"},
    {"AVG(x)", "DECIMAL(10, 2)", {D(100), D(200), NIL, NIL, D(200)}, "1.666667"},
    {"AVG(x)", "DECIMAL(20, 8)", {D(1), D(2), NIL, NIL, D(2)}, "0.00000002"},
    {"AVG(x)", "FLOAT", {NIL, NIL, NIL, NIL, NIL}, "NULL"},
    {"MIN(x)", "TINYINT", {I(3), I(-128), NIL, I(7), I(0)}, "-128"},
    {"MAX(x)", "SMALLINT", {I(3), I(-128), NIL, I(7), I(0)}, "7"},
    {"MIN(x)", "INT", {I(3), I(1), NIL, I(7), I(2)}, "1"},
    {"MAX(x)", "BIGINT", {I(INT64_MIN), NIL, NIL, NIL, NIL}, "-9223372036854775808"},
    {"MIN(x)", "DOUBLE", {F(3), F(-0.5), NIL, F(0.0 / 0.0), F(2)}, "-0.5"},
    {"MAX(x)", "DOUBLE", {F(3), F(-0.5), NIL, F(0.0 / 0.0), F(2)}, "NaN"},
    {"MAX(x)", "FLOAT", {F(-3), F(-0.5), NIL, NIL, F(-2)}, "-0.5"},
    {"MIN(x)", "DECIMAL(38, 2)", {D(3), D(-100), NIL, D(7), D(2)}, "-1.00"},
    {"MAX(x)", "TIMESTAMP(3)", {I(3000), I(1000), NIL, I(7000), I(2000)}, "1970-01-01 00:00:00.007"},
    {"MIN(x)", "DATE", {I(3), I(1), NIL, I(7), I(2)}, "1970-01-02"},
    {"MIN(x)", "STRING", {S("banana"), S("apple and a half, which is long"), NIL, S("b"), S("cherry")}, "apple and a half, which is long"},
    {"MAX(x)", "STRING", {S("b"), S("apple"), NIL, S("banana"), S("cherry, ripe and long enough")}, "cherry, ripe and long enough"},
    {"MAX(x)", "STRING", {NIL, NIL, NIL, NIL, NIL}, "NULL"},
    {"MIN(x)", "STRING", {S(""), S("a"), NIL, NIL, NIL}, ""},
};

static void expect(struct fixture *fix, uint32_t i, const uint8_t *acc, const struct weir_agg_heap *heap, const char *expected, const char *where)
{
    struct weir_buf got = {0};
    result(fix, acc, heap, &got);
    bool prefix = expected[0] == '!';
    ck_assert_msg(prefix ? strncmp((char *)got.data, expected, strlen(expected)) == 0 : strcmp((char *)got.data, expected) == 0,
                  "%s of %s (%s): expected %s, got %s", cases[i].agg, cases[i].type, where, expected, (char *)got.data);
    weir_buf_fini(&got);
}

/* Encoded, decoded into another heap. */
static void move_acc(struct fixture *fix, const uint8_t *from, uint8_t *to)
{
    struct weir_error err = {0};
    if (fix->agg->encode == NULL) {
        memcpy(to, from, fix->agg->acc_bytes);
        return;
    }
    struct weir_buf bytes = {0};
    fix->agg->encode(from, fix->heap, &bytes);
    for (size_t len = 0; len < bytes.len; len++) {
        ck_assert_int_eq(fix->agg->decode(weir_slice(bytes.data, len), to, fix->other_heap, &err), WEIR_CORRUPT);
    }
    ck_assert_int_eq(fix->agg->decode(weir_buf_slice(&bytes), to, fix->other_heap, &err), WEIR_OK);
    weir_buf_put_u8(&bytes, 0);
    uint8_t ignored[WEIR_AGG_BYTES_MAX];
    ck_assert_int_eq(fix->agg->decode(weir_buf_slice(&bytes), ignored, fix->other_heap, &err), WEIR_CORRUPT);
    weir_buf_fini(&bytes);
}

START_TEST(results)
{
    static const uint16_t all[] = {0, 1, 2, 3, 4};
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fix = setup(cases[i].agg, cases[i].type, cases[i].values, 5);
        struct weir_error err = {0};
        _Alignas(16) uint8_t slots[4][8 + WEIR_AGG_BYTES_MAX + 8] = {{0}};
        uint8_t *whole = slots[0] + 8, *first = slots[1] + 8, *second = slots[2] + 8, *moved = slots[3] + 8;
        bool count = strncmp(cases[i].agg, "COUNT", 5) == 0;
        expect(&fix, i, whole, fix.heap, count ? "0" : "NULL", "empty");
        ck_assert_int_eq(update(&fix, whole, all, 5, 1, &err), WEIR_OK);
        expect(&fix, i, whole, fix.heap, cases[i].expected, "whole");

        /* two parts, the second one shipped, merged */
        ck_assert_int_eq(update(&fix, first, all, 2, 1, &err), WEIR_OK);
        ck_assert_int_eq(update(&fix, second, all + 2, 3, 1, &err), WEIR_OK);
        move_acc(&fix, second, moved);
        ck_assert_int_eq(fix.agg->merge(first, moved, fix.heap, fix.other_heap, &err), WEIR_OK);
        expect(&fix, i, first, fix.heap, cases[i].expected, "merged");

        if (fix.agg->retractable) { /* rows added and taken back do not show; with nothing left the result is NULL */
            ck_assert_int_eq(update(&fix, whole, all, 3, 1, &err), WEIR_OK);
            ck_assert_int_eq(update(&fix, whole, all, 3, -1, &err), WEIR_OK);
            expect(&fix, i, whole, fix.heap, cases[i].expected, "retracted");
            ck_assert_int_eq(update(&fix, whole, all, 5, -1, &err), WEIR_OK);
            expect(&fix, i, whole, fix.heap, count ? "0" : "NULL", "all retracted");
        }
        ck_assert_int_eq(fix.agg->uses_heap, fix.agg->release != NULL);
        if (fix.agg->release != NULL) {
            fix.agg->release(whole, fix.heap);
            expect(&fix, i, whole, fix.heap, "NULL", "released");
            ck_assert_int_eq(update(&fix, whole, all, 5, 1, &err), WEIR_OK); /* in the place that became free */
            expect(&fix, i, whole, fix.heap, cases[i].expected, "again");
        }
        teardown(&fix);
    }
}
END_TEST

/* Sums of many DECIMALs of 38 digits leave 128 bits: noticed, not wrapped. */
START_TEST(decimal_sums_overflow_with_an_error)
{
    struct weir_value max = D((__int128)1), values[4];
    for (uint32_t i = 0; i < 38; i++) {
        max.u.decimal *= 10;
    }
    max.u.decimal -= 1;
    for (uint32_t i = 0; i < 4; i++) {
        values[i] = max;
    }
    static const uint16_t rows[] = {0, 1, 2, 3};
    struct fixture fix = setup("SUM(x)", "DECIMAL(38, 0)", values, 4);
    struct weir_error err = {0};
    _Alignas(16) uint8_t slot[8 + WEIR_AGG_BYTES_MAX + 8] = {0};
    ck_assert_int_eq(update(&fix, slot + 8, rows, 4, 1, &err), WEIR_DATA);
    teardown(&fix);
}
END_TEST

START_TEST(distinct_is_refused)
{
    struct weir_value value = I(1);
    struct fixture fix = setup("SUM(x)", "INT", &value, 1);
    struct weir_error err = {0};
    const struct weir_agg *agg = NULL;
    fix.bound->distinct = true;
    ck_assert_int_eq(weir_agg_find(fix.bound, &agg, &err), WEIR_UNSUPPORTED);
    teardown(&fix);
}
END_TEST

Suite *agg_suite(void);
Suite *agg_suite(void)
{
    Suite *suite = suite_create("agg");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, results);
    tcase_add_test(tc, decimal_sums_overflow_with_an_error);
    tcase_add_test(tc, distinct_is_refused);
    suite_add_tcase(suite, tc);
    return suite;
}
