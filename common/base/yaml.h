/*
 * YAML texts as trees, with the position of every node so that an error can name it. The only user of libyaml.
 *
 * What is refused, because a configuration or a job file must mean what it seems to: duplicate keys, anchors, aliases, tags,
 * keys that are not scalars, a second document, more than WEIR_YAML_DEPTH_MAX levels, WEIR_YAML_NODES_MAX nodes or
 * WEIR_JOB_FILE_BYTES_MAX bytes, and a plain text in a flow collection that its own comma cuts (`{type: DECIMAL(10, 2)}`).
 */
#ifndef WEIR_COMMON_BASE_YAML_H
#define WEIR_COMMON_BASE_YAML_H

#include "common/base/error.h"
#include "common/base/slice.h"

enum { WEIR_YAML_DEPTH_MAX = 64, WEIR_YAML_NODES_MAX = 100000 };

struct weir_arena;

enum weir_yaml_kind { WEIR_YAML_SCALAR, WEIR_YAML_SEQUENCE, WEIR_YAML_MAP };

struct weir_yaml {
    enum weir_yaml_kind kind;
    bool quoted;             /* scalar: in quotes or a block (| or >), so it is text and nothing else */
    uint32_t line;           /* from 1, as is the column; columns count characters */
    uint32_t column;
    struct weir_slice text;  /* scalar: its text, with a NUL behind it */
    struct weir_yaml **keys; /* map: scalars, in the order of the file */
    struct weir_yaml **items; /* sequence: elements; map: values */
    size_t count;            /* of items */
};

/*
 * Parses one document. The tree lives in arena; *out_root is never NULL (an empty text is a null scalar at 1:1). `file` names
 * the text in errors ("file:line:column: ..."). Any thread. INVALID, LIMIT.
 */
enum weir_rc weir_yaml_parse(struct weir_slice text, const char *file, struct weir_arena *arena,
                             const struct weir_yaml **out_root, struct weir_error *err) WEIR_CHECKED;

/* The value of a map's key, or NULL when it has none or node is no map. */
const struct weir_yaml *weir_yaml_get(const struct weir_yaml *node, const char *key);

/* A plain scalar that is empty, `~` or `null`. */
bool weir_yaml_is_null(const struct weir_yaml *node);

/* Fills err with WEIR_INVALID and "file:line:column: ..." of the node. */
enum weir_rc weir_yaml_error(struct weir_error *err, const char *file, const struct weir_yaml *node, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
