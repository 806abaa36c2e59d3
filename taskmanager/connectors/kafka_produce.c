#include "taskmanager/connectors/kafka_produce.h"

#include "common/base/assert.h"
#include "taskmanager/connectors/kafka_client.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BUFFER_KIB = 32 << 10,      /* Java's buffer.memory */
    MESSAGES_MAX = 100000,
    MESSAGE_BYTES = 200,        /* librdkafka's own, beside key and value */
    LINGER_MS = 1,              /* measured: with 0 each message costs half as much again and throughput is two thirds; 5 adds 2 ms */
    CHUNK = 512,                /* messages a call */
    TIMEOUT_MS_MIN = 300000,    /* librdkafka's message.timeout.ms */
    TIMEOUT_SPARE_MS = 60000,   /* longer than a checkpoint may take: its time-out says more than the message's */
    TOPIC_UNKNOWN_MS = 5000,    /* so long the brokers may say that there is no such topic before it is believed */
    LINGER_MS_SHORT = 20,       /* a flush waits for so much rather than occupy a thread */
    HURRY_MS = 200,
    NUMBER_TEXT_MAX = 24,
};

struct weir_kafka_produce {
    const struct weir_conn_ctx *ctx;
    bool reliable;
    const char *topic;
    const char *servers;
    struct weir_kafka_client *client;
    rd_kafka_t *handle;        /* the client's */
    rd_kafka_topic_t *rkt;
    rd_kafka_queue_t *queue;   /* of delivery reports and errors */
    _Atomic bool waiting;      /* Q2; read by librdkafka's threads */
    uint64_t in_flight;        /* messages not reported yet */
    uint64_t charged_bytes;    /* theirs */
    uint64_t lost;             /* Q1, not reliable */
    enum weir_rc rc;           /* the first failure; stays */
    struct weir_error err;
    bool lingers;              /* long enough that a flush must hurry librdkafka */
    struct weir_work hurry;
    rd_kafka_message_t messages[CHUNK];
};

/* --- making ------------------------------------------------------------------------------------------------------------ */

static void on_report(rd_kafka_t *handle, void *opaque)
{
    struct weir_kafka_produce *produce = opaque;
    (void)handle;
    if (atomic_load(&produce->waiting)) {
        produce->ctx->wake(produce->ctx->wake_ctx);
    }
}

/* librdkafka sends at once what lingers only while somebody is inside rd_kafka_flush, which blocks. */
static void hurry_run(struct weir_work *work)
{
    struct weir_kafka_produce *produce = (struct weir_kafka_produce *)((char *)work - offsetof(struct weir_kafka_produce, hurry));
    (void)rd_kafka_flush(produce->handle, HURRY_MS);
}

static void hurry_done(struct weir_work *work)
{
    struct weir_kafka_produce *produce = (struct weir_kafka_produce *)((char *)work - offsetof(struct weir_kafka_produce, hurry));
    produce->ctx->wake(produce->ctx->wake_ctx);
}

int64_t weir__kafka_produce_timeout_ms(const struct weir_conn_ctx *ctx)
{
    const char *set = weir_table_option(ctx->table, "properties.delivery.timeout.ms"); /* a number: checked at submission */
    int64_t checkpoint_ms = ctx->settings->checkpoint_timeout_ms + TIMEOUT_SPARE_MS;
    int64_t timeout_ms = set != NULL ? strtoll(set, NULL, 10) : checkpoint_ms > TIMEOUT_MS_MIN ? checkpoint_ms : TIMEOUT_MS_MIN;
    return timeout_ms < INT32_MAX ? timeout_ms : INT32_MAX;
}

static enum weir_rc set_number(rd_kafka_conf_t *conf, const char *name, int64_t value, struct weir_error *err)
{
    char text[NUMBER_TEXT_MAX];
    (void)snprintf(text, sizeof(text), "%" PRId64, value);
    return weir__kafka_conf_set(conf, name, text, err);
}

/* A setting that the table may make; ours otherwise. */
static enum weir_rc set_default(rd_kafka_conf_t *conf, const struct weir_table_spec *table, const char *property, const char *name,
                                int64_t value, struct weir_error *err)
{
    return weir_table_option(table, property) != NULL ? WEIR_OK : set_number(conf, name, value, err);
}

static int64_t get_number(const rd_kafka_conf_t *conf, const char *name)
{
    char text[NUMBER_TEXT_MAX];
    size_t size = sizeof(text);
    return rd_kafka_conf_get(conf, name, text, &size) == RD_KAFKA_CONF_OK ? strtoll(text, NULL, 10) : 0;
}

/* Q1. weir__kafka_conf_create makes an idempotent producer unless a property speaks against it; acks=0 alone would break the promise. */
static enum weir_rc configure_guarantee(const struct weir_kafka_produce *produce, rd_kafka_conf_t *conf, struct weir_error *err)
{
    if (produce->reliable && get_number(conf, "request.required.acks") == 0) {
        return weir_error_set(err, WEIR_INVALID, "properties.acks is 0, with which rows may be lost; expected all, or "
                              "sink.delivery-guarantee: none");
    }
    bool set = weir_table_option(produce->ctx->table, "properties.enable.idempotence") != NULL;
    return produce->reliable || set ? WEIR_OK : weir__kafka_conf_set(conf, "enable.idempotence", "false", err);
}

static enum weir_rc configure(struct weir_kafka_produce *produce, rd_kafka_conf_t *conf, struct weir_error *err)
{
    const struct weir_table_spec *table = produce->ctx->table;
    enum weir_rc rc = set_default(conf, table, "properties.buffer.memory", "queue.buffering.max.kbytes", BUFFER_KIB, err);
    rc = rc != WEIR_OK ? rc : set_default(conf, table, "properties.linger.ms", "linger.ms", LINGER_MS, err);
    rc = rc != WEIR_OK ? rc : set_number(conf, "queue.buffering.max.messages", MESSAGES_MAX, err);
    rc = rc != WEIR_OK ? rc : set_number(conf, "message.timeout.ms", weir__kafka_produce_timeout_ms(produce->ctx), err);
    rc = rc != WEIR_OK ? rc : set_number(conf, "topic.metadata.propagation.max.ms", TOPIC_UNKNOWN_MS, err);
    rc = rc != WEIR_OK ? rc : weir__kafka_conf_set(conf, "partitioner", "murmur2_random", err);
    rc = rc != WEIR_OK ? rc : configure_guarantee(produce, conf, err);
    produce->lingers = get_number(conf, "linger.ms") > LINGER_MS_SHORT;
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR);
    return rc;
}

static enum weir_rc open_client(struct weir_kafka_produce *produce, struct weir_error *err)
{
    const struct weir_table_spec *table = produce->ctx->table;
    rd_kafka_conf_t *conf = NULL;
    enum weir_rc rc = weir__kafka_conf_create(table, WEIR_KAFKA_PRODUCER, &conf, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    rc = configure(produce, conf, err);
    if (rc != WEIR_OK) {
        rd_kafka_conf_destroy(conf);
        return rc;
    }
    rc = weir__kafka_client_create(produce->ctx->log, table->name, WEIR_KAFKA_PRODUCER, conf, &produce->client, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    produce->handle = weir__kafka_client_handle(produce->client);
    produce->queue = rd_kafka_queue_get_main(produce->handle);
    rd_kafka_queue_cb_event_enable(produce->queue, on_report, produce);
    produce->rkt = rd_kafka_topic_new(produce->handle, produce->topic, NULL);
    return produce->rkt != NULL ? WEIR_OK : weir__kafka_error(err, rd_kafka_last_error(), NULL, produce->topic);
}

enum weir_rc weir__kafka_produce_create(const struct weir_conn_ctx *ctx, bool reliable, struct weir_kafka_produce **out_produce,
                                        struct weir_error *err)
{
    struct weir_kafka_produce *produce = weir_calloc(1, sizeof(*produce));
    produce->ctx = ctx;
    produce->reliable = reliable;
    produce->topic = weir_table_option(ctx->table, "topic");
    produce->servers = weir_table_option(ctx->table, "properties.bootstrap.servers");
    produce->hurry = (struct weir_work){.run = hurry_run, .done = hurry_done};
    enum weir_rc rc = produce->topic == NULL || produce->servers == NULL
                          ? weir_error_set(err, WEIR_INVALID, "the option \"%s\" is missing",
                                           produce->topic == NULL ? "topic" : "properties.bootstrap.servers")
                          : open_client(produce, err);
    if (rc != WEIR_OK) {
        weir__kafka_produce_destroy(produce);
        return weir_error_prefix(err, "table %s", ctx->table->name);
    }
    *out_produce = produce;
    return WEIR_OK;
}

void weir__kafka_produce_destroy(struct weir_kafka_produce *produce)
{
    if (produce == NULL) {
        return;
    }
    weir_assert(!produce->hurry.in_flight);
    if (produce->queue != NULL) {
        rd_kafka_queue_cb_event_enable(produce->queue, NULL, NULL);
        rd_kafka_queue_destroy(produce->queue);
    }
    if (produce->rkt != NULL) {
        rd_kafka_topic_destroy(produce->rkt);
    }
    weir__kafka_client_destroy(produce->client);
    weir_mem_uncharge(produce->ctx->mem, produce->charged_bytes);
    weir_free(produce);
}

/* --- delivery reports -------------------------------------------------------------------------------------------------- */

static uint64_t message_bytes(const rd_kafka_message_t *message)
{
    return MESSAGE_BYTES + message->len + message->key_len;
}

/* Why the message will not arrive. */
static enum weir_rc message_error(const struct weir_kafka_produce *produce, const rd_kafka_message_t *message, struct weir_error *err)
{
    char what[WEIR_ERROR_TEXT_MAX / 2];
    if (message->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || message->err == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE) {
        return weir_error_set(err, WEIR_DATA,
                              "topic %s: a record of %zu bytes is too large; raise properties.max.request.size of the table, and the topic's "
                              "max.message.bytes (the brokers' message.max.bytes)", produce->topic, message->len + message->key_len);
    }
    if (message->err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        return weir_error_set(err, WEIR_DATA, "topic %s: a record of %zu bytes does not fit into the producer's buffer; raise "
                              "properties.buffer.memory", produce->topic, message->len + message->key_len);
    }
    int used = snprintf(what, sizeof(what), "topic %s", produce->topic);
    if (message->partition >= 0) {
        used += snprintf(what + used, sizeof(what) - (size_t)used, ", partition %" PRId32, message->partition);
    }
    (void)snprintf(what + used, sizeof(what) - (size_t)used, " at %.80s", produce->servers);
    return weir__kafka_error(err, message->err,
                             message->err == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT ? "not delivered within properties.delivery.timeout.ms" : NULL,
                             what);
}

static void give_up(struct weir_kafka_produce *produce, const rd_kafka_message_t *message)
{
    struct weir_error err;
    if (message_error(produce, message, &err) == WEIR_OK) {
        return;
    }
    if (produce->reliable && produce->rc == WEIR_OK) {
        produce->rc = err.rc;
        produce->err = err;
        (void)weir_error_prefix(&produce->err, "table %s", produce->ctx->table->name);
    } else if (!produce->reliable) {
        produce->lost++;
        weir_log(produce->ctx->log, WEIR_LOG_WARN, "kafka_record_lost", "table", produce->ctx->table->name, "lost", WEIR_LOG_INT(produce->lost),
                 "reason", err.text, NULL);
    }
}

static void take_report(struct weir_kafka_produce *produce, rd_kafka_event_t *event)
{
    uint64_t bytes = 0;
    uint64_t count = 0;
    const rd_kafka_message_t *message;
    while ((message = rd_kafka_event_message_next(event)) != NULL) {
        bytes += message_bytes(message);
        count++;
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            give_up(produce, message);
        }
    }
    weir_assert(count <= produce->in_flight);
    weir_assert(bytes <= produce->charged_bytes);
    produce->in_flight -= count;
    produce->charged_bytes -= bytes;
    weir_mem_uncharge(produce->ctx->mem, bytes);
}

/* Takes all reports that have come. Any failure so far. */
static enum weir_rc take_reports(struct weir_kafka_produce *produce, struct weir_error *err)
{
    rd_kafka_event_t *event;
    while ((event = rd_kafka_queue_poll(produce->queue, 0)) != NULL) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR) {
            take_report(produce, event);
        }
        rd_kafka_event_destroy(event);
    }
    if (produce->rc == WEIR_OK) {
        produce->rc = weir__kafka_client_error(produce->client, &produce->err);
        if (produce->rc != WEIR_OK) {
            (void)weir_error_prefix(&produce->err, "table %s: topic %s", produce->ctx->table->name, produce->topic);
        }
    }
    if (produce->rc != WEIR_OK) {
        *err = produce->err;
    }
    return produce->rc;
}

/* --- producing --------------------------------------------------------------------------------------------------------- */

/* Offers up to CHUNK records. Returns how many are dealt with: all before the first for which there was no room. */
static uint32_t offer(struct weir_kafka_produce *produce, const struct weir_kafka_record *records, uint32_t count)
{
    uint32_t offered = count < CHUNK ? count : CHUNK;
    for (uint32_t i = 0; i < offered; i++) {
        const struct weir_kafka_record *record = &records[i];
        /* librdkafka takes what is not const, and copies it. */
        produce->messages[i] = (rd_kafka_message_t){
            .partition = record->partition,
            .payload = record->has_value ? (void *)(uintptr_t)record->value.data : NULL,
            .len = record->has_value ? record->value.len : 0,
            .key = record->has_key ? (void *)(uintptr_t)record->key.data : NULL,
            .key_len = record->has_key ? record->key.len : 0,
        };
    }
    int taken = rd_kafka_produce_batch(produce->rkt, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY | RD_KAFKA_MSG_F_PARTITION, produce->messages,
                                       (int)offered);
    uint64_t bytes = 0;
    uint32_t dealt = 0;
    for (; dealt < offered; dealt++) {
        const rd_kafka_message_t *message = &produce->messages[dealt];
        bool refused = (uint32_t)taken != offered && message->err != RD_KAFKA_RESP_ERR_NO_ERROR;
        if (refused && message->err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            break; /* so are all behind it */
        }
        if (refused) {
            give_up(produce, message);
        } else {
            bytes += message_bytes(message);
            produce->in_flight++;
        }
    }
    produce->charged_bytes += bytes;
    weir_mem_charge(produce->ctx->mem, bytes);
    return dealt;
}

enum weir_rc weir__kafka_produce(struct weir_kafka_produce *produce, const struct weir_kafka_record *records, uint32_t count,
                                 uint32_t *out_taken, struct weir_error *err)
{
    uint32_t taken = 0;
    atomic_store(&produce->waiting, false);
    enum weir_rc rc = take_reports(produce, err);
    while (rc == WEIR_OK && taken < count) {
        uint32_t dealt = offer(produce, records + taken, count - taken);
        taken += dealt;
        if (taken == count || dealt > 0) {
            rc = produce->rc;
            continue;
        }
        uint64_t before = produce->in_flight;
        if (before == 0) { /* it would never fit */
            give_up(produce, &produce->messages[0]);
            taken++;
            rc = produce->rc;
            continue;
        }
        /* Full. From here on a report wakes the task; what comes until it is so is taken now. */
        bool waited = atomic_exchange(&produce->waiting, true);
        rc = take_reports(produce, err);
        if (rc == WEIR_OK && produce->in_flight == before && waited) {
            rc = WEIR_AGAIN;
        }
    }
    if (rc == WEIR_OK) {
        atomic_store(&produce->waiting, false);
    }
    *out_taken = taken;
    if (rc != WEIR_OK && rc != WEIR_AGAIN) {
        *err = produce->err;
    }
    return rc;
}

enum weir_rc weir__kafka_produce_flush(struct weir_kafka_produce *produce, struct weir_error *err)
{
    atomic_store(&produce->waiting, true);
    enum weir_rc rc = take_reports(produce, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    if (produce->in_flight == 0) {
        atomic_store(&produce->waiting, false);
        return produce->hurry.in_flight ? WEIR_AGAIN : WEIR_OK;
    }
    if (produce->lingers && !produce->hurry.in_flight) {
        weir_executor_submit(produce->ctx->executor, &produce->hurry);
    }
    return WEIR_AGAIN;
}
