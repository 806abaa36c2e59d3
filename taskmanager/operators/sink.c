#include "taskmanager/operators/sink.h"

#include "common/base/assert.h"

#include <inttypes.h>

enum doing { DOING_NOTHING, DOING_WRITE, DOING_FINISH, DOING_PREPARE, DOING_COMMIT, DOING_RESTORE, DOING_DRAIN };

struct sink {
    struct weir_op op;
    struct weir_sink *sink;
    enum doing doing; /* what said AGAIN; resume calls it again with: */
    struct weir_batch *unwritten; /* WRITE */
    uint64_t checkpoint;          /* PREPARE, COMMIT, RESTORE */
    struct weir_buf *out;         /* PREPARE; the chain's */
    struct weir_buf state;        /* RESTORE; a copy, since the caller's lasts for the call */
    bool last;                    /* RESTORE */
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
    weir_buf_fini(&sink->state);
    if (sink->sink != NULL) {
        sink->sink->vtable->destroy(sink->sink);
    }
}

/* Calls the connector for what is being done; afterwards nothing is, unless it said AGAIN. */
static enum weir_rc go_on(struct sink *sink, struct weir_error *err)
{
    struct weir_sink *conn = sink->sink;
    enum weir_rc rc = WEIR_OK;
    switch (sink->doing) {
    case DOING_NOTHING: break;
    case DOING_WRITE: rc = conn->vtable->write(conn, sink->unwritten, err); break;
    case DOING_FINISH: rc = conn->vtable->finish(conn, err); break;
    case DOING_PREPARE: rc = conn->vtable->prepare(conn, sink->checkpoint, sink->out, err); break;
    case DOING_COMMIT: rc = conn->vtable->commit(conn, sink->checkpoint, err); break;
    case DOING_RESTORE: rc = conn->vtable->restore(conn, sink->checkpoint, weir_buf_slice(&sink->state), sink->last, err); break;
    case DOING_DRAIN: rc = conn->vtable->drain(conn, err); break;
    }
    if (rc != WEIR_AGAIN) {
        sink->doing = DOING_NOTHING;
        weir_batch_unref(sink->unwritten);
        sink->unwritten = NULL;
        sink->out = NULL;
        weir_buf_fini(&sink->state);
    }
    return rc;
}

static enum weir_rc begin(struct sink *sink, enum doing doing, uint64_t checkpoint, struct weir_error *err)
{
    weir_assert(sink->doing == DOING_NOTHING);
    sink->doing = doing;
    sink->checkpoint = checkpoint;
    return go_on(sink, err);
}

static enum weir_rc sink_process(struct weir_op *op, uint32_t input, struct weir_batch *batch, struct weir_error *err)
{
    weir_assert(input == 0);
    struct sink *sink = (struct sink *)op;
    sink->unwritten = weir_batch_ref(batch);
    return begin(sink, DOING_WRITE, 0, err);
}

static enum weir_rc sink_end_input(struct weir_op *op, struct weir_error *err)
{
    struct sink *sink = (struct sink *)op;
    bool checkpoint_follows = op->ctx->conn.settings->checkpoint_interval_ms > 0;
    if (checkpoint_follows && sink->sink->vtable->prepare != NULL) {
        return WEIR_OK; /* it commits */
    }
    return begin(sink, DOING_FINISH, 0, err);
}

static enum weir_rc sink_snapshot(struct weir_op *op, uint64_t checkpoint, struct weir_buf *out, struct weir_error *err)
{
    struct sink *sink = (struct sink *)op;
    if (sink->sink->vtable->prepare == NULL) {
        return WEIR_OK;
    }
    sink->out = out;
    return begin(sink, DOING_PREPARE, checkpoint, err);
}

static enum weir_rc sink_restore(struct weir_op *op, uint64_t checkpoint, struct weir_slice state, struct weir_error *err)
{
    struct sink *sink = (struct sink *)op;
    const struct weir_sink_vtable *vtable = sink->sink->vtable;
    const struct weir_op_part *part = &op->ctx->part;
    uint32_t parallelism = op->ctx->conn.parallelism;
    if (part->subtask % parallelism != op->ctx->conn.subtask) {
        return WEIR_OK; /* another subtask takes it */
    }
    if (vtable->restore == NULL) {
        return state.len == 0 ? WEIR_OK
                              : weir_error_set(err, WEIR_CORRUPT,
                                               "table %s: checkpoint %" PRIu64 " holds %zu bytes of a sink's state, but the connector \"%s\" "
                                               "has none: was the table's connector changed?",
                                               op->spec->u.io.table->name, checkpoint, state.len, vtable->connector);
    }
    weir_buf_put_slice(&sink->state, state);
    sink->last = part->subtask + parallelism >= part->parallelism;
    return begin(sink, DOING_RESTORE, checkpoint, err);
}

static enum weir_rc sink_notify(struct weir_op *op, uint64_t checkpoint, struct weir_error *err)
{
    struct sink *sink = (struct sink *)op;
    return sink->sink->vtable->commit == NULL ? WEIR_OK : begin(sink, DOING_COMMIT, checkpoint, err);
}

static enum weir_rc sink_drain(struct weir_op *op, struct weir_error *err)
{
    struct sink *sink = (struct sink *)op;
    return sink->sink->vtable->drain == NULL ? WEIR_OK : begin(sink, DOING_DRAIN, 0, err);
}

static enum weir_rc sink_resume(struct weir_op *op, struct weir_error *err)
{
    return go_on((struct sink *)op, err);
}

const struct weir_op_vtable weir_sink_op = {
    .name = "sink",
    .op_bytes = sizeof(struct sink),
    .open = sink_open,
    .close = sink_close,
    .process = sink_process,
    .end_input = sink_end_input,
    .snapshot = sink_snapshot,
    .restore = sink_restore,
    .notify = sink_notify,
    .drain = sink_drain,
    .resume = sink_resume,
};
