/* The operator SINK over the real connectors: which hook of the connector each event reaches, and that AGAIN goes on by resume. */
#include "taskmanager/operators/sink.h"

#include "common/fs/fs_sim.h"
#include "common/runtime/thread.h"
#include "taskmanager/connectors/conn_test_kit.h"

#include <sched.h>

static const char *const columns[] = {"n", "BIGINT", NULL};

struct fixture {
    struct conn_kit kit;
    struct weir_op_ctx ctx;
    struct weir_opspec spec;
    struct weir_op *op;
};

static void open_op(struct fixture *f, uint32_t attempt)
{
    struct weir_error err;
    f->kit.ctx.attempt = attempt;
    f->ctx = (struct weir_op_ctx){.conn = f->kit.ctx};
    f->spec = (struct weir_opspec){.tag = WEIR_OP_SINK, .u.io.table = &f->kit.table};
    f->op = weir_calloc(1, weir_sink_op.op_bytes);
    *f->op = (struct weir_op){.vtable = &weir_sink_op, .spec = &f->spec, .ctx = &f->ctx};
    ck_assert_int_eq(weir_sink_op.open(f->op, &f->spec, &err), WEIR_OK);
}

static void close_op(struct fixture *f)
{
    weir_sink_op.close(f->op);
    weir_free(f->op);
}

static void init(struct fixture *f, const char *connector, int64_t interval_ms)
{
    conn_kit_init(&f->kit, connector, columns, NULL);
    f->kit.deferred = true;
    f->kit.settings.checkpoint_interval_ms = interval_ms;
    open_op(f, 1);
}

/* Goes on after a hook; returns how often it had to. */
static uint32_t resume(struct fixture *f, enum weir_rc rc)
{
    struct weir_error err = {.text = ""};
    uint32_t resumes = 0;
    for (; rc == WEIR_AGAIN; resumes++) {
        ck_assert(conn_kit_step(&f->kit));
        rc = weir_sink_op.resume(f->op, &err);
    }
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
    ck_assert_int_eq(weir_sink_op.resume(f->op, &err), WEIR_OK); /* nothing is left to do */
    return resumes;
}

static void process_row(struct fixture *f, int64_t n)
{
    struct weir_batch_builder builder;
    struct weir_error err;
    weir_batch_builder_init(&builder, f->kit.schema, 1, f->kit.mem);
    ((int64_t *)(void *)builder.cols[0].values)[0] = n;
    builder.nrows = 1;
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    weir_batch_builder_fini(&builder);
    (void)resume(f, weir_sink_op.process(f->op, 0, batch, &err));
    weir_batch_unref(batch);
}

static void count_name(void *ctx, const char *name, bool is_dir)
{
    (void)is_dir;
    ((uint32_t *)ctx)[name[0] == '.']++;
}

static void check_files(struct fixture *f, uint32_t published, uint32_t hidden)
{
    uint32_t counts[2] = {0, 0};
    struct weir_error err;
    ck_assert_int_eq(weir_fs_list(f->kit.fs, f->kit.dir, count_name, counts, &err), WEIR_OK);
    ck_assert_uint_eq(counts[0], published);
    ck_assert_uint_eq(counts[1], hidden);
}

START_TEST(rows_before_the_end_wait_for_the_last_checkpoint)
{
    struct fixture f;
    struct weir_error err;
    struct weir_buf state = {0};
    init(&f, "filesystem", 1000);
    process_row(&f, 1);
    ck_assert_int_eq(weir_sink_op.end_input(f.op, &err), WEIR_OK);
    while (conn_kit_step(&f.kit)) {
    }
    check_files(&f, 0, 0);
    ck_assert_uint_gt(resume(&f, weir_sink_op.snapshot(f.op, 7, &state, &err)), 0);
    ck_assert_uint_gt(state.len, 0);
    check_files(&f, 0, 1);
    if (_i == 0) {
        ck_assert_uint_gt(resume(&f, weir_sink_op.notify(f.op, 7, &err)), 0);
        check_files(&f, 1, 0);
    }
    close_op(&f);
    open_op(&f, 2);
    enum weir_rc rc = weir_sink_op.restore(f.op, 7, weir_buf_slice(&state), &err);
    weir_buf_fini(&state); /* the operator has what it needs */
    ck_assert_uint_gt(resume(&f, rc), 0);
    check_files(&f, 1, 0);
    ck_assert_uint_eq(resume(&f, weir_sink_op.notify(f.op, 7, &err)), 0);
    close_op(&f);
    conn_kit_fini(&f.kit);
}
END_TEST

START_TEST(without_checkpoints_the_end_commits)
{
    struct fixture f;
    struct weir_error err;
    init(&f, "filesystem", 0);
    process_row(&f, 1);
    ck_assert_uint_gt(resume(&f, weir_sink_op.end_input(f.op, &err)), 0);
    check_files(&f, 1, 0);
    close_op(&f);
    conn_kit_fini(&f.kit);
}
END_TEST

START_TEST(sinks_without_state)
{
    static const char *const connectors[] = {"blackhole", "print"};
    struct fixture f;
    struct weir_error err;
    struct weir_buf state = {0};
    init(&f, connectors[_i], 1000);
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/stdout", f.kit.dir);
    ck_assert_ptr_nonnull(freopen(path, "w", stdout)); /* a test is a process of its own */
    ck_assert_int_eq(weir_sink_op.restore(f.op, 1, weir_slice("", 0), &err), WEIR_OK);
    ck_assert_int_eq(weir_sink_op.restore(f.op, 1, weir_slice("x", 1), &err), WEIR_CORRUPT);
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, f.kit.schema, 1, f.kit.mem);
    ((int64_t *)(void *)builder.cols[0].values)[0] = 5;
    builder.nrows = 1;
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    weir_batch_builder_fini(&builder);
    ck_assert_int_eq(weir_sink_op.process(f.op, 0, batch, &err), WEIR_OK);
    weir_batch_unref(batch);
    uint32_t resumes = resume(&f, weir_sink_op.snapshot(f.op, 2, &state, &err));
    ck_assert_uint_eq(resumes, (uint32_t)_i); /* print writes out what is before the barrier */
    struct weir_fs_stat stat;
    ck_assert_int_eq(weir_fs_stat(f.kit.fs, path, &stat, &err), WEIR_OK);
    ck_assert_uint_eq(stat.bytes, _i == 0 ? 0 : strlen("+I[5]\n"));
    ck_assert_uint_eq(state.len, 0);
    ck_assert_int_eq(weir_sink_op.notify(f.op, 2, &err), WEIR_OK);
    ck_assert_int_eq(weir_sink_op.end_input(f.op, &err), WEIR_OK);
    close_op(&f);
    conn_kit_fini(&f.kit);
}
END_TEST

/* Whatever the operator was told to do waits until the fence is open. */
START_TEST(nothing_reaches_the_connector_while_the_fence_is_closed)
{
    struct fixture f;
    struct weir_error err;
    struct weir_buf state = {0};
    init(&f, "filesystem", 1000);
    struct weir_fence *fence = weir_fence_create(&f.kit.clock.clock, WEIR_FENCE_NEVER);
    f.ctx.conn.fence = fence;
    process_row(&f, 1);
    while (conn_kit_step(&f.kit)) {
    }
    weir_fence_set(fence, weir_clock_boot_ns(&f.kit.clock.clock));
    ck_assert_int_eq(weir_sink_op.snapshot(f.op, 7, &state, &err), WEIR_AGAIN);
    ck_assert_int_eq(weir_sink_op.resume(f.op, &err), WEIR_AGAIN);
    ck_assert(!conn_kit_step(&f.kit));
    check_files(&f, 0, 0);
    weir_fence_set(fence, WEIR_FENCE_NEVER);
    ck_assert_uint_gt(resume(&f, weir_sink_op.resume(f.op, &err)), 0);
    check_files(&f, 0, 1);
    weir_fence_set(fence, 0);
    ck_assert_int_eq(weir_sink_op.notify(f.op, 7, &err), WEIR_AGAIN);
    ck_assert(!conn_kit_step(&f.kit));
    weir_fence_set(fence, WEIR_FENCE_NEVER);
    ck_assert_uint_gt(resume(&f, weir_sink_op.resume(f.op, &err)), 0);
    check_files(&f, 1, 0);
    weir_buf_fini(&state);
    close_op(&f);
    weir_fence_unref(fence);
    conn_kit_fini(&f.kit);
}
END_TEST

/* The log of an exactly-once Kafka sink finds no room: the barrier passes, the checkpoint does not, and the rows are in the next one. No broker is needed. */
START_TEST(a_checkpoint_without_room_is_refused_and_nothing_fails)
{
    static const char *const options[] = {"topic", "t", "properties.bootstrap.servers", "127.0.0.1:1", "sink.delivery-guarantee", "exactly-once",
                                          "sink.transactional-id-prefix", "p", NULL};
    struct fixture f;
    struct weir_error err;
    struct weir_buf state = {0};
    bool any = false;
    int64_t wait_ms = -1;
    conn_kit_init(&f.kit, "kafka", columns, options);
    f.kit.deferred = true;
    f.kit.settings.checkpoint_interval_ms = 1000;
    f.kit.ctx.fs = weir_fs_sim_create();
    f.kit.ctx.checkpoints_dir = "/c";
    f.kit.ctx.uid = "write";
    ck_assert_int_eq(weir_fs_mkdirs(f.kit.ctx.fs, "/c/0123456789abcdef0123456789abcdef/chk-2", &err), WEIR_OK);
    open_op(&f, 1);
    process_row(&f, 1);
    weir_fs_sim_room(f.kit.ctx.fs, 0);
    enum weir_rc rc = weir_sink_op.snapshot(f.op, 1, &state, &err);
    ck_assert_int_eq(rc, WEIR_AGAIN);
    ck_assert_int_eq(weir_sink_op.background(f.op, &state, &any, &err), WEIR_AGAIN);
    ck_assert(!weir_sink_op.stalled(f.op, &wait_ms, &err)); /* it will be woken */
    ck_assert_uint_gt(resume(&f, rc), 0);
    ck_assert_int_eq(weir_sink_op.background(f.op, &state, &any, &err), WEIR_RESOURCE);
    ck_assert_ptr_nonnull(strstr(err.text, "no space left"));
    ck_assert_uint_eq(state.len, 0);
    process_row(&f, 2); /* there is room in memory */
    ck_assert(!weir_sink_op.stalled(f.op, &wait_ms, &err));
    weir_fs_sim_room(f.kit.ctx.fs, UINT64_MAX);
    ck_assert_uint_gt(resume(&f, weir_sink_op.snapshot(f.op, 2, &state, &err)), 0);
    ck_assert_int_eq(weir_sink_op.background(f.op, &state, &any, &err), WEIR_OK);
    ck_assert_uint_gt(state.len, 0);
    weir_buf_fini(&state);
    close_op(&f);
    while (weir_thread_detached() > 0) { /* the drain, which looks for its broker */
        (void)sched_yield();
    }
    weir_fs_sim_destroy(f.kit.ctx.fs);
    conn_kit_fini(&f.kit);
}
END_TEST

Suite *sink_suite(void);
Suite *sink_suite(void)
{
    Suite *suite = suite_create("sink");
    TCase *tc = tcase_create("all");
    tcase_add_loop_test(tc, rows_before_the_end_wait_for_the_last_checkpoint, 0, 2);
    tcase_add_test(tc, without_checkpoints_the_end_commits);
    tcase_add_loop_test(tc, sinks_without_state, 0, 2);
    tcase_add_test(tc, nothing_reaches_the_connector_while_the_fence_is_closed);
    tcase_add_test(tc, a_checkpoint_without_room_is_refused_and_nothing_fails);
    suite_add_tcase(suite, tc);
    return suite;
}
