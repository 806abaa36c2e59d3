"""Load and oracle: numbered records, and whether their copies and sums come out exactly once and in order (chaos_load.c)."""

import collections
import signal
import subprocess
import threading
import time

from cluster import ROOT
from patience import wait_for

LOAD = ROOT / "build" / "chaos-load"
PARTITIONS = 4
WINDOW_MS = 2000
DELAY_MS = 100

Exactness = collections.namedtuple("Exactness", "received doubled missing disordered bad gap_us lowest")


class Checker(threading.Thread):
    """Reads a topic from its beginning and judges every record at once."""

    def __init__(self, prefix, kind, servers, topic, folder):
        super().__init__(daemon=True)
        self.kind = kind
        self.complaints = folder / f"{kind}-{topic}.err"
        self.reports = [(time.monotonic(), Exactness(0, 0, 0, 0, 0, 0, 0))]
        with open(self.complaints, "wb") as err:
            self.process = subprocess.Popen([*prefix, LOAD, kind, servers, topic, str(PARTITIONS)], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=err, text=True)
        self.start()

    def run(self):
        for line in self.process.stdout:
            self.reports.append((time.monotonic(), Exactness(*map(int, line.split()))))

    @property
    def latest(self):
        return self.reports[-1][1]

    def check(self):
        problem = self.wrong()
        if problem:
            raise AssertionError(problem)

    def wrong(self):
        """What is wrong with the output so far, or None."""
        seen = self.latest
        if seen.doubled or seen.missing or seen.disordered or seen.bad:
            return f"{self.kind}: {seen.doubled} doubled, {seen.missing} missing, {seen.disordered} out of order, {seen.bad} bad: {self.complaints.read_text()[:2000]}"
        return None

    def gap_s(self, begin, end):
        """The longest time without a record that ended, or went on, between two moments of time.monotonic()."""
        return max((seen.gap_us / 1e6 for at, seen in self.reports if begin <= at <= end), default=0.0)

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Feed:
    """Fills a topic at a steady rate."""

    def __init__(self, prefix, servers, topic, rate, folder):
        self.began = time.monotonic()
        self.counts = None
        self.errors = folder / f"feed-{topic}.err"
        with open(self.errors, "wb") as err:
            self.process = subprocess.Popen([*prefix, LOAD, "feed", servers, topic, str(rate), str(PARTITIONS)], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=err, text=True)

    def stop(self):
        """The records of each partition."""
        if self.counts is None:
            self.seconds = time.monotonic() - self.began
            self.process.send_signal(signal.SIGTERM)
            out, _ = self.process.communicate(timeout=120)
            if self.process.returncode != 0:
                raise AssertionError(f"the feed ended with {self.process.returncode}: {self.errors.read_text()}")
            self.counts = [int(line.split("\t")[1]) for line in out.splitlines()]
        return self.counts

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def check_complete(counts, copies, sums, deadline_s):
    """Every record fed has its copy, and every window that could close its sums: once each, in order."""
    total, windows = sum(counts), (min(counts) - 1 - DELAY_MS) // WINDOW_MS

    def done():
        for checker in (copies, sums):
            checker.check()
        return copies.latest.received >= total and sums.latest.lowest >= windows

    try:
        wait_for(done, "every record has its copy", deadline_s)
    except AssertionError as error:
        raise AssertionError(f"{error}; copies {copies.latest.received} of {total}, windows {sums.latest.lowest} of {windows}") from None
    if copies.latest.received != total:
        raise AssertionError(f"{copies.latest.received} copies of {total} records")
