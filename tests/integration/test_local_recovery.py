"""Local recovery: a task that restarts takes the files of its keyed state from this machine, not from the checkpoints' directory."""

import os
import pathlib
import re
import shutil
import tempfile
import unittest

from cluster import ROOT, Cluster, wait_for
from test_state import LargeStateJob

SHM = pathlib.Path("/dev/shm")


def same_file_system():
    return not os.access(SHM, os.W_OK) or os.stat(SHM).st_dev == os.stat(tempfile.gettempdir()).st_dev


def events(daemon, event):
    """The log lines of that event, as dicts of their fields."""
    lines = [line for line in daemon.log_path.read_text(errors="replace").splitlines() if f" event={event} " in line]
    return [dict(re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)', line)) for line in lines]


def restored(daemon, field):
    return sum(int(line[field]) for line in events(daemon, "state_files_restored"))


class LocalRecoveryJob(LargeStateJob):
    def start(self, options=(), **arguments):
        self.checkpoints = pathlib.Path(tempfile.mkdtemp(prefix="weir-it-", dir=SHM))
        self.addCleanup(shutil.rmtree, self.checkpoints, ignore_errors=True)
        cluster = Cluster(options=(f"state.checkpoints.dir={self.checkpoints}", *options), **arguments)
        self.addCleanup(cluster.close)
        return cluster

    def run_to_state(self, cluster, rows=900_000, keys=200_000, rate=150_000):
        """A job with two checkpoints of some megabytes."""
        job = self.submit(cluster, rows=rows, keys=keys, rate=rate)
        large = wait_for(lambda: (lambda c: c if c and c["state_size"] > 3_000_000 else None)(self.completed(cluster, job)), "a checkpoint")
        wait_for(lambda: self.completed(cluster, job)["id"] > large["id"], "a newer checkpoint")
        return job

    def copies(self, folder, job):
        return list((folder / "weir-local").glob(f"*/{job}/chk-*/*"))

    def tmp(self, cluster, number=0):
        return cluster.folder / f"{cluster.taskmanagers[number].name}.tmp"

    def finish(self, cluster, job, folder):
        cluster.wait_state(job, "FINISHED", deadline_s=120)
        self.check_exact()
        wait_for(lambda: not list((folder / "weir-local").glob(f"*/{job}")), "the copies of a job that is over are removed")

    def kill_and_restart(self, cluster, meanwhile=lambda: None):
        """SIGKILL, and a new one on the same working directory, which has restored the state when this returns."""
        cluster.taskmanagers[-1].kill()
        meanwhile()
        new = cluster.start_taskmanager(tmp=self.tmp(cluster))
        wait_for(lambda: len(events(new, "state_files_restored")) >= 2, "both tasks have restored their state")
        return new


@unittest.skipIf(same_file_system(), "/dev/shm and the temporary directory are one file system, or there is no /dev/shm")
class LocalRecovery(LocalRecoveryJob, unittest.TestCase):
    def test_after_a_kill_nothing_is_downloaded(self):
        cluster = self.start()
        job = self.run_to_state(cluster, rows=1_500_000)
        self.assertNotEqual(self.copies(self.tmp(cluster), job), [])
        for _ in range(2):
            new = self.kill_and_restart(cluster)
            self.assertGreater(restored(new, "local_bytes"), 3_000_000)
            self.assertEqual(restored(new, "downloaded_files") + restored(new, "linked_files"), 0)
            newest = self.completed(cluster, job)["id"]
            wait_for(lambda: self.completed(cluster, job)["id"] > newest, "a checkpoint of the restarted job")
        self.finish(cluster, job, self.tmp(cluster))

    def test_tasks_restart_in_a_taskmanager_that_lives(self):
        with tempfile.TemporaryDirectory(prefix="weir-it-local-") as shared:
            cluster = self.start(options=(f"execution.checkpointing.local-backup.dirs={shared}",), taskmanagers=2)
            job = self.run_to_state(cluster)
            tasks = [task["taskmanager-id"] for vertex in cluster.get(f"/jobs/{job}")["vertices"]
                     for task in cluster.get(f"/jobs/{job}/vertices/{vertex['id']}")["subtasks"]]
            victim = next(tm for tm in cluster.taskmanagers if any(id.startswith(tm.ready["rpc"]) for id in tasks))
            survivor = next(tm for tm in cluster.taskmanagers if tm is not victim)
            victim.kill()  # the other one has slots for everything
            wait_for(lambda: len(events(survivor, "state_files_restored")) >= 2, "both tasks have restored their state")
            self.assertGreater(restored(survivor, "local_bytes"), 3_000_000)
            self.assertEqual(restored(survivor, "downloaded_files"), 0)
            self.finish(cluster, job, pathlib.Path(shared))

    def test_a_job_is_restarted_in_a_taskmanager_that_lives(self):
        cluster = self.start(options=("execution.checkpointing.tolerable-failed-checkpoints=0",))
        job = self.run_to_state(cluster)
        daemon = cluster.taskmanagers[0]
        before = self.completed(cluster, job)["id"]
        obstacles = [self.checkpoints / job / f"chk-{n}" for n in range(before + 2, before + 40)]
        for path in obstacles:  # in the place of directories that are to be made: the job restarts because its checkpoint failed
            if not path.exists():
                path.write_text("")
        wait_for(lambda: len(events(daemon, "state_files_restored")) >= 2, "both tasks have restored their state")
        for path in obstacles:
            if path.is_file():
                path.unlink()
        self.assertTrue(daemon.alive())
        self.assertGreater(restored(daemon, "local_bytes"), 3_000_000)
        self.assertEqual(restored(daemon, "downloaded_files"), 0)
        self.finish(cluster, job, self.tmp(cluster))

    def test_damaged_and_missing_copies_are_replaced_from_the_checkpoint(self):
        cluster = self.start()
        job = self.run_to_state(cluster, rows=1_200_000)

        def damage():
            newest = self.completed(cluster, job)["id"]
            copies = sorted(self.copies(self.tmp(cluster), job), key=lambda path: path.stat().st_size)
            copies = [path for path in copies if path.parent.name == f"chk-{newest}"]
            self.assertGreater(len(copies), 2)
            data = bytearray(copies[-1].read_bytes())
            data[len(data) // 2] ^= 1
            copies[-1].write_bytes(data)
            copies[0].unlink()

        new = self.kill_and_restart(cluster, damage)
        self.assertEqual(len(events(new, "local_copy_damaged")), 1)
        self.assertEqual(len(events(new, "local_copies_missing")), 1)
        self.assertEqual(restored(new, "downloaded_files"), 2)
        self.assertGreater(restored(new, "local_files"), 0)
        again = self.kill_and_restart(cluster)  # what was downloaded is kept as well
        self.assertEqual(restored(again, "downloaded_files"), 0)
        self.finish(cluster, job, self.tmp(cluster))

    def test_switched_off(self):
        cluster = self.start(options=("execution.state-recovery.from-local=false",))
        job = self.run_to_state(cluster)
        self.assertEqual(self.copies(self.tmp(cluster), job), [])
        new = self.kill_and_restart(cluster)
        self.assertEqual(restored(new, "local_files"), 0)
        self.assertGreater(restored(new, "downloaded_bytes"), 3_000_000)
        self.finish(cluster, job, self.tmp(cluster))

    def test_a_directory_that_cannot_have_links_is_refused(self):
        cluster = self.start()
        with self.assertRaisesRegex(AssertionError, "must be one directory on the file system of taskmanager.tmp.dir"):
            cluster.options += ["-D", f"execution.checkpointing.local-backup.dirs={self.checkpoints}/local"]
            cluster.start_taskmanager()

    @unittest.skipUnless((ROOT / "build-fp" / "weir-taskmanager").exists(), "no daemons with failpoints: run `make failpoints`")
    @unittest.skipIf("WEIR_BIN_DIR" in os.environ, "the failpoints are in a build of their own")
    def test_killed_between_the_copies(self):
        cluster = self.start(taskmanagers=0, build=ROOT / "build-fp")
        first = cluster.start_taskmanager({"WEIR_FAILPOINT": "ckpt.local_copy:12"})
        job = self.submit(cluster, rows=900_000, keys=200_000, rate=150_000)
        wait_for(lambda: not first.alive(), "the TaskManager reaches ckpt.local_copy")
        first.killed = True
        newest = self.completed(cluster, job)
        new = cluster.start_taskmanager(tmp=self.tmp(cluster))
        if newest:
            wait_for(lambda: events(new, "state_files_restored"), "a task has restored its state")
        self.finish(cluster, job, self.tmp(cluster))


class NothingIsKept(LargeStateJob, unittest.TestCase):
    def test_where_checkpoints_are_on_the_same_file_system(self):
        with Cluster(checkpoints=True) as cluster:
            job = self.submit(cluster, rows=900_000, keys=200_000, rate=150_000)
            wait_for(lambda: (self.completed(cluster, job) or {"state_size": 0})["state_size"] > 3_000_000, "a checkpoint")
            tmp = cluster.folder / f"{cluster.taskmanagers[0].name}.tmp"
            self.assertNotEqual(list(tmp.glob("weir-state-*/*")), [])
            self.assertEqual([path.name for path in tmp.iterdir() if not path.name.startswith("weir-state-")], [])
            cluster.taskmanagers[0].kill()
            new = cluster.start_taskmanager(tmp=tmp)
            wait_for(lambda: len(events(new, "state_files_restored")) >= 2, "both tasks have restored their state")
            self.assertGreater(restored(new, "linked_bytes"), 1_000_000)
            self.assertEqual(restored(new, "local_files") + restored(new, "downloaded_files"), 0)
            cluster.wait_state(job, "FINISHED", deadline_s=60)
            self.check_exact()


if __name__ == "__main__":
    unittest.main()
