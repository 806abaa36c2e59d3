/*
 * Whether and when a job that has failed restarts: Flink's restart strategies. Pure: failures and the monotonic time they came at in; the
 * jitter comes from the seed.
 *
 *   none               never
 *   fixed-delay        attempts_max times, each delay_ms after the failure
 *   failure-rate       each delay_ms after the failure, unless more than failures_max failures lie within interval_ms
 *   exponential-delay  after delay_ms, then times multiplier after each failure up to delay_max_ms, each more or less a random part (at most
 *                      jitter of it) but never below delay_ms or beyond delay_max_ms. After reset_ms without a failure it begins anew, and so
 *                      does the count of its attempts_max. A failure before the restart that is due is part of the one before.
 *
 * (R1) Whatever the settings say, a restart comes at least WEIR_RESTART_DELAY_MIN_MS after the failure, and WEIR_RESTART_BURST_DELAY_MS once
 *      the last WEIR_RESTART_BURST_MAX failures lie within WEIR_RESTART_BURST_INTERVAL_MS: a job that fails as soon as it runs is its own trouble.
 * (R2) What is counted lives as long as the leader does: a new leader counts anew, as Flink's does.
 */
#ifndef WEIR_JOBMANAGER_JOB_RESTART_STRATEGY_H
#define WEIR_JOBMANAGER_JOB_RESTART_STRATEGY_H

#include "common/plan/jobgraph.h"

enum {
    WEIR_RESTART_DELAY_MIN_MS = 10,
    WEIR_RESTART_BURST_MAX = 10,
    WEIR_RESTART_BURST_INTERVAL_MS = 10000,
    WEIR_RESTART_BURST_DELAY_MS = 1000,
};

struct weir_restart_strategy;

struct weir_restart_strategy *weir_restart_strategy_create(const struct weir_restart_settings *settings, uint64_t seed);
void weir_restart_strategy_destroy(struct weir_restart_strategy *strategy); /* accepts NULL */

/* A failure at now_ms, which never goes back. False: the job is to end. *out_at_ms: when it restarts. */
bool weir_restart_strategy_failed(struct weir_restart_strategy *strategy, int64_t now_ms, int64_t *out_at_ms);

/* How many there were so far, each with all that was part of it. */
uint64_t weir_restart_strategy_failures(const struct weir_restart_strategy *strategy);

#endif
