#include "common/fs/fs_sim.h"

#include "common/base/assert.h"
#include "common/base/buf.h"
#include "common/base/hmap.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/base/vec.h"
#include "common/runtime/sync.h"

#include <stdlib.h>

/* A file or directory, whatever its names. */
struct inode {
    uint32_t refs; /* names, pending changes, open files */
    bool is_dir;
    struct weir_buf live;
    struct weir_buf synced;
    size_t same_bytes; /* of live's beginning, as in synced */
};

/* A change of names that a crash may lose. */
struct change {
    struct weir_list node;
    char *remove; /* or NULL */
    char *set;    /* or NULL */
    struct inode *inode;
};

struct sim {
    struct weir_fs fs; /* first member */
    struct weir_mutex mutex; /* guards everything, the files too */
    struct weir_hmap *live;    /* path to inode */
    struct weir_hmap *durable;
    struct weir_list changes; /* oldest first */
    uint64_t crashes;
    struct weir_fs_sim_fault fault;
    bool failed;
    uint64_t room; /* bytes that can still be appended */
};

struct sim_file {
    struct weir_fs_file file; /* first member */
    struct sim *sim;
    struct inode *inode;
    uint64_t crashes; /* when it was opened */
    bool writable;
    char *path;
};

static struct sim *sim_of(struct weir_fs *fs)
{
    return (struct sim *)fs;
}

static struct sim_file *file_of(struct weir_fs_file *file)
{
    return (struct sim_file *)file;
}

/* --- inodes and names ------------------------------------------------------------------------------------------------ */

static void inode_unref(struct inode *inode)
{
    if (inode == NULL) {
        return;
    }
    weir_assert(inode->refs > 0);
    inode->refs--;
    if (inode->refs == 0) {
        weir_buf_fini(&inode->live);
        weir_buf_fini(&inode->synced);
        weir_free(inode);
    }
}

static struct inode *name_get(const struct weir_hmap *names, const char *path)
{
    return weir_hmap_get(names, weir_slice_str(path));
}

static void name_set(struct weir_hmap *names, const char *path, struct inode *inode)
{
    inode->refs++;
    inode_unref(weir_hmap_put(names, weir_slice_str(path), inode));
}

static void name_remove(struct weir_hmap *names, const char *path)
{
    inode_unref(weir_hmap_remove(names, weir_slice_str(path)));
}

static void names_destroy(struct weir_hmap *names)
{
    struct weir_hmap_iter it = {0};
    while (weir_hmap_next(names, &it)) {
        inode_unref(it.value);
    }
    weir_hmap_destroy(names);
}

static void apply(struct weir_hmap *names, const struct change *change)
{
    if (change->remove != NULL) {
        name_remove(names, change->remove);
    }
    if (change->set != NULL) {
        name_set(names, change->set, change->inode);
    }
}

static void change_destroy(struct change *change)
{
    weir_list_remove(&change->node);
    inode_unref(change->inode);
    weir_free(change->remove);
    weir_free(change->set);
    weir_free(change);
}

static void change_names(struct sim *sim, const char *remove, const char *set, struct inode *inode)
{
    struct change *change = weir_calloc(1, sizeof(*change));
    change->remove = remove == NULL ? NULL : weir_strdup(remove);
    change->set = set == NULL ? NULL : weir_strdup(set);
    change->inode = inode;
    if (inode != NULL) {
        inode->refs++;
    }
    weir_list_push_back(&sim->changes, &change->node);
    apply(sim->live, change);
}

static bool path_in(const char *path, const char *dir)
{
    if (path == NULL) {
        return false;
    }
    char *parent = weir_fs_dirname_copy(path);
    bool in = strcmp(parent, dir) == 0;
    weir_free(parent);
    return in;
}

static void dir_sync(struct sim *sim, const char *dir)
{
    for (struct weir_list *node = weir_list_first(&sim->changes), *next; node != NULL; node = next) {
        next = weir_list_next(&sim->changes, node);
        struct change *change = WEIR_CONTAINER_OF(node, struct change, node);
        if (path_in(change->remove, dir) || path_in(change->set, dir)) {
            apply(sim->durable, change);
            change_destroy(change);
        }
    }
}

/* --- faults ---------------------------------------------------------------------------------------------------------- */

/* Takes the lock; true when this call is to fail, with err filled. */
static bool begin_fails(struct sim *sim, const char *path, struct weir_error *err)
{
    weir_mutex_lock(&sim->mutex);
    struct weir_fs_sim_fault *fault = &sim->fault;
    if (fault->nth != 1) {
        fault->nth -= fault->nth == 0 ? 0 : 1;
        return false;
    }
    sim->failed = true;
    enum weir_rc rc = weir_error_set(err, fault->rc, "%s: simulated fault", path);
    if (!fault->lasting) {
        fault->nth = 0;
    }
    return rc != WEIR_OK;
}

static enum weir_rc end(struct sim *sim, enum weir_rc rc)
{
    weir_mutex_unlock(&sim->mutex);
    return rc;
}

static enum weir_rc no_room(const char *path, struct weir_error *err)
{
    return weir_error_set(err, WEIR_RESOURCE, "%s: no space left on the simulated disk", path);
}

/* The same for a call on an open file. */
static bool begin_file_fails(struct sim_file *file, struct weir_error *err)
{
    if (begin_fails(file->sim, file->path, err)) {
        return true;
    }
    if (file->crashes != file->sim->crashes) {
        return weir_error_set(err, WEIR_IO, "%s: was open when the machine crashed", file->path) != WEIR_OK;
    }
    return false;
}

static enum weir_rc dir_check(const struct sim *sim, const char *path, struct weir_error *err)
{
    char *parent = weir_fs_dirname_copy(path);
    const struct inode *dir = name_get(sim->live, parent);
    enum weir_rc rc = WEIR_OK;
    if (dir == NULL) {
        rc = weir_error_set(err, WEIR_NOT_FOUND, "%s: no such directory as %s", path, parent);
    } else if (!dir->is_dir) {
        rc = weir_error_set(err, WEIR_INVALID, "%s: %s is a file", path, parent);
    }
    weir_free(parent);
    return rc;
}

/* --- the vtable ------------------------------------------------------------------------------------------------------ */

static enum weir_rc open_locked(struct sim *sim, const char *path, enum weir_fs_mode mode, struct inode **out_inode,
                                struct weir_error *err)
{
    struct inode *inode = name_get(sim->live, path);
    if (inode != NULL && inode->is_dir) {
        return weir_error_set(err, WEIR_INVALID, "%s is a directory", path);
    }
    if (inode == NULL) {
        if (mode == WEIR_FS_READ) {
            return weir_error_set(err, WEIR_NOT_FOUND, "%s: no such file", path);
        }
        enum weir_rc rc = dir_check(sim, path, err);
        rc = rc == WEIR_OK && sim->room == 0 ? no_room(path, err) : rc;
        if (rc != WEIR_OK) {
            return rc;
        }
        inode = weir_calloc(1, sizeof(*inode));
        change_names(sim, NULL, path, inode);
    } else if (mode == WEIR_FS_CREATE_NEW) {
        return weir_error_set(err, WEIR_EXISTS, "%s exists", path);
    } else if (mode == WEIR_FS_CREATE) {
        weir_buf_clear(&inode->live);
        inode->same_bytes = 0;
    }
    *out_inode = inode;
    return WEIR_OK;
}

static enum weir_rc sim_open(struct weir_fs *fs, const char *path, enum weir_fs_mode mode, struct weir_fs_file **out_file,
                             struct weir_error *err)
{
    struct sim *sim = sim_of(fs);
    if (begin_fails(sim, path, err)) {
        return end(sim, err->rc);
    }
    struct inode *inode = NULL;
    enum weir_rc rc = open_locked(sim, path, mode, &inode, err);
    if (rc == WEIR_OK) {
        struct sim_file *file = weir_malloc(sizeof(*file));
        *file = (struct sim_file){.file = {.ops = fs->ops}, .sim = sim, .inode = inode, .crashes = sim->crashes,
                                  .writable = mode != WEIR_FS_READ, .path = weir_strdup(path)};
        weir_assert(inode != NULL);
        inode->refs++;
        *out_file = &file->file;
    }
    return end(sim, rc);
}

static enum weir_rc sim_append(struct weir_fs_file *file, struct weir_slice bytes, struct weir_error *err)
{
    struct sim_file *f = file_of(file);
    weir_assert(f->writable);
    enum weir_rc rc = begin_file_fails(f, err) ? err->rc : WEIR_OK;
    size_t len = rc != WEIR_OK ? bytes.len / 2 : bytes.len;
    if (rc == WEIR_OK && len > f->sim->room) {
        len = (size_t)f->sim->room;
        rc = no_room(f->path, err);
    }
    if (f->crashes == f->sim->crashes) {
        weir_buf_put(&f->inode->live, bytes.data, len);
        f->sim->room -= f->sim->room == UINT64_MAX || len > f->sim->room ? 0 : len;
    }
    return end(f->sim, rc);
}

static enum weir_rc sim_pread(struct weir_fs_file *file, uint64_t offset, void *to, size_t bytes_max, size_t *out_bytes,
                              struct weir_error *err)
{
    struct sim_file *f = file_of(file);
    if (begin_file_fails(f, err)) {
        return end(f->sim, err->rc);
    }
    size_t len = f->inode->live.len;
    size_t got = offset >= len ? 0 : len - (size_t)offset;
    got = got < bytes_max ? got : bytes_max;
    if (got > 0) {
        memcpy(to, f->inode->live.data + offset, got);
    }
    *out_bytes = got;
    return end(f->sim, WEIR_OK);
}

static enum weir_rc sim_fsync(struct weir_fs_file *file, struct weir_error *err)
{
    struct sim_file *f = file_of(file);
    if (begin_file_fails(f, err)) {
        return end(f->sim, err->rc);
    }
    struct inode *inode = f->inode;
    inode->synced.len = inode->same_bytes;
    weir_buf_put(&inode->synced, inode->live.data + inode->same_bytes, inode->live.len - inode->same_bytes);
    inode->same_bytes = inode->live.len;
    return end(f->sim, WEIR_OK);
}

static enum weir_rc sim_truncate(struct weir_fs_file *file, uint64_t bytes, struct weir_error *err)
{
    struct sim_file *f = file_of(file);
    weir_assert(f->writable);
    if (begin_file_fails(f, err)) {
        return end(f->sim, err->rc);
    }
    struct inode *inode = f->inode;
    if (bytes > inode->live.len) {
        return end(f->sim, weir_error_set(err, WEIR_INVALID, "%s: cannot be cut beyond its end", f->path));
    }
    inode->live.len = (size_t)bytes;
    inode->same_bytes = inode->same_bytes < inode->live.len ? inode->same_bytes : inode->live.len;
    return end(f->sim, WEIR_OK);
}

static enum weir_rc sim_size(struct weir_fs_file *file, uint64_t *out_bytes, struct weir_error *err)
{
    struct sim_file *f = file_of(file);
    if (begin_file_fails(f, err)) {
        return end(f->sim, err->rc);
    }
    *out_bytes = f->inode->live.len;
    return end(f->sim, WEIR_OK);
}

static void sim_close(struct weir_fs_file *file_take)
{
    struct sim_file *f = file_of(file_take);
    struct sim *sim = f->sim;
    weir_mutex_lock(&sim->mutex);
    inode_unref(f->inode);
    weir_free(f->path);
    weir_free(f);
    weir_mutex_unlock(&sim->mutex);
}

static enum weir_rc sim_rename(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err)
{
    struct sim *sim = sim_of(fs);
    if (begin_fails(sim, from, err)) {
        return end(sim, err->rc);
    }
    struct inode *inode = name_get(sim->live, from);
    const struct inode *old = name_get(sim->live, to);
    enum weir_rc rc = WEIR_OK;
    if (inode == NULL) {
        rc = weir_error_set(err, WEIR_NOT_FOUND, "%s: no such file", from);
    } else if (inode->is_dir || (old != NULL && old->is_dir)) {
        rc = weir_error_set(err, WEIR_INVALID, "%s to %s: directories cannot be renamed here", from, to);
    } else {
        rc = dir_check(sim, to, err);
    }
    if (rc == WEIR_OK && inode != old) { /* two names of one file: POSIX does nothing */
        change_names(sim, from, to, inode);
    }
    return end(sim, rc);
}

static enum weir_rc sim_link(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err)
{
    struct sim *sim = sim_of(fs);
    if (begin_fails(sim, to, err)) {
        return end(sim, err->rc);
    }
    struct inode *inode = name_get(sim->live, from);
    enum weir_rc rc = WEIR_OK;
    if (inode == NULL) {
        rc = weir_error_set(err, WEIR_NOT_FOUND, "%s: no such file", from);
    } else if (inode->is_dir) {
        rc = weir_error_set(err, WEIR_REFUSED, "%s is a directory", from);
    } else if (name_get(sim->live, to) != NULL) {
        rc = weir_error_set(err, WEIR_EXISTS, "%s exists", to);
    } else {
        rc = dir_check(sim, to, err);
        rc = rc == WEIR_OK && sim->room == 0 ? no_room(to, err) : rc;
    }
    if (rc == WEIR_OK) {
        change_names(sim, NULL, to, inode);
    }
    return end(sim, rc);
}

static enum weir_rc sim_unlink(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    struct sim *sim = sim_of(fs);
    if (begin_fails(sim, path, err)) {
        return end(sim, err->rc);
    }
    const struct inode *inode = name_get(sim->live, path);
    if (inode == NULL) {
        return end(sim, weir_error_set(err, WEIR_NOT_FOUND, "%s: no such file", path));
    }
    if (inode->is_dir) {
        return end(sim, weir_error_set(err, WEIR_INVALID, "%s is a directory", path));
    }
    change_names(sim, path, NULL, NULL);
    return end(sim, WEIR_OK);
}

static enum weir_rc mkdirs_locked(struct sim *sim, const char *path, struct weir_error *err)
{
    const struct inode *there = name_get(sim->live, path);
    if (there != NULL) {
        return there->is_dir ? WEIR_OK : weir_error_set(err, WEIR_INVALID, "%s is a file", path);
    }
    char *parent = weir_fs_dirname_copy(path);
    enum weir_rc rc = mkdirs_locked(sim, parent, err);
    rc = rc == WEIR_OK && sim->room == 0 ? no_room(path, err) : rc;
    if (rc == WEIR_OK) {
        struct inode *inode = weir_calloc(1, sizeof(*inode));
        inode->is_dir = true;
        change_names(sim, NULL, path, inode);
        dir_sync(sim, parent);
    }
    weir_free(parent);
    return rc;
}

static enum weir_rc sim_mkdirs(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    struct sim *sim = sim_of(fs);
    if (begin_fails(sim, path, err)) {
        return end(sim, err->rc);
    }
    return end(sim, mkdirs_locked(sim, path, err));
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The last parts of the names in a directory, in order; the caller frees each and the array. */
static char **names_in(const struct sim *sim, const char *dir, size_t *out_count)
{
    char **names = NULL;
    size_t count = 0;
    size_t cap = 0;
    struct weir_hmap_iter it = {0};
    while (weir_hmap_next(sim->live, &it)) {
        char *path = weir_strndup(it.key.data, it.key.len);
        if (strcmp(path, dir) != 0 && strcmp(path, ".") != 0 && path_in(path, dir)) {
            const char *slash = strrchr(path, '/');
            names = weir_vec_grow(names, &cap, sizeof(*names), count + 1);
            names[count++] = weir_strdup(slash == NULL ? path : slash + 1);
        }
        weir_free(path);
    }
    if (count > 0) {
        qsort(names, count, sizeof(*names), by_bytes);
    }
    *out_count = count;
    return names;
}

static void names_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        weir_free(names[i]);
    }
    weir_free(names);
}

static enum weir_rc need_dir(const struct sim *sim, const char *path, struct weir_error *err)
{
    const struct inode *dir = name_get(sim->live, path);
    if (dir == NULL) {
        return weir_error_set(err, WEIR_NOT_FOUND, "%s: no such directory", path);
    }
    return dir->is_dir ? WEIR_OK : weir_error_set(err, WEIR_INVALID, "%s is a file", path);
}

static enum weir_rc sim_rmdir(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    struct sim *sim = sim_of(fs);
    if (begin_fails(sim, path, err)) {
        return end(sim, err->rc);
    }
    enum weir_rc rc = need_dir(sim, path, err);
    if (rc != WEIR_OK) {
        return end(sim, rc);
    }
    size_t count = 0;
    char **names = names_in(sim, path, &count);
    names_free(names, count);
    if (count > 0) {
        return end(sim, weir_error_set(err, WEIR_EXISTS, "%s is not empty", path));
    }
    change_names(sim, path, NULL, NULL);
    return end(sim, WEIR_OK);
}

static enum weir_rc sim_list(struct weir_fs *fs, const char *path, weir_fs_list_fn *each, void *ctx, struct weir_error *err)
{
    struct sim *sim = sim_of(fs);
    if (begin_fails(sim, path, err)) {
        return end(sim, err->rc);
    }
    enum weir_rc rc = need_dir(sim, path, err);
    if (rc != WEIR_OK) {
        return end(sim, rc);
    }
    size_t count = 0;
    char **names = names_in(sim, path, &count);
    bool *dirs = weir_calloc(count + 1, sizeof(*dirs));
    for (size_t i = 0; i < count; i++) {
        char *full = strcmp(path, ".") == 0   ? weir_strdup(names[i])
                     : strcmp(path, "/") == 0 ? weir_strfmt("/%s", names[i])
                                              : weir_strfmt("%s/%s", path, names[i]);
        dirs[i] = name_get(sim->live, full)->is_dir;
        weir_free(full);
    }
    weir_mutex_unlock(&sim->mutex); /* each() may read files */
    for (size_t i = 0; i < count; i++) {
        each(ctx, names[i], dirs[i]);
    }
    names_free(names, count);
    weir_free(dirs);
    return WEIR_OK;
}

static enum weir_rc sim_stat(struct weir_fs *fs, const char *path, struct weir_fs_stat *out_stat, struct weir_error *err)
{
    struct sim *sim = sim_of(fs);
    if (begin_fails(sim, path, err)) {
        return end(sim, err->rc);
    }
    const struct inode *inode = name_get(sim->live, path);
    if (inode == NULL) {
        return end(sim, weir_error_set(err, WEIR_NOT_FOUND, "%s: no such file", path));
    }
    *out_stat = (struct weir_fs_stat){.bytes = inode->live.len, .is_dir = inode->is_dir};
    return end(sim, WEIR_OK);
}

static enum weir_rc sim_fsync_dir(struct weir_fs *fs, const char *path, struct weir_error *err)
{
    struct sim *sim = sim_of(fs);
    if (begin_fails(sim, path, err)) {
        return end(sim, err->rc);
    }
    enum weir_rc rc = need_dir(sim, path, err);
    if (rc == WEIR_OK) {
        dir_sync(sim, path);
    }
    return end(sim, rc);
}

static const struct weir_fs_ops sim_ops = {
    .open = sim_open,
    .append = sim_append,
    .pread = sim_pread,
    .fsync = sim_fsync,
    .truncate = sim_truncate,
    .size = sim_size,
    .close = sim_close,
    .rename = sim_rename,
    .link = sim_link,
    .unlink = sim_unlink,
    .mkdirs = sim_mkdirs,
    .rmdir = sim_rmdir,
    .list = sim_list,
    .stat = sim_stat,
    .fsync_dir = sim_fsync_dir,
};

/* --- the test's side ------------------------------------------------------------------------------------------------- */

struct weir_fs *weir_fs_sim_create(void)
{
    struct sim *sim = weir_calloc(1, sizeof(*sim));
    sim->fs.ops = &sim_ops;
    sim->room = UINT64_MAX;
    weir_mutex_init(&sim->mutex);
    sim->live = weir_hmap_create(0);
    sim->durable = weir_hmap_create(0);
    weir_list_init(&sim->changes);
    static const char *const roots[] = {"/", "."};
    for (size_t i = 0; i < 2; i++) {
        struct inode *inode = weir_calloc(1, sizeof(*inode));
        inode->is_dir = true;
        name_set(sim->live, roots[i], inode);
        name_set(sim->durable, roots[i], inode);
    }
    return &sim->fs;
}

void weir_fs_sim_destroy(struct weir_fs *fs)
{
    if (fs == NULL) {
        return;
    }
    struct sim *sim = sim_of(fs);
    while (!weir_list_empty(&sim->changes)) {
        change_destroy(WEIR_CONTAINER_OF(weir_list_first(&sim->changes), struct change, node));
    }
    names_destroy(sim->live);
    names_destroy(sim->durable);
    weir_mutex_fini(&sim->mutex);
    weir_free(sim);
}

/* What the disk kept of a file's bytes. */
static void inode_crash(struct inode *inode, struct weir_rand *rand)
{
    bool older = inode->same_bytes < inode->synced.len && weir_rand_below(rand, 2) == 0; /* the cut was lost */
    if (older || inode->live.len == inode->same_bytes) {
        struct weir_buf *kept = older ? &inode->synced : &inode->live;
        struct weir_buf copy = {0};
        weir_buf_put(&copy, kept->data, kept->len);
        weir_buf_fini(&inode->live);
        inode->live = copy;
    } else {
        size_t tail = inode->live.len - inode->same_bytes;
        size_t kept = (size_t)weir_rand_below(rand, tail + 1);
        inode->live.len = inode->same_bytes + kept;
        if (kept > 0 && weir_rand_below(rand, 4) == 0) { /* the size arrived before the last blocks did */
            size_t zeros = 1 + (size_t)weir_rand_below(rand, kept);
            memset(inode->live.data + inode->live.len - zeros, 0, zeros);
        }
    }
    inode->synced.len = 0;
    weir_buf_put(&inode->synced, inode->live.data, inode->live.len);
    inode->same_bytes = inode->live.len;
}

void weir_fs_sim_lose(struct weir_fs_file *file, uint64_t seed)
{
    struct sim_file *f = file_of(file);
    struct weir_rand rand;
    weir_rand_init(&rand, seed);
    weir_mutex_lock(&f->sim->mutex);
    inode_crash(f->inode, &rand);
    weir_mutex_unlock(&f->sim->mutex);
}

/* Whether one of the change's directories has already lost one; else marks them when this one is lost. */
static bool change_is_lost(const struct change *change, struct weir_hmap *stopped, struct weir_rand *rand)
{
    char *dirs[2] = {change->remove == NULL ? NULL : weir_fs_dirname_copy(change->remove),
                     change->set == NULL ? NULL : weir_fs_dirname_copy(change->set)};
    bool lost = weir_rand_below(rand, 4) == 0;
    for (size_t i = 0; i < 2; i++) {
        lost = lost || (dirs[i] != NULL && weir_hmap_get(stopped, weir_slice_str(dirs[i])) != NULL);
    }
    for (size_t i = 0; i < 2; i++) {
        if (lost && dirs[i] != NULL) {
            (void)weir_hmap_put(stopped, weir_slice_str(dirs[i]), stopped);
        }
        weir_free(dirs[i]);
    }
    return lost;
}

void weir_fs_sim_crash(struct weir_fs *fs, uint64_t seed)
{
    struct sim *sim = sim_of(fs);
    struct weir_rand rand;
    weir_rand_init(&rand, seed);
    weir_mutex_lock(&sim->mutex);
    sim->crashes++;
    struct weir_hmap *stopped = weir_hmap_create(0);
    while (!weir_list_empty(&sim->changes)) {
        struct change *change = WEIR_CONTAINER_OF(weir_list_first(&sim->changes), struct change, node);
        if (!change_is_lost(change, stopped, &rand)) {
            apply(sim->durable, change);
        }
        change_destroy(change);
    }
    weir_hmap_destroy(stopped);
    names_destroy(sim->live);
    sim->live = weir_hmap_create(0);
    struct weir_hmap_iter it = {0};
    while (weir_hmap_next(sim->durable, &it)) {
        struct inode *inode = it.value;
        weir_assert(weir_hmap_get(sim->live, it.key) == NULL);
        inode->refs++;
        (void)weir_hmap_put(sim->live, it.key, inode);
        if (!inode->is_dir) {
            inode_crash(inode, &rand);
        }
    }
    weir_mutex_unlock(&sim->mutex);
}

/* By a change that a crash may lose. */
static bool is_named(const struct sim *sim, const char *path)
{
    for (struct weir_list *node = weir_list_first(&sim->changes); node != NULL; node = weir_list_next(&sim->changes, node)) {
        const struct change *change = WEIR_CONTAINER_OF(node, struct change, node);
        if ((change->remove != NULL && strcmp(change->remove, path) == 0) || (change->set != NULL && strcmp(change->set, path) == 0)) {
            return true;
        }
    }
    return false;
}

bool weir_fs_sim_is_durable(struct weir_fs *fs, const char *path)
{
    struct sim *sim = sim_of(fs);
    weir_mutex_lock(&sim->mutex);
    const struct inode *inode = name_get(sim->durable, path);
    bool durable = inode != NULL && inode == name_get(sim->live, path) && !is_named(sim, path) && inode->same_bytes == inode->live.len &&
                   inode->synced.len == inode->live.len;
    weir_mutex_unlock(&sim->mutex);
    return durable;
}

void weir_fs_sim_fail(struct weir_fs *fs, struct weir_fs_sim_fault fault)
{
    struct sim *sim = sim_of(fs);
    weir_mutex_lock(&sim->mutex);
    sim->fault = fault;
    sim->failed = false;
    weir_mutex_unlock(&sim->mutex);
}

void weir_fs_sim_room(struct weir_fs *fs, uint64_t bytes)
{
    struct sim *sim = sim_of(fs);
    weir_mutex_lock(&sim->mutex);
    sim->room = bytes;
    weir_mutex_unlock(&sim->mutex);
}

bool weir_fs_sim_failed(struct weir_fs *fs)
{
    struct sim *sim = sim_of(fs);
    weir_mutex_lock(&sim->mutex);
    bool failed = sim->failed;
    weir_mutex_unlock(&sim->mutex);
    return failed;
}
