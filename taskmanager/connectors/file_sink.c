/*
 * The sink "filesystem": part files in a directory.
 *
 * S1  Rows go to `.part-<job>-<attempt>-<subtask>-<n>.inprogress` (job: the first 8 characters of its id); no attempt opens another's file.
 *     A part is closed (and fsynced) behind the buffer with which it reaches sink.rolling-policy.file-size or rollover-interval; parts are
 *     cut between rows.
 * S2  finish publishes: each part is linked to `part-<job>-<subtask>-<n>`, the temporary name is removed, and the directory is fsynced.
 *     Names hold no attempt, so publishing again is idempotent: when the name is there with the same bytes, an earlier try got so far (link
 *     is atomic: the file is whole). With other bytes, it is the output of an attempt that failed after it had published; that stays as it is
 *     and this part is named `part-<job>-<subtask>-<n>-a<attempt>`. So no attempt's published rows are ever lost or overwritten.
 * S3  When it starts, it removes what earlier attempts of the job left in progress: those whose subtask modulo the parallelism is its own, so
 *     that each is removed by one subtask. What is in progress when a job ends otherwise stays.
 * S4  All calls of the file system are made by `run` off-thread, one job at a time; write takes nothing while both buffers are in use.
 */
#include "taskmanager/connectors/conn_registry.h"

#include "common/base/config.h"
#include "common/catalog/connector_desc.h"
#include "taskmanager/connectors/out_buffer.h"
#include "taskmanager/formats/format.h"

#include <stdio.h>

enum { JOB_CHARS = 8, COMPARE_BYTES = 64 << 10 };

enum job { PREPARE, WRITE, PUBLISH };

struct file_sink {
    struct weir_sink base;
    struct weir_out_buffer out;
    const struct weir_format *format;
    struct weir_encoder *encoder;
    const char *dir;
    char job_id[JOB_CHARS + 1];
    uint64_t file_bytes_max;
    int64_t rollover_ms;

    /* The task's thread. */
    uint64_t part_bytes;
    int64_t part_opened_ms;
    bool part_open;
    bool published;

    /* Handed over with the job in flight. */
    enum job job;
    bool close_part; /* WRITE: the part ends behind this buffer */

    /* Off-thread only. */
    struct weir_fs_file *file;
    uint32_t part; /* the number of the part being written = parts closed */
};

static struct file_sink *sink_of(struct weir_work *work)
{
    return (struct file_sink *)((char *)work - offsetof(struct file_sink, out.work));
}

/* --- off-thread ------------------------------------------------------------------------------------------------------ */

static char *temp_path(const struct file_sink *sink, uint32_t part)
{
    return weir_strfmt("%s/.part-%s-%u-%u-%u.inprogress", sink->dir, sink->job_id, sink->out.ctx->attempt, sink->out.ctx->subtask, part);
}

struct leftovers {
    const struct file_sink *sink;
    char **paths;
    uint32_t count;
};

static void leftovers_add(void *ctx, const char *name, bool is_dir)
{
    struct leftovers *leftovers = ctx;
    const struct weir_conn_ctx *conn = leftovers->sink->out.ctx;
    char job[JOB_CHARS + 1];
    unsigned attempt, subtask, part;
    int used = 0;
    /* The names are ours; any other does not match to its end. */
    if (is_dir || sscanf(name, ".part-%8[^-/]-%u-%u-%u.inprogress%n", job, &attempt, &subtask, &part, &used) != 4 || used == 0 ||
        name[used] != '\0' || strcmp(job, leftovers->sink->job_id) != 0 || attempt >= conn->attempt ||
        subtask % conn->parallelism != conn->subtask) {
        return;
    }
    leftovers->paths = weir_realloc(leftovers->paths, (leftovers->count + 1) * sizeof(*leftovers->paths));
    leftovers->paths[leftovers->count++] = weir_strfmt("%s/%s", leftovers->sink->dir, name);
}

static enum weir_rc prepare(struct file_sink *sink, struct weir_error *err)
{
    struct weir_fs *fs = sink->out.ctx->fs;
    struct leftovers leftovers = {.sink = sink};
    enum weir_rc rc = weir_fs_mkdirs(fs, sink->dir, err);
    rc = rc != WEIR_OK ? rc : weir_fs_list(fs, sink->dir, leftovers_add, &leftovers, err);
    for (uint32_t i = 0; i < leftovers.count; i++) {
        if (rc == WEIR_OK) {
            rc = weir_fs_unlink(fs, leftovers.paths[i], err);
            rc = rc == WEIR_NOT_FOUND ? WEIR_OK : rc;
        }
        weir_free(leftovers.paths[i]);
    }
    weir_free(leftovers.paths);
    return rc;
}

static enum weir_rc write_part(struct file_sink *sink, struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    if (sink->file == NULL) {
        char *path = temp_path(sink, sink->part);
        rc = weir_fs_open(sink->out.ctx->fs, path, WEIR_FS_CREATE, &sink->file, err);
        weir_free(path);
    }
    if (rc == WEIR_OK && sink->out.writing.len > 0) {
        rc = weir_fs_append(sink->file, weir_buf_slice(&sink->out.writing), err);
    }
    if (rc == WEIR_OK && sink->close_part) {
        rc = weir_fs_fsync(sink->file, err);
        weir_fs_close(sink->file);
        sink->file = NULL;
        sink->part++;
    }
    return rc;
}

static enum weir_rc same_bytes(struct weir_fs *fs, const char *a, const char *b, bool *out_same, struct weir_error *err)
{
    struct weir_fs_file *files[2] = {NULL, NULL};
    uint8_t *bytes = weir_malloc(2 * COMPARE_BYTES);
    uint64_t offset = 0;
    size_t got[2] = {1, 1};
    bool same = true;
    enum weir_rc rc = weir_fs_open(fs, a, WEIR_FS_READ, &files[0], err);
    rc = rc != WEIR_OK ? rc : weir_fs_open(fs, b, WEIR_FS_READ, &files[1], err);
    while (rc == WEIR_OK && same && got[0] > 0) {
        rc = weir_fs_pread(files[0], offset, bytes, COMPARE_BYTES, &got[0], err);
        rc = rc != WEIR_OK ? rc : weir_fs_pread(files[1], offset, bytes + COMPARE_BYTES, COMPARE_BYTES, &got[1], err);
        same = rc == WEIR_OK && got[0] == got[1] && memcmp(bytes, bytes + COMPARE_BYTES, got[0]) == 0;
        offset += got[0];
    }
    weir_fs_close(files[1]);
    weir_fs_close(files[0]);
    weir_free(bytes);
    if (rc == WEIR_OK) {
        *out_same = same;
    }
    return rc;
}

/* Gives the part a name that readers see; S2. */
static enum weir_rc publish_part(struct file_sink *sink, uint32_t part, struct weir_error *err)
{
    struct weir_fs *fs = sink->out.ctx->fs;
    const struct weir_conn_ctx *ctx = sink->out.ctx;
    char *temp = temp_path(sink, part);
    char *names[2] = {weir_strfmt("%s/part-%s-%u-%u", sink->dir, sink->job_id, ctx->subtask, part),
                      weir_strfmt("%s/part-%s-%u-%u-a%u", sink->dir, sink->job_id, ctx->subtask, part, ctx->attempt)};
    enum weir_rc rc = WEIR_EXISTS;
    for (int i = 0; i < 2 && rc == WEIR_EXISTS; i++) {
        rc = weir_fs_link(fs, temp, names[i], err);
        bool same = false;
        if (rc == WEIR_EXISTS) {
            struct weir_error taken = *err;
            rc = same_bytes(fs, temp, names[i], &same, err);
            if (rc == WEIR_OK && !same) {
                *err = taken;
                rc = WEIR_EXISTS;
            }
        }
    }
    rc = rc != WEIR_OK ? rc : weir_fs_unlink(fs, temp, err);
    weir_free(names[1]);
    weir_free(names[0]);
    weir_free(temp);
    return rc;
}

static enum weir_rc publish(struct file_sink *sink, struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    for (uint32_t i = 0; i < sink->part && rc == WEIR_OK; i++) {
        rc = publish_part(sink, i, err);
    }
    return rc != WEIR_OK ? rc : weir_fs_fsync_dir(sink->out.ctx->fs, sink->dir, err);
}

static void run(struct weir_work *work)
{
    struct file_sink *sink = sink_of(work);
    struct weir_error *err = &sink->out.err;
    switch (sink->job) {
    case PREPARE: sink->out.rc = prepare(sink, err); break;
    case WRITE: sink->out.rc = write_part(sink, err); break;
    case PUBLISH: sink->out.rc = publish(sink, err); break;
    }
    if (sink->out.rc != WEIR_OK) {
        (void)weir_error_prefix(err, "table %s", sink->out.ctx->table->name);
    }
}

/* --- the task's thread ----------------------------------------------------------------------------------------------- */

static void begin(struct file_sink *sink, enum job job)
{
    sink->job = job;
    weir__out_buffer_begin(&sink->out);
}

/* Hands over what is filled; `last`: the part ends with it whatever its size. */
static void begin_write(struct file_sink *sink, bool last)
{
    int64_t now_ms = weir_clock_mono_ms(sink->out.ctx->clock);
    if (!sink->part_open) {
        sink->part_open = true;
        sink->part_bytes = 0;
        sink->part_opened_ms = now_ms;
    }
    sink->part_bytes += sink->out.fill.len;
    sink->close_part = last || sink->part_bytes >= sink->file_bytes_max || now_ms - sink->part_opened_ms >= sink->rollover_ms;
    sink->part_open = !sink->close_part;
    begin(sink, WRITE);
}

static void done(struct weir_work *work)
{
    struct file_sink *sink = sink_of(work);
    if (sink->out.rc == WEIR_OK && sink->job != PUBLISH && sink->out.fill.len >= WEIR_OUT_BUFFER_BYTES) {
        begin_write(sink, false);
    } else if (sink->out.rc == WEIR_OK && sink->job == PUBLISH) {
        sink->published = true;
    }
    sink->out.ctx->wake(sink->out.ctx->wake_ctx);
}

static enum weir_rc parse_options(struct file_sink *sink, const struct weir_table_spec *table, struct weir_error *err)
{
    static const char size_key[] = "sink.rolling-policy.file-size";
    static const char interval_key[] = "sink.rolling-policy.rollover-interval";
    const char *size = weir_table_option(table, size_key);
    const char *interval = weir_table_option(table, interval_key);
    int64_t bytes = 0;
    size = size == NULL ? weir_connector_default(table, size_key) : size;
    interval = interval == NULL ? weir_connector_default(table, interval_key) : interval;
    sink->dir = weir_table_option(table, "path");
    sink->format = table->format == NULL ? NULL : weir_format_find(table->format);
    if (sink->dir == NULL || sink->format == NULL) {
        return weir_error_set(err, WEIR_INVALID, "table %s: %s", table->name,
                              sink->dir == NULL ? "the option \"path\" is missing" : "it has no known format");
    }
    enum weir_rc rc = weir_config_parse_bytes(weir_slice_str(size), &bytes, err);
    rc = rc != WEIR_OK ? rc : weir_config_parse_duration(weir_slice_str(interval), &sink->rollover_ms, err);
    sink->file_bytes_max = (uint64_t)bytes;
    return rc == WEIR_OK ? WEIR_OK : weir_error_prefix(err, "table %s: sink.rolling-policy", table->name);
}

static void destroy(struct weir_sink *base)
{
    struct file_sink *sink = (struct file_sink *)base;
    if (sink == NULL) {
        return;
    }
    weir__out_buffer_fini(&sink->out);
    weir_fs_close(sink->file);
    if (sink->encoder != NULL) {
        sink->format->encoder_destroy(sink->encoder);
    }
    weir_free(sink);
}

static enum weir_rc create(const struct weir_conn_ctx *ctx, struct weir_sink **out_sink, struct weir_error *err)
{
    struct file_sink *sink = weir_calloc(1, sizeof(*sink));
    sink->base.vtable = &weir__file_sink;
    weir__out_buffer_init(&sink->out, ctx, run, done);
    (void)snprintf(sink->job_id, sizeof(sink->job_id), "%.*s", JOB_CHARS, ctx->job_id);
    enum weir_rc rc = parse_options(sink, ctx->table, err);
    rc = rc != WEIR_OK ? rc : sink->format->encoder_create(ctx->table, &sink->encoder, err);
    if (rc != WEIR_OK) {
        destroy(&sink->base);
        return rc;
    }
    begin(sink, PREPARE);
    *out_sink = &sink->base;
    return WEIR_OK;
}

static enum weir_rc write_batch(struct weir_sink *base, const struct weir_batch *batch, struct weir_error *err)
{
    struct file_sink *sink = (struct file_sink *)base;
    if (!weir__out_buffer_has_room(&sink->out)) {
        return WEIR_AGAIN;
    }
    if (!sink->out.work.in_flight && sink->out.rc != WEIR_OK) {
        *err = sink->out.err;
        return sink->out.rc;
    }
    size_t before = sink->out.fill.len;
    enum weir_rc rc = sink->format->encode(sink->encoder, batch, "\n", &sink->out.fill, NULL, err);
    if (rc != WEIR_OK) {
        sink->out.fill.len = before;
        return weir_error_prefix(err, "table %s", sink->out.ctx->table->name);
    }
    weir__out_buffer_charge(&sink->out);
    if (!sink->out.work.in_flight && sink->out.fill.len >= WEIR_OUT_BUFFER_BYTES) {
        begin_write(sink, false);
    }
    return WEIR_OK;
}

static enum weir_rc finish(struct weir_sink *base, struct weir_error *err)
{
    struct file_sink *sink = (struct file_sink *)base;
    while (!sink->out.work.in_flight && sink->out.rc == WEIR_OK) {
        if (sink->out.fill.len > 0 || sink->part_open) {
            begin_write(sink, true);
        } else if (!sink->published) {
            begin(sink, PUBLISH);
        } else {
            return WEIR_OK;
        }
    }
    if (sink->out.work.in_flight) {
        return WEIR_AGAIN;
    }
    *err = sink->out.err;
    return sink->out.rc;
}

const struct weir_sink_vtable weir__file_sink = {
    .connector = "filesystem",
    .create = create,
    .destroy = destroy,
    .write = write_batch,
    .finish = finish,
};
