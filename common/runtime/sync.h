/*
 * Mutex and condition: the only place outside common/base that touches pthread's. Say beside every mutex what it guards.
 */
#ifndef WEIR_COMMON_RUNTIME_SYNC_H
#define WEIR_COMMON_RUNTIME_SYNC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct weir_mutex {
    pthread_mutex_t priv;
};

/* Not recursive. fini: nobody holds it. */
void weir_mutex_init(struct weir_mutex *mutex);
void weir_mutex_fini(struct weir_mutex *mutex);
void weir_mutex_lock(struct weir_mutex *mutex);
void weir_mutex_unlock(struct weir_mutex *mutex);

struct weir_cond {
    pthread_cond_t priv;
};

void weir_cond_init(struct weir_cond *cond);
void weir_cond_fini(struct weir_cond *cond);

/* Waits without the mutex, returns with it. May return without a signal: look at the condition again. */
void weir_cond_wait(struct weir_cond *cond, struct weir_mutex *mutex);

/* The same, at most until deadline_ns of CLOCK_MONOTONIC; false when it has passed. */
bool weir_cond_wait_until(struct weir_cond *cond, struct weir_mutex *mutex, int64_t deadline_ns);

void weir_cond_signal(struct weir_cond *cond);
void weir_cond_broadcast(struct weir_cond *cond);

#endif
