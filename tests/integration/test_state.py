"""Keyed state that is larger than a task's file should be: RocksDB, incremental checkpoints, restore, exactness under kill -9."""

import os
import pathlib
import random
import signal
import unittest

from cluster import ROOT, Cluster, wait_for
from key_counts import KeyCounts


class LargeStateJob(KeyCounts):
    def completed(self, cluster, job):
        return cluster.get(f"/jobs/{job}/checkpoints")["latest"]["completed"]

    def check_exact(self):
        self.assertEqual(super().check_exact(), 1)

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
