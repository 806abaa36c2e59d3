#include "jobmanager/ha/raft_core_private.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

void weir__raft_entries_fini(struct weir__raft_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        weir_free((void *)(uintptr_t)entries->items[i].data.data);
    }
    weir_free(entries->items);
    weir_free(entries->generations);
    *entries = (struct weir__raft_entries){0};
}

const struct weir_raft_entry *weir__raft_entries_at(const struct weir__raft_entries *entries, uint64_t index)
{
    return index < entries->first || index - entries->first >= entries->count ? NULL : &entries->items[index - entries->first];
}

void weir__raft_entries_add(struct weir__raft_entries *entries, const struct weir_raft_entry *entry, uint64_t generation)
{
    entries->items = weir_vec_grow(entries->items, &entries->items_cap, sizeof(*entries->items), entries->count + 1);
    entries->generations = weir_vec_grow(entries->generations, &entries->generations_cap, sizeof(*entries->generations), entries->count + 1);
    weir_assert(entries->count == 0 || entries->generations[entries->count - 1] <= generation);
    struct weir_raft_entry *to = &entries->items[entries->count];
    *to = *entry;
    to->data.data = entry->data.len == 0 ? NULL : (const uint8_t *)weir_strndup(entry->data.data, entry->data.len);
    entries->generations[entries->count++] = generation;
}

void weir__raft_entries_cut(struct weir__raft_entries *entries, uint64_t from)
{
    while (entries->count > 0 && weir__raft_entries_last(entries) >= from) {
        weir_free((void *)(uintptr_t)entries->items[--entries->count].data.data);
    }
}

void weir__raft_entries_drop(struct weir__raft_entries *entries, uint64_t through)
{
    if (through < entries->first) {
        return;
    }
    size_t n = through - entries->first + 1;
    weir_assert(n <= entries->count);
    for (size_t i = 0; i < n; i++) {
        weir_free((void *)(uintptr_t)entries->items[i].data.data);
    }
    entries->count -= n;
    entries->first += n;
    if (entries->count > 0) {
        memmove(entries->items, entries->items + n, entries->count * sizeof(*entries->items));
        memmove(entries->generations, entries->generations + n, entries->count * sizeof(*entries->generations));
    }
}

uint64_t weir__raft_entries_written(const struct weir__raft_entries *entries, uint64_t generation)
{
    for (size_t i = entries->count; i > 0; i--) {
        if (entries->generations[i - 1] <= generation) {
            return entries->first + i - 1;
        }
    }
    return 0;
}

struct raft_entry *weir__raft_entries_to_library(const struct weir__raft_entries *entries)
{
    size_t bytes = 1;
    for (size_t i = 0; i < entries->count; i++) {
        bytes += entries->items[i].data.len;
    }
    if (entries->count == 0) {
        return NULL;
    }
    struct raft_entry *to = raft_malloc(entries->count * sizeof(*to));
    uint8_t *batch = raft_malloc(bytes);
    weir_assert(to != NULL && batch != NULL);
    size_t at = 0;
    for (size_t i = 0; i < entries->count; i++) {
        const struct weir_raft_entry *from = &entries->items[i];
        to[i] = (struct raft_entry){.term = from->term,
                                    .type = (enum raft_entry_type)from->kind,
                                    .buf = {.base = batch + at, .len = from->data.len},
                                    .batch = batch};
        if (from->data.len > 0) {
            memcpy(batch + at, from->data.data, from->data.len);
        }
        at += from->data.len;
    }
    return to;
}
