#include "common/base/error.h"

#include "common/base/assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Ends a text that was cut with "..." so that nobody takes a half name for a whole one. */
static void mark_cut(char *text, int wanted)
{
    if (wanted >= WEIR_ERROR_TEXT_MAX) {
        memcpy(text + WEIR_ERROR_TEXT_MAX - 4, "...", 4);
    }
}

enum weir_rc weir_error_set(struct weir_error *err, enum weir_rc rc, const char *format, ...)
{
    weir_assert(rc != WEIR_OK);
    va_list args;
    va_start(args, format);
    char text[WEIR_ERROR_TEXT_MAX]; /* the arguments may point into err->text */
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    mark_cut(text, n);
    err->rc = rc;
    memcpy(err->text, text, sizeof(text));
    return rc;
}

enum weir_rc weir_error_errno(struct weir_error *err, enum weir_rc rc, int errnum, const char *format, ...)
{
    weir_assert(rc != WEIR_OK);
    va_list args;
    va_start(args, format);
    char text[WEIR_ERROR_TEXT_MAX];
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    char reason[128];
    const char *why = strerror_r(errnum, reason, sizeof(reason));
    return weir_error_set(err, rc, "%s: %s", text, why);
}

enum weir_rc weir_error_prefix(struct weir_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char prefix[WEIR_ERROR_TEXT_MAX];
    (void)vsnprintf(prefix, sizeof(prefix), format, args);
    va_end(args);
    return weir_error_set(err, err->rc, "%s: %s", prefix, err->text);
}
