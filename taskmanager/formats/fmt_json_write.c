#include "taskmanager/formats/fmt_json.h"

#include "common/base/assert.h"
#include "common/data/datetime.h"
#include "common/data/number.h"
#include "common/json/json.h"

#include <math.h>

enum { SCALAR_BYTES_MAX = 80 }; /* of a value that is no string, with its quotes */

struct json_encoder {
    struct weir_encoder base;
    bool iso;
    uint32_t ncols;
    struct weir_slice *keys; /* `{"a":`, `,"b":` ... in one allocation with their text */
    size_t fixed_bytes;      /* most that a row takes without the contents of its strings */
};

enum weir_rc weir__fmt_json_encoder_create(const struct weir_table_spec *table, struct weir_encoder **out_encoder, struct weir_error *err)
{
    bool iso;
    enum weir_rc rc = weir__fmt_json_timestamp_iso(table, &iso, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    uint32_t ncols = weir_schema_count(table->schema);
    size_t text_bytes = 0;
    for (uint32_t i = 0; i < ncols; i++) {
        text_bytes += WEIR_JSON_STRING_BYTES_MAX(strlen(weir_schema_field(table->schema, i)->name)) + 2;
    }
    struct json_encoder *encoder = weir_calloc(1, sizeof(*encoder));
    encoder->base.format = &weir__fmt_json;
    encoder->iso = iso;
    encoder->ncols = ncols;
    encoder->keys = weir_malloc(ncols * sizeof(*encoder->keys) + text_bytes + 1);
    uint8_t *to = (uint8_t *)(encoder->keys + ncols);
    for (uint32_t i = 0; i < ncols; i++) {
        uint8_t *start = to;
        *to++ = i == 0 ? '{' : ',';
        to = weir_json_write_string(weir_slice_str(weir_schema_field(table->schema, i)->name), to);
        *to++ = ':';
        encoder->keys[i] = weir_slice(start, (size_t)(to - start));
        encoder->fixed_bytes += encoder->keys[i].len + SCALAR_BYTES_MAX;
    }
    encoder->fixed_bytes += 4; /* "{}" of a row without columns, the terminator */
    *out_encoder = &encoder->base;
    return WEIR_OK;
}

void weir__fmt_json_encoder_destroy(struct weir_encoder *base)
{
    struct json_encoder *encoder = (struct json_encoder *)base;
    if (encoder != NULL) {
        weir_free(encoder->keys);
        weir_free(encoder);
    }
}

static uint8_t *put_text(uint8_t *to, const char *text, uint32_t len)
{
    memcpy(to, text, len);
    return to + len;
}

static uint8_t *put_real(uint8_t *to, double value, bool single)
{
    if (!isfinite(value)) {
        return isnan(value) ? put_text(to, "\"NaN\"", 5) : value > 0 ? put_text(to, "\"Infinity\"", 10) : put_text(to, "\"-Infinity\"", 11);
    }
    return to + (single ? weir_f32_write((float)value, (char *)to) : weir_f64_write(value, (char *)to));
}

/* Only the fraction digits that the value needs; see fmt_json.h. */
static uint8_t *put_time(const struct json_encoder *encoder, uint8_t *to, struct weir_type type, int64_t value)
{
    char *text = (char *)to + 1;
    int32_t digits = value % 1000000 == 0 ? 0 : type.precision;
    uint32_t len = type.id == WEIR_TYPE_TIME ? weir_time_write(value, digits, text)
                                             : weir_timestamp_write(value, digits, encoder->iso ? 'T' : ' ', text);
    while (digits > 0 && text[len - 1] == '0') {
        len--;
        digits--;
    }
    if (text[len - 1] == '.') {
        len--;
    }
    *to = '"';
    to += 1 + len;
    if (type.id == WEIR_TYPE_TIMESTAMP_LTZ) {
        *to++ = 'Z';
    }
    *to++ = '"';
    return to;
}

static uint8_t *put_base64(uint8_t *to, struct weir_slice bytes)
{
    static const char names[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    *to++ = '"';
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t bits = (uint32_t)bytes.data[i] << 16 | (left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0) | (left > 2 ? bytes.data[i + 2] : 0);
        *to++ = (uint8_t)names[bits >> 18];
        *to++ = (uint8_t)names[bits >> 12 & 63];
        *to++ = left > 1 ? (uint8_t)names[bits >> 6 & 63] : '=';
        *to++ = left > 2 ? (uint8_t)names[bits & 63] : '=';
    }
    *to++ = '"';
    return to;
}

#define VALUE(col, c_type) (WEIR_COLUMN_VALUES(col, const c_type)[row])

/* Writes a value that is not NULL; there is room for it. */
static uint8_t *put_value(const struct json_encoder *encoder, uint8_t *to, const struct weir_column *col, uint32_t row)
{
    switch (col->type.id) {
    case WEIR_TYPE_BOOLEAN: return weir_column_bool(col, row) ? put_text(to, "true", 4) : put_text(to, "false", 5);
    case WEIR_TYPE_TINYINT: return to + weir_i64_write(VALUE(col, int8_t), (char *)to);
    case WEIR_TYPE_SMALLINT: return to + weir_i64_write(VALUE(col, int16_t), (char *)to);
    case WEIR_TYPE_INT:
    case WEIR_TYPE_INTERVAL_YEAR: return to + weir_i64_write(VALUE(col, int32_t), (char *)to);
    case WEIR_TYPE_BIGINT: return to + weir_i64_write(VALUE(col, int64_t), (char *)to);
    case WEIR_TYPE_INTERVAL_DAY: return to + weir_i64_write(VALUE(col, int64_t) / 1000, (char *)to);
    case WEIR_TYPE_FLOAT: return put_real(to, (double)VALUE(col, float), true);
    case WEIR_TYPE_DOUBLE: return put_real(to, VALUE(col, double), false);
    case WEIR_TYPE_DECIMAL: return to + weir_decimal_write(VALUE(col, __int128), col->type.scale, (char *)to);
    case WEIR_TYPE_VARCHAR: return weir_json_write_string(weir_column_slice(col, row), to);
    case WEIR_TYPE_VARBINARY: return put_base64(to, weir_column_slice(col, row));
    case WEIR_TYPE_DATE: {
        uint32_t len = weir_date_write(VALUE(col, int32_t), (char *)to + 1);
        to[0] = '"';
        to[1 + len] = '"';
        return to + len + 2;
    }
    case WEIR_TYPE_TIME:
    case WEIR_TYPE_TIMESTAMP:
    case WEIR_TYPE_TIMESTAMP_LTZ: return put_time(encoder, to, col->type, VALUE(col, int64_t));
    case WEIR_TYPE_NULL: break;
    }
    weir_assert(!"a column has the type NULL");
    return to;
}

static void encode_row(const struct json_encoder *encoder, const struct weir_batch *batch, uint32_t row, struct weir_buf *out)
{
    uint8_t *to = weir_buf_reserve(out, encoder->fixed_bytes);
    for (uint32_t i = 0; i < encoder->ncols; i++) {
        const struct weir_column *col = &batch->cols[i];
        memcpy(to, encoder->keys[i].data, encoder->keys[i].len);
        to += encoder->keys[i].len;
        if (weir_column_is_null(col, row)) {
            to = put_text(to, "null", 4);
            continue;
        }
        if (weir_type_is_string(col->type.id)) {
            out->len = (size_t)(to - out->data);
            to = weir_buf_reserve(out, WEIR_JSON_STRING_BYTES_MAX(weir_column_slice(col, row).len) + encoder->fixed_bytes);
        }
        to = put_value(encoder, to, col, row);
    }
    if (encoder->ncols == 0) {
        *to++ = '{';
    }
    *to++ = '}';
    out->len = (size_t)(to - out->data);
}

enum weir_rc weir__fmt_json_encode(struct weir_encoder *base, const struct weir_batch *batch, const char *terminator, struct weir_buf *out,
                                   size_t *ends, struct weir_error *err)
{
    const struct json_encoder *encoder = (const struct json_encoder *)base;
    const uint16_t *sel = weir_batch_sel(batch);
    const uint8_t *kinds = weir_batch_kinds(batch);
    uint32_t nrows = weir_batch_rows(batch);
    weir_assert(batch->ncols == encoder->ncols);
    weir_assert(strlen(terminator) <= 1);
    for (uint32_t i = 0; kinds != NULL && i < nrows; i++) {
        if (kinds[sel == NULL ? i : sel[i]] != WEIR_INSERT) {
            return weir_error_set(err, WEIR_UNSUPPORTED, "the format json writes inserted rows only, but the input updates or deletes rows");
        }
    }
    for (uint32_t i = 0; i < nrows; i++) {
        encode_row(encoder, batch, sel == NULL ? i : sel[i], out);
        if (terminator[0] != '\0') {
            weir_buf_put_u8(out, (uint8_t)terminator[0]);
        }
        if (ends != NULL) {
            ends[i] = out->len;
        }
    }
    return WEIR_OK;
}
