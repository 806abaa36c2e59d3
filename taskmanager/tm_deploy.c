#include "taskmanager/tm_deploy.h"

#include "common/base/mem.h"
#include "proto/plan_codec.h"

const char *weir_tm_deploy_location(const Weir__Control__DeployRequest *order, uint32_t vertex, uint32_t subtask)
{
    for (size_t i = 0; i < order->n_locations; i++) {
        if (order->locations[i]->vertex == vertex && order->locations[i]->subtask == subtask) {
            return order->locations[i]->data_address;
        }
    }
    return NULL;
}

/* One part, or those of subtasks 0 to n - 1. */
static enum weir_rc check_parts(const Weir__Control__TaskDeployment *task, uint32_t max_parallelism, struct weir_error *err)
{
    size_t count = task->n_restore;
    enum weir_rc rc = WEIR_OK;
    if (count > max_parallelism) {
        return weir_error_set(err, WEIR_INVALID, "deploy: task (%u, %u) is to restore %zu parts, but there were never more than %u subtasks",
                              task->vertex, task->subtask, count, max_parallelism);
    }
    bool *seen = weir_calloc(count, sizeof(*seen));
    for (size_t i = 0; i < count && rc == WEIR_OK; i++) {
        const Weir__Control__StateHandle *part = task->restore[i];
        size_t subtasks = count == 1 ? max_parallelism : count;
        if (part->vertex != task->vertex || part->subtask >= subtasks || (count > 1 && seen[part->subtask])) {
            rc = weir_error_set(err, WEIR_INVALID, "deploy: task (%u, %u) cannot restore the state of task (%u, %u) as one of %zu parts",
                                task->vertex, task->subtask, part->vertex, part->subtask, count);
        } else if (count > 1) {
            seen[part->subtask] = true;
        }
    }
    weir_free(seen);
    return rc;
}

static enum weir_rc check_task(const Weir__Control__DeployRequest *order, const Weir__Control__TaskDeployment *task,
                               const struct weir_jobgraph *graph, bool *seen, struct weir_error *err)
{
    if (task->vertex >= graph->nvertices || task->subtask >= graph->vertices[task->vertex].parallelism) {
        return weir_error_set(err, WEIR_INVALID, "deploy: no task (%u, %u) in the job graph%s", task->vertex, task->subtask,
                              order->parallelism_max > 0 ? ", whose parallelism is limited" : "");
    }
    uint32_t index = weir_jobgraph_task_index(graph, task->vertex, task->subtask);
    if (seen[index]) {
        return weir_error_set(err, WEIR_INVALID, "deploy: task (%u, %u) is named twice in one order: each runs once", task->vertex, task->subtask);
    }
    seen[index] = true;
    if (task->n_restore > 0 && order->restored_checkpoint_id == 0) {
        return weir_error_set(err, WEIR_INVALID, "deploy: task (%u, %u) is to restore a state of no checkpoint", task->vertex, task->subtask);
    }
    return check_parts(task, graph->vertices[task->vertex].max_parallelism, err);
}

static enum weir_rc check_tasks(const Weir__Control__DeployRequest *order, const struct weir_jobgraph *graph, struct weir_error *err)
{
    bool *seen = weir_calloc(weir_jobgraph_tasks(graph), sizeof(*seen));
    enum weir_rc rc = WEIR_OK;
    for (size_t i = 0; i < order->n_tasks && rc == WEIR_OK; i++) {
        rc = check_task(order, order->tasks[i], graph, seen, err);
    }
    weir_free(seen);
    return rc;
}

static enum weir_rc check_order(const Weir__Control__DeployRequest *order, const struct weir_jobgraph *graph, struct weir_error *err)
{
    enum weir_rc rc = check_tasks(order, graph, err);
    for (uint32_t v = 0; rc == WEIR_OK && v < graph->nvertices; v++) {
        for (uint32_t s = 0; rc == WEIR_OK && s < graph->vertices[v].parallelism; s++) {
            if (weir_tm_deploy_location(order, v, s) == NULL) {
                rc = weir_error_set(err, WEIR_INVALID, "deploy: the order does not say where task (%u, %u) runs", v, s);
            }
        }
    }
    return rc;
}

enum weir_rc weir_tm_deploy_graph(const Weir__Control__DeployRequest *order, struct weir_jobgraph **out_graph, struct weir_error *err)
{
    struct weir_jobgraph *graph = NULL;
    enum weir_rc rc = weir_plan_decode(weir_slice(order->graph.data, order->graph.len), &graph, err); /* checks it */
    if (rc != WEIR_OK) {
        return rc;
    }
    weir_jobgraph_limit_parallelism(graph, order->parallelism_max);
    rc = weir_jobgraph_check(graph, err);
    if (rc == WEIR_OK) {
        rc = check_order(order, graph, err);
    }
    if (rc != WEIR_OK) {
        weir_jobgraph_destroy(graph);
        return rc;
    }
    *out_graph = graph;
    return WEIR_OK;
}

void weir_tm_deploy_parts(const Weir__Control__TaskDeployment *order, struct weir_task_part *out_parts)
{
    for (size_t i = 0; i < order->n_restore; i++) {
        const Weir__Control__StateHandle *part = order->restore[i];
        out_parts[order->n_restore == 1 ? 0 : part->subtask] = (struct weir_task_part){
            .subtask = part->subtask,
            .handle = {.path = part->path, .bytes = part->bytes, .hash = part->hash},
        };
    }
}
