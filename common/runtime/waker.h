/*
 * How a thread sleeps until others have work for it; one waker per consumer thread. Waking a thread that is awake costs a
 * fence and a load, no system call.
 *
 * The consumer:                                  A producer:
 *     while (there is work) do it;                   publish the work (any way the check below sees);
 *     weir_waker_prepare(waker);                     weir_waker_wake(waker);
 *     if (there is work) weir_waker_cancel(waker);
 *     else weir_waker_wait(waker, ...);
 *
 * No wake-up is lost, since prepare and wake both have a full fence between their own store and the load that follows:
 * either the consumer's second look sees the work or the producer sees the consumer's flag (and both may be true). wait may
 * return for nothing: look again.
 */
#ifndef WEIR_COMMON_RUNTIME_WAKER_H
#define WEIR_COMMON_RUNTIME_WAKER_H

#include "common/base/error.h"

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

enum { WEIR_WAKER_FDS_MAX = 32 };

struct weir_waker;

/* RESOURCE when the process has no more file descriptors. destroy: no thread may wake it any more; accepts NULL. */
enum weir_rc weir_waker_create(struct weir_waker **out_waker, struct weir_error *err) WEIR_CHECKED;
void weir_waker_destroy(struct weir_waker *waker);

/* Any thread; never blocks. Async-signal-safe. */
void weir_waker_wake(struct weir_waker *waker);

/* The consumer only: announces sleep, takes it back. */
void weir_waker_prepare(struct weir_waker *waker);
void weir_waker_cancel(struct weir_waker *waker);

/* The consumer only, after prepare: blocks until woken, timeout_ms (-1: no limit) has passed, a signal came, or one of the
 * fd_count (at most WEIR_WAKER_FDS_MAX) fds is ready, whose revents are filled. Ends the announcement. fds may be NULL when
 * fd_count is 0. */
void weir_waker_wait(struct weir_waker *waker, int64_t timeout_ms, struct pollfd *fds, size_t fd_count);

/* For a consumer that sleeps in a poll of its own: between prepare and finish, this descriptor is readable when woken. finish
 * ends the announcement and makes it unreadable. */
int weir_waker_fd(const struct weir_waker *waker);
void weir_waker_finish(struct weir_waker *waker);

#endif
