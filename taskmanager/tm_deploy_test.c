#include "taskmanager/tm_deploy.h"

#include "common/base/mem.h"
#include "proto/plan_codec.h"

#include <check.h>

enum { SUBMITTED = 4, MAX_PARALLELISM = 8, PARTS_MAX = 10 };

/* An order of one task of a source and a sink in one vertex. */
struct order {
    Weir__Control__DeployRequest request;
    Weir__Control__TaskDeployment task;
    Weir__Control__TaskDeployment *tasks[1];
    Weir__Control__StateHandle parts[PARTS_MAX];
    Weir__Control__StateHandle *restore[PARTS_MAX];
    Weir__Control__TaskLocation locations[SUBMITTED];
    Weir__Control__TaskLocation *places[SUBMITTED];
    struct weir_buf graph;
};

static void put_graph(struct weir_buf *out)
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
static void order_init(struct order *order, uint32_t parallelism_max, uint32_t nparts)
{
    static char path[] = "/ckpt/job/chk-3/0-0-1";
    static char address[] = "127.0.0.1:1";
    *order = (struct order){0};
    put_graph(&order->graph);
    weir__control__deploy_request__init(&order->request);
    weir__control__task_deployment__init(&order->task);
    order->request.graph = (ProtobufCBinaryData){.len = order->graph.len, .data = order->graph.data};
    order->request.parallelism_max = parallelism_max;
    order->request.restored_checkpoint_id = 3;
    order->tasks[0] = &order->task;
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

/* The parallelism that comes of it, or 0 when it is refused. */
static uint32_t try_order(struct order *order)
{
    struct weir_jobgraph *graph = NULL;
    struct weir_error err = {0};
    uint32_t parallelism = 0;
    enum weir_rc rc = weir_tm_deploy_graph(&order->request, &graph, &err);
    ck_assert(rc == WEIR_OK || rc == WEIR_INVALID);
    if (rc == WEIR_OK) {
        parallelism = graph->vertices[0].parallelism;
        ck_assert_uint_eq(graph->vertices[0].submitted_parallelism, SUBMITTED);
        weir_jobgraph_destroy(graph);
    }
    return parallelism;
}

START_TEST(the_parallelism_is_the_orders)
{
    static const uint32_t limits[] = {0, 1, 3, 4, 9};
    static const uint32_t becomes[] = {4, 1, 3, 4, 4};
    struct order order;
    order_init(&order, limits[_i], 4);
    order.request.n_locations = becomes[_i];
    ck_assert_uint_eq(try_order(&order), becomes[_i]);
    order.task.subtask = becomes[_i]; /* none of that number */
    ck_assert_uint_eq(try_order(&order), 0);
    order.task.subtask = 0;
    order.request.n_locations--;
    ck_assert_uint_eq(try_order(&order), 0);
    weir_buf_fini(&order.graph);
}
END_TEST

START_TEST(parts_that_cannot_be_are_refused)
{
    struct order order;
    order_init(&order, 2, 4);
    ck_assert_uint_eq(try_order(&order), 2);
    order.parts[2].vertex = 1;
    ck_assert_uint_eq(try_order(&order), 0);
    order.parts[2].vertex = 0;
    order.parts[2].subtask = 3; /* twice */
    ck_assert_uint_eq(try_order(&order), 0);
    order.parts[2].subtask = 4; /* then number 2 is missing */
    ck_assert_uint_eq(try_order(&order), 0);
    order.parts[2].subtask = 2;
    order.task.n_restore = MAX_PARALLELISM;
    ck_assert_uint_eq(try_order(&order), 2);
    order.task.n_restore = MAX_PARALLELISM + 1;
    ck_assert_uint_eq(try_order(&order), 0);
    order.task.n_restore = 1;
    order.parts[0].subtask = 1; /* its own, of as many as now: the task finds out */
    order.task.subtask = 1;
    ck_assert_uint_eq(try_order(&order), 2);
    order.parts[0].subtask = MAX_PARALLELISM;
    ck_assert_uint_eq(try_order(&order), 0);
    order.parts[0].subtask = 0;
    order.request.restored_checkpoint_id = 0;
    ck_assert_uint_eq(try_order(&order), 0);
    order.task.n_restore = 0;
    ck_assert_uint_eq(try_order(&order), 2);
    weir_buf_fini(&order.graph);
}
END_TEST

START_TEST(parts_come_by_subtask)
{
    struct order order;
    struct weir_task_part parts[3];
    order_init(&order, 1, 3);
    order.parts[0].subtask = 2;
    order.parts[2].subtask = 0;
    ck_assert_uint_eq(try_order(&order), 1);
    weir_tm_deploy_parts(&order.task, parts);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(parts[i].subtask, i);
        ck_assert_uint_eq(parts[i].handle.bytes, 102 - i);
    }
    order.task.n_restore = 1;
    weir_tm_deploy_parts(&order.task, parts);
    ck_assert_uint_eq(parts[0].subtask, 2);
    weir_buf_fini(&order.graph);
}
END_TEST

Suite *tm_deploy_suite(void);
Suite *tm_deploy_suite(void)
{
    Suite *suite = suite_create("tm_deploy");
    TCase *tc = tcase_create("all");
    tcase_add_loop_test(tc, the_parallelism_is_the_orders, 0, 5);
    tcase_add_test(tc, parts_that_cannot_be_are_refused);
    tcase_add_test(tc, parts_come_by_subtask);
    suite_add_tcase(suite, tc);
    return suite;
}
