/*
 * One process a data directory: an flock on `DIR/lock`, which the kernel drops when the process ends, however it ends.
 */
#ifndef WEIR_JOBMANAGER_HA_DIR_LOCK_H
#define WEIR_JOBMANAGER_HA_DIR_LOCK_H

#include "common/base/error.h"

struct weir_dir_lock;

/* The directory exists. EXISTS: another process has it (with its pid); IO. */
enum weir_rc weir_dir_lock_open(const char *dir, struct weir_dir_lock **out_lock, struct weir_error *err) WEIR_CHECKED;
void weir_dir_lock_close(struct weir_dir_lock *lock); /* accepts NULL */

#endif
