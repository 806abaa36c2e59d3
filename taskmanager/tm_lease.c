#include "taskmanager/tm_lease.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/runtime/sync.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct weir_tm_leases {
    struct weir_tm_leases_options options;
    _Atomic uint32_t refs; /* the owner, leases, questions */
    struct weir_mutex mutex; /* guards closed, and the lower part of every question */
    struct weir_cond answered;
    bool closed;
};

struct weir_tm_lease_question {
    struct weir_tm_leases *leases; /* a reference */
    char *job_id;
    uint32_t region;
    uint32_t attempt;
    /* under the mutex */
    uint32_t holders; /* the asker, and the way to the answer */
    bool done;
    enum weir_rc rc;
    char text[WEIR_ERROR_TEXT_MAX];
};

struct tm_lease {
    struct weir_lease lease; /* first: check gets it back */
    _Atomic uint32_t refs;
    struct weir_tm_leases *leases; /* a reference */
    char *job_id;
    uint32_t region;
    uint32_t attempt;
};

static struct weir_tm_leases *leases_ref(struct weir_tm_leases *leases)
{
    atomic_fetch_add(&leases->refs, 1);
    return leases;
}

static void leases_unref(struct weir_tm_leases *leases)
{
    if (atomic_fetch_sub(&leases->refs, 1) == 1) {
        weir_cond_fini(&leases->answered);
        weir_mutex_fini(&leases->mutex);
        weir_free(leases);
    }
}

struct weir_tm_leases *weir_tm_leases_create(const struct weir_tm_leases_options *options)
{
    struct weir_tm_leases *leases = weir_calloc(1, sizeof(*leases));
    leases->options = *options;
    atomic_init(&leases->refs, 1);
    weir_mutex_init(&leases->mutex);
    weir_cond_init(&leases->answered);
    return leases;
}

void weir_tm_leases_close(struct weir_tm_leases *leases)
{
    if (leases == NULL) {
        return;
    }
    weir_mutex_lock(&leases->mutex);
    leases->closed = true;
    weir_cond_broadcast(&leases->answered);
    weir_mutex_unlock(&leases->mutex);
    leases_unref(leases);
}

/* --- questions ------------------------------------------------------------------------------------------------------- */

/* Unlocks the mutex. */
static void question_release(struct weir_tm_lease_question *question)
{
    struct weir_tm_leases *leases = question->leases;
    weir_assert(question->holders > 0);
    bool last = --question->holders == 0;
    weir_mutex_unlock(&leases->mutex);
    if (last) {
        weir_free(question->job_id);
        weir_free(question);
        leases_unref(leases);
    }
}

void weir_tm_leases_answer(struct weir_tm_lease_question *question, enum weir_rc rc, const char *text)
{
    weir_mutex_lock(&question->leases->mutex);
    weir_assert(!question->done);
    question->done = true;
    question->rc = rc;
    (void)snprintf(question->text, sizeof(question->text), "%s", text);
    weir_cond_broadcast(&question->leases->answered);
    question_release(question);
}

const char *weir_tm_lease_question_job(const struct weir_tm_lease_question *question)
{
    return question->job_id;
}

uint32_t weir_tm_lease_question_region(const struct weir_tm_lease_question *question)
{
    return question->region;
}

uint32_t weir_tm_lease_question_attempt(const struct weir_tm_lease_question *question)
{
    return question->attempt;
}

/* On the main thread, as close is, so it may look at closed without the mutex. */
static void run_question(void *payload)
{
    struct weir_tm_lease_question *question = payload;
    struct weir_tm_leases *leases = question->leases;
    if (leases->closed) {
        weir_tm_leases_answer(question, WEIR_CLOSED, "the TaskManager is shutting down");
    } else {
        leases->options.ask(leases->options.ctx, question);
    }
}

static void drop_question(void *payload)
{
    weir_tm_leases_answer(payload, WEIR_CLOSED, "the TaskManager is shutting down");
}

/* --- leases ---------------------------------------------------------------------------------------------------------- */

static enum weir_rc verdict(const struct tm_lease *lease, const struct weir_tm_lease_question *question, bool closed, struct weir_error *err)
{
    if (question->done && question->rc == WEIR_OK) {
        return WEIR_OK;
    }
    if (question->done && question->rc == WEIR_STALE) {
        return weir_error_set(err, WEIR_STALE, "attempt %u of job %s may not go on: %s", lease->attempt, lease->job_id, question->text);
    }
    const char *why = question->done ? question->text : closed ? "the TaskManager is shutting down" : "no answer came in time";
    return weir_error_set(err, WEIR_TIMEOUT, "whether attempt %u of job %s is the present one is not known: %s", lease->attempt, lease->job_id, why);
}

static enum weir_rc check(struct weir_lease *base, int64_t timeout_ms, struct weir_error *err)
{
    struct tm_lease *lease = (struct tm_lease *)base;
    struct weir_tm_leases *leases = lease->leases;
    int64_t deadline_ns = weir_clock_mono_ns(leases->options.clock) + timeout_ms * 1000000;
    struct weir_tm_lease_question *question = weir_calloc(1, sizeof(*question));
    question->leases = leases_ref(leases);
    question->job_id = weir_strdup(lease->job_id);
    question->region = lease->region;
    question->attempt = lease->attempt;
    question->holders = 2;
    weir_mutex_lock(&leases->mutex);
    /* Posted under the mutex: until closed is set, the mailbox is there. */
    struct weir_mail mail = {.run = run_question, .drop = drop_question, .payload = question};
    if (leases->closed || weir_mailbox_post(leases->options.mailbox, WEIR_MAIL_CONTROL, mail) != WEIR_OK) {
        question->holders = 1;
        question->done = true;
        question->rc = WEIR_CLOSED;
        (void)snprintf(question->text, sizeof(question->text), "the TaskManager is shutting down or overloaded");
    }
    bool in_time = true;
    while (!question->done && !leases->closed && in_time) {
        in_time = weir_cond_wait_until(&leases->answered, &leases->mutex, deadline_ns);
    }
    enum weir_rc rc = verdict(lease, question, leases->closed, err);
    question_release(question);
    return rc;
}

static struct weir_lease *ref(struct weir_lease *base)
{
    struct tm_lease *lease = (struct tm_lease *)base;
    atomic_fetch_add(&lease->refs, 1);
    return base;
}

static void unref(struct weir_lease *base)
{
    struct tm_lease *lease = (struct tm_lease *)base;
    if (atomic_fetch_sub(&lease->refs, 1) == 1) {
        leases_unref(lease->leases);
        weir_free(lease->job_id);
        weir_free(lease);
    }
}

struct weir_lease *weir_tm_lease_create(struct weir_tm_leases *leases, const char *job_id, uint32_t region, uint32_t attempt)
{
    struct tm_lease *lease = weir_calloc(1, sizeof(*lease));
    lease->lease = (struct weir_lease){.check = check, .ref = ref, .unref = unref};
    atomic_init(&lease->refs, 1);
    lease->leases = leases_ref(leases);
    lease->job_id = weir_strdup(job_id);
    lease->region = region;
    lease->attempt = attempt;
    return &lease->lease;
}
