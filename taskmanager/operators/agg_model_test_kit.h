/*
 * For the tests of the aggregating operators: random rows and a naive model of every aggregate, row at a time.
 */
#ifndef WEIR_TASKMANAGER_OPERATORS_AGG_MODEL_TEST_KIT_H
#define WEIR_TASKMANAGER_OPERATORS_AGG_MODEL_TEST_KIT_H

#include "common/base/buf.h"
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

static inline void kit_put_i64(struct weir_buf *line, bool null, int64_t value)
{
    if (null) {
        weir_buf_put_str(line, "|NULL");
    } else {
        weir_buf_put_fmt(line, "|%ld", (long)value);
    }
}

static inline void kit_put_f64(struct weir_buf *line, bool null, double value)
{
    char text[WEIR_NUMBER_TEXT_MAX];
    weir_buf_put_fmt(line, "|%.*s", null ? 4 : (int)weir_f64_write(value, text), null ? "NULL" : text);
}

static inline void kit_put_text(struct weir_buf *line, bool null, const char *what, int i)
{
    char text[64];
    weir_buf_put_str(line, "|");
    weir_buf_put_slice(line, null ? weir_slice_str("NULL") : kit_text(what, i, text));
}

static inline void kit_put_call(struct weir_buf *line, const struct kit_acc *acc, uint32_t call)
{
    char text[WEIR_NUMBER_TEXT_MAX];
    switch (call) {
    case 0:
        kit_put_i64(line, false, acc->rows);
        break;
    case 1:
        kit_put_i64(line, false, acc->count_v);
        break;
    case 2:
        kit_put_i64(line, acc->count_n == 0, acc->sum_n);
        break;
    case 3:
        kit_put_f64(line, acc->count_v == 0, acc->count_v == 0 ? 0 : acc->sum_v / (double)acc->count_v);
        break;
    case 4:
    case 5:
        kit_put_text(line, !acc->has_s, "s", call == 4 ? acc->min_s : acc->max_s);
        break;
    case 6:
        kit_put_i64(line, acc->count_n == 0, acc->sum_n * 2 + acc->count_n);
        break;
    case 7:
        kit_put_i64(line, acc->count_div == 0, acc->sum_div);
        break;
    case 8:
        kit_put_i64(line, acc->count_b == 0, acc->min_nb);
        break;
    case 9:
        kit_put_i64(line, acc->count_n == 0, acc->count_n == 0 ? 0 : acc->sum_n / acc->count_n);
        break;
    case 10:
        weir_buf_put_fmt(line, "|%.*s", (int)weir_decimal_write(acc->sum_d, 2, text), text);
        break;
    case 11:
        kit_put_f64(line, acc->count_v == 0, acc->max_v);
        break;
    default:
        kit_put_i64(line, false, acc->over10);
        break;
    }
}

/* "|k|kid", of which the results follow, as kit_put_row_of gives them. */
static inline void kit_put_key(struct weir_buf *line, int key, uint32_t nkeys)
{
    if (nkeys >= 1) {
        kit_put_text(line, key == 0, "key", key);
    }
    if (nkeys >= 2) {
        weir_buf_put_fmt(line, "|%d", key);
    }
}

/* Ends the line and copies it out. */
static inline void kit_line_end(struct weir_buf *line, char to[KIT_LINE_MAX])
{
    ck_assert_uint_lt(line->len, KIT_LINE_MAX);
    weir_buf_put_u8(line, 0);
    memcpy(to, line->data, line->len);
    weir_buf_fini(line);
}

static inline void kit_put_row_of(struct weir_buf *line, const struct weir_batch *batch, uint32_t row, uint32_t first_column)
{
    for (uint32_t c = first_column; c < batch->ncols; c++) {
        struct weir_value value = weir_value_get(&batch->cols[c], row);
        weir_buf_put_str(line, "|");
        weir_value_format(&value, line);
    }
}

#endif
