/*
 * SQL expressions: parsed, printed and parsed again (the same text), bound, compiled and run over random rows, with and without a
 * selection. Every value that comes out can be printed.
 */
#include "common/base/arena.h"
#include "common/base/rand.h"
#include "common/expr/expr_prog.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>

enum { ROWS = 64, NOW_MS = 1795245112 };

static const char *const columns[][2] = {{"a", "INT"},           {"b", "BIGINT"},       {"d", "DOUBLE"},           {"f", "FLOAT"},
                                         {"s", "STRING"},        {"t", "BOOLEAN"},      {"ts", "TIMESTAMP(3)"},    {"ltz", "TIMESTAMP_LTZ(3)"},
                                         {"p", "DECIMAL(10, 2)"}, {"dt", "DATE"},       {"tm", "TIME(0)"},         {"tiny", "TINYINT"},
                                         {"nn", "INT NOT NULL"}, {"y", "BYTES"},        {"big", "DECIMAL(38, 9)"}, {"small", "SMALLINT"}};

enum { NCOLUMNS = sizeof(columns) / sizeof(columns[0]) };

struct expr {
    struct weir_schema *schema;
    struct weir_batch *all;
    struct weir_batch *selected;
    struct weir_arena *arena;
};

static struct weir_value random_value(struct weir_rand *rand, struct weir_type type)
{
    static const char *const words[] = {"", "car", "123", "-1.5e3", "2026-11-21 07:11:52.123", "2026-02-28", "\xc3\xa9t\xc3\xa9", "a%b_c\\d"};
    uint64_t bits = weir_rand_u64(rand) >> weir_rand_below(rand, 64);
    struct weir_value value = {.type = type, .is_null = !type.not_null && weir_rand_below(rand, 5) == 0};
    switch (type.id) {
    case WEIR_TYPE_BOOLEAN: value.u.boolean = bits & 1; break;
    case WEIR_TYPE_TINYINT: value.u.i64 = (int8_t)bits; break;
    case WEIR_TYPE_SMALLINT: value.u.i64 = (int16_t)bits; break;
    case WEIR_TYPE_INT: value.u.i64 = (int32_t)bits; break;
    case WEIR_TYPE_BIGINT: value.u.i64 = (int64_t)bits; break;
    case WEIR_TYPE_FLOAT: value.u.f64 = (double)(float)(weir_rand_double(rand) * 1e6); break;
    case WEIR_TYPE_DOUBLE: value.u.f64 = (weir_rand_double(rand) - 0.5) * (double)bits; break;
    case WEIR_TYPE_DECIMAL: value.u.decimal = type.precision == 10 ? (int64_t)(bits % 10000000000) : -(__int128)bits * 1000000007; break;
    case WEIR_TYPE_VARCHAR:
    case WEIR_TYPE_VARBINARY: value.u.str = weir_slice_str(words[bits % 8]); break;
    case WEIR_TYPE_DATE: value.u.i64 = (int64_t)(bits % 40000); break;
    case WEIR_TYPE_TIME: value.u.i64 = (int64_t)(bits % 86400) * 1000000; break;
    case WEIR_TYPE_TIMESTAMP:
    case WEIR_TYPE_TIMESTAMP_LTZ:
    case WEIR_TYPE_INTERVAL_YEAR:
    case WEIR_TYPE_INTERVAL_DAY:
    case WEIR_TYPE_NULL: value.u.i64 = (int64_t)(bits % 4000000000000) * 1000; break;
    }
    return value;
}

static void *create(void)
{
    struct expr *expr = weir_calloc(1, sizeof(*expr));
    struct weir_field fields[NCOLUMNS];
    struct weir_error err;
    for (uint32_t i = 0; i < NCOLUMNS; i++) {
        fields[i].name = columns[i][0];
        weir_assert(weir_type_parse(weir_slice_str(columns[i][1]), &fields[i].type, &err) == WEIR_OK);
    }
    weir_assert(weir_schema_create(fields, NCOLUMNS, WEIR_NO_COLUMN, &expr->schema, &err) == WEIR_OK);
    struct weir_rand rand;
    weir_rand_init(&rand, 1);
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, expr->schema, ROWS, NULL);
    for (; builder.nrows < ROWS; builder.nrows++) {
        for (uint32_t i = 0; i < NCOLUMNS; i++) {
            struct weir_value value = random_value(&rand, builder.cols[i].type);
            weir_value_put(&value, &builder.cols[i], builder.nrows);
        }
    }
    expr->all = weir_batch_builder_finish(&builder);
    weir_batch_builder_fini(&builder);
    struct weir_buffer *sel = weir_buffer_create(ROWS * sizeof(uint16_t), NULL);
    for (uint16_t i = 0; i < ROWS / 3; i++) {
        ((uint16_t *)(void *)sel->data)[i] = (uint16_t)(3 * i + 1);
    }
    expr->selected = weir_batch_select_take(expr->all, sel, ROWS / 3);
    expr->arena = weir_arena_create(0);
    return expr;
}

static void destroy(void *state)
{
    struct expr *expr = state;
    weir_batch_unref(expr->selected);
    weir_batch_unref(expr->all);
    weir_schema_unref(expr->schema);
    weir_arena_destroy(expr->arena);
    weir_free(expr);
}

/* Printed and parsed, it prints the same. */
static void check_format(struct weir_arena *arena, const struct weir_expr *tree)
{
    struct weir_buf first = {0};
    struct weir_buf second = {0};
    struct weir_expr *again = NULL;
    struct weir_error err;
    weir_expr_format(tree, &first);
    enum weir_rc rc = weir_expr_parse(weir_buf_slice(&first), arena, &again, &err);
    if (rc != WEIR_LIMIT) { /* the parentheses that printing adds count as nesting */
        if (rc == WEIR_OK) {
            weir_expr_format(again, &second);
        }
        if (!weir_slice_eq(weir_buf_slice(&first), weir_buf_slice(&second))) {
            (void)fprintf(stderr, "printed: %.*s\nand again: %.*s\n", (int)first.len, (const char *)first.data, (int)second.len,
                          second.len == 0 ? err.text : (const char *)second.data);
        }
        weir_assert(weir_slice_eq(weir_buf_slice(&first), weir_buf_slice(&second)));
    }
    weir_buf_fini(&first);
    weir_buf_fini(&second);
}

static void eval(struct weir_expr_prog *prog, const struct weir_batch *batch)
{
    struct weir_column col;
    struct weir_error err = {0};
    enum weir_rc rc = weir_expr_prog_eval(prog, batch, NOW_MS * 1000LL, NULL, &col, &err);
    if (rc != WEIR_OK) {
        weir_assert((rc == WEIR_DATA || rc == WEIR_LIMIT) && err.text[0] != '\0');
        return;
    }
    struct weir_buf text = {0};
    for (uint32_t i = 0; i < weir_batch_rows(batch); i++) {
        struct weir_value value = weir_value_get(&col, batch->sel != NULL ? weir_batch_sel(batch)[i] : i);
        weir_buf_clear(&text);
        weir_value_format(&value, &text);
    }
    weir_buf_fini(&text);
    weir_column_unref(&col);
}

static void run(void *state, struct weir_slice input)
{
    struct expr *expr = state;
    struct weir_error err = {0};
    struct weir_expr *tree = NULL;
    struct weir_expr *bound = NULL;
    weir_arena_reset(expr->arena);
    if (weir_expr_parse(input, expr->arena, &tree, &err) != WEIR_OK) {
        weir_assert(err.text[0] >= '0' && err.text[0] <= '9'); /* the line */
        return;
    }
    check_format(expr->arena, tree);
    if (tree->kind == WEIR_EXPR_AGG) {
        (void)!weir_expr_bind_agg(tree, expr->schema, expr->arena, &bound, &err);
        return;
    }
    if (weir_expr_bind(tree, expr->schema, expr->arena, &bound, &err) != WEIR_OK || bound->type.id == WEIR_TYPE_NULL) {
        return;
    }
    enum weir_rc rc = weir_expr_resolve(bound, expr->schema, &err);
    if (rc != WEIR_OK) {
        (void)fprintf(stderr, "bound, but not resolved: %s\n", err.text);
    }
    weir_assert(rc == WEIR_OK); /* what is planned here is resolved again by those who receive the plan */
    const struct weir_expr *exprs[1] = {bound};
    struct weir_expr_prog *prog = NULL;
    if (weir_expr_prog_create(exprs, 1, expr->schema, &prog, &err) == WEIR_OK) {
        eval(prog, expr->all);
        eval(prog, expr->selected);
        weir_expr_prog_destroy(prog);
    }
}

static const char *const tokens[] = {" AND ", " OR ", "NOT ", " IS NULL", " IS NOT NULL", " IN (", " BETWEEN ", " LIKE ", " ESCAPE ", "CASE WHEN ",
                                     " THEN ", " ELSE ", " END", "CAST(", "TRY_CAST(", " AS ", "(", ")", ",", "+", "-", "*", "/", "%", "||", "=", "<>",
                                     "<=", "'", "''", "`", "1e400", "0.1", "9223372036854775807", "-9223372036854775808",
                                     "99999999999999999999999999999999999999", "NULL", "TRUE", "INTERVAL '1' DAY", "INTERVAL '1-2' YEAR TO MONTH",
                                     "TIMESTAMP '2026-11-21 07:11:52'", "DATE '2026-02-28'", "TIME '07:11:52'", "DECIMAL(38, 10)", "BIGINT", "STRING",
                                     "TIMESTAMP(3)", "SUBSTRING(", "REGEXP_EXTRACT(", "REPEAT(", "LPAD(", "DATE_FORMAT(", "FLOOR(", "EXTRACT(YEAR FROM ",
                                     "TIMESTAMPDIFF(SECOND, ", "TIMESTAMPADD(MONTH, ", "COALESCE(", "POWER(", "ROUND(", "MOD(", "ABS(", "s", "ts", "ltz",
                                     "p", "big", "a", "b", "d", "f", "dt", "tm", "y", "/*", "--", "\xff", NULL};

const struct weir_fuzz_target weir_fuzz_expr = {.name = "expr", .tokens = tokens, .lines = true, .create = create, .run = run, .destroy = destroy};
