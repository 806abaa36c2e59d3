/*
 * The task's side of the epoch log, and its files. What it knows is in epoch_book, the format of a file in epoch_segment, the drain in
 * epoch_drain.
 *
 * F1  All calls of the file system are made by `run` off-thread, one job at a time; records are appended to one buffer while another is written.
 * F2  prepare(k): the open segment is written out, synced and closed before its first link; links and their directory are durable before OK. So
 *     whoever reads the state of k finds every byte, and whatever died on the way there left a directory that the JobManager removes with k, and
 *     own names that the next attempt removes. Own names need not survive a crash, so their directory is not synced. An aborted k needs nothing:
 *     its segments stay in the book and are linked again for k + 1.
 * F3  Own names are unlinked when their records are drained. A link in chk-k is another name of the same file: it lives until the JobManager
 *     removes chk-k, whatever happens to the own one.
 * F4  A job that finds no room (E9) leaves everything such that it can be done again: what is drained is unlinked first, what is in the file stays
 *     there, whole, and the other rows go back before those that came meanwhile. A segment that prepare has sealed is in the book, also when its
 *     links found no room.
 */
#include "taskmanager/connectors/epoch_log_private.h"

#include "common/base/vec.h"
#include "proto/ckpt_codec.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    FILL_BYTES = 512 << 10,
    BLOCK_RECORDS_MAX = 5000,
    BLOCK_BYTES_MAX = 1 << 20,
    APPEND_BYTES_MAX = 1 << 30,
};

_Static_assert(WEIR_DRAIN_RECORDS_MAX % BLOCK_RECORDS_MAX == 0 && WEIR_DRAIN_BYTES_MAX % BLOCK_BYTES_MAX == 0, "chunks of whole blocks fill up");

enum job { WRITE, PREPARE, RESTORE };

/* Records; ends count from the first byte. */
struct rows {
    struct weir_buf bytes;
    uint32_t *ends;
    size_t count, cap;
};

struct numbers {
    uint32_t *items;
    size_t len, cap;
};

struct weir_epoch_log {
    const struct weir_conn_ctx *ctx;
    struct weir__epoch_log_options options;
    struct weir__segment_owner owner; /* of own names */
    struct weir__drain *drain;        /* until destroy */
    char *dir;                        /* of own names */

    /* The task's thread; of the book, `run` reads the segments. */
    struct weir__epoch_book book;
    struct rows fill;
    struct numbers drained; /* own names to unlink with the next job */
    bool begun;             /* it is known where the log begins */
    uint64_t preparing;     /* checkpoint; 0: none */
    bool linked;            /* its job is done */
    bool stalled;           /* the last job found no room (E9); why says where */
    int64_t retry_at_ms;
    struct weir_error why;
    uint64_t charged_bytes; /* to ctx->mem */
    struct weir_work work;
    enum weir_rc rc;        /* of the last job; once it failed, it stays */
    struct weir_error err;

    /* Handed over with the job in flight. */
    enum job job;
    struct rows writing;
    size_t written;         /* so many of them are in the file */
    bool sealed;            /* PREPARE: the open segment is whole and durable */
    bool again;             /* RESTORE: some may be linked already */
    struct numbers unlinking;
    uint32_t open_number;   /* of the open segment */
    bool segment_open;      /* it has records, maybe not written yet */
    uint64_t checkpoint;    /* PREPARE, RESTORE */
    struct weir__epoch_state state; /* RESTORE */

    /* Off-thread only. */
    bool opened; /* the directory is there and cleaned up */
    struct weir__segment_writer writer;
};

static struct weir_epoch_log *log_of(struct weir_work *work)
{
    return (struct weir_epoch_log *)((char *)work - offsetof(struct weir_epoch_log, work));
}

static char *own_path(const struct weir_epoch_log *log, uint32_t number)
{
    char name[WEIR__SEGMENT_NAME_MAX];
    weir__segment_name(log->owner, number, false, name);
    return weir_strfmt("%s/%s", log->dir, name);
}

static char *checkpoint_dir(const struct weir_epoch_log *log, uint64_t checkpoint)
{
    return weir_ckpt_dir_copy(log->ctx->checkpoints_dir, log->ctx->job_id, checkpoint);
}

/* --- off-thread ------------------------------------------------------------------------------------------------------ */

/* (E4) A segment of the same subtask's earlier attempts. The names are ours; any other does not match to its end. */
static bool is_leftover(const struct weir_conn_ctx *conn, const char *name)
{
    unsigned vertex, subtask, attempt, number;
    int used = 0;
    return sscanf(name, "%u-%u-%u-%u%n", &vertex, &subtask, &attempt, &number, &used) == 4 && used > 0 && name[used] == '\0' &&
           vertex == conn->vertex && subtask % conn->parallelism == conn->subtask && attempt < conn->attempt;
}

static enum weir_rc unlink_own(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    enum weir_rc rc = weir_fs_unlink(fs, path, err);
    return rc == WEIR_NOT_FOUND ? WEIR_OK : rc;
}

/* Makes the directory and removes what dead attempts left (E4); once. */
static enum weir_rc open_dir(struct weir_epoch_log *log, struct weir_error *err)
{
    struct weir_fs *fs = log->ctx->fs;
    struct weir_fs_names names = {0};
    if (log->opened) {
        return WEIR_OK;
    }
    enum weir_rc rc = weir_fs_mkdirs(fs, log->dir, err);
    rc = rc != WEIR_OK ? rc : weir_fs_names_read(fs, log->dir, &names, err);
    for (size_t i = 0; i < names.len && rc == WEIR_OK; i++) {
        if (!names.items[i].is_dir && is_leftover(log->ctx, names.items[i].name)) {
            char *path = weir_strfmt("%s/%s", log->dir, names.items[i].name);
            rc = unlink_own(fs, path, err);
            weir_free(path);
        }
    }
    weir_fs_names_fini(&names);
    log->opened = rc == WEIR_OK;
    return rc;
}

/* Some file systems need room to unlink as well: what is left waits for the next job. */
static enum weir_rc unlink_drained(struct weir_epoch_log *log, struct weir_error *err)
{
    size_t left = 0;
    for (size_t i = 0; i < log->unlinking.len; i++) {
        char *path = own_path(log, log->unlinking.items[i]);
        enum weir_rc rc = unlink_own(log->ctx->fs, path, err);
        weir_free(path);
        if (rc == WEIR_RESOURCE) {
            log->unlinking.items[left++] = log->unlinking.items[i];
        } else if (rc != WEIR_OK) {
            return rc;
        }
    }
    log->unlinking.len = left;
    return WEIR_OK;
}

static enum weir_rc write_rows(struct weir_epoch_log *log, struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    if (log->segment_open && log->writer.file == NULL) {
        char *path = own_path(log, log->open_number);
        rc = weir__segment_create(&log->writer, log->ctx->fs, path, log->book.sealed, err);
        weir_free(path);
    }
    if (rc == WEIR_OK && log->writing.count > 0) {
        rc = weir__segment_append(&log->writer, &log->options.block, log->writing.bytes.data, log->writing.ends, log->writing.count, &log->written,
                                  err);
    }
    return rc;
}

/* Gives a segment its name in the checkpoint's directory. */
static enum weir_rc link_segment(const struct weir_epoch_log *log, const char *dir, uint32_t number, struct weir_error *err)
{
    char name[WEIR__SEGMENT_NAME_MAX];
    weir__segment_name(log->owner, number, true, name);
    char *own = own_path(log, number);
    char *linked = weir_strfmt("%s/%s", dir, name);
    enum weir_rc rc = weir_fs_link(log->ctx->fs, own, linked, err);
    weir_free(linked);
    weir_free(own);
    return rc;
}

/* A name is missing. When it is the checkpoint's directory, the checkpoint was aborted and is gone for ever: nobody will restore it, and the task's
 * own file finds no place there either. */
static enum weir_rc forgive_aborted(const struct weir_epoch_log *log, const char *dir, struct weir_error *err)
{
    struct weir_fs_stat stat;
    struct weir_error ignored;
    return weir_fs_stat(log->ctx->fs, dir, &stat, &ignored) == WEIR_NOT_FOUND ? WEIR_OK : err->rc;
}

/* F2. */
static enum weir_rc end_epoch(struct weir_epoch_log *log, struct weir_error *err)
{
    struct weir_fs *fs = log->ctx->fs;
    enum weir_rc rc = log->segment_open ? weir__segment_seal(&log->writer, err) : WEIR_OK;
    log->sealed = rc == WEIR_OK && log->segment_open;
    size_t count = log->book.nsegments + (log->segment_open ? 1 : 0);
    if (rc != WEIR_OK || count == 0) {
        return rc;
    }
    char *dir = checkpoint_dir(log, log->checkpoint);
    for (size_t i = 0; i < count && rc == WEIR_OK; i++) {
        rc = link_segment(log, dir, i < log->book.nsegments ? log->book.segments[i].number : log->open_number, err);
    }
    rc = rc != WEIR_OK ? rc : weir_fs_fsync_dir(fs, dir, err);
    rc = rc == WEIR_NOT_FOUND ? forgive_aborted(log, dir, err) : rc;
    weir_free(dir);
    return rc;
}

static enum weir_rc restore_segment(const struct weir_epoch_log *log, const char *dir, size_t i, struct weir_error *err)
{
    const struct weir__segment *segment = &log->state.segments[i];
    char *linked = weir_strfmt("%s/%s", dir, log->state.names[i]);
    char *own = own_path(log, segment->number);
    enum weir_rc rc = log->again ? unlink_own(log->ctx->fs, own, err) : WEIR_OK;
    rc = rc != WEIR_OK ? rc : weir_fs_link(log->ctx->fs, linked, own, err);
    if (rc == WEIR_NOT_FOUND) {
        rc = weir_error_set(err, WEIR_CORRUPT,
                            "%s: the file is missing, but checkpoint %" PRIu64 " needs it: it holds records that may not be written outside yet; restore "
                            "the file, or an older checkpoint, or start the job anew",
                            linked, log->checkpoint);
    }
    if (rc == WEIR_OK) { /* by the checkpoint's name: that is the one a person can do something about */
        rc = weir__segment_verify(log->ctx->fs, linked, segment, err);
    }
    weir_free(own);
    weir_free(linked);
    return rc;
}

static enum weir_rc restore_segments(struct weir_epoch_log *log, struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    char *dir = checkpoint_dir(log, log->checkpoint);
    for (size_t i = 0; i < log->state.nsegments && rc == WEIR_OK; i++) {
        rc = restore_segment(log, dir, i, err);
    }
    weir_free(dir);
    return rc;
}

static void run(struct weir_work *work)
{
    struct weir_epoch_log *log = log_of(work);
    struct weir_error *err = &log->err;
    enum weir_rc rc = open_dir(log, err);
    rc = rc != WEIR_OK ? rc : unlink_drained(log, err);
    rc = rc != WEIR_OK ? rc : write_rows(log, err);
    if (rc == WEIR_OK && log->job == PREPARE) {
        rc = end_epoch(log, err);
    } else if (rc == WEIR_OK && log->job == RESTORE) {
        rc = restore_segments(log, err);
    }
    if (rc != WEIR_OK) {
        (void)weir_error_prefix(err, "table %s", log->ctx->table->name);
    }
    log->rc = rc;
}

/* --- the task's thread ----------------------------------------------------------------------------------------------- */

static void charge(struct weir_epoch_log *log, uint64_t drain_bytes)
{
    const struct rows *fill = &log->fill, *writing = &log->writing;
    uint64_t held = drain_bytes + fill->bytes.cap + writing->bytes.cap + (fill->cap + writing->cap) * sizeof(*fill->ends);
    if (held > log->charged_bytes) {
        weir_mem_charge(log->ctx->mem, held - log->charged_bytes);
    } else {
        weir_mem_uncharge(log->ctx->mem, log->charged_bytes - held);
    }
    log->charged_bytes = held;
}

/* Hands what is filled to `run`. Nothing is in flight. */
static void begin(struct weir_epoch_log *log, enum job job)
{
    struct rows rows = log->writing;
    weir_buf_clear(&rows.bytes);
    rows.count = 0;
    log->writing = log->fill;
    log->fill = rows;
    for (size_t i = 0; i < log->drained.len; i++) {
        struct numbers *to = &log->unlinking;
        to->items = weir_vec_grow(to->items, &to->cap, sizeof(*to->items), to->len + 1);
        to->items[to->len++] = log->drained.items[i];
    }
    log->drained.len = 0;
    log->job = job;
    log->written = 0;
    log->sealed = false;
    log->again = log->stalled;
    if (log->writing.count > 0 && !log->segment_open) {
        log->segment_open = true;
        log->open_number = log->book.next_number++;
    }
    weir_executor_submit(log->ctx->executor, &log->work);
}

static void sealed(struct weir_epoch_log *log)
{
    if (log->sealed) {
        weir__epoch_book_seal(&log->book, log->open_number, log->writer.bytes, log->writer.hash);
        weir__drain_add(log->drain, own_path(log, log->open_number), &log->book.segments[log->book.nsegments - 1]);
        log->segment_open = false;
    }
}

static void prepared(struct weir_epoch_log *log)
{
    sealed(log);
    weir_assert(!log->segment_open);
    weir__epoch_book_prepared(&log->book, log->checkpoint);
    log->linked = true;
}

static void restored(struct weir_epoch_log *log)
{
    for (size_t i = 0; i < log->state.nsegments; i++) {
        weir__drain_add(log->drain, own_path(log, log->state.segments[i].number), &log->state.segments[i]);
    }
    weir__drain_begin(log->drain, log->checkpoint, log->state.cursor, log->state.end);
    weir__epoch_book_restore(&log->book, &log->state);
    weir__epoch_state_fini(&log->state);
    log->begun = true;
}

static void fill_rows(struct rows *rows, struct weir_slice bytes, const uint32_t *ends, size_t count)
{
    uint32_t base = (uint32_t)rows->bytes.len;
    weir_buf_put_slice(&rows->bytes, bytes);
    rows->ends = weir_vec_grow(rows->ends, &rows->cap, sizeof(*rows->ends), rows->count + count);
    uint32_t *to = rows->ends + rows->count;
    for (size_t i = 0; i < count; i++) {
        to[i] = base + ends[i];
    }
    rows->count += count;
}

/* What could not be written comes before what was filled meanwhile. */
static void put_back(struct weir_epoch_log *log)
{
    struct rows left = log->writing, newer = log->fill;
    uint32_t cut = log->written == 0 ? 0 : left.ends[log->written - 1];
    left.bytes.len -= cut;
    left.count -= log->written;
    if (cut > 0) {
        memmove(left.bytes.data, left.bytes.data + cut, left.bytes.len);
    }
    for (size_t i = 0; i < left.count; i++) {
        left.ends[i] = left.ends[i + log->written] - cut;
    }
    fill_rows(&left, weir_buf_slice(&newer.bytes), newer.ends, newer.count);
    weir_buf_clear(&newer.bytes);
    newer.count = 0;
    log->fill = left;
    log->writing = newer;
}

/* The job found no room (F4). */
static void stall(struct weir_epoch_log *log)
{
    log->rc = WEIR_OK;
    log->why = log->err;
    put_back(log);
    sealed(log);
    if (!log->stalled) {
        log->stalled = true;
        weir_log(log->ctx->log, WEIR_LOG_WARN, "sink_log_waits_for_room", "why", log->why.text, NULL);
    }
    log->retry_at_ms = weir_clock_mono_ms(log->ctx->clock) + WEIR__EPOCH_LOG_RETRY_MS;
}

static void unstall(struct weir_epoch_log *log)
{
    if (log->stalled) {
        log->stalled = false;
        weir_log(log->ctx->log, WEIR_LOG_INFO, "sink_log_goes_on", "table", log->ctx->table->name, NULL);
    }
}

static void done(struct weir_work *work)
{
    struct weir_epoch_log *log = log_of(work);
    if (log->rc == WEIR_RESOURCE) {
        stall(log);
    } else if (log->rc == WEIR_OK) {
        unstall(log);
        switch (log->job) {
        case WRITE: break;
        case PREPARE: prepared(log); break;
        case RESTORE: restored(log); break;
        }
        if (log->fill.bytes.len >= log->options.fill_bytes) {
            begin(log, WRITE);
        }
    }
    log->ctx->wake(log->ctx->wake_ctx);
}

/* Where the drain is, as it counts for the book. */
static enum weir_rc look(struct weir_epoch_log *log, bool want_wake, struct weir__drain_view *out_view, struct weir_error *err)
{
    enum weir_rc rc = weir__drain_poll(log->drain, want_wake, out_view, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    bool lent = log->work.in_flight && log->job != WRITE; /* `run` reads the segments */
    if (out_view->judged && !lent && log->preparing == 0) {
        weir__epoch_book_advance(&log->book, out_view->cursor, &log->drained.items, &log->drained.len, &log->drained.cap);
    }
    if (!log->work.in_flight) {
        charge(log, out_view->held_bytes);
    }
    return WEIR_OK;
}

/* OK and AGAIN: as rc is, unless something has ended the drain: who waits for room hears of that here only. */
static enum weir_rc unless_ended(struct weir_epoch_log *log, enum weir_rc rc, struct weir__drain_view *out_view, struct weir_error *err)
{
    enum weir_rc looked = rc == WEIR_OK || rc == WEIR_AGAIN ? look(log, false, out_view, err) : rc;
    return looked == WEIR_OK ? rc : looked;
}

/* OK: nothing is in flight and nothing has failed. */
static enum weir_rc settled(struct weir_epoch_log *log, struct weir_error *err)
{
    if (log->work.in_flight) {
        return WEIR_AGAIN;
    }
    if (log->rc != WEIR_OK) {
        *err = log->err;
        return log->rc;
    }
    return WEIR_OK;
}

/* Nothing is in flight. OK: the log is not stalled. AGAIN: it is; what waits is tried when it is time. */
static enum weir_rc retry(struct weir_epoch_log *log, enum job job, struct weir_error *err)
{
    if (!log->stalled) {
        return WEIR_OK;
    }
    if (weir_clock_mono_ms(log->ctx->clock) < log->retry_at_ms) {
        return WEIR_AGAIN;
    }
    begin(log, job);
    enum weir_rc rc = settled(log, err);
    return rc == WEIR_OK && log->stalled ? WEIR_AGAIN : rc;
}

bool weir_epoch_log_stalled(const struct weir_epoch_log *log, int64_t *out_wait_ms, struct weir_error *out_why)
{
    bool waits = !log->begun || log->fill.bytes.len >= log->options.fill_bytes; /* restore, or append */
    if (!log->stalled || !waits || log->work.in_flight) {
        return false;
    }
    int64_t wait_ms = log->retry_at_ms - weir_clock_mono_ms(log->ctx->clock);
    *out_wait_ms = wait_ms > 0 ? wait_ms : 0;
    *out_why = log->why;
    return true;
}

/* No state was restored: the log begins at 0. */
static void begin_new(struct weir_epoch_log *log)
{
    if (!log->begun) {
        log->begun = true;
        weir__drain_begin(log->drain, 0, 0, 0);
    }
}

static void rows_fini(struct rows *rows)
{
    weir_buf_fini(&rows->bytes);
    weir_free(rows->ends);
}

/* What has an own name, or may have. */
static char **own_paths(const struct weir_epoch_log *log, size_t *out_count)
{
    const struct weir__epoch_book *book = &log->book;
    size_t count = 0;
    char **paths = weir_calloc(log->state.nsegments + book->nsegments + log->drained.len + log->unlinking.len + 1, sizeof(*paths));
    for (size_t i = 0; i < book->nsegments; i++) {
        paths[count++] = own_path(log, book->segments[i].number);
    }
    for (size_t i = 0; i < log->state.nsegments; i++) { /* a restore that has failed */
        paths[count++] = own_path(log, log->state.segments[i].number);
    }
    for (size_t i = 0; i < log->drained.len; i++) {
        paths[count++] = own_path(log, log->drained.items[i]);
    }
    for (size_t i = 0; i < log->unlinking.len; i++) {
        paths[count++] = own_path(log, log->unlinking.items[i]);
    }
    if (log->segment_open) {
        paths[count++] = own_path(log, log->open_number);
    }
    *out_count = count;
    return paths;
}

void weir_epoch_log_destroy(struct weir_epoch_log *log)
{
    if (log == NULL) {
        return;
    }
    weir_assert(!log->work.in_flight);
    weir__segment_writer_fini(&log->writer);
    if (log->drain != NULL) {
        size_t count = 0;
        char **paths = own_paths(log, &count);
        weir__drain_stop(log->drain, paths, count);
    }
    weir_mem_uncharge(log->ctx->mem, log->charged_bytes);
    rows_fini(&log->fill);
    rows_fini(&log->writing);
    weir_free(log->drained.items);
    weir_free(log->unlinking.items);
    weir__epoch_state_fini(&log->state);
    weir__epoch_book_fini(&log->book);
    weir_free(log->dir);
    weir_free(log);
}

enum weir_rc weir__epoch_log_create(const struct weir_conn_ctx *ctx, const struct weir__epoch_log_options *options,
                                    struct weir_drain_target *target_take, struct weir_epoch_log **out_log, struct weir_error *err)
{
    struct weir_epoch_log *log = weir_calloc(1, sizeof(*log));
    weir_assert(options->chunk.records_max >= options->block.records_max && options->chunk.bytes_max >= options->block.bytes_max);
    log->ctx = ctx;
    log->options = *options;
    log->owner = (struct weir__segment_owner){.vertex = ctx->vertex, .subtask = ctx->subtask, .attempt = ctx->attempt, .run = ctx->run};
    log->work = (struct weir_work){.run = run, .done = done};
    log->dir = weir_strfmt("%s/%s/log", ctx->checkpoints_dir, ctx->job_id);
    log->drain = weir__drain_create(ctx, options->chunk, target_take);
    enum weir_rc rc = options->stepped ? WEIR_OK : weir__drain_start(log->drain, err);
    if (rc != WEIR_OK) {
        weir_epoch_log_destroy(log);
        return rc;
    }
    *out_log = log;
    return WEIR_OK;
}

enum weir_rc weir_epoch_log_create(const struct weir_conn_ctx *ctx, uint64_t bytes_max, struct weir_drain_target *target_take,
                                   struct weir_epoch_log **out_log, struct weir_error *err)
{
    const struct weir__epoch_log_options options = {
        .bytes_max = bytes_max,
        .fill_bytes = FILL_BYTES,
        .block = {.records_max = BLOCK_RECORDS_MAX, .bytes_max = BLOCK_BYTES_MAX},
        .chunk = {.records_max = WEIR_DRAIN_RECORDS_MAX, .bytes_max = WEIR_DRAIN_BYTES_MAX},
    };
    return weir__epoch_log_create(ctx, &options, target_take, out_log, err);
}

struct weir__drain *weir__epoch_log_drain_of(struct weir_epoch_log *log)
{
    return log->drain;
}

enum weir_rc weir_epoch_log_append(struct weir_epoch_log *log, struct weir_slice bytes, const uint32_t *ends, uint32_t count, struct weir_error *err)
{
    struct weir__drain_view view;
    weir_assert(log->preparing == 0);
    weir_assert(bytes.len == (count == 0 ? 0 : ends[count - 1]));
    weir_assert(bytes.len <= APPEND_BYTES_MAX);
    begin_new(log);
    enum weir_rc rc = settled(log, err);
    if (rc == WEIR_AGAIN && !log->stalled && log->fill.bytes.len < log->options.fill_bytes) {
        rc = WEIR_OK; /* the other buffer is being written */
    } else if (rc == WEIR_OK && log->fill.bytes.len >= log->options.fill_bytes) {
        rc = retry(log, WRITE, err);
    }
    rc = unless_ended(log, rc, &view, err);
    if (rc == WEIR_OK && weir__epoch_book_full(&log->book, log->options.bytes_max)) {
        rc = look(log, true, &view, err); /* it may have gone on since */
        rc = rc == WEIR_OK && weir__epoch_book_full(&log->book, log->options.bytes_max) ? WEIR_AGAIN : rc;
    }
    if (rc != WEIR_OK) {
        return rc;
    }
    fill_rows(&log->fill, bytes, ends, count);
    weir__epoch_book_append(&log->book, count, bytes.len + (uint64_t)count * sizeof(*ends));
    if (!log->work.in_flight) {
        charge(log, view.held_bytes);
        if (log->fill.bytes.len >= log->options.fill_bytes) {
            begin(log, WRITE);
        }
    }
    return WEIR_OK;
}

enum weir_rc weir_epoch_log_prepare(struct weir_epoch_log *log, uint64_t checkpoint, struct weir_buf *out, struct weir_error *err)
{
    struct weir__drain_view view;
    weir_assert(checkpoint > 0);
    weir_assert(log->preparing == 0 || log->preparing == checkpoint);
    begin_new(log);
    enum weir_rc rc = settled(log, err);
    rc = rc != WEIR_OK ? rc : look(log, false, &view, err);
    if (rc == WEIR_OK && log->preparing == 0) { /* from here on the cursor of the book stands still (B3) */
        log->preparing = checkpoint;
        log->linked = false;
        log->checkpoint = checkpoint;
        begin(log, PREPARE);
        rc = settled(log, err);
    }
    if (rc != WEIR_OK) {
        return rc;
    }
    log->preparing = 0;
    if (!log->linked) {
        weir_assert(log->stalled);
        *err = log->why;
        return err->rc;
    }
    weir__epoch_book_encode(&log->book, log->owner, out);
    return WEIR_OK;
}

enum weir_rc weir_epoch_log_commit(struct weir_epoch_log *log, uint64_t checkpoint, struct weir_error *err)
{
    struct weir__drain_view view;
    weir_assert(log->preparing == 0);
    if (!log->work.in_flight && log->rc != WEIR_OK) {
        *err = log->err;
        return log->rc;
    }
    if (weir__epoch_book_commit(&log->book, checkpoint)) {
        weir__drain_commit(log->drain, checkpoint, log->book.committed);
    }
    return look(log, false, &view, err);
}

/* (E8) Whether the state is this log's, of which the next attempt goes on. CORRUPT. */
static enum weir_rc own_state(const struct weir_epoch_log *log, const struct weir__epoch_state *state, uint64_t checkpoint, bool *out_own,
                              struct weir_error *err)
{
    *out_own = state->run == log->owner.run && state->subtask == log->owner.subtask;
    if (*out_own || state->run < log->owner.run) {
        return WEIR_OK;
    }
    return weir_error_set(err, WEIR_CORRUPT,
                          "table %s: the sink's log in checkpoint %" PRIu64 " is that of subtask %u in the run that attempt %u began; subtask %u of "
                          "run %u cannot go on with it",
                          log->ctx->table->name, checkpoint, state->subtask, state->run, log->owner.subtask, log->owner.run);
}

enum weir_rc weir_epoch_log_restore(struct weir_epoch_log *log, uint64_t checkpoint, struct weir_slice state, struct weir_error *err)
{
    struct weir__drain_view view;
    weir_assert(checkpoint > 0);
    enum weir_rc rc = settled(log, err);
    if (rc != WEIR_OK || log->begun) {
        return rc;
    }
    if (log->checkpoint == 0) {
        bool own = false;
        if (!weir__epoch_state_decode(state, &log->state)) {
            return weir_error_set(err, WEIR_CORRUPT, "table %s: the state of the sink's log in checkpoint %" PRIu64 " (subtask %u) is damaged",
                                  log->ctx->table->name, checkpoint, log->owner.subtask);
        }
        rc = own_state(log, &log->state, checkpoint, &own, err);
        if (rc != WEIR_OK || !own) {
            weir__epoch_state_fini(&log->state);
            return rc;
        }
        log->checkpoint = checkpoint;
        begin(log, RESTORE);
        rc = settled(log, err);
    } else {
        rc = retry(log, RESTORE, err);
    }
    rc = rc == WEIR_OK && log->stalled ? WEIR_AGAIN : rc;
    return rc == WEIR_AGAIN ? unless_ended(log, rc, &view, err) : rc;
}

enum weir_rc weir_epoch_log_drain(struct weir_epoch_log *log, struct weir_error *err)
{
    struct weir__drain_view view;
    begin_new(log);
    enum weir_rc rc = settled(log, err);
    rc = rc != WEIR_OK ? rc : look(log, true, &view, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    bool drained = log->book.committed == 0 || (view.judged && view.cursor >= log->book.committed);
    return drained ? WEIR_OK : WEIR_AGAIN;
}
