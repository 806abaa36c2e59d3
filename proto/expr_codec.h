/*
 * Expressions as messages of plan.proto and back: the nodes in preorder, each followed by its arguments and then its filter.
 */
#ifndef WEIR_PROTO_EXPR_CODEC_H
#define WEIR_PROTO_EXPR_CODEC_H

#include "common/expr/expr.h"

#include "proto/plan.pb-c.h"

/* The message lies in the arena; names are borrowed from expr. */
Weir__Plan__Expr *weir_expr_encode(const struct weir_expr *expr, struct weir_arena *arena);

/* A tree in the arena, not yet resolved. CORRUPT: not one tree; LIMIT: too deep or too large. */
enum weir_rc weir_expr_decode(const Weir__Plan__Expr *message, struct weir_arena *arena, struct weir_expr **out_expr,
                              struct weir_error *err) WEIR_CHECKED;

#endif
