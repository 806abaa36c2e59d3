/*
 * CALC: a filter and a projection, fused. The filter narrows the selection, the projection computes columns for the rows left; nothing is
 * copied but what an expression makes new.
 */
#include "taskmanager/operators/calc.h"

#include "common/base/assert.h"
#include "common/expr/expr_prog.h"

struct calc {
    struct weir_op op;
    struct weir_expr_prog *filter;  /* NULL: all rows */
    struct weir_expr_prog *project; /* NULL: all columns */
    struct weir_column *cols;       /* scratch, one per output column */
};

static enum weir_rc calc_open(struct weir_op *op, const struct weir_opspec *spec, struct weir_error *err)
{
    struct calc *calc = (struct calc *)op;
    enum weir_rc rc = WEIR_OK;
    if (spec->u.calc.filter != NULL) {
        rc = weir_expr_prog_create(&spec->u.calc.filter, 1, spec->input, &calc->filter, err);
    }
    if (rc == WEIR_OK && spec->u.calc.exprs != NULL) {
        calc->cols = weir_calloc(spec->u.calc.nexprs, sizeof(*calc->cols));
        rc = weir_expr_prog_create(spec->u.calc.exprs, spec->u.calc.nexprs, spec->input, &calc->project, err);
    }
    return rc;
}

static void calc_close(struct weir_op *op)
{
    struct calc *calc = (struct calc *)op;
    weir_expr_prog_destroy(calc->filter);
    weir_expr_prog_destroy(calc->project);
    weir_free(calc->cols);
}

/* The batch narrowed to the rows for which the filter is TRUE; NULL when there is none. A new reference. */
static enum weir_rc apply_filter(struct calc *calc, struct weir_batch *batch, struct weir_batch **out_batch, struct weir_error *err)
{
    struct weir_mem *mem = calc->op.ctx->conn.mem;
    uint32_t rows = weir_batch_rows(batch);
    struct weir_buffer *sel = weir_buffer_create(WEIR_BATCH_ROWS_MAX * sizeof(uint16_t), mem);
    uint32_t count = 0;
    enum weir_rc rc = weir_expr_prog_filter(calc->filter, batch, calc->op.ctx->now_ms, (uint16_t *)(void *)sel->data, &count, err);
    if (rc != WEIR_OK || count == 0 || count == rows) {
        weir_buffer_unref(sel);
        if (rc == WEIR_OK) {
            *out_batch = count == 0 ? NULL : weir_batch_ref(batch);
        }
        return rc;
    }
    *out_batch = weir_batch_select_take(batch, sel, count);
    return WEIR_OK;
}

/* The projected batch under the same selection and row kinds. */
static enum weir_rc apply_project(struct calc *calc, const struct weir_batch *batch, struct weir_batch **out_batch, struct weir_error *err)
{
    struct weir_mem *mem = calc->op.ctx->conn.mem;
    enum weir_rc rc = weir_expr_prog_eval(calc->project, batch, calc->op.ctx->now_ms, mem, calc->cols, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    *out_batch = weir_batch_make_take(calc->op.spec->output, calc->cols, batch->nrows, weir_buffer_ref(batch->sel), batch->nsel,
                                      weir_buffer_ref(batch->row_kinds), mem);
    return WEIR_OK;
}

static enum weir_rc calc_process(struct weir_op *op, uint32_t input, struct weir_batch *batch, struct weir_error *err)
{
    weir_assert(input == 0);
    struct calc *calc = (struct calc *)op;
    struct weir_batch *kept = NULL;
    enum weir_rc rc = WEIR_OK;
    if (calc->filter != NULL) {
        rc = apply_filter(calc, batch, &kept, err);
    } else {
        kept = weir_batch_ref(batch);
    }
    if (rc == WEIR_OK && kept != NULL && calc->project != NULL) {
        struct weir_batch *projected = NULL;
        rc = apply_project(calc, kept, &projected, err);
        weir_batch_unref(kept);
        kept = projected;
    }
    if (rc != WEIR_OK) {
        return weir_error_prefix(err, "%s", op->spec->uid);
    }
    if (kept != NULL) {
        weir_op_emit(op, kept);
    }
    return WEIR_OK;
}

const struct weir_op_vtable weir_calc_op = {
    .name = "calc",
    .op_bytes = sizeof(struct calc),
    .open = calc_open,
    .close = calc_close,
    .process = calc_process,
};
