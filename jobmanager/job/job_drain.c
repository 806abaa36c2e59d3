#include "jobmanager/job/job_drain.h"

#include <inttypes.h>

#include "common/base/mem.h"
#include "common/catalog/connector_desc.h"

/* The operator's table when it is a sink that drains, else NULL. */
static const struct weir_table_spec *draining_table(const struct weir_opspec *op)
{
    return op->tag == WEIR_OP_SINK && weir_connector_sink_drains(op->u.io.table) ? op->u.io.table : NULL;
}

bool weir_job_drain_vertices(const struct weir_jobgraph *graph, bool *out_drains)
{
    bool any = false;
    for (uint32_t v = 0; v < graph->nvertices; v++) {
        out_drains[v] = false;
        for (uint32_t i = 0; i < graph->vertices[v].nops; i++) {
            out_drains[v] = out_drains[v] || draining_table(graph->vertices[v].ops[i]) != NULL;
        }
        any = any || out_drains[v];
    }
    return any;
}

bool weir_job_drain_over(const struct weir_execgraph *exec, const bool *drains)
{
    for (uint32_t i = 0; i < exec->ntasks; i++) {
        if (drains[exec->tasks[i].vertex] && exec->tasks[i].state != WEIR_TASK_FINISHED) {
            return false;
        }
    }
    return true;
}

char *weir_job_drain_text(const struct weir_jobgraph *graph, uint64_t checkpoint)
{
    struct weir_buf out = {0};
    uint32_t count = 0;
    for (uint32_t v = 0; v < graph->nvertices; v++) {
        for (uint32_t i = 0; i < graph->vertices[v].nops; i++) {
            const struct weir_opspec *op = graph->vertices[v].ops[i];
            const struct weir_table_spec *table = draining_table(op);
            if (table != NULL) {
                weir_buf_put_fmt(&out, "%s%s (%s)", count++ == 0 ? "sink " : ", sink ", op->uid, table->name);
            }
        }
    }
    weir_buf_put_fmt(&out, ", checkpoint %" PRIu64, checkpoint);
    char *text = weir_strndup(out.data, out.len);
    weir_buf_fini(&out);
    return text;
}

int64_t weir_job_drain_retry_ms(int64_t last_ms)
{
    int64_t next_ms = last_ms == 0 ? WEIR_JOB_DRAIN_RETRY_MIN_MS : 2 * last_ms;
    return next_ms < WEIR_JOB_DRAIN_RETRY_MAX_MS ? next_ms : WEIR_JOB_DRAIN_RETRY_MAX_MS;
}
