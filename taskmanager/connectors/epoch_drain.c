#include "taskmanager/connectors/epoch_drain.h"

#include "common/base/failpoint.h"
#include "common/base/vec.h"
#include "common/runtime/sync.h"
#include "common/runtime/thread.h"
#include "taskmanager/connectors/epoch_segment.h"

#include <inttypes.h>

struct queued {
    char *path;
    struct weir__segment segment;
};

/* What the log says. */
struct inbox {
    bool stop;
    bool begun;
    uint64_t restored, known, end; /* begun: of the checkpoint; judged once */
    uint64_t checkpoint, committed;
};

struct weir__drain {
    struct weir_mutex mutex; /* guards from here ... */
    struct weir_cond cond;   /* the inbox has changed */
    struct inbox inbox;
    uint64_t said;           /* changes of the inbox */
    struct queued *queue;    /* not drained, oldest first */
    size_t nqueue, queue_cap;
    char **doomed;           /* to unlink at the end */
    size_t ndoomed;
    struct weir__drain_view view;
    enum weir_rc rc;         /* the error that ended it, and its text; set once, by the thread */
    struct weir_error err;
    int64_t called_ms;       /* since when the thread is in the target; 0: it is not */
    bool wake_wanted;
    void (*wake)(void *wake_ctx); /* NULL after stop */
    void *wake_ctx;
    uint32_t users;          /* ... to here: the log, the thread */

    /* Never changed. */
    struct weir_fs *fs;
    const struct weir_clock *clock;
    struct weir_lease *lease; /* own reference, or NULL */
    struct weir_fence *fence; /* likewise */
    struct weir_log *log;     /* own, or NULL */
    char *table;
    struct weir__drain_limits limits;
    int64_t call_ms_max; /* the target's */

    /* The thread's. */
    struct weir_drain_target *target;
    uint64_t heard;   /* changes of the inbox it has acted on */
    bool fenced;      /* recovered, and need not again */
    bool in_doubt;    /* nobody knows whether the chunk was committed */
    bool judged;
    struct weir__cursor_seen seen;
    uint64_t cursor;
    uint64_t announced; /* the `committed` whose drain has begun */
    uint32_t halvings;  /* D4: of the limits of a chunk */
    uint32_t oks, grow_after; /* chunks in a row; so many double it */
    int64_t backoff_ms;
    struct weir__segment_reader reader;
    struct weir_buf bytes; /* of the chunk */
    uint32_t *ends;
    size_t ends_cap;
    struct weir_drain_chunk chunk; /* count 0: none */
};

struct weir__drain *weir__drain_create(const struct weir_conn_ctx *ctx, struct weir__drain_limits limits, struct weir_drain_target *target_take)
{
    struct weir__drain *drain = weir_calloc(1, sizeof(*drain));
    weir_mutex_init(&drain->mutex);
    weir_cond_init(&drain->cond);
    drain->users = 1;
    drain->target = target_take;
    drain->call_ms_max = target_take->call_ms_max;
    drain->fs = ctx->fs;
    drain->clock = ctx->clock;
    drain->lease = ctx->lease == NULL ? NULL : ctx->lease->ref(ctx->lease);
    drain->fence = weir_fence_ref(ctx->fence);
    drain->log = ctx->log == NULL ? NULL : weir_log_bind(ctx->log, "table", ctx->table->name);
    drain->table = weir_strdup(ctx->table->name);
    drain->wake = ctx->wake;
    drain->wake_ctx = ctx->wake_ctx;
    drain->limits = limits;
    drain->backoff_ms = WEIR__DRAIN_BACKOFF_MS_MIN;
    drain->halvings = WEIR__DRAIN_HALVINGS_MAX;
    drain->grow_after = 1;
    return drain;
}

/* --- the log's side --------------------------------------------------------------------------------------------------- */

static void say(struct weir__drain *drain)
{
    drain->said++;
    weir_cond_signal(&drain->cond);
    weir_mutex_unlock(&drain->mutex);
}

void weir__drain_begin(struct weir__drain *drain, uint64_t checkpoint, uint64_t known, uint64_t end)
{
    weir_mutex_lock(&drain->mutex);
    struct inbox *inbox = &drain->inbox;
    weir_assert(!inbox->begun);
    inbox->begun = true;
    inbox->restored = inbox->checkpoint = checkpoint;
    inbox->known = known;
    inbox->end = inbox->committed = end;
    say(drain);
}

void weir__drain_add(struct weir__drain *drain, char *path_take, const struct weir__segment *segment)
{
    weir_mutex_lock(&drain->mutex);
    drain->queue = weir_vec_grow(drain->queue, &drain->queue_cap, sizeof(*drain->queue), drain->nqueue + 1);
    drain->queue[drain->nqueue++] = (struct queued){.path = path_take, .segment = *segment};
    weir_mutex_unlock(&drain->mutex); /* nothing to do for it before commit */
}

void weir__drain_commit(struct weir__drain *drain, uint64_t checkpoint, uint64_t end)
{
    weir_mutex_lock(&drain->mutex);
    weir_assert(drain->inbox.begun);
    weir_assert(end >= drain->inbox.committed);
    drain->inbox.checkpoint = checkpoint;
    drain->inbox.committed = end;
    say(drain);
}

enum weir_rc weir__drain_poll(struct weir__drain *drain, bool want_wake, struct weir__drain_view *out_view, struct weir_error *err)
{
    int64_t now_ms = weir_clock_mono_ms(drain->clock);
    weir_mutex_lock(&drain->mutex);
    enum weir_rc rc = drain->rc;
    if (rc == WEIR_OK && drain->called_ms != 0 && now_ms - drain->called_ms > drain->call_ms_max) { /* (E10) */
        rc = weir_error_set(err, WEIR_EXTERNAL, "table %s: a call of the outside system's client has not come back for %" PRId64
                            " s: it is given up, another attempt takes the output over", drain->table, (now_ms - drain->called_ms) / 1000);
    } else if (rc == WEIR_OK) {
        *out_view = drain->view;
        drain->wake_wanted = drain->wake_wanted || want_wake;
    } else {
        *err = drain->err;
    }
    weir_mutex_unlock(&drain->mutex);
    return rc;
}

static void drain_free(struct weir__drain *drain)
{
    for (size_t i = 0; i < drain->nqueue; i++) {
        weir_free(drain->queue[i].path);
    }
    weir_free(drain->queue);
    weir_cond_fini(&drain->cond);
    weir_mutex_fini(&drain->mutex);
    weir_log_destroy(drain->log);
    weir_fence_unref(drain->fence);
    weir_free(drain->table);
    weir_free(drain);
}

static void drain_unref(struct weir__drain *drain)
{
    weir_mutex_lock(&drain->mutex);
    weir_assert(drain->users > 0);
    drain->users--;
    bool last = drain->users == 0;
    weir_mutex_unlock(&drain->mutex);
    if (last) {
        drain_free(drain);
    }
}

/* The thread's last act; `stop` is set, so the log says nothing more. */
static void finish(struct weir__drain *drain)
{
    struct weir_error ignored;
    weir__segment_reader_fini(&drain->reader);
    weir_buf_fini(&drain->bytes);
    weir_free(drain->ends);
    for (size_t i = 0; i < drain->ndoomed; i++) { /* (E4) what cannot be removed now is removed by the next attempt, or the JobManager */
        enum weir_rc rc = weir_fs_unlink(drain->fs, drain->doomed[i], &ignored);
        if (rc != WEIR_OK && rc != WEIR_NOT_FOUND) {
            weir_log(drain->log, WEIR_LOG_WARN, "log_segment_not_removed", "why", ignored.text, NULL);
        }
        weir_free(drain->doomed[i]);
    }
    weir_free(drain->doomed);
    if (drain->lease != NULL) {
        drain->lease->unref(drain->lease);
    }
    drain->target->vtable->destroy(drain->target); /* last: it may take its time, and a test waits for it */
}

void weir__drain_stop(struct weir__drain *drain, char **paths_take, size_t npaths)
{
    int64_t now_ms = weir_clock_mono_ms(drain->clock);
    weir_mutex_lock(&drain->mutex);
    weir_assert(!drain->inbox.stop);
    drain->inbox.stop = true;
    drain->wake = NULL;
    drain->doomed = paths_take;
    drain->ndoomed = npaths;
    bool alone = drain->users == 1;
    int64_t called_ms = drain->called_ms;
    say(drain);
    if (called_ms != 0 && now_ms - called_ms > drain->call_ms_max) { /* (E10) */
        weir_log(drain->log, WEIR_LOG_WARN, "drain_thread_left", "why", "a call of the outside system's client does not come back", "s",
                 WEIR_LOG_INT((now_ms - called_ms) / 1000), NULL);
    }
    if (alone) {
        finish(drain);
    }
    drain_unref(drain);
}

/* --- the thread's side ------------------------------------------------------------------------------------------------ */

static struct inbox listen(struct weir__drain *drain)
{
    weir_mutex_lock(&drain->mutex);
    struct inbox inbox = drain->inbox;
    drain->heard = drain->said;
    weir_mutex_unlock(&drain->mutex);
    return inbox;
}

/* How far it is, and what can be forgotten; wakes who waits for that. */
static void publish(struct weir__drain *drain)
{
    weir_mutex_lock(&drain->mutex);
    drain->view = (struct weir__drain_view){
        .cursor = drain->cursor,
        .judged = drain->judged,
        .held_bytes = drain->bytes.cap + drain->ends_cap * sizeof(*drain->ends) + drain->reader.head.cap,
    };
    size_t done = 0;
    while (drain->judged && done < drain->nqueue && drain->queue[done].segment.end <= drain->cursor) {
        weir_free(drain->queue[done++].path);
    }
    if (done > 0) {
        memmove(drain->queue, drain->queue + done, (drain->nqueue - done) * sizeof(*drain->queue));
        drain->nqueue -= done;
    }
    if (drain->wake_wanted && drain->wake != NULL) {
        drain->wake_wanted = false;
        drain->wake(drain->wake_ctx);
    }
    weir_mutex_unlock(&drain->mutex);
}

/* What the target says of a successor outside: if there is one, nobody hears this any more; else a zombie with an old lease was late, and a new
 * attempt puts things right. STALE would be the end of the job. */
static enum weir_rc fenced(struct weir_error *err)
{
    struct weir_error why = *err;
    return weir_error_set(err, WEIR_EXTERNAL, "another attempt has taken the output over: %s", why.text);
}

static void fail(struct weir__drain *drain, struct weir_error *err)
{
    (void)weir_error_prefix(err, "table %s", drain->table);
    weir_mutex_lock(&drain->mutex);
    drain->rc = err->rc;
    drain->err = *err;
    if (drain->wake != NULL) {
        drain->wake(drain->wake_ctx);
    }
    weir_mutex_unlock(&drain->mutex);
}

/* What it waits for, for those who look into the log. */
static void note(struct weir__drain *drain, const char *what, const struct weir_error *err)
{
    weir_log(drain->log, WEIR_LOG_WARN, what, "why", err->text[0] == '\0' ? "not now" : err->text, "again_in_ms", WEIR_LOG_INT(drain->backoff_ms),
             NULL);
}

/* Around each call of the target. */
static void enter(struct weir__drain *drain)
{
    int64_t now_ms = weir_clock_mono_ms(drain->clock);
    weir_mutex_lock(&drain->mutex);
    drain->called_ms = now_ms;
    weir_mutex_unlock(&drain->mutex);
}

static void leave(struct weir__drain *drain)
{
    weir_mutex_lock(&drain->mutex);
    drain->called_ms = 0;
    weir_mutex_unlock(&drain->mutex);
}

/* (D2) */
static enum weir_rc resolve(struct weir__drain *drain, struct weir_error *err)
{
    uint64_t cursor = drain->seen.found ? drain->seen.cursor : 0;
    uint64_t committed = listen(drain).committed;
    if (!drain->in_doubt && cursor < drain->cursor) {
        weir_log(drain->log, WEIR_LOG_WARN, "sink_cursor_forgotten", "cursor", WEIR_LOG_INT(cursor), "committed", WEIR_LOG_INT(drain->cursor), NULL);
        cursor = drain->cursor;
    }
    if (cursor < drain->chunk.first) {
        return weir_error_set(err, WEIR_CORRUPT,
                              "the cursor outside stands at record %" PRIu64 "%s, but the outside system has acknowledged all below %" PRIu64 ": it was set "
                              "back, or lost, and nobody knows what became of the next transaction. Submit the job anew: a new job has a transactional "
                              "id and a cursor of its own, but its records come again",
                              cursor, drain->seen.found ? "" : " (there is none)", drain->chunk.first);
    }
    if (cursor > committed) {
        return weir_error_set(err, WEIR_CORRUPT,
                              "the cursor outside stands at record %" PRIu64 ", but only %" PRIu64 " are committed: something else has moved it. Does "
                              "another job or program use this transactional id or its consumer group?", cursor, committed);
    }
    weir__segment_close(&drain->reader); /* it may stand before or behind the cursor */
    drain->chunk.count = 0; /* it is cut anew (D4) */
    drain->in_doubt = false;
    if (cursor > drain->cursor) {
        drain->cursor = cursor;
        publish(drain);
    }
    return WEIR_OK;
}

static enum weir_rc fence(struct weir__drain *drain, struct weir_error *err)
{
    if (drain->lease != NULL) {
        enum weir_rc rc = drain->lease->check(drain->lease, WEIR__DRAIN_LEASE_TIMEOUT_MS, err);
        if (rc == WEIR_TIMEOUT) {
            note(drain, "sink_waits_for_lease", err);
            return WEIR_AGAIN;
        }
        if (rc != WEIR_OK) {
            return weir_error_prefix(err, "this attempt may not write outside any more");
        }
        if (listen(drain).stop) { /* it took its time; an attempt that is over must not fence its successor */
            return WEIR_AGAIN;
        }
    }
    struct weir__cursor_seen seen = {0};
    err->text[0] = '\0';
    enter(drain);
    enum weir_rc rc = drain->target->vtable->recover(drain->target, &seen.found, &seen.cursor, err);
    leave(drain);
    if (rc == WEIR_AGAIN) {
        note(drain, "sink_waits_to_recover", err);
    }
    if (rc != WEIR_OK) {
        return rc == WEIR_STALE ? fenced(err) : rc;
    }
    drain->fenced = true;
    drain->seen = seen;
    return drain->judged ? resolve(drain, err) : WEIR_OK; /* not the first time */
}

/* (E5) */
static enum weir_rc judge(struct weir__drain *drain, const struct inbox *inbox, struct weir_error *err)
{
    enum weir_rc rc = weir__epoch_cursor_check(drain->seen, inbox->restored, inbox->known, inbox->end, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    drain->judged = true;
    drain->cursor = drain->seen.found ? drain->seen.cursor : 0;
    publish(drain);
    return WEIR_OK;
}

/* --- reading back ----------------------------------------------------------------------------------------------------- */

/* Opens the segment that holds the position, which is committed and not drained. */
static enum weir_rc open_segment(struct weir__drain *drain, uint64_t position, struct weir_error *err)
{
    struct queued found = {0};
    weir_mutex_lock(&drain->mutex);
    for (size_t i = 0; i < drain->nqueue && found.path == NULL; i++) {
        const struct queued *queued = &drain->queue[i];
        if (queued->segment.first <= position && position < queued->segment.end) {
            found = (struct queued){.path = weir_strdup(queued->path), .segment = queued->segment};
        }
    }
    weir_mutex_unlock(&drain->mutex);
    weir_assert(found.path != NULL);
    enum weir_rc rc = weir__segment_open(&drain->reader, drain->fs, found.path, &found.segment, err);
    if (rc == WEIR_NOT_FOUND) {
        rc = weir_error_set(err, WEIR_IO, /* may pass: the checkpoint has a link of its own */
                            "%s: this segment of the sink's log was removed by somebody else before its records were written outside; a restart takes "
                            "it from the checkpoint again",
                            found.path);
    }
    weir_free(found.path);
    return rc;
}

/* Leaves out what lies before the cursor; the block's records are the chunk's last. */
static void take_block(struct weir__drain *drain, const struct weir__block *block, size_t before, uint32_t skipped)
{
    uint32_t *ends = drain->ends + drain->chunk.count;
    uint32_t cut = skipped == 0 ? 0 : ends[skipped - 1];
    if (cut > 0) {
        memmove(drain->bytes.data + before, drain->bytes.data + before + cut, block->bytes - cut);
        drain->bytes.len -= cut;
    }
    for (uint32_t i = skipped; i < block->count; i++) {
        ends[i - skipped] = ends[i] - cut + (uint32_t)before;
    }
    drain->chunk.count += block->count - skipped;
}

/* (D4) */
static struct weir__drain_limits limits_now(const struct weir__drain *drain)
{
    uint32_t records_max = drain->limits.records_max >> drain->halvings;
    uint32_t bytes_max = drain->limits.bytes_max >> drain->halvings;
    return (struct weir__drain_limits){.records_max = records_max > 0 ? records_max : 1, .bytes_max = bytes_max > 0 ? bytes_max : 1};
}

static void grow(struct weir__drain *drain)
{
    drain->oks++;
    if (drain->halvings > 0 && drain->oks >= drain->grow_after) {
        drain->oks = 0;
        drain->halvings--;
    }
}

static void shrink(struct weir__drain *drain)
{
    drain->oks = 0;
    drain->grow_after = WEIR__DRAIN_GROW_AFTER;
    drain->halvings = drain->halvings + 2 < WEIR__DRAIN_HALVINGS_MAX ? drain->halvings + 2 : WEIR__DRAIN_HALVINGS_MAX;
}

/* Adds the next block to the chunk; *out_full: it would be too large. */
static enum weir_rc add_block(struct weir__drain *drain, struct weir__drain_limits limits, bool *out_full, struct weir_error *err)
{
    struct weir__block block;
    enum weir_rc rc = weir__segment_peek(&drain->reader, &block, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    uint64_t position = drain->chunk.first + drain->chunk.count;
    if (block.first + block.count <= position) {
        weir__segment_skip(&drain->reader, &block);
        return WEIR_OK;
    }
    uint32_t count = drain->chunk.count;
    if (count > 0 && (block.count > limits.records_max - count || block.bytes > limits.bytes_max - drain->bytes.len)) {
        *out_full = true;
        return WEIR_OK;
    }
    size_t before = drain->bytes.len;
    drain->ends = weir_vec_grow(drain->ends, &drain->ends_cap, sizeof(*drain->ends), (size_t)count + block.count);
    rc = weir__segment_read(&drain->reader, &block, &drain->bytes, drain->ends + count, err);
    if (rc == WEIR_OK) {
        weir_assert(block.first == position || count == 0);
        take_block(drain, &block, before, (uint32_t)(position - block.first));
    }
    return rc;
}

/* Records [cursor, ...), at most to `committed`, which is a segment's end. */
static enum weir_rc fill_chunk(struct weir__drain *drain, uint64_t committed, struct weir_error *err)
{
    struct weir__segment_reader *reader = &drain->reader;
    struct weir__drain_limits limits = limits_now(drain);
    enum weir_rc rc = WEIR_OK;
    bool full = false;
    weir_buf_clear(&drain->bytes);
    drain->chunk = (struct weir_drain_chunk){.first = drain->cursor};
    while (rc == WEIR_OK && !full && drain->chunk.count < limits.records_max && drain->bytes.len <= limits.bytes_max) {
        uint64_t position = drain->chunk.first + drain->chunk.count;
        if (reader->file != NULL && reader->next == reader->segment.end) {
            weir__segment_close(reader);
        }
        if (position >= committed) {
            break;
        }
        rc = reader->file == NULL ? open_segment(drain, position, err) : WEIR_OK;
        rc = rc != WEIR_OK ? rc : add_block(drain, limits, &full, err);
    }
    if (rc != WEIR_OK) {
        drain->chunk.count = 0;
        return rc;
    }
    drain->chunk.bytes = drain->bytes.data;
    drain->chunk.ends = drain->ends;
    weir_assert(drain->chunk.count > 0);
    weir_assert(drain->chunk.first + drain->chunk.count <= committed);
    publish(drain); /* for the memory it holds now */
    return WEIR_OK;
}

static enum weir_rc drain_chunk(struct weir__drain *drain, const struct inbox *inbox, struct weir_error *err)
{
    if (drain->chunk.count == 0) {
        enum weir_rc rc = fill_chunk(drain, inbox->committed, err);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    weir_assert(drain->chunk.first == drain->cursor);
    weir_assert(!drain->in_doubt);
    if (drain->announced != inbox->committed) {
        drain->announced = inbox->committed;
        WEIR_FAILPOINT("sink.before_begin");
    }
    drain->chunk.checkpoint = inbox->checkpoint;
    enter(drain);
    enum weir_rc rc = drain->target->vtable->drain(drain->target, &drain->chunk, &drain->in_doubt, err);
    leave(drain);
    if (rc == WEIR_OK) {
        drain->cursor += drain->chunk.count;
        drain->chunk.count = 0;
        grow(drain);
        publish(drain);
    } else if (rc == WEIR_AGAIN || rc == WEIR_TIMEOUT) {
        drain->fenced = false;
        note(drain, drain->in_doubt ? "sink_transaction_in_doubt" : "sink_transaction_failed", err);
    }
    if (rc == WEIR_TIMEOUT) {
        shrink(drain);
        rc = WEIR_AGAIN;
    }
    return rc == WEIR_STALE ? fenced(err) : rc;
}

/* --- the thread ------------------------------------------------------------------------------------------------------- */

enum weir__drain_next weir__drain_step(struct weir__drain *drain)
{
    struct inbox inbox = listen(drain);
    struct weir_error err = {0};
    enum weir_rc rc;
    if (inbox.stop || drain->rc != WEIR_OK) {
        return WEIR__DRAIN_OVER;
    }
    if (weir_fence_closed(drain->fence)) {
        drain->backoff_ms = WEIR__DRAIN_PAUSED_MS;
        return WEIR__DRAIN_LATER;
    }
    if (!drain->fenced) {
        rc = fence(drain, &err);
    } else if (!inbox.begun) {
        return WEIR__DRAIN_IDLE;
    } else if (!drain->judged) {
        rc = judge(drain, &inbox, &err);
    } else if (drain->cursor >= inbox.committed) {
        return WEIR__DRAIN_IDLE;
    } else {
        rc = drain_chunk(drain, &inbox, &err);
        drain->backoff_ms = rc == WEIR_OK ? WEIR__DRAIN_BACKOFF_MS_MIN : drain->backoff_ms;
    }
    if (rc == WEIR_OK) {
        return WEIR__DRAIN_RAN;
    }
    if (rc == WEIR_AGAIN) {
        return WEIR__DRAIN_LATER;
    }
    fail(drain, &err);
    return WEIR__DRAIN_OVER;
}

/* Until the log has said something new, at most until the deadline; OVER: until it stops. False: it has. */
static bool wait(struct weir__drain *drain, enum weir__drain_next next, int64_t deadline_ns)
{
    bool in_time = true;
    weir_mutex_lock(&drain->mutex);
    while (!drain->inbox.stop && in_time) {
        if (next == WEIR__DRAIN_IDLE && drain->said != drain->heard) {
            break;
        }
        if (next == WEIR__DRAIN_LATER) {
            in_time = weir_cond_wait_until(&drain->cond, &drain->mutex, deadline_ns);
        } else {
            weir_cond_wait(&drain->cond, &drain->mutex);
        }
    }
    bool stop = drain->inbox.stop;
    weir_mutex_unlock(&drain->mutex);
    return !stop;
}

static void run(void *ctx)
{
    struct weir__drain *drain = ctx;
    bool more = true;
    while (more) {
        enum weir__drain_next next = weir__drain_step(drain);
        if (next == WEIR__DRAIN_RAN) {
            continue;
        }
        int64_t deadline_ns = weir_clock_mono_ns(drain->clock) + drain->backoff_ms * 1000000;
        if (next == WEIR__DRAIN_LATER) {
            int64_t longer_ms = 2 * drain->backoff_ms;
            drain->backoff_ms = longer_ms < WEIR__DRAIN_BACKOFF_MS_MAX ? longer_ms : WEIR__DRAIN_BACKOFF_MS_MAX;
        }
        more = wait(drain, next, deadline_ns);
    }
    finish(drain);
    drain_unref(drain);
}

enum weir_rc weir__drain_start(struct weir__drain *drain, struct weir_error *err)
{
    struct weir_thread *thread = NULL;
    drain->users++; /* nobody else knows it yet */
    enum weir_rc rc = weir_thread_start("weir-drain", run, drain, &thread, err);
    if (rc != WEIR_OK) {
        drain->users--;
        return rc;
    }
    weir_thread_detach(thread); /* (E7) nobody can wait for it */
    return WEIR_OK;
}
