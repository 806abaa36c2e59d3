/*
 * Runs every unit suite. The parent has no threads of its own: Check forks per test, and a threaded parent would make that
 * unsound under ThreadSanitizer (so nothing of nng, librdkafka or RocksDB may run in an unchecked fixture).
 *
 * CK_RUN_SUITE=<suite> runs one; CK_FORK=no for a debugger; CK_XML_LOG_FILE_NAME=<file> writes the duration of each test.
 */
#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

int main(void)
{
    struct rlimit no_core = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &no_core);
    SRunner *runner = srunner_create(NULL);
    for (unsigned i = 0; weir_unit_suites[i] != NULL; i++) {
        srunner_add_suite(runner, weir_unit_suites[i]());
    }
    srunner_run_all(runner, CK_ENV);
    int ran = srunner_ntests_run(runner);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    (void)printf("%d passed, %d failed\n", ran - failed, failed);
    return failed == 0 && ran > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
