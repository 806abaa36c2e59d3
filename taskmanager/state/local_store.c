#include "taskmanager/state/local_store.h"

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/net/address.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum placement { PLACEMENT_UNKNOWN, PLACEMENT_SAME, PLACEMENT_OTHER };

enum { DEPTH_MAX = 2, JOB_BYTES_MAX = 128 };

static const char probe_prefix[] = ".weir-probe-";
static const char chk_prefix[] = "chk-";
static const char lease_prefix[] = "lease-";

struct weir_local_store {
    struct weir_fs *fs;
    const struct weir_clock *clock;
    const struct weir_log *log;
    char *dir;
    char *root;
    bool keeps, gives;
    _Atomic int placement; /* of checkpoints: enum placement */
    _Atomic bool holding;  /* copies were made, or found */
};

struct weir_local_store *weir_local_store_create(const struct weir_local_store_options *options)
{
    struct weir_local_store *store = weir_calloc(1, sizeof(*store));
    struct weir_buf name = {0};
    weir_url_put_encoded(&name, options->cluster_id, "");
    weir_buf_put_str(&name, "@");
    weir_url_put_encoded(&name, options->host, "");
    store->fs = options->fs;
    store->clock = options->clock;
    store->log = options->log;
    store->dir = weir_strdup(options->dir);
    store->root = weir_strfmt("%s/weir-local/%.*s", options->dir, (int)name.len, (const char *)name.data);
    store->keeps = options->keeps;
    store->gives = options->gives;
    atomic_init(&store->placement, PLACEMENT_UNKNOWN);
    atomic_init(&store->holding, false);
    weir_buf_fini(&name);
    return store;
}

void weir_local_store_destroy(struct weir_local_store *store)
{
    if (store != NULL) {
        weir_free(store->dir);
        weir_free(store->root);
        weir_free(store);
    }
}

bool weir_local_store_holding(const struct weir_local_store *store)
{
    return atomic_load_explicit(&store->holding, memory_order_relaxed);
}

bool weir_local_store_needed(const struct weir_local_store *store)
{
    return weir_local_store_holding(store) || atomic_load_explicit(&store->placement, memory_order_relaxed) != PLACEMENT_SAME;
}

static void hold(struct weir_local_store *store)
{
    atomic_store_explicit(&store->holding, true, memory_order_relaxed);
}

/* --- names ------------------------------------------------------------------------------------------------------------ */

/* Ids come from other processes, and directories of that name are removed. */
static bool fits_job(const char *job)
{
    size_t len = strlen(job);
    return len > 0 && len <= JOB_BYTES_MAX && strspn(job, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_") == len;
}

static char *job_path(const struct weir_local_store *store, const char *job)
{
    return weir_strfmt("%s/%s", store->root, job);
}

static char *chk_path(const struct weir_local_store *store, const char *job, uint64_t checkpoint)
{
    return weir_strfmt("%s/%s/%s%llu", store->root, job, chk_prefix, (unsigned long long)checkpoint);
}

static char *copy_path(const struct weir_local_store *store, const char *job, uint64_t checkpoint, struct weir_local_file file)
{
    return weir_strfmt("%s/%s/%s%llu/%llx-%016llx", store->root, job, chk_prefix, (unsigned long long)checkpoint, (unsigned long long)file.bytes,
                       (unsigned long long)file.hash);
}

/* The number behind the prefix; false when it is not such a name. */
static bool parse_name(const char *name, const char *prefix, uint64_t *out_number)
{
    size_t len = strlen(prefix);
    if (strncmp(name, prefix, len) != 0 || strspn(name + len, "0123456789") != strlen(name + len) || strlen(name + len) - 1 > 18) {
        return false;
    }
    *out_number = strtoull(name + len, NULL, 10);
    return true;
}

/* --- removing --------------------------------------------------------------------------------------------------------- */

/* Gone already: somebody else was as quick. What stays is swept. */
static void settle(const struct weir_local_store *store, enum weir_rc rc, const struct weir_error *err)
{
    if (rc != WEIR_OK && rc != WEIR_NOT_FOUND && rc != WEIR_EXISTS) {
        weir_log(store->log, WEIR_LOG_WARN, "local_copy_not_removed", "error", err->text, NULL);
    }
}

static void unlink_path(const struct weir_local_store *store, const char *path)
{
    struct weir_error err;
    enum weir_rc rc = weir_fs_unlink(store->fs, path, &err);
    settle(store, rc, &err);
}

static void unlink_at(const struct weir_local_store *store, const char *dir, const char *name)
{
    char *path = weir_strfmt("%s/%s", dir, name);
    unlink_path(store, path);
    weir_free(path);
}

/* A directory and what is in it; leases last, so that a part that stays is swept again. */
static void remove_tree(const struct weir_local_store *store, const char *path, int depth)
{
    struct weir_error err;
    struct weir_fs_names names = {0};
    bool listed = weir_fs_names_read(store->fs, path, &names, &err) == WEIR_OK;
    for (size_t i = 0; i < names.len; i++) {
        if (names.items[i].is_dir && depth < DEPTH_MAX) {
            char *below = weir_strfmt("%s/%s", path, names.items[i].name);
            remove_tree(store, below, depth + 1);
            weir_free(below);
        }
    }
    for (size_t i = 0; i < names.len; i++) {
        if (!names.items[i].is_dir) {
            unlink_at(store, path, names.items[i].name);
        }
    }
    weir_fs_names_fini(&names);
    if (listed) {
        enum weir_rc rc = weir_fs_rmdir(store->fs, path, &err);
        settle(store, rc, &err);
    }
}

static void remove_checkpoint(const struct weir_local_store *store, const char *job, uint64_t checkpoint)
{
    char *path = chk_path(store, job, checkpoint);
    remove_tree(store, path, 1);
    weir_free(path);
}

/* --- a job's directory ------------------------------------------------------------------------------------------------ */

struct listing {
    bool found;
    uint64_t *chks;
    size_t nchks, cap;
    uint64_t lease_ms; /* the newest; 0: none */
    struct weir_fs_names names;
};

static bool is_lease(const struct weir_fs_name *entry, uint64_t *out_ms)
{
    return !entry->is_dir && parse_name(entry->name, lease_prefix, out_ms);
}

static struct listing list_job(const struct weir_local_store *store, const char *job)
{
    struct weir_error ignored; /* none, or none that can be looked at */
    struct listing listing = {0};
    char *path = job_path(store, job);
    listing.found = weir_fs_names_read(store->fs, path, &listing.names, &ignored) == WEIR_OK;
    for (size_t i = 0; i < listing.names.len; i++) {
        const struct weir_fs_name *entry = &listing.names.items[i];
        uint64_t number = 0;
        if (entry->is_dir && parse_name(entry->name, chk_prefix, &number)) {
            listing.chks = weir_vec_grow(listing.chks, &listing.cap, sizeof(*listing.chks), listing.nchks + 1);
            listing.chks[listing.nchks++] = number;
        } else if (is_lease(entry, &number)) {
            listing.lease_ms = number > listing.lease_ms ? number : listing.lease_ms;
        }
    }
    weir_free(path);
    return listing;
}

static void listing_fini(struct listing *listing)
{
    weir_free(listing->chks);
    weir_fs_names_fini(&listing->names);
}

/* A lease of now in place of those listed. */
static void write_lease(const struct weir_local_store *store, const char *job, const struct listing *listing, uint64_t now_ms)
{
    struct weir_error err;
    struct weir_fs_file *file = NULL;
    char *dir = job_path(store, job);
    char *path = weir_strfmt("%s/%s%llu", dir, lease_prefix, (unsigned long long)now_ms);
    enum weir_rc rc = weir_fs_open(store->fs, path, WEIR_FS_CREATE, &file, &err);
    weir_fs_close(file);
    for (size_t i = 0; rc == WEIR_OK && i < listing->names.len; i++) {
        uint64_t of = 0;
        if (is_lease(&listing->names.items[i], &of) && of != now_ms) {
            unlink_at(store, dir, listing->names.items[i].name);
        }
    }
    if (rc != WEIR_OK) {
        weir_log(store->log, WEIR_LOG_WARN, "local_copies_lease_not_renewed", "job", job, "error", err.text, NULL);
    }
    weir_free(path);
    weir_free(dir);
}

/* What says a time to come was written before the clock was set back. */
static void renew_lease(const struct weir_local_store *store, const char *job, const struct listing *listing)
{
    uint64_t now_ms = (uint64_t)weir_clock_wall_ms(store->clock);
    if (listing->lease_ms > now_ms || now_ms - listing->lease_ms > WEIR_LOCAL_RENEW_MS) {
        write_lease(store, job, listing, now_ms);
    }
}

/* --- keeping ---------------------------------------------------------------------------------------------------------- */

/* Whether a checkpoint's file can be linked to here, as a restore would. */
static void probe(struct weir_local_store *store, uint64_t checkpoint, const char *in_checkpoint)
{
    struct weir_error err;
    const char *name = strrchr(in_checkpoint, '/') == NULL ? in_checkpoint : strrchr(in_checkpoint, '/') + 1;
    char *to = weir_strfmt("%s/%s%llu-%s", store->dir, probe_prefix, (unsigned long long)checkpoint, name);
    enum weir_rc rc = weir_fs_link(store->fs, in_checkpoint, to, &err);
    if (rc == WEIR_OK || rc == WEIR_EXISTS) { /* exists: of a process that died between these two lines */
        unlink_path(store, to);
        atomic_store_explicit(&store->placement, PLACEMENT_SAME, memory_order_relaxed);
    } else if (rc == WEIR_INVALID) {
        atomic_store_explicit(&store->placement, PLACEMENT_OTHER, memory_order_relaxed);
    }
    weir_free(to);
}

static int by_number(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* (L4) The oldest is the one that is committed, as far as was heard. */
static void bound_pending(const struct weir_local_store *store, const char *job, const struct listing *listing)
{
    if (listing->nchks > 1 + WEIR_LOCAL_PENDING_MAX) {
        qsort(listing->chks, listing->nchks, sizeof(*listing->chks), by_number);
        for (size_t i = 1; i < listing->nchks - WEIR_LOCAL_PENDING_MAX; i++) {
            remove_checkpoint(store, job, listing->chks[i]);
        }
    }
}

static void complain(const struct weir_local_store *store, const char *job, uint64_t checkpoint, const struct weir_error *err)
{
    weir_log(store->log, WEIR_LOG_WARN, "local_copies_not_kept", "job", job, "checkpoint", WEIR_LOG_INT(checkpoint), "error", err->text, NULL);
}

bool weir_local_store_begin(struct weir_local_store *store, const char *job, uint64_t checkpoint, const char *in_checkpoint)
{
    if (!store->keeps || !fits_job(job)) {
        return false;
    }
    if (atomic_load_explicit(&store->placement, memory_order_relaxed) == PLACEMENT_UNKNOWN) {
        probe(store, checkpoint, in_checkpoint);
    }
    if (atomic_load_explicit(&store->placement, memory_order_relaxed) != PLACEMENT_OTHER) {
        return false;
    }
    struct weir_error err;
    hold(store);
    char *path = chk_path(store, job, checkpoint);
    enum weir_rc rc = weir_fs_mkdirs(store->fs, path, &err);
    weir_free(path);
    if (rc != WEIR_OK) {
        complain(store, job, checkpoint, &err);
        return false;
    }
    struct listing listing = list_job(store, job);
    renew_lease(store, job, &listing);
    bound_pending(store, job, &listing);
    listing_fini(&listing);
    return true;
}

bool weir_local_store_put(struct weir_local_store *store, const char *job, uint64_t checkpoint, struct weir_local_file file, const char *path)
{
    struct weir_error err;
    struct weir_fs_stat stat;
    char *to = copy_path(store, job, checkpoint, file);
    enum weir_rc rc = weir_fs_link(store->fs, path, to, &err);
    if (rc == WEIR_EXISTS) {
        rc = weir_fs_stat(store->fs, to, &stat, &err);
        if (rc == WEIR_OK && stat.bytes != file.bytes) { /* cut off by a crash of the machine */
            rc = weir_fs_unlink(store->fs, to, &err);
            rc = rc == WEIR_OK ? weir_fs_link(store->fs, path, to, &err) : rc;
        }
    }
    weir_free(to);
    if (rc != WEIR_OK) {
        complain(store, job, checkpoint, &err);
    }
    return rc == WEIR_OK;
}

/* --- giving ----------------------------------------------------------------------------------------------------------- */

enum weir_rc weir_local_store_take(struct weir_local_store *store, const char *job, uint64_t checkpoint, struct weir_local_file file, const char *to,
                                   struct weir_error *err)
{
    if (!store->gives || !fits_job(job)) {
        return weir_error_set(err, WEIR_NOT_FOUND, "no local copies are taken");
    }
    char *path = copy_path(store, job, checkpoint, file);
    enum weir_rc rc = weir_fs_link(store->fs, path, to, err);
    weir_free(path);
    return rc;
}

void weir_local_store_discard(struct weir_local_store *store, const char *job, uint64_t checkpoint, struct weir_local_file file)
{
    if (fits_job(job)) {
        char *path = copy_path(store, job, checkpoint, file);
        unlink_path(store, path);
        weir_free(path);
    }
}

/* --- the end of things ------------------------------------------------------------------------------------------------ */

void weir_local_store_commit(struct weir_local_store *store, const char *job, uint64_t checkpoint)
{
    if (!fits_job(job)) {
        return;
    }
    struct listing listing = list_job(store, job);
    for (size_t i = 0; i < listing.nchks; i++) {
        if (listing.chks[i] < checkpoint) {
            remove_checkpoint(store, job, listing.chks[i]);
        }
    }
    if (listing.found) {
        renew_lease(store, job, &listing);
    }
    listing_fini(&listing);
}

void weir_local_store_end(struct weir_local_store *store, const char *job)
{
    if (fits_job(job)) {
        char *path = job_path(store, job);
        remove_tree(store, path, 0);
        weir_free(path);
    }
}

static void sweep_job(struct weir_local_store *store, const char *job, bool held)
{
    uint64_t now_ms = (uint64_t)weir_clock_wall_ms(store->clock);
    struct listing listing = list_job(store, job);
    if (held) {
        renew_lease(store, job, &listing);
    } else if (listing.lease_ms == 0 || listing.lease_ms > now_ms) { /* it is just being made; or the clock was set back */
        write_lease(store, job, &listing, now_ms);
    } else if (now_ms - listing.lease_ms > WEIR_LOCAL_LEASE_MS) {
        weir_log(store->log, WEIR_LOG_INFO, "local_copies_swept", "job", job, NULL);
        weir_local_store_end(store, job);
    }
    listing_fini(&listing);
}

void weir_local_store_sweep_probes(struct weir_local_store *store)
{
    struct weir_error ignored;
    struct weir_fs_names names = {0};
    (void)(weir_fs_names_read(store->fs, store->dir, &names, &ignored) == WEIR_OK);
    for (size_t i = 0; i < names.len; i++) {
        if (!names.items[i].is_dir && strncmp(names.items[i].name, probe_prefix, sizeof(probe_prefix) - 1) == 0) {
            unlink_at(store, store->dir, names.items[i].name);
        }
    }
    weir_fs_names_fini(&names);
}

void weir_local_store_sweep(struct weir_local_store *store, const char *const *jobs, size_t njobs)
{
    struct weir_error ignored;
    struct weir_fs_names names = {0};
    if (weir_fs_names_read(store->fs, store->root, &names, &ignored) == WEIR_OK) {
        for (size_t i = 0; i < names.len; i++) {
            const char *job = names.items[i].name;
            bool held = false;
            for (size_t k = 0; k < njobs; k++) {
                held = held || strcmp(job, jobs[k]) == 0;
            }
            if (names.items[i].is_dir && fits_job(job)) {
                hold(store);
                sweep_job(store, job, held);
            }
        }
    }
    weir_fs_names_fini(&names);
}
