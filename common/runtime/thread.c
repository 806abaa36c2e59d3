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

static void *thread_main(void *arg)
{
    struct weir_thread *thread = arg;
    (void)pthread_setname_np(pthread_self(), thread->name);
    thread->run(thread->ctx);
    if (atomic_fetch_add(&thread->left, 1) == 1) {
        weir_free(thread);
    }
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
    if (atomic_fetch_add(&thread->left, 1) == 1) {
        weir_free(thread);
    }
}

uint64_t weir_thread_self(void)
{
    return (uint64_t)pthread_self();
}
