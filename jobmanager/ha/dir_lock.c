#include "jobmanager/ha/dir_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/base/mem.h"

struct weir_dir_lock {
    int fd;
};

enum weir_rc weir_dir_lock_open(const char *dir, struct weir_dir_lock **out_lock, struct weir_error *err)
{
    char *path = weir_strfmt("%s/lock", dir);
    enum weir_rc rc = WEIR_OK;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) {
        rc = weir_error_errno(err, WEIR_IO, errno, "%s", path);
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        char pid[32] = {0};
        ssize_t bytes = read(fd, pid, sizeof(pid) - 1);
        rc = weir_error_set(err, WEIR_EXISTS, "%s is in use by another JobManager (pid %s): stop it, or set another jobmanager.data.dir", dir,
                            bytes > 0 ? pid : "unknown");
        (void)close(fd);
    } else {
        char pid[32];
        int len = snprintf(pid, sizeof(pid), "%d", (int)getpid());
        if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)len, 0) != len) {
            rc = weir_error_errno(err, WEIR_IO, errno, "%s", path);
            (void)close(fd);
        }
    }
    if (rc == WEIR_OK) {
        *out_lock = weir_malloc(sizeof(**out_lock));
        (*out_lock)->fd = fd;
    }
    weir_free(path);
    return rc;
}

void weir_dir_lock_close(struct weir_dir_lock *lock)
{
    if (lock != NULL) {
        (void)close(lock->fd);
        weir_free(lock);
    }
}
