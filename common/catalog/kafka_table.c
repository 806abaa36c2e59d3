#include "common/catalog/kafka_table.h"

#include "common/catalog/kafka_props.h"

#include <ctype.h>

_Static_assert(WEIR_ROLE_SOURCE == (int)WEIR_KAFKA_FOR_CONSUMER && WEIR_ROLE_SINK == (int)WEIR_KAFKA_FOR_PRODUCER,
               "a table's roles are its clients'");

enum { TOPIC_BYTES_MAX = 249, SHOWN_MAX = 80 };

static bool option_is(const struct weir_table_spec *table, const char *name, const char *value)
{
    const char *set = weir_connector_option(table, name);
    return set != NULL && strcmp(set, value) == 0;
}

static enum weir_rc check_topic(const char *topic, struct weir_error *err)
{
    size_t len = strlen(topic);
    bool legal = len <= TOPIC_BYTES_MAX && strcmp(topic, ".") != 0 && strcmp(topic, "..") != 0;
    for (size_t i = 0; i < len; i++) {
        legal = legal && (isalnum((unsigned char)topic[i]) || strchr("._-", topic[i]) != NULL);
    }
    if (legal) {
        return WEIR_OK;
    }
    if (strpbrk(topic, ";,") != NULL) {
        return weir_error_set(err, WEIR_INVALID, "option \"topic\": \"%.*s\" is a list; a table is one topic (read several as several "
                              "tables, with a union)", SHOWN_MAX, topic);
    }
    return weir_error_set(err, WEIR_INVALID, "option \"topic\": \"%.*s\" cannot name a topic; expected 1 to %d letters, digits, ., _ and -",
                          SHOWN_MAX, topic, TOPIC_BYTES_MAX);
}

/* An option that goes with one value of another. */
static enum weir_rc check_pair(const struct weir_table_spec *table, const char *option, const char *mode, const char *value,
                               struct weir_error *err)
{
    bool set = weir_table_option(table, option) != NULL;
    bool same = option_is(table, mode, value);
    if (same && !set) {
        return weir_error_set(err, WEIR_INVALID, "option \"%s\": %s needs the option \"%s\"", mode, value, option);
    }
    if (set && !same) {
        return weir_error_set(err, WEIR_INVALID, "option \"%s\" is for \"%s\": %s, which is %s", option, mode, value,
                              weir_connector_option(table, mode));
    }
    return WEIR_OK;
}

static enum weir_rc check_source(const struct weir_table_spec *table, struct weir_error *err)
{
    enum weir_rc rc = check_pair(table, "scan.startup.timestamp-millis", "scan.startup.mode", "timestamp", err);
    if (rc == WEIR_OK) {
        rc = check_pair(table, "scan.bounded.timestamp-millis", "scan.bounded.mode", "timestamp", err);
    }
    if (rc == WEIR_OK && option_is(table, "scan.startup.mode", "group-offsets") &&
        weir_table_option(table, "properties.group.id") == NULL) {
        return weir_error_set(err, WEIR_INVALID, "option \"scan.startup.mode\": group-offsets%s needs the option "
                              "\"properties.group.id\"", weir_table_option(table, "scan.startup.mode") == NULL ? " (the default)" : "");
    }
    return rc;
}

static enum weir_rc check_sink(const struct weir_table_spec *table, struct weir_error *err)
{
    static const char guarantee[] = "sink.delivery-guarantee";
    const char *acks = weir_table_option(table, "properties.acks");
    bool exactly_once = option_is(table, guarantee, "exactly-once");
    enum weir_rc rc = check_pair(table, "sink.transactional-id-prefix", guarantee, "exactly-once", err);
    if (rc != WEIR_OK) {
        return rc;
    }
    if (weir_table_option(table, "sink.log.bytes.max") != NULL && !exactly_once) {
        return weir_error_set(err, WEIR_INVALID, "option \"sink.log.bytes.max\" is for \"%s\": exactly-once, which is %s", guarantee,
                              weir_connector_option(table, guarantee));
    }
    if (acks != NULL && strchr(acks, '$') == NULL && !option_is(table, guarantee, "none") &&
        (strcmp(acks, "0") == 0 || (exactly_once && strcmp(acks, "1") == 0))) {
        return weir_error_set(err, WEIR_INVALID, "option \"properties.acks\": with %s rows may be lost, and \"%s\" is %s; expected all",
                              acks, guarantee, weir_connector_option(table, guarantee));
    }
    if (exactly_once && option_is(table, "properties.enable.idempotence", "false")) {
        return weir_error_set(err, WEIR_INVALID, "option \"properties.enable.idempotence\": transactions need it");
    }
    bool fields = weir_table_option(table, "key.fields") != NULL;
    bool format = weir_table_option(table, "key.format") != NULL;
    if (strcmp(table->connector, "kafka") == 0 && fields != format) {
        return weir_error_set(err, WEIR_INVALID, "option \"%s\" needs the option \"%s\"", fields ? "key.fields" : "key.format",
                              fields ? "key.format" : "key.fields");
    }
    return WEIR_OK;
}

static enum weir_rc check_props(const struct weir_table_spec *table, uint32_t roles, struct weir_error *err)
{
    static const char prefix[] = "properties.";
    struct weir_arena *arena = weir_arena_create(4096);
    struct weir_kafka_prop *props = weir_arena_alloc(arena, (table->noptions + 1) * sizeof(*props));
    struct weir_kafka_setting *settings = NULL;
    uint32_t count = 0;
    uint32_t nsettings = 0;
    for (uint32_t i = 0; i < table->noptions; i++) {
        const struct weir_option *option = &table->options[i];
        if (strncmp(option->key, prefix, sizeof(prefix) - 1) == 0) {
            props[count++] = (struct weir_kafka_prop){.name = option->key + sizeof(prefix) - 1, .value = option->value};
        }
    }
    enum weir_rc rc = weir_kafka_props_map(props, count, roles, true, arena, &settings, &nsettings, err);
    weir_arena_destroy(arena);
    return rc;
}

enum weir_rc weir__kafka_table_check(const struct weir_table_spec *table, uint32_t roles, struct weir_error *err)
{
    enum weir_rc rc = check_topic(weir_table_option(table, "topic"), err);
    if (rc == WEIR_OK && weir_table_option(table, "properties.bootstrap.servers") == NULL) {
        rc = weir_error_set(err, WEIR_INVALID, "connector \"%s\" needs the option \"properties.bootstrap.servers\" (such as "
                            "broker1:9092,broker2:9092)", table->connector);
    }
    if (rc == WEIR_OK && (roles & WEIR_ROLE_SOURCE) != 0) {
        rc = check_source(table, err);
    }
    if (rc == WEIR_OK && (roles & WEIR_ROLE_SINK) != 0) {
        rc = check_sink(table, err);
    }
    return rc == WEIR_OK ? check_props(table, roles, err) : rc;
}
