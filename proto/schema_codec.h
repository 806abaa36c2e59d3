/*
 * Types, schemas and values as messages of plan.proto and back. Encoded messages and everything they point to lie in the arena given
 * (their strings are borrowed from the source).
 */
#ifndef WEIR_PROTO_SCHEMA_CODEC_H
#define WEIR_PROTO_SCHEMA_CODEC_H

#include "common/base/arena.h"
#include "common/data/schema.h"
#include "common/data/value.h"

#include "proto/plan.pb-c.h"

/* The same text for a message that will only be packed: protobuf-c's members are not const. */
char *weir_proto_text(const char *text);

Weir__Plan__Type *weir_type_encode(struct weir_type type, struct weir_arena *arena);
/* CORRUPT: a field out of its range, or no type at all (NULL). */
enum weir_rc weir_type_decode(const Weir__Plan__Type *message, struct weir_type *out_type, struct weir_error *err) WEIR_CHECKED;

Weir__Plan__Schema *weir_schema_encode(const struct weir_schema *schema, struct weir_arena *arena);
enum weir_rc weir_schema_decode(const Weir__Plan__Schema *message, struct weir_schema **out_schema, struct weir_error *err)
    WEIR_CHECKED;

Weir__Plan__Value *weir_value_encode(const struct weir_value *value, struct weir_arena *arena);
/* The value's string is copied into the arena. */
enum weir_rc weir_value_decode(const Weir__Plan__Value *message, struct weir_arena *arena, struct weir_value *out_value,
                               struct weir_error *err) WEIR_CHECKED;

#endif
