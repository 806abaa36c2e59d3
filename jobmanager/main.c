/*
 * weir-jobmanager: schedules jobs onto TaskManagers and serves the HTTP API.
 */
#include "common/base/mem.h"
#include "common/base/version.h"
#include "common/fs/fs_local.h"
#include "common/net/address.h"
#include "common/runtime/daemon.h"
#include "jobmanager/jm.h"
#include "jobmanager/jm_members.h"
#include "jobmanager/rest/rest_server.h"
#include "proto/plan_codec.h"

#include <stdio.h>
#include <stdlib.h>

/* Tells scripts and tests the ports, which the kernel may have chosen: on standard output and in the data directory. It listens then; whether it
 * leads is another matter, unless it is the only one. */
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

/* Where others reach the HTTP API: a wildcard address is none, but who reaches the RPC reaches its host. */
static void tell_rest_address(const struct weir_config *config, struct weir_jm *jm, const struct weir_rest *rest)
{
    const char *host = weir_config_string(config, WEIR_CFG_REST_ADDRESS);
    bool wildcard = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    char *address = weir_address_copy(wildcard ? weir_config_string(config, WEIR_CFG_JM_RPC_ADDRESS) : host, weir_rest_port(rest));
    weir_jm_set_rest_address(jm, address);
    weir_free(address);
}

static int serve(const struct weir_config *config, struct weir_log_sink *sink, const struct weir_log *log, int signal_fd)
{
    struct weir_fs *fs = weir_fs_local_create();
    const struct weir_jm_options options = {
        .config = config, .sink = sink, .log = log, .clock = weir_clock_real(), .fs = fs, .decode = weir_plan_decode};
    struct weir_jm *jm = NULL;
    struct weir_rest *rest = NULL;
    struct weir_error err;
    enum weir_rc rc = weir_jm_create(&options, &jm, &err);
    rc = rc == WEIR_OK ? weir_rest_start(jm, config, log, &rest, &err) : rc;
    if (rc == WEIR_OK) {
        tell_rest_address(config, jm, rest);
    }
    rc = rc == WEIR_OK ? announce(&options, jm, rest, &err) : rc;
    rc = rc == WEIR_OK ? weir_jm_run(jm, signal_fd, &err) : rc;
    weir_rest_stop(rest);
    weir_jm_destroy(jm);
    weir_fs_local_destroy(fs);
    if (rc != WEIR_OK) {
        (void)fprintf(stderr, "weir-jobmanager: %s\n", err.text);
        return EXIT_FAILURE;
    }
    weir_log(log, WEIR_LOG_INFO, "stopped", NULL);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct weir_daemon daemon = {
        .name = "weir-jobmanager",
        .role = "jobmanager",
        .purpose = "Schedules jobs onto TaskManagers and serves the HTTP API.",
        .serve = serve,
    };
    return weir_daemon_main(argc, argv, &daemon);
}
