/*
 * Job graphs as bytes (plan.proto, versioned) and back.
 */
#ifndef WEIR_PROTO_PLAN_CODEC_H
#define WEIR_PROTO_PLAN_CODEC_H

#include "common/plan/jobgraph.h"

/* Appends the encoded graph. */
void weir_plan_encode(const struct weir_jobgraph *graph, struct weir_buf *out);

/* Decodes, resolves every expression (weir_expr_resolve) and checks the graph (weir_jobgraph_check). CORRUPT, INVALID, UNSUPPORTED
 * (another version, with both named). */
enum weir_rc weir_plan_decode(struct weir_slice bytes, struct weir_jobgraph **out_graph, struct weir_error *err) WEIR_CHECKED;

#endif
