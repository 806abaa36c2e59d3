/*
 * A JobManager: the shell around the brain (job/dispatcher). One mailbox thread owns everything; RPC callbacks, the pool and the HTTP server
 * post mails to it. What the HTTP API may ask is in jm_api.h.
 *
 * Of one, three or five (cluster.jobmanagers) one leads, by the cluster log (ha/raft_log); leadership comes and goes many times in the life of a
 * process. Losing the leader loses nothing: TaskManagers keep their tasks and register with its successor, which has the same log.
 */
#ifndef WEIR_JOBMANAGER_JM_H
#define WEIR_JOBMANAGER_JM_H

#include "common/fs/fs.h"
#include "jobmanager/jm_api.h"

struct weir_jm_options {
    const struct weir_config *config;
    struct weir_log_sink *sink;
    const struct weir_log *log;
    const struct weir_clock *clock;
    struct weir_fs *fs;
    /* Job graphs of the cluster log: weir_plan_decode, but in tests. */
    enum weir_rc (*decode)(struct weir_slice bytes, struct weir_jobgraph **out_graph, struct weir_error *err);
};

/* Checks the machine, locks the data directory, listens and opens the cluster log: the caller is the mailbox thread from here to destroy. What
 * options point to outlives it. Blocks on the disk; with an empty directory up to two seconds for the other JobManagers, since one that they
 * know had another before. A single JobManager leads on return, one of several may follow. INVALID, EXISTS (port or directory in use),
 * RESOURCE (disk full), CORRUPT, IO, STATE (the directory was lost): with the cure. */
enum weir_rc weir_jm_create(const struct weir_jm_options *options, struct weir_jm **out_jm, struct weir_error *err) WEIR_CHECKED;

/* The port of the control RPC. */
uint16_t weir_jm_rpc_port(const struct weir_jm *jm);

/* Where the HTTP API is reached ("host:port"), told to the other JobManagers: theirs send clients here while this one leads. */
void weir_jm_set_rest_address(struct weir_jm *jm, const char *address);

/* Runs until signal_fd becomes readable (OK; it hands its leadership over, jobs go on), or the cluster log fails, or the others say that this
 * one is none of theirs (the error). On return the mailbox is
 * closed and every command has been answered; weir_jm_post says false. */
enum weir_rc weir_jm_run(struct weir_jm *jm, int signal_fd, struct weir_error *err) WEIR_CHECKED;

/* Whoever posts to it is stopped before. Accepts NULL. */
void weir_jm_destroy(struct weir_jm *jm);

#endif
