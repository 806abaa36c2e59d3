/*
 * For the tests of the dispatcher: the whole brain against a simulated log, simulated TaskManagers, simulated storage of checkpoints and
 * virtual time. What the dispatcher asks for is checked against what is committed: (J1), (J2), (J5), (J6), (J9), (D1), (K2).
 */
#ifndef WEIR_JOBMANAGER_JOB_DISPATCHER_TEST_KIT_H
#define WEIR_JOBMANAGER_JOB_DISPATCHER_TEST_KIT_H

#include "jobmanager/job/dispatcher.h"

#include <check.h>
#include <stdio.h>

#include "common/base/mem.h"
#include "common/base/rand.h"

enum { TMS = 4, TM_TASKS = 64, ORDERS = 512, LOG = 4096, JOBS = 6, STORED = 512 };
enum { HEARTBEAT_MS = 200, TIMEOUT_MS = 1000, SLOT_TIMEOUT_MS = 60000, EXPIRE_MS = 3600000 };

struct fake_task {
    char job[WEIR_JOB_ID_TEXT + 1];
    uint32_t attempt, vertex, subtask, region;
    uint64_t restored_id;
    enum weir_task_state state;
    bool drains;
    enum weir_rc rc; /* FAILED */
};

struct fake_tm {
    bool alive, registered;
    uint32_t incarnation;
    char id[32];
    struct fake_task tasks[TM_TASKS];
    uint32_t ntasks;
    int64_t next_heartbeat_ms;
};

struct stored {
    char job[WEIR_JOB_ID_TEXT + 1];
    uint64_t id;
    struct weir_buf manifest;
};

struct sim {
    struct weir_dispatcher *d;
    struct weir_now now;
    struct weir_rand rand;
    uint64_t epoch;
    struct weir_buf log[LOG]; /* committed */
    uint32_t nlog;
    struct weir_effect *proposals[ORDERS]; /* under way */
    uint32_t nproposals;
    struct weir_buf late[ORDERS]; /* told UNKNOWN, may yet be committed */
    uint32_t nlate;
    struct weir_effect *orders[ORDERS]; /* on their way to TaskManagers */
    uint32_t norders;
    struct fake_tm tms[TMS];
    struct weir_meta *meta; /* the test's own copy of the replicated state */
    enum weir_meta_state ended[JOBS];
    uint32_t answers, answers_ok;
    enum weir_rc last_answer;
    uint32_t deploys;
    bool restarts; /* jobs have a restart strategy */
    struct stored stored[STORED]; /* `_metadata` files */
    uint32_t nstored;
    uint32_t restores, completions;
    enum weir_rc load_rc; /* of the reads to come */
    uint32_t enumerate_failures; /* answers to come */
    enum weir_rc enumerate_rc;
    enum weir_task_state drain_fate; /* how a drain task that runs is seen by the next heartbeat: RUNNING, FINISHED, FAILED */
    enum weir_rc failure_rc;         /* of failed tasks */
    uint32_t drain_deploys;
    uint64_t sink_drained[JOBS][4];  /* by subtask: the newest checkpoint that a drain of it has drained */
    uint32_t tm_slots;
    uint32_t sink_finished[JOBS][4]; /* by subtask: the newest attempt whose sink task ended by FINISHED */
    bool input_ended;                /* of every task */
    struct weir_adaptive_settings adaptive; /* of the leaders to come */
    uint32_t jobs_max;                      /* of the leaders to come */
};

/* --- a graph: 2 sources -> 1 sink, or ("wide") 2, or ("pairs", "pairs-bare", "trio": 3) each with its own, or
 * ("two") two jobs in one, made by hand -------------------------------------------------------------------------- */
static const struct weir_opspec source_op = {.tag = WEIR_OP_SOURCE, .uid = "read", .name = "read"};
static const struct weir_table_spec sink_table = {.name = "results", .connector = "filesystem"};
static const struct weir_opspec sink_op = {.tag = WEIR_OP_SINK, .uid = "write", .name = "write", .u.io.table = &sink_table};
static const struct weir_opspec *const source_ops[] = {&source_op};
static const struct weir_opspec *const sink_ops[] = {&sink_op};
static const struct weir_vertex vertices[] = {{.id = "v0", .name = "read", .parallelism = 2, .max_parallelism = 128, .ops = source_ops, .nops = 1},
                                              {.id = "v1", .name = "write", .parallelism = 1, .max_parallelism = 128, .ops = sink_ops, .nops = 1}};

static const struct weir_vertex wide_vertices[] = {
    {.id = "v0", .name = "read", .parallelism = 2, .max_parallelism = 128, .ops = source_ops, .nops = 1},
    {.id = "v1", .name = "write", .parallelism = 2, .max_parallelism = 128, .ops = sink_ops, .nops = 1}};

static const struct weir_vertex trio_vertices[] = {
    {.id = "v0", .name = "read", .parallelism = 3, .max_parallelism = 128, .ops = source_ops, .nops = 1},
    {.id = "v1", .name = "write", .parallelism = 3, .max_parallelism = 128, .ops = sink_ops, .nops = 1}};
static const struct weir_vertex quad_vertices[] = {
    {.id = "v0", .name = "read", .parallelism = 4, .max_parallelism = 128, .ops = source_ops, .nops = 1},
    {.id = "v1", .name = "write", .parallelism = 4, .max_parallelism = 128, .ops = sink_ops, .nops = 1}};
static const struct weir_vertex two_vertices[] = {
    {.id = "v0", .name = "read", .parallelism = 2, .max_parallelism = 128, .ops = source_ops, .nops = 1},
    {.id = "v1", .name = "write", .parallelism = 2, .max_parallelism = 128, .ops = sink_ops, .nops = 1},
    {.id = "v2", .name = "read", .parallelism = 2, .max_parallelism = 128, .ops = source_ops, .nops = 1},
    {.id = "v3", .name = "write", .parallelism = 1, .max_parallelism = 128, .ops = sink_ops, .nops = 1}};
static const struct weir_edge shuffles[] = {{.from = 0, .to = 1, .exchange = WEIR_EXCHANGE_HASH}, {.from = 2, .to = 3, .exchange = WEIR_EXCHANGE_HASH}};
static const struct weir_edge forward = {.from = 0, .to = 1, .exchange = WEIR_EXCHANGE_FORWARD};

struct test_graph {
    const char *name;
    const struct weir_vertex *vertices;
    uint32_t nvertices;
    const struct weir_edge *edges;
    uint32_t nedges;
    bool checkpoints, restarts;
};

static const struct test_graph test_graphs[] = {{"plain", vertices, 2, shuffles, 1, false, false},      {"restart", vertices, 2, shuffles, 1, false, true},
                                                {"checkpoints", vertices, 2, shuffles, 1, true, true},  {"wide", wide_vertices, 2, shuffles, 1, true, true},
                                                {"pairs", wide_vertices, 2, &forward, 1, true, true},   {"pairs-bare", wide_vertices, 2, &forward, 1, false, true},
                                                {"trio", trio_vertices, 2, &forward, 1, true, true},    {"two", two_vertices, 4, shuffles, 2, false, true},
                                                {"quad", quad_vertices, 2, shuffles, 1, true, true}};

static inline const struct test_graph *test_graph(struct weir_slice name)
{
    for (size_t i = 0; i < sizeof(test_graphs) / sizeof(test_graphs[0]); i++) {
        if (weir_slice_eq_str(name, test_graphs[i].name)) {
            return &test_graphs[i];
        }
    }
    return NULL;
}

static inline enum weir_rc decode(struct weir_slice bytes, struct weir_jobgraph **out_graph, struct weir_error *err)
{
    const struct test_graph *of = test_graph(bytes);
    if (of == NULL) {
        return weir_error_set(err, WEIR_CORRUPT, "broken graph");
    }
    struct weir_jobgraph *graph = weir_jobgraph_create();
    graph->name = "test";
    struct weir_vertex *own = weir_arena_alloc(graph->arena, of->nvertices * sizeof(*own));
    memcpy(own, of->vertices, of->nvertices * sizeof(*own));
    graph->vertices = own;
    graph->nvertices = of->nvertices;
    graph->edges = of->edges;
    graph->nedges = of->nedges;
    weir_jobgraph_link(graph, own);
    graph->settings.restart = (struct weir_restart_settings){.type = of->restarts ? WEIR_RESTART_FIXED_DELAY : WEIR_RESTART_NONE,
                                                             .attempts_max = of->checkpoints ? INT32_MAX : 3,
                                                             .delay_ms = 250};
    graph->settings.checkpoint_interval_ms = of->checkpoints ? 40 : 0;
    graph->settings.checkpoint_timeout_ms = 2000;
    graph->settings.checkpoint_failures_max = 5;
    *out_graph = graph;
    return WEIR_OK;
}

static inline const char *job_id(uint32_t i)
{
    static const char *const ids[JOBS] = {"00000000000000000000000000000000", "11111111111111111111111111111111", "22222222222222222222222222222222",
                                          "33333333333333333333333333333333", "44444444444444444444444444444444", "55555555555555555555555555555555"};
    return ids[i];
}

static inline enum weir_job_state state_of(struct sim *sim, uint32_t job)
{
    struct weir_job *j = weir_dispatcher_job(sim->d, weir_slice_str(job_id(job)));
    return j == NULL ? WEIR_JOB_STATE_COUNT_ : weir_job_state(j);
}

/* Of job 0. */
static inline const struct weir_meta_job *meta_of(const struct sim *sim)
{
    return weir_meta_job(sim->meta, weir_slice_str(job_id(0)));
}

static inline struct weir_job_view view_of(const struct sim *sim)
{
    struct weir_job_view view;
    weir_job_view(weir_dispatcher_job(sim->d, weir_slice_str(job_id(0))), sim->now, &view);
    return view;
}

/* The newest completed checkpoint; id 0: none. */
static inline struct weir_meta_ckpt newest_of(const struct sim *sim)
{
    const struct weir_meta_ckpt *newest = weir_meta_ckpt_newest(meta_of(sim));
    return newest == NULL ? (struct weir_meta_ckpt){0} : *newest;
}

/* --- the simulated world ---------------------------------------------------------------------------------------------- */
static inline void on_answer(void *ctx, enum weir_rc rc, const struct weir_error *err)
{
    struct sim *sim = ctx;
    sim->answers++;
    sim->answers_ok += rc == WEIR_OK;
    sim->last_answer = rc;
    (void)err;
}

static inline void check_deploy(struct sim *sim, const struct weir_effect *effect)
{
    const struct weir_meta_job *job = weir_meta_job(sim->meta, weir_slice_str(effect->job_id));
    ck_assert_ptr_nonnull(job); /* (J1): its ATTEMPT is committed, and is the newest of the regions that it deploys */
    bool present = effect->attempt == job->base_attempt;
    for (size_t i = 0; i < job->nregions; i++) {
        present = present || effect->attempt == job->regions[i].attempt;
    }
    ck_assert(present);
    ck_assert(!weir_meta_terminal(job->state)); /* the lease of a sink holds */
    ck_assert(job->drain_of != 0 || job->state == WEIR_META_LIVE);
    ck_assert(job->drain_of == 0 || job->state != WEIR_META_LIVE || sim->adaptive.enabled);
    ck_assert(job->drain_of == 0 || (!job->skip_drain && job->nckpts > 0 && job->restored_ckpt_id == job->ckpts[job->nckpts - 1].id));
    sim->drain_deploys += job->drain_of != 0;
    sim->deploys++;
}

/* (K2), (J5): by what is committed, not by what the JobManager believes. */
static inline void check_ckpt(struct sim *sim, const struct weir_effect *effect)
{
    const struct weir_meta_job *job = weir_meta_job(sim->meta, weir_slice_str(effect->job_id));
    ck_assert_ptr_nonnull(job);
    const struct weir_meta_ckpt *newest = weir_meta_ckpt_newest(job);
    ck_assert(effect->kind != WEIR_EFFECT_TRIGGER || job->drain_of == 0);
    if (effect->kind == WEIR_EFFECT_TRIGGER || effect->kind == WEIR_EFFECT_CKPT_PREPARE || effect->kind == WEIR_EFFECT_CKPT_STORE) {
        ck_assert_uint_eq(job->last_ckpt_id, effect->checkpoint_id);
    } else if (effect->kind == WEIR_EFFECT_NOTIFY && effect->completed) {
        ck_assert_ptr_nonnull(newest);
        ck_assert_uint_eq(newest->id, effect->checkpoint_id);
        sim->completions++;
    } else if (effect->kind == WEIR_EFFECT_NOTIFY) {
        ck_assert(job->pending_ckpt_id != effect->checkpoint_id);
        ck_assert(newest == NULL || newest->id != effect->checkpoint_id);
    } else if (effect->kind == WEIR_EFFECT_CKPT_LOAD) {
        ck_assert_ptr_nonnull(newest);
        ck_assert_uint_eq(newest->id, effect->checkpoint_id);
        ck_assert_str_eq(newest->path, effect->path);
    }
}

static inline uint32_t parallelism_at(const struct test_graph *graph, uint32_t vertex, uint32_t parallelism_max)
{
    uint32_t asked = graph->vertices[vertex].parallelism;
    return parallelism_max != 0 && parallelism_max < asked ? parallelism_max : asked;
}

/* (J9): another run begins only when the sinks of the one that took the checkpoint have drained it. */
static inline void check_run(const struct sim *sim, const struct weir_meta_job *job)
{
    const struct weir_meta_ckpt *newest = weir_meta_ckpt_newest(job);
    const struct test_graph *graph = test_graph(job->graph);
    for (uint32_t i = 0; newest != NULL && graph != NULL && i < JOBS; i++) {
        bool other = strcmp(job_id(i), job->id) == 0 && newest->run != job->run;
        for (uint32_t s = 0; other && s < parallelism_at(graph, 1, newest->parallelism_max); s++) {
            ck_assert_uint_eq(sim->sink_drained[i][s], newest->id);
        }
        ck_assert(job->drain_of == 0 || !other);
    }
    ck_assert(newest == NULL || newest->run != job->run || newest->parallelism_max == job->parallelism_max);
}

/* (J6), by what the sinks did. */
static inline void check_drained(struct sim *sim, uint32_t i, const struct weir_meta_job *job)
{
    const struct test_graph *graph = test_graph(job->graph);
    bool drained = true;
    for (uint32_t s = 0; graph != NULL && graph->checkpoints && s < parallelism_at(graph, 1, job->parallelism_max); s++) { /* sinks behind FORWARD are in regions of their own */
        drained = drained && sim->sink_finished[i][s] == weir_meta_region_attempt(job, graph->edges == &forward ? s : 0);
    }
    if (weir_meta_terminal(job->state) && weir_meta_ckpt_newest(job) != NULL && !drained) {
        ck_assert(job->skip_drain || job->state == WEIR_META_FAILED);
        ck_assert_ptr_nonnull(strstr(job->text, "sink write (results), checkpoint "));
    }
}

static inline void drain_effects(struct sim *sim)
{
    struct weir_effect *effect = NULL;
    while ((effect = weir_effects_take(weir_dispatcher_effects(sim->d))) != NULL) {
        switch (effect->kind) {
        case WEIR_EFFECT_PROPOSE:
            ck_assert_uint_lt(sim->nproposals, ORDERS);
            sim->proposals[sim->nproposals++] = effect;
            continue;
        case WEIR_EFFECT_DEPLOY:
            check_deploy(sim, effect);
            ck_assert(weir_dispatcher_leading(sim->d)); /* (D1) */
            ck_assert_uint_lt(sim->norders, ORDERS);
            sim->orders[sim->norders++] = effect;
            continue;
        case WEIR_EFFECT_TRIGGER:
        case WEIR_EFFECT_NOTIFY:
        case WEIR_EFFECT_CKPT_PREPARE:
        case WEIR_EFFECT_CKPT_STORE:
        case WEIR_EFFECT_CKPT_LOAD:
        case WEIR_EFFECT_CKPT_SWEEP:
            check_ckpt(sim, effect);
            ck_assert(weir_dispatcher_leading(sim->d)); /* (D1) */
            ck_assert_uint_lt(sim->norders, ORDERS);
            sim->orders[sim->norders++] = effect;
            continue;
        case WEIR_EFFECT_ENUMERATE:
        case WEIR_EFFECT_CANCEL:
            ck_assert(weir_dispatcher_leading(sim->d)); /* (D1) */
            ck_assert_uint_lt(sim->norders, ORDERS);
            sim->orders[sim->norders++] = effect;
            continue;
        case WEIR_EFFECT_TM_LOST: /* the fence: what the JobManager gave up does not go on */
            for (uint32_t i = 0; i < TMS; i++) {
                if (strcmp(sim->tms[i].id, effect->tm_id) == 0) {
                    sim->tms[i].alive = sim->tms[i].alive && !sim->tms[i].registered;
                }
            }
            break;
        case WEIR_EFFECT_ANSWER:
            effect->done(effect->ctx, effect->err.rc, &effect->err);
            break;
        }
        weir_effect_destroy(effect);
    }
    for (uint32_t i = 0; i < JOBS; i++) { /* (J2) */
        const struct weir_meta_job *job = weir_meta_job(sim->meta, weir_slice_str(job_id(i)));
        if (job != NULL) {
            ck_assert(!weir_meta_terminal(sim->ended[i]) || job->state == sim->ended[i]);
            check_drained(sim, i, job);
            sim->ended[i] = job->state;
            if (weir_job_state_terminal(state_of(sim, i)) && state_of(sim, i) != WEIR_JOB_STATE_COUNT_) {
                ck_assert(weir_meta_terminal(job->state));
            }
        }
    }
}

static inline void commit(struct sim *sim, struct weir_slice bytes)
{
    ck_assert_uint_lt(sim->nlog, LOG);
    weir_buf_put_slice(&sim->log[sim->nlog++], bytes);
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_ha_record record;
    struct weir_error err;
    ck_assert_int_eq(weir_ha_decode(bytes, arena, &record, &err), WEIR_OK);
    (void)weir_meta_apply(sim->meta, &record);
    weir_arena_destroy(arena);
    ck_assert_int_eq(weir_dispatcher_apply(sim->d, bytes, sim->now, &err), WEIR_OK);
}

enum fate { COMMIT, REJECT, UNKNOWN_LATE, UNKNOWN_LOST };

static inline void decide(struct sim *sim, uint32_t i, enum fate fate)
{
    struct weir_effect *p = sim->proposals[i];
    memmove(&sim->proposals[i], &sim->proposals[i + 1], (sim->nproposals - i - 1) * sizeof(sim->proposals[0]));
    sim->nproposals--;
    struct weir_error err;
    (void)weir_error_set(&err, WEIR_UNKNOWN, "test");
    if (fate == COMMIT) {
        commit(sim, weir_buf_slice(&p->bytes));
    } else if (fate == UNKNOWN_LATE && sim->nlate < ORDERS) {
        weir_buf_put_slice(&sim->late[sim->nlate++], weir_buf_slice(&p->bytes));
    }
    weir_dispatcher_outcome(sim->d, p->proposal, fate == COMMIT ? WEIR_PROPOSAL_COMMITTED : fate == REJECT ? WEIR_PROPOSAL_REJECTED : WEIR_PROPOSAL_UNKNOWN,
                            &err, sim->now);
    weir_effect_destroy(p);
    drain_effects(sim);
}

static inline void commit_all(struct sim *sim)
{
    while (sim->nproposals > 0) {
        decide(sim, 0, COMMIT);
    }
}

static inline void start_jm(struct sim *sim)
{
    const struct weir_dispatcher_options options = {.node = "test",
                                                    .heartbeat_timeout_ms = TIMEOUT_MS,
                                                    .slot_timeout_ms = SLOT_TIMEOUT_MS,
                                                    .expiration_ms = EXPIRE_MS,
                                                    .jobs_max = sim->jobs_max,
                                                    .retained_max = 2,
                                                    .adaptive = sim->adaptive,
                                                    .decode = decode};
    sim->d = weir_dispatcher_create(&options);
    struct weir_error err;
    for (uint32_t i = 0; i < sim->nlog; i++) {
        ck_assert_int_eq(weir_dispatcher_apply(sim->d, weir_buf_slice(&sim->log[i]), sim->now, &err), WEIR_OK);
    }
    weir_dispatcher_leadership(sim->d, true, ++sim->epoch, sim->now);
    drain_effects(sim);
}

static inline void stop_jm(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->nproposals; i++) {
        weir_effect_destroy(sim->proposals[i]);
    }
    for (uint32_t i = 0; i < sim->norders; i++) {
        weir_effect_destroy(sim->orders[i]);
    }
    for (uint32_t i = 0; i < sim->nlate; i++) {
        weir_buf_fini(&sim->late[i]);
    }
    sim->nproposals = 0;
    sim->norders = 0;
    sim->nlate = 0;
    weir_dispatcher_destroy(sim->d);
    sim->d = NULL;
    for (uint32_t i = 0; i < TMS; i++) {
        sim->tms[i].registered = false;
    }
}

static inline void new_leader(struct sim *sim)
{
    stop_jm(sim);
    start_jm(sim);
}

static inline struct sim *sim_create_as(uint64_t seed, const struct weir_adaptive_settings *adaptive)
{
    struct sim *sim = weir_calloc(1, sizeof(*sim));
    sim->adaptive = *adaptive;
    sim->jobs_max = WEIR_DISPATCHER_JOBS_MAX;
    sim->tm_slots = 2;
    weir_rand_init(&sim->rand, seed);
    sim->drain_fate = WEIR_TASK_FINISHED;
    sim->failure_rc = WEIR_EXTERNAL;
    sim->now = (struct weir_now){.mono_ms = 1000, .wall_ms = 1700000000000};
    sim->meta = weir_meta_create();
    start_jm(sim);
    return sim;
}

static inline struct sim *sim_create(uint64_t seed)
{
    return sim_create_as(seed, &(struct weir_adaptive_settings){.enabled = false});
}

static inline void sim_destroy(struct sim *sim)
{
    stop_jm(sim);
    for (uint32_t i = 0; i < sim->nlog; i++) {
        weir_buf_fini(&sim->log[i]);
    }
    for (uint32_t i = 0; i < sim->nstored; i++) {
        weir_buf_fini(&sim->stored[i].manifest);
    }
    weir_meta_destroy(sim->meta);
    weir_free(sim);
}

/* --- TaskManagers ----------------------------------------------------------------------------------------------------- */
static inline struct weir_task_report report_of(const struct fake_task *task, bool ended)
{
    return (struct weir_task_report){.job_id = weir_slice_str(task->job),
                                     .attempt = task->attempt,
                                     .vertex = task->vertex,
                                     .subtask = task->subtask,
                                     .state = task->state,
                                     .failure_rc = task->rc,
                                     .failure_text = "boom",
                                     .ended = ended};
}

static inline void end_task(struct sim *sim, struct fake_task *task, enum weir_task_state state)
{
    task->state = state;
    task->rc = sim->failure_rc;
    for (uint32_t i = 0; state == WEIR_TASK_FINISHED && task->vertex == 1 && i < JOBS; i++) {
        if (strcmp(job_id(i), task->job) == 0 && task->attempt > sim->sink_finished[i][task->subtask]) {
            sim->sink_finished[i][task->subtask] = task->attempt;
        }
        if (strcmp(job_id(i), task->job) == 0 && task->drains && task->restored_id > sim->sink_drained[i][task->subtask]) {
            sim->sink_drained[i][task->subtask] = task->restored_id;
        }
    }
}

static inline void tm_start(struct fake_tm *tm, uint32_t i)
{
    uint32_t incarnation = tm->incarnation + 1;
    *tm = (struct fake_tm){.alive = true, .incarnation = incarnation};
    (void)snprintf(tm->id, sizeof(tm->id), "tm-%u-%u", i, incarnation);
}

static inline void kill_tm(struct sim *sim, uint32_t i)
{
    sim->tms[i].alive = false;
    weir_dispatcher_tm_closed(sim->d, sim->tms[i].id, sim->now);
}

static inline void tm_talk(struct sim *sim, struct fake_tm *tm)
{
    struct weir_task_report reports[TM_TASKS];
    for (uint32_t i = 0; i < tm->ntasks; i++) {
        bool hangs = sim->drain_fate == WEIR_TASK_RUNNING || (sim->drain_fate == WEIR_TASK_FAILED && tm->tasks[i].subtask == 1);
        if (tm->tasks[i].drains && tm->tasks[i].state == WEIR_TASK_RUNNING && !hangs) { /* when one fails, the other is to be cancelled */
            end_task(sim, &tm->tasks[i], sim->drain_fate);
        }
        reports[i] = report_of(&tm->tasks[i], sim->input_ended);
    }
    struct weir_error err;
    bool added = false;
    if (!tm->registered) {
        struct weir_tm_info info = {.id = tm->id, .rpc_address = "tcp://h:1", .data_address = "h:2", .version = "0", .slots = sim->tm_slots};
        tm->registered = weir_dispatcher_register(sim->d, &info, reports, tm->ntasks, sim->now, &added, &err) == WEIR_OK;
    } else if (weir_dispatcher_heartbeat(sim->d, tm->id, sim->epoch, 0, reports, tm->ntasks, sim->now, &err) != WEIR_OK) {
        tm->registered = false;
    }
    tm->next_heartbeat_ms = sim->now.mono_ms + HEARTBEAT_MS;
    drain_effects(sim);
}

static inline struct fake_tm *tm_of(struct sim *sim, const char *id)
{
    for (uint32_t i = 0; i < TMS; i++) {
        if (sim->tms[i].alive && strcmp(sim->tms[i].id, id) == 0) {
            return &sim->tms[i];
        }
    }
    return NULL;
}

/* (J1) as the cluster sees it: no two attempts of a job's region have living tasks on TaskManagers that count. Regions of attempts before all
 * began anew may have been others. */
static inline void check_one_attempt(struct sim *sim, const struct weir_job *job, uint32_t base, uint32_t region, uint32_t attempt)
{
    for (uint32_t i = 0; i < TMS; i++) {
        const struct fake_tm *tm = &sim->tms[i];
        for (uint32_t k = 0; tm->alive && k < tm->ntasks; k++) {
            const struct fake_task *task = &tm->tasks[k];
            ck_assert(strcmp(task->job, weir_job_id(job)) != 0 || (task->region != region && task->attempt >= base) || task->attempt == attempt ||
                      weir_task_state_terminal(task->state));
        }
    }
}

/* (J5), (M6): what its attempt starts from is what the log said then, and that is the newest still: while a region restarts none completes. */
static inline void check_restore(const struct weir_job *job, const struct weir_meta_job *meta, uint32_t attempt)
{
    const struct weir_ckpt_manifest *restore = weir_job_restore(job, attempt);
    const struct weir_meta_ckpt *newest = weir_meta_ckpt_newest(meta);
    ck_assert_uint_eq(restore == NULL ? 0 : restore->checkpoint_id, newest == NULL ? 0 : newest->id);
}

static inline void take_deploy(struct sim *sim, struct fake_tm *tm, const struct weir_effect *order)
{
    const struct weir_job *job = weir_dispatcher_job(sim->d, weir_slice_str(order->job_id));
    const struct weir_execgraph *exec = job == NULL ? NULL : weir_job_exec(job);
    const struct weir_meta_job *meta = weir_meta_job(sim->meta, weir_slice_str(order->job_id));
    bool has[2 * TMS] = {false}; /* by region: it, or its tombstone */
    for (uint32_t i = 0; exec != NULL && i < tm->ntasks; i++) {
        const struct fake_task *task = &tm->tasks[i];
        if (strcmp(task->job, order->job_id) == 0 && task->attempt >= order->attempt) {
            has[task->region] = true;
        }
    }
    for (uint32_t i = 0; exec != NULL && i < exec->ntasks; i++) {
        if (weir_job_deploys(job, i, order->attempt, tm->id) && !has[exec->regions->of[i]]) {
            uint32_t region = exec->regions->of[i];
            ck_assert_uint_eq(weir_meta_region_attempt(meta, region), order->attempt);
            ck_assert(weir_meta_region_uses(meta, region, tm->id));
            check_one_attempt(sim, job, meta->base_attempt, region, order->attempt);
            check_restore(job, meta, order->attempt);
            check_run(sim, meta);
            ck_assert_uint_lt(tm->ntasks, TM_TASKS);
            struct fake_task *task = &tm->tasks[tm->ntasks++];
            *task = (struct fake_task){.attempt = order->attempt,
                                       .vertex = exec->tasks[i].vertex,
                                       .subtask = exec->tasks[i].subtask,
                                       .region = region,
                                       .restored_id = meta->restored_ckpt_id,
                                       .state = WEIR_TASK_RUNNING,
                                       .drains = meta->drain_of != 0};
            ck_assert(!task->drains || task->vertex == 1);
            (void)snprintf(task->job, sizeof(task->job), "%s", order->job_id);
        }
    }
}

static inline void take_cancel(struct fake_tm *tm, const struct weir_effect *order)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < tm->ntasks; i++) {
        const struct fake_task *task = &tm->tasks[i];
        bool own = strcmp(task->job, order->job_id) == 0 &&
                   (order->region == WEIR_REGION_ALL || order->region == task->region);
        if (!own || task->attempt > order->attempt) {
            tm->tasks[kept++] = *task;
        } else if (!weir_task_state_terminal(task->state)) {
            tm->tasks[kept] = *task;
            tm->tasks[kept++].state = WEIR_TASK_CANCELED; /* kept, and reported by the next heartbeat */
        }
    }
    tm->ntasks = kept;
}

/* --- checkpoints ------------------------------------------------------------------------------------------------------ */
static inline struct stored *stored_of(struct sim *sim, const char *job, uint64_t id)
{
    for (uint32_t i = 0; i < sim->nstored; i++) {
        if (sim->stored[i].id == id && strcmp(sim->stored[i].job, job) == 0) {
            return &sim->stored[i];
        }
    }
    return NULL;
}

static inline void take_trigger(struct sim *sim, struct fake_tm *tm, const struct weir_effect *order)
{
    for (uint32_t i = 0; i < tm->ntasks; i++) {
        const struct fake_task *task = &tm->tasks[i];
        if (strcmp(task->job, order->job_id) == 0 && task->attempt <= order->attempt && task->state == WEIR_TASK_RUNNING) {
            struct weir_ckpt_report report = {.job_id = weir_slice_str(task->job), .attempt = task->attempt, .checkpoint_id = order->checkpoint_id};
            report.handle = (struct weir_ckpt_handle){.vertex = task->vertex, .subtask = task->subtask, .path = "/c/state", .bytes = 10, .hash = task->attempt};
            report.ended = sim->input_ended;
            report.declined = weir_rand_below(&sim->rand, 30) == 0 ? "declined" : NULL;
            struct weir_error err;
            enum weir_rc rc = weir_dispatcher_ckpt_report(sim->d, tm->id, sim->epoch, &report, sim->now, &err);
            ck_assert(rc == WEIR_OK || rc == WEIR_STALE || rc == WEIR_NOT_FOUND || rc == WEIR_REFUSED);
        }
    }
}

static inline void store_manifest(struct sim *sim, struct weir_effect *order)
{
    struct stored *to = stored_of(sim, order->job_id, order->checkpoint_id);
    if (to == NULL) {
        ck_assert_uint_lt(sim->nstored, STORED);
        to = &sim->stored[sim->nstored++];
        *to = (struct stored){.id = order->checkpoint_id};
        (void)snprintf(to->job, sizeof(to->job), "%s", order->job_id);
    }
    to->manifest.len = 0;
    weir_buf_put_slice(&to->manifest, weir_buf_slice(&order->bytes));
}

static inline void load_manifest(struct sim *sim, const struct weir_effect *order, enum weir_rc rc)
{
    const struct stored *stored = stored_of(sim, order->job_id, order->checkpoint_id);
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_ckpt_manifest manifest;
    struct weir_error err;
    const struct weir_meta_job *job = weir_meta_job(sim->meta, weir_slice_str(order->job_id));
    ck_assert(stored != NULL || (job != NULL && weir_meta_terminal(job->state))); /* nothing referenced was removed */
    if (stored != NULL) {
        ck_assert_int_eq(weir_ckpt_decode(weir_buf_slice(&stored->manifest), arena, &manifest, &err), WEIR_OK);
    }
    rc = stored == NULL ? WEIR_NOT_FOUND : rc;
    weir_dispatcher_ckpt_loaded(sim->d, weir_slice_str(order->job_id), order->attempt, rc, rc == WEIR_OK ? &manifest : NULL, "/c/_metadata is bad", sim->now);
    sim->restores += rc == WEIR_OK;
    weir_arena_destroy(arena);
}

static inline void sweep_manifests(struct sim *sim, const struct weir_effect *order)
{
    for (uint32_t i = sim->nstored; i-- > 0;) {
        struct stored *at = &sim->stored[i];
        bool kept = strcmp(at->job, order->job_id) != 0 || at->id >= order->below;
        for (size_t k = 0; k < order->bytes.len; k += 8) {
            kept = kept || weir_le_get_u64(order->bytes.data + k) == at->id;
        }
        if (!kept) {
            weir_buf_fini(&at->manifest);
            *at = sim->stored[--sim->nstored];
        }
    }
}

static inline void do_ckpt(struct sim *sim, struct weir_effect *order, struct fake_tm *tm, bool lose)
{
    struct weir_slice job = weir_slice_str(order->job_id);
    enum weir_rc rc = lose ? WEIR_IO : WEIR_OK;
    if (order->kind == WEIR_EFFECT_CKPT_PREPARE) {
        weir_dispatcher_ckpt_prepared(sim->d, job, order->checkpoint_id, rc, "disk", sim->now);
    } else if (order->kind == WEIR_EFFECT_CKPT_STORE) {
        store_manifest(sim, order);
        weir_dispatcher_ckpt_stored(sim->d, job, order->checkpoint_id, rc, "/c/_metadata", order->bytes.len, 1, "disk", sim->now);
    } else if (order->kind == WEIR_EFFECT_CKPT_LOAD) {
        load_manifest(sim, order, rc == WEIR_OK ? sim->load_rc : rc);
    } else if (order->kind == WEIR_EFFECT_CKPT_SWEEP) {
        if (!lose) {
            sweep_manifests(sim, order);
        }
        if (order->below == UINT64_MAX) {
            weir_dispatcher_swept(sim->d, job, sim->now);
        }
    } else if (order->kind == WEIR_EFFECT_TRIGGER || order->kind == WEIR_EFFECT_NOTIFY) {
        if (tm != NULL && order->kind == WEIR_EFFECT_TRIGGER) {
            take_trigger(sim, tm, order);
        }
        weir_dispatcher_ckpt_told(sim->d, job, order->attempt, order->checkpoint_id, order->kind == WEIR_EFFECT_TRIGGER,
                                  tm == NULL ? WEIR_CLOSED : WEIR_OK, "closed", sim->now);
    }
}

/* Delivers order i, or loses it with its connection. */
static inline void deliver(struct sim *sim, uint32_t i, bool lose)
{
    struct weir_effect *order = sim->orders[i];
    memmove(&sim->orders[i], &sim->orders[i + 1], (sim->norders - i - 1) * sizeof(sim->orders[0]));
    sim->norders--;
    struct fake_tm *tm = lose ? NULL : tm_of(sim, order->tm_id);
    struct weir_slice job = weir_slice_str(order->job_id);
    static const struct weir_ha_split splits[] = {{{(const uint8_t *)"s", 1}, {NULL, 0}}};
    switch (order->kind) {
    case WEIR_EFFECT_DEPLOY:
        if (tm != NULL) {
            take_deploy(sim, tm, order);
        }
        weir_dispatcher_deployed(sim->d, job, order->attempt, order->tm_id, tm == NULL ? WEIR_CLOSED : WEIR_OK, "closed", sim->now);
        break;
    case WEIR_EFFECT_CANCEL:
        if (tm != NULL) {
            take_cancel(tm, order);
        }
        break;
    case WEIR_EFFECT_ENUMERATE:
        if (tm != NULL && sim->enumerate_failures > 0) {
            sim->enumerate_failures--;
            weir_dispatcher_enumerated(sim->d, job, order->vertex, sim->enumerate_rc, NULL, 0, "no such directory", sim->now);
        } else {
            weir_dispatcher_enumerated(sim->d, job, order->vertex, tm == NULL ? WEIR_CLOSED : WEIR_OK, splits, 1, "closed", sim->now);
        }
        break;
    case WEIR_EFFECT_TRIGGER:
    case WEIR_EFFECT_NOTIFY:
    case WEIR_EFFECT_CKPT_PREPARE:
    case WEIR_EFFECT_CKPT_STORE:
    case WEIR_EFFECT_CKPT_LOAD:
    case WEIR_EFFECT_CKPT_SWEEP:
        do_ckpt(sim, order, tm, lose);
        break;
    case WEIR_EFFECT_PROPOSE:
    case WEIR_EFFECT_TM_LOST:
    case WEIR_EFFECT_ANSWER:
        ck_abort();
    }
    weir_effect_destroy(order);
    drain_effects(sim);
}

static inline void advance(struct sim *sim, int64_t ms)
{
    sim->now.mono_ms += ms;
    sim->now.wall_ms += ms;
    weir_dispatcher_tick(sim->d, sim->now);
    drain_effects(sim);
    for (uint32_t i = 0; i < TMS; i++) {
        if (sim->tms[i].alive && (!sim->tms[i].registered || sim->tms[i].next_heartbeat_ms <= sim->now.mono_ms)) {
            tm_talk(sim, &sim->tms[i]);
        }
    }
}

static inline void set_task(struct sim *sim, struct fake_tm *tm, struct fake_task *task, enum weir_task_state state)
{
    end_task(sim, task, state);
    struct weir_task_report report = report_of(task, sim->input_ended);
    struct weir_error err;
    enum weir_rc rc = weir_dispatcher_task_state(sim->d, tm->id, sim->epoch, &report, sim->now, &err);
    ck_assert(rc == WEIR_OK || rc == WEIR_STALE || rc == WEIR_NOT_FOUND || rc == WEIR_REFUSED);
    drain_effects(sim);
}

static inline void set_tasks(struct sim *sim, enum weir_task_state state, uint32_t count)
{
    for (uint32_t i = 0; i < TMS; i++) {
        struct fake_tm *tm = &sim->tms[i];
        for (uint32_t k = 0; tm->alive && tm->registered && k < tm->ntasks && count > 0; k++) {
            if (tm->tasks[k].state == WEIR_TASK_RUNNING) {
                set_task(sim, tm, &tm->tasks[k], state);
                count--;
            }
        }
    }
}

static inline void submit(struct sim *sim, uint32_t job, const char *graph)
{
    const uint64_t hash[2] = {job, 1};
    char name[16];
    (void)snprintf(name, sizeof(name), "job-%u", job);
    weir_dispatcher_submit(sim->d, weir_slice_str(job_id(job)), name, hash, weir_slice_str(graph), sim->now, on_answer, sim);
    drain_effects(sim);
}

static inline void cancel_as(struct sim *sim, uint32_t job, bool skip_drain)
{
    weir_dispatcher_cancel(sim->d, weir_slice_str(job_id(job)), skip_drain, sim->now, on_answer, sim);
    drain_effects(sim);
}

static inline void cancel(struct sim *sim, uint32_t job)
{
    cancel_as(sim, job, false);
}

/* All well: everything is delivered and committed for a while. */
static inline void run_quietly(struct sim *sim, int steps)
{
    for (int i = 0; i < steps; i++) {
        commit_all(sim);
        while (sim->norders > 0) {
            deliver(sim, 0, false);
        }
        commit_all(sim);
        advance(sim, 100);
    }
}

/* One thing that is under way happens, else time passes. doubt: of so many proposals the fate of one is unknown; 0: of none. */
static inline void step_doubtful(struct sim *sim, uint32_t doubt, int64_t ms)
{
    if (sim->nproposals > 0 && doubt > 0 && weir_rand_below(&sim->rand, doubt) == 0) {
        decide(sim, 0, weir_rand_below(&sim->rand, 2) == 0 ? UNKNOWN_LATE : UNKNOWN_LOST);
    } else if (sim->nproposals > 0) {
        decide(sim, 0, COMMIT);
    } else if (sim->nlate > 0 && weir_rand_below(&sim->rand, 2) == 0) {
        struct weir_buf *late = &sim->late[--sim->nlate];
        commit(sim, weir_buf_slice(late));
        weir_buf_fini(late);
        drain_effects(sim);
    } else if (sim->norders > 0) {
        deliver(sim, 0, false);
    } else {
        advance(sim, ms);
    }
}

static inline void step(struct sim *sim)
{
    step_doubtful(sim, 0, 25);
}

static inline enum weir_ha_kind proposed_kind(const struct sim *sim, uint32_t i)
{
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_ha_record record;
    struct weir_error err;
    ck_assert_int_eq(weir_ha_decode(weir_buf_slice(&sim->proposals[i]->bytes), arena, &record, &err), WEIR_OK);
    weir_arena_destroy(arena);
    return record.kind;
}

/* Until a record of that kind is proposed and nothing else is. */
static inline void run_until_proposed(struct sim *sim, enum weir_ha_kind kind)
{
    for (int i = 0; i < 1000 && !(sim->nproposals == 1 && proposed_kind(sim, 0) == kind); i++) {
        step(sim);
    }
    ck_assert(sim->nproposals == 1 && proposed_kind(sim, 0) == kind);
}

/* The first `tms` TaskManagers register, and job 0 is submitted. */
static inline void begin_job(struct sim *sim, const char *graph, uint32_t tms)
{
    commit_all(sim);
    for (uint32_t i = 0; i < tms; i++) {
        tm_start(&sim->tms[i], i);
        tm_talk(sim, &sim->tms[i]);
    }
    submit(sim, 0, graph);
    run_quietly(sim, 3);
}

static inline struct sim *running_sim(const char *graph, uint32_t tms)
{
    struct sim *sim = sim_create(1);
    begin_job(sim, graph, tms);
    ck_assert_int_eq(state_of(sim, 0), WEIR_JOB_RUNNING);
    return sim;
}

#endif
