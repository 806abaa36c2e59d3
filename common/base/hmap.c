/*
 * Entries stand in an array in order of insertion; an open-addressing index (linear probing) holds their numbers. Removal
 * leaves a hole in the array and a tombstone in the index; both go at the next rebuild, which only put does.
 */
#include "common/base/hmap.h"

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/base/mem.h"

enum { SLOT_EMPTY = 0, SLOT_TOMBSTONE = 1, SLOT_FIRST = 2, SLOTS_FIRST = 16 };

struct entry {
    uint8_t *key; /* owned; NULL in a hole */
    size_t key_len;
    uint64_t hash;
    void *value;
};

struct weir_hmap {
    struct entry *entries;
    size_t entries_len; /* holes included */
    size_t entries_max; /* 3/4 of the slots: entries and tombstones together never fill the index */
    size_t live;
    uint32_t *slots;
    size_t slot_count; /* a power of two */
    uint64_t seed;
};

struct weir_hmap *weir_hmap_create(uint64_t seed)
{
    struct weir_hmap *map = weir_calloc(1, sizeof(*map));
    map->seed = seed;
    map->slot_count = SLOTS_FIRST;
    map->slots = weir_calloc(map->slot_count, sizeof(*map->slots));
    map->entries_max = map->slot_count / 4 * 3;
    map->entries = weir_calloc(map->entries_max, sizeof(*map->entries));
    return map;
}

void weir_hmap_destroy(struct weir_hmap *map)
{
    if (map == NULL) {
        return;
    }
    for (size_t i = 0; i < map->entries_len; i++) {
        weir_free(map->entries[i].key);
    }
    weir_free(map->entries);
    weir_free(map->slots);
    weir_free(map);
}

size_t weir_hmap_count(const struct weir_hmap *map)
{
    return map->live;
}

/* The slot of the key's entry, or the empty slot where the search ended. */
static size_t find_slot(const struct weir_hmap *map, struct weir_slice key, uint64_t hash)
{
    size_t mask = map->slot_count - 1;
    size_t slot = hash & mask;
    for (; map->slots[slot] != SLOT_EMPTY; slot = (slot + 1) & mask) {
        if (map->slots[slot] == SLOT_TOMBSTONE) {
            continue;
        }
        const struct entry *entry = &map->entries[map->slots[slot] - SLOT_FIRST];
        if (entry->hash == hash && weir_slice_eq(weir_slice(entry->key, entry->key_len), key)) {
            break;
        }
    }
    return slot;
}

void *weir_hmap_get(const struct weir_hmap *map, struct weir_slice key)
{
    uint32_t number = map->slots[find_slot(map, key, weir_hash_slice(key, map->seed))];
    return number == SLOT_EMPTY ? NULL : map->entries[number - SLOT_FIRST].value;
}

/* Drops holes and tombstones, with a larger index when more than half of the room is live. */
static void rebuild(struct weir_hmap *map)
{
    size_t slot_count = map->live > map->entries_max / 2 ? map->slot_count * 2 : map->slot_count;
    weir_assert(slot_count <= UINT32_MAX / 2);
    size_t entries_max = slot_count / 4 * 3;
    struct entry *entries = weir_calloc(entries_max, sizeof(*entries));
    uint32_t *slots = weir_calloc(slot_count, sizeof(*slots));
    size_t kept = 0;
    for (size_t i = 0; i < map->entries_len; i++) {
        if (map->entries[i].key == NULL) {
            continue;
        }
        entries[kept] = map->entries[i];
        size_t slot = entries[kept].hash & (slot_count - 1);
        while (slots[slot] != SLOT_EMPTY) {
            slot = (slot + 1) & (slot_count - 1);
        }
        slots[slot] = (uint32_t)(kept + SLOT_FIRST);
        kept++;
    }
    weir_assert(kept == map->live);
    weir_free(map->entries);
    weir_free(map->slots);
    map->entries = entries;
    map->entries_len = kept;
    map->entries_max = entries_max;
    map->slots = slots;
    map->slot_count = slot_count;
}

void *weir_hmap_put(struct weir_hmap *map, struct weir_slice key, void *value)
{
    weir_assert(value != NULL);
    uint64_t hash = weir_hash_slice(key, map->seed);
    size_t slot = find_slot(map, key, hash);
    if (map->slots[slot] != SLOT_EMPTY) {
        struct entry *entry = &map->entries[map->slots[slot] - SLOT_FIRST];
        void *old = entry->value;
        entry->value = value;
        return old;
    }
    if (map->entries_len == map->entries_max) {
        rebuild(map);
        slot = find_slot(map, key, hash);
    }
    map->entries[map->entries_len] = (struct entry){
        .key = (uint8_t *)weir_strndup(key.data, key.len), .key_len = key.len, .hash = hash, .value = value};
    map->slots[slot] = (uint32_t)(map->entries_len + SLOT_FIRST);
    map->entries_len++;
    map->live++;
    return NULL;
}

void *weir_hmap_remove(struct weir_hmap *map, struct weir_slice key)
{
    size_t slot = find_slot(map, key, weir_hash_slice(key, map->seed));
    if (map->slots[slot] == SLOT_EMPTY) {
        return NULL;
    }
    struct entry *entry = &map->entries[map->slots[slot] - SLOT_FIRST];
    void *value = entry->value;
    weir_free(entry->key);
    *entry = (struct entry){0};
    map->slots[slot] = SLOT_TOMBSTONE;
    map->live--;
    return value;
}

bool weir_hmap_next(const struct weir_hmap *map, struct weir_hmap_iter *iter)
{
    while (iter->position < map->entries_len) {
        const struct entry *entry = &map->entries[iter->position++];
        if (entry->key != NULL) {
            iter->key = weir_slice(entry->key, entry->key_len);
            iter->value = entry->value;
            return true;
        }
    }
    return false;
}
