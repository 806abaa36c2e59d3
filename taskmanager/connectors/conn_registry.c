#include "taskmanager/connectors/conn_registry.h"

static const struct weir_source_vtable *const sources[] = {
    &weir__datagen_source,
    &weir__file_source,
    &weir__kafka_source,
};

static const struct weir_sink_vtable *const sinks[] = {
    &weir__blackhole_sink,
    &weir__file_sink,
    &weir__kafka_sink,
    &weir__print_sink,
    &weir__upsert_kafka_sink,
};

const struct weir_source_vtable *weir_conn_source(const char *connector)
{
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        if (strcmp(sources[i]->connector, connector) == 0) {
            return sources[i];
        }
    }
    return NULL;
}

const struct weir_sink_vtable *weir_conn_sink(const char *connector)
{
    for (size_t i = 0; i < sizeof(sinks) / sizeof(sinks[0]); i++) {
        if (strcmp(sinks[i]->connector, connector) == 0) {
            return sinks[i];
        }
    }
    return NULL;
}
