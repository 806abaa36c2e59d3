#include "common/base/failpoint.h"

#ifdef WEIR_FAILPOINTS

#include <poll.h>
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
    char *rest = NULL;
    unsigned long at = wanted[len] == ':' ? strtoul(wanted + len + 1, &rest, 10) : 1;
    if (atomic_fetch_add(&hits, 1) + 1 != at) {
        return;
    }
    static const char stall[] = ":stall:";
    if (rest != NULL && strncmp(rest, stall, sizeof(stall) - 1) == 0) {
        (void)poll(NULL, 0, (int)strtol(rest + sizeof(stall) - 1, NULL, 10));
    } else {
        (void)kill(getpid(), SIGKILL);
        pause();
    }
}

#endif
