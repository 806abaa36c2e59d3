#include "common/runtime/waker.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct weir_waker {
    _Atomic uint32_t sleeping; /* 1: the consumer has announced sleep and nobody has woken it since */
    _Atomic uint32_t fence;    /* what full_fence works on under TSan */
    int fd;
};

static void full_fence(struct weir_waker *waker)
{
#ifdef __SANITIZE_THREAD__
    atomic_fetch_add(&waker->fence, 1); /* TSan does not know fences; a locked instruction is one on x86 */
#else
    (void)waker;
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

enum weir_rc weir_waker_create(struct weir_waker **out_waker, struct weir_error *err)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) {
        return weir_error_errno(err, WEIR_RESOURCE, errno, "cannot create an eventfd");
    }
    struct weir_waker *waker = weir_calloc(1, sizeof(*waker));
    waker->fd = fd;
    *out_waker = waker;
    return WEIR_OK;
}

void weir_waker_destroy(struct weir_waker *waker)
{
    if (waker != NULL) {
        (void)close(waker->fd);
        weir_free(waker);
    }
}

void weir_waker_wake(struct weir_waker *waker)
{
    full_fence(waker);
    if (atomic_load_explicit(&waker->sleeping, memory_order_relaxed) == 0 || atomic_exchange(&waker->sleeping, 0) == 0) {
        return;
    }
    int saved_errno = errno;
    uint64_t one = 1;
    ssize_t n;
    do {
        n = write(waker->fd, &one, sizeof(one));
    } while (n < 0 && errno == EINTR);
    weir_assert(n == (ssize_t)sizeof(one) || errno == EAGAIN); /* EAGAIN: the counter is full, so the fd is readable */
    errno = saved_errno;
}

void weir_waker_prepare(struct weir_waker *waker)
{
    atomic_store_explicit(&waker->sleeping, 1, memory_order_relaxed);
    full_fence(waker);
}

void weir_waker_cancel(struct weir_waker *waker)
{
    /* A producer that saw the flag writes the eventfd; the next wait then returns for nothing, which is allowed. */
    atomic_store_explicit(&waker->sleeping, 0, memory_order_relaxed);
}

void weir_waker_finish(struct weir_waker *waker)
{
    atomic_store_explicit(&waker->sleeping, 0, memory_order_relaxed);
    uint64_t wakes;
    ssize_t n = read(waker->fd, &wakes, sizeof(wakes));
    weir_assert(n == (ssize_t)sizeof(wakes) || errno == EAGAIN || errno == EINTR);
}

void weir_waker_wait(struct weir_waker *waker, int64_t timeout_ms, struct pollfd *fds, size_t fd_count)
{
    weir_assert(fd_count <= WEIR_WAKER_FDS_MAX);
    struct pollfd all[WEIR_WAKER_FDS_MAX + 1];
    all[0] = (struct pollfd){.fd = waker->fd, .events = POLLIN};
    for (size_t i = 0; i < fd_count; i++) {
        all[i + 1] = fds[i];
        fds[i].revents = 0;
    }
    int timeout = timeout_ms < 0 ? -1 : timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;
    int ready = poll(all, (nfds_t)(fd_count + 1), timeout);
    weir_assert(ready >= 0 || errno == EINTR || errno == ENOMEM);
    for (size_t i = 0; ready > 0 && i < fd_count; i++) {
        fds[i].revents = all[i + 1].revents;
    }
    if (ready > 0 && all[0].revents != 0) {
        weir_waker_finish(waker);
    } else {
        weir_waker_cancel(waker);
    }
}

int weir_waker_fd(const struct weir_waker *waker)
{
    return waker->fd;
}
