#include "common/catalog/connector_desc.h"

#include "common/base/config.h"
#include "common/catalog/kafka_props.h"
#include "common/catalog/kafka_table.h"
#include "common/data/datetime.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Bits of weir_option_desc.columns. */
enum {
    COLUMN_NONE = 0,
    COLUMN_NUMERIC = 1,
    COLUMN_STRING = 2,
    COLUMN_VALUES = COLUMN_NUMERIC | COLUMN_STRING,
    COLUMN_TIMESTAMP = 4,
    COLUMN_OTHER = 8,
    COLUMN_ANY = COLUMN_VALUES | COLUMN_TIMESTAMP | COLUMN_OTHER,
};

enum { SUGGESTIONS_MAX = 128, SHOWN_MAX = 80, NUMBER_TEXT_MAX = 64 };

static const struct weir_connector_desc connectors[] = {
#define CONNECTOR(id, name, roles, format_keys, changelog, bounded_by, help) \
    {name, WEIR_ROLE_##roles, format_keys, changelog, bounded_by, help},
#define OPTION(...)
#define FORMAT(...)
#define FORMAT_OPTION(...)
#include "common/catalog/connector_desc.def"
#undef CONNECTOR
#undef OPTION
#undef FORMAT
#undef FORMAT_OPTION
};

static const struct weir_format_desc formats[] = {
#define CONNECTOR(...)
#define OPTION(...)
#define FORMAT(id, name, help) {name, help},
#define FORMAT_OPTION(...)
#include "common/catalog/connector_desc.def"
#undef CONNECTOR
#undef OPTION
#undef FORMAT
#undef FORMAT_OPTION
};

/* The owners' names under their ids, for the table of options. */
enum { OWNER_NAME_MAX = 16 };
#define CONNECTOR(id, name, ...) static const char owner_##id[OWNER_NAME_MAX] = name;
#define OPTION(...)
#define FORMAT(id, name, ...) static const char owner_##id[OWNER_NAME_MAX] = name;
#define FORMAT_OPTION(...)
#include "common/catalog/connector_desc.def"
#undef CONNECTOR
#undef OPTION
#undef FORMAT
#undef FORMAT_OPTION

static const struct weir_option_desc options[] = {
#define CONNECTOR(...)
#define OPTION(owner, name, type, required, def, values, min, max, columns, roles, help) \
    {owner_##owner, name, WEIR_OPTION_##type, required, def, values, min, max, COLUMN_##columns, WEIR_ROLE_##roles, help},
#define FORMAT(...)
#define FORMAT_OPTION(owner, name, type, def, values, help) \
    {owner_##owner, name, WEIR_OPTION_##type, false, def, values, 0, 0, COLUMN_NONE, WEIR_ROLE_BOTH, help},
#include "common/catalog/connector_desc.def"
#undef CONNECTOR
#undef OPTION
#undef FORMAT
#undef FORMAT_OPTION
};

enum {
    CONNECTORS = sizeof(connectors) / sizeof(connectors[0]),
    FORMATS = sizeof(formats) / sizeof(formats[0]),
    OPTIONS = sizeof(options) / sizeof(options[0]),
};

const struct weir_connector_desc *weir_connector_desc_at(uint32_t i)
{
    return i < CONNECTORS ? &connectors[i] : NULL;
}

const struct weir_connector_desc *weir_connector_desc_find(struct weir_slice name)
{
    for (uint32_t i = 0; i < CONNECTORS; i++) {
        if (weir_slice_eq_str(name, connectors[i].name)) {
            return &connectors[i];
        }
    }
    return NULL;
}

const struct weir_format_desc *weir_format_desc_at(uint32_t i)
{
    return i < FORMATS ? &formats[i] : NULL;
}

const struct weir_format_desc *weir_format_desc_find(struct weir_slice name)
{
    for (uint32_t i = 0; i < FORMATS; i++) {
        if (weir_slice_eq_str(name, formats[i].name)) {
            return &formats[i];
        }
    }
    return NULL;
}

const struct weir_option_desc *weir_option_desc_at(uint32_t i)
{
    return i < OPTIONS ? &options[i] : NULL;
}

void weir_connector_desc_list(uint32_t role, struct weir_buf *out)
{
    const char *separator = "";
    for (uint32_t i = 0; i < CONNECTORS; i++) {
        if ((connectors[i].roles & role) != 0) {
            weir_buf_put_fmt(out, "%s%s", separator, connectors[i].name);
            separator = ", ";
        }
    }
}

void weir_format_desc_list(struct weir_buf *out)
{
    for (uint32_t i = 0; i < FORMATS; i++) {
        weir_buf_put_fmt(out, "%s%s", i == 0 ? "" : ", ", formats[i].name);
    }
}

/* --- option names ----------------------------------------------------------------------------------------------------- */

/* Whether key matches the option's name; *out_column is what stands for `#` (empty without one). */
static bool name_matches(const char *name, struct weir_slice key, struct weir_slice *out_column)
{
    *out_column = weir_slice(key.data, 0);
    const char *hash = strchr(name, '#');
    if (hash == NULL) {
        size_t len = strlen(name);
        if (len > 0 && name[len - 1] == '*') {
            return key.len >= len && memcmp(key.data, name, len - 1) == 0;
        }
        return weir_slice_eq_str(key, name);
    }
    size_t before = (size_t)(hash - name);
    size_t after = strlen(hash + 1);
    if (key.len <= before + after || memcmp(key.data, name, before) != 0 ||
        memcmp(key.data + key.len - after, hash + 1, after) != 0) {
        return false;
    }
    *out_column = weir_slice(key.data + before, key.len - before - after);
    return true;
}

static bool owned_by(const struct weir_option_desc *desc, const struct weir_connector_desc *connector,
                     const struct weir_format_desc *format)
{
    return strcmp(desc->owner, connector->name) == 0 || (format != NULL && strcmp(desc->owner, format->name) == 0);
}

/* "fields.speed.knd": the nearest of the connector's names with the key's own column in the place of `#`. */
static enum weir_rc unknown_option(const struct weir_connector_desc *connector, const struct weir_format_desc *format,
                                   struct weir_slice key, struct weir_error *err)
{
    char texts[SUGGESTIONS_MAX][SHOWN_MAX];
    const char *names[SUGGESTIONS_MAX];
    size_t count = 0;
    struct weir_slice column = weir_slice(key.data, 0);
    const uint8_t *first = key.len == 0 ? NULL : memchr(key.data, '.', key.len);
    const uint8_t *last = key.len == 0 ? NULL : memrchr(key.data, '.', key.len);
    if (first != NULL && last > first) {
        column = weir_slice(first + 1, (size_t)(last - first - 1));
    }
    for (uint32_t i = 0; i < OPTIONS && count < SUGGESTIONS_MAX; i++) {
        if (!owned_by(&options[i], connector, format)) {
            continue;
        }
        const char *hash = strchr(options[i].name, '#');
        if (hash != NULL && column.len > 0) {
            (void)snprintf(texts[count], SHOWN_MAX, "%.*s%.*s%s", (int)(hash - options[i].name), options[i].name,
                           (int)(column.len > 40 ? 40 : column.len), (const char *)column.data, hash + 1);
        } else {
            (void)snprintf(texts[count], SHOWN_MAX, "%s", options[i].name);
        }
        names[count] = texts[count];
        count++;
    }
    int shown = (int)(key.len > SHOWN_MAX ? SHOWN_MAX : key.len);
    const char *near = weir_nearest_name(key, names, count);
    if (near != NULL) {
        return weir_error_set(err, WEIR_INVALID, "connector \"%s\" has no option \"%.*s\"; did you mean \"%s\"?",
                              connector->name, shown, (const char *)key.data, near);
    }
    struct weir_buf list = {0};
    for (uint32_t i = 0; i < OPTIONS; i++) {
        if (owned_by(&options[i], connector, format)) {
            weir_buf_put_fmt(&list, "%s%s", list.len == 0 ? "" : ", ", options[i].name);
        }
    }
    weir_buf_put_u8(&list, 0);
    enum weir_rc rc =
        weir_error_set(err, WEIR_INVALID, "connector \"%s\" has no option \"%.*s\"; it has: %s", connector->name, shown,
                       (const char *)key.data, list.len == 1 ? "none" : (const char *)list.data);
    weir_buf_fini(&list);
    return rc;
}

/* --- option values ---------------------------------------------------------------------------------------------------- */

static struct weir_slice trim(struct weir_slice text)
{
    while (text.len > 0 && isspace(text.data[0])) {
        text = weir_slice(text.data + 1, text.len - 1);
    }
    while (text.len > 0 && isspace(text.data[text.len - 1])) {
        text.len--;
    }
    return text;
}

static bool next_part(struct weir_slice *rest, char separator, struct weir_slice *out_item)
{
    if (rest->data == NULL) {
        return false;
    }
    const uint8_t *end = rest->len == 0 ? NULL : memchr(rest->data, separator, rest->len);
    size_t len = end == NULL ? rest->len : (size_t)(end - rest->data);
    *out_item = trim(weir_slice(rest->data, len));
    *rest = end == NULL ? weir_slice(NULL, 0) : weir_slice(end + 1, rest->len - len - 1);
    return true;
}

bool weir_option_next_item(struct weir_slice *rest, struct weir_slice *out_item)
{
    return next_part(rest, ',', out_item);
}

bool weir_option_next_column(struct weir_slice *rest, struct weir_slice *out_name)
{
    return next_part(rest, ';', out_name);
}

static bool parse_int(struct weir_slice text, int64_t *out_value)
{
    text = trim(text);
    char copy[NUMBER_TEXT_MAX];
    if (text.len == 0 || text.len >= sizeof(copy) || !(isdigit(text.data[0]) || text.data[0] == '-')) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    char *end;
    errno = 0;
    long long value = strtoll(copy, &end, 10);
    if (errno != 0 || end != copy + text.len) {
        return false;
    }
    *out_value = value;
    return true;
}

static bool parse_double(struct weir_slice text, double *out_value)
{
    text = trim(text);
    char copy[NUMBER_TEXT_MAX];
    if (text.len == 0 || text.len >= sizeof(copy)) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) { /* strtod also takes hexadecimal, inf and nan */
        if (strchr("0123456789+-.eE", text.data[i]) == NULL || text.data[i] == '\0') {
            return false;
        }
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    char *end;
    double value = strtod(copy, &end);
    if (end != copy + text.len || value > 1.7976931348623157e308 || value < -1.7976931348623157e308) {
        return false;
    }
    *out_value = value;
    return true;
}

enum weir_rc weir_option_parse_time(struct weir_slice text, int64_t *out_micros, struct weir_error *err)
{
    int64_t ms;
    int64_t micros;
    text = trim(text);
    if (parse_int(text, &ms) && !__builtin_mul_overflow(ms, 1000, &micros)) {
        *out_micros = micros;
        return WEIR_OK;
    }
    if (weir_timestamp_read(text, &micros) != WEIR_OK) {
        return weir_error_set(err, WEIR_INVALID,
                              "\"%.*s\" is not a time; expected \"2026-11-21 07:11:52\" (UTC) or milliseconds since 1970",
                              (int)(text.len > SHOWN_MAX ? SHOWN_MAX : text.len), (const char *)text.data);
    }
    *out_micros = micros;
    return WEIR_OK;
}

static bool in_integer_range(enum weir_type_id id, int64_t value)
{
    int bits = id == WEIR_TYPE_TINYINT ? 8 : id == WEIR_TYPE_SMALLINT ? 16 : id == WEIR_TYPE_INT ? 32 : 64;
    return bits == 64 || (value >= -((int64_t)1 << (bits - 1)) && value < ((int64_t)1 << (bits - 1)));
}

static enum weir_rc check_column_value(const struct weir_option *option, struct weir_slice text, struct weir_type type, bool strings,
                                       struct weir_error *err)
{
    if (type.id == WEIR_TYPE_VARCHAR && strings) {
        return WEIR_OK;
    }
    int64_t number;
    double real;
    bool whole = weir_type_is_integer(type.id) || type.id == WEIR_TYPE_VARCHAR;
    if (whole ? parse_int(text, &number) && (type.id == WEIR_TYPE_VARCHAR || in_integer_range(type.id, number))
              : parse_double(text, &real)) {
        return WEIR_OK;
    }
    return weir_error_set(err, WEIR_INVALID, "option \"%s\": \"%.*s\" is not %s", option->key,
                          (int)(text.len > SHOWN_MAX ? SHOWN_MAX : text.len), (const char *)text.data,
                          type.id == WEIR_TYPE_VARCHAR ? "a whole number" : weir_type_text(type).text);
}

static enum weir_rc check_list(const struct weir_option *option, struct weir_type type, struct weir_error *err)
{
    struct weir_slice rest = weir_slice_str(option->value);
    struct weir_slice item;
    while (weir_option_next_item(&rest, &item)) {
        if (item.len == 0) {
            return weir_error_set(err, WEIR_INVALID, "option \"%s\": an empty value; expected values separated by commas, as in "
                                  "\"car, truck\"", option->key);
        }
        enum weir_rc rc = check_column_value(option, item, type, true, err);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    return WEIR_OK;
}

static enum weir_rc check_range(const struct weir_option_desc *desc, const struct weir_option *option, int64_t value,
                                struct weir_error *err)
{
    if ((desc->min == 0 && desc->max == 0) || (value >= desc->min && (desc->max == 0 || value <= desc->max))) {
        return WEIR_OK;
    }
    const char *unit = desc->type == WEIR_OPTION_DURATION ? " ms" : desc->type == WEIR_OPTION_BYTES ? " bytes" : "";
    if (desc->max == 0 || desc->max == INT64_MAX) {
        return weir_error_set(err, WEIR_INVALID, "option \"%s\": \"%s\" is too small; expected at least %lld%s", option->key,
                              option->value, (long long)desc->min, unit);
    }
    return weir_error_set(err, WEIR_INVALID, "option \"%s\": \"%s\" is out of range; expected %lld to %lld%s", option->key,
                          option->value, (long long)desc->min, (long long)desc->max, unit);
}

static enum weir_rc check_enum(const struct weir_option_desc *desc, const struct weir_option *option, struct weir_error *err)
{
    size_t len = strlen(option->value);
    for (const char *word = desc->values; word != NULL;) {
        const char *bar = strchr(word, '|');
        size_t word_len = bar == NULL ? strlen(word) : (size_t)(bar - word);
        if (word_len == len && memcmp(word, option->value, len) == 0) {
            return WEIR_OK;
        }
        word = bar == NULL ? NULL : bar + 1;
    }
    return weir_error_set(err, WEIR_INVALID, "option \"%s\": \"%.*s\" is not one of %s", option->key, SHOWN_MAX, option->value,
                          desc->values);
}

static enum weir_rc check_format_name(const struct weir_option *option, struct weir_error *err)
{
    if (weir_format_desc_find(weir_slice_str(option->value)) != NULL) {
        return WEIR_OK;
    }
    struct weir_buf list = {0};
    weir_format_desc_list(&list);
    enum weir_rc rc = weir_error_set(err, WEIR_INVALID, "option \"%s\": there is no format \"%.*s\"; expected one of %.*s", option->key,
                                     SHOWN_MAX, option->value, WEIR_SLICE_ARG(weir_buf_slice(&list)));
    weir_buf_fini(&list);
    return rc;
}

static enum weir_rc check_scalar(const struct weir_option_desc *desc, const struct weir_option *option, struct weir_type type,
                                 struct weir_error *err)
{
    struct weir_slice text = weir_slice_str(option->value);
    struct weir_error why = {0};
    enum weir_rc rc = WEIR_OK;
    int64_t number = 0;
    double real = 0;
    bool flag;
    switch (desc->type) {
    case WEIR_OPTION_STRING:
    case WEIR_OPTION_SECRET:
        return text.len > 0 ? WEIR_OK : weir_error_set(err, WEIR_INVALID, "option \"%s\" is empty; expected a text", option->key);
    case WEIR_OPTION_ENUM:
        return check_enum(desc, option, err);
    case WEIR_OPTION_FORMAT:
        return check_format_name(option, err);
    case WEIR_OPTION_COLUMNS:
    case WEIR_OPTION_KAFKA_PROPERTY:
        break; /* not here */
    case WEIR_OPTION_VALUE:
        return check_column_value(option, text, type, false, err);
    case WEIR_OPTION_LIST:
        return check_list(option, type, err);
    case WEIR_OPTION_INT:
        return parse_int(text, &number) ? check_range(desc, option, number, err)
                                        : weir_error_set(err, WEIR_INVALID, "option \"%s\": \"%.*s\" is not a whole number",
                                                         option->key, SHOWN_MAX, option->value);
    case WEIR_OPTION_DOUBLE:
        if (parse_double(text, &real) && real >= (double)desc->min && real <= (double)desc->max) {
            return WEIR_OK;
        }
        return weir_error_set(err, WEIR_INVALID, "option \"%s\": \"%.*s\" is not a number from %lld to %lld", option->key,
                              SHOWN_MAX, option->value, (long long)desc->min, (long long)desc->max);
    case WEIR_OPTION_BOOL:
        rc = weir_config_parse_bool(text, &flag, &why);
        break;
    case WEIR_OPTION_DURATION:
        rc = weir_config_parse_duration(text, &number, &why);
        break;
    case WEIR_OPTION_BYTES:
        rc = weir_config_parse_bytes(text, &number, &why);
        break;
    case WEIR_OPTION_TIME:
        rc = weir_option_parse_time(text, &number, &why);
        break;
    }
    return rc == WEIR_OK ? check_range(desc, option, number, err)
                         : weir_error_set(err, WEIR_INVALID, "option \"%s\": %s", option->key, why.text);
}

static uint32_t column_kind(struct weir_type type)
{
    if (weir_type_is_numeric(type.id)) {
        return COLUMN_NUMERIC;
    }
    if (type.id == WEIR_TYPE_VARCHAR) {
        return COLUMN_STRING;
    }
    return type.id == WEIR_TYPE_TIMESTAMP || type.id == WEIR_TYPE_TIMESTAMP_LTZ ? COLUMN_TIMESTAMP : COLUMN_OTHER;
}

static enum weir_rc check_column(const struct weir_option_desc *desc, const struct weir_option *option,
                                 const struct weir_schema *schema, struct weir_slice column, struct weir_type *out_type,
                                 struct weir_error *err)
{
    int32_t index = weir_schema_find(schema, column);
    if (index == WEIR_NO_COLUMN) {
        struct weir_buf names = {0};
        weir_schema_format(schema, &names);
        enum weir_rc rc = weir_error_set(err, WEIR_INVALID, "option \"%s\": there is no column \"%.*s\"; the table has %.*s",
                                         option->key, WEIR_SLICE_ARG(column), WEIR_SLICE_ARG(weir_buf_slice(&names)));
        weir_buf_fini(&names);
        return rc;
    }
    struct weir_type type = weir_schema_field(schema, (uint32_t)index)->type;
    if ((column_kind(type) & desc->columns) == 0) {
        const char *kinds = desc->columns == COLUMN_NUMERIC     ? "numeric"
                            : desc->columns == COLUMN_STRING    ? "STRING"
                            : desc->columns == COLUMN_TIMESTAMP ? "TIMESTAMP"
                                                                : "numeric and STRING";
        return weir_error_set(err, WEIR_INVALID, "option \"%s\" is for %s columns; \"%.*s\" is %s", option->key, kinds,
                              WEIR_SLICE_ARG(column), weir_type_text(type).text);
    }
    *out_type = type;
    return WEIR_OK;
}

static enum weir_rc check_columns(const struct weir_option *option, const struct weir_schema *schema, struct weir_error *err)
{
    struct weir_slice rest = weir_slice_str(option->value);
    struct weir_slice name;
    while (weir_option_next_column(&rest, &name)) {
        if (weir_schema_find(schema, name) == WEIR_NO_COLUMN) {
            struct weir_buf names = {0};
            weir_schema_format(schema, &names);
            enum weir_rc rc = weir_error_set(err, WEIR_INVALID, "option \"%s\": there is no column \"%.*s\"; the table has %.*s (columns "
                                             "are separated by semicolons)", option->key, WEIR_SLICE_ARG(name),
                                             WEIR_SLICE_ARG(weir_buf_slice(&names)));
            weir_buf_fini(&names);
            return rc;
        }
    }
    return WEIR_OK;
}

enum weir_rc weir_connector_check_option(const struct weir_connector_desc *connector, const struct weir_format_desc *format,
                                         const struct weir_schema *schema, const struct weir_option *option,
                                         struct weir_error *err)
{
    struct weir_slice key = weir_slice_str(option->key);
    for (uint32_t i = 0; i < OPTIONS; i++) {
        struct weir_slice column;
        if (!owned_by(&options[i], connector, format) || !name_matches(options[i].name, key, &column)) {
            continue;
        }
        if (options[i].type == WEIR_OPTION_COLUMNS) {
            return check_columns(option, schema, err);
        }
        if (options[i].type == WEIR_OPTION_KAFKA_PROPERTY) {
            return weir_kafka_prop_check(option->key + strlen(options[i].name) - 1, option->value, err);
        }
        struct weir_type type = weir_type_of(WEIR_TYPE_VARCHAR);
        if (column.len > 0) {
            enum weir_rc rc = check_column(&options[i], option, schema, column, &type, err);
            if (rc != WEIR_OK) {
                return rc;
            }
        }
        return check_scalar(&options[i], option, type, err);
    }
    return unknown_option(connector, format, key, err);
}

/* --- whole tables ----------------------------------------------------------------------------------------------------- */

const char *weir_connector_default(const struct weir_table_spec *table, const char *name)
{
    for (uint32_t i = 0; i < OPTIONS; i++) {
        bool mine = strcmp(options[i].owner, table->connector) == 0 ||
                    (table->format != NULL && strcmp(options[i].owner, table->format) == 0);
        if (mine && strcmp(options[i].name, name) == 0) {
            return options[i].def;
        }
    }
    return NULL;
}

const char *weir_connector_option(const struct weir_table_spec *table, const char *name)
{
    const char *value = weir_table_option(table, name);
    return value != NULL ? value : weir_connector_default(table, name);
}

static bool field_option_is(const char *key, const char *prefix, const char *column, const char *suffix)
{
    size_t prefix_len = strlen(prefix);
    size_t column_len = strlen(column);
    return strncmp(key, prefix, prefix_len) == 0 && key[prefix_len] == '.' &&
           strncmp(key + prefix_len + 1, column, column_len) == 0 && key[prefix_len + 1 + column_len] == '.' &&
           strcmp(key + prefix_len + column_len + 2, suffix) == 0;
}

static const char *field_option_set(const struct weir_table_spec *table, const char *prefix, const char *column,
                                    const char *suffix)
{
    for (uint32_t i = 0; i < table->noptions; i++) {
        if (field_option_is(table->options[i].key, prefix, column, suffix)) {
            return table->options[i].value;
        }
    }
    return NULL;
}

const char *weir_connector_field_option(const struct weir_table_spec *table, const char *prefix, const char *column,
                                        const char *suffix)
{
    const char *value = field_option_set(table, prefix, column, suffix);
    if (value != NULL) {
        return value;
    }
    char name[NUMBER_TEXT_MAX];
    (void)snprintf(name, sizeof(name), "%s.#.%s", prefix, suffix);
    return weir_connector_default(table, name);
}

/* The options that only mean something with one kind of value. */
static enum weir_rc check_datagen_kinds(const struct weir_table_spec *table, const char *column, const char *kind,
                                        struct weir_error *err)
{
    static const struct {
        const char *option, *kind;
        bool required;
    } rules[] = {
        {"min", "random", false},   {"max", "random", false},   {"length", "random", false}, {"values", "random", false},
        {"max-past", "random", false}, {"start", "sequence", true}, {"end", "sequence", true},  {"step", "time", true},
        {"jitter", "time", false},
    };
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        bool set = field_option_set(table, "fields", column, rules[i].option) != NULL;
        bool same = strcmp(kind, rules[i].kind) == 0;
        if (set && !same) {
            return weir_error_set(err, WEIR_INVALID, "option \"fields.%s.%s\" is for kind %s, and \"fields.%s.kind\" is %s", column,
                                  rules[i].option, rules[i].kind, column, kind);
        }
        if (rules[i].required && same && !set) {
            return weir_error_set(err, WEIR_INVALID, "option \"fields.%s.%s\" is missing; kind %s needs it", column,
                                  rules[i].option, kind);
        }
    }
    return WEIR_OK;
}

/* Both texts are valid numbers: compared as whole numbers where they are, which doubles are too coarse for. */
static bool in_order(const char *low, const char *high)
{
    int64_t a, b;
    double x = 0;
    double y = 0;
    if (parse_int(weir_slice_str(low), &a) && parse_int(weir_slice_str(high), &b)) {
        return a <= b;
    }
    (void)parse_double(weir_slice_str(low), &x);
    (void)parse_double(weir_slice_str(high), &y);
    return x <= y;
}

static enum weir_rc check_datagen_field(const struct weir_table_spec *table, const struct weir_field *field, struct weir_error *err)
{
    const char *kind = weir_connector_field_option(table, "fields", field->name, "kind");
    uint32_t column = column_kind(field->type);
    bool time = strcmp(kind, "time") == 0;
    if ((time && column != COLUMN_TIMESTAMP) || (strcmp(kind, "sequence") == 0 && (column & COLUMN_VALUES) == 0)) {
        return weir_error_set(err, WEIR_INVALID, "option \"fields.%s.kind\": %s is for %s columns; \"%s\" is %s", field->name, kind,
                              time ? "TIMESTAMP" : "numeric and STRING", field->name, weir_type_text(field->type).text);
    }
    enum weir_rc rc = check_datagen_kinds(table, field->name, kind, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    static const char *const pairs[][2] = {{"min", "max"}, {"start", "end"}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        const char *low = field_option_set(table, "fields", field->name, pairs[i][0]);
        const char *high = field_option_set(table, "fields", field->name, pairs[i][1]);
        if (low != NULL && high != NULL && !in_order(low, high)) {
            return weir_error_set(err, WEIR_INVALID, "option \"fields.%s.%s\": %s is greater than %s, its \"%s\"", field->name,
                                  pairs[i][0], low, high, pairs[i][1]);
        }
    }
    double null_rate = 0;
    (void)parse_double(weir_slice_str(weir_connector_field_option(table, "fields", field->name, "null-rate")), &null_rate);
    if (null_rate > 0 && field->type.not_null) {
        return weir_error_set(err, WEIR_INVALID, "option \"fields.%s.null-rate\": the column is NOT NULL", field->name);
    }
    return WEIR_OK;
}

/* An option of a sink says nothing on a table that is only read. */
static enum weir_rc check_roles(const struct weir_table_spec *table, uint32_t roles, struct weir_error *err)
{
    for (uint32_t i = 0; i < table->noptions; i++) {
        for (uint32_t k = 0; k < OPTIONS; k++) {
            struct weir_slice column;
            if (strcmp(options[k].owner, table->connector) == 0 && (options[k].roles & roles) == 0 &&
                name_matches(options[k].name, weir_slice_str(table->options[i].key), &column)) {
                return weir_error_set(err, WEIR_INVALID, "option \"%s\" is for %s, and the table is only used as a %s",
                                      table->options[i].key, options[k].roles == WEIR_ROLE_SINK ? "sinks" : "sources",
                                      roles == WEIR_ROLE_SINK ? "sink" : "source");
            }
        }
    }
    return WEIR_OK;
}

enum weir_rc weir_connector_check_table(const struct weir_table_spec *table, uint32_t roles, struct weir_error *err)
{
    for (uint32_t i = 0; i < OPTIONS; i++) {
        bool mine = strcmp(options[i].owner, table->connector) == 0 ||
                    (table->format != NULL && strcmp(options[i].owner, table->format) == 0);
        if (mine && options[i].required && (options[i].roles & roles) != 0 && weir_table_option(table, options[i].name) == NULL) {
            return weir_error_set(err, WEIR_INVALID, "connector \"%s\" needs the option \"%s\" (%s)", table->connector,
                                  options[i].name, options[i].help);
        }
    }
    enum weir_rc role_rc = check_roles(table, roles, err);
    if (role_rc != WEIR_OK) {
        return role_rc;
    }
    if (strcmp(table->connector, owner_KAFKA) == 0 || strcmp(table->connector, owner_UPSERT_KAFKA) == 0) {
        return weir__kafka_table_check(table, roles, err);
    }
    if (strcmp(table->connector, owner_DATAGEN) == 0) {
        for (uint32_t i = 0; i < weir_schema_count(table->schema); i++) {
            enum weir_rc rc = check_datagen_field(table, weir_schema_field(table->schema, i), err);
            if (rc != WEIR_OK) {
                return rc;
            }
        }
    }
    return WEIR_OK;
}

bool weir_connector_bounded(const struct weir_table_spec *table)
{
    const struct weir_connector_desc *connector = weir_connector_desc_find(weir_slice_str(table->connector));
    if (connector == NULL || connector->bounded_by == NULL) {
        return false;
    }
    if (connector->bounded_by[0] == '\0') {
        return true;
    }
    for (const char *name = connector->bounded_by; name != NULL;) {
        const char *bar = strchr(name, '|');
        char one[SHOWN_MAX];
        (void)snprintf(one, sizeof(one), "%.*s", bar == NULL ? SHOWN_MAX - 1 : (int)(bar - name), name);
        char *unless = strstr(one, "!=");
        if (unless != NULL) {
            *unless = '\0';
            unless += 2;
        }
        for (uint32_t i = 0; i < table->noptions; i++) {
            struct weir_slice column;
            if (name_matches(one, weir_slice_str(table->options[i].key), &column) &&
                (unless == NULL || strcmp(table->options[i].value, unless) != 0)) {
                return true;
            }
        }
        name = bar == NULL ? NULL : bar + 1;
    }
    return false;
}

bool weir_connector_needs_checkpoints(const struct weir_table_spec *table)
{
    const char *guarantee = weir_connector_option(table, "sink.delivery-guarantee");
    return guarantee != NULL && strcmp(guarantee, "exactly-once") == 0;
}

bool weir_connector_sink_drains(const struct weir_table_spec *table)
{
    return strcmp(table->connector, owner_FILESYSTEM) == 0 || weir_connector_needs_checkpoints(table);
}
