#include "jobmanager/job/regions.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

/* Union-find: each task points towards the one that stands for its set. */
static uint32_t find(uint32_t *parent, uint32_t task)
{
    while (parent[task] != task) {
        parent[task] = parent[parent[task]];
        task = parent[task];
    }
    return task;
}

/* The lesser stands for both, so a region's own is its first task. */
static void join(uint32_t *parent, uint32_t a, uint32_t b)
{
    uint32_t x = find(parent, a);
    uint32_t y = find(parent, b);
    if (x < y) {
        parent[y] = x;
    } else {
        parent[x] = y;
    }
}

static void join_edge(uint32_t *parent, const struct weir_jobgraph *graph, const struct weir_edge *edge)
{
    uint32_t from = weir_jobgraph_task_index(graph, edge->from, 0);
    uint32_t to = weir_jobgraph_task_index(graph, edge->to, 0);
    uint32_t producers = graph->vertices[edge->from].parallelism;
    uint32_t consumers = graph->vertices[edge->to].parallelism;
    switch (edge->exchange) {
    case WEIR_EXCHANGE_FORWARD:
        weir_assert(producers == consumers);
        for (uint32_t i = 0; i < producers; i++) {
            join(parent, from + i, to + i);
        }
        break;
    case WEIR_EXCHANGE_HASH:
    case WEIR_EXCHANGE_REBALANCE:
    case WEIR_EXCHANGE_BROADCAST:
        for (uint32_t i = 0; i < producers; i++) {
            join(parent, from + i, to);
        }
        for (uint32_t i = 0; i < consumers; i++) {
            join(parent, from, to + i);
        }
        break;
    }
}

/* Numbers the sets, and lists the tasks of each. */
static void group_tasks(struct weir_regions *regions, uint32_t *parent, uint32_t ntasks)
{
    for (uint32_t i = 0; i < ntasks; i++) {
        uint32_t first = find(parent, i);
        weir_assert(first <= i);
        regions->of[i] = first == i ? regions->count++ : regions->of[first];
    }
    regions->first_task = weir_calloc((size_t)regions->count + 1, sizeof(*regions->first_task));
    for (uint32_t i = 0; i < ntasks; i++) {
        regions->first_task[regions->of[i] + 1]++;
    }
    for (uint32_t r = 0; r < regions->count; r++) {
        regions->first_task[r + 1] += regions->first_task[r];
    }
    uint32_t *next = weir_calloc(regions->count, sizeof(*next));
    for (uint32_t i = 0; i < ntasks; i++) {
        uint32_t r = regions->of[i];
        regions->tasks[regions->first_task[r] + next[r]++] = i;
    }
    weir_free(next);
}

static void list_slots(struct weir_regions *regions, const uint32_t *subtask_of, uint32_t ntasks)
{
    bool *has = weir_calloc(ntasks, sizeof(*has)); /* by subtask */
    uint32_t total = 0;
    for (uint32_t r = 0; r < regions->count; r++) {
        uint32_t start = UINT32_MAX;
        uint32_t end = 0;
        for (uint32_t k = regions->first_task[r]; k < regions->first_task[r + 1]; k++) {
            uint32_t subtask = subtask_of[regions->tasks[k]];
            has[subtask] = true;
            start = subtask < start ? subtask : start;
            end = subtask + 1 > end ? subtask + 1 : end;
        }
        regions->first_slot[r] = total;
        for (uint32_t s = start; s < end; s++) {
            if (has[s]) {
                regions->slots[total++] = s;
                has[s] = false;
            }
        }
    }
    regions->first_slot[regions->count] = total;
    weir_free(has);
}

struct weir_regions *weir_regions_create(const struct weir_jobgraph *graph)
{
    struct weir_regions *regions = weir_calloc(1, sizeof(*regions));
    uint32_t ntasks = weir_jobgraph_tasks(graph);
    uint32_t *parent = weir_calloc(ntasks, sizeof(*parent));
    uint32_t *subtask_of = weir_calloc(ntasks, sizeof(*subtask_of));
    uint32_t at = 0;
    for (uint32_t v = 0; v < graph->nvertices; v++) {
        for (uint32_t s = 0; s < graph->vertices[v].parallelism; s++) {
            parent[at] = at;
            subtask_of[at++] = s;
        }
    }
    for (uint32_t e = 0; e < graph->nedges; e++) {
        join_edge(parent, graph, &graph->edges[e]);
    }
    regions->of = weir_calloc(ntasks, sizeof(*regions->of));
    regions->tasks = weir_calloc(ntasks, sizeof(*regions->tasks));
    group_tasks(regions, parent, ntasks);
    regions->slots = weir_calloc(ntasks, sizeof(*regions->slots));
    regions->first_slot = weir_calloc((size_t)regions->count + 1, sizeof(*regions->first_slot));
    list_slots(regions, subtask_of, ntasks);
    weir_free(subtask_of);
    weir_free(parent);
    return regions;
}

void weir_regions_destroy(struct weir_regions *regions)
{
    if (regions != NULL) {
        weir_free(regions->first_slot);
        weir_free(regions->slots);
        weir_free(regions->first_task);
        weir_free(regions->tasks);
        weir_free(regions->of);
        weir_free(regions);
    }
}
