#include "tests/sim/engine.h"

#include "common/base/assert.h"
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/fs/fs_sim.h"
#include "jobmanager/jobfile/jobfile.h"
#include "taskmanager/connectors/connector.h"
#include "taskmanager/task/task.h"
#include "tests/lib/plain_store.h"
#include "tests/sim/oracle.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

enum { WORKS_MAX = 64, MAILS_MAX = 256, TASKS_MAX = 16, PARALLELISM_MAX = 4, PATH_BYTES = 128, TURNS_MAX = 300000, CRASHES_MAX = 6, CHANNEL_BYTES_MAX = 4000 };

static const char job_id[] = "0123456789abcdef0123456789abcdef";

struct sim;

enum mail_kind { MAIL_TRIGGER, MAIL_COMPLETED, MAIL_LAST, MAIL_ABORTED };

struct mail {
    enum mail_kind kind;
    uint64_t checkpoint;
};

/* A task with what surrounds it. */
struct slot {
    struct weir_executor executor; /* first: submit gets it back */
    struct sim *sim;
    uint32_t index;
    struct weir_task *task; /* NULL: finished and gone */
    bool awake;             /* was woken since it said that it had nothing to do */
    bool finished;
    struct mail mails[MAILS_MAX]; /* oldest first */
    uint32_t nmails;
    uint64_t reported; /* the newest checkpoint it has taken */
};

/* Blocking work: submitted, then run, then done. */
struct pending_work {
    struct weir_work *work;
    struct slot *slot;
    bool ran;
};

struct handle {
    char path[PATH_BYTES];
    uint64_t bytes, hash;
};

struct ack {
    uint32_t slot;
    uint64_t checkpoint;
    bool taken, ended;
    struct handle handle;
};

/* The JobManager's part: its log, which survives, and what it knows of the attempt. */
struct coordinator {
    uint64_t committed, committed_before; /* 0: none; a new attempt begins here */
    struct handle handles[TASKS_MAX], handles_before[TASKS_MAX];
    uint32_t parallelism, parallelism_before; /* of each vertex, in those */
    uint64_t last;    /* ids are not used twice */
    uint64_t pending; /* 0: none */
    bool acked[TASKS_MAX], ended[TASKS_MAX];
    bool last_done; /* `committed` is the job's last: every task took it after its end */
    struct handle parts[TASKS_MAX];
    bool told_early;
    uint32_t told; /* tasks that have heard of `committed` */
    struct ack inbox[MAILS_MAX];
    uint32_t ninbox;
};

/* Sees which calls a piece of work makes. */
struct watch {
    struct weir_fs fs; /* first member */
    struct weir_fs *disk;
    bool uploads, prepares, publishes;
};

/* How this attempt ends. */
enum ending { ENDS_WELL, CRASHES_AT_TURN, CRASHES_IN_PHASE, CRASHES_WITHIN_WORK };

struct sim {
    const struct weir_engine_case *what;
    struct weir_engine_result *result;
    struct weir_rand rand;
    struct weir_clock_virtual clock;
    struct watch watch;
    struct weir_mem *mem;
    struct weir_state_backend *backend;
    struct weir_oracle *oracle;
    struct weir_jobgraph *graph;
    uint32_t nslots;
    struct slot slots[TASKS_MAX];
    struct pending_work works[WORKS_MAX];
    uint32_t nworks;
    struct coordinator coord;
    uint32_t parallelism; /* of each vertex, now */
    uint32_t attempt;
    uint32_t run; /* the attempt that got this parallelism */
    uint32_t turn;
    enum ending ending;
    enum weir_engine_phase ending_phase;
    uint32_t ending_turn;
    uint32_t crashes_left;
    bool failed;
};

static uint32_t below(struct sim *sim, uint32_t bound)
{
    return (uint32_t)weir_rand_below(&sim->rand, bound);
}

static bool one_in(struct sim *sim, uint32_t n)
{
    return below(sim, n) == 0;
}

static void trace(const struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void trace(const struct sim *sim, const char *format, ...)
{
    if (sim->what->trace_fd < 0) {
        return;
    }
    va_list args;
    va_start(args, format);
    (void)dprintf(sim->what->trace_fd, "%u.%05u ", sim->attempt, sim->turn);
    (void)vdprintf(sim->what->trace_fd, format, args);
    (void)dprintf(sim->what->trace_fd, "\n");
    va_end(args);
}

/* The first thing that is wrong ends the run. */
static void fail(struct sim *sim, const char *what, const struct weir_error *err)
{
    if (!sim->failed) {
        sim->failed = true;
        (void)weir_error_set(&sim->result->err, WEIR_INVALID, "attempt %u, turn %u: %s: %s", sim->attempt, sim->turn, what, err->text);
        trace(sim, "WRONG %s: %s", what, err->text);
    }
}

/* --- the disk ---------------------------------------------------------------------------------------------------------- */

static struct watch *watch_of(struct weir_fs *fs)
{
    return (struct watch *)fs;
}

static enum weir_rc watch_open(struct weir_fs *fs, const char *path, enum weir_fs_mode mode, struct weir_fs_file **out_file,
                               struct weir_error *err)
{
    struct watch *watch = watch_of(fs);
    watch->uploads |= strncmp(path, "/ckpt/", 6) == 0 && mode == WEIR_FS_CREATE_NEW;
    watch->prepares |= strncmp(path, "/out/", 5) == 0 && mode == WEIR_FS_CREATE_NEW;
    return weir_fs_open(watch->disk, path, mode, out_file, err);
}

static enum weir_rc watch_rename(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err)
{
    return weir_fs_rename(watch_of(fs)->disk, from, to, err);
}

static enum weir_rc watch_link(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err)
{
    watch_of(fs)->publishes |= strncmp(to, "/out/", 5) == 0;
    return weir_fs_link(watch_of(fs)->disk, from, to, err);
}

static enum weir_rc watch_unlink(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    return weir_fs_unlink(watch_of(fs)->disk, path, err);
}

static enum weir_rc watch_mkdirs(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    return weir_fs_mkdirs(watch_of(fs)->disk, path, err);
}

static enum weir_rc watch_rmdir(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    return weir_fs_rmdir(watch_of(fs)->disk, path, err);
}

static enum weir_rc watch_list(struct weir_fs *fs, const char *path, weir_fs_list_fn *each, void *ctx, struct weir_error *err)
{
    return weir_fs_list(watch_of(fs)->disk, path, each, ctx, err);
}

static enum weir_rc watch_stat(struct weir_fs *fs, const char *path, struct weir_fs_stat *out_stat, struct weir_error *err)
{
    return weir_fs_stat(watch_of(fs)->disk, path, out_stat, err);
}

static enum weir_rc watch_fsync_dir(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    return weir_fs_fsync_dir(watch_of(fs)->disk, path, err);
}

/* Files are the disk's own. */
static const struct weir_fs_ops watch_ops = {
    .open = watch_open,
    .rename = watch_rename,
    .link = watch_link,
    .unlink = watch_unlink,
    .mkdirs = watch_mkdirs,
    .rmdir = watch_rmdir,
    .list = watch_list,
    .stat = watch_stat,
    .fsync_dir = watch_fsync_dir,
};

/* --- what tasks call ------------------------------------------------------------------------------------------------- */

static void wake(void *ctx)
{
    ((struct slot *)ctx)->awake = true;
}

static void submit(struct weir_executor *executor, struct weir_work *work)
{
    struct slot *slot = (struct slot *)executor;
    weir_assert(slot->sim->nworks < WORKS_MAX);
    weir_task_work_submitted(slot->task);
    slot->sim->works[slot->sim->nworks++] = (struct pending_work){.work = work, .slot = slot};
}

static void on_snapshot(void *ctx, const struct weir_task_snapshot *snapshot)
{
    struct slot *slot = ctx;
    struct sim *sim = slot->sim;
    weir_assert(sim->coord.ninbox < MAILS_MAX);
    struct ack *ack = &sim->coord.inbox[sim->coord.ninbox++];
    *ack = (struct ack){.slot = slot->index, .checkpoint = snapshot->checkpoint, .taken = snapshot->taken, .ended = snapshot->ended};
    trace(sim, "%s %s checkpoint %llu%s", weir_task_name(slot->task), snapshot->taken ? "has taken" : "declines",
          (unsigned long long)snapshot->checkpoint, snapshot->ended ? ", ended" : "");
    if (snapshot->taken) {
        slot->reported = snapshot->checkpoint;
        ack->handle = (struct handle){.bytes = snapshot->handle.bytes, .hash = snapshot->handle.hash};
        (void)snprintf(ack->handle.path, sizeof(ack->handle.path), "%s", snapshot->handle.path);
    }
}

/* --- an attempt ------------------------------------------------------------------------------------------------------ */

struct split_list {
    struct weir_split *items;
    uint32_t count;
    uint32_t every, mine; /* split i is of subtask i % every */
    uint32_t seen;
};

static void add_split(void *ctx, struct weir_split split)
{
    struct split_list *list = ctx;
    if (list->seen++ % list->every != list->mine) {
        return;
    }
    list->items = weir_realloc(list->items, (list->count + 1) * sizeof(*list->items));
    list->items[list->count++] = (struct weir_split){
        .id = weir_slice(weir_strndup(split.id.data, split.id.len), split.id.len),
        .data = weir_slice(weir_strndup(split.data.data, split.data.len), split.data.len),
    };
}

static void drop_splits(struct split_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        weir_free((char *)(uintptr_t)list->items[i].id.data);
        weir_free((char *)(uintptr_t)list->items[i].data.data);
    }
    weir_free(list->items);
}

/* handles: of the vertex's subtasks in the checkpoint, of which there were so many. */
static void make_task(struct sim *sim, uint32_t vertex, uint32_t subtask, const struct handle *handles, uint32_t nhandles, uint64_t checkpoint)
{
    uint32_t index = weir_jobgraph_task_index(sim->graph, vertex, subtask);
    const struct weir_vertex *of = &sim->graph->vertices[vertex];
    struct slot *slot = &sim->slots[index];
    *slot = (struct slot){.executor = {.submit = submit}, .sim = sim, .index = index, .awake = true};
    struct split_list splits = {.every = of->parallelism, .mine = subtask};
    if (of->ops[0]->tag == WEIR_OP_SOURCE) {
        const struct weir_table_spec *table = of->ops[0]->u.io.table;
        struct weir_error err;
        enum weir_rc rc = weir_conn_source(table->connector)->enumerate(table, of->submitted_parallelism, sim->watch.disk, add_split, &splits, &err);
        weir_assert(rc == WEIR_OK);
    }
    char paths[PARALLELISM_MAX][PATH_BYTES];
    struct weir_task_part parts[PARALLELISM_MAX];
    uint32_t first = nhandles == of->parallelism ? subtask : 0;
    uint32_t nparts = checkpoint == 0 ? 0 : nhandles == of->parallelism ? 1 : nhandles;
    for (uint32_t i = 0; i < nparts; i++) {
        const struct handle *from = &handles[first + i];
        (void)snprintf(paths[i], sizeof(paths[i]), "%s", from->path);
        parts[i] = (struct weir_task_part){.subtask = first + i, .handle = {.path = paths[i], .bytes = from->bytes, .hash = from->hash}};
    }
    struct weir_task_spec spec = {
        .graph = sim->graph, .vertex = vertex, .subtask = subtask, .attempt = sim->attempt, .job_id = job_id, .checkpoints_dir = "/ckpt",
        .splits = splits.items, .nsplits = splits.count, .restore = parts, .nrestore = nparts, .restore_checkpoint = checkpoint, .run = sim->run, .backend = sim->backend,
        .on_snapshot = on_snapshot, .on_snapshot_ctx = slot,
        .env = {.mem = sim->mem, .executor = &slot->executor, .fs = &sim->watch.fs, .clock = &sim->clock.clock, .wake = wake, .wake_ctx = slot},
    };
    slot->task = weir_task_create(&spec);
    drop_splits(&splits);
}

static void wire(struct sim *sim, uint32_t edge_index, uint32_t from)
{
    const struct weir_edge *edge = &sim->graph->edges[edge_index];
    struct slot *producer = &sim->slots[weir_jobgraph_task_index(sim->graph, edge->from, from)];
    bool forward = edge->exchange == WEIR_EXCHANGE_FORWARD;
    uint32_t count = forward ? 1 : sim->graph->vertices[edge->to].parallelism;
    struct weir_channel *channels[TASKS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        struct slot *consumer = &sim->slots[weir_jobgraph_task_index(sim->graph, edge->to, forward ? from : i)];
        channels[i] = weir_channel_create(1 + below(sim, CHANNEL_BYTES_MAX));
        weir_channel_set_producer_take(channels[i], (struct weir_channel_wake){.wake = wake, .ctx = producer});
        weir_channel_set_consumer_take(channels[i], (struct weir_channel_wake){.wake = wake, .ctx = consumer});
        weir_task_add_input_take(consumer->task, edge_index, channels[i]);
    }
    weir_task_add_output_take(producer->task, edge_index, channels, count);
}

static void choose_ending(struct sim *sim)
{
    sim->ending = sim->crashes_left == 0 ? ENDS_WELL : (enum ending)(CRASHES_AT_TURN + below(sim, 3));
    sim->ending_phase = (enum weir_engine_phase)below(sim, WEIR_ENGINE_PHASES);
    sim->ending_turn = below(sim, one_in(sim, 2) ? 100 : 1500);
}

/* Every vertex has as many subtasks as the others. */
static void choose_parallelism(struct sim *sim)
{
    uint32_t before = sim->parallelism;
    if (before == 0 || one_in(sim, 2)) {
        sim->parallelism = 1 + below(sim, sim->graph->vertices[0].submitted_parallelism);
    }
    sim->run = before == 0 || before == sim->parallelism ? sim->run : sim->attempt;
    weir_jobgraph_limit_parallelism(sim->graph, sim->parallelism);
    sim->nslots = weir_jobgraph_tasks(sim->graph);
    weir_assert(sim->nslots == sim->graph->nvertices * sim->parallelism);
}

static void begin_attempt(struct sim *sim)
{
    struct coordinator *coord = &sim->coord;
    uint64_t checkpoint = coord->committed;
    const struct handle *handles = coord->handles;
    uint32_t nhandles = coord->parallelism;
    if (sim->what->sabotage == WEIR_ENGINE_RESTORES_OLDER && coord->told > 0) {
        checkpoint = coord->committed_before;
        handles = coord->handles_before;
        nhandles = coord->parallelism_before;
    }
    sim->attempt++;
    choose_parallelism(sim);
    sim->turn = 0;
    coord->pending = 0;
    coord->last_done = false;
    coord->ninbox = 0;
    sim->result->restored += checkpoint != 0;
    sim->result->rescaled += checkpoint != 0 && nhandles != sim->parallelism;
    choose_ending(sim);
    for (uint32_t v = 0; v < sim->graph->nvertices; v++) {
        for (uint32_t s = 0; s < sim->graph->vertices[v].parallelism; s++) {
            make_task(sim, v, s, &handles[v * nhandles], nhandles, checkpoint);
        }
    }
    for (uint32_t e = 0; e < sim->graph->nedges; e++) {
        for (uint32_t s = 0; s < sim->graph->vertices[sim->graph->edges[e].from].parallelism; s++) {
            wire(sim, e, s);
        }
    }
    trace(sim, "attempt begins from checkpoint %llu, parallelism %u -> %u", (unsigned long long)checkpoint, nhandles, sim->parallelism);
}

/* --- the coordinator ------------------------------------------------------------------------------------------------- */

static void send(struct sim *sim, uint32_t index, enum mail_kind kind, uint64_t checkpoint)
{
    struct slot *slot = &sim->slots[index];
    if (slot->task != NULL && slot->nmails < MAILS_MAX) {
        slot->mails[slot->nmails++] = (struct mail){.kind = kind, .checkpoint = checkpoint};
    }
}

/* Each message may be lost. */
static void send_all(struct sim *sim, enum mail_kind kind, uint64_t checkpoint, uint32_t lost_one_in)
{
    for (uint32_t i = 0; i < sim->nslots; i++) {
        if (!one_in(sim, lost_one_in)) {
            send(sim, i, kind, checkpoint);
        }
    }
}

static void abort_pending(struct sim *sim, const char *why)
{
    trace(sim, "checkpoint %llu is aborted: %s", (unsigned long long)sim->coord.pending, why);
    send_all(sim, MAIL_ABORTED, sim->coord.pending, 10);
    sim->coord.pending = 0;
}

static void begin_checkpoint(struct sim *sim)
{
    struct coordinator *coord = &sim->coord;
    struct weir_error err;
    for (uint32_t i = 0; i < sim->nslots; i++) {
        const struct slot *slot = &sim->slots[i];
        if (!slot->finished && weir_task_phase(slot->task) != WEIR_TASK_PHASE_RUNNING) {
            return;
        }
    }
    coord->pending = ++coord->last;
    coord->told_early = false;
    char *dir = weir_strfmt("/ckpt/%s/chk-%llu", job_id, (unsigned long long)coord->pending);
    enum weir_rc rc = weir_fs_mkdirs(sim->watch.disk, dir, &err);
    weir_assert(rc == WEIR_OK);
    weir_free(dir);
    for (uint32_t i = 0; i < sim->nslots; i++) {
        coord->acked[i] = sim->slots[i].finished; /* its state is what was committed after its end */
        coord->parts[i] = coord->handles[i];
    }
    trace(sim, "checkpoint %llu begins", (unsigned long long)coord->pending);
    send_all(sim, MAIL_TRIGGER, coord->pending, UINT32_MAX);
}

static bool all_acked(const struct sim *sim)
{
    bool all = true;
    for (uint32_t i = 0; i < sim->nslots; i++) {
        all &= sim->coord.acked[i];
    }
    return all;
}

struct name_list {
    char names[TASKS_MAX][PATH_BYTES];
    uint32_t count;
    const char *prefix;
};

static void add_name(void *ctx, const char *name, bool is_dir)
{
    struct name_list *list = ctx;
    if (!is_dir && strncmp(name, list->prefix, strlen(list->prefix)) == 0) {
        weir_assert(list->count < TASKS_MAX);
        (void)snprintf(list->names[list->count++], PATH_BYTES, "%s", name);
    }
}

/* A task's file, and those of its keyed state beside it: all whose names begin with vertex and subtask. */
static void drop_files(struct sim *sim, const char *path)
{
    struct weir_error err;
    char *dir = weir_fs_dirname_copy(path);
    char prefix[PATH_BYTES];
    (void)snprintf(prefix, sizeof(prefix), "%s", path + strlen(dir) + 1);
    *(strrchr(prefix, '-') + 1) = '\0';
    struct name_list list = {.prefix = prefix};
    enum weir_rc rc = weir_fs_list(sim->watch.disk, dir, add_name, &list, &err);
    weir_assert(rc == WEIR_OK);
    for (uint32_t i = 0; i < list.count; i++) {
        char *file = weir_strfmt("%s/%s", dir, list.names[i]);
        rc = weir_fs_unlink(sim->watch.disk, file, &err);
        weir_assert(rc == WEIR_OK);
        weir_free(file);
    }
    weir_free(dir);
}

/* Once a checkpoint is committed, files that only the one before needs go. */
static void drop_older(struct sim *sim)
{
    struct coordinator *coord = &sim->coord;
    for (uint32_t i = 0; coord->committed_before != 0 && i < sim->graph->nvertices * coord->parallelism_before; i++) {
        if (strcmp(coord->handles_before[i].path, coord->handles[i].path) != 0) {
            drop_files(sim, coord->handles_before[i].path);
        }
    }
}

static void commit(struct sim *sim)
{
    struct coordinator *coord = &sim->coord;
    coord->committed_before = coord->committed;
    coord->parallelism_before = coord->parallelism;
    coord->parallelism = sim->parallelism;
    coord->committed = coord->pending;
    memcpy(coord->handles_before, coord->handles, sizeof(coord->handles));
    memcpy(coord->handles, coord->parts, sizeof(coord->handles));
    coord->pending = 0;
    coord->told = 0;
    sim->result->checkpoints++;
    trace(sim, "checkpoint %llu is committed", (unsigned long long)coord->committed);
    if (sim->what->sabotage == WEIR_ENGINE_HONEST) {
        drop_older(sim);
    }
    coord->last_done = true;
    for (uint32_t i = 0; i < sim->nslots; i++) {
        coord->last_done &= coord->ended[i];
    }
    send_all(sim, coord->last_done ? MAIL_LAST : MAIL_COMPLETED, coord->committed, 5);
}

static void coordinator_turn(struct sim *sim)
{
    struct coordinator *coord = &sim->coord;
    if (coord->pending == 0) {
        if (!coord->last_done && one_in(sim, 3)) {
            begin_checkpoint(sim);
        } else if (coord->committed != 0 && one_in(sim, 5)) {
            send_all(sim, coord->last_done ? MAIL_LAST : MAIL_COMPLETED, coord->committed, 3);
        }
        return;
    }
    for (uint32_t i = 0; i < sim->nslots; i++) {
        if (sim->slots[i].finished && !coord->acked[i]) {
            abort_pending(sim, "a task finished without it");
            return;
        }
    }
    if (all_acked(sim)) {
        commit(sim);
    } else if (one_in(sim, 60)) {
        abort_pending(sim, "it takes too long");
    }
}

static void coordinator_reads(struct sim *sim)
{
    struct coordinator *coord = &sim->coord;
    if (coord->ninbox == 0) {
        return;
    }
    uint32_t i = below(sim, coord->ninbox);
    struct ack ack = coord->inbox[i];
    coord->inbox[i] = coord->inbox[--coord->ninbox];
    if (ack.checkpoint != coord->pending) {
        return;
    }
    if (!ack.taken) {
        abort_pending(sim, "declined");
        return;
    }
    coord->acked[ack.slot] = true;
    coord->ended[ack.slot] = ack.ended;
    coord->parts[ack.slot] = ack.handle;
    bool sink = sim->graph->vertices[sim->graph->nvertices - 1].parallelism + ack.slot >= sim->nslots;
    if (sim->what->sabotage == WEIR_ENGINE_NOTIFIES_EARLY && sink && !coord->told_early) {
        coord->told_early = true;
        send_all(sim, MAIL_COMPLETED, coord->pending, UINT32_MAX);
    }
}

/* --- turns ----------------------------------------------------------------------------------------------------------- */

static void deliver(struct sim *sim, struct slot *slot)
{
    if (slot->nmails == 0) {
        return;
    }
    struct mail mail = slot->mails[0];
    slot->nmails--;
    memmove(slot->mails, slot->mails + 1, slot->nmails * sizeof(slot->mails[0]));
    if (slot->task == NULL) {
        return;
    }
    slot->awake = true;
    switch (mail.kind) {
    case MAIL_TRIGGER:
        weir_task_trigger(slot->task, mail.checkpoint);
        break;
    case MAIL_COMPLETED:
    case MAIL_LAST:
        sim->coord.told += mail.checkpoint == sim->coord.committed;
        weir_task_notify(slot->task, mail.checkpoint, mail.kind == MAIL_LAST ? WEIR_CKPT_LAST : WEIR_CKPT_COMMITTED);
        break;
    case MAIL_ABORTED:
        weir_task_notify(slot->task, mail.checkpoint, WEIR_CKPT_ABORTED);
        break;
    }
}

static void step(struct sim *sim, struct slot *slot)
{
    int64_t wait_ms = -1;
    if (slot->task == NULL || !slot->awake) {
        return;
    }
    if (slot->finished) {
        weir_task_destroy(slot->task);
        slot->task = NULL;
        return;
    }
    slot->awake = false; /* before the step: a wake during it counts */
    enum weir_task_wait wait = weir_task_step(slot->task, &wait_ms);
    slot->awake |= wait == WEIR_TASK_RAN || wait_ms >= 0;
    if (wait != WEIR_TASK_OVER) {
        return;
    }
    slot->awake = true;
    slot->finished = weir_task_phase(slot->task) == WEIR_TASK_PHASE_FINISHED;
    trace(sim, "%s is %s", weir_task_name(slot->task), slot->finished ? "finished" : "FAILED");
    if (!slot->finished) {
        fail(sim, weir_task_name(slot->task), weir_task_failure(slot->task));
    }
}

static void run_work(struct sim *sim)
{
    if (sim->nworks > 0) {
        struct pending_work *work = &sim->works[below(sim, sim->nworks)];
        if (!work->ran) {
            work->ran = true;
            work->work->run(work->work);
        }
    }
}

static void work_done(struct sim *sim)
{
    if (sim->nworks == 0) {
        return;
    }
    uint32_t i = below(sim, sim->nworks);
    struct pending_work done = sim->works[i];
    if (done.ran) {
        sim->works[i] = sim->works[--sim->nworks];
        done.work->in_flight = false;
        weir_task_work_done(done.slot->task);
        done.work->done(done.work);
        done.slot->awake = true;
    }
}

static void take_turn(struct sim *sim)
{
    uint32_t what = below(sim, 100);
    struct slot *slot = &sim->slots[below(sim, sim->nslots)];
    sim->turn++;
    if (what < 45) {
        step(sim, slot);
    } else if (what < 60) {
        run_work(sim);
    } else if (what < 75) {
        work_done(sim);
    } else if (what < 85) {
        deliver(sim, slot);
    } else if (what < 92) {
        coordinator_reads(sim);
    } else if (what < 97) {
        coordinator_turn(sim);
    } else {
        weir_clock_virtual_advance(&sim->clock, (int64_t)below(sim, 50) * 1000000);
    }
}

/* --- crashes --------------------------------------------------------------------------------------------------------- */

/* In which phases the job is; those of the disk show only while work runs. */
static void observe(const struct sim *sim, bool out_in[WEIR_ENGINE_PHASES])
{
    const struct coordinator *coord = &sim->coord;
    uint32_t triggers = 0, taken = 0;
    bool restoring = false;
    for (uint32_t i = 0; i < sim->nslots; i++) {
        const struct slot *slot = &sim->slots[i];
        for (uint32_t k = 0; k < slot->nmails; k++) {
            triggers += slot->mails[k].kind == MAIL_TRIGGER && slot->mails[k].checkpoint == coord->pending;
        }
        taken += slot->finished || slot->reported == coord->pending;
        restoring |= slot->task != NULL && weir_task_phase(slot->task) == WEIR_TASK_PHASE_INITIALIZING;
    }
    bool pending = coord->pending != 0;
    out_in[WEIR_ENGINE_BEFORE_BARRIER] = pending && triggers > 0;
    out_in[WEIR_ENGINE_ALIGNING] = pending && taken > 0 && taken < sim->nslots;
    out_in[WEIR_ENGINE_ACKED] = pending && taken == sim->nslots;
    out_in[WEIR_ENGINE_COMMITTED] = coord->committed != 0 && coord->told == 0;
    out_in[WEIR_ENGINE_RECOVERY] = restoring && sim->attempt > 1 && coord->committed != 0;
    out_in[WEIR_ENGINE_PREPARE] = sim->watch.prepares && !sim->watch.publishes;
    out_in[WEIR_ENGINE_UPLOAD] = sim->watch.uploads;
    out_in[WEIR_ENGINE_PUBLISH] = sim->watch.publishes;
}

static void forget_calls(struct sim *sim)
{
    sim->watch.uploads = sim->watch.prepares = sim->watch.publishes = false;
}

/* Runs a piece of work up to some call of the disk, behind which nothing happens any more. */
static void begin_work_and_stop(struct sim *sim, struct pending_work *work)
{
    if (!work->ran) {
        weir_fs_sim_fail(sim->watch.disk, (struct weir_fs_sim_fault){.nth = 1 + below(sim, 6), .rc = WEIR_IO, .lasting = true});
        work->work->run(work->work);
        weir_fs_sim_fail(sim->watch.disk, (struct weir_fs_sim_fault){0});
        work->ran = true;
    }
}

/* Everything that runs is gone; with a power failure, also what was not synced. */
static void crash(struct sim *sim)
{
    bool in[WEIR_ENGINE_PHASES];
    for (uint32_t i = 0; i < sim->nworks; i++) {
        if (sim->ending == CRASHES_WITHIN_WORK || one_in(sim, 2)) {
            begin_work_and_stop(sim, &sim->works[i]);
        }
    }
    observe(sim, in);
    for (int p = 0; p < WEIR_ENGINE_PHASES; p++) {
        sim->result->hits[p] += in[p];
        if (in[p]) {
            trace(sim, "crash: %s", weir_engine_phase_name((enum weir_engine_phase)p));
        }
    }
    if (one_in(sim, 2)) {
        trace(sim, "power failure");
        weir_fs_sim_crash(sim->watch.disk, weir_rand_u64(&sim->rand));
    }
    sim->result->crashes++;
    sim->crashes_left--;
}

static void drop_attempt(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->nworks; i++) {
        sim->works[i].work->in_flight = false;
        weir_task_work_done(sim->works[i].slot->task);
    }
    sim->nworks = 0;
    for (uint32_t i = 0; i < sim->nslots; i++) {
        weir_task_destroy(sim->slots[i].task);
        sim->slots[i].task = NULL;
    }
}

static bool some_work_waits(const struct sim *sim)
{
    bool any = false;
    for (uint32_t i = 0; i < sim->nworks; i++) {
        any |= !sim->works[i].ran;
    }
    return any;
}

static bool crashes_now(struct sim *sim)
{
    bool in[WEIR_ENGINE_PHASES];
    switch (sim->ending) {
    case ENDS_WELL:
        return false;
    case CRASHES_AT_TURN:
        return sim->turn >= sim->ending_turn;
    case CRASHES_WITHIN_WORK:
        return sim->turn >= sim->ending_turn && some_work_waits(sim);
    case CRASHES_IN_PHASE:
        observe(sim, in);
        return in[sim->ending_phase] && one_in(sim, 4);
    }
    weir_assert(false);
}

static bool all_finished(const struct sim *sim)
{
    bool all = true;
    for (uint32_t i = 0; i < sim->nslots; i++) {
        all &= sim->slots[i].finished;
    }
    return all;
}

/* Until the job is finished, crashes or something is wrong. */
static void run_attempt(struct sim *sim)
{
    struct weir_error err;
    begin_attempt(sim);
    bool crashed = false;
    while (!sim->failed && !crashed && !all_finished(sim)) {
        forget_calls(sim);
        take_turn(sim);
        crashed = !sim->failed && crashes_now(sim);
        if (sim->turn == TURNS_MAX) {
            (void)weir_error_set(&err, WEIR_TIMEOUT, "the job does not come to its end");
            fail(sim, "turns", &err);
        }
    }
    if (crashed) {
        crash(sim);
    }
    drop_attempt(sim);
    if (!sim->failed && weir_oracle_check(sim->oracle, sim->watch.disk, "/out", !crashed, &err) != WEIR_OK) {
        fail(sim, crashed ? "published before a crash" : "published", &err);
    }
}

/* --- a run ----------------------------------------------------------------------------------------------------------- */

static struct weir_jobgraph *plan(uint32_t parallelism)
{
    static const char text[] =
        "job: rides\n"
        "settings: {pipeline.max-parallelism: 16, execution.checkpointing.interval: 1 s, pipeline.auto-watermark-interval: 1 ms}\n"
        "tables:\n"
        "  rides:\n"
        "    columns: {kind: STRING, speed: DOUBLE, ts: \"TIMESTAMP_LTZ(3)\"}\n"
        "    watermark: {column: ts, delay: 2 s}\n"
        "    with: {connector: filesystem, path: /in, format: json}\n"
        "  stats:\n"
        "    columns: {window_start: TIMESTAMP(3), window_end: TIMESTAMP(3), kind: STRING, n: BIGINT, mean: DOUBLE, top: DOUBLE}\n"
        "    with: {connector: filesystem, path: /out, format: json}\n"
        "pipeline:\n"
        "  - {id: read,  source: rides}\n"
        "  - {id: valid, input: read, filter: \"kind IS NOT NULL AND speed >= 0\"}\n"
        "  - {id: count, input: valid, key_by: [kind], window: {tumble: 10 s},\n"
        "     aggregate: {n: \"COUNT(*)\", mean: \"AVG(speed)\", top: \"MAX(speed)\"}}\n"
        "  - {id: write, input: count, sink: stats}\n";
    struct weir_jobgraph *graph = NULL;
    struct weir_error err;
    struct weir_config *config = weir_config_create();
    enum weir_rc rc = weir_jobfile_plan(weir_slice_str(text), "rides.yaml", parallelism, config, &graph, &err);
    weir_config_destroy(config);
    weir_assert(rc == WEIR_OK);
    return graph;
}

void weir_engine_run(const struct weir_engine_case *what, struct weir_engine_result *out_result)
{
    struct sim *sim = weir_calloc(1, sizeof(*sim));
    *out_result = (struct weir_engine_result){0};
    sim->what = what;
    sim->result = out_result;
    weir_rand_init(&sim->rand, what->seed);
    weir_clock_virtual_init(&sim->clock, 5000000000, 1700000000000);
    sim->watch = (struct watch){.fs = {.ops = &watch_ops}, .disk = weir_fs_sim_create()};
    sim->mem = weir_mem_create("sim", 0, NULL);
    /* Keyed state goes to a store, or into the task's file while it is small, or always. */
    bool stored = one_in(sim, 2);
    sim->backend = stored ? weir_plain_backend_create(&sim->watch.fs, "/tmp", one_in(sim, 4) ? 300 : 0) : NULL;
    uint32_t parallelism = 2 + below(sim, PARALLELISM_MAX - 1);
    sim->oracle = weir_oracle_create(sim->watch.disk, "/in", &sim->rand, parallelism, one_in(sim, 2));
    sim->graph = plan(parallelism);
    weir_assert(weir_jobgraph_tasks(sim->graph) <= TASKS_MAX);
    sim->crashes_left = 2 + below(sim, CRASHES_MAX - 1);
    do {
        run_attempt(sim);
    } while (!sim->failed && !all_finished(sim));
    out_result->ok = !sim->failed;
    weir_plain_backend_destroy(sim->backend);
    weir_jobgraph_destroy(sim->graph);
    weir_oracle_destroy(sim->oracle);
    weir_mem_destroy(sim->mem); /* asserts that nothing was leaked */
    weir_fs_sim_destroy(sim->watch.disk);
    weir_free(sim);
}

const char *weir_engine_phase_name(enum weir_engine_phase phase)
{
    switch (phase) {
    case WEIR_ENGINE_BEFORE_BARRIER: return "before barrier";
    case WEIR_ENGINE_ALIGNING: return "aligning";
    case WEIR_ENGINE_PREPARE: return "sink preparing";
    case WEIR_ENGINE_UPLOAD: return "upload";
    case WEIR_ENGINE_ACKED: return "acknowledged, not committed";
    case WEIR_ENGINE_COMMITTED: return "committed, not notified";
    case WEIR_ENGINE_PUBLISH: return "publishing";
    case WEIR_ENGINE_RECOVERY: return "recovery";
    case WEIR_ENGINE_PHASES: break;
    }
    weir_assert(false);
}
