/*
 * The job graph: the one thing that is scheduled. Vertices are chains of operators (run by one thread per subtask), edges are
 * exchanges between them. Built by the YAML job file reader, later by the SQL planner; immutable afterwards.
 *
 * Ownership: graph, specs, strings and expressions lie in the graph's arena; schemas are reference counted and registered with
 * weir_jobgraph_own_schema, which the graph drops when it is destroyed.
 */
#ifndef WEIR_COMMON_PLAN_JOBGRAPH_H
#define WEIR_COMMON_PLAN_JOBGRAPH_H

#include "common/plan/opspec.h"

enum weir_exchange {
    WEIR_EXCHANGE_FORWARD = 1,   /* subtask i to subtask i; same parallelism */
    WEIR_EXCHANGE_HASH = 2,      /* by the key group of the key columns */
    WEIR_EXCHANGE_REBALANCE = 3, /* batches round robin */
    WEIR_EXCHANGE_BROADCAST = 4,
};

struct weir_edge {
    uint32_t from, to;   /* vertex indices; from < to */
    uint32_t input;      /* which input of the head operator of `to` (UNION_ALL has several) */
    enum weir_exchange exchange;
    const uint32_t *keys; /* HASH: columns of the from vertex's output that make the key, in key order */
    uint32_t nkeys;
    const struct weir_schema *schema;
    bool side; /* carries the bad records of the source at the head of `from` to its error table, instead of from's output */
};

struct weir_vertex {
    const char *id;   /* 32 hex digits, a hash of the uid of its head operator: stable for one job file */
    const char *name; /* "read -> valid -> count[local]" */
    uint32_t parallelism;           /* what it has now */
    uint32_t submitted_parallelism; /* what the job asks for; set by weir_jobgraph_link */
    uint32_t max_parallelism;
    const struct weir_opspec *const *ops; /* the chain, source end first */
    uint32_t nops;
    const uint32_t *inputs;  /* edge indices, ordered by (edge.input, edge index) */
    uint32_t ninputs;
    const uint32_t *outputs; /* edge indices: every output batch goes to each of them but side edges */
    uint32_t noutputs;
};

enum weir_restart_type { WEIR_RESTART_NONE, WEIR_RESTART_FIXED_DELAY, WEIR_RESTART_FAILURE_RATE, WEIR_RESTART_EXPONENTIAL_DELAY };

/* What its type does not use is 0. */
struct weir_restart_settings {
    enum weir_restart_type type;
    int64_t attempts_max;   /* FIXED_DELAY: restarts; EXPONENTIAL_DELAY: restarts until the delay is reset; INT32_MAX: no limit */
    int64_t delay_ms;       /* FIXED_DELAY, FAILURE_RATE; EXPONENTIAL_DELAY: the first */
    int64_t failures_max;   /* FAILURE_RATE: within interval_ms */
    int64_t interval_ms;
    int64_t delay_max_ms;   /* EXPONENTIAL_DELAY, and what follows */
    int64_t reset_ms;
    double multiplier;      /* > 1 */
    double jitter;          /* 0 to 1 */
};

/* The job's own settings; 0 and NULL never mean "default": the JobManager fills every field from -p, settings, configuration. */
struct weir_job_settings {
    uint32_t parallelism;
    uint32_t max_parallelism;
    int64_t watermark_interval_ms;
    int64_t idle_timeout_ms;   /* 0 = never idle */
    int64_t buffer_timeout_ms;
    int64_t checkpoint_interval_ms; /* 0 = no checkpoints */
    int64_t checkpoint_timeout_ms;  /* 0 = none */
    int64_t checkpoint_min_pause_ms;
    int64_t checkpoint_failures_max; /* in a row; one more restarts the job */
    int64_t record_bytes_max;
    struct weir_restart_settings restart;
};

struct weir_jobgraph {
    struct weir_arena *arena;
    const char *name;
    bool bounded; /* every source is bounded: the job ends by itself (BATCH in Flink's job-type), else STREAMING */
    struct weir_job_settings settings;
    const struct weir_vertex *vertices; /* topological order */
    uint32_t nvertices;
    const struct weir_edge *edges;
    uint32_t nedges;
    /* internal: the same vertices, to be changed; owned schemas */
    struct weir_vertex *linked;
    const struct weir_schema **schemas;
    uint32_t nschemas;
    uint32_t schemas_cap;
};

/* An empty graph with an arena. */
struct weir_jobgraph *weir_jobgraph_create(void);
void weir_jobgraph_destroy(struct weir_jobgraph *graph); /* accepts NULL */

/* The graph takes over the caller's reference. Returns schema, for chaining. */
const struct weir_schema *weir_jobgraph_own_schema_take(struct weir_jobgraph *graph, const struct weir_schema *schema);

/* Fills the inputs and outputs of the vertices (the graph's own array, not yet const) from the graph's edges, whose ends exist. */
void weir_jobgraph_link(struct weir_jobgraph *graph, struct weir_vertex *vertices);

/* Gives each vertex the parallelism that the job asks for, but no more than parallelism_max (0: no limit): how an adaptive scheduler runs a job
 * with what there is. Vertices that a FORWARD edge joins stay equal. The graph is the caller's alone; what was derived from its
 * parallelism (task indices, slots, regions) is to be made anew. */
void weir_jobgraph_limit_parallelism(struct weir_jobgraph *graph, uint32_t parallelism_max);

/* What the vertex has under that limit, and the greatest of those of some vertices (by index; NULL: all): how many slots they take. */
uint32_t weir_jobgraph_parallelism_at(const struct weir_jobgraph *graph, uint32_t vertex, uint32_t parallelism_max);
uint32_t weir_jobgraph_slots_at(const struct weir_jobgraph *graph, const bool *vertices, uint32_t parallelism_max);

/* Checks every invariant above (indices in range, acyclic order, schemas agree along chains and edges, hash keys exist, forward edges
 * have equal parallelism, parallelism <= max_parallelism, sources first, sinks last). For graphs from outside. INVALID. */
enum weir_rc weir_jobgraph_check(const struct weir_jobgraph *graph, struct weir_error *err) WEIR_CHECKED;

/* The graph as text for people and tests: settings, then each vertex with its operators and what goes where. */
void weir_jobgraph_format(const struct weir_jobgraph *graph, struct weir_buf *out);

/* One operator on one line, without its uid: "CALC filter speed >= 0". */
void weir_opspec_format(const struct weir_opspec *op, struct weir_buf *out);

/* Tasks in all: the sum of parallelisms; and the index of (vertex, subtask) in vertex order. */
uint32_t weir_jobgraph_tasks(const struct weir_jobgraph *graph);
uint32_t weir_jobgraph_task_index(const struct weir_jobgraph *graph, uint32_t vertex, uint32_t subtask);

/* Slots needed: with Flink's slot sharing, one slot holds a subtask of every vertex, so the greatest parallelism. */
uint32_t weir_jobgraph_slots(const struct weir_jobgraph *graph);

#endif
