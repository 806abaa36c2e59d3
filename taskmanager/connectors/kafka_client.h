/*
 * What the Kafka source and sinks share: librdkafka clients configured from a table, their errors as ours, their logs in our log.
 *
 * Property names are the Java client's (`properties.*`), mapped by common/catalog/kafka_props.h, which also refuses unknown ones at submission.
 * Secrets (${file:...}, ${env:...}) are resolved here, on the TaskManager, and never logged.
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_KAFKA_CLIENT_H
#define WEIR_TASKMANAGER_CONNECTORS_KAFKA_CLIENT_H

#include "taskmanager/connectors/connector.h"

#include <librdkafka/rdkafka.h>

enum weir_kafka_role { WEIR_KAFKA_CONSUMER, WEIR_KAFKA_PRODUCER };

/* The table's properties that concern the role, mapped, over Weir's defaults (client.id from the table's name, log level, no automatic
 * commit or offset store, ...). The caller adds what its part needs (weir__kafka_conf_set) and hands it to weir__kafka_client_create, or
 * calls rd_kafka_conf_destroy. The conf's opaque, log and error callbacks are the client's: use those of messages and topics, or events.
 * INVALID names the property; NOT_FOUND: a secret's file or variable. */
enum weir_rc weir__kafka_conf_create(const struct weir_table_spec *table, enum weir_kafka_role role, rd_kafka_conf_t **out_conf,
                                     struct weir_error *err) WEIR_CHECKED;

/* A setting by librdkafka's own name. INVALID. */
enum weir_rc weir__kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct weir_error *err) WEIR_CHECKED;

struct weir_kafka_client;

/* The client: takes conf, whatever comes of it. Its log lines go to a logger bound to `log` (any thread; outlives the client). */
enum weir_rc weir__kafka_client_create(const struct weir_log *log, const char *table_name, enum weir_kafka_role role, rd_kafka_conf_t *conf_take,
                                       struct weir_kafka_client **out_client, struct weir_error *err) WEIR_CHECKED;
/* Closes connections without waiting for undelivered messages (they are purged). May take a moment. Accepts NULL. */
void weir__kafka_client_destroy(struct weir_kafka_client *client);

/* As destroy, on a thread of its own and without a word in the log: for a client with a request that the brokers may not answer for long (its
 * end waits for that). The owner's queues are destroyed before. Not NULL. */
void weir__kafka_client_abandon(struct weir_kafka_client *client);

rd_kafka_t *weir__kafka_client_handle(const struct weir_kafka_client *client);

/* A fatal error or one that will not pass (authentication, unknown topic) since the client was made: its code and text, else OK. Any thread.
 * Errors other than fatal ones are noticed when the owner serves the client's main queue (rd_kafka_poll, or the consumer's queue that it was
 * redirected to) without taking errors as events. */
enum weir_rc weir__kafka_client_error(const struct weir_kafka_client *client, struct weir_error *err) WEIR_CHECKED;

/* librdkafka's error as ours: EXTERNAL for what may pass (brokers down, time-outs), NOT_FOUND unknown topic or partition, REFUSED authentication and
 * authorization, INVALID configuration, STALE fenced, DATA message too large or corrupt. `what` begins the text: "topic vehicles". */
enum weir_rc weir__kafka_error(struct weir_error *err, rd_kafka_resp_err_t code, const char *detail, const char *what) WEIR_CHECKED;

/* The number of partitions of a topic, asked from the brokers within timeout_ms. NOT_FOUND, EXTERNAL, REFUSED. Blocks. */
enum weir_rc weir__kafka_partitions(rd_kafka_t *handle, const char *topic, int timeout_ms, uint32_t *out_count, struct weir_error *err) WEIR_CHECKED;

#endif
