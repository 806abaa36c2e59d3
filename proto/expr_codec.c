#include "proto/expr_codec.h"

#include "common/base/assert.h"
#include "common/base/limits.h"
#include "proto/schema_codec.h"

/* Binding adds at most a cast to each level and to each node of what was parsed, and a coercion on top. */
enum { DEPTH_MAX = 2 * WEIR_EXPR_DEPTH_MAX + 16, NODES_MAX = 4 * WEIR_EXPR_NODES_MAX };

static size_t count_nodes(const struct weir_expr *expr)
{
    size_t count = 1;
    for (uint32_t i = 0; i < expr->nargs; i++) {
        count += count_nodes(expr->args[i]);
    }
    return expr->filter == NULL ? count : count + count_nodes(expr->filter);
}

static void encode_node(const struct weir_expr *expr, struct weir_arena *arena, Weir__Plan__Expr *message)
{
    Weir__Plan__ExprNode *node = weir_arena_alloc(arena, sizeof(*node));
    weir__plan__expr_node__init(node);
    node->kind = (uint32_t)expr->kind;
    node->type = weir_type_encode(expr->type, arena);
    node->line = expr->pos.line;
    node->column = expr->pos.column;
    if (expr->kind == WEIR_EXPR_LITERAL) {
        node->value = weir_value_encode(&expr->value, arena);
    }
    if (expr->name != NULL) {
        node->name = weir_proto_text(expr->name);
    }
    node->column_index = expr->kind == WEIR_EXPR_COLUMN ? expr->column : 0;
    node->nargs = expr->nargs;
    node->safe = expr->safe;
    node->distinct = expr->distinct;
    node->star = expr->star;
    node->has_filter = expr->filter != NULL;
    message->nodes[message->n_nodes++] = node;
    for (uint32_t i = 0; i < expr->nargs; i++) {
        encode_node(expr->args[i], arena, message);
    }
    if (expr->filter != NULL) {
        encode_node(expr->filter, arena, message);
    }
}

Weir__Plan__Expr *weir_expr_encode(const struct weir_expr *expr, struct weir_arena *arena)
{
    Weir__Plan__Expr *message = weir_arena_alloc(arena, sizeof(*message));
    weir__plan__expr__init(message);
    size_t count = count_nodes(expr);
    message->nodes = weir_arena_alloc(arena, count * sizeof(*message->nodes));
    encode_node(expr, arena, message);
    weir_assert(message->n_nodes == count);
    return message;
}

struct decoder {
    const Weir__Plan__Expr *message;
    size_t next;
    size_t due; /* subtrees that the nodes so far still ask for */
    struct weir_arena *arena;
    struct weir_error *err;
};

/* What each kind must have; a wrong argument count of a function is found when it is resolved. */
static bool shape_ok(const Weir__Plan__ExprNode *node)
{
    bool named = node->name[0] != '\0';
    bool plain = !node->distinct && !node->star && !node->has_filter;
    switch ((enum weir_expr_kind)node->kind) {
    case WEIR_EXPR_LITERAL:
        return node->nargs == 0 && plain && node->value != NULL;
    case WEIR_EXPR_COLUMN:
        return node->nargs == 0 && plain && named;
    case WEIR_EXPR_CALL:
        return named && plain;
    case WEIR_EXPR_CAST:
        return node->nargs == 1 && plain;
    case WEIR_EXPR_CASE:
        return node->nargs >= 3 && node->nargs % 2 == 1 && plain;
    case WEIR_EXPR_AGG:
        return named && node->nargs == (node->star ? 0 : 1);
    }
    return false;
}

static enum weir_rc decode_node(struct decoder *decoder, uint32_t depth, struct weir_expr **out_expr)
{
    size_t left = decoder->message->n_nodes - decoder->next;
    if (depth > DEPTH_MAX) {
        return weir_error_set(decoder->err, WEIR_LIMIT, "plan: an expression is nested deeper than %d", DEPTH_MAX);
    }
    if (left == 0) {
        return weir_error_set(decoder->err, WEIR_CORRUPT, "plan: an expression is cut short");
    }
    const Weir__Plan__ExprNode *node = decoder->message->nodes[decoder->next++];
    decoder->due += (size_t)node->nargs + (node->has_filter != 0) - 1;
    if (!shape_ok(node) || decoder->due >= left || (depth > 1 && node->kind == WEIR_EXPR_AGG)) {
        return weir_error_set(decoder->err, WEIR_CORRUPT, "plan: node %zu of an expression is malformed", decoder->next - 1);
    }
    struct weir_expr *expr = weir_arena_zalloc(decoder->arena, sizeof(*expr));
    expr->kind = (enum weir_expr_kind)node->kind;
    enum weir_rc rc = weir_type_decode(node->type, &expr->type, decoder->err);
    if (rc == WEIR_OK && expr->kind == WEIR_EXPR_LITERAL) {
        rc = weir_value_decode(node->value, decoder->arena, &expr->value, decoder->err);
        if (rc == WEIR_OK && !weir_type_same(expr->type, expr->value.type)) {
            rc = weir_error_set(decoder->err, WEIR_CORRUPT, "plan: a literal is not of its node's type");
        }
    }
    expr->pos = (struct weir_expr_pos){.line = node->line, .column = node->column};
    expr->name = node->name[0] == '\0' ? NULL : weir_arena_strdup(decoder->arena, node->name);
    expr->column = node->column_index;
    expr->safe = node->safe != 0;
    expr->distinct = node->distinct != 0;
    expr->star = node->star != 0;
    expr->nargs = node->nargs;
    expr->args = node->nargs == 0 ? NULL : weir_arena_alloc(decoder->arena, node->nargs * sizeof(*expr->args));
    for (uint32_t i = 0; i < node->nargs && rc == WEIR_OK; i++) {
        rc = decode_node(decoder, depth + 1, &expr->args[i]);
    }
    if (rc == WEIR_OK && node->has_filter) {
        rc = decode_node(decoder, depth + 1, &expr->filter);
    }
    if (rc == WEIR_OK) {
        *out_expr = expr;
    }
    return rc;
}

enum weir_rc weir_expr_decode(const Weir__Plan__Expr *message, struct weir_arena *arena, struct weir_expr **out_expr,
                              struct weir_error *err)
{
    if (message->n_nodes > NODES_MAX) {
        return weir_error_set(err, WEIR_LIMIT, "plan: an expression of %zu nodes; expected at most %d", message->n_nodes,
                              NODES_MAX);
    }
    struct decoder decoder = {.message = message, .due = 1, .arena = arena, .err = err};
    struct weir_expr *expr = NULL;
    enum weir_rc rc = decode_node(&decoder, 1, &expr);
    if (rc == WEIR_OK && decoder.next != message->n_nodes) {
        rc = weir_error_set(err, WEIR_CORRUPT, "plan: an expression has nodes that belong to nothing");
    }
    if (rc == WEIR_OK) {
        *out_expr = expr;
    }
    return rc;
}
