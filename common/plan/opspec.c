#include "common/plan/opspec.h"

#include "common/base/assert.h"

#include <string.h>

const char *weir_table_option(const struct weir_table_spec *table, const char *key)
{
    for (uint32_t i = 0; i < table->noptions; i++) {
        if (strcmp(table->options[i].key, key) == 0) {
            return table->options[i].value;
        }
    }
    return NULL;
}

int64_t weir_window_slice_ms(const struct weir_window_spec *window)
{
    weir_assert(window->size_ms > 0);
    weir_assert(window->slide_ms > 0);
    int64_t a = window->size_ms;
    int64_t b = window->slide_ms;
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}
