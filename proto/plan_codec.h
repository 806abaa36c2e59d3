/*
 * Job graphs as bytes and back: "WPLN", u32 version, u32 CRC32C of the body, and the body, a JobGraph of plan.proto.
 */
#ifndef WEIR_PROTO_PLAN_CODEC_H
#define WEIR_PROTO_PLAN_CODEC_H

#include "common/base/buf.h"
#include "common/plan/jobgraph.h"

enum { WEIR_PLAN_VERSION = 1, WEIR_PLAN_HEADER_BYTES = 12 };

/* Appends the encoded graph: the same bytes for the same graph. */
void weir_plan_encode(const struct weir_jobgraph *graph, struct weir_buf *out);

/* Decodes, resolves every expression (weir_expr_resolve) and checks the graph (weir_jobgraph_check). CORRUPT, INVALID, UNSUPPORTED
 * (another version, with both named). */
enum weir_rc weir_plan_decode(struct weir_slice bytes, struct weir_jobgraph **out_graph, struct weir_error *err) WEIR_CHECKED;

#endif
