/*
 * layers.txt as data. One directive a line, `#` starts a comment:
 *
 *     layer FOLDER: FOLDER ...        files in FOLDER may include FOLDER and, transitively, what the others may
 *     third HEADER ...: FILE ...      these headers are included by these files only
 *     libc HEADER ...                 headers that any file may include
 *     function FILE NAME LINES        this function may have so many lines
 *     allow FILE NAME: reason         this file may call this function that others may not
 *     module STEM: STEM ...           paths without extension that are one module together, for the search for cycles
 *     covered FILE: reason            has no test of its own because
 *
 * FOLDER, HEADER and FILE may be shell patterns (`*` also matches `/`). A file belongs to the longest FOLDER that it begins with.
 */
#ifndef WEIR_TESTS_TIDY_LAYERS_H
#define WEIR_TESTS_TIDY_LAYERS_H

#include "common/base/error.h"
#include "common/base/slice.h"

#include <stdint.h>

struct layer {
    const char *folder;
    const char *const *below;
    size_t nbelow;
};

struct third {
    const char *const *headers;
    size_t nheaders;
    const char *const *files;
    size_t nfiles;
};

struct long_function {
    const char *file, *name;
    uint32_t lines_max, line;
    bool used;
};

struct allowance {
    const char *file, *name;
    uint32_t line;
    bool used;
};

/* `part` belongs to module `whole`. */
struct part {
    const char *part, *whole;
};

struct covered {
    const char *file;
    uint32_t line;
    bool used;
};

struct layers {
    struct weir_arena *arena;
    struct layer *layers;
    size_t nlayers, layers_cap;
    struct third *thirds;
    size_t nthirds, thirds_cap;
    const char **libc;
    size_t nlibc, libc_cap;
    struct long_function *functions;
    size_t nfunctions, functions_cap;
    struct allowance *allowances;
    size_t nallowances, allowances_cap;
    struct part *parts;
    size_t nparts, parts_cap;
    struct covered *covered;
    size_t ncovered, covered_cap;
};

enum weir_rc layers_parse(struct weir_slice text, struct layers *out_layers, struct weir_error *err) WEIR_CHECKED;
void layers_fini(struct layers *layers);

/* The layer that a path belongs to, or NULL. */
const struct layer *layers_of(const struct layers *layers, const char *path);

/* Whether files of `from` may include files of `to`. */
bool layers_allow(const struct layers *layers, const struct layer *from, const struct layer *to);

/* The module that a path (without its extension) belongs to: itself, or what a `module` line says. Borrowed from layers or stem. */
const char *layers_module(const struct layers *layers, const char *stem);

/* Whether an `allow` line lets `file` call `name`; marks it used. */
bool layers_allow_call(struct layers *layers, const char *file, const char *name);

/* Whether `file` may include the system or generated `header`; *out_known says whether any line names the header. */
bool layers_allow_header(const struct layers *layers, const char *file, const char *header, bool *out_known);

#endif
