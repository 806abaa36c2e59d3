/*
 * Requests of the HTTP API: which row of a route table a path means, and whose are served. Pure.
 *
 * Patterns are "/jobs/:jobid/vertices/:vertexid": a segment that begins with ':' takes any one segment. Each pattern also answers under
 * /v1, as in Flink.
 */
#ifndef WEIR_JOBMANAGER_REST_REST_ROUTE_H
#define WEIR_JOBMANAGER_REST_REST_ROUTE_H

#include "common/base/error.h"
#include "common/base/slice.h"

enum { WEIR_ROUTE_PARAMS_MAX = 2, WEIR_ROUTE_PARAM_BYTES_MAX = 512 };

struct weir_route_params {
    char text[WEIR_ROUTE_PARAMS_MAX][WEIR_ROUTE_PARAM_BYTES_MAX]; /* in the pattern's order, NUL-terminated */
    uint32_t count;
};

/* Whether `path` (percent-decoded, without its query) fits `pattern`; the parameters when it does. */
bool weir_route_match(const char *pattern, const char *path, struct weir_route_params *out_params);

/* Whether a client that names this version is served: the same release only, as between daemons. NULL: it names none, and is. INVALID. */
enum weir_rc weir_route_check_version(const char *version, struct weir_error *err) WEIR_CHECKED;

#endif
