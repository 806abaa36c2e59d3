/*
 * Compiling bound trees to programs (prog.h says how programs look).
 *
 * Equal calls over equal registers are computed once (value numbering), as far as the row list at hand is within the one they were
 * computed for.
 */
#include "common/expr/expr_prog.h"

#include "common/expr/prog.h"

/* A computed call that may be used again. */
struct known {
    weir_kernel *kernel;
    uint32_t first_arg, nargs, out;
    uint32_t scope;
    uint32_t fn; /* tells apart rows that share a kernel; casts: the type id */
    struct weir_type type;
    bool safe;
};

struct compiler {
    struct weir_expr_prog *prog;
    struct weir_error *err;
    struct known *known;
    uint32_t nknown, known_cap;
    uint32_t scope_depth; /* of branches: what is known is forgotten when its branch ends */
    uint32_t *column_regs; /* by column, UINT32_MAX: not used yet */
};

static uint32_t compile(struct compiler *c, const struct weir_expr *expr, uint32_t level);

static void *grow(struct weir_arena *arena, void *items, uint32_t count, uint32_t *cap, size_t size)
{
    if (count < *cap) {
        return items;
    }
    uint32_t new_cap = *cap == 0 ? 16 : *cap * 2;
    void *grown = weir_arena_zalloc(arena, new_cap * size);
    if (count != 0) {
        memcpy(grown, items, count * size);
    }
    *cap = new_cap;
    return grown;
}

static uint32_t add_reg(struct compiler *c, enum weir_reg_kind kind, struct weir_type type)
{
    struct weir_expr_prog *prog = c->prog;
    prog->regs = grow(prog->arena, prog->regs, prog->nregs, &prog->regs_cap, sizeof(struct weir_reg));
    struct weir_reg *reg = &prog->regs[prog->nregs];
    reg->kind = kind;
    reg->slot = WEIR_NO_SLOT;
    reg->first = UINT32_MAX;
    reg->vec.type = type;
    reg->vec.phys = weir__phys_of(type.id);
    reg->vec.mask = kind == WEIR_REG_CONSTANT ? 0 : UINT32_MAX;
    return prog->nregs++;
}

static void touch(struct weir_expr_prog *prog, uint32_t reg, uint32_t step)
{
    struct weir_reg *r = &prog->regs[reg];
    r->first = r->first == UINT32_MAX ? step : r->first;
    r->last = step;
}

static struct weir_step *add_step(struct compiler *c, enum weir_op op, uint32_t level, uint32_t out, const uint32_t *args, uint32_t nargs)
{
    struct weir_expr_prog *prog = c->prog;
    prog->steps = grow(prog->arena, prog->steps, prog->nsteps, &prog->steps_cap, sizeof(struct weir_step));
    struct weir_step *step = &prog->steps[prog->nsteps];
    *step = (struct weir_step){.op = op, .level = level, .out = out, .first_arg = prog->nargs, .nargs = nargs};
    for (uint32_t i = 0; i < nargs; i++) {
        prog->args = grow(prog->arena, prog->args, prog->nargs, &prog->args_cap, sizeof(uint32_t));
        prog->args[prog->nargs++] = args[i];
        touch(prog, args[i], prog->nsteps);
    }
    if (out != UINT32_MAX) {
        touch(prog, out, prog->nsteps);
    }
    prog->args_max = prog->args_max > nargs ? prog->args_max : nargs;
    prog->nlevels = prog->nlevels > level + 2 ? prog->nlevels : level + 2;
    prog->nsteps++;
    return step;
}

static uint32_t constant(struct compiler *c, const struct weir_expr *expr)
{
    struct weir_expr_prog *prog = c->prog;
    uint32_t reg = add_reg(c, WEIR_REG_CONSTANT, expr->type);
    struct weir_vec *vec = &prog->regs[reg].vec;
    vec->values = weir_arena_zalloc(prog->arena, weir__phys_width(vec->phys));
    if (expr->value.is_null) {
        vec->valid = weir_arena_zalloc(prog->arena, 1);
        return reg;
    }
    struct weir_value value = expr->value;
    value.type = expr->type;
    if (vec->phys == WEIR_PHYS_STR) { /* the tree is not needed afterwards */
        value.u.str = weir_arena_slice(prog->arena, value.u.str);
    }
    weir__vec_store(vec->phys, vec->values, 0, &value);
    return reg;
}

static uint32_t column(struct compiler *c, const struct weir_expr *expr, bool only_valid)
{
    weir_assert(expr->column < c->prog->ncolumns);
    uint32_t *reg = &c->column_regs[expr->column];
    if (*reg == UINT32_MAX) {
        *reg = add_reg(c, WEIR_REG_COLUMN, expr->type);
        c->prog->regs[*reg].column = expr->column;
    }
    (void)add_step(c, only_valid ? WEIR_OP_LOAD_VALID : WEIR_OP_LOAD, 0, *reg, NULL, 0);
    return *reg;
}

/* A call whose arguments are in registers, unless it has been computed already. */
static uint32_t call(struct compiler *c, const struct weir_expr *expr, weir_kernel *kernel, uint32_t fn, uint32_t flags, const uint32_t *args,
                     uint32_t level)
{
    struct weir_expr_prog *prog = c->prog;
    for (uint32_t i = c->nknown; i-- > 0;) {
        const struct known *k = &c->known[i];
        if (k->kernel == kernel && k->fn == fn && k->nargs == expr->nargs && k->safe == expr->safe && weir_type_same(k->type, expr->type) &&
            memcmp(prog->args + k->first_arg, args, expr->nargs * sizeof(uint32_t)) == 0) {
            return k->out;
        }
    }
    uint32_t out = add_reg(c, WEIR_REG_TEMP, expr->type);
    struct weir_step *step = add_step(c, WEIR_OP_CALL, level, out, args, expr->nargs);
    step->kernel = kernel;
    step->flags = flags;
    step->safe = expr->safe;
    step->pos = expr->pos;
    step->name = expr->kind == WEIR_EXPR_CAST ? "CAST" : weir__fns[expr->fn].name;
    step->state = expr->kind == WEIR_EXPR_CALL ? weir__fn_prepare(expr, prog->arena) : NULL;
    c->known = grow(prog->arena, c->known, c->nknown, &c->known_cap, sizeof(struct known));
    c->known[c->nknown++] = (struct known){.kernel = kernel, .first_arg = step->first_arg, .nargs = expr->nargs, .out = out, .fn = fn,
                                           .scope = c->scope_depth, .type = expr->type, .safe = expr->safe};
    return out;
}

static void enter(struct compiler *c)
{
    c->scope_depth++;
}

static void leave(struct compiler *c)
{
    while (c->nknown > 0 && c->known[c->nknown - 1].scope == c->scope_depth) {
        c->nknown--;
    }
    c->scope_depth--;
}

/* Cheap and safe to compute for rows that do not need it. */
static bool is_eager(const struct weir_expr *expr)
{
    if (expr->kind == WEIR_EXPR_LITERAL || expr->kind == WEIR_EXPR_COLUMN) {
        return true;
    }
    if (expr->kind == WEIR_EXPR_CAST) {
        bool cheap = weir__phys_of(expr->type.id) != WEIR_PHYS_STR && weir__phys_of(expr->args[0]->type.id) != WEIR_PHYS_STR;
        return cheap && (expr->safe || !weir__cast_fails(expr->args[0]->type, expr->type)) && is_eager(expr->args[0]);
    }
    if (expr->kind != WEIR_EXPR_CALL) {
        return false;
    }
    uint32_t flags = weir__fns[expr->fn].flags;
    bool decimal = expr->type.id == WEIR_TYPE_DECIMAL && weir__fns[expr->fn].rule != WEIR_RULE_COMPARE; /* overflows */
    bool logic = expr->fn == WEIR_FN_AND || expr->fn == WEIR_FN_OR;
    bool moments = weir_type_is_time(expr->type.id) && expr->nargs == 2; /* overflows too */
    bool eager = (flags & (WEIR_FN_FAILS | WEIR_FN_COSTLY)) == 0 && ((flags & WEIR_FN_LAZY) == 0 || logic) && !decimal && !moments;
    for (uint32_t i = 0; eager && i < expr->nargs; i++) {
        eager = is_eager(expr->args[i]);
    }
    return eager;
}

static uint32_t add_narrow(struct compiler *c, uint32_t from, uint32_t to, enum weir_row_test test, uint32_t reg, uint32_t skips)
{
    struct weir_step *narrow = add_step(c, WEIR_OP_NARROW, from, UINT32_MAX, &reg, 1);
    narrow->to_level = to;
    narrow->test = test;
    narrow->skip_to = skips;
    return c->prog->nsteps - 1;
}

static void patch_skips(struct compiler *c, uint32_t skips)
{
    while (skips != 0) {
        uint32_t next = c->prog->steps[skips].skip_to;
        c->prog->steps[skips].skip_to = c->prog->nsteps;
        skips = next;
    }
}

/* AND, OR: the next operand is computed for the rows that the ones before have not decided. */
static uint32_t compile_logic(struct compiler *c, const struct weir_expr *expr, uint32_t level)
{
    const struct weir_fn *fn = &weir__fns[expr->fn];
    struct weir_expr two = *expr;
    two.nargs = 2;
    uint32_t acc = compile(c, expr->args[0], level);
    uint32_t i = 1;
    for (; i < expr->nargs && is_eager(expr->args[i]); i++) {
        uint32_t args[2] = {acc, compile(c, expr->args[i], level)};
        acc = call(c, &two, fn->kernel, expr->fn, fn->flags, args, level);
    }
    if (i == expr->nargs) {
        return acc;
    }
    uint32_t out = add_reg(c, WEIR_REG_TEMP, expr->type);
    (void)add_step(c, WEIR_OP_BEGIN, level, out, NULL, 0);
    (void)add_step(c, WEIR_OP_COPY, level, out, &acc, 1);
    uint32_t skips = 0; /* steps to patch, linked through skip_to; step 0 is no NARROW */
    enter(c);
    for (uint32_t from = level; i < expr->nargs; i++, from = level + 1) {
        skips = add_narrow(c, from, level + 1, expr->fn == WEIR_FN_AND ? WEIR_TEST_NOT_FALSE : WEIR_TEST_NOT_TRUE, out, skips);
        uint32_t args[2] = {out, compile(c, expr->args[i], level + 1)};
        struct weir_step *combine = add_step(c, WEIR_OP_CALL, level + 1, out, args, 2);
        combine->kernel = fn->kernel;
        combine->flags = fn->flags;
        combine->in_place = true;
        combine->name = fn->name;
        combine->pos = expr->pos;
    }
    leave(c);
    patch_skips(c, skips);
    return out;
}

static uint32_t compile_case(struct compiler *c, const struct weir_expr *expr, uint32_t level)
{
    uint32_t out = add_reg(c, WEIR_REG_TEMP, expr->type);
    (void)add_step(c, WEIR_OP_BEGIN, level, out, NULL, 0);
    (void)add_step(c, WEIR_OP_SAME_ROWS, level, UINT32_MAX, NULL, 0);
    uint32_t rest = level + 1; /* rows that no condition has taken yet */
    enter(c);
    for (uint32_t i = 0; i + 1 < expr->nargs; i += 2) {
        uint32_t when = compile(c, expr->args[i], rest);
        (void)add_step(c, WEIR_OP_SPLIT, rest, UINT32_MAX, &when, 1);
        uint32_t split = c->prog->nsteps - 1;
        enter(c);
        uint32_t then = compile(c, expr->args[i + 1], rest + 1);
        leave(c);
        (void)add_step(c, WEIR_OP_COPY, rest + 1, out, &then, 1);
        c->prog->steps[split].skip_to = c->prog->nsteps;
    }
    uint32_t otherwise = compile(c, expr->args[expr->nargs - 1], rest);
    (void)add_step(c, WEIR_OP_COPY, rest, out, &otherwise, 1);
    leave(c);
    return out;
}

static uint32_t compile_coalesce(struct compiler *c, const struct weir_expr *expr, uint32_t level)
{
    uint32_t acc = compile(c, expr->args[0], level);
    if (expr->nargs == 1) {
        return acc;
    }
    uint32_t out = add_reg(c, WEIR_REG_TEMP, expr->type);
    (void)add_step(c, WEIR_OP_BEGIN, level, out, NULL, 0);
    (void)add_step(c, WEIR_OP_COPY, level, out, &acc, 1);
    uint32_t skips = 0;
    enter(c);
    for (uint32_t i = 1; i < expr->nargs; i++) {
        skips = add_narrow(c, level, level + 1, WEIR_TEST_NULL, out, skips);
        uint32_t next = compile(c, expr->args[i], level + 1);
        (void)add_step(c, WEIR_OP_COPY, level + 1, out, &next, 1);
    }
    leave(c);
    patch_skips(c, skips);
    return out;
}

static uint32_t compile(struct compiler *c, const struct weir_expr *expr, uint32_t level)
{
    switch (expr->kind) {
    case WEIR_EXPR_LITERAL:
        return constant(c, expr);
    case WEIR_EXPR_COLUMN:
        return column(c, expr, false);
    case WEIR_EXPR_CASE:
        return compile_case(c, expr, level);
    case WEIR_EXPR_CALL:
        if (expr->fn == WEIR_FN_AND || expr->fn == WEIR_FN_OR) {
            return compile_logic(c, expr, level);
        }
        if (expr->fn == WEIR_FN_COALESCE) {
            return compile_coalesce(c, expr, level);
        }
        break;
    case WEIR_EXPR_CAST:
        break;
    case WEIR_EXPR_AGG:
        weir_assert(false);
    }
    uint32_t *args = weir_arena_zalloc(c->prog->arena, (expr->nargs + 1U) * sizeof(uint32_t));
    weir_kernel *kernel = expr->kind == WEIR_EXPR_CAST ? weir__fn_cast : weir__fns[expr->fn].kernel;
    bool null_test = kernel == weir__fn_is_null || kernel == weir__fn_is_not_null;
    for (uint32_t i = 0; i < expr->nargs; i++) {
        bool only_valid = null_test && expr->args[i]->kind == WEIR_EXPR_COLUMN;
        args[i] = only_valid ? column(c, expr->args[i], true) : compile(c, expr->args[i], level);
    }
    if (expr->kind == WEIR_EXPR_CAST) {
        if (weir__cast_is_noop(expr->args[0]->type, expr->type)) {
            return args[0];
        }
        return call(c, expr, kernel, expr->type.id, expr->safe ? WEIR_FN_MAKES_NULL : 0, args, level);
    }
    return call(c, expr, kernel, expr->fn, weir__fns[expr->fn].flags, args, level);
}

/* A column of plain values lies in the batch; only its validity needs room here. */
static uint32_t slot_width(const struct weir_reg *reg)
{
    bool in_place = reg->kind == WEIR_REG_COLUMN && reg->vec.phys != WEIR_PHYS_BOOL && reg->vec.phys != WEIR_PHYS_STR;
    return in_place ? 1 : weir__phys_width(reg->vec.phys);
}

/* Gives every register that needs one an array, shared between registers that never live at once (P1). */
static void assign_slots(struct weir_expr_prog *prog)
{
    struct weir_slot *slots = weir_arena_zalloc(prog->arena, (prog->nregs + 1U) * sizeof(struct weir_slot));
    for (uint32_t step = 0; step < prog->nsteps; step++) {
        uint32_t reg = prog->steps[step].out;
        if (reg == UINT32_MAX || prog->regs[reg].slot != WEIR_NO_SLOT) {
            continue;
        }
        struct weir_reg *r = &prog->regs[reg];
        uint32_t width = slot_width(r), slot = 0;
        while (slot < prog->nslots && (slots[slot].width != width || slots[slot].free_after >= r->first)) {
            slot++;
        }
        if (slot == prog->nslots) {
            slots[slot] = (struct weir_slot){.width = width};
            slots[slot].values = weir_memalign(64, (size_t)prog->rows_max * width + 64);
            slots[slot].valid = weir_memalign(64, (size_t)prog->rows_max + 64);
            memset(slots[slot].values, 0, (size_t)prog->rows_max * width + 64);
            memset(slots[slot].valid, 0, (size_t)prog->rows_max + 64);
            prog->nslots++;
        }
        slots[slot].free_after = r->last;
        r->slot = slot;
    }
    prog->slots = slots;
}

static void make_levels(struct weir_expr_prog *prog)
{
    prog->nlevels = prog->nlevels == 0 ? 1 : prog->nlevels;
    prog->levels = weir_arena_zalloc(prog->arena, prog->nlevels * sizeof(struct weir_level));
    for (uint32_t i = 1; i < prog->nlevels; i++) {
        prog->levels[i].own = weir_arena_alloc(prog->arena, ((size_t)prog->rows_max + 8) * sizeof(uint16_t));
    }
}

enum weir_rc weir__prog_create(const struct weir_expr *const *exprs, uint32_t count, uint32_t ncolumns, uint32_t rows_max,
                               struct weir_expr_prog **out_prog, struct weir_error *err)
{
    struct weir_arena *arena = weir_arena_create(rows_max == 1 ? 4096 : 0);
    struct weir_expr_prog *prog = weir_arena_zalloc(arena, sizeof(*prog));
    prog->arena = arena;
    prog->scratch = weir_arena_create(rows_max == 1 ? 1024 : 0);
    prog->rows_max = rows_max;
    prog->ncolumns = ncolumns;
    prog->noutputs = count;
    prog->outputs = weir_arena_zalloc(arena, (count + 1U) * sizeof(uint32_t));
    prog->output_types = weir_arena_zalloc(arena, (count + 1U) * sizeof(struct weir_type));
    struct compiler c = {.prog = prog, .err = err};
    c.column_regs = weir_arena_alloc(arena, (ncolumns + 1U) * sizeof(uint32_t));
    memset(c.column_regs, 0xff, (ncolumns + 1U) * sizeof(uint32_t));
    for (uint32_t i = 0; i < count; i++) {
        if (exprs[i]->kind == WEIR_EXPR_AGG) {
            weir_expr_prog_destroy(prog);
            return weir_error_set(err, WEIR_INVALID, "%s is an aggregate; only its argument can be computed row by row", exprs[i]->name);
        }
        prog->outputs[i] = compile(&c, exprs[i], 0);
        prog->output_types[i] = exprs[i]->type;
    }
    for (uint32_t i = 0; i < count; i++) { /* outputs live to the end */
        prog->regs[prog->outputs[i]].last = UINT32_MAX - 1;
    }
    assign_slots(prog);
    make_levels(prog);
    prog->call_args = weir_arena_zalloc(arena, (prog->args_max + 1U) * sizeof(struct weir_vec));
    *out_prog = prog;
    return WEIR_OK;
}

enum weir_rc weir_expr_prog_create(const struct weir_expr *const *exprs, uint32_t count, const struct weir_schema *input,
                                   struct weir_expr_prog **out_prog, struct weir_error *err)
{
    return weir__prog_create(exprs, count, weir_schema_count(input), WEIR_BATCH_ROWS_MAX, out_prog, err);
}

void weir_expr_prog_destroy(struct weir_expr_prog *prog)
{
    if (prog == NULL) {
        return;
    }
    for (uint32_t i = 0; i < prog->nslots; i++) {
        weir_free(prog->slots[i].values);
        weir_free(prog->slots[i].valid);
    }
    weir_arena_destroy(prog->scratch);
    weir_arena_destroy(prog->arena);
}

enum weir_rc weir__expr_fold(const struct weir_expr *expr, struct weir_arena *arena, struct weir_value *out_value, struct weir_error *err)
{
    struct weir_expr_prog *prog = NULL;
    enum weir_rc rc = weir__prog_create(&expr, 1, 0, 1, &prog, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    rc = weir__prog_run(prog, NULL, 0, err);
    if (rc == WEIR_OK) {
        *out_value = weir__vec_get(&prog->regs[prog->outputs[0]].vec, 0);
        if (!out_value->is_null && weir_type_is_string(expr->type.id)) {
            out_value->u.str = weir_arena_slice(arena, out_value->u.str);
        }
    }
    weir_expr_prog_destroy(prog);
    return rc;
}
