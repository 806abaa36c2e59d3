/*
 * A task's input: all channels of all its inputs, read fairly, with the watermarks of the channels merged.
 *
 * G1  The watermark of an input is the minimum over its channels that are neither idle nor ended; it never moves back, also not when an idle
 *     channel wakes up with an older one. The gate's watermark is the minimum over its inputs.
 * G2  A gate is idle when every channel that has not ended is idle.
 * G3  END of the gate comes once every channel has ended, after the maximal watermark.
 * G4  A channel that closes without END makes poll return CLOSED: the task fails, it does not finish.
 * G5  Aligned barriers: a channel that has delivered barrier n gives nothing more until every other channel has (a channel that has ended and
 *     closed counts as arrived); then BARRIER n comes, once. A newer barrier, or abort(n), gives up on n and lets the channels go on. Barriers
 *     may follow END: a task that has ended goes on taking part in checkpoints.
 *
 * Pure but for the channels it pops; one thread.
 */
#ifndef WEIR_TASKMANAGER_EXCHANGE_GATE_H
#define WEIR_TASKMANAGER_EXCHANGE_GATE_H

#include "common/base/error.h"
#include "taskmanager/exchange/channel.h"

enum weir_gate_kind {
    WEIR_GATE_NOTHING,
    WEIR_GATE_BATCH,
    WEIR_GATE_WATERMARK, /* of the whole gate */
    WEIR_GATE_IDLE,      /* the whole gate has become idle */
    WEIR_GATE_END,
    WEIR_GATE_BARRIER,
};

struct weir_gate_event {
    enum weir_gate_kind kind;
    uint32_t input;           /* BATCH */
    struct weir_batch *batch; /* BATCH: the caller's */
    int64_t watermark_ms;     /* WATERMARK */
    uint64_t checkpoint;      /* BARRIER */
};

struct weir_gate;

struct weir_gate *weir_gate_create(uint32_t inputs);
void weir_gate_destroy(struct weir_gate *gate); /* releases the consumer ends; accepts NULL */

/* Adds a channel (its consumer end is the gate's now) to an input; before the first poll. */
void weir_gate_add_channel_take(struct weir_gate *gate, uint32_t input, struct weir_channel *channel);

/* The next thing to do; NOTHING when there is none now. CLOSED: a channel broke (err names the input and channel number). */
enum weir_rc weir_gate_poll(struct weir_gate *gate, struct weir_gate_event *out_event, struct weir_error *err) WEIR_CHECKED;

/* Gives up on a checkpoint: channels that wait for it go on; a later barrier of it is let fall. */
void weir_gate_abort(struct weir_gate *gate, uint64_t checkpoint);

/* The checkpoint being aligned, 0: none. */
uint64_t weir_gate_aligning(const struct weir_gate *gate);

#endif
