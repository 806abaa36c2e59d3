/*
 * A TaskManager: runs tasks for the JobManager. One mailbox thread owns everything here; RPC callbacks, task threads and the pool post to
 * it.
 *
 * Life with the JobManager: connect, REGISTER (telling what runs), HEARTBEAT. The connection's loss changes nothing for the tasks: they go
 * on, and the next REGISTER tells of them. A task's change of state is reported at once and again in every heartbeat until the attempt is
 * forgotten, so a lost report does no harm.
 */
#ifndef WEIR_TASKMANAGER_TM_H
#define WEIR_TASKMANAGER_TM_H

#include "common/base/config.h"
#include "common/base/log.h"

struct weir_tm;

/* Opens ports and starts the services. config, sink and log outlive it. IO, EXISTS (a port is taken), INVALID: with the cure. */
enum weir_rc weir_tm_create(const struct weir_config *config, struct weir_log_sink *sink, const struct weir_log *log,
                            struct weir_tm **out_tm, struct weir_error *err) WEIR_CHECKED;

/* Where it listens: for the ready line. */
const char *weir_tm_rpc_address(const struct weir_tm *tm);
const char *weir_tm_data_address(const struct weir_tm *tm);

/* Runs until signal_fd (a signalfd of SIGTERM and SIGINT) becomes readable; then cancels the tasks and returns when they are over, after
 * shutdown.timeout at the latest. The calling thread becomes the mailbox thread. */
void weir_tm_run(struct weir_tm *tm, int signal_fd);

/* After run: whether every task was over. If not, the process must end without destroy, since their threads still run. */
bool weir_tm_stopped_clean(const struct weir_tm *tm);

void weir_tm_destroy(struct weir_tm *tm); /* accepts NULL */

#endif
