/* The sink "blackhole": takes every row and keeps none, so checkpoints mean nothing to it. */
#include "taskmanager/connectors/conn_registry.h"

static enum weir_rc create(const struct weir_conn_ctx *ctx, struct weir_sink **out_sink, struct weir_error *err)
{
    (void)ctx;
    (void)err;
    *out_sink = weir_calloc(1, sizeof(**out_sink));
    (*out_sink)->vtable = &weir__blackhole_sink;
    return WEIR_OK;
}

static void destroy(struct weir_sink *sink)
{
    weir_free(sink);
}

static enum weir_rc write_batch(struct weir_sink *sink, const struct weir_batch *batch, struct weir_error *err)
{
    (void)sink;
    (void)batch;
    (void)err;
    return WEIR_OK;
}

static enum weir_rc finish(struct weir_sink *sink, struct weir_error *err)
{
    (void)sink;
    (void)err;
    return WEIR_OK;
}

const struct weir_sink_vtable weir__blackhole_sink = {
    .connector = "blackhole",
    .create = create,
    .destroy = destroy,
    .write = write_batch,
    .finish = finish,
};
