/*
 * Bitmaps as in Apache Arrow: bit i is bit i % 8 (least significant first) of byte i / 8. The caller owns the bytes; bits
 * beyond the last are padding that these functions may change only where a function says so.
 */
#ifndef WEIR_COMMON_BASE_BITMAP_H
#define WEIR_COMMON_BASE_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes that hold `bits` bits. */
static inline size_t weir_bitmap_bytes(size_t bits)
{
    return bits / 8 + (bits % 8 != 0 ? 1 : 0);
}

static inline bool weir_bitmap_get(const uint8_t *map, size_t bit)
{
    return (map[bit / 8] >> (bit % 8) & 1) != 0;
}

static inline void weir_bitmap_set(uint8_t *map, size_t bit)
{
    map[bit / 8] = (uint8_t)(map[bit / 8] | (1u << (bit % 8)));
}

static inline void weir_bitmap_clear(uint8_t *map, size_t bit)
{
    map[bit / 8] = (uint8_t)(map[bit / 8] & ~(1u << (bit % 8)));
}

/* Without a branch on value. */
static inline void weir_bitmap_put(uint8_t *map, size_t bit, bool value)
{
    unsigned mask = 1u << (bit % 8);
    map[bit / 8] = (uint8_t)((map[bit / 8] & ~mask) | ((unsigned)value << (bit % 8)));
}

/* Sets bits [from, from + count) to value; no other bit changes. */
static inline void weir_bitmap_fill(uint8_t *map, size_t from, size_t count, bool value)
{
    size_t bit = from;
    size_t end = from + count;
    for (; bit < end && bit % 8 != 0; bit++) {
        weir_bitmap_put(map, bit, value);
    }
    size_t whole_bytes = (end - bit) / 8;
    if (whole_bytes > 0) {
        memset(map + bit / 8, value ? 0xff : 0, whole_bytes);
        bit += whole_bytes * 8;
    }
    for (; bit < end; bit++) {
        weir_bitmap_put(map, bit, value);
    }
}

/* Set bits of the first `bits`; padding is not looked at. */
static inline size_t weir_bitmap_count(const uint8_t *map, size_t bits)
{
    size_t set = 0;
    size_t byte = 0;
    for (; byte + 8 <= bits / 8; byte += 8) {
        uint64_t word;
        memcpy(&word, map + byte, 8);
        set += (size_t)__builtin_popcountll(word);
    }
    for (; byte < bits / 8; byte++) {
        set += (size_t)__builtin_popcount(map[byte]);
    }
    if (bits % 8 != 0) {
        set += (size_t)__builtin_popcount(map[byte] & ((1u << (bits % 8)) - 1));
    }
    return set;
}

/* out = a AND b, out = a OR b over whole bytes, padding included; out may be a or b. */
static inline void weir_bitmap_and(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t bits)
{
    size_t bytes = weir_bitmap_bytes(bits);
    for (size_t i = 0; i < bytes; i++) {
        out[i] = a[i] & b[i];
    }
}

static inline void weir_bitmap_or(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t bits)
{
    size_t bytes = weir_bitmap_bytes(bits);
    for (size_t i = 0; i < bytes; i++) {
        out[i] = a[i] | b[i];
    }
}

#endif
