/*
 * Assertions that stay on in release builds: replaying from a checkpoint is cheaper than a wrong result. An assertion is
 * for a bug of ours; never for bytes from a socket, a disk or a user.
 */
#ifndef WEIR_COMMON_BASE_ASSERT_H
#define WEIR_COMMON_BASE_ASSERT_H

/* Prints file, line and condition to standard error, then aborts. */
_Noreturn void weir_assert_fail(const char *file, int line, const char *condition);

#define weir_assert(condition) \
    ((condition) ? (void)0 : weir_assert_fail(__FILE__, __LINE__, #condition))

/* For checks that cost more than a comparison: only in builds with -DWEIR_DEBUG (the sanitizer builds). */
#ifdef WEIR_DEBUG
#define weir_dassert(condition) weir_assert(condition)
#else
#define weir_dassert(condition) ((void)sizeof((condition) ? 1 : 0))
#endif

#endif
