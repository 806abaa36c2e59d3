"""Failover of one pipelined region: a TaskManager is killed, and the tasks of the others go on as if nothing had been."""

import collections
import unittest

from cluster import Cluster, read_rows, wait_for

PASS_THROUGH = """
job: regions
settings:
  parallelism.default: 3
  execution.checkpointing.interval: 100 ms
  restart-strategy.type: fixed-delay
  restart-strategy.fixed-delay.attempts: {attempts}
  restart-strategy.fixed-delay.delay: 20 ms
tables:
  numbers:
    columns: {{n: BIGINT, kind: STRING}}
    with: {{connector: datagen, rows-per-second: {rate}, number-of-rows: {rows}, fields.n.kind: sequence, fields.n.start: 0, fields.n.end: {last},
           fields.kind.values: ["a", "b", "c"]}}
  copies:
    columns: {{n: BIGINT, kind: STRING}}
    with: {{connector: filesystem, path: {copies}, format: json}}
pipeline:
  - {{id: read, source: numbers}}
  - {{id: keep, input: read, filter: "n >= 0", project: {{n: n, kind: kind}}}}
  - {{id: write, input: keep, sink: copies}}
"""


class Regions(unittest.TestCase):
    def start(self):
        """Three TaskManagers of one slot; the job's three subtasks are connected with nothing."""
        cluster = Cluster(taskmanagers=0, slots=1)
        self.addCleanup(cluster.close)
        cluster.options += ["-D", f"state.checkpoints.dir={cluster.folder}/checkpoints"]
        cluster.jobmanager.stop()
        cluster.start_jobmanager()
        for _ in range(3):
            cluster.start_taskmanager()
        cluster.wait_registered(3)
        return cluster

    def submit(self, cluster, rows, rate, attempts=1000):
        self.copies, self.rows = cluster.folder / "copies", rows
        text = PASS_THROUGH.format(rows=rows, rate=rate, last=rows - 1, copies=self.copies, attempts=attempts)
        result = cluster.weir("run", "-d", str(cluster.write("regions.yaml", text)))
        self.assertEqual(result.returncode, 0, result.stderr)
        job = cluster.get("/jobs/overview")["jobs"][0]["jid"]
        cluster.wait_state(job, "RUNNING")
        wait_for(lambda: self.completed(cluster, job) >= 2, "two checkpoints")
        return job

    def completed(self, cluster, job):
        latest = cluster.get(f"/jobs/{job}/checkpoints")["latest"]["completed"]
        return latest["id"] if latest else 0

    def subtasks(self, cluster, job):
        """By number: [(status, attempt, TaskManager)] of each vertex."""
        found = collections.defaultdict(list)
        for vertex in cluster.get(f"/jobs/{job}")["vertices"]:
            for task in cluster.get(f"/jobs/{job}/vertices/{vertex['id']}")["subtasks"]:
                found[task["subtask"]].append((task["status"], task["attempt"], task["taskmanager-id"]))
        return found

    def kill_one(self, cluster, job):
        """Kills the TaskManager of some subtask, and says which."""
        by_port = {tm.ready["rpc"].rsplit(":", 1)[1]: tm for tm in cluster.taskmanagers if tm.process.poll() is None}
        number, tasks = sorted(self.subtasks(cluster, job).items())[1]
        port = next(port for port in by_port if f":{port}-" in tasks[0][2])
        by_port[port].kill()
        return number

    def check_exact(self):
        numbers = collections.Counter(row["n"] for row in read_rows(self.copies))
        self.assertEqual(sum(numbers.values()), self.rows)
        self.assertEqual(len(numbers), self.rows, "a number was doubled and another lost")
        self.assertEqual([path.name for path in self.copies.iterdir() if path.name.startswith(".")], [], "leaked files")

    def check_untouched(self, cluster, number):
        """The TaskManagers of the other subtasks were given one attempt, and ended its tasks when they were finished and not before."""
        survivors = [tm for tm in cluster.taskmanagers[:3] if not tm.killed]
        self.assertEqual(len(survivors), 2)
        for tm in survivors:
            log = tm.log_path.read_text()
            self.assertEqual(log.count("event=attempt_deployed"), 1, "the tasks were restarted")
            self.assertEqual(log.count("event=task_canceled") + log.count("event=task_failed"), 0)

    def wait_attempts(self, cluster, job, number, attempt):
        wait_for(lambda: all(task[0] == "RUNNING" and task[1] == attempt for task in self.subtasks(cluster, job)[number]),
                 f"subtask {number} runs in attempt {attempt}")
        for other, tasks in self.subtasks(cluster, job).items():
            for task in tasks if other != number else ():
                self.assertEqual(task[:2], ("RUNNING", 1), f"subtask {other}")

    def wait_for_a_slot(self, cluster, job):
        """It is restarting, says for what it waits, and the others go on meanwhile."""
        reason = "1 slot needed, 0 free of 2 on 2 TaskManagers"
        wait_for(lambda: (lambda detail: detail["state"] == "RESTARTING" and detail["waiting-for"] == reason)(cluster.get(f"/jobs/{job}")),
                 "it waits for a slot")
        self.assertIn(reason, cluster.weir("status", job).stdout)

    def written(self):
        """Bytes in the sink's files, by subtask: .part-JOB-SINK-ATTEMPT-SUBTASK-N.inprogress and part-JOB-SINK-SUBTASK-N."""
        sizes = collections.Counter()
        for path in self.copies.iterdir():
            try:
                sizes[int(path.name.split("-")[-2])] += path.stat().st_size
            except FileNotFoundError:
                pass
        return sizes

    def wait_progress(self, number):
        before = self.written()
        others = [other for other in range(3) if other != number]
        wait_for(lambda: all(self.written()[other] > before[other] + 100_000 for other in others), "the other subtasks go on")

    def test_a_killed_taskmanager_costs_its_own_subtask_only(self):
        cluster = self.start()
        job = self.submit(cluster, rows=480_000, rate=60_000)
        number = self.kill_one(cluster, job)
        self.wait_for_a_slot(cluster, job)
        self.wait_progress(number)
        cluster.start_taskmanager()
        self.wait_attempts(cluster, job, number, 2)
        before = self.completed(cluster, job)
        wait_for(lambda: self.completed(cluster, job) > before, "a checkpoint of all")
        self.assertEqual(cluster.get(f"/jobs/{job}")["restarts"], 1)
        self.assertEqual(len(cluster.get(f"/jobs/{job}/exceptions")["exceptionHistory"]["entries"]), 1)
        cluster.wait_state(job, "FINISHED", "FAILED", deadline_s=60)
        self.assertEqual(cluster.get(f"/jobs/{job}/status")["status"], "FINISHED")
        self.check_exact()
        self.check_untouched(cluster, number)

    def test_the_jobmanager_is_killed_while_a_region_waits(self):
        cluster = self.start()
        job = self.submit(cluster, rows=480_000, rate=60_000)
        number = self.kill_one(cluster, job)
        self.wait_for_a_slot(cluster, job)
        cluster.jobmanager.kill()
        cluster.start_jobmanager()
        cluster.wait_registered(2)
        self.wait_for_a_slot(cluster, job)
        cluster.start_taskmanager()
        self.wait_attempts(cluster, job, number, 2)
        cluster.jobmanager.kill()  # and once more when all of it runs: adopted, with two attempts
        cluster.start_jobmanager()
        cluster.wait_registered(3)
        cluster.wait_state(job, "RUNNING")
        self.wait_attempts(cluster, job, number, 2)
        cluster.wait_state(job, "FINISHED", "FAILED", deadline_s=60)
        self.assertEqual(cluster.get(f"/jobs/{job}/status")["status"], "FINISHED")
        self.check_exact()
        self.check_untouched(cluster, number)

    def test_kill_after_kill_and_the_output_is_exact(self):
        cluster = self.start()
        job = self.submit(cluster, rows=480_000, rate=80_000)
        for kill in range(4):
            number = self.kill_one(cluster, job)
            cluster.start_taskmanager()
            wait_for(lambda: all(task[0] == "RUNNING" for task in self.subtasks(cluster, job)[number]), f"back after kill {kill}")
            before = self.completed(cluster, job)
            wait_for(lambda: self.completed(cluster, job) > before, f"a checkpoint after kill {kill}")
        cluster.wait_state(job, "FINISHED", "FAILED", deadline_s=60)
        self.assertEqual(cluster.get(f"/jobs/{job}/status")["status"], "FINISHED")
        self.check_exact()

    def test_cancel_while_a_region_waits_keeps_what_was_committed(self):
        cluster = self.start()
        job = self.submit(cluster, rows=3_000_000, rate=60_000)
        self.kill_one(cluster, job)
        self.wait_for_a_slot(cluster, job)
        cluster.start_taskmanager()  # the drain takes three slots
        self.assertEqual(cluster.weir("cancel", job).returncode, 0)
        cluster.wait_state(job, "CANCELED")
        rows = [row["n"] for row in read_rows(self.copies)]
        self.assertEqual(len(rows), len(set(rows)), "doubled")
        self.assertGreater(len(rows), 0)
        for first in range(3):  # each subtask's part is a prefix
            part = sorted(n for n in rows if n % 3 == first)
            self.assertEqual(part, list(range(first, first + 3 * len(part), 3)), "a gap")
        self.assertEqual([path.name for path in self.copies.iterdir() if path.name.startswith(".")], [], "leaked files")

    def test_restarts_run_out(self):
        cluster = self.start()
        job = self.submit(cluster, rows=3_000_000, rate=60_000, attempts=1)
        number = self.kill_one(cluster, job)
        cluster.start_taskmanager()
        self.wait_attempts(cluster, job, number, 2)
        self.kill_one(cluster, job)
        cluster.start_taskmanager()
        cluster.wait_state(job, "FAILED")
        self.assertEqual([path.name for path in self.copies.iterdir() if path.name.startswith(".")], [], "leaked files")


if __name__ == "__main__":
    unittest.main()
