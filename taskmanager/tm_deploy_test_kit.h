/*
 * For the tests of what a TaskManager does with orders to deploy: one of them, of a job of a source and a sink.
 */
#ifndef WEIR_TASKMANAGER_TM_DEPLOY_TEST_KIT_H
#define WEIR_TASKMANAGER_TM_DEPLOY_TEST_KIT_H

#include "taskmanager/tm_deploy.h"

#include "common/base/mem.h"
#include "proto/plan_codec.h"

#include <check.h>

enum { SUBMITTED = 4, MAX_PARALLELISM = 8, PARTS_MAX = 10 };

/* An order of one task, or two when n_tasks says so, of a source and a sink in one vertex. */
struct order {
    Weir__Control__DeployRequest request;
    Weir__Control__TaskDeployment task;
    Weir__Control__TaskDeployment other; /* it is of subtask 1, and restores nothing */
    Weir__Control__TaskDeployment *tasks[2];
    Weir__Control__StateHandle parts[PARTS_MAX];
    Weir__Control__StateHandle *restore[PARTS_MAX];
    Weir__Control__TaskLocation locations[SUBMITTED];
    Weir__Control__TaskLocation *places[SUBMITTED];
    struct weir_buf graph;
};

static inline void put_graph(struct weir_buf *out)
{
    struct weir_jobgraph *graph = weir_jobgraph_create();
    struct weir_error err = {0};
    struct weir_field field = {"n", weir_type_of(WEIR_TYPE_BIGINT)};
    struct weir_schema *made = NULL;
    ck_assert_int_eq(weir_schema_create(&field, 1, WEIR_NO_COLUMN, &made, &err), WEIR_OK);
    const struct weir_schema *schema = weir_jobgraph_own_schema_take(graph, made);
    struct weir_table_spec *tables = weir_arena_zalloc(graph->arena, 2 * sizeof(*tables));
    tables[0] = (struct weir_table_spec){.name = "in", .schema = schema, .connector = "datagen"};
    tables[1] = (struct weir_table_spec){.name = "out", .schema = schema, .connector = "blackhole"};
    struct weir_opspec *ops = weir_arena_zalloc(graph->arena, 2 * sizeof(*ops));
    ops[0] = (struct weir_opspec){.tag = WEIR_OP_SOURCE, .uid = "read", .name = "read", .output = schema, .u.io.table = &tables[0]};
    ops[1] = (struct weir_opspec){.tag = WEIR_OP_SINK, .uid = "write", .name = "write", .input = schema, .u.io.table = &tables[1]};
    const struct weir_opspec **chain = weir_arena_zalloc(graph->arena, 2 * sizeof(*chain));
    chain[0] = &ops[0];
    chain[1] = &ops[1];
    struct weir_vertex *vertices = weir_arena_zalloc(graph->arena, sizeof(*vertices));
    vertices[0] = (struct weir_vertex){.id = "00112233445566778899aabbccddeeff", .name = "read -> write", .parallelism = SUBMITTED,
                                       .max_parallelism = MAX_PARALLELISM, .ops = chain, .nops = 2};
    graph->name = "deploy";
    graph->settings = (struct weir_job_settings){.parallelism = SUBMITTED, .max_parallelism = MAX_PARALLELISM, .watermark_interval_ms = 200,
                                                 .record_bytes_max = 1 << 20};
    graph->vertices = vertices;
    graph->nvertices = 1;
    weir_jobgraph_link(graph, vertices);
    ck_assert_msg(weir_jobgraph_check(graph, &err) == WEIR_OK, "%s", err.text);
    weir_plan_encode(graph, out);
    weir_jobgraph_destroy(graph);
}

/* Of a job that has so many subtasks now, restored from the parts of so many. */
static inline void order_init(struct order *order, uint32_t parallelism_max, uint32_t nparts)
{
    static char path[] = "/ckpt/job/chk-3/0-0-1";
    static char address[] = "127.0.0.1:1";
    *order = (struct order){0};
    put_graph(&order->graph);
    weir__control__deploy_request__init(&order->request);
    weir__control__task_deployment__init(&order->task);
    weir__control__task_deployment__init(&order->other);
    order->other.subtask = 1;
    order->request.graph = (ProtobufCBinaryData){.len = order->graph.len, .data = order->graph.data};
    order->request.parallelism_max = parallelism_max;
    order->request.restored_checkpoint_id = 3;
    order->tasks[0] = &order->task;
    order->tasks[1] = &order->other;
    order->request.tasks = order->tasks;
    order->request.n_tasks = 1;
    for (uint32_t i = 0; i < PARTS_MAX; i++) {
        weir__control__state_handle__init(&order->parts[i]);
        order->parts[i].subtask = i;
        order->parts[i].path = path;
        order->parts[i].bytes = 100 + i;
        order->restore[i] = &order->parts[i];
    }
    order->task.restore = order->restore;
    order->task.n_restore = nparts;
    for (uint32_t i = 0; i < SUBMITTED; i++) {
        weir__control__task_location__init(&order->locations[i]);
        order->locations[i].subtask = i;
        order->locations[i].data_address = address;
        order->places[i] = &order->locations[i];
    }
    order->request.locations = order->places;
    order->request.n_locations = parallelism_max == 0 ? SUBMITTED : parallelism_max;
}

#endif
