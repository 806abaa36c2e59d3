#include "taskmanager/connectors/kafka_sink_test_kit.h"

#include "common/base/clock.h"

#include <ftw.h>

static struct kafka_read reads[KIT_RECORDS_MAX]; /* each test is a process of its own */

static const char *const keyed[] = {"key.fields", "s;n", "key.format", "json", NULL};

static void prepare_ok(struct kafka_kit *kit, struct weir_sink *sink, uint64_t checkpoint)
{
    struct weir_error err = {0};
    uint32_t sleeps;
    ck_assert_msg(kafka_kit_prepare(kit, sink, checkpoint, &sleeps, &err) == WEIR_OK, "%s", err.text);
}

/* The one record whose value begins so. */
static const struct kafka_read *find(uint32_t count, const char *value)
{
    const struct kafka_read *found = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (strncmp(reads[i].value, value, strlen(value)) == 0) {
            ck_assert_ptr_null(found);
            found = &reads[i];
        }
    }
    ck_assert_msg(found != NULL, "no record %s", value);
    return found;
}

/* --- kafka ------------------------------------------------------------------------------------------------------------- */

START_TEST(rows_become_values_and_keys_where_java_puts_them)
{
    struct kafka_kit kit;
    kafka_kit_init(&kit, "kafka", keyed);
    struct weir_sink *sink = kafka_kit_create(&kit);
    kafka_kit_write(&kit, sink, kafka_kit_rows(&kit, "+I 1 a, +I 2 b, +I 3 c, +I 4 d"));
    prepare_ok(&kit, sink, 1);
    prepare_ok(&kit, sink, 2); /* nothing new */
    sink->vtable->destroy(sink);
    ck_assert_uint_eq(kafka_kit_read(&kit, reads), 4);
    ck_assert_str_eq(find(4, "{\"n\":1")->value, "{\"n\":1,\"s\":\"a\"}");
    ck_assert_str_eq(find(4, "{\"n\":1")->key, "{\"s\":\"a\",\"n\":1}");
    for (uint32_t i = 0; i < 4; i++) {
        int32_t java = rd_kafka_msg_partitioner_murmur2(NULL, reads[i].key, strlen(reads[i].key), KIT_PARTITIONS, NULL, NULL);
        ck_assert_int_eq(reads[i].partition, java);
    }
    kafka_kit_fini(&kit);
}
END_TEST

/* Of Java's Utils.murmur2, which librdkafka's is compared with above. */
START_TEST(murmur2_is_javas)
{
    ck_assert_int_eq(rd_kafka_msg_partitioner_murmur2(NULL, "kafka", 5, 1000000, NULL, NULL), (0xd067cf64u & 0x7fffffffu) % 1000000);
}
END_TEST

START_TEST(selected_rows_only_and_no_key_without_key_fields)
{
    struct kafka_kit kit;
    kafka_kit_init(&kit, "kafka", NULL);
    struct weir_sink *sink = kafka_kit_create(&kit);
    struct weir_batch *batch = kafka_kit_rows(&kit, "+I 1 a, +I 2 b, +I 3 c");
    struct weir_buffer *sel = weir_buffer_create(2 * sizeof(uint16_t), NULL);
    ((uint16_t *)(void *)sel->data)[0] = 0;
    ((uint16_t *)(void *)sel->data)[1] = 2;
    struct weir_batch *selected = weir_batch_select_take(batch, sel, 2);
    weir_batch_unref(batch);
    kafka_kit_write(&kit, sink, selected);
    struct weir_error err = {0};
    enum weir_rc rc;
    uint32_t sleeps = 0;
    KAFKA_KIT_AWAIT(&kit, rc, sleeps, sink->vtable->finish(sink, &err));
    ck_assert_int_eq(rc, WEIR_OK);
    ck_assert_int_eq(sink->vtable->commit(sink, 1, &err), WEIR_OK);
    ck_assert_int_eq(sink->vtable->drain(sink, &err), WEIR_OK);
    sink->vtable->destroy(sink);
    ck_assert_uint_eq(kafka_kit_read(&kit, reads), 2);
    ck_assert(!find(2, "{\"n\":1,\"s\":\"a\"}")->has_key);
    ck_assert(!find(2, "{\"n\":3,\"s\":\"c\"}")->has_key);
    kafka_kit_fini(&kit);
}
END_TEST

START_TEST(fixed_and_round_robin_partitions)
{
    static const char *const options[2][3] = {{"sink.partitioner", "fixed", NULL}, {"sink.partitioner", "round-robin", NULL}};
    struct kafka_kit kit;
    kafka_kit_init(&kit, "kafka", options[_i]);
    kit.conn.ctx.subtask = 6;
    kit.conn.ctx.parallelism = 8;
    struct weir_sink *sink = kafka_kit_create(&kit);
    for (uint32_t i = 0; i < 8; i++) {
        kafka_kit_write(&kit, sink, kafka_kit_many(&kit, 10 * i, 10, 5));
    }
    prepare_ok(&kit, sink, 1);
    sink->vtable->destroy(sink);
    ck_assert_uint_eq(kafka_kit_read(&kit, reads), 80);
    for (uint32_t i = 0; i < 80; i++) {
        int n;
        ck_assert_int_eq(sscanf(reads[i].value, "{\"n\":%d,", &n), 1);
        ck_assert_int_eq(reads[i].partition, (_i == 0 ? 6 : 6 + n / 10) % KIT_PARTITIONS);
    }
    kafka_kit_fini(&kit);
}
END_TEST

START_TEST(changes_are_refused_by_kafka)
{
    struct kafka_kit kit;
    struct weir_error err = {0};
    kafka_kit_init(&kit, "kafka", NULL);
    struct weir_sink *sink = kafka_kit_create(&kit);
    struct weir_batch *batch = kafka_kit_rows(&kit, "+I 1 a, -D 1 a");
    ck_assert_int_eq(sink->vtable->write(sink, batch, &err), WEIR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.text, "upsert-kafka"));
    weir_batch_unref(batch);
    sink->vtable->destroy(sink);
    kafka_kit_fini(&kit);
}
END_TEST

/* --- upsert-kafka ------------------------------------------------------------------------------------------------------- */

static const uint32_t primary_key[] = {0};
static const char *const upsert[] = {"key.format", "json", NULL};

static void upsert_init(struct kafka_kit *kit)
{
    kafka_kit_init(kit, "upsert-kafka", upsert);
    kit->conn.table.primary_key = primary_key;
    kit->conn.table.nprimary_key = 1;
}

START_TEST(changelogs_become_upserts_and_tombstones)
{
    static const struct {
        const char *key, *value; /* NULL: a tombstone */
    } wanted[] = {
        {"{\"n\":1}", "{\"n\":1,\"s\":\"a\"}"},
        {"{\"n\":1}", "{\"n\":1,\"s\":\"b\"}"}, /* its -U is the row before */
        {"{\"n\":1}", NULL},                    /* a -U whose +U was dropped */
        {"{\"n\":1}", "{\"n\":1,\"s\":\"c\"}"},
        {"{\"n\":1}", NULL},                    /* -U, then +U of another key */
        {"{\"n\":1}", "{\"n\":1,\"s\":\"d\"}"},
        {"{\"n\":1}", NULL},
    };
    struct kafka_kit kit;
    upsert_init(&kit);
    struct weir_sink *sink = kafka_kit_create(&kit);
    kafka_kit_write(&kit, sink, kafka_kit_rows(&kit, "+I 1 a, -U 1 a, +U 1 b, -U 1 b"));
    kafka_kit_write(&kit, sink, kafka_kit_rows(&kit, "+U 1 c, -U 1 c, +U 2 x, +I 1 d, -D 1 d"));
    prepare_ok(&kit, sink, 1);
    sink->vtable->destroy(sink);
    uint32_t count = kafka_kit_read(&kit, reads);
    uint32_t of_key = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(reads[i].key, "{\"n\":1}") != 0) {
            ck_assert_str_eq(reads[i].value, "{\"n\":2,\"s\":\"x\"}");
            continue;
        }
        ck_assert_uint_lt(of_key, sizeof(wanted) / sizeof(wanted[0]));
        ck_assert_int_eq(reads[i].has_value, wanted[of_key].value != NULL);
        ck_assert_str_eq(reads[i].value, wanted[of_key].value == NULL ? "" : wanted[of_key].value);
        of_key++;
    }
    ck_assert_uint_eq(of_key, sizeof(wanted) / sizeof(wanted[0]));
    ck_assert_uint_eq(count, of_key + 1);
    kafka_kit_fini(&kit);
}
END_TEST

START_TEST(only_tombstones)
{
    struct kafka_kit kit;
    upsert_init(&kit);
    struct weir_sink *sink = kafka_kit_create(&kit);
    kafka_kit_write(&kit, sink, kafka_kit_rows(&kit, "-D 1 a, -D 2 b"));
    prepare_ok(&kit, sink, 1);
    sink->vtable->destroy(sink);
    ck_assert_uint_eq(kafka_kit_read(&kit, reads), 2);
    ck_assert(!reads[0].has_value && !reads[1].has_value);
    kafka_kit_fini(&kit);
}
END_TEST

START_TEST(a_key_keeps_its_order_and_loses_nothing_when_brokers_refuse)
{
    enum { BATCHES = 100, ROWS = 100, KEYS = 7 };
    struct kafka_kit kit;
    upsert_init(&kit);
    /* The mock does not check sequence numbers as a broker does: with several requests in flight it would take the second when it has refused the
     * first, and librdkafka then rightly counts the first as written. */
    kit.conn.options[kit.conn.table.noptions++] = (struct weir_option){.key = "properties.max.in.flight.requests.per.connection", .value = "1"};
    if (_i == 1) { /* many small requests */
        kit.conn.options[kit.conn.table.noptions++] = (struct weir_option){.key = "properties.linger.ms", .value = "0"};
    }
    struct weir_sink *sink = kafka_kit_create(&kit);
    uint32_t next = 0;
    for (int i = 0; i < BATCHES; i++) {
        if (i % 10 == 5) {
            rd_kafka_mock_push_request_errors(kit.cluster, KIT_PRODUCE_API, 3, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                              RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
        }
        struct weir_batch_builder builder;
        weir_batch_builder_init(&builder, kit.conn.schema, ROWS, kit.conn.mem);
        for (; builder.nrows < ROWS; builder.nrows++, next++) {
            char text[16];
            (void)snprintf(text, sizeof(text), "%u", next);
            ((int64_t *)(void *)builder.cols[0].values)[builder.nrows] = next % KEYS;
            weir_column_builder_put_str(&builder.cols[1], builder.nrows, weir_slice_str(text));
        }
        kafka_kit_write(&kit, sink, weir_batch_builder_finish(&builder));
        weir_batch_builder_fini(&builder);
    }
    prepare_ok(&kit, sink, 1);
    sink->vtable->destroy(sink);
    ck_assert_uint_eq(kafka_kit_read(&kit, reads), BATCHES * ROWS);
    uint32_t expected[KEYS];
    for (uint32_t i = 0; i < KEYS; i++) {
        expected[i] = i;
    }
    for (uint32_t i = 0; i < BATCHES * ROWS; i++) {
        unsigned key, number;
        ck_assert_int_eq(sscanf(reads[i].value, "{\"n\":%u,\"s\":\"%u\"}", &key, &number), 2);
        ck_assert_uint_eq(number, expected[key]);
        expected[key] += KEYS;
    }
    kafka_kit_fini(&kit);
}
END_TEST

START_TEST(without_a_primary_key_it_is_refused)
{
    struct kafka_kit kit;
    struct weir_error err = {0};
    struct weir_sink *sink = NULL;
    kafka_kit_init(&kit, "upsert-kafka", upsert);
    ck_assert_int_eq(weir_conn_sink("upsert-kafka")->create(&kit.conn.ctx, &sink, &err), WEIR_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "primary_key: [COLUMN, ...]"));
    kafka_kit_fini(&kit);
}
END_TEST

/* --- delivery ----------------------------------------------------------------------------------------------------------- */

START_TEST(prepare_waits_for_delivery)
{
    struct kafka_kit kit;
    kafka_kit_init(&kit, "kafka", NULL);
    struct weir_sink *sink = kafka_kit_create(&kit);
    struct weir_error err = {0};
    struct weir_buf state = {0};
    uint32_t sleeps;
    rd_kafka_mock_broker_set_down(kit.cluster, 1);
    kafka_kit_write(&kit, sink, kafka_kit_many(&kit, 0, 100, 10));
    ck_assert_uint_gt(weir_mem_used(kit.conn.mem), 100 * 25);
    ck_assert_int_eq(sink->vtable->prepare(sink, 1, &state, &err), WEIR_AGAIN);
    rd_kafka_mock_broker_set_up(kit.cluster, 1);
    ck_assert_int_eq(kafka_kit_prepare(&kit, sink, 1, &sleeps, &err), WEIR_OK);
    ck_assert_uint_eq(kafka_kit_read(&kit, reads), 100); /* while the sink lives: nothing is flushed by destroy */
    sink->vtable->destroy(sink);
    kafka_kit_fini(&kit);
}
END_TEST

START_TEST(prepare_does_not_wait_for_linger)
{
    static const char *const options[] = {"properties.linger.ms", "600000", "properties.delivery.timeout.ms", "900000", NULL};
    struct kafka_kit kit;
    kafka_kit_init(&kit, "kafka", options);
    struct weir_sink *sink = kafka_kit_create(&kit);
    kafka_kit_write(&kit, sink, kafka_kit_many(&kit, 0, 10, 10));
    prepare_ok(&kit, sink, 1);
    sink->vtable->destroy(sink);
    ck_assert_uint_eq(kafka_kit_read(&kit, reads), 10);
    kafka_kit_fini(&kit);
}
END_TEST

static const struct {
    rd_kafka_resp_err_t code;
    enum weir_rc rc;
    const char *words[2];
} refusals[] = {
    {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, WEIR_REFUSED, {"topic out, partition ", "127.0.0.1"}},
    {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, WEIR_DATA, {"topic out: a record of ", "max.message.bytes"}},
    {RD_KAFKA_RESP_ERR_INVALID_MSG, WEIR_DATA, {"topic out, partition ", ""}},
};

START_TEST(what_is_not_delivered_fails_the_checkpoint)
{
    struct kafka_kit kit;
    kafka_kit_init(&kit, "kafka", keyed);
    struct weir_sink *sink = kafka_kit_create(&kit);
    kafka_kit_write(&kit, sink, kafka_kit_rows(&kit, "+I 1 a"));
    prepare_ok(&kit, sink, 1);
    rd_kafka_mock_push_request_errors(kit.cluster, KIT_PRODUCE_API, 1, refusals[_i].code);
    kafka_kit_write(&kit, sink, kafka_kit_rows(&kit, "+I 2 b"));
    struct weir_error err = {0};
    uint32_t sleeps;
    ck_assert_int_eq(kafka_kit_prepare(&kit, sink, 2, &sleeps, &err), refusals[_i].rc);
    for (int i = 0; i < 2; i++) {
        ck_assert_msg(strstr(err.text, refusals[_i].words[i]) != NULL, "%s", err.text);
    }
    ck_assert_int_eq(kafka_kit_prepare(&kit, sink, 3, &sleeps, &err), refusals[_i].rc); /* it stays failed */
    struct weir_batch *batch = kafka_kit_rows(&kit, "+I 3 c");
    ck_assert_int_eq(sink->vtable->write(sink, batch, &err), refusals[_i].rc);
    weir_batch_unref(batch);
    sink->vtable->destroy(sink);
    kafka_kit_fini(&kit);
}
END_TEST

START_TEST(with_guarantee_none_it_does_not)
{
    static const char *const options[] = {"sink.delivery-guarantee", "none", NULL};
    struct kafka_kit kit;
    kafka_kit_init(&kit, "kafka", options);
    struct weir_sink *sink = kafka_kit_create(&kit);
    rd_kafka_mock_push_request_errors(kit.cluster, KIT_PRODUCE_API, 1, RD_KAFKA_RESP_ERR_INVALID_MSG);
    kafka_kit_write(&kit, sink, kafka_kit_rows(&kit, "+I 1 a"));
    prepare_ok(&kit, sink, 1);
    kafka_kit_write(&kit, sink, kafka_kit_rows(&kit, "+I 2 b"));
    prepare_ok(&kit, sink, 2);
    sink->vtable->destroy(sink);
    ck_assert_uint_eq(kafka_kit_read(&kit, reads), 1);
    kafka_kit_fini(&kit);
}
END_TEST

START_TEST(a_full_buffer_holds_back_input_and_wakes)
{
    static const char *const options[] = {"properties.buffer.memory", "65536", NULL};
    struct kafka_kit kit;
    kafka_kit_init(&kit, "kafka", options);
    struct weir_sink *sink = kafka_kit_create(&kit);
    rd_kafka_mock_broker_set_rtt(kit.cluster, 1, 5);
    uint32_t sleeps = 0;
    for (uint32_t i = 0; i < 40; i++) {
        sleeps += kafka_kit_write(&kit, sink, kafka_kit_many(&kit, 100 * i, 100, 1000)); /* 100 KB */
        ck_assert_uint_lt(weir_mem_used(kit.conn.mem), 2 << 20);
    }
    ck_assert_uint_gt(sleeps, 10); /* mostly once a batch; now and then the broker is faster */
    prepare_ok(&kit, sink, 1);
    sink->vtable->destroy(sink);
    ck_assert_uint_eq(kafka_kit_read(&kit, reads), 4000);
    uint8_t seen[4000] = {0};
    for (uint32_t i = 0; i < 4000; i++) {
        unsigned n;
        ck_assert_int_eq(sscanf(reads[i].value, "{\"n\":%u,", &n), 1);
        ck_assert_uint_lt(n, 4000);
        ck_assert_uint_eq(seen[n]++, 0);
    }
    kafka_kit_fini(&kit);
}
END_TEST

START_TEST(a_record_that_is_too_large_says_what_to_raise)
{
    static const char *const options[2][5] = {{"properties.max.request.size", "10000", NULL}, {"properties.buffer.memory", "10240", NULL}};
    static const char *const words[] = {"properties.max.request.size", "properties.buffer.memory"};
    struct kafka_kit kit;
    struct weir_error err = {0};
    kafka_kit_init(&kit, "kafka", options[_i]);
    struct weir_sink *sink = kafka_kit_create(&kit);
    struct weir_batch *batch = kafka_kit_many(&kit, 0, 1, 20000);
    ck_assert_int_eq(sink->vtable->write(sink, batch, &err), WEIR_DATA);
    ck_assert_msg(strstr(err.text, "topic out: a record of 20014 bytes") != NULL && strstr(err.text, words[_i]) != NULL, "%s", err.text);
    weir_batch_unref(batch);
    sink->vtable->destroy(sink);
    kafka_kit_fini(&kit);
}
END_TEST

static const char *const fixed[] = {"sink.partitioner", "fixed", NULL};

/* With librdkafka's partitioner, which learns it late, and with ours, which asks first. */
START_TEST(an_unknown_topic_is_said_within_seconds)
{
    struct kafka_kit kit;
    struct weir_error err = {0};
    kafka_kit_init(&kit, "kafka", _i == 0 ? NULL : fixed);
    rd_kafka_mock_topic_set_error(kit.cluster, "out", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    int64_t start_ms = weir_clock_mono_ms(weir_clock_real());
    struct weir_sink *sink = kafka_kit_create(&kit);
    struct weir_batch *batch = kafka_kit_rows(&kit, "+I 1 a");
    enum weir_rc rc;
    uint32_t sleeps = 0;
    KAFKA_KIT_AWAIT(&kit, rc, sleeps, sink->vtable->write(sink, batch, &err));
    rc = rc == WEIR_OK ? kafka_kit_prepare(&kit, sink, 1, &sleeps, &err) : rc;
    ck_assert_int_eq(rc, WEIR_NOT_FOUND);
    ck_assert_msg(strstr(err.text, "topic") != NULL && strstr(err.text, "out") != NULL && strstr(err.text, "127.0.0.1") != NULL, "%s", err.text);
    ck_assert_int_lt(weir_clock_mono_ms(weir_clock_real()) - start_ms, 60000); /* and not properties.delivery.timeout.ms, 120 s */
    weir_batch_unref(batch);
    sink->vtable->destroy(sink);
    kafka_kit_fini(&kit);
}
END_TEST

START_TEST(with_brokers_down_it_waits_and_destroy_does_not_hang)
{
    struct kafka_kit kit;
    struct weir_error err = {0};
    struct weir_buf state = {0};
    kafka_kit_init(&kit, "kafka", NULL);
    if (_i == 0) {
        rd_kafka_mock_broker_set_down(kit.cluster, 1);
    }
    struct weir_sink *sink = kafka_kit_create(&kit);
    if (_i == 1) { /* they go later */
        kafka_kit_write(&kit, sink, kafka_kit_rows(&kit, "+I 1 a"));
        prepare_ok(&kit, sink, 1);
        rd_kafka_mock_broker_set_down(kit.cluster, 1);
    }
    kafka_kit_write(&kit, sink, kafka_kit_rows(&kit, "+I 1 a"));
    ck_assert_int_eq(sink->vtable->prepare(sink, 2, &state, &err), WEIR_AGAIN);
    int64_t start_ms = weir_clock_mono_ms(weir_clock_real());
    sink->vtable->destroy(sink);
    ck_assert_int_lt(weir_clock_mono_ms(weir_clock_real()) - start_ms, 25000);
    kafka_kit_fini(&kit);
}
END_TEST

START_TEST(with_brokers_down_for_too_long_it_fails)
{
    static const char *const options[] = {"properties.delivery.timeout.ms", "1500", NULL};
    struct kafka_kit kit;
    struct weir_error err = {0};
    uint32_t sleeps;
    kafka_kit_init(&kit, "kafka", options);
    rd_kafka_mock_broker_set_down(kit.cluster, 1);
    struct weir_sink *sink = kafka_kit_create(&kit);
    kafka_kit_write(&kit, sink, kafka_kit_rows(&kit, "+I 1 a"));
    ck_assert_int_eq(kafka_kit_prepare(&kit, sink, 1, &sleeps, &err), WEIR_EXTERNAL);
    ck_assert_msg(strstr(err.text, "topic out") != NULL && strstr(err.text, "delivery.timeout.ms") != NULL, "%s", err.text);
    sink->vtable->destroy(sink);
    kafka_kit_fini(&kit);
}
END_TEST

START_TEST(a_brokers_return_goes_on_where_it_was)
{
    struct kafka_kit kit;
    kafka_kit_init(&kit, "kafka", NULL);
    struct weir_sink *sink = kafka_kit_create(&kit);
    kafka_kit_write(&kit, sink, kafka_kit_many(&kit, 0, 10, 10));
    rd_kafka_mock_broker_set_down(kit.cluster, 1);
    kafka_kit_write(&kit, sink, kafka_kit_many(&kit, 10, 10, 10));
    rd_kafka_mock_broker_set_up(kit.cluster, 1);
    prepare_ok(&kit, sink, 1);
    sink->vtable->destroy(sink);
    uint32_t count = kafka_kit_read(&kit, reads);
    uint32_t seen = 0;
    for (uint32_t i = 0; i < count; i++) { /* the mock takes what it answered too late once more: it does not check sequence numbers */
        unsigned n;
        ck_assert_int_eq(sscanf(reads[i].value, "{\"n\":%u,", &n), 1);
        ck_assert_uint_lt(n, 20);
        seen |= 1u << n;
    }
    ck_assert_uint_eq(seen, (1u << 20) - 1);
    kafka_kit_fini(&kit);
}
END_TEST

/* --- exactly-once: what the epoch log and the transactions promise is tested with them; here, that they are fed and told -------------- */

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static void await_drained(struct kafka_kit *kit, struct weir_sink *sink)
{
    struct weir_error err = {0};
    enum weir_rc rc;
    uint32_t sleeps = 0;
    KAFKA_KIT_AWAIT(kit, rc, sleeps, sink->vtable->drain(sink, &err));
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
}

static void prepare_state(struct kafka_kit *kit, struct weir_sink *sink, uint64_t checkpoint, struct weir_buf *out_state)
{
    struct weir_error err = {0};
    enum weir_rc rc;
    uint32_t sleeps = 0;
    char *dir = weir_strfmt("%s/%s/chk-%d", kit->conn.ctx.checkpoints_dir, kit->conn.ctx.job_id, (int)checkpoint);
    ck_assert_int_eq(weir_fs_mkdirs(kit->conn.fs, dir, &err), WEIR_OK);
    weir_free(dir);
    KAFKA_KIT_AWAIT(kit, rc, sleeps, sink->vtable->prepare(sink, checkpoint, out_state, &err));
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
    ck_assert_uint_gt(out_state->len, 0);
}

/* The mock cluster does not keep the offsets that a transaction commits: the next attempt's mark (X5 in kafka_txn.c) is refused, and it does without. */
static void refuse_mark(struct kafka_kit *kit)
{
    enum { API_TXN_OFFSETS = 28 };
    rd_kafka_mock_clear_request_errors(kit->cluster, API_TXN_OFFSETS);
    rd_kafka_mock_push_request_errors(kit->cluster, API_TXN_OFFSETS, 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
}

START_TEST(exactly_once_shows_what_is_committed_and_restore_shows_the_rest)
{
    static const char *const options[] = {"sink.delivery-guarantee", "exactly-once", "sink.transactional-id-prefix", "weir",
                                          "key.format", "json", NULL};
    struct kafka_kit kit;
    struct weir_error err = {0};
    struct weir_buf state = {0};
    char dir[WEIR_TEMP_DIR_MAX];
    kafka_kit_init(&kit, "upsert-kafka", options);
    kit.conn.table.primary_key = primary_key;
    kit.conn.table.nprimary_key = 1;
    kit.conn.settings.checkpoint_interval_ms = 1000;
    weir_temp_dir(dir, "kafka");
    kit.conn.ctx.checkpoints_dir = dir;
    kit.conn.ctx.uid = "write";
    refuse_mark(&kit);
    struct weir_sink *sink = kafka_kit_create(&kit);
    kafka_kit_write(&kit, sink, kafka_kit_rows(&kit, "+I 1 a, +I 2 b, -D 1 a"));
    prepare_state(&kit, sink, 1, &state);
    kafka_kit_write(&kit, sink, kafka_kit_rows(&kit, "+I 5 lost"));
    sink->vtable->destroy(sink); /* the attempt dies before it hears of checkpoint 1 */
    ck_assert_uint_eq(kafka_kit_read(&kit, reads), 0);

    kit.conn.ctx.attempt = 2;
    refuse_mark(&kit);
    sink = kafka_kit_create(&kit);
    enum weir_rc rc;
    uint32_t sleeps = 0;
    KAFKA_KIT_AWAIT(&kit, rc, sleeps, sink->vtable->restore(sink, 1, weir_buf_slice(&state), true, &err));
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
    await_drained(&kit, sink);
    ck_assert_uint_eq(kafka_kit_read(&kit, reads), 3);
    ck_assert_str_eq(find(3, "{\"n\":1")->key, "{\"n\":1}");
    kafka_kit_write(&kit, sink, kafka_kit_rows(&kit, "+I 3 c, +I 4 d"));
    weir_buf_clear(&state);
    prepare_state(&kit, sink, 2, &state);
    ck_assert_uint_eq(kafka_kit_read(&kit, reads), 3);
    ck_assert_int_eq(sink->vtable->commit(sink, 2, &err), WEIR_OK);
    await_drained(&kit, sink);
    sink->vtable->destroy(sink);
    ck_assert_uint_eq(kafka_kit_read(&kit, reads), 5);
    ck_assert_str_eq(find(5, "{\"n\":4")->value, "{\"n\":4,\"s\":\"d\"}");
    weir_buf_fini(&state);
    ck_assert_int_eq(nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
    kafka_kit_fini(&kit);
}
END_TEST

START_TEST(wrong_options_are_refused)
{
    static const struct {
        const char *options[5];
        const char *problem;
    } wrong[] = {
        {{"properties.acks", "0", NULL}, "sink.delivery-guarantee: none"},
        {{"sink.delivery-guarantee", "exactly-once", "sink.transactional-id-prefix", "x", NULL}, "execution.checkpointing.interval"},
        {{"sink.delivery-guarantee", "twice", NULL}, "expected none, at-least-once or exactly-once"},
        {{"sink.partitioner", "random", NULL}, "expected default, fixed or round-robin"},
        {{"key.fields", "s;x", "key.format", "json", NULL}, "\"x\" is no column"},
        {{"key.fields", "s;s", "key.format", "json", NULL}, "\"s\" stands there twice"},
        {{"key.fields", "s", "key.format", "avro", NULL}, "no known format"},
        {{"key.fields", "s", NULL}, "it has no format"},
    };
    struct kafka_kit kit;
    struct weir_error err = {0};
    struct weir_sink *sink = NULL;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        kafka_kit_init(&kit, "kafka", wrong[i].options);
        ck_assert_int_eq(weir_conn_sink("kafka")->create(&kit.conn.ctx, &sink, &err), WEIR_INVALID);
        ck_assert_msg(strstr(err.text, wrong[i].problem) != NULL, "%s", err.text);
        kafka_kit_fini(&kit);
    }
}
END_TEST

START_TEST(a_state_is_refused_where_there_can_be_none)
{
    struct kafka_kit kit;
    struct weir_error err = {0};
    kafka_kit_init(&kit, "kafka", NULL);
    struct weir_sink *sink = kafka_kit_create(&kit);
    ck_assert_int_eq(sink->vtable->restore(sink, 7, weir_slice_str(""), true, &err), WEIR_OK);
    ck_assert_int_eq(sink->vtable->restore(sink, 7, weir_slice_str("state"), true, &err), WEIR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.text, "sink.delivery-guarantee"));
    sink->vtable->destroy(sink);
    kafka_kit_fini(&kit);
}
END_TEST

Suite *kafka_sink_suite(void);
Suite *kafka_sink_suite(void)
{
    Suite *suite = suite_create("kafka_sink");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, rows_become_values_and_keys_where_java_puts_them);
    tcase_add_test(tc, murmur2_is_javas);
    tcase_add_test(tc, selected_rows_only_and_no_key_without_key_fields);
    tcase_add_loop_test(tc, fixed_and_round_robin_partitions, 0, 2);
    tcase_add_test(tc, changes_are_refused_by_kafka);
    tcase_add_test(tc, changelogs_become_upserts_and_tombstones);
    tcase_add_test(tc, only_tombstones);
    tcase_add_loop_test(tc, a_key_keeps_its_order_and_loses_nothing_when_brokers_refuse, 0, 2);
    tcase_add_test(tc, without_a_primary_key_it_is_refused);
    tcase_add_test(tc, prepare_waits_for_delivery);
    tcase_add_test(tc, prepare_does_not_wait_for_linger);
    tcase_add_loop_test(tc, what_is_not_delivered_fails_the_checkpoint, 0, sizeof(refusals) / sizeof(refusals[0]));
    tcase_add_test(tc, with_guarantee_none_it_does_not);
    tcase_add_test(tc, a_full_buffer_holds_back_input_and_wakes);
    tcase_add_loop_test(tc, a_record_that_is_too_large_says_what_to_raise, 0, 2);
    tcase_add_loop_test(tc, an_unknown_topic_is_said_within_seconds, 0, 2);
    tcase_add_loop_test(tc, with_brokers_down_it_waits_and_destroy_does_not_hang, 0, 2);
    tcase_add_test(tc, with_brokers_down_for_too_long_it_fails);
    tcase_add_test(tc, a_brokers_return_goes_on_where_it_was);
    tcase_add_test(tc, exactly_once_shows_what_is_committed_and_restore_shows_the_rest);
    tcase_add_test(tc, wrong_options_are_refused);
    tcase_add_test(tc, a_state_is_refused_where_there_can_be_none);
    suite_add_tcase(suite, tc);
    return suite;
}
