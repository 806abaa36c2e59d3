#include "common/base/failpoint.h"

#ifdef WEIR_FAILPOINTS

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void weir_failpoint_hit(const char *name)
{
    static _Atomic unsigned long hits; /* of the one failpoint that this process was given */
    const char *wanted = getenv("WEIR_FAILPOINT");
    size_t len = strlen(name);
    if (wanted == NULL || strncmp(wanted, name, len) != 0 || (wanted[len] != ':' && wanted[len] != '\0')) {
        return;
    }
    unsigned long at = wanted[len] == ':' ? strtoul(wanted + len + 1, NULL, 10) : 1;
    if (atomic_fetch_add(&hits, 1) + 1 == at) {
        (void)kill(getpid(), SIGKILL);
        pause();
    }
}

bool weir_failpoint_is(const char *name)
{
    const char *at = getenv("WEIR_FAILPOINT_SWITCHES");
    size_t len = strlen(name);
    while (at != NULL) {
        if (strncmp(at, name, len) == 0 && (at[len] == ',' || at[len] == '\0')) {
            return true;
        }
        at = strchr(at, ',');
        at = at == NULL ? NULL : at + 1;
    }
    return false;
}

#endif
