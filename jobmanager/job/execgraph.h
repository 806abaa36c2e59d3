/*
 * The tasks of a job, their places and states: those of each region in its present attempt. Pure.
 *
 * (E1) A task's state only moves forward: CREATED < SCHEDULED < DEPLOYING < INITIALIZING < RUNNING < CANCELING < {FINISHED, CANCELED,
 *      FAILED}. A report of an earlier state (late, or twice) changes nothing.
 * (E2) Slot s holds subtask s of each vertex that has one (see placement.h).
 */
#ifndef WEIR_JOBMANAGER_JOB_EXECGRAPH_H
#define WEIR_JOBMANAGER_JOB_EXECGRAPH_H

#include "jobmanager/jm_api.h"
#include "jobmanager/job/regions.h"

struct weir_execgraph {
    const struct weir_jobgraph *graph;
    struct weir_regions *regions;
    uint32_t attempt; /* the newest, of all regions or some; 0: none has begun */
    bool *runs; /* by vertex; false: not in this attempt, its tasks are CANCELED */
    struct weir_task_view *tasks; /* by weir_jobgraph_task_index; attempt: its region's; tm_id points into tm_ids; "": not in this attempt */
    uint8_t *missed;              /* heartbeats in a row of its TaskManager that did not list the task */
    uint32_t ntasks;
    char **tm_ids; /* where tasks are placed, each TaskManager once */
    uint32_t ntms;
};

/* All tasks CREATED, attempt 0, unplaced. graph is borrowed and outlives it. */
struct weir_execgraph *weir_execgraph_create(const struct weir_jobgraph *graph);
void weir_execgraph_destroy(struct weir_execgraph *exec); /* accepts NULL */

/* The slots that an attempt of these vertices (by index; NULL: all) takes. */
uint32_t weir_execgraph_slots(const struct weir_jobgraph *graph, const bool *vertices);

/* All regions start anew as attempt `attempt` of these vertices (NULL: all) on these slots (copied): their tasks CREATED and placed.
 * nslots >= weir_execgraph_slots. */
void weir_execgraph_begin(struct weir_execgraph *exec, uint32_t attempt, const bool *vertices, const char *const *slot_tm_ids, uint32_t nslots);

/* One region starts anew, after an attempt of all vertices. tm_ids: copied, one for each of its slots, in order. */
void weir_execgraph_begin_region(struct weir_execgraph *exec, uint32_t attempt, uint32_t region, const char *const *tm_ids);

/* Moves a task; false when it is not forward (E1). wall_ms becomes its start or end where that fits. */
bool weir_execgraph_move(struct weir_execgraph *exec, uint32_t index, enum weir_task_state state, int64_t wall_ms);

bool weir_task_state_terminal(enum weir_task_state state); /* FINISHED, CANCELED, FAILED */

uint32_t weir_execgraph_count(const struct weir_execgraph *exec, enum weir_task_state state);
/* Whether all tasks (of these regions; NULL: of all. Of one TaskManager; NULL: of all) are terminal or never begun. */
bool weir_execgraph_gone(const struct weir_execgraph *exec, const bool *regions, const char *tm_id);

/* Whether a task is placed there. */
bool weir_execgraph_uses(const struct weir_execgraph *exec, const char *tm_id);

/* "read -> valid (2/4)", in buf. */
const char *weir_execgraph_task_name(const struct weir_execgraph *exec, uint32_t index, char *buf, size_t buf_bytes);

#endif
