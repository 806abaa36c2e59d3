#include "common/catalog/secret.h"

#include "common/base/config.h"
#include "common/base/mem.h"

enum { REFERENCE_MAX = 4096 };

enum kind { KIND_FILE, KIND_ENV };

/* The reference that text begins with: its length, or 0 when it is not one. */
static size_t parse_reference(const char *text, enum kind *out_kind, struct weir_slice *out_name)
{
    size_t head = strncmp(text, "${file:", 7) == 0 ? 7 : strncmp(text, "${env:", 6) == 0 ? 6 : 0;
    const char *close = head == 0 ? NULL : strchr(text, '}');
    if (close == NULL || close == text + head || close - text >= REFERENCE_MAX) {
        return 0;
    }
    *out_kind = head == 7 ? KIND_FILE : KIND_ENV;
    *out_name = weir_slice(text + head, (size_t)(close - text) - head);
    if (*out_kind == KIND_FILE && out_name->data[0] != '/') {
        return 0;
    }
    return (size_t)(close - text) + 1;
}

bool weir_secret_has(const char *text)
{
    return strstr(text, "${") != NULL;
}

bool weir_secret_whole(const char *text)
{
    enum kind kind;
    struct weir_slice name;
    size_t len = parse_reference(text, &kind, &name);
    return len > 0 && text[len] == '\0';
}

static enum weir_rc malformed(struct weir_error *err)
{
    return weir_error_set(err, WEIR_INVALID, "\"${\" begins no reference; expected ${file:/absolute/path} or ${env:NAME}");
}

enum weir_rc weir_secret_check(const char *text, struct weir_error *err)
{
    enum kind kind;
    struct weir_slice name;
    for (const char *at = strstr(text, "${"); at != NULL; at = strstr(at, "${")) {
        size_t len = parse_reference(at, &kind, &name);
        if (len == 0) {
            return malformed(err);
        }
        at += len;
    }
    return WEIR_OK;
}

enum weir_rc weir_secret_resolve(const char *text, struct weir_arena *arena, const char **out_text, struct weir_error *err)
{
    char *resolved = NULL;
    enum weir_rc rc = weir_secret_check(text, err);
    if (rc == WEIR_OK) {
        rc = weir_config_resolve_secret(weir_slice_str(text), &resolved, err);
    }
    if (rc == WEIR_OK) {
        *out_text = weir_arena_strdup(arena, resolved);
        explicit_bzero(resolved, strlen(resolved));
        weir_free(resolved);
    }
    return rc;
}
