#include "common/expr/sql_parse.h"

#include "common/base/assert.h"
#include "common/data/datetime.h"
#include "common/data/number.h"
#include "common/expr/sql.tab.h"

/* The names that flex's header uses. */
#define YYSTYPE WEIR_SQL_STYPE
#define YYLTYPE WEIR_SQL_LTYPE
#include "common/expr/sql.lex.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

enum { DECIMAL_DIGITS_MAX = WEIR_DECIMAL_PRECISION_MAX };

void weir__sql_fail(struct weir_sql_state *state, struct weir_expr_pos pos, enum weir_rc rc, const char *format, ...)
{
    if (state->rc != WEIR_OK) {
        return;
    }
    char text[WEIR_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    state->rc = weir_error_set(state->err, rc, "%u:%u: %s", pos.line, pos.column, text);
}

struct weir_sql_list weir__sql_list_add(struct weir_sql_state *state, struct weir_sql_list list, struct weir_expr *item)
{
    if ((list.count & (list.count - 1)) == 0) { /* full: capacities are powers of two */
        size_t cap = list.count == 0 ? 1 : (size_t)list.count * 2;
        struct weir_expr **items = weir_arena_alloc(state->arena, cap * sizeof(struct weir_expr *));
        if (list.count != 0) {
            memcpy(items, list.items, list.count * sizeof(struct weir_expr *));
        }
        list.items = items;
    }
    list.items[list.count++] = item;
    return list;
}

/* Counts a finished node; NULL when it makes the expression too large or too deep, or when a child had failed. */
static struct weir_expr *finish(struct weir_sql_state *state, struct weir_expr *node)
{
    uint64_t nodes = 1;
    uint32_t depth = 0;
    for (uint32_t i = 0; i <= node->nargs; i++) {
        const struct weir_expr *child = i < node->nargs ? node->args[i] : node->filter;
        if (child == NULL) {
            if (i < node->nargs) {
                return NULL;
            }
            continue;
        }
        nodes += child->nodes;
        depth = depth > child->depth ? depth : child->depth;
    }
    if (nodes > WEIR_EXPR_NODES_MAX) {
        weir__sql_fail(state, node->pos, WEIR_LIMIT, "the expression has more than %d parts", WEIR_EXPR_NODES_MAX);
        return NULL;
    }
    if (depth + 1 > WEIR_EXPR_DEPTH_MAX) {
        weir__sql_fail(state, node->pos, WEIR_LIMIT, "the expression is nested more than %d levels deep", WEIR_EXPR_DEPTH_MAX);
        return NULL;
    }
    node->nodes = (uint32_t)nodes;
    node->depth = depth + 1;
    return node;
}

static struct weir_expr *make(struct weir_sql_state *state, enum weir_expr_kind kind, struct weir_expr_pos pos)
{
    struct weir_expr *node = weir_arena_zalloc(state->arena, sizeof(*node));
    node->kind = kind;
    node->pos = pos;
    return node;
}

struct weir_expr *weir__sql_call(struct weir_sql_state *state, struct weir_expr_pos pos, const char *name, struct weir_sql_list args)
{
    struct weir_expr *node = make(state, WEIR_EXPR_CALL, pos);
    node->name = name;
    node->args = args.items;
    node->nargs = args.count;
    return finish(state, node);
}

struct weir_expr *weir__sql_call1(struct weir_sql_state *state, struct weir_expr_pos pos, const char *name, struct weir_expr *a)
{
    return weir__sql_call(state, pos, name, weir__sql_list_add(state, (struct weir_sql_list){0}, a));
}

struct weir_expr *weir__sql_call2(struct weir_sql_state *state, struct weir_expr_pos pos, const char *name, struct weir_expr *a,
                                  struct weir_expr *b)
{
    struct weir_sql_list args = weir__sql_list_add(state, (struct weir_sql_list){0}, a);
    return weir__sql_call(state, pos, name, weir__sql_list_add(state, args, b));
}

struct weir_expr *weir__sql_chain(struct weir_sql_state *state, struct weir_expr_pos pos, const char *name, struct weir_expr *a,
                                  struct weir_expr *b)
{
    if (a->kind == WEIR_EXPR_CALL && strcmp(a->name, name) == 0) {
        struct weir_sql_list args = {.items = a->args, .count = a->nargs};
        return weir__sql_call(state, a->pos, name, weir__sql_list_add(state, args, b));
    }
    return weir__sql_call2(state, pos, name, a, b);
}

static bool is_aggregate(const char *name)
{
    static const char *const names[] = {"COUNT", "SUM", "AVG", "MIN", "MAX"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

struct weir_expr *weir__sql_function(struct weir_sql_state *state, struct weir_expr_pos pos, struct weir_sql_text name,
                                     struct weir_sql_list args, bool distinct, bool star, struct weir_expr *filter)
{
    char *upper = weir_arena_strndup(state->arena, name.data, name.len);
    for (char *c = upper; *c != '\0'; c++) {
        *c = (char)toupper((unsigned char)*c);
    }
    bool agg = is_aggregate(upper);
    if (!agg && (distinct || star || filter != NULL)) {
        weir__sql_fail(state, pos, WEIR_INVALID, "%s is not an aggregate: %s belongs to COUNT, SUM, AVG, MIN and MAX", upper,
                       distinct ? "DISTINCT" : star ? "*" : "FILTER");
        return NULL;
    }
    if (star && strcmp(upper, "COUNT") != 0) {
        weir__sql_fail(state, pos, WEIR_INVALID, "%s(*) does not exist, only COUNT(*)", upper);
        return NULL;
    }
    struct weir_expr *node = make(state, agg ? WEIR_EXPR_AGG : WEIR_EXPR_CALL, pos);
    node->name = upper;
    node->args = args.items;
    node->nargs = args.count;
    node->distinct = distinct;
    node->star = star;
    node->filter = filter;
    return finish(state, node);
}

struct weir_expr *weir__sql_column(struct weir_sql_state *state, struct weir_expr_pos pos, struct weir_sql_text name)
{
    if (name.len > WEIR_NAME_MAX) {
        weir__sql_fail(state, pos, WEIR_LIMIT, "a name has %u bytes, more than %d", name.len, WEIR_NAME_MAX);
        return NULL;
    }
    struct weir_expr *node = make(state, WEIR_EXPR_COLUMN, pos);
    node->name = name.data;
    return finish(state, node);
}

static struct weir_expr *make_literal(struct weir_sql_state *state, struct weir_expr_pos pos, enum weir_type_id id)
{
    struct weir_expr *node = make(state, WEIR_EXPR_LITERAL, pos);
    node->type = weir_type_of(id);
    node->type.not_null = id != WEIR_TYPE_NULL;
    node->value.type = node->type;
    node->value.is_null = id == WEIR_TYPE_NULL;
    return finish(state, node);
}

/* Digits and an optional point: an integer by its size, else a DECIMAL of just the digits written. */
static struct weir_expr *exact_number(struct weir_sql_state *state, struct weir_expr_pos pos, struct weir_slice text)
{
    const uint8_t *point = memchr(text.data, '.', text.len);
    int64_t i64;
    if (point == NULL && weir_i64_read(text, &i64) == WEIR_OK) {
        struct weir_expr *node = make_literal(state, pos, i64 >= INT32_MIN && i64 <= INT32_MAX ? WEIR_TYPE_INT : WEIR_TYPE_BIGINT);
        if (node != NULL) {
            node->value.u.i64 = i64;
        }
        return node;
    }
    __int128 unscaled = 0;
    uint32_t digits = 0, scale = 0;
    bool negative = false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '-') {
            negative = true;
        } else if (text.data[i] != '.') {
            digits += digits != 0 || text.data[i] != '0';
            scale += point != NULL && text.data + i > point;
            if (digits > DECIMAL_DIGITS_MAX || scale > DECIMAL_DIGITS_MAX) {
                weir__sql_fail(state, pos, WEIR_LIMIT, "a number has more than %d digits", DECIMAL_DIGITS_MAX);
                return NULL;
            }
            unscaled = unscaled * 10 + (text.data[i] - '0');
        }
    }
    struct weir_expr *node = make_literal(state, pos, WEIR_TYPE_DECIMAL);
    if (node != NULL) {
        node->type.precision = (uint8_t)(digits > scale ? digits : scale > 0 ? scale : 1);
        node->type.scale = (uint8_t)scale;
        node->value.type = node->type;
        node->value.u.decimal = negative ? -unscaled : unscaled;
    }
    return node;
}

struct weir_expr *weir__sql_number(struct weir_sql_state *state, struct weir_expr_pos pos, struct weir_sql_text text)
{
    struct weir_slice slice = weir_slice(text.data, text.len);
    if (memchr(text.data, 'e', text.len) == NULL && memchr(text.data, 'E', text.len) == NULL) {
        return exact_number(state, pos, slice);
    }
    double f64;
    if (weir_f64_read(slice, &f64) != WEIR_OK) {
        weir__sql_fail(state, pos, WEIR_LIMIT, "%.*s does not fit a DOUBLE", (int)(text.len > 60 ? 60 : text.len), text.data);
        return NULL;
    }
    struct weir_expr *node = make_literal(state, pos, WEIR_TYPE_DOUBLE);
    if (node != NULL) {
        node->value.u.f64 = f64;
    }
    return node;
}

struct weir_expr *weir__sql_negate(struct weir_sql_state *state, struct weir_expr_pos pos, struct weir_expr *operand)
{
    if (operand->kind != WEIR_EXPR_LITERAL || !weir_type_is_numeric(operand->type.id)) {
        return weir__sql_call1(state, pos, "NEGATE", operand);
    }
    if (operand->type.id == WEIR_TYPE_DOUBLE) {
        operand->value.u.f64 = -operand->value.u.f64;
        operand->pos = pos;
        return operand;
    }
    char text[WEIR_NUMBER_TEXT_MAX];
    uint32_t len;
    if (operand->type.id == WEIR_TYPE_DECIMAL) {
        len = weir_decimal_write(-operand->value.u.decimal, operand->type.scale, text);
    } else { /* through DECIMAL's range, so that -9223372036854775808 is a BIGINT and its negation is not */
        len = weir_decimal_write(-(__int128)operand->value.u.i64, 0, text);
    }
    return exact_number(state, pos, weir_slice(text, len));
}

struct weir_expr *weir__sql_string(struct weir_sql_state *state, struct weir_expr_pos pos, struct weir_sql_text text)
{
    struct weir_expr *node = make_literal(state, pos, WEIR_TYPE_VARCHAR);
    if (node != NULL) {
        node->value.u.str = weir_slice(text.data, text.len);
    }
    return node;
}

struct weir_expr *weir__sql_boolean(struct weir_sql_state *state, struct weir_expr_pos pos, bool value)
{
    struct weir_expr *node = make_literal(state, pos, WEIR_TYPE_BOOLEAN);
    if (node != NULL) {
        node->value.u.boolean = value;
    }
    return node;
}

struct weir_expr *weir__sql_null(struct weir_sql_state *state, struct weir_expr_pos pos)
{
    return make_literal(state, pos, WEIR_TYPE_NULL);
}

/* Fraction digits written, at least those of milliseconds for a TIMESTAMP as in most of Flink's texts: 0, 3 or 6. */
static uint8_t fraction_digits(struct weir_sql_text text)
{
    const char *point = memchr(text.data, '.', text.len);
    uint32_t digits = point == NULL ? 0 : text.len - (uint32_t)(point - text.data) - 1;
    return digits > WEIR_TIMESTAMP_PRECISION_MAX ? WEIR_TIMESTAMP_PRECISION_MAX : (uint8_t)digits;
}

struct weir_expr *weir__sql_moment(struct weir_sql_state *state, struct weir_expr_pos pos, enum weir_type_id id, struct weir_sql_text text)
{
    struct weir_slice slice = weir_slice(text.data, text.len);
    int64_t micros = 0;
    int32_t days = 0;
    enum weir_rc rc;
    const char *shape;
    if (id == WEIR_TYPE_DATE) {
        rc = weir_date_read(slice, &days);
        shape = "DATE 'yyyy-mm-dd'";
    } else if (id == WEIR_TYPE_TIME) {
        rc = weir_time_read(slice, &micros);
        shape = "TIME 'hh:mm:ss[.fff]'";
    } else {
        rc = weir_timestamp_read(slice, &micros);
        shape = "TIMESTAMP 'yyyy-mm-dd hh:mm:ss[.fff]'";
    }
    if (rc != WEIR_OK) {
        weir__sql_fail(state, pos, WEIR_INVALID, "expected %s, found '%.*s'", shape, (int)(text.len > 60 ? 60 : text.len), text.data);
        return NULL;
    }
    struct weir_expr *node = make_literal(state, pos, id);
    if (node != NULL) {
        node->type.precision = id == WEIR_TYPE_DATE ? 0 : fraction_digits(text);
        node->value.type = node->type;
        node->value.u.i64 = id == WEIR_TYPE_DATE ? days : micros;
    }
    return node;
}

/* The canonical unit of "seconds", "Second" ..., or NULL. */
static const char *unit_name(struct weir_sql_text unit)
{
    static const char *const names[] = {"YEAR", "QUARTER", "MONTH",  "WEEK",        "DAY",         "HOUR",  "MINUTE",
                                        "SECOND", "MILLISECOND", "MICROSECOND", "EPOCH", "DOW", "DOY"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t len = strlen(names[i]);
        bool plural = unit.len == len + 1 && (unit.data[len] == 's' || unit.data[len] == 'S');
        if ((unit.len == len || plural) && strncasecmp(unit.data, names[i], len) == 0) {
            return names[i];
        }
    }
    return NULL;
}

struct weir_expr *weir__sql_unit(struct weir_sql_state *state, struct weir_expr_pos pos, struct weir_sql_text unit)
{
    const char *name = unit_name(unit);
    if (name == NULL) {
        weir__sql_fail(state, pos, WEIR_INVALID, "expected a time unit (YEAR, MONTH, DAY, HOUR, MINUTE, SECOND ...), found '%.*s'",
                       (int)(unit.len > 60 ? 60 : unit.len), unit.data);
        return NULL;
    }
    return weir__sql_string(state, pos, (struct weir_sql_text){.data = name, .len = (uint32_t)strlen(name)});
}

struct weir_expr *weir__sql_interval(struct weir_sql_state *state, struct weir_expr_pos pos, bool negative, struct weir_sql_text text,
                                     struct weir_sql_text unit)
{
    static const struct {
        const char *name;
        int64_t factor; /* months or microseconds */
        bool months;
    } units[] = {{"YEAR", 12, true},           {"MONTH", 1, true},          {"WEEK", 604800000000, false}, {"DAY", 86400000000, false},
                 {"HOUR", 3600000000, false}, {"MINUTE", 60000000, false}, {"SECOND", 1000000, false}};
    const char *name = unit_name(unit);
    for (size_t i = 0; name != NULL && i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(units[i].name, name) != 0) {
            continue;
        }
        __int128 micros; /* the number with six digits behind the point */
        if (weir_decimal_read(weir_slice(text.data, text.len), 18, 6, &micros) != WEIR_OK || (units[i].months && micros % 1000000 != 0)) {
            weir__sql_fail(state, pos, WEIR_INVALID, "expected a number as in INTERVAL '10' SECOND, found '%.*s'",
                           (int)(text.len > 60 ? 60 : text.len), text.data);
            return NULL;
        }
        __int128 value = micros * units[i].factor / 1000000;
        value = negative ? -value : value;
        if (units[i].months ? value > INT32_MAX || value < -INT32_MAX : value > INT64_MAX || value < -INT64_MAX) {
            weir__sql_fail(state, pos, WEIR_LIMIT, "the interval is too long");
            return NULL;
        }
        struct weir_expr *node = make_literal(state, pos, units[i].months ? WEIR_TYPE_INTERVAL_YEAR : WEIR_TYPE_INTERVAL_DAY);
        if (node != NULL) {
            node->value.u.i64 = (int64_t)value;
        }
        return node;
    }
    weir__sql_fail(state, pos, WEIR_INVALID, "expected INTERVAL '...' YEAR, MONTH, WEEK, DAY, HOUR, MINUTE or SECOND, found '%.*s'",
                   (int)(unit.len > 60 ? 60 : unit.len), unit.data);
    return NULL;
}

struct weir_expr *weir__sql_cast(struct weir_sql_state *state, struct weir_expr_pos pos, struct weir_expr *operand,
                                 struct weir_sql_text type, bool safe)
{
    struct weir_expr *node = make(state, WEIR_EXPR_CAST, pos);
    struct weir_error err = {0};
    if (weir_type_parse(weir_slice(type.data, type.len), &node->type, &err) != WEIR_OK) {
        weir__sql_fail(state, pos, err.rc, "%s", err.text);
        return NULL;
    }
    node->safe = safe;
    node->args = weir__sql_list_add(state, (struct weir_sql_list){0}, operand).items;
    node->nargs = 1;
    return finish(state, node);
}

struct weir_expr *weir__sql_case(struct weir_sql_state *state, struct weir_expr_pos pos, struct weir_expr *operand,
                                 struct weir_sql_list list, struct weir_expr *otherwise)
{
    if (operand != NULL) {
        for (uint32_t i = 0; i < list.count; i += 2) {
            list.items[i] = weir__sql_call2(state, list.items[i]->pos, "=", operand, list.items[i]);
        }
    }
    if (otherwise != NULL) {
        list = weir__sql_list_add(state, list, otherwise);
    }
    struct weir_expr *node = make(state, WEIR_EXPR_CASE, pos);
    node->args = list.items;
    node->nargs = list.count;
    return finish(state, node);
}

struct weir_sql_text weir__sql_join(struct weir_sql_state *state, struct weir_sql_text a, const char *separator, struct weir_sql_text b)
{
    const char *text = weir_arena_fmt(state->arena, "%.*s%s%.*s", (int)a.len, a.data, separator, (int)b.len, b.data);
    return (struct weir_sql_text){.data = text, .len = (uint32_t)strlen(text)};
}

/* The scanner takes a NUL for the end of its buffer and scans the token once more from its beginning, each time: a string of them would cost
 * the square of its length. */
static enum weir_rc refuse_nul(struct weir_slice text, struct weir_error *err)
{
    const uint8_t *nul = text.len == 0 ? NULL : memchr(text.data, '\0', text.len);
    if (nul == NULL) {
        return WEIR_OK;
    }
    uint32_t line = 1, column = 1;
    for (const uint8_t *c = text.data; c < nul; c++) {
        column = *c == '\n' ? 1 : column + ((*c & 0xc0) != 0x80);
        line += *c == '\n';
    }
    return weir_error_set(err, WEIR_INVALID, "%u:%u: a NUL character means nothing here", line, column);
}

enum weir_rc weir_expr_parse(struct weir_slice text, struct weir_arena *arena, struct weir_expr **out_expr, struct weir_error *err)
{
    if (text.len > WEIR_JOB_FILE_BYTES_MAX) {
        return weir_error_set(err, WEIR_LIMIT, "the expression has %zu bytes, more than %d", text.len, WEIR_JOB_FILE_BYTES_MAX);
    }
    if (refuse_nul(text, err) != WEIR_OK) {
        return WEIR_INVALID;
    }
    struct weir_sql_state state = {.arena = arena, .err = err, .rc = WEIR_OK, .at = {.line = 1, .column = 1}};
    yyscan_t scanner = NULL;
    weir_assert(weir_sql_lex_init_extra(&state, &scanner) == 0);
    YY_BUFFER_STATE buffer = weir_sql__scan_bytes(text.len == 0 ? "" : (const char *)text.data, (int)text.len, scanner);
    int failed = weir_sql_parse(scanner, &state);
    weir_sql__delete_buffer(buffer, scanner);
    weir_sql_lex_destroy(scanner);
    if (state.rc != WEIR_OK) {
        return state.rc;
    }
    weir_assert(failed == 0);
    *out_expr = state.expr;
    return WEIR_OK;
}
