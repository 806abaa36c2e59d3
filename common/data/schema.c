#include "common/data/schema.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <stdatomic.h>

struct weir_schema {
    _Atomic uint32_t refs;
    uint32_t count;
    int32_t time_column;
    struct weir_field fields[];
};

static enum weir_rc check_field(const struct weir_field *fields, uint32_t i, struct weir_error *err)
{
    size_t name_len = fields[i].name == NULL ? 0 : strlen(fields[i].name);
    if (name_len == 0 || name_len > WEIR_NAME_MAX) {
        return weir_error_set(err, WEIR_INVALID, "column %u: a name has 1 to %d bytes, this one has %zu", i + 1,
                              WEIR_NAME_MAX, name_len);
    }
    if (fields[i].type.id == WEIR_TYPE_NULL) {
        return weir_error_set(err, WEIR_INVALID, "column '%s' has no type: give the NULL a type with CAST", fields[i].name);
    }
    for (uint32_t j = 0; j < i; j++) {
        if (strcmp(fields[i].name, fields[j].name) == 0) {
            return weir_error_set(err, WEIR_EXISTS, "two columns are called '%s' (the %uth and the %uth): rename one",
                                  fields[i].name, j + 1, i + 1);
        }
    }
    return WEIR_OK;
}

static enum weir_rc check_time_column(const struct weir_field *fields, uint32_t count, int32_t time_column,
                                      struct weir_error *err)
{
    if (time_column == WEIR_NO_COLUMN) {
        return WEIR_OK;
    }
    if (time_column < 0 || (uint32_t)time_column >= count) {
        return weir_error_set(err, WEIR_INVALID, "the event-time column is number %d of %u", time_column, count);
    }
    const struct weir_field *field = &fields[time_column];
    if (field->type.id != WEIR_TYPE_TIMESTAMP && field->type.id != WEIR_TYPE_TIMESTAMP_LTZ) {
        return weir_error_set(err, WEIR_INVALID, "event-time column '%s' is %s: it must be TIMESTAMP or TIMESTAMP_LTZ",
                              field->name, weir_type_text(field->type).text);
    }
    return WEIR_OK;
}

enum weir_rc weir_schema_create(const struct weir_field *fields, uint32_t count, int32_t time_column,
                                struct weir_schema **out_schema, struct weir_error *err)
{
    if (count > WEIR_COLUMNS_MAX) {
        return weir_error_set(err, WEIR_LIMIT, "%u columns; at most %d are possible", count, WEIR_COLUMNS_MAX);
    }
    for (uint32_t i = 0; i < count; i++) {
        enum weir_rc rc = check_field(fields, i, err);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    enum weir_rc rc = check_time_column(fields, count, time_column, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct weir_schema *schema = weir_calloc(1, sizeof(*schema) + count * sizeof(schema->fields[0]));
    atomic_init(&schema->refs, 1);
    schema->count = count;
    schema->time_column = time_column;
    for (uint32_t i = 0; i < count; i++) {
        schema->fields[i] = (struct weir_field){.name = weir_strdup(fields[i].name), .type = fields[i].type};
    }
    *out_schema = schema;
    return WEIR_OK;
}

/* References are counted through const pointers: the count is not part of what is immutable. */
static struct weir_schema *counted(const struct weir_schema *schema)
{
    return (struct weir_schema *)(uintptr_t)schema;
}

struct weir_schema *weir_schema_ref(const struct weir_schema *schema)
{
    struct weir_schema *self = counted(schema);
    uint32_t before = atomic_fetch_add_explicit(&self->refs, 1, memory_order_relaxed);
    weir_assert(before > 0);
    return self;
}

void weir_schema_unref(const struct weir_schema *schema)
{
    if (schema == NULL) {
        return;
    }
    struct weir_schema *self = counted(schema);
    uint32_t before = atomic_fetch_sub_explicit(&self->refs, 1, memory_order_acq_rel);
    weir_assert(before > 0);
    if (before > 1) {
        return;
    }
    for (uint32_t i = 0; i < self->count; i++) {
        weir_free((void *)(uintptr_t)self->fields[i].name);
    }
    weir_free(self);
}

uint32_t weir_schema_count(const struct weir_schema *schema)
{
    return schema->count;
}

const struct weir_field *weir_schema_field(const struct weir_schema *schema, uint32_t i)
{
    weir_assert(i < schema->count);
    return &schema->fields[i];
}

int32_t weir_schema_time_column(const struct weir_schema *schema)
{
    return schema->time_column;
}

int32_t weir_schema_find(const struct weir_schema *schema, struct weir_slice name)
{
    for (uint32_t i = 0; i < schema->count; i++) {
        if (weir_slice_eq_str(name, schema->fields[i].name)) {
            return (int32_t)i;
        }
    }
    return WEIR_NO_COLUMN;
}

bool weir_schema_same(const struct weir_schema *a, const struct weir_schema *b)
{
    if (a == b) {
        return true;
    }
    if (a->count != b->count) {
        return false;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        if (!weir_type_same(a->fields[i].type, b->fields[i].type) || strcmp(a->fields[i].name, b->fields[i].name) != 0) {
            return false;
        }
    }
    return true;
}

void weir_schema_format(const struct weir_schema *schema, struct weir_buf *out)
{
    weir_buf_put_u8(out, '(');
    for (uint32_t i = 0; i < schema->count; i++) {
        weir_buf_put_fmt(out, "%s%s %s", i == 0 ? "" : ", ", schema->fields[i].name,
                         weir_type_text(schema->fields[i].type).text);
    }
    weir_buf_put_u8(out, ')');
}
