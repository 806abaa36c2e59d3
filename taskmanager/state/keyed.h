/*
 * The keyed state of an operator in checkpoints: a delta, written to a store and uploaded while it goes on changing, and read back.
 *
 * E1  A state that is small and has no store yet goes whole into the operator's bytes at the barrier (delta_snap.h), so small jobs pay for no
 *     store. Otherwise the barrier freezes the delta (delta_freeze.h), and `background` sees to the rest.
 * E2  The first snapshot of a store writes every entry, each later one what has changed since: to the store, of which it then uploads the files
 *     that the newest checkpoint of which this task was told does not hold.
 * E3  A snapshot runs to its end whatever becomes of its checkpoint; only one is under way. What it wrote stays written: the next one goes on
 *     from it.
 * E4  When writing fails (not: the upload) the store is given up; the next snapshot begins a new one. Likewise when its files have become
 *     several times as large as the state, or the removals since the last snapshot as large as the state.
 * E5  What was captured and is not written yet is bounded: capturing waits for the writer. Saved values (of entries written meanwhile) are not.
 * E6  A restored state is read by key groups: those of this subtask, whatever subtask wrote them. When they are the same the store is kept, and
 *     the first snapshot is an incremental one already. When the writers were others, the state comes in parts, one a writer, and each part
 *     begins with the key group with which the one before ended. Files of a part without own groups are not read.
 *
 * The task's thread; blocking parts run on the executor.
 */
#ifndef WEIR_TASKMANAGER_STATE_KEYED_H
#define WEIR_TASKMANAGER_STATE_KEYED_H

#include "common/fs/fs.h"
#include "common/runtime/executor.h"
#include "taskmanager/state/delta_snap.h"
#include "taskmanager/state/store.h"

/* Where it runs; everything outlives it. */
struct weir_keyed_env {
    struct weir_state_backend *backend; /* NULL: every state goes whole into the operator's bytes */
    struct weir_executor *executor;
    struct weir_fs *fs;
    struct weir_mem *mem;
    const char *checkpoints_dir;
    const char *job_id;
    const char *uid;
    uint32_t attempt, vertex;
};

struct weir_keyed;

struct weir_keyed *weir_keyed_create(struct weir_delta *delta, const struct weir_delta_codec *codec, const struct weir_keyed_env *env);
/* None of its work is in flight. Before the delta goes. Accepts NULL. */
void weir_keyed_destroy(struct weir_keyed *keyed);

/* At the barrier: appends the state's bytes, or begins to make them. */
void weir_keyed_snapshot(struct weir_keyed *keyed, uint64_t checkpoint, struct weir_buf *out);

/* After each snapshot, until it returns something else than AGAIN: OK: the bytes are complete. Any error: there will be none; the checkpoint is
 * lost, the state is not. *out_any: did something; else the next call waits for work to be done. */
enum weir_rc weir_keyed_background(struct weir_keyed *keyed, struct weir_buf *out, bool *out_any, struct weir_error *err) WEIR_CHECKED;

/* Of the snapshot taken last: bytes of its files, and of those that are new. */
uint64_t weir_keyed_files_bytes(const struct weir_keyed *keyed);
uint64_t weir_keyed_new_bytes(const struct weir_keyed *keyed);

/* The checkpoint was committed. */
void weir_keyed_notify(struct weir_keyed *keyed, uint64_t checkpoint);

/* Adds the entries of own key groups from bytes that snapshot and background made at `checkpoint`, their files in dir: a part, E6. AGAIN:
 * weir_keyed_resume goes on. CORRUPT, INVALID, RESOURCE, IO. */
enum weir_rc weir_keyed_restore(struct weir_keyed *keyed, uint64_t checkpoint, const char *dir, struct weir_slice bytes, struct weir_error *err)
    WEIR_CHECKED;
enum weir_rc weir_keyed_resume(struct weir_keyed *keyed, struct weir_error *err) WEIR_CHECKED;
/* After the last part. CORRUPT: own key groups are in none. */
enum weir_rc weir_keyed_restored(const struct weir_keyed *keyed, struct weir_error *err) WEIR_CHECKED;

#endif
