/*
 * GET /metrics: the Prometheus text format (0.0.4), under the names that Flink's PrometheusReporter gives
 * (flink_taskmanager_job_task_numRecordsIn{job_id=..., task_name=..., subtask_index=...}); what Flink does not measure is named weir_*.
 */
#ifndef WEIR_JOBMANAGER_REST_REST_METRICS_H
#define WEIR_JOBMANAGER_REST_REST_METRICS_H

#include "jobmanager/rest/rest_cluster.h"

/* Appends the exposition of all metrics of the cluster to out. */
void weir_rest_metrics_put(const struct weir_rest_cluster *cluster, int64_t now_ms, struct weir_buf *out);

#endif
