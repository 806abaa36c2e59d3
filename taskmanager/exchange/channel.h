/*
 * A channel: what one producer subtask sends to one consumer subtask over one edge. A bounded single-producer single-consumer queue of
 * batch references and in-band control elements; it sleeps and never spins.
 *
 * C1  Credit is bytes: the producer stops when `bytes_max` are queued, or when only the slots reserved for control are free. A batch that
 *     was already made is still taken in (the writer keeps it back), so nothing is lost and the overshoot is one input batch's output.
 * C2  Control (watermark, barrier, idle, end) travels in band, in order with the batches, and always finds room: CONTROL_RESERVE slots are
 *     kept for it; the writer coalesces watermarks beyond that.
 * C3  A channel that connects two processes is two channels joined by the data plane (exchange/link.h); neither end notices.
 * C4  After END only barriers come. A channel that is closed without END was broken: the consumer gets CLOSED, never END.
 *
 * The producer end belongs to one thread, the consumer end to another; each end is released by its owner, the memory goes with the second.
 */
#ifndef WEIR_TASKMANAGER_EXCHANGE_CHANNEL_H
#define WEIR_TASKMANAGER_EXCHANGE_CHANNEL_H

#include "common/data/batch.h"

enum weir_element_kind {
    WEIR_ELEMENT_NONE = 0,
    WEIR_ELEMENT_BATCH = 1,
    WEIR_ELEMENT_WATERMARK = 2, /* value: milliseconds */
    WEIR_ELEMENT_BARRIER = 3,   /* value: checkpoint id */
    WEIR_ELEMENT_IDLE = 4,      /* this channel does not hold the watermark back until something else comes */
    WEIR_ELEMENT_END = 5,
};

struct weir_element {
    enum weir_element_kind kind;
    struct weir_batch *batch; /* BATCH: one reference */
    int64_t value;
};

struct weir_channel;

/* A wake-up of an end's thread: wake(ctx), callable from the other end's thread. The channel owns one reference on ctx, which it drops by
 * unref(ctx) when both ends are gone: the other end may still be in the middle of a wake when this end is released. */
struct weir_channel_wake {
    void (*wake)(void *ctx);
    void (*unref)(void *ctx);
    void *ctx;
};

/* Both ends open. bytes_max > 0. mem is not charged: batches already are. */
struct weir_channel *weir_channel_create(uint64_t bytes_max);

/* Who to wake; set once, before either end runs. Takes over the reference on wake.ctx. */
void weir_channel_set_consumer_take(struct weir_channel *channel, struct weir_channel_wake wake);
void weir_channel_set_producer_take(struct weir_channel *channel, struct weir_channel_wake wake);

/* --- producer's thread --- */

/* Whether a batch may be pushed now. When false, the producer will be woken after the consumer made room. */
bool weir_channel_has_room(struct weir_channel *channel);

/* Appends; takes the batch's reference. Batches: only when has_room. Control: false when even the reserve is full (try again later). */
bool weir_channel_push(struct weir_channel *channel, struct weir_element element);

/* Wakes the producer at the next pop, whether or not there is room; and how many batches are queued. For the link layer's credit. */
void weir_channel_wake_on_pop(struct weir_channel *channel);
uint32_t weir_channel_queued_batches(const struct weir_channel *channel);

/* The producer will push no more; without END before it the consumer sees CLOSED. Frees its end. Accepts NULL. */
void weir_channel_release_producer(struct weir_channel *channel);

/* --- consumer's thread --- */

/* The next element, the caller's; kind NONE when there is none now. */
struct weir_element weir_channel_pop(struct weir_channel *channel);

/* Whether the producer is gone and nothing is left (then END was popped, or the channel was broken). */
bool weir_channel_closed(struct weir_channel *channel);

/* Drops what is queued; the producer's pushes go nowhere from now on. Frees its end. Accepts NULL. */
void weir_channel_release_consumer(struct weir_channel *channel);

#endif
