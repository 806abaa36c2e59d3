/*
 * For the tests of the aggregating operators: random rows and a naive model of every aggregate, row at a time.
 */
#ifndef WEIR_TASKMANAGER_OPERATORS_AGG_TESTMODEL_H
#define WEIR_TASKMANAGER_OPERATORS_AGG_TESTMODEL_H

#include "common/base/rand.h"
#include "common/data/number.h"
#include "common/data/value.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

enum { KIT_KEYS = 12, KIT_CALLS = 13, KIT_LINE_MAX = 512 };
enum { COL_K, COL_KID, COL_TS, COL_V, COL_N, COL_S, COL_D, COL_B, COL_COUNT };

static const char *const kit_calls[KIT_CALLS] = {
    "COUNT(*)", "COUNT(v)", "SUM(n)", "AVG(v)", "MIN(s)", "MAX(s)", "SUM(n * 2 + 1)", "SUM(1000 / n) FILTER (WHERE n <> 0)",
    "MIN(n) FILTER (WHERE b)", "AVG(n)", "SUM(d)", "MAX(v)", "COUNT(*) FILTER (WHERE v > 10)"};
static const uint32_t kit_all[KIT_CALLS] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

struct kit_row {
    int key; /* 0: NULL and 0 */
    int64_t time_ms;
    bool has_v, has_n;
    double v;
    int64_t n;
    int s;    /* -1: NULL */
    int64_t d; /* hundredths */
    int b;    /* 2: NULL */
    int sign; /* -1: as -D or -U */
};

/* A string that is long for odd i, so that both kinds of views and of keys are met. */
static inline struct weir_slice kit_text(const char *what, int i, char *room)
{
    int len = snprintf(room, 64, i % 2 == 0 ? "%s%03d" : "%s%03d and a rather long remainder", what, i);
    return weir_slice(room, (size_t)len);
}

static inline struct kit_row kit_random_row(struct weir_rand *rand, int64_t time_ms)
{
    return (struct kit_row){.key = (int)weir_rand_below(rand, KIT_KEYS),
                            .time_ms = time_ms,
                            .has_v = weir_rand_below(rand, 8) != 0,
                            .v = ((double)weir_rand_below(rand, 4000) - 2000) / 8,
                            .has_n = weir_rand_below(rand, 8) != 0,
                            .n = (int64_t)weir_rand_below(rand, 40) - 20,
                            .s = (int)weir_rand_below(rand, 300) - 1,
                            .d = (int64_t)weir_rand_below(rand, 100000) - 50000,
                            .b = (int)weir_rand_below(rand, 3),
                            .sign = 1};
}

/* --- the model -------------------------------------------------------------------------------------------------------- */

struct kit_acc {
    int64_t rows, count_v, count_n, sum_n, count_div, sum_div, count_b, min_nb, over10;
    double sum_v, max_v;
    int min_s, max_s;
    bool has_s;
    int64_t sum_d;
};

static inline void kit_acc_add(struct kit_acc *acc, const struct kit_row *row)
{
    int64_t sign = row->sign;
    acc->rows += sign;
    if (row->has_v) {
        acc->max_v = acc->count_v == 0 || row->v > acc->max_v ? row->v : acc->max_v;
        acc->count_v += sign;
        acc->sum_v += row->v * (double)sign;
        acc->over10 += row->v > 10 ? sign : 0;
    }
    if (row->has_n) {
        if (row->b == 1) {
            acc->min_nb = acc->count_b == 0 || row->n < acc->min_nb ? row->n : acc->min_nb;
            acc->count_b += sign;
        }
        acc->count_n += sign;
        acc->sum_n += row->n * sign;
        if (row->n != 0) {
            acc->count_div += sign;
            acc->sum_div += 1000 / row->n * sign;
        }
    }
    if (row->s >= 0) {
        acc->min_s = !acc->has_s || row->s < acc->min_s ? row->s : acc->min_s;
        acc->max_s = !acc->has_s || row->s > acc->max_s ? row->s : acc->max_s;
        acc->has_s = true;
    }
    acc->sum_d += row->d * sign;
}

static inline int kit_put_i64(char *to, bool null, int64_t value)
{
    return null ? sprintf(to, "|NULL") : sprintf(to, "|%ld", (long)value);
}

static inline int kit_put_f64(char *to, bool null, double value)
{
    char text[WEIR_NUMBER_TEXT_MAX];
    return null ? sprintf(to, "|NULL") : sprintf(to, "|%.*s", (int)weir_f64_write(value, text), text);
}

static inline int kit_put_call(const struct kit_acc *acc, uint32_t call, char *to)
{
    char text[64];
    switch (call) {
    case 0:
        return kit_put_i64(to, false, acc->rows);
    case 1:
        return kit_put_i64(to, false, acc->count_v);
    case 2:
        return kit_put_i64(to, acc->count_n == 0, acc->sum_n);
    case 3:
        return kit_put_f64(to, acc->count_v == 0, acc->count_v == 0 ? 0 : acc->sum_v / (double)acc->count_v);
    case 4:
    case 5: {
        if (!acc->has_s) {
            return sprintf(to, "|NULL");
        }
        struct weir_slice s = kit_text("s", call == 4 ? acc->min_s : acc->max_s, text);
        return sprintf(to, "|%.*s", WEIR_SLICE_ARG(s));
    }
    case 6:
        return kit_put_i64(to, acc->count_n == 0, acc->sum_n * 2 + acc->count_n);
    case 7:
        return kit_put_i64(to, acc->count_div == 0, acc->sum_div);
    case 8:
        return kit_put_i64(to, acc->count_b == 0, acc->min_nb);
    case 9:
        return kit_put_i64(to, acc->count_n == 0, acc->count_n == 0 ? 0 : acc->sum_n / acc->count_n);
    case 10:
        return sprintf(to, "|%.*s", (int)weir_decimal_write(acc->sum_d, 2, text), text);
    case 11:
        return kit_put_f64(to, acc->count_v == 0, acc->max_v);
    default:
        return kit_put_i64(to, false, acc->over10);
    }
}

/* "k|kid|results" as kit_batch_line gives it. */
static inline int kit_put_key(char *to, int key, uint32_t nkeys)
{
    char text[64];
    int len = 0;
    if (nkeys >= 1) {
        struct weir_slice k = kit_text("key", key, text);
        len += key == 0 ? sprintf(to, "|NULL") : sprintf(to, "|%.*s", WEIR_SLICE_ARG(k));
    }
    return nkeys >= 2 ? len + sprintf(to + len, "|%d", key) : len;
}

static inline void kit_batch_line(const struct weir_batch *batch, uint32_t row, uint32_t first_column, char *to)
{
    struct weir_buf buf = {0};
    for (uint32_t c = first_column; c < batch->ncols; c++) {
        struct weir_value value = weir_value_get(&batch->cols[c], row);
        weir_buf_put_str(&buf, "|");
        weir_value_format(&value, &buf);
    }
    ck_assert_uint_lt(buf.len, KIT_LINE_MAX);
    memcpy(to, buf.data, buf.len);
    to[buf.len] = '\0';
    weir_buf_fini(&buf);
}

#endif
