#include "taskmanager/operators/agg_snap.h"

#include "common/base/assert.h"
#include "taskmanager/state/delta_snap.h"

struct snap_ctx {
    const struct weir_op *op;
    struct weir_agg_set *set;
    bool (*space_fits)(const struct weir_op *op, int64_t space);
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
    weir_agg_set_encode_payload(((struct snap_ctx *)ctx)->set, payload, out);
}

static enum weir_rc decode_payload(void *ctx, struct weir_slice bytes, uint8_t *payload, struct weir_error *err)
{
    return weir_agg_set_decode_payload(((struct snap_ctx *)ctx)->set, bytes, payload, err);
}

static bool space_fits(void *ctx, int64_t space)
{
    struct snap_ctx *snap = ctx;
    return snap->space_fits(snap->op, space);
}

static struct weir_delta_codec codec_of(struct snap_ctx *ctx)
{
    const struct weir_op_ctx *op_ctx = ctx->op->ctx;
    return (struct weir_delta_codec){
        .subtask = op_ctx->conn.subtask,
        .parallelism = op_ctx->conn.parallelism,
        .max_parallelism = op_ctx->max_parallelism,
        .mem = op_ctx->conn.mem,
        .encode = encode_payload,
        .decode = decode_payload,
        .space_fits = space_fits,
        .ctx = ctx,
    };
}

void weir_agg_snap_encode(const struct weir_op *op, struct weir_agg_set *set, const struct weir_delta *state, struct weir_buf *out)
{
    struct weir_buf shape = {0};
    put_shape(op->spec, &shape);
    weir_buf_put_bytes(out, weir_buf_slice(&shape));
    weir_buf_fini(&shape);
    struct snap_ctx ctx = {.op = op, .set = set};
    struct weir_delta_codec codec = codec_of(&ctx);
    weir_delta_encode(state, &codec, out);
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

enum weir_rc weir_agg_snap_decode(const struct weir_op *op, struct weir_agg_set *set, struct weir_delta *state, struct weir_slice bytes,
                                  bool (*fits)(const struct weir_op *op, int64_t space), struct weir_error *err)
{
    weir_assert(weir_delta_entries(state) == 0);
    struct weir_reader reader = weir_reader(bytes);
    struct weir_slice shape = weir_read_bytes(&reader);
    if (reader.failed) {
        return weir_error_set(err, WEIR_CORRUPT, "the state ends within its first %zu bytes", bytes.len);
    }
    enum weir_rc rc = check_shape(op, shape, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct snap_ctx ctx = {.op = op, .set = set, .space_fits = fits};
    struct weir_delta_codec codec = codec_of(&ctx);
    uint64_t before = weir_delta_bytes(state);
    rc = weir_delta_decode(state, &codec, reader.rest, err);
    *op->ctx->state_bytes += weir_delta_bytes(state) - before;
    return rc;
}
