/*
 * Aggregate functions: accumulators of a fixed size that lie inline in a state slot.
 *
 * An accumulator is plain bytes without pointers into other memory, zeroed when the slot is made: it can be copied, compared, written
 * to disk and merged. MIN/MAX of strings keep a value of any length: their accumulator is a handle into the slot owner's string heap
 * (weir_agg_heap), which the owner serialises along.
 *
 * Results follow Flink: COUNT is BIGINT NOT NULL; SUM of integers keeps the argument's type (overflow wraps in Flink; ours is an
 * error of code DATA); SUM/AVG of DECIMAL(p,s): DECIMAL(38,s) and DECIMAL(38, max(6,s)); AVG of integers keeps the argument's type
 * (integer division towards zero), AVG of DOUBLE is DOUBLE; everything but COUNT is NULL over no rows.
 */
#ifndef WEIR_COMMON_EXPR_AGG_H
#define WEIR_COMMON_EXPR_AGG_H

#include "common/data/batch.h"
#include "common/expr/expr.h"

enum { WEIR_AGG_BYTES_MAX = 48 };

/* Owns the long values of MIN/MAX over strings; one per state table. One thread. */
struct weir_agg_heap;
struct weir_agg_heap *weir_agg_heap_create(struct weir_mem *mem);
void weir_agg_heap_destroy(struct weir_agg_heap *heap);

/* One aggregate with its kernels: static table row chosen by function and argument type. */
struct weir_agg {
    const char *name;
    uint32_t acc_bytes; /* multiple of 8, at most WEIR_AGG_BYTES_MAX */
    bool retractable;   /* whether -U/-D rows can be applied (COUNT, SUM, AVG; MIN and MAX cannot) */
    bool uses_heap;

    /*
     * Adds rows: for i in [0, count): the accumulator at accs[i] + offset takes the value of physical row rows[i] of `arg` (NULL for
     * COUNT(*)). NULL values are skipped. sign[i] is +1 or -1 when sign is not NULL (a retraction). Several i may name one
     * accumulator. DATA: overflow.
     */
    enum weir_rc (*update)(uint8_t *const *accs, uint32_t offset, const struct weir_column *arg, const uint16_t *rows, uint32_t count,
                           const int8_t *sign, struct weir_agg_heap *heap, struct weir_error *err);
    /* into += from. */
    enum weir_rc (*merge)(uint8_t *into, const uint8_t *from, struct weir_agg_heap *into_heap, const struct weir_agg_heap *from_heap,
                          struct weir_error *err);
    /* Writes the result at `row` of a builder column of the result type. */
    enum weir_rc (*result)(const uint8_t *acc, const struct weir_agg_heap *heap, struct weir_type type, struct weir_column_builder *col,
                           uint32_t row, struct weir_error *err);
    /* Frees what acc holds in the heap. NULL when uses_heap is false. */
    void (*release)(uint8_t *acc, struct weir_agg_heap *heap);
    /* Partial accumulator to bytes and back, version 1 (exchange between local and global aggregation, snapshots). NULL when the
     * accumulator's own acc_bytes bytes (little endian) are the encoding. decode: CORRUPT. */
    void (*encode)(const uint8_t *acc, const struct weir_agg_heap *heap, struct weir_buf *out);
    enum weir_rc (*decode)(struct weir_slice bytes, uint8_t *acc, struct weir_agg_heap *heap, struct weir_error *err);
};

/* The implementation for a bound aggregate (name and argument type; arg_type ignored for COUNT(*)). INVALID: none, with what exists.
 * DISTINCT is refused with UNSUPPORTED. Static; any thread. */
enum weir_rc weir_agg_find(const struct weir_expr *bound_agg, const struct weir_agg **out_agg, struct weir_error *err) WEIR_CHECKED;

/* The result type of aggregate `name` over an argument (used by binding). */
enum weir_rc weir_agg_result_type(const char *name, bool star, struct weir_type arg, struct weir_type *out_type, struct weir_error *err)
    WEIR_CHECKED;

#endif
