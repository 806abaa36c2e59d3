/*
 * HTTP in a simulated cluster: common/net/http_server.h without libmicrohttpd. Whole requests come to the real handlers, and whole answers back,
 * late or never; each comes at most once.
 */
#ifndef WEIR_TESTS_SIM_CLUSTER_HTTP_H
#define WEIR_TESTS_SIM_CLUSTER_HTTP_H

#include "tests/sim/cluster/world.h"

enum { WEIR_SIM_HTTP_QUERIES_MAX = 2 };

/* Texts are owned by whoever asks, until the end of the run: what was given up may still arrive. */
struct weir_sim_http_question {
    const char *method, *path;
    struct {
        const char *name, *value;
    } queries[WEIR_SIM_HTTP_QUERIES_MAX];
    const char *content_type; /* or NULL */
    const char *body;
};

struct weir_sim_http_answer {
    unsigned status;
    char elsewhere[64]; /* of a redirection: the host's address */
    char text[1024];    /* the body's beginning */
};

/* Asks the server at "address:port". Blocks the coroutine; false: nobody has answered within patience_ns. */
bool weir_sim_http_ask(struct weir_sim_node *from, const char *address, const struct weir_sim_http_question *question, int64_t patience_ns,
                       struct weir_sim_http_answer *out_answer);

#endif
