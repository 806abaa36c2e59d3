#include "client/command.h"

#include "common/base/mem.h"
#include "common/net/address.h"

#include <jansson.h>
#include <stdio.h>

const char *weir_json_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

int64_t weir_json_int(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

void weir_print_json_take(json_t *document)
{
    (void)json_dumpf(document, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
    (void)fputc('\n', stdout);
    json_decref(document);
}

void weir_print(struct weir_slice text)
{
    (void)fwrite(text.data, 1, text.len, stdout);
}

char *weir_job_path(const char *job, const char *rest)
{
    struct weir_buf path = {0};
    weir_buf_put_str(&path, "/jobs/");
    weir_url_put_encoded(&path, job, "");
    weir_buf_put_str(&path, rest);
    weir_buf_put_u8(&path, 0);
    size_t len;
    return (char *)weir_buf_take(&path, &len);
}
