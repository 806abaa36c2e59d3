/*
 * Binding: names to columns, calls to rows of the function table, implicit casts, constant folding.
 *
 * NULLIF, IFNULL and IF become CASE and COALESCE; EXTRACT(unit FROM x) becomes the unit's function; IN with a list that is not
 * constant becomes ORs. What is bound keeps the position of what was written.
 */
#include "common/base/config.h"
#include "common/expr/agg.h"
#include "common/expr/fn.h"

struct binder {
    const struct weir_schema *input;
    struct weir_arena *arena;
    struct weir_error *err;
};

static enum weir_rc bind(struct binder *binder, const struct weir_expr *expr, uint32_t depth, struct weir_expr **out);

static enum weir_rc fail(const struct binder *binder, const struct weir_expr *expr, const char *text)
{
    return weir_error_set(binder->err, WEIR_INVALID, "%u:%u: %s", expr->pos.line, expr->pos.column, text);
}

/* Counts a node over bound children. */
static enum weir_rc count_node(const struct binder *binder, struct weir_expr *node)
{
    uint64_t nodes = 1;
    uint32_t depth = 0;
    for (uint32_t i = 0; i < node->nargs; i++) {
        nodes += node->args[i]->nodes;
        depth = depth > node->args[i]->depth ? depth : node->args[i]->depth;
    }
    if (nodes > 4 * WEIR_EXPR_NODES_MAX || depth + 1 > 4 * WEIR_EXPR_DEPTH_MAX) { /* casts were added to what was written */
        return weir_error_set(binder->err, WEIR_LIMIT, "%u:%u: the expression is too large", node->pos.line, node->pos.column);
    }
    node->nodes = (uint32_t)nodes;
    node->depth = depth + 1;
    return WEIR_OK;
}

static struct weir_expr *make(struct binder *binder, enum weir_expr_kind kind, struct weir_expr_pos pos, uint32_t nargs)
{
    struct weir_expr *node = weir_arena_zalloc(binder->arena, sizeof(*node));
    node->kind = kind;
    node->pos = pos;
    node->nargs = nargs;
    node->args = nargs == 0 ? NULL : weir_arena_zalloc(binder->arena, nargs * sizeof(struct weir_expr *));
    return node;
}

static struct weir_expr *literal(struct binder *binder, struct weir_expr_pos pos, struct weir_value value)
{
    struct weir_expr *node = make(binder, WEIR_EXPR_LITERAL, pos, 0);
    node->type = value.type;
    node->value = value;
    node->nodes = 1;
    node->depth = 1;
    return node;
}

/* The value of a call of constants, when it can be computed now; what fails stays, to fail only for a row that needs it. */
static struct weir_expr *fold(struct binder *binder, struct weir_expr *node)
{
    for (uint32_t i = 0; i < node->nargs; i++) {
        if (node->args[i]->kind != WEIR_EXPR_LITERAL) {
            return node;
        }
    }
    if (node->kind == WEIR_EXPR_CALL && (weir__fns[node->fn].flags & WEIR_FN_VOLATILE) != 0) {
        return node;
    }
    struct weir_value value;
    struct weir_error ignored;
    if (weir__expr_fold(node, binder->arena, &value, &ignored) != WEIR_OK) {
        return node;
    }
    value.type = node->type;
    return literal(binder, node->pos, value);
}

static enum weir_rc cast_at(struct binder *binder, struct weir_expr_pos pos, struct weir_expr *expr, struct weir_type type, bool safe,
                            struct weir_expr **out)
{
    type.not_null = expr->type.not_null && !safe;
    if (weir_type_same(expr->type, type)) {
        *out = expr;
        return WEIR_OK;
    }
    if (expr->kind == WEIR_EXPR_LITERAL && expr->value.is_null) {
        type.not_null = false;
        *out = literal(binder, expr->pos, (struct weir_value){.type = type, .is_null = true});
        return WEIR_OK;
    }
    if (!weir__cast_allowed(expr->type, type)) {
        struct weir_type from = expr->type;
        from.not_null = false;
        type.not_null = false;
        return weir_error_set(binder->err, WEIR_INVALID, "%u:%u: %s cannot be cast to %s", expr->pos.line, expr->pos.column,
                              weir_type_text(from).text, weir_type_text(type).text);
    }
    struct weir_expr *node = make(binder, WEIR_EXPR_CAST, pos, 1);
    node->args[0] = expr;
    node->type = type;
    node->safe = safe;
    enum weir_rc rc = count_node(binder, node);
    if (rc == WEIR_OK) {
        *out = fold(binder, node);
    }
    return rc;
}

static enum weir_rc cast_to(struct binder *binder, struct weir_expr *expr, struct weir_type type, struct weir_expr **out)
{
    return cast_at(binder, expr->pos, expr, type, false, out);
}

static enum weir_rc bind_column(struct binder *binder, const struct weir_expr *expr, struct weir_expr **out)
{
    int32_t column = weir_schema_find(binder->input, weir_slice_str(expr->name));
    if (column == WEIR_NO_COLUMN) {
        const char *names[WEIR_COLUMNS_MAX];
        uint32_t count = weir_schema_count(binder->input);
        for (uint32_t i = 0; i < count; i++) {
            names[i] = weir_schema_field(binder->input, i)->name;
        }
        const char *near = weir_nearest_name(weir_slice_str(expr->name), names, count);
        struct weir_buf text = {0};
        weir_schema_format(binder->input, &text);
        (void)weir_error_set(binder->err, WEIR_INVALID, "%u:%u: there is no column %s%s%s%s; the columns are %.*s", expr->pos.line,
                             expr->pos.column, expr->name, near == NULL ? "" : "; did you mean ", near == NULL ? "" : near,
                             near == NULL ? "" : "?", (int)text.len, (const char *)text.data);
        weir_buf_fini(&text);
        return WEIR_INVALID;
    }
    struct weir_expr *node = make(binder, WEIR_EXPR_COLUMN, expr->pos, 0);
    node->name = weir_schema_field(binder->input, (uint32_t)column)->name;
    node->name = weir_arena_strdup(binder->arena, node->name);
    node->column = (uint32_t)column;
    node->type = weir_schema_field(binder->input, (uint32_t)column)->type;
    *out = node;
    return count_node(binder, node);
}

/* A call of `name` over bound arguments. */
static enum weir_rc make_call(struct binder *binder, const char *name, struct weir_expr_pos pos, struct weir_expr **args, uint32_t nargs,
                              struct weir_expr **out)
{
    struct weir_expr *node = make(binder, WEIR_EXPR_CALL, pos, nargs);
    struct weir_type *types = weir_arena_zalloc(binder->arena, (nargs + 1) * sizeof(struct weir_type));
    node->name = name;
    enum weir_rc rc = weir__fn_choose(name, args, nargs, pos, &node->fn, &node->type, types, binder->err);
    for (uint32_t i = 0; rc == WEIR_OK && i < nargs; i++) {
        rc = cast_to(binder, args[i], types[i], &node->args[i]);
    }
    if (rc == WEIR_OK) {
        rc = count_node(binder, node);
    }
    if (rc == WEIR_OK) {
        node->name = weir__fns[node->fn].name;
        *out = fold(binder, node);
    }
    return rc;
}

static enum weir_rc make_case(struct binder *binder, struct weir_expr_pos pos, struct weir_expr **args, uint32_t nargs, struct weir_expr **out)
{
    weir_assert(nargs % 2 == 1);
    struct weir_type common = args[nargs - 1]->type;
    for (uint32_t i = 1; i < nargs; i += 2) {
        if (!weir__type_common(common, args[i]->type, &common)) {
            return weir_error_set(binder->err, WEIR_INVALID, "%u:%u: the branches of CASE are %s and %s; CAST one of them", args[i]->pos.line,
                                  args[i]->pos.column, weir_type_text(common).text, weir_type_text(args[i]->type).text);
        }
    }
    if (common.id == WEIR_TYPE_NULL) {
        common = weir_type_of(WEIR_TYPE_BOOLEAN);
    }
    struct weir_expr *node = make(binder, WEIR_EXPR_CASE, pos, nargs);
    node->type = common;
    bool folded = true; /* constant conditions choose now */
    for (uint32_t i = 0; i < nargs; i++) {
        bool when = i % 2 == 0 && i != nargs - 1;
        if (when && args[i]->type.id != WEIR_TYPE_BOOLEAN && args[i]->type.id != WEIR_TYPE_NULL) {
            return fail(binder, args[i], "a condition of CASE must be BOOLEAN");
        }
        enum weir_rc rc = cast_to(binder, args[i], when ? weir_type_of(WEIR_TYPE_BOOLEAN) : common, &node->args[i]);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    for (uint32_t i = 0; folded && i < nargs; i += 2) {
        bool last = i == nargs - 1;
        folded = last || node->args[i]->kind == WEIR_EXPR_LITERAL;
        if (folded && (last || (!node->args[i]->value.is_null && node->args[i]->value.u.boolean))) {
            *out = node->args[last ? i : i + 1];
            return WEIR_OK;
        }
    }
    *out = node;
    return count_node(binder, node);
}

/* x IN (a, b, ...) with a list that is not constant: x = a OR x = b ... */
static enum weir_rc make_in(struct binder *binder, struct weir_expr_pos pos, struct weir_expr **args, uint32_t nargs, struct weir_expr **out)
{
    bool constant = true;
    for (uint32_t i = 1; i < nargs; i++) {
        constant = constant && args[i]->kind == WEIR_EXPR_LITERAL;
    }
    if (constant) {
        enum weir_rc rc = make_call(binder, "IN", pos, args, nargs, out);
        for (uint32_t i = 1; rc == WEIR_OK && i < (*out)->nargs; i++) { /* a cast that fails is no constant: ts IN ('soon') */
            constant = constant && (*out)->args[i]->kind == WEIR_EXPR_LITERAL;
        }
        if (rc != WEIR_OK || constant) {
            return rc;
        }
    }
    struct weir_expr **equals = weir_arena_zalloc(binder->arena, nargs * sizeof(struct weir_expr *));
    for (uint32_t i = 1; i < nargs; i++) {
        struct weir_expr *pair[2] = {args[0], args[i]};
        enum weir_rc rc = make_call(binder, "=", pos, pair, 2, &equals[i - 1]);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    if (nargs == 2) {
        *out = equals[0];
        return WEIR_OK;
    }
    return make_call(binder, "OR", pos, equals, nargs - 1, out);
}

static enum weir_rc make_extract(struct binder *binder, const struct weir_expr *expr, struct weir_expr **args, struct weir_expr **out)
{
    static const char *const units[][2] = {{"DAY", "DAYOFMONTH"}, {"DOY", "DAYOFYEAR"}, {"DOW", "DAYOFWEEK"}};
    if (args[0]->kind != WEIR_EXPR_LITERAL || args[0]->type.id != WEIR_TYPE_VARCHAR) {
        return fail(binder, expr, "EXTRACT takes a unit: EXTRACT(HOUR FROM x)");
    }
    const char *name = weir_arena_strndup(binder->arena, args[0]->value.u.str.data, args[0]->value.u.str.len);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        name = strcmp(units[i][0], name) == 0 ? units[i][1] : name;
    }
    return make_call(binder, name, expr->pos, args + 1, 1, out);
}

/* Functions that are other expressions; *out stays NULL when `expr` is none of them. */
static enum weir_rc bind_sugar(struct binder *binder, const struct weir_expr *expr, struct weir_expr **args, struct weir_expr **out)
{
    const char *name = expr->name;
    if (strcmp(name, "IN") == 0 && expr->nargs >= 2) {
        return make_in(binder, expr->pos, args, expr->nargs, out);
    }
    if (strcmp(name, "EXTRACT") == 0 && expr->nargs == 2) {
        return make_extract(binder, expr, args, out);
    }
    if (strcmp(name, "IFNULL") == 0 && expr->nargs == 2) {
        return make_call(binder, "COALESCE", expr->pos, args, 2, out);
    }
    if (strcmp(name, "IF") == 0 && expr->nargs == 3) {
        return make_case(binder, expr->pos, args, 3, out);
    }
    if (strcmp(name, "NULLIF") == 0 && expr->nargs == 2) {
        struct weir_expr *equal;
        enum weir_rc rc = make_call(binder, "=", expr->pos, args, 2, &equal);
        if (rc != WEIR_OK) {
            return rc;
        }
        struct weir_value null = {.type = weir_type_of(WEIR_TYPE_NULL), .is_null = true};
        struct weir_expr *parts[3] = {equal, literal(binder, expr->pos, null), args[0]};
        return make_case(binder, expr->pos, parts, 3, out);
    }
    bool wrong_count = strcmp(name, "IFNULL") == 0 || strcmp(name, "IF") == 0 || strcmp(name, "NULLIF") == 0;
    return wrong_count ? fail(binder, expr, "wrong number of arguments: IF(condition, then, else), IFNULL(x, y), NULLIF(x, y)") : WEIR_OK;
}

/* An aggregate inside an expression, or a node that no parser makes. */
static enum weir_rc bind_operands(struct binder *binder, const struct weir_expr *expr, uint32_t depth, struct weir_expr ***out_args)
{
    /* A CASE without ELSE has one more, NULL. */
    struct weir_expr **args = weir_arena_zalloc(binder->arena, (expr->nargs + 1) * sizeof(struct weir_expr *));
    for (uint32_t i = 0; i < expr->nargs; i++) {
        enum weir_rc rc = bind(binder, expr->args[i], depth + 1, &args[i]);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    *out_args = args;
    return WEIR_OK;
}

static enum weir_rc bind_call(struct binder *binder, const struct weir_expr *expr, struct weir_expr **args, struct weir_expr **out)
{
    *out = NULL;
    enum weir_rc rc = bind_sugar(binder, expr, args, out);
    if (rc != WEIR_OK || *out != NULL) {
        return rc;
    }
    return make_call(binder, expr->name, expr->pos, args, expr->nargs, out);
}

static enum weir_rc bind(struct binder *binder, const struct weir_expr *expr, uint32_t depth, struct weir_expr **out)
{
    if (depth > WEIR_EXPR_DEPTH_MAX) {
        return weir_error_set(binder->err, WEIR_LIMIT, "%u:%u: the expression is nested more than %d levels deep", expr->pos.line,
                              expr->pos.column, WEIR_EXPR_DEPTH_MAX);
    }
    struct weir_expr **args = NULL;
    if (expr->kind == WEIR_EXPR_CALL || expr->kind == WEIR_EXPR_CAST || expr->kind == WEIR_EXPR_CASE) {
        enum weir_rc rc = bind_operands(binder, expr, depth, &args);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    switch (expr->kind) {
    case WEIR_EXPR_LITERAL:
        *out = literal(binder, expr->pos, expr->value);
        (*out)->type.not_null = !expr->value.is_null;
        (*out)->value.type = (*out)->type;
        return WEIR_OK;
    case WEIR_EXPR_COLUMN:
        return bind_column(binder, expr, out);
    case WEIR_EXPR_CALL:
        return bind_call(binder, expr, args, out);
    case WEIR_EXPR_CAST:
        return cast_at(binder, expr->pos, args[0], expr->type, expr->safe, out);
    case WEIR_EXPR_CASE: {
        uint32_t nargs = expr->nargs;
        if (nargs % 2 == 0) {
            args[nargs++] = literal(binder, expr->pos, (struct weir_value){.type = weir_type_of(WEIR_TYPE_NULL), .is_null = true});
        }
        return make_case(binder, expr->pos, args, nargs, out);
    }
    case WEIR_EXPR_AGG:
        return weir_error_set(binder->err, WEIR_INVALID, "%u:%u: the aggregate %s cannot stand inside another expression", expr->pos.line,
                              expr->pos.column, expr->name);
    }
    weir_assert(false);
    return WEIR_INVALID;
}

enum weir_rc weir_expr_bind(const struct weir_expr *expr, const struct weir_schema *input, struct weir_arena *arena, struct weir_expr **out_expr,
                            struct weir_error *err)
{
    struct binder binder = {.input = input, .arena = arena, .err = err};
    struct weir_expr *bound = NULL;
    enum weir_rc rc = bind(&binder, expr, 1, &bound);
    if (rc == WEIR_OK && bound->type.id == WEIR_TYPE_NULL) { /* a bare NULL: of some type that a column can have */
        rc = cast_to(&binder, bound, weir_type_of(WEIR_TYPE_BOOLEAN), &bound);
    }
    if (rc == WEIR_OK) {
        *out_expr = bound;
    }
    return rc;
}

enum weir_rc weir_expr_bind_agg(const struct weir_expr *expr, const struct weir_schema *input, struct weir_arena *arena,
                                struct weir_expr **out_expr, struct weir_error *err)
{
    struct binder binder = {.input = input, .arena = arena, .err = err};
    if (expr->kind != WEIR_EXPR_AGG) {
        return fail(&binder, expr, "expected an aggregate: COUNT(*), COUNT(x), SUM(x), AVG(x), MIN(x) or MAX(x)");
    }
    if (expr->nargs != (expr->star ? 0U : 1U)) {
        return fail(&binder, expr, "an aggregate takes one argument");
    }
    struct weir_expr *node = make(&binder, WEIR_EXPR_AGG, expr->pos, expr->nargs);
    node->name = weir_arena_strdup(arena, expr->name);
    node->distinct = expr->distinct;
    node->star = expr->star;
    enum weir_rc rc = WEIR_OK;
    struct weir_type arg_type = weir_type_of(WEIR_TYPE_NULL);
    if (!expr->star) {
        rc = weir_expr_bind(expr->args[0], input, arena, &node->args[0], err);
        arg_type = rc == WEIR_OK ? node->args[0]->type : arg_type;
    }
    if (rc == WEIR_OK && expr->filter != NULL) {
        rc = weir_expr_bind(expr->filter, input, arena, &node->filter, err);
        if (rc == WEIR_OK && node->filter->type.id != WEIR_TYPE_BOOLEAN) {
            return fail(&binder, expr->filter, "FILTER takes a BOOLEAN condition");
        }
    }
    if (rc == WEIR_OK) {
        rc = weir_agg_result_type(node->name, node->star, arg_type, &node->type, err);
        if (rc != WEIR_OK) {
            return weir_error_prefix(err, "%u:%u", expr->pos.line, expr->pos.column);
        }
        rc = count_node(&binder, node);
    }
    if (rc == WEIR_OK) {
        *out_expr = node;
    }
    return rc;
}

/* Whether a literal's value is one its type can have (from a codec it may be anything). */
static bool literal_is_sound(const struct weir_expr *expr)
{
    struct weir_type type = expr->type;
    if (!weir_type_same(type, expr->value.type) || type.id == WEIR_TYPE_NULL || type.id > WEIR_TYPE_INTERVAL_DAY) {
        return false;
    }
    return expr->value.is_null || !weir_type_is_string(type.id) || expr->value.u.str.len <= WEIR_RECORD_BYTES_MAX;
}

static enum weir_rc resolve(struct weir_expr *expr, const struct weir_schema *input, uint32_t depth, uint32_t *nodes, struct weir_error *err);

static enum weir_rc resolve_call(struct weir_expr *expr, struct weir_error *err)
{
    struct weir_type *types = weir_calloc(expr->nargs + 1U, sizeof(*types));
    struct weir_type type;
    enum weir_rc rc = expr->name == NULL ? weir_error_set(err, WEIR_INVALID, "a call without a name")
                                         : weir__fn_choose(expr->name, expr->args, expr->nargs, expr->pos, &expr->fn, &type, types, err);
    for (uint32_t i = 0; rc == WEIR_OK && i < expr->nargs; i++) {
        bool in_list = expr->fn == WEIR_FN_IN && i > 0 && expr->args[i]->kind != WEIR_EXPR_LITERAL;
        if (in_list || !weir_type_same(types[i], expr->args[i]->type)) {
            rc = weir_error_set(err, WEIR_INVALID, "argument %u of %s is %s, expected %s%s", i + 1, expr->name,
                                weir_type_text(expr->args[i]->type).text, in_list ? "a literal of " : "", weir_type_text(types[i]).text);
        }
    }
    if (rc == WEIR_OK && !weir_type_same(type, expr->type)) {
        rc = weir_error_set(err, WEIR_INVALID, "%s gives %s, not %s", expr->name, weir_type_text(type).text, weir_type_text(expr->type).text);
    }
    weir_free(types);
    return rc;
}

static enum weir_rc resolve_column(const struct weir_expr *expr, const struct weir_schema *input, struct weir_error *err)
{
    if (expr->column >= weir_schema_count(input)) {
        return weir_error_set(err, WEIR_INVALID, "column %u of %u columns", expr->column, weir_schema_count(input));
    }
    const struct weir_field *field = weir_schema_field(input, expr->column);
    if (!weir_type_same(field->type, expr->type)) {
        return weir_error_set(err, WEIR_INVALID, "column %s is %s, not %s", field->name, weir_type_text(field->type).text,
                              weir_type_text(expr->type).text);
    }
    return WEIR_OK;
}

static enum weir_rc resolve_case(const struct weir_expr *expr, struct weir_error *err)
{
    bool sound = expr->nargs % 2 == 1;
    for (uint32_t i = 0; sound && i < expr->nargs; i++) {
        bool when = i % 2 == 0 && i != expr->nargs - 1;
        sound = when ? expr->args[i]->type.id == WEIR_TYPE_BOOLEAN : weir_type_same(expr->args[i]->type, expr->type);
    }
    return sound ? WEIR_OK : weir_error_set(err, WEIR_INVALID, "CASE with a wrong number or wrong types of parts");
}

static enum weir_rc resolve_agg(const struct weir_expr *expr, uint32_t depth, struct weir_error *err)
{
    struct weir_type type;
    if (depth != 1 || expr->name == NULL || expr->nargs != (expr->star ? 0U : 1U)) {
        return weir_error_set(err, WEIR_INVALID, "an aggregate at a place or of a form that is not possible");
    }
    if (expr->filter != NULL && expr->filter->type.id != WEIR_TYPE_BOOLEAN) {
        return weir_error_set(err, WEIR_INVALID, "the FILTER of an aggregate is not BOOLEAN");
    }
    enum weir_rc rc = weir_agg_result_type(expr->name, expr->star, expr->star ? expr->type : expr->args[0]->type, &type, err);
    if (rc == WEIR_OK && !weir_type_same(type, expr->type)) {
        rc = weir_error_set(err, WEIR_INVALID, "%s gives %s, not %s", expr->name, weir_type_text(type).text, weir_type_text(expr->type).text);
    }
    return rc;
}

static enum weir_rc resolve(struct weir_expr *expr, const struct weir_schema *input, uint32_t depth, uint32_t *nodes, struct weir_error *err)
{
    if (depth > 4 * WEIR_EXPR_DEPTH_MAX || ++*nodes > 4 * WEIR_EXPR_NODES_MAX) {
        return weir_error_set(err, WEIR_LIMIT, "the expression is too large");
    }
    enum weir_rc rc = WEIR_OK;
    for (uint32_t i = 0; rc == WEIR_OK && i < expr->nargs; i++) {
        rc = resolve(expr->args[i], input, depth + 1, nodes, err);
    }
    if (rc == WEIR_OK && expr->filter != NULL) {
        rc = resolve(expr->filter, input, depth + 1, nodes, err);
    }
    if (rc != WEIR_OK) {
        return rc;
    }
    switch (expr->kind) {
    case WEIR_EXPR_LITERAL:
        return literal_is_sound(expr) ? WEIR_OK : weir_error_set(err, WEIR_INVALID, "a literal whose value is not of its type");
    case WEIR_EXPR_COLUMN:
        return resolve_column(expr, input, err);
    case WEIR_EXPR_CALL:
        return resolve_call(expr, err);
    case WEIR_EXPR_CAST:
        if (expr->nargs != 1 || !weir__cast_allowed(expr->args[0]->type, expr->type)) {
            return weir_error_set(err, WEIR_INVALID, "a cast that does not exist, to %s", weir_type_text(expr->type).text);
        }
        return WEIR_OK;
    case WEIR_EXPR_CASE:
        return resolve_case(expr, err);
    case WEIR_EXPR_AGG:
        return resolve_agg(expr, depth, err);
    }
    return weir_error_set(err, WEIR_INVALID, "an expression of an unknown kind");
}

enum weir_rc weir_expr_resolve(struct weir_expr *expr, const struct weir_schema *input, struct weir_error *err)
{
    uint32_t nodes = 0;
    return resolve(expr, input, 1, &nodes, err);
}

enum weir_rc weir_expr_coerce(struct weir_expr *expr, struct weir_type type, struct weir_arena *arena, struct weir_expr **out_expr,
                              struct weir_error *err)
{
    struct binder binder = {.input = NULL, .arena = arena, .err = err};
    struct weir_type from = expr->type;
    bool numbers = weir_type_is_numeric(from.id) && weir_type_is_numeric(type.id);
    bool moments = weir_type_is_time(from.id) && weir_type_is_time(type.id) && weir__cast_allowed(from, type);
    bool text_to_moment = expr->kind == WEIR_EXPR_LITERAL && from.id == WEIR_TYPE_VARCHAR && weir_type_is_time(type.id);
    if (from.id != type.id && from.id != WEIR_TYPE_NULL && !numbers && !moments && !text_to_moment) {
        from.not_null = false;
        type.not_null = false;
        return weir_error_set(err, WEIR_INVALID, "%u:%u: expected %s, found %s; CAST it", expr->pos.line, expr->pos.column,
                              weir_type_text(type).text, weir_type_text(from).text);
    }
    return cast_to(&binder, expr, type, out_expr);
}
