/*
 * The cluster as the JSON documents of Flink's REST API: pure functions from views to JSON. Flink's JVM memory figures have no
 * counterpart here and are 0; "managed" memory is our budget `taskmanager.memory.size`.
 *
 * All functions return a new reference (json_decref by the caller), or NULL when a name in a view is not UTF-8.
 */
#ifndef WEIR_JOBMANAGER_REST_REST_CLUSTER_H
#define WEIR_JOBMANAGER_REST_REST_CLUSTER_H

#include "jobmanager/jm_api.h"

struct json_t;

struct weir_rest_cluster {
    const struct weir_job_view *jobs;
    uint32_t njobs;
    const struct weir_tm_view *tms;
    uint32_t ntms;
};

/* GET /overview. */
struct json_t *weir_rest_cluster_overview(const struct weir_rest_cluster *cluster);

/* GET /cluster, not Flink's: {"leader": {"rpc", "rest"} or null, "term", "jobmanagers": [{"id", "rpc", "rest", "role", "lag", "last_heard_ms"}],
 * "taskmanagers": [as /taskmanagers]}. lag and last_heard_ms are null where they are not known. */
struct json_t *weir_rest_cluster_jobmanagers(const struct weir_rest_cluster *cluster, const struct weir_jm_cluster_view *jobmanagers);

/* GET /config: what a dashboard should offer. */
struct json_t *weir_rest_cluster_features(void);

/* GET /taskmanagers. */
struct json_t *weir_rest_cluster_taskmanagers(const struct weir_rest_cluster *cluster);

/* GET /taskmanagers/:id; `tm` indexes cluster->tms. */
struct json_t *weir_rest_cluster_taskmanager(const struct weir_rest_cluster *cluster, uint32_t tm);

/* GET /jobmanager/config: every setting as {"key","value"}; secrets as ******. */
struct json_t *weir_rest_cluster_config(const struct weir_config *config);

#endif
