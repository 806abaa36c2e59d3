#include "jobmanager/ha/file_log.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "jobmanager/ha/log_frame.h"

struct pending {
    uint64_t proposal;
    struct weir_buf entry;
};

enum work_kind { WORK_APPEND, WORK_COMPACT, WORK_REJECT };

enum { FILE_BYTES_MAX = 1 << 30 };

struct file_log {
    struct weir_cluster_log base;
    struct weir_work work;
    struct weir_file_log_options options;
    char *path;
    struct weir_fs_file *file;
    uint64_t file_bytes;     /* up to the end of the last committed frame */
    uint64_t snapshot_bytes; /* of the file's first frame */
    uint64_t compact_bytes;  /* the file is compacted when it is longer */
    uint64_t term;
    uint64_t last_index;
    bool started, failed;
    struct pending *queue; /* proposals, oldest first */
    size_t nqueue, queue_cap;
    struct { /* lent to the executor while work.in_flight */
        enum work_kind kind;
        size_t entries; /* of the queue's front */
        struct weir_buf bytes;
        enum weir_rc rc;
        bool unknown; /* it failed, and may be on disk all the same */
        struct weir_error err;
        struct weir_fs_file *file_new;
    } flight;
};

static struct file_log *of(struct weir_cluster_log *log)
{
    return (struct file_log *)log;
}

static void work_run(struct weir_work *work);
static void work_done(struct weir_work *work);

/* --- disk --------------------------------------------------------------------------------------------------------------- */
static enum weir_rc disk_read(struct file_log *log, struct weir_buf *file, struct weir_error *err)
{
    enum weir_rc rc = weir_fs_read_all(log->options.fs, log->path, FILE_BYTES_MAX, file, err);
    return rc == WEIR_NOT_FOUND ? WEIR_OK : rc;
}

/* The whole file anew (F3), and open. */
static enum weir_rc disk_replace(struct file_log *log, struct weir_slice bytes, struct weir_fs_file **out_file, struct weir_error *err)
{
    enum weir_rc rc = weir_fs_write_atomic(log->options.fs, log->path, bytes, err);
    return rc == WEIR_OK ? weir_fs_open(log->options.fs, log->path, WEIR_FS_APPEND, out_file, err) : rc;
}

/* Opens for appending; a torn tail is cut off for good before anything is written behind it. */
static enum weir_rc disk_open(struct file_log *log, bool torn, struct weir_error *err)
{
    enum weir_rc rc = weir_fs_open(log->options.fs, log->path, WEIR_FS_APPEND, &log->file, err);
    if (rc == WEIR_OK && torn) {
        rc = weir_fs_truncate(log->file, log->file_bytes, err);
        rc = rc == WEIR_OK ? weir_fs_fsync(log->file, err) : rc;
    }
    return rc;
}

/* Off-thread. out_unknown: on error, whether the bytes may be on disk all the same (F4). */
static enum weir_rc disk_append(struct file_log *log, struct weir_slice bytes, bool *out_unknown, struct weir_error *err)
{
    enum weir_rc rc = weir_fs_append(log->file, bytes, err);
    if (rc == WEIR_OK) {
        rc = weir_fs_fsync(log->file, err);
        *out_unknown = rc != WEIR_OK;
        return rc;
    }
    struct weir_error ignored;
    *out_unknown = weir_fs_truncate(log->file, log->file_bytes, &ignored) != WEIR_OK || weir_fs_fsync(log->file, &ignored) != WEIR_OK;
    return rc;
}

/* --- recovery --------------------------------------------------------------------------------------------------------- */
static enum weir_rc recover_entries(struct file_log *log, const struct weir_log_frame *frame, struct weir_error *err)
{
    struct weir_reader reader = weir_reader(frame->payload);
    for (uint32_t i = 0; i < frame->entries; i++) {
        struct weir_slice entry = weir_read_bytes(&reader);
        if (reader.failed) {
            return weir_error_set(err, WEIR_CORRUPT, "frame of entry %llu: entry %u of %u is cut",
                                  (unsigned long long)frame->index, i, frame->entries);
        }
        log->last_index = frame->index + i;
        enum weir_rc rc = log->options.listener.apply(log->options.listener.ctx, log->last_index, entry, err);
        if (rc != WEIR_OK) {
            (void)weir_error_prefix(err, "entry %llu", (unsigned long long)log->last_index);
            return rc;
        }
    }
    return reader.rest.len == 0 ? WEIR_OK
                                : weir_error_set(err, WEIR_CORRUPT, "frame of entry %llu: bytes left over", (unsigned long long)frame->index);
}

static enum weir_rc recover_frame(struct file_log *log, const struct weir_log_frame *frame, bool first, struct weir_error *err)
{
    if (frame->term < log->term) {
        return weir_error_set(err, WEIR_CORRUPT, "term %llu follows term %llu", (unsigned long long)frame->term, (unsigned long long)log->term);
    }
    log->term = frame->term;
    if (frame->kind == WEIR_LOG_FRAME_SNAPSHOT) {
        if (!first) {
            return weir_error_set(err, WEIR_CORRUPT, "a snapshot stands behind other frames");
        }
        log->last_index = frame->index;
        log->snapshot_bytes = frame->payload.len;
        return log->options.listener.snapshot_restore(log->options.listener.ctx, frame->payload, err);
    }
    if (frame->index != log->last_index + 1 || frame->entries == 0) {
        return weir_error_set(err, WEIR_CORRUPT, "entry %llu follows entry %llu", (unsigned long long)frame->index,
                              (unsigned long long)log->last_index);
    }
    return recover_entries(log, frame, err);
}

/* Applies every whole frame; file_bytes becomes their end. */
static enum weir_rc recover(struct file_log *log, struct weir_slice file, struct weir_error *err)
{
    size_t at = WEIR_LOG_FILE_HEADER_BYTES;
    while (at < file.len) {
        struct weir_slice rest = weir_slice(file.data + at, file.len - at);
        struct weir_log_frame frame;
        size_t frame_bytes = 0;
        if (!weir_log_frame_get(rest, &frame, &frame_bytes)) {
            if (weir_log_frame_find_later(rest, log->last_index)) {
                return weir_error_set(err, WEIR_CORRUPT,
                                      "%s: offset %zu: a damaged frame with good ones behind it; restore the directory from a backup, or move it "
                                      "away to start an empty cluster",
                                      log->path, at);
            }
            weir_log(log->options.log, WEIR_LOG_WARN, "cluster_log_torn_tail_cut", "file", log->path, "offset", WEIR_LOG_INT(at), "bytes",
                     WEIR_LOG_INT(rest.len), NULL);
            break;
        }
        enum weir_rc rc = recover_frame(log, &frame, at == WEIR_LOG_FILE_HEADER_BYTES, err);
        if (rc != WEIR_OK) {
            (void)weir_error_prefix(err, "%s: offset %zu", log->path, at);
            return rc;
        }
        at += frame_bytes;
    }
    log->file_bytes = at;
    return WEIR_OK;
}

static enum weir_rc open_file(struct file_log *log, struct weir_error *err)
{
    struct weir_buf file = {0};
    enum weir_rc rc = disk_read(log, &file, err);
    if (rc != WEIR_OK) {
        goto out;
    }
    rc = weir_log_frame_check_header(weir_buf_slice(&file), err);
    if (rc == WEIR_END) { /* the file is made here, or was when the machine went down: it never held an entry */
        weir_buf_clear(&file);
        weir_log_frame_put_header(&file);
        log->file_bytes = file.len;
        rc = disk_replace(log, weir_buf_slice(&file), &log->file, err);
        goto out;
    }
    if (rc != WEIR_OK) {
        (void)weir_error_prefix(err, "%s", log->path);
        goto out;
    }
    rc = recover(log, weir_buf_slice(&file), err);
    if (rc == WEIR_OK) {
        rc = disk_open(log, log->file_bytes < file.len, err);
    }
out:
    weir_buf_fini(&file);
    return rc;
}

/* --- proposals -------------------------------------------------------------------------------------------------------- */
static void submit(struct file_log *log, enum work_kind kind)
{
    log->flight.kind = kind;
    log->flight.rc = WEIR_OK;
    log->flight.unknown = false;
    weir_executor_submit(log->options.executor, &log->work);
}

/* What to do next, if nothing is under way. */
static void go_on(struct file_log *log)
{
    if (log->work.in_flight) {
        return;
    }
    weir_buf_clear(&log->flight.bytes);
    log->flight.entries = 0;
    if (log->failed) {
        if (log->nqueue > 0) {
            submit(log, WORK_REJECT);
        }
        return;
    }
    struct weir_buf payload = {0};
    if (log->file_bytes > log->compact_bytes && log->file_bytes > 4 * log->snapshot_bytes) {
        log->options.listener.snapshot_take(log->options.listener.ctx, &payload);
        log->snapshot_bytes = payload.len;
        weir_log_frame_put_header(&log->flight.bytes);
        weir_log_frame_put(&log->flight.bytes, &(struct weir_log_frame){.kind = WEIR_LOG_FRAME_SNAPSHOT,
                                                                        .term = log->term,
                                                                        .index = log->last_index,
                                                                        .payload = weir_buf_slice(&payload)});
        submit(log, WORK_COMPACT);
    } else if (log->nqueue > 0) {
        while (log->flight.entries < log->nqueue && log->flight.entries < WEIR_FILE_LOG_FRAME_ENTRIES_MAX &&
               (log->flight.entries == 0 || payload.len < WEIR_FILE_LOG_ENTRY_BYTES_MAX)) {
            weir_buf_put_bytes(&payload, weir_buf_slice(&log->queue[log->flight.entries++].entry));
        }
        weir_log_frame_put(&log->flight.bytes, &(struct weir_log_frame){.kind = WEIR_LOG_FRAME_ENTRIES,
                                                                        .term = log->term,
                                                                        .index = log->last_index + 1,
                                                                        .entries = (uint32_t)log->flight.entries,
                                                                        .payload = weir_buf_slice(&payload)});
        submit(log, WORK_APPEND);
    }
    weir_buf_fini(&payload);
}

static void propose(struct weir_cluster_log *base, uint64_t proposal, struct weir_slice entry)
{
    struct file_log *log = of(base);
    weir_assert(log->started);
    weir_assert(entry.len <= WEIR_FILE_LOG_ENTRY_BYTES_MAX);
    log->queue = weir_vec_grow(log->queue, &log->queue_cap, sizeof(*log->queue), log->nqueue + 1);
    struct pending *pending = &log->queue[log->nqueue++];
    *pending = (struct pending){.proposal = proposal};
    weir_buf_put_slice(&pending->entry, entry);
    go_on(log);
}

/* Off-thread. */
static void work_run(struct weir_work *work)
{
    struct file_log *log = (struct file_log *)((uintptr_t)work - offsetof(struct file_log, work));
    switch (log->flight.kind) {
    case WORK_APPEND:
        log->flight.rc = disk_append(log, weir_buf_slice(&log->flight.bytes), &log->flight.unknown, &log->flight.err);
        break;
    case WORK_COMPACT:
        log->flight.rc = disk_replace(log, weir_buf_slice(&log->flight.bytes), &log->flight.file_new, &log->flight.err);
        break;
    case WORK_REJECT:
        break;
    }
}

static void tell_front(struct file_log *log, enum weir_proposal_outcome outcome, const struct weir_error *err)
{
    struct pending front = log->queue[0];
    memmove(&log->queue[0], &log->queue[1], (log->nqueue - 1) * sizeof(log->queue[0]));
    log->nqueue--;
    weir_buf_fini(&front.entry);
    log->options.listener.outcome(log->options.listener.ctx, front.proposal, outcome, err);
}

/* (C5) */
static void become_failed(struct file_log *log, const struct weir_error *err)
{
    log->failed = true;
    weir_log(log->options.log, WEIR_LOG_ERROR, "cluster_log_failed", "error", err->text, NULL);
    log->options.listener.leadership(log->options.listener.ctx, false, log->term, err);
    log->options.listener.failed(log->options.listener.ctx, err);
}

static void append_done(struct file_log *log)
{
    size_t entries = log->flight.entries;
    struct weir_error err = log->flight.err;
    bool unknown = log->flight.unknown;
    bool ok = log->flight.rc == WEIR_OK;
    if (ok) {
        log->file_bytes += log->flight.bytes.len;
    } else if (unknown) {
        become_failed(log, &err);
    }
    for (size_t i = 0; i < entries; i++) {
        if (ok && !log->failed) {
            struct weir_slice entry = weir_buf_slice(&log->queue[0].entry);
            if (log->options.listener.apply(log->options.listener.ctx, log->last_index + 1, entry, &err) != WEIR_OK) {
                become_failed(log, &err);
            }
            log->last_index++;
        }
        tell_front(log, !ok && !unknown ? WEIR_PROPOSAL_REJECTED : log->failed ? WEIR_PROPOSAL_UNKNOWN : WEIR_PROPOSAL_COMMITTED, &err);
    }
}

static void compact_done(struct file_log *log)
{
    if (log->flight.rc == WEIR_OK) {
        weir_fs_close(log->file);
        log->file = log->flight.file_new;
        log->flight.file_new = NULL;
        log->file_bytes = log->flight.bytes.len;
        weir_log(log->options.log, WEIR_LOG_INFO, "cluster_log_compacted", "bytes", WEIR_LOG_INT(log->file_bytes), "index",
                 WEIR_LOG_INT(log->last_index), NULL);
        return;
    }
    struct weir_error err = log->flight.err;
    if (log->flight.rc == WEIR_RESOURCE && log->flight.file_new == NULL) { /* no room for the new file: the old one is as it was */
        log->compact_bytes *= 2;
        weir_log(log->options.log, WEIR_LOG_WARN, "cluster_log_not_compacted", "error", err.text, NULL);
        return;
    }
    become_failed(log, &err); /* which of the two files the name means may not be known */
}

static void work_done(struct weir_work *work)
{
    struct file_log *log = (struct file_log *)((uintptr_t)work - offsetof(struct file_log, work));
    struct weir_error err;
    switch (log->flight.kind) {
    case WORK_APPEND:
        append_done(log);
        break;
    case WORK_COMPACT:
        compact_done(log);
        break;
    case WORK_REJECT:
        (void)weir_error_set(&err, WEIR_IO, "the cluster log failed earlier: restart the JobManager");
        for (size_t left = log->nqueue; left > 0; left--) {
            tell_front(log, WEIR_PROPOSAL_REJECTED, &err);
        }
        break;
    }
    go_on(log);
}

/* --- life ------------------------------------------------------------------------------------------------------------- */
static void destroy(struct weir_cluster_log *base)
{
    struct file_log *log = of(base);
    weir_assert(!log->work.in_flight);
    for (size_t i = 0; i < log->nqueue; i++) {
        weir_buf_fini(&log->queue[i].entry);
    }
    weir_free(log->queue);
    weir_buf_fini(&log->flight.bytes);
    weir_fs_close(log->flight.file_new);
    weir_fs_close(log->file);
    weir_free(log->path);
    weir_free(log);
}

static const struct weir_cluster_log_ops file_log_ops = {.propose = propose, .destroy = destroy};

enum weir_rc weir_file_log_open(const struct weir_file_log_options *options, struct weir_cluster_log **out_log, struct weir_error *err)
{
    struct file_log *log = weir_calloc(1, sizeof(*log));
    log->base.ops = &file_log_ops;
    log->work = (struct weir_work){.run = work_run, .done = work_done};
    log->options = *options;
    log->path = weir_strfmt("%s/cluster.log", options->dir);
    log->compact_bytes = options->compact_bytes == 0 ? WEIR_FILE_LOG_COMPACT_BYTES : options->compact_bytes;
    enum weir_rc rc = open_file(log, err);
    if (rc != WEIR_OK) {
        destroy(&log->base);
        return rc;
    }
    log->term++; /* (F2) */
    *out_log = &log->base;
    return WEIR_OK;
}

void weir_file_log_start(struct weir_cluster_log *base)
{
    struct file_log *log = of(base);
    weir_assert(!log->started);
    log->started = true;
    log->options.listener.leadership(log->options.listener.ctx, true, log->term, NULL);
}

bool weir_file_log_busy(const struct weir_cluster_log *base)
{
    const struct file_log *log = (const struct file_log *)base;
    return log->work.in_flight;
}
