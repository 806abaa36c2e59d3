"""One broken job never disturbs another or the JobManager, and what many jobs leave behind is bounded: in the cluster log, on disk, in memory
and in the logs."""

import os
import pathlib
import tempfile
import time
import unittest
import uuid

from cluster import BUILD, Cluster, read_rows, wait_for

JOBS = int(os.environ.get("WEIR_ISOLATION_JOBS", "600"))
SANITIZED = "asan" in str(BUILD) or "tsan" in str(BUILD)

GOOD = """\
job: good
settings: {{execution.checkpointing.interval: 100 ms}}
tables:
  in: {{columns: {{n: BIGINT}}, with: {{connector: datagen, rows-per-second: 2000, fields.n.kind: sequence, fields.n.start: 0, fields.n.end: 1000000000}}}}
  out: {{columns: {{n: BIGINT}}, with: {{connector: filesystem, path: {out}, format: json}}}}
pipeline:
  - {{id: read, source: in}}
  - {{id: write, input: read, sink: out}}
"""

SMALL = """\
job: small-{number}
settings: {{execution.checkpointing.interval: 20 ms}}
tables:
  in: {{columns: {{n: BIGINT}}, with: {{connector: datagen, number-of-rows: 100}}}}
  out: {{columns: {{n: BIGINT}}, with: {{connector: blackhole}}}}
pipeline:
  - {{id: read, source: in}}
  - {{id: write, input: read, sink: out}}
"""

POISON = """\
job: poison-{number}
settings: {{restart-strategy.type: {strategy}{more}}}
tables:
  in: {{columns: {{n: BIGINT}}, with: {{connector: datagen, number-of-rows: 100, fields.n.kind: sequence, fields.n.start: 0, fields.n.end: 1000}}}}
  out: {{columns: {{n: BIGINT}}, with: {{connector: blackhole}}}}
pipeline:
  - {{id: read, source: in}}
  - {{id: divide, input: read, project: {{n: "10 / (n - 50)"}}}}
  - {{id: write, input: divide, sink: out}}
"""

BAD_PLAN = "job: bad\npipeline: [{id: read, source: nowhere}]\n"


def tree_bytes(folder):
    total = 0
    for path in pathlib.Path(folder).rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            pass
    return total


def rss_bytes(daemon):
    for line in pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmRSS")


class Isolation(unittest.TestCase):
    def setUp(self):
        self.cluster = None

    def tearDown(self):
        if self.cluster:
            self.cluster.close(failed=any(error for _, error in getattr(self._outcome, "errors", [])))

    def start(self, *options):
        self.cluster = Cluster(taskmanagers=2, slots=4, options=options)
        self.good = self.submit(GOOD.format(out=self.cluster.folder / "good"))
        self.cluster.wait_state(self.good, "RUNNING")

    def submit(self, text):
        job = uuid.uuid4().hex
        status, answer = self.cluster.http("POST", f"/jobs?jobid={job}&name=job.yaml", text.encode(), "application/yaml")
        self.assertIn(status, (200, 202), answer)
        return job

    def completed(self):
        return self.cluster.get(f"/jobs/{self.good}/checkpoints")["counts"]["completed"]

    def assert_good_untouched(self):
        """It has run in one attempt from the beginning, goes on, and its output is exact."""
        before = self.completed()
        wait_for(lambda: self.completed() > before + 2, "the good job goes on taking checkpoints")
        for vertex in self.cluster.get(f"/jobs/{self.good}")["vertices"]:
            for task in self.cluster.get(f"/jobs/{self.good}/vertices/{vertex['id']}")["subtasks"]:
                self.assertEqual((task["attempt"], task["status"]), (1, "RUNNING"))
        self.cluster.weir("cancel", self.good)
        self.cluster.wait_state(self.good, "CANCELED")
        numbers = sorted(row["n"] for row in read_rows(self.cluster.folder / "good"))
        self.assertEqual(numbers, list(range(len(numbers))))
        self.assertGreater(len(numbers), 0)

    def assert_others_are_in_the_logs(self):
        """The good job's lines, and those of a job that fails while the logs are full of others' failures."""
        once = self.submit(POISON.format(number="once", strategy="none", more=""))
        self.cluster.wait_state(once, "FAILED")
        for job, log in ((job, log) for job in (once, self.good)
                         for log in (self.cluster.jobmanager.log_path.read_text(), self.cluster.weir("logs", job).stdout)):
            lines = [line for line in log.splitlines() if f"job={job}" in line]
            states = [line.split(" to=")[1].split()[0] for line in lines if "event=job_state" in line]
            failures = [line for line in lines if "event=job_failure" in line]
            self.assertIn("FAILED" if job == once else "RUNNING", states, lines)
            self.assertEqual(["divided by zero" in line for line in failures], [True] if job == once else [], lines)

    def test_many_jobs_leave_nothing_that_grows(self):
        folder = tempfile.TemporaryDirectory(prefix="weir-it-chk-")
        self.addCleanup(folder.cleanup)
        checkpoints = pathlib.Path(folder.name)
        self.start("jobstore.expiration-time=500 ms", f"state.checkpoints.dir={checkpoints}")
        jobs = []
        rss = []
        for number in range(JOBS):
            jobs.append(self.submit(SMALL.format(number=number) if number % 5 else POISON.format(number=number, strategy="none", more="")))
            if number % 50 == 49:
                wait_for(lambda: len(self.cluster.get("/jobs")["jobs"]) <= 40, "ended jobs are forgotten", 60)
                rss.append(rss_bytes(self.cluster.jobmanager))
        wait_for(lambda: len(self.cluster.get("/jobs")["jobs"]) == 1, "only the good job is listed", 60)
        self.assertLess(tree_bytes(self.cluster.folder / "jobmanager.data"), 24 << 20)
        left = [path.name for path in checkpoints.iterdir() if path.name != self.good]
        self.assertEqual(left, [], "checkpoints of jobs that are over and forgotten")
        if not SANITIZED:
            self.assertLess(rss[-1], rss[len(rss) // 3] + (8 << 20), f"the JobManager grows: {rss}")
        for daemon in [self.cluster.jobmanager, *self.cluster.taskmanagers]:
            self.assertLess(daemon.log_path.stat().st_size, (JOBS + 200) * 12_000, daemon.name)
        self.assert_good_untouched()

    def test_a_job_that_crashes_at_once_and_for_ever_is_only_its_own_trouble(self):
        self.start()
        loops = [self.submit(POISON.format(number=number, strategy="fixed-delay",
                                           more=", restart-strategy.fixed-delay.attempts: 1000000, restart-strategy.fixed-delay.delay: 0 ms"))
                 for number in range(3)]
        status, answer = self.cluster.http("POST", f"/jobs?jobid={uuid.uuid4().hex}&name=bad.yaml", BAD_PLAN.encode(), "application/yaml")
        self.assertEqual(status, 400, answer)

        def attempts(job):
            detail = self.cluster.get(f"/jobs/{job}")
            vertex = detail["vertices"][0]["id"]
            return self.cluster.get(f"/jobs/{job}/vertices/{vertex}")["subtasks"][0]["attempt"]

        wait_for(lambda: all(attempts(job) >= 8 for job in loops), "the broken jobs are restarted")
        self.assert_others_are_in_the_logs()
        began = self.completed()
        before, since = [attempts(job) for job in loops], time.monotonic()
        wait_for(lambda: self.completed() >= began + 20, "the good job completes 20 checkpoints meanwhile")
        for job, first in zip(loops, before):
            # ten without a delay worth the name, then one a second
            self.assertLess(attempts(job) - first, 20 + 2 * (time.monotonic() - since), "restarts in the time of 20 checkpoints")
            self.assertIn("divided by zero", self.cluster.get(f"/jobs/{job}/exceptions")["root-exception"])
            self.assertEqual(self.cluster.weir("cancel", job).returncode, 0)
            self.cluster.wait_state(job, "CANCELED")
        self.assert_good_untouched()


if __name__ == "__main__":
    unittest.main()
