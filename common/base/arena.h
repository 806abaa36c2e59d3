/*
 * A block arena: many small allocations with one lifetime (a parsed tree, a batch's scratch space). Not thread-safe: one
 * owner. Nothing is freed before reset or destroy; reset poisons the blocks under AddressSanitizer.
 */
#ifndef WEIR_COMMON_BASE_ARENA_H
#define WEIR_COMMON_BASE_ARENA_H

#include "common/base/slice.h"

struct weir_arena;

/* block_bytes: size of a block (0 = 16 KiB); larger allocations get a block of their own. */
struct weir_arena *weir_arena_create(size_t block_bytes);
void weir_arena_destroy(struct weir_arena *arena); /* accepts NULL */

/* Uninitialised memory aligned to 16 bytes (alloc_aligned: to `alignment`, a power of two up to 64). Never NULL. */
void *weir_arena_alloc(struct weir_arena *arena, size_t bytes);
void *weir_arena_alloc_aligned(struct weir_arena *arena, size_t bytes, size_t alignment);
void *weir_arena_zalloc(struct weir_arena *arena, size_t bytes);

/* NUL-terminated copies that live as long as the arena. */
char *weir_arena_strndup(struct weir_arena *arena, const void *data, size_t len);
char *weir_arena_strdup(struct weir_arena *arena, const char *text);
char *weir_arena_fmt(struct weir_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct weir_slice weir_arena_slice(struct weir_arena *arena, struct weir_slice s);

/* Forgets every allocation and keeps one block for reuse. */
void weir_arena_reset(struct weir_arena *arena);

/* Bytes allocated since the beginning or the last reset. */
size_t weir_arena_used_bytes(const struct weir_arena *arena);

#endif
