/*
 * Leases (struct weir_lease of connector.h) on this TaskManager: a question of any thread becomes a mail to the main thread, goes to the
 * JobManager over tm_link, and the answer wakes the thread.
 *
 * T1  A lease may outlive its attempt, the leases' owner and the main thread's mailbox: what it needs is counted by reference, and after close
 *     every question is answered with TIMEOUT at once.
 * T2  Only the JobManager's own word is STALE. Whatever else ends a question (no connection, no registration, another epoch, a full mailbox,
 *     shutting down) is TIMEOUT: ask again.
 * T3  An answer that comes after its asker has gone is dropped.
 */
#ifndef WEIR_TASKMANAGER_TM_LEASE_H
#define WEIR_TASKMANAGER_TM_LEASE_H

#include "common/runtime/mailbox.h"
#include "taskmanager/connectors/connector.h"

struct weir_tm_leases;

/* A question on its way; whoever holds it gives it to weir_tm_leases_answer once. */
struct weir_tm_lease_question;

struct weir_tm_leases_options {
    struct weir_mailbox *mailbox; /* the main thread's; lives until close */
    const struct weir_clock *clock; /* for ever */
    /* Asks; on the main thread, before close. */
    void (*ask)(void *ctx, struct weir_tm_lease_question *question_take);
    void *ctx;
};

struct weir_tm_leases *weir_tm_leases_create(const struct weir_tm_leases_options *options);

/* The main thread, which posts and asks nothing more afterwards; those who wait hear TIMEOUT. Frees when the last lease and question have
 * gone. Accepts NULL. */
void weir_tm_leases_close(struct weir_tm_leases *leases_take);

/* The lease of a region's attempt: one reference, the caller's. Strings are copied. */
struct weir_lease *weir_tm_lease_create(struct weir_tm_leases *leases, const char *job_id, uint32_t region, uint32_t attempt);

/* Borrowed until it is answered. */
const char *weir_tm_lease_question_job(const struct weir_tm_lease_question *question);
uint32_t weir_tm_lease_question_region(const struct weir_tm_lease_question *question);
uint32_t weir_tm_lease_question_attempt(const struct weir_tm_lease_question *question);

/* OK, STALE with the reason, anything else: nobody could tell. Any thread. */
void weir_tm_leases_answer(struct weir_tm_lease_question *question_take, enum weir_rc rc, const char *text);

#endif
