/*
 * Bound expressions compiled to a flat program of typed vector kernels, run over a whole batch.
 *
 * Each step is one loop over the selected rows of plain arrays; common sub-expressions are computed once. SQL's three-valued logic:
 * a filter keeps the rows that are TRUE. AND, OR, CASE and COALESCE evaluate their later parts only for the rows that need them (so
 * `x <> 0 AND 1 / x > 2` never divides by zero).
 */
#ifndef WEIR_COMMON_EXPR_EXPR_PROG_H
#define WEIR_COMMON_EXPR_EXPR_PROG_H

#include "common/data/batch.h"
#include "common/expr/expr.h"

struct weir_expr_prog; /* immutable code plus scratch registers: one thread at a time */

/* A program with one output column per expression, over batches of `input`. The trees are not needed afterwards. */
enum weir_rc weir_expr_prog_create(const struct weir_expr *const *exprs, uint32_t count, const struct weir_schema *input,
                                   struct weir_expr_prog **out_prog, struct weir_error *err) WEIR_CHECKED;
void weir_expr_prog_destroy(struct weir_expr_prog *prog); /* accepts NULL */

/*
 * Evaluates all outputs for the logical rows of the batch. out_cols[count] receives columns in the batch's physical row positions
 * (rows outside the selection are undefined but defined memory), so they can stand beside the batch's own columns under the same
 * selection. A bare column reference shares the input's buffers. Buffers are charged to mem. The caller owns out_cols (unref).
 * `now_ms` is what CURRENT_TIMESTAMP and friends return: given, not read. DATA: a row failed (cast, overflow, division by zero):
 * err names the function, the position in the expression's text and the value; nothing is returned. LIMIT: fewer rows at a time.
 */
enum weir_rc weir_expr_prog_eval(struct weir_expr_prog *prog, const struct weir_batch *batch, int64_t now_ms, struct weir_mem *mem,
                                 struct weir_column *out_cols, struct weir_error *err) WEIR_CHECKED;

/* The rows of the batch for which output 0 (BOOLEAN) is TRUE: their physical indices, ascending, into out_rows (room for
 * WEIR_BATCH_ROWS_MAX); the count into *out_count. */
enum weir_rc weir_expr_prog_filter(struct weir_expr_prog *prog, const struct weir_batch *batch, int64_t now_ms, uint16_t *out_rows,
                                   uint32_t *out_count, struct weir_error *err) WEIR_CHECKED;

#endif
