#include "common/runtime/mailbox.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/runtime/sync.h"

#include <stdatomic.h>

enum { PRIORITIES = 2, RING_FIRST = 16 };

enum life { OPEN, QUIESCED, CLOSED };

/* A ring that grows up to the mailbox's limit. */
struct lane {
    struct weir_mail *mails;
    uint32_t head;
    uint32_t len;
    uint32_t cap; /* 0 or a power of two */
};

struct weir_mailbox {
    struct weir_waker *waker;
    uint32_t mails_max;
    _Atomic uint32_t count; /* of both lanes; written under the mutex */
    struct weir_mutex mutex; /* guards what follows */
    struct lane lanes[PRIORITIES];
    uint32_t reserved; /* room promised in the control lane */
    enum life life;
};

struct weir_mailbox *weir_mailbox_create(uint32_t mails_max, struct weir_waker *waker)
{
    weir_assert(mails_max > 0 && mails_max <= UINT32_MAX / 4);
    struct weir_mailbox *mailbox = weir_calloc(1, sizeof(*mailbox));
    mailbox->waker = waker;
    mailbox->mails_max = mails_max;
    weir_mutex_init(&mailbox->mutex);
    return mailbox;
}

void weir_mailbox_destroy(struct weir_mailbox *mailbox)
{
    if (mailbox == NULL) {
        return;
    }
    weir_mailbox_close(mailbox);
    weir_assert(mailbox->reserved == 0);
    for (int i = 0; i < PRIORITIES; i++) {
        weir_free(mailbox->lanes[i].mails);
    }
    weir_mutex_fini(&mailbox->mutex);
    weir_free(mailbox);
}

static void lane_push(struct lane *lane, struct weir_mail mail)
{
    if (lane->len == lane->cap) {
        uint32_t cap = lane->cap == 0 ? RING_FIRST : lane->cap * 2;
        struct weir_mail *mails = weir_calloc(cap, sizeof(*mails));
        for (uint32_t i = 0; i < lane->len; i++) {
            mails[i] = lane->mails[(lane->head + i) & (lane->cap - 1)];
        }
        weir_free(lane->mails);
        *lane = (struct lane){.mails = mails, .len = lane->len, .cap = cap};
    }
    lane->mails[(lane->head + lane->len) & (lane->cap - 1)] = mail;
    lane->len++;
}

/* Under the mutex; it wakes there too: once the owner has taken a mail, its poster touches neither mailbox nor waker, so that
 * the owner may destroy both when the last mail promised to it has come. */
static void deliver(struct weir_mailbox *mailbox, enum weir_mail_priority priority, struct weir_mail mail)
{
    lane_push(&mailbox->lanes[priority], mail);
    uint32_t count = atomic_load_explicit(&mailbox->count, memory_order_relaxed);
    atomic_store_explicit(&mailbox->count, count + 1, memory_order_relaxed);
    weir_waker_wake(mailbox->waker);
}

static bool control_full(const struct weir_mailbox *mailbox)
{
    return mailbox->lanes[WEIR_MAIL_CONTROL].len + mailbox->reserved >= mailbox->mails_max;
}

enum weir_rc weir_mailbox_post(struct weir_mailbox *mailbox, enum weir_mail_priority priority, struct weir_mail mail)
{
    weir_assert(mail.run != NULL);
    enum weir_rc rc = WEIR_OK;
    weir_mutex_lock(&mailbox->mutex);
    bool full = priority == WEIR_MAIL_CONTROL ? control_full(mailbox)
                                              : mailbox->lanes[WEIR_MAIL_DATA].len >= mailbox->mails_max;
    if (mailbox->life != OPEN) {
        rc = WEIR_CLOSED;
    } else if (full) {
        rc = WEIR_AGAIN;
    } else {
        deliver(mailbox, priority, mail);
    }
    weir_mutex_unlock(&mailbox->mutex);
    return rc;
}

enum weir_rc weir_mailbox_reserve(struct weir_mailbox *mailbox)
{
    enum weir_rc rc = WEIR_OK;
    weir_mutex_lock(&mailbox->mutex);
    if (mailbox->life != OPEN) {
        rc = WEIR_CLOSED;
    } else if (control_full(mailbox)) {
        rc = WEIR_AGAIN;
    } else {
        mailbox->reserved++;
    }
    weir_mutex_unlock(&mailbox->mutex);
    return rc;
}

enum weir_rc weir_mailbox_post_reserved(struct weir_mailbox *mailbox, struct weir_mail mail)
{
    weir_assert(mail.run != NULL);
    enum weir_rc rc = WEIR_OK;
    weir_mutex_lock(&mailbox->mutex);
    weir_assert(mailbox->reserved > 0);
    mailbox->reserved--;
    if (mailbox->life == CLOSED) {
        rc = WEIR_CLOSED;
    } else {
        deliver(mailbox, WEIR_MAIL_CONTROL, mail);
    }
    weir_mutex_unlock(&mailbox->mutex);
    return rc;
}

void weir_mailbox_unreserve(struct weir_mailbox *mailbox)
{
    weir_mutex_lock(&mailbox->mutex);
    weir_assert(mailbox->reserved > 0);
    mailbox->reserved--;
    weir_mutex_unlock(&mailbox->mutex);
}

uint32_t weir_mailbox_count(const struct weir_mailbox *mailbox)
{
    return atomic_load_explicit(&mailbox->count, memory_order_relaxed);
}

bool weir_mailbox_empty(const struct weir_mailbox *mailbox)
{
    return weir_mailbox_count(mailbox) == 0;
}

bool weir_mailbox_take(struct weir_mailbox *mailbox, struct weir_mail *out_mail)
{
    if (weir_mailbox_empty(mailbox)) {
        return false;
    }
    weir_mutex_lock(&mailbox->mutex);
    struct lane *lane = &mailbox->lanes[mailbox->lanes[WEIR_MAIL_CONTROL].len > 0 ? WEIR_MAIL_CONTROL : WEIR_MAIL_DATA];
    bool found = lane->len > 0;
    if (found) {
        *out_mail = lane->mails[lane->head];
        lane->head = (lane->head + 1) & (lane->cap - 1);
        lane->len--;
        uint32_t count = atomic_load_explicit(&mailbox->count, memory_order_relaxed);
        atomic_store_explicit(&mailbox->count, count - 1, memory_order_relaxed);
    }
    weir_mutex_unlock(&mailbox->mutex);
    return found;
}

uint32_t weir_mailbox_run(struct weir_mailbox *mailbox, uint32_t mails_max)
{
    uint32_t ran = 0;
    struct weir_mail mail;
    while (ran < mails_max && weir_mailbox_take(mailbox, &mail)) {
        mail.run(mail.payload);
        ran++;
    }
    return ran;
}

void weir_mailbox_quiesce(struct weir_mailbox *mailbox)
{
    weir_mutex_lock(&mailbox->mutex);
    if (mailbox->life == OPEN) {
        mailbox->life = QUIESCED;
    }
    weir_mutex_unlock(&mailbox->mutex);
}

void weir_mailbox_close(struct weir_mailbox *mailbox)
{
    weir_mutex_lock(&mailbox->mutex);
    mailbox->life = CLOSED;
    weir_mutex_unlock(&mailbox->mutex);
    struct weir_mail mail;
    while (weir_mailbox_take(mailbox, &mail)) { /* without the mutex: a drop may post, and be refused */
        weir_mail_drop(&mail);
    }
}

void weir_mail_drop(const struct weir_mail *mail)
{
    if (mail->drop != NULL) {
        mail->drop(mail->payload);
    }
}
