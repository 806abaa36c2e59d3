/*
 * A task's input: all channels of all its inputs, read fairly, with the watermarks of the channels merged.
 *
 * G1  The watermark of an input is the minimum over its channels that are neither idle nor ended; it never moves back, also not when an idle
 *     channel wakes up with an older one. The gate's watermark is the minimum over its inputs.
 * G2  A gate is idle when every channel that has not ended is idle.
 * G3  END of the gate comes once every channel has ended, after the maximal watermark.
 * G4  A channel that closes without END makes poll return CLOSED: the task fails, it does not finish.
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
};

struct weir_gate_event {
    enum weir_gate_kind kind;
    uint32_t input;           /* BATCH */
    struct weir_batch *batch; /* BATCH: the caller's */
    int64_t watermark_ms;     /* WATERMARK */
};

struct weir_gate;

struct weir_gate *weir_gate_create(uint32_t inputs);
void weir_gate_destroy(struct weir_gate *gate); /* releases the consumer ends; accepts NULL */

/* Adds a channel (its consumer end is the gate's now) to an input; before the first poll. */
void weir_gate_add_channel_take(struct weir_gate *gate, uint32_t input, struct weir_channel *channel);

/* The next thing to do; NOTHING when there is none now. CLOSED: a channel broke (err names the input and channel number). */
enum weir_rc weir_gate_poll(struct weir_gate *gate, struct weir_gate_event *out_event, struct weir_error *err) WEIR_CHECKED;

/* Whether poll would give something. */
bool weir_gate_has_work(struct weir_gate *gate);

int64_t weir_gate_watermark(const struct weir_gate *gate);

#endif
