/*
 * What one operator is to do: an immutable, tagged specification. The JobManager's planners make them, proto/plan_codec ships them,
 * TaskManagers run them. A new operator is one tag here, one row in taskmanager/operators/op_registry.c and one file.
 *
 * Everything lies in the job graph's arena.
 */
#ifndef WEIR_COMMON_PLAN_OPSPEC_H
#define WEIR_COMMON_PLAN_OPSPEC_H

#include "common/data/schema.h"
#include "common/expr/expr.h"

/* Numbers on the wire and in snapshots: append only. */
enum weir_op_tag {
    WEIR_OP_SOURCE = 1,       /* no input; reads a table's splits */
    WEIR_OP_CALC = 2,         /* filter + project/map, fused */
    WEIR_OP_WM_ASSIGN = 3,    /* watermarks from rows, for tables whose source does not make them per split */
    WEIR_OP_LOCAL_AGG = 4,    /* pre-aggregation before a hash exchange: windowed when `window` is set */
    WEIR_OP_WINDOW_AGG = 5,   /* event-time window aggregate over (partial) rows */
    WEIR_OP_GROUP_AGG = 6,    /* aggregate without window: a changelog */
    WEIR_OP_UNION_ALL = 7,    /* several inputs of one schema */
    WEIR_OP_SINK = 8,         /* no output; writes a table */
};

struct weir_option {
    const char *key;
    const char *value; /* as written: secrets are still ${file:...} or ${env:...} and are resolved on the TaskManager */
    struct weir_expr_pos pos;
};

enum weir_on_error { WEIR_ON_ERROR_FAIL = 0, WEIR_ON_ERROR_SKIP = 1, WEIR_ON_ERROR_TABLE = 2 };

/* A table as a source or sink sees it. */
struct weir_table_spec {
    const char *name;
    const struct weir_schema *schema; /* referenced by the graph; its time column is the watermark's */
    const char *connector;            /* "datagen", "filesystem", "kafka", "print", "blackhole", ... */
    const char *format;               /* "json" or NULL where the connector takes none */
    const struct weir_option *options; /* all `with` options but connector and format, checked against the catalog */
    uint32_t noptions;
    const uint32_t *primary_key; /* columns of schema, in the order written; NULL: none */
    uint32_t nprimary_key;
    bool has_watermark;
    int64_t watermark_delay_ms;       /* watermark = max event time - delay - 1 ms */
    enum weir_on_error on_error;
    const struct weir_table_spec *error_table; /* on_error == TABLE */
};

enum weir_window_kind { WEIR_WINDOW_NONE = 0, WEIR_WINDOW_TUMBLE = 1, WEIR_WINDOW_HOP = 2, WEIR_WINDOW_CUMULATE = 3 };

struct weir_window_spec {
    enum weir_window_kind kind;
    uint32_t time_column; /* of the operator's input (raw rows) */
    int64_t size_ms;
    int64_t slide_ms;  /* HOP: slide (divides size into slices of gcd(size, slide)); CUMULATE: step; TUMBLE: = size */
    int64_t offset_ms; /* TUMBLE, HOP: shift of the window starts */
};

struct weir_agg_call {
    const char *name;             /* of the output column */
    const struct weir_expr *expr; /* bound WEIR_EXPR_AGG over the raw input schema */
};

struct weir_opspec {
    enum weir_op_tag tag;
    const char *uid;  /* stable across versions of the job (the step's id + a suffix): names state, metrics, failpoints */
    const char *name; /* for people: "filter: speed >= 0" */
    const struct weir_schema *input;  /* NULL for SOURCE; of every input for UNION_ALL */
    const struct weir_schema *output; /* NULL for SINK */
    union {
        struct {
            const struct weir_table_spec *table;
        } io; /* SOURCE, SINK */
        struct {
            const struct weir_expr *filter;            /* bound BOOLEAN, or NULL */
            const struct weir_expr *const *exprs;      /* bound, one per output column; NULL = all input columns as they are */
            uint32_t nexprs;
        } calc;
        struct {
            uint32_t time_column;
            int64_t delay_ms;
        } wm;
        struct {
            /* LOCAL_AGG: input = raw rows, output = partial rows (see agg_partial in local_agg.h). WINDOW_AGG, GROUP_AGG: input = raw
             * rows when partial is false, partial rows otherwise; raw_input is the raw schema either way. Output columns:
             * WINDOW_AGG: window_start, window_end, keys, aggregates; GROUP_AGG: keys, aggregates. */
            const struct weir_schema *raw_input;
            const uint32_t *keys; /* columns of raw_input */
            uint32_t nkeys;
            const struct weir_agg_call *calls;
            uint32_t ncalls;
            struct weir_window_spec window; /* kind NONE for plain group aggregates */
            bool partial;
        } agg;
    } u;
};

enum { WEIR_WINDOW_SLICES_MAX = 100000 }; /* of one window */

/* Length of the slices that the window's state is shared by: the greatest common divisor of size and slide (both > 0). */
int64_t weir_window_slice_ms(const struct weir_window_spec *window);

/* The option's value, or NULL when the table does not set it. */
const char *weir_table_option(const struct weir_table_spec *table, const char *key);

#endif
