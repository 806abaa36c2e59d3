#include "jobmanager/job/restart_strategy.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/base/vec.h"

struct weir_restart_strategy {
    struct weir_restart_settings settings;
    struct weir_rand rand;
    int64_t attempts;      /* FIXED_DELAY, EXPONENTIAL_DELAY since its reset */
    int64_t restart_at_ms; /* EXPONENTIAL_DELAY: of the newest restart; INT64_MIN: none yet */
    double delay_ms;       /* EXPONENTIAL_DELAY: the next, without jitter */
    int64_t *failures_ms;  /* FAILURE_RATE: those within the interval, oldest first */
    size_t nfailures, failures_cap;
    int64_t recent_ms[WEIR_RESTART_BURST_MAX]; /* (R1): the newest failures, as a ring */
    uint64_t nrecent;
    int64_t newest_at_ms; /* of the newest restart; failures before it are part of its cause */
};

struct weir_restart_strategy *weir_restart_strategy_create(const struct weir_restart_settings *settings, uint64_t seed)
{
    struct weir_restart_strategy *strategy = weir_calloc(1, sizeof(*strategy));
    strategy->settings = *settings;
    strategy->restart_at_ms = INT64_MIN;
    strategy->newest_at_ms = INT64_MIN;
    strategy->delay_ms = (double)settings->delay_ms;
    weir_rand_init(&strategy->rand, seed);
    return strategy;
}

void weir_restart_strategy_destroy(struct weir_restart_strategy *strategy)
{
    if (strategy != NULL) {
        weir_free(strategy->failures_ms);
        weir_free(strategy);
    }
}

static bool rate_allows(struct weir_restart_strategy *strategy, int64_t now_ms)
{
    size_t old = 0;
    while (old < strategy->nfailures && now_ms - strategy->failures_ms[old] > strategy->settings.interval_ms) {
        old++;
    }
    strategy->nfailures -= old;
    if (old > 0) {
        memmove(strategy->failures_ms, strategy->failures_ms + old, strategy->nfailures * sizeof(*strategy->failures_ms));
    }
    if ((int64_t)strategy->nfailures >= strategy->settings.failures_max) {
        return false;
    }
    strategy->failures_ms = weir_vec_grow(strategy->failures_ms, &strategy->failures_cap, sizeof(*strategy->failures_ms), strategy->nfailures + 1);
    strategy->failures_ms[strategy->nfailures++] = now_ms;
    return true;
}

static int64_t next_exponential_delay_ms(struct weir_restart_strategy *strategy)
{
    const struct weir_restart_settings *settings = &strategy->settings;
    double least = (double)settings->delay_ms;
    double most = (double)settings->delay_max_ms;
    double delay = strategy->delay_ms * (1 + settings->jitter * (2 * weir_rand_double(&strategy->rand) - 1));
    strategy->delay_ms = strategy->delay_ms * settings->multiplier < most ? strategy->delay_ms * settings->multiplier : most;
    return (int64_t)(delay < least ? least : delay > most ? most : delay);
}

static bool exponential(struct weir_restart_strategy *strategy, int64_t now_ms, int64_t *out_at_ms)
{
    const struct weir_restart_settings *settings = &strategy->settings;
    bool first = strategy->restart_at_ms == INT64_MIN;
    if (!first && now_ms <= strategy->restart_at_ms) {
        *out_at_ms = strategy->restart_at_ms;
        return strategy->attempts <= settings->attempts_max;
    }
    if (!first && now_ms - strategy->restart_at_ms >= settings->reset_ms) {
        strategy->attempts = 0;
        strategy->delay_ms = (double)settings->delay_ms;
    }
    int64_t delay_ms = next_exponential_delay_ms(strategy);
    strategy->restart_at_ms = now_ms + delay_ms;
    *out_at_ms = strategy->restart_at_ms;
    return ++strategy->attempts <= settings->attempts_max || settings->attempts_max == INT32_MAX;
}

/* (R1) of a failure that is not part of an earlier one's cause. */
static int64_t least_delay_ms(struct weir_restart_strategy *strategy, int64_t now_ms)
{
    strategy->recent_ms[strategy->nrecent++ % WEIR_RESTART_BURST_MAX] = now_ms;
    bool burst = strategy->nrecent > WEIR_RESTART_BURST_MAX &&
                 now_ms - strategy->recent_ms[strategy->nrecent % WEIR_RESTART_BURST_MAX] < WEIR_RESTART_BURST_INTERVAL_MS;
    return burst ? WEIR_RESTART_BURST_DELAY_MS : WEIR_RESTART_DELAY_MIN_MS;
}

static bool decide(struct weir_restart_strategy *strategy, int64_t now_ms, int64_t *out_at_ms)
{
    const struct weir_restart_settings *settings = &strategy->settings;
    switch (settings->type) {
    case WEIR_RESTART_NONE:
        return false;
    case WEIR_RESTART_FIXED_DELAY:
        *out_at_ms = now_ms + settings->delay_ms;
        return ++strategy->attempts <= settings->attempts_max || settings->attempts_max == INT32_MAX;
    case WEIR_RESTART_FAILURE_RATE:
        *out_at_ms = now_ms + settings->delay_ms;
        return rate_allows(strategy, now_ms);
    case WEIR_RESTART_EXPONENTIAL_DELAY:
        return exponential(strategy, now_ms, out_at_ms);
    }
    weir_assert(false);
    return false;
}

bool weir_restart_strategy_failed(struct weir_restart_strategy *strategy, int64_t now_ms, int64_t *out_at_ms)
{
    int64_t at_ms = 0;
    int64_t least_ms = now_ms > strategy->newest_at_ms ? now_ms + least_delay_ms(strategy, now_ms) : strategy->newest_at_ms;
    if (!decide(strategy, now_ms, &at_ms)) {
        return false;
    }
    *out_at_ms = at_ms < least_ms ? least_ms : at_ms;
    strategy->newest_at_ms = *out_at_ms;
    return true;
}

uint64_t weir_restart_strategy_failures(const struct weir_restart_strategy *strategy)
{
    return strategy->nrecent;
}
