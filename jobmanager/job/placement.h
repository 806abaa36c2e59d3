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
    const char *id;
    const char *host; /* of its data plane; "": it matches none */
};

/* Where a slot was before: what its tasks wrote there may still be on that TaskManager, or on a disk of its machine. */
struct weir_placement_home {
    const char *tm_id, *host; /* NULL: not known */
};

/* Chooses a TaskManager for each of `slots` slots, and counts it in `used`: the slot's home while it has a free slot, else one on the same
 * host, else the least used in proportion (the first of equals). homes: by slot; NULL: none. False, and nothing is changed, when there are too few
 * free slots. */
bool weir_placement_choose(struct weir_placement_tm *tms, uint32_t ntms, uint32_t slots, const struct weir_placement_home *homes, uint32_t *out_tms);

#endif
