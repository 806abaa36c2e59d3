/*
 * The HTTP API's own part of a request: which route a path means, and the errors that repeat what was asked. Requests are parsed by
 * libmicrohttpd, and handlers need a JobManager: tests/integration/test_bad_input.py sends those to a real one.
 */
#include "common/base/mem.h"
#include "jobmanager/rest/rest_request.h"
#include "tests/fuzz/fuzz.h"

#include <jansson.h>

static void *create(void)
{
    return NULL;
}

static void destroy(void *state)
{
    (void)state;
}

static void run(void *state, struct weir_slice input)
{
    (void)state;
    char *path = weir_strndup(input.data, input.len); /* a path ends at its first NUL, as in MHD */
    for (const struct weir_rest_route *route = weir_rest_routes; route->method != NULL; route++) {
        struct weir_route_params params;
        if (weir_route_match(route->pattern, path, &params)) {
            weir_assert(params.count <= WEIR_ROUTE_PARAMS_MAX);
            for (uint32_t i = 0; i < params.count; i++) {
                weir_assert(params.text[i][0] != '\0' && strchr(params.text[i], '/') == NULL);
            }
        }
    }
    struct json_t *errors = weir_rest_errors(path);
    weir_assert(errors != NULL);
    json_decref(errors);
    weir_free(path);
}

static const char *const tokens[] = {"/", "/v1", "/jobs", "/jobs/", "/overview", "/taskmanagers/", "/log", "/vertices/", "/checkpoints", "/config", "..",
                                     "%2f", "%00", "//", ":", "\n", "\xff", "\xed\xa0\x80", NULL};

const struct weir_fuzz_target weir_fuzz_rest = {.name = "rest", .tokens = tokens, .create = create, .run = run, .destroy = destroy};
