#include "common/expr/expr.h"

#include "common/base/assert.h"
#include "common/data/number.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

static bool is_plain_name(const char *name)
{
    static const char *const reserved[] = {"AND",  "OR",   "NOT",  "IS",    "NULL", "TRUE", "FALSE",   "UNKNOWN",  "DISTINCT", "FROM",
                                           "IN",   "LIKE", "CASE", "WHEN",  "THEN", "ELSE", "END",     "BETWEEN",  "ESCAPE",   "AS",
                                           "FOR",  "TO",   "BOTH", "WHERE", "LEADING", "TRAILING", "CURRENT_TIMESTAMP", "LOCALTIMESTAMP",
                                           "CURRENT_DATE", "CURRENT_TIME", "LOCALTIME", "CURRENT_ROW_TIMESTAMP"};
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        if (strcasecmp(name, reserved[i]) == 0) {
            return false;
        }
    }
    if (!isalpha((unsigned char)name[0]) && name[0] != '_') {
        return false;
    }
    for (const char *c = name; *c != '\0'; c++) {
        if (!isalnum((unsigned char)*c) && *c != '_') {
            return false;
        }
    }
    return true;
}

static void put_quoted(struct weir_buf *out, struct weir_slice text, char quote)
{
    weir_buf_put_u8(out, (uint8_t)quote);
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == (uint8_t)quote) {
            weir_buf_put_u8(out, (uint8_t)quote);
        }
        weir_buf_put_u8(out, text.data[i]);
    }
    weir_buf_put_u8(out, (uint8_t)quote);
}

static void format_interval(const struct weir_value *value, struct weir_buf *out)
{
    char digits[WEIR_NUMBER_TEXT_MAX];
    bool months = value->type.id == WEIR_TYPE_INTERVAL_YEAR;
    bool negative = value->u.i64 < 0;
    __int128 size = negative ? -(__int128)value->u.i64 : value->u.i64;
    bool fraction = !months && size % 1000000 != 0;
    uint32_t len = weir_decimal_write(months || fraction ? size : size / 1000000, fraction ? 6 : 0, digits);
    weir_buf_put_fmt(out, "INTERVAL %s'%.*s' %s", negative ? "-" : "", (int)len, digits, months ? "MONTH" : "SECOND");
}

static void format_double(double value, struct weir_buf *out)
{
    if (value != value || value - value != 0.0) { /* there is no literal for these: only folding makes them */
        weir_buf_put_str(out, value != value ? "CAST('NaN' AS DOUBLE)" : value > 0 ? "CAST('Infinity' AS DOUBLE)" : "CAST('-Infinity' AS DOUBLE)");
        return;
    }
    char digits[WEIR_NUMBER_TEXT_MAX];
    uint32_t len = weir_f64_write(value, digits);
    weir_buf_put(out, digits, len);
    if (memchr(digits, 'E', len) == NULL) { /* without an exponent it would be a DECIMAL */
        weir_buf_put_str(out, "E0");
    }
}

static void format_literal(const struct weir_value *value, struct weir_buf *out)
{
    if (value->is_null) {
        weir_buf_put_str(out, "NULL");
        return;
    }
    switch (value->type.id) {
    case WEIR_TYPE_VARCHAR:
        put_quoted(out, value->u.str, '\'');
        return;
    case WEIR_TYPE_VARBINARY:
        weir_buf_put_str(out, "CAST(");
        put_quoted(out, value->u.str, '\'');
        weir_buf_put_str(out, " AS BYTES)");
        return;
    case WEIR_TYPE_DATE:
    case WEIR_TYPE_TIME:
    case WEIR_TYPE_TIMESTAMP:
        weir_buf_put_str(out, value->type.id == WEIR_TYPE_DATE ? "DATE '" : value->type.id == WEIR_TYPE_TIME ? "TIME '" : "TIMESTAMP '");
        weir_value_format(value, out);
        weir_buf_put_str(out, "'");
        return;
    case WEIR_TYPE_TIMESTAMP_LTZ:
        weir_buf_put_str(out, "CAST('");
        weir_value_format(value, out);
        weir_buf_put_fmt(out, "' AS %s)", weir_type_text(weir_type_of(value->type.id)).text);
        return;
    case WEIR_TYPE_INTERVAL_YEAR:
    case WEIR_TYPE_INTERVAL_DAY:
        format_interval(value, out);
        return;
    case WEIR_TYPE_FLOAT:
    case WEIR_TYPE_DOUBLE:
        format_double(value->u.f64, out);
        return;
    case WEIR_TYPE_BOOLEAN:
        weir_buf_put_str(out, value->u.boolean ? "TRUE" : "FALSE");
        return;
    case WEIR_TYPE_DECIMAL: {
        char digits[WEIR_NUMBER_TEXT_MAX];
        uint32_t len = weir_decimal_write(value->u.decimal, value->type.scale, digits);
        weir_buf_put(out, digits, len);
        return;
    }
    case WEIR_TYPE_NULL:
    case WEIR_TYPE_TINYINT:
    case WEIR_TYPE_SMALLINT:
    case WEIR_TYPE_INT:
    case WEIR_TYPE_BIGINT:
        weir_buf_put_fmt(out, "%lld", (long long)value->u.i64);
        return;
    }
}

static void format_list(const struct weir_expr *expr, uint32_t first, const char *separator, struct weir_buf *out)
{
    for (uint32_t i = first; i < expr->nargs; i++) {
        weir_buf_put_str(out, i == first ? "" : separator);
        weir_expr_format(expr->args[i], out);
    }
}

/* Operators with their operands around them; false when the call is written as NAME(args). */
static bool format_operator(const struct weir_expr *expr, struct weir_buf *out)
{
    const char *name = expr->name;
    if (strcmp(name, "NEGATE") == 0 || strcmp(name, "NOT") == 0) {
        weir_buf_put_str(out, name[1] == 'E' ? "(- " : "(NOT ");
        weir_expr_format(expr->args[0], out);
    } else if (strncmp(name, "IS ", 3) == 0 && expr->nargs == 1) {
        weir_buf_put_str(out, "(");
        weir_expr_format(expr->args[0], out);
        weir_buf_put_fmt(out, " %s", name);
    } else if (strcmp(name, "IN") == 0) {
        weir_buf_put_str(out, "(");
        weir_expr_format(expr->args[0], out);
        weir_buf_put_str(out, " IN (");
        format_list(expr, 1, ", ", out);
        weir_buf_put_str(out, ")");
    } else if (strcmp(name, "LIKE") == 0) {
        weir_buf_put_str(out, "(");
        weir_expr_format(expr->args[0], out);
        weir_buf_put_str(out, " LIKE ");
        format_list(expr, 1, " ESCAPE ", out);
    } else if (strchr("+-*/%|=<>!", name[0]) != NULL || strcmp(name, "AND") == 0 || strcmp(name, "OR") == 0 || strncmp(name, "IS ", 3) == 0) {
        char separator[32];
        (void)snprintf(separator, sizeof(separator), " %s ", name);
        weir_buf_put_str(out, "(");
        format_list(expr, 0, separator, out);
    } else {
        return false;
    }
    weir_buf_put_str(out, ")");
    return true;
}

static void format_call(const struct weir_expr *expr, struct weir_buf *out)
{
    const char *name = expr->name;
    if (format_operator(expr, out)) {
        return;
    }
    bool extract = strcmp(name, "EXTRACT") == 0, diff = strcmp(name, "TIMESTAMPDIFF") == 0;
    size_t len = strlen(name);
    bool to = len > 3 && strcmp(name + len - 3, " TO") == 0; /* FLOOR(x TO unit) */
    weir_buf_put_fmt(out, "%.*s(", (int)(to ? len - 3 : len), name);
    if (expr->star) {
        weir_buf_put_str(out, "*");
    } else if (extract || diff) {
        weir_buf_put_slice(out, expr->args[0]->value.u.str);
        weir_buf_put_str(out, extract ? " FROM " : ", ");
        format_list(expr, 1, ", ", out);
    } else if (strcmp(name, "TRIM") == 0 && expr->nargs == 2) { /* the call has the text first, SQL the characters */
        weir_expr_format(expr->args[1], out);
        weir_buf_put_str(out, " FROM ");
        weir_expr_format(expr->args[0], out);
    } else if (to) {
        weir_expr_format(expr->args[0], out);
        weir_buf_put_fmt(out, " TO %.*s", WEIR_SLICE_ARG(expr->args[1]->value.u.str));
    } else {
        weir_buf_put_str(out, expr->distinct ? "DISTINCT " : "");
        format_list(expr, 0, ", ", out);
    }
    weir_buf_put_str(out, ")");
    if (expr->filter != NULL) {
        weir_buf_put_str(out, " FILTER (WHERE ");
        weir_expr_format(expr->filter, out);
        weir_buf_put_str(out, ")");
    }
}

void weir_expr_format(const struct weir_expr *expr, struct weir_buf *out)
{
    switch (expr->kind) {
    case WEIR_EXPR_LITERAL:
        format_literal(&expr->value, out);
        return;
    case WEIR_EXPR_COLUMN:
        if (is_plain_name(expr->name)) {
            weir_buf_put_str(out, expr->name);
        } else {
            put_quoted(out, weir_slice_str(expr->name), '`');
        }
        return;
    case WEIR_EXPR_CALL:
    case WEIR_EXPR_AGG:
        format_call(expr, out);
        return;
    case WEIR_EXPR_CAST: {
        struct weir_type target = expr->type;
        target.not_null = false;
        weir_buf_put_str(out, expr->safe ? "TRY_CAST(" : "CAST(");
        weir_expr_format(expr->args[0], out);
        weir_buf_put_fmt(out, " AS %s)", weir_type_text(target).text);
        return;
    }
    case WEIR_EXPR_CASE:
        weir_buf_put_str(out, "CASE");
        for (uint32_t i = 0; i + 1 < expr->nargs; i += 2) {
            weir_buf_put_str(out, " WHEN ");
            weir_expr_format(expr->args[i], out);
            weir_buf_put_str(out, " THEN ");
            weir_expr_format(expr->args[i + 1], out);
        }
        if (expr->nargs % 2 == 1) {
            weir_buf_put_str(out, " ELSE ");
            weir_expr_format(expr->args[expr->nargs - 1], out);
        }
        weir_buf_put_str(out, " END");
        return;
    }
}

bool weir_expr_is_constant(const struct weir_expr *expr)
{
    if (expr->kind == WEIR_EXPR_COLUMN || expr->kind == WEIR_EXPR_AGG) {
        return false;
    }
    for (uint32_t i = 0; i < expr->nargs; i++) {
        if (!weir_expr_is_constant(expr->args[i])) {
            return false;
        }
    }
    return true;
}
