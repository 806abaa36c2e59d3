/*
 * weir-taskmanager: runs tasks for a JobManager.
 */
#include "common/base/version.h"
#include "common/runtime/daemon.h"
#include "common/runtime/thread.h"
#include "taskmanager/tm.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int serve(const struct weir_config *config, struct weir_log_sink *sink, const struct weir_log *log, int signal_fd)
{
    struct weir_tm *tm = NULL;
    struct weir_error err;
    if (weir_tm_create(config, sink, log, &tm, &err) != WEIR_OK) {
        (void)fprintf(stderr, "weir-taskmanager: %s\n", err.text);
        return EXIT_FAILURE;
    }
    (void)printf("weir-taskmanager ready rpc=%s data=%s\n", weir_tm_rpc_address(tm), weir_tm_data_address(tm));
    (void)fflush(stdout);
    weir_log(log, WEIR_LOG_INFO, "started", "version", WEIR_VERSION, "rpc", weir_tm_rpc_address(tm), "data", weir_tm_data_address(tm), NULL);
    weir_tm_run(tm, signal_fd);
    if (!weir_tm_stopped_clean(tm)) {
        weir_log(log, WEIR_LOG_WARN, "stopped_late", "cure", "raise shutdown.timeout if tasks need longer", NULL);
        _exit(EXIT_FAILURE);
    }
    if (weir_thread_detached() > 0) { /* the ends of clients that wait for their servers: they use what would be freed here */
        weir_log(log, WEIR_LOG_INFO, "stopped", "waiting_clients", WEIR_LOG_INT(weir_thread_detached()), NULL);
        _exit(EXIT_SUCCESS);
    }
    weir_tm_destroy(tm);
    weir_log(log, WEIR_LOG_INFO, "stopped", NULL);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct weir_daemon daemon = {
        .name = "weir-taskmanager",
        .role = "taskmanager",
        .purpose = "Runs tasks for the JobManagers named by cluster.jobmanagers, or by jobmanager.rpc.address and jobmanager.rpc.port.",
        .serve = serve,
    };
    return weir_daemon_main(argc, argv, &daemon);
}
