#include "common/base/hash.h"

#include <xxhash.h>

_Static_assert(XXH_VERSION_NUMBER >= 800, "XXH3 gives stable values only since xxHash 0.8.0");

uint64_t weir_hash_bytes(const void *data, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, len, seed);
}
