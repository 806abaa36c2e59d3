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
    {"p / 3", "4.1133333333333"}, {"p % 5", "2.34"}, {"1.0 / 3", "0.333333"}, {"p - 0.001", "12.339"}, {"- p", "-12.34"}, {"-(-5)", "5"},
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
    {"ts = ltz", "TRUE"}, {"tm = '01:02:03'", "TRUE"}, {"ts > DATE '2026-01-25'", "FALSE"}, {"ts IN ('2026-01-25 07:11:52.123', '2026-01-01 00:00:00')", "TRUE"},
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

Suite *expr_prog_suite(void);
Suite *expr_prog_suite(void)
{
    Suite *suite = suite_create("expr_prog");
    TCase *tc = tcase_create("all");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, values, 0, 5);
    suite_add_tcase(suite, tc);
    return suite;
}
