#include "jobmanager/job/execgraph.h"

#include <stdio.h>

#include "common/base/assert.h"
#include "common/base/mem.h"

struct weir_execgraph *weir_execgraph_create(const struct weir_jobgraph *graph)
{
    struct weir_execgraph *exec = weir_calloc(1, sizeof(*exec));
    exec->graph = graph;
    exec->ntasks = weir_jobgraph_tasks(graph);
    exec->tasks = weir_calloc(exec->ntasks, sizeof(*exec->tasks));
    exec->missed = weir_calloc(exec->ntasks, 1);
    exec->runs = weir_calloc(graph->nvertices, sizeof(*exec->runs));
    weir_execgraph_begin(exec, 0, NULL, NULL, 0);
    return exec;
}

static void clear_slots(struct weir_execgraph *exec)
{
    for (uint32_t i = 0; i < exec->nslots; i++) {
        weir_free(exec->slot_tm_ids[i]);
    }
    weir_free(exec->slot_tm_ids);
    exec->slot_tm_ids = NULL;
    exec->nslots = 0;
}

void weir_execgraph_destroy(struct weir_execgraph *exec)
{
    if (exec == NULL) {
        return;
    }
    clear_slots(exec);
    weir_free(exec->runs);
    weir_free(exec->missed);
    weir_free(exec->tasks);
    weir_free(exec);
}

uint32_t weir_execgraph_slots(const struct weir_jobgraph *graph, const bool *vertices)
{
    uint32_t slots = 0;
    for (uint32_t v = 0; v < graph->nvertices; v++) {
        bool counts = (vertices == NULL || vertices[v]) && graph->vertices[v].parallelism > slots;
        slots = counts ? graph->vertices[v].parallelism : slots;
    }
    return slots;
}

void weir_execgraph_begin(struct weir_execgraph *exec, uint32_t attempt, const bool *vertices, const char *const *slot_tm_ids, uint32_t nslots)
{
    weir_assert(attempt == 0 || nslots >= weir_execgraph_slots(exec->graph, vertices));
    clear_slots(exec);
    exec->slot_tm_ids = weir_calloc(nslots, sizeof(*exec->slot_tm_ids));
    exec->nslots = nslots;
    for (uint32_t i = 0; i < nslots; i++) {
        exec->slot_tm_ids[i] = weir_strdup(slot_tm_ids[i]);
    }
    exec->attempt = attempt;
    for (uint32_t v = 0; v < exec->graph->nvertices; v++) {
        bool runs = vertices == NULL || vertices[v];
        exec->runs[v] = runs;
        for (uint32_t s = 0; s < exec->graph->vertices[v].parallelism; s++) {
            uint32_t index = weir_jobgraph_task_index(exec->graph, v, s);
            weir_assert(index < exec->ntasks);
            exec->tasks[index] = (struct weir_task_view){.vertex = v,
                                                         .subtask = s,
                                                         .attempt = attempt,
                                                         .state = runs ? WEIR_TASK_CREATED : WEIR_TASK_CANCELED,
                                                         .tm_id = attempt == 0 ? NULL : runs ? exec->slot_tm_ids[s] : "",
                                                         .start_ms = -1,
                                                         .end_ms = -1,
                                                         .counters = {.watermark_ms = INT64_MIN}};
            exec->missed[index] = 0;
        }
    }
}

bool weir_task_state_terminal(enum weir_task_state state)
{
    return state == WEIR_TASK_FINISHED || state == WEIR_TASK_CANCELED || state == WEIR_TASK_FAILED;
}

static int rank(enum weir_task_state state)
{
    switch (state) {
    case WEIR_TASK_CREATED: return 0;
    case WEIR_TASK_SCHEDULED: return 1;
    case WEIR_TASK_DEPLOYING: return 2;
    case WEIR_TASK_INITIALIZING: return 3;
    case WEIR_TASK_RUNNING: return 4;
    case WEIR_TASK_CANCELING: return 5;
    case WEIR_TASK_FINISHED:
    case WEIR_TASK_CANCELED:
    case WEIR_TASK_FAILED: return 6;
    case WEIR_TASK_STATE_COUNT_: break;
    }
    return -1;
}

bool weir_execgraph_move(struct weir_execgraph *exec, uint32_t index, enum weir_task_state state, int64_t wall_ms)
{
    weir_assert(index < exec->ntasks);
    struct weir_task_view *task = &exec->tasks[index];
    if (rank(state) <= rank(task->state)) {
        return false;
    }
    if (task->start_ms < 0 && rank(state) >= rank(WEIR_TASK_DEPLOYING)) {
        task->start_ms = wall_ms;
    }
    if (weir_task_state_terminal(state)) {
        task->end_ms = wall_ms;
    }
    task->state = state;
    return true;
}

uint32_t weir_execgraph_count(const struct weir_execgraph *exec, enum weir_task_state state)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < exec->ntasks; i++) {
        count += exec->tasks[i].state == state;
    }
    return count;
}

bool weir_execgraph_gone(const struct weir_execgraph *exec, const char *tm_id)
{
    for (uint32_t i = 0; exec->attempt > 0 && i < exec->ntasks; i++) {
        const struct weir_task_view *task = &exec->tasks[i];
        if (!weir_task_state_terminal(task->state) && (tm_id == NULL || strcmp(tm_id, task->tm_id) == 0)) {
            return false;
        }
    }
    return true;
}

bool weir_execgraph_uses(const struct weir_execgraph *exec, const char *tm_id)
{
    for (uint32_t i = 0; i < exec->nslots; i++) {
        if (strcmp(exec->slot_tm_ids[i], tm_id) == 0) {
            return true;
        }
    }
    return false;
}

const char *weir_execgraph_tm_first(const struct weir_execgraph *exec, uint32_t slot)
{
    weir_assert(slot < exec->nslots);
    for (uint32_t i = 0; i < slot; i++) {
        if (strcmp(exec->slot_tm_ids[i], exec->slot_tm_ids[slot]) == 0) {
            return NULL;
        }
    }
    return exec->slot_tm_ids[slot];
}

const char *weir_execgraph_task_name(const struct weir_execgraph *exec, uint32_t index, char *buf, size_t buf_bytes)
{
    weir_assert(index < exec->ntasks);
    const struct weir_vertex *vertex = &exec->graph->vertices[exec->tasks[index].vertex];
    (void)snprintf(buf, buf_bytes, "%s (%u/%u)", vertex->name, exec->tasks[index].subtask + 1, vertex->parallelism);
    return buf;
}
