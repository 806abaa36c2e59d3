#include "taskmanager/connectors/conn_test_kit.h"

#include "common/base/rand.h"
#include "common/data/value.h"

static const char *const columns[] = {"n", "BIGINT", "s", "STRING", NULL};

/* A batch of `rows` rows numbered from *next on, each some `pad` bytes long. */
static struct weir_batch *make_batch(struct conn_kit *kit, uint32_t *next, uint32_t rows, uint32_t pad)
{
    struct weir_batch_builder builder;
    char text[1024];
    memset(text, 'x', sizeof(text));
    weir_batch_builder_init(&builder, kit->schema, rows, kit->mem);
    for (uint32_t i = 0; i < rows; i++, builder.nrows++) {
        ((int64_t *)(void *)builder.cols[0].values)[i] = (*next)++;
        weir_column_builder_put_str(&builder.cols[1], i, weir_slice(text, pad));
    }
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    weir_batch_builder_fini(&builder);
    return batch;
}

static struct weir_sink *create(struct conn_kit *kit)
{
    struct weir_sink *sink;
    struct weir_error err;
    ck_assert_msg(weir_conn_sink(kit->table.connector)->create(&kit->ctx, &sink, &err) == WEIR_OK, "%s", err.text);
    return sink;
}

/* Offers the batch until it is taken, doing one piece of deferred work each time it is not. Returns how often it was not. */
static uint32_t write_all(struct conn_kit *kit, struct weir_sink *sink, struct weir_batch *batch)
{
    struct weir_error err;
    enum weir_rc rc;
    uint32_t stalls = 0;
    while ((rc = sink->vtable->write(sink, batch, &err)) == WEIR_AGAIN) {
        uint32_t wakes = kit->wakes;
        ck_assert(conn_kit_step(kit));
        ck_assert_uint_gt(kit->wakes, wakes);
        stalls++;
    }
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
    weir_batch_unref(batch);
    return stalls;
}

static enum weir_rc finish_all(struct conn_kit *kit, struct weir_sink *sink, struct weir_error *err)
{
    enum weir_rc rc;
    while ((rc = sink->vtable->finish(sink, err)) == WEIR_AGAIN) {
        ck_assert(conn_kit_step(kit));
    }
    return rc;
}

struct names {
    char text[64][64];
    uint32_t count;
};

static void names_add(void *ctx, const char *name, bool is_dir)
{
    struct names *names = ctx;
    ck_assert(!is_dir);
    ck_assert_uint_lt(names->count, 64);
    (void)snprintf(names->text[names->count++], 64, "%s", name);
}

static struct names list(struct conn_kit *kit)
{
    struct names names = {.count = 0};
    struct weir_error err;
    ck_assert_int_eq(weir_fs_list(kit->fs, kit->dir, names_add, &names, &err), WEIR_OK);
    return names;
}

/* Marks each row of a part file. */
static void check_part(struct conn_kit *kit, const char *name, uint8_t *seen, uint32_t rows_max)
{
    struct weir_buf bytes = {0};
    struct weir_error err;
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", kit->dir, name);
    ck_assert_int_eq(weir_fs_read_all(kit->fs, path, 1 << 30, &bytes, &err), WEIR_OK);
    ck_assert_uint_eq(bytes.data[bytes.len - 1], '\n');
    weir_buf_put_u8(&bytes, 0);
    for (char *line = (char *)bytes.data; *line != '\0'; line = strchr(line, '\n') + 1) {
        unsigned n;
        ck_assert_int_eq(sscanf(line, "{\"n\":%u,\"s\":\"x", &n), 1);
        ck_assert_uint_lt(n, rows_max);
        seen[n]++;
    }
    weir_buf_fini(&bytes);
}

START_TEST(stalled_writes_resume_and_every_row_is_published_once)
{
    static const char *const options[] = {"sink.rolling-policy.file-size", "1 mb", NULL};
    struct conn_kit kit;
    struct weir_error err;
    conn_kit_init(&kit, "filesystem", columns, options);
    kit.deferred = _i == 1;
    kit.ctx.subtask = 3;
    kit.ctx.parallelism = 4;
    struct weir_sink *sink = create(&kit);
    uint32_t next = 0;
    uint32_t stalls = 0;
    for (int i = 0; i < 40; i++) {
        stalls += write_all(&kit, sink, make_batch(&kit, &next, 1000, 100));
    }
    ck_assert(_i == 0 ? stalls == 0 : stalls > 5);
    ck_assert_uint_lt(weir_mem_used(kit.mem), 4 * WEIR_BATCH_BYTES_MAX);
    ck_assert_int_eq(finish_all(&kit, sink, &err), WEIR_OK);
    ck_assert_int_eq(finish_all(&kit, sink, &err), WEIR_OK); /* for good */
    sink->vtable->destroy(sink);
    struct names names = list(&kit);
    uint8_t *seen = weir_calloc(next, 1);
    ck_assert_uint_ge(names.count, 4);
    ck_assert_uint_le(names.count, 6);
    for (uint32_t i = 0; i < names.count; i++) {
        char wanted[64];
        (void)snprintf(wanted, sizeof(wanted), "part-01234567-308c53da-3-%u", i);
        ck_assert_str_eq(names.text[i], wanted);
        check_part(&kit, names.text[i], seen, next);
    }
    for (uint32_t i = 0; i < next; i++) {
        ck_assert_uint_eq(seen[i], 1);
    }
    weir_free(seen);
    conn_kit_fini(&kit);
}
END_TEST

static void run_job(struct conn_kit *kit, uint32_t attempt, uint32_t first)
{
    struct weir_error err;
    uint32_t next = first;
    kit->ctx.attempt = attempt;
    struct weir_sink *sink = create(kit);
    (void)write_all(kit, sink, make_batch(kit, &next, 10, 5));
    ck_assert_msg(finish_all(kit, sink, &err) == WEIR_OK, "%s", err.text);
    sink->vtable->destroy(sink);
}

START_TEST(publishing_again_is_idempotent_and_never_overwrites)
{
    struct conn_kit kit;
    conn_kit_init(&kit, "filesystem", columns, NULL);
    run_job(&kit, 1, 0);
    struct names names = list(&kit);
    ck_assert_uint_eq(names.count, 1);
    ck_assert_str_eq(names.text[0], "part-01234567-308c53da-0-0");
    run_job(&kit, 2, 0); /* the same rows */
    ck_assert_uint_eq(list(&kit).count, 1);
    run_job(&kit, 3, 10); /* others */
    names = list(&kit);
    ck_assert_uint_eq(names.count, 2);
    ck_assert_str_eq(names.text[1], "part-01234567-308c53da-0-0-a3");
    uint8_t seen[20] = {0};
    check_part(&kit, names.text[0], seen, 20);
    check_part(&kit, names.text[1], seen, 20);
    for (uint32_t i = 0; i < 20; i++) {
        ck_assert_uint_eq(seen[i], 1);
    }
    conn_kit_fini(&kit);
}
END_TEST

START_TEST(leftovers_of_earlier_attempts_are_removed)
{
    static const char *const left[] = {".part-01234567-308c53da-1-0-0.inprogress", ".part-01234567-308c53da-2-4-7.inprogress"};
    static const char *const kept[] = {".part-01234567-308c53da-1-1-0.inprogress",   /* another subtask's */
                                       ".part-01234567-308c53da-3-0-9.inprogress",   /* this attempt's */
                                       ".part-01234567-308c53da-9-0-0.inprogress",   /* a later one's */
                                       ".part-76543210-308c53da-1-0-0.inprogress",   /* another job's */
                                       ".part-01234567-308c53db-1-0-0.inprogress", /* another sink's */
                                       ".part-01234567-308c53da-1-0-0.inprogressx", ".part-01234567-308c53da-x-0-0.inprogress", "part-01234567-308c53da-0-0"};
    struct conn_kit kit;
    conn_kit_init(&kit, "filesystem", columns, NULL);
    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        conn_kit_write(&kit, left[i], weir_slice_str("x"));
    }
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        conn_kit_write(&kit, kept[i], weir_slice_str("x"));
    }
    kit.ctx.attempt = 3;
    kit.ctx.parallelism = 2;
    struct weir_sink *sink = create(&kit);
    struct weir_error err;
    ck_assert_int_eq(finish_all(&kit, sink, &err), WEIR_OK);
    sink->vtable->destroy(sink);
    struct names names = list(&kit);
    ck_assert_uint_eq(names.count, sizeof(kept) / sizeof(kept[0]));
    for (uint32_t i = 0; i < names.count; i++) {
        ck_assert_str_ne(names.text[i], left[0]);
        ck_assert_str_ne(names.text[i], left[1]);
    }
    conn_kit_fini(&kit);
}
END_TEST

START_TEST(without_rows_there_is_no_part_and_parts_roll_by_time)
{
    static const char *const options[] = {"sink.rolling-policy.rollover-interval", "10 s", NULL};
    struct conn_kit kit;
    struct weir_error err;
    conn_kit_init(&kit, "filesystem", columns, options);
    struct weir_sink *sink = create(&kit);
    ck_assert_int_eq(finish_all(&kit, sink, &err), WEIR_OK);
    sink->vtable->destroy(sink);
    ck_assert_uint_eq(list(&kit).count, 0);

    sink = create(&kit);
    uint32_t next = 0;
    for (int i = 0; i < 4; i++) { /* 300 KB each: one buffer; the second and fourth end a part */
        (void)write_all(&kit, sink, make_batch(&kit, &next, 1000, 300));
        weir_clock_virtual_advance(&kit.clock, 11000000000);
    }
    ck_assert_int_eq(finish_all(&kit, sink, &err), WEIR_OK);
    sink->vtable->destroy(sink);
    ck_assert_uint_eq(list(&kit).count, 2);
    conn_kit_fini(&kit);
}
END_TEST

START_TEST(a_failing_disk_fails_the_sink)
{
    struct conn_kit kit;
    struct weir_error err;
    conn_kit_init(&kit, "filesystem", columns, NULL);
    conn_kit_write(&kit, "file", weir_slice_str("x"));
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/file/sub", kit.dir);
    kit.options[0].value = path;
    struct weir_sink *sink = create(&kit);
    ck_assert_int_ne(finish_all(&kit, sink, &err), WEIR_OK);
    ck_assert_ptr_nonnull(strstr(err.text, kit.dir));
    sink->vtable->destroy(sink);
    conn_kit_fini(&kit);
}
END_TEST

START_TEST(print_writes_flinks_lines)
{
    static const char *const options[] = {"print-identifier", "out", NULL};
    struct conn_kit kit;
    struct weir_error err;
    conn_kit_init(&kit, "print", columns, options);
    kit.deferred = true;
    kit.ctx.parallelism = _i == 0 ? 1 : 2;
    kit.ctx.subtask = (uint32_t)_i;
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/stdout", kit.dir);
    ck_assert_ptr_nonnull(freopen(path, "w", stdout)); /* a test is a process of its own */
    struct weir_sink *sink = create(&kit);
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, kit.schema, 2, NULL);
    ((int64_t *)(void *)builder.cols[0].values)[0] = 7;
    weir_column_builder_put_str(&builder.cols[1], 0, weir_slice_str("a b"));
    weir_column_builder_put_null(&builder.cols[0], 1);
    weir_column_builder_put_str(&builder.cols[1], 1, weir_slice_str(""));
    weir_batch_builder_set_kind(&builder, 1, WEIR_UPDATE_AFTER);
    builder.nrows = 2;
    (void)write_all(&kit, sink, weir_batch_builder_finish(&builder));
    weir_batch_builder_fini(&builder);
    ck_assert_int_eq(finish_all(&kit, sink, &err), WEIR_OK);
    sink->vtable->destroy(sink);
    struct weir_buf bytes = {0};
    ck_assert_int_eq(weir_fs_read_all(kit.fs, path, 1000, &bytes, &err), WEIR_OK);
    ck_assert_msg(weir_slice_eq_str(weir_buf_slice(&bytes), _i == 0 ? "out> +I[7, a b]\nout> +U[null, ]\n" : "out:2> +I[7, a b]\nout:2> +U[null, ]\n"),
                  "%.*s", WEIR_SLICE_ARG(weir_buf_slice(&bytes)));
    weir_buf_fini(&bytes);
    conn_kit_fini(&kit);
}
END_TEST

START_TEST(blackhole_takes_everything)
{
    struct conn_kit kit;
    struct weir_error err;
    uint32_t next = 0;
    conn_kit_init(&kit, "blackhole", columns, NULL);
    struct weir_sink *sink = create(&kit);
    ck_assert_uint_eq(write_all(&kit, sink, make_batch(&kit, &next, 1000, 300)), 0);
    ck_assert_int_eq(finish_all(&kit, sink, &err), WEIR_OK);
    sink->vtable->destroy(sink);
    conn_kit_fini(&kit);
}
END_TEST

Suite *file_sink_suite(void);
Suite *file_sink_suite(void)
{
    Suite *suite = suite_create("file_sink");
    TCase *tc = tcase_create("all");
    tcase_add_loop_test(tc, stalled_writes_resume_and_every_row_is_published_once, 0, 2);
    tcase_add_test(tc, publishing_again_is_idempotent_and_never_overwrites);
    tcase_add_test(tc, leftovers_of_earlier_attempts_are_removed);
    tcase_add_test(tc, without_rows_there_is_no_part_and_parts_roll_by_time);
    tcase_add_test(tc, a_failing_disk_fails_the_sink);
    tcase_add_loop_test(tc, print_writes_flinks_lines, 0, 2);
    tcase_add_test(tc, blackhole_takes_everything);
    suite_add_tcase(suite, tc);
    return suite;
}
