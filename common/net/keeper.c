#include "common/net/keeper.h"

#include "common/base/assert.h"

static void on_wake(void *arg)
{
    struct weir__keeper *keeper = arg;
    weir_mutex_lock(keeper->mutex);
    keeper->sleeping = false;
    int64_t rest_ms = 0;
    do {
        keeper->kicked = false;
        rest_ms = keeper->quitting ? 0 : keeper->chore_locked(keeper->owner);
    } while (keeper->kicked);
    if (keeper->quitting) {
        keeper->quit = true;
        weir_cond_broadcast(&keeper->over);
    } else {
        rest_ms = rest_ms < 0 ? 0 : rest_ms < WEIR__KEEPER_REST_MS ? rest_ms : WEIR__KEEPER_REST_MS;
        keeper->sleeping = true;
        nng_sleep_aio((nng_duration)rest_ms, keeper->aio);
    }
    weir_mutex_unlock(keeper->mutex);
}

void weir__keeper_init(struct weir__keeper *keeper, struct weir_mutex *mutex, int64_t (*chore_locked)(void *owner), void *owner)
{
    *keeper = (struct weir__keeper){.mutex = mutex, .chore_locked = chore_locked, .owner = owner, .sleeping = true};
    weir_cond_init(&keeper->over);
    int nng_error = nng_aio_alloc(&keeper->aio, on_wake, keeper);
    weir_assert(nng_error == 0); /* only memory can be missing */
    nng_sleep_aio(0, keeper->aio);
}

void weir__keeper_kick_locked(struct weir__keeper *keeper)
{
    keeper->kicked = true;
    if (keeper->sleeping) {
        nng_aio_abort(keeper->aio, NNG_ECANCELED);
    }
}

void weir__keeper_fini(struct weir__keeper *keeper)
{
    if (keeper->aio == NULL) {
        return;
    }
    weir_mutex_lock(keeper->mutex);
    keeper->quitting = true;
    weir__keeper_kick_locked(keeper);
    while (!keeper->quit) {
        weir_cond_wait(&keeper->over, keeper->mutex);
    }
    weir_mutex_unlock(keeper->mutex);
    nng_aio_free(keeper->aio); /* waits for the callback's return */
    weir_cond_fini(&keeper->over);
}
