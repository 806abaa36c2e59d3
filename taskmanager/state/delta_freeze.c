#include "taskmanager/state/delta_freeze.h"

#include "common/base/assert.h"
#include "common/base/vec.h"
#include "taskmanager/state/delta_table.h"

#include <stdlib.h>

enum {
    SLOTS_PER_ENTRY = 16,             /* a step passes over so many slots for each entry that it may take */
    REMOVALS_BYTES_MIN = 4 << 20,     /* noted, even when the delta is smaller */
};

static uint32_t captured_of(const struct weir_delta *delta, const struct segment *segment)
{
    return segment->captured_in == delta->freeze.number ? segment->captured : 0;
}

/* --- chunks ---------------------------------------------------------------------------------------------------------- */

static struct weir_delta_chunk *chunk_of(const struct weir_delta_table *table, struct segment *segment)
{
    if (segment->chunk == NULL) {
        segment->chunk = weir_calloc(1, sizeof(*segment->chunk));
        segment->chunk->space = table->space;
    }
    return segment->chunk;
}

static void account(struct weir_delta *delta, struct weir_delta_chunk *chunk)
{
    uint64_t bytes = chunk->entries.cap + chunk->saved.cap;
    if (bytes > chunk->charged) { /* what is frozen must not fail: who captures looks at the budget first */
        weir_mem_charge(delta->mem, bytes - chunk->charged);
        delta->freeze.chunk_bytes += bytes - chunk->charged;
        chunk->charged = bytes;
    }
}

static void put_record(struct weir_delta *delta, const struct slot *slot, struct weir_buf *out)
{
    weir_buf_put_u64(out, slot->hash);
    weir_buf_put_bytes(out, slot_key(delta, slot));
    size_t at = out->len;
    weir_buf_put_u32(out, 0);
    delta->freeze.encode(delta->freeze.ctx, (const uint8_t *)slot + delta->payload_at, out);
    weir_buf_set_u32(out, at, (uint32_t)(out->len - at - 4));
}

void weir_delta_chunk_destroy(struct weir_delta *delta, struct weir_delta_chunk *chunk)
{
    weir_assert(delta->freeze.chunk_bytes >= chunk->charged);
    delta->freeze.chunk_bytes -= chunk->charged;
    weir_mem_uncharge(delta->mem, chunk->charged);
    weir_buf_fini(&chunk->entries);
    weir_buf_fini(&chunk->saved);
    weir_free(chunk);
}

struct weir_delta_chunk *weir_delta_take_chunk(struct weir_delta *delta)
{
    if (weir_list_empty(&delta->freeze.ready)) {
        return NULL;
    }
    struct weir_delta_chunk *chunk = WEIR_CONTAINER_OF(delta->freeze.ready.next, struct weir_delta_chunk, node);
    weir_list_remove(&chunk->node);
    return chunk;
}

uint64_t weir_delta_chunk_bytes(const struct weir_delta *delta)
{
    return delta->freeze.chunk_bytes;
}

/* The segment is captured: its chunk goes out. */
static void hand_on(struct weir_delta *delta, struct segment *segment)
{
    if (segment->chunk != NULL) {
        weir_list_push_back(&delta->freeze.ready, &segment->chunk->node);
        segment->chunk = NULL;
    }
}

/* --- saving and capturing -------------------------------------------------------------------------------------------- */

void weir__delta_save(struct weir_delta *delta, struct weir_delta_table *table, const struct slot *slot)
{
    struct segment *segment = table->directory[directory_index(table, position_of(delta, slot->hash))];
    size_t at = (size_t)((const uint8_t *)slot - segment->slots) / delta->slot_bytes;
    if (at < captured_of(delta, segment)) {
        return;
    }
    struct weir_delta_chunk *chunk = chunk_of(table, segment);
    put_record(delta, slot, &chunk->saved);
    chunk->nsaved++;
    account(delta, chunk);
}

/* Captures clusters of a segment until *entries and *slots are used up. True: the segment is through. */
static bool capture_clusters(struct weir_delta *delta, struct weir_delta_table *table, struct segment *segment, uint32_t *entries,
                             uint64_t *slots)
{
    struct freeze *freeze = &delta->freeze;
    uint32_t at = captured_of(delta, segment);
    bool through = segment->live == 0 || at >= segment->nslots;
    while (!through && *entries > 0 && *slots > 0) {
        uint32_t before = at;
        uint32_t len = weir__delta_cluster(delta, segment, &freeze->run, &at);
        for (uint32_t i = 0; i < len; i++) {
            const struct slot *slot = slot_at(delta, segment, freeze->run.slots[i]);
            if (slot->epoch > freeze->since && slot->epoch <= freeze->epoch) {
                put_record(delta, slot, &chunk_of(table, segment)->entries);
                *entries -= *entries > 0;
            }
        }
        uint32_t passed = at - before;
        *slots -= *slots > passed ? passed : *slots;
        through = len == 0;
    }
    segment->captured_in = freeze->number;
    segment->captured = through ? segment->nslots : at;
    if (segment->chunk != NULL) {
        account(delta, segment->chunk);
    }
    return through;
}

void weir__delta_capture_segment(struct weir_delta *delta, struct weir_delta_table *table, struct segment *segment)
{
    if (delta->freeze.capturing && table->made_in <= delta->freeze.epoch) {
        uint32_t entries = UINT32_MAX;
        uint64_t slots = UINT64_MAX;
        bool through = capture_clusters(delta, table, segment, &entries, &slots);
        weir_assert(through);
    }
}

void weir_delta_capture_spaces(struct weir_delta *delta, int64_t last)
{
    for (size_t i = 0; i < delta->ntables && delta->tables[i]->space <= last; i++) {
        struct weir_delta_table *table = delta->tables[i];
        for (uint64_t d = 0; d < 1ull << table->depth; d += 1ull << (table->depth - table->directory[d]->depth)) {
            weir__delta_capture_segment(delta, table, table->directory[d]);
        }
    }
}

/* The table of the least namespace from next_space on that the snapshot needs; NULL: none. A namespace has one such at most: another of the
 * same name is newer than the freeze. */
static struct weir_delta_table *next_table(const struct weir_delta *delta)
{
    const struct freeze *freeze = &delta->freeze;
    struct weir_delta_table *found = NULL;
    for (size_t i = 0; i < delta->ntables + freeze->noutliving; i++) {
        struct weir_delta_table *table = i < delta->ntables ? delta->tables[i] : freeze->outliving[i - delta->ntables];
        if (table->made_in <= freeze->epoch && table->space >= freeze->next_space && (found == NULL || table->space < found->space)) {
            found = table;
        }
    }
    return found;
}

/* A table is through: one that was dropped meanwhile goes. */
static void end_table(struct weir_delta *delta)
{
    struct freeze *freeze = &delta->freeze;
    struct weir_delta_table *table = freeze->table;
    freeze->table = NULL;
    freeze->past_last = table->space == INT64_MAX;
    freeze->next_space = freeze->past_last ? INT64_MAX : table->space + 1;
    for (size_t i = 0; i < freeze->noutliving; i++) {
        if (freeze->outliving[i] == table) {
            freeze->outliving[i] = freeze->outliving[--freeze->noutliving];
            weir__delta_retire(delta, table);
            return;
        }
    }
}

bool weir_delta_capture(struct weir_delta *delta, uint32_t entries)
{
    struct freeze *freeze = &delta->freeze;
    uint64_t slots = (uint64_t)entries * SLOTS_PER_ENTRY;
    while (freeze->capturing && entries > 0 && slots > 0) {
        if (freeze->table == NULL) {
            freeze->table = freeze->past_last ? NULL : next_table(delta);
            freeze->position = 0;
            if (freeze->table == NULL) {
                freeze->capturing = false;
                break;
            }
        }
        struct weir_delta_table *table = freeze->table;
        struct segment *segment = table->directory[directory_index(table, freeze->position)];
        if (!capture_clusters(delta, table, segment, &entries, &slots)) {
            break;
        }
        hand_on(delta, segment);
        freeze->position += segment->depth == 0 ? 0 : 1ull << (64 - segment->depth);
        if (freeze->position == 0) {
            end_table(delta);
        }
    }
    return freeze->capturing;
}

bool weir__delta_outlives(struct weir_delta *delta, struct weir_delta_table *table)
{
    struct freeze *freeze = &delta->freeze;
    bool passed = freeze->past_last || (freeze->table != table && table->space < freeze->next_space);
    if (!freeze->capturing || passed || table->made_in > freeze->epoch) {
        return false;
    }
    freeze->outliving = weir_vec_grow(freeze->outliving, &freeze->outliving_cap, sizeof(*freeze->outliving), freeze->noutliving + 1);
    freeze->outliving[freeze->noutliving++] = table;
    return true;
}

/* --- removals -------------------------------------------------------------------------------------------------------- */

static void forget_removals(struct weir_delta *delta)
{
    struct removals *removals = &delta->freeze.removals;
    weir_mem_uncharge(delta->mem, removals->charged);
    weir_buf_fini(&removals->erased);
    weir_free(removals->dropped);
    *removals = (struct removals){0};
}

/* Without snapshots they would grow for ever: a state of that size is better written anew. */
static void account_removals(struct weir_delta *delta)
{
    struct removals *removals = &delta->freeze.removals;
    uint64_t bytes = removals->erased.cap + removals->dropped_cap * sizeof(*removals->dropped);
    weir_mem_charge(delta->mem, bytes - removals->charged);
    removals->charged = bytes;
    if (bytes > REMOVALS_BYTES_MIN && bytes > delta->bytes) {
        forget_removals(delta);
        delta->freeze.noting = false;
    }
}

void weir__delta_note_erase(struct weir_delta *delta, const struct weir_delta_table *table, const struct slot *slot)
{
    struct removals *removals = &delta->freeze.removals;
    if (!delta->freeze.noting || table->made_in == delta->epoch) { /* no freeze has seen the table yet */
        return;
    }
    weir_buf_put_i64(&removals->erased, table->space);
    weir_buf_put_u64(&removals->erased, slot->hash);
    weir_buf_put_bytes(&removals->erased, slot_key(delta, slot));
    removals->nerased++;
    account_removals(delta);
}

void weir__delta_note_drop(struct weir_delta *delta, const struct weir_delta_table *table)
{
    struct removals *removals = &delta->freeze.removals;
    if (!delta->freeze.noting || table->made_in == delta->epoch) {
        return;
    }
    removals->dropped = weir_vec_grow(removals->dropped, &removals->dropped_cap, sizeof(*removals->dropped), removals->ndropped + 1);
    removals->dropped[removals->ndropped++] = table->space;
    account_removals(delta);
}

void weir_delta_removals_fini(struct weir_delta *delta, struct weir_delta_removals *removals)
{
    weir_mem_uncharge(delta->mem, removals->charged);
    weir_buf_fini(&removals->erased);
    weir_free(removals->dropped);
    *removals = (struct weir_delta_removals){0};
}

/* --- the freeze ------------------------------------------------------------------------------------------------------ */

bool weir_delta_must_be_whole(const struct weir_delta *delta)
{
    return !delta->freeze.noting;
}

void weir_delta_freeze(struct weir_delta *delta, const struct weir_delta_freeze *how, struct weir_delta_removals *out_removals)
{
    struct freeze *freeze = &delta->freeze;
    weir_assert(!freeze->on);
    weir_assert(how->whole || freeze->noting);
    *out_removals = (struct weir_delta_removals){0};
    if (how->whole) {
        forget_removals(delta);
        freeze->since = 0;
    } else {
        *out_removals = (struct weir_delta_removals){.erased = freeze->removals.erased,
                                                     .nerased = freeze->removals.nerased,
                                                     .dropped = freeze->removals.dropped,
                                                     .ndropped = freeze->removals.ndropped,
                                                     .charged = freeze->removals.charged};
        freeze->removals = (struct removals){0};
    }
    freeze->on = true;
    freeze->capturing = true;
    freeze->noting = true;
    freeze->number++;
    freeze->epoch = delta->epoch++;
    freeze->encode = how->encode;
    freeze->ctx = how->ctx;
    freeze->table = NULL;
    freeze->next_space = INT64_MIN;
    freeze->past_last = false;
}

/* Leaves off in the middle: what was captured goes. */
static void give_up(struct weir_delta *delta)
{
    struct freeze *freeze = &delta->freeze;
    for (size_t i = 0; i < delta->ntables; i++) {
        struct weir_delta_table *table = delta->tables[i];
        for (uint64_t d = 0; d < 1ull << table->depth; d += 1ull << (table->depth - table->directory[d]->depth)) {
            if (table->directory[d]->chunk != NULL) {
                weir_delta_chunk_destroy(delta, table->directory[d]->chunk);
                table->directory[d]->chunk = NULL;
            }
        }
    }
    while (freeze->noutliving > 0) {
        weir__delta_table_destroy(delta, freeze->outliving[--freeze->noutliving]);
    }
    freeze->capturing = false;
}

void weir_delta_thaw(struct weir_delta *delta, bool durable)
{
    struct freeze *freeze = &delta->freeze;
    weir_assert(freeze->on);
    weir_assert(!durable || !freeze->capturing);
    if (freeze->capturing) {
        give_up(delta);
    }
    for (struct weir_delta_chunk *chunk = weir_delta_take_chunk(delta); chunk != NULL; chunk = weir_delta_take_chunk(delta)) {
        weir_assert(!durable);
        weir_delta_chunk_destroy(delta, chunk);
    }
    weir_assert(freeze->chunk_bytes == 0);
    freeze->on = false;
    freeze->since = durable ? freeze->epoch : 0;
    if (!durable) {
        freeze->noting = false;
        forget_removals(delta);
    }
}

void weir_delta_set_durable(struct weir_delta *delta)
{
    weir_assert(!delta->freeze.on);
    forget_removals(delta);
    delta->freeze.noting = true;
    delta->freeze.since = delta->epoch++;
}

void weir__delta_freeze_fini(struct weir_delta *delta)
{
    struct freeze *freeze = &delta->freeze;
    for (size_t i = 0; i < freeze->noutliving; i++) {
        weir__delta_table_destroy(delta, freeze->outliving[i]);
    }
    for (struct weir_delta_chunk *chunk = weir_delta_take_chunk(delta); chunk != NULL; chunk = weir_delta_take_chunk(delta)) {
        weir_delta_chunk_destroy(delta, chunk);
    }
    weir_assert(freeze->chunk_bytes == 0);
    forget_removals(delta);
    weir_free(freeze->outliving);
    weir_free(freeze->run.slots);
}

/* --- order, for the writer ------------------------------------------------------------------------------------------- */

/* Records of (hash, key) */
static int compare_records(const void *a, const void *b)
{
    const uint8_t *x = *(const uint8_t *const *)a;
    const uint8_t *y = *(const uint8_t *const *)b;
    uint64_t left = weir_le_get_u64(x);
    uint64_t right = weir_le_get_u64(y);
    if (left != right) {
        return left < right ? -1 : 1;
    }
    return weir_slice_cmp(weir_slice(x + 12, weir_le_get_u32(x + 8)), weir_slice(y + 12, weir_le_get_u32(y + 8)));
}

/* Records with a namespace in front. */
static int compare_removals(const void *a, const void *b)
{
    const uint8_t *x = *(const uint8_t *const *)a;
    const uint8_t *y = *(const uint8_t *const *)b;
    int64_t left = (int64_t)weir_le_get_u64(x);
    int64_t right = (int64_t)weir_le_get_u64(y);
    if (left != right) {
        return left < right ? -1 : 1;
    }
    x += 8;
    y += 8;
    return compare_records(&x, &y);
}

static const uint8_t *skip_record(const uint8_t *record)
{
    const uint8_t *value = record + 12 + weir_le_get_u32(record + 8);
    return value + 4 + weir_le_get_u32(value);
}

uint32_t weir_delta_chunk_sort(const struct weir_delta_chunk *chunk, const uint8_t ***out_records)
{
    const uint8_t **saved = weir_calloc(chunk->nsaved, sizeof(*saved));
    const uint8_t *at = chunk->saved.data;
    for (uint32_t i = 0; i < chunk->nsaved; i++) {
        saved[i] = at;
        at = skip_record(at);
    }
    if (chunk->nsaved > 1) {
        qsort(saved, chunk->nsaved, sizeof(*saved), compare_records);
    }
    const uint8_t **records = NULL;
    size_t cap = 0;
    size_t count = 0;
    uint32_t s = 0;
    at = chunk->entries.data;
    const uint8_t *end = chunk->entries.len == 0 ? at : at + chunk->entries.len;
    while (s < chunk->nsaved || at != end) {
        records = weir_vec_grow(records, &cap, sizeof(*records), count + 1);
        if (at == end || (s < chunk->nsaved && compare_records(&saved[s], &at) < 0)) {
            records[count++] = saved[s++];
        } else {
            records[count++] = at;
            at = skip_record(at);
        }
    }
    weir_free(saved);
    *out_records = records;
    return (uint32_t)count;
}

uint64_t weir_delta_removals_sort(const struct weir_delta_removals *removals, const uint8_t ***out_records)
{
    const uint8_t **records = weir_calloc(removals->nerased, sizeof(*records));
    const uint8_t *at = removals->erased.data;
    for (uint64_t i = 0; i < removals->nerased; i++) {
        records[i] = at;
        at += 8 + 8 + 4 + weir_le_get_u32(at + 16);
    }
    if (removals->nerased > 1) {
        qsort(records, removals->nerased, sizeof(*records), compare_removals);
    }
    uint64_t count = 0;
    for (uint64_t i = 0; i < removals->nerased; i++) {
        if (count == 0 || compare_removals(&records[count - 1], &records[i]) != 0) {
            records[count++] = records[i];
        }
    }
    *out_records = records;
    return count;
}
