/*
 * A delta's entries as of a moment, taken while it goes on changing.
 *
 * F1  freeze takes no time: it ends the delta's epoch. From then on the first touch of an entry that the snapshot needs and has not got saves
 *     the old value; capture takes the others, a bounded number at a time, between batches.
 * F2  Entries come out as chunks in ascending order of (namespace, hash, key): a chunk is one segment's. Its saved values are in no order: who
 *     writes it merges (weir_delta_chunk_sort).
 * F3  A segment is captured whole before its slots move (split, growth). A namespace that is dropped lives on, unseen, until it is captured.
 * F4  A freeze `whole` gives every entry. Another gives those written since the freeze whose thaw was durable last, and the removals since: keys
 *     erased, namespaces dropped. Removals come before the entries: an entry that was erased and made again is among both.
 * F5  Only the delta's thread touches the table. Chunks and removals, once handed out, may be read by another.
 *
 * Every hash is of the delta's own range (weir_delta_own_groups): then the delta's order is that of the hashes.
 */
#ifndef WEIR_TASKMANAGER_STATE_DELTA_FREEZE_H
#define WEIR_TASKMANAGER_STATE_DELTA_FREEZE_H

#include "common/base/buf.h"
#include "common/base/list.h"
#include "taskmanager/state/delta.h"

struct weir_delta_chunk {
    struct weir_list node;
    int64_t space;
    struct weir_buf entries; /* u64 hash | u32 length, key | u32 length, value as encode wrote it; ascending */
    struct weir_buf saved;   /* the same, in any order, other keys */
    uint32_t nsaved;
    uint64_t charged;
};

/* What was removed since the freeze before; the caller's, see weir_delta_removals_fini. */
struct weir_delta_removals {
    struct weir_buf erased; /* i64 namespace | u64 hash | u32 length, key; in no order, a key maybe more than once */
    uint64_t nerased;
    int64_t *dropped;
    size_t ndropped;
    uint64_t charged;
};

struct weir_delta_freeze {
    bool whole; /* every entry, whatever the store has */
    /* Appends what a payload is. */
    void (*encode)(void *ctx, const uint8_t *payload, struct weir_buf *out);
    void *ctx;
};

/* Whether the next freeze must be whole: nothing is in a store, or there were more removals since than they are worth noting. */
bool weir_delta_must_be_whole(const struct weir_delta *delta);

/* F1. Not within another freeze. out_removals is filled. */
void weir_delta_freeze(struct weir_delta *delta, const struct weir_delta_freeze *freeze, struct weir_delta_removals *out_removals);

/* Captures about so many entries more. False: all are captured. */
bool weir_delta_capture(struct weir_delta *delta, uint32_t entries);

/* Captures all entries of the namespaces up to last: for who releases what payloads hold before it drops them. */
void weir_delta_capture_spaces(struct weir_delta *delta, int64_t last);

/* The next chunk, the caller's until it is destroyed; NULL: none is ready. Delta's thread. */
struct weir_delta_chunk *weir_delta_take_chunk(struct weir_delta *delta);
void weir_delta_chunk_destroy(struct weir_delta *delta, struct weir_delta_chunk *chunk);
uint64_t weir_delta_chunk_bytes(const struct weir_delta *delta); /* of all chunks there are */

/* Puts the saved values among the others: *out_records points to all entries in order, each a record as above, weir_malloc. Any thread. */
uint32_t weir_delta_chunk_sort(const struct weir_delta_chunk *chunk, const uint8_t ***out_records);

/* The erased keys in ascending order, without doubles; weir_malloc. Any thread. */
uint64_t weir_delta_removals_sort(const struct weir_delta_removals *removals, const uint8_t ***out_records);
void weir_delta_removals_fini(struct weir_delta *delta, struct weir_delta_removals *removals); /* accepts zeroed */

/* Ends the freeze; all chunks are destroyed. durable: the store has it, later freezes go on from it. Else the next one must be whole. */
void weir_delta_thaw(struct weir_delta *delta, bool durable);

/* All that is here was just read from a store: the next freeze gives what changes from now on. */
void weir_delta_set_durable(struct weir_delta *delta);

#endif
