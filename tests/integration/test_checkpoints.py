"""Checkpoints and what they are for: daemons are killed and the output is exact."""

import collections
import json
import random
import re
import signal
import unittest

from cluster import Cluster, read_rows, wait_for

PASS_THROUGH = """
job: {job}
settings:
  parallelism.default: 2
  execution.checkpointing.interval: 100 ms
  restart-strategy.type: fixed-delay
  restart-strategy.fixed-delay.attempts: 1000
  restart-strategy.fixed-delay.delay: 20 ms
tables:
  numbers:
    columns: {{n: BIGINT, kind: STRING, ts: "TIMESTAMP(3)"}}
    watermark: {{column: ts, delay: 1 s}}
    with: {{connector: datagen, rows-per-second: {rate}, number-of-rows: {rows}, seed: {seed}, fields.n.kind: sequence, fields.n.start: 0,
           fields.n.end: {last}, fields.kind.values: ["a", "b", "c"], fields.ts.kind: time, fields.ts.step: 1 ms}}
  copies:
    columns: {{n: BIGINT, kind: STRING}}
    with: {{connector: filesystem, path: {copies}, format: json}}
  counts:
    columns: {{window_start: TIMESTAMP(3), window_end: TIMESTAMP(3), kind: STRING, rows: BIGINT, total: BIGINT}}
    with: {{connector: filesystem, path: {counts}, format: json}}
pipeline:
  - {{id: read, source: numbers}}
  - {{id: copy, input: read, project: {{n: n, kind: kind}}}}
  - {{id: keep, input: copy, sink: copies}}
  - {{id: count, input: read, key_by: [kind], window: {{tumble: 10 s}}, aggregate: {{rows: "COUNT(*)", total: "SUM(n)"}}}}
  - {{id: write, input: count, sink: counts}}
"""

ROWS = 400_000


class Exactness:
    """A job of numbers, copied and counted in windows, and the check that none was lost or doubled."""

    def submit(self, cluster, rows=ROWS, rate=80_000, wait=True, edit=lambda text: text):
        """The job's id; None with wait=False when the JobManager died over it."""
        self.copies, self.counts, self.rows = cluster.folder / "copies", cluster.folder / "counts", rows
        text = PASS_THROUGH.format(job="exact", rate=rate, rows=rows, last=rows - 1, seed=7, copies=self.copies, counts=self.counts)
        result = cluster.weir("run", "-d", str(cluster.write("exact.yaml", edit(text))))
        if not wait:
            return None
        self.assertEqual(result.returncode, 0, result.stderr)
        return cluster.get("/jobs/overview")["jobs"][0]["jid"]

    def completed(self, cluster, job):
        latest = cluster.get(f"/jobs/{job}/checkpoints")["latest"]["completed"]
        return latest["id"] if latest else 0

    def owed(self, cluster, job):
        """What the newest completed checkpoint's sinks still had to publish when they took it: final path -> bytes."""
        folder = cluster.folder / "checkpoints" / job / f"chk-{self.completed(cluster, job)}"
        owed = {}
        for state in folder.iterdir():
            data = state.read_bytes()
            for hidden in re.findall(rb"\.part-([0-9a-f]{8}-[0-9a-f]{8})-(\d+)-(\d+)-(\d+)\.inprogress", data):
                names, attempt, subtask, number = (word.decode() for word in hidden)
                for where in (self.copies, self.counts):
                    path = where / f".part-{names}-{attempt}-{subtask}-{number}.inprogress"
                    final = where / f"part-{names}-{subtask}-{number}"
                    self.assertIn(final.name.encode(), data)
                    if path.exists():
                        owed[final] = path.read_bytes()
        return owed

    def check_drained(self, owed):
        """The sinks hold every row of the checkpoint once, and nothing is left hidden."""
        for path, data in owed.items():
            self.assertEqual(path.read_bytes(), data, path)
        numbers = [row["n"] for row in read_rows(self.copies)]
        self.assertEqual(len(numbers), len(set(numbers)), "doubled")
        for first in (0, 1):  # the splits of the two sources: each is a prefix
            part = sorted(n for n in numbers if n % 2 == first)
            self.assertEqual(part, list(range(first, first + 2 * len(part), 2)), "a gap")
        self.check_nothing_hidden()

    def check_nothing_hidden(self, zombie_attempt=None):
        for folder in (self.copies, self.counts):
            hidden = [path.name for path in folder.iterdir() if path.name.startswith(".") and f"-{zombie_attempt}-" not in path.name]
            self.assertEqual(hidden, [], "leaked files")

    def check_exact(self, zombie_attempt=None):
        """Every number once among the copies, and the windows' counts and sums follow from the copies. Hidden parts that a zombie wrote after
        its successor had cleaned up may stay: nobody reads them."""
        copies = read_rows(self.copies)
        seen = collections.Counter(row["n"] for row in copies)
        self.assertEqual(len(copies), self.rows)
        self.assertEqual(len(seen), self.rows, "a number was doubled and another lost")
        expected = collections.defaultdict(lambda: [0, 0])
        for row in copies:  # event time = number of the row in milliseconds
            window = expected[(row["n"] // 10_000, row["kind"])]
            window[0] += 1
            window[1] += row["n"]
        counts = read_rows(self.counts)
        self.assertEqual(sum(row["rows"] for row in counts), self.rows)
        actual = sorted((row["rows"], row["total"], row["kind"]) for row in counts)
        self.assertEqual(actual, sorted((rows, total, kind) for (_, kind), (rows, total) in expected.items()))
        self.check_nothing_hidden(zombie_attempt)


class Checkpoints(Exactness, unittest.TestCase):
    def setUp(self):
        self.random = random.Random(self.id())

    def start(self, taskmanagers=2):
        # The directory is shared by all daemons; it goes with the cluster's folder.
        cluster = Cluster(taskmanagers=0, slots=2)
        self.addCleanup(cluster.close)
        cluster.options += ["-D", f"state.checkpoints.dir={cluster.folder}/checkpoints"]
        cluster.jobmanager.stop()
        cluster.start_jobmanager()
        for _ in range(taskmanagers):
            cluster.start_taskmanager()
        cluster.wait_registered(taskmanagers)
        return cluster

    def test_checkpoints_complete_and_go_with_the_job(self):
        cluster = self.start()
        job = self.submit(cluster, rate=200_000)
        wait_for(lambda: self.completed(cluster, job) >= 3, "three checkpoints")
        cluster.wait_state(job, "FINISHED")
        body = cluster.get(f"/jobs/{job}/checkpoints")
        self.assertGreaterEqual(body["counts"]["completed"], 4)
        self.check_exact()
        wait_for(lambda: not (cluster.folder / "checkpoints" / job).exists(), "the job's checkpoints are gone")

    def test_taskmanagers_are_killed(self):
        cluster = self.start()
        job = self.submit(cluster)
        for kill in range(5):
            before = self.completed(cluster, job)
            wait_for(lambda: self.completed(cluster, job) > before, f"a checkpoint after kill {kill}")
            victim = self.random.choice([tm for tm in cluster.taskmanagers if tm.process.poll() is None])
            victim.kill()
            cluster.start_taskmanager()
        cluster.wait_state(job, "FINISHED", "FAILED", deadline_s=60)
        self.assertEqual(cluster.get(f"/jobs/{job}/status")["status"], "FINISHED")
        self.check_exact()

    def test_jobmanager_is_killed_and_the_tasks_never_notice(self):
        cluster = self.start()
        job = self.submit(cluster)
        for _ in range(3):
            before = self.completed(cluster, job)
            wait_for(lambda: self.completed(cluster, job) > before, "a checkpoint")
            cluster.jobmanager.kill()
            cluster.start_jobmanager()
            cluster.wait_registered(2)
        cluster.wait_state(job, "FINISHED", "FAILED", deadline_s=60)
        self.check_exact()
        log = cluster.taskmanagers[0].log_path.read_text()
        self.assertEqual(log.count("event=attempt_deployed"), 1, "the tasks were restarted")

    def test_a_zombie_wakes_up_and_changes_nothing(self):
        cluster = self.start()
        job = self.submit(cluster)
        wait_for(lambda: self.completed(cluster, job) >= 2, "two checkpoints")
        zombie = cluster.taskmanagers[0]
        zombie.process.send_signal(signal.SIGSTOP)
        try:
            wait_for(lambda: cluster.get("/overview")["taskmanagers"] == 1, "the silent TaskManager counts as lost")
            cluster.start_taskmanager()
            before = self.completed(cluster, job)
            wait_for(lambda: self.completed(cluster, job) > before, "a checkpoint of the new attempt")
        finally:
            zombie.process.send_signal(signal.SIGCONT)
        wait_for(lambda: "event=task_canceled" in zombie.log_path.read_text() or "event=task_failed" in zombie.log_path.read_text(),
                 "the zombie gives up its tasks")
        wait_for(lambda: cluster.get("/overview")["taskmanagers"] == 3, "it is back")
        cluster.wait_state(job, "FINISHED", "FAILED", deadline_s=60)
        self.assertEqual(cluster.get(f"/jobs/{job}/status")["status"], "FINISHED")
        self.check_exact(zombie_attempt=1)

    def test_everything_is_killed_at_once(self):
        cluster = self.start()
        job = self.submit(cluster)
        for _ in range(2):
            before = self.completed(cluster, job)
            wait_for(lambda: self.completed(cluster, job) > before, "a checkpoint")
            for daemon in [*cluster.taskmanagers, cluster.jobmanager]:
                if daemon.process.poll() is None:
                    daemon.kill()
            cluster.start_jobmanager()
            cluster.start_taskmanager()
            cluster.start_taskmanager()
        cluster.wait_state(job, "FINISHED", "FAILED", deadline_s=60)
        self.assertEqual(cluster.get(f"/jobs/{job}/status")["status"], "FINISHED")
        self.check_exact()

    def damage(self, pick):
        """A job whose newest checkpoint's file is damaged while no TaskManager runs; the text of its failure."""
        cluster = self.start()
        job = self.submit(cluster)
        wait_for(lambda: self.completed(cluster, job) >= 2, "two checkpoints")
        for tm in cluster.taskmanagers:
            tm.kill()
        folder = cluster.folder / "checkpoints" / job / f"chk-{self.completed(cluster, job)}"
        path = pick(folder)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0x10
        path.write_bytes(data)
        cluster.start_taskmanager()
        cluster.start_taskmanager()
        cluster.wait_state(job, "FAILED", "FINISHED", deadline_s=60)
        self.assertEqual(cluster.get(f"/jobs/{job}/status")["status"], "FAILED", "it must never start from a damaged checkpoint, nor empty")
        return str(path), json.dumps(cluster.get(f"/jobs/{job}/exceptions"))

    def test_damaged_metadata_fails_the_job_and_is_named(self):
        path, text = self.damage(lambda folder: folder / "_metadata")
        self.assertIn(path, text)

    def test_a_damaged_state_file_fails_the_job_and_is_named(self):
        path, text = self.damage(lambda folder: sorted(folder.glob("0-0-*"))[0])
        self.assertIn(path, text)

    def test_a_taskmanager_with_another_directory_is_told_of(self):
        cluster = self.start(taskmanagers=0)
        cluster.options[-1] = f"state.checkpoints.dir={cluster.folder}/others"
        cluster.start_taskmanager()
        cluster.wait_registered(1)
        job = self.submit(cluster, edit=lambda text: text.replace("parallelism.default: 2", "parallelism.default: 1"))
        wait_for(lambda: cluster.get(f"/jobs/{job}/checkpoints")["latest"]["failed"], "a checkpoint has failed")
        why = cluster.get(f"/jobs/{job}/checkpoints")["latest"]["failed"]["failure_message"]
        for part in (f"{cluster.folder}/checkpoints/{job}", f"{cluster.folder}/others/{job}", "set state.checkpoints.dir"):
            self.assertIn(part, why)
        self.assertIn("set state.checkpoints.dir", cluster.weir("status", job).stdout)
        self.assertEqual(cluster.weir("cancel", job).returncode, 0)
        cluster.wait_state(job, "CANCELED")

    def test_cancel_leaves_what_was_committed_and_nothing_else(self):
        cluster = self.start()
        job = self.submit(cluster)
        wait_for(lambda: self.completed(cluster, job) >= 3, "three checkpoints")
        self.assertEqual(cluster.weir("cancel", job).returncode, 0)
        cluster.wait_state(job, "CANCELED")
        self.check_drained({})
        self.assertGreater(len(read_rows(self.copies)), 0)
        wait_for(lambda: not (cluster.folder / "checkpoints" / job).exists(), "the job's checkpoints are gone")

    def without_taskmanagers(self, edit=lambda text: text):
        """A job with checkpoints whose TaskManagers are all dead."""
        cluster = self.start()
        job = self.submit(cluster, edit=edit)
        wait_for(lambda: self.completed(cluster, job) >= 3, "three checkpoints")
        for tm in cluster.taskmanagers:
            tm.kill()
        wait_for(lambda: cluster.get("/overview")["taskmanagers"] == 0, "they count as lost")
        return cluster, job, self.owed(cluster, job)

    def waiting_for(self, cluster, job, words):
        return wait_for(lambda: words in (cluster.get(f"/jobs/{job}")["waiting-for"] or ""), f"the job says: {words}")

    def test_cancel_drains_when_there_is_a_taskmanager_again(self):
        cluster, job, owed = self.without_taskmanagers()
        self.assertEqual(cluster.weir("cancel", "-d", job).returncode, 0)
        newest = self.completed(cluster, job)
        self.waiting_for(cluster, job, f"draining: sink keep (copies), sink write (counts), checkpoint {newest}: 2 slots needed")
        cluster.jobmanager.kill()  # the next leader goes on with it
        cluster.start_jobmanager()
        self.waiting_for(cluster, job, "2 slots needed")
        self.assertEqual(cluster.get(f"/jobs/{job}/status")["status"], "CANCELLING")
        cluster.start_taskmanager()
        cluster.wait_state(job, "CANCELED")
        self.check_drained(owed)
        wait_for(lambda: not (cluster.folder / "checkpoints" / job).exists(), "the job's checkpoints are gone")

    def test_cancel_now_names_what_stays_undrained(self):
        cluster, job, _ = self.without_taskmanagers()
        self.assertEqual(cluster.weir("cancel", "-d", job).returncode, 0)
        newest = self.completed(cluster, job)
        undrained = f"sink keep (copies), sink write (counts), checkpoint {newest}"
        result = cluster.weir("cancel", "--now", job)
        self.assertEqual((result.returncode, result.stdout.splitlines()[-1]), (0, f"cancelled; undrained: {undrained}"), result.stderr)
        self.assertEqual(cluster.get(f"/jobs/{job}")["undrained"], undrained)
        self.assertIn(undrained, cluster.weir("status", job).stdout)
        self.assertTrue((cluster.folder / "checkpoints" / job / f"chk-{newest}" / "_metadata").exists(), "what could be drained is kept")
        cluster.jobmanager.kill()
        cluster.start_jobmanager()
        self.assertEqual(cluster.get(f"/jobs/{job}")["undrained"], undrained)

    def test_a_job_that_fails_for_good_drains_first(self):
        cluster, job, owed = self.without_taskmanagers(lambda text: text.replace("attempts: 1000", "attempts: 0"))
        self.waiting_for(cluster, job, "draining: ")
        self.assertEqual(cluster.get(f"/jobs/{job}/status")["status"], "FAILING")
        cause = cluster.get(f"/jobs/{job}/exceptions")["root-exception"]
        cluster.jobmanager.kill()
        cluster.start_jobmanager()
        self.waiting_for(cluster, job, "draining: ")
        cluster.start_taskmanager()
        cluster.wait_state(job, "FAILED")
        self.assertEqual(cluster.get(f"/jobs/{job}/exceptions")["root-exception"], cause)
        self.assertNotIn("undrained", cause)
        self.check_drained(owed)


if __name__ == "__main__":
    unittest.main()
