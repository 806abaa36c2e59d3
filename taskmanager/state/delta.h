/*
 * The live keyed state of one operator (the "delta" of DESIGN 7): fixed-size slots with the accumulators inline, found by
 * (namespace, key), a batch at a time.
 *
 * D1  A namespace (the end of a window slice; 0 where there are no windows) is a table of its own. Few slices are live at a time, so
 *     choosing the table costs one comparison a row; firing walks exactly the slice's entries, dropping a slice is freeing its
 *     segments, and its entries need no namespace bytes. Small dropped tables are kept for the next slice, and a new one starts with
 *     the size the last one needed.
 * D2  A table is a directory of segments chosen by the top bits of the hash's position in the owner's hash range; inside a segment the
 *     home slot is the next bits scaled to its range, probing is linear and never wraps (there is slack at the end). So slot order is
 *     hash order but for local clusters, and the cursor, which sorts each cluster, gives exact hash order whatever the history was.
 * D3  Load is at most 0.75; the limits of full-size segments are staggered, so that they do not all split at once. A segment of full
 *     size (2 MiB, huge pages) splits in two, a smaller one doubles.
 * D4  Payloads are zeroed when made and stay where they are until the next call that may make or erase entries.
 * D5  Every byte of segments and long keys is charged to the budget before it is allocated.
 * D6  Each slot carries the epoch in which it was last handed out for writing (weir_delta_get_many is the only way to get a writable
 *     payload of an old entry): what a freeze by epoch, and the saving of old values at the first touch, hang on (delta_freeze.h).
 *
 * One thread.
 */
#ifndef WEIR_TASKMANAGER_STATE_DELTA_H
#define WEIR_TASKMANAGER_STATE_DELTA_H

#include "common/base/mem.h"
#include "common/base/rc.h"
#include "common/base/slice.h"

enum {
    WEIR_DELTA_KEY_BYTES_MAX = 1 << 30,
    WEIR_DELTA_INLINE_DEFAULT = 16,
};

struct weir_delta_options {
    uint32_t payload_bytes;    /* rounded up to a multiple of 8 */
    uint32_t inline_key_bytes; /* keys up to this stand in the slot; rounded up to a multiple of 8, at least 16 */
    /* The hashes that this task owns, so that they spread over the whole table (weir_delta_own_groups). Others work, slower. */
    uint64_t hash_first;
    uint64_t hash_span; /* 0 = 2^64 */
    bool overdraw;      /* charge beyond the budget's limit: for a table that its owner keeps small */
    struct weir_mem *mem;
};

/* Sets hash_first and hash_span to the key groups of a subtask. */
void weir_delta_own_groups(struct weir_delta_options *options, uint32_t subtask, uint32_t parallelism, uint32_t max_parallelism);

struct weir_delta;

/* Empty; nothing is charged yet. */
struct weir_delta *weir_delta_create(const struct weir_delta_options *options);
void weir_delta_destroy(struct weir_delta *delta); /* accepts NULL; payloads are just forgotten */

/* The payloads of keys[i] (hash hashes[i]) in namespaces[i] (all 0 when NULL), i in [0, count); made zeroed where missing. created may
 * be NULL; else created[i] is set to whether row i made the entry. Keys are copied. AGAIN: the budget is used up: nothing was written to
 * the outputs that may be used, entries made so far stay, zeroed. */
enum weir_rc weir_delta_get_many(struct weir_delta *delta, const int64_t *namespaces, const uint64_t *hashes,
                                 const struct weir_slice *keys, uint32_t count, uint8_t **out_payloads, bool *created) WEIR_CHECKED;

/* Makes a new namespace with room for about so many entries, so that they may come in hash order (which would crowd the front of a table
 * that is small yet). Does nothing when the namespace lives, or when the budget has no room: then it grows as it does. */
void weir_delta_reserve(struct weir_delta *delta, int64_t namespace_, uint64_t entries);

/* Removes an entry by its payload. What the payload holds elsewhere may be released before only if the entry was handed out for writing since
 * the last freeze. */
void weir_delta_erase(struct weir_delta *delta, int64_t namespace_, uint8_t *payload);

/* Live namespaces, ascending: the i-th of weir_delta_spaces(). */
uint32_t weir_delta_spaces(const struct weir_delta *delta);
int64_t weir_delta_space(const struct weir_delta *delta, uint32_t i);

/* Drops every namespace <= last, with its entries. */
void weir_delta_drop(struct weir_delta *delta, int64_t last);

uint64_t weir_delta_space_entries(const struct weir_delta *delta, uint32_t i);
uint64_t weir_delta_slot_bytes(const struct weir_delta *delta); /* of one entry, without a long key */
uint64_t weir_delta_entries(const struct weir_delta *delta); /* in all namespaces */
uint64_t weir_delta_bytes(const struct weir_delta *delta);   /* charged */

/* One entry as the cursor gives it. */
struct weir_delta_entry {
    uint64_t hash;
    struct weir_slice key;
    uint8_t *payload;
};

struct weir_delta_run { /* slots of the cluster being given out, sorted */
    uint32_t *slots;
    uint32_t len;
    uint32_t next;
    size_t cap;
};

/* Walks a namespace in (position, hash, key) order, the same for every table with equal options. Nothing may be made or erased
 * meanwhile. The payload may be read; it may be written only by who then drops the entry. */
struct weir_delta_cursor {
    struct {
        const struct weir_delta *delta;
        const struct weir_delta_table *table;
        uint64_t directory;
        uint32_t slot;
        struct weir_delta_run run;
    } priv;
};

/* A namespace that does not live gives no entry. */
void weir_delta_cursor_init(struct weir_delta_cursor *cursor, const struct weir_delta *delta, int64_t namespace_);
void weir_delta_cursor_fini(struct weir_delta_cursor *cursor); /* accepts zeroed */
bool weir_delta_cursor_next(struct weir_delta_cursor *cursor, struct weir_delta_entry *out_entry);

/* The order of the cursor: negative, 0 (the same key) or positive. */
int weir_delta_compare(const struct weir_delta *delta, const struct weir_delta_entry *a, const struct weir_delta_entry *b);

#endif
