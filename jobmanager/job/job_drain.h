/*
 * What a job's sinks may owe the outside when its tasks are gone: a checkpoint was committed, but nobody knows whether they got to publish
 * it. A drain attempt runs only the vertices with such sinks, restored from that checkpoint, until they have. Pure.
 */
#ifndef WEIR_JOBMANAGER_JOB_JOB_DRAIN_H
#define WEIR_JOBMANAGER_JOB_JOB_DRAIN_H

#include "jobmanager/job/execgraph.h"

enum { WEIR_JOB_DRAIN_RETRY_MIN_MS = 1000, WEIR_JOB_DRAIN_RETRY_MAX_MS = 30000 };

/* By vertex: whether its chain holds a sink that drains. Returns whether any does. */
bool weir_job_drain_vertices(const struct weir_jobgraph *graph, bool *out_drains);

/* Whether all of these vertices' tasks are FINISHED: they end like that only when nothing is left to drain. */
bool weir_job_drain_over(const struct weir_execgraph *exec, const bool *drains);

/* "sink write (statistics), checkpoint 17". The caller frees it. */
char *weir_job_drain_text(const struct weir_jobgraph *graph, uint64_t checkpoint);

/* The pause before the next attempt, after the last pause. */
int64_t weir_job_drain_retry_ms(int64_t last_ms);

#endif
