/*
 * What can go wrong in a simulated cluster, by accident or on purpose, and where its protocols can stand then.
 */
#ifndef WEIR_TESTS_SIM_CLUSTER_FAULTS_H
#define WEIR_TESTS_SIM_CLUSTER_FAULTS_H

#include <stdbool.h>

/* X(name, text): where the protocols stand. */
#define WEIR_SIM_PHASES(X)                                          \
    X(SUBMIT, "a job is submitted")                                 \
    X(PROPOSE, "an entry of the cluster log is proposed")           \
    X(APPLY, "an entry is applied")                                 \
    X(LEAD, "a JobManager has won an election")                     \
    X(REGISTER, "a TaskManager registers")                          \
    X(DEPLOY, "tasks are deployed")                                 \
    X(RESTORE, "a task reads its checkpoint")                       \
    X(TRIGGER, "a checkpoint is triggered")                         \
    X(UPLOAD, "a task writes its part of a checkpoint")             \
    X(ACK, "a task has acknowledged a checkpoint")                  \
    X(METADATA, "a checkpoint's metadata is written")               \
    X(STORED, "the metadata is durable, nothing is committed")      \
    X(COMPLETE, "a checkpoint is committed, nobody was told")       \
    X(NOTIFY, "a TaskManager is told of a committed checkpoint")    \
    X(LEASE, "a sink asks whether its attempt is the present one")  \
    X(INIT, "a sink fences its predecessors")                       \
    X(TXN_OPEN, "a transaction has records")                        \
    X(TXN_COMMIT, "a transaction's end was sent")                   \
    X(CANCEL, "an attempt is cancelled")                            \
    X(MEMBERS, "a change of the JobManagers is proposed")           \
    X(DROP, "an ended job is to be forgotten")                      \
    X(DRAIN, "what drains between two parallelisms begins")         \
    X(RESCALE, "another parallelism begins")

/* X(name, text): what goes wrong. */
#define WEIR_SIM_FAULTS(X)                                \
    X(KILL_JM, "JobManager killed")                       \
    X(POWER_JM, "JobManager without power")               \
    X(PAUSE_JM, "JobManager paused")                      \
    X(TERM_JM, "JobManager told to end")                  \
    X(KILL_TM, "TaskManager killed")                      \
    X(POWER_TM, "TaskManager without power")              \
    X(PAUSE_TM, "TaskManager paused")                     \
    X(TERM_TM, "TaskManager told to end")                 \
    X(CUT, "one way between two machines cut")            \
    X(ISOLATE, "a machine cut off")                       \
    X(RESET, "connections reset")                         \
    X(SLOW_LINK, "a slow way")                            \
    X(DISK_FULL, "a JobManager's disk full")              \
    X(DISK_EIO, "EIO on a JobManager's disk")             \
    X(DISK_SLOW, "a daemon's disk slow")                  \
    X(STORE_FULL, "the checkpoint store full")            \
    X(STORE_EIO, "EIO in the checkpoint store")           \
    X(STORE_SLOW, "a slow checkpoint store")              \
    X(SITE, "the whole site without power")               \
    X(CLOCK_JUMP, "a wall clock jumps")                   \
    X(BROKER, "the outside log away")                     \
    X(REPEAT, "messages come twice")                      \
    X(STALE, "old orders come again")                     \
    X(LOSE_JM, "a JobManager's directory lost for ever")

#define WEIR_SIM_ENUM(name, text) WEIR_SIM_PHASE_##name,
enum weir_sim_phase { WEIR_SIM_PHASES(WEIR_SIM_ENUM) WEIR_SIM_PHASE_COUNT };
#undef WEIR_SIM_ENUM
#define WEIR_SIM_ENUM(name, text) WEIR_SIM_FAULT_##name,
enum weir_sim_fault { WEIR_SIM_FAULTS(WEIR_SIM_ENUM) WEIR_SIM_FAULT_COUNT };
#undef WEIR_SIM_ENUM

/* Protocols broken on purpose: X(name, text). Each must be caught. */
#define WEIR_SIM_SABOTAGES(X)                                                               \
    X(NONE, "none")                                                                         \
    X(METADATA_NOT_SYNCED, "a checkpoint is committed before its metadata is durable")      \
    X(ACK_NOT_SYNCED, "a task acknowledges before its part is durable")                     \
    X(LOG_NOT_SYNCED, "the cluster log says durable before it is")                          \
    X(ACT_BEFORE_COMMIT, "a leader acts before its entry is committed")                     \
    X(NOTIFY_BEFORE_COMMIT, "sinks are told of a checkpoint before it is committed")        \
    X(CURSOR_BEFORE_INIT, "the cursor is read before earlier attempts are fenced")          \
    X(NO_FENCE, "earlier attempts are never fenced")                                        \
    X(NO_CURSOR, "a transaction does not move the cursor")                                  \
    X(SWEEP_ALL, "all checkpoints but the newest begun are swept")                          \
    X(ABORT_IS_COMMIT, "sinks take an aborted checkpoint for a committed one")              \
    X(NO_ADOPTION, "a new leader does not take over what runs")                             \
    X(CANCEL_ON_CLOSE, "a TaskManager cancels its tasks when a JobManager's connection closes") \
    X(SUBMIT_TWICE, "a submission that is repeated is another job")                         \
    X(NO_DRAIN, "another parallelism begins without the drain of the old run")              \
    X(NO_GROWTH, "a job that runs with too few slots goes on so")                           \
    X(DROP_EARLY, "an ended job is forgotten before its time")                              \
    X(NO_DROP, "an ended job is never forgotten")                                           \
    X(LEAD_UNCONFIRMED, "a leader answers without asking whether it still leads")

#define WEIR_SIM_ENUM(name, text) WEIR_SIM_SABOTAGE_##name,
enum weir_sim_sabotage { WEIR_SIM_SABOTAGES(WEIR_SIM_ENUM) WEIR_SIM_SABOTAGE_COUNT };
#undef WEIR_SIM_ENUM

/* Whether a fault can come at a phase: one JobManager is lost at a time. */
static inline bool weir_sim_can_meet(enum weir_sim_fault fault, enum weir_sim_phase phase)
{
    return fault != WEIR_SIM_FAULT_LOSE_JM || phase != WEIR_SIM_PHASE_MEMBERS;
}

/* Only where the scheduler is adaptive. */
static inline bool weir_sim_rescales(enum weir_sim_phase phase)
{
    return phase == WEIR_SIM_PHASE_DRAIN || phase == WEIR_SIM_PHASE_RESCALE;
}

const char *weir_sim_phase_text(enum weir_sim_phase phase);
const char *weir_sim_fault_text(enum weir_sim_fault fault);
const char *weir_sim_sabotage_name(enum weir_sim_sabotage sabotage); /* "NO_FENCE" */

#endif
