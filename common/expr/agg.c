/*
 * Choosing aggregates, their result types, and the heap of long values.
 */
#include "common/expr/agg.h"

#include "common/expr/agg_basic.h"
#include "common/expr/fn.h"

#include <strings.h>

/* --- heap --------------------------------------------------------------------------------------------------------------- */

struct entry {
    uint8_t *data; /* NULL: free */
    uint32_t len;
    uint32_t cap;
    uint32_t next_free;
};

struct weir_agg_heap {
    struct weir_mem *mem;
    struct entry *entries; /* handle h is entry h - 1 */
    uint32_t count, cap;
    uint32_t free_head; /* a handle, 0: none */
};

struct weir_agg_heap *weir_agg_heap_create(struct weir_mem *mem)
{
    struct weir_agg_heap *heap = weir_calloc(1, sizeof(*heap));
    heap->mem = mem;
    return heap;
}

void weir_agg_heap_destroy(struct weir_agg_heap *heap)
{
    if (heap == NULL) {
        return;
    }
    for (uint32_t i = 0; i < heap->count; i++) {
        if (heap->entries[i].data != NULL) {
            weir_mem_uncharge(heap->mem, heap->entries[i].cap);
            weir_free(heap->entries[i].data);
        }
    }
    weir_mem_uncharge(heap->mem, (uint64_t)heap->cap * sizeof(struct entry));
    weir_free(heap->entries);
    weir_free(heap);
}

static uint32_t take_handle(struct weir_agg_heap *heap)
{
    if (heap->free_head != 0) {
        uint32_t handle = heap->free_head;
        heap->free_head = heap->entries[handle - 1].next_free;
        return handle;
    }
    if (heap->count == heap->cap) {
        uint32_t cap = heap->cap == 0 ? 16 : heap->cap * 2;
        weir_mem_charge(heap->mem, (uint64_t)(cap - heap->cap) * sizeof(struct entry));
        heap->entries = weir_realloc(heap->entries, (size_t)cap * sizeof(struct entry));
        heap->cap = cap;
    }
    heap->entries[heap->count] = (struct entry){0};
    return ++heap->count;
}

struct weir_slice weir__agg_heap_get(const struct weir_agg_heap *heap, uint64_t handle)
{
    weir_assert(handle > 0);
    weir_assert(handle <= heap->count);
    const struct entry *entry = &heap->entries[handle - 1];
    weir_assert(entry->data != NULL);
    return weir_slice(entry->data, entry->len);
}

uint64_t weir__agg_heap_put(struct weir_agg_heap *heap, uint64_t handle, struct weir_slice value)
{
    handle = handle == 0 ? take_handle(heap) : handle;
    struct entry *entry = &heap->entries[handle - 1];
    if (entry->data == NULL || entry->cap < value.len) {
        uint32_t cap = value.len < 16 ? 16 : (uint32_t)value.len;
        weir_mem_charge(heap->mem, cap);
        uint8_t *data = weir_malloc(cap);
        if (entry->data != NULL) {
            weir_mem_uncharge(heap->mem, entry->cap);
            weir_free(entry->data);
        }
        entry->data = data;
        entry->cap = cap;
    }
    memcpy(entry->data, value.data, value.len);
    entry->len = (uint32_t)value.len;
    return handle;
}

void weir__agg_heap_drop(struct weir_agg_heap *heap, uint64_t handle)
{
    weir_assert(handle > 0);
    weir_assert(handle <= heap->count);
    struct entry *entry = &heap->entries[handle - 1];
    weir_assert(entry->data != NULL);
    weir_mem_uncharge(heap->mem, entry->cap);
    weir_free(entry->data);
    *entry = (struct entry){.next_free = heap->free_head};
    heap->free_head = (uint32_t)handle;
}

/* --- choosing ----------------------------------------------------------------------------------------------------------- */

enum which { AGG_COUNT, AGG_SUM, AGG_AVG, AGG_MIN, AGG_MAX, AGG_NONE };

static enum which which_of(const char *name)
{
    static const char *const names[] = {"COUNT", "SUM", "AVG", "MIN", "MAX"};
    for (uint32_t i = 0; i < AGG_NONE; i++) {
        if (strcasecmp(names[i], name) == 0) {
            return (enum which)i;
        }
    }
    return AGG_NONE;
}

static enum weir_rc no_such(const char *name, struct weir_type arg, struct weir_error *err)
{
    arg.not_null = false;
    return weir_error_set(err, WEIR_INVALID, "%s of %s does not exist; there are COUNT of anything, SUM and AVG of numbers, MIN and MAX of "
                          "numbers, strings, dates, times and timestamps", name, weir_type_text(arg).text);
}

enum weir_rc weir_agg_result_type(const char *name, bool star, struct weir_type arg, struct weir_type *out_type, struct weir_error *err)
{
    enum which which = which_of(name);
    struct weir_type type = arg;
    type.not_null = false;
    if (which == AGG_NONE) {
        return weir_error_set(err, WEIR_INVALID, "there is no aggregate %s; there are COUNT, SUM, AVG, MIN and MAX", name);
    }
    if (star && which != AGG_COUNT) {
        return weir_error_set(err, WEIR_INVALID, "%s(*) does not exist, only COUNT(*)", name);
    }
    switch (which) {
    case AGG_COUNT:
        type = weir_type_of(WEIR_TYPE_BIGINT);
        type.not_null = true;
        break;
    case AGG_SUM:
    case AGG_AVG:
        if (!weir_type_is_numeric(arg.id)) {
            return no_such(name, arg, err);
        }
        if (arg.id == WEIR_TYPE_DECIMAL) {
            type.precision = WEIR_DECIMAL_PRECISION_MAX;
            type.scale = which == AGG_AVG && arg.scale < 6 ? 6 : arg.scale;
        }
        break;
    case AGG_MIN:
    case AGG_MAX:
        if (!weir_type_is_numeric(arg.id) && !weir_type_is_time(arg.id) && arg.id != WEIR_TYPE_VARCHAR) {
            return no_such(name, arg, err);
        }
        break;
    case AGG_NONE:
        break;
    }
    *out_type = type;
    return WEIR_OK;
}

enum weir_rc weir_agg_find(const struct weir_expr *bound_agg, const struct weir_agg **out_agg, struct weir_error *err)
{
    weir_assert(bound_agg->kind == WEIR_EXPR_AGG);
    if (bound_agg->distinct) {
        return weir_error_set(err, WEIR_UNSUPPORTED, "%u:%u: %s(DISTINCT ...) is not supported yet", bound_agg->pos.line,
                              bound_agg->pos.column, bound_agg->name);
    }
    struct weir_type arg = bound_agg->nargs == 1 ? bound_agg->args[0]->type : weir_type_of(WEIR_TYPE_NULL), ignored;
    enum weir_rc rc = weir_agg_result_type(bound_agg->name, bound_agg->star, arg, &ignored, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    enum which which = which_of(bound_agg->name);
    switch (which) {
    case AGG_COUNT:
        *out_agg = &weir__agg_count;
        return WEIR_OK;
    case AGG_SUM:
    case AGG_AVG:
        *out_agg = weir__agg_sum(weir__phys_of(arg.id), which == AGG_AVG);
        return WEIR_OK;
    case AGG_MIN:
    case AGG_MAX:
        *out_agg = weir__agg_extreme(weir__phys_of(arg.id), which == AGG_MAX);
        return WEIR_OK;
    case AGG_NONE:
        break;
    }
    weir_assert(false);
    return WEIR_INVALID;
}
