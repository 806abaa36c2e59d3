/*
 * Rows as Kafka records: the value by the table's format, the key by key.format from the key's columns, the partition by sink.partitioner.
 *
 * K1  kafka: each row is a record; its key is key.fields, or null without. The format refuses rows that are no inserts.
 * K2  upsert-kafka: the key is the table's primary key. +I and +U give the row, -D gives a null value (a tombstone). -U gives nothing when its
 *     +U of the same key is the row behind it, and a tombstone otherwise: then the new row went elsewhere (another key, or a filter dropped
 *     it), and the old one must not stay.
 * K3  Partition -1: librdkafka's partitioner, murmur2_random, which puts keys where the Java client puts them, and rows without key anywhere.
 *     fixed: subtask modulo partitions, as Flink's FlinkFixedPartitioner. round-robin: the rows of a batch to one partition, those of the next
 *     to the next one, so that requests stay large.
 *
 * The task's thread; pure but for memory.
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_KAFKA_ENCODE_H
#define WEIR_TASKMANAGER_CONNECTORS_KAFKA_ENCODE_H

#include "taskmanager/connectors/connector.h"
#include "taskmanager/connectors/kafka_record.h"

struct weir_kafka_encoder;

/* ctx is borrowed for the encoder's life. `upsert`: K2. INVALID: options or the primary key. */
enum weir_rc weir__kafka_encoder_create(const struct weir_conn_ctx *ctx, bool upsert, struct weir_kafka_encoder **out_encoder,
                                        struct weir_error *err) WEIR_CHECKED;
void weir__kafka_encoder_destroy(struct weir_kafka_encoder *encoder); /* accepts NULL */

/* Whether sink.partitioner needs the number of the topic's partitions; encode must not be called before it is set (> 0). */
bool weir__kafka_encoder_needs_partitions(const struct weir_kafka_encoder *encoder);
void weir__kafka_encoder_set_partitions(struct weir_kafka_encoder *encoder, uint32_t count);

/* The records of a batch, in order; borrowed until the next call. UNSUPPORTED: K1. */
enum weir_rc weir__kafka_encode(struct weir_kafka_encoder *encoder, const struct weir_batch *batch, const struct weir_kafka_record **out_records,
                                uint32_t *out_count, struct weir_error *err) WEIR_CHECKED;

/* Memory that it holds: for the account. */
size_t weir__kafka_encoder_bytes(const struct weir_kafka_encoder *encoder);

#endif
