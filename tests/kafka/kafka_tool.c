/*
 * Kafka's client for the tests: what feeds topics and reads results. It shares no code with Weir, since it is part of the oracle.
 *
 *   kafka-tool produce BROKERS TOPIC [RATE]     lines "partition<TAB>value" from stdin; RATE lines/s; 0: as fast as they go
 *   kafka-tool consume BROKERS TOPIC [uncommitted]
 *                                               every record from the beginning and all later ones, until SIGTERM:
 *                                               "partition<TAB>offset<TAB>arrival in epoch us<TAB>key<TAB>value", null as \N; read_committed
 *   kafka-tool count BROKERS TOPIC              "records<TAB>user+system CPU seconds<TAB>seconds" of reading the topic to its end: the raw cost
 *   kafka-tool stamp BROKERS TOPIC RATE COUNT   COUNT records {"n":NUMBER,"at":EPOCH US OF SENDING}, RATE/s, round robin over the partitions
 *   kafka-tool relay BROKERS FROM TO            copies what comes, as little as that can cost: what latencies are to be compared with
 *   kafka-tool offsets BROKERS TOPIC            "partition<TAB>low<TAB>last stable<TAB>high watermark" of each partition
 *   kafka-tool committed BROKERS TOPIC GROUP    "partition<TAB>offset<TAB>metadata" of a consumer group, -1: none
 */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { PARTITIONS_MAX = 1024, TIMEOUT_MS = 30000, BATCH = 4096 };

static _Atomic int stopped; /* lock-free, so a signal handler may set it */

static void on_signal(int signal)
{
    (void)signal;
    stopped = 1;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "kafka-tool: %s: %s\n", what, why);
    exit(1);
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char err[512];
    if (rd_kafka_conf_set(conf, name, value, err, sizeof(err)) != RD_KAFKA_CONF_OK) {
        die(name, err);
    }
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *brokers, rd_kafka_conf_t *conf)
{
    char err[512];
    set(conf, "bootstrap.servers", brokers);
    set(conf, "log_level", "3");
    rd_kafka_t *handle = rd_kafka_new(type, conf, err, sizeof(err));
    if (handle == NULL) {
        die("client", err);
    }
    return handle;
}

static rd_kafka_conf_t *consumer_conf(const char *isolation)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "group.id", "kafka-tool");
    set(conf, "enable.auto.commit", "false");
    set(conf, "isolation.level", isolation);
    set(conf, "enable.partition.eof", "true");
    return conf;
}

static int partitions(rd_kafka_t *handle, const char *topic)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_t *one = rd_kafka_topic_new(handle, topic, NULL);
    rd_kafka_resp_err_t code = rd_kafka_metadata(handle, 0, one, &metadata, TIMEOUT_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        die(topic, rd_kafka_err2str(code));
    }
    if (metadata->topic_cnt != 1 || metadata->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR || metadata->topics[0].partition_cnt > PARTITIONS_MAX) {
        die(topic, "no such topic");
    }
    int count = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(one);
    return count;
}

static int64_t now_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void delivered(rd_kafka_t *handle, const rd_kafka_message_t *message, void *opaque)
{
    (void)handle;
    (void)opaque;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        die("delivery", rd_kafka_err2str(message->err));
    }
}

static void produce_line(rd_kafka_t *handle, rd_kafka_topic_t *topic, char *line, size_t len)
{
    char *value = NULL;
    long partition = strtol(line, &value, 10);
    if (*value != '\t') {
        die("input", "expected partition<TAB>value");
    }
    value++;
    while (rd_kafka_produce(topic, (int32_t)partition, RD_KAFKA_MSG_F_COPY, value, len - (size_t)(value - line), NULL, 0, NULL) == -1) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            die("produce", rd_kafka_err2str(rd_kafka_last_error()));
        }
        rd_kafka_poll(handle, 10);
    }
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

static int produce(const char *brokers, const char *topic_name, double rate)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "enable.idempotence", "true");
    set(conf, "linger.ms", "2");
    set(conf, "delivery.report.only.error", "true");
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_t *handle = client(RD_KAFKA_PRODUCER, brokers, conf);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(handle, topic_name, NULL);
    char *line = NULL;
    size_t cap = 0;
    int64_t began = now_us(CLOCK_MONOTONIC);
    for (int64_t count = 0;; count++) {
        ssize_t len = getline(&line, &cap, stdin);
        if (len <= 0) {
            break;
        }
        len -= line[len - 1] == '\n';
        produce_line(handle, topic, line, (size_t)len);
        int64_t due = rate > 0 ? began + (int64_t)((double)count * 1e6 / rate) : 0;
        while (now_us(CLOCK_MONOTONIC) < due) {
            rd_kafka_poll(handle, 1);
        }
    }
    while (rd_kafka_outq_len(handle) > 0) {
        rd_kafka_flush(handle, 1000);
    }
    free(line);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(handle);
    return 0;
}

static rd_kafka_t *eager_producer(const char *brokers)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "enable.idempotence", "true");
    set(conf, "linger.ms", "0");
    set(conf, "socket.nagle.disable", "true");
    set(conf, "delivery.report.only.error", "true");
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    return client(RD_KAFKA_PRODUCER, brokers, conf);
}

static void send_eagerly(rd_kafka_t *handle, rd_kafka_topic_t *topic, int32_t partition, void *value, size_t len)
{
    while (rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_COPY, value, len, NULL, 0, NULL) == -1) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            die("produce", rd_kafka_err2str(rd_kafka_last_error()));
        }
        rd_kafka_poll(handle, 10);
    }
}

static int stamp(const char *brokers, const char *topic_name, double rate, double count)
{
    rd_kafka_t *handle = eager_producer(brokers);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(handle, topic_name, NULL);
    int targets = partitions(handle, topic_name);
    int64_t began = now_us(CLOCK_MONOTONIC);
    for (int64_t i = 0; i < (int64_t)count && !stopped; i++) {
        struct timespec due = {0};
        int64_t due_us = began + (int64_t)((double)i * 1e6 / rate);
        due.tv_sec = due_us / 1000000;
        due.tv_nsec = due_us % 1000000 * 1000;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        char text[80];
        int len = snprintf(text, sizeof(text), "{\"n\":%" PRId64 ",\"at\":%" PRId64 "}", i, now_us(CLOCK_REALTIME));
        send_eagerly(handle, topic, (int32_t)(i % targets), text, (size_t)len);
        rd_kafka_poll(handle, 0);
    }
    while (rd_kafka_outq_len(handle) > 0) {
        rd_kafka_flush(handle, 1000);
    }
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(handle);
    return 0;
}

/* A consumer that reads all partitions from the beginning. */
static rd_kafka_t *reader(const char *brokers, const char *topic, const char *isolation, int *out_partitions)
{
    rd_kafka_conf_t *conf = consumer_conf(isolation);
    set(conf, "fetch.wait.max.ms", "100");
    set(conf, "socket.nagle.disable", "true");
    rd_kafka_t *handle = client(RD_KAFKA_CONSUMER, brokers, conf);
    rd_kafka_poll_set_consumer(handle);
    *out_partitions = partitions(handle, topic);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(*out_partitions);
    for (int i = 0; i < *out_partitions; i++) {
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    }
    rd_kafka_assign(handle, list);
    rd_kafka_topic_partition_list_destroy(list);
    return handle;
}

static void put(const void *bytes, size_t len)
{
    if (bytes == NULL) {
        fputs("\\N", stdout);
    } else {
        fwrite(bytes, 1, len, stdout);
    }
}

static int consume(const char *brokers, const char *topic, const char *isolation)
{
    int count = 0;
    rd_kafka_t *handle = reader(brokers, topic, isolation, &count);
    while (!stopped) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(handle, 100);
        if (message == NULL) {
            fflush(stdout);
            continue;
        }
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            printf("%d\t%" PRId64 "\t%" PRId64 "\t", message->partition, message->offset, now_us(CLOCK_REALTIME));
            put(message->key, message->key_len);
            putchar('\t');
            put(message->payload, message->len);
            putchar('\n');
        } else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            fflush(stdout);
        }
        rd_kafka_message_destroy(message);
    }
    fflush(stdout);
    rd_kafka_destroy(handle);
    return 0;
}

static int relay(const char *brokers, const char *from, const char *to)
{
    int count = 0;
    rd_kafka_t *source = reader(brokers, from, "read_committed", &count);
    rd_kafka_t *sink = eager_producer(brokers);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(sink, to, NULL);
    while (!stopped) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(source, 100);
        if (message != NULL && message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            send_eagerly(sink, topic, message->partition, message->payload, message->len);
        }
        if (message != NULL) {
            rd_kafka_message_destroy(message);
        }
        rd_kafka_poll(sink, 0);
    }
    rd_kafka_flush(sink, TIMEOUT_MS);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(sink);
    rd_kafka_destroy(source);
    return 0;
}

static int count_records(const char *brokers, const char *topic)
{
    int left = 0;
    int64_t records = 0, began = now_us(CLOCK_MONOTONIC);
    rd_kafka_t *handle = reader(brokers, topic, "read_committed", &left);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(handle);
    rd_kafka_message_t **batch = calloc(BATCH, sizeof(*batch));
    while (left > 0) {
        ssize_t got = rd_kafka_consume_batch_queue(queue, 5, batch, BATCH);
        for (ssize_t i = 0; i < got; i++) {
            left -= batch[i]->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
            records += batch[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR;
            rd_kafka_message_destroy(batch[i]);
        }
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("%" PRId64 "\t%.3f\t%.3f\n", records, cpu, (double)(now_us(CLOCK_MONOTONIC) - began) / 1e6);
    free(batch);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(handle);
    return 0;
}

static int64_t end_offset(rd_kafka_t *handle, const char *topic, int partition, int64_t *out_low)
{
    int64_t high = 0;
    rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(handle, topic, partition, out_low, &high, TIMEOUT_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        die(topic, rd_kafka_err2str(code));
    }
    return high;
}

static int offsets(const char *brokers, const char *topic)
{
    rd_kafka_t *stable = client(RD_KAFKA_CONSUMER, brokers, consumer_conf("read_committed"));
    rd_kafka_t *all = client(RD_KAFKA_CONSUMER, brokers, consumer_conf("read_uncommitted"));
    int count = partitions(all, topic);
    for (int i = 0; i < count; i++) {
        int64_t low = 0;
        int64_t last_stable = end_offset(stable, topic, i, &low);
        printf("%d\t%" PRId64 "\t%" PRId64 "\t%" PRId64 "\n", i, low, last_stable, end_offset(all, topic, i, &low));
    }
    rd_kafka_destroy(stable);
    rd_kafka_destroy(all);
    return 0;
}

static int committed(const char *brokers, const char *topic, const char *group)
{
    rd_kafka_conf_t *conf = consumer_conf("read_committed");
    set(conf, "group.id", group);
    rd_kafka_t *handle = client(RD_KAFKA_CONSUMER, brokers, conf);
    int count = partitions(handle, topic);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    rd_kafka_topic_partition_list_add_range(list, topic, 0, count - 1);
    rd_kafka_resp_err_t code = rd_kafka_committed(handle, list, TIMEOUT_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        die(group, rd_kafka_err2str(code));
    }
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *one = &list->elems[i];
        printf("%d\t%" PRId64 "\t%.*s\n", one->partition, one->offset < 0 ? -1 : one->offset, (int)one->metadata_size, (const char *)one->metadata);
    }
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(handle);
    return 0;
}

int main(int argc, char **argv)
{
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    const char *verb = argc >= 4 ? argv[1] : "";
    if (strcmp(verb, "produce") == 0) {
        return produce(argv[2], argv[3], argc > 4 ? number_of(argv[4]) : 0);
    }
    if (strcmp(verb, "consume") == 0) {
        return consume(argv[2], argv[3], argc > 4 ? "read_uncommitted" : "read_committed");
    }
    if (strcmp(verb, "count") == 0) {
        return count_records(argv[2], argv[3]);
    }
    if (strcmp(verb, "stamp") == 0 && argc == 6) {
        return stamp(argv[2], argv[3], number_of(argv[4]), number_of(argv[5]));
    }
    if (strcmp(verb, "relay") == 0 && argc == 5) {
        return relay(argv[2], argv[3], argv[4]);
    }
    if (strcmp(verb, "offsets") == 0) {
        return offsets(argv[2], argv[3]);
    }
    if (strcmp(verb, "committed") == 0 && argc == 5) {
        return committed(argv[2], argv[3], argv[4]);
    }
    fprintf(stderr, "usage: kafka-tool produce|consume|count|stamp|relay|offsets|committed BROKERS TOPIC ...: see the head of kafka_tool.c\n");
    return 2;
}
