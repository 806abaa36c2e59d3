/*
 * Jobs as the JSON documents of Flink's REST API: pure functions from views to JSON, so that each can be held against a body that a
 * real Flink answered (tests/data/flink-rest). Field names, their mixed spelling and their types are Flink's.
 *
 * Fields that Flink does not have and that we add: "waiting-for" (why nothing runs yet) and "restarts" in the job's detail.
 * Not here: times spent in each task state ("status-duration"): views do not carry them, so the object is empty.
 *
 * All functions return a new reference (json_decref by the caller), or NULL when a name in a view is not UTF-8. JobManager's thread, since
 * views are live.
 */
#ifndef WEIR_JOBMANAGER_REST_REST_JOB_H
#define WEIR_JOBMANAGER_REST_REST_JOB_H

#include "jobmanager/jm_api.h"

struct json_t;

/* What job documents need besides the job: the time, and the TaskManagers that tasks run on. */
struct weir_rest_world {
    int64_t now_ms;
    const struct weir_tm_view *tms;
    uint32_t ntms;
};

/* One element of GET /jobs: {"id","status"}. */
struct json_t *weir_rest_job_id_status(const struct weir_job_view *job);

/* One element of GET /jobs/overview. */
struct json_t *weir_rest_job_summary(const struct weir_job_view *job, int64_t now_ms);

/* GET /jobs/:jobid. */
struct json_t *weir_rest_job_detail(const struct weir_job_view *job, int64_t now_ms);

/* GET /jobs/:jobid/plan: {"plan": ...}. */
struct json_t *weir_rest_job_plan(const struct weir_job_view *job);

/* GET /jobs/:jobid/exceptions; at most entries_max, the newest first. */
struct json_t *weir_rest_job_exceptions(const struct weir_job_view *job, const struct weir_rest_world *world, uint32_t entries_max);

/* GET /jobs/:jobid/checkpoints. */
struct json_t *weir_rest_job_checkpoints(const struct weir_job_view *job);

/* GET /jobs/:jobid/checkpoints/config; the job has a graph. */
struct json_t *weir_rest_job_checkpoints_config(const struct weir_job_view *job);

/* GET /jobs/:jobid/vertices/:vertexid; `vertex` indexes the job's graph. */
struct json_t *weir_rest_job_vertex(const struct weir_job_view *job, uint32_t vertex, const struct weir_rest_world *world);

/* The graph's vertex of that id; false when there is none (or the graph is gone). */
bool weir_rest_job_vertex_find(const struct weir_job_view *job, struct weir_slice vertex_id, uint32_t *out_vertex);

/* How many of `tasks` are in each state, and what Flink calls the state of them together. */
void weir_rest_task_state_counts(const struct weir_task_view *tasks, uint32_t ntasks, uint32_t counts[WEIR_TASK_STATE_COUNT_]);
enum weir_task_state weir_rest_task_state_together(const uint32_t counts[WEIR_TASK_STATE_COUNT_]);

#endif
