#include "taskmanager/task/task.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "taskmanager/exchange/gate.h"
#include "taskmanager/exchange/writer.h"
#include "taskmanager/operators/source.h"
#include "taskmanager/task/chain.h"

enum { EVENTS_PER_STEP = 16 };

struct weir_task {
    struct weir_task_spec spec;
    const struct weir_vertex *vertex;
    struct weir_split *splits; /* copies, in arena */
    struct weir_arena *arena;
    char *name;
    enum weir_task_phase phase;
    struct weir_error failure;
    bool failing;  /* an error happened: over once nothing is in flight */
    bool end_seen; /* END has been pushed into the chain */
    bool flushed;  /* FLUSH has been pushed since the last batch */
    uint32_t in_flight;
    struct weir_op_ctx ctx;
    struct weir_gate *gate;          /* NULL for a source task */
    struct weir_source_op *source;   /* NULL otherwise */
    struct weir_writer *writer;      /* NULL behind a sink */
    struct weir_chain *chain;
    uint64_t late_dropped, errors_skipped, state_bytes; /* what operators count in; copied to counts */
    struct weir_task_counts counts;
    int64_t stepped_ns; /* when the last step ended */
    enum weir_task_wait last_wait;
};

static bool is_source(const struct weir_task *task)
{
    return task->vertex->ops[0]->tag == WEIR_OP_SOURCE;
}

struct weir_task *weir_task_create(const struct weir_task_spec *spec)
{
    struct weir_task *task = weir_calloc(1, sizeof(*task));
    task->spec = *spec;
    task->vertex = &spec->graph->vertices[spec->vertex];
    task->arena = weir_arena_create(0);
    task->name = weir_strfmt("%s (%u/%u)", task->vertex->name, spec->subtask + 1, task->vertex->parallelism);
    task->splits = weir_arena_zalloc(task->arena, spec->nsplits * sizeof(*task->splits));
    for (uint32_t i = 0; i < spec->nsplits; i++) {
        task->splits[i].id = weir_arena_slice(task->arena, spec->splits[i].id);
        task->splits[i].data = weir_arena_slice(task->arena, spec->splits[i].data);
    }
    if (!is_source(task)) {
        uint32_t inputs = 1;
        for (uint32_t i = 0; i < task->vertex->ninputs; i++) {
            uint32_t input = spec->graph->edges[task->vertex->inputs[i]].input;
            inputs = input + 1 > inputs ? input + 1 : inputs;
        }
        task->gate = weir_gate_create(inputs);
    }
    if (task->vertex->noutputs > 0) {
        task->writer = weir_writer_create(task->vertex->max_parallelism, spec->subtask);
    }
    task->ctx.conn = spec->env;
    task->ctx.conn.settings = &spec->graph->settings;
    task->ctx.conn.job_id = spec->job_id;
    task->ctx.conn.attempt = spec->attempt;
    task->ctx.conn.subtask = spec->subtask;
    task->ctx.conn.parallelism = task->vertex->parallelism;
    task->ctx.conn.errors_skipped = &task->errors_skipped;
    task->ctx.max_parallelism = task->vertex->max_parallelism;
    task->ctx.late_dropped = &task->late_dropped;
    task->ctx.state_bytes = &task->state_bytes;
    atomic_init(&task->counts.watermark_ms, INT64_MIN);
    task->stepped_ns = weir_clock_mono_ns(spec->env.clock);
    return task;
}

void weir_task_destroy(struct weir_task *task)
{
    if (task == NULL) {
        return;
    }
    weir_assert(task->in_flight == 0);
    weir_chain_close(task->chain);
    weir_source_op_close(task->source);
    weir_gate_destroy(task->gate);
    weir_writer_destroy(task->writer);
    weir_arena_destroy(task->arena);
    weir_free(task->name);
    weir_free(task);
}

void weir_task_add_input_take(struct weir_task *task, uint32_t edge, struct weir_channel *channel)
{
    weir_gate_add_channel_take(task->gate, task->spec.graph->edges[edge].input, channel);
}

void weir_task_add_output_take(struct weir_task *task, uint32_t edge, struct weir_channel *const *channels, uint32_t count)
{
    weir_writer_add_edge_take(task->writer, &task->spec.graph->edges[edge], channels, count);
}

static enum weir_rc open_source(struct weir_task *task, struct weir_error *err)
{
    task->ctx.conn.table = task->vertex->ops[0]->u.io.table;
    enum weir_rc rc = weir_source_op_open(&task->ctx.conn, &task->source, err);
    for (uint32_t i = 0; rc == WEIR_OK && i < task->spec.nsplits; i++) {
        rc = weir_source_op_add_split(task->source, task->splits[i], err);
    }
    return rc;
}

static enum weir_rc open_all(struct weir_task *task, struct weir_error *err)
{
    uint32_t first = is_source(task) ? 1 : 0;
    enum weir_rc rc = weir_chain_open(task->vertex->ops + first, task->vertex->nops - first, &task->ctx, task->writer, &task->chain, err);
    if (rc == WEIR_OK && is_source(task)) {
        rc = open_source(task, err);
    }
    return rc;
}

static void add(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + value, memory_order_relaxed);
}

static enum weir_rc push_batch_take(struct weir_task *task, uint32_t input, struct weir_batch *batch, struct weir_error *err)
{
    add(&task->counts.records_in, weir_batch_rows(batch));
    add(&task->counts.bytes_in, weir_batch_bytes(batch));
    task->flushed = false;
    return weir_chain_batch_take(task->chain, input, batch, weir_clock_wall_ms(task->spec.env.clock), err);
}

static enum weir_rc push_control(struct weir_task *task, enum weir_chain_control control, int64_t watermark_ms, struct weir_error *err)
{
    if (control == WEIR_CHAIN_WATERMARK) {
        atomic_store_explicit(&task->counts.watermark_ms, watermark_ms, memory_order_relaxed);
    }
    task->end_seen = task->end_seen || control == WEIR_CHAIN_END;
    return weir_chain_control(task->chain, control, watermark_ms, err);
}

/* Takes one event from the gate. *out_any: whether there was one. */
static enum weir_rc take_from_gate(struct weir_task *task, bool *out_any, struct weir_error *err)
{
    struct weir_gate_event event;
    enum weir_rc rc = weir_gate_poll(task->gate, &event, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    *out_any = event.kind != WEIR_GATE_NOTHING;
    switch (event.kind) {
    case WEIR_GATE_NOTHING:
        return WEIR_OK;
    case WEIR_GATE_BATCH:
        return push_batch_take(task, event.input, event.batch, err);
    case WEIR_GATE_WATERMARK:
        return push_control(task, WEIR_CHAIN_WATERMARK, event.watermark_ms, err);
    case WEIR_GATE_IDLE:
        return push_control(task, WEIR_CHAIN_IDLE, 0, err);
    case WEIR_GATE_END:
        return push_control(task, WEIR_CHAIN_END, 0, err);
    }
    weir_assert(false);
}

static enum weir_rc take_from_source(struct weir_task *task, bool *out_any, int64_t *out_wait_ms, struct weir_error *err)
{
    struct weir_source_event event;
    enum weir_rc rc = weir_source_op_poll(task->source, weir_clock_mono_ms(task->spec.env.clock), &event, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    *out_any = event.kind != WEIR_SOURCE_NOTHING;
    switch (event.kind) {
    case WEIR_SOURCE_NOTHING:
        *out_wait_ms = event.wait_ms;
        return WEIR_OK;
    case WEIR_SOURCE_BATCH:
        return push_batch_take(task, 0, event.batch, err);
    case WEIR_SOURCE_WATERMARK:
        return push_control(task, WEIR_CHAIN_WATERMARK, event.watermark_ms, err);
    case WEIR_SOURCE_IDLE:
        return push_control(task, WEIR_CHAIN_IDLE, 0, err);
    case WEIR_SOURCE_END:
        return push_control(task, WEIR_CHAIN_END, 0, err);
    }
    weir_assert(false);
}

/* No input now: what operators hold back goes out once. True when there was a flush to do. */
static enum weir_rc flush_when_idle(struct weir_task *task, bool *out_any, struct weir_error *err)
{
    if (task->flushed) {
        return WEIR_OK;
    }
    task->flushed = true;
    *out_any = true;
    return push_control(task, WEIR_CHAIN_FLUSH, 0, err);
}

/* One event carried through, or what was unfinished carried on. */
static enum weir_rc run_once(struct weir_task *task, enum weir_task_wait *out_wait, int64_t *out_wait_ms, struct weir_error *err)
{
    enum weir_rc rc = weir_chain_pump(task->chain, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    bool clear = weir_chain_clear(task->chain);
    if (clear && task->end_seen && task->in_flight == 0 && (task->writer == NULL || weir_writer_drained(task->writer))) {
        task->phase = WEIR_TASK_PHASE_FINISHED;
        *out_wait = WEIR_TASK_OVER;
        return WEIR_OK;
    }
    if (!clear || task->end_seen || (task->writer != NULL && !weir_writer_ready(task->writer))) {
        *out_wait = WEIR_TASK_BLOCKED;
        *out_wait_ms = -1;
        return WEIR_OK;
    }
    bool any = false;
    *out_wait_ms = -1;
    rc = task->source != NULL ? take_from_source(task, &any, out_wait_ms, err) : take_from_gate(task, &any, err);
    if (rc == WEIR_OK && !any) {
        rc = flush_when_idle(task, &any, err);
    }
    *out_wait = any || *out_wait_ms == 0 ? WEIR_TASK_RAN : WEIR_TASK_IDLE;
    return rc;
}

static void fail(struct weir_task *task, const struct weir_error *err)
{
    task->failing = true;
    task->failure = *err;
}

/* FAILED or CANCELED once nothing is in flight. */
static enum weir_task_wait wind_up(struct weir_task *task)
{
    if (task->in_flight != 0) {
        return WEIR_TASK_BLOCKED;
    }
    task->phase = task->failing ? WEIR_TASK_PHASE_FAILED : WEIR_TASK_PHASE_CANCELED;
    return WEIR_TASK_OVER;
}

static enum weir_task_wait run(struct weir_task *task, int64_t *out_wait_ms)
{
    struct weir_error err;
    if (task->phase == WEIR_TASK_PHASE_INITIALIZING) {
        if (open_all(task, &err) != WEIR_OK) {
            fail(task, &err);
            return wind_up(task);
        }
        task->phase = WEIR_TASK_PHASE_RUNNING;
    }
    enum weir_task_wait wait = WEIR_TASK_RAN;
    for (uint32_t i = 0; i < EVENTS_PER_STEP && wait == WEIR_TASK_RAN; i++) {
        if (run_once(task, &wait, out_wait_ms, &err) != WEIR_OK) {
            fail(task, &err);
            return wind_up(task);
        }
    }
    return wait;
}

/* The time since the last step was waiting of the kind that step ended with; the step itself was work. */
static void account_time(struct weir_task *task, int64_t began_ns, enum weir_task_wait wait)
{
    uint64_t waited_us = (uint64_t)(began_ns - task->stepped_ns) / 1000;
    if (task->last_wait == WEIR_TASK_IDLE) {
        add(&task->counts.idle_us, waited_us);
    } else if (task->last_wait == WEIR_TASK_BLOCKED) {
        add(&task->counts.backpressured_us, waited_us);
    }
    int64_t ended_ns = weir_clock_mono_ns(task->spec.env.clock);
    add(&task->counts.busy_us, (uint64_t)(ended_ns - began_ns) / 1000);
    task->stepped_ns = ended_ns;
    task->last_wait = wait;
}

static void publish_counts(struct weir_task *task)
{
    atomic_store_explicit(&task->counts.late_dropped, task->late_dropped, memory_order_relaxed);
    atomic_store_explicit(&task->counts.errors_skipped, task->errors_skipped, memory_order_relaxed);
    atomic_store_explicit(&task->counts.state_bytes, task->state_bytes, memory_order_relaxed);
    if (task->writer != NULL) {
        atomic_store_explicit(&task->counts.records_out, weir_writer_rows(task->writer), memory_order_relaxed);
        atomic_store_explicit(&task->counts.bytes_out, weir_writer_bytes(task->writer), memory_order_relaxed);
    }
}

enum weir_task_wait weir_task_step(struct weir_task *task, int64_t *out_wait_ms)
{
    *out_wait_ms = -1;
    int64_t began_ns = weir_clock_mono_ns(task->spec.env.clock);
    enum weir_task_wait wait = WEIR_TASK_OVER;
    switch (task->phase) {
    case WEIR_TASK_PHASE_INITIALIZING:
    case WEIR_TASK_PHASE_RUNNING:
        wait = task->failing ? wind_up(task) : run(task, out_wait_ms);
        break;
    case WEIR_TASK_PHASE_CANCELING:
        wait = wind_up(task);
        break;
    case WEIR_TASK_PHASE_FINISHED:
    case WEIR_TASK_PHASE_CANCELED:
    case WEIR_TASK_PHASE_FAILED:
        break;
    }
    publish_counts(task);
    account_time(task, began_ns, wait);
    return wait;
}

void weir_task_cancel(struct weir_task *task)
{
    if (task->phase == WEIR_TASK_PHASE_INITIALIZING || task->phase == WEIR_TASK_PHASE_RUNNING) {
        task->phase = WEIR_TASK_PHASE_CANCELING;
    }
}

enum weir_task_phase weir_task_phase(const struct weir_task *task)
{
    return task->phase;
}

const struct weir_error *weir_task_failure(const struct weir_task *task)
{
    return &task->failure;
}

const struct weir_task_counts *weir_task_counts(const struct weir_task *task)
{
    return &task->counts;
}

void weir_task_work_submitted(struct weir_task *task)
{
    task->in_flight++;
}

void weir_task_work_done(struct weir_task *task)
{
    weir_assert(task->in_flight > 0);
    task->in_flight--;
}

const char *weir_task_name(const struct weir_task *task)
{
    return task->name;
}
