#include "taskmanager/connectors/kafka_encode.h"

#include "common/base/assert.h"
#include "common/catalog/connector_desc.h"
#include "taskmanager/formats/format.h"

enum partitioner { PARTITIONER_DEFAULT, PARTITIONER_FIXED, PARTITIONER_ROUND_ROBIN };

/* A record's key or value: some of the table's columns by a format. */
struct part {
    const struct weir_format *format;
    struct weir_encoder *encoder;
    struct weir_table_spec table; /* of these columns only; the format's view */
    const struct weir_schema *schema;
    struct weir_option *options;
    uint32_t *columns;
    uint32_t ncolumns;
    struct weir_column *cols; /* ncolumns: of the batch in hand */
    struct weir_buf bytes;
    size_t ends[WEIR_BATCH_ROWS_MAX];
};

struct weir_kafka_encoder {
    const struct weir_conn_ctx *ctx;
    bool upsert;
    bool keyed;
    enum partitioner partitioner;
    uint32_t partitions; /* 0: not known */
    uint32_t next;       /* round-robin's */
    struct part key, value;
    uint16_t rows[WEIR_BATCH_ROWS_MAX]; /* physical rows whose value is written */
    struct weir_kafka_record records[WEIR_BATCH_ROWS_MAX];
};

/* --- making ------------------------------------------------------------------------------------------------------------ */

/* The table's options as the part's format has them: `prefix` ("key.") is taken off those that have it, the others are left out; without a
 * prefix all are as they are. */
static void take_options(struct part *part, const struct weir_table_spec *table, const char *prefix)
{
    size_t len = strlen(prefix);
    part->options = weir_calloc(table->noptions + 1, sizeof(*part->options));
    for (uint32_t i = 0; i < table->noptions; i++) {
        if (strncmp(table->options[i].key, prefix, len) == 0) {
            part->options[part->table.noptions] = table->options[i];
            part->options[part->table.noptions++].key += len;
        }
    }
    part->table.options = part->options;
}

/* part->columns are set. */
static enum weir_rc part_init(struct part *part, const struct weir_table_spec *table, const char *format, const char *prefix,
                              struct weir_error *err)
{
    part->table = *table;
    part->table.noptions = 0;
    take_options(part, table, prefix);
    part->format = format == NULL ? NULL : weir_format_find(format);
    if (part->format == NULL) {
        return weir_error_set(err, WEIR_INVALID, "table %s: %s", table->name, format == NULL ? "it has no format" : "it has no known format");
    }
    struct weir_field *fields = weir_calloc(part->ncolumns + 1, sizeof(*fields));
    for (uint32_t i = 0; i < part->ncolumns; i++) {
        fields[i] = *weir_schema_field(table->schema, part->columns[i]);
    }
    struct weir_schema *schema = NULL;
    enum weir_rc rc = weir_schema_create(fields, part->ncolumns, WEIR_NO_COLUMN, &schema, err);
    weir_free(fields);
    if (rc != WEIR_OK) {
        return weir_error_prefix(err, "table %s", table->name);
    }
    part->schema = schema;
    part->cols = weir_calloc(part->ncolumns, sizeof(*part->cols));
    part->table.schema = schema;
    part->table.format = part->format->name;
    return part->format->encoder_create(&part->table, &part->encoder, err);
}

static void part_fini(struct part *part)
{
    if (part->encoder != NULL) {
        part->format->encoder_destroy(part->encoder);
    }
    weir_schema_unref(part->schema);
    weir_free(part->options);
    weir_free(part->columns);
    weir_free(part->cols);
    weir_buf_fini(&part->bytes);
}

/* key.fields: names separated by semicolons, as in Flink. */
static enum weir_rc key_columns_listed(struct part *key, const struct weir_table_spec *table, const char *list, struct weir_error *err)
{
    key->columns = weir_calloc(weir_schema_count(table->schema) + 1, sizeof(*key->columns));
    struct weir_slice rest = weir_slice_str(list);
    struct weir_slice text;
    while (weir_option_next_column(&rest, &text)) {
        int32_t column = weir_schema_find(table->schema, text);
        bool twice = false;
        for (uint32_t i = 0; i < key->ncolumns; i++) {
            twice = twice || (int32_t)key->columns[i] == column;
        }
        if (column == WEIR_NO_COLUMN || twice) {
            return weir_error_set(err, WEIR_INVALID, "table %s: key.fields: \"%.*s\" %s", table->name, WEIR_SLICE_ARG(text),
                                  twice ? "stands there twice" : "is no column of the table");
        }
        key->columns[key->ncolumns++] = (uint32_t)column;
    }
    return WEIR_OK;
}

static enum weir_rc key_init(struct weir_kafka_encoder *encoder, struct weir_error *err)
{
    const struct weir_table_spec *table = encoder->ctx->table;
    struct part *key = &encoder->key;
    const char *list = weir_table_option(table, "key.fields");
    const char *format = weir_table_option(table, "key.format");
    enum weir_rc rc = WEIR_OK;
    if (encoder->upsert) {
        if (table->nprimary_key == 0) {
            return weir_error_set(err, WEIR_INVALID, "table %s: it has no primary key; expected primary_key: [COLUMN, ...]", table->name);
        }
        key->columns = weir_calloc(table->nprimary_key, sizeof(*key->columns));
        memcpy(key->columns, table->primary_key, table->nprimary_key * sizeof(*key->columns));
        key->ncolumns = table->nprimary_key;
    } else if (list != NULL) {
        rc = key_columns_listed(key, table, list, err);
    } else {
        return WEIR_OK;
    }
    encoder->keyed = true;
    return rc != WEIR_OK ? rc : part_init(key, table, format, "key.", err);
}

/* All columns, the key's too: Flink's value.fields-include: ALL. */
static enum weir_rc value_init(struct weir_kafka_encoder *encoder, struct weir_error *err)
{
    const struct weir_table_spec *table = encoder->ctx->table;
    struct part *value = &encoder->value;
    value->ncolumns = weir_schema_count(table->schema);
    value->columns = weir_calloc(value->ncolumns, sizeof(*value->columns));
    for (uint32_t i = 0; i < value->ncolumns; i++) {
        value->columns[i] = i;
    }
    return part_init(value, table, table->format, "", err);
}

static enum weir_rc partitioner_init(struct weir_kafka_encoder *encoder, struct weir_error *err)
{
    const char *name = weir_connector_option(encoder->ctx->table, "sink.partitioner");
    encoder->next = encoder->ctx->subtask; /* subtasks begin at different partitions */
    if (name == NULL || strcmp(name, "default") == 0) {
        encoder->partitioner = PARTITIONER_DEFAULT;
    } else if (strcmp(name, "fixed") == 0) {
        encoder->partitioner = PARTITIONER_FIXED;
    } else if (strcmp(name, "round-robin") == 0) {
        encoder->partitioner = PARTITIONER_ROUND_ROBIN;
    } else {
        return weir_error_set(err, WEIR_INVALID, "table %s: sink.partitioner is \"%s\"; expected default, fixed or round-robin",
                              encoder->ctx->table->name, name);
    }
    return WEIR_OK;
}

enum weir_rc weir__kafka_encoder_create(const struct weir_conn_ctx *ctx, bool upsert, struct weir_kafka_encoder **out_encoder,
                                        struct weir_error *err)
{
    struct weir_kafka_encoder *encoder = weir_calloc(1, sizeof(*encoder));
    encoder->ctx = ctx;
    encoder->upsert = upsert;
    enum weir_rc rc = key_init(encoder, err);
    rc = rc != WEIR_OK ? rc : value_init(encoder, err);
    rc = rc != WEIR_OK ? rc : partitioner_init(encoder, err);
    if (rc != WEIR_OK) {
        weir__kafka_encoder_destroy(encoder);
        return rc;
    }
    *out_encoder = encoder;
    return WEIR_OK;
}

void weir__kafka_encoder_destroy(struct weir_kafka_encoder *encoder)
{
    if (encoder != NULL) {
        part_fini(&encoder->key);
        part_fini(&encoder->value);
        weir_free(encoder);
    }
}

bool weir__kafka_encoder_needs_partitions(const struct weir_kafka_encoder *encoder)
{
    return encoder->partitioner != PARTITIONER_DEFAULT;
}

void weir__kafka_encoder_set_partitions(struct weir_kafka_encoder *encoder, uint32_t count)
{
    weir_assert(count > 0);
    encoder->partitions = count;
}

size_t weir__kafka_encoder_bytes(const struct weir_kafka_encoder *encoder)
{
    return sizeof(*encoder) + encoder->key.bytes.cap + encoder->value.bytes.cap;
}

/* --- encoding ---------------------------------------------------------------------------------------------------------- */

/* The part's columns of the batch's rows (physical; NULL: its logical rows), encoded into part->bytes, part->ends. */
static enum weir_rc part_encode(struct part *part, const struct weir_batch *batch, const uint16_t *rows, uint32_t nrows, struct weir_error *err)
{
    struct weir_buffer *sel = rows == NULL ? weir_buffer_ref(batch->sel) : weir_buffer_create(nrows * sizeof(*rows), NULL);
    if (rows != NULL) {
        memcpy(sel->data, rows, nrows * sizeof(*rows));
    }
    for (uint32_t i = 0; i < part->ncolumns; i++) {
        part->cols[i] = weir_column_ref(&batch->cols[part->columns[i]]);
    }
    struct weir_batch *view = weir_batch_make_take(part->schema, part->cols, batch->nrows, sel, sel == NULL ? 0 : nrows, NULL, NULL);
    weir_buf_clear(&part->bytes);
    enum weir_rc rc = part->format->encode(part->encoder, view, "", &part->bytes, part->ends, err);
    weir_batch_unref(view);
    return rc;
}

/* Row i of what the part last encoded. */
static struct weir_slice part_row(const struct part *part, uint32_t i)
{
    size_t start = i == 0 ? 0 : part->ends[i - 1];
    return weir_slice(part->bytes.data + start, part->ends[i] - start);
}

/* K3. */
static int32_t choose_partition(struct weir_kafka_encoder *encoder)
{
    if (encoder->partitioner == PARTITIONER_DEFAULT) {
        return -1;
    }
    weir_assert(encoder->partitions > 0);
    uint32_t number = encoder->partitioner == PARTITIONER_FIXED ? encoder->ctx->subtask : encoder->next++;
    return (int32_t)(number % encoder->partitions);
}

static bool has_value(const uint8_t *kinds, uint32_t row)
{
    return kinds == NULL || kinds[row] == WEIR_INSERT || kinds[row] == WEIR_UPDATE_AFTER;
}

/* K2: a -U whose +U is the row behind it. */
static bool is_replaced(const struct weir_kafka_encoder *encoder, const uint8_t *kinds, const uint16_t *sel, uint32_t i, uint32_t nrows)
{
    if (i + 1 == nrows || kinds[sel == NULL ? i : sel[i]] != WEIR_UPDATE_BEFORE ||
        kinds[sel == NULL ? i + 1 : sel[i + 1]] != WEIR_UPDATE_AFTER) {
        return false;
    }
    return weir_slice_eq(part_row(&encoder->key, i), part_row(&encoder->key, i + 1));
}

static enum weir_rc refuse_changes(const uint8_t *kinds, const uint16_t *sel, uint32_t nrows, struct weir_error *err)
{
    for (uint32_t i = 0; i < nrows; i++) {
        if (kinds[sel == NULL ? i : sel[i]] != WEIR_INSERT) {
            return weir_error_set(err, WEIR_UNSUPPORTED,
                                  "the connector kafka writes inserted rows only, but the input updates or deletes rows; use upsert-kafka");
        }
    }
    return WEIR_OK;
}

enum weir_rc weir__kafka_encode(struct weir_kafka_encoder *encoder, const struct weir_batch *batch, const struct weir_kafka_record **out_records,
                                uint32_t *out_count, struct weir_error *err)
{
    const uint16_t *sel = weir_batch_sel(batch);
    const uint8_t *kinds = weir_batch_kinds(batch);
    uint32_t nrows = weir_batch_rows(batch);
    uint32_t nvalues = 0;
    enum weir_rc rc = kinds == NULL || encoder->upsert ? WEIR_OK : refuse_changes(kinds, sel, nrows, err);
    for (uint32_t i = 0; kinds != NULL && i < nrows; i++) {
        uint32_t row = sel == NULL ? i : sel[i];
        if (has_value(kinds, row)) {
            encoder->rows[nvalues++] = (uint16_t)row;
        }
    }
    rc = rc != WEIR_OK || !encoder->keyed ? rc : part_encode(&encoder->key, batch, NULL, nrows, err);
    if (rc == WEIR_OK && (kinds == NULL || nvalues > 0)) {
        rc = part_encode(&encoder->value, batch, kinds == NULL ? NULL : encoder->rows, kinds == NULL ? nrows : nvalues, err);
    }
    if (rc != WEIR_OK) {
        return weir_error_prefix(err, "table %s", encoder->ctx->table->name);
    }
    int32_t partition = choose_partition(encoder);
    uint32_t count = 0;
    uint32_t values = 0;
    for (uint32_t i = 0; i < nrows; i++) {
        bool valued = has_value(kinds, sel == NULL ? i : sel[i]);
        if (!valued && is_replaced(encoder, kinds, sel, i, nrows)) {
            continue;
        }
        struct weir_kafka_record *record = &encoder->records[count++];
        *record = (struct weir_kafka_record){.partition = partition, .has_key = encoder->keyed, .has_value = valued};
        record->key = encoder->keyed ? part_row(&encoder->key, i) : record->key;
        record->value = valued ? part_row(&encoder->value, values++) : record->value;
    }
    *out_records = encoder->records;
    *out_count = count;
    return WEIR_OK;
}
