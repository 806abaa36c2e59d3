"""The random mode: faults of all kinds for some minutes, one after the other and two at once, then the whole oracle."""

import collections
import json
import os
import random
import re
import statistics
import time

import faults
from patience import wait_for

SUBMITTED = 0.3   # how often a small job is submitted while a fault begins
AT_ONCE = (1, 1, 1, 2, 2, 3)  # how many come at once
QUIET_CHECKPOINTS = 8  # that complete without a restart before it counts as peace
UNSETTLED = 0.3   # how often the next comes before the job runs again

SMALL = """\
job: {name}
settings: {{restart-strategy.type: fixed-delay, restart-strategy.fixed-delay.attempts: 1000, restart-strategy.fixed-delay.delay: 100 ms}}
tables:
  numbers:
    columns: {{n: BIGINT}}
    with: {{connector: datagen, number-of-rows: 1000, fields.n.kind: sequence, fields.n.start: 1, fields.n.end: 1000}}
  nothing:
    columns: {{n: BIGINT}}
    with: {{connector: blackhole}}
pipeline:
  - {{id: read, source: numbers}}
  - {{id: write, input: read, sink: nothing}}
"""


class Storm:
    def __init__(self, rig, seed, seconds, without=(), path=None):
        """path: where the summary goes, also while it plays."""
        self.rig, self.seed, self.seconds, self.path = rig, seed, seconds, path
        self.rng = random.Random(seed)
        self.decks = {touched: faults.deck(rig, self.rng, touched, without) for touched in ("tasks", "nothing")}
        self.began = time.monotonic()
        self.timeline = []                      # what was done: (seconds since the beginning, text)
        self.counts = collections.Counter()
        self.recoveries = collections.defaultdict(list)  # touched tasks or not: seconds to a running job with new checkpoints
        self.gaps = collections.defaultdict(list)
        self.restarts = collections.Counter()   # by kinds between two moments of peace
        self.submissions = []                   # (name of the job, the client that submits it)
        self.answered = self.records = self.rate = 0
        self.since_peace = []
        self.peace_at = time.monotonic()
        self.restarts_at_peace = rig.watch.restarts

    def say(self, text):
        self.timeline.append((round(time.monotonic() - self.began, 2), text))

    def touches(self, kind):
        return faults.touches(kind, len(self.rig.jm_hosts))

    def draw(self):
        """Those of one round. Half of the rounds touch no task, however many come at once: a restart is a failure there."""
        harmless = self.rng.random() < 0.5
        decks = ["nothing" if harmless else self.rng.choice(("tasks", "nothing")) for _ in range(self.rng.choice(AT_ONCE))]
        if not harmless:
            decks[0] = "tasks"
        return [kind for kind in (next(self.decks[deck], None) for deck in decks) if kind]

    def play(self, kinds):
        """All at once; each heals when its own time is over."""
        running = []
        if self.rng.random() < SUBMITTED:
            self.submit()
        for kind in kinds:
            self.counts[kind.kind] += 1
            self.since_peace.append(kind)
            play = kind(self.rig, self.rng)
            hold_s = next(play)
            self.say(f"{kind.kind} for {hold_s:.1f} s")
            running.append((time.monotonic() + hold_s, kind, play))
        for until, kind, play in sorted(running, key=lambda one: one[0]):
            time.sleep(max(0.0, until - time.monotonic()))
            if next(play, None) is not None:
                raise AssertionError(f"{kind.kind} yields twice")
            self.say(f"{kind.kind} is over")

    def submit(self):
        name = f"small-{len(self.submissions) + 1}"
        path = self.rig.folder / f"{name}.yaml"
        path.write_text(SMALL.format(name=name))
        self.submissions.append((name, self.rig.begin_weir("run", "-d", "-p", "1", str(path))))
        self.say(f"{name} is submitted")

    def check_submissions(self):
        """A job whose submission was answered is there and finishes, and none is there twice."""
        for name, client in self.submissions:
            out, err = client.communicate(timeout=180)
            if client.returncode != 0:
                self.say(f"{name} was not submitted: {err.strip()}")

        def jobs():
            _, document = self.rig.ask("/jobs/overview")
            found = {}
            for job in document["jobs"] if document else ():
                found.setdefault(job["name"], []).append(job["state"])
            return found

        answered = [name for name, client in self.submissions if client.returncode == 0]
        wait_for(lambda: all(jobs().get(name) == ["FINISHED"] for name in answered), f"{answered} have finished; there are {jobs()}", 60)
        twice = {name: states for name, states in jobs().items() if len(states) > 1}
        if twice:
            raise AssertionError(f"jobs that were submitted once and are there twice: {twice}")
        self.answered = len(answered)

    def wait_quiet(self, names):
        """What a fault leaves behind comes late, such as a zombie that fences its successors: no restart for some checkpoints, then peace."""
        while any(self.touches(kind) == "tasks" for kind in self.since_peace):
            restarts = self.rig.watch.restarts
            self.rig.wait_stable(names, checkpoints=QUIET_CHECKPOINTS)
            if self.rig.watch.restarts == restarts:
                break
            self.say(f"late restarts: {self.rig.watch.restarts - restarts}")

    def settle(self):
        """Waits for peace, and judges what the faults since the last one have done."""
        names = "+".join(kind.kind for kind in self.since_peace)
        seconds = self.rig.wait_stable(names)
        self.rig.may_leave.clear()
        now = time.monotonic()
        self.wait_quiet(names)
        touched = any(self.touches(kind) == "tasks" for kind in self.since_peace)
        restarts = self.rig.watch.restarts - self.restarts_at_peace
        label = "tasks" if touched else "nothing"
        self.recoveries[label].append(seconds)
        self.gaps[label].append(self.rig.copies.gap_s(self.peace_at, now))
        self.say(f"peace after {seconds:.1f} s, {restarts} restarts, gap {self.gaps[label][-1]:.2f} s, leader {self.rig.leader()}, "
                 f"load {os.getloadavg()[0]:.1f}")
        self.write("under way")
        if restarts:
            self.restarts[names] += restarts
        if restarts and not touched:
            newest = "\n".join(f"  {one}: {text}" for host in self.rig.jm_hosts for one, text in [why for why in self.rig.failures() if why[0] == host][-3:])
            raise AssertionError(f"{restarts} restarts of tasks by {names}, which touches none; the newest failures by each JobManager's log:\n{newest}")
        self.since_peace, self.peace_at, self.restarts_at_peace = [], now, self.rig.watch.restarts

    def run(self):
        while time.monotonic() - self.began < self.seconds:
            self.play(self.draw())
            if self.rng.random() < UNSETTLED:
                time.sleep(self.rng.uniform(0, 1.5))
                self.rig.tend()
            else:
                self.settle()
                time.sleep(self.rng.uniform(0, 0.5))
        self.rig.net.heal()
        self.settle()
        self.check_submissions()
        feed = self.rig.feed
        counts = self.rig.finish_job()
        self.records, self.rate = sum(counts), sum(counts) / feed.seconds

    def write(self, verdict):
        if self.path:
            write(self.path, self.summary(verdict))

    def summary(self, verdict):
        def figures(lists):
            return {label: {"count": len(values), "p50": round(statistics.median(values), 2), "max": round(max(values), 2)}
                    for label, values in lists.items() if values}
        return {"seed": self.seed, "verdict": verdict, "jobmanagers": len(self.rig.jm_hosts), "taskmanagers": len(self.rig.tm_hosts),
                "tls": self.rig.tls, "minutes": round((time.monotonic() - self.began) / 60, 1), "records": self.records,
                "rate": round(self.rate), "checkpoints": self.rig.watch.checkpoint if self.rig.watch else None,
                "small_jobs": {"submitted": len(self.submissions), "answered_and_finished": self.answered},
                "faults": sum(self.counts.values()), "faults_by_kind": dict(sorted(self.counts.items())),
                "restarts": sum(self.restarts.values()), "restarts_by": dict(self.restarts), "exits": self.rig.exits,
                "causes": self.causes() if verdict != "under way" else None,
                "recovery_s": figures(self.recoveries), "gap_s": figures(self.gaps), "timeline": self.timeline}

    def causes(self):
        """How often tasks failed for what, in words without numbers."""
        texts = [re.sub(r".*error=", "", text) for _, text in self.rig.failures()] if self.rig.job else []
        return dict(collections.Counter(re.sub(r"[0-9a-f]*\d[0-9a-f.]*", "#", text)[:160] for text in texts).most_common())


def write(path, summary):
    path.write_text(json.dumps(summary, indent=1, default=str) + "\n")
