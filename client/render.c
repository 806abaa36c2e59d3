#include "client/render.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

struct weir_table {
    const char *headings[WEIR_TABLE_COLUMNS_MAX];
    bool right[WEIR_TABLE_COLUMNS_MAX];
    size_t widths[WEIR_TABLE_COLUMNS_MAX];
    size_t ncolumns;
    char **cells;
    size_t ncells, cells_cap;
};

static size_t width_of(const char *text)
{
    size_t width = 0;
    for (const char *c = text; *c != '\0'; c++) {
        width += ((unsigned char)*c & 0xc0) != 0x80; /* not a continuation byte */
    }
    return width;
}

struct weir_table *weir_table_create(const char *const *headings)
{
    struct weir_table *table = weir_calloc(1, sizeof(*table));
    for (; headings[table->ncolumns] != NULL; table->ncolumns++) {
        size_t i = table->ncolumns;
        weir_assert(i < WEIR_TABLE_COLUMNS_MAX);
        table->right[i] = headings[i][0] == '>';
        table->headings[i] = headings[i] + (table->right[i] ? 1 : 0);
        table->widths[i] = width_of(table->headings[i]);
    }
    return table;
}

void weir_table_destroy(struct weir_table *table)
{
    if (table == NULL) {
        return;
    }
    for (size_t i = 0; i < table->ncells; i++) {
        weir_free(table->cells[i]);
    }
    weir_free(table->cells);
    weir_free(table);
}

void weir_table_add(struct weir_table *table, const char *text)
{
    char *cell = weir_strdup(text);
    for (char *c = cell; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
    size_t column = table->ncells % table->ncolumns;
    size_t width = width_of(cell);
    table->widths[column] = width > table->widths[column] ? width : table->widths[column];
    table->cells = weir_vec_grow(table->cells, &table->cells_cap, sizeof(*table->cells), table->ncells + 1);
    table->cells[table->ncells++] = cell;
}

void weir_table_add_int(struct weir_table *table, int64_t value)
{
    char text[WEIR_RENDER_TEXT];
    (void)snprintf(text, sizeof(text), "%" PRId64, value);
    weir_table_add(table, text);
}

static void put_spaces(struct weir_buf *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        weir_buf_put_u8(out, ' ');
    }
}

static void put_row(const struct weir_table *table, const char *const *cells, struct weir_buf *out)
{
    size_t pending = 0; /* spaces that are written only if more text follows */
    for (size_t i = 0; i < table->ncolumns; i++) {
        size_t padding = table->widths[i] - width_of(cells[i]);
        pending += i > 0 ? 2 : 0;
        pending += table->right[i] ? padding : 0;
        if (cells[i][0] != '\0') {
            put_spaces(out, pending);
            pending = 0;
            weir_buf_put_str(out, cells[i]);
        }
        pending += table->right[i] ? 0 : padding;
    }
    weir_buf_put_u8(out, '\n');
}

void weir_table_render(const struct weir_table *table, struct weir_buf *out)
{
    weir_assert(table->ncells % table->ncolumns == 0);
    put_row(table, table->headings, out);
    for (size_t i = 0; i < table->ncells; i += table->ncolumns) {
        put_row(table, (const char *const *)&table->cells[i], out);
    }
}

const char *weir_render_duration(int64_t ms, char out[WEIR_RENDER_TEXT])
{
    int64_t seconds = ms / 1000;
    if (ms < 0) {
        (void)snprintf(out, WEIR_RENDER_TEXT, "-");
    } else if (seconds < 60) {
        (void)snprintf(out, WEIR_RENDER_TEXT, "%" PRId64 ".%" PRId64 " s", seconds, ms % 1000 / 100);
    } else if (seconds < 3600) {
        (void)snprintf(out, WEIR_RENDER_TEXT, "%" PRId64 " min %" PRId64 " s", seconds / 60, seconds % 60);
    } else {
        (void)snprintf(out, WEIR_RENDER_TEXT, "%" PRId64 " h %" PRId64 " min", seconds / 3600, seconds % 3600 / 60);
    }
    return out;
}

const char *weir_render_bytes(int64_t bytes, char out[WEIR_RENDER_TEXT])
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(out, WEIR_RENDER_TEXT, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return out;
}

const char *weir_render_time(int64_t wall_ms, char out[WEIR_RENDER_TEXT])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts;
    if (wall_ms < 0 || gmtime_r(&seconds, &parts) == NULL || strftime(out, WEIR_RENDER_TEXT, "%Y-%m-%d %H:%M:%S", &parts) == 0) {
        (void)snprintf(out, WEIR_RENDER_TEXT, "-");
    }
    return out;
}
