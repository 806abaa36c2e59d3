/*
 * Directories for tests that sync often. In memory where the machine has such a file system, with room for all that run at once (a container's
 * may have 64 MB): a test cannot tell whether fsync reaches a disk, and on a busy one each takes milliseconds. fs_test and config_test stay in
 * /tmp, so that a real disk is used as well.
 */
#ifndef WEIR_TESTS_LIB_TEMP_DIR_H
#define WEIR_TESTS_LIB_TEMP_DIR_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { WEIR_TEMP_DIR_MAX = 64 };

/* Makes a new directory and writes its path; the caller removes it. Aborts the test when it cannot. */
static inline void weir_temp_dir(char out_path[WEIR_TEMP_DIR_MAX], const char *name)
{
    enum { ROOM_BYTES_MIN = 1 << 30 };
    struct statvfs room;
    bool in_memory = access("/dev/shm", W_OK | X_OK) == 0 && statvfs("/dev/shm", &room) == 0 &&
                     (uint64_t)room.f_bavail * room.f_frsize >= ROOM_BYTES_MIN;
    (void)snprintf(out_path, WEIR_TEMP_DIR_MAX, "%s/weir-%s-XXXXXX", in_memory ? "/dev/shm" : "/tmp", name);
    ck_assert_ptr_nonnull(mkdtemp(out_path));
}

#endif
