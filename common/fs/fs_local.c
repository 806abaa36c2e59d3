#include "common/fs/fs_local.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct local_file {
    struct weir_fs_file file; /* first member */
    int fd;
    char *path;
};

static struct local_file *local(struct weir_fs_file *file)
{
    return (struct local_file *)file;
}

static enum weir_rc failed(struct weir_error *err, const char *what, const char *path)
{
    int errnum = errno;
    enum weir_rc rc = WEIR_IO;
    if (errnum == ENOENT) {
        rc = WEIR_NOT_FOUND;
    } else if (errnum == EEXIST || errnum == ENOTEMPTY) {
        rc = WEIR_EXISTS;
    } else if (errnum == EACCES || errnum == EPERM || errnum == EROFS) {
        rc = WEIR_REFUSED;
    } else if (errnum == ENOSPC || errnum == EDQUOT || errnum == EMFILE || errnum == ENFILE) {
        rc = WEIR_RESOURCE;
    } else if (errnum == ENOTDIR || errnum == EISDIR || errnum == ENAMETOOLONG || errnum == EXDEV || errnum == ELOOP) {
        rc = WEIR_INVALID;
    }
    return weir_error_errno(err, rc, errnum, "cannot %s %s", what, path);
}

static enum weir_rc local_open(struct weir_fs *fs, const char *path, enum weir_fs_mode mode,
                               struct weir_fs_file **out_file, struct weir_error *err)
{
    int flags = O_CLOEXEC;
    const char *what = "create";
    switch (mode) {
    case WEIR_FS_READ:
        flags |= O_RDONLY;
        what = "read";
        break;
    case WEIR_FS_APPEND:
        flags |= O_RDWR | O_CREAT | O_APPEND;
        what = "append to";
        break;
    case WEIR_FS_CREATE:
        flags |= O_RDWR | O_CREAT | O_APPEND | O_TRUNC;
        break;
    case WEIR_FS_CREATE_NEW:
        flags |= O_RDWR | O_CREAT | O_APPEND | O_EXCL;
        break;
    }
    int fd = open(path, flags, 0644);
    if (fd < 0) {
        return failed(err, what, path);
    }
    struct stat st;
    if (fstat(fd, &st) != 0 || S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        enum weir_rc rc = failed(err, what, path);
        (void)close(fd);
        return rc;
    }
    struct local_file *file = weir_malloc(sizeof(*file));
    *file = (struct local_file){.file = {.ops = fs->ops}, .fd = fd, .path = weir_strdup(path)};
    *out_file = &file->file;
    return WEIR_OK;
}

static enum weir_rc local_append(struct weir_fs_file *file, struct weir_slice bytes, struct weir_error *err)
{
    while (bytes.len > 0) {
        ssize_t wrote = write(local(file)->fd, bytes.data, bytes.len);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote < 0) {
            return failed(err, "write to", local(file)->path);
        }
        bytes.data += wrote;
        bytes.len -= (size_t)wrote;
    }
    return WEIR_OK;
}

static enum weir_rc local_pread(struct weir_fs_file *file, uint64_t offset, void *to, size_t bytes_max, size_t *out_bytes,
                                struct weir_error *err)
{
    size_t got = 0;
    while (got < bytes_max) {
        ssize_t n = pread(local(file)->fd, (uint8_t *)to + got, bytes_max - got, (off_t)(offset + got));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return failed(err, "read", local(file)->path);
        }
        if (n == 0) {
            break;
        }
        got += (size_t)n;
    }
    *out_bytes = got;
    return WEIR_OK;
}

static enum weir_rc local_fsync(struct weir_fs_file *file, struct weir_error *err)
{
    return fsync(local(file)->fd) == 0 ? WEIR_OK : failed(err, "sync", local(file)->path);
}

static enum weir_rc local_truncate(struct weir_fs_file *file, uint64_t bytes, struct weir_error *err)
{
    return ftruncate(local(file)->fd, (off_t)bytes) == 0 ? WEIR_OK : failed(err, "truncate", local(file)->path);
}

static enum weir_rc local_size(struct weir_fs_file *file, uint64_t *out_bytes, struct weir_error *err)
{
    struct stat st;
    if (fstat(local(file)->fd, &st) != 0) {
        return failed(err, "look at", local(file)->path);
    }
    *out_bytes = (uint64_t)st.st_size;
    return WEIR_OK;
}

static void local_close(struct weir_fs_file *file_take)
{
    (void)close(local(file_take)->fd);
    weir_free(local(file_take)->path);
    weir_free(file_take);
}

static enum weir_rc local_rename(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err)
{
    (void)fs;
    return rename(from, to) == 0 ? WEIR_OK : failed(err, "rename a file to", to);
}

static enum weir_rc local_link(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err)
{
    (void)fs;
    return link(from, to) == 0 ? WEIR_OK : failed(err, "link a file as", to);
}

static enum weir_rc local_unlink(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    (void)fs;
    return unlink(path) == 0 ? WEIR_OK : failed(err, "delete", path);
}

static enum weir_rc local_fsync_dir(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    (void)fs;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return failed(err, "open directory", path);
    }
    enum weir_rc rc = fsync(fd) == 0 ? WEIR_OK : failed(err, "sync directory", path);
    (void)close(fd);
    return rc;
}

static enum weir_rc local_mkdirs(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    struct stat st;
    if (stat(path, &st) == 0) {
        errno = ENOTDIR;
        return S_ISDIR(st.st_mode) ? WEIR_OK : failed(err, "create directory", path);
    }
    char *parent = weir_fs_dirname_copy(path);
    enum weir_rc rc = WEIR_OK;
    if (strcmp(parent, path) != 0) {
        rc = local_mkdirs(fs, parent, err);
    }
    if (rc == WEIR_OK && mkdir(path, 0755) != 0 && errno != EEXIST) { /* somebody else may be as quick */
        rc = failed(err, "create directory", path);
    }
    if (rc == WEIR_OK) {
        rc = local_fsync_dir(fs, parent, err);
    }
    weir_free(parent);
    return rc;
}

static enum weir_rc local_rmdir(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    (void)fs;
    return rmdir(path) == 0 ? WEIR_OK : failed(err, "delete directory", path);
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static enum weir_rc local_list(struct weir_fs *fs, const char *path, weir_fs_list_fn *each, void *ctx,
                               struct weir_error *err)
{
    (void)fs;
    struct dirent **names = NULL;
    int count = scandir(path, &names, NULL, by_bytes);
    if (count < 0) {
        return failed(err, "list directory", path);
    }
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
            bool is_dir = names[i]->d_type == DT_DIR;
            if (names[i]->d_type == DT_UNKNOWN || names[i]->d_type == DT_LNK) {
                struct stat st;
                char *full = weir_strfmt("%s/%s", path, name);
                is_dir = stat(full, &st) == 0 && S_ISDIR(st.st_mode);
                weir_free(full);
            }
            each(ctx, name, is_dir);
        }
        free(names[i]); /* scandir's own memory */
    }
    free(names);
    return WEIR_OK;
}

static enum weir_rc local_stat(struct weir_fs *fs, const char *path, struct weir_fs_stat *out_stat, struct weir_error *err)
{
    (void)fs;
    struct stat st;
    if (stat(path, &st) != 0) {
        return failed(err, "look at", path);
    }
    *out_stat = (struct weir_fs_stat){.bytes = (uint64_t)st.st_size, .is_dir = S_ISDIR(st.st_mode)};
    return WEIR_OK;
}

static const struct weir_fs_ops local_ops = {
    .open = local_open,
    .append = local_append,
    .pread = local_pread,
    .fsync = local_fsync,
    .truncate = local_truncate,
    .size = local_size,
    .close = local_close,
    .rename = local_rename,
    .link = local_link,
    .unlink = local_unlink,
    .mkdirs = local_mkdirs,
    .rmdir = local_rmdir,
    .list = local_list,
    .stat = local_stat,
    .fsync_dir = local_fsync_dir,
};

struct weir_fs *weir_fs_local_create(void)
{
    struct weir_fs *fs = weir_malloc(sizeof(*fs));
    fs->ops = &local_ops;
    return fs;
}

void weir_fs_local_destroy(struct weir_fs *fs)
{
    weir_free(fs);
}
