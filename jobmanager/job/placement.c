#include "jobmanager/job/placement.h"

#include <string.h>

#include "common/base/assert.h"

enum fit { THE_SAME, SAME_HOST, ANY };

static bool fits(const struct weir_placement_tm *tm, const struct weir_placement_home *home, enum fit fit)
{
    switch (fit) {
    case THE_SAME:
        return home->tm_id != NULL && strcmp(home->tm_id, tm->id) == 0;
    case SAME_HOST:
        return home->host != NULL && home->host[0] != '\0' && strcmp(home->host, tm->host) == 0;
    case ANY:
        break;
    }
    return true;
}

/* UINT32_MAX: none. */
static uint32_t least_used(const struct weir_placement_tm *tms, uint32_t ntms, const struct weir_placement_home *home, enum fit fit)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < ntms; i++) {
        if (tms[i].used >= tms[i].slots || !fits(&tms[i], home, fit)) {
            continue;
        }
        if (best == UINT32_MAX || (uint64_t)tms[i].used * tms[best].slots < (uint64_t)tms[best].used * tms[i].slots) {
            best = i;
        }
    }
    return best;
}

bool weir_placement_choose(struct weir_placement_tm *tms, uint32_t ntms, uint32_t slots, const struct weir_placement_home *homes, uint32_t *out_tms)
{
    uint64_t available = 0;
    for (uint32_t i = 0; i < ntms; i++) {
        available += tms[i].used < tms[i].slots ? tms[i].slots - tms[i].used : 0;
    }
    if (available < slots) {
        return false;
    }
    for (uint32_t s = 0; s < slots; s++) {
        out_tms[s] = UINT32_MAX;
    }
    for (int fit = homes == NULL ? ANY : THE_SAME; fit <= ANY; fit++) { /* a home is only given to another slot when its own has been served */
        for (uint32_t s = 0; s < slots; s++) {
            uint32_t tm = out_tms[s] == UINT32_MAX ? least_used(tms, ntms, homes == NULL ? NULL : &homes[s], (enum fit)fit) : UINT32_MAX;
            if (tm != UINT32_MAX) {
                tms[tm].used++;
                out_tms[s] = tm;
            }
            weir_assert(fit != ANY || out_tms[s] != UINT32_MAX);
        }
    }
    return true;
}
