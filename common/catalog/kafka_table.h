/*
 * What a Kafka table's options must be together: for weir_connector_check_table.
 */
#ifndef WEIR_COMMON_CATALOG_KAFKA_TABLE_H
#define WEIR_COMMON_CATALOG_KAFKA_TABLE_H

#include "common/catalog/connector_desc.h"

/* A table of connector kafka or upsert-kafka in the given role (bits). INVALID: the first problem. Pure. */
enum weir_rc weir__kafka_table_check(const struct weir_table_spec *table, uint32_t roles, struct weir_error *err) WEIR_CHECKED;

#endif
