"""A sink that stalls holds up its source, not the memory: nothing is lost, and checkpoints go on afterwards."""

import collections
import os
import re
import unittest

from cluster import ROOT, Cluster, read_rows, wait_for

BUILD = ROOT / "build-fp"
ROWS = 1_000_000
RATE = 250_000
BUDGET = 64 << 20  # a row is 140 bytes of JSON: a stall that held up nobody would need twice as much

JOB = """\
job: stalled
settings:
  execution.checkpointing.interval: 200 ms
tables:
  lower:
    columns: {{n: BIGINT, pad: STRING}}
    with: {{connector: datagen, rows-per-second: {rate}, fields.n.kind: sequence, fields.n.start: 0, fields.n.end: {below}, fields.pad.length: 120}}
  upper:
    columns: {{n: BIGINT, pad: STRING}}
    with: {{connector: datagen, rows-per-second: {rate}, fields.n.kind: sequence, fields.n.start: {half}, fields.n.end: {last}, fields.pad.length: 120}}
  copies:
    columns: {{n: BIGINT, pad: STRING}}
    with: {{connector: filesystem, path: "{path}", format: json}}
pipeline:
  - {{id: low, source: lower}}
  - {{id: high, source: upper}}
  - {{id: keep, input: [low, high], sink: copies}}
"""


@unittest.skipUnless((BUILD / "weir-taskmanager").exists(), "no daemons with failpoints: run `make failpoints`")
@unittest.skipIf("WEIR_BIN_DIR" in os.environ, "the failpoints are in a build of their own")
class BackPressure(unittest.TestCase):
    def start(self):
        cluster = Cluster(taskmanagers=0, slots=1, build=BUILD, options=[f"taskmanager.memory.size={BUDGET}"])
        self.addCleanup(cluster.close)
        cluster.options += ["-D", f"state.checkpoints.dir={cluster.folder}/checkpoints"]
        cluster.jobmanager.stop()
        cluster.start_jobmanager()
        self.go = cluster.folder / "go"
        cluster.start_taskmanager({"WEIR_FAILPOINT": f"sink.write:8:until:{self.go}"})
        cluster.wait_registered(1)
        return cluster

    def metrics(self, cluster, name):
        _, text = cluster.http("GET", "/metrics")
        return [int(value) for value in re.findall(rf"^{name}\{{.*\}} (\d+)$", text, re.M)]

    def completed(self, cluster):
        return cluster.get(f"/jobs/{self.job}/checkpoints")["counts"]["completed"]

    def test_a_stalled_sink_stops_the_source(self):
        cluster = self.start()
        output = cluster.folder / "copies"
        text = JOB.format(rate=RATE // 2, below=ROWS // 2 - 1, half=ROWS // 2, last=ROWS - 1, path=output)
        self.job = cluster.weir("run", "-d", str(cluster.write("stalled.yaml", text))).stdout.strip()
        used = []

        def sample():
            (now,), (total,) = (self.metrics(cluster, f"flink_taskmanager_Status_Flink_Memory_Managed_{what}") for what in ("Used", "Total"))
            used.append(now)
            self.assertEqual(total, BUDGET)
            return sum(self.metrics(cluster, "flink_taskmanager_job_task_numRecordsOut"))

        seen = []

        def stands_still():
            seen.append(sample())
            return len(seen) > 100 and seen[-1] == seen[-100] and 0 < seen[-1] < ROWS

        wait_for(lambda: sample() > 0, "the source reads")
        wait_for(stands_still, "the source stands still")  # for 100 samples of at least 20 ms each: ten heartbeats
        still, before = seen[-1], self.completed(cluster)
        self.go.touch()
        wait_for(lambda: sample() > still, "the source goes on")
        wait_for(lambda: max(self.metrics(cluster, "flink_taskmanager_job_task_accumulateBackPressuredTimeMs")) >= 1000,
                 "the time is reported as back pressure")
        wait_for(lambda: self.completed(cluster) >= before + 3, "checkpoints complete again")
        wait_for(lambda: sample() and cluster.get(f"/jobs/{self.job}/status")["status"] in ("FINISHED", "FAILED"), "the end", 60)
        self.assertEqual(cluster.get(f"/jobs/{self.job}/status")["status"], "FINISHED")
        self.assertLessEqual(max(used), BUDGET)
        counts = collections.Counter(row["n"] for row in read_rows(output))
        self.assertEqual((len(counts), max(counts.values()), max(counts)), (ROWS, 1, ROWS - 1))


if __name__ == "__main__":
    unittest.main()
