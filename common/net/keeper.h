/*
 * A periodic chore on a library thread: runs when its time has come or when kicked, never twice at once. What must not be done
 * in a stream's own callback (destroying it) is done here. Private to common/net.
 */
#ifndef WEIR_COMMON_NET_KEEPER_H
#define WEIR_COMMON_NET_KEEPER_H

#include "common/runtime/sync.h"

#include <nng/nng.h>

enum { WEIR__KEEPER_REST_MS = 3600 * 1000 };

/* Embedded; its owner's mutex guards it. */
struct weir__keeper {
    nng_aio *aio;
    struct weir_mutex *mutex;
    struct weir_cond over; /* the last chore has ended */
    int64_t (*chore_locked)(void *owner);
    void *owner;
    bool sleeping;
    bool kicked;
    bool quitting;
    bool quit;
};

/* chore_locked is called with the mutex, may release it meanwhile, and returns in how many ms it wants to be called again at the
 * latest. The first call is soon. */
void weir__keeper_init(struct weir__keeper *keeper, struct weir_mutex *mutex, int64_t (*chore_locked)(void *owner), void *owner);

/* Asks for a call soon. With the mutex held. */
void weir__keeper_kick_locked(struct weir__keeper *keeper);

/* No chore runs any more when it returns. Without the mutex; blocks; accepts one never initialised ({0}). */
void weir__keeper_fini(struct weir__keeper *keeper);

#endif
