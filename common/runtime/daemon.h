/*
 * What every daemon's main does: flags, settings, log, signals, limits; then the daemon's own part.
 *
 *   weir-x [--config FILE] [-D KEY=VALUE]... [--insecure] [--version] [--help]
 */
#ifndef WEIR_COMMON_RUNTIME_DAEMON_H
#define WEIR_COMMON_RUNTIME_DAEMON_H

#include "common/base/config.h"
#include "common/base/log.h"

enum { WEIR_EXIT_USAGE = 2 };

struct weir_daemon {
    const char *name;    /* "weir-taskmanager": of the program, in messages */
    const char *role;    /* "taskmanager": bound to every log line */
    const char *purpose; /* one sentence, for --help */
    /* Serves until signal_fd (a signalfd of SIGTERM and SIGINT) is readable; returns the exit code. log and sink live as long. */
    int (*serve)(const struct weir_config *config, struct weir_log_sink *sink, const struct weir_log *log, int signal_fd);
};

/* Returns the exit code: 0, 1 (failed), 2 (usage or settings). Blocks SIGTERM and SIGINT and ignores SIGPIPE before serve starts any
 * thread; raises the limit of open files, switches core files off. */
int weir_daemon_main(int argc, char **argv, const struct weir_daemon *daemon);

#endif
