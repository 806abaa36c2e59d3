/*
 * A seeded pseudo-random generator (xoshiro256**): the only randomness there is, so that a run can be repeated from its
 * seed. Not for secrets. The sequence of a seed is stable across versions (datagen's rows are made of it).
 */
#ifndef WEIR_COMMON_BASE_RAND_H
#define WEIR_COMMON_BASE_RAND_H

#include <stdint.h>

/* A value type: copy it to fork the sequence. One thread. */
struct weir_rand {
    uint64_t s[4];
};

void weir_rand_init(struct weir_rand *rand, uint64_t seed);

uint64_t weir_rand_u64(struct weir_rand *rand);

/* Uniform in [0, bound), without modulo bias. bound > 0. */
uint64_t weir_rand_below(struct weir_rand *rand, uint64_t bound);

/* Uniform in [0, 1), 53 bits. */
double weir_rand_double(struct weir_rand *rand);

#endif
