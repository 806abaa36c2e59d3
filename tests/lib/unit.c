/*
 * Runs the unit suites, several at a time: each worker is a process that takes the next suite until there is none left. No process here has
 * threads of its own: Check forks per test, and a threaded parent would make that unsound under ThreadSanitizer (so nothing of nng,
 * librdkafka or RocksDB may run in an unchecked fixture).
 *
 * CK_RUN_SUITE=<suite> runs one, in this process; CK_FORK=no for a debugger; CK_XML_LOG_FILE_NAME=<file> writes the duration of each test.
 */
#include "tests/lib/unit.h"

#include "common/base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* More than cores: many suites wait for time-outs or for threads of libraries. */
enum { WORKERS = 6, SLOW_MS = 10000 };

/* Shared by the workers. */
struct tally {
    _Atomic unsigned next; /* suite */
    _Atomic int ran, failed;
};

static void run_runner(SRunner *runner, struct tally *tally)
{
    srunner_run_all(runner, CK_ENV);
    atomic_fetch_add(&tally->ran, srunner_ntests_run(runner));
    atomic_fetch_add(&tally->failed, srunner_ntests_failed(runner));
    srunner_free(runner);
}

static void work(struct tally *tally, unsigned nsuites)
{
    for (unsigned i; (i = atomic_fetch_add(&tally->next, 1)) < nsuites;) {
        int64_t began_ms = weir_clock_mono_ms(weir_clock_real());
        run_runner(srunner_create(weir_unit_suites[i]()), tally);
        int64_t took_ms = weir_clock_mono_ms(weir_clock_real()) - began_ms;
        if (took_ms >= SLOW_MS) {
            (void)printf("(suite %u took %lld ms)\n", i, (long long)took_ms);
        }
        (void)fflush(stdout);
    }
}

/* All suites, spread over the workers; false when one of those died. */
static bool run_workers(struct tally *tally, unsigned nsuites)
{
    bool whole = true;
    for (int i = 0; i < WORKERS; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            work(tally, nsuites);
            _exit(EXIT_SUCCESS);
        }
        whole = whole && pid > 0;
    }
    int status = 0;
    while (wait(&status) > 0) {
        whole = whole && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
    }
    return whole;
}

int main(void)
{
    struct rlimit no_core = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &no_core);
    struct tally *tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tally == MAP_FAILED) {
        perror("mmap");
        return EXIT_FAILURE;
    }
    unsigned nsuites = 0;
    while (weir_unit_suites[nsuites] != NULL) {
        nsuites++;
    }
    bool whole = true;
    if (getenv("CK_RUN_SUITE") == NULL && getenv("CK_XML_LOG_FILE_NAME") == NULL) {
        whole = run_workers(tally, nsuites);
    } else {
        SRunner *runner = srunner_create(NULL);
        for (unsigned i = 0; i < nsuites; i++) {
            srunner_add_suite(runner, weir_unit_suites[i]());
        }
        run_runner(runner, tally);
    }
    int ran = atomic_load(&tally->ran);
    int failed = atomic_load(&tally->failed) + (whole ? 0 : 1);
    (void)printf("%d passed, %d failed\n", ran - failed, failed);
    return failed == 0 && ran > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
