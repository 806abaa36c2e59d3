#include "common/fs/fs.h"

#include "common/base/assert.h"
#include "common/base/buf.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

#include <stdio.h>

enum weir_rc weir_fs_open(struct weir_fs *fs, const char *path, enum weir_fs_mode mode, struct weir_fs_file **out_file,
                          struct weir_error *err)
{
    return fs->ops->open(fs, path, mode, out_file, err);
}

enum weir_rc weir_fs_append(struct weir_fs_file *file, struct weir_slice bytes, struct weir_error *err)
{
    return file->ops->append(file, bytes, err);
}

enum weir_rc weir_fs_pread(struct weir_fs_file *file, uint64_t offset, void *to, size_t bytes_max, size_t *out_bytes,
                           struct weir_error *err)
{
    return file->ops->pread(file, offset, to, bytes_max, out_bytes, err);
}

enum weir_rc weir_fs_fsync(struct weir_fs_file *file, struct weir_error *err)
{
    return file->ops->fsync(file, err);
}

enum weir_rc weir_fs_truncate(struct weir_fs_file *file, uint64_t bytes, struct weir_error *err)
{
    return file->ops->truncate(file, bytes, err);
}

enum weir_rc weir_fs_size(struct weir_fs_file *file, uint64_t *out_bytes, struct weir_error *err)
{
    return file->ops->size(file, out_bytes, err);
}

void weir_fs_close(struct weir_fs_file *file_take)
{
    if (file_take != NULL) {
        file_take->ops->close(file_take);
    }
}

enum weir_rc weir_fs_rename(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err)
{
    return fs->ops->rename(fs, from, to, err);
}

enum weir_rc weir_fs_link(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err)
{
    return fs->ops->link(fs, from, to, err);
}

enum weir_rc weir_fs_unlink(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    return fs->ops->unlink(fs, path, err);
}

enum weir_rc weir_fs_mkdirs(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    return fs->ops->mkdirs(fs, path, err);
}

enum weir_rc weir_fs_rmdir(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    return fs->ops->rmdir(fs, path, err);
}

enum weir_rc weir_fs_list(struct weir_fs *fs, const char *path, weir_fs_list_fn *each, void *ctx, struct weir_error *err)
{
    return fs->ops->list(fs, path, each, ctx, err);
}

static void add_name(void *ctx, const char *name, bool is_dir)
{
    struct weir_fs_names *names = ctx;
    names->items = weir_vec_grow(names->items, &names->cap, sizeof(*names->items), names->len + 1);
    names->items[names->len++] = (struct weir_fs_name){.name = weir_strdup(name), .is_dir = is_dir};
}

enum weir_rc weir_fs_names_read(struct weir_fs *fs, const char *path, struct weir_fs_names *names, struct weir_error *err)
{
    return weir_fs_list(fs, path, add_name, names, err);
}

void weir_fs_names_fini(struct weir_fs_names *names)
{
    for (size_t i = 0; i < names->len; i++) {
        weir_free(names->items[i].name);
    }
    weir_free(names->items);
}

enum weir_rc weir_fs_stat(struct weir_fs *fs, const char *path, struct weir_fs_stat *out_stat, struct weir_error *err)
{
    return fs->ops->stat(fs, path, out_stat, err);
}

enum weir_rc weir_fs_fsync_dir(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    return fs->ops->fsync_dir(fs, path, err);
}

char *weir_fs_dirname_copy(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return weir_strdup(".");
    }
    return slash == path ? weir_strdup("/") : weir_strndup(path, (size_t)(slash - path));
}

static void unlink_quietly(struct weir_fs *fs, const char *path)
{
    struct weir_error ignored;
    if (weir_fs_unlink(fs, path, &ignored) != WEIR_OK) {
        return; /* the next writer empties what stays */
    }
}

enum weir_rc weir_fs_write_atomic(struct weir_fs *fs, const char *path, struct weir_slice bytes, struct weir_error *err)
{
    char *temporary = weir_strfmt("%s.tmp", path);
    char *dir = weir_fs_dirname_copy(path);
    struct weir_fs_file *file = NULL;
    enum weir_rc rc = weir_fs_open(fs, temporary, WEIR_FS_CREATE, &file, err);
    if (rc != WEIR_OK) {
        goto out;
    }
    rc = weir_fs_append(file, bytes, err);
    if (rc == WEIR_OK) {
        rc = weir_fs_fsync(file, err);
    }
    weir_fs_close(file);
    if (rc == WEIR_OK) {
        rc = weir_fs_rename(fs, temporary, path, err);
    }
    if (rc == WEIR_OK) {
        rc = weir_fs_fsync_dir(fs, dir, err);
    } else {
        unlink_quietly(fs, temporary);
    }
out:
    weir_free(dir);
    weir_free(temporary);
    return rc;
}

enum weir_rc weir_fs_read_all(struct weir_fs *fs, const char *path, uint64_t bytes_max, struct weir_buf *buf,
                              struct weir_error *err)
{
    enum { PIECE_BYTES = 64 << 10 };
    struct weir_fs_file *file = NULL;
    size_t start = buf->len;
    enum weir_rc rc = weir_fs_open(fs, path, WEIR_FS_READ, &file, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    for (;;) { /* by pieces and not by size: the file may grow, or be of /proc */
        size_t got = 0;
        uint8_t *to = weir_buf_reserve(buf, PIECE_BYTES);
        rc = weir_fs_pread(file, buf->len - start, to, PIECE_BYTES, &got, err);
        if (rc != WEIR_OK || got == 0) {
            break;
        }
        buf->len += got;
        if (buf->len - start > bytes_max) {
            rc = weir_error_set(err, WEIR_LIMIT, "%s has more than %llu bytes, which is the most it may have", path,
                                (unsigned long long)bytes_max);
            break;
        }
    }
    if (rc != WEIR_OK) {
        buf->len = start;
    }
    weir_fs_close(file);
    return rc;
}

enum { SEAL_BYTES = 16 }; /* "crc32c 01234567\n" */

static void make_seal(struct weir_slice bytes, char out_seal[SEAL_BYTES + 1])
{
    (void)snprintf(out_seal, SEAL_BYTES + 1, "crc32c %08x\n", weir_crc32c(0, bytes.data, bytes.len));
}

enum weir_rc weir_fs_write_sealed(struct weir_fs *fs, const char *path, struct weir_slice bytes, struct weir_error *err)
{
    char seal[SEAL_BYTES + 1];
    struct weir_buf whole = {0};
    make_seal(bytes, seal);
    weir_buf_put_slice(&whole, bytes);
    weir_buf_put_str(&whole, seal);
    enum weir_rc rc = weir_fs_write_atomic(fs, path, weir_buf_slice(&whole), err);
    weir_buf_fini(&whole);
    return rc;
}

enum weir_rc weir_fs_read_sealed(struct weir_fs *fs, const char *path, uint64_t bytes_max, struct weir_buf *buf, struct weir_error *err)
{
    size_t start = buf->len;
    enum weir_rc rc = weir_fs_read_all(fs, path, bytes_max + SEAL_BYTES, buf, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    char seal[SEAL_BYTES + 1];
    size_t len = buf->len - start;
    size_t covered = len < SEAL_BYTES ? 0 : len - SEAL_BYTES;
    make_seal(weir_slice(buf->data + start, covered), seal);
    bool whole = len >= SEAL_BYTES && memcmp(buf->data + start + covered, seal, SEAL_BYTES) == 0;
    buf->len = whole ? start + covered : start;
    return whole ? WEIR_OK
                 : weir_error_set(err, WEIR_CORRUPT, "%s: damaged, or not written by this version of Weir: its last line is not the checksum of the others",
                                  path);
}
