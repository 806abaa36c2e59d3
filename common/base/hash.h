/*
 * Hashes that are STABLE: the same bytes and seed give the same value in every version of Weir and on every machine. Key
 * groups and hash partitioning are made of them, so changing one orphans the state of every running job. A better function
 * gets a new name and a new number; WEIR_HASH_VERSION says which one new state is written with.
 */
#ifndef WEIR_COMMON_BASE_HASH_H
#define WEIR_COMMON_BASE_HASH_H

#include "common/base/slice.h"

enum { WEIR_HASH_VERSION = 1 };

/* Version 1 of bytes: XXH3 64 bits with seed (frozen by xxHash since 0.8.0). Any thread. data may be NULL when len is 0. */
uint64_t weir_hash_bytes(const void *data, size_t len, uint64_t seed);

static inline uint64_t weir_hash_slice(struct weir_slice s, uint64_t seed)
{
    return weir_hash_bytes(s.data, s.len, seed);
}

/* Version 1 of a 64-bit word: the splitmix64 finaliser over value + seed; a bijection for a fixed seed. Not equal to
 * weir_hash_bytes of the same eight bytes. */
static inline uint64_t weir_hash_u64(uint64_t value, uint64_t seed)
{
    uint64_t z = value + seed + 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Folds the hash of a further column into a row's hash; order matters. Part of version 1. */
static inline uint64_t weir_hash_combine(uint64_t left, uint64_t right)
{
    return weir_hash_u64(left ^ ((right << 32) | (right >> 32)), right);
}

#endif
