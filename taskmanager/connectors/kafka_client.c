#include "taskmanager/connectors/kafka_client.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/catalog/kafka_props.h"
#include "common/catalog/secret.h"
#include "common/runtime/sync.h"
#include "common/runtime/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { CONF_ERROR_MAX = 512, CLIENT_ID_MAX = 300, LAST_LOG_MAX = 160 };

struct weir_kafka_client {
    rd_kafka_t *handle;
    enum weir_kafka_role role;
    struct weir_log *log;
    struct weir_mutex mutex; /* of what follows: librdkafka's threads write it */
    bool abandoned;          /* by its owner: nothing is logged any more */
    enum weir_rc rc;         /* the first error that will not pass */
    struct weir_error error;
    char last_log[LAST_LOG_MAX]; /* why connections fail, as librdkafka logged it last */
};

/* --- configuration ---------------------------------------------------------------------------------------------------- */

struct setting {
    const char *name, *value;
};

static const struct setting common_defaults[] = {
    {"log_level", "4"}, {"socket.keepalive.enable", "true"}, {"socket.nagle.disable", "true"}, {"log.connection.close", "false"},
};

/* Reading ahead is bounded for each partition; the broker's answers are checked as the Java client does; where to begin is the source's. */
static const struct setting consumer_defaults[] = {
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},
    {"isolation.level", "read_committed"},
    {"check.crcs", "true"},
    {"queued.min.messages", "1000000"},
    {"fetch.error.backoff.ms", "100"},
};

static const struct setting producer_defaults[] = {
    {"compression.type", "lz4"}, {"batch.num.messages", "10000"}, {"linger.ms", "5"},
};

/* librdkafka's texts repeat the value: they are given on only where it is no secret. */
static enum weir_rc set_quietly(rd_kafka_conf_t *conf, const struct weir_kafka_setting *setting, struct weir_error *err)
{
    char text[CONF_ERROR_MAX];
    if (rd_kafka_conf_set(conf, setting->name, setting->value, text, sizeof(text)) == RD_KAFKA_CONF_OK) {
        return WEIR_OK;
    }
    return setting->secret ? weir_error_set(err, WEIR_INVALID, "option \"properties.%s\": librdkafka refuses its value", setting->property)
                           : weir_error_set(err, WEIR_INVALID, "option \"properties.%s\": %s", setting->property, text);
}

enum weir_rc weir__kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct weir_error *err)
{
    char text[CONF_ERROR_MAX];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) != RD_KAFKA_CONF_OK) {
        return weir_error_set(err, WEIR_INVALID, "Kafka client setting \"%s\": %s", name, text);
    }
    return WEIR_OK;
}

static enum weir_rc set_all(rd_kafka_conf_t *conf, const struct setting *settings, size_t count, struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    for (size_t i = 0; rc == WEIR_OK && i < count; i++) {
        rc = weir__kafka_conf_set(conf, settings[i].name, settings[i].value, err);
    }
    return rc;
}

static enum weir_rc set_defaults(rd_kafka_conf_t *conf, const struct weir_table_spec *table, enum weir_kafka_role role,
                                 struct weir_error *err)
{
    char client_id[CLIENT_ID_MAX];
    (void)snprintf(client_id, sizeof(client_id), "weir-%s", table->name);
    enum weir_rc rc = weir__kafka_conf_set(conf, "client.id", client_id, err);
    if (rc == WEIR_OK) {
        rc = set_all(conf, common_defaults, sizeof(common_defaults) / sizeof(common_defaults[0]), err);
    }
    if (rc == WEIR_OK) {
        rc = role == WEIR_KAFKA_CONSUMER
                 ? set_all(conf, consumer_defaults, sizeof(consumer_defaults) / sizeof(consumer_defaults[0]), err)
                 : set_all(conf, producer_defaults, sizeof(producer_defaults) / sizeof(producer_defaults[0]), err);
    }
    return rc;
}

/* The table's properties with their references resolved, but for those inside JAAS text: what they stand for may hold quotes. */
static enum weir_rc read_props(const struct weir_table_spec *table, struct weir_arena *arena, struct weir_kafka_prop *props,
                               uint32_t *out_count, struct weir_error *err)
{
    static const char prefix[] = "properties.";
    uint32_t count = 0;
    for (uint32_t i = 0; i < table->noptions; i++) {
        const struct weir_option *option = &table->options[i];
        if (strncmp(option->key, prefix, sizeof(prefix) - 1) != 0) {
            continue;
        }
        struct weir_kafka_prop *prop = &props[count++];
        *prop = (struct weir_kafka_prop){.name = option->key + sizeof(prefix) - 1, .value = option->value};
        bool later = strcmp(prop->name, "sasl.jaas.config") == 0 && !weir_secret_whole(option->value);
        if (!later && weir_secret_has(option->value)) {
            if (weir_secret_resolve(option->value, arena, &prop->value, err) != WEIR_OK) {
                return weir_error_prefix(err, "option \"%s\"", option->key);
            }
            prop->resolved = true;
        }
    }
    *out_count = count;
    return WEIR_OK;
}

/* The Java client's rule: a producer is idempotent, so that repeats neither double nor reorder, unless something set speaks against it. */
static enum weir_rc set_idempotence(rd_kafka_conf_t *conf, const struct weir_kafka_setting *settings, uint32_t count,
                                    struct weir_error *err)
{
    enum { IN_FLIGHT_MAX = 5 };
    for (uint32_t i = 0; i < count; i++) {
        const struct weir_kafka_setting *setting = &settings[i];
        if (strcmp(setting->name, "enable.idempotence") == 0 ||
            (strcmp(setting->name, "acks") == 0 && strcmp(setting->value, "-1") != 0) ||
            (strcmp(setting->name, "retries") == 0 && strcmp(setting->value, "0") == 0) ||
            (strcmp(setting->name, "max.in.flight.requests.per.connection") == 0 && strtol(setting->value, NULL, 10) > IN_FLIGHT_MAX)) {
            return WEIR_OK;
        }
    }
    return weir__kafka_conf_set(conf, "enable.idempotence", "true", err);
}

static enum weir_rc set_props(rd_kafka_conf_t *conf, const struct weir_table_spec *table, enum weir_kafka_role role,
                              struct weir_arena *arena, struct weir_error *err)
{
    struct weir_kafka_prop *props = weir_arena_zalloc(arena, (table->noptions + 1) * sizeof(*props));
    struct weir_kafka_setting *settings = NULL;
    uint32_t nprops = 0;
    uint32_t count = 0;
    enum weir_rc rc = read_props(table, arena, props, &nprops, err);
    if (rc == WEIR_OK) {
        uint32_t roles = role == WEIR_KAFKA_CONSUMER ? WEIR_KAFKA_FOR_CONSUMER : WEIR_KAFKA_FOR_PRODUCER;
        rc = weir_kafka_props_map(props, nprops, roles, false, arena, &settings, &count, err);
    }
    if (rc == WEIR_OK && role == WEIR_KAFKA_PRODUCER) {
        rc = set_idempotence(conf, settings, count, err);
    }
    for (uint32_t i = 0; rc == WEIR_OK && i < count; i++) {
        struct weir_kafka_setting *setting = &settings[i];
        if (!setting->resolved && weir_secret_has(setting->value)) {
            rc = weir_secret_resolve(setting->value, arena, &setting->value, err);
            rc = rc == WEIR_OK ? WEIR_OK : weir_error_prefix(err, "option \"properties.%s\"", setting->property);
        }
        if (rc == WEIR_OK) {
            rc = set_quietly(conf, setting, err);
        }
        if (rc == WEIR_OK && strcmp(setting->name, "sasl.mechanism") == 0 && strcasecmp(setting->value, "GSSAPI") == 0) {
            rc = weir__kafka_conf_set(conf, "sasl.kerberos.kinit.cmd", "true", err); /* the ticket is the TaskManager's environment's */
        }
    }
    return rc;
}

enum weir_rc weir__kafka_conf_create(const struct weir_table_spec *table, enum weir_kafka_role role, rd_kafka_conf_t **out_conf,
                                     struct weir_error *err)
{
    struct weir_arena *arena = weir_arena_create(4096);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    enum weir_rc rc = set_defaults(conf, table, role, err);
    if (rc == WEIR_OK) {
        rc = set_props(conf, table, role, arena, err);
    }
    if (rc == WEIR_OK) {
        *out_conf = conf;
    } else {
        rd_kafka_conf_destroy(conf);
        (void)weir_error_prefix(err, "table \"%s\"", table->name);
    }
    weir_arena_destroy(arena);
    return rc;
}

/* --- errors ----------------------------------------------------------------------------------------------------------- */

static enum weir_rc classify(rd_kafka_resp_err_t code)
{
    int number = code; /* the enumeration has hundreds of values */
    switch (number) {
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        return WEIR_NOT_FOUND;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE:
    case RD_KAFKA_RESP_ERR_SECURITY_DISABLED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_AUTHORIZATION_FAILED:
        return WEIR_REFUSED;
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
    case RD_KAFKA_RESP_ERR__NOT_CONFIGURED:
    case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS:
    case RD_KAFKA_RESP_ERR_INVALID_GROUP_ID:
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
        return WEIR_INVALID;
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR_TRANSACTION_COORDINATOR_FENCED:
        return WEIR_STALE;
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
        return WEIR_DATA;
    default:
        return WEIR_EXTERNAL;
    }
}

enum weir_rc weir__kafka_error(struct weir_error *err, rd_kafka_resp_err_t code, const char *detail, const char *what)
{
    weir_assert(code != RD_KAFKA_RESP_ERR_NO_ERROR);
    const char *name = rd_kafka_err2str(code);
    bool more = detail != NULL && detail[0] != '\0' && strcmp(detail, name) != 0;
    return weir_error_set(err, classify(code), "%s: Kafka: %s (%s)%s%s", what, name, rd_kafka_err2name(code), more ? ": " : "",
                          more ? detail : "");
}

/* Whether it will be the same when it is tried again. */
static bool will_not_pass(enum weir_rc rc)
{
    return rc == WEIR_NOT_FOUND || rc == WEIR_REFUSED || rc == WEIR_INVALID || rc == WEIR_STALE;
}

/* --- the client ------------------------------------------------------------------------------------------------------- */

/* One line, unless the client is abandoned: then the log may be gone. */
static void client_log(struct weir_kafka_client *client, enum weir_log_level level, const char *event, const char *key, const char *value,
                       const char *text)
{
    weir_mutex_lock(&client->mutex);
    if (!client->abandoned) {
        weir_log(client->log, level, event, key, value, text == NULL ? NULL : "text", text, NULL);
    }
    weir_mutex_unlock(&client->mutex);
}

static void client_on_error(rd_kafka_t *handle, int code, const char *reason, void *opaque)
{
    struct weir_kafka_client *client = opaque;
    struct weir_error err = {0};
    (void)handle;
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        return; /* weir__kafka_client_error asks for it */
    }
    enum weir_rc rc = weir__kafka_error(&err, (rd_kafka_resp_err_t)code, reason, "client");
    client_log(client, WEIR_LOG_WARN, "kafka_client_error", "error", err.text, NULL);
    if (will_not_pass(rc)) {
        weir_mutex_lock(&client->mutex);
        if (client->rc == WEIR_OK) {
            client->rc = rc;
            client->error = err;
        }
        weir_mutex_unlock(&client->mutex);
    }
}

static void client_on_log(const rd_kafka_t *handle, int level, const char *facility, const char *text)
{
    enum { SYSLOG_CRIT = 2, SYSLOG_WARNING = 4, SYSLOG_INFO = 6 };
    struct weir_kafka_client *client = rd_kafka_opaque(handle);
    enum weir_log_level ours = level <= SYSLOG_CRIT      ? WEIR_LOG_ERROR
                               : level <= SYSLOG_WARNING ? WEIR_LOG_WARN
                               : level <= SYSLOG_INFO    ? WEIR_LOG_INFO
                                                         : WEIR_LOG_DEBUG;
    client_log(client, ours, "kafka_client_log", "facility", facility, text);
    if (strcmp(facility, "FAIL") == 0) {
        weir_mutex_lock(&client->mutex);
        (void)snprintf(client->last_log, sizeof(client->last_log), "%s", text);
        weir_mutex_unlock(&client->mutex);
    }
}

enum weir_rc weir__kafka_client_create(const struct weir_log *log, const char *table_name, enum weir_kafka_role role,
                                       rd_kafka_conf_t *conf_take, struct weir_kafka_client **out_client, struct weir_error *err)
{
    char text[CONF_ERROR_MAX];
    struct weir_kafka_client *client = weir_calloc(1, sizeof(*client));
    client->role = role;
    client->log = log == NULL ? NULL : weir_log_bind(log, "table", table_name);
    weir_mutex_init(&client->mutex);
    rd_kafka_conf_set_opaque(conf_take, client);
    rd_kafka_conf_set_log_cb(conf_take, client_on_log);
    rd_kafka_conf_set_error_cb(conf_take, client_on_error);
    client->handle = rd_kafka_new(role == WEIR_KAFKA_CONSUMER ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, conf_take, text, sizeof(text));
    if (client->handle == NULL) {
        rd_kafka_resp_err_t code = rd_kafka_last_error();
        rd_kafka_conf_destroy(conf_take);
        weir__kafka_client_destroy(client);
        return weir_error_set(err, code == RD_KAFKA_RESP_ERR__INVALID_ARG ? WEIR_INVALID : WEIR_EXTERNAL,
                              "table \"%s\": the Kafka client cannot be made: %s", table_name, text);
    }
    *out_client = client;
    return WEIR_OK;
}

void weir__kafka_client_destroy(struct weir_kafka_client *client)
{
    if (client == NULL) {
        return;
    }
    if (client->handle != NULL) {
        if (client->role == WEIR_KAFKA_PRODUCER) {
            (void)rd_kafka_purge(client->handle, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
        }
        rd_kafka_destroy_flags(client->handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
    weir_log_destroy(client->log);
    weir_mutex_fini(&client->mutex);
    weir_free(client);
}

static void destroy_abandoned(void *ctx)
{
    weir__kafka_client_destroy(ctx);
}

void weir__kafka_client_abandon(struct weir_kafka_client *client)
{
    struct weir_thread *thread = NULL;
    struct weir_error err;
    weir_mutex_lock(&client->mutex);
    client->abandoned = true;
    weir_mutex_unlock(&client->mutex);
    if (weir_thread_start("kafka-end", destroy_abandoned, client, &thread, &err) == WEIR_OK) {
        weir_thread_detach(thread);
    } else {
        weir__kafka_client_destroy(client);
    }
}

rd_kafka_t *weir__kafka_client_handle(const struct weir_kafka_client *client)
{
    return client->handle;
}

enum weir_rc weir__kafka_client_error(const struct weir_kafka_client *client, struct weir_error *err)
{
    char text[CONF_ERROR_MAX];
    rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(client->handle, text, sizeof(text));
    if (fatal != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return weir__kafka_error(err, fatal, text, "client (fatal)");
    }
    struct weir_mutex *mutex = (struct weir_mutex *)(uintptr_t)&client->mutex; /* the lock is not part of what const promises */
    weir_mutex_lock(mutex);
    enum weir_rc rc = client->rc;
    if (rc != WEIR_OK) {
        *err = client->error;
    }
    weir_mutex_unlock(mutex);
    return rc;
}

/* --- partitions ------------------------------------------------------------------------------------------------------- */

/* Why connections fail, behind an error that only says that nobody answered. */
static void append_last_log(rd_kafka_t *handle, struct weir_error *err)
{
    struct weir_kafka_client *client = rd_kafka_opaque(handle);
    char last[LAST_LOG_MAX] = "";
    if (client != NULL) {
        weir_mutex_lock(&client->mutex);
        memcpy(last, client->last_log, sizeof(last));
        weir_mutex_unlock(&client->mutex);
    }
    if (last[0] != '\0') {
        struct weir_error before = *err;
        (void)weir_error_set(err, before.rc, "%.300s; last: %s", before.text, last);
    }
}

enum weir_rc weir__kafka_partitions(rd_kafka_t *handle, const char *topic, int timeout_ms, uint32_t *out_count, struct weir_error *err)
{
    char what[CLIENT_ID_MAX];
    (void)snprintf(what, sizeof(what), "topic \"%s\"", topic);
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(handle, topic, NULL);
    if (rkt == NULL) {
        return weir__kafka_error(err, rd_kafka_last_error(), NULL, what);
    }
    const struct rd_kafka_metadata *metadata = NULL;
    enum weir_rc rc = WEIR_OK;
    rd_kafka_resp_err_t code = rd_kafka_metadata(handle, 0, rkt, &metadata, timeout_ms);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rc = weir__kafka_error(err, code, NULL, what);
        append_last_log(handle, err);
    } else if (metadata->topic_cnt != 1 || metadata->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        rc = weir__kafka_error(err, code, NULL, what);
    } else if (metadata->topics[0].partition_cnt <= 0) {
        rc = weir_error_set(err, WEIR_EXTERNAL, "%s: Kafka names no partitions of it", what);
    } else {
        *out_count = (uint32_t)metadata->topics[0].partition_cnt;
    }
    if (metadata != NULL) {
        rd_kafka_metadata_destroy(metadata);
    }
    rd_kafka_topic_destroy(rkt);
    return rc;
}
