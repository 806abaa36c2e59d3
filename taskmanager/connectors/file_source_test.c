#include "taskmanager/connectors/conn_test_kit.h"

#include "common/base/rand.h"

static const char *const columns[] = {"n", "BIGINT", "s", "STRING", NULL};

/* How often each line number was read. */
struct tally {
    uint32_t seen[20000];
    uint32_t rows;
};

static void tally_batch(struct tally *tally, const struct weir_source_poll *poll)
{
    uint32_t rows = 0;
    for (uint32_t i = 0; i < poll->nruns; i++) {
        rows += poll->runs[i].rows;
    }
    ck_assert_uint_eq(rows, poll->batch->nrows);
    for (uint32_t i = 0; i < poll->batch->nrows; i++) {
        int64_t n = WEIR_COLUMN_VALUES(&poll->batch->cols[0], int64_t)[i];
        ck_assert(n >= 0 && n < 20000);
        tally->seen[n]++;
        tally->rows++;
    }
    weir_batch_unref(poll->batch);
}

/* Polls until END or an error, doing deferred work as it comes up. */
static enum weir_rc drain(struct conn_kit *kit, struct weir_source *source, struct tally *tally, struct weir_error *err)
{
    struct weir_source_poll poll;
    for (;;) {
        enum weir_rc rc = source->vtable->poll(source, &poll, err);
        if (rc == WEIR_OK) {
            tally_batch(tally, &poll);
        } else if (rc == WEIR_AGAIN) {
            ck_assert(conn_kit_step(kit)); /* it waits for nothing else */
        } else {
            while (conn_kit_step(kit)) {
            }
            return rc;
        }
    }
}

static void add_range(struct weir_source *source, const char *path, uint64_t start, uint64_t end, struct weir_slice position)
{
    struct weir_buf data = {0};
    struct weir_error err;
    uint32_t number;
    weir_buf_put_u64(&data, start);
    weir_buf_put_u64(&data, end);
    weir_buf_put_str(&data, path);
    struct weir_split split = {.id = weir_slice_str("x"), .data = weir_buf_slice(&data)};
    ck_assert_msg(source->vtable->add_split(source, split, position, &number, &err) == WEIR_OK, "%s", err.text);
    weir_buf_fini(&data);
}

static void make_lines(struct weir_buf *out, uint32_t lines, uint32_t pad_max, bool last_newline)
{
    struct weir_rand rand;
    weir_rand_init(&rand, lines);
    for (uint32_t i = 0; i < lines; i++) {
        weir_buf_put_fmt(out, "{\"n\":%u,\"s\":\"", i);
        for (uint64_t pad = weir_rand_below(&rand, pad_max + 1); pad > 0; pad--) {
            weir_buf_put_u8(out, 'x');
        }
        weir_buf_put_str(out, i + 1 < lines || last_newline ? "\"}\n" : "\"}");
    }
}

static struct weir_source *create(struct conn_kit *kit)
{
    struct weir_source *source;
    struct weir_error err;
    ck_assert_msg(weir_conn_source("filesystem")->create(&kit->ctx, &source, &err) == WEIR_OK, "%s", err.text);
    return source;
}

static void check_exactly_once(const struct tally *tally, uint32_t lines)
{
    ck_assert_uint_eq(tally->rows, lines);
    for (uint32_t i = 0; i < lines; i++) {
        ck_assert_uint_eq(tally->seen[i], 1);
    }
}

START_TEST(every_division_gives_each_line_once)
{
    struct conn_kit kit;
    struct weir_buf text = {0};
    struct weir_error err;
    char path[128];
    conn_kit_init(&kit, "filesystem", columns, NULL);
    kit.deferred = true;
    make_lines(&text, 6, 5, _i == 1);
    conn_kit_write(&kit, "f", weir_buf_slice(&text));
    (void)snprintf(path, sizeof(path), "%s/f", kit.dir);
    for (uint64_t a = 1; a < text.len; a++) {
        for (uint64_t b = a + 1; b <= text.len; b += 3) {
            struct tally tally = {.rows = 0};
            struct weir_source *source = create(&kit);
            add_range(source, path, b, UINT64_MAX, weir_slice(NULL, 0));
            add_range(source, path, 0, a, weir_slice(NULL, 0));
            add_range(source, path, a, b, weir_slice(NULL, 0));
            ck_assert_int_eq(drain(&kit, source, &tally, &err), WEIR_END);
            check_exactly_once(&tally, 6);
            source->vtable->destroy(source);
        }
    }
    weir_buf_fini(&text);
    conn_kit_fini(&kit);
}
END_TEST

START_TEST(large_files_and_long_lines_cross_chunks)
{
    struct conn_kit kit;
    struct weir_buf text = {0};
    struct weir_error err;
    char path[128];
    conn_kit_init(&kit, "filesystem", columns, NULL);
    kit.deferred = _i == 1;
    make_lines(&text, 20000, 300, false); /* 3 MB: several chunks */
    conn_kit_write(&kit, "f", weir_buf_slice(&text));
    (void)snprintf(path, sizeof(path), "%s/f", kit.dir);
    for (uint64_t range = 700001; range < 2 * text.len; range *= 3) {
        struct tally *tally = weir_calloc(1, sizeof(*tally));
        struct weir_source *source = create(&kit);
        for (uint64_t start = 0; start < text.len; start += range) {
            add_range(source, path, start, start + range >= text.len ? UINT64_MAX : start + range, weir_slice(NULL, 0));
        }
        ck_assert_int_eq(drain(&kit, source, tally, &err), WEIR_END);
        check_exactly_once(tally, 20000);
        source->vtable->destroy(source);
        weir_free(tally);
    }
    weir_buf_clear(&text);
    make_lines(&text, 5, 900000, true);
    conn_kit_write(&kit, "f", weir_buf_slice(&text));
    struct tally tally = {.rows = 0};
    struct weir_source *source = create(&kit);
    add_range(source, path, 0, UINT64_MAX, weir_slice(NULL, 0));
    ck_assert_int_eq(drain(&kit, source, &tally, &err), WEIR_END);
    check_exactly_once(&tally, 5);
    source->vtable->destroy(source);
    weir_buf_fini(&text);
    conn_kit_fini(&kit);
}
END_TEST

START_TEST(positions_restore_behind_the_last_row)
{
    struct conn_kit kit;
    struct weir_buf text = {0};
    struct weir_buf position = {0};
    struct weir_error err;
    char path[128];
    conn_kit_init(&kit, "filesystem", columns, NULL);
    make_lines(&text, 20000, 100, false);
    conn_kit_write(&kit, "f", weir_buf_slice(&text));
    (void)snprintf(path, sizeof(path), "%s/f", kit.dir);
    struct tally *tally = weir_calloc(1, sizeof(*tally));
    uint64_t cut = 400000;
    for (int range = 0; range < 2; range++) {
        uint32_t lives = 0;
        weir_buf_clear(&position);
        for (bool more = true; more; lives++) { /* each life hands out one batch */
            struct weir_source *source = create(&kit);
            struct weir_source_poll poll;
            add_range(source, path, range == 0 ? 0 : cut, range == 0 ? cut : UINT64_MAX, weir_buf_slice(&position));
            weir_buf_clear(&position);
            source->vtable->split_position(source, 0, &position); /* one that was not polled restores too */
            ck_assert_uint_gt(position.len, 0);
            enum weir_rc rc = source->vtable->poll(source, &poll, &err);
            ck_assert(rc == WEIR_OK || rc == WEIR_END);
            more = rc == WEIR_OK;
            if (more) {
                tally_batch(tally, &poll);
                weir_buf_clear(&position);
                source->vtable->split_position(source, 0, &position);
            } else {
                ck_assert(source->vtable->split_finished(source, 0));
            }
            source->vtable->destroy(source);
        }
        ck_assert_uint_ge(lives, 2);
    }
    check_exactly_once(tally, 20000);
    weir_free(tally);
    weir_buf_fini(&position);
    weir_buf_fini(&text);
    conn_kit_fini(&kit);
}
END_TEST

static void count_split(void *ctx, struct weir_split split)
{
    struct weir_buf *ids = ctx;
    weir_buf_put_slice(ids, split.id);
    weir_buf_put_u8(ids, ';');
}

START_TEST(enumeration_is_sorted_and_leaves_out_hidden_files)
{
    struct conn_kit kit;
    struct weir_error err;
    struct weir_buf ids = {0};
    char wanted[512];
    conn_kit_init(&kit, "filesystem", columns, NULL);
    static const char *const names[] = {"b.json", "a.json", ".hidden", "_metadata", "c.inprogress", "part-1"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        conn_kit_write(&kit, names[i], weir_slice_str("{\"n\":1}\n"));
    }
    conn_kit_write(&kit, "empty", weir_slice(NULL, 0));
    const struct weir_source_vtable *vtable = weir_conn_source("filesystem");
    ck_assert_int_eq(vtable->enumerate(&kit.table, 2, kit.fs, count_split, &ids, &err), WEIR_OK);
    (void)snprintf(wanted, sizeof(wanted), "%s/a.json@0;%s/b.json@0;%s/part-1@0;", kit.dir, kit.dir, kit.dir);
    ck_assert(weir_slice_eq_str(weir_buf_slice(&ids), wanted));
    kit.options[0].value = "/nonexistent/weir";
    ck_assert_int_eq(vtable->enumerate(&kit.table, 2, kit.fs, count_split, &ids, &err), WEIR_NOT_FOUND);
    weir_buf_fini(&ids);
    conn_kit_fini(&kit);
}
END_TEST

START_TEST(bad_lines_fail_or_are_skipped)
{
    struct conn_kit kit;
    struct weir_error err;
    struct weir_buf text = {0};
    char path[128];
    char wanted[256];
    conn_kit_init(&kit, "filesystem", columns, NULL);
    kit.settings.record_bytes_max = 1024;
    (void)snprintf(path, sizeof(path), "%s/f", kit.dir);
    for (uint32_t i = 0; i < 300; i++) { /* line 18 is bad, line 200 too long, and in one run across a chunk's end */
        if (i == 17) {
            weir_buf_put_str(&text, "{\"n\":\"seven\tteen\"}\n");
        } else if (i == 199) {
            size_t len = _i == 0 ? 2000 : 700000;
            memset(weir_buf_reserve(&text, len), 'y', len);
            text.len += len;
            weir_buf_put_u8(&text, '\n');
        } else {
            weir_buf_put_fmt(&text, "{\"n\":%u}\n", i);
        }
    }
    conn_kit_write(&kit, "f", weir_buf_slice(&text));
    struct tally tally = {.rows = 0};
    struct weir_source *source = create(&kit);
    add_range(source, path, 0, UINT64_MAX, weir_slice(NULL, 0));
    ck_assert_int_eq(drain(&kit, source, &tally, &err), WEIR_DATA);
    (void)snprintf(wanted, sizeof(wanted), "%s: line 18: bad record: column 12: ", path);
    ck_assert_msg(strncmp(err.text, wanted, strlen(wanted)) == 0, "%s", err.text);
    ck_assert_ptr_nonnull(strstr(err.text, "{\"n\":\"seven\\x09teen\"}"));
    source->vtable->destroy(source);

    kit.table.on_error = WEIR_ON_ERROR_SKIP;
    memset(&tally, 0, sizeof(tally));
    source = create(&kit);
    add_range(source, path, 0, UINT64_MAX, weir_slice(NULL, 0));
    ck_assert_msg(drain(&kit, source, &tally, &err) == WEIR_END, "%s", err.text);
    ck_assert_uint_eq(tally.rows, 298);
    ck_assert_uint_eq(kit.errors_skipped, 2);
    source->vtable->destroy(source);

    const struct weir_field position = {"position", {.id = WEIR_TYPE_VARCHAR}};
    struct weir_schema *schema = NULL;
    ck_assert_int_eq(weir_schema_create(&position, 1, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    struct weir_table_spec rejected = {.name = "rejected", .schema = schema};
    kit.table.on_error = WEIR_ON_ERROR_TABLE;
    kit.table.error_table = &rejected;
    ck_assert_int_eq(weir_bad_records_create(&kit.table, kit.mem, &kit.ctx.bad_records, &err), WEIR_OK);
    memset(&tally, 0, sizeof(tally));
    source = create(&kit);
    add_range(source, path, 0, UINT64_MAX, weir_slice(NULL, 0));
    ck_assert_msg(drain(&kit, source, &tally, &err) == WEIR_END, "%s", err.text);
    ck_assert_uint_eq(tally.rows, 298);
    source->vtable->destroy(source);
    struct weir_batch *bad = weir_bad_records_take(kit.ctx.bad_records);
    ck_assert_uint_eq(weir_batch_rows(bad), 2);
    (void)snprintf(wanted, sizeof(wanted), "%s: line 200", path);
    ck_assert(weir_slice_eq_str(weir_column_slice(&bad->cols[0], 1), wanted));
    weir_batch_unref(bad);
    weir_bad_records_destroy(kit.ctx.bad_records);
    weir_schema_unref(schema);
    weir_buf_fini(&text);
    conn_kit_fini(&kit);
}
END_TEST

START_TEST(a_vanished_file_is_an_error)
{
    struct conn_kit kit;
    struct weir_error err;
    struct tally tally = {.rows = 0};
    conn_kit_init(&kit, "filesystem", columns, NULL);
    struct weir_source *source = create(&kit);
    add_range(source, "/nonexistent/f", 0, UINT64_MAX, weir_slice(NULL, 0));
    ck_assert_int_eq(drain(&kit, source, &tally, &err), WEIR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/f"));
    source->vtable->destroy(source);
    conn_kit_fini(&kit);
}
END_TEST

Suite *file_source_suite(void);
Suite *file_source_suite(void)
{
    Suite *suite = suite_create("file_source");
    TCase *tc = tcase_create("all");
    tcase_add_loop_test(tc, every_division_gives_each_line_once, 0, 2);
    tcase_add_loop_test(tc, large_files_and_long_lines_cross_chunks, 0, 2);
    tcase_add_test(tc, positions_restore_behind_the_last_row);
    tcase_add_test(tc, enumeration_is_sorted_and_leaves_out_hidden_files);
    tcase_add_loop_test(tc, bad_lines_fail_or_are_skipped, 0, 2);
    tcase_add_test(tc, a_vanished_file_is_an_error);
    suite_add_tcase(suite, tc);
    return suite;
}
