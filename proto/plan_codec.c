#include "proto/plan_codec.h"

#include "common/base/assert.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/plan/agg_partial.h"
#include "proto/expr_codec.h"
#include "proto/schema_codec.h"

#define MAGIC 0x4e4c5057u /* "WPLN" */

/* Room for the messages of one graph while it is decoded: small messages cost many times their bytes, and a frame of nothing but empty
 * ones must not take all memory. */
enum { UNPACK_BYTES_MAX = 512 << 20 };

/* --- encode ----------------------------------------------------------------------------------------------------------- */

struct encoder {
    struct weir_arena *arena;
    const struct weir_schema **schemas; /* in order of first use */
    uint32_t nschemas;
    const struct weir_table_spec **tables; /* a table of bad records before the table that names it */
    uint32_t ntables;
};

static uint32_t schema_ref(struct encoder *encoder, const struct weir_schema *schema)
{
    if (schema == NULL) {
        return 0;
    }
    for (uint32_t i = 0; i < encoder->nschemas; i++) {
        if (encoder->schemas[i] == schema) {
            return i + 1;
        }
    }
    encoder->schemas[encoder->nschemas++] = schema;
    return encoder->nschemas;
}

static uint32_t table_ref(struct encoder *encoder, const struct weir_table_spec *table)
{
    if (table == NULL) {
        return 0;
    }
    for (uint32_t i = 0; i < encoder->ntables; i++) {
        if (encoder->tables[i] == table) {
            return i + 1;
        }
    }
    (void)table_ref(encoder, table->error_table);
    (void)schema_ref(encoder, table->schema);
    encoder->tables[encoder->ntables++] = table;
    return encoder->ntables;
}

static Weir__Plan__Table *encode_table(struct encoder *encoder, const struct weir_table_spec *table)
{
    Weir__Plan__Table *message = weir_arena_alloc(encoder->arena, sizeof(*message));
    weir__plan__table__init(message);
    message->name = weir_proto_text(table->name);
    message->schema_ref = schema_ref(encoder, table->schema);
    message->connector = weir_proto_text(table->connector);
    message->format = weir_proto_text(table->format == NULL ? "" : table->format);
    message->n_options = table->noptions;
    message->options = weir_arena_alloc(encoder->arena, table->noptions * sizeof(*message->options));
    for (uint32_t i = 0; i < table->noptions; i++) {
        Weir__Plan__Option *option = weir_arena_alloc(encoder->arena, sizeof(*option));
        weir__plan__option__init(option);
        option->key = weir_proto_text(table->options[i].key);
        option->value = weir_proto_text(table->options[i].value);
        option->line = table->options[i].pos.line;
        option->column = table->options[i].pos.column;
        message->options[i] = option;
    }
    message->has_watermark = table->has_watermark;
    message->watermark_delay_ms = table->watermark_delay_ms;
    message->on_error = (uint32_t)table->on_error;
    message->error_table_ref = table_ref(encoder, table->error_table);
    message->n_primary_key = table->nprimary_key;
    message->primary_key = weir_arena_alloc(encoder->arena, table->nprimary_key * sizeof(*message->primary_key));
    for (uint32_t i = 0; i < table->nprimary_key; i++) {
        message->primary_key[i] = table->primary_key[i];
    }
    return message;
}

static void encode_agg(struct encoder *encoder, const struct weir_opspec *op, Weir__Plan__Op *message)
{
    message->raw_input_ref = schema_ref(encoder, op->u.agg.raw_input);
    message->n_keys = op->u.agg.nkeys;
    message->keys = weir_arena_alloc(encoder->arena, op->u.agg.nkeys * sizeof(*message->keys));
    for (uint32_t i = 0; i < op->u.agg.nkeys; i++) {
        message->keys[i] = op->u.agg.keys[i];
    }
    message->n_calls = op->u.agg.ncalls;
    message->calls = weir_arena_alloc(encoder->arena, op->u.agg.ncalls * sizeof(*message->calls));
    for (uint32_t i = 0; i < op->u.agg.ncalls; i++) {
        Weir__Plan__AggCall *call = weir_arena_alloc(encoder->arena, sizeof(*call));
        weir__plan__agg_call__init(call);
        call->name = weir_proto_text(op->u.agg.calls[i].name);
        call->expr = weir_expr_encode(op->u.agg.calls[i].expr, encoder->arena);
        message->calls[i] = call;
    }
    Weir__Plan__Window *window = weir_arena_alloc(encoder->arena, sizeof(*window));
    weir__plan__window__init(window);
    window->kind = (uint32_t)op->u.agg.window.kind;
    window->time_column = op->u.agg.window.time_column;
    window->size_ms = op->u.agg.window.size_ms;
    window->slide_ms = op->u.agg.window.slide_ms;
    window->offset_ms = op->u.agg.window.offset_ms;
    message->window = window;
    message->partial = op->u.agg.partial;
}

static Weir__Plan__Op *encode_op(struct encoder *encoder, const struct weir_opspec *op)
{
    Weir__Plan__Op *message = weir_arena_alloc(encoder->arena, sizeof(*message));
    weir__plan__op__init(message);
    message->tag = (uint32_t)op->tag;
    message->uid = weir_proto_text(op->uid);
    message->name = weir_proto_text(op->name);
    message->input_ref = schema_ref(encoder, op->input);
    message->output_ref = schema_ref(encoder, op->output);
    switch (op->tag) {
    case WEIR_OP_SOURCE:
    case WEIR_OP_SINK:
        message->table_ref = table_ref(encoder, op->u.io.table);
        break;
    case WEIR_OP_CALC:
        if (op->u.calc.filter != NULL) {
            message->filter = weir_expr_encode(op->u.calc.filter, encoder->arena);
        }
        message->has_exprs = op->u.calc.exprs != NULL;
        message->n_exprs = op->u.calc.nexprs;
        message->exprs = weir_arena_alloc(encoder->arena, op->u.calc.nexprs * sizeof(*message->exprs));
        for (uint32_t i = 0; i < op->u.calc.nexprs; i++) {
            message->exprs[i] = weir_expr_encode(op->u.calc.exprs[i], encoder->arena);
        }
        break;
    case WEIR_OP_WM_ASSIGN:
        message->time_column = op->u.wm.time_column;
        message->delay_ms = op->u.wm.delay_ms;
        break;
    case WEIR_OP_LOCAL_AGG:
    case WEIR_OP_WINDOW_AGG:
    case WEIR_OP_GROUP_AGG:
        encode_agg(encoder, op, message);
        break;
    case WEIR_OP_UNION_ALL:
        break;
    }
    return message;
}

static Weir__Plan__Vertex *encode_vertex(struct encoder *encoder, const struct weir_vertex *vertex)
{
    Weir__Plan__Vertex *message = weir_arena_alloc(encoder->arena, sizeof(*message));
    weir__plan__vertex__init(message);
    message->id = weir_proto_text(vertex->id);
    message->name = weir_proto_text(vertex->name);
    message->parallelism = vertex->parallelism;
    message->max_parallelism = vertex->max_parallelism;
    message->n_ops = vertex->nops;
    message->ops = weir_arena_alloc(encoder->arena, vertex->nops * sizeof(*message->ops));
    for (uint32_t i = 0; i < vertex->nops; i++) {
        message->ops[i] = encode_op(encoder, vertex->ops[i]);
    }
    return message;
}

static Weir__Plan__Edge *encode_edge(struct encoder *encoder, const struct weir_edge *edge)
{
    Weir__Plan__Edge *message = weir_arena_alloc(encoder->arena, sizeof(*message));
    weir__plan__edge__init(message);
    message->from = edge->from;
    message->to = edge->to;
    message->input = edge->input;
    message->exchange = (uint32_t)edge->exchange;
    message->n_keys = edge->nkeys;
    message->keys = weir_arena_alloc(encoder->arena, edge->nkeys * sizeof(*message->keys));
    for (uint32_t i = 0; i < edge->nkeys; i++) {
        message->keys[i] = edge->keys[i];
    }
    message->schema_ref = schema_ref(encoder, edge->schema);
    message->side = edge->side;
    return message;
}

static Weir__Plan__Settings *encode_settings(struct encoder *encoder, const struct weir_job_settings *settings)
{
    Weir__Plan__Settings *message = weir_arena_alloc(encoder->arena, sizeof(*message));
    weir__plan__settings__init(message);
    message->parallelism = settings->parallelism;
    message->max_parallelism = settings->max_parallelism;
    message->watermark_interval_ms = settings->watermark_interval_ms;
    message->idle_timeout_ms = settings->idle_timeout_ms;
    message->buffer_timeout_ms = settings->buffer_timeout_ms;
    message->checkpoint_interval_ms = settings->checkpoint_interval_ms;
    message->record_bytes_max = settings->record_bytes_max;
    message->restart_enabled = settings->restart.type != WEIR_RESTART_NONE;
    message->restart_type = settings->restart.type;
    message->restart_attempts = settings->restart.attempts_max;
    message->restart_delay_ms = settings->restart.delay_ms;
    message->restart_failures_max = settings->restart.failures_max;
    message->restart_interval_ms = settings->restart.interval_ms;
    message->restart_delay_max_ms = settings->restart.delay_max_ms;
    message->restart_reset_ms = settings->restart.reset_ms;
    message->restart_multiplier = settings->restart.multiplier;
    message->restart_jitter = settings->restart.jitter;
    message->checkpoint_timeout_ms = settings->checkpoint_timeout_ms;
    message->checkpoint_min_pause_ms = settings->checkpoint_min_pause_ms;
    message->checkpoint_failures_max = settings->checkpoint_failures_max;
    return message;
}

/* Room for every schema and table that can be met: three schemas an operator, two tables an operator with one schema each, one an edge. */
static void size_encoder(struct encoder *encoder, const struct weir_jobgraph *graph)
{
    size_t ops = 0;
    for (uint32_t i = 0; i < graph->nvertices; i++) {
        ops += graph->vertices[i].nops;
    }
    encoder->schemas = weir_arena_alloc(encoder->arena, (ops * 5 + graph->nedges) * sizeof(*encoder->schemas));
    encoder->tables = weir_arena_alloc(encoder->arena, ops * 2 * sizeof(*encoder->tables));
}

void weir_plan_encode(const struct weir_jobgraph *graph, struct weir_buf *out)
{
    struct encoder encoder = {.arena = weir_arena_create(0)};
    size_encoder(&encoder, graph);
    Weir__Plan__JobGraph message;
    weir__plan__job_graph__init(&message);
    message.name = weir_proto_text(graph->name);
    message.bounded = graph->bounded;
    message.settings = encode_settings(&encoder, &graph->settings);
    message.n_vertices = graph->nvertices;
    message.vertices = weir_arena_alloc(encoder.arena, graph->nvertices * sizeof(*message.vertices));
    for (uint32_t i = 0; i < graph->nvertices; i++) {
        message.vertices[i] = encode_vertex(&encoder, &graph->vertices[i]);
    }
    message.n_edges = graph->nedges;
    message.edges = weir_arena_alloc(encoder.arena, graph->nedges * sizeof(*message.edges));
    for (uint32_t i = 0; i < graph->nedges; i++) {
        message.edges[i] = encode_edge(&encoder, &graph->edges[i]);
    }
    message.n_tables = encoder.ntables;
    message.tables = weir_arena_alloc(encoder.arena, encoder.ntables * sizeof(*message.tables));
    for (uint32_t i = 0; i < encoder.ntables; i++) {
        message.tables[i] = encode_table(&encoder, encoder.tables[i]);
    }
    weir_assert(message.n_tables == encoder.ntables);
    message.n_schemas = encoder.nschemas;
    message.schemas = weir_arena_alloc(encoder.arena, encoder.nschemas * sizeof(*message.schemas));
    for (uint32_t i = 0; i < encoder.nschemas; i++) {
        message.schemas[i] = weir_schema_encode(encoder.schemas[i], encoder.arena);
    }
    weir_buf_put_u32(out, MAGIC);
    weir_buf_put_u32(out, WEIR_PLAN_VERSION);
    size_t body_bytes = weir__plan__job_graph__get_packed_size(&message);
    size_t crc_at = out->len;
    weir_buf_put_u32(out, 0);
    size_t packed = weir__plan__job_graph__pack(&message, weir_buf_reserve(out, body_bytes));
    weir_assert(packed == body_bytes);
    out->len += body_bytes;
    weir_buf_set_u32(out, crc_at, weir_crc32c(0, out->data + crc_at + 4, body_bytes));
    weir_arena_destroy(encoder.arena);
}

/* --- decode ----------------------------------------------------------------------------------------------------------- */

struct decoder {
    const Weir__Plan__JobGraph *message;
    struct weir_jobgraph *graph;
    struct weir_arena *arena; /* the graph's */
    const struct weir_schema **schemas;
    struct weir_table_spec *tables;
    struct weir_error *err;
};

static enum weir_rc corrupt(const struct decoder *decoder, const char *what)
{
    return weir_error_set(decoder->err, WEIR_CORRUPT, "plan: %s", what);
}

/* NULL for 0 is right only where `may_be_none`. */
static enum weir_rc get_schema(const struct decoder *decoder, uint32_t ref, bool may_be_none, const struct weir_schema **out_schema)
{
    if (ref > decoder->message->n_schemas || (ref == 0 && !may_be_none)) {
        return corrupt(decoder, "a schema that is referred to does not exist");
    }
    *out_schema = ref == 0 ? NULL : decoder->schemas[ref - 1];
    return WEIR_OK;
}

static enum weir_rc decode_schemas(struct decoder *decoder)
{
    const Weir__Plan__JobGraph *message = decoder->message;
    decoder->schemas = weir_arena_zalloc(decoder->arena, (message->n_schemas + 1) * sizeof(*decoder->schemas));
    for (size_t i = 0; i < message->n_schemas; i++) {
        struct weir_schema *schema = NULL;
        enum weir_rc rc = weir_schema_decode(message->schemas[i], &schema, decoder->err);
        if (rc != WEIR_OK) {
            return rc;
        }
        decoder->schemas[i] = weir_jobgraph_own_schema_take(decoder->graph, schema);
    }
    return WEIR_OK;
}

static const uint32_t *copy_u32(const struct decoder *decoder, const uint32_t *values, size_t count)
{
    uint32_t *copy = weir_arena_alloc(decoder->arena, (count + 1) * sizeof(*copy));
    for (size_t i = 0; i < count; i++) {
        copy[i] = values[i];
    }
    return copy;
}

static enum weir_rc decode_table(struct decoder *decoder, size_t index)
{
    const Weir__Plan__Table *message = decoder->message->tables[index];
    struct weir_table_spec *table = &decoder->tables[index];
    enum weir_rc rc = get_schema(decoder, message->schema_ref, false, &table->schema);
    if (rc != WEIR_OK) {
        return rc;
    }
    if (message->on_error > WEIR_ON_ERROR_TABLE || message->error_table_ref > index) {
        return corrupt(decoder, "a table's on-error is out of range");
    }
    if (message->n_primary_key > WEIR_COLUMNS_MAX) {
        return corrupt(decoder, "a table's primary key has too many columns");
    }
    table->name = weir_arena_strdup(decoder->arena, message->name);
    table->connector = weir_arena_strdup(decoder->arena, message->connector);
    table->format = message->format[0] == '\0' ? NULL : weir_arena_strdup(decoder->arena, message->format);
    struct weir_option *options = weir_arena_alloc(decoder->arena, message->n_options * sizeof(*options));
    for (size_t i = 0; i < message->n_options; i++) {
        const Weir__Plan__Option *option = message->options[i];
        options[i] = (struct weir_option){
            .key = weir_arena_strdup(decoder->arena, option->key),
            .value = weir_arena_strdup(decoder->arena, option->value),
            .pos = {.line = option->line, .column = option->column},
        };
    }
    table->options = options;
    table->noptions = (uint32_t)message->n_options;
    table->primary_key = message->n_primary_key == 0 ? NULL : copy_u32(decoder, message->primary_key, message->n_primary_key);
    table->nprimary_key = (uint32_t)message->n_primary_key;
    table->has_watermark = message->has_watermark != 0;
    table->watermark_delay_ms = message->watermark_delay_ms;
    table->on_error = (enum weir_on_error)message->on_error;
    table->error_table = message->error_table_ref == 0 ? NULL : &decoder->tables[message->error_table_ref - 1];
    return WEIR_OK;
}

static enum weir_rc decode_tables(struct decoder *decoder)
{
    size_t count = decoder->message->n_tables;
    decoder->tables = weir_arena_zalloc(decoder->arena, (count + 1) * sizeof(*decoder->tables));
    enum weir_rc rc = WEIR_OK;
    for (size_t i = 0; i < count && rc == WEIR_OK; i++) {
        rc = decode_table(decoder, i);
    }
    return rc;
}

/* root_agg: AGG where the tree must be an aggregate call, anything else where it must not. */
static enum weir_rc decode_expr(const struct decoder *decoder, const Weir__Plan__Expr *message, const struct weir_schema *input,
                                enum weir_expr_kind root_agg, const struct weir_expr **out_expr)
{
    struct weir_expr *expr = NULL;
    enum weir_rc rc = weir_expr_decode(message, decoder->arena, &expr, decoder->err);
    if (rc == WEIR_OK && (expr->kind == WEIR_EXPR_AGG) != (root_agg == WEIR_EXPR_AGG)) {
        rc = corrupt(decoder, "an aggregate stands where none can, or the other way round");
    }
    if (rc == WEIR_OK) {
        rc = weir_expr_resolve(expr, input, decoder->err);
    }
    if (rc == WEIR_OK) {
        *out_expr = expr;
    }
    return rc;
}

static enum weir_rc decode_calc(const struct decoder *decoder, const Weir__Plan__Op *message, struct weir_opspec *op)
{
    if (op->input == NULL || (message->has_exprs == 0 && message->n_exprs > 0) ||
        (message->has_exprs != 0 && message->n_exprs == 0)) {
        return corrupt(decoder, "a calculation has no input, or its expressions are miscounted");
    }
    enum weir_rc rc = WEIR_OK;
    if (message->filter != NULL) {
        rc = decode_expr(decoder, message->filter, op->input, WEIR_EXPR_CALL, &op->u.calc.filter);
    }
    if (rc != WEIR_OK || message->n_exprs == 0) {
        return rc;
    }
    const struct weir_expr **exprs = weir_arena_alloc(decoder->arena, message->n_exprs * sizeof(*exprs));
    for (size_t i = 0; i < message->n_exprs && rc == WEIR_OK; i++) {
        rc = decode_expr(decoder, message->exprs[i], op->input, WEIR_EXPR_CALL, &exprs[i]);
    }
    op->u.calc.exprs = exprs;
    op->u.calc.nexprs = (uint32_t)message->n_exprs;
    return rc;
}

static enum weir_rc decode_agg(const struct decoder *decoder, const Weir__Plan__Op *message, struct weir_opspec *op)
{
    enum weir_rc rc = get_schema(decoder, message->raw_input_ref, false, &op->u.agg.raw_input);
    if (rc != WEIR_OK) {
        return rc;
    }
    const Weir__Plan__Window *window = message->window;
    if (window == NULL || window->kind > WEIR_WINDOW_CUMULATE || message->n_keys > WEIR_COLUMNS_MAX ||
        message->n_calls > WEIR_COLUMNS_MAX) {
        return corrupt(decoder, "an aggregate's window, keys or calls are out of range");
    }
    op->u.agg.keys = copy_u32(decoder, message->keys, message->n_keys);
    op->u.agg.nkeys = (uint32_t)message->n_keys;
    struct weir_agg_call *calls = weir_arena_zalloc(decoder->arena, (message->n_calls + 1) * sizeof(*calls));
    for (size_t i = 0; i < message->n_calls && rc == WEIR_OK; i++) {
        if (message->calls[i]->expr == NULL) {
            return corrupt(decoder, "an aggregate call is empty");
        }
        calls[i].name = weir_arena_strdup(decoder->arena, message->calls[i]->name);
        rc = decode_expr(decoder, message->calls[i]->expr, op->u.agg.raw_input, WEIR_EXPR_AGG, &calls[i].expr);
    }
    op->u.agg.calls = calls;
    op->u.agg.ncalls = (uint32_t)message->n_calls;
    op->u.agg.window = (struct weir_window_spec){
        .kind = (enum weir_window_kind)window->kind,
        .time_column = window->time_column,
        .size_ms = window->size_ms,
        .slide_ms = window->slide_ms,
        .offset_ms = window->offset_ms,
    };
    op->u.agg.partial = message->partial != 0;
    return rc;
}

static enum weir_rc decode_op(const struct decoder *decoder, const Weir__Plan__Op *message, const struct weir_opspec **out_op)
{
    struct weir_opspec *op = weir_arena_zalloc(decoder->arena, sizeof(*op));
    op->tag = (enum weir_op_tag)message->tag;
    op->uid = weir_arena_strdup(decoder->arena, message->uid);
    op->name = weir_arena_strdup(decoder->arena, message->name);
    enum weir_rc rc = get_schema(decoder, message->input_ref, true, &op->input);
    if (rc == WEIR_OK) {
        rc = get_schema(decoder, message->output_ref, true, &op->output);
    }
    if (rc != WEIR_OK) {
        return rc;
    }
    *out_op = op;
    switch (op->tag) {
    case WEIR_OP_SOURCE:
    case WEIR_OP_SINK:
        if (message->table_ref == 0 || message->table_ref > decoder->message->n_tables) {
            return corrupt(decoder, "a table that is referred to does not exist");
        }
        op->u.io.table = &decoder->tables[message->table_ref - 1];
        return WEIR_OK;
    case WEIR_OP_CALC:
        return decode_calc(decoder, message, op);
    case WEIR_OP_WM_ASSIGN:
        op->u.wm.time_column = message->time_column;
        op->u.wm.delay_ms = message->delay_ms;
        return WEIR_OK;
    case WEIR_OP_LOCAL_AGG:
    case WEIR_OP_WINDOW_AGG:
    case WEIR_OP_GROUP_AGG:
        return decode_agg(decoder, message, op);
    case WEIR_OP_UNION_ALL:
        return WEIR_OK;
    }
    return corrupt(decoder, "an operator is of no known kind");
}

static enum weir_rc decode_vertices(const struct decoder *decoder, struct weir_vertex *vertices)
{
    for (size_t i = 0; i < decoder->message->n_vertices; i++) {
        const Weir__Plan__Vertex *message = decoder->message->vertices[i];
        struct weir_vertex *vertex = &vertices[i];
        vertex->id = weir_arena_strdup(decoder->arena, message->id);
        vertex->name = weir_arena_strdup(decoder->arena, message->name);
        vertex->parallelism = message->parallelism;
        vertex->max_parallelism = message->max_parallelism;
        const struct weir_opspec **ops = weir_arena_zalloc(decoder->arena, (message->n_ops + 1) * sizeof(*ops));
        for (size_t k = 0; k < message->n_ops; k++) {
            enum weir_rc rc = decode_op(decoder, message->ops[k], &ops[k]);
            if (rc != WEIR_OK) {
                return rc;
            }
        }
        vertex->ops = ops;
        vertex->nops = (uint32_t)message->n_ops;
    }
    return WEIR_OK;
}

static enum weir_rc decode_edges(const struct decoder *decoder, struct weir_edge *edges)
{
    for (size_t i = 0; i < decoder->message->n_edges; i++) {
        const Weir__Plan__Edge *message = decoder->message->edges[i];
        if (message->from >= decoder->message->n_vertices || message->to >= decoder->message->n_vertices) {
            return corrupt(decoder, "an edge's end does not exist");
        }
        edges[i] = (struct weir_edge){
            .from = message->from,
            .to = message->to,
            .input = message->input,
            .exchange = (enum weir_exchange)message->exchange,
            .keys = copy_u32(decoder, message->keys, message->n_keys),
            .nkeys = (uint32_t)message->n_keys,
            .side = message->side != 0,
        };
        enum weir_rc rc = get_schema(decoder, message->schema_ref, false, &edges[i].schema);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    return WEIR_OK;
}

static struct weir_restart_settings decode_restart(const Weir__Plan__Settings *settings)
{
    enum weir_restart_type type = settings->restart_type != 0     ? (enum weir_restart_type)settings->restart_type
                                  : settings->restart_enabled != 0 ? WEIR_RESTART_FIXED_DELAY
                                                                   : WEIR_RESTART_NONE;
    return (struct weir_restart_settings){
        .type = type,
        .attempts_max = settings->restart_attempts,
        .delay_ms = settings->restart_delay_ms,
        .failures_max = settings->restart_failures_max,
        .interval_ms = settings->restart_interval_ms,
        .delay_max_ms = settings->restart_delay_max_ms,
        .reset_ms = settings->restart_reset_ms,
        .multiplier = settings->restart_multiplier,
        .jitter = settings->restart_jitter,
    };
}

static enum weir_rc decode_graph(struct decoder *decoder)
{
    const Weir__Plan__JobGraph *message = decoder->message;
    struct weir_jobgraph *graph = decoder->graph;
    if (message->settings == NULL || message->n_vertices > WEIR_JOB_OPERATORS_MAX || message->n_edges > 4 * WEIR_JOB_OPERATORS_MAX) {
        return corrupt(decoder, "no settings, or too many vertices or edges");
    }
    const Weir__Plan__Settings *settings = message->settings;
    graph->name = weir_arena_strdup(graph->arena, message->name);
    graph->bounded = message->bounded != 0;
    graph->settings = (struct weir_job_settings){
        .parallelism = settings->parallelism,
        .max_parallelism = settings->max_parallelism,
        .watermark_interval_ms = settings->watermark_interval_ms,
        .idle_timeout_ms = settings->idle_timeout_ms,
        .buffer_timeout_ms = settings->buffer_timeout_ms,
        .checkpoint_interval_ms = settings->checkpoint_interval_ms,
        .record_bytes_max = settings->record_bytes_max,
        .restart = decode_restart(settings),
        .checkpoint_timeout_ms = settings->checkpoint_timeout_ms,
        .checkpoint_min_pause_ms = settings->checkpoint_min_pause_ms,
        .checkpoint_failures_max = settings->checkpoint_failures_max,
    };
    struct weir_vertex *vertices = weir_arena_zalloc(graph->arena, (message->n_vertices + 1) * sizeof(*vertices));
    struct weir_edge *edges = weir_arena_zalloc(graph->arena, (message->n_edges + 1) * sizeof(*edges));
    enum weir_rc rc = decode_schemas(decoder);
    if (rc == WEIR_OK) {
        rc = decode_tables(decoder);
    }
    if (rc == WEIR_OK) {
        rc = decode_vertices(decoder, vertices);
    }
    if (rc == WEIR_OK) {
        rc = decode_edges(decoder, edges);
    }
    if (rc != WEIR_OK) {
        return rc;
    }
    graph->vertices = vertices;
    graph->nvertices = (uint32_t)message->n_vertices;
    graph->edges = edges;
    graph->nedges = (uint32_t)message->n_edges;
    weir_jobgraph_link(graph, vertices);
    return weir_jobgraph_check(graph, decoder->err);
}

static void *unpack_alloc(void *ctx, size_t bytes)
{
    size_t *left = ctx;
    if (bytes > *left) {
        return NULL;
    }
    *left -= bytes;
    return weir_malloc(bytes == 0 ? 1 : bytes);
}

static void unpack_free(void *ctx, void *memory)
{
    (void)ctx;
    weir_free(memory);
}

static enum weir_rc check_header(struct weir_slice bytes, struct weir_slice *out_body, struct weir_error *err)
{
    struct weir_reader reader = weir_reader(bytes);
    uint32_t magic = weir_read_u32(&reader);
    uint32_t version = weir_read_u32(&reader);
    uint32_t crc = weir_read_u32(&reader);
    if (reader.failed || magic != MAGIC) {
        return weir_error_set(err, WEIR_CORRUPT, "plan: these %zu bytes are no job graph", bytes.len);
    }
    if (version != WEIR_PLAN_VERSION) {
        return weir_error_set(err, WEIR_UNSUPPORTED, "plan: a job graph of version %u; this Weir reads version %d", version,
                              WEIR_PLAN_VERSION);
    }
    if (weir_crc32c(0, reader.rest.data, reader.rest.len) != crc) {
        return weir_error_set(err, WEIR_CORRUPT, "plan: the job graph's checksum does not match");
    }
    *out_body = reader.rest;
    return WEIR_OK;
}

enum weir_rc weir_plan_decode(struct weir_slice bytes, struct weir_jobgraph **out_graph, struct weir_error *err)
{
    struct weir_slice body = {0};
    enum weir_rc rc = check_header(bytes, &body, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    size_t left = UNPACK_BYTES_MAX;
    ProtobufCAllocator allocator = {.alloc = unpack_alloc, .free = unpack_free, .allocator_data = &left};
    Weir__Plan__JobGraph *message = weir__plan__job_graph__unpack(&allocator, body.len, body.data);
    if (message == NULL) {
        return weir_error_set(err, WEIR_CORRUPT, "plan: the job graph's %zu bytes cannot be read", body.len);
    }
    struct weir_jobgraph *graph = weir_jobgraph_create();
    struct decoder decoder = {.message = message, .graph = graph, .arena = graph->arena, .err = err};
    rc = decode_graph(&decoder);
    if (rc == WEIR_OK) {
        *out_graph = graph;
    } else {
        weir_jobgraph_destroy(graph);
    }
    weir__plan__job_graph__free_unpacked(message, &allocator);
    return rc;
}
