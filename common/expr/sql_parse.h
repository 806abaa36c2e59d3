/*
 * What the generated lexer and parser share with the rest of common/expr: the state of one parse and the makers of nodes. Internal.
 *
 * Errors: the first one wins; it goes into state->err with its position ("1:14: ...").
 */
#ifndef WEIR_COMMON_EXPR_SQL_PARSE_H
#define WEIR_COMMON_EXPR_SQL_PARSE_H

#include "common/expr/expr.h"

struct weir_sql_state {
    struct weir_arena *arena;
    struct weir_error *err;
    enum weir_rc rc;             /* what went wrong first; OK so far */
    struct weir_expr *expr;      /* the result */
    struct weir_expr_pos at;     /* of the next byte to lex */
    uint32_t nesting;            /* open parentheses */
};

/* A growing list of expressions. */
struct weir_sql_list {
    struct weir_expr **items;
    uint32_t count;
};

/* A token's text, borrowed from the arena. */
struct weir_sql_text {
    const char *data;
    uint32_t len;
};

/* Notes an error at a place unless there is one already. */
void weir__sql_fail(struct weir_sql_state *state, struct weir_expr_pos pos, enum weir_rc rc, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

struct weir_sql_list weir__sql_list_add(struct weir_sql_state *state, struct weir_sql_list list, struct weir_expr *item);

/* Nodes. They return NULL after noting an error (too deep, too many nodes, a bad literal). */
struct weir_expr *weir__sql_call(struct weir_sql_state *state, struct weir_expr_pos pos, const char *name, struct weir_sql_list args);
struct weir_expr *weir__sql_call1(struct weir_sql_state *state, struct weir_expr_pos pos, const char *name, struct weir_expr *a);
struct weir_expr *weir__sql_call2(struct weir_sql_state *state, struct weir_expr_pos pos, const char *name, struct weir_expr *a,
                                  struct weir_expr *b);
/* AND and OR take any number of arguments: a chain of a thousand is one node, not a thousand levels. */
struct weir_expr *weir__sql_chain(struct weir_sql_state *state, struct weir_expr_pos pos, const char *name, struct weir_expr *a,
                                  struct weir_expr *b);
struct weir_expr *weir__sql_function(struct weir_sql_state *state, struct weir_expr_pos pos, struct weir_sql_text name,
                                     struct weir_sql_list args, bool distinct, bool star, struct weir_expr *filter);
struct weir_expr *weir__sql_column(struct weir_sql_state *state, struct weir_expr_pos pos, struct weir_sql_text name);
struct weir_expr *weir__sql_number(struct weir_sql_state *state, struct weir_expr_pos pos, struct weir_sql_text text);
struct weir_expr *weir__sql_negate(struct weir_sql_state *state, struct weir_expr_pos pos, struct weir_expr *operand);
struct weir_expr *weir__sql_string(struct weir_sql_state *state, struct weir_expr_pos pos, struct weir_sql_text text);
struct weir_expr *weir__sql_boolean(struct weir_sql_state *state, struct weir_expr_pos pos, bool value);
struct weir_expr *weir__sql_null(struct weir_sql_state *state, struct weir_expr_pos pos);
/* DATE '...', TIME '...', TIMESTAMP '...' */
struct weir_expr *weir__sql_moment(struct weir_sql_state *state, struct weir_expr_pos pos, enum weir_type_id id, struct weir_sql_text text);
struct weir_expr *weir__sql_interval(struct weir_sql_state *state, struct weir_expr_pos pos, bool negative, struct weir_sql_text text,
                                     struct weir_sql_text unit);
struct weir_expr *weir__sql_cast(struct weir_sql_state *state, struct weir_expr_pos pos, struct weir_expr *operand,
                                 struct weir_sql_text type, bool safe);
/* list: when, then, when, then ...; operand (CASE x WHEN ...) and otherwise may be NULL. */
struct weir_expr *weir__sql_case(struct weir_sql_state *state, struct weir_expr_pos pos, struct weir_expr *operand,
                                 struct weir_sql_list list, struct weir_expr *otherwise);
/* A time unit (YEAR, SECONDS ...) as a string literal in its canonical singular spelling. */
struct weir_expr *weir__sql_unit(struct weir_sql_state *state, struct weir_expr_pos pos, struct weir_sql_text unit);

/* Joins two texts with a separator. */
struct weir_sql_text weir__sql_join(struct weir_sql_state *state, struct weir_sql_text a, const char *separator, struct weir_sql_text b);

#endif
