#include "jobmanager/job/regions.h"

#include <check.h>

#include "common/base/mem.h"
#include "common/base/rand.h"

enum { VERTICES_MAX = 6, EDGES_MAX = 8, TASKS_MAX = 40 };

struct graph {
    struct weir_vertex vertices[VERTICES_MAX];
    struct weir_edge edges[EDGES_MAX];
    struct weir_jobgraph graph;
};

static void make(struct graph *g, uint32_t nvertices, const uint32_t *parallelism)
{
    *g = (struct graph){0};
    for (uint32_t v = 0; v < nvertices; v++) {
        g->vertices[v].parallelism = parallelism[v];
    }
    g->graph.vertices = g->vertices;
    g->graph.nvertices = nvertices;
    g->graph.edges = g->edges;
}

static void edge(struct graph *g, uint32_t from, uint32_t to, enum weir_exchange exchange)
{
    g->edges[g->graph.nedges++] = (struct weir_edge){.from = from, .to = to, .exchange = exchange};
}

static void expect(const struct graph *g, uint32_t count, const uint32_t *of)
{
    struct weir_regions *regions = weir_regions_create(&g->graph);
    ck_assert_uint_eq(regions->count, count);
    for (uint32_t i = 0; i < weir_jobgraph_tasks(&g->graph); i++) {
        ck_assert_uint_eq(regions->of[i], of[i]);
    }
    weir_regions_destroy(regions);
}

START_TEST(forward_edges_join_subtask_by_subtask)
{
    struct graph g;
    make(&g, 3, (const uint32_t[]){3, 3, 3});
    edge(&g, 0, 1, WEIR_EXCHANGE_FORWARD);
    edge(&g, 1, 2, WEIR_EXCHANGE_FORWARD);
    expect(&g, 3, (const uint32_t[]){0, 1, 2, 0, 1, 2, 0, 1, 2});
    struct weir_regions *regions = weir_regions_create(&g.graph);
    for (uint32_t r = 0; r < 3; r++) {
        ck_assert_uint_eq(weir_regions_slots(regions, r), 1);
        ck_assert_uint_eq(regions->slots[regions->first_slot[r]], r);
        ck_assert_uint_eq(regions->first_task[r], 3 * r);
        ck_assert_uint_eq(regions->tasks[3 * r + 2], 6 + r);
    }
    weir_regions_destroy(regions);
    weir_regions_destroy(NULL);
}
END_TEST

START_TEST(every_other_exchange_joins_all)
{
    static const enum weir_exchange exchanges[] = {WEIR_EXCHANGE_HASH, WEIR_EXCHANGE_REBALANCE, WEIR_EXCHANGE_BROADCAST};
    struct graph g;
    make(&g, 2, (const uint32_t[]){3, 2});
    edge(&g, 0, 1, exchanges[_i]);
    expect(&g, 1, (const uint32_t[]){0, 0, 0, 0, 0});
    g.edges[0].side = true; /* bad records: a channel like any other */
    expect(&g, 1, (const uint32_t[]){0, 0, 0, 0, 0});
    g.graph.nedges = 0;
    expect(&g, 5, (const uint32_t[]){0, 1, 2, 3, 4});
}
END_TEST

START_TEST(one_shuffle_downstream_joins_what_was_apart)
{
    struct graph g;
    make(&g, 4, (const uint32_t[]){2, 2, 1, 2}); /* two pipelines of two subtasks; the first ends in one task */
    edge(&g, 0, 1, WEIR_EXCHANGE_FORWARD);
    edge(&g, 1, 2, WEIR_EXCHANGE_REBALANCE);
    expect(&g, 3, (const uint32_t[]){0, 0, 0, 0, 0, 1, 2});
    struct weir_regions *regions = weir_regions_create(&g.graph);
    ck_assert_uint_eq(weir_regions_slots(regions, 0), 2);
    ck_assert_uint_eq(weir_regions_slots(regions, 2), 1);
    ck_assert_uint_eq(regions->slots[regions->first_slot[2]], 1);
    weir_regions_destroy(regions);
    edge(&g, 3, 2, WEIR_EXCHANGE_HASH);
    expect(&g, 1, (const uint32_t[]){0, 0, 0, 0, 0, 0, 0});
}
END_TEST

/* The model: reachability by repeated passes over every channel. */
static void model(const struct graph *g, uint32_t *of)
{
    uint32_t ntasks = weir_jobgraph_tasks(&g->graph);
    for (uint32_t i = 0; i < ntasks; i++) {
        of[i] = i;
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t e = 0; e < g->graph.nedges; e++) {
            const struct weir_edge *edge = &g->edges[e];
            for (uint32_t a = 0; a < g->vertices[edge->from].parallelism; a++) {
                for (uint32_t b = 0; b < g->vertices[edge->to].parallelism; b++) {
                    uint32_t x = weir_jobgraph_task_index(&g->graph, edge->from, a);
                    uint32_t y = weir_jobgraph_task_index(&g->graph, edge->to, b);
                    if ((edge->exchange != WEIR_EXCHANGE_FORWARD || a == b) && of[x] != of[y]) {
                        of[x] = of[y] = of[x] < of[y] ? of[x] : of[y];
                        changed = true;
                    }
                }
            }
        }
    }
}

START_TEST(random_graphs_agree_with_the_model)
{
    struct weir_rand rand;
    weir_rand_init(&rand, (uint64_t)_i);
    for (int round = 0; round < 300; round++) {
        uint32_t nvertices = 1 + (uint32_t)weir_rand_below(&rand, VERTICES_MAX);
        uint32_t parallelism[VERTICES_MAX];
        for (uint32_t v = 0; v < nvertices; v++) {
            parallelism[v] = 1 + (uint32_t)weir_rand_below(&rand, 3) * 2;
        }
        struct graph g;
        make(&g, nvertices, parallelism);
        for (uint64_t e = weir_rand_below(&rand, EDGES_MAX); nvertices > 1 && e > 0; e--) {
            uint32_t to = 1 + (uint32_t)weir_rand_below(&rand, nvertices - 1);
            uint32_t from = (uint32_t)weir_rand_below(&rand, to);
            bool forward = parallelism[from] == parallelism[to] && weir_rand_below(&rand, 4) > 0;
            edge(&g, from, to, forward ? WEIR_EXCHANGE_FORWARD : weir_rand_below(&rand, 2) == 0 ? WEIR_EXCHANGE_HASH : WEIR_EXCHANGE_BROADCAST);
        }
        uint32_t expected[TASKS_MAX];
        model(&g, expected);
        struct weir_regions *regions = weir_regions_create(&g.graph);
        uint32_t ntasks = weir_jobgraph_tasks(&g.graph);
        uint32_t next = 0;
        for (uint32_t i = 0; i < ntasks; i++) {
            ck_assert_uint_eq(regions->of[i], regions->of[expected[i]]); /* the same parts, numbered by their first tasks */
            next += expected[i] == i;
            ck_assert(expected[i] != i || regions->of[i] == next - 1);
        }
        ck_assert_uint_eq(regions->count, next);
        ck_assert_uint_eq(regions->first_task[next], ntasks);
        for (uint32_t r = 0; r < next; r++) {
            for (uint32_t k = regions->first_task[r]; k < regions->first_task[r + 1]; k++) {
                ck_assert_uint_eq(regions->of[regions->tasks[k]], r);
                ck_assert(k == regions->first_task[r] || regions->tasks[k] > regions->tasks[k - 1]);
            }
            ck_assert_uint_gt(weir_regions_slots(regions, r), 0);
        }
        weir_regions_destroy(regions);
    }
}
END_TEST

Suite *regions_suite(void);
Suite *regions_suite(void)
{
    Suite *suite = suite_create("regions");
    TCase *tcase = tcase_create("all");
    tcase_add_test(tcase, forward_edges_join_subtask_by_subtask);
    tcase_add_loop_test(tcase, every_other_exchange_joins_all, 0, 3);
    tcase_add_test(tcase, one_shuffle_downstream_joins_what_was_apart);
    tcase_add_loop_test(tcase, random_graphs_agree_with_the_model, 1, 4);
    suite_add_tcase(suite, tcase);
    return suite;
}
