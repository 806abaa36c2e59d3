#include "taskmanager/connectors/conn_registry.h"
#include "taskmanager/connectors/conn_test_kit.h"
#include "taskmanager/connectors/kafka_source_splits.h"

#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SPLITS_MAX = 300, ROWS_MAX = 20000, TIMEOUT_MS = 60000 };

/* What takes so long waits for one of librdkafka's own time-outs (30 s and more), even on a machine that is busy. */
enum { HANGS_MS = 25000 };

static const char *const columns[] = {"id", "BIGINT", "name", "STRING", NULL};

/* Brokers in this process, a topic "topic", and a source that reads it. */
struct stand {
    struct conn_kit kit;
    rd_kafka_t *producer;
    rd_kafka_mock_cluster_t *cluster;
    int event;
    uint32_t nsplits;
    char ids[SPLITS_MAX][64];
    struct weir_buf data[SPLITS_MAX];
    struct weir_source *source;
    uint32_t nrows;
    uint32_t row_split[ROWS_MAX];
    int64_t row_id[ROWS_MAX];
    uint32_t batches, largest;
};

static void stand_on_wake(void *ctx)
{
    struct stand *stand = ctx;
    uint64_t one = 1;
    ck_assert_int_eq(write(stand->event, &one, sizeof(one)), sizeof(one));
}

static void stand_make(struct stand *stand, uint32_t partitions, const char *const *options)
{
    char text[512];
    memset(stand, 0, sizeof(*stand));
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    ck_assert_int_eq(rd_kafka_conf_set(conf, "linger.ms", "1", text, sizeof(text)), RD_KAFKA_CONF_OK);
    ck_assert_int_eq(rd_kafka_conf_set(conf, "test.mock.num.brokers", "1", text, sizeof(text)), RD_KAFKA_CONF_OK);
    stand->producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    ck_assert_msg(stand->producer != NULL, "%s", text);
    stand->cluster = rd_kafka_handle_mock_cluster(stand->producer);
    ck_assert_ptr_nonnull(stand->cluster);
    ck_assert_int_eq(rd_kafka_mock_topic_create(stand->cluster, "topic", (int)partitions, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    conn_kit_init(&stand->kit, "kafka", columns, options);
    struct weir_table_spec *table = &stand->kit.table;
    stand->kit.options[table->noptions++] = (struct weir_option){.key = "topic", .value = "topic"};
    stand->kit.options[table->noptions++] =
        (struct weir_option){.key = "properties.bootstrap.servers", .value = rd_kafka_mock_cluster_bootstraps(stand->cluster)};
    stand->event = eventfd(0, EFD_NONBLOCK);
    stand->kit.ctx.uid = "read";
    stand->kit.ctx.wake = stand_on_wake;
    stand->kit.ctx.wake_ctx = stand;
}

static void stand_close(struct stand *stand)
{
    if (stand->source != NULL) {
        stand->source->vtable->destroy(stand->source);
    }
    stand->source = NULL;
    ck_assert_uint_eq(weir_mem_used(stand->kit.mem), 0);
}

static void stand_fini(struct stand *stand)
{
    stand_close(stand);
    for (uint32_t i = 0; i < stand->nsplits; i++) {
        weir_buf_fini(&stand->data[i]);
    }
    rd_kafka_destroy(stand->producer);
    conn_kit_fini(&stand->kit);
    ck_assert_int_eq(close(stand->event), 0);
}

/* value NULL: a tombstone. */
static void produce(struct stand *stand, int32_t partition, const char *value)
{
    rd_kafka_resp_err_t code;
    void *bytes = (void *)(uintptr_t)value;
    size_t size = value == NULL ? 0 : strlen(value);
    do {
        code = rd_kafka_producev(stand->producer, RD_KAFKA_V_TOPIC("topic"), RD_KAFKA_V_PARTITION(partition),
                                 RD_KAFKA_V_KEY("k", 1), RD_KAFKA_V_VALUE(bytes, size),
                                 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        (void)rd_kafka_poll(stand->producer, code == RD_KAFKA_RESP_ERR__QUEUE_FULL ? 10 : 0);
    } while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL);
    ck_assert_int_eq(code, RD_KAFKA_RESP_ERR_NO_ERROR);
}

static void flush(struct stand *stand)
{
    ck_assert_int_eq(rd_kafka_flush(stand->producer, TIMEOUT_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
}

/* Messages {"id": first} ... of a partition. */
static void produce_ids(struct stand *stand, int32_t partition, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char text[64];
        (void)snprintf(text, sizeof(text), "{\"id\":%u,\"name\":\"a name of more than a few bytes\"}", first + i);
        produce(stand, partition, text);
    }
    flush(stand);
}

static void on_split(void *ctx, struct weir_split split)
{
    struct stand *stand = ctx;
    ck_assert_uint_lt(stand->nsplits, SPLITS_MAX);
    (void)snprintf(stand->ids[stand->nsplits], sizeof(stand->ids[0]), "%.*s", WEIR_SLICE_ARG(split.id));
    weir_buf_put_slice(&stand->data[stand->nsplits++], split.data);
}

static enum weir_rc list(struct stand *stand, struct weir_error *err)
{
    for (uint32_t i = 0; i < stand->nsplits; i++) {
        weir_buf_fini(&stand->data[i]);
    }
    stand->nsplits = 0;
    return weir__kafka_source.enumerate(&stand->kit.table, 1, stand->kit.fs, on_split, stand, err);
}

static struct weir_kafka_split split_at(const struct stand *stand, uint32_t i)
{
    struct weir_kafka_split split;
    ck_assert_uint_lt(i, stand->nsplits);
    ck_assert(weir__kafka_split_decode(weir_buf_slice(&stand->data[i]), &split));
    return split;
}

static void add_split(struct stand *stand, struct weir_slice id, struct weir_slice data, const int64_t *position)
{
    struct weir_error err = {0};
    struct weir_buf at = {0};
    uint32_t number;
    if (position != NULL) {
        weir_buf_put_i64(&at, *position);
    }
    enum weir_rc rc = stand->source->vtable->add_split(stand->source, (struct weir_split){.id = id, .data = data}, weir_buf_slice(&at),
                                                       &number, &err);
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
    weir_buf_fini(&at);
}

static void open_empty(struct stand *stand)
{
    struct weir_error err = {0};
    enum weir_rc rc = weir__kafka_source.create(&stand->kit.ctx, &stand->source, &err);
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
    ck_assert_uint_ge(weir_mem_used(stand->kit.mem), 1 << 20); /* what is read ahead is accounted for */
    stand->nrows = 0;
    stand->batches = 0;
    stand->largest = 0;
}

/* A source of the splits that were listed; positions NULL: from the start. */
static void open_listed(struct stand *stand, const int64_t *positions)
{
    open_empty(stand);
    for (uint32_t i = 0; i < stand->nsplits; i++) {
        add_split(stand, weir_slice_str(stand->ids[i]), weir_buf_slice(&stand->data[i]), positions == NULL ? NULL : &positions[i]);
    }
}

static void list_and_open(struct stand *stand)
{
    struct weir_error err = {0};
    enum weir_rc rc = list(stand, &err);
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
    open_listed(stand, NULL);
}

static int64_t position_of(struct stand *stand, uint32_t split)
{
    struct weir_buf at = {0};
    stand->source->vtable->split_position(stand->source, split, &at);
    ck_assert_uint_eq(at.len, 8);
    int64_t position = (int64_t)weir_le_get_u64(at.data);
    weir_buf_fini(&at);
    return position;
}

/* One poll; its rows are noted. */
static enum weir_rc step(struct stand *stand, struct weir_error *err)
{
    struct weir_source_poll poll = {0};
    enum weir_rc rc = stand->source->vtable->poll(stand->source, &poll, err);
    if (rc != WEIR_OK || poll.batch == NULL) {
        return rc;
    }
    uint32_t row = 0;
    for (uint32_t run = 0; run < poll.nruns; run++) {
        ck_assert_uint_gt(poll.runs[run].rows, 0);
        for (uint32_t i = 0; i < poll.runs[run].rows; i++, row++) {
            ck_assert_uint_lt(stand->nrows, ROWS_MAX);
            stand->row_split[stand->nrows] = poll.runs[run].split;
            stand->row_id[stand->nrows++] = WEIR_COLUMN_VALUES(&poll.batch->cols[0], int64_t)[row];
        }
    }
    ck_assert_uint_eq(row, weir_batch_rows(poll.batch));
    stand->batches++;
    stand->largest = row > stand->largest ? row : stand->largest;
    weir_batch_unref(poll.batch);
    return rc;
}

/* Waits for a wake alone; false: none came. */
static bool wait_wake(struct stand *stand, int timeout_ms)
{
    struct pollfd fd = {.fd = stand->event, .events = POLLIN};
    uint64_t count;
    int ready;
    do {
        ready = poll(&fd, 1, timeout_ms);
    } while (ready < 0 && errno == EINTR); /* it is not begun anew when a stopped process goes on */
    return ready == 1 && read(stand->event, &count, sizeof(count)) == sizeof(count);
}

/* Polls until there are `rows` rows or something else than rows; whenever there is nothing, only a wake goes on. */
static enum weir_rc drain(struct stand *stand, uint32_t rows, struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    while (stand->nrows < rows && (rc == WEIR_OK || rc == WEIR_AGAIN)) {
        rc = step(stand, err);
        if (rc == WEIR_AGAIN) {
            ck_assert_msg(wait_wake(stand, TIMEOUT_MS), "no wake");
        }
    }
    return rc;
}

static enum weir_rc drain_all(struct stand *stand, struct weir_error *err)
{
    return drain(stand, UINT32_MAX, err);
}

/* The rows of a split are the ids from `first` on, in order; returns how many. */
static uint32_t check_ids(const struct stand *stand, uint32_t split, int64_t first)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < stand->nrows; i++) {
        if (stand->row_split[i] == split) {
            ck_assert_int_eq(stand->row_id[i], first + count);
            count++;
        }
    }
    return count;
}

static const char *const bounded_options[] = {"scan.startup.mode", "earliest-offset", "scan.bounded.mode", "latest-offset", NULL};
static const char *const unbounded_options[] = {"scan.startup.mode", "earliest-offset", NULL};

START_TEST(a_bounded_topic_is_read_to_its_end)
{
    struct stand stand;
    struct weir_error err = {0};
    stand_make(&stand, 4, bounded_options);
    produce_ids(&stand, 0, 0, 6000);
    produce_ids(&stand, 1, 100000, 1);
    produce_ids(&stand, 3, 200000, 3000);
    ck_assert(weir__kafka_source.bounded(&stand.kit.table));
    list_and_open(&stand);
    ck_assert_uint_eq(stand.nsplits, 4);
    for (uint32_t i = 0; i < 4; i++) {
        struct weir_kafka_split split = split_at(&stand, i);
        char id[16];
        (void)snprintf(id, sizeof(id), "topic/%u", i);
        ck_assert_str_eq(stand.ids[i], id);
        ck_assert_int_eq(split.partition, i);
        ck_assert_int_eq(split.start, 0);
        ck_assert_int_eq(split.stop, i == 0 ? 6000 : i == 1 ? 1 : i == 2 ? 0 : 3000);
    }
    /* An empty partition has ended before it is read; what comes later is behind the end. */
    ck_assert(stand.source->vtable->split_finished(stand.source, 2));
    ck_assert(!stand.source->vtable->split_finished(stand.source, 0));
    produce_ids(&stand, 0, 6000, 50);
    produce_ids(&stand, 2, 0, 50);
    enum weir_rc rc = drain_all(&stand, &err);
    ck_assert_msg(rc == WEIR_END, "%d %s", rc, err.text);
    ck_assert_uint_eq(check_ids(&stand, 0, 0), 6000);
    ck_assert_uint_eq(check_ids(&stand, 1, 100000), 1);
    ck_assert_uint_eq(check_ids(&stand, 3, 200000), 3000);
    ck_assert_uint_eq(stand.nrows, 9001);
    ck_assert_uint_le(stand.largest, WEIR_BATCH_ROWS_MAX);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert(stand.source->vtable->split_finished(stand.source, i));
        ck_assert_int_eq(position_of(&stand, i), split_at(&stand, i).stop);
    }
    ck_assert_int_eq(drain_all(&stand, &err), WEIR_END);
    stand_fini(&stand);
}
END_TEST

START_TEST(reading_goes_on_where_it_stood)
{
    enum { ROWS = 9000 };
    struct stand stand;
    struct weir_error err = {0};
    stand_make(&stand, 2, bounded_options);
    produce_ids(&stand, 0, 0, ROWS);
    produce_ids(&stand, 1, 0, ROWS);
    list_and_open(&stand);
    int64_t positions[2] = {0};
    uint32_t total = 0;
    for (uint32_t restart = 0; total < 2 * ROWS; restart++) {
        ck_assert_uint_lt(restart, 100000);
        stand.nrows = 0;
        ck_assert_msg(drain(&stand, 1, &err) == WEIR_OK, "%s", err.text);
        for (uint32_t i = 0; i < 2; i++) { /* exactly behind the last row handed out, whatever was fetched */
            positions[i] += check_ids(&stand, i, positions[i]);
            ck_assert_int_eq(position_of(&stand, i), positions[i]);
        }
        total += stand.nrows;
        if (restart % 2 == 0 && total < 2 * ROWS) {
            stand_close(&stand);
            open_listed(&stand, positions);
        }
    }
    stand.nrows = 0;
    ck_assert_int_eq(drain_all(&stand, &err), WEIR_END);
    ck_assert_uint_eq(stand.nrows, 0);
    ck_assert_int_eq(positions[0], ROWS);
    ck_assert_int_eq(positions[1], ROWS);
    stand_fini(&stand);
}
END_TEST

START_TEST(nothing_between_start_and_stop_is_the_end_at_once)
{
    static const char *const options[] = {"scan.startup.mode", "latest-offset", "scan.bounded.mode", "latest-offset", NULL};
    struct stand stand;
    struct weir_error err = {0};
    stand_make(&stand, 3, options);
    produce_ids(&stand, 1, 0, 10);
    list_and_open(&stand);
    ck_assert_int_eq(split_at(&stand, 1).start, 10);
    ck_assert_int_eq(split_at(&stand, 1).stop, 10);
    ck_assert_int_eq(step(&stand, &err), WEIR_END);
    ck_assert_int_eq(position_of(&stand, 1), 10);
    stand_close(&stand);
    open_empty(&stand); /* a subtask without partitions */
    ck_assert_int_eq(step(&stand, &err), WEIR_END);
    stand_fini(&stand);
}
END_TEST

START_TEST(new_messages_wake)
{
    struct stand stand;
    struct weir_error err = {0};
    stand_make(&stand, 300, unbounded_options);
    ck_assert(!weir__kafka_source.bounded(&stand.kit.table));
    list_and_open(&stand);
    for (uint32_t round = 0; round < 20; round++) {
        enum weir_rc rc = WEIR_OK;
        while (rc != WEIR_AGAIN) {
            rc = step(&stand, &err);
            ck_assert_msg(rc == WEIR_OK || rc == WEIR_AGAIN, "%s", err.text);
        }
        ck_assert_uint_eq(stand.nrows, round);
        produce_ids(&stand, (int32_t)(round * 7), round, 1);
        ck_assert_msg(drain(&stand, round + 1, &err) == WEIR_OK, "%s", err.text);
        ck_assert_uint_eq(stand.row_split[round], round * 7);
        ck_assert_int_eq(stand.row_id[round], round);
    }
    /* More partitions in a batch than it can name. */
    uint32_t before = stand.nrows;
    for (int32_t i = 0; i < 300; i++) {
        produce(&stand, i, "{\"id\":1}");
    }
    flush(&stand);
    ck_assert_msg(drain(&stand, before + 300, &err) == WEIR_OK, "%s", err.text);
    stand_fini(&stand);
}
END_TEST

START_TEST(a_full_account_stops_reading)
{
    struct stand stand;
    struct weir_error err = {0};
    stand_make(&stand, 1, bounded_options);
    produce_ids(&stand, 0, 0, 10);
    struct weir_mem *small = weir_mem_create("small", 32 << 20, NULL);
    stand.kit.ctx.mem = small;
    struct weir_mem *kit_mem = stand.kit.mem;
    stand.kit.mem = small;
    list_and_open(&stand);
    uint64_t rest = weir_mem_limit(small) - weir_mem_used(small);
    weir_mem_charge(small, rest);
    struct weir_source_poll poll = {0};
    ck_assert_int_eq(stand.source->vtable->poll(stand.source, &poll, &err), WEIR_AGAIN);
    ck_assert_int_gt(poll.wait_ms, 0);
    weir_mem_uncharge(small, rest);
    ck_assert_int_eq(drain_all(&stand, &err), WEIR_END);
    ck_assert_uint_eq(stand.nrows, 10);
    stand_close(&stand);
    stand.kit.mem = kit_mem;
    weir_mem_destroy(small);
    stand_fini(&stand);
}
END_TEST

START_TEST(bad_records_are_named_or_skipped)
{
    struct stand stand;
    struct weir_error err = {0};
    stand_make(&stand, 2, bounded_options);
    stand.kit.settings.record_bytes_max = 200;
    char long_text[300];
    memset(long_text, ' ', sizeof(long_text));
    long_text[sizeof(long_text) - 1] = '\0';
    produce_ids(&stand, 1, 0, 5);
    produce(&stand, 1, NULL);
    produce(&stand, 1, "{\"id\":5}");
    produce(&stand, 1, "{\"id\":true}");
    produce(&stand, 1, "{\"id\":6}");
    produce(&stand, 1, "");
    produce(&stand, 1, long_text);
    produce(&stand, 1, "{\"id\":7}");
    produce(&stand, 1, NULL);
    flush(&stand);
    list_and_open(&stand);
    ck_assert_int_eq(drain_all(&stand, &err), WEIR_DATA);
    ck_assert_msg(strstr(err.text, "topic topic, partition 1, offset 7: ") != NULL, "%s", err.text);
    ck_assert_msg(strstr(err.text, "{\"id\":true}") != NULL, "%s", err.text);
    stand_close(&stand);

    int64_t positions[] = {0, 10};
    open_listed(&stand, positions);
    ck_assert_int_eq(drain_all(&stand, &err), WEIR_DATA);
    ck_assert_msg(strstr(err.text, "partition 1, offset 10: ") != NULL && strstr(err.text, "record.bytes.max") != NULL, "%s", err.text);
    stand_close(&stand);

    stand.kit.table.on_error = WEIR_ON_ERROR_SKIP;
    open_listed(&stand, NULL);
    ck_assert_int_eq(drain_all(&stand, &err), WEIR_END);
    ck_assert_uint_eq(check_ids(&stand, 1, 0), 8);
    ck_assert_uint_eq(stand.kit.errors_skipped, 3);
    ck_assert_int_eq(position_of(&stand, 1), 13);
    stand_fini(&stand);
}
END_TEST

/* A batch of nothing but a control record (a transaction's marker), sent as bytes: no client sends one. */
static void produce_marker(struct stand *stand, int32_t partition)
{
    static const uint8_t head[] = {0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0, 0x27, 0x10, 0, 0, 0, 1, 0, 5, 't', 'o', 'p', 'i',
                                   'c', 0, 0, 0, 1};
    static const uint8_t record[] = {32, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0, 0, 0}; /* key: COMMIT; value: version, coordinator's epoch */
    enum { BATCH_HEAD = 61, BATCH = BATCH_HEAD + sizeof(record), TOTAL = sizeof(head) + 8 + BATCH };
    uint8_t bytes[4 + TOTAL] = {[3] = TOTAL};
    memcpy(bytes + 4, head, sizeof(head));
    uint8_t *at = bytes + 4 + sizeof(head);
    at[3] = (uint8_t)partition;
    at[7] = BATCH;
    uint8_t *batch = at + 8;
    batch[11] = BATCH - 12;
    batch[16] = 2;           /* magic */
    batch[22] = 0x30;        /* transactional, control */
    batch[60] = 1;           /* records */
    memcpy(batch + BATCH_HEAD, record, sizeof(record));
    const char *servers = rd_kafka_mock_cluster_bootstraps(stand->cluster);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)strtoul(strchr(servers, ':') + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    ck_assert_int_eq(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
    uint8_t answer[64];
    ck_assert_int_gt(read(fd, answer, sizeof(answer)), 0);
    ck_assert_int_eq(close(fd), 0);
}

START_TEST(gaps_end_a_partition_and_are_passed_over)
{
    static const char *const options[] = {"scan.startup.mode", "earliest-offset", "scan.bounded.mode", "latest-offset",
                                          "properties.check.crcs", "false", NULL};
    struct stand stand;
    struct weir_error err = {0};
    stand_make(&stand, 2, options);
    produce_ids(&stand, 0, 0, 5);
    produce_marker(&stand, 0);
    produce_ids(&stand, 0, 5, 1);
    produce_marker(&stand, 0);
    produce_marker(&stand, 0);
    produce_marker(&stand, 1);
    list_and_open(&stand);
    ck_assert_int_eq(split_at(&stand, 0).stop, 9);
    ck_assert_int_eq(split_at(&stand, 1).stop, 1);
    ck_assert_msg(drain_all(&stand, &err) == WEIR_END, "%s", err.text);
    ck_assert_uint_eq(check_ids(&stand, 0, 0), 6);
    ck_assert_int_eq(position_of(&stand, 0), 9);
    ck_assert_int_eq(position_of(&stand, 1), 1);
    stand_close(&stand);

    /* The stop lies in the gap, and a message comes behind it. */
    weir_le_put_u64(stand.data[0].data + 8, 8);
    produce_ids(&stand, 0, 99, 1);
    open_listed(&stand, NULL);
    ck_assert_msg(drain_all(&stand, &err) == WEIR_END, "%s", err.text);
    ck_assert_uint_eq(check_ids(&stand, 0, 0), 6);
    ck_assert_int_eq(position_of(&stand, 0), 8);
    stand_fini(&stand);
}
END_TEST

START_TEST(what_is_no_longer_there_is_an_error)
{
    struct stand stand;
    struct weir_error err = {0};
    stand_make(&stand, 2, unbounded_options);
    produce_ids(&stand, 0, 0, 5);
    produce_ids(&stand, 1, 0, 5);
    ck_assert_int_eq(list(&stand, &err), WEIR_OK);
    stand.kit.deferred = true; /* the question what there is runs when the executor gets to it */
    int64_t positions[] = {2, 70};
    open_listed(&stand, positions);
    enum weir_rc rc = WEIR_OK;
    for (bool asked = false; rc == WEIR_OK || rc == WEIR_AGAIN;) {
        rc = step(&stand, &err);
        asked = asked || stand.kit.nworks > 0;
        if (rc == WEIR_AGAIN && !conn_kit_step(&stand.kit)) {
            ck_assert(!asked);
            ck_assert_msg(wait_wake(&stand, TIMEOUT_MS), "no wake");
        }
    }
    ck_assert_int_eq(rc, WEIR_DATA);
    ck_assert_msg(strstr(err.text, "topic topic, partition 1: offset 70 ") != NULL, "%s", err.text);
    ck_assert_msg(strstr(err.text, "offsets 0 to 5") != NULL, "%s", err.text);
    stand_fini(&stand);
}
END_TEST

static int64_t committed_of(struct stand *stand, const char *group, int32_t partition)
{
    char text[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    ck_assert_int_eq(rd_kafka_conf_set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(stand->cluster), text, sizeof(text)),
                     RD_KAFKA_CONF_OK);
    ck_assert_int_eq(rd_kafka_conf_set(conf, "group.id", group, text, sizeof(text)), RD_KAFKA_CONF_OK);
    rd_kafka_t *handle = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    ck_assert_ptr_nonnull(handle);
    rd_kafka_topic_partition_list_t *of = rd_kafka_topic_partition_list_new(1);
    (void)rd_kafka_topic_partition_list_add(of, "topic", partition);
    ck_assert_int_eq(rd_kafka_committed(handle, of, TIMEOUT_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
    int64_t offset = of->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(of);
    rd_kafka_destroy(handle);
    return offset;
}

static void tell_committed(struct stand *stand)
{
    for (uint32_t i = 0; i < stand->nsplits; i++) {
        uint8_t position[8];
        weir_le_put_u64(position, (uint64_t)position_of(stand, i));
        stand->source->vtable->committed(stand->source, i, weir_slice(position, sizeof(position)));
    }
}

START_TEST(the_group_follows_checkpoints_and_can_be_started_from)
{
    static const char *const options[] = {"scan.bounded.mode", "latest-offset", "properties.group.id", "g", NULL};
    struct stand stand;
    struct weir_error err = {0};
    stand_make(&stand, 2, options);
    produce_ids(&stand, 0, 0, 100);
    ck_assert_int_eq(list(&stand, &err), WEIR_NOT_FOUND);
    ck_assert_msg(strstr(err.text, "\"g\" has no committed offset for topic topic, partition 0") != NULL, "%s", err.text);
    ck_assert_msg(strstr(err.text, "properties.auto.offset.reset") != NULL, "%s", err.text);
    ck_assert_uint_eq(stand.nsplits, 0);
    struct weir_option *reset = &stand.kit.options[stand.kit.table.noptions++];
    *reset = (struct weir_option){.key = "properties.auto.offset.reset", .value = "latest"};
    ck_assert_int_eq(list(&stand, &err), WEIR_OK);
    ck_assert_int_eq(split_at(&stand, 0).start, 100);
    reset->value = "earliest";
    list_and_open(&stand);
    ck_assert_int_eq(split_at(&stand, 0).start, 0);
    ck_assert_int_eq(drain_all(&stand, &err), WEIR_END);
    ck_assert_int_eq(committed_of(&stand, "g", 0), RD_KAFKA_OFFSET_INVALID);
    tell_committed(&stand);
    stand_close(&stand); /* at once, as at the end of a job: they arrive all the same */
    ck_assert_int_eq(committed_of(&stand, "g", 0), 100);
    ck_assert_int_eq(committed_of(&stand, "g", 1), 0);

    produce_ids(&stand, 0, 100, 20);
    reset->value = "none";
    list_and_open(&stand);
    ck_assert_int_eq(split_at(&stand, 0).start, 100);
    ck_assert_int_eq(drain_all(&stand, &err), WEIR_END);
    ck_assert_uint_eq(check_ids(&stand, 0, 100), 20);
    tell_committed(&stand);
    tell_committed(&stand);
    stand_close(&stand);
    ck_assert_int_eq(committed_of(&stand, "g", 0), 120);

    /* A group ahead of a topic that was made anew. */
    rd_kafka_mock_push_request_errors(stand.cluster, 8 /* OffsetCommit */, 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    produce_ids(&stand, 0, 120, 1);
    list_and_open(&stand);
    ck_assert_int_eq(drain_all(&stand, &err), WEIR_END);
    tell_committed(&stand); /* refused: a line in the log, nothing else */
    stand_close(&stand);
    ck_assert_int_eq(committed_of(&stand, "g", 0), 120);
    stand_fini(&stand);
}
END_TEST

START_TEST(without_a_group_nothing_is_committed)
{
    struct stand stand;
    struct weir_error err = {0};
    stand_make(&stand, 1, bounded_options);
    produce_ids(&stand, 0, 0, 10);
    list_and_open(&stand);
    ck_assert_int_eq(drain_all(&stand, &err), WEIR_END);
    tell_committed(&stand);
    stand_close(&stand);
    char group[128];
    (void)snprintf(group, sizeof(group), "weir-%s-read", stand.kit.ctx.job_id);
    ck_assert_int_eq(committed_of(&stand, group, 0), RD_KAFKA_OFFSET_INVALID);
    stand_fini(&stand);
}
END_TEST

START_TEST(times_beyond_the_last_record_are_the_end)
{
    static const char *const options[] = {"scan.startup.mode", "timestamp", "scan.startup.timestamp-millis", "4102444800000",
                                          "scan.bounded.mode", "timestamp", "scan.bounded.timestamp-millis", "4102444800000", NULL};
    struct stand stand;
    struct weir_error err = {0};
    stand_make(&stand, 1, options);
    produce_ids(&stand, 0, 0, 10);
    enum weir_rc rc = list(&stand, &err);
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
    ck_assert_int_eq(split_at(&stand, 0).start, 10);
    ck_assert_int_eq(split_at(&stand, 0).stop, 10);
    stand_fini(&stand);
}
END_TEST

START_TEST(an_unknown_topic_and_silent_brokers_are_named)
{
    struct stand stand;
    struct weir_error err = {0};
    stand_make(&stand, 1, bounded_options);
    struct weir_option *topic = &stand.kit.options[stand.kit.table.noptions - 2];
    struct weir_option *servers = &stand.kit.options[stand.kit.table.noptions - 1];
    rd_kafka_mock_topic_set_error(stand.cluster, "gone", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    topic->value = "gone";
    ck_assert_int_eq(list(&stand, &err), WEIR_NOT_FOUND);
    ck_assert_msg(strstr(err.text, "\"gone\"") != NULL && strstr(err.text, servers->value) != NULL, "%s", err.text);
    topic->value = "topic";
    servers->value = "127.0.0.1:1";
    int64_t began_ms = weir_clock_mono_ms(weir_clock_real());
    ck_assert_int_eq(weir__kafka_splits_list(&stand.kit.table, 1500, on_split, &stand, &err), WEIR_EXTERNAL);
    ck_assert_msg(strstr(err.text, "127.0.0.1:1") != NULL, "%s", err.text);
    ck_assert_int_lt(weir_clock_mono_ms(weir_clock_real()) - began_ms, HANGS_MS);
    stand_fini(&stand);
}
END_TEST

START_TEST(brokers_that_are_down_are_waited_for)
{
    struct stand stand;
    struct weir_error err = {0};
    stand_make(&stand, 1, unbounded_options);
    produce_ids(&stand, 0, 0, 10);
    list_and_open(&stand);
    ck_assert_int_eq(drain(&stand, 10, &err), WEIR_OK);
    ck_assert_int_eq(rd_kafka_mock_broker_set_down(stand.cluster, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    for (uint32_t wakes = 0; wakes < 3 && wait_wake(&stand, 1000); wakes++) {
        enum weir_rc rc = step(&stand, &err);
        ck_assert_msg(rc == WEIR_AGAIN, "%s", err.text);
    }
    ck_assert_int_eq(rd_kafka_mock_broker_set_up(stand.cluster, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    produce_ids(&stand, 0, 10, 10);
    ck_assert_msg(drain(&stand, 20, &err) == WEIR_OK, "%s", err.text);
    ck_assert_uint_eq(check_ids(&stand, 0, 0), 20);
    stand_fini(&stand);
}
END_TEST

START_TEST(destroy_does_not_wait_for_brokers)
{
    static const char *const options[] = {"scan.startup.mode", "earliest-offset", "properties.group.id", "g", NULL};
    enum { DOWN, COMMIT_DOWN, COMMIT_HANGS, COMMIT_CODE = 8 };
    struct stand stand;
    struct weir_error err = {0};
    stand_make(&stand, 1, options);
    produce_ids(&stand, 0, 0, 10);
    ck_assert_int_eq(list(&stand, &err), WEIR_OK);
    if (_i == COMMIT_HANGS) {
        ck_assert_int_eq(rd_kafka_mock_broker_push_request_error_rtts(stand.cluster, 1, COMMIT_CODE, 1, RD_KAFKA_RESP_ERR_NO_ERROR, 55000),
                         RD_KAFKA_RESP_ERR_NO_ERROR);
    } else {
        stand.kit.options[stand.kit.table.noptions - 1].value = "127.0.0.1:1";
    }
    open_listed(&stand, NULL);
    if (_i == COMMIT_HANGS) {
        ck_assert_int_eq(drain(&stand, 10, &err), WEIR_OK);
    } else {
        ck_assert_int_eq(step(&stand, &err), WEIR_AGAIN);
    }
    if (_i != DOWN) {
        tell_committed(&stand); /* an answer that never comes is waited for a second */
    }
    int64_t began_ms = weir_clock_mono_ms(weir_clock_real());
    stand_close(&stand);
    ck_assert_int_lt(weir_clock_mono_ms(weir_clock_real()) - began_ms, HANGS_MS);
    stand_fini(&stand);
}
END_TEST

START_TEST(damaged_splits_and_positions_are_refused)
{
    struct stand stand;
    struct weir_error err = {0};
    stand_make(&stand, 1, bounded_options);
    list_and_open(&stand);
    struct weir_slice data = weir_buf_slice(&stand.data[0]);
    uint8_t position[9] = {0};
    uint32_t number;
    for (size_t len = 0; len <= data.len; len++) {
        struct weir_kafka_split split;
        ck_assert(weir__kafka_split_decode(weir_slice(data.data, len), &split) == (len > 20));
    }
    for (size_t len = 1; len <= sizeof(position); len++) {
        if (len != 8) {
            ck_assert_int_eq(stand.source->vtable->add_split(stand.source, (struct weir_split){.data = data}, weir_slice(position, len), &number,
                                                             &err), WEIR_CORRUPT);
        }
    }
    position[7] = 0x80;
    ck_assert_int_eq(stand.source->vtable->add_split(stand.source, (struct weir_split){.data = data}, weir_slice(position, 8), &number, &err),
                     WEIR_CORRUPT);
    ck_assert_int_eq(stand.source->vtable->add_split(stand.source, (struct weir_split){.data = weir_slice(data.data, 12)},
                                                     weir_slice(NULL, 0), &number, &err), WEIR_CORRUPT);
    stand_fini(&stand);
}
END_TEST

START_TEST(a_partition_may_be_added_while_others_are_read)
{
    struct stand stand;
    struct weir_error err = {0};
    stand_make(&stand, 2, unbounded_options);
    produce_ids(&stand, 0, 0, 5000);
    produce_ids(&stand, 1, 0, 5000);
    ck_assert_int_eq(list(&stand, &err), WEIR_OK);
    open_empty(&stand);
    add_split(&stand, weir_slice_str(stand.ids[0]), weir_buf_slice(&stand.data[0]), NULL);
    ck_assert_int_eq(drain(&stand, 100, &err), WEIR_OK);
    add_split(&stand, weir_slice_str(stand.ids[1]), weir_buf_slice(&stand.data[1]), NULL);
    ck_assert_msg(drain(&stand, 10000, &err) == WEIR_OK, "%s", err.text);
    ck_assert_uint_eq(check_ids(&stand, 0, 0), 5000);
    ck_assert_uint_eq(check_ids(&stand, 1, 0), 5000);
    stand_fini(&stand);
}
END_TEST

Suite *kafka_source_suite(void);
Suite *kafka_source_suite(void)
{
    Suite *suite = suite_create("kafka_source");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, a_bounded_topic_is_read_to_its_end);
    tcase_add_test(tc, reading_goes_on_where_it_stood);
    tcase_add_test(tc, nothing_between_start_and_stop_is_the_end_at_once);
    tcase_add_test(tc, new_messages_wake);
    tcase_add_test(tc, a_full_account_stops_reading);
    tcase_add_test(tc, bad_records_are_named_or_skipped);
    tcase_add_test(tc, gaps_end_a_partition_and_are_passed_over);
    tcase_add_test(tc, what_is_no_longer_there_is_an_error);
    tcase_add_test(tc, the_group_follows_checkpoints_and_can_be_started_from);
    tcase_add_test(tc, without_a_group_nothing_is_committed);
    tcase_add_test(tc, times_beyond_the_last_record_are_the_end);
    tcase_add_test(tc, an_unknown_topic_and_silent_brokers_are_named);
    tcase_add_test(tc, brokers_that_are_down_are_waited_for);
    tcase_add_loop_test(tc, destroy_does_not_wait_for_brokers, 0, 3);
    tcase_add_test(tc, damaged_splits_and_positions_are_refused);
    tcase_add_test(tc, a_partition_may_be_added_while_others_are_read);
    suite_add_tcase(suite, tc);
    return suite;
}
