/*
 * Running programs: row lists, loading columns, calling kernels, writing the results as columns.
 */
#include "common/data/value.h"
#include "common/expr/expr_prog.h"
#include "common/expr/prog.h"

/* The kernels' row lists need no bounds: a batch says how many rows it has at most. */
_Static_assert(WEIR_BATCH_ROWS_MAX <= UINT16_MAX + 1, "rows are uint16_t");

/* --- values in and out ----------------------------------------------------------------------------------------------- */

void weir__vec_store(enum weir_phys phys, void *values, uint32_t row, const struct weir_value *value)
{
    switch (phys) {
    case WEIR_PHYS_BOOL:
        ((uint8_t *)values)[row] = value->u.boolean;
        return;
    case WEIR_PHYS_I8:
        ((int8_t *)values)[row] = (int8_t)value->u.i64;
        return;
    case WEIR_PHYS_I16:
        ((int16_t *)values)[row] = (int16_t)value->u.i64;
        return;
    case WEIR_PHYS_I32:
        ((int32_t *)values)[row] = (int32_t)value->u.i64;
        return;
    case WEIR_PHYS_I64:
        ((int64_t *)values)[row] = value->u.i64;
        return;
    case WEIR_PHYS_F32:
        ((float *)values)[row] = (float)value->u.f64;
        return;
    case WEIR_PHYS_F64:
        ((double *)values)[row] = value->u.f64;
        return;
    case WEIR_PHYS_I128:
        ((__int128 *)values)[row] = value->u.decimal;
        return;
    case WEIR_PHYS_STR:
        ((struct weir_str *)values)[row] = weir__str(value->u.str.data, (uint32_t)value->u.str.len);
        return;
    }
}

struct weir_value weir__vec_get(const struct weir_vec *vec, uint32_t row)
{
    struct weir_value value = {.type = vec->type, .is_null = !weir__vec_valid(vec, row)};
    if (value.is_null) {
        return value;
    }
    switch (vec->phys) {
    case WEIR_PHYS_BOOL:
        value.u.boolean = WEIR_VEC(vec, uint8_t, row) != 0;
        break;
    case WEIR_PHYS_I8:
        value.u.i64 = WEIR_VEC(vec, int8_t, row);
        break;
    case WEIR_PHYS_I16:
        value.u.i64 = WEIR_VEC(vec, int16_t, row);
        break;
    case WEIR_PHYS_I32:
        value.u.i64 = WEIR_VEC(vec, int32_t, row);
        break;
    case WEIR_PHYS_I64:
        value.u.i64 = WEIR_VEC(vec, int64_t, row);
        break;
    case WEIR_PHYS_F32:
        value.u.f64 = (double)WEIR_VEC(vec, float, row);
        break;
    case WEIR_PHYS_F64:
        value.u.f64 = WEIR_VEC(vec, double, row);
        break;
    case WEIR_PHYS_I128:
        value.u.decimal = WEIR_VEC(vec, __int128, row);
        break;
    case WEIR_PHYS_STR: {
        struct weir_str s = WEIR_VEC(vec, struct weir_str, row);
        value.u.str = weir_slice(s.data, s.len);
        break;
    }
    }
    return value;
}

/* --- bitmaps and bytes ------------------------------------------------------------------------------------------------ */

static void expand_bits(const uint8_t *restrict bits, uint8_t *restrict bytes, uint32_t count)
{
    uint32_t whole = count / 8;
    for (uint32_t i = 0; i < whole; i++) { /* bit j to byte j: replicate, pick one bit a byte, make it 0 or 1 */
        uint64_t picked = (bits[i] * 0x0101010101010101ULL) & 0x8040201008040201ULL;
        picked = ((picked + 0x7f7f7f7f7f7f7f7fULL) >> 7) & 0x0101010101010101ULL;
        memcpy(bytes + (size_t)i * 8, &picked, 8);
    }
    for (uint32_t i = whole * 8; i < count; i++) {
        bytes[i] = bits[i >> 3] >> (i & 7) & 1;
    }
}

static void pack_bytes(const uint8_t *restrict bytes, uint8_t *restrict bits, uint32_t count)
{
    uint32_t whole = count / 8;
    for (uint32_t i = 0; i < whole; i++) {
        uint64_t eight;
        memcpy(&eight, bytes + (size_t)i * 8, 8);
        bits[i] = (uint8_t)((eight * 0x0102040810204080ULL) >> 56);
    }
    for (uint32_t i = whole * 8; i < count; i++) {
        bits[i >> 3] = (uint8_t)(bits[i >> 3] | bytes[i] << (i & 7));
    }
}

/* --- row lists -------------------------------------------------------------------------------------------------------- */

/* The rows of `from` for which keep[row] is set, into out (which may be where from lies); their number. */
static uint32_t pick_rows(const struct weir_level *from, const uint8_t *restrict keep, uint16_t *out)
{
    uint32_t n = 0;
    if (from->rows != NULL) {
        for (uint32_t k = 0; k < from->count; k++) {
            uint16_t row = from->rows[k];
            out[n] = row;
            n += keep[row];
        }
        return n;
    }
    uint32_t i = 0;
    for (; i + 8 <= from->count; i += 8) {
        uint64_t eight;
        memcpy(&eight, keep + i, 8);
        if (eight == 0) {
            continue;
        }
        for (uint32_t j = 0; j < 8; j++) {
            out[n] = (uint16_t)(i + j);
            n += keep[i + j];
        }
    }
    for (; i < from->count; i++) {
        out[n] = (uint16_t)i;
        n += keep[i];
    }
    return n;
}

/* keep[row] := whether the BOOLEAN is as the test says (NULL: a test of any type). Rows 0 .. nrows-1, needed or not. */
static void test_rows(const struct weir_vec *vec, enum weir_row_test test, const struct weir_level *level, uint32_t nrows, uint8_t *restrict keep)
{
    if (vec->mask == 0) {
        bool valid = weir__vec_valid(vec, 0), value = vec->phys == WEIR_PHYS_BOOL && WEIR_VEC(vec, uint8_t, 0) != 0;
        bool kept = test == WEIR_TEST_TRUE ? valid && value : test == WEIR_TEST_NOT_FALSE ? !valid || value
                                            : test == WEIR_TEST_NOT_TRUE                ? !valid || !value
                                                                                        : !valid;
        memset(keep, kept, nrows);
        return;
    }
    (void)level;
    const uint8_t *restrict values = vec->values, *restrict valid = vec->valid;
    switch (test) {
    case WEIR_TEST_TRUE:
        for (uint32_t i = 0; i < nrows; i++) {
            keep[i] = valid == NULL ? values[i] : values[i] & valid[i];
        }
        return;
    case WEIR_TEST_NOT_FALSE:
        for (uint32_t i = 0; i < nrows; i++) {
            keep[i] = valid == NULL ? values[i] : values[i] | (valid[i] ^ 1);
        }
        return;
    case WEIR_TEST_NOT_TRUE:
        for (uint32_t i = 0; i < nrows; i++) {
            keep[i] = valid == NULL ? values[i] ^ 1 : (values[i] & valid[i]) ^ 1;
        }
        return;
    case WEIR_TEST_NULL:
        for (uint32_t i = 0; i < nrows; i++) {
            keep[i] = valid == NULL ? 0 : valid[i] ^ 1;
        }
        return;
    }
}

/* --- steps ------------------------------------------------------------------------------------------------------------ */

struct run {
    struct weir_expr_prog *prog;
    const struct weir_batch *batch;
    uint32_t nrows; /* physical */
    int64_t now_ms;
    struct weir_error *err;
};

/* Without branches on the length: short and long strings come mixed. */
static void load_strings(const struct weir_column *col, struct weir_str *restrict out, const struct weir_level *level)
{
    static const uint32_t prefix_masks[] = {0, 0xff, 0xffff, 0xffffff}; /* little endian; see batch_wire.h */
    const struct weir_strview *restrict views = WEIR_COLUMN_VALUES(col, const struct weir_strview);
    for (uint32_t k = 0; k < level->count; k++) {
        uint32_t i = level->rows != NULL ? level->rows[k] : k;
        const struct weir_strview *view = &views[i];
        bool short_one = view->len <= sizeof(view->u.inlined);
        const uint8_t *data = view->u.inlined;
        if (col->ndata != 0) {
            uint32_t buffer = short_one ? 0 : view->u.ref.buffer, offset = short_one ? 0 : view->u.ref.offset;
            const uint8_t *far = col->data[buffer]->data + offset;
            data = short_one ? data : far;
        }
        uint32_t prefix;
        memcpy(&prefix, view->u.inlined, sizeof(prefix));
        prefix &= view->len < 4 ? prefix_masks[view->len] : UINT32_MAX;
        out[i].len = view->len;
        memcpy(out[i].prefix, &prefix, sizeof(prefix));
        out[i].data = data;
    }
}

static void load(const struct run *run, const struct weir_step *step)
{
    struct weir_reg *reg = &run->prog->regs[step->out];
    weir_assert(reg->column < run->batch->ncols);
    const struct weir_column *col = &run->batch->cols[reg->column];
    const struct weir_slot *slot = &run->prog->slots[reg->slot];
    if (!reg->valid_loaded) {
        reg->valid_loaded = true;
        reg->vec.valid = NULL;
        if (col->validity != NULL) {
            reg->vec.valid = slot->valid;
            expand_bits(col->validity->data, slot->valid, run->nrows);
        }
    }
    if (step->op == WEIR_OP_LOAD_VALID || reg->loaded) {
        return;
    }
    reg->loaded = true;
    if (reg->vec.phys == WEIR_PHYS_BOOL) {
        reg->vec.values = slot->values;
        expand_bits(col->values->data, slot->values, run->nrows);
    } else if (reg->vec.phys == WEIR_PHYS_STR) {
        reg->vec.values = slot->values;
        load_strings(col, slot->values, &run->prog->levels[0]);
    } else {
        reg->vec.values = col->values->data;
    }
}

/* out->valid := the AND of the operands' (in the slot's array), or NULL when none has any. */
static void combine_valid(const struct run *run, const struct weir_vec *args, uint32_t nargs, bool need_array, uint8_t *restrict array,
                          struct weir_vec *out)
{
    uint32_t seen = 0;
    for (uint32_t a = 0; a < nargs; a++) {
        const uint8_t *restrict valid = args[a].valid;
        if (valid == NULL || (args[a].mask == 0 && valid[0] != 0)) {
            continue;
        }
        if (args[a].mask == 0) {
            memset(array, 0, run->nrows);
        } else if (seen == 0) {
            memcpy(array, valid, run->nrows);
        } else {
            for (uint32_t i = 0; i < run->nrows; i++) {
                array[i] &= valid[i];
            }
        }
        seen++;
    }
    if (seen == 0 && need_array) {
        memset(array, 1, run->nrows);
    }
    out->valid = seen != 0 || need_array ? array : NULL;
}

static enum weir_rc call(const struct run *run, const struct weir_step *step)
{
    struct weir_expr_prog *prog = run->prog;
    const struct weir_level *level = &prog->levels[step->level];
    struct weir_reg *out = &prog->regs[step->out];
    if (level->count == 0) {
        out->vec.values = prog->slots[out->slot].values;
        out->vec.valid = step->in_place ? out->vec.valid : NULL;
        return WEIR_OK;
    }
    bool any_valid = false;
    for (uint32_t i = 0; i < step->nargs; i++) {
        prog->call_args[i] = prog->regs[prog->args[step->first_arg + i]].vec;
        any_valid = any_valid || prog->call_args[i].valid != NULL;
    }
    struct weir_fn_call call = {.args = prog->call_args, .nargs = step->nargs, .rows = level->rows, .count = level->count,
                                .arena = prog->scratch, .state = step->state, .now_ms = run->now_ms, .safe = step->safe,
                                .name = step->name, .pos = step->pos, .err = run->err};
    uint8_t *array = prog->slots[out->slot].valid;
    call.out = out->vec;
    call.out.values = prog->slots[out->slot].values;
    if (step->in_place) {
        call.out.valid = out->vec.valid;
    } else if ((step->flags & WEIR_FN_HANDLES_NULL) != 0) {
        call.out.valid = any_valid && (step->flags & WEIR_FN_NEVER_NULL) == 0 ? array : NULL;
    } else {
        combine_valid(run, prog->call_args, step->nargs, (step->flags & WEIR_FN_MAKES_NULL) != 0, array, &call.out);
    }
    enum weir_rc rc = step->kernel(&call);
    out->vec.values = call.out.values;
    out->vec.valid = call.out.valid;
    return rc;
}

#define COPY_AS(c_type)                                                                  \
    do {                                                                                 \
        const c_type *restrict in = from->values;                                        \
        c_type *restrict to = out->values;                                               \
        if (level->rows == NULL && from->mask != 0) {                                    \
            memcpy(to, in, (size_t)level->count * sizeof(c_type));                       \
        } else {                                                                         \
            for (uint32_t k = 0; k < level->count; k++) {                                \
                uint32_t i = level->rows != NULL ? level->rows[k] : k;                   \
                to[i] = in[i & from->mask];                                              \
            }                                                                            \
        }                                                                                \
    } while (0)

static void copy(const struct weir_vec *from, struct weir_vec *out, const struct weir_level *level)
{
    for (uint32_t k = 0; k < level->count; k++) {
        uint32_t i = level->rows != NULL ? level->rows[k] : k;
        out->valid[i] = from->valid == NULL ? 1 : from->valid[i & from->mask];
    }
    switch (weir__phys_width(out->phys)) {
    case 1:
        COPY_AS(uint8_t);
        break;
    case 2:
        COPY_AS(uint16_t);
        break;
    case 4:
        COPY_AS(uint32_t);
        break;
    case 8:
        COPY_AS(uint64_t);
        break;
    case 16:
        COPY_AS(__int128);
        break;
    default:
        weir_assert(false);
    }
}

/* Splits or narrows; true when there is no row to go on with. */
static bool narrow(const struct run *run, const struct weir_step *step)
{
    struct weir_expr_prog *prog = run->prog;
    struct weir_level *from = &prog->levels[step->level];
    struct weir_level *to = &prog->levels[step->op == WEIR_OP_SPLIT ? step->level + 1 : step->to_level];
    const struct weir_vec *vec = &prog->regs[prog->args[step->first_arg]].vec;
    uint8_t keep[WEIR_BATCH_ROWS_MAX];
    if (from->count == 0) {
        to->count = 0;
        return true;
    }
    test_rows(vec, step->op == WEIR_OP_SPLIT ? WEIR_TEST_TRUE : step->test, from, run->nrows, keep);
    uint32_t all = from->count, kept = pick_rows(from, keep, to->own);
    bool dense = kept == all && from->rows == NULL;
    const uint16_t *rows = dense ? NULL : to->own;
    if (step->op == WEIR_OP_SPLIT && kept != 0) {
        for (uint32_t i = 0; i < run->nrows; i++) {
            keep[i] ^= 1;
        }
        from->count = kept == all ? 0 : pick_rows(from, keep, from->own);
        from->rows = from->own;
    }
    to->rows = rows;
    to->count = kept;
    return kept == 0;
}

/* The next step's number. */
static enum weir_rc run_step(const struct run *run, const struct weir_step *step, uint32_t *next)
{
    struct weir_expr_prog *prog = run->prog;
    switch (step->op) {
    case WEIR_OP_LOAD:
    case WEIR_OP_LOAD_VALID:
        load(run, step);
        return WEIR_OK;
    case WEIR_OP_CALL:
        return call(run, step);
    case WEIR_OP_BEGIN: {
        struct weir_reg *out = &prog->regs[step->out];
        out->vec.values = prog->slots[out->slot].values;
        out->vec.valid = prog->slots[out->slot].valid;
        return WEIR_OK;
    }
    case WEIR_OP_COPY:
        copy(&prog->regs[prog->args[step->first_arg]].vec, &prog->regs[step->out].vec, &prog->levels[step->level]);
        return WEIR_OK;
    case WEIR_OP_SAME_ROWS:
        prog->levels[step->level + 1].rows = prog->levels[step->level].rows;
        prog->levels[step->level + 1].count = prog->levels[step->level].count;
        return WEIR_OK;
    case WEIR_OP_NARROW:
    case WEIR_OP_SPLIT:
        *next = narrow(run, step) ? step->skip_to : *next;
        return WEIR_OK;
    }
    weir_assert(false);
    return WEIR_INVALID;
}

enum weir_rc weir__prog_run(struct weir_expr_prog *prog, const struct weir_batch *batch, int64_t now_ms, struct weir_error *err)
{
    struct run run = {.prog = prog, .batch = batch, .nrows = batch == NULL ? 1 : batch->nrows, .now_ms = now_ms, .err = err};
    weir_assert(run.nrows <= prog->rows_max);
    weir_assert(batch == NULL || batch->ncols == prog->ncolumns);
    prog->levels[0].rows = batch == NULL ? NULL : weir_batch_sel(batch);
    prog->levels[0].count = batch == NULL ? 1 : weir_batch_rows(batch);
    weir_arena_reset(prog->scratch);
    for (uint32_t i = 0; i < prog->nregs; i++) {
        prog->regs[i].loaded = false;
        prog->regs[i].valid_loaded = false;
    }
    enum weir_rc rc = WEIR_OK;
    for (uint32_t i = 0; rc == WEIR_OK && i < prog->nsteps;) {
        uint32_t next = i + 1;
        rc = run_step(&run, &prog->steps[i], &next);
        i = next;
    }
    return rc;
}

/* --- results ---------------------------------------------------------------------------------------------------------- */

/* Validity of the logical rows as a bitmap; NULL when all are valid. Rows outside of the selection count as valid. */
static struct weir_buffer *make_validity(const struct weir_vec *vec, const struct weir_level *level, uint32_t nrows, struct weir_mem *mem)
{
    if (vec->valid == NULL || (vec->mask == 0 && vec->valid[0] != 0)) {
        return NULL;
    }
    uint8_t bytes[WEIR_BATCH_ROWS_MAX];
    memset(bytes, 1, nrows);
    uint8_t all = 1;
    for (uint32_t k = 0; k < level->count; k++) {
        uint32_t i = level->rows != NULL ? level->rows[k] : k;
        bytes[i] = vec->valid[i & vec->mask];
        all &= bytes[i];
    }
    if (all != 0) {
        return NULL;
    }
    struct weir_buffer *validity = weir_buffer_create((nrows + 7) / 8, mem);
    pack_bytes(bytes, validity->data, nrows);
    return validity;
}

static void make_booleans(const struct weir_vec *vec, const struct weir_level *level, uint32_t nrows, uint8_t *bits)
{
    uint8_t bytes[WEIR_BATCH_ROWS_MAX];
    memset(bytes, 0, nrows);
    for (uint32_t k = 0; k < level->count; k++) {
        uint32_t i = level->rows != NULL ? level->rows[k] : k;
        bytes[i] = WEIR_VEC(vec, uint8_t, i);
    }
    pack_bytes(bytes, bits, nrows);
}

/* Views, with the bytes of all long strings in one buffer. LIMIT beyond what a view's offset can say. */
static enum weir_rc make_strings(const struct weir_vec *vec, const struct weir_level *level, struct weir_mem *mem, struct weir_column *col,
                                 struct weir_error *err)
{
    enum { INLINE_MAX = 12 };
    uint64_t total = 0;
    for (uint32_t k = 0; k < level->count; k++) {
        uint32_t i = level->rows != NULL ? level->rows[k] : k;
        uint32_t len = weir__vec_valid(vec, i) ? WEIR_VEC(vec, struct weir_str, i).len : 0;
        total += len > INLINE_MAX ? len : 0;
    }
    if (total > UINT32_MAX) {
        return weir_error_set(err, WEIR_LIMIT, "a column of strings has more than 4 GiB in one batch");
    }
    if (total != 0) {
        col->data = weir_calloc(1, sizeof(struct weir_buffer *));
        col->data[0] = weir_buffer_create(total, mem);
        col->ndata = 1;
    }
    struct weir_strview *views = WEIR_COLUMN_VALUES(col, struct weir_strview);
    uint32_t used = 0;
    for (uint32_t k = 0; k < level->count; k++) {
        uint32_t i = level->rows != NULL ? level->rows[k] : k;
        if (!weir__vec_valid(vec, i)) {
            continue;
        }
        struct weir_str s = WEIR_VEC(vec, struct weir_str, i);
        views[i].len = s.len;
        if (s.len <= INLINE_MAX) {
            memcpy(views[i].u.inlined, s.data == NULL ? s.prefix : s.data, s.len);
        } else {
            memcpy(views[i].u.ref.prefix, s.prefix, sizeof(s.prefix));
            views[i].u.ref.offset = used;
            memcpy(col->data[0]->data + used, s.data, s.len);
            used += s.len;
        }
    }
    return WEIR_OK;
}

static enum weir_rc make_column(const struct weir_vec *vec, struct weir_type type, const struct weir_level *level, uint32_t nrows,
                                struct weir_mem *mem, struct weir_column *out_col, struct weir_error *err)
{
    struct weir_column col = {.type = type};
    uint32_t width = weir__phys_width(vec->phys);
    col.values = weir_buffer_create(vec->phys == WEIR_PHYS_BOOL ? (nrows + 7) / 8 : (size_t)nrows * width, mem);
    enum weir_rc rc = WEIR_OK;
    if (level->count == 0) {
        *out_col = col;
        return WEIR_OK;
    }
    col.validity = make_validity(vec, level, nrows, mem);
    if (vec->phys == WEIR_PHYS_BOOL) {
        make_booleans(vec, level, nrows, col.values->data);
    } else if (vec->phys == WEIR_PHYS_STR) {
        rc = make_strings(vec, level, mem, &col, err);
    } else {
        struct weir_vec out = {.values = col.values->data, .phys = vec->phys};
        uint8_t valid[WEIR_BATCH_ROWS_MAX];
        out.valid = valid;
        copy(vec, &out, level);
    }
    if (rc == WEIR_OK) {
        *out_col = col;
    } else {
        weir_column_unref(&col);
    }
    return rc;
}

enum weir_rc weir_expr_prog_eval(struct weir_expr_prog *prog, const struct weir_batch *batch, int64_t now_ms, struct weir_mem *mem,
                                 struct weir_column *out_cols, struct weir_error *err)
{
    enum weir_rc rc = weir__prog_run(prog, batch, now_ms, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    for (uint32_t i = 0; i < prog->noutputs; i++) {
        const struct weir_reg *reg = &prog->regs[prog->outputs[i]];
        bool bare = reg->kind == WEIR_REG_COLUMN && weir_type_same(prog->output_types[i], batch->cols[reg->column].type);
        if (bare) {
            out_cols[i] = weir_column_ref(&batch->cols[reg->column]);
            continue;
        }
        rc = make_column(&reg->vec, prog->output_types[i], &prog->levels[0], batch->nrows, mem, &out_cols[i], err);
        if (rc != WEIR_OK) {
            while (i-- > 0) {
                weir_column_unref(&out_cols[i]);
            }
            return rc;
        }
    }
    return WEIR_OK;
}

enum weir_rc weir_expr_prog_filter(struct weir_expr_prog *prog, const struct weir_batch *batch, int64_t now_ms, uint16_t *out_rows,
                                   uint32_t *out_count, struct weir_error *err)
{
    weir_assert(prog->noutputs > 0 && prog->output_types[0].id == WEIR_TYPE_BOOLEAN);
    enum weir_rc rc = weir__prog_run(prog, batch, now_ms, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    uint8_t keep[WEIR_BATCH_ROWS_MAX];
    const struct weir_level *level = &prog->levels[0];
    if (level->count == 0) {
        *out_count = 0;
        return WEIR_OK;
    }
    test_rows(&prog->regs[prog->outputs[0]].vec, WEIR_TEST_TRUE, level, batch->nrows, keep);
    uint32_t count = pick_rows(level, keep, out_rows);
    *out_count = count;
    return WEIR_OK;
}
