/*
 * The only caller of malloc, and the budgets that data is charged to.
 *
 * Small control-plane allocations abort when memory is out (charter 32: a half-tested NOMEM path is worse than a crash that
 * the checkpoint covers). Memory sized by data comes from a `struct weir_mem` budget instead: running out is WEIR_AGAIN to
 * the caller, that is, back pressure.
 */
#ifndef WEIR_COMMON_BASE_MEM_H
#define WEIR_COMMON_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Heap memory; abort on failure. Any thread. Free with weir_free (accepts NULL). */
void *weir_malloc(size_t bytes);
void *weir_calloc(size_t count, size_t bytes);
void *weir_realloc(void *old, size_t bytes);
void *weir_memalign(size_t alignment, size_t bytes); /* bytes is rounded up to a multiple of alignment */
char *weir_strdup(const char *text);
char *weir_strndup(const void *data, size_t len); /* NUL-terminated copy of len bytes */
char *weir_strfmt(const char *format, ...) __attribute__((format(printf, 1, 2)));
void weir_free(void *memory);

/*
 * A budget: a named, thread-safe account of bytes, optionally below a parent that is charged too.
 */
struct weir_mem;

/* limit_bytes 0 = no limit of its own (the parent's still holds). parent may be NULL and must outlive the child. name is
 * borrowed for the budget's life (a literal). */
struct weir_mem *weir_mem_create(const char *name, uint64_t limit_bytes, struct weir_mem *parent);

/* Asserts that nothing is charged any more. Accepts NULL. */
void weir_mem_destroy(struct weir_mem *mem);

/* Charges bytes here and in every ancestor, or nothing and returns false when one of them would exceed its limit. */
bool weir_mem_try_charge(struct weir_mem *mem, uint64_t bytes);

/* Charges even beyond the limit: for what must not fail (a barrier, a row already read). mem may be NULL: no account. */
void weir_mem_charge(struct weir_mem *mem, uint64_t bytes);

/* Gives bytes back. mem may be NULL. */
void weir_mem_uncharge(struct weir_mem *mem, uint64_t bytes);

uint64_t weir_mem_used(const struct weir_mem *mem);
uint64_t weir_mem_limit(const struct weir_mem *mem); /* the tightest of this and its ancestors; UINT64_MAX when none */

/* True when used is at or over 100% of the limit here or above: producers should stop taking input. NULL: false. */
bool weir_mem_full(const struct weir_mem *mem);

#endif
