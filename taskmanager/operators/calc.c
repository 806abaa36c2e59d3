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
    /* A batch whose strings grow too long together is done in parts. */
    struct weir_batch *rest; /* NULL: none is under way */
    uint32_t at, step;       /* rows of it done; rows at a time */
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
    weir_batch_unref(calc->rest);
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

static enum weir_rc calc_part(struct calc *calc, struct weir_batch *batch, struct weir_error *err)
{
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
    if (rc == WEIR_OK && kept != NULL) {
        weir_op_emit(&calc->op, kept);
    }
    return rc;
}

/* Rows at .. at + count of the batch. A new reference. */
static struct weir_batch *rows_of(const struct calc *calc, const struct weir_batch *batch, uint32_t at, uint32_t count)
{
    struct weir_buffer *sel = weir_buffer_create(count * sizeof(uint16_t), calc->op.ctx->conn.mem);
    uint16_t *rows = (uint16_t *)(void *)sel->data;
    const uint16_t *chosen = weir_batch_sel(batch);
    for (uint32_t i = 0; i < count; i++) {
        rows[i] = chosen != NULL ? chosen[at + i] : (uint16_t)(at + i);
    }
    return weir_batch_select_take(batch, sel, count);
}

static enum weir_rc calc_resume(struct weir_op *op, struct weir_error *err)
{
    struct calc *calc = (struct calc *)op;
    uint32_t rows = weir_batch_rows(calc->rest);
    enum weir_rc rc = WEIR_OK;
    while (rc == WEIR_OK && calc->at < rows) {
        if (!op->ctx->output_ready(op->ctx->emit_ctx)) {
            return WEIR_AGAIN;
        }
        uint32_t count = rows - calc->at < calc->step ? rows - calc->at : calc->step;
        struct weir_batch *part = rows_of(calc, calc->rest, calc->at, count);
        rc = calc_part(calc, part, err);
        weir_batch_unref(part);
        if (rc == WEIR_OK) {
            calc->at += count;
        } else if (rc == WEIR_LIMIT && count > 1) {
            calc->step = count / 2;
            rc = WEIR_OK;
        }
    }
    weir_batch_unref(calc->rest);
    calc->rest = NULL;
    return rc == WEIR_OK ? rc : weir_error_prefix(err, "%s", op->spec->uid);
}

static enum weir_rc calc_process(struct weir_op *op, uint32_t input, struct weir_batch *batch, struct weir_error *err)
{
    weir_assert(input == 0);
    struct calc *calc = (struct calc *)op;
    enum weir_rc rc = calc_part(calc, batch, err);
    uint32_t rows = weir_batch_rows(batch);
    if (rc == WEIR_LIMIT && rows > 1) {
        calc->rest = weir_batch_ref(batch);
        calc->at = 0;
        calc->step = rows / 2;
        return calc_resume(op, err);
    }
    return rc == WEIR_OK ? rc : weir_error_prefix(err, "%s", op->spec->uid);
}

const struct weir_op_vtable weir_calc_op = {
    .name = "calc",
    .op_bytes = sizeof(struct calc),
    .open = calc_open,
    .close = calc_close,
    .process = calc_process,
    .resume = calc_resume,
};
