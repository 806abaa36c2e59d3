#include "taskmanager/connectors/fence.h"

#include "common/base/mem.h"

#include <stdatomic.h>

struct weir_fence {
    _Atomic uint32_t refs;
    const struct weir_clock *clock;
    _Atomic int64_t until_boot_ns;
};

struct weir_fence *weir_fence_create(const struct weir_clock *clock, int64_t until_boot_ns)
{
    struct weir_fence *fence = weir_calloc(1, sizeof(*fence));
    atomic_init(&fence->refs, 1);
    atomic_init(&fence->until_boot_ns, until_boot_ns);
    fence->clock = clock;
    return fence;
}

struct weir_fence *weir_fence_ref(struct weir_fence *fence)
{
    if (fence != NULL) {
        atomic_fetch_add(&fence->refs, 1);
    }
    return fence;
}

void weir_fence_unref(struct weir_fence *fence)
{
    if (fence != NULL && atomic_fetch_sub(&fence->refs, 1) == 1) {
        weir_free(fence);
    }
}

void weir_fence_set(struct weir_fence *fence, int64_t until_boot_ns)
{
    atomic_store(&fence->until_boot_ns, until_boot_ns);
}

/* The moment is read before the clock: one that was moved in between errs on the side of closed. */
bool weir_fence_closed(const struct weir_fence *fence)
{
    if (fence == NULL) {
        return false;
    }
    int64_t until_boot_ns = atomic_load(&fence->until_boot_ns);
    return until_boot_ns != WEIR_FENCE_NEVER && weir_clock_boot_ns(fence->clock) >= until_boot_ns;
}
