#include "taskmanager/formats/format.h"

#include "common/base/rand.h"
#include "common/data/datetime.h"
#include "common/data/value.h"
#include "common/json/json.h"

#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>

/* One table, its codec and a builder. */
struct bench {
    struct weir_schema *schema;
    struct weir_table_spec table;
    struct weir_option options[4];
    const struct weir_format *format;
    struct weir_decoder *decoder;
    struct weir_encoder *encoder;
    struct weir_batch_builder builder;
};

/* columns: "a INT, b STRING NOT NULL" as pairs of name and type; options: key, value, ..., NULL. */
static void bench_init(struct bench *bench, const char *const *columns, const char *const *options)
{
    *bench = (struct bench){0};
    struct weir_field fields[64];
    struct weir_error err;
    uint32_t count = 0;
    for (; columns[2 * count] != NULL; count++) {
        fields[count].name = columns[2 * count];
        ck_assert_int_eq(weir_type_parse(weir_slice_str(columns[2 * count + 1]), &fields[count].type, &err), WEIR_OK);
    }
    ck_assert_int_eq(weir_schema_create(fields, count, WEIR_NO_COLUMN, &bench->schema, &err), WEIR_OK);
    bench->table = (struct weir_table_spec){.name = "t", .schema = bench->schema, .connector = "filesystem", .format = "json"};
    for (; options != NULL && options[2 * bench->table.noptions] != NULL; bench->table.noptions++) {
        struct weir_option *option = &bench->options[bench->table.noptions];
        *option = (struct weir_option){.key = options[2 * bench->table.noptions], .value = options[2 * bench->table.noptions + 1]};
    }
    bench->table.options = bench->options;
    bench->format = weir_format_find("json");
    ck_assert_msg(bench->format->decoder_create(&bench->table, &bench->decoder, &err) == WEIR_OK, "%s", err.text);
    ck_assert_msg(bench->format->encoder_create(&bench->table, &bench->encoder, &err) == WEIR_OK, "%s", err.text);
    weir_batch_builder_init(&bench->builder, bench->schema, 256, NULL);
}

static void bench_fini(struct bench *bench)
{
    bench->format->decoder_destroy(bench->decoder);
    bench->format->encoder_destroy(bench->encoder);
    weir_batch_builder_fini(&bench->builder);
    weir_schema_unref(bench->schema);
}

/* Decodes one record from an exact heap copy. The row stays in the builder. */
static enum weir_rc decode_bytes(struct bench *bench, struct weir_slice text, struct weir_error *err)
{
    uint8_t *copy = weir_malloc(text.len + (text.len == 0));
    memcpy(copy, text.data, text.len);
    struct weir_slice record = weir_slice(copy, text.len);
    uint32_t used = 77;
    uint32_t before = bench->builder.nrows;
    enum weir_rc rc = bench->format->decode(bench->decoder, &record, 1, &bench->builder, &used, err);
    ck_assert_uint_eq(used, rc == WEIR_OK ? 1 : 0);
    ck_assert(rc == WEIR_OK || bench->builder.nrows == before);
    weir_free(copy);
    return rc;
}

/* Decodes one record and writes it again; NULL when it is bad. Static text. */
static const char *rewrite(struct bench *bench, const char *text, struct weir_error *err)
{
    static struct weir_buf out; /* a test is a process of its own */
    weir_buf_clear(&out);
    if (decode_bytes(bench, weir_slice_str(text), err) != WEIR_OK) {
        return NULL;
    }
    struct weir_batch *batch = weir_batch_builder_finish(&bench->builder);
    if (batch == NULL) {
        return "";
    }
    ck_assert_int_eq(bench->format->encode(bench->encoder, batch, "", &out, NULL, err), WEIR_OK);
    weir_batch_unref(batch);
    weir_buf_put_u8(&out, 0);
    return (const char *)out.data;
}

static void check_rewrite(const char *type, const char *option, const char *value, const char *expected)
{
    const char *columns[] = {"v", type, NULL};
    const char *options[] = {option, "true", NULL};
    if (option != NULL && strcmp(option, "iso") == 0) {
        options[0] = "json.timestamp-format.standard";
        options[1] = "ISO-8601";
    }
    struct bench bench;
    struct weir_error err;
    char text[512];
    char wanted[512];
    bench_init(&bench, columns, option == NULL ? NULL : options);
    (void)snprintf(text, sizeof(text), "{\"v\":%s}", value);
    (void)snprintf(wanted, sizeof(wanted), "{\"v\":%s}", expected == NULL ? "" : expected);
    const char *got = rewrite(&bench, text, &err);
    if (expected == NULL) {
        ck_assert_msg(got == NULL, "%s took %s as %s", type, value, got);
        ck_assert_msg(strncmp(err.text, "column 6: expected ", 19) == 0 && strstr(err.text, "for \"v\", found ") != NULL, "%s", err.text);
    } else {
        ck_assert_msg(got != NULL, "%s refused %s: %s", type, value, err.text);
        ck_assert_str_eq(got, wanted);
    }
    bench_fini(&bench);
}

START_TEST(values_are_read_and_written_as_flink_does)
{
    static const struct {
        const char *type, *option, *value, *expected; /* expected NULL: refused */
    } cases[] = {
        {"BOOLEAN", NULL, "true", "true"}, {"BOOLEAN", NULL, "false", "false"}, {"BOOLEAN", NULL, "\"TRUE\"", "true"},
        {"BOOLEAN", NULL, "1", NULL}, {"BOOLEAN", NULL, "\"yes\"", NULL},
        {"TINYINT", NULL, "-128", "-128"}, {"TINYINT", NULL, "128", NULL}, {"SMALLINT", NULL, "32768", NULL},
        {"INT", NULL, "2147483647", "2147483647"}, {"INT", NULL, "2147483648", NULL}, {"INT", NULL, "-2147483648", "-2147483648"},
        {"BIGINT", NULL, "\" +12 \"", "12"}, {"BIGINT", NULL, "\"12\"", "12"}, {"BIGINT", NULL, "12.0", "12"},
        {"BIGINT", NULL, "1.2e1", "12"}, {"BIGINT", NULL, "12.5", NULL}, {"BIGINT", NULL, "\"\"", NULL}, {"BIGINT", NULL, "\"x\"", NULL},
        {"BIGINT", NULL, "true", NULL}, {"BIGINT", NULL, "[1]", NULL}, {"BIGINT", NULL, "9223372036854775807", "9223372036854775807"},
        {"BIGINT", NULL, "9223372036854775808", NULL}, {"BIGINT", NULL, "-9223372036854775808", "-9223372036854775808"},
        {"DOUBLE", NULL, "1", "1.0"}, {"DOUBLE", NULL, "72.125", "72.125"}, {"DOUBLE", NULL, "1e10", "1.0E10"},
        {"DOUBLE", NULL, "\"NaN\"", "\"NaN\""}, {"DOUBLE", NULL, "\"-Infinity\"", "\"-Infinity\""}, {"DOUBLE", NULL, "\"1.5\"", "1.5"},
        {"DOUBLE", NULL, "1e400", NULL}, {"DOUBLE", NULL, "-0.0", "-0.0"}, {"DOUBLE", NULL, "\"inf\"", NULL},
        {"FLOAT", NULL, "0.1", "0.1"}, {"FLOAT", NULL, "1e39", NULL}, {"FLOAT", NULL, "\"Infinity\"", "\"Infinity\""},
        {"DECIMAL(10, 2)", NULL, "12.345", "12.35"}, {"DECIMAL(10, 2)", NULL, "\"-0.1\"", "-0.10"}, {"DECIMAL(4, 2)", NULL, "100", NULL},
        {"DECIMAL(38, 0)", NULL, "99999999999999999999999999999999999999", "99999999999999999999999999999999999999"},
        {"STRING", NULL, "\"a\\u00e9\\ud83d\\ude00\\\"\"", "\"a\xc3\xa9\xf0\x9f\x98\x80\\\"\""}, {"STRING", NULL, "12.50", "\"12.50\""},
        {"STRING", NULL, "true", "\"true\""}, {"STRING", NULL, "{\"a\":[1]}", "\"{\\\"a\\\":[1]}\""},
        {"BYTES", NULL, "\"AAH/\"", "\"AAH/\""}, {"BYTES", NULL, "\"QQ==\"", "\"QQ==\""}, {"BYTES", NULL, "\"\"", "\"\""},
        {"BYTES", NULL, "\"Q\"", NULL}, {"BYTES", NULL, "\"Q===\"", NULL}, {"BYTES", NULL, "\"QQ==QQ==\"", NULL}, {"BYTES", NULL, "1", NULL},
        {"DATE", NULL, "\"2026-11-21\"", "\"2026-11-21\""}, {"DATE", NULL, "\"2026-02-30\"", NULL}, {"DATE", NULL, "1", NULL},
        {"TIME(3)", NULL, "\"07:11:52.120\"", "\"07:11:52.12\""}, {"TIME(0)", NULL, "\"07:11:52\"", "\"07:11:52\""},
        {"TIMESTAMP(3)", NULL, "\"2026-11-21 07:11:52.123456\"", "\"2026-11-21 07:11:52.123\""},
        {"TIMESTAMP(6)", NULL, "\"2026-11-21 07:11:52.100\"", "\"2026-11-21 07:11:52.1\""},
        {"TIMESTAMP(3)", NULL, "\"2026-11-21 07:11:52\"", "\"2026-11-21 07:11:52\""},
        {"TIMESTAMP(3)", NULL, "\"2026-11-21T07:11:52\"", NULL}, {"TIMESTAMP(3)", NULL, "\"2026-11-21 07:11:52Z\"", NULL},
        {"TIMESTAMP(3)", NULL, "1700000000123", NULL}, {"TIMESTAMP(3)", "iso", "\"2026-11-21T07:11:52.5\"", "\"2026-11-21T07:11:52.5\""},
        {"TIMESTAMP_LTZ(3)", NULL, "1700000000123", "\"2023-11-14 22:13:20.123Z\""},
        {"TIMESTAMP_LTZ(6)", NULL, "1700000000123456", "\"2023-11-14 22:13:20.123456Z\""},
        {"TIMESTAMP_LTZ(3)", NULL, "-1", "\"1969-12-31 23:59:59.999Z\""}, {"TIMESTAMP_LTZ(3)", NULL, "9223372036854775807", NULL},
        {"TIMESTAMP_LTZ(3)", NULL, "\"2026-11-21 07:11:52Z\"", "\"2026-11-21 07:11:52Z\""},
        {"TIMESTAMP_LTZ(3)", NULL, "\"2026-11-21 07:11:52\"", NULL},
        {"TIMESTAMP_LTZ(3)", "iso", "\"2026-11-21T07:11:52Z\"", "\"2026-11-21T07:11:52Z\""},
        {"INT", NULL, "null", "null"}, {"INT NOT NULL", NULL, "null", NULL},
        {"INT", "json.ignore-parse-errors", "\"x\"", "null"}, {"INT", "json.ignore-parse-errors", "[{\"a\":1}]", "null"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_rewrite(cases[i].type, cases[i].option, cases[i].value, cases[i].expected);
    }
}
END_TEST

static const char *const two[] = {"a", "INT", "long name \"quoted\"", "STRING", NULL};

START_TEST(keys_come_in_any_order_and_spelling)
{
    struct bench bench;
    struct weir_error err;
    bench_init(&bench, two, NULL);
    static const char *const same[] = {
        "{\"a\":1,\"long name \\\"quoted\\\"\":\"x\"}",
        "{\"long name \\\"quoted\\\"\":\"x\",\"a\":1}",
        " { \"a\" : 1 , \"long name \\u0022quoted\\u0022\" : \"x\" } ",
        "{\"\\u0061\":1,\"other\":[{}],\"long name \\\"quoted\\\"\":\"x\",\"\":null}",
        "{\"a\":null,\"a\":7,\"long name \\\"quoted\\\"\":\"a string that is not inlined\",\"a\":1,\"long name \\\"quoted\\\"\":\"x\"}",
    };
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
            const char *got = rewrite(&bench, same[i], &err);
            ck_assert_msg(got != NULL, "%s: %s", same[i], err.text);
            ck_assert_str_eq(got, same[0]);
        }
    }
    ck_assert_str_eq(rewrite(&bench, "{\"a\":1,\"a\":null}", &err), "{\"a\":null,\"long name \\\"quoted\\\"\":null}");
    ck_assert_str_eq(rewrite(&bench, "{}", &err), "{\"a\":null,\"long name \\\"quoted\\\"\":null}");
    bench_fini(&bench);
}
END_TEST

START_TEST(bad_records_are_explained)
{
    static const char *const columns[] = {"speed", "DOUBLE", "n", "INT NOT NULL", NULL};
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"{\"n\":1,\"speed\":\"fast\"}", "column 16: expected a number in the range of the type for \"speed\", found \"fast\""},
        {"{\"speed\":1}", "column 11: expected a value (NOT NULL) for \"n\", found }"},
        {"{\"n\":1}x", "column 8: expected the end of the record, found x"},
        {"{\"n\":1", "column 7: expected ',' or '}', found the end of the record"},
        {"", "column 1: expected an object, found the end of the record"},
        {"[1]", "column 1: expected an object, found [1"},
        {"{\"n\":1,}", "column 8: expected a key in quotes, found }"},
        {"{\"n\":1,\"x\":01}", "column 12: a number starts with a superfluous 0, found 01"},
        {"{\"n\":99999999999}", "column 6: expected an integer in the range of the type for \"n\", found 99999999999"},
    };
    struct bench bench;
    struct weir_error err;
    bench_init(&bench, columns, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(decode_bytes(&bench, weir_slice_str(cases[i].text), &err), WEIR_DATA);
        ck_assert_str_eq(err.text, cases[i].message);
    }
    bench_fini(&bench);
}
END_TEST

START_TEST(options_change_what_is_bad)
{
    static const char *const missing[] = {"json.fail-on-missing-field", "true", NULL};
    static const char *const ignore[] = {"json.ignore-parse-errors", "true", NULL};
    static const char *const columns[] = {"a", "INT", "b", "INT NOT NULL", NULL};
    struct bench bench;
    struct weir_error err;
    bench_init(&bench, columns, missing);
    ck_assert_int_eq(decode_bytes(&bench, weir_slice_str("{\"b\":1}"), &err), WEIR_DATA);
    ck_assert_int_eq(decode_bytes(&bench, weir_slice_str("{\"a\":null,\"b\":1}"), &err), WEIR_OK);
    bench_fini(&bench);
    bench_init(&bench, columns, ignore);
    ck_assert_str_eq(rewrite(&bench, "{\"a\":\"x\",\"b\":1}", &err), "{\"a\":null,\"b\":1}");
    ck_assert_str_eq(rewrite(&bench, "{\"a\":1,\"b\":\"x\"}", &err), "");
    ck_assert_str_eq(rewrite(&bench, "garbage", &err), "");
    bench_fini(&bench);

    static const char *const bad[] = {"json.timestamp-format.standard", "RFC", NULL};
    struct weir_option option = {.key = bad[0], .value = bad[1]};
    struct weir_schema *schema;
    struct weir_field field = {.name = "a", .type = weir_type_of(WEIR_TYPE_INT)};
    ck_assert_int_eq(weir_schema_create(&field, 1, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    struct weir_table_spec table = {.name = "t", .schema = schema, .options = &option, .noptions = 1};
    struct weir_decoder *decoder;
    ck_assert_int_eq(weir_format_find("json")->decoder_create(&table, &decoder, &err), WEIR_INVALID);
    weir_schema_unref(schema);
    ck_assert_ptr_null(weir_format_find("xml"));
}
END_TEST

/* --- random rows ------------------------------------------------------------------------------------------------------ */

static const char *const all_types[] = {"b", "BOOLEAN", "i1", "TINYINT", "i2", "SMALLINT", "i4", "INT", "i8", "BIGINT", "f4", "FLOAT",
                                        "f8", "DOUBLE", "d", "DECIMAL(38, 10)", "d2", "DECIMAL(9, 2)", "s", "STRING", "y", "BYTES",
                                        "day", "DATE", "t", "TIME(6)", "ts", "TIMESTAMP(6)", "ts3", "TIMESTAMP(3)", "z", "TIMESTAMP_LTZ(6)",
                                        "a \xc3\xa9 \\ column with a rather long name", "TIMESTAMP_LTZ(3)", NULL};

static void random_cell(struct weir_rand *rand, struct weir_column_builder *col, uint32_t row)
{
    struct weir_value value = {.type = col->type};
    uint8_t text[48];
    uint64_t bits = weir_rand_u64(rand) >> weir_rand_below(rand, 64);
    int64_t unit = col->type.precision == 3 ? 1000 : 1;
    switch (col->type.id) {
    case WEIR_TYPE_BOOLEAN: value.u.boolean = bits & 1; break;
    case WEIR_TYPE_TINYINT: value.u.i64 = (int8_t)bits; break;
    case WEIR_TYPE_SMALLINT: value.u.i64 = (int16_t)bits; break;
    case WEIR_TYPE_INT: value.u.i64 = (int32_t)bits; break;
    case WEIR_TYPE_BIGINT: value.u.i64 = (int64_t)bits; break;
    case WEIR_TYPE_FLOAT: value.u.f64 = (double)(float)(weir_rand_double(rand) * 1e5); break;
    case WEIR_TYPE_DOUBLE: value.u.f64 = (bits & 7) == 0 ? -(double)INFINITY : ldexp(weir_rand_double(rand), (int)(bits % 200) - 100); break;
    case WEIR_TYPE_DECIMAL: value.u.decimal = col->type.precision == 9 ? (int64_t)(bits % 1000000000) : -(__int128)bits * 1000000007; break;
    case WEIR_TYPE_VARCHAR:
    case WEIR_TYPE_VARBINARY: {
        size_t len = weir_rand_below(rand, sizeof(text));
        for (size_t i = 0; i < len; i++) {
            text[i] = (uint8_t)(col->type.id == WEIR_TYPE_VARCHAR ? weir_rand_below(rand, 128) : weir_rand_below(rand, 256));
        }
        value.u.str = weir_slice(text, len);
        break;
    }
    case WEIR_TYPE_DATE: value.u.i64 = (int64_t)(bits % 40000); break;
    case WEIR_TYPE_TIME: value.u.i64 = (int64_t)(bits % 86400000000); break;
    case WEIR_TYPE_NULL:
    case WEIR_TYPE_INTERVAL_YEAR:
    case WEIR_TYPE_INTERVAL_DAY:
    case WEIR_TYPE_TIMESTAMP:
    case WEIR_TYPE_TIMESTAMP_LTZ: value.u.i64 = ((int64_t)(bits % 4000000000000000) - 1000000000000000) / unit * unit; break;
    }
    value.is_null = weir_rand_below(rand, 5) == 0;
    weir_value_put(&value, col, row);
}

START_TEST(random_rows_survive_the_round_trip)
{
    struct bench bench;
    struct weir_error err;
    struct weir_rand rand;
    weir_rand_init(&rand, 1);
    bench_init(&bench, all_types, NULL);
    for (int round = 0; round < 40; round++) {
        for (; bench.builder.nrows < 100; bench.builder.nrows++) {
            for (uint32_t c = 0; c < bench.builder.ncols; c++) {
                random_cell(&rand, &bench.builder.cols[c], bench.builder.nrows);
            }
        }
        struct weir_batch *batch = weir_batch_builder_finish(&bench.builder);
        struct weir_buf out = {0};
        size_t ends[100];
        ck_assert_int_eq(bench.format->encode(bench.encoder, batch, "\n", &out, ends, &err), WEIR_OK);
        struct weir_slice records[100];
        for (uint32_t i = 0; i < 100; i++) {
            size_t from = i == 0 ? 0 : ends[i - 1];
            records[i] = weir_slice(out.data + from, ends[i] - from);
            json_t *doc = json_loadb((const char *)records[i].data, records[i].len, JSON_ALLOW_NUL, NULL);
            ck_assert_ptr_nonnull(doc);
            ck_assert_uint_eq(json_object_size(doc), batch->ncols);
            json_decref(doc);
        }
        uint32_t used;
        ck_assert_msg(bench.format->decode(bench.decoder, records, 100, &bench.builder, &used, &err) == WEIR_OK, "%s", err.text);
        ck_assert_uint_eq(used, 100);
        struct weir_batch *again = weir_batch_builder_finish(&bench.builder);
        for (uint32_t c = 0; c < batch->ncols; c++) {
            for (uint32_t i = 0; i < 100; i++) {
                struct weir_value a = weir_value_get(&batch->cols[c], i);
                struct weir_value b = weir_value_get(&again->cols[c], i);
                ck_assert_msg(weir_value_same(&a, &b), "column %s of %.*s", all_types[2 * c], WEIR_SLICE_ARG(records[i]));
            }
        }
        weir_batch_unref(batch);
        weir_batch_unref(again);
        weir_buf_fini(&out);
    }
    bench_fini(&bench);
}
END_TEST

static const char vehicle[] = "{\"vehicleId\":\"veh-\\u00e9 0000001\",\"vehicleType\":\"car\",\"speed\":72.125,\"ts\":1700000000123,\"x\":[1,{}]}";
static const char *const vehicle_columns[] = {"vehicleId", "STRING", "vehicleType", "STRING", "speed", "DOUBLE", "ts", "TIMESTAMP_LTZ(3)", NULL};

START_TEST(every_truncation_is_refused)
{
    struct bench bench;
    struct weir_error err;
    bench_init(&bench, vehicle_columns, NULL);
    for (size_t len = 0; len < sizeof(vehicle) - 1; len++) {
        ck_assert_int_eq(decode_bytes(&bench, weir_slice(vehicle, len), &err), WEIR_DATA);
    }
    ck_assert_int_eq(decode_bytes(&bench, weir_slice_str(vehicle), &err), WEIR_OK);
    bench_fini(&bench);
}
END_TEST

START_TEST(mutations_are_read_or_refused_but_never_misread)
{
    struct bench bench;
    struct weir_error err;
    struct weir_rand rand;
    weir_rand_init(&rand, 5);
    bench_init(&bench, vehicle_columns, NULL);
    uint32_t good = 0;
    for (int i = 0; i < 20000; i++) {
        uint8_t text[sizeof(vehicle) - 1];
        memcpy(text, vehicle, sizeof(text));
        for (uint64_t n = 1 + weir_rand_below(&rand, 4); n > 0; n--) {
            text[weir_rand_below(&rand, sizeof(text))] =
                weir_rand_below(&rand, 2) != 0 ? (uint8_t)weir_rand_u64(&rand) : (uint8_t)"\"\\{}[],:0 enuE.-"[weir_rand_below(&rand, 16)];
        }
        size_t len = weir_rand_below(&rand, 8) == 0 ? weir_rand_below(&rand, sizeof(text)) : sizeof(text);
        enum weir_rc rc = decode_bytes(&bench, weir_slice(text, len), &err);
        json_t *doc = json_loadb((const char *)text, len, JSON_ALLOW_NUL, NULL);
        if (rc == WEIR_OK) {
            good++;
            ck_assert_msg(doc != NULL, "took %.*s", (int)len, (const char *)text);
            const json_t *type = json_object_get(doc, "vehicleType");
            struct weir_batch *batch = weir_batch_builder_finish(&bench.builder);
            ck_assert_uint_eq(batch->nrows, 1);
            if (type == NULL || json_is_null(type)) {
                ck_assert(weir_column_is_null(&batch->cols[1], 0));
            } else if (json_is_string(type)) {
                struct weir_slice got = weir_column_slice(&batch->cols[1], 0);
                ck_assert(weir_slice_eq(got, weir_slice(json_string_value(type), json_string_length(type))));
            }
            weir_batch_unref(batch);
        }
        json_decref(doc);
    }
    ck_assert_uint_gt(good, 500);
    bench_fini(&bench);
}
END_TEST

START_TEST(decode_stops_at_a_full_builder_and_goes_on)
{
    struct bench bench;
    struct weir_error err;
    bench_init(&bench, two, NULL);
    struct weir_slice records[300];
    for (int i = 0; i < 300; i++) {
        records[i] = weir_slice_str(i == 280 ? "{\"a\":\"bad\"}" : "{\"a\":5}");
    }
    uint32_t used;
    ck_assert_int_eq(bench.format->decode(bench.decoder, records, 300, &bench.builder, &used, &err), WEIR_OK);
    ck_assert_uint_eq(used, 256);
    weir_batch_unref(weir_batch_builder_finish(&bench.builder));
    ck_assert_int_eq(bench.format->decode(bench.decoder, records + 256, 44, &bench.builder, &used, &err), WEIR_DATA);
    ck_assert_uint_eq(used, 24);
    ck_assert_uint_eq(bench.builder.nrows, 24);

    /* And at the bytes of a batch. */
    struct weir_buf big = {0};
    weir_buf_put_str(&big, "{\"long name \\\"quoted\\\"\":\"");
    memset(weir_buf_reserve(&big, 100000), 'x', 100000);
    big.len += 100000;
    weir_buf_put_str(&big, "\"}");
    for (int i = 0; i < 40; i++) {
        records[i] = weir_buf_slice(&big);
    }
    ck_assert_int_eq(bench.format->decode(bench.decoder, records, 40, &bench.builder, &used, &err), WEIR_OK);
    ck_assert_uint_ge(used, 10);
    ck_assert_uint_le(used, 12);
    weir_buf_fini(&big);
    bench_fini(&bench);
}
END_TEST

START_TEST(only_inserted_rows_are_written_and_selections_hold)
{
    struct bench bench;
    struct weir_error err;
    struct weir_buf out = {0};
    bench_init(&bench, two, NULL);
    for (int i = 0; i < 3; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "{\"a\":%d}", i);
        ck_assert_int_eq(decode_bytes(&bench, weir_slice_str(text), &err), WEIR_OK);
    }
    weir_batch_builder_set_kind(&bench.builder, 1, WEIR_UPDATE_BEFORE);
    struct weir_batch *batch = weir_batch_builder_finish(&bench.builder);
    ck_assert_int_eq(bench.format->encode(bench.encoder, batch, "\n", &out, NULL, &err), WEIR_UNSUPPORTED);
    ck_assert_uint_eq(out.len, 0);
    struct weir_buffer *sel = weir_buffer_create(2 * sizeof(uint16_t), NULL);
    ((uint16_t *)(void *)sel->data)[0] = 0;
    ((uint16_t *)(void *)sel->data)[1] = 2;
    struct weir_batch *selected = weir_batch_select_take(batch, sel, 2);
    ck_assert_int_eq(bench.format->encode(bench.encoder, selected, "\n", &out, NULL, &err), WEIR_OK);
    ck_assert(weir_slice_eq_str(weir_buf_slice(&out), "{\"a\":0,\"long name \\\"quoted\\\"\":null}\n{\"a\":2,\"long name \\\"quoted\\\"\":null}\n"));
    weir_batch_unref(selected);
    weir_batch_unref(batch);
    weir_buf_fini(&out);
    bench_fini(&bench);
}
END_TEST

Suite *fmt_json_suite(void);
Suite *fmt_json_suite(void)
{
    Suite *suite = suite_create("fmt_json");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, values_are_read_and_written_as_flink_does);
    tcase_add_test(tc, keys_come_in_any_order_and_spelling);
    tcase_add_test(tc, bad_records_are_explained);
    tcase_add_test(tc, options_change_what_is_bad);
    tcase_add_test(tc, random_rows_survive_the_round_trip);
    tcase_add_test(tc, every_truncation_is_refused);
    tcase_add_test(tc, mutations_are_read_or_refused_but_never_misread);
    tcase_add_test(tc, decode_stops_at_a_full_builder_and_goes_on);
    tcase_add_test(tc, only_inserted_rows_are_written_and_selections_hold);
    suite_add_tcase(suite, tc);
    return suite;
}
