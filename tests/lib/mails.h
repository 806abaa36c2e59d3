/* For tests whose own thread owns a mailbox. */
#ifndef WEIR_TESTS_LIB_MAILS_H
#define WEIR_TESTS_LIB_MAILS_H

#include "common/runtime/mailbox.h"

/* Sleeps until there is a mail, or timeout_ms have passed (-1: without end: the test's time-out finds a lost wake). The waker is the mailbox's. */
static inline void weir_test_await_mail(struct weir_waker *waker, const struct weir_mailbox *mailbox, int64_t timeout_ms)
{
    weir_waker_prepare(waker);
    if (weir_mailbox_empty(mailbox)) {
        weir_waker_wait(waker, timeout_ms, NULL, 0);
    } else {
        weir_waker_cancel(waker);
    }
}

#endif
