/*
 * The log of a sink that writes exactly once into an outside system which cannot hold a prepared transaction: "epoch log and cursor",
 * protocol B of RELIABILITY 4.2, proved in 4.4. A sink appends its output records here instead of sending them; once their checkpoint is
 * committed, a thread of the log drains them outside in short transactions, each of which also moves a cursor there.
 *
 * E1  A record's position is its number in the log since the job began, or got its present parallelism (a run). What lies below the end e(k) of a
 *     completed checkpoint k is the same in every attempt: it is part of that checkpoint (I1). Nothing
 *     at or above the e(k) that this task was told of is ever drained (I2).
 * E2  Records go to segment files `<checkpoints_dir>/<job-id>/log/<vertex>-<subtask>-<attempt>-<n>`, off-thread. An epoch ends its segment:
 *     prepare makes it durable and links every undrained segment into `chk-<k>/` (which exists) as `log-<vertex>-<subtask>-<attempt>-<n>`:
 *     so each byte is written once, and a checkpoint's directory is whole by itself, whatever is later unlinked elsewhere.
 * E3  The state of checkpoint k: e(k), the cursor as far as known, and for each undrained segment its name, positions, bytes and hash.
 *     restore links the segments back from chk-k under names of its own attempt, checks length and hash before the first drain, and fails
 *     with CORRUPT, naming the file, when one is missing or damaged.
 * E4  The log's own names are unlinked when drained, and on destroy; those of dead attempts by the next attempt's restore or first prepare
 *     (subtask modulo parallelism, as file_sink does, so also those of subtasks that are no more). The JobManager's sweep removes `log/` when the job is over.
 * E5  Order in the drain thread: lease, recover (fences every predecessor, then reads the cursor), check it, then chunk after chunk, and never
 *     recover a second time but after the target's AGAIN (R7), with a new lease. The first recover overlaps restoring and the first records. The
 *     cursor must lie in [known of the state, e(k)]: unknown outside while the state knows one above 0, or beyond e(k), ends the job with CORRUPT
 *     and says what to do (RELIABILITY 2.3 row 26, 36).
 * E6  Full: while committed records lie undrained and the log holds more than bytes_max, append says AGAIN. What is only prepared, or open, never
 *     blocks: if its checkpoint is aborted, the next barrier must come behind the rows that would wait. It is bounded by the disk.
 * E7  The drain thread outlives the log if it is inside a call of the target when the log is destroyed: it touches only what is its own, ends
 *     at the next return, and destroys the target. Until then it may still commit what it was told of: harmless, by I1 and the fence (I4).
 * E8  A log belongs to one run and one subtask of it: with another parallelism there are other logs, under other names outside, and each begins at
 *     record 0 without a cursor. The logs of the run before have been drained to their ends by then, in an attempt of that run that did nothing
 *     else and fenced all its predecessors (the JobManager gives a job another parallelism only behind it): so restore takes nothing from the
 *     state of an earlier run. It refuses one of a later run, and one of its own run that is another subtask's.
 * E9  No room on the disk (RESOURCE of anything but an fsync) is no failure: what could not be written stays in memory, at most what two buffers
 *     hold, and is tried again when more comes, at most every WEIR__EPOCH_LOG_RETRY_MS while append has to say AGAIN. prepare says RESOURCE: its
 *     checkpoint cannot be, and the rows belong to the next one. What is committed is drained meanwhile. restore waits for room.
 * E10 A call of the target that lasts longer than call_ms_max is stuck (librdkafka's send_offsets_to_transaction may wait for ever, whatever its
 *     time-out says): the next call of the log says EXTERNAL, and another attempt fences this one. So whoever was told AGAIN asks again in
 *     time, though nothing wakes it. The thread is left where it is (E7).
 *
 * All calls on the task's thread. The drain thread owns the target.
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_EPOCH_LOG_H
#define WEIR_TASKMANAGER_CONNECTORS_EPOCH_LOG_H

#include "taskmanager/connectors/connector.h"

enum {
    WEIR_DRAIN_RECORDS_MAX = 50000,
    WEIR_DRAIN_BYTES_MAX = 16 << 20,
};

/* Records [first, first + count) of a log: record i is bytes[i == 0 ? 0 : ends[i - 1] .. ends[i]). */
struct weir_drain_chunk {
    uint64_t first;
    uint32_t count;
    const uint8_t *bytes;
    const uint32_t *ends;
    uint64_t checkpoint; /* for the cursor's metadata */
};

struct weir_drain_target {
    const struct weir_drain_vtable *vtable;
    int64_t call_ms_max; /* what lasts longer will never come back (E10); constant */
};

/* What records are drained into. Every call is made by one thread, the drain thread, and may block, for call_ms_max at most. */
struct weir_drain_vtable {
    /* Ends whatever earlier attempts left open outside, so that nothing of them can happen any more, and only then reads the cursor.
     * *out_found: false when there is none. AGAIN: not now (try later); STALE: this attempt was fenced; anything else ends the task. */
    enum weir_rc (*recover)(struct weir_drain_target *target, bool *out_found, uint64_t *out_cursor, struct weir_error *err);
    /* One transaction: all records of the chunk become visible and the cursor first + count, or neither. OK: it is committed. AGAIN: it is not, and
     * never will be, or, with *out_in_doubt (false before), nobody knows: recover comes next, and the cursor it reads says which. TIMEOUT: the
     * same, and it took so long that a smaller chunk may do better. STALE, anything else: as above. */
    enum weir_rc (*drain)(struct weir_drain_target *target, const struct weir_drain_chunk *chunk, bool *out_in_doubt, struct weir_error *err);
    void (*destroy)(struct weir_drain_target *target);
};

struct weir_epoch_log;

/* Starts the drain thread, which recovers at once, whether a checkpoint will be restored or not, and judges the cursor when it knows (E5): by
 * restore's state, or by the first of append, prepare and drain without a restore before it: then there must be no cursor, or 0. ctx
 * is borrowed for the log's life; the target is the drain thread's now, destroyed also on error. bytes_max: E6. */
enum weir_rc weir_epoch_log_create(const struct weir_conn_ctx *ctx, uint64_t bytes_max, struct weir_drain_target *target_take,
                                   struct weir_epoch_log **out_log, struct weir_error *err) WEIR_CHECKED;
/* None of its work is in flight with the executor. Does not wait for the target (E7). Accepts NULL. */
void weir_epoch_log_destroy(struct weir_epoch_log *log);

/* Appends count records: bytes, cut at ends[0..count), as a chunk has them. AGAIN: nothing was taken; later after a wake. Any error, here and
 * below: also one that the drain thread met. */
enum weir_rc weir_epoch_log_append(struct weir_epoch_log *log, struct weir_slice bytes, const uint32_t *ends, uint32_t count,
                                   struct weir_error *err) WEIR_CHECKED;

/* The sink's hooks of the same names (connector.h). commit never says AGAIN: it lets the drain thread go on up to e(checkpoint). restore lets it
 * drain up to the restored end; it may come again with further states of another run, never of this one (E8). drain: OK when everything
 * committed has been drained, and then the cursor stands at its end. prepare: E9. */
enum weir_rc weir_epoch_log_prepare(struct weir_epoch_log *log, uint64_t checkpoint, struct weir_buf *out, struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_epoch_log_commit(struct weir_epoch_log *log, uint64_t checkpoint, struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_epoch_log_restore(struct weir_epoch_log *log, uint64_t checkpoint, struct weir_slice state, struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_epoch_log_drain(struct weir_epoch_log *log, struct weir_error *err) WEIR_CHECKED;
/* Whether what it holds waits for room (E9): append and restore say AGAIN at least *out_wait_ms longer, and no wake comes; why: no room for what. */
bool weir_epoch_log_stalled(const struct weir_epoch_log *log, int64_t *out_wait_ms, struct weir_error *out_why);

#endif
