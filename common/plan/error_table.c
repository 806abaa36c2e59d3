#include "common/plan/error_table.h"

#include <string.h>

enum weir_rc weir_error_column(const struct weir_schema *schema, uint32_t i, enum weir_error_column *out_column, struct weir_error *err)
{
    static const char *const names[] = {
        [WEIR_ERROR_COLUMN_RECORD] = "record",
        [WEIR_ERROR_COLUMN_POSITION] = "position",
        [WEIR_ERROR_COLUMN_REASON] = "reason",
        [WEIR_ERROR_COLUMN_SOURCE] = "source",
    };
    const struct weir_field *field = weir_schema_field(schema, i);
    for (unsigned k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
        if (strcmp(names[k], field->name) == 0) {
            bool fits = field->type.id == WEIR_TYPE_VARCHAR || (k == WEIR_ERROR_COLUMN_RECORD && field->type.id == WEIR_TYPE_VARBINARY);
            if (!fits) {
                return weir_error_set(err, WEIR_INVALID, "a table of bad records has column \"%s\" as %s", field->name,
                                      k == WEIR_ERROR_COLUMN_RECORD ? "STRING or BYTES" : "STRING");
            }
            *out_column = (enum weir_error_column)k;
            return WEIR_OK;
        }
    }
    return weir_error_set(err, WEIR_INVALID, "a table of bad records has no column \"%s\"; expected some of record, position, reason, source",
                          field->name);
}

enum weir_rc weir_error_table_check(const struct weir_schema *schema, struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    for (uint32_t i = 0; i < weir_schema_count(schema) && rc == WEIR_OK; i++) {
        enum weir_error_column column;
        rc = weir_error_column(schema, i, &column, err);
    }
    return rc;
}
