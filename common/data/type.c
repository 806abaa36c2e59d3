#include "common/data/type.h"

#include "common/base/assert.h"

#include <stdio.h>

struct weir_type weir_type_of(enum weir_type_id id)
{
    struct weir_type type = {.id = id};
    switch (id) {
    case WEIR_TYPE_DECIMAL:
        type.precision = 10;
        break;
    case WEIR_TYPE_VARCHAR:
    case WEIR_TYPE_VARBINARY:
        type.length = WEIR_LENGTH_MAX;
        break;
    case WEIR_TYPE_TIMESTAMP:
    case WEIR_TYPE_TIMESTAMP_LTZ:
        type.precision = WEIR_TIMESTAMP_PRECISION_MAX;
        break;
    case WEIR_TYPE_NULL:
    case WEIR_TYPE_BOOLEAN:
    case WEIR_TYPE_TINYINT:
    case WEIR_TYPE_SMALLINT:
    case WEIR_TYPE_INT:
    case WEIR_TYPE_BIGINT:
    case WEIR_TYPE_FLOAT:
    case WEIR_TYPE_DOUBLE:
    case WEIR_TYPE_DATE:
    case WEIR_TYPE_TIME:
    case WEIR_TYPE_INTERVAL_YEAR:
    case WEIR_TYPE_INTERVAL_DAY:
        break;
    }
    return type;
}

/* --- parsing -------------------------------------------------------------------------------------------------------- */

struct type_word {
    const char *word;
    enum weir_type_id id;
    bool takes_number; /* "(n)" may follow */
};

static const struct type_word type_words[] = {
    {"BOOLEAN", WEIR_TYPE_BOOLEAN, false},
    {"TINYINT", WEIR_TYPE_TINYINT, false},
    {"SMALLINT", WEIR_TYPE_SMALLINT, false},
    {"INT", WEIR_TYPE_INT, false},
    {"INTEGER", WEIR_TYPE_INT, false},
    {"BIGINT", WEIR_TYPE_BIGINT, false},
    {"FLOAT", WEIR_TYPE_FLOAT, false},
    {"DOUBLE", WEIR_TYPE_DOUBLE, false},
    {"DECIMAL", WEIR_TYPE_DECIMAL, true},
    {"DEC", WEIR_TYPE_DECIMAL, true},
    {"NUMERIC", WEIR_TYPE_DECIMAL, true},
    {"STRING", WEIR_TYPE_VARCHAR, false},
    {"VARCHAR", WEIR_TYPE_VARCHAR, true},
    {"BYTES", WEIR_TYPE_VARBINARY, false},
    {"VARBINARY", WEIR_TYPE_VARBINARY, true},
    {"DATE", WEIR_TYPE_DATE, false},
    {"TIME", WEIR_TYPE_TIME, true},
    {"TIMESTAMP", WEIR_TYPE_TIMESTAMP, true},
    {"TIMESTAMP_LTZ", WEIR_TYPE_TIMESTAMP_LTZ, true},
    {"INTERVAL", WEIR_TYPE_INTERVAL_YEAR, false},
};

static bool is_word_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static void skip_blanks(struct weir_slice *rest)
{
    while (rest->len > 0 && (*rest->data == ' ' || *rest->data == '\t' || *rest->data == '\n' || *rest->data == '\r')) {
        rest->data++;
        rest->len--;
    }
}

/* The next word (letters, digits, '_'), or empty. */
static struct weir_slice take_word(struct weir_slice *rest)
{
    skip_blanks(rest);
    struct weir_slice word = {.data = rest->data, .len = 0};
    while (word.len < rest->len && is_word_byte(rest->data[word.len])) {
        word.len++;
    }
    rest->data += word.len;
    rest->len -= word.len;
    return word;
}

static bool word_is(struct weir_slice word, const char *upper)
{
    if (word.len != strlen(upper)) {
        return false;
    }
    for (size_t i = 0; i < word.len; i++) {
        uint8_t c = word.data[i];
        if ((c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c) != (uint8_t)upper[i]) {
            return false;
        }
    }
    return true;
}

/* Takes the words of `phrase` ("WITH LOCAL TIME ZONE") when they all come next; else takes nothing. */
static bool take_phrase(struct weir_slice *rest, const char *phrase)
{
    struct weir_slice ahead = *rest;
    struct weir_slice wanted = weir_slice_str(phrase);
    for (;;) {
        struct weir_slice want = take_word(&wanted);
        if (want.len == 0) {
            *rest = ahead;
            return true;
        }
        char upper[16];
        weir_assert(want.len < sizeof(upper));
        memcpy(upper, want.data, want.len);
        upper[want.len] = '\0';
        if (!word_is(take_word(&ahead), upper)) {
            return false;
        }
    }
}

static bool take_char(struct weir_slice *rest, char c)
{
    skip_blanks(rest);
    if (rest->len == 0 || *rest->data != (uint8_t)c) {
        return false;
    }
    rest->data++;
    rest->len--;
    return true;
}

static bool take_number(struct weir_slice *rest, uint64_t *out_number)
{
    struct weir_slice word = take_word(rest);
    uint64_t number = 0;
    for (size_t i = 0; i < word.len; i++) {
        if (word.data[i] < '0' || word.data[i] > '9' || i > 10) {
            return false;
        }
        number = number * 10 + (uint64_t)(word.data[i] - '0');
    }
    *out_number = number;
    return word.len > 0;
}

/* "(n)" or "(n, m)"; count says how many there were. False: a parenthesis is open but not right. */
static bool take_parameters(struct weir_slice *rest, uint64_t numbers[2], unsigned *out_count)
{
    unsigned count = 0;
    if (take_char(rest, '(')) {
        do {
            if (count == 2 || !take_number(rest, &numbers[count])) {
                return false;
            }
            count++;
        } while (take_char(rest, ','));
        if (!take_char(rest, ')')) {
            return false;
        }
    }
    *out_count = count;
    return true;
}

static enum weir_rc apply_parameters(struct weir_type *type, struct weir_slice text, const uint64_t numbers[2],
                                     unsigned count, struct weir_error *err)
{
    if (count == 2 && type->id != WEIR_TYPE_DECIMAL) {
        return weir_error_set(err, WEIR_INVALID, "type '%.*s': one number expected in parentheses", WEIR_SLICE_ARG(text));
    }
    if (type->id == WEIR_TYPE_DECIMAL) {
        uint64_t scale = count == 2 ? numbers[1] : 0;
        if (numbers[0] < 1 || numbers[0] > WEIR_DECIMAL_PRECISION_MAX || scale > numbers[0]) {
            return weir_error_set(err, WEIR_INVALID, "type '%.*s': DECIMAL(p, s) has 1 <= p <= %d and 0 <= s <= p",
                                  WEIR_SLICE_ARG(text), WEIR_DECIMAL_PRECISION_MAX);
        }
        type->precision = (uint8_t)numbers[0];
        type->scale = (uint8_t)scale;
    } else if (weir_type_is_string(type->id)) {
        if (numbers[0] < 1 || numbers[0] > WEIR_LENGTH_MAX) {
            return weir_error_set(err, WEIR_INVALID, "type '%.*s': the length is 1 to %d", WEIR_SLICE_ARG(text),
                                  WEIR_LENGTH_MAX);
        }
        type->length = (uint32_t)numbers[0];
    } else {
        if (numbers[0] > WEIR_TIMESTAMP_PRECISION_MAX) {
            return weir_error_set(err, WEIR_INVALID,
                                  "type '%.*s': times are kept in microseconds, so the precision is 0 to %d",
                                  WEIR_SLICE_ARG(text), WEIR_TIMESTAMP_PRECISION_MAX);
        }
        type->precision = (uint8_t)numbers[0];
    }
    return WEIR_OK;
}

static enum weir_rc not_a_type(struct weir_slice text, struct weir_error *err)
{
    return weir_error_set(err, WEIR_INVALID,
                          "'%.*s' is not a type; the types are BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, "
                          "DECIMAL(p, s), STRING, VARCHAR(n), BYTES, VARBINARY(n), DATE, TIME(p), TIMESTAMP(p), "
                          "TIMESTAMP_LTZ(p), INTERVAL YEAR TO MONTH, INTERVAL DAY TO SECOND, each with or without NOT NULL",
                          (int)(text.len > 100 ? 100 : text.len), (const char *)text.data);
}

/* What may follow the parameters: zones, the second half of an interval, nullability. */
static bool take_suffix(struct weir_slice *rest, struct weir_type *type)
{
    if (type->id == WEIR_TYPE_TIMESTAMP && take_phrase(rest, "WITH LOCAL TIME ZONE")) {
        type->id = WEIR_TYPE_TIMESTAMP_LTZ;
    } else if (type->id == WEIR_TYPE_TIMESTAMP || type->id == WEIR_TYPE_TIME) {
        (void)take_phrase(rest, "WITHOUT TIME ZONE");
    } else if (type->id == WEIR_TYPE_DOUBLE) {
        (void)take_phrase(rest, "PRECISION");
    } else if (type->id == WEIR_TYPE_INTERVAL_YEAR) {
        if (take_phrase(rest, "DAY TO SECOND")) {
            type->id = WEIR_TYPE_INTERVAL_DAY;
        } else if (!take_phrase(rest, "YEAR TO MONTH")) {
            return false;
        }
    }
    if (take_phrase(rest, "NOT NULL")) {
        type->not_null = true;
    } else {
        (void)take_phrase(rest, "NULL");
    }
    skip_blanks(rest);
    return rest->len == 0;
}

enum weir_rc weir_type_parse(struct weir_slice text, struct weir_type *out_type, struct weir_error *err)
{
    struct weir_slice rest = text;
    struct weir_slice word = take_word(&rest);
    const struct type_word *found = NULL;
    for (size_t i = 0; i < sizeof(type_words) / sizeof(type_words[0]); i++) {
        if (word_is(word, type_words[i].word)) {
            found = &type_words[i];
        }
    }
    if (found == NULL) {
        return not_a_type(text, err);
    }
    struct weir_type type = weir_type_of(found->id);
    if (word_is(word, "VARCHAR") || word_is(word, "VARBINARY")) {
        type.length = 1; /* the SQL default, as in Flink; STRING and BYTES are the unbounded ones */
    }
    uint64_t numbers[2] = {0, 0};
    unsigned count = 0;
    if (found->takes_number) {
        if (!take_parameters(&rest, numbers, &count)) {
            return not_a_type(text, err);
        }
        if (count > 0) {
            enum weir_rc rc = apply_parameters(&type, text, numbers, count, err);
            if (rc != WEIR_OK) {
                return rc;
            }
        }
    }
    if (!take_suffix(&rest, &type)) {
        return not_a_type(text, err);
    }
    *out_type = type;
    return WEIR_OK;
}

/* --- printing ------------------------------------------------------------------------------------------------------- */

static const char *plain_name(enum weir_type_id id)
{
    static const char *const names[] = {
        [WEIR_TYPE_NULL] = "NULL",
        [WEIR_TYPE_BOOLEAN] = "BOOLEAN",
        [WEIR_TYPE_TINYINT] = "TINYINT",
        [WEIR_TYPE_SMALLINT] = "SMALLINT",
        [WEIR_TYPE_INT] = "INT",
        [WEIR_TYPE_BIGINT] = "BIGINT",
        [WEIR_TYPE_FLOAT] = "FLOAT",
        [WEIR_TYPE_DOUBLE] = "DOUBLE",
        [WEIR_TYPE_DECIMAL] = "DECIMAL",
        [WEIR_TYPE_VARCHAR] = "VARCHAR",
        [WEIR_TYPE_VARBINARY] = "VARBINARY",
        [WEIR_TYPE_DATE] = "DATE",
        [WEIR_TYPE_TIME] = "TIME",
        [WEIR_TYPE_TIMESTAMP] = "TIMESTAMP",
        [WEIR_TYPE_TIMESTAMP_LTZ] = "TIMESTAMP_LTZ",
        [WEIR_TYPE_INTERVAL_YEAR] = "INTERVAL YEAR TO MONTH",
        [WEIR_TYPE_INTERVAL_DAY] = "INTERVAL DAY TO SECOND",
    };
    weir_assert((unsigned)id < sizeof(names) / sizeof(names[0]));
    return names[id];
}

struct weir_type_name weir_type_text(struct weir_type type)
{
    struct weir_type_name name = {{0}};
    const char *plain = plain_name(type.id);
    const char *tail = type.not_null ? " NOT NULL" : "";
    int len;
    if (type.id == WEIR_TYPE_DECIMAL) {
        len = snprintf(name.text, sizeof(name.text), "%s(%u, %u)%s", plain, type.precision, type.scale, tail);
    } else if (weir_type_is_string(type.id) && type.length == WEIR_LENGTH_MAX) {
        len = snprintf(name.text, sizeof(name.text), "%s%s", type.id == WEIR_TYPE_VARCHAR ? "STRING" : "BYTES", tail);
    } else if (weir_type_is_string(type.id)) {
        len = snprintf(name.text, sizeof(name.text), "%s(%u)%s", plain, type.length, tail);
    } else if (weir_type_is_time(type.id) && type.id != WEIR_TYPE_DATE) {
        len = snprintf(name.text, sizeof(name.text), "%s(%u)%s", plain, type.precision, tail);
    } else {
        len = snprintf(name.text, sizeof(name.text), "%s%s", plain, tail);
    }
    weir_assert(len > 0 && (size_t)len < sizeof(name.text));
    return name;
}

/* --- families ------------------------------------------------------------------------------------------------------- */

bool weir_type_is_integer(enum weir_type_id id)
{
    return id >= WEIR_TYPE_TINYINT && id <= WEIR_TYPE_BIGINT;
}

bool weir_type_is_numeric(enum weir_type_id id)
{
    return id >= WEIR_TYPE_TINYINT && id <= WEIR_TYPE_DECIMAL;
}

bool weir_type_is_time(enum weir_type_id id)
{
    return id >= WEIR_TYPE_DATE && id <= WEIR_TYPE_TIMESTAMP_LTZ;
}

bool weir_type_same(struct weir_type a, struct weir_type b)
{
    return a.id == b.id && a.precision == b.precision && a.scale == b.scale && a.length == b.length;
}
