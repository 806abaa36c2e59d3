/*
 * JSON for record formats: a cursor over one text, strict RFC 8259. (Documents of the control plane use jansson.)
 *
 * J1  Nothing is read at or beyond `end`.
 * J2  A string that was accepted holds valid UTF-8 and whole escapes: unpaired surrogates, raw control characters and overlong forms are
 *     refused, so unescaping cannot fail.
 * J3  On failure `at` stands at the offending byte and `problem` says what is wrong; nothing else is promised.
 *
 * It builds no tree and allocates nothing: a decoder drives the cursor by the schema it expects.
 */
#ifndef WEIR_COMMON_JSON_JSON_H
#define WEIR_COMMON_JSON_JSON_H

#include "common/base/buf.h"
#include "common/base/limits.h"
#include "common/base/rc.h"

struct weir_json {
    const uint8_t *at;
    const uint8_t *end;
    const char *problem; /* static text; set by a function that returned false */
};

static inline struct weir_json weir_json(struct weir_slice text)
{
    return (struct weir_json){.at = text.data, .end = text.len == 0 ? text.data : text.data + text.len, .problem = NULL};
}

static inline void weir_json_skip_blank(struct weir_json *json)
{
    while (json->at < json->end && (*json->at == ' ' || *json->at == '\n' || *json->at == '\r' || *json->at == '\t')) {
        json->at++;
    }
}

/* Consumes one byte if it is next. */
static inline bool weir_json_accept(struct weir_json *json, uint8_t byte)
{
    if (json->at < json->end && *json->at == byte) {
        json->at++;
        return true;
    }
    return false;
}

/* Consumes true, false or null, if `word` is next. */
bool weir_json_accept_word(struct weir_json *json, const char *word);

struct weir_json_string {
    struct weir_slice raw; /* between the quotes */
    size_t text_len;       /* bytes of the text once unescaped; raw.len when there are no escapes */
    bool escaped;
};

/* Reads a string, from its opening quote to behind the closing one, and checks all of it (J2). */
bool weir_json_string(struct weir_json *json, struct weir_json_string *out_string);

/* Writes the string's text_len bytes. */
void weir_json_unescape(const struct weir_json_string *string, uint8_t *out);

/* A number: (-1)^negative * mantissa * 10^exponent, exactly so when `exact` (at most 19 significant digits and a sane exponent). */
struct weir_json_number {
    struct weir_slice text;
    uint64_t mantissa;
    int32_t exponent;
    bool negative;
    bool exact;
};

bool weir_json_number(struct weir_json *json, struct weir_json_number *out_number);

/* Reads an integer of at most 18 digits without fraction or exponent, the common case; false, with nothing read, for anything else. */
bool weir_json_plain_integer(struct weir_json *json, int64_t *out_value);

/* The value of a number that is an integer (12, -3, also 12.0 and 1.2e1). INVALID: it has a fraction; LIMIT: it does not fit. */
enum weir_rc weir_json_number_i64(const struct weir_json_number *number, int64_t *out_value) WEIR_CHECKED;

/* Correctly rounded. LIMIT: beyond the largest double. */
enum weir_rc weir_json_number_f64(const struct weir_json_number *number, double *out_value) WEIR_CHECKED;

/* As weir_decimal_read. */
enum weir_rc weir_json_number_decimal(const struct weir_json_number *number, uint8_t precision, uint8_t scale,
                                      __int128 *out_unscaled) WEIR_CHECKED;

/* Skips a value of any kind and checks it whole. depth: containers that are open around it; with the value's own at most
 * WEIR_JSON_DEPTH_MAX. */
bool weir_json_skip(struct weir_json *json, uint32_t depth);

/* Whether the bytes are well-formed UTF-8 (no overlong forms, surrogates, or values beyond U+10FFFF). */
bool weir_utf8_valid(struct weir_slice text);

/*
 * Writing. `to` has room for WEIR_JSON_STRING_BYTES_MAX(text.len); returns where the next byte goes. Escapes are Jackson's (quote,
 * backslash, \b \t \n \f \r, \u00XX); what is not UTF-8 becomes U+FFFD, so the output is always JSON.
 */
#define WEIR_JSON_STRING_BYTES_MAX(len) (6 * (size_t)(len) + 2)
uint8_t *weir_json_write_string(struct weir_slice text, uint8_t *to);

#endif
