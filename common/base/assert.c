#include "common/base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void weir_assert_fail(const char *file, int line, const char *condition)
{
    (void)fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}
