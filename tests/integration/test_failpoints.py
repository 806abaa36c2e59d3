"""The crash points one by one (RELIABILITY 2.3, rows 1 to 9 and 39): each is hit by name in a build made for it, and the output is exact."""

import os
import signal
import unittest

import test_checkpoints
from cluster import ROOT, Cluster, wait_for

BUILD = ROOT / "build-fp"


@unittest.skipUnless((BUILD / "weir-taskmanager").exists(), "no daemons with failpoints: run `make failpoints`")
@unittest.skipIf("WEIR_BIN_DIR" in os.environ, "the failpoints are in a build of their own")
class Failpoints(test_checkpoints.Exactness, unittest.TestCase):
    def start(self, jobmanager=None, taskmanager=None):
        """A cluster of two TaskManagers; the JobManager or the second TaskManager dies at the failpoint."""
        cluster = Cluster(taskmanagers=0, slots=1, build=BUILD)  # the job needs both TaskManagers, and so every replacement
        self.addCleanup(cluster.close)
        cluster.options += ["-D", f"state.checkpoints.dir={cluster.folder}/checkpoints"]
        cluster.jobmanager.stop()
        cluster.start_jobmanager({"WEIR_FAILPOINT": jobmanager} if jobmanager else None)
        cluster.start_taskmanager()
        cluster.start_taskmanager({"WEIR_FAILPOINT": taskmanager} if taskmanager else None)
        cluster.wait_registered(2)
        return cluster

    def dies(self, daemon, point):
        wait_for(lambda: daemon.process.poll() is not None, f"{daemon.name} reaches {point}")
        self.assertEqual(daemon.process.returncode, -signal.SIGKILL)
        daemon.killed = True

    def finishes(self, cluster, job):
        cluster.wait_state(job, "FINISHED", "FAILED", deadline_s=60)
        self.assertEqual(cluster.get(f"/jobs/{job}/status")["status"], "FINISHED")
        self.check_exact()
        wait_for(lambda: not (cluster.folder / "checkpoints" / job).exists(), "no file of a checkpoint is left")

    def taskmanager_dies(self, point, replacement=None):
        cluster = self.start(taskmanager=point)
        job = self.submit(cluster, rows=160_000)
        self.dies(cluster.taskmanagers[1], point)
        cluster.start_taskmanager(replacement)
        return cluster, job

    def jobmanager_dies(self, point):
        cluster = self.start(jobmanager=point)
        deployed = point.startswith("jm.deploy")
        job = self.submit(cluster, rows=160_000, wait=not deployed)
        self.dies(cluster.jobmanager, point)
        cluster.start_jobmanager()
        job = job or cluster.get("/jobs/overview")["jobs"][0]["jid"]
        self.finishes(cluster, job)

    def test_taskmanager_before_the_barrier(self):
        self.finishes(*self.taskmanager_dies("task.before_barrier:5"))

    def test_taskmanager_between_snapshot_and_upload(self):
        self.finishes(*self.taskmanager_dies("ckpt.after_snapshot:6"))

    def test_taskmanager_in_the_upload(self):
        self.finishes(*self.taskmanager_dies("ckpt.upload:7"))

    def test_taskmanager_after_its_acknowledgement(self):
        self.finishes(*self.taskmanager_dies("ckpt.after_ack:4"))

    def test_taskmanager_before_the_sink_publishes(self):
        self.finishes(*self.taskmanager_dies("sink.before_begin:2"))

    def test_cancel_before_the_sink_publishes(self):
        self.cancel_owes("sink.before_begin:3")

    def test_cancel_while_the_sink_publishes(self):
        self.cancel_owes("sink.in_publish:3")

    def cancel_owes(self, point):
        """A checkpoint is committed, but not all sinks have published it when the job is cancelled."""
        cluster = self.start(taskmanager=point)
        job = self.submit(cluster)
        self.dies(cluster.taskmanagers[1], point)
        wait_for(lambda: cluster.get("/overview")["taskmanagers"] == 1, "it counts as lost")
        cluster.taskmanagers[0].kill()
        wait_for(lambda: cluster.get("/overview")["taskmanagers"] == 0, "the other, too")
        owed = self.owed(cluster, job)
        self.assertTrue(owed, "a part of the checkpoint is hidden")
        self.assertEqual(cluster.weir("cancel", "-d", job).returncode, 0)
        cluster.start_taskmanager({"WEIR_FAILPOINT": "sink.in_publish:1"})  # dies while it drains
        cluster.start_taskmanager()
        self.dies(cluster.taskmanagers[2], "sink.in_publish")
        cluster.start_taskmanager()
        cluster.wait_state(job, "CANCELED")
        self.check_drained(owed)
        wait_for(lambda: not (cluster.folder / "checkpoints" / job).exists(), "no file of a checkpoint is left")

    def test_taskmanager_while_the_sink_publishes(self):
        self.finishes(*self.taskmanager_dies("sink.in_publish:2"))

    def test_taskmanager_again_in_recovery(self):
        cluster, job = self.taskmanager_dies("sink.in_publish:2", {"WEIR_FAILPOINT": "restore.mid_download:1"})
        self.dies(cluster.taskmanagers[2], "restore.mid_download")
        cluster.start_taskmanager()
        self.finishes(cluster, job)

    def test_jobmanager_when_all_have_acknowledged(self):
        self.jobmanager_dies("jm.all_acks:2")

    def test_jobmanager_when_the_metadata_is_durable(self):
        self.jobmanager_dies("jm.metadata:2")

    def test_jobmanager_between_commit_and_notification(self):
        self.jobmanager_dies("jm.after_commit:3")

    def test_jobmanager_in_the_deployment(self):
        self.jobmanager_dies("jm.deploy:2")


if __name__ == "__main__":
    unittest.main()
