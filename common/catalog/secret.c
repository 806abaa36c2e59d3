#include "common/catalog/secret.h"

#include "common/base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { REFERENCE_MAX = 4096, SHOWN_MAX = 120 };

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
    return weir_error_set(err, WEIR_INVALID,
                          "\"${\" begins no reference; expected ${file:/absolute/path} or ${env:NAME}");
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

static enum weir_rc put_file(const char *path, struct weir_buf *out, struct weir_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return weir_error_errno(err, WEIR_NOT_FOUND, errno, "${file:%.*s} cannot be opened", SHOWN_MAX, path);
    }
    size_t start = out->len;
    enum weir_rc rc = WEIR_OK;
    for (;;) {
        uint8_t *to = weir_buf_reserve(out, WEIR_SECRET_BYTES_MAX + 1);
        ssize_t got = read(fd, to, WEIR_SECRET_BYTES_MAX + 1);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            rc = weir_error_errno(err, WEIR_NOT_FOUND, errno, "${file:%.*s} cannot be read", SHOWN_MAX, path);
            break;
        }
        if (got == 0) {
            break;
        }
        out->len += (size_t)got;
        if (out->len - start > WEIR_SECRET_BYTES_MAX) {
            rc = weir_error_set(err, WEIR_LIMIT, "${file:%.*s} has more than %d bytes", SHOWN_MAX, path, WEIR_SECRET_BYTES_MAX);
            break;
        }
    }
    (void)close(fd);
    if (rc == WEIR_OK && out->len > start && out->data[out->len - 1] == '\n') {
        out->len--;
        out->len -= out->len > start && out->data[out->len - 1] == '\r';
    }
    return rc;
}

static enum weir_rc put_env(const char *name, struct weir_buf *out, struct weir_error *err)
{
    const char *value = getenv(name);
    if (value == NULL) {
        return weir_error_set(err, WEIR_NOT_FOUND, "${env:%.*s}: the TaskManager's environment has no such variable", SHOWN_MAX, name);
    }
    if (strlen(value) > WEIR_SECRET_BYTES_MAX) {
        return weir_error_set(err, WEIR_LIMIT, "${env:%.*s} has more than %d bytes", SHOWN_MAX, name, WEIR_SECRET_BYTES_MAX);
    }
    weir_buf_put_str(out, value);
    return WEIR_OK;
}

enum weir_rc weir_secret_resolve(const char *text, struct weir_arena *arena, const char **out_text, struct weir_error *err)
{
    struct weir_buf out = {0};
    enum weir_rc rc = WEIR_OK;
    while (rc == WEIR_OK && *text != '\0') {
        const char *at = strstr(text, "${");
        if (at == NULL) {
            weir_buf_put_str(&out, text);
            break;
        }
        weir_buf_put(&out, text, (size_t)(at - text));
        enum kind kind;
        struct weir_slice name;
        size_t len = parse_reference(at, &kind, &name);
        if (len == 0) {
            rc = malformed(err);
            break;
        }
        char copy[REFERENCE_MAX];
        memcpy(copy, name.data, name.len);
        copy[name.len] = '\0';
        rc = kind == KIND_FILE ? put_file(copy, &out, err) : put_env(copy, &out, err);
        text = at + len;
    }
    if (rc == WEIR_OK && out.len > 0 && memchr(out.data, '\0', out.len) != NULL) {
        rc = weir_error_set(err, WEIR_INVALID, "what a ${file:...} stands for holds a NUL character; expected a text");
    }
    if (rc == WEIR_OK) {
        *out_text = weir_arena_strndup(arena, out.data, out.len);
    }
    if (out.data != NULL) {
        explicit_bzero(out.data, out.len);
    }
    weir_buf_fini(&out);
    return rc;
}
