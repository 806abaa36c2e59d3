/*
 * A task by itself, stepped by the test: what comes out of it goes into a channel that the test reads, what it takes in comes from channels that the
 * test fills. Whole jobs of tasks are stepped in tests/sim/engine.c.
 */
#include "taskmanager/task/task.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/fs/fs_local.h"
#include "proto/ckpt_codec.h"
#include "tests/lib/rows.h"
#include "tests/lib/temp_dir.h"

enum { SPLITS = 3, ROWS = 300000 /* of all splits, many steps' worth of each */, CHANNEL_BYTES = 1 << 20, STEPS_MAX = 100000 };
enum { READ, WRITE }; /* the vertices */

static const char *const job_id = "0123456789abcdef0123456789abcdef";

struct world {
    struct weir_jobgraph *graph;
    struct weir_mem *mem;
    struct weir_fs *fs;
    struct weir_clock_virtual clock;
    char dir[WEIR_TEMP_DIR_MAX];
};

/* The present task, and what of it has come out. */
struct bench {
    struct weir_executor executor; /* first member */
    struct world *world;
    struct weir_task *task;
    struct weir_work *work;       /* submitted, not done */
    struct weir_channel *output;  /* consumer end; NULL: it is a sink */
    uint64_t rows;
    int64_t watermark_ms;
    bool ended;
    enum weir_element_kind first; /* that came */
    uint32_t snapshots;
    struct weir_task_snapshot snapshot; /* the newest; the path is the bench's own */
};

/* Generated rows (t TIMESTAMP, n BIGINT), one a second, to a sink that keeps nothing, or ("filesystem") writes to dir. */
static struct weir_jobgraph *make_graph(uint32_t parallelism, const char *sink, const char *dir)
{
    static const struct weir_option options[] = {{.key = "number-of-rows", .value = "300000"},
                                                 {.key = "rows-per-second", .value = "0"},
                                                 {.key = "fields.t.kind", .value = "time"},
                                                 {.key = "fields.t.step", .value = "1 s"}};
    struct weir_jobgraph *graph = weir_jobgraph_create();
    struct weir_error err;
    struct weir_type time = weir_type_of(WEIR_TYPE_TIMESTAMP);
    time.precision = 3;
    const struct weir_field fields[] = {{"t", time}, {"n", weir_type_of(WEIR_TYPE_BIGINT)}};
    struct weir_schema *made = NULL;
    ck_assert_msg(weir_schema_create(fields, 2, 0, &made, &err) == WEIR_OK, "%s", err.text);
    const struct weir_schema *schema = weir_jobgraph_own_schema_take(graph, made);
    struct weir_table_spec *tables = weir_arena_zalloc(graph->arena, 2 * sizeof(*tables));
    tables[READ] = (struct weir_table_spec){.name = "in", .schema = schema, .connector = "datagen", .options = options, .noptions = 4, .has_watermark = true};
    const struct weir_schema *written = weir_jobgraph_own_schema_take(graph, weir_test_schema());
    struct weir_option *out = weir_arena_zalloc(graph->arena, sizeof(*out));
    *out = (struct weir_option){.key = "path", .value = weir_arena_fmt(graph->arena, "%s/out", dir)};
    bool writes = strcmp(sink, "filesystem") == 0;
    tables[WRITE] = (struct weir_table_spec){
        .name = "out", .schema = written, .connector = sink, .format = writes ? "json" : NULL, .options = out, .noptions = writes};
    struct weir_opspec *ops = weir_arena_zalloc(graph->arena, 2 * sizeof(*ops));
    ops[READ] = (struct weir_opspec){.tag = WEIR_OP_SOURCE, .uid = "read", .name = "read", .output = schema, .u.io.table = &tables[READ]};
    ops[WRITE] = (struct weir_opspec){.tag = WEIR_OP_SINK, .uid = "write", .name = "write", .input = written, .u.io.table = &tables[WRITE]};
    const struct weir_opspec **chains = weir_arena_zalloc(graph->arena, 2 * sizeof(*chains));
    struct weir_vertex *vertices = weir_arena_zalloc(graph->arena, 2 * sizeof(*vertices));
    for (uint32_t v = 0; v < 2; v++) {
        chains[v] = &ops[v];
        vertices[v] = (struct weir_vertex){
            .id = "00112233445566778899aabbccddeeff", .name = ops[v].name, .parallelism = v == READ ? parallelism : 1, .max_parallelism = 8, .ops = &chains[v], .nops = 1};
    }
    struct weir_edge *edge = weir_arena_zalloc(graph->arena, sizeof(*edge));
    *edge = (struct weir_edge){.from = READ, .to = WRITE, .exchange = WEIR_EXCHANGE_REBALANCE, .schema = schema};
    graph->name = "task";
    graph->settings = (struct weir_job_settings){
        .parallelism = parallelism, .max_parallelism = 8, .watermark_interval_ms = 200, .checkpoint_interval_ms = 1000, .record_bytes_max = 1 << 20};
    graph->vertices = vertices;
    graph->nvertices = 2;
    graph->edges = edge;
    graph->nedges = 1;
    weir_jobgraph_link(graph, vertices);
    return graph;
}

static void make_checkpoint_dir(struct world *world, uint64_t checkpoint)
{
    struct weir_error err;
    char *dir = weir_ckpt_dir_copy(world->dir, job_id, checkpoint);
    ck_assert_msg(weir_fs_mkdirs(world->fs, dir, &err) == WEIR_OK, "%s", err.text);
    weir_free(dir);
}

static void world_init(struct world *world, uint32_t parallelism, const char *sink)
{
    *world = (struct world){.mem = weir_mem_create("test", 0, NULL), .fs = weir_fs_local_create()};
    weir_clock_virtual_init(&world->clock, 1000000000, 1700000000000);
    weir_temp_dir(world->dir, "task");
    world->graph = make_graph(parallelism, sink, world->dir);
    make_checkpoint_dir(world, 1);
    make_checkpoint_dir(world, 2);
}

static void world_fini(struct world *world)
{
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf %s", world->dir);
    ck_assert_int_eq(system(command), 0);
    weir_jobgraph_destroy(world->graph);
    weir_fs_local_destroy(world->fs);
    ck_assert_uint_eq(weir_mem_used(world->mem), 0);
    weir_mem_destroy(world->mem);
}

static void submit(struct weir_executor *executor, struct weir_work *work)
{
    struct bench *bench = (struct bench *)executor;
    ck_assert_ptr_null(bench->work);
    bench->work = work;
    weir_task_work_submitted(bench->task);
}

static void on_snapshot(void *ctx, const struct weir_task_snapshot *snapshot)
{
    struct bench *bench = ctx;
    bench->snapshots++;
    weir_free(bench->snapshot.handle.path);
    bench->snapshot = *snapshot;
    bench->snapshot.handle.path = snapshot->taken ? weir_strdup(snapshot->handle.path) : NULL;
}

static void wake(void *ctx)
{
    (void)ctx; /* the test steps it all the time */
}

static const struct weir_channel_wake no_wake = {.wake = wake};

/* nsplits of SPLITS from first_split on, whatever the parallelism. */
static void bench_init(struct bench *bench, struct world *world, uint32_t vertex, uint32_t subtask, uint32_t first_split, uint32_t nsplits,
                       const struct weir_task_part *parts, uint32_t nparts)
{
    char ids[SPLITS][8];
    uint8_t data[SPLITS][8];
    struct weir_split splits[SPLITS];
    *bench = (struct bench){.executor = {.submit = submit}, .world = world, .watermark_ms = INT64_MIN};
    for (uint32_t i = 0; i < nsplits; i++) {
        (void)snprintf(ids[i], sizeof(ids[i]), "%u/%u", first_split + i, (unsigned)SPLITS);
        weir_le_put_u32(data[i], first_split + i);
        weir_le_put_u32(data[i] + 4, SPLITS);
        splits[i] = (struct weir_split){.id = weir_slice_str(ids[i]), .data = weir_slice(data[i], sizeof(data[i]))};
    }
    const struct weir_task_spec spec = {
        .graph = world->graph, .vertex = vertex, .subtask = subtask, .attempt = nparts == 0 ? 1 : 2, .job_id = job_id, .checkpoints_dir = world->dir,
        .splits = splits, .nsplits = nsplits, .restore = parts, .nrestore = nparts, .restore_checkpoint = nparts == 0 ? 0 : 1,
        .on_snapshot = on_snapshot, .on_snapshot_ctx = bench,
        .env = {.mem = world->mem, .executor = &bench->executor, .fs = world->fs, .clock = &world->clock.clock, .wake = wake}};
    bench->task = weir_task_create(&spec);
    if (vertex == READ) {
        bench->output = weir_channel_create(CHANNEL_BYTES);
        weir_channel_set_producer_take(bench->output, no_wake);
        weir_channel_set_consumer_take(bench->output, no_wake);
        weir_task_add_output_take(bench->task, 0, &bench->output, 1);
    }
}

static void bench_fini(struct bench *bench)
{
    int64_t wait_ms;
    weir_task_cancel(bench->task);
    while (weir_task_step(bench->task, &wait_ms) != WEIR_TASK_OVER) {
        ck_assert_ptr_null(bench->work);
    }
    weir_task_destroy(bench->task);
    weir_channel_release_consumer(bench->output);
    weir_free(bench->snapshot.handle.path);
}

static void take_output(struct bench *bench)
{
    for (struct weir_element e = weir_channel_pop(bench->output); e.kind != WEIR_ELEMENT_NONE; e = weir_channel_pop(bench->output)) {
        bench->first = bench->first == WEIR_ELEMENT_NONE ? e.kind : bench->first;
        bench->ended = bench->ended || e.kind == WEIR_ELEMENT_END;
        if (e.kind == WEIR_ELEMENT_WATERMARK) {
            bench->watermark_ms = e.value;
        } else if (e.kind == WEIR_ELEMENT_BATCH) {
            bench->rows += weir_batch_rows(e.batch);
            weir_batch_unref(e.batch);
        }
    }
}

/* One step, what it has submitted, and what has come out. False: the task has nothing to do. */
static bool step(struct bench *bench)
{
    int64_t wait_ms;
    enum weir_task_wait wait = weir_task_step(bench->task, &wait_ms);
    struct weir_work *work = bench->work;
    if (work != NULL) {
        bench->work = NULL;
        work->run(work);
        work->in_flight = false;
        weir_task_work_done(bench->task);
        work->done(work);
    }
    if (bench->output != NULL) {
        take_output(bench);
    }
    return wait == WEIR_TASK_RAN || work != NULL;
}

static void run(struct bench *bench)
{
    for (int steps = 0; step(bench); steps++) {
        ck_assert_int_lt(steps, STEPS_MAX);
    }
}

/* Reads some batches, takes its part of checkpoint 1, and ends. */
static void run_to_snapshot(struct bench *bench)
{
    while (bench->rows == 0) {
        ck_assert_msg(step(bench), "%s", weir_task_failure(bench->task)->text);
    }
    weir_task_trigger(bench->task, 1);
    for (int steps = 0; bench->snapshots == 0; steps++) {
        (void)step(bench);
        ck_assert_int_lt(steps, STEPS_MAX);
    }
    ck_assert_msg(bench->snapshot.taken, "%s", bench->snapshot.err.text);
    ck_assert(!bench->snapshot.ended);
}

/* --- sources that go on where they were --------------------------------------------------------------------------------- */

/* How many rows the part has behind it; more may have come out since. */
static uint64_t rows_before(struct world *world, uint32_t subtask, uint32_t first_split, uint32_t nsplits, const struct weir_task_part *part)
{
    struct bench again;
    bench_init(&again, world, READ, subtask, first_split, nsplits, part, 1);
    run(&again);
    ck_assert_msg(again.ended, "%s", weir_task_failure(again.task)->text);
    uint64_t rows = (uint64_t)nsplits * ROWS / SPLITS - again.rows;
    bench_fini(&again);
    return rows;
}

START_TEST(a_restored_source_says_first_how_far_it_was)
{
    struct world world;
    struct bench before, after;
    world_init(&world, 1, "blackhole");
    bench_init(&before, &world, READ, 0, 0, SPLITS, NULL, 0);
    run_to_snapshot(&before);
    const struct weir_task_part part = {.subtask = 0, .handle = before.snapshot.handle};
    bench_init(&after, &world, READ, 0, 0, SPLITS, &part, 1);
    while (after.first == WEIR_ELEMENT_NONE) {
        (void)step(&after);
        ck_assert_int_le(weir_task_phase(after.task), WEIR_TASK_PHASE_RUNNING);
    }
    ck_assert_int_eq(after.first, WEIR_ELEMENT_WATERMARK); /* S5: windows that it ends fire without waiting for a row */
    ck_assert_uint_gt(rows_before(&world, 0, 0, SPLITS, &part), 0);
    bench_fini(&after);
    bench_fini(&before);
    world_fini(&world);
}
END_TEST

/* Its own part has all its splits, or is not what it should be: the rows of one would be left out in silence. */
START_TEST(a_part_that_lacks_a_split_is_corrupt)
{
    struct world world;
    struct bench before, after;
    world_init(&world, 1, "blackhole");
    bench_init(&before, &world, READ, 0, 0, SPLITS - 1, NULL, 0);
    run_to_snapshot(&before);
    const struct weir_task_part part = {.subtask = 0, .handle = before.snapshot.handle};
    bench_init(&after, &world, READ, 0, 0, SPLITS, &part, 1);
    run(&after);
    ck_assert_int_eq(weir_task_phase(after.task), WEIR_TASK_PHASE_FAILED);
    ck_assert_int_eq(weir_task_failure(after.task)->rc, WEIR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(weir_task_failure(after.task)->text, "how far split 2/3 was read"));
    ck_assert_uint_eq(after.rows, 0);
    bench_fini(&after);
    bench_fini(&before);
    world_fini(&world);
}
END_TEST

/* Two subtasks of before are one now, and there is a split that neither had. */
START_TEST(a_split_that_no_part_has_is_read_from_its_beginning)
{
    struct world two, one;
    struct bench first, second, after;
    world_init(&two, 2, "blackhole");
    world_init(&one, 1, "blackhole");
    bench_init(&first, &two, READ, 0, 0, 1, NULL, 0);
    bench_init(&second, &two, READ, 1, 1, 1, NULL, 0);
    run_to_snapshot(&first);
    run_to_snapshot(&second);
    const struct weir_task_part parts[] = {{.subtask = 0, .handle = first.snapshot.handle}, {.subtask = 1, .handle = second.snapshot.handle}};
    bench_init(&after, &one, READ, 0, 0, SPLITS, parts, 2);
    run(&after);
    ck_assert_msg(after.ended, "%s", weir_task_failure(after.task)->text);
    ck_assert_uint_eq(after.rows + rows_before(&two, 0, 0, 1, &parts[0]) + rows_before(&two, 1, 1, 1, &parts[1]), ROWS);
    ck_assert_uint_lt(after.rows, ROWS);
    bench_fini(&after);
    bench_fini(&second);
    bench_fini(&first);
    world_fini(&one);
    world_fini(&two);
}
END_TEST

/* --- what waits for a barrier ------------------------------------------------------------------------------------------- */

static struct weir_channel *add_input(struct bench *bench)
{
    struct weir_channel *channel = weir_channel_create(CHANNEL_BYTES);
    weir_channel_set_producer_take(channel, no_wake);
    weir_channel_set_consumer_take(channel, no_wake);
    weir_task_add_input_take(bench->task, 0, channel);
    return channel;
}

static void push_rows(struct bench *bench, struct weir_channel *channel, const struct weir_schema *schema, uint32_t count)
{
    struct weir_batch *batch = weir_test_rows(schema, 0, count, 8, bench->world->mem);
    ck_assert(weir_channel_push(channel, (struct weir_element){.kind = WEIR_ELEMENT_BATCH, .batch = batch}));
}

static void push_barrier(struct weir_channel *channel, int64_t checkpoint)
{
    ck_assert(weir_channel_push(channel, (struct weir_element){.kind = WEIR_ELEMENT_BARRIER, .value = checkpoint}));
}

static uint64_t rows_in(struct bench *bench)
{
    run(bench);
    return atomic_load(&weir_task_counts(bench->task)->records_in);
}

START_TEST(an_aborted_checkpoint_holds_no_input_up)
{
    struct world world;
    struct bench bench;
    struct weir_schema *schema = weir_test_schema();
    world_init(&world, 2, "blackhole");
    bench_init(&bench, &world, WRITE, 0, 0, 0, NULL, 0);
    struct weir_channel *early = add_input(&bench);
    struct weir_channel *late = add_input(&bench);
    push_barrier(early, 1);
    push_rows(&bench, early, schema, 5);
    push_rows(&bench, late, schema, 3);
    ck_assert_uint_eq(rows_in(&bench), 3); /* the others are behind the barrier */
    weir_task_notify(bench.task, 1, WEIR_CKPT_ABORTED);
    ck_assert_uint_eq(rows_in(&bench), 8);
    push_barrier(late, 1); /* it had been on its way */
    push_rows(&bench, late, schema, 2);
    ck_assert_uint_eq(rows_in(&bench), 10);
    ck_assert_uint_eq(bench.snapshots, 0);
    push_barrier(late, 2);
    push_barrier(early, 2);
    (void)rows_in(&bench);
    ck_assert_uint_eq(bench.snapshots, 1);
    ck_assert(bench.snapshot.taken);
    ck_assert_uint_eq(bench.snapshot.checkpoint, 2);
    weir_channel_release_producer(early);
    weir_channel_release_producer(late);
    bench_fini(&bench);
    weir_schema_unref(schema);
    world_fini(&world);
}
END_TEST

/* A sink that waits for what may never come back is asked again in time. */
START_TEST(no_wait_for_an_operator_is_without_a_limit)
{
    struct world world;
    struct bench bench;
    struct weir_schema *schema = weir_test_schema();
    int64_t wait_ms = -1;
    world_init(&world, 1, "filesystem");
    bench_init(&bench, &world, WRITE, 0, 0, 0, NULL, 0);
    struct weir_channel *input = add_input(&bench);
    run(&bench);
    ck_assert_msg(weir_task_step(bench.task, &wait_ms) == WEIR_TASK_IDLE, "%s", weir_task_failure(bench.task)->text);
    ck_assert_int_lt(wait_ms, 0); /* for input, as long as it takes */
    push_rows(&bench, input, schema, 5);
    push_barrier(input, 1);
    while (bench.work == NULL) { /* the rows, then the file's end, on another thread */
        ck_assert_int_eq(weir_task_phase(bench.task), WEIR_TASK_PHASE_RUNNING);
        (void)weir_task_step(bench.task, &wait_ms);
    }
    ck_assert_int_eq(weir_task_step(bench.task, &wait_ms), WEIR_TASK_BLOCKED);
    ck_assert(wait_ms >= 0 && wait_ms <= 1000);
    run(&bench);
    ck_assert_uint_eq(bench.snapshots, 1);
    ck_assert(bench.snapshot.taken);
    weir_channel_release_producer(input);
    bench_fini(&bench);
    weir_schema_unref(schema);
    world_fini(&world);
}
END_TEST

Suite *task_suite(void);
Suite *task_suite(void)
{
    Suite *suite = suite_create("task");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, a_restored_source_says_first_how_far_it_was);
    tcase_add_test(tc, a_part_that_lacks_a_split_is_corrupt);
    tcase_add_test(tc, a_split_that_no_part_has_is_read_from_its_beginning);
    tcase_add_test(tc, an_aborted_checkpoint_holds_no_input_up);
    tcase_add_test(tc, no_wait_for_an_operator_is_without_a_limit);
    suite_add_tcase(suite, tc);
    return suite;
}
