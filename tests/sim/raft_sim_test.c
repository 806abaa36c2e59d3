/* Groups of Raft members at random. WEIR_RAFT_SEED=n runs one seed and prints what happens; WEIR_RAFT_SEEDS=first-last many, and counts. */
#include "tests/sim/raft_sim.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *raft_sim_suite(void);

#ifdef WEIR_DEBUG
enum { SEEDS = 60 }; /* sanitizers make it ten times slower */
#else
enum { SEEDS = 200 };
#endif
enum { CONTROL_SEEDS = 300, MANY_SEEDS = 5000, TIMEOUT_S = 1200, TIMEOUT_MANY_S = 86400 };

typedef void run_fn(const struct weir_raft_sim_case *what, struct weir_raft_sim_result *out_result);

/* In a process of its own: an assertion, or a fault of the library, is a finding that names its seed. */
static struct weir_raft_sim_result run(run_fn *fn, uint64_t seed, enum weir_raft_sim_sabotage sabotage, int trace_fd)
{
    struct weir_raft_sim_result *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    (void)fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        if (sabotage != WEIR_RAFT_SIM_HONEST && getenv("WEIR_RAFT_SABOTAGE") == NULL) {
            (void)freopen("/dev/null", "w", stderr); /* it may well die of an assertion */
        }
        struct weir_raft_sim_case what = {.seed = seed, .sabotage = sabotage, .trace_fd = trace_fd};
        fn(&what, shared);
        exit(EXIT_SUCCESS);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    struct weir_raft_sim_result result = *shared;
    (void)munmap(shared, sizeof(*shared));
    if (status != 0) {
        result.ok = false;
        (void)weir_error_set(&result.err, WEIR_INVALID, "the process ended with status %d", status);
    }
    return result;
}

static void add(struct weir_raft_sim_result *sum, const struct weir_raft_sim_result *one)
{
    sum->steps += one->steps;
    sum->elections += one->elections;
    sum->committed += one->committed;
    sum->messages += one->messages;
    sum->restarts += one->restarts;
    sum->virtual_ms += one->virtual_ms;
    for (int f = 0; f < WEIR_RAFT_SIM_FAULTS; f++) {
        for (int p = 0; p < WEIR_RAFT_SIM_PHASES; p++) {
            sum->hits[f][p] += one->hits[f][p];
        }
    }
}

static void print(const struct weir_raft_sim_result *sum)
{
    (void)printf("%lu s, %lu steps, %lu elections, %lu entries committed, %lu messages, %lu starts\n%-20s", sum->virtual_ms / 1000, sum->steps,
                 sum->elections, sum->committed, sum->messages, sum->restarts, "");
    for (int p = 0; p < WEIR_RAFT_SIM_PHASES; p++) {
        (void)printf(" %16s", weir_raft_sim_phase_name((enum weir_raft_sim_phase)p));
    }
    for (int f = 0; f < WEIR_RAFT_SIM_FAULTS; f++) {
        (void)printf("\n%-20s", weir_raft_sim_fault_name((enum weir_raft_sim_fault)f));
        for (int p = 0; p < WEIR_RAFT_SIM_PHASES; p++) {
            (void)printf(" %16u", sum->hits[f][p]);
        }
    }
    (void)printf("\n");
    (void)fflush(stdout);
}

static struct weir_raft_sim_result check_seed(uint64_t seed)
{
    struct weir_raft_sim_result result = run(weir_raft_sim_run, seed, WEIR_RAFT_SIM_HONEST, -1);
    if (!result.ok) {
        ck_abort_msg("seed %lu: %s (WEIR_RAFT_SEED=%lu CK_RUN_SUITE=raft_sim runs it again)", (unsigned long)seed, result.err.text,
                     (unsigned long)seed);
    }
    return result;
}

START_TEST(figure_8_is_safe)
{
    struct weir_raft_sim_result result = run(weir_raft_sim_figure8, 8, WEIR_RAFT_SIM_HONEST, -1);
    ck_assert_msg(result.ok, "%s", result.err.text);
    ck_assert_uint_ge(result.elections, 4);
}
END_TEST

/* Every fault came, and every phase was hit; with very many seeds each of them in each. */
static void check_ledger(const struct weir_raft_sim_result *sum, bool each)
{
    uint32_t by_phase[WEIR_RAFT_SIM_PHASES] = {0};
    for (int f = 0; f < WEIR_RAFT_SIM_FAULTS; f++) {
        uint32_t by_fault = 0;
        for (int p = 0; p < WEIR_RAFT_SIM_PHASES; p++) {
            const char *fault = weir_raft_sim_fault_name((enum weir_raft_sim_fault)f);
            const char *phase = weir_raft_sim_phase_name((enum weir_raft_sim_phase)p);
            bool reachable = weir_raft_sim_reachable((enum weir_raft_sim_fault)f, (enum weir_raft_sim_phase)p);
            ck_assert_msg(sum->hits[f][p] == 0 || reachable, "cannot be: %s while %s", fault, phase);
            ck_assert_msg(sum->hits[f][p] > 0 || !reachable || !each, "never: %s while %s", fault, phase);
            by_fault += sum->hits[f][p];
            by_phase[p] += sum->hits[f][p];
        }
        ck_assert_uint_gt(by_fault, 0);
    }
    for (int p = 0; p < WEIR_RAFT_SIM_PHASES; p++) {
        ck_assert_uint_gt(by_phase[p], 0);
    }
}

/* By hand: WEIR_RAFT_SEEDS=1-10000 */
static bool run_many(const char *range)
{
    struct weir_raft_sim_result sum = {0};
    const char *sabotage = getenv("WEIR_RAFT_SABOTAGE");
    uint64_t last = 0;
    uint64_t first = 0;
    uint32_t wrong = 0;
    if (sscanf(range, "%lu-%lu", &first, &last) != 2) {
        return false;
    }
    for (uint64_t seed = first; seed <= last; seed++) {
        struct weir_raft_sim_result result =
            run(weir_raft_sim_run, seed, sabotage == NULL ? WEIR_RAFT_SIM_HONEST : (enum weir_raft_sim_sabotage)strtoul(sabotage, NULL, 10), -1);
        add(&sum, &result);
        if (!result.ok) {
            wrong++;
            (void)printf("seed %lu: %s\n", seed, result.err.text);
            (void)fflush(stdout);
        }
    }
    (void)printf("%lu seeds, %u wrong: ", last - first + 1, wrong);
    print(&sum);
    if (sabotage == NULL && last - first >= MANY_SEEDS) {
        check_ledger(&sum, true);
    }
    return wrong == 0;
}

START_TEST(groups_stay_safe_and_get_well_again)
{
    struct weir_raft_sim_result sum = {0};
    if (getenv("WEIR_RAFT_SEED") != NULL) {
        struct weir_raft_sim_result result =
            run(weir_raft_sim_run, strtoul(getenv("WEIR_RAFT_SEED"), NULL, 10), WEIR_RAFT_SIM_HONEST, STDERR_FILENO);
        ck_assert_msg(result.ok, "%s", result.err.text);
        return;
    }
    if (getenv("WEIR_RAFT_SEEDS") != NULL) {
        ck_assert(run_many(getenv("WEIR_RAFT_SEEDS")));
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct weir_raft_sim_result result = check_seed(seed);
        add(&sum, &result);
    }
    check_ledger(&sum, false);
}
END_TEST

/* By one of the first seeds. */
static void ck_caught(enum weir_raft_sim_sabotage sabotage)
{
    for (uint64_t seed = 1; seed <= CONTROL_SEEDS; seed++) {
        if (!run(weir_raft_sim_run, seed, sabotage, -1).ok) {
            return;
        }
    }
    ck_abort_msg("%s goes unseen", weir_raft_sim_sabotage_name(sabotage));
}

/* The other workarounds take more seeds than a unit test has time for; raft_core_fixes_test has a schedule for each. */
START_TEST(what_is_wrong_on_purpose_is_caught)
{
    ck_caught(WEIR_RAFT_SIM_ACKS_EARLY);
    ck_caught(WEIR_RAFT_SIM_FORGETS_VOTE);
    ck_caught(WEIR_RAFT_SIM_FORGETS_TERM);
    ck_caught(WEIR_RAFT_SIM_KEEPS_TAIL);
    ck_caught(WEIR_RAFT_SIM_NO_WORKAROUND_1);
    ck_caught(WEIR_RAFT_SIM_NO_WORKAROUND_6);
    ck_caught(WEIR_RAFT_SIM_NO_WORKAROUND_7);
    ck_caught(WEIR_RAFT_SIM_LEADS_UNCONFIRMED);
}
END_TEST

START_TEST(a_seed_says_all_that_happens)
{
    struct weir_raft_sim_result one = check_seed(3);
    struct weir_raft_sim_result other = check_seed(3);
    ck_assert_uint_eq(one.digest, other.digest);
    ck_assert_uint_ne(one.digest, check_seed(4).digest);
}
END_TEST

Suite *raft_sim_suite(void)
{
    Suite *suite = suite_create("raft_sim");
    TCase *tcase = tcase_create("raft_sim");
    tcase_set_timeout(tcase, getenv("WEIR_RAFT_SEEDS") == NULL ? TIMEOUT_S : TIMEOUT_MANY_S);
    tcase_add_test(tcase, figure_8_is_safe);
    tcase_add_test(tcase, a_seed_says_all_that_happens);
    tcase_add_test(tcase, what_is_wrong_on_purpose_is_caught);
    tcase_add_test(tcase, groups_stay_safe_and_get_well_again);
    suite_add_tcase(suite, tcase);
    return suite;
}
