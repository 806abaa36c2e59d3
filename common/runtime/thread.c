#include "common/runtime/thread.h"

#include "common/base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

struct weir_thread {
    pthread_t handle;
    void (*run)(void *ctx);
    void *ctx;
    char name[WEIR_THREAD_NAME_MAX + 1];
    _Atomic int left; /* detached: the thread and who started it; the second one frees */
};

static _Atomic uint32_t detached; /* that run on */

/* The thread ends, or was detached: whichever comes second frees it. */
static void leave(struct weir_thread *thread)
{
    if (atomic_fetch_add(&thread->left, 1) == 1) {
        weir_free(thread);
        atomic_fetch_sub(&detached, 1);
    }
}

static void *thread_main(void *arg)
{
    struct weir_thread *thread = arg;
    (void)pthread_setname_np(pthread_self(), thread->name);
    thread->run(thread->ctx);
    leave(thread);
    return NULL;
}

enum weir_rc weir_thread_start(const char *name, void (*run)(void *ctx), void *ctx, struct weir_thread **out_thread,
                               struct weir_error *err)
{
    struct weir_thread *thread = weir_calloc(1, sizeof(*thread));
    thread->run = run;
    thread->ctx = ctx;
    (void)snprintf(thread->name, sizeof(thread->name), "%.*s", WEIR_THREAD_NAME_MAX, name);
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* the new thread inherits the mask */
    int failed = pthread_create(&thread->handle, NULL, thread_main, thread);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        weir_free(thread);
        return weir_error_errno(err, WEIR_RESOURCE, failed, "cannot start the thread %s", name);
    }
    *out_thread = thread;
    return WEIR_OK;
}

void weir_thread_join(struct weir_thread *thread)
{
    if (thread == NULL) {
        return;
    }
    int failed = pthread_join(thread->handle, NULL);
    weir_assert(failed == 0);
    weir_free(thread);
}

void weir_thread_detach(struct weir_thread *thread)
{
    if (thread == NULL) {
        return;
    }
    int failed = pthread_detach(thread->handle);
    weir_assert(failed == 0);
    atomic_fetch_add(&detached, 1);
    leave(thread);
}

uint32_t weir_thread_detached(void)
{
    return atomic_load(&detached);
}

uint64_t weir_thread_self(void)
{
    return (uint64_t)pthread_self();
}

#ifdef __SANITIZE_THREAD__
/*
 * librdkafka makes its threads and locks with C11's <threads.h>, of which TSan (gcc 12) knows nothing: it crashes in such a thread, and sees
 * no order between two of them. Defined here, in the executable, they are found before libc's and are pthread's.
 */
#include <errno.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t) && sizeof(cnd_t) == sizeof(pthread_cond_t), "glibc's are the same underneath");

struct c11_start {
    thrd_start_t run;
    void *ctx;
};

static pthread_mutex_t *mutex_of(mtx_t *mutex)
{
    return (pthread_mutex_t *)(void *)mutex;
}

static pthread_cond_t *cond_of(cnd_t *cond)
{
    return (pthread_cond_t *)(void *)cond;
}

static int c11_result(int failed)
{
    return failed == 0 ? thrd_success : failed == ETIMEDOUT ? thrd_timedout : failed == EBUSY ? thrd_busy : failed == ENOMEM ? thrd_nomem : thrd_error;
}

static void *c11_main(void *arg)
{
    struct c11_start start = *(struct c11_start *)arg;
    weir_free(arg);
    return (void *)(intptr_t)start.run(start.ctx);
}

int thrd_create(thrd_t *thread, thrd_start_t run, void *ctx)
{
    struct c11_start *start = weir_calloc(1, sizeof(*start));
    *start = (struct c11_start){.run = run, .ctx = ctx};
    int failed = pthread_create(thread, NULL, c11_main, start);
    if (failed != 0) {
        weir_free(start);
    }
    return c11_result(failed);
}

int thrd_join(thrd_t thread, int *out_result)
{
    void *result = NULL;
    int failed = pthread_join(thread, &result);
    if (failed == 0 && out_result != NULL) {
        *out_result = (int)(intptr_t)result;
    }
    return c11_result(failed);
}

void call_once(once_flag *flag, void (*run)(void))
{
    _Static_assert(sizeof(once_flag) == sizeof(pthread_once_t), "glibc's are the same underneath");
    int failed = pthread_once((pthread_once_t *)(void *)flag, run);
    weir_assert(failed == 0);
}

int mtx_init(mtx_t *mutex, int type)
{
    pthread_mutexattr_t attributes;
    (void)pthread_mutexattr_init(&attributes);
    (void)pthread_mutexattr_settype(&attributes, (type & mtx_recursive) != 0 ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
    int failed = pthread_mutex_init(mutex_of(mutex), &attributes);
    (void)pthread_mutexattr_destroy(&attributes);
    return c11_result(failed);
}

int mtx_lock(mtx_t *mutex)
{
    return c11_result(pthread_mutex_lock(mutex_of(mutex)));
}

int mtx_unlock(mtx_t *mutex)
{
    return c11_result(pthread_mutex_unlock(mutex_of(mutex)));
}

void mtx_destroy(mtx_t *mutex)
{
    (void)pthread_mutex_destroy(mutex_of(mutex));
}

int cnd_init(cnd_t *cond)
{
    return c11_result(pthread_cond_init(cond_of(cond), NULL));
}

int cnd_signal(cnd_t *cond)
{
    return c11_result(pthread_cond_signal(cond_of(cond)));
}

int cnd_broadcast(cnd_t *cond)
{
    return c11_result(pthread_cond_broadcast(cond_of(cond)));
}

int cnd_wait(cnd_t *cond, mtx_t *mutex)
{
    return c11_result(pthread_cond_wait(cond_of(cond), mutex_of(mutex)));
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict until)
{
    return c11_result(pthread_cond_timedwait(cond_of(cond), mutex_of(mutex), until));
}

void cnd_destroy(cnd_t *cond)
{
    (void)pthread_cond_destroy(cond_of(cond));
}
#endif
