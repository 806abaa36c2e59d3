#include "jobmanager/jobfile/jobfile_model.h"

#include "common/base/config.h"

#include <stdarg.h>
#include <stdio.h>

enum { SUGGEST_LIST_MAX = 8, MORE_TEXT_BYTES = 32, SHOWN_MAX = 80 };

void weir__jobfile_problem(struct weir_jobfile *jf, const struct weir_yaml *node, const char *format, ...)
{
    char text[WEIR_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    weir_buf_put_fmt(&jf->problems, "%s:%u:%u: %s\n", jf->file, node->line, node->column, text);
    jf->nproblems++;
}

/* Where in the file's text line and column (characters, from 1) are; NULL beyond its end. */
static const uint8_t *find_place(struct weir_slice text, uint32_t line, uint32_t column)
{
    const uint8_t *at = text.data;
    const uint8_t *end = text.data + text.len;
    for (uint32_t i = 1; i < line; i++) {
        at = at >= end ? NULL : memchr(at, '\n', (size_t)(end - at));
        if (at == NULL) {
            return NULL;
        }
        at++;
    }
    for (uint32_t i = 1; i < column && at < end; i++) {
        at++;
        while (at < end && (*at & 0xc0) == 0x80) { /* UTF-8 continuation */
            at++;
        }
    }
    return at < end ? at : NULL;
}

/* How far behind the node's column its text begins in the file: 0 plain, 1 quoted; -1 when it does not stand there as it is. */
static int text_shift(const struct weir_jobfile *jf, const struct weir_yaml *node)
{
    const uint8_t *at = find_place(jf->text, node->line, node->column);
    const uint8_t *end = jf->text.data + jf->text.len;
    for (int shift = 0; at != NULL && shift <= 1; shift++) {
        if ((size_t)(end - at) >= node->text.len + (size_t)shift && memcmp(at + shift, node->text.data, node->text.len) == 0) {
            return shift;
        }
    }
    return -1;
}

void weir__jobfile_expr_problem(struct weir_jobfile *jf, const struct weir_yaml *node, const struct weir_error *err)
{
    unsigned line = 0;
    unsigned column = 0;
    int used = 0;
    if (sscanf(err->text, "%5u:%7u: %n", &line, &column, &used) != 2 || used == 0) {
        weir__jobfile_problem(jf, node, "%s", err->text);
        return;
    }
    int shift = text_shift(jf, node);
    if (line == 1 && shift >= 0) {
        struct weir_yaml place = *node;
        place.column += (uint32_t)shift + column - 1;
        weir__jobfile_problem(jf, &place, "%s", err->text + used);
    } else {
        weir__jobfile_problem(jf, node, "at %u:%u of the expression: %s", line, column, err->text + used);
    }
}

enum weir_rc weir__jobfile_problems_error(const struct weir_jobfile *jf, struct weir_error *err)
{
    const char *all = (const char *)jf->problems.data;
    size_t shown = 0;
    uint32_t count = 0;
    while (shown < jf->problems.len) {
        const char *newline = memchr(all + shown, '\n', jf->problems.len - shown);
        size_t next = (size_t)(newline - all) + 1;
        if (count > 0 && next > WEIR_ERROR_TEXT_MAX - MORE_TEXT_BYTES) {
            break;
        }
        shown = next;
        count++;
    }
    if (count == jf->nproblems) {
        return weir_error_set(err, WEIR_INVALID, "%.*s", (int)shown - 1, all);
    }
    return weir_error_set(err, WEIR_INVALID, "%.*sand %u more", (int)shown, all, jf->nproblems - count);
}

bool weir__jobfile_text(struct weir_jobfile *jf, const struct weir_yaml *node, const char *what, struct weir_slice *out_text)
{
    if (node->kind != WEIR_YAML_SCALAR || weir_yaml_is_null(node) || node->text.len == 0) {
        weir__jobfile_problem(jf, node, "%s is %s; expected a text", what,
                              node->kind == WEIR_YAML_MAP        ? "a map"
                              : node->kind == WEIR_YAML_SEQUENCE ? "a list"
                                                                 : "empty");
        return false;
    }
    if (memchr(node->text.data, '\0', node->text.len) != NULL) {
        weir__jobfile_problem(jf, node, "%s holds a NUL character; expected a text", what);
        return false;
    }
    *out_text = node->text;
    return true;
}

bool weir__jobfile_map(struct weir_jobfile *jf, const struct weir_yaml *node, const char *what, const char *const *keys)
{
    size_t count = 0;
    while (keys[count] != NULL) {
        count++;
    }
    struct weir_buf list = {0};
    for (size_t i = 0; i < count; i++) {
        weir_buf_put_fmt(&list, "%s%s", i == 0 ? "" : ", ", keys[i]);
    }
    weir_buf_put_u8(&list, 0);
    bool ok = node->kind == WEIR_YAML_MAP;
    if (!ok) {
        weir__jobfile_problem(jf, node, "%s is %s; expected a map with %s", what,
                              node->kind == WEIR_YAML_SEQUENCE ? "a list" : weir_yaml_is_null(node) ? "empty" : "a text",
                              (const char *)list.data);
    }
    for (size_t i = 0; node->kind == WEIR_YAML_MAP && i < node->count; i++) {
        struct weir_slice key = node->keys[i]->text;
        bool known = false;
        for (size_t k = 0; k < count; k++) {
            known = known || weir_slice_eq_str(key, keys[k]);
        }
        if (!known) {
            const char *near = weir_nearest_name(key, keys, count);
            weir__jobfile_problem(jf, node->keys[i],
                                  "unknown key \"%.*s\" in %s; %s%s%s", (int)(key.len > SHOWN_MAX ? SHOWN_MAX : key.len),
                                  (const char *)key.data, what, near == NULL ? "expected " : "did you mean ",
                                  near == NULL ? (const char *)list.data : near, near == NULL ? "" : "?");
            ok = false;
        }
    }
    weir_buf_fini(&list);
    return ok;
}

bool weir__jobfile_duration(struct weir_jobfile *jf, const struct weir_yaml *node, const char *what, int64_t least_ms, int64_t *out_ms)
{
    struct weir_slice text;
    if (!weir__jobfile_text(jf, node, what, &text)) {
        return false;
    }
    struct weir_error err;
    int64_t ms;
    if (weir_config_parse_duration(text, &ms, &err) != WEIR_OK) {
        weir__jobfile_problem(jf, node, "%s: %s", what, err.text);
        return false;
    }
    if (ms < least_ms) {
        weir__jobfile_problem(jf, node, "%s is %lld ms; expected at least %lld ms", what, (long long)ms, (long long)least_ms);
        return false;
    }
    *out_ms = ms;
    return true;
}

const char *weir__jobfile_suggest(struct weir_jobfile *jf, struct weir_slice name, const char *const *names, size_t count)
{
    const char *near = weir_nearest_name(name, names, count);
    if (near != NULL) {
        return weir_arena_fmt(jf->arena, "; did you mean \"%s\"?", near);
    }
    if (count == 0) {
        return "; there are none";
    }
    struct weir_buf list = {0};
    for (size_t i = 0; i < count && i < SUGGEST_LIST_MAX; i++) {
        weir_buf_put_fmt(&list, "%s%s", i == 0 ? "" : ", ", names[i]);
    }
    const char *text = weir_arena_fmt(jf->arena, "; expected one of %.*s%s", WEIR_SLICE_ARG(weir_buf_slice(&list)),
                                      count > SUGGEST_LIST_MAX ? ", ..." : "");
    weir_buf_fini(&list);
    return text;
}
