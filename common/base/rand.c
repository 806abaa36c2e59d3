#include "common/base/rand.h"

#include "common/base/assert.h"
#include "common/base/hash.h"

void weir_rand_init(struct weir_rand *rand, uint64_t seed)
{
    /* splitmix64, as xoshiro's authors advise: no seed leads to the all-zero state. */
    for (unsigned i = 0; i < 4; i++) {
        rand->s[i] = weir_hash_u64(seed, i * 0x9e3779b97f4a7c15u);
    }
}

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
    return (value << bits) | (value >> (64 - bits));
}

uint64_t weir_rand_u64(struct weir_rand *rand)
{
    uint64_t *s = rand->s;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t weir_rand_below(struct weir_rand *rand, uint64_t bound)
{
    weir_assert(bound > 0);
    /* Lemire: the high half of a 128-bit product; the few low halves that would favour some results are drawn again. */
    uint64_t threshold = (0 - bound) % bound;
    for (;;) {
        unsigned __int128 product = (unsigned __int128)weir_rand_u64(rand) * bound;
        if ((uint64_t)product >= threshold) {
            return (uint64_t)(product >> 64);
        }
    }
}

double weir_rand_double(struct weir_rand *rand)
{
    return (double)(weir_rand_u64(rand) >> 11) * 0x1.0p-53;
}
