#include "common/runtime/sync.h"

#include "common/base/assert.h"

#include <errno.h>
#include <time.h>

void weir_mutex_init(struct weir_mutex *mutex)
{
    int failed = pthread_mutex_init(&mutex->priv, NULL);
    weir_assert(failed == 0);
}

void weir_mutex_fini(struct weir_mutex *mutex)
{
    int failed = pthread_mutex_destroy(&mutex->priv);
    weir_assert(failed == 0);
}

void weir_mutex_lock(struct weir_mutex *mutex)
{
    int failed = pthread_mutex_lock(&mutex->priv);
    weir_assert(failed == 0);
}

void weir_mutex_unlock(struct weir_mutex *mutex)
{
    int failed = pthread_mutex_unlock(&mutex->priv);
    weir_assert(failed == 0);
}

void weir_cond_init(struct weir_cond *cond)
{
    pthread_condattr_t attributes;
    int failed = pthread_condattr_init(&attributes);
    weir_assert(failed == 0);
    failed = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    weir_assert(failed == 0);
    failed = pthread_cond_init(&cond->priv, &attributes);
    weir_assert(failed == 0);
    (void)pthread_condattr_destroy(&attributes);
}

void weir_cond_fini(struct weir_cond *cond)
{
    int failed = pthread_cond_destroy(&cond->priv);
    weir_assert(failed == 0);
}

void weir_cond_wait(struct weir_cond *cond, struct weir_mutex *mutex)
{
    int failed = pthread_cond_wait(&cond->priv, &mutex->priv);
    weir_assert(failed == 0);
}

bool weir_cond_wait_until(struct weir_cond *cond, struct weir_mutex *mutex, int64_t deadline_ns)
{
    enum { NS_PER_S = 1000000000 };
    int64_t at_ns = deadline_ns < 0 ? 0 : deadline_ns;
    struct timespec at = {.tv_sec = at_ns / NS_PER_S, .tv_nsec = at_ns % NS_PER_S};
    int failed = pthread_cond_timedwait(&cond->priv, &mutex->priv, &at);
    weir_assert(failed == 0 || failed == ETIMEDOUT);
    return failed == 0;
}

void weir_cond_signal(struct weir_cond *cond)
{
    (void)pthread_cond_signal(&cond->priv);
}

void weir_cond_broadcast(struct weir_cond *cond)
{
    (void)pthread_cond_broadcast(&cond->priv);
}
