"""Keyed state that is larger than a task's file should be: RocksDB, incremental checkpoints, restore, exactness under kill -9."""

import os
import pathlib
import random
import signal
import unittest

from cluster import ROOT, Cluster, read_rows, wait_for

TOTALS = """
job: totals
settings:
  parallelism.default: 2
  execution.checkpointing.interval: 300 ms
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
  - {{id: count, input: keyed, key_by: [k], window: {{tumble: 10000 s}}, aggregate: {{rows: "COUNT(*)", total: "SUM(n)"}}}}
  - {{id: write, input: count, sink: counts}}
"""


class LargeStateJob:
    def submit(self, cluster, rows, keys, rate):
        self.counts, self.rows, self.keys = cluster.folder / "counts", rows, keys
        text = TOTALS.format(rows=rows, last=rows - 1, keys=keys, rate=rate, counts=self.counts)
        result = cluster.weir("run", "-d", str(cluster.write("totals.yaml", text)))
        self.assertEqual(result.returncode, 0, result.stderr)
        return cluster.get("/jobs/overview")["jobs"][0]["jid"]

    def completed(self, cluster, job):
        return cluster.get(f"/jobs/{job}/checkpoints")["latest"]["completed"]

    def check_exact(self):
        """One window holds all rows: each key once, with the sum of its own arithmetic progression."""
        rows = read_rows(self.counts)
        self.assertEqual(len(rows), self.keys)
        self.assertEqual(len({row["k"] for row in rows}), self.keys)
        for row in rows:
            count = len(range(row["k"], self.rows, self.keys))
            self.assertEqual(row["rows"], count)
            self.assertEqual(row["total"], count * row["k"] + self.keys * count * (count - 1) // 2)

    def databases(self, cluster):
        return [path for tm in cluster.taskmanagers for path in (cluster.folder / f"{tm.name}.tmp").glob("weir-state-*/*")]


class LargeState(LargeStateJob, unittest.TestCase):
    def test_taskmanagers_are_killed_over_a_large_state(self):
        rand = random.Random(11)
        with Cluster(taskmanagers=2, slots=2) as cluster:
            job = self.submit(cluster, rows=2_000_000, keys=1_000_000, rate=250_000)
            for _ in range(3):
                before = (self.completed(cluster, job) or {"id": 0})["id"]
                newer = wait_for(lambda: (lambda c: c if c and c["id"] >= before + 2 else None)(self.completed(cluster, job)), "a checkpoint")
                self.assertGreater(newer["state_size"], 1_000_000)
                living = [tm for tm in cluster.taskmanagers if not tm.killed]
                rand.choice(living).kill()
                cluster.start_taskmanager()
            cluster.wait_state(job, "FINISHED", deadline_s=240)
            self.check_exact()

    def test_small_state_opens_no_database(self):
        with Cluster(taskmanagers=1, slots=2) as cluster:
            job = self.submit(cluster, rows=200_000, keys=5, rate=100_000)
            wait_for(lambda: (self.completed(cluster, job) or {"id": 0})["id"] >= 3, "checkpoints")
            self.assertEqual(self.databases(cluster), [])
            cluster.wait_state(job, "FINISHED")
            self.check_exact()

    def test_a_damaged_file_of_state_fails_the_job_by_name(self):
        with Cluster(taskmanagers=1, slots=2) as cluster:
            job = self.submit(cluster, rows=1_500_000, keys=200_000, rate=150_000)
            done = wait_for(lambda: (lambda c: c if c and c["state_size"] > 4_000_000 else None)(self.completed(cluster, job)), "a checkpoint")
            self.assertNotEqual(self.databases(cluster), [])
            cluster.taskmanagers[0].kill()
            done = self.completed(cluster, job) or done
            folder = pathlib.Path(done["external_path"].removeprefix("file:"))
            victim = max(folder.glob("*.sst"), key=lambda path: path.stat().st_size)
            data = bytearray(victim.read_bytes())
            data[len(data) // 2] ^= 1
            victim.write_bytes(data)
            cluster.start_taskmanager()
            cluster.wait_state(job, "FAILED")
            self.assertIn(victim.name, cluster.get(f"/jobs/{job}/exceptions")["root-exception"])


@unittest.skipUnless((ROOT / "build-fp" / "weir-taskmanager").exists(), "no daemons with failpoints: run `make failpoints`")
@unittest.skipIf("WEIR_BIN_DIR" in os.environ, "the failpoints are in a build of their own")
class LargeStateFailpoints(LargeStateJob, unittest.TestCase):
    def taskmanager_dies(self, point, replacement=None):
        cluster = Cluster(taskmanagers=1, slots=1, build=ROOT / "build-fp")
        self.addCleanup(cluster.close)
        cluster.start_taskmanager({"WEIR_FAILPOINT": point})
        cluster.wait_registered(2)
        job = self.submit(cluster, rows=600_000, keys=100_000, rate=100_000)
        self.dies(cluster.taskmanagers[1], point)
        cluster.start_taskmanager({"WEIR_FAILPOINT": replacement} if replacement else None)
        if replacement:
            self.dies(cluster.taskmanagers[2], replacement)
            cluster.start_taskmanager()
        cluster.wait_state(job, "FINISHED", deadline_s=60)
        self.check_exact()

    def dies(self, daemon, point):
        wait_for(lambda: daemon.process.poll() is not None, f"{daemon.name} reaches {point}")
        self.assertEqual(daemon.process.returncode, -signal.SIGKILL)
        daemon.killed = True

    def test_between_the_files_of_an_upload(self):
        self.taskmanager_dies("ckpt.upload:12")

    def test_again_while_files_are_fetched(self):
        self.taskmanager_dies("ckpt.upload:15", "restore.mid_download:3")


if __name__ == "__main__":
    unittest.main()
