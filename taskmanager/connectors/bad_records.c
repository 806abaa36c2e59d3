#include "taskmanager/connectors/bad_records.h"

#include "common/base/buf.h"
#include "common/base/vec.h"
#include "common/json/json.h"
#include "common/plan/error_table.h"

struct weir_bad_records {
    const struct weir_table_spec *table;
    struct weir_mem *mem;
    struct weir_batch_builder builder;
    bool building;
    enum weir_error_column *columns; /* of the error table */
    struct weir_batch **full; /* oldest first */
    size_t nfull, full_cap;
};

enum weir_rc weir_bad_records_create(const struct weir_table_spec *table, struct weir_mem *mem, struct weir_bad_records **out_bad,
                                     struct weir_error *err)
{
    const struct weir_schema *schema = table->error_table->schema;
    enum weir_error_column *columns = weir_calloc(weir_schema_count(schema), sizeof(*columns));
    for (uint32_t i = 0; i < weir_schema_count(schema); i++) {
        enum weir_rc rc = weir_error_column(schema, i, &columns[i], err);
        if (rc != WEIR_OK) {
            weir_free(columns);
            return rc;
        }
    }
    struct weir_bad_records *bad = weir_calloc(1, sizeof(*bad));
    *bad = (struct weir_bad_records){.table = table, .mem = mem, .columns = columns};
    *out_bad = bad;
    return WEIR_OK;
}

void weir_bad_records_destroy(struct weir_bad_records *bad)
{
    if (bad == NULL) {
        return;
    }
    for (size_t i = 0; i < bad->nfull; i++) {
        weir_batch_unref(bad->full[i]);
    }
    weir_free(bad->full);
    weir_free(bad->columns);
    weir_batch_builder_fini(&bad->builder);
    weir_free(bad);
}

/* Length of the UTF-8 character at the front; 0: it is none. */
static size_t character(struct weir_slice text)
{
    for (size_t len = 1; len <= 4 && len <= text.len; len++) {
        if (weir_utf8_valid(weir_slice(text.data, len))) {
            return len;
        }
    }
    return 0;
}

static void put_text(struct weir_column_builder *col, uint32_t row, struct weir_slice bytes)
{
    if (weir_utf8_valid(bytes)) {
        weir_column_builder_put_str(col, row, bytes);
        return;
    }
    struct weir_buf text = {0};
    for (size_t i = 0; i < bytes.len;) {
        struct weir_slice rest = weir_slice(bytes.data + i, bytes.len - i);
        size_t valid = character(rest);
        weir_buf_put_slice(&text, valid == 0 ? weir_slice_str("\xef\xbf\xbd") : weir_slice(rest.data, valid));
        i += valid == 0 ? 1 : valid;
    }
    weir_column_builder_put_str(col, row, weir_buf_slice(&text));
    weir_buf_fini(&text);
}

static void end_batch(struct weir_bad_records *bad)
{
    bad->full = weir_vec_grow(bad->full, &bad->full_cap, sizeof(struct weir_batch *), bad->nfull + 1);
    bad->full[bad->nfull++] = weir_batch_builder_finish(&bad->builder);
}

static void put_column(const struct weir_bad_records *bad, struct weir_column_builder *col, uint32_t row, enum weir_error_column column,
                       struct weir_slice record, const char *position, const char *reason)
{
    switch (column) {
    case WEIR_ERROR_COLUMN_RECORD:
        if (col->type.id == WEIR_TYPE_VARBINARY) {
            weir_column_builder_put_str(col, row, record);
        } else {
            put_text(col, row, record);
        }
        return;
    case WEIR_ERROR_COLUMN_POSITION: put_text(col, row, weir_slice_str(position)); return;
    case WEIR_ERROR_COLUMN_REASON: put_text(col, row, weir_slice_str(reason)); return;
    case WEIR_ERROR_COLUMN_SOURCE: put_text(col, row, weir_slice_str(bad->table->name)); return;
    }
}

void weir_bad_records_add(struct weir_bad_records *bad, struct weir_slice record, const char *position, const char *reason)
{
    const struct weir_schema *schema = bad->table->error_table->schema;
    if (!bad->building) {
        weir_batch_builder_init(&bad->builder, schema, WEIR_BATCH_ROWS_MAX, bad->mem);
        bad->building = true;
    }
    uint32_t row = bad->builder.nrows;
    for (uint32_t i = 0; i < weir_schema_count(schema); i++) {
        struct weir_column_builder *col = &bad->builder.cols[i];
        put_column(bad, col, row, bad->columns[i], record, position, reason);
    }
    bad->builder.nrows++;
    if (bad->builder.nrows == bad->builder.nrows_max || weir_batch_builder_bytes(&bad->builder) >= WEIR_BATCH_BYTES_MAX) {
        end_batch(bad);
    }
}

struct weir_batch *weir_bad_records_take(struct weir_bad_records *bad)
{
    if (bad->building && bad->builder.nrows > 0) {
        end_batch(bad);
    }
    if (bad->nfull == 0) {
        return NULL;
    }
    struct weir_batch *oldest = bad->full[0];
    bad->nfull--;
    memmove(bad->full, bad->full + 1, bad->nfull * sizeof(struct weir_batch *));
    return oldest;
}
