/*
 * Counters and gauges. A cell is a plain 64-bit word that one thread writes and any thread reads, so that counting costs an
 * add; where several threads count the same thing, each has a cell with the same scope and the readers see the sum.
 *
 * A registry locks only to create, free and walk cells.
 */
#ifndef WEIR_COMMON_BASE_METRICS_H
#define WEIR_COMMON_BASE_METRICS_H

#include "common/base/buf.h"

#include <stdatomic.h>

enum weir_metric_kind { WEIR_METRIC_COUNTER, WEIR_METRIC_GAUGE };

enum weir_metric_id {
#define X(id, name, kind, unit, help) WEIR_METRIC_##id,
#include "common/base/metrics.def"
#undef X
    WEIR_METRIC_COUNT_
};

struct weir_metric {
    _Atomic uint64_t priv;
};

/* The cell's writer only. A gauge is a signed value. */
static inline void weir_metric_add(struct weir_metric *metric, uint64_t value)
{
    uint64_t old = atomic_load_explicit(&metric->priv, memory_order_relaxed);
    atomic_store_explicit(&metric->priv, old + value, memory_order_relaxed);
}

static inline void weir_metric_set(struct weir_metric *metric, int64_t value)
{
    atomic_store_explicit(&metric->priv, (uint64_t)value, memory_order_relaxed);
}

/* Any thread. */
static inline int64_t weir_metric_get(const struct weir_metric *metric)
{
    return (int64_t)atomic_load_explicit(&metric->priv, memory_order_relaxed);
}

const char *weir_metric_name(enum weir_metric_id id);
const char *weir_metric_unit(enum weir_metric_id id);
const char *weir_metric_help(enum weir_metric_id id);
enum weir_metric_kind weir_metric_kind(enum weir_metric_id id);

struct weir_metrics;

struct weir_metrics *weir_metrics_create(void);
void weir_metrics_destroy(struct weir_metrics *metrics); /* accepts NULL; frees all scopes */

/*
 * The cells of one thing that is measured (a subtask, a connection): one of each metric, all 0. Labels are pairs of key
 * ([a-zA-Z_][a-zA-Z0-9_]*, asserted) and value ended by NULL, copied: weir_metrics_scope_create(m, "job", id, "task", name,
 * NULL). Any thread; the cells are then the creator's to write. Only cells that were `used` are walked.
 */
struct weir_metrics_scope;
struct weir_metrics_scope *weir_metrics_scope_create(struct weir_metrics *metrics, ...) __attribute__((sentinel));

/* Removes the scope; its cells may no longer be touched. Any thread. Accepts NULL. */
void weir_metrics_scope_destroy(struct weir_metrics_scope *scope);

/* The scope's cell of a metric, for as long as the scope; from now on it is walked. The creator's thread. */
struct weir_metric *weir_metrics_cell(struct weir_metrics_scope *scope, enum weir_metric_id id);

/* The value of the label, or NULL; borrowed from the scope. */
const char *weir_metrics_label(const struct weir_metrics_scope *scope, const char *key);

/* Calls visit for each used cell, scope by scope in order of creation, under the registry's lock: visit may not call the
 * registry. Any thread. */
void weir_metrics_walk(struct weir_metrics *metrics,
                       void (*visit)(void *ctx, const struct weir_metrics_scope *scope, enum weir_metric_id id, int64_t value),
                       void *ctx);

/* Appends all used cells in Prometheus' text format (0.0.4): cells of one metric with equal labels are summed. Any thread. */
void weir_metrics_prometheus(struct weir_metrics *metrics, struct weir_buf *out);

#endif
