/*
 * Between a job and its checkpoint coordinator: the coordinator's effects become records, orders to TaskManagers and work on the disk.
 */
#ifndef WEIR_JOBMANAGER_JOB_JOB_CKPT_H
#define WEIR_JOBMANAGER_JOB_JOB_CKPT_H

#include "jobmanager/checkpoint/coordinator.h"
#include "jobmanager/ha/meta.h"
#include "jobmanager/job/effect.h"
#include "jobmanager/job/execgraph.h"

struct weir_job_ckpt_env {
    struct weir_effects *effects;
    void (*propose)(void *ctx, const struct weir_ha_record *record);
    bool (*tm_registered)(void *ctx, const char *tm_id);
    void *ctx;
    uint32_t retained_max;
    const uint32_t *parallelism_max, *run; /* of the present attempt */
    /* Too many checkpoints failed in a row: the job is to restart. */
    void (*fail)(void *job, const char *text, struct weir_now now);
    void *job;
};

struct weir_job_ckpt;

/* NULL when the job takes no checkpoints. exec and its graph are borrowed. */
struct weir_job_ckpt *weir_job_ckpt_create(const struct weir_job_ckpt_env *env, const char *job_id, const struct weir_execgraph *exec);
void weir_job_ckpt_destroy(struct weir_job_ckpt *ckpt); /* accepts NULL */

/* The attempt to come has other tasks, those of exec. Before weir_job_ckpt_attempt. */
void weir_job_ckpt_resize(struct weir_job_ckpt *ckpt, const struct weir_execgraph *exec, struct weir_now now);

/* For events that are the coordinator's own. */
struct weir_ckpt_coordinator *weir_job_ckpt_coordinator(const struct weir_job_ckpt *ckpt);

/* meta's attempt was applied just now (fresh), or is taken up from an earlier leader; exec has begun it. begun: by region, those that it
 * begins anew; NULL: all. */
void weir_job_ckpt_attempt(struct weir_job_ckpt *ckpt, const struct weir_meta_job *meta, const bool *begun, bool fresh, struct weir_now now);

/* Removes what the log does not need any more: all checkpoints of a FINISHED job, or of a CANCELED one that has drained; else those that are
 * neither retained nor pending. */
void weir_job_ckpt_sweep(struct weir_effects *effects, const struct weir_meta_job *meta);

/* Holds a manifest against the job's newest completed checkpoint, which may be of another parallelism than the graph has now. CORRUPT. */
enum weir_rc weir_job_ckpt_check(const struct weir_jobgraph *graph, const char *job_id, uint64_t checkpoint_id, uint32_t parallelism_max,
                                 const struct weir_ckpt_manifest *manifest, struct weir_error *err) WEIR_CHECKED;

#endif
