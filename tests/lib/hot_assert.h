/*
 * Assertions for loops over very many rows: ck_assert writes its place to a file each time it holds, which then costs more than the test.
 */
#ifndef WEIR_TESTS_LIB_HOT_ASSERT_H
#define WEIR_TESTS_LIB_HOT_ASSERT_H

#include <check.h>

#define WEIR_HOT_ASSERT(condition) ((condition) ? (void)0 : ck_abort_msg("Assertion '%s' failed", #condition))

/* Also tells the two, as integers. */
#define WEIR_HOT_ASSERT_EQ(a, b)                                                                                                         \
    ((a) == (b) ? (void)0 : ck_abort_msg("Assertion '%s' failed: %lld and %lld", #a " == " #b, (long long)(a), (long long)(b)))

#endif
