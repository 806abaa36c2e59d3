#include "common/base/arena.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <stdarg.h>
#include <stdio.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

enum { BLOCK_BYTES_DEFAULT = 16 * 1024, BLOCK_ALIGNMENT = 64, ALIGNMENT_DEFAULT = 16 };

struct block {
    struct block *next;
    size_t bytes; /* of data */
    size_t used;
    uint8_t *data;
};

struct weir_arena {
    struct block *head; /* the block allocations come from */
    size_t block_bytes;
    size_t used_bytes;
};

static void push_block(struct weir_arena *arena, size_t bytes)
{
    struct block *block = weir_malloc(sizeof(*block));
    block->data = weir_memalign(BLOCK_ALIGNMENT, bytes);
    block->bytes = bytes;
    block->used = 0;
    block->next = arena->head;
    arena->head = block;
    ASAN_POISON_MEMORY_REGION(block->data, bytes);
}

static void free_block(struct block *block)
{
    ASAN_UNPOISON_MEMORY_REGION(block->data, block->bytes);
    weir_free(block->data);
    weir_free(block);
}

struct weir_arena *weir_arena_create(size_t block_bytes)
{
    struct weir_arena *arena = weir_calloc(1, sizeof(*arena));
    arena->block_bytes = block_bytes == 0 ? BLOCK_BYTES_DEFAULT : block_bytes;
    return arena;
}

void weir_arena_destroy(struct weir_arena *arena)
{
    if (arena == NULL) {
        return;
    }
    while (arena->head != NULL) {
        struct block *next = arena->head->next;
        free_block(arena->head);
        arena->head = next;
    }
    weir_free(arena);
}

void *weir_arena_alloc_aligned(struct weir_arena *arena, size_t bytes, size_t alignment)
{
    weir_assert(alignment != 0);
    weir_assert((alignment & (alignment - 1)) == 0);
    weir_assert(alignment <= BLOCK_ALIGNMENT);
    struct block *block = arena->head;
    size_t start = block == NULL ? 0 : (block->used + alignment - 1) & ~(alignment - 1);
    if (block == NULL || start > block->bytes || block->bytes - start < bytes) {
        push_block(arena, bytes > arena->block_bytes ? bytes : arena->block_bytes);
        block = arena->head;
        start = 0;
    }
    block->used = start + bytes;
    arena->used_bytes += bytes;
    ASAN_UNPOISON_MEMORY_REGION(block->data + start, bytes);
    return block->data + start;
}

void *weir_arena_alloc(struct weir_arena *arena, size_t bytes)
{
    return weir_arena_alloc_aligned(arena, bytes, ALIGNMENT_DEFAULT);
}

void *weir_arena_zalloc(struct weir_arena *arena, size_t bytes)
{
    return memset(weir_arena_alloc(arena, bytes), 0, bytes);
}

char *weir_arena_strndup(struct weir_arena *arena, const void *data, size_t len)
{
    char *copy = weir_arena_alloc_aligned(arena, len + 1, 1);
    if (len != 0) {
        memcpy(copy, data, len);
    }
    copy[len] = '\0';
    return copy;
}

char *weir_arena_strdup(struct weir_arena *arena, const char *text)
{
    return weir_arena_strndup(arena, text, strlen(text));
}

char *weir_arena_fmt(struct weir_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    weir_assert(len >= 0);
    char *text = weir_arena_alloc_aligned(arena, (size_t)len + 1, 1);
    (void)vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    return text;
}

struct weir_slice weir_arena_slice(struct weir_arena *arena, struct weir_slice s)
{
    return weir_slice(weir_arena_strndup(arena, s.data, s.len), s.len);
}

void weir_arena_reset(struct weir_arena *arena)
{
    arena->used_bytes = 0;
    while (arena->head != NULL && arena->head->next != NULL) {
        struct block *next = arena->head->next;
        free_block(arena->head);
        arena->head = next;
    }
    if (arena->head != NULL) {
        arena->head->used = 0;
        ASAN_POISON_MEMORY_REGION(arena->head->data, arena->head->bytes);
    }
}

size_t weir_arena_used_bytes(const struct weir_arena *arena)
{
    return arena->used_bytes;
}
