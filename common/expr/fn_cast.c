/*
 * CAST and TRY_CAST. A value that does not fit or does not parse fails with DATA, or is NULL under TRY_CAST. Fractions of numbers are
 * cut when they become integers and rounded half up when they become DECIMALs; timestamps are cut to their digits.
 */
#include "common/data/datetime.h"
#include "common/data/number.h"
#include "common/data/value.h"
#include "common/expr/decimal.h"
#include "common/expr/fn_loop.h"
#include "common/expr/moment.h"

#include <math.h>
#include <strings.h>

enum outcome { CAST_OK, CAST_FAILED };

/* Microseconds cut to `precision` fraction digits. */
static int64_t cut_micros(int64_t micros, uint8_t precision)
{
    static const int64_t units[] = {1000000, 100000, 10000, 1000, 100, 10, 1};
    return weir__floor_to(micros, units[precision > WEIR_TIMESTAMP_PRECISION_MAX ? WEIR_TIMESTAMP_PRECISION_MAX : precision]);
}

static bool integer_fits(enum weir_phys phys, __int128 value)
{
    int bits = (int)weir__phys_width(phys) * 8 - 1;
    return value >= -((__int128)1 << bits) && value < (__int128)1 << bits;
}

static enum outcome put_integer(struct weir_value *out, __int128 value)
{
    if (!integer_fits(weir__phys_of(out->type.id), value)) {
        return CAST_FAILED;
    }
    out->u.i64 = (int64_t)value;
    return CAST_OK;
}

static enum outcome put_decimal(struct weir_value *out, __int128 value, uint32_t scale)
{
    bool fits = weir__decimal_rescale(value, scale, out->type.scale, &out->u.decimal) && weir__decimal_fits(out->u.decimal, out->type.precision);
    return fits ? CAST_OK : CAST_FAILED;
}

static enum outcome decimal_from_double(struct weir_value *out, double value)
{
    char text[WEIR_NUMBER_TEXT_MAX];
    uint32_t len = weir_f64_write(value, text);
    enum weir_rc rc = weir_decimal_read(weir_slice(text, len), out->type.precision, out->type.scale, &out->u.decimal);
    return rc == WEIR_OK ? CAST_OK : CAST_FAILED;
}

static enum outcome number_to_number(const struct weir_value *in, struct weir_value *out)
{
    enum weir_type_id f = in->type.id, t = out->type.id;
    if (f == WEIR_TYPE_FLOAT || f == WEIR_TYPE_DOUBLE) {
        double x = in->u.f64;
        if (t == WEIR_TYPE_FLOAT || t == WEIR_TYPE_DOUBLE) {
            out->u.f64 = x;
            return CAST_OK;
        }
        if (t == WEIR_TYPE_DECIMAL) {
            return decimal_from_double(out, x);
        }
        return x > -1e19 && x < 1e19 ? put_integer(out, (__int128)x) : CAST_FAILED;
    }
    __int128 value = f == WEIR_TYPE_DECIMAL ? in->u.decimal : in->u.i64;
    uint32_t scale = f == WEIR_TYPE_DECIMAL ? in->type.scale : 0;
    if (t == WEIR_TYPE_DECIMAL) {
        return put_decimal(out, value, scale);
    }
    if (t == WEIR_TYPE_FLOAT || t == WEIR_TYPE_DOUBLE) {
        if (scale == 0 && value >= -(1LL << 53) && value <= 1LL << 53) {
            out->u.f64 = (double)value;
            return CAST_OK;
        }
        char text[WEIR_NUMBER_TEXT_MAX]; /* the nearest double needs care that the reader takes */
        uint32_t len = weir_decimal_write(value, (uint8_t)scale, text);
        return weir_f64_read(weir_slice(text, len), &out->u.f64) == WEIR_OK ? CAST_OK : CAST_FAILED;
    }
    return put_integer(out, value / (__int128)weir__decimal_pow10(scale));
}

static struct weir_slice trim(struct weir_slice s)
{
    while (s.len > 0 && (s.data[0] == ' ' || (s.data[0] >= '\t' && s.data[0] <= '\r'))) {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && (s.data[s.len - 1] == ' ' || (s.data[s.len - 1] >= '\t' && s.data[s.len - 1] <= '\r'))) {
        s.len--;
    }
    return s;
}

static enum outcome text_to_integer(struct weir_slice text, struct weir_value *out)
{
    const uint8_t *point = text.len == 0 ? NULL : memchr(text.data, '.', text.len);
    if (point != NULL) { /* '12.7' is 12, but what follows the point must be digits */
        for (const uint8_t *c = point + 1; c < text.data + text.len; c++) {
            if (*c < '0' || *c > '9') {
                return CAST_FAILED;
            }
        }
        text.len = (size_t)(point - text.data);
    }
    int64_t value;
    if (text.len > 1 && text.data[0] == '+') {
        text.data++;
        text.len--;
    }
    return weir_i64_read(text, &value) == WEIR_OK ? put_integer(out, value) : CAST_FAILED;
}

static enum outcome text_to_boolean(struct weir_slice text, struct weir_value *out)
{
    static const char *const words[][2] = {{"true", "false"}, {"t", "f"}, {"yes", "no"}, {"y", "n"}, {"1", "0"}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        for (uint32_t j = 0; j < 2; j++) {
            if (strlen(words[i][j]) == text.len && strncasecmp(words[i][j], (const char *)text.data, text.len) == 0) {
                out->u.boolean = j == 0;
                return CAST_OK;
            }
        }
    }
    return CAST_FAILED;
}

static enum outcome text_to_double(struct weir_slice text, struct weir_value *out)
{
    static const struct {
        const char *text;
        double value;
    } specials[] = {{"NaN", NAN}, {"Infinity", INFINITY}, {"-Infinity", -INFINITY}};
    for (size_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++) {
        if (weir_slice_eq_str(text, specials[i].text)) {
            out->u.f64 = specials[i].value;
            return CAST_OK;
        }
    }
    return weir_f64_read(text, &out->u.f64) == WEIR_OK ? CAST_OK : CAST_FAILED;
}

static enum outcome text_to_moment(struct weir_slice text, struct weir_value *out)
{
    int64_t micros = 0;
    int32_t days = 0;
    if (out->type.id == WEIR_TYPE_TIME) {
        if (weir_time_read(text, &micros) != WEIR_OK) {
            return CAST_FAILED;
        }
        out->u.i64 = cut_micros(micros, out->type.precision);
        return CAST_OK;
    }
    if (weir_timestamp_read(text, &micros) != WEIR_OK) { /* a date alone is its midnight */
        if (weir_date_read(text, &days) != WEIR_OK) {
            return CAST_FAILED;
        }
        micros = weir__days_to_micros(days);
    }
    out->u.i64 = out->type.id == WEIR_TYPE_DATE ? weir__floor_div(micros, WEIR_DAY_MICROS) : cut_micros(micros, out->type.precision);
    return CAST_OK;
}

static enum outcome from_text(const struct weir_value *in, struct weir_value *out)
{
    struct weir_slice text = trim(in->u.str);
    switch (out->type.id) {
    case WEIR_TYPE_BOOLEAN:
        return text_to_boolean(text, out);
    case WEIR_TYPE_TINYINT:
    case WEIR_TYPE_SMALLINT:
    case WEIR_TYPE_INT:
    case WEIR_TYPE_BIGINT:
        return text_to_integer(text, out);
    case WEIR_TYPE_FLOAT:
    case WEIR_TYPE_DOUBLE:
        return text_to_double(text, out);
    case WEIR_TYPE_DECIMAL:
        return weir_decimal_read(text, out->type.precision, out->type.scale, &out->u.decimal) == WEIR_OK ? CAST_OK : CAST_FAILED;
    case WEIR_TYPE_DATE:
    case WEIR_TYPE_TIME:
    case WEIR_TYPE_TIMESTAMP:
    case WEIR_TYPE_TIMESTAMP_LTZ:
        return text_to_moment(text, out);
    case WEIR_TYPE_NULL:
    case WEIR_TYPE_VARCHAR:
    case WEIR_TYPE_VARBINARY:
    case WEIR_TYPE_INTERVAL_YEAR:
    case WEIR_TYPE_INTERVAL_DAY:
        break;
    }
    weir_assert(false);
    return CAST_FAILED;
}

/* Cut to `max` characters (bytes for VARBINARY). */
static struct weir_slice cut_text(struct weir_slice text, struct weir_type type)
{
    if (text.len <= type.length) {
        return text;
    }
    if (type.id == WEIR_TYPE_VARBINARY) {
        return weir_slice(text.data, type.length);
    }
    uint32_t chars = 0;
    for (size_t i = 0; i < text.len; i++) {
        if ((text.data[i] & 0xc0) != 0x80 && chars++ == type.length) {
            return weir_slice(text.data, i);
        }
    }
    return text;
}

static void to_text(const struct weir_value *in, struct weir_arena *arena, struct weir_value *out)
{
    if (weir_type_is_string(in->type.id)) {
        out->u.str = cut_text(in->u.str, out->type);
        return;
    }
    if (in->type.id == WEIR_TYPE_BOOLEAN) {
        out->u.str = cut_text(weir_slice_str(in->u.boolean ? "TRUE" : "FALSE"), out->type);
        return;
    }
    struct weir_buf buf = {0};
    weir_value_format(in, &buf);
    out->u.str = cut_text(weir_arena_slice(arena, weir_buf_slice(&buf)), out->type);
    weir_buf_fini(&buf);
}

static enum outcome moment_to_moment(const struct weir_value *in, struct weir_value *out)
{
    int64_t micros = in->type.id == WEIR_TYPE_DATE ? weir__days_to_micros(in->u.i64) : in->u.i64;
    if (out->type.id == WEIR_TYPE_DATE) {
        out->u.i64 = weir__floor_div(micros, WEIR_DAY_MICROS);
    } else if (out->type.id == WEIR_TYPE_TIME) {
        out->u.i64 = cut_micros(weir__floor_mod(micros, WEIR_DAY_MICROS), out->type.precision);
    } else {
        out->u.i64 = cut_micros(micros, out->type.precision);
    }
    return CAST_OK;
}

static enum outcome with_boolean(const struct weir_value *in, struct weir_value *out)
{
    if (in->type.id != WEIR_TYPE_BOOLEAN) {
        out->u.boolean = in->type.id == WEIR_TYPE_DECIMAL ? in->u.decimal != 0
                         : in->type.id == WEIR_TYPE_FLOAT || in->type.id == WEIR_TYPE_DOUBLE ? in->u.f64 != 0.0
                                                                                             : in->u.i64 != 0;
        return CAST_OK;
    }
    struct weir_value number = {.type = weir_type_of(WEIR_TYPE_INT), .u.i64 = in->u.boolean};
    return number_to_number(&number, out);
}

static enum outcome cast_value(const struct weir_value *in, struct weir_arena *arena, struct weir_value *out)
{
    enum weir_type_id f = in->type.id, t = out->type.id;
    if (weir_type_is_string(t)) {
        to_text(in, arena, out);
        return CAST_OK;
    }
    if (weir_type_is_string(f)) {
        return from_text(in, out);
    }
    if (f == WEIR_TYPE_BOOLEAN || t == WEIR_TYPE_BOOLEAN) {
        return with_boolean(in, out);
    }
    return weir_type_is_numeric(f) ? number_to_number(in, out) : moment_to_moment(in, out);
}

static enum weir_rc cast_failed(const struct weir_fn_call *call, const struct weir_value *value)
{
    struct weir_buf text = {0};
    weir_value_format(value, &text);
    struct weir_type to = call->out.type;
    to.not_null = false;
    enum weir_rc rc = weir__fn_fail(call, "'%.*s' cannot be made %s; TRY_CAST gives NULL instead", (int)(text.len > 200 ? 200 : text.len),
                                    (const char *)text.data, weir_type_text(to).text);
    weir_buf_fini(&text);
    return rc;
}

/* Casts that are a plain conversion of every value; false when this is none. */
static bool cast_plain(struct weir_fn_call *call)
{
    enum weir_phys from = call->args[0].phys, to = call->out.phys;
    enum weir_type_id f = call->args[0].type.id, t = call->out.type.id;
    if (!weir_type_is_numeric(f) || !weir_type_is_numeric(t)) {
        return false;
    }
    if (from == WEIR_PHYS_I32 && to == WEIR_PHYS_I64) {
        WEIR_LOOP_UNARY(call, int32_t, int64_t, x);
    } else if (from == WEIR_PHYS_I16 && to == WEIR_PHYS_I64) {
        WEIR_LOOP_UNARY(call, int16_t, int64_t, x);
    } else if (from == WEIR_PHYS_I8 && to == WEIR_PHYS_I64) {
        WEIR_LOOP_UNARY(call, int8_t, int64_t, x);
    } else if (from == WEIR_PHYS_I16 && to == WEIR_PHYS_I32) {
        WEIR_LOOP_UNARY(call, int16_t, int32_t, x);
    } else if (from == WEIR_PHYS_I8 && to == WEIR_PHYS_I32) {
        WEIR_LOOP_UNARY(call, int8_t, int32_t, x);
    } else if (from == WEIR_PHYS_I64 && to == WEIR_PHYS_F64) {
        WEIR_LOOP_UNARY(call, int64_t, double, x);
    } else if (from == WEIR_PHYS_I32 && to == WEIR_PHYS_F64) {
        WEIR_LOOP_UNARY(call, int32_t, double, x);
    } else if (from == WEIR_PHYS_F32 && to == WEIR_PHYS_F64) {
        WEIR_LOOP_UNARY(call, float, double, x);
    } else if (from == WEIR_PHYS_I64 && to == WEIR_PHYS_I128 && call->out.type.scale == 0 && call->out.type.precision >= 19) {
        WEIR_LOOP_UNARY(call, int64_t, __int128, x);
    } else if (from == WEIR_PHYS_I32 && to == WEIR_PHYS_I128 && call->out.type.scale == 0 && call->out.type.precision >= 10) {
        WEIR_LOOP_UNARY(call, int32_t, __int128, x);
    } else {
        return false;
    }
    return true;
}

enum weir_rc weir__fn_cast(struct weir_fn_call *call)
{
    const struct weir_vec *a = &call->args[0];
    if (cast_plain(call)) {
        return WEIR_OK;
    }
    WEIR_EACH_ROW(call, i) {
        struct weir_value in = weir__vec_get(a, i), out = {.type = call->out.type};
        if (in.is_null) {
            continue;
        }
        if (cast_value(&in, call->arena, &out) == CAST_OK) {
            weir__vec_store(call->out.phys, call->out.values, i, &out);
        } else if (call->safe) {
            call->out.valid[i] = 0;
        } else {
            return cast_failed(call, &in);
        }
    }
    return WEIR_OK;
}
