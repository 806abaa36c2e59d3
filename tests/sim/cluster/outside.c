#include "tests/sim/cluster/outside.h"

#include "common/base/assert.h"
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "taskmanager/connectors/kafka_produce.h"
#include "taskmanager/connectors/kafka_txn.h"
#include "tests/sim/cluster/hooks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    TXNS_MAX = 1024, /* each run of a job has its own */
    ID_BYTES = 160,
    KEYS = 4,
    WINDOW_MS = 1000,
    STEP_MS = 10,          /* of the event time of two rows that follow each other */
    PATIENCE_MS = 1500,    /* of a request */
    RENEWED_ONE_IN = 10,   /* of the commits: R7 */
    FORGETS_ONE_IN = 2,    /* of those */
    STUCK_ONE_IN = 20,     /* of the requests that nobody answers */
    STUCK_MS = 3600000,
    LOOSE_PENDING_MAX = 400,
};

#define MS INT64_C(1000000)

struct txn {
    char id[ID_BYTES];
    struct weir_sim_job *job;
    uint64_t epoch;
    bool open, prepared; /* it has records or an offset; its end is logged */
    uint64_t serial;     /* of the transaction */
    struct weir_buf records; /* u32 length, bytes */
    bool staged_moves;
    uint64_t staged_cursor;
    bool has_cursor;
    uint64_t cursor;
};

static struct outside {
    struct weir_sim_node *broker;
    bool hangs;
    struct weir_sim_job jobs[WEIR_SIM_JOBS_MAX];
    uint32_t njobs;
    struct txn txns[TXNS_MAX];
    uint32_t ntxns;
} outside;

void weir_sim_outside_init(struct weir_sim_node *broker)
{
    outside.broker = broker;
    broker->power = WEIR_SIM_UP;
}

void weir_sim_outside_hang(bool hangs)
{
    outside.hangs = hangs;
}

/* --- jobs ---------------------------------------------------------------------------------------------------------------- */

struct weir_sim_job *weir_sim_job_add(void)
{
    weir_assert(outside.njobs < WEIR_SIM_JOBS_MAX);
    struct weir_sim_job *job = &outside.jobs[outside.njobs];
    job->number = outside.njobs++;
    (void)snprintf(job->topic, sizeof(job->topic), "topic%u", job->number);
    return job;
}

uint32_t weir_sim_job_count(void)
{
    return outside.njobs;
}

struct weir_sim_job *weir_sim_job_at(uint32_t i)
{
    return &outside.jobs[i];
}

char *weir_sim_job_text(const struct weir_sim_job *job)
{
    bool window = job->kind == WEIR_SIM_JOB_WINDOW;
    struct weir_buf text = {0};
    weir_buf_put_fmt(&text,
                     "job: job%u\n"
                     "settings: {parallelism.default: %u, execution.checkpointing.interval: %u ms, execution.checkpointing.timeout: 8 s,\n"
                     "  pipeline.max-parallelism: 16, restart-strategy.type: fixed-delay,\n"
                     "  restart-strategy.fixed-delay.attempts: 2147483647, restart-strategy.fixed-delay.delay: 100 ms}\n"
                     "tables:\n"
                     "  numbers:\n"
                     "    columns: {n: BIGINT, ts: TIMESTAMP(3)}\n"
                     "    watermark: {column: ts, delay: 0 s}\n"
                     "    with: {connector: datagen, %s%.0" PRIu64 "%s rows-per-second: %u, fields.n.kind: sequence, fields.n.start: 0, fields.n.end: 1000000000,\n"
                     "      fields.ts.kind: time, fields.ts.step: %u ms}\n"
                     "  out:\n"
                     "    columns: %s\n"
                     "    with: {connector: kafka, topic: %s, properties.bootstrap.servers: \"kafka:9092\", format: json,\n"
                     "      %s}\n"
                     "pipeline:\n"
                     "  - {id: read, source: numbers}\n"
                     "  - {id: only, input: read, filter: \"n %% 5 <> 3\", project: {n: n, k: \"n %% %u\", ts: ts}}\n",
                     job->number, job->parallelism, job->interval_ms, job->rows == 0 ? "" : "number-of-rows: ", job->rows,
                     job->rows == 0 ? "" : ",", job->rows_per_s, STEP_MS,
                     window ? "{window_start: TIMESTAMP(3), window_end: TIMESTAMP(3), k: BIGINT, c: BIGINT, total: BIGINT}" : "{n: BIGINT, k: BIGINT, ts: TIMESTAMP(3)}",
                     job->topic,
                     job->kind == WEIR_SIM_JOB_LOOSE ? "sink.delivery-guarantee: at-least-once"
                                                     : "sink.delivery-guarantee: exactly-once, sink.transactional-id-prefix: sim",
                     KEYS);
    if (window) {
        weir_buf_put_fmt(&text, "  - {id: count, input: only, key_by: [k], window: {tumble: %u ms}, aggregate: {c: \"COUNT(*)\", total: \"SUM(n)\"}}\n",
                         WINDOW_MS);
    }
    weir_buf_put_fmt(&text, "  - {id: write, input: %s, sink: out}\n", window ? "count" : "only");
    weir_buf_put(&text, "", 1);
    return (char *)text.data;
}

static bool passes(uint64_t n)
{
    return n % 5 != 3;
}

static uint64_t *next_of(struct weir_sim_job *job)
{
    if (job->next == NULL) {
        uint32_t count = job->parallelism > KEYS ? job->parallelism : KEYS;
        job->next = weir_calloc(count, sizeof(*job->next));
        for (uint32_t s = 0; job->kind == WEIR_SIM_JOB_PASS && s < job->parallelism; s++) {
            job->next[s] = passes(s) ? s : s + job->parallelism; /* parallelisms below 5 */
        }
    }
    return job->next;
}

static void pass_row(struct weir_sim_job *job, uint64_t n)
{
    uint32_t split = (uint32_t)(n % job->parallelism);
    uint64_t *next = &next_of(job)[split];
    if (n != *next || (job->rows != 0 && n >= job->rows)) {
        weir_sim_fail("%s: row %" PRIu64 " of split %u, expected %" PRIu64 ": %s", job->topic, n, split, *next, n < *next ? "it came before" : "rows are missing");
        return;
    }
    do {
        *next += job->parallelism;
    } while (!passes(*next));
}

static void loose_row(struct weir_sim_job *job, uint64_t n)
{
    if (!passes(n) || n >= job->rows) {
        weir_sim_fail("%s: row %" PRIu64 " was never there", job->topic, n);
        return;
    }
    if (job->seen == NULL) {
        job->seen = weir_calloc(job->rows, 1);
    }
    job->seen[n] = 1;
}

/* What window w of a key must say. */
static void window_of(const struct weir_sim_job *job, uint64_t key, uint64_t w, uint64_t *out_count, uint64_t *out_total)
{
    *out_count = *out_total = 0;
    for (uint64_t n = w * WINDOW_MS / STEP_MS; n < (w + 1) * WINDOW_MS / STEP_MS && n < job->rows; n++) {
        if (passes(n) && n % KEYS == key) {
            ++*out_count;
            *out_total += n;
        }
    }
}

static uint64_t number_of(const char *line, const char *key)
{
    const char *at = strstr(line, key);
    return at == NULL ? UINT64_MAX : strtoull(at + strlen(key), NULL, 10);
}

static void window_row(struct weir_sim_job *job, const char *line)
{
    unsigned hour = 99, minute = 99, second = 99;
    const char *at = strstr(line, "\"window_start\":\"1970-01-01 ");
    bool read = at != NULL && sscanf(at + strlen("\"window_start\":\"1970-01-01 "), "%2u:%2u:%2u", &hour, &minute, &second) == 3;
    uint64_t w = hour * 3600ull + minute * 60ull + second;
    uint64_t key = number_of(line, "\"k\":");
    if (!read || key >= KEYS) {
        weir_sim_fail("%s: no window's row: %s", job->topic, line);
        return;
    }
    uint64_t *next = &next_of(job)[key];
    uint64_t count = 0, total = 0;
    window_of(job, key, w, &count, &total);
    if (w != *next || number_of(line, "\"c\":") != count || number_of(line, "\"total\":") != total || count == 0) {
        weir_sim_fail("%s: key %" PRIu64 ", expected window %" PRIu64 ", and of window %" PRIu64 " a count of %" PRIu64 " and a total of %" PRIu64 ": %s", job->topic, key, *next, w,
                      count, total, line);
        return;
    }
    ++*next;
}

/* A read_committed reader sees it. */
static void visible(struct weir_sim_job *job, struct weir_slice bytes)
{
    struct weir_kafka_record record;
    char line[512];
    bool ok = weir__kafka_record_decode(bytes, &record);
    weir_assert(ok && record.has_value && record.value.len < sizeof(line));
    memcpy(line, record.value.data, record.value.len);
    line[record.value.len] = '\0';
    job->visible++;
    if (job->over && job->kind != WEIR_SIM_JOB_LOOSE) {
        weir_sim_fail("%s: the job is over, and writes %s", job->topic, line);
    }
    if (job->kind != WEIR_SIM_JOB_WINDOW && number_of(line, "\"k\":") != number_of(line, "\"n\":") % KEYS) {
        weir_sim_fail("%s: no row of the job: %s", job->topic, line);
    }
    switch (job->kind) {
    case WEIR_SIM_JOB_PASS:
        pass_row(job, number_of(line, "\"n\":"));
        return;
    case WEIR_SIM_JOB_WINDOW:
        window_row(job, line);
        return;
    case WEIR_SIM_JOB_LOOSE:
        loose_row(job, number_of(line, "\"n\":"));
        return;
    }
}

void weir_sim_job_check_end(const struct weir_sim_job *job)
{
    struct weir_sim_job *of = &outside.jobs[job->number];
    if (job->rows == 0) {
        weir_sim_fail("%s: the job is finished, and its input has no end", job->topic);
    }
    for (uint64_t s = 0; job->kind == WEIR_SIM_JOB_PASS && s < job->parallelism; s++) {
        if (next_of(of)[s] < job->rows) {
            weir_sim_fail("%s: the job is finished, and row %" PRIu64 " is missing", job->topic, next_of(of)[s]);
        }
    }
    uint64_t windows = (job->rows * STEP_MS + WINDOW_MS - 1) / WINDOW_MS;
    for (uint64_t key = 0; job->kind == WEIR_SIM_JOB_WINDOW && key < KEYS; key++) {
        uint64_t count = 0, total = 0;
        for (uint64_t w = next_of(of)[key]; w < windows && count == 0; w++) {
            window_of(job, key, w, &count, &total);
        }
        if (count != 0) {
            weir_sim_fail("%s: the job is finished, and window %" PRIu64 " of key %" PRIu64 " is missing", job->topic, next_of(of)[key], key);
        }
    }
    for (uint64_t n = 0; job->kind == WEIR_SIM_JOB_LOOSE && n < job->rows; n++) {
        if (passes(n) && (job->seen == NULL || job->seen[n] == 0)) {
            weir_sim_fail("%s: the job is finished, and row %" PRIu64 " is missing", job->topic, n);
            return;
        }
    }
}

void weir_sim_job_over(const struct weir_sim_job *job)
{
    outside.jobs[job->number].over = true;
    for (uint32_t i = 0; i < outside.ntxns; i++) {
        const struct txn *txn = &outside.txns[i];
        if (txn->job == job && (txn->open || txn->prepared)) {
            weir_sim_fail("%s: the job is over, and transaction %" PRIu64 " of %s is open", job->topic, txn->serial, txn->id);
        }
    }
}

static struct weir_sim_job *job_of_topic(const char *topic)
{
    for (uint32_t i = 0; i < outside.njobs; i++) {
        if (strcmp(outside.jobs[i].topic, topic) == 0) {
            return &outside.jobs[i];
        }
    }
    weir_assert(false);
}

/* --- transactions, at the broker ----------------------------------------------------------------------------------------- */

static struct txn *txn_of(const char *id, const char *topic)
{
    for (uint32_t i = 0; i < outside.ntxns; i++) {
        if (strcmp(outside.txns[i].id, id) == 0) {
            return &outside.txns[i];
        }
    }
    weir_assert(outside.ntxns < TXNS_MAX);
    struct txn *txn = &outside.txns[outside.ntxns++];
    (void)snprintf(txn->id, sizeof(txn->id), "%s", id);
    txn->job = job_of_topic(topic);
    return txn;
}

static void txn_end(struct txn *txn, bool committed)
{
    struct weir_reader reader = weir_reader(weir_buf_slice(&txn->records));
    while (committed && reader.rest.len > 0) {
        visible(txn->job, weir_read_bytes(&reader));
    }
    if (committed && txn->staged_moves) {
        txn->has_cursor = true;
        txn->cursor = txn->staged_cursor;
    }
    if (txn->open) {
        weir_sim_trace("%s: transaction %" PRIu64 " is %s, cursor %" PRIu64, txn->id, txn->serial, committed ? "committed" : "aborted", txn->cursor);
    }
    weir_buf_clear(&txn->records);
    txn->open = txn->prepared = txn->staged_moves = false;
    txn->serial++;
}

struct txn_event {
    struct txn *txn;
    uint64_t serial, epoch;
};

/* The markers are written. */
static void txn_completes(void *ctx)
{
    struct txn_event *event = ctx;
    if (event->txn->serial == event->serial && event->txn->prepared) {
        txn_end(event->txn, true);
    }
    weir_free(event);
}

static void txn_prepare(struct txn *txn)
{
    struct txn_event *event = weir_calloc(1, sizeof(*event));
    txn->prepared = true;
    *event = (struct txn_event){.txn = txn, .serial = txn->serial};
    weir_sim_after(weir_sim_between(MS / 10, 20 * MS), NULL, txn_completes, event);
}

/* An EndTxn that its client has given up. */
static void txn_late_commit(void *ctx)
{
    struct txn_event *event = ctx;
    struct txn *txn = event->txn;
    if (txn->serial == event->serial && txn->epoch == event->epoch && txn->open && !txn->prepared && outside.broker->power == WEIR_SIM_UP) {
        txn_prepare(txn);
    }
    weir_free(event);
}

/* --- the sinks' side ------------------------------------------------------------------------------------------------------- */

struct target {
    struct weir_drain_target base;
    struct weir_sim_node *node;
    struct txn *txn;
    uint64_t epoch;
    bool spent;   /* an outcome is unknown: only recover may follow */
    bool renewed; /* the last commit was acknowledged, but only recover may follow (R7) */
    uint64_t before, committed; /* the cursor before it, and by it */
};

static bool reaches(const struct weir_sim_node *from, const struct weir_sim_node *to)
{
    return outside.broker->power == WEIR_SIM_UP && !weir_sim_link_is_cut(from, to);
}

/* Nobody will answer: the client says so in the end, or never comes back. */
static bool no_answer(const struct target *target)
{
    bool stuck = outside.hangs && weir_sim_one_in(STUCK_ONE_IN);
    if (stuck) {
        weir_sim_trace("%s: a call of %s does not come back", target->txn->id, target->node->name);
    }
    weir_sim_sleep(stuck ? STUCK_MS * MS : weir_sim_between(PATIENCE_MS / 4, PATIENCE_MS) * MS);
    return false;
}

/* False: it did not arrive. */
static bool request(const struct target *target)
{
    weir_sim_sleep(weir_sim_latency_ns(target->node, outside.broker));
    return reaches(target->node, outside.broker) && !weir_sim_one_in(300) ? true : no_answer(target);
}

/* False: it was done, and the answer did not come. */
static bool answered(const struct target *target)
{
    weir_sim_sleep(weir_sim_latency_ns(outside.broker, target->node));
    return reaches(outside.broker, target->node) && !weir_sim_one_in(200) ? true : no_answer(target);
}

static enum weir_rc recover(struct weir_drain_target *base, bool *out_found, uint64_t *out_cursor, struct weir_error *err)
{
    struct target *target = (struct target *)base;
    struct txn *txn = target->txn;
    bool cursor_first = weir_sim_sabotage() == WEIR_SIM_SABOTAGE_CURSOR_BEFORE_INIT;
    weir_sim_hook_phase(WEIR_SIM_PHASE_INIT);
    if (cursor_first) {
        *out_found = txn->has_cursor;
        *out_cursor = txn->cursor;
        weir_sim_sleep(weir_sim_between(1, 400) * MS);
    }
    if (!request(target)) {
        return weir_error_set(err, WEIR_AGAIN, "init: no answer");
    }
    txn_end(txn, txn->prepared);
    if (weir_sim_sabotage() != WEIR_SIM_SABOTAGE_NO_FENCE) {
        txn->epoch++;
    }
    target->epoch = txn->epoch;
    weir_sim_trace("%s: %s has epoch %" PRIu64, txn->id, target->node->name, target->epoch);
    if (!answered(target) || !request(target)) {
        return weir_error_set(err, WEIR_AGAIN, "init, or the cursor: no answer");
    }
    if (!cursor_first) {
        /* Coordinators of Kafka that have moved may do so. */
        bool forgets = target->renewed && txn->cursor == target->committed && weir_sim_one_in(FORGETS_ONE_IN);
        *out_found = txn->has_cursor;
        *out_cursor = forgets ? target->before : txn->cursor;
    }
    if (!answered(target)) {
        return weir_error_set(err, WEIR_AGAIN, "the cursor: no answer");
    }
    target->spent = target->renewed = false;
    return WEIR_OK;
}

static enum weir_rc unknown(struct target *target, const char *what, struct weir_error *err)
{
    target->spent = true;
    return weir_error_set(err, WEIR_AGAIN, "%s: no answer", what);
}

static enum weir_rc fenced(struct target *target, struct weir_error *err)
{
    weir_sim_trace("%s: %s with epoch %" PRIu64 " is fenced", target->txn->id, target->node->name, target->epoch);
    return weir_error_set(err, WEIR_STALE, "%s: fenced", target->txn->id);
}

static enum weir_rc commit(struct target *target, struct weir_error *err)
{
    struct txn *txn = target->txn;
    uint64_t serial = txn->serial;
    weir_sim_hook_phase(WEIR_SIM_PHASE_TXN_COMMIT);
    if (!request(target)) {
        if (weir_sim_one_in(2)) { /* it is on its way all the same */
            struct txn_event *event = weir_calloc(1, sizeof(*event));
            *event = (struct txn_event){.txn = txn, .serial = serial, .epoch = target->epoch};
            weir_sim_after(weir_sim_between(0, 2000) * MS, NULL, txn_late_commit, event);
        }
        return unknown(target, "commit", err);
    }
    if (target->epoch != txn->epoch) {
        return fenced(target, err);
    }
    txn_prepare(txn);
    if (!answered(target)) {
        return unknown(target, "commit", err);
    }
    while (txn->serial == serial) {
        weir_sim_sleep(MS);
    }
    target->renewed = weir_sim_one_in(RENEWED_ONE_IN);
    return WEIR_OK;
}

static enum weir_rc drain(struct weir_drain_target *base, const struct weir_drain_chunk *chunk, bool *out_in_doubt, struct weir_error *err)
{
    struct target *target = (struct target *)base;
    struct txn *txn = target->txn;
    weir_assert(!target->spent);
    if (target->renewed) {
        return weir_error_set(err, WEIR_AGAIN, "%s: must fence anew", txn->id);
    }
    target->before = txn->cursor;
    target->committed = chunk->first + chunk->count;
    uint32_t requests = 1 + (uint32_t)weir_sim_below(3), done = 0;
    for (uint32_t r = 0; r < requests; r++) {
        uint32_t upto = r + 1 == requests ? chunk->count : done + (uint32_t)weir_sim_below(chunk->count - done + 1);
        if (!request(target)) {
            return unknown(target, "produce", err);
        }
        if (target->epoch != txn->epoch || txn->prepared) {
            return fenced(target, err);
        }
        txn->open = true;
        for (; done < upto; done++) {
            uint32_t from = done == 0 ? 0 : chunk->ends[done - 1];
            weir_buf_put_bytes(&txn->records, weir_slice(chunk->bytes + from, chunk->ends[done] - from));
        }
        weir_sim_hook_phase(WEIR_SIM_PHASE_TXN_OPEN);
        if (!answered(target)) {
            return unknown(target, "produce", err);
        }
    }
    if (!request(target)) {
        return unknown(target, "the cursor", err);
    }
    if (target->epoch != txn->epoch || txn->prepared) {
        return fenced(target, err);
    }
    txn->staged_moves = weir_sim_sabotage() != WEIR_SIM_SABOTAGE_NO_CURSOR || chunk->first == 0;
    txn->staged_cursor = chunk->first + chunk->count;
    if (!answered(target)) {
        return unknown(target, "the cursor", err);
    }
    enum weir_rc rc = commit(target, err);
    *out_in_doubt = rc == WEIR_AGAIN;
    return rc;
}

static void target_destroy(struct weir_drain_target *base)
{
    weir_free(base);
}

static const struct weir_drain_vtable target_vtable = {.recover = recover, .drain = drain, .destroy = target_destroy};

/* In the place of kafka_txn.c. */
enum weir_rc weir__kafka_txn_create(const struct weir_conn_ctx *ctx, struct weir_drain_target **out_target, struct weir_error *err)
{
    (void)err;
    char id[ID_BYTES];
    (void)snprintf(id, sizeof(id), "%s/%s/%s/%u/%u", weir_table_option(ctx->table, "sink.transactional-id-prefix"), ctx->job_id, ctx->uid, ctx->run,
                   ctx->subtask);
    struct target *target = weir_calloc(1, sizeof(*target));
    *target = (struct target){.base = {.vtable = &target_vtable, .call_ms_max = WEIR_SIM_CALL_MS_MAX},
                              .node = weir_sim_node_here(),
                              .txn = txn_of(id, weir_table_option(ctx->table, "topic"))};
    *out_target = &target->base;
    return WEIR_OK;
}

/* --- at least once, in the place of kafka_produce.c ------------------------------------------------------------------------- */

struct weir_kafka_produce {
    const struct weir_conn_ctx *ctx;
    struct weir_sim_node *node;
    struct weir_sim_job *job;
    uint32_t pending, incarnation;
    bool waiting, gone;
    int64_t last_ns;
};

struct delivery {
    struct weir_kafka_produce *produce;
    struct weir_buf bytes;
};

static void deliver(void *ctx)
{
    struct delivery *delivery = ctx;
    struct weir_kafka_produce *produce = delivery->produce;
    bool alive = produce->node->incarnation == produce->incarnation && !produce->gone;
    if (!reaches(produce->node, outside.broker) || produce->node->paused) { /* it tries again as long as it lives */
        if (alive) {
            weir_sim_after(weir_sim_between(10, 200) * MS, NULL, deliver, delivery);
        }
        return;
    }
    if (!alive && weir_sim_one_in(2)) {
        return; /* it had not left yet */
    }
    visible(produce->job, weir_buf_slice(&delivery->bytes));
    weir_buf_fini(&delivery->bytes);
    weir_free(delivery);
    produce->pending--;
    if (alive && produce->waiting) {
        produce->waiting = false;
        produce->ctx->wake(produce->ctx->wake_ctx);
    }
}

enum weir_rc weir__kafka_produce_create(const struct weir_conn_ctx *ctx, bool reliable, struct weir_kafka_produce **out_produce, struct weir_error *err)
{
    (void)reliable;
    (void)err;
    struct weir_kafka_produce *produce = weir_calloc(1, sizeof(*produce));
    produce->ctx = ctx;
    produce->node = weir_sim_node_here();
    produce->incarnation = produce->node->incarnation;
    produce->job = job_of_topic(weir_table_option(ctx->table, "topic"));
    *out_produce = produce;
    return WEIR_OK;
}

/* Deliveries may be on their way: it stays. */
void weir__kafka_produce_destroy(struct weir_kafka_produce *produce)
{
    if (produce != NULL) {
        produce->gone = true;
    }
}

enum weir_rc weir__kafka_produce(struct weir_kafka_produce *produce, const struct weir_kafka_record *records, uint32_t count, uint32_t *out_taken,
                                 struct weir_error *err)
{
    (void)err;
    for (*out_taken = 0; *out_taken < count; ++*out_taken) {
        if (produce->pending >= LOOSE_PENDING_MAX) {
            produce->waiting = true;
            return WEIR_AGAIN;
        }
        struct delivery *delivery = weir_calloc(1, sizeof(*delivery));
        delivery->produce = produce;
        weir__kafka_record_encode(&records[*out_taken], &delivery->bytes);
        produce->pending++;
        weir_sim_after(weir_sim_latency_ns(produce->node, outside.broker), NULL, deliver, delivery);
    }
    return WEIR_OK;
}

enum weir_rc weir__kafka_produce_flush(struct weir_kafka_produce *produce, struct weir_error *err)
{
    (void)err;
    produce->waiting = produce->pending > 0;
    return produce->waiting ? WEIR_AGAIN : WEIR_OK;
}

int64_t weir__kafka_produce_timeout_ms(const struct weir_conn_ctx *ctx)
{
    (void)ctx;
    return PATIENCE_MS;
}
