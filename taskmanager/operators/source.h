/*
 * The source operator: reads the splits of one subtask through a connector and makes watermarks.
 *
 * S1  Watermark of a split = greatest event time - delay - 1 ms (Flink's bounded out-of-orderness). The subtask's watermark is the minimum
 *     over its splits that are neither finished nor idle; it never moves back.
 * S2  A split is idle when it gave no row for idle_timeout_ms, in which time that the task was held up (back pressure) does not count: it
 *     gave none because it was not asked. A subtask without splits is idle at once.
 * S3  When a bounded source has read all its splits: maximal watermark, then END. A subtask of a bounded source without splits does that
 *     at once.
 * S4  Watermarks are given out when they have moved and either watermark_interval_ms has passed or there is no more input now.
 * S5  Restored, it gives out a watermark that the operators behind it have heard of: its own or, when its splits come from several subtasks,
 *     the least of theirs. Every one of its splits was read up to a watermark at least as great.
 *
 * It stands at the head of a chain and is driven by the task, which hands it the time; it gives events like a gate does.
 */
#ifndef WEIR_TASKMANAGER_OPERATORS_SOURCE_H
#define WEIR_TASKMANAGER_OPERATORS_SOURCE_H

#include "taskmanager/connectors/connector.h"

enum weir_source_kind {
    WEIR_SOURCE_NOTHING,
    WEIR_SOURCE_BATCH,
    WEIR_SOURCE_WATERMARK,
    WEIR_SOURCE_IDLE,
    WEIR_SOURCE_END,
};

struct weir_source_event {
    enum weir_source_kind kind;
    struct weir_batch *batch; /* BATCH: the caller's */
    int64_t watermark_ms;     /* WATERMARK */
    int64_t wait_ms;          /* NOTHING: poll again after so long even when not woken; -1: only when woken */
};

struct weir_source_op;

/* conn is borrowed for the operator's life; conn->table is the table to read. INVALID, UNSUPPORTED, IO. */
enum weir_rc weir_source_op_open(const struct weir_conn_ctx *conn, struct weir_source_op **out_op, struct weir_error *err) WEIR_CHECKED;
void weir_source_op_close(struct weir_source_op *op); /* accepts NULL; nothing of it is in flight */

/* Adds a split to read from the beginning. */
enum weir_rc weir_source_op_add_split(struct weir_source_op *op, struct weir_split split, struct weir_error *err) WEIR_CHECKED;

/* Bad records that polls have met, as a batch of the error table's schema, the caller's; NULL: none (any more). To be taken after every poll:
 * positions are behind them. */
struct weir_batch *weir_source_op_take_bad_records(struct weir_source_op *op);

/* Appends splits, positions, watermarks and what is finished: state of `checkpoint`. */
void weir_source_op_snapshot(struct weir_source_op *op, uint64_t checkpoint, struct weir_buf *out);

/* The checkpoint was committed: the connector hears at which positions, if it is the newest that was taken. */
void weir_source_op_committed(struct weir_source_op *op, uint64_t checkpoint);

/* Instead of add_split: goes on with the subtask's splits as they stood in a checkpoint, part after part of it; `own`: the part is this
 * subtask's, of as many as now, so it has these splits and no others. What it points to is borrowed for the call. CORRUPT. */
enum weir_rc weir_source_op_restore(struct weir_source_op *op, const struct weir_split *splits, uint32_t nsplits, bool own, struct weir_slice state,
                                    struct weir_error *err) WEIR_CHECKED;
/* After the last part: splits that were in none begin at their beginning. CORRUPT: there was an own part, and it had not all. */
enum weir_rc weir_source_op_restored(struct weir_source_op *op, const struct weir_split *splits, uint32_t nsplits, struct weir_error *err)
    WEIR_CHECKED;

/* The next thing. now_ms is monotonic. */
enum weir_rc weir_source_op_poll(struct weir_source_op *op, int64_t now_ms, struct weir_source_event *out_event, struct weir_error *err)
    WEIR_CHECKED;

#endif
