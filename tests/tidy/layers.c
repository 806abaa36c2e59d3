#include "tests/tidy/layers.h"

#include "common/base/arena.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

#include <fnmatch.h>
#include <stdlib.h>

enum { WORDS_MAX = 256, DEPTH_MAX = 64 };

struct line {
    const char *words[WORDS_MAX];
    size_t nwords;
    size_t colon; /* index of the first word after "word:", or nwords */
    uint32_t number;
};

static void split(struct weir_arena *arena, struct weir_slice text, struct line *line)
{
    line->nwords = 0;
    line->colon = 0;
    size_t i = 0;
    while (i < text.len && text.data[i] != '#' && line->nwords < WORDS_MAX) {
        size_t start = i;
        while (i < text.len && text.data[i] != ' ' && text.data[i] != '\t' && text.data[i] != '#') {
            i++;
        }
        size_t len = i - start;
        if (len > 0) {
            bool colon = line->colon == 0 && text.data[i - 1] == ':';
            line->words[line->nwords++] = weir_arena_strndup(arena, text.data + start, colon ? len - 1 : len);
            line->colon = colon ? line->nwords : line->colon;
        }
        while (i < text.len && (text.data[i] == ' ' || text.data[i] == '\t')) {
            i++;
        }
    }
}

static const char *const *words_copy(struct weir_arena *arena, const struct line *line, size_t from, size_t to)
{
    const char **copy = weir_arena_alloc(arena, (to - from) * sizeof(*copy) + 1);
    for (size_t i = from; i < to; i++) {
        copy[i - from] = line->words[i];
    }
    return copy;
}

static bool add_third(struct layers *layers, const struct line *line)
{
    if (line->colon < 2 || line->colon == line->nwords) {
        return false;
    }
    layers->thirds = weir_vec_grow(layers->thirds, &layers->thirds_cap, sizeof(*layers->thirds), layers->nthirds + 1);
    layers->thirds[layers->nthirds++] = (struct third){.headers = words_copy(layers->arena, line, 1, line->colon),
                                                       .nheaders = line->colon - 1,
                                                       .files = words_copy(layers->arena, line, line->colon, line->nwords),
                                                       .nfiles = line->nwords - line->colon};
    return true;
}

static bool add_layer(struct layers *layers, const struct line *line)
{
    if (line->colon != 2) {
        return false;
    }
    layers->layers = weir_vec_grow(layers->layers, &layers->layers_cap, sizeof(*layers->layers), layers->nlayers + 1);
    layers->layers[layers->nlayers++] = (struct layer){.folder = line->words[1],
                                                       .below = words_copy(layers->arena, line, 2, line->nwords),
                                                       .nbelow = line->nwords - 2};
    return true;
}

static bool add_function(struct layers *layers, const struct line *line)
{
    if (line->nwords != 4) {
        return false;
    }
    layers->functions = weir_vec_grow(layers->functions, &layers->functions_cap, sizeof(*layers->functions), layers->nfunctions + 1);
    layers->functions[layers->nfunctions++] =
        (struct long_function){.file = line->words[1], .name = line->words[2],
                               .lines_max = (uint32_t)strtoul(line->words[3], NULL, 10), .line = line->number};
    return true;
}

static bool add_covered(struct layers *layers, const struct line *line)
{
    if (line->colon != 2 || line->nwords < 3) {
        return false;
    }
    layers->covered = weir_vec_grow(layers->covered, &layers->covered_cap, sizeof(*layers->covered), layers->ncovered + 1);
    layers->covered[layers->ncovered++] = (struct covered){.file = line->words[1], .line = line->number};
    return true;
}

static bool add_allowance(struct layers *layers, const struct line *line)
{
    if (line->colon != 3 || line->nwords < 4) {
        return false;
    }
    layers->allowances =
        weir_vec_grow(layers->allowances, &layers->allowances_cap, sizeof(*layers->allowances), layers->nallowances + 1);
    layers->allowances[layers->nallowances++] =
        (struct allowance){.file = line->words[1], .name = line->words[2], .line = line->number};
    return true;
}

static bool add_module(struct layers *layers, const struct line *line)
{
    if (line->colon != 2 || line->nwords < 3) {
        return false;
    }
    for (size_t i = 2; i < line->nwords; i++) {
        layers->parts = weir_vec_grow(layers->parts, &layers->parts_cap, sizeof(*layers->parts), layers->nparts + 1);
        layers->parts[layers->nparts++] = (struct part){.part = line->words[i], .whole = line->words[1]};
    }
    return true;
}

static bool add_libc(struct layers *layers, const struct line *line)
{
    for (size_t i = 1; i < line->nwords; i++) {
        layers->libc = weir_vec_grow(layers->libc, &layers->libc_cap, sizeof(*layers->libc), layers->nlibc + 1);
        layers->libc[layers->nlibc++] = line->words[i];
    }
    return line->nwords > 1;
}

static bool add(struct layers *layers, const struct line *line)
{
    static const struct {
        const char *name;
        bool (*add)(struct layers *layers, const struct line *line);
    } directives[] = {
        {"layer", add_layer}, {"third", add_third}, {"libc", add_libc}, {"function", add_function}, {"covered", add_covered},
        {"allow", add_allowance}, {"module", add_module},
    };
    for (size_t i = 0; i < sizeof(directives) / sizeof(directives[0]); i++) {
        if (strcmp(line->words[0], directives[i].name) == 0) {
            return directives[i].add(layers, line);
        }
    }
    return false;
}

enum weir_rc layers_parse(struct weir_slice text, struct layers *out_layers, struct weir_error *err)
{
    struct layers layers = {.arena = weir_arena_create(0)};
    struct line *line = weir_calloc(1, sizeof(*line));
    enum weir_rc rc = WEIR_OK;
    while (text.len > 0 && rc == WEIR_OK) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end != NULL ? (size_t)(end - text.data) : text.len;
        line->number++;
        split(layers.arena, weir_slice(text.data, len), line);
        if (line->nwords > 0 && !add(&layers, line)) {
            rc = weir_error_set(err, WEIR_INVALID, "layers.txt:%u: `%s` is no complete directive: layers.h says what there is",
                                (unsigned)line->number, line->words[0]);
        }
        size_t step = end != NULL ? len + 1 : len;
        text = weir_slice(text.data + step, text.len - step);
    }
    weir_free(line);
    if (rc != WEIR_OK) {
        layers_fini(&layers);
        return rc;
    }
    *out_layers = layers;
    return WEIR_OK;
}

void layers_fini(struct layers *layers)
{
    weir_free(layers->layers);
    weir_free(layers->thirds);
    weir_free(layers->libc);
    weir_free(layers->functions);
    weir_free(layers->covered);
    weir_free(layers->allowances);
    weir_free(layers->parts);
    weir_arena_destroy(layers->arena);
    *layers = (struct layers){0};
}

const struct layer *layers_of(const struct layers *layers, const char *path)
{
    const struct layer *best = NULL;
    size_t best_len = 0;
    for (size_t i = 0; i < layers->nlayers; i++) {
        size_t len = strlen(layers->layers[i].folder);
        bool inside = strncmp(path, layers->layers[i].folder, len) == 0 && path[len] == '/';
        bool file = strcmp(path, layers->layers[i].folder) == 0;
        if ((inside || file) && len > best_len) {
            best = &layers->layers[i];
            best_len = len;
        }
    }
    return best;
}

static bool reaches(const struct layers *layers, const struct layer *from, const struct layer *to, unsigned depth)
{
    if (from == to) {
        return true;
    }
    for (size_t i = 0; depth < DEPTH_MAX && i < from->nbelow; i++) {
        for (size_t k = 0; k < layers->nlayers; k++) {
            const struct layer *next = &layers->layers[k];
            if (fnmatch(from->below[i], next->folder, 0) == 0 && next != from && reaches(layers, next, to, depth + 1)) {
                return true;
            }
        }
    }
    return false;
}

bool layers_allow(const struct layers *layers, const struct layer *from, const struct layer *to)
{
    return reaches(layers, from, to, 0);
}

static bool matches_any(const char *const *patterns, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++) {
        if (fnmatch(patterns[i], text, 0) == 0) {
            return true;
        }
    }
    return false;
}

bool layers_allow_header(const struct layers *layers, const char *file, const char *header, bool *out_known)
{
    if (matches_any(layers->libc, layers->nlibc, header)) {
        *out_known = true;
        return true;
    }
    bool known = false;
    bool allowed = false;
    for (size_t i = 0; i < layers->nthirds; i++) {
        const struct third *third = &layers->thirds[i];
        if (matches_any(third->headers, third->nheaders, header)) {
            known = true;
            allowed = allowed || matches_any(third->files, third->nfiles, file);
        }
    }
    *out_known = known;
    return allowed;
}

const char *layers_module(const struct layers *layers, const char *stem)
{
    for (size_t i = 0; i < layers->nparts; i++) {
        if (strcmp(layers->parts[i].part, stem) == 0) {
            return layers->parts[i].whole;
        }
    }
    return stem;
}

bool layers_allow_call(struct layers *layers, const char *file, const char *name)
{
    for (size_t i = 0; i < layers->nallowances; i++) {
        struct allowance *allowance = &layers->allowances[i];
        if (strcmp(allowance->file, file) == 0 && strcmp(allowance->name, name) == 0) {
            allowance->used = true;
            return true;
        }
    }
    return false;
}
