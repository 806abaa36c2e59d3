#include "common/plan/jobgraph.h"

static const char *op_tag_name(enum weir_op_tag tag)
{
    switch (tag) {
    case WEIR_OP_SOURCE:
        return "SOURCE";
    case WEIR_OP_CALC:
        return "CALC";
    case WEIR_OP_WM_ASSIGN:
        return "WM_ASSIGN";
    case WEIR_OP_LOCAL_AGG:
        return "LOCAL_AGG";
    case WEIR_OP_WINDOW_AGG:
        return "WINDOW_AGG";
    case WEIR_OP_GROUP_AGG:
        return "GROUP_AGG";
    case WEIR_OP_UNION_ALL:
        return "UNION_ALL";
    case WEIR_OP_SINK:
        return "SINK";
    }
    return "?";
}

static const char *exchange_name(enum weir_exchange exchange)
{
    switch (exchange) {
    case WEIR_EXCHANGE_FORWARD:
        return "FORWARD";
    case WEIR_EXCHANGE_HASH:
        return "HASH";
    case WEIR_EXCHANGE_REBALANCE:
        return "REBALANCE";
    case WEIR_EXCHANGE_BROADCAST:
        return "BROADCAST";
    }
    return "?";
}

static void put_columns(const struct weir_schema *schema, const uint32_t *columns, uint32_t count, struct weir_buf *out)
{
    weir_buf_put_str(out, "(");
    for (uint32_t i = 0; i < count; i++) {
        weir_buf_put_fmt(out, "%s%s", i == 0 ? "" : ", ", weir_schema_field(schema, columns[i])->name);
    }
    weir_buf_put_str(out, ")");
}

static void put_table(const struct weir_table_spec *table, struct weir_buf *out)
{
    weir_buf_put_fmt(out, " %s %s", table->name, table->connector);
    if (table->format != NULL) {
        weir_buf_put_fmt(out, "/%s", table->format);
    }
    if (table->nprimary_key > 0) {
        weir_buf_put_str(out, " primary key ");
        put_columns(table->schema, table->primary_key, table->nprimary_key, out);
    }
    if (table->has_watermark) {
        weir_buf_put_fmt(out, " watermark %s - %lld ms",
                         weir_schema_field(table->schema, (uint32_t)weir_schema_time_column(table->schema))->name,
                         (long long)table->watermark_delay_ms);
    }
    if (table->on_error == WEIR_ON_ERROR_SKIP) {
        weir_buf_put_str(out, " on-error skip");
    } else if (table->on_error == WEIR_ON_ERROR_TABLE) {
        weir_buf_put_fmt(out, " on-error %s", table->error_table->name);
    }
}

static void put_agg(const struct weir_opspec *op, struct weir_buf *out)
{
    const struct weir_window_spec *window = &op->u.agg.window;
    if (window->kind != WEIR_WINDOW_NONE) {
        weir_buf_put_fmt(out, " %s(%s, ", window->kind == WEIR_WINDOW_TUMBLE ? "tumble" : "hop",
                         weir_schema_field(op->u.agg.raw_input, window->time_column)->name);
        if (window->kind != WEIR_WINDOW_TUMBLE) {
            weir_buf_put_fmt(out, "%lld ms every ", (long long)window->size_ms);
        }
        weir_buf_put_fmt(out, "%lld ms)", (long long)window->slide_ms);
    }
    weir_buf_put_str(out, " by ");
    put_columns(op->u.agg.raw_input, op->u.agg.keys, op->u.agg.nkeys, out);
    for (uint32_t i = 0; i < op->u.agg.ncalls; i++) {
        weir_buf_put_str(out, i == 0 ? " " : ", ");
        weir_expr_format(op->u.agg.calls[i].expr, out);
        weir_buf_put_fmt(out, " AS %s", op->u.agg.calls[i].name);
    }
    weir_buf_put_str(out, op->u.agg.partial ? " from partials" : "");
}

void weir_opspec_format(const struct weir_opspec *op, struct weir_buf *out)
{
    weir_buf_put_str(out, op_tag_name(op->tag));
    switch (op->tag) {
    case WEIR_OP_SOURCE:
    case WEIR_OP_SINK:
        put_table(op->u.io.table, out);
        break;
    case WEIR_OP_CALC:
        if (op->u.calc.filter != NULL) {
            weir_buf_put_str(out, " filter ");
            weir_expr_format(op->u.calc.filter, out);
        }
        for (uint32_t i = 0; i < op->u.calc.nexprs; i++) {
            weir_buf_put_str(out, i == 0 ? " project " : ", ");
            weir_expr_format(op->u.calc.exprs[i], out);
            weir_buf_put_fmt(out, " AS %s", weir_schema_field(op->output, i)->name);
        }
        break;
    case WEIR_OP_WM_ASSIGN:
        weir_buf_put_fmt(out, " %s - %lld ms", weir_schema_field(op->input, op->u.wm.time_column)->name,
                         (long long)op->u.wm.delay_ms);
        break;
    case WEIR_OP_LOCAL_AGG:
    case WEIR_OP_WINDOW_AGG:
    case WEIR_OP_GROUP_AGG:
        put_agg(op, out);
        break;
    case WEIR_OP_UNION_ALL:
        break;
    }
}

static void put_restart(const struct weir_restart_settings *restart, struct weir_buf *out)
{
    switch (restart->type) {
    case WEIR_RESTART_NONE:
        weir_buf_put_str(out, "no restart\n");
        break;
    case WEIR_RESTART_FIXED_DELAY:
        weir_buf_put_fmt(out, "restart %lld times after %lld ms\n", (long long)restart->attempts_max, (long long)restart->delay_ms);
        break;
    case WEIR_RESTART_FAILURE_RATE:
        weir_buf_put_fmt(out, "restart after %lld ms, %lld times in %lld ms\n", (long long)restart->delay_ms, (long long)restart->failures_max,
                         (long long)restart->interval_ms);
        break;
    case WEIR_RESTART_EXPONENTIAL_DELAY:
        weir_buf_put_fmt(out, "restart %lld times after %lld to %lld ms, x%g, jitter %g, reset after %lld ms\n", (long long)restart->attempts_max,
                         (long long)restart->delay_ms, (long long)restart->delay_max_ms, restart->multiplier, restart->jitter,
                         (long long)restart->reset_ms);
        break;
    }
}

static void put_settings(const struct weir_jobgraph *graph, struct weir_buf *out)
{
    const struct weir_job_settings *settings = &graph->settings;
    weir_buf_put_fmt(out, "job %s (%s) parallelism %u of %u\n", graph->name, graph->bounded ? "bounded" : "unbounded",
                     settings->parallelism, settings->max_parallelism);
    weir_buf_put_fmt(out, "  watermark interval %lld ms, idle timeout %lld ms, buffer timeout %lld ms, checkpoint interval %lld ms\n",
                     (long long)settings->watermark_interval_ms, (long long)settings->idle_timeout_ms,
                     (long long)settings->buffer_timeout_ms, (long long)settings->checkpoint_interval_ms);
    weir_buf_put_fmt(out, "  record %lld bytes, ", (long long)settings->record_bytes_max);
    put_restart(&settings->restart, out);
}

void weir_jobgraph_format(const struct weir_jobgraph *graph, struct weir_buf *out)
{
    put_settings(graph, out);
    for (uint32_t i = 0; i < graph->nvertices; i++) {
        const struct weir_vertex *vertex = &graph->vertices[i];
        weir_buf_put_fmt(out, "%u: %s x%u\n", i, vertex->name, vertex->parallelism);
        for (uint32_t k = 0; k < vertex->nops; k++) {
            weir_buf_put_fmt(out, "    %s: ", vertex->ops[k]->uid);
            weir_opspec_format(vertex->ops[k], out);
            weir_buf_put_str(out, "\n");
        }
        const struct weir_schema *output = vertex->ops[vertex->nops - 1]->output; /* NULL: a sink */
        if (output != NULL) {
            weir_buf_put_str(out, "    gives ");
            weir_schema_format(output, out);
            weir_buf_put_str(out, "\n");
        }
        for (uint32_t k = 0; k < vertex->noutputs; k++) {
            const struct weir_edge *edge = &graph->edges[vertex->outputs[k]];
            weir_buf_put_fmt(out, "    -> %u input %u %s%s", edge->to, edge->input, edge->side ? "bad records " : "", exchange_name(edge->exchange));
            if (edge->exchange == WEIR_EXCHANGE_HASH) {
                put_columns(edge->schema, edge->keys, edge->nkeys, out);
            }
            weir_buf_put_str(out, "\n");
        }
    }
}
