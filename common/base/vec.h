/*
 * Growth of a typed array. A vector is three fields of whatever struct has it, `struct t *items; size_t len, cap;`, all zero
 * when empty:
 *
 *     v->items = weir_vec_grow(v->items, &v->cap, sizeof(*v->items), v->len + 1);
 *     v->items[v->len++] = item;
 */
#ifndef WEIR_COMMON_BASE_VEC_H
#define WEIR_COMMON_BASE_VEC_H

#include <stddef.h>

/* Heap memory for at least `need` items (the old ones kept), at least doubling; items itself when there is room already.
 * New items are uninitialised. The caller frees with weir_free. Aborts when memory is out. */
void *weir_vec_grow(void *items, size_t *cap, size_t item_bytes, size_t need);

#endif
