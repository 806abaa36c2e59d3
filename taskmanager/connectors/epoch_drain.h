/*
 * The drain of an epoch log: reads segments back and hands them to the target, chunk after chunk, on a thread of its own (E5, E7).
 *
 *            lease OK, target recovered            log began, cursor in order
 *   FENCING ----------------------------> FENCED ----------------------------> DRAINING
 *      ^                                                                           |
 *      +------------------------ the target said AGAIN ----------------------------+
 *   While the attempt's fence is closed it begins nothing, neither to recover nor a chunk. (What recover has begun may go on in the target's own
 *   threads, as librdkafka's do: it may still fence a successor then, which starts again; it writes nothing.)
 *   Any error of lease, target, cursor or file ends it: every call of the log says it from then on.
 *
 * D1  It recovers as soon as it is started, also when a checkpoint will be restored: reading the cursor early is sound, since once recover has
 *     returned only this attempt can move it (I4, I5), or one that has fenced it: then its own first chunk is refused, or in doubt (D2). It is
 *     judged when the log has begun.
 * D2  A transaction in doubt was taken or was not: the cursor that the second recover reads is its beginning or its end. Or it is
 *     another that is committed: a predecessor that was frozen between its lease and its fencing has fenced this attempt, and written some of the
 *     same records (I1) before it was fenced again. Before the beginning, or beyond what is committed: CORRUPT, for a restart might believe it.
 *     Where nothing is in doubt, this thread's own cursor is what was acknowledged, and stands above one outside that has forgotten it (a
 *     coordinator of Kafka's that lost a commit when it moved): the next transaction moves that one, too.
 * D3  What the thread uses is its own or outlives all tasks (fs, clock): once `stop` has returned it calls no wake. It is freed by whoever leaves
 *     last, the log or the thread.
 * D4  Chunks begin small and double, so that what a slow way outside can carry in time gets through: one that took too long (TIMEOUT) is cut into
 *     quarters, and then only WEIR__DRAIN_GROW_AFTER that did not double them again. A block of the log is the least.
 *
 * The log's calls: the task's thread; none blocks but for a short lock. `step` is what the thread does again and again; a test may be the thread.
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_EPOCH_DRAIN_H
#define WEIR_TASKMANAGER_CONNECTORS_EPOCH_DRAIN_H

#include "taskmanager/connectors/epoch_book.h"
#include "taskmanager/connectors/epoch_log.h"

enum {
    WEIR__DRAIN_LEASE_TIMEOUT_MS = 2000,
    WEIR__DRAIN_BACKOFF_MS_MIN = 20,
    WEIR__DRAIN_BACKOFF_MS_MAX = 2000,
    WEIR__DRAIN_PAUSED_MS = 100, /* between two looks at a closed fence */
    WEIR__DRAIN_HALVINGS_MAX = 4,
    WEIR__DRAIN_GROW_AFTER = 8,
};

struct weir__drain;

struct weir__drain_limits {
    uint32_t records_max;
    uint32_t bytes_max;
};

/* ctx is read during the call only, and its wake until stop. */
struct weir__drain *weir__drain_create(const struct weir_conn_ctx *ctx, struct weir__drain_limits limits, struct weir_drain_target *target_take);

/* RESOURCE. */
enum weir_rc weir__drain_start(struct weir__drain *drain, struct weir_error *err) WEIR_CHECKED;

/* Where the log begins: checkpoint 0 with known and end 0 for a new one. Everything below end is committed. Its segments were added before. */
void weir__drain_begin(struct weir__drain *drain, uint64_t checkpoint, uint64_t known, uint64_t end);

/* The next segment, by path. */
void weir__drain_add(struct weir__drain *drain, char *path_take, const struct weir__segment *segment);

/* Below end it may be drained now. */
void weir__drain_commit(struct weir__drain *drain, uint64_t checkpoint, uint64_t end);

struct weir__drain_view {
    uint64_t cursor;     /* below it is drained, when judged */
    bool judged;         /* the cursor outside was read and is in order */
    uint64_t held_bytes; /* memory */
};

/* How far it is; with want_wake ctx->wake is called at the next progress (an error always wakes). Any error: the one that ended it. */
enum weir_rc weir__drain_poll(struct weir__drain *drain, bool want_wake, struct weir__drain_view *out_view, struct weir_error *err) WEIR_CHECKED;

/* The log lets go: no wake after this. The paths (by weir_malloc, and their array) are unlinked and the target destroyed when the thread is out of
 * it; at once when none was started. drain is the thread's then. */
void weir__drain_stop(struct weir__drain *drain, char **paths_take, size_t npaths);

enum weir__drain_next {
    WEIR__DRAIN_RAN,   /* call again */
    WEIR__DRAIN_IDLE,  /* when the log has said something */
    WEIR__DRAIN_LATER, /* after a back-off */
    WEIR__DRAIN_OVER,
};

/* The drain thread. One call of lease, target or one chunk; may block. */
enum weir__drain_next weir__drain_step(struct weir__drain *drain);

#endif
