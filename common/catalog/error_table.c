#include "common/catalog/error_table.h"

enum weir_rc weir_error_table_check(const struct weir_schema *schema, struct weir_error *err)
{
    static const struct {
        const char *name;
        enum weir_type_id type;
    } columns[] = {
        {WEIR_ERROR_COLUMN_RAW, WEIR_TYPE_VARBINARY},
        {WEIR_ERROR_COLUMN_POSITION, WEIR_TYPE_VARCHAR},
        {WEIR_ERROR_COLUMN_REASON, WEIR_TYPE_VARCHAR},
    };
    for (uint32_t i = 0; i < weir_schema_count(schema); i++) {
        const struct weir_field *field = weir_schema_field(schema, i);
        bool known = false;
        for (size_t k = 0; k < sizeof(columns) / sizeof(columns[0]); k++) {
            known = known || (strcmp(field->name, columns[k].name) == 0 && field->type.id == columns[k].type &&
                              field->type.length == WEIR_LENGTH_MAX);
        }
        if (!known) {
            return weir_error_set(err, WEIR_INVALID,
                                  "column \"%s\" %s does not belong in a table of bad records; expected raw BYTES, position "
                                  "STRING or reason STRING",
                                  field->name, weir_type_text(field->type).text);
        }
    }
    return WEIR_OK;
}
