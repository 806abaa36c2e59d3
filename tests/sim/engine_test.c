/* The whole engine from checkpoints, through crashes. WEIR_ENGINE_SEED=n runs one seed and prints what happens. */
#include "tests/sim/engine.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *engine_suite(void);

enum { SEEDS = 120, CONTROL_SEEDS = 60, TIMEOUT_S = 1200 };

/* In a process of its own: an assertion in the engine is a finding that names its seed. */
static struct weir_engine_result run_seed(uint64_t seed, enum weir_engine_sabotage sabotage, int trace_fd)
{
    struct weir_engine_result *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    (void)fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct weir_engine_case what = {.seed = seed, .sabotage = sabotage, .trace_fd = trace_fd};
        weir_engine_run(&what, shared);
        exit(EXIT_SUCCESS);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    struct weir_engine_result result = *shared;
    (void)munmap(shared, sizeof(*shared));
    if (status != 0) {
        result.ok = false;
        (void)weir_error_set(&result.err, WEIR_INVALID, "the process ended with status %d", status);
    }
    return result;
}

/* Runs a seed; a failing one once more, with its trace on stderr. */
static struct weir_engine_result check_seed(uint64_t seed)
{
    struct weir_engine_result result = run_seed(seed, WEIR_ENGINE_HONEST, -1);
    if (!result.ok) {
        (void)run_seed(seed, WEIR_ENGINE_HONEST, STDERR_FILENO);
        ck_abort_msg("seed %lu: %s (WEIR_ENGINE_SEED=%lu CK_RUN_SUITE=engine runs it again)", (unsigned long)seed, result.err.text,
                     (unsigned long)seed);
    }
    return result;
}

START_TEST(exactly_once_through_crashes)
{
    struct weir_engine_result sum = {0};
    const char *only = getenv("WEIR_ENGINE_SEED");
    if (only != NULL) {
        struct weir_engine_result result = run_seed(strtoul(only, NULL, 10), WEIR_ENGINE_HONEST, STDERR_FILENO);
        ck_assert_msg(result.ok, "%s", result.err.text);
        return;
    }
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct weir_engine_result result = check_seed(seed);
        sum.crashes += result.crashes;
        sum.checkpoints += result.checkpoints;
        sum.restored += result.restored;
        sum.rescaled += result.rescaled;
        for (int p = 0; p < WEIR_ENGINE_PHASES; p++) {
            sum.hits[p] += result.hits[p];
        }
    }
    if (getenv("WEIR_ENGINE_COUNTS") != NULL) {
        (void)printf("%u crashes, %u checkpoints, %u attempts restored, %u with another parallelism\n", sum.crashes, sum.checkpoints, sum.restored,
                     sum.rescaled);
        for (int p = 0; p < WEIR_ENGINE_PHASES; p++) {
            (void)printf("  %3u %s\n", sum.hits[p], weir_engine_phase_name((enum weir_engine_phase)p));
        }
        (void)fflush(stdout);
    }
    for (int p = 0; p < WEIR_ENGINE_PHASES; p++) {
        ck_assert_msg(sum.hits[p] > 0, "no crash came in the phase \"%s\"", weir_engine_phase_name((enum weir_engine_phase)p));
    }
    ck_assert_uint_gt(sum.restored, SEEDS / 2);
    ck_assert_uint_gt(sum.rescaled, SEEDS / 4);
}
END_TEST

/* The oracle is worth something: it sees a coordinator that breaks the protocol. */
static uint32_t caught(enum weir_engine_sabotage sabotage)
{
    uint32_t count = 0;
    for (uint64_t seed = 0; seed < CONTROL_SEEDS; seed++) {
        count += !run_seed(seed, sabotage, -1).ok;
    }
    return count;
}

START_TEST(a_notification_before_every_acknowledgement_is_caught)
{
    ck_assert_uint_gt(caught(WEIR_ENGINE_NOTIFIES_EARLY), 0);
}
END_TEST

START_TEST(a_restore_from_an_older_checkpoint_is_caught)
{
    ck_assert_uint_gt(caught(WEIR_ENGINE_RESTORES_OLDER), 0);
}
END_TEST

Suite *engine_suite(void)
{
    Suite *suite = suite_create("engine");
    TCase *tcase = tcase_create("engine");
    tcase_set_timeout(tcase, TIMEOUT_S);
    tcase_add_test(tcase, exactly_once_through_crashes);
    tcase_add_test(tcase, a_notification_before_every_acknowledgement_is_caught);
    tcase_add_test(tcase, a_restore_from_an_older_checkpoint_is_caught);
    suite_add_tcase(suite, tcase);
    return suite;
}
