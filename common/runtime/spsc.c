#include "common/runtime/spsc.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

enum { CACHE_LINE_BYTES = 64 };

/* Indices only grow; their difference is the size, also across the wrap of size_t. Each side keeps a copy of the other's
 * index and looks at the real one only when the copy says full or empty: the lines seldom travel. */
struct weir_spsc {
    _Alignas(CACHE_LINE_BYTES) _Atomic size_t tail; /* producer */
    size_t head_seen;
    _Alignas(CACHE_LINE_BYTES) _Atomic size_t head; /* consumer */
    size_t tail_seen;
    _Alignas(CACHE_LINE_BYTES) size_t mask; /* constant */
    void **items;
};

struct weir_spsc *weir_spsc_create(size_t capacity)
{
    weir_assert(capacity >= 2);
    weir_assert((capacity & (capacity - 1)) == 0);
    struct weir_spsc *ring = weir_memalign(CACHE_LINE_BYTES, sizeof(*ring));
    memset(ring, 0, sizeof(*ring));
    ring->mask = capacity - 1;
    ring->items = weir_memalign(CACHE_LINE_BYTES, capacity * sizeof(void *));
    return ring;
}

void weir_spsc_destroy(struct weir_spsc *ring)
{
    if (ring != NULL) {
        weir_free(ring->items);
        weir_free(ring);
    }
}

bool weir_spsc_push(struct weir_spsc *ring, void *item)
{
    weir_assert(item != NULL);
    size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail - ring->head_seen > ring->mask) {
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        if (tail - ring->head_seen > ring->mask) {
            return false;
        }
    }
    ring->items[tail & ring->mask] = item;
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return true;
}

void *weir_spsc_peek(struct weir_spsc *ring)
{
    size_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head == ring->tail_seen) {
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (head == ring->tail_seen) {
            return NULL;
        }
    }
    return ring->items[head & ring->mask];
}

void *weir_spsc_pop(struct weir_spsc *ring)
{
    void *item = weir_spsc_peek(ring);
    if (item != NULL) {
        size_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
        atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    }
    return item;
}

size_t weir_spsc_size(const struct weir_spsc *ring)
{
    /* head first: it can only have moved on meanwhile, so the difference is never negative. */
    size_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    size_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    size_t size = tail - head;
    return size > ring->mask + 1 ? ring->mask + 1 : size;
}

size_t weir_spsc_capacity(const struct weir_spsc *ring)
{
    return ring->mask + 1;
}
