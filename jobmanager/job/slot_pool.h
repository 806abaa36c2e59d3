/*
 * All TaskManagers' slots and all jobs: who holds which, who gets the free ones. Pure.
 */
#ifndef WEIR_JOBMANAGER_JOB_SLOT_POOL_H
#define WEIR_JOBMANAGER_JOB_SLOT_POOL_H

#include "jobmanager/cluster/tm_registry.h"
#include "jobmanager/job/job.h"

/* "host:port" to host. The caller frees it. */
char *weir_slot_pool_host_copy(const char *address);

/* Counts slots_used of each TaskManager. */
void weir_slot_pool_count(struct weir_tm_registry *tms, struct weir_job *const *jobs, size_t njobs);

/* Places the jobs that want slots, in their order: first those that only wait to drain before they end. They hold their slots for a short time, what
 * takes them instead may hold them for ever. */
void weir_slot_pool_place(struct weir_tm_registry *tms, struct weir_job *const *jobs, size_t njobs, struct weir_now now);

/* Tells jobs that run with fewer slots than they ask for what they could have besides; nothing while another waits. Counts anew. */
void weir_slot_pool_offer(struct weir_tm_registry *tms, struct weir_job *const *jobs, size_t njobs, struct weir_now now);

#endif
