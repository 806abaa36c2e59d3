/*
 * Expressions as trees: SQL text -> untyped tree (parse) -> typed tree (bind) -> program (expr_prog.h).
 *
 * The grammar is SQL's value expression grammar in Flink's dialect; common/expr/sql.y is what the SQL statements will extend.
 * Names are case-sensitive column names, optionally in backquotes; functions and keywords are case-insensitive.
 *
 * Trees live in the arena they were made in and are immutable once bound. The planner builds typed trees too, and
 * proto/expr_codec ships them: so the struct is public.
 */
#ifndef WEIR_COMMON_EXPR_EXPR_H
#define WEIR_COMMON_EXPR_EXPR_H

#include "common/base/arena.h"
#include "common/data/schema.h"
#include "common/data/value.h"

enum weir_expr_kind {
    WEIR_EXPR_LITERAL = 0,
    WEIR_EXPR_COLUMN = 1,
    WEIR_EXPR_CALL = 2, /* functions and operators alike: "+", "=", "AND", "UPPER" */
    WEIR_EXPR_CAST = 3, /* args[0] to `type`; TRY_CAST when `safe` */
    WEIR_EXPR_CASE = 4, /* args: when, then, when, then, ..., else (always there after binding) */
    WEIR_EXPR_AGG = 5,  /* only as the root of an aggregate call: COUNT, SUM, AVG, MIN, MAX */
};

/* Where in the source text, 1-based; 0 = unknown. */
struct weir_expr_pos {
    uint32_t line, column;
};

struct weir_expr {
    enum weir_expr_kind kind;
    struct weir_type type; /* set by binding; by parsing only for CAST's target and literals */
    struct weir_expr_pos pos;
    /* LITERAL */
    struct weir_value value;
    /* COLUMN: the name as written, and after binding the index in the input schema */
    const char *name; /* also: the function's name in upper case (CALL, AGG) */
    uint32_t column;
    /* CALL, CAST, CASE, AGG */
    struct weir_expr **args;
    uint32_t nargs;
    bool safe;     /* TRY_CAST */
    bool distinct; /* AGG(DISTINCT x) */
    bool star;     /* COUNT(*) */
    struct weir_expr *filter; /* AGG(...) FILTER (WHERE filter), or NULL */
    uint32_t fn;   /* CALL after binding: the row of the function table that was chosen (internal to common/expr) */
    /* Size of the tree below and including this node, shared parts counted each time, and its height: kept by parsing and binding. */
    uint32_t nodes, depth;
};

/* Parses one expression and nothing behind it. Errors carry line and column inside the text ("1:14: expected ..., found ...") and what
 * would be right. LIMIT: nesting or size. */
enum weir_rc weir_expr_parse(struct weir_slice text, struct weir_arena *arena, struct weir_expr **out_expr, struct weir_error *err)
    WEIR_CHECKED;

/* Resolves names and functions against the input schema, chooses overloads, inserts the implicit casts that SQL has, types every
 * node and folds constants. Returns a new tree in the arena. Aggregates are refused here except through weir_expr_bind_agg. INVALID:
 * unknown column or function (with the nearest name), wrong argument types (with what is accepted). */
enum weir_rc weir_expr_bind(const struct weir_expr *expr, const struct weir_schema *input, struct weir_arena *arena,
                            struct weir_expr **out_expr, struct weir_error *err) WEIR_CHECKED;

/* Binds an aggregate call: the root must be an aggregate whose argument and filter are bound as above. */
enum weir_rc weir_expr_bind_agg(const struct weir_expr *expr, const struct weir_schema *input, struct weir_arena *arena,
                                struct weir_expr **out_expr, struct weir_error *err) WEIR_CHECKED;

/* Chooses the implementation of a CALL built from outside (codec, planner): sets `fn` from name and argument types throughout the
 * tree, checking everything. INVALID when there is no such function for those types. */
enum weir_rc weir_expr_resolve(struct weir_expr *expr, const struct weir_schema *input, struct weir_error *err) WEIR_CHECKED;

/* An implicit cast of a bound expression to `type` if SQL allows one for assignment (sinks), else INVALID. */
enum weir_rc weir_expr_coerce(struct weir_expr *expr, struct weir_type type, struct weir_arena *arena, struct weir_expr **out_expr,
                              struct weir_error *err) WEIR_CHECKED;

/* The expression as SQL text, for plans and messages; parsing it again gives the same tree. */
void weir_expr_format(const struct weir_expr *expr, struct weir_buf *out);

/* Whether the bound expression reads no column (then it was folded, unless it is not deterministic). */
bool weir_expr_is_constant(const struct weir_expr *expr);

#endif
