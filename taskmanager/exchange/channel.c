#include "taskmanager/exchange/channel.h"

#include "common/base/assert.h"
#include "common/runtime/spsc.h"

enum { SLOTS = 256, CONTROL_RESERVE = 32 };

_Static_assert((SLOTS & (SLOTS - 1)) == 0, "the ring's capacity is a power of two");

struct weir_channel {
    struct weir_spsc *ring; /* batches as they are; control elements as heap structs with the low bit set */
    uint64_t bytes_max;
    _Atomic uint64_t queued_bytes;
    _Atomic uint32_t queued_batches;
    _Atomic bool producer_waits;
    _Atomic bool producer_gone;
    _Atomic bool consumer_gone;
    _Atomic uint32_t ends; /* open ends: the last one frees */
    struct weir_channel_wake consumer;
    struct weir_channel_wake producer;
};

struct weir_channel *weir_channel_create(uint64_t bytes_max)
{
    weir_assert(bytes_max > 0);
    struct weir_channel *channel = weir_calloc(1, sizeof(*channel));
    channel->ring = weir_spsc_create(SLOTS);
    channel->bytes_max = bytes_max;
    atomic_init(&channel->ends, 2);
    return channel;
}

void weir_channel_set_consumer_take(struct weir_channel *channel, struct weir_channel_wake wake)
{
    channel->consumer = wake;
}

void weir_channel_set_producer_take(struct weir_channel *channel, struct weir_channel_wake wake)
{
    channel->producer = wake;
}

static void call_wake(struct weir_channel_wake wake)
{
    if (wake.wake != NULL) {
        wake.wake(wake.ctx);
    }
}

static void drop_wake(struct weir_channel_wake wake)
{
    if (wake.unref != NULL) {
        wake.unref(wake.ctx);
    }
}

static void *pack(struct weir_element element)
{
    if (element.kind == WEIR_ELEMENT_BATCH) {
        return element.batch;
    }
    struct weir_element *control = weir_malloc(sizeof(*control));
    *control = element;
    return (void *)((uintptr_t)control | 1);
}

static struct weir_element unpack(void *packed)
{
    if (((uintptr_t)packed & 1) == 0) {
        return (struct weir_element){.kind = WEIR_ELEMENT_BATCH, .batch = packed};
    }
    struct weir_element *control = (struct weir_element *)((uintptr_t)packed & ~(uintptr_t)1);
    struct weir_element element = *control;
    weir_free(control);
    return element;
}

static bool room_for_batch(const struct weir_channel *channel)
{
    if (atomic_load_explicit(&channel->consumer_gone, memory_order_acquire)) {
        return true; /* what is pushed goes nowhere */
    }
    return atomic_load(&channel->queued_bytes) < channel->bytes_max && weir_spsc_size(channel->ring) < SLOTS - CONTROL_RESERVE;
}

bool weir_channel_has_room(struct weir_channel *channel)
{
    if (room_for_batch(channel)) {
        return true;
    }
    /* Say that we wait first, look again second: a pop in between either sees the flag or made the room we then see. */
    atomic_store(&channel->producer_waits, true);
    return room_for_batch(channel);
}

void weir_channel_wake_on_pop(struct weir_channel *channel)
{
    atomic_store(&channel->producer_waits, true);
}

uint32_t weir_channel_queued_batches(const struct weir_channel *channel)
{
    return atomic_load(&channel->queued_batches);
}

bool weir_channel_push(struct weir_channel *channel, struct weir_element element)
{
    weir_assert(element.kind != WEIR_ELEMENT_NONE);
    if (atomic_load_explicit(&channel->consumer_gone, memory_order_acquire)) {
        weir_batch_unref(element.batch);
        return true;
    }
    void *packed = pack(element);
    if (element.kind == WEIR_ELEMENT_BATCH) {
        atomic_fetch_add(&channel->queued_bytes, weir_batch_bytes(element.batch));
        atomic_fetch_add(&channel->queued_batches, 1);
    }
    if (!weir_spsc_push(channel->ring, packed)) {
        weir_assert(element.kind != WEIR_ELEMENT_BATCH); /* has_room keeps the reserve free */
        /* As in has_room: the consumer may have emptied the ring since, and would then never wake us. */
        atomic_store(&channel->producer_waits, true);
        if (!weir_spsc_push(channel->ring, packed)) {
            (void)unpack(packed);
            return false;
        }
    }
    call_wake(channel->consumer);
    return true;
}

struct weir_element weir_channel_pop(struct weir_channel *channel)
{
    void *packed = weir_spsc_pop(channel->ring);
    if (packed == NULL) {
        return (struct weir_element){.kind = WEIR_ELEMENT_NONE};
    }
    struct weir_element element = unpack(packed);
    if (element.kind == WEIR_ELEMENT_BATCH) {
        atomic_fetch_sub(&channel->queued_bytes, weir_batch_bytes(element.batch));
        atomic_fetch_sub(&channel->queued_batches, 1);
    }
    if (atomic_load(&channel->producer_waits) && atomic_exchange(&channel->producer_waits, false)) {
        call_wake(channel->producer);
    }
    return element;
}

bool weir_channel_closed(struct weir_channel *channel)
{
    return atomic_load_explicit(&channel->producer_gone, memory_order_acquire) && weir_spsc_size(channel->ring) == 0;
}

static void drop_end(struct weir_channel *channel)
{
    if (atomic_fetch_sub(&channel->ends, 1) != 1) {
        return;
    }
    for (void *packed = weir_spsc_pop(channel->ring); packed != NULL; packed = weir_spsc_pop(channel->ring)) {
        weir_batch_unref(unpack(packed).batch);
    }
    weir_spsc_destroy(channel->ring);
    drop_wake(channel->consumer);
    drop_wake(channel->producer);
    weir_free(channel);
}

void weir_channel_release_producer(struct weir_channel *channel)
{
    if (channel == NULL) {
        return;
    }
    atomic_store_explicit(&channel->producer_gone, true, memory_order_release);
    call_wake(channel->consumer);
    drop_end(channel);
}

void weir_channel_release_consumer(struct weir_channel *channel)
{
    if (channel == NULL) {
        return;
    }
    atomic_store_explicit(&channel->consumer_gone, true, memory_order_release);
    if (atomic_exchange(&channel->producer_waits, false)) {
        call_wake(channel->producer);
    }
    drop_end(channel);
}
