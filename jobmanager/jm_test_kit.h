/*
 * For jm_test and jm_cluster_test: the job, and what the TaskManager tm-1, which they play, says of its two tasks and hears.
 */
#ifndef WEIR_JOBMANAGER_JM_TEST_KIT_H
#define WEIR_JOBMANAGER_JM_TEST_KIT_H

#include <check.h>

#include "common/plan/jobgraph.h"
#include "proto/control.pb-c.h"
#include "proto/pb.h"

static char jm_test_tm_id[] = "tm-1";
static char jm_test_job_id[] = "0123456789abcdef0123456789abcdef";

/* The job: one vertex of two tasks, whatever the bytes say. */
static const struct weir_opspec jm_test_source = {.tag = WEIR_OP_SOURCE, .uid = "read", .name = "read"};
static const struct weir_opspec *const jm_test_ops[] = {&jm_test_source};
static const struct weir_vertex jm_test_vertices[] = {
    {.id = "v0", .name = "read", .parallelism = 2, .submitted_parallelism = 2, .max_parallelism = 128, .ops = jm_test_ops, .nops = 1}};

static inline enum weir_rc jm_test_decode(struct weir_slice bytes, struct weir_jobgraph **out_graph, struct weir_error *err)
{
    (void)bytes;
    (void)err;
    struct weir_jobgraph *graph = weir_jobgraph_create();
    graph->name = "test";
    graph->vertices = jm_test_vertices;
    graph->nvertices = 1;
    *out_graph = graph;
    return WEIR_OK;
}

/* The request points into the rest. */
struct jm_test_register {
    Weir__Control__RegisterRequest request;
    Weir__Control__TaskStatus statuses[2], *pointers[2];
    Weir__Control__TaskRef refs[2];
};

/* With both tasks of attempt 1 in `state`; none: it has no tasks. rpc_address is borrowed. */
static inline void jm_test_register_init(struct jm_test_register *to, char *rpc_address, bool none, Weir__Control__TaskState state)
{
    static char data_address[] = "127.0.0.1:9";
    weir__control__register_request__init(&to->request);
    to->request.tm_id = jm_test_tm_id;
    to->request.rpc_address = rpc_address;
    to->request.data_address = data_address;
    to->request.slots = 2;
    for (uint32_t i = 0; i < 2; i++) {
        weir__control__task_status__init(&to->statuses[i]);
        weir__control__task_ref__init(&to->refs[i]);
        to->refs[i].job_id = jm_test_job_id;
        to->refs[i].attempt = 1;
        to->refs[i].subtask = i;
        to->statuses[i].task = &to->refs[i];
        to->statuses[i].state = state;
        to->pointers[i] = &to->statuses[i];
    }
    to->request.tasks = to->pointers;
    to->request.n_tasks = none ? 0 : 2;
}

static inline void jm_test_lease_init(Weir__Control__LeaseRequest *to, uint64_t epoch, uint32_t attempt)
{
    weir__control__lease_request__init(to);
    to->tm_id = jm_test_tm_id;
    to->leader_epoch = epoch;
    to->job_id = jm_test_job_id;
    to->attempt = attempt;
}

/* OK: the attempt is the present one; STALE: it is not, and the answer says why; UNKNOWN: the call has failed. */
static inline enum weir_rc jm_test_lease_answer(enum weir_rc called, struct weir_slice body)
{
    if (called != WEIR_OK) {
        return WEIR_UNKNOWN;
    }
    Weir__Control__LeaseReply *reply = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_pb_decode(&weir__control__lease_reply__descriptor, body, &reply, &err), WEIR_OK);
    ck_assert(reply->present == (reply->why[0] == '\0'));
    enum weir_rc rc = reply->present ? WEIR_OK : WEIR_STALE;
    weir_pb_free(reply);
    return rc;
}

#endif
