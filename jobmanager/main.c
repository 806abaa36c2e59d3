/*
 * weir-jobmanager: schedules jobs onto TaskManagers and serves the HTTP API.
 */
#include "common/base/mem.h"
#include "common/base/version.h"
#include "common/fs/fs_local.h"
#include "jobmanager/jm.h"
#include "jobmanager/rest/rest_server.h"
#include "proto/plan_codec.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, OPT_HELP = 256, OPT_VERSION, OPT_CONFIG, OPT_INSECURE, FILES_MIN = 1024 };

static const char usage[] =
    "usage: weir-jobmanager [--config FILE] [-D KEY=VALUE]... [--insecure]\n"
    "\n"
    "Schedules jobs onto TaskManagers and serves the HTTP API.\n"
    "\n"
    "  --config FILE   settings (default: $WEIR_CONF_DIR/weir.yaml, else /etc/weir/weir.yaml)\n"
    "  -D KEY=VALUE    one setting; beats the file. `weir config show` lists them\n"
    "  --insecure      allow listening beyond loopback without TLS\n"
    "  --version, --help\n";

/* Reads flags into the configuration. Returns -1 to go on, else the exit code. */
static int read_flags(int argc, char **argv, struct weir_config *config)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, OPT_CONFIG}, {"insecure", no_argument, NULL, OPT_INSECURE},
        {"version", no_argument, NULL, OPT_VERSION},     {"help", no_argument, NULL, OPT_HELP},
        {NULL, 0, NULL, 0},
    };
    struct weir_error err;
    const char *file = NULL;
    int first = optind;
    /* The file first, whatever the order of the flags: -D beats it. */
    for (int opt = getopt_long(argc, argv, "D:", options, NULL); opt != -1; opt = getopt_long(argc, argv, "D:", options, NULL)) {
        if (opt == OPT_CONFIG) {
            file = optarg;
        } else if (opt == OPT_VERSION) {
            (void)printf("weir-jobmanager %s\n", WEIR_VERSION);
            return EXIT_SUCCESS;
        } else if (opt == OPT_HELP) {
            (void)fputs(usage, stdout);
            return EXIT_SUCCESS;
        } else if (opt == '?') {
            (void)fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    if (optind != argc) {
        (void)fprintf(stderr, "weir-jobmanager: unexpected argument \"%s\"\n%s", argv[optind], usage);
        return EXIT_USAGE;
    }
    enum weir_rc rc = weir_config_load_default(config, file, getenv("WEIR_CONF_DIR"), &err);
    optind = first;
    for (int opt = getopt_long(argc, argv, "D:", options, NULL); rc == WEIR_OK && opt != -1;
         opt = getopt_long(argc, argv, "D:", options, NULL)) {
        if (opt == 'D') {
            rc = weir_config_set_pair(config, optarg, &err);
        } else if (opt == OPT_INSECURE) {
            rc = weir_config_set_pair(config, "security.insecure=true", &err);
        }
    }
    if (rc != WEIR_OK) {
        (void)fprintf(stderr, "weir-jobmanager: %s\n", err.text);
        return EXIT_USAGE;
    }
    return -1;
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

static void check_files(const struct weir_log *log)
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

/* Tells scripts and tests the ports, which the kernel may have chosen: on standard output and in the data directory. */
static enum weir_rc announce(const struct weir_jm_options *options, const struct weir_jm *jm, const struct weir_rest *rest, struct weir_error *err)
{
    char *line = weir_strfmt("weir-jobmanager ready rpc=tcp://%s:%u rest=%s:%u\n", weir_config_string(options->config, WEIR_CFG_JM_RPC_ADDRESS),
                             weir_jm_rpc_port(jm), weir_config_string(options->config, WEIR_CFG_REST_ADDRESS), weir_rest_port(rest));
    char *path = weir_strfmt("%s/jobmanager.endpoints", weir_config_string(options->config, WEIR_CFG_JM_DATA_DIR));
    enum weir_rc rc = weir_fs_write_atomic(options->fs, path, weir_slice_str(line), err);
    if (rc == WEIR_OK) {
        (void)fputs(line, stdout);
        (void)fflush(stdout);
        weir_log(options->log, WEIR_LOG_INFO, "started", "version", WEIR_VERSION, "rpc_port", WEIR_LOG_INT(weir_jm_rpc_port(jm)), "rest_port",
                 WEIR_LOG_INT(weir_rest_port(rest)), NULL);
    }
    weir_free(path);
    weir_free(line);
    return rc;
}

static int serve(const struct weir_jm_options *options, struct weir_log *log, int signal_fd)
{
    struct weir_jm *jm = NULL;
    struct weir_rest *rest = NULL;
    struct weir_error err;
    enum weir_rc rc = weir_jm_create(options, &jm, &err);
    rc = rc == WEIR_OK ? weir_rest_start(jm, options->config, log, &rest, &err) : rc;
    rc = rc == WEIR_OK ? announce(options, jm, rest, &err) : rc;
    rc = rc == WEIR_OK ? weir_jm_run(jm, signal_fd, &err) : rc;
    weir_rest_stop(rest);
    weir_jm_destroy(jm);
    if (rc != WEIR_OK) {
        (void)fprintf(stderr, "weir-jobmanager: %s\n", err.text);
        return EXIT_FAILURE;
    }
    weir_log(log, WEIR_LOG_INFO, "stopped", NULL);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct weir_config *config = weir_config_create();
    int code = read_flags(argc, argv, config);
    enum weir_log_level level = WEIR_LOG_INFO;
    if (code < 0 && !weir_log_level_parse(weir_config_string(config, WEIR_CFG_LOG_LEVEL), &level)) {
        (void)fprintf(stderr, "weir-jobmanager: log.level \"%s\": expected debug, info, warn or error\n",
                      weir_config_string(config, WEIR_CFG_LOG_LEVEL));
        code = EXIT_USAGE;
    }
    if (code < 0) {
        int signal_fd = open_signals();
        struct weir_log_sink *sink = weir_log_sink_create(STDERR_FILENO, weir_clock_real(), level);
        struct weir_log *root = weir_log_create(sink);
        struct weir_log *log = weir_log_bind(root, "daemon", "jobmanager");
        struct weir_fs *fs = weir_fs_local_create();
        check_files(log);
        const struct weir_jm_options options = {
            .config = config, .sink = sink, .log = log, .clock = weir_clock_real(), .fs = fs, .decode = weir_plan_decode};
        code = serve(&options, log, signal_fd);
        weir_fs_local_destroy(fs);
        weir_log_destroy(log);
        weir_log_destroy(root);
        weir_log_sink_destroy(sink);
        (void)close(signal_fd);
    }
    weir_config_destroy(config);
    return code;
}
