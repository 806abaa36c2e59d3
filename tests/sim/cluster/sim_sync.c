/* common/runtime/sync.h and waker.h for coroutines. Whoever waits is woken in the order in which it came. */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/runtime/sync.h"
#include "common/runtime/waker.h"
#include "tests/sim/cluster/world.h"

#include <string.h>

/* What stands in a weir_mutex, and in a weir_cond. */
struct lock {
    bool held;
    struct weir_sim_waiters waiters;
};

_Static_assert(sizeof(struct lock) <= sizeof(struct weir_mutex), "a mutex has room for a lock");
_Static_assert(sizeof(struct weir_sim_waiters) <= sizeof(struct weir_cond), "a condition has room for its waiters");

static struct lock *lock_of(struct weir_mutex *mutex)
{
    return (struct lock *)(void *)mutex;
}

static struct weir_sim_waiters *waiters_of(struct weir_cond *cond)
{
    return (struct weir_sim_waiters *)(void *)cond;
}

void weir_mutex_init(struct weir_mutex *mutex)
{
    memset(mutex, 0, sizeof(*mutex));
}

void weir_mutex_fini(struct weir_mutex *mutex)
{
    weir_assert(!lock_of(mutex)->held);
    weir_assert(lock_of(mutex)->waiters.first == NULL);
}

void weir_mutex_lock(struct weir_mutex *mutex)
{
    struct lock *lock = lock_of(mutex);
    weir_sim_yield_maybe();
    while (lock->held) {
        (void)weir_sim_wait_in(&lock->waiters, INT64_MAX);
    }
    lock->held = true;
}

void weir_mutex_unlock(struct weir_mutex *mutex)
{
    struct lock *lock = lock_of(mutex);
    weir_assert(lock->held);
    lock->held = false;
    (void)weir_sim_wake_first(&lock->waiters);
}

void weir_cond_init(struct weir_cond *cond)
{
    memset(cond, 0, sizeof(*cond));
}

void weir_cond_fini(struct weir_cond *cond)
{
    weir_assert(waiters_of(cond)->first == NULL);
}

static bool cond_wait(struct weir_cond *cond, struct weir_mutex *mutex, int64_t deadline_ns)
{
    weir_mutex_unlock(mutex);
    bool woken = weir_sim_wait_in(waiters_of(cond), deadline_ns);
    weir_mutex_lock(mutex);
    return woken;
}

void weir_cond_wait(struct weir_cond *cond, struct weir_mutex *mutex)
{
    (void)cond_wait(cond, mutex, INT64_MAX);
}

bool weir_cond_wait_until(struct weir_cond *cond, struct weir_mutex *mutex, int64_t deadline_ns)
{
    const struct weir_sim_node *node = weir_sim_node_here();
    int64_t offset_ns = node == NULL ? 0 : node->clock.mono_offset_ns;
    return cond_wait(cond, mutex, deadline_ns - offset_ns);
}

void weir_cond_signal(struct weir_cond *cond)
{
    (void)weir_sim_wake_first(waiters_of(cond));
}

void weir_cond_broadcast(struct weir_cond *cond)
{
    while (weir_sim_wake_first(waiters_of(cond))) {
    }
}

/* --- wakers ------------------------------------------------------------------------------------------------------------ */

struct weir_waker {
    bool sleeping; /* announced */
    bool woken;
    struct weir_sim_waiters consumer;
};

enum { TERM_LOOK_NS = 50000000 };

enum weir_rc weir_waker_create(struct weir_waker **out_waker, struct weir_error *err)
{
    (void)err;
    *out_waker = weir_calloc(1, sizeof(**out_waker));
    return WEIR_OK;
}

void weir_waker_destroy(struct weir_waker *waker)
{
    weir_assert(waker == NULL || waker->consumer.first == NULL);
    weir_free(waker);
}

void weir_waker_wake(struct weir_waker *waker)
{
    weir_sim_yield_maybe();
    if (waker->sleeping) {
        waker->sleeping = false;
        waker->woken = true;
        (void)weir_sim_wake_first(&waker->consumer);
    }
}

void weir_waker_prepare(struct weir_waker *waker)
{
    waker->sleeping = true;
    weir_sim_yield_maybe();
}

void weir_waker_cancel(struct weir_waker *waker)
{
    waker->sleeping = false;
}

void weir_waker_finish(struct weir_waker *waker)
{
    waker->sleeping = false;
    waker->woken = false;
}

/* A descriptor that is waited for is the signals': readable when SIGTERM has come. */
void weir_waker_wait(struct weir_waker *waker, int64_t timeout_ms, struct pollfd *fds, size_t fd_count)
{
    const struct weir_sim_node *node = weir_sim_node_here();
    int64_t now_ns = weir_sim_now_ns();
    int64_t deadline_ns = timeout_ms < 0 ? INT64_MAX : now_ns + timeout_ms * 1000000;
    if (fd_count > 0 && deadline_ns > now_ns + TERM_LOOK_NS) {
        deadline_ns = now_ns + TERM_LOOK_NS; /* to return for nothing is allowed */
    }
    if (!waker->woken && deadline_ns > now_ns) {
        (void)weir_sim_wait_in(&waker->consumer, deadline_ns);
    } else {
        weir_sim_yield_maybe();
    }
    for (size_t i = 0; i < fd_count; i++) {
        fds[i].revents = node != NULL && node->term ? POLLIN : 0;
    }
    weir_waker_finish(waker);
}

int weir_waker_fd(const struct weir_waker *waker)
{
    (void)waker;
    return -1;
}
