/*
 * Copies, on this machine, of the files of keyed state in checkpoints: a restore takes them instead of reading the checkpoint's directory, which
 * may be far away.
 *
 *   <dir>/weir-local/<cluster.id>@<taskmanager.host>/<job>/chk-<n>/<bytes>-<hash>      (both in hex)
 *   <dir>/weir-local/<cluster.id>@<taskmanager.host>/<job>/lease-<ms>
 *
 * L1  A copy is a hard link of the file that the task's store has anyway, or had: it costs a name, and bytes only once the store has compacted
 *     the file away. So the directory is on the file system of taskmanager.tmp.dir. Nothing is kept when the checkpoint's directory is there too:
 *     then a restore links from it.
 * L2  A copy is never written to, and never trusted: whoever takes one holds it against length and hash of the checkpoint's list of files. So
 *     nothing here is synced, and it does not matter who made a copy.
 * L3  Nothing is locked. Names are made by link, which exactly one of several processes does, and say what the file must be; all
 *     TaskManagers of a machine that are configured alike share them, also with those that come after a kill.
 * L4  A commit of checkpoint n removes chk-<m> of all m < n. Of later ones that nobody has committed the newest 4 stay. The end of a job
 *     removes all of it. So a job has on this machine names for one checkpoint and for 4 that are on their way, aborted ones among them.
 * L5  Who uses a job's directory renews its lease. `sweep` removes a directory whose lease has not been renewed for an hour: of jobs that went
 *     elsewhere, or ended while no TaskManager was here. A clock that jumps or a sweep at a bad moment costs a download.
 *
 * No error here fails anything: what cannot be kept is not kept, and that is logged. Calls block; any thread.
 */
#ifndef WEIR_TASKMANAGER_STATE_LOCAL_STORE_H
#define WEIR_TASKMANAGER_STATE_LOCAL_STORE_H

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/fs/fs.h"

enum { WEIR_LOCAL_LEASE_MS = 3600 * 1000, WEIR_LOCAL_RENEW_MS = 300 * 1000, WEIR_LOCAL_PENDING_MAX = 4 };

struct weir_local_store;

struct weir_local_store_options {
    struct weir_fs *fs;
    const struct weir_clock *clock;
    const struct weir_log *log;
    const char *dir; /* exists, is on the file system of the tasks' stores */
    const char *cluster_id, *host;
    bool keeps; /* else: makes no copies */
    bool gives; /* else: `take` finds none */
};

/* What a file must be. */
struct weir_local_file {
    uint64_t bytes, hash;
};

/* Options are copied; fs, clock and log outlive it. Touches no file. */
struct weir_local_store *weir_local_store_create(const struct weir_local_store_options *options);
void weir_local_store_destroy(struct weir_local_store *store); /* accepts NULL; files stay */

/* Whether there are copies, as far as this store has made or found some: else a commit has nothing to remove. */
bool weir_local_store_holding(const struct weir_local_store *store);

/* False once it is known that copies are not needed (L1), and there are none. */
bool weir_local_store_needed(const struct weir_local_store *store);

/* Whether copies of this checkpoint's files are to be put, its directory made. in_checkpoint: one of them, in the checkpoint's directory. */
bool weir_local_store_begin(struct weir_local_store *store, const char *job, uint64_t checkpoint, const char *in_checkpoint);

/* A copy of the file at path, unless there is one. False: no more will succeed, which was logged. */
bool weir_local_store_put(struct weir_local_store *store, const char *job, uint64_t checkpoint, struct weir_local_file file, const char *path);

/* Links the copy, if there is one, to `to`; to be checked (L2). NOT_FOUND, or any other: then there is nothing at `to`. */
enum weir_rc weir_local_store_take(struct weir_local_store *store, const char *job, uint64_t checkpoint, struct weir_local_file file, const char *to,
                                   struct weir_error *err) WEIR_CHECKED;

/* The copy is damaged: away with its name. */
void weir_local_store_discard(struct weir_local_store *store, const char *job, uint64_t checkpoint, struct weir_local_file file);

/* The checkpoint is the job's newest; the job is over (L4). */
void weir_local_store_commit(struct weir_local_store *store, const char *job, uint64_t checkpoint);
void weir_local_store_end(struct weir_local_store *store, const char *job);

/* Renews the leases of jobs that run here, removes what nobody has renewed (L5). */
void weir_local_store_sweep(struct weir_local_store *store, const char *const *jobs, size_t njobs);

/* Removes what processes that were killed have left beside the copies of their look at where checkpoints are. Once, at start. */
void weir_local_store_sweep_probes(struct weir_local_store *store);

#endif
