/*
 * Strings: characters are UTF-8 code points; what is not UTF-8 counts byte by byte where it must, and never leads outside. Case is
 * changed for ASCII, Latin-1, Greek and Cyrillic letters (the alphabets whose cases are a fixed distance apart).
 *
 * Parts of strings (SUBSTRING, TRIM, SPLIT_INDEX) point into their source; nothing is copied before the result becomes a column.
 */
#include "common/expr/fn_loop.h"

enum { STRING_BYTES_MAX = WEIR_RECORD_BYTES_MAX };

static bool is_valid(const struct weir_fn_call *call, uint32_t row)
{
    return call->out.valid == NULL || call->out.valid[row] != 0;
}

static const struct weir_str EMPTY = {.len = 0, .data = (const uint8_t *)""};

/* Runs `body` for every row that is not NULL, with `s` its first argument; NULL rows get the empty string. */
#define EACH_STRING(call, i, s)                                                  \
    WEIR_EACH_ROW(call, i)                                                       \
        for (struct weir_str s = is_valid(call, i) ? WEIR_VEC(&(call)->args[0], struct weir_str, i) : EMPTY, *once_ = &s; once_ != NULL; once_ = NULL)

static uint32_t char_bytes(const uint8_t *at, const uint8_t *end)
{
    uint32_t len = *at < 0xc0 ? 1 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
    for (uint32_t i = 1; i < len; i++) {
        if (at + i >= end || (at[i] & 0xc0) != 0x80) {
            return 1; /* no UTF-8: this byte stands for itself */
        }
    }
    return len;
}

static uint32_t count_chars(struct weir_str s)
{
    uint32_t count = 0;
    for (const uint8_t *at = s.data, *end = s.data + s.len; at < end; at += char_bytes(at, end)) {
        count++;
    }
    return count;
}

/* Where the character of that number begins, or the end. */
static const uint8_t *skip_chars(const uint8_t *at, const uint8_t *end, int64_t chars)
{
    while (chars > 0 && at < end) {
        at += char_bytes(at, end);
        chars--;
    }
    return at;
}

static struct weir_str text(const uint8_t *from, const uint8_t *to)
{
    return weir__str(from, (uint32_t)(to - from));
}

/* Room for a string that is longer than its parts. What all rows of a batch make together is bounded too, or a few thousand long strings
 * would take all memory: LIMIT asks for fewer rows at a time. */
static enum weir_rc make(struct weir_fn_call *call, uint64_t bytes, uint8_t **out_made)
{
    if (bytes > STRING_BYTES_MAX) {
        return weir__fn_fail(call, "the result has more than %d bytes", STRING_BYTES_MAX);
    }
    if (call->count > 1 && weir_arena_used_bytes(call->arena) + bytes > WEIR_EXPR_BATCH_BYTES_MAX) {
        return weir_error_set(call->err, WEIR_LIMIT,
                              "%u:%u: %s: the results for one batch have more than %d bytes; inside an aggregate, compute them in a `project` step before "
                              "it, which goes on with fewer rows at a time",
                              call->pos.line, call->pos.column, call->name, WEIR_EXPR_BATCH_BYTES_MAX);
    }
    *out_made = weir_arena_alloc(call->arena, bytes + 1);
    return WEIR_OK;
}

/* --- case, length, parts ---------------------------------------------------------------------------------------------- */

static uint32_t upper_char(uint32_t c)
{
    bool latin = (c >= 0xe0 && c <= 0xfe && c != 0xf7) || (c >= 0x3b1 && c <= 0x3c9 && c != 0x3c2) || (c >= 0x430 && c <= 0x44f);
    return latin ? c - 0x20 : c >= 0x450 && c <= 0x45f ? c - 0x50 : c;
}

static uint32_t lower_char(uint32_t c)
{
    bool latin = (c >= 0xc0 && c <= 0xde && c != 0xd7) || (c >= 0x391 && c <= 0x3a9 && c != 0x3a2) || (c >= 0x410 && c <= 0x42f);
    return latin ? c + 0x20 : c >= 0x400 && c <= 0x40f ? c + 0x50 : c;
}

/* Changes the case of ASCII text; false when it met anything else. */
static bool change_ascii(const uint8_t *restrict from, uint8_t *restrict to, uint32_t len, uint8_t first_letter)
{
    uint8_t all = 0;
    for (uint32_t n = 0; n < len; n++) {
        uint8_t letter = (uint8_t)(from[n] - first_letter) < 26;
        to[n] = (uint8_t)(from[n] ^ letter << 5);
        all |= from[n];
    }
    return all < 0x80;
}

static enum weir_rc change_case(struct weir_fn_call *call, bool upper)
{
    struct weir_str *out = call->out.values;
    EACH_STRING(call, i, s) {
        uint8_t *made = weir_arena_alloc(call->arena, s.len + 1U);
        const uint8_t *end = s.data + s.len;
        if (change_ascii(s.data, made, s.len, upper ? 'a' : 'A')) {
            out[i] = weir__str(made, s.len);
            continue;
        }
        for (uint32_t n = 0; n < s.len;) {
            uint8_t c = s.data[n];
            uint32_t len = char_bytes(s.data + n, end);
            if (len == 2 && c >= 0xc3 && c <= 0xd1) { /* the pairs above have two bytes each */
                uint32_t point = (uint32_t)(c & 0x1f) << 6 | (s.data[n + 1] & 0x3f);
                point = upper ? upper_char(point) : lower_char(point);
                made[n] = (uint8_t)(0xc0 | point >> 6);
                made[n + 1] = (uint8_t)(0x80 | (point & 0x3f));
            } else if (len == 1) {
                bool letter = upper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z';
                made[n] = letter ? c ^ 0x20 : c;
            } else {
                memcpy(made + n, s.data + n, len);
            }
            n += len;
        }
        out[i] = weir__str(made, s.len);
    }
    return WEIR_OK;
}

enum weir_rc weir__fn_upper(struct weir_fn_call *call)
{
    return change_case(call, true);
}

enum weir_rc weir__fn_lower(struct weir_fn_call *call)
{
    return change_case(call, false);
}

enum weir_rc weir__fn_char_length(struct weir_fn_call *call)
{
    EACH_STRING(call, i, s) {
        WEIR_OUT(call, int32_t)[i] = (int32_t)count_chars(s);
    }
    return WEIR_OK;
}

/* SUBSTRING(s, from[, count]): from 1; a negative start counts from the end; a negative count gives NULL (Flink). */
enum weir_rc weir__fn_substring(struct weir_fn_call *call)
{
    struct weir_str *out = call->out.values;
    EACH_STRING(call, i, s) {
        out[i] = EMPTY;
        if (!is_valid(call, i)) {
            continue;
        }
        int64_t from = WEIR_VEC(&call->args[1], int32_t, i);
        int64_t count = call->nargs == 3 ? WEIR_VEC(&call->args[2], int32_t, i) : INT32_MAX;
        if (count < 0) {
            call->out.valid[i] = 0;
            continue;
        }
        int64_t start = from > 0 ? from - 1 : 0;
        if (from < 0) {
            start = (int64_t)count_chars(s) + from;
            if (start < 0) {
                continue;
            }
        }
        const uint8_t *end = s.data + s.len, *first = skip_chars(s.data, end, start);
        out[i] = text(first, skip_chars(first, end, count));
    }
    return WEIR_OK;
}

/* Whether the character [at, at + len) is in the set. */
static bool in_set(struct weir_str set, const uint8_t *at, uint32_t len)
{
    for (const uint8_t *c = set.data, *end = set.data + set.len; c < end;) {
        uint32_t n = char_bytes(c, end);
        if (n == len && memcmp(c, at, len) == 0) {
            return true;
        }
        c += n;
    }
    return false;
}

static enum weir_rc trim(struct weir_fn_call *call, bool left, bool right)
{
    static const struct weir_str blank = {.len = 1, .prefix = {' '}, .data = (const uint8_t *)" "};
    struct weir_str *out = call->out.values;
    EACH_STRING(call, i, s) {
        struct weir_str set = call->nargs == 2 && is_valid(call, i) ? WEIR_VEC(&call->args[1], struct weir_str, i) : blank;
        const uint8_t *first = s.data, *end = s.data + s.len;
        while (left && first < end && in_set(set, first, char_bytes(first, end))) {
            first += char_bytes(first, end);
        }
        while (right && first < end) {
            const uint8_t *last = end - 1;
            while (last > first && (*last & 0xc0) == 0x80 && end - last < 4) {
                last--;
            }
            last = char_bytes(last, end) == (uint32_t)(end - last) ? last : end - 1;
            if (!in_set(set, last, (uint32_t)(end - last))) {
                break;
            }
            end = last;
        }
        out[i] = text(first, end);
    }
    return WEIR_OK;
}

enum weir_rc weir__fn_trim(struct weir_fn_call *call)
{
    return trim(call, true, true);
}

enum weir_rc weir__fn_ltrim(struct weir_fn_call *call)
{
    return trim(call, true, false);
}

enum weir_rc weir__fn_rtrim(struct weir_fn_call *call)
{
    return trim(call, false, true);
}

enum weir_rc weir__fn_split_index(struct weir_fn_call *call)
{
    struct weir_str *out = call->out.values;
    EACH_STRING(call, i, s) {
        out[i] = EMPTY;
        if (!is_valid(call, i)) {
            continue;
        }
        struct weir_str separator = WEIR_VEC(&call->args[1], struct weir_str, i);
        int32_t index = WEIR_VEC(&call->args[2], int32_t, i);
        const uint8_t *at = s.data, *end = s.data + s.len;
        bool found = index >= 0 && s.len > 0;
        for (int32_t n = 0; found; n++) {
            const uint8_t *next = separator.len == 0 ? NULL : memmem(at, (size_t)(end - at), separator.data, separator.len);
            if (n == index) {
                out[i] = text(at, next == NULL ? end : next);
                break;
            }
            found = next != NULL;
            at = found ? next + separator.len : at;
        }
        call->out.valid[i] = found;
    }
    return WEIR_OK;
}

/* --- putting together ------------------------------------------------------------------------------------------------- */

enum weir_rc weir__fn_concat(struct weir_fn_call *call)
{
    struct weir_str *out = call->out.values;
    WEIR_EACH_ROW(call, i) {
        uint64_t total = 0;
        out[i] = EMPTY;
        if (!is_valid(call, i)) {
            continue;
        }
        for (uint32_t a = 0; a < call->nargs; a++) {
            total += WEIR_VEC(&call->args[a], struct weir_str, i).len;
        }
        uint8_t *made = NULL;
        enum weir_rc rc = make(call, total, &made);
        if (rc != WEIR_OK) {
            return rc;
        }
        uint8_t *to = made;
        for (uint32_t a = 0; a < call->nargs; a++) {
            struct weir_str part = WEIR_VEC(&call->args[a], struct weir_str, i);
            memcpy(to, part.data, part.len);
            to += part.len;
        }
        out[i] = text(made, to);
    }
    return WEIR_OK;
}

/* NULL parts are left out; a NULL separator gives NULL. */
enum weir_rc weir__fn_concat_ws(struct weir_fn_call *call)
{
    struct weir_str *out = call->out.values;
    WEIR_EACH_ROW(call, i) {
        bool valid = weir__vec_valid(&call->args[0], i);
        out[i] = EMPTY;
        if (call->out.valid != NULL) {
            call->out.valid[i] = valid;
        }
        if (!valid) {
            continue;
        }
        struct weir_str separator = WEIR_VEC(&call->args[0], struct weir_str, i);
        uint64_t total = 0;
        for (uint32_t a = 1; a < call->nargs; a++) {
            total += weir__vec_valid(&call->args[a], i) ? separator.len + WEIR_VEC(&call->args[a], struct weir_str, i).len : 0;
        }
        uint8_t *made = NULL;
        enum weir_rc rc = make(call, total, &made);
        if (rc != WEIR_OK) {
            return rc;
        }
        uint8_t *to = made;
        bool first = true;
        for (uint32_t a = 1; a < call->nargs; a++) {
            if (!weir__vec_valid(&call->args[a], i)) {
                continue;
            }
            struct weir_str part = WEIR_VEC(&call->args[a], struct weir_str, i);
            memcpy(to, separator.data, first ? 0 : separator.len);
            to += first ? 0 : separator.len;
            memcpy(to, part.data, part.len);
            to += part.len;
            first = false;
        }
        out[i] = text(made, to);
    }
    return WEIR_OK;
}

enum weir_rc weir__fn_replace(struct weir_fn_call *call)
{
    struct weir_str *out = call->out.values;
    EACH_STRING(call, i, s) {
        out[i] = s;
        if (!is_valid(call, i)) {
            continue;
        }
        struct weir_str what = WEIR_VEC(&call->args[1], struct weir_str, i), with = WEIR_VEC(&call->args[2], struct weir_str, i);
        const uint8_t *end = s.data + s.len;
        uint64_t hits = 0;
        for (const uint8_t *at = s.data; what.len > 0 && (at = memmem(at, (size_t)(end - at), what.data, what.len)) != NULL; at += what.len) {
            hits++;
        }
        uint64_t total = s.len - hits * what.len + hits * with.len;
        if (hits == 0) {
            continue;
        }
        uint8_t *made = NULL;
        enum weir_rc rc = make(call, total, &made);
        if (rc != WEIR_OK) {
            return rc;
        }
        uint8_t *to = made;
        for (const uint8_t *at = s.data;;) {
            const uint8_t *next = memmem(at, (size_t)(end - at), what.data, what.len);
            size_t keep = (size_t)((next == NULL ? end : next) - at);
            memcpy(to, at, keep);
            to += keep;
            if (next == NULL) {
                break;
            }
            memcpy(to, with.data, with.len);
            to += with.len;
            at = next + what.len;
        }
        out[i] = text(made, to);
    }
    return WEIR_OK;
}

enum weir_rc weir__fn_reverse(struct weir_fn_call *call)
{
    struct weir_str *out = call->out.values;
    EACH_STRING(call, i, s) {
        uint8_t *made = weir_arena_alloc(call->arena, s.len + 1U), *to = made + s.len;
        for (const uint8_t *at = s.data, *end = s.data + s.len; at < end;) {
            uint32_t len = char_bytes(at, end);
            to -= len;
            memcpy(to, at, len);
            at += len;
        }
        out[i] = weir__str(made, s.len);
    }
    return WEIR_OK;
}

enum weir_rc weir__fn_repeat(struct weir_fn_call *call)
{
    struct weir_str *out = call->out.values;
    EACH_STRING(call, i, s) {
        int64_t times = is_valid(call, i) ? WEIR_VEC(&call->args[1], int32_t, i) : 0;
        times = times < 0 ? 0 : times;
        uint8_t *made = NULL;
        enum weir_rc rc = make(call, (uint64_t)times * s.len, &made);
        if (rc != WEIR_OK) {
            return rc;
        }
        uint8_t *to = made;
        for (int64_t n = 0; n < times && s.len > 0; n++) {
            memcpy(to, s.data, s.len);
            to += s.len;
        }
        out[i] = text(made, to);
    }
    return WEIR_OK;
}

/* To exactly `want` characters; NULL for a negative number or when an empty pad cannot fill (Flink). */
static enum weir_rc pad(struct weir_fn_call *call, bool left)
{
    struct weir_str *out = call->out.values;
    EACH_STRING(call, i, s) {
        out[i] = EMPTY;
        if (!is_valid(call, i)) {
            continue;
        }
        int64_t want = WEIR_VEC(&call->args[1], int32_t, i), have = count_chars(s);
        struct weir_str fill = WEIR_VEC(&call->args[2], struct weir_str, i);
        if (want < 0 || (want > have && fill.len == 0)) {
            call->out.valid[i] = 0;
            continue;
        }
        if (want <= have) {
            out[i] = text(s.data, skip_chars(s.data, s.data + s.len, want));
            continue;
        }
        uint8_t *made = NULL;
        enum weir_rc rc = make(call, (uint64_t)(want - have) * fill.len + s.len, &made);
        if (rc != WEIR_OK) {
            return rc;
        }
        uint8_t *to = made;
        memcpy(to, s.data, left ? 0 : s.len);
        to += left ? 0 : s.len;
        for (int64_t missing = want - have; missing > 0;) {
            const uint8_t *end = fill.data + fill.len, *cut = skip_chars(fill.data, end, missing);
            missing -= count_chars(text(fill.data, cut));
            memcpy(to, fill.data, (size_t)(cut - fill.data));
            to += cut - fill.data;
        }
        memcpy(to, s.data, left ? s.len : 0);
        to += left ? s.len : 0;
        out[i] = text(made, to);
    }
    return WEIR_OK;
}

enum weir_rc weir__fn_lpad(struct weir_fn_call *call)
{
    return pad(call, true);
}

enum weir_rc weir__fn_rpad(struct weir_fn_call *call)
{
    return pad(call, false);
}

/* --- looking for things ----------------------------------------------------------------------------------------------- */

/* POSITION(what IN s): in characters from 1, 0 when it is not there. */
enum weir_rc weir__fn_position(struct weir_fn_call *call)
{
    EACH_STRING(call, i, what) {
        int32_t *out = call->out.values;
        out[i] = 0;
        if (!is_valid(call, i)) {
            continue;
        }
        struct weir_str s = WEIR_VEC(&call->args[1], struct weir_str, i);
        const uint8_t *at = memmem(s.data, s.len, what.data, what.len);
        out[i] = at == NULL ? 0 : (int32_t)count_chars(text(s.data, at)) + 1;
    }
    return WEIR_OK;
}

static bool ends(struct weir_str s, struct weir_str with, bool at_start)
{
    return s.len >= with.len && memcmp(at_start ? s.data : s.data + (s.len - with.len), with.data, with.len) == 0;
}

enum weir_rc weir__fn_startswith(struct weir_fn_call *call)
{
    EACH_STRING(call, i, s) {
        WEIR_OUT(call, uint8_t)[i] = is_valid(call, i) && ends(s, WEIR_VEC(&call->args[1], struct weir_str, i), true);
    }
    return WEIR_OK;
}

enum weir_rc weir__fn_endswith(struct weir_fn_call *call)
{
    EACH_STRING(call, i, s) {
        WEIR_OUT(call, uint8_t)[i] = is_valid(call, i) && ends(s, WEIR_VEC(&call->args[1], struct weir_str, i), false);
    }
    return WEIR_OK;
}

/* --- LIKE ------------------------------------------------------------------------------------------------------------- */

enum { LIKE_ANY_CHAR = 1, LIKE_ANY_RUN = 2, LIKE_BYTE = 0 };

/* A pattern: per place a byte to match or a wildcard. `shape` says how it can be matched without the general loop. */
struct like {
    enum { LIKE_GENERAL, LIKE_EQUALS, LIKE_PREFIX, LIKE_SUFFIX, LIKE_CONTAINS } shape;
    uint32_t len;
    uint8_t *kinds;
    uint8_t *bytes;
    struct weir_str word; /* of the simple shapes */
};

/* False when the escape character is not followed by %, _ or itself. */
static bool like_compile(struct weir_str pattern, struct weir_str escape, struct weir_arena *arena, struct like *out)
{
    *out = (struct like){.kinds = weir_arena_alloc(arena, pattern.len + 1U), .bytes = weir_arena_alloc(arena, pattern.len + 1U)};
    uint32_t wild = 0;
    for (uint32_t i = 0; i < pattern.len; i++) {
        uint8_t c = pattern.data[i];
        bool escaped = escape.len == 1 && c == escape.data[0];
        if (escaped) {
            if (++i == pattern.len || (pattern.data[i] != '%' && pattern.data[i] != '_' && pattern.data[i] != c)) {
                return false;
            }
            c = pattern.data[i];
        }
        uint8_t kind = escaped ? LIKE_BYTE : c == '%' ? LIKE_ANY_RUN : c == '_' ? LIKE_ANY_CHAR : LIKE_BYTE;
        if (kind == LIKE_ANY_RUN && out->len > 0 && out->kinds[out->len - 1] == LIKE_ANY_RUN) {
            continue; /* %% is % */
        }
        wild += kind != LIKE_BYTE;
        out->kinds[out->len] = kind;
        out->bytes[out->len++] = c;
    }
    bool first = out->len > 0 && out->kinds[0] == LIKE_ANY_RUN, last = out->len > 0 && out->kinds[out->len - 1] == LIKE_ANY_RUN;
    if (wild == 0) {
        out->shape = LIKE_EQUALS;
        out->word = weir__str(out->bytes, out->len);
    } else if (wild == 2 && first && last) {
        out->shape = LIKE_CONTAINS;
        out->word = weir__str(out->bytes + 1, out->len - 2);
    } else if (wild == 1 && last) {
        out->shape = LIKE_PREFIX;
        out->word = weir__str(out->bytes, out->len - 1);
    } else if (wild == 1 && first) {
        out->shape = LIKE_SUFFIX;
        out->word = weir__str(out->bytes + 1, out->len - 1);
    }
    return true;
}

/* Goes back to the last % only: linear in practice, quadratic at worst, never exponential. */
static bool like_general(const struct like *like, struct weir_str s)
{
    const uint8_t *at = s.data, *end = s.data + s.len, *retry_at = NULL;
    uint32_t p = 0, retry_p = 0;
    while (at < end) {
        if (p < like->len && like->kinds[p] == LIKE_ANY_RUN) {
            retry_p = ++p;
            retry_at = at;
        } else if (p < like->len && like->kinds[p] == LIKE_ANY_CHAR) {
            at += char_bytes(at, end);
            p++;
        } else if (p < like->len && like->bytes[p] == *at) {
            at++;
            p++;
        } else if (retry_at != NULL) {
            retry_at += char_bytes(retry_at, end);
            at = retry_at;
            p = retry_p;
        } else {
            return false;
        }
    }
    while (p < like->len && like->kinds[p] == LIKE_ANY_RUN) {
        p++;
    }
    return p == like->len;
}

static bool like_matches(const struct like *like, struct weir_str s)
{
    switch (like->shape) {
    case LIKE_EQUALS:
        return weir__str_eq(s, like->word);
    case LIKE_PREFIX:
        return ends(s, like->word, true);
    case LIKE_SUFFIX:
        return ends(s, like->word, false);
    case LIKE_CONTAINS:
        return memmem(s.data, s.len, like->word.data, like->word.len) != NULL;
    case LIKE_GENERAL:
        return like_general(like, s);
    }
    weir_assert(false);
    return false;
}

const void *weir__like_prepare(const struct weir_expr *call, struct weir_arena *arena)
{
    for (uint32_t i = 1; i < call->nargs; i++) {
        if (call->args[i]->kind != WEIR_EXPR_LITERAL || call->args[i]->value.is_null) {
            return NULL;
        }
    }
    struct weir_slice pattern = weir_arena_slice(arena, call->args[1]->value.u.str);
    struct weir_slice escape = call->nargs == 3 ? weir_arena_slice(arena, call->args[2]->value.u.str) : weir_slice(NULL, 0);
    struct like *like = weir_arena_zalloc(arena, sizeof(*like));
    bool sound = (call->nargs == 2 || escape.len == 1) && like_compile(weir__str(pattern.data, (uint32_t)pattern.len),
                                                                       weir__str(escape.data, (uint32_t)escape.len), arena, like);
    return sound ? like : NULL; /* an unsound one fails for each row that meets it */
}

enum weir_rc weir__fn_like(struct weir_fn_call *call)
{
    const struct like *prepared = call->state;
    EACH_STRING(call, i, s) {
        uint8_t *out = call->out.values;
        out[i] = 0;
        if (!is_valid(call, i)) {
            continue;
        }
        if (prepared != NULL) {
            out[i] = like_matches(prepared, s);
            continue;
        }
        struct weir_str pattern = WEIR_VEC(&call->args[1], struct weir_str, i);
        struct weir_str escape = call->nargs == 3 ? WEIR_VEC(&call->args[2], struct weir_str, i) : EMPTY;
        struct like like;
        if ((call->nargs == 3 && escape.len != 1) || !like_compile(pattern, escape, call->arena, &like)) {
            return weir__fn_fail(call, "the pattern '%.*s' or its escape character '%.*s' is not right: ESCAPE takes one character, and it stands "
                                 "before %%, _ or itself", (int)(pattern.len > 100 ? 100 : pattern.len), (const char *)pattern.data,
                                 (int)(escape.len > 20 ? 20 : escape.len), (const char *)escape.data);
        }
        out[i] = like_matches(&like, s);
    }
    return WEIR_OK;
}
