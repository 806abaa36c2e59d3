/*
 * An error that a person will read: a code and one line, in memory the caller owns (no heap, so that it can be filled when
 * memory is short and copied with =). Functions that take a `struct weir_error *err` fill it when they fail and leave it
 * alone when they succeed; err is never NULL.
 *
 * Say what failed, where (file:line:column, topic/partition/offset), what was expected and what to do.
 */
#ifndef WEIR_COMMON_BASE_ERROR_H
#define WEIR_COMMON_BASE_ERROR_H

#include "common/base/rc.h"

enum { WEIR_ERROR_TEXT_MAX = 512 };

struct weir_error {
    enum weir_rc rc;
    char text[WEIR_ERROR_TEXT_MAX]; /* NUL-terminated; cut with "..." when longer */
};

/* Fills err and returns rc, so that a function can end with `return weir_error_set(err, WEIR_IO, "...", ...)`. Any
 * thread. rc is not WEIR_OK. */
enum weir_rc weir_error_set(struct weir_error *err, enum weir_rc rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with ": <strerror(errnum)>" appended; for failed system calls. */
enum weir_rc weir_error_errno(struct weir_error *err, enum weir_rc rc, int errnum, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts "<prefix>: " before the text (context added on the way up) and returns err->rc. */
enum weir_rc weir_error_prefix(struct weir_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
