#include "taskmanager/connectors/records.h"

#include "taskmanager/formats/format.h"

#include <stdio.h>

enum { HEAD_BYTES_MAX = 64 };

struct weir_records {
    const struct weir_conn_ctx *ctx;
    const struct weir_format *format;
    struct weir_decoder *decoder;
};

enum weir_rc weir__records_create(const struct weir_conn_ctx *ctx, struct weir_records **out_records, struct weir_error *err)
{
    const struct weir_table_spec *table = ctx->table;
    const struct weir_format *format = table->format == NULL ? NULL : weir_format_find(table->format);
    if (format == NULL) {
        return weir_error_set(err, WEIR_INVALID, "table %s: there is no format \"%s\"", table->name,
                              table->format == NULL ? "" : table->format);
    }
    struct weir_decoder *decoder;
    enum weir_rc rc = format->decoder_create(table, &decoder, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct weir_records *records = weir_calloc(1, sizeof(*records));
    *records = (struct weir_records){.ctx = ctx, .format = format, .decoder = decoder};
    *out_records = records;
    return WEIR_OK;
}

void weir__records_destroy(struct weir_records *records)
{
    if (records != NULL) {
        records->format->decoder_destroy(records->decoder);
        weir_free(records);
    }
}

static void head_text(struct weir_slice head, char out[4 * HEAD_BYTES_MAX + 4])
{
    size_t used = 0;
    size_t shown = head.len < HEAD_BYTES_MAX ? head.len : HEAD_BYTES_MAX;
    for (size_t i = 0; i < shown; i++) {
        uint8_t c = head.data[i];
        used += (size_t)snprintf(out + used, 5, c >= 0x20 && c < 0x7f && c != '\\' ? "%c" : "\\x%02X", c);
    }
    (void)snprintf(out + used, 4, "%s", shown < head.len ? "..." : "");
}

enum weir_rc weir__records_bad(struct weir_records *records, struct weir_slice head, const char *position, struct weir_error *err)
{
    if (records->ctx->table->on_error == WEIR_ON_ERROR_SKIP) {
        (*records->ctx->errors_skipped)++;
        return WEIR_OK;
    }
    if (records->ctx->table->on_error == WEIR_ON_ERROR_TABLE) {
        (*records->ctx->errors_skipped)++;
        weir_bad_records_add(records->ctx->bad_records, head, position, err->text);
        return WEIR_OK;
    }
    char text[4 * HEAD_BYTES_MAX + 4];
    head_text(head, text);
    const struct weir_error reason = *err;
    return weir_error_set(err, WEIR_DATA, "%s: bad record: %s: %s", position, reason.text, text);
}

enum weir_rc weir__records_decode(struct weir_records *records, const struct weir_slice *slices, uint32_t count,
                                  struct weir_record_position position, struct weir_batch_builder *builder, uint32_t *out_used,
                                  struct weir_error *err)
{
    uint32_t used = 0;
    while (used < count && builder->nrows < builder->nrows_max) {
        uint32_t decoded = 0;
        enum weir_rc rc = records->format->decode(records->decoder, slices + used, count - used, builder, &decoded, err);
        used += decoded;
        if (rc == WEIR_OK) {
            break; /* all of them, or the builder is full */
        }
        char where[WEIR_RECORD_POSITION_MAX] = "";
        if (rc == WEIR_DATA) {
            position.format(position.ctx, used, where);
            rc = weir__records_bad(records, slices[used], where, err);
        }
        if (rc != WEIR_OK) {
            return rc;
        }
        used++;
    }
    *out_used = used;
    return WEIR_OK;
}
