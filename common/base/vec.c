#include "common/base/vec.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <stdint.h>

enum { ITEMS_FIRST = 8 };

void *weir_vec_grow(void *items, size_t *cap, size_t item_bytes, size_t need)
{
    weir_assert(item_bytes > 0);
    if (need <= *cap) {
        return items;
    }
    weir_assert(need <= SIZE_MAX / 4 / item_bytes);
    size_t wanted = *cap * 2 > ITEMS_FIRST ? *cap * 2 : ITEMS_FIRST;
    if (wanted < need) {
        wanted = need;
    }
    items = weir_realloc(items, wanted * item_bytes);
    *cap = wanted;
    return items;
}
