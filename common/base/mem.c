#include "common/base/mem.h"

#include "common/base/assert.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct weir_mem {
    const char *name;
    uint64_t limit_bytes;
    struct weir_mem *parent;
    _Atomic uint64_t used_bytes;
};

_Noreturn static void out_of_memory(size_t bytes)
{
    (void)fprintf(stderr, "out of memory: %zu bytes wanted\n", bytes);
    abort();
}

void *weir_malloc(size_t bytes)
{
    void *memory = malloc(bytes == 0 ? 1 : bytes);
    if (memory == NULL) {
        out_of_memory(bytes);
    }
    return memory;
}

void *weir_calloc(size_t count, size_t bytes)
{
    void *memory = calloc(count == 0 ? 1 : count, bytes == 0 ? 1 : bytes);
    if (memory == NULL) {
        out_of_memory(count * bytes);
    }
    return memory;
}

void *weir_realloc(void *old, size_t bytes)
{
    void *memory = realloc(old, bytes == 0 ? 1 : bytes);
    if (memory == NULL) {
        out_of_memory(bytes);
    }
    return memory;
}

void *weir_memalign(size_t alignment, size_t bytes)
{
    size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void *memory = aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
    if (memory == NULL) {
        out_of_memory(bytes);
    }
    return memory;
}

char *weir_strdup(const char *text)
{
    return weir_strndup(text, strlen(text));
}

char *weir_strndup(const void *data, size_t len)
{
    char *copy = weir_malloc(len + 1);
    if (len != 0) {
        memcpy(copy, data, len);
    }
    copy[len] = '\0';
    return copy;
}

char *weir_strfmt(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    weir_assert(len >= 0);
    char *text = weir_malloc((size_t)len + 1);
    (void)vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    return text;
}

void weir_free(void *memory)
{
    free(memory);
}

struct weir_mem *weir_mem_create(const char *name, uint64_t limit_bytes, struct weir_mem *parent)
{
    struct weir_mem *mem = weir_calloc(1, sizeof(*mem));
    mem->name = name;
    mem->limit_bytes = limit_bytes;
    mem->parent = parent;
    return mem;
}

void weir_mem_destroy(struct weir_mem *mem)
{
    if (mem == NULL) {
        return;
    }
    weir_assert(atomic_load(&mem->used_bytes) == 0);
    weir_free(mem);
}

void weir_mem_charge(struct weir_mem *mem, uint64_t bytes)
{
    for (; mem != NULL; mem = mem->parent) {
        atomic_fetch_add(&mem->used_bytes, bytes);
    }
}

bool weir_mem_try_charge(struct weir_mem *mem, uint64_t bytes)
{
    for (struct weir_mem *m = mem; m != NULL; m = m->parent) {
        uint64_t used = atomic_fetch_add(&m->used_bytes, bytes) + bytes;
        if (m->limit_bytes != 0 && used > m->limit_bytes) {
            for (struct weir_mem *undo = mem;; undo = undo->parent) {
                atomic_fetch_sub(&undo->used_bytes, bytes);
                if (undo == m) {
                    return false;
                }
            }
        }
    }
    return true;
}

void weir_mem_uncharge(struct weir_mem *mem, uint64_t bytes)
{
    for (; mem != NULL; mem = mem->parent) {
        uint64_t before = atomic_fetch_sub(&mem->used_bytes, bytes);
        weir_assert(before >= bytes);
    }
}

uint64_t weir_mem_used(const struct weir_mem *mem)
{
    return atomic_load(&mem->used_bytes);
}

uint64_t weir_mem_limit(const struct weir_mem *mem)
{
    uint64_t limit = UINT64_MAX;
    for (; mem != NULL; mem = mem->parent) {
        if (mem->limit_bytes != 0 && mem->limit_bytes < limit) {
            limit = mem->limit_bytes;
        }
    }
    return limit;
}

bool weir_mem_full(const struct weir_mem *mem)
{
    for (; mem != NULL; mem = mem->parent) {
        if (mem->limit_bytes != 0 && atomic_load_explicit(&mem->used_bytes, memory_order_relaxed) >= mem->limit_bytes) {
            return true;
        }
    }
    return false;
}
