/*
 * Event-time windows as slices (Flink's slice-shared windows): time is cut into slices of gcd(size, slide); a row goes to one slice, a
 * window is the union of the slices inside it. Pure arithmetic on milliseconds; slices and windows are named by their (exclusive) end.
 *
 * A window [start, end) fires when the watermark reaches end - 1. A slice is late when the last window that holds it has fired. With a
 * slide greater than the size there are gaps: a slice in a gap is in no window, and its rows are nobody's.
 */
#ifndef WEIR_TASKMANAGER_OPERATORS_WINDOW_SLICES_H
#define WEIR_TASKMANAGER_OPERATORS_WINDOW_SLICES_H

#include "common/base/error.h"
#include "common/plan/opspec.h"

enum { WEIR_WINDOW_DAYS_MAX = 366 * 1000 };

struct weir_slices {
    int64_t size_ms;
    int64_t slide_ms;
    int64_t slice_ms;
    int64_t offset_ms; /* in [0, slide) */
};

/* TUMBLE and HOP. UNSUPPORTED: CUMULATE. INVALID: size or slide not positive or absurdly large. */
enum weir_rc weir_slices_init(struct weir_slices *slices, const struct weir_window_spec *window, struct weir_error *err) WEIR_CHECKED;

/* The slice ends of rows by their times in microseconds: out_slice_ends[i] for physical row sel[i] (row i when sel is NULL). */
void weir_slices_assign(const struct weir_slices *slices, const int64_t *time_micros, const uint16_t *sel, uint32_t count,
                        int64_t *out_slice_ends);

/* The first and last window that hold a slice; first > last when it lies in a gap. */
int64_t weir_slices_first_window(const struct weir_slices *slices, int64_t slice_end_ms);
int64_t weir_slices_last_window(const struct weir_slices *slices, int64_t slice_end_ms);

static inline bool weir_slices_in_gap(const struct weir_slices *slices, int64_t slice_end_ms)
{
    return slices->slide_ms > slices->size_ms &&
           weir_slices_first_window(slices, slice_end_ms) > weir_slices_last_window(slices, slice_end_ms);
}

/* Whether a slice that some window holds ends here: for ends that come from outside. */
bool weir_slices_is_slice(const struct weir_slices *slices, int64_t end_ms);

/* All slices that end at or before this are late once the watermark is here (INT64_MIN: none, INT64_MAX: all). */
int64_t weir_slices_late_through(const struct weir_slices *slices, int64_t watermark_ms);

/* The first window that holds the slice and ends after after_ms. The slice is not late at that time. */
int64_t weir_slices_next_window(const struct weir_slices *slices, int64_t slice_end_ms, int64_t after_ms);

static inline bool weir_slices_due(int64_t window_end_ms, int64_t watermark_ms)
{
    return window_end_ms - 1 <= watermark_ms;
}

#endif
