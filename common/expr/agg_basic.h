/*
 * The aggregates' kernels and what they need of the heap. Internal to common/expr.
 */
#ifndef WEIR_COMMON_EXPR_AGG_BASIC_H
#define WEIR_COMMON_EXPR_AGG_BASIC_H

#include "common/expr/agg.h"
#include "common/expr/fn.h"

extern const struct weir_agg weir__agg_count;
const struct weir_agg *weir__agg_sum(enum weir_phys phys, bool average); /* of a number */
const struct weir_agg *weir__agg_extreme(enum weir_phys phys, bool greatest);

/* A value by its handle (never 0); borrowed until the next put or drop. */
struct weir_slice weir__agg_heap_get(const struct weir_agg_heap *heap, uint64_t handle);
/* Replaces the value of a handle, or makes one for handle 0; returns the handle. */
uint64_t weir__agg_heap_put(struct weir_agg_heap *heap, uint64_t handle, struct weir_slice value);
void weir__agg_heap_drop(struct weir_agg_heap *heap, uint64_t handle);

#endif
