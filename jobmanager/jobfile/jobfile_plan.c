/*
 * From steps to vertices in two passes.
 *
 * 1  Each step becomes one to three nodes (an operator, its parallelism, links to the nodes it reads). A filter behind a filter, and
 *    a projection behind filters, is fused into their CALC. An aggregate without keys runs with parallelism 1, and so does what
 *    follows it: its few rows must stay in order.
 * 2  A node joins the vertex of the node it reads when that is its only input, nothing else reads it, and the link is FORWARD;
 *    else it begins a vertex, and its links become edges.
 *
 * Bad records: for each table that `on-error` names, a sink behind the sources whose bad records it receives, joined by side links.
 */
#include "jobmanager/jobfile/jobfile_plan.h"

#include "common/base/hash.h"
#include "common/plan/agg_partial.h"

enum { FUSED_FILTERS_MAX = 8, OP_NAME_MAX = 200, NODES_PER_STEP = 3, NODES_PER_ERROR_TABLE = 2 };

struct link {
    uint32_t from; /* node */
    enum weir_exchange exchange;
    const uint32_t *keys;
    uint32_t nkeys;
    bool side;
};

struct node {
    struct weir_opspec *op;
    const char *label; /* in the vertex's name */
    uint32_t parallelism;
    struct link *links;
    uint32_t nlinks;
    uint32_t readers;
    uint32_t vertex;
    const struct weir_expr *filter_parsed; /* CALC: what `filter` was bound from */
    uint32_t nfilters;                     /* fused into it */
};

struct planner {
    struct weir_jobfile *jf;
    struct weir_arena *arena;
    struct node *nodes;
    uint32_t nnodes;
    uint32_t *tails; /* of each step: the node that gives its rows */
    struct weir_error *err;
};

/* --- nodes ------------------------------------------------------------------------------------------------------------ */

static struct node *add_node(struct planner *planner, enum weir_op_tag tag, const char *uid, const char *label, uint32_t parallelism,
                             uint32_t nlinks)
{
    struct node *node = &planner->nodes[planner->nnodes++];
    node->op = weir_arena_zalloc(planner->arena, sizeof(*node->op));
    node->op->tag = tag;
    node->op->uid = uid;
    node->label = label;
    node->parallelism = parallelism;
    node->links = weir_arena_zalloc(planner->arena, nlinks * sizeof(*node->links));
    return node;
}

static void link_rows(struct planner *planner, struct node *node, uint32_t from)
{
    struct node *input = &planner->nodes[from];
    enum weir_exchange exchange = input->parallelism == node->parallelism ? WEIR_EXCHANGE_FORWARD : WEIR_EXCHANGE_REBALANCE;
    node->links[node->nlinks++] = (struct link){.from = from, .exchange = exchange};
    input->readers++;
}

static uint32_t index_of(const struct planner *planner, const struct node *node)
{
    return (uint32_t)(node - planner->nodes);
}

/* The node that gives a step's input: its one input's, or a UNION_ALL. */
static uint32_t input_node(struct planner *planner, const struct weir_jobfile_step *step)
{
    if (step->ninputs == 1) {
        return planner->tails[step->inputs[0]];
    }
    uint32_t least = UINT32_MAX;
    uint32_t most = 0;
    for (uint32_t i = 0; i < step->ninputs; i++) {
        uint32_t parallelism = planner->nodes[planner->tails[step->inputs[i]]].parallelism;
        least = parallelism < least ? parallelism : least;
        most = parallelism > most ? parallelism : most;
    }
    bool alone = step->kind == WEIR_STEP_UNION;
    const char *uid = alone ? step->id : weir_arena_fmt(planner->arena, "%s[union]", step->id);
    struct node *node = add_node(planner, WEIR_OP_UNION_ALL, uid, uid, step->updating ? least : most, step->ninputs);
    node->op->input = step->input;
    node->op->output = step->input;
    for (uint32_t i = 0; i < step->ninputs; i++) {
        link_rows(planner, node, planner->tails[step->inputs[i]]);
    }
    return index_of(planner, node);
}

static struct node *add_calc(struct planner *planner, uint32_t from, const char *uid, const struct weir_schema *input,
                             const struct weir_schema *output)
{
    struct node *node = add_node(planner, WEIR_OP_CALC, uid, uid, planner->nodes[from].parallelism, 1);
    node->op->input = input;
    node->op->output = output;
    link_rows(planner, node, from);
    return node;
}

/* filter AND the step's, bound anew against the CALC's input: fused filters change no columns, so names mean the same. */
static enum weir_rc fuse_filter(struct planner *planner, struct node *node, const struct weir_jobfile_step *step)
{
    struct weir_expr *both = weir_arena_zalloc(planner->arena, sizeof(*both));
    struct weir_expr *parts[2] = {0};
    const struct weir_expr *parsed[2] = {node->filter_parsed, step->filter_parsed};
    for (int i = 0; i < 2; i++) { /* args are not const, though binding makes a new tree */
        parts[i] = weir_arena_alloc(planner->arena, sizeof(*parts[i]));
        *parts[i] = *parsed[i];
    }
    both->kind = WEIR_EXPR_CALL;
    both->name = "AND";
    both->pos = step->filter_parsed->pos;
    both->nargs = 2;
    both->args = weir_arena_alloc(planner->arena, sizeof(parts));
    memcpy(both->args, parts, sizeof(parts));
    struct weir_expr *bound = NULL;
    enum weir_rc rc = weir_expr_bind(both, node->op->input, planner->arena, &bound, planner->err);
    if (rc != WEIR_OK) {
        return weir_error_prefix(planner->err, "filters up to step \"%s\" together", step->id);
    }
    node->filter_parsed = both;
    node->op->u.calc.filter = bound;
    return WEIR_OK;
}

static enum weir_rc plan_calc(struct planner *planner, const struct weir_jobfile_step *step, uint32_t from, uint32_t *out_tail)
{
    struct node *node = &planner->nodes[from];
    bool fuse = step->ninputs == 1 && planner->jf->steps[step->inputs[0]].consumers == 1 && node->op->tag == WEIR_OP_CALC &&
                node->op->u.calc.exprs == NULL && node->nfilters < FUSED_FILTERS_MAX;
    if (fuse) {
        node->label = weir_arena_fmt(planner->arena, "%s -> %s", node->label, step->id);
    } else {
        node = add_calc(planner, from, step->id, step->input, step->output);
    }
    if (step->filter_bound != NULL) {
        if (node->filter_parsed != NULL) {
            enum weir_rc rc = fuse_filter(planner, node, step);
            if (rc != WEIR_OK) {
                return rc;
            }
        } else {
            node->filter_parsed = step->filter_parsed;
            node->op->u.calc.filter = step->filter_bound;
        }
        node->nfilters++;
    }
    node->op->output = step->output;
    node->op->u.calc.exprs = step->exprs;
    node->op->u.calc.nexprs = step->nexprs;
    *out_tail = index_of(planner, node);
    return WEIR_OK;
}

static void fill_agg(struct weir_opspec *op, const struct weir_jobfile_step *step)
{
    op->u.agg.raw_input = step->input;
    op->u.agg.keys = step->keys;
    op->u.agg.nkeys = step->nkeys;
    op->u.agg.calls = step->calls;
    op->u.agg.ncalls = step->ncalls;
    op->u.agg.window = step->window_spec;
}

/* LOCAL_AGG beside the input, then the keys' exchange; with a single subtask on both sides neither is needed. */
static enum weir_rc plan_agg(struct planner *planner, const struct weir_jobfile_step *step, uint32_t from, uint32_t *out_tail)
{
    bool windowed = step->window_spec.kind != WEIR_WINDOW_NONE;
    enum weir_op_tag tag = windowed ? WEIR_OP_WINDOW_AGG : WEIR_OP_GROUP_AGG;
    uint32_t parallelism = step->nkeys == 0 ? 1 : planner->jf->graph->settings.parallelism;
    bool direct = parallelism == 1 && planner->nodes[from].parallelism == 1;
    const struct weir_schema *input = step->input;
    struct link link = {.from = from, .exchange = WEIR_EXCHANGE_FORWARD};
    if (!direct) {
        struct weir_schema *partial = NULL;
        enum weir_rc rc = weir_agg_partial_schema(step->input, step->keys, step->nkeys, windowed, &partial, planner->err);
        if (rc != WEIR_OK) {
            return weir_error_prefix(planner->err, "step \"%s\"", step->id);
        }
        input = weir_jobgraph_own_schema_take(planner->jf->graph, partial);
        const char *uid = weir_arena_fmt(planner->arena, "%s[local]", step->id);
        struct node *local = add_node(planner, WEIR_OP_LOCAL_AGG, uid, uid, planner->nodes[from].parallelism, 1);
        local->op->input = step->input;
        local->op->output = input;
        fill_agg(local->op, step);
        link_rows(planner, local, from);
        uint32_t *keys = weir_arena_alloc(planner->arena, step->nkeys * sizeof(*keys));
        for (uint32_t i = 0; i < step->nkeys; i++) {
            keys[i] = weir_agg_partial_layout(step->nkeys, windowed).first_key + i;
        }
        link = (struct link){
            .from = index_of(planner, local),
            .exchange = step->nkeys == 0 ? WEIR_EXCHANGE_REBALANCE : WEIR_EXCHANGE_HASH,
            .keys = keys,
            .nkeys = step->nkeys,
        };
    }
    struct node *node = add_node(planner, tag, step->id, step->id, parallelism, 1);
    node->op->input = input;
    node->op->output = step->output;
    fill_agg(node->op, step);
    node->op->u.agg.partial = !direct;
    node->links[node->nlinks++] = link;
    planner->nodes[link.from].readers++;
    *out_tail = index_of(planner, node);
    return WEIR_OK;
}

static uint32_t plan_sink(struct planner *planner, const struct weir_jobfile_step *step, uint32_t from)
{
    const struct weir_schema *table = step->table->spec.schema;
    if (step->exprs != NULL) {
        const char *uid = weir_arena_fmt(planner->arena, "%s[cast]", step->id);
        struct node *cast = add_calc(planner, from, uid, step->input, table);
        cast->op->u.calc.exprs = step->exprs;
        cast->op->u.calc.nexprs = step->nexprs;
        from = index_of(planner, cast);
    }
    struct node *node = add_node(planner, WEIR_OP_SINK, step->id, step->id, planner->nodes[from].parallelism, 1);
    node->op->input = table;
    node->op->u.io.table = &step->table->spec;
    link_rows(planner, node, from);
    return index_of(planner, node);
}

/* The nodes of bad records: SINK for one source, UNION_ALL and SINK for several that name the same table. */
static void plan_error_table(struct planner *planner, struct weir_jobfile_table *table, uint32_t nsources, uint32_t nnodes)
{
    const struct weir_schema *schema = table->spec.schema;
    const char *uid = weir_arena_fmt(planner->arena, "%s[bad records]", table->spec.name);
    uint32_t parallelism = planner->jf->graph->settings.parallelism;
    struct node *sink = NULL;
    struct node *head;
    if (nsources > 1) {
        const char *union_uid = weir_arena_fmt(planner->arena, "%s[bad records union]", table->spec.name);
        head = add_node(planner, WEIR_OP_UNION_ALL, union_uid, union_uid, parallelism, nsources);
        head->op->output = schema;
        sink = add_node(planner, WEIR_OP_SINK, uid, uid, parallelism, 1);
        link_rows(planner, sink, index_of(planner, head));
    } else {
        sink = head = add_node(planner, WEIR_OP_SINK, uid, uid, parallelism, nsources);
    }
    head->op->input = schema;
    sink->op->input = schema;
    sink->op->u.io.table = &table->spec;
    for (uint32_t i = 0; i < nnodes; i++) {
        const struct node *node = &planner->nodes[i];
        if (node->op->tag == WEIR_OP_SOURCE && node->op->u.io.table->error_table == &table->spec) {
            head->links[head->nlinks++] = (struct link){.from = i, .exchange = WEIR_EXCHANGE_FORWARD, .side = true};
        }
    }
}

static void plan_error_tables(struct planner *planner)
{
    uint32_t nnodes = planner->nnodes;
    for (uint32_t t = 0; t < planner->jf->ntables; t++) {
        uint32_t nsources = 0;
        for (uint32_t i = 0; i < nnodes; i++) {
            const struct weir_opspec *op = planner->nodes[i].op;
            nsources += op->tag == WEIR_OP_SOURCE && op->u.io.table->error_table == &planner->jf->tables[t].spec;
        }
        if (nsources > 0) {
            plan_error_table(planner, &planner->jf->tables[t], nsources, nnodes);
        }
    }
}

static enum weir_rc plan_step(struct planner *planner, uint32_t index)
{
    const struct weir_jobfile_step *step = &planner->jf->steps[index];
    uint32_t *tail = &planner->tails[index];
    uint32_t from = step->ninputs == 0 ? 0 : input_node(planner, step);
    switch (step->kind) {
    case WEIR_STEP_SOURCE: {
        struct node *node = add_node(planner, WEIR_OP_SOURCE, step->id, step->id, planner->jf->graph->settings.parallelism, 0);
        node->op->output = step->output;
        node->op->u.io.table = &step->table->spec;
        *tail = index_of(planner, node);
        return WEIR_OK;
    }
    case WEIR_STEP_UNION:
        *tail = from;
        return WEIR_OK;
    case WEIR_STEP_CALC:
        return plan_calc(planner, step, from, tail);
    case WEIR_STEP_AGG:
        return plan_agg(planner, step, from, tail);
    case WEIR_STEP_SINK:
        *tail = plan_sink(planner, step, from);
        return WEIR_OK;
    }
    return WEIR_OK;
}

/* --- vertices --------------------------------------------------------------------------------------------------------- */

static bool joins_input(const struct planner *planner, const struct node *node)
{
    return node->nlinks == 1 && !node->links[0].side && node->op->tag != WEIR_OP_UNION_ALL && node->links[0].exchange == WEIR_EXCHANGE_FORWARD &&
           planner->nodes[node->links[0].from].readers == 1;
}

static const char *vertex_id(struct planner *planner, const char *uid)
{
    struct weir_slice bytes = weir_slice_str(uid);
    return weir_arena_fmt(planner->arena, "%016llx%016llx", (unsigned long long)weir_hash_slice(bytes, 1),
                          (unsigned long long)weir_hash_slice(bytes, 2));
}

static const char *op_name(struct planner *planner, const struct weir_opspec *op)
{
    struct weir_buf buf = {0};
    weir_opspec_format(op, &buf);
    size_t len = buf.len;
    if (len > OP_NAME_MAX) {
        len = OP_NAME_MAX;
        while (len > 0 && (buf.data[len] & 0xc0) == 0x80) { /* not inside a character */
            len--;
        }
    }
    const char *name = weir_arena_fmt(planner->arena, "%.*s%s", (int)len, (const char *)buf.data, len < buf.len ? "..." : "");
    weir_buf_fini(&buf);
    return name;
}

/* Numbers the vertices and says how many nodes each has. */
static uint32_t assign_vertices(struct planner *planner, uint32_t *sizes, uint32_t *out_nedges)
{
    uint32_t count = 0;
    *out_nedges = 0;
    for (uint32_t i = 0; i < planner->nnodes; i++) {
        struct node *node = &planner->nodes[i];
        if (joins_input(planner, node)) {
            node->vertex = planner->nodes[node->links[0].from].vertex;
        } else {
            node->vertex = count++;
            *out_nedges += node->nlinks;
        }
        sizes[node->vertex]++;
    }
    return count;
}

static void fill_vertices(struct planner *planner, struct weir_vertex *vertices, const uint32_t *sizes)
{
    const struct weir_opspec ***ops = weir_arena_zalloc(planner->arena, planner->nnodes * sizeof(*ops));
    for (uint32_t i = 0; i < planner->nnodes; i++) {
        struct node *node = &planner->nodes[i];
        struct weir_vertex *vertex = &vertices[node->vertex];
        node->op->name = op_name(planner, node->op);
        if (vertex->nops == 0) {
            ops[node->vertex] = weir_arena_alloc(planner->arena, sizes[node->vertex] * sizeof(**ops));
            vertex->id = vertex_id(planner, node->op->uid);
            vertex->name = node->label;
            vertex->parallelism = node->parallelism;
            vertex->max_parallelism = planner->jf->graph->settings.max_parallelism;
            vertex->ops = ops[node->vertex];
        } else {
            vertex->name = weir_arena_fmt(planner->arena, "%s -> %s", vertex->name, node->label);
        }
        ops[node->vertex][vertex->nops++] = node->op;
    }
}

static void fill_edges(const struct planner *planner, struct weir_edge *edges)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < planner->nnodes; i++) {
        const struct node *node = &planner->nodes[i];
        for (uint32_t k = 0; k < node->nlinks && !joins_input(planner, node); k++) {
            const struct node *from = &planner->nodes[node->links[k].from];
            edges[count++] = (struct weir_edge){
                .from = from->vertex,
                .to = node->vertex,
                .input = k,
                .exchange = node->links[k].exchange,
                .keys = node->links[k].keys,
                .nkeys = node->links[k].nkeys,
                .schema = node->links[k].side ? node->op->input : from->op->output,
                .side = node->links[k].side,
            };
        }
    }
}

enum weir_rc weir__jobfile_make_graph(struct weir_jobfile *jf, struct weir_error *err)
{
    struct weir_jobgraph *graph = jf->graph;
    struct planner planner = {.jf = jf, .arena = graph->arena, .err = err};
    size_t nodes_max = (size_t)jf->nsteps * NODES_PER_STEP + (size_t)jf->ntables * NODES_PER_ERROR_TABLE;
    planner.nodes = weir_arena_zalloc(planner.arena, nodes_max * sizeof(*planner.nodes));
    planner.tails = weir_arena_zalloc(planner.arena, jf->nsteps * sizeof(*planner.tails));
    graph->bounded = true;
    for (uint32_t i = 0; i < jf->norder; i++) {
        const struct weir_jobfile_step *step = &jf->steps[jf->order[i]];
        if (step->kind == WEIR_STEP_SOURCE) {
            graph->bounded = graph->bounded && weir_connector_bounded(&step->table->spec);
        }
        enum weir_rc rc = plan_step(&planner, jf->order[i]);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    plan_error_tables(&planner);
    uint32_t *sizes = weir_arena_zalloc(planner.arena, planner.nnodes * sizeof(*sizes));
    graph->nvertices = assign_vertices(&planner, sizes, &graph->nedges);
    struct weir_vertex *vertices = weir_arena_zalloc(planner.arena, graph->nvertices * sizeof(*vertices));
    struct weir_edge *edges = weir_arena_zalloc(planner.arena, graph->nedges * sizeof(*edges));
    fill_vertices(&planner, vertices, sizes);
    fill_edges(&planner, edges);
    graph->vertices = vertices;
    graph->edges = edges;
    weir_jobgraph_link(graph, vertices);
    return weir_jobgraph_check(graph, err);
}
