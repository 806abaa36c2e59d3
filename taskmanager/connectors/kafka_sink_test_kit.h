/*
 * What the Kafka sinks' tests share: a mock cluster in the process, a waker that librdkafka's threads may wake, batches as text, and a consumer.
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_KAFKA_SINK_TEST_KIT_H
#define WEIR_TASKMANAGER_CONNECTORS_KAFKA_SINK_TEST_KIT_H

#include "common/runtime/waker.h"
#include "taskmanager/connectors/conn_test_kit.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

enum { KIT_PARTITIONS = 4, KIT_RECORDS_MAX = 20000, KIT_TEXT_MAX = 64, KIT_PRODUCE_API = 0 };

struct kafka_kit {
    struct conn_kit conn;
    rd_kafka_t *owner; /* of the mock cluster */
    rd_kafka_mock_cluster_t *cluster;
    struct weir_waker *waker;
};

/* A record as it was read back; texts are cut. */
struct kafka_read {
    int32_t partition;
    bool has_key, has_value;
    char key[KIT_TEXT_MAX], value[KIT_TEXT_MAX];
};

static inline void kafka_kit_wake(void *ctx)
{
    weir_waker_wake(((struct kafka_kit *)ctx)->waker);
}

/* options as conn_kit_init's, beside topic "out" (which exists) and the servers; with a servers option of its own there is none of ours. */
static inline void kafka_kit_init(struct kafka_kit *kit, const char *connector, const char *const *options)
{
    static const char *const columns[] = {"n", "BIGINT", "s", "STRING", NULL};
    struct weir_error err;
    conn_kit_init(&kit->conn, connector, columns, options);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    ck_assert_int_eq(rd_kafka_conf_set(conf, "log_level", "3", NULL, 0), RD_KAFKA_CONF_OK); /* it warns that it has no servers */
    kit->owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    kit->cluster = rd_kafka_mock_cluster_new(kit->owner, 1);
    ck_assert_int_eq(rd_kafka_mock_topic_create(kit->cluster, "out", KIT_PARTITIONS, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    ck_assert_int_eq(weir_waker_create(&kit->waker, &err), WEIR_OK);
    kit->conn.options[0] = (struct weir_option){.key = "topic", .value = "out"};
    kit->conn.options[kit->conn.table.noptions++] =
        (struct weir_option){.key = "properties.bootstrap.servers", .value = rd_kafka_mock_cluster_bootstraps(kit->cluster)};
    kit->conn.ctx.wake = kafka_kit_wake;
    kit->conn.ctx.wake_ctx = kit;
}

static inline void kafka_kit_fini(struct kafka_kit *kit)
{
    rd_kafka_mock_cluster_destroy(kit->cluster);
    rd_kafka_destroy(kit->owner);
    weir_waker_destroy(kit->waker);
    conn_kit_fini(&kit->conn);
}

static inline struct weir_sink *kafka_kit_create(struct kafka_kit *kit)
{
    struct weir_sink *sink = NULL;
    struct weir_error err = {0};
    ck_assert_msg(weir_conn_sink(kit->conn.table.connector)->create(&kit->conn.ctx, &sink, &err) == WEIR_OK, "%s", err.text);
    return sink;
}

/* Rows "kind n text" separated by commas, as in "+I 1 a, -D 2 b". */
static inline struct weir_batch *kafka_kit_rows(struct kafka_kit *kit, const char *text)
{
    static const char kinds[] = "+I-U+U-D";
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, kit->conn.schema, 64, kit->conn.mem);
    for (const char *at = text; at != NULL; builder.nrows++) {
        char kind[3];
        char s[KIT_TEXT_MAX];
        long long n;
        ck_assert_int_eq(sscanf(at, " %2s %lld %63[^,]", kind, &n, s), 3);
        ((int64_t *)(void *)builder.cols[0].values)[builder.nrows] = n;
        weir_column_builder_put_str(&builder.cols[1], builder.nrows, weir_slice_str(s));
        ptrdiff_t number = (strstr(kinds, kind) - kinds) / 2;
        if (number != WEIR_INSERT) {
            weir_batch_builder_set_kind(&builder, builder.nrows, (enum weir_row_kind)number);
        }
        at = strchr(at, ',');
        at = at == NULL ? NULL : at + 1;
    }
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    weir_batch_builder_fini(&builder);
    return batch;
}

/* `count` rows n = first, first + 1, ..., s of `bytes` bytes. */
static inline struct weir_batch *kafka_kit_many(struct kafka_kit *kit, uint32_t first, uint32_t count, uint32_t bytes)
{
    struct weir_batch_builder builder;
    char *text = weir_malloc(bytes + 1);
    memset(text, 'x', bytes);
    weir_batch_builder_init(&builder, kit->conn.schema, count, kit->conn.mem);
    for (; builder.nrows < count; builder.nrows++) {
        ((int64_t *)(void *)builder.cols[0].values)[builder.nrows] = first + builder.nrows;
        weir_column_builder_put_str(&builder.cols[1], builder.nrows, weir_slice(text, bytes));
    }
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    weir_batch_builder_fini(&builder);
    weir_free(text);
    return batch;
}

/* Calls until it is no longer AGAIN, sleeping without limit in between: a lost wake hangs, and the test's time-out finds it. Counts the sleeps. */
#define KAFKA_KIT_AWAIT(kit, rc, sleeps, call)                         \
    do {                                                               \
        weir_waker_prepare((kit)->waker);                              \
        (rc) = (call);                                                 \
        if ((rc) == WEIR_AGAIN) {                                      \
            weir_waker_wait((kit)->waker, -1, NULL, 0);                \
            (sleeps)++;                                                \
        } else {                                                       \
            weir_waker_cancel((kit)->waker);                           \
        }                                                              \
    } while ((rc) == WEIR_AGAIN)

/* The batch is dropped. Returns how often the sink had to wait. */
static inline uint32_t kafka_kit_write(struct kafka_kit *kit, struct weir_sink *sink, struct weir_batch *batch)
{
    struct weir_error err = {0};
    enum weir_rc rc;
    uint32_t sleeps = 0;
    KAFKA_KIT_AWAIT(kit, rc, sleeps, sink->vtable->write(sink, batch, &err));
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
    weir_batch_unref(batch);
    return sleeps;
}

static inline enum weir_rc kafka_kit_prepare(struct kafka_kit *kit, struct weir_sink *sink, uint64_t checkpoint, uint32_t *out_sleeps,
                                             struct weir_error *err)
{
    struct weir_buf state = {0};
    enum weir_rc rc;
    *out_sleeps = 0;
    KAFKA_KIT_AWAIT(kit, rc, *out_sleeps, sink->vtable->prepare(sink, checkpoint, &state, err));
    weir_buf_fini(&state);
    return rc;
}

static inline void kafka_kit_copy(char out[KIT_TEXT_MAX], const void *data, size_t len)
{
    size_t used = len < KIT_TEXT_MAX ? len : KIT_TEXT_MAX - 1;
    if (used > 0) {
        memcpy(out, data, used);
    }
    out[used] = '\0';
}

/* The records of topic "out" that come until every partition has ended, each partition's in order. */
static inline uint32_t kafka_kit_poll(rd_kafka_t *consumer, struct kafka_read *out_reads)
{
    uint32_t count = 0;
    for (int ends = 0; ends < KIT_PARTITIONS;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 1000);
        if (message == NULL) {
            continue;
        }
        ends += message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            ck_assert_uint_lt(count, KIT_RECORDS_MAX);
            struct kafka_read *read = &out_reads[count++];
            *read = (struct kafka_read){.partition = message->partition, .has_key = message->key != NULL, .has_value = message->payload != NULL};
            kafka_kit_copy(read->key, message->key, message->key_len);
            kafka_kit_copy(read->value, message->payload, message->len);
        }
        rd_kafka_message_destroy(message);
    }
    return count;
}

static inline uint32_t kafka_kit_read(struct kafka_kit *kit, struct kafka_read *out_reads)
{
    const char *const settings[][2] = {{"bootstrap.servers", rd_kafka_mock_cluster_bootstraps(kit->cluster)},
                                       {"group.id", "readers"},
                                       {"enable.partition.eof", "true"},
                                       {"fetch.wait.max.ms", "10"}};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        ck_assert_int_eq(rd_kafka_conf_set(conf, settings[i][0], settings[i][1], NULL, 0), RD_KAFKA_CONF_OK);
    }
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, NULL, 0);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(KIT_PARTITIONS);
    for (int32_t p = 0; p < KIT_PARTITIONS; p++) {
        rd_kafka_topic_partition_list_add(list, "out", p)->offset = RD_KAFKA_OFFSET_BEGINNING;
    }
    ck_assert_int_eq(rd_kafka_assign(consumer, list), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(list);
    uint32_t count = kafka_kit_poll(consumer, out_reads);
    rd_kafka_destroy_flags(consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    return count;
}

#endif
