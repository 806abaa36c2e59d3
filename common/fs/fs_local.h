/*
 * The machine's file system, by POSIX calls.
 */
#ifndef WEIR_COMMON_FS_FS_LOCAL_H
#define WEIR_COMMON_FS_FS_LOCAL_H

#include "common/fs/fs.h"

/* Any thread may use it at once. */
struct weir_fs *weir_fs_local_create(void);
void weir_fs_local_destroy(struct weir_fs *fs); /* accepts NULL; its files are closed before */

#endif
