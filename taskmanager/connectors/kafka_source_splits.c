#include "taskmanager/connectors/kafka_source_splits.h"

#include "common/base/assert.h"
#include "common/catalog/connector_desc.h"
#include "common/data/number.h"
#include "taskmanager/connectors/kafka_client.h"

enum { TRY_MS = 1000 };

void weir__kafka_split_encode(const struct weir_kafka_split *split, struct weir_buf *out)
{
    weir_buf_put_i64(out, split->start);
    weir_buf_put_i64(out, split->stop);
    weir_buf_put_u32(out, (uint32_t)split->partition);
    weir_buf_put_slice(out, split->topic);
}

bool weir__kafka_split_decode(struct weir_slice bytes, struct weir_kafka_split *out_split)
{
    struct weir_reader reader = weir_reader(bytes);
    struct weir_kafka_split split = {.start = weir_read_i64(&reader)};
    split.stop = weir_read_i64(&reader); /* after start: initialisers have no order */
    split.partition = (int32_t)weir_read_u32(&reader);
    split.topic = reader.rest;
    if (reader.failed || split.start < 0 || split.stop < WEIR_KAFKA_UNBOUNDED || split.partition < 0 || split.topic.len == 0 ||
        memchr(split.topic.data, '\0', split.topic.len) != NULL) {
        return false;
    }
    *out_split = split;
    return true;
}

/* --- asking the brokers ---------------------------------------------------------------------------------------------- */

struct enumeration {
    const struct weir_table_spec *table;
    const char *topic;
    struct weir_kafka_client *client;
    rd_kafka_t *handle;
    int64_t deadline_ms;
    uint32_t count; /* partitions */
    int64_t *earliest, *latest; /* of each partition; NULL until asked for */
};

static bool option_is(const char *text, const char *word)
{
    return text != NULL && strcmp(text, word) == 0;
}

static int left_ms(const struct enumeration *of)
{
    int64_t left = of->deadline_ms - weir_clock_mono_ms(weir_clock_real());
    return left < 1 ? 1 : (int)left;
}

static enum weir_rc count_partitions(struct enumeration *of, struct weir_error *err)
{
    enum weir_rc rc;
    do {
        int try_ms = left_ms(of) < TRY_MS ? left_ms(of) : TRY_MS;
        rc = weir__kafka_partitions(of->handle, of->topic, try_ms, &of->count, err);
        /* What will not pass (a password refused) is told between two tries, not after all of them. */
        (void)rd_kafka_poll(of->handle, 0);
        struct weir_error client_err;
        if (rc == WEIR_EXTERNAL && weir__kafka_client_error(of->client, &client_err) != WEIR_OK) {
            *err = client_err;
            return err->rc;
        }
    } while (rc == WEIR_EXTERNAL && left_ms(of) > 1);
    return rc;
}

static rd_kafka_topic_partition_list_t *list_partitions(const struct enumeration *of, int64_t offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)of->count);
    for (uint32_t i = 0; i < of->count; i++) {
        rd_kafka_topic_partition_list_add(list, of->topic, (int32_t)i)->offset = offset;
    }
    return list;
}

/* The answer for each partition, in order, into out (WEIR_KAFKA_UNBOUNDED where there is none). */
static enum weir_rc read_list(const struct enumeration *of, const rd_kafka_topic_partition_list_t *list, rd_kafka_resp_err_t code,
                              const char *what, int64_t *out, struct weir_error *err)
{
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return weir__kafka_error(err, code, NULL, what);
    }
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *answer = &list->elems[i];
        weir_assert(answer->partition >= 0 && (uint32_t)answer->partition < of->count);
        if (answer->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            enum weir_rc rc = weir__kafka_error(err, answer->err, NULL, what);
            (void)weir_error_prefix(err, "topic %s, partition %d", of->topic, (int)answer->partition);
            return rc;
        }
        out[answer->partition] = answer->offset >= 0 ? answer->offset : WEIR_KAFKA_UNBOUNDED;
    }
    return WEIR_OK;
}

/* `time` is a timestamp in milliseconds or RD_KAFKA_OFFSET_BEGINNING or _END: on the wire one question, which is also what makes the end the
 * last stable offset for a reader of committed records only. */
static enum weir_rc ask_times(struct enumeration *of, int64_t time, int64_t *out, struct weir_error *err)
{
    rd_kafka_topic_partition_list_t *list = list_partitions(of, time);
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(of->handle, list, left_ms(of));
    enum weir_rc rc = read_list(of, list, code, "asking for offsets", out, err);
    rd_kafka_topic_partition_list_destroy(list);
    return rc;
}

static enum weir_rc ask_once(struct enumeration *of, int64_t time, int64_t **answers, struct weir_error *err)
{
    if (*answers != NULL) {
        return WEIR_OK;
    }
    int64_t *made = weir_calloc(of->count, sizeof(*made));
    enum weir_rc rc = ask_times(of, time, made, err);
    for (uint32_t i = 0; rc == WEIR_OK && i < of->count; i++) {
        if (made[i] < 0) {
            rc = weir_error_set(err, WEIR_EXTERNAL, "topic %s, partition %u: the broker did not say where it %s", of->topic, i,
                                time == RD_KAFKA_OFFSET_BEGINNING ? "begins" : "ends");
        }
    }
    if (rc == WEIR_OK) {
        *answers = made;
    } else {
        weir_free(made);
    }
    return rc;
}

static enum weir_rc ask_earliest(struct enumeration *of, struct weir_error *err)
{
    return ask_once(of, RD_KAFKA_OFFSET_BEGINNING, &of->earliest, err);
}

static enum weir_rc ask_latest(struct enumeration *of, struct weir_error *err)
{
    return ask_once(of, RD_KAFKA_OFFSET_END, &of->latest, err);
}

/* --- start and stop -------------------------------------------------------------------------------------------------- */

/* What the group committed; where it has nothing, or what is no longer there, as properties.auto.offset.reset says. */
static enum weir_rc resolve_group(struct enumeration *of, int64_t *out, struct weir_error *err)
{
    const char *group = weir_table_option(of->table, "properties.group.id");
    const char *reset = weir_table_option(of->table, "properties.auto.offset.reset");
    if (group == NULL) {
        return weir_error_set(err, WEIR_INVALID,
                              "scan.startup.mode group-offsets needs properties.group.id: set it, or another scan.startup.mode");
    }
    rd_kafka_topic_partition_list_t *list = list_partitions(of, RD_KAFKA_OFFSET_INVALID);
    rd_kafka_resp_err_t code = rd_kafka_committed(of->handle, list, left_ms(of));
    enum weir_rc rc = read_list(of, list, code, "asking for the offsets of the group", out, err);
    rd_kafka_topic_partition_list_destroy(list);
    rc = rc != WEIR_OK ? rc : ask_earliest(of, err);
    rc = rc != WEIR_OK ? rc : ask_latest(of, err);
    for (uint32_t i = 0; rc == WEIR_OK && i < of->count; i++) {
        if (out[i] >= of->earliest[i] && out[i] <= of->latest[i]) {
            continue;
        }
        if (option_is(reset, "earliest") || option_is(reset, "latest")) {
            out[i] = option_is(reset, "earliest") ? of->earliest[i] : of->latest[i];
        } else if (out[i] < 0) {
            rc = weir_error_set(err, WEIR_NOT_FOUND,
                                "the group \"%s\" has no committed offset for topic %s, partition %u: set properties.auto.offset.reset to "
                                "earliest or latest, or scan.startup.mode to earliest-offset or latest-offset",
                                group, of->topic, i);
        } else {
            rc = weir_error_set(err, WEIR_NOT_FOUND,
                                "the group \"%s\" stands at offset %lld of topic %s, partition %u, which has offsets %lld to %lld only: set "
                                "properties.auto.offset.reset to earliest or latest, or another scan.startup.mode",
                                group, (long long)out[i], of->topic, i, (long long)of->earliest[i], (long long)of->latest[i]);
        }
    }
    return rc;
}

/* The first offsets whose record is of that time or later; the end where there is none. */
static enum weir_rc resolve_time(struct enumeration *of, const char *key, int64_t *out, struct weir_error *err)
{
    const char *text = weir_table_option(of->table, key);
    int64_t time_ms = 0;
    if (text == NULL || weir_i64_read(weir_slice_str(text), &time_ms) != WEIR_OK || time_ms < 0) {
        return weir_error_set(err, WEIR_INVALID, "option \"%s\": expected milliseconds since 1970, found \"%s\"", key, text == NULL ? "" : text);
    }
    enum weir_rc rc = ask_latest(of, err); /* first: what comes between the two questions is behind the end */
    rc = rc != WEIR_OK ? rc : ask_times(of, time_ms, out, err);
    for (uint32_t i = 0; rc == WEIR_OK && i < of->count; i++) {
        out[i] = out[i] < 0 || out[i] > of->latest[i] ? of->latest[i] : out[i];
    }
    return rc;
}

static enum weir_rc resolve_starts(struct enumeration *of, int64_t *out, struct weir_error *err)
{
    const char *mode = weir_connector_option(of->table, "scan.startup.mode");
    if (option_is(mode, "group-offsets")) {
        return resolve_group(of, out, err);
    }
    if (option_is(mode, "timestamp")) {
        return resolve_time(of, "scan.startup.timestamp-millis", out, err);
    }
    bool earliest = option_is(mode, "earliest-offset");
    if (!earliest && !option_is(mode, "latest-offset")) {
        return weir_error_set(err, WEIR_UNSUPPORTED, "scan.startup.mode \"%s\" is not supported", mode == NULL ? "" : mode);
    }
    enum weir_rc rc = earliest ? ask_earliest(of, err) : ask_latest(of, err);
    if (rc == WEIR_OK) {
        memcpy(out, earliest ? of->earliest : of->latest, of->count * sizeof(*out));
    }
    return rc;
}

static enum weir_rc resolve_stops(struct enumeration *of, int64_t *out, struct weir_error *err)
{
    const char *mode = weir_connector_option(of->table, "scan.bounded.mode");
    if (mode == NULL || option_is(mode, "unbounded")) {
        for (uint32_t i = 0; i < of->count; i++) {
            out[i] = WEIR_KAFKA_UNBOUNDED;
        }
        return WEIR_OK;
    }
    if (option_is(mode, "timestamp")) {
        return resolve_time(of, "scan.bounded.timestamp-millis", out, err);
    }
    if (!option_is(mode, "latest-offset")) {
        return weir_error_set(err, WEIR_UNSUPPORTED, "scan.bounded.mode \"%s\" is not supported", mode);
    }
    enum weir_rc rc = ask_latest(of, err);
    if (rc == WEIR_OK) {
        memcpy(out, of->latest, of->count * sizeof(*out));
    }
    return rc;
}

static enum weir_rc open_client(struct enumeration *of, int64_t timeout_ms, struct weir_error *err)
{
    rd_kafka_conf_t *conf = NULL;
    enum weir_rc rc = weir__kafka_conf_create(of->table, WEIR_KAFKA_CONSUMER, &conf, err);
    if (rc == WEIR_OK && weir_table_option(of->table, "properties.group.id") == NULL) {
        rc = weir__kafka_conf_set(conf, "group.id", "weir-enumerate", err); /* librdkafka wants one; nothing joins or commits */
    }
    if (rc != WEIR_OK) {
        if (conf != NULL) {
            rd_kafka_conf_destroy(conf);
        }
        return rc;
    }
    rc = weir__kafka_client_create(NULL, of->table->name, WEIR_KAFKA_CONSUMER, conf, &of->client, err);
    if (rc == WEIR_OK) {
        of->handle = weir__kafka_client_handle(of->client);
        of->deadline_ms = weir_clock_mono_ms(weir_clock_real()) + timeout_ms;
    }
    return rc;
}

enum weir_rc weir__kafka_splits_list(const struct weir_table_spec *table, int64_t timeout_ms,
                                     void (*add)(void *add_ctx, struct weir_split split), void *add_ctx, struct weir_error *err)
{
    struct enumeration of = {.table = table, .topic = weir_table_option(table, "topic")};
    int64_t *starts = NULL;
    int64_t *stops = NULL;
    const char *servers = weir_table_option(table, "properties.bootstrap.servers");
    if (of.topic == NULL || servers == NULL) {
        return weir_error_set(err, WEIR_INVALID, "table %s: the option \"%s\" is missing", table->name,
                              of.topic == NULL ? "topic" : "properties.bootstrap.servers");
    }
    enum weir_rc rc = open_client(&of, timeout_ms, err);
    rc = rc != WEIR_OK ? rc : count_partitions(&of, err);
    if (rc == WEIR_OK) {
        starts = weir_calloc(of.count, sizeof(*starts));
        stops = weir_calloc(of.count, sizeof(*stops));
        rc = resolve_stops(&of, stops, err);
        rc = rc != WEIR_OK ? rc : resolve_starts(&of, starts, err);
    }
    for (uint32_t i = 0; rc == WEIR_OK && i < of.count; i++) {
        struct weir_kafka_split split = {.start = starts[i], .stop = stops[i], .partition = (int32_t)i, .topic = weir_slice_str(of.topic)};
        struct weir_buf id = {0};
        struct weir_buf data = {0};
        weir_buf_put_fmt(&id, "%s/%u", of.topic, i);
        weir__kafka_split_encode(&split, &data);
        add(add_ctx, (struct weir_split){.id = weir_buf_slice(&id), .data = weir_buf_slice(&data)});
        weir_buf_fini(&id);
        weir_buf_fini(&data);
    }
    weir_free(starts);
    weir_free(stops);
    weir_free(of.earliest);
    weir_free(of.latest);
    weir__kafka_client_destroy(of.client);
    return rc == WEIR_OK ? WEIR_OK : weir_error_prefix(err, "table %s: Kafka at %s", table->name, servers);
}
