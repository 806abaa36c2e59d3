/*
 * The sink "filesystem": part files in a directory.
 *
 * S1  Rows go to `.part-<job>-<sink>-<attempt>-<subtask>-<n>.inprogress` (job: the first 8 characters of its id; sink: a hash of the operator's uid,
 *     so that several sinks of a job can write to one directory); no attempt opens another's file.
 *     A part is closed and made durable, its name too, behind the buffer with which it reaches sink.rolling-policy.file-size or
 *     rollover-interval, and at every checkpoint, so that it belongs to one epoch; parts are cut between rows. An epoch without rows has none.
 * S2  Publishing links each part to `part-<job>-<sink>-<subtask>-<n>`, makes the directory durable, and only then removes the temporary names: at
 *     every moment a crash leaves one of the two. Names hold no attempt, so publishing is repeatable by any attempt: when the final name is
 *     there with the part's bytes, an earlier try got so far (link is atomic: the file is whole). When the job has got another parallelism
 *     with attempt r, its parts are `part-<job>-<sink>-r<r>-<subtask>-<n>` from then on and n begins at 0: a subtask that was not there for a
 *     while would otherwise use names of its past.
 * S3  With checkpoints (exactly once): the state of checkpoint k is the next n and every part of the epochs up to k that is not known to be
 *     published. commit(k) publishes those, if this attempt prepared k or a later one: one that was replaced before and hears of its
 *     successor's checkpoint publishes nothing, since its own open parts are lost. restore publishes the parts of the state, whoever wrote
 *     them, and fails with CORRUPT when a part is nowhere, or other bytes have its final name. The n of a lost epoch is used again: it was
 *     never published. With another parallelism than the state's, a sink restores the states of those subtasks whose number modulo the
 *     parallelism is its own: several, or none.
 * S4  Without checkpoints: finish publishes everything. A final name with other bytes is the output of an attempt that failed after it had
 *     published; that stays as it is and the part is named `part-<job>-<sink>-<subtask>-<n>-a<attempt>`. So no published rows are ever lost.
 * S5  Before its first row, after restore has published, it removes what earlier attempts of the sink left in progress: those whose subtask
 *     modulo the parallelism is its own, so that each is removed by one subtask: the one that has restored what of it is to be published, also
 *     when that subtask is no more. So does an attempt that only drains, at the job's end.
 * S6  All calls of the file system are made by `run` off-thread, one job at a time; write takes nothing while both buffers are in use.
 */
#include "taskmanager/connectors/conn_registry.h"

#include "common/base/config.h"
#include "common/base/crc32c.h"
#include "common/base/failpoint.h"
#include "common/base/hash.h"
#include "common/base/vec.h"
#include "common/catalog/connector_desc.h"
#include "taskmanager/connectors/out_buffer.h"
#include "taskmanager/formats/format.h"

#include <inttypes.h>
#include <stdio.h>

#define STATE_MAGIC 0x32534657u /* "WFS2": the digit is the version */

enum { JOB_CHARS = 8, COMPARE_BYTES = 64 << 10, CRC_BYTES = 4, NAME_BYTES_MAX = 255 };

enum job { OPEN, WRITE, PUBLISH, RESTORE };

/* A part that is not known to be published. */
struct part {
    char *hidden; /* names in the directory */
    char *final;
    uint64_t bytes;
    uint64_t checkpoint; /* the one it belongs to; 0: of the open epoch */
};

struct file_sink {
    struct weir_sink base;
    struct weir_out_buffer out;
    const struct weir_format *format;
    struct weir_encoder *encoder;
    const char *dir;
    char job_id[JOB_CHARS + 1];
    uint32_t tag; /* in names: of the operator */
    bool checkpoints; /* S3, not S4 */
    uint64_t file_bytes_max;
    int64_t rollover_ms;

    /* The task's thread; `run` reads the parts while it is at work. */
    struct part *parts; /* oldest first; with part_open the last is being written */
    size_t parts_len, parts_cap;
    uint64_t next_number;
    uint64_t prepared; /* newest checkpoint this attempt has prepared */
    int64_t part_opened_ms;
    bool part_open;
    bool restoring; /* a state */
    bool opened; /* the directory is there and cleaned up */

    /* Handed over with the job in flight. */
    enum job job;
    bool close_part;     /* WRITE: the part ends behind this buffer */
    uint64_t publish_to; /* PUBLISH, RESTORE: the parts of this checkpoint and before */
    bool last;           /* RESTORE: the last state */

    /* Off-thread only. */
    struct weir_fs_file *file;
};

static struct file_sink *sink_of(struct weir_work *work)
{
    return (struct file_sink *)((char *)work - offsetof(struct file_sink, out.work));
}

/* --- off-thread ------------------------------------------------------------------------------------------------------ */

static char *path_of(const struct file_sink *sink, const char *name)
{
    return weir_strfmt("%s/%s", sink->dir, name);
}

/* A part that earlier attempts of the same subtask left. The names are ours; any other does not match to its end. */
static bool is_leftover(const struct file_sink *sink, const char *name)
{
    const struct weir_conn_ctx *conn = sink->out.ctx;
    char job[JOB_CHARS + 1];
    unsigned tag, attempt, subtask;
    uint64_t number;
    int used = 0;
    return sscanf(name, ".part-%8[^-/]-%8x-%u-%u-%" SCNu64 ".inprogress%n", job, &tag, &attempt, &subtask, &number, &used) == 5 && used > 0 &&
           name[used] == '\0' && strcmp(job, sink->job_id) == 0 && tag == sink->tag && attempt < conn->attempt &&
           subtask % conn->parallelism == conn->subtask;
}

/* S5. */
static enum weir_rc clean_up(struct file_sink *sink, struct weir_error *err)
{
    struct weir_fs *fs = sink->out.ctx->fs;
    struct weir_fs_names names = {0};
    enum weir_rc rc = weir_fs_names_read(fs, sink->dir, &names, err);
    for (size_t i = 0; i < names.len && rc == WEIR_OK; i++) {
        if (!names.items[i].is_dir && is_leftover(sink, names.items[i].name)) {
            char *path = path_of(sink, names.items[i].name);
            rc = weir_fs_unlink(fs, path, err);
            rc = rc == WEIR_NOT_FOUND ? WEIR_OK : rc;
            weir_free(path);
        }
    }
    weir_fs_names_fini(&names);
    return rc;
}

static enum weir_rc open_dir(struct file_sink *sink, struct weir_error *err)
{
    enum weir_rc rc = weir_fs_mkdirs(sink->out.ctx->fs, sink->dir, err);
    return rc != WEIR_OK ? rc : clean_up(sink, err);
}

static enum weir_rc write_part(struct file_sink *sink, struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    if (sink->file == NULL) {
        char *path = path_of(sink, sink->parts[sink->parts_len - 1].hidden);
        rc = weir_fs_open(sink->out.ctx->fs, path, WEIR_FS_CREATE_NEW, &sink->file, err);
        weir_free(path);
    }
    WEIR_FAILPOINT("sink.write");
    if (rc == WEIR_OK && sink->out.writing.len > 0) {
        rc = weir_fs_append(sink->file, weir_buf_slice(&sink->out.writing), err);
    }
    if (rc == WEIR_OK && sink->close_part) {
        rc = weir_fs_fsync(sink->file, err);
        weir_fs_close(sink->file);
        sink->file = NULL;
        rc = rc != WEIR_OK ? rc : weir_fs_fsync_dir(sink->out.ctx->fs, sink->dir, err);
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

/* The temporary name is gone: fine when the final one is there, since publishing removes it last. */
static enum weir_rc check_published(const struct file_sink *sink, const struct part *part, const char *final, struct weir_error *err)
{
    struct weir_fs_stat stat;
    enum weir_rc rc = weir_fs_stat(sink->out.ctx->fs, final, &stat, err);
    if (rc == WEIR_NOT_FOUND) {
        return weir_error_set(err, WEIR_CORRUPT,
                              "%s: neither this part of a checkpoint nor %s, from which it would be published, is in the directory: its rows "
                              "are lost; restore the directory, or start from a savepoint that does not need it",
                              final, part->hidden);
    }
    if (rc == WEIR_OK && (stat.is_dir || stat.bytes != part->bytes)) {
        return weir_error_set(err, WEIR_CORRUPT, "%s: has %" PRIu64 " bytes, but the checkpoint's part of this name has %" PRIu64, final,
                              stat.bytes, part->bytes);
    }
    return rc;
}

/* Tries one name. EXISTS: other bytes have it. NOT_FOUND: the temporary name is gone. */
static enum weir_rc link_name(const struct file_sink *sink, const char *hidden, const char *final, struct weir_error *err)
{
    struct weir_fs *fs = sink->out.ctx->fs;
    enum weir_rc rc = weir_fs_link(fs, hidden, final, err);
    if (rc != WEIR_EXISTS) {
        return rc;
    }
    struct weir_error taken = *err;
    bool same = false;
    rc = same_bytes(fs, hidden, final, &same, err);
    if (rc != WEIR_OK || same) {
        return rc;
    }
    *err = taken;
    return WEIR_EXISTS;
}

/* Gives the part a name that readers see; S2. */
static enum weir_rc link_part(const struct file_sink *sink, const struct part *part, struct weir_error *err)
{
    char *hidden = path_of(sink, part->hidden);
    char *final = path_of(sink, part->final);
    struct weir_fs_stat stat;
    enum weir_rc rc = weir_fs_stat(sink->out.ctx->fs, hidden, &stat, err);
    if (rc == WEIR_OK && stat.bytes != part->bytes) {
        rc = weir_error_set(err, WEIR_CORRUPT, "%s: has %" PRIu64 " bytes, but %" PRIu64 " were written", hidden, stat.bytes, part->bytes);
    }
    rc = rc != WEIR_OK ? rc : link_name(sink, hidden, final, err);
    if (rc == WEIR_NOT_FOUND) {
        rc = check_published(sink, part, final, err);
    } else if (rc == WEIR_EXISTS && sink->checkpoints) {
        rc = weir_error_set(err, WEIR_CORRUPT,
                            "%s: exists with other bytes than the checkpoint's part of this name: a later checkpoint than the restored one was "
                            "published, or another job writes here",
                            final);
    } else if (rc == WEIR_EXISTS) {
        char *other = weir_strfmt("%s-a%u", final, sink->out.ctx->attempt);
        rc = link_name(sink, hidden, other, err);
        weir_free(other);
    }
    weir_free(final);
    weir_free(hidden);
    return rc;
}

static bool to_publish(const struct file_sink *sink, const struct part *part)
{
    return part->checkpoint != 0 && part->checkpoint <= sink->publish_to;
}

static enum weir_rc publish(struct file_sink *sink, struct weir_error *err)
{
    struct weir_fs *fs = sink->out.ctx->fs;
    enum weir_rc rc = WEIR_OK;
    WEIR_FAILPOINT("sink.before_begin");
    for (size_t i = 0; i < sink->parts_len && rc == WEIR_OK; i++) {
        rc = to_publish(sink, &sink->parts[i]) ? link_part(sink, &sink->parts[i], err) : WEIR_OK;
    }
    WEIR_FAILPOINT("sink.in_publish");
    rc = rc != WEIR_OK ? rc : weir_fs_fsync_dir(fs, sink->dir, err);
    for (size_t i = 0; i < sink->parts_len && rc == WEIR_OK; i++) {
        if (to_publish(sink, &sink->parts[i])) {
            char *hidden = path_of(sink, sink->parts[i].hidden);
            rc = weir_fs_unlink(fs, hidden, err);
            rc = rc == WEIR_NOT_FOUND ? WEIR_OK : rc;
            weir_free(hidden);
        }
    }
    return rc;
}

static enum weir_rc publish_restored(struct file_sink *sink, struct weir_error *err)
{
    enum weir_rc rc = weir_fs_mkdirs(sink->out.ctx->fs, sink->dir, err);
    rc = rc != WEIR_OK ? rc : publish(sink, err);
    return rc != WEIR_OK || !sink->last ? rc : clean_up(sink, err);
}

static void run(struct weir_work *work)
{
    struct file_sink *sink = sink_of(work);
    struct weir_error *err = &sink->out.err;
    switch (sink->job) {
    case OPEN: sink->out.rc = open_dir(sink, err); break;
    case WRITE: sink->out.rc = write_part(sink, err); break;
    case PUBLISH: sink->out.rc = publish(sink, err); break;
    case RESTORE: sink->out.rc = publish_restored(sink, err); break;
    }
    if (sink->out.rc != WEIR_OK) {
        (void)weir_error_prefix(err, "table %s", sink->out.ctx->table->name);
    }
}

/* --- the task's thread ----------------------------------------------------------------------------------------------- */

static void begin(struct file_sink *sink, enum job job)
{
    sink->job = job;
    if (job == WRITE) {
        weir__out_buffer_begin(&sink->out);
    } else { /* the rows of the open epoch wait where they are */
        weir_executor_submit(sink->out.ctx->executor, &sink->out.work);
    }
}

static void part_fini(struct part *part)
{
    weir_free(part->hidden);
    weir_free(part->final);
}

static struct part *add_part(struct file_sink *sink)
{
    sink->parts = weir_vec_grow(sink->parts, &sink->parts_cap, sizeof(*sink->parts), sink->parts_len + 1);
    struct part *part = &sink->parts[sink->parts_len++];
    *part = (struct part){0};
    return part;
}

/* Hands over what is filled; `last`: the part ends with it whatever its size. */
static void begin_write(struct file_sink *sink, bool last)
{
    const struct weir_conn_ctx *ctx = sink->out.ctx;
    int64_t now_ms = weir_clock_mono_ms(ctx->clock);
    weir_assert(sink->opened);
    if (!sink->part_open) {
        struct part *part = add_part(sink);
        uint64_t number = sink->next_number++;
        part->hidden = weir_strfmt(".part-%s-%08x-%u-%u-%" PRIu64 ".inprogress", sink->job_id, sink->tag, ctx->attempt, ctx->subtask, number);
        char run[16] = "";
        if (ctx->run != 0) {
            (void)snprintf(run, sizeof(run), "r%u-", ctx->run);
        }
        part->final = weir_strfmt("part-%s-%08x-%s%u-%" PRIu64, sink->job_id, sink->tag, run, ctx->subtask, number);
        sink->part_open = true;
        sink->part_opened_ms = now_ms;
    }
    struct part *part = &sink->parts[sink->parts_len - 1];
    part->bytes += sink->out.fill.len;
    sink->close_part = last || part->bytes >= sink->file_bytes_max || now_ms - sink->part_opened_ms >= sink->rollover_ms;
    sink->part_open = !sink->close_part;
    begin(sink, WRITE);
}

static void drop_published(struct file_sink *sink)
{
    size_t kept = 0;
    for (size_t i = 0; i < sink->parts_len; i++) {
        if (to_publish(sink, &sink->parts[i])) {
            part_fini(&sink->parts[i]);
        } else {
            sink->parts[kept++] = sink->parts[i];
        }
    }
    sink->parts_len = kept;
}

static void done(struct weir_work *work)
{
    struct file_sink *sink = sink_of(work);
    if (sink->out.rc == WEIR_OK) {
        sink->opened = sink->opened || sink->job == OPEN || (sink->job == RESTORE && sink->last);
        if (sink->job == PUBLISH || sink->job == RESTORE) {
            drop_published(sink);
        }
        if (sink->out.fill.len >= WEIR_OUT_BUFFER_BYTES) {
            begin_write(sink, false);
        }
    }
    sink->out.ctx->wake(sink->out.ctx->wake_ctx);
}

/* OK: nothing is in flight and nothing has failed. */
static enum weir_rc settled(const struct file_sink *sink, struct weir_error *err)
{
    if (sink->out.work.in_flight) {
        return WEIR_AGAIN;
    }
    if (sink->out.rc != WEIR_OK) {
        *err = sink->out.err;
    }
    return sink->out.rc;
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
    for (size_t i = 0; i < sink->parts_len; i++) {
        part_fini(&sink->parts[i]);
    }
    weir_free(sink->parts);
    weir_free(sink);
}

static enum weir_rc create(const struct weir_conn_ctx *ctx, struct weir_sink **out_sink, struct weir_error *err)
{
    struct file_sink *sink = weir_calloc(1, sizeof(*sink));
    sink->base.vtable = &weir__file_sink;
    weir__out_buffer_init(&sink->out, ctx, run, done);
    sink->checkpoints = ctx->settings->checkpoint_interval_ms > 0;
    (void)snprintf(sink->job_id, sizeof(sink->job_id), "%.*s", JOB_CHARS, ctx->job_id);
    sink->tag = (uint32_t)weir_hash_slice(weir_slice_str(ctx->uid), 0);
    enum weir_rc rc = parse_options(sink, ctx->table, err);
    rc = rc != WEIR_OK ? rc : sink->format->encoder_create(ctx->table, &sink->encoder, err);
    if (rc != WEIR_OK) {
        destroy(&sink->base);
        return rc;
    }
    *out_sink = &sink->base;
    return WEIR_OK;
}

static enum weir_rc write_batch(struct weir_sink *base, const struct weir_batch *batch, struct weir_error *err)
{
    struct file_sink *sink = (struct file_sink *)base;
    if (!weir__out_buffer_has_room(&sink->out)) {
        return WEIR_AGAIN;
    }
    enum weir_rc rc = settled(sink, err);
    if (rc != WEIR_OK && rc != WEIR_AGAIN) {
        return rc;
    }
    if (rc == WEIR_OK && !sink->opened) {
        begin(sink, OPEN);
    }
    size_t before = sink->out.fill.len;
    rc = sink->format->encode(sink->encoder, batch, "\n", &sink->out.fill, NULL, err);
    if (rc != WEIR_OK) {
        sink->out.fill.len = before;
        return weir_error_prefix(err, "table %s", sink->out.ctx->table->name);
    }
    weir__out_buffer_charge(&sink->out);
    if (!sink->out.work.in_flight && sink->out.rc == WEIR_OK && sink->out.fill.len >= WEIR_OUT_BUFFER_BYTES) {
        begin_write(sink, false);
    }
    return WEIR_OK;
}

/* The rows so far are in closed, durable parts, which belong to the checkpoint. AGAIN. */
static enum weir_rc end_epoch(struct file_sink *sink, uint64_t checkpoint, struct weir_error *err)
{
    enum weir_rc rc;
    while ((rc = settled(sink, err)) == WEIR_OK && (!sink->opened || sink->out.fill.len > 0 || sink->part_open)) {
        if (!sink->opened) {
            begin(sink, OPEN);
        } else {
            begin_write(sink, true);
        }
    }
    for (size_t i = 0; i < sink->parts_len && rc == WEIR_OK; i++) {
        struct part *part = &sink->parts[i];
        part->checkpoint = part->checkpoint == 0 ? checkpoint : part->checkpoint;
    }
    return rc;
}

/* The parts of the checkpoint and before are published. AGAIN. */
static enum weir_rc publish_all(struct file_sink *sink, uint64_t checkpoint, struct weir_error *err)
{
    enum weir_rc rc;
    while ((rc = settled(sink, err)) == WEIR_OK) {
        sink->publish_to = checkpoint;
        if (sink->parts_len == 0 || !to_publish(sink, &sink->parts[0])) {
            break;
        }
        begin(sink, PUBLISH);
    }
    return rc;
}

static enum weir_rc finish(struct weir_sink *base, struct weir_error *err)
{
    struct file_sink *sink = (struct file_sink *)base;
    weir_assert(!sink->checkpoints);
    enum weir_rc rc = end_epoch(sink, 1, err);
    return rc != WEIR_OK ? rc : publish_all(sink, 1, err);
}

static enum weir_rc prepare(struct weir_sink *base, uint64_t checkpoint, struct weir_buf *out, struct weir_error *err)
{
    struct file_sink *sink = (struct file_sink *)base;
    weir_assert(sink->checkpoints);
    weir_assert(checkpoint > sink->prepared);
    enum weir_rc rc = end_epoch(sink, checkpoint, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    sink->prepared = checkpoint;
    size_t start = out->len;
    weir_buf_put_u32(out, STATE_MAGIC);
    weir_buf_put_u32(out, sink->out.ctx->run);
    weir_buf_put_u64(out, sink->next_number);
    weir_buf_put_u64(out, sink->parts_len);
    for (size_t i = 0; i < sink->parts_len; i++) {
        weir_buf_put_bytes(out, weir_slice_str(sink->parts[i].hidden));
        weir_buf_put_bytes(out, weir_slice_str(sink->parts[i].final));
        weir_buf_put_u64(out, sink->parts[i].bytes);
    }
    weir_buf_put_u32(out, weir_crc32c(0, out->data + start, out->len - start));
    return WEIR_OK;
}

static enum weir_rc commit(struct weir_sink *base, uint64_t checkpoint, struct weir_error *err)
{
    struct file_sink *sink = (struct file_sink *)base;
    weir_assert(sink->checkpoints);
    return checkpoint > sink->prepared ? WEIR_OK : publish_all(sink, checkpoint, err);
}

/* A name that cannot leave the directory. */
static bool name_is_safe(struct weir_slice name)
{
    return name.len > 0 && name.len <= NAME_BYTES_MAX && memchr(name.data, '/', name.len) == NULL &&
           memchr(name.data, '\0', name.len) == NULL && !weir_slice_eq_str(name, ".") && !weir_slice_eq_str(name, "..");
}

static bool decode_state(struct file_sink *sink, uint64_t checkpoint, struct weir_slice state)
{
    if (state.len < CRC_BYTES || weir_le_get_u32(state.data + state.len - CRC_BYTES) != weir_crc32c(0, state.data, state.len - CRC_BYTES)) {
        return false;
    }
    struct weir_reader reader = weir_reader(weir_slice(state.data, state.len - CRC_BYTES));
    if (weir_read_u32(&reader) != STATE_MAGIC) {
        return false;
    }
    uint32_t run = weir_read_u32(&reader);
    uint64_t next_number = weir_read_u64(&reader);
    uint64_t count = weir_read_u64(&reader);
    for (uint64_t i = 0; i < count; i++) {
        struct weir_slice hidden = weir_read_bytes(&reader);
        struct weir_slice final = weir_read_bytes(&reader);
        uint64_t bytes = weir_read_u64(&reader);
        if (reader.failed || !name_is_safe(hidden) || !name_is_safe(final)) {
            return false;
        }
        *add_part(sink) = (struct part){.hidden = weir_strndup(hidden.data, hidden.len), .final = weir_strndup(final.data, final.len),
                                        .bytes = bytes, .checkpoint = checkpoint};
    }
    if (run == sink->out.ctx->run) { /* S2 */
        sink->next_number = next_number;
    }
    return !reader.failed && reader.rest.len == 0;
}

static enum weir_rc restore(struct weir_sink *base, uint64_t checkpoint, struct weir_slice state, bool last, struct weir_error *err)
{
    struct file_sink *sink = (struct file_sink *)base;
    weir_assert(sink->checkpoints);
    weir_assert(checkpoint > 0);
    enum weir_rc rc = settled(sink, err);
    if (rc != WEIR_OK || sink->restoring) {
        sink->restoring = sink->restoring && rc == WEIR_AGAIN;
        return rc;
    }
    if (!decode_state(sink, checkpoint, state)) {
        return weir_error_set(err, WEIR_CORRUPT, "table %s: the file sink's state in checkpoint %" PRIu64 " (subtask %u) is damaged",
                              sink->out.ctx->table->name, checkpoint, sink->out.ctx->subtask);
    }
    sink->publish_to = checkpoint;
    sink->last = last;
    begin(sink, RESTORE);
    rc = settled(sink, err);
    sink->restoring = rc == WEIR_AGAIN;
    return rc;
}

const struct weir_sink_vtable weir__file_sink = {
    .connector = "filesystem",
    .create = create,
    .destroy = destroy,
    .write = write_batch,
    .finish = finish,
    .prepare = prepare,
    .commit = commit,
    .restore = restore,
};
