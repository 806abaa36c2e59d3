#include "common/base/metrics.h"

#include "common/base/assert.h"
#include "common/base/hmap.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#include <ctype.h>
#include <pthread.h>
#include <stdarg.h>

static const struct {
    const char *name;
    enum weir_metric_kind kind;
    const char *unit;
    const char *help;
} metric_rows[WEIR_METRIC_COUNT_] = {
#define X(id, name, kind, unit, help) {name, WEIR_METRIC_##kind, unit, help},
#include "common/base/metrics.def"
#undef X
};

struct label {
    char *key;
    char *value;
};

enum { LABELS_MAX = 8 };

struct weir_metrics_scope {
    struct weir_metrics *metrics;
    struct weir_list node;
    struct label labels[LABELS_MAX];
    size_t label_count;
    char *rendered; /* {key="value",...} of Prometheus */
    struct weir_metric cells[WEIR_METRIC_COUNT_];
    _Atomic bool used[WEIR_METRIC_COUNT_];
};

struct weir_metrics {
    pthread_mutex_t mutex; /* guards the list; runtime/sync.h is above this layer */
    struct weir_list scopes;
};

const char *weir_metric_name(enum weir_metric_id id)
{
    return metric_rows[id].name;
}

const char *weir_metric_unit(enum weir_metric_id id)
{
    return metric_rows[id].unit;
}

const char *weir_metric_help(enum weir_metric_id id)
{
    return metric_rows[id].help;
}

enum weir_metric_kind weir_metric_kind(enum weir_metric_id id)
{
    return metric_rows[id].kind;
}

struct weir_metrics *weir_metrics_create(void)
{
    struct weir_metrics *metrics = weir_calloc(1, sizeof(*metrics));
    int failed = pthread_mutex_init(&metrics->mutex, NULL);
    weir_assert(failed == 0);
    weir_list_init(&metrics->scopes);
    return metrics;
}

static void scope_free(struct weir_metrics_scope *scope)
{
    for (size_t i = 0; i < scope->label_count; i++) {
        weir_free(scope->labels[i].key);
        weir_free(scope->labels[i].value);
    }
    weir_free(scope->rendered);
    weir_free(scope);
}

void weir_metrics_destroy(struct weir_metrics *metrics)
{
    if (metrics == NULL) {
        return;
    }
    for (struct weir_list *node = weir_list_pop_front(&metrics->scopes); node != NULL;
         node = weir_list_pop_front(&metrics->scopes)) {
        scope_free(WEIR_CONTAINER_OF(node, struct weir_metrics_scope, node));
    }
    (void)pthread_mutex_destroy(&metrics->mutex);
    weir_free(metrics);
}

static bool valid_label(const char *key)
{
    for (const char *c = key; *c != '\0'; c++) {
        bool fits = isalpha((unsigned char)*c) || *c == '_' || (c != key && isdigit((unsigned char)*c));
        if (!fits) {
            return false;
        }
    }
    return key[0] != '\0';
}

static char *render_labels(const struct weir_metrics_scope *scope)
{
    struct weir_buf text = {0};
    for (size_t i = 0; i < scope->label_count; i++) {
        weir_buf_put_fmt(&text, "%s%s=\"", i == 0 ? "{" : ",", scope->labels[i].key);
        for (const char *c = scope->labels[i].value; *c != '\0'; c++) {
            if (*c == '\\' || *c == '"') {
                weir_buf_put_u8(&text, '\\');
            }
            if (*c == '\n') {
                weir_buf_put_str(&text, "\\n");
            } else {
                weir_buf_put_u8(&text, (uint8_t)*c);
            }
        }
        weir_buf_put_u8(&text, '"');
    }
    weir_buf_put_str(&text, scope->label_count == 0 ? "" : "}");
    weir_buf_put_u8(&text, 0);
    size_t len;
    return (char *)weir_buf_take(&text, &len);
}

struct weir_metrics_scope *weir_metrics_scope_create(struct weir_metrics *metrics, ...)
{
    struct weir_metrics_scope *scope = weir_calloc(1, sizeof(*scope));
    scope->metrics = metrics;
    va_list args;
    va_start(args, metrics);
    for (const char *key = va_arg(args, const char *); key != NULL; key = va_arg(args, const char *)) {
        weir_assert(scope->label_count < LABELS_MAX);
        weir_assert(valid_label(key));
        scope->labels[scope->label_count].key = weir_strdup(key);
        scope->labels[scope->label_count].value = weir_strdup(va_arg(args, const char *));
        scope->label_count++;
    }
    va_end(args);
    scope->rendered = render_labels(scope);
    (void)pthread_mutex_lock(&metrics->mutex);
    weir_list_push_back(&metrics->scopes, &scope->node);
    (void)pthread_mutex_unlock(&metrics->mutex);
    return scope;
}

void weir_metrics_scope_destroy(struct weir_metrics_scope *scope)
{
    if (scope == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&scope->metrics->mutex);
    weir_list_remove(&scope->node);
    (void)pthread_mutex_unlock(&scope->metrics->mutex);
    scope_free(scope);
}

struct weir_metric *weir_metrics_cell(struct weir_metrics_scope *scope, enum weir_metric_id id)
{
    atomic_store_explicit(&scope->used[id], true, memory_order_relaxed);
    return &scope->cells[id];
}

const char *weir_metrics_label(const struct weir_metrics_scope *scope, const char *key)
{
    for (size_t i = 0; i < scope->label_count; i++) {
        if (strcmp(scope->labels[i].key, key) == 0) {
            return scope->labels[i].value;
        }
    }
    return NULL;
}

void weir_metrics_walk(struct weir_metrics *metrics,
                       void (*visit)(void *ctx, const struct weir_metrics_scope *scope, enum weir_metric_id id, int64_t value),
                       void *ctx)
{
    (void)pthread_mutex_lock(&metrics->mutex);
    for (struct weir_list *node = weir_list_first(&metrics->scopes); node != NULL;
         node = weir_list_next(&metrics->scopes, node)) {
        const struct weir_metrics_scope *scope = WEIR_CONTAINER_OF(node, struct weir_metrics_scope, node);
        for (unsigned id = 0; id < WEIR_METRIC_COUNT_; id++) {
            if (atomic_load_explicit(&scope->used[id], memory_order_relaxed)) {
                visit(ctx, scope, (enum weir_metric_id)id, weir_metric_get(&scope->cells[id]));
            }
        }
    }
    (void)pthread_mutex_unlock(&metrics->mutex);
}

/* Prometheus wants the lines of one metric together, so the sums are collected by metric first. */
struct rendering {
    struct weir_hmap *sums[WEIR_METRIC_COUNT_]; /* rendered labels to int64_t */
};

static void collect(void *ctx, const struct weir_metrics_scope *scope, enum weir_metric_id id, int64_t value)
{
    struct rendering *rendering = ctx;
    if (rendering->sums[id] == NULL) {
        rendering->sums[id] = weir_hmap_create(0);
    }
    struct weir_slice labels = weir_slice_str(scope->rendered);
    int64_t *sum = weir_hmap_get(rendering->sums[id], labels);
    if (sum == NULL) {
        sum = weir_calloc(1, sizeof(*sum));
        (void)weir_hmap_put(rendering->sums[id], labels, sum);
    }
    *sum = (int64_t)((uint64_t)*sum + (uint64_t)value);
}

void weir_metrics_prometheus(struct weir_metrics *metrics, struct weir_buf *out)
{
    struct rendering rendering = {0};
    weir_metrics_walk(metrics, collect, &rendering);
    for (size_t id = 0; id < WEIR_METRIC_COUNT_; id++) {
        if (rendering.sums[id] == NULL) {
            continue;
        }
        const char *name = metric_rows[id].name;
        weir_buf_put_fmt(out, "# HELP weir_%s %s (%s)\n# TYPE weir_%s %s\n", name, metric_rows[id].help,
                         metric_rows[id].unit, name, metric_rows[id].kind == WEIR_METRIC_COUNTER ? "counter" : "gauge");
        struct weir_hmap_iter iter = {0};
        while (weir_hmap_next(rendering.sums[id], &iter)) {
            int64_t *sum = iter.value;
            weir_buf_put_fmt(out, "weir_%s%.*s %lld\n", name, WEIR_SLICE_ARG(iter.key), (long long)*sum);
            weir_free(sum);
        }
        weir_hmap_destroy(rendering.sums[id]);
    }
}
