/*
 * The TaskManager's part of local recovery: opens the store of copies (state/local_store.h) as it is configured, and tells it, off the thread, which
 * checkpoints are committed, which jobs are over and which run here.
 *
 * Owner: the TaskManager's mailbox thread.
 */
#ifndef WEIR_TASKMANAGER_TM_LOCAL_H
#define WEIR_TASKMANAGER_TM_LOCAL_H

#include "common/base/config.h"
#include "common/runtime/timer.h"
#include "taskmanager/state/local_store.h"
#include "taskmanager/tm_attempts.h"

struct weir_tm_local;

struct weir_tm_local_options {
    const struct weir_config *config;
    struct weir_fs *fs;
    const struct weir_clock *clock;
    const struct weir_log *log;
    struct weir_pool *pool;
    struct weir_mailbox *mailbox;
    struct weir_timers *timers;
};

/* Everything outlives it. INVALID: the directory that is set cannot have links of files in taskmanager.tmp.dir. */
enum weir_rc weir_tm_local_create(const struct weir_tm_local_options *options, struct weir_tm_local **out_local, struct weir_error *err) WEIR_CHECKED;
void weir_tm_local_destroy(struct weir_tm_local *local); /* the pool is gone, and so are the tasks; accepts NULL */

/* NULL: nothing is kept and nothing taken. */
struct weir_local_store *weir_tm_local_store(struct weir_tm_local *local);

/* From now on looks after leases, of the jobs in attempts, and sweeps. */
void weir_tm_local_start(struct weir_tm_local *local, struct weir_tm_attempts *attempts);

/* The copies that nobody needs any more go, in the pool. A commit does nothing as long as this process has neither made copies nor found some. */
void weir_tm_local_committed(struct weir_tm_local *local, const char *job_id, uint64_t checkpoint);
void weir_tm_local_job_over(struct weir_tm_local *local, const char *job_id);

#endif
