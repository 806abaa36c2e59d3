/*
 * What an order to deploy says, decoded and held against itself: it came from outside. Pure.
 */
#ifndef WEIR_TASKMANAGER_TM_DEPLOY_H
#define WEIR_TASKMANAGER_TM_DEPLOY_H

#include "proto/control.pb-c.h"
#include "taskmanager/task/task.h"

/* The job's graph with the parallelism that this attempt has, of which all tasks of the order are, with their locations and what they restore. The
 * caller's. INVALID. */
enum weir_rc weir_tm_deploy_graph(const Weir__Control__DeployRequest *order, struct weir_jobgraph **out_graph, struct weir_error *err) WEIR_CHECKED;

/* What a task of such an order restores: order->n_restore parts, by subtask; paths are the order's. */
void weir_tm_deploy_parts(const Weir__Control__TaskDeployment *order, struct weir_task_part *out_parts);

/* The data address of a task; NULL when the order does not say. */
const char *weir_tm_deploy_location(const Weir__Control__DeployRequest *order, uint32_t vertex, uint32_t subtask);

#endif
