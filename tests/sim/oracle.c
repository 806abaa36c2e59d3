#include "tests/sim/oracle.h"

#include "common/base/assert.h"
#include "common/base/buf.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { KINDS_MAX = 12, WINDOWS_MAX = 8, WINDOW_MS = 10000, DELAY_MS = 2000, PAD_BYTES = 6000, NAMES_MAX = 4096 };

#define BASE_MS INT64_C(1767225600000) /* 2026-01-01 00:00:00 UTC: within one day the time of day tells the window */

struct cell {
    uint64_t n;
    double sum, top;
};

struct weir_oracle {
    uint32_t kinds, windows;
    struct cell cells[WINDOWS_MAX][KINDS_MAX];
};

static void add_row(struct weir_oracle *oracle, struct weir_rand *rand, int64_t after_ms, uint32_t pad, struct weir_buf *out)
{
    uint32_t kind = (uint32_t)weir_rand_below(rand, oracle->kinds);
    bool no_kind = weir_rand_below(rand, 20) == 0;
    double speed = ((double)weir_rand_below(rand, 4000) - 300) / 4; /* quarters: sums are exact in any order */
    weir_buf_put_str(out, "{");
    if (pad > 0) {
        weir_buf_put_str(out, "\"pad\":\"");
        memset(weir_buf_reserve(out, pad), 'x', pad);
        out->len += pad;
        weir_buf_put_str(out, "\",");
    }
    if (no_kind) {
        weir_buf_put_str(out, "\"kind\":null");
    } else {
        weir_buf_put_fmt(out, "\"kind\":\"k%u\"", kind);
    }
    weir_buf_put_fmt(out, ",\"speed\":%.2f,\"ts\":%lld}\n", speed, (long long)(BASE_MS + after_ms));
    if (no_kind || speed < 0) {
        return;
    }
    struct cell *cell = &oracle->cells[after_ms / WINDOW_MS][kind];
    cell->top = cell->n == 0 || speed > cell->top ? speed : cell->top;
    cell->sum += speed;
    cell->n++;
}

/* Times rise but for less than the watermark's delay: no row is late, whatever is read when. */
static void write_file(struct weir_oracle *oracle, struct weir_fs *fs, const char *path, struct weir_rand *rand, uint32_t rows, uint32_t pad)
{
    struct weir_buf bytes = {0};
    struct weir_error err;
    int64_t span_ms = (int64_t)oracle->windows * WINDOW_MS - DELAY_MS;
    for (uint32_t i = 0; i < rows; i++) {
        add_row(oracle, rand, span_ms * i / rows + (int64_t)weir_rand_below(rand, DELAY_MS), pad, &bytes);
    }
    enum weir_rc rc = weir_fs_write_atomic(fs, path, weir_buf_slice(&bytes), &err);
    weir_assert(rc == WEIR_OK);
    weir_buf_fini(&bytes);
}

struct weir_oracle *weir_oracle_create(struct weir_fs *fs, const char *dir, struct weir_rand *rand, uint32_t parallelism, bool wide)
{
    struct weir_oracle *oracle = weir_calloc(1, sizeof(*oracle));
    struct weir_error err;
    oracle->kinds = 1 + (uint32_t)weir_rand_below(rand, KINDS_MAX);
    oracle->windows = 1 + (uint32_t)weir_rand_below(rand, WINDOWS_MAX);
    uint32_t files = wide ? parallelism + (uint32_t)weir_rand_below(rand, 3) : 1 + (uint32_t)weir_rand_below(rand, 6 * parallelism);
    enum weir_rc rc = weir_fs_mkdirs(fs, dir, &err);
    weir_assert(rc == WEIR_OK);
    for (uint32_t i = 0; i < files; i++) {
        bool large = wide && i + parallelism >= files;
        uint32_t rows = (uint32_t)weir_rand_below(rand, 60) + (large ? 400 : 0);
        char *path = weir_strfmt("%s/in-%03u", dir, i);
        write_file(oracle, fs, path, rand, rows, large ? PAD_BYTES : 0);
        weir_free(path);
    }
    return oracle;
}

void weir_oracle_destroy(struct weir_oracle *oracle)
{
    weir_free(oracle);
}

/* --- what was published ---------------------------------------------------------------------------------------------- */

struct reading {
    const struct weir_oracle *oracle;
    struct weir_fs *fs;
    const char *dir;
    uint32_t seen[WINDOWS_MAX][KINDS_MAX];
    char *names[NAMES_MAX];
    uint32_t nnames;
};

static void add_name(void *ctx, const char *name, bool is_dir)
{
    struct reading *reading = ctx;
    weir_assert(!is_dir && reading->nnames < NAMES_MAX);
    if (name[0] != '.') {
        reading->names[reading->nnames++] = weir_strdup(name);
    }
}

static const char *value_of(const char *line, const char *key)
{
    const char *at = strstr(line, key);
    return at == NULL ? "" : at + strlen(key);
}

static int64_t second_of_day(const char *timestamp)
{
    unsigned hour = 99, minute = 99, second = 99;
    return strncmp(timestamp, "2026-01-01", 10) == 0 && sscanf(timestamp + 11, "%2u:%2u:%2u", &hour, &minute, &second) == 3
               ? (int64_t)hour * 3600 + minute * 60 + second
               : -1;
}

static bool same(double a, double b)
{
    return !(a < b) && !(a > b);
}

static enum weir_rc check_line(struct reading *reading, const char *name, const char *line, struct weir_error *err)
{
    int64_t start = second_of_day(value_of(line, "\"window_start\":\""));
    int64_t end = second_of_day(value_of(line, "\"window_end\":\""));
    uint64_t kind = strtoul(value_of(line, "\"kind\":\"k"), NULL, 10);
    if (start < 0 || start % 10 != 0 || end != start + 10 || start / 10 >= reading->oracle->windows || kind >= reading->oracle->kinds) {
        return weir_error_set(err, WEIR_INVALID, "%s: a row of no window or kind: %s", name, line);
    }
    const struct cell *cell = &reading->oracle->cells[start / 10][kind];
    if (reading->seen[start / 10][kind]++ != 0) {
        return weir_error_set(err, WEIR_INVALID, "%s: window and kind twice: %s", name, line);
    }
    if (cell->n == 0 || strtoul(value_of(line, "\"n\":"), NULL, 10) != cell->n ||
        !same(strtod(value_of(line, "\"mean\":"), NULL), cell->sum / (double)cell->n) || !same(strtod(value_of(line, "\"top\":"), NULL), cell->top)) {
        return weir_error_set(err, WEIR_INVALID, "%s: expected n=%llu mean=%.17g top=%.17g: %s", name, (unsigned long long)cell->n,
                              cell->sum / (double)cell->n, cell->top, line);
    }
    return WEIR_OK;
}

static enum weir_rc check_file(struct reading *reading, const char *name, struct weir_error *err)
{
    struct weir_buf bytes = {0};
    char *path = weir_strfmt("%s/%s", reading->dir, name);
    enum weir_rc rc = weir_fs_read_all(reading->fs, path, 1 << 30, &bytes, err);
    if (rc == WEIR_OK && (bytes.len == 0 || bytes.data[bytes.len - 1] != '\n')) {
        rc = weir_error_set(err, WEIR_INVALID, "%s: ends within a row", name);
    }
    weir_buf_put(&bytes, "", 1);
    for (char *line = (char *)bytes.data; rc == WEIR_OK && *line != '\0';) {
        char *newline = strchr(line, '\n');
        *newline = '\0';
        rc = check_line(reading, name, line, err);
        line = newline + 1;
    }
    weir_free(path);
    weir_buf_fini(&bytes);
    return rc;
}

static enum weir_rc check_missing(const struct reading *reading, struct weir_error *err)
{
    for (uint32_t w = 0; w < reading->oracle->windows; w++) {
        for (uint32_t k = 0; k < reading->oracle->kinds; k++) {
            if (reading->oracle->cells[w][k].n != 0 && reading->seen[w][k] == 0) {
                return weir_error_set(err, WEIR_INVALID, "window %u, kind k%u: missing", w, k);
            }
        }
    }
    return WEIR_OK;
}

enum weir_rc weir_oracle_check(const struct weir_oracle *oracle, struct weir_fs *fs, const char *dir, bool all, struct weir_error *err)
{
    struct reading *reading = weir_calloc(1, sizeof(*reading));
    reading->oracle = oracle;
    reading->fs = fs;
    reading->dir = dir;
    enum weir_rc rc = weir_fs_list(fs, dir, add_name, reading, err);
    rc = rc == WEIR_NOT_FOUND ? WEIR_OK : rc; /* nothing was written yet */
    for (uint32_t i = 0; i < reading->nnames; i++) {
        rc = rc != WEIR_OK ? rc : check_file(reading, reading->names[i], err);
        weir_free(reading->names[i]);
    }
    if (rc == WEIR_OK && all) {
        rc = check_missing(reading, err);
    }
    weir_free(reading);
    return rc;
}
