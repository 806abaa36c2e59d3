#include "tests/lib/rows.h"

#include <check.h>
#include <stdio.h>

#include "tests/lib/hot_assert.h"

struct weir_schema *weir_test_schema(void)
{
    struct weir_field fields[] = {
        {.name = "n", .type = weir_type_of(WEIR_TYPE_BIGINT)},
        {.name = "s", .type = weir_type_of(WEIR_TYPE_VARCHAR)},
    };
    struct weir_schema *schema = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_schema_create(fields, 2, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    return schema;
}

static struct weir_slice text_of(int64_t number, uint32_t str_bytes, char *buffer, size_t size)
{
    WEIR_HOT_ASSERT(str_bytes < size);
    int len = snprintf(buffer, size, "s%lld", (long long)number);
    for (; (uint32_t)len < str_bytes; len++) {
        buffer[len] = '.';
    }
    return weir_slice(buffer, (size_t)len);
}

struct weir_batch *weir_test_rows(const struct weir_schema *schema, int64_t first, uint32_t count, uint32_t str_bytes, struct weir_mem *mem)
{
    struct weir_batch_builder builder;
    char buffer[4096];
    weir_batch_builder_init(&builder, schema, count, mem);
    for (uint32_t i = 0; i < count; i++) {
        ((int64_t *)(void *)builder.cols[0].values)[i] = first + i;
        if ((first + i) % 7 == 0) {
            weir_column_builder_put_null(&builder.cols[1], i);
        } else {
            weir_column_builder_put_str(&builder.cols[1], i, text_of(first + i, str_bytes, buffer, sizeof(buffer)));
        }
        builder.nrows++;
    }
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    weir_batch_builder_fini(&builder);
    return batch;
}

void weir_test_check_row(const struct weir_batch *batch, uint32_t i, int64_t number, uint32_t str_bytes)
{
    char buffer[4096];
    uint32_t row = batch->sel == NULL ? i : weir_batch_sel(batch)[i];
    WEIR_HOT_ASSERT_EQ(WEIR_COLUMN_VALUES(&batch->cols[0], const int64_t)[row], number);
    WEIR_HOT_ASSERT_EQ(weir_column_is_null(&batch->cols[1], row), (number % 7 == 0));
    if (number % 7 != 0) {
        WEIR_HOT_ASSERT(weir_slice_eq(weir_column_slice(&batch->cols[1], row), text_of(number, str_bytes, buffer, sizeof(buffer))));
    }
}
