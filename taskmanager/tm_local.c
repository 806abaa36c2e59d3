#include "taskmanager/tm_local.h"

#include "common/base/mem.h"

#include <string.h>

enum { SWEEP_INTERVAL_MS = WEIR_LOCAL_RENEW_MS, CHECK_TRIES_MAX = 100 };

struct weir_tm_local {
    struct weir_tm_local_options options;
    struct weir_local_store *store; /* NULL: off */
    struct weir_tm_attempts *attempts;
    struct weir_timer timer;
};

/* A call of the store in the pool. */
struct local_job {
    struct weir_local_store *store;
    void (*call)(struct local_job *job);
    uint64_t checkpoint;
    char **ids;
    size_t nids;
};

static void call_commit(struct local_job *job)
{
    weir_local_store_commit(job->store, job->ids[0], job->checkpoint);
}

static void call_end(struct local_job *job)
{
    weir_local_store_end(job->store, job->ids[0]);
}

static void call_sweep(struct local_job *job)
{
    weir_local_store_sweep(job->store, (const char *const *)job->ids, job->nids);
}

static void call_first_sweep(struct local_job *job)
{
    weir_local_store_sweep_probes(job->store);
    call_sweep(job);
}

static void run(void *ctx)
{
    struct local_job *job = ctx;
    job->call(job);
}

static void job_destroy(void *ctx)
{
    struct local_job *job = ctx;
    for (size_t i = 0; i < job->nids; i++) {
        weir_free(job->ids[i]);
    }
    weir_free(job->ids);
    weir_free(job);
}

static struct local_job *job_create(struct weir_tm_local *local, void (*call)(struct local_job *), size_t ids_max)
{
    struct local_job *job = weir_calloc(1, sizeof(*job));
    job->store = local->store;
    job->call = call;
    job->ids = weir_calloc(ids_max, sizeof(*job->ids));
    return job;
}

/* What finds no room is not done: that costs space until the next time. */
static void submit_take(struct weir_tm_local *local, struct local_job *job)
{
    struct weir_pool_job work = {.run = run, .done = job_destroy, .drop = job_destroy, .ctx = job};
    if (weir_pool_submit(local->options.pool, work, local->options.mailbox) != WEIR_OK) {
        job_destroy(job);
    }
}

static void sweep(struct weir_tm_local *local, void (*call)(struct local_job *job))
{
    uint32_t ntasks = weir_tm_attempts_tasks(local->attempts);
    struct weir_tm_status *statuses = weir_calloc(ntasks, sizeof(*statuses));
    struct local_job *job = job_create(local, call, ntasks);
    weir_tm_attempts_status(local->attempts, statuses);
    for (uint32_t i = 0; i < ntasks; i++) {
        if (job->nids == 0 || strcmp(job->ids[job->nids - 1], statuses[i].job_id) != 0) {
            job->ids[job->nids++] = weir_strdup(statuses[i].job_id);
        }
    }
    weir_free(statuses);
    submit_take(local, job);
    weir_timers_add(local->options.timers, &local->timer, weir_clock_mono_ns(local->options.clock) + (int64_t)SWEEP_INTERVAL_MS * 1000000);
}

static void on_timer(void *ctx)
{
    sweep(ctx, call_sweep);
}

static enum weir_rc link_new_file(struct weir_fs *fs, const char *from, const char *to, struct weir_error *err)
{
    struct weir_fs_file *file = NULL;
    enum weir_rc rc = weir_fs_open(fs, from, WEIR_FS_CREATE, &file, err);
    weir_fs_close(file);
    rc = rc == WEIR_OK ? weir_fs_link(fs, from, to, err) : rc;
    return rc == WEIR_EXISTS ? WEIR_OK : rc; /* of another process that is starting */
}

/* Tries whether files of the tasks' stores can be linked to there. */
static enum weir_rc check_dir(struct weir_fs *fs, const char *tmp_dir, const char *dir, struct weir_error *err)
{
    struct weir_error why;
    static const char suffix[] = ".weir-probe-dirs"; /* the store sweeps what begins so */
    char *from = weir_strfmt("%s/%s-from", tmp_dir, suffix);
    char *to = weir_strfmt("%s/%s-to", dir, suffix);
    enum weir_rc rc = weir_fs_mkdirs(fs, dir, &why);
    if (rc == WEIR_OK) {
        uint32_t tries = 0;
        do {
            rc = link_new_file(fs, from, to, &why);
        } while (rc == WEIR_NOT_FOUND && ++tries < CHECK_TRIES_MAX); /* another process that is starting was done in between */
    }
    struct weir_error ignored; /* another one's, or gone already */
    (void)(weir_fs_unlink(fs, to, &ignored) == WEIR_OK);
    (void)(weir_fs_unlink(fs, from, &ignored) == WEIR_OK);
    if (rc != WEIR_OK) {
        rc = weir_error_set(err, WEIR_INVALID,
                            "execution.checkpointing.local-backup.dirs is %s: the copies are hard links, so it must be one directory on the file system of "
                            "taskmanager.tmp.dir (%s): %s",
                            dir, tmp_dir, why.text);
    }
    weir_free(from);
    weir_free(to);
    return rc;
}

enum weir_rc weir_tm_local_create(const struct weir_tm_local_options *options, struct weir_tm_local **out_local, struct weir_error *err)
{
    const struct weir_config *config = options->config;
    const char *tmp_dir = weir_config_string(config, WEIR_CFG_TM_TMP_DIR);
    const char *dir = weir_config_string(config, WEIR_CFG_LOCAL_BACKUP_DIRS);
    bool gives = weir_config_bool(config, WEIR_CFG_STATE_FROM_LOCAL);
    bool keeps = weir_config_is_set(config, WEIR_CFG_LOCAL_BACKUP) ? weir_config_bool(config, WEIR_CFG_LOCAL_BACKUP) : gives;
    bool on = gives || keeps;
    if (on && dir[0] != '\0') {
        enum weir_rc rc = check_dir(options->fs, tmp_dir, dir, err);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    struct weir_tm_local *local = weir_calloc(1, sizeof(*local));
    local->options = *options;
    local->timer = (struct weir_timer){.fire = on_timer, .ctx = local};
    local->store = !on ? NULL : weir_local_store_create(&(struct weir_local_store_options){
        .fs = options->fs,
        .clock = options->clock,
        .log = options->log,
        .dir = dir[0] == '\0' ? tmp_dir : dir,
        .cluster_id = weir_config_string(config, WEIR_CFG_CLUSTER_ID),
        .host = weir_config_string(config, WEIR_CFG_TM_HOST),
        .keeps = keeps,
        .gives = gives,
    });
    *out_local = local;
    return WEIR_OK;
}

void weir_tm_local_destroy(struct weir_tm_local *local)
{
    if (local != NULL) {
        weir_timers_cancel(local->options.timers, &local->timer);
        weir_local_store_destroy(local->store);
        weir_free(local);
    }
}

struct weir_local_store *weir_tm_local_store(struct weir_tm_local *local)
{
    return local->store;
}

void weir_tm_local_start(struct weir_tm_local *local, struct weir_tm_attempts *attempts)
{
    local->attempts = attempts;
    if (local->store != NULL) {
        sweep(local, call_first_sweep);
    }
}

static void submit_of_job(struct weir_tm_local *local, void (*call)(struct local_job *), const char *job_id, uint64_t checkpoint)
{
    struct local_job *job = job_create(local, call, 1);
    job->checkpoint = checkpoint;
    job->ids[job->nids++] = weir_strdup(job_id);
    submit_take(local, job);
}

void weir_tm_local_committed(struct weir_tm_local *local, const char *job_id, uint64_t checkpoint)
{
    if (local->store != NULL && weir_local_store_holding(local->store)) {
        submit_of_job(local, call_commit, job_id, checkpoint);
    }
}

void weir_tm_local_job_over(struct weir_tm_local *local, const char *job_id)
{
    if (local->store != NULL && weir_local_store_needed(local->store)) {
        submit_of_job(local, call_end, job_id, 0);
    }
}
