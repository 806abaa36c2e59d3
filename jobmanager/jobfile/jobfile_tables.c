#include "jobmanager/jobfile/jobfile_read.h"

#include "common/plan/error_table.h"

enum { LIST_TEXT_MAX = 1 << 20 };

/* --- columns and watermark -------------------------------------------------------------------------------------------- */

static bool read_column(struct weir_jobfile *jf, const struct weir_yaml *name, const struct weir_yaml *type,
                        struct weir_field *out_field)
{
    struct weir_slice text;
    if (name->text.len == 0 || name->text.len > WEIR_NAME_MAX || name->text.data[0] == '$' ||
        memchr(name->text.data, '\0', name->text.len) != NULL) {
        weir__jobfile_problem(jf, name, "\"%.*s\" cannot name a column; expected 1 to %d bytes that do not begin with $",
                              (int)(name->text.len > 40 ? 40 : name->text.len), (const char *)name->text.data, WEIR_NAME_MAX);
        return false;
    }
    if (!weir__jobfile_text(jf, type, "the column's type", &text)) {
        return false;
    }
    struct weir_error err;
    if (weir_type_parse(text, &out_field->type, &err) != WEIR_OK) {
        weir__jobfile_problem(jf, type, "column \"%.*s\": %s", WEIR_SLICE_ARG(name->text), err.text);
        return false;
    }
    out_field->name = weir_arena_strndup(jf->arena, name->text.data, name->text.len);
    return true;
}

/* Reads {column, delay}; the index of the column, or WEIR_NO_COLUMN. */
static int32_t read_watermark(struct weir_jobfile *jf, struct weir_jobfile_table *table, const struct weir_yaml *node,
                              const struct weir_field *fields, uint32_t count)
{
    static const char *const keys[] = {"column", "delay", NULL};
    const struct weir_yaml *column = weir_yaml_get(node, "column");
    const struct weir_yaml *delay = weir_yaml_get(node, "delay");
    struct weir_slice name;
    bool broken_before = table->broken;
    table->broken = true;
    if (!weir__jobfile_map(jf, node, "the watermark", keys)) {
        return WEIR_NO_COLUMN;
    }
    if (column == NULL || delay == NULL) {
        weir__jobfile_problem(jf, node,
                              "the watermark has no %s; expected {column: NAME, delay: 2 s}", column == NULL ? "column" : "delay");
        return WEIR_NO_COLUMN;
    }
    if (!weir__jobfile_duration(jf, delay, "the watermark's delay", 0, &table->spec.watermark_delay_ms) ||
        !weir__jobfile_text(jf, column, "the watermark's column", &name)) {
        return WEIR_NO_COLUMN;
    }
    const char **names = weir_arena_alloc(jf->arena, (count + 1) * sizeof(*names));
    for (uint32_t i = 0; i < count; i++) {
        names[i] = fields[i].name;
        if (!weir_slice_eq_str(name, fields[i].name)) {
            continue;
        }
        if (fields[i].type.id != WEIR_TYPE_TIMESTAMP && fields[i].type.id != WEIR_TYPE_TIMESTAMP_LTZ) {
            weir__jobfile_problem(jf, column, "the watermark's column \"%s\" is %s; expected a TIMESTAMP or TIMESTAMP_LTZ",
                                  fields[i].name, weir_type_text(fields[i].type).text);
            return WEIR_NO_COLUMN;
        }
        table->spec.has_watermark = true;
        table->broken = broken_before;
        return (int32_t)i;
    }
    weir__jobfile_problem(jf, column, "the table has no column \"%.*s\"%s", WEIR_SLICE_ARG(name),
                          weir__jobfile_suggest(jf, name, names, count));
    return WEIR_NO_COLUMN;
}

static void read_schema(struct weir_jobfile *jf, struct weir_jobfile_table *table, const struct weir_yaml *node)
{
    const struct weir_yaml *columns = weir_yaml_get(node, "columns");
    const struct weir_yaml *watermark = weir_yaml_get(node, "watermark");
    if (columns == NULL || columns->kind != WEIR_YAML_MAP || columns->count == 0) {
        weir__jobfile_problem(jf, columns == NULL ? table->node : columns,
                              "table \"%s\" has no columns; expected columns: {NAME: TYPE, ...}", table->spec.name);
        table->broken = true;
        return;
    }
    struct weir_field *fields = weir_arena_zalloc(jf->arena, columns->count * sizeof(*fields));
    bool ok = true;
    for (size_t i = 0; i < columns->count; i++) {
        ok = read_column(jf, columns->keys[i], columns->items[i], &fields[i]) && ok;
    }
    if (!ok) {
        table->broken = true;
        return;
    }
    int32_t time_column = WEIR_NO_COLUMN;
    if (watermark != NULL) {
        time_column = read_watermark(jf, table, watermark, fields, (uint32_t)columns->count);
    }
    struct weir_schema *schema = NULL;
    struct weir_error err;
    if (weir_schema_create(fields, (uint32_t)columns->count, time_column, &schema, &err) != WEIR_OK) {
        weir__jobfile_problem(jf, columns, "%s", err.text);
        table->broken = true;
        return;
    }
    table->spec.schema = weir_jobgraph_own_schema_take(jf->graph, schema);
}

/* --- with ------------------------------------------------------------------------------------------------------------- */

/* An option's text: a scalar, or a list of scalars joined by commas. NULL after a problem. */
static const char *option_text(struct weir_jobfile *jf, const struct weir_yaml *key, const struct weir_yaml *node)
{
    struct weir_slice text;
    if (node->kind != WEIR_YAML_SEQUENCE) {
        bool empty_text = node->kind == WEIR_YAML_SCALAR && node->quoted && node->text.len == 0;
        if (empty_text) {
            return "";
        }
        const char *what = weir_arena_fmt(jf->arena, "option \"%.*s\"", WEIR_SLICE_ARG(key->text));
        return weir__jobfile_text(jf, node, what, &text) ? weir_arena_strndup(jf->arena, text.data, text.len) : NULL;
    }
    struct weir_buf joined = {0};
    const char *result = NULL;
    for (size_t i = 0; i < node->count; i++) {
        if (!weir__jobfile_text(jf, node->items[i], "a value of the list", &text)) {
            goto out;
        }
        if (memchr(text.data, ',', text.len) != NULL || joined.len + text.len > LIST_TEXT_MAX) {
            weir__jobfile_problem(jf, node->items[i], "a value of the list holds a comma or is too long; commas separate values");
            goto out;
        }
        weir_buf_put_str(&joined, i == 0 ? "" : ",");
        weir_buf_put_slice(&joined, text);
    }
    result = weir_arena_strndup(jf->arena, joined.data, joined.len);
out:
    weir_buf_fini(&joined);
    return result;
}

static void read_connector(struct weir_jobfile *jf, struct weir_jobfile_table *table)
{
    const struct weir_yaml *node = weir_yaml_get(table->with, "connector");
    struct weir_buf list = {0};
    struct weir_slice name;
    weir_connector_desc_list(WEIR_ROLE_BOTH, &list);
    table->broken = true;
    if (node == NULL) {
        weir__jobfile_problem(jf, table->with, "table \"%s\" has no connector; expected connector: one of %.*s", table->spec.name,
                              WEIR_SLICE_ARG(weir_buf_slice(&list)));
    } else if (weir__jobfile_text(jf, node, "the connector", &name)) {
        table->connector = weir_connector_desc_find(name);
        if (table->connector == NULL) {
            weir__jobfile_problem(jf, node, "there is no connector \"%.*s\"; expected one of %.*s", WEIR_SLICE_ARG(name),
                                  WEIR_SLICE_ARG(weir_buf_slice(&list)));
        } else {
            table->spec.connector = table->connector->name;
            table->broken = false;
        }
    }
    weir_buf_fini(&list);
}

/* Flink's two names of the option that names the format. */
static const char *const format_keys[] = {"format", "value.format"};

static bool takes_format_key(const struct weir_connector_desc *connector, const char *key)
{
    for (const char *at = connector->format_keys; at != NULL;) {
        const char *bar = strchr(at, '|');
        size_t len = bar == NULL ? strlen(at) : (size_t)(bar - at);
        if (strlen(key) == len && memcmp(at, key, len) == 0) {
            return true;
        }
        at = bar == NULL ? NULL : bar + 1;
    }
    return false;
}

/* The one option that names the format, or NULL; says so when there are two, or one that the connector does not have. */
static const struct weir_yaml *find_format(struct weir_jobfile *jf, struct weir_jobfile_table *table)
{
    const struct weir_yaml *found = NULL;
    for (size_t i = 0; i < sizeof(format_keys) / sizeof(format_keys[0]); i++) {
        const struct weir_yaml *node = weir_yaml_get(table->with, format_keys[i]);
        if (node == NULL) {
            continue;
        }
        if (found != NULL) {
            weir__jobfile_problem(jf, node, "format and value.format are the same option; expected one of them");
            table->broken = true;
        } else if (table->connector->format_keys != NULL && !takes_format_key(table->connector, format_keys[i])) {
            weir__jobfile_problem(jf, node, "connector \"%s\" has no option \"%s\"; did you mean \"%s\"?", table->connector->name,
                                  format_keys[i], table->connector->format_keys);
            table->broken = true;
        }
        found = node;
    }
    return found;
}

static void read_format(struct weir_jobfile *jf, struct weir_jobfile_table *table)
{
    const struct weir_yaml *node = find_format(jf, table);
    struct weir_buf list = {0};
    struct weir_slice name;
    weir_format_desc_list(&list);
    if (node != NULL && table->connector->format_keys == NULL) {
        weir__jobfile_problem(jf, node, "connector \"%s\" takes no format", table->connector->name);
        table->broken = true;
    } else if (node == NULL && table->connector->format_keys != NULL) {
        const char *key = takes_format_key(table->connector, format_keys[0]) ? format_keys[0] : format_keys[1];
        weir__jobfile_problem(jf, table->with,
                              "connector \"%s\" needs a format; expected %s: one of %.*s", table->connector->name, key,
                              WEIR_SLICE_ARG(weir_buf_slice(&list)));
        table->broken = true;
    } else if (node != NULL) {
        bool is_text = weir__jobfile_text(jf, node, "the format", &name);
        table->format = is_text ? weir_format_desc_find(name) : NULL;
        if (is_text && table->format == NULL) {
            weir__jobfile_problem(jf, node, "there is no format \"%.*s\"; expected one of %.*s", WEIR_SLICE_ARG(name),
                                  WEIR_SLICE_ARG(weir_buf_slice(&list)));
        }
        table->broken = table->broken || table->format == NULL;
        table->spec.format = table->format == NULL ? NULL : table->format->name;
    }
    weir_buf_fini(&list);
}

static void read_options(struct weir_jobfile *jf, struct weir_jobfile_table *table)
{
    struct weir_option *options = weir_arena_alloc(jf->arena, table->with->count * sizeof(*options));
    uint32_t count = 0;
    for (size_t i = 0; i < table->with->count; i++) {
        const struct weir_yaml *key = table->with->keys[i];
        if (weir_slice_eq_str(key->text, "connector") || weir_slice_eq_str(key->text, format_keys[0]) ||
            weir_slice_eq_str(key->text, format_keys[1])) {
            continue;
        }
        const char *value = option_text(jf, key, table->with->items[i]);
        if (value == NULL) {
            table->broken = true;
            continue;
        }
        struct weir_option *option = &options[count++];
        *option = (struct weir_option){
            .key = weir_arena_strndup(jf->arena, key->text.data, key->text.len),
            .value = value,
            .pos = {.line = table->with->items[i]->line, .column = table->with->items[i]->column},
        };
        struct weir_error err;
        if (table->spec.schema != NULL && table->connector != NULL && (table->connector->format_keys == NULL || table->format != NULL) &&
            weir_connector_check_option(table->connector, table->format, table->spec.schema, option, &err) != WEIR_OK) {
            weir__jobfile_problem(jf, key, "%s", err.text);
            table->broken = true;
        }
    }
    table->spec.options = options;
    table->spec.noptions = count;
}

/* --- on-error --------------------------------------------------------------------------------------------------------- */

static void read_on_error(struct weir_jobfile *jf, struct weir_jobfile_table *table, const struct weir_yaml *node)
{
    if (node->kind == WEIR_YAML_SCALAR && weir_slice_eq_str(node->text, "fail")) {
        table->spec.on_error = WEIR_ON_ERROR_FAIL;
    } else if (node->kind == WEIR_YAML_SCALAR && weir_slice_eq_str(node->text, "skip")) {
        table->spec.on_error = WEIR_ON_ERROR_SKIP;
    } else if (node->kind == WEIR_YAML_MAP && node->count == 1 && weir_yaml_get(node, "table") != NULL) {
        table->spec.on_error = WEIR_ON_ERROR_TABLE; /* found when all tables are read */
        table->on_error = weir_yaml_get(node, "table");
    } else {
        weir__jobfile_problem(jf, node, "on-error is not understood; expected fail, skip or {table: NAME}");
        table->broken = true;
    }
}

/* The table that receives the bad records of `table`. */
static void find_error_table(struct weir_jobfile *jf, struct weir_jobfile_table *table)
{
    struct weir_slice name;
    struct weir_error err;
    const char **names = weir_arena_alloc(jf->arena, jf->ntables * sizeof(*names));
    struct weir_jobfile_table *found = NULL;
    bool is_text = weir__jobfile_text(jf, table->on_error, "the table of bad records", &name);
    for (uint32_t i = 0; i < jf->ntables; i++) {
        names[i] = jf->tables[i].spec.name;
        found = is_text && weir_slice_eq_str(name, names[i]) ? &jf->tables[i] : found;
    }
    table->broken = true;
    if (!is_text) {
        return;
    }
    if (found == NULL) {
        weir__jobfile_problem(jf, table->on_error, "there is no table \"%.*s\"%s", WEIR_SLICE_ARG(name),
                              weir__jobfile_suggest(jf, name, names, jf->ntables));
    } else if (found == table || found->on_error != NULL) {
        weir__jobfile_problem(jf, table->on_error, "table \"%s\" cannot receive bad records, since its own go to a table", found->spec.name);
    } else if (found->connector != NULL && (found->connector->roles & WEIR_ROLE_SINK) == 0) {
        weir__jobfile_problem(jf, table->on_error, "table \"%s\" has connector \"%s\", which cannot be written", found->spec.name,
                              found->connector->name);
    } else if (found->spec.schema != NULL && weir_error_table_check(found->spec.schema, &err) != WEIR_OK) {
        weir__jobfile_problem(jf, found->node, "table \"%s\": %s", found->spec.name, err.text);
    } else if (!found->broken) { /* else that was reported */
        found->roles |= WEIR_ROLE_SINK;
        table->spec.error_table = &found->spec;
        table->broken = false;
    }
}

static void read_table(struct weir_jobfile *jf, const struct weir_yaml *name, const struct weir_yaml *node)
{
    static const char *const keys[] = {"columns", "watermark", "with", "on-error", NULL};
    struct weir_jobfile_table *table = &jf->tables[jf->ntables++];
    table->node = name;
    table->spec.name = weir_arena_strndup(jf->arena, name->text.data, name->text.len);
    if (name->text.len == 0 || name->text.len > WEIR_NAME_MAX || strlen(table->spec.name) != name->text.len) {
        weir__jobfile_problem(jf, name,
                              "a table's name has %zu bytes or a NUL; expected 1 to %d bytes", name->text.len, WEIR_NAME_MAX);
        table->broken = true;
    }
    if (!weir__jobfile_map(jf, node, "a table", keys)) {
        table->broken = true;
        if (node->kind != WEIR_YAML_MAP) {
            return;
        }
    }
    read_schema(jf, table, node);
    table->with = weir_yaml_get(node, "with");
    if (table->with == NULL || table->with->kind != WEIR_YAML_MAP) {
        weir__jobfile_problem(jf, table->with == NULL ? name : table->with,
                              "table \"%s\" has no `with`; expected with: {connector: ...}",
                              table->spec.name);
        table->broken = true;
    } else {
        bool broken = table->broken;
        read_connector(jf, table);
        if (table->connector != NULL) {
            read_format(jf, table);
            read_options(jf, table);
        }
        table->broken = table->broken || broken;
    }
    if (weir_yaml_get(node, "on-error") != NULL) {
        read_on_error(jf, table, weir_yaml_get(node, "on-error"));
    }
}

void weir__jobfile_read_tables(struct weir_jobfile *jf, const struct weir_yaml *node)
{
    if (node->kind != WEIR_YAML_MAP || node->count == 0 || node->count > WEIR_JOBFILE_TABLES_MAX) {
        weir__jobfile_problem(jf, node, "tables is not a map of 1 to %d tables; expected tables: {NAME: {columns: ..., with: ...}}",
                              WEIR_JOBFILE_TABLES_MAX);
        return;
    }
    jf->tables = weir_arena_zalloc(jf->arena, node->count * sizeof(*jf->tables));
    for (size_t i = 0; i < node->count; i++) {
        read_table(jf, node->keys[i], node->items[i]);
    }
    for (uint32_t i = 0; i < jf->ntables; i++) {
        if (jf->tables[i].on_error != NULL && !jf->tables[i].broken) {
            find_error_table(jf, &jf->tables[i]);
        }
    }
}
