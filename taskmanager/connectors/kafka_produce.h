/*
 * Records into a Kafka topic, each as soon as it comes: the delivery guarantees none and at-least-once.
 *
 * Q1  reliable (at-least-once): an idempotent producer with acks=all, so that retries neither lose, double nor reorder (unless a property asks
 *     for less; acks=0 is refused); every message counts until its delivery is reported, and the first one that cannot be delivered fails
 *     every later call, naming topic, partition and reason. Not reliable (none): what cannot be delivered is counted and logged.
 * Q2  Nothing blocks and nothing polls: librdkafka's queue of delivery reports wakes the task, and only while it waits for one (a full buffer, a
 *     flush); it is drained on the task's thread.
 * Q3  Memory is bounded by properties.buffer.memory (32 MiB) and MESSAGES_MAX messages; what is in flight is charged to the task's account.
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_KAFKA_PRODUCE_H
#define WEIR_TASKMANAGER_CONNECTORS_KAFKA_PRODUCE_H

#include "taskmanager/connectors/connector.h"
#include "taskmanager/connectors/kafka_record.h"

struct weir_kafka_produce;

/* For the table of ctx, which is borrowed for the producer's life. Connects in the background. INVALID, NOT_FOUND: options, secrets. */
enum weir_rc weir__kafka_produce_create(const struct weir_conn_ctx *ctx, bool reliable, struct weir_kafka_produce **out_produce,
                                        struct weir_error *err) WEIR_CHECKED;
/* None of its work is in flight with the executor. What is not delivered is dropped; does not wait for brokers. Accepts NULL. */
void weir__kafka_produce_destroy(struct weir_kafka_produce *produce);

/* Takes the first *out_taken of the records, copied. AGAIN: the buffer is full before the last; offer the rest after a wake. DATA: a record is
 * larger than allowed; NOT_FOUND: no such topic (within seconds); REFUSED; EXTERNAL: not delivered in time. */
enum weir_rc weir__kafka_produce(struct weir_kafka_produce *produce, const struct weir_kafka_record *records, uint32_t count,
                                 uint32_t *out_taken, struct weir_error *err) WEIR_CHECKED;

/* OK: everything taken so far is delivered (or, if not reliable, given up). AGAIN: not yet, the task will be woken. Errors as above. */
enum weir_rc weir__kafka_produce_flush(struct weir_kafka_produce *produce, struct weir_error *err) WEIR_CHECKED;

/* How long a message may take, after which it counts as undeliverable. */
int64_t weir__kafka_produce_timeout_ms(const struct weir_conn_ctx *ctx);

#endif
