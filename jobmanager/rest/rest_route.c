#include "jobmanager/rest/rest_route.h"

#include "common/base/assert.h"

/* Cuts the text up to the next '/' off `rest`, which begins after a '/'. */
static struct weir_slice cut_segment(const char **rest)
{
    size_t len = strcspn(*rest, "/");
    struct weir_slice segment = weir_slice(*rest, len);
    *rest += (*rest)[len] == '/' ? len + 1 : len;
    return segment;
}

bool weir_route_match(const char *pattern, const char *path, struct weir_route_params *out_params)
{
    weir_assert(pattern[0] == '/');
    if (strncmp(path, "/v1/", 4) == 0) {
        path += 3;
    }
    if (path[0] != '/' || path[strlen(path) - 1] == '/') {
        return false;
    }
    const char *want = pattern + 1;
    const char *rest = path + 1;
    out_params->count = 0;
    while (*want != '\0' && *rest != '\0') {
        struct weir_slice w = cut_segment(&want);
        struct weir_slice r = cut_segment(&rest);
        if (w.len == 0 || w.data[0] != ':') {
            if (!weir_slice_eq(w, r)) {
                return false;
            }
            continue;
        }
        weir_assert(out_params->count < WEIR_ROUTE_PARAMS_MAX);
        if (r.len == 0 || r.len >= WEIR_ROUTE_PARAM_BYTES_MAX) {
            return false;
        }
        char *text = out_params->text[out_params->count++];
        memcpy(text, r.data, r.len);
        text[r.len] = '\0';
    }
    return *want == '\0' && *rest == '\0';
}
