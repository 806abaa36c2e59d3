/*
 * Functions and their kernels: what the binder, the program and the kernels share. Internal to common/expr.
 *
 * A kernel computes one function over the rows of one call, column by column. Its values lie in plain arrays:
 *
 * K1  Operand and result arrays have one value per physical row; an operand that is constant has one value in all (mask 0).
 * K2  BOOLEAN is a byte of 0 or 1; strings are struct weir_str; validity is a byte per row of 0 or 1, or no array when nothing is
 *     NULL. (Batches hold both as bitmaps; the program translates.)
 * K3  Values of NULL rows are defined but meaningless: a kernel that cannot fail computes them too; one that can fail looks at
 *     `valid` first. For strict functions `out.valid` is already set when the kernel runs.
 */
#ifndef WEIR_COMMON_EXPR_FN_H
#define WEIR_COMMON_EXPR_FN_H

#include "common/base/assert.h"
#include "common/expr/expr.h"

enum weir_phys {
    WEIR_PHYS_BOOL,
    WEIR_PHYS_I8,
    WEIR_PHYS_I16,
    WEIR_PHYS_I32,
    WEIR_PHYS_I64,
    WEIR_PHYS_F32,
    WEIR_PHYS_F64,
    WEIR_PHYS_I128,
    WEIR_PHYS_STR,
};

/* A string in a register: the first 8 bytes decide most comparisons. prefix is zero-padded. */
struct weir_str {
    uint32_t len;
    uint8_t prefix[4];
    const uint8_t *data;
};

_Static_assert(sizeof(struct weir_str) == 16, "two strings a cache line half");

struct weir_vec {
    void *values;
    uint8_t *valid; /* see K2; for constants one byte */
    uint32_t mask;  /* row & mask is the index: 0 for a constant, else all ones */
    enum weir_phys phys;
    struct weir_type type;
};

struct weir_fn_call {
    const struct weir_vec *args;
    uint32_t nargs;
    struct weir_vec out;
    const uint16_t *rows; /* NULL: rows 0 .. count-1 */
    uint32_t count;
    struct weir_arena *arena; /* strings that live as long as the evaluation */
    const void *state;        /* what the function's prepare made, or NULL */
    int64_t now_ms;
    bool safe; /* TRY_CAST: NULL instead of failing */
    const char *name;
    struct weir_expr_pos pos;
    struct weir_error *err;
};

typedef enum weir_rc weir_kernel(struct weir_fn_call *call);

/* Loops over the rows of a call with `i` as the physical row. */
#define WEIR_EACH_ROW(call, i)                                                                                     \
    for (uint32_t k_##i = 0, i = 0; k_##i < (call)->count && (i = (call)->rows != NULL ? (call)->rows[k_##i] : k_##i, true); \
         k_##i++)

/* Of the strings that one evaluation makes; those of a single row may be longer together. */
enum { WEIR_EXPR_BATCH_BYTES_MAX = WEIR_RECORD_BYTES_MAX };

#define WEIR_VEC(vec, c_type, i) (((const c_type *)(vec)->values)[(i) & (vec)->mask])
#define WEIR_OUT(call, c_type) ((c_type *)(call)->out.values)

static inline bool weir__vec_valid(const struct weir_vec *vec, uint32_t i)
{
    return vec->valid == NULL || vec->valid[i & vec->mask] != 0;
}

static inline struct weir_str weir__str(const uint8_t *data, uint32_t len)
{
    struct weir_str s = {.len = len, .data = data};
    memcpy(s.prefix, data == NULL ? (const uint8_t *)"" : data, len < 4 ? len : 4);
    return s;
}

static inline bool weir__str_eq(struct weir_str a, struct weir_str b)
{
    uint64_t head_a, head_b;
    memcpy(&head_a, &a, sizeof(head_a));
    memcpy(&head_b, &b, sizeof(head_b));
    return head_a == head_b && (a.len <= 4 || memcmp(a.data + 4, b.data + 4, a.len - 4) == 0);
}

static inline int weir__str_cmp(struct weir_str a, struct weir_str b)
{
    int order = memcmp(a.prefix, b.prefix, 4);
    return order != 0 ? order : weir_slice_cmp(weir_slice(a.data, a.len), weir_slice(b.data, b.len));
}

/* How the argument and result types of a function are found. */
enum weir_fn_rule {
    WEIR_RULE_SIGNATURE, /* by the row's signature */
    WEIR_RULE_ADD,
    WEIR_RULE_SUBTRACT,
    WEIR_RULE_MULTIPLY,
    WEIR_RULE_DIVIDE,
    WEIR_RULE_MODULO,
    WEIR_RULE_COMPARE,  /* two of a kind -> BOOLEAN */
    WEIR_RULE_IN,       /* one against literals of its kind -> BOOLEAN */
    WEIR_RULE_COMMON,   /* all made one common type, which is the result */
    WEIR_RULE_SAME,     /* one number (or interval) -> the same type */
    WEIR_RULE_INTEGRAL, /* one number -> the same without fraction */
    WEIR_RULE_ROUND,
};

enum {
    WEIR_FN_FAILS = 1,      /* some values make it fail: evaluated only for the rows that need it */
    WEIR_FN_COSTLY = 2,     /* the same, because it is slow */
    WEIR_FN_HANDLES_NULL = 4, /* not strict: the kernel writes validity itself when any operand has it */
    WEIR_FN_MAKES_NULL = 8, /* strict, but may answer NULL to values: gets a writable validity array */
    WEIR_FN_NEVER_NULL = 16,
    WEIR_FN_VOLATILE = 32,  /* not folded: depends on now_ms */
    WEIR_FN_LAZY = 64,      /* no kernel call with all arguments: the program evaluates them one by one */
};

struct weir_fn {
    const char *name;
    enum weir_fn_rule rule;
    /* RULE_SIGNATURE: one letter per argument, see type_for in fn.c; "?" makes the letter before it optional, "*" repeats it. */
    const char *signature;
    const char *result; /* RULE_SIGNATURE: the result type as SQL text */
    uint32_t flags;
    weir_kernel *kernel;
};

enum weir_fn_id {
#define X(id, name, rule, signature, result, flags, kernel) WEIR_FN_##id,
#include "common/expr/fn.def"
#undef X
    WEIR_FN_COUNT_
};

extern const struct weir_fn weir__fns[WEIR_FN_COUNT_];

/* Every kernel of the table. */
#define X(id, name, rule, signature, result, flags, kernel) weir_kernel weir__fn_##kernel;
#include "common/expr/fn.def"
#undef X

/* Chooses the row for a name and arguments; arg_types[nargs] receives the type each argument must be cast to. INVALID. */
enum weir_rc weir__fn_choose(const char *name, struct weir_expr *const *args, uint32_t nargs, struct weir_expr_pos pos, uint32_t *out_fn,
                             struct weir_type *out_type, struct weir_type *arg_types, struct weir_error *err) WEIR_CHECKED;

/* Types (fn_type.c). */
enum weir_phys weir__phys_of(enum weir_type_id id);
uint32_t weir__phys_width(enum weir_phys phys);
/* The type both can be made without loss; false when there is none. */
bool weir__type_common(struct weir_type a, struct weir_type b, struct weir_type *out_type);
struct weir_type weir__type_decimal_of(struct weir_type type); /* an integer's type as DECIMAL */
struct weir_type weir__type_decimal(int precision, int scale); /* cut to 38 digits as Flink does */
/* Whether `from` may be cast to `to` explicitly, and whether that can fail on values. */
bool weir__cast_allowed(struct weir_type from, struct weir_type to);
bool weir__cast_fails(struct weir_type from, struct weir_type to);
/* Casts that leave the bytes of every value as they are. */
bool weir__cast_is_noop(struct weir_type from, struct weir_type to);
weir_kernel weir__fn_cast;

/* Prepared state of LIKE and IN, for a call bound to constant arguments; NULL when there is nothing to prepare. */
const void *weir__fn_prepare(const struct weir_expr *call, struct weir_arena *arena);
const void *weir__like_prepare(const struct weir_expr *call, struct weir_arena *arena); /* fn_str.c */
const void *weir__in_prepare(const struct weir_expr *call, struct weir_arena *arena);   /* fn_cmp.c */

/* Evaluates a bound expression that reads no column; strings are copied to the arena. */
enum weir_rc weir__expr_fold(const struct weir_expr *expr, struct weir_arena *arena, struct weir_value *out_value, struct weir_error *err)
    WEIR_CHECKED;

/* Puts a value into / takes it from one place of an array (K2). */
void weir__vec_store(enum weir_phys phys, void *values, uint32_t row, const struct weir_value *value);
struct weir_value weir__vec_get(const struct weir_vec *vec, uint32_t row);

/* "1:5: CAST: '...' is no INT" for a value that failed. */
enum weir_rc weir__fn_fail(const struct weir_fn_call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
