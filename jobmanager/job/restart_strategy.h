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
 * (R1) Restarts of a job are at least WEIR_RESTART_DELAY_MIN_MS apart from the failures before them, whatever the settings say.
 * (R2) What is counted lives as long as the leader does: a new leader counts anew, as Flink's does.
 */
#ifndef WEIR_JOBMANAGER_JOB_RESTART_STRATEGY_H
#define WEIR_JOBMANAGER_JOB_RESTART_STRATEGY_H

#include "common/plan/jobgraph.h"

enum { WEIR_RESTART_DELAY_MIN_MS = 10 };

struct weir_restart_strategy;

struct weir_restart_strategy *weir_restart_strategy_create(const struct weir_restart_settings *settings, uint64_t seed);
void weir_restart_strategy_destroy(struct weir_restart_strategy *strategy); /* accepts NULL */

/* A failure at now_ms, which never goes back. False: the job is to end. *out_at_ms: when it restarts. */
bool weir_restart_strategy_failed(struct weir_restart_strategy *strategy, int64_t now_ms, int64_t *out_at_ms);

#endif
