#include "common/expr/expr.h"

#include "common/base/rand.h"
#include "common/expr/expr_prog.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool same_tree(const struct weir_expr *a, const struct weir_expr *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    bool named = a->kind == WEIR_EXPR_COLUMN || a->kind == WEIR_EXPR_CALL || a->kind == WEIR_EXPR_AGG;
    if (a->kind != b->kind || a->nargs != b->nargs || a->safe != b->safe || a->distinct != b->distinct || a->star != b->star ||
        !weir_type_same(a->type, b->type) || (named && strcmp(a->name, b->name) != 0) || a->nodes != b->nodes || a->depth != b->depth) {
        return false;
    }
    if (a->kind == WEIR_EXPR_LITERAL && !weir_value_same(&a->value, &b->value)) {
        return false;
    }
    for (uint32_t i = 0; i < a->nargs; i++) {
        if (!same_tree(a->args[i], b->args[i])) {
            return false;
        }
    }
    return same_tree(a->filter, b->filter);
}

START_TEST(format_parses_to_the_same_tree)
{
    static const struct {
        const char *text, *formatted;
    } rows[] = {
        {"speed >= 0 and vehicleType is not null", "((speed >= 0) AND (vehicleType IS NOT NULL))"},
        {"a or b and c or not d", "(a OR (b AND c) OR (NOT d))"},
        {"a + b * -c - 2", "((a + (b * (- c))) - 2)"},
        {"a - -2", "(a - -2)"},
        {"-(-a)", "(- (- a))"},
        {"x between 1 and 2 and y not between 3 and 4", "((x >= 1) AND (x <= 2) AND (NOT ((y >= 3) AND (y <= 4))))"},
        {"x not in (1, 'two', 3.5)", "(NOT (x IN (1, 'two', 3.5)))"},
        {"s like '%it''s!%' escape '!'", "(s LIKE '%it''s!%' ESCAPE '!')"},
        {"case x when 1 then 'a' else b end", "CASE WHEN (x = 1) THEN 'a' ELSE b END"},
        {"case when x then 1 end is null", "(CASE WHEN x THEN 1 END IS NULL)"},
        {"try_cast(x as decimal(10, 2))", "TRY_CAST(x AS DECIMAL(10, 2))"},
        {"cast(x as timestamp(3) with local time zone)", "CAST(x AS TIMESTAMP_LTZ(3))"},
        {"`odd ``name` = `and`", "(`odd ``name` = `and`)"},
        {"extract(years from ts)", "EXTRACT(YEAR FROM ts)"},
        {"trim(both 'x' from a)", "TRIM('x' FROM a)"},
        {"_f(a)", "_F(a)"},
        {"\xc3\xa9(a)", "\xc3\xa9(a)"},
        {"substring(a from 2 for 3) || trim(leading 'x' from b)", "(SUBSTRING(a, 2, 3) || LTRIM(b, 'x'))"},
        {"position('a' in b || c)", "POSITION('a', (b || c))"},
        {"floor(ts to hour)", "FLOOR(ts TO HOUR)"},
        {"timestampdiff(day, a, b)", "TIMESTAMPDIFF(DAY, a, b)"},
        {"count(*) filter (where x > 1)", "COUNT(*) FILTER (WHERE (x > 1))"},
        {"sum(distinct x)", "SUM(DISTINCT x)"},
        {"interval '10' second + interval -'1.5' hour", "(INTERVAL '10' SECOND + INTERVAL -'5400' SECOND)"},
        {"interval '2' year", "INTERVAL '24' MONTH"},
        {"timestamp '2026-11-21 07:11:52.123' > date '2026-01-01'", "(TIMESTAMP '2026-11-21 07:11:52.123' > DATE '2026-01-01')"},
        {"time '01:02:03'", "TIME '01:02:03'"},
        {"1e3 + 1.50 + 12345678901 + 0.0", "(((1000.0E0 + 1.50) + 12345678901) + 0.0)"},
        {"1e300", "1.0E300"},
        {"a is not distinct from null", "(a IS NOT DISTINCT FROM NULL)"},
        {"a = b is true", "((a = b) IS TRUE)"},
        {"current_timestamp", "CURRENT_TIMESTAMP()"},
        {"if(a, b, c) -- comment\n + /* another */ coalesce(d, e)", "(IF(a, b, c) + COALESCE(d, e))"},
        {"date", "date"},
        {"filter + trim + interval", "((filter + trim) + interval)"},
    };
    struct weir_arena *arena = weir_arena_create(0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct weir_expr *first = NULL, *second = NULL;
        struct weir_error err = {0};
        ck_assert_msg(weir_expr_parse(weir_slice_str(rows[i].text), arena, &first, &err) == WEIR_OK, "%s: %s", rows[i].text, err.text);
        struct weir_buf text = {0};
        weir_expr_format(first, &text);
        ck_assert_msg(weir_slice_eq_str(weir_buf_slice(&text), rows[i].formatted), "%s: %.*s", rows[i].text, (int)text.len, (char *)text.data);
        ck_assert_msg(weir_expr_parse(weir_buf_slice(&text), arena, &second, &err) == WEIR_OK, "%s: %s", rows[i].formatted, err.text);
        ck_assert_msg(same_tree(first, second), "%s", rows[i].text);
        weir_buf_fini(&text);
    }
    weir_arena_destroy(arena);
}
END_TEST

START_TEST(errors_say_where_and_what)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"", "1:1: expected an expression, found the end of the text"},
        {"a +", "1:4: expected an expression, found the end of the text"},
        {"a b", "1:3: expected an operator or end of text, found 'b'"},
        {"(a", "1:3: expected an operator or ')', found the end of the text"},
        {"a\n  + ) b", "2:5: expected an expression, found ')'"},
        {"'größe' )", "1:9: expected an operator or end of text, found ')'"},
        {"CASE WHEN a THEN 1", "1:19: expected an operator, WHEN, ELSE or END, found the end of the text"},
        {"CAST(a AS)", "1:10: expected name, found ')'"},
        {"CAST(a AS INTT)", "1:1: "},
        {"a IS 3", "1:6: expected NOT, NULL, TRUE, FALSE, UNKNOWN or DISTINCT, found '3'"},
        {"a = 'x", "1:5: this string has no closing quote"},
        {"a /* x", "1:3: this comment has no end"},
        {"1x", "1:1: '1x' is neither a number nor a name"},
        {"a ; b", "1:3: ';' means nothing here"},
        {"``", "1:1: this quoted name is empty"},
        {"UPPER(*)", "1:1: UPPER is not an aggregate: * belongs to"},
        {"SUM(*)", "1:1: SUM(*) does not exist"},
        {"UPPER(DISTINCT a)", "1:1: UPPER is not an aggregate: DISTINCT belongs to"},
        {"TIMESTAMP '2026-13-01 00:00:00'", "1:1: expected TIMESTAMP 'yyyy-mm-dd hh:mm:ss[.fff]', found '2026-13-01 00:00:00'"},
        {"INTERVAL '1' FORTNIGHT", "1:1: expected INTERVAL '...' YEAR"},
        {"INTERVAL '99999999999' YEAR", "1:1: the interval is too long"},
        {"1e999", "1:1: 1e999 does not fit a DOUBLE"},
        {"1234567890123456789012345678901234567890", "1:1: a number has more than 38 digits"},
        {"a BETWEEN 1", "1:12: expected "},
    };
    struct weir_arena *arena = weir_arena_create(0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct weir_expr *expr = NULL;
        struct weir_error err = {0};
        enum weir_rc rc = weir_expr_parse(weir_slice_str(rows[i].text), arena, &expr, &err);
        ck_assert_msg(rc == WEIR_INVALID || rc == WEIR_LIMIT, "%s", rows[i].text);
        ck_assert_msg(strncmp(err.text, rows[i].message, strlen(rows[i].message)) == 0, "%s: expected %s, got %s", rows[i].text,
                      rows[i].message, err.text);
        ck_assert_ptr_null(expr);
    }
    weir_arena_destroy(arena);
}
END_TEST

static enum weir_rc parse_repeated(const char *head, const char *unit, uint32_t times, const char *middle, const char *closing, struct weir_error *err)
{
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_buf text = {0};
    weir_buf_put_str(&text, head);
    for (uint32_t i = 0; i < times; i++) {
        weir_buf_put_str(&text, unit);
    }
    weir_buf_put_str(&text, middle);
    for (uint32_t i = 0; i < times; i++) {
        weir_buf_put_str(&text, closing);
    }
    struct weir_expr *expr = NULL;
    enum weir_rc rc = weir_expr_parse(weir_buf_slice(&text), arena, &expr, err);
    if (rc == WEIR_OK) {
        struct weir_buf formatted = {0};
        weir_expr_format(expr, &formatted);
        struct weir_expr *again = NULL;
        ck_assert_msg(weir_expr_parse(weir_buf_slice(&formatted), arena, &again, err) == WEIR_OK, "%s", err->text);
        ck_assert(same_tree(expr, again));
        weir_buf_fini(&formatted);
    }
    weir_buf_fini(&text);
    weir_arena_destroy(arena);
    return rc;
}

START_TEST(bombs_are_refused)
{
    static const struct {
        const char *head, *unit, *middle, *closing;
        uint32_t fits; /* a number of repetitions that is fine */
    } bombs[] = {
        {"", "(", "a", ")", 300},
        {"", "-", "a", "", 0}, /* "--" begins a comment */
        {"", "- ", "a", "", 150},
        {"", "NOT ", "a", "", 150},
        {"", "UPPER(", "a", ")", 150},
        {"", "CASE WHEN ", "a", " THEN b END", 100},
        {"", "CASE ", "a", " WHEN b THEN c WHEN d THEN e END", 5}, /* doubles with each level */
        {"", "a BETWEEN (", "c", ") AND e", 50},
        {"", "(", "a", " BETWEEN 1 AND 2)", 5},
        {"a", " + a", "", "", 150},
        {"a", " IS NULL", "", "", 150},
        {"", "CAST(", "a", " AS INT)", 150},
        {"", "a IN (", "b", ")", 150},
        {"a", " = a", "", "", 150},
    };
    for (size_t i = 0; i < sizeof(bombs) / sizeof(bombs[0]); i++) {
        struct weir_error err = {0};
        enum weir_rc rc = parse_repeated(bombs[i].head, bombs[i].unit, bombs[i].fits, bombs[i].middle, bombs[i].closing, &err);
        ck_assert_msg(rc == WEIR_OK, "%s: %s", bombs[i].unit, err.text);
        rc = parse_repeated(bombs[i].head, bombs[i].unit, 100000, bombs[i].middle, bombs[i].closing, &err);
        bool comment = strcmp(bombs[i].unit, "-") == 0;
        ck_assert_msg(rc == (comment ? WEIR_INVALID : WEIR_LIMIT), "%s: %d %s", bombs[i].unit, rc, err.text);
    }
    struct weir_error err = {0};
    ck_assert_int_eq(parse_repeated("a", " AND a", 5000, "", "", &err), WEIR_OK); /* one node, not 5,000 levels */
    ck_assert_int_eq(parse_repeated("a", " OR a = 1", 20000, "", "", &err), WEIR_LIMIT);
    ck_assert_int_eq(parse_repeated("a IN (1", ", 1", 5000, ")", "", &err), WEIR_OK);
}
END_TEST

/* A value or an error for every row, never a crash; every value prints. */
static void run_over(struct weir_expr *bound, const struct weir_batch *batch, const struct weir_buf *text)
{
    struct weir_error err = {0};
    struct weir_expr_prog *prog = NULL;
    const struct weir_expr *root = bound->kind == WEIR_EXPR_AGG ? (bound->star ? NULL : bound->args[0]) : bound;
    if (root == NULL) {
        return;
    }
    ck_assert_int_eq(weir_expr_prog_create(&root, 1, batch->schema, &prog, &err), WEIR_OK);
    struct weir_column col;
    enum weir_rc rc = weir_expr_prog_eval(prog, batch, 1795245112123, NULL, &col, &err);
    if (rc == WEIR_OK) {
        struct weir_buf out = {0};
        for (uint32_t row = 0; row < batch->nrows; row++) {
            struct weir_value value = weir_value_get(&col, row);
            weir_value_format(&value, &out);
        }
        weir_buf_fini(&out);
        weir_column_unref(&col);
    } else {
        ck_assert_msg(rc == WEIR_DATA, "%.*s: %s", (int)text->len, (char *)text->data, err.text);
    }
    weir_expr_prog_destroy(prog);
}

/* Whatever is thrown at it: a tree or an error, and what parses formats and parses again, and binds or does not. */
static void throw_at(const struct weir_buf *text, const struct weir_batch *batch, struct weir_arena *arena)
{
    const struct weir_schema *schema = batch->schema;
    struct weir_expr *expr = NULL, *again = NULL, *bound = NULL;
    struct weir_error err = {0};
    if (weir_expr_parse(weir_buf_slice(text), arena, &expr, &err) != WEIR_OK) {
        ck_assert_int_gt(strlen(err.text), 5);
        return;
    }
    struct weir_buf formatted = {0};
    weir_expr_format(expr, &formatted);
    ck_assert_msg(weir_expr_parse(weir_buf_slice(&formatted), arena, &again, &err) == WEIR_OK, "%.*s -> %.*s: %s", (int)text->len,
                  (char *)text->data, (int)formatted.len, (char *)formatted.data, err.text);
    ck_assert_msg(same_tree(expr, again), "%.*s -> %.*s", (int)text->len, (char *)text->data, (int)formatted.len, (char *)formatted.data);
    enum weir_rc rc = expr->kind == WEIR_EXPR_AGG ? weir_expr_bind_agg(expr, schema, arena, &bound, &err)
                                                  : weir_expr_bind(expr, schema, arena, &bound, &err);
    if (rc == WEIR_OK) {
        ck_assert_msg(weir_expr_resolve(bound, schema, &err) == WEIR_OK, "%.*s: %s", (int)text->len, (char *)text->data, err.text);
        run_over(bound, batch, text);
    } else {
        ck_assert_int_gt(strlen(err.text), 5);
    }
    weir_buf_fini(&formatted);
}

enum { SOUP_COLUMNS = 11, SOUP_ROWS = 7 };

static struct weir_schema *soup_schema(void)
{
    static const char *const columns[SOUP_COLUMNS][2] = {{"a", "INT"}, {"s", "STRING"}, {"t", "BOOLEAN"}, {"ts", "TIMESTAMP(3)"}, {"p", "DECIMAL(10, 0)"},
                                                         {"i8", "BIGINT"}, {"d", "DOUBLE"}, {"dt", "DATE"}, {"tm", "TIME(0)"}, {"w", "DECIMAL(38, 10)"}, {"i1", "TINYINT"}};
    struct weir_field fields[SOUP_COLUMNS];
    struct weir_schema *schema = NULL;
    struct weir_error err;
    for (uint32_t i = 0; i < SOUP_COLUMNS; i++) {
        fields[i].name = columns[i][0];
        ck_assert_int_eq(weir_type_parse(weir_slice_str(columns[i][1]), &fields[i].type, &err), WEIR_OK);
    }
    ck_assert_int_eq(weir_schema_create(fields, SOUP_COLUMNS, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    return schema;
}

/* The ends of every type's range, and a row of NULLs. */
static struct weir_batch *extreme_batch(const struct weir_schema *schema)
{
    static const int64_t ints[SOUP_ROWS] = {0, 1, -1, INT64_MIN, INT64_MAX, 0, 7};
    static const double doubles[SOUP_ROWS] = {0.0, -0.5, 1e300, -INFINITY, NAN, 0, 5e-324};
    static const char *const texts[SOUP_ROWS] = {"", "12", "\xff\xc3", "2020-02-29 23:59:59.999", "a string that is longer than twelve bytes \xc3\xb6", "", "-1e400"};
    __int128 max = 1;
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, schema, SOUP_ROWS, NULL);
    for (uint32_t row = 0; row < SOUP_ROWS; row++, builder.nrows++) {
        for (uint32_t c = 0; c < SOUP_COLUMNS; c++) {
            struct weir_column_builder *col = &builder.cols[c];
            struct weir_value value = {.type = col->type, .u.i64 = ints[row]};
            max = 1;
            for (uint32_t i = 0; i < col->type.precision && col->type.id == WEIR_TYPE_DECIMAL; i++) {
                max *= 10;
            }
            if (row == 5) {
                weir_column_builder_put_null(col, row);
                continue;
            }
            if (col->type.id == WEIR_TYPE_VARCHAR) {
                value.u.str = weir_slice_str(texts[row]);
            } else if (col->type.id == WEIR_TYPE_BOOLEAN) {
                value.u.boolean = row % 2 == 0;
            } else if (col->type.id == WEIR_TYPE_DOUBLE) {
                value.u.f64 = doubles[row];
            } else if (col->type.id == WEIR_TYPE_DECIMAL) {
                value.u.decimal = row == 3 ? 1 - max : row == 4 ? max - 1 : ints[row];
            } else if (col->type.id == WEIR_TYPE_TIME) {
                value.u.i64 = row == 4 ? 86399999999 : row;
            } else if (col->type.id == WEIR_TYPE_INT || col->type.id == WEIR_TYPE_DATE) {
                value.u.i64 = row == 3 ? INT32_MIN : row == 4 ? INT32_MAX : ints[row];
            } else if (col->type.id == WEIR_TYPE_TINYINT) {
                value.u.i64 = row == 3 ? INT8_MIN : row == 4 ? INT8_MAX : ints[row];
            }
            weir_value_put(&value, col, row);
        }
    }
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    weir_batch_builder_fini(&builder);
    return batch;
}

/* The row of the batch named by `row`, and no other: an error in one row does not hide the next. */
static struct weir_batch *only_row(const struct weir_batch *batch, uint32_t row)
{
    struct weir_buffer *sel = weir_buffer_create(sizeof(uint16_t), NULL);
    ((uint16_t *)(void *)sel->data)[0] = (uint16_t)row;
    return weir_batch_select_take(batch, sel, 1);
}

START_TEST(token_soup_is_survived)
{
    static const char *const tokens[] = {
        "a", "s", "t", "ts", "p", "1", "2.5", "1e2", "'x'", "'12'", "NULL", "TRUE", "+", "-", "*", "/", "%", "||", "=", "<", ">=", "<>", "AND", "OR", "NOT",
        "IS", "NULL", "BETWEEN", "IN", "LIKE", "ESCAPE", "CASE", "WHEN", "THEN", "ELSE", "END", "CAST(", "AS", "INT", "STRING)", "DECIMAL(5,2))", "(", ")",
        ",", "UPPER(", "COALESCE(", "COUNT(", "SUM(", "EXTRACT(", "YEAR", "FROM", "SUBSTRING(", "FOR", "TRIM(", "BOTH", "DATE '2020-01-01'", "INTERVAL '1' DAY",
        "DISTINCT", "FILTER (", "WHERE", "`b`", "\x80", "'", "--", "/*", "FLOOR(", "TO", "CURRENT_DATE", "TRUE", "UNKNOWN", "IF(", "ROUND("};
    /* Forms with holes make much deeper trees than soup does. */
    static const char *const forms[] = {"(@ + @)", "(@ AND @)", "UPPER(@)", "CASE WHEN @ THEN @ ELSE @ END", "CAST(@ AS INT)", "(@ = @)", "(@ IN (@, 1))", "(@ IS NULL)", "@ || @",
                                        "COALESCE(@, @)", "(- @)", "ROUND(@, 1)", "(@ / @)", "(ts + @)", "TRY_CAST(@ AS DECIMAL(38, 10))", "a", "s", "t", "ts", "p", "2.5", "'12'", "NULL", "1e300",
                                        "99999999999999999999999999999999999999", "INTERVAL '1' MONTH", "SUBSTRING(@, @)", "(@ LIKE @)", "NULLIF(@, @)", "DATE_FORMAT(@, @)", "GREATEST(@, @)",
                                        "HOUR(@)", "YEAR(@)", "EXTRACT(EPOCH FROM @)", "EXTRACT(WEEK FROM @)", "FLOOR(@ TO MONTH)", "FLOOR(@ TO WEEK)", "TIMESTAMPDIFF(MONTH, @, @)", "TIMESTAMPDIFF(DAY, @, @)", "(@ + INTERVAL '7' MONTH)",
                                        "(@ - INTERVAL '100' DAY)", "CAST(@ AS DATE)", "CAST(@ AS TIMESTAMP(3))", "CAST(@ AS STRING)", "CAST(@ AS BIGINT)", "CAST(@ AS TINYINT)", "CAST(@ AS DECIMAL(20, 3))", "TRY_CAST(@ AS DOUBLE)", "ABS(@)", "SIGN(@)",
                                        "FLOOR(@)", "CEIL(@)", "ROUND(@, @)", "(@ * @)", "(@ - @)", "(@ % @)", "(@ * INTERVAL '3' DAY)", "SPLIT_INDEX(@, @, 1)", "REPLACE(@, @, @)", "TRIM(@)", "RTRIM(@, @)", "POSITION(@ IN @)", "REVERSE(@)", "UPPER(@)",
                                        "LPAD(@, 7, @)", "SUBSTRING(@, @, @)", "TO_TIMESTAMP_LTZ(@, 3)", "TO_TIMESTAMP(@)", "REPEAT(@, 3)", "CHAR_LENGTH(@)", "SQRT(@)", "POWER(@, @)", "i8", "d", "dt", "tm", "w", "i1", "ts", "(@ < @)", "(@ IS DISTINCT FROM @)",
                                        "CAST(@ AS TIME(0))", "CAST(@ AS BOOLEAN)", "QUARTER(@)", "MINUTE(@)", "DAYOFWEEK(@)", "CONCAT_WS(@, @, @)"};
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_schema *schema = soup_schema();
    struct weir_batch *all = extreme_batch(schema);
    struct weir_rand rand;
    weir_rand_init(&rand, 77 + (uint64_t)_i);
    for (uint32_t i = 0; i < 6000; i++) {
        struct weir_buf text = {0};
        uint64_t count = 1 + weir_rand_below(&rand, 14);
        for (uint64_t t = 0; t < count; t++) {
            weir_buf_put_str(&text, tokens[weir_rand_below(&rand, sizeof(tokens) / sizeof(tokens[0]))]);
            weir_buf_put_str(&text, " ");
        }
        throw_at(&text, all, arena);
        weir_buf_clear(&text);
        weir_buf_put_str(&text, "@");
        for (uint32_t holes = 1, steps = 0; holes > 0; steps++) { /* replace the first hole; end with leaves */
            size_t at = (size_t)((uint8_t *)memchr(text.data, '@', text.len) - text.data);
            const char *form = forms[steps < 7 ? weir_rand_below(&rand, sizeof(forms) / sizeof(forms[0])) : 15 + weir_rand_below(&rand, 9)];
            struct weir_buf next = {0};
            weir_buf_put(&next, text.data, at);
            weir_buf_put_str(&next, form);
            weir_buf_put(&next, text.data + at + 1, text.len - at - 1);
            weir_buf_fini(&text);
            text = next;
            holes--;
            for (const char *c = form; *c != '\0'; c++) {
                holes += *c == '@';
            }
        }
        struct weir_batch *batch = only_row(all, i % SOUP_ROWS);
        throw_at(&text, batch, arena);
        weir_batch_unref(batch);
        weir_buf_fini(&text);
        weir_arena_reset(arena);
    }
    weir_batch_unref(all);
    weir_schema_unref(schema);
    weir_arena_destroy(arena);
}
END_TEST

static enum weir_rc bind_text(const char *text, const struct weir_schema *schema, struct weir_arena *arena, struct weir_expr **out, struct weir_error *err)
{
    struct weir_expr *expr = NULL;
    enum weir_rc rc = weir_expr_parse(weir_slice_str(text), arena, &expr, err);
    if (rc == WEIR_OK) {
        rc = expr->kind == WEIR_EXPR_AGG ? weir_expr_bind_agg(expr, schema, arena, out, err) : weir_expr_bind(expr, schema, arena, out, err);
    }
    return rc;
}

/* Flink's result types; what is constant is folded. */
/* The scanner went over a token anew for each NUL in it: half a minute for 64 KiB. */
START_TEST(nul_characters_are_refused_at_once)
{
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_expr *expr = NULL;
    struct weir_error err;
    struct weir_buf text = {0};
    weir_buf_put_str(&text, "a =\n '\xc3\xb6");
    for (int i = 0; i < 1 << 21; i++) {
        weir_buf_put_u8(&text, 0);
    }
    ck_assert_int_eq(weir_expr_parse(weir_buf_slice(&text), arena, &expr, &err), WEIR_INVALID);
    ck_assert_str_eq(err.text, "2:4: a NUL character means nothing here");
    weir_buf_fini(&text);
    weir_arena_destroy(arena);
}
END_TEST

START_TEST(types_are_flinks)
{
    static const struct {
        const char *text, *type;
    } rows[] = {
        {"tiny + small", "SMALLINT"}, {"i + b", "BIGINT"}, {"i + 1", "INT"}, {"i / 2", "INT"}, {"f + i", "FLOAT"}, {"f + d", "DOUBLE"}, {"f + p", "DOUBLE"},
        {"p + p", "DECIMAL(11, 2)"}, {"p * p", "DECIMAL(21, 4)"}, {"p / p", "DECIMAL(23, 13)"}, {"b * 0.908", "DECIMAL(23, 3)"}, {"p + i", "DECIMAL(13, 2)"}, {"w * w", "DECIMAL(38, 6)"},
        {"w / w", "DECIMAL(38, 6)"}, {"w + w", "DECIMAL(38, 9)"}, {"p % 7", "DECIMAL(10, 2)"}, {"MOD(b, 7)", "BIGINT"}, {"CASE WHEN t THEN i ELSE p END", "DECIMAL(12, 2)"}, {"CEIL(p)", "DECIMAL(10, 0)"},
        {"ROUND(p, 1)", "DECIMAL(10, 1)"}, {"ROUND(p)", "DECIMAL(9, 0)"}, {"CHAR_LENGTH(s)", "INT"}, {"HOUR(ts)", "BIGINT"}, {"ts + INTERVAL '1' DAY", "TIMESTAMP(3)"}, {"COALESCE(i, 0)", "INT NOT NULL"}, {"i IS NULL", "BOOLEAN NOT NULL"},
        {"1 + 1", "INT NOT NULL"}, {"COUNT(*)", "BIGINT NOT NULL"}, {"COUNT(s)", "BIGINT NOT NULL"}, {"SUM(i)", "INT"}, {"SUM(p)", "DECIMAL(38, 2)"}, {"AVG(p)", "DECIMAL(38, 6)"}, {"AVG(i)", "INT"}, {"AVG(d)", "DOUBLE"}, {"MAX(s)", "STRING"}, {"MIN(ts)", "TIMESTAMP(3)"},
        {"SUM(i) FILTER (WHERE t)", "INT"},
    };
    struct weir_field fields[] = {{"tiny", weir_type_of(WEIR_TYPE_TINYINT)}, {"small", weir_type_of(WEIR_TYPE_SMALLINT)}, {"i", weir_type_of(WEIR_TYPE_INT)},
                                  {"b", weir_type_of(WEIR_TYPE_BIGINT)}, {"f", weir_type_of(WEIR_TYPE_FLOAT)}, {"d", weir_type_of(WEIR_TYPE_DOUBLE)},
                                  {"p", weir_type_of(WEIR_TYPE_DECIMAL)}, {"w", weir_type_of(WEIR_TYPE_DECIMAL)}, {"t", weir_type_of(WEIR_TYPE_BOOLEAN)},
                                  {"s", weir_type_of(WEIR_TYPE_VARCHAR)}, {"ts", weir_type_of(WEIR_TYPE_TIMESTAMP)}};
    fields[6].type.scale = 2;
    fields[7].type.precision = 38;
    fields[7].type.scale = 10;
    fields[10].type.precision = 3;
    struct weir_schema *schema = NULL;
    struct weir_error err = {0};
    ck_assert_int_eq(weir_schema_create(fields, 11, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    struct weir_arena *arena = weir_arena_create(0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct weir_expr *bound = NULL;
        ck_assert_msg(bind_text(rows[i].text, schema, arena, &bound, &err) == WEIR_OK, "%s: %s", rows[i].text, err.text);
        ck_assert_msg(strcmp(weir_type_text(bound->type).text, rows[i].type) == 0, "%s: expected %s, got %s", rows[i].text, rows[i].type,
                      weir_type_text(bound->type).text);
    }
    struct weir_expr *bound = NULL;
    ck_assert_int_eq(bind_text("UPPER('a') || CAST(1 + 2 AS STRING)", schema, arena, &bound, &err), WEIR_OK);
    ck_assert_int_eq(bound->kind, WEIR_EXPR_LITERAL);
    ck_assert(weir_slice_eq_str(bound->value.u.str, "A3"));
    ck_assert_int_eq(bind_text("1 / 0", schema, arena, &bound, &err), WEIR_OK); /* fails only where a row needs it */
    ck_assert_int_eq(bound->kind, WEIR_EXPR_CALL);
    ck_assert(weir_expr_is_constant(bound));
    ck_assert_int_eq(bind_text("NOW()", schema, arena, &bound, &err), WEIR_OK);
    ck_assert_int_eq(bound->kind, WEIR_EXPR_CALL);
    ck_assert_int_eq(bind_text("SUM(s)", schema, arena, &bound, &err), WEIR_INVALID);
    ck_assert_int_eq(bind_text("SUM(COUNT(i))", schema, arena, &bound, &err), WEIR_INVALID);
    ck_assert_int_eq(bind_text("SUM(i) FILTER (WHERE i)", schema, arena, &bound, &err), WEIR_INVALID);
    weir_arena_destroy(arena);
    weir_schema_unref(schema);
}
END_TEST

START_TEST(trees_from_outside_are_checked)
{
    struct weir_schema *schema = soup_schema();
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_error err = {0};
    struct weir_expr *bound = NULL;
    static const char *const texts[] = {"a + 1 > 2 AND s LIKE 'x%'", "CASE WHEN t THEN a ELSE 1 END", "CAST(a AS BIGINT)", "p * 2.5"};
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_int_eq(bind_text(texts[i], schema, arena, &bound, &err), WEIR_OK);
        ck_assert_int_eq(weir_expr_resolve(bound, schema, &err), WEIR_OK);
        bound->type = weir_type_of(WEIR_TYPE_DATE);
        ck_assert_msg(weir_expr_resolve(bound, schema, &err) == WEIR_INVALID, "%s as DATE", texts[i]);
    }
    ck_assert_int_eq(bind_text("a + 1", schema, arena, &bound, &err), WEIR_OK);
    bound->name = "NOSUCH";
    ck_assert_int_eq(weir_expr_resolve(bound, schema, &err), WEIR_INVALID);
    bound->name = "+";
    bound->args[0]->column = 99;
    ck_assert_int_eq(weir_expr_resolve(bound, schema, &err), WEIR_INVALID);
    bound->args[0]->column = 1;
    ck_assert_int_eq(weir_expr_resolve(bound, schema, &err), WEIR_INVALID);
    bound->args[0] = bound; /* a cycle */
    ck_assert_int_eq(weir_expr_resolve(bound, schema, &err), WEIR_LIMIT);
    weir_arena_destroy(arena);
    weir_schema_unref(schema);
}
END_TEST

START_TEST(assignments_are_coerced_where_sql_allows)
{
    struct weir_schema *schema = soup_schema();
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_error err = {0};
    struct weir_expr *bound = NULL, *coerced = NULL;
    ck_assert_int_eq(bind_text("a", schema, arena, &bound, &err), WEIR_OK);
    ck_assert_int_eq(weir_expr_coerce(bound, weir_type_of(WEIR_TYPE_BIGINT), arena, &coerced, &err), WEIR_OK);
    ck_assert_int_eq(coerced->kind, WEIR_EXPR_CAST);
    ck_assert_int_eq(weir_expr_coerce(bound, weir_type_of(WEIR_TYPE_INT), arena, &coerced, &err), WEIR_OK);
    ck_assert_ptr_eq(coerced, bound);
    ck_assert_int_eq(weir_expr_coerce(bound, weir_type_of(WEIR_TYPE_VARCHAR), arena, &coerced, &err), WEIR_INVALID);
    ck_assert_str_eq(err.text, "1:1: expected STRING, found INT; CAST it");
    ck_assert_int_eq(bind_text("NULL", schema, arena, &bound, &err), WEIR_OK);
    weir_arena_destroy(arena);
    weir_schema_unref(schema);
}
END_TEST

Suite *expr_suite(void);
Suite *expr_suite(void)
{
    Suite *suite = suite_create("expr");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, format_parses_to_the_same_tree);
    tcase_add_test(tc, errors_say_where_and_what);
    tcase_add_test(tc, bombs_are_refused);
    tcase_add_loop_test(tc, token_soup_is_survived, 0, 3);
    tcase_add_test(tc, nul_characters_are_refused_at_once);
    tcase_add_test(tc, types_are_flinks);
    tcase_add_test(tc, trees_from_outside_are_checked);
    tcase_add_test(tc, assignments_are_coerced_where_sql_allows);
    suite_add_tcase(suite, tc);
    return suite;
}
