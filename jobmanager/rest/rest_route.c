#include "jobmanager/rest/rest_route.h"

#include "common/base/assert.h"
#include "common/base/version.h"

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

enum weir_rc weir_route_check_version(const char *version, struct weir_error *err)
{
    if (version == NULL || strcmp(version, WEIR_VERSION) == 0) {
        return WEIR_OK;
    }
    char shown[40] = "";
    for (size_t i = 0; version[i] != '\0' && i < sizeof(shown) - 1; i++) { /* whatever it is */
        shown[i] = version[i] > 0x20 && version[i] < 0x7f ? version[i] : '?';
        shown[i + 1] = '\0';
    }
    return weir_error_set(err, WEIR_INVALID, "this client is of Weir %s, but the JobManager is of Weir %s: run the same release of Weir on both",
                          shown, WEIR_VERSION);
}
