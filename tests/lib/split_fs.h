/*
 * For tests: an injected file system as two, of which the one is what lies below a prefix. Nothing is linked from one to the other.
 */
#ifndef WEIR_TESTS_LIB_SPLIT_FS_H
#define WEIR_TESTS_LIB_SPLIT_FS_H

#include "common/fs/fs.h"

#include <string.h>

struct weir_split_fs {
    struct weir_fs fs; /* first member */
    struct weir_fs *inner;
    const char *far; /* the prefix; NULL: it is one */
    const char *watched; /* links from paths that hold this are counted */
    uint32_t links;
    uint32_t lists; /* calls */
};

static inline struct weir_split_fs *weir_split_fs_of(struct weir_fs *fs)
{
    return (struct weir_split_fs *)fs;
}

static inline enum weir_rc weir_split_open(struct weir_fs *fs, const char *path, enum weir_fs_mode mode, struct weir_fs_file **out_file,
                                           struct weir_error *err)
{
    return weir_fs_open(weir_split_fs_of(fs)->inner, path, mode, out_file, err);
}

static inline enum weir_rc weir_split_rename(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err)
{
    return weir_fs_rename(weir_split_fs_of(fs)->inner, from, to, err);
}

static inline enum weir_rc weir_split_link(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err)
{
    struct weir_split_fs *split = weir_split_fs_of(fs);
    size_t len = split->far == NULL ? 0 : strlen(split->far);
    struct weir_fs_stat stat;
    enum weir_rc rc = weir_fs_stat(split->inner, from, &stat, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    if (len > 0 && (strncmp(from, split->far, len) == 0) != (strncmp(to, split->far, len) == 0)) {
        return weir_error_set(err, WEIR_INVALID, "%s: another file system than %s", to, from);
    }
    rc = weir_fs_link(split->inner, from, to, err);
    split->links += rc == WEIR_OK && split->watched != NULL && strstr(from, split->watched) != NULL;
    return rc;
}

static inline enum weir_rc weir_split_unlink(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    return weir_fs_unlink(weir_split_fs_of(fs)->inner, path, err);
}

static inline enum weir_rc weir_split_mkdirs(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    return weir_fs_mkdirs(weir_split_fs_of(fs)->inner, path, err);
}

static inline enum weir_rc weir_split_rmdir(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    return weir_fs_rmdir(weir_split_fs_of(fs)->inner, path, err);
}

static inline enum weir_rc weir_split_list(struct weir_fs *fs, const char *path, weir_fs_list_fn *each, void *ctx, struct weir_error *err)
{
    weir_split_fs_of(fs)->lists++;
    return weir_fs_list(weir_split_fs_of(fs)->inner, path, each, ctx, err);
}

static inline enum weir_rc weir_split_stat(struct weir_fs *fs, const char *path, struct weir_fs_stat *out_stat, struct weir_error *err)
{
    return weir_fs_stat(weir_split_fs_of(fs)->inner, path, out_stat, err);
}

static inline enum weir_rc weir_split_fsync_dir(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    return weir_fs_fsync_dir(weir_split_fs_of(fs)->inner, path, err);
}

/* inner outlives it; files are inner's own. */
static inline void weir_split_fs_init(struct weir_split_fs *split, struct weir_fs *inner, const char *far)
{
    static const struct weir_fs_ops ops = {
        .open = weir_split_open,
        .rename = weir_split_rename,
        .link = weir_split_link,
        .unlink = weir_split_unlink,
        .mkdirs = weir_split_mkdirs,
        .rmdir = weir_split_rmdir,
        .list = weir_split_list,
        .stat = weir_split_stat,
        .fsync_dir = weir_split_fsync_dir,
    };
    *split = (struct weir_split_fs){.fs = {.ops = &ops}, .inner = inner, .far = far};
}

#endif
