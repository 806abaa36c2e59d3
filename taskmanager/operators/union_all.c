#include "taskmanager/operators/union_all.h"

static enum weir_rc union_open(struct weir_op *op, const struct weir_opspec *spec, struct weir_error *err)
{
    (void)op;
    (void)spec;
    (void)err;
    return WEIR_OK;
}

static void union_close(struct weir_op *op)
{
    (void)op;
}

/* Watermarks and the end are merged by the gate in front: here the rows only pass. */
static enum weir_rc union_process(struct weir_op *op, uint32_t input, struct weir_batch *batch, struct weir_error *err)
{
    (void)input;
    (void)err;
    weir_op_emit(op, weir_batch_ref(batch));
    return WEIR_OK;
}

const struct weir_op_vtable weir_union_all_op = {
    .name = "union_all",
    .op_bytes = sizeof(struct weir_op),
    .open = union_open,
    .close = union_close,
    .process = union_process,
};
