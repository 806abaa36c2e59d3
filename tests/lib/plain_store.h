/*
 * A state store (taskmanager/state/store.h) of plain files in an injected file system: each commit writes one run, sorted; reading merges all
 * runs, the newest first. For simulations, and to hold RocksDB against.
 */
#ifndef WEIR_TESTS_LIB_PLAIN_STORE_H
#define WEIR_TESTS_LIB_PLAIN_STORE_H

#include "common/fs/fs.h"
#include "taskmanager/state/store.h"

/* Stores go into directories below root. fs outlives it. */
struct weir_state_backend *weir_plain_backend_create(struct weir_fs *fs, const char *root, uint64_t inline_bytes_max);
void weir_plain_backend_destroy(struct weir_state_backend *backend);

#endif
