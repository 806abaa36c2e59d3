/*
 * common/fs/fs_local.h as a simulated process has it: its machine's disk, and below /ckpt the store that all share. Each call takes its time, during
 * which others run and the process may die: then it has had no effect.
 */
#include "common/fs/fs_local.h"
#include "common/fs/fs_sim.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "tests/sim/cluster/hooks.h"
#include "tests/sim/cluster/world.h"
#include "tests/sim/cluster/wraps.h"

#include <string.h>

struct node_fs {
    struct weir_fs fs; /* first */
    struct weir_sim_node *node;
};

struct node_file {
    struct weir_fs_file file; /* first */
    struct weir_sim_node *node;
    struct weir_fs_file *inner;
    bool shared;
    char *path; /* that it has now */
    /* In the shared store: since when its machine may lose what it wrote. */
    struct node_file *next; /* of `written` */
    bool dirty, closed;
};

enum { SYNC_COST = 10 };

static struct weir_sim_store store;
static struct node_file *written; /* in the store: open for writing, or closed and not synced */

struct weir_sim_store *weir_sim_store(void)
{
    return &store;
}

static bool is_shared(const char *path)
{
    return strncmp(path, "/ckpt", 5) == 0;
}

static struct weir_sim_node *node_of(struct weir_fs *fs)
{
    return ((struct node_fs *)fs)->node;
}

static struct weir_fs *disk_of(struct weir_fs *fs, const char *path)
{
    return is_shared(path) ? store.disk : node_of(fs)->disk;
}

/* --- what the store has of a machine's page cache -------------------------------------------------------------------------- */

static void file_destroy(struct node_file *file)
{
    weir_fs_close(file->inner);
    weir_free(file->path);
    weir_free(file);
}

/* Nothing can be lost any more of those by which is_one(file, path, node). */
static void forget(bool (*is_one)(const struct node_file *file, const char *path, const struct weir_sim_node *node), const char *path,
                   const struct weir_sim_node *node)
{
    for (struct node_file **at = &written; *at != NULL;) {
        struct node_file *file = *at;
        if (!is_one(file, path, node)) {
            at = &file->next;
            continue;
        }
        file->dirty = false;
        if (file->closed) {
            *at = file->next;
            file_destroy(file);
        } else {
            at = &file->next;
        }
    }
}

static bool has_path(const struct node_file *file, const char *path, const struct weir_sim_node *node)
{
    (void)node;
    return strcmp(file->path, path) == 0;
}

/* The server asks for what others have, before it opens a file. */
static bool is_of_others(const struct node_file *file, const char *path, const struct weir_sim_node *node)
{
    return file->node != node && has_path(file, path, NULL);
}

static bool is_of(const struct node_file *file, const char *path, const struct weir_sim_node *node)
{
    (void)path;
    return file->node == node;
}

static void follow(const char *from, const char *to)
{
    forget(has_path, to, NULL);
    for (struct node_file *file = written; file != NULL; file = file->next) {
        if (has_path(file, from, NULL)) {
            weir_free(file->path);
            file->path = weir_strdup(to);
        }
    }
}

void weir_sim_store_power_off(const struct weir_sim_node *node)
{
    for (struct node_file *file = written; file != NULL; file = file->next) {
        if (file->node == node && file->dirty) {
            weir_sim_trace("%s: %s is what was synced of it, or torn", node->name, file->path);
            weir_fs_sim_lose(file->inner, weir_sim_below(UINT64_MAX));
        }
    }
    forget(is_of, NULL, node);
}

/* --- calls ------------------------------------------------------------------------------------------------------------------ */

/* The time that a call takes. */
static void spend(const struct weir_sim_node *node, bool shared, uint32_t cost)
{
    int64_t least_ns = weir_sim_options()->disk_ns * cost;
    uint32_t slow = shared ? store.slow : node->slow;
    int64_t ns = weir_sim_between(least_ns, 3 * least_ns) * (slow > 1 ? slow : 1);
    weir_sim_sleep(ns);
}

static enum weir_rc room(struct weir_sim_node *node, const char *path, struct weir_error *err)
{
    if (is_shared(path) ? store.full : node->disk_full) {
        node->disk_failed = true;
        return weir_error_set(err, WEIR_RESOURCE, "%s: no space left on device", path);
    }
    return WEIR_OK;
}

static enum weir_rc file_append(struct weir_fs_file *base, struct weir_slice bytes, struct weir_error *err)
{
    struct node_file *file = (struct node_file *)base;
    spend(file->node, file->shared, 1);
    enum weir_rc rc = room(file->node, file->path, err);
    file->dirty |= rc == WEIR_OK;
    return rc != WEIR_OK ? rc : weir_fs_append(file->inner, bytes, err);
}

static enum weir_rc file_pread(struct weir_fs_file *base, uint64_t offset, void *to, size_t bytes_max, size_t *out_bytes, struct weir_error *err)
{
    struct node_file *file = (struct node_file *)base;
    spend(file->node, file->shared, 1);
    return weir_fs_pread(file->inner, offset, to, bytes_max, out_bytes, err);
}

static enum weir_rc file_fsync(struct weir_fs_file *base, struct weir_error *err)
{
    struct node_file *file = (struct node_file *)base;
    spend(file->node, file->shared, SYNC_COST);
    uint32_t eio_one_in = file->shared ? store.eio_one_in : file->node->eio_one_in;
    if (eio_one_in != 0 && weir_sim_one_in(eio_one_in)) {
        weir_sim_trace("%s: EIO on fsync of %s", file->node->name, file->path);
        file->node->disk_failed = true;
        return weir_error_set(err, WEIR_IO, "%s: fsync: input/output error", file->path);
    }
    if (!weir_sim_hook_fsync(file->path)) {
        return WEIR_OK;
    }
    enum weir_rc rc = weir_fs_fsync(file->inner, err);
    file->dirty &= rc != WEIR_OK;
    return rc;
}

static enum weir_rc file_truncate(struct weir_fs_file *base, uint64_t bytes, struct weir_error *err)
{
    struct node_file *file = (struct node_file *)base;
    spend(file->node, file->shared, 1);
    file->dirty = true;
    return weir_fs_truncate(file->inner, bytes, err);
}

static enum weir_rc file_size(struct weir_fs_file *base, uint64_t *out_bytes, struct weir_error *err)
{
    return weir_fs_size(((struct node_file *)base)->inner, out_bytes, err);
}

static void file_close(struct weir_fs_file *base)
{
    struct node_file *file = (struct node_file *)base;
    file->closed = true;
    if (file->dirty && file->shared) {
        return;
    }
    for (struct node_file **at = &written; *at != NULL; at = &(*at)->next) {
        if (*at == file) {
            *at = file->next;
            break;
        }
    }
    file_destroy(file);
}

static enum weir_rc node_open(struct weir_fs *fs, const char *path, enum weir_fs_mode mode, struct weir_fs_file **out_file, struct weir_error *err);

static enum weir_rc node_rename(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err)
{
    spend(node_of(fs), is_shared(to), 1);
    enum weir_rc rc = weir_fs_rename(disk_of(fs, from), from, to, err);
    if (rc == WEIR_OK) {
        follow(from, to);
        weir_sim_hook_renamed(from, to);
    }
    return rc;
}

static enum weir_rc node_link(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err)
{
    spend(node_of(fs), is_shared(to), 1);
    if (is_shared(from) != is_shared(to)) {
        return weir_error_set(err, WEIR_INVALID, "%s: another file system than %s", to, from);
    }
    enum weir_rc rc = room(node_of(fs), to, err);
    rc = rc != WEIR_OK ? rc : weir_fs_link(disk_of(fs, from), from, to, err);
    if (rc == WEIR_OK) {
        forget(has_path, from, NULL); /* it could be opened by the other name */
    }
    return rc;
}

static enum weir_rc node_unlink(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    spend(node_of(fs), is_shared(path), 1);
    weir_sim_hook_unlink(path);
    enum weir_rc rc = weir_fs_unlink(disk_of(fs, path), path, err);
    if (rc == WEIR_OK) {
        forget(has_path, path, NULL);
    }
    return rc;
}

static enum weir_rc node_mkdirs(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    spend(node_of(fs), is_shared(path), 1);
    enum weir_rc rc = room(node_of(fs), path, err);
    weir_sim_hook_made(path);
    return rc != WEIR_OK ? rc : weir_fs_mkdirs(disk_of(fs, path), path, err);
}

static enum weir_rc node_rmdir(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    spend(node_of(fs), is_shared(path), 1);
    return weir_fs_rmdir(disk_of(fs, path), path, err);
}

static enum weir_rc node_list(struct weir_fs *fs, const char *path, weir_fs_list_fn *each, void *ctx, struct weir_error *err)
{
    spend(node_of(fs), is_shared(path), 1);
    return weir_fs_list(disk_of(fs, path), path, each, ctx, err);
}

static enum weir_rc node_stat(struct weir_fs *fs, const char *path, struct weir_fs_stat *out_stat, struct weir_error *err)
{
    spend(node_of(fs), is_shared(path), 1);
    return weir_fs_stat(disk_of(fs, path), path, out_stat, err);
}

static enum weir_rc node_fsync_dir(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    spend(node_of(fs), is_shared(path), SYNC_COST);
    return weir_fs_fsync_dir(disk_of(fs, path), path, err);
}

static const struct weir_fs_ops node_ops = {
    .open = node_open,
    .append = file_append,
    .pread = file_pread,
    .fsync = file_fsync,
    .truncate = file_truncate,
    .size = file_size,
    .close = file_close,
    .rename = node_rename,
    .link = node_link,
    .unlink = node_unlink,
    .mkdirs = node_mkdirs,
    .rmdir = node_rmdir,
    .list = node_list,
    .stat = node_stat,
    .fsync_dir = node_fsync_dir,
};

static enum weir_rc node_open(struct weir_fs *fs, const char *path, enum weir_fs_mode mode, struct weir_fs_file **out_file, struct weir_error *err)
{
    struct weir_sim_node *node = node_of(fs);
    spend(node, is_shared(path), 1);
    forget(is_of_others, path, node);
    enum weir_rc rc = mode == WEIR_FS_READ ? WEIR_OK : room(node, path, err);
    struct weir_fs_file *inner = NULL;
    rc = rc != WEIR_OK ? rc : weir_fs_open(disk_of(fs, path), path, mode, &inner, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    weir_sim_hook_open(path, mode);
    struct node_file *file = weir_calloc(1, sizeof(*file));
    *file = (struct node_file){.file.ops = &node_ops, .node = node, .inner = inner, .shared = is_shared(path), .path = weir_strdup(path)};
    if (file->shared && mode != WEIR_FS_READ) {
        file->dirty = true; /* cut to nothing, say */
        file->next = written;
        written = file;
    }
    *out_file = &file->file;
    return WEIR_OK;
}

struct weir_fs *weir_sim_fs_of_node(void)
{
    struct weir_sim_node *node = weir_sim_node_here();
    struct node_fs *fs = weir_calloc(1, sizeof(*fs));
    fs->fs.ops = &node_ops;
    fs->node = node;
    return &fs->fs;
}

struct weir_fs *weir_fs_local_create(void)
{
    return weir_sim_fs_of_node();
}

void weir_fs_local_destroy(struct weir_fs *fs)
{
    weir_free(fs);
}

void weir_sim_fs_init(void)
{
    struct weir_error err;
    store.disk = weir_fs_sim_create();
    enum weir_rc rc = weir_fs_mkdirs(store.disk, "/ckpt", &err);
    weir_assert(rc == WEIR_OK);
}
