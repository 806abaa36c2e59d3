/*
 * Random batches over every type, for property tests. For tests only; deterministic from the seed in `rand`.
 */
#ifndef WEIR_TESTS_LIB_RANDOM_BATCH_H
#define WEIR_TESTS_LIB_RANDOM_BATCH_H

#include "common/base/rand.h"
#include "common/data/batch.h"

#include <check.h>
#include <math.h>
#include <stdio.h>

/* A schema with one column of every type, the last two NOT NULL. */
static inline struct weir_schema *random_schema(void)
{
    struct weir_field fields[WEIR_TYPE_INTERVAL_DAY + 2];
    char names[WEIR_TYPE_INTERVAL_DAY + 2][8];
    uint32_t count = 0;
    for (unsigned id = WEIR_TYPE_BOOLEAN; id <= WEIR_TYPE_INTERVAL_DAY; id++) {
        (void)snprintf(names[count], sizeof(names[count]), "c%u", id);
        fields[count] = (struct weir_field){.name = names[count], .type = weir_type_of((enum weir_type_id)id)};
        count++;
    }
    fields[count] = (struct weir_field){.name = "id", .type = weir_type_of(WEIR_TYPE_BIGINT)};
    fields[count++].type.not_null = true;
    fields[count] = (struct weir_field){.name = "text", .type = weir_type_of(WEIR_TYPE_VARCHAR)};
    fields[count++].type.not_null = true;
    struct weir_schema *schema = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_schema_create(fields, count, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    return schema;
}

static inline double random_double(struct weir_rand *rand)
{
    static const double special[] = {0.0, -0.0, 1.0, -1.5, NAN, INFINITY, -INFINITY, 1e-310, 1e300, 0.1};
    uint64_t pick = weir_rand_below(rand, 20);
    return pick < 10 ? special[pick] : (double)(int64_t)weir_rand_u64(rand) / 1024.0;
}

static inline void random_value(struct weir_rand *rand, struct weir_column_builder *col, uint32_t row)
{
    uint64_t bits = weir_rand_below(rand, 3) == 0 ? weir_rand_below(rand, 3) : weir_rand_u64(rand);
    uint32_t width = weir_type_width(col->type.id);
    if (col->type.id == WEIR_TYPE_BOOLEAN) {
        weir_column_builder_put_bool(col, row, (bits & 1) != 0);
    } else if (weir_type_is_string(col->type.id)) {
        uint8_t bytes[6000];
        uint64_t shape = weir_rand_below(rand, 100);
        size_t len = weir_rand_below(rand, shape < 60 ? 14 : shape < 99 ? 60 : sizeof(bytes));
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (uint8_t)('a' + (bits >> (i % 60)) % 3);
        }
        weir_column_builder_put_str(col, row, weir_slice(bytes, len));
    } else if (col->type.id == WEIR_TYPE_DOUBLE) {
        double value = random_double(rand);
        memcpy(col->values + (size_t)row * width, &value, width);
    } else if (col->type.id == WEIR_TYPE_FLOAT) {
        float value = (float)random_double(rand);
        memcpy(col->values + (size_t)row * width, &value, width);
    } else if (col->type.id == WEIR_TYPE_DECIMAL) {
        __int128 value = (__int128)(int64_t)bits * (int64_t)weir_rand_below(rand, 1000);
        memcpy(col->values + (size_t)row * width, &value, width);
    } else {
        memcpy(col->values + (size_t)row * width, &bits, width);
    }
}

enum { RANDOM_NULLS = 1, RANDOM_KINDS = 2, RANDOM_SEL = 4 };

static inline struct weir_batch *random_batch(struct weir_rand *rand, const struct weir_schema *schema, uint32_t nrows,
                                              unsigned flags, struct weir_mem *mem)
{
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, schema, nrows, mem);
    while (builder.nrows < nrows) {
        uint32_t row = builder.nrows;
        for (uint32_t i = 0; i < builder.ncols; i++) {
            if ((flags & RANDOM_NULLS) != 0 && !builder.cols[i].type.not_null && weir_rand_below(rand, 4) == 0) {
                weir_column_builder_put_null(&builder.cols[i], row);
            } else {
                random_value(rand, &builder.cols[i], row);
            }
        }
        if ((flags & RANDOM_KINDS) != 0) {
            weir_batch_builder_set_kind(&builder, row, (enum weir_row_kind)weir_rand_below(rand, 4));
        }
        builder.nrows++;
    }
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    weir_batch_builder_fini(&builder);
    if ((flags & RANDOM_SEL) != 0) {
        struct weir_buffer *sel = weir_buffer_create(nrows * sizeof(uint16_t), mem);
        uint32_t nsel = 0;
        for (uint32_t row = 0; row < nrows; row++) {
            if (weir_rand_below(rand, 2) == 0) {
                ((uint16_t *)(void *)sel->data)[nsel++] = (uint16_t)row;
            }
        }
        struct weir_batch *selected = weir_batch_select_take(batch, sel, nsel);
        weir_batch_unref(batch);
        batch = selected;
    }
    return batch;
}

/* Physical row of logical row i. */
static inline uint32_t physical(const struct weir_batch *batch, uint32_t i)
{
    return batch->sel == NULL ? i : weir_batch_sel(batch)[i];
}

static inline unsigned kind_at(const struct weir_batch *batch, uint32_t row)
{
    const uint8_t *kinds = weir_batch_kinds(batch);
    return kinds == NULL ? WEIR_INSERT : kinds[row];
}

/* Whether two physical values have the same bytes (or are both NULL). */
static inline bool values_same(const struct weir_column *a, uint32_t i, const struct weir_column *b, uint32_t j)
{
    bool null = weir_column_is_null(a, i);
    if (null != weir_column_is_null(b, j)) {
        return false;
    }
    uint32_t width = weir_type_width(a->type.id);
    return null                                   ? true
           : a->type.id == WEIR_TYPE_BOOLEAN      ? weir_column_bool(a, i) == weir_column_bool(b, j)
           : weir_type_is_string(a->type.id) ? weir_slice_eq(weir_column_slice(a, i), weir_column_slice(b, j))
           : memcmp(a->values->data + (size_t)i * width, b->values->data + (size_t)j * width, width) == 0;
}

/* Asserts that the logical rows of b are those of a. */
static inline void assert_same_rows(const struct weir_batch *a, const struct weir_batch *b)
{
    ck_assert_uint_eq(weir_batch_rows(a), weir_batch_rows(b));
    ck_assert_uint_eq(a->ncols, b->ncols);
    for (uint32_t i = 0; i < weir_batch_rows(a); i++) {
        uint32_t ra = physical(a, i);
        uint32_t rb = physical(b, i);
        for (uint32_t col = 0; col < a->ncols; col++) {
            ck_assert_msg(values_same(&a->cols[col], ra, &b->cols[col], rb), "row %u column %u", i, col);
        }
        ck_assert_uint_eq(kind_at(a, ra), kind_at(b, rb));
    }
}

#endif
