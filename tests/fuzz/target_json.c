/*
 * Records of the format json. The input is a byte that chooses table and options, then lines. A good record stands before, between and
 * behind them: none of them may be lost or altered, whatever the others are. What was read is written, and written again after reading
 * that: the same bytes.
 */
#include "common/base/mem.h"
#include "taskmanager/formats/format.h"
#include "tests/fuzz/fuzz.h"

enum { TABLES = 4, LINES_MAX = 40, RECORDS_MAX = 2 * LINES_MAX + 1, COLUMNS_MAX = 20 };

struct table {
    struct weir_schema *schema;
    struct weir_table_spec spec;
    struct weir_option option;
    struct weir_decoder *decoder;
    struct weir_encoder *encoder;
    const char *good;
};

struct json {
    const struct weir_format *format;
    struct table tables[TABLES];
};

static const char *const vehicle[] = {"vehicleId", "STRING", "vehicleType", "STRING NOT NULL", "speed", "DOUBLE", "ts", "TIMESTAMP_LTZ(3)", NULL};
static const char *const numbers[] = {"b", "BOOLEAN", "i1", "TINYINT", "i2", "SMALLINT", "i4", "INT", "i8", "BIGINT NOT NULL", "f4", "FLOAT", "f8",
                                      "DOUBLE", "d", "DECIMAL(38, 10)", "d2", "DECIMAL(9, 2)", NULL};
static const char *const times[] = {"day", "DATE", "t", "TIME(6)", "ts", "TIMESTAMP(6)", "ts3", "TIMESTAMP(3)", "z", "TIMESTAMP_LTZ(6)", "y",
                                    "BYTES", "ym", "INTERVAL YEAR TO MONTH", "ds", "INTERVAL DAY TO SECOND", "s", "STRING", NULL};

static const struct {
    const char *const *columns;
    struct weir_option option;
    const char *good; /* as it is written */
} makes[TABLES] = {
    {vehicle, {.key = NULL}, "{\"vehicleId\":\"v-1\",\"vehicleType\":\"car\",\"speed\":72.125,\"ts\":\"2026-11-21 07:11:52.123Z\"}"},
    {numbers, {.key = NULL}, "{\"b\":true,\"i1\":-1,\"i2\":2,\"i4\":3,\"i8\":-4,\"f4\":0.5,\"f8\":1.25,\"d\":1.5000000000,\"d2\":-0.25}"},
    {times,
     {.key = "json.timestamp-format.standard", .value = "ISO-8601"},
     "{\"day\":\"2026-11-21\",\"t\":\"07:11:52.5\",\"ts\":\"2026-11-21T07:11:52.123456\",\"ts3\":null,\"z\":\"2026-11-21T07:11:52Z\","
     "\"y\":\"AAH/\",\"ym\":14,\"ds\":1500,\"s\":\"\xc3\xa9\"}"},
    {vehicle,
     {.key = "json.ignore-parse-errors", .value = "true"},
     "{\"vehicleId\":null,\"vehicleType\":\"a rather long type of vehicle\",\"speed\":null,\"ts\":null}"},
};

static void table_init(struct json *json, struct table *table, int which)
{
    struct weir_field fields[COLUMNS_MAX];
    struct weir_error err;
    uint32_t count = 0;
    const char *const *columns = makes[which].columns;
    for (; columns[2 * count] != NULL; count++) {
        fields[count].name = columns[2 * count];
        weir_assert(weir_type_parse(weir_slice_str(columns[2 * count + 1]), &fields[count].type, &err) == WEIR_OK);
    }
    weir_assert(weir_schema_create(fields, count, WEIR_NO_COLUMN, &table->schema, &err) == WEIR_OK);
    table->option = makes[which].option;
    table->good = makes[which].good;
    table->spec = (struct weir_table_spec){.name = "t", .schema = table->schema, .connector = "filesystem", .format = "json",
                                           .options = &table->option, .noptions = table->option.key != NULL};
    weir_assert(json->format->decoder_create(&table->spec, &table->decoder, &err) == WEIR_OK);
    weir_assert(json->format->encoder_create(&table->spec, &table->encoder, &err) == WEIR_OK);
}

static void *create(void)
{
    struct json *json = weir_calloc(1, sizeof(*json));
    json->format = weir_format_find("json");
    for (int i = 0; i < TABLES; i++) {
        table_init(json, &json->tables[i], i);
    }
    return json;
}

static void destroy(void *state)
{
    struct json *json = state;
    for (int i = 0; i < TABLES; i++) {
        json->format->decoder_destroy(json->tables[i].decoder);
        json->format->encoder_destroy(json->tables[i].encoder);
        weir_schema_unref(json->tables[i].schema);
    }
    weir_free(json);
}

/* All records, bad ones left out as on-error: skip does. NULL: no row. */
static struct weir_batch *decode(const struct json *json, const struct table *table, const struct weir_slice *records, uint32_t count,
                                 uint32_t *out_bad)
{
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, table->schema, RECORDS_MAX, NULL);
    *out_bad = 0;
    for (uint32_t used = 0; used < count;) {
        struct weir_error err;
        uint32_t decoded = 0;
        enum weir_rc rc = json->format->decode(table->decoder, records + used, count - used, &builder, &decoded, &err);
        used += decoded;
        weir_assert(used <= count);
        if (rc != WEIR_OK) {
            weir_assert(rc == WEIR_DATA && used < count && err.text[0] != '\0');
            used++;
            ++*out_bad;
        } else if (used < count) {
            weir_assert(weir_batch_builder_bytes(&builder) >= WEIR_BATCH_BYTES_MAX);
            break;
        }
    }
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    weir_batch_builder_fini(&builder);
    return batch;
}

static void encode(const struct json *json, const struct table *table, const struct weir_batch *batch, struct weir_buf *out, size_t *ends)
{
    struct weir_error err;
    enum weir_rc rc = json->format->encode(table->encoder, batch, "\n", out, ends, &err);
    weir_assert(rc == WEIR_OK);
}

/* Rows of the text that are the good record. */
static uint32_t count_good(const struct table *table, const struct weir_buf *text, const size_t *ends, uint32_t rows)
{
    uint32_t good = 0;
    for (uint32_t i = 0; i < rows; i++) {
        size_t from = i == 0 ? 0 : ends[i - 1];
        good += weir_slice_eq_str(weir_slice(text->data + from, ends[i] - from - 1), table->good);
    }
    return good;
}

static void check_round_trip(const struct json *json, const struct table *table, const struct weir_batch *batch, const struct weir_buf *text,
                             const size_t *ends)
{
    struct weir_slice records[RECORDS_MAX];
    uint32_t bad;
    for (uint32_t i = 0; i < batch->nrows; i++) {
        size_t from = i == 0 ? 0 : ends[i - 1];
        records[i] = weir_slice(text->data + from, ends[i] - from - 1);
    }
    struct weir_batch *again = decode(json, table, records, batch->nrows, &bad);
    weir_assert(bad == 0 && again != NULL && again->nrows == batch->nrows);
    struct weir_buf second = {0};
    encode(json, table, again, &second, NULL);
    weir_assert(weir_slice_eq(weir_buf_slice(text), weir_buf_slice(&second)));
    weir_buf_fini(&second);
    weir_batch_unref(again);
}

static void run(void *state, struct weir_slice input)
{
    const struct json *json = state;
    const struct table *table = &json->tables[input.len > 0 ? input.data[0] % TABLES : 0];
    struct weir_slice rest = weir_slice(input.data + (input.len > 0), input.len - (input.len > 0));
    struct weir_slice records[RECORDS_MAX];
    uint32_t count = 0, good = 1;
    records[count++] = weir_slice_str(table->good);
    for (uint32_t lines = 0; lines < LINES_MAX && rest.len > 0; lines++, good++) {
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        size_t len = end == NULL ? rest.len : (size_t)(end - rest.data);
        records[count++] = weir_slice(rest.data, len);
        records[count++] = weir_slice_str(table->good);
        rest = weir_slice(rest.data + len + (end != NULL), rest.len - len - (end != NULL));
    }
    uint32_t bad;
    struct weir_batch *batch = decode(json, table, records, count, &bad);
    size_t ends[RECORDS_MAX];
    struct weir_buf text = {0};
    weir_assert(batch != NULL && batch->nrows + bad <= count);
    encode(json, table, batch, &text, ends);
    weir_assert(count_good(table, &text, ends, batch->nrows) >= good);
    check_round_trip(json, table, batch, &text, ends);
    weir_buf_fini(&text);
    weir_batch_unref(batch);
}

static const char *const tokens[] = {"\"", "\\", "\\u0000", "\\ud83d\\ude00", "\\ud800", "{", "}", "[", "]", ":", ",", "null", "true", "false",
                                     "NaN", "\"Infinity\"", "1e400", "-0.0", "1e-400", "0.1e-1", "99999999999999999999999999999999999999",
                                     "9223372036854775808", "\n", "\xc3\xa9", "\xff", "\xed\xa0\x80", "\"vehicleType\":", "\"ts\":", "\"speed\":",
                                     "\"i8\":1,", "\"d\":", "\"day\":", "\"z\":", "\"y\":", "9999-12-31T23:59:59.999999Z", "0000-01-01",
                                     "1970-01-01 00:00:00Z", NULL};

const struct weir_fuzz_target weir_fuzz_json = {.name = "json", .tokens = tokens, .create = create, .run = run, .destroy = destroy};
