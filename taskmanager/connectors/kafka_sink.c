/*
 * The sinks "kafka" and "upsert-kafka": rows become records (kafka_encode), and go
 *
 * S1  none, at-least-once: to the producer at once (kafka_produce); a checkpoint waits until all that came before it is delivered, and has no
 *     state.
 * S2  exactly-once: into an epoch log (epoch_log), which a transactional producer (kafka_txn) drains once the checkpoint is committed.
 * S3  write takes a batch whole: records that find no room wait encoded in the encoder, and no further batch is taken before they are out.
 * S4  With a partitioner of Weir's own the number of partitions is asked first, off-thread, with a client that lives for the question.
 */
#include "taskmanager/connectors/conn_registry.h"

#include "common/base/config.h"
#include "common/catalog/connector_desc.h"
#include "taskmanager/connectors/epoch_log.h"
#include "taskmanager/connectors/kafka_client.h"
#include "taskmanager/connectors/kafka_encode.h"
#include "taskmanager/connectors/kafka_produce.h"
#include "taskmanager/connectors/kafka_txn.h"

#include <inttypes.h>

enum { ASK_TIMEOUT_MS = 2000 };

struct kafka_sink {
    struct weir_sink base;
    const struct weir_conn_ctx *ctx;
    struct weir_kafka_encoder *encoder;
    struct weir_kafka_produce *produce; /* S1, else NULL */
    struct weir_epoch_log *log;         /* S2, else NULL */
    size_t charged_bytes;

    /* S3: records[0..count) of the encoder's, those before `taken` are out. */
    const struct weir_kafka_record *records;
    uint32_t count, taken;
    struct weir_buf log_bytes; /* S2: the same, encoded for the log; not empty: not appended yet */
    uint32_t log_ends[WEIR_BATCH_ROWS_MAX];

    /* S4 */
    struct weir_work ask;
    bool asked; /* answered, or nothing to ask */
    int64_t ask_until_ms;
    enum weir_rc ask_rc; /* AGAIN: no answer yet */
    struct weir_error ask_err;
    uint32_t partitions;
};

/* --- S4 ---------------------------------------------------------------------------------------------------------------- */

static struct kafka_sink *sink_of(struct weir_work *work)
{
    return (struct kafka_sink *)((char *)work - offsetof(struct kafka_sink, ask));
}

static enum weir_rc ask(const struct weir_conn_ctx *ctx, uint32_t *out_partitions, struct weir_error *err)
{
    const char *topic = weir_table_option(ctx->table, "topic");
    rd_kafka_conf_t *conf = NULL;
    struct weir_kafka_client *client = NULL;
    enum weir_rc rc = weir__kafka_conf_create(ctx->table, WEIR_KAFKA_PRODUCER, &conf, err);
    rc = rc != WEIR_OK ? rc : weir__kafka_client_create(ctx->log, ctx->table->name, WEIR_KAFKA_PRODUCER, conf, &client, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    rc = weir__kafka_partitions(weir__kafka_client_handle(client), topic, ASK_TIMEOUT_MS, out_partitions, err);
    weir__kafka_client_destroy(client);
    return rc;
}

static void ask_run(struct weir_work *work)
{
    struct kafka_sink *sink = sink_of(work);
    sink->ask_rc = ask(sink->ctx, &sink->partitions, &sink->ask_err);
}

static void ask_done(struct weir_work *work)
{
    struct kafka_sink *sink = sink_of(work);
    if (sink->ask_rc == WEIR_EXTERNAL && weir_clock_mono_ms(sink->ctx->clock) < sink->ask_until_ms) {
        sink->ask_rc = WEIR_AGAIN; /* brokers that are down may come back */
    } else if (sink->ask_rc == WEIR_OK) {
        weir__kafka_encoder_set_partitions(sink->encoder, sink->partitions);
        sink->asked = true;
    } else {
        (void)weir_error_prefix(&sink->ask_err, "table %s: %s", sink->ctx->table->name,
                                weir_table_option(sink->ctx->table, "properties.bootstrap.servers"));
    }
    sink->ctx->wake(sink->ctx->wake_ctx);
}

/* OK: rows can be encoded. AGAIN. */
static enum weir_rc ready(struct kafka_sink *sink, struct weir_error *err)
{
    if (sink->asked) {
        return WEIR_OK;
    }
    if (!sink->ask.in_flight && sink->ask_rc != WEIR_AGAIN) {
        *err = sink->ask_err;
        return sink->ask_rc;
    }
    if (!sink->ask.in_flight) {
        if (sink->ask_until_ms == 0) {
            sink->ask_until_ms = weir_clock_mono_ms(sink->ctx->clock) + weir__kafka_produce_timeout_ms(sink->ctx);
        }
        weir_executor_submit(sink->ctx->executor, &sink->ask);
    }
    return sink->asked ? WEIR_OK : WEIR_AGAIN;
}

/* --- records ----------------------------------------------------------------------------------------------------------- */

static void charge(struct kafka_sink *sink)
{
    size_t held = weir__kafka_encoder_bytes(sink->encoder) + sink->log_bytes.cap;
    if (held > sink->charged_bytes) {
        weir_mem_charge(sink->ctx->mem, held - sink->charged_bytes);
        sink->charged_bytes = held;
    }
}

static enum weir_rc encode(struct kafka_sink *sink, const struct weir_batch *batch, struct weir_error *err)
{
    enum weir_rc rc = weir__kafka_encode(sink->encoder, batch, &sink->records, &sink->count, err);
    if (rc != WEIR_OK) {
        sink->count = 0;
        return rc;
    }
    sink->taken = 0;
    for (uint32_t i = 0; sink->log != NULL && i < sink->count; i++) {
        weir__kafka_record_encode(&sink->records[i], &sink->log_bytes);
        if (sink->log_bytes.len > UINT32_MAX) {
            sink->count = 0;
            return weir_error_set(err, WEIR_LIMIT, "table %s: the records of one batch take more than 4 GiB", sink->ctx->table->name);
        }
        sink->log_ends[i] = (uint32_t)sink->log_bytes.len;
    }
    charge(sink);
    return WEIR_OK;
}

/* OK: no record waits any more. AGAIN. */
static enum weir_rc put_out(struct kafka_sink *sink, struct weir_error *err)
{
    if (sink->taken == sink->count) {
        return WEIR_OK;
    }
    enum weir_rc rc;
    if (sink->log != NULL) {
        rc = weir_epoch_log_append(sink->log, weir_buf_slice(&sink->log_bytes), sink->log_ends, sink->count, err);
        if (rc == WEIR_OK) {
            sink->taken = sink->count;
            weir_buf_clear(&sink->log_bytes);
        }
        return rc;
    }
    uint32_t taken = 0;
    rc = weir__kafka_produce(sink->produce, sink->records + sink->taken, sink->count - sink->taken, &taken, err);
    sink->taken += taken;
    return rc;
}

static enum weir_rc write_batch(struct weir_sink *base, const struct weir_batch *batch, struct weir_error *err)
{
    struct kafka_sink *sink = (struct kafka_sink *)base;
    enum weir_rc rc = ready(sink, err);
    rc = rc != WEIR_OK ? rc : put_out(sink, err);
    rc = rc != WEIR_OK ? rc : encode(sink, batch, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    rc = put_out(sink, err);
    return rc == WEIR_AGAIN ? WEIR_OK : rc; /* S3 */
}

/* Everything written is delivered, or in the log. AGAIN. */
static enum weir_rc flush(struct kafka_sink *sink, struct weir_error *err)
{
    enum weir_rc rc = put_out(sink, err);
    return rc != WEIR_OK || sink->produce == NULL ? rc : weir__kafka_produce_flush(sink->produce, err);
}

/* --- the vtable -------------------------------------------------------------------------------------------------------- */

static void destroy(struct weir_sink *base)
{
    struct kafka_sink *sink = (struct kafka_sink *)base;
    if (sink == NULL) {
        return;
    }
    weir_assert(!sink->ask.in_flight);
    weir__kafka_produce_destroy(sink->produce);
    weir_epoch_log_destroy(sink->log);
    weir__kafka_encoder_destroy(sink->encoder);
    weir_mem_uncharge(sink->ctx->mem, sink->charged_bytes);
    weir_buf_fini(&sink->log_bytes);
    weir_free(sink);
}

static enum weir_rc open_log(struct kafka_sink *sink, struct weir_error *err)
{
    const struct weir_table_spec *table = sink->ctx->table;
    if (sink->ctx->settings->checkpoint_interval_ms == 0) {
        return weir_error_set(err, WEIR_INVALID, "table %s: sink.delivery-guarantee is exactly-once, but the job takes no checkpoints; set "
                              "execution.checkpointing.interval", table->name);
    }
    const char *size = weir_connector_option(table, "sink.log.bytes.max");
    int64_t bytes_max = 0;
    struct weir_drain_target *target = NULL;
    enum weir_rc rc = weir_config_parse_bytes(weir_slice_str(size), &bytes_max, err);
    rc = rc != WEIR_OK ? rc : weir__kafka_txn_create(sink->ctx, &target, err);
    return rc != WEIR_OK ? rc : weir_epoch_log_create(sink->ctx, (uint64_t)bytes_max, target, &sink->log, err);
}

static enum weir_rc open_output(struct kafka_sink *sink, struct weir_error *err)
{
    const char *guarantee = weir_connector_option(sink->ctx->table, "sink.delivery-guarantee");
    if (strcmp(guarantee, "exactly-once") == 0) {
        return open_log(sink, err);
    }
    bool none = strcmp(guarantee, "none") == 0;
    if (!none && strcmp(guarantee, "at-least-once") != 0) {
        return weir_error_set(err, WEIR_INVALID, "table %s: sink.delivery-guarantee is \"%s\"; expected none, at-least-once or exactly-once",
                              sink->ctx->table->name, guarantee);
    }
    return weir__kafka_produce_create(sink->ctx, !none, &sink->produce, err);
}

static enum weir_rc create_as(const struct weir_sink_vtable *vtable, bool upsert, const struct weir_conn_ctx *ctx, struct weir_sink **out_sink,
                              struct weir_error *err)
{
    struct kafka_sink *sink = weir_calloc(1, sizeof(*sink));
    sink->base.vtable = vtable;
    sink->ctx = ctx;
    sink->ask = (struct weir_work){.run = ask_run, .done = ask_done};
    sink->ask_rc = WEIR_AGAIN;
    enum weir_rc rc = weir__kafka_encoder_create(ctx, upsert, &sink->encoder, err);
    rc = rc != WEIR_OK ? rc : open_output(sink, err);
    if (rc != WEIR_OK) {
        destroy(&sink->base);
        return rc;
    }
    sink->asked = !weir__kafka_encoder_needs_partitions(sink->encoder);
    charge(sink);
    *out_sink = &sink->base;
    return WEIR_OK;
}

static enum weir_rc kafka_create(const struct weir_conn_ctx *ctx, struct weir_sink **out_sink, struct weir_error *err)
{
    return create_as(&weir__kafka_sink, false, ctx, out_sink, err);
}

static enum weir_rc upsert_create(const struct weir_conn_ctx *ctx, struct weir_sink **out_sink, struct weir_error *err)
{
    return create_as(&weir__upsert_kafka_sink, true, ctx, out_sink, err);
}

static enum weir_rc finish(struct weir_sink *base, struct weir_error *err)
{
    struct kafka_sink *sink = (struct kafka_sink *)base;
    weir_assert(sink->log == NULL);
    return flush(sink, err);
}

static enum weir_rc prepare(struct weir_sink *base, uint64_t checkpoint, struct weir_buf *out, struct weir_error *err)
{
    struct kafka_sink *sink = (struct kafka_sink *)base;
    enum weir_rc rc = flush(sink, err);
    return rc != WEIR_OK || sink->log == NULL ? rc : weir_epoch_log_prepare(sink->log, checkpoint, out, err);
}

static enum weir_rc commit(struct weir_sink *base, uint64_t checkpoint, struct weir_error *err)
{
    struct kafka_sink *sink = (struct kafka_sink *)base;
    return sink->log == NULL ? WEIR_OK : weir_epoch_log_commit(sink->log, checkpoint, err);
}

static enum weir_rc restore(struct weir_sink *base, uint64_t checkpoint, struct weir_slice state, bool last, struct weir_error *err)
{
    (void)last;
    struct kafka_sink *sink = (struct kafka_sink *)base;
    if (sink->log != NULL) {
        return weir_epoch_log_restore(sink->log, checkpoint, state, err);
    }
    return state.len == 0 ? WEIR_OK
                          : weir_error_set(err, WEIR_CORRUPT,
                                           "table %s: checkpoint %" PRIu64 " holds %zu bytes of the sink's state, but only exactly-once has any: "
                                           "was sink.delivery-guarantee changed?", sink->ctx->table->name, checkpoint, state.len);
}

static enum weir_rc drain(struct weir_sink *base, struct weir_error *err)
{
    struct kafka_sink *sink = (struct kafka_sink *)base;
    return sink->log == NULL ? WEIR_OK : weir_epoch_log_drain(sink->log, err);
}

#define KAFKA_SINK(name, create_fn) \
    {.connector = (name), .create = (create_fn), .destroy = destroy, .write = write_batch, .finish = finish, .prepare = prepare, \
     .commit = commit, .restore = restore, .drain = drain}

const struct weir_sink_vtable weir__kafka_sink = KAFKA_SINK("kafka", kafka_create);
const struct weir_sink_vtable weir__upsert_kafka_sink = KAFKA_SINK("upsert-kafka", upsert_create);
