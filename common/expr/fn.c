/*
 * The function table and the choice of a row for given argument types.
 */
#include "common/expr/fn.h"

#include "common/base/config.h"

#include <stdarg.h>
#include <stdio.h>

const struct weir_fn weir__fns[WEIR_FN_COUNT_] = {
#define X(id, name, rule, signature, result, flags, kernel) {name, WEIR_RULE_##rule, signature, result, flags, weir__fn_##kernel},
#include "common/expr/fn.def"
#undef X
};

enum weir_rc weir__fn_fail(const struct weir_fn_call *call, const char *format, ...)
{
    char text[WEIR_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return weir_error_set(call->err, WEIR_DATA, "%u:%u: %s: %s", call->pos.line, call->pos.column, call->name, text);
}

static bool is_string_literal(const struct weir_expr *arg)
{
    return arg->kind == WEIR_EXPR_LITERAL && arg->type.id == WEIR_TYPE_VARCHAR;
}

static struct weir_type type_with_precision(enum weir_type_id id, uint8_t precision)
{
    struct weir_type type = weir_type_of(id);
    type.precision = precision;
    return type;
}

/* The type an argument must have for a letter of a signature; false when it cannot have it. */
static bool type_for(char letter, const struct weir_expr *arg, struct weir_type *out_type)
{
    struct weir_type type = arg->type;
    bool null = type.id == WEIR_TYPE_NULL, literal = is_string_literal(arg);
    struct weir_type want = type;
    bool fits = true;
    switch (letter) {
    case 'b': /* BOOLEAN */
        want = weir_type_of(WEIR_TYPE_BOOLEAN);
        fits = null || type.id == WEIR_TYPE_BOOLEAN;
        break;
    case 's': /* a string */
        want = null ? weir_type_of(WEIR_TYPE_VARCHAR) : type;
        fits = null || type.id == WEIR_TYPE_VARCHAR;
        break;
    case 'i': /* an integer up to INT */
        want = weir_type_of(WEIR_TYPE_INT);
        fits = null || (weir_type_is_integer(type.id) && type.id <= WEIR_TYPE_INT);
        break;
    case 'l': /* any integer */
        want = weir_type_of(WEIR_TYPE_BIGINT);
        fits = null || weir_type_is_integer(type.id);
        break;
    case 'd': /* any number */
        want = weir_type_of(WEIR_TYPE_DOUBLE);
        fits = null || weir_type_is_numeric(type.id);
        break;
    case 'z': /* an instant */
        fits = type.id == WEIR_TYPE_TIMESTAMP_LTZ;
        break;
    case 't': /* a timestamp of either kind, or what can be made one */
    case 'm': /* a date or timestamp */
    case 'h': /* something with a clock */
        if (null || literal || (type.id == WEIR_TYPE_DATE && letter != 'm')) {
            want = type_with_precision(WEIR_TYPE_TIMESTAMP, 3);
        }
        fits = null || literal || type.id == WEIR_TYPE_TIMESTAMP || type.id == WEIR_TYPE_TIMESTAMP_LTZ || type.id == WEIR_TYPE_DATE ||
               (letter == 'h' && type.id == WEIR_TYPE_TIME);
        break;
    case 'u': /* a time unit */
        fits = literal;
        break;
    case 'x': /* anything */
        want = null ? weir_type_of(WEIR_TYPE_BOOLEAN) : type;
        break;
    default:
        weir_assert(false);
    }
    want.not_null = type.not_null;
    *out_type = want;
    return fits;
}

/* Matches all arguments with a signature. */
static bool match_signature(const char *signature, struct weir_expr *const *args, uint32_t nargs, struct weir_type *arg_types)
{
    uint32_t i = 0;
    for (const char *s = signature; *s != '\0'; s++) {
        char next = s[1];
        if (next == '*') {
            for (; i < nargs; i++) {
                if (!type_for(*s, args[i], &arg_types[i])) {
                    return false;
                }
            }
            s++;
        } else if (i == nargs) {
            return next == '?';
        } else {
            if (!type_for(*s, args[i], &arg_types[i])) {
                return false;
            }
            i++;
            s += next == '?';
        }
    }
    return i == nargs;
}

static struct weir_type not_null_if(struct weir_type type, bool not_null)
{
    type.not_null = not_null;
    return type;
}

static bool is_day_interval(enum weir_type_id id)
{
    return id == WEIR_TYPE_INTERVAL_DAY;
}

static bool is_interval(enum weir_type_id id)
{
    return id == WEIR_TYPE_INTERVAL_DAY || id == WEIR_TYPE_INTERVAL_YEAR;
}

/* NULL + 1 is typed as 1 + 1. */
static void adopt_nulls(struct weir_type *a, struct weir_type *b)
{
    if (a->id == WEIR_TYPE_NULL) {
        *a = not_null_if(*b, false);
    }
    if (b->id == WEIR_TYPE_NULL) {
        *b = not_null_if(*a, false);
    }
}

/* moment +- interval, interval +- interval, interval * number; false when it is none. */
static bool interval_types(enum weir_fn_rule rule, struct weir_type *arg_types, struct weir_type *out_type)
{
    struct weir_type a = arg_types[0], b = arg_types[1];
    if (rule == WEIR_RULE_MULTIPLY) {
        bool first = is_interval(a.id) && weir_type_is_integer(b.id), second = is_interval(b.id) && weir_type_is_integer(a.id);
        if (!first && !second) {
            return false;
        }
        *out_type = first ? a : b;
        arg_types[first ? 1 : 0] = not_null_if(weir_type_of(is_day_interval(out_type->id) ? WEIR_TYPE_BIGINT : WEIR_TYPE_INT),
                                               arg_types[first ? 1 : 0].not_null);
        return true;
    }
    if (is_interval(a.id) && a.id == b.id) {
        *out_type = a;
        return true;
    }
    if (weir_type_is_time(a.id) && is_interval(b.id)) {
        *out_type = a;
        return a.id != WEIR_TYPE_TIME || is_day_interval(b.id);
    }
    if (rule == WEIR_RULE_ADD && is_interval(a.id) && weir_type_is_time(b.id)) {
        *out_type = b;
        return b.id != WEIR_TYPE_TIME || is_day_interval(a.id);
    }
    return false;
}

static struct weir_type decimal_result(enum weir_fn_rule rule, struct weir_type a, struct weir_type b)
{
    int p1 = a.precision, s1 = a.scale, p2 = b.precision, s2 = b.scale;
    int scale = s1 > s2 ? s1 : s2;
    int whole = p1 - s1 > p2 - s2 ? p1 - s1 : p2 - s2;
    int whole_min = p1 - s1 < p2 - s2 ? p1 - s1 : p2 - s2;
    if (rule == WEIR_RULE_MULTIPLY) {
        return weir__type_decimal(p1 + p2 + 1, s1 + s2);
    }
    if (rule == WEIR_RULE_DIVIDE) {
        scale = s1 + p2 + 1 > 6 ? s1 + p2 + 1 : 6;
        return weir__type_decimal(p1 - s1 + s2 + scale, scale);
    }
    if (rule == WEIR_RULE_MODULO) {
        return weir__type_decimal(whole_min + scale, scale);
    }
    return weir__type_decimal(whole + scale + 1, scale);
}

static bool arithmetic_types(enum weir_fn_rule rule, struct weir_type *arg_types, struct weir_type *out_type)
{
    struct weir_type *a = &arg_types[0], *b = &arg_types[1];
    adopt_nulls(a, b);
    bool not_null = a->not_null && b->not_null;
    bool dated = rule == WEIR_RULE_ADD || rule == WEIR_RULE_SUBTRACT || rule == WEIR_RULE_MULTIPLY;
    if (dated && interval_types(rule, arg_types, out_type)) {
        out_type->not_null = not_null;
        return true;
    }
    if (!weir_type_is_numeric(a->id) || !weir_type_is_numeric(b->id)) {
        return false;
    }
    struct weir_type common;
    weir_assert(weir__type_common(*a, *b, &common));
    if (common.id == WEIR_TYPE_DECIMAL) { /* each keeps its own scale; the kernel aligns them */
        *a = not_null_if(weir__type_decimal_of(*a), a->not_null);
        *b = not_null_if(weir__type_decimal_of(*b), b->not_null);
        *out_type = decimal_result(rule, *a, *b);
    } else {
        *a = not_null_if(common, a->not_null);
        *b = not_null_if(common, b->not_null);
        *out_type = common;
    }
    out_type->not_null = not_null;
    return true;
}

/* Makes arguments [0, nargs) comparable with each other. */
static bool comparable_types(struct weir_expr *const *args, uint32_t nargs, struct weir_type *arg_types)
{
    struct weir_type common = arg_types[0];
    for (uint32_t i = 0; i < nargs; i++) { /* a string literal takes the type of what it is compared with */
        if (!is_string_literal(args[i])) {
            common = arg_types[i];
            break;
        }
    }
    for (uint32_t i = 0; i < nargs; i++) {
        bool adapts = is_string_literal(args[i]) && (weir_type_is_time(common.id));
        if (!adapts && !weir__type_common(common, arg_types[i], &common)) {
            return false;
        }
    }
    if (common.id == WEIR_TYPE_NULL) {
        common = weir_type_of(WEIR_TYPE_BOOLEAN);
    }
    for (uint32_t i = 0; i < nargs; i++) {
        bool keeps = common.id == WEIR_TYPE_DECIMAL && arg_types[i].id == WEIR_TYPE_DECIMAL; /* compared whatever the scales */
        keeps = keeps || (arg_types[i].id == common.id && common.id != WEIR_TYPE_DECIMAL);
        if (!keeps) {
            struct weir_type want = common.id == WEIR_TYPE_DECIMAL && weir_type_is_numeric(arg_types[i].id) ? weir__type_decimal_of(arg_types[i])
                                                                                                           : common;
            if (is_string_literal(args[i]) && weir_type_is_time(common.id) && common.id != WEIR_TYPE_DATE) {
                want.precision = WEIR_TIMESTAMP_PRECISION_MAX; /* nothing of the literal is cut off */
            }
            arg_types[i] = not_null_if(want, arg_types[i].not_null);
        }
    }
    return true;
}

static bool common_types(uint32_t nargs, bool any_not_null, struct weir_type *arg_types, struct weir_type *out_type)
{
    struct weir_type common = arg_types[0];
    bool any = arg_types[0].not_null;
    for (uint32_t i = 1; i < nargs; i++) {
        any = any || arg_types[i].not_null;
        if (!weir__type_common(common, arg_types[i], &common)) {
            return false;
        }
    }
    if (common.id == WEIR_TYPE_NULL) {
        common = weir_type_of(WEIR_TYPE_BOOLEAN);
    }
    *out_type = not_null_if(common, any_not_null ? any : common.not_null);
    for (uint32_t i = 0; i < nargs; i++) {
        arg_types[i] = not_null_if(common, arg_types[i].not_null);
    }
    return true;
}

static bool round_types(struct weir_expr *const *args, uint32_t nargs, struct weir_type *arg_types, struct weir_type *out_type)
{
    struct weir_type a = arg_types[0];
    if (!weir_type_is_numeric(a.id) || (nargs == 2 && !type_for('i', args[1], &arg_types[1]))) {
        return false;
    }
    *out_type = a;
    if (a.id == WEIR_TYPE_DECIMAL) {
        bool known = nargs == 1 || (args[1]->kind == WEIR_EXPR_LITERAL && !args[1]->value.is_null);
        int64_t digits = !known ? a.scale : nargs == 1 ? 0 : args[1]->value.u.i64;
        int whole = a.precision - a.scale;
        if (digits < a.scale) {
            *out_type = digits < 0 ? weir__type_decimal(whole + 1 > 38 ? 38 : whole + 1, 0) : weir__type_decimal(whole + 1 + (int)digits, (int)digits);
        }
    }
    out_type->not_null = a.not_null && (nargs == 1 || arg_types[1].not_null);
    return true;
}

/* One row of the table against the arguments. */
static bool match(const struct weir_fn *fn, struct weir_expr *const *args, uint32_t nargs, struct weir_type *arg_types,
                  struct weir_type *out_type)
{
    bool not_null = true;
    for (uint32_t i = 0; i < nargs; i++) {
        arg_types[i] = args[i]->type;
        not_null = not_null && args[i]->type.not_null;
    }
    switch (fn->rule) {
    case WEIR_RULE_SIGNATURE: {
        struct weir_error ignored;
        if (!match_signature(fn->signature, args, nargs, arg_types)) {
            return false;
        }
        enum weir_rc rc = weir_type_parse(weir_slice_str(fn->result), out_type, &ignored);
        weir_assert(rc == WEIR_OK);
        break;
    }
    case WEIR_RULE_ADD:
    case WEIR_RULE_SUBTRACT:
    case WEIR_RULE_MULTIPLY:
    case WEIR_RULE_DIVIDE:
    case WEIR_RULE_MODULO:
        return nargs == 2 && arithmetic_types(fn->rule, arg_types, out_type);
    case WEIR_RULE_COMPARE:
    case WEIR_RULE_IN:
        if (nargs < 2 || (fn->rule == WEIR_RULE_COMPARE && nargs > 2) || !comparable_types(args, nargs, arg_types)) {
            return false;
        }
        *out_type = weir_type_of(WEIR_TYPE_BOOLEAN);
        break;
    case WEIR_RULE_COMMON:
        return nargs > 0 && common_types(nargs, (fn->flags & WEIR_FN_LAZY) != 0, arg_types, out_type);
    case WEIR_RULE_SAME:
        *out_type = nargs == 1 && arg_types[0].id == WEIR_TYPE_NULL ? weir_type_of(WEIR_TYPE_INT) : arg_types[0];
        if (nargs != 1 || (!weir_type_is_numeric(out_type->id) && !is_interval(out_type->id))) {
            return false;
        }
        arg_types[0] = *out_type;
        break;
    case WEIR_RULE_INTEGRAL:
        if (nargs != 1 || !weir_type_is_numeric(arg_types[0].id)) {
            return false;
        }
        *out_type = arg_types[0].id == WEIR_TYPE_DECIMAL ? weir__type_decimal(arg_types[0].precision, 0) : arg_types[0];
        break;
    case WEIR_RULE_ROUND:
        return (nargs == 1 || nargs == 2) && round_types(args, nargs, arg_types, out_type);
    }
    out_type->not_null = (fn->flags & WEIR_FN_NEVER_NULL) != 0 || (not_null && (fn->flags & WEIR_FN_MAKES_NULL) == 0);
    return true;
}

static void describe_signature(const struct weir_fn *fn, struct weir_buf *out)
{
    static const struct {
        char letter;
        const char *text;
    } letters[] = {{'b', "BOOLEAN"}, {'s', "STRING"},    {'i', "INT"}, {'l', "BIGINT"}, {'d', "number"}, {'z', "TIMESTAMP_LTZ"},
                   {'t', "TIMESTAMP"}, {'m', "DATE or TIMESTAMP"}, {'h', "TIME or TIMESTAMP"}, {'u', "unit"}, {'x', "any"}};
    weir_buf_put_fmt(out, "%s(", fn->name);
    for (const char *s = fn->signature; *s != '\0'; s++) {
        for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
            if (letters[i].letter == *s) {
                weir_buf_put_fmt(out, "%s%s", s == fn->signature ? "" : ", ", letters[i].text);
            }
        }
        if (*s == '*') {
            weir_buf_put_str(out, " ...");
        } else if (*s == '?') {
            weir_buf_put_str(out, " (optional)");
        }
    }
    weir_buf_put_str(out, ")");
}

static const char *describe_rule(enum weir_fn_rule rule)
{
    switch (rule) {
    case WEIR_RULE_SIGNATURE:
        return "";
    case WEIR_RULE_ADD:
    case WEIR_RULE_SUBTRACT:
        return "two numbers, or a date, time or timestamp and an INTERVAL";
    case WEIR_RULE_MULTIPLY:
        return "two numbers, or an INTERVAL and an integer";
    case WEIR_RULE_DIVIDE:
    case WEIR_RULE_MODULO:
        return "two numbers";
    case WEIR_RULE_COMPARE:
    case WEIR_RULE_IN:
        return "values of one kind; CAST one of them";
    case WEIR_RULE_COMMON:
        return "arguments of one kind";
    case WEIR_RULE_SAME:
    case WEIR_RULE_INTEGRAL:
        return "one number";
    case WEIR_RULE_ROUND:
        return "a number, and optionally the number of digits";
    }
    return "";
}

static enum weir_rc no_match(const char *name, struct weir_expr *const *args, uint32_t nargs, struct weir_expr_pos pos, struct weir_error *err)
{
    struct weir_buf text = {0};
    weir_buf_put_fmt(&text, "%s does not take (", name);
    for (uint32_t i = 0; i < nargs && i < 8; i++) {
        struct weir_type type = args[i]->type;
        type.not_null = false;
        weir_buf_put_fmt(&text, "%s%s", i == 0 ? "" : ", ", type.id == WEIR_TYPE_NULL ? "NULL" : weir_type_text(type).text);
    }
    weir_buf_put_fmt(&text, "%s); it takes ", nargs > 8 ? ", ..." : "");
    bool first = true;
    for (uint32_t i = 0; i < WEIR_FN_COUNT_; i++) {
        if (strcmp(weir__fns[i].name, name) == 0) {
            weir_buf_put_str(&text, first ? "" : " or ");
            first = false;
            if (weir__fns[i].rule == WEIR_RULE_SIGNATURE) {
                describe_signature(&weir__fns[i], &text);
            } else {
                weir_buf_put_str(&text, describe_rule(weir__fns[i].rule));
            }
        }
    }
    (void)weir_error_set(err, WEIR_INVALID, "%u:%u: %.*s", pos.line, pos.column, (int)text.len, (const char *)text.data);
    weir_buf_fini(&text);
    return WEIR_INVALID;
}

enum weir_rc weir__fn_choose(const char *name, struct weir_expr *const *args, uint32_t nargs, struct weir_expr_pos pos, uint32_t *out_fn,
                             struct weir_type *out_type, struct weir_type *arg_types, struct weir_error *err)
{
    bool known = false;
    for (uint32_t i = 0; i < WEIR_FN_COUNT_; i++) {
        if (strcmp(weir__fns[i].name, name) != 0) {
            continue;
        }
        known = true;
        if (match(&weir__fns[i], args, nargs, arg_types, out_type)) {
            *out_fn = i;
            return WEIR_OK;
        }
    }
    if (known) {
        return no_match(name, args, nargs, pos, err);
    }
    const char *names[WEIR_FN_COUNT_];
    for (uint32_t i = 0; i < WEIR_FN_COUNT_; i++) {
        names[i] = weir__fns[i].name;
    }
    const char *near = weir_nearest_name(weir_slice_str(name), names, WEIR_FN_COUNT_);
    return weir_error_set(err, WEIR_INVALID, "%u:%u: there is no function %s%s%s%s", pos.line, pos.column, name,
                          near == NULL ? "" : "; did you mean ", near == NULL ? "" : near, near == NULL ? "" : "?");
}

const void *weir__fn_prepare(const struct weir_expr *call, struct weir_arena *arena)
{
    if (call->fn == WEIR_FN_LIKE || call->fn == WEIR_FN_LIKE_ESCAPE) {
        return weir__like_prepare(call, arena);
    }
    return call->fn == WEIR_FN_IN ? weir__in_prepare(call, arena) : NULL;
}
