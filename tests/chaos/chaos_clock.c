/*
 * A wall clock that a test can set, preloaded into a daemon: CHAOS_CLOCK names a file with the offset in seconds (int64, native), read at
 * each look at the clock. CLOCK_MONOTONIC and CLOCK_BOOTTIME stay as they are, as they do when an administrator or NTP steps the time.
 * Who waits until a moment of the wall clock (pthread_cond_timedwait, unless the condition has another clock) waits by this one, and a step
 * meanwhile counts, as it does in the kernel: such a wait may end early, but not as timed out, to look again.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_AGAIN_MS = 50, COND_MONOTONIC = 2 /* of glibc's __wrefs */ };

static const _Atomic int64_t no_offset;
static const _Atomic int64_t *offset_s = &no_offset;
static int (*real_clock_gettime)(clockid_t clock, struct timespec *out);
static int (*real_cond_timedwait)(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until);
static int (*real_cnd_timedwait)(cnd_t *cond, mtx_t *mutex, const struct timespec *until);

__attribute__((constructor)) static void find(void)
{
    *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    *(void **)&real_cond_timedwait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    *(void **)&real_cnd_timedwait = dlsym(RTLD_NEXT, "cnd_timedwait");
    const char *path = getenv("CHAOS_CLOCK");
    int file = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        void *mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
        offset_s = mapped != MAP_FAILED ? mapped : &no_offset;
        close(file);
    }
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    if (real_clock_gettime == NULL) {
        find(); /* another constructor came first */
    }
    int rc = real_clock_gettime(clock, out);
    if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        out->tv_sec += atomic_load(offset_s);
    }
    return rc;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    *out = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

int timespec_get(struct timespec *out, int base)
{
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, out) == 0 ? base : 0;
}

time_t time(time_t *out)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL) {
        *out = now.tv_sec;
    }
    return now.tv_sec;
}

/* The moment by the kernel's clock, but not much later than now; returns whether it is the wanted one. */
static bool true_moment(const struct timespec *until, struct timespec *out)
{
    struct timespec look;
    (void)real_clock_gettime(CLOCK_REALTIME, &look);
    look.tv_nsec += LOOK_AGAIN_MS * 1000000L;
    look.tv_sec += look.tv_nsec / 1000000000L;
    look.tv_nsec %= 1000000000L;
    *out = *until;
    out->tv_sec -= atomic_load(offset_s);
    if (out->tv_sec < look.tv_sec || (out->tv_sec == look.tv_sec && out->tv_nsec <= look.tv_nsec)) {
        return true;
    }
    *out = look;
    return false;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex, const struct timespec *restrict until)
{
    if (real_cond_timedwait == NULL) {
        find();
    }
    struct timespec at = *until;
    bool wanted = (cond->__data.__wrefs & COND_MONOTONIC) != 0 || true_moment(until, &at);
    int rc = real_cond_timedwait(cond, mutex, &at);
    return rc == ETIMEDOUT && !wanted ? 0 : rc;
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict until)
{
    if (real_cnd_timedwait == NULL) {
        find();
    }
    struct timespec at;
    bool wanted = true_moment(until, &at);
    int rc = real_cnd_timedwait(cond, mutex, &at);
    return rc == thrd_timedout && !wanted ? thrd_success : rc;
}
