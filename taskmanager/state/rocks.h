/*
 * State stores in RocksDB (state/store.h): the only user of RocksDB.
 *
 * R1  A process has one directory, <tmp dir>/weir-state-XXXXXX, locked as long as the process lives, with one database a store in it. A store
 *     is working memory: no log, never opened again by another process; directories of processes that are gone are removed at start.
 * R2  What changes between two commits is written by the SST writer, in order, and ingested in one piece; only dropped namespaces go through
 *     the memtable, before it, as ranges. So a commit flushes next to nothing and its checkpoint is made of hard links.
 * R3  Compaction is put off (24 files on level 0): each one rewrites what later checkpoints could have linked.
 * R4  Block cache and write buffers are small, and charged to the budget, as nothing is read but at a restore.
 */
#ifndef WEIR_TASKMANAGER_STATE_ROCKS_H
#define WEIR_TASKMANAGER_STATE_ROCKS_H

#include "taskmanager/state/store.h"

/* Makes the process's directory and removes those that dead ones left. mem (may be NULL) is charged for the cache, and outlives it. No database
 * is opened yet. IO, RESOURCE. */
enum weir_rc weir_rocks_backend_open(const char *tmp_dir, struct weir_mem *mem, uint64_t inline_bytes_max,
                                     struct weir_state_backend **out_backend, struct weir_error *err) WEIR_CHECKED;
void weir_rocks_backend_close(struct weir_state_backend *backend); /* accepts NULL; every store is closed */

#endif
