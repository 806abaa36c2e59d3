/*
 * A bounded lock-free ring of pointers from one producer thread to one consumer thread. Nobody waits in here: sleeping and
 * waking is the waker's. What the producer wrote before push is seen by the consumer after pop.
 */
#ifndef WEIR_COMMON_RUNTIME_SPSC_H
#define WEIR_COMMON_RUNTIME_SPSC_H

#include <stdbool.h>
#include <stddef.h>

struct weir_spsc;

/* capacity: a power of two, at least 2. destroy frees the ring, not the items; both sides have left. Accepts NULL. */
struct weir_spsc *weir_spsc_create(size_t capacity);
void weir_spsc_destroy(struct weir_spsc *ring);

/* Producer: false when full. item is not NULL. */
bool weir_spsc_push(struct weir_spsc *ring, void *item);

/* Consumer: the oldest item, or NULL when empty. peek leaves it in. */
void *weir_spsc_pop(struct weir_spsc *ring);
void *weir_spsc_peek(struct weir_spsc *ring);

/* Items inside. Any thread; for the producer never too few, for the consumer never too many. */
size_t weir_spsc_size(const struct weir_spsc *ring);
size_t weir_spsc_capacity(const struct weir_spsc *ring);

#endif
