/*
 * What the files of the delta share: its structs and how slots are found. Internal to state/delta.
 */
#ifndef WEIR_TASKMANAGER_STATE_DELTA_TABLE_H
#define WEIR_TASKMANAGER_STATE_DELTA_TABLE_H

#include "common/base/buf.h"
#include "common/base/list.h"
#include "taskmanager/state/delta_freeze.h"

#include <string.h>

enum {
    SEGMENT_BYTES_MAX = 2 << 20,
    SEGMENT_SLOTS_MIN = 64,
    HUGE_PAGE_BYTES = 2 << 20,
    DIRECTORY_DEPTH_MAX = 24,
    KEY_CHUNK_BYTES = 64 << 10,
    KEY_CHUNK_BYTES_MIN = 1 << 10,
    SPARE_TABLES_MAX = 4,
    SPARE_SEGMENT_BYTES_MAX = 256 << 10,
    BLOCK_ROWS = 64, /* looked up together: all are prefetched before the first is probed */
};

/* state in the low bits, the key's length above: one comparison tells most slots apart. 0 = free. */
enum { SLOT_LIVE = 1, SLOT_TOMB = 2, SLOT_STATE_MASK = 3, SLOT_LEN_SHIFT = 2 };

/* Followed by inline_key_bytes (the key, or a pointer to it) and the payload. */
struct slot {
    uint64_t hash;
    uint32_t epoch;
    uint32_t meta;
};

_Static_assert(sizeof(struct slot) == 16, "the slot's header is a quarter of a cache line");

struct segment {
    uint8_t *slots;
    size_t bytes;    /* charged */
    uint32_t nslots; /* the last one always stays free: it ends every probe */
    uint32_t range;  /* home slots; the rest is slack */
    uint32_t used;   /* live and tombs */
    uint32_t live;
    uint32_t limit;
    uint32_t depth;  /* top bits of the position that all its entries share */
    uint32_t captured_in;           /* the freeze that `captured` is about */
    uint32_t captured;              /* slots below are dealt with */
    struct weir_delta_chunk *chunk; /* captured or saved, not handed on yet */
};

struct key_chunk {
    uint8_t *data;
    size_t cap;
    size_t len;
};

struct weir_delta_table {
    int64_t space;
    uint32_t made_in; /* epoch */
    struct segment **directory; /* 1 << depth; a segment stands in 1 << (depth - segment depth) places */
    uint32_t depth;
    uint64_t live;
    struct key_chunk *chunks; /* long keys, the newest chunk last */
    size_t nchunks;
    size_t chunks_cap;
    size_t keys_bytes;      /* of long keys, dead ones included */
    size_t keys_dead_bytes;
};

/* A list of (namespace, hash, key) of what was removed. */
struct removals {
    struct weir_buf erased; /* records: i64 namespace | u64 hash | u32 length, key */
    uint64_t nerased;
    int64_t *dropped;
    size_t ndropped;
    size_t dropped_cap;
    uint64_t charged;
};

/* The snapshot under way, and what the next one will need. */
struct freeze {
    bool on;         /* between freeze and thaw */
    bool capturing;  /* not everything is captured yet */
    bool noting;     /* removals are noted: the store has what they remove */
    uint32_t number; /* of freezes so far */
    uint32_t epoch;  /* the frozen one */
    uint32_t since;  /* entries of this epoch or an older one are in the store */
    void (*encode)(void *ctx, const uint8_t *payload, struct weir_buf *out);
    void *ctx;
    struct weir_delta_table *table; /* being captured; NULL: the next one of a namespace >= next_space */
    int64_t next_space;
    bool past_last;
    uint64_t position; /* in the table: where the segment at hand begins */
    struct weir_delta_run run;
    struct weir_list ready; /* of chunks */
    uint64_t chunk_bytes;   /* of all chunks that are not destroyed */
    struct weir_delta_table **outliving; /* dropped, and not captured yet; by namespace */
    size_t noutliving;
    size_t outliving_cap;
    struct removals removals; /* since the freeze before */
};

struct weir_delta {
    struct weir_mem *mem;
    bool overdraw;
    uint32_t payload_at; /* offset in a slot */
    uint32_t inline_bytes;
    uint32_t slot_bytes;
    uint32_t segment_slots_max;
    uint64_t hash_first;
    uint64_t hash_scale; /* 32.32: stretches the owned range over 2^64 */
    uint32_t epoch;
    uint32_t moves;      /* counts what invalidates slot addresses */
    uint32_t stagger;    /* numbers the full-size segments */
    uint64_t bytes;
    uint64_t live;
    uint64_t expected;   /* entries of the table dropped last */
    struct weir_delta_table **tables; /* ascending by namespace */
    size_t ntables;
    size_t tables_cap;
    struct weir_delta_table *spares[SPARE_TABLES_MAX];
    uint32_t nspares;
    struct freeze freeze;
};

/* Where a hash lies in the owner's range, as a fraction of 2^64. */
static inline uint64_t position_of(const struct weir_delta *delta, uint64_t hash)
{
    return (uint64_t)(((unsigned __int128)(hash - delta->hash_first) * delta->hash_scale) >> 32);
}

static inline uint64_t directory_index(const struct weir_delta_table *table, uint64_t position)
{
    return (position >> 1) >> (63 - table->depth);
}

static inline struct slot *slot_at(const struct weir_delta *delta, const struct segment *segment, uint32_t i)
{
    return (struct slot *)(void *)(segment->slots + (size_t)i * delta->slot_bytes);
}

static inline struct slot *slot_next(const struct weir_delta *delta, struct slot *slot)
{
    return (struct slot *)(void *)((uint8_t *)slot + delta->slot_bytes);
}

static inline struct slot *home_slot(const struct weir_delta *delta, const struct segment *segment, uint64_t position)
{
    return slot_at(delta, segment, (uint32_t)((((position << segment->depth) >> 32) * segment->range) >> 32));
}

static inline uint32_t slot_key_len(const struct slot *slot)
{
    return slot->meta >> SLOT_LEN_SHIFT;
}

static inline struct weir_slice slot_key(const struct weir_delta *delta, const struct slot *slot)
{
    const uint8_t *data = (const uint8_t *)(slot + 1);
    uint32_t len = slot_key_len(slot);
    if (len > delta->inline_bytes) {
        memcpy(&data, data, sizeof(data));
    }
    return weir_slice(data, len);
}

static inline struct weir_delta_entry weir__delta_entry_of(const struct weir_delta *delta, struct slot *slot)
{
    return (struct weir_delta_entry){.hash = slot->hash, .key = slot_key(delta, slot), .payload = (uint8_t *)slot + delta->payload_at};
}

/* Collects the live slots of the cluster at or behind *slot, sorted (by insertion: it is short and nearly in order), and moves *slot behind
 * it. 0: the segment is through. */
uint32_t weir__delta_cluster(const struct weir_delta *delta, const struct segment *segment, struct weir_delta_run *run, uint32_t *slot);

void weir__delta_table_destroy(struct weir_delta *delta, struct weir_delta_table *table);
/* Keeps a small table that is no namespace's any more, emptied, for the next one. */
void weir__delta_retire(struct weir_delta *delta, struct weir_delta_table *table);

/* --- delta_freeze.c --- */

/* The slot's value is the frozen one: saves it, unless it was captured. */
void weir__delta_save(struct weir_delta *delta, struct weir_delta_table *table, const struct slot *slot);
/* Captures what is left of a segment whose slots are about to move. */
void weir__delta_capture_segment(struct weir_delta *delta, struct weir_delta_table *table, struct segment *segment);
void weir__delta_note_erase(struct weir_delta *delta, const struct weir_delta_table *table, const struct slot *slot);
void weir__delta_note_drop(struct weir_delta *delta, const struct weir_delta_table *table);
/* Whether a table that is dropped has still to be captured: then it is kept until that is done. */
bool weir__delta_outlives(struct weir_delta *delta, struct weir_delta_table *table);
void weir__delta_freeze_fini(struct weir_delta *delta);

#endif
