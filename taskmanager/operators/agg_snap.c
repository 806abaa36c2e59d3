#include "taskmanager/operators/agg_snap.h"

#include "taskmanager/state/keyed.h"

struct weir_agg_snap {
    const struct weir_op *op;
    struct weir_agg_set *set;
    struct weir_delta *state;
    struct weir_keyed *keyed;
    bool (*fits)(const struct weir_op *op, int64_t space);
};

/* What the state is of, as text: keys, aggregates and windows that may not change under it. */
static void put_shape(const struct weir_opspec *spec, struct weir_buf *out)
{
    const struct weir_schema *raw = spec->u.agg.raw_input;
    weir_buf_put_str(out, "keys (");
    for (uint32_t i = 0; i < spec->u.agg.nkeys; i++) {
        struct weir_type type = weir_schema_field(raw, spec->u.agg.keys[i])->type;
        type.not_null = false;
        weir_buf_put_fmt(out, "%s%s", i == 0 ? "" : ", ", weir_type_text(type).text);
    }
    weir_buf_put_str(out, "), aggregates (");
    for (uint32_t i = 0; i < spec->u.agg.ncalls; i++) {
        const struct weir_expr *expr = spec->u.agg.calls[i].expr;
        weir_buf_put_fmt(out, "%s%s(", i == 0 ? "" : ", ", expr->name);
        if (expr->nargs > 0) {
            struct weir_type type = expr->args[0]->type;
            type.not_null = false;
            weir_buf_put_str(out, weir_type_text(type).text);
        }
        weir_buf_put_str(out, ")");
    }
    weir_buf_put_str(out, ")");
    const struct weir_window_spec *window = &spec->u.agg.window;
    if (window->kind != WEIR_WINDOW_NONE) {
        weir_buf_put_fmt(out, ", windows of %lld ms", (long long)window->size_ms);
        if (window->kind == WEIR_WINDOW_HOP) {
            weir_buf_put_fmt(out, " every %lld ms", (long long)window->slide_ms);
        }
        weir_buf_put_fmt(out, " at %lld ms", (long long)window->offset_ms);
    }
}

static void encode_payload(void *ctx, const uint8_t *payload, struct weir_buf *out)
{
    weir_agg_set_encode_payload(((struct weir_agg_snap *)ctx)->set, payload, out);
}

static enum weir_rc decode_payload(void *ctx, struct weir_slice bytes, uint8_t *payload, struct weir_error *err)
{
    return weir_agg_set_decode_payload(((struct weir_agg_snap *)ctx)->set, bytes, payload, err);
}

static bool space_fits(void *ctx, int64_t space)
{
    struct weir_agg_snap *snap = ctx;
    return snap->fits(snap->op, space);
}

struct weir_agg_snap *weir_agg_snap_create(const struct weir_op *op, struct weir_agg_set *set, struct weir_delta *state,
                                           bool (*fits)(const struct weir_op *op, int64_t space))
{
    struct weir_agg_snap *snap = weir_calloc(1, sizeof(*snap));
    const struct weir_conn_ctx *conn = &op->ctx->conn;
    *snap = (struct weir_agg_snap){.op = op, .set = set, .state = state, .fits = fits};
    struct weir_delta_codec codec = {
        .subtask = conn->subtask,
        .parallelism = conn->parallelism,
        .max_parallelism = op->ctx->max_parallelism,
        .mem = conn->mem,
        .encode = encode_payload,
        .decode = decode_payload,
        .space_fits = space_fits,
        .ctx = snap,
    };
    struct weir_keyed_env env = {
        .backend = op->ctx->backend,
        .executor = conn->executor,
        .fs = conn->fs,
        .mem = conn->mem,
        .checkpoints_dir = conn->checkpoints_dir,
        .job_id = conn->job_id,
        .uid = conn->uid,
        .attempt = conn->attempt,
        .vertex = conn->vertex,
    };
    snap->keyed = weir_keyed_create(state, &codec, &env);
    return snap;
}

void weir_agg_snap_destroy(struct weir_agg_snap *snap)
{
    if (snap != NULL) {
        weir_keyed_destroy(snap->keyed);
        weir_free(snap);
    }
}

void weir_agg_snap_begin(struct weir_agg_snap *snap, uint64_t checkpoint, struct weir_buf *out)
{
    struct weir_buf shape = {0};
    put_shape(snap->op->spec, &shape);
    weir_buf_put_bytes(out, weir_buf_slice(&shape));
    weir_buf_fini(&shape);
    weir_keyed_snapshot(snap->keyed, checkpoint, out);
}

enum weir_rc weir_agg_snap_background(struct weir_agg_snap *snap, struct weir_buf *out, bool *out_any, struct weir_error *err)
{
    enum weir_rc rc = weir_keyed_background(snap->keyed, out, out_any, err);
    if (rc == WEIR_OK && snap->op->ctx->files != NULL) {
        snap->op->ctx->files->bytes += weir_keyed_files_bytes(snap->keyed);
        snap->op->ctx->files->new_bytes += weir_keyed_new_bytes(snap->keyed);
    }
    return rc;
}

void weir_agg_snap_notify(struct weir_agg_snap *snap, uint64_t checkpoint)
{
    weir_keyed_notify(snap->keyed, checkpoint);
}

static enum weir_rc check_shape(const struct weir_op *op, struct weir_slice shape, struct weir_error *err)
{
    struct weir_buf own = {0};
    put_shape(op->spec, &own);
    enum weir_rc rc = WEIR_OK;
    if (!weir_slice_eq(shape, weir_buf_slice(&own))) {
        struct weir_slice shown = weir_slice(shape.data, shape.len < 160 ? shape.len : 160);
        rc = weir_error_set(err, WEIR_INVALID, "the state is of %.*s, but the job has %.*s now", WEIR_SLICE_ARG(shown),
                            WEIR_SLICE_ARG(weir_buf_slice(&own)));
    }
    weir_buf_fini(&own);
    return rc;
}

enum weir_rc weir_agg_snap_restore(struct weir_agg_snap *snap, uint64_t checkpoint, struct weir_slice bytes, struct weir_error *err)
{
    struct weir_reader reader = weir_reader(bytes);
    struct weir_slice shape = weir_read_bytes(&reader);
    if (reader.failed) {
        return weir_error_set(err, WEIR_CORRUPT, "the state ends within its first %zu bytes", bytes.len);
    }
    enum weir_rc rc = check_shape(snap->op, shape, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    uint64_t before = weir_delta_bytes(snap->state);
    rc = weir_keyed_restore(snap->keyed, checkpoint, snap->op->ctx->part.dir, reader.rest, err);
    *snap->op->ctx->state_bytes += weir_delta_bytes(snap->state) - before;
    return rc;
}

enum weir_rc weir_agg_snap_resume(struct weir_agg_snap *snap, struct weir_error *err)
{
    uint64_t before = weir_delta_bytes(snap->state);
    enum weir_rc rc = weir_keyed_resume(snap->keyed, err);
    *snap->op->ctx->state_bytes += weir_delta_bytes(snap->state) - before;
    return rc;
}

enum weir_rc weir_agg_snap_restored(const struct weir_agg_snap *snap, struct weir_error *err)
{
    return weir_keyed_restored(snap->keyed, err);
}
