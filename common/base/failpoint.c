#include "common/base/failpoint.h"

#ifdef WEIR_FAILPOINTS

#include <ctype.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void rest_ms(long ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

/* The calling thread waits, and says so: a test waits for the line. */
static void stall(const char *name, const char *ms)
{
    fprintf(stderr, "event=failpoint_stalls name=%s ms=%s\n", name, ms);
    rest_ms(strtol(ms, NULL, 10));
}

static void stall_until(const char *name, const char *path)
{
    fprintf(stderr, "event=failpoint_stalls name=%s until=%s\n", name, path);
    while (access(path, F_OK) != 0) {
        rest_ms(5);
    }
}

void weir_failpoint_hit(const char *name)
{
    static _Atomic unsigned long hits; /* of the one failpoint that this process was given */
    static _Thread_local bool waited;
    if (waited) {
        fprintf(stderr, "event=failpoint_reached name=%s\n", name);
    }
    const char *wanted = getenv("WEIR_FAILPOINT");
    size_t len = strlen(name);
    if (wanted == NULL || strncmp(wanted, name, len) != 0 || (wanted[len] != ':' && wanted[len] != '\0')) {
        return;
    }
    const char *rest = wanted + len;
    unsigned long at = 1;
    if (isdigit((unsigned char)rest[rest[0] == ':'])) {
        char *end = NULL;
        at = strtoul(rest + 1, &end, 10);
        rest = end;
    }
    if (atomic_fetch_add(&hits, 1) + 1 != at) {
        return;
    }
    waited = true;
    if (strncmp(rest, ":stall:", 7) == 0) {
        stall(name, rest + 7);
        return;
    }
    if (strncmp(rest, ":until:", 7) == 0) {
        stall_until(name, rest + 7);
        return;
    }
    (void)kill(getpid(), SIGKILL);
    pause();
}

/* What follows the switch's name, NULL without the switch. */
static const char *switch_words(const char *name)
{
    const char *given = getenv("WEIR_FAILPOINT_SWITCHES");
    size_t len = strlen(name);
    bool same = given != NULL && strncmp(given, name, len) == 0 && (given[len] == ':' || given[len] == '\0');
    return same ? given + len : NULL;
}

bool weir_failpoint_is(const char *name)
{
    return switch_words(name) != NULL;
}

bool weir_failpoint_may_go_on(const char *name)
{
    const char *words = switch_words(name);
    return words == NULL || strncmp(words, ":until:", 7) != 0 || access(words + 7, F_OK) == 0;
}

#endif
