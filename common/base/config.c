#include "common/base/config.h"

#include "common/base/arena.h"
#include "common/base/assert.h"
#include "common/base/buf.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/base/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

enum { SECRET_BYTES_MAX = 1 << 16, SHOWN_MAX = 80, KEY_BYTES_MAX = 256 };

struct row {
    const char *name;
    enum weir_config_type type;
    const char *def;
    int64_t min;
    int64_t max;
    enum weir_config_scope scope;
    const char *help;
};

static const struct row rows[WEIR_CFG_COUNT_] = {
#define X(id, name, type, def, min, max, scope, help) {name, WEIR_CONFIG_##type, def, min, max, scope, help},
#include "common/base/config.def"
#undef X
};

static const char *const row_names[WEIR_CFG_COUNT_] = {
#define X(id, name, type, def, min, max, scope, help) name,
#include "common/base/config.def"
#undef X
};

struct setting {
    char *text;     /* as it was given: a secret unresolved */
    char *resolved; /* SECRET: what it stands for; else NULL */
    int64_t number; /* BOOL, INT, DURATION, BYTES */
    double real;    /* DOUBLE */
    char *origin;
    bool is_set;
};

struct weir_config {
    struct setting settings[WEIR_CFG_COUNT_];
};

/* --- values ------------------------------------------------------------------------------------------------------- */

struct unit {
    const char *name;
    int64_t factor;
};

static int shown_len(struct weir_slice text)
{
    return (int)(text.len > SHOWN_MAX ? SHOWN_MAX : text.len);
}

static struct weir_slice trim(struct weir_slice text)
{
    while (text.len > 0 && isspace(text.data[0])) {
        text = weir_slice(text.data + 1, text.len - 1);
    }
    while (text.len > 0 && isspace(text.data[text.len - 1])) {
        text.len--;
    }
    return text;
}

/* Digits from the front of *text, taken off; false when there are none or the number is beyond int64. */
static bool take_number(struct weir_slice *text, int64_t *out_number)
{
    int64_t number = 0;
    size_t digits = 0;
    for (; digits < text->len && text->data[digits] >= '0' && text->data[digits] <= '9'; digits++) {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, text->data[digits] - '0', &number)) {
            return false;
        }
    }
    if (digits == 0) {
        return false;
    }
    *text = weir_slice(text->data + digits, text->len - digits);
    *out_number = number;
    return true;
}

/* A whole number with an optional unit; the first unit of the table is that of a bare number. */
static bool parse_quantity(struct weir_slice text, const struct unit *units, size_t unit_count, int64_t *out_value)
{
    struct weir_slice rest = trim(text);
    int64_t number;
    if (!take_number(&rest, &number)) {
        return false;
    }
    rest = trim(rest);
    for (size_t i = 0; i < unit_count; i++) {
        bool bare = rest.len == 0 && i == 0;
        bool named = rest.len == strlen(units[i].name) && strncasecmp((const char *)rest.data, units[i].name, rest.len) == 0;
        if (bare || named) {
            return !__builtin_mul_overflow(number, units[i].factor, out_value);
        }
    }
    return false;
}

enum weir_rc weir_config_parse_duration(struct weir_slice text, int64_t *out_ms, struct weir_error *err)
{
    enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };
    static const struct unit units[] = {
        {"ms", 1}, {"milli", 1}, {"millis", 1}, {"millisecond", 1}, {"milliseconds", 1},
        {"s", SECOND}, {"sec", SECOND}, {"secs", SECOND}, {"second", SECOND}, {"seconds", SECOND},
        {"min", MINUTE}, {"m", MINUTE}, {"minute", MINUTE}, {"minutes", MINUTE},
        {"h", HOUR}, {"hour", HOUR}, {"hours", HOUR}, {"d", DAY}, {"day", DAY}, {"days", DAY},
    };
    int64_t ms;
    if (!parse_quantity(text, units, sizeof(units) / sizeof(units[0]), &ms)) {
        return weir_error_set(err, WEIR_INVALID, "\"%.*s\" is not a duration: a whole number and ms, s, min, h or d, as in "
                              "\"100 ms\" or \"5 min\" (a bare number is milliseconds)", shown_len(text),
                              (const char *)text.data);
    }
    *out_ms = ms;
    return WEIR_OK;
}

enum weir_rc weir_config_parse_bytes(struct weir_slice text, int64_t *out_bytes, struct weir_error *err)
{
    static const struct unit units[] = {
        {"b", 1}, {"bytes", 1}, {"k", 1 << 10}, {"kb", 1 << 10}, {"kibibytes", 1 << 10},
        {"m", 1 << 20}, {"mb", 1 << 20}, {"mebibytes", 1 << 20}, {"g", 1 << 30}, {"gb", 1 << 30}, {"gibibytes", 1 << 30},
        {"t", (int64_t)1 << 40}, {"tb", (int64_t)1 << 40}, {"tebibytes", (int64_t)1 << 40},
    };
    int64_t bytes;
    if (!parse_quantity(text, units, sizeof(units) / sizeof(units[0]), &bytes)) {
        return weir_error_set(err, WEIR_INVALID, "\"%.*s\" is not a size: a whole number and b, kb, mb, gb or tb (of 1024), "
                              "as in \"64 mb\" (a bare number is bytes)", shown_len(text), (const char *)text.data);
    }
    *out_bytes = bytes;
    return WEIR_OK;
}

enum weir_rc weir_config_parse_bool(struct weir_slice text, bool *out_value, struct weir_error *err)
{
    struct weir_slice word = trim(text);
    if (word.len == 4 && strncasecmp((const char *)word.data, "true", 4) == 0) {
        *out_value = true;
    } else if (word.len == 5 && strncasecmp((const char *)word.data, "false", 5) == 0) {
        *out_value = false;
    } else {
        return weir_error_set(err, WEIR_INVALID, "\"%.*s\" is neither true nor false", shown_len(text),
                              (const char *)text.data);
    }
    return WEIR_OK;
}

static enum weir_rc parse_int(struct weir_slice text, int64_t *out_value, struct weir_error *err)
{
    struct weir_slice rest = trim(text);
    bool negative = rest.len > 0 && rest.data[0] == '-';
    if (negative) {
        rest = weir_slice(rest.data + 1, rest.len - 1);
    }
    int64_t number;
    if (!take_number(&rest, &number) || rest.len != 0) {
        return weir_error_set(err, WEIR_INVALID, "\"%.*s\" is not a whole number", shown_len(text), (const char *)text.data);
    }
    *out_value = negative ? -number : number;
    return WEIR_OK;
}

/* Digits with at most one point among them: no sign, no exponent, the same in every locale. */
static enum weir_rc parse_double(const struct row *row, struct weir_slice text, double *out_value, struct weir_error *err)
{
    enum { DIGITS_MAX = 15 };
    struct weir_slice word = trim(text);
    uint64_t digits = 0;
    double scale = 1;
    size_t points = 0;
    bool ok = word.len > 0 && word.len <= DIGITS_MAX;
    for (size_t i = 0; ok && i < word.len; i++) {
        uint8_t c = word.data[i];
        points += c == '.';
        ok = points <= 1 && (c == '.' || (c >= '0' && c <= '9'));
        if (ok && c != '.') {
            digits = digits * 10 + (uint64_t)(c - '0');
            scale = points == 0 ? scale : scale * 10;
        }
    }
    if (!ok || word.len == points) {
        return weir_error_set(err, WEIR_INVALID, "\"%.*s\" is not a number such as 1.5", shown_len(text), (const char *)text.data);
    }
    double value = (double)digits / scale;
    if (value < (double)row->min || value > (double)row->max) {
        return weir_error_set(err, WEIR_INVALID, "%g is out of range: %lld to %lld", value, (long long)row->min, (long long)row->max);
    }
    *out_value = value;
    return WEIR_OK;
}

static enum weir_rc check_range(const struct row *row, int64_t value, struct weir_error *err)
{
    const char *unit = row->type == WEIR_CONFIG_DURATION ? " ms" : row->type == WEIR_CONFIG_BYTES ? " bytes" : "";
    if (row->min == 0 && row->max == 0) {
        return WEIR_OK;
    }
    if (value < row->min) {
        return weir_error_set(err, WEIR_INVALID, "%lld%s is too little: at least %lld%s", (long long)value, unit,
                              (long long)row->min, unit);
    }
    if (row->max != 0 && value > row->max) {
        return weir_error_set(err, WEIR_INVALID, "%lld%s is too much: at most %lld%s", (long long)value, unit,
                              (long long)row->max, unit);
    }
    return WEIR_OK;
}

/* A whole file of at most bytes_max bytes, appended to out. */
static enum weir_rc read_file(const char *path, size_t bytes_max, struct weir_buf *out, struct weir_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return weir_error_errno(err, errno == ENOENT ? WEIR_NOT_FOUND : WEIR_IO, errno, "cannot open %s", path);
    }
    enum weir_rc rc = WEIR_OK;
    for (;;) {
        enum { CHUNK_BYTES = 16384 };
        ssize_t n = read(fd, weir_buf_reserve(out, CHUNK_BYTES), CHUNK_BYTES);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            rc = weir_error_errno(err, WEIR_IO, errno, "cannot read %s", path);
        } else if (out->len + (size_t)n > bytes_max) {
            rc = weir_error_set(err, WEIR_INVALID, "%s is larger than %zu bytes", path, bytes_max);
        }
        if (n <= 0 || rc != WEIR_OK) {
            break;
        }
        out->len += (size_t)n;
    }
    (void)close(fd);
    return rc;
}

/* Appends what ${kind:name} stands for. */
static enum weir_rc resolve_reference(struct weir_slice kind, const char *name, struct weir_buf *out, struct weir_error *err)
{
    if (weir_slice_eq_str(kind, "env")) {
        const char *value = getenv(name);
        if (value == NULL) {
            return weir_error_set(err, WEIR_NOT_FOUND, "the environment has no variable %s", name);
        }
        weir_buf_put_str(out, value);
        return WEIR_OK;
    }
    if (weir_slice_eq_str(kind, "file")) {
        size_t before = out->len;
        enum weir_rc rc = read_file(name, before + SECRET_BYTES_MAX, out, err);
        if (rc == WEIR_OK && out->len > before && out->data[out->len - 1] == '\n') {
            out->len--;
        }
        if (rc == WEIR_OK && memchr(weir_buf_slice(out).data + before, '\0', out->len - before) != NULL) {
            rc = weir_error_set(err, WEIR_INVALID, "%s holds a NUL byte", name);
        }
        return rc;
    }
    return weir_error_set(err, WEIR_INVALID, "${%.*s:...} is not known; ${file:PATH} and ${env:NAME} are", shown_len(kind),
                          (const char *)kind.data);
}

enum weir_rc weir_config_resolve_secret(struct weir_slice text, char **out, struct weir_error *err)
{
    struct weir_buf buf = {0};
    enum weir_rc rc = WEIR_OK;
    weir_buf_reserve(&buf, 1);
    for (size_t i = 0; i < text.len && rc == WEIR_OK;) {
        if (text.data[i] != '$' || i + 1 == text.len || text.data[i + 1] != '{') {
            weir_buf_put_u8(&buf, text.data[i++]);
            continue;
        }
        const uint8_t *start = text.data + i + 2;
        const uint8_t *end = memchr(start, '}', text.len - i - 2);
        const uint8_t *colon = end == NULL ? NULL : memchr(start, ':', (size_t)(end - start));
        if (colon == NULL) {
            /* The text itself is not shown: it may be the secret. */
            rc = weir_error_set(err, WEIR_INVALID, "\"${\" without its end; write ${file:PATH} or ${env:NAME}");
            break;
        }
        char *name = weir_strndup(colon + 1, (size_t)(end - colon - 1));
        rc = resolve_reference(weir_slice(start, (size_t)(colon - start)), name, &buf, err);
        weir_free(name);
        i = (size_t)(end + 1 - text.data);
    }
    if (rc == WEIR_OK) {
        weir_buf_put_u8(&buf, 0);
        size_t len;
        *out = (char *)weir_buf_take(&buf, &len);
    }
    weir_buf_fini(&buf);
    return rc;
}

/* --- settings ----------------------------------------------------------------------------------------------------- */

static void setting_fini(struct setting *setting)
{
    weir_free(setting->text);
    weir_free(setting->resolved);
    weir_free(setting->origin);
    *setting = (struct setting){0};
}

/* Fills *out with the parsed value (text and resolved owned, no origin); out untouched on error. */
static enum weir_rc parse_setting(const struct row *row, struct weir_slice value, struct setting *out,
                                  struct weir_error *err)
{
    int64_t number = 0;
    double real = 0;
    bool flag = false;
    char *resolved = NULL;
    enum weir_rc rc = WEIR_OK;
    if (memchr(value.len == 0 ? (const uint8_t *)"x" : value.data, '\0', value.len) != NULL) {
        return weir_error_set(err, WEIR_INVALID, "the value holds a NUL byte");
    }
    switch (row->type) {
    case WEIR_CONFIG_STRING:
        break;
    case WEIR_CONFIG_BOOL:
        rc = weir_config_parse_bool(value, &flag, err);
        number = flag;
        break;
    case WEIR_CONFIG_INT:
        rc = parse_int(value, &number, err);
        break;
    case WEIR_CONFIG_DOUBLE:
        rc = parse_double(row, value, &real, err);
        break;
    case WEIR_CONFIG_DURATION:
        rc = weir_config_parse_duration(value, &number, err);
        break;
    case WEIR_CONFIG_BYTES:
        rc = weir_config_parse_bytes(value, &number, err);
        break;
    case WEIR_CONFIG_SECRET:
        rc = weir_config_resolve_secret(value, &resolved, err);
        break;
    }
    bool ranged = row->type == WEIR_CONFIG_INT || row->type == WEIR_CONFIG_DURATION || row->type == WEIR_CONFIG_BYTES;
    if (rc == WEIR_OK && ranged) {
        rc = check_range(row, number, err);
    }
    if (rc == WEIR_OK) {
        *out = (struct setting){.text = weir_strndup(value.data, value.len), .resolved = resolved, .number = number, .real = real};
    }
    return rc;
}

struct weir_config *weir_config_create(void)
{
    struct weir_config *config = weir_calloc(1, sizeof(*config));
    for (size_t i = 0; i < WEIR_CFG_COUNT_; i++) {
        struct weir_error err;
        enum weir_rc rc = parse_setting(&rows[i], weir_slice_str(rows[i].def), &config->settings[i], &err);
        weir_assert(rc == WEIR_OK); /* a default of config.def is wrong */
        config->settings[i].origin = weir_strdup("default");
    }
    return config;
}

struct weir_config *weir_config_copy(const struct weir_config *config)
{
    struct weir_config *copy = weir_calloc(1, sizeof(*copy));
    for (size_t i = 0; i < WEIR_CFG_COUNT_; i++) {
        const struct setting *from = &config->settings[i];
        copy->settings[i] = (struct setting){
            .text = weir_strdup(from->text),
            .resolved = from->resolved == NULL ? NULL : weir_strdup(from->resolved),
            .number = from->number,
            .real = from->real,
            .origin = weir_strdup(from->origin),
            .is_set = from->is_set,
        };
    }
    return copy;
}

void weir_config_destroy(struct weir_config *config)
{
    if (config == NULL) {
        return;
    }
    for (size_t i = 0; i < WEIR_CFG_COUNT_; i++) {
        setting_fini(&config->settings[i]);
    }
    weir_free(config);
}

static size_t find_key(struct weir_slice name)
{
    size_t key = 0;
    while (key < WEIR_CFG_COUNT_ && !weir_slice_eq_str(name, row_names[key])) {
        key++;
    }
    return key;
}

enum weir_rc weir_config_set(struct weir_config *config, struct weir_slice key, struct weir_slice value, const char *origin,
                             enum weir_config_scope scope, struct weir_error *err)
{
    size_t index = find_key(key);
    if (index == WEIR_CFG_COUNT_) {
        const char *nearest = weir_nearest_name(key, row_names, WEIR_CFG_COUNT_);
        return weir_error_set(err, WEIR_INVALID, "%s: unknown setting \"%.*s\"%s%s%s", origin, shown_len(key),
                              (const char *)key.data, nearest == NULL ? "" : "; did you mean ",
                              nearest == NULL ? "" : nearest, nearest == NULL ? "" : "?");
    }
    const struct row *row = &rows[index];
    if (((unsigned)row->scope & (unsigned)scope) == 0) {
        return weir_error_set(err, WEIR_INVALID, "%s: %s is a setting of %s", origin, row->name,
                              row->scope == WEIR_SCOPE_DAEMON ? "the daemons, not of a job" : "a job, not of a daemon");
    }
    struct setting parsed;
    enum weir_rc rc = parse_setting(row, value, &parsed, err);
    if (rc != WEIR_OK) {
        return weir_error_prefix(err, "%s: %s", origin, row->name);
    }
    parsed.origin = weir_strdup(origin);
    parsed.is_set = true;
    setting_fini(&config->settings[index]);
    config->settings[index] = parsed;
    return WEIR_OK;
}

enum weir_rc weir_config_set_pair(struct weir_config *config, const char *pair, struct weir_error *err)
{
    const char *equals = strchr(pair, '=');
    if (equals == NULL || equals == pair) {
        return weir_error_set(err, WEIR_INVALID, "-D: \"%.*s\" is not key=value", SHOWN_MAX, pair);
    }
    return weir_config_set(config, trim(weir_slice(pair, (size_t)(equals - pair))), weir_slice_str(equals + 1), "-D",
                           WEIR_SCOPE_DAEMON, err);
}

/* --- files -------------------------------------------------------------------------------------------------------- */

struct loading {
    struct weir_config *config; /* a copy: a file with a problem changes nothing */
    const char *path;
    const struct weir_yaml *seen[WEIR_CFG_COUNT_]; /* where this file sets the key */
    struct weir_buf problems;                      /* one a line */
    size_t unlisted;
};

static void add_problem(struct loading *loading, const struct weir_error *problem)
{
    enum { ROOM_FOR_COUNT = 24 };
    size_t len = strlen(problem->text);
    if (loading->problems.len > 0 && loading->problems.len + len + ROOM_FOR_COUNT >= WEIR_ERROR_TEXT_MAX) {
        loading->unlisted++;
        return;
    }
    if (loading->problems.len > 0) {
        weir_buf_put_u8(&loading->problems, '\n');
    }
    weir_buf_put(&loading->problems, problem->text, len);
}

static void load_scalar(struct loading *loading, const struct weir_yaml *node, const struct weir_yaml *value,
                        struct weir_slice key)
{
    struct weir_error problem;
    enum weir_rc rc = WEIR_OK;
    size_t index = find_key(key);
    if (index < WEIR_CFG_COUNT_ && loading->seen[index] != NULL) {
        rc = weir_yaml_error(&problem, loading->path, node, "%s is set at %u:%u already", row_names[index],
                             loading->seen[index]->line, loading->seen[index]->column);
    } else if (index < WEIR_CFG_COUNT_ && weir_yaml_is_null(value)) {
        rc = weir_yaml_error(&problem, loading->path, node, "%s has no value; write \"\" for an empty text",
                             row_names[index]);
    } else {
        char origin[WEIR_ERROR_TEXT_MAX];
        (void)snprintf(origin, sizeof(origin), "%s:%u:%u", loading->path, node->line, node->column);
        rc = weir_config_set(loading->config, key, value->text, origin, WEIR_SCOPE_DAEMON, &problem);
    }
    if (index < WEIR_CFG_COUNT_ && loading->seen[index] == NULL) {
        loading->seen[index] = node;
    }
    if (rc != WEIR_OK) {
        add_problem(loading, &problem);
    }
}

/* `a: {b: 1}` and `a.b: 1` are the same. Nesting is bounded by KEY_BYTES_MAX (each level adds a byte at least) and by the
 * reader's depth. */
static void load_map(struct loading *loading, const struct weir_yaml *map, struct weir_slice prefix)
{
    for (size_t i = 0; i < map->count; i++) {
        const struct weir_yaml *node = map->keys[i];
        const struct weir_yaml *value = map->items[i];
        char key[KEY_BYTES_MAX];
        struct weir_error problem;
        int len = snprintf(key, sizeof(key), "%.*s%s%.*s", WEIR_SLICE_ARG(prefix), prefix.len == 0 ? "" : ".",
                           WEIR_SLICE_ARG(node->text));
        if (len >= KEY_BYTES_MAX) {
            (void)weir_yaml_error(&problem, loading->path, node, "no setting has so long a name");
            add_problem(loading, &problem);
            continue;
        }
        struct weir_slice full = weir_slice(key, (size_t)len);
        switch (value->kind) {
        case WEIR_YAML_SCALAR:
            load_scalar(loading, node, value, full);
            break;
        case WEIR_YAML_MAP:
            load_map(loading, value, full);
            break;
        case WEIR_YAML_SEQUENCE:
            (void)weir_yaml_error(&problem, loading->path, node, "%s: a list; settings are single values", key);
            add_problem(loading, &problem);
            break;
        }
    }
}

static void swap_configs(struct weir_config *a, struct weir_config *b)
{
    struct weir_config kept = *a;
    *a = *b;
    *b = kept;
}

static enum weir_rc load_text(struct weir_config *config, const char *path, struct weir_slice text, struct weir_error *err)
{
    struct weir_arena *arena = weir_arena_create(0);
    struct loading loading = {.config = weir_config_copy(config), .path = path};
    const struct weir_yaml *root;
    enum weir_rc rc = weir_yaml_parse(text, path, arena, &root, err);
    if (rc != WEIR_OK) {
        goto out;
    }
    if (root->kind == WEIR_YAML_MAP) {
        load_map(&loading, root, weir_slice(NULL, 0));
    } else if (!weir_yaml_is_null(root)) {
        rc = weir_yaml_error(err, path, root, "a configuration is a map of settings, `name: value`");
        goto out;
    }
    if (loading.problems.len > 0) {
        weir_buf_put_u8(&loading.problems, 0);
        const char *list = (const char *)loading.problems.data;
        rc = loading.unlisted == 0 ? weir_error_set(err, WEIR_INVALID, "%s", list)
                                   : weir_error_set(err, WEIR_INVALID, "%s\nand %zu more", list, loading.unlisted);
        goto out;
    }
    swap_configs(config, loading.config);
out:
    weir_buf_fini(&loading.problems);
    weir_config_destroy(loading.config);
    weir_arena_destroy(arena);
    return rc;
}

enum weir_rc weir_config_load(struct weir_config *config, const char *path, struct weir_error *err)
{
    struct weir_buf text = {0};
    enum weir_rc rc = read_file(path, WEIR_JOB_FILE_BYTES_MAX, &text, err);
    if (rc == WEIR_OK) {
        rc = load_text(config, path, weir_buf_slice(&text), err);
    }
    weir_buf_fini(&text);
    return rc;
}

enum weir_rc weir_config_load_default(struct weir_config *config, const char *path_option, const char *conf_dir,
                                      struct weir_error *err)
{
    if (path_option != NULL) {
        return weir_config_load(config, path_option, err);
    }
    char *path = weir_strfmt("%s/weir.yaml", conf_dir == NULL ? "/etc/weir" : conf_dir);
    struct weir_error problem;
    enum weir_rc rc = weir_config_load(config, path, &problem);
    if (rc == WEIR_NOT_FOUND) { /* only the file itself: whatever is missing inside one is INVALID */
        rc = WEIR_OK;
    } else if (rc != WEIR_OK) {
        *err = problem;
    }
    weir_free(path);
    return rc;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

const char *weir_config_string(const struct weir_config *config, enum weir_config_key key)
{
    const struct setting *setting = &config->settings[key];
    weir_assert(rows[key].type == WEIR_CONFIG_STRING || rows[key].type == WEIR_CONFIG_SECRET);
    return rows[key].type == WEIR_CONFIG_SECRET ? setting->resolved : setting->text;
}

bool weir_config_bool(const struct weir_config *config, enum weir_config_key key)
{
    weir_assert(rows[key].type == WEIR_CONFIG_BOOL);
    return config->settings[key].number != 0;
}

int64_t weir_config_int(const struct weir_config *config, enum weir_config_key key)
{
    weir_assert(rows[key].type == WEIR_CONFIG_INT || rows[key].type == WEIR_CONFIG_DURATION ||
                rows[key].type == WEIR_CONFIG_BYTES);
    return config->settings[key].number;
}

double weir_config_double(const struct weir_config *config, enum weir_config_key key)
{
    weir_assert(rows[key].type == WEIR_CONFIG_DOUBLE);
    return config->settings[key].real;
}

bool weir_config_is_set(const struct weir_config *config, enum weir_config_key key)
{
    return config->settings[key].is_set;
}

const char *weir_config_name(enum weir_config_key key)
{
    return rows[key].name;
}

const char *weir_config_help(enum weir_config_key key)
{
    return rows[key].help;
}

enum weir_config_type weir_config_key_type(enum weir_config_key key)
{
    return rows[key].type;
}

enum weir_config_scope weir_config_key_scope(enum weir_config_key key)
{
    return rows[key].scope;
}

char *weir_config_text_copy(const struct weir_config *config, enum weir_config_key key)
{
    return weir_strdup(rows[key].type == WEIR_CONFIG_SECRET ? "******" : config->settings[key].text);
}

const char *weir_config_origin(const struct weir_config *config, enum weir_config_key key)
{
    return config->settings[key].origin;
}

/* --- settings together ---------------------------------------------------------------------------------------------- */

/* `larger` must be at least `times` as much as `smaller`, and `more` besides. */
struct rule {
    enum weir_config_key named_first, smaller, larger;
    int64_t times, more;
    bool zero_is_never; /* larger may be 0 */
    const char *advice;
};

static const struct rule rules[] = {
    {WEIR_CFG_RAFT_HEARTBEAT, WEIR_CFG_RAFT_HEARTBEAT, WEIR_CFG_RAFT_ELECTION, 5, 0, false,
     "JobManagers would take a leader that is alive for dead; set jobmanager.raft.heartbeat-interval to at most a fifth of "
     "jobmanager.raft.election-timeout (a tenth is usual), or raise the latter"},
    {WEIR_CFG_HEARTBEAT_INTERVAL, WEIR_CFG_HEARTBEAT_INTERVAL, WEIR_CFG_HEARTBEAT_TIMEOUT, 3, 0, false,
     "TaskManagers that are alive would count as lost; set heartbeat.interval to at most a third of heartbeat.timeout (a tenth is usual), or raise "
     "the latter"},
    {WEIR_CFG_FENCING_TIMEOUT, WEIR_CFG_HEARTBEAT_TIMEOUT, WEIR_CFG_FENCING_TIMEOUT, 1, 1, true,
     "tasks would pause before a silent leader counts as lost and another is looked for; set cluster.fencing.timeout to more than heartbeat.timeout, or "
     "to 0 to let them never pause"},
};

enum weir_rc weir_config_check(const struct weir_config *config, struct weir_error *err)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        const struct rule *rule = &rules[i];
        int64_t larger_ms = weir_config_int(config, rule->larger);
        enum weir_config_key first = rule->named_first, second = first == rule->larger ? rule->smaller : rule->larger;
        bool never = rule->zero_is_never && larger_ms == 0;
        /* Divided, as larger_ms is unlimited above. */
        if (!never && weir_config_int(config, rule->smaller) > (larger_ms - rule->more) / rule->times) {
            return weir_error_set(err, WEIR_INVALID, "%s is %lld ms (%s) and %s %lld ms (%s): %s", rows[first].name,
                                  (long long)weir_config_int(config, first), config->settings[first].origin, rows[second].name,
                                  (long long)weir_config_int(config, second), config->settings[second].origin, rule->advice);
        }
    }
    return WEIR_OK;
}
