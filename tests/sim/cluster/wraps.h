/*
 * Functions that the linker puts in the place of others (--wrap, the list is SIM_WRAPS in the Makefile): those of the machine, and calls between modules of
 * the daemons that a run watches, or breaks on purpose. __real_x is the one that was meant.
 */
#ifndef WEIR_TESTS_SIM_CLUSTER_WRAPS_H
#define WEIR_TESTS_SIM_CLUSTER_WRAPS_H

#include "common/net/rpc.h"
#include "jobmanager/checkpoint/storage.h"
#include "jobmanager/cluster/tm_registry.h"
#include "jobmanager/ha/raft_log.h"
#include "jobmanager/jm_api.h"
#include "jobmanager/job/dispatcher.h"
#include "jobmanager/job/job.h"
#include "taskmanager/task/task_thread.h"
#include "taskmanager/tm_attempts.h"
#include "taskmanager/tm_link.h"

#include <sys/statvfs.h>
#include <sys/types.h>

pid_t __wrap_getpid(void);
int __wrap_access(const char *path, int mode);
int __wrap_statvfs(const char *path, struct statvfs *out);

#define WEIR_SIM_WRAP(function) __typeof__(function) __wrap_##function, __real_##function
WEIR_SIM_WRAP(weir_rpc_call);
WEIR_SIM_WRAP(weir_rpc_client_create);
WEIR_SIM_WRAP(weir_rpc_client_destroy);
WEIR_SIM_WRAP(weir_raft_log_open);
WEIR_SIM_WRAP(weir_raft_log_change);
WEIR_SIM_WRAP(weir_ckpt_sweep);
WEIR_SIM_WRAP(weir_task_thread_create);
WEIR_SIM_WRAP(weir_tm_attempts_create);
WEIR_SIM_WRAP(weir_tm_link_snapshot);
WEIR_SIM_WRAP(weir_tm_attempts_notify);
WEIR_SIM_WRAP(weir_jm_submit);
WEIR_SIM_WRAP(weir_tm_registry_remove);
WEIR_SIM_WRAP(weir_job_drains_first);
WEIR_SIM_WRAP(weir_adaptive_grows);
WEIR_SIM_WRAP(weir_dispatcher_create);

/* The file system of the process that runs (sim_fs.c). */
struct weir_fs *weir_sim_fs_of_node(void);

#endif
