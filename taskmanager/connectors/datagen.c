/*
 * The source "datagen".
 *
 * D1  Every row is a function of (options, row number): value = f(hash(row, column, seed)). So a split can start at any row, and a job gives
 *     the same rows at any parallelism, after any restart and in any batches.
 * D2  Split i of n has the rows i, i + n, i + 2n, ...: event time advances evenly in all of them. A split's position is the number of its rows
 *     handed out.
 * D3  The clock only paces: with rows-per-second, row r is due r / rate seconds after the source began (at the row it began with). What was
 *     missed while the job was busy is caught up, a batch at a time.
 */
#include "taskmanager/connectors/conn_registry.h"

#include "common/base/assert.h"
#include "common/base/config.h"
#include "common/base/hash.h"
#include "common/catalog/connector_desc.h"
#include "common/data/number.h"

#include <float.h>
#include <stdlib.h>

enum { BATCH_ROWS = 2048, MEM_FULL_WAIT_MS = 10, SPLIT_BYTES = 8 };

enum column_kind { RANDOM, CHOICE, SEQUENCE, EVENT_TIME };

union number {
    int64_t i64;
    double f64;
    __int128 decimal;
};

struct gen_column {
    enum column_kind kind;
    struct weir_type type;
    uint64_t salt;
    uint64_t null_below; /* NULL when the null hash is below; 0: never */
    union number min, max; /* RANDOM: inclusive; SEQUENCE: min is the first value, max the step of one row */
    uint32_t length;
    int64_t time_us;     /* EVENT_TIME: of row 0; RANDOM timestamps: the latest */
    int64_t step_us;
    int64_t spread_us;   /* EVENT_TIME: jitter; RANDOM timestamps: max-past */
    union number *numbers; /* CHOICE */
    struct weir_slice *texts;
    uint32_t nchoices;
};

struct gen_split {
    uint32_t index, of;
    uint64_t next; /* rows of this split handed out */
    uint64_t paced_from;
    int64_t paced_from_ns;
    bool pacing;
};

struct datagen {
    struct weir_source base;
    const struct weir_conn_ctx *ctx;
    uint64_t rows_max; /* of the whole source; UINT64_MAX: unbounded */
    uint64_t rows_per_second;
    uint32_t batch_rows;
    uint32_t ncols;
    struct gen_column *columns;
    struct gen_split *splits;
    uint32_t nsplits;
    uint32_t turn; /* the split to be asked first */
    struct weir_batch_builder builder;
};

/* --- options --------------------------------------------------------------------------------------------------------- */

static enum weir_rc option_i64(const struct weir_table_spec *table, const char *key, int64_t *out_value, struct weir_error *err)
{
    const char *text = weir_table_option(table, key);
    text = text == NULL ? weir_connector_default(table, key) : text;
    if (text != NULL && weir_i64_read(weir_slice_str(text), out_value) != WEIR_OK) {
        return weir_error_set(err, WEIR_INVALID, "table %s: option \"%s\": expected a whole number, found \"%s\"", table->name, key, text);
    }
    return WEIR_OK;
}

static enum weir_rc bad_value(const struct weir_table_spec *table, const char *column, const char *what, const char *text,
                              struct weir_error *err)
{
    return weir_error_set(err, WEIR_INVALID, "table %s: option \"fields.%s.%s\": \"%s\" is not a value of the column", table->name, column,
                          what, text);
}

/* A number in the column's own form; of a text column, a whole number. */
static enum weir_rc parse_number(struct weir_type type, struct weir_slice text, union number *out)
{
    if (type.id == WEIR_TYPE_FLOAT || type.id == WEIR_TYPE_DOUBLE) {
        return weir_f64_read(text, &out->f64);
    }
    if (type.id == WEIR_TYPE_DECIMAL) {
        return weir_decimal_read(text, type.precision, type.scale, &out->decimal);
    }
    return weir_i64_read(text, &out->i64);
}

static __int128 power_of_ten(uint32_t exponent)
{
    __int128 value = 1;
    for (uint32_t i = 0; i < exponent; i++) {
        value *= 10;
    }
    return value;
}

/* The whole range of a type, for columns without min and max. */
static void type_range(struct weir_type type, union number *min, union number *max)
{
    uint32_t width = weir_type_width(type.id);
    if (type.id == WEIR_TYPE_FLOAT || type.id == WEIR_TYPE_DOUBLE) {
        max->f64 = type.id == WEIR_TYPE_FLOAT ? (double)FLT_MAX : DBL_MAX;
        min->f64 = -max->f64;
    } else if (type.id == WEIR_TYPE_DECIMAL) {
        max->decimal = power_of_ten(type.precision) - 1;
        min->decimal = -max->decimal;
    } else if (type.id == WEIR_TYPE_TIME || type.id == WEIR_TYPE_INTERVAL_DAY) {
        min->i64 = 0;
        max->i64 = 86400 * (int64_t)1000000 - 1;
    } else if (type.id == WEIR_TYPE_INTERVAL_YEAR) {
        min->i64 = 0;
        max->i64 = 1199;
    } else if (weir_type_is_integer(type.id)) {
        max->i64 = width == 8 ? INT64_MAX : ((int64_t)1 << (8 * width - 1)) - 1;
        min->i64 = -max->i64 - 1;
    }
}

static enum weir_rc parse_choices(const struct weir_table_spec *table, const char *column, const char *text, struct gen_column *out,
                                  struct weir_error *err)
{
    struct weir_slice rest = weir_slice_str(text);
    struct weir_slice item;
    uint32_t cap = 1;
    for (const char *at = text; *at != '\0'; at++) {
        cap += *at == ',';
    }
    out->kind = CHOICE;
    out->numbers = weir_calloc(cap, sizeof(*out->numbers));
    out->texts = weir_calloc(cap, sizeof(*out->texts));
    while (weir_option_next_item(&rest, &item)) {
        weir_assert(out->nchoices < cap);
        if (weir_type_is_string(out->type.id)) {
            out->texts[out->nchoices] = item; /* the table's text outlives the source */
        } else if (parse_number(out->type, item, &out->numbers[out->nchoices]) != WEIR_OK) {
            return bad_value(table, column, "values", text, err);
        }
        out->nchoices++;
    }
    return out->nchoices > 0 ? WEIR_OK : bad_value(table, column, "values", text, err);
}

/* How many rows a sequence from start to end has; sets the step. */
static uint64_t sequence_rows(struct gen_column *column, union number end)
{
    if (column->type.id == WEIR_TYPE_FLOAT || column->type.id == WEIR_TYPE_DOUBLE) {
        double start = column->min.f64;
        column->max.f64 = 1;
        double rows = end.f64 - start + 1;
        return rows < 1 ? 0 : rows >= 9e18 ? UINT64_MAX : (uint64_t)rows;
    }
    bool decimal = column->type.id == WEIR_TYPE_DECIMAL;
    __int128 step = decimal ? power_of_ten(column->type.scale) : 1;
    __int128 start = decimal ? column->min.decimal : column->min.i64;
    __int128 last = decimal ? end.decimal : end.i64;
    if (decimal) {
        column->max.decimal = step;
    }
    __int128 rows = last < start ? 0 : (last - start) / step + 1;
    return rows > UINT64_MAX ? UINT64_MAX : (uint64_t)rows;
}

static enum weir_rc parse_duration_us(const char *text, int64_t *out_us, struct weir_error *err)
{
    int64_t ms = 0;
    enum weir_rc rc = text == NULL ? WEIR_OK : weir_config_parse_duration(weir_slice_str(text), &ms, err);
    if (rc == WEIR_OK && __builtin_mul_overflow(ms, 1000, out_us)) {
        rc = weir_error_set(err, WEIR_LIMIT, "\"%s\" is too long", text);
    }
    return rc;
}

static enum weir_rc parse_time_column(const struct weir_table_spec *table, const char *name, struct gen_column *column, struct weir_error *err)
{
    bool random = column->kind == RANDOM;
    const char *start = weir_table_option(table, "start-time");
    start = start == NULL ? weir_connector_default(table, "start-time") : start;
    enum weir_rc rc = start == NULL ? WEIR_OK : weir_option_parse_time(weir_slice_str(start), &column->time_us, err);
    rc = rc != WEIR_OK ? rc : parse_duration_us(weir_connector_field_option(table, "fields", name, random ? "max-past" : "jitter"),
                                                &column->spread_us, err);
    if (rc == WEIR_OK && !random) {
        rc = parse_duration_us(weir_connector_field_option(table, "fields", name, "step"), &column->step_us, err);
    }
    return rc == WEIR_OK ? WEIR_OK : weir_error_prefix(err, "table %s: column %s", table->name, name);
}

/* min and max, values, or start and end. */
static enum weir_rc parse_values(struct datagen *gen, const char *name, struct gen_column *column, struct weir_error *err)
{
    const struct weir_table_spec *table = gen->ctx->table;
    const char *values = weir_connector_field_option(table, "fields", name, "values");
    if (column->kind == RANDOM && values != NULL) {
        return parse_choices(table, name, values, column, err);
    }
    bool sequence = column->kind == SEQUENCE;
    type_range(column->type, &column->min, &column->max);
    const char *low_key = sequence ? "start" : "min";
    const char *high_key = sequence ? "end" : "max";
    const char *low = weir_connector_field_option(table, "fields", name, low_key);
    const char *high = weir_connector_field_option(table, "fields", name, high_key);
    if (low != NULL && parse_number(column->type, weir_slice_str(low), &column->min) != WEIR_OK) {
        return bad_value(table, name, low_key, low, err);
    }
    if (high != NULL && parse_number(column->type, weir_slice_str(high), &column->max) != WEIR_OK) {
        return bad_value(table, name, high_key, high, err);
    }
    if (sequence) {
        uint64_t rows = sequence_rows(column, column->max);
        gen->rows_max = rows < gen->rows_max ? rows : gen->rows_max;
    }
    return WEIR_OK;
}

static enum weir_rc parse_column(struct datagen *gen, uint32_t idx, uint64_t seed, struct weir_error *err)
{
    const struct weir_table_spec *table = gen->ctx->table;
    const struct weir_field *field = weir_schema_field(table->schema, idx);
    struct gen_column *column = &gen->columns[idx];
    const char *kind = weir_connector_field_option(table, "fields", field->name, "kind");
    const char *null_rate = weir_connector_field_option(table, "fields", field->name, "null-rate");
    const char *length = weir_connector_field_option(table, "fields", field->name, "length");
    double rate = 0;
    int64_t chars = 0;
    column->type = field->type;
    column->salt = weir_hash_u64(idx, weir_hash_u64(seed, 0));
    column->kind = kind == NULL || strcmp(kind, "random") == 0 ? RANDOM : strcmp(kind, "sequence") == 0 ? SEQUENCE : EVENT_TIME;
    if (null_rate != NULL && (weir_f64_read(weir_slice_str(null_rate), &rate) != WEIR_OK || !(rate >= 0 && rate <= 1))) {
        return bad_value(table, field->name, "null-rate", null_rate, err);
    }
    if (length != NULL && (weir_i64_read(weir_slice_str(length), &chars) != WEIR_OK || chars < 0 || chars > WEIR_BATCH_BYTES_MAX)) {
        return bad_value(table, field->name, "length", length, err);
    }
    if (rate > 0 && field->type.not_null) {
        return weir_error_set(err, WEIR_INVALID, "table %s: option \"fields.%s.null-rate\": the column is NOT NULL", table->name, field->name);
    }
    column->null_below = rate >= 1 ? UINT64_MAX : (uint64_t)(rate * 18446744073709551616.0);
    column->length = (uint32_t)chars;
    if (weir_type_is_string(field->type.id) && column->length > field->type.length) {
        column->length = field->type.length;
    }
    if (weir_type_is_time(field->type.id) && field->type.id != WEIR_TYPE_TIME) {
        return parse_time_column(table, field->name, column, err);
    }
    return parse_values(gen, field->name, column, err);
}

/* --- values ---------------------------------------------------------------------------------------------------------- */

static inline uint64_t row_hash(const struct gen_column *column, uint64_t row)
{
    return weir_hash_u64(row, column->salt);
}

/* Uniform in [min, max] but for a bias below 2^-64 times the range. */
static inline int64_t uniform_i64(uint64_t hash, int64_t min, int64_t max)
{
    uint64_t range = (uint64_t)max - (uint64_t)min + 1;
    uint64_t offset = range == 0 ? hash : (uint64_t)((unsigned __int128)hash * range >> 64);
    return (int64_t)((uint64_t)min + offset);
}

static inline double uniform_f64(uint64_t hash, double min, double max)
{
    double share = (double)(hash >> 11) * 0x1p-53;
    double value = min * (1 - share) + max * share; /* max - min may overflow */
    return value > max ? max : value;
}

static __int128 uniform_decimal(uint64_t hash, __int128 min, __int128 max)
{
    unsigned __int128 range = (unsigned __int128)(max - min) + 1;
    unsigned __int128 wide = (unsigned __int128)hash << 64 | weir_hash_u64(hash, 1);
    return min + (__int128)(wide % range);
}

static int64_t row_i64(const struct gen_column *column, uint64_t row)
{
    switch (column->kind) {
    case SEQUENCE: return column->min.i64 + (int64_t)row;
    case CHOICE: return column->numbers[uniform_i64(row_hash(column, row), 0, (int64_t)column->nchoices - 1)].i64;
    case EVENT_TIME: return column->time_us + (int64_t)row * column->step_us - uniform_i64(row_hash(column, row), 0, column->spread_us);
    case RANDOM: break;
    }
    return weir_type_is_time(column->type.id) && column->type.id != WEIR_TYPE_TIME
               ? column->time_us - uniform_i64(row_hash(column, row), 0, column->spread_us)
               : uniform_i64(row_hash(column, row), column->min.i64, column->max.i64);
}

static double row_f64(const struct gen_column *column, uint64_t row)
{
    return column->kind == SEQUENCE ? column->min.f64 + (double)row
           : column->kind == CHOICE ? column->numbers[uniform_i64(row_hash(column, row), 0, (int64_t)column->nchoices - 1)].f64
                                    : uniform_f64(row_hash(column, row), column->min.f64, column->max.f64);
}

static __int128 row_decimal(const struct gen_column *column, uint64_t row)
{
    return column->kind == SEQUENCE ? column->min.decimal + column->max.decimal * (__int128)row
           : column->kind == CHOICE ? column->numbers[uniform_i64(row_hash(column, row), 0, (int64_t)column->nchoices - 1)].decimal
                                    : uniform_decimal(row_hash(column, row), column->min.decimal, column->max.decimal);
}

static void put_string(const struct gen_column *column, struct weir_column_builder *to, uint32_t at, uint64_t row)
{
    if (column->kind == CHOICE) {
        weir_column_builder_put_str(to, at, column->texts[uniform_i64(row_hash(column, row), 0, (int64_t)column->nchoices - 1)]);
        return;
    }
    if (column->kind == SEQUENCE) {
        char text[WEIR_NUMBER_TEXT_MAX];
        weir_column_builder_put_str(to, at, weir_slice(text, weir_i64_write(column->min.i64 + (int64_t)row, text)));
        return;
    }
    /* Hexadecimal digits, as Flink's generator makes them; bytes for VARBINARY. */
    uint8_t *out = weir_column_builder_reserve_str(to, at, column->length);
    uint64_t hash = row_hash(column, row);
    bool text = column->type.id == WEIR_TYPE_VARCHAR;
    uint32_t per_word = text ? 16 : 8;
    for (uint32_t i = 0; i < column->length; i++) {
        if (i > 0 && i % per_word == 0) {
            hash = weir_hash_u64(hash, column->salt);
        }
        uint64_t bits = hash >> (i % per_word * (64 / per_word));
        out[i] = text ? (uint8_t)"0123456789abcdef"[bits & 15] : (uint8_t)bits;
    }
    weir_column_builder_commit_str(to, at);
}

/* TIMESTAMP(3) keeps milliseconds; jitter is made of microseconds. */
static int64_t precision_unit_us(struct weir_type type)
{
    static const int64_t units[] = {1000000, 100000, 10000, 1000, 100, 10, 1};
    bool timestamp = type.id == WEIR_TYPE_TIMESTAMP || type.id == WEIR_TYPE_TIMESTAMP_LTZ || type.id == WEIR_TYPE_TIME;
    return timestamp ? units[type.precision] : 1;
}

static int64_t floor_to(int64_t value, int64_t unit)
{
    int64_t rest = value % unit;
    return value - rest - (rest < 0 ? unit : 0);
}

#define FILL(c_type, expression)                                   \
    do {                                                           \
        c_type *values = (c_type *)(void *)to->values;             \
        for (uint32_t i = 0; i < count; i++) {                     \
            uint64_t row = first + (uint64_t)i * stride;           \
            values[i] = (c_type)(expression);                      \
        }                                                          \
    } while (0)

static void fill_integers(const struct gen_column *column, struct weir_column_builder *to, uint64_t first, uint64_t stride, uint32_t count)
{
    int64_t unit = precision_unit_us(column->type);
    if (column->type.id == WEIR_TYPE_DATE) {
        FILL(int32_t, floor_to(row_i64(column, row), 86400 * (int64_t)1000000) / (86400 * (int64_t)1000000));
        return;
    }
    switch (weir_type_width(column->type.id)) {
    case 1: FILL(int8_t, row_i64(column, row)); break;
    case 2: FILL(int16_t, row_i64(column, row)); break;
    case 4: FILL(int32_t, row_i64(column, row)); break;
    default:
        if (unit == 1) {
            FILL(int64_t, row_i64(column, row));
        } else {
            FILL(int64_t, floor_to(row_i64(column, row), unit));
        }
        break;
    }
}

static void fill_column(const struct gen_column *column, struct weir_column_builder *to, uint64_t first, uint64_t stride, uint32_t count)
{
    if (column->type.id == WEIR_TYPE_FLOAT) {
        FILL(float, row_f64(column, row));
    } else if (column->type.id == WEIR_TYPE_DOUBLE) {
        FILL(double, row_f64(column, row));
    } else if (column->type.id == WEIR_TYPE_DECIMAL) {
        FILL(__int128, row_decimal(column, row));
    } else if (weir_type_is_string(column->type.id)) {
        for (uint32_t i = 0; i < count; i++) {
            put_string(column, to, i, first + (uint64_t)i * stride);
        }
    } else if (column->type.id == WEIR_TYPE_BOOLEAN) {
        for (uint32_t i = 0; i < count; i++) {
            weir_column_builder_put_bool(to, i, (row_hash(column, first + (uint64_t)i * stride) & 1) != 0);
        }
    } else {
        fill_integers(column, to, first, stride, count);
    }
    for (uint32_t i = 0; column->null_below != 0 && i < count; i++) {
        if (weir_hash_u64(row_hash(column, first + (uint64_t)i * stride), 2) < column->null_below) {
            weir_column_builder_put_null(to, i);
        }
    }
}

/* --- the source ------------------------------------------------------------------------------------------------------ */

static enum weir_rc enumerate(const struct weir_table_spec *table, uint32_t parallelism, struct weir_fs *fs,
                              void (*add)(void *add_ctx, struct weir_split split), void *add_ctx, struct weir_error *err)
{
    (void)table;
    (void)fs;
    (void)err;
    for (uint32_t i = 0; i < parallelism; i++) {
        uint8_t data[SPLIT_BYTES];
        struct weir_buf text = {0};
        weir_buf_put_fmt(&text, "%u/%u", i, parallelism);
        weir_le_put_u32(data, i);
        weir_le_put_u32(data + 4, parallelism);
        add(add_ctx, (struct weir_split){.id = weir_buf_slice(&text), .data = weir_slice(data, sizeof(data))});
        weir_buf_fini(&text);
    }
    return WEIR_OK;
}

static void destroy(struct weir_source *source)
{
    struct datagen *gen = (struct datagen *)source;
    if (gen == NULL) {
        return;
    }
    for (uint32_t i = 0; i < gen->ncols; i++) {
        weir_free(gen->columns[i].numbers);
        weir_free(gen->columns[i].texts);
    }
    weir_batch_builder_fini(&gen->builder);
    weir_free(gen->columns);
    weir_free(gen->splits);
    weir_free(gen);
}

/* Rows of a batch, so that it stays below WEIR_BATCH_BYTES_MAX. */
static uint32_t batch_rows(const struct datagen *gen)
{
    size_t row_bytes = 1;
    for (uint32_t i = 0; i < gen->ncols; i++) {
        row_bytes += weir_type_width(gen->columns[i].type.id) + (weir_type_is_string(gen->columns[i].type.id) ? gen->columns[i].length : 0);
        for (uint32_t k = 0; gen->columns[i].texts != NULL && k < gen->columns[i].nchoices; k++) {
            row_bytes += gen->columns[i].texts[k].len / gen->columns[i].nchoices;
        }
    }
    size_t rows = WEIR_BATCH_BYTES_MAX / row_bytes;
    return rows == 0 ? 1 : rows > BATCH_ROWS ? BATCH_ROWS : (uint32_t)rows;
}

static enum weir_rc create(const struct weir_conn_ctx *ctx, struct weir_source **out_source, struct weir_error *err)
{
    int64_t rows_max = -1;
    int64_t rate = 0;
    int64_t seed = 0;
    enum weir_rc rc = option_i64(ctx->table, "number-of-rows", &rows_max, err);
    rc = rc != WEIR_OK ? rc : option_i64(ctx->table, "rows-per-second", &rate, err);
    rc = rc != WEIR_OK ? rc : option_i64(ctx->table, "seed", &seed, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct datagen *gen = weir_calloc(1, sizeof(*gen));
    gen->base.vtable = &weir__datagen_source;
    gen->ctx = ctx;
    gen->rows_max = rows_max < 0 ? UINT64_MAX : (uint64_t)rows_max;
    gen->rows_per_second = rate < 0 ? 0 : (uint64_t)rate;
    gen->ncols = weir_schema_count(ctx->table->schema);
    gen->columns = weir_calloc(gen->ncols, sizeof(*gen->columns));
    for (uint32_t i = 0; i < gen->ncols && rc == WEIR_OK; i++) {
        rc = parse_column(gen, i, (uint64_t)seed, err);
    }
    if (rc != WEIR_OK) {
        destroy(&gen->base);
        return rc;
    }
    gen->batch_rows = batch_rows(gen);
    weir_batch_builder_init(&gen->builder, ctx->table->schema, gen->batch_rows, ctx->mem);
    *out_source = &gen->base;
    return WEIR_OK;
}

static enum weir_rc add_split(struct weir_source *source, struct weir_split split, struct weir_slice position, uint32_t *out_split,
                              struct weir_error *err)
{
    struct datagen *gen = (struct datagen *)source;
    struct weir_reader data = weir_reader(split.data);
    struct weir_reader at = weir_reader(position);
    struct gen_split made = {.index = weir_read_u32(&data), .of = weir_read_u32(&data)};
    made.next = position.len == 0 ? 0 : weir_read_u64(&at);
    if (data.failed || data.rest.len != 0 || at.failed || at.rest.len != 0 || made.index >= made.of) {
        return weir_error_set(err, WEIR_CORRUPT, "table %s: split %.*s or its position is damaged", gen->ctx->table->name,
                              WEIR_SLICE_ARG(split.id));
    }
    gen->splits = weir_realloc(gen->splits, (gen->nsplits + 1) * sizeof(*gen->splits));
    gen->splits[gen->nsplits] = made;
    *out_split = gen->nsplits++;
    return WEIR_OK;
}

/* Rows of the split in all. */
static uint64_t split_rows(const struct datagen *gen, const struct gen_split *split)
{
    return gen->rows_max == UINT64_MAX     ? UINT64_MAX
           : gen->rows_max <= split->index ? 0
                                           : (gen->rows_max - split->index - 1) / split->of + 1;
}

/* Rows that are due by now, in all; *out_wait_ms: how long until one more is. */
static uint64_t rows_due(const struct datagen *gen, struct gen_split *split, int64_t now_ns, int64_t *out_wait_ms)
{
    *out_wait_ms = 0;
    if (gen->rows_per_second == 0) {
        return UINT64_MAX;
    }
    if (!split->pacing) {
        split->pacing = true;
        split->paced_from = split->next;
        split->paced_from_ns = now_ns;
    }
    unsigned __int128 elapsed_ns = (unsigned __int128)(now_ns - split->paced_from_ns);
    uint64_t row = (uint64_t)(elapsed_ns * gen->rows_per_second / 1000000000); /* the newest row that is due, of the whole source */
    uint64_t due = row < split->index ? 0 : (row - split->index) / split->of + 1;
    unsigned __int128 next_row = (unsigned __int128)due * split->of + split->index;
    unsigned __int128 next_ns = next_row * 1000000000 / gen->rows_per_second;
    *out_wait_ms = next_ns <= elapsed_ns ? 1 : (int64_t)((next_ns - elapsed_ns) / 1000000) + 1;
    return split->paced_from + due;
}

static enum weir_rc poll_split(struct datagen *gen, uint32_t idx, uint64_t count, struct weir_source_poll *out_poll)
{
    struct gen_split *split = &gen->splits[idx];
    uint32_t rows = count < gen->batch_rows ? (uint32_t)count : gen->batch_rows;
    uint64_t first = split->index + split->next * split->of;
    for (uint32_t i = 0; i < gen->ncols; i++) {
        fill_column(&gen->columns[i], &gen->builder.cols[i], first, split->of, rows);
    }
    gen->builder.nrows = rows;
    split->next += rows;
    gen->turn = (idx + 1) % gen->nsplits;
    out_poll->batch = weir_batch_builder_finish(&gen->builder);
    out_poll->runs[0] = (struct weir_split_run){.split = idx, .rows = rows};
    out_poll->nruns = 1;
    out_poll->wait_ms = 0;
    return WEIR_OK;
}

static enum weir_rc poll(struct weir_source *source, struct weir_source_poll *out_poll, struct weir_error *err)
{
    (void)err;
    struct datagen *gen = (struct datagen *)source;
    out_poll->batch = NULL;
    out_poll->nruns = 0;
    if (weir_mem_full(gen->ctx->mem)) {
        out_poll->wait_ms = MEM_FULL_WAIT_MS;
        return WEIR_AGAIN;
    }
    int64_t now_ns = weir_clock_mono_ns(gen->ctx->clock);
    int64_t wait_ms = -1;
    for (uint32_t i = 0; i < gen->nsplits; i++) {
        uint32_t idx = (gen->turn + i) % gen->nsplits;
        struct gen_split *split = &gen->splits[idx];
        uint64_t rows = split_rows(gen, split);
        if (split->next >= rows) {
            continue;
        }
        int64_t split_wait_ms;
        uint64_t due = rows_due(gen, split, now_ns, &split_wait_ms);
        due = due < rows ? due : rows;
        if (due > split->next) {
            return poll_split(gen, idx, due - split->next, out_poll);
        }
        wait_ms = wait_ms < 0 || split_wait_ms < wait_ms ? split_wait_ms : wait_ms;
    }
    out_poll->wait_ms = wait_ms;
    return wait_ms < 0 ? WEIR_END : WEIR_AGAIN;
}

static void split_position(const struct weir_source *source, uint32_t split, struct weir_buf *out)
{
    const struct datagen *gen = (const struct datagen *)source;
    weir_assert(split < gen->nsplits);
    weir_buf_put_u64(out, gen->splits[split].next);
}

static bool split_finished(const struct weir_source *source, uint32_t split)
{
    const struct datagen *gen = (const struct datagen *)source;
    weir_assert(split < gen->nsplits);
    return gen->splits[split].next >= split_rows(gen, &gen->splits[split]);
}

const struct weir_source_vtable weir__datagen_source = {
    .connector = "datagen",
    .bounded = weir_connector_bounded,
    .enumerate = enumerate,
    .create = create,
    .destroy = destroy,
    .add_split = add_split,
    .poll = poll,
    .split_position = split_position,
    .split_finished = split_finished,
};
