/* The checkpoint store: effects to work on the pool, and its results back to the dispatcher. */
#include <stdio.h>

#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/mem.h"
#include "jobmanager/checkpoint/storage.h"
#include "jobmanager/jm_internal.h"

struct disk_work {
    struct weir_jm *jm;
    enum weir_effect_kind kind;
    uint64_t epoch; /* it was asked for in */
    char job_id[WEIR_JOB_ID_TEXT + 1];
    uint32_t attempt;
    uint64_t checkpoint_id, below;
    const char *root;
    char *dir;  /* of the checkpoint */
    char *path; /* of _metadata */
    struct weir_buf bytes;
    uint64_t length, hash;
    struct weir_arena *arena;
    struct weir_ckpt_manifest manifest; /* in arena */
    enum weir_rc rc;
    struct weir_error err;
};

static void work_free(void *ctx)
{
    struct disk_work *work = ctx;
    weir_arena_destroy(work->arena);
    weir_buf_fini(&work->bytes);
    weir_free(work->path);
    weir_free(work->dir);
    weir_free(work);
}

static void sweep(struct disk_work *work)
{
    uint32_t nkeep = (uint32_t)(work->bytes.len / sizeof(uint64_t));
    uint64_t *keep = weir_calloc(nkeep, sizeof(*keep));
    for (uint32_t i = 0; i < nkeep; i++) {
        keep[i] = weir_le_get_u64(work->bytes.data + i * sizeof(uint64_t));
    }
    work->rc = weir_ckpt_sweep(work->jm->options.fs, work->root, work->job_id, keep, nkeep, work->below, &work->err);
    weir_free(keep);
}

/* On a pool thread. */
static void work_run(void *ctx)
{
    struct disk_work *work = ctx;
    struct weir_fs *fs = work->jm->options.fs;
    if (work->kind == WEIR_EFFECT_CKPT_PREPARE) {
        work->rc = weir_fs_mkdirs(fs, work->dir, &work->err);
    } else if (work->kind == WEIR_EFFECT_CKPT_STORE) {
        WEIR_FAILPOINT("jm.all_acks");
        work->rc = weir_ckpt_write(fs, work->dir, weir_buf_slice(&work->bytes), &work->length, &work->hash, &work->err);
    } else if (work->kind == WEIR_EFFECT_CKPT_LOAD) {
        work->rc = weir_ckpt_read(fs, work->path, work->length, work->hash, work->arena, &work->manifest, &work->err);
    } else {
        sweep(work);
    }
}

static void work_answer(struct disk_work *work)
{
    struct weir_dispatcher *dispatcher = work->jm->dispatcher;
    struct weir_slice job_id = weir_slice_str(work->job_id);
    struct weir_now now = weir__jm_now(work->jm);
    const char *text = work->rc == WEIR_OK ? "" : work->err.text;
    if (!weir__jm_leads_in(work->jm, work->epoch)) { /* an earlier leadership's: nobody waits for it any more */
        work_free(work);
        return;
    }
    if (work->kind == WEIR_EFFECT_CKPT_PREPARE) {
        weir_dispatcher_ckpt_prepared(dispatcher, job_id, work->checkpoint_id, work->rc, text, now);
    } else if (work->kind == WEIR_EFFECT_CKPT_STORE) {
        WEIR_FAILPOINT("jm.metadata");
        weir_dispatcher_ckpt_stored(dispatcher, job_id, work->checkpoint_id, work->rc, work->path, work->length, work->hash, text, now);
    } else if (work->kind == WEIR_EFFECT_CKPT_LOAD) {
        weir_dispatcher_ckpt_loaded(dispatcher, job_id, work->attempt, work->rc, work->rc == WEIR_OK ? &work->manifest : NULL, text, now);
    } else {
        if (work->rc != WEIR_OK) { /* the next sweep tries again */
            weir_log(work->jm->options.log, WEIR_LOG_WARN, "checkpoints_not_removed", "job", work->job_id, "why", text, NULL);
        }
        if (work->below == UINT64_MAX && work->rc != WEIR_CLOSED) { /* the pool is: no other follows */
            weir_dispatcher_swept(dispatcher, job_id, now);
        }
    }
    work_free(work);
}

static void work_done(void *ctx)
{
    struct disk_work *work = ctx;
    weir_assert(work->jm->calls > 0);
    work->jm->calls--;
    work_answer(work);
}

void weir__jm_ckpt_disk(struct weir_jm *jm, const struct weir_effect *effect)
{
    struct disk_work *work = weir_calloc(1, sizeof(*work));
    work->jm = jm;
    work->kind = effect->kind;
    work->epoch = effect->epoch;
    memcpy(work->job_id, effect->job_id, sizeof(work->job_id));
    work->attempt = effect->attempt;
    work->checkpoint_id = effect->checkpoint_id;
    work->below = effect->below;
    work->root = weir_config_string(jm->options.config, WEIR_CFG_CHECKPOINTS_DIR);
    work->dir = weir_ckpt_dir_copy(work->root, work->job_id, work->checkpoint_id);
    work->path = effect->path != NULL ? weir_strdup(effect->path) : weir_ckpt_metadata_path_copy(work->dir);
    weir_buf_put_slice(&work->bytes, weir_buf_slice(&effect->bytes));
    work->length = effect->length;
    work->hash = effect->hash;
    work->arena = effect->kind == WEIR_EFFECT_CKPT_LOAD ? weir_arena_create(0) : NULL;
    struct weir_pool_job job = {.run = work_run, .done = work_done, .drop = work_free, .ctx = work};
    enum weir_rc rc = weir_pool_submit(jm->pool, job, jm->mailbox);
    if (rc == WEIR_OK) {
        jm->calls++;
    } else {
        work->rc = weir_error_set(&work->err, rc, "the JobManager is shutting down or overloaded");
        work_answer(work);
    }
}
