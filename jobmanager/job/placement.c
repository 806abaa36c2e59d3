#include "jobmanager/job/placement.h"

#include "common/base/assert.h"

static uint32_t least_used(const struct weir_placement_tm *tms, uint32_t ntms)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < ntms; i++) {
        if (tms[i].used >= tms[i].slots) {
            continue;
        }
        if (best == UINT32_MAX || (uint64_t)tms[i].used * tms[best].slots < (uint64_t)tms[best].used * tms[i].slots) {
            best = i;
        }
    }
    return best;
}

bool weir_placement_choose(struct weir_placement_tm *tms, uint32_t ntms, uint32_t slots, uint32_t *out_tms)
{
    uint64_t available = 0;
    for (uint32_t i = 0; i < ntms; i++) {
        available += tms[i].used < tms[i].slots ? tms[i].slots - tms[i].used : 0;
    }
    if (available < slots) {
        return false;
    }
    for (uint32_t s = 0; s < slots; s++) {
        uint32_t tm = least_used(tms, ntms);
        weir_assert(tm != UINT32_MAX);
        tms[tm].used++;
        out_tms[s] = tm;
    }
    return true;
}
