#include "common/plan/opspec.h"

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
