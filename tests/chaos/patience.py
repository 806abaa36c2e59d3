"""Waiting on a machine that others load as well: a deadline is so many seconds of a machine of one's own."""

import os
import time

DEADLINE_S = 30
STRETCH_MAX = 6.0


def slowness():
    """How many times longer things take for what else runs here, from 1 (what a run of these tests makes of an idle machine) to STRETCH_MAX."""
    return min(max(os.getloadavg()[0] / (4 * os.cpu_count()), 1.0), STRETCH_MAX)


def wait_for(condition, what, deadline_s=DEADLINE_S):
    """Polls until condition() is true and returns its value."""
    left_s, began = deadline_s, time.monotonic()
    at = began
    while True:
        value = condition()
        if value:
            return value
        before, at = at, time.monotonic()
        left_s -= (at - before) / slowness()
        if left_s < 0:
            raise AssertionError(f"not within {deadline_s:g} s, stretched to {at - began:.0f} s by a load of {os.getloadavg()[0]:.1f}: {what}")
        time.sleep(0.02)
