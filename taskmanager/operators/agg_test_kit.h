/*
 * For the tests of the aggregating operators: an operator driven by hand, and batches of random rows.
 */
#ifndef WEIR_TASKMANAGER_OPERATORS_AGG_TEST_KIT_H
#define WEIR_TASKMANAGER_OPERATORS_AGG_TEST_KIT_H

#include "common/data/batch_wire.h"
#include "common/fs/fs_sim.h"
#include "common/plan/agg_partial.h"
#include "taskmanager/operators/agg_model_test_kit.h"
#include "taskmanager/operators/op.h"
#include "tests/lib/plain_store.h"

/* --- operators -------------------------------------------------------------------------------------------------------- */

struct kit {
    struct weir_executor executor; /* runs at once */
    struct weir_fs *fs;            /* with kit_use_store */
    struct weir_state_backend *backend;
    struct weir_mem *mem;
    struct weir_arena *arena;
    struct weir_schema *raw;
    struct weir_schema *partial;
    struct weir_schema *output;
    struct weir_agg_call calls[KIT_CALLS];
    uint32_t call_numbers[KIT_CALLS];
    uint32_t ncalls;
    uint32_t nkeys;
    struct weir_window_spec window;
    struct weir_rand rand;
    uint64_t late;
    uint64_t state_bytes;
};

static const uint32_t kit_key_columns[2] = {COL_K, COL_KID};

static inline void kit_init(struct kit *kit, uint64_t seed, const uint32_t *calls, uint32_t ncalls, uint32_t nkeys,
                            struct weir_window_spec window)
{
    static const struct {
        const char *name, *type;
    } columns[COL_COUNT] = {{"k", "STRING"}, {"kid", "INT"},  {"ts", "TIMESTAMP_LTZ(3)"}, {"v", "DOUBLE"},
                            {"n", "BIGINT"}, {"s", "STRING"}, {"d", "DECIMAL(10, 2)"},   {"b", "BOOLEAN"}};
    *kit = (struct kit){.ncalls = ncalls, .nkeys = nkeys, .window = window};
    kit->window.time_column = COL_TS;
    weir_rand_init(&kit->rand, seed);
    kit->mem = weir_mem_create("kit", 0, NULL);
    kit->arena = weir_arena_create(0);
    struct weir_error err = {0};
    struct weir_field fields[COL_COUNT];
    for (int i = 0; i < COL_COUNT; i++) {
        fields[i].name = columns[i].name;
        ck_assert_int_eq(weir_type_parse(weir_slice_str(columns[i].type), &fields[i].type, &err), WEIR_OK);
    }
    ck_assert_int_eq(weir_schema_create(fields, COL_COUNT, COL_TS, &kit->raw, &err), WEIR_OK);
    for (uint32_t i = 0; i < ncalls; i++) {
        struct weir_expr *parsed = NULL;
        struct weir_expr *bound = NULL;
        ck_assert_msg(weir_expr_parse(weir_slice_str(kit_calls[calls[i]]), kit->arena, &parsed, &err) == WEIR_OK, "%s", err.text);
        ck_assert_msg(weir_expr_bind_agg(parsed, kit->raw, kit->arena, &bound, &err) == WEIR_OK, "%s", err.text);
        kit->calls[i] = (struct weir_agg_call){.name = weir_arena_fmt(kit->arena, "a%u", i), .expr = bound};
        kit->call_numbers[i] = calls[i];
    }
    bool windowed = window.kind != WEIR_WINDOW_NONE;
    ck_assert_int_eq(weir_agg_partial_schema(kit->raw, kit_key_columns, nkeys, windowed, &kit->partial, &err), WEIR_OK);
    ck_assert_int_eq(weir_agg_output_schema(kit->raw, kit_key_columns, nkeys, kit->calls, ncalls, windowed, &kit->output, &err), WEIR_OK);
}

static inline void kit_execute(struct weir_executor *executor, struct weir_work *work)
{
    (void)executor;
    work->run(work);
    work->in_flight = false;
    work->done(work);
}

/* Snapshots of operators opened from now on go to a store. */
static inline void kit_use_store(struct kit *kit)
{
    struct weir_error err;
    kit->executor.submit = kit_execute;
    kit->fs = weir_fs_sim_create();
    kit->backend = weir_plain_backend_create(kit->fs, "/tmp", 0);
    ck_assert_int_eq(weir_fs_mkdirs(kit->fs, "/ckpt/job/chk-7", &err), WEIR_OK);
}

static inline void kit_fini(struct kit *kit)
{
    weir_plain_backend_destroy(kit->backend);
    weir_fs_sim_destroy(kit->fs);
    weir_schema_unref(kit->raw);
    weir_schema_unref(kit->partial);
    weir_schema_unref(kit->output);
    weir_arena_destroy(kit->arena);
    weir_mem_destroy(kit->mem);
}

struct kit_op {
    struct weir_op *op;
    struct weir_opspec spec;
    struct weir_op_ctx ctx;
    bool ready_at_random;
    struct kit *kit;
    struct weir_batch *out[4096]; /* emitted, not looked at yet */
    uint32_t nout;
};

static inline void kit_emit(void *emit_ctx, struct weir_batch *batch)
{
    struct kit_op *kit_op = emit_ctx;
    ck_assert_uint_lt(kit_op->nout, 4096);
    ck_assert_uint_gt(weir_batch_rows(batch), 0);
    kit_op->out[kit_op->nout++] = batch;
}

static inline bool kit_ready(void *emit_ctx)
{
    struct kit_op *kit_op = emit_ctx;
    return !kit_op->ready_at_random || weir_rand_below(&kit_op->kit->rand, 3) != 0;
}

static inline void kit_open(struct kit *kit, struct kit_op *kit_op, const struct weir_op_vtable *vtable, enum weir_op_tag tag, bool partial)
{
    *kit_op = (struct kit_op){.kit = kit, .ready_at_random = true};
    kit_op->spec = (struct weir_opspec){.tag = tag, .uid = vtable->name, .name = vtable->name};
    kit_op->spec.input = partial ? kit->partial : kit->raw;
    kit_op->spec.output = tag == WEIR_OP_LOCAL_AGG ? kit->partial : kit->output;
    kit_op->spec.u.agg.raw_input = kit->raw;
    kit_op->spec.u.agg.keys = kit_key_columns;
    kit_op->spec.u.agg.nkeys = kit->nkeys;
    kit_op->spec.u.agg.calls = kit->calls;
    kit_op->spec.u.agg.ncalls = kit->ncalls;
    kit_op->spec.u.agg.window = kit->window;
    kit_op->spec.u.agg.partial = partial;
    kit_op->ctx = (struct weir_op_ctx){.conn = {.mem = kit->mem,
                                                .parallelism = 1,
                                                .executor = &kit->executor,
                                                .fs = kit->fs,
                                                .checkpoints_dir = "/ckpt",
                                                .job_id = "job",
                                                .uid = "op"},
                                       .backend = kit->backend,
                                       .part = {.dir = "/ckpt/job/chk-7"},
                                       .max_parallelism = 128,
                                       .late_dropped = &kit->late,
                                       .state_bytes = &kit->state_bytes,
                                       .emit = kit_emit,
                                       .emit_ctx = kit_op,
                                       .output_ready = kit_ready};
    kit_op->op = weir_calloc(1, vtable->op_bytes);
    kit_op->op->vtable = vtable;
    kit_op->op->spec = &kit_op->spec;
    kit_op->op->ctx = &kit_op->ctx;
    struct weir_error err = {0};
    ck_assert_msg(vtable->open(kit_op->op, &kit_op->spec, &err) == WEIR_OK, "%s", err.text);
}

static inline void kit_close(struct kit_op *kit_op)
{
    for (uint32_t i = 0; i < kit_op->nout; i++) {
        weir_batch_unref(kit_op->out[i]);
    }
    kit_op->op->vtable->close(kit_op->op);
    weir_free(kit_op->op);
}

/* Sees a hook through to its end. */
static inline void kit_finish(struct kit_op *kit_op, enum weir_rc rc, struct weir_error *err)
{
    while (rc == WEIR_AGAIN) {
        rc = kit_op->op->vtable->resume(kit_op->op, err);
    }
    ck_assert_msg(rc == WEIR_OK, "%s", err->text);
}

static inline void kit_process_take(struct kit_op *kit_op, struct weir_batch *batch)
{
    struct weir_error err = {0};
    kit_finish(kit_op, kit_op->op->vtable->process(kit_op->op, 0, batch, &err), &err);
    weir_batch_unref(batch);
}

static inline void kit_flush(struct kit_op *kit_op)
{
    struct weir_error err = {0};
    kit_finish(kit_op, kit_op->op->vtable->flush(kit_op->op, &err), &err);
}

static inline void kit_watermark(struct kit_op *kit_op, int64_t watermark_ms)
{
    struct weir_error err = {0};
    kit_finish(kit_op, kit_op->op->vtable->watermark(kit_op->op, watermark_ms, &err), &err);
}

/* Hands what `from` emitted to `to`, half of it over the wire. */
static inline void kit_pass_on(struct kit_op *from, struct kit_op *to)
{
    for (uint32_t i = 0; i < from->nout; i++) {
        struct weir_batch *batch = from->out[i];
        if (weir_rand_below(&to->kit->rand, 2) == 0) {
            struct weir_buf wire = {0};
            struct weir_error err = {0};
            weir_batch_encode(batch, &wire);
            weir_batch_unref(batch);
            ck_assert_int_eq(weir_batch_decode(weir_buf_slice(&wire), to->spec.input, to->kit->mem, &batch, &err), WEIR_OK);
            weir_buf_fini(&wire);
        }
        kit_process_take(to, batch);
    }
    from->nout = 0;
}

static inline void kit_put_row(struct weir_batch_builder *builder, uint32_t at, const struct kit_row *row)
{
    char text[64];
    struct weir_column_builder *cols = builder->cols;
    if (row->key == 0) {
        weir_column_builder_put_null(&cols[COL_K], at);
    } else {
        weir_column_builder_put_str(&cols[COL_K], at, kit_text("key", row->key, text));
    }
    ((int32_t *)(void *)cols[COL_KID].values)[at] = row->key;
    ((int64_t *)(void *)cols[COL_TS].values)[at] = row->time_ms * 1000 + 321;
    if (row->has_v) {
        ((double *)(void *)cols[COL_V].values)[at] = row->v;
    } else {
        weir_column_builder_put_null(&cols[COL_V], at);
    }
    if (row->has_n) {
        ((int64_t *)(void *)cols[COL_N].values)[at] = row->n;
    } else {
        weir_column_builder_put_null(&cols[COL_N], at);
    }
    if (row->s >= 0) {
        weir_column_builder_put_str(&cols[COL_S], at, kit_text("s", row->s, text));
    } else {
        weir_column_builder_put_null(&cols[COL_S], at);
    }
    ((__int128 *)(void *)cols[COL_D].values)[at] = row->d;
    if (row->b == 2) {
        weir_column_builder_put_null(&cols[COL_B], at);
    } else {
        weir_column_builder_put_bool(&cols[COL_B], at, row->b == 1);
    }
    if (row->sign < 0) {
        weir_batch_builder_set_kind(builder, at, at % 2 == 0 ? WEIR_DELETE : WEIR_UPDATE_BEFORE);
    }
}

/* The rows as a batch; sometimes with rows between them that a selection leaves out (without time, with impossible values). */
static inline struct weir_batch *kit_batch(struct kit *kit, const struct kit_row *rows, uint32_t count)
{
    struct weir_batch_builder builder;
    bool spread = count <= WEIR_BATCH_ROWS_MAX / 2 && weir_rand_below(&kit->rand, 3) == 0;
    uint32_t step = spread ? 2 : 1;
    weir_batch_builder_init(&builder, kit->raw, count * step, kit->mem);
    for (uint32_t i = 0; i < count * step; i++) {
        if (spread && i % 2 == 0) {
            for (uint32_t c = 0; c < COL_COUNT; c++) {
                weir_column_builder_put_null(&builder.cols[c], i);
            }
        } else {
            kit_put_row(&builder, i, &rows[i / step]);
        }
        builder.nrows++;
    }
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    weir_batch_builder_fini(&builder);
    if (!spread) {
        return batch;
    }
    struct weir_buffer *sel = weir_buffer_create(count * sizeof(uint16_t), kit->mem);
    for (uint32_t i = 0; i < count; i++) {
        ((uint16_t *)(void *)sel->data)[i] = (uint16_t)(i * 2 + 1);
    }
    struct weir_batch *selected = weir_batch_select_take(batch, sel, count);
    weir_batch_unref(batch);
    return selected;
}

#endif
