#include "tests/tidy/tidy.h"

#include "common/base/arena.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "tests/tidy/layers.h"
#include "tests/tidy/tidy_text.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>

struct include {
    size_t file; /* index of the including file */
    const char *header;
    uint32_t line;
};

struct file {
    const char *path;
    const char *stem;   /* path without extension */
    const char *module; /* x.h and x.c are one module, and what a `module` line joins */
};

struct tidy {
    struct layers layers;
    struct weir_arena *arena;
    struct file *files;
    size_t nfiles, files_cap;
    struct include *includes; /* of files from the root only */
    size_t nincludes, includes_cap;
    struct weir_buf report;
    size_t count;
};

static void report(struct tidy *tidy, const char *path, uint32_t line, const char *rule, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

static void report(struct tidy *tidy, const char *path, uint32_t line, const char *rule, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    weir_buf_put_fmt(&tidy->report, "%s:%u: %s: %s\n", path, (unsigned)line, rule, text);
    tidy->count++;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text);
    size_t m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static bool is_c(const char *path)
{
    return ends_with(path, ".c") || ends_with(path, ".h");
}

static bool is_test(const char *path)
{
    /* x_test.c, and headers that tests share: x_test_kit.h, x_testmodel.h */
    return strstr(path, "_test") != NULL || strncmp(path, "tests/", 6) == 0;
}

enum weir_rc tidy_create(struct weir_slice layers, struct tidy **out_tidy, struct weir_error *err)
{
    struct tidy *tidy = weir_calloc(1, sizeof(*tidy));
    enum weir_rc rc = layers_parse(layers, &tidy->layers, err);
    if (rc != WEIR_OK) {
        weir_free(tidy);
        return rc;
    }
    tidy->arena = weir_arena_create(0);
    *out_tidy = tidy;
    return WEIR_OK;
}

void tidy_destroy(struct tidy *tidy)
{
    if (tidy == NULL) {
        return;
    }
    layers_fini(&tidy->layers);
    weir_arena_destroy(tidy->arena);
    weir_free(tidy->files);
    weir_free(tidy->includes);
    weir_buf_fini(&tidy->report);
    weir_free(tidy);
}

struct weir_slice tidy_report(const struct tidy *tidy)
{
    return weir_buf_slice(&tidy->report);
}

size_t tidy_count(const struct tidy *tidy)
{
    return tidy->count;
}

/* --- one file ------------------------------------------------------------------------------------------------------ */

struct ban {
    const char *name;
    const char *rule;
    bool call;           /* only when called */
    bool tests_too;      /* else a test may: it is a short-lived process of its own */
    const char *reason;
};

static const struct ban bans[] = {
    {"strcpy", "call", true, false, "no bound: copy with weir_strdup or memcpy"},
    {"strcat", "call", true, true, "no bound: build texts with weir_buf"},
    {"sprintf", "call", true, false, "no bound: snprintf"},
    {"vsprintf", "call", true, true, "no bound: vsnprintf"},
    {"gets", "call", true, true, "no bound"},
    {"atoi", "call", true, true, "cannot report an error"},
    {"atol", "call", true, true, "cannot report an error"},
    {"atof", "call", true, true, "cannot report an error"},
    {"strtok", "call", true, false, "keeps hidden state"},
    {"system", "call", true, false, "no shell"},
    {"popen", "call", true, false, "no shell"},
    {"alloca", "call", true, true, "unbounded stack"},
    {"sleep", "call", true, true, "wait for a condition with a deadline"},
    {"usleep", "call", true, true, "wait for a condition with a deadline"},
    {"nanosleep", "call", true, true, "wait for a condition with a deadline"},
    {"rand", "call", true, true, "randomness is injected: common/base/rand.h"},
    {"srand", "call", true, true, "randomness is injected: common/base/rand.h"},
    {"random", "call", true, true, "randomness is injected: common/base/rand.h"},
    {"setjmp", "call", true, true, "no jumps out of functions"},
    {"longjmp", "call", true, true, "no jumps out of functions"},
    {"malloc", "call", true, false, "weir_malloc"},
    {"calloc", "call", true, false, "weir_calloc"},
    {"realloc", "call", true, false, "weir_realloc"},
    {"free", "call", true, false, "weir_free"},
    {"strdup", "call", true, false, "weir_strdup"},
    {"strndup", "call", true, false, "weir_strndup"},
    {"asprintf", "call", true, false, "weir_strfmt"},
    {"time", "call", true, false, "the clock is injected: common/base/clock.h"},
    {"gettimeofday", "call", true, true, "the clock is injected: common/base/clock.h"},
    {"clock_gettime", "call", true, false, "the clock is injected: common/base/clock.h"},
    {"volatile", "word", false, true, "not a means of synchronisation: atomics in common/runtime"},
};

static bool identifier_at(const char *line, const char *at, size_t len)
{
    bool before = at > line && (isalnum((unsigned char)at[-1]) || at[-1] == '_');
    bool after = isalnum((unsigned char)at[len]) || at[len] == '_';
    return !before && !after;
}

static void check_bans(struct tidy *tidy, const char *path, uint32_t number, const char *line)
{
    for (size_t i = 0; i < sizeof(bans) / sizeof(bans[0]); i++) {
        const struct ban *ban = &bans[i];
        size_t len = strlen(ban->name);
        for (const char *at = strstr(line, ban->name); at != NULL; at = strstr(at + len, ban->name)) {
            const char *member = at > line ? at - 1 : at;
            const char *next = at + len + strspn(at + len, " ");
            bool ours = *member == '.' || *member == '>'; /* a member that happens to have the name */
            if (!identifier_at(line, at, len) || ours || (ban->call && *next != '(')) {
                continue;
            }
            if (!(is_test(path) && !ban->tests_too) && !layers_allow_call(&tidy->layers, path, ban->name)) {
                report(tidy, path, number, ban->rule, "`%s`: %s", ban->name, ban->reason);
            }
        }
    }
}

static void check_words(struct tidy *tidy, const char *path, uint32_t number, const char *raw)
{
    static const char *const words[] = {"TO" "DO", "FIX" "ME", "XX" "X"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        const char *at = strstr(raw, words[i]);
        if (at != NULL && identifier_at(raw, at, strlen(words[i]))) {
            report(tidy, path, number, "word", "%s: do it, or open an issue", words[i]);
        }
    }
}

/* `static` data that can change: hidden state that two clusters in one process would share. */
static void check_static(struct tidy *tidy, const char *path, uint32_t number, const char *line)
{
    const char *start = line + strspn(line, " ");
    if (strncmp(start, "static ", 7) != 0) {
        return;
    }
    size_t head = strcspn(start, "=;({");
    bool is_data = start[head] == '=' || start[head] == ';';
    const char *constant = strstr(start, "const ");
    if (is_data && (constant == NULL || constant > start + head) && !layers_allow_call(&tidy->layers, path, "static")) {
        report(tidy, path, number, "static", "mutable static data: it belongs into a struct that someone owns");
    }
}

static void check_types(struct tidy *tidy, const char *path, uint32_t number, const char *line)
{
    static const char *const kinds[] = {"typedef struct", "typedef enum", "typedef union"};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strstr(line, kinds[i]) != NULL && strchr(line, '(') == NULL) { /* a function's type may return one */
            report(tidy, path, number, "type", "`%s`: no typedef of structs, enums and unions", kinds[i]);
        }
    }
}

/* The header that an #include line names, without its quotes, into out; false when the line is none. */
static bool parse_include(const char *raw, char *out, size_t out_bytes, bool *out_quoted)
{
    const char *at = raw + strspn(raw, " ");
    if (*at != '#') {
        return false;
    }
    at += 1 + strspn(at + 1, " ");
    if (strncmp(at, "include", 7) != 0) {
        return false;
    }
    at += 7 + strspn(at + 7, " ");
    if (*at != '"' && *at != '<') {
        return false;
    }
    *out_quoted = *at == '"';
    size_t len = strcspn(at + 1, *out_quoted ? "\"" : ">");
    if (len >= out_bytes) {
        return false;
    }
    memcpy(out, at + 1, len);
    out[len] = '\0';
    return true;
}

static void check_layer(struct tidy *tidy, const char *path, uint32_t line, const char *header)
{
    const struct layer *from = layers_of(&tidy->layers, path);
    const struct layer *to = layers_of(&tidy->layers, header);
    if (to == NULL) {
        report(tidy, path, line, "layer", "\"%s\" lies in no folder that layers.txt names", header);
    } else if (from != NULL && !layers_allow(&tidy->layers, from, to)) {
        bool test_helper = is_test(path) && strncmp(header, "tests/lib/", 10) == 0;
        if (!test_helper) {
            report(tidy, path, line, "layer", "%s may not include %s (\"%s\")", from->folder, to->folder, header);
        }
    }
}

static void check_include(struct tidy *tidy, size_t file, uint32_t line, const char *header, bool quoted)
{
    const char *path = tidy->files[file].path;
    if (strstr(header, "../") != NULL || (quoted && strchr(header, '/') == NULL)) {
        report(tidy, path, line, "include", "\"%s\": includes are written from the root", header);
        return;
    }
    bool known;
    bool allowed = layers_allow_header(&tidy->layers, path, header, &known);
    if (!quoted && !known) {
        report(tidy, path, line, "third-party", "<%s> is in no line of layers.txt", header);
    } else if (known && !allowed) {
        report(tidy, path, line, "third-party", "%s may not be included here: see its line in layers.txt", header);
    }
    if (quoted && !known) {
        check_layer(tidy, path, line, header);
        tidy->includes = weir_vec_grow(tidy->includes, &tidy->includes_cap, sizeof(*tidy->includes), tidy->nincludes + 1);
        tidy->includes[tidy->nincludes++] =
            (struct include){.file = file, .header = weir_arena_strdup(tidy->arena, header), .line = line};
    }
}

static void check_guard(struct tidy *tidy, const char *path, const struct tidy_text *text)
{
    char guard[256] = "WEIR_";
    size_t n = 5;
    for (const char *c = path; *c != '\0' && n + 2 < sizeof(guard); c++) {
        guard[n++] = isalnum((unsigned char)*c) ? (char)toupper((unsigned char)*c) : '_';
    }
    guard[n] = '\0';
    char want[300];
    (void)snprintf(want, sizeof(want), "#ifndef %s", guard);
    for (uint32_t i = 0; i < text->nlines; i++) {
        if (text->code[i][0] == '#') {
            if (strcmp(text->code[i], want) != 0) {
                report(tidy, path, i + 1, "guard", "expected `%s`", want);
            }
            return;
        }
    }
    report(tidy, path, 1, "guard", "expected `%s`", want);
}

/* The identifier before the parameter list that ends above line `brace`. */
static void function_name(const struct tidy_text *text, uint32_t brace, char *out, size_t out_bytes)
{
    (void)snprintf(out, out_bytes, "?");
    for (uint32_t i = brace; i > 0; i--) {
        const char *line = text->code[i - 1];
        const char *paren = strchr(line, '(');
        if (line[0] == ' ' || paren == NULL || paren == line) {
            continue;
        }
        const char *start = paren;
        while (start > line && (isalnum((unsigned char)start[-1]) || start[-1] == '_')) {
            start--;
        }
        (void)snprintf(out, out_bytes, "%.*s", (int)(paren - start), start);
        return;
    }
}

static void check_function(struct tidy *tidy, const char *path, const struct tidy_text *text, uint32_t open, uint32_t close)
{
    uint32_t lines = close - open - 1;
    if (lines <= TIDY_FUNCTION_LINES_MAX) {
        return;
    }
    char name[128];
    function_name(text, open, name, sizeof(name));
    for (size_t i = 0; i < tidy->layers.nfunctions; i++) {
        struct long_function *f = &tidy->layers.functions[i];
        if (strcmp(f->file, path) == 0 && strcmp(f->name, name) == 0) {
            f->used = true;
            if (lines <= f->lines_max) {
                return;
            }
        }
    }
    report(tidy, path, open + 1, "function", "%s has %u lines: more than %d", name, (unsigned)lines, TIDY_FUNCTION_LINES_MAX);
}

static void check_functions(struct tidy *tidy, const char *path, const struct tidy_text *text)
{
    uint32_t open = 0;
    bool inside = false;
    for (uint32_t i = 0; i < text->nlines; i++) {
        if (!inside && strcmp(text->code[i], "{") == 0) {
            open = i;
            inside = true;
        } else if (inside && text->code[i][0] == '}') {
            check_function(tidy, path, text, open, i);
            inside = false;
        }
    }
}

static void check_lengths(struct tidy *tidy, const char *path, const struct tidy_text *text)
{
    /* A test kit is a header only so that no archive holds it. */
    bool interface = ends_with(path, ".h") && !ends_with(path, "_test_kit.h");
    uint32_t lines_max = interface ? TIDY_HEADER_LINES_MAX : TIDY_SOURCE_LINES_MAX;
    if (text->nlines > lines_max) {
        report(tidy, path, text->nlines, "length", "%u lines: more than %u; look for the seam", (unsigned)text->nlines,
               (unsigned)lines_max);
    }
}

static size_t columns(const char *line)
{
    size_t count = 0;
    for (; *line != '\0'; line++) {
        count += ((unsigned char)*line & 0xc0) != 0x80; /* not a continuation byte of UTF-8 */
    }
    return count;
}

static const char *stem_of(struct tidy *tidy, const char *path)
{
    const char *dot = strrchr(path, '.');
    return weir_arena_strndup(tidy->arena, path, dot != NULL ? (size_t)(dot - path) : strlen(path));
}

void tidy_add(struct tidy *tidy, const char *path, struct weir_slice bytes)
{
    size_t index = tidy->nfiles;
    tidy->files = weir_vec_grow(tidy->files, &tidy->files_cap, sizeof(*tidy->files), tidy->nfiles + 1);
    const char *stem = stem_of(tidy, path);
    tidy->files[tidy->nfiles++] = (struct file){
        .path = weir_arena_strdup(tidy->arena, path), .stem = stem, .module = layers_module(&tidy->layers, stem)};
    struct tidy_text text;
    tidy_text_init(&text, bytes);
    for (uint32_t i = 0; i < text.nlines; i++) {
        check_words(tidy, path, i + 1, text.raw[i]);
        if (!is_c(path)) {
            continue;
        }
        if (columns(text.raw[i]) > TIDY_LINE_COLUMNS_MAX && !is_test(path)) { /* a test's tables are as wide as their rows */
            report(tidy, path, i + 1, "line", "%zu columns: more than %d", columns(text.raw[i]), TIDY_LINE_COLUMNS_MAX);
        }
        check_bans(tidy, path, i + 1, text.code[i]);
        if (!is_test(path)) { /* a test is a process of its own */
            check_static(tidy, path, i + 1, text.code[i]);
        }
        check_types(tidy, path, i + 1, text.code[i]);
        char header[256];
        bool quoted;
        if (text.code[i][0] == '#' && parse_include(text.raw[i], header, sizeof(header), &quoted)) {
            check_include(tidy, index, i + 1, header, quoted);
        }
    }
    if (ends_with(path, ".h")) {
        check_guard(tidy, path, &text);
    }
    if (is_c(path)) {
        check_functions(tidy, path, &text);
        check_lengths(tidy, path, &text);
    }
    tidy_text_fini(&text);
}

/* --- between files -------------------------------------------------------------------------------------------------- */

static bool file_exists(const struct tidy *tidy, const char *path)
{
    for (size_t i = 0; i < tidy->nfiles; i++) {
        if (strcmp(tidy->files[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

static void check_existence(struct tidy *tidy)
{
    for (size_t i = 0; i < tidy->nincludes; i++) {
        const struct include *include = &tidy->includes[i];
        if (!file_exists(tidy, include->header)) {
            report(tidy, tidy->files[include->file].path, include->line, "include", "\"%s\" does not exist", include->header);
        }
    }
}

struct walk {
    struct tidy *tidy;
    uint8_t *seen;   /* per file: 1 = on the path, 2 = done */
    size_t *path;    /* modules on the path, by the index of their first file */
    size_t depth;
};

/* A module's first file stands for it. */
static size_t module_of(struct tidy *tidy, const char *path)
{
    const char *module = layers_module(&tidy->layers, stem_of(tidy, path));
    for (size_t i = 0; i < tidy->nfiles; i++) {
        if (strcmp(tidy->files[i].module, module) == 0) {
            return i;
        }
    }
    return tidy->nfiles;
}

static void report_cycle(struct walk *walk, size_t start, const struct include *include)
{
    struct tidy *tidy = walk->tidy;
    struct weir_buf text = {0};
    size_t from = 0;
    while (walk->path[from] != start) {
        from++;
    }
    for (size_t i = from; i < walk->depth; i++) {
        weir_buf_put_fmt(&text, "%s -> ", tidy->files[walk->path[i]].module);
    }
    weir_buf_put_fmt(&text, "%s", tidy->files[start].module);
    report(tidy, tidy->files[include->file].path, include->line, "cycle", "%.*s", WEIR_SLICE_ARG(weir_buf_slice(&text)));
    weir_buf_fini(&text);
}

static void visit(struct walk *walk, size_t module)
{
    struct tidy *tidy = walk->tidy;
    walk->seen[module] = 1;
    walk->path[walk->depth++] = module;
    for (size_t i = 0; i < tidy->nincludes; i++) {
        const struct include *include = &tidy->includes[i];
        size_t to = module_of(tidy, include->header);
        if (strcmp(tidy->files[include->file].module, tidy->files[module].module) != 0 || to == tidy->nfiles || to == module) {
            continue;
        }
        if (walk->seen[to] == 1) {
            report_cycle(walk, to, include);
        } else if (walk->seen[to] == 0) {
            visit(walk, to);
        }
    }
    walk->depth--;
    walk->seen[module] = 2;
}

static void check_cycles(struct tidy *tidy)
{
    struct walk walk = {.tidy = tidy, .seen = weir_calloc(tidy->nfiles + 1, 1),
                        .path = weir_calloc(tidy->nfiles + 1, sizeof(*walk.path))};
    for (size_t i = 0; i < tidy->nfiles; i++) {
        size_t module = module_of(tidy, tidy->files[i].path);
        if (walk.seen[module] == 0) {
            visit(&walk, module);
        }
    }
    weir_free(walk.seen);
    weir_free(walk.path);
}

static bool has_reason(struct tidy *tidy, const char *path)
{
    bool found = false;
    for (size_t i = 0; i < tidy->layers.ncovered; i++) {
        if (fnmatch(tidy->layers.covered[i].file, path, 0) == 0) {
            tidy->layers.covered[i].used = true;
            found = true;
        }
    }
    return found;
}

static void check_tests(struct tidy *tidy)
{
    for (size_t i = 0; i < tidy->nfiles; i++) {
        const struct file *file = &tidy->files[i];
        if (!ends_with(file->path, ".c") || is_test(file->path) || ends_with(file->path, "/main.c")) {
            continue;
        }
        char test[512];
        (void)snprintf(test, sizeof(test), "%s_test.c", file->stem);
        if (!file_exists(tidy, test) && !has_reason(tidy, file->path)) {
            report(tidy, file->path, 1, "untested", "%s does not exist, and layers.txt has no `covered` line that says why", test);
        }
    }
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static void check_names(struct tidy *tidy)
{
    for (size_t i = 0; i < tidy->nfiles; i++) {
        const char *name = base_name(tidy->files[i].path);
        for (size_t k = 0; k < i && is_c(name) && strcmp(name, "main.c") != 0; k++) {
            if (strcmp(name, base_name(tidy->files[k].path)) == 0) {
                report(tidy, tidy->files[i].path, 1, "unique", "%s has the same name: it is also the suite's", tidy->files[k].path);
            }
        }
    }
}

static void check_stale(struct tidy *tidy)
{
    static const char layers_path[] = "tests/tidy/layers.txt";
    for (size_t i = 0; i < tidy->layers.nfunctions; i++) {
        const struct long_function *f = &tidy->layers.functions[i];
        if (!f->used) {
            report(tidy, layers_path, f->line, "stale", "%s of %s is no longer too long: drop the line", f->name, f->file);
        }
    }
    for (size_t i = 0; i < tidy->layers.nallowances; i++) {
        const struct allowance *allowance = &tidy->layers.allowances[i];
        if (!allowance->used) {
            report(tidy, layers_path, allowance->line, "stale", "%s does not call %s: drop the line", allowance->file, allowance->name);
        }
    }
    for (size_t i = 0; i < tidy->layers.ncovered; i++) {
        const struct covered *covered = &tidy->layers.covered[i];
        if (!covered->used) {
            report(tidy, layers_path, covered->line, "stale", "%s has a test now, or is gone: drop the line", covered->file);
        }
    }
}

void tidy_finish(struct tidy *tidy)
{
    check_existence(tidy);
    check_cycles(tidy);
    check_tests(tidy);
    check_names(tidy);
    check_stale(tidy);
}
