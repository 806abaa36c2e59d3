/*
 * The whole engine in one thread, from a seed: every task of a job, its channels, its disk and its JobManager's part in checkpoints, stepped in
 * a random order, crashed at random places and begun again from the last checkpoint that was committed, often with another parallelism.
 *
 * Everything a task meets is injected: struct weir_task is stepped by hand and only after it was woken (so a wake that is forgotten is a run
 * that never ends); blocking work runs in random order, later, and its `done` later still; the disk is fs_sim; the coordinator is a model
 * whose messages are late, and some of whose notifications are lost and repeated.
 */
#ifndef WEIR_TESTS_SIM_ENGINE_H
#define WEIR_TESTS_SIM_ENGINE_H

#include "common/base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Where the job stood when it crashed. */
enum weir_engine_phase {
    WEIR_ENGINE_BEFORE_BARRIER, /* a checkpoint was begun, not every trigger has arrived */
    WEIR_ENGINE_ALIGNING,       /* barriers are under way: some tasks have taken their snapshots, some not */
    WEIR_ENGINE_PREPARE,        /* within the snapshot chain: the sink was making its part durable */
    WEIR_ENGINE_UPLOAD,         /* a task's file was being written */
    WEIR_ENGINE_ACKED,          /* every task has acknowledged, nothing is committed */
    WEIR_ENGINE_COMMITTED,      /* committed, no task has heard of it */
    WEIR_ENGINE_PUBLISH,        /* the sink was publishing */
    WEIR_ENGINE_RECOVERY,       /* tasks were restoring */
    WEIR_ENGINE_PHASES,
};

/* What the coordinator does wrong, on purpose. */
enum weir_engine_sabotage {
    WEIR_ENGINE_HONEST,
    WEIR_ENGINE_NOTIFIES_EARLY, /* before every task has acknowledged */
    WEIR_ENGINE_RESTORES_OLDER, /* than the newest checkpoint that it has told of */
};

struct weir_engine_case {
    uint64_t seed;
    enum weir_engine_sabotage sabotage;
    int trace_fd; /* what happens, as it happens; -1: nowhere */
};

struct weir_engine_result {
    bool ok;
    struct weir_error err; /* what was wrong */
    uint32_t crashes, checkpoints, restored;
    uint32_t rescaled; /* of restored: with another parallelism than the checkpoint's */
    uint32_t hits[WEIR_ENGINE_PHASES]; /* crashes in each phase */
};

/* "before barrier". */
const char *weir_engine_phase_name(enum weir_engine_phase phase);

/* Runs one job to its end, through its crashes. Asserts in the engine abort the process. */
void weir_engine_run(const struct weir_engine_case *what, struct weir_engine_result *out_result);

#endif
