#include "common/json/json.h"

#include "common/base/assert.h"
#include "common/data/number.h"

#include <emmintrin.h>

static bool fail(struct weir_json *json, const uint8_t *at, const char *problem)
{
    json->at = at;
    json->problem = problem;
    return false;
}

bool weir_json_accept_word(struct weir_json *json, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(json->end - json->at) < len || memcmp(json->at, word, len) != 0) {
        return false;
    }
    json->at += len;
    return true;
}

/* --- UTF-8 ----------------------------------------------------------------------------------------------------------- */

/* Length of the well-formed sequence at `at`, 0 when there is none: table 3-7 of the Unicode standard. */
static uint32_t utf8_sequence(const uint8_t *at, const uint8_t *end)
{
    uint8_t lead = at[0];
    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xc2 || lead > 0xf4) {
        return 0;
    }
    uint32_t len = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if ((size_t)(end - at) < len) {
        return 0;
    }
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < low || at[1] > high) {
        return 0;
    }
    for (uint32_t i = 2; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return len;
}

/* The first byte that does not belong to a well-formed sequence, or end. */
static const uint8_t *utf8_first_bad(const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        if (end - at >= 16 && _mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(const void *)at)) == 0) {
            at += 16;
            continue;
        }
        uint32_t len = utf8_sequence(at, end);
        if (len == 0) {
            return at;
        }
        at += len;
    }
    return end;
}

bool weir_utf8_valid(struct weir_slice text)
{
    return text.len == 0 || utf8_first_bad(text.data, text.data + text.len) == text.data + text.len;
}

/* --- strings --------------------------------------------------------------------------------------------------------- */

/* One bit per byte that is a quote, a backslash or a control character. */
static inline uint32_t stops_of(__m128i v)
{
    __m128i quotes = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(quotes, _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v)));
}

/* The first quote, backslash or control character at or behind `at`, or end. *high is set when a byte >= 0x80 was passed. */
static inline const uint8_t *scan_plain(const uint8_t *at, const uint8_t *end, bool *high)
{
    uint32_t passed_high = 0;
    while (end - at >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)at);
        uint32_t stops = stops_of(v);
        uint32_t highs = (uint32_t)_mm_movemask_epi8(v);
        if (stops != 0) {
            uint32_t first = (uint32_t)__builtin_ctz(stops);
            *high |= (passed_high | (highs & ((1u << first) - 1u))) != 0;
            return at + first;
        }
        passed_high |= highs;
        at += 16;
    }
    while (at < end && *at >= 0x20 && *at != '"' && *at != '\\') {
        passed_high |= *at & 0x80u;
        at++;
    }
    *high |= passed_high != 0;
    return at;
}

static int32_t hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    uint8_t lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The four hex digits at `at` as a number, -1 when they are not there. */
static int32_t hex4(const uint8_t *at, const uint8_t *end)
{
    if (end - at < 4) {
        return -1;
    }
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        int32_t digit = hex_digit(at[i]);
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

/* The code point of the \u escape (or pair of them) at `at`, which points at the backslash; *out_len is its length. -1: malformed. */
static int32_t unicode_escape(const uint8_t *at, const uint8_t *end, uint32_t *out_len)
{
    int32_t unit = hex4(at + 2, end);
    *out_len = 6;
    if (unit < 0xd800 || unit > 0xdfff) {
        return unit;
    }
    if (unit > 0xdbff || end - at < 12 || at[6] != '\\' || at[7] != 'u') {
        return -1;
    }
    int32_t low = hex4(at + 8, end);
    if (low < 0xdc00 || low > 0xdfff) {
        return -1;
    }
    *out_len = 12;
    return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
}

static uint32_t utf8_len(int32_t code)
{
    return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

static uint8_t *utf8_put(uint8_t *to, int32_t code)
{
    uint32_t c = (uint32_t)code;
    if (c < 0x80) {
        *to++ = (uint8_t)c;
        return to;
    }
    if (c < 0x800) {
        *to++ = (uint8_t)(0xc0 | (c >> 6));
    } else {
        if (c < 0x10000) {
            *to++ = (uint8_t)(0xe0 | (c >> 12));
        } else {
            *to++ = (uint8_t)(0xf0 | (c >> 18));
            *to++ = (uint8_t)(0x80 | ((c >> 12) & 0x3f));
        }
        *to++ = (uint8_t)(0x80 | ((c >> 6) & 0x3f));
    }
    *to++ = (uint8_t)(0x80 | (c & 0x3f));
    return to;
}

/* What a one-letter escape stands for, 0 when it is none. */
static uint8_t short_escape(uint8_t letter)
{
    switch (letter) {
    case '"':
    case '\\':
    case '/': return letter;
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return 0;
    }
}

bool weir_json_string(struct weir_json *json, struct weir_json_string *out_string)
{
    if (json->at >= json->end || *json->at != '"') {
        return fail(json, json->at, "expected a string");
    }
    const uint8_t *start = json->at + 1;
    const uint8_t *at = start;
    size_t saved = 0; /* bytes the escapes are longer than what they stand for */
    bool high = false;
    for (;;) {
        at = scan_plain(at, json->end, &high);
        if (at == json->end) {
            return fail(json, at, "the string does not end");
        }
        if (*at == '"') {
            break;
        }
        if (*at != '\\') {
            return fail(json, at, "a control character stands in a string; it must be escaped");
        }
        if (json->end - at >= 2 && short_escape(at[1]) != 0) {
            at += 2;
            saved += 1;
            continue;
        }
        uint32_t len = 0;
        int32_t code = json->end - at >= 2 && at[1] == 'u' ? unicode_escape(at, json->end, &len) : -1;
        if (code < 0) {
            return fail(json, at, "bad escape in a string");
        }
        at += len;
        saved += len - utf8_len(code); /* an escape is always longer than its character: saved > 0 means escaped */
    }
    if (high) {
        const uint8_t *bad = utf8_first_bad(start, at);
        if (bad != at) {
            return fail(json, bad, "a string is not valid UTF-8");
        }
    }
    out_string->raw = weir_slice(start, (size_t)(at - start));
    out_string->text_len = out_string->raw.len - saved;
    out_string->escaped = saved != 0;
    json->at = at + 1;
    return true;
}

void weir_json_unescape(const struct weir_json_string *string, uint8_t *out)
{
    const uint8_t *at = string->raw.data;
    const uint8_t *end = at + string->raw.len;
    uint8_t *to = out;
    while (at < end) {
        const uint8_t *next = memchr(at, '\\', (size_t)(end - at));
        size_t plain = (size_t)((next == NULL ? end : next) - at);
        memcpy(to, at, plain);
        to += plain;
        if (next == NULL) {
            break;
        }
        uint32_t len = 2;
        if (next[1] == 'u') {
            to = utf8_put(to, unicode_escape(next, end, &len));
        } else {
            *to++ = short_escape(next[1]);
        }
        at = next + len;
    }
    weir_assert((size_t)(to - out) == string->text_len);
}

/* --- numbers --------------------------------------------------------------------------------------------------------- */

enum { MANTISSA_DIGITS_MAX = 19, PLAIN_DIGITS_MAX = 18, EXPONENT_MAX = 100000 };

static inline bool is_digit(uint8_t c)
{
    return (uint8_t)(c - '0') <= 9;
}

static inline bool eight_digits(uint64_t word)
{
    return ((word & 0xf0f0f0f0f0f0f0f0u) | (((word + 0x0606060606060606u) & 0xf0f0f0f0f0f0f0f0u) >> 4)) == 0x3333333333333333u;
}

static inline uint64_t eight_digits_value(uint64_t word)
{
    word = (word & 0x0f0f0f0f0f0f0f0fu) * 2561 >> 8;
    word = (word & 0x00ff00ff00ff00ffu) * 6553601 >> 16;
    return (word & 0x0000ffff0000ffffu) * 42949672960001u >> 32;
}

struct mantissa {
    uint64_t value;
    uint32_t count;   /* significant digits in value, or more */
    uint32_t dropped; /* digits behind those there was room for */
    bool exact;       /* only zeros were dropped */
};

static inline const uint8_t *digits(const uint8_t *at, const uint8_t *end, struct mantissa *m)
{
    while (end - at >= 8 && m->count + 8 <= MANTISSA_DIGITS_MAX) {
        uint64_t word;
        memcpy(&word, at, 8);
        if (!eight_digits(word)) {
            break;
        }
        m->value = m->value * 100000000u + eight_digits_value(word);
        m->count += m->value == 0 ? 0 : 8;
        at += 8;
    }
    for (; at < end && is_digit(*at); at++) {
        if (m->count < MANTISSA_DIGITS_MAX) {
            m->value = m->value * 10 + (uint64_t)(*at - '0');
            m->count += m->value != 0;
        } else {
            m->exact = m->exact && *at == '0';
            m->dropped++;
        }
    }
    return at;
}

/* Reads the exponent at *inout_at (which points at the e) and adds it to *inout_power. */
static bool exponent(struct weir_json *json, const uint8_t **inout_at, int64_t *inout_power)
{
    const uint8_t *at = *inout_at + 1;
    bool negative = at < json->end && *at == '-';
    if (at < json->end && (*at == '-' || *at == '+')) {
        at++;
    }
    const uint8_t *first = at;
    int64_t value = 0;
    for (; at < json->end && is_digit(*at); at++) {
        value = value > EXPONENT_MAX ? value : value * 10 + (*at - '0');
    }
    if (at == first) {
        return fail(json, at, "expected a digit in the exponent of a number");
    }
    *inout_power += negative ? -value : value;
    *inout_at = at;
    return true;
}

bool weir_json_number(struct weir_json *json, struct weir_json_number *out_number)
{
    const uint8_t *start = json->at;
    const uint8_t *end = json->end;
    const uint8_t *at = start;
    bool negative = at < end && *at == '-';
    at += negative;
    if (at >= end || !is_digit(*at)) {
        return fail(json, at, "expected a number");
    }
    struct mantissa m = {.exact = true};
    const uint8_t *first = at;
    at = digits(at, end, &m);
    if (*first == '0' && at - first > 1) {
        return fail(json, first, "a number starts with a superfluous 0");
    }
    int64_t power = m.dropped;
    if (at < end && *at == '.') {
        first = ++at;
        m.dropped = 0;
        at = digits(at, end, &m);
        if (at == first) {
            return fail(json, at, "expected a digit behind the decimal point of a number");
        }
        power -= (at - first) - (int64_t)m.dropped;
    }
    if (at < end && (*at | 0x20) == 'e' && !exponent(json, &at, &power)) {
        return false;
    }
    bool exact = m.exact && power >= -EXPONENT_MAX && power <= EXPONENT_MAX;
    out_number->text = weir_slice(start, (size_t)(at - start));
    out_number->mantissa = m.value;
    out_number->exponent = exact ? (int32_t)power : 0;
    out_number->negative = negative;
    out_number->exact = exact;
    json->at = at;
    return true;
}

bool weir_json_plain_integer(struct weir_json *json, int64_t *out_value)
{
    const uint8_t *at = json->at;
    const uint8_t *end = json->end;
    bool negative = at < end && *at == '-';
    at += negative;
    const uint8_t *first = at;
    uint64_t value = 0;
    for (int i = 0; i < 2 && end - at >= 8; i++) {
        uint64_t word;
        memcpy(&word, at, 8);
        if (!eight_digits(word)) {
            break;
        }
        value = value * 100000000u + eight_digits_value(word);
        at += 8;
    }
    while (at < end && is_digit(*at) && at - first <= PLAIN_DIGITS_MAX) {
        value = value * 10 + (uint64_t)(*at - '0');
        at++;
    }
    bool plain = at > first && at - first <= PLAIN_DIGITS_MAX && (*first != '0' || at - first == 1) &&
                 (at == end || (*at != '.' && (*at | 0x20) != 'e'));
    if (plain) {
        *out_value = negative ? -(int64_t)value : (int64_t)value;
        json->at = at;
    }
    return plain;
}

enum weir_rc weir_json_number_i64(const struct weir_json_number *number, int64_t *out_value)
{
    uint64_t value = number->mantissa;
    int32_t power = number->exponent;
    if (value == 0) {
        *out_value = 0;
        return WEIR_OK;
    }
    if (!number->exact) {
        /* More than 19 significant digits, or an absurd exponent. */
        return memchr(number->text.data, '.', number->text.len) != NULL ? WEIR_INVALID : WEIR_LIMIT;
    }
    for (; power < 0; power++) {
        if (value % 10 != 0) {
            return WEIR_INVALID;
        }
        value /= 10;
    }
    for (; power > 0; power--) {
        if (__builtin_mul_overflow(value, 10u, &value)) {
            return WEIR_LIMIT;
        }
    }
    if (value > (uint64_t)INT64_MAX + number->negative) {
        return WEIR_LIMIT;
    }
    *out_value = number->negative ? (int64_t)(0 - value) : (int64_t)value;
    return WEIR_OK;
}

enum weir_rc weir_json_number_f64(const struct weir_json_number *number, double *out_value)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    /* Both operands are exact doubles, so the one operation rounds correctly (Clinger 1990, section 3). */
    if (number->exact && number->mantissa <= 1ull << 53 && number->exponent >= -22 && number->exponent <= 22) {
        double value = (double)number->mantissa;
        value = number->exponent < 0 ? value / powers[-number->exponent] : value * powers[number->exponent];
        *out_value = number->negative ? -value : value;
        return WEIR_OK;
    }
    return weir_f64_read(number->text, out_value);
}

enum weir_rc weir_json_number_decimal(const struct weir_json_number *number, uint8_t precision, uint8_t scale, __int128 *out_unscaled)
{
    int32_t shift = number->exponent + scale;
    if (number->exact && precision <= 18 && shift >= 0 && shift <= 18) {
        __int128 value = number->mantissa;
        __int128 limit = 1;
        for (int32_t i = 0; i < shift; i++) {
            value *= 10;
        }
        for (uint8_t i = 0; i < precision; i++) {
            limit *= 10;
        }
        if (value >= limit) {
            return WEIR_LIMIT;
        }
        *out_unscaled = number->negative ? -value : value;
        return WEIR_OK;
    }
    return weir_decimal_read(number->text, precision, scale, out_unscaled);
}

/* --- skipping -------------------------------------------------------------------------------------------------------- */

static bool skip_key(struct weir_json *json)
{
    struct weir_json_string key;
    weir_json_skip_blank(json);
    if (!weir_json_string(json, &key)) {
        return false;
    }
    weir_json_skip_blank(json);
    return weir_json_accept(json, ':') || fail(json, json->at, "expected ':' behind a key");
}

static bool skip_scalar(struct weir_json *json)
{
    struct weir_json_string string;
    struct weir_json_number number;
    uint8_t first = json->at < json->end ? *json->at : 0;
    if (first == '"') {
        return weir_json_string(json, &string);
    }
    if (first == '-' || is_digit(first)) {
        return weir_json_number(json, &number);
    }
    return weir_json_accept_word(json, "true") || weir_json_accept_word(json, "false") || weir_json_accept_word(json, "null") ||
           fail(json, json->at, "expected a value");
}

/* Behind a value: closes the containers that end here. False: failed; *out_more: another value follows. */
static bool skip_closers(struct weir_json *json, uint64_t *objects, uint32_t *open, bool *out_more)
{
    *out_more = false;
    while (*open > 0) {
        bool object = (*objects & 1) != 0;
        weir_json_skip_blank(json);
        if (weir_json_accept(json, ',')) {
            *out_more = true;
            return true;
        }
        if (!weir_json_accept(json, object ? '}' : ']')) {
            return fail(json, json->at, object ? "expected ',' or '}'" : "expected ',' or ']'");
        }
        *objects >>= 1;
        (*open)--;
    }
    return true;
}

bool weir_json_skip(struct weir_json *json, uint32_t depth)
{
    _Static_assert(WEIR_JSON_DEPTH_MAX <= 64, "one bit of `objects` per open container");
    uint64_t objects = 0; /* lowest bit: the innermost open container is an object */
    uint32_t open = 0;
    bool more = true;
    while (more) {
        weir_json_skip_blank(json);
        uint8_t first = json->at < json->end ? *json->at : 0;
        bool opened = false;
        if (first == '{' || first == '[') {
            if (depth + open >= WEIR_JSON_DEPTH_MAX) {
                return fail(json, json->at, "values are nested too deeply");
            }
            json->at++;
            weir_json_skip_blank(json);
            opened = !weir_json_accept(json, first == '{' ? '}' : ']');
            if (opened) {
                open++;
                objects = objects << 1 | (first == '{');
            }
        } else if (!skip_scalar(json)) {
            return false;
        }
        if (!opened && !skip_closers(json, &objects, &open, &more)) {
            return false;
        }
        if (more && (objects & 1) != 0 && !skip_key(json)) {
            return false;
        }
    }
    return true;
}

/* --- writing --------------------------------------------------------------------------------------------------------- */

static uint8_t *write_escape(uint8_t c, uint8_t *to)
{
    static const char letters[] = "\b\t\n\f\r\"\\";
    static const char names[] = "btnfr\"\\";
    const char *letter = c == 0 ? NULL : strchr(letters, c);
    *to++ = '\\';
    if (letter != NULL) {
        *to++ = (uint8_t)names[letter - letters];
        return to;
    }
    memcpy(to, "u00", 3);
    to[3] = (uint8_t)"0123456789ABCDEF"[c >> 4];
    to[4] = (uint8_t)"0123456789ABCDEF"[c & 15];
    return to + 5;
}

/* Copies text that may not be UTF-8: each malformed byte becomes U+FFFD. */
static uint8_t *copy_checked(const uint8_t *at, const uint8_t *end, uint8_t *to)
{
    while (at < end) {
        const uint8_t *bad = utf8_first_bad(at, end);
        memcpy(to, at, (size_t)(bad - at));
        to += bad - at;
        at = bad;
        if (at < end) {
            to = utf8_put(to, 0xfffd);
            at++;
        }
    }
    return to;
}

uint8_t *weir_json_write_string(struct weir_slice text, uint8_t *to)
{
    *to++ = '"';
    const uint8_t *at = text.data;
    const uint8_t *end = text.len == 0 ? at : at + text.len;
    /* Most text is plain ASCII: copied while it is looked at. */
    while (end - at >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)at);
        if ((stops_of(v) | (uint32_t)_mm_movemask_epi8(v)) != 0) {
            break;
        }
        _mm_storeu_si128((__m128i *)(void *)to, v);
        at += 16;
        to += 16;
    }
    while (at < end) {
        bool high = false;
        const uint8_t *stop = scan_plain(at, end, &high);
        size_t plain = (size_t)(stop - at);
        if (high) {
            to = copy_checked(at, stop, to);
        } else {
            memcpy(to, at, plain);
            to += plain;
        }
        at = stop;
        if (at < end) {
            to = write_escape(*at, to);
            at++;
        }
    }
    *to++ = '"';
    return to;
}
