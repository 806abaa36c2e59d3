/*
 * Reading: one pass over the record, driven by the schema. The next key is guessed from the record before (each column remembers which one
 * followed it) and compared as whole words with its colon; only where the guess fails is the key read, unescaped and looked up.
 */
#include "taskmanager/formats/fmt_json.h"

#include "common/base/assert.h"
#include "common/base/config.h"
#include "common/base/hash.h"
#include "common/data/datetime.h"
#include "common/data/number.h"
#include "common/json/json.h"

#include <math.h>
#include <stdio.h>
#include <strings.h>

enum { FOUND_TEXT_MAX = 96, FOUND_BYTES_MAX = 24, CHECK_ROWS = 64, CHECK_BYTES = 65536 };

struct json_column {
    struct weir_type type;
    const char *name;
    uint64_t *key_words; /* `"name":` as written without escapes, zero-padded to words; NULL: it cannot be compared so */
    uint64_t key_mask;   /* of the last word */
    uint32_t key_nwords;
    uint32_t key_bytes;
    uint32_t next;       /* the column that followed this one in the record before */
    uint32_t seen;       /* == decoder->record when the record has this column */
};

struct json_decoder {
    struct weir_decoder base;
    struct json_column *columns; /* ncols, and one more that stands for the beginning of the record */
    uint32_t ncols;
    uint32_t *slots; /* open addressing over the names: column + 1, 0 = free */
    uint32_t slots_mask;
    uint32_t record;
    bool fail_on_missing;
    bool ignore_errors;
    bool iso;
    struct weir_buf scratch; /* unescaped text */
};

/* How reading one value or record went. */
enum outcome {
    FINE,
    BROKEN,  /* not JSON: json->problem at json->at */
    UNFIT,   /* JSON, but not a value of the column: json->problem says what was expected; json->at is behind or within the value */
};

static enum outcome unfit(struct weir_json *json, const char *expected)
{
    json->problem = expected;
    return UNFIT;
}

/* --- creation -------------------------------------------------------------------------------------------------------- */

static enum weir_rc option_bool(const struct weir_table_spec *table, const char *key, bool *out_value, struct weir_error *err)
{
    const char *text = weir_table_option(table, key);
    if (text == NULL) {
        *out_value = false;
        return WEIR_OK;
    }
    enum weir_rc rc = weir_config_parse_bool(weir_slice_str(text), out_value, err);
    return rc == WEIR_OK ? WEIR_OK : weir_error_prefix(err, "table %s: %s", table->name, key);
}

enum weir_rc weir__fmt_json_timestamp_iso(const struct weir_table_spec *table, bool *out_iso, struct weir_error *err)
{
    const char *text = weir_table_option(table, "json.timestamp-format.standard");
    if (text != NULL && strcmp(text, "SQL") != 0 && strcmp(text, "ISO-8601") != 0) {
        return weir_error_set(err, WEIR_INVALID, "table %s: json.timestamp-format.standard is \"%s\"; expected SQL or ISO-8601",
                              table->name, text);
    }
    *out_iso = text != NULL && text[0] == 'I';
    return WEIR_OK;
}

static void column_init(struct json_column *column, const struct weir_field *field, uint32_t idx)
{
    struct weir_slice name = weir_slice_str(field->name);
    *column = (struct json_column){.type = field->type, .name = field->name, .next = idx + 1};
    size_t words = (name.len + 3 + 7) / 8;
    uint8_t *text = weir_malloc(WEIR_JSON_STRING_BYTES_MAX(name.len) + 8);
    size_t quoted = (size_t)(weir_json_write_string(name, text) - text);
    if (quoted == name.len + 2) { /* nothing had to be escaped */
        text[quoted] = ':';
        column->key_words = weir_calloc(words, sizeof(uint64_t));
        memcpy(column->key_words, text, quoted + 1);
        column->key_nwords = (uint32_t)words;
        column->key_bytes = (uint32_t)quoted + 1;
        uint32_t last_bytes = column->key_bytes - 8 * (column->key_nwords - 1);
        column->key_mask = last_bytes == 8 ? UINT64_MAX : (1ull << (8 * last_bytes)) - 1;
    }
    weir_free(text);
}

static void decoder_destroy(struct weir_decoder *base)
{
    struct json_decoder *decoder = (struct json_decoder *)base;
    if (decoder == NULL) {
        return;
    }
    for (uint32_t i = 0; i < decoder->ncols; i++) {
        weir_free(decoder->columns[i].key_words);
    }
    weir_free(decoder->columns);
    weir_free(decoder->slots);
    weir_buf_fini(&decoder->scratch);
    weir_free(decoder);
}

static enum weir_rc decoder_create(const struct weir_table_spec *table, struct weir_decoder **out_decoder, struct weir_error *err)
{
    bool fail_on_missing;
    bool ignore_errors;
    bool iso;
    enum weir_rc rc = option_bool(table, "json.fail-on-missing-field", &fail_on_missing, err);
    rc = rc != WEIR_OK ? rc : option_bool(table, "json.ignore-parse-errors", &ignore_errors, err);
    rc = rc != WEIR_OK ? rc : weir__fmt_json_timestamp_iso(table, &iso, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    if (fail_on_missing && ignore_errors) {
        return weir_error_set(err, WEIR_INVALID, "table %s: json.fail-on-missing-field and json.ignore-parse-errors exclude each other",
                              table->name);
    }
    struct json_decoder *decoder = weir_calloc(1, sizeof(*decoder));
    decoder->base.format = &weir__fmt_json;
    decoder->fail_on_missing = fail_on_missing;
    decoder->ignore_errors = ignore_errors;
    decoder->iso = iso;
    decoder->ncols = weir_schema_count(table->schema);
    decoder->columns = weir_calloc(decoder->ncols + 1, sizeof(*decoder->columns));
    uint32_t nslots = 4;
    while (nslots < decoder->ncols * 2 + 2) {
        nslots *= 2;
    }
    decoder->slots = weir_calloc(nslots, sizeof(*decoder->slots));
    decoder->slots_mask = nslots - 1;
    for (uint32_t i = 0; i < decoder->ncols; i++) {
        column_init(&decoder->columns[i], weir_schema_field(table->schema, i), i);
        uint32_t slot = (uint32_t)weir_hash_slice(weir_slice_str(decoder->columns[i].name), 0) & decoder->slots_mask;
        while (decoder->slots[slot] != 0) {
            slot = (slot + 1) & decoder->slots_mask;
        }
        decoder->slots[slot] = i + 1;
    }
    *out_decoder = &decoder->base;
    return WEIR_OK;
}

/* --- keys ------------------------------------------------------------------------------------------------------------ */

/* Whether the column's key and its colon come next. */
static inline bool key_is_next(const struct weir_json *json, const struct json_column *column)
{
    uint32_t nwords = column->key_nwords;
    if (nwords == 0 || (size_t)(json->end - json->at) < 8 * (size_t)nwords) {
        return false;
    }
    uint64_t word;
    for (uint32_t i = 0; i + 1 < nwords; i++) {
        memcpy(&word, json->at + 8 * i, 8);
        if (word != column->key_words[i]) {
            return false;
        }
    }
    memcpy(&word, json->at + 8 * (nwords - 1), 8);
    return (word & column->key_mask) == column->key_words[nwords - 1];
}

static struct weir_slice string_text(struct json_decoder *decoder, const struct weir_json_string *string)
{
    if (!string->escaped) {
        return string->raw;
    }
    weir_buf_clear(&decoder->scratch);
    weir_json_unescape(string, weir_buf_reserve(&decoder->scratch, string->text_len + 1));
    return weir_slice(decoder->scratch.data, string->text_len);
}

/* Reads a key and its colon. *out_column: ncols when no column has that name. */
static bool read_key(struct json_decoder *decoder, struct weir_json *json, uint32_t *out_column)
{
    struct weir_json_string key;
    if (json->at >= json->end || *json->at != '"') {
        json->problem = "expected a key in quotes";
        return false;
    }
    if (!weir_json_string(json, &key)) {
        return false;
    }
    weir_json_skip_blank(json);
    if (!weir_json_accept(json, ':')) {
        json->problem = "expected ':' behind a key";
        return false;
    }
    struct weir_slice name = string_text(decoder, &key);
    uint32_t slot = (uint32_t)weir_hash_slice(name, 0) & decoder->slots_mask;
    *out_column = decoder->ncols;
    for (; decoder->slots[slot] != 0; slot = (slot + 1) & decoder->slots_mask) {
        uint32_t column = decoder->slots[slot] - 1;
        if (weir_slice_eq_str(name, decoder->columns[column].name)) {
            *out_column = column;
            break;
        }
    }
    return true;
}

/* --- values ---------------------------------------------------------------------------------------------------------- */

/* Java's String.trim, which Flink applies to numbers given as text. */
static struct weir_slice trimmed(struct weir_slice text)
{
    while (text.len > 0 && text.data[0] <= ' ') {
        text = weir_slice(text.data + 1, text.len - 1);
    }
    while (text.len > 0 && text.data[text.len - 1] <= ' ') {
        text.len--;
    }
    return text;
}

/* The text of a string value that stands for a number or boolean; also drops a leading '+', which Java's parsers take. */
static enum outcome read_text(struct json_decoder *decoder, struct weir_json *json, struct weir_slice *out_text)
{
    struct weir_json_string string;
    if (!weir_json_string(json, &string)) {
        return BROKEN;
    }
    *out_text = trimmed(string_text(decoder, &string));
    if (out_text->len > 1 && out_text->data[0] == '+' && out_text->data[1] != '-' && out_text->data[1] != '+') {
        *out_text = weir_slice(out_text->data + 1, out_text->len - 1);
    }
    return FINE;
}

static inline bool next_is(const struct weir_json *json, uint8_t byte)
{
    return json->at < json->end && *json->at == byte;
}

static inline bool next_is_number(const struct weir_json *json)
{
    return json->at < json->end && (*json->at == '-' || (uint8_t)(*json->at - '0') <= 9);
}

static enum outcome read_integer(struct json_decoder *decoder, struct weir_json *json, const char *expected, int64_t *out_value)
{
    if (weir_json_plain_integer(json, out_value)) {
        return FINE;
    }
    if (next_is(json, '"')) {
        struct weir_slice text;
        enum outcome outcome = read_text(decoder, json, &text);
        if (outcome != FINE) {
            return outcome;
        }
        return weir_i64_read(text, out_value) == WEIR_OK ? FINE : unfit(json, expected);
    }
    struct weir_json_number number;
    if (!next_is_number(json)) {
        return unfit(json, expected);
    }
    if (!weir_json_number(json, &number)) {
        return BROKEN;
    }
    return weir_json_number_i64(&number, out_value) == WEIR_OK ? FINE : unfit(json, expected);
}

static enum outcome read_double(struct json_decoder *decoder, struct weir_json *json, double *out_value)
{
    static const char expected[] = "expected a number in the range of the type";
    if (next_is(json, '"')) {
        struct weir_slice text;
        enum outcome outcome = read_text(decoder, json, &text);
        if (outcome != FINE) {
            return outcome;
        }
        if (weir_slice_eq_str(text, "NaN")) {
            *out_value = (double)NAN;
        } else if (weir_slice_eq_str(text, "Infinity")) {
            *out_value = (double)INFINITY;
        } else if (weir_slice_eq_str(text, "-Infinity")) {
            *out_value = -(double)INFINITY;
        } else if (weir_f64_read(text, out_value) != WEIR_OK || !isfinite(*out_value)) {
            return unfit(json, expected);
        }
        return FINE;
    }
    struct weir_json_number number;
    if (!next_is_number(json)) {
        return unfit(json, expected);
    }
    if (!weir_json_number(json, &number)) {
        return BROKEN;
    }
    return weir_json_number_f64(&number, out_value) == WEIR_OK ? FINE : unfit(json, expected);
}

static enum outcome read_decimal(struct json_decoder *decoder, struct weir_json *json, struct weir_type type, __int128 *out_value)
{
    static const char expected[] = "expected a number in the range of the type";
    if (next_is(json, '"')) {
        struct weir_slice text;
        enum outcome outcome = read_text(decoder, json, &text);
        if (outcome != FINE) {
            return outcome;
        }
        return weir_decimal_read(text, type.precision, type.scale, out_value) == WEIR_OK ? FINE : unfit(json, expected);
    }
    struct weir_json_number number;
    if (!next_is_number(json)) {
        return unfit(json, expected);
    }
    if (!weir_json_number(json, &number)) {
        return BROKEN;
    }
    return weir_json_number_decimal(&number, type.precision, type.scale, out_value) == WEIR_OK ? FINE : unfit(json, expected);
}

static enum outcome read_boolean(struct json_decoder *decoder, struct weir_json *json, bool *out_value)
{
    if (weir_json_accept_word(json, "true") || weir_json_accept_word(json, "false")) {
        *out_value = json->at[-2] == 'u';
        return FINE;
    }
    if (!next_is(json, '"')) {
        return unfit(json, "expected true or false");
    }
    struct weir_slice text;
    enum outcome outcome = read_text(decoder, json, &text);
    if (outcome != FINE) {
        return outcome;
    }
    *out_value = text.len == 4 && strncasecmp((const char *)text.data, "true", 4) == 0;
    return *out_value || (text.len == 5 && strncasecmp((const char *)text.data, "false", 5) == 0) ? FINE
                                                                                              : unfit(json, "expected true or false");
}

/* Digits beyond the type's precision cut, towards the past. */
static int64_t cut_micros(int64_t micros, uint8_t precision)
{
    static const int64_t units[] = {1000000, 100000, 10000, 1000, 100, 10, 1};
    int64_t unit = units[precision];
    int64_t rest = micros % unit;
    return micros - rest - (rest < 0 && micros >= INT64_MIN + unit ? unit : 0);
}

static const char *timestamp_expected(bool iso, bool ltz)
{
    if (ltz) {
        return iso ? "expected a timestamp like \"2026-11-21T07:11:52.123Z\" or an epoch integer"
                   : "expected a timestamp like \"2026-11-21 07:11:52.123Z\" or an epoch integer";
    }
    return iso ? "expected a timestamp like \"2026-11-21T07:11:52.123\"" : "expected a timestamp like \"2026-11-21 07:11:52.123\"";
}

static enum outcome read_timestamp(struct json_decoder *decoder, struct weir_json *json, struct weir_type type, int64_t *out_micros)
{
    bool ltz = type.id == WEIR_TYPE_TIMESTAMP_LTZ;
    const char *expected = timestamp_expected(decoder->iso, ltz);
    if (ltz && next_is_number(json)) {
        int64_t value;
        enum outcome outcome = read_integer(decoder, json, expected, &value);
        if (outcome != FINE) {
            return outcome;
        }
        if (type.precision <= 3 && __builtin_mul_overflow(value, 1000, &value)) {
            return unfit(json, expected);
        }
        *out_micros = type.precision == 3 ? value : cut_micros(value, type.precision); /* milliseconds have nothing to cut */
        return FINE;
    }
    if (!next_is(json, '"')) {
        return unfit(json, expected);
    }
    struct weir_json_string string;
    if (!weir_json_string(json, &string)) {
        return BROKEN;
    }
    struct weir_slice text = string_text(decoder, &string);
    bool shaped = text.len > 0 && (text.data[text.len - 1] == 'Z') == ltz && memchr(text.data, decoder->iso ? 'T' : ' ', text.len) != NULL;
    if (!shaped || weir_timestamp_read(text, out_micros) != WEIR_OK) {
        return unfit(json, expected);
    }
    *out_micros = cut_micros(*out_micros, type.precision);
    return FINE;
}

static enum outcome read_date_time(struct json_decoder *decoder, struct weir_json *json, struct weir_type type, int64_t *out_value)
{
    bool date = type.id == WEIR_TYPE_DATE;
    const char *expected = date ? "expected a date like \"2026-11-21\"" : "expected a time like \"07:11:52.123\"";
    struct weir_json_string string;
    if (!next_is(json, '"')) {
        return unfit(json, expected);
    }
    if (!weir_json_string(json, &string)) {
        return BROKEN;
    }
    struct weir_slice text = string_text(decoder, &string);
    int32_t days = 0;
    if (date) {
        if (weir_date_read(text, &days) != WEIR_OK) {
            return unfit(json, expected);
        }
        *out_value = days;
        return FINE;
    }
    if (weir_time_read(text, out_value) != WEIR_OK) {
        return unfit(json, expected);
    }
    *out_value = cut_micros(*out_value, type.precision);
    return FINE;
}

static int32_t base64_digit(uint8_t c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* Decodes in place of text (which the scratch buffer holds a copy of); false when it is not base64 with padding. */
static bool base64_decode(struct weir_slice text, uint8_t *out, size_t *out_len)
{
    if (text.len % 4 != 0) {
        return false;
    }
    size_t padding = text.len == 0 || text.data[text.len - 1] != '=' ? 0 : text.data[text.len - 2] == '=' ? 2 : 1;
    size_t len = 0;
    for (size_t i = 0; i < text.len; i += 4) {
        size_t pads = i + 4 == text.len ? padding : 0;
        uint32_t bits = 0;
        for (size_t k = 0; k < 4; k++) {
            int32_t digit = k >= 4 - pads ? 0 : base64_digit(text.data[i + k]);
            if (digit < 0) {
                return false;
            }
            bits = bits << 6 | (uint32_t)digit;
        }
        for (size_t k = 0; k < 3 - pads; k++) {
            out[len++] = (uint8_t)(bits >> (16 - 8 * k));
        }
    }
    *out_len = len;
    return true;
}

static enum outcome read_binary(struct json_decoder *decoder, struct weir_json *json, struct weir_column_builder *column, uint32_t row)
{
    struct weir_json_string string;
    if (!next_is(json, '"')) {
        return unfit(json, "expected a base64 string");
    }
    if (!weir_json_string(json, &string)) {
        return BROKEN;
    }
    /* The text is at most as long as raw, and its bytes go behind it in the scratch buffer. */
    weir_buf_clear(&decoder->scratch);
    uint8_t *text = weir_buf_reserve(&decoder->scratch, 2 * string.raw.len + 1);
    uint8_t *bytes = text + string.raw.len;
    weir_json_unescape(&string, text);
    size_t len;
    if (!base64_decode(weir_slice(text, string.text_len), bytes, &len)) {
        return unfit(json, "expected a base64 string");
    }
    weir_column_builder_put_str(column, row, weir_slice(bytes, len));
    return FINE;
}

static enum outcome read_varchar(struct weir_json *json, struct weir_column_builder *column, uint32_t row)
{
    const uint8_t *start = json->at;
    struct weir_json_string string;
    if (next_is(json, '"')) {
        if (!weir_json_string(json, &string)) {
            return BROKEN;
        }
        if (!string.escaped) {
            weir_column_builder_put_str(column, row, string.raw);
        } else {
            weir_json_unescape(&string, weir_column_builder_reserve_str(column, row, (uint32_t)string.text_len));
            weir_column_builder_commit_str(column, row);
        }
        return FINE;
    }
    if (!weir_json_skip(json, 1)) {
        return BROKEN;
    }
    weir_column_builder_put_str(column, row, weir_slice(start, (size_t)(json->at - start)));
    return FINE;
}

#define VALUES(column, c_type) ((c_type *)(void *)(column)->values)

static enum outcome put_integer(struct json_decoder *decoder, struct weir_json *json, struct weir_column_builder *column, uint32_t row)
{
    static const int64_t limits[] = {
        [WEIR_TYPE_TINYINT] = INT8_MAX, [WEIR_TYPE_SMALLINT] = INT16_MAX,      [WEIR_TYPE_INT] = INT32_MAX,
        [WEIR_TYPE_BIGINT] = INT64_MAX, [WEIR_TYPE_INTERVAL_YEAR] = INT32_MAX, [WEIR_TYPE_INTERVAL_DAY] = INT64_MAX / 1000,
    };
    static const char expected[] = "expected an integer in the range of the type";
    int64_t value;
    enum outcome outcome = read_integer(decoder, json, expected, &value);
    if (outcome != FINE) {
        return outcome;
    }
    enum weir_type_id id = column->type.id;
    if (value > limits[id] || value < -limits[id] - 1) {
        return unfit(json, expected);
    }
    switch (weir_type_width(id)) {
    case 1: VALUES(column, int8_t)[row] = (int8_t)value; break;
    case 2: VALUES(column, int16_t)[row] = (int16_t)value; break;
    case 4: VALUES(column, int32_t)[row] = (int32_t)value; break;
    default: VALUES(column, int64_t)[row] = id == WEIR_TYPE_INTERVAL_DAY ? value * 1000 : value; break;
    }
    return FINE;
}

static enum outcome put_float(struct json_decoder *decoder, struct weir_json *json, struct weir_column_builder *column, uint32_t row)
{
    double value;
    enum outcome outcome = read_double(decoder, json, &value);
    if (outcome != FINE) {
        return outcome;
    }
    if (column->type.id == WEIR_TYPE_DOUBLE) {
        VALUES(column, double)[row] = value;
        return FINE;
    }
    if (isfinite(value) && !isfinite((float)value)) {
        return unfit(json, "expected a number in the range of the type");
    }
    VALUES(column, float)[row] = (float)value;
    return FINE;
}

static enum outcome put_time(struct json_decoder *decoder, struct weir_json *json, struct weir_column_builder *column, uint32_t row)
{
    bool timestamp = column->type.id == WEIR_TYPE_TIMESTAMP || column->type.id == WEIR_TYPE_TIMESTAMP_LTZ;
    int64_t value;
    enum outcome outcome =
        timestamp ? read_timestamp(decoder, json, column->type, &value) : read_date_time(decoder, json, column->type, &value);
    if (outcome != FINE) {
        return outcome;
    }
    if (column->type.id == WEIR_TYPE_DATE) {
        VALUES(column, int32_t)[row] = (int32_t)value;
    } else {
        VALUES(column, int64_t)[row] = value;
    }
    return FINE;
}

/* Reads a value that is not null into the column. */
static enum outcome put_value(struct json_decoder *decoder, struct weir_json *json, struct weir_column_builder *column, uint32_t row)
{
    enum outcome outcome;
    switch (column->type.id) {
    case WEIR_TYPE_VARCHAR: return read_varchar(json, column, row);
    case WEIR_TYPE_TINYINT:
    case WEIR_TYPE_SMALLINT:
    case WEIR_TYPE_INT:
    case WEIR_TYPE_BIGINT:
    case WEIR_TYPE_INTERVAL_YEAR:
    case WEIR_TYPE_INTERVAL_DAY: return put_integer(decoder, json, column, row);
    case WEIR_TYPE_FLOAT:
    case WEIR_TYPE_DOUBLE: return put_float(decoder, json, column, row);
    case WEIR_TYPE_DATE:
    case WEIR_TYPE_TIME:
    case WEIR_TYPE_TIMESTAMP:
    case WEIR_TYPE_TIMESTAMP_LTZ: return put_time(decoder, json, column, row);
    case WEIR_TYPE_BOOLEAN: {
        bool value;
        outcome = read_boolean(decoder, json, &value);
        if (outcome == FINE) {
            weir_column_builder_put_bool(column, row, value);
        }
        return outcome;
    }
    case WEIR_TYPE_DECIMAL: {
        __int128 value;
        outcome = read_decimal(decoder, json, column->type, &value);
        if (outcome == FINE) {
            VALUES(column, __int128)[row] = value;
        }
        return outcome;
    }
    case WEIR_TYPE_VARBINARY: return read_binary(decoder, json, column, row);
    case WEIR_TYPE_NULL: break;
    }
    weir_assert(!"a column has the type NULL");
    return UNFIT;
}

/* --- records --------------------------------------------------------------------------------------------------------- */

/* A value of a repeated key replaces a NULL: the row's validity bit is set again. */
static void clear_null(struct weir_column_builder *column, uint32_t row)
{
    uint8_t bit = (uint8_t)(1u << (row & 7));
    if ((column->validity[row >> 3] & bit) == 0) {
        column->validity[row >> 3] |= bit;
        column->nulls--;
    }
}

static void set_null(struct weir_column_builder *column, uint32_t row)
{
    clear_null(column, row);
    weir_column_builder_put_null(column, row);
}

/* Appends what stands at `at`, shortened and printable, to a message. */
static void found_text(const uint8_t *at, const uint8_t *end, char out[FOUND_TEXT_MAX])
{
    if (at >= end) {
        (void)snprintf(out, FOUND_TEXT_MAX, "the end of the record");
        return;
    }
    bool string = *at == '"';
    size_t used = 0;
    uint32_t taken = 0;
    for (; at < end && taken < FOUND_BYTES_MAX; at++, taken++) {
        if (!string && taken > 0 && memchr(",}] \t\n\r", *at, 7) != NULL) {
            break;
        }
        used += (size_t)snprintf(out + used, FOUND_TEXT_MAX - used, *at >= 0x20 && *at < 0x7f ? "%c" : "\\x%02X", *at);
        if (string && taken > 0 && *at == '"') {
            break;
        }
    }
    if (taken == FOUND_BYTES_MAX && at < end) {
        (void)snprintf(out + used, FOUND_TEXT_MAX - used, "...");
    }
}
_Static_assert(4 * FOUND_BYTES_MAX <= FOUND_TEXT_MAX, "escaped bytes fit; a cut-off end is harmless");

/* Where a record went wrong; the text is made only when someone will read it. */
struct failure {
    const uint8_t *at;
    const char *problem;
    const char *column; /* NULL: none in particular */
};

static enum outcome failed(struct failure *failure, enum outcome outcome, const uint8_t *at, const char *problem, const char *column)
{
    *failure = (struct failure){.at = at, .problem = problem, .column = column};
    return outcome;
}

static void failure_text(const struct failure *failure, struct weir_slice record, struct weir_error *err)
{
    char found[FOUND_TEXT_MAX];
    found_text(failure->at, record.data + record.len, found);
    size_t position = record.len == 0 ? 1 : (size_t)(failure->at - record.data) + 1;
    if (failure->column != NULL) {
        (void)weir_error_set(err, WEIR_DATA, "column %zu: %s for \"%s\", found %s", position, failure->problem, failure->column, found);
    } else {
        (void)weir_error_set(err, WEIR_DATA, "column %zu: %s, found %s", position, failure->problem, found);
    }
}

/* Reads the value of a column, which is next. */
static enum outcome read_field(struct json_decoder *decoder, struct weir_json *json, uint32_t idx, struct weir_batch_builder *builder,
                               bool repeated, struct failure *failure)
{
    struct json_column *column = &decoder->columns[idx];
    struct weir_column_builder *to = &builder->cols[idx];
    uint32_t row = builder->nrows;
    const uint8_t *start = json->at;
    if (repeated) {
        clear_null(to, row);
    }
    if (next_is(json, 'n') && weir_json_accept_word(json, "null")) {
        if (column->type.not_null) {
            return failed(failure, UNFIT, start, "expected a value (NOT NULL)", column->name);
        }
        weir_column_builder_put_null(to, row);
        return FINE;
    }
    enum outcome outcome = put_value(decoder, json, to, row);
    if (outcome == FINE) {
        return FINE;
    }
    if (outcome == BROKEN) {
        return failed(failure, BROKEN, json->at, json->problem, NULL);
    }
    (void)failed(failure, UNFIT, start, json->problem, column->name);
    json->at = start;
    if (!weir_json_skip(json, 1)) {
        return failed(failure, BROKEN, json->at, json->problem, NULL);
    }
    if (!decoder->ignore_errors || column->type.not_null) {
        return UNFIT;
    }
    set_null(to, row);
    return FINE;
}

static enum outcome fill_missing(struct json_decoder *decoder, const struct weir_json *json, struct weir_batch_builder *builder,
                                 struct failure *failure)
{
    for (uint32_t i = 0; i < decoder->ncols; i++) {
        struct json_column *column = &decoder->columns[i];
        if (column->seen == decoder->record) {
            continue;
        }
        if (column->type.not_null || decoder->fail_on_missing) {
            return failed(failure, UNFIT, json->at - 1, column->type.not_null ? "expected a value (NOT NULL)" : "expected a value",
                          column->name);
        }
        weir_column_builder_put_null(&builder->cols[i], builder->nrows);
    }
    return FINE;
}

/* Reads the members behind the opening brace, and the closing one. */
static enum outcome read_members(struct json_decoder *decoder, struct weir_json *json, struct weir_batch_builder *builder,
                                 uint32_t *out_nseen, struct failure *failure)
{
    uint32_t before = decoder->ncols;
    uint32_t nseen = 0;
    for (;;) {
        weir_json_skip_blank(json);
        uint32_t idx = decoder->columns[before].next;
        if (key_is_next(json, &decoder->columns[idx])) {
            json->at += decoder->columns[idx].key_bytes;
        } else if (!read_key(decoder, json, &idx)) {
            return failed(failure, BROKEN, json->at, json->problem, NULL);
        }
        weir_json_skip_blank(json);
        if (idx == decoder->ncols) {
            if (!weir_json_skip(json, 1)) {
                return failed(failure, BROKEN, json->at, json->problem, NULL);
            }
        } else {
            bool repeated = decoder->columns[idx].seen == decoder->record;
            nseen += !repeated;
            decoder->columns[idx].seen = decoder->record;
            decoder->columns[before].next = idx;
            before = idx;
            enum outcome outcome = read_field(decoder, json, idx, builder, repeated, failure);
            if (outcome != FINE) {
                return outcome;
            }
        }
        weir_json_skip_blank(json);
        if (weir_json_accept(json, ',')) {
            continue;
        }
        *out_nseen = nseen;
        return weir_json_accept(json, '}') ? FINE : failed(failure, BROKEN, json->at, "expected ',' or '}'", NULL);
    }
}

static enum outcome read_record(struct json_decoder *decoder, struct weir_slice record, struct weir_batch_builder *builder,
                                struct failure *failure)
{
    struct weir_json json = weir_json(record);
    if (++decoder->record == 0) { /* the stamps wrapped around: none may look current */
        for (uint32_t i = 0; i < decoder->ncols; i++) {
            decoder->columns[i].seen = 0;
        }
        decoder->record = 1;
    }
    weir_json_skip_blank(&json);
    if (!weir_json_accept(&json, '{')) {
        return failed(failure, BROKEN, json.at, "expected an object", NULL);
    }
    weir_json_skip_blank(&json);
    uint32_t nseen = 0;
    if (!weir_json_accept(&json, '}')) {
        enum outcome outcome = read_members(decoder, &json, builder, &nseen, failure);
        if (outcome != FINE) {
            return outcome;
        }
    }
    const struct weir_json behind = json;
    weir_json_skip_blank(&json);
    if (json.at != json.end) {
        return failed(failure, BROKEN, json.at, "expected the end of the record", NULL);
    }
    return nseen == decoder->ncols ? FINE : fill_missing(decoder, &behind, builder, failure);
}

static enum weir_rc decode(struct weir_decoder *base, const struct weir_slice *records, uint32_t count, struct weir_batch_builder *builder,
                           uint32_t *out_used, struct weir_error *err)
{
    struct json_decoder *decoder = (struct json_decoder *)base;
    size_t bytes_unchecked = CHECK_BYTES; /* so that the first record checks */
    uint32_t rows_unchecked = 0;
    uint32_t used = 0;
    for (; used < count && builder->nrows < builder->nrows_max; used++) {
        if (bytes_unchecked >= CHECK_BYTES || rows_unchecked >= CHECK_ROWS) {
            if (builder->nrows > 0 && weir_batch_builder_bytes(builder) >= WEIR_BATCH_BYTES_MAX) {
                break;
            }
            bytes_unchecked = 0;
            rows_unchecked = 0;
        }
        bytes_unchecked += records[used].len;
        rows_unchecked++;
        struct failure failure;
        if (read_record(decoder, records[used], builder, &failure) == FINE) {
            builder->nrows++;
            continue;
        }
        weir_batch_builder_undo_row(builder, builder->nrows);
        if (!decoder->ignore_errors) {
            failure_text(&failure, records[used], err);
            *out_used = used;
            return WEIR_DATA;
        }
    }
    *out_used = used;
    return WEIR_OK;
}

const struct weir_format weir__fmt_json = {
    .name = "json",
    .decoder_create = decoder_create,
    .decoder_destroy = decoder_destroy,
    .decode = decode,
    .encoder_create = weir__fmt_json_encoder_create,
    .encoder_destroy = weir__fmt_json_encoder_destroy,
    .encode = weir__fmt_json_encode,
};
