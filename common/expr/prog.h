/*
 * A program's code: registers and steps. Made by expr_prog.c, run by prog_run.c. Internal to common/expr.
 *
 * P1  Steps run once each, from first to last; a branch whose row list is empty is skipped forward. So a register lives from the
 *     step that first writes it to the last that reads it, and registers that never live together share an array (a slot).
 * P2  Row lists are levels: level 0 is the batch's selection, each branch narrows the one it is in. A register computed at a level
 *     is valid for the rows of that level and below.
 * P3  Columns are loaded when first used, for all rows of level 0, once an evaluation.
 */
#ifndef WEIR_COMMON_EXPR_PROG_H
#define WEIR_COMMON_EXPR_PROG_H

#include "common/data/batch.h"
#include "common/expr/fn.h"

enum weir_op {
    WEIR_OP_LOAD,       /* out := column, values and validity */
    WEIR_OP_LOAD_VALID, /* out := column, only whether it is NULL */
    WEIR_OP_CALL,       /* out := kernel(args) for the rows of `level` */
    WEIR_OP_BEGIN,      /* out becomes a register written in parts */
    WEIR_OP_COPY,       /* out := arg 0 for the rows of `level` */
    WEIR_OP_SAME_ROWS,  /* level + 1 := level */
    WEIR_OP_NARROW,     /* to_level := rows of level where arg 0 is as `test` says; to skip_to when there is none */
    WEIR_OP_SPLIT,      /* level + 1 := rows of level where arg 0 is TRUE, level keeps the others; to skip_to when there is none */
};

enum weir_row_test { WEIR_TEST_TRUE, WEIR_TEST_NOT_FALSE, WEIR_TEST_NOT_TRUE, WEIR_TEST_NULL };

struct weir_step {
    enum weir_op op;
    enum weir_row_test test;
    uint32_t level;
    uint32_t to_level;  /* NARROW */
    uint32_t out;       /* register */
    uint32_t first_arg; /* into prog->args */
    uint32_t nargs;
    uint32_t skip_to;   /* step */
    uint32_t flags;     /* of the function */
    bool safe;
    bool in_place;      /* out is also an argument: rows outside of `level` keep their values */
    weir_kernel *kernel;
    const void *state;
    const char *name;
    struct weir_expr_pos pos;
};

enum weir_reg_kind { WEIR_REG_CONSTANT, WEIR_REG_COLUMN, WEIR_REG_TEMP };

struct weir_reg {
    enum weir_reg_kind kind;
    struct weir_vec vec;
    uint32_t column;
    uint32_t first, last; /* steps between which it lives */
    uint32_t slot;        /* WEIR_NO_SLOT: none */
    bool loaded;          /* columns, in this evaluation: values and validity */
    bool valid_loaded;
};

enum { WEIR_NO_SLOT = UINT32_MAX };

struct weir_slot {
    void *values;
    uint8_t *valid;
    uint32_t width;
    uint32_t free_after; /* last step of its present tenant */
};

struct weir_level {
    const uint16_t *rows; /* NULL: all, 0 .. count-1 */
    uint32_t count;
    uint16_t *own; /* where its rows are written */
};

struct weir_expr_prog {
    struct weir_arena *arena; /* code and constants */
    struct weir_arena *scratch; /* strings of one evaluation */
    struct weir_step *steps;
    uint32_t nsteps, steps_cap;
    struct weir_reg *regs;
    uint32_t nregs, regs_cap;
    uint32_t *args;
    uint32_t nargs, args_cap;
    struct weir_slot *slots;
    uint32_t nslots;
    struct weir_level *levels;
    uint32_t nlevels;
    uint32_t args_max; /* of one step */
    struct weir_vec *call_args;
    uint32_t rows_max;
    uint32_t *outputs; /* registers */
    struct weir_type *output_types;
    uint32_t noutputs;
    uint32_t ncolumns; /* of the input */
};

/* Like weir_expr_prog_create, for at most rows_max rows. */
enum weir_rc weir__prog_create(const struct weir_expr *const *exprs, uint32_t count, uint32_t ncolumns, uint32_t rows_max,
                               struct weir_expr_prog **out_prog, struct weir_error *err) WEIR_CHECKED;

/* Runs all steps over the rows of a batch (NULL: over one row without columns). Registers hold until the next run. */
enum weir_rc weir__prog_run(struct weir_expr_prog *prog, const struct weir_batch *batch, int64_t now_ms, struct weir_error *err) WEIR_CHECKED;

#endif
