/*
 * A small cluster as the HTTP API sees it (one running job of two vertices, two TaskManagers), and the comparison of a document with a
 * body that a real Flink answered.
 */
#ifndef WEIR_TESTS_LIB_REST_VIEWS_H
#define WEIR_TESTS_LIB_REST_VIEWS_H

#include "jobmanager/rest/rest_cluster.h"

enum { REST_VIEWS_NOW_MS = 1000000 };

struct rest_views {
    struct weir_opspec ops[3];
    const struct weir_opspec *chain0[2];
    const struct weir_opspec *chain1[1];
    uint32_t edge_list[1];
    struct weir_edge edges[1];
    struct weir_vertex vertices[2];
    struct weir_jobgraph graph;
    struct weir_task_view tasks[4];
    struct weir_failure_view failures[2];
    struct weir_job_view job;
    struct weir_tm_view tms[2];
    struct weir_rest_cluster cluster;
};

/* Fills views; everything in it points into it. */
void rest_views_init(struct rest_views *views);

/* Fails the test unless every field of the sample's body stands in `ours` with the same JSON type. Takes over `ours`. */
void rest_views_check_sample(const char *sample_file, struct json_t *ours);

#endif
