/*
 * Keys: the bytes that identify a row's key columns, their hash, and the key group.
 *
 * Encoding version 1, self-delimiting and equal exactly when the SQL values are "not distinct": per column u8 tag (0 = NULL,
 * 1 = value), then the value: integers and times as fixed-width little endian of their own width; FLOAT/DOUBLE bits with -0.0
 * made 0.0 and every NaN made one NaN; DECIMAL 16 bytes; BOOLEAN u8; strings u32 length + bytes. The encoding, the hash (over
 * these bytes, seed 0) and the group formula are part of the state format: a change needs a new version.
 */
#ifndef WEIR_COMMON_DATA_ROWKEY_H
#define WEIR_COMMON_DATA_ROWKEY_H

#include "common/base/arena.h"
#include "common/data/batch.h"

/* Keys of all logical rows of a batch, in logical order. */
struct weir_rowkeys {
    uint32_t count;
    const uint64_t *hash;         /* count */
    const struct weir_slice *key; /* count; encoded bytes in the arena */
};

/* Encodes and hashes the key columns of every logical row; column by column where the types are fixed-width. The result lives in
 * the arena. ncols == 0 gives the empty key for every row (a global aggregate). */
void weir_rowkeys_make(const struct weir_batch *batch, const uint32_t *cols, uint32_t ncols, struct weir_arena *arena,
                       struct weir_rowkeys *out_keys);

/* Only the hashes, for partitioning; out_hash has room for weir_batch_rows(batch). */
void weir_rowkeys_hash(const struct weir_batch *batch, const uint32_t *cols, uint32_t ncols, struct weir_arena *arena,
                       uint64_t *out_hash);

/* Decodes an encoded key back into builder columns cols[0..ncols) at `row` (types are the builder's). CORRUPT. */
enum weir_rc weir_rowkey_decode(struct weir_slice key, struct weir_batch_builder *builder, const uint32_t *cols, uint32_t ncols,
                                uint32_t row, struct weir_error *err) WEIR_CHECKED;

/* The key group of a hash: its top bits scaled to max_parallelism, so that hash order is group order. */
static inline uint32_t weir_key_group(uint64_t hash, uint32_t max_parallelism)
{
    return (uint32_t)((hash >> 32) * max_parallelism >> 32);
}

/* The subtask (of `parallelism`) that owns a key group, and the half-open range of groups a subtask owns: Flink's formulas
 * (KeyGroupRangeAssignment). */
static inline uint32_t weir_key_group_owner(uint32_t group, uint32_t max_parallelism, uint32_t parallelism)
{
    return (uint32_t)((uint64_t)group * parallelism / max_parallelism);
}

static inline uint32_t weir_key_group_first(uint32_t subtask, uint32_t max_parallelism, uint32_t parallelism)
{
    return (uint32_t)(((uint64_t)subtask * max_parallelism + parallelism - 1) / parallelism);
}

#endif
