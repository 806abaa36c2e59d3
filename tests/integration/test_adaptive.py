"""The adaptive scheduler: a job goes on at lower parallelism when TaskManagers are lost, and grows when they come; exactly once all the while."""

import unittest

import cluster
import test_kafka_exactly_once
from cluster import Cluster, read_rows, wait_for

ADAPTIVE = ["jobmanager.scheduler=adaptive", "jobmanager.adaptive-scheduler.resource-stabilization-timeout=700 ms",
            "jobmanager.adaptive-scheduler.scaling-interval.min=1 s"]

WINDOWS = """
job: windows
settings:
  parallelism.default: 4
  execution.checkpointing.interval: 200 ms
  restart-strategy.type: fixed-delay
  restart-strategy.fixed-delay.attempts: 1000
  restart-strategy.fixed-delay.delay: 20 ms
tables:
  numbers:
    columns: {{n: BIGINT, ts: "TIMESTAMP(3)"}}
    watermark: {{column: ts, delay: 1 s}}
    with: {{connector: datagen, rows-per-second: {rate}, number-of-rows: {rows}, seed: 3, fields.n.kind: sequence, fields.n.start: 0,
           fields.n.end: {last}, fields.ts.kind: time, fields.ts.step: 1 ms}}
  counts:
    columns: {{window_start: TIMESTAMP(3), window_end: TIMESTAMP(3), k: BIGINT, rows: BIGINT, total: BIGINT}}
    with: {{connector: filesystem, path: {counts}, format: json}}
pipeline:
  - {{id: read, source: numbers}}
  - {{id: keyed, input: read, project: {{k: "n % {keys}", n: n, ts: ts}}}}
  - {{id: count, input: keyed, key_by: [k], window: {{tumble: 20 s}}, aggregate: {{rows: "COUNT(*)", total: "SUM(n)"}}}}
  - {{id: write, input: count, sink: counts}}
"""


class Rescales:
    """What the tests ask of a job that changes its parallelism."""

    def parallelism(self):
        """That of its vertices, while it runs; None: it does not, or they differ."""
        detail = self.cluster.get(f"/jobs/{self.job}")
        found = {vertex["parallelism"] for vertex in detail["vertices"]}
        states = {vertex["status"] for vertex in detail["vertices"]}
        return found.pop() if detail["state"] == "RUNNING" and states == {"RUNNING"} and len(found) == 1 else None

    def wait_parallelism(self, parallelism):
        wait_for(lambda: self.parallelism() == parallelism, f"it runs with parallelism {parallelism}", 60)

    def failures(self):
        return len(self.cluster.get(f"/jobs/{self.job}/exceptions")["exceptionHistory"]["entries"])

    def kill_one(self):
        next(tm for tm in self.cluster.taskmanagers if not tm.killed).kill()

    def shrink_and_grow(self):
        """A TaskManager of two is lost, and another comes."""
        self.wait_parallelism(4)
        self.new_checkpoint()
        self.kill_one()
        self.wait_parallelism(2)
        self.assertIn("runs with parallelism 2 of 4: 2 slots are missing", self.cluster.weir("status", self.job).stdout)
        self.new_checkpoint()
        self.cluster.start_taskmanager()
        self.wait_parallelism(4)
        self.assertIsNone(self.cluster.get(f"/jobs/{self.job}")["waiting-for"])
        self.new_checkpoint()


class Adaptive(Rescales, unittest.TestCase):
    def start(self, taskmanagers, options=ADAPTIVE, rows=600_000, rate=40_000, keys=1000):
        self.cluster = Cluster(taskmanagers=taskmanagers, slots=2, checkpoints=True, options=options)
        self.addCleanup(self.cluster.close)
        self.counts, self.rows, self.keys = self.cluster.folder / "counts", rows, keys
        text = WINDOWS.format(rows=rows, last=rows - 1, keys=keys, rate=rate, counts=self.counts)
        result = self.cluster.weir("run", "-d", str(self.cluster.write("windows.yaml", text)))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.job = self.cluster.get("/jobs/overview")["jobs"][0]["jid"]

    def completed(self):
        latest = self.cluster.get(f"/jobs/{self.job}/checkpoints")["latest"]["completed"]
        return latest["id"] if latest else 0

    def new_checkpoint(self):
        before = self.completed()
        wait_for(lambda: self.completed() > before, "a checkpoint")

    def finish(self):
        """Each key once in each window, and over all windows the sum of its own arithmetic progression."""
        self.cluster.wait_state(self.job, "FINISHED", "FAILED", deadline_s=120)
        self.assertEqual(self.cluster.get(f"/jobs/{self.job}/status")["status"], "FINISHED")
        rows = read_rows(self.counts)
        self.assertEqual(len({(row["window_start"], row["k"]) for row in rows}), len(rows), "a window is there twice")
        self.assertGreater(len({row["window_start"] for row in rows}), 5)
        counts, totals = {}, {}
        for row in rows:
            counts[row["k"]] = counts.get(row["k"], 0) + row["rows"]
            totals[row["k"]] = totals.get(row["k"], 0) + row["total"]
        self.assertEqual(len(counts), self.keys)
        for k in range(self.keys):
            count = len(range(k, self.rows, self.keys))
            self.assertEqual(counts[k], count)
            self.assertEqual(totals[k], count * k + self.keys * count * (count - 1) // 2)
        self.assertEqual([path.name for path in self.counts.iterdir() if path.name.startswith(".")], [], "leaked files")

    def test_a_job_shrinks_and_grows(self):
        self.start(taskmanagers=2)
        self.shrink_and_grow()
        self.assertEqual(self.failures(), 1, "growing is no failure")
        self.finish()

    def test_a_job_begins_with_what_there_is(self):
        self.start(taskmanagers=1)
        self.wait_parallelism(2)
        self.new_checkpoint()
        self.cluster.start_taskmanager()
        self.wait_parallelism(4)
        self.assertEqual(self.failures(), 0)
        self.finish()

    def test_a_new_leader_takes_it_over_as_it_runs(self):
        self.start(taskmanagers=2)
        self.wait_parallelism(4)
        self.new_checkpoint()
        self.kill_one()
        self.wait_parallelism(2)
        restarts = self.cluster.get(f"/jobs/{self.job}")["restarts"]
        self.cluster.jobmanager.kill()
        self.cluster.start_jobmanager()
        self.wait_parallelism(2)
        self.new_checkpoint()
        self.assertEqual(self.cluster.get(f"/jobs/{self.job}")["restarts"], restarts)
        self.kill_one()
        wait_for(lambda: (self.cluster.get(f"/jobs/{self.job}")["waiting-for"] or "").startswith("4 slots needed, 0 free of 0"), "it waits for a slot")
        self.cluster.start_taskmanager()
        self.wait_parallelism(2)
        self.finish()

    def test_a_scheduler_that_is_none_is_refused(self):
        with self.assertRaisesRegex(AssertionError, 'jobmanager.scheduler: "reactive" is none: it is default .* or adaptive'):
            Cluster(taskmanagers=0, options=["jobmanager.scheduler=reactive"])


class AdaptiveVehicles(Rescales, test_kafka_exactly_once.VehicleJob, unittest.TestCase):
    build = cluster.BUILD
    options = ADAPTIVE

    def test_kafka_exactly_once_with_one_worker_and_with_two(self):
        self.begin(rows=500_000, rate=15_000, interval="400 ms")
        self.shrink_and_grow()
        self.shrink_and_grow()
        self.finish_input()
        self.new_checkpoint()
        self.assertEqual(self.differences(self.reader.records()), {})
        self.assertEqual(self.cluster.weir("cancel", self.job, timeout_s=60).returncode, 0)
        self.cluster.wait_state(self.job, "CANCELED", deadline_s=60)
        self.check_no_transaction_hangs()
        self.assertEqual(self.differences(self.reader.records()), {})


if __name__ == "__main__":
    unittest.main()
