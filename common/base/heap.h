/*
 * A binary heap of elements that contain a node, so that any element can be removed or moved in O(log n). One thread.
 */
#ifndef WEIR_COMMON_BASE_HEAP_H
#define WEIR_COMMON_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>

/* Member of the element (see WEIR_CONTAINER_OF in list.h). {0} = in no heap. */
struct weir_heap_node {
    size_t place; /* 1 + index in the heap's array; 0: in none */
};

struct weir_heap {
    struct weir_heap_node **nodes;
    size_t len;
    size_t cap;
    bool (*before)(const struct weir_heap_node *a, const struct weir_heap_node *b);
};

/* before: a strict order. fini frees the array only; accepts {0}. */
void weir_heap_init(struct weir_heap *heap, bool (*before)(const struct weir_heap_node *a, const struct weir_heap_node *b));
void weir_heap_fini(struct weir_heap *heap);

static inline bool weir_heap_linked(const struct weir_heap_node *node)
{
    return node->place != 0;
}

/* The node must be in no heap. */
void weir_heap_push(struct weir_heap *heap, struct weir_heap_node *node);

/* The first in order, or NULL. */
struct weir_heap_node *weir_heap_peek(const struct weir_heap *heap);
struct weir_heap_node *weir_heap_pop(struct weir_heap *heap);

/* The node must be in this heap. update: after its order has changed. */
void weir_heap_remove(struct weir_heap *heap, struct weir_heap_node *node);
void weir_heap_update(struct weir_heap *heap, struct weir_heap_node *node);

#endif
