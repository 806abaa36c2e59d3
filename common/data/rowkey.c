#include "common/data/rowkey.h"

#include "common/base/assert.h"
#include "common/base/hash.h"

#include <math.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "columns lie in memory as keys lie in state: little endian");

enum {
    TAG_NULL = 0,
    TAG_VALUE = 1,
    FIXED_KEY_BYTES_MAX = 1 + 16,
};

/* Bytes of a value in a key; 0 for strings. */
static uint32_t key_width(enum weir_type_id id)
{
    return id == WEIR_TYPE_BOOLEAN ? 1 : weir_type_is_string(id) ? 0 : weir_type_width(id);
}

/* All values that are "not distinct" in SQL have one pattern of bits. */
static uint64_t canonical_f64(double value)
{
    uint64_t bits;
    value = value == 0 ? 0.0 : value;
    memcpy(&bits, &value, sizeof(bits));
    return isnan(value) ? 0x7ff8000000000000u : bits;
}

static uint32_t canonical_f32(float value)
{
    uint32_t bits;
    value = value == 0 ? 0.0f : value;
    memcpy(&bits, &value, sizeof(bits));
    return isnan(value) ? 0x7fc00000u : bits;
}

/* One loop per kind of value: `row` is the physical row, `to` where tag and value of logical row i go. */
#define FOR_ROWS(body)                                                        \
    for (uint32_t i = 0; i < count; i++) {                                    \
        uint32_t row = sel == NULL ? i : sel[i];                              \
        uint8_t *to = scattered ? cursor[i] : out + (size_t)i * stride;       \
        to[0] = TAG_VALUE;                                                    \
        body                                                                  \
    }

/* Tag and value of a fixed-width column, as if nothing were NULL: at cursor[i] when scattered, else every `stride` bytes from
 * out on. Inlined, so that each caller has its own loops. */
static inline __attribute__((always_inline)) void encode_each(const struct weir_column *col, const uint16_t *sel, uint32_t count,
                                                              bool scattered, uint8_t *const *cursor,
                                                              uint8_t *out, size_t stride)
{
    const uint8_t *values = col->values->data;
    if (col->type.id == WEIR_TYPE_BOOLEAN) {
        FOR_ROWS(to[1] = weir_column_bool(col, row) ? 1 : 0;)
    } else if (col->type.id == WEIR_TYPE_DOUBLE) {
        FOR_ROWS(uint64_t bits = canonical_f64(((const double *)(const void *)values)[row]); memcpy(to + 1, &bits, 8);)
    } else if (col->type.id == WEIR_TYPE_FLOAT) {
        FOR_ROWS(uint32_t bits = canonical_f32(((const float *)(const void *)values)[row]); memcpy(to + 1, &bits, 4);)
    } else {
        uint32_t width = weir_type_width(col->type.id);
        if (width == 8) {
            FOR_ROWS(memcpy(to + 1, values + (size_t)row * 8, 8);)
        } else if (width == 4) {
            FOR_ROWS(memcpy(to + 1, values + (size_t)row * 4, 4);)
        } else if (width == 16) {
            FOR_ROWS(memcpy(to + 1, values + (size_t)row * 16, 16);)
        } else if (width == 2) {
            FOR_ROWS(memcpy(to + 1, values + (size_t)row * 2, 2);)
        } else {
            weir_assert(width == 1);
            FOR_ROWS(to[1] = values[row];)
        }
    }
}

static void encode_fixed(const struct weir_column *col, const uint16_t *sel, uint32_t count, uint8_t *out, size_t stride)
{
    encode_each(col, sel, count, false, NULL, out, stride);
}

/* Tag and value of any column; cursor[i] moves past what row i got. */
static void encode_any(const struct weir_column *col, const uint16_t *sel, uint32_t count, uint8_t **cursor,
                       struct weir_arena *arena)
{
    if (weir_type_is_string(col->type.id)) {
        for (uint32_t i = 0; i < count; i++) {
            uint32_t row = sel == NULL ? i : sel[i];
            uint8_t *to = cursor[i];
            if (weir_column_is_null(col, row)) {
                *to = TAG_NULL;
                cursor[i] = to + 1;
                continue;
            }
            struct weir_slice s = weir_column_slice(col, row);
            uint32_t len = (uint32_t)s.len;
            *to = TAG_VALUE;
            memcpy(to + 1, &len, 4);
            memcpy(to + 5, s.data, len);
            cursor[i] = to + 5 + len;
        }
        return;
    }
    uint32_t stride = 1 + key_width(col->type.id);
    if (col->validity == NULL) {
        encode_each(col, sel, count, true, cursor, NULL, 0);
        for (uint32_t i = 0; i < count; i++) {
            cursor[i] += stride;
        }
        return;
    }
    /* A NULL takes one byte only: encoded aside, then what is not NULL is copied. */
    uint8_t *fixed = weir_arena_alloc(arena, (size_t)count * stride);
    encode_fixed(col, sel, count, fixed, stride);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t row = sel == NULL ? i : sel[i];
        if (weir_column_is_null(col, row)) {
            *cursor[i] = TAG_NULL;
            cursor[i] += 1;
        } else {
            memcpy(cursor[i], fixed + (size_t)i * stride, stride);
            cursor[i] += stride;
        }
    }
}

/* Adds what row i's value of the column takes to bytes[i]. */
static void add_bytes(const struct weir_column *col, const uint16_t *sel, uint32_t count, size_t *bytes)
{
    uint32_t fixed = 1 + key_width(col->type.id);
    bool is_string = weir_type_is_string(col->type.id);
    const struct weir_strview *views = WEIR_COLUMN_VALUES(col, const struct weir_strview);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t row = sel == NULL ? i : sel[i];
        if (weir_column_is_null(col, row)) {
            bytes[i] += 1;
        } else {
            bytes[i] += is_string ? 5 + (size_t)views[row].len : fixed;
        }
    }
}

/* The stride of keys that are all equally long; 0 when they are not. */
static uint32_t fixed_stride(const struct weir_batch *batch, const uint32_t *cols, uint32_t ncols)
{
    uint32_t stride = 0;
    for (uint32_t c = 0; c < ncols; c++) {
        const struct weir_column *col = &batch->cols[cols[c]];
        if (col->validity != NULL || weir_type_is_string(col->type.id)) {
            return 0;
        }
        stride += 1 + key_width(col->type.id);
    }
    return stride;
}

static void make_fixed(const struct weir_batch *batch, const uint32_t *cols, uint32_t ncols, uint32_t stride,
                       struct weir_arena *arena, struct weir_slice *key)
{
    uint32_t count = weir_batch_rows(batch);
    uint8_t *bytes = weir_arena_alloc(arena, (size_t)count * stride);
    uint32_t offset = 0;
    for (uint32_t c = 0; c < ncols; c++) {
        const struct weir_column *col = &batch->cols[cols[c]];
        encode_fixed(col, weir_batch_sel(batch), count, bytes + offset, stride);
        offset += 1 + key_width(col->type.id);
    }
    for (uint32_t i = 0; i < count; i++) {
        key[i] = weir_slice(bytes + (size_t)i * stride, stride);
    }
}

static void make_any(const struct weir_batch *batch, const uint32_t *cols, uint32_t ncols, struct weir_arena *arena,
                     struct weir_slice *key)
{
    uint32_t count = weir_batch_rows(batch);
    const uint16_t *sel = weir_batch_sel(batch);
    size_t *bytes = weir_arena_zalloc(arena, count * sizeof(*bytes));
    for (uint32_t c = 0; c < ncols; c++) {
        add_bytes(&batch->cols[cols[c]], sel, count, bytes);
    }
    size_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        total += bytes[i];
    }
    uint8_t *at = weir_arena_alloc(arena, total);
    uint8_t **cursor = weir_arena_alloc(arena, count * sizeof(*cursor));
    for (uint32_t i = 0; i < count; i++) {
        key[i] = weir_slice(at, bytes[i]);
        cursor[i] = at;
        at += bytes[i];
    }
    for (uint32_t c = 0; c < ncols; c++) {
        encode_any(&batch->cols[cols[c]], sel, count, cursor, arena);
    }
}

static const struct weir_slice *make_keys(const struct weir_batch *batch, const uint32_t *cols, uint32_t ncols,
                                          struct weir_arena *arena)
{
    struct weir_slice *key = weir_arena_alloc(arena, weir_batch_rows(batch) * sizeof(*key));
    uint32_t stride = fixed_stride(batch, cols, ncols);
    if (stride > 0) {
        make_fixed(batch, cols, ncols, stride, arena, key);
    } else {
        make_any(batch, cols, ncols, arena, key);
    }
    return key;
}

void weir_rowkeys_make(const struct weir_batch *batch, const uint32_t *cols, uint32_t ncols, struct weir_arena *arena,
                       struct weir_rowkeys *out_keys)
{
    uint32_t count = weir_batch_rows(batch);
    uint64_t *hash = weir_arena_alloc(arena, count * sizeof(*hash));
    const struct weir_slice *key = make_keys(batch, cols, ncols, arena);
    for (uint32_t i = 0; i < count; i++) {
        hash[i] = weir_hash_slice(key[i], 0);
    }
    *out_keys = (struct weir_rowkeys){.count = count, .hash = hash, .key = key};
}

/* One fixed-width column: the key of each row is made on the stack. Blocks, so that the loops stay tight. */
static void hash_one_fixed(const struct weir_column *col, const uint16_t *sel, uint32_t count, uint64_t *out_hash)
{
    enum { BLOCK = 64 };
    uint8_t keys[BLOCK * FIXED_KEY_BYTES_MAX];
    uint16_t rows[BLOCK];
    uint32_t stride = 1 + key_width(col->type.id);
    for (uint32_t from = 0; from < count; from += BLOCK) {
        uint32_t n = count - from < BLOCK ? count - from : BLOCK;
        for (uint32_t i = 0; i < n; i++) {
            rows[i] = sel == NULL ? (uint16_t)(from + i) : sel[from + i];
        }
        encode_fixed(col, rows, n, keys, stride);
        for (uint32_t i = 0; i < n; i++) {
            out_hash[from + i] = weir_hash_bytes(keys + (size_t)i * stride, stride, 0);
        }
    }
}

void weir_rowkeys_hash(const struct weir_batch *batch, const uint32_t *cols, uint32_t ncols, struct weir_arena *arena,
                       uint64_t *out_hash)
{
    uint32_t count = weir_batch_rows(batch);
    if (ncols == 1 && fixed_stride(batch, cols, ncols) > 0) {
        hash_one_fixed(&batch->cols[cols[0]], weir_batch_sel(batch), count, out_hash);
        return;
    }
    const struct weir_slice *key = make_keys(batch, cols, ncols, arena);
    for (uint32_t i = 0; i < count; i++) {
        out_hash[i] = weir_hash_slice(key[i], 0);
    }
}

static bool decode_value(struct weir_reader *reader, struct weir_column_builder *col, uint32_t row)
{
    if (weir_type_is_string(col->type.id)) {
        struct weir_slice s = weir_read_bytes(reader);
        if (reader->failed || s.len > WEIR_RECORD_BYTES_MAX) {
            return false;
        }
        weir_column_builder_put_str(col, row, s);
        return true;
    }
    uint32_t width = key_width(col->type.id);
    struct weir_slice value = weir_read_raw(reader, width);
    if (reader->failed) {
        return false;
    }
    if (col->type.id == WEIR_TYPE_BOOLEAN) {
        weir_column_builder_put_bool(col, row, value.data[0] != 0);
        return value.data[0] <= 1;
    }
    memcpy(col->values + (size_t)row * width, value.data, width);
    return true;
}

enum weir_rc weir_rowkey_decode(struct weir_slice key, struct weir_batch_builder *builder, const uint32_t *cols, uint32_t ncols,
                                uint32_t row, struct weir_error *err)
{
    weir_assert(row < builder->nrows_max);
    struct weir_reader reader = weir_reader(key);
    for (uint32_t c = 0; c < ncols; c++) {
        struct weir_column_builder *col = &builder->cols[cols[c]];
        uint8_t tag = weir_read_u8(&reader);
        if (reader.failed || tag > TAG_VALUE) {
            return weir_error_set(err, WEIR_CORRUPT, "key of %zu bytes: column %u of %u has no tag", key.len, c + 1, ncols);
        }
        if (tag == TAG_NULL) {
            weir_column_builder_put_null(col, row);
        } else if (!decode_value(&reader, col, row)) {
            return weir_error_set(err, WEIR_CORRUPT, "key of %zu bytes: column %u of %u is not a %s", key.len, c + 1, ncols,
                                  weir_type_text(col->type).text);
        }
    }
    if (reader.rest.len > 0) {
        return weir_error_set(err, WEIR_CORRUPT, "key of %zu bytes: %zu bytes too many after %u columns", key.len,
                              reader.rest.len, ncols);
    }
    return WEIR_OK;
}
