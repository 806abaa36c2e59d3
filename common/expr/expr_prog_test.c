/*
 * Expressions evaluated: a table of texts with their values, over batches of several sizes with and without a selection; and random
 * expressions against a slow evaluator that knows nothing of columns.
 */
#include "common/expr/expr_prog.h"

#include "common/base/clock.h"
#include "common/base/rand.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const int64_t NOW_MS = 1795245112123; /* 2026-11-21 07:11:52.123 */

struct fixture {
    struct weir_schema *schema;
    struct weir_arena *arena;
    struct weir_mem *mem;
};

static const char *const column_types[][2] = {
    {"a", "INT"},           {"b", "BIGINT"},          {"d", "DOUBLE"},      {"f", "FLOAT"},          {"s", "STRING"},
    {"long", "STRING"},     {"t", "BOOLEAN"},         {"ts", "TIMESTAMP(3)"}, {"ltz", "TIMESTAMP_LTZ(3)"}, {"p", "DECIMAL(10, 2)"},
    {"n", "INT"},           {"dt", "DATE"},           {"tm", "TIME(0)"},    {"zero", "INT"},         {"ns", "STRING"},
    {"nb", "BOOLEAN"},      {"tiny", "TINYINT"},      {"odd name", "INT"},  {"nn", "INT NOT NULL"},  {"date", "DATE"}};

enum { NCOLS = sizeof(column_types) / sizeof(column_types[0]) };

static struct fixture setup(void)
{
    struct fixture fix = {.arena = weir_arena_create(0), .mem = weir_mem_create("test", 0, NULL)};
    struct weir_field fields[NCOLS];
    struct weir_error err;
    for (uint32_t i = 0; i < NCOLS; i++) {
        fields[i].name = column_types[i][0];
        ck_assert_int_eq(weir_type_parse(weir_slice_str(column_types[i][1]), &fields[i].type, &err), WEIR_OK);
    }
    ck_assert_int_eq(weir_schema_create(fields, NCOLS, WEIR_NO_COLUMN, &fix.schema, &err), WEIR_OK);
    return fix;
}

static void teardown(struct fixture *fix)
{
    weir_schema_unref(fix->schema);
    weir_arena_destroy(fix->arena);
    weir_mem_destroy(fix->mem);
}

static void put(struct weir_batch_builder *builder, uint32_t row)
{
    struct weir_column_builder *c = builder->cols;
    int64_t ts = (NOW_MS - 86400000LL * 300) * 1000;
    int64_t numbers[NCOLS] = {[0] = 7, [1] = 5000000000, [7] = ts, [8] = ts, [11] = 20000, [12] = 3723000000, [16] = -5, [17] = 77, [18] = 9,
                              [19] = 20001};
    for (uint32_t i = 0; i < NCOLS; i++) {
        struct weir_value value = {.type = c[i].type, .u.i64 = numbers[i]};
        if (i == 10 || i == 14 || i == 15) {
            weir_column_builder_put_null(&c[i], row);
        } else if (i == 2 || i == 3) {
            value.u.f64 = i == 2 ? 2.5 : 0.5;
            weir_value_put(&value, &c[i], row);
        } else if (i == 4 || i == 5) {
            value.u.str = weir_slice_str(i == 4 ? "car" : "https://example.com/größe/a/b?id=42");
            weir_value_put(&value, &c[i], row);
        } else if (i == 6) {
            value.u.boolean = true;
            weir_value_put(&value, &c[i], row);
        } else if (i == 9) {
            value.u.decimal = 1234;
            weir_value_put(&value, &c[i], row);
        } else {
            weir_value_put(&value, &c[i], row);
        }
    }
}

/* `rows` equal rows; with a selection every third is selected. NULL for 0 rows, which no builder makes. */
static struct weir_batch *make_batch(const struct fixture *fix, uint32_t rows, bool selected)
{
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, fix->schema, rows, fix->mem);
    for (uint32_t row = 0; row < rows; row++, builder.nrows++) {
        put(&builder, row);
    }
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    weir_batch_builder_fini(&builder);
    if (!selected) {
        return batch;
    }
    struct weir_buffer *sel = weir_buffer_create(rows * sizeof(uint16_t) + 1, fix->mem);
    uint32_t nsel = 0;
    for (uint32_t row = 1; row < rows; row += 3) {
        ((uint16_t *)(void *)sel->data)[nsel++] = (uint16_t)row;
    }
    struct weir_batch *with = weir_batch_select_take(batch, sel, nsel);
    weir_batch_unref(batch);
    return with;
}

static void check_rows(const struct weir_column *col, const struct weir_batch *batch, const char *text, const char *expected)
{
    struct weir_buf got = {0};
    for (uint32_t k = 0; k < weir_batch_rows(batch); k++) {
        uint32_t row = batch->sel != NULL ? weir_batch_sel(batch)[k] : k;
        struct weir_value value = weir_value_get(col, row);
        weir_buf_clear(&got);
        weir_value_format(&value, &got);
        weir_buf_put_u8(&got, 0);
        ck_assert_msg(strcmp((char *)got.data, expected) == 0, "%s: expected %s, got %s at row %u of %u", text, expected, (char *)got.data, row,
                      batch->nrows);
    }
    weir_buf_fini(&got);
}

/* Evaluates `text` everywhere; expected is the value as SQL prints it, or "! " and the error's beginning. */
static void check(const struct fixture *fix, const char *text, const char *expected)
{
    struct weir_error err = {0};
    struct weir_expr *tree = NULL, *bound = NULL;
    bool fails = expected[0] == '!';
    const char *message = fails ? expected + 2 : "";
    enum weir_rc rc = weir_expr_parse(weir_slice_str(text), fix->arena, &tree, &err);
    if (rc == WEIR_OK) {
        rc = weir_expr_bind(tree, fix->schema, fix->arena, &bound, &err);
    }
    if (rc != WEIR_OK) {
        ck_assert_msg(fails && strncmp(err.text, message, strlen(message)) == 0, "%s: expected %s, got error %s", text, expected, err.text);
        return;
    }
    struct weir_error resolve_err = {0};
    ck_assert_msg(weir_expr_resolve(bound, fix->schema, &resolve_err) == WEIR_OK, "%s: %s", text, resolve_err.text);
    struct weir_expr_prog *prog = NULL;
    const struct weir_expr *exprs[1] = {bound};
    ck_assert_int_eq(weir_expr_prog_create(exprs, 1, fix->schema, &prog, &err), WEIR_OK);
    static const uint32_t sizes[] = {1, 7, 4096, 3};
    for (uint32_t i = 0; i < 8; i++) {
        struct weir_batch *batch = make_batch(fix, sizes[i % 4], i >= 4);
        struct weir_column col;
        rc = weir_expr_prog_eval(prog, batch, NOW_MS, fix->mem, &col, &err);
        if (fails && weir_batch_rows(batch) > 0) {
            ck_assert_msg(rc == WEIR_DATA && strncmp(err.text, message, strlen(message)) == 0, "%s: expected %s, got %s", text, expected, err.text);
        } else {
            ck_assert_msg(rc == WEIR_OK, "%s: %s", text, err.text);
        }
        if (rc == WEIR_OK) {
            ck_assert(weir_type_same(col.type, bound->type));
            check_rows(&col, batch, text, expected);
            weir_column_unref(&col);
        }
        weir_batch_unref(batch);
    }
    weir_expr_prog_destroy(prog);
}

struct row {
    const char *text, *expected;
};

static const struct row numbers[] = {
    {"1 + 2 * 3", "7"}, {"(1 + 2) * 3", "9"}, {"a + 1", "8"}, {"a - b", "-4999999993"}, {"a * d", "17.5"}, {"a / 2", "3"}, {"-a / 2", "-3"},
    {"a % 4", "3"}, {"-a % 4", "-3"}, {"MOD(b, a)", "2"}, {"b * 4000000000", "1553255926290448384"}, {"2147483647 + 1", "-2147483648"},
    {"-9223372036854775808", "-9223372036854775808"}, {"CAST(-9223372036854775808 AS BIGINT) / -1", "-9223372036854775808"},
    {"a / zero", "! 1:3: /: 7 divided by zero"}, {"a % zero", "! 1:3: %: 7 divided by zero"}, {"p / 0", "! 1:3: /: 12.34 divided by zero"},
    {"d / 0", "Infinity"}, {"n / zero", "NULL"}, {"n + 1", "NULL"}, {"p + 1", "13.34"}, {"p * 0.908", "11.20472"}, {"b * 0.908", "4540000000.000"},
    {"p / 3", "4.1133333333333"}, {"p % 5", "2.34"}, {"1.0 / 3", "0.333333333333"}, {"p - 0.001", "12.339"}, {"- p", "-12.34"}, {"-(-5)", "5"},
    {"1e3", "1000.0"}, {"0.5", "0.5"}, {".5 + 1.", "1.5"}, {"12345678901234567890", "12345678901234567890"},
    {"99999999999999999999999999999999999999 * 10.0", "! "}, {"ABS(-3)", "3"}, {"ABS(tiny)", "5"}, {"CEIL(p)", "13"}, {"FLOOR(p)", "12"},
    {"FLOOR(-p)", "-13"}, {"CEIL(d)", "3.0"}, {"FLOOR(-d)", "-3.0"}, {"ROUND(p, 1)", "12.3"}, {"ROUND(p)", "12"}, {"ROUND(12.35, 1)", "12.4"},
    {"ROUND(d)", "3.0"}, {"ROUND(-2.5e0)", "-3.0"}, {"ROUND(1.005e0, 2)", "1.01"}, {"ROUND(1234, -2)", "1200"}, {"ROUND(155.5, -1)", "160"},
    {"POWER(2, 10)", "1024.0"}, {"SQRT(16)", "4.0"}, {"LN(1)", "0.0"}, {"EXP(0)", "1.0"}, {"SIGN(-3)", "-1"}, {"SIGN(d)", "1.0"},
    {"SIGN(p)", "1.00"}, {"GREATEST(1, a, 3)", "7"}, {"LEAST(1, d, 3)", "1.0"}, {"GREATEST(1, n)", "NULL"}, {"LEAST('b', s)", "b"},
    {"f + 1", "1.5"}, {"f * d", "1.25"}, {"tiny + tiny", "-10"}, {"a + f", "7.5"}, {"+a", "7"}, {"- - a", "7"}, {"a + 'x'", "! 1:3: + does not take (INT, STRING); it takes two numbers"},
    {"ABS('x')", "! 1:1: ABS does not take (STRING)"}, {"1 + TRUE", "! 1:3: + does not take"}, {"NULL + 1", "NULL"},
};

static const struct row logic[] = {
    {"a = 7", "TRUE"}, {"a <> 7", "FALSE"}, {"a != 8", "TRUE"}, {"a < d", "FALSE"}, {"a >= 7 AND s = 'car'", "TRUE"}, {"n = 1", "NULL"},
    {"n = 1 OR TRUE", "TRUE"}, {"n = 1 AND FALSE", "FALSE"}, {"n = 1 AND TRUE", "NULL"}, {"NOT (n = 1)", "NULL"}, {"NOT t", "FALSE"},
    {"t AND nb", "NULL"}, {"t OR nb", "TRUE"}, {"NOT t AND nb", "FALSE"}, {"nb IS NULL", "TRUE"}, {"nb IS TRUE", "FALSE"},
    {"nb IS NOT TRUE", "TRUE"}, {"t IS FALSE", "FALSE"}, {"nb IS NOT FALSE", "TRUE"}, {"nb IS UNKNOWN", "TRUE"}, {"t IS NOT UNKNOWN", "TRUE"},
    {"a IS NOT NULL", "TRUE"}, {"n IS NULL", "TRUE"}, {"s IS NULL", "FALSE"}, {"n IS DISTINCT FROM a", "TRUE"}, {"n IS NOT DISTINCT FROM n", "TRUE"},
    {"a IS NOT DISTINCT FROM 7", "TRUE"}, {"a BETWEEN 1 AND 7", "TRUE"}, {"a NOT BETWEEN 1 AND 7", "FALSE"}, {"a BETWEEN n AND 3", "FALSE"},
    {"a IN (1, 7)", "TRUE"}, {"a IN (1, 2)", "FALSE"}, {"a IN (1, NULL)", "NULL"}, {"a NOT IN (1, NULL)", "NULL"}, {"a NOT IN (7, NULL)", "FALSE"},
    {"a IN (b, 7, n)", "TRUE"}, {"s IN ('bus', 'car')", "TRUE"}, {"p IN (12.340, 1)", "TRUE"}, {"d IN (2.5, 3)", "TRUE"}, {"n IN (1)", "NULL"},
    {"zero <> 0 AND 1 / zero > 2", "FALSE"}, {"zero = 0 OR 1 / zero > 2", "TRUE"}, {"nb AND 1 / zero = 1", "! 1:10: /: 1 divided by zero"},
    {"zero = 1 AND s LIKE 'c%' AND 1 / zero = 1 AND a / zero = 2", "FALSE"}, {"p = 12.340", "TRUE"}, {"p > 12.3399999", "TRUE"}, {"b > p", "TRUE"},
    {"p < 99999999999999999999999999999999999999", "TRUE"}, {"s = 'car'", "TRUE"}, {"s < 'cat'", "TRUE"}, {"s > 'ca'", "TRUE"}, {"s >= 'car '", "FALSE"},
    {"long > 'https://example.com/gr'", "TRUE"}, {"ts > '2026-01-01 00:00:00'", "TRUE"}, {"dt < '2024-10-05'", "TRUE"}, {"dt = DATE '2024-10-04'", "TRUE"},
    {"ts IN ('2026-01-25 07:11:52.124', 'soon')", "! "}, {"ts IN ('2026-01-25 07:11:52.123', 'soon')", "TRUE"},
    {"ts = ltz", "TRUE"}, {"tm = '01:02:03'", "TRUE"}, {"ts > DATE '2026-01-26'", "FALSE"}, {"ts IN ('2026-01-25 07:11:52.123', '2026-01-01 00:00:00')", "TRUE"},
    {"a = 's'", "! 1:3: = does not take (INT, STRING); it takes values of one kind; CAST one of them"}, {"t = TRUE", "TRUE"}, {"s = ns", "NULL"},
    {"'it''s' = 'it''s'", "TRUE"}, {"CASE WHEN a > 5 THEN 'big' WHEN a > 3 THEN 'mid' ELSE 'small' END", "big"},
    {"CASE a WHEN 1 THEN 'one' WHEN 7 THEN 'seven' END", "seven"}, {"CASE a WHEN 1 THEN 'one' END", "NULL"},
    {"CASE WHEN zero = 0 THEN 0 ELSE 1 / zero END", "0"}, {"CASE WHEN nb THEN 1 ELSE 2.5 END", "2.5"}, {"CASE WHEN n > 1 THEN 1 ELSE n END", "NULL"},
    {"CASE WHEN t THEN a + 1 ELSE a END + CASE WHEN NOT t THEN a + 1 ELSE a + 1 END", "16"}, {"COALESCE(n, a, 1 / zero)", "7"},
    {"COALESCE(ns, NULL, s)", "car"}, {"COALESCE(n, n)", "NULL"}, {"IFNULL(n, 3)", "3"}, {"NULLIF(a, 7)", "NULL"}, {"NULLIF(a, 8)", "7"},
    {"IF(a > 3, 'y', 'n')", "y"}, {"IF(nb, 'y', 'n')", "n"}, {"nn + 1", "10"}, {"`odd name` + 1", "78"}, {"date > dt", "TRUE"}, {"NULL", "NULL"},
    {"NULL IS NULL", "TRUE"}, {"CASE WHEN 1 THEN 2 END", "! 1:11: a condition of CASE must be BOOLEAN"},
    {"CASE WHEN t THEN 2 ELSE 'x' END", "! 1:"}, {"nosuch", "! 1:1: there is no column nosuch"}, {"lon", "! 1:1: there is no column lon; did you mean long?"},
    {"UPER(s)", "! 1:1: there is no function UPER; did you mean UPPER?"}, {"SUM(a)", "! 1:1: the aggregate SUM cannot stand inside"},
};

static const struct row strings[] = {
    {"UPPER(s)", "CAR"}, {"LOWER('ÄÖÜ ABC Я')", "äöü abc я"}, {"UPPER('größe €')", "GRÖßE €"}, {"CHAR_LENGTH('größe')", "5"}, {"CHARACTER_LENGTH(s)", "3"},
    {"SUBSTRING(s, 2)", "ar"}, {"SUBSTRING(s FROM 2 FOR 1)", "a"}, {"SUBSTRING('größe', 3, 2)", "öß"}, {"SUBSTRING(s, -2)", "ar"},
    {"SUBSTRING(s, 0, 2)", "ca"}, {"SUBSTRING(s, 9)", ""}, {"SUBSTRING(s, 1, -1)", "NULL"}, {"SUBSTRING(s FROM a)", ""}, {"TRIM('  x ')", "x"}, {"TRIM(BOTH 'x' FROM 'xxaxx')", "a"},
    {"TRIM(LEADING FROM '  x ')", "x "}, {"TRIM(TRAILING 'r' FROM s)", "ca"}, {"LTRIM('  x')", "x"}, {"RTRIM('xéé', 'é')", "x"}, {"s || '-' || s", "car-car"},
    {"s || ns", "NULL"}, {"CONCAT('a', 'b', s)", "abcar"}, {"CONCAT_WS('-', 'a', ns, 'b')", "a-b"}, {"CONCAT_WS(ns, 'a')", "NULL"},
    {"REPLACE(long, '/', '|')", "https:||example.com|größe|a|b?id=42"}, {"REPLACE(s, 'x', 'y')", "car"}, {"REPLACE(s, '', 'y')", "car"}, {"REPLACE('aaa', 'a', '')", ""},
    {"POSITION('r' IN s)", "3"}, {"POSITION('ß' IN 'größe')", "4"}, {"POSITION('x' IN s)", "0"}, {"s LIKE 'c%'", "TRUE"}, {"s LIKE '%a%'", "TRUE"},
    {"s LIKE '_a_'", "TRUE"}, {"s LIKE 'ca'", "FALSE"}, {"s LIKE '%r'", "TRUE"}, {"s LIKE 'c%r'", "TRUE"}, {"s NOT LIKE 'b%'", "TRUE"}, {"'100%' LIKE '100\\%' ESCAPE '\\'", "TRUE"},
    {"'a_b' LIKE 'a!_b' ESCAPE '!'", "TRUE"}, {"'axb' LIKE 'a!_b' ESCAPE '!'", "FALSE"}, {"s LIKE 'a!' ESCAPE '!'", "! 1:3: LIKE: the pattern"}, {"ns LIKE 'x'", "NULL"}, {"'größe' LIKE 'gr__e'", "TRUE"},
    {"long LIKE '%example%b?id=__'", "TRUE"}, {"'' LIKE '%'", "TRUE"}, {"'' LIKE '_'", "FALSE"}, {"'a%b' LIKE s", "FALSE"}, {"s LIKE s", "TRUE"},
    {"'aaaaaaaaaaaaaaaaaaaaaaaaaaaab' LIKE '%a%a%a%a%a%a%a%a%c'", "FALSE"}, {"STARTSWITH(long, 'https')", "TRUE"}, {"ENDSWITH(long, '42')", "TRUE"}, {"LPAD(s, 5, 'xy')", "xycar"},
    {"RPAD(s, 6, 'é')", "carééé"}, {"LPAD(s, 2, 'x')", "ca"}, {"LPAD(s, 5, '')", "NULL"}, {"LPAD(s, -1, 'x')", "NULL"}, {"REVERSE('größe')", "eßörg"}, {"REPEAT(s, 2)", "carcar"}, {"REPEAT(s, 0)", ""},
    {"REPEAT(s, 2000000000)", "! 1:1: REPEAT: the result has more than"}, {"SPLIT_INDEX(long, '/', 2)", "example.com"}, {"SPLIT_INDEX(long, '/', 5)", "b?id=42"}, {"SPLIT_INDEX(long, '/', 9)", "NULL"},
    {"SPLIT_INDEX(s, ',', 0)", "car"}, {"SPLIT_INDEX(s, ',', -1)", "NULL"}, {"CHAR_LENGTH(long) - CHAR_LENGTH(REPLACE(long, 'e', ''))", "3"},
    {"CASE LOWER(s) WHEN 'bus' THEN '0' WHEN 'car' THEN '1' ELSE long END", "1"}, {"CASE WHEN t THEN long ELSE s END", "https://example.com/größe/a/b?id=42"}, {"long", "https://example.com/größe/a/b?id=42"},
    {"UPPER(ns)", "NULL"}, {"'abc", "! 1:1: this string has no closing quote"}, {"s = \"car\"", "! 1:5: '\"' means nothing here"},
};

static const struct row times[] = {
    {"YEAR(ts)", "2026"}, {"MONTH(ts)", "1"}, {"DAYOFMONTH(ts)", "25"}, {"HOUR(ts)", "7"}, {"MINUTE(ts)", "11"}, {"SECOND(ts)", "52"}, {"EXTRACT(MILLISECOND FROM ts)", "123"},
    {"EXTRACT(YEAR FROM dt)", "2024"}, {"EXTRACT(DAY FROM ts)", "25"}, {"EXTRACT(DOY FROM ts)", "25"}, {"EXTRACT(DOW FROM ts)", "1"}, {"EXTRACT(WEEK FROM ts)", "4"}, {"QUARTER(dt)", "4"},
    {"HOUR(tm)", "1"}, {"EXTRACT(EPOCH FROM ts)", "1769325112"}, {"EXTRACT(DECADE FROM ts)", "! 1:9: expected a time unit"},
    {"DATE_FORMAT(ts, 'yyyy-MM-dd HH:mm:ss.SSS')", "2026-01-25 07:11:52.123"}, {"DATE_FORMAT(ts, 'yy/M/d ''at'' H')", "26/1/25 at 7"}, {"DATE_FORMAT(ts, 'QQ')", "! 1:1: DATE_FORMAT: the pattern"},
    {"DATE_FORMAT('2020-05-06 01:02:03', 'HHmm')", "0102"}, {"TO_TIMESTAMP('2020-05-06 01:02:03.4567')", "2020-05-06 01:02:03.456"}, {"TO_TIMESTAMP('x')", "NULL"}, {"TO_TIMESTAMP('2020-05-06')", "2020-05-06 00:00:00.000"},
    {"TO_DATE('2020-05-06')", "2020-05-06"}, {"TO_DATE('x')", "NULL"}, {"TO_TIMESTAMP_LTZ(1588726923, 0) = TIMESTAMP '2020-05-06 01:02:03'", "TRUE"}, {"TO_TIMESTAMP_LTZ(1588726923123, 3) = TIMESTAMP '2020-05-06 01:02:03.123'", "TRUE"},
    {"TO_TIMESTAMP_LTZ(1, 2)", "! 1:1: TO_TIMESTAMP_LTZ: the precision is"}, {"ts + INTERVAL '10' SECOND", "2026-01-25 07:12:02.123"}, {"ts - INTERVAL '1' DAY", "2026-01-24 07:11:52.123"}, {"INTERVAL '2' HOUR + ts", "2026-01-25 09:11:52.123"},
    {"ts + INTERVAL '1' MONTH", "2026-02-25 07:11:52.123"}, {"DATE '2024-01-31' + INTERVAL '1' MONTH", "2024-02-29"}, {"DATE '2024-02-29' - INTERVAL '1' YEAR", "2023-02-28"}, {"DATE '2024-01-31' - INTERVAL '13' MONTH", "2022-12-31"},
    {"dt + INTERVAL '1' DAY", "2024-10-05"}, {"tm + INTERVAL '23' HOUR", "00:02:03"}, {"ts + INTERVAL '1' DAY * 2", "2026-01-27 07:11:52.123"}, {"ts - INTERVAL -'1' SECOND", "2026-01-25 07:11:53.123"}, {"ts + INTERVAL '1.5' SECOND", "2026-01-25 07:11:53.623"},
    {"CURRENT_TIMESTAMP = TIMESTAMP '2026-11-21 07:11:52.123'", "TRUE"}, {"LOCALTIMESTAMP", "2026-11-21 07:11:52.123"}, {"NOW() > ltz", "TRUE"}, {"CURRENT_DATE", "2026-11-21"}, {"CURRENT_TIME", "07:11:52"}, {"UNIX_TIMESTAMP()", "1795245112"},
    {"TIMESTAMPDIFF(DAY, ts, LOCALTIMESTAMP)", "300"}, {"TIMESTAMPDIFF(MONTH, TIMESTAMP '2020-01-31 00:00:00', TIMESTAMP '2020-02-29 00:00:00')", "0"}, {"TIMESTAMPDIFF(YEAR, DATE '2020-02-29', DATE '2024-02-29')", "4"}, {"TIMESTAMPDIFF(SECOND, ts, ts - INTERVAL '1' HOUR)", "-3600"},
    {"FLOOR(ts TO HOUR)", "2026-01-25 07:00:00.000"}, {"FLOOR(ts TO MONTH)", "2026-01-01 00:00:00.000"}, {"FLOOR(ts TO YEAR)", "2026-01-01 00:00:00.000"}, {"FLOOR(ts TO WEEK)", "2026-01-25 00:00:00.000"},
    {"TIMESTAMP '1969-12-31 23:59:59.5'", "1969-12-31 23:59:59.5"}, {"HOUR(TIMESTAMP '1969-12-31 23:59:59')", "23"}, {"DATE '2020-13-01'", "! 1:1: expected DATE"}, {"INTERVAL 'x' DAY", "! 1:1: expected a number"}, {"ts + 1", "! 1:4: + does not take (TIMESTAMP(3), INT)"},
};

static const struct row casts[] = {
    {"CAST('12' AS INT)", "12"}, {"CAST(' 12 ' AS BIGINT)", "12"}, {"CAST('12.9' AS INT)", "12"}, {"CAST('x' AS INT)", "! 1:1: CAST: 'x' cannot be made INT; TRY_CAST gives NULL instead"},
    {"TRY_CAST('x' AS INT)", "NULL"}, {"TRY_CAST(s AS DOUBLE)", "NULL"}, {"CAST(s AS INT)", "! 1:1: CAST: 'car' cannot be made INT"}, {"CAST(b AS INT)", "! 1:1: CAST: '5000000000' cannot be made INT"}, {"TRY_CAST(b AS INT)", "NULL"},
    {"CAST(d AS INT)", "2"}, {"CAST(-2.9e0 AS INT)", "-2"}, {"CAST(p AS INT)", "12"}, {"CAST(1e300 AS BIGINT)", "! 1:1: CAST"}, {"CAST(TRUE AS STRING)", "TRUE"}, {"CAST('yes' AS BOOLEAN)", "TRUE"}, {"CAST(a AS BOOLEAN)", "TRUE"}, {"CAST(t AS INT)", "1"},
    {"CAST(a AS STRING)", "7"}, {"CAST(d AS STRING)", "2.5"}, {"CAST(p AS STRING)", "12.34"}, {"CAST(ts AS STRING)", "2026-01-25 07:11:52.123"}, {"CAST(dt AS STRING)", "2024-10-04"}, {"CAST(ts AS DATE)", "2026-01-25"}, {"CAST(ts AS TIME(0))", "07:11:52"},
    {"CAST(ts AS TIMESTAMP(0))", "2026-01-25 07:11:52"}, {"CAST(dt AS TIMESTAMP(3))", "2024-10-04 00:00:00.000"}, {"CAST('2020-01-02 03:04:05.678' AS TIMESTAMP(3))", "2020-01-02 03:04:05.678"}, {"CAST(p AS DECIMAL(5, 1))", "12.3"}, {"CAST(12.35 AS DECIMAL(5, 1))", "12.4"},
    {"CAST(p AS DECIMAL(3, 2))", "! 1:1: CAST"}, {"CAST(a AS DECIMAL(10, 2))", "7.00"}, {"CAST(d AS DECIMAL(10, 2))", "2.50"}, {"CAST(a AS DOUBLE)", "7.0"}, {"CAST(b AS FLOAT)", "5.0E9"}, {"CAST(long AS VARCHAR(5))", "https"}, {"CAST('größe' AS VARCHAR(3))", "grö"},
    {"CAST(NULL AS INT)", "NULL"}, {"CAST(n AS STRING)", "NULL"}, {"CAST(t AS DATE)", "! 1:6: BOOLEAN cannot be cast to DATE"}, {"CAST(a AS NOSUCH)", "! 1:1: "}, {"CAST(9.99 AS DECIMAL(2, 1))", "! 1:1: CAST"}, {"CAST('1e3' AS DOUBLE)", "1000.0"}, {"CAST('NaN' AS DOUBLE)", "NaN"},
    {"CAST('1' AS DECIMAL(5, 2))", "1.00"}, {"CAST(a AS TINYINT) + CAST(120 AS TINYINT)", "127"}, {"CASE WHEN zero = 0 THEN 1 ELSE CAST(s AS INT) END", "1"}, {"CAST(CAST(b AS DECIMAL(19, 0)) AS BIGINT)", "5000000000"},
};

static void check_table(const struct row *rows, size_t count)
{
    struct fixture fix = setup();
    for (size_t i = 0; i < count; i++) {
        check(&fix, rows[i].text, rows[i].expected);
        weir_arena_reset(fix.arena);
    }
    teardown(&fix);
}

START_TEST(values)
{
    static const struct {
        const struct row *rows;
        size_t count;
    } tables[] = {{numbers, sizeof(numbers) / sizeof(numbers[0])},
                  {logic, sizeof(logic) / sizeof(logic[0])},
                  {strings, sizeof(strings) / sizeof(strings[0])},
                  {times, sizeof(times) / sizeof(times[0])},
                  {casts, sizeof(casts) / sizeof(casts[0])}};
    check_table(tables[_i].rows, tables[_i].count);
}
END_TEST

/* --- random expressions against a slow evaluator ------------------------------------------------------------------------ */

enum kind { INTEGER, FLOATING, TRUTH, NKINDS };

enum gen_op {
    G_COLUMN, G_LITERAL, G_NULL, G_ADD, G_SUB, G_MUL, G_DIV, G_MOD, G_NEG, G_WIDEN, /* integer to double */
    G_EQ, G_LT, G_GE, G_DISTINCT, G_AND, G_OR, G_NOT, G_IS_NULL, G_IS_TRUE, G_IN, G_CASE, G_COALESCE, G_NULLIF,
};

struct gen {
    enum gen_op op;
    enum kind kind;
    uint32_t column;
    int64_t number;
    struct gen *args[5];
    uint32_t nargs;
};

struct slow {
    bool null, failed;
    int64_t i64; /* integers and truths */
    double f64;
};

enum { GEN_ROWS_MAX = 300, GEN_COLUMNS = 6 }; /* two of each kind */

struct world {
    struct weir_rand rand;
    struct weir_arena *arena;
    struct slow cells[GEN_COLUMNS][GEN_ROWS_MAX];
};

static struct gen *generate(struct world *w, enum kind kind, uint32_t depth);

static struct gen *gen_node(struct world *w, enum gen_op op, enum kind kind)
{
    struct gen *gen = weir_arena_zalloc(w->arena, sizeof(*gen));
    gen->op = op;
    gen->kind = kind;
    return gen;
}

static uint32_t below(struct world *w, uint32_t bound)
{
    return (uint32_t)weir_rand_below(&w->rand, bound);
}

static struct gen *gen_with(struct world *w, enum gen_op op, enum kind kind, enum kind arg_kind, uint32_t nargs, uint32_t depth)
{
    struct gen *gen = gen_node(w, op, kind);
    gen->nargs = nargs;
    for (uint32_t i = 0; i < nargs; i++) {
        gen->args[i] = generate(w, arg_kind, depth - 1);
    }
    return gen;
}

static struct gen *generate_leaf(struct world *w, enum kind kind)
{
    uint32_t choice = below(w, 8);
    struct gen *gen = gen_node(w, choice < 5 ? G_COLUMN : choice < 7 ? G_LITERAL : G_NULL, kind);
    gen->column = (uint32_t)kind * 2 + below(w, 2);
    gen->number = kind == TRUTH ? below(w, 2) : (int64_t)below(w, 7) - 3;
    return gen;
}

static struct gen *generate(struct world *w, enum kind kind, uint32_t depth)
{
    if (depth == 0) {
        return generate_leaf(w, kind);
    }
    uint32_t choice = below(w, 12);
    if (choice == 0) {
        return generate_leaf(w, kind);
    }
    if (choice == 1) {
        return gen_with(w, G_COALESCE, kind, kind, 2 + below(w, 2), depth);
    }
    if (choice == 2) {
        struct gen *gen = gen_with(w, G_CASE, kind, kind, 5, depth);
        gen->args[0] = generate(w, TRUTH, depth - 1);
        gen->args[2] = generate(w, TRUTH, depth - 1);
        return gen;
    }
    if (choice == 3 && kind != TRUTH) {
        return gen_with(w, G_NULLIF, kind, kind, 2, depth);
    }
    if (kind == TRUTH) {
        static const enum gen_op compares[] = {G_EQ, G_LT, G_GE, G_DISTINCT};
        enum kind of = (enum kind)below(w, TRUTH);
        switch (below(w, 8)) {
        case 0:
        case 1:
            return gen_with(w, G_AND, kind, TRUTH, 2 + below(w, 3), depth);
        case 2:
            return gen_with(w, G_OR, kind, TRUTH, 2 + below(w, 3), depth);
        case 3:
            return gen_with(w, below(w, 2) == 0 ? G_NOT : G_IS_TRUE, kind, TRUTH, 1, depth);
        case 4:
            return gen_with(w, G_IS_NULL, kind, (enum kind)below(w, NKINDS), 1, depth);
        case 5:
            return gen_with(w, G_IN, kind, of, 2 + below(w, 3), depth);
        default:
            return gen_with(w, compares[below(w, 4)], kind, of, 2, depth);
        }
    }
    static const enum gen_op ops[] = {G_ADD, G_SUB, G_MUL, G_DIV, G_MOD, G_NEG};
    uint32_t op = below(w, 7);
    if (op == 6) {
        return kind == FLOATING ? gen_with(w, G_WIDEN, kind, INTEGER, 1, depth) : gen_with(w, G_ADD, kind, kind, 2, depth);
    }
    op = ops[op] == G_DIV && kind == INTEGER && below(w, 3) != 0 ? 0 : op; /* failing everywhere would show little */
    op = ops[op] == G_MOD && kind == FLOATING ? 0 : op;
    return gen_with(w, ops[op], kind, kind, ops[op] == G_NEG ? 1 : 2, depth);
}

static void write_list(const struct gen *gen, const char *separator, struct weir_buf *out);

static void write_gen(const struct gen *gen, struct weir_buf *out)
{
    static const char *const names[GEN_COLUMNS] = {"i0", "i1", "d0", "d1", "b0", "b1"};
    static const char *const types[NKINDS] = {"BIGINT", "DOUBLE", "BOOLEAN"};
    static const char *const ops[] = {[G_ADD] = " + ", [G_SUB] = " - ", [G_MUL] = " * ", [G_DIV] = " / ", [G_MOD] = " % ", [G_EQ] = " = ",
                                      [G_LT] = " < ", [G_GE] = " >= ", [G_DISTINCT] = " IS DISTINCT FROM ", [G_AND] = " AND ", [G_OR] = " OR "};
    switch ((int)gen->op) {
    case G_COLUMN:
        weir_buf_put_str(out, names[gen->column]);
        return;
    case G_LITERAL:
        if (gen->kind == TRUTH) {
            weir_buf_put_str(out, gen->number != 0 ? "TRUE" : "FALSE");
        } else {
            weir_buf_put_fmt(out, "CAST(%lld AS %s)", (long long)gen->number, types[gen->kind]);
        }
        return;
    case G_NULL:
        weir_buf_put_fmt(out, "CAST(NULL AS %s)", types[gen->kind]);
        return;
    case G_NEG:
    case G_NOT:
        weir_buf_put_str(out, gen->op == G_NEG ? "(- " : "(NOT ");
        write_list(gen, "", out);
        break;
    case G_WIDEN:
        weir_buf_put_str(out, "CAST(");
        write_list(gen, "", out);
        weir_buf_put_str(out, " AS DOUBLE");
        break;
    case G_IS_NULL:
    case G_IS_TRUE:
        weir_buf_put_str(out, "(");
        write_list(gen, "", out);
        weir_buf_put_str(out, gen->op == G_IS_NULL ? " IS NULL" : " IS TRUE");
        break;
    case G_IN:
        weir_buf_put_str(out, "(");
        write_gen(gen->args[0], out);
        weir_buf_put_str(out, " IN (");
        for (uint32_t i = 1; i < gen->nargs; i++) {
            weir_buf_put_str(out, i == 1 ? "" : ", ");
            write_gen(gen->args[i], out);
        }
        weir_buf_put_str(out, ")");
        break;
    case G_CASE:
        weir_buf_put_str(out, "(CASE WHEN ");
        for (uint32_t i = 0; i < 5; i++) {
            static const char *const words[] = {"", " THEN ", " WHEN ", " THEN ", " ELSE "};
            weir_buf_put_str(out, words[i]);
            write_gen(gen->args[i], out);
        }
        weir_buf_put_str(out, " END");
        break;
    case G_COALESCE:
    case G_NULLIF:
        weir_buf_put_str(out, gen->op == G_NULLIF ? "NULLIF(" : "COALESCE(");
        write_list(gen, ", ", out);
        break;
    default:
        weir_buf_put_str(out, "(");
        write_list(gen, ops[gen->op], out);
        break;
    }
    weir_buf_put_str(out, ")");
}

static void write_list(const struct gen *gen, const char *separator, struct weir_buf *out)
{
    for (uint32_t i = 0; i < gen->nargs; i++) {
        weir_buf_put_str(out, i == 0 ? "" : separator);
        write_gen(gen->args[i], out);
    }
}

static struct slow truth(bool value)
{
    return (struct slow){.i64 = value};
}

static struct slow eval(const struct world *w, const struct gen *gen, uint32_t row);

static bool same(const struct slow *a, const struct slow *b, enum kind kind)
{
    return kind == FLOATING ? a->f64 == b->f64 : a->i64 == b->i64;
}

/* AND and OR: left to right, stopping at what decides. */
static struct slow eval_logic(const struct world *w, const struct gen *gen, uint32_t row)
{
    bool decides = gen->op == G_OR, null = false;
    for (uint32_t i = 0; i < gen->nargs; i++) {
        struct slow x = eval(w, gen->args[i], row);
        if (x.failed) {
            return x;
        }
        if (!x.null && (x.i64 != 0) == decides) {
            return truth(decides);
        }
        null = null || x.null;
    }
    return (struct slow){.null = null, .i64 = !decides};
}

static struct slow eval_in(const struct world *w, const struct gen *gen, uint32_t row)
{
    bool null = false;
    for (uint32_t i = 1; i < gen->nargs; i++) {
        struct slow x = eval(w, gen->args[0], row), y = x.failed ? x : eval(w, gen->args[i], row);
        if (x.failed || y.failed) {
            return (struct slow){.failed = true};
        }
        if (!x.null && !y.null && same(&x, &y, gen->args[0]->kind)) {
            return truth(true);
        }
        null = null || x.null || y.null;
    }
    return (struct slow){.null = null};
}

static struct slow eval_branches(const struct world *w, const struct gen *gen, uint32_t row)
{
    if (gen->op == G_CASE) {
        for (uint32_t i = 0; i < 4; i += 2) {
            struct slow when = eval(w, gen->args[i], row);
            if (when.failed) {
                return when;
            }
            if (!when.null && when.i64 != 0) {
                return eval(w, gen->args[i + 1], row);
            }
        }
        return eval(w, gen->args[4], row);
    }
    struct slow x = {.null = true};
    for (uint32_t i = 0; i < gen->nargs && x.null && !x.failed; i++) {
        x = eval(w, gen->args[i], row);
    }
    return x;
}

static struct slow eval_pair(const struct gen *gen, struct slow x, struct slow y)
{
    enum kind kind = gen->args[0]->kind;
    bool f = kind == FLOATING;
    struct slow out = {0};
    if (gen->op == G_DISTINCT) {
        return truth(x.null || y.null ? x.null != y.null : !same(&x, &y, kind));
    }
    if (x.null || y.null) {
        return (struct slow){.null = true};
    }
    uint64_t a = (uint64_t)x.i64, b = (uint64_t)y.i64;
    switch ((int)gen->op) {
    case G_ADD:
        out.i64 = (int64_t)(a + b);
        out.f64 = x.f64 + y.f64;
        break;
    case G_SUB:
        out.i64 = (int64_t)(a - b);
        out.f64 = x.f64 - y.f64;
        break;
    case G_MUL:
        out.i64 = (int64_t)(a * b);
        out.f64 = x.f64 * y.f64;
        break;
    case G_DIV:
    case G_MOD:
        out.f64 = x.f64 / y.f64;
        out.failed = !f && y.i64 == 0;
        if (!f && y.i64 != 0) {
            out.i64 = y.i64 == -1 ? (gen->op == G_DIV ? (int64_t)(0 - a) : 0) : gen->op == G_DIV ? x.i64 / y.i64 : x.i64 % y.i64;
        }
        break;
    case G_EQ:
        return truth(same(&x, &y, kind));
    case G_LT:
        return truth(f ? x.f64 < y.f64 : x.i64 < y.i64);
    case G_GE:
        return truth(f ? x.f64 >= y.f64 : x.i64 >= y.i64);
    default:
        ck_abort();
    }
    return out;
}

static struct slow eval(const struct world *w, const struct gen *gen, uint32_t row)
{
    struct slow x, y;
    switch ((int)gen->op) {
    case G_COLUMN:
        return w->cells[gen->column][row];
    case G_LITERAL:
        return (struct slow){.i64 = gen->number, .f64 = (double)gen->number};
    case G_NULL:
        return (struct slow){.null = true};
    case G_AND:
    case G_OR:
        return eval_logic(w, gen, row);
    case G_IN:
        return eval_in(w, gen, row);
    case G_CASE:
    case G_COALESCE:
        return eval_branches(w, gen, row);
    default:
        break;
    }
    x = eval(w, gen->args[0], row);
    y = gen->nargs == 2 && !x.failed ? eval(w, gen->args[1], row) : x;
    if (x.failed || y.failed) {
        return (struct slow){.failed = true};
    }
    switch ((int)gen->op) {
    case G_NEG:
        x.i64 = (int64_t)(0 - (uint64_t)x.i64);
        x.f64 = -x.f64;
        return x;
    case G_WIDEN:
        x.f64 = (double)x.i64;
        return x;
    case G_NOT:
        x.i64 = !x.i64;
        return x;
    case G_IS_NULL:
        return truth(x.null);
    case G_IS_TRUE:
        return truth(!x.null && x.i64 != 0);
    case G_NULLIF:
        return !x.null && !y.null && same(&x, &y, gen->kind) ? (struct slow){.null = true} : x;
    default:
        return eval_pair(gen, x, y);
    }
}

/* Rows of small numbers, so that equalities happen; a fifth is NULL, except where a column has none. */
static struct weir_batch *random_batch(struct world *w, const struct weir_schema *schema, uint32_t nrows, struct weir_mem *mem)
{
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, schema, nrows, mem);
    bool nullable[GEN_COLUMNS];
    for (uint32_t c = 0; c < GEN_COLUMNS; c++) {
        nullable[c] = below(w, 3) != 0;
    }
    for (uint32_t row = 0; row < nrows; row++, builder.nrows++) {
        for (uint32_t c = 0; c < GEN_COLUMNS; c++) {
            struct slow *cell = &w->cells[c][row];
            bool extreme = below(w, 20) == 0;
            *cell = (struct slow){.null = nullable[c] && below(w, 5) == 0, .i64 = c >= 4 ? below(w, 2) : extreme ? INT64_MIN : (int64_t)below(w, 7) - 3};
            cell->f64 = extreme ? (below(w, 2) == 0 ? INFINITY : NAN) : (double)cell->i64 / 2;
            struct weir_value value = {.type = builder.cols[c].type, .is_null = cell->null, .u.i64 = cell->i64};
            if (c / 2 == FLOATING) {
                value.u.f64 = cell->f64;
            } else if (c / 2 == TRUTH) {
                value.u.boolean = cell->i64 != 0;
            }
            if (cell->null) {
                weir_column_builder_put_null(&builder.cols[c], row);
            } else {
                weir_value_put(&value, &builder.cols[c], row);
            }
        }
    }
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    weir_batch_builder_fini(&builder);
    if (below(w, 2) == 0) {
        return batch;
    }
    struct weir_buffer *sel = weir_buffer_create(nrows * sizeof(uint16_t) + 1, mem);
    uint32_t nsel = 0, keep = 1 + below(w, 4);
    for (uint32_t row = 0; row < nrows; row++) {
        if (below(w, 4) < keep) {
            ((uint16_t *)(void *)sel->data)[nsel++] = (uint16_t)row;
        }
    }
    struct weir_batch *with = weir_batch_select_take(batch, sel, nsel);
    weir_batch_unref(batch);
    return with;
}

static void check_filter(struct weir_expr_prog *prog, const struct weir_batch *batch, const struct weir_column *col, const char *text)
{
    uint16_t rows[WEIR_BATCH_ROWS_MAX];
    uint32_t count = 0, want = 0;
    struct weir_error err;
    ck_assert_int_eq(weir_expr_prog_filter(prog, batch, NOW_MS, rows, &count, &err), WEIR_OK);
    for (uint32_t k = 0; k < weir_batch_rows(batch); k++) {
        uint32_t row = batch->sel != NULL ? weir_batch_sel(batch)[k] : k;
        if (!weir_column_is_null(col, row) && weir_column_bool(col, row)) {
            ck_assert_msg(want < count && rows[want] == row, "%s: row %u is missing", text, row);
            want++;
        }
    }
    ck_assert_uint_eq(want, count);
}

static void check_random(struct world *w, const struct weir_schema *schema, struct weir_mem *mem)
{
    struct weir_error err = {0};
    const struct gen *gens[2];
    const struct weir_expr *exprs[2];
    struct weir_buf texts[2] = {{0}, {0}};
    for (uint32_t e = 0; e < 2; e++) { /* two outputs of one program share what they have in common */
        gens[e] = generate(w, e == 0 ? TRUTH : (enum kind)below(w, NKINDS), 1 + below(w, 5));
        write_gen(gens[e], &texts[e]);
        struct weir_expr *tree = NULL, *bound = NULL;
        ck_assert_msg(weir_expr_parse(weir_buf_slice(&texts[e]), w->arena, &tree, &err) == WEIR_OK, "%s", err.text);
        ck_assert_msg(weir_expr_bind(tree, schema, w->arena, &bound, &err) == WEIR_OK, "%s", err.text);
        exprs[e] = bound;
        weir_buf_put_u8(&texts[e], 0);
    }
    struct weir_expr_prog *prog = NULL;
    ck_assert_int_eq(weir_expr_prog_create(exprs, 2, schema, &prog, &err), WEIR_OK);
    for (uint32_t round = 0; round < 3; round++) {
        struct weir_batch *batch = random_batch(w, schema, 1 + below(w, GEN_ROWS_MAX), mem);
        struct weir_column cols[2];
        bool failed = false;
        for (uint32_t k = 0; k < weir_batch_rows(batch) && !failed; k++) {
            uint32_t row = batch->sel != NULL ? weir_batch_sel(batch)[k] : k;
            failed = eval(w, gens[0], row).failed || eval(w, gens[1], row).failed;
        }
        enum weir_rc rc = weir_expr_prog_eval(prog, batch, NOW_MS, mem, cols, &err);
        ck_assert_msg((rc == WEIR_DATA) == failed && (rc == WEIR_OK) == !failed, "%s, %s: %s", (char *)texts[0].data, (char *)texts[1].data,
                      rc == WEIR_OK ? "should fail" : err.text);
        for (uint32_t e = 0; e < 2 && !failed; e++) {
            for (uint32_t k = 0; k < weir_batch_rows(batch); k++) {
                uint32_t row = batch->sel != NULL ? weir_batch_sel(batch)[k] : k;
                struct slow want = eval(w, gens[e], row);
                struct weir_value got = weir_value_get(&cols[e], row);
                bool equal = gens[e]->kind == FLOATING ? got.u.f64 == want.f64 || (isnan(got.u.f64) && isnan(want.f64))
                             : gens[e]->kind == TRUTH  ? got.u.boolean == (want.i64 != 0)
                                                       : got.u.i64 == want.i64;
                ck_assert_msg(got.is_null == want.null && (want.null || equal), "%s: row %u of %u", (char *)texts[e].data, row, batch->nrows);
            }
        }
        if (!failed) {
            check_filter(prog, batch, &cols[0], (char *)texts[0].data);
            weir_column_unref(&cols[0]);
            weir_column_unref(&cols[1]);
        }
        weir_batch_unref(batch);
    }
    weir_expr_prog_destroy(prog);
    weir_buf_fini(&texts[0]);
    weir_buf_fini(&texts[1]);
}

START_TEST(random_expressions_agree_with_a_slow_evaluator)
{
    struct weir_mem *mem = weir_mem_create("test", 0, NULL);
    struct world *w = weir_calloc(1, sizeof(*w));
    w->arena = weir_arena_create(0);
    weir_rand_init(&w->rand, 20261121 + (uint64_t)_i);
    static const char *const names[GEN_COLUMNS] = {"i0", "i1", "d0", "d1", "b0", "b1"};
    struct weir_field fields[GEN_COLUMNS];
    struct weir_schema *schema = NULL;
    struct weir_error err;
    for (uint32_t c = 0; c < GEN_COLUMNS; c++) {
        fields[c] = (struct weir_field){.name = names[c], .type = weir_type_of(c < 2 ? WEIR_TYPE_BIGINT : c < 4 ? WEIR_TYPE_DOUBLE : WEIR_TYPE_BOOLEAN)};
    }
    ck_assert_int_eq(weir_schema_create(fields, GEN_COLUMNS, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    for (uint32_t i = 0; i < 600; i++) {
        check_random(w, schema, mem);
        weir_arena_reset(w->arena);
    }
    weir_schema_unref(schema);
    weir_arena_destroy(w->arena);
    weir_free(w);
    weir_mem_destroy(mem);
}
END_TEST

START_TEST(bare_columns_share_their_buffers)
{
    struct fixture fix = setup();
    struct weir_error err = {0};
    struct weir_expr *tree = NULL, *bound = NULL;
    struct weir_expr_prog *prog = NULL;
    ck_assert_int_eq(weir_expr_parse(weir_slice_str("long"), fix.arena, &tree, &err), WEIR_OK);
    ck_assert_int_eq(weir_expr_bind(tree, fix.schema, fix.arena, &bound, &err), WEIR_OK);
    const struct weir_expr *exprs[1] = {bound};
    ck_assert_int_eq(weir_expr_prog_create(exprs, 1, fix.schema, &prog, &err), WEIR_OK);
    struct weir_batch *batch = make_batch(&fix, 5, false);
    struct weir_column col;
    ck_assert_int_eq(weir_expr_prog_eval(prog, batch, NOW_MS, fix.mem, &col, &err), WEIR_OK);
    ck_assert_ptr_eq(col.values, batch->cols[5].values);
    weir_column_unref(&col);
    weir_batch_unref(batch);
    weir_expr_prog_destroy(prog);
    teardown(&fix);
}
END_TEST

Suite *expr_prog_suite(void);
Suite *expr_prog_suite(void)
{
    Suite *suite = suite_create("expr_prog");
    TCase *tc = tcase_create("all");
    tcase_add_loop_test(tc, values, 0, 5);
    tcase_add_loop_test(tc, random_expressions_agree_with_a_slow_evaluator, 0, 4);
    tcase_add_test(tc, bare_columns_share_their_buffers);
    suite_add_tcase(suite, tc);
    return suite;
}
