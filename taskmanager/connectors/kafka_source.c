/*
 * The source "kafka".
 *
 * K1  A split is a partition (kafka_source_splits.h), its position the offset of the next message: behind the last one handed out or passed
 *     over, whatever librdkafka has fetched beyond it. Offsets are ours alone: nobody joins the group, and what is committed to it
 *     is for those who watch.
 * K2  A partition has ended when a message at or beyond the stop offset comes, or the end of the partition is reported there: transaction
 *     markers and aborted records have offsets but are no messages, so the last message before the stop may never come.
 * K3  Messages lie in librdkafka's memory until they are decoded. One queue serves all partitions, and its event comes only when it was
 *     empty: so poll says AGAIN only after it has found it empty.
 * K4  A message without value (a tombstone) is no row.
 * K5  What the broker no longer has is an error that names it, never a jump. Brokers that do not answer are waited for, without end.
 */
#include "taskmanager/connectors/conn_registry.h"

#include "common/base/assert.h"
#include "common/catalog/connector_desc.h"
#include "taskmanager/connectors/kafka_client.h"
#include "taskmanager/connectors/kafka_source_splits.h"
#include "taskmanager/connectors/records.h"

#include <stdio.h>

enum {
    FETCH_MAX = 1024,       /* messages taken from the queue at once */
    FETCHES_MAX = 8,        /* of one poll that makes no row */
    MEM_FULL_WAIT_MS = 10,
    WATERMARKS_TIMEOUT_MS = 5000,
    LAST_COMMIT_WAIT_MS = 1000,
    ENUMERATE_TIMEOUT_MS = 10000, /* the JobManager's call of it waits for 30 s */
    PREFETCH_BYTES_MAX = 64 << 20,
    PREFETCH_BYTES_MIN = 1 << 20,
    PREFETCH_SHARE = 16, /* of the TaskManager's budget */
};

struct kafka_split {
    char *topic;
    int32_t partition;
    int64_t stop;      /* WEIR_KAFKA_UNBOUNDED: none */
    int64_t next;      /* the position (K1) */
    int64_t due;       /* what the group is to be told; -1: nothing yet */
    int64_t committed; /* what it was told last */
    bool assigned;
    bool finished;
};

struct kafka_source {
    struct weir_source base;
    const struct weir_conn_ctx *ctx;
    struct weir_records *records;
    struct weir_batch_builder builder;
    struct weir_kafka_client *client;
    rd_kafka_t *handle;
    rd_kafka_queue_t *messages_queue; /* of the partitions assigned */
    rd_kafka_queue_t *client_queue;   /* librdkafka's own errors */
    rd_kafka_queue_t *commit_queue;   /* answers to commits */
    uint64_t charged_bytes;

    struct kafka_split *splits;
    uint32_t nsplits;
    uint32_t nassigned;
    uint32_t nfinished;
    /* The split of the last message; the next one is nearly always its neighbour. */
    const rd_kafka_topic_t *last_topic;
    int32_t last_partition;
    uint32_t last_split;

    rd_kafka_message_t *messages[FETCH_MAX]; /* [at, count) are not decoded yet */
    uint32_t at, count;
    struct weir_slice values[FETCH_MAX];
    uint32_t value_message[FETCH_MAX]; /* which message values[i] is of */

    bool commits; /* there is a group to tell */
    bool commit_in_flight;

    /* A partition whose position the broker does not have, and the question what it has. */
    struct weir_work work;
    uint32_t lost_split;
    bool lost;
    rd_kafka_resp_err_t lost_code;
    int64_t lost_low, lost_high;
};

/* --- partitions ------------------------------------------------------------------------------------------------------ */

/* The split of a message or event, or NULL. */
static struct kafka_split *split_of(struct kafka_source *source, const rd_kafka_message_t *message)
{
    if (message->rkt == NULL) {
        return NULL;
    }
    if (message->rkt != source->last_topic || message->partition != source->last_partition) {
        const char *topic = rd_kafka_topic_name(message->rkt);
        uint32_t i = 0;
        while (i < source->nsplits &&
               (source->splits[i].partition != message->partition || strcmp(source->splits[i].topic, topic) != 0)) {
            i++;
        }
        if (i == source->nsplits) {
            return NULL;
        }
        source->last_topic = message->rkt;
        source->last_partition = message->partition;
        source->last_split = i;
    }
    return &source->splits[source->last_split];
}

static enum weir_rc assign(struct kafka_source *source, struct weir_error *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)source->nsplits);
    for (uint32_t i = 0; i < source->nsplits; i++) {
        struct kafka_split *split = &source->splits[i];
        if (!split->assigned && !split->finished) {
            rd_kafka_topic_partition_list_add(list, split->topic, split->partition)->offset = split->next;
        }
        split->assigned = true;
    }
    rd_kafka_error_t *error = list->cnt == 0 ? NULL : rd_kafka_incremental_assign(source->handle, list);
    enum weir_rc rc = WEIR_OK;
    if (error != NULL) {
        rc = weir__kafka_error(err, rd_kafka_error_code(error), rd_kafka_error_string(error), "assigning partitions");
        (void)weir_error_prefix(err, "table %s", source->ctx->table->name);
        rd_kafka_error_destroy(error);
    }
    rd_kafka_topic_partition_list_destroy(list);
    source->nassigned = source->nsplits;
    return rc;
}

/* The partition is read to its stop: nothing more of it is fetched. */
static void split_finish(struct kafka_source *source, struct kafka_split *split)
{
    weir_assert(!split->finished);
    split->finished = true;
    split->next = split->stop > split->next ? split->stop : split->next;
    source->nfinished++;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    (void)rd_kafka_topic_partition_list_add(list, split->topic, split->partition);
    /* It cannot fail for a partition that is assigned, and if it did, only more would be fetched than is read. */
    (void)rd_kafka_pause_partitions(source->handle, list);
    rd_kafka_topic_partition_list_destroy(list);
}

/* --- what is no longer there ----------------------------------------------------------------------------------------- */

static void lost_run(struct weir_work *work)
{
    struct kafka_source *source = (struct kafka_source *)((char *)work - offsetof(struct kafka_source, work));
    const struct kafka_split *split = &source->splits[source->lost_split];
    source->lost_code = rd_kafka_query_watermark_offsets(source->handle, split->topic, split->partition, &source->lost_low,
                                                         &source->lost_high, WATERMARKS_TIMEOUT_MS);
}

static void lost_done(struct weir_work *work)
{
    struct kafka_source *source = (struct kafka_source *)((char *)work - offsetof(struct kafka_source, work));
    source->ctx->wake(source->ctx->wake_ctx);
}

static enum weir_rc lost_error(const struct kafka_source *source, struct weir_error *err)
{
    const struct kafka_split *split = &source->splits[source->lost_split];
    char there[96] = "only others";
    if (source->lost_code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)snprintf(there, sizeof(there), "offsets %lld to %lld", (long long)source->lost_low, (long long)source->lost_high);
    }
    return weir_error_set(err, WEIR_DATA,
                          "table %s: topic %s, partition %d: offset %lld is to be read next, but the broker has %s: the records were deleted "
                          "before they were read (retention), or the topic was made anew; nothing is skipped silently, so start the job "
                          "anew without its state to go on",
                          source->ctx->table->name, split->topic, (int)split->partition, (long long)split->next, there);
}

/* --- messages -------------------------------------------------------------------------------------------------------- */

static void position_format(void *ctx, uint32_t idx, char out[WEIR_RECORD_POSITION_MAX])
{
    const struct kafka_source *source = ctx;
    const rd_kafka_message_t *message = source->messages[source->value_message[idx]];
    (void)snprintf(out, WEIR_RECORD_POSITION_MAX, "topic %.200s, partition %d, offset %lld", rd_kafka_topic_name(message->rkt),
                   (int)message->partition, (long long)message->offset);
}

static void drop_messages(struct kafka_source *source, uint32_t end)
{
    for (; source->at < end; source->at++) {
        rd_kafka_message_destroy(source->messages[source->at]);
    }
}

/* An event in a message's place. */
static enum weir_rc take_event(struct kafka_source *source, const rd_kafka_message_t *message, struct weir_error *err)
{
    struct kafka_split *split = split_of(source, message);
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        if (split != NULL && !split->finished) {
            split->next = message->offset > split->next ? message->offset : split->next;
            if (split->stop != WEIR_KAFKA_UNBOUNDED && split->next >= split->stop) {
                split_finish(source, split);
            }
        }
        return WEIR_OK;
    }
    if (split != NULL && split->finished) {
        return WEIR_OK;
    }
    if (split != NULL &&
        (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)) {
        if (!source->lost) {
            source->lost = true;
            source->lost_split = (uint32_t)(split - source->splits);
            weir_executor_submit(source->ctx->executor, &source->work);
        }
        return WEIR_OK;
    }
    char what[WEIR_RECORD_POSITION_MAX];
    (void)snprintf(what, sizeof(what), "topic %.200s, partition %d", split == NULL ? "" : split->topic, (int)message->partition);
    enum weir_rc rc = weir__kafka_error(err, message->err, rd_kafka_message_errstr(message), split == NULL ? "Kafka client" : what);
    /* A source reads without its group: what the group's coordinator says concerns commits only. */
    if (rc == WEIR_EXTERNAL || split == NULL) {
        weir_log(source->ctx->log, WEIR_LOG_WARN, "kafka_source", "table", source->ctx->table->name, "error", err->text, NULL);
        return WEIR_OK;
    }
    return weir_error_prefix(err, "table %s", source->ctx->table->name);
}

static enum weir_rc too_long(struct kafka_source *source, const rd_kafka_message_t *message, struct weir_error *err)
{
    char position[WEIR_RECORD_POSITION_MAX];
    source->value_message[0] = source->at;
    position_format(source, 0, position);
    (void)weir_error_set(err, WEIR_LIMIT, "the message is longer than record.bytes.max (%lld bytes)",
                         (long long)source->ctx->settings->record_bytes_max);
    return weir__records_bad(source->records, weir_slice(message->payload, message->len), position, err);
}

/* Gathers the values of the messages from `at` on that follow each other in one partition; returns behind the last of them. */
static uint32_t gather(struct kafka_source *source, int64_t stop, uint32_t *out_values)
{
    const rd_kafka_message_t *first = source->messages[source->at];
    size_t bytes_max = (size_t)source->ctx->settings->record_bytes_max;
    uint32_t nvalues = 0;
    uint32_t end = source->at;
    for (; end < source->count; end++) {
        const rd_kafka_message_t *message = source->messages[end];
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR || message->partition != first->partition || message->rkt != first->rkt ||
            message->len > bytes_max || message->offset >= stop) {
            break;
        }
        if (message->payload != NULL) { /* K4 */
            source->values[nvalues] = weir_slice(message->payload, message->len);
            source->value_message[nvalues++] = end;
        }
    }
    *out_values = nvalues;
    return end;
}

static void add_rows(struct kafka_source *source, struct weir_source_poll *poll, uint32_t rows)
{
    if (rows == 0) {
        return;
    }
    if (poll->nruns > 0 && poll->runs[poll->nruns - 1].split == source->last_split) {
        poll->runs[poll->nruns - 1].rows += rows;
        return;
    }
    weir_assert(poll->nruns < WEIR_SPLIT_RUNS_MAX);
    poll->runs[poll->nruns++] = (struct weir_split_run){.split = source->last_split, .rows = rows};
}

/* Takes messages of one partition, or an event, from the front. *out_full: the batch has no room for them. */
static enum weir_rc take_some(struct kafka_source *source, struct weir_source_poll *poll, bool *out_full, struct weir_error *err)
{
    const rd_kafka_message_t *message = source->messages[source->at];
    enum weir_rc rc = WEIR_OK;
    struct kafka_split *split = message->err == RD_KAFKA_RESP_ERR_NO_ERROR ? split_of(source, message) : NULL;
    if (split == NULL) {
        rc = message->err == RD_KAFKA_RESP_ERR_NO_ERROR ? WEIR_OK : take_event(source, message, err);
        drop_messages(source, source->at + 1);
        return rc;
    }
    int64_t stop = split->stop == WEIR_KAFKA_UNBOUNDED ? INT64_MAX : split->stop;
    if (!split->finished && message->offset >= stop) {
        split_finish(source, split);
    }
    if (split->finished || message->offset < split->next) {
        drop_messages(source, source->at + 1);
        return WEIR_OK;
    }
    if (message->len > (size_t)source->ctx->settings->record_bytes_max) {
        rc = too_long(source, message, err);
        split->next = message->offset + 1;
        drop_messages(source, source->at + 1);
        return rc;
    }
    if (poll->nruns == WEIR_SPLIT_RUNS_MAX && poll->runs[poll->nruns - 1].split != source->last_split) {
        *out_full = true;
        return WEIR_OK;
    }
    uint32_t nvalues;
    uint32_t used = 0;
    uint32_t rows = source->builder.nrows;
    uint32_t end = gather(source, stop, &nvalues);
    if (nvalues > 0) {
        struct weir_record_position position = {.format = position_format, .ctx = source};
        rc = weir__records_decode(source->records, source->values, nvalues, position, &source->builder, &used, err);
        if (rc != WEIR_OK) {
            return weir_error_prefix(err, "table %s", source->ctx->table->name);
        }
    }
    *out_full = used < nvalues;
    end = used < nvalues ? source->value_message[used] : end;
    if (end > source->at) {
        split->next = source->messages[end - 1]->offset + 1;
    }
    drop_messages(source, end);
    add_rows(source, poll, source->builder.nrows - rows);
    return WEIR_OK;
}

/* --- the group's offsets --------------------------------------------------------------------------------------------- */

/* Notes what came of the commit in flight. */
static void end_commit(struct kafka_source *source, rd_kafka_event_t *event)
{
    const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    for (int i = 0; code == RD_KAFKA_RESP_ERR_NO_ERROR && list != NULL && i < list->cnt; i++) {
        code = list->elems[i].err;
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        weir_log(source->ctx->log, WEIR_LOG_WARN, "kafka_offsets_not_committed", "table", source->ctx->table->name, "group",
                 weir_table_option(source->ctx->table, "properties.group.id"), "error", rd_kafka_err2str(code), NULL);
    }
    source->commit_in_flight = false;
}

static void serve_commits(struct kafka_source *source, int timeout_ms)
{
    rd_kafka_event_t *event = source->commit_in_flight ? rd_kafka_queue_poll(source->commit_queue, timeout_ms) : NULL;
    if (event != NULL) {
        end_commit(source, event);
        rd_kafka_event_destroy(event);
    }
}

/* One request at a time: the next one brings what is due by then. Not as an administrator's request (AlterConsumerGroupOffsets), which would be
 * easier to end: when it times out while the brokers are down, librdkafka 2.0.2 aborts the process (rd_kafka_enq_once, refcnt > 0). */
static void commit_due(struct kafka_source *source)
{
    serve_commits(source, 0);
    if (source->commit_in_flight) {
        return;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)source->nsplits);
    for (uint32_t i = 0; i < source->nsplits; i++) {
        struct kafka_split *split = &source->splits[i];
        if (split->due != split->committed) {
            rd_kafka_topic_partition_list_add(list, split->topic, split->partition)->offset = split->due;
            split->committed = split->due;
        }
    }
    if (list->cnt > 0) {
        rd_kafka_resp_err_t code = rd_kafka_commit_queue(source->handle, list, source->commit_queue, NULL, NULL);
        weir_assert(code == RD_KAFKA_RESP_ERR_NO_ERROR);
        source->commit_in_flight = true;
    }
    rd_kafka_topic_partition_list_destroy(list);
}

static void committed(struct weir_source *base, uint32_t split, struct weir_slice position)
{
    struct kafka_source *source = (struct kafka_source *)base;
    weir_assert(split < source->nsplits);
    weir_assert(position.len == sizeof(int64_t));
    if (!source->commits) {
        return;
    }
    struct weir_reader reader = weir_reader(position);
    source->splits[split].due = weir_read_i64(&reader);
    if (split + 1 == source->nsplits) {
        commit_due(source);
    }
}

/* A bounded job ends with its last checkpoint: a moment for the brokers to take its offsets. */
static void commit_last(struct kafka_source *source)
{
    int64_t until_ms = weir_clock_mono_ms(weir_clock_real()) + LAST_COMMIT_WAIT_MS;
    while (source->commit_in_flight) {
        int64_t left_ms = until_ms - weir_clock_mono_ms(weir_clock_real());
        if (left_ms <= 0) {
            return;
        }
        serve_commits(source, (int)left_ms);
        commit_due(source);
    }
}

/* --- the source ------------------------------------------------------------------------------------------------------ */

static enum weir_rc enumerate(const struct weir_table_spec *table, uint32_t parallelism, struct weir_fs *fs,
                              void (*add)(void *add_ctx, struct weir_split split), void *add_ctx, struct weir_error *err)
{
    (void)parallelism;
    (void)fs;
    return weir__kafka_splits_list(table, ENUMERATE_TIMEOUT_MS, add, add_ctx, err);
}

static void destroy(struct weir_source *base)
{
    struct kafka_source *source = (struct kafka_source *)base;
    if (source == NULL) {
        return;
    }
    weir_assert(!source->work.in_flight);
    drop_messages(source, source->count);
    if (source->client != NULL) {
        rd_kafka_queue_cb_event_enable(source->messages_queue, NULL, NULL);
        rd_kafka_queue_cb_event_enable(source->client_queue, NULL, NULL);
        commit_last(source);
        bool unanswered = source->commit_in_flight;
        rd_kafka_queue_destroy(source->messages_queue);
        rd_kafka_queue_destroy(source->client_queue);
        rd_kafka_queue_destroy(source->commit_queue);
        if (unanswered) { /* the client's end waits for an answer that may take a minute */
            weir__kafka_client_abandon(source->client);
        } else {
            weir__kafka_client_destroy(source->client);
        }
    }
    weir_mem_uncharge(source->ctx->mem, source->charged_bytes);
    for (uint32_t i = 0; i < source->nsplits; i++) {
        weir_free(source->splits[i].topic);
    }
    weir_free(source->splits);
    weir_batch_builder_fini(&source->builder);
    weir__records_destroy(source->records);
    weir_free(source);
}

/* On librdkafka's threads. */
static void source_on_event(rd_kafka_t *handle, void *ctx)
{
    (void)handle;
    struct kafka_source *source = ctx;
    source->ctx->wake(source->ctx->wake_ctx);
}

/*
 * How much librdkafka may hold of messages that were fetched and not yet taken. Its thread notices up to a second late that there is room again
 * (2.0.2; nothing wakes it), so the queue has to last that long: with 16 MiB a fast job waited more than half of its time. All sources of a
 * TaskManager together leave room for the rest of its budget.
 */
static uint64_t prefetch_bytes(const struct weir_mem *mem)
{
    uint64_t share = weir_mem_limit(mem) / PREFETCH_SHARE;
    return share > PREFETCH_BYTES_MAX ? PREFETCH_BYTES_MAX : share < PREFETCH_BYTES_MIN ? PREFETCH_BYTES_MIN : share;
}

static enum weir_rc open_client(struct kafka_source *source, struct weir_error *err)
{
    rd_kafka_conf_t *conf = NULL;
    enum weir_rc rc = weir__kafka_conf_create(source->ctx->table, WEIR_KAFKA_CONSUMER, &conf, err);
    if (rc == WEIR_OK && !source->commits) { /* librdkafka wants one; nothing is committed to it */
        char *group = weir_strfmt("weir-%s-%s", source->ctx->job_id, source->ctx->uid == NULL ? "" : source->ctx->uid);
        rc = weir__kafka_conf_set(conf, "group.id", group, err);
        weir_free(group);
    }
    rc = rc != WEIR_OK ? rc : weir__kafka_conf_set(conf, "enable.partition.eof", "true", err); /* K2 */
    rc = rc != WEIR_OK ? rc : weir__kafka_conf_set(conf, "auto.offset.reset", "error", err);   /* K5 */
    char kbytes[24];
    uint64_t bytes = prefetch_bytes(source->ctx->mem);
    (void)snprintf(kbytes, sizeof(kbytes), "%llu", (unsigned long long)bytes >> 10);
    rc = rc != WEIR_OK ? rc : weir__kafka_conf_set(conf, "queued.max.messages.kbytes", kbytes, err);
    if (rc != WEIR_OK) {
        if (conf != NULL) {
            rd_kafka_conf_destroy(conf);
        }
        return rc;
    }
    rc = weir__kafka_client_create(source->ctx->log, source->ctx->table->name, WEIR_KAFKA_CONSUMER, conf, &source->client, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    source->charged_bytes = bytes;
    weir_mem_charge(source->ctx->mem, bytes);
    source->handle = weir__kafka_client_handle(source->client);
    source->messages_queue = rd_kafka_queue_get_consumer(source->handle);
    source->client_queue = rd_kafka_queue_get_main(source->handle);
    source->commit_queue = rd_kafka_queue_new(source->handle);
    rd_kafka_queue_cb_event_enable(source->messages_queue, source_on_event, source);
    rd_kafka_queue_cb_event_enable(source->client_queue, source_on_event, source);
    return WEIR_OK;
}

static enum weir_rc create(const struct weir_conn_ctx *ctx, struct weir_source **out_source, struct weir_error *err)
{
    struct weir_records *records;
    enum weir_rc rc = weir__records_create(ctx, &records, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct kafka_source *source = weir_calloc(1, sizeof(*source));
    source->base.vtable = &weir__kafka_source;
    source->ctx = ctx;
    source->records = records;
    source->commits = weir_table_option(ctx->table, "properties.group.id") != NULL;
    source->work.run = lost_run;
    source->work.done = lost_done;
    rc = open_client(source, err);
    if (rc != WEIR_OK) {
        destroy(&source->base);
        return rc;
    }
    weir_batch_builder_init(&source->builder, ctx->table->schema, WEIR_BATCH_ROWS_MAX, ctx->mem);
    *out_source = &source->base;
    return WEIR_OK;
}

static enum weir_rc add_split(struct weir_source *base, struct weir_split split, struct weir_slice position, uint32_t *out_split,
                              struct weir_error *err)
{
    struct kafka_source *source = (struct kafka_source *)base;
    struct weir_reader at = weir_reader(position);
    struct weir_kafka_split spec;
    bool whole = weir__kafka_split_decode(split.data, &spec);
    int64_t next = !whole || position.len == 0 ? 0 : weir_read_i64(&at);
    if (!whole || at.failed || next < 0 || (position.len != 0 && at.rest.len != 0)) {
        return weir_error_set(err, WEIR_CORRUPT, "table %s: split %.*s or its position is damaged", source->ctx->table->name,
                              WEIR_SLICE_ARG(split.id));
    }
    struct kafka_split made = {.topic = weir_strndup(spec.topic.data, spec.topic.len), .partition = spec.partition, .stop = spec.stop,
                               .next = position.len == 0 ? spec.start : next, .due = -1, .committed = -1};
    made.finished = made.stop != WEIR_KAFKA_UNBOUNDED && made.next >= made.stop;
    source->nfinished += made.finished;
    source->splits = weir_realloc(source->splits, (source->nsplits + 1) * sizeof(*source->splits));
    source->splits[source->nsplits] = made;
    *out_split = source->nsplits++;
    return WEIR_OK;
}

/* What goes on besides messages: splits to begin with, the client's errors, a partition that lost records. */
static enum weir_rc attend(struct kafka_source *source, struct weir_error *err)
{
    if (source->nassigned < source->nsplits) {
        enum weir_rc rc = assign(source, err);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    (void)rd_kafka_poll(source->handle, 0);
    serve_commits(source, 0);
    if (weir__kafka_client_error(source->client, err) != WEIR_OK) {
        return weir_error_prefix(err, "table %s", source->ctx->table->name);
    }
    if (source->lost) {
        return source->work.in_flight ? WEIR_AGAIN : lost_error(source, err);
    }
    return WEIR_OK;
}

static void fetch(struct kafka_source *source)
{
    weir_assert(source->at == source->count);
    ssize_t taken = rd_kafka_consume_batch_queue(source->messages_queue, 0, source->messages, FETCH_MAX);
    source->at = 0;
    source->count = taken > 0 ? (uint32_t)taken : 0;
}

static enum weir_rc poll(struct weir_source *base, struct weir_source_poll *out_poll, struct weir_error *err)
{
    struct kafka_source *source = (struct kafka_source *)base;
    out_poll->batch = NULL;
    out_poll->nruns = 0;
    out_poll->wait_ms = -1;
    if (weir_mem_full(source->ctx->mem)) {
        out_poll->wait_ms = MEM_FULL_WAIT_MS;
        return WEIR_AGAIN;
    }
    if (source->nfinished == source->nsplits) {
        return WEIR_END;
    }
    enum weir_rc rc = attend(source, err);
    bool full = false;
    bool drained = false;
    for (uint32_t fetches = 0; rc == WEIR_OK && !full && fetches < FETCHES_MAX && source->builder.nrows < WEIR_BATCH_ROWS_MAX;) {
        if (source->at == source->count) {
            fetch(source);
            fetches++;
            drained = source->count == 0;
            if (drained) {
                break;
            }
        }
        rc = take_some(source, out_poll, &full, err);
    }
    if (rc != WEIR_OK) {
        return rc;
    }
    out_poll->batch = weir_batch_builder_finish(&source->builder);
    if (out_poll->batch != NULL || !drained) {
        return WEIR_OK;
    }
    return source->nfinished == source->nsplits ? WEIR_END : WEIR_AGAIN;
}

static void split_position(const struct weir_source *base, uint32_t split, struct weir_buf *out)
{
    const struct kafka_source *source = (const struct kafka_source *)base;
    weir_assert(split < source->nsplits);
    weir_buf_put_i64(out, source->splits[split].next);
}

static bool split_finished(const struct weir_source *base, uint32_t split)
{
    const struct kafka_source *source = (const struct kafka_source *)base;
    weir_assert(split < source->nsplits);
    return source->splits[split].finished;
}

const struct weir_source_vtable weir__kafka_source = {
    .connector = "kafka",
    .bounded = weir_connector_bounded,
    .enumerate = enumerate,
    .create = create,
    .destroy = destroy,
    .add_split = add_split,
    .poll = poll,
    .split_position = split_position,
    .split_finished = split_finished,
    .committed = committed,
};
