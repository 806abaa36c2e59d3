#include "proto/schema_codec.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

enum { DECIMAL_BYTES = 16, TYPE_ID_LAST = WEIR_TYPE_INTERVAL_DAY };

char *weir_proto_text(const char *text)
{
    union {
        const char *in;
        char *out;
    } pun = {.in = text};
    return pun.out;
}

Weir__Plan__Type *weir_type_encode(struct weir_type type, struct weir_arena *arena)
{
    Weir__Plan__Type *message = weir_arena_alloc(arena, sizeof(*message));
    weir__plan__type__init(message);
    message->id = (uint32_t)type.id;
    message->not_null = type.not_null;
    message->precision = type.precision;
    message->scale = type.scale;
    message->length = type.length;
    return message;
}

static bool type_is_possible(const Weir__Plan__Type *message)
{
    if (message->id > TYPE_ID_LAST || message->length > WEIR_LENGTH_MAX) {
        return false;
    }
    if (message->id == WEIR_TYPE_DECIMAL) {
        return message->precision >= 1 && message->precision <= WEIR_DECIMAL_PRECISION_MAX &&
               message->scale <= message->precision;
    }
    return message->precision <= WEIR_DECIMAL_PRECISION_MAX && message->scale <= WEIR_DECIMAL_PRECISION_MAX &&
           (message->id < WEIR_TYPE_TIME || message->id > WEIR_TYPE_TIMESTAMP_LTZ ||
            message->precision <= WEIR_TIMESTAMP_PRECISION_MAX);
}

enum weir_rc weir_type_decode(const Weir__Plan__Type *message, struct weir_type *out_type, struct weir_error *err)
{
    if (message == NULL || !type_is_possible(message)) {
        return weir_error_set(err, WEIR_CORRUPT, "plan: a type is missing or out of range");
    }
    *out_type = (struct weir_type){
        .id = (enum weir_type_id)message->id,
        .not_null = message->not_null != 0,
        .precision = (uint8_t)message->precision,
        .scale = (uint8_t)message->scale,
        .length = message->length,
    };
    return WEIR_OK;
}

Weir__Plan__Schema *weir_schema_encode(const struct weir_schema *schema, struct weir_arena *arena)
{
    Weir__Plan__Schema *message = weir_arena_alloc(arena, sizeof(*message));
    weir__plan__schema__init(message);
    uint32_t count = weir_schema_count(schema);
    message->n_fields = count;
    message->fields = weir_arena_alloc(arena, count * sizeof(*message->fields));
    for (uint32_t i = 0; i < count; i++) {
        const struct weir_field *field = weir_schema_field(schema, i);
        message->fields[i] = weir_arena_alloc(arena, sizeof(**message->fields));
        weir__plan__field__init(message->fields[i]);
        message->fields[i]->name = weir_proto_text(field->name);
        message->fields[i]->type = weir_type_encode(field->type, arena);
    }
    message->time_column = weir_schema_time_column(schema);
    return message;
}

enum weir_rc weir_schema_decode(const Weir__Plan__Schema *message, struct weir_schema **out_schema, struct weir_error *err)
{
    if (message->n_fields == 0 || message->n_fields > WEIR_COLUMNS_MAX) {
        return weir_error_set(err, WEIR_CORRUPT, "plan: a schema of %zu columns; expected 1 to %d", message->n_fields,
                              WEIR_COLUMNS_MAX);
    }
    uint32_t count = (uint32_t)message->n_fields;
    bool time_ok = message->time_column == WEIR_NO_COLUMN;
    struct weir_field *fields = weir_calloc(count, sizeof(*fields));
    enum weir_rc rc = WEIR_OK;
    for (uint32_t i = 0; i < count && rc == WEIR_OK; i++) {
        fields[i].name = message->fields[i]->name;
        rc = weir_type_decode(message->fields[i]->type, &fields[i].type, err);
        if (rc == WEIR_OK && (fields[i].name[0] == '\0' || fields[i].type.id == WEIR_TYPE_NULL)) {
            rc = weir_error_set(err, WEIR_CORRUPT, "plan: column %u of a schema has no name or no type", i);
        }
        time_ok = time_ok || (message->time_column == (int32_t)i && (fields[i].type.id == WEIR_TYPE_TIMESTAMP ||
                                                                     fields[i].type.id == WEIR_TYPE_TIMESTAMP_LTZ));
    }
    if (rc == WEIR_OK && !time_ok) {
        rc = weir_error_set(err, WEIR_CORRUPT, "plan: time column %d of %u is none", message->time_column, count);
    }
    if (rc == WEIR_OK) {
        rc = weir_schema_create(fields, count, message->time_column, out_schema, err);
    }
    weir_free(fields);
    return rc;
}

Weir__Plan__Value *weir_value_encode(const struct weir_value *value, struct weir_arena *arena)
{
    Weir__Plan__Value *message = weir_arena_alloc(arena, sizeof(*message));
    weir__plan__value__init(message);
    message->type = weir_type_encode(value->type, arena);
    message->is_null = value->is_null;
    if (value->is_null) {
        return message;
    }
    enum weir_type_id id = value->type.id;
    if (weir_type_is_string(id)) {
        message->data.len = value->u.str.len;
        message->data.data = value->u.str.len == 0 ? NULL : weir_arena_alloc(arena, value->u.str.len);
        if (value->u.str.len > 0) {
            memcpy(message->data.data, value->u.str.data, value->u.str.len);
        }
    } else if (id == WEIR_TYPE_DECIMAL) {
        unsigned __int128 bits = (unsigned __int128)value->u.decimal;
        message->data.len = DECIMAL_BYTES;
        message->data.data = weir_arena_alloc(arena, DECIMAL_BYTES);
        weir_le_put_u64(message->data.data, (uint64_t)bits);
        weir_le_put_u64(message->data.data + 8, (uint64_t)(bits >> 64));
    } else if (id == WEIR_TYPE_FLOAT || id == WEIR_TYPE_DOUBLE) {
        memcpy(&message->f64_bits, &value->u.f64, sizeof(message->f64_bits));
    } else {
        message->i64 = id == WEIR_TYPE_BOOLEAN ? value->u.boolean : value->u.i64;
    }
    return message;
}

/* Whether a whole number fits the column that a literal of this type is spread into. */
static bool integer_fits(enum weir_type_id id, int64_t value)
{
    uint32_t bytes = id == WEIR_TYPE_BOOLEAN ? 0 : weir_type_width(id);
    if (bytes == 0) {
        return value == 0 || value == 1;
    }
    int64_t high = bytes == 8 ? INT64_MAX : ((int64_t)1 << (bytes * 8 - 1)) - 1;
    return value <= high && value >= -high - 1;
}

enum weir_rc weir_value_decode(const Weir__Plan__Value *message, struct weir_arena *arena, struct weir_value *out_value,
                               struct weir_error *err)
{
    if (message == NULL) {
        return weir_error_set(err, WEIR_CORRUPT, "plan: a literal has no value");
    }
    struct weir_value value = {.is_null = message->is_null != 0};
    enum weir_rc rc = weir_type_decode(message->type, &value.type, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    enum weir_type_id id = value.type.id;
    if (value.is_null) {
        *out_value = value;
        return WEIR_OK;
    }
    if (weir_type_is_string(id)) {
        value.u.str = weir_arena_slice(arena, weir_slice(message->data.data, message->data.len));
    } else if (id == WEIR_TYPE_DECIMAL && message->data.len == DECIMAL_BYTES) {
        unsigned __int128 bits = weir_le_get_u64(message->data.data);
        bits |= (unsigned __int128)weir_le_get_u64(message->data.data + 8) << 64;
        value.u.decimal = (__int128)bits;
    } else if (id == WEIR_TYPE_FLOAT || id == WEIR_TYPE_DOUBLE) {
        memcpy(&value.u.f64, &message->f64_bits, sizeof(value.u.f64));
    } else if (id != WEIR_TYPE_NULL && id != WEIR_TYPE_DECIMAL && integer_fits(id, message->i64)) {
        if (id == WEIR_TYPE_BOOLEAN) {
            value.u.boolean = message->i64 != 0;
        } else {
            value.u.i64 = message->i64;
        }
    } else {
        return weir_error_set(err, WEIR_CORRUPT, "plan: a literal does not fit its type %s", weir_type_text(value.type).text);
    }
    *out_value = value;
    return WEIR_OK;
}
