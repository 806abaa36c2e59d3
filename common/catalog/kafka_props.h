/*
 * `properties.*` of a Kafka table: names and values of the Java client's configuration, turned into librdkafka's. The rows are kafka_props.def.
 *
 * Pure, and without librdkafka: the JobManager checks with it, the TaskManager maps with it. Names here are without "properties.".
 */
#ifndef WEIR_COMMON_CATALOG_KAFKA_PROPS_H
#define WEIR_COMMON_CATALOG_KAFKA_PROPS_H

#include "common/base/arena.h"
#include "common/base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Whose property it is: bits. A source table makes a consumer, a sink table a producer. */
enum weir_kafka_for { WEIR_KAFKA_FOR_CONSUMER = 1, WEIR_KAFKA_FOR_PRODUCER = 2, WEIR_KAFKA_FOR_BOTH = 3 };

struct weir_kafka_prop {
    const char *name;
    const char *value;
    bool resolved; /* value came out of a secret: taken as it is and not shown */
};

/* One setting of librdkafka's. */
struct weir_kafka_setting {
    const char *property; /* that it comes from */
    const char *name;
    const char *value;
    bool resolved; /* as the property's */
    bool secret;   /* never to be shown */
};

/* Names for lists and tests, NULL behind the last; a property with several rows comes several times. */
const char *weir_kafka_prop_at(uint32_t i);

/* Whether the property only ever stands in a job file as ${file:...} or ${env:...}. */
bool weir_kafka_prop_secret(const char *name);

/* One property at submission: known (else the nearest name is offered), not Weir's own, a valid value as far as it is no secret, a secret
 * not written out. Never shows a secret's value. INVALID. */
enum weir_rc weir_kafka_prop_check(const char *name, const char *value, struct weir_error *err) WEIR_CHECKED;

/* Those of the properties that concern the roles (bits of weir_kafka_for) as settings, in arena's memory (strings may be borrowed from
 * props). INVALID: a value, one that needs another, or a property that is for none of the roles and for_role_only says that this is wrong. */
enum weir_rc weir_kafka_props_map(const struct weir_kafka_prop *props, uint32_t nprops, uint32_t roles, bool for_role_only,
                                  struct weir_arena *arena, struct weir_kafka_setting **out_settings, uint32_t *out_count,
                                  struct weir_error *err) WEIR_CHECKED;

#endif
