#include "common/plan/jobgraph.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/plan/agg_partial.h"
#include "common/plan/error_table.h"

#include <ctype.h>

enum { VERTEX_ID_DIGITS = 32 };

struct weir_jobgraph *weir_jobgraph_create(void)
{
    struct weir_jobgraph *graph = weir_calloc(1, sizeof(*graph));
    graph->arena = weir_arena_create(0);
    return graph;
}

void weir_jobgraph_destroy(struct weir_jobgraph *graph)
{
    if (graph == NULL) {
        return;
    }
    for (uint32_t i = 0; i < graph->nschemas; i++) {
        weir_schema_unref(graph->schemas[i]);
    }
    weir_free(graph->schemas);
    weir_arena_destroy(graph->arena);
    weir_free(graph);
}

const struct weir_schema *weir_jobgraph_own_schema_take(struct weir_jobgraph *graph, const struct weir_schema *schema)
{
    weir_assert(schema != NULL);
    if (graph->nschemas == graph->schemas_cap) {
        graph->schemas_cap = graph->schemas_cap == 0 ? 16 : graph->schemas_cap * 2;
        graph->schemas = weir_realloc(graph->schemas, graph->schemas_cap * sizeof(struct weir_schema *));
    }
    graph->schemas[graph->nschemas++] = schema;
    return schema;
}

/* Puts the edge behind those with a smaller or the same input number: edges come in ascending order. */
static void insert_input(const struct weir_jobgraph *graph, uint32_t *inputs, uint32_t count, uint32_t edge)
{
    uint32_t at = count;
    while (at > 0 && graph->edges[inputs[at - 1]].input > graph->edges[edge].input) {
        inputs[at] = inputs[at - 1];
        at--;
    }
    inputs[at] = edge;
}

void weir_jobgraph_link(struct weir_jobgraph *graph, struct weir_vertex *vertices)
{
    weir_assert(vertices == graph->vertices);
    graph->linked = vertices;
    for (uint32_t i = 0; i < graph->nvertices; i++) {
        vertices[i].submitted_parallelism = vertices[i].parallelism;
    }
    for (uint32_t i = 0; i < graph->nedges; i++) {
        vertices[graph->edges[i].to].ninputs++;
        vertices[graph->edges[i].from].noutputs++;
    }
    uint32_t **inputs = weir_malloc((graph->nvertices + 1) * sizeof(*inputs));
    uint32_t **outputs = weir_malloc((graph->nvertices + 1) * sizeof(*outputs));
    for (uint32_t i = 0; i < graph->nvertices; i++) {
        inputs[i] = weir_arena_alloc(graph->arena, vertices[i].ninputs * sizeof(**inputs));
        outputs[i] = weir_arena_alloc(graph->arena, vertices[i].noutputs * sizeof(**outputs));
        vertices[i].inputs = inputs[i];
        vertices[i].outputs = outputs[i];
        vertices[i].ninputs = 0;
        vertices[i].noutputs = 0;
    }
    for (uint32_t i = 0; i < graph->nedges; i++) {
        const struct weir_edge *edge = &graph->edges[i];
        insert_input(graph, inputs[edge->to], vertices[edge->to].ninputs++, i);
        outputs[edge->from][vertices[edge->from].noutputs++] = i;
    }
    weir_free(outputs);
    weir_free(inputs);
}

void weir_jobgraph_limit_parallelism(struct weir_jobgraph *graph, uint32_t parallelism_max)
{
    for (uint32_t i = 0; i < graph->nvertices; i++) {
        graph->linked[i].parallelism = weir_jobgraph_parallelism_at(graph, i, parallelism_max);
    }
}

uint32_t weir_jobgraph_parallelism_at(const struct weir_jobgraph *graph, uint32_t vertex, uint32_t parallelism_max)
{
    uint32_t submitted = graph->vertices[vertex].submitted_parallelism;
    return parallelism_max > 0 && parallelism_max < submitted ? parallelism_max : submitted;
}

uint32_t weir_jobgraph_slots_at(const struct weir_jobgraph *graph, const bool *vertices, uint32_t parallelism_max)
{
    uint32_t slots = 0;
    for (uint32_t v = 0; v < graph->nvertices; v++) {
        uint32_t subtasks = vertices == NULL || vertices[v] ? weir_jobgraph_parallelism_at(graph, v, parallelism_max) : 0;
        slots = subtasks > slots ? subtasks : slots;
    }
    return slots;
}

uint32_t weir_jobgraph_tasks(const struct weir_jobgraph *graph)
{
    uint32_t tasks = 0;
    for (uint32_t i = 0; i < graph->nvertices; i++) {
        tasks += graph->vertices[i].parallelism;
    }
    return tasks;
}

uint32_t weir_jobgraph_task_index(const struct weir_jobgraph *graph, uint32_t vertex, uint32_t subtask)
{
    weir_assert(vertex < graph->nvertices);
    weir_assert(subtask < graph->vertices[vertex].parallelism);
    uint32_t index = subtask;
    for (uint32_t i = 0; i < vertex; i++) {
        index += graph->vertices[i].parallelism;
    }
    return index;
}

uint32_t weir_jobgraph_slots(const struct weir_jobgraph *graph)
{
    uint32_t slots = 0;
    for (uint32_t i = 0; i < graph->nvertices; i++) {
        slots = graph->vertices[i].parallelism > slots ? graph->vertices[i].parallelism : slots;
    }
    return slots;
}

/* --- check: operators ------------------------------------------------------------------------------------------------- */

static enum weir_rc bad(struct weir_error *err, const struct weir_opspec *op, const char *what)
{
    return weir_error_set(err, WEIR_INVALID, "job graph: operator \"%s\": %s", op->uid, what);
}

static bool name_ok(const char *name)
{
    return name != NULL && name[0] != '\0';
}

static bool is_timestamp(const struct weir_schema *schema, uint32_t column)
{
    if (column >= weir_schema_count(schema)) {
        return false;
    }
    enum weir_type_id id = weir_schema_field(schema, column)->type.id;
    return id == WEIR_TYPE_TIMESTAMP || id == WEIR_TYPE_TIMESTAMP_LTZ;
}

static enum weir_rc check_table(const struct weir_opspec *op, const struct weir_table_spec *table, struct weir_error *err)
{
    if (table == NULL || table->schema == NULL || !name_ok(table->name) || !name_ok(table->connector)) {
        return bad(err, op, "its table is not whole");
    }
    if (table->has_watermark && (table->watermark_delay_ms < 0 || weir_schema_time_column(table->schema) == WEIR_NO_COLUMN)) {
        return bad(err, op, "its table has a watermark without a time column");
    }
    if ((table->on_error == WEIR_ON_ERROR_TABLE) != (table->error_table != NULL)) {
        return bad(err, op, "its table's on-error and table of bad records do not agree");
    }
    struct weir_error columns;
    if (table->error_table != NULL &&
        (table->error_table->schema == NULL || weir_error_table_check(table->error_table->schema, &columns) != WEIR_OK)) {
        return bad(err, op, "its table of bad records has other columns than those can have");
    }
    for (uint32_t i = 0; i < table->nprimary_key; i++) {
        bool twice = false;
        for (uint32_t k = 0; k < i; k++) {
            twice = twice || table->primary_key[k] == table->primary_key[i];
        }
        if (twice || table->primary_key[i] >= weir_schema_count(table->schema)) {
            return bad(err, op, "its table's primary key names a column twice, or one that is not there");
        }
    }
    return WEIR_OK;
}

static enum weir_rc check_calc(const struct weir_opspec *op, struct weir_error *err)
{
    if (op->u.calc.filter != NULL && op->u.calc.filter->type.id != WEIR_TYPE_BOOLEAN) {
        return bad(err, op, "its filter is not BOOLEAN");
    }
    if (op->u.calc.exprs == NULL) {
        return op->u.calc.nexprs == 0 && weir_schema_same(op->input, op->output)
                   ? WEIR_OK
                   : bad(err, op, "it passes all columns, but input and output differ");
    }
    if (op->u.calc.nexprs == 0 || op->u.calc.nexprs != weir_schema_count(op->output)) {
        return bad(err, op, "the number of its expressions is not that of its output columns");
    }
    for (uint32_t i = 0; i < op->u.calc.nexprs; i++) {
        if (!weir_type_same(op->u.calc.exprs[i]->type, weir_schema_field(op->output, i)->type)) {
            return bad(err, op, "an expression is not of its output column's type");
        }
    }
    return WEIR_OK;
}

static enum weir_rc check_window(const struct weir_opspec *op, struct weir_error *err)
{
    const struct weir_window_spec *window = &op->u.agg.window;
    bool kind_ok = window->kind == WEIR_WINDOW_TUMBLE || window->kind == WEIR_WINDOW_HOP;
    if (!kind_ok || window->size_ms <= 0 || window->slide_ms <= 0 || window->slide_ms > window->size_ms ||
        (window->kind == WEIR_WINDOW_TUMBLE && window->slide_ms != window->size_ms)) {
        return bad(err, op, "its window's size or slide is not possible");
    }
    if (window->size_ms / weir_window_slice_ms(window) > WEIR_WINDOW_SLICES_MAX) {
        return bad(err, op, "its window has too many slices");
    }
    if (!is_timestamp(op->u.agg.raw_input, window->time_column)) {
        return bad(err, op, "its window's time column is not a timestamp");
    }
    return WEIR_OK;
}

static enum weir_rc check_agg_schemas(const struct weir_opspec *op, struct weir_error *err)
{
    struct weir_schema *partial = NULL;
    struct weir_schema *output = NULL;
    bool windowed = op->u.agg.window.kind != WEIR_WINDOW_NONE;
    const struct weir_schema *raw = op->u.agg.raw_input;
    enum weir_rc rc = weir_agg_partial_schema(raw, op->u.agg.keys, op->u.agg.nkeys, windowed, &partial, err);
    if (rc != WEIR_OK) {
        goto out;
    }
    rc = weir_agg_output_schema(raw, op->u.agg.keys, op->u.agg.nkeys, op->u.agg.calls, op->u.agg.ncalls, windowed, &output, err);
    if (rc != WEIR_OK) {
        goto out;
    }
    bool local = op->tag == WEIR_OP_LOCAL_AGG;
    if (!weir_schema_same(op->input, op->u.agg.partial ? partial : raw) || (local && op->u.agg.partial)) {
        rc = bad(err, op, "its input is not what it aggregates");
    } else if (!weir_schema_same(op->output, local ? partial : output)) {
        rc = bad(err, op, "its output columns are not its keys and aggregates");
    }
out:
    weir_schema_unref(output);
    weir_schema_unref(partial);
    return rc;
}

static enum weir_rc check_agg(const struct weir_opspec *op, struct weir_error *err)
{
    const struct weir_schema *raw = op->u.agg.raw_input;
    if (raw == NULL || op->u.agg.ncalls == 0) {
        return bad(err, op, "it aggregates nothing");
    }
    bool windowed = op->u.agg.window.kind != WEIR_WINDOW_NONE;
    if ((op->tag == WEIR_OP_WINDOW_AGG && !windowed) || (op->tag == WEIR_OP_GROUP_AGG && windowed)) {
        return bad(err, op, "its window does not go with its kind");
    }
    for (uint32_t i = 0; i < op->u.agg.nkeys; i++) {
        if (op->u.agg.keys[i] >= weir_schema_count(raw)) {
            return bad(err, op, "a key is not a column of its input");
        }
    }
    for (uint32_t i = 0; i < op->u.agg.ncalls; i++) {
        const struct weir_agg_call *call = &op->u.agg.calls[i];
        if (!name_ok(call->name) || call->expr == NULL || call->expr->kind != WEIR_EXPR_AGG) {
            return bad(err, op, "one of its aggregates is none");
        }
    }
    if (windowed) {
        enum weir_rc rc = check_window(op, err);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    return check_agg_schemas(op, err);
}

static enum weir_rc check_op(const struct weir_opspec *op, struct weir_error *err)
{
    bool needs_input = op->tag != WEIR_OP_SOURCE;
    bool needs_output = op->tag != WEIR_OP_SINK;
    if (needs_input != (op->input != NULL) || needs_output != (op->output != NULL)) {
        return bad(err, op, "it lacks an input or output, or has one too many");
    }
    switch (op->tag) {
    case WEIR_OP_SOURCE:
    case WEIR_OP_SINK: {
        enum weir_rc rc = check_table(op, op->u.io.table, err);
        if (rc != WEIR_OK) {
            return rc;
        }
        return weir_schema_same(op->u.io.table->schema, needs_input ? op->input : op->output)
                   ? WEIR_OK
                   : bad(err, op, "its columns are not its table's");
    }
    case WEIR_OP_CALC:
        return check_calc(op, err);
    case WEIR_OP_WM_ASSIGN:
        return is_timestamp(op->input, op->u.wm.time_column) && op->u.wm.delay_ms >= 0 && weir_schema_same(op->input, op->output)
                   ? WEIR_OK
                   : bad(err, op, "its time column is not a timestamp, or it changes columns");
    case WEIR_OP_LOCAL_AGG:
    case WEIR_OP_WINDOW_AGG:
    case WEIR_OP_GROUP_AGG:
        return check_agg(op, err);
    case WEIR_OP_UNION_ALL:
        return weir_schema_same(op->input, op->output) ? WEIR_OK : bad(err, op, "it changes columns");
    }
    return bad(err, op, "it is of no known kind");
}

/* --- check: vertices and edges ---------------------------------------------------------------------------------------- */

static enum weir_rc check_vertex(const struct weir_jobgraph *graph, uint32_t index, struct weir_error *err)
{
    const struct weir_vertex *vertex = &graph->vertices[index];
    if (vertex->id == NULL || strlen(vertex->id) != VERTEX_ID_DIGITS || !name_ok(vertex->name)) {
        return weir_error_set(err, WEIR_INVALID, "job graph: vertex %u has no id of 32 hexadecimal digits or no name", index);
    }
    for (uint32_t i = 0; i < VERTEX_ID_DIGITS; i++) {
        if (!isxdigit((unsigned char)vertex->id[i])) {
            return weir_error_set(err, WEIR_INVALID, "job graph: vertex %u: its id is not hexadecimal", index);
        }
    }
    if (vertex->parallelism == 0 || vertex->parallelism > vertex->max_parallelism ||
        vertex->max_parallelism > WEIR_PARALLELISM_MAX) {
        return weir_error_set(err, WEIR_INVALID, "job graph: vertex \"%s\": parallelism %u of %u; expected 1 to %u", vertex->name,
                              vertex->parallelism, vertex->max_parallelism, WEIR_PARALLELISM_MAX);
    }
    if (vertex->nops == 0) {
        return weir_error_set(err, WEIR_INVALID, "job graph: vertex \"%s\" has no operators", vertex->name);
    }
    for (uint32_t i = 0; i < vertex->nops; i++) {
        const struct weir_opspec *op = vertex->ops[i];
        if (op == NULL || !name_ok(op->uid) || op->name == NULL) {
            return weir_error_set(err, WEIR_INVALID, "job graph: vertex \"%s\": operator %u has no uid", vertex->name, i);
        }
        enum weir_rc rc = check_op(op, err);
        if (rc != WEIR_OK) {
            return rc;
        }
        if (i > 0 && (op->tag == WEIR_OP_SOURCE || op->tag == WEIR_OP_UNION_ALL)) {
            return bad(err, op, "only the first of a chain can be a source or union");
        }
        if (i + 1 < vertex->nops && op->tag == WEIR_OP_SINK) {
            return bad(err, op, "only the last of a chain can be a sink");
        }
        if (i > 0 && !weir_schema_same(vertex->ops[i - 1]->output, op->input)) {
            return bad(err, op, "its input is not the output of the operator before it");
        }
    }
    return WEIR_OK;
}

static const struct weir_opspec *head_op(const struct weir_vertex *vertex)
{
    return vertex->ops[0];
}

static const struct weir_opspec *tail_op(const struct weir_vertex *vertex)
{
    return vertex->ops[vertex->nops - 1];
}

/* What goes along a side edge: the rows of its source's error table; NULL: it has none. */
static const struct weir_schema *side_schema(const struct weir_vertex *from)
{
    const struct weir_opspec *head = head_op(from);
    bool has = head->tag == WEIR_OP_SOURCE && head->u.io.table->on_error == WEIR_ON_ERROR_TABLE;
    return has ? head->u.io.table->error_table->schema : NULL;
}

static enum weir_rc check_edge(const struct weir_jobgraph *graph, uint32_t index, struct weir_error *err)
{
    const struct weir_edge *edge = &graph->edges[index];
    if (edge->to >= graph->nvertices || edge->from >= edge->to) {
        return weir_error_set(err, WEIR_INVALID, "job graph: edge %u goes from %u to %u of %u vertices", index, edge->from, edge->to,
                              graph->nvertices);
    }
    const struct weir_vertex *from = &graph->vertices[edge->from];
    const struct weir_vertex *to = &graph->vertices[edge->to];
    const struct weir_schema *output = edge->side ? side_schema(from) : tail_op(from)->output;
    const struct weir_schema *input = head_op(to)->input;
    if (output == NULL || input == NULL || edge->schema == NULL || !weir_schema_same(output, edge->schema) ||
        !weir_schema_same(edge->schema, input)) {
        return weir_error_set(err, WEIR_INVALID, "job graph: edge %u: its columns are not those of both ends", index);
    }
    if ((edge->exchange == WEIR_EXCHANGE_HASH) != (edge->nkeys > 0)) {
        return weir_error_set(err, WEIR_INVALID, "job graph: edge %u: keys and a hash exchange go together", index);
    }
    for (uint32_t i = 0; i < edge->nkeys; i++) {
        if (edge->keys[i] >= weir_schema_count(output)) {
            return weir_error_set(err, WEIR_INVALID, "job graph: edge %u: key column %u of %u", index, edge->keys[i],
                                  weir_schema_count(output));
        }
    }
    switch (edge->exchange) {
    case WEIR_EXCHANGE_FORWARD:
        return from->parallelism == to->parallelism
                   ? WEIR_OK
                   : weir_error_set(err, WEIR_INVALID, "job graph: edge %u: forward from parallelism %u to %u", index,
                                    from->parallelism, to->parallelism);
    case WEIR_EXCHANGE_HASH:
    case WEIR_EXCHANGE_REBALANCE:
    case WEIR_EXCHANGE_BROADCAST:
        return WEIR_OK;
    }
    return weir_error_set(err, WEIR_INVALID, "job graph: edge %u: unknown exchange %d", index, (int)edge->exchange);
}

/* A vertex lists exactly the edges that end and start there: inputs numbered 0, 1, ..., outputs ascending. */
static enum weir_rc check_vertex_edges(const struct weir_jobgraph *graph, uint32_t index, const uint32_t *in_count,
                                       const uint32_t *out_count, struct weir_error *err)
{
    const struct weir_vertex *vertex = &graph->vertices[index];
    enum weir_op_tag head = head_op(vertex)->tag;
    bool inputs_ok = head == WEIR_OP_SOURCE ? vertex->ninputs == 0 : head == WEIR_OP_UNION_ALL || vertex->ninputs == 1;
    uint32_t sides = 0;
    for (uint32_t i = 0; i < vertex->noutputs; i++) {
        sides += vertex->outputs[i] < graph->nedges && graph->edges[vertex->outputs[i]].side;
    }
    bool outputs_ok = (tail_op(vertex)->tag == WEIR_OP_SINK) == (vertex->noutputs == sides) && (side_schema(vertex) != NULL) == (sides == 1) && sides <= 1;
    inputs_ok = inputs_ok && (head == WEIR_OP_SOURCE || vertex->ninputs > 0) && vertex->ninputs == in_count[index];
    outputs_ok = outputs_ok && vertex->noutputs == out_count[index];
    for (uint32_t i = 0; inputs_ok && i < vertex->ninputs; i++) {
        uint32_t edge = vertex->inputs[i];
        inputs_ok = edge < graph->nedges && graph->edges[edge].to == index && graph->edges[edge].input == i;
    }
    for (uint32_t i = 0; outputs_ok && i < vertex->noutputs; i++) {
        uint32_t edge = vertex->outputs[i];
        outputs_ok = edge < graph->nedges && graph->edges[edge].from == index && (i == 0 || edge > vertex->outputs[i - 1]);
    }
    if (!inputs_ok || !outputs_ok) {
        return weir_error_set(err, WEIR_INVALID, "job graph: vertex \"%s\": its %s do not fit its operators", vertex->name,
                              inputs_ok ? "outputs" : "inputs");
    }
    return WEIR_OK;
}

static bool restart_ok(const struct weir_restart_settings *restart)
{
    bool delay_ok = restart->delay_ms >= 0 && restart->delay_ms <= WEIR_RESTART_DELAY_MAX_MS;
    switch (restart->type) {
    case WEIR_RESTART_NONE:
        return true;
    case WEIR_RESTART_FIXED_DELAY:
        return restart->attempts_max >= 0 && delay_ok;
    case WEIR_RESTART_FAILURE_RATE:
        return restart->failures_max > 0 && restart->failures_max <= WEIR_RESTART_FAILURES_MAX && restart->interval_ms > 0 && delay_ok;
    case WEIR_RESTART_EXPONENTIAL_DELAY:
        return restart->attempts_max > 0 && restart->delay_ms > 0 && restart->delay_ms <= restart->delay_max_ms &&
               restart->delay_max_ms <= WEIR_RESTART_DELAY_MAX_MS && restart->reset_ms > 0 && restart->multiplier > 1 && restart->multiplier <= 1000 &&
               restart->jitter >= 0 && restart->jitter <= 1;
    }
    return false;
}

static enum weir_rc check_settings(const struct weir_jobgraph *graph, struct weir_error *err)
{
    const struct weir_job_settings *settings = &graph->settings;
    if (!name_ok(graph->name) || strlen(graph->name) > WEIR_NAME_MAX) {
        return weir_error_set(err, WEIR_INVALID, "job graph: the job's name has no or more than %d bytes", WEIR_NAME_MAX);
    }
    bool ok = settings->parallelism > 0 && settings->parallelism <= settings->max_parallelism &&
              settings->max_parallelism <= WEIR_PARALLELISM_MAX && settings->watermark_interval_ms > 0 &&
              settings->idle_timeout_ms >= 0 && settings->buffer_timeout_ms >= 0 && settings->checkpoint_interval_ms >= 0 &&
              settings->checkpoint_timeout_ms >= 0 &&
              settings->checkpoint_min_pause_ms >= 0 && settings->checkpoint_failures_max >= 0 &&
              settings->record_bytes_max > 0 && settings->record_bytes_max <= WEIR_RECORD_BYTES_MAX &&
              restart_ok(&settings->restart);
    return ok ? WEIR_OK : weir_error_set(err, WEIR_INVALID, "job graph: a setting is out of range");
}

static enum weir_rc check_edges(const struct weir_jobgraph *graph, struct weir_error *err)
{
    uint32_t *in_count = weir_calloc(graph->nvertices, sizeof(*in_count));
    uint32_t *out_count = weir_calloc(graph->nvertices, sizeof(*out_count));
    enum weir_rc rc = WEIR_OK;
    for (uint32_t i = 0; i < graph->nedges && rc == WEIR_OK; i++) {
        rc = check_edge(graph, i, err);
        if (rc == WEIR_OK) {
            in_count[graph->edges[i].to]++;
            out_count[graph->edges[i].from]++;
        }
    }
    for (uint32_t i = 0; i < graph->nvertices && rc == WEIR_OK; i++) {
        rc = check_vertex_edges(graph, i, in_count, out_count, err);
    }
    weir_free(out_count);
    weir_free(in_count);
    return rc;
}

enum weir_rc weir_jobgraph_check(const struct weir_jobgraph *graph, struct weir_error *err)
{
    enum weir_rc rc = check_settings(graph, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    if (graph->nvertices == 0 || graph->nvertices > WEIR_JOB_OPERATORS_MAX) {
        return weir_error_set(err, WEIR_INVALID, "job graph: %u vertices; expected 1 to %d", graph->nvertices,
                              WEIR_JOB_OPERATORS_MAX);
    }
    for (uint32_t i = 0; i < graph->nvertices; i++) {
        rc = check_vertex(graph, i, err);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    return check_edges(graph, err);
}
