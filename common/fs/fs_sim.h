/*
 * A file system in memory that is as forgetful as fs.h allows, for tests: a crash may lose or tear what was not synced, in
 * any way a seed picks, and the n-th call can be made to fail.
 *
 * "/" and "." exist. Names change in their directory's order: a crash keeps some first part of each directory's changes since
 * its last fsync_dir, a rename wholly or not at all. Directories cannot be renamed.
 */
#ifndef WEIR_COMMON_FS_FS_SIM_H
#define WEIR_COMMON_FS_FS_SIM_H

#include "common/fs/fs.h"

struct weir_fs *weir_fs_sim_create(void);
void weir_fs_sim_destroy(struct weir_fs *fs); /* accepts NULL; its files are closed before */

/* Power off, power on. Files open before must still be closed; every other use of them is an IO error. */
void weir_fs_sim_crash(struct weir_fs *fs, uint64_t seed);

/* Power off at the machine that wrote a file of a shared file system: what it had not synced is lost or torn; names stay. */
void weir_fs_sim_lose(struct weir_fs_file *file, uint64_t seed);

/* Whether a crash now would leave the file as it is. */
bool weir_fs_sim_is_durable(struct weir_fs *fs, const char *path);

/* The nth call from now (1: the next; closing does not count) fails with rc, and with `lasting` every one after it. A failed
 * append may leave a part of its bytes; other failed calls change nothing. nth 0: none fails. */
struct weir_fs_sim_fault {
    uint64_t nth;
    enum weir_rc rc;
    bool lasting;
};
void weir_fs_sim_fail(struct weir_fs *fs, struct weir_fs_sim_fault fault);

/* Appends take so many bytes more, then a part of what they are given and RESOURCE; with 0 there is no room for a new name either. Nothing gives room
 * back but another call; UINT64_MAX, as it begins: no limit. */
void weir_fs_sim_room(struct weir_fs *fs, uint64_t bytes);

/* Whether the fault was met: a test raises nth until it is not. */
bool weir_fs_sim_failed(struct weir_fs *fs);

#endif
