#include "taskmanager/operators/agg_set.h"

#include "common/base/assert.h"
#include "common/expr/agg.h"
#include "common/expr/expr_prog.h"

/* Where an aggregate's argument comes from. */
enum arg_kind {
    ARG_NONE,     /* COUNT(*) */
    ARG_COLUMN,   /* a column of the input as it is */
    ARG_SHARED,   /* output `arg` of the program that all unfiltered calls share */
    ARG_FILTERED, /* a program of its own, run over the rows that pass the filter */
};

struct call {
    const struct weir_agg *agg;
    uint32_t offset; /* of the accumulator in the payload */
    enum arg_kind arg_kind;
    uint32_t arg; /* COLUMN: of the input; SHARED: of the program's outputs */
    struct weir_expr_prog *arg_prog;
    struct weir_expr_prog *filter; /* NULL: all rows */
};

struct weir_agg_set {
    struct call *calls;
    uint32_t ncalls;
    uint32_t payload_bytes;
    bool all_retractable;
    bool needs_release;
    const char *not_retractable; /* an aggregate's name, for the message */
    struct weir_agg_heap *heap;
    struct weir_mem *mem;
    struct weir_expr_prog *shared; /* NULL: no call needs it */
    struct weir_column *shared_cols;
    uint32_t nshared;
    uint8_t *scratch; /* one payload */
    /* one batch's */
    uint16_t rows[WEIR_BATCH_ROWS_MAX]; /* logical rows as physical ones */
    int8_t signs[WEIR_BATCH_ROWS_MAX];
    uint16_t passed[WEIR_BATCH_ROWS_MAX];
    int8_t passed_signs[WEIR_BATCH_ROWS_MAX];
    uint8_t *passed_payloads[WEIR_BATCH_ROWS_MAX];
    uint16_t logical[WEIR_BATCH_ROWS_MAX]; /* physical row -> logical row */
};

static enum weir_rc open_call(struct weir_agg_set *set, struct call *call, const struct weir_agg_call *spec,
                              const struct weir_schema *raw_input, struct weir_error *err)
{
    const struct weir_expr *expr = spec->expr;
    enum weir_rc rc = weir_agg_find(expr, &call->agg, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    weir_assert(call->agg->acc_bytes % 8 == 0);
    call->offset = set->payload_bytes;
    set->payload_bytes += call->agg->acc_bytes;
    if (!call->agg->retractable) {
        set->all_retractable = false;
        set->not_retractable = expr->name;
    }
    set->needs_release = set->needs_release || call->agg->uses_heap;
    if (expr->filter != NULL) {
        const struct weir_expr *filter = expr->filter;
        rc = weir_expr_prog_create(&filter, 1, raw_input, &call->filter, err);
    }
    if (rc != WEIR_OK || expr->nargs == 0) {
        call->arg_kind = ARG_NONE;
        return rc;
    }
    const struct weir_expr *arg = expr->args[0];
    if (arg->kind == WEIR_EXPR_COLUMN) {
        call->arg_kind = ARG_COLUMN;
        call->arg = arg->column;
    } else if (expr->filter == NULL) {
        call->arg_kind = ARG_SHARED;
        call->arg = set->nshared++;
    } else {
        call->arg_kind = ARG_FILTERED;
        rc = weir_expr_prog_create(&arg, 1, raw_input, &call->arg_prog, err);
    }
    return rc;
}

/* The program of the unfiltered calls' arguments. */
static enum weir_rc open_shared(struct weir_agg_set *set, const struct weir_agg_call *specs, const struct weir_schema *raw_input,
                                struct weir_error *err)
{
    if (set->nshared == 0) {
        return WEIR_OK;
    }
    const struct weir_expr **exprs = weir_calloc(set->nshared, sizeof(struct weir_expr *));
    for (uint32_t i = 0; i < set->ncalls; i++) {
        if (set->calls[i].arg_kind == ARG_SHARED) {
            exprs[set->calls[i].arg] = specs[i].expr->args[0];
        }
    }
    set->shared_cols = weir_calloc(set->nshared, sizeof(*set->shared_cols));
    enum weir_rc rc = weir_expr_prog_create(exprs, set->nshared, raw_input, &set->shared, err);
    weir_free(exprs);
    return rc;
}

enum weir_rc weir_agg_set_create(const struct weir_agg_call *calls, uint32_t ncalls, const struct weir_schema *raw_input,
                                 uint32_t header_bytes, struct weir_mem *mem, struct weir_agg_set **out_set, struct weir_error *err)
{
    weir_assert(header_bytes % 8 == 0);
    struct weir_agg_set *set = weir_calloc(1, sizeof(*set));
    set->calls = weir_calloc(ncalls, sizeof(*set->calls));
    set->ncalls = ncalls;
    set->payload_bytes = (uint32_t)sizeof(int64_t) + header_bytes;
    set->all_retractable = true;
    set->mem = mem;
    enum weir_rc rc = WEIR_OK;
    for (uint32_t i = 0; i < ncalls && rc == WEIR_OK; i++) {
        rc = open_call(set, &set->calls[i], &calls[i], raw_input, err);
        if (rc != WEIR_OK) {
            rc = weir_error_prefix(err, "aggregate %s", calls[i].name);
        }
    }
    if (rc == WEIR_OK) {
        rc = open_shared(set, calls, raw_input, err);
    }
    if (rc != WEIR_OK) {
        weir_agg_set_destroy(set);
        return rc;
    }
    if (set->needs_release) {
        set->heap = weir_agg_heap_create(mem);
    }
    set->scratch = weir_calloc(1, set->payload_bytes);
    *out_set = set;
    return WEIR_OK;
}

void weir_agg_set_destroy(struct weir_agg_set *set)
{
    if (set == NULL) {
        return;
    }
    for (uint32_t i = 0; i < set->ncalls; i++) {
        weir_expr_prog_destroy(set->calls[i].arg_prog);
        weir_expr_prog_destroy(set->calls[i].filter);
    }
    weir_expr_prog_destroy(set->shared);
    if (set->heap != NULL) {
        weir_agg_heap_destroy(set->heap);
    }
    weir_free(set->shared_cols);
    weir_free(set->scratch);
    weir_free(set->calls);
    weir_free(set);
}

uint32_t weir_agg_set_payload_bytes(const struct weir_agg_set *set)
{
    return set->payload_bytes;
}

bool weir_agg_set_needs_release(const struct weir_agg_set *set)
{
    return set->needs_release;
}

enum weir_rc weir_agg_set_signs(struct weir_agg_set *set, const struct weir_batch *batch, const int8_t **out_signs,
                                struct weir_error *err)
{
    const uint8_t *kinds = weir_batch_kinds(batch);
    bool any = false;
    if (kinds != NULL) {
        const uint16_t *sel = weir_batch_sel(batch);
        for (uint32_t i = 0; i < weir_batch_rows(batch); i++) {
            uint8_t kind = kinds[sel == NULL ? i : sel[i]];
            bool back = kind == WEIR_UPDATE_BEFORE || kind == WEIR_DELETE;
            set->signs[i] = back ? -1 : 1;
            any = any || back;
        }
    }
    if (any && !set->all_retractable) {
        return weir_error_set(err, WEIR_UNSUPPORTED, "%s cannot take rows back, but the input is a changelog with -U or -D rows",
                              set->not_retractable);
    }
    *out_signs = any ? set->signs : NULL;
    return WEIR_OK;
}

/* The rows of one call: all logical rows, or those that pass its filter. */
struct call_rows {
    uint8_t *const *payloads;
    const uint16_t *rows;
    const int8_t *signs;
    uint32_t count;
};

static enum weir_rc filter_rows(struct weir_agg_set *set, const struct call *call, const struct weir_batch *batch, int64_t now_ms,
                                const struct call_rows *all, struct call_rows *out_rows, struct weir_error *err)
{
    uint32_t count = 0;
    enum weir_rc rc = weir_expr_prog_filter(call->filter, batch, now_ms, set->passed, &count, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    for (uint32_t i = 0; i < all->count; i++) {
        set->logical[all->rows[i]] = (uint16_t)i;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t row = set->logical[set->passed[i]];
        set->passed_payloads[i] = all->payloads[row];
        if (all->signs != NULL) {
            set->passed_signs[i] = all->signs[row];
        }
    }
    *out_rows = (struct call_rows){.payloads = set->passed_payloads,
                                   .rows = set->passed,
                                   .signs = all->signs == NULL ? NULL : set->passed_signs,
                                   .count = count};
    return WEIR_OK;
}

/* Evaluates the call's own argument program over just its rows. */
static enum weir_rc filtered_arg(const struct weir_agg_set *set, const struct call *call, const struct weir_batch *batch, int64_t now_ms,
                                 const struct call_rows *rows, struct weir_column *out_col, struct weir_error *err)
{
    struct weir_buffer *sel = weir_buffer_create((size_t)rows->count * sizeof(uint16_t), set->mem);
    memcpy(sel->data, rows->rows, (size_t)rows->count * sizeof(uint16_t));
    struct weir_batch *narrowed = weir_batch_select_take(batch, sel, rows->count);
    enum weir_rc rc = weir_expr_prog_eval(call->arg_prog, narrowed, now_ms, set->mem, out_col, err);
    weir_batch_unref(narrowed);
    return rc;
}

static enum weir_rc update_call(struct weir_agg_set *set, const struct call *call, const struct weir_batch *batch, int64_t now_ms,
                                const struct call_rows *all, struct weir_error *err)
{
    struct call_rows rows = *all;
    if (call->filter != NULL) {
        enum weir_rc rc = filter_rows(set, call, batch, now_ms, all, &rows, err);
        if (rc != WEIR_OK || rows.count == 0) {
            return rc;
        }
    }
    const struct weir_column *arg = NULL;
    struct weir_column own = {0};
    switch (call->arg_kind) {
    case ARG_NONE:
        break;
    case ARG_COLUMN:
        arg = &batch->cols[call->arg];
        break;
    case ARG_SHARED:
        arg = &set->shared_cols[call->arg];
        break;
    case ARG_FILTERED: {
        enum weir_rc rc = filtered_arg(set, call, batch, now_ms, &rows, &own, err);
        if (rc != WEIR_OK) {
            return rc;
        }
        arg = &own;
        break;
    }
    }
    enum weir_rc rc = call->agg->update(rows.payloads, call->offset, arg, rows.rows, rows.count, rows.signs, set->heap, err);
    if (arg == &own) {
        weir_column_unref(&own);
    }
    return rc;
}

static inline int64_t *payload_rows(uint8_t *payload)
{
    return (int64_t *)(void *)payload;
}

enum weir_rc weir_agg_set_update(struct weir_agg_set *set, struct weir_batch *batch, int64_t now_ms, uint8_t *const *payloads,
                                 const int8_t *signs, struct weir_error *err)
{
    uint32_t count = weir_batch_rows(batch);
    const uint16_t *sel = weir_batch_sel(batch);
    for (uint32_t i = 0; i < count; i++) {
        set->rows[i] = sel == NULL ? (uint16_t)i : sel[i];
        *payload_rows(payloads[i]) += signs == NULL ? 1 : signs[i];
    }
    enum weir_rc rc = WEIR_OK;
    if (set->shared != NULL) {
        rc = weir_expr_prog_eval(set->shared, batch, now_ms, set->mem, set->shared_cols, err);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    struct call_rows all = {.payloads = payloads, .rows = set->rows, .signs = signs, .count = count};
    for (uint32_t i = 0; i < set->ncalls && rc == WEIR_OK; i++) {
        rc = update_call(set, &set->calls[i], batch, now_ms, &all, err);
    }
    for (uint32_t i = 0; i < set->nshared; i++) {
        weir_column_unref(&set->shared_cols[i]);
    }
    return rc;
}

enum weir_rc weir_agg_set_merge(struct weir_agg_set *set, uint8_t *into, const uint8_t *from, struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    *payload_rows(into) += weir_agg_payload_rows(from);
    for (uint32_t i = 0; i < set->ncalls && rc == WEIR_OK; i++) {
        const struct call *call = &set->calls[i];
        rc = call->agg->merge(into + call->offset, from + call->offset, set->heap, set->heap, err);
    }
    return rc;
}

static void append_accs(const struct weir_agg_set *set, const uint8_t *payload, struct weir_buf *out)
{
    for (uint32_t i = 0; i < set->ncalls; i++) {
        const struct call *call = &set->calls[i];
        if (call->agg->encode == NULL) {
            weir_buf_put(out, payload + call->offset, call->agg->acc_bytes);
            continue;
        }
        size_t at = out->len;
        weir_buf_put_u32(out, 0);
        call->agg->encode(payload + call->offset, set->heap, out);
        weir_buf_set_u32(out, at, (uint32_t)(out->len - at - 4));
    }
}

void weir_agg_set_encode(const struct weir_agg_set *set, const uint8_t *payload, struct weir_buf *out)
{
    weir_buf_clear(out);
    append_accs(set, payload, out);
}

/* The call's next accumulator out of the reader to acc, which holds nothing yet. */
static enum weir_rc decode_call(struct weir_agg_set *set, const struct call *call, struct weir_reader *reader, uint8_t *acc,
                                struct weir_error *err)
{
    const struct weir_agg *agg = call->agg;
    struct weir_slice bytes = agg->encode == NULL ? weir_read_raw(reader, agg->acc_bytes) : weir_read_bytes(reader);
    if (reader->failed) {
        return weir_error_set(err, WEIR_CORRUPT, "partial aggregates end in the middle of %s", agg->name);
    }
    if (agg->encode == NULL) {
        memcpy(acc, bytes.data, agg->acc_bytes);
        return WEIR_OK;
    }
    memset(acc, 0, agg->acc_bytes);
    return agg->decode(bytes, acc, set->heap, err);
}

/* Merges the next call's accumulator out of the reader, through the scratch payload (bytes may lie unaligned). */
static enum weir_rc merge_encoded_call(struct weir_agg_set *set, const struct call *call, struct weir_reader *reader, uint8_t *payload,
                                       struct weir_error *err)
{
    uint8_t *acc = set->scratch + call->offset;
    const struct weir_agg *agg = call->agg;
    enum weir_rc rc = decode_call(set, call, reader, acc, err);
    if (rc == WEIR_OK) {
        rc = agg->merge(payload + call->offset, acc, set->heap, set->heap, err);
    }
    if (rc == WEIR_OK && agg->release != NULL) {
        agg->release(acc, set->heap);
    }
    return rc;
}

enum weir_rc weir_agg_set_merge_encoded(struct weir_agg_set *set, uint8_t *payload, struct weir_slice bytes, struct weir_error *err)
{
    struct weir_reader reader = weir_reader(bytes);
    for (uint32_t i = 0; i < set->ncalls; i++) {
        enum weir_rc rc = merge_encoded_call(set, &set->calls[i], &reader, payload, err);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    if (reader.rest.len != 0) {
        return weir_error_set(err, WEIR_CORRUPT, "partial aggregates are %zu bytes too long", reader.rest.len);
    }
    return WEIR_OK;
}

void weir_agg_set_encode_payload(const struct weir_agg_set *set, const uint8_t *payload, struct weir_buf *out)
{
    weir_buf_put_i64(out, weir_agg_payload_rows(payload));
    append_accs(set, payload, out);
}

enum weir_rc weir_agg_set_decode_payload(struct weir_agg_set *set, struct weir_slice bytes, uint8_t *payload, struct weir_error *err)
{
    struct weir_reader reader = weir_reader(bytes);
    *payload_rows(payload) = weir_read_i64(&reader);
    for (uint32_t i = 0; i < set->ncalls; i++) {
        enum weir_rc rc = decode_call(set, &set->calls[i], &reader, payload + set->calls[i].offset, err);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    if (reader.failed || reader.rest.len != 0) {
        return weir_error_set(err, WEIR_CORRUPT, "an entry's aggregates of %zu bytes are cut or too long", bytes.len);
    }
    return WEIR_OK;
}

enum weir_rc weir_agg_set_merge_partials(struct weir_agg_set *set, const struct weir_batch *batch, uint32_t partials_column,
                                         uint32_t rows_column, uint8_t *const *payloads, struct weir_error *err)
{
    const struct weir_column *partials = &batch->cols[partials_column];
    const int64_t *rows = WEIR_COLUMN_VALUES(&batch->cols[rows_column], const int64_t);
    const uint16_t *sel = weir_batch_sel(batch);
    for (uint32_t i = 0; i < weir_batch_rows(batch); i++) {
        uint32_t row = sel == NULL ? i : sel[i];
        *payload_rows(payloads[i]) += rows[row];
        enum weir_rc rc = weir_agg_set_merge_encoded(set, payloads[i], weir_column_slice(partials, row), err);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    return WEIR_OK;
}

enum weir_rc weir_agg_set_results(const struct weir_agg_set *set, const uint8_t *payload, struct weir_batch_builder *builder,
                                  uint32_t first_column, uint32_t row, struct weir_error *err)
{
    for (uint32_t i = 0; i < set->ncalls; i++) {
        const struct call *call = &set->calls[i];
        struct weir_column_builder *col = &builder->cols[first_column + i];
        enum weir_rc rc = call->agg->result(payload + call->offset, set->heap, col->type, col, row, err);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    return WEIR_OK;
}

void weir_agg_set_release(struct weir_agg_set *set, uint8_t *payload)
{
    for (uint32_t i = 0; i < set->ncalls && set->needs_release; i++) {
        const struct call *call = &set->calls[i];
        if (call->agg->release != NULL) {
            call->agg->release(payload + call->offset, set->heap);
        }
    }
    memset(payload, 0, set->payload_bytes);
}
