#include "jobmanager/rest/rest_route.h"

#include "common/base/assert.h"

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    uint8_t letter = c | 0x20;
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

bool weir_route_decode(struct weir_slice text, bool plus_is_space, char *out, size_t out_bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        int c = text.data[i];
        if (c == '%') {
            bool whole = text.len - i > 2;
            int high = whole ? hex_digit(text.data[i + 1]) : -1;
            int low = whole ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            c = high * 16 + low;
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c == 0 || n + 1 >= out_bytes) {
            return false;
        }
        out[n++] = (char)c;
    }
    if (out_bytes == 0) {
        return false;
    }
    out[n] = '\0';
    return true;
}

/* Cuts the text up to the next '/' off `rest`, which begins after a '/'. */
static struct weir_slice cut_segment(struct weir_slice *rest)
{
    const uint8_t *slash = rest->len > 0 ? memchr(rest->data, '/', rest->len) : NULL;
    size_t len = slash != NULL ? (size_t)(slash - rest->data) : rest->len;
    struct weir_slice segment = weir_slice(rest->data, len);
    size_t skip = slash != NULL ? len + 1 : len;
    *rest = weir_slice(rest->data + skip, rest->len - skip);
    return segment;
}

bool weir_route_match(const char *pattern, struct weir_slice path, struct weir_route_params *out_params)
{
    weir_assert(pattern[0] == '/');
    if (path.len >= 4 && memcmp(path.data, "/v1/", 4) == 0) {
        path = weir_slice(path.data + 3, path.len - 3);
    }
    if (path.len == 0 || path.data[0] != '/') {
        return false;
    }
    struct weir_slice want = weir_slice_str(pattern + 1);
    struct weir_slice rest = weir_slice(path.data + 1, path.len - 1);
    bool ends_in_slash = path.data[path.len - 1] == '/';
    out_params->count = 0;
    while (want.len > 0 && rest.len > 0) {
        struct weir_slice w = cut_segment(&want);
        struct weir_slice r = cut_segment(&rest);
        if (w.len == 0 || w.data[0] != ':') {
            if (!weir_slice_eq(w, r)) {
                return false;
            }
            continue;
        }
        weir_assert(out_params->count < WEIR_ROUTE_PARAMS_MAX);
        if (r.len == 0 || !weir_route_decode(r, false, out_params->text[out_params->count], WEIR_ROUTE_PARAM_BYTES_MAX)) {
            return false;
        }
        out_params->count++;
    }
    return want.len == 0 && rest.len == 0 && !ends_in_slash;
}

bool weir_route_query(struct weir_slice query, const char *name, char *out, size_t out_bytes)
{
    size_t name_len = strlen(name);
    while (query.len > 0) {
        const uint8_t *amp = memchr(query.data, '&', query.len);
        size_t len = amp != NULL ? (size_t)(amp - query.data) : query.len;
        if (len > name_len && memcmp(query.data, name, name_len) == 0 && query.data[name_len] == '=') {
            return weir_route_decode(weir_slice(query.data + name_len + 1, len - name_len - 1), true, out, out_bytes);
        }
        size_t skip = amp != NULL ? len + 1 : len;
        query = weir_slice(query.data + skip, query.len - skip);
    }
    return false;
}
