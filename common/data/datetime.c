#include "common/data/datetime.h"

enum {
    MICROS_PER_SECOND = 1000000,
    YEAR_MAX = 999999,
};

static const int64_t micros_per_day = 86400ll * MICROS_PER_SECOND;

/* Howard Hinnant's days_from_civil and civil_from_days: eras of 400 years that begin on 1 March. */
int64_t weir_days_from_civil(int32_t year, int32_t month, int32_t day)
{
    int64_t y = (int64_t)year - (month <= 2 ? 1 : 0);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void civil_from_days(int64_t days, struct weir_civil *civil)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t day_of_era = z - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    civil->day = (int32_t)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
    civil->month = (int32_t)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
    civil->year = (int32_t)(year_of_era + era * 400 + (civil->month <= 2 ? 1 : 0));
}

static void set_time_of_day(struct weir_civil *civil, int64_t micros)
{
    int64_t seconds = micros / MICROS_PER_SECOND;
    civil->micros = (int32_t)(micros % MICROS_PER_SECOND);
    civil->hour = (int32_t)(seconds / 3600);
    civil->minute = (int32_t)(seconds / 60 % 60);
    civil->second = (int32_t)(seconds % 60);
}

/* Micros since midnight; the days before it in *out_days, rounded down. */
static int64_t split_day(int64_t micros, int64_t *out_days)
{
    int64_t days = micros / micros_per_day;
    int64_t rest = micros % micros_per_day;
    if (rest < 0) {
        days--;
        rest += micros_per_day;
    }
    *out_days = days;
    return rest;
}

struct weir_civil weir_civil_from_micros(int64_t micros)
{
    struct weir_civil civil;
    int64_t days;
    set_time_of_day(&civil, split_day(micros, &days));
    civil_from_days(days, &civil);
    return civil;
}

static __int128 exact_micros(const struct weir_civil *civil)
{
    int64_t days = weir_days_from_civil(civil->year, civil->month, civil->day);
    int64_t seconds = civil->hour * 3600ll + civil->minute * 60ll + civil->second;
    return (__int128)days * micros_per_day + (__int128)seconds * MICROS_PER_SECOND + civil->micros;
}

int64_t weir_civil_to_micros(const struct weir_civil *civil)
{
    __int128 micros = exact_micros(civil);
    return micros > INT64_MAX ? INT64_MAX : micros < INT64_MIN ? INT64_MIN : (int64_t)micros;
}

/* --- writing -------------------------------------------------------------------------------------------------------- */

static char *put_two(char *to, int32_t value)
{
    to[0] = (char)('0' + value / 10);
    to[1] = (char)('0' + value % 10);
    return to + 2;
}

/* As java.time: four digits at least; beyond four with a sign. */
static char *put_date(char *to, const struct weir_civil *civil)
{
    int32_t year = civil->year;
    if (year < 0) {
        *to++ = '-';
        year = -year;
    } else if (year > 9999) {
        *to++ = '+';
    }
    if (year <= 9999) {
        to = put_two(to, year / 100);
        to = put_two(to, year % 100);
    } else {
        char digits[10];
        int n = 0;
        for (; year > 0; year /= 10) {
            digits[n++] = (char)('0' + year % 10);
        }
        while (n > 0) {
            *to++ = digits[--n];
        }
    }
    *to++ = '-';
    to = put_two(to, civil->month);
    *to++ = '-';
    return put_two(to, civil->day);
}

static char *put_time(char *to, const struct weir_civil *civil, int32_t digits)
{
    to = put_two(to, civil->hour);
    *to++ = ':';
    to = put_two(to, civil->minute);
    *to++ = ':';
    to = put_two(to, civil->second);
    if (digits > 0) {
        *to++ = '.';
        int32_t unit = MICROS_PER_SECOND / 10;
        for (int32_t i = 0; i < digits && unit > 0; i++, unit /= 10) {
            *to++ = (char)('0' + civil->micros / unit % 10);
        }
    }
    return to;
}

uint32_t weir_date_write(int32_t days, char out[40])
{
    struct weir_civil civil;
    civil_from_days(days, &civil);
    return (uint32_t)(put_date(out, &civil) - out);
}

uint32_t weir_time_write(int64_t micros, int32_t digits, char out[40])
{
    struct weir_civil civil;
    int64_t days;
    set_time_of_day(&civil, split_day(micros, &days));
    return (uint32_t)(put_time(out, &civil, digits) - out);
}

uint32_t weir_timestamp_write(int64_t micros, int32_t digits, char separator, char out[40])
{
    struct weir_civil civil = weir_civil_from_micros(micros);
    char *to = put_date(out, &civil);
    *to++ = separator;
    return (uint32_t)(put_time(to, &civil, digits) - out);
}

/* --- reading: each take_ moves past what it read, or returns false ----------------------------------------------------- */

static bool take_char(struct weir_slice *rest, char c)
{
    if (rest->len == 0 || *rest->data != (uint8_t)c) {
        return false;
    }
    rest->data++;
    rest->len--;
    return true;
}

/* Exactly `digits` digits. */
static bool take_digits(struct weir_slice *rest, uint32_t digits, int32_t *out_value)
{
    if (rest->len < digits) {
        return false;
    }
    int32_t value = 0;
    for (uint32_t i = 0; i < digits; i++) {
        uint32_t digit = (uint32_t)rest->data[i] - '0';
        if (digit > 9) {
            return false;
        }
        value = value * 10 + (int32_t)digit;
    }
    rest->data += digits;
    rest->len -= digits;
    *out_value = value;
    return true;
}

static int32_t month_days(int32_t year, int32_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

/* "YYYY-MM-DD"; a year of five or six digits has a sign, as java.time writes and reads it. */
static bool take_date(struct weir_slice *rest, struct weir_civil *civil)
{
    bool minus = take_char(rest, '-');
    bool plus = !minus && take_char(rest, '+');
    uint32_t digits = 0;
    while (digits < rest->len && digits < 7 && (uint32_t)rest->data[digits] - '0' <= 9) {
        digits++;
    }
    if (digits < 4 || digits > 6 || (digits > 4 && !minus && !plus) || (digits == 4 && plus)) {
        return false;
    }
    if (!take_digits(rest, digits, &civil->year) || !take_char(rest, '-') || !take_digits(rest, 2, &civil->month) ||
        !take_char(rest, '-') || !take_digits(rest, 2, &civil->day)) {
        return false;
    }
    civil->year = minus ? -civil->year : civil->year;
    return civil->month >= 1 && civil->month <= 12 && civil->day >= 1 && civil->day <= month_days(civil->year, civil->month);
}

_Static_assert(YEAR_MAX == 999999, "a year has at most six digits");

static bool take_time(struct weir_slice *rest, struct weir_civil *civil)
{
    if (!take_digits(rest, 2, &civil->hour) || !take_char(rest, ':') || !take_digits(rest, 2, &civil->minute) ||
        !take_char(rest, ':') || !take_digits(rest, 2, &civil->second)) {
        return false;
    }
    civil->micros = 0;
    if (take_char(rest, '.')) {
        int32_t unit = MICROS_PER_SECOND / 10;
        uint32_t digits = 0;
        int32_t digit;
        while (take_digits(rest, 1, &digit)) {
            civil->micros += digit * unit; /* unit is 0 from the seventh digit on */
            unit /= 10;
            digits++;
        }
        if (digits == 0 || digits > 9) {
            return false;
        }
    }
    return civil->hour < 24 && civil->minute < 60 && civil->second < 60;
}

enum weir_rc weir_date_read(struct weir_slice text, int32_t *out_days)
{
    struct weir_civil civil;
    if (!take_date(&text, &civil) || text.len > 0) {
        return WEIR_INVALID;
    }
    *out_days = (int32_t)weir_days_from_civil(civil.year, civil.month, civil.day);
    return WEIR_OK;
}

enum weir_rc weir_time_read(struct weir_slice text, int64_t *out_micros)
{
    struct weir_civil civil = {.year = 1970, .month = 1, .day = 1};
    if (!take_time(&text, &civil) || text.len > 0) {
        return WEIR_INVALID;
    }
    *out_micros = (int64_t)exact_micros(&civil);
    return WEIR_OK;
}

enum weir_rc weir_timestamp_read(struct weir_slice text, int64_t *out_micros)
{
    struct weir_civil civil;
    if (!take_date(&text, &civil) || (!take_char(&text, ' ') && !take_char(&text, 'T')) || !take_time(&text, &civil)) {
        return WEIR_INVALID;
    }
    (void)take_char(&text, 'Z');
    __int128 micros = exact_micros(&civil);
    if (text.len > 0 || micros > INT64_MAX || micros < INT64_MIN) {
        return WEIR_INVALID;
    }
    *out_micros = (int64_t)micros;
    return WEIR_OK;
}
