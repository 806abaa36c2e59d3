/*
 * An output record of a Kafka sink as bytes, as it stands in an epoch log (so the layout is on disk: version it by flags):
 *
 *     u8 flags (1: has a key, 2: has a value; without: null) | i32 partition, -1: by the key's hash, or any | [u32 length, key] | the rest: value
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_KAFKA_RECORD_H
#define WEIR_TASKMANAGER_CONNECTORS_KAFKA_RECORD_H

#include "common/base/buf.h"

struct weir_kafka_record {
    int32_t partition;
    bool has_key, has_value;
    struct weir_slice key, value;
};

static inline void weir__kafka_record_encode(const struct weir_kafka_record *record, struct weir_buf *out)
{
    weir_buf_put_u8(out, (uint8_t)((record->has_key ? 1 : 0) | (record->has_value ? 2 : 0)));
    weir_buf_put_u32(out, (uint32_t)record->partition);
    if (record->has_key) {
        weir_buf_put_bytes(out, record->key);
    }
    if (record->has_value) {
        weir_buf_put_slice(out, record->value);
    }
}

/* False: not a record. */
static inline bool weir__kafka_record_decode(struct weir_slice bytes, struct weir_kafka_record *out_record)
{
    struct weir_reader reader = weir_reader(bytes);
    uint8_t flags = weir_read_u8(&reader);
    *out_record = (struct weir_kafka_record){.has_key = (flags & 1) != 0, .has_value = (flags & 2) != 0};
    out_record->partition = (int32_t)weir_read_u32(&reader);
    if (out_record->has_key) {
        out_record->key = weir_read_bytes(&reader);
    }
    out_record->value = reader.rest;
    return !reader.failed && flags <= 3 && (out_record->has_value || out_record->value.len == 0);
}

#endif
