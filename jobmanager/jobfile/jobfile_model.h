/*
 * A job file while it is read: its tables and steps, first as written (jobfile_read), then with schemas and bound expressions
 * (jobfile_bind), from which the graph is made (jobfile_plan). Everything lies in the graph's arena.
 *
 * M1  Every problem is reported once: what stands on a broken table or step is left out quietly.
 * M2  Steps are only bound, and graphs only made, in an order in which inputs come first.
 */
#ifndef WEIR_JOBMANAGER_JOBFILE_JOBFILE_MODEL_H
#define WEIR_JOBMANAGER_JOBFILE_JOBFILE_MODEL_H

#include "common/base/buf.h"
#include "common/base/yaml.h"
#include "common/catalog/connector_desc.h"
#include "common/plan/jobgraph.h"

/* A step becomes up to three operators. */
enum { WEIR_JOBFILE_STEPS_MAX = WEIR_JOB_OPERATORS_MAX / 4, WEIR_JOBFILE_TABLES_MAX = WEIR_JOB_OPERATORS_MAX / 4 };

struct weir_jobfile_table {
    const struct weir_yaml *node; /* its name */
    const struct weir_yaml *with;
    const struct weir_yaml *on_error; /* the name of the table of its bad records, or NULL */
    struct weir_table_spec spec;
    const struct weir_connector_desc *connector; /* NULL when unknown */
    const struct weir_format_desc *format;
    uint32_t roles; /* it is used in, of enum weir_table_role */
    bool broken;
};

enum weir_jobfile_kind {
    WEIR_STEP_SOURCE,
    WEIR_STEP_UNION, /* nothing but several inputs */
    WEIR_STEP_CALC,
    WEIR_STEP_AGG,
    WEIR_STEP_SINK,
};

struct weir_jobfile_step {
    const char *id;
    const struct weir_yaml *node;
    const struct weir_yaml *id_node;
    enum weir_jobfile_kind kind;
    const struct weir_yaml *source, *sink, *filter, *project, *key_by, *window, *aggregate;
    const struct weir_yaml **input_nodes;
    uint32_t *inputs; /* steps */
    uint32_t ninputs;
    uint32_t consumers;
    struct weir_jobfile_table *table; /* SOURCE, SINK */
    bool broken;

    /* bound */
    bool done;
    bool updating;                    /* its rows are a changelog */
    const struct weir_schema *input;  /* of the union of its inputs */
    const struct weir_schema *output; /* NULL: SINK */
    const struct weir_expr *filter_parsed;
    const struct weir_expr *filter_bound;
    const struct weir_expr **exprs; /* CALC: the projection or NULL; SINK: what turns the input into the table's columns, or NULL */
    uint32_t nexprs;
    const uint32_t *keys;
    uint32_t nkeys;
    const struct weir_agg_call *calls;
    uint32_t ncalls;
    struct weir_window_spec window_spec;
};

struct weir_jobfile {
    const char *file;
    struct weir_slice text;
    struct weir_jobgraph *graph;
    struct weir_arena *arena; /* the graph's */
    struct weir_jobfile_table *tables;
    uint32_t ntables;
    struct weir_jobfile_step *steps;
    uint32_t nsteps;
    uint32_t *order; /* of the steps, M2 */
    uint32_t norder;
    struct weir_buf problems; /* a line each */
    uint32_t nproblems;
};

/* Adds "file:line:column: ..." of the node. */
void weir__jobfile_problem(struct weir_jobfile *jf, const struct weir_yaml *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds a problem of the expression in the scalar node: err's leading "line:column: " inside the expression becomes the place in the
 * file where the scalar stands there as it is. */
void weir__jobfile_expr_problem(struct weir_jobfile *jf, const struct weir_yaml *node, const struct weir_error *err);

/* All problems as one error: as many as fit, and how many more there are. */
enum weir_rc weir__jobfile_problems_error(const struct weir_jobfile *jf, struct weir_error *err);

/* The scalar's text; otherwise a problem naming `what` ("the table's name") and false. node may be NULL only if it was reported. */
bool weir__jobfile_text(struct weir_jobfile *jf, const struct weir_yaml *node, const char *what, struct weir_slice *out_text);

/* Whether the node is a map with no other keys than these (NULL-terminated); problems otherwise, one for each unknown key. */
bool weir__jobfile_map(struct weir_jobfile *jf, const struct weir_yaml *node, const char *what, const char *const *keys);

/* A duration above or equal to `least_ms` in a scalar. */
bool weir__jobfile_duration(struct weir_jobfile *jf, const struct weir_yaml *node, const char *what, int64_t least_ms, int64_t *out_ms);

/* "; did you mean x?" or "; there are x, y", over the names of tables or steps; in the arena. */
const char *weir__jobfile_suggest(struct weir_jobfile *jf, struct weir_slice name, const char *const *names, size_t count);

#endif
