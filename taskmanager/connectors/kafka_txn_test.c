/*
 * Against librdkafka's mock cluster, which lets requests fail at will. It keeps no transactions apart (an aborted record can be read, an offset
 * of a transaction is forgotten): what is atomic is tested against real brokers (tests/integration).
 */
#include "taskmanager/connectors/kafka_txn.h"

#include "common/base/mem.h"
#include "taskmanager/connectors/conn_test_kit.h"
#include "taskmanager/connectors/kafka_client.h"
#include "taskmanager/connectors/kafka_record.h"

#include <librdkafka/rdkafka_mock.h>

enum { API_PRODUCE = 0, API_OFFSET_FETCH = 9, API_FIND_COORDINATOR = 10, API_INIT = 22, API_ADD_PARTITIONS = 24, API_ADD_OFFSETS = 25, API_END_TXN = 26, API_TXN_OFFSETS = 28 };
enum { RECORDS_MAX = 64, READ_MS = 20000 };

struct kafka_kit {
    struct conn_kit conn;
    rd_kafka_t *handle; /* the mock cluster's */
    rd_kafka_mock_cluster_t *cluster;
    struct weir_buf bytes;
    uint32_t ends[RECORDS_MAX];
    struct weir_drain_chunk chunk;
    bool in_doubt; /* what the last drain said */
    struct weir_error err;
};

/* request_timeout_ms: NULL for what follows from timeout_ms. */
static void kit_init_with(struct kafka_kit *kit, const char *timeout_ms, const char *request_timeout_ms)
{
    static const char *const columns[] = {"a", "BIGINT", NULL};
    char text[256];
    *kit = (struct kafka_kit){0};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    ck_assert_int_eq(rd_kafka_conf_set(conf, "log_level", "2", text, sizeof(text)), RD_KAFKA_CONF_OK);
    kit->handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    kit->cluster = rd_kafka_mock_cluster_new(kit->handle, 2);
    ck_assert_int_eq(rd_kafka_mock_topic_create(kit->cluster, "out", 2, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    const char *const options[] = {"topic", "out", "sink.transactional-id-prefix", "weir", "properties.bootstrap.servers",
                                   rd_kafka_mock_cluster_bootstraps(kit->cluster), "properties.transaction.timeout.ms", timeout_ms,
                                   "properties.retry.backoff.ms", "10",
                                   request_timeout_ms == NULL ? NULL : "properties.request.timeout.ms", request_timeout_ms, NULL};
    conn_kit_init(&kit->conn, "kafka", columns, options);
    kit->conn.ctx.uid = "write";
}

static void kit_init(struct kafka_kit *kit, const char *timeout_ms)
{
    kit_init_with(kit, timeout_ms, NULL);
}

static void kit_fini(struct kafka_kit *kit)
{
    weir_buf_fini(&kit->bytes);
    conn_kit_fini(&kit->conn);
    rd_kafka_mock_cluster_destroy(kit->cluster);
    rd_kafka_destroy(kit->handle);
}

/* The mock cluster does not keep the offsets that a transaction commits: of a target's marks (X5) it must refuse the first, then there is none. */
static void refuse_mark(struct kafka_kit *kit)
{
    rd_kafka_mock_push_request_errors(kit->cluster, API_TXN_OFFSETS, 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
}

static struct weir_drain_target *make_marking_target(struct kafka_kit *kit)
{
    struct weir_drain_target *target = NULL;
    ck_assert_msg(weir__kafka_txn_create(&kit->conn.ctx, &target, &kit->err) == WEIR_OK, "%s", kit->err.text);
    return target;
}

static struct weir_drain_target *make_target(struct kafka_kit *kit)
{
    refuse_mark(kit);
    return make_marking_target(kit);
}

static void put_record(struct kafka_kit *kit, int32_t partition, const char *key, const char *value)
{
    const struct weir_kafka_record record = {.partition = partition,
                                             .has_key = key != NULL,
                                             .has_value = value != NULL,
                                             .key = weir_slice_str(key == NULL ? "" : key),
                                             .value = weir_slice_str(value == NULL ? "" : value)};
    weir__kafka_record_encode(&record, &kit->bytes);
    kit->ends[kit->chunk.count++] = (uint32_t)kit->bytes.len;
    kit->chunk.bytes = kit->bytes.data;
    kit->chunk.ends = kit->ends;
    kit->chunk.checkpoint = 7;
}

static struct weir_drain_chunk *chunk_at(struct kafka_kit *kit, uint64_t first)
{
    if (kit->chunk.count == 0) {
        put_record(kit, 0, "k", "v");
        put_record(kit, 1, NULL, "w");
    }
    kit->chunk.first = first;
    return &kit->chunk;
}

static enum weir_rc recover_once(struct kafka_kit *kit, struct weir_drain_target *target, int64_t *out_cursor)
{
    bool found = false;
    uint64_t cursor = 0;
    enum weir_rc rc = target->vtable->recover(target, &found, &cursor, &kit->err);
    *out_cursor = !found ? -1 : (int64_t)cursor;
    return rc;
}

static enum weir_rc drain_at(struct kafka_kit *kit, struct weir_drain_target *target, uint64_t first)
{
    kit->in_doubt = false;
    return target->vtable->drain(target, chunk_at(kit, first), &kit->in_doubt, &kit->err);
}

/* As the drain thread: AGAIN only says that one call's patience is over, which half a second of a busy machine may use up. */
static enum weir_rc recover_through(struct kafka_kit *kit, struct weir_drain_target *target, int64_t *out_cursor)
{
    enum weir_rc rc = WEIR_AGAIN;
    while (rc == WEIR_AGAIN) {
        rc = recover_once(kit, target, out_cursor);
    }
    return rc;
}

static int64_t recover_ok(struct kafka_kit *kit, struct weir_drain_target *target)
{
    int64_t cursor = -2;
    ck_assert_msg(recover_through(kit, target, &cursor) == WEIR_OK, "%s", kit->err.text);
    return cursor;
}

/* "key=value" of the partition, in order, each behind a blank; null is -. */
static void read_partition(struct kafka_kit *kit, int32_t partition, struct weir_buf *out)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    ck_assert_int_eq(rd_kafka_conf_set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(kit->cluster), text, sizeof(text)), 0);
    ck_assert_int_eq(rd_kafka_conf_set(conf, "group.id", "reader", text, sizeof(text)), 0);
    ck_assert_int_eq(rd_kafka_conf_set(conf, "enable.partition.eof", "true", text, sizeof(text)), 0);
    rd_kafka_t *reader = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, "out", partition)->offset = 0;
    ck_assert_int_eq(rd_kafka_assign(reader, list), RD_KAFKA_RESP_ERR_NO_ERROR);
    bool more = true;
    while (more) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, READ_MS);
        ck_assert_ptr_nonnull(message);
        more = message->err == RD_KAFKA_RESP_ERR_NO_ERROR;
        if (more) {
            weir_buf_put_fmt(out, " %.*s=%.*s", message->key == NULL ? 1 : (int)message->key_len, message->key == NULL ? "-" : (char *)message->key,
                             message->payload == NULL ? 1 : (int)message->len, message->payload == NULL ? "-" : (char *)message->payload);
        } else {
            ck_assert_int_eq(message->err, RD_KAFKA_RESP_ERR__PARTITION_EOF);
        }
        rd_kafka_message_destroy(message);
    }
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_close(reader);
    rd_kafka_destroy(reader);
}

START_TEST(a_chunk_and_its_cursor)
{
    struct kafka_kit kit;
    kit_init(&kit, "60000");
    struct weir_drain_target *target = make_target(&kit);
    ck_assert_int_eq(recover_ok(&kit, target), -1);
    put_record(&kit, 1, "k", "v");
    put_record(&kit, 1, NULL, "w");
    put_record(&kit, 1, "gone", NULL);
    put_record(&kit, 1, "", "");
    put_record(&kit, 1, NULL, NULL);
    ck_assert_msg(drain_at(&kit, target, 100) == WEIR_OK, "%s", kit.err.text);
    ck_assert_msg(drain_at(&kit, target, 105) == WEIR_OK, "%s", kit.err.text);
    struct weir_drain_target *next = make_target(&kit);
    (void)recover_ok(&kit, next);
    struct weir_buf read = {0};
    read_partition(&kit, 1, &read);
    weir_buf_put_u8(&read, 0);
    ck_assert_str_eq((char *)read.data, " k=v -=w gone=- = -=- k=v -=w gone=- = -=-");
    weir_buf_fini(&read);
    kit.chunk.count = 0;
    weir_buf_clear(&kit.bytes);
    put_record(&kit, -1, "by hash", "1");
    put_record(&kit, -1, NULL, "2");
    ck_assert_msg(drain_at(&kit, next, 110) == WEIR_OK, "%s", kit.err.text);
    next->vtable->destroy(next);
    target->vtable->destroy(target);
    kit_fini(&kit);
}
END_TEST

/* An entry of the cursor's group, written by somebody else. */
static void commit_by_hand(struct kafka_kit *kit, int32_t partition, int64_t offset, const char *metadata)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    ck_assert_int_eq(rd_kafka_conf_set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(kit->cluster), text, sizeof(text)), 0);
    ck_assert_int_eq(rd_kafka_conf_set(conf, "group.id", "cursor.weir/0123456789abcdef0123456789abcdef/write/0/0", text, sizeof(text)), 0);
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *entry = rd_kafka_topic_partition_list_add(list, "out", partition);
    entry->offset = offset;
    entry->metadata = weir_strdup(metadata);
    entry->metadata_size = strlen(metadata);
    ck_assert_int_eq(rd_kafka_commit(consumer, list, 0), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(consumer);
}

START_TEST(the_cursor_is_read)
{
    struct kafka_kit kit;
    kit_init(&kit, "60000");
    commit_by_hand(&kit, 0, _i == 2 ? 0 : 4242, _i == 1 ? "reset by hand" : "run=0 checkpoint=3");
    struct weir_drain_target *target = make_target(&kit);
    if (_i == 1) {
        int64_t found = 0;
        ck_assert_int_eq(recover_through(&kit, target, &found), WEIR_CORRUPT);
        ck_assert_ptr_nonnull(strstr(kit.err.text, "offset 4242 of group cursor.weir/"));
    } else {
        ck_assert_int_eq(recover_ok(&kit, target), _i == 2 ? 0 : 4242);
    }
    target->vtable->destroy(target);
    kit_fini(&kit);
}
END_TEST

static void recover_without_mark(struct kafka_kit *kit, struct weir_drain_target *target)
{
    int64_t cursor = 0;
    do {
        ck_assert_msg(recover_once(kit, target, &cursor) == WEIR_AGAIN, "%s", kit->err.text);
    } while (strstr(kit->err.text, "fencing earlier attempts") != NULL); /* which takes its time */
    ck_assert_msg(strstr(kit->err.text, "does not know what was committed a moment ago") != NULL, "%s", kit->err.text);
}

/* X5. The mock cluster is such a coordinator: it does not know what a transaction has committed. */
START_TEST(an_answer_without_the_mark_is_not_taken)
{
    struct kafka_kit kit;
    kit_init(&kit, "60000");
    commit_by_hand(&kit, 0, 4242, "run=0 checkpoint=3");
    struct weir_drain_target *target = make_marking_target(&kit);
    recover_without_mark(&kit, target);
    commit_by_hand(&kit, 1, 1, "mark=1.1"); /* that of before */
    recover_without_mark(&kit, target);
    commit_by_hand(&kit, 1, 3, "mark=1.3");
    ck_assert_int_eq(recover_ok(&kit, target), 4242);
    ck_assert_msg(drain_at(&kit, target, 4242) == WEIR_OK, "%s", kit.err.text);
    target->vtable->destroy(target);
    kit_fini(&kit);
}
END_TEST

/* What is to run out does so in real time, librdkafka's: this much, since of a slow machine everything else must come about within it. */
#define SHORT "4000"
enum { SHORT_MS = 4000 };

/* D4: a smaller chunk may do better; _i: with request.timeout.ms, and what follows from the transaction's without. */
START_TEST(what_takes_longer_than_a_request_may_is_said)
{
    struct kafka_kit kit;
    kit_init_with(&kit, SHORT, _i == 0 ? "2000" : NULL);
    struct weir_drain_target *target = make_target(&kit);
    ck_assert_int_eq(recover_ok(&kit, target), -1);
    const struct weir_drain_chunk *chunk = chunk_at(&kit, 0);
    struct weir_drain_chunk smaller = *chunk;
    smaller.count = 1;
    for (int tries = 0; tries <= _i; tries++) { /* together they last longer than one chunk may (R1) */
        ck_assert_int_eq(rd_kafka_mock_broker_set_rtt(kit.cluster, -1, SHORT_MS + 1000), RD_KAFKA_RESP_ERR_NO_ERROR);
        ck_assert_msg(target->vtable->drain(target, tries == 0 ? chunk : &smaller, &kit.in_doubt, &kit.err) == WEIR_TIMEOUT, "%s", kit.err.text);
        ck_assert_int_eq(kit.err.rc, WEIR_TIMEOUT);
        ck_assert_int_eq(rd_kafka_mock_broker_set_rtt(kit.cluster, -1, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
        (void)recover_ok(&kit, target);
    }
    target->vtable->destroy(target);
    kit_fini(&kit);
}
END_TEST

/* One request fails; what drain says, and whether the chunk is written after as many recovers as the job may make. */
static const struct {
    int16_t api;
    int code;
    enum weir_rc first; /* what drain says at first */
    bool renewed;       /* OK, but the next drain wants a new client (R7) */
    const char *text;
} drain_rows[] = {
    {API_PRODUCE, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, WEIR_OK, false, NULL},
    {API_PRODUCE, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, WEIR_EXTERNAL, false, "writing"},
    {API_PRODUCE, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, WEIR_REFUSED, false, "writing"},
    {API_PRODUCE, RD_KAFKA_RESP_ERR_INVALID_RECORD, WEIR_DATA, false, "writing"},
    {API_PRODUCE, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, WEIR_STALE, false, "newer attempt"},
    {API_PRODUCE, RD_KAFKA_RESP_ERR__TRANSPORT, WEIR_OK, true, NULL},
    {API_ADD_PARTITIONS, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, WEIR_OK, false, NULL},
    {API_ADD_PARTITIONS, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, WEIR_REFUSED, false, "topic out, transactional id weir/"},
    {API_ADD_PARTITIONS, RD_KAFKA_RESP_ERR_PRODUCER_FENCED, WEIR_STALE, false, "newer attempt"},
    {API_ADD_OFFSETS, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, WEIR_OK, false, NULL},
    {API_ADD_OFFSETS, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, WEIR_REFUSED, false, "moving the cursor"},
    {API_TXN_OFFSETS, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, WEIR_OK, false, NULL},
    {API_TXN_OFFSETS, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, WEIR_OK, false, NULL},
    {API_TXN_OFFSETS, RD_KAFKA_RESP_ERR__TRANSPORT, WEIR_AGAIN, false, "may have come twice"}, /* (X4) */
    {API_END_TXN, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, WEIR_OK, true, NULL},
    {API_END_TXN, RD_KAFKA_RESP_ERR_PRODUCER_FENCED, WEIR_STALE, false, "committing"},
    {API_END_TXN, RD_KAFKA_RESP_ERR__TRANSPORT, WEIR_OK, true, NULL},
};

START_TEST(a_request_fails_in_a_transaction)
{
    struct kafka_kit kit;
    kit_init(&kit, "60000");
    struct weir_drain_target *target = make_target(&kit);
    ck_assert_int_eq(recover_ok(&kit, target), -1);
    ck_assert_msg(drain_at(&kit, target, 0) == WEIR_OK, "%s", kit.err.text);
    rd_kafka_mock_push_request_errors(kit.cluster, drain_rows[_i].api, 1, drain_rows[_i].code);
    enum weir_rc rc = drain_at(&kit, target, 2);
    ck_assert(!kit.in_doubt || rc == WEIR_STALE);
    ck_assert_msg(rc == drain_rows[_i].first, "row %d: %s: %s", _i, weir_rc_name(rc), rc == WEIR_OK ? "" : kit.err.text);
    if (rc == WEIR_OK) {
        rc = drain_at(&kit, target, 4);
        ck_assert_msg(rc == (drain_rows[_i].renewed ? WEIR_AGAIN : WEIR_OK), "row %d: %s", _i, weir_rc_name(rc));
        (void)recover_ok(&kit, target);
        ck_assert_msg(drain_at(&kit, target, 6) == WEIR_OK, "%s", kit.err.text);
    } else if (rc == WEIR_AGAIN) {
        ck_assert_msg(strstr(kit.err.text, drain_rows[_i].text) != NULL, "%s", kit.err.text);
        (void)recover_ok(&kit, target);
        ck_assert_msg(drain_at(&kit, target, 2) == WEIR_OK, "%s", kit.err.text);
    } else {
        ck_assert_msg(strstr(kit.err.text, drain_rows[_i].text) != NULL, "%s", kit.err.text);
        int64_t cursor = 0;
        ck_assert_int_eq(recover_once(&kit, target, &cursor), WEIR_STALE); /* never a second init in an attempt that is over */
    }
    target->vtable->destroy(target);
    kit_fini(&kit);
}
END_TEST

static const struct {
    int16_t api;
    int code;
    enum weir_rc want;
} recover_rows[] = {
    {API_INIT, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, WEIR_OK},
    {API_INIT, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, WEIR_OK},
    {API_INIT, RD_KAFKA_RESP_ERR__TRANSPORT, WEIR_OK},
    {API_INIT, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, WEIR_REFUSED},
    {API_INIT, RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, WEIR_INVALID},
    {API_OFFSET_FETCH, RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT, WEIR_OK},
    {API_OFFSET_FETCH, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, WEIR_OK},
    {API_OFFSET_FETCH, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, WEIR_REFUSED},
};

START_TEST(an_end_that_fails_is_in_doubt)
{
    struct kafka_kit kit;
    kit_init(&kit, "60000");
    struct weir_drain_target *target = make_target(&kit);
    ck_assert_int_eq(recover_ok(&kit, target), -1);
    rd_kafka_mock_push_request_errors(kit.cluster, API_END_TXN, 1, RD_KAFKA_RESP_ERR_UNKNOWN);
    enum weir_rc rc = drain_at(&kit, target, 0);
    ck_assert_msg(rc == WEIR_AGAIN || rc == WEIR_TIMEOUT, "%s: %s", weir_rc_name(rc), kit.err.text);
    ck_assert(kit.in_doubt);
    target->vtable->destroy(target);
    kit_fini(&kit);
}
END_TEST

START_TEST(a_request_fails_in_recovery)
{
    struct kafka_kit kit;
    kit_init(&kit, "60000");
    struct weir_drain_target *target = make_target(&kit);
    rd_kafka_mock_push_request_errors(kit.cluster, recover_rows[_i].api, 1, recover_rows[_i].code);
    int64_t cursor = 0;
    enum weir_rc rc = recover_through(&kit, target, &cursor);
    ck_assert_msg(rc == recover_rows[_i].want, "row %d: %s: %s", _i, weir_rc_name(rc), rc == WEIR_OK ? "" : kit.err.text);
    if (rc == WEIR_OK) {
        ck_assert_int_eq(cursor, -1);
        ck_assert_msg(drain_at(&kit, target, 0) == WEIR_OK, "%s", kit.err.text);
    } else {
        ck_assert_ptr_nonnull(strstr(kit.err.text, "weir/0123456789abcdef0123456789abcdef/write/0/0"));
    }
    target->vtable->destroy(target);
    kit_fini(&kit);
}
END_TEST

/* (R1): AGAIN after a while, an error that ends the attempt after twice the transaction's time; then the brokers come back to the next attempt. */
START_TEST(no_broker_answers)
{
    struct kafka_kit kit;
    kit_init(&kit, SHORT);
    struct weir_drain_target *target = make_target(&kit);
    bool recovered = _i == 1;
    int64_t cursor = 0;
    if (recovered) {
        ck_assert_int_eq(recover_ok(&kit, target), -1);
        ck_assert_msg(drain_at(&kit, target, 0) == WEIR_OK, "%s", kit.err.text);
    }
    ck_assert_int_eq(rd_kafka_mock_broker_set_down(kit.cluster, -1), RD_KAFKA_RESP_ERR_NO_ERROR);
    if (recovered) {
        ck_assert_int_eq(drain_at(&kit, target, 2), WEIR_TIMEOUT); /* it waited for as long as a request may */
    }
    int64_t began_ms = weir_clock_mono_ms(weir_clock_real());
    ck_assert_int_eq(recover_once(&kit, target, &cursor), WEIR_AGAIN);
    ck_assert_int_lt(weir_clock_mono_ms(weir_clock_real()) - began_ms, target->call_ms_max);
    ck_assert_int_eq(recover_through(&kit, target, &cursor), WEIR_EXTERNAL);
    ck_assert_msg(strstr(kit.err.text, "nothing could be written for") != NULL, "%s", kit.err.text);
    target->vtable->destroy(target);
    ck_assert_int_eq(rd_kafka_mock_broker_set_up(kit.cluster, -1), RD_KAFKA_RESP_ERR_NO_ERROR);
    kit.conn.options[4].value = "60000";
    target = make_target(&kit);
    (void)recover_ok(&kit, target);
    target->vtable->destroy(target);
    kit_fini(&kit);
}
END_TEST

/* The first call waits in vain; the second goes on with the same client. */
START_TEST(brokers_come_back_between_calls)
{
    struct kafka_kit kit;
    kit_init(&kit, "60000");
    struct weir_drain_target *target = make_target(&kit);
    int64_t cursor = 0;
    ck_assert_int_eq(rd_kafka_mock_broker_set_down(kit.cluster, -1), RD_KAFKA_RESP_ERR_NO_ERROR);
    ck_assert_int_eq(recover_once(&kit, target, &cursor), WEIR_AGAIN);
    ck_assert_int_eq(rd_kafka_mock_broker_set_up(kit.cluster, -1), RD_KAFKA_RESP_ERR_NO_ERROR);
    ck_assert_int_eq(recover_ok(&kit, target), -1);
    ck_assert_msg(drain_at(&kit, target, 0) == WEIR_OK, "%s", kit.err.text);
    target->vtable->destroy(target);
    kit_fini(&kit);
}
END_TEST

static void answer(struct kafka_kit *kit, int broker, int16_t api, rd_kafka_resp_err_t code)
{
    for (int i = 0; i < 5000; i++) {
        ck_assert_int_eq(rd_kafka_mock_broker_push_request_error_rtts(kit->cluster, broker, api, 1, code, 0), RD_KAFKA_RESP_ERR_NO_ERROR);
    }
}

/* One that is cut off from the other brokers, but not from us, answers for ever that a transaction has yet to end, and knows of no other. */
START_TEST(a_coordinator_that_is_one_no_more)
{
    enum { OLD = 1, NEW = 2 };
    static const char id[] = "weir/0123456789abcdef0123456789abcdef/write/0/0";
    struct kafka_kit kit;
    kit_init(&kit, "20000"); /* half of it asks the old one */
    kit.conn.options[3].value = strchr(kit.conn.options[3].value, ',') + 1; /* the new one's */
    ck_assert_int_eq(rd_kafka_mock_coordinator_set(kit.cluster, "transaction", id, OLD), RD_KAFKA_RESP_ERR_NO_ERROR);
    answer(&kit, OLD, API_INIT, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS);
    struct weir_drain_target *target = make_target(&kit);
    int64_t cursor = 0;
    ck_assert_int_eq(recover_once(&kit, target, &cursor), WEIR_AGAIN);
    ck_assert_int_eq(rd_kafka_mock_broker_set_down(kit.cluster, NEW), RD_KAFKA_RESP_ERR_NO_ERROR);
    ck_assert_int_eq(recover_once(&kit, target, &cursor), WEIR_AGAIN);
    answer(&kit, OLD, API_FIND_COORDINATOR, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE);
    ck_assert_int_eq(rd_kafka_mock_coordinator_set(kit.cluster, "transaction", id, NEW), RD_KAFKA_RESP_ERR_NO_ERROR);
    ck_assert_int_eq(rd_kafka_mock_broker_set_up(kit.cluster, NEW), RD_KAFKA_RESP_ERR_NO_ERROR);
    (void)recover_ok(&kit, target);
    target->vtable->destroy(target);
    kit_fini(&kit);
}
END_TEST

START_TEST(bad_records_and_options)
{
    struct kafka_kit kit;
    kit_init(&kit, "60000");
    struct weir_drain_target *target = make_target(&kit);
    ck_assert_int_eq(recover_ok(&kit, target), -1);
    put_record(&kit, 0, "k", "v");
    kit.bytes.data[0] = 0xff;
    ck_assert_int_eq(drain_at(&kit, target, 41), WEIR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(kit.err.text, "record 41"));
    target->vtable->destroy(target);
    /* a partition that is not there */
    target = make_target(&kit);
    ck_assert_int_eq(recover_ok(&kit, target), -1);
    kit.chunk.count = 0;
    weir_buf_clear(&kit.bytes);
    put_record(&kit, 0, "k", "v");
    put_record(&kit, 77, "k", "v");
    ck_assert_int_eq(drain_at(&kit, target, 0), WEIR_NOT_FOUND);
    target->vtable->destroy(target);
    /* ids that are too long are hashed, and still told apart */
    char uid[400];
    memset(uid, 'u', sizeof(uid) - 1);
    uid[sizeof(uid) - 1] = '\0';
    kit.conn.ctx.uid = uid;
    rd_kafka_mock_push_request_errors(kit.cluster, API_INIT, 1, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    target = make_target(&kit);
    int64_t cursor = 0;
    ck_assert_int_eq(recover_through(&kit, target, &cursor), WEIR_REFUSED);
    const char *id = strstr(kit.err.text, "weir/");
    ck_assert_ptr_nonnull(id);
    ck_assert_int_eq(strcspn(id, ":"), strlen("weir/") + 32 + strlen("/0/0"));
    target->vtable->destroy(target);
    uid[240] = '\0';
    char prefix[300];
    memset(prefix, 'p', sizeof(prefix) - 1);
    prefix[sizeof(prefix) - 1] = '\0';
    kit.conn.options[2].value = prefix;
    ck_assert_int_eq(weir__kafka_txn_create(&kit.conn.ctx, &target, &kit.err), WEIR_INVALID);
    kit.conn.options[2].value = "";
    ck_assert_int_eq(weir__kafka_txn_create(&kit.conn.ctx, &target, &kit.err), WEIR_INVALID);
    kit_fini(&kit);
}
END_TEST

Suite *kafka_txn_suite(void);

Suite *kafka_txn_suite(void)
{
    Suite *suite = suite_create("kafka_txn");
    TCase *tcase = tcase_create("kafka_txn");
    tcase_add_test(tcase, a_chunk_and_its_cursor);
    tcase_add_loop_test(tcase, the_cursor_is_read, 0, 3);
    tcase_add_test(tcase, an_answer_without_the_mark_is_not_taken);
    tcase_add_loop_test(tcase, what_takes_longer_than_a_request_may_is_said, 0, 2);
    tcase_add_loop_test(tcase, a_request_fails_in_a_transaction, 0, sizeof(drain_rows) / sizeof(drain_rows[0]));
    tcase_add_test(tcase, an_end_that_fails_is_in_doubt);
    tcase_add_loop_test(tcase, a_request_fails_in_recovery, 0, sizeof(recover_rows) / sizeof(recover_rows[0]));
    tcase_add_loop_test(tcase, no_broker_answers, 0, 2);
    tcase_add_test(tcase, brokers_come_back_between_calls);
    tcase_add_test(tcase, a_coordinator_that_is_one_no_more);
    tcase_add_test(tcase, bad_records_and_options);
    suite_add_tcase(suite, tcase);
    return suite;
}
