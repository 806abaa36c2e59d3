/*
 * weir-sim: the simulations, from seeds.
 *
 *   weir-sim [--seeds A..B] [--jobmanagers N] [--sabotage NAME] [--ledger] cluster
 *   weir-sim --seed N cluster     one, with its trace on standard error
 *
 * Each seed runs in a process of its own, several at a time; a failing one is run again with its trace.
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "tests/sim/cluster/cluster.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CRASH_TEXT = 64, SEED_TIMEOUT_S = 120, FAILURES_SHOWN = 10 };

struct options {
    uint64_t first, last;
    bool one;
    uint32_t jobmanagers;
    enum weir_sim_sabotage sabotage;
    uint32_t workers;
    bool ledger;
};

struct sum {
    uint64_t seeds, failed, steps, rows, faults, checkpoints, restarts, leaders;
    int64_t virtual_ns;
    uint64_t hits[WEIR_SIM_FAULT_COUNT][WEIR_SIM_PHASE_COUNT];
};

static void run_here(const struct options *options, uint64_t seed, int trace_fd, struct weir_sim_result *shared)
{
    struct weir_sim_case what = {.seed = seed, .jobmanagers = options->jobmanagers, .sabotage = options->sabotage, .trace_fd = trace_fd};
    (void)alarm(SEED_TIMEOUT_S);
    if (trace_fd < 0) {
        (void)!freopen("/dev/null", "w", stdout);
    }
    weir_sim_cluster_run(&what, shared);
    _exit(EXIT_SUCCESS);
}

static struct weir_sim_result *share(void)
{
    void *shared = mmap(NULL, sizeof(struct weir_sim_result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    weir_assert(shared != MAP_FAILED);
    return shared;
}

struct worker {
    pid_t pid; /* 0: idle */
    uint64_t seed;
    struct weir_sim_result *shared;
};

static void judge(struct weir_sim_result *result, int status)
{
    if (status != 0) {
        result->ok = false;
        (void)snprintf(result->why, sizeof(result->why), "the process ended with %s %d", WIFSIGNALED(status) ? "signal" : "status",
                       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
}

static void add(struct sum *sum, const struct weir_sim_result *result)
{
    sum->seeds++;
    sum->failed += !result->ok;
    sum->steps += result->steps;
    sum->rows += result->rows;
    sum->faults += result->faults;
    sum->checkpoints += result->checkpoints;
    sum->restarts += result->restarts;
    sum->leaders += result->leaders;
    sum->virtual_ns += result->virtual_ns;
    for (int f = 0; f < WEIR_SIM_FAULT_COUNT; f++) {
        for (int p = 0; p < WEIR_SIM_PHASE_COUNT; p++) {
            sum->hits[f][p] += result->hits[f][p];
        }
    }
}

static void begin(struct worker *worker, const struct options *options, uint64_t seed)
{
    worker->seed = seed;
    memset(worker->shared, 0, sizeof(*worker->shared));
    (void)fflush(NULL);
    worker->pid = fork();
    weir_assert(worker->pid >= 0);
    if (worker->pid == 0) {
        run_here(options, seed, -1, worker->shared);
    }
}

static void end(struct worker *workers, uint32_t count, struct sum *sum)
{
    int status = 0;
    pid_t pid = wait(&status);
    for (uint32_t i = 0; i < count; i++) {
        if (workers[i].pid == pid) {
            workers[i].pid = 0;
            judge(workers[i].shared, status);
            add(sum, workers[i].shared);
            if (!workers[i].shared->ok && sum->failed <= FAILURES_SHOWN) {
                (void)printf("seed %" PRIu64 ": %s\n", workers[i].seed, workers[i].shared->why);
            }
        }
    }
}

static int print_ledger(const struct sum *sum, bool all)
{
    int missing = 0;
    for (int f = 0; f < WEIR_SIM_FAULT_COUNT; f++) {
        for (int p = 0; p < WEIR_SIM_PHASE_COUNT; p++) {
            missing += sum->hits[f][p] == 0;
            if (all || sum->hits[f][p] == 0) {
                (void)printf("  %5" PRIu64 "  %s, when %s\n", sum->hits[f][p], weir_sim_fault_text((enum weir_sim_fault)f),
                             weir_sim_phase_text((enum weir_sim_phase)p));
            }
        }
    }
    return missing;
}

static double now_s(void)
{
    struct timeval now;
    (void)gettimeofday(&now, NULL);
    return (double)now.tv_sec + (double)now.tv_usec / 1e6;
}

static int run_range(const struct options *options)
{
    struct worker *workers = weir_calloc(options->workers, sizeof(*workers));
    struct sum sum = {0};
    double began_s = now_s();
    uint64_t next = options->first;
    uint32_t running = 0;
    for (uint32_t i = 0; i < options->workers; i++) {
        workers[i].shared = share();
    }
    while (next <= options->last || running > 0) {
        for (uint32_t i = 0; i < options->workers && next <= options->last; i++) {
            if (workers[i].pid == 0) {
                begin(&workers[i], options, next++);
                running++;
            }
        }
        end(workers, options->workers, &sum);
        running--;
    }
    double took_s = now_s() - began_s;
    int missing = 0;
    if (options->ledger) {
        missing = print_ledger(&sum, false);
        (void)printf("%d pairs of fault and phase were never reached\n", missing);
    }
    (void)printf("cluster: %" PRIu64 " seeds, %" PRIu64 " failed, %" PRIu64 " steps, %.2f virtual hours, %" PRIu64 " faults, %" PRIu64 " leaders, %" PRIu64
                 " attempts, %" PRIu64 " checkpoints, %" PRIu64 " rows, %.1f seeds/s\n",
                 sum.seeds, sum.failed, sum.steps, (double)sum.virtual_ns / 3.6e12, sum.faults, sum.leaders, sum.restarts, sum.checkpoints, sum.rows,
                 (double)sum.seeds / took_s);
    weir_free(workers);
    return sum.failed > 0 || missing > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run_one(const struct options *options)
{
    struct weir_sim_result *shared = share();
    pid_t pid = fork();
    weir_assert(pid >= 0);
    if (pid == 0) {
        run_here(options, options->first, STDERR_FILENO, shared);
    }
    int status = 0;
    (void)waitpid(pid, &status, 0);
    judge(shared, status);
    (void)printf("seed %" PRIu64 ": %s, %" PRIu64 " steps, %.3f s virtual, %u faults, %u leaders, %u attempts, %u checkpoints, %u rows\n", options->first,
                 shared->ok ? "right" : shared->why, shared->steps, (double)shared->virtual_ns / 1e9, shared->faults, shared->leaders, shared->restarts,
                 shared->checkpoints, shared->rows);
    return shared->ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

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

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"seed", required_argument, NULL, 's'},        {"seeds", required_argument, NULL, 'r'},
                                          {"jobmanagers", required_argument, NULL, 'j'}, {"sabotage", required_argument, NULL, 'b'},
                                          {"ledger", no_argument, NULL, 'l'},            {"workers", required_argument, NULL, 'w'},
                                          {0}};
    struct options options = {.first = 1, .last = 20, .workers = 2};
    int c;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 's':
            options.one = true;
            options.first = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            if (sscanf(optarg, "%" SCNu64 "..%" SCNu64, &options.first, &options.last) != 2) {
                (void)fprintf(stderr, "--seeds %s: expected a range such as 1..100\n", optarg);
                return 2;
            }
            break;
        case 'j':
            options.jobmanagers = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'b':
            if (!parse_sabotage(optarg, &options.sabotage)) {
                (void)fprintf(stderr, "--sabotage %s: there is no such one\n", optarg);
                return 2;
            }
            break;
        case 'l':
            options.ledger = true;
            break;
        case 'w':
            options.workers = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        default:
            return 2;
        }
    }
    return options.one ? run_one(&options) : run_range(&options);
}
