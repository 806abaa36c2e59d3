#include "taskmanager/state/delta_table.h"

#include "common/base/assert.h"
#include "common/base/vec.h"
#include "common/data/rowkey.h"

#include <sys/mman.h>

void weir_delta_own_groups(struct weir_delta_options *options, uint32_t subtask, uint32_t parallelism, uint32_t max_parallelism)
{
    weir_assert(subtask < parallelism);
    weir_assert(parallelism <= max_parallelism);
    uint64_t first = weir_key_group_first(subtask, max_parallelism, parallelism);
    uint64_t next = weir_key_group_first(subtask + 1, max_parallelism, parallelism);
    /* weir_key_group scales the top 32 bits: group g begins at ceil(g * 2^32 / max). */
    options->hash_first = ((first << 32) + max_parallelism - 1) / max_parallelism << 32;
    options->hash_span = (((next << 32) + max_parallelism - 1) / max_parallelism << 32) - options->hash_first;
}

static uint32_t round8(uint32_t bytes)
{
    return (bytes + 7) / 8 * 8;
}

struct weir_delta *weir_delta_create(const struct weir_delta_options *options)
{
    struct weir_delta *delta = weir_calloc(1, sizeof(*delta));
    delta->mem = options->mem;
    delta->overdraw = options->overdraw;
    delta->inline_bytes = round8(options->inline_key_bytes < WEIR_DELTA_INLINE_DEFAULT ? WEIR_DELTA_INLINE_DEFAULT
                                                                                     : options->inline_key_bytes);
    delta->payload_at = (uint32_t)sizeof(struct slot) + delta->inline_bytes;
    delta->slot_bytes = delta->payload_at + round8(options->payload_bytes);
    uint32_t slots_max = SEGMENT_BYTES_MAX / delta->slot_bytes;
    delta->segment_slots_max = slots_max < SEGMENT_SLOTS_MIN ? SEGMENT_SLOTS_MIN : slots_max;
    delta->hash_first = options->hash_first;
    unsigned __int128 span = options->hash_span == 0 ? (unsigned __int128)1 << 64 : options->hash_span;
    delta->hash_scale = (uint64_t)(((unsigned __int128)1 << 96) / span);
    delta->epoch = 1;
    weir_list_init(&delta->freeze.ready);
    return delta;
}

/* --- memory ---------------------------------------------------------------------------------------------------------- */

static bool give_up_spare(struct weir_delta *delta);

static bool charge(struct weir_delta *delta, size_t bytes)
{
    if (delta->overdraw || delta->mem == NULL) {
        weir_mem_charge(delta->mem, bytes);
    } else {
        while (!weir_mem_try_charge(delta->mem, bytes)) {
            if (!give_up_spare(delta)) {
                return false;
            }
        }
    }
    delta->bytes += bytes;
    return true;
}

static void uncharge(struct weir_delta *delta, size_t bytes)
{
    weir_assert(delta->bytes >= bytes);
    delta->bytes -= bytes;
    weir_mem_uncharge(delta->mem, bytes);
}

static uint32_t segment_range(uint32_t nslots)
{
    return nslots - nslots / 64 - 16;
}

/* An empty segment, or NULL when the budget has no room. */
static struct segment *segment_create(struct weir_delta *delta, uint32_t nslots, uint32_t depth)
{
    size_t bytes = (size_t)nslots * delta->slot_bytes;
    bool huge = bytes >= HUGE_PAGE_BYTES / 2;
    size_t alignment = huge ? HUGE_PAGE_BYTES : 64;
    bytes = (bytes + alignment - 1) / alignment * alignment;
    if (!charge(delta, bytes)) {
        return NULL;
    }
    struct segment *segment = weir_calloc(1, sizeof(*segment));
    segment->slots = weir_memalign(alignment, bytes);
    if (huge) {
        (void)madvise(segment->slots, bytes, MADV_HUGEPAGE); /* only advice */
    }
    memset(segment->slots, 0, bytes);
    segment->bytes = bytes;
    segment->nslots = nslots;
    segment->range = segment_range(nslots);
    segment->depth = depth;
    segment->captured_in = delta->freeze.number; /* what comes into it has been captured, or is newer */
    segment->captured = nslots;
    segment->limit = segment->range / 4 * 3;
    if (nslots == delta->segment_slots_max) {
        uint64_t fraction = (delta->stagger++ * 2654435769u) & 0xffffffffu; /* the golden ratio spreads evenly */
        segment->limit = segment->range / 2 + (uint32_t)((segment->range / 4 * fraction) >> 32);
    }
    return segment;
}

static void segment_destroy(struct weir_delta *delta, struct segment *segment)
{
    if (segment == NULL) {
        return;
    }
    if (segment->chunk != NULL) {
        weir_delta_chunk_destroy(delta, segment->chunk);
    }
    uncharge(delta, segment->bytes);
    weir_free(segment->slots);
    weir_free(segment);
}

/* --- slots ----------------------------------------------------------------------------------------------------------- */

/* memcmp of short runs without the call. */
static inline bool same_bytes(const uint8_t *a, const uint8_t *b, size_t len)
{
    uint64_t x;
    uint64_t y;
    if (len >= 8) {
        for (size_t i = 0; i + 8 < len; i += 8) {
            memcpy(&x, a + i, 8);
            memcpy(&y, b + i, 8);
            if (x != y) {
                return false;
            }
        }
        memcpy(&x, a + len - 8, 8);
        memcpy(&y, b + len - 8, 8);
        return x == y;
    }
    for (size_t i = 0; i < len; i++) {
        if (a[i] != b[i]) {
            return false;
        }
    }
    return true;
}

/* The key's slot from its home on, or the free slot that ends the search. */
static inline struct slot *probe(const struct weir_delta *delta, struct slot *slot, uint64_t hash, struct weir_slice key)
{
    uint32_t meta = (uint32_t)key.len << SLOT_LEN_SHIFT | SLOT_LIVE;
    while (slot->meta != 0) {
        if (slot->hash == hash && slot->meta == meta && same_bytes(slot_key(delta, slot).data, key.data, key.len)) {
            return slot;
        }
        slot = slot_next(delta, slot);
    }
    return slot;
}

/* A slot is about to be written, for the first time in this epoch maybe: then a freeze under way needs the value it has now. */
static inline void touch(struct weir_delta *delta, struct weir_delta_table *table, struct slot *slot)
{
    if (slot->epoch != delta->epoch) {
        if (delta->freeze.capturing && slot->epoch > delta->freeze.since) {
            weir__delta_save(delta, table, slot);
        }
        slot->epoch = delta->epoch;
    }
}

/* --- growth ---------------------------------------------------------------------------------------------------------- */

/* Copies an entry behind what is there. False: only the last slot is left. */
static bool place(const struct weir_delta *delta, struct segment *segment, const struct slot *from)
{
    struct slot *slot = home_slot(delta, segment, position_of(delta, from->hash));
    while (slot->meta != 0) {
        slot = slot_next(delta, slot);
    }
    if (slot == slot_at(delta, segment, segment->nslots - 1)) {
        return false;
    }
    memcpy(slot, from, delta->slot_bytes);
    segment->used++;
    segment->live++;
    return true;
}

/* Moves the live entries of `from` to `low`, or by their next bit to low and high when high is not NULL. */
static bool redistribute(const struct weir_delta *delta, const struct segment *from, struct segment *low, struct segment *high)
{
    for (uint32_t i = 0; i < from->nslots; i++) {
        const struct slot *slot = slot_at(delta, from, i);
        if ((slot->meta & SLOT_STATE_MASK) != SLOT_LIVE) {
            continue;
        }
        bool up = high != NULL && ((position_of(delta, slot->hash) << from->depth) >> 63) != 0;
        if (!place(delta, up ? high : low, slot)) {
            return false;
        }
    }
    return true;
}

/* Twice as many directory places. */
static bool grow_directory(struct weir_delta *delta, struct weir_delta_table *table)
{
    uint64_t count = 1ull << table->depth;
    if (!charge(delta, count * sizeof(struct segment *))) {
        return false;
    }
    struct segment **directory = weir_malloc(2 * count * sizeof(*directory));
    for (uint64_t i = 0; i < count; i++) {
        directory[2 * i] = table->directory[i];
        directory[2 * i + 1] = table->directory[i];
    }
    weir_free(table->directory);
    table->directory = directory;
    table->depth++;
    return true;
}

/* Puts low (and high) where old was. */
static void replace_segment(struct weir_delta *delta, struct weir_delta_table *table, uint64_t index, struct segment *low,
                            struct segment *high)
{
    struct segment *old = table->directory[index];
    uint64_t span = 1ull << (table->depth - old->depth);
    uint64_t first = index & ~(span - 1);
    for (uint64_t i = 0; i < span; i++) {
        table->directory[first + i] = high != NULL && i >= span / 2 ? high : low;
    }
    weir_assert(low->chunk == NULL);
    low->chunk = old->chunk; /* its turn comes where the old segment began */
    old->chunk = NULL;
    segment_destroy(delta, old);
    delta->moves++;
}

/* Makes room in the segment of `position`: sheds its tombs, doubles it or splits it. False: the budget has no room. */
static bool make_room(struct weir_delta *delta, struct weir_delta_table *table, uint64_t position)
{
    struct segment *old = table->directory[directory_index(table, position)];
    uint32_t nslots = old->nslots;
    bool split = false;
    weir__delta_capture_segment(delta, table, old); /* slots move: what is behind the capture may not come before it */
    if (old->live < old->used && old->live <= old->limit / 4 * 3) {
        split = false; /* same size: the tombs are what fills it */
    } else if (nslots >= delta->segment_slots_max && old->live >= old->limit / 2 && table->depth < DIRECTORY_DEPTH_MAX) {
        split = true;
    } else {
        nslots = nslots < delta->segment_slots_max && nslots * 2 > delta->segment_slots_max ? delta->segment_slots_max : nslots * 2;
    }
    if (split && old->depth == table->depth && !grow_directory(delta, table)) {
        return false;
    }
    for (;; nslots *= 2) { /* again, larger, when keys crowd so that the slack does not hold them */
        struct segment *low = segment_create(delta, nslots, old->depth + (split ? 1 : 0));
        struct segment *high = split && low != NULL ? segment_create(delta, nslots, old->depth + 1) : NULL;
        bool have = low != NULL && (!split || high != NULL);
        if (have && redistribute(delta, old, low, high)) {
            replace_segment(delta, table, directory_index(table, position), low, high);
            return true;
        }
        segment_destroy(delta, low);
        segment_destroy(delta, high);
        if (!have) {
            return false;
        }
    }
}

/* --- long keys ------------------------------------------------------------------------------------------------------- */

/* Room for a long key, or NULL when the budget has none. */
static uint8_t *key_room(struct weir_delta *delta, struct weir_delta_table *table, size_t len)
{
    struct key_chunk *last = table->nchunks == 0 ? NULL : &table->chunks[table->nchunks - 1];
    if (last == NULL || last->cap - last->len < len) {
        size_t cap = last == NULL ? KEY_CHUNK_BYTES_MIN : last->cap * 2;
        cap = cap > KEY_CHUNK_BYTES ? KEY_CHUNK_BYTES : cap;
        cap = cap < len ? len : cap;
        if (!charge(delta, cap)) {
            return NULL;
        }
        table->chunks = weir_vec_grow(table->chunks, &table->chunks_cap, sizeof(*table->chunks), table->nchunks + 1);
        last = &table->chunks[table->nchunks++];
        *last = (struct key_chunk){.data = weir_malloc(cap), .cap = cap};
    }
    uint8_t *room = last->data + last->len;
    last->len += len;
    table->keys_bytes += len;
    return room;
}

static void free_chunks(struct weir_delta *delta, struct key_chunk *chunks, size_t nchunks)
{
    for (size_t i = 0; i < nchunks; i++) {
        uncharge(delta, chunks[i].cap);
        weir_free(chunks[i].data);
    }
    weir_free(chunks);
}

/* Copies the long keys that live together when more than half are dead. Without room in the budget they stay as they are. */
static void compact_keys(struct weir_delta *delta, struct weir_delta_table *table)
{
    if (table->keys_dead_bytes < KEY_CHUNK_BYTES || table->keys_dead_bytes * 2 < table->keys_bytes) {
        return;
    }
    size_t live = table->keys_bytes - table->keys_dead_bytes;
    if (live > 0 && !charge(delta, live)) {
        return;
    }
    struct key_chunk all = {.data = weir_malloc(live), .cap = live};
    for (uint64_t d = 0; d < 1ull << table->depth; d += 1ull << (table->depth - table->directory[d]->depth)) {
        const struct segment *segment = table->directory[d];
        for (uint32_t i = 0; i < segment->nslots; i++) {
            struct slot *slot = slot_at(delta, segment, i);
            if ((slot->meta & SLOT_STATE_MASK) != SLOT_LIVE || slot_key_len(slot) <= delta->inline_bytes) {
                continue;
            }
            struct weir_slice key = slot_key(delta, slot);
            uint8_t *copy = all.data + all.len;
            memcpy(copy, key.data, key.len);
            all.len += key.len;
            memcpy(slot + 1, &copy, sizeof(copy));
        }
    }
    weir_assert(all.len == live);
    free_chunks(delta, table->chunks, table->nchunks);
    table->chunks = weir_calloc(1, sizeof(*table->chunks));
    table->chunks[0] = all;
    table->nchunks = 1;
    table->chunks_cap = 1;
    table->keys_bytes = live;
    table->keys_dead_bytes = 0;
}

/* --- tables ---------------------------------------------------------------------------------------------------------- */

void weir__delta_table_destroy(struct weir_delta *delta, struct weir_delta_table *table)
{
    uint64_t places = 1ull << table->depth;
    for (uint64_t i = 0; i < places;) {
        uint64_t span = 1ull << (table->depth - table->directory[i]->depth);
        segment_destroy(delta, table->directory[i]);
        i += span;
    }
    uncharge(delta, (places - 1) * sizeof(struct segment *)); /* the first place is not charged */
    weir_free(table->directory);
    free_chunks(delta, table->chunks, table->nchunks);
    weir_free(table);
}

static bool give_up_spare(struct weir_delta *delta)
{
    if (delta->nspares == 0) {
        return false;
    }
    weir__delta_table_destroy(delta, delta->spares[--delta->nspares]);
    return true;
}

static struct weir_delta_table *table_create(struct weir_delta *delta)
{
    if (delta->nspares > 0) {
        return delta->spares[--delta->nspares];
    }
    uint32_t nslots = SEGMENT_SLOTS_MIN;
    while (nslots < delta->segment_slots_max && segment_range(nslots) / 4 * 3 < delta->expected) {
        nslots *= 2;
    }
    nslots = nslots > delta->segment_slots_max ? delta->segment_slots_max : nslots;
    struct segment *segment = segment_create(delta, nslots, 0);
    if (segment == NULL && nslots > SEGMENT_SLOTS_MIN) {
        segment = segment_create(delta, SEGMENT_SLOTS_MIN, 0);
    }
    if (segment == NULL) {
        return NULL;
    }
    struct weir_delta_table *table = weir_calloc(1, sizeof(*table));
    table->directory = weir_calloc(1, sizeof(*table->directory));
    table->directory[0] = segment;
    return table;
}

/* Keeps a small table, emptied, for the next namespace. */
void weir__delta_retire(struct weir_delta *delta, struct weir_delta_table *table)
{
    struct segment *segment = table->directory[0];
    if (table->depth > 0 || segment->bytes > SPARE_SEGMENT_BYTES_MAX || delta->nspares == SPARE_TABLES_MAX) {
        weir__delta_table_destroy(delta, table);
        return;
    }
    memset(segment->slots, 0, (size_t)segment->nslots * delta->slot_bytes);
    segment->used = 0;
    segment->live = 0;
    free_chunks(delta, table->chunks, table->nchunks);
    *table = (struct weir_delta_table){.directory = table->directory};
    delta->spares[delta->nspares++] = table;
}

void weir_delta_destroy(struct weir_delta *delta)
{
    if (delta == NULL) {
        return;
    }
    for (size_t i = 0; i < delta->ntables; i++) {
        weir__delta_table_destroy(delta, delta->tables[i]);
    }
    for (uint32_t i = 0; i < delta->nspares; i++) {
        weir__delta_table_destroy(delta, delta->spares[i]);
    }
    weir__delta_freeze_fini(delta);
    weir_assert(delta->bytes == 0);
    weir_free(delta->tables);
    weir_free(delta);
}

/* The first table whose namespace is >= space: index, ntables when there is none. */
static size_t lower_bound(const struct weir_delta *delta, int64_t space)
{
    size_t low = 0;
    size_t high = delta->ntables;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (delta->tables[mid]->space < space) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static struct weir_delta_table *find_table(const struct weir_delta *delta, int64_t space)
{
    size_t i = lower_bound(delta, space);
    return i < delta->ntables && delta->tables[i]->space == space ? delta->tables[i] : NULL;
}

/* Puts a table in its place among the namespaces, at index i. */
static void add_table(struct weir_delta *delta, size_t i, int64_t space, struct weir_delta_table *table)
{
    table->space = space;
    table->made_in = delta->epoch;
    delta->tables = weir_vec_grow(delta->tables, &delta->tables_cap, sizeof(*delta->tables), delta->ntables + 1);
    memmove(delta->tables + i + 1, delta->tables + i, (delta->ntables - i) * sizeof(*delta->tables));
    delta->tables[i] = table;
    delta->ntables++;
}

static struct weir_delta_table *find_or_make_table(struct weir_delta *delta, int64_t space)
{
    size_t i = lower_bound(delta, space);
    if (i < delta->ntables && delta->tables[i]->space == space) {
        return delta->tables[i];
    }
    struct weir_delta_table *table = table_create(delta);
    if (table == NULL) {
        return NULL;
    }
    add_table(delta, i, space, table);
    return table;
}

/* An empty table of 1 << depth segments of full size; NULL when the budget has no room. */
static struct weir_delta_table *table_create_large(struct weir_delta *delta, uint32_t depth)
{
    uint64_t places = 1ull << depth;
    if (!charge(delta, (places - 1) * sizeof(struct segment *))) {
        return NULL;
    }
    struct segment **directory = weir_calloc(places, sizeof(struct segment *));
    bool all = true;
    for (uint64_t i = 0; i < places && all; i++) {
        directory[i] = segment_create(delta, delta->segment_slots_max, depth);
        all = directory[i] != NULL;
    }
    if (!all) {
        for (uint64_t i = 0; i < places; i++) {
            segment_destroy(delta, directory[i]);
        }
        uncharge(delta, (places - 1) * sizeof(struct segment *));
        weir_free(directory);
        return NULL;
    }
    struct weir_delta_table *table = weir_calloc(1, sizeof(*table));
    table->directory = directory;
    table->depth = depth;
    return table;
}

void weir_delta_reserve(struct weir_delta *delta, int64_t namespace_, uint64_t entries)
{
    size_t i = lower_bound(delta, namespace_);
    if (i < delta->ntables && delta->tables[i]->space == namespace_) {
        return;
    }
    while (give_up_spare(delta)) { /* too small, or too large */
    }
    /* Between half of the mean limit and the mean limit, as growth would leave it. */
    uint64_t most = segment_range(delta->segment_slots_max) / 8 * 5;
    uint32_t depth = 0;
    while (depth < DIRECTORY_DEPTH_MAX && entries >> depth > most) {
        depth++;
    }
    uint64_t expected = delta->expected;
    delta->expected = entries;
    struct weir_delta_table *table = depth == 0 ? table_create(delta) : table_create_large(delta, depth);
    delta->expected = expected;
    if (table != NULL) {
        add_table(delta, i, namespace_, table);
    }
}

/* A new entry; NULL when the budget has no room. */
static struct slot *insert(struct weir_delta *delta, struct weir_delta_table *table, uint64_t hash, struct weir_slice key)
{
    uint64_t position = position_of(delta, hash);
    struct segment *segment;
    struct slot *slot;
    for (;;) {
        segment = table->directory[directory_index(table, position)];
        slot = probe(delta, home_slot(delta, segment, position), hash, key);
        if (segment->used < segment->limit && slot != slot_at(delta, segment, segment->nslots - 1)) {
            break;
        }
        if (!make_room(delta, table, position)) {
            return NULL;
        }
    }
    weir_assert(slot->meta == 0);
    weir_assert(key.len < WEIR_DELTA_KEY_BYTES_MAX);
    if (key.len > delta->inline_bytes) {
        uint8_t *room = key_room(delta, table, key.len);
        if (room == NULL) {
            return NULL;
        }
        memcpy(room, key.data, key.len);
        memcpy(slot + 1, &room, sizeof(room));
    } else if (key.len > 0) {
        memcpy(slot + 1, key.data, key.len);
    }
    slot->hash = hash;
    slot->meta = (uint32_t)key.len << SLOT_LEN_SHIFT | SLOT_LIVE;
    segment->used++;
    segment->live++;
    table->live++;
    delta->live++;
    return slot;
}

/* --- lookups --------------------------------------------------------------------------------------------------------- */

struct lookup {
    struct weir_delta_table *table;
    struct slot *home;
};

/* Finds tables and home slots of a block of rows and starts loading them. */
static bool prepare_block(struct weir_delta *delta, const int64_t *namespaces, const uint64_t *hashes, uint32_t count,
                          struct lookup *lookups)
{
    struct weir_delta_table *table = NULL;
    for (uint32_t i = 0; i < count; i++) {
        int64_t space = namespaces == NULL ? 0 : namespaces[i];
        if (table == NULL || table->space != space) {
            table = find_or_make_table(delta, space);
            if (table == NULL) {
                return false;
            }
        }
        uint64_t position = position_of(delta, hashes[i]);
        struct slot *home = home_slot(delta, table->directory[directory_index(table, position)], position);
        __builtin_prefetch(home, 1);
        __builtin_prefetch((const uint8_t *)home + 64, 1);
        lookups[i] = (struct lookup){.table = table, .home = home};
    }
    return true;
}

/* One pass over all rows: entries are made, payloads noted. */
static bool get_pass(struct weir_delta *delta, const int64_t *namespaces, const uint64_t *hashes, const struct weir_slice *keys,
                     uint32_t count, uint8_t **out_payloads, bool *created)
{
    struct lookup lookups[BLOCK_ROWS];
    for (uint32_t base = 0; base < count; base += BLOCK_ROWS) {
        uint32_t rows = count - base < BLOCK_ROWS ? count - base : BLOCK_ROWS;
        if (!prepare_block(delta, namespaces == NULL ? NULL : namespaces + base, hashes + base, rows, lookups)) {
            return false;
        }
        uint32_t moves = delta->moves;
        for (uint32_t i = 0; i < rows; i++) {
            uint64_t hash = hashes[base + i];
            struct weir_delta_table *table = lookups[i].table;
            struct slot *home = lookups[i].home;
            if (moves != delta->moves) {
                uint64_t position = position_of(delta, hash);
                home = home_slot(delta, table->directory[directory_index(table, position)], position);
            }
            struct slot *slot = probe(delta, home, hash, keys[base + i]);
            if (slot->meta == 0) {
                slot = insert(delta, table, hash, keys[base + i]);
                if (slot == NULL) {
                    return false;
                }
                if (created != NULL) {
                    created[base + i] = true;
                }
            }
            touch(delta, table, slot);
            out_payloads[base + i] = (uint8_t *)slot + delta->payload_at;
        }
    }
    return true;
}

enum weir_rc weir_delta_get_many(struct weir_delta *delta, const int64_t *namespaces, const uint64_t *hashes,
                                 const struct weir_slice *keys, uint32_t count, uint8_t **out_payloads, bool *created)
{
    if (created != NULL) {
        memset(created, 0, count * sizeof(*created));
    }
    uint32_t moves = delta->moves;
    if (!get_pass(delta, namespaces, hashes, keys, count, out_payloads, created)) {
        return WEIR_AGAIN;
    }
    if (moves != delta->moves) { /* growth moved payloads noted before it; now every entry is there */
        moves = delta->moves;
        bool all = get_pass(delta, namespaces, hashes, keys, count, out_payloads, created);
        weir_assert(all);
        weir_assert(moves == delta->moves);
    }
    return WEIR_OK;
}

void weir_delta_erase(struct weir_delta *delta, int64_t namespace_, uint8_t *payload)
{
    struct weir_delta_table *table = find_table(delta, namespace_);
    weir_assert(table != NULL);
    struct slot *slot = (struct slot *)(void *)(payload - delta->payload_at);
    weir_assert((slot->meta & SLOT_STATE_MASK) == SLOT_LIVE);
    uint32_t len = slot_key_len(slot);
    touch(delta, table, slot);
    weir__delta_note_erase(delta, table, slot);
    slot->meta = SLOT_TOMB; /* keeps the probes through it together; goes when the segment is rebuilt */
    table->directory[directory_index(table, position_of(delta, slot->hash))]->live--;
    table->live--;
    delta->live--;
    if (len > delta->inline_bytes) {
        table->keys_dead_bytes += len;
        compact_keys(delta, table);
    }
}

uint32_t weir_delta_spaces(const struct weir_delta *delta)
{
    return (uint32_t)delta->ntables;
}

int64_t weir_delta_space(const struct weir_delta *delta, uint32_t i)
{
    weir_assert(i < delta->ntables);
    return delta->tables[i]->space;
}

void weir_delta_drop(struct weir_delta *delta, int64_t last)
{
    size_t count = 0;
    while (count < delta->ntables && delta->tables[count]->space <= last) {
        struct weir_delta_table *table = delta->tables[count];
        delta->live -= table->live;
        delta->expected = table->live;
        weir__delta_note_drop(delta, table);
        if (!weir__delta_outlives(delta, table)) {
            weir__delta_retire(delta, table);
        }
        count++;
    }
    if (count > 0) {
        delta->ntables -= count;
        memmove(delta->tables, delta->tables + count, delta->ntables * sizeof(*delta->tables));
        delta->moves++;
    }
}

uint64_t weir_delta_space_entries(const struct weir_delta *delta, uint32_t i)
{
    weir_assert(i < delta->ntables);
    return delta->tables[i]->live;
}

uint64_t weir_delta_slot_bytes(const struct weir_delta *delta)
{
    return delta->slot_bytes;
}

uint64_t weir_delta_entries(const struct weir_delta *delta)
{
    return delta->live;
}

uint64_t weir_delta_bytes(const struct weir_delta *delta)
{
    return delta->bytes;
}

/* --- cursor ---------------------------------------------------------------------------------------------------------- */

int weir_delta_compare(const struct weir_delta *delta, const struct weir_delta_entry *a, const struct weir_delta_entry *b)
{
    if (a->hash != b->hash) {
        uint64_t x = position_of(delta, a->hash);
        uint64_t y = position_of(delta, b->hash);
        if (x != y) {
            return x < y ? -1 : 1;
        }
        return a->hash < b->hash ? -1 : 1;
    }
    return weir_slice_cmp(a->key, b->key);
}

void weir_delta_cursor_init(struct weir_delta_cursor *cursor, const struct weir_delta *delta, int64_t namespace_)
{
    memset(cursor, 0, sizeof(*cursor));
    cursor->priv.delta = delta;
    cursor->priv.table = find_table(delta, namespace_);
}

void weir_delta_cursor_fini(struct weir_delta_cursor *cursor)
{
    weir_free(cursor->priv.run.slots);
    cursor->priv.run = (struct weir_delta_run){0};
}

static int compare_slots(const struct weir_delta *delta, const struct segment *segment, uint32_t a, uint32_t b)
{
    struct weir_delta_entry x = weir__delta_entry_of(delta, slot_at(delta, segment, a));
    struct weir_delta_entry y = weir__delta_entry_of(delta, slot_at(delta, segment, b));
    return weir_delta_compare(delta, &x, &y);
}

uint32_t weir__delta_cluster(const struct weir_delta *delta, const struct segment *segment, struct weir_delta_run *run, uint32_t *slot)
{
    uint32_t at = *slot;
    uint32_t len = 0;
    while (at < segment->nslots && len == 0) {
        for (; at < segment->nslots && slot_at(delta, segment, at)->meta == 0; at++) {
        }
        for (; at < segment->nslots && slot_at(delta, segment, at)->meta != 0; at++) {
            if ((slot_at(delta, segment, at)->meta & SLOT_STATE_MASK) != SLOT_LIVE) {
                continue;
            }
            run->slots = weir_vec_grow(run->slots, &run->cap, sizeof(*run->slots), len + 1);
            uint32_t i = len++;
            for (; i > 0 && compare_slots(delta, segment, run->slots[i - 1], at) > 0; i--) {
                run->slots[i] = run->slots[i - 1];
            }
            run->slots[i] = at;
        }
    }
    *slot = at;
    run->len = len;
    run->next = 0;
    return len;
}

bool weir_delta_cursor_next(struct weir_delta_cursor *cursor, struct weir_delta_entry *out_entry)
{
    const struct weir_delta_table *table = cursor->priv.table;
    if (table == NULL) {
        return false;
    }
    while (cursor->priv.directory < 1ull << table->depth) {
        const struct segment *segment = table->directory[cursor->priv.directory];
        struct weir_delta_run *run = &cursor->priv.run;
        if (run->next < run->len || weir__delta_cluster(cursor->priv.delta, segment, run, &cursor->priv.slot) > 0) {
            *out_entry = weir__delta_entry_of(cursor->priv.delta, slot_at(cursor->priv.delta, segment, run->slots[run->next++]));
            return true;
        }
        cursor->priv.directory += 1ull << (table->depth - segment->depth);
        cursor->priv.slot = 0;
    }
    return false;
}
