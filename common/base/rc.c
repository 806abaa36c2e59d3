#include "common/base/rc.h"

static const struct {
    const char *name;
    const char *text;
    bool retryable;
} rows[] = {
#define X(name, retryable, text) {#name, text, retryable},
#include "common/base/errors.def"
#undef X
};

_Static_assert(sizeof(rows) / sizeof(rows[0]) == WEIR_RC_COUNT_, "one row per code");

const char *weir_rc_name(enum weir_rc rc)
{
    return (unsigned)rc < WEIR_RC_COUNT_ ? rows[rc].name : "?";
}

const char *weir_rc_text(enum weir_rc rc)
{
    return (unsigned)rc < WEIR_RC_COUNT_ ? rows[rc].text : "unknown code";
}

bool weir_rc_retryable(enum weir_rc rc)
{
    return (unsigned)rc < WEIR_RC_COUNT_ && rows[rc].retryable;
}
