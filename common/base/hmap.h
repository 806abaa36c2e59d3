/*
 * A map from byte strings (copied) to pointers (borrowed). For control-plane tables; keyed state has its own table.
 * Iteration is in order of insertion, whatever the seed, so that a run is repeatable. One thread.
 */
#ifndef WEIR_COMMON_BASE_HMAP_H
#define WEIR_COMMON_BASE_HMAP_H

#include "common/base/slice.h"

struct weir_hmap;

/* seed: of the hash; pass something unpredictable when the keys come from outside, else 0. */
struct weir_hmap *weir_hmap_create(uint64_t seed);
void weir_hmap_destroy(struct weir_hmap *map); /* accepts NULL; the values are the caller's */

size_t weir_hmap_count(const struct weir_hmap *map);

/* The key's value, or NULL. */
void *weir_hmap_get(const struct weir_hmap *map, struct weir_slice key);

/* Adds or replaces; value is not NULL. Returns the value replaced, or NULL. A replaced key keeps its place in the order. */
void *weir_hmap_put(struct weir_hmap *map, struct weir_slice key, void *value);

/* Removes and returns the value, or NULL when there was none. */
void *weir_hmap_remove(struct weir_hmap *map, struct weir_slice key);

/*
 * Iteration: `struct weir_hmap_iter it = {0}; while (weir_hmap_next(map, &it)) { it.key, it.value }`. Removing any key, the
 * present one included, is allowed meanwhile; adding one is not. key is borrowed until its removal.
 */
struct weir_hmap_iter {
    struct weir_slice key;
    void *value;
    size_t position; /* private */
};

bool weir_hmap_next(const struct weir_hmap *map, struct weir_hmap_iter *iter);

#endif
