"""The adaptive scheduler: a job goes on at lower parallelism when TaskManagers are lost, and grows when they come; exactly once all the while."""

import unittest

import cluster
import test_kafka_exactly_once
from cluster import Cluster, wait_for
from key_counts import KeyCounts

ADAPTIVE = ["jobmanager.scheduler=adaptive", "jobmanager.adaptive-scheduler.resource-stabilization-timeout=700 ms",
            "jobmanager.adaptive-scheduler.scaling-interval.min=1 s"]


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


class Adaptive(Rescales, KeyCounts, unittest.TestCase):
    settings = {"parallelism": 4, "interval": "200 ms", "window": "20 s"}

    def start(self, taskmanagers, options=ADAPTIVE, rows=600_000, rate=40_000, keys=1000):
        self.cluster = Cluster(taskmanagers=taskmanagers, slots=2, checkpoints=True, options=options)
        self.addCleanup(self.cluster.close)
        self.job = self.submit(self.cluster, rows, keys, rate)

    def completed(self):
        latest = self.cluster.get(f"/jobs/{self.job}/checkpoints")["latest"]["completed"]
        return latest["id"] if latest else 0

    def new_checkpoint(self):
        before = self.completed()
        wait_for(lambda: self.completed() > before, "a checkpoint")

    def finish(self):
        self.cluster.wait_state(self.job, "FINISHED", "FAILED", deadline_s=120)
        self.assertEqual(self.cluster.get(f"/jobs/{self.job}/status")["status"], "FINISHED")
        self.assertGreater(self.check_exact(), 5)
        self.assertEqual([path.name for path in self.counts.iterdir() if path.name.startswith(".")], [], "leaked files")

    def test_a_job_shrinks_and_grows(self):
        self.start(taskmanagers=2, rows=400_000)
        self.shrink_and_grow()
        self.assertEqual(self.failures(), 1, "growing is no failure")
        self.finish()

    def test_a_job_begins_with_what_there_is(self):
        self.start(taskmanagers=1, rows=400_000)
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
        self.begin(rows=300_000, rate=15_000, interval="400 ms")
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
