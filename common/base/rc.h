/*
 * Return codes. Every fallible function returns one, and the compiler refuses to let it be ignored.
 * The list is errors.def.
 */
#ifndef WEIR_COMMON_BASE_RC_H
#define WEIR_COMMON_BASE_RC_H

#include <stdbool.h>

enum weir_rc {
#define X(name, retryable, text) WEIR_##name,
#include "common/base/errors.def"
#undef X
    WEIR_RC_COUNT_ /* the number of codes; never returned */
};

/* Put before a prototype whose result must be looked at. */
#define WEIR_CHECKED __attribute__((warn_unused_result))

/* The code's name ("NOT_FOUND") and its sentence. Static strings; any thread; never NULL, also for unknown values. */
const char *weir_rc_name(enum weir_rc rc);
const char *weir_rc_text(enum weir_rc rc);

/* Whether trying again later may help. */
bool weir_rc_retryable(enum weir_rc rc);


#endif
