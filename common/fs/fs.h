/*
 * Files, injected: nobody else opens one, so that a test can lose what was not synced and fail the n-th call.
 *
 * What a crash leaves: bytes of a file up to its last fsync at least, and names as of their directory's last fsync_dir at
 * least (creation, rename, link, unlink). Everything later may be there, partly there or absent.
 *
 * Paths are NUL-terminated; relative ones are relative to the process. All calls may block on the disk. A file is used by
 * one thread at a time; an fs by any number. Errors name the path: NOT_FOUND, EXISTS, INVALID, REFUSED (permission),
 * RESOURCE (disk full), IO.
 */
#ifndef WEIR_COMMON_FS_FS_H
#define WEIR_COMMON_FS_FS_H

#include "common/base/error.h"
#include "common/base/slice.h"

struct weir_buf;
struct weir_fs_file;

enum weir_fs_mode {
    WEIR_FS_READ,       /* the file must exist */
    WEIR_FS_APPEND,     /* created when absent; writes go to the end */
    WEIR_FS_CREATE,     /* created; an existing one is emptied */
    WEIR_FS_CREATE_NEW, /* created; EXISTS when it is there */
};

struct weir_fs_stat {
    uint64_t bytes;
    bool is_dir;
};

/* One name of a directory. */
typedef void weir_fs_list_fn(void *ctx, const char *name, bool is_dir);

struct weir_fs;

struct weir_fs_ops {
    enum weir_rc (*open)(struct weir_fs *fs, const char *path, enum weir_fs_mode mode, struct weir_fs_file **out_file,
                         struct weir_error *err);
    enum weir_rc (*append)(struct weir_fs_file *file, struct weir_slice bytes, struct weir_error *err);
    enum weir_rc (*pread)(struct weir_fs_file *file, uint64_t offset, void *to, size_t bytes_max, size_t *out_bytes,
                          struct weir_error *err);
    enum weir_rc (*fsync)(struct weir_fs_file *file, struct weir_error *err);
    enum weir_rc (*truncate)(struct weir_fs_file *file, uint64_t bytes, struct weir_error *err);
    enum weir_rc (*size)(struct weir_fs_file *file, uint64_t *out_bytes, struct weir_error *err);
    void (*close)(struct weir_fs_file *file_take);
    enum weir_rc (*rename)(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err);
    enum weir_rc (*link)(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err);
    enum weir_rc (*unlink)(struct weir_fs *fs, const char *path, struct weir_error *err);
    enum weir_rc (*mkdirs)(struct weir_fs *fs, const char *path, struct weir_error *err);
    enum weir_rc (*rmdir)(struct weir_fs *fs, const char *path, struct weir_error *err);
    enum weir_rc (*list)(struct weir_fs *fs, const char *path, weir_fs_list_fn *each, void *ctx, struct weir_error *err);
    enum weir_rc (*stat)(struct weir_fs *fs, const char *path, struct weir_fs_stat *out_stat, struct weir_error *err);
    enum weir_rc (*fsync_dir)(struct weir_fs *fs, const char *path, struct weir_error *err);
};

/* The first member of every implementation, of its files too. */
struct weir_fs {
    const struct weir_fs_ops *ops;
};

struct weir_fs_file {
    const struct weir_fs_ops *ops;
};

/* Opens; the file is the caller's until weir_fs_close. */
enum weir_rc weir_fs_open(struct weir_fs *fs, const char *path, enum weir_fs_mode mode, struct weir_fs_file **out_file,
                          struct weir_error *err) WEIR_CHECKED;

/* Writes all of the bytes at the end. After an error, how many were written is unknown: truncate or abandon the file. */
enum weir_rc weir_fs_append(struct weir_fs_file *file, struct weir_slice bytes, struct weir_error *err) WEIR_CHECKED;

/* Reads up to bytes_max from offset; fewer only at the end of the file, 0 beyond it. */
enum weir_rc weir_fs_pread(struct weir_fs_file *file, uint64_t offset, void *to, size_t bytes_max, size_t *out_bytes,
                           struct weir_error *err) WEIR_CHECKED;

/* Makes the file's bytes durable. After an error the file must be abandoned: a second fsync may lie. */
enum weir_rc weir_fs_fsync(struct weir_fs_file *file, struct weir_error *err) WEIR_CHECKED;

/* Cuts the file to `bytes`, which is not beyond its size. */
enum weir_rc weir_fs_truncate(struct weir_fs_file *file, uint64_t bytes, struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_fs_size(struct weir_fs_file *file, uint64_t *out_bytes, struct weir_error *err) WEIR_CHECKED;
void weir_fs_close(struct weir_fs_file *file_take); /* accepts NULL; syncs nothing */

/* `to` is replaced when it is there, atomically. Both on one file system. */
enum weir_rc weir_fs_rename(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err) WEIR_CHECKED;

/* A second name for a file; EXISTS when `to` is there: exactly one of several contenders wins. */
enum weir_rc weir_fs_link(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_fs_unlink(struct weir_fs *fs, const char *path, struct weir_error *err) WEIR_CHECKED;

/* The directory and all above it, each made durable in its parent; one that exists is fine. */
enum weir_rc weir_fs_mkdirs(struct weir_fs *fs, const char *path, struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_fs_rmdir(struct weir_fs *fs, const char *path, struct weir_error *err) WEIR_CHECKED; /* an empty one */

/* Calls each() for every name but "." and "..", in byte order. each() must not change the directory. */
enum weir_rc weir_fs_list(struct weir_fs *fs, const char *path, weir_fs_list_fn *each, void *ctx,
                          struct weir_error *err) WEIR_CHECKED;

/* The names of a directory as weir_fs_list gives them, to change the directory by. Zero when empty. */
struct weir_fs_names {
    struct weir_fs_name {
        char *name;
        bool is_dir;
    } *items;
    size_t len, cap;
};

/* Adds to names, which the caller ends with weir_fs_names_fini after an error too. */
enum weir_rc weir_fs_names_read(struct weir_fs *fs, const char *path, struct weir_fs_names *names, struct weir_error *err) WEIR_CHECKED;
void weir_fs_names_fini(struct weir_fs_names *names);

enum weir_rc weir_fs_stat(struct weir_fs *fs, const char *path, struct weir_fs_stat *out_stat,
                          struct weir_error *err) WEIR_CHECKED;

/* Makes the names in a directory durable. */
enum weir_rc weir_fs_fsync_dir(struct weir_fs *fs, const char *path, struct weir_error *err) WEIR_CHECKED;

/* The file is afterwards whole and durable, or as it was: `path`.tmp, fsync, rename, fsync of the directory. One writer at a
 * time for a path. */
enum weir_rc weir_fs_write_atomic(struct weir_fs *fs, const char *path, struct weir_slice bytes,
                                  struct weir_error *err) WEIR_CHECKED;

/* Appends the whole file to buf. LIMIT when it has more than bytes_max. */
enum weir_rc weir_fs_read_all(struct weir_fs *fs, const char *path, uint64_t bytes_max, struct weir_buf *buf,
                              struct weir_error *err) WEIR_CHECKED;

/* The two above, with the checksum of the bytes as a last line, which reading takes off again: for small files of text that people may look at.
 * CORRUPT: the line is missing, or is not of these bytes. */
enum weir_rc weir_fs_write_sealed(struct weir_fs *fs, const char *path, struct weir_slice bytes, struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_fs_read_sealed(struct weir_fs *fs, const char *path, uint64_t bytes_max, struct weir_buf *buf, struct weir_error *err) WEIR_CHECKED;

/* The directory of a path ("." for a bare name, "/" for "/x"), by weir_malloc; the caller frees it. */
char *weir_fs_dirname_copy(const char *path);

#endif
