/*
 * Dates and times. TIMESTAMP_LTZ is shown in UTC, the only session time zone there is.
 */
#include "common/data/datetime.h"
#include "common/data/number.h"
#include "common/expr/fn_loop.h"
#include "common/expr/moment.h"

#include <stdio.h>
#include <strings.h>

static bool is_valid(const struct weir_fn_call *call, uint32_t row)
{
    return call->out.valid == NULL || call->out.valid[row] != 0;
}

/* A moment in microseconds, whatever its type. */
static int64_t micros_at(const struct weir_vec *vec, uint32_t row)
{
    return vec->phys == WEIR_PHYS_I32 ? weir__days_to_micros(WEIR_VEC(vec, int32_t, row)) : WEIR_VEC(vec, int64_t, row);
}

/* --- fields ----------------------------------------------------------------------------------------------------------- */

enum field { FIELD_YEAR, FIELD_QUARTER, FIELD_MONTH, FIELD_WEEK, FIELD_DAY, FIELD_DOY, FIELD_DOW };

static int64_t day_of_year(int64_t day, int32_t year)
{
    return day - weir_days_from_civil(year, 1, 1) + 1;
}

/* ISO 8601: weeks begin on Monday, the first has the year's first Thursday. */
static int64_t iso_week(int64_t day)
{
    int64_t weekday = weir__floor_mod(day + 3, 7); /* 0 = Monday; 1970-01-01 was a Thursday */
    int64_t thursday = day - weekday + 3;
    struct weir_civil civil = weir_civil_from_micros(weir__days_to_micros(thursday));
    return (thursday - weir_days_from_civil(civil.year, 1, 1)) / 7 + 1;
}

static int64_t field_of(int64_t day, enum field field)
{
    struct weir_civil civil = weir_civil_from_micros(weir__days_to_micros(day));
    switch (field) {
    case FIELD_YEAR:
        return civil.year;
    case FIELD_QUARTER:
        return (civil.month + 2) / 3;
    case FIELD_MONTH:
        return civil.month;
    case FIELD_WEEK:
        return iso_week(day);
    case FIELD_DAY:
        return civil.day;
    case FIELD_DOY:
        return day_of_year(day, civil.year);
    case FIELD_DOW:
        return weir__floor_mod(day + 4, 7) + 1; /* 1 = Sunday */
    }
    weir_assert(false);
    return 0;
}

/* Rows near each other in time mostly fall on one day: its field is kept. */
static enum weir_rc put_field(struct weir_fn_call *call, enum field field)
{
    int64_t *out = call->out.values, known_day = INT64_MIN, known = 0;
    WEIR_EACH_ROW(call, i) {
        int64_t day = is_valid(call, i) ? weir__floor_div(micros_at(&call->args[0], i), WEIR_DAY_MICROS) : 0;
        if (day != known_day) {
            known = field_of(day, field);
            known_day = day;
        }
        out[i] = known;
    }
    return WEIR_OK;
}

enum weir_rc weir__fn_year(struct weir_fn_call *call)
{
    return put_field(call, FIELD_YEAR);
}

enum weir_rc weir__fn_quarter(struct weir_fn_call *call)
{
    return put_field(call, FIELD_QUARTER);
}

enum weir_rc weir__fn_month(struct weir_fn_call *call)
{
    return put_field(call, FIELD_MONTH);
}

enum weir_rc weir__fn_week(struct weir_fn_call *call)
{
    return put_field(call, FIELD_WEEK);
}

enum weir_rc weir__fn_dayofmonth(struct weir_fn_call *call)
{
    return put_field(call, FIELD_DAY);
}

enum weir_rc weir__fn_dayofyear(struct weir_fn_call *call)
{
    return put_field(call, FIELD_DOY);
}

enum weir_rc weir__fn_dayofweek(struct weir_fn_call *call)
{
    return put_field(call, FIELD_DOW);
}

/* (micros / unit) mod count, towards minus infinity. */
__attribute__((always_inline)) static inline enum weir_rc put_clock(struct weir_fn_call *call, int64_t unit, int64_t count)
{
    WEIR_LOOP_UNARY(call, int64_t, int64_t, weir__floor_mod(x, unit * count) / unit);
    return WEIR_OK;
}

enum weir_rc weir__fn_hour(struct weir_fn_call *call)
{
    return put_clock(call, 3600000000, 24);
}

enum weir_rc weir__fn_minute(struct weir_fn_call *call)
{
    return put_clock(call, 60000000, 60);
}

enum weir_rc weir__fn_second(struct weir_fn_call *call)
{
    return put_clock(call, 1000000, 60);
}

enum weir_rc weir__fn_millisecond(struct weir_fn_call *call)
{
    return put_clock(call, 1000, 1000);
}

enum weir_rc weir__fn_microsecond(struct weir_fn_call *call)
{
    return put_clock(call, 1, 1000000);
}

enum weir_rc weir__fn_epoch(struct weir_fn_call *call)
{
    int64_t *out = call->out.values;
    WEIR_EACH_ROW(call, i) {
        out[i] = is_valid(call, i) ? weir__floor_div(micros_at(&call->args[0], i), 1000000) : 0;
    }
    return WEIR_OK;
}

/* --- now -------------------------------------------------------------------------------------------------------------- */

static void fill_i64(struct weir_fn_call *call, int64_t value)
{
    int64_t *out = call->out.values;
    WEIR_EACH_ROW(call, i) {
        out[i] = value;
    }
}

enum weir_rc weir__fn_now(struct weir_fn_call *call)
{
    fill_i64(call, call->now_ms * 1000);
    return WEIR_OK;
}

enum weir_rc weir__fn_now_seconds(struct weir_fn_call *call)
{
    fill_i64(call, weir__floor_div(call->now_ms, 1000));
    return WEIR_OK;
}

enum weir_rc weir__fn_now_time(struct weir_fn_call *call)
{
    int64_t seconds = weir__floor_div(call->now_ms, 1000);
    fill_i64(call, weir__floor_mod(seconds, 86400) * 1000000);
    return WEIR_OK;
}

enum weir_rc weir__fn_now_date(struct weir_fn_call *call)
{
    int32_t *out = call->out.values;
    WEIR_EACH_ROW(call, i) {
        out[i] = (int32_t)weir__floor_div(call->now_ms, 86400000);
    }
    return WEIR_OK;
}

/* --- text ------------------------------------------------------------------------------------------------------------- */

static void put_digits(struct weir_buf *out, int32_t value, uint32_t width)
{
    char digits[WEIR_NUMBER_TEXT_MAX];
    uint32_t len = weir_i64_write(value < 0 ? -(int64_t)value : value, digits);
    weir_buf_put(out, "-", value < 0);
    for (; len < width; width--) {
        weir_buf_put_u8(out, '0');
    }
    weir_buf_put(out, digits, len);
}

/* One run of a pattern letter; false when the letter or its count is none we write. */
static bool put_pattern(struct weir_buf *out, const struct weir_civil *civil, uint8_t letter, uint32_t count)
{
    int32_t value;
    switch (letter) {
    case 'y':
    case 'u':
        value = count == 2 ? (civil->year % 100 + 100) % 100 : civil->year;
        break;
    case 'M':
        value = civil->month;
        break;
    case 'd':
        value = civil->day;
        break;
    case 'H':
        value = civil->hour;
        break;
    case 'h':
        value = (civil->hour + 11) % 12 + 1;
        break;
    case 'm':
        value = civil->minute;
        break;
    case 's':
        value = civil->second;
        break;
    case 'S': { /* a fraction: its first digits */
        char digits[16];
        (void)snprintf(digits, sizeof(digits), "%06d", civil->micros);
        weir_buf_put(out, digits, count < 6 ? count : 6);
        for (uint32_t i = 6; i < count; i++) {
            weir_buf_put_str(out, "0");
        }
        return count <= 9;
    }
    case 'a':
        weir_buf_put_str(out, civil->hour < 12 ? "AM" : "PM");
        return count == 1;
    default:
        return false;
    }
    put_digits(out, value, count);
    return count <= (letter == 'y' || letter == 'u' ? 9U : 2U);
}

/* Java's DateTimeFormatter, the numeric letters: yyyy MM dd HH hh mm ss SSS a, text in single quotes. */
static bool put_formatted(struct weir_buf *out, int64_t micros, struct weir_str pattern)
{
    struct weir_civil civil = weir_civil_from_micros(micros);
    for (uint32_t i = 0; i < pattern.len;) {
        uint8_t c = pattern.data[i];
        if (c == '\'') {
            bool empty = i + 1 < pattern.len && pattern.data[i + 1] == '\'';
            for (i++; i < pattern.len; i++) {
                bool quote = pattern.data[i] == '\'', doubled = quote && i + 1 < pattern.len && pattern.data[i + 1] == '\'';
                if (quote && (!doubled || empty)) {
                    break;
                }
                i += doubled;
                weir_buf_put_u8(out, pattern.data[i]);
            }
            if (i == pattern.len) {
                return false;
            }
            if (empty) {
                weir_buf_put_u8(out, '\'');
            }
            i++;
            continue;
        }
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) {
            weir_buf_put_u8(out, c);
            i++;
            continue;
        }
        uint32_t run = i;
        while (run < pattern.len && pattern.data[run] == c) {
            run++;
        }
        if (!put_pattern(out, &civil, c, run - i)) {
            return false;
        }
        i = run;
    }
    return true;
}

enum weir_rc weir__fn_date_format(struct weir_fn_call *call)
{
    struct weir_str *out = call->out.values;
    struct weir_buf buf = {0};
    enum weir_rc rc = WEIR_OK;
    WEIR_EACH_ROW(call, i) {
        if (!is_valid(call, i)) {
            continue;
        }
        struct weir_str pattern = WEIR_VEC(&call->args[1], struct weir_str, i);
        weir_buf_clear(&buf);
        if (!put_formatted(&buf, micros_at(&call->args[0], i), pattern)) {
            rc = weir__fn_fail(call, "the pattern '%.*s' is not right: it may have yyyy MM dd HH hh mm ss SSS a and text in single quotes",
                               (int)(pattern.len > 100 ? 100 : pattern.len), (const char *)pattern.data);
            break;
        }
        struct weir_slice made = weir_arena_slice(call->arena, weir_buf_slice(&buf));
        out[i] = weir__str(made.data, (uint32_t)made.len);
    }
    weir_buf_fini(&buf);
    return rc;
}

enum weir_rc weir__fn_to_date(struct weir_fn_call *call)
{
    int32_t *out = call->out.values;
    WEIR_EACH_ROW(call, i) {
        out[i] = 0;
        if (is_valid(call, i)) {
            struct weir_str s = WEIR_VEC(&call->args[0], struct weir_str, i);
            call->out.valid[i] = weir_date_read(weir_slice(s.data, s.len), &out[i]) == WEIR_OK;
        }
    }
    return WEIR_OK;
}

enum weir_rc weir__fn_to_timestamp(struct weir_fn_call *call)
{
    int64_t *out = call->out.values;
    WEIR_EACH_ROW(call, i) {
        int64_t micros = 0;
        int32_t days = 0;
        if (is_valid(call, i)) {
            struct weir_str s = WEIR_VEC(&call->args[0], struct weir_str, i);
            struct weir_slice text = weir_slice(s.data, s.len);
            bool read = weir_timestamp_read(text, &micros) == WEIR_OK;
            bool day = !read && weir_date_read(text, &days) == WEIR_OK;
            micros = day ? weir__days_to_micros(days) : micros;
            call->out.valid[i] = read || day;
        }
        out[i] = weir__floor_to(micros, 1000);
    }
    return WEIR_OK;
}

/* TO_TIMESTAMP_LTZ(number, 0): seconds; (number, 3): milliseconds. */
enum weir_rc weir__fn_to_timestamp_ltz(struct weir_fn_call *call)
{
    int64_t *out = call->out.values;
    WEIR_EACH_ROW(call, i) {
        out[i] = 0;
        if (!is_valid(call, i)) {
            continue;
        }
        int64_t number = WEIR_VEC(&call->args[0], int64_t, i);
        int32_t precision = WEIR_VEC(&call->args[1], int32_t, i);
        if (precision != 0 && precision != 3) {
            return weir__fn_fail(call, "the precision is 0 (seconds) or 3 (milliseconds), not %d", precision);
        }
        if (__builtin_mul_overflow(number, precision == 0 ? 1000000 : 1000, &out[i])) {
            return weir__fn_fail(call, "%lld is beyond the range of TIMESTAMP_LTZ", (long long)number);
        }
    }
    return WEIR_OK;
}

/* --- units ------------------------------------------------------------------------------------------------------------ */

struct unit {
    const char *name;
    int64_t micros; /* 0: in months */
    int32_t months;
};

static const struct unit *find_unit(struct weir_str name)
{
    static const struct unit units[] = {{"YEAR", 0, 12},          {"QUARTER", 0, 3},          {"MONTH", 0, 1},           {"WEEK", 604800000000, 0},
                                        {"DAY", 86400000000, 0}, {"HOUR", 3600000000, 0},    {"MINUTE", 60000000, 0},   {"SECOND", 1000000, 0},
                                        {"MILLISECOND", 1000, 0}, {"MICROSECOND", 1, 0}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strlen(units[i].name) == name.len && strncasecmp(units[i].name, (const char *)name.data, name.len) == 0) {
            return &units[i];
        }
    }
    return NULL;
}

/* Whole months from a to b, as Java counts: a month is full when day and time of day are reached. */
static int64_t months_between(int64_t a, int64_t b)
{
    struct weir_civil x = weir_civil_from_micros(a), y = weir_civil_from_micros(b);
    int64_t months = ((int64_t)y.year - x.year) * 12 + y.month - x.month;
    int64_t rest_x = x.day * WEIR_DAY_MICROS + weir__floor_mod(a, WEIR_DAY_MICROS);
    int64_t rest_y = y.day * WEIR_DAY_MICROS + weir__floor_mod(b, WEIR_DAY_MICROS);
    if (months > 0 && rest_y < rest_x) {
        return months - 1;
    }
    return months < 0 && rest_y > rest_x ? months + 1 : months;
}

enum weir_rc weir__fn_timestampdiff(struct weir_fn_call *call)
{
    int32_t *out = call->out.values;
    WEIR_EACH_ROW(call, i) {
        out[i] = 0;
        if (!is_valid(call, i)) {
            continue;
        }
        struct weir_str name = WEIR_VEC(&call->args[0], struct weir_str, i);
        const struct unit *unit = find_unit(name);
        if (unit == NULL) {
            return weir__fn_fail(call, "there is no unit %.*s to count in", (int)(name.len > 40 ? 40 : name.len), (const char *)name.data);
        }
        int64_t a = micros_at(&call->args[1], i), b = micros_at(&call->args[2], i), difference;
        int64_t value = 0;
        bool fits = true;
        if (unit->micros == 0) {
            value = months_between(a, b) / unit->months;
        } else {
            fits = !__builtin_sub_overflow(b, a, &difference);
            value = fits ? difference / unit->micros : 0;
        }
        if (!fits || value > INT32_MAX || value < INT32_MIN) {
            return weir__fn_fail(call, "the difference in %ss does not fit INT", unit->name);
        }
        out[i] = (int32_t)value;
    }
    return WEIR_OK;
}

/* FLOOR(moment TO unit) */
enum weir_rc weir__fn_floor_to(struct weir_fn_call *call)
{
    int64_t *out = call->out.values;
    WEIR_EACH_ROW(call, i) {
        out[i] = 0;
        if (!is_valid(call, i)) {
            continue;
        }
        const struct unit *unit = find_unit(WEIR_VEC(&call->args[1], struct weir_str, i));
        int64_t micros = micros_at(&call->args[0], i);
        if (unit == NULL) {
            return weir__fn_fail(call, "there is no such unit to cut to");
        }
        if (unit->micros == 604800000000) { /* weeks begin on Sunday, as in Flink; 1970-01-04 was one */
            int64_t beyond = weir__floor_mod(weir__floor_mod(micros, unit->micros) - 3 * WEIR_DAY_MICROS, unit->micros);
            out[i] = __builtin_sub_overflow(micros, beyond, &out[i]) ? INT64_MIN : out[i];
        } else if (unit->micros != 0) {
            out[i] = weir__floor_to(micros, unit->micros);
        } else {
            struct weir_civil civil = weir_civil_from_micros(micros);
            int32_t month = (civil.month - 1) / unit->months * unit->months + 1;
            out[i] = weir__days_to_micros(weir_days_from_civil(civil.year, unit->months == 12 ? 1 : month, 1));
        }
    }
    return WEIR_OK;
}
