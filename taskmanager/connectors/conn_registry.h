/*
 * The implementations behind the table in conn_registry.c.
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_CONN_REGISTRY_H
#define WEIR_TASKMANAGER_CONNECTORS_CONN_REGISTRY_H

#include "taskmanager/connectors/connector.h"

extern const struct weir_source_vtable weir__datagen_source;
extern const struct weir_source_vtable weir__file_source;
extern const struct weir_source_vtable weir__kafka_source;
extern const struct weir_sink_vtable weir__blackhole_sink;
extern const struct weir_sink_vtable weir__file_sink;
extern const struct weir_sink_vtable weir__kafka_sink;
extern const struct weir_sink_vtable weir__print_sink;
extern const struct weir_sink_vtable weir__upsert_kafka_sink;

#endif
