/*
 * Three-valued logic on bytes: each truth value is (value, valid), a value under valid = 0 means nothing.
 */
#include "common/expr/fn_loop.h"


static void and_or(struct weir_fn_call *call, uint8_t decides)
{
    const struct weir_vec *a = &call->args[0], *b = &call->args[1];
    const uint8_t *va = a->values, *vb = b->values;
    uint8_t *out = call->out.values, *out_valid = call->out.valid;
    if (a->valid == NULL && b->valid == NULL && out_valid == NULL) {
        if (decides == 0) {
            WEIR_LOOP_BINARY(call, uint8_t, uint8_t, x & y);
        } else {
            WEIR_LOOP_BINARY(call, uint8_t, uint8_t, x | y);
        }
        return;
    }
    weir_assert(out_valid != NULL);
    static const uint8_t yes = 1;
    const uint8_t *la = a->valid != NULL ? a->valid : &yes, *lb = b->valid != NULL ? b->valid : &yes;
    uint32_t ma = a->valid != NULL ? a->mask : 0, mb = b->valid != NULL ? b->mask : 0;
    WEIR_EACH_ROW(call, i) {
        /* For AND `decides` is FALSE, for OR it is TRUE: one decided operand settles the result. */
        uint8_t xa = va[i & a->mask], xb = vb[i & b->mask], na = la[i & ma], nb = lb[i & mb];
        uint8_t da = (uint8_t)(na & (xa ^ decides ^ 1)), db = (uint8_t)(nb & (xb ^ decides ^ 1));
        uint8_t decided = da | db;
        out[i] = (uint8_t)(decided ^ decides ^ 1);
        out_valid[i] = decided | (na & nb);
    }
}

enum weir_rc weir__fn_and(struct weir_fn_call *call)
{
    and_or(call, 0);
    return WEIR_OK;
}

enum weir_rc weir__fn_or(struct weir_fn_call *call)
{
    and_or(call, 1);
    return WEIR_OK;
}

enum weir_rc weir__fn_not(struct weir_fn_call *call)
{
    WEIR_LOOP_UNARY(call, uint8_t, uint8_t, x ^ 1);
    return WEIR_OK;
}

/* COALESCE is run step by step by the program and has no kernel to call with everything at once. */
enum weir_rc weir__fn_coalesce(struct weir_fn_call *call)
{
    (void)call;
    weir_assert(false);
    return WEIR_INVALID;
}

static void put_valid(struct weir_fn_call *call, uint8_t flip)
{
    const struct weir_vec *a = &call->args[0];
    uint8_t *restrict out = call->out.values;
    const uint8_t *restrict valid = a->valid;
    if (call->rows == NULL && valid != NULL && a->mask != 0) {
        for (uint32_t i = 0; i < call->count; i++) {
            out[i] = valid[i] ^ flip;
        }
        return;
    }
    WEIR_EACH_ROW(call, i) {
        out[i] = (valid == NULL ? 1 : valid[i & a->mask]) ^ flip;
    }
}

enum weir_rc weir__fn_is_null(struct weir_fn_call *call)
{
    put_valid(call, 1);
    return WEIR_OK;
}

enum weir_rc weir__fn_is_not_null(struct weir_fn_call *call)
{
    put_valid(call, 0);
    return WEIR_OK;
}

static void is_truth(struct weir_fn_call *call, uint8_t wanted, uint8_t flip)
{
    const struct weir_vec *a = &call->args[0];
    uint8_t *out = call->out.values;
    WEIR_EACH_ROW(call, i) {
        uint8_t valid = a->valid == NULL ? 1 : a->valid[i & a->mask];
        out[i] = (uint8_t)((valid & (WEIR_VEC(a, uint8_t, i) ^ wanted ^ 1)) ^ flip);
    }
}

enum weir_rc weir__fn_is_true(struct weir_fn_call *call)
{
    is_truth(call, 1, 0);
    return WEIR_OK;
}

enum weir_rc weir__fn_is_not_true(struct weir_fn_call *call)
{
    is_truth(call, 1, 1);
    return WEIR_OK;
}

enum weir_rc weir__fn_is_false(struct weir_fn_call *call)
{
    is_truth(call, 0, 0);
    return WEIR_OK;
}

enum weir_rc weir__fn_is_not_false(struct weir_fn_call *call)
{
    is_truth(call, 0, 1);
    return WEIR_OK;
}
