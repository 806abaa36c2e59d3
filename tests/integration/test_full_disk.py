"""A checkpoint disk without room (RELIABILITY 2.3, row 17): checkpoints are declined and say why, input waits, nothing restarts, and all goes on by itself.

The daemons run in a mount namespace where that directory is a small tmpfs of its own.
"""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest

import kafka
from cluster import BUILD, Cluster, wait_for

RECORDS = 120_000
RATE = 12_000

JOB = """
job: relay
settings:
  execution.checkpointing.interval: 200 ms
tables:
  numbers:
    columns: {{n: BIGINT, filler: STRING}}
    with: {{connector: kafka, topic: {source}, properties.bootstrap.servers: "{servers}", properties.group.id: {source},
           scan.startup.mode: earliest-offset, format: json}}
{others}  copies:
    columns: {{n: BIGINT, filler: STRING}}
    with: {{connector: kafka, topic: {sink}, properties.bootstrap.servers: "{servers}", format: json,
           sink.delivery-guarantee: exactly-once, sink.transactional-id-prefix: {sink}}}
pipeline:
  - {{id: read,  source: numbers}}{steps}
  - {{id: write, input: all, sink: copies}}
"""
OTHERS = """  others:
    columns: {{n: BIGINT, filler: STRING}}
    with: {{connector: kafka, topic: {other}, properties.bootstrap.servers: "{servers}", properties.group.id: {other},
           scan.startup.mode: earliest-offset, format: json}}
"""
CHAINED = """
  - {id: all, input: read, filter: "n >= 0"}"""
UNITED = """
  - {id: idle, source: others}
  - {id: all, input: [read, idle]}"""


class SmallDisk:
    """A tmpfs in a mount namespace; `programs` is a folder with the daemons, started inside it."""

    def __init__(self, size):
        if os.geteuid() != 0:
            raise unittest.SkipTest("mounting needs root")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-disk-"))
        self.mount = self.folder / "disk"
        self.programs = self.folder / "bin"
        self.mount.mkdir()
        self.programs.mkdir()
        self.keeper = subprocess.Popen(["unshare", "--mount", "sh", "-c", f"mount -t tmpfs -o size={size} none {self.mount} && echo mounted && exec cat"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if self.keeper.stdout.readline() != b"mounted\n":
            why = self.keeper.stderr.read().decode().strip()
            self.close()
            raise unittest.SkipTest(f"no mount namespace: {why}")
        for name in ("weir-jobmanager", "weir-taskmanager"):
            program = self.programs / name
            program.write_text(f'#!/bin/sh\nexec nsenter --mount=/proc/{self.keeper.pid}/ns/mnt --wd="$PWD" {BUILD / name} "$@"\n')
            program.chmod(0o755)
        self.inside = pathlib.Path(f"/proc/{self.keeper.pid}/root{self.mount}")

    def fill(self):
        with open(self.inside / "ballast", "ab", buffering=0) as ballast:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        ballast.write(b"\0" * size)
                except OSError:
                    pass

    def empty(self):
        (self.inside / "ballast").unlink()

    def close(self):
        self.keeper.stdin.close()
        self.keeper.wait(30)
        self.keeper.stdout.close()
        self.keeper.stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class FullDisk(unittest.TestCase):
    def setUp(self):
        self.broker = kafka.broker()
        self.disk = SmallDisk("24m")
        self.addCleanup(self.disk.close)

    def begin(self, steps):
        self.cluster = cluster = Cluster(slots=2, build=self.disk.programs, options=[f"state.checkpoints.dir={self.disk.mount}/checkpoints"])
        self.addCleanup(cluster.close)
        self.source, self.sink = self.broker.topic("numbers", 2), self.broker.topic("copies", 2)
        self.reader = kafka.Reader(self.broker, self.sink, cluster.folder)
        self.addCleanup(self.reader.close)
        lines = [f'{n % 2}\t{{"n":{n},"filler":"{"x" * 150}"}}' for n in range(RECORDS)]
        self.producer = kafka.Producer(self.broker, self.source, lines, RATE)
        others = OTHERS.format(servers=self.broker.servers, other=self.broker.topic("others", 2)) if "others" in steps else ""
        text = JOB.format(servers=self.broker.servers, source=self.source, sink=self.sink, steps=steps, others=others)
        result = cluster.weir("run", "-d", "-p", "2", str(cluster.write("relay.yaml", text)))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.job = cluster.get("/jobs/overview")["jobs"][0]["jid"]

    def checkpoints(self):
        return self.cluster.get(f"/jobs/{self.job}/checkpoints")

    def wait_completed(self, more, deadline_s=60):
        before = self.checkpoints()["counts"]["completed"]
        wait_for(lambda: self.checkpoints()["counts"]["completed"] >= before + more, f"{more} more completed checkpoints", deadline_s)

    def wait_failed(self, more):
        before = self.checkpoints()["counts"]["failed"]
        wait_for(lambda: self.checkpoints()["counts"]["failed"] >= before + more, f"{more} more checkpoints are declined at once, not by their time-out")

    def stalls(self):
        return self.cluster.taskmanagers[0].log_path.read_text().count("event=sink_log_waits_for_room")

    def failures(self):
        return {entry.get("failure_message") or "" for entry in self.checkpoints()["history"] if entry["status"] == "FAILED"}

    def play(self, steps):
        self.begin(steps)
        self.wait_completed(2)
        self.disk.fill()
        # The sink can write nothing, and both of its buffers are full: no barrier gets through any more.
        wait_for(lambda: any("/log/" in text and "No space left on device" in text for text in self.failures()),
                 "a checkpoint is declined because of the sink's log", 60)
        self.assertGreater(self.stalls(), 0)
        completed = self.checkpoints()["counts"]["completed"]
        self.wait_failed(3)
        status = self.cluster.weir("status", self.job)
        self.assertIn("No space left on device", status.stdout)
        task, began = self.cluster.taskmanagers[0], time.monotonic()
        before = task.cpu_s()
        self.wait_failed(10)
        self.assertLess(task.cpu_s() - before, (time.monotonic() - began) / 2, "the task tries again and again")
        self.assertEqual(self.checkpoints()["counts"]["completed"], completed)
        self.disk.empty()
        self.wait_completed(2)
        self.producer.join(120)
        self.assertIsNone(self.producer.failure)
        self.wait_completed(2)
        records = self.reader.wait(lambda records: len(records) >= RECORDS, "every record is there", 60)
        self.assertEqual(sorted(json.loads(value)["n"] for *_, value in records), list(range(RECORDS)))
        self.assertEqual(self.cluster.get(f"/jobs/{self.job}")["state"], "RUNNING")
        self.assertEqual(self.cluster.get(f"/jobs/{self.job}/exceptions")["exceptionHistory"]["entries"], [])
        self.assertEqual(self.cluster.weir("cancel", self.job, timeout_s=60).returncode, 0)

    def test_a_source_and_its_sink_in_one_task_wait_for_room(self):
        self.play(CHAINED)

    def test_a_sink_behind_a_gate_waits_for_room(self):
        self.play(UNITED)


if __name__ == "__main__":
    unittest.main()
