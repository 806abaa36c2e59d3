/*
 * The pipelined regions of a job: what must restart together, as in Flink. Pure.
 *
 * Two tasks are of one region when a channel joins them, directly or by way of others: a FORWARD edge joins subtask i with subtask i, every
 * other exchange all with all. Nothing passes between regions: no row, no barrier, no watermark.
 *
 * Regions are numbered by their first task (weir_jobgraph_task_index), so a graph always has the same ones: the numbers are in the log.
 */
#ifndef WEIR_JOBMANAGER_JOB_REGIONS_H
#define WEIR_JOBMANAGER_JOB_REGIONS_H

#include "common/plan/jobgraph.h"

struct weir_regions {
    uint32_t count;
    uint32_t *of;         /* by task: its region */
    uint32_t *tasks;      /* region after region, each region's in order */
    uint32_t *first_task; /* those of region r: tasks[first_task[r]] to tasks[first_task[r + 1] - 1] */
    uint32_t *slots;      /* region after region, its subtasks' numbers, each once and in order: slot s holds subtask s of every vertex */
    uint32_t *first_slot;
};

struct weir_regions *weir_regions_create(const struct weir_jobgraph *graph);
void weir_regions_destroy(struct weir_regions *regions); /* accepts NULL */

static inline uint32_t weir_regions_slots(const struct weir_regions *regions, uint32_t region)
{
    return regions->first_slot[region + 1] - regions->first_slot[region];
}

#endif
