/*
 * What the connectors' tests share: an executor whose work is done when the test says so, a table, a context, a temporary directory.
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_CONN_TEST_KIT_H
#define WEIR_TASKMANAGER_CONNECTORS_CONN_TEST_KIT_H

#include "common/fs/fs_local.h"
#include "taskmanager/connectors/connector.h"
#include "tests/lib/temp_dir.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

enum { KIT_WORKS_MAX = 8, KIT_OPTIONS_MAX = 32 };

struct conn_kit {
    struct weir_executor executor; /* first member */
    bool deferred;                 /* work waits for conn_kit_step */
    struct weir_work *works[KIT_WORKS_MAX];
    uint32_t nworks;
    uint32_t wakes;
    char dir[WEIR_TEMP_DIR_MAX];
    struct weir_fs *fs;
    struct weir_clock_virtual clock;
    struct weir_mem *mem;
    uint64_t errors_skipped;
    struct weir_schema *schema;
    struct weir_option options[KIT_OPTIONS_MAX];
    struct weir_table_spec table;
    struct weir_job_settings settings;
    struct weir_conn_ctx ctx;
};

/* Does the oldest waiting work; false when there is none. */
static inline bool conn_kit_step(struct conn_kit *kit)
{
    if (kit->nworks == 0) {
        return false;
    }
    struct weir_work *work = kit->works[0];
    kit->nworks--;
    memmove(kit->works, kit->works + 1, kit->nworks * sizeof(kit->works[0]));
    work->run(work);
    work->in_flight = false;
    work->done(work);
    return true;
}

static inline void conn_kit_submit(struct weir_executor *executor, struct weir_work *work)
{
    struct conn_kit *kit = (struct conn_kit *)executor;
    ck_assert_uint_lt(kit->nworks, KIT_WORKS_MAX);
    kit->works[kit->nworks++] = work;
    if (!kit->deferred) {
        (void)conn_kit_step(kit);
    }
}

static inline void conn_kit_wake(void *ctx)
{
    ((struct conn_kit *)ctx)->wakes++;
}

/* columns: name, type, ..., NULL. options: key, value, ..., NULL; they outlive the kit. */
static inline void conn_kit_init(struct conn_kit *kit, const char *connector, const char *const *columns, const char *const *options)
{
    *kit = (struct conn_kit){.executor = {.submit = conn_kit_submit}};
    struct weir_field fields[32];
    struct weir_error err;
    uint32_t count = 0;
    for (; columns[2 * count] != NULL; count++) {
        fields[count].name = columns[2 * count];
        ck_assert_int_eq(weir_type_parse(weir_slice_str(columns[2 * count + 1]), &fields[count].type, &err), WEIR_OK);
    }
    ck_assert_int_eq(weir_schema_create(fields, count, WEIR_NO_COLUMN, &kit->schema, &err), WEIR_OK);
    weir_temp_dir(kit->dir, "conn");
    kit->fs = weir_fs_local_create();
    kit->mem = weir_mem_create("test", 0, NULL);
    weir_clock_virtual_init(&kit->clock, 5000000000, 1700000000000);
    kit->table = (struct weir_table_spec){.name = "t", .schema = kit->schema, .connector = connector, .format = "json", .options = kit->options};
    kit->options[0] = (struct weir_option){.key = "path", .value = kit->dir};
    kit->table.noptions = 1;
    for (; options != NULL && *options != NULL; options += 2) {
        kit->options[kit->table.noptions++] = (struct weir_option){.key = options[0], .value = options[1]};
    }
    kit->settings = (struct weir_job_settings){.parallelism = 1, .max_parallelism = 128, .record_bytes_max = 1 << 20};
    kit->ctx = (struct weir_conn_ctx){.table = &kit->table, .settings = &kit->settings, .job_id = "0123456789abcdef0123456789abcdef",
                                      .uid = "write", .attempt = 1, .parallelism = 1, .mem = kit->mem, .executor = &kit->executor, .fs = kit->fs,
                                      .clock = &kit->clock.clock, .errors_skipped = &kit->errors_skipped, .wake = conn_kit_wake, .wake_ctx = kit};
}

static inline void conn_kit_remove(void *ctx, const char *name, bool is_dir)
{
    struct conn_kit *kit = ctx;
    char path[512];
    ck_assert(!is_dir);
    (void)snprintf(path, sizeof(path), "%s/%s", kit->dir, name);
    (void)remove(path);
}

static inline void conn_kit_fini(struct conn_kit *kit)
{
    struct weir_error err;
    ck_assert_uint_eq(kit->nworks, 0);
    ck_assert_int_eq(weir_fs_list(kit->fs, kit->dir, conn_kit_remove, kit, &err), WEIR_OK);
    ck_assert_int_eq(weir_fs_rmdir(kit->fs, kit->dir, &err), WEIR_OK);
    weir_fs_local_destroy(kit->fs);
    weir_mem_destroy(kit->mem); /* asserts that nothing is charged any more */
    weir_schema_unref(kit->schema);
}

static inline void conn_kit_write(struct conn_kit *kit, const char *name, struct weir_slice bytes)
{
    struct weir_error err;
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/%s", kit->dir, name);
    ck_assert_int_eq(weir_fs_write_atomic(kit->fs, path, bytes, &err), WEIR_OK);
}

#endif
