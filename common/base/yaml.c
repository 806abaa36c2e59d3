#include "common/base/yaml.h"

#include "common/base/arena.h"
#include "common/base/assert.h"
#include "common/base/hmap.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <yaml.h>

struct builder {
    yaml_parser_t parser;
    const char *file;
    struct weir_arena *arena;
    struct weir_error *err;
    size_t nodes;
};

/* A collection under construction. */
struct children {
    struct weir_yaml **nodes; /* elements, or key, value, key, value... */
    size_t len;
    size_t cap;
};

static enum weir_rc fail_at(struct weir_error *err, enum weir_rc rc, const char *file, yaml_mark_t mark, const char *format,
                            ...) __attribute__((format(printf, 5, 6)));

static enum weir_rc fail_at(struct weir_error *err, enum weir_rc rc, const char *file, yaml_mark_t mark, const char *format,
                            ...)
{
    va_list args;
    va_start(args, format);
    char text[WEIR_ERROR_TEXT_MAX];
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return weir_error_set(err, rc, "%s:%zu:%zu: %s", file, mark.line + 1, mark.column + 1, text);
}

enum weir_rc weir_yaml_error(struct weir_error *err, const char *file, const struct weir_yaml *node, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char text[WEIR_ERROR_TEXT_MAX];
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return weir_error_set(err, WEIR_INVALID, "%s:%u:%u: %s", file, node->line, node->column, text);
}

/* What to do about libyaml's commonest complaints. */
static const char *hint_for(const char *problem)
{
    static const char *const hints[][2] = {
        {"mapping values are not allowed", " (a value that contains \": \" must be quoted; or the indentation is off)"},
        {"cannot start any token", " (tabs cannot indent; a value that starts with @, ` or % must be quoted)"},
        {"did not find expected ',' or '}'", " (inside { } a value with , : { } [ ] must be quoted)"},
        {"did not find expected ',' or ']'", " (inside [ ] a value with , : { } [ ] must be quoted)"},
        {"did not find expected key", " (check the indentation and the quotes of the lines above)"},
        {"could not find expected ':'", " (a key needs \": \" after it; check the quotes of the lines above)"},
        {"did not find expected '-' indicator", " (check the indentation)"},
    };
    for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
        if (strstr(problem, hints[i][0]) != NULL) {
            return hints[i][1];
        }
    }
    return "";
}

static enum weir_rc parser_failed(struct builder *b)
{
    const yaml_parser_t *parser = &b->parser;
    const char *problem = parser->problem == NULL ? "not YAML" : parser->problem;
    if (parser->error == YAML_READER_ERROR) {
        return weir_error_set(b->err, WEIR_INVALID, "%s: byte %zu: %s (the file must be UTF-8 text)", b->file,
                              parser->problem_offset, problem);
    }
    if (parser->context != NULL) {
        return fail_at(b->err, WEIR_INVALID, b->file, parser->problem_mark, "%s, %s that began at line %zu%s", problem,
                       parser->context, parser->context_mark.line + 1, hint_for(problem));
    }
    return fail_at(b->err, WEIR_INVALID, b->file, parser->problem_mark, "%s%s", problem, hint_for(problem));
}

static enum weir_rc next_event(struct builder *b, yaml_event_t *out_event)
{
    return yaml_parser_parse(&b->parser, out_event) ? WEIR_OK : parser_failed(b);
}

static enum weir_rc refuse_properties(struct builder *b, const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL;
    const yaml_char_t *tag = NULL;
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    } else {
        return fail_at(b->err, WEIR_INVALID, b->file, event->start_mark,
                       "aliases (*name) are not allowed; a text that starts with * must be quoted");
    }
    if (anchor != NULL) {
        return fail_at(b->err, WEIR_INVALID, b->file, event->start_mark,
                       "anchors (&name) are not allowed; a text that starts with & must be quoted");
    }
    if (tag != NULL) {
        return fail_at(b->err, WEIR_INVALID, b->file, event->start_mark,
                       "tags (!name) are not allowed; a text that starts with ! must be quoted");
    }
    return WEIR_OK;
}

/* Whether a plain text opens a parenthesis or a type's angle bracket that it does not close. */
static bool left_open(const struct weir_yaml *node)
{
    static const char *const openers[] = {"ARRAY<", "MAP<", "MULTISET<", "ROW<"};
    if (node->kind != WEIR_YAML_SCALAR || node->quoted) {
        return false;
    }
    int round = 0;
    int angle = 0;
    for (size_t i = 0; i < node->text.len; i++) {
        uint8_t c = node->text.data[i];
        round += (c == '(') - (c == ')');
        angle += (c == '<') - (c == '>');
    }
    if (round > 0) {
        return true;
    }
    for (size_t i = 0; i < sizeof(openers) / sizeof(openers[0]); i++) {
        size_t len = strlen(openers[i]);
        if (angle > 0 && node->text.len >= len && strncasecmp((const char *)node->text.data, openers[i], len) == 0) {
            return true;
        }
    }
    return false;
}

/* In `{type: DECIMAL(10, 2)}` YAML sees the value `DECIMAL(10` and a further key `2)`: tells what was meant. */
static enum weir_rc check_cut(struct builder *b, const struct weir_yaml *before, const struct weir_yaml *after)
{
    enum { SHOWN_MAX = 60 };
    if (!left_open(before) || after->kind != WEIR_YAML_SCALAR) {
        return WEIR_OK;
    }
    int before_len = (int)(before->text.len > SHOWN_MAX ? SHOWN_MAX : before->text.len);
    int after_len = (int)(after->text.len > SHOWN_MAX ? SHOWN_MAX : after->text.len);
    const char *first = (const char *)before->text.data;
    const char *second = (const char *)after->text.data;
    return weir_yaml_error(b->err, b->file, before,
                           "`%.*s` is cut at the comma: inside { } and [ ] a type or expression with commas must be quoted, "
                           "as in \"%.*s, %.*s%s\"", before_len, first, before_len, first, after_len, second,
                           memchr(second, ')', after->text.len) == NULL && memchr(second, '>', after->text.len) == NULL
                               ? " ..." : "");
}

static enum weir_rc build_node(struct builder *b, const yaml_event_t *event, unsigned depth, struct weir_yaml **out_node);

/* Reads children up to the collection's end. */
static enum weir_rc build_children(struct builder *b, struct weir_yaml *parent, bool flow, unsigned depth,
                                   struct children *children)
{
    bool is_map = parent->kind == WEIR_YAML_MAP;
    yaml_event_type_t end = is_map ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
    for (;;) {
        yaml_event_t event;
        enum weir_rc rc = next_event(b, &event);
        if (rc != WEIR_OK) {
            return rc;
        }
        bool ended = event.type == end;
        struct weir_yaml *node = NULL;
        if (!ended) {
            rc = build_node(b, &event, depth + 1, &node);
        }
        yaml_event_delete(&event);
        if (ended || rc != WEIR_OK) {
            return rc;
        }
        bool is_key = is_map && children->len % 2 == 0;
        if (is_key && node->kind != WEIR_YAML_SCALAR) {
            return weir_yaml_error(b->err, b->file, node, "a key must be a plain or quoted text");
        }
        if (flow && children->len > 0 && (is_key || !is_map)) {
            rc = check_cut(b, children->nodes[children->len - 1], node);
            if (rc != WEIR_OK) {
                return rc;
            }
        }
        children->nodes = weir_vec_grow(children->nodes, &children->cap, sizeof(*children->nodes), children->len + 1);
        children->nodes[children->len++] = node;
    }
}

static enum weir_rc check_duplicates(struct builder *b, const struct weir_yaml *map)
{
    enum weir_rc rc = WEIR_OK;
    struct weir_hmap *seen = weir_hmap_create(0);
    for (size_t i = 0; i < map->count && rc == WEIR_OK; i++) {
        const struct weir_yaml *first = weir_hmap_put(seen, map->keys[i]->text, map->keys[i]);
        if (first != NULL) {
            rc = weir_yaml_error(b->err, b->file, map->keys[i], "duplicate key `%.*s`: it stands at %u:%u already",
                                 WEIR_SLICE_ARG(map->keys[i]->text), first->line, first->column);
        }
    }
    weir_hmap_destroy(seen);
    return rc;
}

static enum weir_rc build_collection(struct builder *b, struct weir_yaml *node, bool flow, unsigned depth)
{
    struct children children = {0};
    enum weir_rc rc = build_children(b, node, flow, depth, &children);
    if (rc != WEIR_OK) {
        goto out;
    }
    bool is_map = node->kind == WEIR_YAML_MAP;
    node->count = is_map ? children.len / 2 : children.len;
    node->items = weir_arena_alloc(b->arena, (node->count + 1) * sizeof(struct weir_yaml *));
    if (is_map) {
        node->keys = weir_arena_alloc(b->arena, (node->count + 1) * sizeof(struct weir_yaml *));
        for (size_t i = 0; i < node->count; i++) {
            node->keys[i] = children.nodes[2 * i];
            node->items[i] = children.nodes[2 * i + 1];
        }
        rc = check_duplicates(b, node);
    } else if (node->count > 0) {
        memcpy(node->items, children.nodes, node->count * sizeof(struct weir_yaml *));
    }
out:
    weir_free(children.nodes);
    return rc;
}

static enum weir_rc build_node(struct builder *b, const yaml_event_t *event, unsigned depth, struct weir_yaml **out_node)
{
    enum weir_rc rc = refuse_properties(b, event);
    if (rc != WEIR_OK) {
        return rc;
    }
    if (depth > WEIR_YAML_DEPTH_MAX) {
        return fail_at(b->err, WEIR_LIMIT, b->file, event->start_mark, "nested deeper than %d levels", WEIR_YAML_DEPTH_MAX);
    }
    if (++b->nodes > WEIR_YAML_NODES_MAX) {
        return fail_at(b->err, WEIR_LIMIT, b->file, event->start_mark, "more than %d keys and values", WEIR_YAML_NODES_MAX);
    }
    struct weir_yaml *node = weir_arena_zalloc(b->arena, sizeof(*node));
    node->line = (uint32_t)event->start_mark.line + 1;
    node->column = (uint32_t)event->start_mark.column + 1;
    if (event->type == YAML_SCALAR_EVENT) {
        size_t len = event->data.scalar.length;
        node->kind = WEIR_YAML_SCALAR;
        node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        node->text = weir_slice(weir_arena_strndup(b->arena, event->data.scalar.value, len), len);
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        node->kind = WEIR_YAML_SEQUENCE;
        rc = build_collection(b, node, event->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE, depth);
    } else {
        weir_assert(event->type == YAML_MAPPING_START_EVENT);
        node->kind = WEIR_YAML_MAP;
        rc = build_collection(b, node, event->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE, depth);
    }
    if (rc == WEIR_OK) {
        *out_node = node;
    }
    return rc;
}

/* The document's root; a stream without documents gives a null scalar. */
static enum weir_rc build_stream(struct builder *b, struct weir_yaml **out_root)
{
    struct weir_yaml *root = NULL;
    for (;;) {
        yaml_event_t event;
        enum weir_rc rc = next_event(b, &event);
        if (rc != WEIR_OK) {
            return rc;
        }
        yaml_event_type_t type = event.type;
        if (type == YAML_DOCUMENT_START_EVENT && root != NULL) {
            rc = fail_at(b->err, WEIR_INVALID, b->file, event.start_mark, "a second document; a file holds one");
        } else if (type != YAML_STREAM_START_EVENT && type != YAML_STREAM_END_EVENT && type != YAML_DOCUMENT_START_EVENT &&
                   type != YAML_DOCUMENT_END_EVENT) {
            rc = build_node(b, &event, 1, &root);
        }
        yaml_event_delete(&event);
        if (rc != WEIR_OK) {
            return rc;
        }
        if (type == YAML_STREAM_END_EVENT) {
            break;
        }
    }
    if (root == NULL) {
        root = weir_arena_zalloc(b->arena, sizeof(*root));
        root->kind = WEIR_YAML_SCALAR;
        root->text = weir_slice(weir_arena_strdup(b->arena, ""), 0);
        root->line = 1;
        root->column = 1;
    }
    *out_root = root;
    return WEIR_OK;
}

enum weir_rc weir_yaml_parse(struct weir_slice text, const char *file, struct weir_arena *arena,
                             const struct weir_yaml **out_root, struct weir_error *err)
{
    if (text.len > WEIR_JOB_FILE_BYTES_MAX) {
        return weir_error_set(err, WEIR_LIMIT, "%s: %zu bytes; at most %d are allowed", file, text.len,
                              WEIR_JOB_FILE_BYTES_MAX);
    }
    struct builder b = {.file = file, .arena = arena, .err = err};
    int ready = yaml_parser_initialize(&b.parser);
    weir_assert(ready != 0); /* it fails only when memory is out */
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, text.len == 0 ? (const yaml_char_t *)"" : text.data, text.len);
    struct weir_yaml *root = NULL;
    enum weir_rc rc = build_stream(&b, &root);
    if (rc == WEIR_OK) {
        *out_root = root;
    }
    yaml_parser_delete(&b.parser);
    return rc;
}

const struct weir_yaml *weir_yaml_get(const struct weir_yaml *node, const char *key)
{
    for (size_t i = 0; node->kind == WEIR_YAML_MAP && i < node->count; i++) {
        if (weir_slice_eq_str(node->keys[i]->text, key)) {
            return node->items[i];
        }
    }
    return NULL;
}

bool weir_yaml_is_null(const struct weir_yaml *node)
{
    return node->kind == WEIR_YAML_SCALAR && !node->quoted &&
           (node->text.len == 0 || weir_slice_eq_str(node->text, "~") || weir_slice_eq_str(node->text, "null"));
}
