/*
 * Which TaskManager gives which slot of a job. Pure.
 *
 * As in Flink, one slot holds one subtask of every vertex: slot s holds subtask s of each vertex whose parallelism is greater than s. So a
 * job needs as many slots as its greatest parallelism, and forward exchanges stay inside one process.
 */
#ifndef WEIR_JOBMANAGER_JOB_PLACEMENT_H
#define WEIR_JOBMANAGER_JOB_PLACEMENT_H

#include <stdbool.h>
#include <stdint.h>

struct weir_placement_tm {
    uint32_t slots;
    uint32_t used;
};

/* Chooses for each of `slots` slots the TaskManager that is the least used in proportion (the first of equals) and counts it in `used`.
 * False, and nothing is changed, when there are too few free slots. */
bool weir_placement_choose(struct weir_placement_tm *tms, uint32_t ntms, uint32_t slots, uint32_t *out_tms);

#endif
