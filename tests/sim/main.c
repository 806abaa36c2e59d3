/*
 * weir-sim: the simulations, from seeds.
 *
 *   weir-sim --seeds A..B [cluster] [raft] [engine]   a range of each, without names of all; each in a process of its own, several at a time
 *   weir-sim --seed N cluster                         one, with its trace on standard error
 *
 * Ends with `N passed, N failed`, for tests/run_all.sh.
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "tests/sim/cluster/cluster.h"
#include "tests/sim/engine.h"
#include "tests/sim/raft_sim.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SEED_TIMEOUT_S = 600, FAILURES_SHOWN = 10, HITS_MAX = 1024, COUNTS_MAX = 7, WORKERS = 2 };

struct options {
    uint64_t first, last, step;
    bool one, ledger, until_failure, files_unchecked;
    uint32_t jobmanagers, workers;
    enum weir_sim_sabotage sabotage;
};

/* What a seed of any simulation comes to; shared with the process that runs it. */
struct outcome {
    bool ok;
    char why[1200];
    uint64_t steps;
    int64_t virtual_ns;
    uint64_t counts[COUNTS_MAX];
    uint32_t hits[HITS_MAX];
};

struct simulation {
    const char *name;
    void (*run)(const struct options *options, uint64_t seed, int trace_fd, struct outcome *out);
    const char *counts[COUNTS_MAX]; /* names */
    /* The ledger: so many lines, each with its name; NULL: it cannot be reached. */
    uint32_t nhits;
    const char *(*hit_name)(uint32_t i, char *buf, size_t buf_bytes);
};

/* --- the simulations ----------------------------------------------------------------------------------------------------- */

static void run_cluster(const struct options *options, uint64_t seed, int trace_fd, struct outcome *out)
{
    struct weir_sim_case what = {.seed = seed,
                                 .jobmanagers = options->jobmanagers,
                                 .sabotage = options->sabotage,
                                 .files_unchecked = options->files_unchecked,
                                 .trace_fd = trace_fd};
    struct weir_sim_result result;
    weir_sim_cluster_run(&what, &result);
    out->ok = result.ok;
    (void)snprintf(out->why, sizeof(out->why), "%s", result.why);
    out->steps = result.steps;
    out->virtual_ns = result.virtual_ns;
    out->counts[0] = result.toll.faults;
    out->counts[1] = result.leaders;
    out->counts[2] = result.restarts;
    out->counts[3] = result.checkpoints;
    out->counts[4] = result.shrunk;
    out->counts[5] = result.grown;
    out->counts[6] = result.forgotten;
    memcpy(out->hits, result.toll.hits, sizeof(result.toll.hits));
}

static const char *cluster_hit(uint32_t i, char *buf, size_t buf_bytes)
{
    enum weir_sim_fault fault = (enum weir_sim_fault)(i / WEIR_SIM_PHASE_COUNT);
    enum weir_sim_phase phase = (enum weir_sim_phase)(i % WEIR_SIM_PHASE_COUNT);
    if (!weir_sim_can_meet(fault, phase)) {
        return NULL;
    }
    (void)snprintf(buf, buf_bytes, "%s, when %s", weir_sim_fault_text(fault), weir_sim_phase_text(phase));
    return buf;
}

static void run_raft(const struct options *options, uint64_t seed, int trace_fd, struct outcome *out)
{
    struct weir_raft_sim_case what = {.seed = seed, .trace_fd = trace_fd};
    struct weir_raft_sim_result result;
    (void)options;
    weir_raft_sim_run(&what, &result);
    out->ok = result.ok;
    (void)snprintf(out->why, sizeof(out->why), "%s", result.ok ? "" : result.err.text);
    out->steps = result.steps;
    out->virtual_ns = (int64_t)result.virtual_ms * 1000000;
    out->counts[0] = result.elections;
    out->counts[1] = result.committed;
    out->counts[2] = result.messages;
    out->counts[3] = result.restarts;
    memcpy(out->hits, result.hits, sizeof(result.hits));
}

static const char *raft_hit(uint32_t i, char *buf, size_t buf_bytes)
{
    enum weir_raft_sim_fault fault = (enum weir_raft_sim_fault)(i / WEIR_RAFT_SIM_PHASES);
    enum weir_raft_sim_phase phase = (enum weir_raft_sim_phase)(i % WEIR_RAFT_SIM_PHASES);
    if (!weir_raft_sim_reachable(fault, phase)) {
        return NULL;
    }
    (void)snprintf(buf, buf_bytes, "%s, when %s", weir_raft_sim_fault_name(fault), weir_raft_sim_phase_name(phase));
    return buf;
}

static void run_engine(const struct options *options, uint64_t seed, int trace_fd, struct outcome *out)
{
    struct weir_engine_case what = {.seed = seed, .trace_fd = trace_fd};
    struct weir_engine_result result;
    (void)options;
    weir_engine_run(&what, &result);
    out->ok = result.ok;
    (void)snprintf(out->why, sizeof(out->why), "%s", result.ok ? "" : result.err.text);
    out->counts[0] = result.crashes;
    out->counts[1] = result.checkpoints;
    out->counts[2] = result.restored;
    memcpy(out->hits, result.hits, sizeof(result.hits));
}

static const char *engine_hit(uint32_t i, char *buf, size_t buf_bytes)
{
    (void)snprintf(buf, buf_bytes, "a crash, %s", weir_engine_phase_name((enum weir_engine_phase)i));
    return buf;
}

_Static_assert(WEIR_SIM_FAULT_COUNT * WEIR_SIM_PHASE_COUNT <= HITS_MAX && WEIR_RAFT_SIM_FAULTS * WEIR_RAFT_SIM_PHASES <= HITS_MAX, "ledgers fit");

static const struct simulation simulations[] = {
    {"cluster",
     run_cluster,
     {"faults", "leaders", "attempts", "checkpoints", "jobs shrunk", "jobs grown", "jobs forgotten"},
     WEIR_SIM_FAULT_COUNT * WEIR_SIM_PHASE_COUNT,
     cluster_hit},
    {"raft", run_raft, {"elections", "committed", "messages", "restarts"}, WEIR_RAFT_SIM_FAULTS * WEIR_RAFT_SIM_PHASES, raft_hit},
    {"engine", run_engine, {"crashes", "checkpoints", "attempts restored"}, WEIR_ENGINE_PHASES, engine_hit},
};

enum { SIMULATIONS = sizeof(simulations) / sizeof(simulations[0]) };

/* --- seeds in processes -------------------------------------------------------------------------------------------------- */

struct worker {
    pid_t pid; /* 0: idle */
    uint64_t seed;
    struct outcome *outcome;
};

struct sum {
    uint64_t seeds, failed, steps;
    int64_t virtual_ns;
    uint64_t counts[COUNTS_MAX];
    uint64_t hits[HITS_MAX];
};

static struct outcome *share(void)
{
    void *shared = mmap(NULL, sizeof(struct outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    weir_assert(shared != MAP_FAILED);
    return shared;
}

static void begin(struct worker *worker, const struct simulation *simulation, const struct options *options, uint64_t seed, int trace_fd)
{
    worker->seed = seed;
    memset(worker->outcome, 0, sizeof(*worker->outcome));
    (void)fflush(NULL);
    worker->pid = fork();
    weir_assert(worker->pid >= 0);
    if (worker->pid == 0) {
        (void)alarm(SEED_TIMEOUT_S);
        simulation->run(options, seed, trace_fd, worker->outcome);
        _exit(EXIT_SUCCESS);
    }
}

static void judge(struct outcome *outcome, int status)
{
    if (status != 0) {
        outcome->ok = false;
        (void)snprintf(outcome->why, sizeof(outcome->why), "the process ended with %s %d", WIFSIGNALED(status) ? "signal" : "status",
                       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
}

static void add(struct sum *sum, const struct outcome *outcome)
{
    sum->seeds++;
    sum->failed += !outcome->ok;
    sum->steps += outcome->steps;
    sum->virtual_ns += outcome->virtual_ns;
    for (int i = 0; i < COUNTS_MAX; i++) {
        sum->counts[i] += outcome->counts[i];
    }
    for (int i = 0; i < HITS_MAX; i++) {
        sum->hits[i] += outcome->hits[i];
    }
}

static void end(const struct simulation *simulation, struct worker *workers, uint32_t count, struct sum *sum)
{
    int status = 0;
    pid_t pid = wait(&status);
    for (uint32_t i = 0; i < count; i++) {
        if (workers[i].pid != pid) {
            continue;
        }
        workers[i].pid = 0;
        judge(workers[i].outcome, status);
        add(sum, workers[i].outcome);
        if (!workers[i].outcome->ok && sum->failed <= FAILURES_SHOWN) {
            (void)printf("%s, seed %" PRIu64 ": %s\n", simulation->name, workers[i].seed, workers[i].outcome->why);
        }
    }
}

static double now_s(void)
{
    struct timeval now;
    (void)gettimeofday(&now, NULL);
    return (double)now.tv_sec + (double)now.tv_usec / 1e6;
}

/* How many lines that can be reached were not. */
static uint32_t check_ledger(const struct simulation *simulation, const struct sum *sum, bool print)
{
    uint32_t missing = 0;
    char name[256];
    for (uint32_t i = 0; i < simulation->nhits; i++) {
        if (sum->hits[i] == 0 && simulation->hit_name(i, name, sizeof(name)) != NULL) {
            missing++;
            if (print) {
                (void)printf("%s: never reached: %s\n", simulation->name, name);
            }
        }
    }
    return missing;
}

static void print_counts(const struct simulation *simulation, const uint64_t *counts)
{
    for (int i = 0; i < COUNTS_MAX && simulation->counts[i] != NULL; i++) {
        (void)printf(", %" PRIu64 " %s", counts[i], simulation->counts[i]);
    }
}

static void run_range(const struct simulation *simulation, const struct options *options, uint64_t *passed, uint64_t *failed)
{
    struct worker *workers = weir_calloc(options->workers, sizeof(*workers));
    struct sum sum = {0};
    double began_s = now_s();
    uint32_t running = 0;
    for (uint32_t i = 0; i < options->workers; i++) {
        workers[i].outcome = share();
    }
    uint64_t last = options->last, farthest = options->ledger ? last + (last - options->first + 1) : last;
    for (uint64_t next = options->first; next <= last || running > 0;) {
        for (uint32_t i = 0; i < options->workers && next <= last; i++) {
            if (workers[i].pid == 0) {
                begin(&workers[i], simulation, options, next, -1);
                next += options->step;
                running++;
            }
        }
        end(simulation, workers, options->workers, &sum);
        running--;
        next = options->until_failure && sum.failed > 0 ? last + 1 : next;
        if (next > last && last < farthest && check_ledger(simulation, &sum, false) > 0) {
            last += options->step;
        }
    }
    uint32_t missing = options->ledger ? check_ledger(simulation, &sum, true) : 0;
    (void)printf("%s: %" PRIu64 " seeds, %" PRIu64 " failed, %" PRIu64 " steps, %.2f virtual hours", simulation->name, sum.seeds, sum.failed, sum.steps,
                 (double)sum.virtual_ns / 3.6e12);
    print_counts(simulation, sum.counts);
    (void)printf(", %.1f seeds/s\n", (double)sum.seeds / (now_s() - began_s));
    *passed += sum.seeds - sum.failed;
    *failed += sum.failed + missing;
    weir_free(workers);
}

static int run_one(const struct simulation *simulation, const struct options *options)
{
    struct worker worker = {.outcome = share()};
    int status = 0;
    begin(&worker, simulation, options, options->first, STDERR_FILENO);
    (void)waitpid(worker.pid, &status, 0);
    judge(worker.outcome, status);
    (void)printf("%s, seed %" PRIu64 ": %s, %" PRIu64 " steps, %.3f s virtual", simulation->name, options->first,
                 worker.outcome->ok ? "right" : worker.outcome->why, worker.outcome->steps, (double)worker.outcome->virtual_ns / 1e9);
    print_counts(simulation, worker.outcome->counts);
    (void)printf("\n");
    return worker.outcome->ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- the command line ------------------------------------------------------------------------------------------------------ */

static bool parse_sabotage(const char *text, enum weir_sim_sabotage *out)
{
    for (int i = 0; i < WEIR_SIM_SABOTAGE_COUNT; i++) {
        if (strcmp(text, weir_sim_sabotage_name((enum weir_sim_sabotage)i)) == 0) {
            *out = (enum weir_sim_sabotage)i;
            return true;
        }
    }
    return false;
}

static const char usage[] =
    "weir-sim [--seeds A..B [--step N] | --seed N] [--jobmanagers N] [--sabotage NAME] [--files-unchecked] [--ledger] [--workers N] [cluster] [raft] [engine]\n"
    "  --seeds A..B     these seeds (1..20) of each simulation named, or of all\n"
    "  --step N         every Nth of them\n"
    "  --seed N         one, with its trace on standard error (cluster, unless another is named)\n"
    "  --jobmanagers N  in the cluster; without it the seed says\n"
    "  --sabotage NAME  breaks a protocol on purpose: the run must fail\n"
    "  --files-unchecked  what the files of a committed checkpoint lack is to show when they are read\n"
    "  --until-failure  ends with the first seed that fails\n"
    "  --ledger         fails when a fault never met a phase of the protocols, not in as many seeds again behind B; for thousands of seeds\n";

static bool parse(int argc, char **argv, struct options *options)
{
    static const struct option longs[] = {{"seed", required_argument, NULL, 's'},        {"seeds", required_argument, NULL, 'r'},
                                          {"jobmanagers", required_argument, NULL, 'j'}, {"sabotage", required_argument, NULL, 'b'},
                                          {"ledger", no_argument, NULL, 'l'},            {"workers", required_argument, NULL, 'w'},
                                          {"until-failure", no_argument, NULL, 'u'},     {"step", required_argument, NULL, 'n'},
                                          {"files-unchecked", no_argument, NULL, 'f'},   {0}};
    int c;
    bool ok = true;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (c == 's') {
            options->one = true;
            ok &= sscanf(optarg, "%" SCNu64, &options->first) == 1;
        } else if (c == 'r') {
            ok &= sscanf(optarg, "%" SCNu64 "..%" SCNu64, &options->first, &options->last) == 2;
        } else if (c == 'j') {
            ok &= sscanf(optarg, "%u", &options->jobmanagers) == 1 && options->jobmanagers <= 5;
        } else if (c == 'n') {
            ok &= sscanf(optarg, "%" SCNu64, &options->step) == 1 && options->step > 0;
        } else if (c == 'w') {
            ok &= sscanf(optarg, "%u", &options->workers) == 1 && options->workers > 0;
        } else if (c == 'b') {
            ok &= parse_sabotage(optarg, &options->sabotage);
        } else if (c == 'f') {
            options->files_unchecked = true;
        } else if (c == 'u') {
            options->until_failure = true;
        } else if (c == 'l') {
            options->ledger = true;
        } else {
            ok = false;
        }
    }
    return ok;
}

static bool named(int argc, char **argv, const char *name)
{
    bool found = optind == argc;
    for (int i = optind; i < argc; i++) {
        found |= strcmp(argv[i], name) == 0;
    }
    return found;
}

/* A name that is mistyped, or a range without seeds, would pass. */
static bool runs_something(int argc, char **argv, const struct options *options)
{
    bool ok = options->one || options->first <= options->last;
    for (int i = optind; i < argc; i++) {
        bool known = false;
        for (int k = 0; k < SIMULATIONS; k++) {
            known |= strcmp(argv[i], simulations[k].name) == 0;
        }
        ok &= known;
    }
    return ok;
}

int main(int argc, char **argv)
{
    struct options options = {.first = 1, .last = 20, .step = 1, .workers = WORKERS};
    uint64_t passed = 0, failed = 0;
    if (!parse(argc, argv, &options) || !runs_something(argc, argv, &options)) {
        (void)fputs(usage, stderr);
        return 2;
    }
    for (int i = 0; i < SIMULATIONS; i++) {
        if (named(argc, argv, simulations[i].name) && options.one) {
            return run_one(&simulations[i], &options);
        }
        if (named(argc, argv, simulations[i].name)) {
            run_range(&simulations[i], &options, &passed, &failed);
        }
    }
    (void)printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failed);
    return failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
