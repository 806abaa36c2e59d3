/*
 * Paths and queries of the HTTP API: which row of a route table a request means. Pure.
 *
 * Patterns are "/jobs/:jobid/vertices/:vertexid": a segment that begins with ':' takes any one segment, percent-decoded, so ids may hold
 * every character. Each pattern also answers under /v1, as in Flink.
 */
#ifndef WEIR_JOBMANAGER_REST_REST_ROUTE_H
#define WEIR_JOBMANAGER_REST_REST_ROUTE_H

#include "common/base/rc.h"
#include "common/base/slice.h"

#include <stdint.h>

enum { WEIR_ROUTE_PARAMS_MAX = 2, WEIR_ROUTE_PARAM_BYTES_MAX = 512 };

struct weir_route_params {
    char text[WEIR_ROUTE_PARAMS_MAX][WEIR_ROUTE_PARAM_BYTES_MAX]; /* in the pattern's order, NUL-terminated */
    uint32_t count;
};

/* Whether `path` (as it came, still percent-encoded, without its query) fits `pattern`; the parameters when it does. */
bool weir_route_match(const char *pattern, struct weir_slice path, struct weir_route_params *out_params);

/* The value of `name` in a query "a=1&b=2", decoded and NUL-terminated; false when it is not there or does not fit. */
bool weir_route_query(struct weir_slice query, const char *name, char *out, size_t out_bytes);

/* %41 -> A, NUL-terminated; false when out is too small, an escape is broken, or it decodes to a NUL. */
bool weir_route_decode(struct weir_slice text, bool plus_is_space, char *out, size_t out_bytes);

#endif
