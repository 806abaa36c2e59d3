/*
 * The mailbox of a thread: everything that others want of its objects arrives here as a mail and is run by the owner, control
 * before data, each kind in order of posting.
 *
 *     open --quiesce--> quiesced --close--> closed          (open --close--> closed)
 *
 * open takes mails. quiesced takes only those promised by a reservation, so that the owner can run what is left. closed takes
 * none. A mail that is refused still belongs to the poster, who drops its payload.
 */
#ifndef WEIR_COMMON_RUNTIME_MAILBOX_H
#define WEIR_COMMON_RUNTIME_MAILBOX_H

#include "common/base/rc.h"
#include "common/runtime/waker.h"

struct weir_mail {
    void (*run)(void *payload);  /* on the owner thread; consumes the payload */
    void (*drop)(void *payload); /* instead of run: frees the payload, touches nothing of the owner. NULL: nothing to free */
    void *payload;
};

enum weir_mail_priority { WEIR_MAIL_CONTROL, WEIR_MAIL_DATA };

struct weir_mailbox;

/* At most mails_max mails of each priority. waker: the owner's, borrowed; it must outlive the mailbox. */
struct weir_mailbox *weir_mailbox_create(uint32_t mails_max, struct weir_waker *waker);

/* Closed first if it is not. Every reservation has ended and nobody will post any more; a poster whose mail the owner has
 * already taken counts as gone. Accepts NULL. */
void weir_mailbox_destroy(struct weir_mailbox *mailbox);

/* Any thread; never blocks; wakes the owner. AGAIN: full. CLOSED: quiesced or closed. On both the mail stays the caller's. */
enum weir_rc weir_mailbox_post(struct weir_mailbox *mailbox, enum weir_mail_priority priority, struct weir_mail mail)
    WEIR_CHECKED;

/* A promise that one control mail will find room, for an answer that must not be lost. Any thread. reserve: AGAIN, CLOSED as
 * post. Each reservation ends with post_reserved (fails only with CLOSED, of a closed mailbox; the reservation is over then
 * too) or with unreserve. */
enum weir_rc weir_mailbox_reserve(struct weir_mailbox *mailbox) WEIR_CHECKED;
enum weir_rc weir_mailbox_post_reserved(struct weir_mailbox *mailbox, struct weir_mail mail) WEIR_CHECKED;
void weir_mailbox_unreserve(struct weir_mailbox *mailbox);

/* One relaxed load. Any thread; for the owner, exact as the waker's second look. */
bool weir_mailbox_empty(const struct weir_mailbox *mailbox);

/* Mails waiting, both priorities. Any thread. */
uint32_t weir_mailbox_count(const struct weir_mailbox *mailbox);

/* Owner: runs at most mails_max mails, those included that they post meanwhile; returns how many. */
uint32_t weir_mailbox_run(struct weir_mailbox *mailbox, uint32_t mails_max);

/* Owner: the next mail without running it; false when empty. */
bool weir_mailbox_take(struct weir_mailbox *mailbox, struct weir_mail *out_mail);

/* Idempotent. quiesce: any thread. close: owner; drops what waits. */
void weir_mailbox_quiesce(struct weir_mailbox *mailbox);
void weir_mailbox_close(struct weir_mailbox *mailbox);

/* Calls mail's drop, if it has one: what a poster does with a refused mail. */
void weir_mail_drop(const struct weir_mail *mail);

#endif
