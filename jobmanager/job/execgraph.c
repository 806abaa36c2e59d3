#include "jobmanager/job/execgraph.h"

#include <stdio.h>

#include "common/base/assert.h"
#include "common/base/hmap.h"
#include "common/base/mem.h"

struct weir_execgraph *weir_execgraph_create(const struct weir_jobgraph *graph)
{
    struct weir_execgraph *exec = weir_calloc(1, sizeof(*exec));
    exec->graph = graph;
    exec->ntasks = weir_jobgraph_tasks(graph);
    exec->tasks = weir_calloc(exec->ntasks, sizeof(*exec->tasks));
    exec->missed = weir_calloc(exec->ntasks, 1);
    exec->runs = weir_calloc(graph->nvertices, sizeof(*exec->runs));
    exec->regions = weir_regions_create(graph);
    weir_execgraph_begin(exec, 0, NULL, NULL, 0);
    return exec;
}

static void free_tms(char **tm_ids, uint32_t ntms)
{
    for (uint32_t i = 0; i < ntms; i++) {
        weir_free(tm_ids[i]);
    }
    weir_free(tm_ids);
}

/* After tasks were placed: each id is held once, and those that no task is at any more are let go. */
static void own_tms(struct weir_execgraph *exec)
{
    struct weir_hmap *by_id = weir_hmap_create(0);
    char **tm_ids = weir_calloc(exec->ntasks, sizeof(*tm_ids));
    uint32_t ntms = 0;
    for (uint32_t i = 0; i < exec->ntasks; i++) {
        const char *id = exec->tasks[i].tm_id;
        if (id == NULL || id[0] == '\0') {
            continue;
        }
        const char *own = weir_hmap_get(by_id, weir_slice_str(id));
        if (own == NULL) {
            tm_ids[ntms] = weir_strdup(id);
            void *replaced = weir_hmap_put(by_id, weir_slice_str(id), tm_ids[ntms]);
            weir_assert(replaced == NULL);
            own = tm_ids[ntms++];
        }
        exec->tasks[i].tm_id = own;
    }
    free_tms(exec->tm_ids, exec->ntms);
    exec->tm_ids = tm_ids;
    exec->ntms = ntms;
    weir_hmap_destroy(by_id);
}

void weir_execgraph_destroy(struct weir_execgraph *exec)
{
    if (exec == NULL) {
        return;
    }
    free_tms(exec->tm_ids, exec->ntms);
    weir_regions_destroy(exec->regions);
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

static void begin_task(struct weir_execgraph *exec, uint32_t index, uint32_t attempt, uint32_t vertex, uint32_t subtask, const char *tm_id)
{
    bool runs = exec->runs[vertex];
    weir_assert(index < exec->ntasks);
    exec->tasks[index] = (struct weir_task_view){.vertex = vertex,
                                                 .subtask = subtask,
                                                 .attempt = attempt,
                                                 .state = runs ? WEIR_TASK_CREATED : WEIR_TASK_CANCELED,
                                                 .tm_id = attempt == 0 ? NULL : runs ? tm_id : "",
                                                 .start_ms = -1,
                                                 .end_ms = -1,
                                                 .counters = {.watermark_ms = INT64_MIN}};
    exec->missed[index] = 0;
}

void weir_execgraph_begin(struct weir_execgraph *exec, uint32_t attempt, const bool *vertices, const char *const *slot_tm_ids, uint32_t nslots)
{
    weir_assert(attempt == 0 || nslots >= weir_execgraph_slots(exec->graph, vertices));
    exec->attempt = attempt;
    uint32_t index = 0;
    for (uint32_t v = 0; v < exec->graph->nvertices; v++) {
        exec->runs[v] = vertices == NULL || vertices[v];
        for (uint32_t s = 0; s < exec->graph->vertices[v].parallelism; s++) {
            begin_task(exec, index++, attempt, v, s, s < nslots ? slot_tm_ids[s] : NULL); /* (E2) */
        }
    }
    own_tms(exec);
}

void weir_execgraph_begin_region(struct weir_execgraph *exec, uint32_t attempt, uint32_t region, const char *const *tm_ids)
{
    const struct weir_regions *regions = exec->regions;
    weir_assert(exec->attempt > 0);
    weir_assert(region < regions->count);
    exec->attempt = attempt > exec->attempt ? attempt : exec->attempt;
    for (uint32_t k = regions->first_task[region]; k < regions->first_task[region + 1]; k++) {
        const struct weir_task_view *task = &exec->tasks[regions->tasks[k]];
        weir_assert(exec->runs[task->vertex]);
        uint32_t low = regions->first_slot[region];
        while (regions->slots[low] != task->subtask) { /* its own is always there */
            low++;
        }
        begin_task(exec, regions->tasks[k], attempt, task->vertex, task->subtask, tm_ids[low - regions->first_slot[region]]);
    }
    own_tms(exec);
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

bool weir_execgraph_gone(const struct weir_execgraph *exec, const bool *regions, const char *tm_id)
{
    for (uint32_t i = 0; exec->attempt > 0 && i < exec->ntasks; i++) {
        const struct weir_task_view *task = &exec->tasks[i];
        bool asked = regions == NULL || regions[exec->regions->of[i]];
        if (asked && !weir_task_state_terminal(task->state) && (tm_id == NULL || strcmp(tm_id, task->tm_id) == 0)) {
            return false;
        }
    }
    return true;
}

bool weir_execgraph_uses(const struct weir_execgraph *exec, const char *tm_id)
{
    for (uint32_t i = 0; i < exec->ntms; i++) {
        if (strcmp(exec->tm_ids[i], tm_id) == 0) {
            return true;
        }
    }
    return false;
}

const char *weir_execgraph_task_name(const struct weir_execgraph *exec, uint32_t index, char *buf, size_t buf_bytes)
{
    weir_assert(index < exec->ntasks);
    const struct weir_vertex *vertex = &exec->graph->vertices[exec->tasks[index].vertex];
    (void)snprintf(buf, buf_bytes, "%s (%u/%u)", vertex->name, exec->tasks[index].subtask + 1, vertex->parallelism);
    return buf;
}
