#include "common/runtime/daemon.h"

#include "common/base/version.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { OPT_HELP = 256, OPT_VERSION, OPT_CONFIG, OPT_INSECURE, FILES_MIN = 1024 };

static const struct option options[] = {
    {"config", required_argument, NULL, OPT_CONFIG}, {"insecure", no_argument, NULL, OPT_INSECURE},
    {"version", no_argument, NULL, OPT_VERSION},     {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static void print_usage(const struct weir_daemon *daemon, FILE *to)
{
    (void)fprintf(to,
                  "usage: %s [--config FILE] [-D KEY=VALUE]... [--insecure]\n"
                  "\n"
                  "%s\n"
                  "\n"
                  "  --config FILE   settings (default: $WEIR_CONF_DIR/weir.yaml, else /etc/weir/weir.yaml)\n"
                  "  -D KEY=VALUE    one setting; beats the file. `weir config show` lists them\n"
                  "  --insecure      allow listening beyond loopback without TLS\n"
                  "  --version, --help\n",
                  daemon->name, daemon->purpose);
}

/* The first pass over the flags: everything but the settings. Returns -1 to go on, else the exit code. */
static int read_flags(int argc, char **argv, const struct weir_daemon *daemon, const char **out_file)
{
    for (int opt = getopt_long(argc, argv, "D:", options, NULL); opt != -1; opt = getopt_long(argc, argv, "D:", options, NULL)) {
        if (opt == OPT_CONFIG) {
            *out_file = optarg;
        } else if (opt == OPT_VERSION) {
            (void)printf("%s %s\n", daemon->name, WEIR_VERSION);
            return EXIT_SUCCESS;
        } else if (opt == OPT_HELP) {
            print_usage(daemon, stdout);
            return EXIT_SUCCESS;
        } else if (opt == '?') {
            print_usage(daemon, stderr);
            return WEIR_EXIT_USAGE;
        }
    }
    if (optind != argc) {
        (void)fprintf(stderr, "%s: unexpected argument \"%s\"\n", daemon->name, argv[optind]);
        print_usage(daemon, stderr);
        return WEIR_EXIT_USAGE;
    }
    return -1;
}

/* The file first, whatever the order of the flags: -D beats it. */
static enum weir_rc read_settings(int argc, char **argv, const char *file, struct weir_config *config, enum weir_log_level *out_level,
                                  struct weir_error *err)
{
    enum weir_rc rc = weir_config_load_default(config, file, getenv("WEIR_CONF_DIR"), err);
    optind = 1;
    for (int opt = getopt_long(argc, argv, "D:", options, NULL); rc == WEIR_OK && opt != -1;
         opt = getopt_long(argc, argv, "D:", options, NULL)) {
        if (opt == 'D') {
            rc = weir_config_set_pair(config, optarg, err);
        } else if (opt == OPT_INSECURE) {
            rc = weir_config_set_pair(config, "security.insecure=true", err);
        }
    }
    const char *level = weir_config_string(config, WEIR_CFG_LOG_LEVEL);
    if (rc == WEIR_OK && !weir_log_level_parse(level, out_level)) {
        rc = weir_error_set(err, WEIR_INVALID, "log.level \"%s\": expected debug, info, warn or error", level);
    }
    return rc;
}

/* Signals as a descriptor: blocked before any thread starts, so that every thread inherits it. */
static int open_signals(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static void set_limits(const struct weir_log *log)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FILES_MIN) {
        weir_log(log, WEIR_LOG_WARN, "few_open_files", "limit", WEIR_LOG_INT(limit.rlim_cur), "cure", "raise it with ulimit -n 65536", NULL);
    }
    struct rlimit no_core = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &no_core);
}

int weir_daemon_main(int argc, char **argv, const struct weir_daemon *daemon)
{
    const char *file = NULL;
    int code = read_flags(argc, argv, daemon, &file);
    if (code >= 0) {
        return code;
    }
    struct weir_config *config = weir_config_create();
    enum weir_log_level level = WEIR_LOG_INFO;
    struct weir_error err;
    if (read_settings(argc, argv, file, config, &level, &err) != WEIR_OK) {
        (void)fprintf(stderr, "%s: %s\n", daemon->name, err.text);
        weir_config_destroy(config);
        return WEIR_EXIT_USAGE;
    }
    int signal_fd = open_signals();
    struct weir_log_sink *sink = weir_log_sink_create(STDERR_FILENO, weir_clock_real(), level);
    struct weir_log *root = weir_log_create(sink);
    struct weir_log *log = weir_log_bind(root, "daemon", daemon->role);
    set_limits(log);
    code = daemon->serve(config, sink, log, signal_fd);
    weir_log_destroy(log);
    weir_log_destroy(root);
    weir_log_sink_destroy(sink);
    (void)close(signal_fd);
    weir_config_destroy(config);
    return code;
}
