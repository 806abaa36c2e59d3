#include "jobmanager/jobfile/jobfile_bind.h"

#include "common/base/assert.h"
#include "common/expr/agg.h"
#include "common/plan/agg_partial.h"

enum { SCHEMA_SHOWN_MAX = 160 };

/* --- expressions ------------------------------------------------------------------------------------------------------ */

static struct weir_expr *parse(struct weir_jobfile *jf, const struct weir_yaml *node, const char *what)
{
    struct weir_slice text;
    struct weir_expr *expr = NULL;
    struct weir_error err;
    if (!weir__jobfile_text(jf, node, what, &text)) {
        return NULL;
    }
    if (weir_expr_parse(text, jf->arena, &expr, &err) != WEIR_OK) {
        weir__jobfile_expr_problem(jf, node, &err);
        return NULL;
    }
    return expr;
}

static struct weir_expr *bind(struct weir_jobfile *jf, const struct weir_yaml *node, const struct weir_expr *parsed,
                              const struct weir_schema *input)
{
    struct weir_expr *bound = NULL;
    struct weir_error err;
    if (weir_expr_bind(parsed, input, jf->arena, &bound, &err) != WEIR_OK) {
        weir__jobfile_expr_problem(jf, node, &err);
        return NULL;
    }
    return bound;
}

/* The schema, owned by the graph; NULL after a problem. */
static const struct weir_schema *make_schema(struct weir_jobfile *jf, const struct weir_yaml *node, const struct weir_field *fields,
                                             uint32_t count, int32_t time_column)
{
    struct weir_schema *schema = NULL;
    struct weir_error err;
    if (weir_schema_create(fields, count, time_column, &schema, &err) != WEIR_OK) {
        weir__jobfile_problem(jf, node, "%s", err.text);
        return NULL;
    }
    return weir_jobgraph_own_schema_take(jf->graph, schema);
}

static const char *schema_text(struct weir_jobfile *jf, const struct weir_schema *schema)
{
    struct weir_buf buf = {0};
    weir_schema_format(schema, &buf);
    const char *text = weir_arena_fmt(jf->arena, "%.*s%s", (int)(buf.len > SCHEMA_SHOWN_MAX ? SCHEMA_SHOWN_MAX : buf.len),
                                      (const char *)buf.data, buf.len > SCHEMA_SHOWN_MAX ? "..." : "");
    weir_buf_fini(&buf);
    return text;
}

/* A column by name, with a problem that suggests the nearest; WEIR_NO_COLUMN after it. */
static int32_t find_column(struct weir_jobfile *jf, const struct weir_yaml *node, const char *what, const struct weir_schema *input)
{
    struct weir_slice name;
    if (!weir__jobfile_text(jf, node, what, &name)) {
        return WEIR_NO_COLUMN;
    }
    int32_t column = weir_schema_find(input, name);
    if (column == WEIR_NO_COLUMN) {
        uint32_t count = weir_schema_count(input);
        const char **names = weir_arena_alloc(jf->arena, count * sizeof(*names));
        for (uint32_t i = 0; i < count; i++) {
            names[i] = weir_schema_field(input, i)->name;
        }
        weir__jobfile_problem(jf, node, "there is no column \"%.*s\"%s", WEIR_SLICE_ARG(name),
                              weir__jobfile_suggest(jf, name, names, count));
    }
    return column;
}

/* A bound reference to a column of the input. */
static struct weir_expr *column_expr(struct weir_jobfile *jf, const struct weir_yaml *node, const struct weir_schema *input,
                                     uint32_t column)
{
    struct weir_expr parsed = {
        .kind = WEIR_EXPR_COLUMN,
        .name = weir_schema_field(input, column)->name,
        .pos = {.line = 1, .column = 1},
    };
    return bind(jf, node, &parsed, input);
}

static bool column_name_ok(struct weir_jobfile *jf, const struct weir_yaml *node)
{
    bool ok = node->text.len > 0 && node->text.len <= WEIR_NAME_MAX && node->text.data[0] != '$' &&
              memchr(node->text.data, '\0', node->text.len) == NULL;
    if (!ok) {
        weir__jobfile_problem(jf, node, "\"%.*s\" cannot name a column; expected 1 to %d bytes that do not begin with $",
                              (int)(node->text.len > 40 ? 40 : node->text.len), (const char *)node->text.data, WEIR_NAME_MAX);
    }
    return ok;
}

/* --- input and union -------------------------------------------------------------------------------------------------- */

/* The union's columns: nullable where one input's are, event time where all inputs have the same. */
static const struct weir_schema *union_schema(struct weir_jobfile *jf, struct weir_jobfile_step *step)
{
    const struct weir_schema *first = jf->steps[step->inputs[0]].output;
    uint32_t count = weir_schema_count(first);
    int32_t time_column = weir_schema_time_column(first);
    struct weir_field *fields = weir_arena_alloc(jf->arena, count * sizeof(*fields));
    for (uint32_t i = 0; i < count; i++) {
        fields[i] = *weir_schema_field(first, i);
    }
    for (uint32_t k = 1; k < step->ninputs; k++) {
        const struct weir_schema *other = jf->steps[step->inputs[k]].output;
        if (!weir_schema_same(first, other)) {
            weir__jobfile_problem(jf, step->input_nodes[k],
                                  "the inputs of a union have different columns: \"%s\" gives %s, \"%s\" gives %s",
                                  jf->steps[step->inputs[0]].id, schema_text(jf, first), jf->steps[step->inputs[k]].id,
                                  schema_text(jf, other));
            return NULL;
        }
        for (uint32_t i = 0; i < count; i++) {
            fields[i].type.not_null = fields[i].type.not_null && weir_schema_field(other, i)->type.not_null;
        }
        time_column = weir_schema_time_column(other) == time_column ? time_column : WEIR_NO_COLUMN;
    }
    return make_schema(jf, step->node, fields, count, time_column);
}

/* Sets input and updating; false when there is none to bind against. */
static bool bind_input(struct weir_jobfile *jf, struct weir_jobfile_step *step)
{
    for (uint32_t i = 0; i < step->ninputs; i++) {
        const struct weir_jobfile_step *input = &jf->steps[step->inputs[i]];
        if (input->broken || input->output == NULL) {
            return false;
        }
        step->updating = step->updating || input->updating;
    }
    step->input = step->ninputs == 1 ? jf->steps[step->inputs[0]].output : union_schema(jf, step);
    return step->input != NULL;
}

/* --- filter, project -------------------------------------------------------------------------------------------------- */

static bool bind_filter(struct weir_jobfile *jf, struct weir_jobfile_step *step)
{
    struct weir_expr *parsed = parse(jf, step->filter, "the filter");
    struct weir_expr *bound = parsed == NULL ? NULL : bind(jf, step->filter, parsed, step->input);
    if (bound == NULL) {
        return false;
    }
    if (bound->type.id != WEIR_TYPE_BOOLEAN) {
        weir__jobfile_problem(jf, step->filter,
                              "the filter is %s; expected BOOLEAN, as in \"speed >= 0\"", weir_type_text(bound->type).text);
        return false;
    }
    step->filter_parsed = parsed;
    step->filter_bound = bound;
    return true;
}

/* One output column: `name` in the file and what computes it. */
static bool bind_projection(struct weir_jobfile *jf, struct weir_jobfile_step *step, const struct weir_yaml *name,
                            const struct weir_yaml *node, struct weir_field *out_field)
{
    if (!column_name_ok(jf, name)) {
        return false;
    }
    const struct weir_expr *parsed = parse(jf, node, "the expression");
    struct weir_expr *bound = parsed == NULL ? NULL : bind(jf, node, parsed, step->input);
    if (bound == NULL) {
        return false;
    }
    if (parsed->kind == WEIR_EXPR_LITERAL && parsed->value.is_null) {
        weir__jobfile_problem(jf, node, "column \"%.*s\" has no type; expected CAST(NULL AS ...)", WEIR_SLICE_ARG(name->text));
        return false;
    }
    out_field->name = weir_arena_strndup(jf->arena, name->text.data, name->text.len);
    out_field->type = bound->type;
    step->exprs[step->nexprs++] = bound;
    return true;
}

static bool bind_project_item(struct weir_jobfile *jf, struct weir_jobfile_step *step, size_t i, struct weir_field *out_field)
{
    const struct weir_yaml *project = step->project;
    if (project->kind == WEIR_YAML_MAP) {
        return bind_projection(jf, step, project->keys[i], project->items[i], out_field);
    }
    int32_t column = find_column(jf, project->items[i], "the column", step->input);
    struct weir_expr *bound = column == WEIR_NO_COLUMN ? NULL : column_expr(jf, project->items[i], step->input, (uint32_t)column);
    if (bound == NULL) {
        return false;
    }
    *out_field = *weir_schema_field(step->input, (uint32_t)column);
    step->exprs[step->nexprs++] = bound;
    return true;
}

static bool bind_project(struct weir_jobfile *jf, struct weir_jobfile_step *step)
{
    const struct weir_yaml *project = step->project;
    if (project->kind == WEIR_YAML_SCALAR || project->count == 0 || project->count > WEIR_COLUMNS_MAX) {
        weir__jobfile_problem(jf, project,
                              "project has no or more than %d columns; expected {NAME: \"EXPRESSION\", ...} or [COLUMN, ...]",
                              WEIR_COLUMNS_MAX);
        return false;
    }
    struct weir_field *fields = weir_arena_zalloc(jf->arena, project->count * sizeof(*fields));
    step->exprs = weir_arena_alloc(jf->arena, project->count * sizeof(*step->exprs));
    int32_t time_column = WEIR_NO_COLUMN;
    bool ok = true;
    for (size_t i = 0; i < project->count; i++) {
        if (!bind_project_item(jf, step, i, &fields[i])) {
            ok = false;
            continue;
        }
        const struct weir_expr *expr = step->exprs[step->nexprs - 1];
        if (time_column == WEIR_NO_COLUMN && expr->kind == WEIR_EXPR_COLUMN &&
            (int32_t)expr->column == weir_schema_time_column(step->input)) {
            time_column = (int32_t)i;
        }
    }
    step->output = ok ? make_schema(jf, project, fields, step->nexprs, time_column) : NULL;
    return step->output != NULL;
}

static bool bind_calc(struct weir_jobfile *jf, struct weir_jobfile_step *step)
{
    bool filter_ok = step->filter == NULL || bind_filter(jf, step);
    if (step->project != NULL) {
        return bind_project(jf, step) && filter_ok;
    }
    step->output = step->input;
    return filter_ok;
}

/* --- aggregate -------------------------------------------------------------------------------------------------------- */

static bool bind_keys(struct weir_jobfile *jf, struct weir_jobfile_step *step)
{
    const struct weir_yaml *node = step->key_by;
    bool list = node->kind == WEIR_YAML_SEQUENCE;
    size_t count = list ? node->count : 1;
    if (count == 0 || count > WEIR_COLUMNS_MAX) {
        weir__jobfile_problem(jf, node, "key_by has no or too many columns; expected [COLUMN, ...]");
        return false;
    }
    uint32_t *keys = weir_arena_alloc(jf->arena, count * sizeof(*keys));
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        const struct weir_yaml *item = list ? node->items[i] : node;
        int32_t column = find_column(jf, item, "the key", step->input);
        for (uint32_t k = 0; k < step->nkeys && column != WEIR_NO_COLUMN; k++) {
            if (keys[k] == (uint32_t)column) {
                weir__jobfile_problem(jf, item, "\"%.*s\" is a key twice", WEIR_SLICE_ARG(item->text));
                column = WEIR_NO_COLUMN;
            }
        }
        if (column == WEIR_NO_COLUMN) {
            ok = false;
        } else {
            keys[step->nkeys++] = (uint32_t)column;
        }
    }
    step->keys = keys;
    return ok;
}

static bool read_hop(struct weir_jobfile *jf, struct weir_jobfile_step *step, const struct weir_yaml *node)
{
    static const char *const keys[] = {"size", "slide", NULL};
    struct weir_window_spec *window = &step->window_spec;
    const struct weir_yaml *size = weir_yaml_get(node, "size");
    const struct weir_yaml *slide = weir_yaml_get(node, "slide");
    if (!weir__jobfile_map(jf, node, "the hop window", keys)) {
        return false;
    }
    if (size == NULL || slide == NULL) {
        weir__jobfile_problem(jf, node,
                              "the hop window has no %s; expected {size: 20 s, slide: 5 s}", size == NULL ? "size" : "slide");
        return false;
    }
    if (!weir__jobfile_duration(jf, size, "the window's size", 1, &window->size_ms) ||
        !weir__jobfile_duration(jf, slide, "the window's slide", 1, &window->slide_ms)) {
        return false;
    }
    if (window->slide_ms > window->size_ms) {
        weir__jobfile_problem(jf, slide,
                              "the window's slide is longer than its size, so that rows between windows would be lost; expected at "
                              "most %lld ms", (long long)window->size_ms);
        return false;
    }
    if (window->size_ms / weir_window_slice_ms(window) > WEIR_WINDOW_SLICES_MAX) {
        weir__jobfile_problem(jf, slide,
                              "the window consists of more than %d slices; expected a slide that divides the size more coarsely",
                              WEIR_WINDOW_SLICES_MAX);
        return false;
    }
    window->kind = WEIR_WINDOW_HOP;
    return true;
}

static bool bind_window(struct weir_jobfile *jf, struct weir_jobfile_step *step)
{
    static const char *const keys[] = {"tumble", "hop", "cumulate", NULL};
    const struct weir_yaml *node = step->window;
    struct weir_window_spec *window = &step->window_spec;
    if (!weir__jobfile_map(jf, node, "the window", keys)) {
        return false;
    }
    if (node->count != 1) {
        weir__jobfile_problem(jf, node,
                              "the window has %zu kinds; expected {tumble: 20 s} or {hop: {size: 20 s, slide: 5 s}}", node->count);
        return false;
    }
    if (weir_slice_eq_str(node->keys[0]->text, "cumulate")) {
        weir__jobfile_problem(jf, node->keys[0], "cumulate windows come with SQL and are not there yet; expected tumble or hop");
        return false;
    }
    if (weir_slice_eq_str(node->keys[0]->text, "hop")) {
        if (!read_hop(jf, step, node->items[0])) {
            return false;
        }
    } else {
        if (!weir__jobfile_duration(jf, node->items[0], "the window's size", 1, &window->size_ms)) {
            return false;
        }
        window->kind = WEIR_WINDOW_TUMBLE;
        window->slide_ms = window->size_ms;
    }
    int32_t time_column = weir_schema_time_column(step->input);
    if (time_column == WEIR_NO_COLUMN) {
        weir__jobfile_problem(jf, node,
                              "the input has no event time; expected a source table with a watermark, whose column is passed on "
                              "unchanged (the result of a window has none)");
        return false;
    }
    window->time_column = (uint32_t)time_column;
    return true;
}

static bool bind_call(struct weir_jobfile *jf, struct weir_jobfile_step *step, size_t i, struct weir_agg_call *out_call)
{
    const struct weir_yaml *node = step->aggregate->items[i];
    const struct weir_yaml *name = step->aggregate->keys[i];
    struct weir_expr *bound = NULL;
    struct weir_error err;
    if (!column_name_ok(jf, name)) {
        return false;
    }
    const struct weir_expr *parsed = parse(jf, node, "the aggregate");
    if (parsed == NULL) {
        return false;
    }
    if (weir_expr_bind_agg(parsed, step->input, jf->arena, &bound, &err) != WEIR_OK) {
        weir__jobfile_expr_problem(jf, node, &err);
        return false;
    }
    const struct weir_agg *agg;
    if (weir_agg_find(bound, &agg, &err) != WEIR_OK) {
        weir__jobfile_expr_problem(jf, node, &err);
        return false;
    }
    *out_call = (struct weir_agg_call){.name = weir_arena_strndup(jf->arena, name->text.data, name->text.len), .expr = bound};
    return true;
}

static bool bind_calls(struct weir_jobfile *jf, struct weir_jobfile_step *step)
{
    const struct weir_yaml *node = step->aggregate;
    if (node->kind != WEIR_YAML_MAP || node->count == 0 || node->count > WEIR_COLUMNS_MAX) {
        weir__jobfile_problem(jf, node, "aggregate is not a map of aggregates; expected {NAME: \"COUNT(*)\", ...}");
        return false;
    }
    struct weir_agg_call *calls = weir_arena_alloc(jf->arena, node->count * sizeof(*calls));
    bool ok = true;
    for (size_t i = 0; i < node->count; i++) {
        if (bind_call(jf, step, i, &calls[step->ncalls])) {
            step->ncalls++;
        } else {
            ok = false;
        }
    }
    step->calls = calls;
    return ok;
}

static bool bind_agg(struct weir_jobfile *jf, struct weir_jobfile_step *step)
{
    if (step->updating) {
        weir__jobfile_problem(jf, step->aggregate,
                              "step \"%s\" aggregates rows that are updated later (the result of an aggregate without "
                              "window); expected an input that only adds rows", step->id);
        return false;
    }
    bool ok = step->key_by == NULL || bind_keys(jf, step);
    ok = (step->window == NULL || bind_window(jf, step)) && ok;
    ok = bind_calls(jf, step) && ok;
    if (!ok) {
        return false;
    }
    struct weir_schema *schema = NULL;
    struct weir_error err;
    bool windowed = step->window != NULL;
    if (weir_agg_output_schema(step->input, step->keys, step->nkeys, step->calls, step->ncalls, windowed, &schema, &err) != WEIR_OK) {
        weir__jobfile_problem(jf, step->aggregate, "%s", err.text);
        return false;
    }
    step->output = weir_jobgraph_own_schema_take(jf->graph, schema);
    step->updating = !windowed;
    return true;
}

/* --- sink ------------------------------------------------------------------------------------------------------------- */

static void list_missing(const struct weir_schema *of, const struct weir_schema *in, struct weir_buf *out)
{
    for (uint32_t i = 0; i < weir_schema_count(of); i++) {
        const char *name = weir_schema_field(of, i)->name;
        if (weir_schema_find(in, weir_slice_str(name)) == WEIR_NO_COLUMN) {
            weir_buf_put_fmt(out, "%s%s", out->len == 0 ? "" : ", ", name);
        }
    }
}

static bool check_names(struct weir_jobfile *jf, const struct weir_jobfile_step *step, const struct weir_schema *table)
{
    struct weir_buf missing = {0};
    struct weir_buf extra = {0};
    list_missing(table, step->input, &missing);
    list_missing(step->input, table, &extra);
    bool ok = missing.len == 0 && extra.len == 0;
    if (!ok) {
        const char *input = jf->steps[step->inputs[0]].id;
        weir__jobfile_problem(jf, step->sink,
                              "the columns of \"%s\" and of table \"%s\" differ: %s%.*s%s%s%.*s; expected the same names (use project)",
                              input, step->table->spec.name, missing.len > 0 ? "not given: " : "", WEIR_SLICE_ARG(weir_buf_slice(&missing)),
                              missing.len > 0 && extra.len > 0 ? "; " : "", extra.len > 0 ? "not in the table: " : "",
                              WEIR_SLICE_ARG(weir_buf_slice(&extra)));
    }
    weir_buf_fini(&extra);
    weir_buf_fini(&missing);
    return ok;
}

/* The input's column as the table's type. */
static struct weir_expr *assign(struct weir_jobfile *jf, const struct weir_jobfile_step *step, const struct weir_field *to)
{
    uint32_t column = (uint32_t)weir_schema_find(step->input, weir_slice_str(to->name));
    struct weir_type from = weir_schema_field(step->input, column)->type;
    if (to->type.not_null && !from.not_null) {
        weir__jobfile_problem(jf, step->sink,
                              "column \"%s\" of table \"%s\" is NOT NULL, but the input's can be NULL; expected COALESCE in a "
                              "project, or a column without NOT NULL", to->name, step->table->spec.name);
        return NULL;
    }
    struct weir_expr *expr = column_expr(jf, step->sink, step->input, column);
    if (expr == NULL || weir_type_same(from, to->type)) {
        return expr;
    }
    struct weir_expr *cast = NULL;
    struct weir_error err;
    struct weir_type target = to->type;
    target.not_null = from.not_null;
    if (weir_expr_coerce(expr, target, jf->arena, &cast, &err) != WEIR_OK) {
        weir__jobfile_problem(jf, step->sink,
                              "column \"%s\" of table \"%s\" is %s, the input's is %s; expected a CAST in a project", to->name,
                              step->table->spec.name, weir_type_text(to->type).text, weir_type_text(from).text);
        return NULL;
    }
    return cast;
}

static bool bind_sink(struct weir_jobfile *jf, struct weir_jobfile_step *step)
{
    const struct weir_schema *table = step->table->spec.schema;
    if (step->updating && !step->table->connector->changelog) {
        weir__jobfile_problem(jf, step->sink,
                              "step \"%s\" writes rows that are updated later (the result of an aggregate without window) into "
                              "connector \"%s\", which can only add rows; expected a window, or a connector that takes updates (upsert-kafka, "
                              "print, blackhole)",
                              step->id, step->table->connector->name);
        return false;
    }
    if (!check_names(jf, step, table)) {
        return false;
    }
    uint32_t count = weir_schema_count(table);
    const struct weir_expr **exprs = weir_arena_alloc(jf->arena, count * sizeof(*exprs));
    bool ok = true;
    for (uint32_t i = 0; i < count; i++) {
        exprs[i] = assign(jf, step, weir_schema_field(table, i));
        ok = ok && exprs[i] != NULL;
    }
    if (!weir_schema_same(step->input, table)) {
        step->exprs = exprs;
        step->nexprs = count;
    }
    return ok;
}

/* --- all -------------------------------------------------------------------------------------------------------------- */

static bool bind_step(struct weir_jobfile *jf, struct weir_jobfile_step *step)
{
    if (step->kind == WEIR_STEP_SOURCE) {
        step->output = step->table->spec.schema;
        return step->output != NULL;
    }
    if (!bind_input(jf, step)) {
        return false;
    }
    switch (step->kind) {
    case WEIR_STEP_UNION:
        step->output = step->input;
        return true;
    case WEIR_STEP_CALC:
        return bind_calc(jf, step);
    case WEIR_STEP_AGG:
        return bind_agg(jf, step);
    case WEIR_STEP_SINK:
        return bind_sink(jf, step);
    case WEIR_STEP_SOURCE:
        break;
    }
    weir_assert(false);
    return false;
}

static void check_tables(struct weir_jobfile *jf)
{
    for (uint32_t i = 0; i < jf->ntables; i++) {
        struct weir_jobfile_table *table = &jf->tables[i];
        struct weir_error err;
        if (table->broken || table->roles == 0 || (table->connector->roles & table->roles) != table->roles) {
            continue;
        }
        if (weir_connector_check_table(&table->spec, table->roles, &err) != WEIR_OK) {
            weir__jobfile_problem(jf, table->with, "table \"%s\": %s", table->spec.name, err.text);
        } else if ((table->roles & WEIR_ROLE_SINK) != 0 && jf->graph->settings.checkpoint_interval_ms == 0 &&
                   weir_connector_needs_checkpoints(&table->spec)) {
            weir__jobfile_problem(jf, table->with, "table \"%s\": sink.delivery-guarantee: exactly-once commits with checkpoints and "
                                  "needs the setting execution.checkpointing.interval (such as 1 s); without it use at-least-once",
                                  table->spec.name);
        }
    }
}

void weir__jobfile_bind(struct weir_jobfile *jf)
{
    check_tables(jf);
    for (uint32_t i = 0; i < jf->norder; i++) {
        struct weir_jobfile_step *step = &jf->steps[jf->order[i]];
        if (!step->broken) {
            step->broken = !bind_step(jf, step);
        }
        step->done = true;
    }
}
