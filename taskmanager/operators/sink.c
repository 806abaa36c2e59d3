#include "taskmanager/operators/sink.h"

#include "common/base/assert.h"

enum doing { DOING_NOTHING, DOING_WRITE, DOING_FINISH };

struct sink {
    struct weir_op op;
    struct weir_sink *sink;
    struct weir_batch *unwritten; /* DOING_WRITE: offered again by resume */
    enum doing doing;
};

static enum weir_rc sink_open(struct weir_op *op, const struct weir_opspec *spec, struct weir_error *err)
{
    struct sink *sink = (struct sink *)op;
    const struct weir_table_spec *table = spec->u.io.table;
    const struct weir_sink_vtable *vtable = weir_conn_sink(table->connector);
    if (vtable == NULL) {
        return weir_error_set(err, WEIR_UNSUPPORTED, "table %s: this TaskManager has no sink connector \"%s\"", table->name,
                              table->connector);
    }
    return vtable->create(&op->ctx->conn, &sink->sink, err);
}

static void sink_close(struct weir_op *op)
{
    struct sink *sink = (struct sink *)op;
    weir_batch_unref(sink->unwritten);
    if (sink->sink != NULL) {
        sink->sink->vtable->destroy(sink->sink);
    }
}

static enum weir_rc write_batch(struct sink *sink, struct weir_batch *batch, struct weir_error *err)
{
    enum weir_rc rc = sink->sink->vtable->write(sink->sink, batch, err);
    sink->doing = rc == WEIR_AGAIN ? DOING_WRITE : DOING_NOTHING;
    return rc;
}

static enum weir_rc sink_process(struct weir_op *op, uint32_t input, struct weir_batch *batch, struct weir_error *err)
{
    weir_assert(input == 0);
    struct sink *sink = (struct sink *)op;
    enum weir_rc rc = write_batch(sink, batch, err);
    if (rc == WEIR_AGAIN) {
        sink->unwritten = weir_batch_ref(batch);
    }
    return rc;
}

static enum weir_rc sink_end_input(struct weir_op *op, struct weir_error *err)
{
    struct sink *sink = (struct sink *)op;
    enum weir_rc rc = sink->sink->vtable->finish(sink->sink, err);
    sink->doing = rc == WEIR_AGAIN ? DOING_FINISH : DOING_NOTHING;
    return rc;
}

static enum weir_rc sink_resume(struct weir_op *op, struct weir_error *err)
{
    struct sink *sink = (struct sink *)op;
    switch (sink->doing) {
    case DOING_NOTHING:
        return WEIR_OK;
    case DOING_FINISH:
        return sink_end_input(op, err);
    case DOING_WRITE: {
        enum weir_rc rc = write_batch(sink, sink->unwritten, err);
        if (rc != WEIR_AGAIN) {
            weir_batch_unref(sink->unwritten);
            sink->unwritten = NULL;
        }
        return rc;
    }
    }
    weir_assert(false);
}

const struct weir_op_vtable weir_sink_op = {
    .name = "sink",
    .op_bytes = sizeof(struct sink),
    .open = sink_open,
    .close = sink_close,
    .process = sink_process,
    .end_input = sink_end_input,
    .resume = sink_resume,
};
