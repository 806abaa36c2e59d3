#include "taskmanager/task/task.h"

#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/mem.h"
#include "proto/ckpt_codec.h"
#include "taskmanager/exchange/gate.h"
#include "taskmanager/exchange/writer.h"
#include "taskmanager/operators/source.h"
#include "taskmanager/task/chain.h"

#include <stddef.h>

enum {
    EVENTS_PER_STEP = 16,
    LOOK_AGAIN_MS = 1000, /* at an unfinished operator: who was to wake the task may never come back (E10 in epoch_log.h) */
};

/* Where the one snapshot that may be under way stands. */
enum snapping {
    SNAP_NONE,
    SNAP_CHAIN,   /* the barrier is in the chain */
    SNAP_CAPTURE, /* it is through; the states of operators are being completed behind it */
    SNAP_WRITING, /* all is in the file that is being written */
};

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
    int64_t unflushed_since_ms; /* while not flushed: when the first batch since came */
    uint32_t in_flight;
    /* Checkpoints. */
    uint64_t triggered;      /* whose barrier has not come; a source begins it; 0 = none */
    uint64_t begun;          /* the last whose barrier came, or that was declined before */
    uint64_t notified_early; /* committed, and what is stalled in the chain was told */
    uint64_t to_notify;      /* committed, the chain not told yet; 0 = none */
    uint64_t notifying;      /* NOTIFY is in the chain */
    enum snapping snapping;
    struct weir_task_snapshot snapshot; /* the one under way */
    bool given_up;                      /* it was declined while its barrier was in the chain */
    struct weir_buf source_state;       /* from SNAP_CHAIN on: taken when the barrier began */
    struct weir_snap snap;              /* from SNAP_CAPTURE on: what else is as of the barrier */
    struct weir_op_files files;         /* of the snapshot */
    struct weir_snap_io io;             /* writing a snapshot, or reading the one to restore */
    int64_t snap_began_ms, snap_wrote_ms;
    uint64_t aligning;        /* the checkpoint the gate was last seen aligning */
    int64_t aligning_since_ms;
    uint64_t last;           /* the job's last checkpoint, once it is committed; 0 = not yet */
    bool last_committed;     /* and the chain has been told */
    bool draining;           /* DRAIN has been pushed into the chain */
    struct weir_task_part *parts; /* INITIALIZING: what is to be restored, copies, in arena */
    uint32_t part;           /* the one that is next; nparts: the word that it was the last; beyond: all is done */
    bool part_read;          /* its file is in io.buf */
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
    task->parts = weir_arena_zalloc(task->arena, spec->nrestore * sizeof(*task->parts));
    for (uint32_t i = 0; i < spec->nrestore; i++) {
        task->parts[i] = spec->restore[i];
        task->parts[i].handle.path = weir_arena_strdup(task->arena, spec->restore[i].handle.path);
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
    task->ctx.conn.checkpoints_dir = spec->checkpoints_dir;
    task->ctx.conn.attempt = spec->attempt;
    task->ctx.conn.run = spec->run;
    task->ctx.conn.vertex = spec->vertex;
    task->ctx.conn.subtask = spec->subtask;
    task->ctx.conn.parallelism = task->vertex->parallelism;
    task->ctx.conn.errors_skipped = &task->errors_skipped;
    task->ctx.max_parallelism = task->vertex->max_parallelism;
    task->ctx.late_dropped = &task->late_dropped;
    task->ctx.state_bytes = &task->state_bytes;
    task->ctx.backend = spec->backend;
    task->ctx.files = &task->files;
    atomic_init(&task->counts.watermark_ms, INT64_MIN);
    task->stepped_ns = weir_clock_mono_ns(spec->env.clock);
    task->flushed = true;
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
    weir_buf_fini(&task->source_state);
    weir_buf_fini(&task->io.buf);
    weir_free(task->io.handle.path);
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

static bool takes_checkpoints(const struct weir_task *task)
{
    return task->spec.graph->settings.checkpoint_interval_ms > 0;
}

static enum weir_rc open_source(struct weir_task *task, struct weir_error *err)
{
    task->ctx.conn.table = task->vertex->ops[0]->u.io.table;
    task->ctx.conn.uid = task->vertex->ops[0]->uid;
    enum weir_rc rc = weir_source_op_open(&task->ctx.conn, &task->source, err);
    for (uint32_t i = 0; rc == WEIR_OK && task->spec.nrestore == 0 && i < task->spec.nsplits; i++) {
        rc = weir_source_op_add_split(task->source, task->splits[i], err);
    }
    return rc;
}

static enum weir_rc open_all(struct weir_task *task, struct weir_error *err)
{
    uint32_t first = is_source(task) ? 1 : 0;
    enum weir_rc rc = weir_chain_open(task->vertex->ops + first, task->vertex->nops - first, &task->ctx, task->writer, &task->chain, err);
    return rc == WEIR_OK && is_source(task) && !task->spec.drain_only ? open_source(task, err) : rc;
}

/* --- restoring --------------------------------------------------------------------------------------------------------- */

static void part_was_read(struct weir_work *work)
{
    struct weir_task *task = (struct weir_task *)((uint8_t *)work - offsetof(struct weir_task, io));
    task->part_read = true;
}

static void read_part(struct weir_task *task)
{
    task->io.work.done = part_was_read;
    task->io.fs = task->spec.env.fs;
    task->io.handle = task->parts[task->part].handle;
    task->io.handle.path = weir_strdup(task->parts[task->part].handle.path);
    weir_buf_clear(&task->io.buf);
    weir_snap_io_submit(&task->io, task->spec.env.executor);
}

/* The vertex had as many subtasks as now, and this is the task's own part. */
static bool is_own_part(const struct weir_task *task, const struct weir_snap *snap)
{
    return task->spec.nrestore == 1 && snap->subtask == task->spec.subtask && snap->parallelism == task->vertex->parallelism;
}

static enum weir_rc check_part(const struct weir_task *task, const struct weir_snap *snap, struct weir_error *err)
{
    if (snap->vertex != task->spec.vertex || snap->subtask != task->parts[task->part].subtask) {
        return weir_error_set(err, WEIR_CORRUPT, "it is the state of task (%u, %u)", snap->vertex, snap->subtask);
    }
    bool one_of_all = snap->parallelism == task->spec.nrestore && snap->subtask == task->part;
    if (!one_of_all && !is_own_part(task, snap)) {
        return weir_error_set(err, WEIR_INVALID, "it is part %u of %u of the vertex, handed to subtask %u of %u as part %u of %u", snap->subtask,
                              snap->parallelism, task->spec.subtask, task->vertex->parallelism, task->part, task->spec.nrestore);
    }
    return WEIR_OK;
}

/* The part's source, counters and operators' states. What is counted goes on where the old subtask's number leads, so that sums stay. */
static enum weir_rc take_part(struct weir_task *task, const struct weir_snap *snap, struct weir_error *err)
{
    enum weir_rc rc = task->chain == NULL ? open_all(task, err) : WEIR_OK;
    if (rc == WEIR_OK && task->source != NULL) {
        rc = weir_source_op_restore(task->source, task->splits, task->spec.nsplits, is_own_part(task, snap), snap->source, err);
    }
    if (snap->subtask % task->vertex->parallelism == task->spec.subtask) {
        task->late_dropped += snap->late_dropped;
        task->errors_skipped += snap->errors_skipped;
    }
    if (rc == WEIR_OK) {
        char *dir = weir_fs_dirname_copy(task->io.handle.path);
        struct weir_op_part part = {
            .dir = weir_arena_strdup(task->arena, dir), .subtask = snap->subtask, .parallelism = snap->parallelism};
        weir_free(dir);
        rc = weir_chain_set_restore(task->chain, &part, snap->ops, snap->nops, err);
    }
    if (rc == WEIR_OK) {
        rc = weir_chain_control(task->chain, WEIR_CHAIN_RESTORE, (int64_t)task->spec.restore_checkpoint, err);
    }
    return rc;
}

static enum weir_rc restore_part(struct weir_task *task, struct weir_error *err)
{
    if (!task->part_read) {
        if (!task->io.work.in_flight) {
            read_part(task);
        }
        return WEIR_AGAIN;
    }
    struct weir_snap snap = {0};
    enum weir_rc rc = task->io.rc;
    if (rc != WEIR_OK) {
        *err = task->io.err;
        return rc;
    }
    rc = weir_snap_decode(weir_buf_slice(&task->io.buf), task->arena, &snap, err);
    if (rc == WEIR_OK) {
        rc = check_part(task, &snap, err);
    }
    if (rc == WEIR_OK) {
        rc = take_part(task, &snap, err);
    }
    if (rc != WEIR_OK) {
        return weir_error_prefix(err, "%s", task->io.handle.path);
    }
    weir_free(task->io.handle.path);
    task->io.handle.path = NULL;
    task->part_read = false;
    task->part++;
    return WEIR_OK;
}

static enum weir_rc end_restore(struct weir_task *task, struct weir_error *err)
{
    task->part++;
    enum weir_rc rc = WEIR_OK;
    if (task->source != NULL) {
        rc = weir_source_op_restored(task->source, task->splits, task->spec.nsplits, err);
    }
    return rc != WEIR_OK ? rc : weir_chain_control(task->chain, WEIR_CHAIN_RESTORED, 0, err);
}

/* INITIALIZING: reads what is to be restored, a part after the other, opens everything, waits until the operators have taken their state over.
 * AGAIN: not yet. */
static enum weir_rc initialize(struct weir_task *task, struct weir_error *err)
{
    uint32_t nparts = task->spec.nrestore;
    enum weir_rc rc = task->chain == NULL && nparts == 0 ? open_all(task, err) : WEIR_OK;
    while (rc == WEIR_OK) {
        rc = task->chain == NULL ? WEIR_OK : weir_chain_pump(task->chain, err);
        if (rc == WEIR_OK && task->chain != NULL && !weir_chain_clear(task->chain)) {
            return WEIR_AGAIN;
        }
        if (rc != WEIR_OK || nparts == 0 || task->part > nparts) {
            break;
        }
        rc = task->part < nparts ? restore_part(task, err) : end_restore(task, err);
    }
    if (rc == WEIR_OK) {
        weir_buf_clear(&task->io.buf); /* the operators have copied what they keep */
    }
    return rc;
}

/* --- checkpoints ------------------------------------------------------------------------------------------------------- */

static int64_t now_ms(const struct weir_task *task)
{
    return weir_clock_mono_ms(task->spec.env.clock);
}

static void decline(struct weir_task *task, uint64_t checkpoint, const char *why)
{
    task->begun = checkpoint > task->begun ? checkpoint : task->begun;
    task->triggered = task->triggered > checkpoint ? task->triggered : 0;
    struct weir_task_snapshot snapshot = {.checkpoint = checkpoint};
    (void)weir_error_set(&snapshot.err, WEIR_AGAIN, "%s: %s", task->name, why);
    task->spec.on_snapshot(task->spec.on_snapshot_ctx, &snapshot);
}

/* The barrier is here: the source's state is taken now, the operators' as the barrier goes down the chain. */
static enum weir_rc begin_snapshot(struct weir_task *task, uint64_t checkpoint, struct weir_error *err)
{
    if (task->snapping != SNAP_NONE) {
        decline(task, checkpoint, "the snapshot of an earlier checkpoint is still being written");
        return WEIR_OK;
    }
    WEIR_FAILPOINT("task.before_barrier");
    task->snapping = SNAP_CHAIN;
    task->begun = checkpoint;
    task->triggered = task->triggered > checkpoint ? task->triggered : 0;
    task->given_up = false;
    task->snapshot = (struct weir_task_snapshot){.checkpoint = checkpoint, .ended = task->end_seen};
    task->snap_began_ms = now_ms(task);
    if (task->aligning == checkpoint) {
        task->snapshot.alignment_ms = (uint64_t)(task->snap_began_ms - task->aligning_since_ms);
    }
    task->files = (struct weir_op_files){0};
    weir_buf_clear(&task->source_state);
    if (task->source != NULL) {
        weir_source_op_snapshot(task->source, checkpoint, &task->source_state);
    }
    return weir_chain_control(task->chain, WEIR_CHAIN_BARRIER, (int64_t)checkpoint, err);
}

static void snapshot_written(struct weir_work *work)
{
    struct weir_task *task = (struct weir_task *)((uint8_t *)work - offsetof(struct weir_task, io));
    task->snapping = SNAP_NONE;
    task->snapshot.taken = task->io.rc == WEIR_OK;
    task->snapshot.handle = task->io.handle;
    task->snapshot.state_bytes = task->io.handle.bytes + task->files.bytes;
    task->snapshot.new_bytes = task->io.handle.bytes + task->files.new_bytes;
    task->snapshot.async_ms = (uint64_t)(now_ms(task) - task->snap_wrote_ms);
    if (!task->snapshot.taken) {
        task->snapshot.err = task->io.err;
    }
    task->spec.on_snapshot(task->spec.on_snapshot_ctx, &task->snapshot);
    weir_free(task->io.handle.path);
    task->io.handle.path = NULL;
}

/* The barrier has gone through the chain: the synchronous part is over. */
static void end_sync_part(struct weir_task *task)
{
    task->snap = (struct weir_snap){
        .ended = task->snapshot.ended,
        .checkpoint = task->snapshot.checkpoint,
        .vertex = task->spec.vertex,
        .subtask = task->spec.subtask,
        .parallelism = task->vertex->parallelism,
        .late_dropped = task->late_dropped,
        .errors_skipped = task->errors_skipped,
    };
    task->snapping = SNAP_CAPTURE;
    task->snap_wrote_ms = now_ms(task);
    task->snapshot.sync_ms = (uint64_t)(task->snap_wrote_ms - task->snap_began_ms);
    WEIR_FAILPOINT("ckpt.after_snapshot");
}

/* The states of all operators are complete: everything into one file, off this thread. */
static void write_snapshot(struct weir_task *task)
{
    struct weir_snap_op *ops = weir_calloc(task->vertex->nops, sizeof(*ops));
    struct weir_snap snap = task->snap;
    snap.source = weir_buf_slice(&task->source_state);
    snap.ops = ops;
    snap.nops = weir_chain_states(task->chain, ops);
    task->io.writing = true;
    task->io.fs = task->spec.env.fs;
    task->io.work.done = snapshot_written;
    weir_buf_clear(&task->io.buf);
    weir_snap_encode(&snap, &task->io.buf);
    weir_free(ops);
    /* No attempt writes another's file: the name has the attempt in it. */
    char *dir = weir_ckpt_dir_copy(task->spec.checkpoints_dir, task->spec.job_id, snap.checkpoint);
    task->io.handle = (struct weir_snap_handle){.path = weir_strfmt("%s/%u-%u-%u", dir, snap.vertex, snap.subtask, task->spec.attempt)};
    weir_free(dir);
    task->snapping = SNAP_WRITING;
    weir_snap_io_submit(&task->io, task->spec.env.executor);
}

/* A step of the asynchronous part, whatever the chain is doing. */
static void capture_snapshot(struct weir_task *task, bool *out_any)
{
    if (task->snapping != SNAP_CHAIN && task->snapping != SNAP_CAPTURE) {
        return;
    }
    struct weir_error err;
    enum weir_rc rc = weir_chain_background(task->chain, out_any, &err);
    if (rc == WEIR_AGAIN || task->snapping == SNAP_CHAIN) {
        return;
    }
    *out_any = true;
    if (rc == WEIR_OK && !task->given_up) {
        write_snapshot(task);
        return;
    }
    task->snapping = SNAP_NONE;
    if (!task->given_up) {
        task->snapshot.err = err;
        task->spec.on_snapshot(task->spec.on_snapshot_ctx, &task->snapshot);
    }
}

void weir_task_trigger(struct weir_task *task, uint64_t checkpoint)
{
    if (task->phase != WEIR_TASK_PHASE_RUNNING || task->failing) {
        decline(task, checkpoint, "the task is not running");
        return;
    }
    if (checkpoint > task->begun) { /* a barrier may be faster than this order */
        task->triggered = checkpoint > task->triggered ? checkpoint : task->triggered;
    }
}

void weir_task_notify(struct weir_task *task, uint64_t checkpoint, enum weir_ckpt_outcome outcome)
{
    if (outcome != WEIR_CKPT_ABORTED) {
        task->last = outcome == WEIR_CKPT_LAST ? checkpoint : task->last;
        task->to_notify = checkpoint > task->to_notify ? checkpoint : task->to_notify;
        return;
    }
    if (task->gate != NULL) {
        weir_gate_abort(task->gate, checkpoint);
    }
    if (task->triggered == checkpoint) {
        task->triggered = 0;
    }
}

/* What checkpoints have the chain do next, when it is clear. *out_any: something was begun. */
static enum weir_rc checkpoint_work(struct weir_task *task, bool *out_any, struct weir_error *err)
{
    if (task->snapping == SNAP_CHAIN) {
        end_sync_part(task);
    }
    if (task->notifying != 0) { /* the chain has dealt with it */
        task->last_committed = task->last_committed || (task->last != 0 && task->notifying >= task->last);
        task->notifying = 0;
    }
    if (task->to_notify != 0) {
        *out_any = true;
        task->notifying = task->to_notify;
        task->to_notify = 0;
        if (task->source != NULL) {
            weir_source_op_committed(task->source, task->notifying);
        }
        return weir_chain_control(task->chain, WEIR_CHAIN_NOTIFY, (int64_t)task->notifying, err);
    }
    if (task->triggered != 0 && task->gate == NULL && (task->writer == NULL || weir_writer_ready(task->writer))) {
        *out_any = true;
        return begin_snapshot(task, task->triggered, err);
    }
    return WEIR_OK;
}

/* The chain is not clear. When it waits for something that may take long, no barrier gets past it: the checkpoint is declined, so that people hear why,
 * and nobody waits for it. What was committed has its effect nevertheless. */
static enum weir_rc stall_work(struct weir_task *task, int64_t *out_wait_ms, struct weir_error *err)
{
    struct weir_error why;
    if (!weir_chain_stalled(task->chain, out_wait_ms, &why)) {
        return WEIR_OK;
    }
    if (task->triggered != 0) {
        decline(task, task->triggered, why.text);
    }
    if (task->snapping == SNAP_CHAIN && !task->given_up) {
        task->given_up = true;
        decline(task, task->snapshot.checkpoint, why.text);
    }
    if (task->to_notify == 0 || task->to_notify == task->notified_early) {
        return WEIR_OK;
    }
    task->notified_early = task->to_notify;
    return weir_chain_notify_stalled(task->chain, task->to_notify, err);
}

/* --- input ------------------------------------------------------------------------------------------------------------- */

static void add(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + value, memory_order_relaxed);
}

static enum weir_rc push_batch_take(struct weir_task *task, uint32_t input, struct weir_batch *batch, struct weir_error *err)
{
    add(&task->counts.records_in, weir_batch_rows(batch));
    add(&task->counts.bytes_in, weir_batch_bytes(batch));
    if (task->flushed) {
        task->flushed = false;
        task->unflushed_since_ms = now_ms(task);
    }
    return weir_chain_batch_take(task->chain, input, batch, weir_clock_wall_ms(task->spec.env.clock), err);
}

static enum weir_rc push_control(struct weir_task *task, enum weir_chain_control control, int64_t watermark_ms, struct weir_error *err)
{
    if (control == WEIR_CHAIN_WATERMARK) {
        atomic_store_explicit(&task->counts.watermark_ms, watermark_ms, memory_order_relaxed);
    }
    if (control == WEIR_CHAIN_END) {
        task->end_seen = true;
        atomic_store_explicit(&task->counts.ended, true, memory_order_relaxed);
    }
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
    if (weir_gate_aligning(task->gate) != 0 && weir_gate_aligning(task->gate) != task->aligning) {
        task->aligning = weir_gate_aligning(task->gate);
        task->aligning_since_ms = now_ms(task);
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
    case WEIR_GATE_BARRIER:
        return begin_snapshot(task, event.checkpoint, err);
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
    for (struct weir_batch *bad; (bad = weir_source_op_take_bad_records(task->source)) != NULL;) {
        weir_writer_emit_side_take(task->writer, bad);
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

/* What operators hold back goes out when there is no input now, and when some of it has waited for the buffer time-out. */
static enum weir_rc flush(struct weir_task *task, bool *out_any, struct weir_error *err)
{
    task->flushed = true;
    *out_any = true;
    return push_control(task, WEIR_CHAIN_FLUSH, 0, err);
}

static bool flush_is_due(const struct weir_task *task)
{
    return !task->flushed && now_ms(task) - task->unflushed_since_ms >= task->spec.graph->settings.buffer_timeout_ms;
}

/* Whether the task has no more input to deal with and nothing to wait for inside the job. */
static bool worked_off(struct weir_task *task)
{
    bool committed = !takes_checkpoints(task) || task->last_committed;
    bool ended = task->end_seen && committed && (task->writer == NULL || weir_writer_drained(task->writer));
    return (ended || task->spec.drain_only) && task->in_flight == 0;
}

/* The chain is clear and the task worked off: what is committed takes effect outside, then the task is FINISHED. */
static enum weir_rc wind_off(struct weir_task *task, enum weir_task_wait *out_wait, struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    if (!task->draining) {
        task->draining = true;
        rc = weir_chain_control(task->chain, WEIR_CHAIN_DRAIN, 0, err);
    }
    *out_wait = WEIR_TASK_BLOCKED;
    if (rc == WEIR_OK && weir_chain_clear(task->chain)) {
        task->phase = WEIR_TASK_PHASE_FINISHED;
        *out_wait = WEIR_TASK_OVER;
    }
    return rc;
}

/* One event carried through, or what was unfinished carried on. */
static enum weir_rc run_once(struct weir_task *task, enum weir_task_wait *out_wait, int64_t *out_wait_ms, struct weir_error *err)
{
    bool any = false;
    enum weir_rc rc = weir_chain_pump(task->chain, err);
    if (rc == WEIR_OK && weir_chain_clear(task->chain)) {
        rc = checkpoint_work(task, &any, err);
    }
    if (rc != WEIR_OK) {
        return rc;
    }
    bool captured = false;
    capture_snapshot(task, &captured);
    *out_wait_ms = -1;
    if (any) {
        *out_wait = WEIR_TASK_RAN;
        return WEIR_OK;
    }
    bool clear = weir_chain_clear(task->chain);
    if (clear && worked_off(task)) {
        return wind_off(task, out_wait, err);
    }
    rc = clear ? WEIR_OK : stall_work(task, out_wait_ms, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    if (!clear || task->spec.drain_only || (task->end_seen && !takes_checkpoints(task)) || (task->writer != NULL && !weir_writer_ready(task->writer))) {
        *out_wait = captured ? WEIR_TASK_RAN : WEIR_TASK_BLOCKED;
        return WEIR_OK;
    }
    if (flush_is_due(task)) {
        rc = flush(task, &any, err);
    } else {
        rc = task->source != NULL ? take_from_source(task, &any, out_wait_ms, err) : take_from_gate(task, &any, err);
    }
    if (rc == WEIR_OK && !any && !task->flushed) {
        rc = flush(task, &any, err);
    }
    *out_wait = any || captured || *out_wait_ms == 0 ? WEIR_TASK_RAN : WEIR_TASK_IDLE;
    return rc;
}

static void fail(struct weir_task *task, const struct weir_error *err)
{
    task->failing = true;
    task->failure = *err;
}

/* No wait for an operator is without a limit. */
static void limit_wait(const struct weir_task *task, enum weir_task_wait wait, int64_t *out_wait_ms)
{
    if (wait == WEIR_TASK_BLOCKED && *out_wait_ms < 0 && task->chain != NULL && !weir_chain_clear(task->chain)) {
        *out_wait_ms = LOOK_AGAIN_MS;
    }
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

static bool paused(const struct weir_task *task)
{
    return weir_fence_closed(task->spec.env.fence);
}

static enum weir_task_wait run(struct weir_task *task, int64_t *out_wait_ms)
{
    struct weir_error err;
    if (paused(task)) {
        return WEIR_TASK_BLOCKED;
    }
    if (task->phase == WEIR_TASK_PHASE_INITIALIZING) {
        enum weir_rc rc = initialize(task, &err);
        if (rc == WEIR_AGAIN) {
            (void)(task->chain != NULL && weir_chain_stalled(task->chain, out_wait_ms, &err));
            limit_wait(task, WEIR_TASK_BLOCKED, out_wait_ms);
            return WEIR_TASK_BLOCKED;
        }
        if (rc != WEIR_OK) {
            fail(task, &err);
            return wind_up(task);
        }
        task->phase = WEIR_TASK_PHASE_RUNNING;
    }
    enum weir_task_wait wait = WEIR_TASK_RAN;
    for (uint32_t i = 0; i < EVENTS_PER_STEP && wait == WEIR_TASK_RAN; i++) {
        if (i > 0 && paused(task)) {
            *out_wait_ms = -1;
            return WEIR_TASK_BLOCKED;
        }
        if (run_once(task, &wait, out_wait_ms, &err) != WEIR_OK) {
            fail(task, &err);
            return wind_up(task);
        }
    }
    limit_wait(task, wait, out_wait_ms);
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
