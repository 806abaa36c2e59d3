#include "common/base/heap.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

void weir_heap_init(struct weir_heap *heap, bool (*before)(const struct weir_heap_node *a, const struct weir_heap_node *b))
{
    *heap = (struct weir_heap){.before = before};
}

void weir_heap_fini(struct weir_heap *heap)
{
    weir_free(heap->nodes);
    *heap = (struct weir_heap){0};
}

static void place_node(struct weir_heap *heap, struct weir_heap_node *node, size_t index)
{
    heap->nodes[index] = node;
    node->place = index + 1;
}

/* Moves the hole at index up until node may fill it; returns where it does. */
static size_t sift_up(struct weir_heap *heap, struct weir_heap_node *node, size_t index)
{
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (!heap->before(node, heap->nodes[parent])) {
            break;
        }
        place_node(heap, heap->nodes[parent], index);
        index = parent;
    }
    place_node(heap, node, index);
    return index;
}

static void sift_down(struct weir_heap *heap, struct weir_heap_node *node, size_t index)
{
    for (;;) {
        size_t child = index * 2 + 1;
        if (child >= heap->len) {
            break;
        }
        if (child + 1 < heap->len && heap->before(heap->nodes[child + 1], heap->nodes[child])) {
            child++;
        }
        if (!heap->before(heap->nodes[child], node)) {
            break;
        }
        place_node(heap, heap->nodes[child], index);
        index = child;
    }
    place_node(heap, node, index);
}

void weir_heap_push(struct weir_heap *heap, struct weir_heap_node *node)
{
    weir_assert(node->place == 0);
    heap->nodes = weir_vec_grow(heap->nodes, &heap->cap, sizeof(struct weir_heap_node *), heap->len + 1);
    heap->len++;
    (void)sift_up(heap, node, heap->len - 1);
}

struct weir_heap_node *weir_heap_peek(const struct weir_heap *heap)
{
    return heap->len == 0 ? NULL : heap->nodes[0];
}

struct weir_heap_node *weir_heap_pop(struct weir_heap *heap)
{
    struct weir_heap_node *node = weir_heap_peek(heap);
    if (node != NULL) {
        weir_heap_remove(heap, node);
    }
    return node;
}

void weir_heap_remove(struct weir_heap *heap, struct weir_heap_node *node)
{
    size_t index = node->place - 1;
    weir_assert(index < heap->len);
    weir_assert(heap->nodes[index] == node);
    node->place = 0;
    heap->len--;
    if (index < heap->len) {
        struct weir_heap_node *last = heap->nodes[heap->len];
        place_node(heap, last, index);
        weir_heap_update(heap, last);
    }
}

void weir_heap_update(struct weir_heap *heap, struct weir_heap_node *node)
{
    size_t index = node->place - 1;
    weir_assert(index < heap->len);
    weir_assert(heap->nodes[index] == node);
    if (sift_up(heap, node, index) == index) {
        sift_down(heap, node, index);
    }
}
