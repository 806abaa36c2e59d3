/*
 * COUNT, SUM, AVG, MIN, MAX.
 *
 * A1  Accumulators are read and written as structs of 8-byte words at 8-byte aligned places.
 * A2  Sums of integers and DECIMALs are exact in 128 bits, whatever the order of rows, and are checked when they are read: a sum that
 *     left its type's range and came back is right. Sums of doubles depend on the order.
 * A3  `count` is the number of values that are not NULL; a result over none is NULL, also after retractions.
 */
#include "common/expr/agg_basic.h"

#include "common/data/value.h"
#include "common/expr/decimal.h"

struct count_acc {
    int64_t count;
};

struct sum_acc { /* of integers and DECIMALs */
    uint64_t low, high; /* a 128-bit two's complement number */
    int64_t count;
};

struct double_acc {
    double sum;
    int64_t count;
};

struct extreme_acc {
    uint64_t low, high; /* of doubles, `low` holds the bits */
    uint64_t has;
};

struct text_acc {
    uint64_t handle; /* into the heap, 0: none */
};

_Static_assert(sizeof(struct sum_acc) <= WEIR_AGG_BYTES_MAX, "accumulators are small");
_Static_assert(sizeof(struct extreme_acc) <= WEIR_AGG_BYTES_MAX, "accumulators are small");

static __int128 get_wide(uint64_t low, uint64_t high)
{
    return (__int128)((unsigned __int128)high << 64 | low);
}

static void put_wide(uint64_t *low, uint64_t *high, __int128 value)
{
    *low = (uint64_t)value;
    *high = (uint64_t)((unsigned __int128)value >> 64);
}

#define ACC(c_type, acc) ((c_type *)(void *)(acc))
#define CONST_ACC(c_type, acc) ((const c_type *)(const void *)(acc))

static enum weir_rc too_large(struct weir_error *err, const char *name, struct weir_type type)
{
    type.not_null = false;
    return weir_error_set(err, WEIR_DATA, "%s: the result does not fit %s; CAST the argument to a wider type", name, weir_type_text(type).text);
}

/* --- COUNT ------------------------------------------------------------------------------------------------------------ */

static enum weir_rc count_update(uint8_t *const *accs, uint32_t offset, const struct weir_column *arg, const uint16_t *rows, uint32_t count,
                                 const int8_t *sign, struct weir_agg_heap *heap, struct weir_error *err)
{
    (void)heap;
    (void)err;
    bool all = arg == NULL || arg->validity == NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (all || !weir_column_is_null(arg, rows[i])) {
            ACC(struct count_acc, accs[i] + offset)->count += sign == NULL ? 1 : sign[i];
        }
    }
    return WEIR_OK;
}

static enum weir_rc count_merge(uint8_t *into, const uint8_t *from, struct weir_agg_heap *into_heap, const struct weir_agg_heap *from_heap,
                                struct weir_error *err)
{
    (void)into_heap;
    (void)from_heap;
    (void)err;
    ACC(struct count_acc, into)->count += CONST_ACC(struct count_acc, from)->count;
    return WEIR_OK;
}

static enum weir_rc count_result(const uint8_t *acc, const struct weir_agg_heap *heap, struct weir_type type, struct weir_column_builder *col,
                                 uint32_t row, struct weir_error *err)
{
    (void)heap;
    (void)type;
    (void)err;
    ((int64_t *)(void *)col->values)[row] = CONST_ACC(struct count_acc, acc)->count;
    return WEIR_OK;
}

const struct weir_agg weir__agg_count = {.name = "COUNT", .acc_bytes = sizeof(struct count_acc), .retractable = true,
                                         .update = count_update, .merge = count_merge, .result = count_result};

/* --- SUM, AVG of integers and DECIMALs -------------------------------------------------------------------------------- */

/* Adds one value; false beyond 128 bits, which only DECIMALs near 38 digits can reach. */
static inline bool add_wide(struct sum_acc *acc, __int128 value, int64_t sign)
{
    __int128 sum = get_wide(acc->low, acc->high);
    bool fits = sign > 0 ? !__builtin_add_overflow(sum, value, &sum) : !__builtin_sub_overflow(sum, value, &sum);
    put_wide(&acc->low, &acc->high, sum);
    acc->count += sign;
    return fits;
}

#define SUM_UPDATE(name, c_type)                                                                                                           \
    static enum weir_rc name(uint8_t *const *accs, uint32_t offset, const struct weir_column *arg, const uint16_t *rows, uint32_t count,   \
                             const int8_t *sign, struct weir_agg_heap *heap, struct weir_error *err)                                       \
    {                                                                                                                                      \
        (void)heap;                                                                                                                        \
        const c_type *values = WEIR_COLUMN_VALUES(arg, const c_type);                                                                      \
        for (uint32_t i = 0; i < count; i++) {                                                                                             \
            if (weir_column_is_null(arg, rows[i])) {                                                                                       \
                continue;                                                                                                                  \
            }                                                                                                                              \
            if (!add_wide(ACC(struct sum_acc, accs[i] + offset), values[rows[i]], sign == NULL ? 1 : sign[i])) {                           \
                return too_large(err, "SUM", arg->type);                                                                                   \
            }                                                                                                                              \
        }                                                                                                                                  \
        return WEIR_OK;                                                                                                                    \
    }

SUM_UPDATE(sum_update_i8, int8_t)
SUM_UPDATE(sum_update_i16, int16_t)
SUM_UPDATE(sum_update_i32, int32_t)
SUM_UPDATE(sum_update_i64, int64_t)
SUM_UPDATE(sum_update_i128, __int128)

static enum weir_rc sum_merge(uint8_t *into, const uint8_t *from, struct weir_agg_heap *into_heap, const struct weir_agg_heap *from_heap,
                              struct weir_error *err)
{
    (void)into_heap;
    (void)from_heap;
    struct sum_acc *to = ACC(struct sum_acc, into);
    const struct sum_acc *other = CONST_ACC(struct sum_acc, from);
    int64_t count = to->count + other->count;
    bool fits = add_wide(to, get_wide(other->low, other->high), 1);
    to->count = count;
    return fits ? WEIR_OK : too_large(err, "SUM", weir_type_of(WEIR_TYPE_DECIMAL));
}

/* Puts an exact number into the result column, checking its range. */
static enum weir_rc put_exact(__int128 value, const char *name, struct weir_type type, struct weir_column_builder *col, uint32_t row,
                              struct weir_error *err)
{
    struct weir_value boxed = {.type = type};
    if (type.id == WEIR_TYPE_DECIMAL) {
        if (!weir__decimal_fits(value, type.precision)) {
            return too_large(err, name, type);
        }
        boxed.u.decimal = value;
    } else {
        int bits = (int)weir_type_width(type.id) * 8 - 1;
        if (value < -((__int128)1 << bits) || value >= (__int128)1 << bits) {
            return too_large(err, name, type);
        }
        boxed.u.i64 = (int64_t)value;
    }
    weir_value_put(&boxed, col, row);
    return WEIR_OK;
}

static enum weir_rc sum_result(const uint8_t *acc, const struct weir_agg_heap *heap, struct weir_type type, struct weir_column_builder *col,
                               uint32_t row, struct weir_error *err)
{
    (void)heap;
    const struct sum_acc *sum = CONST_ACC(struct sum_acc, acc);
    if (sum->count == 0) {
        weir_column_builder_put_null(col, row);
        return WEIR_OK;
    }
    return put_exact(get_wide(sum->low, sum->high), "SUM", type, col, row, err);
}

static enum weir_rc avg_result(const uint8_t *acc, const struct weir_agg_heap *heap, struct weir_type type, struct weir_column_builder *col,
                               uint32_t row, struct weir_error *err)
{
    (void)heap;
    const struct sum_acc *sum = CONST_ACC(struct sum_acc, acc);
    if (sum->count == 0) {
        weir_column_builder_put_null(col, row);
        return WEIR_OK;
    }
    return put_exact(get_wide(sum->low, sum->high) / sum->count, "AVG", type, col, row, err);
}

/* The accumulator does not say the argument's scale: below 6 the result's is 6, and the sum is kept at 6 digits from the start
 * (see avg_update_i128), else the two are the same. */
static enum weir_rc avg_result_i128(const uint8_t *acc, const struct weir_agg_heap *heap, struct weir_type type,
                                    struct weir_column_builder *col, uint32_t row, struct weir_error *err)
{
    (void)heap;
    const struct sum_acc *sum = CONST_ACC(struct sum_acc, acc);
    if (sum->count == 0) {
        weir_column_builder_put_null(col, row);
        return WEIR_OK;
    }
    __int128 average;
    if (!weir__decimal_divide(get_wide(sum->low, sum->high), type.scale, sum->count, 0, type.scale, &average)) {
        return too_large(err, "AVG", type);
    }
    return put_exact(average, "AVG", type, col, row, err);
}

static enum weir_rc avg_update_i128(uint8_t *const *accs, uint32_t offset, const struct weir_column *arg, const uint16_t *rows, uint32_t count,
                                    const int8_t *sign, struct weir_agg_heap *heap, struct weir_error *err)
{
    (void)heap;
    const __int128 *values = WEIR_COLUMN_VALUES(arg, const __int128);
    uint32_t scale = arg->type.scale < 6 ? 6 : arg->type.scale;
    for (uint32_t i = 0; i < count; i++) {
        if (weir_column_is_null(arg, rows[i])) {
            continue;
        }
        __int128 value;
        if (!weir__decimal_rescale(values[rows[i]], arg->type.scale, scale, &value) ||
            !add_wide(ACC(struct sum_acc, accs[i] + offset), value, sign == NULL ? 1 : sign[i])) {
            return too_large(err, "AVG", arg->type);
        }
    }
    return WEIR_OK;
}

/* --- SUM, AVG of FLOAT and DOUBLE ------------------------------------------------------------------------------------- */

#define DOUBLE_UPDATE(name, c_type)                                                                                                        \
    static enum weir_rc name(uint8_t *const *accs, uint32_t offset, const struct weir_column *arg, const uint16_t *rows, uint32_t count,   \
                             const int8_t *sign, struct weir_agg_heap *heap, struct weir_error *err)                                       \
    {                                                                                                                                      \
        (void)heap;                                                                                                                        \
        (void)err;                                                                                                                         \
        const c_type *values = WEIR_COLUMN_VALUES(arg, const c_type);                                                                      \
        for (uint32_t i = 0; i < count; i++) {                                                                                             \
            if (weir_column_is_null(arg, rows[i])) {                                                                                       \
                continue;                                                                                                                  \
            }                                                                                                                              \
            struct double_acc *acc = ACC(struct double_acc, accs[i] + offset);                                                             \
            int64_t by = sign == NULL ? 1 : sign[i];                                                                                       \
            acc->count += by;                                                                                                              \
            acc->sum += (double)by * (double)values[rows[i]];                                                                              \
        }                                                                                                                                  \
        return WEIR_OK;                                                                                                                    \
    }

DOUBLE_UPDATE(double_update_f32, float)
DOUBLE_UPDATE(double_update_f64, double)

static enum weir_rc double_merge(uint8_t *into, const uint8_t *from, struct weir_agg_heap *into_heap, const struct weir_agg_heap *from_heap,
                                 struct weir_error *err)
{
    (void)into_heap;
    (void)from_heap;
    (void)err;
    struct double_acc *to = ACC(struct double_acc, into);
    const struct double_acc *other = CONST_ACC(struct double_acc, from);
    to->count += other->count;
    to->sum += other->sum; /* also at a count of 0: a net -U and +U has one, and yet a sum */
    return WEIR_OK;
}

static enum weir_rc put_double(const uint8_t *acc, bool average, struct weir_type type, struct weir_column_builder *col, uint32_t row)
{
    const struct double_acc *sum = CONST_ACC(struct double_acc, acc);
    if (sum->count == 0) {
        weir_column_builder_put_null(col, row);
        return WEIR_OK;
    }
    struct weir_value value = {.type = type, .u.f64 = average ? sum->sum / (double)sum->count : sum->sum};
    weir_value_put(&value, col, row);
    return WEIR_OK;
}

static enum weir_rc double_sum_result(const uint8_t *acc, const struct weir_agg_heap *heap, struct weir_type type,
                                      struct weir_column_builder *col, uint32_t row, struct weir_error *err)
{
    (void)heap;
    (void)err;
    return put_double(acc, false, type, col, row);
}

static enum weir_rc double_avg_result(const uint8_t *acc, const struct weir_agg_heap *heap, struct weir_type type,
                                      struct weir_column_builder *col, uint32_t row, struct weir_error *err)
{
    (void)heap;
    (void)err;
    return put_double(acc, true, type, col, row);
}

#define EXACT(agg_name, update_fn, result_fn)                                                                     \
    {.name = agg_name, .acc_bytes = sizeof(struct sum_acc), .retractable = true, .update = update_fn, .merge = sum_merge, .result = result_fn}
#define FLOATING(agg_name, update_fn, result_fn)                                                                  \
    {.name = agg_name, .acc_bytes = sizeof(struct double_acc), .retractable = true, .update = update_fn, .merge = double_merge, \
     .result = result_fn}

const struct weir_agg *weir__agg_sum(enum weir_phys phys, bool average)
{
    static const struct weir_agg sums[] = {
        [WEIR_PHYS_I8] = EXACT("SUM", sum_update_i8, sum_result),
        [WEIR_PHYS_I16] = EXACT("SUM", sum_update_i16, sum_result),
        [WEIR_PHYS_I32] = EXACT("SUM", sum_update_i32, sum_result),
        [WEIR_PHYS_I64] = EXACT("SUM", sum_update_i64, sum_result),
        [WEIR_PHYS_F32] = FLOATING("SUM", double_update_f32, double_sum_result),
        [WEIR_PHYS_F64] = FLOATING("SUM", double_update_f64, double_sum_result),
        [WEIR_PHYS_I128] = EXACT("SUM", sum_update_i128, sum_result),
    };
    static const struct weir_agg averages[] = {
        [WEIR_PHYS_I8] = EXACT("AVG", sum_update_i8, avg_result),
        [WEIR_PHYS_I16] = EXACT("AVG", sum_update_i16, avg_result),
        [WEIR_PHYS_I32] = EXACT("AVG", sum_update_i32, avg_result),
        [WEIR_PHYS_I64] = EXACT("AVG", sum_update_i64, avg_result),
        [WEIR_PHYS_F32] = FLOATING("AVG", double_update_f32, double_avg_result),
        [WEIR_PHYS_F64] = FLOATING("AVG", double_update_f64, double_avg_result),
        [WEIR_PHYS_I128] = EXACT("AVG", avg_update_i128, avg_result_i128),
    };
    weir_assert(phys > WEIR_PHYS_BOOL);
    weir_assert(phys <= WEIR_PHYS_I128);
    return average ? &averages[phys] : &sums[phys];
}

/* --- MIN, MAX --------------------------------------------------------------------------------------------------------- */

static double as_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void keep_wide(struct extreme_acc *acc, __int128 value, bool greatest)
{
    __int128 best = get_wide(acc->low, acc->high);
    if (acc->has == 0 || (greatest ? value > best : value < best)) {
        put_wide(&acc->low, &acc->high, value);
    }
    acc->has = 1;
}

/* Java's order of doubles: NaN above everything. */
static void keep_double(struct extreme_acc *acc, double value, bool greatest)
{
    double best = as_double(acc->low);
    bool above = value > best || (value != value && best == best), below = value < best || (best != best && value == value);
    if (acc->has == 0 || (greatest ? above : below)) {
        memcpy(&acc->low, &value, sizeof(value));
    }
    acc->has = 1;
}

#define EXTREME_UPDATE(name, c_type, keep, greatest)                                                                                       \
    static enum weir_rc name(uint8_t *const *accs, uint32_t offset, const struct weir_column *arg, const uint16_t *rows, uint32_t count,   \
                             const int8_t *sign, struct weir_agg_heap *heap, struct weir_error *err)                                       \
    {                                                                                                                                      \
        (void)heap;                                                                                                                        \
        (void)err;                                                                                                                         \
        weir_assert(sign == NULL);                                                                                                         \
        const c_type *values = WEIR_COLUMN_VALUES(arg, const c_type);                                                                      \
        for (uint32_t i = 0; i < count; i++) {                                                                                             \
            if (!weir_column_is_null(arg, rows[i])) {                                                                                      \
                keep(ACC(struct extreme_acc, accs[i] + offset), values[rows[i]], greatest);                                                \
            }                                                                                                                              \
        }                                                                                                                                  \
        return WEIR_OK;                                                                                                                    \
    }

EXTREME_UPDATE(min_update_i8, int8_t, keep_wide, false)
EXTREME_UPDATE(min_update_i16, int16_t, keep_wide, false)
EXTREME_UPDATE(min_update_i32, int32_t, keep_wide, false)
EXTREME_UPDATE(min_update_i64, int64_t, keep_wide, false)
EXTREME_UPDATE(min_update_i128, __int128, keep_wide, false)
EXTREME_UPDATE(min_update_f32, float, keep_double, false)
EXTREME_UPDATE(min_update_f64, double, keep_double, false)
EXTREME_UPDATE(max_update_i8, int8_t, keep_wide, true)
EXTREME_UPDATE(max_update_i16, int16_t, keep_wide, true)
EXTREME_UPDATE(max_update_i32, int32_t, keep_wide, true)
EXTREME_UPDATE(max_update_i64, int64_t, keep_wide, true)
EXTREME_UPDATE(max_update_i128, __int128, keep_wide, true)
EXTREME_UPDATE(max_update_f32, float, keep_double, true)
EXTREME_UPDATE(max_update_f64, double, keep_double, true)

#define EXTREME_MERGE(name, keep, value, greatest)                                                                                         \
    static enum weir_rc name(uint8_t *into, const uint8_t *from, struct weir_agg_heap *into_heap, const struct weir_agg_heap *from_heap,   \
                             struct weir_error *err)                                                                                       \
    {                                                                                                                                      \
        (void)into_heap;                                                                                                                   \
        (void)from_heap;                                                                                                                   \
        (void)err;                                                                                                                         \
        const struct extreme_acc *other = CONST_ACC(struct extreme_acc, from);                                                             \
        if (other->has != 0) {                                                                                                             \
            keep(ACC(struct extreme_acc, into), value, greatest);                                                                          \
        }                                                                                                                                  \
        return WEIR_OK;                                                                                                                    \
    }

EXTREME_MERGE(min_merge_wide, keep_wide, get_wide(other->low, other->high), false)
EXTREME_MERGE(max_merge_wide, keep_wide, get_wide(other->low, other->high), true)
EXTREME_MERGE(min_merge_double, keep_double, as_double(other->low), false)
EXTREME_MERGE(max_merge_double, keep_double, as_double(other->low), true)

static enum weir_rc extreme_result(const uint8_t *acc, const struct weir_agg_heap *heap, struct weir_type type, struct weir_column_builder *col,
                                   uint32_t row, struct weir_error *err)
{
    (void)heap;
    (void)err;
    const struct extreme_acc *best = CONST_ACC(struct extreme_acc, acc);
    struct weir_value value = {.type = type};
    if (best->has == 0) {
        weir_column_builder_put_null(col, row);
        return WEIR_OK;
    }
    if (type.id == WEIR_TYPE_FLOAT || type.id == WEIR_TYPE_DOUBLE) {
        value.u.f64 = as_double(best->low);
    } else if (type.id == WEIR_TYPE_DECIMAL) {
        value.u.decimal = get_wide(best->low, best->high);
    } else {
        value.u.i64 = (int64_t)best->low;
    }
    weir_value_put(&value, col, row);
    return WEIR_OK;
}

/* --- MIN, MAX of strings ---------------------------------------------------------------------------------------------- */

static void keep_text(struct text_acc *acc, struct weir_slice value, bool greatest, struct weir_agg_heap *heap)
{
    int order = acc->handle == 0 ? 0 : weir_slice_cmp(value, weir__agg_heap_get(heap, acc->handle));
    if (acc->handle == 0 || (greatest ? order > 0 : order < 0)) {
        acc->handle = weir__agg_heap_put(heap, acc->handle, value);
    }
}

#define TEXT_FUNCTIONS(update_name, merge_name, greatest)                                                                                  \
    static enum weir_rc update_name(uint8_t *const *accs, uint32_t offset, const struct weir_column *arg, const uint16_t *rows,            \
                                    uint32_t count, const int8_t *sign, struct weir_agg_heap *heap, struct weir_error *err)                \
    {                                                                                                                                      \
        (void)err;                                                                                                                         \
        weir_assert(sign == NULL);                                                                                                         \
        for (uint32_t i = 0; i < count; i++) {                                                                                             \
            if (!weir_column_is_null(arg, rows[i])) {                                                                                      \
                keep_text(ACC(struct text_acc, accs[i] + offset), weir_column_slice(arg, rows[i]), greatest, heap);                        \
            }                                                                                                                              \
        }                                                                                                                                  \
        return WEIR_OK;                                                                                                                    \
    }                                                                                                                                      \
    static enum weir_rc merge_name(uint8_t *into, const uint8_t *from, struct weir_agg_heap *into_heap,                                    \
                                   const struct weir_agg_heap *from_heap, struct weir_error *err)                                          \
    {                                                                                                                                      \
        (void)err;                                                                                                                         \
        uint64_t other = CONST_ACC(struct text_acc, from)->handle;                                                                         \
        if (other != 0) {                                                                                                                  \
            keep_text(ACC(struct text_acc, into), weir__agg_heap_get(from_heap, other), greatest, into_heap);                              \
        }                                                                                                                                  \
        return WEIR_OK;                                                                                                                    \
    }

TEXT_FUNCTIONS(min_update_text, min_merge_text, false)
TEXT_FUNCTIONS(max_update_text, max_merge_text, true)

static enum weir_rc text_result(const uint8_t *acc, const struct weir_agg_heap *heap, struct weir_type type, struct weir_column_builder *col,
                                uint32_t row, struct weir_error *err)
{
    (void)type;
    (void)err;
    uint64_t handle = CONST_ACC(struct text_acc, acc)->handle;
    if (handle == 0) {
        weir_column_builder_put_null(col, row);
    } else {
        weir_column_builder_put_str(col, row, weir__agg_heap_get(heap, handle));
    }
    return WEIR_OK;
}

static void text_release(uint8_t *acc, struct weir_agg_heap *heap)
{
    struct text_acc *text = ACC(struct text_acc, acc);
    if (text->handle != 0) {
        weir__agg_heap_drop(heap, text->handle);
        text->handle = 0;
    }
}

/* u8 1 | u32 length | bytes, or u8 0. */
static void text_encode(const uint8_t *acc, const struct weir_agg_heap *heap, struct weir_buf *out)
{
    uint64_t handle = CONST_ACC(struct text_acc, acc)->handle;
    weir_buf_put_u8(out, handle != 0);
    if (handle != 0) {
        weir_buf_put_bytes(out, weir__agg_heap_get(heap, handle));
    }
}

static enum weir_rc text_decode(struct weir_slice bytes, uint8_t *acc, struct weir_agg_heap *heap, struct weir_error *err)
{
    struct weir_reader reader = weir_reader(bytes);
    uint8_t has = weir_read_u8(&reader);
    struct weir_slice value = has == 1 ? weir_read_bytes(&reader) : weir_slice(NULL, 0);
    if (reader.failed || has > 1 || reader.rest.len != 0 || value.len > WEIR_RECORD_BYTES_MAX) {
        return weir_error_set(err, WEIR_CORRUPT, "a MIN or MAX accumulator of %zu bytes is not whole", bytes.len);
    }
    ACC(struct text_acc, acc)->handle = has == 1 ? weir__agg_heap_put(heap, 0, value) : 0;
    return WEIR_OK;
}

#define PLAIN(agg_name, update_fn, merge_fn)                                                                       \
    {.name = agg_name, .acc_bytes = sizeof(struct extreme_acc), .update = update_fn, .merge = merge_fn, .result = extreme_result}
#define TEXT(agg_name, update_fn, merge_fn)                                                                        \
    {.name = agg_name, .acc_bytes = sizeof(struct text_acc), .uses_heap = true, .update = update_fn, .merge = merge_fn, .result = text_result, \
     .release = text_release, .encode = text_encode, .decode = text_decode}

const struct weir_agg *weir__agg_extreme(enum weir_phys phys, bool greatest)
{
    static const struct weir_agg minima[] = {
        [WEIR_PHYS_I8] = PLAIN("MIN", min_update_i8, min_merge_wide),     [WEIR_PHYS_I16] = PLAIN("MIN", min_update_i16, min_merge_wide),
        [WEIR_PHYS_I32] = PLAIN("MIN", min_update_i32, min_merge_wide),   [WEIR_PHYS_I64] = PLAIN("MIN", min_update_i64, min_merge_wide),
        [WEIR_PHYS_F32] = PLAIN("MIN", min_update_f32, min_merge_double), [WEIR_PHYS_F64] = PLAIN("MIN", min_update_f64, min_merge_double),
        [WEIR_PHYS_I128] = PLAIN("MIN", min_update_i128, min_merge_wide), [WEIR_PHYS_STR] = TEXT("MIN", min_update_text, min_merge_text),
    };
    static const struct weir_agg maxima[] = {
        [WEIR_PHYS_I8] = PLAIN("MAX", max_update_i8, max_merge_wide),     [WEIR_PHYS_I16] = PLAIN("MAX", max_update_i16, max_merge_wide),
        [WEIR_PHYS_I32] = PLAIN("MAX", max_update_i32, max_merge_wide),   [WEIR_PHYS_I64] = PLAIN("MAX", max_update_i64, max_merge_wide),
        [WEIR_PHYS_F32] = PLAIN("MAX", max_update_f32, max_merge_double), [WEIR_PHYS_F64] = PLAIN("MAX", max_update_f64, max_merge_double),
        [WEIR_PHYS_I128] = PLAIN("MAX", max_update_i128, max_merge_wide), [WEIR_PHYS_STR] = TEXT("MAX", max_update_text, max_merge_text),
    };
    weir_assert(phys > WEIR_PHYS_BOOL);
    weir_assert(phys <= WEIR_PHYS_STR);
    return greatest ? &maxima[phys] : &minima[phys];
}
