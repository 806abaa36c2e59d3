"""Waiting on a machine that others load as well: a deadline is so many seconds of a machine of one's own."""

import os

from cluster import poll

DEADLINE_S = 30
STRETCH_MAX = 6.0


def slowness():
    """How many times longer things take for what else runs here, from 1 (what a run of these tests makes of an idle machine) to STRETCH_MAX."""
    return min(max(os.getloadavg()[0] / (4 * os.cpu_count()), 1.0), STRETCH_MAX)


def wait_for(condition, what, deadline_s=DEADLINE_S):
    return poll(condition, what, deadline_s, slowness)
