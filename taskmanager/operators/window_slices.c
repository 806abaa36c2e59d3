#include "taskmanager/operators/window_slices.h"

#include "common/base/assert.h"

/* Remainder in [0, divisor), also of negative numbers. */
static int64_t floor_mod(int64_t value, int64_t divisor)
{
    int64_t remainder = value % divisor;
    return remainder < 0 ? remainder + divisor : remainder;
}

static int64_t gcd(int64_t a, int64_t b)
{
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

enum weir_rc weir_slices_init(struct weir_slices *slices, const struct weir_window_spec *window, struct weir_error *err)
{
    const int64_t max_ms = (int64_t)WEIR_WINDOW_DAYS_MAX * 86400000;
    int64_t slide_ms = window->slide_ms;
    switch (window->kind) {
    case WEIR_WINDOW_TUMBLE:
        slide_ms = window->size_ms;
        break;
    case WEIR_WINDOW_HOP:
        break;
    case WEIR_WINDOW_CUMULATE:
        return weir_error_set(err, WEIR_UNSUPPORTED, "cumulating windows are not supported yet: TUMBLE and HOP are");
    case WEIR_WINDOW_NONE:
        return weir_error_set(err, WEIR_INVALID, "a windowed aggregate without a window");
    }
    if (window->size_ms <= 0 || window->size_ms > max_ms || slide_ms <= 0 || slide_ms > max_ms) {
        return weir_error_set(err, WEIR_INVALID, "window of size %lld ms, slide %lld ms: both must be from 1 ms to %d days",
                              (long long)window->size_ms, (long long)slide_ms, (int)WEIR_WINDOW_DAYS_MAX);
    }
    *slices = (struct weir_slices){
        .size_ms = window->size_ms,
        .slide_ms = slide_ms,
        .slice_ms = gcd(window->size_ms, slide_ms),
        .offset_ms = floor_mod(window->offset_ms, slide_ms),
    };
    return WEIR_OK;
}

void weir_slices_assign(const struct weir_slices *slices, const int64_t *time_micros, const uint16_t *sel, uint32_t count,
                        int64_t *out_slice_ends)
{
    const uint64_t slice_micros = (uint64_t)slices->slice_ms * 1000;
    int64_t start_micros = 0; /* of the slice of the row before: rows come nearly in order, so a division is rare */
    int64_t end_ms = 0;
    bool known = false;
    for (uint32_t i = 0; i < count; i++) {
        int64_t micros = time_micros[sel == NULL ? i : sel[i]];
        if (!known || (uint64_t)micros - (uint64_t)start_micros >= slice_micros) {
            int64_t ms = micros / 1000 - (micros % 1000 < 0 ? 1 : 0);
            int64_t start_ms = ms - floor_mod(ms - slices->offset_ms, slices->slice_ms);
            end_ms = start_ms + slices->slice_ms;
            known = !__builtin_mul_overflow(start_ms, 1000, &start_micros);
        }
        out_slice_ends[i] = end_ms;
    }
}

int64_t weir_slices_first_window(const struct weir_slices *slices, int64_t slice_end_ms)
{
    return slice_end_ms + floor_mod(slices->offset_ms + slices->size_ms - slice_end_ms, slices->slide_ms);
}

int64_t weir_slices_last_window(const struct weir_slices *slices, int64_t slice_end_ms)
{
    int64_t slice_start_ms = slice_end_ms - slices->slice_ms;
    return slice_start_ms - floor_mod(slice_start_ms - slices->offset_ms, slices->slide_ms) + slices->size_ms;
}

/* Outside of this no event time can lie, and arithmetic inside does not overflow. */
static const int64_t TIME_MS_MAX = INT64_MAX / 1000 + (int64_t)WEIR_WINDOW_DAYS_MAX * 86400000 * 2;

bool weir_slices_is_slice(const struct weir_slices *slices, int64_t end_ms)
{
    return end_ms >= -TIME_MS_MAX && end_ms <= TIME_MS_MAX && floor_mod(end_ms - slices->offset_ms, slices->slice_ms) == 0 &&
           !weir_slices_in_gap(slices, end_ms);
}

int64_t weir_slices_late_through(const struct weir_slices *slices, int64_t watermark_ms)
{
    if (watermark_ms < -TIME_MS_MAX) {
        return INT64_MIN;
    }
    if (watermark_ms > TIME_MS_MAX) {
        return INT64_MAX;
    }
    /* The last window fired; what lies before the start of the window after it is in no window to come. */
    int64_t fired_ms = watermark_ms + 1 - floor_mod(watermark_ms + 1 - slices->offset_ms - slices->size_ms, slices->slide_ms);
    return fired_ms + slices->slide_ms - slices->size_ms;
}

int64_t weir_slices_next_window(const struct weir_slices *slices, int64_t slice_end_ms, int64_t after_ms)
{
    int64_t first_ms = weir_slices_first_window(slices, slice_end_ms);
    if (first_ms > after_ms) {
        return first_ms;
    }
    int64_t next_ms = after_ms + 1 + floor_mod(slices->offset_ms + slices->size_ms - after_ms - 1, slices->slide_ms);
    weir_assert(next_ms <= weir_slices_last_window(slices, slice_end_ms));
    return next_ms;
}
