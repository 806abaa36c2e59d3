#include "jobmanager/job/adaptive.h"

void weir_adaptive_init(struct weir_adaptive *adaptive)
{
    *adaptive = (struct weir_adaptive){.stable_at_ms = INT64_MAX, .spare_since_ms = INT64_MAX};
}

bool weir_adaptive_takes(struct weir_adaptive *adaptive, const struct weir_adaptive_settings *settings, uint32_t available, uint32_t had,
                         int64_t now_ms)
{
    if (!settings->enabled || available == 0) {
        weir_adaptive_reset(adaptive);
        return false;
    }
    if (adaptive->stable_at_ms == INT64_MAX) {
        adaptive->stable_at_ms = now_ms + settings->stabilization_ms;
    }
    weir_adaptive_tick(adaptive, now_ms);
    adaptive->agreed = adaptive->agreed || (had > 0 && available >= had);
    return adaptive->agreed;
}

void weir_adaptive_tick(struct weir_adaptive *adaptive, int64_t now_ms)
{
    adaptive->agreed = adaptive->agreed || adaptive->stable_at_ms <= now_ms; /* without any slot it would have been reset */
}

bool weir_adaptive_hurries(struct weir_adaptive *adaptive)
{
    bool hurries = adaptive->stable_at_ms != INT64_MAX && !adaptive->agreed;
    adaptive->agreed = adaptive->agreed || hurries;
    return hurries;
}

void weir_adaptive_reset(struct weir_adaptive *adaptive)
{
    adaptive->stable_at_ms = INT64_MAX;
    adaptive->agreed = false;
}

int64_t weir_adaptive_deadline_ms(const struct weir_adaptive *adaptive)
{
    return adaptive->agreed ? INT64_MAX : adaptive->stable_at_ms;
}

void weir_adaptive_offer(struct weir_adaptive *adaptive, const struct weir_adaptive_settings *settings, uint32_t spare, int64_t now_ms)
{
    adaptive->spare = spare;
    if (!settings->enabled || spare < settings->increase_min) {
        adaptive->spare_since_ms = INT64_MAX;
    } else if (adaptive->spare_since_ms == INT64_MAX) {
        adaptive->spare_since_ms = now_ms;
    }
}

bool weir_adaptive_grows(const struct weir_adaptive *adaptive, const struct weir_adaptive_settings *settings, int64_t now_ms)
{
    return settings->enabled && adaptive->spare_since_ms != INT64_MAX && now_ms - adaptive->spare_since_ms >= settings->stabilization_ms &&
           now_ms - adaptive->began_ms >= settings->interval_ms;
}
