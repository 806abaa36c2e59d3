/*
 * The splits of a Kafka table as a source: one a partition, with the offsets it is read from and to, resolved once, before the first read.
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_KAFKA_SOURCE_SPLITS_H
#define WEIR_TASKMANAGER_CONNECTORS_KAFKA_SOURCE_SPLITS_H

#include "taskmanager/connectors/connector.h"

enum { WEIR_KAFKA_UNBOUNDED = -1 };

struct weir_kafka_split {
    int64_t start;
    int64_t stop; /* the first offset that is not read; WEIR_KAFKA_UNBOUNDED: there is none */
    int32_t partition;
    struct weir_slice topic;
};

/* A split's data, as it stands in the JobManager's log and in checkpoints: i64 start | i64 stop | u32 partition | topic. */
void weir__kafka_split_encode(const struct weir_kafka_split *split, struct weir_buf *out);
/* False: not a split. The topic is borrowed from bytes. */
bool weir__kafka_split_decode(struct weir_slice bytes, struct weir_kafka_split *out_split);

/* Asks the brokers, within timeout_ms in all, and calls add for each partition in order; without any when it fails. Blocks. NOT_FOUND: no such
 * topic, or no committed offset; EXTERNAL: no broker answers; REFUSED; INVALID. */
enum weir_rc weir__kafka_splits_list(const struct weir_table_spec *table, int64_t timeout_ms,
                                     void (*add)(void *add_ctx, struct weir_split split), void *add_ctx,
                                     struct weir_error *err) WEIR_CHECKED;

#endif
