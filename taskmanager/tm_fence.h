/*
 * The fences of the attempts on this TaskManager (connectors/fence.h): until when each may act outside, and what brings one back that was too long
 * without a leader. It bounds for how long an attempt that was replaced without hearing of it goes on writing beside its successor.
 *
 * F1  Whatever a leader answers, to a registration or a heartbeat, proves that it knew of this TaskManager at some moment after the question was sent.
 *     So attempts may go on until cluster.fencing.timeout after that sending: not after the answer, which may have waited in a socket while this process
 *     stood still. Orders extend nothing, since nobody knows how old they are; heartbeats come in any case.
 * F2  An attempt whose time has run out is paused: its tasks take nothing in and write nothing outside; state, channels and threads stay. An answer alone
 *     does not bring it back, since the leader may have replaced it meanwhile and its cancellation be on its way: the leader is asked for its lease.
 *     Present: it goes on where it was. Replaced, or its job over: it is canceled. No answer: asked again every WEIR_TM_FENCE_ASK_MS.
 * F3  An attempt begins with what time there is: one whose DEPLOY had waited in a socket begins paused.
 * F4  What a sink was given before the pause may still go out, since it is on its way and out of our hands: the two buffers of the sinks "print" and
 *     "filesystem" (in files that are not published), a Kafka producer's queue; of exactly-once the transaction that is open.
 *
 * Owner: the TaskManager's mailbox thread.
 */
#ifndef WEIR_TASKMANAGER_TM_FENCE_H
#define WEIR_TASKMANAGER_TM_FENCE_H

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/runtime/timer.h"
#include "taskmanager/connectors/fence.h"

struct weir_tm_fences;
struct weir_tm_fence_question;

enum {
    WEIR_TM_FENCE_ASK_MS = 100,       /* a paused attempt is asked about again, so long after an answer that says nothing */
    WEIR_TM_FENCE_PATIENCE_MS = 1000, /* and so long after a question that got none */
};

struct weir_tm_fence_of {
    const char *job_id; /* borrowed for the call */
    uint32_t region, attempt;
};

struct weir_tm_fences_options {
    const struct weir_clock *clock; /* for ever */
    struct weir_timers *timers;
    const struct weir_log *log;
    int64_t timeout_ms; /* cluster.fencing.timeout; 0: attempts are never paused */
    /* Asks a leader whether the attempt is the present one; weir_tm_fences_answer is called with the question, perhaps before this returns. */
    void (*ask)(void *ctx, const struct weir_tm_fence_of *of, struct weir_tm_fence_question *question_take);
    void (*on_resumed)(void *ctx, const struct weir_tm_fence_of *of);  /* wake its tasks */
    void (*on_replaced)(void *ctx, const struct weir_tm_fence_of *of); /* cancel it; remove may be called from inside */
    void *ctx;
};

/* Options are copied; timers and log outlive it. */
struct weir_tm_fences *weir_tm_fences_create(const struct weir_tm_fences_options *options);
void weir_tm_fences_destroy(struct weir_tm_fences *fences); /* accepts NULL */

/* The fence of a region's attempt, a reference for the caller. remove: none of its tasks runs any more; nothing if it was removed. */
struct weir_fence *weir_tm_fences_add(struct weir_tm_fences *fences, const struct weir_tm_fence_of *of);
void weir_tm_fences_remove(struct weir_tm_fences *fences, const struct weir_fence *fence);

/* A leader has answered what was sent to it at sent_boot_ns (F1). */
void weir_tm_fences_heard(struct weir_tm_fences *fences, int64_t sent_boot_ns);

/* OK: present. STALE: not, text says why. CANCELED: nobody listens any more; then on any thread, and the fences may be gone. Anything else: nobody
 * could tell. */
void weir_tm_fences_answer(struct weir_tm_fence_question *question_take, enum weir_rc rc, const char *text);

#endif
