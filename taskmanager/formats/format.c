#include "taskmanager/formats/format.h"

#include "taskmanager/formats/fmt_json.h"

const struct weir_format *weir_format_find(const char *name)
{
    static const struct weir_format *const formats[] = {&weir__fmt_json};
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (strcmp(formats[i]->name, name) == 0) {
            return formats[i];
        }
    }
    return NULL;
}
