/*
 * Load and oracle of the chaos tests. It shares no code with Weir.
 *
 *   chaos-load feed BROKERS TOPIC RATE PARTITIONS     numbers 0, 1, 2, ... of each partition, RATE records/s in all, until SIGTERM; then a line
 *                                           "PARTITION<TAB>RECORDS" for each. Goes on through the death of the broker, and never leaves a gap
 *   chaos-load copies BROKERS TOPIC PARTITIONS     reads copies of them for ever (read_committed) and says every 100 ms how exact they are:
 *                                           "RECEIVED DOUBLED MISSING DISORDERED BAD GAP_US LOWEST"
 *   chaos-load sums BROKERS TOPIC PARTITIONS       the same for the sums of their windows
 *   chaos-load topic BROKERS TOPIC REPLICAS PARTITIONS [KEY=VALUE ...]     makes a topic; each partition on the brokers REPLICAS ("2,1"), of which
 *                                           the first leads when it can
 *   chaos-load leader BROKERS TOPIC PARTITION     the id of the broker that leads the partition, -1: none
 *
 * Record n of partition p: {"p":p,"k":"p-<n mod 20>","g":<n mod 100>,"n":n,"c":<check of p and n>,"ts":EPOCH MS 1,600,000,000,000 + n}. All records
 * of a key are in one partition, so their copies must come in order; each is checked when it comes, by comparing it with the number that
 * its key must have next. Sums are of tumbling windows of 2 s by g, from all partitions. MISSING counts numbers that were passed over;
 * one that comes late counts as DISORDERED, and is then no longer missing. GAP_US is the longest time without a record in the interval,
 * counted from the last one before it. LOWEST: copies: the number of the hindmost partition; sums: windows that are complete, from the first on.
 */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PARTITIONS_MAX = 64, KEYS = 20, GROUPS = 100, WINDOW_MS = 2000, TIMEOUT_MS = 5000, REPORT_US = 100000, BURST_US = 10000, STALL_US_MAX = 60000000 };
static const int64_t EPOCH_MS = 1600000000000;

static _Atomic int stopped; /* lock-free, so a signal handler may set it */

static void on_signal(int signal)
{
    (void)signal;
    stopped = 1;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "chaos-load: %s: %s\n", what, why);
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static uint32_t check_of(uint64_t p, uint64_t n)
{
    uint64_t x = (n + 1) * 0x9e3779b97f4a7c15u ^ p << 56;
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9u;
    return (uint32_t)(x >> 33);
}

static rd_kafka_conf_t *conf_of(const char *brokers, const char *const *pairs)
{
    char err[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", brokers, NULL, 0);
    rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
    rd_kafka_conf_set(conf, "reconnect.backoff.max.ms", "500", NULL, 0);
    for (; pairs[0] != NULL; pairs += 2) {
        if (rd_kafka_conf_set(conf, pairs[0], pairs[1], err, sizeof(err)) != RD_KAFKA_CONF_OK) {
            die(pairs[0], err);
        }
    }
    return conf;
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char err[512];
    rd_kafka_t *handle = rd_kafka_new(type, conf, err, sizeof(err));
    if (handle == NULL) {
        die("client", err);
    }
    return handle;
}

static rd_kafka_t *consumer(const char *brokers)
{
    static const char *const pairs[] = {"group.id", "chaos-load", "enable.auto.commit", "false", "isolation.level", "read_committed",
                                        "fetch.wait.max.ms", "100", "socket.nagle.disable", "true", NULL};
    rd_kafka_t *handle = client(RD_KAFKA_CONSUMER, conf_of(brokers, pairs));
    rd_kafka_poll_set_consumer(handle);
    return handle;
}

/* The number behind `"name":` in a record's value, -1: there is none. */
static int64_t field(const char *text, const char *name)
{
    char wanted[24];
    (void)snprintf(wanted, sizeof(wanted), "\"%s\":", name);
    const char *at = strstr(text, wanted);
    return at != NULL ? strtoll(at + strlen(wanted) + (at[strlen(wanted)] == '"'), NULL, 10) : -1;
}

static bool copy_text(char *out, size_t size, const rd_kafka_message_t *message)
{
    if (message->payload == NULL || message->len >= size) {
        return false;
    }
    memcpy(out, message->payload, message->len);
    out[message->len] = '\0';
    return true;
}

/* --- feed --- */

struct feed {
    const char *brokers;
    const char *topic_name;
    int npartitions;
    int64_t next[PARTITIONS_MAX];
    rd_kafka_t *handle;
    rd_kafka_topic_t *topic;
    _Atomic int failed; /* a delivery failed: what came after it must not stay */
};

static void on_delivery(rd_kafka_t *handle, const rd_kafka_message_t *message, void *opaque)
{
    (void)handle;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        ((struct feed *)opaque)->failed = 1;
    }
}

static void open_producer(struct feed *feed)
{
    static const char *const pairs[] = {"enable.idempotence", "true", "linger.ms", "5", "compression.type", "lz4", "message.timeout.ms", "0",
                                        "delivery.report.only.error", "true", NULL};
    rd_kafka_conf_t *conf = conf_of(feed->brokers, pairs);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_opaque(conf, feed);
    feed->failed = 0;
    feed->handle = client(RD_KAFKA_PRODUCER, conf);
    feed->topic = rd_kafka_topic_new(feed->handle, feed->topic_name, NULL);
}

/* The number behind the last record that the brokers have. */
static int64_t next_number(const struct feed *feed, rd_kafka_t *reader, int32_t partition)
{
    int64_t low = 0, high = 0;
    while (rd_kafka_query_watermark_offsets(reader, feed->topic_name, partition, &low, &high, TIMEOUT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    }
    if (high == 0) {
        return 0;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, feed->topic_name, partition)->offset = high - 1;
    rd_kafka_assign(reader, list);
    rd_kafka_topic_partition_list_destroy(list);
    for (;;) {
        char text[512];
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, TIMEOUT_MS);
        bool got = message != NULL && message->err == RD_KAFKA_RESP_ERR_NO_ERROR && copy_text(text, sizeof(text), message);
        if (message != NULL) {
            rd_kafka_message_destroy(message);
        }
        if (got) {
            return field(text, "n") + 1;
        }
    }
}

/* What was sent and not answered is of unknown fate: the brokers are asked, and the numbers go on behind what they have. */
static void renew_producer(struct feed *feed)
{
    fprintf(stderr, "chaos-load: a new producer\n");
    rd_kafka_purge(feed->handle, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(feed->handle, TIMEOUT_MS);
    rd_kafka_topic_destroy(feed->topic);
    rd_kafka_destroy(feed->handle);
    rd_kafka_t *reader = consumer(feed->brokers);
    for (int32_t p = 0; p < feed->npartitions; p++) {
        feed->next[p] = next_number(feed, reader, p);
    }
    rd_kafka_destroy(reader);
    open_producer(feed);
}

static void send_one(struct feed *feed, int32_t p)
{
    char text[200];
    int64_t n = feed->next[p];
    int len = snprintf(text, sizeof(text), "{\"p\":%d,\"k\":\"%d-%d\",\"g\":%d,\"n\":%" PRId64 ",\"c\":%" PRIu32 ",\"ts\":%" PRId64 "}", (int)p, (int)p,
                       (int)(n % KEYS), (int)(n % GROUPS), n, check_of((uint64_t)p, (uint64_t)n), EPOCH_MS + n);
    while (!feed->failed && rd_kafka_produce(feed->topic, p, RD_KAFKA_MSG_F_COPY, text, (size_t)len, NULL, 0, NULL) == -1) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            feed->failed = 1;
            return;
        }
        rd_kafka_poll(feed->handle, 10);
    }
    feed->next[p] += !feed->failed;
}

static int feed_topic(const char *brokers, const char *topic_name, double rate, int npartitions)
{
    static struct feed feed;
    feed.brokers = brokers;
    feed.topic_name = topic_name;
    feed.npartitions = npartitions;
    open_producer(&feed);
    int64_t due_us = now_us();
    int64_t burst = (int64_t)(rate * BURST_US / 1e6) > 0 ? (int64_t)(rate * BURST_US / 1e6) : 1;
    for (int64_t i = 0; !stopped || feed.failed; i++) {
        if (feed.failed || rd_kafka_fatal_error(feed.handle, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR) {
            renew_producer(&feed);
        }
        send_one(&feed, (int32_t)(i % npartitions));
        if (i % burst != burst - 1) {
            continue; /* a record a wake-up would cost more than all the rest */
        }
        rd_kafka_poll(feed.handle, 0);
        due_us += BURST_US;
        int64_t now = now_us();
        if (now < due_us) {
            struct timespec rest = {.tv_nsec = (due_us - now) * 1000};
            clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, NULL);
        }
        due_us = now - due_us > STALL_US_MAX ? now - STALL_US_MAX : due_us; /* after a stall it hurries */
    }
    while (rd_kafka_outq_len(feed.handle) > 0) {
        rd_kafka_flush(feed.handle, 1000);
        if (feed.failed) {
            renew_producer(&feed);
        }
    }
    for (int p = 0; p < npartitions; p++) {
        printf("%d\t%" PRId64 "\n", p, feed.next[p]);
    }
    return 0;
}

/* --- check --- */

struct check {
    bool sums;
    int npartitions;
    int64_t received, doubled, missing, disordered, bad;
    int64_t expected[PARTITIONS_MAX][KEYS]; /* copies: the next number of each key */
    uint8_t *seen[PARTITIONS_MAX];          /* a bit a number; sums: of partition 0, window * GROUPS + g */
    size_t seen_bytes[PARTITIONS_MAX];
    int64_t complete;                       /* sums: windows */
    int64_t last_us, gap_us;
};

/* Sets the bit; false when it was set. */
static bool mark(struct check *check, int p, uint64_t bit)
{
    if (bit / 8 >= check->seen_bytes[p]) {
        size_t bytes = (size_t)(bit / 8 + 1) * 2 + 65536;
        check->seen[p] = realloc(check->seen[p], bytes);
        if (check->seen[p] == NULL) {
            die("memory", "none");
        }
        memset(check->seen[p] + check->seen_bytes[p], 0, bytes - check->seen_bytes[p]);
        check->seen_bytes[p] = bytes;
    }
    uint8_t mask = (uint8_t)(1u << bit % 8);
    bool was = (check->seen[p][bit / 8] & mask) != 0;
    check->seen[p][bit / 8] |= mask;
    return !was;
}

static bool marked(const struct check *check, int p, uint64_t bit)
{
    return bit / 8 < check->seen_bytes[p] && (check->seen[p][bit / 8] >> bit % 8 & 1) != 0;
}

static void complain(const char *what, const rd_kafka_message_t *message, const char *text, int64_t *count)
{
    if (++*count <= 20) {
        fprintf(stderr, "chaos-load: %s: partition %d offset %" PRId64 ": %s\n", what, (int)message->partition, message->offset, text);
    }
}

static void check_copy(struct check *check, const rd_kafka_message_t *message, const char *text)
{
    int64_t p = field(text, "p"), n = field(text, "n"), c = field(text, "c");
    if (p < 0 || p >= check->npartitions || n < 0 || n > INT64_C(1) << 32 || c != check_of((uint64_t)p, (uint64_t)n)) {
        complain("bad", message, text, &check->bad);
        return;
    }
    int64_t *expected = &check->expected[p][n % KEYS];
    *expected = *expected == 0 ? n % KEYS : *expected;
    if (!mark(check, (int)p, (uint64_t)n)) {
        complain("doubled", message, text, &check->doubled);
    } else if (n < *expected) {
        complain("disordered", message, text, &check->disordered);
        check->missing--;
    } else if (n > *expected) {
        complain("missing before", message, text, &check->missing);
        check->missing += (n - *expected) / KEYS - 1;
    }
    *expected = n >= *expected ? n + KEYS : *expected;
}

/* "2020-09-13 12:26:40" as epoch milliseconds, -1: it is no such text. */
static int64_t time_of(const char *text)
{
    const char *at = strstr(text, "\"window_start\":\"");
    struct tm parts = {0};
    return at != NULL && strptime(at + 16, "%Y-%m-%d %H:%M:%S", &parts) != NULL ? (int64_t)timegm(&parts) * 1000 : -1;
}

static bool window_complete(const struct check *check, int64_t window)
{
    int g = 0;
    while (g < GROUPS && marked(check, 0, (uint64_t)(window * GROUPS + g))) {
        g++;
    }
    return g == GROUPS;
}

static void check_sum(struct check *check, const rd_kafka_message_t *message, const char *text)
{
    int64_t start = time_of(text), g = field(text, "g");
    int64_t window = (start - EPOCH_MS) / WINDOW_MS;
    int64_t rows = 0, total = 0;
    for (int64_t n = window * WINDOW_MS + g; n < (window + 1) * WINDOW_MS; n += GROUPS) {
        rows++;
        total += n;
    }
    if (start < EPOCH_MS || g < 0 || g >= GROUPS || field(text, "rows") != rows * check->npartitions || field(text, "total") != total * check->npartitions) {
        complain("bad", message, text, &check->bad);
    } else if (!mark(check, 0, (uint64_t)(window * GROUPS + g))) {
        complain("doubled", message, text, &check->doubled);
    }
    while (window_complete(check, check->complete)) {
        check->complete++;
    }
}

static int64_t lowest(const struct check *check)
{
    int64_t least = check->sums ? check->complete : INT64_MAX;
    for (int p = 0; !check->sums && p < check->npartitions; p++) {
        for (int k = 0; k < KEYS; k++) {
            least = check->expected[p][k] < least ? check->expected[p][k] : least;
        }
    }
    return least;
}

static void report(struct check *check, int64_t now)
{
    int64_t open_us = now - check->last_us;
    printf("%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n", check->received, check->doubled, check->missing,
           check->disordered, check->bad, open_us > check->gap_us ? open_us : check->gap_us, lowest(check));
    fflush(stdout);
    check->gap_us = 0;
}

static int check_topic(const char *brokers, const char *topic, int npartitions, bool sums)
{
    static struct check check;
    check.sums = sums;
    check.npartitions = npartitions;
    rd_kafka_t *handle = consumer(brokers);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(npartitions);
    for (int i = 0; i < npartitions; i++) {
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    }
    rd_kafka_assign(handle, list);
    rd_kafka_topic_partition_list_destroy(list);
    check.last_us = now_us();
    for (int64_t said_us = check.last_us; !stopped;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(handle, 20);
        int64_t now = now_us();
        if (message != NULL && message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            char text[512];
            check.received++;
            if (!copy_text(text, sizeof(text), message)) {
                complain("bad", message, "no text", &check.bad);
            } else if (sums) {
                check_sum(&check, message, text);
            } else {
                check_copy(&check, message, text);
            }
            check.gap_us = now - check.last_us > check.gap_us ? now - check.last_us : check.gap_us;
            check.last_us = now;
        }
        if (message != NULL) {
            rd_kafka_message_destroy(message);
        }
        if (now - said_us >= REPORT_US) {
            report(&check, now);
            said_us = now;
        }
    }
    report(&check, now_us());
    rd_kafka_destroy(handle);
    return 0;
}

/* --- topics --- */

static void check_outcome(rd_kafka_event_t *event, const char *topic)
{
    size_t count = 0;
    const rd_kafka_topic_result_t *const *results =
        rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR ? rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count) : NULL;
    if (count != 1) {
        die(topic, rd_kafka_event_error_string(event));
    }
    if (rd_kafka_topic_result_error(results[0]) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        die(topic, rd_kafka_topic_result_error_string(results[0]));
    }
}

static int make_topic(const char *brokers, const char *name, const char *replicas_text, int npartitions, char **settings)
{
    char err[512];
    int32_t replicas[PARTITIONS_MAX];
    size_t nreplicas = 0;
    for (const char *at = replicas_text; nreplicas < PARTITIONS_MAX; at = strchr(at, ',') + 1) {
        replicas[nreplicas++] = (int32_t)strtol(at, NULL, 10);
        if (strchr(at, ',') == NULL) {
            break;
        }
    }
    static const char *const no_pairs[] = {NULL};
    rd_kafka_t *handle = client(RD_KAFKA_PRODUCER, conf_of(brokers, no_pairs));
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, npartitions, -1, err, sizeof(err));
    for (int32_t i = 0; i < npartitions; i++) {
        if (rd_kafka_NewTopic_set_replica_assignment(topic, i, replicas, nreplicas, err, sizeof(err)) != RD_KAFKA_RESP_ERR_NO_ERROR) {
            die(name, err);
        }
    }
    for (; *settings != NULL; settings++) {
        char *value = strchr(*settings, '=');
        if (value == NULL) {
            die(*settings, "expected KEY=VALUE");
        }
        *value = '\0';
        rd_kafka_NewTopic_set_config(topic, *settings, value + 1);
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_new(handle);
    rd_kafka_CreateTopics(handle, &topic, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, -1);
    check_outcome(event, name);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy(topic);
    rd_kafka_destroy(handle);
    return 0;
}

static int print_leader(const char *brokers, const char *name, int partition)
{
    static const char *const no_pairs[] = {NULL};
    rd_kafka_t *handle = client(RD_KAFKA_CONSUMER, conf_of(brokers, no_pairs));
    rd_kafka_topic_t *topic = rd_kafka_topic_new(handle, name, NULL);
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(handle, 0, topic, &metadata, TIMEOUT_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        die(name, rd_kafka_err2str(code));
    }
    int leader = -1;
    for (int i = 0; metadata->topic_cnt == 1 && i < metadata->topics[0].partition_cnt; i++) {
        leader = metadata->topics[0].partitions[i].id == partition ? metadata->topics[0].partitions[i].leader : leader;
    }
    printf("%d\n", leader);
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(handle);
    return 0;
}

static double number_of(const char *text)
{
    char *end = NULL;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || number < 0) {
        die(text, "not a number");
    }
    return number;
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGINT, SIG_IGN);
    if (argc == 5 && strcmp(argv[1], "leader") == 0) {
        return print_leader(argv[2], argv[3], (int)number_of(argv[4]));
    }
    if (argc >= 6 && strcmp(argv[1], "topic") == 0) {
        return make_topic(argv[2], argv[3], argv[4], (int)number_of(argv[5]), argv + 6);
    }
    int npartitions = argc >= 5 ? (int)number_of(argv[argc - 1]) : 0;
    if (npartitions >= 1 && npartitions <= PARTITIONS_MAX) {
        if (argc == 6 && strcmp(argv[1], "feed") == 0) {
            return feed_topic(argv[2], argv[3], number_of(argv[4]), npartitions);
        }
        if (argc == 5 && strcmp(argv[1], "copies") == 0) {
            return check_topic(argv[2], argv[3], npartitions, false);
        }
        if (argc == 5 && strcmp(argv[1], "sums") == 0) {
            return check_topic(argv[2], argv[3], npartitions, true);
        }
    }
    fprintf(stderr, "usage: chaos-load feed|copies|sums|topic|leader BROKERS TOPIC ...: see the head of chaos_load.c\n");
    return 2;
}
