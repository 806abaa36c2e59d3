#include "jobmanager/job/barrier.h"

#include "common/base/mem.h"
#include "common/base/vec.h"

void weir_barriers_add(struct weir_barriers *barriers, weir_jm_done_fn *done, void *ctx)
{
    barriers->waiting = weir_vec_grow(barriers->waiting, &barriers->waiting_cap, sizeof(*barriers->waiting), barriers->nwaiting + 1);
    barriers->waiting[barriers->nwaiting++] = (struct weir_barrier_waiter){.done = done, .ctx = ctx};
}

bool weir_barriers_begin(struct weir_barriers *barriers)
{
    if (barriers->nasked > 0 || barriers->nwaiting == 0) {
        return false;
    }
    struct weir_barriers before = *barriers;
    barriers->asked = before.waiting;
    barriers->nasked = before.nwaiting;
    barriers->asked_cap = before.waiting_cap;
    barriers->waiting = before.asked;
    barriers->nwaiting = 0;
    barriers->waiting_cap = before.asked_cap;
    return true;
}

static void answer(struct weir_effects *effects, const struct weir_barrier_waiter *waiter, const struct weir_error *err)
{
    struct weir_effect *effect = weir_effects_add(effects, WEIR_EFFECT_ANSWER);
    effect->done = waiter->done;
    effect->ctx = waiter->ctx;
    effect->err = *err;
}

void weir_barriers_end(struct weir_barriers *barriers, struct weir_effects *effects, const struct weir_error *err)
{
    for (size_t i = 0; i < barriers->nasked; i++) {
        answer(effects, &barriers->asked[i], err);
    }
    barriers->nasked = 0;
}

void weir_barriers_fail(struct weir_barriers *barriers, struct weir_effects *effects, const struct weir_error *err)
{
    weir_barriers_end(barriers, effects, err);
    if (weir_barriers_begin(barriers)) {
        weir_barriers_end(barriers, effects, err);
    }
}

void weir_barriers_fini(struct weir_barriers *barriers)
{
    weir_free(barriers->waiting);
    weir_free(barriers->asked);
    *barriers = (struct weir_barriers){0};
}
