/*
 * A delta's entries as bytes, for snapshots. Version 1:
 *
 *     u8 1 | u32 max parallelism | u32 first, u32 end key group of the writer | u32 namespaces | each: i64 namespace, u64 entries
 *     u32 runs | each: u32 key group | u32 index of the namespace | u32 entries | u64 bytes | the entries
 *     an entry: u64 hash | u32 length, key | u32 length, payload as the owner encodes it
 *
 * N1  Runs ascend by (key group, namespace), entries in them by (hash, key): a key group's entries stand together, so a subtask of any
 *     parallelism reads the runs of its own groups and steps over the others.
 * N2  The same entries give the same bytes, whatever their history.
 * N3  Bytes are checked before they are believed: order, group, hash, counts, lengths.
 *
 * Hashes and groups are those of common/data/rowkey.h.
 */
#ifndef WEIR_TASKMANAGER_STATE_DELTA_SNAP_H
#define WEIR_TASKMANAGER_STATE_DELTA_SNAP_H

#include "common/base/buf.h"
#include "common/base/error.h"
#include "taskmanager/state/delta.h"

/* How the owner of a delta stores it. */
struct weir_delta_codec {
    uint32_t subtask, parallelism, max_parallelism;
    const struct weir_mem *mem; /* the delta's, for the message when it is used up */
    /* Appends what a payload is. */
    void (*encode)(void *ctx, const uint8_t *payload, struct weir_buf *out);
    /* Makes a zeroed payload of it. CORRUPT. */
    enum weir_rc (*decode)(void *ctx, struct weir_slice bytes, uint8_t *payload, struct weir_error *err);
    /* Whether there can be such a namespace. */
    bool (*space_fits)(void *ctx, int64_t space);
    void *ctx;
};

/* Appends all entries to out. Every key is of the subtask's groups. */
void weir_delta_encode(const struct weir_delta *delta, const struct weir_delta_codec *codec, struct weir_buf *out);

/* Adds the entries that are of the subtask's groups to a delta that has none of them. After an error some have been added. CORRUPT;
 * INVALID: written with another maximal parallelism; RESOURCE: no room in the budget. */
enum weir_rc weir_delta_decode(struct weir_delta *delta, const struct weir_delta_codec *codec, struct weir_slice state,
                               struct weir_error *err) WEIR_CHECKED;

#endif
