#include "taskmanager/tm_deploy_test_kit.h"

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

START_TEST(a_task_is_ordered_once)
{
    struct order order;
    struct weir_jobgraph *graph = NULL;
    struct weir_error err = {0};
    order_init(&order, 2, 0);
    order.request.n_tasks = 2;
    ck_assert_uint_eq(try_order(&order), 2);
    order.other.subtask = 0;
    ck_assert_int_eq(weir_tm_deploy_graph(&order.request, &graph, &err), WEIR_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "task (0, 0) is named twice"));
    order.task.subtask = 1;
    ck_assert_uint_eq(try_order(&order), 2); /* in any order */
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
    tcase_add_test(tc, a_task_is_ordered_once);
    tcase_add_test(tc, parts_come_by_subtask);
    suite_add_tcase(suite, tc);
    return suite;
}
