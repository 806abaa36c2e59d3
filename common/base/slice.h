/*
 * A borrowed run of bytes. Strings travel as slices; NUL-terminated strings only at libc's door.
 */
#ifndef WEIR_COMMON_BASE_SLICE_H
#define WEIR_COMMON_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct weir_slice {
    const uint8_t *data; /* may be NULL when len is 0 */
    size_t len;
};

/* For printf: `"%.*s", WEIR_SLICE_ARG(s)`. */
#define WEIR_SLICE_ARG(s) (int)(s).len, (const char *)(s).data

static inline struct weir_slice weir_slice(const void *data, size_t len)
{
    return (struct weir_slice){.data = data, .len = len};
}

static inline struct weir_slice weir_slice_str(const char *text)
{
    return (struct weir_slice){.data = (const uint8_t *)text, .len = strlen(text)};
}

static inline bool weir_slice_eq(struct weir_slice a, struct weir_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool weir_slice_eq_str(struct weir_slice a, const char *text)
{
    return weir_slice_eq(a, weir_slice_str(text));
}

/* Byte order, the shorter first on a tie: negative, 0 or positive. */
static inline int weir_slice_cmp(struct weir_slice a, struct weir_slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n == 0 ? 0 : memcmp(a.data, b.data, n);
    if (order != 0) {
        return order;
    }
    return a.len < b.len ? -1 : a.len > b.len ? 1 : 0;
}

#endif
